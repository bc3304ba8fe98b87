"""Mode collapse, measured, and five remedies: a generator tends to miss some Gaussians of a ring or a grid.

Nets, data and measures are those of PacGAN (Lin et al. 2018, section 4.1). A sample is of high quality if it lies
within three standard deviations of a mode's center. A mode is covered if at least one of 2500 samples is of high
quality there. Early in training, points are scattered everywhere and cover modes by chance, so read both numbers.

The published budget is 400 000 steps a trial (--full), with PacGAN's Adam: a rate of 1e-4 and β = (0.8, 0.999). --steps
and --seeds choose a smaller one, with settings under which a plain GAN loses modes within minutes. The rates begin at
1e-3 for G and at 1e-4 for D, and fall to 0; β₁ is 0.5 on the ring and 0.8 on the grid. (Equal rates are kinder to the
plain GAN, see demos/RESULTS.md.) The Wasserstein game needs a D that is ahead, so there both rates begin at 1e-3, with
β = (0, 0.9) as published. Its paper gives D five steps for each of G's; here each player takes one in every game. The
nets see points scaled to a spread of 1.

A trial depends on its seed alone, so trials can run at the same time (--seeds 1 --seed 0, 1, 2, each in a folder of its
own). With all their files in one folder, --resume --seeds 3 makes the table.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from scratchnet import metrics, plotting
from scratchnet.adversarial import Replay, gradient_penalty, unrolled
from scratchnet.backend import to_cpu
from scratchnet.data import toy2d
from scratchnet.demo import (
    arguments,
    command,
    expect,
    file_name,
    fit_in_turns,
    mean_and_spread,
    mover,
    number,
    of_seeds,
    too_short,
)
from scratchnet.layers import Dense, MinibatchDiscrimination, Sequential
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import pacgan_discriminator, pacgan_generator
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

REMEDIES = {  # remedy → its change to the plain game
    "plain": "nothing changes",
    "PacGAN2": "D judges two points at once (Lin et al. 2018)",
    "minibatch discrimination": "D sees how close each point is to the others (Salimans et al. 2016)",
    "experience replay": "half of the generated points that D sees are older ones (Shrivastava et al. 2017)",
    "unrolled": "G foresees some steps of D (Metz et al. 2017)",
    "WGAN-GP": "the Wasserstein game with a gradient penalty (Gulrajani et al. 2017)"}


class Scale(NamedTuple):
    mixtures: tuple
    remedies: tuple
    seeds: int
    steps: int


SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "weeks"}
SCALES = {"quick": Scale(mixtures=("ring of 8",), remedies=("plain", "PacGAN2", "WGAN-GP"), seeds=1, steps=200),
          "default": Scale(mixtures=("ring of 8",), remedies=("plain", "PacGAN2", "WGAN-GP"), seeds=1, steps=3_000),
          "full": Scale(mixtures=("ring of 8", "grid of 25"), remedies=tuple(REMEDIES), seeds=3, steps=400_000)}
OPTIONS = {"--steps": {"type": int, "help": "steps of each trial, with all mixtures and remedies: up to 1000, or a "
                                          "multiple of 1000 (8000 take two hours)"},
           "--seeds": {"type": int, "default": 3, "help": "trials of each, with --steps (default: 3)"},
           "--remedies": {"nargs": "+", "choices": tuple(REMEDIES), "default": tuple(REMEDIES), "metavar": "REMEDY",
                          "help": f"with --steps: {', '.join(REMEDIES)} (default: all)"},
           "--lr": {"type": number(0, 1), "default": 1e-3, "help": "G's initial learning rate (default: 1e-3)"}}
EXPECTED = 7  # modes of the ring that WGAN-GP covers at the default scale, at least
BATCH, SAMPLES, EPOCH = 100, 2_500, 100_000
UNROLLED = 3   # steps of D that G foresees, by gradient descent at G's own rate
PENALTY = 0.1  # weight of the gradient penalty, as in the paper's code for points in the plane


class Mixture(NamedTuple):
    """Gaussians in the plane, equally likely and of one standard deviation. The nets see points/scale."""
    draw: Callable  # n, rng → points (n, 2), and the mode of each
    centers: np.ndarray
    std: float
    scale: float
    beta1: float    # β₁ of Adam with which the plain GAN loses modes in few steps


MIXTURES = {"ring of 8": Mixture(partial(toy2d.ring, radius=1.0, std=0.01), toy2d.ring_centers(radius=1.0), 0.01,
                                 2**-0.5, 0.5),
            "grid of 25": Mixture(toy2d.grid, toy2d.grid_centers(), 0.05, 8**0.5, 0.8)}


def main():
    args = arguments("mode_collapse", "How many modes a plain GAN covers, and how many with each remedy.", SECONDS,
                     more=OPTIONS)
    mixtures, remedies, seeds, steps = SCALES[args.scale]
    if args.steps is None and (args.seeds, args.remedies, args.lr) != (3, tuple(REMEDIES), 1e-3):
        raise SystemExit("--seeds, --remedies and --lr belong to --steps, which is missing")
    if args.steps is not None:
        mixtures, remedies, seeds, steps = tuple(MIXTURES), args.remedies, args.seeds, args.steps
    if steps < 1 or (steps > EPOCH // BATCH and steps % (EPOCH // BATCH)) or seeds < 1:
        raise SystemExit(f"--steps {steps} --seeds {seeds}: expected up to {EPOCH // BATCH} steps, or a multiple, and "
                         f"at least one seed")
    seeds = range(args.seed, args.seed + seeds)
    print(f"{len(mixtures) * len(remedies) * len(seeds)} trials of {steps:,} steps, each of {BATCH} points:")
    for remedy in remedies:
        print(f"    {remedy}: {REMEDIES[remedy]}")

    found = {}  # (mixture, remedy) → [(modes, quality) of each seed]
    for mixture in mixtures:
        panels, (draw, centers, std, scale, _) = {}, MIXTURES[mixture]
        for remedy in remedies:
            for seed in seeds:
                gan = trial(args, f"{mixture} {remedy} seed{seed}", mixture, remedy, seed, steps)
                x = draw_samples(gan, scale)
                modes, quality = metrics.modes_covered(x, centers, std)
                words = f"{modes} modes, {100 * quality:.0f} % of high quality"
                if seed == args.seed:
                    panels[f"{remedy}: {words}"] = x
                found.setdefault((mixture, remedy), []).append((modes, quality))
                print(f"{mixture}, {remedy}, seed {seed}: {words}", flush=True)
        plotting.points(panels, draw(SAMPLES, np.random.default_rng(0))[0],
                        f"A {mixture} Gaussians after {steps:,} steps, seed {args.seed}",
                        args.out / f"{file_name(mixture)}.png")
        show_growth(args, mixture, remedies, seeds)
    rows = [[*names, *(mean_and_spread(column, 2) for column in (np.array(f) * [1, 100]).T)]
            for names, f in found.items()]
    print("\n" + plotting.table(rows, ["mixture", "remedy", "modes covered", "% of high quality"],
                                args.out / "modes.md"))
    names = ", ".join(f"{file_name(m)}{part}.png" for m in mixtures for part in ("", "-modes", "-quality"))
    print(f"Pictures: {args.out}/{names}; table: modes.md")
    report(args, found, mixtures, remedies)


def trial(args, name, mixture, remedy, seed, steps):
    """Train one GAN on points of the mixture."""
    rng, (draw, centers, std, scale, beta1) = np.random.default_rng(seed), MIXTURES[mixture]
    gan, replay = build(remedy, rng), Replay(10_000, rng)
    if args.device == "gpu":
        gan.to_gpu()
    points = mover(args.device)(draw(min(EPOCH, BATCH * steps), rng)[0] / np.float32(scale))
    D, G = optimizers(args, gan, remedy, beta1, steps)
    of_discriminator, of_generator = play(remedy, gan, replay, rng, G)

    def count(run):
        if run.every(max(steps // 20, 1)):
            modes, quality = metrics.modes_covered(draw_samples(gan, scale), centers, std)
            run.log(modes=modes, quality=quality)

    fit_in_turns(args, name, {"gan": gan, "replay": replay},
                 {"discriminator": (D, of_discriminator), "generator": (G, of_generator)}, points, rng=rng,
                 epochs=BATCH * steps // len(points), size=BATCH, after=count, seed=seed,
                 unrolled=UNROLLED)
    return gan


def build(remedy, rng):
    packing = 2 if remedy == "PacGAN2" else 1
    discriminator = pacgan_discriminator(packing, rng=rng)
    if remedy == "minibatch discrimination":
        discriminator = Sequential(*discriminator.steps[:-1], MinibatchDiscrimination(200, 20, 5, rng=rng),
                                   Dense(220, 1, rng=rng))
    game = "wasserstein" if remedy == "WGAN-GP" else "non-saturating"
    return GAN(pacgan_generator(rng=rng), discriminator, latent=2, game=game, packing=packing)


def optimizers(args, gan, remedy, beta1, steps):
    """Adam for D and for G: as published with --full alone, else as the head of this file says."""
    wasserstein, published = remedy == "WGAN-GP", args.scale == "full" and args.steps is None
    betas = (0.0, 0.9) if wasserstein else (0.8 if published else beta1, 0.999)  # Gulrajani et al. 2017, algorithm 1
    if published:
        rates = 1e-4, 1e-4
    else:
        rates = cosine(args.lr if wasserstein else args.lr / 10, steps), cosine(args.lr, steps)
    return [Adam(player.parameters(), lr=lr, betas=betas)
            for player, lr in zip((gan.discriminator, gan.generator), rates, strict=True)]


def play(remedy, gan, replay, rng, G):
    """The losses of D and G as functions of a batch of real points: the plain game, changed by the remedy. The unrolled
    G minimises −L_D of the D that it foresees, as in Metz et al. 2017, at the rate of its own optimizer."""

    def of_discriminator(real):
        fake = gan.generate(gan.noise(len(real), rng, real))
        if remedy == "experience replay":
            fake = replay.mix(fake)
        loss = gan.discriminator_loss(real, fake)
        if remedy == "WGAN-GP":
            loss = loss + PENALTY * gradient_penalty(gan.discriminator, real, fake, rng)
        return loss

    def of_generator(real):
        z = gan.noise(len(real), rng, real)
        if remedy != "unrolled":
            return gan.generator_loss(z)
        fake = gan.generator(z)
        with unrolled(gan.discriminator, lambda: gan.discriminator_loss(real, fake), UNROLLED, G.current_lr):
            return -gan.discriminator_loss(real, fake)

    return of_discriminator, of_generator


def draw_samples(gan, scale):
    """2500 points, from the same noise every time; batch norm uses its running averages."""
    gan.generator.eval()
    x = gan.generate(gan.noise(SAMPLES, np.random.default_rng(0), gan.generator.parameters()[0].data))
    gan.generator.train()
    return scale * to_cpu(x)


def show_growth(args, mixture, remedies, seeds):
    """Draw, from the logs, how many modes are covered over the steps, and how well."""
    for column, factor, label in (("modes", 1, f"modes covered, of {len(MIXTURES[mixture].centers)}"),
                                  ("quality", 100, "samples of high quality, %")):
        lines = {}
        for remedy in remedies:
            logs = [plotting.read_log(args.out / f"{file_name(f'{mixture} {remedy} seed{seed}')}-log.csv")
                    for seed in seeds]
            counted = np.isfinite(logs[0][column])
            lines[remedy] = (logs[0]["step"][counted],
                             factor * np.mean([log[column][counted] for log in logs], axis=0))
        plotting.curves(lines, "training step", label, f"A {mixture} Gaussians during training, {of_seeds(seeds)}",
                        args.out / f"{file_name(mixture)}-{column}.png")


def report(args, found, mixtures, remedies):
    mean = {key: np.mean(f, axis=0) for key, f in found.items()}
    if args.steps is None and args.scale == "quick":
        too_short("a remedy covers modes that the plain GAN misses")
        return
    if args.steps is None and args.scale == "default":
        expect("Modes of the ring covered by WGAN-GP", mean["ring of 8", "WGAN-GP"][0], low=EXPECTED)
        return
    for mixture in mixtures:
        for remedy in remedies:
            if remedy != "plain" and "plain" in remedies:
                expect(f"{mixture}: modes covered by {remedy}", mean[mixture, remedy][0],
                       low=round(mean[mixture, "plain"][0] + 0.1, 2))
        best = max((remedy for remedy in remedies if remedy != "plain" or len(remedies) == 1),
                   key=lambda remedy, mixture=mixture: tuple(mean[mixture, remedy]))
        modes, quality = mean[mixture, best]
        expect(f"{mixture}: modes covered by {best}, the best", modes, low=8 if mixture == "ring of 8" else 24)
        if mixture == "ring of 8":
            expect(f"{mixture}: its samples of high quality", 100 * quality, low=95, unit=" %")


if __name__ == "__main__":
    command(main)
