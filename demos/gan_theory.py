"""The theory of GANs on a line, where all can be computed (Goodfellow et al. 2014, figure 1; Nowozin et al. 2016).

A generator bends uniform noise z into numbers x, whose density q can be had exactly: it is the one of noise pushed
through G. So beside what D says stands the best that it could say, D* = p/(p + q), and beside the value V(D, G) of the
game its optimum 2 JS(p ‖ q) − 2 ln 2. D is always below it; and since it lags behind, G descends what D has understood
of the divergence, not the divergence.

Then p and q stand still, and nets measure four f-divergences from samples, each from below.
"""

import numpy as np

from scratchnet import divergences, ops, plotting
from scratchnet.backend import to_cpu, uniform
from scratchnet.data import toy1d
from scratchnet.demo import Frames, arguments, command, expect, fit, fit_in_turns, mean_and_spread, mover
from scratchnet.metrics import in_batches
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.optimizers import Adam
from scratchnet.plotting.figure import figure
from scratchnet.schedules import cosine

SECONDS = {"quick": "15 seconds", "default": "1½ minutes", "full": "2 minutes"}
SIZES = {  # seeds; epochs of the game, of the measurements; frames of the film
    "quick": (1, 3, 2, 6), "default": (3, 30, 6, 60), "full": (3, 120, 30, 60)}
EXPECTED = {"quick": (0.2, 80), "default": (0.04, 98), "full": (0.02, 98)}  # JS at most; share of a divergence, %
SAMPLES, BATCH = 25_600, 256
EDGES = np.linspace(-5, 5, 501)
X = ((EDGES[1:] + EDGES[:-1]) / 2).astype(np.float32)[:, None]            # the middle of each cell
WIDTH = EDGES[1] - EDGES[0]
DATA = toy1d.Mixture((0.6, 0.4), (-1.1, 1.2), (0.6, 0.5))
NOISE = np.linspace(-1, 1, 4001, dtype=np.float32)[:, None]               # the partition of z for the density of G(z)
STILL = toy1d.Mixture((0.6, 0.4), (-0.8, 1.2), (0.8, 0.8)), toy1d.Mixture((1.0,), (0.5,), (1.0,))  # p and q to measure


def main():
    args = arguments("gan_theory", "The game of generator and discriminator beside what theory says of it.", SECONDS)
    seeds, game_epochs, epochs, frames = SIZES[args.scale]
    seeds = range(args.seed, args.seed + seeds)

    history = [play(args, seed, game_epochs, frames, film=seed == args.seed) for seed in seeds]
    show_value(args.out, history[0])
    js = [float(h["js"][-1]) for h in history]
    nearest = max(float(np.nanmax(h["value"] - optimum(h["js"]))) for h in history)
    print(f"\nJS(p ‖ q) at the end of the game, {len(js)} seeds: {mean_and_spread(js, 4)}")

    shares = measure(args, seeds, epochs)
    print(f"\nPictures: {args.out}/game.gif, game.png, value.png, outputs.png; table: bounds.md")
    most, least = EXPECTED[args.scale]
    expect("V(D, G) minus its optimum 2 JS − 2 ln 2, the largest in any game", nearest, high=0)
    expect("JS at the end, mean", float(np.mean(js)), high=most)
    expect("Share of the divergence that a trained net finds, the least of all", shares.min(), least, 100, " %")


def net(rng):
    """1 → 32 → 32 → 1, tanh. First biases are spread over the line, or all units would turn at 0."""
    made = dense_net([1, 32, 32, 1], ops.tanh, rng=rng)
    made.steps[0].b.data[...] = rng.uniform(-3, 3, 32)
    return made


