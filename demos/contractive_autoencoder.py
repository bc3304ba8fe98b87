"""Codes that keep still: the contractive autoencoder (Rifai et al. 2011) punishes ‖∂h/∂x‖², how much a code moves when
its image does.

For one layer of sigmoids the penalty has a closed form. For any other encoder it takes the gradient of a gradient; for
one layer the two must agree, in value and in what they do to the weights.
"""

import numpy as np

from scratchnet import grad, metrics, ops, penalties, plotting
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, fit
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import Autoencoder, reconstruction_loss

SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "2 minutes"}
SIZES = {"quick": (2_000, 500, 8), "default": (10_000, 2_000, 25), "full": (60_000, 10_000, 10)}
UNITS, WEIGHT = 100, 3.0  # size of the code; λ of λ ‖∂h/∂x‖²
IMAGES = 50  # whose Jacobians are taken


def main():
    args = arguments("contractive_autoencoder", "A penalty on the Jacobian of the encoder.", SECONDS)
    n_train, n_test, epochs = SIZES[args.scale]
    train, _, test, _ = digits(args, n_train, n_test)

    models = {name: fit_contractive(args, name, weight, train, epochs)
              for name, weight in (("plain", 0.0), ("contractive", WEIGHT))}
    difference = compare_penalties(models["contractive"], test[:10])
    values = {name: singular_values(model, test[:IMAGES]) for name, model in models.items()}
    rows = [[name, metrics.squared_error_per_image(test, in_batches(models[name].restore, test)), float(s[:, 0].mean()),
             float((s**2).sum(axis=1).mean()), float((s > 0.1 * s[:, :1]).sum(axis=1).mean())]
            for name, s in values.items()]
    print("\n" + plotting.table(rows, ["autoencoder", "squared error per test image", "largest singular value",
                                       "‖∂h/∂x‖²", "directions above a tenth of it"], args.out / "jacobian.md"))
    index = np.arange(1, UNITS + 1)
    plotting.curves({name: (index, s.mean(axis=0), s.std(axis=0)) for name, s in values.items()}, "number",
                    "singular value", f"Singular values of ∂h/∂x, mean and spread over {IMAGES} test images",
                    args.out / "singular-values.png")
    print(f"\nPicture: {args.out}/singular-values.png; table: jacobian.md")
    expect("Closed form against the gradient of a gradient, largest difference of their gradients, relative",
           difference, high=1e-4)


def fit_contractive(args, name, weight, images, epochs):
    """784-100-784 with sigmoids and tied weights; loss: cross-entropy + λ ‖∂h/∂x‖²"""
    rng = np.random.default_rng(args.seed)
    model = Autoencoder([784, UNITS], rng=rng, code=ops.sigmoid, tied=True)

    def loss(x):
        h = model.encode(x)
        return (reconstruction_loss(model.decode(h), x)
                + weight * penalties.contraction_of_sigmoid(h, model.down[0].w))

    return fit(args, name, model, loss, images, rng=rng, epochs=epochs, lr=3e-3)


def compare_penalties(model, x):
    """Both forms of the penalty, printed; and the largest difference of their gradients by the encoder's weights and
    bias, relative to the largest entry."""
    layer = model.down[0]
    forms = penalties.contraction_of_sigmoid(model.encode(x), layer.w), penalties.contraction(model.encode, x)
    print("\n‖∂h/∂x‖² of ten images: {:.6f} in closed form, {:.6f} as the gradient of outputs".format(
        *(form.item() for form in forms)))
    closed, twice = ([to_cpu(g.data) for g in grad(form, [layer.w, layer.b])] for form in forms)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(closed, twice, strict=True))


def singular_values(model, x):
    """Of ∂h/∂x for each image, the largest first: (N, units)"""
    return np.linalg.svd(to_cpu(penalties.jacobian(model.encode, x)), compute_uv=False)


if __name__ == "__main__":
    command(main)
