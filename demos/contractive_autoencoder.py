"""Codes that keep still: the contractive autoencoder penalises ‖∂h/∂x‖², how far a code moves when its image changes.

For one layer of sigmoids the penalty has a closed form (Rifai et al. 2011). For any other encoder it takes the gradient
of a gradient. On one layer the two must agree, in value and in the gradient for the weights.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import grad, metrics, ops, penalties, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, fit
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder, reconstruction_loss


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int


SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "2 minutes"}
SCALES = {"quick": Scale(train=2_000, test=500, epochs=8), "default": Scale(train=10_000, test=2_000, epochs=25),
          "full": Scale(train=60_000, test=10_000, epochs=10)}
UNITS = 100  # of the code
WEIGHTS = {"plain": 0.0, "contractive": 3.0}  # λ of λ ‖∂h/∂x‖²
IMAGES = 50  # whose Jacobians are computed


def main():
    args = arguments("contractive_autoencoder", "A penalty on the Jacobian of the encoder.", SECONDS)
    scale = SCALES[args.scale]
    train, _, test, _ = digits(args, scale.train, scale.test)

    models = {name: train_contractive(args, name, weight, train, scale.epochs) for name, weight in WEIGHTS.items()}
    difference = compare_penalties(models["contractive"], test[:10])
    values = {name: singular_values(model, test[:IMAGES]) for name, model in models.items()}
    rows = [[name, metrics.squared_error_per_image(test, in_batches(models[name].restore, test)),
             float((s**2).sum(axis=1).mean()), float(s[:, 0].mean()), float((s > 0.1 * s[:, :1]).sum(axis=1).mean())]
            for name, s in values.items()]
    print("\n" + plotting.table(rows, ["autoencoder", "squared error per test image", "‖∂h/∂x‖²",
                                       "largest singular value", "singular values above a tenth of it"],
                                args.out / "jacobian.md"))
    show_singular_values(args.out, values)
    print(f"Picture: {args.out}/singular-values.png; table: jacobian.md")
    expect("Largest relative difference between the gradients of the two forms of ‖∂h/∂x‖²", difference, high=1e-4)


def train_contractive(args, name, weight, images, epochs):
    """784-100-784 with sigmoids and tied weights; loss: cross-entropy + λ ‖∂h/∂x‖²"""
    rng = np.random.default_rng(args.seed)
    model = Autoencoder([784, UNITS], rng=rng, code=ops.sigmoid, tied=True)

    def loss(x):
        h = model.encode(x)
        return (reconstruction_loss(model.decode(h), x)
                + weight * penalties.contraction_of_sigmoid(h, model.down[0].w))

    return fit(args, name, model, loss, images, rng=rng, epochs=epochs, lr=3e-3)


def compare_penalties(model, x):
    """Print both forms of the penalty. Returns the largest difference of their gradients in the encoder's
    weights and bias, relative to the largest entry."""
    layer = model.down[0]
    forms = penalties.contraction_of_sigmoid(model.encode(x), layer.w), penalties.contraction(model.encode, x)
    print("\n‖∂h/∂x‖² of ten images: {:.6f} in closed form, {:.6f} from gradients of the outputs".format(
        *(form.item() for form in forms)))
    closed, twice = ([to_cpu(g.data) for g in grad(form, [layer.w, layer.b])] for form in forms)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(closed, twice, strict=True))


def singular_values(model, x):
    """The singular values of ∂h/∂x for each image, the largest first: (N, units)"""
    return np.linalg.svd(to_cpu(penalties.jacobian(model.encode, x)), compute_uv=False)


def show_singular_values(out, values):
    """Along how many directions does the code move with the image, and how far?"""
    index = np.arange(1, UNITS + 1)
    plotting.curves({name: (index, np.exp(np.log(np.maximum(s, 1e-12)).mean(axis=0))) for name, s in values.items()},
                    "rank of the singular value", "singular value",
                    f"Singular values of ∂h/∂x, geometric means over {IMAGES} test images",
                    out / "singular-values.png", yscale="log", ylim=(1e-3, None))


if __name__ == "__main__":
    command(main)
