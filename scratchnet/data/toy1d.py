"""Numbers from a mixture of Gaussians: samples, and the exact probability of every cell of a line."""

import math
from typing import NamedTuple

import numpy as np


class Mixture(NamedTuple):
    """p(x) = Σₖ weightₖ N(x; meanₖ, stdₖ²)        tuples of one length; weights ≥ 0, which sum to 1, and stds > 0"""
    weights: tuple
    means: tuple
    stds: tuple

    def draw(self, n, rng):
        """n independent samples, float32 (n, 1)"""
        self._check()
        k = rng.choice(len(self.weights), size=(n, 1), p=self.weights)
        return (np.take(self.means, k) + np.take(self.stds, k) * rng.standard_normal((n, 1))).astype(np.float32)

    def cells(self, edges):
        """P(eᵢ ≤ x < eᵢ₊₁) by differences of Φ(t) = ½ erfc(−t/√2)        rising edges (N + 1,) → (N,), which sum to 1

        What lies beyond the edges counts for the outermost cells.
        """
        self._check()
        inner = np.asarray(edges, dtype=np.float64)[1:-1]
        below = sum(w * _normal_below((inner - m) / s) for w, m, s in zip(*self, strict=True))
        return np.diff(below, prepend=0.0, append=1.0)

    def _check(self):
        one_length = len({len(part) for part in self}) == 1
        if not (one_length and min(self.weights) >= 0 and abs(sum(self.weights) - 1) <= 1e-9 and min(self.stds) > 0):
            raise ValueError(f"Mixture: {self.weights}, {self.means}, {self.stds}, expected tuples of one length, "
                             f"weights of at least 0 that sum to 1, and standard deviations above 0")


def _normal_below(t):
    return np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in t])
