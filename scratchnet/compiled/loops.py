"""How the loops of this folder are compiled: by numba, without bounds checks, kept on disk.

In a `parallel` loop the threads share out `prange`; T is their number. Each thread does the same part every time, so
for the same T results are the same every time. Products may be contracted to fused multiply-adds, which round less.
Sums are taken in the order written, except where `parallel_sums` lets the compiler reorder them.
"""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

# How long an idle thread of GNU's OpenMP looks for work before it sleeps. Longer is up to a tenth faster on an idle
# machine, and several times slower beside a busy process, for which the threads then wait in turns.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

from numba import config, njit, set_num_threads  # noqa: E402 (GNU's OpenMP reads the variable when it is loaded)
from numba.core import event  # noqa: E402

if not {"NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY"} & os.environ.keys():
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

f4 = np.float32
zero, half, one, two = f4(0), f4(0.5), f4(1), f4(2)
LARGEST = np.finfo(f4).max
EXACT = {"contract", "nsz"}
SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


def have_threads(n):
    """Let parallel loops have n threads, or as many as numba was started with if those are fewer."""
    set_num_threads(min(n, config.NUMBA_NUM_THREADS))


def _compiled(function, fastmath=EXACT, **options):
    options |= {"fastmath": fastmath, "nogil": True, "error_model": "numpy", "boundscheck": False}
    try:
        dispatcher = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written to
        return njit(**options)(function)
    # numba keeps code as long as the file of its function is unchanged, though the code holds functions of other files
    dispatcher._cache._cache_file._source_stamp = SOURCES
    return dispatcher


def serial(function):
    """Compiled, for one thread."""
    return _compiled(function)


def inlined(function):
    """Compiled into its callers, so that their loops vectorise."""
    return _compiled(function, inline="always")


def parallel(function):
    """Compiled, with `prange` shared out over the threads."""
    return _compiled(function, parallel=True)


def parallel_sums(function):
    """The same, and sums may be reordered, so that they vectorise. For finite numbers only."""
    return _compiled(function, {*EXACT, "reassoc"}, parallel=True)


class _Announcement(event.Listener):
    """One line when the first loop is compiled rather than read from disk."""

    made = False

    def on_start(self, happened):
        if not self.made:
            self.made = True
            print("Compiling loops for this machine, once: half a minute for a convolutional model.", file=sys.stderr,
                  flush=True)

    def on_end(self, happened):
        pass


event.register("numba:compile", _Announcement())
