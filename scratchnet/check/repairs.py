"""Explanations that repair the rule: given other values than its own, it becomes right.

They work for a single op call only, whose rule can be run again: with y in place of x, with a flipped kernel, with the
values of the previous step, with ∂L/∂y times the derivative of an activation.
"""

import itertools

import numpy as np

from scratchnet.check.compare import COTANGENTS
from scratchnet.check.predictions import is_diagonal, is_kernel, moved_by


def exchanged_operands(e):
    """Two of the values that the rule kept, exchanged."""
    if not e.is_call:
        return
    kept = {name: a for name, a in e.function.kept().items() if name != "y" and hasattr(a, "shape")}
    for a, b in itertools.combinations(kept, 2):
        if kept[a].shape == kept[b].shape:
            yield from _repaired(e, "inputs swapped", f"the rule is right with `{a}` and `{b}` exchanged",
                                 **{a: kept[b], b: kept[a]})


def other_values(e):
    """Another value in place of the one kept: y for x, x for y, −x, a flipped kernel, the previous step."""
    if not e.is_call:
        return
    kept = {name: a for name, a in e.function.kept().items() if getattr(a, "dtype", np.dtype(int)).kind == "f"}
    alone = len(e.values) == 1
    for name, a in kept.items():
        instead = []
        if alone:
            instead.append(("evaluated at the output", e.names[0], e.x) if name == "y"
                           else ("evaluated at the input", "y", e.y))
        if name != "y":
            instead += [("evaluated at minus the input", f"−{name}", -a)]
            instead += [("kernel not flipped", f"a flipped {name}", np.flip(a, axes).copy())
                        for axes in ((0,), (2,), (0, 1), (2, 3)) if is_kernel(name, a, axes)]
            instead += [("standard deviation for variance", what, other) for what, other in _deviations(name, a)]
        instead += [("gates exchanged", f"the parts of {name} in the order {order}", other)
                    for order, other in _gates(a, e.y.shape[-1] if e.y.ndim else 0)]
        instead += [("off by one in time", f"{name} moved by {step:+d} along axis {axis}", moved_by(a, axis, step))
                    for axis, step in itertools.product(range(a.ndim), (1, -1))]
        for mistake, what, value in instead:
            if value.shape == a.shape:
                detail = f"the rule is right with {what} in place of {name}"
                yield from _repaired(e, mistake, detail, **{name: value})


def _deviations(name, a):
    """[(in words, array)] of the σ or σ² that the rule may have meant, by the name of the value it kept."""
    name = name.lower().strip("_")
    if name in ("s", "logvar", "log_var", "logvariance", "lv"):  # e^s is σ²
        return [(f"2 {name}", 2.0 * a), (f"½ {name}", 0.5 * a)]
    if name in ("sigma", "std", "sd", "stddev", "σ"):
        return [(f"{name}²", a * a)]
    if name in ("var", "variance", "sigma2", "v", "σ2") and (a >= 0).all():
        return [(f"√{name}", np.sqrt(a))]
    return []


def _gates(a, size):
    """(order, array) for `a` with two of its parts exchanged: along an axis of three or four gates, or one that holds
    this many parts of the cell's size."""
    for axis, n in enumerate(a.shape):
        count = n if n in (3, 4) and a.ndim > 2 else n // size if size and n in (3 * size, 4 * size) else 0
        for i, j in itertools.combinations(range(count), 2):
            order = list(range(count))
            order[i], order[j] = j, i
            parts = np.split(a, count, axis)
            yield tuple(order), np.concatenate([parts[k] for k in order], axis)


def other_cotangents(e):
    """Another cotangent makes the rule right: times the derivative of an activation, or of the previous step."""
    if not e.is_call:
        return
    y = e.y.ravel()
    if e.jacobian is not None and is_diagonal(e.jacobian):
        return
    for what, derivative, possible in (  # for tanh, sigmoid, relu and softplus, where y lies in their range
            ("1 − y²", 1 - y * y, (abs(y) < 1).all()), ("y (1 − y)", y * (1 - y), ((y > 0) & (y < 1)).all()),
            ("y > 0", (y > 0) * 1.0, (y >= 0).all() and (y == 0).any()), ("1 − e^−y", -np.expm1(-y), (y > 0).all())):
        if possible:
            repaired = e.of(e.i, e.function.repaired(e.v * derivative))
            yield ("activation's derivative left out", _as_prediction(e, repaired),
                   f"the rule is right if ∂L/∂y is multiplied by {what}")
    v = e.v.reshape(COTANGENTS, *e.y.shape)
    for axis, step in itertools.product(range(e.y.ndim), (1, -1)):
        moved = np.array([moved_by(u, axis, step).ravel() for u in v])
        if e.jacobian is not None:
            yield "off by one in time", moved @ e.jacobian, f"∂L/∂y is moved by {step:+d} along axis {axis}"


def _repaired(e, name, detail, **instead):
    try:
        gradients = e.function.repaired(e.v, **instead)
    except (ValueError, TypeError, IndexError):
        return
    yield name, _as_prediction(e, e.of(e.i, gradients)), detail


def _as_prediction(e, repaired):
    """A repair predicts the wrong gradient if it makes the gradient right; otherwise it predicts nothing."""
    right = np.linalg.norm(repaired - e.right) <= 1e-6 * min(e.error, np.linalg.norm(e.right))
    return e.wrong if right else None
