"""Measures of generated samples, most through a classifier: score, precision, recall, coverage, likelihood.

Each of them is blind to something, as demos/gan_evaluation.py shows. Those that look through a network mean nothing
without its name, and compare only with values from the same network and the same number of samples.
Arguments are arrays on either device, or Tensors; all sums are taken on the host in float64.
"""

from numbers import Real

import numpy as np

from scratchnet import ops
from scratchnet.backend import is_whole, kind_of
from scratchnet.metrics import finite, frechet_distance, in_batches


def sample_report(classifier, real, generated):
    """All measures of generated images (M, …) against real ones (N, …) through a trained classifier: name → number.

    classifier(x) returns logits (N, classes), and classifier.features(x) features (N, D), as in DigitClassifier. The
    images are on its device, and N > D and M > D (see `frechet_distance`). Print the classifier's name beside them.
    """
    if not callable(classifier) or not hasattr(classifier, "features"):
        raise TypeError(f"sample_report: the classifier is a Module with features(x), got {kind_of(classifier)}")
    probabilities = in_batches(lambda x: ops.softmax(classifier(x)), generated)
    features, real_features = (in_batches(classifier.features, x) for x in (generated, real))
    score, sharpness, diversity = inception_score(probabilities)
    precision, recall = precision_and_recall(real_features, features)
    return {"score": score, "sharpness": sharpness, "diversity": diversity,
            "Fréchet distance": frechet_distance(real_features, features), "precision": precision, "recall": recall,
            "classes covered": class_coverage(probabilities)}


def inception_score(probabilities):
    """(score, sharpness, diversity) of p(y|xₙ) (N, classes), a classifier's probabilities for generated samples.

        H(y|x) = −1/N Σₙ Σ_y p(y|xₙ) ln p(y|xₙ)     the classifier's doubt about each sample, in nats
        H(y) = −Σ_y p(y) ln p(y),  p(y) = 1/N Σₙ p(y|xₙ)     its doubt about which class comes next, in nats
        sharpness = exp(−H(y|x))     from 1/classes to 1, where each sample surely belongs to some class
        diversity = exp(H(y))     from 1 to classes: the number of equally frequent classes with this doubt
        score = exp(1/N Σₙ KL(p(y|xₙ) ‖ p(y))) = exp(H(y) − H(y|x)) = sharpness · diversity     from 1 to classes

    (Salimans et al. 2016, section 4.) One image, repeated, can be perfectly sharp: sharpness alone cannot see mode
    collapse. One image of each class, repeated, reaches the highest score of all. The score is taken over all samples
    at once; with Inception the mean over ten parts is usual.
    """
    p = _probabilities("inception_score", probabilities)
    sharpness, diversity = float(np.exp(-_entropy(p).mean())), float(np.exp(_entropy(p.mean(axis=0))))
    return sharpness * diversity, sharpness, diversity


def class_coverage(probabilities, confidence=0.9, share=0.01):
    """The share of the classes that the samples cover, in [0, 1]; p(y|xₙ) (N, classes) as in `inception_score`.

    A sample falls in class y if p(y|xₙ) ≥ confidence, which is above ½, so in one class at most. A class is covered if
    at least `share` of all samples, and at least one sample, fall in it.
    """
    p = _probabilities("class_coverage", probabilities)
    numbers = all(isinstance(x, Real) and not isinstance(x, bool) for x in (confidence, share))
    if not (numbers and 0.5 < confidence <= 1 and 0 <= share <= 1):
        raise ValueError(f"class_coverage: confidence is {confidence}, expected above 0.5 and at most 1, and share "
                         f"{share}, expected 0 to 1")
    shares = (p >= confidence).mean(axis=0)
    return float(np.mean((shares > 0) & (shares >= share)))


def precision_and_recall(real, generated, k=3):
    """(precision, recall), both in [0, 1], of features: real (N, D), generated (M, D).

    Around each feature of a set lies a ball with the k-th nearest other feature of the set on its rim:

        precision = share of generated features in the union of the real balls        (are they like real ones?)
        recall = share of real features in the union of the generated balls        (are all real ones within reach?)

    (Kynkäänniemi et al. 2019, section 2; k = 3 there.) Needs k < N and k < M.
    """
    op = "precision_and_recall"
    real, generated = finite(op, "real", real), finite(op, "generated", generated)
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise ValueError(f"{op}: real {real.shape} and generated {generated.shape}, expected (N, D) and (M, D)")
    if not is_whole(k) or not 1 <= k < min(len(real), len(generated)):
        raise ValueError(f"{op}: k={k} of {len(real)} real and {len(generated)} generated, expected 1 ≤ k < "
                         f"{min(len(real), len(generated))}")
    center = real.mean(axis=0)
    real, generated = real - center, generated - center
    return _share_within(generated, real, k), _share_within(real, generated, k)


