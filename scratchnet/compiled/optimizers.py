"""Adam in one pass over memory."""

import numpy as np
from numba import prange

from scratchnet.compiled.loops import f4, parallel
from scratchnet.compiled.table import OTHER, form_of, plain
from scratchnet.optimizers.methods import adam_step


@parallel
def adam(p, g, m, v, beta1, beta2, size, eps):
    """m ← β₁ m + g,  v ← β₂ v + g²,  p ← p − size · m / (√v + ε), entry by entry"""
    for i in prange(p.size):
        m[i] = beta1 * m[i] + g[i]
        v[i] = beta2 * v[i] + g[i] * g[i]
        p[i] -= size * m[i] / (np.sqrt(v[i]) + eps)


@form_of(adam_step)
def _(p, g, m, v, beta1, beta2, size, eps, a):
    if not plain(p, g, m, v):
        return OTHER
    adam(p, g, m, v, f4(beta1), f4(beta2), f4(size), f4(eps))
    return None
