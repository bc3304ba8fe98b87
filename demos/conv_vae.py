"""A convolutional VAE of digits, and a question: where do the switches of unpooling come from without an image?

The encoder pools and notes the place of each maximum, its switch. The decoder unpools with these switches, so it knows
where every stroke lies, and reconstructions are sharp. A new digit has no encoder and no switches. Four sources are
compared: borrowed from another image, the corner of each window, no switch but the value repeated over its window, and
predicted from z.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, no_grad, ops, plotting
from scratchnet.backend import standard_normal, to_cpu, to_device_of
from scratchnet.demo import Frames, arguments, command, expect, mnist, mover, too_short
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.vaes import ConvVAE, SwitchHead, corner_switches, evaluate, gaussian_of_codes
from scratchnet.optimizers import Adam
from scratchnet.training import Run


class Scale(NamedTuple):
    train: int  # images
    test: int
    batch: int
    vae: int  # epochs
    classifier: int
    head: int
    every: int  # steps between two frames of the GIF


class Expected(NamedTuple):
    loss: float  # with the encoder's switches, in nats, at most
    frechet: float | None = None  # of digits with borrowed switches, at most


SECONDS = {"quick": "25 seconds", "default": "2¾ minutes", "full": "an hour and a half"}
SCALES = {"quick": Scale(train=1_000, test=300, batch=50, vae=3, classifier=3, head=1, every=10),
          "default": Scale(train=10_000, test=2_000, batch=100, vae=5, classifier=2, head=1, every=25),
          "full": Scale(train=60_000, test=10_000, batch=100, vae=20, classifier=3, head=2, every=500)}
EXPECTED = {  # seeds 0 to 4: quick loss 216 to 238; default loss 85 to 90, Fréchet distance 5 to 10
    "quick": Expected(loss=260), "default": Expected(loss=92, frechet=13), "full": Expected(loss=85, frechet=10)}


def main():
    args = arguments("conv_vae", "Trains a convolutional VAE with argmax pooling and unpooling on MNIST.", SECONDS)
    scale, expected, digits, device = SCALES[args.scale], EXPECTED[args.scale], mnist(args), mover(args.device)
    images, labels = device(digits.train_images[:scale.train]), device(digits.train_labels[:scale.train])
    test, test_labels = device(digits.test_images[:scale.test]), digits.test_labels[:scale.test]
    rng = np.random.default_rng(args.seed)

    model = move(ConvVAE(rng=rng), args.device)
    print(model)
    film = Film(args, images, scale.every)
    train_vae(args, "vae", model, images, scale, rng, film)
    classifier = move(DigitClassifier(rng=rng), args.device)  # the judge of the samples, by its 128 features
    train(args, "classifier", classifier, classifier.loss, images, labels, rng=rng, size=scale.batch,
          epochs=scale.classifier, lr=1e-3)
    head, steps = move(SwitchHead(rng=rng), args.device), scale.vae * (len(images) // scale.batch)
    train(args, "switches", head, lambda x: head_loss(head, model, x, rng), images, rng=rng, size=scale.batch // 2,
          epochs=scale.head, lr=2e-3, after=lambda run: film.watch(run, model, head, before=steps))
    film.frames.save_gif(args.out / "samples.gif", "One code a column, switches from four sources")

    loss, _, kl = evaluate(model, test, rng)
    plotting.training_curves({name: (args.out / "vae-log.csv", column) for name, column in
                              (("loss", "loss"), ("reconstruction", "reconstruction"), ("KL", "kl"))},
                             "nats per image", "ConvVAE on MNIST: loss = reconstruction + KL",
                             args.out / "training.png", yscale="log", ylim=(1, None))
    mean, *switches = encode(model, test[:12])
    plotting.image_rows([test[:12], decode(model, mean, switches)], ["test image", "reconstruction"],
                        "Reconstructions with the encoder's switches", args.out / "reconstructions.png")
    distance = compare_sources(args.out, model, head, classifier, images, test, test_labels, rng)

    if args.scale == "quick":
        too_short("the switches hold the drawing")
    else:
        print(LESSON)
    print(f"\nPictures: {args.out}/reconstructions.png, samples.png, training.png, samples.gif; table: switches.md")
    expect(f"Test loss with the encoder's switches, including a KL of {kl:.1f}", loss, high=expected.loss,
           unit=" nats per image")
    if expected.frechet:
        expect("Fréchet distance of the lenders' digits, drawn again from their switches", distance,
               high=expected.frechet)


LESSON = """The switches hold the drawing. With borrowed switches almost any code gives a clean digit, but it is the
lender's. Nothing new is drawn, and the small Fréchet distance proves nothing. Nor is the loss a bound of ln p(x), since
the decoder sees part of x. Without switches (corner, repeat) the code alone gives a smudge. Only with switches
predicted from z does z decide everything. These digits are new, and as blurred as the code is vague. Codes from N(0, 1)
do worse than codes from a Gaussian fitted to the training codes, since the two still differ after this training."""


def move(model, device):
    return model.to_gpu() if device == "gpu" else model


def train_vae(args, name, model, images, scale, rng, film):
    """The main training. A step is four lines: loss, zero_grad, backward, step. Between the last two,
    processes that share the work average their gradients."""
    optimizer = Adam(model.parameters(), lr=1e-3)
    run = Run(args.out, name=name, model=model, optimizer=optimizer, rng=rng, resume=args.resume,
              anomaly=args.detect_anomaly, world=args.world, settings={"seed": args.seed, "scale": args.scale})
    for x in run.batches(images, size=scale.batch, epochs=scale.vae):
        loss, reconstruction, kl = model.loss(x, rng)   # E[−ln p(x|z, switches)] + KL(q(z|x) ‖ N(0, 1))
        optimizer.zero_grad()
        loss.backward()                                 # ∂loss/∂weights
        args.world.average(optimizer)                   # its mean over the processes that mpiexec has started
        optimizer.step()
        run.log(loss=loss, reconstruction=reconstruction, kl=kl)
        film.watch(run, model)


def train(args, name, model, loss_of, *arrays, rng, size, epochs, lr, after=lambda run: None):
    """The other two: minimise loss_of(*batch), and call after(run) at the end of every step."""
    optimizer = Adam(model.parameters(), lr=lr)
    run = Run(args.out, name=name, model=model, optimizer=optimizer, rng=rng, resume=args.resume,
              anomaly=args.detect_anomaly, world=args.world, settings={"seed": args.seed, "scale": args.scale})
    for batch in run.batches(*arrays, size=size, epochs=epochs):
        loss = loss_of(*batch) if len(arrays) > 1 else loss_of(batch)
        optimizer.zero_grad()
        loss.backward()
        args.world.average(optimizer)
        optimizer.step()
        run.log(loss=loss)
        after(run)


def head_loss(head, model, x, rng):
    """The head predicts the encoder's switches from the code alone. The VAE stays as it is."""
    with no_grad():
        mean, s, argmax1, argmax2 = model.encode(x)
        z = model.sample_code(mean, s, rng)
    return head.loss(z, argmax1, argmax2)


