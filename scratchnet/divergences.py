"""f-divergences of two densities p and q: their exact values, and their lower bounds as a discriminator sees them.

    D_f(p ‖ q) = ∫ q f(p/q)  ≥  E_p[T] − E_q[f*(T)]  for every function T,        f*(t) = sup_u (u t − f(u))

with equality for T* = f′(p/q). The right side needs samples of both, but no densities. A net that maximises it measures
D_f. The net's output v becomes T = g(v), so that T stays where f* is finite:

    divergence        f(u)                                  T = g(v)       f*(T)               v for T*
    KL                u ln u                                v              e^(v − 1)           1 + ln(p/q)
    reverse KL        −ln u                                 −e^−v          v − 1               ln(p/q)
    Pearson           (u − 1)²                              v              v²/4 + v            2 (p/q − 1)
    Jensen-Shannon    ½ u ln u − ½ (u + 1) ln ½(u + 1)      ½ ln 2σ(v)     −½ ln 2(1 − σ(v))   ln(p/q)

(Nowozin, Cseke & Tomioka 2016, "f-GAN", section 2 and Table 2; the inequality is by Nguyen et al. 2010. Pearson's f*
holds for T ≥ −2, where T* lies. Below −2, f* is −1, and the table's larger value only lowers the bound.) The last line
is half of theirs, which makes the divergence JS itself. With D = σ(v), its bound is that of the first GAN:

    V(D, G) = E_p[ln D] + E_q[ln(1 − D)] = 2 bound − 2 ln 2 ≤ 2 JS(p ‖ q) − 2 ln 2,  with equality for D* = p/(p + q)

(Goodfellow et al. 2014, proposition 1 and theorem 1). Estimated from samples, V is −games.minimax_discriminator.

In the functions below, p and q (N,) are the probabilities of N cells: the members of a finite set, or the cells of a
grid, where a probability is a density times a width. Every sum is then a quadrature, and the bounds hold exactly at
every N.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.host import on_host


class Divergence(NamedTuple):
    """One line of the table above."""
    density: Callable    # p, q → q f(p/q)
    activation: Callable  # v → T = g(v)
    conjugate: Callable  # v → f*(T)
    best: Callable       # p, q → v for T*


def _relative(p, q):
    """p ln(p/q): 0 where p = 0, else ∞ where q = 0"""
    return np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0)


def _log_ratio(p, q):
    return np.log(p) - np.log(q)


DIVERGENCES = {
    "KL": Divergence(_relative, lambda v: v, lambda v: ops.exp(v - 1.0), lambda p, q: 1 + _log_ratio(p, q)),
    "reverse KL": Divergence(lambda p, q: _relative(q, p), lambda v: -ops.exp(-v), lambda v: v - 1.0, _log_ratio),
    "Pearson": Divergence(lambda p, q: np.where(p == q, 0.0, (p - q)**2 / q), lambda v: v,
                          lambda v: 0.25 * ops.square(v) + v, lambda p, q: 2 * (p / q - 1)),
    "Jensen-Shannon": Divergence(
        lambda p, q: 0.5 * (_relative(p, p + q) + _relative(q, p + q) + (p + q) * math.log(2)),
        lambda v: 0.5 * (math.log(2) - ops.softplus(-v)),   # ln σ(v) = −softplus(−v)
        lambda v: 0.5 * (ops.softplus(v) - math.log(2)),    # ln(1 − σ(v)) = −softplus(v)
        _log_ratio)}


def divergence(name):
    """The line of the table with this name; ValueError for a name that is not in DIVERGENCES."""
    if not isinstance(name, str) or name not in DIVERGENCES:
        raise ValueError(f"there is no divergence {name!r}, expected one of {', '.join(DIVERGENCES)}")
    return DIVERGENCES[name]


def exact(name, p, q):
    """D_f(p ‖ q) = Σᵢ qᵢ f(pᵢ/qᵢ), in nats        probabilities of cells (N,) → a float, which may be ∞

    JS lies in [0, ln 2]. KL and Pearson are ∞ if some cell has p > 0 and q = 0, the reverse KL if some cell has q > 0
    and p = 0. ValueError unless p and q are probabilities of the same cells.
    """
    line, p, q = divergence(name), *_probabilities("exact", p, q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(line.density(p, q).sum())


def best_output(name, p, q):
    """The output v of the best net in each cell, for which the bound equals D_f: g(v) = f′(p/q)        (N,) → (N,)

    ±∞ where p or q is 0 (but −2 for Pearson at p = 0), and NaN where both are, for there is nothing to judge.
    """
    line, p, q = divergence(name), *_probabilities("best_output", p, q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return line.best(p, q)


def bound(name, v, p, q):
    """Σᵢ pᵢ g(vᵢ) − qᵢ f*(g(vᵢ)) ≤ D_f(p ‖ q)        outputs v and probabilities, all (N,) → a number

    ∂/∂vᵢ = g′(vᵢ) (pᵢ − qᵢ f*′(g(vᵢ))), which is 0 for all i only where g(v) = T*. ValueError for unequal shapes.
    """
    line = divergence(name)
    check_arrays("bound", v=v, p=p, q=q)
    if not v.shape == p.shape == q.shape:
        raise ValueError(f"bound: outputs {v.shape} for probabilities {p.shape} and {q.shape}, expected (N,) each")
    return (p * line.activation(v) - q * line.conjugate(v)).sum()


def bound_from_samples(name, real, fake):
    """mean g(a) − mean f*(g(b)),  a and b a net's outputs for samples of p and of q, of any shape → a number

    The net climbs it, and a generator of the samples of q descends it.  (Nowozin et al. 2016, sections 2.2 and 2.3)
    Its expectation is the bound. Its maximum over all nets, on a finite set of samples, exceeds D_f on average.
    ValueError without samples.
    """
    line = divergence(name)
    check_arrays("bound_from_samples", real=real, fake=fake)
    if 0 in (*real.shape, *fake.shape):
        raise ValueError(f"bound_from_samples: real {real.shape} and fake {fake.shape}, expected at least one of each")
    return line.activation(real).mean() - line.conjugate(fake).mean()


def push_forward(x, edges):
    """The probabilities of G(z) in the N cells between edges, for uniform z: x (M + 1,), edges (N + 1,) → (N,)

    x holds G at M + 1 evenly spaced z, and edges rise. G counts as a straight line between neighbours, for which the
    answer is exact: each of the M pieces spreads 1/M evenly between x_k and x_k+1. Whatever falls beyond the edges
    counts for the outermost cells, so that the sum is 1. For other z, take x = G at its quantiles.
    ValueError for NaN, infinite values, other shapes, or edges that do not rise.
    """
    x, edges = (on_host("push_forward", name, a).astype(np.float64) for name, a in (("x", x), ("edges", edges)))
    if not np.isfinite(x).all():
        raise ValueError("push_forward: x has NaN or infinite values")
    if x.ndim != 1 or edges.ndim != 1 or min(len(x), len(edges)) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"push_forward: x {x.shape} and edges {edges.shape}, expected (M + 1,) and (N + 1,), rising")
    low, high = np.minimum(x[1:], x[:-1]), np.maximum(x[1:], x[:-1])
    width = np.maximum(high - low, 1e-12)                                     # a flat piece is a jump
    below = np.clip((edges[1:-1, None] - low) / width, 0, 1).mean(axis=1)     # P(G(z) ≤ edge), the inner edges
    return np.diff(below, prepend=0.0, append=1.0)


def _probabilities(op, p, q):
    """p and q on the host in float64; ValueError unless they are probabilities of the same cells."""
    p, q = (on_host(op, name, a).astype(np.float64) for name, a in (("p", p), ("q", q)))
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"{op}: p {p.shape} and q {q.shape}, expected probabilities of the same cells, (N,) each")
    for name, a in (("p", p), ("q", q)):
        if not (a >= 0).all() or abs(a.sum() - 1) > 1e-3:
            raise ValueError(f"{op}: {name} sums to {a.sum():.4g} and its minimum is {a.min(initial=0):.3g}, "
                             f"expected probabilities ≥ 0 with sum 1 (multiply a density by the width of the cells, "
                             f"which must reach far enough)")
    return p, q
