"""@differentiable: a function on arrays that records itself on a tape when a Tensor comes in.

An Op is a forward function and its gradient rules. A Node is one call of it on the tape. What a rule names in its
signature is what a Node keeps.
"""

import functools
import inspect
import itertools
from contextlib import contextmanager

import numpy as np

from scratchnet.autograd import anomaly
from scratchnet.autograd.errors import check_result, explain
from scratchnet.autograd.tensor import LOSSY, Tensor, mode, refuse
from scratchnet.backend import is_array

_clock = itertools.count(1)  # Nodes are numbered in the order they were made
REGISTRY = {}  # name → op, for every op ever defined with @differentiable


class Node:
    """One op call on the tape. It points at the Nodes (or leaf Tensors) of its inputs, never at its outputs,
    so there are no reference cycles, and it holds only what the gradient rule named."""

    __slots__ = ("op", "plan", "order", "parents", "kept", "versions", "shape", "dtype", "trace")


class _Plan:
    """For one op and one choice of inputs that need a gradient: which rules to run and what to keep for them.

    rules    [(rule, where its arguments lie in `kept`, outputs, count)]: outputs are pairs (which of the rule's
             gradients, for which of Node.parents); count is how many it has to give, None for any number
    keep     where to find each kept value among (arguments, y, extras, caches), and whether only its shape is kept
    slot     {which argument: which of Node.parents}
    watched  the inputs, as indices into Node.parents, whose arrays are kept
    """

    def __init__(self, op, needs):
        self.op, self.slot = op, {position: k for k, position in enumerate(needs)}
        served, self.rules, names = set(), [], []
        first = len(op.params) - 1 if op.variadic else 0  # the first argument that a bare rule serves
        for targets, rule in op.rules:
            order = {position: position - first for position in needs} if targets is None else {
                op.params.index(t): k for k, t in enumerate(targets)}
            outputs = [(order[position], k) for position, k in self.slot.items() if position in order]
            if outputs:
                wanted = list(inspect.signature(rule).parameters)[1:]
                names += [name for name in wanted if name not in names]
                self.rules.append((rule, [names.index(name) for name in wanted], outputs, targets and len(targets)))
                served.update(order)
        for i in needs:
            if i not in served:
                raise op.no_gradient(i)
        self.keep = [op.locate(name) for name in names]
        self.watched = [self.slot[i] for i, shape_only in self.keep if not shape_only and i in self.slot]

    def name_of(self, slot):
        """The name of the argument whose Node or leaf is parents[slot]."""
        position = next(i for i, k in self.slot.items() if k == slot)
        last = len(self.op.params) - 1
        return f"{self.op.params[-1]}[{position - last}]" if self.op.variadic and position >= last \
            else self.op.params[position]


