"""From half a digit to the whole: pix2pix (Isola et al. 2017) on digits whose lower half is hidden.

Many lower halves fit one upper half. The image that is closest to all of them, pixel by pixel, is none of them: trained
with L1 alone, G draws a blur, and leaves out every stroke that is unlikely. A D that judges patches of question and
answer asks for strokes like those of real digits. Such strokes cost some error, for a stroke beside the true one counts
twice.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import losses, metrics, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, fit_in_turns, mean_and_spread, mover, too_short
from scratchnet.metrics import in_batches
from scratchnet.models.gans import ImageToImage, PatchDiscriminator, UNet
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

SECONDS = {"quick": "25 seconds", "default": "2½ minutes", "full": "10 minutes"}
WEIGHT = 10.0  # λ of λ |y − G(x)|, pixels in [0, 1]
CHANNELS = 8
EXPECTED = 0.1  # sharpness that the GAN adds, at least; seeds 0 to 4: quick 0.00 to 0.82, default 0.17 to 0.24


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int
    seeds: int


SCALES = {"quick": Scale(train=1_500, test=300, epochs=3, seeds=2),
          "default": Scale(train=10_000, test=2_000, epochs=4, seeds=2),
          "full": Scale(train=60_000, test=10_000, epochs=5, seeds=3)}


def main():
    args = arguments("image_to_image", "Digits completed from their upper half, by L1 and by L1 + GAN.", SECONDS)
    scale = SCALES[args.scale]
    train, _, test, _ = digits(args, scale.train, scale.test)

    measured, answers = {}, {}  # kind → (seeds, 3); answers of the last seed
    for kind in ("L1 alone", "L1 + GAN"):
        measured[kind] = []
        for seed in range(args.seed, args.seed + scale.seeds):
            rng = np.random.default_rng(seed)
            model = ImageToImage(UNet(CHANNELS, rng=rng), PatchDiscriminator(CHANNELS, rng=rng), WEIGHT)
            fit_model(args, f"{kind} seed{seed}", model.move(mover(args.device)), train, kind, rng, scale.epochs)
            answers[kind] = in_batches(model.generator, hide(test))
            measured[kind].append(measure(answers[kind], to_cpu(test)))
    rows = [[kind, *(mean_and_spread(column, 2) for column in np.transpose(values))]
            for kind, values in measured.items()]
    rows.append(["true images", "0", "0", "1"])
    print("\n" + plotting.table(rows, ["hidden half", "L1 error", "squared error", "sharpness"],
                                args.out / "measured.md"))
    if args.scale != "quick":
        print(LESSON)
    show_answers(args.out, answers, test)
    print(f"Picture: {args.out}/answers.png; table: measured.md")
    if args.scale == "quick":
        too_short("the GAN makes answers sharper")
    else:
        gain = np.diff([np.mean(values, axis=0)[2] for values in measured.values()])[0]
        expect("Sharpness that the GAN adds to L1 alone", gain, low=EXPECTED)


LESSON = """Errors are summed over the hidden half of an image. Sharpness is the mean square of the differences between
neighbouring pixels there, relative to that of the true images. (The square matters: an edge spread over k pixels has k
steps of 1/k, whose sum is 1 for any k, while the sum of their squares is 1/k.) Noise is sharp by this measure, so look
at the picture.
"""


def hide(y):
    """Images (N, 28, 28, 1) with their lower half white."""
    x = y.copy()
    x[:, 14:] = 0.0
    return x


def fit_model(args, name, model, images, kind, rng, epochs):
    """Train D and G in turns by Adam, learning rates falling to 0. With L1 alone, only G learns."""
    lr = cosine(1e-3, epochs * (len(images) // 50))
    G, D = (Adam(net.parameters(), lr=lr, betas=(0.5, 0.999)) for net in (model.generator, model.discriminator))
    if kind == "L1 alone":
        players = {"G": (G, lambda y: losses.l1(model.generator(hide(y)), y, "mean"))}
    else:
        players = {"D": (D, lambda y: model.discriminator_loss(hide(y), y, model.generate(hide(y)))),
                   "G": (G, lambda y: model.generator_loss(hide(y), y))}
    fit_in_turns(args, name, model, players, images, rng=rng, epochs=epochs, size=50)


def measure(answers, true):
    """(1/N Σ |y − G(x)|, 1/N Σ (y − G(x))², sharpness relative to the true images), all over the hidden half"""
    answers, true = answers[:, 14:], true[:, 14:]
    return (np.abs(true - answers).sum() / len(true), metrics.squared_error_per_image(true, answers),
            sharpness(answers) / sharpness(true))


def sharpness(x):
    """mean (x_{i+1,j} − x_{ij})² + mean (x_{i,j+1} − x_{ij})²        x (N, H, W, 1)"""
    return np.mean(np.square(np.diff(x, axis=1))) + np.mean(np.square(np.diff(x, axis=2)))


def show_answers(out, answers, test):
    rows = {"shown to G": hide(test), **answers, "true image": test}
    plotting.image_rows([to_cpu(images)[:14] for images in rows.values()], list(rows),
                        "Test digits completed from their upper half", out / "answers.png")


if __name__ == "__main__":
    command(main)
