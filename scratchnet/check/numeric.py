"""Directional derivatives from values of a function alone: a complex step where f is analytic, else differences.

    J d = Im G(x + i h d) / h,  h = 1e-20              (Squire & Trapp 1998): exact to rounding, nothing cancels
    J d = (4 D(h/2) − D(h)) / 3 + O(h⁴),  D(h) = (G(x + h d) − G(x − h d)) / 2h        (Richardson 1911)

How far D(h) and D(h/2) are apart, and the rounding of G over h, bound the error. G maps an array to a vector.
"""

import warnings
from typing import NamedTuple

import numpy as np

TINY = 1e-20  # the complex step
PROBES = 3  # directions in which it must agree with differences: in one alone it can agree by chance
NEARER = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)  # of the step, where there is a kink within it, or a pole, or many periods


class Slopes(NamedTuple):
    """J d for every direction d (rows) and every entry of G (columns)."""

    value: np.ndarray
    error: np.ndarray  # bound of the error of value
    kink: np.ndarray  # 1 where there is one within 1e-6 of x, or G is not finite there; 2 where it is at x itself
    left: np.ndarray  # one-sided slopes, where there is a kink
    right: np.ndarray
    method: str
    eps: float  # the relative rounding of G


def slopes(G, x, directions, rng, whole=None, cancelled=0.0):
    """The Slopes of G at x along the directions: flat vectors, or numbers of entries for unit vectors.

    whole: the function of x whose results G adds up, if it does; in them it is easier to see how precise they are.
    cancelled: how large the numbers may have been whose sums these results are.
    """
    x = np.asarray(x)  # a sum of 0-d arrays is a number, whose entries cannot be changed
    probes = rng.standard_normal((PROBES, x.size))
    y = np.abs((whole or G)(x))
    largest = float(y.max(initial=cancelled, where=np.isfinite(y)))
    found = _complex_step(G, x, directions, probes, largest)
    if found is not None:
        found, doubt = found
        zero = np.zeros(found.shape)
        return Slopes(found, 1e-13 * np.abs(found) + doubt, zero, found, found, "complex step", 2.2e-16)
    here = G(x)
    eps = _rounding(whole or G, x, probes)
    rows = [_difference(G, x, d, here, eps, largest) for d in directions]
    columns = [np.array(c).reshape(len(directions), here.size) for c in zip(*rows, strict=True)] if rows else \
        [np.zeros((0, here.size))] * 5
    return Slopes(*columns, "differences", eps)


def _along(x, direction, h):
    """x + h times the direction."""
    if np.ndim(direction):
        return x + (h * direction).reshape(x.shape)
    moved = x.astype(np.result_type(x, h))
    moved.flat[direction] += h
    return moved


