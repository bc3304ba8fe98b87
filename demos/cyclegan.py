"""CycleGAN (Zhu et al. 2017): digits into thick negatives and back, learned without one pair of the two.

Domain A is one half of the training images, domain B the thick negatives of the other half: no image has its partner in
the training set, but the true partner of a test image is known. What does the cycle loss add, and what does it leave
open?

Then two pairs of clouds in the plane: from some seeds G crosses the pairs over. The cycle loss is as small there as
where G is right: it asks that the way back is found, not that the way was the right one.
"""

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.adversarial import Replay
from scratchnet.backend import to_cpu
from scratchnet.demo import arguments, command, digits, expect, fit, fit_in_turns, mean_and_spread, mover, number
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gans import CycleGAN
from scratchnet.models.gans.cyclegan import image_discriminator, image_generator
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "15 minutes"}
SIZES = {  # training images, test images, epochs of the classifier, of CycleGAN, seeds; points, epochs, seeds
    "quick": (1_600, 500, 4, 1, 1, 2_000, 8, 2), "default": (10_000, 2_000, 2, 1, 2, 10_000, 8, 4),
    "full": (60_000, 10_000, 3, 1, 3, 10_000, 20, 6)}
# squared error at the best shift, with cycle loss, at most; seeds 0 to 4: quick 45 to 99, default 14 to 29
EXPECTED = {"quick": 130, "default": 40, "full": 15}
# that without cycle loss over that with it, at least; seeds 0 to 4: quick 2.0 to 3.1, default 2.2 to 5.1
RATIO = {"quick": 1, "default": 1.5, "full": 2}
OPTION = {"--identity": {"type": number(0, 1000), "default": 0.0, "metavar": "WEIGHT",
                         "help": "weight of the identity loss |G(b) − b| + |F(a) − a| of images (default: 0)"}}
VARIANTS = {"with cycle loss": 10.0, "without": 0.0}  # λ
SHIFT, STD = np.array([2, 0], np.float32), 0.3  # in the plane: from a to its true partner; of each cloud


def main():
    args = arguments("cyclegan", "Two domains, no pairs: what the cycle loss adds, and what it leaves open.", SECONDS,
                     more=OPTION)
    n_train, n_test, judge_epochs, epochs, seeds, n_points, plane_epochs, plane_seeds = SIZES[args.scale]
    train, labels, test, test_labels = digits(args, n_train, n_test)
    half, partners = len(train) // 2, partner(test)
    A, B = train[:half], partner(train[half:2 * half])

    rng = np.random.default_rng(args.seed)
    judge = DigitClassifier(rng=rng)  # which digit an image of B shows
    fit(args, "classifier", judge, judge.loss, B, mover(args.device)(labels[half:2 * half]), rng=rng, size=50, lr=2e-3,
        epochs=judge_epochs)

    def measured(there, here, returned):  # G(a), F(b), F(G(a)), or what is taken for them
        return (*errors(there, partners), *errors(here, test), metrics.squared_error_per_image(returned, test),
                100 * metrics.accuracy(in_batches(judge, there), test_labels))

    found, pictures = {name: [] for name in VARIANTS}, {}
    for seed in range(args.seed, args.seed + seeds):
        for name, cycle in VARIANTS.items():
            model = fit_images(args, f"{name} {seed}", cycle, A, B, seed, epochs)
            there = mover(args.device)(in_batches(model.G, test))
            results = there, in_batches(model.F, partners), in_batches(model.F, there)
            found[name].append(measured(*results))
            pictures.setdefault(name, [images[:14] for images in results])
    show_images(args.out, test[:14], partners[:14], pictures)
    found |= {"doing nothing": [measured(test, partners, test)], "true partners": [measured(partners, test, test)]}
    print("\n" + plotting.table(
        [[name, *(mean_and_spread(column, 1) for column in np.transpose(values))] for name, values in found.items()],
        ["squared error of", "G(a)", "if shifted", "F(b)", "if shifted", "F(G(a))", "G(a) shows the digit of a, %"],
        args.out / "images.md"))

    beside = show_plane(args, n_points, plane_epochs, plane_seeds)
    print("Trained too briefly to learn much from the tables." if args.scale == "quick" else LESSON)
    print(f"\nPictures: {args.out}/images.png, plane.png; tables: images.md, plane.md")
    error, error_without = (np.mean([[values[1], values[3]] for values in found[name]]) for name in VARIANTS)
    expect("Squared error to the true partner at the best shift, mean of both ways, with cycle loss", error,
           high=EXPECTED[args.scale])
    expect("The same without cycle loss, over that with it", error_without / error, low=RATIO[args.scale])
    if args.scale != "quick":
        expect("In the plane, points brought to their partner, worst seed", min(beside), high=10, unit=" %")
        expect("... and best seed", max(beside), low=90, unit=" %")


