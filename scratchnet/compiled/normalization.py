"""Batch norm: mean and variance of each column, and one pass each for the result and its gradient."""

import numpy as np
from numba import prange

from scratchnet import ops
from scratchnet.backend import threads
from scratchnet.compiled.elementwise import sum_rows
from scratchnet.compiled.loops import f4, parallel, parallel_sums, zero
from scratchnet.compiled.table import OTHER, SHAPES, form_of, plain, rows, rule_form_of


@parallel_sums
def sum_squares(x, mean, parts, T):
    """parts[t, c] = Σᵢ (x[i, c] − mean[c])² over the rows of thread t"""
    M, C = x.shape
    for t in prange(T):
        s = parts[t]
        s[:] = zero
        for i in range(M * t // T, M * (t + 1) // T):
            for c in range(C):
                s[c] += (x[i, c] - mean[c]) * (x[i, c] - mean[c])


@parallel
def scale_and_shift(x, mean, scale, beta, y):
    """y[i, c] = (x[i, c] − mean[c]) scale[c] + β[c]"""
    for i in prange(x.shape[0]):
        for c in range(x.shape[1]):
            y[i, c] = (x[i, c] - mean[c]) * scale[c] + beta[c]


@parallel_sums
def sum_gradients(gy, x, mean, parts, T):
    """parts[t, 0, c] = Σᵢ gy[i, c],  parts[t, 1, c] = Σᵢ gy[i, c] (x[i, c] − mean[c])"""
    M, C = x.shape
    for t in prange(T):
        s, r = parts[t, 0], parts[t, 1]
        s[:] = zero
        r[:] = zero
        for i in range(M * t // T, M * (t + 1) // T):
            for c in range(C):
                s[c] += gy[i, c]
                r[c] += gy[i, c] * (x[i, c] - mean[c])


@parallel
def back(gy, x, mean, scale, shift, slope, gx):
    """gx[i, c] = scale[c] gy[i, c] − shift[c] − slope[c] (x[i, c] − mean[c])"""
    for i in prange(x.shape[0]):
        for c in range(x.shape[1]):
            gx[i, c] = scale[c] * gy[i, c] - shift[c] - slope[c] * (x[i, c] - mean[c])


# ---------------------------------------------------------------- where they stand in

@form_of(ops.batch_norm)
def _(x, gamma, beta, eps):
    if not plain(x, gamma, beta):
        return OTHER
    if x.ndim < 2 or gamma.shape != x.shape[-1:] or beta.shape != gamma.shape or not 0 <= eps < np.inf:
        return SHAPES
    T, X, n = threads.count(), rows(x), x.size // x.shape[-1]
    parts = np.empty((T, X.shape[1]), f4)
    sum_rows(X, parts, T)
    mean = parts.sum(axis=0) / n
    sum_squares(X, mean, parts, T)
    variance = parts.sum(axis=0) / n
    if np.isinf(variance).any():  # an error, which the op's own lines tell
        return SHAPES
    y = np.empty_like(x)
    scale_and_shift(X, mean, gamma / np.sqrt(variance + f4(eps)), beta, rows(y))
    return y, mean, variance


@rule_form_of(ops.batch_norm, "x", "gamma", "beta")
def _(gy, x, gamma, mean, var, eps):
    if not plain(gy, x, gamma, mean, var):
        return OTHER
    T, X, G, n = threads.count(), rows(x), rows(gy), x.size // x.shape[-1]
    parts = np.empty((T, 2, X.shape[1]), f4)
    sum_gradients(G, X, mean, parts, T)
    gbeta, centred = parts.sum(axis=0)
    inv_std = 1.0 / np.sqrt(var + f4(eps))
    ggamma, scale, gx = centred * inv_std, gamma * inv_std, np.empty_like(x)
    back(G, X, mean, scale, scale * gbeta / n, scale * inv_std * ggamma / n, rows(gx))
    return gx, ggamma, gbeta
