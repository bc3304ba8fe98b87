"""Two GANs draw digits: one of dense layers, one of convolutions with batch norm (DCGAN). How well, and do they copy?

G never sees a training image, only what D makes of its own; still it might end up with copies. So samples are laid
beside the training images nearest to them, and it is counted how often a training image is nearer than any new one.

`--effects` trains the nets of one of them in five ways, from three seeds each: by Adam with β₁ = 0.5 ("Adam"), with 0.9
("more momentum"), by RMSprop ("no momentum"); with D asked for 0.9 in place of 1, and with 4 times G's learning rate.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import numpy as np

from scratchnet import metrics, plotting
from scratchnet.averaging import ExponentialMovingAverage
from scratchnet.backend import standard_normal, to_cpu, to_device_of
from scratchnet.data import corruption
from scratchnet.demo import (
    Frames,
    arguments,
    command,
    digits,
    expect,
    file_name,
    fit,
    fit_in_turns,
    mean_and_spread,
    mover,
    number,
)
from scratchnet.games import minimax_discriminator
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gans import GAN, digit_nets
from scratchnet.optimizers import Adam, RMSprop
from scratchnet.sample_metrics import parzen_log_likelihood, parzen_sigma, sample_report

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
    "--effects": {"choices": ("dense", "DCGAN"), "help": "five ways to train these nets instead, from three seeds each "
                                                        "(up to ten minutes; takes no heed of the other options)"}}
NETS = {  # generator, discriminator, size of z, batch, learning rate
    "dense": (digit_nets.dense_generator, digit_nets.dense_discriminator, 30, 100, 1e-3),
    "DCGAN": (digit_nets.dcgan_generator, digit_nets.dcgan_discriminator, 100, 32, 2e-3)}
GANS = {"dense GAN": ("dense", {"beta1": None}), "DCGAN": ("DCGAN", {})}  # nets, what is not as usual; None: RMSprop
EFFECTS = {"Adam": {}, "more momentum": {"beta1": 0.9}, "no momentum": {"beta1": None},
           "smoothed labels": {"smoothing": 0.1}, "faster D": {"lr_ratio": 4.0}}
EXPECTED = {  # Fréchet distance of each kind of net, at its best, at most
    "quick": {"dense": 200, "DCGAN": 60}, "default": {"dense": 25, "DCGAN": 12}, "full": {"dense": 60, "DCGAN": 8}}


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
    ways = {name: (args.effects, own) for name, own in EFFECTS.items()} if args.effects else GANS
    gans = {}  # name → a Drawer from each seed
    for name, (nets, own) in ways.items():
        prefix = f"{nets} " if args.effects else ""
        gans[name] = [fit_gan(args, f"{prefix}{name} {seed}", nets, usual | own, train, epochs[nets], seed)
                      for seed in range(args.seed, args.seed + (3 if args.effects else seeds))]

    distances = compare(args.out, gans, judge, train, test, test_labels)
    print(f"{len(test)} samples against as many test images. Fréchet distance, precision and recall are in the 128\n"
          f"features of the classifier, not to be compared with those by another. Nats: see parzen_log_likelihood.\n")
    shown = {name: drawers[0] for name, drawers in gans.items()}
    show_samples(args.out, shown, test)
    show_copies(args.out, gans, train, test)

    if args.scale == "quick":
        print("Trained too briefly to learn much from the tables.")
    else:
        print(LESSON)
    if args.effects and args.scale == "default":
        print(EFFECTS_LESSON[args.effects])
    print(f"\nPictures: {args.out}/samples-*.png, paths.png, neighbours.png, *.gif; tables: quality.md, copies.md")
    for nets in epochs:
        of_nets = [distances[name] for name, (kind, _) in ways.items() if kind == nets]
        if of_nets:
            expect(f"Least Fréchet distance of the {nets} nets", min(of_nets), high=EXPECTED[args.scale][nets])


LESSON = """Copies would be nearer to training images than new digits are, and next to none of them would be nearer to a
held-out image, as in the line "training images, noisy". The first number alone proves nothing: a blurred image is near
to many. "By chance" is how often a held-out image would be nearer to an image that has to do with neither; test images
differ from it by who wrote what."""

EFFECTS_LESSON = {"dense": """
On the sample of 10 000 digits, after 20 epochs: Adam is better with less momentum, which carries a player past the
answer of the other, and RMSprop, which has none, but differs from Adam in more, is better still. Smoothed labels do
not help. A faster D makes G's digits sharper, and of fewer kinds. The average of the weights is a little better than
the last, though for most by less than the seeds differ.""", "DCGAN": """
On the sample of 10 000 digits, after 5 epochs: more momentum is far worse, and drops a class from some seeds; none at
all is as good as β₁ = 0.5. Smoothed labels and a faster D change less than the seeds do. The average of the weights is
better than the last in each line, though in most by less than the seeds differ."""}


def fit_gan(args, name, nets, recipe, images, epochs, seed):
    """Two nets trained in turns on the non-saturating game; a Drawer."""
    generator, discriminator, latent, size, lr = NETS[nets]
    rng = np.random.default_rng(seed)
    gan = GAN(generator(rng=rng), discriminator(rng=rng), latent)
    if args.device == "gpu":
        gan.to_gpu()
    gan.loss_of_discriminator = partial(minimax_discriminator, smoothing=recipe["smoothing"])
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
                 images, rng=rng, epochs=epochs, size=size, after=after,
                 smoothing=recipe["smoothing"], decay=recipe["decay"])
    frames.save_gif(args.out / f"{file_name(name)}.gif", f"Samples of the {name}")
    last = for_drawing(gan, images)
    with average.swapped():
        return Drawer(latent, last, for_drawing(gan, images))


def for_drawing(gan, like):
    """A copy of G as it is now. The running statistics of its batch norms lag behind its weights, and know nothing of
    an average of them: they are gathered anew, but for 0.9³⁰ = 4 %."""
    generator, rng = deepcopy(gan.generator), np.random.default_rng(0)
    for _ in range(30):
        in_batches(generator, gan.noise(100, rng, like))
    return partial(in_batches, generator.eval())


def optimizer(net, lr, beta1):
    """Adam; for β₁ = None RMSprop with the settings of Keras."""
    if beta1 is None:
        return RMSprop(net.parameters(), lr, alpha=0.9, eps=1e-7)
    return Adam(net.parameters(), lr, betas=(beta1, 0.999))


def compare(out, gans, judge, train, test, test_labels):
    """The table of all measures, mean ± spread over the seeds; gives name → its lower Fréchet distance."""
    sets = {("training images", "–"): [train[:len(test)]]}
    for name, drawers in gans.items():
        z = drawers[0].noise(len(test), test)
        for weights in ("last", "average"):
            sets[name, weights] = [to_device_of(getattr(drawer, weights)(z), test) for drawer in drawers]
    rows, distances = [], {}
    for (name, weights), samples in sets.items():
        reports = [sample_report(judge, test, x) | {"Parzen window, nats": nats(x, train, test)} for x in samples]
        values = {measure: [report[measure] for report in reports] for measure in reports[0]}
        rows.append([name, weights, *(mean_and_spread(column, 2) for column in values.values())])
        distance = np.mean(values["Fréchet distance"])
        distances[name] = min(distance, distances.get(name, distance))
    right = 100 * metrics.accuracy(in_batches(judge, test), test_labels)
    print("\n" + plotting.table(rows, [f"by DigitClassifier, {right:.1f} % right", "weights", *values],
                                out / "quality.md"))
    return distances


def nats(samples, train, test):
    """Mean log-likelihood of a test image under a Parzen window of samples; a thousand training images choose its σ."""
    return float(parzen_log_likelihood(samples, test, parzen_sigma(samples, train[-1_000:])).mean())


def show_samples(out, drawers, like):
    """A sheet of samples of each, and what lies between two draws of z."""
    rows, labels, t = [], [], np.linspace(0, np.pi / 2, 14, dtype=np.float32)[:, None]
    for name, drawer in drawers.items():
        z = drawer.noise(200, like)
        plotting.image_grid(drawer.average(z), 20, f"Samples: {name}", out / f"samples-{file_name(name)}.png")
        for a, b in to_cpu(z[:6]).reshape(3, 2, -1):
            rows.append(drawer.average(to_device_of(np.cos(t) * a + np.sin(t) * b, like)))
            labels.append(name)
    plotting.image_rows(rows, labels, "From one draw of z to another: G(cos t z₁ + sin t z₂), t = 0 to π/2. "
                        "Every z on the way is distributed as the ends are.", out / "paths.png")


def show_copies(out, gans, train, test):
    """Samples beside the training images nearest to them. The table: how near these are, and how often one of some test
    images, held out, is nearer still; for the other test images, too, as none of them can be a copy."""
    n, rng = min(len(test) // 2, 1_000), np.random.default_rng(0)
    copies = corruption.gaussian(train[to_device_of(rng.permutation(len(train))[:n], train)], 0.1, rng)
    sets = {"test images": [test[-n:]], "training images, noisy": [copies]}
    sets |= {name: [drawer.average(drawer.noise(n, test)) for drawer in drawers] for name, drawers in gans.items()}
    pictures, labels, table = [], [], []
    train, held_out = (to_cpu(x).reshape(len(x), -1) for x in (train, test[:len(test) // 2]))
    for name, seeds in sets.items():
        found = []  # of each seed
        for k, images in enumerate(seeds):
            x = to_cpu(images).reshape(n, -1)
            near, new = (items[metrics.nearest(items, x, 1)[:, 0]] for items in (train, held_out))
            distance, distance_to_new = (np.linalg.norm(x - y, axis=1) for y in (near, new))
            found.append((distance.mean(), 100 * np.mean(distance_to_new < distance)))
            if name in gans and k == 0:
                pictures += [to_cpu(images[:14]), near[:14].reshape(-1, 28, 28, 1)]
                labels += [name, "nearest training image"]
        away, nearer = np.transpose(found)
        table.append([name, mean_and_spread(away, 2), mean_and_spread(nearer, 1)])
    table.append(["by chance", "", f"{100 * len(held_out) / (len(held_out) + len(train)):.1f}"])
    plotting.image_rows(pictures, labels, "Is it copying? Samples, and the training images nearest to them",
                        out / "neighbours.png")
    print(plotting.table(table, ["images", "distance to the nearest training image", "a held-out one is nearer, %"],
                         out / "copies.md"))


if __name__ == "__main__":
    command(main)
