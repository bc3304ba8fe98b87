"""The evidence when a gradient is wrong: the wrong gradient, the right Jacobian, the values, and the rule itself."""

import numpy as np

from scratchnet.autograd import Tensor, data_of, grad
from scratchnet.check.compare import COTANGENTS, beside
from scratchnet.check.function import Function, first
from scratchnet.check.numeric import slopes

LARGEST = 4_000_000  # entries: a larger Jacobian is not computed as a whole
INPUTS = 4_000  # entries: of a larger input only some derivatives are computed
FITS = 1e-5  # the share of the error that an explanation may leave unexplained


class Call(Function):
    """One op call on the tape, as a function of the inputs that need a gradient. It knows the op and its other
    arguments, and can run the rule on other values than those it kept."""

    def __init__(self, op, args):
        self.op, self.fixed = op, [data_of(a) for a in args]
        self.wanted = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        super().__init__(self._with, [self.fixed[i] for i in self.wanted])
        last = len(op.params) - 1 if op.variadic else len(args)
        self.names = [op.params[i] if i < last else f"{op.params[-1]}[{i - last}]" for i in self.wanted]

    def _with(self, *inputs, **changed):
        args = list(self.fixed)
        for i, x in zip(self.wanted, inputs, strict=True):
            args[i] = x
        for name, value in changed.items():
            args[self.op.params.index(name)] = value
        return first(self.op(args, {}))

    def at(self, values):
        return super().at(values).with_fixed(self.fixed)

    def with_fixed(self, fixed):
        """The same call with other values for all arguments that are not inputs."""
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | {"fixed": list(fixed)}
        other.f = other._with
        return other

    def whole_arguments(self):
        """The inputs, then the arrays among the other arguments."""
        others = [a for i, a in enumerate(self.fixed) if i not in self.wanted and getattr(a, "ndim", 0)]
        return [*self.values, *others]

    def changed(self, **arguments):
        """The same call with another value for arguments that are not differentiated, such as stride=1."""
        return Function(lambda *xs: self._with(*xs, **arguments), self.values)

    def argument(self, name):
        """The value of an argument that is not differentiated; None if the op has no such argument."""
        return self.fixed[self.op.params.index(name)] if name in self.op.params else None

    def kept(self):
        """Name → value for everything that the rule keeps: its view of the forward pass."""
        y, _ = self.record(self.values)
        names = [*self.op.params, "y", *self.op.extras, *self.op.cache]
        return {names[i]: value for value, (i, shape_only) in zip(y.node.kept, y.node.plan.keep, strict=True)
                if not shape_only}

    def repaired(self, cotangents, **instead):
        """The gradients that the rule would give for these cotangents if it had kept `instead`."""
        y, leaves = self.record(self.values)
        names = [*self.op.params, "y", *self.op.extras, *self.op.cache]
        y.node.kept = [instead.get(names[i], value) if not shape_only else value
                       for value, (i, shape_only) in zip(y.node.kept, y.node.plan.keep, strict=True)]
        return [[g if g is None else g.data for g in grad(y, leaves, v.reshape(y.shape), retain_graph=True)]
                for v in cotangents]

    def unfitted(self, v):
        """The gradient of each input as the rules return it, of whatever shape."""
        y, _ = self.record(self.values)
        node, found = y.node, {}
        for rule, where, outputs, _ in node.plan.rules:
            gs = rule(v.reshape(y.shape), *[node.kept[k] for k in where])
            gs = gs if isinstance(gs, (tuple, list)) else (gs,)
            found.update((slot, gs[k]) for k, slot in outputs)
        return [found.get(node.plan.slot.get(i)) for i in self.wanted]