class Op:
    """A differentiable function: its forward pass, the names of its arguments and results, its gradient rules."""

    def __init__(self, forward, extras, cache, broadcasts):
        ufunc = isinstance(forward, np.ufunc)  # np.tanh: of its arguments only the inputs are the op's
        parameters = list(inspect.signature(forward).parameters.values())[:forward.nin if ufunc else None]
        self.forward, self.broadcasts = forward, broadcasts or ufunc
        self.name, self.module = _name_of(forward).lstrip("_"), getattr(forward, "__module__", "numpy")
        self.params = [p.name for p in parameters]
        self.defaults = [p.default for p in parameters]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)  # only ever the last one
        self.extras, self.cache = extras, cache
        self.rules, self.plans = [], {}

    @property
    def names(self):
        """What a gradient rule may name behind gy: arguments, y, extras, caches, and the shapes of all of them."""
        whole = [*(self.params[:-1] if self.variadic else self.params), "y", *self.extras, *self.cache]
        return whole + [f"{name}_shape" for name in [*self.params, "y", *self.extras, *self.cache]]

    def locate(self, name):
        """Where a rule's argument comes from: (index among arguments, y, extras, caches; whether only the shape)."""
        names = [*self.params, "y", *self.extras, *self.cache]
        shape_only = name.endswith("_shape") and name not in names
        name = name.removesuffix("_shape") if shape_only else name
        if name not in names or (self.variadic and names.index(name) >= len(self.params) - 1 and not shape_only):
            whole, shapes = ([n for n in self.names if n.endswith("_shape") == only] for only in (False, True))
            raise TypeError(f"{self.name}: behind gy, a gradient rule can name {', '.join(whole)} or the shapes alone, "
                            f"{', '.join(shapes)}; not `{name}`")
        return names.index(name), shape_only

    def no_gradient(self, i):
        return TypeError(f"{self.name}: there is no gradient rule for its argument `{self.params[i]}`; "
                         f"pass it as an array (t.data) if it is a constant")

    def bind(self, args, kwargs):
        """The arguments in the order of the signature, defaults filled in."""
        values = [*args, *self.defaults[len(args):]]
        for name, value in kwargs.items():
            if name not in self.params or self.params.index(name) < len(args):
                raise TypeError(f"{self.name}() got an unexpected or repeated argument `{name}`; "
                                f"it takes {', '.join(self.params)}")
            values[self.params.index(name)] = value
        missing = [n for n, v in zip(self.params, values, strict=False) if v is inspect.Parameter.empty]
        if missing or len(values) != len(self.params):
            raise TypeError(f"{self.name}() takes {', '.join(self.params)}; "
                            + (f"missing: {', '.join(missing)}" if missing else f"got {len(args)} arguments"))
        return values

    def on_arrays(self, args, kwargs):
        """What __call__ does where no Tensor is among the arguments, and in a third of the time: most calls in gradient
        rules are such."""
        if kwargs:
            if any(isinstance(a, Tensor) for a in kwargs.values()):
                return self(args, kwargs)
            kwargs = dict(zip(kwargs, plain_numbers(kwargs.values(), args), strict=True))
        try:
            result = self.forward(*args, **kwargs)
        except Exception:
            return self(args, kwargs)  # which says what is wrong with the arguments
        if self.extras or self.cache:
            return result[:1 + len(self.extras)] if self.extras else result[0]
        if type(result) is not np.ndarray:
            check_result(self.name, result, args)
        return result

    def __call__(self, args, kwargs):
        if not self.variadic and (kwargs or len(args) != len(self.params)):
            args = self.bind(args, kwargs)
        arrays, needs, any_tensor, scalars, recording = [], (), False, False, mode.recording
        for i, a in enumerate(args):
            if isinstance(a, Tensor):
                any_tensor = True
                if recording and a.requires_grad:
                    needs += (i,)
                a = a.data
            elif isinstance(a, _NOT_PLAIN):
                if isinstance(a, LOSSY):
                    refuse(self.name, a)
                scalars = True
            arrays.append(a)
        if scalars:
            arrays = list(plain_numbers(arrays, args))
        try:
            result = self.forward(*arrays)
        except Exception as error:
            told = explain(self, error, arrays)
            if told is None:
                raise
            raise told from error

        more = ()  # results beyond y: extras are for the caller, caches only for the gradient rule
        if self.extras or self.cache:
            result, *more = result
        if type(result) is not np.ndarray:
            check_result(self.name, result, arrays)
        if any_tensor:
            y = Tensor(result)
            if needs and y.data.dtype.kind in "fc":  # integers and booleans are steps: constant almost everywhere
                y.requires_grad = True
                y.node = self.record(args, arrays, y.data, more, needs)
                if mode.calls is not None:
                    mode.calls.append((self, args, y))
            if anomaly.active():
                anomaly.check_forward(self.name, arrays, y.data)
            result = y
        return (result, *more[:len(self.extras)]) if self.extras else result

    def record(self, args, arrays, y, more, needs):
        plan = self.plans.get(needs)
        if plan is None:
            plan = self.plans[needs] = _Plan(self, needs)
        node = Node()
        node.op, node.plan, node.order = self, plan, next(_clock)
        node.parents = parents = [args[i].node or args[i] for i in needs]
        node.shape, node.dtype, node.kept = y.shape, y.dtype, ()
        if plan.keep:
            if self.variadic:
                named = len(self.params) - 1
                arrays = [*arrays[:named], arrays[named:]]
            values = [*arrays, y, *more]
            node.kept = [_shape_of(values[i]) if shape_only else values[i] for i, shape_only in plan.keep]
        node.versions = count_versions(plan, parents)
        node.trace = anomaly.trace(node.kept) if anomaly.active() else None
        return node

    def backward(self, *targets):
        """Define the gradient rule. `@op.backward` serves the leading arguments in order; `@op.backward("x", "w")`
        serves those named, so that what only another argument's gradient needs is neither kept nor computed."""
        if len(targets) == 1 and callable(targets[0]):
            return self.add_rule(None, targets[0])
        return functools.partial(self.add_rule, targets)

    def add_rule(self, targets, rule):
        for name in list(inspect.signature(rule).parameters)[1:]:
            self.locate(name)  # a misspelt name is an error now, not at the first backward
        self.rules.append((targets, rule))
        self.plans = {}
        return rule

    @contextmanager
    def using(self, rule):
        """Inside, `rule(gy, …)` replaces the gradient of this op. It gives the gradient of the first argument, or a
        tuple for the leading arguments. Behind gy it may name what stands in `names`: arguments of the op, its result
        `y`, its extras and caches, and the shape of each (`x_shape`)."""
        before, self.rules, self.plans = self.rules, [], {}
        try:
            self.add_rule(None, rule)
            yield
        finally:
            self.rules, self.plans = before, {}


