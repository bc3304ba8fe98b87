"""Metrics against closed forms and, where installed, SciPy."""

import numpy as np
import pytest

from scratchnet import metrics

RNG = np.random.default_rng(0)


def spread(d):
    a = RNG.normal(size=(d, d))
    return a @ a.T + 0.1 * np.eye(d)


def test_frechet_distance_of_gaussians_in_closed_form():
    """d² = ‖μ₁ − μ₂‖² + tr(C₁ + C₂ − 2 (C₁ C₂)^½); for commuting covariances Σ (σ₁ − σ₂)² over the axes."""
    s1, s2, shift = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.1, 0.5]), np.array([1.0, -2.0, 0.0])
    q = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    c1, c2 = (q * s ** 2 @ q.T for s in (s1, s2))
    expected = 5 + ((s1 - s2) ** 2).sum()
    assert np.isclose(metrics.frechet_distance_gaussians(np.zeros(3), c1, shift, c2), expected)
    assert metrics.frechet_distance_gaussians(shift, c1, shift, c1) < 1e-9


def test_frechet_distance_against_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    c1, c2, m1, m2 = spread(5), spread(5), RNG.normal(size=5), RNG.normal(size=5)
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real)
    assert np.isclose(metrics.frechet_distance_gaussians(m1, c1, m2, c2), expected)


def test_frechet_distance_of_samples():
    a = RNG.normal(size=(50_000, 3))
    b = RNG.normal(size=(50_000, 3)) * [1.0, 2.0, 1.0] + [0.0, 0.0, 3.0]
    assert metrics.frechet_distance(a, a) < 1e-9
    assert abs(metrics.frechet_distance(a, b) - 10) < 0.2
    assert np.isclose(metrics.frechet_distance(a, b), metrics.frechet_distance(b, a))
    for wrong in (a[:, :2], a[:1], a * np.nan):
        with pytest.raises(ValueError, match="frechet_distance"):
            metrics.frechet_distance(wrong, b)


def test_accuracy_and_squared_error():
    logits = np.array([[0.1, 0.9], [2.0, 1.0], [0.0, 1.0]])
    assert metrics.accuracy(logits, np.array([1, 0, 0])) == pytest.approx(2 / 3)
    assert metrics.accuracy(np.array([1, 1, 0]), np.array([1, 0, 0])) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="accuracy"):
        metrics.accuracy(logits, np.array([1, 0]))
    a, b = np.zeros((2, 3, 3, 1)), np.ones((2, 3, 3, 1))
    b[1] *= 2
    assert metrics.squared_error_per_image(a, b) == (9 + 36) / 2
    with pytest.raises(ValueError):
        metrics.squared_error_per_image(a, b[:1])
