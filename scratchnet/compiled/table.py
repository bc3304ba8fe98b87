"""Which form stands in for which function: filled by the files of this folder, installed and removed by `use`.

    @form_of(ops.relu)            the forward pass of an op, or a function made `replaceable`
    @rule_form_of(ops.relu)       its gradient rule; with several rules, the one for the arguments named

The types of arrays that a form is for are NumPy's unless told otherwise.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchnet.autograd.differentiable import Op
from scratchnet.backend.forms import Declined, Form


class Entry(NamedTuple):
    """One line of the table."""

    form: Form
    own: Callable  # the function, forward pass or rule that it stands in for
    forms: dict    # of that function: type of array → Form
    kind: type     # of array
    op: Op | None  # whose plans for going back depend on it


TABLE = []

FEW = 30_000  # with fewer numbers NumPy is as fast (benchmarks/NOTES.md)
OTHER = Declined("not C-ordered float32 arrays")
SMALL = Declined("a small product, for which NumPy is as fast")
SHAPES = Declined("other shapes than these loops are written for")


def form_of(target, kind=np.ndarray, least=FEW):
    """Register a form of a replaceable function, or of an op's forward pass, for arrays of at least so many numbers."""
    op = getattr(target, "op", None)
    if op is None:
        return _registered(target.__name__, target.__wrapped__, target.forms, kind, least, None)
    return _registered(op.name, op.forward, op.forms, kind, least, op)


def rule_form_of(target, *arguments, kind=np.ndarray, least=FEW):
    """Register a form of the gradient rule of an op that serves these arguments; of the only rule, if none is named."""
    op = target.op
    for targets, rule in op.rules:
        if (targets or ()) == arguments:
            rule.forms = getattr(rule, "forms", {})
            return _registered(f"{op.name}, gradient", rule, rule.forms, kind, least, op)
    raise LookupError(f"{op.name} has no gradient rule for {', '.join(arguments) or 'its leading arguments'}")


def _registered(name, own, forms, kind, least, op):
    def register(function):
        form = (Form(name, function, least) if kind is np.ndarray else
                Form(f"{name}, GPU", function, 0))  # on a GPU each launch that is saved counts
        TABLE.append(Entry(form, own, forms, kind, op))
        return function
    return register


def install(on, on_gpu=False):
    """Put all forms for NumPy's arrays, or all for a GPU's, where the functions look for them; or take them away."""
    for entry in TABLE:
        if (entry.kind is not np.ndarray) != on_gpu:
            continue
        entry.forms.pop(entry.kind, None)
        if on:
            entry.forms[entry.kind] = entry.form
        if entry.op is not None:
            entry.op.plans = {}


def plain(*arrays):
    """Whether these are all C-ordered float32 arrays of NumPy."""
    return all(type(a) is np.ndarray and a.dtype == np.float32 and a.flags.c_contiguous for a in arrays)


def rows(x):
    """(…, C) → (·, C), a view"""
    return x.reshape(-1, x.shape[-1])


def flat(x):
    """(…) → (·,), a view"""
    return x.reshape(-1)
