"""The state of an optimizer, or of an average of weights: shapes by name, and checks of a state to be restored."""

import math
from collections.abc import Iterable

import numpy as np

from scratchnet.backend import is_whole, kind_of
from scratchnet.schedules import check_state
from scratchnet.settings import number, whole


def described(who, parameters, names):
    """Name → shape of the parameters, in their order; without names, they are numbered."""
    if isinstance(names, (str, bytes, set, frozenset)) or not isinstance(names, (Iterable, type(None))):
        raise TypeError(f"{who}: names are a list, one for each parameter in their order, got {kind_of(names)}")
    names = [str(name) for name in (range(len(parameters)) if names is None else names)]
    if len(names) != len(parameters):
        raise ValueError(f"{who}: {len(names)} names for {len(parameters)} parameters")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{who}: names: two parameters are called {twice!r}")
    return {name: list(p.shape) for name, p in zip(names, parameters, strict=True)}


def arranged(who, vectors, mine, state):
    """The state's arrays for these vectors, name → array in the vector's dtype, with its parts in the order of `mine`,
    a result of `described`. ValueError for other parameters, and for numbers that a vector cannot hold."""
    theirs = state["parameters"]
    if not isinstance(theirs, dict):
        raise TypeError(f"{who}: parameters: expected name → shape, got {kind_of(theirs)}")
    for name, shape in theirs.items():
        if not (isinstance(shape, (list, tuple)) and all(is_whole(n) and n >= 0 for n in shape)):
            raise TypeError(f"{who}: parameters: {name}: expected a shape, got {shape!r:.80}")
    faults = [f"missing: {name}" for name in mine if name not in theirs]
    faults += [f"unexpected: {name}" for name in theirs if name not in mine]
    faults += [f"{name}: shape {tuple(theirs[name])} instead of {tuple(shape)}" for name, shape in mine.items()
               if name in theirs and list(theirs[name]) != shape]
    if faults:
        raise ValueError(f"this state belongs to other parameters than this {who}: " + "; ".join(faults))
    sizes = [math.prod(shape) for shape in theirs.values()]
    found = {}
    for name, vector in vectors.items():
        if isinstance(state[name], np.ma.MaskedArray):
            raise TypeError(f"{who}: {name} is a masked array, expected one without a mask")
        stored = np.asarray(state[name])
        if stored.dtype.kind != "f":
            raise TypeError(f"{who}: {name} is of {stored.dtype}, expected {vector.dtype}")
        with np.errstate(over="ignore"):
            a = stored.astype(vector.dtype)
        if (np.isnan(a) | (np.isinf(a) & np.isfinite(stored))).any():
            raise ValueError(f"{who}: {name} holds NaN, or numbers too large for {vector.dtype}")
        parts = dict(zip(theirs, np.split(a, np.cumsum(sizes)[:-1]), strict=True))
        found[name] = np.concatenate([parts[key] for key in mine])
    return found


def checked(optimizer, mine, state):
    """(vectors, counters) of a state, name → value each, after a check that this optimizer, whose own state is `mine`,
    can go on from it."""
    who = type(optimizer).__name__
    check_state(who, mine, state)
    if state["optimizer"] != mine["optimizer"]:
        raise ValueError(f"{who}: this state is of {_in_words(state['optimizer'])}, and cannot go on in "
                         f"{_in_words(mine['optimizer'])}")
    vectors = arranged(who, optimizer.state, mine["parameters"], state)
    for name, vector in vectors.items():
        if name in optimizer.squares and (vector < 0.0).any():
            raise ValueError(f"{who}: {name} sums squares, but holds negative numbers")
        if name not in optimizer.squares and not np.isfinite(vector).all():
            raise ValueError(f"{who}: {name} holds infinite numbers")
    return vectors, {name: whole(who, name, state[name], 0) if isinstance(mine[name], int) else
                     number(who, name, state[name], "a number in [0, 1]", lambda x: 0.0 <= x <= 1.0)
                     for name in optimizer.counters}


def _in_words(kind):
    """A `_kind` as a call: Adam(betas=[0.9, 0.999])."""
    if not (isinstance(kind, dict) and "class" in kind):
        return f"no optimizer ({kind!r:.80})"
    return f"{kind['class']}({', '.join(f'{name}={value}' for name, value in kind.items() if name != 'class')})"
