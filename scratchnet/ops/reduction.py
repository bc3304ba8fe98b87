"""Many numbers to one: sums, means, extremes, norms, along one axis, several, or all (axis=None)."""

import math
from numbers import Integral

from scratchnet.autograd import broadcast_to, differentiable
from scratchnet.backend import array_module
from scratchnet.ops.elementwise import exp, where
from scratchnet.ops.shape import flip, reshape, stack, transpose
from scratchnet.tensor import check_arrays


def _axes(shape, axis):
    """The reduced axes as a sorted tuple of non-negative numbers."""
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    if any(not isinstance(a, Integral) or not -len(shape) <= a < len(shape) for a in axes):
        raise ValueError(f"axis {axis} is out of range for shape {shape}")
    axes = tuple(sorted(int(a) % len(shape) for a in axes))
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis {axis} names an axis of shape {shape} twice")
    return axes


def _count(shape, axis):
    """How many numbers are reduced to one; an error if there are none."""
    n = math.prod(shape[a] for a in _axes(shape, axis))
    if n == 0:
        raise ValueError(f"nothing to reduce: shape {shape} is empty along axis {axis}")
    return n


def _as_tuple(axis):
    """NumPy takes several axes as a tuple alone."""
    return tuple(axis) if isinstance(axis, list) else axis


def _kept(shape, axis):
    """The result's shape with keepdims=True."""
    axes = _axes(shape, axis)
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _spread(g, shape, axis):
    """g of the reduced shape (with or without keepdims), repeated along the reduced axes."""
    return broadcast_to(reshape(g, _kept(shape, axis)), shape)


@differentiable
def sum(x, axis=None, keepdims=False):
    """y = Σ x        ∂L/∂x = ∂L/∂y, repeated along the reduced axes"""
    return x.sum(axis=_as_tuple(axis), keepdims=keepdims)


@sum.backward("x")
def _(gy, x_shape, axis):
    return _spread(gy, x_shape, axis)


@differentiable
def mean(x, axis=None, keepdims=False):
    """y = Σ x / n        ∂L/∂x = ∂L/∂y / n, repeated along the reduced axes"""
    return x.sum(axis=_as_tuple(axis), keepdims=keepdims) / _count(x.shape, axis)


@mean.backward("x")
def _(gy, x_shape, axis):
    return _spread(gy / _count(x_shape, axis), x_shape, axis)


@differentiable
def var(x, axis=None, keepdims=False, correction=0):
    """y = Σ (x − x̄)² / (n − correction)        ∂L/∂x = ∂L/∂y · 2 (x − x̄) / (n − correction)

    correction=1 gives the unbiased estimate from a sample.
    """
    axis = _as_tuple(axis)
    d = x - x.mean(axis=axis, keepdims=True)
    return (d * d).sum(axis=axis, keepdims=keepdims) / _degrees_of_freedom(x.shape, axis, correction)


@var.backward("x")
def _(gy, x, axis, correction):
    n = _degrees_of_freedom(x.shape, axis, correction)
    return _spread(gy, x.shape, axis) * (x - mean(x, axis, keepdims=True)) * (2.0 / n)


@differentiable
def std(x, axis=None, keepdims=False, correction=0):
    """y = √var(x)        ∂L/∂x = ∂L/∂y · (x − x̄) / (y (n − correction))  (0 where y = 0)"""
    return array_module(x).sqrt(var(x, axis, keepdims, correction))


@std.backward("x")
def _(gy, x, y, axis, correction):
    scale = _degrees_of_freedom(x.shape, axis, correction) * where(y == 0, 1.0, y)
    return _spread(gy / scale, x.shape, axis) * (x - mean(x, axis, keepdims=True))


def _degrees_of_freedom(shape, axis, correction):
    n = _count(shape, axis)
    if not 0 <= correction < n:
        raise ValueError(f"correction is a number ≥ 0 and below {n}, how many are reduced to one, got {correction}")
    return n - correction


