"""Reverse-mode automatic differentiation: the walk back along the tape, behind `backward` and `grad`.

A Tensor is an array that remembers how it was made. Each call of an op on Tensors that require a gradient puts a Node
on the tape. It holds the op, the Nodes of the op's inputs (its parents), and the arrays that the gradient rule asks
for. The walk goes from the newest Node to the oldest and applies the chain rule,

    ∂L/∂x = Σ (∂y/∂x)ᵀ ∂L/∂y        over all ops y that read x
            (Rumelhart, Hinton & Williams 1986; Baydin et al. 2018, section 3.2)

All of reverse mode in six lines:

    due = {y: gy}                               # Node → the gradient that has reached it so far
    while due:
        node = newest(due)                      # the ops that read its result are newer, so all are done
        gy = due.pop(node)
        for parent, gx in rules(node, gy):      # gx = (∂y/∂x)ᵀ gy, computed without ever forming the Jacobian
            due[parent] = due.get(parent, 0) + gx

`_walk` is these lines, done with care. A leaf was made by no op and has no rules, so its gradient is a result. A Node
is freed as soon as the walk has passed it. `grad` walks only the paths that lead to its targets. A rule may hand one
array to two parents, so the walk adds in place only to arrays that it made itself.

The second derivative. Gradient rules are written in ops, so a gradient can be recorded like any other result. Take
y = exp(x), with the rule gx = gy * y, and ask for d²y/dx²:

    first = grad(y, x, create_graph=True)       # the Tensor gy * y, recorded
    second = grad(first, x)

  - With create_graph, gy is a Tensor, and the ops in the rule record themselves.
  - The rule names y. The Node kept its array, but the rule gets the Tensor that it was, made by this very Node
    (`_with_history`). So the tape of `first` reads x → exp → multiply.
  - The second walk starts at multiply, whose rule sends 1 · gy = 1 to y, that is, to the Node of exp. There the rule of
    exp runs once more and sends 1 * y = eˣ to x, as it should.
  - A plain array y would be a constant. The second derivative of x exp(x) would come out as 2eˣ, and its other part,
    x eˣ, would be missing without a word. So under create_graph a rule gets None for extras and caches of
    floating-point numbers, which are plain arrays, and computes them again from the inputs.
"""

import heapq

import numpy as np

from scratchnet.autograd import anomaly
from scratchnet.autograd.accumulate import accumulate, apply_in_place
from scratchnet.autograd.differentiable import Node, count_versions
from scratchnet.autograd.errors import retold
from scratchnet.autograd.fit import GradientError, fit
from scratchnet.autograd.tensor import Tensor, data_of, mode, recording
from scratchnet.backend import array_module, kind_of


def backward(y, gy=None, retain_graph=False):
    """Add ∂(gy · y)/∂leaf to `.grad` of every leaf that this Tensor was computed from.

    gy is the cotangent, an array of this Tensor's shape. For a single number it is 1 by default.
    The walk frees the tape; `retain_graph=True` keeps it for a second pass.
    """
    _walk(y, _cotangent(y, gy), accumulate, apply_in_place, retain_graph=retain_graph)


Tensor.backward = backward


def grad(y, xs, gy=None, create_graph=False, retain_graph=None):
    """∂(gy · y)/∂x for each x in the list xs, or for a single Tensor xs; None where y does not depend on x.

    Writes nothing to `.grad`. With `create_graph=True` the results can be differentiated again.
    Walks only the tape between y and xs, and frees it unless retain_graph is set (by default to create_graph).

    >>> x = Tensor(2.0, requires_grad=True)
    >>> first = grad(x**3, x, create_graph=True)
    >>> first.item(), grad(first, x).item()
    (12.0, 12.0)
    """
    single = isinstance(xs, Tensor)
    if not isinstance(y, Tensor) or not (single or isinstance(xs, (list, tuple))):
        raise TypeError(f"grad: expected a Tensor y and a Tensor, or a list of them, xs; got {kind_of(y)} and "
                        f"{kind_of(xs)}")
    xs = [xs] if single else list(xs)
    for i, x in enumerate(xs):
        if not (isinstance(x, Tensor) and x.requires_grad):
            raise ValueError(f"grad: xs[{i}] must be a Tensor with requires_grad=True")
    found, targets = {}, {x.node or x for x in xs}

    def collect(target, g):
        if target in targets:
            found[target] = found[target] + g if target in found else g

    gy = _cotangent(y, gy)
    if create_graph and not isinstance(gy, Tensor):
        gy = Tensor(gy)
    _walk(y, gy, collect, _apply, targets, create_graph if retain_graph is None else retain_graph, create_graph)
    results = [found.get(x.node or x) for x in xs]
    if not create_graph:  # copies: the walk shares arrays freely, and callers may change theirs
        results = [None if g is None else Tensor(g.copy()) for g in results]
    return results[0] if single else results


def _cotangent(y, gy):
    """gy, checked to have the shape of y, in the dtype of y; 1 if it is None."""
    if not y.requires_grad:
        raise ValueError("backward: this Tensor depends on nothing that requires a gradient "
                         "(was it computed under no_grad(), or detached?)")
    xp = array_module(y.data)
    if gy is None:
        if y.size != 1:
            raise ValueError(f"backward: y has shape {y.shape}; only a single number can go without gy. "
                             f"Reduce it (y.sum(), y.mean()) or pass gy of that shape")
        return xp.ones(y.shape, dtype=y.dtype)
    if not isinstance(gy, Tensor):
        gy = Tensor(gy).data  # refuses everything but arrays of numbers
        if gy.dtype.kind == "c" and y.dtype.kind != "c":
            raise TypeError(f"backward: gy is complex, but y is {y.dtype}")
        gy = xp.asarray(gy, dtype=y.dtype)
    if gy.shape != y.shape:
        raise ValueError(f"backward: gy has shape {gy.shape}, but y has shape {y.shape}")
    return gy


