"""Cross-entropies of logits, entry by entry and row by row."""

import numpy as np
from numba import prange

from scratchnet import losses
from scratchnet.backend.forms import Declined
from scratchnet.compiled import series
from scratchnet.compiled.loops import LARGEST, one, parallel, zero
from scratchnet.compiled.table import OTHER, flat, form_of, plain, rows, rule_form_of


@parallel
def bce(x, t, y):
    """y[i] = |x[i]| (1 − t[i] where x[i] > 0, else t[i]) + ln(1 + e^−|x[i]|), in which 0 · ∞ counts as 0"""
    for i in prange(x.size):
        wrong, size = (one - t[i] if x[i] > zero else t[i]), abs(x[i])
        hard = size * wrong if wrong != zero else zero
        y[i] = hard + series.log_1_plus(series.exp(-size))


@parallel
def bce_back(gy, step, x, t, gx):
    """gx[i] = gy[i] (σ(x[i]) − t[i]); step 0 where all gy are one number, else 1"""
    for i in prange(x.size):
        gx[i] = gy[i * step] * (series.sigmoid(x[i]) - t[i])


@parallel
def cross_entropy(x, t, y):
    """y[i] = Σₖ t[i, k] ln Σⱼ e^(x[i, j] − m) − Σₖ t[i, k] (x[i, k] − m),  m = maxₖ x[i, k]

    Gives the number of results that are not finite.
    """
    (M, K), bad = x.shape, 0
    for i in prange(M):
        top = x[i, 0]
        for k in range(1, K):
            top = max(top, x[i, k])
        s, d, w = zero, zero, zero
        for k in range(K):
            s += series.exp(x[i, k] - top)
            d += t[i, k] * (x[i, k] - top)
            w += t[i, k]
        y[i] = w * np.log(s) - d
        bad += not abs(y[i]) <= LARGEST
    return bad


@parallel
def cross_entropy_back(gy, x, t, gx):
    """gx[i, k] = gy[i] (Σⱼ t[i, j] e^(x[i, k] − m) / Σⱼ e^(x[i, j] − m) − t[i, k])

    Gives the number of logits that are not finite.
    """
    (M, K), bad = x.shape, 0
    for i in prange(M):
        top = x[i, 0]
        for k in range(K):
            top = max(top, x[i, k])
            bad += not abs(x[i, k]) <= LARGEST
        s, w = zero, zero
        for k in range(K):
            gx[i, k] = series.exp(x[i, k] - top)
            s += gx[i, k]
            w += t[i, k]
        for k in range(K):
            gx[i, k] = gy[i] * (gx[i, k] * (w / s) - t[i, k])
    return bad


# ---------------------------------------------------------------- where they stand in

NOT_FINITE = Declined("logits that are not finite")


@form_of(losses.bce_with_logits)
def _(x, t):
    if not plain(x, t):
        return OTHER
    y = np.empty_like(x)
    bce(flat(x), flat(t), flat(y))
    return y


@rule_form_of(losses.bce_with_logits, "x")
def _(gy, x, t):
    same = not any(gy.strides)  # one number, repeated: the gradient of a sum or mean
    if not plain(x, t) or not (same or plain(gy)) or gy.dtype != x.dtype:
        return OTHER
    gx = np.empty_like(x)
    bce_back(np.atleast_1d(gy.flat[0]) if same else flat(gy), 0 if same else 1, flat(x), flat(t), flat(gx))
    return gx


@form_of(losses.softmax_cross_entropy)
def _(x, t):
    if not plain(x, t):
        return OTHER
    y = np.empty(x.shape[:-1], np.float32)
    return NOT_FINITE if cross_entropy(rows(x), rows(t), flat(y)) else y


@rule_form_of(losses.softmax_cross_entropy, "x")
def _(gy, x, t):
    if not plain(x, t) or gy.dtype != x.dtype:
        return OTHER
    gx = np.empty_like(x)
    return NOT_FINITE if cross_entropy_back(np.ascontiguousarray(gy).reshape(-1), rows(x), rows(t), rows(gx)) else gx
