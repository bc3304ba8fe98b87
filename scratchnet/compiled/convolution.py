"""Convolution as products of windows: unfolding, product and bias of a few images at a time, in one core's cache.

Each thread has a part of the images and `room` (T, …) to unfold them in, `block` images at a time. Windows of several
channels become rows (M, kh·kw·C), where each row of a window is one contiguous piece of the image. Windows of one
channel become planes (kh·kw, M), where each row of the image is.
"""

import math

import numpy as np
from numba import prange

from scratchnet import ops
from scratchnet.backend import threads
from scratchnet.compiled.blas import multiply
from scratchnet.compiled.loops import f4, one, parallel, serial, zero
from scratchnet.compiled.table import OTHER, SHAPES, form_of, plain
from scratchnet.ops import convolution
from scratchnet.ops.windows import geometry

BLOCK_BYTES = 768 << 10  # of unfolded windows
NO_BIAS = np.empty(0, f4)


@serial
def unfold(x, n, kh, kw, sh, sw, top, left, Ho, Wo, to, at):
    """to[at + …] = x[n, p·sh + i − top, q·sw + j − left, c] in the order p, q, i, j, c; zero beyond the border"""
    _, H, W, C = x.shape
    image, length = x[n].reshape(-1), kw * C
    for p in range(Ho):
        for q in range(Wo):
            w = q * sw - left
            first, last = max(0, -w) * C, min(kw, W - w) * C  # what of the window's rows lies in the image
            for i in range(kh):
                h = p * sh + i - top
                if 0 <= h < H:
                    start = (h * W + w) * C
                    for c in range(first):
                        to[at + c] = zero
                    for c in range(first, last):
                        to[at + c] = image[start + c]
                    for c in range(last, length):
                        to[at + c] = zero
                else:
                    for c in range(length):
                        to[at + c] = zero
                at += length


