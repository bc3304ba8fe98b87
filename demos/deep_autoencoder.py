"""How much of a digit do 30 numbers hold? PCA, logistic PCA and a deep autoencoder (Hinton & Salakhutdinov 2006).

And what do codes look like? Two numbers for each digit, by PCA and by a deep autoencoder, side by side, and beside
them the 30 numbers of the deep autoencoder laid out by t-SNE.
"""

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.demo import arguments, command, digits, expect, fit, tsne
from scratchnet.initializers import he_normal
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import PCA, Autoencoder, LogisticPCA, squared_error

SECONDS = {"quick": "25 seconds", "default": "3½ minutes", "full": "40 minutes"}
SIZES = {  # training images, test images; epochs of the deep autoencoders with 30 and with 2 numbers, of logistic PCA
    # with an encoder, with codes sought
    "quick": (1_500, 400, 4, 3, 10, 2), "default": (10_000, 2_000, 20, 15, 20, 2),
    "full": (60_000, 10_000, 40, 20, 15, 3)}
EXPECTED = {  # squared error per test image, at least and at most; of PCA of all of MNIST the number is known
    "quick": {"PCA": (None, 17), "logistic PCA": (None, 28), "logistic PCA, codes sought": (None, 35),
              "deep autoencoder": (None, 40)},
    "default": {"PCA": (None, 15), "logistic PCA": (None, 10), "logistic PCA, codes sought": (None, 8),
                "deep autoencoder": (None, 6.5)},
    "full": {"PCA": (13.86, 13.88), "logistic PCA": (None, 8.2), "logistic PCA, codes sought": (None, 6),
             "deep autoencoder": (None, 2.8)}}
PUBLISHED = {"PCA": "13.87", "logistic PCA": "8.01", "deep autoencoder": "3.00"}  # Hinton & Salakhutdinov 2006, Fig. 2B
HIDDEN = [784, 1000, 500, 250]
MORE = {"--untied": {"action": "store_true", "help": "a decoder with weights of its own"}}


def main():
    args = arguments("deep_autoencoder", "30 numbers for a digit: PCA, logistic PCA, a deep autoencoder.", SECONDS,
                     more=MORE)
    n_train, n_test, epochs30, epochs2, epochs_logistic, epochs_sought = SIZES[args.scale]
    train, train_labels, test, labels = digits(args, n_train, n_test)
    rng = np.random.default_rng(args.seed)

    deep = fit_deep(args, 30, train, rng, epochs30)
    flat = fit_deep(args, 2, train, rng, epochs2)
    logistic = Autoencoder([784, 30], rng=rng)  # a linear encoder, σ behind a linear decoder
    fit(args, "logistic", logistic, logistic.loss, train, rng=rng, epochs=epochs_logistic, lr=1e-2)
    sought = LogisticPCA(784, 30, rng=rng)
    fit(args, "sought", sought, sought.loss, train, rng=rng, epochs=epochs_sought, lr=1e-2)

    pca = PCA(train, 30)
    errors = compare(args.out, {"PCA": pca, "logistic PCA": logistic, "logistic PCA, codes sought": sought,
                                "deep autoencoder": deep}, test)
    planes = {"PCA": lambda x: pca.encode(x)[:, :2], "deep autoencoder": flat.encode}
    show_planes(args.out, planes, deep, train, train_labels, test, labels)
    show_training(args.out)

    print(f"\nPictures: {args.out}/reconstructions.png, planes.png, training.png; table: errors.md")
    print("Trained too briefly to learn much from the table." if args.scale == "quick" else LESSON)
    for name, error in errors.items():
        expect(f"Squared error per test image by {name}", error, *EXPECTED[args.scale][name])


LESSON = """Logistic PCA has two readings. With a linear encoder it is the autoencoder without hidden layers; on all of
MNIST its error is near the published 8.01. If the code of each image is sought instead, by Newton's method, 30 numbers
and a linear decoder hold far more; what is missing is an encoder that finds them at once."""


def fit_deep(args, size, images, rng, epochs):
    """784-1000-500-250-size and back, all layers at once; SiLU and AdamW do what took pre-training in 2006. The loss is
    the squared error, the number in which they are compared; tied weights and weight decay keep it as small on test
    images as they can."""
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
    print("\n" + plotting.table(rows, ["30 numbers by", "squared error per test image", "published, full MNIST"],
                                out / "errors.md"))
    plotting.image_rows([test[:12], *(x[:12] for x in restored.values())],
                        ["test image", *(f"{name}\n{error:.2f}" for name, error in errors.items())],
                        "From 30 numbers; below each name the squared error per test image",
                        out / "reconstructions.png")
    return errors


def show_planes(out, planes, deep, train, train_labels, test, labels):
    """Codes of two numbers, how many digits their neighbours tell right, and the 30 numbers laid out by t-SNE."""
    panels = {}
    for name, encode in planes.items():
        z = in_batches(encode, test)
        right = metrics.knn_accuracy(in_batches(encode, train), train_labels, z, labels)
        panels[f"{name}: 5 nearest neighbours tell {100 * right:.1f} % right"] = z[:2_000]
        print(f"2 numbers by {name}: the 5 nearest training images tell {100 * right:.1f} % of test digits right.")
    panels |= tsne({"the 30 numbers, by t-SNE": in_batches(deep.encode, test[:2_000])})
    plotting.scatter(panels, labels[:2_000], "Test images in the plane, by digit", out / "planes.png", "", "")


def show_training(out):
    logs = {f"{size} numbers": plotting.read_log(out / f"deep{size}-log.csv") for size in (30, 2)}
    plotting.curves({name: (log["step"], log["loss"]) for name, log in logs.items()}, "training step",
                    "squared error per image", "Deep autoencoder on MNIST", out / "training.png")


if __name__ == "__main__":
    command(main)
