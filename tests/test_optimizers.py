"""Optimizers and weight averaging: formulas by hand, PyTorch step by step, the flat vectors, resuming, faults."""

import copy
import gc
import json
import pickle
import tracemalloc

import numpy as np
import pytest

from scratchnet.autograd import Tensor, detect_anomaly
from scratchnet.averaging import ExponentialMovingAverage
from scratchnet.layers import Dense
from scratchnet.optimizers import SGD, Adagrad, Adam, AdamW, Nadam, Optimizer, RMSprop
from scratchnet.schedules import ReduceOnPlateau, cosine, exponential, step_decay, warmup

SHAPES = [(5, 3), (3,), (), (2, 3, 1, 4), (0, 3), (1,)]
EVERY = [  # (name in both libraries, class, settings of both), with an eps so large that its place matters
    ("SGD", SGD, {"lr": 0.1}),
    ("SGD", SGD, {"lr": 0.1, "momentum": 0.9}),
    ("SGD", SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ("Adagrad", Adagrad, {"lr": 0.05, "eps": 1e-10}),
    ("Adagrad", Adagrad, {"lr": 0.05, "eps": 0.1}),
    ("RMSprop", RMSprop, {"lr": 0.02}),
    ("RMSprop", RMSprop, {"lr": 0.02, "alpha": 0.7, "eps": 0.1}),
    ("Adam", Adam, {"lr": 0.01}),
    ("Adam", Adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 0.1}),
    ("Adam", Adam, {"lr": 0.01, "betas": (0.0, 0.0), "eps": 0.1}),
    ("AdamW", AdamW, {"lr": 0.01}),
    ("AdamW", AdamW, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.3}),
    ("NAdam", Nadam, {"lr": 0.01}),
    ("NAdam", Nadam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 0.1, "momentum_decay": 0.3}),
]
every = pytest.mark.parametrize(("name", "kind", "settings"), EVERY)
one_of_each = pytest.mark.parametrize("kind", [SGD, Adagrad, RMSprop, Adam, AdamW, Nadam])


def leaves(shapes=SHAPES, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [Tensor(np.asarray(rng.standard_normal(shape), dtype), requires_grad=True) for shape in shapes]


def give_gradients(parameters, rng, scale=1.0):
    for p in parameters:
        p.grad = np.asarray(scale * rng.standard_normal(p.shape), p.dtype)


def values(parameters):
    return [p.data.copy() for p in parameters]


def same(a, b):
    return len(a) == len(b) and all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------- the formulas, written a second time

def by_hand(kind, gradients, p, lr, momentum=0.0, nesterov=False, alpha=0.99, betas=(0.9, 0.999), eps=1e-8,
            momentum_decay=0.004, weight_decay=0.0):
    """The papers' own recursions for one number, in Python floats."""
    m = v = 0.0
    product = 1.0
    for t, g in enumerate(gradients, start=1):
        if kind is AdamW:
            p -= lr * weight_decay * p
        else:
            g += weight_decay * p
        if kind is SGD:
            m = momentum * m + g
            p -= lr * (g + momentum * m if nesterov else m)
        if kind is Adagrad:
            v += g**2
            p -= lr * g / (v**0.5 + eps)
        if kind is RMSprop:
            v = alpha * v + (1 - alpha) * g**2
            p -= lr * g / (v**0.5 + eps)
        if kind in (Adam, AdamW, Nadam):
            m = betas[0] * m + (1 - betas[0]) * g
            v = betas[1] * v + (1 - betas[1]) * g**2
            root = (v / (1 - betas[1] ** t)) ** 0.5 + eps
        if kind in (Adam, AdamW):
            p -= lr * m / (1 - betas[0] ** t) / root
        if kind is Nadam:
            mu = betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))
            mu_next = betas[0] * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
            product *= mu
            p -= lr * ((1 - mu) * g / (1 - product) + mu_next * m / (1 - product * mu_next)) / root
    return p


@every
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
def test_formula(name, kind, settings, weight_decay):
    settings = settings | {"weight_decay": weight_decay}
    rng = np.random.default_rng(1)
    gradients, start = rng.standard_normal((8, 3)), rng.standard_normal(3)
    p = Tensor(start.copy(), requires_grad=True)
    optimizer = kind([p], **settings)
    for g in gradients:
        p.grad = g
        optimizer.step()
    expected = [by_hand(kind, gradients[:, i], start[i], **settings) for i in range(3)]
    assert p.data == pytest.approx(np.array(expected), rel=1e-12)


def test_first_steps_in_plain_numbers():
    def first(optimizer_of):
        p = Tensor(np.array([1.0, 1.0]), requires_grad=True)
        optimizer = optimizer_of([p])
        p.grad = np.array([0.5, -4.0])
        optimizer.step()
        return p.data
    assert first(lambda p: SGD(p, 0.1)) == pytest.approx([0.95, 1.4])
    assert first(lambda p: SGD(p, 0.1, momentum=0.5, nesterov=True)) == pytest.approx([0.925, 1.6])
    assert first(lambda p: Adam(p, 0.1, eps=1e-300)) == pytest.approx([0.9, 1.1])  # lr · sign(g)
    assert first(lambda p: Adam(p, 0.1, eps=0.5)) == pytest.approx([0.95, 1 + 0.4 / 4.5])
    assert first(lambda p: Adagrad(p, 0.1, eps=0.5)) == pytest.approx([0.95, 1 + 0.4 / 4.5])
    assert first(lambda p: RMSprop(p, 0.1, alpha=0.75, eps=0.75)) == pytest.approx([0.95, 1 + 0.4 / 2.75])
    assert first(lambda p: AdamW(p, 0.1, eps=1e-300, weight_decay=0.5)) == pytest.approx([0.85, 1.05])
    assert first(lambda p: SGD(p, 0.1, weight_decay=0.5)) == pytest.approx([0.9, 1.35])
    assert first(lambda p: SGD(p, 0.1, clip_value=1.0)) == pytest.approx([0.95, 1.1])


# ---------------------------------------------------------------- PyTorch

