"""The products of dense layers."""

import numpy as np

from scratchnet.backend import threads
from scratchnet.backend.products import matrix_product
from scratchnet.compiled.blas import product, product_of_long
from scratchnet.compiled.table import OTHER, SHAPES, SMALL, form_of

FEW_FLOPS = 4_000_000  # multiplications and additions; below, NumPy's way to BLAS is as short
WORTH = 8_000_000      # … that are worth a second thread


def _stored(a):
    """(the array in C order, whether a is its transpose); (None, None) for other strides"""
    if a.flags.c_contiguous:
        return a, False
    return (a.T, True) if a.T.flags.c_contiguous else (None, None)


@form_of(matrix_product, least=0)
def _(a, b, out=None):
    if type(b) is not np.ndarray or a.dtype != np.float32 or b.dtype != np.float32:
        return OTHER
    (M, K), N = a.shape, b.shape[1]
    flops = 2 * M * N * K
    if flops < FEW_FLOPS or K == 1:
        return SMALL
    (A, ta), (B, tb) = _stored(a), _stored(b)
    if A is None or B is None or not (out is None or out.flags.c_contiguous):
        return SHAPES
    T = threads.count() if flops > WORTH else 1
    if 16 * max(M, N) < K and ta and not tb:  # a weight gradient over many rows: the sum is what can be cut
        parts = np.empty((T, M, N), np.float32)
        product_of_long(A, B, parts, T)
        return parts.sum(axis=0, out=out)
    out = np.empty((M, N), np.float32) if out is None else out
    product(A, ta, B, tb, out, T)
    return out
