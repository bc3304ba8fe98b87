"""Faster forms of ops: the formulas as loops, index by index, compiled by numba (extra `fast`).

Each op keeps its one definition in ops/. Where numba is installed, a loop of this folder stands in for it when the
arrays are C-ordered float32. A loop may decline, and then the op's own lines run. Both give the same to rounding. The
first run compiles the loops, says so, and keeps them on disk.

    use(False)    NumPy alone; the variable SCRATCHNET_COMPILED=0 does it from the start
    report()      which ops ran compiled, which declined, and why

With loops in use, the threads are numba's (OpenMP's), and Python's own threads rest: two pools would fight for the
cores. backend.threads.use(n) sets their number as before.
"""

import os
from importlib.util import find_spec

from scratchnet.backend import threads
from scratchnet.compiled.table import TABLE, install

__all__ = ["active", "loops_in_use", "report", "use", "use_if_installed"]


class _State:
    active = False


def active():
    """Whether the compiled loops are in use."""
    return _State.active


def loops_in_use():
    """Whose loops compute, for a checkpoint: "compiled", or "NumPy's"."""
    return "compiled" if _State.active else "NumPy's"


def use_if_installed():
    """Let compiled loops stand in for ops where numba is installed, unless SCRATCHNET_COMPILED is 0."""
    if os.environ.get("SCRATCHNET_COMPILED", "1") != "0" and find_spec("numba") is not None:
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
    install(on)
    threads.lend(have_threads if on else None)
    _State.active = on


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
