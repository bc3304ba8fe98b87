"""Seven training steps, scratchnet against PyTorch: milliseconds, ratios, peak memory.

    python -m benchmarks.steps [--quick] [--only W3 …] [--json PATH] [--figure PATH]

ours.py and theirs.py hold the same seven models with the same weights, data and optimizer (Adam). First the losses and
gradients of one step are compared in float64: in float32, the processor decides on which side of a relu's kink an
activation of the size of rounding lies. Then they take turns in float32, a fifth of a second each, in separate
processes, so that the threads and memory settings of one do not disturb the other. A ratio is our time over theirs in
the same round. The table gives its median and, in brackets, the range of the middle half of the rounds. PyTorch runs in
every way that may be its best: Adam fused or not, images with channels last, an allocator (glibc) that keeps large
blocks. The fastest way counts.

Where numba is installed, we run in two ways, with compiled loops and without, each beside the same rounds of PyTorch.
JAX (compiled), HIPS autograd and MyGrad, where they are installed, run the steps that others.py has.

A round in which other processes take more than 12 % of a core is dropped and repeated, at most as often as there are
rounds; the table says how many were dropped (Linux).

The last line is the geometric mean. The settings are 2 threads, 1 thread, and 2 threads with the kernels that OpenBLAS
has for Haswell, which lacks AVX-512. Memory is the most that a process ever held, interpreter and library included; in
brackets is the growth since just after the import. Variables such as OPENBLAS_CORETYPE and ATEN_CPU_CAPABILITY apply to
all processes.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.steps.others import LIBRARIES
from benchmarks.steps.ours import STEPS
from benchmarks.steps.worker import Worker

NAMES = {"W1": "GAN of points", "W2": "dense VAE", "W3": "conv VAE", "W4": "deep autoencoder", "W5": "DCGAN",
         "W6": "denoiser", "W7": "LSTM"}
WITH_IMAGES = ("W3", "W5", "W6")  # where channels_last makes a difference
SETTINGS = {"2 threads": (2, {}), "1 thread": (1, {}), "2 threads, Haswell": (2, {"OPENBLAS_CORETYPE": "Haswell"})}
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}
WAYS = {  # ways to run PyTorch: (options of Trainer, environment)
    "default Adam": ({"fused": False}, {}),
    "fused Adam": ({}, {}),
    "fused, malloc keeps": ({}, KEEPING),
    "fused, channels last": ({"channels_last": True}, {}),
    "fused, channels last, malloc keeps": ({"channels_last": True}, KEEPING)}
OURS = {"NumPy": {"SCRATCHNET_COMPILED": "0"}} | ({"compiled": {}} if find_spec("numba") else {})
FOREIGN = 0.12  # cores that others may have in a round
MODULES = {"JAX, compiled": "jax", "HIPS autograd": "autograd", "MyGrad": "mygrad"}


def rivals(name, ways, others):
    """(who, side, options of its Trainer, environment) of everyone who runs this workload besides us."""
    for way in ways:
        options, environment = WAYS[way]
        if name in WITH_IMAGES or not options.get("channels_last"):
            yield way, "theirs", options, environment
    for library in others:
        if name in LIBRARIES[library][1]:
            yield library, "others", {"library": library}, {}


def agree(names, threads, environment, ways, others):
    """Raise unless all agree on the first step of each workload, in float64.

    float64 takes more memory than float32, so these are not the processes that are measured. All but ours have one
    thread, since their threads wait for one another, on a busy machine for long.
    """
    workers = {"ours": Worker("ours", threads, environment | OURS["NumPy"]), "theirs": Worker("theirs", 1, {}),
               "others": Worker("others", 1, {"JAX_ENABLE_X64": "1"})}
    for name in names:
        workers["ours"].ask("build", name, {"dtype": "float64"})
        state, first = workers["ours"].ask("state"), workers["ours"].ask("first")
        for who, side, options, _ in rivals(name, ways, others):
            workers[side].ask("build", name, {"state": state, **options})
            compare(name, who, first, workers[side].ask("first"))
    for worker in workers.values():
        worker.end()


def measure(name, threads, environment, rounds, seconds, ways, others):
    """{who: {"ms": [median of each round], "peak": bytes, "imported": bytes}} for OURS, PyTorch in its WAYS, and other
    libraries, in float32; and {"dropped": rounds with foreign load}."""
    workers = {way: Worker("ours", threads, environment | more) for way, more in OURS.items()}
    for worker in workers.values():
        worker.ask("build", name, {})
    state = workers["NumPy"].ask("state")
    for who, side, options, more in rivals(name, ways, others):
        workers[who] = Worker(side, threads, more)
        workers[who].ask("build", name, {"state": state, **options})
    found, dropped = {way: {"ms": []} for way in workers}, 0
    for worker in workers.values():  # warms up
        worker.ask("time", seconds)
    while len(found["NumPy"]["ms"]) < rounds:
        before = load(workers)
        times = {way: 1e3 * statistics.median(worker.ask("time", seconds)) for way, worker in workers.items()}
        if foreign(before, load(workers)) > FOREIGN and dropped < rounds:
            dropped += 1
            continue
        for way, ms in times.items():
            found[way]["ms"].append(ms)
    for way, worker in workers.items():
        found[way]["peak"], found[way]["imported"] = worker.ask("peak")
        worker.end()
    return found | {"dropped": dropped}


def load(workers):
    """(seconds now, processor seconds of the whole machine, processor seconds of our processes); zeros elsewhere than
    on Linux."""
    try:
        user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
        ours = 0
        for process in ("self", *(worker.process.pid for worker in workers.values())):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ours += int(fields[11]) + int(fields[12])
        tick = os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), (user + nice + system + irq + softirq + steal) / tick, ours / tick
    except OSError:
        return time.perf_counter(), 0.0, 0.0


def foreign(before, after):
    """How many cores other processes had between two calls of `load`."""
    seconds, machine, ours = (b - a for a, b in zip(before, after, strict=True))
    return (machine - ours) / seconds


def compare(name, way, ours, theirs):
    """Raise unless the losses of the first step agree to 1e-9, and each gradient to 1e-9 of its largest entry.

    A bias before a batch norm has gradient zero, where only the rounding of larger numbers is left. So the largest
    entry counts as no less than a thousandth of the largest one in all gradients.
    """
    for (our_loss, our_gradients), (their_loss, their_gradients) in zip(ours, theirs, strict=True):
        assert math.isclose(our_loss, their_loss, rel_tol=1e-9), f"{name}, {way}: losses {our_loss}, {their_loss}"
        assert our_gradients.keys() == their_gradients.keys(), f"{name}, {way}: other parameters"
        largest = max(np.abs(g).max() for g in their_gradients.values())
        for key, g in their_gradients.items():
            error = np.abs(our_gradients[key] - g).max() / max(np.abs(g).max(), 1e-3 * largest)
            assert error < 1e-9, f"{name}, {way}: gradients of {key} differ by {error:.1e}"


def summary(found, our_way):
    """(ours ms, best way, its ms, median ratio, low, high, our share of its memory) of one workload and setting."""
    best = min((way for way in found if way in WAYS), key=lambda way: statistics.median(found[way]["ms"]))
    ours, theirs = found[our_way], found[best]
    ratios = [a / b for a, b in zip(ours["ms"], theirs["ms"], strict=True)]
    low, high = np.quantile(ratios, [0.25, 0.75])
    return (statistics.median(ours["ms"]), best, statistics.median(theirs["ms"]), statistics.median(ratios), low, high,
            ours["peak"] / theirs["peak"])


def geometric_mean(ratios):
    return math.exp(statistics.mean(map(math.log, ratios)))


def table(setting, results):
    """Print, for each of OURS, a line for each workload and the geometric mean of the ratios; then the times of other
    libraries."""
    for our_way in OURS:
        rows = {name: summary(found, our_way) for name, found in results.items()}
        print(f"\n{setting}, {our_way}\n{'':21}scratchnet   PyTorch   ratio             peak memory, MB         "
              f"best of PyTorch")
        for name, (ours, best, theirs, ratio, low, high, _) in rows.items():
            a, b = results[name][our_way], results[name][best]
            memory = [f"{r['peak'] / 1e6:.0f} (+{(r['peak'] - r['imported']) / 1e6:.0f})" for r in (a, b)]
            print(f"{name} {NAMES[name]:16}{ours:9.2f} ms {theirs:7.2f} ms   {ratio:.2f} ({low:.2f}–{high:.2f})  "
                  f"{memory[0]:>10} {memory[1]:>12}  {best}")
        print(f"geometric mean of the ratios: {geometric_mean(row[3] for row in rows.values()):.2f}", flush=True)
    for name, found in results.items():
        for library in MODULES.keys() & found.keys():
            print(f"{name} {library}: {statistics.median(found[library]['ms']):.2f} ms")
    print(f"rounds dropped for foreign load: {sum(found['dropped'] for found in results.values())}", flush=True)


def draw(path, everything):
    """Draw the ratios as bars, a group for each workload, a colour for each setting, and a line at 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    bars = [(f"{setting}, {our_way}", our_way, results) for setting, results in everything.items() for our_way in OURS]
    ax, width = figure.subplots(), 0.8 / len(bars)
    for k, (label, our_way, results) in enumerate(bars):
        rows = [summary(found, our_way) for found in results.values()]
        x = np.arange(len(rows)) + (k - (len(bars) - 1) / 2) * width
        middle, low, high = (np.array([row[i] for row in rows]) for i in (3, 4, 5))
        ax.bar(x, middle, width * 0.9, yerr=[middle - low, high - middle], capsize=2, label=label)
    ax.axhline(1.0, color="black", linewidth=1)
    ax.set_xticks(range(len(rows)), [f"{name}\n{NAMES[name]}" for name in results], fontsize=8)
    ax.set_ylabel("time of a training step, PyTorch = 1")
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one setting, few rounds, PyTorch in two ways")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    rounds, seconds, settings, ways = arguments.rounds, 0.2, arguments.settings, list(WAYS)
    if arguments.quick:
        rounds, seconds, settings, ways = 3, 0.1, settings[:1], ["fused Adam", "fused, channels last"]
    print(f"{processor()}; Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {version('torch')}")
    everything, others = {}, [] if arguments.quick else [a for a, b in MODULES.items() if find_spec(b)]
    with tqdm(total=len(settings) * len(arguments.only), unit="workload") as progress:
        for setting in settings:
            everything[setting], beside = {}, others if setting == settings[0] else ()
            agree(arguments.only, *SETTINGS[setting], ways, beside)
            for name in arguments.only:
                everything[setting][name] = measure(name, *SETTINGS[setting], rounds, seconds, ways, beside)
                progress.update()
    for setting, results in everything.items():
        table(setting, results)
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))
    if arguments.figure:
        draw(arguments.figure, everything)


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
