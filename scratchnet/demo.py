"""What all demos share on the command line, so that `python demos/any.py --help` always reads the same."""

import argparse
from pathlib import Path

from scratchnet import plotting
from scratchnet.backend import gpu_available, to_gpu


def arguments(name, description, seconds, argv=None):
    """The parsed command line. seconds: how long {"quick", "default", "full"} take on two CPU cores, in words.

    The result has .scale ("quick", "default" or "full"), .seed, .device, .out, .resume, .detect_anomaly.
    """
    parser = argparse.ArgumentParser(prog=name, description=description)
    scale = parser.add_mutually_exclusive_group()
    for choice in ("quick", "full"):
        scale.add_argument(f"--{choice}", dest="scale", action="store_const", const=choice, default="default",
                           help=f"takes {seconds[choice]} (default: {seconds['default']})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help="folder for everything that is written")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in OUT, if there is one")
    parser.add_argument("--detect-anomaly", action="store_true", help="find the op behind a NaN (slow)")
    args = parser.parse_args(argv)
    if args.device == "gpu" and not gpu_available():
        parser.error("--device gpu: no CUDA device is in reach of CuPy (install the extra cuda12 or cuda13)")
    print(f"{name} ({args.scale}, {args.device}): {description} About {seconds[args.scale]} on two CPU cores.\n"
          f"Everything is written to {args.out}/", flush=True)
    return args


def mover(device):
    """A function that brings a host array to the device."""
    return to_gpu if device == "gpu" else lambda x: x


class Frames:
    """Pictures of a training, one PNG a step in `folder`, and the GIF of them all. A resumed run goes on with them."""

    def __init__(self, folder, resume):
        self.folder = folder
        if not resume:
            for old in folder.glob("*.png"):
                old.unlink()

    def add(self, step, images, columns):
        plotting.save_frame(plotting.frame(images, columns), self.folder / f"{step:06d}.png")

    def save_gif(self, path):
        files = sorted(self.folder.glob("*.png"))
        plotting.save_gif(files, path, captions=[f"after {int(f.stem):,} steps" for f in files])
