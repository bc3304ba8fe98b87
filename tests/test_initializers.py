"""Initializers: moments, bounds, orthogonality, determinism, dtypes, fans; scipy's and PyTorch's formulas."""

import math

import numpy as np
import pytest

from scratchnet import initializers as init

RANDOM = [init.uniform, init.normal, init.truncated_normal, init.glorot_uniform, init.glorot_normal, init.he_uniform,
          init.he_normal, init.lecun_uniform, init.lecun_normal, init.orthogonal]
SHAPES = {"dense": (300, 200), "conv": (3, 5, 70, 60)}
FANS = {"dense": (300, 200), "conv": (3 * 5 * 70, 3 * 5 * 60)}


@pytest.mark.parametrize("f", RANDOM)
def test_one_seed_one_result_in_both_precisions(f):
    a, b, other = (f(np.random.default_rng(seed), (4, 7)) for seed in (5, 5, 6))
    double = f(np.random.default_rng(5), (4, 7), "float64")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, other)
    assert (a.dtype, double.dtype) == (np.float32, np.float64)
    assert np.array_equal(a, double.astype(np.float32))
    assert not np.array_equal(a, double)  # real float64, not float32 widened


@pytest.mark.parametrize("f", [*RANDOM, init.zeros, init.constant])
def test_shape_layout_and_ownership(f):
    for shape in ((3, 4), (5, 2), (2, 3, 4, 5)):
        w = f(np.random.default_rng(0), shape)
        assert w.shape == shape
        assert w.flags.c_contiguous and w.flags.writeable


@pytest.mark.parametrize("f", [*RANDOM, init.zeros, init.constant])
def test_integers_are_refused(f):
    with pytest.raises(TypeError, match="int64"):
        f(np.random.default_rng(0), (3, 4), "int64")


@pytest.mark.parametrize("f", [init.uniform, init.normal, init.truncated_normal])
@pytest.mark.parametrize("shape", [(), (5,), (0,), (2, 0, 3)])
def test_unscaled_initializers_take_any_shape(f, shape):
    w = f(np.random.default_rng(0), shape)
    assert w.shape == shape and w.dtype == np.float32


def test_zeros_and_constant_need_no_rng():
    assert np.array_equal(init.zeros(None, (2, 3)), np.zeros((2, 3)))
    w = init.constant(None, (4,), value=-1.5)
    assert np.array_equal(w, [-1.5] * 4) and w.dtype == np.float32


def test_fans():
    assert init.fans((7, 3)) == (7, 3)
    assert init.fans((3, 5, 7, 2)) == (3 * 5 * 7, 3 * 5 * 2)


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (3, 0), (0, 3, 4, 5)])
@pytest.mark.parametrize("f", [init.glorot_uniform, init.he_normal, init.lecun_normal, init.orthogonal])
def test_shapes_without_fans_are_refused(f, shape):
    with pytest.raises(ValueError, match=r"none of them 0, got \("):
        f(np.random.default_rng(0), shape)


VARIANCES = [  # (function, options, variance from the fans, kurtosis: 3 if normal, 1.8 if uniform)
    (init.glorot_uniform, {}, lambda i, o: 2 / (i + o), 1.8),
    (init.glorot_normal, {}, lambda i, o: 2 / (i + o), 3.0),
    (init.he_uniform, {}, lambda i, o: 2 / i, 1.8),
    (init.he_normal, {}, lambda i, o: 2 / i, 3.0),
    (init.he_uniform, {"mode": "fan_out"}, lambda i, o: 2 / o, 1.8),
    (init.he_normal, {"mode": "fan_out"}, lambda i, o: 2 / o, 3.0),
    (init.lecun_uniform, {}, lambda i, o: 1 / i, 1.8),
    (init.lecun_normal, {}, lambda i, o: 1 / i, 3.0),
    (init.lecun_normal, {"mode": "fan_out"}, lambda i, o: 1 / o, 3.0),
    (init.lecun_uniform, {"mode": "fan_out"}, lambda i, o: 1 / o, 1.8),
]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(("f", "options", "variance", "kurtosis"), VARIANCES)
def test_moments(f, options, variance, kurtosis, kind):
    w = f(np.random.default_rng(1), SHAPES[kind], "float64", **options).ravel()
    expected = variance(*FANS[kind])
    n = w.size
    assert abs(w.mean()) < 5 * math.sqrt(expected / n)
    # the sample variance has standard deviation σ² √((κ − 1)/n)
    assert abs(w.var() / expected - 1) < 5 * math.sqrt((kurtosis - 1) / n)
    assert np.mean(w**4) / w.var() ** 2 == pytest.approx(kurtosis, abs=0.12)
    if kurtosis == 1.8:
        assert 0.999 < np.abs(w).max() / math.sqrt(3 * expected) <= 1.0


def test_uniform_and_normal_take_their_limits():
    w = init.uniform(np.random.default_rng(2), (50_000,), low=2.0, high=5.0)
    assert 2.0 <= w.min() < 2.001 and 4.999 < w.max() <= 5.0
    w = init.normal(np.random.default_rng(2), (50_000,), "float64", mean=3.0, std=0.5)
    assert w.mean() == pytest.approx(3.0, abs=0.012) and w.std() == pytest.approx(0.5, rel=0.02)


