"""Seven ways to play the game of a GAN, on a line, and two mistakes.

Once D is sure which samples are generated, the original loss ln(1 − D(G(z))) is almost flat, and G starves. That is
why everyone minimises −ln D(G(z)) or another loss (Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017). The
first figure shows the slope of each loss over D's logit. The second shows how much of it reaches G's weights while D
alone learns. Then G plays all seven games from the same initial weights, against data to which its distance is computed
exactly. In each step D and G both learn once (the papers on Wasserstein GANs give D five steps for each of G's).

The mistakes are common in published code and raise no error: a D that ends in a sigmoid before a loss that expects
logits, and a loss for G of samples that were made outside the tape.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import Tensor, adversarial, divergences, games, grad, no_grad, ops, plotting
from scratchnet.backend import to_cpu, to_device_of, uniform
from scratchnet.data import toy1d
from scratchnet.demo import (
    arguments,
    command,
    expect,
    file_name,
    fit_in_turns,
    mean_and_spread,
    mover,
    of_seeds,
    too_short,
)
from scratchnet.initializers import he_normal
from scratchnet.layers import Dense, Sequential, SpectralDense, leaky
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

SECONDS = {"quick": "15 seconds", "default": "2 minutes", "full": "5 minutes"}
SAMPLES, BATCH, PENALTY, LIMIT = 12_800, 128, 0.1, 0.1  # PENALTY: λ of the gradient penalty; LIMIT of clipped weights
EDGES = np.linspace(-10, 10, 1001)
DATA = toy1d.Mixture((0.6, 0.4), (-1.1, 1.2), (0.6, 0.5))
NOISE = np.linspace(-1, 1, 4001, dtype=np.float32)[:, None]  # the grid of z that gives the density of G(z)
START, FAR = -3.0, -6.0                                      # where G's samples begin; and where, while D learns alone


class Scale(NamedTuple):
    seeds: int
    epochs: int        # of each game
    alone_epochs: int  # in which D learns alone


class Expected(NamedTuple):
    """Seeds 0 to 4: starved 0.003 to 0.056 at quick, 0.0002 to 0.004 at default; distance 0.22 to 0.54, 0.08 to 0.14;
    mistake 0.7 to 16 (too short to tell), 4.8 to 32."""
    starved: float   # gradient in G's weights when D is sure, minimax over non-saturating, at most
    distance: float  # Wasserstein-1 distance after the non-saturating game, at most
    mistake: float   # distance after the milder mistake, over that distance, at least; not judged at quick


SCALES = {"quick": Scale(seeds=1, epochs=2, alone_epochs=1), "default": Scale(seeds=3, epochs=12, alone_epochs=5),
          "full": Scale(seeds=5, epochs=60, alone_epochs=5)}
EXPECTED = {"quick": Expected(starved=0.15, distance=2.0, mistake=0),
            "default": Expected(starved=0.05, distance=0.2, mistake=2),
            "full": Expected(starved=0.05, distance=0.15, mistake=2)}


class Way(NamedTuple):
    """A way to play: the game, the layers of D, and the bound on its slope."""
    game: str
    layer: type = Dense
    penalty: float = 0.0     # λ of the gradient penalty
    limit: float = 0.0       # of the weights of D, which are clipped
    ending: tuple = ()       # after D's last layer: nothing, unless by mistake
    on_tape: bool = True     # whether G's samples are recorded in G's step


WAYS = {"minimax": Way("minimax"), "non-saturating": Way("non-saturating"), "least squares": Way("least squares"),
        "hinge": Way("hinge"), "hinge, spectral normalisation": Way("hinge", layer=SpectralDense),
        "Wasserstein, clipping": Way("wasserstein", limit=LIMIT),
        "Wasserstein, gradient penalty": Way("wasserstein", penalty=PENALTY)}
MISTAKES = {"mistake: sigmoid before a loss of logits": Way("non-saturating", ending=(ops.sigmoid,)),
            "mistake: G's samples made outside the tape": Way("non-saturating", on_tape=False)}


def main():
    args = arguments("gan_losses", "Seven games of a GAN, and two mistakes.", SECONDS)
    scale, expected = SCALES[args.scale], EXPECTED[args.scale]
    seeds = range(args.seed, args.seed + scale.seeds)

    show_slopes(args.out)
    starved = starve(args, scale.alone_epochs)
    reached = {name: np.array([play(args, f"{name} {seed}", way, seed, scale.epochs) for seed in seeds])
               for name, way in (WAYS | MISTAKES).items()}                      # name → (seeds, 2)
    before = np.array([distances(players(WAYS["minimax"], np.random.default_rng(seed)).generator) for seed in seeds])
    rows = [[name, *(mean_and_spread(column, 3) for column in values.T)]
            for name, values in ({"before training": before} | reached).items()]
    print("\n" + plotting.table(rows, [f"game, {of_seeds(seeds)}", "Wasserstein-1", "Jensen-Shannon"],
                                args.out / "losses.md"))
    confess(args)
    print(f"\nPictures: {args.out}/slopes.png, starving.png; table: losses.md")
    right, *wrong = (reached[name][:, 0].mean() for name in ("non-saturating", *MISTAKES))
    expect("Gradient in G's weights once D is sure, minimax over non-saturating", starved, high=expected.starved)
    expect("Wasserstein-1 distance after the non-saturating game", right, high=expected.distance)
    if args.scale == "quick":
        too_short("either mistake leaves G far from the data")
    else:
        expect("Distance after the milder mistake, as a multiple of that", min(wrong) / right, low=expected.mistake)


def show_slopes(out):
    """|∂L_G/∂b| by the engine, over D's logit b of one generated sample."""
    b = np.linspace(-10, 10, 2001)
    losses = {"minimax, ln(1 − D)": games.saturating_generator,
              "non-saturating, −ln D": games.non_saturating_generator,
              "least squares": games.least_squares_generator, "hinge": games.wasserstein_generator,
              "Wasserstein, the same": games.wasserstein_generator,
              "mistake: non-saturating of σ(b)": lambda b: games.non_saturating_generator(ops.sigmoid(b))}
    lines = {}
    for name, loss in losses.items():
        x = Tensor(b, requires_grad=True)
        lines[name] = b, len(b) * np.abs(grad(loss(x), x).data)               # losses are means
    plotting.curves(lines, "D's logit b of a generated sample (at −10, D is sure that it is generated)", "|∂L/∂b|",
                    "How strongly each loss of G pulls a generated sample", out / "slopes.png", yscale="log",
                    ylim=(1e-5, None))


