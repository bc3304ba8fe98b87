"""The numbers that papers print: Fréchet distance, accuracy, squared error per image, neighbours with the same label.

Arguments are arrays on either device, or Tensors; all sums are taken on the host in float64. `in_batches` computes
features and predictions of many images, a few at a time.
"""

from numbers import Real

import numpy as np

from scratchnet import data
from scratchnet.autograd import data_of, no_grad
from scratchnet.backend import is_array, is_whole, kind_of, to_cpu
from scratchnet.host import on_host


def in_batches(f, *arrays, size=500):
    """f(*arrays) as a NumPy array, computed `size` rows at a time to save memory; nothing is recorded.

    f returns one array with a row for each row of its arguments.
    """
    if not callable(f):
        raise TypeError(f"in_batches: f must be a function or a Module, got {kind_of(f)}")
    with no_grad():
        parts = zip(*(data.batches(x, size=size) for x in arrays), strict=True)
        return np.concatenate([_row_for_row(f(*part), part[0]) for part in parts])


def _row_for_row(y, x):
    """y = f(x) on the host; an error unless it has a row for each row of x."""
    y = data_of(y)
    if not is_array(y):
        raise TypeError(f"in_batches: f returned {kind_of(y).partition(';')[0]}, expected one array (N, …)")
    if y.shape[:1] != x.shape[:1]:
        raise ValueError(f"in_batches: f made {x.shape[0]} rows into an array of shape {y.shape}, expected "
                         f"{x.shape[0]} rows")
    return to_cpu(y)


def frechet_distance(features_a, features_b):
    """Squared Fréchet distance between Gaussians fitted to two sets of feature vectors, (N, D) and (M, D).

    Means and unbiased covariances (divided by N − 1), then `frechet_distance_gaussians`. Lower is better; 0 is best.

    Compare it only with numbers from the same features and the same N. With Inception features it is the FID of Heusel
    et al. (2017); with another network it does not compare with published FIDs, so name the network. It is biased
    upwards, more so for small N (Bińkowski et al. 2018, appendix D). ValueError unless N > D and M > D: with fewer
    samples the covariance is singular, and the number is mostly bias.
    """
    gaussians = []
    for name, x in ("features_a", features_a), ("features_b", features_b):
        x = finite("frechet_distance", name, x)
        if x.ndim != 2 or x.shape[1] == 0:
            raise ValueError(f"frechet_distance: {name} has shape {x.shape}, expected (samples, features)")
        if x.shape[0] <= x.shape[1]:
            raise ValueError(f"frechet_distance: {name} has {x.shape[0]} samples of {x.shape[1]} features, "
                             f"expected more samples than features")
        gaussians += [x.mean(axis=0), np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1])]
    return frechet_distance_gaussians(*gaussians)


def frechet_distance_gaussians(mean1, cov1, mean2, cov2):
    """d² = ‖m₁ − m₂‖² + tr(C₁ + C₂ − 2 (C₁ C₂)^½)        means (D,), covariances (D, D)

    The squared 2-Wasserstein distance between the two Gaussians      (Heusel et al. 2017, eq. 6; Dowson & Landau 1982)
    """
    op = "frechet_distance_gaussians"
    m1, C1, m2, C2 = (finite(op, name, x) for name, x in
                      (("mean1", mean1), ("cov1", cov1), ("mean2", mean2), ("cov2", cov2)))
    D = m1.size
    if m1.shape != (D,) or m2.shape != (D,) or C1.shape != (D, D) or C2.shape != (D, D):
        raise ValueError(f"{op}: mean1 {m1.shape}, cov1 {C1.shape}, mean2 {m2.shape}, cov2 {C2.shape}, "
                         f"expected (D,), (D, D), (D,), (D, D) with one D")
    # tr (C₁ C₂)^½ = tr (C₁^½ C₂ C₁^½)^½ = Σ singular values of C₁^½ C₂^½
    # (singular values keep all their digits; roots of eigenvalues would not)
    root = np.linalg.norm(_square_root(op, "cov1", C1) @ _square_root(op, "cov2", C2), "nuc")
    d2 = np.sum((m1 - m2)**2) + np.trace(C1) + np.trace(C2) - 2.0 * root
    return max(float(d2), 0.0)  # rounding may take it just below 0


