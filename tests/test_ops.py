"""Every op against finite differences (first and second order), its laws and its formula."""

import numpy as np
import pytest
from cases import cases, tape_dies
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import Tensor, check, grad, losses, ops
from scratchnet.autograd import REGISTRY

NAMES = list(cases(np.random.default_rng(0)))
seeds = st.integers(0, 2**32 - 1)


def first(y):
    return y[0] if isinstance(y, tuple) else y


def test_every_op_has_a_row():
    ours = {op.op.name for op in REGISTRY.values() if op.op.forward.__module__.startswith("scratchnet")}
    public = {n for n in ops.__all__ if callable(getattr(ops, n)) and not n.startswith("argmax_")}
    missing = (ours | public) - set(NAMES)
    assert not missing, f"add rows to tests/cases.py for {missing}"


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
def test_gradient_first_and_second_order(name, seed):
    f, *xs = cases(np.random.default_rng(seed))[name]
    check.gradients(f, *xs, order=2 if sum(x.size for x in xs) < 400 else 1, seed=seed)


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds)
def test_laws(name, seed):
    """Arrays give arrays, with a Tensor's values. float32 stays float32. No argument is changed or aliased."""
    f, *xs = cases(np.random.default_rng(seed))[name]
    xs = [x.astype(np.float32) for x in xs]
    before = [x.copy() for x in xs]
    y = first(f(*xs))
    tensors = [Tensor(x, requires_grad=True) for x in xs]
    t = first(f(*tensors))
    assert not isinstance(y, Tensor) and y.dtype == np.float32 == t.dtype
    assert isinstance(t, Tensor) and t.requires_grad
    np.testing.assert_array_equal(y, t.data)
    gy = np.random.default_rng(seed).standard_normal(t.shape).astype(np.float32)
    kept = gy.copy()
    t.backward(gy)
    for x, old, tensor in zip(xs, before, tensors, strict=True):
        np.testing.assert_array_equal(x, old)
        assert tensor.grad.dtype == np.float32 and tensor.grad.shape == x.shape
        assert not np.shares_memory(tensor.grad, gy) and not np.shares_memory(tensor.grad, x)
    np.testing.assert_array_equal(gy, kept)


@pytest.mark.parametrize("name", NAMES)
def test_graph_dies_without_the_collector(name):
    f, *xs = cases(np.random.default_rng(3))[name]
    tensors = [Tensor(x, requires_grad=True) for x in xs]
    assert tape_dies(lambda: first(f(*[x * 1.0 for x in tensors])))


def test_batch_norm_far_from_zero_has_the_same_gradient_when_it_is_recorded():
    """Here Σ x² − n μ² has no digits left in float32, but Σ (x − μ)² has."""
    rng = np.random.default_rng(0)
    x, gy = (1000 + rng.standard_normal((50, 3))).astype(np.float32), rng.standard_normal((50, 3)).astype(np.float32)
    ones = np.ones(3, np.float32)

    def gradient(create_graph):
        t = Tensor(x, requires_grad=True)
        return grad(ops.batch_norm(t, ones, ones)[0], t, gy, create_graph=create_graph).data
    np.testing.assert_allclose(gradient(True), gradient(False), rtol=1e-2, atol=1e-3)


CONVOLUTIONS = [(s, p, k, o) for s in (1, 2, (1, 3)) for p in ("same", "valid", 1, ((2, 0), (0, 1)))
                for k, o in (((3, 3), 2), ((2, 4), 5), ((1, 1), 1), ((3, 2), 30))]


@pytest.mark.parametrize("stride, padding, kernel, o", CONVOLUTIONS)
def test_convolution_against_loops_and_its_adjoints(stride, padding, kernel, o):
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 7, 6, 3)), rng.normal(size=(*kernel, 3, o))
    y = ops.conv2d(x, w, None, stride, padding)
    stride2, pads, size = ops.convolution.geometry("test", (7, 6), kernel, stride, padding)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    for p in range(size[0]):
        for q in range(size[1]):
            window = padded[:, p * stride2[0]:p * stride2[0] + kernel[0], q * stride2[1]:q * stride2[1] + kernel[1]]
            np.testing.assert_allclose(y[:, p, q], np.tensordot(window, w, 3), atol=1e-12)
    check.adjoint(lambda x: ops.conv2d(x, w, None, stride, padding),
                  lambda y: ops.conv2d_transpose(y, w, None, stride, padding, (7, 6)), x.shape, y.shape)
    check.adjoint(lambda w: ops.conv2d(x, w, None, stride, padding),
                  lambda y: ops.conv2d_weight(x, y, kernel, stride, padding), w.shape, y.shape)


@pytest.mark.parametrize("n, k, s, pads", [(7, 2, 1, (0, 1)), (7, 4, 1, (1, 2)), (7, 3, 2, (1, 1)), (6, 3, 2, (0, 1)),
                                           (5, 4, 3, (1, 1)), (5, 1, 2, (0, 0)), (28, 4, 2, (1, 1)), (9, 2, 3, (0, 0))])
