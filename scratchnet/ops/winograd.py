"""Winograd's 3×3 convolution with stride 1: 36 multiplications for 16 results, where the plain way takes 144.

Cut the image into tiles of 6×6 that overlap by 2. With matrices A, B, G of small numbers, a tile d and the kernel g
give

    y = A [ (G g Gᵀ) ⊙ (B d Bᵀ) ] Aᵀ        4×4 results        (Lavin & Gray 2016, section 4.1: F(4×4, 3×3))

For all tiles and channels at once, ⊙ is 36 matrix products, (tiles, C) (C, O). With the rows of a tile laid out one
after another, each sandwich is one product with a Kronecker square: vec(B d Bᵀ) = (B ⊗ B) vec(d). The gradient with
respect to g reads the same trilinear form the other way: (G ⊗ G)ᵀ [ (B ⊗ B) d ]ᵀ [ (A ⊗ A)ᵀ ∂L/∂y ]. In float32
the rounding errors are about 1e-5 of the largest result.
"""

import math

import numpy as np

from scratchnet.backend import array_module, to_device_of
from scratchnet.backend.forms import replaceable
from scratchnet.backend.threads import each, total
from scratchnet.ops.windows import blocks, border, result_type

B = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
              [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
SQUARES = [np.kron(a, a) for a in (B, G, A)]  # (36, 36), (36, 9), (16, 36)


@replaceable
def winograd(x, w, b, pads, size):
    """conv2d of x (N, H, W, C) with w (3, 3, C, O) → (N, *size, O)"""
    BB, GG, AA = _squares(x)
    (_, _, c, o), xp = w.shape, array_module(x)
    y = xp.empty((len(x), *size, o), dtype=result_type(x, w, b))
    kernels = (GG @ w.reshape(9, -1)).reshape(36, c, o)

    def work(part):
        d = _tiles_of(x[part], pads, size)
        n, rows, columns = d.shape[2:5]
        products = (BB @ d.reshape(36, -1)).reshape(36, -1, c) @ kernels           # (36, tiles, O)
        results = (AA @ products.reshape(36, -1)).reshape(4, 4, n, rows, columns, o)
        image = xp.empty((n, rows, 4, columns, 4, o), dtype=y.dtype)
        xp.add(results.transpose(2, 3, 0, 4, 1, 5), 0.0 if b is None else b, out=image)
        y[part] = image.reshape(n, 4 * rows, 4 * columns, o)[:, :size[0], :size[1]]
    each(work, blocks(x, 36 * math.prod(_tile_counts(size)) * (c + o)))
    return y


@replaceable
def winograd_weight(x, y, pads):
    """conv2d_weight of x (N, H, W, C) and y (N, Ho, Wo, O) → (3, 3, C, O)"""
    BB, GG, AA = _squares(x)
    c, o, size, xp = x.shape[3], y.shape[3], y.shape[1:3], array_module(x)

    def work(part):
        d = _tiles_of(x[part], pads, size)
        n, rows, columns = d.shape[2:5]
        image = border(y[part], ((0, 4 * rows - size[0]), (0, 4 * columns - size[1])))
        results = xp.ascontiguousarray(image.reshape(n, rows, 4, columns, 4, o).transpose(2, 4, 0, 1, 3, 5))
        products = (AA.T @ results.reshape(16, -1)).reshape(36, -1, o)
        return (BB @ d.reshape(36, -1)).reshape(36, -1, c).swapaxes(1, 2) @ products
    found = total(work, blocks(x, 36 * math.prod(_tile_counts(size)) * (c + o)))
    return (GG.T @ found.reshape(36, -1)).reshape(3, 3, c, o)


def _squares(x):
    """B ⊗ B, G ⊗ G, A ⊗ A in the dtype and on the device of x."""
    return [to_device_of(square.astype(x.dtype), x) for square in SQUARES]


def _tile_counts(size):
    return [-(-n // 4) for n in size]


def _tiles_of(x, pads, size):
    """(6, 6, N, rows of tiles, columns of tiles, C): entry (i, j) of all tiles, with zeros beyond the border."""
    rows, columns = _tile_counts(size)
    (top, _), (left, _) = pads
    xp, (n, h, w, c) = array_module(x), x.shape
    padded = border(x, ((top, 4 * rows + 2 - top - h), (left, 4 * columns + 2 - left - w)))
    image, row, column, number = padded.strides
    return xp.ascontiguousarray(xp.lib.stride_tricks.as_strided(
        padded, (6, 6, n, rows, columns, c), (row, column, image, 4 * row, 4 * column, number)))
