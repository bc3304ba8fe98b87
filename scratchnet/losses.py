"""Loss functions. Each computes one number per entry, and the caller always names the `reduction`:

    "none"   the numbers per entry, for the caller to sum over pixels and average over images
    "sum"    one number, their sum
    "mean"   one number, their mean

Where a sigmoid or softmax would come before the loss, the loss takes the logits, so that nothing overflows or cancels.
Predictions and targets must have equal shapes: (N, 1) against (N,) would broadcast to (N, N) without a word.
Unequal shapes, empty batches, targets out of range and an unknown reduction raise a ValueError; integers, unless they
are labels, a TypeError.
"""

import math

import numpy as np

from scratchnet.autograd import check_arrays, data_of, differentiable, handle
from scratchnet.backend import array_module
from scratchnet.ops import clip, exp, expand_dims, log_softmax, sigmoid, sign, softmax, sum, where
from scratchnet.ops.elementwise import positive_part
from scratchnet.ops.linear import check_range
from scratchnet.settings import number, whole

SLACK = 1e-3  # a target may miss its range by this much: rounding, or a step of a gradient check


@differentiable
def _bce(x, t):
    """ℓ = max(x, 0) − x t + ln(1 + e^−|x|)"""
    xp = array_module(x)
    size = xp.abs(x)
    if _is_finite(size):
        hard = positive_part(x) - x * t
    else:  # the same as |x| times 1 − t or t, but with 0 · ∞ = 0; far slower on a CPU
        wrong = xp.where(x > 0, 1.0 - t, t)
        hard = xp.where(wrong != 0, size, 0.0) * wrong
    return hard + xp.log1p(xp.exp(-size))


@_bce.backward("x")
def _(gy, x, t):
    return gy * (sigmoid(x) - t)


@_bce.backward("t")
def _(gy, x):
    return -gy * x


@handle(_bce)
def bce_with_logits(x, t, reduction):
    """ℓ = −t ln σ(x) − (1 − t) ln(1 − σ(x)) = max(x, 0) − x t + ln(1 + e^−|x|)        per entry, any shape

    The cross-entropy, in nats, of a Bernoulli variable with logit x and target t in [0, 1].
    ∂ℓ/∂x = σ(x) − t,  ∂ℓ/∂t = −x        (Bishop 2006, eq. 4.90 and 4.91)
    An infinite logit costs 0 if it is right and ∞ if it is wrong.
    """
    _check("bce_with_logits", x, t)
    check_interval("bce_with_logits: targets", t, 0, 1)
    return _reduce("bce_with_logits", _bce(x, t), reduction)


@differentiable
def _cross_entropy(x, t):
    """ℓ = −Σₖ tₖ ln softmax(x)ₖ        (…, K) → (…,)"""
    y = log_softmax(_settled(x))
    return -(t * (y if _is_finite(y) else array_module(x).where(t != 0, y, 0.0))).sum(axis=-1)  # 0 · ln 0 is 0


@_cross_entropy.backward("x")
def _(gy, x, t):
    return expand_dims(gy, -1) * (softmax(_settled(x)) * sum(t, -1, keepdims=True) - t)


@_cross_entropy.backward("t")
def _(gy, x):
    return -expand_dims(gy, -1) * log_softmax(_settled(x))


def _settled(x):
    """The logits, with each row that has one +∞ replaced by (−∞, …, 0, …, −∞), whose softmax is the limit. (∞ − ∞ would
    make it NaN.)"""
    data = data_of(x)
    if isinstance(data, np.ndarray) and data.max() < np.inf:
        return x
    top = data == np.inf
    sure = (top.sum(axis=-1, keepdims=True) == 1) & (data == data).all(axis=-1, keepdims=True)  # NaN stays NaN
    xp = array_module(data)
    return where(sure, xp.where(top, xp.zeros_like(data), xp.full_like(data, -np.inf)), x)


