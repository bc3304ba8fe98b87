"""@differentiable: a function on arrays that records itself on a tape when a Tensor comes in.

An Op is a forward function with its gradient rules. A Node is one call of an Op, on the tape. It keeps the
values that the rules name in their signatures, and nothing else.
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
from scratchnet.backend.forms import Declined, replaceable

_clock = itertools.count(1)  # Nodes are numbered in the order they were made
REGISTRY = {}  # "module.name" → the public function of every op


def differentiable(forward=None, *, extras=(), cache=(), broadcasts=False):
    """Make a function on arrays record itself when a Tensor comes in. Its gradient rule stands right below it:

        @differentiable
        def tanh(x):
            return array_module(x).tanh(x)

        @tanh.backward
        def _(gy, y):
            return gy * (1 - y * y)

    The rule gets gy = ∂L/∂y and whatever it names after that: an argument of forward, `y`, an extra, a cache, or the
    shape of one of these, as `x_shape`. Only that is kept until backward. The signature is the memory contract.

    extras      names of results that forward returns after y, for the caller (an argmax): plain arrays
    cache       names of results after those, for the rule alone (an im2col buffer); dropped if nothing is recorded
    broadcasts  whether shapes broadcast as in a + b. If so, a gradient may have the shape of y, and the walk sums it
                to the shape of its input. If not, a gradient must have the shape of its input: the rule for a layer's
                bias has to write out the sum over the batch.

    forward may be a ufunc of NumPy, such as np.tanh. `op.names` lists the names that a rule may use, and inside
    `with op.using(rule):` another rule replaces the op's own.

    Under create_graph=True, floating-point extras and caches come as None, and the rule computes them again from the
    inputs; backward.py says why.
    """
    if forward is None:
        return functools.partial(differentiable, extras=extras, cache=cache, broadcasts=broadcasts)
    op = Op(forward, extras, cache, broadcasts)

    @functools.wraps(forward)
    def call(*args, **kwargs):
        for a in args:
            if type(a) not in _PLAIN and isinstance(a, _NOT_PLAIN):
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
    """Make a function the public face of an op, with `using`, `names` and a line on the names in its docstring.

    If the op's forward function is private, `_x`, errors, reports and REGISTRY call the op by the name of its face.
    """
    op = getattr(op, "op", op)

    def mark(function):
        function.op, function.using, function.names = op, op.using, op.names
        if _name_of(op.forward).startswith("_") and not function.__name__.startswith("_"):
            REGISTRY.pop(f"{op.module}.{op.name}", None)
            op.name = function.__name__
            REGISTRY[f"{op.module}.{op.name}"] = function
        function.__doc__ = (f"{inspect.cleandoc(function.__doc__ or '')}\n\n"
                            f"After gy, a gradient rule may name: {', '.join(op.names)}")
        return function
    return mark


_NOT_PLAIN = (Tensor, np.generic, *LOSSY)
_PLAIN = {np.ndarray, float, int, tuple, type(None)}  # most arguments: looked up in a quarter of the time of isinstance


class Op:
    """A differentiable function: its forward pass, the names of its arguments and results, and its gradient rules."""

    def __init__(self, forward, extras, cache, broadcasts):
        ufunc = isinstance(forward, np.ufunc)  # np.tanh also takes out, where, …; the op takes the inputs alone
        parameters = list(inspect.signature(forward).parameters.values())[:forward.nin if ufunc else None]
        self.forward, self.broadcasts = forward, broadcasts or ufunc
        self.name, self.module = _name_of(forward).lstrip("_"), getattr(forward, "__module__", "numpy")
        self.params = [p.name for p in parameters]
        self.defaults = [p.default for p in parameters]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)  # *xs, always the last
        self.extras, self.cache = extras, cache
        self.rules, self.plans = [], {}
        self.forms = {}  # type of array → a faster form of forward (backend/forms.py)

    def backward(self, *targets):
        """Define a gradient rule. `@op.backward` serves the leading arguments in order, `@op.backward("x", "w")` the
        arguments that it names. A rule runs, and its values are kept, only if one of its arguments needs a gradient."""
        if len(targets) == 1 and callable(targets[0]):
            return self.add_rule(None, targets[0])
        return functools.partial(self.add_rule, targets)

    def add_rule(self, targets, rule):
        for name in list(inspect.signature(rule).parameters)[1:]:
            self.locate(name)  # a misspelt name is an error here, not at the first backward
        self.rules.append((targets, rule))
        self.plans = {}
        return rule

    @contextmanager
    def using(self, rule):
        """Inside, `rule(gy, …)` replaces the gradient rules of this op. It returns the gradient of the first argument,
        or a tuple of gradients for the leading arguments. After gy it may name anything in `names`."""
        before, self.rules, self.plans = self.rules, [], {}
        try:
            self.add_rule(None, rule)
            yield
        finally:
            self.rules, self.plans = before, {}

    def __call__(self, args, kwargs):
        """Run forward on the arrays in args, and record the call if one of them needs a gradient."""
        if not self.variadic and (kwargs or len(args) != len(self.params)):
            args = self.bind(args, kwargs)
        arrays, needs, any_tensor, scalars, recording = [], (), False, False, mode.recording
        for i, a in enumerate(args):
            if type(a) in _PLAIN:
                pass
            elif isinstance(a, Tensor):
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
            result = self.fastest(arrays, {}) if self.forms else self.forward(*arrays)
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
            if needs and y.data.dtype.kind in "fc":  # integers and booleans are piecewise constant
                y.requires_grad = True
                y.node = self.record(args, arrays, y.data, more, needs)
                if mode.calls is not None:
                    mode.calls.append((self, args, y))
            if anomaly.active():
                anomaly.check_forward(self.name, arrays, y.data)
            result = y
        return (result, *more[:len(self.extras)]) if self.extras else result

    def fastest(self, args, kwargs):
        """What forward gives, by the form for this type of array, unless there is none or it declines."""
        form = self.forms.get(type(args[0])) if args else None
        if form is None or args[0].size < form.least:
            return self.forward(*args, **kwargs)
        if kwargs or len(args) != len(self.params):
            args = self.bind(args, kwargs)
        result = form(*args)
        return self.forward(*args) if type(result) is Declined else result

    def on_arrays(self, args, kwargs):
        """__call__ without Tensors among the arguments, in a third of the time. Most calls from gradient rules are of
        this kind."""
        if kwargs:
            if any(isinstance(a, Tensor) for a in kwargs.values()):
                return self(args, kwargs)
            kwargs = dict(zip(kwargs, plain_numbers(kwargs.values(), args), strict=True))
        try:
            result = self.fastest(args, kwargs) if self.forms else self.forward(*args, **kwargs)
        except Exception:
            return self(args, kwargs)  # its error says what is wrong with the arguments
        if self.extras or self.cache:
            return result[:1 + len(self.extras)] if self.extras else result[0]
        if type(result) is not np.ndarray:
            check_result(self.name, result, args)
        return result

    def record(self, args, arrays, y, more, needs):
        """The Node of a call. needs: the positions of the arguments that need a gradient."""
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

    @property
    def names(self):
        """The names that a gradient rule may use after gy: arguments, y, extras, caches, and the shapes of all."""
        whole = [*(self.params[:-1] if self.variadic else self.params), "y", *self.extras, *self.cache]
        return whole + [f"{name}_shape" for name in [*self.params, "y", *self.extras, *self.cache]]

    def locate(self, name):
        """The source of a rule's argument: (its index among arguments, y, extras, caches; whether only its shape)."""
        names = [*self.params, "y", *self.extras, *self.cache]
        shape_only = name.endswith("_shape") and name not in names
        name = name.removesuffix("_shape") if shape_only else name
        if name not in names or (self.variadic and names.index(name) >= len(self.params) - 1 and not shape_only):
            whole, shapes = ([n for n in self.names if n.endswith("_shape") == only] for only in (False, True))
            raise TypeError(f"{self.name}: after gy, a gradient rule can name {', '.join(whole)} or the shapes alone, "
                            f"{', '.join(shapes)}; not `{name}`")
        return names.index(name), shape_only

    def no_gradient(self, i):
        return TypeError(f"{self.name}: there is no gradient rule for its argument `{self.params[i]}`; "
                         f"pass it as an array (t.data) if it is a constant")

    def bind(self, args, kwargs):
        """The arguments in the order of the signature, with defaults filled in."""
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


