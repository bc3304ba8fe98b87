"""A dense VAE on binarised digits: reconstructions, samples, interpolations, and the map of a code of two numbers.

A VAE is trained to fill the space of codes, so that a code drawn from N(0, 1) decodes to a digit. 128 numbers give the
better bound of ln p(x). Two numbers are few enough to show all codes on one page (Kingma & Welling 2014).
"""

from typing import NamedTuple

import numpy as np

from scratchnet import data, no_grad, ops, plotting
from scratchnet.backend import standard_normal, to_device_of
from scratchnet.demo import Frames, arguments, command, expect, mnist, mover, too_short
from scratchnet.models.vaes import DenseVAE, evaluate
from scratchnet.optimizers import Adam
from scratchnet.training import Run


class Scale(NamedTuple):
    train: int  # images
    test: int
    epochs: int
    every: int  # steps between two frames of the GIF


SECONDS = {"quick": "10 seconds", "default": "1 minute", "full": "5 minutes"}
SCALES = {"quick": Scale(train=2_000, test=500, epochs=10, every=20),
          "default": Scale(train=10_000, test=2_000, epochs=40, every=200),
          "full": Scale(train=60_000, test=10_000, epochs=20, every=200)}
EXPECTED = {"quick": 200, "default": 117, "full": 107}  # test −ELBO in nats, at most
SIDE = 15  # pictures along one side of the map


def main():
    args = arguments("dense_vae", "Trains two dense VAEs, codes of 128 and of 2 numbers, on binarised MNIST.", SECONDS)
    scale, digits, device = SCALES[args.scale], mnist(args), mover(args.device)
    train, test = device(digits.train_images[:scale.train]), digits.test_images[:scale.test]
    test, labels = device(data.binarize(test, np.random.default_rng(0))), digits.test_labels[:scale.test]
    rng = np.random.default_rng(args.seed)

    bounds = {}
    for latent in (128, 2):
        model = DenseVAE(latent=latent, rng=rng)
        model = model.to_gpu() if args.device == "gpu" else model
        print(model)
        train_vae(args, f"latent{latent}", model, train, scale, rng)
        bounds[latent], _, kl = evaluate(model, test, rng)
        print(f"{latent} numbers: test −ELBO {bounds[latent]:.2f} nats per image, of which KL {kl:.2f}")
        if latent == 128:
            show_pictures(args.out, model, test, labels, rng)
        else:
            show_map(args.out, model, test, labels)
    plotting.training_curves({f"{latent} numbers": (args.out / f"latent{latent}-log.csv", "loss") for latent in bounds},
                             "−ELBO, nats per image", "Dense VAEs on binarised MNIST", args.out / "training.png",
                             ylim=(None, 250))

    if args.scale == "quick":
        too_short("a code drawn from N(0, 1) decodes to a digit")
    print(f"\nPictures: {args.out}/reconstructions.png, samples.png, interpolation.png, map.png, codes.png, "
          f"training.png, samples.gif")
    expect("Test −ELBO with 128 numbers", bounds[128], high=EXPECTED[args.scale], unit=" nats per image")


def train_vae(args, name, model, images, scale, rng):
    """Maximise the ELBO. Every epoch draws black and white pixels anew from grey images ("dynamic" binarisation)."""
    optimizer = Adam(model.parameters(), lr=1e-3)
    run = Run(args.out, name=name, model=model, optimizer=optimizer, rng=rng, resume=args.resume,
              anomaly=args.detect_anomaly, world=args.world, settings={"seed": args.seed, "scale": args.scale})
    frames = Frames(args.out / f"frames-{name}", args.resume)
    latent = model.mean.b.size
    codes = standard_normal(np.random.default_rng(0), (40, latent), like=images)  # the same in every frame

    for x in run.batches(images, size=100, epochs=scale.epochs):
        x = data.binarize(x, rng)                       # x ~ Bernoulli(grey value)
        loss, reconstruction, kl = model.loss(x, rng)   # −ELBO = E[−ln p(x|z)] + KL(q(z|x) ‖ N(0, 1))
        optimizer.zero_grad()
        loss.backward()                                 # ∂loss/∂weights
        args.world.average(optimizer)                   # its mean over the processes that mpiexec has started
        optimizer.step()
        run.log(loss=loss, reconstruction=reconstruction, kl=kl)

        if run.every(scale.every):
            frames.add(run.step + 1, pictures(model, codes), 10)
    if latent == 128:
        frames.save_gif(args.out / "samples.gif", "Samples of a dense VAE, z ~ N(0, 1)")


def pictures(model, z):
    """p(x = 1 | z) for each pixel, (N, 28, 28, 1)"""
    with no_grad():
        return ops.sigmoid(model.decode(z))


def show_pictures(out, model, test, labels, rng):
    with no_grad():
        mean, _ = model.encode(test[:12])
    plotting.image_rows([test[:12], pictures(model, mean)], ["test image", "reconstruction"],
                        "Reconstructions from codes of 128 numbers", out / "reconstructions.png")
    z = standard_normal(rng, (100, mean.shape[1]), like=mean.data)
    plotting.image_grid(pictures(model, z), 20, "Samples of a dense VAE, z ~ N(0, 1)", out / "samples.png")

    ends = [(i, i + 1) for i in (0, 2, 4, 6)]
    t = to_device_of(np.linspace(0, 1, 12, dtype=np.float32)[:, None], mean.data)
    codes = [(1 - t) * mean.data[i] + t * mean.data[j] for i, j in ends]     # z(t) = (1 − t) z₀ + t z₁
    plotting.image_rows([pictures(model, z) for z in codes], [f"{labels[i]} → {labels[j]}" for i, j in ends],
                        "Decoded along straight lines between the codes of test images", out / "interpolation.png")


def show_map(out, model, test, labels):
    """The plane of codes: pictures decoded at a grid of points, and the test images at their means."""
    ticks = np.linspace(-3, 3, SIDE)
    z = np.array([(z1, z2) for z2 in ticks[::-1] for z1 in ticks], dtype=np.float32)
    plotting.image_grid(pictures(model, to_device_of(z, test)), SIDE, "The picture at each point of the plane of codes",
                        out / "map.png", "z₁", "z₂", ticks, ticks[::-1])
    with no_grad():
        mean, _ = model.encode(test)
    plotting.scatter({"": mean}, labels, "Codes of test images (means of q), drawn as their digits", out / "codes.png")


if __name__ == "__main__":
    command(main)
