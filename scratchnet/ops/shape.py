"""Moving entries about without changing them: reshape, transpose, pad, join, cut, index, repeat.

All are linear, y = S x with a matrix S of zeros and ones, and each gradient moves back, ∂L/∂x = Sᵀ ∂L/∂y.
"""

import math

import numpy as np

from scratchnet.autograd import broadcast_to, check_arrays, data_of, differentiable, handle
from scratchnet.backend import array_module, is_array, is_whole, kind_of, to_device_of


def one_axis(op, axis, ndim):
    """An axis, which may count from the end, as one of 0 … ndim − 1; else a ValueError."""
    if not is_whole(axis) or not -ndim <= axis < ndim:
        raise ValueError(f"{op}: axis is a whole number from {-ndim} to {ndim - 1} here, got {axis!r}")
    return int(axis) % ndim


@differentiable
def reshape(x, shape):
    """y = the entries of x in C order in another shape; one length may be −1        ∂L/∂x = reshape(∂L/∂y, x.shape)"""
    return x.reshape(shape)


@reshape.backward
def _(gy, x_shape):
    return reshape(gy, x_shape)


def flatten(x, start=1):
    """y = x with all axes from `start` on merged        (N, d₁, d₂, …) → (N, d₁·d₂·…) for start 1

    ∂L/∂x = reshape(∂L/∂y, x.shape)
    """
    check_arrays("flatten", x=x)
    if not is_whole(start) or not -x.ndim <= start <= x.ndim:
        raise ValueError(f"flatten: start is a whole number from {-x.ndim} to {x.ndim} here, got {start!r}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start:])))


def expand_dims(x, axis):
    """y = x with a new axis of length 1 at position `axis`        (N, C) → (N, 1, C) for axis 1

    ∂L/∂x = reshape(∂L/∂y, x.shape)
    """
    check_arrays("expand_dims", x=x)
    axis = one_axis("expand_dims", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x, axis=None):
    """y = x without its axes of length 1        (N, 1, C, 1) → (N, C), or → (N, C, 1) for axis 1

    axis, one or several, chooses among them. A longer axis is a ValueError.        ∂L/∂x = reshape(∂L/∂y, x.shape)
    """
    check_arrays("squeeze", x=x)
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else [
        one_axis("squeeze", a, x.ndim) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze: axis {axis} of shape {x.shape} is longer than 1")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@differentiable
def transpose(x, axes=None):
    """y[i_axes[0], i_axes[1], …] = x[i₀, i₁, …]; by default the axes are reversed.

    ∂L/∂x = transpose(∂L/∂y, inverse permutation)
    """
    if axes is not None and not (isinstance(axes, (tuple, list)) or getattr(axes, "ndim", 0) == 1):
        raise TypeError(f"transpose: axes must be a tuple, one number for each axis of {x.shape}, got {axes!r}")
    return x.transpose(axes)


@transpose.backward
def _(gy, axes):
    if axes is None:
        return transpose(gy)
    axes = [a % len(axes) for a in axes]
    return transpose(gy, tuple(sorted(range(len(axes)), key=axes.__getitem__)))


def swapaxes(x, a, b):
    """y = x with axes a and b exchanged        (N, T, C) → (N, C, T) for a = 1, b = 2

    ∂L/∂x = swapaxes(∂L/∂y, a, b)
    """
    check_arrays("swapaxes", x=x)
    axes, a, b = list(range(x.ndim)), one_axis("swapaxes", a, x.ndim), one_axis("swapaxes", b, x.ndim)
    axes[a], axes[b] = axes[b], axes[a]
    return transpose(x, tuple(axes))


@differentiable
def pad(x, widths, value=0.0):
    """y = x between constant entries: a b → v a b v v for widths ((1, 2),) and value v

    widths[i] = (before, after), the numbers of entries to add along axis i        ∂L/∂x = the inner part of ∂L/∂y
    """
    if np.ndim(widths) == 0 or len(widths) != x.ndim or not all(
            np.shape(w) == (2,) and is_whole(w[0]) and is_whole(w[1]) and min(w) >= 0 for w in widths):
        raise ValueError(f"pad: widths must be {x.ndim} pairs (before, after) of numbers ≥ 0, one for each axis of "
                         f"{x.shape}, got {widths}")
    return array_module(x).pad(x, widths, constant_values=value)


@pad.backward("x")
def _(gy, widths, x_shape):
    return gy[tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape, strict=True))]


