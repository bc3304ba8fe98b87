"""Two GANs draw digits: one of dense layers, one of convolutions with batch norm (DCGAN). How well, and do they copy?

G never sees a training image, only the gradients that D passes on. Still it might come to copy some. So samples are
shown beside the training images nearest to them, and the demo counts how often a held-out image is nearer still.

`--effects` trains one of the pairs of nets in five ways instead, from three seeds each: by Adam with β₁ = 0.5 ("Adam")
and with 0.9 ("more momentum"), by RMSprop ("no momentum"), with a target of 0.9 instead of 1 for D's real images
("smoothed labels"), and with four times G's learning rate for D ("faster D").
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
    too_short,
)
from scratchnet.games import minimax_discriminator, non_saturating_generator
from scratchnet.metrics import in_batches
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gans import GAN, digit_nets
from scratchnet.optimizers import Adam, RMSprop
from scratchnet.sample_metrics import parzen_log_likelihood, parzen_sigma, sample_report

SECONDS = {"quick": "25 seconds", "default": "3 minutes", "full": "half an hour"}
OPTIONS = {
    "--beta1": {"type": number(0, 1), "default": 0.5, "help": "β₁ of the DCGAN's Adam (default: %(default)s)"},
    "--smoothing": {"type": number(0, 1), "default": 0.0,
                    "help": "D's target for real images is 1 minus this (default: %(default)s)"},
    "--lr-ratio": {"type": number(0, 1000), "default": 1.0,
                   "help": "D's learning rate over G's (default: %(default)s)"},
    "--decay": {"type": number(0, 1), "default": 0.99,
                "help": "decay of the average of G's weights (default: %(default)s)"},
    "--effects": {"choices": ("dense", "DCGAN"), "help": "train these nets in five ways instead, from three seeds each "
                                                        "(up to ten minutes; ignores the other options)"}}
NETS = {  # generator, discriminator, size of z, batch, learning rate
    "dense": (digit_nets.dense_generator, digit_nets.dense_discriminator, 30, 100, 1e-3),
    "DCGAN": (digit_nets.dcgan_generator, digit_nets.dcgan_discriminator, 100, 32, 2e-3)}
GANS = {"dense GAN": ("dense", {"beta1": None}), "DCGAN": ("DCGAN", {})}  # nets, changes to the recipe; None: RMSprop
EFFECTS = {"Adam": {}, "more momentum": {"beta1": 0.9}, "no momentum": {"beta1": None},
           "smoothed labels": {"smoothing": 0.1}, "faster D": {"lr_ratio": 4.0}}


class Scale(NamedTuple):
    train: int         # images
    test: int
    judge_epochs: int  # of the classifier
    dense_epochs: int
    dcgan_epochs: int
    seeds: int


SCALES = {
    "quick": Scale(train=2_000, test=500, judge_epochs=4, dense_epochs=6, dcgan_epochs=2, seeds=1),
    "default": Scale(train=10_000, test=2_000, judge_epochs=3, dense_epochs=20, dcgan_epochs=5, seeds=1),
    "full": Scale(train=60_000, test=10_000, judge_epochs=3, dense_epochs=20, dcgan_epochs=8, seeds=3)}
EXPECTED = {"default": {"dense": 25, "DCGAN": 12}, "full": {"dense": 60, "DCGAN": 8}}  # Fréchet distance, at most


class Drawer(NamedTuple):
    """A trained G as two functions z (N, latent) → images (N, 28, 28, 1)"""
    latent: int
    last: Callable     # with its last weights
    average: Callable  # with the average of its weights over the training

    def noise(self, n, like):
        """z ~ N(0, 1), always the same."""
        return standard_normal(np.random.default_rng(0), (n, self.latent), like)


def main():
    args = arguments("gan_digits", "A dense GAN and a DCGAN draw digits; are they copies?", SECONDS, more=OPTIONS)
    scale = SCALES[args.scale]
    train, labels, test, test_labels = digits(args, scale.train, scale.test)

    rng = np.random.default_rng(args.seed)
    judge = DigitClassifier(rng=rng)
    fit(args, "classifier", judge, judge.loss, train, mover(args.device)(labels), rng=rng, epochs=scale.judge_epochs,
        lr=3e-3)

    usual = {"beta1": 0.5, "smoothing": 0.0, "lr_ratio": 1.0, "decay": 0.99}
    if args.effects:
        ways = {name: (args.effects, changes) for name, changes in EFFECTS.items()}
        seeds, prefix = range(args.seed, args.seed + 3), f"{args.effects} "
    else:
        usual, ways = {key: getattr(args, key) for key in usual}, GANS
        seeds, prefix = range(args.seed, args.seed + scale.seeds), ""
    epochs = {"dense": scale.dense_epochs, "DCGAN": scale.dcgan_epochs}
    gans = {name: [fit_gan(args, f"{prefix}{name}", nets, usual | changes, train, epochs[nets], seed) for seed in seeds]
            for name, (nets, changes) in ways.items()}  # name → a Drawer from each seed

    distances = compare(args.out, gans, judge, train, test, test_labels)
    print(f"{len(test)} samples are compared with {len(test)} test images, by the 128 features of the classifier. "
          f"Fréchet distances,\nprecision and recall by another network cannot be compared with these.\n")
    show_samples(args.out, {name: drawers[0] for name, drawers in gans.items()}, test)
    show_copies(args.out, gans, train, test)

    if args.scale != "quick":
        print(LESSON)
    if args.effects and args.scale == "default":
        print(EFFECTS_LESSON[args.effects])
    print(f"Pictures: {args.out}/samples-*.png, paths.png, neighbours.png, *.gif; tables: quality.md, copies.md")
    if args.scale == "quick":
        too_short("GANs draw digits and do not copy them")
        return
    for nets, high in EXPECTED[args.scale].items():
        of_nets = [distances[name] for name, (kind, _) in ways.items() if kind == nets]
        if of_nets:
            expect(f"Smallest Fréchet distance of the {nets} nets", min(of_nets), high=high)


LESSON = """Copies would be nearer to training images than new digits are, and a held-out image would almost never be
nearer still, as in the line "training images, noisy". The distance alone proves nothing, since a blurred image is near
to many. "By chance" is how often a held-out image would be nearer to an image that is related to neither set. Test
images differ from it because training and test digits have different writers.
"""

EFFECTS_LESSON = {"dense": """On the sample of 10 000 digits, after 20 epochs, Adam is better with less momentum, which
carries a player past the other's answer. RMSprop, which has none but differs from Adam in more, is better still.
Smoothed labels do not help. A faster D makes G's digits sharper, and of fewer kinds. The average of the weights is a
little better than the last ones, though for most ways by less than the seeds differ.
""", "DCGAN": """On the sample of 10 000 digits, after 5 epochs, more momentum is far worse, and loses a class from some
seeds. No momentum is as good as β₁ = 0.5. Smoothed labels and a faster D change less than the seeds do. The average of
the weights is better than the last ones in every line, though in most by less than the seeds differ.
"""}


def fit_gan(args, name, nets, recipe, images, epochs, seed):
    """Train two nets in turns on the non-saturating game. Returns a Drawer."""
    generator, discriminator, latent, size, lr = NETS[nets]
    rng, run_name = np.random.default_rng(seed), f"{name} {seed}"
    game = partial(minimax_discriminator, smoothing=recipe["smoothing"]), non_saturating_generator
    gan = GAN(generator(rng=rng), discriminator(rng=rng), latent, game=game)
    if args.device == "gpu":
        gan.to_gpu()
    average = ExponentialMovingAverage(gan.generator.parameters(), recipe["decay"])

    def discriminator_loss(x):
        return gan.discriminator_loss(x, gan.generate(gan.noise(len(x), rng, like=x)))

    def generator_loss(x):
        return gan.generator_loss(gan.noise(len(x), rng, like=x))

    frames = Frames(args.out / "frames" / file_name(run_name), args.resume)
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
    fit_in_turns(args, run_name, {"gan": gan, "average": average},
                 {"discriminator": (optimizer(gan.discriminator, lr * recipe["lr_ratio"], recipe["beta1"]),
                                    discriminator_loss),
                  "generator": (optimizer(gan.generator, lr, recipe["beta1"]), generator_loss)},
                 images, rng=rng, epochs=epochs, size=size, after=after,
                 smoothing=recipe["smoothing"], decay=recipe["decay"])
    frames.save_gif(args.out / f"{file_name(run_name)}.gif", f"Samples of the {name}, seed {seed}")
    last = for_drawing(gan, images)
    with average.swapped():
        return Drawer(latent, last, for_drawing(gan, images))


def for_drawing(gan, like):
    """A copy of G as it is now. The running statistics of its batch norms lag behind its weights, and do not belong to
    an average of them. So they are gathered anew, all but 0.9³⁰ = 4 %."""
    generator, rng = deepcopy(gan.generator), np.random.default_rng(0)
    for _ in range(30):
        in_batches(generator, gan.noise(100, rng, like))
    return partial(in_batches, generator.eval())


def optimizer(net, lr, beta1):
    """Adam, or RMSprop with the settings of Keras if β₁ is None."""
    if beta1 is None:
        return RMSprop(net.parameters(), lr, alpha=0.9, eps=1e-7)
    return Adam(net.parameters(), lr, betas=(beta1, 0.999))


def compare(out, gans, judge, train, test, test_labels):
    """Print the table of all measures, mean ± spread over the seeds. Returns name → its smaller Fréchet distance."""
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
    print("\n" + plotting.table(rows, [f"DigitClassifier, {right:.1f} % right", "weights", *values],
                                out / "quality.md"))
    return distances


def nats(samples, train, test):
    """Mean log-likelihood of test images under a Parzen window of samples. A thousand training images choose its σ."""
    return float(parzen_log_likelihood(samples, test, parzen_sigma(samples, train[-1_000:])).mean())


def show_samples(out, drawers, like):
    """Draw a sheet of samples of each, and paths from one z to another. Every z on a path, cos t z₁ + sin t z₂, is
    distributed as the ends are."""
    rows, labels, t = [], [], np.linspace(0, np.pi / 2, 14, dtype=np.float32)[:, None]
    for name, drawer in drawers.items():
        z = drawer.noise(200, like)
        plotting.image_grid(drawer.average(z), 20, f"200 unselected samples: {name}",
                            out / f"samples-{file_name(name)}.png")
        for a, b in to_cpu(z[:6]).reshape(3, 2, -1):
            rows.append(drawer.average(to_device_of(np.cos(t) * a + np.sin(t) * b, like)))
            labels.append(name)
    plotting.image_rows(rows, labels, "From one draw of z to another: G(cos t z₁ + sin t z₂), t = 0 to π/2",
                        out / "paths.png")


def show_copies(out, gans, train, test):
    """Draw samples beside the training images nearest to them. The table says how near these are, and how often one of
    some held-out test images is nearer still; also for the other test images, none of which can be a copy."""
    n, rng = min(len(test) // 2, 1_000), np.random.default_rng(0)
    copies = corruption.gaussian(train[to_device_of(rng.permutation(len(train))[:n], train)], 0.1, rng)
    sets = {"test images": [test[-n:]], "training images, noisy": [copies]}
    sets |= {name: [drawer.average(drawer.noise(n, test)) for drawer in drawers] for name, drawers in gans.items()}
    pictures, labels, table = [], [], []
    train, held_out = (to_cpu(x).reshape(len(x), -1) for x in (train, test[:len(test) // 2]))
    for name, seeds in sets.items():
        found = []  # a pair from each seed
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
    plotting.image_rows(pictures, labels, "Are they copies? Samples, and the training image nearest to each",
                        out / "neighbours.png")
    print(plotting.table(table, ["images", "distance to nearest training image", "a held-out image is nearer, %"],
                         out / "copies.md"))


if __name__ == "__main__":
    command(main)