class Film:
    """The frames of samples.gif: ten codes from a Gaussian fitted to training codes, with the same ε in every frame,
    decoded with switches from each source. The first row shows the images that lend their switches."""

    def __init__(self, args, images, every):
        self.frames, self.images, self.every = Frames(args.out / "frames", args.resume), images[:500], every
        self.epsilon = standard_normal(np.random.default_rng(0), (10, 128), like=images)

    def watch(self, run, model, head=None, before=0):
        """Draw a frame every few steps. The row "predicted" stays empty until the head learns, after `before` steps."""
        if run.every(self.every):
            lenders = self.images[:10]
            z = draw_codes(*gaussian_of_codes(model, self.images, np.random.default_rng(0)), self.epsilon)
            drawn = [decode(model, z, source(z)) for source in sources(model, head, lenders).values()]
            drawn += [] if head else [np.zeros_like(drawn[0])]
            labels = ["lender", "borrowed", "corner", "repeat", "predicted\n(learned last)"]
            sheet = plotting.frame(np.concatenate([to_cpu(lenders), *drawn]), 10, labels=labels)
            self.frames.add_pixels(before + run.step + 1, sheet)


def sources(model, head, lenders):
    """name → a function from codes z to their switches, an array for each pooling; no arrays repeat each value over its
    window. Without a head there are no predictions."""
    _, *lent = encode(model, lenders)
    known = {"borrowed": lambda z: lent, "corner": lambda z: corner_switches(len(z), z), "repeat": lambda z: ()}
    return known if head is None else known | {"predicted": lambda z: predict(head, z)}


