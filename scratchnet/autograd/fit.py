"""Each gradient must fit its input, in shape and dtype; if it does not, an error says why."""

import numpy as np

from scratchnet.autograd import anomaly
from scratchnet.autograd.broadcasting import astype, sum_to
from scratchnet.autograd.tensor import Tensor, data_of, mode
from scratchnet.backend import is_array, kind_of


class GradientError(ValueError):
    """A gradient rule did not return an array of floating-point numbers for each input that needs a gradient."""


class GradientShapeError(GradientError):
    """A gradient rule returned an array whose shape is not that of its input."""


def fit(g, parent, node, slot):
    """The gradient g of the input `slot` of a Node, in the shape and dtype of that input.

    This is the only place that undoes broadcasting, and only for ops that declare that they broadcast.
    """
    if isinstance(g, Tensor) and not mode.recording:
        g = g.data
    if type(g) is not np.ndarray:
        _check_kind(g, node, slot)
    if g.shape != parent.shape:
        surplus = _surplus_axes(g.shape, parent.shape)
        if surplus is None or not node.op.broadcasts:
            missing = [a for a in surplus or () if g.shape[a] > 1]
            hint = f": the sum over axis {', '.join(map(str, missing))} is missing" if missing else ""
            raise GradientShapeError(f"{node.op.name}: its gradient rule gave shape {g.shape} for an input of shape "
                                     f"{parent.shape}, `{node.plan.name_of(slot)}`{hint}")
        g = sum_to(g, parent.shape)
    if g.dtype != parent.dtype:
        if g.dtype.kind not in ("f" if parent.dtype.kind == "f" else "fc"):
            raise GradientError(f"{node.op.name}: its gradient rule gave numbers of {g.dtype} for "
                                f"`{node.plan.name_of(slot)}`, expected {parent.dtype}, the dtype of that input")
        if mode.casts is not None:
            mode.casts.append((node.op.name, g.dtype, parent.dtype, node.dtype))
        g = astype(g, parent.dtype)
    if node.trace:
        anomaly.check_gradient(node.op.name, node.trace[0], parent.shape, data_of(g))
    return g


def _check_kind(g, node, slot):
    """GradientError unless g is an array. A NumPy scalar is one, without axes; a subclass of NumPy's arrays is not."""
    given = data_of(g)
    if not is_array(given) or (isinstance(given, np.ndarray) and type(given) is not np.ndarray):
        raise GradientError(f"{node.op.name}: its gradient rule gave {kind_of(given)} for `{node.plan.name_of(slot)}`, "
                            f"expected an array of floating-point numbers")


def _surplus_axes(shape, wanted):
    """The axes that broadcasting added to `wanted`, or stretched, to get `shape`; None if it cannot get there."""
    lead = len(shape) - len(wanted)
    if lead < 0 or any(s not in (1, n) for s, n in zip(wanted, shape[lead:], strict=True)):
        return None
    return [*range(lead), *(lead + i for i, s in enumerate(wanted) if s != shape[lead + i])]
