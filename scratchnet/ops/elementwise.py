"""Functions of one number at a time: exp, log, …, and activations. Any shape in, the same shape out."""

import math
from numbers import Real

import numpy as np

from scratchnet.autograd import check_arrays, data_of, differentiable
from scratchnet.backend import array_module, kind_of, uniform


def floating(x):
    """x, as float64 if it holds integers or booleans: −x of 8-bit integers can overflow, and their eˣ is a float16."""
    return x.astype("float64") if hasattr(x, "dtype") and x.dtype.kind in "biu" else x


@differentiable
def exp(x):
    """y = eˣ        ∂L/∂x = ∂L/∂y ⊙ y"""
    return array_module(x).exp(floating(x))


@exp.backward
def _(gy, y):
    return gy * y


@differentiable
def log(x):
    """y = ln x        ∂L/∂x = ∂L/∂y / x"""
    return array_module(x).log(floating(x))


@log.backward
def _(gy, x):
    return gy / x


@differentiable
def sqrt(x):
    """y = √x        ∂L/∂x = ∂L/∂y / 2y"""
    return array_module(x).sqrt(floating(x))


@sqrt.backward
def _(gy, y):
    return gy / (2.0 * y)


@differentiable
def sin(x):
    """y = sin x        ∂L/∂x = ∂L/∂y ⊙ cos x"""
    return array_module(x).sin(floating(x))


@sin.backward
def _(gy, x):
    return gy * cos(x)


@differentiable
def cos(x):
    """y = cos x        ∂L/∂x = −∂L/∂y ⊙ sin x"""
    return array_module(x).cos(floating(x))


@cos.backward
def _(gy, x):
    return -gy * sin(x)


@differentiable
def abs(x):
    """y = |x|        ∂L/∂x = ∂L/∂y ⊙ sign x  (0 at x = 0)"""
    return array_module(x).abs(x)


@abs.backward
def _(gy, x):
    return gy * sign(x)


@differentiable
def sign(x):
    """y = the sign of x, −1, 0 or 1        ∂L/∂x = 0"""
    return array_module(x).sign(x)


@sign.backward
def _(gy):
    return gy * 0.0


@differentiable(broadcasts=True)
def clip(x, low, high):
    """y = min(max(x, low), high) with constant bounds, None for no bound

    ∂L/∂x = ∂L/∂y where low ≤ x ≤ high, else 0
    """
    on_host = all(isinstance(bound, (int, float, np.ndarray)) for bound in (low, high))  # a GPU would make us wait
    if (low is None and high is None) or (on_host and not np.all(low <= high)):
        raise ValueError(f"clip: low is at most high, and at most one of them is None, got {low} and {high}")
    return array_module(x).clip(x, low, high)


@clip.backward("x")
def _(gy, x, low, high):
    inside = (x <= high) if low is None else (x >= low) if high is None else (x >= low) & (x <= high)
    return gy * inside


@differentiable(broadcasts=True)
def maximum(a, b):
    """y = max(a, b)        ∂L/∂y goes to the larger of the two, to a on a tie; a NaN counts as the largest"""
    return array_module(a if hasattr(a, "dtype") else b).maximum(a, b)


@maximum.backward("a")
def _(gy, a, b):
    return gy * ((a >= b) | (a != a))


@maximum.backward("b")
def _(gy, a, b):
    return gy * ((b > a) | ((b != b) & (a == a)))


@differentiable(broadcasts=True)
def minimum(a, b):
    """y = min(a, b)        ∂L/∂y goes to the smaller of the two, to a on a tie; a NaN counts as the smallest"""
    return array_module(a if hasattr(a, "dtype") else b).minimum(a, b)


@minimum.backward("a")
def _(gy, a, b):
    return gy * ((a <= b) | (a != a))


@minimum.backward("b")
def _(gy, a, b):
    return gy * ((b < a) | ((b != b) & (a == a)))


@differentiable(broadcasts=True)
def where(condition, a, b):
    """y = a where condition, else b        ∂L/∂a = ∂L/∂y where condition, else 0;  ∂L/∂b = 0 there, else ∂L/∂y

    A number counts as true if it is not 0, as in NumPy.
    """
    if a is None or b is None:
        raise TypeError("where: expected arrays or numbers to choose from, got None")
    if not hasattr(condition, "dtype") and np.asarray(condition).dtype.kind not in "biuf":
        raise TypeError(f"where: the condition must be an array of booleans, got {kind_of(condition)}")
    return array_module(condition).where(condition, a, b)


@where.backward("a")
def _(gy, condition):
    return where(condition, gy, 0.0)


@where.backward("b")
def _(gy, condition):
    return where(condition, 0.0, gy)


# ---------------------------------------------------------------- activations

def positive_part(x):
    """max(x, 0). NumPy's fast loop for maximum takes arrays only, so if the rows of x are long enough, a row of zeros
    stands in for 0."""
    xp = array_module(x)
    return xp.maximum(x, xp.zeros(x.shape[-1], dtype=x.dtype) if x.ndim and x.shape[-1] >= 64 else 0.0)


