"""Initializers draw the initial weights. They are functions (rng, shape, dtype) → array on the host.

The scaled ones keep the size of the signal from layer to layer. A unit with n inputs computes Σᵢ wᵢ xᵢ, whose variance
is n · Var[w] · E[x²], so Var[w] goes as 1/n. `fans` counts the inputs (fan_in) and outputs (fan_out).

Numbers are drawn in float64 and then rounded, so one seed gives the same weights in float32 and float64.
Settings out of range and impossible shapes raise a ValueError, a dtype that is not floating-point a TypeError.
"""

import math

import numpy as np

from scratchnet.backend import check_rng
from scratchnet.settings import number, whole


def fans(shape):
    """(fan_in, fan_out): the number of inputs that reach one output, and of outputs that one input reaches.

    dense (I, O): I and O.    conv2d (kh, kw, C, O): kh·kw·C and kh·kw·O, ignoring borders and strides.
    conv2d_transpose has the kernel (kh, kw, C, O) of the conv2d whose adjoint it is. It maps O channels to C, so its
    inputs are counted by fan_out. Glorot's formulas are symmetric; the others need mode="fan_out" there.
    """
    shape = _shape("fans", shape)
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"fans: a weight has shape (I, O) or (kh, kw, C, O), none of them 0, got {tuple(shape)}")
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def zeros(rng, shape, dtype="float32"):
    """All 0, for biases. rng is not used."""
    return constant(rng, shape, dtype, 0.0)


def constant(rng, shape, dtype="float32", value=0.0):
    """All the same value. rng is not used."""
    value = number("constant", "value", value, "a finite number")
    return np.full(_shape("constant", shape), value, dtype=_floating("constant", dtype))


def uniform(rng, shape, dtype="float32", low=-0.05, high=0.05):
    """w ~ U[low, high)"""
    check_rng("uniform", rng)
    low = number("uniform", "low", low, "a finite number")
    high = number("uniform", "high", high, f"a finite number ≥ low, which is {low}", lambda x: x >= low)
    return rng.uniform(low, high, _shape("uniform", shape)).astype(_floating("uniform", dtype))


def normal(rng, shape, dtype="float32", mean=0.0, std=0.02):
    """w ~ N(mean, std²); std = 0.02 as in Radford et al. 2016, section 4"""
    check_rng("normal", rng)
    mean, std = _moments("normal", mean, std)
    return rng.normal(mean, std, _shape("normal", shape)).astype(_floating("normal", dtype))


def truncated_normal(rng, shape, dtype="float32", mean=0.0, std=0.02):
    """w ~ N(mean, std²) given |w − mean| ≤ 2 std; values outside are drawn again. The standard deviation is 0.88 std.
    """
    check_rng("truncated_normal", rng)
    mean, std = _moments("truncated_normal", mean, std)
    w = rng.standard_normal(_shape("truncated_normal", shape))
    while (outside := np.abs(w) > 2.0).any():
        w = np.where(outside, rng.standard_normal(w.shape), w)
    return (mean + std * w).astype(_floating("truncated_normal", dtype))


def glorot_uniform(rng, shape, dtype="float32"):
    """w ~ U[−a, a],  a = √(6 / (fan_in + fan_out)), for tanh and the like. Also called Xavier's.

    The variance 2 / (fan_in + fan_out) is a compromise: 1 / fan_in keeps the size of the signal, 1 / fan_out that of
    the gradients.        (Glorot & Bengio 2010, eq. 16)
    """
    return _uniform(rng, shape, dtype, 2.0 / sum(fans(shape)))


def glorot_normal(rng, shape, dtype="float32"):
    """w ~ N(0, 2 / (fan_in + fan_out))        (Glorot & Bengio 2010, eq. 12)"""
    return normal(rng, shape, dtype, std=math.sqrt(2.0 / sum(fans(shape))))


def he_uniform(rng, shape, dtype="float32", mode="fan_in"):
    """w ~ U[−a, a],  a = √(6 / fan_in), with the variance of he_normal"""
    return _uniform(rng, shape, dtype, 2.0 / _fan(shape, mode))


def he_normal(rng, shape, dtype="float32", mode="fan_in"):
    """w ~ N(0, 2 / fan_in), for relu, which halves E[x²]. Also called Kaiming's.

    mode="fan_out" keeps the size of the gradients instead, or that of the signal in a conv2d_transpose (see `fans`).
    (He et al. 2015, eqs. 10 and 14; Keras draws it truncated)
    """
    return normal(rng, shape, dtype, std=math.sqrt(2.0 / _fan(shape, mode)))


def lecun_uniform(rng, shape, dtype="float32", mode="fan_in"):
    """w ~ U[−a, a],  a = √(3 / fan_in), with the variance of lecun_normal"""
    return _uniform(rng, shape, dtype, 1.0 / _fan(shape, mode))


def lecun_normal(rng, shape, dtype="float32", mode="fan_in"):
    """w ~ N(0, 1 / fan_in), for selu and for linear layers; mode as in he_normal        (LeCun et al. 1998, eq. 16)"""
    return normal(rng, shape, dtype, std=math.sqrt(1.0 / _fan(shape, mode)))


def orthogonal(rng, shape, dtype="float32", gain=1.0):
    """gain · Q, where Q, with all axes but the last as one, has orthonormal columns (or rows, if these are fewer).

    Q is uniform over all such matrices.        (Saxe, McClelland & Ganguli 2014; for the signs Mezzadri 2007)
    """
    check_rng("orthogonal", rng)
    shape, gain = _shape("orthogonal", shape), number("orthogonal", "gain", gain, "a finite number")
    rows, columns = math.prod(shape[:-1]), shape[-1] if len(shape) > 1 else 0
    if not rows or not columns:
        raise ValueError(f"orthogonal: shape needs two axes or more, none of them 0, got {tuple(shape)}")
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))  # QR leaves the signs open; these make Q uniform
    w = np.ascontiguousarray(gain * (q if rows >= columns else q.T)).reshape(shape)
    return w.astype(_floating("orthogonal", dtype))


def _uniform(rng, shape, dtype, variance):
    # U[−a, a] has variance a²/3
    a = math.sqrt(3.0 * variance)
    return uniform(rng, shape, dtype, -a, a)


def _fan(shape, mode):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode is "fan_in" or "fan_out", got {mode!r}')
    fan_in, fan_out = fans(shape)
    return fan_in if mode == "fan_in" else fan_out


def _moments(who, mean, std):
    return (number(who, "mean", mean, "a finite number"),
            number(who, "std", std, "a finite number ≥ 0", lambda x: x >= 0))


def _shape(who, shape):
    """The lengths as whole numbers, from a sequence or a single number."""
    lengths = shape if hasattr(shape, "__len__") and not isinstance(shape, (str, dict)) else [shape]
    return tuple(whole(who, "each length of shape", n, 0) for n in lengths)


def _floating(who, dtype):
    try:
        kind = None if dtype is None else np.dtype(dtype).kind  # None would be float64
    except TypeError:
        kind = None
    if kind != "f":
        raise TypeError(f"{who}: weights are floating-point numbers, got dtype {np.dtype(dtype) if kind else dtype!r}")
    return dtype
