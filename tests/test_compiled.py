"""Every compiled form gives what the op's own lines give, to float32 rounding, or declines."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from draws import f4, normal, normed, odd, recurrent, shape, shares

from scratchnet import Tensor, compiled, grad, ops
from scratchnet.backend import threads
from scratchnet.backend.forms import Declined
from scratchnet.layers import Dense
from scratchnet.ops.windows import geometry as window_geometry
from scratchnet.optimizers import Adam
from scratchnet.training import Run

pytest.importorskip("numba")
compiled.use()
compiled.use(False)

from scratchnet.compiled import products, series, table  # noqa: E402 (needs numba)

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, params=[1, 2])
def with_threads(request, monkeypatch):
    """Every form, for arrays of any size, with one thread and with two."""
    before = threads.count()
    compiled.use()
    threads.use(request.param)
    for entry in table.TABLE:
        monkeypatch.setattr(entry.form, "least", 0)
    monkeypatch.setattr(products, "FEW_FLOPS", 0)
    monkeypatch.setattr(products, "WORTH", 0)
    yield
    compiled.use(False)
    threads.use(before)


def images(rng, draw=normal, channels=None):
    n, h, w, c = (int(k) for k in rng.integers(1, 9, 4))
    return draw(rng, n, h, w, channels or c)


def windows(rng, x):
    """(kernel, stride, padding) of a convolution that fits."""
    kernel = tuple(int(rng.integers(1, min(4, n) + 1)) for n in x.shape[1:3])
    stride = tuple(int(s) for s in rng.integers(1, 4, 2))
    padding = rng.choice(["same", "valid", "pairs"])
    pads = tuple(tuple(int(p) for p in rng.integers(0, 3, 2)) for _ in range(2))
    return kernel, stride, pads if padding == "pairs" else str(padding)


def convolution(rng, channels=None):
    x = images(rng, channels=channels)
    kernel, stride, padding = windows(rng, x)
    out = int(rng.integers(1, 7))
    bias = normal(rng, out) if rng.random() < 0.5 else None
    return x, normal(rng, *kernel, x.shape[3], out), bias, stride, padding


def geometry(x, w, stride, padding):
    return window_geometry("test", x.shape[1:3], w.shape[:2], stride, padding)


def unfolded(rng):
    x, w, b, stride, padding = convolution(rng, rng.choice([1, 3]))
    return x, w, b, *geometry(x, w, stride, padding)


def folded(rng):
    x, w, _, stride, padding = convolution(rng, rng.choice([1, 3]))
    stride, pads, size = geometry(x, w, stride, padding)
    b = normal(rng, x.shape[3]) if rng.random() < 0.5 else None
    return normal(rng, len(x), *size, w.shape[3]), w, b, stride, pads, x.shape[1:3]


def weights(rng):
    x, w, _, stride, padding = convolution(rng, rng.choice([1, 3]))
    stride, pads, size = geometry(x, w, stride, padding)
    return x, normal(rng, len(x), *size, w.shape[3]), w.shape[:2], stride, pads


def tiles(rng):
    x, pads = images(rng), tuple(tuple(int(p) for p in rng.integers(0, 3, 2)) for _ in range(2))
    size = tuple(n + sum(p) - 2 for n, p in zip(x.shape[1:3], pads, strict=True))
    return (x, pads, size) if min(size) > 0 else tiles(rng)


def winograd(rng):
    x, pads, size = tiles(rng)
    out = int(rng.integers(1, 5))
    return x, normal(rng, 3, 3, x.shape[3], out), normal(rng, out) if rng.random() < 0.5 else None, pads, size


def winograd_weight(rng):
    x, pads, size = tiles(rng)
    return x, normal(rng, len(x), *size, int(rng.integers(1, 5))), pads


def pooled(rng):
    kernel, small = tuple(int(k) for k in rng.integers(1, 4, 2)), images(rng, odd)
    x = odd(rng, len(small), kernel[0] * small.shape[1], kernel[1] * small.shape[2], small.shape[3])
    return x, small, rng.integers(0, math.prod(kernel), small.shape).astype(np.uint8), kernel


def max_pool(rng):
    x, _, _, kernel = pooled(rng)
    return x, kernel, None, "valid"


def unpool(rng):
    _, y, argmax, kernel = pooled(rng)
    return y, argmax, kernel, kernel, "valid", None


def pool_at(rng):
    x, _, argmax, kernel = pooled(rng)
    return x, argmax, kernel, None, "same"


def matrices(rng):
    m, k, n = (int(i) for i in rng.integers(1, 40, 3))
    if rng.random() < 0.3:
        k *= 50
    a, b = normal(rng, m, k), normal(rng, k, n)
    a = np.ascontiguousarray(a.T).T if rng.random() < 0.5 else a
    b = np.ascontiguousarray(b.T).T if rng.random() < 0.5 else b
    return a, b, np.empty((m, n), f4) if rng.random() < 0.5 else None


def normed_back(rng):
    x, gamma, _ = normed(rng)
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) == 1:  # the gradient is zero, and rounding all that is left
        return normed_back(rng)
    return normal(rng, *x.shape), x, gamma, rows.mean(axis=0), rows.var(axis=0), 1e-3


def recurrent_back(rng):
    inputs = recurrent(rng)
    y, gates, cells = entry_of("lstm").own(*inputs)
    return normal(rng, *y.shape), *inputs, y, *compiled_caches(gates), cells


def compiled_caches(gates):
    return (np.ascontiguousarray(gates.swapaxes(1, 2)).swapaxes(1, 2),)


def pair_of(draw, draw_too=None):
    def pair(rng):
        size = shape(rng)
        return draw(rng, *size), (draw_too or draw)(rng, *size)
    return pair


def adam(rng):
    n = int(rng.integers(1, 50))
    return (*(normal(rng, n) for _ in range(3)), shares(rng, n), 0.9, 0.999, 1e-3, 1e-8, np.empty(n, f4))


def rows_and_bias(rng):
    x = odd(rng, *shape(rng), int(rng.integers(1, 5)))
    return x, odd(rng, x.shape[-1])


def bce_back(rng):
    x, t = pair_of(odd, shares)(rng)
    return np.broadcast_to(f4(0.3), x.shape) if rng.random() < 0.5 else odd(rng, *x.shape), x, t


def logits(rng):
    x = 5 * normal(rng, *shape(rng), int(rng.integers(1, 6)))
    t = shares(rng, *x.shape)
    return x, t / t.sum(axis=-1, keepdims=True)


ROWS = {  # name of the form → arguments, drawn
    "relu": lambda rng: (odd(rng, *shape(rng)),),
    "relu, gradient": pair_of(odd),
    "leaky_relu": lambda rng: (odd(rng, *shape(rng)), float(rng.choice([0.0, 0.01, 0.2]))),
    "leaky_relu, gradient": lambda rng: (*pair_of(odd)(rng), 0.2),
    "sigmoid": lambda rng: (odd(rng, *shape(rng)),),
    "tanh": lambda rng: (odd(rng, *shape(rng)),),
    "add": rows_and_bias, "subtract": rows_and_bias,
    "column_sum": lambda rng: (normal(rng, *shape(rng), 3), 1),
    "matrix_product": matrices,
    "bce_with_logits": pair_of(odd, shares),
    "bce_with_logits, gradient": bce_back,
    "softmax_cross_entropy": logits,
    "softmax_cross_entropy, gradient": lambda rng: (lambda x, t: (normal(rng, *x.shape[:-1]), x, t))(*logits(rng)),
    "max_pool_with_argmax": max_pool, "unpool": unpool, "pool_at": pool_at,
    "conv2d": convolution, "unfold_product": unfolded, "fold_product": folded, "weight_product": weights,
    "winograd": winograd, "winograd_weight": winograd_weight,
    "batch_norm": lambda rng: (*normed(rng), 1e-3), "batch_norm, gradient": normed_back,
    "lstm": recurrent, "lstm, gradient": recurrent_back,
    "adam_step": adam}
ROUNDING = {"winograd": 3e-5, "winograd_weight": 3e-5,  # of the largest result: see ops/winograd.py
            "batch_norm, gradient": 2e-5}  # a few rows have a small variance, by which is divided
IN_PLACE = {"adam_step": 4}  # name → how many of the arguments it changes


def entry_of(name):
    return next(entry for entry in table.TABLE if entry.form.name == name)


def test_every_form_has_a_row():
    names = [entry.form.name for entry in table.TABLE if entry.kind is np.ndarray]
    assert len(set(names)) == len(names) and set(names) == set(ROWS)


def own(name, arguments):
    """What the function's own lines give, all forms away."""
    compiled.use(False)
    try:
        return entry_of(name).own(*arguments)
    finally:
        compiled.use()