def differentiable(forward=None, *, extras=(), cache=(), broadcasts=False):
    """Make a function on arrays record itself when a Tensor comes in. Its gradient rule stands right below:

        @differentiable
        def tanh(x):
            return array_module(x).tanh(x)

        @tanh.backward
        def _(gy, y):
            return gy * (1 - y * y)

    The rule gets gy = ∂L/∂y and whatever it names after it: an argument of forward, `y`, an extra, a cache, or one of
    these with `_shape` behind it. Only that is kept until backward: the signature is the memory contract.

    extras      names of further results that forward returns behind y, for the caller (an argmax): plain arrays
    cache       names of further results only for the rule (an im2col buffer), dropped when nothing is recorded
    broadcasts  whether shapes broadcast as in a + b: then a gradient may have the shape of y, and the walk sums it back
                to the shape of its input. Everywhere else a gradient has its input's shape, or it is an error: a bias
                of a layer needs its sum over the batch written out.

    forward may be one of NumPy's functions of numbers, np.tanh. `op.names` are the names that a rule may use, and
    `op.using(rule)` puts another rule in the place of the op's own for a while.

    Floating-point extras and caches are functions of the inputs. With `create_graph=True` they would be constants
    that hide a path, so they are withheld (None), and the rule computes them again from the inputs.
    """
    if forward is None:
        return functools.partial(differentiable, extras=extras, cache=cache, broadcasts=broadcasts)
    op = Op(forward, extras, cache, broadcasts)

    @functools.wraps(forward)
    def call(*args, **kwargs):
        for a in args:
            if isinstance(a, _NOT_PLAIN):
                if isinstance(a, LOSSY):
                    refuse(op.name, a)
                if isinstance(a, Tensor):
                    return op(args, kwargs)
                args = plain_numbers(args, args)
        return op.on_arrays(args, kwargs)

    call.backward = op.backward
    REGISTRY[f"{op.module}.{op.name}"] = call
    return handle(op)(call)


def handle(op):
    """Make a function the public face of an op: `using`, `names` and, in its docstring, the names for a rule.

    An op whose forward function is private, `_x`, takes the name of its face in errors, reports and REGISTRY.
    """
    op = getattr(op, "op", op)

    def mark(function):
        function.op, function.using, function.names = op, op.using, op.names
        if _name_of(op.forward).startswith("_") and not function.__name__.startswith("_"):
            REGISTRY.pop(f"{op.module}.{op.name}", None)
            op.name = function.__name__
            REGISTRY[f"{op.module}.{op.name}"] = function
        function.__doc__ = (f"{inspect.cleandoc(function.__doc__ or '')}\n\n"
                            f"Behind gy, a gradient rule may name: {', '.join(op.names)}")
        return function
    return mark


def _name_of(forward):
    return getattr(forward, "__name__", type(forward).__name__)


_NOT_PLAIN = (Tensor, np.generic, *LOSSY)


def plain_numbers(values, beside):
    """The values, in which NumPy's scalars have become Python's numbers where they meet a floating-point array: a
    setting, like np.float64(0.2) or np.int64(2), would turn float32 into float64."""
    if any(isinstance(a, Tensor) or (is_array(a) and not isinstance(a, np.generic) and a.dtype.kind == "f")
           for a in beside):
        return tuple(a.item() if isinstance(a, np.generic) and a.dtype.kind in "biuf" else a for a in values)
    return tuple(values)


def _shape_of(x):
    """The shape of an argument; for several (*xs), a list of shapes; for a number, ()."""
    return [a.shape for a in x] if isinstance(x, list) else getattr(x, "shape", ())


def count_versions(plan, parents):
    """How often the leaves whose arrays are kept have been changed in place, all together."""
    total = 0
    for k in plan.watched:
        if isinstance(parents[k], Tensor):
            total += parents[k].version
    return total
