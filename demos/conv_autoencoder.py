"""Three ways up in the decoder of a convolutional autoencoder, and why "deconvolution" is a convolution.

Pooling keeps the largest value of each window and forgets its place. Unpooling puts the value back in that place,
repetition fills the window with it, and a transposed convolution learns how to fill it. All three have the same size
and the same training.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.demo import arguments, command, digits, expect, fit, too_short
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import ConvAutoencoder


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int


SECONDS = {"quick": "25 seconds", "default": "2½ minutes", "full": "8 minutes"}
SCALES = {"quick": Scale(train=2_000, test=500, epochs=4), "default": Scale(train=10_000, test=2_000, epochs=5),
          "full": Scale(train=60_000, test=10_000, epochs=4)}
# squared error per test image of transposed convolution, at most; seeds 0 to 4: quick 13 to 32, default 3.0 to 7.6
EXPECTED = {"quick": 45, "default": 10, "full": 4}
WAYS = {"unpool": "unpooling with switches", "repeat": "repetition, convolution",
        "transposed": "transposed convolution"}


def main():
    args = arguments("conv_autoencoder", "Unpooling, repetition and transposed convolution.", SECONDS)
    scale = SCALES[args.scale]
    train, _, test, _ = digits(args, scale.train, scale.test)

    show_deconvolution(args.out)
    models = {}
    for up, name in WAYS.items():
        rng = np.random.default_rng(args.seed)
        model = ConvAutoencoder(up, rng=rng)
        print(f"\n{model}")
        models[name] = fit(args, up, model, model.loss, train, rng=rng, epochs=scale.epochs, lr=1e-2)
    restored = {name: in_batches(model.restore, test) for name, model in models.items()}
    errors = {name: metrics.squared_error_per_image(test, x) for name, x in restored.items()}
    rows = [[name, error, sum(p.size for p in models[name].parameters())] for name, error in errors.items()]
    header = ["way up", "squared error per test image", "parameters"]
    print("\n" + plotting.table(rows, header, args.out / "errors.md"))
    plotting.image_rows([test[:12], *(x[:12] for x in restored.values())],
                        ["test image", *(f"{name}\n{error:.2f}" for name, error in errors.items())],
                        "Restored from 7 × 7 × 4 numbers, with the squared error per image",
                        args.out / "reconstructions.png")
    plotting.training_curves({name: (args.out / f"{up}-log.csv", "loss") for up, name in WAYS.items()},
                             "cross-entropy, nats per image", "Three ways up in the decoder",
                             args.out / "training.png", ylim=(50, 200))
    if args.scale == "quick":
        too_short("a transposed convolution restores digits better than repetition")
    else:
        print(LESSON)
    print(f"\nPictures: {args.out}/reconstructions.png, training.png, deconvolution.png; table: errors.md")
    expect("Squared error per test image with transposed convolution", errors[WAYS["transposed"]],
           high=EXPECTED[args.scale])


LESSON = """The switches tell the decoder in which of the four places of its window a value stood. These are 2 bits for
each of the 196 values of the code and the 3136 of the first pooling, and the other two ways do without them. So
unpooling wins, but not fairly: without an image there are no switches (see demos/conv_vae.py). Transposed convolution
beats repetition because its encoder learns what to keep, while max pooling drops three values of four."""


def show_deconvolution(out):
    """The transposed convolution as the transpose of a matrix, and as a convolution, in numbers and as a picture.

    conv2d is linear: y = C x, with a row of the matrix C for each entry of y. conv2d_transpose is x = Cᵀ y. It is a
    convolution again. Its kernel is turned by 180°, its channels are swapped, and y gets zeros: kernel − 1 on each
    side, and s − 1 between its pixels for stride s.        (Dumoulin & Visin 2016, chapter 4)
    """
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 3, 1, 1))
    C = matrix(lambda x: ops.conv2d(x, w, padding="valid"), 4)                          # 4 × 4 → 2 × 2: (4, 16)
    T = matrix(lambda y: ops.conv2d_transpose(y, w, padding="valid"), 2)                # (16, 4)
    F = matrix(lambda y: as_convolution(y, w, 1), 2)                                    # (16, 4)
    plotting.matrices({"C, conv2d": C, "Cᵀ, conv2d_transpose": T, "conv2d, kernel turned": F},
                      "Convolution of 4 × 4 pixels by a 3 × 3 kernel, as a matrix; its transpose is a convolution",
                      out / "deconvolution.png")
    print(f'"Deconvolution" is convolution. conv2d_transpose is Cᵀ (largest difference {np.abs(T - C.T).max():.1e}).\n'
          f"It is also conv2d with the kernel turned by 180°, channels swapped, zeros around and between the pixels:")
    y, w = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((3, 3, 2, 3))         # 3 channels → 2
    for stride in (1, 2):
        difference = np.abs(ops.conv2d_transpose(y, w, stride=stride, padding="valid") - as_convolution(y, w, stride))
        print(f"stride {stride}: largest difference {difference.max():.1e}")


def as_convolution(y, w, stride):
    """conv2d_transpose(y, w, stride=stride, padding="valid"), computed by conv2d."""
    n, height, width, channels = y.shape
    kh, kw = w.shape[0] - 1, w.shape[1] - 1
    h, v = stride * (width - 1) + 1, stride * (height - 1) + 1
    spread = np.zeros((n, v + 2 * kh, h + 2 * kw, channels))
    spread[:, kh:kh + v:stride, kw:kw + h:stride] = y
    return ops.conv2d(spread, w[::-1, ::-1].swapaxes(2, 3), padding="valid")


def matrix(f, side):
    """The matrix of a linear map f of side × side pixels. Column k is the output for a single 1 at pixel k."""
    return f(np.eye(side * side).reshape(-1, side, side, 1)).reshape(side * side, -1).T


if __name__ == "__main__":
    command(main)