def test_truncated_normal_is_the_conditional_distribution():
    w = init.truncated_normal(np.random.default_rng(3), (200, 200), "float64", mean=1.0, std=0.1).ravel()
    assert 0.8 <= w.min() < 0.801 and 1.199 < w.max() <= 1.2
    assert w.std() == pytest.approx(0.1 * 0.87963, rel=0.02)
    stats = pytest.importorskip("scipy.stats")
    assert stats.kstest(w, stats.truncnorm(-2, 2, loc=1.0, scale=0.1).cdf).pvalue > 0.01


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (1, 3), (3, 1), (2, 3, 4, 7), (1, 2, 2, 9)])
def test_orthogonal_columns_or_rows(shape):
    w = init.orthogonal(np.random.default_rng(4), shape, "float64", gain=3.0).reshape(-1, shape[-1]) / 3.0
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    assert np.allclose(gram, np.eye(len(gram)), atol=1e-13)


def test_orthogonal_is_uniform_over_all_orthogonal_matrices():
    rng = np.random.default_rng(5)
    q = np.stack([init.orthogonal(rng, (3, 3), "float64") for _ in range(4000)])
    assert np.abs(q.mean(axis=0)).max() < 5 / math.sqrt(3 * 4000)  # also the diagonal, to which QR alone gives one sign
    assert np.allclose((q**2).mean(axis=0), 1 / 3, atol=0.025)
    assert abs(np.linalg.det(q).mean()) < 5 / math.sqrt(4000)


def test_he_keeps_the_signal_through_relu_layers_and_glorot_through_linear_ones():
    rng = np.random.default_rng(6)
    x = y = rng.standard_normal((200, 400))
    for _ in range(8):
        x = np.maximum(x @ init.he_normal(rng, (400, 400), "float64"), 0)
        y = y @ init.glorot_uniform(rng, (400, 400), "float64")
    assert 0.5 < np.mean(x**2) < 2 and 0.7 < np.mean(y**2) < 1.4


@pytest.mark.parametrize("f", [*RANDOM, init.zeros, init.constant])
def test_wrong_shapes_and_dtypes_are_named(f):
    rng = np.random.default_rng(0)
    for shape in (None, "ab", 1.5, np.nan, (2, -1), (2.5, 3), ("a", 2), {}, True, (None, 2)):
        with pytest.raises(ValueError, match=r"^\w+: .*shape"):
            f(rng, shape)
    for dtype in (None, "b", 5, [1], "int8", object):
        with pytest.raises(TypeError, match=r"^\w+: weights are floating-point numbers, got dtype"):
            f(rng, (2, 3), dtype)
    assert f(rng, [np.int64(2), 3]).shape == (2, 3)


@pytest.mark.parametrize(("f", "setting"), [
    (init.constant, "value"), (init.uniform, "low"), (init.uniform, "high"), (init.normal, "mean"),
    (init.normal, "std"), (init.truncated_normal, "mean"), (init.truncated_normal, "std"), (init.orthogonal, "gain")])
@pytest.mark.parametrize("value", [None, "1", [1.0], np.nan, np.inf, True])
def test_wrong_settings_are_named(f, setting, value):
    with pytest.raises(ValueError, match=f"^{f.__name__}: {setting} is a finite number.*, got "):
        f(np.random.default_rng(0), (2, 3), **{setting: value})


def test_a_spread_is_not_negative():
    for f, wrong in ((init.normal, {"std": -1}), (init.truncated_normal, {"std": -1}), (init.uniform, {"low": 1})):
        with pytest.raises(ValueError, match=f"^{f.__name__}: (std|high) is a finite number ≥"):
            f(np.random.default_rng(0), (2, 3), **wrong)


def test_wrong_mode_is_named():
    with pytest.raises(ValueError, match="mode.*fan_avg"):
        init.he_normal(np.random.default_rng(0), (3, 4), mode="fan_avg")


@pytest.mark.parametrize(("ours", "theirs", "options"), [
    (init.glorot_uniform, "xavier_uniform_", {}),
    (init.glorot_normal, "xavier_normal_", {}),
    (init.he_uniform, "kaiming_uniform_", {"nonlinearity": "relu"}),
    (init.he_normal, "kaiming_normal_", {"nonlinearity": "relu"}),
    (init.lecun_uniform, "kaiming_uniform_", {"nonlinearity": "linear"}),
    (init.lecun_normal, "kaiming_normal_", {"nonlinearity": "linear"}),
])
def test_spread_agrees_with_pytorch(ours, theirs, options):
    torch = pytest.importorskip("torch")
    kh, kw, c, o = 3, 5, 40, 30
    w = torch.empty(o, c, kh, kw, dtype=torch.float64)  # PyTorch's order of the axes
    getattr(torch.nn.init, theirs)(w, **options, generator=torch.Generator().manual_seed(0))
    assert ours(np.random.default_rng(7), (kh, kw, c, o), "float64").std() == pytest.approx(w.std().item(), rel=0.03)
