"""The digit that was asked for: a conditional GAN (Mirza & Osindero 2014), and what makes it obey.

G is told a digit, and D judges pairs of image and label. A generated pair can be wrong in two ways: its image is bad,
or shows another digit. The first is easier to see, so for a long time D teaches G to draw digits, whichever they are.
Mismatched pairs, real images with wrong labels that D must reject (Reed et al. 2016, section 4.2), make D look at the
label. A D that never sees the label cannot teach it.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.autograd import no_grad
from scratchnet.backend import to_cpu, to_device_of
from scratchnet.demo import arguments, command, digits, expect, fit, fit_in_turns, mean_and_spread, mover, too_short
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gans import ConditionalGAN, WithLabel, WithoutLabel, wrong_labels
from scratchnet.models.gans.conditional_gan import digit_discriminator, digit_generator
from scratchnet.optimizers import Adam

SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "10 minutes"}
KINDS = ("mismatched pairs", "no mismatched pairs", "no labels")  # shown to D
LATENT = 64
JUDGED, SHOWN = 100, 5  # images of each digit


class Scale(NamedTuple):
    train: int         # images
    test: int
    judge_epochs: int  # of the classifier
    epochs: int        # of each GAN
    seeds: int


SCALES = {"quick": Scale(train=2_000, test=500, judge_epochs=2, epochs=4, seeds=2),
          "default": Scale(train=10_000, test=2_000, judge_epochs=3, epochs=10, seeds=2),
          "full": Scale(train=60_000, test=10_000, judge_epochs=3, epochs=10, seeds=3)}
EXPECTED = {"default": 80, "full": 85}  # percent of images that show the digit asked for, with mismatched pairs


def main():
    args = arguments("conditional_gan", "Digits by label, with and without mismatched pairs.", SECONDS)
    scale, device = SCALES[args.scale], mover(args.device)
    train, labels, test, test_labels = digits(args, scale.train, scale.test)
    labels, test_labels = device(labels), device(test_labels)

    judge = DigitClassifier(rng=np.random.default_rng(args.seed))
    fit(args, "judge", judge, judge.loss, train, labels, rng=np.random.default_rng(args.seed), lr=3e-3,
        epochs=scale.judge_epochs)
    right, scores, drawn = {}, {}, {}  # kind → (seeds, 10), in percent; (seeds, 3); (10, JUDGED, 28, 28, 1)
    for kind in KINDS:
        right[kind], scores[kind] = [], []
        for seed in range(args.seed, args.seed + scale.seeds):
            rng = np.random.default_rng(seed)
            gan = build(kind, rng).move(device)
            fit_gan(args, f"{kind} seed{seed}", gan, train, labels, kind, rng, scale.epochs)
            drawn[kind] = draw(gan.eval(), test)
            seen = in_batches(judge, drawn[kind].reshape(-1, 28, 28, 1)).argmax(axis=1).reshape(10, JUDGED)
            right[kind].append(100 * np.mean(seen == np.arange(10)[:, None], axis=1))
            scores[kind].append(mean_scores(gan, drawn[kind], test, test_labels))
    print(f"\nThe judge classifies {100 * metrics.accuracy(in_batches(judge, test), test_labels):.1f} % of the test "
          f"images correctly.")
    show_accuracy(args.out, right)
    show_scores(args.out, scores)
    show_digits(args.out, drawn)
    if args.scale != "quick":
        print(LESSON)
    print(f"Picture: {args.out}/digits.png; tables: accuracy.md, scores.md")
    if args.scale == "quick":
        too_short("mismatched pairs make G draw the digit asked for")
        return
    matched, unmatched = np.mean(right["mismatched pairs"]), np.mean(right["no mismatched pairs"])
    expect("Images of the digit asked for, with mismatched pairs", matched, low=EXPECTED[args.scale], unit=" %")
    expect("Gain by mismatched pairs", matched - unmatched, low=10, unit=" percentage points")
    expect("D of a real image with a wrong label, with mismatched pairs",
           np.mean(scores["mismatched pairs"], axis=0)[1], high=0.3)


LESSON = """A D that looks at the label gives low scores to real images with wrong labels. A low score of generated
pairs proves nothing. (If G is perfect, the D of smallest loss with mismatched pairs is 0 for these and ⅔ for the
others.) An image of the digit asked for does not prove that G draws every way to write it.
"""


def build(kind, rng):
    """Dense nets; G always sees the label, D unless `kind` is "no labels"."""
    generator = WithLabel(digit_generator(LATENT + 10, rng=rng), 10)
    if kind == "no labels":
        discriminator = WithoutLabel(digit_discriminator(784, rng=rng))
    else:
        discriminator = WithLabel(digit_discriminator(784 + 10, rng=rng), 10)
    return ConditionalGAN(generator, discriminator, LATENT)


def fit_gan(args, name, gan, images, labels, kind, rng, epochs):
    """Train D and G in turns, by Adam."""
    def of_discriminator(x, y):
        fake = gan.generate(gan.noise(len(x), rng, x), y)
        return gan.discriminator_loss(x, y, fake, wrong_labels(y, 10, rng) if kind == "mismatched pairs" else None)

    def of_generator(x, y):
        return gan.generator_loss(gan.noise(len(x), rng, x), y)

    players = {"D": (Adam(gan.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999)), of_discriminator),
               "G": (Adam(gan.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)), of_generator)}
    fit_in_turns(args, name, gan, players, images, labels, rng=rng, epochs=epochs)


def draw(gan, like):
    """Images of each digit, (10, JUDGED, 28, 28, 1), from the same noise in every run"""
    z = gan.noise(10 * JUDGED, np.random.default_rng(0), like)
    y = to_device_of(np.repeat(np.arange(10), JUDGED), like)
    return gan.generate(z, y).reshape(10, JUDGED, 28, 28, 1)


def mean_scores(gan, drawn, test, labels):
    """The mean of D = σ(logit) over matched pairs, mismatched pairs (both of test images) and generated pairs"""
    asked = to_device_of(np.repeat(np.arange(10), JUDGED), test)
    pairs = ((test, labels), (test, wrong_labels(labels, 10, np.random.default_rng(0))),
             (drawn.reshape(-1, 28, 28, 1), asked))
    with no_grad():
        return [ops.sigmoid(gan.discriminator(x, y)).mean().item() for x, y in pairs]


def show_accuracy(out, right):
    """Print the percentage of images, of each digit and of all, that show the digit asked for in the judge's eyes."""
    rows = [[str(digit), *(mean_and_spread(np.array(r)[:, digit], 1) for r in right.values())] for digit in range(10)]
    rows.append(["all", *(mean_and_spread(np.mean(r, axis=1), 1) for r in right.values())])
    print("\n" + plotting.table(rows, ["digit", *(f"{kind}, % right" for kind in right)], out / "accuracy.md"))


def show_scores(out, scores):
    rows = [[kind, *(mean_and_spread(column, 2) for column in zip(*s, strict=True))] for kind, s in scores.items()]
    print(plotting.table(rows, ["D(x, y)", "real, its label", "real, wrong label", "generated"], out / "scores.md"))


def show_digits(out, drawn):
    """Draw a row for each digit, SHOWN columns for each kind of D, and an empty column between."""
    blank = np.zeros((10, 1, 28, 28, 1), np.float32)
    columns, ticks = [], []
    for kind, images in drawn.items():
        columns += [blank, to_cpu(images)[:, :SHOWN]]
        ticks += ["", *[""] * (SHOWN // 2), kind, *[""] * (SHOWN // 2)]
    sheet = np.concatenate(columns[1:], axis=1)
    plotting.image_grid(sheet.reshape(-1, 28, 28, 1), sheet.shape[1], "Images that G draws when told a digit",
                        out / "digits.png", "shown to D", "digit told to G", ticks[1:], list("0123456789"))


if __name__ == "__main__":
    command(main)
