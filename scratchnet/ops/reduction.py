"""Many numbers to one: sums, means, extremes, norms, along one axis, several, or all (axis=None)."""

import math
from numbers import Real

import numpy as np

from scratchnet.autograd import Tensor, broadcast_to, check_arrays, data_of, differentiable, handle
from scratchnet.backend import array_module, is_whole
from scratchnet.ops.elementwise import exp, floating, where
from scratchnet.ops.shape import flip, reshape, stack, transpose


def _axes(shape, axis):
    """The reduced axes as a sorted tuple of non-negative numbers."""
    if axis is None:
        return tuple(range(len(shape)))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if any(not is_whole(a) or not -len(shape) <= a < len(shape) for a in axes):
        raise ValueError(f"axis {axis} is out of range for shape {shape}")
    axes = tuple(sorted(int(a) % len(shape) for a in axes))
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis {axis} names an axis of shape {shape} twice")
    return axes


def _count(shape, axis):
    """The number of entries that are reduced to one; an error if there are none."""
    n = math.prod(shape[a] for a in _axes(shape, axis))
    if n == 0:
        raise ValueError(f"nothing to reduce: shape {shape} is empty along axis {axis}")
    return n


def _as_tuple(shape, axis):
    """The axis as NumPy takes it: several only as a tuple."""
    return axis if axis is None or type(axis) is int else _axes(shape, axis)


def _kept(shape, axis):
    """The result's shape with keepdims=True."""
    axes = _axes(shape, axis)
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _broadcast_back(g, shape, axis):
    """g of the reduced shape (with or without keepdims), repeated along the reduced axes."""
    return broadcast_to(reshape(g, _kept(shape, axis)), shape)


@differentiable
def sum(x, axis=None, keepdims=False):
    """y = Σ x        ∂L/∂x = ∂L/∂y, repeated along the reduced axes

    The sum has the dtype of x, also within `mean` and `var`. In float16 it cannot exceed 65504.
    """
    return x.sum(axis=_as_tuple(x.shape, axis), keepdims=keepdims)


@sum.backward("x")
def _(gy, x_shape, axis):
    return _broadcast_back(gy, x_shape, axis)


@differentiable
def mean(x, axis=None, keepdims=False):
    """y = Σ x / n        ∂L/∂x = ∂L/∂y / n, repeated along the reduced axes"""
    return x.sum(axis=_as_tuple(x.shape, axis), keepdims=keepdims) / _count(x.shape, axis)


@mean.backward("x")
def _(gy, x_shape, axis):
    return _broadcast_back(gy / _count(x_shape, axis), x_shape, axis)


@differentiable
def var(x, axis=None, keepdims=False, correction=0):
    """y = Σ (x − x̄)² / (n − correction)        ∂L/∂x = ∂L/∂y · 2 (x − x̄) / (n − correction)

    correction=1 gives the unbiased estimate from a sample.
    """
    axis = _as_tuple(x.shape, axis)
    d = x - x.mean(axis=axis, keepdims=True)
    return (d * d).sum(axis=axis, keepdims=keepdims) / _degrees_of_freedom(x.shape, axis, correction)


@var.backward("x")
def _(gy, x, axis, correction):
    n = _degrees_of_freedom(x.shape, axis, correction)
    return _broadcast_back(gy, x.shape, axis) * (x - mean(x, axis, keepdims=True)) * (2.0 / n)


@differentiable
def std(x, axis=None, keepdims=False, correction=0):
    """y = √var(x)        ∂L/∂x = ∂L/∂y · (x − x̄) / (y (n − correction))  (0 where y = 0)"""
    axis = _as_tuple(x.shape, axis)
    return norm(x - x.mean(axis=axis, keepdims=True), axis, keepdims) / math.sqrt(
        _degrees_of_freedom(x.shape, axis, correction))


@std.backward("x")
def _(gy, x, y, axis, correction):
    scale = _degrees_of_freedom(x.shape, axis, correction) * where(y == 0, 1.0, y)
    return _broadcast_back(gy / scale, x.shape, axis) * (x - mean(x, axis, keepdims=True))


def _degrees_of_freedom(shape, axis, correction):
    n = _count(shape, axis)
    if not (isinstance(correction, Real) and 0 <= correction < n):
        raise ValueError(f"var: correction is a number ≥ 0 and below {n}, the number of entries, "
                         f"got {correction!r}")
    return n - correction


SHORT = 6  # up to this length, going entry by entry over all rows at once is faster (benchmarks/NOTES.md)


@differentiable(cache=("winner",))
def _max_of_rows(x):
    """yᵢ = maxⱼ xᵢⱼ along the last axis (…, n) → (…,), and the place j of the winner: the first on a tie."""
    xp, n = array_module(x), x.shape[-1]
    if n > SHORT:
        winner = xp.argmax(x, axis=-1)
        return xp.take_along_axis(x, winner[..., None], axis=-1)[..., 0], winner
    y, winner = x[..., 0].copy(), xp.zeros(x.shape[:-1], dtype="int8")
    for k in range(1, n):
        winner = xp.maximum(winner, (x[..., k] > y).astype("int8") * k)
        y = xp.maximum(y, x[..., k])
    if xp is not np or (y.size and np.isnan(y.max())):  # a GPU would make us wait for the answer
        for k in reversed(range(n)):
            winner = xp.where(xp.isnan(x[..., k]), xp.int8(k), winner)  # the first NaN wins
    return y, winner


