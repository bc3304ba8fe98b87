"""Autoencoders that repair: trained on spoilt images with the clean ones as the target (Vincent et al. 2008).

Then why it works, in the plane: the best repair r(x) of points with added noise of standard deviation σ moves each of
them up the slope of the smoothed density p_σ, and by exactly  r(x) − x = σ² ∇ ln p_σ(x)  (Tweedie's formula, Efron
2011; for small σ Alain & Bengio 2014, theorem 1; as a way to learn the score Vincent 2011).
"""

import numpy as np

from scratchnet import losses, metrics, ops, plotting
from scratchnet.data import corruption, toy2d
from scratchnet.demo import arguments, command, digits, expect, fit, mover
from scratchnet.initializers import he_normal
from scratchnet.layers import Dense, Sequential
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder

SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "4 minutes"}
SIZES = {  # training images, test images, epochs; points in the plane, epochs
    "quick": (2_000, 500, 4, 20_000, 5), "default": (10_000, 2_000, 15, 50_000, 20),
    "full": (60_000, 10_000, 4, 100_000, 40)}
KINDS = {  # name → (what is done to an image, how much of it in training)
    "masking": (corruption.masking, 0.4),
    "salt and pepper": (corruption.salt_and_pepper, 0.2),
    "Gaussian": (corruption.gaussian, 0.4)}
LEVELS = np.linspace(0, 0.8, 9)  # in the test
STD, SIGMA = 0.2, 0.3  # of the Gaussians on a ring, and of the noise added to their points
EXPECTED = {"quick": 0.7, "default": 0.1, "full": 0.03}  # squared error of the arrows over squared length, at most


def main():
    args = arguments("denoising", "Denoising autoencoders on MNIST, and the score of a density in the plane.", SECONDS)
    n_train, n_test, epochs, n_points, plane_epochs = SIZES[args.scale]
    train, _, test, _ = digits(args, n_train, n_test)
    rng = np.random.default_rng(args.seed)

    plain = fit_denoiser(args, "plain", lambda x: x, train, rng, epochs)
    denoisers = {}
    for kind, (spoil, level) in KINDS.items():
        denoisers[kind] = fit_denoiser(args, kind, lambda x, spoil=spoil, level=level: spoil(x, level, rng), train, rng,
                                       epochs)
    show_repairs(args.out, denoisers, test)
    compare(args.out, plain, denoisers, test)
    error = show_score(args, n_points, plane_epochs)

    print(f"\nPictures: {args.out}/repaired.png, levels.png, score.png; table: levels.md")
    expect("Arrows r(x) − x against σ² ∇ ln p_σ(x), weighed by p_σ: squared error over squared length", error,
           high=EXPECTED[args.scale])


def fit_denoiser(args, name, spoil, images, rng, epochs):
    """784-500-784; the loss compares what is made of a spoilt image with the clean one."""
    model = Autoencoder([784, 500], rng=rng, code=ops.relu, init=he_normal)
    return fit(args, name, model, lambda x: model.loss(spoil(x), target=x), images, rng=rng, epochs=epochs)


def show_repairs(out, denoisers, test):
    rows, labels, rng = [], [], np.random.default_rng(0)
    for kind, (spoil, level) in KINDS.items():
        spoilt = spoil(test[:12], level, rng)
        rows += [test[:12], spoilt, in_batches(denoisers[kind].restore, spoilt)]
        labels += ["test image", f"{kind}, {level}", "repaired"]
    plotting.image_rows(rows, labels, "Spoilt digits, and what denoising autoencoders make of them",
                        out / "repaired.png")


def compare(out, plain, denoisers, test):
    """Squared error to the clean image, over the level of corruption: the plain autoencoder and each denoiser."""
    lines, rows = {}, []
    for kind, (spoil, level) in KINDS.items():
        for name, model in (("plain", plain), ("denoiser", denoisers[kind])):
            rng, errors = np.random.default_rng(0), []
            for amount in LEVELS:
                spoilt = spoil(test, amount, rng)
                errors.append(metrics.squared_error_per_image(test, in_batches(model.restore, spoilt)))
            lines[f"{kind}: {name}"] = LEVELS, errors
            rows.append([kind, name, errors[0], errors[np.argmin(np.abs(LEVELS - level))]])
    plotting.curves(lines, "level: share of pixels, or σ", "squared error per test image",
                    "Repair of spoilt digits, over how much they are spoilt", out / "levels.png")
    print("\n" + plotting.table(rows, ["corruption", "autoencoder", "error, nothing spoilt", "error at its level"],
                                out / "levels.md"))


def show_score(args, n, epochs):
    """A denoiser of points, its arrows, and the exact ones; gives their mean squared difference, relative."""
    rng = np.random.default_rng(args.seed)
    points, _ = toy2d.ring(n, rng, radius=1.0, std=STD)
    net = Sequential(Dense(2, 128, rng=rng), ops.silu, Dense(128, 128, rng=rng), ops.silu, Dense(128, 2, rng=rng))

    def loss(x):
        return losses.mse(net(corruption.gaussian(x, SIGMA, rng)), x, "mean")

    fit(args, "plane", net, loss, mover(args.device)(points), rng=rng, epochs=epochs)
    line = np.linspace(-2, 2, 81)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32)
    density, score = smoothed(grid)
    arrows = in_batches(net, mover(args.device)(grid)) - grid
    exact = SIGMA**2 * score
    error = np.sum(density * np.sum((arrows - exact)**2, axis=1)) / np.sum(density * np.sum(exact**2, axis=1))

    some = (np.arange(81) % 5 == 0)
    some = (some[:, None] & some[None, :]).ravel() & (density > 1e-2 * density.max())
    heat = density.reshape(81, 81)
    plotting.heat_map({"r(x) − x, learned": heat, "σ² ∇ ln p_σ(x), exact": heat}, (-2, 2, -2, 2),
                      f"Where a denoiser moves points, over the smoothed density (σ = {SIGMA})", args.out / "score.png",
                      "p_σ(x)", xlabel="x₁", ylabel="x₂",
                      arrows={"r(x) − x, learned": (grid[some], arrows[some]),
                              "σ² ∇ ln p_σ(x), exact": (grid[some], exact[some])})
    return error


def smoothed(x):
    """p_σ(x) = 1/8 Σₖ N(x; μₖ, (s² + σ²) 1), a ring of Gaussians with noise added, and ∇ ln p_σ(x) = Σₖ P(k|x) (μₖ − x)
    / (s² + σ²)        x (N, 2) → (N,), (N, 2)"""
    variance, to_center = STD**2 + SIGMA**2, toy2d.ring_centers(8, 1.0) - x[:, None]      # (N, 8, 2)
    each = np.exp(-0.5 * (to_center**2).sum(axis=2) / variance) / (8 * 2 * np.pi * variance)
    density = each.sum(axis=1)
    return density, (each[:, :, None] * to_center).sum(axis=1) / density[:, None] / variance


if __name__ == "__main__":
    command(main)