def discriminator(way, rng):
    """1 → 32 → 32 → 1, leaky ReLU. The first biases are spread over the line, else all units would bend at 0."""
    made = Sequential(way.layer(1, 32, rng=rng, init=he_normal), leaky,
                      way.layer(32, 32, rng=rng, init=he_normal), leaky,
                      way.layer(32, 1, rng=rng, init=he_normal), *way.ending)
    made.steps[0].b.data[...] = rng.uniform(-3, 3, 32)
    return made


def players(way, rng, at=START):
    """A GAN to be played. Its G, 1 → 32 → 32 → 1, tanh, depends on the seed alone, and its samples begin about `at`."""
    generator = dense_net([1, 32, 32, 1], ops.tanh, rng=rng)
    generator.steps[0].b.data[...] = rng.uniform(-3, 3, 32)
    generator.steps[-1].b.data[...] = at
    return GAN(generator, discriminator(way, rng), latent=1, game=way.game)


def noise(x, rng):
    """z ~ U[−1, 1), one for each sample in x"""
    return 2 * uniform(rng, x.shape, like=x) - 1


def start(args, way, seed, at=START):
    """(GAN, data, rng) of a seed"""
    rng = np.random.default_rng(seed)
    gan = players(way, rng, at)
    if args.device == "gpu":
        gan.to_gpu()
    return gan, mover(args.device)(DATA.draw(SAMPLES, rng)), rng


