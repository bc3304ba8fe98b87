"""Which measure sees which fault? Sets of digits, each with a known fault, are judged as generated digits are.

A classifier trained here is the eye. The inception score is computed from its answers (Salimans et al. 2016), the
Fréchet distance (Heusel et al. 2017), precision and recall (Kynkäänniemi et al. 2019) from its features. The Parzen
window needs no network, and rates blurred digits above the real ones they were made from.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, fit, mean_and_spread, mover
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.plotting.figure import figure
from scratchnet.sample_metrics import inception_score, parzen_log_likelihood, parzen_sigma, sample_report

SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "15 minutes"}
COLUMNS = 12  # digits shown of each set


class Scale(NamedTuple):
    train: int       # images
    test: int
    epochs: int
    judges: int      # classifiers
    validation: int  # training images that choose the Parzen window's σ


class Expected(NamedTuple):
    accuracy: float  # of each classifier, at least
    low: float       # Parzen window of training digits, nats
    high: float


SCALES = {"quick": Scale(train=2_000, test=600, epochs=3, judges=1, validation=500),
          "default": Scale(train=10_000, test=2_000, epochs=5, judges=2, validation=1_000),
          "full": Scale(train=60_000, test=10_000, epochs=4, judges=3, validation=1_000)}
EXPECTED = {"quick": Expected(accuracy=0.85, low=127, high=133),
            "default": Expected(accuracy=0.965, low=223.3, high=229.3),
            "full": Expected(accuracy=0.99, low=238.9, high=244.9)}


def main():
    args = arguments("gan_evaluation", "Judges sets of digits with known faults as generated digits are judged.",
                     SECONDS)
    scale, expected = SCALES[args.scale], EXPECTED[args.scale]
    train, labels, test, test_labels = digits(args, scale.train, scale.test)
    judges = [fit_judge(args, f"judge {seed}", seed, train, labels, scale.epochs)
              for seed in range(args.seed, args.seed + scale.judges)]
    right = [metrics.accuracy(in_batches(judge, test), test_labels) for judge in judges]

    train, test = to_cpu(train), to_cpu(test)
    real, other = np.array_split(test[np.random.default_rng(0).permutation(len(test))[:len(test) // 2 * 2]], 2)
    sets = faulty_sets(train, labels, real, other)
    plotting.image_rows([images[:COLUMNS] for images in sets.values()], list(sets),
                        "Real digits, and sets of digits with a fault", args.out / "sets.png")
    reports = show_reports(args, judges, right, train, real, sets)
    show_classes(args, judges[0], train, labels, len(real))
    likelihoods = show_parzen(args, train, test, labels, scale.validation)
    print(LESSON)
    print(f"\nPictures: {args.out}/sets.png, classes.png; tables: sets.md, parzen.md")

    repeated = reports["one image, repeated"]
    expect("Accuracy of the worst classifier", min(right), low=expected.accuracy)
    expect("Sharpness of one image, repeated", min(report["sharpness"] for report in repeated), low=0.9)
    expect("Score of one image, repeated", max(report["score"] for report in repeated), high=1.05)
    expect("Fréchet distance of noise over that of other test digits", min(
        noise["Fréchet distance"] / other["Fréchet distance"]
        for noise, other in zip(reports["noise"], reports["other test digits"], strict=True)), low=10)
    expect("Parzen window of training digits", likelihoods["training digits"], expected.low, expected.high, " nats")


def fit_judge(args, name, seed, images, labels, epochs):
    rng = np.random.default_rng(seed)
    model = DigitClassifier(rng=rng)
    return fit(args, name, model, model.loss, images, labels, rng=rng, epochs=epochs, lr=3e-3)


def faulty_sets(train, labels, real, other):
    """Name → images, as many as in `real`. The third set and those below it are made from training digits."""
    n, rng = len(real), np.random.default_rng(0)
    one_of_each = np.stack([train[labels == k][0] for k in range(10)])
    return {"the test digits themselves": real, "other test digits": other, "training digits": train[:n],
            "training digits, blurred": blur(train[:n]),
            "Gaussian fitted to training digits": of_gaussian(train, n, rng),
            "noise": np.clip(0.5 + 0.25 * rng.standard_normal(real.shape, dtype=np.float32), 0, 1),
            "training digits, 3 classes": of_classes(train, labels, 3, n),
            "training digits, 1 class": of_classes(train, labels, 1, n),
            "one image of each class": np.resize(one_of_each, real.shape),
            "one image, repeated": np.resize(one_of_each[:1], real.shape)}


def of_classes(images, labels, classes, n):
    """n images of the first classes, repeated if there are fewer."""
    return np.resize(images[labels < classes], (n, *images.shape[1:]))


def blur(x):
    """Each pixel becomes the mean of its 3×3 window."""
    return sum(np.roll(x, (i, j), axis=(1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9


def of_gaussian(images, n, rng):
    """n draws from the Gaussian with the mean and covariance of the pixels: a cheap generator to compare with."""
    x = images.reshape(len(images), -1)
    drawn = rng.multivariate_normal(x.mean(axis=0), np.cov(x, rowvar=False), n, method="eigh")
    return np.clip(drawn, 0, 1).astype(np.float32).reshape(n, *images.shape[1:])


def show_reports(args, judges, right, train, real, sets):
    """Print the table of all sets. Returns name → the report of each judge."""
    device, rows, reports = mover(args.device), [], {}
    pixels = train.reshape(len(train), -1)
    for name, images in sets.items():
        reports[name] = [sample_report(judge, device(real), device(images)) for judge in judges]
        some = images[:500].reshape(-1, pixels.shape[1])
        away = np.linalg.norm(some - pixels[metrics.nearest(pixels, some, 1)[:, 0]], axis=1).mean()
        figures = [mean_and_spread([report[key] for report in reports[name]], 2) for key in reports[name][0]]
        rows.append([name, *figures, f"{away:.2f}"])
    judged = f"DigitClassifier, {mean_and_spread([100 * r for r in right], 2)} % right"
    print("\n" + plotting.table(rows, [judged, *reports["noise"][0], "distance to nearest training digit"],
                                args.out / "sets.md"))
    print(f"Each set of {len(real):,} images is compared with {len(real):,} test digits.")
    if len(judges) > 1:
        print(f"Mean ± standard deviation over {len(judges)} classifiers.")
    return reports


LESSON = """Sharpness alone is fooled by mode collapse: one image, repeated, is as sharp as can be. Diversity counts
classes, so the score tells one class or three from ten, but it rates one image of each class above real digits. Recall
sees that fault. Precision forgives much: an isolated real digit has a large ball around it, and most draws from a
Gaussian fitted to the pixels fall into one (Naeem et al. 2020). The Fréchet distance sees every fault but copying, and
names none. Only a search among the training digits finds copies. A model can do no better than its training digits,
whose writers are not those of the test digits. So compare samples with the row of training digits, not with the row
above it. The Parzen window rates blurred digits above the real ones they were made from."""


def show_classes(args, judge, train, labels, n):
    """Draw the score and its two factors over the number of classes among the digits."""
    classes, device = np.arange(1, 11), mover(args.device)
    score, sharpness, diversity = np.transpose(
        [inception_score(in_batches(lambda x: ops.softmax(judge(x)), device(of_classes(train, labels, k, n))))
         for k in classes])
    title = "Mode collapse: sharpness does not see it, diversity counts the classes"
    with figure(args.out / "classes.png", 4, 3, title,
                ["sharpness", "diversity, and score = sharpness · diversity"]) as (left, right):
        left.plot(classes, sharpness)
        left.set(ylim=(0, 1.05))
        for name, values in (("diversity", diversity), ("score", score)):
            right.plot(classes, values, label=name)
        right.set(ylim=(0, 10.5))
        right.legend()
        for axes in (left, right):
            axes.set(xlabel="number of classes among the digits", xticks=classes)


def show_parzen(args, train, test, labels, n):
    """Up to 10 000 training digits as samples; the last n choose σ. Returns name → nats per test image."""
    validation, samples = train[-n:], train[:min(len(train) - n, 10_000)]
    sets = {"training digits": samples, "training digits, blurred": blur(samples),
            "Gaussian fitted to training digits": of_gaussian(train, len(samples), np.random.default_rng(0)),
            "training digits, 1 class": of_classes(samples, labels[:len(samples)], 1, len(samples))}
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
