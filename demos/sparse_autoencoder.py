"""More numbers than needed, few of them used: sparse codes by an L1 penalty, and by a target activity for each unit.

A code may have more units than an image needs if it has to be sparse. Each image then picks the few units that fit it,
and a unit comes to stand for a stroke (L1: Olshausen & Field 1996; KL: Ng 2011).
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, penalties, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, file_name, fit
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder, reconstruction_loss


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int


class Expected(NamedTuple):
    lowest: float   # mean activities of single units on the training images, with the KL penalty
    highest: float


SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "4 minutes"}
SCALES = {"quick": Scale(train=2_000, test=500, epochs=25), "default": Scale(train=10_000, test=2_000, epochs=30),
          "full": Scale(train=60_000, test=10_000, epochs=15)}
UNITS, TARGET = 256, 0.05
EXPECTED = {  # seeds 0 to 4: quick 0.052 to 0.107, default within 0.009 of the target
    "quick": Expected(lowest=0.03, highest=0.13), "default": Expected(lowest=0.035, highest=0.065),
    "full": Expected(lowest=0.035, highest=0.065)}
ACTIVE = 0.5  # a unit counts as active above it
PENALTIES = {  # name → the penalty on activities h (N, units), which is added to the cross-entropy
    "plain": lambda h: 0.0,
    "L1": lambda h: 0.3 * penalties.l1_activity(h),
    "KL to the target": lambda h: 30.0 * penalties.sparsity_kl(h, TARGET)}


def main():
    args = arguments("sparse_autoencoder", f"Sparse codes of {UNITS} units: L1, and KL to a target activity.", SECONDS)
    scale, expected = SCALES[args.scale], EXPECTED[args.scale]
    train, _, test, _ = digits(args, scale.train, scale.test)

    models = {name: train_sparse(args, name, penalty, train, scale.epochs) for name, penalty in PENALTIES.items()}
    activities = {name: in_batches(model.encode, test) for name, model in models.items()}
    rows = [[name, metrics.squared_error_per_image(test, in_batches(models[name].restore, test)), float(h.mean()),
             f"{h.mean(axis=0).min():.3f} to {h.mean(axis=0).max():.3f}", float((h > ACTIVE).sum(axis=1).mean())]
            for name, h in activities.items()]
    print("\n" + plotting.table(rows, ["autoencoder", "squared error per test image", "mean activity",
                                       "mean activity of single units", f"units above {ACTIVE} per image"],
                                args.out / "sparsity.md"))
    show_histogram(args.out, activities)
    for name, model in models.items():
        show_filters(args.out, name, model)
    units = in_batches(models["KL to the target"].encode, train).mean(axis=0)
    print(f"Pictures: {args.out}/activities.png, filters-*.png; table: sparsity.md")
    expect(f"Lowest mean activity of a unit on training images, with KL to {TARGET}", units.min(),
           low=expected.lowest)
    expect(f"Highest mean activity of a unit on training images, with KL to {TARGET}", units.max(),
           high=expected.highest)


def train_sparse(args, name, penalty, images, epochs):
    """784-256-784 with sigmoids; loss: cross-entropy + penalty on the activities"""
    rng = np.random.default_rng(args.seed)
    model = Autoencoder([784, UNITS], rng=rng, code=ops.sigmoid)

    def loss(x):
        h = model.encode(x)
        return reconstruction_loss(model.decode(h), x) + penalty(h)

    return fit(args, name, model, loss, images, rng=rng, epochs=epochs, lr=1e-2)


def show_histogram(out, activities):
    """The distribution of activities, over all units and test images."""
    edges = np.linspace(0, 1, 41)
    lines = {name: ((edges[1:] + edges[:-1]) / 2, np.histogram(h, edges)[0] / h.size) for name, h in activities.items()}
    plotting.curves(lines, "activity of a unit", "share of activities, bins of 1/40",
                    "Histogram of activities on test images", out / "activities.png", yscale="log")


def show_filters(out, name, model):
    """The pictures that the first 100 units add to the logits of the pixels: grey is 0, dark ink, light its absence.

    (The encoder's weights say less to the eye. Those of pixels at the rim, which are hardly ever ink, can be anything.)
    """
    w = to_cpu(model.up[0].w.data)[:100].reshape(-1, 28, 28, 1)
    largest = np.abs(w).max(axis=(1, 2, 3), keepdims=True)
    plotting.image_grid(0.5 + 0.5 * w / largest, 20,
                        f"{name}: ink that 100 of the {UNITS} units add (dark) or remove (light)",
                        out / f"filters-{file_name(name)}.png")


if __name__ == "__main__":
    command(main)