@_max_of_rows.backward
def _(gy, x_shape, winner):
    n = x_shape[-1]
    if n > SHORT:
        return reshape(gy, (*gy.shape, 1)) * (array_module(winner).arange(n) == winner[..., None])
    return stack([gy * (winner == k) for k in range(n)], axis=-1)


@handle(_max_of_rows)
def max(x, axis=None, keepdims=False):
    """y = the largest entry        ∂L/∂x = ∂L/∂y at the first of the largest entries, 0 elsewhere

    A NaN counts as larger than any number, as in NumPy.
    """
    return _max("max", x, axis, keepdims)


def min(x, axis=None, keepdims=False):
    """y = the smallest entry        ∂L/∂x = ∂L/∂y at the first of the smallest entries, 0 elsewhere"""
    check_arrays("min", x=x)
    if x.dtype.kind in "biu":  # −x may overflow; ~x reverses the order as well
        y = ~_max("min", ~data_of(x), axis, keepdims)
        return Tensor(y) if isinstance(x, Tensor) else y
    return -_max("min", -x, axis, keepdims)


def _max(op, x, axis, keepdims):
    check_arrays(op, x=x)
    try:
        n, axes = _count(x.shape, axis), _axes(x.shape, axis)
    except ValueError as error:
        raise ValueError(f"{op}: {error}") from None
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    rows = reshape(transpose(x, rest + axes), (*(x.shape[i] for i in rest), n))  # reduced axes last, as one
    return reshape(_max_of_rows(rows), _kept(x.shape, axis) if keepdims else tuple(x.shape[i] for i in rest))


@differentiable
def logsumexp(x, axis=None, keepdims=False):
    """y = ln Σ eˣ = m + ln Σ e^(x−m),  m = max x        ∂L/∂x = ∂L/∂y ⊙ e^(x−y), a softmax

    If all entries are −∞, y is −∞ and the gradient 0. If one is +∞, y is +∞ and the gradient NaN.
    """
    x = floating(x)
    xp, n, axis = array_module(x), _count(x.shape, axis), _as_tuple(x.shape, axis)
    m = xp.max(x.real if x.dtype.kind == "c" else x, axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, 0.0)  # a row of −∞ gives −∞, not NaN
    y = m + xp.log(xp.exp(x - m).sum(axis=axis, keepdims=True))
    return y if keepdims else y.reshape([s for i, s in enumerate(y.shape) if n and i not in _axes(x.shape, axis)])


@logsumexp.backward("x")
def _(gy, x, y, axis):
    return _broadcast_back(gy, x.shape, axis) * exp(x - _broadcast_back(where(y == -math.inf, 0.0, y), x.shape, axis))


@differentiable
def cumsum(x, axis):
    """yₖ = x₀ + … + xₖ along an axis        ∂L/∂xₖ = ∂L/∂yₖ + ∂L/∂yₖ₊₁ + …"""
    if axis is None:
        raise TypeError("cumsum: needs an axis; flatten x first to go over all its entries")
    return x.cumsum(axis=axis)


@cumsum.backward("x")
def _(gy, axis):
    return flip(cumsum(flip(gy, axis), axis), axis)


@differentiable
def norm(x, axis=None, keepdims=False):
    """y = √Σ x² = m √Σ (x/m)²,  m = max |x|, the Euclidean norm        ∂L/∂x = ∂L/∂y · (x / y)  (0 where y = 0)

    Squares of very large or small numbers leave the range of their dtype; squares of x/m do not. Dividing costs much
    more than squaring, so it is done only if necessary (always on a GPU, which would make us wait for the answer).
    """
    x = floating(x)
    xp, axis = array_module(x), _as_tuple(x.shape, axis)
    if xp is np and x.dtype.kind == "f":
        with np.errstate(over="ignore", under="ignore"):
            y = np.sqrt((x * x).sum(axis=axis, keepdims=keepdims))
        if y.size and y.max() < math.inf and y.min() > _SMALLEST_NORM.get(x.dtype.char, math.inf):
            return y
    m = (xp.max if x.size else xp.sum)(xp.abs(x), axis=axis, keepdims=True)
    m = xp.where((m > 0) & xp.isfinite(m), m, xp.ones_like(m))
    y = m * xp.sqrt(xp.square(x / m).sum(axis=axis, keepdims=True))
    return y if keepdims else y.reshape([s for i, s in enumerate(y.shape) if i not in _axes(x.shape, axis)])


# Entries whose squares vanish do not matter to a norm above this: even 1e8 of them are below its rounding.
_SMALLEST_NORM = {c: math.sqrt(1e8 * float(np.finfo(c).tiny) / float(np.finfo(c).eps)) for c in "fd"}


@norm.backward("x")
def _(gy, x, y, axis):
    return _broadcast_back(gy, x.shape, axis) * (x / _broadcast_back(where(y == 0, 1.0, y), x.shape, axis))