def play(args, seed, epochs, frames, film):
    """The game of one seed, and its log; with a film of it if asked for."""
    rng, device = np.random.default_rng(seed), mover(args.device)
    x = device(DATA.draw(SAMPLES, rng))
    gan = GAN(net(rng), net(rng), latent=1)
    if args.device == "gpu":
        gan.to_gpu()
    name, steps = f"game-{seed}", epochs * (SAMPLES // BATCH)
    pictures = Frames(args.out / "frames", args.resume) if film else None

    def z(x):
        return 2 * uniform(rng, x.shape, like=x) - 1

    def look(run):
        if run.every(max(1, steps // frames)):
            state = State(gan, device)
            run.log(js=state.js, value=state.value)
            if film:
                pictures.add_pixels(run.step + 1, state.picture())

    of_D, of_G = (Adam(player.parameters(), lr=cosine(lr, steps), betas=(0.0, 0.999))
                  for player, lr in ((gan.discriminator, 2e-2), (gan.generator, 5e-4)))
    fit_in_turns(args, name, gan, {
        "D": (of_D, lambda x: gan.discriminator_loss(x, gan.generate(z(x)))),  # G gives arrays, so D alone learns
        "G": (of_G, lambda x: gan.generator_loss(z(x)))},                      # in there D is frozen, so G alone learns
        x, rng=rng, epochs=epochs, size=BATCH, after=look)
    if film:
        plotting.save_frame(State(gan, device).picture(), args.out / "game.png")
        pictures.save_gif(args.out / "game.gif", "The game on a line")
    return plotting.read_log(args.out / f"{name}-log.csv")


class State:
    """What can be known of a game at one moment: q, D, JS(p ‖ q) and V(D, G), the last two as sums over all cells."""

    p = DATA.cells(EDGES)

    def __init__(self, gan, device):
        x = gan.generate(device(NOISE))
        self.map = to_cpu(x)[:, 0]
        self.q = divergences.push_forward(self.map, EDGES)
        logit = in_batches(gan.judge, device(X))[:, 0].astype(np.float64)
        self.D = ops.sigmoid(logit)
        self.js = divergences.exact("Jensen-Shannon", self.p, self.q)
        self.value = 2 * divergences.bound("Jensen-Shannon", logit, self.p, self.q) - 2 * np.log(2)

    def picture(self):
        """Goodfellow et al. 2014, figure 1, as pixels."""
        return plotting.stacked_frame(self._draw, 3, 6.0, 6.4)

    def _draw(self, densities, judgement, way):
        x = X[:, 0]
        densities.plot(x, self.p / WIDTH, label="p, data", marker="")
        densities.plot(x, self.q / WIDTH, label="q, generator", marker="")
        densities.set(ylim=(0, 0.8), title=f"Densities: JS(p ‖ q) = {self.js:.4f}")
        judgement.plot(x, ops.sigmoid(divergences.best_output("Jensen-Shannon", self.p, self.q)),
                       label="D* = p/(p + q)", marker="")
        judgement.plot(x, self.D, label="D", marker="")
        judgement.set(ylim=(-0.05, 1.5), yticks=[0, 0.5, 1], title=(
            f"Discriminator: V(D, G) = {self.value:.4f}, at best 2 JS − 2 ln 2 = {optimum(self.js):.4f}"
            .replace("-", "−")))
        for axes in (densities, judgement):
            axes.legend(loc="upper right", ncols=2)
        some = slice(None, None, 100)
        way.plot([4 * NOISE[some, 0], self.map[some]], [0, 1], color="#0072b2", linestyle="-", marker="", lw=0.8)
        way.set(ylim=(0, 1), yticks=[0, 1], yticklabels=["z", "x"], xticks=[-4, -2, 0, 2, 4],
                xticklabels=["−1", "−½", "z = 0", "½", "1"], title="Generator: from z, uniform, up to x = G(z)")
        for axes in (densities, judgement, way):
            axes.set_xlim(-4, 4)


def optimum(js):
    """V(D*, G) = 2 JS(p ‖ q) − 2 ln 2"""
    return 2 * js - 2 * np.log(2)


def show_value(out, history):
    seen = np.isfinite(history["js"])
    steps = history["step"][seen]
    plotting.curves({"2 JS − 2 ln 2, of D*": (steps, optimum(history["js"][seen])),
                     "V(D, G), of D": (steps, history["value"][seen]),
                     "−2 ln 2, where p = q": (steps, np.full(len(steps), -2 * np.log(2)))}, "step", "value of the game",
                    "The value of the game is below its optimum, and both sink", out / "value.png")


def measure(args, seeds, epochs):
    """Every divergence of p and q, which stand still, from samples by a net; the shares of it that were found, in %"""
    device, (p, q) = mover(args.device), (mixture.cells(EDGES) for mixture in STILL)
    rows, shares, outputs = [], [], {}
    for name in divergences.DIVERGENCES:
        bounds = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            real, fake = (device(mixture.draw(4 * SAMPLES, rng)) for mixture in STILL)
            T = net(rng)
            fit(args, f"{name} {seed}", T,
                lambda a, b, name=name, T=T: -divergences.bound_from_samples(name, T(a), T(b)),
                real, fake, rng=rng, epochs=epochs, size=4 * BATCH, lr=1e-2)
            v = in_batches(T, device(X))[:, 0].astype(np.float64)
            bounds.append(divergences.bound(name, v, p, q))
            outputs.setdefault(name, v)
        exact = divergences.exact(name, p, q)
        share = 100 * np.array(bounds) / exact
        rows.append([name, exact, mean_and_spread(bounds, 5), mean_and_spread(share, 1)])
        shares += list(share)
    print("\n" + plotting.table(rows, ["divergence", "exact", "found by a net", "share, %"], args.out / "bounds.md"))
    show_outputs(args.out, outputs, p, q)
    return np.array(shares)


def show_outputs(out, outputs, p, q):
    """T of a net beside T* = f′(p/q), where p and q live."""
    lives = np.abs(X[:, 0]) < 4
    with figure(out / "outputs.png", 3, 3, "What the nets say, T, and the best that they could, T* = f′(p/q)",
                list(outputs)) as row:
        for axes, (name, v) in zip(row, outputs.items(), strict=True):
            T = divergences.divergence(name).activation
            for label, line in (("T*", T(divergences.best_output(name, p, q))), ("T", T(v))):
                axes.plot(X[lives, 0], line[lives], label=label, marker="")
            axes.set_xlabel("x")
        row[0].legend()


if __name__ == "__main__":
    command(main)