def _list_of_arrays(op, xs):
    xs = list(xs) if np.iterable(xs) else []
    if not xs:
        raise TypeError(f"{op}: expected a list of at least one array")
    check_arrays(op, **{f"array {i}": x for i, x in enumerate(xs)})
    return xs


@differentiable
def _concat(axis, *xs):
    """y = xs[0], xs[1], … one after the other along `axis`"""
    return array_module(xs[0]).concatenate(xs, axis=axis)


@_concat.backward
def _(gy, axis, xs_shape):
    return tuple(split(gy, [shape[axis] for shape in xs_shape], axis))


@handle(_concat)
def concat(xs, axis=0):
    """y = xs[0], xs[1], … one after the other along `axis`        (N, A, C), (N, B, C) → (N, A + B, C) for axis 1

    All other lengths must agree.        ∂L/∂xs[k] = ∂L/∂y at the places of xs[k]
    """
    xs = _list_of_arrays("concat", xs)
    if xs[0].ndim == 0:
        raise ValueError("concat: single numbers have no axis to join along; use stack")
    return _concat(one_axis("concat", axis, xs[0].ndim), *xs)


def stack(xs, axis=0):
    """y[…, k, …] = xs[k], with k along a new axis        K arrays (N, C) → (K, N, C) for axis 0, (N, K, C) for axis 1

    All shapes must be equal.        ∂L/∂xs[k] = ∂L/∂y[…, k, …]
    """
    xs = _list_of_arrays("stack", xs)
    if len({x.shape for x in xs}) > 1:
        raise ValueError(f"stack: all shapes must be equal, got {[x.shape for x in xs]}")
    axis = one_axis("stack", axis, xs[0].ndim + 1)
    return concat([expand_dims(x, axis) for x in xs], axis)


