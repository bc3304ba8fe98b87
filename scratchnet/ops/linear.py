"""Matrix products: matmul, dense (a whole layer in one node), embedding (a product with one-hot rows)."""

import math

import numpy as np

from scratchnet.autograd import check_arrays, data_of, differentiable, handle, sum_to
from scratchnet.autograd.accumulate import product_into_destination
from scratchnet.backend import array_module, is_array, kind_of
from scratchnet.backend.products import matrix_product
from scratchnet.ops.shape import getitem, reshape, swapaxes, transpose


@differentiable(broadcasts=True)
def _matmul(a, b):
    """y = a b        (…, n, k) (…, k, m) → (…, n, m)"""
    return a @ b


@_matmul.backward("a")
def _(gy, b):
    return gy @ swapaxes(b, -1, -2)


@_matmul.backward("b")
def _(gy, a, b_shape):
    if len(b_shape) == 2:  # one b for the whole batch: one product over all rows, not a sum of products
        return transpose(_rows(a)) @ _rows(gy)
    return swapaxes(a, -1, -2) @ gy


@handle(_matmul)
def matmul(a, b):
    """y = a b over the last two axes, batched over the others; a vector counts as a row (left) or a column (right).

    ∂L/∂a = ∂L/∂y bᵀ,  ∂L/∂b = aᵀ ∂L/∂y        (…, n, k) (…, k, m) → (…, n, m)
    """
    check_arrays("matmul", a=a, b=b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else -1]:
        raise ValueError(f"matmul: the last axis of a {a.shape} must be as long as the "
                         f"{'second-last axis' if b.ndim > 1 else 'axis'} of b {b.shape}")
    if a.ndim > 1 and b.ndim > 1:
        return _matmul(a, b)
    row = a if a.ndim > 1 else reshape(a, (1, *a.shape))
    column = b if b.ndim > 1 else reshape(b, (*b.shape, 1))
    y = _matmul(row, column)
    y = y if b.ndim > 1 else reshape(y, y.shape[:-1])
    return y if a.ndim > 1 else reshape(y, (*y.shape[:-1 - (b.ndim > 1)], *y.shape[y.ndim - (b.ndim > 1):]))


def _rows(x):
    """(…, n) → (·, n)"""
    return x if x.ndim == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


@differentiable
def dense(x, w, b=None):
    """y = x w + b        x (…, I), w (I, O), b (O,) → y (…, O)

    ∂L/∂x = ∂L/∂y wᵀ,  ∂L/∂w = xᵀ ∂L/∂y,  ∂L/∂b = Σ ∂L/∂y, each over all rows
    """
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[0] or (b is not None and b.shape != w.shape[1:]):
        raise ValueError(f"dense: x (…, I)={x.shape}, w (I, O)={w.shape}, b (O,)={None if b is None else b.shape} "
                         f"do not fit together")
    y = matrix_product(x.reshape(-1, x.shape[-1]) if x.size else x.reshape(math.prod(x.shape[:-1]), w.shape[0]), w)
    if b is not None:
        y = y + b if b.dtype != y.dtype else array_module(y).add(y, b, out=y)
    return y.reshape(*x.shape[:-1], w.shape[1])


@dense.backward("x")
def _(gy, w):
    return dense(gy, transpose(w))


@dense.backward("w")
def _(gy, x):
    return product_into_destination(transpose(_rows(x)), _rows(gy))


@dense.backward("b")
def _(gy, b_shape):
    return sum_to(gy, b_shape)


def embedding(indices, w):
    """y = w[indices]        integers (…,) in 0 … V−1, w (V, D) → y (…, D)

    ∂L/∂w[v] = Σ ∂L/∂y over all places that look up v
    The range is checked on the CPU only. On a GPU the check would wait for the device at each call.
    """
    indices = data_of(indices)
    if not is_array(indices) or indices.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices must be an array of integers, got "
                        f"{indices.dtype if is_array(indices) else kind_of(indices)}")
    check_arrays("embedding", w=w)
    if w.ndim < 1:
        raise ValueError(f"embedding: w must hold a row for each index, got shape {w.shape}")
    check_range("embedding: indices", indices, w.shape[0])
    return getitem(w, indices)


def check_range(what, indices, n):
    """ValueError unless all integers of a NumPy array lie in 0 … n−1. Arrays on a GPU are not checked."""
    if isinstance(indices, np.ndarray) and indices.size and (indices.min() < 0 or indices.max() >= n):
        raise ValueError(f"{what} must lie in 0 … {n - 1}, got {indices.min()} … {indices.max()}")