def _walk(y, gy, deliver, apply, targets=None, retain_graph=False, create_graph=False):
    """From y back to the leaves, newest Node first.

    deliver(leaf, gradient)  is called for every leaf, once for each op that reads it. Given `targets`, the walk takes
                             only the paths to them, and delivers the Nodes on these paths as well.
    apply                    runs a gradient rule: `_apply`, or for `backward` apply_in_place
    """
    if y.node is None:
        deliver(y, gy)
        return
    wanted = None if targets is None else _between(y.node, targets)
    due = _Due(y.node, gy if create_graph else data_of(gy), sum_in_place=not create_graph)
    seen = mode.passed
    with recording(create_graph):
        while due.heap:
            node, gy = due.pop()
            if wanted is not None:
                deliver(node, gy)
                if wanted.isdisjoint(_parents(node)):
                    continue
            inputs = _gradients(node, gy, wanted, apply, create_graph)
            if seen is not None:
                seen.append((node, gy, inputs))
            if not retain_graph:
                node.parents = node.kept = None
            for parent, gx in inputs:
                if isinstance(parent, Tensor):
                    deliver(parent, gx)
                else:
                    due.add(parent, gx)


class _Due:
    """The Nodes that the walk has reached but not passed, each with the sum of the gradients that have reached it."""

    def __init__(self, node, gy, sum_in_place):
        self.grads, self.heap, self.ours = {node: gy}, [(-node.order, node)], set()
        self.sum_in_place = sum_in_place

    def pop(self):
        """The newest Node and its gradient."""
        node = heapq.heappop(self.heap)[1]
        self.ours.discard(node)
        return node, self.grads.pop(node)

    def add(self, node, g):
        """grads[node] ← grads[node] + g; in place only where the sum was made here, so that nothing else holds it."""
        if node not in self.grads:
            self.grads[node] = g
            heapq.heappush(self.heap, (-node.order, node))
        elif node in self.ours:
            self.grads[node] += g
        else:
            self.grads[node] = self.grads[node] + g
            if self.sum_in_place:
                self.ours.add(node)


def _between(root, targets):
    """The Nodes and leaves on a path from root to one of the targets."""
    seen, stack = {root}, [root]
    while stack:
        for parent in _parents(stack.pop()):
            if parent not in seen:
                seen.add(parent)
                if isinstance(parent, Node):
                    stack.append(parent)
    wanted = seen & targets
    for node in sorted((n for n in seen if isinstance(n, Node)), key=lambda n: n.order):
        if not wanted.isdisjoint(node.parents):
            wanted.add(node)
    return wanted


def _parents(node):
    if node.parents is None:
        raise RuntimeError(f"backward: the tape behind `{node.op.name}` was freed by an earlier backward; "
                           f"run forward again, or pass retain_graph=True to the first backward")
    return node.parents


def _gradients(node, gy, wanted, apply, create_graph):
    """[(parent, gradient)] for the inputs that need a gradient, by the rules of this Node's op."""
    parents, kept, found = _parents(node), _kept(node, create_graph), []
    for rule, where, outputs, count in node.plan.rules:
        if wanted is not None and wanted.isdisjoint([parents[slot] for _, slot in outputs]):
            continue
        try:
            gs = apply(rule, gy, map(kept.__getitem__, where), outputs, parents)
        except Exception as error:
            hint = _RECORDED if create_graph else ""
            told = retold(error, f"{node.op.name}: in its gradient rule: {error}{hint}")
            if told is None or ": in its gradient rule: " in str(error):
                raise
            raise told from error
        gs = gs if isinstance(gs, (tuple, list)) else (gs,)
        if len(gs) != count if count else len(gs) <= outputs[-1][0]:
            raise GradientError(f"{node.op.name}: its gradient rule gave {len(gs)} gradients, but the inputs "
                                f"{[node.plan.name_of(slot) for _, slot in outputs]} need one each")
        for i, slot in outputs:
            if gs[i] is not None and (wanted is None or parents[slot] in wanted):
                found.append((parents[slot], fit(gs[i], parents[slot], node, slot)))
    return found


_RECORDED = ("; here it is recorded for a second derivative (create_graph=True), so it gets Tensors: write it in "
             "scratchnet's ops, which take Tensors and arrays (ops.exp instead of np.exp)")


def _apply(rule, gy, arguments, outputs, parents):
    return rule(gy, *arguments)


def _kept(node, create_graph):
    """The values that this Node kept for its rules; an error if they have changed since."""
    op, plan, kept = node.op, node.plan, node.kept
    if node.versions != count_versions(plan, node.parents):
        raise RuntimeError(f"backward: an input of `{op.name}` was changed in place (by an optimizer step or by "
                           f"loading weights) after the forward pass; run forward again first")
    if node.trace:
        anomaly.check_unchanged(op.name, node.trace[0], kept, node.trace[1])
    if not create_graph:
        return kept
    return [value if shape_only else _with_history(node, i, value)
            for value, (i, shape_only) in zip(kept, plan.keep, strict=True)]


def _with_history(node, i, value):
    """A kept value as the Tensor that it was; None for floating-point extras and caches (see the top of this file)."""
    n = len(node.op.params)
    if i in node.plan.slot:
        parent = node.parents[node.plan.slot[i]]
        return parent if isinstance(parent, Tensor) else _tensor_of(value, parent)
    if i == n:
        return _tensor_of(value, node)
    if i > n and getattr(value, "dtype", np.dtype(int)).kind in "fc":
        return None
    return value


def _tensor_of(array, node):
    t = Tensor(array)
    t.node, t.requires_grad = node, True
    return t
