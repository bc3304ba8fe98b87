"""Reverse-mode automatic differentiation: the walk back along the tape, behind `backward` and `grad`.

A Tensor is an array that remembers how it was made. Each call of a differentiable op on a Tensor adds a Node to a
tape: the op, the Nodes of its inputs, and the arrays its gradient rule asked to keep. `backward` walks the tape from
the newest Node to the oldest and multiplies by one Jacobian at a time (Rumelhart, Hinton & Williams 1986;
Baydin et al. 2018, section 3.2):

    ∂L/∂x = Σ over the ops that read x of (∂y/∂x)ᵀ ∂L/∂y

A gradient rule is written in the same ops as everything else. On arrays it just computes (first order, nothing is
recorded); with `create_graph=True` it is given Tensors, so the gradient has a tape of its own and can be
differentiated again, to any order.
"""

import heapq

import numpy as np

from scratchnet import anomaly
from scratchnet.anomaly import AnomalyError, detect_anomaly
from scratchnet.backend import array_module, is_array, kind_of
from scratchnet.backend.products import column_sum, product
from scratchnet.differentiable import REGISTRY, Node, count_versions, differentiable, retold
from scratchnet.tensor import Tensor, data_of, enable_grad, mode, no_grad, recording

__all__ = ["REGISTRY", "AnomalyError", "GradientError", "GradientShapeError", "Tensor", "detect_anomaly",
           "differentiable", "grad", "enable_grad", "no_grad"]


class GradientError(ValueError):
    """A gradient rule gave something else than an array of floating-point numbers for each input that needs one."""


class GradientShapeError(GradientError):
    """A gradient rule gave an array that does not have its input's shape."""


def backward(y, gy=None, retain_graph=False):
    """Add ∂(gy · y)/∂leaf to `.grad` of every leaf that this Tensor was computed from.

    gy: the cotangent, an array of this Tensor's shape; may be left out for a single number (then 1).
    The tape is freed on the way; `retain_graph=True` keeps it for a second pass.
    """
    _walk(y, _cotangent(y, gy), _accumulate, retain_graph=retain_graph)


Tensor.backward = backward


