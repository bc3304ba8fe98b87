"""The theory of GANs on a line, where every quantity can be computed (Goodfellow et al. 2014; Nowozin et al. 2016).

A generator bends uniform noise z into numbers x. Their density q is known exactly: it is the noise pushed forward
through G. So D stands beside the best discriminator, D* = p/(p + q), and the value of the game, V(D, G), beside its
maximum over D, 2 JS(p ‖ q) − 2 ln 2. V stays below that maximum, since D lags behind D*. So G does not descend the
divergence, but the part of it that D has learned to see.

Then p and q are fixed, and nets measure four f-divergences between them from samples, each from below.
"""

from typing import NamedTuple

import numpy as np

from scratchnet import divergences, ops, plotting
from scratchnet.backend import to_cpu, uniform
from scratchnet.data import toy1d
from scratchnet.demo import Frames, arguments, command, expect, fit, fit_in_turns, mean_and_spread, mover, of_seeds
from scratchnet.metrics import in_batches
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.optimizers import Adam
from scratchnet.plotting.figure import figure
from scratchnet.schedules import cosine

SECONDS = {"quick": "15 seconds", "default": "1½ minutes", "full": "2 minutes"}


class Scale(NamedTuple):
    seeds: int
    game_epochs: int
    measuring_epochs: int
    frames: int  # of the GIF


class Expected(NamedTuple):
    js: float     # JS(p ‖ q) at the end of the game, at most
    share: float  # of a divergence that a net finds, in percent, at least


SCALES = {"quick": Scale(seeds=1, game_epochs=3, measuring_epochs=2, frames=6),
          "default": Scale(seeds=3, game_epochs=30, measuring_epochs=6, frames=60),
          "full": Scale(seeds=3, game_epochs=120, measuring_epochs=30, frames=60)}
EXPECTED = {"quick": Expected(js=0.2, share=80), "default": Expected(js=0.04, share=98),
            "full": Expected(js=0.02, share=98)}
SAMPLES, BATCH = 25_600, 256
EDGES = np.linspace(-5, 5, 501)
X = ((EDGES[1:] + EDGES[:-1]) / 2).astype(np.float32)[:, None]            # the centers of the cells
WIDTH = EDGES[1] - EDGES[0]
DATA = toy1d.Mixture((0.6, 0.4), (-1.1, 1.2), (0.6, 0.5))
NOISE = np.linspace(-1, 1, 4001, dtype=np.float32)[:, None]               # the grid of z that gives the density of G(z)
STILL = toy1d.Mixture((0.6, 0.4), (-0.8, 1.2), (0.8, 0.8)), toy1d.Mixture((1.0,), (0.5,), (1.0,))  # p and q


def main():
    args = arguments("gan_theory", "The game of generator and discriminator, beside its theory.", SECONDS)
    scale = SCALES[args.scale]
    seeds = range(args.seed, args.seed + scale.seeds)

    history = [play(args, f"game-{seed}", seed, scale, film=seed == args.seed) for seed in seeds]
    show_value(args.out, history[0])
    js = [float(h["js"][-1]) for h in history]
    gap = max(float(np.nanmax(h["value"] - optimum(h["js"]))) for h in history)
    print(f"\nJS(p ‖ q) at the end of the game, {of_seeds(seeds)}: {mean_and_spread(js, 4)}")

    shares = measure(args, seeds, scale.measuring_epochs)
    print(f"Pictures: {args.out}/game.gif, game.png, value.png, outputs.png; table: bounds.md")
    expected = EXPECTED[args.scale]
    expect("Largest V(D, G) − (2 JS − 2 ln 2) in any game", gap, high=0)
    expect(f"JS(p ‖ q) at the end of the game, {of_seeds(seeds)}", float(np.mean(js)), high=expected.js)
    expect("Smallest share of a divergence that a net finds", shares.min(), expected.share, 100, " %")


def net(rng):
    """1 → 32 → 32 → 1, tanh. The biases of the first layer are spread over the line, else all units would bend at 0."""
    made = dense_net([1, 32, 32, 1], ops.tanh, rng=rng)
    made.steps[0].b.data[...] = rng.uniform(-3, 3, 32)
    return made


