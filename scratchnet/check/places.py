"""Other points and shapes at which to examine a function: a name that fits at only one of them fits by accident.

A factor of 4 may be an axis of length 4, and the sign of positive numbers is a constant. So a function is examined
again with every axis longer by one and inputs of both signs, or as close to that as it allows.
"""

import numpy as np

from scratchnet.check.evidence import INPUTS, Call


def elsewhere(function, rng, same_shapes=False):
    """The function at another place, or None if there is none. Shapes change only for a single op call: other functions
    may close over arrays of the old shapes."""
    others = [lambda n: n + 1, lambda n: 2 * n] if isinstance(function, Call) and not same_shapes else []
    for length in [*others, lambda n: n]:
        for both_signs in (True, False):
            other = _moved(function, length, both_signs, rng)
            if other is not None:
                return other
    return None


def smaller(function, rng):
    """An op call with inputs small enough to be examined entry by entry, or None if that fails. Axes of different
    lengths keep different lengths."""
    arrays = [a for a in [*function.values, *getattr(function, "fixed", ())] if getattr(a, "ndim", 0)]
    long = sorted({n for a in arrays for n in a.shape if n > 5})
    for longest in (6, 8, 12):
        short = {n: longest + k for k, n in enumerate(long)}
        other = _moved(function, lambda n, short=short: short.get(n, n), False, rng) if isinstance(function, Call) \
            else None
        if other is not None and max(x.size for x in other.values) <= INPUTS:
            return other
    return None


def _moved(function, length, both_signs, rng):
    """The function with axes of other lengths and new numbers of similar size; None where it is not defined."""
    def shape_of(a):
        return tuple(n if n == 1 else length(n) for n in a.shape)

    def drawn(x):
        x = np.asarray(x)
        numbers = rng.choice(x.ravel(), shape_of(x)) * rng.uniform(0.5, 1.0, shape_of(x)) if x.size else x
        signs = rng.permutation(np.resize([-1.0, 1.0], numbers.size)).reshape(numbers.shape)  # half and half
        return numbers * signs if both_signs else numbers

    values = [drawn(x) for x in function.values]
    other = function.at(values)
    if isinstance(function, Call):
        fixed = [rng.choice(a.ravel(), shape_of(a)) if getattr(a, "ndim", 0) and a.size else a for a in function.fixed]
        other = other.with_fixed(fixed)
    try:
        with np.errstate(all="ignore"):
            y = other.evaluate(values)
            gradients = other.gradients([rng.standard_normal(y.size)])[0]
    except Exception:  # a function written for other shapes or signs may do anything
        return None
    finite = all(g is None or np.isfinite(g).all() for g in gradients)
    return other if finite and np.isfinite(y).all() and y.size else None