def grad(y, xs, gy=None, create_graph=False, retain_graph=None):
    """∂(gy · y)/∂x for each x in xs: a list of Tensors, or one Tensor for one x; None where x does not reach y.

    Nothing is written to `.grad`. With `create_graph=True` the results can be differentiated again.
    Only the part of the tape between y and xs is walked, and freed unless retain_graph (default: create_graph).
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
    _walk(y, gy, collect, targets, create_graph if retain_graph is None else retain_graph, create_graph)
    results = [found.get(x.node or x) for x in xs]
    if not create_graph:  # copies: the walk shares arrays freely, the caller may change what he gets
        results = [None if g is None else Tensor(g.copy()) for g in results]
    return results[0] if single else results


def _cotangent(y, gy):
    """gy in the shape and dtype of y; 1 where it may be left out."""
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
        gy = Tensor(gy).data  # which refuses what is no array of numbers
        if gy.dtype.kind == "c" and y.dtype.kind != "c":
            raise TypeError(f"backward: gy is complex, but y is {y.dtype}")
        gy = xp.asarray(gy, dtype=y.dtype)
    if gy.shape != y.shape:
        raise ValueError(f"backward: gy has shape {gy.shape}, but y has shape {y.shape}")
    return gy


def _walk(y, gy, deliver, targets=None, retain_graph=False, create_graph=False):
    """Newest Node first, so that each is reached after everything that reads its result.

    deliver(leaf, gradient) is called for every leaf, in parts if it is read more than once, and, where `targets` are
    given, deliver(node, gradient) for every Node passed; then only paths to the targets are walked.
    """
    root = y.node or y
    if root is y:
        deliver(y, gy)
        return
    wanted = None if targets is None else _between(root, targets)
    gy = gy if create_graph else data_of(gy)
    grads, ours, heap = {root: gy}, set(), [(-root.order, root)]
    seen = mode.passed
    with recording(create_graph):
        while heap:
            node = heapq.heappop(heap)[1]
            gy = grads.pop(node)
            ours.discard(node)
            if wanted is not None:
                deliver(node, gy)
                if wanted.isdisjoint(_parents(node)):
                    continue
            inputs = _apply_rules(node, gy, wanted, create_graph, deliver is _accumulate)
            if seen is not None:
                seen.append((node, gy, inputs))
            if not retain_graph:
                node.parents = node.kept = None
            for parent, g in inputs:
                if isinstance(parent, Tensor):
                    deliver(parent, g)
                elif parent not in grads:
                    grads[parent] = g  # perhaps shared with another gradient: never added to in place
                    heapq.heappush(heap, (-parent.order, parent))
                elif parent in ours:
                    grads[parent] += g  # a sum made below: nobody else has seen it
                else:
                    grads[parent] = grads[parent] + g
                    if not create_graph:
                        ours.add(parent)


def _parents(node):
    if node.parents is None:
        raise RuntimeError(f"backward: the tape behind `{node.op.name}` was freed by an earlier backward; "
                           f"run forward again, or pass retain_graph=True to the first backward")
    return node.parents


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


def _apply_rules(node, gy, wanted, create_graph, accumulate):
    """[(parent, gradient)] for the inputs that need one, from the rules of this Node's op."""
    op, plan, parents, kept = node.op, node.plan, _parents(node), node.kept
    if node.versions != count_versions(plan, parents):
        raise RuntimeError(f"backward: an input of `{op.name}` was changed in place (by an optimizer step or by "
                           f"loading weights) after the forward pass that needs it; run forward again first")
    if node.trace:
        anomaly.check_unchanged(op.name, node.trace[0], kept, node.trace[1])
    if create_graph:
        kept = [value if shape_only else _with_history(node, i, value)
                for value, (i, shape_only) in zip(kept, plan.keep, strict=True)]
    found = []
    for rule, where, outputs, count in plan.rules:
        if wanted is not None and wanted.isdisjoint([parents[slot] for _, slot in outputs]):
            continue
        arguments = map(kept.__getitem__, where)
        leaf = parents[outputs[0][1]] if accumulate and len(outputs) == 1 else None
        try:
            if (isinstance(leaf, Tensor) and leaf.grad is None and leaf.grad_buffer is not None
                    and sum(p is leaf for p in parents) == 1):  # its other gradient from this op would be lost
                gs = _into(leaf.grad_buffer, rule, gy, arguments)
            else:
                gs = rule(gy, *arguments)
        except Exception as error:
            told = retold(error, f"{op.name}: in its gradient rule: {error}" + create_graph * _RECORDED)
            if told is None or ": in its gradient rule: " in str(error):
                raise
            raise told from error
        gs = gs if isinstance(gs, (tuple, list)) else (gs,)
        if len(gs) != count if count else len(gs) <= outputs[-1][0]:
            raise GradientError(f"{op.name}: its gradient rule gave {len(gs)} gradients, but the inputs "
                                f"{[plan.name_of(slot) for _, slot in outputs]} need one each")
        for i, slot in outputs:
            g, parent = gs[i], parents[slot]
            if g is not None and (wanted is None or parent in wanted):
                found.append((parent, _fit(g, parent, node, slot)))
    return found


_RECORDED = ("; it is recorded for a second derivative here (create_graph=True), where gy and what the rule names are "
             "Tensors: write it in scratchnet's ops, which take Tensors and arrays (ops.exp in place of np.exp)")


def _into(destination, rule, gy, arguments):
    """The rule's gradient, which may be written where the optimizer will read it; see product_into_destination."""
    mode.destination = destination
    try:
        return rule(gy, *arguments)
    finally:
        mode.destination = None


def _with_history(node, i, value):
    """A kept value as the Tensor it was, so that a rule applied to it is recorded; see `differentiable`."""
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