def encode(model, images):
    """The means of the codes, and the switches of both poolings."""
    return [to_device_of(in_batches(lambda x, k=k: model.encode(x)[k], images, size=250), images) for k in (0, 2, 3)]


def predict(head, z):
    return [to_device_of(in_batches(lambda z, k=k: head.predict(z)[k], z, size=250), z) for k in (0, 1)]


def decode(model, z, switches):
    """Pictures (N, 28, 28, 1) from codes (N, 128) and switches, on the host"""
    return in_batches(lambda z, *s: ops.sigmoid(model.decode(z, *s or (None, None))), z, *switches, size=250)


def draw_codes(m, L, epsilon):
    """z = m + L ε"""
    m, L = (to_device_of(a.astype(epsilon.dtype), epsilon) for a in (m, L))
    return m + epsilon @ L.T


def compare_sources(out, model, head, classifier, images, test, test_labels, rng):
    """Write the table and the picture of the four sources. Returns the Fréchet distance of digits with borrowed
    switches and fitted codes."""
    real, n = features(classifier, test), min(len(test), 1000)
    m, L = gaussian_of_codes(model, images[:2000], rng)
    epsilon = standard_normal(rng, (n, 128), like=test)
    codes = {"z ~ N(0, 1)": epsilon, "z fitted": draw_codes(m, L, epsilon)}
    lenders = images[rng.permutation(len(images))[:n] if n <= len(images) else rng.integers(0, len(images), n)]

    test, test_labels = test[:n], test_labels[:n]
    mean, *own = encode(model, test)
    error = metrics.squared_error_per_image(decode(model, mean, own), test)
    rows, pictures, labels = [["the encoder's own", error, "100 %", "–", "–"]], [lenders[:14]], ["lender"]
    for name, source in sources(model, head, lenders).items():
        switches = source(mean)
        error = metrics.squared_error_per_image(decode(model, mean, switches), test)
        distances = []
        for kind, z in codes.items():
            drawn = decode(model, z, source(z))
            distances.append(metrics.frechet_distance(real, features(classifier, to_device_of(drawn, test))))
            pictures.append(drawn[:14])
            labels.append(f"{name}\n{kind}")
        rows.append([name, error, f"{100 * agreement(switches, own):.0f} %" if switches else "–", *distances])
    same = metrics.frechet_distance(real, features(classifier, images[:n]))
    right = metrics.accuracy(in_batches(classifier, test, size=250), test_labels)

    header = ["switches", "squared error per test image", "agreement with the encoder's",
              *(f"Fréchet, {kind}" for kind in codes)]
    print("\n" + plotting.table(rows, header, out / "switches.md"))
    print(f"Fréchet distances compare {n} samples with {len(real)} test images in the 128 features of a classifier\n"
          f"trained here ({100 * right:.1f} % right). {n} training images have a distance of {same:.1f}. Distances in\n"
          f"the features of another network cannot be compared with these.")
    plotting.image_rows(pictures, labels, "One code z a column, decoded with switches from four sources",
                        out / "samples.png")
    return rows[1][-1]


def agreement(switches, own):
    """The share of windows whose switch is the encoder's, over both poolings."""
    same = sum(int((a == b).sum()) for a, b in zip(switches, own, strict=True))
    return same / sum(a.size for a in own)


def features(classifier, images):
    return in_batches(classifier.features, images, size=250)


if __name__ == "__main__":
    command(main)
