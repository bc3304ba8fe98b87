"""An examination of the gradient checker by rules that were written without a look at its sources.

Half of the wrong rules are mistakes that learners make. The other half resemble a mistake that has a name but are not
that mistake, so that a checker that guesses is caught. The right rules have unusual forms or meet unusual points.

    python tests/rules_of_outsiders.py        prints a line for each entry, then the count of each verdict

A rule is swapped in by `op.using(rule)`, or it belongs to an op written here as a student would write it. `names` holds
every name that is true of the mistake. If it is empty, only "unknown" is true; None marks a right rule.
"""

import itertools
import math

import numpy as np
from examination import Entry, examine_all

from scratchnet import Tensor, check, grad, layers, ops
from scratchnet.autograd import differentiable, enable_grad

ENTRIES = []
_numbers = itertools.count(1)


def wrong(id, names, why, call):
    ENTRIES.append(Entry(id=id, call=call, names=set(names), why=why))


def right(id, why, call):
    ENTRIES.append(Entry(id=id, call=call, names=None, why=why))


def swap(op, rule, *inputs, f=None, **options):
    """A check of f, or of the op itself, with the rule in place of the op's own."""
    def call():
        with op.using(rule):
            return check.gradients(f or op, *inputs, **options)
    return call


def own(forward, rule, *inputs, f=None, **options):
    """A check of an op written here. If it has further arguments, f(op) makes it a function of the inputs."""
    if forward.__name__ == "<lambda>":
        forward.__name__ = f"student_op_{next(_numbers)}"
    op = differentiable(forward)
    op.backward(rule)
    return lambda: check.gradients(f(op) if f else op, *inputs, **options)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def positive(seed, *shape):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def data(x):
    return x.data if isinstance(x, Tensor) else x


def sigma(x):
    return 1 / (1 + np.exp(-x))


def soft(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


CONSTANT = "constant factor"
UNSUMMED = {"broadcast axis not summed", "wrong shape"}
AVERAGED = {"broadcast axis averaged", "factor 1/N", CONSTANT}
LEFT_OUT = {"derivative left out", "activation's derivative left out"}
OVERWRITTEN = {"overwritten, not accumulated", "overlapping windows ignored"}

# ---------------------------------------------------------------- learners: one number at a time

wrong("tanh_at_input", {"evaluated at the input"}, "1 − x² in the place of 1 − y²",
      swap(ops.tanh, lambda gy, x: gy * (1 - x * x), normal(1, 3, 5)))
wrong("sigmoid_half", (), "y alone: the factor 1 − y is forgotten",
      swap(ops.sigmoid, lambda gy, y: gy * y, normal(3, 4, 3)))
wrong("relu_left_out", LEFT_OUT, "negative inputs are not masked",
      swap(ops.relu, lambda gy: gy, normal(6, 5, 4)))
wrong("leaky_relu_branches", {"evaluated at minus the input"}, "the two slopes exchanged",
      swap(ops.leaky_relu, lambda gy, x, slope: gy * np.where(x > 0, slope, 1.0), normal(8, 4, 4),
           f=lambda x: ops.leaky_relu(x, 0.2)))
wrong("silu_product_rule", {"stop-gradient"}, "the second term of the product rule is missing",
      swap(ops.silu, lambda gy, x: gy * ops.sigmoid(x), normal(9, 3, 4)))
wrong("gelu_of_another", (), "derivative of x σ(1.702 x), a nearby function",
      swap(ops.gelu, lambda gy, x: gy * (sigma(1.702 * x) * (1 + 1.702 * x * (1 - sigma(1.702 * x)))), normal(10, 9)))
wrong("elu_alpha", (), "y in the place of y + α, but only where x < 0",
      swap(ops.elu, lambda gy, x, y: gy * np.where(x > 0, 1.0, y), normal(11, 3, 5), f=lambda x: ops.elu(x, 1.5)))
wrong("cos_sign", {"wrong sign", CONSTANT, "evaluated at minus the input"}, "sin x without the minus",
      swap(ops.cos, lambda gy, x: gy * np.sin(x), normal(14, 2, 6)))
wrong("log_at_output", {"evaluated at the output"}, "1/y", swap(ops.log, lambda gy, y: gy / y, 2 + positive(15, 4, 2)))
wrong("power_not_lowered", {"other argument as a factor"}, "p xᵖ: the exponent is not lowered",
      swap(ops.power, lambda gy, x, p: gy * p * x ** p, positive(19, 4, 3), f=lambda x: ops.power(x, 4)))
wrong("gaussian_inner", {"derivative left out"}, "e^(−x²): the inner derivative −2x is forgotten",
      own(lambda x: np.exp(-x * x), lambda gy, y: gy * y, normal(21, 4, 3)))

# ---------------------------------------------------------------- learners: two arguments, broadcasting

wrong("multiply_swapped", {"inputs swapped", "other argument as a factor"}, "each factor gets itself",
      swap(ops.multiply, lambda gy, a, b: (gy * a, gy * b), normal(30, 3, 4), normal(31, 3, 4)))
wrong("divide_once", {"other argument as a factor"}, "−y in the place of −y/b",
      swap(ops.divide, lambda gy, b, y: (gy / b, -gy * y), normal(34, 4, 2), positive(35, 4, 2)))
wrong("broadcast_mean", AVERAGED, "the mean over the batch in the place of the sum",
      swap(ops.multiply, lambda gy, a, b: (gy * b, (gy * a).mean(0)), normal(42, 5, 3), normal(43, 3)))
wrong("broadcast_twice", {"broadcast axis summed twice", "factor N", CONSTANT}, "summed, spread, and summed again",
      swap(ops.add, lambda gy: (gy, np.broadcast_to(gy.sum(0), gy.shape)), normal(44, 6, 2), normal(45, 2)))
wrong("scale_unsummed", UNSUMMED, "∂L/∂g keeps the batch axis",
      own(lambda x, g: x * g, lambda gy, x, g: (gy * g, gy * x), normal(46, 4, 3), normal(47, 3)))
wrong("scale_other_axis", {"wrong axis"}, "Σ over the channels in the place of the batch (both are 4)",
      own(lambda x, g: x * g, lambda gy, x, g: (gy * g, (gy * x).sum(1)), normal(48, 4, 4), normal(49, 4)))

# ---------------------------------------------------------------- learners: reductions and norms

wrong("mean_as_sum", {"factor N", CONSTANT}, "∂L/∂y for a mean",
      swap(ops.mean, lambda gy, x: np.broadcast_to(gy[:, None], x.shape), normal(61, 2, 7), f=lambda x: x.mean(axis=1)))
wrong("norm_not_divided", (), "x in the place of x/‖x‖",
      swap(ops.norm, lambda gy, x: gy[:, None] * x, normal(63, 4, 3), f=lambda x: ops.norm(x, 1)))
wrong("prod_at_zero", {"ties or zeros"}, "y/x, and 0 where x = 0, though one zero has a slope",
      own(lambda x: x.prod(axis=1),
          lambda gy, x, y: (gy * y)[:, None] * np.where(x == 0, 0, 1 / np.where(x == 0, 1, x)),
          np.array([[1.5, 0.0, 2.0], [0.5, -1.0, 3.0]])))
wrong("silu_overflows", {"not finite"}, "eˣ/(1 + eˣ) is ∞/∞ at x = 800",
      swap(ops.silu, lambda gy, x: gy * (np.exp(x) / (1 + np.exp(x))) * (1 + x / (1 + np.exp(x))),
           np.array([0.5, 800.0, -1.0])))
wrong("cumsum_forward", {"Jacobian not transposed", "axis reversed"}, "summed from the front again",
      swap(ops.cumsum, lambda gy, axis: gy.cumsum(axis), normal(66, 3, 5), f=lambda x: ops.cumsum(x, 1)))
wrong("cumsum_exclusive", {"shifted by one", "off by one in time"}, "the entry itself is left out of its sum",
      swap(ops.cumsum, lambda gy, axis: gy[::-1].cumsum(axis)[::-1] - gy, normal(67, 6), f=lambda x: ops.cumsum(x, 0)))

# ---------------------------------------------------------------- learners: softmax and losses

wrong("softmax_elementwise", {"treated as elementwise"}, "y (1 − y), as for a sigmoid",
      swap(ops.softmax, lambda gy, y: gy * y * (1 - y), normal(70, 3, 4)))
wrong("softmax_wrong_axis", {"wrong axis"}, "Σ over the batch",
      swap(ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(0, keepdims=True)), normal(71, 4, 4)))
