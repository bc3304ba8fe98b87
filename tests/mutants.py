"""Wrong gradient rules, each with the name of its mistake: the checker must catch it, the diagnosis must name it.

`systematic(rng)` bends the right rule of every op in ORDINARY in many ways; `by_hand()` makes the mistakes that people
make. A Mutant is (label, context, function, inputs, order, name). Inside context() the function has a wrong gradient;
name is the expected diagnosis, or None where none is promised.

    python tests/mutants.py [--seeds N] [--jobs N]

prints how many mutants are caught and named correctly, how long a whole model takes, and how many right rules are
called wrong over N draws of their inputs.
"""

import argparse
import functools
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
from cases import cases
from tqdm import tqdm

from scratchnet import Tensor, check, differentiable, losses, ops
from scratchnet.autograd import REGISTRY, data_of
from scratchnet.models.vaes import ConvVAE

OURS = [call for call in REGISTRY.values() if call.op.forward.__module__.startswith("scratchnet")]
ROW = {call.op.name: call for call in OURS}  # row of cases() → op
ORDINARY = ["add", "multiply", "divide", "power", "matmul", "exp", "log", "sqrt", "square", "sin", "tanh", "sigmoid",
            "softplus", "relu", "gelu", "silu", "sum", "mean", "var", "max", "logsumexp", "norm", "cumsum", "reshape",
            "transpose", "pad", "concat", "getitem", "scatter", "dense", "softmax", "log_softmax", "batch_norm",
            "layer_norm", "lstm", "conv2d", "conv2d_transpose", "conv2d_weight", "max_pool_with_argmax", "unpool",
            "window_sum", "bce_with_logits", "mse", "softmax_cross_entropy", "gaussian_kl"]


class Mutant(NamedTuple):
    label: str
    context: object
    f: object
    inputs: list
    order: int
    name: str | None


@contextmanager
def bent(op, of_gy=None, of_g=None):
    """Inside, the rules of op receive of_gy(gy), and their gradient of each input goes through of_g."""
    def bend(rule):
        @functools.wraps(rule)  # keeps the signature, which says what to keep
        def wrong(gy, *kept):
            gs = rule(gy if of_gy is None else of_gy(gy), *kept)
            if of_g is None:
                return gs
            return tuple(map(of_g, gs)) if isinstance(gs, (tuple, list)) else of_g(gs)
        return wrong
    op, before = op.op, op.op.rules
    op.rules, op.plans = [(targets, bend(rule)) for targets, rule in before], {}
    try:
        yield
    finally:
        op.rules, op.plans = before, {}


def _ones(gy):
    return np.ones_like(gy)


def _transposed(g):
    return None if g is None else np.ascontiguousarray(np.swapaxes(g, -1, -2)).reshape(g.shape) if g.ndim > 1 else g


def _rolled(g):
    return np.roll(g, 1, int(np.argmax(g.shape))) if g.ndim else g


def _flipped(g):
    return np.flip(g, g.ndim - 1) if g.ndim else g


SYSTEMATIC = {  # mistake: (on the cotangent, on the gradient, its name)
    "sign": (None, lambda g: -g, "wrong sign"),
    "twice": (None, lambda g: 2.0 * g, "factor 2"),
    "half": (None, lambda g: 0.5 * g, "factor 1/2"),
    "times 0.37": (None, lambda g: 0.37 * g, "constant factor"),
    "no gradient": (None, lambda g: None, "stop-gradient"),
    "zero": (None, lambda g: 0.0 * g, "stop-gradient"),
    "upstream ignored": (_ones, None, "upstream gradient ignored"),
    "upstream twice": (lambda gy: gy * gy, None, "upstream gradient applied twice"),
    "transposed": (None, _transposed, "axes permuted"),
    "shifted": (None, _rolled, "shifted by one"),
    "reversed": (None, _flipped, "axis reversed"),
}


def systematic(rng):
    """The Mutants of all ORDINARY ops, as far as their gradient really changes."""
    table = cases(rng)
    for row in ORDINARY:
        f, *inputs = table[row]
        tensors = [Tensor(x, requires_grad=True) for x in inputs]
        y = f(*tensors)
        v = np.random.default_rng(0).standard_normal((y[0] if isinstance(y, tuple) else y).shape)
        right = _gradients(f, inputs, v)
        for what, (of_gy, of_g, name) in SYSTEMATIC.items():
            context = functools.partial(bent, ROW[row], of_gy, of_g)
            with context():
                wrong = _gradients(f, inputs, v)
            apart = [not np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in zip(right, wrong, strict=True)]
            if any(apart):
                yield Mutant(f"{row}: {what}", context, f, inputs, 1, name)