class Evidence:
    """The evidence on one wrong input i of a Function:

    x, y              its value and the result
    v                 (K, m) random cotangents
    wrong, right      (K, n) ∂⟨v, y⟩/∂x by the rule and numerically
    jacobian          (m, n) numeric ∂y/∂x, None if too large
    moved             whether the point was moved, because the function's own is at a kink or has equal entries: what
                      holds for equal numbers may fail for others
    """

    def __init__(self, function, i, rng, recorded=False):
        """recorded: examine the gradient that create_graph=True gives."""
        self.function, self.i, self.rng = function, i, rng
        self.names, self.recorded = function.names, recorded
        y = function.evaluate(function.values)
        self.v = rng.standard_normal((COTANGENTS, y.size))
        self.jacobian, self.moved = _jacobian(function, i, self.v, y, rng)
        self.moved |= any(len(np.unique(x)) < x.size for x in function.values)
        if self.moved:
            function = self.function = function.at([beside(x, rng) for x in function.values])
            self.jacobian, _ = _jacobian(function, i, self.v, y, rng)
        self.values, self.x = function.values, function.values[i]
        self.is_call = isinstance(function, Call)
        self.y = function.evaluate(function.values)
        if self.jacobian.shape[0] == y.size:
            self.right = self.v @ self.jacobian
        else:
            self.right, self.jacobian = self.jacobian, None
        self.all_wrong = self.gradients(self.v)
        self.wrong = self.of(i, self.all_wrong)
        self.error = np.linalg.norm(self.wrong - self.right)

    def gradients(self, cotangents):
        """The gradients by the rule for each cotangent: plain ones, or recorded ones."""
        if self.recorded:
            return [self.function.recorded_gradient(v) for v in cotangents]
        return self.function.gradients(list(cotangents))

    def of(self, i, gradients):
        """(K, n): the gradient of input i for each cotangent, zeros where there is none."""
        shape = self.values[i].shape
        return np.array([np.zeros(shape).ravel() if g[i] is None else g[i].ravel() for g in gradients])

    def arguments(self):
        """Name → array for all arguments that are arrays with axes, inputs included."""
        named = dict(zip(self.names, self.values, strict=True))
        if self.is_call:
            named |= {name: a for name, a in zip(self.function.op.params, self.function.fixed, strict=False)
                      if name not in named and getattr(a, "dtype", np.dtype(int)).kind == "f"}
        return {name: a for name, a in named.items() if a.ndim}

    def numbers(self):
        """The numbers among the other arguments: one of them may be a λ."""
        return [a for a in getattr(self.function, "fixed", ()) if isinstance(a, (int, float))]

    def right_of(self, j):
        """(K, n) numeric gradient of another input; None if it is too large."""
        if self.values[j].size > INPUTS:
            return None
        found, _ = _jacobian(self.function, j, self.v, self.y, self.rng)
        return self.v @ found if found.shape[0] == self.y.size else found

    def explains(self, predicted, entries=None):
        """Whether a prediction, (K, n) like `wrong`, matches the gradient found, on the given entries of x."""
        if predicted is None or not np.isfinite(predicted).all():
            return False
        a, p, n = self.wrong, predicted, self.right
        if entries is not None:
            a, p, n = a[:, entries], p[:, entries], n[:, entries]
        if not a.size:
            return False
        return bool(np.linalg.norm(a - p) <= FITS * np.linalg.norm(a - n))

    @property
    def freedom(self):
        """How many numbers there are to explain: the non-zero entries of the error, times the number of independent
        cotangents."""
        wrong = np.abs(self.wrong - self.right).max(axis=0) > 1e-9 * np.abs(self.wrong - self.right).max(initial=1e-300)
        return int(wrong.sum()) * min(COTANGENTS, self.y.size)


def _jacobian(function, i, v, y, rng):
    """(numeric ∂y/∂xᵢ, or only v ∂y/∂xᵢ if the whole is too large; whether some entry is at a kink)."""
    x = function.values[i]
    whole = x.size * y.size <= LARGEST

    def f(z):
        return function.evaluate([*function.values[:i], z, *function.values[i + 1:]]).ravel()
    s = slopes(f if whole else lambda z: v @ f(z), x, range(x.size), rng, f)
    return s.value.T, bool((s.kink == 2).any())
