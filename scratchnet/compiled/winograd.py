"""Winograd's way to convolve 3×3, its small matrices written out: sums and differences of rows of channels.

See ops/winograd.py for the formula y = A [(G g Gᵀ) ⊙ (B d Bᵀ)] Aᵀ. The 36 products of a block of tiles stay in a core's
cache. `tmp` (6, 6, channels) holds a tile between its two sandwiching products, `border` a row of zeros.
"""

import numpy as np
from numba import prange

from scratchnet.backend import threads
from scratchnet.compiled.blas import multiply
from scratchnet.compiled.convolution import BLOCK_BYTES
from scratchnet.compiled.loops import f4, inlined, one, parallel, serial, zero
from scratchnet.compiled.table import OTHER, form_of, plain
from scratchnet.ops import winograd as own

TWO, FOUR, FIVE, EIGHT = f4(2), f4(4), f4(5), f4(8)


@inlined
def times_B(a, b, c, d, e, f):
    """B (a, …, f)ᵀ: 6 → 6"""
    return (FOUR * a - FIVE * c + e, FOUR * (-b - c) + d + e, FOUR * (b - c) - d + e,
            TWO * (d - b) - c + e, TWO * (b - d) - c + e, FOUR * b - FIVE * d + f)


@inlined
def times_A(a, b, c, d, e, f):
    """A (a, …, f)ᵀ: 6 → 4"""
    s, t, u, v = b + c, b - c, d + e, d - e
    return a + s + u, t + TWO * v, s + FOUR * u, t + EIGHT * v + f


@inlined
def times_A_transposed(a, b, c, d):
    """Aᵀ (a, …, d)ᵀ: 4 → 6"""
    even, odd, even4, odd4 = a + c, b + d, a + FOUR * c, TWO * b + EIGHT * d
    return a, even + odd, even - odd, even4 + odd4, even4 - odd4, d


@serial
def into_tiles(x, n, top, left, rows, columns, V, at, tmp, border):
    """V[6 i + j, at + tile] = (B d Bᵀ)[i, j] for all tiles d of image n, 6×6 pixels that overlap by 2"""
    _, H, W, C = x.shape
    for ty in range(rows):
        for tx in range(columns):
            h = 4 * ty - top
            for j in range(6):
                w = 4 * tx - left + j
                r0 = x[n, h, w] if 0 <= h < H and 0 <= w < W else border
                r1 = x[n, h + 1, w] if 0 <= h + 1 < H and 0 <= w < W else border
                r2 = x[n, h + 2, w] if 0 <= h + 2 < H and 0 <= w < W else border
                r3 = x[n, h + 3, w] if 0 <= h + 3 < H and 0 <= w < W else border
                r4 = x[n, h + 4, w] if 0 <= h + 4 < H and 0 <= w < W else border
                r5 = x[n, h + 5, w] if 0 <= h + 5 < H and 0 <= w < W else border
                for c in range(C):
                    (tmp[0, j, c], tmp[1, j, c], tmp[2, j, c], tmp[3, j, c], tmp[4, j, c],
                     tmp[5, j, c]) = times_B(r0[c], r1[c], r2[c], r3[c], r4[c], r5[c])
            second(tmp, V, at + ty * columns + tx, C)


@serial
def second(tmp, V, tile, C):
    """V[6 i + j, tile] = Σ_k tmp[i, k] B[j, k]"""
    for i in range(6):
        for c in range(C):
            (V[6 * i, tile, c], V[6 * i + 1, tile, c], V[6 * i + 2, tile, c], V[6 * i + 3, tile, c],
             V[6 * i + 4, tile, c], V[6 * i + 5, tile, c]) = times_B(
                tmp[i, 0, c], tmp[i, 1, c], tmp[i, 2, c], tmp[i, 3, c], tmp[i, 4, c], tmp[i, 5, c])


@serial
def results_into_tiles(y, n, rows, columns, U, at, tmp, border):
    """U[6 i + j, at + tile] = (Aᵀ y A)[i, j] for all tiles of image n, 4×4 results, zero beyond the border"""
    _, H, W, C = y.shape
    for ty in range(rows):
        for tx in range(columns):
            tile, h = at + ty * columns + tx, 4 * ty
            for j in range(4):
                w = 4 * tx + j
                r0 = y[n, h, w] if h < H and w < W else border
                r1 = y[n, h + 1, w] if h + 1 < H and w < W else border
                r2 = y[n, h + 2, w] if h + 2 < H and w < W else border
                r3 = y[n, h + 3, w] if h + 3 < H and w < W else border
                for c in range(C):
                    (tmp[0, j, c], tmp[1, j, c], tmp[2, j, c], tmp[3, j, c], tmp[4, j, c],
                     tmp[5, j, c]) = times_A_transposed(r0[c], r1[c], r2[c], r3[c])
            for i in range(6):
                for c in range(C):
                    (U[6 * i, tile, c], U[6 * i + 1, tile, c], U[6 * i + 2, tile, c], U[6 * i + 3, tile, c],
                     U[6 * i + 4, tile, c], U[6 * i + 5, tile, c]) = times_A_transposed(
                        tmp[i, 0, c], tmp[i, 1, c], tmp[i, 2, c], tmp[i, 3, c])