def against_torch(name, kind, settings, dtype, clip_norm=None, clip_value=None, schedule=None, chunk=7):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    ours = leaves(dtype=dtype)
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in ours]
    small = type(kind.__name__, (kind,), {"chunk": chunk})
    options = settings | ({"lr": schedule} if schedule else {})
    a = small(ours, clip_norm=clip_norm, clip_value=clip_value, **options)
    b = getattr(torch.optim, name)(theirs, **settings)
    for step in range(12):
        if schedule:
            b.param_groups[0]["lr"] = schedule(step)
        give_gradients(ours, rng, scale=10.0 ** rng.integers(-2, 2))
        for p, q in zip(ours, theirs, strict=True):
            q.grad = torch.tensor(p.grad)
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(theirs, clip_norm)
        if clip_value:
            torch.nn.utils.clip_grad_value_(theirs, clip_value)
        a.step()
        b.step()
        # PyTorch keeps Nadam's product Π in float32
        tolerance = {"float32": 3e-6, "float64": 1e-6 if kind is Nadam else 1e-12}[dtype]
        for p, q in zip(ours, theirs, strict=True):
            assert p.data.dtype == dtype
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=str(step))


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_pytorch(name, kind, settings, dtype):
    against_torch(name, kind, settings, dtype)


@every
def test_agrees_with_pytorch_under_decay_clipping_and_a_schedule(name, kind, settings):
    schedule = warmup(cosine(0.05, steps=8, lr_min=0.01), steps=3)
    against_torch(name, kind, settings | {"weight_decay": 0.1}, "float64", clip_norm=2.0, schedule=schedule)
    against_torch(name, kind, settings | {"weight_decay": 0.1}, "float32", clip_value=0.3, schedule=schedule)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name, kind, _ in EVERY[3:]:
        theirs = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))]).defaults
        ours = kind(leaves())
        for setting in ("lr", "weight_decay", *kind.settings):
            assert getattr(ours, setting) == theirs[setting], (name, setting)


# ---------------------------------------------------------------- clipping, decay, learning rate

def test_clip_norm_bounds_the_step_over_all_parameters_together():
    p, q = Tensor(np.zeros(2), requires_grad=True), Tensor(np.zeros((1, 1)), requires_grad=True)
    optimizer = SGD([p, q], lr=1.0, clip_norm=6.5)
    p.grad, q.grad = np.array([3.0, 4.0]), np.array([[12.0]])  # norm 13
    optimizer.step()
    assert np.concatenate([p.data, q.data[0]]) == pytest.approx([-1.5, -2.0, -6.0], rel=1e-6)
    p.grad, q.grad = np.array([0.3, 0.4]), None  # within the limit: exactly untouched
    p.data[...] = 0.0
    optimizer.step()
    assert np.array_equal(p.data, [-0.3, -0.4])


@pytest.mark.parametrize(("dtype", "entries"), [
    ("float16", [300.0, 400.0]), ("float16", [60000.0] * 4), ("float16", [1e-6, 2e-6]), ("float32", [3e30, 4e30]),
    ("float32", [3e38, 3e38, 3e38]), ("float32", [1e-30, 2e-30]), ("float64", [3e200, -4e200]),
    ("float64", [1e308, 1e308]), ("float64", [1e-200, 1e-201]), ("float32", [0.0, -5.0]),
    ("float32", [1e30, 1.0, 0.0])])
@pytest.mark.parametrize("limit", [1.0, 1e-3, 1e-6])
def test_clip_norm_where_squares_leave_the_range_of_the_dtype(dtype, entries, limit):
    g = np.array(entries, dtype)
    p = Tensor(np.zeros(len(g), dtype), requires_grad=True)
    optimizer = type("Small", (SGD,), {"chunk": 2})([p], lr=1.0, clip_norm=limit)
    p.grad = g.copy()
    with np.errstate(all="raise", under="ignore"):
        optimizer.step()
    exact = g.astype(np.longdouble)
    norm = np.sqrt((exact * exact).sum())
    expected = -exact * min(1, limit / (norm + 1e-6))
    rtol, atol = {"float16": (2e-3, 6e-8), "float32": (3e-6, 0), "float64": (1e-14, 0)}[dtype]
    np.testing.assert_allclose(p.data.astype(float), expected.astype(float), rtol=rtol, atol=atol)
    assert p.data.dtype == dtype and np.array_equal(p.grad, g)


@pytest.mark.parametrize("entries", [[1.0, np.nan], [np.inf, 1.0], [-np.inf, np.inf]])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_clip_norm_does_not_hide_what_is_not_finite(entries):
    p = Tensor(np.zeros(2, np.float32), requires_grad=True)
    optimizer = SGD([p], lr=1.0, clip_norm=1.0)
    p.grad = np.array(entries, np.float32)
    optimizer.step()
    assert np.isnan(p.data).all()


def test_clip_norm_of_a_zero_gradient_is_zero():
    p = Tensor(np.ones(3, np.float32), requires_grad=True)
    optimizer = SGD([p], lr=1.0, clip_norm=1.0)
    optimizer.step()
    assert np.array_equal(p.data, [1, 1, 1])


@pytest.mark.parametrize("options", [{"clip_norm": 0.1}, {"clip_value": 0.1}, {"weight_decay": 0.5}])
@one_of_each
def test_a_step_leaves_the_gradient_as_it_was(kind, options):
    parameters = leaves()
    optimizer = kind(parameters, lr=0.1, **options)
    (parameters[0] * parameters[0]).sum().backward()
    before = parameters[0].grad.copy()
    optimizer.step()
    assert parameters[0].grad is parameters[0].grad_buffer
    assert np.array_equal(parameters[0].grad, before)


def test_a_schedule_is_asked_for_steps_from_0():
    asked = []

    def schedule(step):
        asked.append(step)
        return np.float64(0.5) ** step  # a NumPy number must not turn float32 into float64

    p = Tensor(np.zeros(1, np.float32), requires_grad=True)
    optimizer = SGD([p], lr=schedule)
    for _ in range(3):
        p.grad = np.ones(1, np.float32)
        optimizer.step()
    assert asked == [0, 1, 2]
    assert optimizer.current_lr == 0.125 and type(optimizer.current_lr) is float
    assert p.data == pytest.approx([-1.75]) and p.data.dtype == np.float32
    optimizer.lr = 0.25
    assert optimizer.current_lr == 0.25


@pytest.mark.parametrize("rate", [float("nan"), -0.1, float("inf"), None, "0.1", np.ones(2), True])
def test_a_schedule_without_a_rate_is_named_with_the_step(rate):
    p, = leaves([(2,)])
    optimizer = Adam([p], lr=lambda step: 0.1 if step < 1 else rate)
    p.grad = np.ones(2, np.float32)
    optimizer.step()
    before = p.data.copy()
    with pytest.raises(ValueError, match="Adam: the rate of lr=<function .* at step 1 is a number ≥ 0, got"):
        optimizer.step()
    assert np.array_equal(p.data, before) and optimizer.step_count == 1


