"""+ − × ÷ and powers. Every argument may be an array, a Tensor or a number; shapes broadcast as in NumPy.

The rules below give gradients in the broadcast shape. The walk sums them to the shape of each input.
"""

import math

from scratchnet.autograd import differentiable, sum_to
from scratchnet.backend import array_module, kind_of
from scratchnet.ops.elementwise import log, where


@differentiable(broadcasts=True)
def add(a, b):
    """y = a + b        ∂L/∂a = ∂L/∂y,  ∂L/∂b = ∂L/∂y"""
    return a + b


@add.backward
def _(gy):
    return gy, gy


@differentiable(broadcasts=True)
def subtract(a, b):
    """y = a − b        ∂L/∂a = ∂L/∂y,  ∂L/∂b = −∂L/∂y"""
    return a - b


@subtract.backward("a")
def _(gy):
    return gy


@subtract.backward("b")
def _(gy, b_shape):
    return -sum_to(gy, b_shape)  # the sum first: where b is a bias, less is left to negate


@differentiable
def negative(x):
    """y = −x        ∂L/∂x = −∂L/∂y"""
    return -x


@negative.backward
def _(gy):
    return -gy


@differentiable(broadcasts=True)
def multiply(a, b):
    """y = a ⊙ b        ∂L/∂a = ∂L/∂y ⊙ b,  ∂L/∂b = ∂L/∂y ⊙ a"""
    return a * b


@multiply.backward("a")
def _(gy, b):
    return gy * b


@multiply.backward("b")
def _(gy, a):
    return gy * a


@differentiable(broadcasts=True)
def divide(a, b):
    """y = a / b        ∂L/∂a = ∂L/∂y / b,  ∂L/∂b = −∂L/∂y ⊙ y / b"""
    return a / b


@divide.backward("a")
def _(gy, b):
    return gy / b


@divide.backward("b")
def _(gy, b, y):
    return -gy * y / b


@differentiable(broadcasts=True)
def power(x, p):
    """y = xᵖ        ∂L/∂x = ∂L/∂y · p xᵖ⁻¹,  ∂L/∂p = ∂L/∂y · y ln x  (0 where x = 0)"""
    if isinstance(p, (list, tuple)):  # the rule computes p − 1
        raise TypeError(f"power: p must be a number, an array or a Tensor, got {kind_of(p)}")
    if isinstance(p, (int, float)) and p in (2, 3):  # multiplying is up to 150 times faster than pow
        return x * x if p == 2 else x * x * x
    return x ** p


@power.backward("x")
def _(gy, x, p):
    return gy * (p * x ** (p - (p != 0)))  # p = 0 gives 0 · x⁰, not 0 · x⁻¹, which is NaN at x = 0


@power.backward("p")
def _(gy, x, y):
    if not hasattr(x, "dtype"):
        return gy * y * math.log(x or 1.0)
    return gy * y * log(where(x == 0, 1.0, x))


@differentiable
def square(x):
    """y = x²        ∂L/∂x = 2 x ∂L/∂y"""
    return array_module(x).square(x)


@square.backward
def _(gy, x):
    return 2.0 * gy * x
