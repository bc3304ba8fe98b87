"""How much of a digit do 30 numbers hold? PCA, logistic PCA and a deep autoencoder (Hinton & Salakhutdinov 2006).

And what do two numbers tell? Codes in the plane by PCA and by a deep autoencoder, side by side, and beside them the 30
numbers of the deep autoencoder, laid out by t-SNE.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.demo import arguments, command, digits, expect, fit, too_short, tsne
from scratchnet.initializers import he_normal
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import PCA, Autoencoder, LogisticPCA, squared_error


class Scale(NamedTuple):
    train: int  # images
    test: int
    deep30: int  # epochs of the deep autoencoder with a code of 30 numbers
    deep2: int  # of 2 numbers
    logistic: int  # of logistic PCA with an encoder
    optimised: int  # with optimised codes


SECONDS = {"quick": "25 seconds", "default": "3½ minutes", "full": "40 minutes"}
SCALES = {"quick": Scale(train=1_500, test=400, deep30=4, deep2=3, logistic=10, optimised=2),
          "default": Scale(train=10_000, test=2_000, deep30=20, deep2=15, logistic=20, optimised=2),
          "full": Scale(train=60_000, test=10_000, deep30=40, deep2=20, logistic=15, optimised=3)}
EXPECTED = {  # squared error per test image, at least and at most; of PCA of all of MNIST the number is known
    "quick": {"PCA": (None, 17)},
    "default": {"PCA": (None, 15), "logistic PCA": (None, 10), "logistic PCA, optimised codes": (None, 8),
                "deep autoencoder": (None, 6.5)},
    "full": {"PCA": (13.86, 13.88), "logistic PCA": (None, 8.2), "logistic PCA, optimised codes": (None, 6),
             "deep autoencoder": (None, 2.8)}}
PUBLISHED = {"PCA": "13.87", "logistic PCA": "8.01", "deep autoencoder": "3.00"}  # Hinton & Salakhutdinov 2006, Fig. 2B
HIDDEN = [784, 1000, 500, 250]
MORE = {"--untied": {"action": "store_true", "help": "give the decoder weights of its own"}}


def main():
    args = arguments("deep_autoencoder", "30 numbers for a digit: PCA, logistic PCA, a deep autoencoder.", SECONDS,
                     more=MORE)
    scale = SCALES[args.scale]
    train, train_labels, test, labels = digits(args, scale.train, scale.test)
    rng = np.random.default_rng(args.seed)

    deep = train_deep(args, 30, train, rng, scale.deep30)
    flat = train_deep(args, 2, train, rng, scale.deep2)
    logistic = Autoencoder([784, 30], rng=rng)  # a linear encoder; a linear decoder with σ behind it
    fit(args, "logistic", logistic, logistic.loss, train, rng=rng, epochs=scale.logistic, lr=1e-2)
    optimised = LogisticPCA(784, 30, rng=rng)
    fit(args, "optimised", optimised, optimised.loss, train, rng=rng, epochs=scale.optimised, lr=1e-2)

    pca = PCA(train, 30)
    errors = compare(args.out, {"PCA": pca, "logistic PCA": logistic, "logistic PCA, optimised codes": optimised,
                                "deep autoencoder": deep}, test)
    planes = {"PCA": lambda x: pca.encode(x)[:, :2], "deep autoencoder": flat.encode}
    show_planes(args.out, planes, deep, train, train_labels, test, labels)
    plotting.training_curves({f"{size} numbers": (args.out / f"deep{size}-log.csv", "loss") for size in (30, 2)},
                             "squared error per image", "Deep autoencoders with codes of 30 and of 2 numbers",
                             args.out / "training.png", yscale="log")

    if args.scale == "quick":
        too_short("a deep autoencoder restores digits better than PCA")
    else:
        print(LESSON)
    print(f"\nPictures: {args.out}/reconstructions.png, planes.png, training.png; table: errors.md")
    for name, (low, high) in EXPECTED[args.scale].items():
        expect(f"Squared error per test image by {name}", errors[name], low, high)


LESSON = """Logistic PCA comes in two forms. With a linear encoder it is the autoencoder without hidden layers, and on
all of MNIST its error is near the published 8.01. If Newton's method optimises the code of each image instead, 30
numbers and a linear decoder hold far more. Only the encoder that finds these codes in one pass is missing."""


def train_deep(args, size, images, rng, epochs):
    """784-1000-500-250-size and back, all layers at once; SiLU and AdamW replace the pre-training of 2006. The loss is
    the squared error, by which the models are compared. Tied weights and weight decay keep it small on test images."""
    model = Autoencoder([*HIDDEN, size], rng=rng, activation=ops.silu, tied=not args.untied, init=he_normal)
    print(model)

    def loss(x):
        return squared_error(model.decode(model.encode(x)), x)

    return fit(args, f"deep{size}", model, loss, images, rng=rng, epochs=epochs, lr=2e-3, weight_decay=0.1)


def compare(out, models, test):
    """The table of squared errors, and pictures; gives name → error."""
    restored = {name: in_batches(model.restore, test) for name, model in models.items()}
    errors = {name: metrics.squared_error_per_image(test, x) for name, x in restored.items()}
    rows = [[name, error, PUBLISHED.get(name, "–")] for name, error in errors.items()]
    header = ["code of 30 numbers by", "squared error per test image", "published, all of MNIST"]
    print("\n" + plotting.table(rows, header, out / "errors.md"))
    plotting.image_rows([test[:12], *(x[:12] for x in restored.values())],
                        ["test image", *(f"{name}\n{error:.2f}" for name, error in errors.items())],
                        "Restored from 30 numbers, with the squared error per image", out / "reconstructions.png")
    return errors


def show_planes(out, planes, deep, train, train_labels, test, labels):
    """Codes of two numbers, with the accuracy of their nearest neighbours, and 30 numbers laid out by t-SNE."""
    panels = {}
    for name, encode in planes.items():
        z = in_batches(encode, test)
        right = 100 * metrics.knn_accuracy(in_batches(encode, train), train_labels, z, labels)
        panels[f"{name}, 2 numbers; 5-NN accuracy {right:.1f} %"] = z[:2_000]
        print(f"{name}, 2 numbers: the 5 nearest training images classify {right:.1f} % of the test images correctly.")
    layout = tsne({"deep autoencoder, 30 numbers, laid out by t-SNE": in_batches(deep.encode, test[:2_000])})
    plotting.scatter(panels | layout, labels[:2_000], "Codes of test images, drawn as their digits",
                     out / "planes.png", layouts=layout)


if __name__ == "__main__":
    command(main)