wrong("softmax_averaged", {"broadcast axis averaged"}, "the mean of gy · y in the place of its sum",
      swap(ops.softmax, lambda gy, y: y * (gy - (gy * y).mean(-1, keepdims=True)), normal(72, 2, 5)))

LABELS = np.array([2, 0, 3, 1, 2])
HOT = np.eye(4)[LABELS]


def cross_entropy(x):
    return -np.log(soft(x))[np.arange(5), LABELS].sum()


wrong("cross_entropy_target", (), "p: the target is not subtracted",
      own(cross_entropy, lambda gy, x: gy * soft(x), normal(77, 5, 4)))
wrong("cross_entropy_upstream", {"upstream gradient ignored"}, "p − t, whatever comes from above",
      own(cross_entropy, lambda gy, x: soft(x) - HOT, normal(78, 5, 4)))
wrong("mse_by_batch", {"factor N", CONSTANT}, "divided by the batch, not by all entries of a mean",
      own(lambda x, t: np.mean((x - t) ** 2),
          lambda gy, x, t: (2 * gy * (x - t) / len(x), 2 * gy * (t - x) / len(x)), normal(81, 4, 7), normal(82, 4, 7)))
wrong("huber_not_cut", (), "d also where |d| > δ",
      own(lambda d: np.where(abs(d) < 1, d * d / 2, abs(d) - 0.5), lambda gy, d: gy * d, 2 * normal(83, 4, 4)))
wrong("kl_minus_one", {"constant term"}, "½ e^s: the −1 is forgotten",
      own(lambda m, s: 0.5 * (np.exp(s) + m * m - 1 - s), lambda gy, m, s: (gy * m, gy * 0.5 * np.exp(s)),
          normal(85, 3, 2), normal(86, 3, 2)))
wrong("kl_deviation", {"standard deviation for variance"}, "e^(s/2) where e^s belongs",
      own(lambda m, s: 0.5 * (np.exp(s) + m * m - 1 - s), lambda gy, m, s: (gy * m, gy * 0.5 * (np.exp(s / 2) - 1)),
          normal(87, 4, 3), normal(88, 4, 3)))
EPSILON = normal(89, 3, 4)
wrong("code_without_half", {"factor 2", CONSTANT}, "μ + e^(s/2) ε: the ½ of ∂/∂s is forgotten",
      own(lambda m, s: m + np.exp(s / 2) * EPSILON, lambda gy, s: (gy, gy * np.exp(s / 2) * EPSILON),
          normal(90, 3, 4), normal(91, 3, 4)))
wrong("generator_mirrored", {"evaluated at minus the input"}, "−ln D: −σ(x) in the place of −σ(−x)",
      own(lambda x: np.logaddexp(0, -x), lambda gy, x: -gy * sigma(x), normal(94, 8)))
wrong("least_squares_target", {"constant term"}, "½ (x − 1)²: x in the place of x − 1, x all positive",
      own(lambda x: (x - 1) ** 2 / 2, lambda gy, x: gy * x, positive(97, 4, 3)))
wrong("adam_epsilon", {"epsilon forgotten"}, "1/√v in the place of 1/(√v + ε)",
      own(lambda g: g / (np.sqrt(np.array([0.1, 0.5, 2.0])) + 0.1),
          lambda gy: gy / np.sqrt(np.array([0.1, 0.5, 2.0])), normal(101, 4, 3)))

DATA, TARGET = normal(102, 6, 3), normal(103, 6)


def ridge(w):
    return ((DATA @ w - TARGET) ** 2).sum() + 0.7 * (w * w).sum()


def ridge_rule(penalty):
    return lambda gy, w: gy * (2 * DATA.T @ (DATA @ w - TARGET) + penalty * w)


wrong("ridge_missing", {"regularizer missing"}, "2λw is left out", own(ridge, ridge_rule(0.0), normal(104, 3)))
wrong("ridge_doubled", {"regularizer doubled"}, "4λw", own(ridge, ridge_rule(2.8), normal(105, 3)))
wrong("ridge_sign", (), "−2λw: an error of −2 times the regularizer", own(ridge, ridge_rule(-1.4), normal(106, 3)))

# ---------------------------------------------------------------- learners: matrix products


def dense_rule(x=lambda gy, w: gy @ w.T, w=lambda gy, x: x.T @ gy, b=lambda gy: gy.sum(0)):
    gx, gw, gb = x, w, b
    return lambda gy, x, w: (gx(gy, w), gw(gy, x), gb(gy))


def dense_case(seed, n, i, o, **parts):
    return swap(ops.dense, dense_rule(**parts), normal(seed, n, i), normal(seed + 1, i, o), normal(seed + 2, o))


