"""Settings: numbers, checked where they are given and kept as Python's own.

A NumPy number would widen float32 arrays, print as np.float64(0.1), and not go into JSON.
"""

import sys
from numbers import Real


def number(who, name, value, expected, right=lambda x: True):
    """A finite number for which right(value) holds, else a ValueError: "Adam: eps is a number > 0, got nan"."""
    x = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(x, bool) or not isinstance(x, Real) or not (abs(x) <= sys.float_info.max and right(x)):
        raise ValueError(f"{who}: {name} is {expected}, got {value!r}")
    return x


def whole(who, name, value, least):
    """A whole number ≥ least, such as 10 or 1e4, else a ValueError: "batches: size is a whole number ≥ 1, got 0"."""
    return int(number(who, name, value, f"a whole number ≥ {least}", lambda x: x == int(x) and x >= least))
