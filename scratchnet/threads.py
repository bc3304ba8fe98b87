"""Several cores: the parts of a batch in threads of their own, with BLAS at one thread meanwhile.

NumPy lets go of Python's lock inside its loops and products, so threads compute side by side: in convolutions and
pooling, which go over a large array part by part anyway. Everything else is left to BLAS and its threads.

It is off until `threads.use(2)`: on the one machine measured so far it does not pay (benchmarks/NOTES.md). For a given
number results are the same every time: the parts depend on nothing else, and sums over parts are taken in their order.
Another number changes rounding only.
"""

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from threadpoolctl import ThreadpoolController


class _State:
    """count: threads in use. pool: all but one of them, started when they are needed."""

    count, pool = 1, None


_here = threading.local()  # .busy is True in a thread that is doing a part


def count():
    """How many threads work on one op."""
    return _State.count


@functools.cache
def blas():
    """What sets the number of threads of BLAS."""
    return ThreadpoolController().select(user_api="blas")


def use(n):
    """Let n threads work on one op; 1: no threads."""
    if n < 1:
        raise ValueError(f"threads.use: the number of threads must be ≥ 1, got {n}")
    _State.count, _State.pool = n, None


def in_parts(work, items):
    """[work(some of the items), work(others), …]: the list cut into one part for each thread, the results in order."""
    n = 1 if getattr(_here, "busy", False) else min(count(), len(items))
    if n <= 1:
        return [work(items)]
    cuts = [len(items) * k // n for k in range(n + 1)]
    parts = [items[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    if _State.pool is None:
        _State.pool = ThreadPoolExecutor(_State.count - 1, "scratchnet")
    with blas().limit(limits=1):
        others = [_State.pool.submit(_do, work, part) for part in parts[1:]]
        try:
            first = _do(work, parts[0])
        finally:
            wait(others)  # whatever happens, nobody writes into the arrays any more
        return [first, *[other.result() for other in others]]


def _do(work, part):
    _here.busy = True
    try:
        return work(part)
    finally:
        _here.busy = False


def _forget():
    """A forked child has no threads but its own."""
    _State.pool = None
    _here.busy = False


os.register_at_fork(after_in_child=_forget)