@serial
def inside(j, left, sw, W, Wo):
    """The first q and the one after the last for which q·sw + j − left lies in 0 … W − 1."""
    return max(0, -((j - left) // sw)), min(Wo, (W - 1 - j + left) // sw + 1)


@serial
def unfold_planes(x, n, kh, kw, sh, sw, top, left, Ho, Wo, to, M, at):
    """to[(i·kw + j) M + at + …] = x[n, p·sh + i − top, q·sw + j − left, 0] in the order p, q"""
    _, H, W, _ = x.shape
    for i in range(kh):
        for j in range(kw):
            d, (first, last) = (i * kw + j) * M + at, inside(j, left, sw, W, Wo)
            for p in range(Ho):
                h = p * sh + i - top
                if 0 <= h < H and first < last:
                    row = x[n, h, first * sw + j - left:, 0]
                    for q in range(first):
                        to[d + q] = zero
                    if sw == 1:
                        for q in range(last - first):
                            to[d + first + q] = row[q]
                    else:
                        for q in range(last - first):
                            to[d + first + q] = row[q * sw]
                    for q in range(last, Wo):
                        to[d + q] = zero
                else:
                    for q in range(Wo):
                        to[d + q] = zero
                d += Wo


@parallel
def unfold_product(x, w, b, y, kh, kw, sh, sw, top, left, block, room, T):
    """y[n, p, q, o] = b[o] + Σ_{i,j,c} x[n, p·sh + i − top, q·sw + j − left, c] w[i·kw·C + j·C + c, o]

    Of one channel, w may have one more row, the bias, which meets a plane of ones.
    """
    (N, Ho, Wo, O), (K, _), C = y.shape, w.shape, x.shape[3]
    for t in prange(T):
        end, to, image = N * (t + 1) // T, room[t], Ho * Wo
        for start in range(N * t // T, end, block):
            m = min(block, end - start)
            M, place = m * image, y.ctypes.data + 4 * start * image * O
            if C == 1:
                for n in range(m):
                    unfold_planes(x, start + n, kh, kw, sh, sw, top, left, Ho, Wo, to, M, n * image)
                for i in range(kh * kw * M, K * M):
                    to[i] = one
                multiply(True, False, M, O, K, to.ctypes.data, M, w.ctypes.data, O, zero, place, O)
            else:
                for n in range(m):
                    unfold(x, start + n, kh, kw, sh, sw, top, left, Ho, Wo, to, n * image * K)
                if b.size:
                    fill(y[start:start + m], b)
                multiply(False, False, M, O, K, to.ctypes.data, K, w.ctypes.data, O, one if b.size else zero, place, O)


@serial
def fill(x, b):
    """x[…, c] = b[c], or 0 without b"""
    N, H, W, C = x.shape
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    x[n, h, w, c] = b[c] if b.size else zero


@serial
def fold(rows, at, x, n, kh, kw, sh, sw, top, left, Ho, Wo):
    """x[n, p·sh + i − top, q·sw + j − left, c] += rows[at + …] in the order p, q, i, j, c: the adjoint of unfold"""
    _, H, W, C = x.shape
    image = x[n].reshape(-1)
    for p in range(Ho):
        for q in range(Wo):
            w = q * sw - left
            first, last = max(0, -w) * C, min(kw, W - w) * C
            for i in range(kh):
                h = p * sh + i - top
                if 0 <= h < H:
                    start = (h * W + w) * C
                    for c in range(first, last):
                        image[start + c] += rows[at + c]
                at += kw * C


@serial
def fold_planes(planes, M, at, x, n, kh, kw, sh, sw, top, left, Ho, Wo):
    """x[n, p·sh + i − top, q·sw + j − left, 0] += planes[(i·kw + j) M + at + …] in the order p, q"""
    _, H, W, _ = x.shape
    for i in range(kh):
        for j in range(kw):
            d, (first, last) = (i * kw + j) * M + at, inside(j, left, sw, W, Wo)
            for p in range(Ho):
                h = p * sh + i - top
                if 0 <= h < H and first < last:
                    row = x[n, h, first * sw + j - left:, 0]
                    if sw == 1:
                        for q in range(last - first):
                            row[q] += planes[d + first + q]
                    else:
                        for q in range(last - first):
                            row[q * sw] += planes[d + first + q]
                d += Wo


@parallel
def fold_product(y, w, b, x, kh, kw, sh, sw, top, left, block, room, T):
    """x[n, p·sh + i − top, q·sw + j − left, c] = b[c] + Σ of all y[n, p, q, o] w[o, i·kw·C + j·C + c] landing there"""
    (N, Ho, Wo, O), K, C = y.shape, w.shape[1], x.shape[3]
    for t in prange(T):
        end, products, image = N * (t + 1) // T, room[t], Ho * Wo
        for start in range(N * t // T, end, block):
            m = min(block, end - start)
            M, place = m * image, y.ctypes.data + 4 * start * image * O
            fill(x[start:start + m], b)
            if C == 1:  # (K, O) (O, M): a plane for each place in the window
                multiply(True, True, K, M, O, w.ctypes.data, K, place, O, zero, products.ctypes.data, M)
                for n in range(m):
                    fold_planes(products, M, n * image, x, start + n, kh, kw, sh, sw, top, left, Ho, Wo)
            else:
                multiply(False, False, M, K, O, place, O, w.ctypes.data, K, zero, products.ctypes.data, K)
                for n in range(m):
                    fold(products, n * image * K, x, start + n, kh, kw, sh, sw, top, left, Ho, Wo)


@parallel
def weight_product(x, y, kh, kw, sh, sw, top, left, block, room, parts, T):
    """parts[t, i·kw·C + j·C + c, o] = Σ x[n, p·sh + i − top, q·sw + j − left, c] y[n, p, q, o] over images of t"""
    (N, Ho, Wo, O), (_, K, _), C = y.shape, parts.shape, x.shape[3]
    for t in prange(T):
        end, to, image, sofar = N * (t + 1) // T, room[t], Ho * Wo, zero
        for start in range(N * t // T, end, block):
            m = min(block, end - start)
            M, place, total = m * image, y.ctypes.data + 4 * start * image * O, parts.ctypes.data + 4 * t * K * O
            if C == 1:
                for n in range(m):
                    unfold_planes(x, start + n, kh, kw, sh, sw, top, left, Ho, Wo, to, M, n * image)
                multiply(False, False, K, O, M, to.ctypes.data, M, place, O, sofar, total, O)
            else:
                for n in range(m):
                    unfold(x, start + n, kh, kw, sh, sw, top, left, Ho, Wo, to, n * image * K)
                multiply(True, False, K, O, M, to.ctypes.data, K, place, O, sofar, total, O)
            sofar = one


# ---------------------------------------------------------------- where they stand in

def _room(images, entries, T):
    """(how many images at a time, room for their windows in each thread)"""
    block = max(1, min(-(-images // T), BLOCK_BYTES // (4 * entries)))
    return block, np.empty((T, block * entries), f4)


@form_of(ops.conv2d, least=0)
def _(x, w, b, stride, padding):
    """Without keeping the unfolded windows for the gradient: unfolding again is as fast."""
    if not plain(x, w) or not (b is None or plain(b)):
        return OTHER
    if x.ndim != 4 or not x.size or w.ndim != 4 or w.shape[2] != x.shape[3]:
        return SHAPES
    if b is not None and b.shape != w.shape[3:]:
        return SHAPES
    stride, pads, size = geometry("conv2d", x.shape[1:3], w.shape[:2], stride, padding)
    return convolution.correlate(x, w, b, stride, pads, size), None


@form_of(convolution.unfold_product, least=0)
def _(x, w, b, stride, pads, size, columns=None):
    if not plain(x, w) or not (b is None or plain(b)):
        return OTHER
    if columns is not None:
        return SHAPES
    kh, kw, C, O = w.shape
    K, T = kh * kw * C, threads.count()
    y, w = np.empty((len(x), *size, O), f4), w.reshape(K, O)
    if C == 1 and b is not None:
        w, b, K = np.concatenate([w, b[None]]), None, K + 1
    block, room = _room(len(x), math.prod(size) * K, T)
    unfold_product(x, w, NO_BIAS if b is None else b, y, kh, kw, *stride, pads[0][0], pads[1][0], block, room, T)
    return y


@form_of(convolution.fold_product, least=0)
def _(y, w, b, stride, pads, size):
    if not plain(y) or w.dtype != f4 or not (b is None or plain(b)):
        return OTHER
    kh, kw, C, O = w.shape
    T, rows = threads.count(), np.ascontiguousarray(w.transpose(3, 0, 1, 2).reshape(O, -1))
    x, (block, room) = np.empty((len(y), *size, C), f4), _room(len(y), math.prod(y.shape[1:3]) * kh * kw * C, T)
    fold_product(y, rows, NO_BIAS if b is None else b, x, kh, kw, *stride, pads[0][0], pads[1][0], block, room, T)
    return x


@form_of(convolution.weight_product, least=0)
def _(x, y, kernel, stride, pads):
    if not plain(x, y):
        return OTHER
    (kh, kw), C, O, T = kernel, x.shape[3], y.shape[3], threads.count()
    block, room = _room(len(x), math.prod(y.shape[1:3]) * kh * kw * C, T)
    parts = np.zeros((T, kh * kw * C, O), f4)
    weight_product(x, y, kh, kw, *stride, pads[0][0], pads[1][0], block, room, parts, T)
    return parts.sum(axis=0).reshape(kh, kw, C, O)
