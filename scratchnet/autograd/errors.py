"""NumPy's and CuPy's errors, raised again with the name of the op, its arguments and their shapes."""

import inspect
import re

import numpy as np

from scratchnet.backend import array_module, is_array, kind_of


def explain(op, error, arrays):
    """An error of the forward pass, with the op's name and arguments added; None if it should stay as it is."""
    if re.match(r"\w+: ", str(error)):  # from an op's own check
        return None
    for name, default, a in zip(op.params, op.defaults, arrays, strict=False):
        if (isinstance(error, AttributeError) and a is error.obj) or _is_foreign(name, a, default):
            return TypeError(f"{op.name}: {name} must be an array or a Tensor, got {kind_of(a)}")
    if mixed := _explain_mixed_devices(op.name, arrays):
        return mixed
    shapes = ", ".join(f"{name} {a.shape}" for name, a in zip(op.params, arrays, strict=False) if hasattr(a, "shape"))
    return retold(error, f"{op.name}: {error}; shapes: {shapes}" if shapes else f"{op.name}: {error}")


def check_result(op, result, arguments):
    """TypeError if an op's result is neither an array nor a number. (Two lists, added, make a longer list.)"""
    if not (is_array(result) or isinstance(result, (int, float, complex))):
        odd = next((a for a in arguments if type(a) is type(result)), result)
        raise TypeError(f"{op}: expected arrays or Tensors, got {kind_of(odd)}")


_PLAIN_ERRORS = (TypeError, ValueError, IndexError, KeyError, AttributeError, NameError, ZeroDivisionError,
                 OverflowError, FloatingPointError, RuntimeError, NotImplementedError)


def retold(error, text):
    """An error of the same kind with another message; None for kinds of our own, such as AnomalyError."""
    numpys = type(error).__module__.startswith("numpy.")  # AxisError is a ValueError
    kind = next((k for k in _PLAIN_ERRORS if type(error) is k or (numpys and isinstance(error, k))), None)
    return kind and kind(text)


_NO_ARRAYS = {"axis", "axes", "dtype", "index", "kernel", "padding", "shape", "size", "stride", "widths"}


def _is_foreign(name, a, default):
    """Whether an argument is nothing that an op can take: no array, number, index, shape or dtype."""
    if a is None or isinstance(a, str):
        return default is inspect.Parameter.empty and name not in _NO_ARRAYS
    return not (is_array(a) or isinstance(a, (int, float, complex, tuple, list, slice, type(...), np.dtype, type)))


def _explain_mixed_devices(name, arrays):
    modules = {array_module(a).__name__ for a in arrays if getattr(a, "ndim", 0) or hasattr(a, "__array_namespace__")}
    if len(modules) < 2:
        return None
    return TypeError(f"{name}: arrays of {' and '.join(sorted(modules))} meet in one op; move them to one device first "
                     f"(to_gpu / to_cpu)")