def _gradients(f, inputs, v):
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    y = f(*tensors)
    (y[0] if isinstance(y, tuple) else y).backward(v)
    return [np.zeros(t.shape) if t.grad is None else t.grad for t in tensors]


# ---------------------------------------------------------------- ops that learners write, with right rules

@differentiable
def dense_tanh(x, w, b):
    return np.tanh(x @ w + b)


@dense_tanh.backward
def _(gy, x, w, y):
    d = gy * (1 - y * y)
    return d @ ops.transpose(w), ops.transpose(x) @ d, d


@differentiable
def dense_sigmoid(x, w):
    return 1 / (1 + np.exp(-(x @ w)))


@dense_sigmoid.backward
def _(gy, x, w, y):
    d = gy * y * (1 - y)
    return d @ ops.transpose(w), ops.transpose(x) @ d


@differentiable
def dense_relu(x, w):
    return np.maximum(x @ w, 0.0)


@dense_relu.backward
def _(gy, x, w, y):
    d = gy * (data_of(y) > 0)
    return d @ ops.transpose(w), ops.transpose(x) @ d


@differentiable
def recurrence(x, w, u):
    """y[t] = tanh(x[t] w + y[t−1] u)        x (T, I), w (I, H), u (H, H) → y (T, H)"""
    y, before = [], np.zeros(u.shape[0], dtype=x.dtype)
    for row in x @ w:
        before = np.tanh(row + before @ u)
        y.append(before)
    return np.stack(y)


def recurrence_rule(gy, x, w, u, y, paired=lambda y: np.concatenate([0 * y[:1], y[:-1]]),
                    derivative=lambda y: 1 - y * y, through_time=1.0):
    """Backpropagation through time; the arguments are the places for mistakes."""
    deltas, carried = [], np.zeros(u.shape[0])
    for t in reversed(range(len(y))):
        carried = (gy[t] + carried) * derivative(y[t])
        deltas.insert(0, carried)
        carried = through_time * carried @ u.T
    delta = np.stack(deltas)
    return delta @ w.T, x.T @ delta, paired(y).T @ delta


recurrence.backward(lambda gy, x, w, u, y: recurrence_rule(gy, x, w, u, y))


@differentiable
def ridge(w, x, t, penalty=0.3):
    """½ Σ(x w − t)² + ½ penalty Σ w²"""
    return 0.5 * ((x @ w - t) ** 2).sum() + 0.5 * penalty * (w * w).sum()


ridge.backward("w")(lambda gy, w, x, t, penalty: gy * (x.T @ (x @ w - t) + penalty * w))


@differentiable
def lasso(w, x, t, penalty=0.3):
    """½ Σ(x w − t)² + penalty Σ |w|"""
    return 0.5 * ((x @ w - t) ** 2).sum() + penalty * np.abs(w).sum()


lasso.backward("w")(lambda gy, w, x, t, penalty: gy * (x.T @ (x @ w - t) + penalty * np.sign(w)))


@differentiable
def correlate(x, w):
    """y[p] = Σᵢ w[i] x[p+i]        x (N,), w (k,) → y (N−k+1,)"""
    return sum(w[i] * x[i:len(x) - len(w) + 1 + i] for i in range(len(w)))


def correlate_rule(gy, x, w):
    n, k = len(gy), len(w)
    return np.convolve(gy, w), np.array([gy @ x[i:i + n] for i in range(k)])


correlate.backward(correlate_rule)


# ---------------------------------------------------------------- mistakes that people make

def _standardise(x, axes):
    centred = x - x.mean(axes, keepdims=True)
    std = np.sqrt((centred * centred).mean(axes, keepdims=True) + 1e-5)
    return centred / std, std


def _normalization(axes, mean, variance):
    """The rule of a normalization, for x alone, with or without the paths through the statistics."""
    def rule(gy, x, gamma):
        xhat, std = _standardise(x, axes)
        g = gy * gamma
        return ((g - mean * g.mean(axes, keepdims=True) - variance * xhat * (g * xhat).mean(axes, keepdims=True)) / std,
                (gy * xhat).sum(axes), gy.sum(axes)) if axes == (0, 1) else \
            (g - mean * g.mean(axes, keepdims=True) - variance * xhat * (g * xhat).mean(axes, keepdims=True)) / std
    return rule


