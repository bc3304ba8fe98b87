"""Several cores: each thread works on its part of a batch, and BLAS uses one thread within each.

NumPy releases Python's lock inside its loops and products, so threads compute side by side. Convolutions, pooling and
optimizers go over large arrays part by part anyway; large matrix products are cut into rows.
BLAS's own threads must rest meanwhile. After each product they wait for the next one in a busy loop, on the cores that
our threads need. So importing this module sets BLAS to one thread for good, and every step is alike.

At first there are as many threads as BLAS had (OPENBLAS_NUM_THREADS, or one for each core), but no more than 4, since
only one at a time can hold Python's lock. `use(n)` changes the number. For a given number, results are the same every
time: the parts depend on nothing else, and sums over parts are taken in order. Another number changes rounding only.
"""

import contextvars
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from threadpoolctl import ThreadpoolController

from scratchnet.backend.arrays import is_whole

BLAS = ThreadpoolController().select(user_api="blas").lib_controllers  # one for each BLAS library; usually one in all
OF_BLAS = max((library.num_threads for library in BLAS), default=1)


class _State:
    """count: the number of threads in use. pool: all of them but the caller's, started at the first need. lent: see
    `lend`."""

    count, pool, lent = 1, None, None


_here = threading.local()  # .busy is True in a thread that is doing a part


def count():
    """The number of threads that work on one op."""
    return _State.count


def use(n):
    """Let n threads work on one op, with BLAS at one thread in each. With n = 1, BLAS gets its own threads back."""
    if not is_whole(n) or n < 1:
        raise ValueError(f"threads.use: the number of threads is a whole number ≥ 1, got {n!r}")
    if getattr(_here, "busy", False):
        raise RuntimeError("threads.use: cannot be called inside an op")
    _State.count, _State.pool = n, None
    if _State.lent is not None:
        _State.lent(n)
    for library in BLAS:
        library.set_num_threads(OF_BLAS if n == 1 and _State.lent is None else 1)


def lend(to):
    """Let another pool do the work while ours rests; `to(n)` tells it to use n threads. With None, ours works again."""
    _State.lent = to
    use(_State.count)


def in_parts(work, items):
    """[work(part), …] in order, with the list of items cut into one part for each thread."""
    limit = count() if _State.lent is None else 1
    n = min(limit, len(items))
    if n <= 1 or getattr(_here, "busy", False) or not threading.main_thread().is_alive():  # Python is exiting: no pool
        return [work(items)]
    cuts = [len(items) * k // n for k in range(n + 1)]
    parts = [items[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    pool = _State.pool = _State.pool or ThreadPoolExecutor(limit - 1, "scratchnet")
    others = []
    try:
        for part in parts[1:]:  # in the caller's context, which holds np.errstate
            others.append(pool.submit(contextvars.copy_context().run, _do, work, part))
        first = _do(work, parts[0])
    finally:
        wait(others)  # so that after an error no thread goes on writing into the arrays
    return [first, *[other.result() for other in others]]


def each(work, items):
    """Do work(item) for all items. Each call's arrays are freed before the next call, which finds their memory in the
    cache."""
    in_parts(lambda part: [work(item) for item in part], items)


def total(work, items):
    """Σ work(item) of arrays, added up in order, first within each thread, then over the threads."""
    def add_up(part):
        found = work(part[0])
        for item in part[1:]:
            found += work(item)
        return found
    return sum(in_parts(add_up, items))


def _do(work, part):
    _here.busy = True
    try:
        return work(part)
    finally:
        _here.busy = False


def _forget():
    """A forked child has none of its parent's other threads."""
    _State.pool = None
    _here.busy = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
use(min(OF_BLAS, 4))
