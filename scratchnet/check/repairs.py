"""Explanations that repair the rule: handed something else than it was, it becomes right.

Only for a single op call, whose rule can be run again: with y in the place of x, with a flipped kernel, with the values
of the step before, with ∂L/∂y times the derivative of an activation.
"""

import itertools

import numpy as np

from scratchnet.check.evidence import COTANGENTS
from scratchnet.check.predictions import is_diagonal, moved_by


def exchanged_operands(e):
    """Two of the values that the rule kept, in each other's place."""
    if not hasattr(e.function, "repaired"):
        return
    kept = {name: a for name, a in e.function.kept().items() if name != "y" and hasattr(a, "shape")}
    for a, b in itertools.combinations(kept, 2):
        if kept[a].shape == kept[b].shape:
            yield from _repaired(e, "inputs swapped", f"the rule is right with `{a}` and `{b}` exchanged",
                                 **{a: kept[b], b: kept[a]})


def other_values(e):
    """Another value than the one that was kept: y for x, x for y, −x, a flipped kernel, the step before."""
    if not hasattr(e.function, "repaired"):
        return
    kept = {name: a for name, a in e.function.kept().items() if getattr(a, "dtype", np.dtype(int)).kind == "f"}
    alone = len(e.values) == 1
    for name, a in kept.items():
        instead = []
        if name == "y":
            instead += [("evaluated at the output", e.names[0], e.x)] * alone
        else:
            instead += [("evaluated at the input", "y", e.y)] * alone
            instead += [("evaluated at minus the input", f"−{name}", -a)]
            axes = {1: (0,), 4: (0, 1)}.get(a.ndim)
            instead += [("kernel not flipped", f"{name}, flipped,", np.flip(a, axes).copy())] if axes else []
        instead += [("off by one in time", f"{name}, moved by {step:+d} along axis {axis},", moved_by(a, axis, step))
                    for axis, step in itertools.product(range(a.ndim), (1, -1))]
        for mistake, what, value in instead:
            if value.shape == a.shape:
                detail = f"the rule is right with {what} in the place of {name}"
                yield from _repaired(e, mistake, detail, **{name: value})


def other_cotangents(e):
    """The rule is right when it is handed another cotangent: times an activation's derivative, or the step before."""
    if not hasattr(e.function, "repaired"):
        return
    y = e.y.ravel()
    if e.jacobian is not None and is_diagonal(e.jacobian):
        return
    for what, derivative in (("1 − y²", 1 - y * y), ("y (1 − y)", y * (1 - y)), ("y > 0", (y > 0) * 1.0), ("y", y),
                             ("1 − e^−y", -np.expm1(-y)), ("−y²", -y * y), ("1/2y", 0.5 / y)):
        repaired = e.of(e.i, e.function.repaired(e.v * derivative))
        yield "activation's derivative left out", _as_prediction(e, repaired), f"times {what} the rule is right"
    v = e.v.reshape(COTANGENTS, *e.y.shape)
    for axis, step in itertools.product(range(e.y.ndim), (1, -1)):
        moved = np.array([moved_by(u, axis, step).ravel() for u in v])
        if e.jacobian is not None:
            yield "off by one in time", moved @ e.jacobian, f"∂L/∂y is read {step:+d} along axis {axis}"


def _repaired(e, name, detail, **instead):
    try:
        gradients = e.function.repaired(e.v, **instead)
    except (ValueError, TypeError, IndexError):
        return
    yield name, _as_prediction(e, e.of(e.i, gradients)), detail


def _as_prediction(e, repaired):
    """What the explanation predicts is the wrong gradient if the repaired one is right, else nothing."""
    right = np.linalg.norm(repaired - e.right) <= 1e-6 * min(e.error, np.linalg.norm(e.right))
    return e.wrong if right else None
