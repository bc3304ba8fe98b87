"""A GAN of points in the plane, watched while it learns, with each step of its two players written out.

G turns noise z into points; D gives each place a logit, high where it takes a point for real. The arrows are minus the
gradient of G's loss with respect to each generated point: they show where D would move it. They are all that G learns
of the data. No arrow points across the gap between two modes, so on the ring or the grid G may settle on a few modes
and leave the others (mode collapse; demos/mode_collapse.py measures the remedies).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchnet import Tensor, grad, metrics, plotting
from scratchnet.backend import to_cpu, to_device_of
from scratchnet.data import toy2d
from scratchnet.demo import Frames, arguments, command, expect, mover, reading, too_short
from scratchnet.games import minimax_discriminator, non_saturating_generator
from scratchnet.metrics import in_batches
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.ops import leaky_relu, relu, sigmoid
from scratchnet.optimizers import Adam
from scratchnet.training import Run

SECONDS = {"quick": "15 seconds", "default": "1 minute", "full": "3 minutes"}
KNOWN = {  # name → (how to draw n points, centers and standard deviation of its modes, if it has any)
    "ring": (lambda n, rng: toy2d.ring(n, rng, std=0.1)[0], (toy2d.ring_centers(), 0.1)),
    "grid": (lambda n, rng: toy2d.grid(n, rng, std=0.1)[0], (toy2d.grid_centers(), 0.1)),
    "moons": (lambda n, rng: toy2d.moons(n, rng)[0], None),
    "swiss_roll": (lambda n, rng: toy2d.swiss_roll(n, rng)[0], None)}
OPTION = {"--data": {"default": "ring", "metavar": "DATA",
                     "help": f"{', '.join(KNOWN)}, or a CSV file of two columns (default: ring)"}}
SIZE = 100       # of a batch
SHOWN = 2_500    # generated points of every picture, from the same noise


class Scale(NamedTuple):
    points: int
    epochs: int
    frames: int  # of the GIF


SCALES = {"quick": Scale(points=20_000, epochs=6, frames=12), "default": Scale(points=50_000, epochs=30, frames=50),
          "full": Scale(points=50_000, epochs=150, frames=100)}
EXPECTED = {"default": 5, "full": 7}  # modes of the ring touched at the end, at most; default, seeds 0 to 4: 1 to 4


def main():
    args = arguments("gan_points", "A GAN of points in the plane, step by step.", SECONDS, more=OPTION)
    scale, rng = SCALES[args.scale], np.random.default_rng(args.seed)
    data = load(args.data, scale.points, np.random.default_rng(args.seed))
    gan = GAN(dense_net([100, 256, 2], relu, rng=rng), dense_net([2, 256, 1], leaky_relu, rng=rng), latent=100)
    gan.discriminator.steps[0].b.data[...] = rng.uniform(-1, 1, 256)  # else all kinks would pass through the middle
    if args.device == "gpu":
        gan.to_gpu()
    fake = data.unscaled(train(args, "gan", gan, data, scale, rng))

    distance = metrics.energy_distance(fake, data.points[:SHOWN])
    words = data.on_modes(fake) or f"energy distance {distance:.3f}"
    plotting.points({words: fake}, data.points[:SHOWN], f"Generated points: {data.name}",
                    args.out / "points.png")
    header, row = ["data", "energy distance"], [data.name, distance]
    if data.modes is not None:
        header, row = [*header, f"{SHOWN} generated points"], [*row, words]
    print("\n" + plotting.table([row], header, args.out / "points.md"))
    print(f"Pictures: {args.out}/training.gif, points.png; table: points.md")
    if args.scale == "quick":
        too_short("generated points gather on the data, often on few of its modes")
    elif args.data == "ring":
        expect("Modes of the ring touched at the end, without a remedy against collapse",
               metrics.modes_covered(fake, *data.modes)[0], high=EXPECTED[args.scale])


def train(args, name, gan, data, scale, rng):
    """The game: in each step D learns to tell a batch of real points from a generated one, then G learns to be taken
    for real. Both losses are of logits a = D(x) and b = D(G(z)). Returns generated points, scaled."""
    D, G = gan.discriminator, gan.generator
    learn_D, learn_G = (Adam(player.parameters(), lr=1e-3, betas=(0.5, 0.999)) for player in (D, G))
    run = Run(args.out, name=name, model=gan, optimizer={"D": learn_D, "G": learn_G}, rng=rng, resume=args.resume,
              anomaly=args.detect_anomaly, world=args.world,
              settings={"seed": args.seed, "scale": args.scale, "data": args.data})
    frames = Frames(args.out / "frames", args.resume)
    real = mover(args.device)(data.scaled(data.points))
    shown = gan.noise(SHOWN, np.random.default_rng(0), like=real)

    for x in run.batches(real, size=SIZE, epochs=scale.epochs):
        fake = gan.generate(gan.noise(len(x), rng, like=x))      # G(z), z ~ N(0, 1): an array, so G does not learn
        loss_D = minimax_discriminator(D(x), D(fake))            # −mean ln σ(a) − mean ln(1 − σ(b))
        learn_D.zero_grad()
        loss_D.backward()                                        # ∂loss_D/∂(weights of D)
        args.world.average(learn_D)                              # over the processes that mpiexec has started
        learn_D.step()

        z = gan.noise(len(x), rng, like=x)                       # new noise
        with D.frozen():                                         # D's weights are constants, so D does not learn
            loss_G = non_saturating_generator(D(G(z)))           # −mean ln σ(b)
        learn_G.zero_grad()
        loss_G.backward()                                        # ∂loss_G/∂(weights of G), through D
        args.world.average(learn_G)
        learn_G.step()

        run.log(D=loss_D, G=loss_G)
        if run.every(max(run.last_step // scale.frames, 1)):
            frames.add_pixels(run.step + 1, moment(gan, data, shown))
    frames.save_gif(args.out / "training.gif", f"A GAN learns points: {data.name}")
    return gan.generate(shown)


class Plane(NamedTuple):
    """Real points (n, 2), and the centers and standard deviation of their modes, or None. The nets see points whose
    two coordinates have mean 0 and standard deviation 1."""
    name: str
    points: np.ndarray
    modes: tuple | None

    def scaled(self, x):
        return ((x - self.points.mean(axis=0)) / self.points.std(axis=0)).astype(np.float32)

    def unscaled(self, x):
        return to_cpu(x) * self.points.std(axis=0) + self.points.mean(axis=0)

    def on_modes(self, fake):
        """The share of points on a mode, which is within three standard deviations of its center, and how many modes
        they touch. One point is enough for that, so a cloud over the whole plane touches all. Without modes, ""."""
        if self.modes is None:
            return ""
        touched, share = metrics.modes_covered(fake, *self.modes)
        return f"{100 * share:.0f} % of points on a mode, {touched} of {len(self.modes[0])} modes touched"


def load(name, n, rng):
    """n points of a known kind, or from a file."""
    if name in KNOWN:
        draw, modes = KNOWN[name]
        return Plane(name, draw(n, rng), modes)
    if not Path(name).exists():
        raise SystemExit(f"--data {name}: there is no file of this name, expected {', '.join(KNOWN)}, or a CSV file of "
                         f"two columns")
    with reading("--data", name):
        points = toy2d.read_points(name)
    if len(points) < SIZE or 0 in np.ptp(points, axis=0):
        raise SystemExit(f"--data {name}: holds {len(points)} points, expected at least {SIZE}, no column constant")
    with np.errstate(over="ignore", under="ignore"):
        if not (np.isfinite(points.std(axis=0)) & (points.var(axis=0) > 0)).all():
            raise SystemExit(f"--data {name}: float32 cannot hold the variance of its points: scale its columns")
    return Plane(Path(name).stem, points[rng.integers(len(points), size=n)], None)


def moment(gan, data, z):
    """One frame: D over the plane, points, and the arrows that show where D would move them."""
    low, high = data.points.min(axis=0), data.points.max(axis=0)
    reach, middle = 0.65 * (high - low).max(), (low + high) / 2
    line = np.linspace(-reach, reach, 80)
    places = np.stack(np.meshgrid(middle[0] + line, middle[1] + line), axis=-1).reshape(-1, 2)
    fake = gan.generate(z)
    real = in_batches(lambda x: sigmoid(gan.judge(x)), to_device_of(data.scaled(places), fake))
    extent = (middle[0] - reach, middle[0] + reach, middle[1] - reach, middle[1] + reach)
    return plotting.plane_frame(real.reshape(80, 80), extent, data.points[:1_000], data.unscaled(fake[:500]),
                                pulls(gan, data, fake[:500]), data.on_modes(data.unscaled(fake)))


def pulls(gan, data, fake):
    """The arrows −N ∂L_G/∂x at N generated points. The nets see s = (x − mean)/std: a step of s is one of std ⊙ s."""
    s = Tensor(fake, requires_grad=True)
    with gan.discriminator.frozen():
        gradient = grad(gan.loss_of_generator(gan.judge(s)), s)
    return -len(s) * data.points.std(axis=0) * to_cpu(gradient.data)


if __name__ == "__main__":
    command(main)