@differentiable
def tanh(x):
    """y = tanh x        ∂L/∂x = ∂L/∂y ⊙ (1 − y²)"""
    return array_module(x).tanh(floating(x))


@tanh.backward
def _(gy, y):
    return gy * (1.0 - y * y)


@differentiable
def sigmoid(x):
    """y = 1/(1 + e⁻ˣ) = e^min(x, 0) / (1 + e^−|x|)        ∂L/∂x = ∂L/∂y ⊙ y (1 − y)

    It never overflows, and small values keep their digits. ½ tanh(x/2) + ½ is a quarter faster but loses them, and
    Adam, which divides each gradient by its own size, feels even the smallest.
    """
    xp, x = array_module(x), floating(x)
    return xp.exp(xp.minimum(x, 0.0)) / (1.0 + xp.exp(-xp.abs(x)))


@sigmoid.backward
def _(gy, y):
    return gy * (y * (1.0 - y))


@differentiable
def softplus(x):
    """y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)        ∂L/∂x = ∂L/∂y ⊙ sigmoid(x)"""
    xp, x = array_module(x), floating(x)
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


@softplus.backward
def _(gy, x):
    return gy * sigmoid(x)


@differentiable
def relu(x):
    """y = max(x, 0)        ∂L/∂x = ∂L/∂y where x > 0, else 0  (0 at x = 0)"""
    return positive_part(x)


@relu.backward
def _(gy, y):
    return gy * (y > 0)


@differentiable
def leaky_relu(x, slope=0.01):
    """y = x where x > 0, else slope · x        ∂L/∂x = ∂L/∂y ⊙ (1 where x > 0, else slope)

    0 ≤ slope < 1 (Maas, Hannun & Ng 2013).
    """
    if not 0 <= slope < 1:
        raise ValueError(f"leaky_relu: slope must lie in [0, 1), got {slope}")
    return array_module(x).maximum(x, slope * x)


@leaky_relu.backward("x")
def _(gy, x, slope):
    positive = (x > 0).astype(gy.dtype)
    return gy * (positive * (1.0 - slope) + slope)


@differentiable
def elu(x, alpha=1.0):
    """y = x where x > 0, else α (eˣ − 1)        ∂L/∂x = ∂L/∂y ⊙ (1 where x > 0, else y + α)

    (Clevert, Unterthiner & Hochreiter 2016, eq. 15)
    """
    xp = array_module(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0.0)))


@elu.backward("x")
def _(gy, x, y, alpha):
    return gy * where(x > 0, 1.0, y + alpha)


def selu(x):
    """y = λ elu(x, α) with λ = 1.0507…, α = 1.6732…, which keep mean 0 and variance 1 across layers
    (Klambauer et al. 2017, eq. 2)"""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


@differentiable
def silu(x):
    """y = x σ(x)        ∂L/∂x = ∂L/∂y ⊙ (σ + x σ (1 − σ)),  σ = sigmoid(x)        (swish; Ramachandran et al. 2017)"""
    return x * sigmoid(x)


@silu.backward
def _(gy, x):
    s = sigmoid(x)
    return gy * (s * (1.0 + x * (1.0 - s)))


@differentiable
def gelu(x):
    """y = ½ x (1 + tanh u),  u = √(2/π) (x + 0.044715 x³)        (Hendrycks & Gimpel 2016, the tanh form)

    ∂L/∂x = ∂L/∂y ⊙ (½ (1 + t) + ½ x (1 − t²) u′),  t = tanh u,  u′ = √(2/π) (1 + 0.134145 x²)
    """
    x = floating(x)
    return 0.5 * x * (1.0 + array_module(x).tanh(_GELU * (x + 0.044715 * (x * x * x))))


_GELU = math.sqrt(2 / math.pi)


@gelu.backward
def _(gy, x):
    t = tanh(_GELU * (x + 0.044715 * (x * x * x)))
    return gy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * (_GELU * (1.0 + 0.134145 * (x * x))))


def dropout(x, rate, rng):
    """y = x ⊙ m / (1 − rate), where each mᵢ is 0 with probability `rate`, else 1        ∂L/∂x = ∂L/∂y ⊙ m / (1 − rate)

    The expectation of y is x ("inverted" dropout; Srivastava et al. 2014).
    """
    check_arrays("dropout", x=x)
    if not (isinstance(rate, Real) and 0 <= rate < 1):
        raise ValueError(f"dropout: rate must lie in [0, 1), got {rate}")
    if x.dtype.kind != "f" or not hasattr(rng, "random"):
        raise TypeError(f"dropout: needs floating-point x and an rng, np.random.default_rng(seed), got {x.dtype} and "
                        f"{kind_of(rng)}")
    mask = uniform(rng, x.shape, like=data_of(x)) >= rate
    return x * (mask * (1.0 / (1.0 - rate))).astype(x.dtype)
