"""Ways to corrupt images, for autoencoders that learn to repair them (Vincent et al. 2008; 2010, section 3.3).

Each takes images x (any shape, pixels in [0, 1]), an amount and rng, and returns a new array of the same dtype.
"""

import math
from numbers import Real

from scratchnet.backend import array_module, check_rng, standard_normal, uniform
from scratchnet.data.checks import check_array, check_pixels


def masking(x, rate, rng):
    """Set each pixel to 0 with probability `rate`."""
    _check("masking", x, rate, rng)
    return x * (uniform(rng, x.shape, like=x) >= rate)


def salt_and_pepper(x, rate, rng):
    """Set each pixel, with probability `rate`, to 0 or 1 by a fair coin."""
    _check("salt_and_pepper", x, rate, rng)
    u = uniform(rng, x.shape, like=x)
    return array_module(x).where(u < rate, (u < 0.5 * rate).astype(x.dtype), x)


def gaussian(x, sigma, rng):
    """x + σ ε,  ε ~ N(0, 1); pixels may leave [0, 1]."""
    _check("gaussian", x, 0.0, rng)
    if not (isinstance(sigma, Real) and 0 <= sigma < math.inf):
        raise ValueError(f"gaussian: sigma must be ≥ 0, got {sigma}")
    return x + float(sigma) * standard_normal(rng, x.shape, like=x)


def _check(name, x, rate, rng):
    check_array(name, "images", x)
    if x.dtype not in ("float32", "float64"):
        raise TypeError(f"{name}: images are {x.dtype}, expected float32 or float64")
    if not (isinstance(rate, Real) and 0 <= rate <= 1):
        raise ValueError(f"{name}: the rate must lie in [0, 1], got {rate}")
    check_rng(name, rng)
    if name != "gaussian":  # which also serves for points in the plane
        check_pixels(name, x)
