"""Directional derivatives from values of a function alone: a complex step where it is analytic, differences elsewhere.

    J d = Im G(x + i h d) / h,  h = 1e-20              (Squire & Trapp 1998): exact to rounding, nothing cancels
    J d = (4 D(h/2) − D(h)) / 3 + O(h⁴),  D(h) = (G(x + h d) − G(x − h d)) / 2h        (Richardson 1911)

The distance of D(h) from D(h/2) and the rounding of G over h bound the error. G maps an array to a vector.
"""

import warnings
from typing import NamedTuple

import numpy as np

TINY = 1e-20  # the complex step
PROBES = 3  # directions in which it must agree with differences: in a single one it can agree by chance
NEARER = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)  # fractions of the step, tried where it spans a kink, a pole or many periods


class Slopes(NamedTuple):
    """J d for every direction d (rows) and every entry of G (columns)."""

    value: np.ndarray
    error: np.ndarray  # bound on the error of value
    kink: np.ndarray  # 1 for a kink within 1e-6 of x, or where G is not finite there; 2 for a kink at x itself
    left: np.ndarray  # one-sided slopes, where there is a kink
    right: np.ndarray
    method: str
    eps: float  # the relative rounding of G


def slopes(G, x, directions, rng, whole=None, cancelled=0.0):
    """The Slopes of G at x along the directions. A direction is a flat vector, or the index of an entry for a unit
    vector.

    whole      the function of x whose results G adds up, if G is such a sum: its precision is easier to see
    cancelled  how large the terms of these sums may have been: their rounding remains
    """
    x = np.asarray(x)  # a sum of 0-d arrays is a scalar of NumPy, whose entries cannot be changed
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
    """(J d for all directions, the doubt about each entry of G), or None if G is not analytic: it refuses complex
    numbers, drops the imaginary part, or disagrees with differences along the probes."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part was dropped
            at = [G(_along(x, d, 1j * TINY)) for d in [*probes, *directions]]
    except Exception:  # a function written for real numbers may do anything with complex ones
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
    """For each entry of G: 0 where differences confirm the complex step along the probe, ∞ where they refute it, and
    otherwise the error bound of differences that see a derivative of almost zero.

    Usually the normal step decides. Beside a pole or a kink it takes a smaller one. Where almost nothing is left of the
    derivative, as in a saturated sigmoid, it takes a larger one: there the normal step sees only rounding, which agrees
    with anything, even with a complex step whose imaginary part was lost in |x|."""
    h = _step(x, probe, 2.2e-16)
    best, bound, share = (np.full(step.shape, a) for a in (np.nan, np.inf, np.inf))  # of the smallest relative error
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
    return np.where(fits & (seen | ~bent), np.where(seen, 0.0, bound), np.inf)  # bent and never resolved: a kink


def _step(x, direction, eps):
    """A step h of eps^(1/4) times the size of x, at which both the remaining h⁴ and the rounding eps/h are small."""
    dense = np.ndim(direction) > 0
    size = np.abs(x).max(initial=1.0) if dense else max(1.0, abs(x.flat[direction]))
    return eps ** 0.25 * size / (np.linalg.norm(direction) or 1.0 if dense else 1.0)


def _difference(G, x, direction, here, eps, largest):
    """(J d, error bound, kink, slope to the left, slope to the right) along one direction d."""
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

    `largest` is the largest number that may have cancelled in G: its rounding remains where little else does.
    Where G is smooth, the two one-sided slopes differ by h G″ + O(h³), so by half as much at h/2; not at a kink."""
    with np.errstate(all="ignore"):
        up, down, half_up, half_down = (G(_along(x, direction, s * h)) for s in (1.0, -1.0, 0.5, -0.5))
        coarse, fine = (up - down) / (2 * h), (half_up - half_down) / h
        value = (4 * fine - coarse) / 3
        added_up = np.maximum(np.abs(here), np.maximum(np.abs(up), np.abs(down))) * max(1.0, x.size ** 0.5)
        noise = 2 * eps * np.maximum(added_up, largest) / h
        step = h * (np.abs(direction).max(initial=1e-300) if np.ndim(direction) else 1.0)
        steepest = np.abs(value[np.isfinite(value)]).max(initial=0.0)
        noise = noise + 2.2e-16 * np.abs(x).max(initial=0.0) / step * steepest  # x + h d is rounded as well
        bend, half_bend = (up + down - 2 * here) / h, (half_up + half_down - 2 * here) / (h / 2)
        bent = np.abs(half_bend - bend / 2)
        kink = bent > 1e-6 * np.abs(value) + 50 * noise
    return value, np.abs(value - fine) + bent + noise, kink | ~np.isfinite(value)


def _rounding(G, x, probes):
    """The relative precision of G: that of its dtype, or that of float32 if G is a staircase. Over a step far below the
    rounding of float32, a staircase is flat or jumps; over two larger steps, it has one and the same slope. (A function
    with a single jump does not.)"""
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
            if jumps.any():  # beside a pole, a smaller step sees the same slope; a staircase is flat or jumps there
                nearer = (G(_along(x, probe, t / 7)) - G(_along(x, probe, -t / 7))) / (2 * t / 7)
                jumps &= ~(np.abs(nearer - near) <= 0.3 * np.abs(near))
            moves = finite & (np.abs(far) > 10 * noise) & steady
        stairs += (jumps | (moves & (near == 0))).sum()
        moving += (jumps | moves).sum()
    return 1.2e-7 if stairs > 0.5 * moving else 2.2e-16
