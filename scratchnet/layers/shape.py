"""The same numbers in another shape."""

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.module import Module
from scratchnet.settings import number


class Flatten(Module):
    """(N, …) → (N, product of the rest)"""

    def __call__(self, x):
        check_arrays("Flatten", x=x)
        return ops.flatten(x)


class Reshape(Module):
    """(N, …) → (N, *shape); one length may be −1"""

    def __init__(self, *shape):
        self.shape = tuple(int(number("Reshape", "each length", n, "a whole number ≥ 1, or −1 for what is left",
                                      lambda n: n == int(n) and (n >= 1 or n == -1))) for n in shape)

    def __call__(self, x):
        check_arrays("Reshape", x=x)
        return ops.reshape(x, (x.shape[0], *self.shape))

    def describe(self):
        return f"(N, {', '.join(map(str, self.shape))})"
