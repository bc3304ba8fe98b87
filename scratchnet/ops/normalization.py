"""Bringing numbers to a common scale along an axis: softmax, batch norm, layer norm. Channels come last."""

import math

import numpy as np

from scratchnet.autograd import check_arrays, differentiable, sum_to
from scratchnet.backend import array_module
from scratchnet.backend.products import column_sum
from scratchnet.ops.elementwise import exp, floating, sqrt
from scratchnet.ops.reduction import mean, sum


@differentiable
def softmax(x, axis=-1):
    """yᵢ = e^xᵢ / Σⱼ e^xⱼ along an axis        ∂L/∂x = y ⊙ (∂L/∂y − Σ ∂L/∂y ⊙ y)

    An entry of −∞ gives 0. If all are −∞, or one is +∞ or NaN, there is no limit, and y is NaN.

    >>> softmax(np.log([1.0, 2.0, 5.0]))
    array([0.125, 0.25 , 0.625])
    """
    xp, x = array_module(x), floating(x)
    y = xp.exp(x - _largest(x, axis))
    y /= y.sum(axis=axis, keepdims=True)
    return y


@softmax.backward("x")
def _(gy, y, axis):
    return y * (gy - sum(gy * y, axis, keepdims=True))


@differentiable
def log_softmax(x, axis=-1):
    """y = x − ln Σ eˣ along an axis        ∂L/∂x = ∂L/∂y − softmax(x) Σ ∂L/∂y"""
    xp, x = array_module(x), floating(x)
    y = x - _largest(x, axis)
    y -= xp.log(xp.exp(y).sum(axis=axis, keepdims=True))
    return y


@log_softmax.backward("x")
def _(gy, y, axis):
    return gy - exp(y) * sum(gy, axis, keepdims=True)


def _largest(x, axis):
    """max x, or of its real part if x is complex. Subtracting it changes nothing but keeps exp from overflowing."""
    return array_module(x).max(x.real if x.dtype.kind == "c" else x, axis=axis, keepdims=True)


@differentiable(extras=("mean", "var"))
def batch_norm(x, gamma, beta, eps=1e-5):
    """y = γ x̂ + β,  x̂ = (x − μ) / √(σ² + ε), with mean μ and variance σ² (C,) over all axes but the last.

    x (…, C), γ and β (C,) → y (…, C), and μ, σ² for the running averages.   (Ioffe & Szegedy 2015, algorithm 1)

    With n rows:  ∂L/∂β = Σ ∂L/∂y,  ∂L/∂γ = Σ ∂L/∂y ⊙ x̂,
                  ∂L/∂x = γ/√(σ² + ε) · (∂L/∂y − ∂L/∂β / n − x̂ ∂L/∂γ / n)
    """
    if x.ndim < 2 or gamma.shape != x.shape[-1:] or beta.shape != x.shape[-1:]:
        raise ValueError(f"batch_norm: x (…, C)={x.shape} needs gamma and beta of shape (C,), "
                         f"got {gamma.shape} and {beta.shape}")
    if x.dtype.kind not in "fc":
        raise TypeError(f"batch_norm: x must be floating-point, got {x.dtype}")
    if not x.size:
        raise ValueError(f"batch_norm: an empty batch has no mean and variance, x (…, C)={x.shape}")
    _check_eps("batch_norm", eps)
    n, lead = x.size // x.shape[-1], x.ndim - 1
    mu = column_sum(x, lead) / n
    y = x - mu
    variance = column_sum(y * y, lead) / n
    _check_range("batch_norm", variance)
    y *= gamma / array_module(x).sqrt(variance + eps)
    y += beta
    return y, mu, variance


@batch_norm.backward("x", "gamma", "beta")
def _(gy, x, gamma, mean, var, eps):
    n = x.size // x.shape[-1]
    if mean is None:  # create_graph: μ and σ² once more, as functions of x
        mean = sum_to(x, gamma.shape) / n
        var = sum_to((x - mean) * (x - mean), gamma.shape) / n
    inv_std = 1.0 / sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    gbeta = sum_to(gy, gamma.shape)
    ggamma = sum_to(gy * x_hat, gamma.shape)
    gx = gamma * inv_std * (gy - gbeta / n - x_hat * (ggamma / n))
    return gx, ggamma, gbeta


