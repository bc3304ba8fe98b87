"""The digit that was asked for: a conditional GAN (Mirza & Osindero 2014), and what makes it obey.

G is told a digit, and D judges pairs of image and label. A generated pair can be wrong in two ways: its image is bad,
or is not the digit. The first is easier to see, so for long D teaches G to draw digits and not which. Shown real images
with wrong labels as well, to be scored low (mismatched pairs; Reed et al. 2016, section 4.2), D has to look at the
label. A D that does not see it cannot teach it.
"""

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.autograd import no_grad
from scratchnet.backend import to_cpu, to_device_of
from scratchnet.demo import arguments, command, digits, expect, fit, fit_in_turns, mean_and_spread, mover
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gans import ConditionalGAN, WithLabel, WithoutLabel, wrong_labels
from scratchnet.models.gans.conditional_gan import digit_discriminator, digit_generator
from scratchnet.optimizers import Adam

SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "10 minutes"}
SIZES = {  # training images, test images, epochs of the judge, epochs of each GAN, seeds
    "quick": (2_000, 500, 2, 4, 2), "default": (10_000, 2_000, 3, 10, 2), "full": (60_000, 10_000, 3, 10, 3)}
KINDS = ("mismatched pairs", "no mismatched pairs", "no labels")  # what D is shown
LATENT = 64
JUDGED, SHOWN = 100, 5  # images of each digit
EXPECTED = {"default": 80, "full": 85}  # percent of images that are the digit, with mismatched pairs


def main():
    args = arguments("conditional_gan", "Digits by label, with and without mismatched pairs.", SECONDS)
    n_train, n_test, judge_epochs, epochs, seeds = SIZES[args.scale]
    train, labels, test, test_labels = digits(args, n_train, n_test)
    labels, test_labels = mover(args.device)(labels), mover(args.device)(test_labels)

    judge = DigitClassifier(rng=np.random.default_rng(args.seed))
    fit(args, "judge", judge, judge.loss, train, labels, rng=np.random.default_rng(args.seed), epochs=judge_epochs,
        lr=3e-3)
    right, scores, drawn = {}, {}, {}  # kind → (seeds, 10), in percent; (seeds, 3); (10, JUDGED, 28, 28, 1)
    for kind in KINDS:
        right[kind], scores[kind] = [], []
        for seed in range(args.seed, args.seed + seeds):
            gan = fit_gan(args, kind, seed, train, labels, epochs).eval()
            drawn[kind] = draw(gan, test)
            told = in_batches(judge, drawn[kind].reshape(-1, 28, 28, 1)).argmax(axis=1).reshape(10, JUDGED)
            right[kind].append(100 * np.mean(told == np.arange(10)[:, None], axis=1))
            scores[kind].append(mean_scores(gan, drawn[kind], test, test_labels))
    print(f"\nThe judge tells {100 * metrics.accuracy(in_batches(judge, test), test_labels):.1f} % of the test images "
          f"right.")
    show_accuracy(args.out, right)
    show_scores(args.out, scores)
    show_digits(args.out, drawn)
    print("Trained too briefly to learn much from the tables." if args.scale == "quick" else LESSON)
    print(f"\nPicture: {args.out}/digits.png; tables: accuracy.md, scores.md")
    if args.scale != "quick":
        expect("Images that are the digit that was asked for, with mismatched pairs", np.mean(right[KINDS[0]]),
               low=EXPECTED[args.scale], unit=" %")
        expect("... more than without them", np.mean(right[KINDS[0]]) - np.mean(right[KINDS[1]]), low=10, unit=" %")
        expect("D of a real image with a wrong label, with mismatched pairs", np.mean(scores[KINDS[0]], axis=0)[1],
               high=0.3)


LESSON = """Whether D looks at the label does not show in a low score of generated pairs, but in a low score of real
images with wrong labels. (Where the loss with mismatched pairs is least and G perfect, these have 0, and the others
⅔.) That an image is the digit that was asked for does not say that G draws all the ways to write it."""


def fit_gan(args, kind, seed, images, labels, epochs):
    """Dense nets; D and G in turn, by Adam."""
    rng = np.random.default_rng(seed)
    generator = WithLabel(digit_generator(LATENT + 10, rng=rng), 10)
    discriminator = (WithoutLabel(digit_discriminator(784, rng=rng)) if kind == "no labels" else
                     WithLabel(digit_discriminator(784 + 10, rng=rng), 10))
    gan = ConditionalGAN(generator, discriminator, LATENT).move(mover(args.device))

    def of_discriminator(x, y):
        fake = gan.generate(gan.noise(len(x), rng, x), y)
        return gan.discriminator_loss(x, y, fake, wrong_labels(y, 10, rng) if kind == "mismatched pairs" else None)

    def of_generator(x, y):
        return gan.generator_loss(gan.noise(len(x), rng, x), y)

    players = {"D": (Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999)), of_discriminator),
               "G": (Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999)), of_generator)}
    fit_in_turns(args, f"{kind} seed{seed}", gan, players, images, labels, rng=rng, epochs=epochs)
    return gan


def draw(gan, like):
    """Images of each digit, (10, JUDGED, 28, 28, 1), from the same noise in every run."""
    z = gan.noise(10 * JUDGED, np.random.default_rng(0), like)
    y = to_device_of(np.repeat(np.arange(10), JUDGED), like)
    return gan.generate(z, y).reshape(10, JUDGED, 28, 28, 1)


def mean_scores(gan, drawn, test, labels):
    """The mean of D = σ(logit) over matched and mismatched pairs of test images, and over generated pairs"""
    asked = to_device_of(np.repeat(np.arange(10), JUDGED), test)
    pairs = ((test, labels), (test, wrong_labels(labels, 10, np.random.default_rng(0))),
             (drawn.reshape(-1, 28, 28, 1), asked))
    with no_grad():
        return [ops.sigmoid(gan.discriminator(x, y)).mean().item() for x, y in pairs]


def show_accuracy(out, right):
    """Percent of the images of each digit, and of all, in which the judge sees the digit that was asked for."""
    rows = [[str(digit), *(mean_and_spread(np.array(r)[:, digit], 1) for r in right.values())] for digit in range(10)]
    rows.append(["all", *(mean_and_spread(np.mean(r, axis=1), 1) for r in right.values())])
    print("\n" + plotting.table(rows, ["digit", *(f"{kind}, % right" for kind in right)], out / "accuracy.md"))


def show_scores(out, scores):
    rows = [[kind, *(mean_and_spread(column, 2) for column in zip(*s, strict=True))] for kind, s in scores.items()]
    print(plotting.table(rows, ["D(x, y)", "real, its label", "real, wrong label", "generated"], out / "scores.md"))


def show_digits(out, drawn):
    """A row for each digit; SHOWN columns for each kind of D, and an empty one between."""
    blank = np.zeros((10, 1, 28, 28, 1), np.float32)
    columns, ticks = [], []
    for kind, images in drawn.items():
        columns += [blank, to_cpu(images)[:, :SHOWN]]
        ticks += ["", *[""] * (SHOWN // 2), kind, *[""] * (SHOWN // 2)]
    sheet = np.concatenate(columns[1:], axis=1)
    plotting.image_grid(sheet.reshape(-1, 28, 28, 1), sheet.shape[1], "What G draws when it is told a digit",
                        out / "digits.png", "D is shown", "digit told", ticks[1:], [str(digit) for digit in range(10)])


if __name__ == "__main__":
    command(main)