@serial
def out_of_tiles(M, at, b, y, n, rows, columns, tmp):
    """y[n] = A M Aᵀ + b, tile by tile; what lies beyond the border is left out"""
    _, H, W, C = y.shape
    for ty in range(rows):
        for tx in range(columns):
            tile, inner = at + ty * columns + tx, 4 * tx + 4 <= W
            for j in range(6):
                for c in range(C):
                    tmp[0, j, c], tmp[1, j, c], tmp[2, j, c], tmp[3, j, c] = times_A(
                        M[j, tile, c], M[6 + j, tile, c], M[12 + j, tile, c], M[18 + j, tile, c], M[24 + j, tile, c],
                        M[30 + j, tile, c])
            for i in range(min(4, H - 4 * ty)):
                row = y[n, 4 * ty + i, 4 * tx:4 * tx + 4]
                for c in range(C):
                    r0, r1, r2, r3 = times_A(tmp[i, 0, c], tmp[i, 1, c], tmp[i, 2, c], tmp[i, 3, c], tmp[i, 4, c],
                                             tmp[i, 5, c])
                    row[0, c] = r0 + b[c]
                    if inner:
                        row[1, c], row[2, c], row[3, c] = r1 + b[c], r2 + b[c], r3 + b[c]
                    else:
                        for j, r in enumerate((r1, r2, r3)):
                            if 1 + j < len(row):
                                row[1 + j, c] = r + b[c]


@parallel
def winograd(x, kernels, b, y, top, left, block, V, M, tmp, border, T):
    """y[n, p, q, o] = b[o] + Σ_{i,j,c} x[n, p + i − top, q + j − left, c] w[i, j, c, o], kernels being G w Gᵀ"""
    (N, Ho, Wo, O), C = y.shape, x.shape[3]
    rows, columns = (Ho + 3) // 4, (Wo + 3) // 4
    for t in prange(T):
        end, tiles = N * (t + 1) // T, rows * columns
        for start in range(N * t // T, end, block):
            m = min(block, end - start)
            for n in range(m):
                into_tiles(x, start + n, top, left, rows, columns, V[t], n * tiles, tmp[t], border)
            for k in range(36):
                multiply(False, False, m * tiles, O, C, V[t, k].ctypes.data, C, kernels[k].ctypes.data, O, zero,
                         M[t, k].ctypes.data, O)
            for n in range(m):
                out_of_tiles(M[t], n * tiles, b, y, start + n, rows, columns, tmp[t])


@parallel
def winograd_weight(x, y, top, left, block, V, U, tmp, border, parts, T):
    """parts[t] = [B d Bᵀ]ᵀ [Aᵀ y A], summed over the tiles of thread t, of which w is Gᵀ (Σ parts) G"""
    (N, Ho, Wo, O), C = y.shape, x.shape[3]
    rows, columns = (Ho + 3) // 4, (Wo + 3) // 4
    for t in prange(T):
        end, tiles, sofar = N * (t + 1) // T, rows * columns, zero
        for start in range(N * t // T, end, block):
            m = min(block, end - start)
            for n in range(m):
                into_tiles(x, start + n, top, left, rows, columns, V[t], n * tiles, tmp[t], border)
                results_into_tiles(y, start + n, rows, columns, U[t], n * tiles, tmp[t], border)
            for k in range(36):
                multiply(True, False, C, O, m * tiles, V[t, k].ctypes.data, C, U[t, k].ctypes.data, O, sofar,
                         parts[t, k].ctypes.data, O)
            sofar = one


# ---------------------------------------------------------------- where they stand in

def _room(images, size, C, O):
    """(how many images at a time, V, M or U, tmp, border)"""
    T, tiles = threads.count(), -(-size[0] // 4) * -(-size[1] // 4)
    block = max(1, min(-(-images // T), BLOCK_BYTES // (4 * 24 * tiles * (C + O))))
    widest = max(C, O)
    return block, (np.empty((T, 36, block * tiles, C), f4), np.empty((T, 36, block * tiles, O), f4),
                   np.empty((T, 6, 6, widest), f4), np.zeros(widest, f4))


@form_of(own.winograd, least=0)
def _(x, w, b, pads, size):
    if not plain(x, w) or not (b is None or plain(b)):
        return OTHER
    C, O = w.shape[2:]
    G = own.SQUARES[1].astype(f4)
    kernels, y = np.ascontiguousarray((G @ w.reshape(9, -1)).reshape(36, C, O)), np.empty((len(x), *size, O), f4)
    block, room = _room(len(x), size, C, O)
    winograd(x, kernels, np.zeros(O, f4) if b is None else b, y, pads[0][0], pads[1][0], block, *room, threads.count())
    return y


@form_of(own.winograd_weight, least=0)
def _(x, y, pads):
    if not plain(x, y):
        return OTHER
    C, O, T = x.shape[3], y.shape[3], threads.count()
    block, room = _room(len(x), y.shape[1:3], C, O)
    parts = np.zeros((T, 36, C, O), f4)
    winograd_weight(x, y, pads[0][0], pads[1][0], block, *room, parts, T)
    return (own.SQUARES[1].astype(f4).T @ parts.sum(axis=0).reshape(36, -1)).reshape(3, 3, C, O)