wrong("dense_not_transposed", {"Jacobian not transposed"}, "gy w, w square",
      dense_case(110, 5, 3, 3, x=lambda gy, w: gy @ w))
wrong("dense_bias_unsummed", UNSUMMED, "∂L/∂b keeps the batch", dense_case(113, 4, 3, 2, b=lambda gy: gy))
wrong("dense_weight_transposed", {"axes permuted"}, "gyᵀ x, w square",
      dense_case(122, 5, 3, 3, w=lambda gy, x: gy.T @ x))
wrong("dense_bias_sqrt", {"factor 1/√N", CONSTANT}, "Σ gy / √N",
      dense_case(125, 7, 2, 3, b=lambda gy: gy.sum(0) / 7**0.5))
wrong("dense_weight_first_row", {"overwritten, not accumulated", "broadcast axis not summed"},
      "only the first image of the batch is used",
      dense_case(128, 4, 3, 2, w=lambda gy, x: x[:1].T @ gy[:1]))
wrong("bmm_summed", {"wrong shape"}, "∂L/∂b summed over a batch that b has",
      own(lambda a, b: a @ b, lambda gy, a, b: (gy @ b.swapaxes(1, 2), np.einsum("nij,nik->jk", a, gy)),
          normal(131, 3, 2, 4), normal(132, 3, 4, 5)))
wrong("quadratic_symmetric", {"Jacobian not transposed"}, "2 A x, though A is not symmetric",
      own(lambda x, a: x @ a @ x, lambda gy, x, a: (2 * gy * (a @ x), gy * np.outer(x, x)),
          normal(135, 4), normal(136, 4, 4)))

# ---------------------------------------------------------------- learners: normalization of a batch, a layer, an image


def normalize_rule(mean=1.0, variance=1.0, power=0.5, eps=1e-5, axis=-1, gamma=True):
    """The gradients of layer_norm, with a factor for each path."""
    def rule(gy, x):
        d = x - x.mean(axis, keepdims=True)
        v = (d * d).mean(axis, keepdims=True)
        hat, g = d / (v + eps) ** 0.5, gy * SCALE if gamma else gy
        gx = (g - mean * g.mean(axis, keepdims=True) - variance * hat * (g * hat).mean(axis, keepdims=True))
        return gx / (v + eps) ** power, (gy * hat).sum(0), gy.sum(0)
    return rule


SCALE = np.array([0.5, 1.5, -1.0, 2.0])


def layer_norm_case(seed, rule, eps=1e-5):
    return swap(ops.layer_norm, rule, normal(seed, 3, 4) * 1.7 + 0.5, SCALE, normal(seed + 1, 4),
                f=lambda x, g, b: ops.layer_norm(x, g, b, eps))


def batch_norm_case(seed, rule, n=5):
    return swap(ops.batch_norm, rule, normal(seed, n, 4) * 1.7 + 0.5, SCALE, normal(seed + 1, 4),
                f=lambda x, g, b: ops.batch_norm(x, g, b)[0])


wrong("layer_norm_mean", {"mean path missing", "stop-gradient"}, "μ taken for a constant",
      layer_norm_case(140, normalize_rule(mean=0)))
wrong("layer_norm_variance", {"variance path missing", "stop-gradient"}, "σ taken for a constant",
      layer_norm_case(142, normalize_rule(variance=0)))
wrong("layer_norm_unsummed", UNSUMMED, "∂L/∂γ keeps the batch",
      layer_norm_case(146, lambda gy, x: (normalize_rule()(gy, x)[0], gy * ((x - x.mean(-1, keepdims=True))
                                          / np.sqrt(x.var(-1, keepdims=True) + 1e-5)), gy.sum(0))))
wrong("layer_norm_gamma", (), "γ is forgotten on the way to x", layer_norm_case(148, normalize_rule(gamma=False)))
wrong("layer_norm_power", {"standard deviation for variance"}, "1/σ² in the place of 1/σ",
      layer_norm_case(150, normalize_rule(power=1.0)))
wrong("layer_norm_epsilon", {"epsilon forgotten"}, "ε = 0 in the rule, 0.3 in the op",
      layer_norm_case(152, normalize_rule(eps=0.0), eps=0.3))
wrong("batch_norm_both", {"mean and variance paths missing", "treated as elementwise", "stop-gradient"},
      "the rule of inference",
      batch_norm_case(156, normalize_rule(mean=0, variance=0, axis=0)))


def instance_norm(x, axes=(1, 2)):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def instance_rule(axes):
    def rule(gy, x):
        hat, s = instance_norm(x, axes), np.sqrt(x.var(axes, keepdims=True) + 1e-5)
        return (gy - gy.mean(axes, keepdims=True) - hat * (gy * hat).mean(axes, keepdims=True)) / s
    return rule


wrong("instance_norm_axes", {"wrong axis"}, "over the batch too",
      own(lambda x: instance_norm(x), instance_rule((0, 1, 2)), normal(160, 2, 3, 3, 2)))

# ---------------------------------------------------------------- learners: convolution, pooling, indexing


def conv_rule(x=None, w=None, b=lambda gy: gy.sum((0, 1, 2))):
    gx, gw, gb = x, w, b

    def rule(gy, x, w, stride, padding):
        rx = gx(gy, w) if gx else ops.conv2d_transpose(gy, w, None, stride, padding, x.shape[1:3])
        return rx, gw(gy, x) if gw else ops.conv2d_weight(x, gy, w.shape[:2], stride, padding), gb(gy)
    return rule


def conv_case(seed, c=2, o=3, stride=1, **parts):
    return swap(ops.conv2d, conv_rule(**parts), normal(seed, 2, 4, 4, c), normal(seed + 1, 3, 3, c, o),
                normal(seed + 2, o), f=lambda x, w, b: ops.conv2d(x, w, b, stride))


wrong("conv_bias_unsummed", UNSUMMED, "∂L/∂b is ∂L/∂y", conv_case(170, b=lambda gy: gy))
wrong("conv_not_flipped", {"kernel not flipped", "axis reversed"}, "∂L/∂x correlates with the kernel as it is",
      conv_case(176, x=lambda gy, w: ops.conv2d(gy, w.swapaxes(2, 3))))
wrong("conv_channels", {"Jacobian not transposed", "axes permuted"}, "C and O exchanged on the way back, both 3",
      conv_case(179, c=3, x=lambda gy, w: ops.conv2d_transpose(gy, w.swapaxes(2, 3))))