def max(x, axis=None, keepdims=False):
    """y = the largest entry        ∂L/∂x = ∂L/∂y at the first entry that is largest, 0 elsewhere

    A NaN counts as larger than any number, as in NumPy.
    """
    check_arrays("max", x=x)
    n, axes = _count(x.shape, axis), _axes(x.shape, axis)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    rows = reshape(transpose(x, rest + axes), (*(x.shape[i] for i in rest), n))  # reduced axes last, as one
    return reshape(_max_of_rows(rows), _kept(x.shape, axis) if keepdims else tuple(x.shape[i] for i in rest))


SHORT = 6  # up to here entry after entry over all rows is faster than row after row (benchmarks/NOTES.md)


@differentiable(cache=("winner",))
def _max_of_rows(x):
    """The largest along the last axis (…, n) → (…,), and where it stands: the first on a tie."""
    xp, n = array_module(x), x.shape[-1]
    if n > SHORT:
        winner = xp.argmax(x, axis=-1)
        return xp.take_along_axis(x, winner[..., None], axis=-1)[..., 0], winner
    y, winner = x[..., 0].copy(), xp.zeros(x.shape[:-1], dtype="int8")
    for k in range(1, n):
        larger = ~(x[..., k] <= y) & (y == y)  # so is a NaN, the first one
        winner = xp.maximum(winner, larger.astype("int8") * k)
        y = xp.maximum(y, x[..., k])
    return y, winner


@_max_of_rows.backward
def _(gy, x_shape, winner):
    n = x_shape[-1]
    if n > SHORT:
        return reshape(gy, (*gy.shape, 1)) * (array_module(winner).arange(n) == winner[..., None])
    return stack([gy * (winner == k) for k in range(n)], axis=-1)


def min(x, axis=None, keepdims=False):
    """y = the smallest entry        ∂L/∂x = ∂L/∂y at the first entry that is smallest, 0 elsewhere"""
    check_arrays("min", x=x)
    return -max(-x, axis, keepdims)


@differentiable
def logsumexp(x, axis=None, keepdims=False):
    """y = ln Σ eˣ = m + ln Σ e^(x−m),  m = max x        ∂L/∂x = ∂L/∂y ⊙ e^(x−y), a softmax"""
    xp, n, axis = array_module(x), _count(x.shape, axis), _as_tuple(axis)
    m = xp.max(x.real if x.dtype.kind == "c" else x, axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, 0.0)  # a row of −∞ gives −∞, not NaN
    y = m + xp.log(xp.exp(x - m).sum(axis=axis, keepdims=True))
    return y if keepdims else y.reshape([s for i, s in enumerate(y.shape) if n and i not in _axes(x.shape, axis)])


@logsumexp.backward("x")
def _(gy, x, y, axis):
    return _spread(gy, x.shape, axis) * exp(x - _spread(y, x.shape, axis))


@differentiable
def cumsum(x, axis):
    """yₖ = x₀ + … + xₖ        ∂L/∂xₖ = ∂L/∂yₖ + ∂L/∂yₖ₊₁ + …"""
    return x.cumsum(axis=axis)


@cumsum.backward("x")
def _(gy, axis):
    return flip(cumsum(flip(gy, axis), axis), axis)


@differentiable
def norm(x, axis=None, keepdims=False):
    """y = √Σ x² = m √Σ (x/m)²,  m = max |x|, the Euclidean norm        ∂L/∂x = ∂L/∂y · x / y  (0 where y = 0)

    Squares of large or small numbers would leave the range of their dtype; those of x/m do not.
    """
    xp, axis = array_module(x), _as_tuple(axis)
    m = (xp.max if x.size else xp.sum)(xp.abs(x), axis=axis, keepdims=True)
    m = xp.where((m > 0) & xp.isfinite(m), m, xp.ones_like(m))
    y = m * xp.sqrt(xp.square(x / m).sum(axis=axis, keepdims=True))
    return y if keepdims else y.reshape([s for i, s in enumerate(y.shape) if i not in _axes(x.shape, axis)])


@norm.backward("x")
def _(gy, x, y, axis):
    return _spread(gy / where(y == 0, 1.0, y), x.shape, axis) * x
