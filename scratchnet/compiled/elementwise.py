"""Activations and a bias that is added or subtracted, entry by entry. Sums over the rows of a matrix."""

import numpy as np
from numba import prange

from scratchnet import ops
from scratchnet.backend import threads
from scratchnet.backend.products import column_sum
from scratchnet.compiled import series
from scratchnet.compiled.loops import f4, one, parallel, parallel_sums, zero
from scratchnet.compiled.table import OTHER, SHAPES, flat, form_of, plain, rows, rule_form_of


@parallel
def relu(x, y):
    """y[i] = max(x[i], 0)"""
    for i in prange(x.size):
        y[i] = zero if x[i] <= zero else x[i]


@parallel
def relu_back(gy, y, gx):
    """gx[i] = gy[i] · [y[i] > 0]"""
    for i in prange(y.size):
        gx[i] = gy[i] * (one if y[i] > zero else zero)


@parallel
def leaky_relu(x, slope, y):
    """y[i] = max(x[i], slope · x[i])"""
    for i in prange(x.size):
        low = slope * x[i]
        y[i] = x[i] if x[i] > low else low


@parallel
def leaky_relu_back(gy, x, slope, gx):
    """gx[i] = gy[i] · (1 where x[i] > 0, else slope)"""
    for i in prange(x.size):
        gx[i] = gy[i] * (one if x[i] > zero else slope)


@parallel
def sigmoid(x, y):
    """y[i] = σ(x[i])"""
    for i in prange(x.size):
        y[i] = series.sigmoid(x[i])


@parallel
def tanh(x, y):
    """y[i] = tanh x[i]"""
    for i in prange(x.size):
        y[i] = series.tanh(x[i])


@parallel
def add_to_rows(x, sign, b, y):
    """y[i, c] = x[i, c] ± b[c]"""
    for i in prange(x.shape[0]):
        for c in range(x.shape[1]):
            y[i, c] = x[i, c] + sign * b[c]


@parallel_sums
def sum_rows(x, parts, T):
    """parts[t, c] = Σᵢ x[i, c] over the rows of thread t, eight rows at a time"""
    M, C = x.shape
    for t in prange(T):
        s, lo, hi = parts[t], M * t // T, M * (t + 1) // T
        s[:] = zero
        last = hi - (hi - lo) % 8
        for i in range(lo, last, 8):
            for c in range(C):
                s[c] += (((x[i, c] + x[i + 1, c]) + (x[i + 2, c] + x[i + 3, c]))
                         + ((x[i + 4, c] + x[i + 5, c]) + (x[i + 6, c] + x[i + 7, c])))
        for i in range(last, hi):
            for c in range(C):
                s[c] += x[i, c]


# ---------------------------------------------------------------- where they stand in

def _of_one(op, loop):
    @form_of(op)
    def _(x):
        if not plain(x):
            return OTHER
        y = np.empty_like(x)
        loop(flat(x), flat(y))
        return y


_of_one(ops.relu, relu)
_of_one(ops.sigmoid, sigmoid)
_of_one(ops.tanh, tanh)


@rule_form_of(ops.relu)
def _(gy, y):
    if not plain(gy, y):
        return OTHER
    gx = np.empty_like(y)
    relu_back(flat(gy), flat(y), flat(gx))
    return gx


@form_of(ops.leaky_relu)
def _(x, slope):
    if not plain(x):
        return OTHER
    if not 0 <= slope < 1:  # the op's own lines refuse it
        return SHAPES
    y = np.empty_like(x)
    leaky_relu(flat(x), f4(slope), flat(y))
    return y


@rule_form_of(ops.leaky_relu, "x")
def _(gy, x, slope):
    if not plain(gy, x):
        return OTHER
    gx = np.empty_like(x)
    leaky_relu_back(flat(gy), flat(x), f4(slope), flat(gx))
    return gx


def _with_bias(op, sign):
    @form_of(op)
    def _(a, b):
        if not plain(a, b):
            return OTHER
        if b.ndim != 1 or a.ndim < 2 or a.shape[-1] != len(b):
            return SHAPES
        y = np.empty_like(a)
        add_to_rows(rows(a), sign, b, rows(y))
        return y


_with_bias(ops.add, one)
_with_bias(ops.subtract, -one)


@form_of(column_sum)
def _(x, lead):
    if not plain(x):
        return OTHER
    if lead >= x.ndim:
        return SHAPES
    T = threads.count()
    columns = x.reshape(-1, int(np.prod(x.shape[lead:])))
    parts = np.empty((T, columns.shape[1]), np.float32)
    sum_rows(columns, parts, T)
    return parts.sum(axis=0).reshape(x.shape[lead:])
