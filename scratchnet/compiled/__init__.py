"""Faster forms of ops: the formulas as loops, index by index, compiled by numba (extra `fast`).

Each op keeps its one definition in ops/. Where numba is installed, a loop of this folder stands in for it when the
arrays are C-ordered float32. A loop may decline, and then the op's own lines run. Both give the same to rounding. The
first run compiles the loops, says so, and keeps them on disk. On a GPU, fused kernels of gpu*.py stand in likewise.

    use(False)    NumPy alone; the variable SCRATCHNET_COMPILED=0 does it from the start, =kernels leaves out the loops
    report()      which ops ran compiled, which declined, and why

With loops in use, the threads are numba's (OpenMP's), and Python's own threads rest: two pools would fight for the
cores. backend.threads.use(n) sets their number as before.
"""

import os
from contextlib import suppress
from importlib.util import find_spec

from scratchnet.backend import threads
from scratchnet.backend.arrays import gpu_array
from scratchnet.compiled.table import TABLE, install

__all__ = ["active", "loops_in_use", "report", "use", "use_if_installed", "use_kernels"]


class _State:
    active = False


def active():
    """Whether the compiled loops are in use."""
    return _State.active


def loops_in_use():
    """Whose loops compute, for a checkpoint: "compiled", or "NumPy's"."""
    return "compiled" if _State.active else "NumPy's"


def use_if_installed():
    """Let compiled forms stand in for ops, loops where numba is installed and kernels where CuPy is, unless
    SCRATCHNET_COMPILED is 0. A numba that is made for another NumPy counts as none, as does one that finds no BLAS."""
    wanted = os.environ.get("SCRATCHNET_COMPILED", "1")
    if wanted != "0":
        use_kernels()
    if wanted not in ("0", "kernels") and find_spec("numba") is not None:
        with suppress(ImportError):
            use()


def use(on=True):
    """Let compiled loops stand in for ops, or not. ImportError where numba is missing, or no BLAS is found.

    In a process that was forked, NumPy's lines run: the threads of compiled loops do not survive a fork.
    """
    if on:
        from scratchnet.compiled import (  # noqa: F401 (they fill the table)
            convolution,
            elementwise,
            losses,
            normalization,
            optimizers,
            pooling,
            products,
            recurrent,
            winograd,
        )
        from scratchnet.compiled.loops import have_threads
    use_kernels(on)
    install(on)
    threads.lend(have_threads if on else None)
    _State.active = on


def use_kernels(on=True):
    """Let fused kernels stand in for ops on CuPy's arrays, or not. Without CuPy there are none."""
    if on and gpu_array() is not None:
        from scratchnet.compiled import gpu, gpu_windows  # noqa: F401 (they fill the table)
    install(on, on_gpu=True)


def _after_fork():
    if _State.active:
        use(False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def report():
    """A table, one line a form: how often it ran compiled, how often it declined, and why."""
    lines = [f"{'form':40} {'compiled':>9} {'declined':>9}  why"]
    for form in (entry.form for entry in TABLE):
        if form.ran or form.declined:
            why = ", ".join(f"{reason} ({count:,})" for reason, count in form.declined.most_common())
            lines.append(f"{form.name:40} {form.ran:9,} {form.declined.total():9,}  {why}".rstrip())
    return "\n".join(lines)
