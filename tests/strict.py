"""A stand-in for CuPy where there is no GPU: arrays that refuse what CuPy's refuse, and count reads that wait for it,
and the calls that would launch a kernel there.

StrictArray wraps a NumPy array without being one. Mixing it with NumPy arrays, `np.asarray` and `__index__` are
TypeErrors. If CuPy is installed, which needs no GPU, a name that it lacks is an AttributeError.
float(), int(), bool(), .item(), .get(), .tolist() and boolean masks as indices wait for a GPU. They are allowed and
counted; inside no_host_reads() they are errors.
"""

import operator
from collections import Counter
from contextlib import contextmanager

import numpy as np

try:
    import cupy
except ImportError:
    cupy = None

SCALARS = (bool, int, float, complex, np.generic, str, type(None), slice, type(Ellipsis), type, np.dtype)
REDUCIBLE = ("add", "multiply")  # cupy.ufunc.reduce: NotImplementedError for all others


class HostRead(AssertionError):
    """A step waited for the device."""


class _Reads:
    count, forbidden = 0, False

    def note(self, what):
        self.count += 1
        if self.forbidden:
            raise HostRead(f"{what} waits for the device")


reads = _Reads()
launches = Counter()  # name of a function → its calls, unless it only makes a view or takes memory
VIEWS = ("asarray", "as_strided", "broadcast_to", "empty", "empty_like", "expand_dims", "moveaxis", "ndim", "ravel",
         "reshape", "result_type", "shape", "split", "squeeze", "swapaxes", "transpose")


def _launched(name):
    if name not in VIEWS:
        launches[name] += 1


@contextmanager
def no_host_reads():
    reads.forbidden = True
    try:
        yield
    finally:
        reads.forbidden = False


def _unwrap(x):
    if isinstance(x, StrictArray):
        return x.values
    if isinstance(x, (list, tuple)):
        return type(x)(map(_unwrap, x))
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a host array meets a device array")
    if isinstance(x, SCALARS):
        return x
    raise TypeError(f"Unsupported type {type(x)}")


def _wrap(x):
    if isinstance(x, (np.ndarray, np.generic)):
        return StrictArray(np.asarray(x))
    if isinstance(x, (list, tuple)):
        return type(x)(map(_wrap, x))
    return x


class StrictArray:
    def __init__(self, values):
        self.values = values

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)
    size = property(lambda self: self.values.size)
    itemsize = property(lambda self: self.values.itemsize)
    strides = property(lambda self: self.values.strides)
    flags = property(lambda self: self.values.flags)
    T = property(lambda self: StrictArray(self.values.T))
    real = property(lambda self: StrictArray(self.values.real))

    def __array_namespace__(self):
        return strict

    def __getattr__(self, name):
        if name not in ("sum", "mean", "min", "max", "argmax", "any", "all", "reshape", "transpose", "astype", "copy",
                        "swapaxes", "ravel", "cumsum", "fill"):
            raise AttributeError(f"StrictArray has no {name}")
        method = getattr(self.values, name)

        def call(*a, **k):
            result = _wrap(method(*_unwrap(a), **{key: _unwrap(v) for key, v in k.items()}))
            if name != "astype" or result.values is not self.values:
                _launched(name)
            return result
        return call

    def get(self):
        reads.note(".get()")
        return self.values.copy()

    def item(self):
        reads.note(".item()")
        return self.values.item()

    def tolist(self):
        reads.note(".tolist()")
        return self.values.tolist()

    def __float__(self):
        reads.note("float()")
        return float(self.values)

    def __int__(self):
        reads.note("int()")
        return int(self.values)

    def __bool__(self):
        reads.note("bool()")
        return bool(self.values)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or any(isinstance(x, np.ndarray) for x in inputs):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>: a host array meets a device array")
        return _wrap(ufunc(*_unwrap(inputs), **kwargs))

    def __len__(self):
        return len(self.values)

    def _index(self, index):
        for part in index if isinstance(index, tuple) else (index,):
            if isinstance(part, StrictArray) and part.dtype == bool:
                reads.note("indexing with a boolean mask")
        return _unwrap(index)

    def __getitem__(self, index):
        return _wrap(self.values[self._index(index)])

    def __setitem__(self, index, value):
        if not (isinstance(value, StrictArray) and np.may_share_memory(value.values, self.values)):
            _launched("setitem")  # but not for x[i] += y, which has written to x already
        self.values[self._index(index)] = _unwrap(value)


def _binary(function, swapped):
    def method(self, other):
        if not isinstance(other, (StrictArray, np.ndarray, *SCALARS)):
            return NotImplemented  # a Tensor's turn
        a, b = self.values, _unwrap(other)
        _launched(function.__name__)
        return _wrap(function(b, a) if swapped else function(a, b))
    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
              "eq", "ne", "lt", "le", "gt", "ge"):
    _function = getattr(operator, f"{_name}_" if _name in ("and", "or") else _name)
    setattr(StrictArray, f"__{_name}__", _binary(_function, False))
    if _name[0] not in "egln" or _name == "matmul":
        setattr(StrictArray, f"__r{_name}__", _binary(_function, True))
    _inplace = getattr(operator, "i" + _name, None)
    if _inplace:
        def _method(self, other, inplace=_inplace):
            _launched(inplace.__name__)
            self.values = inplace(self.values, _unwrap(other))
            return self
        setattr(StrictArray, f"__i{_name}__", _method)
for _function in (operator.neg, operator.abs, operator.invert):
    def _one(self, function=_function):
        _launched(function.__name__)
        return _wrap(function(self.values))
    setattr(StrictArray, f"__{_function.__name__}__", _one)
StrictArray.__hash__ = None


class _Function:
    """A function of the namespace: device arrays and numbers in, device arrays out."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **kwargs):
        out = kwargs.get("out")
        if out is not None and not isinstance(out, StrictArray):
            raise TypeError("out= must be a device array")
        result = self.function(*_unwrap(args), **{k: _unwrap(v) for k, v in kwargs.items()})
        _launched(self.function.__name__)
        return out if out is not None else _wrap(result)

    def reduce(self, *args, **kwargs):
        if self.function.__name__ not in REDUCIBLE:
            raise NotImplementedError(f"{self.function.__name__}.reduce")
        _launched("reduce")
        return _wrap(self.function.reduce(*_unwrap(args), **kwargs))

    def at(self, *args):
        _launched("at")
        self.function.at(*_unwrap(args))


class _Namespace:
    def __init__(self, name, module, reference):
        self.__name__, self._module, self._reference = name, module, reference

    def __getattr__(self, name):
        if self._reference is not None and not hasattr(self._reference, name):
            raise AttributeError(f"CuPy has no {self._reference.__name__}.{name}")
        value = getattr(self._module, name)
        if type(value).__name__ == "module":
            return _Namespace(name, value, getattr(self._reference, name, None))
        return value if isinstance(value, (type, float, type(None))) else _Function(value)

    @staticmethod
    def asarray(x, dtype=None):
        """The way to the device: CuPy's asarray takes host arrays."""
        return StrictArray(np.array(x.values if isinstance(x, StrictArray) else x, dtype=dtype))


strict = _Namespace("strict", np, cupy)
