"""Steps by several processes: measured with 1 and 2 of them, and projected beyond.

    python -m benchmarks.scaling [--steps W3 W4] [--rounds 31] [--figure PNG] [--json PATH]
                                 [--latency MICROSECONDS] [--bandwidth GIGABYTES_PER_SECOND]

Each process has one thread. "Same batch" shares the batch of the step among the processes; "same part" gives each
process a whole one. Measured are the step of one process for every part of the batch, both ways with two processes, and
the all-reduce of two processes for vectors of many lengths. The projection adds to the measured step of one process the
time of an all-reduce by recursive halving and doubling among p processes (Thakur, Rabenseifner & Gropp 2005, section
4.4):

    T(p) = step(part of the batch) + 2 ⌈log₂ p⌉ α + 2 (p − 1)/p · n β

n is the bytes of the gradient, α the latency and 1/β the bandwidth, both fitted to the all-reduce of two processes here
(2 α + n β) or given for another network. It assumes a core for each process and no contention for memory.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.steps.ours import STEPS, Trainer
from scratchnet.plotting.figure import figure
from scratchnet.training import World

LENGTHS = [4**k for k in range(12)]  # of the vectors that are all-reduced, up to 17 MB
MOST = 64  # processes of the projection


def parts(trainer, k, n):
    """Let the workload keep the k-th of n parts of its batch."""
    trainer.workload.data = tuple(a[k * len(a) // n:(k + 1) * len(a) // n] for a in trainer.workload.data)


def step_seconds(world, trainer, rounds):
    """The median time of a step, and its all-reduces' share of it, of the slowest process."""
    whole, reduces = [], []
    for _ in range(rounds + 3):
        world.each(None)  # all start at the same time
        start, inside = time.perf_counter(), 0.0
        for (loss, _), optimizer in zip(trainer.workload.phases, trainer.optimizers, strict=True):
            value = loss()
            optimizer.zero_grad()
            value.backward()
            before = time.perf_counter()
            world.average(optimizer)
            inside += time.perf_counter() - before
            optimizer.step()
        whole.append(time.perf_counter() - start)
        reduces.append(inside)
    return max(world.each((statistics.median(whole[3:]), statistics.median(reduces[3:]))))


def reduce_seconds(world, length, rounds):
    """The median time of the all-reduce of a float32 vector."""
    found, vector = [], np.ones(length, np.float32)
    for _ in range(rounds):
        world.each(None)
        start = time.perf_counter()
        world._average(vector)
        found.append(time.perf_counter() - start)
    return max(world.each(statistics.median(found)))


def work(names, rounds):
    """The measurements of this number of processes, as JSON on stdout."""
    world, found = World(), {"reduce": [], "steps": {}}
    if world.size > 1:
        found["reduce"] = [(4 * n, reduce_seconds(world, n, rounds)) for n in LENGTHS]
    for name in names:
        rows = found["steps"][name] = {}
        batch = len(Trainer(name).workload.data[0])
        for n in [n for n in range(1, MOST + 1) if batch % n == 0] if world.size == 1 else (1, world.size):
            trainer = Trainer(name)
            parts(trainer, world.rank if n > 1 else 0, n)
            rows[n] = step_seconds(world, trainer, rounds)
        rows["bytes"] = sum(optimizer.flat.nbytes for optimizer in trainer.optimizers)
        rows["reduces"] = len(trainer.optimizers)
    if world.rank == 0:
        print(json.dumps(found))


def measure(processes, arguments):
    command = [sys.executable, "-m", "benchmarks.scaling", "--work", "--rounds", str(arguments.rounds), "--steps",
               *arguments.steps]
    if processes > 1:
        command = ["mpiexec", "-n", str(processes), *command]
    one = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | one, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def link(reduces):
    """(α in seconds, β in seconds a byte) of 2 α + n β: the median of the short vectors, the slope over the long ones.
    """
    alpha = statistics.median(seconds for size, seconds in reduces if size <= 1024) / 2
    sizes, seconds = np.array([pair for pair in reduces if pair[0] >= 1 << 18]).T
    return alpha, float(np.polyfit(sizes, seconds, 1)[0])


