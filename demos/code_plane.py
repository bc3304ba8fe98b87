"""A code of two numbers as a map: what each point decodes to, what lies outside, and where the holes are.

An autoencoder is only asked about the codes of its training images. Between them it may decode anything. A penalty
λ ‖z‖² on the codes draws them together; a VAE goes on from there (Kingma & Welling 2014; Ghosh et al. 2020, section 3).
"""

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.backend import to_device_of
from scratchnet.demo import arguments, command, digits, expect, file_name, fit
from scratchnet.initializers import he_normal
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder, reconstruction_loss

SECONDS = {"quick": "25 seconds", "default": "2 minutes", "full": "6 minutes"}
SIZES = {"quick": (2_000, 500, 6), "default": (10_000, 2_000, 20), "full": (60_000, 10_000, 15)}
EXPECTED = {"quick": 50, "default": 38, "full": 32}  # squared error per test image of the plain one, at most
PENALTIES = {"plain": 0.0, "L2 on the code": 1.0}  # λ of λ ‖z‖² in nats
SIDE = 20  # pictures along one side of the map


def main():
    args = arguments("code_plane", "The plane of two-number codes, with and without a penalty on them.", SECONDS)
    n_train, n_test, epochs = SIZES[args.scale]
    train, _, test, labels = digits(args, n_train, n_test)

    models = {name: fit_plane(args, name, weight, train, np.random.default_rng(args.seed), epochs)
              for name, weight in PENALTIES.items()}
    codes = {name: in_batches(model.encode, test) for name, model in models.items()}
    plotting.scatter({name: z[:2_000] for name, z in codes.items()}, labels[:2_000], "Test images as two numbers",
                     args.out / "codes.png")
    for name, model in models.items():
        show_map(args.out, name, model, codes[name], test)
    show_outside(args.out, models, codes, test)
    rows = show_holes(args.out, models, codes, test)
    print("\n" + plotting.table(rows, ["autoencoder", "squared error per test image", "spread of codes",
                                       "returns beside its code, %"], args.out / "holes.md"))
    print("Trained too briefly to learn much from the table." if args.scale == "quick" else LESSON)
    print(f"\nPictures: {args.out}/codes.png, map-*.png, outside.png, holes-*.png; table: holes.md")
    expect("Squared error per test image of the plain one", rows[0][1], high=EXPECTED[args.scale])


LESSON = """A point z is decoded to a picture, and the picture encoded again, to z′. Where training images have their
codes, z′ is close to z. Elsewhere the decoder draws something that the encoder never saw: |z′ − z| is large there, the
holes. "Returns beside its code" is the share of the used rectangle where |z′ − z| is more than a tenth of its
diagonal."""


def fit_plane(args, name, weight, images, rng, epochs):
    """784-500-250-2 and back; loss: cross-entropy + λ ‖z‖²"""
    model = Autoencoder([784, 500, 250, 2], rng=rng, activation=ops.relu, init=he_normal)

    def loss(x):
        z = model.encode(x)
        return reconstruction_loss(model.decode(z), x) + weight * ops.square(z).sum() / len(x)

    return fit(args, name, model, loss, images, rng=rng, epochs=epochs)


def rectangle(z):
    """(left, right, bottom, top) between which lie 98 % of the codes along either axis."""
    low, high = np.quantile(z, [0.01, 0.99], axis=0)
    return low[0], high[0], low[1], high[1]


def points_of(extent, side):
    """A grid over a rectangle, the lowest row first: (side², 2), and the coordinates of columns and rows"""
    columns, rows = np.linspace(*extent[:2], side), np.linspace(*extent[2:], side)
    return np.array([(a, b) for b in rows for a in columns], dtype=np.float32), columns, rows


def pictures(model, z, like):
    """What codes z (N, 2) decode to, (N, 28, 28, 1)"""
    return in_batches(lambda z: ops.sigmoid(model.decode(z)).reshape(-1, 28, 28, 1), to_device_of(z, like))


def show_map(out, name, model, z, like):
    grid, columns, rows = points_of(rectangle(z), SIDE)
    drawn = pictures(model, grid, like).reshape(SIDE, SIDE, 28, 28, 1)[::-1].reshape(-1, 28, 28, 1)  # top row first
    plotting.image_grid(drawn, SIDE, f"What each point of the plane decodes to ({name})",
                        out / f"map-{file_name(name)}.png", "z₁", "z₂",
                        [f"{c:.1f}" for c in columns], [f"{r:.1f}" for r in rows[::-1]])


def show_outside(out, models, codes, like):
    """A straight way from the middle of the codes out of the used rectangle, to eight times as far."""
    steps, rows = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8], []
    for name, model in models.items():
        left, right, bottom, top = rectangle(codes[name])
        middle, corner = np.array([(left + right) / 2, (bottom + top) / 2]), np.array([right, top])
        rows.append(pictures(model, np.array([middle + s * (corner - middle) for s in steps], np.float32), like))
    plotting.image_grid(np.concatenate(rows), len(steps), "From the middle of the codes outwards; used codes end at 1",
                        out / "outside.png", "distance from the middle", "", [f"{s:g}" for s in steps], list(models))


def show_holes(out, models, codes, test):
    """|z′ − z| over the used rectangle, as a share of its diagonal; gives the rows of the table."""
    rows = []
    for name, model in models.items():
        extent = rectangle(codes[name])
        grid, *_ = points_of(extent, 80)
        back = in_batches(model.encode, to_device_of(pictures(model, grid, test), test))
        diagonal = np.hypot(extent[1] - extent[0], extent[3] - extent[2])
        moved = np.linalg.norm(back - grid, axis=1) / diagonal
        plotting.heat_map({name: np.minimum(moved, 0.5).reshape(80, 80)}, extent,
                          "Holes: how far a decoded point is from its code", out / f"holes-{file_name(name)}.png",
                          "|z′ − z| / diagonal of the rectangle (cut off at ½)", codes[name][:2_000])
        error = metrics.squared_error_per_image(test, in_batches(model.restore, test))
        rows.append([name, error, float(np.sqrt(codes[name].var(axis=0).mean())), float(100 * np.mean(moved > 0.1))])
    return rows


if __name__ == "__main__":
    command(main)