def accuracy(logits_or_labels, labels):
    """The share of right predictions, in [0, 1].

    logits_or_labels holds logits (N, classes), of which the largest counts (the first of equals), or predictions (N,),
    integers; labels (N,) are integers.
    """
    predicted = finite("accuracy", "logits_or_labels", logits_or_labels, None)
    labels = on_host("accuracy", "labels", labels)
    if predicted.ndim not in (1, 2) or labels.shape != predicted.shape[:1]:
        raise ValueError(f"accuracy: predictions of shape {predicted.shape} and labels of shape {labels.shape}, "
                         f"expected (N, classes) or (N,), and (N,)")
    if labels.dtype.kind not in "iu" or (predicted.ndim == 1 and predicted.dtype.kind not in "iu"):
        raise TypeError(f"accuracy: labels must be integers, got {labels.dtype}"
                        + (f" and predictions {predicted.dtype}" if predicted.ndim == 1 else ""))
    if predicted.ndim == 2:
        classes = predicted.shape[1]
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"accuracy: labels from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}, "
                             f"as there are {classes} logits")
        predicted = predicted.argmax(axis=1)
    return float(np.mean(predicted == labels))


def squared_error_per_image(a, b):
    """1/N Σₙ Σ_pixels (aₙ − bₙ)²        a, b (N, …) of one shape

    The measure of Hinton & Salakhutdinov (2006), with pixels in [0, 1]: summed over the pixels, averaged over the
    images. A 30-dimensional PCA of MNIST reaches 13.87.
    """
    op = "squared_error_per_image"
    a, b = finite(op, "a", a), finite(op, "b", b)
    if a.shape != b.shape or a.ndim < 2:
        raise ValueError(f"{op}: shapes {a.shape} and {b.shape}, expected one shape (N, …)")
    return float(np.sum((a - b)**2) / len(a))


def knn_accuracy(train, train_labels, test, test_labels, k=5):
    """The share of test points whose label is the most frequent among their k nearest training points, in [0, 1].

    train (N, D), test (M, D), integer labels (N,) and (M,). Distances are Euclidean. Of equally frequent labels the
    smallest wins, as in scikit-learn.
    """
    op = "knn_accuracy"
    train_labels, test_labels = _labels(op, train_labels, train), _labels(op, test_labels, test)
    classes, codes = np.unique(train_labels, return_inverse=True)
    votes = codes[nearest(train, test, k)]                                    # (M, k)
    counts = np.stack([(votes == c).sum(axis=1) for c in range(len(classes))], axis=1)
    return float(np.mean(classes[counts.argmax(axis=1)] == test_labels))


def precision_at_k(items, item_labels, queries=None, query_labels=None, k=10):
    """The share of a query's k nearest items that have its label, averaged over the queries, in [0, 1].

    items (N, D), queries (M, D), integer labels (N,) and (M,). Distances are Euclidean; scale all rows to length 1 for
    the cosine. Without queries, each item is a query, but not an answer to itself.
    (Manning, Raghavan & Schütze 2008, section 8.4)
    """
    op = "precision_at_k"
    if queries is None and query_labels is not None:
        raise ValueError(f"{op}: query_labels without queries")
    item_labels = _labels(op, item_labels, items)
    query_labels = item_labels if queries is None else _labels(op, query_labels, queries)
    found = nearest(items, queries, k)                                        # (M, k)
    return float(np.mean(item_labels[found] == query_labels[:, None]))


def nearest(items, queries=None, k=10):
    """Indices (M, k) of the k items (N, D) nearest to each query (M, D), the nearest first; of equals the first.

    ‖q − x‖² = ‖q‖² − 2 q·x + ‖x‖², of which ‖q‖² does not affect the order. The items' mean is subtracted first, or
    items far from the origin would lose their differences to rounding. The mean is rounded, or equal distances of whole
    numbers would no longer be equal. Without queries, each item is a query, but not an answer to itself.
    """
    own = queries is None
    x = finite("nearest", "items", items)
    q = x if own else finite("nearest", "queries", queries)
    if x.ndim != 2 or q.ndim != 2 or x.shape[1] != q.shape[1]:
        raise ValueError(f"nearest: items {x.shape} and queries {q.shape}, expected (N, D) and (M, D)")
    if not is_whole(k) or not 1 <= k <= len(x) - own:
        raise ValueError(f"nearest: k={k} of {len(x) - own} items, expected 1 ≤ k ≤ {len(x) - own}")
    center = np.rint(x.mean(axis=0))
    x, q = x - center, q - center
    found = np.empty((len(q), k), dtype=np.int64)
    for start in range(0, len(q), 500):
        distance = (x * x).sum(axis=1) - 2.0 * (q[start:start + 500] @ x.T)
        if own:
            distance[np.arange(len(distance)), np.arange(start, start + len(distance))] = np.inf
        found[start:start + 500] = _smallest(distance, k)
    return found


