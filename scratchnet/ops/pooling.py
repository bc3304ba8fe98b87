"""Pooling over windows, and the way back: max-pool with argmax ↔ unpool, average ↔ spread.

max_pool_with_argmax reads the winner of each window: y = S x, where S is a matrix of zeros and ones that selects the
winners. The argmax is S, written down. So the gradient is Sᵀ ∂L/∂y, which is `unpool`. The gradient of unpool is S
again, which is `pool_at`. Nothing else is kept.

Images are (N, H, W, C). argmax (N, Ho, Wo, C) holds each winner's place in its window, i·kw + j, in the smallest
unsigned dtype that fits. The first entry wins a tie, and a NaN wins over all numbers. S is applied by multiplying with
zeros and ones, so an infinite entry makes its window NaN.
"""

import math

import numpy as np

from scratchnet.autograd import check_arrays, differentiable, handle
from scratchnet.backend import array_module
from scratchnet.backend.forms import replaceable
from scratchnet.backend.threads import each
from scratchnet.ops.windows import blocks, border, geometry, pair, transposed_size, window_views


@differentiable(extras=("argmax",))
def max_pool_with_argmax(x, size=2, stride=None, padding="valid"):
    """y[n,p,q,c] = max_{i,j} x[n, p·s+i−top, q·s+j−left, c], and its place i·kw + j in the window

    x (N, H, W, C) → y, argmax (N, Ho, Wo, C)        size, stride: int or pair; stride=None means stride = size

    ∂L/∂x = unpool(∂L/∂y, argmax)        (Zeiler & Fergus 2014, section 2.1, call the argmax "switches")

    >>> y, argmax = max_pool_with_argmax(np.array([[[[1.0], [4.0]], [[2.0], [3.0]]]]))
    >>> y.item(), argmax.item()
    (4.0, 1)
    """
    kernel, stride, pads, out = _geometry("max_pool_with_argmax", x, size, stride, padding)
    _check_windows("max_pool_with_argmax", x.shape[1:3], kernel, stride, pads, out)
    if pads != ((0, 0), (0, 0)) and x.dtype.kind != "f":
        raise TypeError(f"max_pool_with_argmax: the padding is −∞, so x must be floating-point, got {x.dtype}")
    return winners(x, kernel, stride, pads, out)


@max_pool_with_argmax.backward("x")
def _(gy, argmax, size, stride, padding, x_shape):
    return unpool(gy, argmax, size, stride, padding, x_shape[1:3])


@handle(max_pool_with_argmax)
def max_pool(x, size=2, stride=None, padding="valid"):
    """y = max_pool_with_argmax(x, …) without the argmax        x (N, H, W, C) → y (N, Ho, Wo, C)"""
    check_arrays("max_pool", x=x)
    return max_pool_with_argmax(x, size, stride, padding)[0]


@differentiable
def unpool(y, argmax, size=2, stride=None, padding="valid", output_size=None):
    """x = Sᵀ y: each y at the place that argmax names, zeros elsewhere, the sum where windows overlap

    y, argmax (N, Ho, Wo, C) → x (N, H, W, C). output_size (H, W) as in conv2d_transpose.

    ∂L/∂y = pool_at(∂L/∂x, argmax)

    >>> unpool(np.full((1, 1, 1, 1), 4.0), np.full((1, 1, 1, 1), 1, dtype=np.uint8))[0, :, :, 0]
    array([[0., 4.],
           [0., 0.]])
    """
    out, kernel, stride, pads = _geometry_back("unpool", y, size, stride, padding, output_size)
    _check_windows("unpool", out, kernel, stride, pads, y.shape[1:3])
    _check_switches("unpool", y.shape, argmax, kernel)
    return into_windows(y, kernel, stride, pads, out, argmax)


@unpool.backward("y")
def _(gx, argmax, size, stride, padding):
    return pool_at(gx, argmax, size, stride, padding)


