"""A dense VAE on binarised digits: reconstructions, samples, an interpolation, and a code of two numbers as a map."""

import numpy as np

from scratchnet import data, no_grad, ops, plotting
from scratchnet.backend import standard_normal, to_device_of
from scratchnet.demo import Frames, arguments, command, expect, mnist, mover
from scratchnet.models.vaes import DenseVAE, evaluate
from scratchnet.optimizers import Adam
from scratchnet.training import Run

SECONDS = {"quick": "10 seconds", "default": "1 minute", "full": "5 minutes"}
SIZES = {  # training images, test images, epochs
    "quick": (2_000, 500, 10), "default": (10_000, 2_000, 40), "full": (60_000, 10_000, 20)}
EXPECTED = {"quick": 200, "default": 117, "full": 107}  # test −ELBO in nats, at most
SIDE = 15  # pictures to a side of the map


def main():
    args = arguments("dense_vae", "Trains two dense VAEs, codes of 128 and of 2 numbers, on binarised MNIST.", SECONDS)
    n_train, n_test, epochs = SIZES[args.scale]
    digits = mnist(args)
    device = mover(args.device)
    train, test = device(digits.train_images[:n_train]), digits.test_images[:n_test]
    test, labels = device(data.binarize(test, np.random.default_rng(0))), digits.test_labels[:n_test]
    rng = np.random.default_rng(args.seed)

    bounds = {}
    for latent in (128, 2):
        model = DenseVAE(latent=latent, rng=rng)
        model = model.to_gpu() if args.device == "gpu" else model
        print(model)
        fit(args, model, f"latent{latent}", train, rng, epochs)
        bounds[latent], _, kl = evaluate(model, test, rng)
        print(f"latent {latent}: test −ELBO {bounds[latent]:.2f} nats per image, of which KL {kl:.2f}")
        if latent == 128:
            show_pictures(args.out, model, test, rng)
        else:
            show_map(args.out, model, test, labels)
    show_training(args.out)

    print(f"\nPictures: {args.out}/reconstructions.png, samples.png, interpolation.png, map.png, codes.png, "
          f"training.png, samples.gif")
    expect("Test −ELBO with 128 numbers", bounds[128], high=EXPECTED[args.scale], unit=" nats per image")


def fit(args, model, name, images, rng, epochs):
    """Maximise the ELBO. Each pass sees the grey images drawn to black and white anew ("dynamic" binarisation)."""
    optimizer = Adam(model.parameters(), lr=1e-3)
    run = Run(args.out, name=name, model=model, optimizer=optimizer, rng=rng, resume=args.resume,
              anomaly=args.detect_anomaly, settings={"seed": args.seed, "scale": args.scale})
    frames = Frames(args.out / f"frames-{name}", args.resume)
    latent = model.mean.b.size
    codes = standard_normal(np.random.default_rng(0), (40, latent), like=images)

    for x in run.batches(images, size=100, epochs=epochs):
        if run.every(200 if args.scale != "quick" else 20):
            frames.add(run.step, pictures(model, codes), 10)

        x = data.binarize(x, rng)                       # x ~ Bernoulli(grey value)
        loss, reconstruction, kl = model.loss(x, rng)   # −ELBO = E[−ln p(x|z)] + KL(q(z|x) ‖ N(0, 1))
        optimizer.zero_grad()
        loss.backward()                                 # ∂loss/∂weights
        optimizer.step()
        run.log(loss=loss, reconstruction=reconstruction, kl=kl)
    if latent == 128:
        frames.save_gif(args.out / "samples.gif", "Samples of the dense VAE")


def pictures(model, z):
    """p(x = 1 | z) for each pixel, (N, 28, 28, 1)"""
    with no_grad():
        return ops.sigmoid(model.decode(z))


def show_training(out):
    logs = {f"{latent} numbers": plotting.read_log(out / f"latent{latent}-log.csv") for latent in (128, 2)}
    plotting.curves({name: (log["step"], log["loss"]) for name, log in logs.items()}, "training step",
                    "−ELBO, nats per image", "Dense VAE on binarised MNIST", out / "training.png")


def show_pictures(out, model, test, rng):
    with no_grad():
        mean, _ = model.encode(test[:12])
    plotting.image_rows([test[:12], pictures(model, mean)], ["test image", "reconstruction"],
                        "Reconstructions from codes of 128 numbers", out / "reconstructions.png")
    z = standard_normal(rng, (100, mean.shape[1]), like=mean.data)
    plotting.image_grid(pictures(model, z), 20, "Samples: z ~ N(0, 1)", out / "samples.png")

    with no_grad():
        ends = [model.encode(test[[i, i + 1]])[0].data for i in (0, 2, 4, 6)]
    t = to_device_of(np.linspace(0, 1, 12, dtype=np.float32)[:, None], ends[0])
    rows = [pictures(model, (1 - t) * a + t * b) for a, b in ends]     # z(t) = (1 − t) z₀ + t z₁
    plotting.image_rows(rows, ["", "", "", ""], "From one test image to another, in a straight line through the codes",
                        out / "interpolation.png")


def show_map(out, model, test, labels):
    """The plane of codes: decoded at a grid of points, and the test images at their means."""
    ticks = np.linspace(-3, 3, SIDE)
    z = np.array([(z1, z2) for z2 in ticks[::-1] for z1 in ticks], dtype=np.float32)
    names = [f"{t:.1f}" for t in ticks]
    plotting.image_grid(pictures(model, to_device_of(z, test)), SIDE,
                        "What each point of the plane of codes decodes to", out / "map.png",
                        "z₁", "z₂", names, names[::-1])
    with no_grad():
        mean, _ = model.encode(test)
    plotting.scatter({"": mean}, labels, "Test images in the plane of codes, by digit", out / "codes.png")


if __name__ == "__main__":
    command(main)
