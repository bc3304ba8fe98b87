"""Max-pooling with argmax and its way back, for windows that tile the image."""

import numpy as np
from numba import prange

from scratchnet import ops
from scratchnet.compiled.loops import f4, one, parallel, zero
from scratchnet.compiled.table import OTHER, SHAPES, form_of, plain
from scratchnet.ops.windows import geometry, pair, transposed_size


@parallel
def max_pool(x, kh, kw, y, argmax):
    """y[n, p, q, c] = max_{i,j} x[n, p·kh + i, q·kw + j, c] and its place i·kw + j; the first of equals, a NaN first"""
    N, Ho, Wo, C = y.shape
    for n in prange(N):
        for p in range(Ho):
            for q in range(Wo):
                best, place = y[n, p, q], argmax[n, p, q]
                for c in range(C):
                    best[c] = x[n, p * kh, q * kw, c]
                    place[c] = 0
                for k in range(1, kh * kw):
                    window, k8 = x[n, p * kh + k // kw, q * kw + k % kw], np.uint8(k)
                    for c in range(C):
                        a, b = window[c], best[c]
                        wins = (a > b) | ((a != a) & (b == b))
                        best[c] = a if wins else b
                        place[c] = k8 if wins else place[c]


@parallel
def unpool(y, argmax, kh, kw, x):
    """x[n, p·kh + i, q·kw + j, c] = y[n, p, q, c] · [argmax[n, p, q, c] = i·kw + j]"""
    N, Ho, Wo, C = y.shape
    for n in prange(N):
        for p in range(Ho):
            for i in range(kh):
                for q in range(Wo):
                    value, place = y[n, p, q], argmax[n, p, q]
                    for j in range(kw):
                        to, k = x[n, p * kh + i, q * kw + j], np.uint8(i * kw + j)
                        for c in range(C):
                            to[c] = value[c] * (one if place[c] == k else zero)


@parallel
def pool_at(x, argmax, kh, kw, y):
    """y[n, p, q, c] = Σ_{i,j} x[n, p·kh + i, q·kw + j, c] · [argmax[n, p, q, c] = i·kw + j]"""
    N, Ho, Wo, C = y.shape
    for n in prange(N):
        for p in range(Ho):
            for q in range(Wo):
                total, place = y[n, p, q], argmax[n, p, q]
                for c in range(C):
                    total[c] = zero
                for i in range(kh):
                    for j in range(kw):
                        window, k = x[n, p * kh + i, q * kw + j], np.uint8(i * kw + j)
                        for c in range(C):
                            total[c] += window[c] * (one if place[c] == k else zero)


# ---------------------------------------------------------------- where they stand in

def _tiles(op, image, size, stride, padding):
    """(kernel, (Ho, Wo)) of windows that tile the images without a rest; None for others."""
    kernel = pair(op, "size", size)
    stride, pads, out = geometry(op, image, kernel, kernel if stride is None else stride, padding)
    tiles = (stride == kernel and pads == ((0, 0), (0, 0)) and np.prod(kernel) <= 256
             and tuple(image) == (kernel[0] * out[0], kernel[1] * out[1]))
    return (kernel, out) if tiles else None


def _is_argmax(argmax, shape, kernel):
    return (type(argmax) is np.ndarray and argmax.dtype == np.uint8 and argmax.flags.c_contiguous
            and argmax.shape == shape and (not argmax.size or argmax.max() < np.prod(kernel)))


@form_of(ops.max_pool_with_argmax, least=0)
def _(x, size, stride, padding):
    if not plain(x):
        return OTHER
    tiles = x.ndim == 4 and x.size and _tiles("max_pool_with_argmax", x.shape[1:3], size, stride, padding)
    if not tiles:
        return SHAPES
    kernel, out = tiles
    y = np.empty((len(x), *out, x.shape[3]), f4)
    argmax = np.empty(y.shape, np.uint8)
    max_pool(x, *kernel, y, argmax)
    return y, argmax


@form_of(ops.unpool, least=0)
def _(y, argmax, size, stride, padding, output_size):
    if not plain(y):
        return OTHER
    if y.ndim != 4 or not y.size:
        return SHAPES
    kernel = pair("unpool", "size", size)
    out = transposed_size("unpool", y.shape[1:3], kernel, kernel if stride is None else stride, padding, output_size)
    tiles = _tiles("unpool", out, size, stride, padding)
    if not tiles or tiles[1] != y.shape[1:3] or not _is_argmax(argmax, y.shape, kernel):
        return SHAPES
    x = np.empty((len(y), *out, y.shape[3]), f4)
    unpool(y, argmax, *kernel, x)
    return x


@form_of(ops.pool_at, least=0)
def _(x, argmax, size, stride, padding):
    if not plain(x):
        return OTHER
    tiles = x.ndim == 4 and x.size and _tiles("pool_at", x.shape[1:3], size, stride, padding)
    if not tiles or not _is_argmax(argmax, (len(x), *tiles[1], x.shape[3]), tiles[0]):
        return SHAPES
    y = np.empty(argmax.shape, f4)
    pool_at(x, argmax, *tiles[0], y)
    return y