def _overwritten_windows(order):
    """`=` instead of `+=` where windows overlap, which are visited in the given order."""
    def rule(gy, size, stride, padding, x_shape):
        kernel, stride, pads, out = ops.pooling._window_geometry("", x_shape[1:3], size, stride, padding)
        x = np.zeros((x_shape[0], *(n + sum(p) for n, p in zip(x_shape[1:3], pads, strict=True)), x_shape[3]))
        for _, _, window in order(list(ops.windows.window_views(x, kernel, stride, out))):
            window[...] = gy
        return x[:, pads[0][0]:, pads[1][0]:][:, :x_shape[1], :x_shape[2]]
    return rule


def _own_window(gy, stride, x_shape):
    """Each pixel receives the gradient of the window in whose stride it lies."""
    g = gy.repeat(stride, 1).repeat(stride, 2)[:, :x_shape[1], :x_shape[2]]
    return np.pad(g, ((0, 0), (0, x_shape[1] - g.shape[1]), (0, x_shape[2] - g.shape[2]), (0, 0)))


def _overwritten_rows(gy, index, x_shape):
    g = np.zeros(x_shape)
    g[index] = gy
    return g


def _stride_ignored(gy, x, w):
    wide = np.zeros((gy.shape[0], x.shape[1] - w.shape[0] + 1, x.shape[2] - w.shape[1] + 1, gy.shape[3]))
    wide[:, :gy.shape[1], :gy.shape[2]] = gy
    return ops.conv2d_transpose(wide, w, None, 1, "valid", x.shape[1:3]), ops.conv2d_weight(x, wide, w.shape[:2], 1,
        "valid")


def _constant(rule):
    """The same rule, but it takes all values that it kept for constants: wrong from the second order on."""
    @functools.wraps(rule)
    def wrong(gy, *kept):
        return rule(gy, *map(data_of, kept))
    return wrong


