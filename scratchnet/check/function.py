"""The form that every check works on: a function of several float64 arrays, its value, its gradient by reverse mode."""

import inspect
from contextlib import contextmanager

import numpy as np

from scratchnet.autograd import Tensor, data_of, enable_grad, grad, no_grad
from scratchnet.autograd.notes import recorded_calls, recorded_walk
from scratchnet.backend import is_array, kind_of


def is_float(x):
    """Whether x is an array or Tensor of floating-point numbers, so that it can have a gradient."""
    return is_array(data_of(x)) and data_of(x).dtype.kind == "f"


def first(result):
    """The first of several results: the differentiable one."""
    return result[0] if isinstance(result, (tuple, list)) else result


def _leaf(values):
    """A Tensor that requires a gradient. It may hold complex numbers, for the complex step; a user's may not."""
    leaf = Tensor(np.array(values))  # a copy: a rule may write into the arrays that it kept
    leaf.requires_grad = True
    return leaf


class Function:
    """y = f(…) as a function of its floating-point inputs, followed by the parameters that it closes over.

    names    the names of these inputs and parameters
    values   float64 copies of them: the point at which to differentiate
    """

    of = None  # the function whose derivative this is
    needs_tape = False  # f takes a gradient with respect to its own argument, so it can only be called with Tensors
    cancelled = 0.0  # how large the terms may have been of which y is the sum: y carries their rounding

    def __init__(self, f, inputs, parameters=None):
        """parameters: a dict of Parameters by name."""
        if not callable(f):
            raise TypeError(f"check: f must be a function, got {kind_of(f)}")
        if any(isinstance(data_of(x), np.ma.MaskedArray) for x in inputs):
            raise TypeError("check: a masked array would lose its mask; pass its .filled(value)")
        self.f, self.args = f, list(inputs)
        self.holes = [i for i, x in enumerate(inputs) if is_float(x)]
        self.parameters = list((parameters or {}).values())
        names = _argument_names(f, len(self.args))
        self.names = [names[i] for i in self.holes] + list(parameters or {})
        arrays = [self.args[i] for i in self.holes] + self.parameters
        self.values = [np.array(data_of(x), dtype=np.float64) for x in arrays]

    def at(self, values):
        """The same function at another point."""
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | {"values": [np.asarray(v) for v in values]}  # a sum of 0-d arrays is no array
        return other

    def _call(self, inputs):
        args = list(self.args)
        for i, x in zip(self.holes, inputs, strict=True):
            args[i] = x
        return first(self.f(*args))

    def evaluate(self, values):
        """The array y at the given values (real or complex)."""
        y = data_of(self._on_tensors(values) if self.needs_tape else self._on_arrays(values))
        if not hasattr(y, "dtype") and not isinstance(y, (int, float, complex)):
            hint = "; f is called with arrays as well, so use data_of(x) instead of x.data"
            raise TypeError(f"check: f must return a Tensor, an array or a number, got {type(y).__name__}"
                            f"{hint if isinstance(y, memoryview) else ''}")
        return np.asarray(y)

    def _on_arrays(self, values):
        n = len(self.holes)
        try:
            with no_grad(), self._lent(values[n:]):
                return self._call(values[:n])
        except Exception as error:
            try:
                y = self._on_tensors(values)
            except Exception:  # f fails either way, and its first error is the plainer one
                raise error from None
            self.needs_tape = True
            return y

    def _on_tensors(self, values):
        """y of an f that takes a gradient itself: on a tape, as in `record`."""
        with enable_grad():
            return self.record(values)[0]

    def constants(self):
        """Name → array for those array arguments that are not checked."""
        names = _argument_names(self.f, len(self.args))
        return {names[i]: a for i, a in enumerate(self.args) if i not in self.holes and isinstance(a, np.ndarray)}

    def record(self, values):
        """y on a tape, and the leaves of the tape in the order of the inputs."""
        n = len(self.holes)
        leaves = [_leaf(v) for v in values[:n]]
        with self._lent(values[n:]):
            return self._call(leaves), [*leaves, *self.parameters]

    @contextmanager
    def _lent(self, values):
        """Inside, the parameters have these values. (A derivative has one value more, its cotangent, which is unused.)
        """
        before = [p.data for p in self.parameters]
        for p, value in zip(self.parameters, values, strict=False):
            p.data = value
        try:
            yield
        finally:
            for p, value in zip(self.parameters, before, strict=True):
                p.data = value

    def gradients(self, cotangents):
        """Reverse mode: for each cotangent v, ∂⟨v, y⟩/∂x of every input, None where no gradient arrives."""
        y, leaves = self.record(self.values)
        if not (isinstance(y, Tensor) and y.requires_grad):
            return [[None] * len(leaves) for _ in cotangents]
        with self._lent(self.values[len(self.holes):]):
            return [[g if g is None else g.data for g in grad(y, leaves, v.reshape(y.shape), retain_graph=True)]
                    for v in cotangents]

    def changed_by_gradient(self, v):
        """Names of the inputs whose numbers a backward pass changes."""
        y, leaves = self.record(self.values)
        if isinstance(y, Tensor) and y.requires_grad:
            with self._lent(self.values[len(self.holes):]):
                grad(y, leaves, v.reshape(y.shape))
        return [name for name, x, leaf in zip(self.names, self.values, leaves, strict=True)
                if not any(leaf is p for p in self.parameters) and not np.array_equal(leaf.data, x, equal_nan=True)]

    def recorded_gradient(self, v):
        """The same as `gradients` for one cotangent, but computed with create_graph=True."""
        y, leaves = self.record(self.values)
        if not (isinstance(y, Tensor) and y.requires_grad):
            return [None] * len(leaves)
        with self._lent(self.values[len(self.holes):]):
            return [g if g is None else g.data for g in grad(y, leaves, v.reshape(y.shape), create_graph=True)]

    def derivative(self, v, directions):
        """The function (x, v) ↦ Σᵢ ⟨∂⟨v, f⟩/∂xᵢ, uᵢ⟩, which is one number. Its gradient in x holds second derivatives
        of f, and its gradient in the cotangent v first ones: a rule that takes ∂L/∂y for a constant shows there."""
        return _Derivative(self, v, directions)

    def calls(self):
        """[(op, arguments, result)] for every op call that f records."""
        with recorded_calls() as calls:
            self.record(self.values)
        return calls

    def calls_inside(self):
        """Those of the calls that a gradient taken by f itself passes through: f relies on their rules."""
        with recorded_calls() as calls, recorded_walk() as passed:
            self.record(self.values)
        nodes = {node for node, _, _ in passed}
        return [call for call in calls if call[2].node in nodes]

    def passed(self, v):
        """([(op, arguments, result)], [(node, gy, [(parent, gradient)])]) of one backward pass from the cotangent v."""
        with recorded_calls() as calls:
            y, leaves = self.record(self.values)
        with recorded_walk() as walk, self._lent(self.values[len(self.holes):]):
            if isinstance(y, Tensor) and y.requires_grad:
                grad(y, leaves, v.reshape(y.shape), retain_graph=True)
        return calls, walk


