"""Numbers from a mixture of Gaussians: samples, and the exact probabilities of the cells of a line."""

import math
from typing import NamedTuple

import numpy as np

from scratchnet.backend import check_rng, kind_of
from scratchnet.settings import whole


class Mixture(NamedTuple):
    """p(x) = Σₖ weightₖ N(x; meanₖ, stdₖ²)        tuples of one length; weights ≥ 0 that sum to 1, and stds > 0"""
    weights: tuple
    means: tuple
    stds: tuple

    def draw(self, n, rng):
        """n independent samples, float32 (n, 1)"""
        self._check()
        check_rng("Mixture", rng)
        n = whole("Mixture", "n", n, 0)
        k = rng.choice(len(self.weights), size=(n, 1), p=self.weights)
        return (np.take(self.means, k) + np.take(self.stds, k) * rng.standard_normal((n, 1))).astype(np.float32)

    def cells(self, edges):
        """P(eᵢ ≤ x < eᵢ₊₁) by differences of Φ(t) = ½ erfc(−t/√2)        increasing edges (N + 1,) → (N,), of sum 1

        The outermost cells include everything beyond the edges.
        """
        self._check()
        try:
            edges = np.asarray(edges, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"Mixture: edges must be numbers (N + 1,), got {kind_of(edges)}") from None
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"Mixture: edges of shape {edges.shape}, expected increasing edges (N + 1,)")
        inner = edges[1:-1]
        below = sum(w * _normal_below((inner - m) / s) for w, m, s in zip(*self, strict=True))
        return np.diff(below, prepend=0.0, append=1.0)

    def _check(self):
        try:
            weights, means, stds = np.array(list(map(list, self)), dtype=np.float64)
            right = ((weights >= 0).all() and abs(weights.sum() - 1) <= 1e-9 and np.isfinite(means).all()
                     and (stds > 0).all() and np.isfinite(stds).all())
        except (TypeError, ValueError):  # not tuples, not numbers, or not of one length
            right = False
        if not right:
            raise ValueError(f"Mixture: {self.weights}, {self.means}, {self.stds}, expected tuples of one length, "
                             f"weights of at least 0 that sum to 1, finite means, and standard deviations above 0")


def _normal_below(t):
    return np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in t])
