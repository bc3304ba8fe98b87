"""More numbers than needed, few of them used: sparse autoencoders, by L1 on activities, by a target for each unit.

A code may be wider than the input's true size if it has to be sparse: each image then picks the few units that fit it,
and a unit comes to stand for a stroke (L1: Olshausen & Field 1996; KL: Ng 2011).
"""

import numpy as np

from scratchnet import metrics, ops, penalties, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, file_name, fit
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder, reconstruction_loss

SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "4 minutes"}
SIZES = {"quick": (2_000, 500, 25), "default": (10_000, 2_000, 30), "full": (60_000, 10_000, 15)}
UNITS, TARGET = 256, 0.05
ACTIVE = 0.5  # above it a unit counts as active
PENALTIES = {  # name → what is added to the cross-entropy, of activities h (N, units)
    "plain": lambda h: 0.0,
    "L1": lambda h: 0.3 * penalties.l1_activity(h),
    "KL to the target": lambda h: 30.0 * penalties.sparsity_kl(h, TARGET)}
# of each unit, on the training images; the furthest off of seeds 0 to 4: quick 0.057, default 0.009
TOLERANCE = {"quick": 0.08, "default": 0.015, "full": 0.015}


def main():
    args = arguments("sparse_autoencoder", f"Sparse codes of {UNITS} units: L1, and KL to a target activity.", SECONDS)
    n_train, n_test, epochs = SIZES[args.scale]
    train, _, test, _ = digits(args, n_train, n_test)

    models = {name: fit_sparse(args, name, penalty, train, epochs) for name, penalty in PENALTIES.items()}
    activities = {name: in_batches(model.encode, test) for name, model in models.items()}
    rows = [[name, metrics.squared_error_per_image(test, in_batches(models[name].restore, test)), float(h.mean()),
             float((h > ACTIVE).sum(axis=1).mean()), f"{h.mean(axis=0).min():.3f} to {h.mean(axis=0).max():.3f}"]
            for name, h in activities.items()]
    print("\n" + plotting.table(rows, ["autoencoder", "squared error per test image", "mean activity",
                                       f"units above {ACTIVE} per image", "mean activity, unit by unit"],
                                args.out / "sparsity.md"))
    show_histogram(args.out, activities)
    for name, model in models.items():
        show_filters(args.out, name, model)
    units = in_batches(models["KL to the target"].encode, train).mean(axis=0)
    print(f"\nPictures: {args.out}/activities.png, filters-*.png; table: sparsity.md")
    for name, value in (("lowest", units.min()), ("highest", units.max())):
        expect(f"With the KL penalty the {name} mean activity of a unit on the training images", value,
               TARGET - TOLERANCE[args.scale], TARGET + TOLERANCE[args.scale])


def fit_sparse(args, name, penalty, images, epochs):
    """784-256-784 with sigmoids; loss: cross-entropy + penalty on the activities"""
    rng = np.random.default_rng(args.seed)
    model = Autoencoder([784, UNITS], rng=rng, code=ops.sigmoid)

    def loss(x):
        h = model.encode(x)
        return reconstruction_loss(model.decode(h), x) + penalty(h)

    return fit(args, name, model, loss, images, rng=rng, epochs=epochs, lr=1e-2)


def show_histogram(out, activities):
    """How often each activity occurs, over all units and test images."""
    edges = np.linspace(0, 1, 41)
    lines = {name: ((edges[1:] + edges[:-1]) / 2, np.histogram(h, edges)[0] / h.size) for name, h in activities.items()}
    plotting.curves(lines, "activity of a unit", "share of all activities", "Activities of the code on test images",
                    out / "activities.png", yscale="log")


def show_filters(out, name, model):
    """What the first 100 units add to the logits of the pixels, as pictures: grey is 0, dark ink, light its absence.

    (The encoder's weights say less to the eye: those of pixels at the rim, which are hardly ever ink, can be anything.)
    """
    w = to_cpu(model.up[0].w.data)[:100].reshape(-1, 28, 28, 1)
    largest = np.abs(w).max(axis=(1, 2, 3), keepdims=True)
    plotting.image_grid(0.5 + 0.5 * w / largest, 20,
                        f"{name}: what 100 of the {UNITS} units draw (dark) and rub out (light)",
                        out / f"filters-{file_name(name)}.png")


if __name__ == "__main__":
    command(main)
