"""Three ways back up in a convolutional autoencoder, and why "deconvolution" is a convolution.

Pooling throws places away. Unpooling puts each value back to where the largest stood, repeating fills its window, a
transposed convolution learns how to fill. Same size, same training; error and pictures side by side.
"""

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.demo import arguments, command, digits, expect, fit
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import ConvAutoencoder

SECONDS = {"quick": "25 seconds", "default": "2½ minutes", "full": "8 minutes"}
SIZES = {"quick": (2_000, 500, 4), "default": (10_000, 2_000, 5), "full": (60_000, 10_000, 4)}
# squared error per test image of transposed convolution, at most; seeds 0 to 4: quick 13 to 32, default 3.0 to 7.6
EXPECTED = {"quick": 45, "default": 10, "full": 4}
WAYS = {"unpool": "unpool, switches told", "repeat": "repeat, convolve", "transposed": "transposed convolution"}


def main():
    args = arguments("conv_autoencoder", "Unpool, repeat, or transposed convolution; what the last one is.", SECONDS)
    n_train, n_test, epochs = SIZES[args.scale]
    train, _, test, _ = digits(args, n_train, n_test)

    show_deconvolution(args.out)
    models = {}
    for up, name in WAYS.items():
        rng = np.random.default_rng(args.seed)
        model = ConvAutoencoder(up, rng=rng)
        print(f"\n{model}")
        models[name] = fit(args, up, model, model.loss, train, rng=rng, epochs=epochs, lr=1e-2)
    restored = {name: in_batches(model.restore, test) for name, model in models.items()}
    errors = {name: metrics.squared_error_per_image(test, x) for name, x in restored.items()}
    rows = [[name, error, sum(p.size for p in models[name].parameters())] for name, error in errors.items()]
    header = ["way back up", "squared error per test image", "weights"]
    print("\n" + plotting.table(rows, header, args.out / "errors.md"))
    plotting.image_rows([test[:12], *(x[:12] for x in restored.values())],
                        ["test image", *(f"{name}\n{error:.2f}" for name, error in errors.items())],
                        "From 7 × 7 × 4 numbers; below each name the squared error per test image",
                        args.out / "reconstructions.png")
    logs = {name: plotting.read_log(args.out / f"{up}-log.csv") for up, name in WAYS.items()}
    plotting.curves({name: (log["step"], log["loss"]) for name, log in logs.items()}, "training step",
                    "cross-entropy, nats per image", "Three ways back up", args.out / "training.png")
    print("Trained too briefly to learn much from the table." if args.scale == "quick" else LESSON)
    print(f"\nPictures: {args.out}/reconstructions.png, training.png, deconvolution.png; table: errors.md")
    expect("Squared error per test image with transposed convolution", errors[WAYS["transposed"]],
           high=EXPECTED[args.scale])


LESSON = """The switches say at which of four places of its window a value stood: 2 bits for each of the 196 values of
the code and the 3136 of the first pooling, which the other two ways do not have. So unpooling wins, and the comparison
of codes is not fair: without the image there are no switches (see demos/conv_vae.py). Transposed convolution beats
repeating, as its encoder learns what to keep, where max pooling throws away three of four."""


def show_deconvolution(out):
    """The transposed convolution as the transpose of a matrix, and as a convolution, in numbers and as pictures.

    conv2d is linear: y = C x, a row of the matrix C for each entry of y. Its transpose, x = Cᵀ y, is conv2d_transpose.
    And it is a convolution again: of y with zeros around it, kernel − 1 of them on each side, and, for stride s, s − 1
    between its pixels; the kernel is turned by 180°, its channels swapped.      (Dumoulin & Visin 2016, chapter 4)
    """
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 3, 1, 1))
    C = matrix(lambda x: ops.conv2d(x, w, padding="valid"), 6)                          # 6 × 6 → 4 × 4: (16, 36)
    T = matrix(lambda y: ops.conv2d_transpose(y, w, padding="valid"), 4)                # (36, 16)
    F = matrix(lambda y: as_convolution(y, w, 1), 4)                                    # (36, 16)
    plotting.matrices({"C: conv2d": C, "conv2d_transpose = Cᵀ": T, "conv2d, kernel turned": F},
                      "Convolution of 6 × 6 pixels with a 3 × 3 kernel, as matrices", out / "deconvolution.png")
    print(f'"Deconvolution" is convolution: conv2d_transpose is Cᵀ (largest difference {np.abs(T - C.T).max():.1e}),\n'
          f"and conv2d with the kernel turned by 180°, channels swapped, zeros around and between:")
    y, w = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((3, 3, 2, 3))         # 3 channels → 2
    for stride in (1, 2):
        difference = np.abs(ops.conv2d_transpose(y, w, stride=stride, padding="valid") - as_convolution(y, w, stride))
        print(f"stride {stride}: largest difference {difference.max():.1e}")


def as_convolution(y, w, stride):
    """What conv2d_transpose(y, w, stride=stride, padding="valid") gives, by conv2d."""
    n, height, width, channels = y.shape
    kh, kw = w.shape[0] - 1, w.shape[1] - 1
    h, v = stride * (width - 1) + 1, stride * (height - 1) + 1
    spread = np.zeros((n, v + 2 * kh, h + 2 * kw, channels))
    spread[:, kh:kh + v:stride, kw:kw + h:stride] = y
    return ops.conv2d(spread, w[::-1, ::-1].swapaxes(2, 3), padding="valid")


def matrix(f, side):
    """The matrix of a linear map of side × side pixels: column k is what it makes of a single 1 at pixel k."""
    return f(np.eye(side * side).reshape(-1, side, side, 1)).reshape(side * side, -1).T


if __name__ == "__main__":
    command(main)