@handle(_cross_entropy)
def softmax_cross_entropy(x, t, reduction):
    """ℓ = −Σₖ tₖ ln softmax(x)ₖ over the last axis        logits x (…, K) → ℓ (…,), in nats

    t holds integers (…,) in 0 … K−1, or probabilities (…, K), one-hot or smoothed. They add up to 1, or to less if a
    row has a smaller weight.
    ∂ℓ/∂x = softmax(x) Σₖ tₖ − t,  ∂ℓ/∂t = −ln softmax(x)        (Bishop 2006, eq. 4.108 and 4.109)
    A logit of −∞ rules its class out: if that is the target, the loss is ∞, else the class has no part in it. A logit
    of +∞ rules out all other classes: its own costs 0, any other ∞. A row of −∞ alone, or with several +∞, has no
    limit; its loss is NaN.

    >>> round(float(softmax_cross_entropy(np.log([[1.0, 2.0, 5.0]]), np.array([2]), "mean")), 6)  # −ln (5/8)
    0.470004
    """
    check_arrays("softmax_cross_entropy", x=x, t=t)
    if t.dtype.kind in "iu":
        if t.shape != x.shape[:-1]:
            raise ValueError(f"softmax_cross_entropy: logits (…, K)={x.shape} go with integer targets of shape "
                             f"{x.shape[:-1]}, got {t.shape}")
        check_range("softmax_cross_entropy: targets", data_of(t), x.shape[-1])
        t = one_hot(t, x.shape[-1], x.dtype)
    elif t.shape != x.shape and t.ndim < x.ndim:
        raise TypeError(f"softmax_cross_entropy: targets are integers of shape {x.shape[:-1]}, or probabilities of "
                        f"shape {x.shape}; got {t.dtype} {t.shape}")
    else:
        _check("softmax_cross_entropy", x, t)
        check_interval("softmax_cross_entropy: probabilities", t, 0, 1)
        _check_sums("softmax_cross_entropy", t)
    _check("softmax_cross_entropy", x, t)
    return _reduce("softmax_cross_entropy", _cross_entropy(x, t), reduction)


