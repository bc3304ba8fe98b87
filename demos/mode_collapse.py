"""Mode collapse, measured, and five remedies: a ring and a grid of Gaussians, of which a generator tends to miss some.

Nets, data and measure are those of PacGAN (Lin et al. 2018, section 4.1): a mode is covered if at least one of 2500
samples lies within three standard deviations of its center, and the share of such samples is their quality. (Early in
training points are scattered everywhere, and cover modes by chance: look at both numbers.)

The published budget is 400 000 steps a trial (--full), with PacGAN's Adam: a rate of 1e-4 and β = (0.8, 0.999). --steps
and --seeds choose a smaller one, with settings under which a plain GAN loses modes within minutes, so that one can see
what a remedy does: G starts at 1e-3 and D, slower, at 1e-4, both falling to 0, with β₁ = 0.5 on the ring and 0.8 on the
grid. (Equal rates are kinder to the plain GAN, see demos/RESULTS.md.) Wasserstein's game lives on a D that is ahead:
there both start at 1e-3, with its own β = (0, 0.9); its paper gives D five steps for one of G, here it is one in every
game. The nets see points of spread 1.

A trial depends on its seed alone. So those of several seeds can run at once (--seeds 1 --seed 0, 1, 2, each in a folder
of its own); with all their files in one folder --resume --seeds 3 makes the table.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from scratchnet import metrics, plotting
from scratchnet.adversarial import Replay, gradient_penalty, unrolled
from scratchnet.backend import to_cpu
from scratchnet.data import toy2d
from scratchnet.demo import arguments, command, expect, file_name, fit_in_turns, mean_and_spread, mover, number
from scratchnet.layers import Dense, MinibatchDiscrimination, Sequential
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import pacgan_discriminator, pacgan_generator
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

REMEDIES = {  # what changes in the plain game
    "plain": "nothing",
    "PacGAN2": "D judges two points at once (Lin et al. 2018)",
    "minibatch discrimination": "D sees how close each point is to the others (Salimans et al. 2016)",
    "experience replay": "half of D's generated points are older ones (Shrivastava et al. 2017)",
    "unrolled": "G foresees some steps of D (Metz et al. 2017)",
    "WGAN-GP": "the Wasserstein game with a gradient penalty (Gulrajani et al. 2017)"}
SECONDS = {"quick": "20 seconds", "default": "2 minutes", "full": "weeks"}
SIZES = {  # mixtures, remedies, seeds, steps
    "quick": (("ring of 8",), ("plain", "PacGAN2", "WGAN-GP"), 1, 200),
    "default": (("ring of 8",), ("plain", "PacGAN2", "WGAN-GP"), 1, 3_000),
    "full": (("ring of 8", "grid of 25"), tuple(REMEDIES), 3, 400_000)}
OPTIONS = {"--steps": {"type": int, "help": "steps of each trial, all mixtures and remedies: up to 1000, or a multiple "
                                          "(8000 take two hours)"},
           "--seeds": {"type": int, "default": 3, "help": "trials of each, with --steps (default: 3)"},
           "--remedies": {"nargs": "+", "choices": tuple(REMEDIES), "default": tuple(REMEDIES), "metavar": "REMEDY",
                          "help": f"which, with --steps: {', '.join(REMEDIES)} (default: all)"},
           "--lr": {"type": number(0, 1), "default": 1e-3, "help": "G's first learning rate (default: 1e-3)"}}
EXPECTED = {"quick": 4, "default": 7}  # modes of the ring covered by WGAN-GP, at least
BATCH, SAMPLES, EPOCH = 100, 2_500, 100_000
UNROLLED = 3  # steps of D that G foresees, by gradient descent at G's own rate
PENALTY = 0.1  # weight of the gradient penalty; the one of the paper's code for points in the plane


class Mixture(NamedTuple):
    """Gaussians of one standard deviation in the plane, each as likely as the others. The nets see points/scale."""
    draw: Callable  # n, rng → points (n, 2), and of which mode each is
    centers: np.ndarray
    std: float
    scale: float
    beta1: float    # momentum of Adam at which the plain GAN loses modes in few steps


MIXTURES = {"ring of 8": Mixture(partial(toy2d.ring, radius=1.0, std=0.01), toy2d.ring_centers(radius=1.0), 0.01,
                                 2**-0.5, 0.5),
            "grid of 25": Mixture(toy2d.grid, toy2d.grid_centers(), 0.05, 8**0.5, 0.8)}


def main():
    args = arguments("mode_collapse", "Which remedy covers how many modes.", SECONDS, more=OPTIONS)
    mixtures, remedies, seeds, steps = SIZES[args.scale]
    if args.steps is None and (args.seeds, args.remedies, args.lr) != (3, tuple(REMEDIES), 1e-3):
        raise SystemExit("--seeds, --remedies and --lr belong to --steps, which is missing")
    if args.steps is not None:
        mixtures, remedies, seeds, steps = tuple(MIXTURES), args.remedies, args.seeds, args.steps
    if steps < 1 or (steps > EPOCH // BATCH and steps % (EPOCH // BATCH)) or seeds < 1:
        raise SystemExit(f"--steps {steps} --seeds {seeds}: expected up to {EPOCH // BATCH} steps, or a multiple, and "
                         f"at least one seed")
    print(f"{len(mixtures) * len(remedies) * seeds} trials of {steps:,} steps, each of {BATCH} points:")
    for remedy in remedies:
        print(f"    {remedy}: {REMEDIES[remedy]}")

    found = {}  # (mixture, remedy) → [(modes, quality) of each seed]
    for mixture in mixtures:
        samples = {}
        for remedy in remedies:
            for seed in range(args.seed, args.seed + seeds):
                gan = trial(args, mixture, remedy, seed, steps)
                x = draw_samples(gan, MIXTURES[mixture].scale)
                samples.setdefault(remedy, x)
                found.setdefault((mixture, remedy), []).append(metrics.modes_covered(x, *MIXTURES[mixture][1:3]))
                print(f"{mixture}, {remedy}, seed {seed}: {found[mixture, remedy][-1][0]} modes covered", flush=True)
        plotting.points(samples, MIXTURES[mixture].draw(SAMPLES, np.random.default_rng(0))[0],
                        f"{mixture}, after {steps:,} steps, seed {args.seed}", args.out / f"{file_name(mixture)}.png")
        show_growth(args, mixture, remedies, seeds, steps)
    rows = [[*names, *(mean_and_spread(column, 2) for column in (np.array(f) * [1, 100]).T)]
            for names, f in found.items()]
    print("\n" + plotting.table(rows, ["mixture", "remedy", "modes covered", "% of high quality"],
                                args.out / "modes.md"))
    names = ", ".join(f"{file_name(m)}{part}.png" for m in mixtures for part in ("", "-modes", "-quality"))
    print(f"Pictures: {args.out}/{names}; table: modes.md")
    report(args, found, mixtures, remedies)


def trial(args, mixture, remedy, seed, steps):
    """One GAN, trained on points of the mixture."""
    rng, (draw, centers, std, scale, _) = np.random.default_rng(seed), MIXTURES[mixture]
    gan, replay = build(remedy, rng), Replay(10_000, rng)
    if args.device == "gpu":
        gan.to_gpu()
    points = mover(args.device)(draw(min(EPOCH, BATCH * steps), rng)[0] / np.float32(scale))
    D, G = optimizers(args, gan, remedy, MIXTURES[mixture].beta1, steps)
    of_discriminator, of_generator = play(remedy, gan, replay, rng, G)

    def count(run):
        if run.every(max(steps // 20, 1)):
            modes, quality = metrics.modes_covered(draw_samples(gan, scale), centers, std)
            run.log(modes=modes, quality=quality)

    fit_in_turns(args, f"{mixture} {remedy} seed{seed}", {"gan": gan, "replay": replay}, {
        "discriminator": (D, of_discriminator), "generator": (G, of_generator)},
        points, rng=rng, epochs=BATCH * steps // len(points), size=BATCH, after=count, seed=seed,
        unrolled=UNROLLED)
    return gan


def build(remedy, rng):
    packing = 2 if remedy == "PacGAN2" else 1
    discriminator = pacgan_discriminator(packing, rng=rng)
    if remedy == "minibatch discrimination":
        discriminator = Sequential(*discriminator.steps[:-1], MinibatchDiscrimination(200, 20, 5, rng=rng),
                                   Dense(220, 1, rng=rng))
    return GAN(pacgan_generator(rng=rng), discriminator, 2, "wasserstein" if remedy == "WGAN-GP" else "non-saturating",
               packing)


def optimizers(args, gan, remedy, beta1, steps):
    """Adam for D and for G: as published with --full alone, else as the head of this file has it."""
    wasserstein, published = remedy == "WGAN-GP", args.scale == "full" and args.steps is None
    betas = (0.0, 0.9) if wasserstein else (0.8 if published else beta1, 0.999)  # Gulrajani et al. 2017, algorithm 1
    if published:
        rates = 1e-4, 1e-4
    else:
        rates = cosine(args.lr if wasserstein else args.lr / 10, steps), cosine(args.lr, steps)
    return [Adam(player.parameters(), lr=lr, betas=betas)
            for player, lr in zip((gan.discriminator, gan.generator), rates, strict=True)]


def play(remedy, gan, replay, rng, G):
    """What D and what G minimise, of a batch of real points: the plain game, and what the remedy changes in it. The
    unrolled G minimises −L_D of the D that it foresees, as in Metz et al. 2017; its optimizer says at which rate."""

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
    """2500 points, of the same noise every time; batch norm by its running averages."""
    gan.generator.eval()
    x = gan.generate(gan.noise(SAMPLES, np.random.default_rng(0), gan.generator.parameters()[0].data))
    gan.generator.train()
    return scale * to_cpu(x)


def show_growth(args, mixture, remedies, seeds, steps):
    """How many modes are covered over the steps, and how well, mean of the seeds: from the logs."""
    for column, label in (("modes", f"modes covered, of {len(MIXTURES[mixture].centers)}"),
                          ("quality", "share of points of high quality")):
        lines = {}
        for remedy in remedies:
            logs = [plotting.read_log(args.out / f"{file_name(f'{mixture} {remedy} seed{seed}')}-log.csv")
                    for seed in range(args.seed, args.seed + seeds)]
            counted = np.isfinite(logs[0][column])
            lines[remedy] = logs[0]["step"][counted], np.mean([log[column][counted] for log in logs], axis=0)
        plotting.curves(lines, "step", label, f"{mixture} while learning, mean of {seeds} seed{'s' * (seeds > 1)}",
                        args.out / f"{file_name(mixture)}-{column}.png")


def report(args, found, mixtures, remedies):
    mean = {key: np.mean(f, axis=0) for key, f in found.items()}
    if args.steps is None and args.scale != "full":
        expect("Modes of the ring covered by WGAN-GP", mean["ring of 8", "WGAN-GP"][0], low=EXPECTED[args.scale])
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
            expect(f"{mixture}: its points of high quality", 100 * quality, low=95, unit=" %")


if __name__ == "__main__":
    command(main)