def energy_distance(x, y):
    """2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖        samples (N, D), (M, D) → a number ≥ 0, 0 for equal distributions

    X, X′ are independent draws from one distribution, Y, Y′ from the other. In one dimension it is 2 ∫ (F − G)², where
    F, G are the distribution functions. Pairs of a sample with itself count, so it is never negative.
    (Székely & Rizzo 2013)
    """
    x, y = finite("energy_distance", "x", x), finite("energy_distance", "y", y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"energy_distance: samples {x.shape} and {y.shape}, expected (N, D) and (M, D)")
    return max(2 * _mean_distance(x, y) - _mean_distance(x, x) - _mean_distance(y, y), 0.0)


def _mean_distance(x, y):
    """The mean of ‖xᵢ − yⱼ‖ over all pairs."""
    return float(np.mean([np.linalg.norm(x - point, axis=1).mean() for point in y]))


def modes_covered(samples, centers, std):
    """(modes, share): the number of covered modes of a mixture of Gaussians, and the share of high-quality samples.

    A sample belongs to its nearest center, and is of high quality within 3 standard deviations of it. A mode is covered
    if it has at least one such sample.        samples (N, D), centers (K, D)        (Lin et al. 2018, section 4.1)
    """
    samples, centers = finite("modes_covered", "samples", samples), finite("modes_covered", "centers", centers)
    if not isinstance(std, Real) or not std > 0:
        raise ValueError(f"modes_covered: std must be > 0, got {std}")
    own = nearest(centers, samples, k=1)[:, 0]
    good = np.linalg.norm(samples - centers[own], axis=1) <= 3 * std
    return len(np.unique(own[good])), float(np.mean(good))


def _smallest(a, k):
    """Columns (M, k) of the k smallest entries of each row of a (M, N), the smallest first; of equals the first."""
    columns = np.sort(np.argpartition(a, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(a, columns, axis=1)
    columns = np.take_along_axis(columns, np.argsort(values, axis=1, kind="stable"), axis=1)
    tied = (a <= values.max(axis=1, keepdims=True)).sum(axis=1) > k  # of equals, argpartition takes any
    columns[tied] = np.argsort(a[tied], axis=1, kind="stable")[:, :k]
    return columns


def _labels(op, labels, points):
    """Integer labels (N,) of points (N, D), on the host."""
    labels, points = on_host(op, "labels", labels), on_host(op, "points", points)
    if labels.shape != points.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"{op}: labels are {labels.dtype} of shape {labels.shape}, expected integers of shape "
                         f"{tuple(points.shape[:1])}")
    return labels


def finite(op, name, x, dtype=np.float64):
    """x on the host, in float64 or as `dtype` says. ValueError if it is empty, not finite, or too large for float64 to
    hold sums of squares."""
    x = np.asarray(on_host(op, name, x), dtype=dtype)
    if x.size == 0:
        raise ValueError(f"{op}: {name} is empty, of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{op}: {name} has NaN or infinite values")
    if dtype is not None and max(x.max(), -x.min()) > 1e150:
        raise ValueError(f"{op}: {name} has values of up to {max(x.max(), -x.min()):.3g}, expected at most 1e150, as "
                         f"squares are summed in float64")
    return x


def _square_root(op, name, C):
    """C^½ = U diag(√λ) Uᵀ of a symmetric matrix with eigenvalues λ ≥ 0 (those rounded below 0 count as 0)"""
    tolerance = 1e-6 * np.abs(C).max()  # covariances may have been computed in float32
    if np.abs(C - C.T).max() > tolerance:
        raise ValueError(f"{op}: {name} is not symmetric, so it is not a covariance")
    λ, U = np.linalg.eigh(C)
    if λ[0] < -len(C) * tolerance:
        raise ValueError(f"{op}: {name} has the negative eigenvalue {λ[0]:.3g}, so it is not a covariance")
    return U * np.sqrt(np.maximum(λ, 0.0)) @ U.T