@differentiable
def pool_at(x, argmax, size=2, stride=None, padding="valid"):
    """y = S x: the entry of each window that argmax names

    x (N, H, W, C), argmax (N, Ho, Wo, C) → y (N, Ho, Wo, C)        ∂L/∂x = unpool(∂L/∂y, argmax)
    """
    kernel, stride, pads, out = _geometry("pool_at", x, size, stride, padding)
    _check_windows("pool_at", x.shape[1:3], kernel, stride, pads, out)
    _check_switches("pool_at", (len(x), *out, x.shape[3]), argmax, kernel)
    return from_windows(x, kernel, stride, pads, out, argmax)


@pool_at.backward("x")
def _(gy, argmax, size, stride, padding, x_shape):
    return unpool(gy, argmax, size, stride, padding, x_shape[1:3])


# ---------------------------------------------------------------- averages

def avg_pool(x, size=2, stride=None, padding="valid"):
    """y = the mean over each window, not counting the padding

    x (N, H, W, C) → y (N, Ho, Wo, C)        ∂L/∂x = window_spread(∂L/∂y / number of entries)
    """
    check_arrays("avg_pool", x=x)
    total = window_sum(x, size, stride, padding)
    kernel, stride, pads, out = _geometry("avg_pool", x, size, stride, padding)
    _check_windows("avg_pool", x.shape[1:3], kernel, stride, pads, out)
    ones = array_module(total.data).ones((1, *x.shape[1:3], 1), dtype=x.dtype)
    return total / window_sum(ones, kernel, stride, pads)


def upsample_nearest(x, factor=2):
    """y = each entry repeated over a window of `factor` (int or pair)        (N, H, W, C) → (N, H·f, W·f, C)

    ∂L/∂x = window_sum(∂L/∂y, factor)
    """
    return window_spread(x, pair("upsample_nearest", "factor", factor))


@differentiable
def window_sum(x, size=2, stride=None, padding="valid"):
    """y[n,p,q,c] = Σ_{i,j} x[n, p·s+i−top, q·s+j−left, c]

    x (N, H, W, C) → y (N, Ho, Wo, C)        ∂L/∂x = window_spread(∂L/∂y)
    """
    kernel, stride, pads, out = _geometry("window_sum", x, size, stride, padding)
    return from_windows(x, kernel, stride, pads, out)


@window_sum.backward("x")
def _(gy, size, stride, padding, x_shape):
    return window_spread(gy, size, stride, padding, x_shape[1:3])


@differentiable
def window_spread(y, size=2, stride=None, padding="valid", output_size=None):
    """x = each y added to all entries of its window: the adjoint of window_sum

    y (N, Ho, Wo, C) → x (N, H, W, C). output_size (H, W) as in conv2d_transpose.        ∂L/∂y = window_sum(∂L/∂x)
    """
    out, kernel, stride, pads = _geometry_back("window_spread", y, size, stride, padding, output_size)
    return into_windows(y, kernel, stride, pads, out)


@window_spread.backward("y")
def _(gx, size, stride, padding):
    return window_sum(gx, size, stride, padding)


# ---------------------------------------------------------------- over the windows, a few images at a time, in threads

@replaceable
def winners(x, kernel, stride, pads, out):
    """y, argmax: the largest entry of each window and its place; −∞ beyond the border, and a NaN wins."""
    xp = array_module(x)
    y = xp.empty((len(x), *out, x.shape[3]), dtype=x.dtype)
    argmax = xp.zeros(y.shape, dtype=_switch_dtype(kernel))

    def work(part):
        best, place = y[part], argmax[part]
        for i, j, window in window_views(border(x[part], pads, -xp.inf), kernel, stride, out):
            if i == j == 0:
                best[...] = window
                continue
            better = (window > best).astype(place.dtype)
            place *= 1 - better  # without a branch: the new place where it is better
            place += better * place.dtype.type(i * kernel[1] + j)
            xp.maximum(best, window, out=best)
        if xp is not np or np.isnan(best.max()):  # a GPU would make us wait for the answer
            _let_nan_win(x[part], place, kernel, stride, pads, out)
    each(work, blocks(x, x[0].size))
    return y, argmax


