"""Seven ways to play the game of a GAN, on a line, and two mistakes: what reaches the generator, and what it reaches.

As soon as D tells generated samples for sure, the loss of the first formula, ln(1 − D(G(z))), has a slope of next to
nothing, and G starves; that is why everyone minimises −ln D(G(z)), or another loss (Goodfellow et al. 2014, section 3;
Arjovsky & Bottou 2017). The first figure has the slopes by D's logit, the second what is left of them in G's weights
while D alone learns. Then all seven play with the same first G, against data whose distance can be computed exactly. In
each step D and G learn once (the papers of Wasserstein's game give D five steps for each of G).

The mistakes are common in published code and do not fail aloud: a D that ends in a sigmoid, before a loss that takes
logits; and a G's loss of samples that were made outside of the tape.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import Tensor, adversarial, divergences, games, grad, no_grad, ops, plotting
from scratchnet.backend import to_cpu, to_device_of, uniform
from scratchnet.data import toy1d
from scratchnet.demo import arguments, command, expect, file_name, fit_in_turns, mean_and_spread, mover
from scratchnet.initializers import he_normal
from scratchnet.layers import Dense, Sequential, SpectralDense, leaky
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

SECONDS = {"quick": "15 seconds", "default": "2 minutes", "full": "5 minutes"}
SIZES = {"quick": (1, 2, 1), "default": (3, 12, 5), "full": (5, 60, 5)}  # seeds; epochs of a game, of D alone
# What reaches G's weights when D is sure, at most; distance of the non-saturating game, at most; how many times as far
# the mistakes are off, at least. Seeds 0 to 4: quick 0.003 to 0.056, 0.22 to 0.54, 0.7 to 16 (too short for the
# mistakes to tell), default 0.0002 to 0.004, 0.08 to 0.14, 4.8 to 32
EXPECTED = {"quick": (0.15, 2.0, 0.3), "default": (0.05, 0.2, 2.0), "full": (0.05, 0.15, 2.0)}
SAMPLES, BATCH, PENALTY, LIMIT = 12_800, 128, 0.1, 0.1  # PENALTY: λ of the gradient penalty; LIMIT of clipped weights
EDGES = np.linspace(-10, 10, 1001)
DATA = toy1d.Mixture((0.6, 0.4), (-1.1, 1.2), (0.6, 0.5))
NOISE = np.linspace(-1, 1, 4001, dtype=np.float32)[:, None]  # the partition of z for the density of G(z)
START, FAR = -3.0, -6.0                                      # where G's first samples are; and while D learns alone


class Way(NamedTuple):
    """A way to play: the losses, the layers of D, and what keeps its slope down."""
    game: str
    layer: type = Dense
    penalty: float = 0.0
    limit: float = 0.0
    ends: tuple = ()         # what comes after D's last layer: nothing, if all is right
    on_tape: bool = True     # whether G's samples are recorded in G's step


WAYS = {"minimax": Way("minimax"), "non-saturating": Way("non-saturating"), "least squares": Way("least squares"),
        "hinge": Way("hinge"), "hinge, spectral normalisation": Way("hinge", layer=SpectralDense),
        "Wasserstein, clipping": Way("wasserstein", limit=LIMIT),
        "Wasserstein, gradient penalty": Way("wasserstein", penalty=PENALTY)}
MISTAKES = {"mistake: sigmoid before a loss of logits": Way("non-saturating", ends=(ops.sigmoid,)),
            "mistake: G's samples made outside of the tape": Way("non-saturating", on_tape=False)}


def main():
    args = arguments("gan_losses", "Seven losses of a GAN, and two mistakes.", SECONDS)
    seeds, epochs, alone = SIZES[args.scale]
    seeds = range(args.seed, args.seed + seeds)

    show_slopes(args.out)
    left = starve(args, alone)
    reached = {name: np.array([play(args, name, way, seed, epochs) for seed in seeds])
               for name, way in (WAYS | MISTAKES).items()}                      # name → (seeds, 2)
    before = np.array([distances(players(WAYS["minimax"], np.random.default_rng(seed)).generator) for seed in seeds])
    rows = [[name, *(mean_and_spread(column, 3) for column in values.T)]
            for name, values in ({"before training": before} | reached).items()]
    print("\n" + plotting.table(rows, [f"{len(seeds)} seeds", "Wasserstein-1", "Jensen-Shannon"],
                                args.out / "losses.md"))
    confess(args)
    print(f"\nPictures: {args.out}/slopes.png, starving.png; table: losses.md")
    share, far, worse = EXPECTED[args.scale]
    right, *wrong = (reached[name][:, 0].mean() for name in ("non-saturating", *MISTAKES))
    expect("What reaches G's weights when D is sure, minimax over non-saturating", left, high=share)
    expect("Wasserstein-1 distance of the non-saturating game", right, high=far)
    expect("The lesser of the two mistakes, times as far", min(wrong) / right, low=worse)


def show_slopes(out):
    """|∂L_G/∂b| over the logit b that D gives one generated sample, by the engine."""
    b = np.linspace(-10, 10, 200)  # without 1, where the slope of least squares is 0
    losses = {"saturating, ln(1 − D)": games.saturating_generator,
              "non-saturating, −ln D": games.non_saturating_generator,
              "least squares": games.least_squares_generator, "hinge, Wasserstein": games.wasserstein_generator,
              "non-saturating, but of σ(b)": lambda b: games.non_saturating_generator(ops.sigmoid(b))}
    lines = {}
    for name, loss in losses.items():
        x = Tensor(b, requires_grad=True)
        lines[name] = b, len(b) * np.abs(grad(loss(x), x).data)               # losses are means
    plotting.curves(lines, "D's logit b of a generated sample (−10: D is sure that it is generated)", "|∂L/∂b|",
                    "How strongly a sample is pulled, by what D thinks of it", out / "slopes.png", yscale="log")


def discriminator(way, rng):
    """1 → 32 → 32 → 1, leaky ReLU. First biases are spread over the line, or all units would turn at 0."""
    made = Sequential(way.layer(1, 32, rng=rng, init=he_normal), leaky,
                      way.layer(32, 32, rng=rng, init=he_normal), leaky,
                      way.layer(32, 1, rng=rng, init=he_normal), *way.ends)
    made.steps[0].b.data[...] = rng.uniform(-3, 3, 32)
    return made


def players(way, rng, at=START):
    """G: 1 → 32 → 32 → 1, tanh, the same for all ways with one seed; it starts about `at`."""
    generator = dense_net([1, 32, 32, 1], ops.tanh, rng=rng)
    generator.steps[0].b.data[...] = rng.uniform(-3, 3, 32)
    generator.steps[-1].b.data[...] = at
    return GAN(generator, discriminator(way, rng), 1, way.game)


def noise(x, rng):
    """z ~ U[−1, 1), one for each sample in x"""
    return 2 * uniform(rng, x.shape, like=x) - 1


def start(args, way, seed, at=START):
    """(the GAN, data, rng) of a seed"""
    rng = np.random.default_rng(seed)
    gan = players(way, rng, at)
    if args.device == "gpu":
        gan.to_gpu()
    return gan, mover(args.device)(DATA.draw(SAMPLES, rng)), rng


def starve(args, epochs):
    """D alone learns; the length of the gradient in G's weights, G's loss taken in five games. Gives the last of
    minimax over non-saturating."""
    lines = {}
    for name in games.GAMES:
        gan, x, rng = start(args, Way(name), args.seed, at=FAR)
        z = noise(x[:1_000], np.random.default_rng(0))

        def look(run, gan=gan, z=z):
            if run.every(10):
                slopes = grad(gan.generator_loss(z), gan.generator.parameters())
                run.log(length=ops.sqrt(sum(ops.square(g).sum() for g in slopes)))

        D = Adam(gan.discriminator.parameters(), lr=1e-3, betas=(0.0, 0.999))
        fit_in_turns(args, f"alone {name}", gan,
                     {"D": (D, lambda x, gan=gan, rng=rng: gan.discriminator_loss(x, gan.generate(noise(x, rng))))},
                     x, rng=rng, epochs=epochs, size=BATCH, after=look)
        log = plotting.read_log(args.out / f"alone-{file_name(name)}-log.csv")
        lines[name] = log["step"], log["length"]
    plotting.curves(lines, "steps of D, while G stands still", "length of ∂L/∂(weights of G)",
                    "What reaches the generator as D gets surer", args.out / "starving.png", yscale="log")
    return float(lines["minimax"][1][-1] / lines["non-saturating"][1][-1])


def play(args, name, way, seed, epochs):
    """A game of `epochs`; gives how far G is from the data then."""
    gan, x, rng = start(args, way, seed)
    D, G = gan.discriminator, gan.generator
    steps = epochs * (SAMPLES // BATCH)

    def loss_of_D(x):
        fake = gan.generate(noise(x, rng))                                    # an array: nothing in it leads to G
        loss = gan.discriminator_loss(x, fake)
        if way.penalty:
            loss = loss + way.penalty * adversarial.gradient_penalty(D, x, fake, rng)
        return loss

    def loss_of_G(x):
        if way.limit:  # D has just learned (and with its first step the spread of its biases goes)
            adversarial.clip_weights(D.parameters(), way.limit)
        z = noise(x, rng)
        if not way.on_tape:
            return gan.loss_of_generator(D(gan.generate(z)))                  # the mistake: G's weights are not in it
        with D.frozen():                                                      # D stands still: only G learns
            return gan.loss_of_generator(D(G(z)))

    fit_in_turns(args, f"{name} {seed}", gan, {
        "D": (Adam(D.parameters(), lr=cosine(1e-2, steps), betas=(0.0, 0.999)), loss_of_D),
        "G": (Adam(G.parameters(), lr=cosine(1e-3, steps), betas=(0.0, 0.999)), loss_of_G)},
        x, rng=rng, epochs=epochs, size=BATCH)
    return distances(G)


def distances(generator):
    """W₁(p, q) = ∫ |F_p − F_q| dx and JS(p ‖ q), of the data and of what G makes, by sums over all cells"""
    with no_grad():
        x = to_cpu(generator(to_device_of(NOISE, generator.steps[0].w.data)).data)[:, 0]
    p, q = DATA.cells(EDGES), divergences.push_forward(x, EDGES)
    return np.abs(np.cumsum(p - q)).sum() * (EDGES[1] - EDGES[0]), divergences.exact("Jensen-Shannon", p, q)


def confess(args):
    """The second mistake in the one form that the engine refuses: all of G's step outside of the tape."""
    gan, x, rng = start(args, WAYS["non-saturating"], args.seed)
    with no_grad():
        loss = gan.generator_loss(noise(x[:BATCH], rng))
    try:
        loss.backward()
    except ValueError as error:
        print(f"\nG's whole loss under no_grad, and then backward: {error}")


if __name__ == "__main__":
    command(main)