def projected(p, step, rows, alpha, beta):
    """T(p) for a measured step of one process, with the all-reduces of the workload."""
    return step + 2 * rows["reduces"] * math.ceil(math.log2(p)) * alpha + 2 * (p - 1) / p * rows["bytes"] * beta


def draw(path, ways, words):
    """Speed against the number of processes: circles were measured, lines are projected."""
    with figure(path, 4, 3.2, f"Speed beside one process. Circles: measured. Lines: a projection, {words}",
                list(ways), columns=2) as axes:
        for ax, lines in zip(axes, ways.values(), strict=True):
            ax.plot([1, MOST], [1, MOST], color="0.8", marker="", linestyle="-")
            for (way, (projection, measured)), colour in zip(lines.items(), ("#000000", "#d55e00"), strict=True):
                ax.plot(*zip(*projection, strict=True), color=colour, marker="", label=f"{way} (projection)")
                ax.plot(*zip(*measured, strict=True), color=colour, marker="o", linestyle="", label=f"{way} (measured)")
            ax.set(xscale="log", yscale="log", xlabel="processes", ylabel="examples a second, relative")
            ticks = [2**k for k in range(7)]
            ax.set_xticks(ticks, ticks)
            ax.set_yticks(ticks, ticks)
            ax.minorticks_off()
            ax.legend(fontsize=7)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=["W3", "W4"])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--latency", type=float, help="α of another network, in µs")
    parser.add_argument("--bandwidth", type=float, help="1/β of another network, in GB/s")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.steps, arguments.rounds)
        return
    one, two = measure(1, arguments), measure(2, arguments)
    alpha, beta = link(two["reduce"])
    print(f"all-reduce of two processes: latency {2e6 * alpha:.1f} µs, {1e-9 / beta:.2f} GB/s")
    words = f"with the link of two processes here, {1e6 * alpha:.1f} µs and {1e-9 / beta:.2f} GB/s"
    if arguments.latency or arguments.bandwidth:
        alpha = alpha if arguments.latency is None else 1e-6 * arguments.latency
        beta = beta if arguments.bandwidth is None else 1e-9 / arguments.bandwidth
        words = f"with a link of {1e6 * alpha:.1f} µs and {1e-9 / beta:.2f} GB/s"
    ways = {}
    for name, rows in one["steps"].items():
        step = {int(n): row[0] for n, row in rows.items() if n.isdecimal()}
        ours = two["steps"][name]
        print(f"\n{name}  {rows['bytes'] / 1e6:.1f} MB of gradients\n{'processes':>9} {'ms, same batch':>15} "
              f"{'speed':>6} {'ms, same part':>15} {'speed':>6}")
        same_batch, same_part = [], []
        for p in step:
            times = [projected(p, step[n], rows, alpha, beta) for n in (p, 1)]
            same_batch.append((p, step[1] / times[0]))
            same_part.append((p, p * step[1] / times[1]))
            print(f"{p:9} {1e3 * times[0]:15.2f} {same_batch[-1][1]:6.2f} {1e3 * times[1]:15.2f} "
                  f"{same_part[-1][1]:6.2f}" + ("  projected" if p > 1 else "  measured"))
        measured = [(ours[n][0], factor * step[1] / ours[n][0]) for n, factor in (("2", 1), ("1", 2))]
        print(f"{2:9} {1e3 * measured[0][0]:15.2f} {measured[0][1]:6.2f} {1e3 * measured[1][0]:15.2f} "
              f"{measured[1][1]:6.2f}  measured, of which all-reduce {1e3 * ours['2'][1]:.2f} and "
              f"{1e3 * ours['1'][1]:.2f} ms")
        ways[name] = {"same batch": (same_batch, [(1, 1), (2, measured[0][1])]),
                      "same part": (same_part, [(1, 1), (2, measured[1][1])])}
    if arguments.json:
        arguments.json.write_text(json.dumps({"one": one, "two": two, "alpha": alpha, "beta": beta}, indent=1))
    if arguments.figure:
        draw(arguments.figure, ways, words)


if __name__ == "__main__":
    main()