def test_a_schedule_that_overflows_is_named():
    p, = leaves([(2,)])
    optimizer = SGD([p], lr=exponential(1.0, 10.0))
    optimizer.step_count = 1000
    with pytest.raises(ValueError, match=r"SGD: the rate of lr=exponential\(1.0, factor=10.0\) at step 1000 is"):
        optimizer.step()


# ---------------------------------------------------------------- the flat vectors

@one_of_each
def test_parameters_become_views_and_keep_their_values(kind):
    fortran = Tensor(np.asfortranarray(np.arange(6.0).reshape(2, 3)), requires_grad=True)
    strided = Tensor(np.arange(10.0)[::2], requires_grad=True)
    scalar, empty = Tensor(np.array(7.0), requires_grad=True), Tensor(np.zeros((0, 2)), requires_grad=True)
    parameters = [fortran, strided, scalar, empty]
    before = values(parameters)
    optimizer = kind(parameters, lr=0.1)
    assert same(values(parameters), before)
    assert np.array_equal(optimizer.flat, [0, 1, 2, 3, 4, 5, 0, 2, 4, 6, 8, 7])
    optimizer.flat += 1
    assert same(values(parameters), [b + 1 for b in before])
    optimizer.flat_grad[...] = np.arange(12)
    assert np.array_equal(fortran.grad_buffer, [[0, 1, 2], [3, 4, 5]]) and scalar.grad_buffer == 11


def test_backward_writes_into_the_flat_gradient():
    w, b = leaves([(3, 2), (2,)], "float64")
    optimizer = SGD([w, b], lr=0.1)
    x = np.random.default_rng(3).standard_normal((5, 3))
    (x @ w + b).sum().backward()
    expected = np.concatenate([np.repeat(x.sum(axis=0), 2), [5.0, 5.0]])
    assert w.grad is w.grad_buffer and np.shares_memory(w.grad, optimizer.flat_grad)
    assert optimizer.flat_grad == pytest.approx(expected)
    (x @ w + b).sum().backward()  # gradients add up until zero_grad
    assert optimizer.flat_grad == pytest.approx(2 * expected)
    optimizer.zero_grad()
    assert w.grad is None and b.grad is None
    (x @ w + b).sum().backward()
    assert optimizer.flat_grad == pytest.approx(expected)


def test_no_gradient_counts_as_zero_even_after_one_was_there():
    p, q = leaves([(2,), (3,)])
    optimizer = SGD([p, q], lr=1.0)
    give_gradients([p, q], np.random.default_rng(0))
    optimizer.step()
    before = q.data.copy()
    optimizer.zero_grad()
    p.grad = np.ones(2, np.float32)
    optimizer.step()
    assert np.array_equal(q.data, before)
    assert q.grad is None


def test_a_gradient_set_by_hand_is_taken_in_its_own_dtype():
    p = Tensor(np.zeros(2, np.float32), requires_grad=True)
    optimizer = SGD([p], lr=1.0)
    p.grad = np.array([1.0, 2.0])
    optimizer.step()
    assert np.array_equal(p.data, [-1, -2]) and p.data.dtype == np.float32


def test_a_shared_parameter_is_taken_once():
    p, q = leaves([(2,), (3,)])
    optimizer = SGD([p, q, p], lr=1.0)
    assert optimizer.parameters[0] is p and optimizer.parameters[1] is q and len(optimizer.parameters) == 2
    before = p.data.copy()
    p.grad = np.ones(2, np.float32)
    optimizer.step()
    assert p.data == pytest.approx(before - 1)


@every
def test_chunks_change_nothing(name, kind, settings):
    results = []
    for chunk in (1, 7, 48, 49, 50, 1000):  # the vector has 5·3 + 3 + 1 + 24 + 1 = 44 entries
        parameters, rng = leaves(), np.random.default_rng(4)
        optimizer = type("Small", (kind,), {"chunk": chunk})(parameters, weight_decay=0.1, clip_value=1.0,
                                                             **{k: v for k, v in settings.items()
                                                                if k != "weight_decay"})
        for _ in range(5):
            give_gradients(parameters, rng)
            optimizer.step()
        results.append(values(parameters))
    assert all(same(results[0], r) for r in results[1:])


def test_more_entries_than_the_default_chunk():
    p = Tensor(np.zeros(2 * Optimizer.chunk + 5, np.float32), requires_grad=True)
    optimizer = SGD([p], lr=1.0)
    p.grad = np.arange(p.size, dtype=np.float32)
    optimizer.step()
    assert np.array_equal(p.data, -p.grad)


@every
def test_a_step_allocates_nothing_long(name, kind, settings):
    p = Tensor(np.ones(2_000_000, np.float32), requires_grad=True)
    optimizer = kind([p], clip_norm=1.0, **settings | {"weight_decay": 0.1})
    p.grad = optimizer.grad_views[0]
    optimizer.step()
    gc.collect()
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # one vector takes 8 000 000 bytes; each of 4 threads has three scratch chunks of 262 144


def test_parameters_without_entries():
    p = Tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    optimizer = Adam([p], clip_norm=1.0, weight_decay=0.1)
    optimizer.step()
    assert optimizer.step_count == 1 and p.shape == (0, 3)


# ---------------------------------------------------------------- with the engine

@pytest.mark.parametrize(("kind", "settings", "steps"), [
    (SGD, {"lr": 0.3}, 60), (SGD, {"lr": 0.1, "momentum": 0.6}, 100),
    (SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}, 100), (Adagrad, {"lr": 1.0}, 200),
    (RMSprop, {"lr": step_decay(0.1, 100)}, 400), (Adam, {"lr": cosine(0.3, 200)}, 200),
    (AdamW, {"lr": cosine(0.3, 200), "weight_decay": 0.0}, 200), (Nadam, {"lr": cosine(0.3, 200)}, 200)])
def test_finds_the_bottom_of_a_quadratic(kind, settings, steps):
    rng = np.random.default_rng(5)
    q, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    a, bottom = q @ np.diag([0.5, 1.0, 2.0, 3.0]) @ q.T, rng.standard_normal((4, 1))
    x = Tensor(np.zeros((4, 1)), requires_grad=True)
    optimizer = kind([x], **settings)
    for _ in range(steps):
        optimizer.zero_grad()
        d = x - bottom
        (0.5 * (d * (a @ d))).sum().backward()
        optimizer.step()
    assert np.abs(x.data - bottom).max() < 2e-3


