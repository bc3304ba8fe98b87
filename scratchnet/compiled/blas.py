"""Matrix products inside compiled loops: sgemm of MKL where it is installed, else of the OpenBLAS that NumPy brings.

A loop calls it by its address, one thread each, so that unfolding, product and bias of a few images stay in one core's
cache. The products of a whole layer are cut along the longer side of the result, a part for each thread.
"""

import ctypes
import sys
from pathlib import Path

import llvmlite.binding
import numpy as np
from numba import prange, types

from scratchnet.compiled.loops import one, parallel, serial, zero


def _mkl():
    """MKL from its wheel, told to use one thread a call and 64-bit sizes."""
    for path in (*Path(sys.prefix, "lib").glob("libmkl_rt.so*"), *Path(sys.prefix, "Library/bin").glob("mkl_rt*.dll")):
        library = ctypes.CDLL(str(path))
        library.MKL_Set_Threading_Layer(1)  # MKL_THREADING_SEQUENTIAL
        library.MKL_Set_Interface_Layer(1)  # MKL_INTERFACE_ILP64
        return "MKL", library.cblas_sgemm
    return None


def _openblas():
    """The OpenBLAS inside NumPy's wheel, with 64-bit sizes."""
    for path in Path(np.__file__).parent.parent.glob("numpy.libs/*openblas64*"):
        return "OpenBLAS", ctypes.CDLL(str(path)).scipy_cblas_sgemm64_
    return None


found = _mkl() or _openblas()
if found is None:
    raise ImportError("scratchnet.compiled: neither MKL nor the OpenBLAS of NumPy's wheel was found")
LIBRARY, _function = found
llvmlite.binding.add_symbol("scratchnet_sgemm", ctypes.cast(_function, ctypes.c_void_p).value)  # the same for both
Flag, Size, Address = types.intc, types.int64, types.uintp
_sgemm = types.ExternalFunction("scratchnet_sgemm", types.void(
    Flag, Flag, Flag, Size, Size, Size, types.float32, Address, Size, Address, Size, types.float32, Address, Size))
ROWS_FIRST, AS_IT_IS, TRANSPOSED = 101, 111, 112  # CblasRowMajor, CblasNoTrans, CblasTrans


@serial
def multiply(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """c ← a b + β c for matrices (m, k) (k, n) at addresses a, b, c, with rows lda, ldb, ldc numbers apart.

    ta, tb: whether a (k, m) and b (n, k) are stored transposed.
    """
    _sgemm(ROWS_FIRST, TRANSPOSED if ta else AS_IT_IS, TRANSPOSED if tb else AS_IT_IS, m, n, k, one, a, lda, b, ldb,
           beta, c, ldc)


@parallel
def product(a, ta, b, tb, out, T):
    """out[i, j] = Σₖ a[i, k] b[k, j], a and b perhaps stored transposed. T threads share the longer side of out."""
    M, N = out.shape
    K = a.shape[0] if ta else a.shape[1]
    lda, ldb, pa, pb, pc = a.shape[1], b.shape[1], a.ctypes.data, b.ctypes.data, out.ctypes.data
    for t in prange(T):
        if M >= N:
            lo, hi = cut(M, t, T, 8), cut(M, t + 1, T, 8)
            if hi > lo:
                multiply(ta, tb, hi - lo, N, K, pa + 4 * (lo if ta else lo * lda), lda, pb, ldb, zero,
                         pc + 4 * lo * N, N)
        else:
            lo, hi = cut(N, t, T, 16), cut(N, t + 1, T, 16)
            if hi > lo:
                multiply(ta, tb, M, hi - lo, K, pa, lda, pb + 4 * (lo * ldb if tb else lo), ldb, zero, pc + 4 * lo, N)


@parallel
def product_of_long(a, b, parts, T):
    """parts[t] = aᵀ b over the rows of thread t, for a (M, K) and b (M, N) with many rows."""
    M, K, N = a.shape[0], a.shape[1], b.shape[1]
    for t in prange(T):
        lo, hi = M * t // T, M * (t + 1) // T
        multiply(True, False, K, N, hi - lo, a.ctypes.data + 4 * lo * K, K, b.ctypes.data + 4 * lo * N, N, zero,
                 parts.ctypes.data + 4 * t * K * N, N)


@serial
def cut(n, t, T, multiple):
    """Where part t of n begins, when T parts are multiples of a number but for the last."""
    return n if t == T else min(n, (n * t // T + multiple - 1) // multiple * multiple)
