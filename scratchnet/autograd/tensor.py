"""Tensor: an array with a gradient. Its operators and methods are ops, attached in ops/__init__.py."""

import threading
from contextlib import contextmanager

import numpy as np

from scratchnet.backend import array_module, is_array, kind_of, to_cpu


class _Mode(threading.local):
    recording = True  # False inside no_grad()
    calls = None  # a list inside recorded_calls()
    casts = None  # a list inside recorded_casts()
    passed = None  # a list inside recorded_walk()
    destination = None  # in a gradient rule: the buffer in which its result will end up, if that is known


mode = _Mode()


class Tensor:
    """An array with a gradient.

    data            a NumPy or CuPy array (numbers and lists become NumPy arrays)
    requires_grad   True for a leaf whose gradient is wanted, and for everything computed from it
    grad            ∂L/∂data after backward, an array of the same shape and dtype; None if no gradient reached this
                    leaf. For an optimizer's parameter it is a part of the optimizer's flat gradient, the same array
                    in each step: copy it to keep it
    version         the number of changes in place (by an optimizer's step, by loading weights, …), so that backward
                    can refuse stale arrays

    Operators and methods broadcast as NumPy does. Comparisons have no gradient and give plain boolean arrays.

    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> w.grad
    array([2., 4.])
    """

    __slots__ = ("data", "requires_grad", "grad", "node", "version", "grad_buffer", "__weakref__")
    __array_ufunc__ = None  # so that array + Tensor calls Tensor.__radd__

    def __init__(self, data, requires_grad=False):
        if type(data) is not np.ndarray or data.dtype.kind not in _NUMBERS:
            data = _as_array(data)
        if requires_grad and data.dtype.kind != "f":
            remedy = ("gradients are of real numbers: take the real and the imaginary part as two Tensors"
                      if data.dtype.kind == "c" else "convert it first: data.astype('float32')")
            raise TypeError(f"Tensor: only floating-point data can require a gradient, got {data.dtype}; {remedy}")
        self.data = data
        self.requires_grad = requires_grad
        self.grad = None
        self.node = None
        self.version = 0
        self.grad_buffer = None  # where an optimizer wants the gradient written

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)

    def numpy(self):
        """The values as a NumPy array (a view on the CPU, a copy from a GPU)."""
        return to_cpu(self.data)

    def item(self):
        """The single value as a Python number. On a GPU this waits for the device."""
        if self.size != 1:
            raise TypeError(f"a Tensor of shape {self.shape} is not a single number; reduce it, t.sum() or t.mean()")
        return self.data.item()

    def detach(self):
        """The same data, cut off from the tape. Gradients stop here."""
        return Tensor(self.data)

    def __repr__(self):
        made = f", from={self.node.op.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        device = "" if isinstance(self.data, np.ndarray) else f", on={array_module(self.data).__name__}"
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=200, precision=5)
        return f"Tensor({values}, shape={self.shape}, {self.dtype}{made}{device})"

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return (self[i] for i in range(len(self.data)))

    def __bool__(self):
        return bool(self.data)

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        if self.ndim or self.dtype.kind not in "iu":
            raise TypeError(f"only a single integer can be an index or a size, not a Tensor of shape {self.shape}, "
                            f"{self.dtype}")
        return self.item()

    def __round__(self, digits=None):
        return round(self.item(), digits)

    def __format__(self, how):
        """f"{loss:.3f}". A single number takes any format of Python's numbers, other Tensors only the empty one."""
        if not how:
            return str(self)
        if self.size != 1:
            raise TypeError(f"a Tensor of shape {self.shape} has no format {how!r}; only single numbers have one")
        return format(self.item(), how)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise TypeError("this Tensor requires a gradient, which a NumPy array would lose: "
                            "use t.detach() or t.numpy() if you want that")
        return np.array(self.data, dtype=dtype, copy=copy)

    # Comparisons and floor division are piecewise constant, so they give plain arrays.
    def __floordiv__(self, other):
        return self.data // _plain(other)

    def __rfloordiv__(self, other):
        return _plain(other) // self.data

    def __mod__(self, other):
        other = other if isinstance(other, Tensor) else _plain(other)
        return self - (self // other) * other

    def __rmod__(self, other):
        return _plain(other) - (other // self) * self

    def __divmod__(self, other):
        return self // other, self % other

    def __rdivmod__(self, other):
        return other // self, other % self

    def __lt__(self, other):
        return self.data < data_of(other)

    def __le__(self, other):
        return self.data <= data_of(other)

    def __gt__(self, other):
        return self.data > data_of(other)

    def __ge__(self, other):
        return self.data >= data_of(other)

    def __eq__(self, other):
        return self.data == data_of(other)

    def __ne__(self, other):
        return self.data != data_of(other)

    __hash__ = object.__hash__


def _as_array(data):
    """Numbers, lists, Tensors and arrays of other libraries (CuPy) as an array; TypeError for anything else."""
    if isinstance(data, Tensor):
        return data.data
    if isinstance(data, np.number):  # as NumPy's full sums are
        return np.asarray(data)
    if isinstance(data, LOSSY):
        refuse("Tensor", data)
    given = data
    if isinstance(data, (np.ndarray, np.generic)) or not hasattr(data, "dtype"):
        if isinstance(data, (list, tuple)) and any(isinstance(x, Tensor) and x.ndim for x in data):
            raise TypeError(f"Tensor: a {type(data).__name__} of Tensors would lose their gradients; join them with "
                            f"ops.stack or ops.concat")
        try:
            data = np.asarray(data)
        except ValueError as error:
            raise ValueError(f"Tensor: {error}") from error
    elif not is_array(data):
        raise TypeError(f"Tensor: expected an array or numbers, got {kind_of(data)}")
    if data.dtype.kind not in _NUMBERS:
        of = f" of {data.dtype}" if isinstance(given, (np.ndarray, list, tuple)) else ""
        raise TypeError(f"Tensor: expected numbers, got {kind_of(given)}{of}")
    return data


_NUMBERS = "biufc"  # the kinds of dtypes that hold numbers, not objects, strings, dates or records

LOSSY = (np.ma.MaskedArray, np.matrix)  # arrays that mean more than their numbers


def refuse(who, a):
    """TypeError for an array of a kind in LOSSY."""
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{who}: a {type(a).__name__} would lose its mask; pass its .filled(value)")
    raise TypeError(f"{who}: a {type(a).__name__} would lose its *, the matrix product; pass np.asarray of it")


def _plain(x):
    """The array in a Tensor; a NumPy scalar as a Python number, which does not widen float32; the rest unchanged."""
    return x.item() if isinstance(x, np.generic) else data_of(x)


def data_of(x):
    """The array in a Tensor; anything else unchanged."""
    return x.data if isinstance(x, Tensor) else x


def check_arrays(op, **arrays):
    """TypeError, with the name of the op and the argument, unless every argument is an array or a Tensor."""
    for name, x in arrays.items():
        if not (isinstance(x, Tensor) or is_array(x)):
            raise TypeError(f"{op}: {name} must be an array or a Tensor, got {kind_of(x)}")


@contextmanager
def recording(on):
    """Inside, ops record themselves if `on` is true, and only then."""
    before, mode.recording = mode.recording, on
    try:
        yield
    finally:
        mode.recording = before


def no_grad():
    """Inside, nothing is recorded: results have no tape and keep no arrays."""
    return recording(False)


def enable_grad():
    """Inside, ops record themselves even within no_grad(), for a loss that takes a gradient on its way."""
    return recording(True)
