"""Convolution in two dimensions and its two adjoints.

    y = conv2d(x, w)            y[n,p,q,o] = Σ_{i,j,c} x[n, p·s+i−top, q·s+j−left, c] · w[i,j,c,o]
    x = conv2d_transpose(y, w)  x[n, p·s+i−top, q·s+j−left, c] += y[n,p,q,o] · w[i,j,c,o]
    w = conv2d_weight(x, y)     w[i,j,c,o] = Σ_{n,p,q} x[n, p·s+i−top, q·s+j−left, c] · y[n,p,q,o]

All three come from one trilinear form, Σ x y w; each leaves out one factor. So each is the gradient of the others:
⟨conv2d(x, w), y⟩ = ⟨x, conv2d_transpose(y, w)⟩ = ⟨w, conv2d_weight(x, y)⟩        (Dumoulin & Visin 2016, chapter 4)

Images are (N, H, W, C), kernels (kh, kw, C, O) for all three. As in all deep learning, "convolution" does not flip w.

A convolution is computed as a matrix product, either after copying every window of x into a row ("unfold", im2col), or
before adding every row of the product into its window ("fold", col2im). Most of the time goes into copying. With stride
1 a convolution is also a transposed convolution with the kernel flipped; if y has far fewer channels than x, folding is
faster. For 3×3 kernels with many channels on both sides, winograd.py needs fewer multiplications.
"""

import math

from scratchnet.autograd import differentiable, sum_to
from scratchnet.backend import array_module
from scratchnet.backend.forms import replaceable
from scratchnet.backend.threads import each, total
from scratchnet.ops.windows import blocks, border, geometry, pair, result_type, transposed_size, unfold, window_views
from scratchnet.ops.winograd import winograd, winograd_weight