def by_hand():
    """The Mutants written by hand."""
    rng = np.random.default_rng(11)
    n = rng.normal
    X, W, B, S = n(size=(3, 4)), n(size=(4, 5)), n(size=5), n(size=(4, 4))
    P = 0.5 + rng.random((3, 4))
    IMAGE, KERNEL, SEQUENCE = n(size=(2, 7, 6, 3)), n(size=(3, 3, 3, 2)), n(size=(6, 4))
    U = n(size=(3, 3)) / 2
    both = "mean and variance paths missing"
    first_order = [
        ("tanh: derivative left out", ops.tanh, lambda gy: gy, ops.tanh, [X], "derivative left out"),
        ("sigmoid: derivative left out", ops.sigmoid, lambda gy: gy, ops.sigmoid, [X], "derivative left out"),
        ("relu: derivative left out", ops.relu, lambda gy: gy, ops.relu, [X], "derivative left out"),
        ("exp: derivative left out", ops.exp, lambda gy: gy, ops.exp, [X], "derivative left out"),
        ("multiply: factor left out", ops.multiply, lambda gy: (gy, gy), ops.multiply, [X, P], "derivative left out"),
        ("dropout: mask left out", ops.multiply, lambda gy: gy,
         lambda x: ops.dropout(x, 0.4, np.random.default_rng(5)), [X], "derivative left out"),
        ("exp: at the output", ops.exp, lambda gy, y: gy * np.exp(y), ops.exp, [X], "evaluated at the output"),
        ("log: at the output", ops.log, lambda gy, y: gy / y, ops.log, [P], "evaluated at the output"),
        ("sin: at the output", ops.sin, lambda gy, y: gy * np.cos(y), ops.sin, [X], "evaluated at the output"),
        ("square: at the output", ops.square, lambda gy, y: 2 * gy * y, ops.square, [X], "evaluated at the output"),
        ("softplus: at the output", ops.softplus, lambda gy, y: gy * ops.sigmoid(y), ops.softplus, [X],
         "evaluated at the output"),
        ("tanh: at the input", ops.tanh, lambda gy, x: gy * (1 - x * x), ops.tanh, [X], "evaluated at the input"),
        ("sigmoid: at the input", ops.sigmoid, lambda gy, x: gy * x * (1 - x), ops.sigmoid, [X],
         "evaluated at the input"),
        ("sqrt: at the input", ops.sqrt, lambda gy, x: gy * 0.5 / x, ops.sqrt, [P], "evaluated at the input"),
        ("softplus: at −x", ops.softplus, lambda gy, x: gy * ops.sigmoid(-x), ops.softplus, [X],
         "evaluated at minus the input"),
        ("tanh: derivative twice", ops.tanh, lambda gy, y: gy * (1 - y * y) ** 2, ops.tanh, [X],
         "derivative applied twice"),
        ("sigmoid: derivative twice", ops.sigmoid, lambda gy, y: gy * (y * (1 - y)) ** 2, ops.sigmoid, [X],
         "derivative applied twice"),
        ("log: derivative twice", ops.log, lambda gy, x: gy / x ** 2, ops.log, [P], "derivative applied twice"),
        ("softmax: as if elementwise", ops.softmax, lambda gy, y: gy * y * (1 - y), ops.softmax, [X],
         "treated as elementwise"),
        ("log_softmax: as if elementwise", ops.log_softmax, lambda gy, y: gy * (1 - np.exp(y)), ops.log_softmax, [X],
         "treated as elementwise"),
        ("log_softmax: left out", ops.log_softmax, lambda gy, y: gy, ops.log_softmax, [X], "derivative left out"),
        ("softmax: sum over the wrong axis", ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(0)), ops.softmax, [X],
         "wrong axis"),
        ("cumsum: not transposed", ops.cumsum, lambda gy: np.cumsum(gy, 0), lambda x: ops.cumsum(x, 0), [X],
         "Jacobian not transposed"),
        ("cumsum: exclusive", ops.cumsum, lambda gy: np.cumsum(gy[::-1], 0)[::-1] - gy, lambda x: ops.cumsum(x, 0),
         [X], "shifted by one"),
        ("cumsum: steps independent", ops.cumsum, lambda gy: gy, lambda x: ops.cumsum(x, 0), [X],
         "derivative left out"),
        ("matmul: square matrix not transposed", ops.dense, lambda gy, x, w: (gy @ w, x.T @ gy, gy.sum(0)), ops.dense,
         [X, S, S[0]], "Jacobian not transposed"),
        ("dense: weight transposed", ops.dense, lambda gy, x, w: (gy @ w.T, (x.T @ gy).T.reshape(w.shape), gy.sum(0)),
         ops.dense, [X, W, B], "axes permuted"),
        ("dense: weight of the wrong shape", ops.dense, lambda gy, x, w: (gy @ w.T, gy.T @ x, gy.sum(0)), ops.dense,
         [X, W, B], "axes permuted"),
        ("dense: bias averaged", ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.mean(0)), ops.dense, [X, W, B],
         "broadcast axis averaged"),
        ("dense: bias of the first row", ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy[0]), ops.dense, [X, W, B],
         "broadcast axis not summed"),
        ("add: bias of the last row", ops.add, lambda gy: (gy, gy[-1]), ops.add, [X, X[0]],
         "broadcast axis not summed"),
        ("add: bias summed twice", ops.add, lambda gy: (gy, np.broadcast_to(gy.sum(0), gy.shape)), ops.add, [X, X[0]],
         "broadcast axis summed twice"),
        ("add: bias averaged", ops.add, lambda gy: (gy, gy.mean(0)), ops.add, [X, X[0]], "broadcast axis averaged"),
        ("multiply: gain not summed", ops.multiply, lambda gy, a, b: (gy * b, (gy * a)[0]), ops.multiply, [X, P[0]],
         "broadcast axis not summed"),
        ("multiply: inputs swapped", ops.multiply, lambda gy, a, b: (gy * a, gy * b), ops.multiply, [X, P],
         "inputs swapped"),
        ("divide: inputs swapped", ops.divide, lambda gy, a, b: (gy / a, -gy * b / a ** 2), ops.divide,
         [P, P[::-1] * 1.1], "inputs swapped"),
        ("subtract: both positive", ops.subtract, lambda gy: (gy, gy), ops.subtract, [X, P], "wrong sign"),
        ("divide: sign of the denominator", ops.divide, lambda gy, a, b: (gy / b, gy * a / b ** 2), ops.divide, [X, P],
         "wrong sign"),
        ("divide: denominator not squared", ops.divide, lambda gy, a, b: (gy / b, -gy * a / b), ops.divide, [X, P],
         "other argument as a factor"),
        ("power: exponent not lowered", ops.power, lambda gy, x, p: (gy * p * x ** p, gy * x ** p * np.log(x)),
         ops.power, [P, X], "other argument as a factor"),
        ("power: logarithm forgotten", ops.power, lambda gy, x, p: (gy * p * x ** (p - 1), gy * x ** p), ops.power,
         [P, X], None),
        ("multiply: second input forgotten", ops.multiply, lambda gy, b: (gy * b, None), ops.multiply, [X, P],
         "stop-gradient"),
        ("relu: stopped", ops.relu, lambda gy: None, ops.relu, [X], "stop-gradient"),
        ("where: masks swapped", ops.where, lambda gy, condition: (None, gy * ~condition, gy * condition),
         lambda a, b: ops.where(X > 0, a, b), [X, P], "inputs swapped"),
        ("square: 2 forgotten", ops.square, lambda gy, x: gy * x, ops.square, [X], "factor 1/2"),
        ("mean: not divided", ops.mean, lambda gy, x_shape: np.broadcast_to(gy, x_shape), ops.mean, [X], "factor N"),
        ("mean: divided twice", ops.mean, lambda gy, x_shape: np.broadcast_to(gy / np.prod(x_shape) ** 2, x_shape),
         ops.mean, [X], "factor 1/N"),
        ("mean: by the root", ops.mean, lambda gy, x_shape: np.broadcast_to(gy / np.sqrt(np.prod(x_shape)), x_shape),
         ops.mean, [X], "factor √N"),
        ("sum: averaged", ops.sum, lambda gy, x_shape: np.broadcast_to(gy / np.prod(x_shape), x_shape), ops.sum, [X],
         "factor 1/N"),
        ("sum: averaged over a number of entries that is written out", ops.sum,
         lambda gy, x_shape: np.broadcast_to(gy / 12, x_shape), ops.sum, [X], "constant factor"),
        ("var: 2 forgotten", ops.var, lambda gy, x: gy * (x - x.mean()) / x.size, ops.var, [X], "factor 1/2"),
        ("var: n − 1", ops.var, lambda gy, x: gy * 2 * (x - x.mean()) / (x.size - 1), ops.var, [X], "constant factor"),
        ("var: mean not subtracted", ops.var, lambda gy, x: gy * 2 * x / x.size, ops.var, [X], None),
        ("norm: sign", ops.norm, lambda gy, x: gy * np.sign(x), lambda x: ops.norm(x), [X], None),
        ("norm: not divided", ops.norm, lambda gy, x: gy * x, lambda x: ops.norm(x), [X], None),  # ‖x‖ is no constant
        ("logsumexp: uniform", ops.logsumexp, lambda gy, x: gy * np.full(x.shape, 1 / x.size), ops.logsumexp, [X],
         None),
        ("max: everybody wins", ops.max, lambda gy, x: gy[..., None] + 0 * x, lambda x: ops.max(x, 1), [X],
         "spread over the window"),
        ("dropout: not scaled", ops.multiply, lambda gy, b: gy * (b != 0),
         lambda x: ops.dropout(x, 0.4, np.random.default_rng(5)), [X], "constant factor"),
        ("tanh: upstream ignored", ops.tanh, lambda gy, y: 1 - y * y, ops.tanh, [X], "upstream gradient ignored"),
        ("tanh: upstream squared", ops.tanh, lambda gy, y: gy * gy * (1 - y * y), ops.tanh, [X],
         "upstream gradient applied twice"),
        ("dense: upstream ignored for w", ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ np.ones_like(gy), gy.sum(0)),
         ops.dense, [X, W, B], "upstream gradient ignored"),
        ("batch_norm: mean path", ops.batch_norm, _normalization((0, 1), 0, 1),
         lambda x, g, b: ops.batch_norm(x, g, b)[0], [n(size=(3, 2, 4)), P[0], X[0]], "mean path missing"),
        ("batch_norm: variance path", ops.batch_norm, _normalization((0, 1), 1, 0),
         lambda x, g, b: ops.batch_norm(x, g, b)[0], [n(size=(3, 2, 4)), P[0], X[0]], "variance path missing"),
        ("batch_norm: both paths", ops.batch_norm, _normalization((0, 1), 0, 0),
         lambda x, g, b: ops.batch_norm(x, g, b)[0], [n(size=(3, 2, 4)), P[0], X[0]], both),
        ("layer_norm: mean path", ops.layer_norm, _normalization((-1,), 0, 1), lambda x: ops.layer_norm(x, P[0], X[0]),
         [n(size=(5, 4))], "mean path missing"),
        ("layer_norm: variance path", ops.layer_norm, _normalization((-1,), 1, 0),
         lambda x: ops.layer_norm(x, P[0], X[0]), [n(size=(5, 4))], "variance path missing"),
        ("layer_norm: both paths", ops.layer_norm, _normalization((-1,), 0, 0),
         lambda x: ops.layer_norm(x, P[0], X[0]), [n(size=(5, 4))], both),
        ("conv2d: kernel not flipped", ops.conv2d,
         lambda gy, x, w: (ops.conv2d(gy, w.swapaxes(2, 3)), ops.conv2d_weight(x, gy, (3, 3))), ops.conv2d,
         [IMAGE, KERNEL], "kernel not flipped"),
        ("conv2d: weight flipped", ops.conv2d,
         lambda gy, x, w: (ops.conv2d_transpose(gy, w), ops.conv2d_weight(x, gy, (3, 3))[::-1, ::-1]), ops.conv2d,
         [IMAGE, KERNEL], "kernel not flipped"),
        ("conv2d: shifted by one", ops.conv2d,
         lambda gy, x, w: (np.roll(ops.conv2d_transpose(gy, w), 1, 1), ops.conv2d_weight(x, gy, (3, 3))), ops.conv2d,
         [IMAGE, KERNEL], "shifted by one"),
        ("conv2d: padding off by one", ops.conv2d,
         lambda gy, x, w: (ops.conv2d_transpose(gy, w, None, 1, ((2, 0), (1, 1))), ops.conv2d_weight(x, gy, (3, 3))),
         ops.conv2d, [IMAGE, KERNEL], "shifted by one"),
        ("conv2d: stride ignored", ops.conv2d, _stride_ignored, lambda x, w: ops.conv2d(x, w, None, 2, "valid"),
         [IMAGE, KERNEL], "stride ignored"),
        ("conv2d: weight channels transposed", ops.conv2d,
         lambda gy, x, w: (ops.conv2d_transpose(gy, w),
                           ops.conv2d_weight(x, gy, (3, 3)).swapaxes(2, 3).reshape(w.shape)),
         ops.conv2d, [IMAGE, KERNEL], "axes permuted"),
        ("correlate: not flipped", correlate, lambda gy, x, w: (np.convolve(gy, w[::-1]), correlate_rule(gy, x, w)[1]),
         correlate, [n(size=9), n(size=3)], "kernel not flipped"),
        ("correlate: shifted", correlate,
         lambda gy, x, w: (np.roll(np.convolve(gy, w), 1), correlate_rule(gy, x, w)[1]), correlate,
         [n(size=9), n(size=3)], "shifted by one"),
        ("window_sum: last window wins", ops.window_sum, _overwritten_windows(lambda w: w),
         lambda x: ops.window_sum(x, 3, 2), [IMAGE], "overwritten, not accumulated"),
        ("window_sum: first window wins", ops.window_sum, _overwritten_windows(lambda w: w[::-1]),
         lambda x: ops.window_sum(x, 3, 2), [IMAGE], "overwritten, not accumulated"),
        ("window_sum: overlaps ignored", ops.window_sum, _own_window, lambda x: ops.window_sum(x, 3, 2),
         [n(size=(2, 7, 9, 3))], "overlapping windows ignored"),
        ("getitem: repeated rows overwritten", ops.getitem, _overwritten_rows,
         lambda x: ops.getitem(x, np.array([1, 1, 0, 2, 1])), [X], "overwritten, not accumulated"),
        ("embedding: repeated rows overwritten", ops.getitem, _overwritten_rows,
         lambda w: ops.embedding(np.array([[2, 0], [2, 1]]), w), [X], "overwritten, not accumulated"),
        ("dense_tanh: activation", dense_tanh, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.sum(0)), dense_tanh,
         [X, W / 2, B], "activation's derivative left out"),
        ("dense_sigmoid: activation", dense_sigmoid, lambda gy, x, w: (gy @ w.T, x.T @ gy), dense_sigmoid, [X, W],
         "activation's derivative left out"),
        ("dense_relu: activation", dense_relu, lambda gy, x, w: (gy @ w.T, x.T @ gy), dense_relu, [X, W],
         "activation's derivative left out"),
        ("dense_tanh: bias not summed", dense_tanh,
         lambda gy, x, w, y: ((gy * (1 - y * y)) @ w.T, x.T @ (gy * (1 - y * y)), (gy * (1 - y * y))[0]), dense_tanh,
         [X, W / 2, B], "broadcast axis not summed"),
        ("recurrence: this step for the one before", recurrence,
         lambda gy, x, w, u, y: recurrence_rule(gy, x, w, u, y, paired=lambda y: y), recurrence,
         [SEQUENCE, n(size=(4, 3)), U], "off by one in time"),
        ("recurrence: two steps before", recurrence,
         lambda gy, x, w, u, y: recurrence_rule(
             gy, x, w, u, y, paired=lambda y: np.concatenate([np.zeros((2, 3)), y[:-2]])),
         recurrence, [SEQUENCE, n(size=(4, 3)), U], "off by one in time"),
        ("recurrence: the next step's cotangent", recurrence,
         lambda gy, x, w, u, y: recurrence_rule(np.concatenate([gy[1:], 0 * gy[:1]]), x, w, u, y), recurrence,
         [SEQUENCE, n(size=(4, 3)), U], "off by one in time"),
        ("recurrence: not through time", recurrence,
         lambda gy, x, w, u, y: recurrence_rule(gy, x, w, u, y, through_time=0.0),
         lambda x: recurrence(x, W[:, :3] / 2, U), [SEQUENCE], "steps treated as independent"),
        ("recurrence: derivative left out", recurrence,
         lambda gy, x, w, u, y: recurrence_rule(gy, x, w, u, y, derivative=lambda y: 1.0), recurrence,
         [SEQUENCE, n(size=(4, 3)), U], "activation's derivative left out"),
        ("ridge: regularizer missing", ridge, lambda gy, w, x, t: gy * (x.T @ (x @ w - t)),
         lambda w: ridge(w, X, P[:, 0]), [X[0]], "regularizer missing"),
        ("ridge: regularizer doubled", ridge, lambda gy, w, x, t: gy * (x.T @ (x @ w - t) + 0.6 * w),
         lambda w: ridge(w, X, P[:, 0]), [X[0]], "regularizer doubled"),
        ("lasso: regularizer missing", lasso, lambda gy, w, x, t: gy * (x.T @ (x @ w - t)),
         lambda w: lasso(w, X, P[:, 0]), [X[0]], "regularizer missing"),
        ("lasso: regularizer doubled", lasso, lambda gy, w, x, t: gy * (x.T @ (x @ w - t) + 0.6 * np.sign(w)),
         lambda w: lasso(w, X, P[:, 0]), [X[0]], "regularizer doubled"),
        ("mse: not divided", losses.mse,
         lambda gy, x, t: (gy * 2 * (x - t) * x.size, None), lambda a: losses.mse(a, P, "mean"), [X], "factor N"),
        ("relu: 5 at zero", ops.relu, lambda gy, x: gy * ((x > 0) + 5.0 * (x == 0)), ops.relu,
         [np.array([1.0, 0, -2, 3])], "ties or zeros"),
        ("abs: 2 at zero", ops.abs, lambda gy, x: gy * (np.sign(x) + 2.0 * (x == 0)), ops.abs,
         [np.array([1.0, 0, -2, 3])], "ties or zeros"),
        ("norm: not a number at zero", ops.norm, lambda gy, x, y: gy[:, None] * x / y[:, None],
         lambda x: ops.norm(x, 1), [np.array([[1.0, 2], [0, 0], [3, 1]])], "ties or zeros"),
        ("sqrt: not a number", ops.sqrt, lambda gy, x: gy * 0.5 / np.sqrt(x - 1), ops.sqrt, [P], "not finite"),
    ]
    for label, op, rule, f, inputs, name in first_order:
        yield Mutant(label, functools.partial(op.using, rule), f, inputs, 1, name)
    yield from _hidden_paths(X, P, W)
    yield from _second_order(X, P, W, B)