def _complex_step(G, x, directions, probes, largest):
    """(J d for all directions, how far each entry of G is in doubt), or None where G is not analytic: it refuses
    complex numbers, drops the imaginary part, or does not agree with differences along the probes."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part was dropped
            at = [G(_along(x, d, 1j * TINY)) for d in [*probes, *directions]]
    except Exception:  # whatever a function written for real numbers does with complex ones
        return None
    if not all(np.iscomplexobj(value) for value in at):
        return None
    found = np.array([value.imag for value in at]) / TINY
    here = G(x)
    doubts = [_doubt(G, x, probe, here, step, largest) for probe, step in zip(probes, found, strict=False)]
    if any((doubt == np.inf).any() for doubt in doubts):
        return None
    return found[PROBES:], np.min(doubts, axis=0)


def _doubt(G, x, probe, here, step, largest):
    """For each entry of G: 0 where differences confirm the complex step along the probe, ∞ where they refute it, else
    how closely they see that it is next to nothing.

    The usual step of differences tells, as a rule. A smaller one does beside a pole or a kink; a larger one where next
    to nothing is left of the derivative, as in a saturated sigmoid: there the usual step sees only rounding, with which
    everything agrees, even a complex step whose imaginary part was lost in |x|."""
    h = _step(x, probe, 2.2e-16)
    best, bound, share = (np.full(step.shape, a) for a in (np.nan, np.inf, np.inf))  # the one known best for its size
    bent = np.zeros(step.shape, dtype=bool)
    for scale in (1.0, *NEARER, 30.0, 100.0, 300.0, 1e3):
        value, error, kink = _central(G, x, probe, scale * h, here, 2.2e-16, largest)
        bent |= kink & (scale == 1.0)
        with np.errstate(all="ignore"):
            known = np.where((value == 0) & (step == 0), 0.0, error / np.abs(value))
        better = ~kink & (known < share)
        best, bound, share = (np.where(better, b, a) for a, b in zip(
            (best, bound, share), (value, error, known), strict=True))
        if (share <= 1e-6).all():
            break
    fits, seen = np.abs(step - best) <= 1e-8 * np.abs(best) + 10 * bound, share <= 5e-2
    return np.where(fits & (seen | ~bent), np.where(seen, 0.0, bound), np.inf)  # what is bent and never seen is a kink


def _step(x, direction, eps):
    """eps^(1/4) of the size of x: there the h⁴ that is left and the rounding eps/h are both small."""
    dense = np.ndim(direction) > 0
    size = np.abs(x).max(initial=1.0) if dense else max(1.0, abs(x.flat[direction]))
    return eps ** 0.25 * size / (np.linalg.norm(direction) or 1.0 if dense else 1.0)


def _difference(G, x, direction, here, eps, largest):
    """(J d, error bound, kink, slope to the left, slope to the right)."""
    h = _step(x, direction, eps)
    value, error, kink = _central(G, x, direction, h, here, eps, largest)
    left = right = value
    if kink.any():
        nearer = NEARER if eps < 1e-12 else (1.0,)
        for scale in nearer:
            v, e, k = _central(G, x, direction, scale * h, here, eps, largest)
            better = kink & (~k & (e <= 1e-4 * np.abs(v)) | (scale == nearer[0]))
            value, error, kink = (np.where(better, b, a) for a, b in zip((value, error, kink), (v, e, k), strict=True))
        t = nearer[0] * h / 1000
        with np.errstate(all="ignore"):
            left, right = ((G(_along(x, direction, s * t)) - here) / (s * t) for s in (-1.0, 1.0))
            noise = 4 * eps * np.maximum(np.abs(here), 1e-300) / t
            bent = np.abs(right - left) > 1e-3 * (np.abs(left) + np.abs(right)) + 100 * noise
        kink = np.where(kink & bent, 2, kink)
    return value, error, kink, left, right


def _central(G, x, direction, h, here, eps, largest):
    """(J d, error bound, whether there is a kink within the step h or G is not finite).

    `largest` is the largest number that may have cancelled in G, which rounds it even where little is left of it.
    The two one-sided slopes differ by h G″ + O(h³) where G is smooth, so by half as much at h/2; not with a kink."""
    with np.errstate(all="ignore"):
        up, down, half_up, half_down = (G(_along(x, direction, s * h)) for s in (1.0, -1.0, 0.5, -0.5))
        coarse, fine = (up - down) / (2 * h), (half_up - half_down) / h
        value = (4 * fine - coarse) / 3
        added_up = np.maximum(np.abs(here), np.maximum(np.abs(up), np.abs(down))) * max(1.0, x.size ** 0.5)
        noise = 2 * eps * np.maximum(added_up, largest) / h
        step = h * (np.abs(direction).max(initial=1e-300) if np.ndim(direction) else 1.0)
        steepest = np.abs(value[np.isfinite(value)]).max(initial=0.0)
        noise = noise + 2.2e-16 * np.abs(x).max(initial=0.0) / step * steepest  # x + h d is rounded, too
        bend, half_bend = (up + down - 2 * here) / h, (half_up + half_down - 2 * here) / (h / 2)
        bent = np.abs(half_bend - bend / 2)
        kink = bent > 1e-6 * np.abs(value) + 50 * noise
    return value, np.abs(value - fine) + bent + noise, kink | ~np.isfinite(value)


def _rounding(G, x, probes):
    """The relative precision that G is computed in: that of its dtype, or of float32 if it goes up stairs. Over a step
    far below the rounding of float32 a stair is flat, or jumps; over two larger ones it rises as much for its length.
    (A function with a single jump does not.)"""
    here = G(x)
    if here.dtype != np.float64:
        return float(np.finfo(here.dtype).eps) if here.dtype.kind == "f" else 2.2e-16
    stairs = moving = 0
    for probe in probes:
        scale = np.abs(x).max(initial=1.0) / max(np.linalg.norm(probe), 1e-300)
        t = 1e-10 * scale
        with np.errstate(all="ignore"):
            near = (G(_along(x, probe, t)) - here) / t
            middle, far = ((G(_along(x, probe, s * scale)) - G(_along(x, probe, -s * scale))) / (2 * s * scale)
                           for s in (1e-3, 1e-2))
            steady = (np.abs(middle) < 3 * np.abs(far)) & (np.abs(far) < 3 * np.abs(middle))
            noise = 2.2e-16 * np.abs(here) / t
            finite = np.isfinite(far) & np.isfinite(near)
            jumps = finite & (np.abs(near) > 30 * np.abs(far) + 1e4 * noise)
            if jumps.any():  # beside a pole the slope is as large over a smaller step; a stair is flat or jumps there
                nearer = (G(_along(x, probe, t / 7)) - G(_along(x, probe, -t / 7))) / (2 * t / 7)
                jumps &= ~(np.abs(nearer - near) <= 0.3 * np.abs(near))
            moves = finite & (np.abs(far) > 10 * noise) & steady
        stairs += (jumps | (moves & (near == 0))).sum()
        moving += (jumps | moves).sum()
    return 1.2e-7 if stairs > 0.5 * moving else 2.2e-16