class _Plan:
    """The rules to run and the values to keep, for one op and one choice of inputs that need a gradient.

    rules    [(rule, the places of its arguments in `kept`, outputs, count)]. outputs: pairs (which of the rule's
             gradients, for which of Node.parents). count: how many gradients the rule owes, None for any number
    keep     for each kept value, its index among (arguments, y, extras, caches) and whether only its shape is kept
    slot     {which argument: which of Node.parents}
    watched  the inputs whose arrays are kept, as indices into Node.parents
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
                rule = replaceable(rule, rule.forms) if getattr(rule, "forms", None) else rule
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


class Node:
    """One call of an op, on the tape. It points to the Nodes (or leaf Tensors) of its inputs and never to its outputs,
    so there are no reference cycles."""

    __slots__ = ("op", "plan", "order", "parents", "kept", "versions", "shape", "dtype", "trace")


def _name_of(forward):
    return getattr(forward, "__name__", type(forward).__name__)


def plain_numbers(values, beside):
    """The values, with NumPy's scalars as Python's numbers if they meet a floating-point array. Otherwise a setting
    such as np.float64(0.2) or np.int64(2) would turn float32 into float64."""
    if any(isinstance(a, Tensor) or (is_array(a) and not isinstance(a, np.generic) and a.dtype.kind == "f")
           for a in beside):
        return tuple(a.item() if isinstance(a, np.generic) and a.dtype.kind in "biuf" else a for a in values)
    return tuple(values)


def _shape_of(x):
    """The shape of an argument: a list of shapes for *xs, () for a number."""
    return [a.shape for a in x] if isinstance(x, list) else getattr(x, "shape", ())


def count_versions(plan, parents):
    """The number of in-place changes so far of the leaves whose arrays are kept, summed over all of them."""
    total = 0
    for k in plan.watched:
        if isinstance(parents[k], Tensor):
            total += parents[k].version
    return total