@differentiable(cache=("columns",))
def conv2d(x, w, b=None, stride=1, padding="same"):
    """y[n,p,q,o] = b[o] + Σ_{i,j,c} x[n, p·s+i−top, q·s+j−left, c] · w[i,j,c,o]

    x (N, H, W, C), w (kh, kw, C, O), b (O,) → y (N, Ho, Wo, O)

    stride    an int or (rows, columns)
    padding   "same": Ho = ⌈H/s⌉, zeros on both sides, one more below and right if their number is odd (as in
              TensorFlow); "valid": none, Ho = ⌊(H − kh)/s⌋ + 1; an int; or ((top, bottom), (left, right))

    ∂L/∂x = conv2d_transpose(∂L/∂y, w),  ∂L/∂w = conv2d_weight(x, ∂L/∂y),  ∂L/∂b = Σ_{n,p,q} ∂L/∂y

    >>> conv2d(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)))[0, :, :, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    _check_images("conv2d", x=x)
    if w.ndim != 4 or w.shape[2] != x.shape[3]:
        raise ValueError(f"conv2d: x has {x.shape[3]} channels (N,H,W,C)={x.shape} but w expects "
                         f"{w.shape[2] if w.ndim == 4 else '?'} (kh,kw,C,O)={w.shape}")
    _check_bias("conv2d", b, w.shape[3])
    stride, pads, size = geometry("conv2d", x.shape[1:3], w.shape[:2], stride, padding)
    kh, kw, c, o = w.shape
    if kh * kw * c <= o:  # few columns: keeping them for the weight gradient costs less than making them again
        columns = array_module(x).empty((len(x), *size, kh, kw * c), dtype=x.dtype)
        return unfold_product(x, w, b, stride, pads, size, columns), columns
    return correlate(x, w, b, stride, pads, size), None


@conv2d.backward("x")
def _(gy, w, x_shape, stride, padding):
    return conv2d_transpose(gy, w, None, stride, padding, x_shape[1:3])


@conv2d.backward("w")
def _(gy, x, w_shape, stride, padding, columns):
    if columns is not None:
        return _sum_of_products(lambda part: columns[part], gy, w_shape)
    return conv2d_weight(x, gy, w_shape[:2], stride, padding)


@conv2d.backward("b")
def _(gy, b_shape):
    return sum_to(gy, b_shape)


@differentiable
def conv2d_transpose(y, w, b=None, stride=1, padding="same", output_size=None):
    """x[n, p·s+i−top, q·s+j−left, c] = b[c] + Σ y[n,p,q,o] · w[i,j,c,o], over all p, q, i, j, o that land there

    y (N, Ho, Wo, O), w (kh, kw, C, O), b (C,) → x (N, H, W, C)

    This is the adjoint of conv2d with the same w, stride and padding, so a decoder can share its encoder's kernels.
    conv2d takes several sizes (H, W) to the same (Ho, Wo); output_size chooses one. By default, H is s·Ho for "same",
    and the smallest possible, s·(Ho − 1) + kh − top − bottom, for any other padding.

    ∂L/∂y = conv2d(∂L/∂x, w),  ∂L/∂w = conv2d_weight(∂L/∂x, y),  ∂L/∂b = Σ_{n,h,w} ∂L/∂x
    """
    _check_images("conv2d_transpose", y=y)
    if w.ndim != 4 or w.shape[3] != y.shape[3]:
        raise ValueError(f"conv2d_transpose: y has {y.shape[3]} channels (N,Ho,Wo,O)={y.shape} but w expects "
                         f"{w.shape[3] if w.ndim == 4 else '?'} (kh,kw,C,O)={w.shape}")
    _check_bias("conv2d_transpose", b, w.shape[2])
    kh, kw, c, o = w.shape
    out = transposed_size("conv2d_transpose", y.shape[1:3], (kh, kw), stride, padding, output_size)
    stride, pads, size = geometry("conv2d_transpose", out, (kh, kw), stride, padding)
    if size != y.shape[1:3]:
        raise ValueError(f"conv2d_transpose: output_size {tuple(out)} is convolved to {size}, not to the size of "
                         f"y (N,Ho,Wo,O)={y.shape}, with kernel {(kh, kw)}, stride {stride}, padding {padding!r}")
    if stride == (1, 1) and _can_flip(pads, (kh, kw)):
        return correlate(y, _flip(w), b, stride, _flipped_pads(pads, (kh, kw)), out)
    return fold_product(y, w, b, stride, pads, out)


@conv2d_transpose.backward("y")
def _(gx, w, stride, padding):
    return conv2d(gx, w, None, stride, padding)


@conv2d_transpose.backward("w")
def _(gx, y, w_shape, stride, padding):
    return conv2d_weight(gx, y, w_shape[:2], stride, padding)


@conv2d_transpose.backward("b")
def _(gx, b_shape):
    return sum_to(gx, b_shape)


@differentiable
def conv2d_weight(x, y, kernel, stride=1, padding="same"):
    """w[i,j,c,o] = Σ_{n,p,q} x[n, p·s+i−top, q·s+j−left, c] · y[n,p,q,o]

    x (N, H, W, C), y (N, Ho, Wo, O), kernel (kh, kw) → w (kh, kw, C, O)

    ∂L/∂x = conv2d_transpose(y, ∂L/∂w),  ∂L/∂y = conv2d(x, ∂L/∂w)
    """
    _check_images("conv2d_weight", x=x, y=y)
    kernel = pair("conv2d_weight", "kernel", kernel)
    stride, pads, size = geometry("conv2d_weight", x.shape[1:3], kernel, stride, padding)
    if y.shape[:3] != (len(x), *size):
        raise ValueError(f"conv2d_weight: x (N,H,W,C)={x.shape} with kernel {tuple(kernel)}, stride {stride}, padding "
                         f"{padding!r} goes with y (N,Ho,Wo,O)={(len(x), *size, 'O')}, got {y.shape}")
    c, o = x.shape[3], y.shape[3]
    if way((*kernel, c, o), stride, pads) == "winograd":
        return winograd_weight(x, y, pads)
    if stride == (1, 1) and o < c and _can_flip(pads, kernel):  # windows of y are fewer numbers to copy
        return _flip(weight_product(y, x, kernel, stride, _flipped_pads(pads, kernel)))
    return weight_product(x, y, kernel, stride, pads)


@conv2d_weight.backward("x")
def _(gw, y, x_shape, stride, padding):
    return conv2d_transpose(y, gw, None, stride, padding, x_shape[1:3])


@conv2d_weight.backward("y")
def _(gw, x, stride, padding):
    return conv2d(x, gw, None, stride, padding)


# ---------------------------------------------------------------- which way

def way(w_shape, stride, pads):
    """The fastest way to compute a convolution; `python -m benchmarks.kernels` measures the three side by side."""
    kh, kw, c, o = w_shape
    if stride == (1, 1) and kh == kw == 3 and min(c, o) >= 32:
        return "winograd"
    return "fold" if stride == (1, 1) and 4 * o <= c and _can_flip(pads, (kh, kw)) else "unfold"


def correlate(x, w, b, stride, pads, size, by=None):
    """conv2d, in the fastest way or in the given one."""
    by = by or way(w.shape, stride, pads)
    if by == "winograd":
        return winograd(x, w, b, pads, size)
    if by == "fold":
        return fold_product(x, _flip(w), b, stride, _flipped_pads(pads, w.shape[:2]), size)
    return unfold_product(x, w, b, stride, pads, size)


# ---------------------------------------------------------------- windows to rows, rows to windows
# Each works in several threads, on a few images at a time, so that the copies stay in the cache.

@replaceable
def unfold_product(x, w, b, stride, pads, size, columns=None):
    """conv2d: windows of x as rows, times w.        (M, kh·kw·C) (kh·kw·C, O) → (M, O)

    The rows are left in columns (N, Ho, Wo, kh, kw·C) if it is given."""
    kernel, rows, xp = w.shape[:2], w.reshape(-1, w.shape[3]), array_module(x)
    y = xp.empty((len(x), *size, w.shape[3]), dtype=result_type(x, w, b))

    def work(part):
        here = unfold(border(x[part], pads), kernel, stride, size, None if columns is None else columns[part])
        xp.matmul(here.reshape(-1, len(rows)), rows, out=y[part].reshape(-1, w.shape[3]))
        if b is not None:
            y[part] += b
    each(work, blocks(x, math.prod(size) * sum(rows.shape)))
    return y


@replaceable
def fold_product(y, w, b, stride, pads, size):
    """conv2d_transpose: rows of y times wᵀ, added into the windows of x.        (M, O) (O, kh·kw·C) → (M, kh·kw·C)"""
    (kh, kw, c, o), (top, bottom), (left, right) = w.shape, *pads
    rows, xp = w.transpose(3, 0, 1, 2).reshape(o, -1), array_module(y)
    x = xp.empty((len(y), *size, c), dtype=result_type(y, w, b))

    def work(part):
        products = (y[part].reshape(-1, o) @ rows).reshape(*y[part].shape[:3], kh, kw, c)
        padded = xp.zeros((len(products), size[0] + top + bottom, size[1] + left + right, c), dtype=x.dtype)
        for i, j, window in window_views(padded, (kh, kw), stride, y.shape[1:3]):
            window += products[:, :, :, i, j]
        inner = padded[:, top:top + size[0], left:left + size[1]]
        x[part] = inner if b is None else inner + b
    each(work, blocks(y, math.prod(y.shape[1:3]) * sum(rows.shape)))
    return x


@replaceable
def weight_product(x, y, kernel, stride, pads):
    """conv2d_weight: windows of x as rows, transposed, times y.        (kh·kw·C, M) (M, O) → (kh·kw·C, O)"""
    return _sum_of_products(lambda part: unfold(border(x[part], pads), kernel, stride, y.shape[1:3]), y,
                            (*kernel, x.shape[3], y.shape[3]))


def _sum_of_products(columns_of, y, w_shape):
    """Σ columnsᵀ y over parts of the batch, where columns_of(part) gives the windows as rows."""
    height = math.prod(w_shape[:3])

    def work(part):
        return columns_of(part).reshape(-1, height).T @ y[part].reshape(-1, w_shape[3])
    return total(work, blocks(y, math.prod(y.shape[1:3]) * (height + w_shape[3]))).reshape(w_shape)


def _flip(w):
    """The kernel of the same map read the other way: rotated by 180°, with C and O exchanged."""
    return array_module(w).ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))


def _flipped_pads(pads, kernel):
    return tuple((k - 1 - before, k - 1 - after) for (before, after), k in zip(pads, kernel, strict=True))


def _can_flip(pads, kernel):
    return all(max(pair) < k for pair, k in zip(pads, kernel, strict=True))


def _check_images(op, **images):
    for name, x in images.items():
        if x.ndim != 4 or min(x.shape) < 1:
            raise ValueError(f"{op}: {name} must be images (N, H, W, C) with no empty axis, got shape {x.shape}")
        if x.dtype.kind not in "fc":
            raise TypeError(f"{op}: {name} must be floating-point, got {x.dtype}")


def _check_bias(op, b, channels):
    if b is not None and b.shape != (channels,):
        raise ValueError(f"{op}: b must have one entry for each of the {channels} output channels, got shape {b.shape}")
