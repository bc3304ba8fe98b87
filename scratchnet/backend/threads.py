"""Several cores: the parts of a batch in threads of their own, with BLAS at one thread in each.

NumPy lets go of Python's lock inside its loops and products, so threads compute side by side. Convolutions, pooling and
optimizers go over large arrays part by part anyway; large matrix products are cut into rows.
BLAS's own threads must rest meanwhile: after each product they wait for the next one in a busy loop, on the cores that
ours need. So they are put away when this is imported, once and for all: a step is the same each time.

At first there are as many threads as BLAS had (OPENBLAS_NUM_THREADS says how many, or there is one for each core), but
no more than 4, since only one at a time can hold Python's lock. `use(n)` changes it. For a given number results are the
same every time: the parts depend on nothing else, and sums over parts are taken in their order. Another number changes
rounding only.
"""

import contextvars
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from threadpoolctl import ThreadpoolController

from scratchnet.backend.arrays import is_whole

BLAS = ThreadpoolController().select(user_api="blas").lib_controllers  # one for each library; as a rule there is one
OF_BLAS = max((library.num_threads for library in BLAS), default=1)


class _State:
    """count: threads in use. pool: all but one of them, started when they are needed."""

    count, pool = 1, None


_here = threading.local()  # .busy is True in a thread that is doing a part


def count():
    """How many threads work on one op."""
    return _State.count


def use(n):
    """Let n threads work on one op, and BLAS with one in each; 1: no threads of ours, and BLAS's own come back."""
    if not is_whole(n) or n < 1:
        raise ValueError(f"threads.use: the number of threads is a whole one and must be ≥ 1, got {n!r}")
    if getattr(_here, "busy", False):
        raise RuntimeError("threads.use: not from inside of an op")
    _State.count, _State.pool = n, None
    for library in BLAS:
        library.set_num_threads(OF_BLAS if n == 1 else 1)


def in_parts(work, items):
    """[work(some of the items), work(others), …]: the list cut into one part for each thread, the results in order."""
    limit = count()
    n = min(limit, len(items))
    if n <= 1 or getattr(_here, "busy", False) or not threading.main_thread().is_alive():  # Python is ending: no pool
        return [work(items)]
    cuts = [len(items) * k // n for k in range(n + 1)]
    parts = [items[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    pool = _State.pool = _State.pool or ThreadPoolExecutor(limit - 1, "scratchnet")
    others = []
    try:
        for part in parts[1:]:  # in the caller's context, which holds his np.errstate
            others.append(pool.submit(contextvars.copy_context().run, _do, work, part))
        first = _do(work, parts[0])
    finally:
        wait(others)  # so that after an error nobody writes into the arrays any more
    return [first, *[other.result() for other in others]]


def each(work, items):
    """Do work(item) for all items. What it makes is freed before the next one begins, and its place in the cache used
    again."""
    in_parts(lambda part: [work(item) for item in part], items)


def total(work, items):
    """Σ work(item): arrays, added up in each thread in their order, then over the threads."""
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
    """A forked child has no threads but its own."""
    _State.pool = None
    _here.busy = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
use(min(OF_BLAS, 4))
