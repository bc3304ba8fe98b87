"""Fréchet distance, accuracy, squared error and neighbours, against closed forms, SciPy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import Tensor
from scratchnet.metrics import (
    accuracy,
    frechet_distance,
    frechet_distance_gaussians,
    in_batches,
    knn_accuracy,
    nearest,
    precision_at_k,
    squared_error_per_image,
)

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 12)


def covariance(rng, D, rank=None):
    A = rng.standard_normal((D, rank or D + 2))
    return A @ A.T / A.shape[1]


# ---------------------------------------------------------------- Fréchet distance of two Gaussians

@given(SEEDS, SIZES)
def test_in_one_basis_the_standard_deviations_are_subtracted(seed, D):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    (m1, m2), (s1, s2) = rng.standard_normal((2, D)), rng.uniform(0, 3, (2, D))
    d2 = frechet_distance_gaussians(m1, Q * s1**2 @ Q.T, m2, Q * s2**2 @ Q.T)
    np.testing.assert_allclose(d2, np.sum((m1 - m2)**2) + np.sum((s1 - s2)**2), rtol=1e-6, atol=1e-6)


@given(SEEDS, SIZES)
def test_a_linear_map_of_a_gaussian(seed, D):
    # x ↦ A x with A positive definite is the optimal transport (Brenier), so d² = E‖x − A x‖² = tr (I − A) C (I − A);
    # C and A C A do not commute
    rng = np.random.default_rng(seed)
    C, A = covariance(rng, D), covariance(rng, D)
    m = rng.standard_normal(D)
    expected = np.sum((m - A @ m)**2) + np.trace((np.eye(D) - A) @ C @ (np.eye(D) - A))
    np.testing.assert_allclose(frechet_distance_gaussians(m, C, A @ m, A @ C @ A), expected, rtol=1e-6, atol=1e-6)


@given(SEEDS, st.integers(2, 12))
def test_two_lines(seed, D):
    # rank one: C₁ = u uᵀ and C₂ = v vᵀ, so d² = ‖u‖² + ‖v‖² − 2 |u·v|
    u, v = np.random.default_rng(seed).standard_normal((2, D))
    d2 = frechet_distance_gaussians(np.zeros(D), np.outer(u, u), np.zeros(D), np.outer(v, v))
    np.testing.assert_allclose(d2, u @ u + v @ v - 2 * abs(u @ v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [20, 100, 150])
def test_a_singular_covariance_is_at_no_distance_from_itself(rank):
    C, m = 100 * covariance(np.random.default_rng(0), 100, rank), np.arange(100.0)
    assert 0 <= frechet_distance_gaussians(m, C, m, C) < 1e-9


@given(SEEDS, SIZES, SIZES)
def test_scipy_agrees(seed, D, rank):
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(seed)
    (m1, m2), C1, C2 = rng.standard_normal((2, D)), covariance(rng, D), covariance(rng, D, D + rank)
    expected = np.sum((m1 - m2)**2) + np.trace(C1 + C2 - 2 * linalg.sqrtm(C1 @ C2).real)
    np.testing.assert_allclose(frechet_distance_gaussians(m1, C1, m2, C2), expected, rtol=1e-6, atol=1e-6)


I, NAN = np.eye(3), np.full((3, 3), np.nan)


@pytest.mark.parametrize(("arguments", "message"), [
    ((np.zeros(3), I, np.zeros(2), np.eye(2)), r"mean2 \(2,\), cov2 \(2, 2\), expected \(D,\)"),
    ((np.zeros(3), I, np.zeros(3), np.eye(4)), r"cov2 \(4, 4\), expected"),
    ((np.zeros(3), np.ones(3), np.zeros(3), I), r"cov1 \(3,\)"),
    ((np.zeros((3, 1)), I, np.zeros((3, 1)), I), r"mean1 \(3, 1\)"),
    ((np.zeros(3), NAN, np.zeros(3), I), "cov1 has NaN"),
    ((np.zeros(3), I, np.array([0, np.inf, 0]), I), "mean2 has NaN or infinite"),
    ((np.zeros(0), np.zeros((0, 0)), np.zeros(0), np.zeros((0, 0))), "mean1 is empty"),
    ((np.zeros(3), I, np.zeros(3), np.triu(np.ones((3, 3)))), "cov2 is not symmetric"),
    ((np.zeros(3), -I, np.zeros(3), I), "cov1 has the negative eigenvalue -1"),
])
def test_what_is_no_gaussian(arguments, message):
    with pytest.raises(ValueError, match=f"^frechet_distance_gaussians: .*{message}"):
        frechet_distance_gaussians(*arguments)


# ---------------------------------------------------------------- Fréchet distance of two sets of features

def test_features_by_hand():
    # means 1 and 4, variances ((1 + 0 + 1) / 2) and ((4 + 0 + 4) / 2), so (1 − 4)² + (1 − 2)²
    a, b = np.array([[0.0], [1.0], [2.0]]), np.array([[2.0], [4.0], [6.0]])
    assert frechet_distance(a, b) == pytest.approx(10.0, rel=1e-12)


@given(SEEDS, SIZES, SIZES, SIZES)
def test_features_become_gaussians(seed, D, extra_a, extra_b):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((D + extra_a, D)), 2 + 3 * rng.standard_normal((D + extra_b, D))
    gaussians = []
    for x in (a, b):
        m = sum(x) / len(x)
        gaussians += [m, sum(np.outer(row - m, row - m) for row in x) / (len(x) - 1)]
    expected = frechet_distance_gaussians(*gaussians)
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(frechet_distance(b, a), expected, rtol=1e-6, atol=1e-6)
    assert frechet_distance(a, a[::-1]) < 1e-9
    np.testing.assert_allclose(frechet_distance(a, a + 0.5), 0.25 * D, rtol=1e-6, atol=1e-6)


def test_float32_features_far_from_zero_lose_nothing():
    a = (1000 + np.random.default_rng(0).standard_normal((500, 7))).astype(np.float32)
    assert frechet_distance(a, a.astype(np.float64) + 0.125) == pytest.approx(7 / 64, rel=1e-9)
    assert isinstance(frechet_distance(Tensor(a, requires_grad=True), a), float)


@pytest.mark.parametrize(("a", "b", "message"), [
    (np.zeros((3, 3)), np.zeros((4, 3)), "features_a has 3 samples of 3 features"),
    (np.zeros((4, 3)), np.zeros((1, 3)), "features_b has 1 samples of 3 features"),
    (np.zeros((9, 3)), np.zeros((9, 2)), r"mean2 \(2,\)"),
    (np.zeros(9), np.zeros((9, 1)), r"features_a has shape \(9,\), expected \(samples, features\)"),
    (np.zeros((9, 3)), np.zeros((9, 3, 1)), r"features_b has shape \(9, 3, 1\)"),
    (np.zeros((9, 0)), np.zeros((9, 0)), "features_a is empty"),
    (np.full((9, 3), np.nan), np.zeros((9, 3)), "features_a has NaN"),
])
def test_features_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


# ---------------------------------------------------------------- accuracy

def test_accuracy_by_hand():
    logits = np.array([[0.0, 2.0, 1.0], [5.0, 5.0, 1.0], [-3.0, -2.0, -1.0], [9.0, 0.0, 0.0]])
    assert accuracy(logits, np.array([1, 0, 2, 1])) == 0.75  # in row 1, a tie, the first class counts
    assert accuracy(logits, np.array([1, 1, 2, 1])) == 0.5
    assert accuracy(np.array([3, 1, 2], np.uint8), np.array([3, 1, 1])) == pytest.approx(2 / 3)
    assert accuracy([7], [7]) == 1.0
    assert accuracy(Tensor(logits, requires_grad=True), [1, 0, 2, 0]) == 1.0


@given(SEEDS, st.integers(1, 50), st.integers(1, 10))
def test_scikit_learn_agrees(seed, N, classes):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((N, classes)), rng.integers(classes, size=N)
    expected = sklearn.accuracy_score(labels, logits.argmax(axis=1))
    assert accuracy(logits, labels) == accuracy(logits.argmax(axis=1), labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("predicted", "labels", "error", "message"), [
    (np.zeros((4, 3)), np.array([0, 1, 2, 3]), ValueError, "labels from 0 to 3, expected 0 to 2"),
    (np.zeros((4, 3)), np.array([0, 1, 2, -1]), ValueError, "labels from -1 to 2, expected 0 to 2"),
    (np.zeros((4, 3)), np.zeros(4), TypeError, "labels must be integers, got float64"),
    (np.zeros(4), np.zeros(4, int), TypeError, "got int64 and predictions float64"),
    (np.zeros((4, 3)), np.zeros((4, 3), int), ValueError, r"labels of shape \(4, 3\)"),
    (np.zeros((4, 3)), np.zeros((4, 1), int), ValueError, r"labels of shape \(4, 1\)"),
    (np.zeros((4, 3)), np.zeros(5, int), ValueError, r"labels of shape \(5,\)"),
    (np.zeros((4, 2, 2)), np.zeros(4, int), ValueError, r"predictions of shape \(4, 2, 2\)"),
    (np.zeros((0, 3)), np.zeros(0, int), ValueError, "logits_or_labels is empty"),
    (np.array([[0.0, np.nan]]), np.array([1]), ValueError, "NaN"),
])
def test_accuracy_refuses(predicted, labels, error, message):
    with pytest.raises(error, match=f"^accuracy: .*{message}"):
        accuracy(predicted, labels)


# ---------------------------------------------------------------- squared error

def test_squared_error_by_hand():
    a, b = np.zeros((5, 2, 3, 1)), np.full((5, 2, 3, 1), 0.5)
    b[0] = 2.0
    assert squared_error_per_image(a, b) == squared_error_per_image(b, a) == (6 * 4 + 4 * 6 * 0.25) / 5


def test_squared_error_of_bytes_does_not_wrap():
    assert squared_error_per_image(np.array([[3, 0]], np.uint8), np.array([[5, 20]], np.uint8)) == 404.0


def test_squared_error_is_summed_in_float64():
    a = np.full((1, 4, 1000, 1000), 0.1, np.float32)
    expected = a.size * float(np.float32(0.1))**2
    assert squared_error_per_image(Tensor(a, requires_grad=True), 0 * a) == pytest.approx(expected, rel=1e-12)


def test_squared_error_of_pca():
    # keeping the k leading principal components loses the variance of the others
    sklearn = pytest.importorskip("sklearn.decomposition")
    x = np.random.default_rng(0).standard_normal((200, 12)) * np.arange(1, 13)
    pca = sklearn.PCA(4).fit(x)
    lost = np.sum(np.linalg.eigvalsh(np.cov(x.T, bias=True))[:8])
    assert squared_error_per_image(x, pca.inverse_transform(pca.transform(x))) == pytest.approx(lost, rel=1e-9)


@pytest.mark.parametrize(("a", "b", "message"), [
    (np.zeros((4, 3)), np.zeros((4, 1)), r"shapes \(4, 3\) and \(4, 1\), expected one shape"),
    (np.zeros(4), np.zeros(4), r"shapes \(4,\)"),
    (np.zeros((0, 3)), np.zeros((0, 3)), "a is empty"),
    (np.zeros((1, 3)), np.full((1, 3), np.nan), "b has NaN"),
])
def test_squared_error_refuses(a, b, message):
    with pytest.raises(ValueError, match=f"^squared_error_per_image: .*{message}"):
        squared_error_per_image(a, b)


# ---------------------------------------------------------------- neighbours

@given(SEEDS, st.integers(1, 30), st.integers(1, 20), st.integers(1, 5))
def test_nearest_against_all_distances(seed, n, m, D):
    rng = np.random.default_rng(seed)
    items, queries = rng.integers(-3, 4, (n, D)), rng.integers(-3, 4, (m, D))  # whole numbers: many equal distances
    k = int(rng.integers(1, n + 1))
    distance = ((queries[:, None] - items)**2).sum(axis=2)
    np.testing.assert_array_equal(nearest(items, queries, k), np.argsort(distance, axis=1, kind="stable")[:, :k])


def test_nearest_far_from_the_origin():
    items = np.array([[0.0], [1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(nearest(items + 1e8, items + 1e8, 2), nearest(items, items, 2))


def test_nearest_of_many_queries():
    rng = np.random.default_rng(0)
    items, queries = rng.standard_normal((50, 3)), rng.standard_normal((1201, 3))  # more than one block
    distance = ((queries[:, None] - items)**2).sum(axis=2)
    np.testing.assert_array_equal(nearest(items, queries, 4), np.argsort(distance, axis=1)[:, :4])


def test_a_query_is_no_answer_to_itself():
    x = np.array([[0.0], [1.0], [1.0], [5.0]])
    np.testing.assert_array_equal(nearest(x, k=2), [[1, 2], [2, 0], [1, 0], [1, 2]])
    np.testing.assert_array_equal(nearest(x, x, 1), [[0], [1], [1], [3]])
    x = np.random.default_rng(0).standard_normal((1100, 2))
    assert not (nearest(x, k=3) == np.arange(1100)[:, None]).any()


@given(SEEDS, st.integers(1, 7))
def test_knn_accuracy_against_sklearn(seed, k):
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(seed)
    x, y, tx, ty = rng.random((40, 3)), rng.integers(-2, 3, 40), rng.random((25, 3)), rng.integers(-2, 3, 25)
    expected = neighbors.KNeighborsClassifier(k, algorithm="brute").fit(x, y).score(tx, ty)
    assert knn_accuracy(x, y, Tensor(tx), ty, k) == pytest.approx(expected, abs=1e-12)


@given(SEEDS, st.integers(1, 9))
def test_precision_at_k_against_sklearn(seed, k):
    neighbors = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(seed)
    x, y, q, t = rng.random((40, 3)), rng.integers(0, 3, 40), rng.random((25, 3)), rng.integers(0, 3, 25)
    found = neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(q, return_distance=False)
    assert precision_at_k(x, y, q, t, k) == pytest.approx(np.mean(y[found] == t[:, None]), abs=1e-12)
    found = neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(return_distance=False)
    assert precision_at_k(x, y, k=k) == pytest.approx(np.mean(y[found] == y[:, None]), abs=1e-12)


def test_precision_by_hand():
    items, labels = np.array([[0.0], [1.0], [2.0], [9.0]]), np.array([0, 1, 0, 1])
    assert precision_at_k(items, labels, np.array([[0.2], [8.0]]), np.array([0, 1]), k=2) == (1 + 1) / 4
    assert knn_accuracy(items, labels, np.array([[0.2], [8.0]]), np.array([0, 0]), k=1) == 0.5
    assert knn_accuracy(items, labels, np.array([[0.4]]), np.array([0]), k=2) == 1.0  # in a tie, the smaller label


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((np.zeros((4, 3)), np.zeros(4, int), np.zeros((2, 2)), np.zeros(2, int)), ValueError, "nearest: items .4, 3."),
    ((np.zeros((4, 3)), np.zeros(4, int), np.zeros(3), np.zeros(3, int)), ValueError, "nearest: items"),
    ((np.zeros((4, 3)), np.zeros(3, int), np.zeros((2, 3)), np.zeros(2, int)), ValueError, "labels are int64 of shape"),
    ((np.zeros((4, 3)), np.zeros(4, int), np.zeros((2, 3)), np.zeros(2)), ValueError, "labels are float64"),
    ((np.zeros((4, 3)), np.zeros(4, int), np.zeros((2, 3)), np.zeros(2, int), 5), ValueError, "k=5 of 4 items"),
    ((np.zeros((4, 3)), np.zeros(4, int), np.zeros((2, 3)), np.zeros(2, int), 0), ValueError, "k=0 of 4 items"),
    ((np.full((4, 3), np.nan), np.zeros(4, int), np.zeros((2, 3)), np.zeros(2, int), 1), ValueError, "items has NaN"),
    ((np.zeros((4, 3)), np.zeros(4, int), np.zeros((0, 3)), np.zeros(0, int), 1), ValueError, "queries is empty"),
])
def test_neighbours_refused(arguments, error, message):
    for measure in (knn_accuracy, precision_at_k):
        with pytest.raises(error, match=message):
            measure(*arguments)


def test_a_function_taken_in_batches():
    w, x = Tensor(np.array([2.0, 3.0]), requires_grad=True), np.arange(14.0).reshape(7, 2)
    seen = []

    def f(part):
        answer = (part * w).sum(axis=1)
        seen.append((len(part), answer.requires_grad))
        return answer
    y = in_batches(f, x, size=3)
    assert type(y) is np.ndarray
    np.testing.assert_array_equal(y, x @ [2.0, 3.0])
    assert seen == [(3, False), (3, False), (1, False)]
    with pytest.raises(ValueError, match="0 rows"):
        in_batches(f, x[:0])
    np.testing.assert_array_equal(in_batches(lambda a, b: a + b[:, :1], x, x[::-1], size=3), x + x[::-1, :1])


@pytest.mark.parametrize(("f", "message"), [
    (lambda x: (x, x), "f returned a tuple, expected one array"),
    (lambda x: x.sum(), r"f made 3 rows into .* shape \(\)"),
    (lambda x: Tensor(x.sum(axis=0)), r"f made 3 rows into an array of shape \(2,\), expected 3 rows"),
    (lambda x: 1.0, "f returned a float 1.0, expected one"), (lambda x: None, "f returned None"),
    (lambda x: x[:1], "f made 3 rows into"),
    (lambda x: [1.0] * len(x), "f returned a list, expected"), (lambda x: {"a": x}, "f returned a dict"),
    (None, "f must be a function or a Module, got None")])
def test_what_gives_no_rows_cannot_be_taken_in_batches(f, message):
    with pytest.raises((TypeError, ValueError), match=f"^in_batches: {message}"):
        in_batches(f, np.ones((7, 2)), size=3)


@pytest.mark.parametrize("k", [True, 1.0, None, "1", [1]])
def test_the_number_of_neighbours_is_whole(k):
    x, labels = np.arange(6.0)[:, None], np.arange(6)
    for measure in (lambda: knn_accuracy(x, labels, x, labels, k), lambda: precision_at_k(x, labels, k=k)):
        with pytest.raises(ValueError, match="nearest: k=.* expected 1 ≤ k ≤"):
            measure()
    assert knn_accuracy(x, labels, x, labels, np.int64(1)) == 1


@pytest.mark.parametrize(("x", "message"), [
    (None, "a must be an array or a Tensor, got None"), ("ab", "a must be an array or a Tensor, got a str"),
    (np.ma.masked_less(np.ones((2, 3)), 0), "a is a masked array"), (np.ones((2, 3)) * 1j, "a holds complex128"),
    ([[1, 2], [3]], "a must be an array"), (np.full((2, 3), 1e200), r"a has values of up to 1e\+200, expected at")])
def test_what_cannot_be_measured(x, message):
    with pytest.raises((TypeError, ValueError), match=f"^squared_error_per_image: {message}"):
        squared_error_per_image(x, np.zeros((2, 3)))
