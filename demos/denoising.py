"""Autoencoders that repair: corrupted images go in, and the clean ones are the target (Vincent et al. 2008).

The plane shows why this works. Add Gaussian noise of standard deviation σ to points, and let q be the density of the
noisy points. The best repair r(x) moves each point up the slope of q, by exactly  r(x) − x = σ² ∇ ln q(x)  (Tweedie's
formula, Efron 2011; for small σ Alain & Bengio 2014, theorem 1). So a denoiser learns the score (Vincent 2011).
"""

from typing import NamedTuple

import numpy as np

from scratchnet import losses, metrics, ops, plotting
from scratchnet.data import corruption, toy2d
from scratchnet.demo import arguments, command, digits, expect, fit, mover, too_short
from scratchnet.initializers import he_normal
from scratchnet.layers import Dense, Sequential
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int
    points: int  # in the plane
    plane_epochs: int


class Corruption(NamedTuple):
    apply: object  # (images, level, rng) → corrupted images
    level: float   # in training: the share of pixels, or σ
    words: str


SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "4 minutes"}
SCALES = {"quick": Scale(train=2_000, test=500, epochs=4, points=20_000, plane_epochs=5),
          "default": Scale(train=10_000, test=2_000, epochs=15, points=50_000, plane_epochs=20),
          "full": Scale(train=60_000, test=10_000, epochs=4, points=100_000, plane_epochs=40)}
CORRUPTIONS = {"masking": Corruption(corruption.masking, 0.4, "40 % of pixels"),
               "salt and pepper": Corruption(corruption.salt_and_pepper, 0.2, "20 % of pixels"),
               "Gaussian noise": Corruption(corruption.gaussian, 0.4, "σ = 0.4")}
LEVELS = np.linspace(0, 0.8, 9)  # in the test
STD, SIGMA = 0.2, 0.3  # of the Gaussians on a ring, and of the noise added to their points
EXPECTED = {"default": 0.1, "full": 0.03}  # squared error of the arrows over their squared length, at most


def main():
    args = arguments("denoising", "Denoising autoencoders on MNIST, and the score of a density in the plane.", SECONDS)
    scale = SCALES[args.scale]
    train, _, test, _ = digits(args, scale.train, scale.test)
    rng = np.random.default_rng(args.seed)

    plain = train_denoiser(args, "plain", lambda x: x, train, rng, scale.epochs)
    denoisers = {}
    for kind, (apply, level, _) in CORRUPTIONS.items():
        denoisers[kind] = train_denoiser(args, kind, lambda x, apply=apply, level=level: apply(x, level, rng), train,
                                         rng, scale.epochs)
    show_repairs(args.out, denoisers, test)
    compare(args.out, plain, denoisers, test)
    error = show_score(args, scale)

    print(f"\nPictures: {args.out}/repaired.png, levels.png, score.png; table: levels.md")
    if args.scale == "quick":
        too_short("denoisers repair digits and move points up the slope of the density")
    else:
        expect("Squared error of the arrows r(x) − x, weighted by q, over the squared length of σ² ∇ ln q(x)", error,
               high=EXPECTED[args.scale])


def train_denoiser(args, name, corrupt, images, rng, epochs):
    """784-500-784; the loss compares the repaired image with the clean one."""
    model = Autoencoder([784, 500], rng=rng, code=ops.relu, init=he_normal)
    return fit(args, name, model, lambda x: model.loss(corrupt(x), target=x), images, rng=rng, epochs=epochs)


def show_repairs(out, denoisers, test):
    rows, labels, rng = [test[:12]], ["test image"], np.random.default_rng(0)
    for kind, (apply, level, words) in CORRUPTIONS.items():
        corrupted = apply(test[:12], level, rng)
        rows += [corrupted, in_batches(denoisers[kind].restore, corrupted)]
        labels += [f"{kind}, {words}", "repaired"]
    plotting.image_rows(rows, labels, "Corrupted digits, and their repair by denoising autoencoders",
                        out / "repaired.png")


def compare(out, plain, denoisers, test):
    """Squared error to the clean image over the level of corruption, of the plain autoencoder and of each denoiser."""
    lines, rows = {}, []
    for kind, (apply, level, words) in CORRUPTIONS.items():
        for name, model in (("denoiser", denoisers[kind]), ("plain", plain)):
            rng, errors = np.random.default_rng(0), []
            for amount in LEVELS:
                corrupted = apply(test, amount, rng)
                errors.append(metrics.squared_error_per_image(test, in_batches(model.restore, corrupted)))
            lines[f"{kind}: {name}"] = LEVELS, errors
            rows.append([f"{kind}, {words}", name, errors[0], errors[np.argmin(np.abs(LEVELS - level))]])
    plotting.curves(lines, "level of corruption: share of pixels, or σ of Gaussian noise",
                    "squared error per test image", "Denoisers and the plain autoencoder on corrupted digits",
                    out / "levels.png", per_colour=2)
    print("\n" + plotting.table(rows, ["corruption", "autoencoder", "squared error on clean images",
                                       "on corrupted images"], out / "levels.md"))


def show_score(args, scale):
    """A denoiser of points: its arrows beside the exact ones; gives their squared difference, relative."""
    rng = np.random.default_rng(args.seed)
    points, _ = toy2d.ring(scale.points, rng, radius=1.0, std=STD)
    net = Sequential(Dense(2, 128, rng=rng), ops.silu, Dense(128, 128, rng=rng), ops.silu, Dense(128, 2, rng=rng))

    def loss(x):
        return losses.mse(net(corruption.gaussian(x, SIGMA, rng)), x, "mean")

    fit(args, "plane", net, loss, mover(args.device)(points), rng=rng, epochs=scale.plane_epochs)
    line = np.linspace(-2, 2, 81)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32)
    density, score = smoothed(grid)
    arrows = in_batches(net, mover(args.device)(grid)) - grid
    exact = SIGMA**2 * score
    error = np.sum(density * np.sum((arrows - exact)**2, axis=1)) / np.sum(density * np.sum(exact**2, axis=1))

    some = np.arange(81) % 5 == 0
    some = (some[:, None] & some[None, :]).ravel() & (density > 5e-2 * density.max())
    heat = density.reshape(81, 81)
    plotting.heat_map({"learned: r(x) − x": heat, "exact: σ² ∇ ln q(x)": heat}, (-2, 2, -2, 2),
                      f"Where a denoiser moves points, over the density q of noisy points (σ = {SIGMA})",
                      args.out / "score.png", "q(x)", xlabel="x₁", ylabel="x₂",
                      arrows={"learned: r(x) − x": (grid[some], arrows[some]),
                              "exact: σ² ∇ ln q(x)": (grid[some], exact[some])})
    return error


def smoothed(x):
    """q(x) = 1/8 Σₖ N(x; μₖ, (s² + σ²) 1), a ring of Gaussians with noise added, and ∇ ln q(x) = Σₖ P(k|x) (μₖ − x) /
    (s² + σ²)        x (N, 2) → (N,), (N, 2)"""
    variance, to_center = STD**2 + SIGMA**2, toy2d.ring_centers(8, 1.0) - x[:, None]      # (N, 8, 2)
    each = np.exp(-0.5 * (to_center**2).sum(axis=2) / variance) / (8 * 2 * np.pi * variance)
    density = each.sum(axis=1)
    return density, (each[:, :, None] * to_center).sum(axis=1) / density[:, None] / variance


if __name__ == "__main__":
    command(main)