def test_backward_after_a_step_refuses_overwritten_weights():
    x = Tensor(np.ones(3), requires_grad=True)
    optimizer = SGD([x], lr=0.1)
    y = (x * x).sum()
    optimizer.step()
    assert x.version == 1 and optimizer.step_count == 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_works_under_detect_anomaly():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    optimizer = Adam([x], lr=0.1)
    with detect_anomaly():
        for _ in range(2):
            optimizer.zero_grad()
            (x * x).sum().backward()
            optimizer.step()
    assert x.data == pytest.approx([0.8] * 3, abs=1e-2)


@pytest.mark.parametrize("make", [Adagrad, RMSprop, Adam, AdamW, Nadam])
@pytest.mark.parametrize(("dtype", "settings"), [
    ("float16", {}), ("float16", {"eps": 1e-30}), ("float32", {"eps": 1e-50}), ("float64", {"eps": 5e-324})])
def test_an_eps_below_the_dtype_gives_no_nan(make, dtype, settings):
    p = Tensor(np.ones(3, dtype), requires_grad=True)
    optimizer = make([p], lr=0.1, **settings)
    assert optimizer.eps == np.finfo(dtype).tiny
    for _ in range(3):
        p.grad = np.array([0.0, 1.0, 1e-4], dtype)
        optimizer.step()
    assert np.isfinite(p.data).all() and p.data[1] < p.data[0] and p.data[2] > -2.0
    assert p.data[0] == 1.0 or make is AdamW


@pytest.mark.parametrize("limit", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("off", [float("inf"), np.float32(np.inf), np.array(np.inf)])
def test_an_infinite_limit_clips_nothing(limit, off):
    (p,), (q,) = leaves([(3,)]), leaves([(3,)])
    one, other = SGD([p], lr=0.1, **{limit: off}), SGD([q], lr=0.1)
    p.grad = q.grad = np.array([1e30, -2.0, 3.0], np.float32)
    one.step()
    other.step()
    assert same([p.data], [q.data]) and repr(one) == repr(other)
    SGD([p], lr=0.1, clip_norm=float("inf"), clip_value=1.0)


# ---------------------------------------------------------------- resuming

@every
@pytest.mark.parametrize("cut", [0, 1, 6])
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(name, kind, settings, cut):
    def run(parameters, optimizer, steps, rng):
        for _ in range(steps):
            give_gradients(parameters, rng)
            optimizer.step()
            if hasattr(optimizer.lr, "update"):
                optimizer.lr.update(rng.random())

    for make_lr in (lambda: 0.01, lambda: warmup(cosine(0.1, 7), 4), lambda: ReduceOnPlateau(0.1, 0.5, patience=1)):
        settings = settings | {"lr": make_lr(), "weight_decay": 0.1, "clip_norm": 3.0}
        whole, rng = leaves(), np.random.default_rng(6)
        optimizer = kind(whole, **settings)
        run(whole, optimizer, 10, rng)

        first, rng = leaves(), np.random.default_rng(6)
        optimizer_1 = kind(first, **settings | {"lr": make_lr()})
        run(first, optimizer_1, cut, rng)
        weights, state = values(first), optimizer_1.state_dict()
        run(first, optimizer_1, 1, np.random.default_rng(0))  # training after the save does not change the state

        second = leaves(seed=99)
        optimizer_2 = kind(second, **settings | {"lr": make_lr()})
        optimizer_2.zero_grad()
        for p, w in zip(second, weights, strict=True):
            p.data[...] = w
        optimizer_2.load_state_dict(state)
        run(second, optimizer_2, 10 - cut, rng)
        assert same(values(second), values(whole))
        assert optimizer_2.step_count == optimizer.step_count == 10
        assert set(optimizer_2.state_dict()) == set(optimizer.state_dict())


def test_the_state_is_arrays_on_the_host_and_plain_numbers():
    state = Nadam(leaves(), lr=ReduceOnPlateau(0.1)).state_dict()
    assert list(state) == ["step_count", "product", "m", "v", "parameters", "optimizer",
                           "lr.best", "lr.waited", "lr.lr"]
    assert state["optimizer"] == {"class": "Nadam", "betas": [0.9, 0.999], "momentum_decay": 0.004}
    assert state["parameters"] == {str(i): list(shape) for i, shape in enumerate(SHAPES)}
    assert type(state["step_count"]) is int and type(state["product"]) is float
    assert type(state["m"]) is np.ndarray and state["m"].shape == (44,) and state["m"].dtype == np.float32


FOREIGN = [
    (lambda s: s | {"m": np.zeros(43)}, r"Adam: m: shape \(43,\) instead of \(44,\)"),
    (lambda s: s | {"m": np.zeros((1, 44))}, r"m: shape \(1, 44\)"),
    (lambda s: {k: x for k, x in s.items() if k != "v"}, "missing: v"),
    (lambda s: s | {"u": np.zeros(44)}, "unexpected: u"),
    (lambda s: s | {"step_count": np.zeros(2)}, r"step_count: shape \(2,\)"),
    (lambda s: {}, "missing: step_count; missing: m; missing: v"),
]


def test_settings_and_counters_are_plain_copies():
    betas = [0.8, 0.9]
    optimizer = Adam(leaves(), betas=betas)
    betas[0] = 0.1
    assert optimizer.betas == (0.8, 0.9)
    average = ExponentialMovingAverage(optimizer)
    average.load_state_dict(average.state_dict() | {"update_count": np.array(9)})
    assert type(average.update_count) is int and average.update_count == 9


OTHERS = [
    (leaves([(3, 5), *SHAPES[1:]]), r"Adam: 0: shape \(5, 3\) instead of \(3, 5\)"),
    (leaves(SHAPES[::-1]), r"0: shape \(5, 3\) instead of \(1,\)"),
    (leaves([(22,), (22,)]), "unexpected: 2"), (leaves([(4,)] * 11), "missing: 6")]


@pytest.mark.parametrize(("others", "words"), OTHERS)
def test_the_state_of_other_parameters_of_equal_size_is_refused(others, words):
    state = Adam(leaves()).state_dict()
    for saved, mine in ((state, Adam(others)), (ExponentialMovingAverage(leaves()).state_dict(),
                                                ExponentialMovingAverage(others))):
        with pytest.raises(ValueError, match=words.replace("Adam", type(mine).__name__)):
            mine.load_state_dict(saved)


def test_a_state_with_names_finds_parameters_by_name():
    names, order = ["a", "b", "c", "d", "e", "f"], [3, 0, 5, 1, 4, 2]
    first = leaves()
    for make, view in ((Adam, lambda o: o.state["m"]), (ExponentialMovingAverage, lambda e: e.flat)):
        one = make(first)
        view(one)[...] = np.arange(44)
        other = make([leaves()[i] for i in order])
        other.load_state_dict(one.state_dict(names), [names[i] for i in order])
        ends = np.cumsum([0, *(p.size for p in first)])
        expected = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in order])
        assert np.array_equal(view(other), expected)
        with pytest.raises(ValueError, match="missing: 0; .*unexpected: a"):
            other.load_state_dict(one.state_dict(names))


