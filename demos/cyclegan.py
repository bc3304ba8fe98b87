"""CycleGAN (Zhu et al. 2017): digits into thick negatives and back, learned without pairs.

Domain A is one half of the training images, domain B the thick negatives of the other half. No image has its partner in
the training set, but the true partner of a test image is known, so the errors with and without the cycle loss can be
measured.

Then two pairs of clouds in the plane, which G swaps from some seeds. There the cycle loss is as small as where G
is right: it asks for a way back, not for the right way there.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.adversarial import Replay
from scratchnet.backend import to_cpu
from scratchnet.demo import (
    arguments,
    command,
    digits,
    expect,
    fit,
    fit_in_turns,
    mean_and_spread,
    mover,
    number,
    too_short,
)
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gans import CycleGAN
from scratchnet.models.gans.cyclegan import image_discriminator, image_generator
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "15 minutes"}
OPTION = {"--identity": {"type": number(0, 1000), "default": 0.0, "metavar": "WEIGHT",
                         "help": "weight of the identity loss |G(b) − b| + |F(a) − a| of images (default: 0)"}}
VARIANTS = {"with cycle loss": 10.0, "without cycle loss": 0.0}  # λ
SHIFT, STD = np.array([2, 0], np.float32), 0.3  # in the plane: from a to its true partner; spread of each cloud


class Scale(NamedTuple):
    train: int         # images
    test: int
    judge_epochs: int  # of the classifier
    epochs: int        # of each CycleGAN
    seeds: int
    points: int        # in the plane
    plane_epochs: int
    plane_seeds: int


class Expected(NamedTuple):
    """Seeds 0 to 4, default: error 14 to 29, ratio 2.2 to 5.1."""
    error: float  # squared error at the best shift, with the cycle loss, at most
    ratio: float  # the same without the cycle loss, over that with it, at least


SCALES = {"quick": Scale(train=1_600, test=500, judge_epochs=4, epochs=1, seeds=1,
                         points=2_000, plane_epochs=8, plane_seeds=2),
          "default": Scale(train=10_000, test=2_000, judge_epochs=2, epochs=1, seeds=2,
                           points=10_000, plane_epochs=8, plane_seeds=4),
          "full": Scale(train=60_000, test=10_000, judge_epochs=3, epochs=1, seeds=3,
                        points=10_000, plane_epochs=20, plane_seeds=6)}
EXPECTED = {"default": Expected(error=40, ratio=1.5), "full": Expected(error=15, ratio=2)}


def main():
    args = arguments("cyclegan", "Two domains, no pairs: what the cycle loss adds, and what it leaves open.", SECONDS,
                     more=OPTION)
    scale, device = SCALES[args.scale], mover(args.device)
    train, labels, test, test_labels = digits(args, scale.train, scale.test)
    half, partners = len(train) // 2, partner(test)
    A, B = train[:half], partner(train[half:2 * half])

    rng = np.random.default_rng(args.seed)
    judge = DigitClassifier(rng=rng)  # tells which digit an image of B shows
    fit(args, "classifier", judge, judge.loss, B, device(labels[half:2 * half]), rng=rng, size=50, lr=2e-3,
        epochs=scale.judge_epochs)

    def measured(there, here, returned):  # G(a), F(b), F(G(a)), or images that take their place
        return (*errors(there, partners), *errors(here, test), metrics.squared_error_per_image(returned, test),
                100 * metrics.accuracy(in_batches(judge, there), test_labels))

    found, pictures = {name: [] for name in VARIANTS}, {}
    for seed in range(args.seed, args.seed + scale.seeds):
        for name, cycle in VARIANTS.items():
            rng = np.random.default_rng(seed)
            model = CycleGAN(image_generator(rng=rng), image_generator(rng=rng), image_discriminator(rng=rng),
                             image_discriminator(rng=rng), cycle, args.identity)
            fit_cycle_gan(args, f"{name} {seed}", model, A, B, rng, scale.epochs, size=10, lr=2e-3)
            there = device(in_batches(model.G, test))
            results = there, in_batches(model.F, partners), in_batches(model.F, there)
            found[name].append(measured(*results))
            pictures.setdefault(name, [images[:14] for images in results])
    show_images(args.out, test[:14], partners[:14], pictures)
    found |= {"doing nothing": [measured(test, partners, test)], "true partners": [measured(partners, test, test)]}
    print("\n" + plotting.table(
        [[name, *(mean_and_spread(column, 1) for column in np.transpose(values))] for name, values in found.items()],
        ["squared error of", "G(a)", "G(a), shifted", "F(b)", "F(b), shifted", "F(G(a))",
         "G(a) shows the digit of a, %"], args.out / "images.md"))

    shares = show_plane(args, scale)
    if args.scale != "quick":
        print(LESSON)
    print(f"Pictures: {args.out}/images.png, plane.png; tables: images.md, plane.md")
    if args.scale == "quick":
        too_short("the cycle loss brings images close to their true partners")
        return
    error, error_without = (np.mean([[values[1], values[3]] for values in found[name]]) for name in VARIANTS)
    expect("Squared error to the true partner at the best shift, mean of both directions, with cycle loss", error,
           high=EXPECTED[args.scale].error)
    expect("The same without cycle loss, as a multiple of that with it", error_without / error,
           low=EXPECTED[args.scale].ratio)
    expect("Points of the plane that G takes to the true partner's cloud, worst seed", min(shares), high=10, unit=" %")
    expect("The same, best seed", max(shares), low=90, unit=" %")


LESSON = """The errors of G(a) and F(b) are measured against the true partner, that of F(G(a)) against a. "Shifted"
means that all images are first shifted by the same few pixels, those that fit best. Without the cycle loss G still
finds something like the partner, since nets of small kernels leave a stroke where it is. But F may give almost the same
image for every b, one in which D_A sees nothing wrong. With the cycle loss, F(b) and G(a) must keep all that the way
back needs. But G may shift a digit if F shifts it back: that costs nothing, so the initial weights decide. In the plane
they also decide which cloud goes where: F finds the way back from the wrong partners as well as from the right ones.
"""


def partner(x):
    """Thick negatives, 1 − the maximum of each 3×3 window        (N, 28, 28, 1) → the same"""
    return 1.0 - ops.max_pool(x, 3, 1, "same")


def errors(images, targets):
    """Squared error per image as it is, and at the best common shift by up to three pixels."""
    images, targets = to_cpu(images), to_cpu(targets)
    shifts = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]
    return (metrics.squared_error_per_image(images, targets),
            min(metrics.squared_error_per_image(np.roll(images, shift, (1, 2)), targets) for shift in shifts))


def fit_cycle_gan(args, name, model, A, B, rng, epochs, size, lr):
    """In each step G and F learn, then D_A and D_B, half of whose generated samples are older ones (section 4). Row k
    of A and row k of B are no pair."""
    if args.device == "gpu":
        model.to_gpu()
    older_a, older_b = Replay(50, rng), Replay(50, rng)

    def discriminator_loss(a, b):
        fake_b, fake_a = model.translate(a, b)
        return model.discriminator_loss(a, b, older_a.mix(fake_a), older_b.mix(fake_b))

    def adam(*nets):
        return Adam([p for net in nets for p in net.parameters()], cosine(lr, epochs * (len(A) // size)),
                    betas=(0.5, 0.999))

    fit_in_turns(args, name, {"gan": model, "older_a": older_a, "older_b": older_b},
                 {"generators": (adam(model.G, model.F), model.generator_loss),
                  "discriminators": (adam(model.D_A, model.D_B), discriminator_loss)},
                 A, B, rng=rng, epochs=epochs, size=size, cycle=model.cycle, identity=model.identity)


def show_images(out, a, b, pictures):
    rows, labels = [a, b], ["a", "b, its true partner"]
    for name, results in pictures.items():
        rows += results
        labels += [f"{image}, {name}" for image in ("G(a)", "F(b)", "F(G(a))")]
    plotting.image_rows(rows, labels, "Test digits a, their true partners b, and translations of both by G and F",
                        out / "images.png")


def clouds(n, rng, x):
    """Two round clouds one above the other, about (x, −1) and (x, 1)        (n, 2)"""
    centers = np.stack([np.full(n, x), rng.choice([-1.0, 1.0], n)], axis=1)
    return (centers + STD * rng.standard_normal((n, 2))).astype(np.float32)


def density(points):
    """The density of A and B together.        (…, 2) → (…,)"""
    return sum(np.exp(-((points - center)**2).sum(axis=-1) / (2 * STD**2)) / (8 * np.pi * STD**2)
               for center in ((-1, -1), (-1, 1), (1, -1), (1, 1)))


def show_plane(args, scale):
    """Let G learn, from several seeds, to take the clouds on the left to those on the right, and draw the best seed and
    the worst. Returns the percentage of points that G takes to the true partner's cloud, from each seed."""
    test, rows, arrows = clouds(1_000, np.random.default_rng(0), -1.0), [], {}
    for seed in range(args.seed, args.seed + scale.plane_seeds):
        rng = np.random.default_rng(seed)
        A, B = (mover(args.device)(clouds(scale.points, rng, x)) for x in (-1.0, 1.0))
        model = CycleGAN(*(dense_net([2, 32, 32, outputs], ops.silu, rng=rng) for outputs in (2, 2, 1, 1)), cycle=2.0)
        fit_cycle_gan(args, f"plane {seed}", model, A, B, rng, scale.plane_epochs, size=100, lr=3e-3)
        moved = in_batches(model.G, mover(args.device)(test))
        back = in_batches(model.F, mover(args.device)(moved))
        rows.append([str(seed), distance(back, test), distance(moved, test + SHIFT),
                     float(100 * np.mean((moved[:, 1] > 0) == (test[:, 1] > 0)))])
        arrows[f"seed {seed}: {rows[-1][2]:.2f} from G(a) to the true partner"] = (test[:50], (moved - test)[:50])
    order = np.argsort([row[2] for row in rows])
    shown = [list(arrows)[k] for k in (order[0], order[-1])]
    line = np.linspace(-2, 2, 161)
    heat = density(np.stack(np.meshgrid(line, line), axis=-1))
    plotting.heat_map(dict.fromkeys(shown, heat), (-2, 2, -2, 2),
                      "G takes the clouds of A (left) to those of B (right), from the best and from the worst seed",
                      args.out / "plane.png", "density of A and B", arrows=arrows, xlabel="x₁", ylabel="x₂")
    print(plotting.table(rows, ["seed", "distance from F(G(a)) to a", "from G(a) to the true partner",
                                "G(a) in the partner's cloud, %"], args.out / "plane.md"))
    return [row[-1] for row in rows]


def distance(p, q):
    """Mean length of p − q"""
    return float(np.linalg.norm(to_cpu(p) - q, axis=1).mean())


if __name__ == "__main__":
    command(main)