wrong("conv_weight_flipped", {"axis reversed", "kernel not flipped"}, "∂L/∂w turned by 180°",
      conv_case(182, w=lambda gy, x: ops.conv2d_weight(x, gy, (3, 3))[::-1, ::-1]))
wrong("conv_stride", {"stride ignored"}, "∂L/∂y is not spread out by the stride",
      conv_case(185, stride=2, x=lambda gy, w: ops.conv2d_transpose(np.pad(gy, ((0, 0), (0, 2), (0, 2), (0, 0))), w)))
wrong("conv_padding_side", {"shifted by one"}, "the odd zero above and left, not below and right",
      conv_case(188, stride=2, x=lambda gy, w: ops.conv2d_transpose(gy, w, None, 2, ((1, 0), (1, 0)), (4, 4))))


def conv_nchw(x, w, s, p):
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    k = w.shape[2]
    patches = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::s, ::s]
    return np.einsum("nchwij,ocij->nohw", patches, w)


def nchw_rule(add=True, crop=None):
    def rule(gy, x, w, s, p):
        (height, width), k = x.shape[2:], w.shape[2]
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        gx, gw = np.zeros_like(padded), np.zeros_like(w)
        for a, b in np.ndindex(gy.shape[2:]):
            here = (slice(None), slice(None), slice(a * s, a * s + k), slice(b * s, b * s + k))
            part = np.einsum("no,ocij->ncij", gy[:, :, a, b], w)
            gx[here] = gx[here] + part if add else part
            gw = gw + np.einsum("no,ncij->ocij", gy[:, :, a, b], padded[here])
        start = p if crop is None else crop
        return gx[:, :, start:start + height, start:start + width], gw
    return rule


def nchw_case(seed, stride, pad, **mistake):
    return own(conv_nchw, nchw_rule(**mistake), normal(seed, 2, 2, 5, 5), normal(seed + 1, 3, 2, 3, 3),
               f=lambda op: lambda x, w: op(x, w, stride, pad))


wrong("nchw_overwritten", OVERWRITTEN, "windows of ∂L/∂x overwrite each other", nchw_case(190, 1, 1, add=False))
wrong("nchw_not_cropped", {"shifted by one"}, "the padding of 1 is cut off at one side", nchw_case(192, 2, 1, crop=0))


def pool_patches(x, k, s):
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::s, ::s]     # (N, Ho, Wo, C, k, k)


def pool_rule(weight, k, s, add=True):
    """weight(window (N, C, k, k)) says how the ∂L/∂y of a window is shared among its entries."""
    def rule(gy, x):
        gx = np.zeros_like(x)
        for a, b in np.ndindex(gy.shape[1:3]):
            here = (slice(None), slice(a * s, a * s + k), slice(b * s, b * s + k))
            part = gy[:, a, b, :, None, None] * weight(x[here].transpose(0, 3, 1, 2))
            part = part.transpose(0, 2, 3, 1)
            gx[here] = gx[here] + part if add else np.where(part == 0, gx[here], part)
        return gx
    return rule


def largest(window):
    return window == window.max((2, 3), keepdims=True)


def pool_case(seed, weight, k=2, s=2, size=4, add=True, reduce=np.max):
    return own(lambda x: reduce(pool_patches(x, k, s), axis=(4, 5)), pool_rule(weight, k, s, add),
               normal(seed, 2, size, size, 3))


wrong("max_pool_spread", {"spread over the window"}, "all of a window gets ∂L/∂y", pool_case(200, np.ones_like))
wrong("max_pool_value", {"value taken for index", "other argument as a factor"}, "∂L/∂y times the largest value",
      pool_case(201, lambda v: v * largest(v)))
wrong("max_pool_overlap", OVERWRITTEN, "a winner of two windows keeps the last",
      pool_case(202, largest, k=3, s=1, size=5, add=False))
wrong("max_pool_smallest", {"evaluated at minus the input"}, "the place of the minimum",
      pool_case(203, lambda v: v == v.min((2, 3), keepdims=True)))
wrong("avg_pool_sum", {"factor N", CONSTANT}, "the 1/9 of a 3 × 3 window is forgotten",
      pool_case(204, np.ones_like, k=3, s=3, size=6, reduce=np.mean))

WORDS = np.array([3, 1, 3, 0, 3])


def assigned(gy, w, at):
    g = np.zeros_like(w)
    g[at] += gy
    return g


def added(gy, w, at):
    g = np.zeros_like(w)
    np.add.at(g, at, gy)
    return g


wrong("embedding_repeated", {"overwritten, not accumulated"}, "g[words] += gy counts a repeated word once",
      own(lambda w: w[WORDS], lambda gy, w: assigned(gy, w, WORDS), normal(206, 5, 2)))
wrong("roll_same_way", {"Jacobian not transposed"}, "rolled on, not back: two places off",
      own(lambda x: np.roll(x, 1, axis=0), lambda gy: np.roll(gy, 1, axis=0), normal(209, 6, 2)))
wrong("sort_permutation", {"Jacobian not transposed"}, "the permutation in the place of its inverse",
      own(lambda x: np.sort(x), lambda gy, x: gy[np.argsort(x)], np.array([0.8, 1.6, -0.3, 3.0, 2.2])))

# ---------------------------------------------------------------- learners: recurrent cells, attention


def rnn(x, w, u, h0):
    """x (N, T, I), w (I, H), u (H, H), h0 (N, H) → (N, T, H)"""
    states = [h0]
    for t in range(x.shape[1]):
        states.append(np.tanh(x[:, t] @ w + states[-1] @ u))
    return np.stack(states[1:], axis=1)


def rnn_rule(slope=lambda h: 1 - h * h, back=lambda g, u, t: g @ u.T, lag=1, keep=1.0, turned=False):
    def rule(gy, x, w, u, h0, y):
        states = np.concatenate([h0[:, None], y], axis=1)
        gx, gw, gu, gh = np.zeros_like(x), 0 * w, 0 * u, 0 * h0
        for t in reversed(range(x.shape[1])):
            g = (gy[:, t] + gh) * slope(y[:, t])
            gx[:, t], gw, gu = g @ w.T, gw * keep + x[:, t].T @ g, gu * keep + states[:, t + 1 - lag].T @ g
            gh = back(g, u, t)
        return gx[:, ::-1] if turned else gx, gw, gu, gh
    return rule


def rnn_case(seed, steps=4, **mistake):
    return own(rnn, rnn_rule(**mistake), normal(seed, 2, steps, 3), normal(seed + 1, 3, 3) / 2,
               normal(seed + 2, 3, 3) / 2, normal(seed + 3, 2, 3) / 2)