COTANGENT = "∂L/∂y"  # the name of v among the inputs of a derivative


class _Derivative(Function):
    """The result of Function.derivative."""

    def __init__(self, of, v, directions):
        terms = float(np.abs(v).ravel() @ (np.abs(of.evaluate(of.values)).ravel() + of.cancelled))
        sizes = [np.abs(u).max(initial=0.0) / np.abs(x).max(initial=1.0)
                 for u, x in zip(directions, of.values, strict=True)]
        self.__dict__ = of.__dict__ | {"of": of, "directions": directions, "names": [*of.names, COTANGENT],
                                       "values": [*of.values, v], "cancelled": terms * max(sizes, default=0.0)}

    def at(self, values):
        return _Derivative(self.of.at(values[:-1]), values[-1], self.directions)

    def evaluate(self, values):
        if any(np.iscomplexobj(v) for v in values):  # the gradient of a real input would lose its imaginary part
            values = [v.astype(complex) for v in values]
        return np.asarray(data_of(self.record(values)[0]))

    def record(self, values):
        *values, v = values
        y, leaves = self.of.record(values)
        v, total = _leaf(v), None
        if not (isinstance(y, Tensor) and y.requires_grad):
            return Tensor(np.zeros(())), [*leaves, v]
        with self._lent(values[len(self.holes):]):
            for g, u in zip(grad(y, leaves, v, create_graph=True), self.directions, strict=True):
                if g is not None:
                    term = (g * u).sum()
                    total = term if total is None else total + term
        return Tensor(np.zeros(())) if total is None else total, [*leaves, v]


def _argument_names(f, count):
    """The first `count` names in the signature of f, or numbers if it has fewer."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names if len(names) == count else [str(i) for i in range(count)]