@pytest.mark.parametrize(("value", "words"), [
    (np.full(44, np.nan), "m holds NaN"), (np.full(44, 1e300), "m holds .* too large for float32"),
    (np.zeros(44, complex), "m is of complex128, expected float32"), (np.array(["1"] * 44), "m is of <U1"),
    (np.zeros(44, int), "m is of int64")])
def test_a_state_that_does_not_fit_the_dtype_is_refused(value, words):
    optimizer = Adam(leaves())
    for change in ({"m": value}, {"step_count": -1}, {"step_count": 1.5}, {"step_count": float("nan")},
                   {"parameters": [1]}):
        with pytest.raises((ValueError, TypeError), match=f"Adam: {words if 'm' in change else ''}"):
            optimizer.load_state_dict(optimizer.state_dict() | change)
    assert optimizer.step_count == 0 and not optimizer.state["m"].any()
    wide = {"m": np.full(44, 0.5), "v": np.full(44, np.inf, np.float32)}                 # these do
    optimizer.load_state_dict(optimizer.state_dict() | wide)
    assert (optimizer.state["m"] == 0.5).all()


@pytest.mark.parametrize(("change", "words"), FOREIGN)
def test_a_foreign_state_is_refused_and_changes_nothing(change, words):
    parameters = leaves()
    optimizer = Adam(parameters, lr=0.1)
    give_gradients(parameters, np.random.default_rng(7))
    optimizer.step()
    before = optimizer.state_dict()
    foreign = {k: x if k in ("parameters", "optimizer") else x + 1 for k, x in before.items()}
    with pytest.raises(ValueError, match=words):
        optimizer.load_state_dict(change(foreign))
    after = optimizer.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_the_state_of_another_optimizer_is_refused():
    with pytest.raises(ValueError, match="SGD: missing: u; unexpected: m; unexpected: v"):
        SGD(leaves(), lr=0.1, momentum=0.9).load_state_dict(Adam(leaves()).state_dict())


@pytest.mark.parametrize(("theirs", "mine", "words"), [
    (Adam, AdamW, r"AdamW: this state is of Adam\(betas=\[0.9, 0.999\]\), and cannot go on in AdamW\(betas="),
    (RMSprop, Adagrad, r"of RMSprop\(alpha=0.99\), and cannot go on in Adagrad\(\)"),
    (Adam, lambda p: Adam(p, betas=(0.5, 0.999)), r"betas=\[0.9, 0.999\].*betas=\[0.5, 0.999\]"),
    (lambda p: SGD(p, 0.1, momentum=0.9), lambda p: SGD(p, 0.1, momentum=0.5), "momentum=0.9.*momentum=0.5"),
    (lambda p: SGD(p, 0.1), lambda p: ExponentialMovingAverage(p), "missing: average"),
    (Nadam, lambda p: Nadam(p, momentum_decay=0.1), "momentum_decay=0.004.*momentum_decay=0.1")])
def test_a_state_of_a_wrong_kind_is_refused(theirs, mine, words):
    state, other = theirs(leaves()).state_dict(), mine(leaves())
    with pytest.raises(ValueError, match=words):
        other.load_state_dict(state)


def test_a_state_continues_under_another_rate_and_after_json():
    one = Adam(leaves(), betas=np.array([0.5, 0.9]))
    state = one.state_dict()
    plain = json.loads(json.dumps({k: x for k, x in state.items() if not hasattr(x, "shape")}))
    Adam(leaves(), lr=0.5, betas=(0.5, 0.9), eps=0.1, weight_decay=0.1).load_state_dict(state | plain)
    SGD(leaves(), 0.1, momentum=0).load_state_dict(SGD(leaves(), 0.1, momentum=0.0).state_dict())


@pytest.mark.parametrize(("change", "words"), [
    ({"v": np.full(44, -1.0)}, "v sums squares, but holds negative"), ({"m": np.full(44, np.inf)}, "m holds infinite"),
    ({"m": np.ma.masked_less(np.zeros(44), 1)}, "m is a masked array"), ({"product": 2.0}, r"product is .*\[0, 1\]"),
    ({"product": -0.1}, "product is"), ({"product": "1"}, "product is"), ({"product": None}, "product is"),
    ({"step_count": 10**400}, "step_count is a whole number"), ({"step_count": True}, "step_count is"),
    ({"parameters": {"0": None}}, "parameters: 0: expected a shape, got None"),
    ({"parameters": {"0": [5, -3]}}, "parameters: 0: expected a shape"),
    ({"parameters": {"0": [2.5]}}, "parameters: 0: expected a shape"),
    ({"parameters": {"0": "53"}}, "parameters: 0: expected a shape"),
    ({"parameters": None}, "parameters: expected name"),
    ({"optimizer": None}, "this state is of no optimizer"), ({"optimizer": {}}, "this state is of no optimizer")])
def test_a_damaged_state_is_refused_and_changes_nothing(change, words):
    optimizer = Nadam(leaves())
    before = optimizer.state_dict()
    with pytest.raises((ValueError, TypeError), match=f"Nadam: {words}"):
        optimizer.load_state_dict(before | change)
    after = optimizer.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_wrong_average_is_refused():
    average = ExponentialMovingAverage(leaves())
    for change, words in (({"average": np.full(44, np.inf)}, "infinite"),
                          ({"average": np.ma.masked_less(np.zeros(44), 1)}, "masked"),
                          ({"parameters": {"0": None}}, "expected a shape")):
        with pytest.raises((ValueError, TypeError), match=f"ExponentialMovingAverage: .*{words}"):
            average.load_state_dict(average.state_dict() | change)


