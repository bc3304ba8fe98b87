"""Which images are like this one? Neighbours in the space of codes against neighbours in the space of pixels.

Pixels are compared place by place, so a digit shifted by two pixels is far away. The 30 numbers of an autoencoder's
code keep the differences that matter (Krizhevsky & Hinton 2011). The autoencoder is that of demos/deep_autoencoder.py.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.backend import to_device_of
from scratchnet.demo import arguments, command, digits, expect, fit
from scratchnet.initializers import he_normal
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder, squared_error


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int


SECONDS = {"quick": "25 seconds", "default": "2½ minutes", "full": "20 minutes"}
SCALES = {"quick": Scale(train=2_000, test=500, epochs=8), "default": Scale(train=10_000, test=2_000, epochs=25),
          "full": Scale(train=60_000, test=10_000, epochs=40)}
NEIGHBOURS, QUERIES = 10, 6
EXPECTED = {"quick": 0, "default": 3, "full": 1.5}  # gain in precision, percentage points, at least


def main():
    args = arguments("image_retrieval", "Retrieval of digits by code and by pixels.", SECONDS)
    scale = SCALES[args.scale]
    train, train_labels, test, labels = digits(args, scale.train, scale.test)

    rng = np.random.default_rng(args.seed)
    model = Autoencoder([784, 1000, 500, 250, 30], rng=rng, activation=ops.silu, tied=True, init=he_normal)
    fit(args, "deep30", model, lambda x: squared_error(model.decode(model.encode(x)), x), train, rng=rng,
        epochs=scale.epochs, lr=2e-3, weight_decay=0.1)

    spaces = {"code": (in_batches(model.encode, train), in_batches(model.encode, test)),
              "pixels": (in_batches(ops.flatten, train), in_batches(ops.flatten, test))}
    found = {name: metrics.nearest(items, queries, NEIGHBOURS) for name, (items, queries) in spaces.items()}
    right = {name: (train_labels[indices] == labels[:, None]).mean(axis=1) for name, indices in found.items()}
    rows = [[name, spaces[name][0].shape[1], 100 * share.mean(),
             *(f"{100 * share[labels == digit].mean():.1f}" for digit in range(10))] for name, share in right.items()]
    print("\n" + plotting.table(rows, ["neighbours by", "numbers", f"precision at {NEIGHBOURS}, %",
                                       *(f"digit {digit}" for digit in range(10))], args.out / "precision.md"))
    show_neighbours(args.out, found, right, train, test)
    gain = 100 * (right["code"].mean() - right["pixels"].mean())
    print(f"Picture: {args.out}/neighbours.png; table: precision.md")
    expect(f"Gain in precision at {NEIGHBOURS} by the code over pixels", gain, low=EXPECTED[args.scale],
           unit=" percentage points")


def show_neighbours(out, found, right, train, test):
    """The test images on which the two differ most, and their nearest training images by each."""
    different = np.argsort(-np.abs(right["code"] - right["pixels"]), kind="stable")[:QUERIES]
    rows, names = [], []
    for query in different:
        for name, indices in found.items():
            answers = train[to_device_of(indices[query], train)]
            rows.append(ops.concat([test[query:query + 1], 0.0 * test[:1], answers]))  # with a gap between
            names.append(f"{name}, {round(NEIGHBOURS * right[name][query])} of {NEIGHBOURS} right")
    plotting.image_rows(rows, names, "Nearest training images by code and by pixels, for the test images (left) where "
                        "the two differ most", out / "neighbours.png")


if __name__ == "__main__":
    command(main)