def _fit(g, parent, node, slot):
    """The gradient in the shape and dtype of its input: the one place where broadcasting is undone, and only for ops
    that declare that they broadcast."""
    if isinstance(g, Tensor) and not mode.recording:
        g = g.data
    if type(g) is not np.ndarray:
        _check_kind(g, node, slot)
    if g.shape != parent.shape:
        surplus = _surplus_axes(g.shape, parent.shape)
        if surplus is None or not node.op.broadcasts:
            missing = [a for a in surplus or () if g.shape[a] > 1]
            hint = f": the sum over axis {', '.join(map(str, missing))} is missing" * bool(missing)
            raise GradientShapeError(f"{node.op.name}: its gradient rule gave shape {g.shape} for an input of shape "
                                     f"{parent.shape}, `{node.plan.name_of(slot)}`{hint}")
        g = sum_to(g, parent.shape)
    if g.dtype != parent.dtype:
        if g.dtype.kind not in ("f" if parent.dtype.kind == "f" else "fc"):
            raise GradientError(f"{node.op.name}: its gradient rule gave numbers of {g.dtype} for "
                                f"`{node.plan.name_of(slot)}`, expected {parent.dtype}, as its input has")
        if mode.casts is not None:
            mode.casts.append((node.op.name, g.dtype, parent.dtype, node.dtype))
        g = astype(g, parent.dtype)
    if node.trace:
        anomaly.check_gradient(node.op.name, node.trace[0], parent.shape, data_of(g))
    return g


def _check_kind(g, node, slot):
    """GradientError unless g is an array: a NumPy scalar stands for one of no axes, a subclass of arrays is none."""
    given = data_of(g)
    if not is_array(given) or (isinstance(given, np.ndarray) and type(given) is not np.ndarray):
        raise GradientError(f"{node.op.name}: its gradient rule gave {kind_of(given)} for `{node.plan.name_of(slot)}`, "
                            f"expected an array of floating-point numbers")


def _surplus_axes(shape, wanted):
    """The axes of `shape` that broadcasting added to `wanted` or stretched; None if it did not."""
    lead = len(shape) - len(wanted)
    if lead < 0 or any(s not in (1, n) for s, n in zip(wanted, shape[lead:], strict=True)):
        return None
    return [*range(lead), *(lead + i for i, s in enumerate(wanted) if s != shape[lead + i])]


def product_into_destination(a, b):
    """a b, a gradient: for a leaf of an optimizer it is written where the optimizer will read it."""
    out = mode.destination
    if out is not None and out.shape == (*a.shape[:-1], b.shape[-1]) and out.dtype == a.dtype == b.dtype:
        return product(a, b, out)
    return a @ b


def _accumulate(leaf, g):
    """leaf.grad += g, written into the optimizer's flat gradient where there is one."""
    g, buffer = data_of(g), leaf.grad_buffer
    if leaf.grad is None and buffer is not None:
        if g is not buffer:
            buffer[...] = g
        leaf.grad = buffer
    elif leaf.grad is None:
        leaf.grad = array_module(g).array(g)  # a copy: the walk shares arrays freely
    elif leaf.grad is buffer:
        buffer += g
    else:
        leaf.grad = array_module(g).asarray(leaf.grad + g)  # a sum of arrays of no axes is a number


# ---------------------------------------------------------------- the ops that the walk itself needs

@differentiable
def sum_to(x, shape):
    """y = x summed over the axes along which `shape` was broadcast to x.shape: the adjoint of broadcast_to.

    ∂L/∂x = broadcast_to(∂L/∂y, x.shape)
    """
    lead = x.ndim - len(shape)
    if x.shape[lead:] == tuple(shape) and lead:
        return column_sum(x, lead)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1)
    return x.sum(axis=axes, keepdims=True).reshape(shape)


@sum_to.backward
def _(gy, x_shape):
    return broadcast_to(gy, x_shape)


@differentiable
def broadcast_to(x, shape):
    """y = x repeated along new axes and axes of length 1, up to `shape` (a read-only view).

    ∂L/∂x = sum_to(∂L/∂y, x.shape)
    """
    return array_module(x).broadcast_to(x, shape)


@broadcast_to.backward
def _(gy, x_shape):
    return sum_to(gy, x_shape)


@differentiable
def astype(x, dtype):
    """y = x in another dtype.        ∂L/∂x = ∂L/∂y in the dtype of x (done by the walk)

    Integers and booleans have no gradient: there y is a constant.
    """
    return x.astype(dtype)


@astype.backward
def _(gy):
    return gy