@pytest.mark.parametrize("make", [Adam, ExponentialMovingAverage])
@pytest.mark.parametrize(("names", "words"), [
    (["a"], "1 names for 6 parameters"), ([], "0 names"), (list("abcdefg"), "7 names for 6"),
    (list("abcdec"), "names: two parameters are called 'c'"),
    ([1, 2, 3, 4, 5, "1"], "names: two parameters are called '1'")])
def test_names_that_name_no_parameter_are_refused(make, names, words):
    thing = make(leaves())
    for call in (thing.state_dict, lambda names: thing.load_state_dict(thing.state_dict(), names)):
        with pytest.raises(ValueError, match=f"{make.__name__}: {words}"):
            call(names)


@pytest.mark.parametrize("names", [3, "ab", {"a", "b"}])
def test_names_without_an_order_are_refused(names):
    with pytest.raises(TypeError, match="Adam: names are a list, one for each parameter in their order, got "):
        Adam(leaves([(2,), (2,)])).state_dict(names)


@pytest.mark.parametrize(("grad", "words"), [
    (np.ma.masked_less(np.zeros(2, np.float32), 1), "is masked"), (np.zeros(2, complex), "is of complex128"),
    (np.array(["1", "2"]), "is of <U1"), (np.array([None, 1]), "is of object"),
    (np.array(["2020", "2021"], "datetime64[Y]"), r"is of datetime64\[Y\]"), (Tensor(np.zeros(2)), "is a Tensor")])
def test_a_gradient_of_a_wrong_kind_is_refused(grad, words):
    p, q = leaves([(3,), (2,)])
    optimizer, before = SGD([p, q], lr=0.1), values([p, q])
    p.grad, q.grad = np.ones(3), grad
    with pytest.raises(TypeError, match=rf"SGD: the grad of parameter 1 of shape \(2,\) {words}, expected a real"):
        optimizer.step()
    assert same(values([p, q]), before) and optimizer.step_count == 0


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "bool"])
def test_a_gradient_of_another_real_dtype_is_taken(dtype):
    p, = leaves([(2,)])
    optimizer, before = SGD([p], lr=1.0), p.data.copy()
    p.grad = np.array([1, 0], dtype)
    optimizer.step()
    assert np.allclose(p.data, before - [1, 0])


# ---------------------------------------------------------------- faults

def test_after_a_second_optimizer_took_over_the_first_one_refuses():
    p, q = leaves([(2, 2), (3,)])
    first = Adam([p, q])
    second = Adam([q])
    before = values([p, q])
    with pytest.raises(RuntimeError, match=r"Adam: parameter 1 of shape \(3,\) is no longer this optimizer's"):
        first.step()
    assert same(values([p, q]), before) and first.step_count == 0
    second.step()


def test_replaced_data_is_an_error_and_written_data_is_not():
    p, = leaves([(2, 2)])
    optimizer = Nadam([p])
    p.data[...] = 5.0
    optimizer.step()
    p.data = p.data + 0.0
    with pytest.raises(RuntimeError, match="no longer this optimizer's"):
        optimizer.step()
    assert (optimizer.step_count, optimizer.product) == (1, optimizer.mu(1))


@pytest.mark.parametrize("grad", [np.ones(1, np.float32), np.ones((3, 2), np.float32), [1.0, 2.0], 1.0])
def test_a_gradient_of_a_wrong_shape_is_refused(grad):
    p, = leaves([(2, 3)])
    optimizer = SGD([p], lr=0.1)
    before = p.data.copy()
    p.grad = grad
    with pytest.raises(ValueError, match=r"SGD: parameter 0 has shape \(2, 3\), but its grad has shape"):
        optimizer.step()
    assert np.array_equal(p.data, before)


@pytest.mark.parametrize("make", [lambda p: Adam(p), lambda p: ExponentialMovingAverage(p)])
def test_wrong_parameters_are_refused(make):
    x, y = leaves([(2,), (3,)])
    with pytest.raises(ValueError, match="list of parameters is empty"):
        make([])
    with pytest.raises(ValueError, match=r"parameter 0 is float32 in numpy and parameter 1 of shape \(2,\) is float64"):
        make([x, *leaves([(2,)], "float64")])
    with pytest.raises(TypeError, match="parameter 1 must be .*from=multiply"):
        make([x, x * y[:2]])
    with pytest.raises(TypeError, match="parameter 0 must be"):
        make([x.data])
    with pytest.raises(TypeError, match="parameter 0 must be"):
        make([Tensor(np.zeros(2))])
    with pytest.raises(TypeError, match="parameter 0 must be .*'weights'"):
        make({"weights": x})
    complex_leaf = Tensor(np.zeros(2, "complex128"))
    complex_leaf.requires_grad = True  # Tensor itself refuses this
    with pytest.raises(TypeError, match="parameter 0 must be a real"):
        make([complex_leaf])
    for wrong, words in ((Dense(2, 3, rng=np.random.default_rng(0)), "got a Dense"), (x, "got a Tensor"),
                         (None, "got None"), (3, "got an int"), (Dense.parameters, "got a function")):
        with pytest.raises(TypeError, match=f"parameters are a list of Tensors, such as model.parameters.., {words}"):
            make(wrong)
    assert x.grad_buffer is None  # a refused parameter is left alone
    assert len(make(p for p in (x, y)).parameters) == 2


