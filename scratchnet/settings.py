"""Settings are numbers: checked where they are given, and kept as Python's own, whatever they came as.

A NumPy number would widen float32 arrays, print as np.float64(0.1), and be no JSON.
"""

import sys
from numbers import Real


def number(who, name, value, expected, right=lambda x: True):
    """A finite number for which right(value) holds; the ValueError names it: "Adam: eps is a number > 0, got nan"."""
    x = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(x, bool) or not isinstance(x, Real) or not (abs(x) <= sys.float_info.max and right(x)):
        raise ValueError(f"{who}: {name} is {expected}, got {value!r}")
    return x


def whole(who, name, value, least):
    """A whole number of at least this; 1e4 is one, too. "batches: size is a whole number ≥ 1, got 0"."""
    return int(number(who, name, value, f"a whole number ≥ {least}", lambda x: x == int(x) and x >= least))
