"""Layers that change the shape and keep the numbers."""

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.module import Module
from scratchnet.settings import number


class Flatten(Module):
    """x (N, …) → y (N, product of the other lengths)"""

    def __call__(self, x):
        check_arrays("Flatten", x=x)
        return ops.flatten(x)


class Reshape(Module):
    """x (N, …) → y (N, *shape); one length may be −1, for the rest"""

    def __init__(self, *shape):
        self.shape = tuple(int(number("Reshape", "each length", n, "a whole number ≥ 1, or −1 for the rest",
                                      lambda n: n == int(n) and (n >= 1 or n == -1))) for n in shape)

    def __call__(self, x):
        check_arrays("Reshape", x=x)
        return ops.reshape(x, (x.shape[0], *self.shape))

    def describe(self):
        return f"(N, {', '.join(map(str, self.shape))})"