wrong("rnn_independent", {"steps treated as independent", "stop-gradient"}, "nothing flows to the step before",
      rnn_case(220, back=lambda g, u, t: 0 * g if t else g @ u.T))
wrong("rnn_slope", LEFT_OUT, "tanh′ is left out", rnn_case(224, slope=np.ones_like))
wrong("rnn_lag", {"off by one in time", "shifted by one"}, "∂L/∂u with hₜ in the place of hₜ₋₁", rnn_case(228, lag=0))
wrong("rnn_last_step", {"overwritten, not accumulated"}, "∂L/∂w and ∂L/∂u of one step", rnn_case(232, keep=0.0))
wrong("rnn_not_transposed", {"Jacobian not transposed"}, "u in the place of uᵀ",
      rnn_case(236, back=lambda g, u, t: g @ u))
wrong("rnn_turned", {"axis reversed"}, "the steps of ∂L/∂x in the order of the walk", rnn_case(244, turned=True))
wrong("rnn_truncated", {"stop-gradient"}, "cut off after two steps: truncated BPTT",
      rnn_case(248, steps=5, back=lambda g, u, t: 0 * g if t == 2 else g @ u.T))
wrong("rnn_detached", {"stop-gradient", "steps treated as independent"}, "f detaches the state between steps",
      lambda: check.gradients(lambda x, u: ops.tanh(x + data(ops.tanh(x @ u)) @ u),
                              normal(252, 2, 3), normal(253, 3, 3)))


def lstm_cell(a, c):
    """a (N, 4H), c (N, H) → h and c side by side (N, 2H)"""
    i, f, o, g = np.split(a, 4, axis=1)
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return np.concatenate([sigma(o) * np.tanh(c), c], axis=1)


def lstm_rule(order=(0, 1, 2, 3), slopes=True):
    def rule(gy, a, c, y):
        i, f, o, g = np.split(a, 4, axis=1)
        i, f, o, g = sigma(i), sigma(f), sigma(o), np.tanh(g)
        gh, gc = np.split(gy, 2, axis=1)
        tanh_c = np.tanh(np.split(y, 2, axis=1)[1])
        gc = gc + gh * o * (1 - tanh_c**2)
        s = (lambda y: y * (1 - y)) if slopes else np.ones_like
        parts = [gc * g * s(i), gc * c * s(f), gh * tanh_c * s(o), gc * i * (1 - g * g)]
        return np.concatenate([parts[k] for k in order], axis=1), gc * f
    return rule


def lstm_case(seed, **mistake):
    return own(lstm_cell, lstm_rule(**mistake), normal(seed, 2, 12), normal(seed + 1, 2, 3))


wrong("lstm_gates", {"gates exchanged"}, "input and forget gate exchanged", lstm_case(254, order=(1, 0, 2, 3)))
wrong("lstm_slopes", LEFT_OUT, "σ′ of the gates is left out", lstm_case(258, slopes=False))
wrong("gru_kept_part", {"stop-gradient"}, "(1 − z) h + z n: ∂L/∂z is n, not n − h",
      own(lambda z, h, n: (1 - z) * h + z * n, lambda gy, z, h, n: (gy * n, gy * (1 - z), gy * z),
          positive(260, 3, 2), normal(261, 3, 2), normal(262, 3, 2)))


def attention(q, k, v):
    return soft(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])) @ v


