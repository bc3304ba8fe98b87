"""A GAN of points in the plane, watched while it learns: what D thinks of each place, and where it draws G's points.

The arrows are minus the gradient of G's loss with respect to each generated point: the way G would move it. G knows
nothing of the data but these arrows. Watch the ring or the grid: G may sit on a few of the modes and leave the others,
for no arrow points across the gap (mode collapse; demos/mode_collapse.py has the remedies, measured).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchnet import Tensor, grad, metrics, plotting
from scratchnet.backend import to_cpu, to_device_of
from scratchnet.data import toy2d
from scratchnet.demo import Frames, arguments, command, expect, fit_in_turns, mover, reading
from scratchnet.metrics import in_batches
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.ops import leaky_relu, relu, sigmoid
from scratchnet.optimizers import Adam

SECONDS = {"quick": "15 seconds", "default": "1 minute", "full": "3 minutes"}
SIZES = {"quick": (20_000, 6, 12), "default": (50_000, 30, 50), "full": (50_000, 150, 100)}  # points, epochs, frames
KNOWN = {  # name → (how to draw n points, centers and standard deviation of its modes, if it has any)
    "ring": (lambda n, rng: toy2d.ring(n, rng, std=0.1)[0], (toy2d.ring_centers(), 0.1)),
    "grid": (lambda n, rng: toy2d.grid(n, rng, std=0.1)[0], (toy2d.grid_centers(), 0.1)),
    "moons": (lambda n, rng: toy2d.moons(n, rng)[0], None),
    "swiss_roll": (lambda n, rng: toy2d.swiss_roll(n, rng)[0], None)}
OPTION = {"--data": {"default": "ring", "metavar": "DATA",
                     "help": f"{', '.join(KNOWN)}, or a CSV file of two columns (default: ring)"}}
EXPECTED = 5  # modes of the ring still covered at the end, at most; seeds 0 to 4: 1 to 4
SIZE = 100  # of a batch


def main():
    args = arguments("gan_points", "A GAN of points in the plane, step by step.", SECONDS, more=OPTION)
    n, epochs, pictures = SIZES[args.scale]
    data = load(args.data, n, np.random.default_rng(args.seed))
    real = mover(args.device)(data.scaled(data.points))

    rng = np.random.default_rng(args.seed)
    gan = GAN(dense_net([100, 256, 2], relu, rng=rng), dense_net([2, 256, 1], leaky_relu, rng=rng), 100)
    gan.discriminator.steps[0].b.data[...] = rng.uniform(-1, 1, 256)          # or all units would turn at the middle
    if args.device == "gpu":
        gan.to_gpu()
    z = gan.noise(2_500, np.random.default_rng(0), real)                      # the same noise in every picture
    frames = Frames(args.out / "frames", args.resume)

    def of_discriminator(x):
        return gan.discriminator_loss(x, gan.generate(gan.noise(len(x), rng, x)))

    def of_generator(x):
        return gan.generator_loss(gan.noise(len(x), rng, x))

    def draw(run):
        if run.every(max(run.last_step // pictures, 1)):
            frames.add_pixels(run.step + 1, moment(gan, data, z))

    fit_in_turns(args, "gan", gan, {
        "discriminator": (Adam(gan.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999)), of_discriminator),
        "generator": (Adam(gan.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)), of_generator)},
        real, rng=rng, epochs=epochs, size=SIZE, after=draw, data=args.data)

    fake = data.unscaled(gan.generate(z))
    distance, text = metrics.energy_distance(fake, data.points[:2_500]), data.describe(fake)
    frames.save_gif(args.out / "training.gif", f"{args.data}: D, real and generated points")
    plotting.points({text: fake}, data.points[:2_500], f"Generated points, {args.data}", args.out / "points.png")
    print("\n" + plotting.table([[args.data, distance, text]], ["data", "energy distance", "2500 generated points"],
                                args.out / "points.md"))
    print(f"\nPictures: {args.out}/training.gif, points.png; table: points.md")
    if args.data == "ring" and args.scale != "quick":
        expect("Modes of the ring that are left at the end, as nothing is done against collapse",
               metrics.modes_covered(fake, *data.modes)[0], high=EXPECTED)


class Plane(NamedTuple):
    """Real points (n, 2), and the centers and standard deviation of their modes, or None. The nets see points whose
    two coordinates have mean 0 and standard deviation 1."""
    points: np.ndarray
    modes: tuple | None

    def scaled(self, x):
        return ((x - self.points.mean(axis=0)) / self.points.std(axis=0)).astype(np.float32)

    def unscaled(self, x):
        return to_cpu(x) * self.points.std(axis=0) + self.points.mean(axis=0)

    def describe(self, fake):
        """How good generated points are, in words: what of the modes they cover, or else their energy distance."""
        if self.modes is None:
            return f"energy distance {metrics.energy_distance(fake[:500], self.points[:500]):.3f}"
        covered, good = metrics.modes_covered(fake, *self.modes)
        return f"{covered} of {len(self.modes[0])} modes covered, {100 * good:.0f} % of high quality"


def load(name, n, rng):
    """n points of a known kind, or of a file."""
    if name in KNOWN:
        draw, modes = KNOWN[name]
        return Plane(draw(n, rng), modes)
    if not Path(name).exists():
        raise SystemExit(f"--data {name}: expected {', '.join(KNOWN)}, or a CSV file of two columns, and there is no "
                         f"file of this name")
    with reading("--data", name):
        points = toy2d.read_points(name)
    if len(points) < SIZE or 0 in np.ptp(points, axis=0):
        raise SystemExit(f"--data {name}: holds {len(points)} points, expected at least {SIZE}, no column constant")
    with np.errstate(over="ignore", under="ignore"):
        if not (np.isfinite(points.std(axis=0)) & (points.var(axis=0) > 0)).all():
            raise SystemExit(f"--data {name}: float32 cannot hold the variance of its points: scale its columns")
    return Plane(points[rng.integers(len(points), size=n)], None)


def moment(gan, data, z):
    """One frame: D over the plane, points, and the arrows that show where G would move them."""
    low, high = data.points.min(axis=0), data.points.max(axis=0)
    reach, middle = 0.65 * (high - low).max(), (low + high) / 2
    line = np.linspace(-reach, reach, 80)
    places = np.stack(np.meshgrid(middle[0] + line, middle[1] + line), axis=-1).reshape(-1, 2)
    fake = gan.generate(z)
    real = in_batches(lambda x: sigmoid(gan.judge(x)), to_device_of(data.scaled(places), fake))
    extent = (middle[0] - reach, middle[0] + reach, middle[1] - reach, middle[1] + reach)
    return plotting.plane_frame(real.reshape(80, 80), extent, data.points[:1_000], data.unscaled(fake[:500]),
                                pulls(gan, data, fake[:500]), data.describe(data.unscaled(fake)))


def pulls(gan, data, fake):
    """The arrows −N ∂L_G/∂x at N generated points. The nets see s = (x − mean)/std: a step of s is one of std ⊙ s."""
    s = Tensor(fake, requires_grad=True)
    with gan.discriminator.frozen():
        gradient = grad(gan.loss_of_generator(gan.judge(s)), s)
    return -len(s) * data.points.std(axis=0) * to_cpu(gradient.data)


if __name__ == "__main__":
    command(main)