LESSON = """The errors of G(a) and F(b) are those to the true partner, that of F(G(a)) is to a; "if shifted" is the one
where all images have first been shifted by the same few pixels, those that fit best. Without the cycle loss G finds
something like the partner, as nets of small kernels leave a stroke where it is; but nothing keeps F from giving much
the same image for every b, one in which D_A sees nothing wrong. With the cycle loss F must keep what it takes to
return. But G may shift a digit, if F shifts it back: that costs nothing, and the first weights decide. So it is in the
plane, where the way back is found from the wrong partners as well as from the right ones."""


def partner(x):
    """Thick negatives: 1 − the largest of each 3×3 window        (N, 28, 28, 1) → the same"""
    return 1.0 - ops.max_pool(x, 3, 1, "same")


def errors(images, targets):
    """Squared error per image as they are, and the least one if all are shifted alike, by up to three pixels."""
    images, targets = to_cpu(images), to_cpu(targets)
    shifts = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]
    return (metrics.squared_error_per_image(images, targets),
            min(metrics.squared_error_per_image(np.roll(images, shift, (1, 2)), targets) for shift in shifts))


def fit_images(args, name, cycle, A, B, seed, epochs):
    rng = np.random.default_rng(seed)
    model = CycleGAN(image_generator(rng=rng), image_generator(rng=rng), image_discriminator(rng=rng),
                     image_discriminator(rng=rng), cycle, args.identity)
    return fit_cycle_gan(args, name, model, A, B, rng, epochs, size=10, lr=2e-3)


def fit_cycle_gan(args, name, model, A, B, rng, epochs, size, lr):
    """In each step G and F learn, then D_A and D_B, from batches half of which are older (section 4). The rows of A and
    B have nothing to do with each other."""
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
    return model


def show_images(out, a, b, pictures):
    rows, labels = [a, b], ["a", "b, its true partner"]
    for name, results in pictures.items():
        rows += results
        labels += [f"{what}, {name}" for what in ("G(a)", "F(b)", "F(G(a))")]
    plotting.image_rows(rows, labels, "Test digits a, their partners b, and what G and F make of them",
                        out / "images.png")


def clouds(n, rng, x):
    """Two round clouds one above the other, about (x, −1) and (x, 1)        (n, 2)"""
    centers = np.stack([np.full(n, x), rng.choice([-1.0, 1.0], n)], axis=1)
    return (centers + STD * rng.standard_normal((n, 2))).astype(np.float32)


def density(points):
    """That of A and B together.        (…, 2) → (…,)"""
    return sum(np.exp(-((points - center)**2).sum(axis=-1) / (2 * STD**2)) / (8 * np.pi * STD**2)
               for center in ((-1, -1), (-1, 1), (1, -1), (1, 1)))


def show_plane(args, n, epochs, seeds):
    """G takes the clouds on the left to those on the right, from several seeds; the best and the worst are drawn. Gives
    the share of points that G brings to the cloud of their partner, in percent, from each seed."""
    test, rows, arrows = clouds(1_000, np.random.default_rng(0), -1.0), [], {}
    for seed in range(args.seed, args.seed + seeds):
        rng = np.random.default_rng(seed)
        A, B = (mover(args.device)(clouds(n, rng, x)) for x in (-1.0, 1.0))
        G, F, D_A, D_B = (dense_net([2, 32, 32, outputs], ops.silu, rng=rng) for outputs in (2, 2, 1, 1))
        model = fit_cycle_gan(args, f"plane {seed}", CycleGAN(G, F, D_A, D_B, cycle=2.0), A, B, rng, epochs, size=100,
                              lr=3e-3)
        moved = in_batches(model.G, mover(args.device)(test))
        back = in_batches(model.F, mover(args.device)(moved))
        rows.append([str(seed), distance(back, test), distance(moved, test + SHIFT),
                     float(100 * np.mean((moved[:, 1] > 0) == (test[:, 1] > 0)))])
        arrows[f"seed {seed}: {rows[-1][2]:.2f} from the true partner"] = (test[:50], (moved - test)[:50])
    order = np.argsort([row[2] for row in rows])
    shown = [list(arrows)[k] for k in (order[0], order[-1])]
    line = np.linspace(-2, 2, 161)
    heat = density(np.stack(np.meshgrid(line, line), axis=-1))
    plotting.heat_map(dict.fromkeys(shown, heat), (-2, 2, -2, 2),
                      "a → G(a), from the clouds of A (left) to those of B (right); F finds back from both",
                      args.out / "plane.png", "density of A and B", arrows=arrows, xlabel="x₁", ylabel="x₂")
    print("\n" + plotting.table(rows, ["seed", "|F(G(a)) − a|", "|G(a) − true partner|", "beside its partner, %"],
                                args.out / "plane.md"))
    return [row[-1] for row in rows]


def distance(p, q):
    """Mean length of p − q"""
    return float(np.linalg.norm(to_cpu(p) - q, axis=1).mean())


if __name__ == "__main__":
    command(main)
