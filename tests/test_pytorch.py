"""Against an outside judge, PyTorch, where it is installed: values, first and second derivatives of every shared op.

counterparts(rng) returns name → (ours, theirs, inputs): two functions of the same arrays in the same layout. Sizes,
strides, paddings, axes and reductions are drawn from rng.
"""

import itertools

import numpy as np
import pytest
from cases import apart, broadcasting, positive
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import Tensor, adversarial, games, grad, layers, losses, ops
from scratchnet.autograd import REGISTRY, astype, broadcast_to, sum_to
from scratchnet.module import Module, Parameter

torch = pytest.importorskip("torch")
F = torch.nn.functional

# Ops without a counterpart are tested against their adjoint (test_ops.py) or count with the op that is made of them.
ALONE = {"window_sum": "avg_pool", "window_spread": "avg_pool", "pool_at": "max_pool_with_argmax", "sign": "abs"}


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def oihw(w):
    return w.permute(3, 2, 0, 1).contiguous()


def counterparts(rng):
    x, (a, b) = apart(rng, 2, 3, 4), broadcasting(rng)
    axis, keepdims = [0, 1, -1, (0, 2), (0, 1, 2)][rng.integers(5)], bool(rng.integers(2))
    one = int(rng.integers(3))
    n = rng.normal
    rows = {
        "add": (ops.add, torch.add, a, b), "subtract": (ops.subtract, torch.subtract, a, b),
        "multiply": (ops.multiply, torch.multiply, a, b),
        "divide": (ops.divide, torch.divide, a, b + 3), "negative": (ops.negative, torch.negative, x),
        "square": (ops.square, torch.square, x), "power": (ops.power, torch.pow, positive(rng, 3, 4), n(size=4)),
        "maximum": (ops.maximum, torch.maximum, a, b), "minimum": (ops.minimum, torch.minimum, a, b),
        "where": (lambda p, q: ops.where(np.arange(4) % 2 == 0, p, q),
                  lambda p, q: torch.where(torch.arange(4) % 2 == 0, p, q), x, apart(rng, 3, 1)),
        "matmul": (ops.matmul, torch.matmul, *[(x, n(size=(4, 5))), (n(size=4), n(size=(4, 5))), (x, n(size=4)),
                                               (x, n(size=(2, 4, 3)))][rng.integers(4)]),
        "exp": (ops.exp, torch.exp, x), "log": (ops.log, torch.log, positive(rng, 3, 4)),
        "sqrt": (ops.sqrt, torch.sqrt, positive(rng, 3, 4)), "sin": (ops.sin, torch.sin, x),
        "cos": (ops.cos, torch.cos, x), "abs": (ops.abs, torch.abs, x),
        "clip": (lambda x: ops.clip(x, -0.5, 0.7), lambda x: torch.clip(x, -0.5, 0.7), x),
        **{name: (getattr(ops, name), getattr(F, name), 2 * x)
           for name in ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "selu", "silu")},
        "softplus": (ops.softplus, lambda x: F.softplus(x, threshold=1e9), 2 * x),
        "gelu": (ops.gelu, lambda x: F.gelu(x, approximate="tanh"), 2 * x),
        "sum": (lambda x: ops.sum(x, axis, keepdims), lambda x: torch.sum(x, axis, keepdims), x),
        "mean": (lambda x: ops.mean(x, axis, keepdims), lambda x: torch.mean(x, axis, keepdims), x),
        "var": (lambda x: ops.var(x, axis, keepdims, correction=1),
                lambda x: torch.var(x, axis, correction=1, keepdim=keepdims), x),
        "std": (lambda x: ops.std(x, axis, keepdims, correction=1),
                lambda x: torch.std(x, axis, correction=1, keepdim=keepdims), x),
        "max": (lambda x: ops.max(x, axis, keepdims), lambda x: torch.amax(x, axis, keepdims), x),
        "min": (lambda x: ops.min(x, axis, keepdims), lambda x: torch.amin(x, axis, keepdims), x),
        "logsumexp": (lambda x: ops.logsumexp(x, axis, keepdims), lambda x: torch.logsumexp(x, axis, keepdims), x),
        "norm": (lambda x: ops.norm(x, axis, keepdims),
                 lambda x: torch.sqrt(torch.sum(x * x, axis, keepdims)), x),
        "cumsum": (lambda x: ops.cumsum(x, one), lambda x: torch.cumsum(x, one), x),
        "sum_to": (lambda x: sum_to(x, (3, 1)), lambda x: x.sum_to_size(3, 1), x),
        "broadcast_to": (lambda x: broadcast_to(x, (2, 3, 4)), lambda x: torch.broadcast_to(x, (2, 3, 4)), x[0, :, :1]),
        "astype": (lambda x: astype(x, x.dtype), lambda x: x.clone(), x),
        "reshape": (lambda x: ops.reshape(x, (4, -1)), lambda x: torch.reshape(x, (4, -1)), x),
        "flatten": (ops.flatten, lambda x: torch.flatten(x, 1), x),
        "expand_dims": (lambda x: ops.expand_dims(x, one), lambda x: torch.unsqueeze(x, one), x),
        "transpose": (lambda x: ops.transpose(x, (2, 0, 1)), lambda x: torch.permute(x, (2, 0, 1)), x),
        "swapaxes": (lambda x: ops.swapaxes(x, one, -1), lambda x: torch.swapaxes(x, one, -1), x),
        "pad": (lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 2)), 3.0), lambda x: F.pad(x, (0, 2, 1, 0), value=3.0), x),
        "concat": (lambda p, q: ops.concat([p, q], 2), lambda p, q: torch.cat([p, q], 2), x, n(size=(2, 3, 2))),
        "stack": (lambda p, q: ops.stack([p, q], one), lambda p, q: torch.stack([p, q], one), x, n(size=(2, 3, 4))),
        "split": (lambda x: ops.split(x, [1, 3], 2)[1], lambda x: torch.split(x, [1, 3], 2)[1], x),
        "getitem": (lambda x: ops.getitem(x, (slice(None, None, 2), np.array([1, 1, 0]))),
                    lambda x: x[::2, torch.tensor([1, 1, 0])], x),
        "scatter": (lambda y: ops.scatter(y, np.array([4, 1, 1]), (6, 4)),
                    lambda y: torch.zeros(6, 4, dtype=y.dtype).index_add(0, torch.tensor([4, 1, 1]), y), x[0]),
        "flip": (lambda x: ops.flip(x, one), lambda x: torch.flip(x, (one,)), x),
        "repeat": (lambda x: ops.repeat(x, 3, one), lambda x: torch.repeat_interleave(x, 3, one), x),
        "tile": (lambda x: ops.tile(x, (2, 1, 3)), lambda x: torch.tile(x, (2, 1, 3)), x),
        "dense": (ops.dense, lambda x, w, b: F.linear(x, w.T, b), x, n(size=(4, 5)), n(size=5)),
        "embedding": (lambda w: ops.embedding(np.array([[2, 0], [2, 1]]), w),
                      lambda w: F.embedding(torch.tensor([[2, 0], [2, 1]]), w), x[0]),
        "softmax": (lambda x: ops.softmax(x, one), lambda x: torch.softmax(x, one), x),
        "log_softmax": (lambda x: ops.log_softmax(x, one), lambda x: torch.log_softmax(x, one), x),
        "layer_norm": (ops.layer_norm, lambda x, g, b: F.layer_norm(x, (4,), g, b), x, n(size=4), n(size=4)),
        "lstm": (lambda *args: ops.concat([(y := ops.lstm(*args))[0], y[1][:, None]], 1), their_lstm,
                 *map(n, [0] * 6, [1] * 6, [(2, rng.integers(1, 5), 3), (3, 8), (2, 8), 8, (2, 2), (2, 2)])),
        "dropout at rate 0": (lambda x: ops.dropout(x, 0.0, rng), lambda x: F.dropout(x, 0.0), x),
    }
    return rows | of_images(rng) | of_losses(rng)