def _let_nan_win(x, place, kernel, stride, pads, out):
    """Write the place of the first NaN of each window that has one into `place`."""
    xp = array_module(x)
    for i, j, window in reversed(list(window_views(border(x, pads, -xp.inf), kernel, stride, out))):
        nan = xp.isnan(window).astype(place.dtype)
        place *= 1 - nan
        place += nan * place.dtype.type(i * kernel[1] + j)


@replaceable
def from_windows(x, kernel, stride, pads, out, argmax=None):
    """y = the sum over each window, or over the one entry that argmax names."""
    xp = array_module(x)
    y = xp.zeros((len(x), *out, x.shape[3]), dtype=x.dtype)

    def work(part):
        total = y[part]
        for i, j, window in window_views(border(x[part], pads), kernel, stride, out):
            total += window if argmax is None else window * (argmax[part] == i * kernel[1] + j)
    each(work, blocks(x, x[0].size))
    return y


@replaceable
def into_windows(y, kernel, stride, pads, out, argmax=None):
    """x = each y added to its window, or to the one entry that argmax names: the adjoint of from_windows."""
    xp, ((top, bottom), (left, right)) = array_module(y), pads
    alone = stride[0] >= kernel[0] and stride[1] >= kernel[1]  # windows do not overlap: nothing to add to
    size = (out[0] + top + bottom, out[1] + left + right)
    tiled = stride == kernel and size == (kernel[0] * y.shape[1], kernel[1] * y.shape[2])  # every entry is written
    x = (xp.empty if tiled else xp.zeros)((len(y), *size, y.shape[3]), dtype=y.dtype)

    def work(part):
        for i, j, window in window_views(x[part], kernel, stride, y.shape[1:3]):
            values = y[part] if argmax is None else y[part] * (argmax[part] == i * kernel[1] + j)
            if alone:
                window[...] = values
            else:
                window += values
    each(work, blocks(y, x[0].size))
    return x[:, top:top + out[0], left:left + out[1]]


# ---------------------------------------------------------------- argmax as TensorFlow writes it

def argmax_to_flat(argmax, image_shape, size=2, stride=None, padding="valid"):
    """argmax (N, Ho, Wo, C) as tf.nn.max_pool_with_argmax has it: places (h·W + w)·C + c in images (H, W, C), int64."""
    kernel, stride, pads, out, (h, w, c) = _image_geometry("argmax_to_flat", argmax, image_shape, size, stride, padding)
    _check_switches("argmax_to_flat", (len(argmax), *out, c), argmax, kernel)
    xp = array_module(argmax)
    rows, columns = xp.arange(out[0]) * stride[0] - pads[0][0], xp.arange(out[1]) * stride[1] - pads[1][0]
    row = argmax.astype("int64") // kernel[1] + rows[:, None, None]
    column = argmax.astype("int64") % kernel[1] + columns[:, None]
    return (row * w + column) * c + xp.arange(c)


def argmax_from_flat(flat, image_shape, size=2, stride=None, padding="valid"):
    """The inverse of argmax_to_flat: places i·kw + j in the window.

    PyTorch's indices (N, C, Ho, Wo) are h·W + w, counted within each channel: flat = C · indices.transpose(0, 2, 3, 1).
    """
    kernel, stride, pads, out, (h, w, c) = _image_geometry("argmax_from_flat", flat, image_shape, size, stride, padding)
    if flat.shape[1:] != (*out, c):
        raise ValueError(f"argmax_from_flat: with image (H,W,C)={(h, w, c)}, size {kernel}, stride {stride}, padding "
                         f"{padding!r} flat must have shape (N,Ho,Wo,C)={('N', *out, c)}, got {flat.shape}")
    xp, flat = array_module(flat), flat.astype("int64")
    rows, columns = xp.arange(out[0]) * stride[0] - pads[0][0], xp.arange(out[1]) * stride[1] - pads[1][0]
    i, j = flat // c // w - rows[:, None, None], flat // c % w - columns[:, None]
    if bool(((i < 0) | (i >= kernel[0]) | (j < 0) | (j >= kernel[1])).any()):
        raise ValueError(f"argmax_from_flat: some indices lie outside their window, with image (H,W,C)={(h, w, c)}, "
                         f"size {kernel}, stride {stride}, padding {padding!r}; expected (h·W + w)·C + c within each "
                         f"image (of PyTorch's h·W + w, pass C times as much)")
    return (i * kernel[1] + j).astype(_switch_dtype(kernel))


