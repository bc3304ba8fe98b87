"""The overhead around the arithmetic: microseconds of a node, a layer, an optimizer step; memory traffic of a step.

    python -m benchmarks.overhead [--rounds 31] [--json PATH]

The arrays are so small that only the overhead counts. PyTorch takes turns, where it is installed. The second table is
about the seven steps of benchmarks.steps: the bytes they hold at once besides weights and optimizer (by tracemalloc),
page faults, and milliseconds.
"""

import argparse
import json
import resource
import statistics
import time
import tracemalloc
from pathlib import Path

import numpy as np

from benchmarks.steps.ours import STEPS, Trainer
from scratchnet import Tensor, layers, no_grad, ops
from scratchnet.optimizers import Adam

CHAIN = 200  # nodes


def microseconds(calls, rounds):
    """The median time of each call; the calls take turns."""
    found = [[] for _ in calls]
    for _ in range(rounds):
        for times, call in zip(found, calls, strict=True):
            start = time.perf_counter()
            call()
            times.append(1e6 * (time.perf_counter() - start))
    return [statistics.median(times) for times in found]


def chain(f, x):
    """f(… f(f(x)))"""
    for _ in range(CHAIN):
        x = f(x)
    return x


def ours():
    """name → (call, number of units in it)"""
    x, layer = Tensor(np.ones((2, 4), np.float32), requires_grad=True), layers.Dense(4, 4, rng=np.random.default_rng(0))
    net = layers.Sequential(*[layers.Dense(4, 4, rng=np.random.default_rng(0)) for _ in range(10)])
    optimizer = Adam(net.parameters())
    for p in optimizer.parameters:
        p.grad = np.ones_like(p.data)

    def forward():
        return chain(ops.tanh, x)

    def unrecorded():
        with no_grad():
            forward()
    gy = np.ones((2, 4), np.float32)
    return {"node, forward, not recorded": (unrecorded, CHAIN), "node, forward": (forward, CHAIN),
            "node, forward and backward": (lambda: forward().backward(gy), CHAIN),
            "Dense layer, forward": (lambda: layer(x), 1),
            "10 Dense layers, forward and backward": (lambda: net(x).backward(gy), 1),
            "Adam, 20 parameters of 10 layers": (optimizer.step, 1)}


def theirs():
    """The same with PyTorch."""
    import torch

    x, layer = torch.ones(2, 4, requires_grad=True), torch.nn.Linear(4, 4)
    net = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(10)])
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    for p in net.parameters():
        p.grad = torch.ones_like(p)

    def forward():
        return chain(torch.tanh, x)

    def unrecorded():
        with torch.no_grad():
            forward()
    gy = torch.ones(2, 4)
    return {"node, forward, not recorded": unrecorded, "node, forward": forward,
            "node, forward and backward": lambda: forward().backward(gy), "Dense layer, forward": lambda: layer(x),
            "10 Dense layers, forward and backward": lambda: net(x).backward(gy),
            "Adam, 20 parameters of 10 layers": optimizer.step}


def traffic(name):
    """(most bytes held at once, page faults, seconds) of one step."""
    trainer = Trainer(name)
    for _ in range(3):
        trainer.step()
    faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    for _ in range(3):
        trainer.step()
    seconds = (time.perf_counter() - start) / 3
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / 3
    tracemalloc.start()
    trainer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, faults, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows, steps = {}, {}
    try:
        others = theirs()
    except ImportError:
        others = {}
    print(f"{'microseconds':40} {'ours':>8} {'PyTorch':>8}")
    for name, (call, units) in ours().items():
        times = microseconds([call, others[name]] if others else [call], arguments.rounds)
        rows[name] = [t / units for t in times]
        print(f"{name:40} " + " ".join(f"{t:8.2f}" for t in rows[name]))
    print(f"\n{'a step':40} {'MB held':>8} {'faults':>8} {'ms':>8}")
    for name in STEPS:
        peak, faults, seconds = steps[name] = traffic(name)
        print(f"{name} {STEPS[name].__doc__[:36]:37} {peak / 1e6:8.1f} {faults:8.0f} {1e3 * seconds:8.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"microseconds": rows, "steps": steps}, indent=1))


if __name__ == "__main__":
    main()