def one_hot(labels, classes, dtype="float32"):
    """Labels (…,), integers in 0 … classes − 1 → (…, classes): 1 at the label's place, else 0.

    ValueError for labels out of range, TypeError unless they are integers and dtype is numeric.
    """
    check_arrays("one_hot", labels=labels)
    labels = data_of(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels are {labels.dtype}, expected integers")
    classes = whole("one_hot", "classes", classes, 1)
    check_range("one_hot: labels", labels, classes)
    if dtype is None or not _is_numeric(dtype):
        raise TypeError(f"one_hot: dtype must be numeric, such as 'float32', got {dtype!r}")
    return (labels[..., None] == array_module(labels).arange(classes)).astype(dtype)


@differentiable
def _squared_error(x, t):
    """ℓ = (x − t)²"""
    return array_module(x).square(x - t)


@_squared_error.backward("x")
def _(gy, x, t):
    return 2.0 * gy * (x - t)


@_squared_error.backward("t")
def _(gy, x, t):
    return 2.0 * gy * (t - x)


@handle(_squared_error)
def mse(x, t, reduction):
    """ℓ = (x − t)²        per entry, any shape;  ∂ℓ/∂x = 2 (x − t) = −∂ℓ/∂t"""
    _check("mse", x, t)
    return _reduce("mse", _squared_error(x, t), reduction)


@differentiable
def _l1(x, t):
    """ℓ = |x − t|"""
    return array_module(x).abs(x - t)


@_l1.backward("x")
def _(gy, x, t):
    return gy * sign(x - t)


@_l1.backward("t")
def _(gy, x, t):
    return gy * sign(t - x)


@handle(_l1)
def l1(x, t, reduction):
    """ℓ = |x − t|        per entry, any shape;  ∂ℓ/∂x = sign(x − t) = −∂ℓ/∂t, which is 0 where x = t"""
    _check("l1", x, t)
    return _reduce("l1", _l1(x, t), reduction)


@differentiable
def _huber(x, t, delta):
    """ℓ = ½ q² + δ (d − q),  d = |x − t|,  q = min(d, δ)"""
    d = array_module(x).abs(x - t)
    q = array_module(x).minimum(d, delta)
    return 0.5 * (q * q) + delta * (d - q)


@_huber.backward("x")
def _(gy, x, t, delta):
    return gy * clip(x - t, -delta, delta)


@_huber.backward("t")
def _(gy, x, t, delta):
    return gy * clip(t - x, -delta, delta)


@handle(_huber)
def huber(x, t, reduction, delta=1.0):
    """ℓ = ½ d² where |d| ≤ δ, else δ (|d| − ½ δ),  d = x − t        per entry, any shape        (Huber 1964)

    With q = min(|d|, δ), ℓ = ½ q² + δ (|d| − q).        ∂ℓ/∂x = d clipped to ±δ = −∂ℓ/∂t;  δ = delta > 0
    """
    _check("huber", x, t)
    delta = number("huber", "delta", delta, "a number > 0")
    if not delta > 0:
        raise ValueError(f"huber: delta must be > 0, got {delta}")
    return _reduce("huber", _huber(x, t, delta), reduction)


@differentiable
def _hinge(x, t):
    """ℓ = max(0, 1 − t x)"""
    return array_module(x).maximum(1.0 - t * x, 0.0)


@_hinge.backward("x")
def _(gy, x, t):
    return -gy * t * (t * x < 1.0)


@_hinge.backward("t")
def _(gy, x, t):
    return -gy * x * (t * x < 1.0)


@handle(_hinge)
def hinge(x, t, reduction):
    """ℓ = max(0, 1 − t x)        per entry, any shape, t = −1 or +1

    ∂ℓ/∂x = −t and ∂ℓ/∂t = −x where t x < 1, else 0        (Cortes & Vapnik 1995)
    """
    _check("hinge", x, t)
    if _is_data(t) and not (np.abs(np.abs(data_of(t)) - 1.0) <= SLACK).all():  # NaN as well
        raise ValueError(f"hinge: targets must be −1 or +1, got {data_of(t).min()} … {data_of(t).max()}; "
                         f"for labels 0 and 1, take 2 t − 1")
    return _reduce("hinge", _hinge(x, t), reduction)


@differentiable
def _gaussian_kl(mean, logvar):
    """½ (e^s + μ² − 1 − s),  s = logvar"""
    xp = array_module(mean)
    return 0.5 * (xp.expm1(logvar) + mean * mean - xp.minimum(logvar, _largest(logvar)))  # e^∞ − ∞ is ∞


@_gaussian_kl.backward("mean")
def _(gy, mean):
    return gy * mean


@_gaussian_kl.backward("logvar")
def _(gy, logvar):
    return gy * (0.5 * (exp(logvar) - 1.0))


@handle(_gaussian_kl)
def gaussian_kl(mean, logvar, reduction):
    """KL( N(μ, e^s) ‖ N(0, 1) ) = ½ ((e^s − 1) + μ² − s)        per dimension, any shape, s = logvar; in nats

    Sum over the last axis for the divergence of the whole code. e^s − 1 is expm1(s): for s near 0, the subtraction
    would leave little but rounding errors.
    ∂/∂μ = μ,  ∂/∂s = ½ (e^s − 1)        (Kingma & Welling 2014, appendix B)

    >>> gaussian_kl(np.array([0.0, 1.0]), np.array([0.0, 0.0]), "none")
    array([0. , 0.5])
    """
    _check("gaussian_kl", mean, logvar)
    return _reduce("gaussian_kl", _gaussian_kl(mean, logvar), reduction)


@differentiable
def _gaussian_nll(x, mean, logvar):
    """½ (s + (x − μ)² e^−s + ln 2π),  s = logvar"""
    d, xp = x - mean, array_module(x)
    q = d * d * _precision(d, logvar)
    return 0.5 * (xp.where(xp.isinf(q), 0.0, logvar) + q + math.log(2 * math.pi))  # ∞ outweighs s = −∞


@_gaussian_nll.backward("x")
def _(gy, x, mean, logvar):
    return gy * (x - mean) * _precision(x - mean, logvar)


@_gaussian_nll.backward("mean")
def _(gy, x, mean, logvar):
    return gy * (mean - x) * _precision(x - mean, logvar)


@_gaussian_nll.backward("logvar")
def _(gy, x, mean, logvar):
    d = x - mean
    return gy * (0.5 * (1.0 - d * d * _precision(d, logvar)))


def _precision(d, logvar):
    """e^−s, but 1 where e^−s is infinite and d = 0, so that d e^−s is 0 there."""
    return exp(-where((d == 0) & (logvar < -math.log(_largest(logvar))), 0.0, logvar))


@handle(_gaussian_nll)
def gaussian_nll(x, mean, logvar, reduction):
    """−ln N(x; μ, e^s) = ½ (s + (x − μ)² e^−s + ln 2π)        per entry, any shape, s = logvar; in nats

    ∂/∂x = (x − μ) e^−s = −∂/∂μ,  ∂/∂s = ½ (1 − (x − μ)² e^−s)        (Kingma & Welling 2014, appendix C.2)
    """
    _check("gaussian_nll", x, mean, ("x", "mean"))
    _check("gaussian_nll", mean, logvar, ("mean", "logvar"))
    return _reduce("gaussian_nll", _gaussian_nll(x, mean, logvar), reduction)


def _is_numeric(dtype):
    try:
        return np.dtype(dtype).kind in "biufc"
    except TypeError:
        return False


def _is_finite(x):
    """Whether all numbers of a NumPy array are finite. False for other arrays, where a look would wait for the device.
    """
    return isinstance(x, np.ndarray) and x.size > 0 and -np.inf < x.min() and x.max() < np.inf


def _largest(x):
    """The largest finite number of x's dtype."""
    return float(np.finfo(x.dtype).max)


def _check(name, x, t, names=("x", "t")):
    """Raise unless both arrays are floating-point, of equal shapes and not empty."""
    check_arrays(name, **dict(zip(names, (x, t), strict=True)))
    if x.shape != t.shape:
        raise ValueError(f"{name}: both arguments need the same shape, got {x.shape} and {t.shape}")
    if 0 in x.shape:
        raise ValueError(f"{name}: there is nothing to compare in an empty batch, shape {x.shape}")
    if x.dtype.kind not in "fc" or t.dtype.kind not in "fcb":
        raise TypeError(f"{name}: both arguments must be floating-point, got {x.dtype} and {t.dtype}")


def check_interval(what, x, low, high, slack=SLACK):
    """ValueError unless all numbers of x lie in [low, high]. It checks data only, see _is_data."""
    if _is_data(x) and x.size:
        x = data_of(x)
        least, most = x.min(), x.max()
        if not (least >= low - slack and most <= high + slack):  # NaN as well
            advice = "; divide images by 255" if low == 0 and 1 < most <= 255 and least >= 0 else ""
            raise ValueError(f"{what} must lie in [{low}, {high}], got {least} … {most}{advice}")


def _is_data(x):
    """Whether x is data, whose values can be checked. A Tensor that requires a gradient is not, since derivatives exist
    beyond the range; nor is an array on a GPU, where a look would wait for the device."""
    return isinstance(data_of(x), np.ndarray) and x.dtype.kind != "c" and not getattr(x, "requires_grad", False)


def check_images(what, x):
    """Raise unless images are floating-point numbers in [0, 1], like those a model draws."""
    check_arrays(what, images=x)
    if x.dtype.kind not in "fc":
        raise TypeError(f"{what}: images are {x.dtype}, expected floating-point numbers in [0, 1]; divide them by 255")
    check_interval(f"{what}: images", x, 0, 1)


def _check_sums(name, t):
    """ValueError if probabilities (…, K) add up to more than 1. It checks data only, see _is_data."""
    if _is_data(t):
        sums = data_of(t).sum(axis=-1)
        if (sums > 1.0 + SLACK).any():
            raise ValueError(f"{name}: probabilities must add up to 1 over the last axis, or to less as weights, got "
                             f"sums of {sums.min()} … {sums.max()}")


def _reduce(name, loss, reduction):
    if not isinstance(reduction, str) or reduction not in ("none", "sum", "mean"):
        raise ValueError(f'{name}: reduction must be "mean", "sum" or "none", got {reduction!r}')
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()
