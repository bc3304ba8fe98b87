"""Two GANs draw digits: one of dense layers, one of convolutions with batch norm (DCGAN). How well, and do they copy?

G never sees a training image, only what D makes of its own; still it might end up with copies. So samples are laid
beside the training images nearest to them, and it is counted how often a training image is nearer than any new one.

`--effects` trains the dense nets in five ways, from three seeds each: by Adam with β₁ = 0.5 ("Adam"), with 0.9 ("more
momentum"), by RMSprop ("no momentum"); with D asked for 0.9 in place of 1, and with D's learning rate 4 times G's.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np

from scratchnet import metrics, plotting
from scratchnet.adversarial import tell_apart
from scratchnet.averaging import ExponentialMovingAverage
from scratchnet.backend import standard_normal, to_cpu, to_device_of
from scratchnet.data import corruption
from scratchnet.demo import (
    Frames,
    arguments,
    digits,
    expect,
    file_name,
    fit,
    fit_in_turns,
    mean_and_spread,
    mover,
    number,
)
from scratchnet.metrics import in_batches
from scratchnet.models import image_gan
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gan import GAN
from scratchnet.optimizers import Adam, RMSprop
from scratchnet.sample_metrics import sample_report

SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "half an hour"}
SIZES = {  # training images, test images, epochs of the classifier, the dense nets, the DCGAN; seeds
    "quick": (2_000, 500, 4, 6, 2, 1), "default": (10_000, 2_000, 3, 20, 5, 1), "full": (60_000, 10_000, 3, 20, 8, 3)}
OPTIONS = {
    "--beta1": {"type": number(0, 1), "default": 0.5, "help": "β₁ of the DCGAN's Adam (default: %(default)s)"},
    "--smoothing": {"type": number(0, 1), "default": 0.0,
                    "help": "D is asked for 1 minus this of real images (default: %(default)s)"},
    "--lr-ratio": {"type": number(0, 1000), "default": 1.0,
                   "help": "D's learning rate over G's (default: %(default)s)"},
    "--decay": {"type": number(0, 1), "default": 0.99, "help": "of the average of G's weights (default: %(default)s)"},
    "--effects": {"action": "store_true", "help": "five ways to train the dense nets instead, from three seeds each "
                                                 "(ten minutes; takes no heed of the other options)"}}
NETS = {  # generator, discriminator, size of z, batch, learning rate
    "dense": (image_gan.dense_generator, image_gan.dense_discriminator, 30, 100, 1e-3),
    "DCGAN": (image_gan.dcgan_generator, image_gan.dcgan_discriminator, 100, 32, 2e-3)}
GANS = {"dense GAN": ("dense", {"beta1": None}), "DCGAN": ("DCGAN", {})}  # nets, what is not as usual; None: RMSprop
EFFECTS = {"Adam": ("dense", {}), "more momentum": ("dense", {"beta1": 0.9}), "no momentum": ("dense", {"beta1": None}),
           "smoothed labels": ("dense", {"smoothing": 0.1}), "faster D": ("dense", {"lr_ratio": 4.0})}
MEASURES = ("Fréchet distance", "sharpness", "diversity", "precision", "recall")
EXPECTED = {"quick": (60, 200), "default": (12, 25), "full": (8, 20)}  # least Fréchet distance; with --effects


class Drawer(NamedTuple):
    """A trained G, as functions z (N, latent) → images (N, 28, 28, 1)"""
    latent: int
    last: Callable     # by its last weights
    average: Callable  # by their average along the training

    def noise(self, n, like):
        """z ~ N(0, 1), always the same."""
        return standard_normal(np.random.default_rng(0), (n, self.latent), like)


def main():
    args = arguments("gan_digits", "A dense GAN and a DCGAN draw digits; are they copies?", SECONDS, more=OPTIONS)
    n_train, n_test, judge_epochs, dense_epochs, dcgan_epochs, seeds = SIZES[args.scale]
    train, labels, test, test_labels = digits(args, n_train, n_test)

    rng = np.random.default_rng(args.seed)
    judge = DigitClassifier(rng=rng)
    fit(args, "classifier", judge, judge.loss, train, mover(args.device)(labels), rng=rng, epochs=judge_epochs,
        lr=3e-3)

    usual = {"beta1": 0.5, "smoothing": 0.0, "lr_ratio": 1.0, "decay": 0.99}
    if not args.effects:
        usual = {key: getattr(args, key) for key in usual}
    epochs = {"dense": dense_epochs, "DCGAN": dcgan_epochs}
    gans = {}  # name → a Drawer from each seed
    for name, (nets, own) in (EFFECTS if args.effects else GANS).items():
        gans[name] = [fit_gan(args, f"{name} {seed}", nets, usual | own, train, epochs[nets], seed)
                      for seed in range(args.seed, args.seed + (3 if args.effects else seeds))]

    distance = compare(args.out, gans, judge, train, test)
    right = metrics.accuracy(in_batches(judge, test), test_labels)
    print(f"By a classifier trained here, which has {100 * right:.1f} % of the test images right: Fréchet distance,\n"
          f"precision, recall in its 128 features, {n_test} samples against {n_test} test images (not to be compared\n"
          f"with those by another network); how sure it is of a sample, 0.1 to 1; of how many classes, 1 to 10.\n")
    shown = {name: drawers[0] for name, drawers in gans.items()}
    show_samples(args.out, shown, test)
    show_copies(args.out, shown, train, test)

    if args.scale == "quick":
        print("Trained too briefly to learn much from the tables.")
    else:
        print(LESSON + EFFECTS_LESSON * (args.effects and args.scale == "default"))
    print(f"\nPictures: {args.out}/samples-*.png, paths.png, neighbours.png, *.gif; tables: quality.md, copies.md")
    expect("Least Fréchet distance", distance, high=EXPECTED[args.scale][args.effects])


LESSON = """Copies would be nearer to training images than new digits are, and next to none of them would be nearer to a
held-out image, as in the line "training images, noisy". The first number alone proves nothing: a blurred image is near
to many. "By chance" is how often a held-out image would be nearer to an image that has to do with neither; test images
differ from it by who wrote what."""

EFFECTS_LESSON = """
On the sample of 10 000 digits, after 20 epochs: Adam is better with less momentum, which carries a player past the
answer of the other, and RMSprop, which has none, but differs from Adam in more, is better still. Smoothed labels do
not help. A faster D makes G's digits sharper, and of fewer kinds. The average of the weights is a little better than
the last, though for most by less than the seeds differ."""


def fit_gan(args, name, nets, recipe, images, epochs, seed):
    """Two nets trained in turns on the non-saturating game; a Drawer."""
    generator, discriminator, latent, size, lr = NETS[nets]
    rng = np.random.default_rng(seed)
    gan = GAN(generator(rng=rng), discriminator(rng=rng), latent)
    if args.device == "gpu":
        gan.to_gpu()
    gan.loss_of_discriminator = partial(tell_apart, smoothing=recipe["smoothing"])
    average = ExponentialMovingAverage(gan.generator.parameters(), recipe["decay"])

    def discriminator_loss(x):
        return gan.discriminator_loss(x, gan.generate(gan.noise(len(x), rng, like=x)))

    def generator_loss(x):
        return gan.generator_loss(gan.noise(len(x), rng, like=x))

    frames = Frames(args.out / "frames" / file_name(name), args.resume)
    z = gan.noise(50, np.random.default_rng(0), like=images)  # the same in every frame
    every = max(1, epochs * (len(images) // size) // 12)

    def add_frame(step):
        with gan.generator.preserved(), average.swapped():
            frames.add(step, gan.generate(z), 10)

    def after(run):
        average.update()
        if (run.step + 1) % every == 0:
            add_frame(run.step + 1)

    add_frame(0)
    fit_in_turns(args, name, {"gan": gan, "average": average},
                 {"discriminator": (optimizer(gan.discriminator, lr * recipe["lr_ratio"], recipe["beta1"]),
                                    discriminator_loss),
                  "generator": (optimizer(gan.generator, lr, recipe["beta1"]), generator_loss)},
                 images, rng=rng, epochs=epochs, size=size, after=after, **recipe)
    frames.save_gif(args.out / f"{file_name(name)}.gif")
    last = for_drawing(gan, images)
    with average.swapped():
        return Drawer(latent, last, for_drawing(gan, images))


def for_drawing(gan, like):
    """A copy of G as it is now. The running statistics of its batch norms lag behind its weights, and know nothing of
    an average of them: they are gathered anew."""
    generator, rng = deepcopy(gan.generator), np.random.default_rng(0)
    for _ in range(30):
        in_batches(generator, gan.noise(100, rng, like))
    return partial(in_batches, generator.eval())


def optimizer(net, lr, beta1):
    """Adam; for β₁ = None RMSprop with the settings of Keras."""
    if beta1 is None:
        return RMSprop(net.parameters(), lr, alpha=0.9, eps=1e-7)
    return Adam(net.parameters(), lr, betas=(beta1, 0.999))


def compare(out, gans, judge, train, test):
    """The table of what the judge says, mean ± spread over the seeds; gives the least Fréchet distance in it."""
    found = {("training images", "–"): [sample_report(judge, test, train[:len(test)])]}
    for name, drawers in gans.items():
        z = drawers[0].noise(len(test), test)
        for weights in ("last", "average"):
            samples = (to_device_of(getattr(drawer, weights)(z), test) for drawer in drawers)
            found[name, weights] = [sample_report(judge, test, x) for x in samples]
    rows = []
    for names, reports in found.items():
        values = np.array([[report[measure] for measure in MEASURES] for report in reports])
        rows.append([*names, *(mean_and_spread(column, 2) for column in values.T)])
    print("\n" + plotting.table(rows, ["samples of", "weights", *MEASURES], out / "quality.md"))
    return min(np.mean([report["Fréchet distance"] for report in reports])
               for names, reports in found.items() if names[0] in gans)


def show_samples(out, drawers, like):
    """A sheet of samples of each, and what lies between two draws of z."""
    rows, labels, t = [], [], np.linspace(0, np.pi / 2, 14, dtype=np.float32)[:, None]
    for name, drawer in drawers.items():
        z = drawer.noise(200, like)
        plotting.image_grid(drawer.average(z), 20, f"Samples of the {name}", out / f"samples-{file_name(name)}.png")
        for a, b in to_cpu(z[:6]).reshape(3, 2, -1):
            rows.append(drawer.average(to_device_of(np.cos(t) * a + np.sin(t) * b, like)))
            labels.append(name)
    plotting.image_rows(rows, labels, "From one draw of z to another: G(cos t z₁ + sin t z₂), t = 0 to π/2. "
                        "Every z on the way is distributed as the ends are.", out / "paths.png")


def show_copies(out, drawers, train, test):
    """Samples beside the training images nearest to them. The table: how near these are, and how often one of some test
    images, held out, is nearer still; for the other test images, too, as none of them can be a copy."""
    n, rng = min(len(test) // 2, 1_000), np.random.default_rng(0)
    copies = corruption.gaussian(train[to_device_of(rng.permutation(len(train))[:n], train)], 0.1, rng)
    sets = {"test images": test[-n:], "training images, noisy": copies}
    sets |= {name: drawer.average(drawer.noise(n, test)) for name, drawer in drawers.items()}
    pictures, labels, table = [], [], []
    train, held_out = (to_cpu(x).reshape(len(x), -1) for x in (train, test[:len(test) // 2]))
    for name, images in sets.items():
        x = to_cpu(images).reshape(n, -1)
        near, new = (items[metrics.nearest(items, x, 1)[:, 0]] for items in (train, held_out))
        distance, distance_to_new = (np.linalg.norm(x - y, axis=1) for y in (near, new))
        table.append([name, f"{distance.mean():.2f}", f"{100 * np.mean(distance_to_new < distance):.1f}"])
        pictures += [to_cpu(images[:14]), near[:14].reshape(-1, 28, 28, 1)]
        labels += [name, "nearest training image"]
    table.append(["by chance", "", f"{100 * len(held_out) / (len(held_out) + len(train)):.1f}"])
    plotting.image_rows(pictures[4:], labels[4:], "Is it copying? Samples, and the training images nearest to them",
                        out / "neighbours.png")
    print(plotting.table(table, ["images", "distance to the nearest training image", "a held-out one is nearer, %"],
                         out / "copies.md"))


if __name__ == "__main__":
    main()
