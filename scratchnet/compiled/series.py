"""exp, tanh, σ and ln(1 + t) of one float32, as short series that the compiler can vectorise.

With x = n ln 2 + r, |r| ≤ ½ ln 2:    eˣ = 2ⁿ eʳ,  eʳ = 1 + r + r²/2 + … + r⁷/7!        (the next term is below 2⁻²⁷)
ln(1 + t) = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …),  s = t/(2 + t)                     (s ≤ ⅓ for t ≤ 1)

Errors against float64 over all of float32, in units of the last place: see tests/test_compiled.py.
"""

import numpy as np

from scratchnet.compiled.loops import f4, half, inlined, one, two, zero

LOG2_E, LN2_HIGH, LN2_LOW = f4(1.4426950408889634), f4(0.693359375), f4(-2.1219444e-4)  # ln 2 = high + low
C2, C3, C4, C5, C6, C7 = (f4(1 / n) for n in (2, 6, 24, 120, 720, 5040))                  # 1/k!
A3, A5, A7, A9, A11, A13, A15 = (f4(1 / n) for n in (3, 5, 7, 9, 11, 13, 15))


@inlined
def power_of_two(n):
    """2ⁿ for −126 ≤ n ≤ 127: n, shifted to where a float32 has its exponent."""
    return np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def exp(x):
    """eˣ; 0 below −104, ∞ above 88.8, NaN for NaN"""
    x = f4(-104) if x < f4(-104) else x
    x = f4(89) if x > f4(89) else x
    n = np.floor(x * LOG2_E + half)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = ((((((C7 * r + C6) * r + C5) * r + C4) * r + C3) * r + C2) * r + one) * r + one
    k = np.int32(n)
    low = k >> np.int32(1)  # 2ⁿ in two factors, as neither overflows where eˣ is denormal or near the largest number
    return p * power_of_two(low) * power_of_two(k - low)


@inlined
def exp_minus_1(x):
    """eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1) for −20 ≤ x ≤ 0, which keeps its digits near 0"""
    n = np.floor(x * LOG2_E + half)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = ((((((C7 * r + C6) * r + C5) * r + C4) * r + C3) * r + C2) * r + one) * r
    scale = power_of_two(np.int32(n))
    return p * scale + (scale - one)


@inlined
def tanh(x):
    """tanh x = −E/(2 + E) with E = e^−2|x| − 1, and the sign of x"""
    a = abs(x)
    a = f4(10) if a > f4(10) else a
    e = exp_minus_1(-two * a)
    y = -e / (two + e)
    return y if x > zero else -y


@inlined
def sigmoid(x):
    """σ(x) = e^min(x, 0) / (1 + e^−|x|)"""
    e = exp(-abs(x))
    return (one if x > zero else e) / (one + e)


@inlined
def log_1_plus(t):
    """ln(1 + t) for 0 ≤ t ≤ 1"""
    s = t / (two + t)
    q = s * s
    p = ((((((A15 * q + A13) * q + A11) * q + A9) * q + A7) * q + A5) * q + A3) * q + one
    return two * s * p
