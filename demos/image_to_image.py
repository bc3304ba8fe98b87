"""From half a digit to the whole: pix2pix (Isola et al. 2017) on digits whose lower half is hidden.

Many lower halves go with an upper one. What is closest to them all, pixel by pixel, is none of them: trained with L1
alone G draws a blur, or nothing where each stroke is unlikely. A D that judges patches of question and answer asks for
strokes such as real digits have. They cost some error, for a stroke beside the true one counts twice.
"""

import numpy as np

from scratchnet import losses, metrics, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, fit_in_turns, mean_and_spread, mover
from scratchnet.metrics import in_batches
from scratchnet.models.gans import ImageToImage, PatchDiscriminator, UNet
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

SECONDS = {"quick": "25 seconds", "default": "2½ minutes", "full": "10 minutes"}
SIZES = {  # training images, test images, epochs, seeds
    "quick": (1_500, 300, 3, 2), "default": (10_000, 2_000, 4, 2), "full": (60_000, 10_000, 5, 3)}
KINDS = ("L1 alone", "L1 + GAN")
WEIGHT = 10.0  # λ of λ |y − G(x)|, pixels in [0, 1]
CHANNELS = 8
# gain in sharpness, at least; seeds 0 to 4: quick 0.00 to 0.82, default 0.17 to 0.24
EXPECTED = {"quick": -0.2, "default": 0.1, "full": 0.1}


def main():
    args = arguments("image_to_image", "Digits completed from their upper half, by L1 and by L1 + GAN.", SECONDS)
    n_train, n_test, epochs, seeds = SIZES[args.scale]
    train, _, test, _ = digits(args, n_train, n_test)

    measured, answers = {}, {}  # kind → (seeds, 3); answers of the last seed
    for kind in KINDS:
        measured[kind] = []
        for seed in range(args.seed, args.seed + seeds):
            model = fit_model(args, kind, seed, train, epochs)
            answers[kind] = in_batches(model.generator, hide(test))
            measured[kind].append(measure(answers[kind], to_cpu(test)))
    rows = [[kind, *(mean_and_spread(column, 2) for column in np.transpose(values))]
            for kind, values in measured.items()]
    rows.append(["the true images", "0", "0", "1"])
    print("\n" + plotting.table(rows, ["hidden half", "error, L1", "error, squared", "sharpness"],
                                args.out / "measured.md"))
    print("Trained too briefly to learn much from the table." if args.scale == "quick" else LESSON)
    show_answers(args.out, answers, test)
    print(f"\nPicture: {args.out}/answers.png; table: measured.md")
    gain = np.diff([np.mean(values, axis=0)[2] for values in measured.values()])[0]
    expect("L1 + GAN adds to the sharpness of L1 alone", gain, low=EXPECTED[args.scale])


LESSON = """Errors are summed over the hidden half of an image. Sharpness is the mean square of the differences
between neighbouring pixels there, as a share of that of the true images. (Of their squares, as an edge spread over k
pixels has k steps of 1/k: their sum is 1 for any k, the sum of their squares is 1/k.) Noise counts as sharp, too, so
look at the picture."""


def hide(y):
    """Images (N, 28, 28, 1) with their lower half white."""
    x = y.copy()
    x[:, 14:] = 0.0
    return x


def fit_model(args, kind, seed, images, epochs):
    """By Adam, D and G in turn, learning rates falling to 0; with L1 alone there is no D to train."""
    rng = np.random.default_rng(seed)
    model = ImageToImage(UNet(CHANNELS, rng=rng), PatchDiscriminator(CHANNELS, rng=rng), WEIGHT)
    model.move(mover(args.device))
    lr = cosine(1e-3, epochs * (len(images) // 50))
    G, D = (Adam(net.parameters(), lr=lr, betas=(0.5, 0.999)) for net in (model.generator, model.discriminator))
    if kind == "L1 alone":
        players = {"G": (G, lambda y: losses.l1(model.generator(hide(y)), y, "mean"))}
    else:
        players = {"D": (D, lambda y: model.discriminator_loss(hide(y), y, model.generate(hide(y)))),
                   "G": (G, lambda y: model.generator_loss(hide(y), y))}
    fit_in_turns(args, f"{kind} seed{seed}", model, players, images, rng=rng, epochs=epochs, size=50)
    return model


def measure(answers, true):
    """(1/N Σ |y − G(x)|, 1/N Σ (y − G(x))², sharpness relative to the true images), all in the hidden half"""
    answers, true = answers[:, 14:], true[:, 14:]
    return (np.abs(true - answers).sum() / len(true), metrics.squared_error_per_image(true, answers),
            sharpness(answers) / sharpness(true))


def sharpness(x):
    """mean (x_{i+1,j} − x_{ij})² + mean (x_{i,j+1} − x_{ij})²        x (N, H, W, 1)"""
    return np.mean(np.square(np.diff(x, axis=1))) + np.mean(np.square(np.diff(x, axis=2)))


def show_answers(out, answers, test):
    rows = {"seen": hide(test), **answers, "true": test}
    plotting.image_rows([to_cpu(images)[:14] for images in rows.values()], list(rows),
                        "Test digits completed from their upper half", out / "answers.png")


if __name__ == "__main__":
    command(main)