def _hidden_paths(X, P, W):
    """Functions of right ops with a path that the tape does not see."""
    for label, f, inputs in (
            ("x · data of x", lambda x: ops.tanh(x) * data_of(x), [X]),
            ("softmax with a constant sum", lambda x: ops.exp(x) / data_of(ops.exp(x)).sum(1, keepdims=True), [X]),
            ("detached weight", lambda x, w: ops.dense(ops.tanh(x), data_of(w)) + ops.sum(w), [X, W]),
            ("statistics as constants", lambda x: (x - data_of(x).mean(0)) / data_of(x).std(0), [X]),
            ("a float in between", lambda x: ops.square(x) * float(data_of(x)[0, 0].real), [X])):
        yield Mutant(f"{label}: hidden path", nullcontext, f, inputs, 1, "stop-gradient")


def _second_order(X, P, W, B):
    """Rules that are right to first order only."""
    name = "stop-gradient in the second order"
    rules = [
        (ops.tanh, lambda gy, y: gy * (1 - y * y), ops.tanh, [X]),
        (ops.sigmoid, lambda gy, y: gy * y * (1 - y), ops.sigmoid, [X]),
        (ops.exp, lambda gy, y: gy * y, ops.exp, [X]),
        (ops.log, lambda gy, x: gy / x, ops.log, [P]),
        (ops.sin, lambda gy, x: gy * np.cos(x), ops.sin, [X]),
        (ops.square, lambda gy, x: 2.0 * gy * x, ops.square, [X]),
        (ops.softplus, lambda gy, x: gy * ops.sigmoid(x), ops.softplus, [X]),
        (ops.multiply, lambda gy, a, b: (gy * b, gy * a), ops.multiply, [X, P]),
        (ops.divide, lambda gy, a, b: (gy / b, -gy * a / b ** 2), ops.divide, [X, P]),
        (ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(1, keepdims=True)), ops.softmax, [X]),
        (ops.log_softmax, lambda gy, y: gy - np.exp(y) * gy.sum(1, keepdims=True), ops.log_softmax, [X]),
        (ops.layer_norm, _normalization((-1,), 1, 1), lambda x: ops.layer_norm(x, P[0], X[0]), [X]),
        (ops.dense, lambda gy, x, w: (gy @ w.T, ops.transpose(ops.transpose(gy) @ x), gy.sum(0)), ops.dense,
         [X, W, B]),
        (ops.logsumexp, lambda gy, x: gy * ops.softmax(x.ravel()).reshape(x.shape), ops.logsumexp, [X]),
    ]
    for op, rule, f, inputs in rules:
        yield Mutant(f"{op.op.name}: with constants, second order", functools.partial(op.using, _constant(rule)), f,
                     inputs, 2, name)
    for factor, name in ((2.0, "factor 2"), (-1.0, "wrong sign"), (0.5, "factor 1/2")):
        yield Mutant(f"tanh: times {factor} when recorded, second order", functools.partial(
            ops.tanh.using, _other_when_recorded(factor)), ops.tanh, [X], 2, name)