def starve(args, epochs):
    """Let D alone learn in five games, and draw the norm of the gradient in G's weights. Returns its last value in the
    minimax game over that in the non-saturating game."""
    lines = {}
    for name in games.GAMES:
        gan, x, rng = start(args, Way(name), args.seed, at=FAR)
        z = noise(x[:1_000], np.random.default_rng(0))

        def look(run, gan=gan, z=z):
            if run.every(10):
                slopes = grad(gan.generator_loss(z), gan.generator.parameters())
                run.log(norm=ops.sqrt(sum(ops.square(g).sum() for g in slopes)))

        D = Adam(gan.discriminator.parameters(), lr=1e-3, betas=(0.0, 0.999))
        fit_in_turns(args, f"alone {name}", gan,
                     {"D": (D, lambda x, gan=gan, rng=rng: gan.discriminator_loss(x, gan.generate(noise(x, rng))))},
                     x, rng=rng, epochs=epochs, size=BATCH, after=look)
        log = plotting.read_log(args.out / f"alone-{file_name(name)}-log.csv")
        lines[name] = log["step"], log["norm"]
    lines = {name.replace("wasserstein", "Wasserstein"): line for name, line in lines.items()}
    plotting.curves(lines, "step of D, while G stands still", "‖∂L/∂(weights of G)‖",
                    "The gradient that reaches G as D grows sure", args.out / "starving.png", yscale="log")
    return float(lines["minimax"][1][-1] / lines["non-saturating"][1][-1])


def play(args, name, way, seed, epochs):
    """Play a game. Returns the distances of G from the data at its end."""
    gan, x, rng = start(args, way, seed)
    D, G = gan.discriminator, gan.generator
    steps = epochs * (SAMPLES // BATCH)

    def loss_of_D(x):
        fake = gan.generate(noise(x, rng))                                    # an array: no gradient leads to G
        loss = gan.discriminator_loss(x, fake)
        if way.penalty:
            loss = loss + way.penalty * adversarial.gradient_penalty(D, x, fake, rng)
        return loss

    def loss_of_G(x):
        if way.limit:  # D has just learned (clipping also ends the spread of its biases)
            adversarial.clip_weights(D.parameters(), way.limit)
        z = noise(x, rng)
        if not way.on_tape:
            return gan.loss_of_generator(D(gan.generate(z)))                  # the mistake: G's weights are not in it
        with D.frozen():                                                      # D stands still, only G learns
            return gan.loss_of_generator(D(G(z)))

    fit_in_turns(args, name, gan, {
        "D": (Adam(D.parameters(), lr=cosine(1e-2, steps), betas=(0.0, 0.999)), loss_of_D),
        "G": (Adam(G.parameters(), lr=cosine(1e-3, steps), betas=(0.0, 0.999)), loss_of_G)},
        x, rng=rng, epochs=epochs, size=BATCH)
    return distances(G)


def distances(generator):
    """W₁(p, q) = ∫ |F_p − F_q| dx and JS(p ‖ q) between the data and G's samples, by sums over all cells"""
    with no_grad():
        x = to_cpu(generator(to_device_of(NOISE, generator.steps[0].w.data)).data)[:, 0]
    p, q = DATA.cells(EDGES), divergences.push_forward(x, EDGES)
    return np.abs(np.cumsum(p - q)).sum() * (EDGES[1] - EDGES[0]), divergences.exact("Jensen-Shannon", p, q)


def confess(args):
    """Make the second mistake in the one form that the engine refuses: all of G's step outside the tape."""
    gan, x, rng = start(args, WAYS["non-saturating"], args.seed)
    with no_grad():
        loss = gan.generator_loss(noise(x[:BATCH], rng))
    try:
        loss.backward()
    except ValueError as error:
        print(f"G's whole loss under no_grad, then backward():\n    {error}")


if __name__ == "__main__":
    command(main)