def _check_eps(op, eps):
    if not (isinstance(eps, (int, float, np.floating)) and 0 <= eps < math.inf):
        raise ValueError(f"{op}: eps is a number ≥ 0, got {eps!r}")


def _check_range(op, spread):
    """FloatingPointError if squares overflowed, for x̂ would be 0 without a word. Checked on the CPU only."""
    if isinstance(spread, np.ndarray) and np.isinf(spread).any():
        raise FloatingPointError(f"{op}: the variance of x leaves the range of {spread.dtype}; scale x down first, or "
                                 f"use a wider dtype")


def batch_norm_inference(x, gamma, beta, mean, var, eps=1e-5):
    """y = γ (x − μ)/√(σ² + ε) + β with constant μ, σ² (running averages): one scale and one shift for each channel.

    x (…, C), all others (C,) → y (…, C)        ∂L/∂x = γ/√(σ² + ε) ∂L/∂y
    """
    check_arrays("batch_norm_inference", x=x, gamma=gamma, beta=beta, mean=mean, var=var)
    shapes = [a.shape for a in (gamma, beta, mean, var)]
    if x.ndim < 1 or any(shape != x.shape[-1:] for shape in shapes):
        raise ValueError(f"batch_norm_inference: x (…, C)={x.shape} needs gamma, beta, mean and var of shape (C,), got "
                         f"{', '.join(map(str, shapes))}")
    _check_eps("batch_norm_inference", eps)
    scale = gamma / sqrt(var + float(eps))
    return x * scale + (beta - mean * scale)


@differentiable
def layer_norm(x, gamma, beta, eps=1e-5):
    """y = γ x̂ + β,  x̂ = (x − μ) / √(σ² + ε), with mean μ and variance σ² over the last axis of each row.

    x (…, C), γ and β (C,) → y (…, C)        (Ba, Kiros & Hinton 2016, eq. 4)

    With ĝ = ∂L/∂y ⊙ γ and means over the last axis:  ∂L/∂x = (ĝ − mean ĝ − x̂ mean(ĝ ⊙ x̂)) / √(σ² + ε)
    Over all rows:  ∂L/∂γ = Σ ∂L/∂y ⊙ x̂,  ∂L/∂β = Σ ∂L/∂y
    """
    if x.ndim < 1 or gamma.shape != x.shape[-1:] or beta.shape != x.shape[-1:] or not math.prod(x.shape[-1:]):
        raise ValueError(f"layer_norm: x (…, C)={x.shape} needs C ≥ 1 and gamma and beta of shape (C,), "
                         f"got {gamma.shape} and {beta.shape}")
    _check_eps("layer_norm", eps)
    x_hat, inv_std = _standardize(x, eps)
    _check_range("layer_norm", 1.0 / inv_std)
    return x_hat * gamma + beta


def _standardize(x, eps):
    """x̂ and 1/√(σ² + ε) along the last axis."""
    d = x - mean(x, -1, keepdims=True)
    inv_std = 1.0 / sqrt(mean(d * d, -1, keepdims=True) + eps)
    return d * inv_std, inv_std


@layer_norm.backward("x")
def _(gy, x, gamma, eps):
    x_hat, inv_std = _standardize(x, eps)
    g = gy * gamma
    return (g - mean(g, -1, keepdims=True) - x_hat * mean(g * x_hat, -1, keepdims=True)) * inv_std


@layer_norm.backward("gamma")
def _(gy, x, eps, gamma_shape):
    return sum_to(gy * _standardize(x, eps)[0], gamma_shape)


@layer_norm.backward("beta")
def _(gy, beta_shape):
    return sum_to(gy, beta_shape)
