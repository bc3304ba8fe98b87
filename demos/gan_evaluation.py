"""Which figure sees which defect? Sets of digits with a known fault each, judged as generated digits are.

A classifier trained here is the eye: the inception score is made of what it takes the digits for (Salimans et al.
2016), the Fréchet distance (Heusel et al. 2017), precision and recall (Kynkäänniemi et al. 2019) of its features. Then
the Parzen window, which needs no network: what it says of real digits, and that blurred ones are better by it.
"""

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, fit, mean_and_spread, mover
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.sample_metrics import inception_score, parzen_log_likelihood, parzen_sigma, sample_report

SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "15 minutes"}
SIZES = {  # training images, test images, epochs; classifiers; images that Parzen's σ is chosen by
    "quick": (2_000, 600, 3, 1, 500), "default": (10_000, 2_000, 5, 2, 1_000), "full": (60_000, 10_000, 4, 3, 1_000)}
EXPECTED = {  # accuracy of each classifier, at least; Parzen window of real digits, from and to
    "quick": (0.85, 127, 133), "default": (0.965, 223.3, 229.3), "full": (0.99, 238.9, 244.9)}
COLUMNS = 12  # digits shown of each set


def main():
    args = arguments("gan_evaluation", "Judges sets of digits with known faults as generated digits are judged.",
                     SECONDS)
    n_train, n_test, epochs, n_judges, n_validation = SIZES[args.scale]
    train, labels, test, test_labels = digits(args, n_train, n_test)
    judges = [fit_judge(args, train, labels, epochs, args.seed + k) for k in range(n_judges)]
    right = [metrics.accuracy(in_batches(judge, test), test_labels) for judge in judges]

    train, test = to_cpu(train), to_cpu(test)
    real, other = np.array_split(test[np.random.default_rng(0).permutation(len(test))[:len(test) // 2 * 2]], 2)
    sets = faulty_sets(train, labels, real, other)
    plotting.image_rows([images[:COLUMNS] for images in sets.values()], list(sets),
                        "Real digits, and sets of digits with a fault", args.out / "sets.png")
    reports = show_reports(args, judges, right, train, real, sets)
    show_classes(args, judges[0], train, labels, len(real))
    likelihoods = show_parzen(args, train, test, labels, n_validation)
    print("Trained too briefly to learn much from the tables." if args.scale == "quick" else LESSON)
    print(f"\nPictures: {args.out}/sets.png, classes.png; tables: sets.md, parzen.md")

    accuracy, low, high = EXPECTED[args.scale]
    expect("Accuracy of the worst classifier", min(right), low=accuracy)
    expect("Sharpness of one image, repeated", min(r["sharpness"] for r in reports["one image, repeated"]), low=0.9)
    expect("... its score", max(r["score"] for r in reports["one image, repeated"]), high=1.05)
    expect("Fréchet distance of noise over that of other test digits", min(
        noise["Fréchet distance"] / other["Fréchet distance"]
        for noise, other in zip(reports["noise"], reports["other test digits"], strict=True)), low=10)
    expect("Parzen window of training digits", likelihoods["training digits"], low, high, " nats")


def fit_judge(args, images, labels, epochs, seed):
    rng = np.random.default_rng(seed)
    model = DigitClassifier(rng=rng)
    return fit(args, f"judge {seed}", model, model.loss, images, labels, rng=rng, epochs=epochs, lr=3e-3)


def faulty_sets(train, labels, real, other):
    """name → images, as many as in `real`. All from the third on are made of the training digits."""
    n, rng = len(real), np.random.default_rng(0)
    one_of_each = np.stack([train[labels == k][0] for k in range(10)])
    return {"the same test digits": real, "other test digits": other, "training digits": train[:n],
            "... blurred": blur(train[:n]), "Gaussian of their pixels": of_gaussian(train, n, rng),
            "noise": np.clip(0.5 + 0.25 * rng.standard_normal(real.shape, dtype=np.float32), 0, 1),
            "3 classes of them": of_classes(train, labels, 3, n), "1 class of them": of_classes(train, labels, 1, n),
            "one image of each class": np.resize(one_of_each, real.shape),
            "one image, repeated": np.resize(one_of_each[:1], real.shape)}


def of_classes(images, labels, classes, n):
    """n images of the first so many classes, over again if there are fewer."""
    return np.resize(images[labels < classes], (n, *images.shape[1:]))


def blur(x):
    """Each pixel the mean of nine."""
    return sum(np.roll(x, (i, j), axis=(1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9


def of_gaussian(images, n, rng):
    """Draws from the Gaussian with the mean and covariance of the pixels: a cheap generator to compare with."""
    x = images.reshape(len(images), -1)
    drawn = rng.multivariate_normal(x.mean(axis=0), np.cov(x, rowvar=False), n, method="eigh")
    return np.clip(drawn, 0, 1).astype(np.float32).reshape(n, *images.shape[1:])


def show_reports(args, judges, right, train, real, sets):
    """The table of all sets; gives name → the report of each judge."""
    device, rows, reports = mover(args.device), [], {}
    pixels = train.reshape(len(train), -1)
    for name, images in sets.items():
        reports[name] = [sample_report(judge, device(real), device(images)) for judge in judges]
        some = images[:500].reshape(-1, pixels.shape[1])
        away = np.linalg.norm(some - pixels[metrics.nearest(pixels, some, 1)[:, 0]], axis=1).mean()
        figures = [mean_and_spread([report[key] for report in reports[name]], 2) for key in reports[name][0]]
        rows.append([name, *figures, f"{away:.2f}"])
    judged = f"by DigitClassifier, {mean_and_spread([100 * r for r in right], 2)} % right"
    print("\n" + plotting.table(rows, [judged, *reports["noise"][0], "to the nearest training digit"],
                                args.out / "sets.md"))
    print(f"{len(real):,} images in each set, compared with as many test digits."
          + f" Mean ± standard deviation over {len(judges)} classifiers." * (len(judges) > 1))
    return reports


LESSON = """
Sharpness alone is fooled by mode collapse: one image, repeated, is as sharp as can be. Diversity counts classes, so the
score tells one class or three from ten; but one image of each class scores higher than real digits. Recall sees that.
Precision forgives much: the balls around real digits that lie apart are large, and most draws from a Gaussian of the
pixels are in one (Naeem et al. 2020). The Fréchet distance sees every fault but copying, yet says of none which it is.
Copies are seen by nothing but a search among the training digits. What learned from these can do no better than they
do, and other people wrote them than the test digits: their row, not the one above, is what to compare with. And by the
Parzen window blurred digits are better than those they were made of, which are real."""


def show_classes(args, judge, train, labels, n):
    """The score and its two factors over the number of classes that the digits are of."""
    classes, device = np.arange(1, 11), mover(args.device)
    pieces = np.array([inception_score(in_batches(lambda x: ops.softmax(judge(x)),
                                                  device(of_classes(train, labels, k, n)))) for k in classes])
    plotting.curves({name: (classes, values) for name, values in zip(
        ("score = sharpness · diversity", "sharpness", "diversity"), pieces.T, strict=True)},
        "classes that the training digits are of", "by DigitClassifier",
        "Mode collapse: sharpness does not see it, diversity counts it", args.out / "classes.png")


def show_parzen(args, train, test, labels, n):
    """Up to 10 000 training digits as samples, σ chosen by the last n; gives name → nats per test image."""
    validation, samples = train[-n:], train[:min(len(train) - n, 10_000)]
    sets = {"training digits": samples, "... blurred": blur(samples),
            "Gaussian of their pixels": of_gaussian(train, len(samples), np.random.default_rng(0)),
            "1 class of them": of_classes(samples, labels[:len(samples)], 1, len(samples))}
    rows = []
    for name, images in sets.items():
        sigma = parzen_sigma(images, validation)
        nats = parzen_log_likelihood(images, test, sigma)
        rows.append([name, f"{sigma:.3f}", nats.mean(), f"{nats.std() / len(nats)**0.5:.1f}"])
    print("\n" + plotting.table(rows, [f"Parzen window of {len(samples):,} samples", "σ", "nats per test image",
                                       "standard error"], args.out / "parzen.md"))
    return {name: nats for name, _, nats, _ in rows}


if __name__ == "__main__":
    command(main)