def test_same_padding_is_tensorflows(n, k, s, pads):
    """⌈n/s⌉ outputs. Of the max((⌈n/s⌉ − 1) s + k − n, 0) zeros, the smaller half comes first."""
    assert ops.convolution.geometry("test", (n, n), (k, k), s, "same") == ((s, s), (pads, pads), (-(-n // s),) * 2)


@pytest.mark.parametrize("size, stride, padding", [(2, None, "valid"), (3, 2, "valid"), (3, 1, "same"), ((2, 3), 2, 1),
                                                   (17, 1, "same")])
def test_pooling_reads_the_first_winner_and_unpool_is_its_transpose(size, stride, padding):
    rng = np.random.default_rng(2)
    x = rng.integers(-3, 3, (2, 7, 9, 3)).astype(float)  # many ties
    y, argmax = ops.max_pool_with_argmax(x, size, stride, padding)
    kernel, stride2, pads, out = ops.pooling._window_geometry("test", (7, 9), size, stride, padding)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-np.inf)
    for p in range(out[0]):
        for q in range(out[1]):
            rows = slice(p * stride2[0], p * stride2[0] + kernel[0])
            columns = slice(q * stride2[1], q * stride2[1] + kernel[1])
            window = padded[:, rows, columns].transpose(0, 3, 1, 2).reshape(2, 3, -1)
            np.testing.assert_array_equal(argmax[:, p, q], window.argmax(-1))
            np.testing.assert_array_equal(y[:, p, q], window.max(-1))
    np.testing.assert_array_equal(ops.pool_at(x, argmax, size, stride, padding), y)
    check.adjoint(lambda x: ops.pool_at(x, argmax, size, stride, padding),
                  lambda y: ops.unpool(y, argmax, size, stride, padding, (7, 9)), x.shape, y.shape)
    flat = ops.argmax_to_flat(argmax, (7, 9, 3), size, stride, padding)
    np.testing.assert_array_equal(x.reshape(2, -1)[np.arange(2)[:, None], flat.reshape(2, -1)], y.reshape(2, -1))
    np.testing.assert_array_equal(ops.argmax_from_flat(flat, (7, 9, 3), size, stride, padding), argmax)


def test_conventions_at_kinks_and_ties():
    zero = Tensor([0.0, -0.0], requires_grad=True)
    for f in (ops.relu, ops.abs):
        np.testing.assert_array_equal(grad(f(zero).sum(), zero).data, [0, 0])
    np.testing.assert_array_equal(grad(ops.leaky_relu(zero, 0.25).sum(), zero).data, [0.25, 0.25])
    edges = Tensor([-1.0, 2.0], requires_grad=True)
    np.testing.assert_array_equal(grad(ops.clip(edges, -1.0, 2.0).sum(), edges).data, [1, 1])
    a, b = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    for f in (ops.maximum, ops.minimum):
        assert [g.item() for g in grad(f(a, b), [a, b])] == [1, 0]
    x = Tensor([[2.0, 5.0, 5.0], [1.0, 1.0, 0.0]], requires_grad=True)
    np.testing.assert_array_equal(grad(ops.max(x, 1).sum(), x).data, [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(grad(ops.min(x, 0).sum(), x).data, [[0, 0, 0], [1, 1, 1]])
    np.testing.assert_array_equal(grad((zero ** 0).sum(), zero).data, [0, 0])
    np.testing.assert_array_equal(grad(ops.norm(zero), zero).data, [0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows_at_large_logits(dtype):
    x = np.array([-1e4, -100, 0, 100, 1e4], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        t = Tensor(x, requires_grad=True)
        np.testing.assert_allclose(ops.softplus(t).data, np.maximum(x, 0) + (x == 0) * np.log(2), atol=1e-6)
        np.testing.assert_allclose(ops.sigmoid(x), [0, 0, 0.5, 1, 1], atol=1e-6)
        small = np.array([-80.0, -20.0, -1e-3], dtype)  # to relative, not only absolute, precision
        expected = 1 / (1 + np.exp(-small.astype(float)))
        np.testing.assert_allclose(ops.sigmoid(small), expected, rtol=8 * np.finfo(dtype).eps)
        assert ops.logsumexp(x) == dtype(1e4)
        np.testing.assert_allclose(ops.log_softmax(x), x - 1e4, atol=1e-2)
        np.testing.assert_allclose(ops.softmax(x), [0, 0, 0, 0, 1])
        for target in (0.0, 1.0):
            loss = losses.bce_with_logits(t, np.full(5, target, dtype), "none")
            expected = np.maximum(x * (1 - 2 * target), 0) + (x == 0) * np.log(2)
            np.testing.assert_allclose(loss.data, expected, atol=1e-6)
            assert np.isfinite(grad(loss.sum(), t).data).all()
        loss = losses.softmax_cross_entropy(t.reshape(1, 5), np.array([0]), "sum")
        assert loss.item() == 2e4 and np.isfinite(grad(loss, t).data).all()


def test_formulas_of_losses():
    rng = np.random.default_rng(0)
    x, t, s = rng.normal(size=(5, 3)), rng.random((5, 3)), rng.normal(size=(5, 3))
    p = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(losses.bce_with_logits(x, t, "none"), -t * np.log(p) - (1 - t) * np.log(1 - p))
    q = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    labels = np.array([0, 2, 1, 1, 0])
    expected = -np.log(q[np.arange(5), labels])
    np.testing.assert_allclose(losses.softmax_cross_entropy(x, labels, "none"), expected)
    probabilities = losses.one_hot(labels, 3, x.dtype)
    with pytest.raises(TypeError, match="^one_hot: labels are float64, expected integers"):
        losses.one_hot(labels / 2, 3)
    with pytest.raises(ValueError, match="^one_hot: labels.* 0 … 2, got -1"):
        losses.one_hot(labels - 1, 3)
    np.testing.assert_allclose(losses.softmax_cross_entropy(x, probabilities, "mean"), expected.mean())
    np.testing.assert_allclose(losses.mse(x, t, "sum"), ((x - t) ** 2).sum())
    np.testing.assert_allclose(losses.l1(x, t, "mean"), np.abs(x - t).mean())
    d = np.abs(x - t)
    np.testing.assert_allclose(losses.huber(x, t, "none", 0.5), np.where(d <= 0.5, d * d / 2, 0.5 * (d - 0.25)))
    np.testing.assert_allclose(losses.hinge(x, np.sign(s), "none"), np.maximum(0, 1 - x * np.sign(s)))
    density = np.exp(-0.5 * (t - x) ** 2 / np.exp(s)) / np.sqrt(2 * np.pi * np.exp(s))
    np.testing.assert_allclose(losses.gaussian_nll(t, x, s, "none"), -np.log(density))


def test_huber_turns_at_one_by_default():
    np.testing.assert_allclose(losses.huber(np.array([0.5, 3.0]), np.zeros(2), "none"), [0.125, 2.5])


def test_gaussian_kl_is_the_expected_log_ratio():
    """Monte Carlo: KL = E_q[ln q(z) − ln p(z)], z ~ N(μ, e^s)."""
    mean, logvar = np.array([0.7, -1.2]), np.array([-0.5, 0.8])
    z = mean + np.exp(0.5 * logvar) * np.random.default_rng(0).standard_normal((400_000, 2))
    ratio = -0.5 * (logvar + (z - mean) ** 2 / np.exp(logvar)) + 0.5 * z * z
    error = ratio.std(0) / np.sqrt(len(z))
    assert (np.abs(ratio.mean(0) - losses.gaussian_kl(mean, logvar, "none")) < 4 * error).all()


def test_dropout_keeps_the_mean_and_its_share():
    y = ops.dropout(np.ones((400, 500), np.float32), 0.3, np.random.default_rng(0))
    assert abs((y == 0).mean() - 0.3) < 0.005 and abs(y.mean() - 1) < 0.01 and y.dtype == np.float32

    class Drawn(np.random.Generator):
        def random(self, shape, dtype):
            return np.array([0.0, 0.5, 0.75], dtype)
    drawn = Drawn(np.random.PCG64(0))
    x = np.ones(3, np.float32)  # draws lie in [0, 1): half of them are below 0.5, none below 0
    np.testing.assert_array_equal(ops.dropout(x, 0.5, drawn), [0, 2, 2])
    np.testing.assert_array_equal(ops.dropout(x, 0.0, drawn), x)


X, W = np.ones((8, 28, 28, 3), np.float32), np.ones((3, 3, 1, 64), np.float32)
K = np.ones((3, 3, 3, 2), np.float32)
ERRORS = {
    "conv2d: x has 3 channels (N,H,W,C)=(8, 28, 28, 3) but w expects 1": lambda: ops.conv2d(X, W),
    "conv2d: x must be images (N, H, W, C) with no empty axis, got shape (0, 28, 28, 3)": lambda: ops.conv2d(X[:0], W),
    "conv2d: x must be floating-point, got int64": lambda: ops.conv2d(X.astype(int), W),
    "conv2d: an image of (28, 28) with padding 'valid' is smaller than the window (40, 3)":
        lambda: ops.conv2d(X, np.ones((40, 3, 3, 2)), padding="valid"),
    "conv2d: padding must be": lambda: ops.conv2d(X, np.ones((3, 3, 3, 2)), padding="full"),
    "conv2d: b must have one entry for each of the 2": lambda: ops.conv2d(X, np.ones((3, 3, 3, 2)), np.ones(3)),
    "conv2d: kernel (3, 3) and stride (0, 0)": lambda: ops.conv2d(X, np.ones((3, 3, 3, 2)), stride=0),
    "conv2d_transpose: y has 3 channels": lambda: ops.conv2d_transpose(X, W),
    "conv2d_transpose: output_size (9, 9) is convolved to (9, 9)":
        lambda: ops.conv2d_transpose(X, np.ones((3, 3, 2, 3)), output_size=(9, 9)),
    "max_pool_with_argmax: x must be images": lambda: ops.max_pool_with_argmax(X[:, :0]),
    "max_pool_with_argmax: an image of (28, 28)": lambda: ops.max_pool_with_argmax(X, 29),
    "window_sum: an image of (28, 28)": lambda: ops.avg_pool(X, 29),
    "argmax_to_flat: an image of (2, 2)": lambda: ops.argmax_to_flat(X.astype(int), (2, 2, 3), 3),
    "unpool: needs integer switches": lambda: ops.unpool(X, np.zeros((8, 28, 28, 2), int)),
    "dense: x (…, I)=(2, 3), w (I, O)=(4, 5)": lambda: ops.dense(np.ones((2, 3)), np.ones((4, 5))),
    "matmul: the last axis of a (2, 3)": lambda: ops.matmul(np.ones((2, 3)), np.ones((4, 5))),
    "batch_norm: an empty batch": lambda: ops.batch_norm(np.ones((0, 3)), np.ones(3), np.ones(3)),
    "embedding: indices must lie in 0 … 3, got -1 … 2": lambda: ops.embedding(np.array([-1, 2]), np.ones((4, 2))),
    "softmax_cross_entropy: targets must lie in 0 … 2, got 0 … 3":
        lambda: losses.softmax_cross_entropy(np.ones((2, 3)), np.array([0, 3]), "mean"),
    "mse: both arguments need the same shape, got (3, 1) and (3,)":
        lambda: losses.mse(np.ones((3, 1)), np.ones(3), "mean"),
    "mse: there is nothing to compare in an empty batch": lambda: losses.mse(np.ones((0, 3)), np.ones((0, 3)), "mean"),
    'reduction must be "mean", "sum" or "none", got \'avg\'': lambda: losses.mse(np.ones(3), np.ones(3), "avg"),
    "nothing to reduce: shape (0, 3)": lambda: ops.mean(np.ones((0, 3)), 0),
    "axis 2 is out of bounds": lambda: ops.mean(np.ones((2, 3)), 2),
    "split: axis 1 of (2, 3) cannot be cut into 2": lambda: ops.split(np.ones((2, 3)), 2, 1),
    "dropout: rate must lie in [0, 1)": lambda: ops.dropout(np.ones(3), 1.0, np.random.default_rng(0)),
    "conv2d: x must be images (N, H, W, C) with no empty axis, got shape (28, 28, 3)": lambda: ops.conv2d(X[0], W),
    "but w expects ? (kh,kw,C,O)=(3, 3, 1)": lambda: ops.conv2d(X, W[..., 0]),
    "conv2d: padding must be 'same', 'valid', an int ≥ 0 or ((top, bottom), (left, right)), got -1":
        lambda: ops.conv2d(X, K, padding=-1),
    "got ((0, 0), (0, -1))": lambda: ops.conv2d(X, K, padding=((0, 0), (0, -1))),
    "conv2d: kernel (3, 3) and stride (1, 1, 1)": lambda: ops.conv2d(X, K, stride=(1, 1, 1)),
    "conv2d: kernel (0, 3)": lambda: ops.conv2d(X, K[:0]),
    "conv2d_transpose: y must be floating-point": lambda: ops.conv2d_transpose(X.astype(int), W),
    "w expects ? (kh,kw,C,O)=(3, 3, 3)": lambda: ops.conv2d_transpose(X, K[..., 0]),
    "conv2d_transpose: b must have one entry for each of the 3":
        lambda: ops.conv2d_transpose(X[..., :2], K, np.ones(2)),
    "conv2d_weight: x must be images": lambda: ops.conv2d_weight(X[0], X, (3, 3)),
    "conv2d_weight: y must be images": lambda: ops.conv2d_weight(X, X[0], (3, 3)),
    "conv2d_weight: x (N,H,W,C)=(8, 28, 28, 3) with kernel (3, 3), stride (1, 1)":
        lambda: ops.conv2d_weight(X, X[:, 1:], (3, 3)),
    "conv2d_weight: x (N,H,W,C)=(7, 28, 28, 3)": lambda: ops.conv2d_weight(X[1:], X, (3, 3)),
    "max_pool_with_argmax: x must be images (N, H, W, C) with no empty axis, got shape (28, 28, 3)":
        lambda: ops.max_pool_with_argmax(X[0]),
    "unpool: needs integer switches argmax of shape (N,Ho,Wo,C)=(8, 28, 28, 3), got float32": lambda: ops.unpool(X, X),
    "unpool: output_size (60, 56) is pooled to (30, 28), not to the size of y (N,Ho,Wo,C)=(8, 28, 28, 3)":
        lambda: ops.unpool(X, X.astype(int), output_size=(60, 56)),
    "pool_at: needs integer switches": lambda: ops.pool_at(X, X[:, ::2, ::2]),
    "pool_at: needs integer switches argmax of shape (N,Ho,Wo,C)=(8, 14, 14, 3), got int64 (8, 28, 28, 3)":
        lambda: ops.pool_at(X, X.astype(np.int64)),
    "pool_at: x must be images": lambda: ops.pool_at(X[0], X[0].astype(int)),
    "window_sum: x must be images": lambda: ops.window_sum(X[0]),
    "window_spread: y must be images": lambda: ops.window_spread(X[0]),
    "argmax_from_flat: some indices lie outside": lambda: ops.argmax_from_flat(np.full((1, 2, 2, 1), 2), (4, 4, 1)),
    "argmax_from_flat: some indices lie outside their window":
        lambda: ops.argmax_from_flat(np.full((1, 2, 2, 1), [[[0], [5]], [[8], [9]]]), (4, 4, 1)),
    "leaky_relu: slope must lie in [0, 1), got 1.0": lambda: ops.leaky_relu(X, 1.0),
    "leaky_relu: slope must lie in [0, 1), got -0.1": lambda: ops.leaky_relu(X, -0.1),
    "got -0.25": lambda: ops.dropout(X, -0.25, np.random.default_rng(0)),
    "matmul: the last axis of a () must": lambda: ops.matmul(np.float32(1), W),
    "axis of b ()": lambda: ops.matmul(W, np.float32(1)),
    "dense: x (…, I)=(2, 4), w (I, O)=(4, 5), b (O,)=(4,)":
        lambda: ops.dense(np.ones((2, 4)), np.ones((4, 5)), np.ones(4)),
    "w (I, O)=(4,)": lambda: ops.dense(np.ones((2, 4)), np.ones(4)),
    "dense: x (…, I)=()": lambda: ops.dense(np.array(1.0), np.ones((1, 5))),
    "embedding: indices must be an array of integers": lambda: ops.embedding(np.ones(2), np.ones((4, 2))),
    "embedding: indices must lie in 0 … 3, got 0 … 4": lambda: ops.embedding(np.array([0, 4]), np.ones((4, 2))),
    "batch_norm: x (…, C)=(4, 3) needs gamma and beta of shape (C,), got (2,) and (3,)":
        lambda: ops.batch_norm(np.ones((4, 3)), np.ones(2), np.ones(3)),
    "got (3,) and (2,)": lambda: ops.batch_norm(np.ones((4, 3)), np.ones(3), np.ones(2)),
    "batch_norm: x (…, C)=(3,)": lambda: ops.batch_norm(np.ones(3), np.ones(3), np.ones(3)),
    "layer_norm: x (…, C)=(4, 3) needs C ≥ 1 and gamma and beta of shape (C,), got (2,) and (3,)":
        lambda: ops.layer_norm(np.ones((4, 3)), np.ones(2), np.ones(3)),
    "(C,), got (3,) and (1,)": lambda: ops.layer_norm(np.ones((4, 3)), np.ones(3), np.ones(1)),
    "layer_norm: x (…, C)=(4, 0)": lambda: ops.layer_norm(np.ones((4, 0)), np.ones(0), np.ones(0)),
    "layer_norm: x (…, C)=()": lambda: ops.layer_norm(np.array(1.0), np.ones(1), np.ones(1)),
    "pad: widths must be 2 pairs (before, after) of numbers ≥ 0, one for each axis of (2, 3), got ((1, 1),)":
        lambda: ops.pad(np.ones((2, 3)), ((1, 1),)),
    "of (2, 3), got ((0, 0), (0, -1))": lambda: ops.pad(np.ones((2, 3)), ((0, 0), (0, -1))),
    "split: axis 1 of (2, 3) cannot be cut into 0": lambda: ops.split(np.ones((2, 3)), 0, 1),
    "split: sizes [1, 1] sum to 2, but axis 1 of (2, 3) has length 3": lambda: ops.split(np.ones((2, 3)), [1, 1], -1),
    "tile: counts are whole numbers ≥ 0, one for each axis of (2, 3), got (2,)":
        lambda: ops.tile(np.ones((2, 3)), (2,)),
    "axis -3 is out of": lambda: ops.logsumexp(np.ones((2, 3)), -3),
    "axis 2 is out of range for shape (2, 3)": lambda: ops.max(np.ones((2, 3)), 2),
    "axis (0, -3) is out of range for shape (2, 3)": lambda: ops.max(np.ones((2, 3)), (0, -3)),
    "nothing to reduce: shape (0, 3) is empty along axis None": lambda: ops.max(np.ones((0, 3))),
    "softmax_cross_entropy: logits (…, K)=(2, 3) go with integer targets of shape (2,), got (3,)":
        lambda: losses.softmax_cross_entropy(np.ones((2, 3)), np.array([0, 1, 2]), "mean"),
    "softmax_cross_entropy: targets must lie in 0 … 2, got -1 … 0":
        lambda: losses.softmax_cross_entropy(np.ones((2, 3)), np.array([0, -1]), "mean"),
    "huber: delta must be > 0, got 0": lambda: losses.huber(np.ones(3), np.ones(3), "mean", 0),
    "l1: both arguments must be floating-point, got int64 and float64":
        lambda: losses.l1(np.ones(3, np.int64), np.ones(3), "mean"),
    "hinge: both arguments must be floating-point, got float64 and int64":
        lambda: losses.hinge(np.ones(3), np.ones(3, np.int64), "mean"),
    "softmax_cross_entropy: both arguments need the same shape, got (2, 3) and (1, 3)":
        lambda: losses.softmax_cross_entropy(np.ones((2, 3)), np.ones((1, 3)), "mean"),
    "huber: both arguments need the same shape, got (3, 1) and (3,)":
        lambda: losses.huber(np.ones((3, 1)), np.ones(3), "mean"),
    "hinge: both arguments need the same shape, got (3, 1) and (3,)":
        lambda: losses.hinge(np.ones((3, 1)), np.ones(3), "mean"),
    "gaussian_nll: both arguments need the same shape, got (3,) and (2,)":
        lambda: losses.gaussian_nll(np.ones(3), np.ones(2), np.ones(2), "mean"),
    "gaussian_nll: both arguments need the same shape, got (3,) and (1,)":
        lambda: losses.gaussian_nll(np.ones(3), np.ones(3), np.ones(1), "mean"),
    "gaussian_kl: both arguments need the same shape": lambda: losses.gaussian_kl(np.ones(3), np.ones(2), "sum"),
    "bce_with_logits: both arguments need the same shape":
        lambda: losses.bce_with_logits(np.ones((3, 1)), np.ones(3), "mean"),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_op_shapes_and_expectation(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        ERRORS[message]()
    assert message in str(caught.value)


def test_power_at_zero_and_of_numbers():
    x = Tensor(np.array([0.0, 0.0, 0.0, 0.0, 2.0]), requires_grad=True)
    p = Tensor(np.array([0.0, 1.0, 2.5, 3.0, 0.0]), requires_grad=True)
    y = ops.power(x, p)
    gx, gp = grad(y.sum(), [x, p])
    np.testing.assert_allclose(gx.data, [0, 1, 0, 0, 0])
    np.testing.assert_allclose(gp.data, [0, 0, 0, 0, np.log(2)])
    t = Tensor(np.array([-1.0, 0.5]), requires_grad=True)
    np.testing.assert_allclose(grad((2.0 ** t).sum(), t).data, 2.0 ** t.data * np.log(2))
    np.testing.assert_allclose(grad((0.0 ** (t * t)).sum(), t).data, 0)
    for n in (2, 3, 4):
        np.testing.assert_allclose((t ** n).data, t.data ** n)
        np.testing.assert_allclose(grad((t ** n).sum(), t).data, n * t.data ** (n - 1))


@pytest.mark.parametrize("make", [list, np.array])
def test_strides_may_come_as_any_pair(make):
    x, w = np.random.default_rng(0).normal(size=(2, 5, 6, 3)), np.ones((2, 2, 3, 2))
    np.testing.assert_array_equal(ops.conv2d(x, w, None, make([1, 2])), ops.conv2d(x, w, None, (1, 2)))
    np.testing.assert_array_equal(ops.conv2d_transpose(x[..., :2], w, None, make([2, 1])),
                                  ops.conv2d_transpose(x[..., :2], w, None, (2, 1)))


def test_windows_are_2_by_2_by_default():
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 3))
    y, argmax = ops.max_pool_with_argmax(x)
    blocks = x.reshape(2, 3, 2, 2, 2, 3)
    np.testing.assert_array_equal(y, blocks.max((2, 4)))
    np.testing.assert_array_equal(ops.max_pool(x), y)
    np.testing.assert_array_equal(ops.pool_at(x, argmax), y)
    np.testing.assert_array_equal(ops.unpool(y, argmax), x * (x == y.repeat(2, 1).repeat(2, 2)))
    np.testing.assert_allclose(ops.window_sum(x), blocks.sum((2, 4)))
    np.testing.assert_allclose(ops.avg_pool(x), blocks.mean((2, 4)))
    np.testing.assert_array_equal(ops.window_spread(y), y.repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(ops.upsample_nearest(y), y.repeat(2, 1).repeat(2, 2))
    flat = ops.argmax_to_flat(argmax, (6, 4, 3))
    np.testing.assert_array_equal(x.reshape(2, -1)[np.arange(2)[:, None], flat.reshape(2, -1)], y.reshape(2, -1))
    np.testing.assert_array_equal(ops.argmax_from_flat(flat, (6, 4, 3)), argmax)


@pytest.mark.parametrize("size, dtype", [((16, 16), "uint8"), ((1, 257), "uint16"), ((300, 1), "uint16"),
                                         ((1, 65536), "uint16"), ((1, 65537), "uint32")])
def test_switches_are_as_small_as_the_window_allows(size, dtype):
    x = np.zeros((1, *size, 1), np.float32)
    x[0, -1, -1] = 1
    _, argmax = ops.max_pool_with_argmax(x, size)
    assert argmax.dtype == dtype and argmax.item() == size[0] * size[1] - 1


def test_shapes_and_reductions_are_numpys_by_default():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 3, 3))
    for name in ("sum", "mean", "var", "max", "min"):
        for axis in (None, 0, -1, (0, 2)):
            ours, numpys = getattr(ops, name)(x, axis), getattr(np, name)(x, axis)
            assert ours.shape == numpys.shape
            np.testing.assert_allclose(ours, numpys)
    np.testing.assert_allclose(ops.logsumexp(x, 1), np.log(np.exp(x).sum(1)))
    np.testing.assert_allclose(ops.norm(x, 1), np.linalg.norm(x, axis=1))
    np.testing.assert_array_equal(ops.concat([x, y]), np.concatenate([x, y]))
    np.testing.assert_array_equal(ops.concat([x]), x)
    np.testing.assert_array_equal(ops.stack([x, y]), np.stack([x, y]))
    np.testing.assert_array_equal(ops.pad(x, ((1, 0), (0, 1), (0, 0))), np.pad(x, ((1, 0), (0, 1), (0, 0))))
    for axis in (0, 1, 2, -3, -1):
        for ours, numpys in zip(ops.split(x, x.shape[axis], axis), np.split(x, x.shape[axis], axis), strict=True):
            np.testing.assert_array_equal(ours, numpys)
    np.testing.assert_array_equal(ops.split(x, 2)[1], np.split(x, 2)[1])


@pytest.mark.parametrize("axes", [(-1, 0, 1), (1, -1, 0), (0, -2, 2), None])
def test_transpose_with_axes_counted_from_the_end(axes):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_array_equal(ops.transpose(x, axes), np.transpose(x, axes))
    check.gradients(lambda x: ops.transpose(x, axes), x)


def test_an_image_of_one_pixel():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 1, 8)), rng.standard_normal((1, 1, 8, 2))
    np.testing.assert_allclose(ops.conv2d(x, w)[0, 0], x[0, 0] @ w[0, 0])
    check.gradients(ops.conv2d, x, w, order=2)


# ---------------------------------------------------------------- NaN, infinities, dtypes, settings

@pytest.mark.parametrize("n", [2, 6, 7, 30])
@pytest.mark.parametrize("f", [ops.max, ops.min])
def test_the_first_nan_is_the_extreme_for_every_length(f, n):
    x = np.arange(float(2 * n)).reshape(2, n)
    x[0, 1:3] = np.nan
    t = Tensor(x, requires_grad=True)
    y = f(t, 1)
    assert np.isnan(y.data).tolist() == [True, False]
    y.sum().backward()
    assert np.flatnonzero(t.grad[0]).tolist() == [1] and t.grad.sum() == 2


def test_the_first_nan_of_a_window_is_its_maximum():
    x = np.arange(32.0).reshape(1, 4, 4, 2)
    x[0, 0, 1, 0] = x[0, 1, 0, 0] = x[0, 3, 3, 1] = np.nan
    t = Tensor(x, requires_grad=True)
    y, argmax = ops.max_pool_with_argmax(t)
    assert np.isnan(y.data).sum() == 2 and argmax[0, 0, 0].tolist() == [1, 3] and argmax[0, 1, 1].tolist() == [3, 3]
    np.testing.assert_array_equal(argmax, x.reshape(1, 2, 2, 2, 2, 2).swapaxes(2, 3).reshape(1, 2, 2, 4, 2).argmax(3))
    y.sum().backward()
    assert t.grad[0, 0, 1, 0] == t.grad[0, 3, 3, 1] == 1 and t.grad.sum() == 8


def test_a_nan_is_larger_and_smaller_than_any_number():
    nan = np.nan
    for f in (ops.maximum, ops.minimum):
        a, b = Tensor([nan, 1.0, nan], requires_grad=True), Tensor([2.0, nan, nan], requires_grad=True)
        ga, gb = grad(f(a, b).sum(), [a, b])
        assert ga.data.tolist() == [1, 0, 1] and gb.data.tolist() == [0, 1, 0]


def test_infinities_in_sums_of_exponentials():
    x = Tensor([[-np.inf, -np.inf], [-np.inf, 1.0]], requires_grad=True)
    with np.errstate(divide="ignore"):  # ln 0
        y = ops.logsumexp(x, 1)
    np.testing.assert_array_equal(y.data, [-np.inf, 1])
    np.testing.assert_array_equal(grad(y, x, np.ones(2)).data, [[0, 0], [0, 1]])
    np.testing.assert_array_equal(ops.softmax(x.data[1]), [0, 1])
    np.testing.assert_array_equal(ops.log_softmax(x.data[1]), [-np.inf, 0])


@pytest.mark.parametrize(("dtype", "size"), [("float16", 300), ("float16", 1e-4), ("float32", 1e30), ("float32", 1e-30),
                                             ("float64", 1e200), ("float64", 1e-200)])
def test_norms_stay_inside_their_dtype(dtype, size):
    x = Tensor(np.array([[3, -4], [0, 0]], dtype) * np.array(size, dtype), requires_grad=True)
    with np.errstate(all="raise", under="ignore"):
        y = ops.norm(x, 1)
        y.sum().backward()
    np.testing.assert_allclose(y.data, np.array([5 * size, 0], dtype), rtol=1e-2 if dtype == "float16" else 1e-6)
    np.testing.assert_allclose(x.grad, [[0.6, -0.8], [0, 0]], rtol=1e-2)
    assert y.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
@pytest.mark.parametrize("name", [
    "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus", "relu", "gelu", "silu", "elu", "selu",
    "leaky_relu", "softmax", "log_softmax", "logsumexp", "norm", "mean", "sum", "var", "std", "max"])
def test_integers_give_the_same_as_their_floating_point_values(name, dtype):
    x = np.array([[3, 1], [2, 100]]).astype(dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(getattr(ops, name)(x), getattr(ops, name)(x.astype(float)), rtol=1e-12)


@pytest.mark.parametrize("low, high", [(0.0, None), (None, 1.0), (0, 1), (np.array([0.0, -1, 0]), None),
                                       (np.array([0.0, -1, 0]), np.array([0.5, 5, 3]))])
def test_clip_at_one_side_or_both(low, high):
    x = np.array([-1.0, 2.0, 0.6])
    np.testing.assert_array_equal(ops.clip(x, low, high), np.clip(x, low, high))
    check.gradients(lambda x: ops.clip(x, low, high), x, order=2)


def test_sizes_from_numpy_are_sizes():
    one, two, x = np.int64(1), np.int32(2), np.random.default_rng(0).normal(size=(1, 4, 6, 2))
    w = np.ones((2, 2, 2, 3))
    for ours, same in [(ops.conv2d(x, w, None, two, one), ops.conv2d(x, w, None, 2, 1)),
                       (ops.conv2d_transpose(x, w.swapaxes(2, 3)[..., :2], None, two, "same", np.array([8, 12])),
                        ops.conv2d_transpose(x, w.swapaxes(2, 3)[..., :2], None, 2, "same", (8, 12))),
                       (ops.conv2d_weight(x, x, two), ops.conv2d_weight(x, x, (2, 2))),
                       (ops.max_pool(x, two, one), ops.max_pool(x, 2, 1)), (ops.avg_pool(x, two), ops.avg_pool(x, 2)),
                       (ops.upsample_nearest(x, two), ops.upsample_nearest(x, 2)),
                       (ops.split(x, two, one)[1], ops.split(x, 2, 1)[1]),
                       (ops.repeat(x, two, one), ops.repeat(x, 2, 1)),
                       (ops.tile(x[0, 0], (two, one)), ops.tile(x[0, 0], (2, 1))),
                       (ops.expand_dims(x, one), ops.expand_dims(x, 1)), (ops.flatten(x, two), ops.flatten(x, 2)),
                       (Tensor(x).reshape(two, -1).data, x.reshape(2, -1)),
                       (Tensor(x).reshape(np.int64(48)).data, x.ravel()),
                       (ops.sum(x, one), x.sum(1)), (ops.max(x, (one, two)), x.max((1, 2)))]:
        np.testing.assert_array_equal(ours, same)


def test_squeeze_is_numpys():
    x = np.ones((1, 3, 1))
    for axis in (None, 0, -1, (0, 2)):
        assert ops.squeeze(x, axis).shape == np.squeeze(x, axis).shape == Tensor(x).squeeze(axis).shape


def test_transposing_one_axis():
    x = Tensor(np.ones(3), requires_grad=True)
    x.transpose(0).sum().backward()
    np.testing.assert_array_equal(x.grad, 1)


def test_indices_of_pytorch_and_tensorflow_become_switches():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3))
    y, argmax = ops.max_pool_with_argmax(x)
    pytorchs = (ops.argmax_to_flat(argmax, (4, 6, 3)) // 3).transpose(0, 3, 1, 2)  # h·W + w, (N, C, Ho, Wo)
    np.testing.assert_array_equal(ops.argmax_from_flat(3 * pytorchs.transpose(0, 2, 3, 1), (4, 6, 3)), argmax)


IMAGE, ROWS, RNG = np.ones((1, 4, 4, 1)), np.ones((2, 3)), np.random.default_rng(0)
REFUSED = {
    "max_pool_with_argmax: some windows hold nothing but padding: images of (4, 4), size (2, 2), stride (2, 2)":
        lambda: ops.max_pool(IMAGE, 2, padding=2),
    "avg_pool: some windows hold nothing": lambda: ops.avg_pool(IMAGE, 2, padding=((0, 2), (0, 0))),
    "pool_at: some windows hold nothing but padding":
        lambda: ops.pool_at(IMAGE, np.zeros((1, 4, 2, 1), int), (1, 3), (1, 4), ((0, 0), (0, 3))),
    "unpool: some windows hold nothing but padding": lambda: ops.unpool(IMAGE, np.zeros((1, 4, 4, 1), int), 2, None, 2),
    "max_pool_with_argmax: the padding is −∞": lambda: ops.max_pool(IMAGE.astype("uint8"), 2, 1, "same"),
    "unpool: argmax holds 13 … 13, but the places of a window are 0 … 3":
        lambda: ops.unpool(IMAGE, np.full((1, 4, 4, 1), 13)),
    "argmax_from_flat": lambda: ops.unpool(IMAGE, np.full((1, 4, 4, 1), -1)),
    "pool_at: argmax holds 4 … 4": lambda: ops.pool_at(IMAGE, np.full((1, 2, 2, 1), 4, "uint8")),
    "argmax_to_flat: argmax holds 9 … 9": lambda: ops.argmax_to_flat(np.full((1, 2, 2, 1), 9), (4, 4, 1)),
    "argmax_to_flat: needs integers": lambda: ops.argmax_to_flat(IMAGE, (4, 4, 1)),
    "argmax_from_flat: needs integers": lambda: ops.argmax_from_flat(np.zeros((1, 2, 2, 1), int), (4, 4)),
    "flat must have shape (N,Ho,Wo,C)=('N', 2, 2, 1), got (1, 3, 2, 1)":
        lambda: ops.argmax_from_flat(np.zeros((1, 3, 2, 1), int), (4, 4, 1)),
    "unpool: argmax must be an array or a Tensor, got a list": lambda: ops.unpool(IMAGE, [0]),
    "window_spread: output_size (9, 11) is pooled to (4, 5)":
        lambda: ops.window_spread(IMAGE, 2, output_size=(9, 11)),
    "unpool: output_size is a whole number": lambda: ops.unpool(IMAGE, IMAGE.astype(int), output_size=True),
    "unpool: stride is a whole number ≥ 1": lambda: ops.unpool(IMAGE, IMAGE.astype(int), 2, 0),
    "upsample_nearest: factor is a whole number ≥ 1 or a pair of them, got 1.5":
        lambda: ops.upsample_nearest(IMAGE, 1.5),
    "size is a whole number ≥ 1 or a pair of them, got True": lambda: ops.max_pool(IMAGE, True),
    "size is a whole number ≥ 1 or a pair of them, got 'ab'": lambda: ops.max_pool(IMAGE, "ab"),
    "max_pool_with_argmax: padding must be": lambda: ops.max_pool(IMAGE, 2, padding=True),
    "conv2d: kernel (2, 2) and stride (1.5, 1.5)": lambda: ops.conv2d(IMAGE, np.ones((2, 2, 1, 1)), stride=1.5),
    "max: axis 2 is out of range": lambda: ops.max(ROWS, 2), "min: axis 2 is out": lambda: ops.min(ROWS, 2),
    "sum: axis True": lambda: Tensor(ROWS).sum(axis=True), "sum: axis 1.0": lambda: ops.sum(ROWS, 1.0),
    "names an axis of shape (2, 3) twice": lambda: ops.mean(ROWS, (0, -2)),
    "var: correction is a number ≥ 0 and below 6, the number of entries, got 6":
        lambda: ops.var(ROWS, correction=6),
    "below 2, the number of entries, got 7": lambda: ops.std(ROWS, 0, correction=7),
    "got 'a'": lambda: ops.var(ROWS, correction="a"),
    "cumsum: needs an axis": lambda: ops.cumsum(ROWS, None),
    "clip: low is at most high, and at most one of them is None, got 2 and 1": lambda: ops.clip(ROWS, 2, 1),
    "got None and None": lambda: ops.clip(ROWS, None, None), "got nan and 1": lambda: ops.clip(ROWS, np.nan, 1),
    "clip: low is at most high": lambda: ops.clip(ROWS, ROWS, ROWS - 1),
    "where: the condition must be an array of booleans, got None": lambda: ops.where(None, ROWS, ROWS),
    "power: p must be a number, an array or a Tensor, got a list": lambda: Tensor(ROWS) ** [1, 2, 3],
    "split: sizes are whole numbers ≥ 0, got [-1, 3]": lambda: ops.split(ROWS, [-1, 3]),
    "split: sizes are whole numbers ≥ 0, got 1.5": lambda: ops.split(ROWS, 1.5),
    "split: sizes are whole numbers ≥ 0, got True": lambda: ops.split(ROWS, True),
    "split: axis is a whole number from -2 to 1 here, got 5": lambda: ops.split(ROWS, 2, 5),
    "repeat: repeats is a whole number ≥ 0, got -1": lambda: ops.repeat(ROWS, -1, 0),
    "repeat: repeats is a whole number ≥ 0, got [1, 2]": lambda: ops.repeat(ROWS, [1, 2], 0),
    "tile: counts are whole numbers ≥ 0, one for each axis of (2, 3), got (-1, 2)": lambda: ops.tile(ROWS, (-1, 2)),
    "pad: widths must be 2 pairs": lambda: ops.pad(ROWS, 1),
    "got ((1.0, 0), (0, 0))": lambda: ops.pad(ROWS, ((1.0, 0), (0, 0))),
    "concat: expected a list of at least one array": lambda: ops.concat([]),
    "concat: axis is a whole number from -2 to 1 here, got None": lambda: ops.concat([ROWS, ROWS], None),
    "concat: array 1 must be an array or a Tensor, got a list": lambda: ops.concat([ROWS, [1, 2, 3]]),
    "concat: all the input array": lambda: ops.concat([ROWS, ROWS[:, :2]]),
    "concat: single numbers have no axis": lambda: ops.concat([Tensor(1.0), Tensor(2.0)]),
    "stack: all shapes must be equal, got [(2, 3), (3,)]": lambda: ops.stack([ROWS, ROWS[0]]),
    "stack: axis is a whole number from -3 to 2 here, got 3": lambda: ops.stack([ROWS, ROWS], 3),
    "expand_dims: axis is a whole number from -3 to 2 here, got 3": lambda: ops.expand_dims(ROWS, 3),
    "swapaxes: axis is a whole number from -2 to 1 here, got 2": lambda: ops.swapaxes(ROWS, 0, 2),
    "squeeze: axis 0 of shape (2, 3) is longer than 1": lambda: ops.squeeze(ROWS, 0),
    "flatten: start is a whole number from -2 to 2 here, got 3": lambda: ops.flatten(ROWS, 3),
    "transpose: axes must be a tuple": lambda: ops.transpose(ROWS[0], 0),
    "reshape: cannot reshape array of size 6": lambda: Tensor(ROWS).reshape(4, 2),
    "flip: axis 4 is out of bounds": lambda: ops.flip(ROWS, 4),
    "matmul: the last axis of a (2, 3) must be as long as the axis of b (4,)":
        lambda: ops.matmul(ROWS, np.ones(4)),
    "must be as long as the second-last axis of b (4, 5)": lambda: ops.matmul(ROWS, np.ones((4, 5))),
    "matmul: b must be an array or a Tensor, got a list; pass np.array(x)": lambda: Tensor(ROWS) @ [1, 2, 3],
    "embedding: indices must lie in 0 … 1, got -1 … -1": lambda: ops.embedding(Tensor(np.array([-1])), ROWS),
    "embedding: indices must be an array of integers, got a list": lambda: ops.embedding([0], ROWS),
    "batch_norm: x must be floating-point, got int64":
        lambda: ops.batch_norm(ROWS.astype("int64"), np.ones(3), np.ones(3)),
    "batch_norm_inference: gamma must be an array or a Tensor, got a float 1.0":
        lambda: ops.batch_norm_inference(ROWS, 1.0, ROWS[0], ROWS[0], ROWS[0]),
    "dropout: needs floating-point x and an rng": lambda: ops.dropout(ROWS, 0.5, None),
    "got int64 and a Generator": lambda: ops.dropout(ROWS.astype("int64"), 0.5, RNG),
    "dropout: rate must lie in [0, 1), got half": lambda: ops.dropout(ROWS, "half", RNG),
    "lstm: h0 must be an array or a Tensor, got a list": lambda: ops.lstm(
        np.ones((1, 2, 1)), np.ones((1, 4)), np.ones((1, 4)), np.ones(4), [1.0]),
    "lstm: x must be floating-point, got int64": lambda: ops.lstm(
        np.ones((1, 2, 1), "int64"), np.ones((1, 4)), np.ones((1, 4)), np.ones(4)),
    "max: x must be an array or a Tensor, got None": lambda: ops.max(None),
    "avg_pool: x must be an array or a Tensor, got a list": lambda: ops.avg_pool([1.0]),
    "sum: x must be an array or a Tensor, got a list": lambda: ops.sum([1.0]),
    "exp: x must be an array or a Tensor, got None": lambda: ops.exp(None),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_arguments_are_named_with_their_op(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        REFUSED[message]()
    assert message in str(caught.value)