def play(args, name, seed, scale, film):
    """Play the game of one seed, with a GIF of it if film. Returns its log."""
    rng, device = np.random.default_rng(seed), mover(args.device)
    x = device(DATA.draw(SAMPLES, rng))
    gan = GAN(net(rng), net(rng), latent=1)
    if args.device == "gpu":
        gan.to_gpu()
    steps = scale.game_epochs * (SAMPLES // BATCH)
    pictures = Frames(args.out / "frames", args.resume) if film else None

    def z(x):
        return 2 * uniform(rng, x.shape, like=x) - 1

    def look(run):
        if run.every(max(1, steps // scale.frames)):
            state = State(gan, device)
            run.log(js=state.js, value=state.value)
            if film:
                pictures.add_pixels(run.step + 1, state.picture())

    of_D, of_G = (Adam(player.parameters(), lr=cosine(lr, steps), betas=(0.0, 0.999))
                  for player, lr in ((gan.discriminator, 2e-2), (gan.generator, 5e-4)))
    fit_in_turns(args, name, gan, {
        "D": (of_D, lambda x: gan.discriminator_loss(x, gan.generate(z(x)))),  # G(z) is an array, so D alone learns
        "G": (of_G, lambda x: gan.generator_loss(z(x)))},                      # D is frozen in it, so G alone learns
        x, rng=rng, epochs=scale.game_epochs, size=BATCH, after=look)
    if film:
        plotting.save_frame(State(gan, device).picture(), args.out / "game.png")
        pictures.save_gif(args.out / "game.gif", "A GAN on a line")
    return plotting.read_log(args.out / f"{name}-log.csv")


class State:
    """A game at one moment: q, D, JS(p ‖ q) and V(D, G), the last two as sums over all cells."""

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
        """Figure 1 of Goodfellow et al. 2014, as pixels."""
        return plotting.stacked_frame(self._draw, 3, 6.0, 6.4)

    def _draw(self, densities, verdicts, paths):
        x = X[:, 0]
        densities.plot(x, self.p / WIDTH, label="p, data", marker="")
        densities.plot(x, self.q / WIDTH, label="q, generator", marker="")
        densities.set(ylim=(0, 0.8), title=f"Densities: JS(p ‖ q) = {self.js:.4f}")
        verdicts.plot(x, ops.sigmoid(divergences.best_output("Jensen-Shannon", self.p, self.q)),
                       label="D* = p/(p + q)", marker="")
        verdicts.plot(x, self.D, label="D", marker="")
        verdicts.set(ylim=(-0.05, 1.5), yticks=[0, 0.5, 1], title=(
            f"Discriminator: V(D, G) = {self.value:.4f}, at most 2 JS − 2 ln 2 = {optimum(self.js):.4f}"
            .replace("-", "−")))
        for axes in (densities, verdicts):
            axes.legend(loc="upper right", ncols=2, handlelength=2)
        some = slice(None, None, 100)
        paths.plot([4 * NOISE[some, 0], self.map[some]], [0, 1], color="#0072b2", linestyle="-", marker="", lw=0.8)
        paths.set(ylim=(0, 1), yticks=[0, 1], yticklabels=["z", "x"], xticks=[-4, -2, 0, 2, 4],
                xticklabels=["−1", "−½", "z = 0", "½", "1"], title="Generator: lines from uniform z up to x = G(z)")
        for axes in (densities, verdicts, paths):
            axes.set_xlim(-4, 4)


def optimum(js):
    """V(D*, G) = 2 JS(p ‖ q) − 2 ln 2"""
    return 2 * js - 2 * np.log(2)


def show_value(out, history):
    seen = np.isfinite(history["js"])
    steps = history["step"][seen]
    plotting.curves({"V(D*, G) = 2 JS − 2 ln 2": (steps, optimum(history["js"][seen])),
                     "V(D, G)": (steps, history["value"][seen]),
                     "−2 ln 2, where p = q": (steps, np.full(len(steps), -2 * np.log(2)))}, "training step",
                    "value of the game", "V(D, G) stays below its maximum over D, which falls as q nears p",
                    out / "value.png", ylim=(-1.45, -1.1))


def measure(args, seeds, epochs):
    """Let a net measure each divergence of the fixed p and q from samples. Returns the shares found, in percent."""
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
    header = ["divergence", "exact", "found by a net", "share found, %"]
    print("\n" + plotting.table(rows, header, args.out / "bounds.md"))
    show_outputs(args.out, outputs, p, q)
    return np.array(shares)


def show_outputs(out, outputs, p, q):
    """The output T of each net beside the best one, T* = f′(p/q), where p and q have mass."""
    shown = np.abs(X[:, 0]) < 4
    with figure(out / "outputs.png", 3, 3, "Outputs T of the nets, and the best ones, T* = f′(p/q)",
                list(outputs)) as row:
        for axes, (name, v) in zip(row, outputs.items(), strict=True):
            T = divergences.divergence(name).activation
            for label, line in (("T*", T(divergences.best_output(name, p, q))), ("T", T(v))):
                axes.plot(X[shown, 0], line[shown], label=label, marker="")
            axes.set_xlabel("x")
        row[0].legend()


if __name__ == "__main__":
    command(main)
