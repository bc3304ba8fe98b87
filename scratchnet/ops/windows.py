"""Windows over images: their places, and the number of images to work on at a time."""

import numpy as np

from scratchnet.backend import array_module, is_whole
from scratchnet.backend.threads import count

BLOCK_BYTES = 2 << 20  # images are worked on a few at a time, so that their windows stay in the cache


def window_views(x, kernel, stride, size):
    """For each place (i, j) in a window, the view of x (N, H, W, C) that holds that entry of all windows:
    x[n, p·s+i, q·s+j, c] as (N, Ho, Wo, C)."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows = slice(i, i + stride[0] * (size[0] - 1) + 1, stride[0])
            columns = slice(j, j + stride[1] * (size[1] - 1) + 1, stride[1])
            yield i, j, x[:, rows, columns]


def blocks(x, entries_per_image):
    """Slices over the images, a few at a time, whose windows fill BLOCK_BYTES; all images at once on a GPU."""
    if array_module(x) is not np:
        return [slice(0, len(x))]
    n = -(-len(x) * entries_per_image * x.itemsize // BLOCK_BYTES)
    n = min(len(x), -(-n // count()) * count() if n > 1 else 1)  # an equal number for each thread
    return [slice(len(x) * k // n, len(x) * (k + 1) // n) for k in range(n)]


def result_type(x, w, b):
    """The dtype of x w + b, where b may be None."""
    return array_module(x).result_type(x, w, *(() if b is None else (b,)))


def unfold(x, kernel, stride, size, out=None):
    """Every window of x (N, H, W, C) as a row: (N, Ho, Wo, kh, kw·C), one copy of a strided view (im2col).

    The kw·C numbers of a window's row lie next to each other in x."""
    xp, (n, _, _, c), (kh, kw) = array_module(x), x.shape, kernel
    if x.strides[2:] != (c * x.itemsize, x.itemsize):  # axes swapped, or one of length 1 with a stride of its own
        x = x.copy()
    image, row, column, number = x.strides
    view = xp.lib.stride_tricks.as_strided(x, (n, *size, kh, kw * c),
                                           (image, stride[0] * row, stride[1] * column, row, number))
    out = xp.empty(view.shape, dtype=x.dtype) if out is None else out
    out[...] = view
    return out


def border(x, pads, value=0.0):
    """x (N, H, W, C) in a border of `value`, whose widths are pads, ((top, bottom), (left, right))."""
    (top, bottom), (left, right) = pads
    if not (top or bottom or left or right):
        return x
    n, h, w, c = x.shape
    padded = array_module(x).zeros((n, h + top + bottom, w + left + right, c), dtype=x.dtype)
    if value:
        padded[...] = value
    padded[:, top:top + h, left:left + w] = x
    return padded


def geometry(op, size, kernel, stride, padding):
    """(stride as a pair, ((top, bottom), (left, right)), (Ho, Wo)) for windows over images of `size` (H, W)."""
    stride, kernel = as_pair(stride), as_pair(kernel)
    if not (_are_sizes(stride) and _are_sizes(kernel)):
        raise ValueError(f"{op}: kernel {kernel} and stride {stride} must be pairs of whole numbers ≥ 1")
    if isinstance(padding, str) and padding == "same":
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
        pads = tuple((t // 2, t - t // 2) for t in total)
    else:
        pads = _explicit_pads(op, padding)
    out = tuple((n + sum(p) - k) // s + 1 for n, p, k, s in zip(size, pads, kernel, stride, strict=True))
    if min(out) < 1:
        raise ValueError(f"{op}: an image of {tuple(size)} with padding {padding!r} is smaller than the "
                         f"window {tuple(kernel)}")
    return stride, pads, out


def pair(op, name, value):
    """(rows, columns) from a whole number ≥ 1 or a pair of them; else a ValueError."""
    numbers = as_pair(value)
    if not _are_sizes(numbers):
        raise ValueError(f"{op}: {name} is a whole number ≥ 1 or a pair of them, got {value!r}")
    return numbers


def as_pair(value):
    """(n, n) for a number n; a pair as it is, with whole numbers as Python's own."""
    numbers = (value, value) if np.ndim(value) == 0 else value
    return tuple(int(n) if is_whole(n) else n for n in numbers)


def _are_sizes(numbers):
    return len(numbers) == 2 and all(is_whole(n) and n >= 1 for n in numbers)


def transposed_size(op, size, kernel, stride, padding, output_size):
    """output_size as (H, W), or by default the size that conv2d_transpose chooses."""
    if output_size is not None:
        return pair(op, "output_size", output_size)
    stride = pair(op, "stride", stride)
    if isinstance(padding, str) and padding == "same":
        return tuple(n * s for n, s in zip(size, stride, strict=True))
    pads = _explicit_pads(op, padding)
    return tuple((n - 1) * s + k - sum(p) for n, s, k, p in zip(size, stride, kernel, pads, strict=True))


def _explicit_pads(op, padding):
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if is_whole(padding) and padding >= 0:
        return ((int(padding),) * 2,) * 2
    try:
        (top, bottom), (left, right) = padding
        if all(is_whole(n) and n >= 0 for n in (top, bottom, left, right)):
            return (int(top), int(bottom)), (int(left), int(right))
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{op}: padding must be 'same', 'valid', an int ≥ 0 or ((top, bottom), (left, right)), "
                     f"got {padding!r}")