def outcome(name, function, arguments):
    """[arrays] that come out, those changed in place among them; or the error."""
    arguments = [np.copy(a, order="K") if isinstance(a, np.ndarray) and a.flags.writeable else a for a in arguments]
    with np.errstate(all="ignore"):
        try:
            found = function(arguments)
        except (ValueError, TypeError, FloatingPointError) as error:
            return f"{type(error).__name__}: {error}"
    if isinstance(found, Declined):
        return found
    found = found if isinstance(found, tuple) else (found,)
    return [a for a in (*found, *arguments[:IN_PLACE.get(name, 0)]) if a is not None]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", ROWS)
def test_the_same_to_rounding(name, seed):
    arguments = ROWS[name](np.random.default_rng(seed))
    expected = outcome(name, lambda a: own(name, a), arguments)
    found = outcome(name, lambda a: entry_of(name).form.function(*a), arguments)
    if isinstance(expected, str) or isinstance(found, Declined):
        assert isinstance(found, Declined) or found == expected
        return
    for a, b in zip(found, expected[:len(found)], strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        finite = b[np.isfinite(b)]
        scale = float(abs(finite).max()) if finite.size else 1.0
        close = ROUNDING.get(name, 3e-6)
        np.testing.assert_allclose(a, b, rtol=close, atol=close * (scale if scale < 1e30 else 1.0))


@pytest.mark.parametrize("name", ROWS)
def test_most_draws_run(name):
    ran = sum(not isinstance(outcome(name, lambda a: entry_of(name).form.function(*a),
                                     ROWS[name](np.random.default_rng(seed))), (Declined, str)) for seed in range(25))
    assert ran >= 12


@pytest.mark.parametrize("name", ROWS)
def test_what_is_not_plain_is_declined(name):
    """float64, complex numbers, other strides, and arrays without entries, of which NumPy has its own opinion."""
    for seed in range(8):
        arguments = ROWS[name](np.random.default_rng(seed))
        wide = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == f4 else a for a in arguments]
        assert isinstance(entry_of(name).form.function(*wide), Declined)
        strided = [np.repeat(a, 2, axis=-1)[..., ::2] if isinstance(a, np.ndarray) else a for a in arguments]
        if any(isinstance(a, np.ndarray) and not a.flags.c_contiguous for a in strided):
            expected = outcome(name, lambda a: own(name, a), arguments)
            found = outcome(name, lambda a: entry_of(name).form.function(*a), strided)
            if not isinstance(found, Declined):
                for a, b in zip(found, expected, strict=False):
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ROWS)
def test_twice_the_same(name):
    arguments = ROWS[name](np.random.default_rng(3))
    first, second = (outcome(name, lambda a: entry_of(name).form.function(*a), arguments) for _ in range(2))
    if isinstance(first, list):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- exp and its like, in units of the last place