def split(x, sizes, axis=0):
    """x cut into a list of parts along `axis`        (N, A + B, C) → (N, A, C), (N, B, C) for sizes [A, B] and axis 1

    sizes are lengths, which add up to that of the axis, or a number of equal parts. The inverse of concat.
    ∂L/∂x = the gradients of the parts, one after the other; 0 for a part that L does not read
    """
    check_arrays("split", x=x)
    axis = one_axis("split", axis, x.ndim)
    n = x.shape[axis]
    if is_whole(sizes):
        if sizes < 1 or n % sizes:
            raise ValueError(f"split: axis {axis} of {x.shape} cannot be cut into {sizes} equal parts")
        sizes = [n // sizes] * int(sizes)
    if not np.iterable(sizes) or not all(is_whole(size) and size >= 0 for size in sizes):
        raise ValueError(f"split: sizes are whole numbers ≥ 0, got {sizes}")
    if sum(sizes) != n:
        raise ValueError(f"split: sizes {sizes} sum to {sum(sizes)}, but axis {axis} of {x.shape} has length {n}")
    parts, start = [], 0
    for size in sizes:
        parts.append(x[(slice(None),) * axis + (slice(start, start + size),)])
        start += size
    return parts


def _as_index(index, x):
    """An index made of plain numbers, slices, None, … and arrays. NumPy reads every other sequence as an array.
    (A tuple is an index with several parts. A tuple inside it is a sequence like any other.)"""
    if isinstance(index, tuple):
        return tuple([_as_part(part, x) for part in index])
    return _as_part(index, x)


def _as_part(part, x):
    if part is None or part is ... or isinstance(part, (slice, int)):
        return part
    part = data_of(part)
    if is_array(part):
        array = part
    else:
        try:
            array = np.array(part)
        except (TypeError, ValueError) as error:
            raise TypeError(f"getitem: {error}") from error
        array = to_device_of(array if array.size else array.astype(int), data_of(x))
    if array.dtype.kind not in "biu":
        raise TypeError(f"getitem: only integers, booleans, slices, None and … make an index, got {kind_of(part)} of "
                        f"{array.dtype}")
    return array


@differentiable
def _getitem(x, index):
    """y = x[index]"""
    return x[index]


@_getitem.backward("x")
def _(gy, index, x_shape):
    return scatter(gy, index, x_shape)


@handle(_getitem)
def getitem(x, index):
    """y = x[index]: slices, integers, integer arrays or sequences of integers, one boolean mask, None, ….

    ∂L/∂x = scatter(∂L/∂y, index, x.shape): an entry that is read twice gets the sum.
    """
    check_arrays("getitem", x=x)
    return _getitem(x, _as_index(index, x))


@differentiable
def scatter(y, index, shape):
    """x = zeros(shape), then x[index] += y, added up where an index occurs more than once: the adjoint of getitem.

    ∂L/∂y = ∂L/∂x[index]

    >>> scatter(np.array([1.0, 2.0, 3.0]), np.array([0, 2, 0]), (4,))
    array([4., 0., 2., 0.])
    """
    xp, index = array_module(y), _as_index(index, y)
    x = xp.zeros(shape, dtype=y.dtype)
    if xp is np and y.shape != _shape_of_part(index, x):  # counting a mask on a GPU would make us wait
        raise ValueError(f"scatter: in zeros of shape {x.shape} the index picks a part of shape "
                         f"{_shape_of_part(index, x)}, but y has shape {y.shape}")
    if _reads_once(index):
        x[index] = y
    else:
        xp.add.at(x, index, y)
    return x


@scatter.backward("y")
def _(gx, index):
    return getitem(gx, index)


def _reads_once(index):
    """Whether an index cannot name an entry twice: slices, single integers, None, …, and masks."""
    parts = index if isinstance(index, tuple) else (index,)
    return not any(getattr(p, "ndim", 0) and p.dtype.kind != "b" for p in parts)


def _shape_of_part(index, x):
    """The shape of x[index], read off a view, which costs nothing, or known if the index is one array of integers."""
    if is_array(index) and index.dtype.kind != "b":
        return (*index.shape, *x.shape[1:])
    return np.broadcast_to(np.int8(0), x.shape)[index].shape


@differentiable
def flip(x, axis):
    """y = x in reverse order along an axis, or several: a b c → c b a        ∂L/∂x = flip(∂L/∂y, axis)"""
    return array_module(x).flip(x, axis)


@flip.backward("x")
def _(gy, axis):
    return flip(gy, axis)


def repeat(x, repeats, axis):
    """y = each entry `repeats` times in a row along `axis`: a b c → a a b b c c

    (N, C) → (N, repeats·C) for axis 1        ∂L/∂x = the sum of ∂L/∂y over the copies
    """
    check_arrays("repeat", x=x)
    axis = one_axis("repeat", axis, x.ndim)
    if not is_whole(repeats) or repeats < 0:
        raise ValueError(f"repeat: repeats is a whole number ≥ 0, got {repeats!r}")
    before, n, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1:]
    copies = broadcast_to(reshape(x, (*before, n, 1, *after)), (*before, n, repeats, *after))
    return reshape(copies, (*before, n * repeats, *after))


def tile(x, counts):
    """y = the whole array counts[i] times along axis i: a b c → a b c a b c

    (N, C) → (counts[0]·N, counts[1]·C)        ∂L/∂x = the sum of ∂L/∂y over the copies
    """
    check_arrays("tile", x=x)
    if np.shape(counts) != (x.ndim,) or not all(is_whole(count) and count >= 0 for count in counts):
        raise ValueError(f"tile: counts are whole numbers ≥ 0, one for each axis of {x.shape}, got {counts}")
    apart = tuple(n for size in x.shape for n in (1, size))
    copies = tuple(n for count, size in zip(counts, x.shape, strict=True) for n in (count, size))
    return reshape(broadcast_to(reshape(x, apart), copies),
                   tuple(count * size for count, size in zip(counts, x.shape, strict=True)))