# ---------------------------------------------------------------- sizes

def _window_geometry(op, image, size, stride, padding):
    kernel = pair(op, "size", size)
    return kernel, *geometry(op, image, kernel, kernel if stride is None else stride, padding)


def _geometry_back(op, y, size, stride, padding, output_size):
    """The size (H, W) of images that are pooled to y (N, Ho, Wo, C), and kernel, stride, pads."""
    if y.ndim != 4:
        raise ValueError(f"{op}: y must be images (N, Ho, Wo, C), got shape {y.shape}")
    kernel = pair(op, "size", size)
    out = transposed_size(op, y.shape[1:3], kernel, kernel if stride is None else stride, padding, output_size)
    kernel, stride, pads, small = _window_geometry(op, out, kernel, stride, padding)
    if small != y.shape[1:3]:
        raise ValueError(f"{op}: output_size {tuple(out)} is pooled to {small}, not to the size of y "
                         f"(N,Ho,Wo,C)={y.shape}, with size {kernel}, stride {stride}, padding {padding!r}")
    return out, kernel, stride, pads


def _image_geometry(op, places, image_shape, size, stride, padding):
    """kernel, stride, pads, (Ho, Wo), (H, W, C) for an array of integers (N, Ho, Wo, C)."""
    check_arrays(op, **{op.removeprefix("argmax_to_").removeprefix("argmax_from_"): places})
    if places.ndim != 4 or places.dtype.kind not in "iu" or len(image_shape) != 3:
        raise ValueError(f"{op}: needs integers (N, Ho, Wo, C) and an image_shape (H, W, C), got {places.dtype} "
                         f"{places.shape} and {image_shape}")
    return *_window_geometry(op, image_shape[:2], size, stride, padding), tuple(image_shape)


def _check_windows(op, image, kernel, stride, pads, out):
    """ValueError if a window lies entirely in the padding: it has no largest entry and no mean."""
    for n, k, s, (before, _), count in zip(image, kernel, stride, pads, out, strict=True):
        if before >= k or (count - 1) * s - before >= n:
            raise ValueError(f"{op}: some windows hold nothing but padding: images of {tuple(image)}, size {kernel}, "
                             f"stride {stride}, padding {pads}")


def _geometry(op, x, size, stride, padding):
    if x.ndim != 4 or min(x.shape) < 1:
        raise ValueError(f"{op}: x must be images (N, H, W, C) with no empty axis, got shape {x.shape}")
    return _window_geometry(op, x.shape[1:3], size, stride, padding)


def _switch_dtype(kernel):
    places = kernel[0] * kernel[1]
    return "uint8" if places <= 256 else "uint16" if places <= 65536 else "uint32"


def _check_switches(op, shape, argmax, kernel):
    places = math.prod(kernel)
    if shape != argmax.shape or argmax.dtype.kind not in "iu":
        raise ValueError(f"{op}: needs integer switches argmax of shape (N,Ho,Wo,C)={shape}, "
                         f"got {argmax.dtype} {argmax.shape}")
    if isinstance(argmax, np.ndarray) and argmax.size and not 0 <= argmax.min() <= argmax.max() < places:
        raise ValueError(f"{op}: argmax holds {argmax.min()} … {argmax.max()}, but the places of a window are 0 … "
                         f"{places - 1}; flat places in an image, as in TensorFlow and PyTorch, are converted by "
                         f"argmax_from_flat")