def _other_when_recorded(factor):
    return lambda gy, y: gy * (1 - y * y) * (factor if isinstance(gy, Tensor) else 1.0)


def examine(mutant):
    """(whether it was caught, the Diagnosis or None)."""
    try:
        with mutant.context(), np.errstate(all="ignore"):  # some divide by zero on purpose
            check.gradients(mutant.f, *mutant.inputs, order=mutant.order)
    except check.GradientMismatch as mismatch:
        report = mismatch.report
        while report.higher:
            report = report.higher
        return True, report.diagnosis
    return False, None


def false_alarms(seed):
    """(number of right rules checked, number of those called wrong) with the inputs drawn from seed."""
    rows, alarms = cases(np.random.default_rng(seed)), 0
    for name, (f, *xs) in rows.items():
        try:
            check.gradients(f, *xs, seed=seed, order=2 if sum(x.size for x in xs) < 400 else 1)
        except check.GradientMismatch as mismatch:
            alarms += 1
            print(f"  false alarm: {name}, seed {seed}\n{mismatch}", flush=True)
    return len(rows), alarms


def whole_loss():
    """Check the loss of the convolutional VAE in all its parameters, and return how many numbers these are. The two
    images are noise: on the black background of a digit all windows tie, and their maximum jumps with every step."""
    rng = np.random.default_rng(0)
    model, images = ConvVAE(rng=rng), rng.random((2, 28, 28, 1))
    check.gradients(lambda: model.loss(images, np.random.default_rng(1))[0], parameters=model)
    return sum(p.size for p in model.parameters())


