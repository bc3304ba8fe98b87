"""NumPy or CuPy: which one owns this array? This is the only file that imports CuPy.

There is no global switch. Every op asks its argument, `xp = array_module(x)`, and calls `xp.exp`, `xp.empty`, …
So one process can hold arrays of both kinds, and the same line runs on either device.
"""

import sys
from numbers import Integral

import numpy as np


def array_module(x):
    """The namespace that computes on x: `numpy` for host arrays and numbers, `cupy` for arrays on a GPU.

    Other libraries are welcome if their arrays have `__array_namespace__`, as the array API standard asks.
    """
    if isinstance(x, (np.ndarray, np.generic)) or not hasattr(x, "dtype"):
        return np
    if _is_cupys(x):
        return sys.modules["cupy"]
    if not hasattr(x, "__array_namespace__"):
        raise TypeError(f"expected a NumPy or CuPy array, got {kind_of(x)}")
    return x.__array_namespace__()


def is_array(x):
    """Whether array_module(x) can compute on x, an array of NumPy, of CuPy or of the array API standard."""
    return isinstance(x, (np.ndarray, np.generic)) or hasattr(x, "__array_namespace__") or _is_cupys(x)


def _is_cupys(x):
    cupy = sys.modules.get("cupy")  # None until someone imports it; CuPy's arrays have no __array_namespace__
    return cupy is not None and isinstance(x, cupy.ndarray)


def is_whole(n):
    """Whether n can be a size, a count or an axis: an integer of Python or NumPy, but not True or False."""
    return isinstance(n, Integral) and not isinstance(n, bool)


def kind_of(x):
    """A few words for an error about x: its type, and how to make an array of it."""
    if x is None:
        return "None"
    library, name = type(x).__module__.partition(".")[0], type(x).__name__
    if library == "torch":
        return f"a PyTorch {name}; pass x.detach().cpu().numpy()"
    if library in ("pandas", "polars"):
        return f"a {library} {name}; pass x.to_numpy()"
    if isinstance(x, (list, tuple)):
        return f"a {name}; pass np.array(x)"
    value = f" {x!r:.40}" if isinstance(x, (str, bytes, int, float)) else ""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}{value}"


def gpu_array():
    """CuPy's type of array; None where CuPy cannot be imported."""
    try:
        import cupy
    except ImportError:
        return None
    return cupy.ndarray


def gpu_kernel(source, name):
    """The kernel `name` of a source in CUDA C. CuPy compiles it at its first launch and keeps it on disk."""
    import cupy
    return cupy.RawKernel(source, name)


def gpu_available():
    """True when CuPy is installed and sees a CUDA device. Never raises."""
    return gpu_array() is not None and sys.modules["cupy"].cuda.is_available()


def to_gpu(x):
    """x as a CuPy array on the current device (a copy, unless x is there already)."""
    if not gpu_available():
        raise RuntimeError("to_gpu: CuPy finds no CUDA device; install the extra cuda12 or cuda13 on a machine "
                           "with an NVIDIA GPU, or stay on the CPU")
    import cupy
    return cupy.asarray(x if is_array(x) else _from_numbers("to_gpu", x))


def to_cpu(x):
    """x as a NumPy array (no copy if it is one). From a GPU, this waits until x has been computed."""
    if isinstance(x, np.ndarray):
        return x
    return x.get() if is_array(x) and hasattr(x, "get") else _from_numbers("to_cpu", x)


def _from_numbers(op, x):
    """A NumPy array from a list or anything else that holds numbers; TypeError if x holds others."""
    array = np.asarray(x)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{op}: expected an array or numbers, got {kind_of(x)}")
    return array


def to_device_of(x, like):
    """The host array x, moved to where `like` lives. Random numbers are drawn on the host and moved by this function,
    so one seed gives the same numbers on every device."""
    xp = array_module(like)
    return x if xp is np else xp.asarray(x)
