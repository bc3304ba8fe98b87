"""The command line and the chores that all demos share, so `python demos/any.py --help` always reads the same."""

import argparse
import json
import os
import re
import sys
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from zlib import crc32

import numpy as np

from scratchnet import data, plotting
from scratchnet.backend import gpu_available, to_gpu
from scratchnet.checkpoint import CheckpointError
from scratchnet.folder import FolderInUse, claim, replacing, write_nothing, writes
from scratchnet.optimizers import AdamW
from scratchnet.schedules import cosine
from scratchnet.training import Run, Stopped, World, start_again


def command(main):
    """Run a demo's main. Expected mistakes end with one line and exit code 2: a checkpoint with other settings, a
    folder in use, a missing file, a batch that the processes cannot share. Bugs keep their traceback."""
    try:
        main()
    except Stopped:
        raise
    except SystemExit as error:
        if not isinstance(error.code, str):
            raise
        _refuse(error.code)
    except (CheckpointError, FolderInUse, data.Indivisible) as error:
        _refuse(error)
    except OSError as error:
        _refuse(in_words(error))


def _refuse(message):
    World().end(f"{Path(sys.argv[0]).stem}: error: " + " ".join(str(message).split("\n")), 2)


def in_words(error):
    """An OSError as "file: reason"."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"


@contextmanager
def reading(option, path):
    """A context in which the user's file or folder is read. If that fails, the program ends with one line."""
    try:
        yield
    except ValueError as error:
        raise SystemExit(f"{option} {path}: {error}") from error
    except OSError as error:
        raise SystemExit(f"{option} {path}: {in_words(error)}") from error


class _Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, without the usage."""

    def error(self, message):
        World().end(f"{self.prog}: error: {message} (--help lists the options)", 2)


def arguments(name, description, seconds, argv=None, more=None):
    """The parsed command line: .scale ("quick", "default" or "full"), .seed, .device, .out, .resume, .detect_anomaly.
    And .world, the processes that mpiexec has started. Only the first of them prints and writes files.

    seconds   scale → its duration on two CPU cores, in words
    more      options of this demo alone: "--option" → keyword arguments of argparse's add_argument
    """
    try:
        world = World()
    except (ImportError, RuntimeError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if world.rank > 0:
        write_nothing()
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    parser = _Parser(prog=name, description=description, epilog=f"mpiexec -n 2 python demos/{name}.py … shares the "
                     f"batches of each training among 2 processes (extra mpi); their number must divide the batch size")
    scale = parser.add_mutually_exclusive_group()
    for choice in ("quick", "full"):
        scale.add_argument(f"--{choice}", dest="scale", action="store_const", const=choice, default="default",
                           help=f"takes {seconds[choice]} (default: {seconds['default']})")
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help="folder for all files that are written")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in OUT, if there is one")
    parser.add_argument("--detect-anomaly", action="store_true", help="find the op behind a NaN (slow)")
    for option, settings in (more or {}).items():
        parser.add_argument(option, **settings)
    args = parser.parse_args(argv)
    args.world = world
    if args.device == "gpu" and not gpu_available():
        parser.error("--device gpu: CuPy finds no CUDA device (install the extra cuda12 or cuda13)")
    try:
        args.claim = claim(args.out) if writes() else None  # as long as args lives, no other process works there
    except FolderInUse as error:
        parser.error(f"--out {error}")
    except OSError as error:
        parser.error(f"--out {in_words(error)}")
    shared = "scale", "seed", "device", "out", "resume", "world", "claim"
    usual = all(value == parser.get_default(key) or key in shared for key, value in vars(args).items())
    duration = f" About {seconds[args.scale]} on two CPU cores." if usual else ""
    devices = args.device if world.size == 1 else f"{world.size} processes on {args.device}"
    print(f"{name} ({args.scale}, {devices}): {description}{duration}\nAll files are written to {args.out}/",
          flush=True)
    if not args.resume:  # or a run that is killed and then resumed would find old checkpoints of its later trainings
        for old in args.out.glob("*-checkpoint.safetensors") if writes() else ():
            start_again(old, old.with_name(old.name.replace("checkpoint.safetensors", "log.csv")))
    return args


def natural(text):
    """A type for argparse: whole numbers from 0."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"{text}, expected a whole number of at least 0")
    return int(text)


