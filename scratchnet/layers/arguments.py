"""Checks of the arguments of layers: sizes, windows, paddings."""

import numpy as np

from scratchnet.backend import check_rng
from scratchnet.ops.windows import as_pair
from scratchnet.settings import whole


def sizes(layer, rng, **numbers):
    """The sizes of a layer as Python's whole numbers ≥ 1; a ValueError or TypeError names the layer and the argument.
    """
    who = type(layer).__name__
    check_rng(who, rng)
    return [whole(who, name, value, 1) for name, value in numbers.items()]


def one_or_two(layer, name, value):
    """A window's size or stride: a whole number ≥ 1, or one for each axis."""
    who = type(layer).__name__
    if not hasattr(value, "__len__") or isinstance(value, str):
        return whole(who, name, value, 1)
    if len(value) != 2:
        raise ValueError(f"{who}: {name} is a whole number ≥ 1 or a pair of them, got {value!r}")
    return tuple(whole(who, name, n, 1) for n in value)


def kernel_of(layer, value):
    """The size of a kernel as a pair; one whole number stands for a square."""
    return as_pair(one_or_two(layer, "kernel", value))


def padding_of(value):
    """A padding, with a NumPy integer as Python's. ops.conv2d checks it."""
    return value.item() if isinstance(value, np.integer) else value