@pytest.mark.parametrize("name, exact, low, high, worst", [
    ("exp", np.exp, -104, 88.72, 1.0), ("tanh", np.tanh, -12, 12, 2.6),
    ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), -103, 20, 2.5), ("log_1_plus", np.log1p, 0, 1, 3.0)])
def test_series(name, exact, low, high, worst):
    numba = pytest.importorskip("numba")
    one = getattr(series, name)
    loop = numba.njit(lambda x: np.array([one(v) for v in x], np.float32), fastmath={"contract", "nsz"})
    x = np.concatenate([np.linspace(low, high, 400_001), np.geomspace(1e-45, min(1, high), 50_000),
                        -np.geomspace(1e-45, min(1, -low), 50_000) if low < 0 else []]).astype(f4)
    y, right = loop(x), exact(x.astype(np.float64))
    units = np.abs(y - right) / np.spacing(np.abs(right).astype(f4))
    assert units.max() <= worst


# ---------------------------------------------------------------- in the engine

def test_ops_use_forms_and_say_so():
    before = entry_of("relu").form.ran
    x = np.linspace(-1, 1, 12, dtype=f4).reshape(3, 4)
    t = Tensor(x, requires_grad=True)
    ops.relu(t).sum().backward()
    assert entry_of("relu").form.ran == before + 1 and "relu, gradient" in compiled.report()
    np.testing.assert_array_equal(t.grad, x > 0)
    ops.relu(x=x.astype(np.float64))
    assert "not C-ordered float32 arrays" in compiled.report()
    compiled.use(False)
    ops.relu(x)
    assert entry_of("relu").form.ran == before + 1 and not compiled.active()


