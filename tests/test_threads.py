"""Parts of a batch in threads: the same results, in order, whatever happens in the threads."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from scratchnet import Tensor, ops
from scratchnet.backend import products, threads
from scratchnet.layers import Dense, Sequential
from scratchnet.ops import windows
from scratchnet.optimizers import SGD, Adam, Nadam


@pytest.fixture
def two_threads():
    before = threads.count()
    threads.use(2)
    yield
    threads.use(before)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("items", [0, 1, 2, 7])
def test_each_item_once_in_order(n, items, two_threads):
    threads.use(n)
    parts = threads.in_parts(list, list(range(items)))
    assert sum(parts, []) == list(range(items)) and len(parts) == max(1, min(n, items))


def test_parts_run_side_by_side_and_share_nothing_out_again(two_threads):
    meet = threading.Barrier(2, timeout=10)  # breaks if the two do not run at the same time

    def work(part):
        meet.wait()
        return threading.get_ident(), threads.in_parts(lambda inner: threading.get_ident(), [1, 2, 3])
    (a, inside_a), (b, inside_b) = threads.in_parts(work, [1, 2])
    assert a != b and inside_a == [a] and inside_b == [b]


def test_blas_has_one_thread_beside_ours_and_its_own_number_without(two_threads, monkeypatch):
    monkeypatch.setattr(threads, "OF_BLAS", 3)

    ours = {library.filepath for library in threads.BLAS}  # a test may have imported SciPy, which brings its own BLAS

    def numbers():
        return {library["num_threads"] for library in ThreadpoolController().info() if library["filepath"] in ours}
    assert numbers() == {1}
    threads.use(1)
    assert numbers() == {3}
    threads.use(2)
    assert numbers() == {1}


@pytest.mark.parametrize("of_blas", ["1", "2", "64"])
def test_at_first_there_are_as_many_as_blas_had_but_no_more_than_four(of_blas):
    code = f"from scratchnet.backend import threads as t; print(t.count() == min(t.OF_BLAS, 4), t.count() <= {of_blas})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "OPENBLAS_NUM_THREADS": of_blas}).stdout
    assert said == "True True\n"


@pytest.mark.parametrize("shape", [(300, 200, 500), (1, 5000, 8000), (4000, 1, 9000), (2, 5000, 8000), (3, 0, 4)])
@pytest.mark.parametrize("given", [True, False])
def test_products_of_rows_shared_out(shape, given, two_threads):
    (m, k, n), rng = shape, np.random.default_rng(0)
    a, b = rng.standard_normal((k, m), dtype=np.float32).T, rng.standard_normal((k, n), dtype=np.float32)
    out = np.full((m, n), np.nan, dtype=np.float32) if given else None
    found = products.matrix_product(a, b, out)
    assert found is out or not given
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, a.astype(float) @ b, atol=1e-5 * max(k, 1))


def test_the_number_can_be_set_before_anyone_asks_for_it():
    code = "from scratchnet.backend import threads; threads.use(2); print(threads.in_parts(len, [1, 2, 3]))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[1, 2]\n"


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_in_one_part_is_raised_when_all_have_ended(bad, two_threads):
    done = []

    def work(part):
        if part == [bad]:
            raise KeyError("this part")
        done.append(part)
    with pytest.raises(KeyError, match="this part"):
        threads.in_parts(work, [0, 1])
    assert done == [[1 - bad]]
    assert threads.in_parts(len, [0, 1]) == [1, 1]  # and it goes on


def test_use_wants_a_positive_number():
    with pytest.raises(ValueError, match="the number of threads is a whole number ≥ 1, got 0"):
        threads.use(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own(two_threads):
    threads.in_parts(len, [0, 1])
    child = os.fork()
    if child == 0:
        os._exit(0 if threads.in_parts(len, [0, 1]) == [1, 1] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_nobody_changes_the_number_from_inside(two_threads):
    with pytest.raises(RuntimeError, match="cannot be called inside an op"):
        threads.in_parts(lambda part: threads.use(3), [1, 2])
    assert threads.count() == 2


def test_a_thread_for_each_part_even_if_fewer_were_needed_before(two_threads):
    threads.use(3)
    threads.in_parts(len, [0, 1])
    meet = threading.Barrier(3, timeout=10)
    assert len(threads.in_parts(lambda part: meet.wait(), [0, 1, 2])) == 3


def test_numpy_treats_errors_alike_in_all_threads(two_threads):
    def work(part):
        return np.divide(1.0, np.zeros(3))
    with np.errstate(divide="ignore"):
        assert all(np.isinf(found).all() for found in threads.in_parts(work, [1, 2]))
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.in_parts(lambda part: work(part) if part == [2] else None, [1, 2])


def test_a_thread_that_outlives_the_main_one_works_alone():
    code = ("import threading, time; from scratchnet.backend import threads; threads.use(2)\n"
            "def late():\n"
            "    threading.main_thread().join(); time.sleep(0.2); print(threads.in_parts(len, [1, 2, 3]))\n"
            "threading.Thread(target=late).start()")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[3]\n"


def test_without_fork_it_imports():
    code = "import os; del os.register_at_fork; from scratchnet.backend import threads; print(threads.count() >= 1)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


OPS = {  # of images (31, 9, 10, 32) and kernels (3, 3, 32, 40)
    "conv2d": lambda x, w: ops.conv2d(x, w[:, :, :, :8]),
    "conv2d, Winograd": lambda x, w: ops.conv2d(x, w, ops.sum(w, (0, 1, 2))),
    "dense": lambda x, w: ops.dense(x, w.reshape(9, 32, 40)[0]),
    "lstm": lambda x, w: ops.lstm(x.reshape(31, 90, 32), w.reshape(9, 32, 40)[0], w.reshape(9 * 32, 40)[:10],
                                  w.reshape(-1, 40)[-1])[0],
    "conv2d, more channels out": lambda x, w: ops.conv2d(x[..., :9], w[:, :, :9]),
    "conv2d, columns kept": lambda x, w: ops.conv2d(x[..., :2], w[:, :, :2]),
    "conv2d with stride": lambda x, w: ops.conv2d(x, w, None, 2),
    "conv2d_transpose": lambda x, w: ops.conv2d_transpose(x, w.swapaxes(2, 3)[:, :, :5], None, 2),
    "conv2d_weight": lambda x, w: ops.conv2d_weight(x, x, (3, 3)),
    "max_pool": lambda x, w: ops.max_pool(x), "avg_pool": lambda x, w: ops.avg_pool(x, 3, 1),
    "max_pool, windows overlap": lambda x, w: ops.max_pool(x, 3, 2, "same"),
    "upsample": lambda x, w: ops.upsample_nearest(x),
    "unpool": lambda x, w: ops.unpool(*ops.max_pool_with_argmax(x))}


@pytest.mark.parametrize("name", OPS)
def test_ops_and_their_gradients_are_the_same_with_any_number_of_threads(name, two_threads, monkeypatch):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((31, 9, 10, 32)), rng.standard_normal((3, 3, 32, 40))
    monkeypatch.setattr(windows, "BLOCK_BYTES", 100_000)  # several images a block, several blocks a thread
    monkeypatch.setattr(products, "WORTH", 1e4)
    found = []
    for n in (1, 2, 3, 2):
        threads.use(n)
        inputs = [Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)]
        y = OPS[name](*inputs)
        found.append([y.data])
        if y.requires_grad:
            y.backward(np.random.default_rng(1).standard_normal(y.shape))
            found[-1] += [t.grad for t in inputs if t.grad is not None]
    for one, two, three, again in zip(*found, strict=True):
        np.testing.assert_array_equal(two, again)  # the same number of threads, the same bits
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(one, three, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [SGD, Adam, Nadam])
def test_training_steps_are_the_same_with_any_number_of_threads(kind, two_threads, monkeypatch):
    monkeypatch.setattr(kind, "chunk", 1000)
    monkeypatch.setattr(products, "WORTH", 1e4)
    found = []
    for n in (1, 2, 4):
        threads.use(n)
        rng = np.random.default_rng(0)
        net = Sequential(Dense(40, 50, rng=rng), ops.relu, Dense(50, 60, rng=rng)).move(lambda a: a.astype(np.float64))
        optimizer = kind(net.parameters(), 1e-2, clip_norm=1.0)
        for x in rng.standard_normal((5, 32, 40)):
            optimizer.zero_grad()
            (net(x) * net(x)).sum().backward()
            optimizer.step()
        found.append(optimizer.flat)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-9)