def their_lstm(x, w, u, b, h, c):
    w, u, b = (torch.cat([a[..., :4], a[..., 6:], a[..., 4:6]], -1).T for a in (w, u, b[None]))  # i f o g → i f g o
    y, _, c = torch._VF.lstm(x, (h[None], c[None]), [w, u, b[:, 0], 0 * b[:, 0]], True, 1, 0.0, False, False, True)
    return torch.cat([y, c[0][:, None]], 1)


def of_images(rng):
    x = apart(rng, 2, int(rng.integers(6, 10)), int(rng.integers(5, 8)), 3)
    stride, padding = int(rng.integers(1, 4)), int(rng.integers(0, 2))
    w, o = rng.normal(size=(int(rng.integers(2, 4)), 3, 3, int(rng.integers(1, 6)))), x.shape[1:3]
    size, step = int(rng.integers(2, 4)), int(rng.integers(1, 4))  # windows overlap, touch, or leave gaps
    y, argmax = ops.max_pool_with_argmax(x, size)
    flat = torch.tensor(ops.argmax_to_flat(argmax, x.shape[1:], size).astype(np.int64) // 3).permute(0, 3, 1, 2)
    small = ops.conv2d(x, w, None, stride, padding)
    back = tuple((n - 1) * stride - 2 * padding + k for n, k in zip(small.shape[1:3], w.shape[:2], strict=True))
    (gamma, beta, mean), var = rng.normal(size=(3, 3)), positive(rng, 3)
    return {
        "conv2d": (lambda x, w, b: ops.conv2d(x, w, b, stride, padding), lambda x, w, b: nhwc(
            F.conv2d(nchw(x), oihw(w), b, stride, padding)), x, w, rng.normal(size=w.shape[3])),
        "conv2d_transpose": (lambda y, w, b: ops.conv2d_transpose(y, w, b, stride, padding, back), lambda y, w, b: nhwc(
            F.conv_transpose2d(nchw(y), oihw(w), b, stride, padding)), small, w, rng.normal(size=3)),
        "conv2d_weight": (lambda x, y: ops.conv2d_weight(x, y, w.shape[:2], stride, padding),
                          lambda x, y: torch.nn.grad.conv2d_weight(
                              nchw(x), (w.shape[3], 3, *w.shape[:2]), nchw(y), stride, padding).permute(2, 3, 1, 0),
                          x, small),
        "max_pool_with_argmax": (lambda x: ops.max_pool_with_argmax(x, size, step)[0],
                                 lambda x: nhwc(F.max_pool2d(nchw(x), size, step)), x),
        "max_pool": (lambda x: ops.max_pool(x, size, step), lambda x: nhwc(F.max_pool2d(nchw(x), size, step)), x),
        "avg_pool": (lambda x: ops.avg_pool(x, size, step), lambda x: nhwc(F.avg_pool2d(nchw(x), size, step)), x),
        "unpool": (lambda y: ops.unpool(y, argmax, size, None, "valid", o), lambda y: nhwc(
            F.max_unpool2d(nchw(y), flat, size, output_size=o)), rng.normal(size=y.shape)),
        "upsample_nearest": (lambda x: ops.upsample_nearest(x, (2, 3)), lambda x: nhwc(
            F.interpolate(nchw(x), scale_factor=(2, 3))), x),
        "batch_norm": (lambda x, g, b: ops.batch_norm(x, g, b)[0], lambda x, g, b: nhwc(
            F.batch_norm(nchw(x), None, None, g, b, True)), x, gamma, beta),
        "batch_norm_inference": (lambda x, g, b: ops.batch_norm_inference(x, g, b, mean, var), lambda x, g, b: nhwc(
            F.batch_norm(nchw(x), torch.tensor(mean), torch.tensor(var), g, b, False)), x, gamma, beta),
    }


def of_losses(rng):
    x, t, s, labels = apart(rng, 5, 4), rng.random((5, 4)), rng.normal(size=(5, 4)), rng.integers(0, 4, 5)
    rows = {}
    for r in ("mean", "sum", "none"):
        def mean(loss, r=r):
            return {"mean": torch.mean, "sum": torch.sum, "none": lambda x: x}[r](loss)
        rows |= {
            f"bce_with_logits, {r}": (lambda x, t, r=r: losses.bce_with_logits(x, t, r), lambda x, t, r=r:
                                      F.binary_cross_entropy_with_logits(x, t, reduction=r), x, t),
            f"softmax_cross_entropy, {r}": (lambda x, r=r: losses.softmax_cross_entropy(x, labels, r), lambda x, r=r:
                                            F.cross_entropy(x, torch.tensor(labels), reduction=r), x),
            f"softmax_cross_entropy, probabilities, {r}": (
                lambda x, t, r=r: losses.softmax_cross_entropy(x, t, r),
                lambda x, t, r=r: F.cross_entropy(x, t, reduction=r), x, t),
            f"mse, {r}": (lambda x, t, r=r: losses.mse(x, t, r), lambda x, t, r=r: F.mse_loss(x, t, reduction=r), x, t),
            f"l1, {r}": (lambda x, t, r=r: losses.l1(x, t, r), lambda x, t, r=r: F.l1_loss(x, t, reduction=r),
                         x + 3, t),
            f"huber, {r}": (lambda x, t, r=r: losses.huber(x, t, r, 0.7), lambda x, t, r=r:
                            F.huber_loss(x, t, reduction=r, delta=0.7), 3 * x, t),
            f"hinge, {r}": (lambda x, r=r: losses.hinge(x, np.sign(s), r),
                            lambda x, mean=mean: mean(torch.relu(1 - x * torch.tensor(np.sign(s)))), 2.1 * x),
            f"gaussian_nll, {r}": (lambda t, x, s, r=r: losses.gaussian_nll(t, x, s, r),
                                   lambda t, x, s, mean=mean: mean(
                                       -torch.distributions.Normal(x, torch.exp(s / 2)).log_prob(t)), t, x, s),
            f"gaussian_kl, {r}": (lambda x, s, r=r: losses.gaussian_kl(x, s, r), lambda x, s, mean=mean: mean(
                torch.distributions.kl_divergence(torch.distributions.Normal(x, torch.exp(s / 2)),
                                                  torch.distributions.Normal(0.0, 1.0))), x, s),
        }
    return rows | of_games(x, s[:3])


def of_games(a, b):
    return {
        "minimax_discriminator": (
            lambda a, b: games.minimax_discriminator(a, b, 0.1),
            lambda a, b: F.binary_cross_entropy_with_logits(a, torch.full_like(a, 0.9)) +
            F.binary_cross_entropy_with_logits(b, torch.zeros_like(b)), a, b),
        "saturating_generator": (games.saturating_generator, lambda b: F.logsigmoid(-b).mean(), b),
        "non_saturating_generator": (games.non_saturating_generator, lambda b: -F.logsigmoid(b).mean(), b),
        "least_squares_discriminator": (
            games.least_squares_discriminator, lambda a, b: ((a - 1)**2).mean() / 2 + (b**2).mean() / 2, a, b),
        "least_squares_generator": (games.least_squares_generator, lambda b: 0.5 * ((b - 1)**2).mean(), b),
        "hinge_discriminator": (
            games.hinge_discriminator, lambda a, b: F.relu(1 - a).mean() + F.relu(1 + b).mean(), a, b),
        "wasserstein_discriminator": (games.wasserstein_discriminator, lambda a, b: b.mean() - a.mean(), a, b),
        "wasserstein_generator": (games.wasserstein_generator, lambda b: -b.mean(), b),
    }


NAMES = list(counterparts(np.random.default_rng(0)))


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1))
def test_value_and_both_derivatives(name, seed):
    ours, theirs, *inputs = counterparts(np.random.default_rng(seed))[name]
    xs = [Tensor(x, requires_grad=True) for x in inputs]
    ts = [torch.tensor(x, requires_grad=True) for x in inputs]
    y, ty = ours(*xs), theirs(*ts)
    close(y.data, ty)
    rng = np.random.default_rng(seed)
    gy, us = rng.standard_normal(y.shape), [rng.standard_normal(x.shape) for x in inputs]
    gs = grad(y, xs, gy, create_graph=True)
    tgs = torch.autograd.grad(ty, ts, torch.tensor(gy), create_graph=True)
    for g, tg in zip(gs, tgs, strict=True):
        close(g.data, tg)
    total, ttotal = sum((g * u).sum() for g, u in zip(gs, us, strict=True)), \
        sum((g * torch.tensor(u)).sum() for g, u in zip(tgs, us, strict=True))
    seconds = grad(total, xs) if total.requires_grad else [None] * len(xs)
    theirs = torch.autograd.grad(ttotal, ts, allow_unused=True) if ttotal.requires_grad else [None] * len(ts)
    for g, tg, x in zip(seconds, theirs, inputs, strict=True):
        close(np.zeros(x.shape) if g is None else g.data, torch.zeros(x.shape) if tg is None else tg)