@pytest.mark.parametrize(("kind", "settings", "words"), [
    (SGD, {"lr": -0.1}, "SGD: lr is a number ≥ 0 or a schedule, got -0.1"),
    (SGD, {"lr": float("nan")}, "lr is a number"),
    (SGD, {"lr": float("inf")}, "lr is a number"),
    (SGD, {"lr": 0.1, "momentum": -0.1}, "momentum is a number in"),
    (SGD, {"lr": 0.1, "weight_decay": float("inf")}, "weight_decay is a number"),
    (RMSprop, {"alpha": 1.0}, "alpha is a number in"),
    (Adam, {"betas": (-0.1, 0.9)}, "Adam: betas are two numbers"),
    (Adam, {"betas": (0.9, 0.9, 0.9)}, "Adam: betas are two numbers"),
    (Adam, {"clip_value": 0.0}, "clip_value is a number > 0"),
    (SGD, {"lr": 0.1, "momentum": 1.0}, "momentum is a number in"),
    (SGD, {"lr": 0.1, "nesterov": True}, "nesterov needs momentum"),
    (SGD, {"lr": 0.1, "weight_decay": -1.0}, "weight_decay is a number"),
    (Adam, {"betas": (0.9, 1.0)}, "Adam: betas are two numbers"),
    (AdamW, {"betas": (0.9,)}, "AdamW: betas are two numbers"),
    (RMSprop, {"alpha": -0.1}, "alpha is a number in"),
    (Adam, {"clip_norm": 0.0}, "clip_norm is a number > 0"),
    (Adam, {"clip_value": -1.0}, "clip_value is a number > 0"),
    (Adam, {"clip_value": 1.0, "clip_norm": 1.0}, "by norm or by value, not both"),
    (Adam, {"eps": -1.0}, "Adam: eps is a number > 0, got -1.0"), (Adam, {"eps": 0.0}, "eps is a number > 0, got 0.0"),
    (AdamW, {"eps": float("nan")}, "AdamW: eps"), (Nadam, {"eps": "1e-8"}, "Nadam: eps is a number > 0, got '1e-8'"),
    (Adagrad, {"eps": 0}, "Adagrad: eps"), (RMSprop, {"eps": float("inf")}, "RMSprop: eps"),
    (Adam, {"betas": (0.9, float("nan"))}, "betas are two"), (Adam, {"betas": 0.9}, "betas are two"),
    (Adam, {"betas": None}, "betas are two"), (Adam, {"betas": ("0.9", 0.9)}, "betas are two"),
    (Adam, {"betas": ((0.9, 0.1), 0.9)}, "betas are two"), (Adam, {"betas": np.array(0.9)}, "betas are two"),
    (RMSprop, {"alpha": float("nan")}, "alpha is"), (RMSprop, {"alpha": None}, "alpha is"),
    (SGD, {"lr": 0.1, "momentum": float("nan")}, "momentum is"), (SGD, {"lr": "0.1"}, "SGD: lr is .*, got '0.1'"),
    (SGD, {"lr": None}, "lr is"), (SGD, {"lr": True}, "lr is"), (SGD, {"lr": [0.1]}, "lr is"),
    (Nadam, {"momentum_decay": -1.0}, "momentum_decay is"), (Nadam, {"momentum_decay": float("nan")}, "momentum_decay"),
    (Adam, {"weight_decay": None}, "weight_decay is"), (AdamW, {"weight_decay": float("nan")}, "weight_decay is"),
    (Adam, {"clip_norm": float("nan")}, "clip_norm is"), (Adam, {"clip_norm": "1"}, "clip_norm is"),
    (Adam, {"clip_value": float("nan")}, "clip_value is"),
    (Adam, {"clip_norm": -float("inf")}, "clip_norm is"),
])
def test_wrong_settings_are_named(kind, settings, words):
    x, = leaves([(2,)])
    with pytest.raises(ValueError, match=words):
        kind([x], **settings)
    assert x.grad_buffer is None


def test_numpy_settings_become_pythons():
    optimizer = Adam(leaves(), lr=np.float32(0.5), betas=np.array([0.5, 0.75]), eps=np.float64(0.1),
                     clip_norm=np.int64(2), weight_decay=np.float32(0.25))
    assert repr(optimizer).endswith("lr=0.5, betas=(0.5, 0.75), eps=0.1, weight_decay=0.25, clip_norm=2; 0 steps done)")
    give_gradients(optimizer.parameters, np.random.default_rng(0))
    optimizer.step()
    assert optimizer.flat.dtype == np.float32


# ---------------------------------------------------------------- copies

def copied_by_pickle(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, copied_by_pickle])
@every
def test_a_copy_trains_independently(name, kind, settings, copied):
    settings = settings | {"lr": warmup(cosine(0.05, steps=8), steps=3)}
    model = Dense(3, 4, rng=np.random.default_rng(0))
    optimizer = kind(model.parameters(), clip_norm=1.0, **settings)
    average, rng = ExponentialMovingAverage(optimizer, 0.5), np.random.default_rng(1)

    def go(model, optimizer, average, rng):
        for _ in range(3):
            optimizer.zero_grad()
            x = rng.standard_normal((5, 3)).astype(np.float32)
            (model(x) * model(x)).sum().backward()
            optimizer.step()
            average.update()
        return [*values(model.parameters()), optimizer.flat.copy(), average.flat.copy()]
    go(model, optimizer, average, rng)
    before = [*values(model.parameters()), optimizer.flat.copy(), average.flat.copy()]
    model2, optimizer2, average2, rng2 = copied((model, optimizer, average, rng))
    assert all(np.array_equal(a, b) for a, b in zip(before, [*values(model2.parameters()), optimizer2.flat,
                                                             average2.flat], strict=True))
    assert [p.grad is g for p, g in zip(optimizer2.parameters, optimizer2.grad_views, strict=True)] == [True, True]
    end2 = go(model2, optimizer2, average2, rng2)
    assert all(np.shares_memory(p.data, optimizer2.flat) for p in model2.parameters())
    assert same(before, [*values(model.parameters()), optimizer.flat, average.flat])       # the first is unchanged
    assert same(go(model, optimizer, average, rng), end2)                                  # and trains alike
    assert optimizer2.step_count == optimizer.step_count == 6 and repr(optimizer2) == repr(optimizer)


def test_copies_of_an_optimizer_alone():
    model, plateau = Dense(3, 4, rng=np.random.default_rng(0)), ReduceOnPlateau(0.1)
    first = Adam(model.parameters(), lr=plateau)
    alone = copy.deepcopy(first)                                 # with parameters, and a plateau, of its own
    assert alone.parameters[0] is not model.w and alone.lr is not plateau
    give_gradients(alone.parameters, np.random.default_rng(0))
    alone.step()
    assert np.array_equal(first.flat[:12], model.w.data.ravel()) and not np.array_equal(alone.flat, first.flat)
    second = SGD([model.b], lr=0.1)                              # takes b over from the first
    model2, first2, second2 = copy.deepcopy((model, first, second))
    second3, first3, model3 = copy.deepcopy((second, first, model))
    for m, one, two in ((model2, first2, second2), (model3, first3, second3)):
        assert one.parameters == [m.w, m.b] and two.parameters == [m.b]
        m.b.grad = np.ones(4, np.float32)
        two.step()
        assert np.shares_memory(m.b.data, two.flat)
        with pytest.raises(RuntimeError, match="parameter 1 .* is no longer this optimizer's"):
            one.step()
    model.optimizer = second
    model4 = copied_by_pickle(model)
    assert model4.optimizer.parameters[0] is model4.b and np.shares_memory(model4.b.data, model4.optimizer.flat)
    with pytest.raises(TypeError, match="SGD: two optimizers cannot share parameters; copy.deepcopy"):
        copy.copy(second)


