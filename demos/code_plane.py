"""A code of two numbers as a map: the picture at each point, the pictures far outside, and the holes in between.

An autoencoder learns only from the codes of its training images. Between them its decoder may draw anything. A penalty
λ ‖z‖² draws the codes together and leaves smaller holes (Ghosh et al. 2020, section 3). A VAE goes further and fills
the plane with noise around each code (Kingma & Welling 2014).
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.backend import to_device_of
from scratchnet.demo import arguments, command, digits, expect, file_name, fit, too_short
from scratchnet.initializers import he_normal
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder, reconstruction_loss


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int


SECONDS = {"quick": "25 seconds", "default": "2 minutes", "full": "6 minutes"}
SCALES = {"quick": Scale(train=2_000, test=500, epochs=6), "default": Scale(train=10_000, test=2_000, epochs=20),
          "full": Scale(train=60_000, test=10_000, epochs=15)}
EXPECTED = {"quick": 50, "default": 38, "full": 32}  # squared error per test image of the plain autoencoder, at most
PENALTIES = {"plain": 0.0, "L2 on the code": 1.0}  # λ of λ ‖z‖² in nats
SIDE = 20  # pictures along one side of the map
HOLE = 0.1  # z lies in a hole if |z′ − z| exceeds this share of the diagonal


def main():
    args = arguments("code_plane", "The plane of two-number codes, with and without a penalty on them.", SECONDS)
    scale = SCALES[args.scale]
    train, _, test, labels = digits(args, scale.train, scale.test)

    models = {name: train_plane(args, name, weight, train, np.random.default_rng(args.seed), scale.epochs)
              for name, weight in PENALTIES.items()}
    codes = {name: in_batches(model.encode, test) for name, model in models.items()}
    show_codes(args.out, codes, labels)
    for name, model in models.items():
        show_map(args.out, name, model, codes[name], test)
    show_outside(args.out, models, codes, test)
    holes = show_holes(args.out, models, codes, test)
    rows = [[name, metrics.squared_error_per_image(test, in_batches(model.restore, test)),
             float(np.sqrt(codes[name].var(axis=0).mean())), 100 * holes[name]] for name, model in models.items()]
    print("\n" + plotting.table(rows, ["autoencoder", "squared error per test image", "standard deviation of codes",
                                       "holes, % of the rectangle"], args.out / "holes.md"))
    if args.scale == "quick":
        too_short("the penalty shrinks the holes")
    else:
        print(LESSON)
    print(f"\nPictures: {args.out}/codes.png, map-*.png, outside.png, holes.png; table: holes.md")
    expect("Squared error per test image of the plain autoencoder", rows[0][1], high=EXPECTED[args.scale])


LESSON = f"""Decode a point z to a picture and encode the picture again, to z′. Near the codes of training images z′ is
close to z. Elsewhere the decoder draws something that the encoder never saw, and |z′ − z| is large: a hole. The table
counts as holes the share of the rectangle of codes where |z′ − z| is more than {HOLE:g} of its diagonal."""


def train_plane(args, name, weight, images, rng, epochs):
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
    """The pictures (N, 28, 28, 1) of codes z (N, 2)"""
    return in_batches(lambda z: ops.sigmoid(model.decode(z)).reshape(-1, 28, 28, 1), to_device_of(z, like))


def show_codes(out, codes, labels):
    """Both planes on one scale, to show that the penalty shrinks the codes; then the shrunken codes enlarged."""
    panels = {name: z[:2_000] for name, z in codes.items()}
    small, z = list(panels.items())[-1]
    plotting.scatter(panels | {f"{small}, enlarged": z}, labels[:2_000], "Codes of test images, drawn as their digits",
                     out / "codes.png", shared=list(panels))


def show_map(out, name, model, z, like):
    grid, columns, rows = points_of(rectangle(z), SIDE)
    drawn = pictures(model, grid, like).reshape(SIDE, SIDE, 28, 28, 1)[::-1].reshape(-1, 28, 28, 1)  # top row first
    plotting.image_grid(drawn, SIDE, f"The picture at each point of the plane of codes ({name})",
                        out / f"map-{file_name(name)}.png", "z₁", "z₂", columns, rows[::-1])


def show_outside(out, models, codes, like):
    """Pictures along a straight line from the middle of the codes through a corner of their rectangle, far beyond."""
    steps, rows = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8], []
    for name, model in models.items():
        left, right, bottom, top = rectangle(codes[name])
        middle, corner = np.array([(left + right) / 2, (bottom + top) / 2]), np.array([right, top])
        rows.append(pictures(model, np.array([middle + s * (corner - middle) for s in steps], np.float32), like))
    plotting.image_grid(np.concatenate(rows), len(steps),
                        "Decoded along a line from the middle of the codes to far outside", out / "outside.png",
                        "distance from the middle (1: the corner of the rectangle of codes)", "",
                        [f"{s:g}" for s in steps], list(models))


def show_holes(out, models, codes, test):
    """Draw |z′ − z| over the rectangle of codes, as a share of its diagonal. Returns name → the share of holes."""
    extents = {name: rectangle(z) for name, z in codes.items()}
    moved = {}
    for name, model in models.items():
        left, right, bottom, top = extents[name]
        grid, *_ = points_of(extents[name], 80)
        back = in_batches(model.encode, to_device_of(pictures(model, grid, test), test))
        moved[name] = np.linalg.norm(back - grid, axis=1) / np.hypot(right - left, top - bottom)
    plotting.heat_map({name: m.reshape(80, 80) for name, m in moved.items()}, extents,
                      "Holes: a code z, decoded and encoded again, is moved to z′ (dots: codes of test images)",
                      out / "holes.png", "|z′ − z| / diagonal of the rectangle",
                      {name: z[:2_000] for name, z in codes.items()}, limits=(0, 0.3))
    return {name: float(np.mean(m > HOLE)) for name, m in moved.items()}


if __name__ == "__main__":
    command(main)