def test_another_rule_is_the_learners():
    x = Tensor(np.ones((3, 4), f4), requires_grad=True)
    with ops.relu.using(lambda gy, y: 7 * gy):
        ops.relu(x).sum().backward()
    np.testing.assert_array_equal(x.grad, np.full((3, 4), 7))


def test_the_second_derivative_is_recorded():
    x = Tensor(np.linspace(-1, 1, 6, dtype=f4), requires_grad=True)
    first = grad(ops.tanh(x).sum(), x, create_graph=True)
    y = np.tanh(x.data)
    np.testing.assert_allclose(grad(first.sum(), x).data, -2 * y * (1 - y * y), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- processes, files, resumed runs

def run(code, tmp_path, **environment):
    """What a fresh Python prints, and its errors."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=ROOT,
                           env=os.environ | {"PYTHONPATH": str(ROOT), "SCRATCHNET_COMPILED": "1", **environment})
    assert found.returncode == 0, found.stderr
    return found.stdout.strip(), found.stderr


RELU = "import numpy as np; from scratchnet import compiled, ops; x = np.ones((256, 256), np.float32); ops.relu(x); "


def test_in_use_where_installed_unless_told_otherwise(tmp_path):
    code = "from scratchnet import compiled; print(compiled.active())"
    assert run(code, tmp_path)[0] == "True"
    assert run(code, tmp_path, SCRATCHNET_COMPILED="0")[0] == "False"


def test_the_first_run_says_that_it_compiles_and_later_ones_are_silent(tmp_path):
    for expected in (1, 0):
        _, said = run(RELU, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        assert said.count("Compiling loops") == expected


def test_without_a_folder_to_write_to_all_works(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    code = ("from numba.core import caching; caching.CacheImpl._locator_classes = []\n" + RELU
            + "print(compiled.active(), ops.relu(-x).sum())")
    assert run(code, tmp_path)[0] == "True 0.0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes_with_numpy(tmp_path):
    code = RELU + ("import os, sys; pid = os.fork()\n"
                   "if pid == 0: ops.relu(x); os._exit(0 if not compiled.active() else 1)\n"
                   "print(os.waitpid(pid, 0)[1]); ops.relu(x); print(compiled.active())")
    assert run(code, tmp_path)[0].split() == ["0", "True"]


def test_resumed_with_the_other_loops_says_so_and_with_the_same_is_exact(tmp_path, capsys):
    def train(out, epochs, resume=False):
        rng = np.random.default_rng(0)
        model = Dense(20, 30, rng=rng)
        optimizer = Adam(model.parameters(), lr=1e-2)
        progress = Run(out, model=model, optimizer=optimizer, rng=rng, resume=resume)
        for x in progress.batches(np.random.default_rng(1).random((64, 20), dtype=f4), size=16, epochs=epochs):
            loss = ops.square(ops.relu(model(x))).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model.w.data.copy()

    whole = train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    np.testing.assert_array_equal(train(tmp_path / "parts", 4, resume=True), whole)
    assert "other conditions" not in capsys.readouterr().out
    compiled.use(False)
    train(tmp_path / "parts", 6, resume=True)
    assert "loops compiled before, NumPy's now" in capsys.readouterr().out