def number(low, high):
    """A type for argparse: numbers in [low, high)."""
    def number(text):
        value = float(text)
        if not low <= value < high:
            raise argparse.ArgumentTypeError(f"{text}, expected a number of at least {low} and below {high}")
        return value
    return number


def mover(device):
    """A function that moves a host array to the device."""
    return to_gpu if device == "gpu" else lambda x: x


def mnist(args):
    """MNIST as a Dataset, the full set with --full. A damaged file ends the program with one line."""
    try:
        return data.mnist(full=args.scale == "full")
    except ValueError as error:  # it names the file
        raise SystemExit(str(error)) from error


def digits(args, n_train, n_test):
    """(training images, labels, test images, labels) of MNIST, with the images on the device; the full set with --full.

    images (n_train or n_test, 28, 28, 1), labels (n_train or n_test,)
    """
    found, device = mnist(args), mover(args.device)
    return (device(found.train_images[:n_train]), found.train_labels[:n_train],
            device(found.test_images[:n_test]), found.test_labels[:n_test])


def fit(args, name, model, loss_of, *arrays, rng, epochs, size=100, lr=1e-3, weight_decay=0.0, **settings):
    """Minimise loss_of(*batch) by AdamW, whose learning rate falls to 0 along half a cosine. Returns the model.

    Checkpoint and log begin with file_name(name). --resume continues from the checkpoint and ends like an uninterrupted
    run, provided loss_of draws its noise from this very rng. A resumed run must have the same settings.
    """
    if args.device == "gpu":
        model.to_gpu()
    optimizer = AdamW(model.parameters(), lr=cosine(lr, epochs * (len(arrays[0]) // size)), weight_decay=weight_decay)
    run = Run(args.out, name=file_name(name), model=model, optimizer=optimizer, rng=rng, resume=args.resume,
              anomaly=args.detect_anomaly, world=args.world,
              settings={"seed": args.seed, "scale": args.scale, "epochs": epochs, "lr": lr} | settings)
    for batch in run.batches(*arrays, size=size, epochs=epochs):
        loss = loss_of(*batch) if len(arrays) > 1 else loss_of(batch)
        optimizer.zero_grad()
        loss.backward()
        args.world.average(optimizer)
        optimizer.step()
        run.log(loss=loss)
    return model


def fit_in_turns(args, name, models, players, *arrays, rng, epochs, size=100, after=None, **settings):
    """A game: in every step, each player in turn minimises its own loss (written out in demos/gan_points.py).

    players   name → (optimizer, loss_of), where loss_of(*batch) is the player's loss
    models    for the checkpoint: a Module, or name → an object with state_dict and load_state_dict
    after     after(run), if given, is called at the end of every step, to average weights or draw pictures

    Checkpoint, --resume, rng and settings are as in `fit`; the printed optimizers count among the settings.
    """
    optimizers = {player: optimizer for player, (optimizer, _) in players.items()}
    settings = {player: repr(optimizer) for player, optimizer in optimizers.items()} | settings
    run = Run(args.out, name=file_name(name), model=models, optimizer=optimizers, rng=rng, resume=args.resume,
              anomaly=args.detect_anomaly, world=args.world,
              settings={"seed": args.seed, "scale": args.scale, "epochs": epochs} | settings)
    for batch in run.batches(*arrays, size=size, epochs=epochs):
        losses = {}
        for player, (optimizer, loss_of) in players.items():
            losses[player] = loss_of(*batch) if len(arrays) > 1 else loss_of(batch)
            optimizer.zero_grad()
            losses[player].backward()
            args.world.average(optimizer)
            optimizer.step()
        run.log(**losses)
        if after:
            after(run)


def expect(what, value, low=None, high=None, unit=""):
    """Print a measured number, its expected range, and whether it lies there."""
    bounds = f"at most {high}" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
    reached = (low is None or value >= low) and (high is None or value <= high)
    print(f"{what}: {value:.4g}{unit} (expected: {bounds}, {'reached' if reached else 'NOT REACHED'})")


def too_short(lesson):
    """For --quick: say that the run is too short to show its lesson, such as "the penalty makes the code sparse"."""
    print(f"This run is too short to show that {lesson}. Run it without --quick.")


def mean_and_spread(values, digits):
    """Numbers, one for each seed, as "mean ± standard deviation" (with N − 1), or as the mean alone if there is one."""
    return f"{np.mean(values):.{digits}f}" + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "")


def of_seeds(seeds):
    """A range of seeds in words: "seed 0", "mean of seeds 0 to 2"."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"mean of seeds {seeds[0]} to {seeds[-1]}"


def file_name(name):
    """A name in a form fit for files, of letters and digits: "L1 + GAN, seed 0" → "l1-gan-seed-0"."""
    return re.sub(r"\W+", "-", name.lower())


def tsne(panels):
    """The codes of panels, name → (N, D), as points in the plane, name → (N, 2), so that neighbours stay neighbours.

    Close neighbours can be trusted; sizes of clusters, gaps between them and small clusters cannot (van der Maaten &
    Hinton 2008; Wattenberg et al. 2016). Without scikit-learn there are no panels, and a line says so.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        print("No t-SNE layout: it needs scikit-learn (pip install -e '.[demos]').")
        return {}
    layouts = {}
    for name, z in panels.items():
        with np.errstate(over="ignore"):
            finite = np.isfinite((z * z).sum())  # squares inside TSNE must not overflow either
        if len(z) < 4 or not finite or not np.ptp(z, axis=0).any():
            print(f"No t-SNE layout of {name}: it needs at least 4 codes, finite and not all equal.")
            continue
        start = "pca" if z.shape[1] > 1 else "random"
        layouts[name] = TSNE(2, init=start, random_state=0, perplexity=min(30, (len(z) - 1) / 3)).fit_transform(z)
    return layouts


class Frames:
    """Pictures of a training run, one PNG a step in `folder`, and a GIF of them all. A resumed run adds to them.

    A new run deletes them, and nothing else. `.written.json` lists the files written here, with their checksums, so a
    file that somebody else put there, or changed, stays as it is and is no part of the GIF.
    """

    def __init__(self, folder, resume):
        self.folder, self.list = folder, folder / ".written.json"
        self.written = self._listed()  # step → (name of the file, checksum)
        if not resume and writes():
            for step in self.written:
                if path := self._ours(step):
                    path.unlink()
            self.written = {}

    def add(self, step, images, columns):
        """A sheet of images."""
        self.add_pixels(step, plotting.frame(images, columns))

    def add_pixels(self, step, pixels):
        """Any picture, as uint8."""
        if not writes():
            return
        new = self.folder / ".frame.png"
        plotting.save_frame(pixels, new)
        path = self._ours(step) or self._free(step)
        self.written[step] = path.name, crc32(new.read_bytes())
        with replacing(self.list) as file:
            file.write(json.dumps(self.written).encode())
        new.replace(path)

    def save_gif(self, path, title):
        """All frames as a GIF, each under the title and the number of steps done."""
        if not writes():
            return
        files = {step: file for step in sorted(self.written) if (file := self._ours(step))}
        captions = [f"{title}, " + (f"after {n:,} {'step' if n == 1 else 'steps'}" if n else "before training")
                    for n in files]
        plotting.save_gif(list(files.values()), path, captions=captions)

    def _listed(self):
        try:
            entries = json.loads(self.list.read_text(encoding="utf-8"))
            return {int(step): (str(name), int(checksum)) for step, (name, checksum) in entries.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError, RecursionError):
            return {}  # without a list, or with a foreign one, no file counts as ours

    def _ours(self, step):
        """The file that was written here for this step, if it still exists unchanged."""
        name, checksum = self.written.get(step, (".", 0))
        path = self.folder / Path(name).name
        return path if path.is_file() and crc32(path.read_bytes()) == checksum else None

    def _free(self, step):
        """A name for this step that no file has."""
        names = (f"{step:06d}-{k}.png" if k > 1 else f"{step:06d}.png" for k in count(1))
        return next(self.folder / name for name in names if not os.path.lexists(self.folder / name))