def main():
    parser = argparse.ArgumentParser(description="How many wrong rules are caught and named, and right ones flagged.")
    parser.add_argument("--seeds", type=int, default=3, help="draws of all right rules (1000: two hours of a core)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the seeds")
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = [(m, *examine(m)) for m in [*systematic(np.random.default_rng(0)), *by_hand()]]
    named = [(m, d) for m, _, d in found if m.name]
    right = [m for m, d in named if d and d.name == m.name]
    sure_and_wrong = [(m, d) for m, _, d in found if d and d.confidence == "high" and d.name != (m.name or "unknown")]
    over = len({m.label.split(":")[0] for m, _, _ in found})
    print(f"wrong rules: {len(found)} over {over} functions, of which of second order "
          f"{sum(m.order == 2 for m, _, _ in found)}")
    print(f"caught: {sum(caught for _, caught, _ in found)} of {len(found)}")
    print(f"named right, of those with a name: {len(right)} of {len(named)} ({100 * len(right) / len(named):.1f} %)")
    print(f"named wrongly with high confidence: {len(sure_and_wrong)}")
    print(f"names used: {len({d.name for _, _, d in found if d} - {'unknown'})}; {time.perf_counter() - start:.0f} s")
    for m, d in [(m, d) for m, d in named if m not in right] + sure_and_wrong:
        print(f"  {m.label}: {d and d.name} ({d and d.confidence}), expected {m.name}")
    start = time.perf_counter()
    size = whole_loss()
    print(f"the loss of the convolutional VAE, all {size:,} parameters: right; {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        results = list(tqdm(pool.map(false_alarms, range(arguments.seeds)), total=arguments.seeds, unit="seed"))
    print(f"false alarms: {sum(alarms for _, alarms in results)} in {sum(checks for checks, _ in results)} checks of "
          f"right rules ({arguments.seeds} seeds); {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