def parzen_log_likelihood(samples, images, sigma):
    """ln p(x) in nats of each image x, (M,), under a Parzen window of samples (N, …): a Gaussian around each sample.

        ln p(x) = ln 1/N Σₙ exp(−‖x − sₙ‖² / 2σ²) − D/2 ln 2πσ²        images of D numbers

    (Breuleux et al. 2011; the measure of Goodfellow et al. 2014, with σ from `parzen_sigma`.) Print the mean over test
    images. It is not the likelihood of the model that drew the samples, and does not even rank models (Theis et al.
    2016, section 3): blurred digits score higher than real ones, see demos/gan_evaluation.py.
    """
    op = "parzen_log_likelihood"
    samples, images = finite(op, "samples", samples), finite(op, "images", images)
    if samples.shape[1:] != images.shape[1:] or samples.ndim < 2:
        raise ValueError(f"{op}: samples {samples.shape} and images {images.shape}, expected (N, …) and (M, …) with "
                         f"images of one shape")
    if not isinstance(sigma, Real) or not 1e-150 <= sigma <= 1e150:  # so that its square is neither 0 nor infinite
        raise ValueError(f"{op}: sigma is {sigma}, expected 1e-150 to 1e150")
    s, x = samples.reshape(len(samples), -1), images.reshape(len(images), -1)
    center = s.mean(axis=0)
    constant = -np.log(len(s)) - 0.5 * s.shape[1] * np.log(2 * np.pi * sigma**2)
    result = []
    for d2 in _squared_distances(x - center, s - center):                                  # (rows, N)
        with np.errstate(over="ignore"):
            exponents = np.multiply(d2, -0.5 / sigma**2, out=d2)
        largest = exponents.max(axis=1, keepdims=True)  # factored out of the sum, as e^−1000 rounds to 0
        if np.isneginf(largest).any():
            raise ValueError(f"{op}: sigma is {sigma}, so small that ln p(x) of an image is below all float64 numbers")
        exponents -= largest
        result.append(np.log(np.exp(exponents, out=exponents).sum(axis=1)) + largest[:, 0])
    return np.concatenate(result) + constant


def parzen_sigma(samples, validation):
    """Of ten σ from 0.1 to 1 in equal ratios, the one with the highest mean ln p(x) on validation images."""
    return float(max(np.logspace(-1, 0, 10), key=lambda σ: parzen_log_likelihood(samples, validation, σ).mean()))


def _squared_distances(a, b):
    """‖aₘ − bₙ‖² = ‖aₘ‖² − 2 aₘ·bₙ + ‖bₙ‖² (M, N), some rows at a time; precise only if the vectors are near 0"""
    squares, rows = (b * b).sum(axis=1), max(1, 5_000_000 // len(b))
    for start in range(0, len(a), rows):
        part = a[start:start + rows]
        d2 = (-2.0 * part) @ b.T
        d2 += (part * part).sum(axis=1, keepdims=True)
        d2 += squares
        yield np.maximum(d2, 0.0, out=d2)


def _share_within(points, centers, k):
    """The share of points (M, D) in a ball around one of the centers (N, D) with the k-th nearest other on its rim."""
    rims = np.concatenate([np.partition(d2, k, axis=1)[:, k]                       # place 0 is the center itself
                           for d2 in _squared_distances(centers, centers)])
    rims += 1e-12 * (centers * centers).sum(axis=1)  # an equal point is inside, whatever rounding says
    return float(np.mean(np.concatenate([(d2 <= rims).any(axis=1) for d2 in _squared_distances(points, centers)])))


def _entropy(p):
    """−Σ p ln p along the last axis, where 0 ln 0 = 0."""
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)


def _probabilities(op, p):
    p = finite(op, "probabilities", p)
    if p.ndim != 2 or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-4:
        raise ValueError(f"{op}: probabilities of shape {p.shape}, expected (N, classes), none below 0, and rows that "
                         f"add up to 1")
    return p