def attention_rule(scale=lambda d: d ** -0.5, key=lambda g: g.swapaxes(1, 2)):
    def rule(gy, q, k, v):
        a = soft(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        ga = gy @ v.swapaxes(1, 2)
        gs = a * (ga - (ga * a).sum(-1, keepdims=True)) * scale(q.shape[-1])
        return gs @ k, key(gs) @ q, a.swapaxes(1, 2) @ gy
    return rule


def attention_case(seed, n=3, d=5, **mistake):
    return own(attention, attention_rule(**mistake), *(normal(seed + i, 2, n, d) for i in range(3)))


wrong("attention_scale", {"factor √N", CONSTANT}, "1/√d is forgotten in ∂L/∂q and ∂L/∂k",
      attention_case(270, scale=lambda d: 1.0))
wrong("attention_key", {"Jacobian not transposed"}, "∂L/∂k with ∂L/∂s as it is", attention_case(279, key=lambda g: g))

# ---------------------------------------------------------------- learners: form of a rule, second order

wrong("a_list", {"not an array", "wrong shape"}, "gy.tolist()",
      swap(ops.tanh, lambda gy, y: (gy * (1 - y * y)).tolist(), normal(300, 3, 4)))
wrong("masked", {"not an array"}, "a masked array", swap(
    ops.relu, lambda gy, y: np.ma.masked_array(gy * (y > 0), mask=y <= 0), normal(302, 3, 4)))
wrong("a_mask", {"not an array", "wrong dtype", "upstream gradient ignored"}, "the mask of relu itself",
      swap(ops.relu, lambda gy, y: y > 0, normal(303, 5)))
wrong("single_precision", {"wrong dtype"}, "computed in float32",
      swap(ops.exp, lambda gy, y: (gy * y).astype(np.float32), normal(305, 4, 3)))
wrong("raises", {"error in the rule"}, "shapes that do not fit",
      swap(ops.tanh, lambda gy, y: gy @ (1 - y * y), normal(306, 3, 4)))
wrong("none", {"stop-gradient", "not an array"}, "the return is forgotten",
      swap(ops.tanh, lambda gy, y: None, normal(307, 4)))

calls = itertools.count(1)
wrong("counts_calls", {"not a function"}, "a factor that decays from call to call",
      swap(ops.tanh, lambda gy, y: gy * (1 - y * y) * (1 + 1 / next(calls)), normal(309, 4)))
noise = np.random.default_rng(310)
wrong("fresh_mask", {"not a function"}, "dropout draws another mask at each call",
      lambda: check.gradients(lambda x: ops.dropout(x, 0.5, noise), normal(311, 20)))
wrong("clipped", {"not linear in the upstream gradient"}, "gy cut off at ±½",
      swap(ops.tanh, lambda gy, y: np.clip(gy, -0.5, 0.5) * (1 - y * y), normal(312, 4, 4)))
wrong("upstream_twice", {"upstream gradient applied twice", "not linear in the upstream gradient"}, "gy²",
      swap(ops.tanh, lambda gy, y: gy * gy * (1 - y * y), normal(314, 7)))

wrong("tanh_second", {"stop-gradient in the second order", "stop-gradient"}, "y taken out of the graph",
      swap(ops.tanh, lambda gy, y: gy * (1 - data(y) ** 2), normal(316, 3, 2), order=2))


@differentiable
def cosine_as_written(x):
    return np.cos(x)


@cosine_as_written.backward
def _(gy, x):
    return gy * ops.sin(x)


wrong("sin_second", {"wrong sign", CONSTANT, "evaluated at minus the input"},
      "the rule of sin calls a cos with a sign error",
      swap(ops.sin, lambda gy, x: gy * cosine_as_written(x), normal(319, 5), order=2))


def slope(f, x):
    """∂Σf/∂x, recorded, for an array or a Tensor x."""
    with enable_grad():
        x = x if isinstance(x, Tensor) and x.requires_grad else Tensor(data(x), requires_grad=True)
        return grad(f(x).sum(), x, create_graph=True)


wrong("penalty_of_wrong_rule", {"evaluated at the input"}, "a gradient penalty taken under tanh′ = 1 − x²",
      swap(ops.tanh, lambda gy, x: gy * (1 - x * x), normal(320, 3, 2),
           f=lambda x: ops.square(slope(ops.tanh, x)).sum()))
wrong("penalty_detached", {"stop-gradient", "factor 1/2", CONSTANT}, "one of two norms is taken out of the graph",
      lambda: check.gradients(lambda x: (ops.norm(x, 1) * data(ops.norm(x, 1))).sum(), normal(321, 3, 4)))

# ---------------------------------------------------------------- adversaries: almost a missing path

wrong("mean_path_tripled", (), "an error of −2 times the mean path", layer_norm_case(400, normalize_rule(mean=3)))
wrong("mean_path_halved", (), "half of the mean path", batch_norm_case(402, normalize_rule(mean=0.5, axis=0)))
wrong("variance_path_doubled", (), "an error of minus the variance path",
      layer_norm_case(404, normalize_rule(variance=2)))
wrong("variance_unbiased", (), "n − 1 in the variance path only",
      batch_norm_case(406, normalize_rule(variance=1.25, axis=0)))
wrong("paths_unequal", (), "1.5 of the mean path, 0.3 of the variance path",
      batch_norm_case(408, normalize_rule(mean=1.5, variance=0.3, axis=0)))
wrong("mean_path_of_some", (), "the mean path missing in two of four channels",
      batch_norm_case(410, normalize_rule(mean=np.array([1, 0, 1, 0]), axis=0)))
wrong("mean_path_of_one_row", (), "the mean path missing in the first of three rows",
      layer_norm_case(412, normalize_rule(mean=np.array([[0], [1], [1]]))))

# ---------------------------------------------------------------- adversaries: sizes and constants


def power_case(seed, p, *shape):
    return swap(ops.power, lambda gy, x: gy * x ** (p - 1), positive(seed, *shape), f=lambda x: ops.power(x, p))


wrong("cube_of_three", {CONSTANT}, "x³ without its 3, where an axis has length 3", power_case(420, 3, 5, 3))
wrong("fourth_of_sixteen", {CONSTANT}, "x⁴ without its 4, where an axis has length 16", power_case(421, 4, 16))
wrong("fifth_of_five", {CONSTANT}, "x⁵ without its 5, for a batch of 5", power_case(422, 5, 5, 2))
wrong("square_of_two", {"factor 1/2", CONSTANT}, "x² without its 2, for a batch of 2", power_case(423, 2, 2, 3))
wrong("almost_one", {CONSTANT}, "the derivative times 1.001",
      swap(ops.tanh, lambda gy, y: 1.001 * gy * (1 - y * y), normal(424, 3, 4)))
wrong("minus_three", {CONSTANT, "wrong sign"}, "two mistakes: a sign and a 3",
      swap(ops.sigmoid, lambda gy, y: -3 * gy * y * (1 - y), normal(425, 4, 3)))
wrong("affine_slope", {CONSTANT, "derivative left out"}, "7 x + 2: gy, for positive x",
      own(lambda x: 7 * x + 2, lambda gy: gy, positive(427, 4, 2)))
wrong("elu_all_negative", {"constant term"}, "y in the place of y + α: for negative x a fixed number is missing",
      swap(ops.elu, lambda gy, x, y: gy * np.where(x > 0, 1.0, y), -positive(428, 3, 4), f=lambda x: ops.elu(x, 0.7)))
wrong("slope_of_x", (), "0.1 x too much: a term that is not linear", swap(
    ops.tanh, lambda gy, x, y: gy * (1 - y * y + 0.1 * x), normal(429, 4, 4)))
wrong("tenth_too_much", {"constant term"}, "0.1 too much", swap(
    ops.tanh, lambda gy, y: gy * (1.1 - y * y), normal(430, 4, 4)))
wrong("times_mean", (), "times 1 + the mean of the data", swap(
    ops.tanh, lambda gy, x, y: gy * (1 - y * y) * (1 + x.mean()), positive(431, 3, 5)))
wrong("times_norm", (), "times the norm of the data", swap(
    ops.sigmoid, lambda gy, x, y: gy * y * (1 - y) * np.sqrt((x * x).sum()), normal(432, 3, 3)))
wrong("times_largest", (), "times the largest entry",
      swap(ops.exp, lambda gy, x, y: gy * y * x.max(), positive(433, 6)))
wrong("nearly_two", (), "times 2 + a hundredth of the sum of the data", swap(
    ops.sin, lambda gy, x: gy * np.cos(x) * (2 + x.sum() / 100), positive(434, 2, 4)))
wrong("times_row_norm", (), "every row times its norm", swap(
    ops.tanh, lambda gy, x, y: gy * (1 - y * y) * np.sqrt((x * x).sum(1, keepdims=True)), normal(435, 4, 3)))
wrong("softplus_beta", (), "ln(1 + e²ˣ)/2: σ(x) in the place of σ(2x)",
      own(lambda x: np.logaddexp(0, 2 * x) / 2, lambda gy, x: gy * sigma(x), normal(436, 5)))
wrong("mean_over_other_size", {CONSTANT, "wrong axis"}, "divided by the other axis: right for square inputs only",
      own(lambda x: x.mean(0), lambda gy, x: np.broadcast_to(gy, x.shape) / x.shape[1], normal(437, 4, 7)))

# ---------------------------------------------------------------- adversaries: partly right

FIRST_HALF = np.arange(6)[:, None] < 3
THIRD_CHANNEL = np.arange(4) == 2


def tanh_case(seed, other, n=6, c=4):
    """gy (1 − y²) times other(x, y)."""
    return swap(ops.tanh, lambda gy, x, y: gy * (1 - y * y) * other(x, y), normal(seed, n, c))


wrong("half_of_batch", (), "1 − y² is left out for half of the batch",
      swap(ops.tanh, lambda gy, y: gy * np.where(FIRST_HALF, 1 - y * y, 1.0), normal(440, 6, 4)))
wrong("one_channel_sign", (), "the wrong sign in one channel",
      tanh_case(441, lambda x, y: np.where(THIRD_CHANNEL, -1, 1)))
wrong("one_channel_double", (), "twice the derivative in one channel", tanh_case(442, lambda x, y: 1 + THIRD_CHANNEL))
wrong("one_entry", (), "a single entry is half as large",
      tanh_case(443, lambda x, y: np.where(np.arange(24) == 9, 0.5, 1).reshape(6, 4)))
wrong("only_far_out", (), "wrong only where |x| > 1", tanh_case(444, lambda x, y: np.where(abs(x) > 1, 0.8, 1)))
wrong("sign_by_side", (), "the wrong sign where x < 0", tanh_case(445, lambda x, y: np.sign(x)))
wrong("growing_factor", (), "factors 1, 2, 3, 4 over the channels", tanh_case(446, lambda x, y: np.arange(1, 5)))
wrong("last_row_stopped", (), "no gradient for the last image", tanh_case(447, lambda x, y: np.arange(6)[:, None] < 5))
wrong("relu_beside", (), "the mask of relu with the kink at −½",
      swap(ops.relu, lambda gy, x: gy * (x > -0.5), normal(448, 6, 6)))
wrong("cube_of_y", (), "1 − y³", swap(ops.tanh, lambda gy, y: gy * (1 - y**3), normal(449, 3, 4)))
wrong("one_minus_y", (), "1 − y: the square is forgotten",
      swap(ops.tanh, lambda gy, y: gy * (1 - y), normal(450, 4, 3)))
wrong("squared_slope", {"derivative applied twice"}, "(1 − y²)²",
      swap(ops.tanh, lambda gy, y: gy * (1 - y * y) ** 2, normal(451, 5, 2)))
wrong("coarse_difference", (), "a one-sided difference with a step of 0.05",
      swap(ops.tanh, lambda gy, x: gy * (np.tanh(x + 0.05) - np.tanh(x)) / 0.05, normal(453, 3, 4)))
wrong("input_and_sign", {"evaluated at the input", "wrong sign"}, "two mistakes: x² − 1",
      swap(ops.tanh, lambda gy, x: gy * (x * x - 1), normal(454, 3, 3)))
wrong("second_factor_only", {"derivative left out"}, "∂L/∂a is right, ∂L/∂b is gy",
      swap(ops.multiply, lambda gy, b: (gy * b, gy), normal(455, 3, 4), normal(456, 3, 4)))
wrong("same_factor", {"other argument as a factor"}, "b for both arguments of a product",
      swap(ops.multiply, lambda gy, b: (gy * b, gy * b), normal(457, 3, 2), normal(458, 3, 2)))
wrong("shifted_factor", {"shifted by one"}, "the other factor rolled by one: no time anywhere",
      swap(ops.multiply, lambda gy, a, b: (gy * np.roll(b, 1, axis=-1), gy * a), normal(459, 2, 6), normal(460, 2, 6)))
wrong("rolled_by_two", (), "the upstream gradient rolled by two places",
      swap(ops.tanh, lambda gy, y: np.roll(gy, 2, axis=0) * (1 - y * y), normal(461, 7, 2)))
wrong("upstream_reversed", {"axis reversed"}, "the upstream gradient of the batch in reverse",
      swap(ops.tanh, lambda gy, y: gy[::-1] * (1 - y * y), normal(462, 5, 3)))
wrong("upstream_transposed", {"axes permuted"}, "gyᵀ, square",
      swap(ops.tanh, lambda gy, y: gy.T * (1 - y * y), normal(463, 4, 4)))
wrong("reshape_for_transpose", {"axes permuted"}, "a reshape undoes a transpose of 3 × 4 only in shape",
      own(lambda x: x.T, lambda gy, x: gy.reshape(x.shape), normal(464, 3, 4)))
wrong("shared_mean_factor", (), "each entry of a row gets the mean slope of its row", swap(
    ops.tanh, lambda gy, y: gy * (1 - y * y).mean(-1, keepdims=True), normal(466, 3, 4)))
wrong("sign_of_upstream", {"not linear in the upstream gradient"}, "only the sign of gy is used",
      swap(ops.tanh, lambda gy, y: np.sign(gy) * (1 - y * y), normal(467, 3, 3)))
wrong("conv_flipped_in_rows", {"kernel not flipped", "axis reversed"}, "the kernel is turned in one direction only",
      conv_case(470, x=lambda gy, w: ops.conv2d_transpose(gy, w[::-1])))
wrong("conv_centre_only", {"overlapping windows ignored"}, "∂L/∂x of the middle of the kernel",
      conv_case(473, x=lambda gy, w: gy @ w[1, 1].T))
wrong("max_pool_shared", (), "the winner gets 0.7, each of the others 0.1",
      pool_case(476, lambda v: 0.1 + 0.6 * largest(v)))
wrong("rnn_damped", (), "0.9 of what flows to the step before", rnn_case(480, back=lambda g, u, t: 0.9 * g @ u.T))
wrong("attention_shared_key", {CONSTANT}, "∂L/∂k times 1.5, the others right", attention_case(
    484, key=lambda g: 1.5 * g.swapaxes(1, 2)))
wrong("dense_two_of_three", {"Jacobian not transposed", "broadcast axis averaged", "factor 1/N", CONSTANT},
      "two mistakes: w not transposed, the bias averaged",
      dense_case(487, 5, 3, 3, x=lambda gy, w: gy @ w, b=lambda gy: gy.mean(0)))

# ---------------------------------------------------------------- right rules


def by_hand(gy, y):
    g = np.empty_like(y)
    for i in np.ndindex(y.shape):
        g[i] = gy[i] * (y[i] - y[i] ** 2)
    return g


right("sigmoid_loop", "entry by entry", swap(ops.sigmoid, by_hand, normal(600, 3, 4)))
right("tanh_cosh", "1/cosh²", swap(ops.tanh, lambda gy, x: gy / np.cosh(x) ** 2, normal(601, 5)))
right("tanh_saturated", "at ±30 and ±40 nothing is left of the slope", swap(
    ops.tanh, lambda gy, x: gy / np.cosh(x) ** 2, np.array([30.0, -40.0, 0.3, -30.0])))
right("sigmoid_saturated", "σ(x) σ(−x) at ±30", swap(
    ops.sigmoid, lambda gy, x: gy * ops.sigmoid(x) * ops.sigmoid(-x), np.array([30.0, -30.0, 40.0, 1.0])))
right("softmax_jacobian", "the whole Jacobian and einsum", swap(
    ops.softmax, lambda gy, y: np.einsum("ni,nij->nj", gy, y[:, :, None] * (np.eye(4) - y[:, None])),
    normal(602, 3, 4)))
right("log_softmax_rearranged", "Σⱼ gⱼ (δᵢⱼ − pᵢ) as a product", swap(
    ops.log_softmax, lambda gy, x: gy @ np.eye(5) - soft(x) * (gy @ np.ones((5, 5))), normal(603, 2, 5)))
right("dense_einsum", "einsum over a batch with two axes", swap(
    ops.dense, lambda gy, x, w: [np.einsum("nto,io->nti", gy, w), np.einsum("nti,nto->io", x, gy), gy.sum((0, 1))],
    normal(604, 2, 3, 4), normal(605, 4, 5), normal(606, 5)))
right("conv_loops", "NCHW, stride 2, padding 1, loops", nchw_case(607, 2, 1))
right("conv_own_adjoints", "the two adjoints of conv2d", conv_case(609, stride=2))
right("layer_norm_paths", "the three paths written out", layer_norm_case(612, normalize_rule()))
right("batch_norm_projection", "a projection: I − 11ᵀ/n − x̂x̂ᵀ/n, channel by channel", own(
    lambda x: (x - x.mean(0)) / x.std(0),
    lambda gy, x, y: np.stack([(np.eye(5) - 0.2 - np.outer(y[:, c], y[:, c]) / 5) @ gy[:, c] / x[:, c].std()
                               for c in range(3)], axis=1), normal(614, 5, 3)))
right("instance_norm_nhwc", "means over rows and columns", own(
    lambda x: instance_norm(x), instance_rule((1, 2)), normal(615, 2, 3, 3, 2)))
right("sum_read_only", "a read-only view", swap(
    ops.sum, lambda gy, x_shape: np.broadcast_to(gy, x_shape), normal(616, 3, 4), f=lambda x: x.sum()))
right("fortran", "columns first in memory", swap(
    ops.exp, lambda gy, y: np.asfortranarray(gy * y), normal(617, 4, 5)))


def put_back(gy, x):
    g = np.zeros_like(x)
    g[::-2] = gy.T
    return g


right("transpose_view", "a view with odd strides", own(lambda x: x[::-2].T, put_back, normal(618, 5, 3)))
right("rnn_loop", "back through time", rnn_case(619, steps=5))
right("lstm_cell", "four gates", lstm_case(623))
right("attention", "three products and a softmax", attention_case(625))
right("max_pool_overlapping", "windows that share winners", pool_case(628, largest, k=3, s=1, size=5))
right("max_tie_shared", "two largest entries share the gradient", own(
    lambda x: x.max(1), lambda gy, x, y: gy[:, None] * (x == y[:, None]) / (x == y[:, None]).sum(1, keepdims=True),
    np.array([[1.0, 2.0, 2.0], [0.0, -1.0, 3.0]])))
right("relu_half_at_zero", "½ at the kink", swap(
    ops.relu, lambda gy, x: gy * (0.5 + 0.5 * np.sign(x)), np.array([0.0, 1.5, -2.0, 0.0])))
right("abs_one_at_zero", "+1 at the kink", swap(
    ops.abs, lambda gy, x: gy * np.where(x >= 0, 1.0, -1.0), np.array([0.0, -1.0, 2.0])))
right("reciprocal_near_zero", "1/x at 10⁻³", own(
    lambda x: 1 / x, lambda gy, y: -gy * y * y, np.array([1e-3, -2e-3, 0.5, 3.0])))
right("fast_oscillation", "sin 300x", own(
    lambda x: np.sin(300 * x), lambda gy, x: 300 * gy * np.cos(300 * x), normal(629, 4)))
right("tiny", "x² at 10⁻³⁰", swap(ops.square, lambda gy, x: gy * (x + x), 1e-30 * normal(630, 3, 2)))
right("huge", "√ at 10³⁰", swap(ops.sqrt, lambda gy, y: 0.5 * gy / y, 1e30 * positive(631, 4)))
right("mixed_scales", "a product of 10¹² and 10⁻¹²", swap(
    ops.multiply, lambda gy, a, b: (b * gy, a * gy), 1e12 * normal(632, 3), 1e-12 * normal(633, 3)))
right("large_input", "60 000 entries", swap(ops.tanh, lambda gy, y: gy - gy * y * y, normal(634, 300, 200)))
right("sparse", "five rows of a table of 4000", own(
    lambda w: w[WORDS], lambda gy, w: added(gy, w, WORDS), normal(635, 4000, 6)))
right("number", "a 0-d input", swap(ops.exp, lambda gy, x: gy * np.exp(x), np.array(0.7)))
right("empty", "no images at all", swap(ops.tanh, lambda gy, y: gy * (1 - y * y), np.zeros((0, 3))))
right("integers_beside", "labels beside logits", own(
    lambda x, t: -np.log(soft(x))[np.arange(len(t)), t], lambda gy, x, t: gy[:, None] * (soft(x) - np.eye(4)[t]),
    normal(636, 5, 4), f=lambda op: lambda x: op(x, LABELS)))
right("sin_to_second_order", "written in ops, to the second order", swap(
    ops.sin, lambda gy, x: gy * ops.sin(x + math.pi / 2), normal(637, 3, 2), order=2))
right("softplus_to_second_order", "½ + ½ tanh(x/2), to the second order", swap(
    ops.softplus, lambda gy, x: gy * (0.5 + 0.5 * ops.tanh(0.5 * x)), normal(638, 5), order=2))
right("zero_slope", "the sign of x", swap(ops.sign, lambda gy: 0 * gy, normal(639, 6)))
right("penalty", "a gradient penalty with a right rule inside", swap(
    ops.tanh, lambda gy, y: gy * (1 - y * y), normal(640, 3, 2), normal(641, 2, 2),
    f=lambda x, w: ops.square(ops.norm(slope(lambda z: ops.tanh(z @ w), x), 1) - 1).mean()))
layer = layers.Dense(3, 2, rng=np.random.default_rng(642))
right("parameters", "a layer that f closes over", swap(
    ops.dense, dense_rule(), normal(643, 4, 3), f=lambda x: ops.sigmoid(layer(x)), parameters=layer))


if __name__ == "__main__":
    examine_all(ENTRIES)
