"""How time and memory grow with the size of the work; nothing may grow faster than the work itself.

    python -m benchmarks.growth [--figure PATH] [--json PATH]

Each row runs one model forward and backward and varies one size. It shows the time and the bytes held at once, per unit
of work: a falling line is overhead that more work shares, a flat one grows with the work, and a rising one would be a
fault (or the end of a cache).
"""

import argparse
import json
import time
import tracemalloc
from pathlib import Path

import numpy as np

from scratchnet import layers, ops

RNG = np.random.default_rng(0)


def conv_net(channels):
    return layers.Sequential(layers.Conv2D(1, channels, rng=RNG), ops.relu, layers.Conv2D(channels, channels, rng=RNG),
                             ops.relu, layers.Conv2D(channels, 1, rng=RNG))


def images(n, side):
    return RNG.standard_normal((n, side, side, 1), dtype=np.float32)


def square(channels):
    net = layers.Sequential(layers.Conv2D(channels, channels, rng=RNG), ops.relu)
    x = RNG.standard_normal((16, 14, 14, channels), dtype=np.float32)
    return lambda: net(x).sum()


def deep(depth):
    net = layers.Sequential(*[step for _ in range(depth) for step in (layers.Dense(64, 64, rng=RNG), ops.relu)])
    x = RNG.standard_normal((64, 64), dtype=np.float32)
    return lambda: net(x).sum()


def sequence(steps):
    lstm, x = layers.LSTM(16, 64, rng=RNG), RNG.standard_normal((16, steps, 16), dtype=np.float32)
    return lambda: lstm(x)[0].sum()


def of_images(net, x):
    return lambda: net(x).sum()


ROWS = {  # the size that grows: (its values, size → loss, size → units of work, the unit)
    "images in a batch": ([1, 4, 16, 64, 256, 1024], lambda n: of_images(conv_net(16), images(n, 28)), lambda n: n,
                          "image"),
    "side of the images": ([14, 28, 56, 112], lambda s: of_images(conv_net(16), images(8, s)), lambda s: s * s / 784,
                           "784 pixels"),
    "channels": ([8, 16, 32, 64, 128, 256], square, lambda c: c * c / 1024, "1024 kernels"),
    "layers": ([2, 4, 8, 16, 32, 64], deep, lambda d: d, "layer"),
    "steps of a sequence": ([16, 64, 256, 1024], sequence, lambda t: t, "step")}


def measure(loss):
    """(seconds, most bytes held at once) of forward and backward."""
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        loss().backward()
        best = min(best, time.perf_counter() - start)
    tracemalloc.start()
    loss().backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return best, peak


def draw(path, found):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    figure.suptitle("Forward and backward: time and most memory for each unit of work, as one size grows", x=0.01,
                    ha="left", fontsize=11)
    for row, measure in zip(figure.subplots(2, len(found), squeeze=False), ("ms", "MB"), strict=True):
        for ax, (name, points) in zip(row, found.items(), strict=True):
            sizes = [p[0] for p in points]
            values = [p[1] * 1e3 if measure == "ms" else p[2] / 1e6 for p in points]
            ax.plot(sizes, values, "o-", color="black", markersize=4)
            ax.set_xscale("log", base=2)
            ax.set_xticks(sizes, list(map(str, sizes)), fontsize=8)
            ax.set_ylim(0, 1.1 * max(values))
            ax.set_ylabel(f"{measure} per {ROWS[name][3]}", fontsize=9)
            ax.tick_params(axis="y", labelsize=8)
            ax.spines[["top", "right"]].set_visible(False)
            if measure == "MB":
                ax.set_xlabel(name, fontsize=9)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {}
    for name, (sizes, loss, units, unit) in ROWS.items():
        print(f"\n{name}: per {unit}")
        found[name] = []
        for size in sizes:
            seconds, peak = measure(loss(size))
            found[name].append((size, seconds / units(size), peak / units(size)))
            print(f"{size:6}  {1e3 * seconds / units(size):9.3f} ms  {peak / units(size) / 1e6:8.3f} MB", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    if arguments.figure:
        draw(arguments.figure, found)


if __name__ == "__main__":
    main()