def test_repr_is_for_people():
    optimizer = Adam(leaves([(30, 40), (5,)]), lr=warmup(0.1, 5), clip_norm=1.0)
    assert repr(optimizer) == ("Adam(1,205 parameters in 2 arrays of float32, lr=warmup(0.1, steps=5), "
                               "betas=(0.9, 0.999), eps=1e-08, clip_norm=1.0; 0 steps done)")
    assert "momentum=0.9, nesterov=False, weight_decay=0.1;" in repr(SGD(leaves(), 0.1, 0.9, weight_decay=0.1))


# ---------------------------------------------------------------- moving average of the weights

@pytest.mark.parametrize("source", ["optimizer", "list"])
def test_average_is_the_weighted_mean_of_the_weights_seen(source):
    parameters, rng, d = leaves(dtype="float64"), np.random.default_rng(8), 0.7
    optimizer = SGD(parameters, lr=0.5)
    average = ExponentialMovingAverage(optimizer if source == "optimizer" else parameters, decay=d)
    assert np.array_equal(average.flat, optimizer.flat)
    seen = []
    for t in range(1, 8):
        give_gradients(parameters, rng)
        optimizer.step()
        average.update()
        seen.append(optimizer.flat.copy())
        weights = d ** np.arange(t - 1, -1, -1.0)
        assert average.flat == pytest.approx(weights @ np.array(seen) / weights.sum(), rel=1e-12, abs=1e-12)
    assert not np.shares_memory(average.flat, optimizer.flat)


def test_average_of_constant_weights_is_these_weights():
    p, = leaves([(3, 2)])
    average = ExponentialMovingAverage([p], decay=0.99)
    for _ in range(5):
        average.update()
    assert average.views[0] == pytest.approx(p.data, rel=1e-6) and average.flat.dtype == np.float32


def test_average_follows_a_list_of_parameters_to_another_optimizer():
    p, = leaves([(3, 2)], "float64")
    average = ExponentialMovingAverage([p], decay=0.0)
    SGD([p], lr=0.1)
    p.data[...] = 4.0
    average.update()
    assert average.views[0] == pytest.approx(np.full((3, 2), 4.0))


def test_swapped_shows_the_average_and_always_puts_the_weights_back():
    parameters = leaves()
    optimizer = SGD(parameters, lr=0.5)
    average = ExponentialMovingAverage(optimizer, decay=0.5)
    for _ in range(3):
        give_gradients(parameters, np.random.default_rng(9))
        optimizer.step()
        average.update()
    before, mean, version = values(parameters), average.flat.copy(), parameters[0].version
    with pytest.raises(KeyError), average.swapped():
        assert np.array_equal(optimizer.flat, mean)
        assert parameters[0].version == version + 1
        optimizer.flat += 1.0  # changes inside are undone, and do not reach the average
        raise KeyError
    assert same(values(parameters), before) and np.array_equal(average.flat, mean)
    assert parameters[0].version == version + 2
    optimizer.step()  # still this optimizer's


def test_average_resumes_bit_for_bit():
    def run(average, parameter, rng, steps):
        for _ in range(steps):
            parameter.data[...] = rng.standard_normal(parameter.shape)
            average.update()
    p, = leaves([(40,)])
    whole, first = (ExponentialMovingAverage([p], decay=0.9) for _ in range(2))
    run(whole, p, np.random.default_rng(10), 9)
    rng = np.random.default_rng(10)
    run(first, p, rng, 4)
    state = first.state_dict()
    run(first, p, np.random.default_rng(0), 1)
    second = ExponentialMovingAverage(leaves([(8, 5)], seed=3), decay=0.9)
    with pytest.raises(ValueError, match=r"ExponentialMovingAverage: average: shape \(41,\) instead of \(40,\)"):
        second.load_state_dict(state | {"average": np.zeros(41)})
    second = ExponentialMovingAverage([p], decay=0.9)
    second.load_state_dict(state)
    run(second, p, rng, 5)
    assert np.array_equal(second.flat, whole.flat) and second.update_count == 9


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan"), None, "0.9", float("inf")])
def test_wrong_decay_is_named(decay):
    with pytest.raises(ValueError, match="decay is a number in"):
        ExponentialMovingAverage(leaves(), decay=decay)


def test_average_prints_itself():
    assert repr(ExponentialMovingAverage(leaves([(30, 50)]), 0.99)) == (
        "ExponentialMovingAverage(1,500 parameters, decay=0.99; 0 updates done)")


@pytest.mark.parametrize("make", [lambda p: SGD(p, 1e-3, momentum=0.9), RMSprop, Adam, Nadam])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_of_dead_units_do_not_stay_denormal(make, dtype):
    p = Tensor(np.ones(2, dtype=dtype), requires_grad=True)
    optimizer, tiny = make([p]), np.finfo(dtype).tiny
    for name in optimizer.state:
        optimizer.state[name][:] = tiny
    p.grad = np.array([0.0, 1.0], dtype=dtype)
    for _ in range(200):
        optimizer.step()
    assert all(s[0] == 0 and s[1] > 0.1 for s in optimizer.state.values())


@pytest.mark.parametrize("make", [lambda p: SGD(p, 1e-3, momentum=0.9), Adagrad, RMSprop, Adam, Nadam])
@pytest.mark.parametrize("dtype, g", [("float32", 1e-17), ("float64", 1e-150), ("float16", 0.05)])
def test_small_moments_that_live_are_kept(make, dtype, g):
    p = Tensor(np.zeros(1, dtype=dtype), requires_grad=True)
    optimizer = make([p])
    p.grad = np.array([g], dtype=dtype)
    for step in range(201):
        before = {name: s.copy() for name, s in optimizer.state.items()}
        optimizer.step()
        for name, s in optimizer.state.items():
            assert s[0] >= 0.85 * before[name][0] and (s[0] > 0 or g * g < np.finfo(dtype).tiny), (name, step)
