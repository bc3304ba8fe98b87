"""Loss functions. Each gives one number per entry and says over which axes; `reduction` is always named by the caller:

    "none"   the numbers per entry, to be summed over pixels and averaged over images by hand
    "sum"    one number, the sum over all of them
    "mean"   one number, their mean

Where a sigmoid or softmax would come before the loss, the loss takes the logits, so that nothing overflows or cancels.
Predictions and targets must have equal shapes: (N, 1) against (N,) would broadcast to (N, N) without a word.
"""

import math

from scratchnet.autograd import differentiable
from scratchnet.backend import array_module
from scratchnet.ops.arithmetic import square
from scratchnet.ops.elementwise import abs, exp, minimum, positive_part, relu, sigmoid
from scratchnet.ops.linear import check_range
from scratchnet.ops.normalization import log_softmax, softmax
from scratchnet.ops.reduction import sum
from scratchnet.ops.shape import expand_dims


def bce_with_logits(x, t, reduction):
    """ℓ = −t ln σ(x) − (1 − t) ln(1 − σ(x)) = max(x, 0) − x t + ln(1 + e^−|x|)        per entry, any shape

    The cross-entropy, in nats, of a Bernoulli variable with logit x; t in [0, 1].
    ∂ℓ/∂x = σ(x) − t,  ∂ℓ/∂t = −x        (Bishop 2006, eq. 4.90 and 4.91)
    """
    _check("bce_with_logits", x, t)
    return _reduce(_bce(x, t), reduction)


@differentiable
def _bce(x, t):
    xp = array_module(x)
    return positive_part(x) - x * t + xp.log1p(xp.exp(-xp.abs(x)))


@_bce.backward("x")
def _(gy, x, t):
    return gy * (sigmoid(x) - t)


@_bce.backward("t")
def _(gy, x):
    return -gy * x


def softmax_cross_entropy(x, t, reduction):
    """ℓ = −Σₖ tₖ ln softmax(x)ₖ over the last axis        logits x (…, K) → ℓ (…,), in nats

    t: integers (…,) in 0 … K−1, or probabilities (one-hot, smoothed, …) (…, K).
    ∂ℓ/∂x = softmax(x) Σₖ tₖ − t        (Bishop 2006, eq. 4.108 and 4.109)
    """
    if t.dtype.kind in "iu":
        if t.shape != x.shape[:-1]:
            raise ValueError(f"softmax_cross_entropy: logits (…, K)={x.shape} go with integer targets of shape "
                             f"{x.shape[:-1]}, got {t.shape}")
        check_range("softmax_cross_entropy: targets", t, x.shape[-1])
        t = one_hot(t, x.shape[-1], x.dtype)
    _check("softmax_cross_entropy", x, t)
    return _reduce(_cross_entropy(x, t), reduction)


@differentiable
def _cross_entropy(x, t):
    return -(t * log_softmax(x)).sum(axis=-1)


@_cross_entropy.backward("x")
def _(gy, x, t):
    return expand_dims(gy, -1) * (softmax(x) * sum(t, -1, keepdims=True) - t)


@_cross_entropy.backward("t")
def _(gy, x):
    return -expand_dims(gy, -1) * log_softmax(x)


def one_hot(labels, classes, dtype="float32"):
    """Integers (…,) in 0 … classes − 1 → (…, classes): 1 at the label's place, else 0."""
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels are {labels.dtype}, expected integers")
    check_range("one_hot: labels", labels, classes)
    return (labels[..., None] == array_module(labels).arange(classes)).astype(dtype)


def mse(x, t, reduction):
    """ℓ = (x − t)²        per entry, any shape;  ∂ℓ/∂x = 2 (x − t) = −∂ℓ/∂t"""
    _check("mse", x, t)
    return _reduce(_squared_error(x, t), reduction)


@differentiable
def _squared_error(x, t):
    return array_module(x).square(x - t)


@_squared_error.backward("x")
def _(gy, x, t):
    return 2.0 * gy * (x - t)


@_squared_error.backward("t")
def _(gy, x, t):
    return 2.0 * gy * (t - x)


def l1(x, t, reduction):
    """ℓ = |x − t|        per entry, any shape;  ∂ℓ/∂x = sign(x − t), 0 where they are equal"""
    _check("l1", x, t)
    return _reduce(abs(x - t), reduction)


def huber(x, t, reduction, delta=1.0):
    """ℓ = ½ d² where |d| ≤ δ, else δ (|d| − ½ δ),  d = x − t        per entry        (Huber 1964)

    With q = min(|d|, δ) that is ½ q² + δ (|d| − q).        ∂ℓ/∂x = d, cut off at ±δ
    """
    _check("huber", x, t)
    if not delta > 0:
        raise ValueError(f"huber: delta must be > 0, got {delta}")
    d = abs(x - t)
    q = minimum(d, delta)
    return _reduce(0.5 * square(q) + delta * (d - q), reduction)


def hinge(x, t, reduction):
    """ℓ = max(0, 1 − t x)        per entry, t = −1 or +1;  ∂ℓ/∂x = −t where t x < 1, else 0"""
    _check("hinge", x, t)
    return _reduce(relu(1.0 - t * x), reduction)


def gaussian_kl(mean, logvar, reduction):
    """KL( N(μ, e^s) ‖ N(0, 1) ) = ½ (e^s + μ² − 1 − s)        per dimension, s = logvar; in nats

    Sum over the last axis for the divergence of the whole code.
    ∂/∂μ = μ,  ∂/∂s = ½ (e^s − 1)        (Kingma & Welling 2014, appendix B)
    """
    _check("gaussian_kl", mean, logvar)
    return _reduce(_gaussian_kl(mean, logvar), reduction)


@differentiable
def _gaussian_kl(mean, logvar):
    return 0.5 * (array_module(mean).expm1(logvar) + mean * mean - logvar)


@_gaussian_kl.backward("mean")
def _(gy, mean):
    return gy * mean


@_gaussian_kl.backward("logvar")
def _(gy, logvar):
    return gy * (0.5 * (exp(logvar) - 1.0))


def gaussian_nll(x, mean, logvar, reduction):
    """−ln N(x; μ, e^s) = ½ (s + (x − μ)² e^−s + ln 2π)        per entry, s = logvar; in nats"""
    _check("gaussian_nll", x, mean)
    _check("gaussian_nll", mean, logvar)
    return _reduce(0.5 * (logvar + square(x - mean) * exp(-logvar) + math.log(2 * math.pi)), reduction)


def _check(name, x, t):
    """Equal shapes, floating-point, and at least one entry."""
    if x.shape != t.shape:
        raise ValueError(f"{name}: both arguments need the same shape, got {x.shape} and {t.shape}")
    if 0 in x.shape:
        raise ValueError(f"{name}: there is nothing to compare in an empty batch, shape {x.shape}")
    if x.dtype.kind not in "fc" or t.dtype.kind not in "fcb":
        raise TypeError(f"{name}: both arguments must be floating-point, got {x.dtype} and {t.dtype}")


def _reduce(loss, reduction):
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
