"""Scores of generated samples, against sums written out, closed forms, scikit-learn, and numbers by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import Tensor, sample_metrics
from scratchnet.metrics import frechet_distance
from scratchnet.sample_metrics import (
    class_coverage,
    inception_score,
    parzen_log_likelihood,
    parzen_sigma,
    precision_and_recall,
    sample_report,
)

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 12)


def probabilities(rng, N, classes):
    p = rng.random((N, classes))**3 * (rng.random((N, classes)) > 0.3) + 1e-9
    return p / p.sum(axis=1, keepdims=True)


# ---------------------------------------------------------------- inception score

@given(SEEDS, SIZES, SIZES)
def test_score_is_a_mean_divergence(seed, N, classes):
    p = probabilities(np.random.default_rng(seed), N, classes)
    marginal = [sum(row[y] for row in p) / N for y in range(classes)]
    divergence = sum(row[y] * np.log(row[y] / marginal[y]) for row in p for y in range(classes)) / N
    score, sharpness, diversity = inception_score(p)
    np.testing.assert_allclose(score, np.exp(divergence), rtol=1e-9)
    np.testing.assert_allclose(np.log(diversity), -sum(q * np.log(q) for q in marginal), rtol=1e-9, atol=1e-12)
    assert 1 / classes * (1 - 1e-9) <= sharpness <= 1 and 1 <= diversity * (1 + 1e-9) <= classes * (1 + 1e-8)


def test_collapse_is_as_sharp_as_can_be():
    assert inception_score(np.eye(10)) == pytest.approx((10, 1, 10), rel=1e-12)
    assert inception_score(np.eye(10)[[3] * 50]) == (1, 1, 1)
    assert inception_score(np.eye(10)[[3, 4] * 50]) == pytest.approx((2, 1, 2), rel=1e-12)
    assert inception_score(np.full((7, 10), 0.1)) == pytest.approx((1, 0.1, 10), rel=1e-12)
    # two classes, one of them a quarter of the time; then all samples half way between the two
    assert inception_score(np.eye(2)[[0, 1, 1, 1]])[2] == pytest.approx(4 / 3**0.75, rel=1e-12)
    assert inception_score(np.full((4, 2), 0.5)) == pytest.approx((1, 0.5, 2), rel=1e-12)


def test_float32_rows_add_up_well_enough():
    p = probabilities(np.random.default_rng(0), 50, 10)
    np.testing.assert_allclose(inception_score(Tensor(p.astype(np.float32))), inception_score(p), rtol=1e-5)


# ---------------------------------------------------------------- class coverage

def test_coverage_by_hand():
    p = np.array([[0.95, 0.05, 0.0], [0.92, 0.08, 0.0], [0.2, 0.8, 0.0], [0.05, 0.05, 0.9]])
    assert class_coverage(p) == pytest.approx(2 / 3)                    # no sample is surely of class 1
    assert class_coverage(p, confidence=0.8) == 1.0
    assert class_coverage(p, confidence=0.93) == pytest.approx(1 / 3)
    assert class_coverage(p, share=0.25) == pytest.approx(2 / 3)        # one of four is enough
    assert class_coverage(p, share=0.26) == pytest.approx(1 / 3)
    assert class_coverage(p, confidence=1.0, share=0) == 0.0
    assert class_coverage(np.eye(5)[[0, 1, 2, 3]], share=0) == 0.8      # at least one, not none


def test_coverage_counts_a_share_of_all_samples():
    p = np.eye(10)[[0] * 93 + [1] * 7]
    assert class_coverage(p, share=0.07) == 0.2 and class_coverage(p, share=0.071) == 0.1
    unsure = np.concatenate([p, np.full((901, 10), 0.1)])
    assert class_coverage(unsure) == 0.1 and class_coverage(unsure, share=0) == 0.2


# ---------------------------------------------------------------- precision and recall

def naive_share(points, centers, k):
    """The share of points in balls, one at a time, with whole numbers, so that distances are exact."""
    inside = 0
    for p in points:
        for i, c in enumerate(centers):
            others = sorted(int(((c - o)**2).sum()) for j, o in enumerate(centers) if j != i)
            if ((p - c)**2).sum() <= others[k - 1]:
                inside += 1
                break
    return inside / len(points)


@given(SEEDS, st.integers(4, 15), st.integers(4, 15), st.integers(1, 4), st.integers(1, 3))
def test_precision_and_recall_by_loops(seed, N, M, D, k):
    rng = np.random.default_rng(seed)
    real, generated = rng.integers(-4, 5, (N, D)), rng.integers(-2, 8, (M, D))  # many equal distances and points
    expected = naive_share(generated, real, k), naive_share(real, generated, k)
    assert precision_and_recall(real, generated, k) == pytest.approx(expected, abs=1e-12)
    assert precision_and_recall(generated, real, k) == pytest.approx(expected[::-1], abs=1e-12)
    assert precision_and_recall(real + 10**6, generated + 10**6, k) == pytest.approx(expected, abs=1e-12)


def test_precision_and_recall_against_sklearn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(0)
    real, generated = rng.standard_normal((300, 5)), 0.5 + 0.7 * rng.standard_normal((200, 5))
    shares = []
    for points, centers in ((generated, real), (real, generated)):
        rims = neighbors.NearestNeighbors(n_neighbors=3).fit(centers).kneighbors()[0][:, -1]
        distance = np.sqrt(((points[:, None] - centers)**2).sum(axis=2))
        shares.append(np.mean((distance <= rims).any(axis=1)))
    assert precision_and_recall(real, generated) == pytest.approx(shares, abs=1e-12) and 0.1 < min(shares) < 0.95


def test_blocks_change_nothing(monkeypatch):
    blocks, whole = [], sample_metrics._squared_distances

    def count(a, b):
        for d2 in whole(a, b):
            blocks.append(d2.shape)
            yield d2
    monkeypatch.setattr(sample_metrics, "_squared_distances", count)
    x, y = np.random.default_rng(0).standard_normal((2, 3000, 2))
    found = precision_and_recall(x, y)
    assert (1666, 3000) in blocks and (3000 - 1666, 3000) in blocks and len(blocks) == 8
    assert found == (naive_blocks(y, x), naive_blocks(x, y))


def naive_blocks(points, centers):
    distance = lambda a, b: sum((a[:, None, i] - b[None, :, i])**2 for i in range(a.shape[1]))
    rims = np.sort(distance(centers, centers), axis=1)[:, 3]
    return np.mean((distance(points, centers) <= rims).any(axis=1))


def test_what_precision_and_recall_each_see():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((200, 2)), 50 + rng.standard_normal((200, 2))
    both = np.concatenate([left, right])
    precision, recall = precision_and_recall(both, left + 1e-3)     # half of it dropped
    assert precision > 0.95 and 0.45 < recall <= 0.5
    precision, recall = precision_and_recall(left, both + 1e-3)     # half of it invented
    assert 0.45 < precision <= 0.5 and recall > 0.95
    assert precision_and_recall(both, both) == (1, 1)
    assert precision_and_recall(left, right) == (0, 0)


def test_one_sample_repeated():
    one = np.random.default_rng(0).random((1, 64)) / 3
    real = np.concatenate([one, np.random.default_rng(1).random((99, 64))])
    assert precision_and_recall(real, np.tile(one, (30, 1))) == (1, 0.01)  # its ball is a point, and holds that point
    assert precision_and_recall(np.tile(one, (30, 1)), np.tile(one, (40, 1))) == (1, 1)


# ---------------------------------------------------------------- Parzen window

@given(SEEDS, SIZES, SIZES, SIZES)
def test_parzen_window_by_its_definition(seed, N, M, D):
    rng = np.random.default_rng(seed)
    s, x, σ = rng.random((N, D)), rng.random((M, D)), rng.uniform(0.3, 2)
    expected = [np.log(np.mean([np.exp(-((a - b)**2).sum() / (2 * σ**2)) / (2 * np.pi * σ**2)**(D / 2) for b in s]))
                for a in x]
    np.testing.assert_allclose(parzen_log_likelihood(s, x, σ), expected, rtol=1e-9, atol=1e-9)


def test_parzen_window_against_sklearn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(0)
    s, x = rng.random((200, 28, 28, 1), dtype=np.float32), rng.random((150, 28, 28, 1), dtype=np.float32)
    for σ in 0.1, 0.17, 1.0:
        density = neighbors.KernelDensity(bandwidth=σ, leaf_size=200).fit(s.reshape(200, -1))  # (one leaf, as its tree
        # loses terms below e^−700)
        expected = density.score_samples(x.reshape(150, -1))
        np.testing.assert_allclose(parzen_log_likelihood(s, Tensor(x), σ), expected, rtol=1e-9)


def test_parzen_window_far_from_every_sample():
    # one sample s: ln p(x) = −‖x − s‖² / 2σ² − D/2 ln 2πσ², here with e^−125000, which is 0 as a float
    s, x = np.zeros((1, 10)), np.full((1, 10), 5.0)
    expected = -250 / 0.002 - 5 * np.log(2 * np.pi * 0.001)
    np.testing.assert_allclose(parzen_log_likelihood(s, x, 0.001**0.5), [expected], rtol=1e-12)
    np.testing.assert_allclose(parzen_log_likelihood(s.repeat(7, 0), x, 0.001**0.5), [expected], rtol=1e-12)
    far = 1e5 + 1 / 3  # its square keeps 5 digits after the point, and none of them may be lost
    np.testing.assert_allclose(parzen_log_likelihood(s + far, x + far, 0.001**0.5), [expected], rtol=1e-9)


def test_parzen_window_is_a_density():
    samples, line = np.array([[0.0], [1.5]]), np.linspace(-5, 7, 4001)
    density = np.exp(parzen_log_likelihood(samples, line[:, None], 0.5))
    assert density.sum() * (line[1] - line[0]) == pytest.approx(1, abs=1e-9)


def test_parzen_window_in_blocks():
    rng = np.random.default_rng(0)
    s, x = rng.standard_normal((3000, 2)), rng.standard_normal((2000, 2))
    parts = [parzen_log_likelihood(s, part, 0.3) for part in np.split(x, 10)]
    np.testing.assert_allclose(parzen_log_likelihood(s, x, 0.3), np.concatenate(parts), rtol=1e-12)


def test_sigma_is_the_best_of_ten_on_validation_images():
    rng = np.random.default_rng(0)
    s, v = rng.standard_normal((100, 3)), rng.standard_normal((50, 3))
    grid = [10**(k / 9 - 1) for k in range(10)]
    best = max(grid, key=lambda σ: parzen_log_likelihood(s, v, σ).mean())
    assert parzen_sigma(s, v) == pytest.approx(best, rel=1e-12) and 0.1 < best < 1
    assert parzen_sigma(s, s) == pytest.approx(0.1) and parzen_sigma(s, 10 * v) == pytest.approx(1)


# ---------------------------------------------------------------- all of them

class Eye:
    """A classifier of images (N, 2, 2, 1) by their brightest pixel."""

    def features(self, x):
        return x.reshape(len(x), 4) * 2

    def __call__(self, x):
        return Tensor(x.reshape(len(x), 4) * 20, requires_grad=True)


def test_report():
    rng = np.random.default_rng(0)
    real, generated = rng.random((600, 2, 2, 1)), rng.random((1100, 2, 2, 1))
    generated[:, 0, 0] /= 5
    report, a, b = sample_report(Eye(), real, generated), real.reshape(-1, 4), generated.reshape(-1, 4)
    p = np.exp(20 * b) / np.exp(20 * b).sum(axis=1, keepdims=True)
    score, sharpness, diversity = inception_score(p)
    precision, recall = precision_and_recall(2 * a, 2 * b)
    expected = {"score": score, "sharpness": sharpness, "diversity": diversity,
                "Fréchet distance": frechet_distance(2 * a, 2 * b), "precision": precision, "recall": recall,
                "classes covered": class_coverage(p)}
    assert report == pytest.approx(expected, rel=1e-9) and all(type(v) is float for v in report.values())
    assert report["classes covered"] == 0.75 and recall < precision  # the first pixel is never the brightest


# ---------------------------------------------------------------- refused

P, X, NAN = np.full((4, 2), 0.5), np.zeros((5, 3)), np.full((5, 3), np.nan)


@pytest.mark.parametrize("classifier", [None, "judge", lambda x: x])
def test_a_classifier_has_features(classifier):
    with pytest.raises(TypeError, match="^sample_report: the classifier is a Module with features"):
        sample_report(classifier, X, X)


def test_a_narrow_window_is_as_likely_as_its_formula_says():
    assert parzen_log_likelihood(np.zeros((1, 1)), np.zeros((1, 1)), 1e-140)[0] == pytest.approx(
        -0.5 * np.log(2 * np.pi) + 140 * np.log(10))


@pytest.mark.parametrize(("f", "arguments", "message"), [
    (inception_score, (P[0],), r"probabilities of shape \(2,\), expected \(N, classes\)"),
    (inception_score, (2 * P,), "rows that add up to 1"),
    (inception_score, (P * [3, -1],), "none below 0"),
    (inception_score, (P[:0],), "probabilities is empty"),
    (inception_score, (NAN,), "probabilities has NaN"),
    (class_coverage, (2 * P,), "rows that add up to 1"),
    (class_coverage, (P, 0.5), "confidence is 0.5, expected above 0.5"),
    (class_coverage, (P, 1.1), "confidence is 1.1"),
    (class_coverage, (P, 0.9, -0.1), "share -0.1, expected 0 to 1"),
    (class_coverage, (P, 0.9, 1.1), "share 1.1"),
    (precision_and_recall, (X, X[:, :2]), r"real \(5, 3\) and generated \(5, 2\), expected \(N, D\)"),
    (precision_and_recall, (X[0], X), r"real \(3,\)"),
    (precision_and_recall, (X, X[None]), r"generated \(1, 5, 3\)"),
    (precision_and_recall, (X, X[:3]), "k=3 of 5 real and 3 generated, expected 1 ≤ k < 3"),
    (precision_and_recall, (X[:3], X), "k=3 of 3 real and 5 generated"),
    (precision_and_recall, (X, X, 0), "k=0"),
    (precision_and_recall, (NAN, X), "real has NaN or infinite"),
    (parzen_log_likelihood, (X, X[:, :2], 1.0), r"samples \(5, 3\) and images \(5, 2\), expected"),
    (parzen_log_likelihood, (X[:, 0], X[:, 0], 1.0), r"samples \(5,\)"),
    (parzen_log_likelihood, (X, X, 0.0), "sigma is 0.0, expected 1e-150 to 1e150"),
    (parzen_log_likelihood, (X, X, float("nan")), "sigma is nan"),
    (parzen_log_likelihood, (X, X, 1e-200), "sigma is 1e-200, expected 1e-150"),
    (parzen_log_likelihood, (X, X, 1e200), r"sigma is 1e\+200, expected"),
    (parzen_log_likelihood, (X, 1e20 * (X + 1), 1e-145), "sigma is 1e-145, so small that"),
    (class_coverage, (P, "a"), "confidence is a, expected above 0.5"),
    (class_coverage, (P, None), "confidence is None"), (class_coverage, (P, [1]), "confidence is"),
    (class_coverage, (P, 0.9, "a"), "share a, expected 0 to 1"), (class_coverage, (P, 0.9, True), "share True"),
    (precision_and_recall, (X, X, True), "k=True"),
    (parzen_log_likelihood, (X, X[:0], 1.0), "images is empty"),
    (parzen_log_likelihood, (NAN, X, 1.0), "samples has NaN"),
])
def test_refused(f, arguments, message):
    with pytest.raises(ValueError, match=f"^{f.__name__}: .*{message}"):
        f(*arguments)