def close(a, t):
    np.testing.assert_allclose(a, t.detach().numpy(force=True), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("stride, padding, kernel", list(itertools.product(
    [1, 2, (1, 2), 3], [0, 1, 2], [(3, 3), (2, 3), (1, 1), (4, 4)])))
@pytest.mark.parametrize("o", [2, 30])
def test_convolution_with_every_stride_and_padding(stride, padding, kernel, o):
    rng = np.random.default_rng(0)
    x, w, b = (Tensor(rng.normal(size=s), requires_grad=True) for s in ((2, 9, 7, 3), (*kernel, 3, o), (o,)))
    tx, tw, tb = (torch.tensor(t.data, requires_grad=True) for t in (x, w, b))
    y, ty = ops.conv2d(x, w, b, stride, padding), nhwc(F.conv2d(nchw(tx), oihw(tw), tb, stride, padding))
    close(y.data, ty)
    gy = rng.normal(size=y.shape)
    for g, t in zip(grad(y, [x, w, b], gy), torch.autograd.grad(ty, [tx, tw, tb], torch.tensor(gy)), strict=True):
        close(g.data, t)


def test_every_op_has_a_counterpart():
    ours = {c.op.name for c in REGISTRY.values() if c.op.forward.__module__.startswith("scratchnet")}
    missing = {ALONE.get(name, name) for name in ours} - {name.split(",")[0] for name in NAMES}
    assert not missing, f"add a row to counterparts() for {missing}"


# ---------------------------------------------------------------- beyond single ops: the parts of a GAN

def critic(rng, inputs=3):
    """The same smooth net twice, ours and theirs: (parameters, function of x and parameters) for each."""
    ours = [Tensor(0.7 * rng.standard_normal(shape), requires_grad=True) for shape in ((inputs, 6), (6,), (6, 1))]
    theirs = [torch.tensor(p.data, requires_grad=True) for p in ours]
    return ((ours, lambda x, p: ops.tanh(x @ p[0] + p[1]) @ p[2]),
            (theirs, lambda x, p: torch.tanh(x @ p[0] + p[1]) @ p[2]))


def test_gradient_penalty_and_its_gradient():
    rng = np.random.default_rng(0)
    (p, f), (q, g) = critic(rng)
    real, fake = rng.standard_normal((2, 5, 3))
    penalty = adversarial.gradient_penalty(lambda x: f(x, p), real, fake, np.random.default_rng(1))
    u = np.random.default_rng(1).random((5, 1))
    x = torch.tensor(u * real + (1 - u) * fake, requires_grad=True)
    slope, = torch.autograd.grad(g(x, q).sum(), x, create_graph=True)
    theirs = ((slope.norm(dim=1) - 1)**2).mean()
    close(penalty.data, theirs)
    for ours, expected in zip(grad(penalty, p[:2]), torch.autograd.grad(theirs, q[:2]), strict=True):
        close(ours.data, expected)


def test_generator_gradient_through_an_unrolled_discriminator():
    rng = np.random.default_rng(0)
    (p, f), (q, g) = critic(rng)
    real, fake = rng.standard_normal((2, 5, 3))

    class Net(Module):
        def __init__(self):
            self.a, self.b, self.c = (Parameter(t.data) for t in p)

        def __call__(self, x):
            return f(x, [self.a, self.b, self.c])
    net, x, y = Net(), Tensor(fake, requires_grad=True), torch.tensor(fake, requires_grad=True)
    with adversarial.unrolled(net, lambda: games.minimax_discriminator(net(real), net(x)), 3, 0.4):
        ours = grad(games.non_saturating_generator(net(x)), x)
    softplus = torch.nn.functional.softplus
    for _ in range(3):
        loss = softplus(-g(torch.tensor(real), q)).mean() + softplus(g(y, q)).mean()
        q = [w - 0.4 * s for w, s in zip(q, torch.autograd.grad(loss, q, create_graph=True), strict=True)]
    close(ours.data, torch.autograd.grad(softplus(-g(y, q)).mean(), y)[0])


def test_spectral_normalisation():
    rng = np.random.default_rng(0)
    layer, x = layers.SpectralDense(5, 3, rng=rng).move(lambda a: a.astype(np.float64)), rng.standard_normal((4, 5))
    theirs = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(5, 3, dtype=torch.float64))
    with torch.no_grad():
        theirs.parametrizations.weight.original.copy_(torch.tensor(layer.w.data.T))
        theirs.bias.copy_(torch.tensor(layer.b.data))
    for _ in range(50):                                               # until both have the singular vectors
        layer.normalized(), theirs.weight
    y, z = layer.eval()(x), theirs.eval()(torch.tensor(x))
    close(y.data, z)
    ours = grad(ops.square(y).sum(), layer.w)
    expected, = torch.autograd.grad((z**2).sum(), theirs.parametrizations.weight.original)
    np.testing.assert_allclose(ours.data, expected.T, rtol=1e-6, atol=1e-9)
