"""A GPU at the seven training steps: times beside PyTorch, launches, host reads. And two demos beside the CPU.

    python -m benchmarks.gpu card
    python -m benchmarks.gpu demos                    conv_vae and gan_points, --quick, on both devices
    python -m benchmarks.gpu steps [--json PATH]      against PyTorch, eager and compiled
    python -m benchmarks.gpu profile [--json PATH]    launches of a step, time in kernels, host reads

scripts/gpu_check.sh runs all of them. Each prints a line as soon as it knows it, and ends with exit code 1 if something
does not agree. With --dry-run they need no GPU: NumPy stands in for CuPy, and tests/strict.py counts the launches.

Times are from CUDA events between steps that follow each other without waiting, so they are those of a training run.
Both sides compute in float32, without TF32.
"""

import argparse
import csv
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.steps.__main__ import NAMES, WITH_IMAGES, compare
from benchmarks.steps.ours import STEPS, Trainer
from scratchnet import compiled, ops
from scratchnet.backend import gpu_available, to_gpu
from scratchnet.compiled import gpu, gpu_windows, table  # noqa: F401 (gpu_windows fills the table)

ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------- the card

def card(arguments):
    """Print the card, its driver, and versions."""
    ask = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm", "--format=csv"]
    try:
        print(subprocess.run(ask, capture_output=True, text=True, timeout=20).stdout.strip())
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"nvidia-smi: {error}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPU cores, {platform.platform()}")
    for name in ("numpy", "cupy-cuda13x", "cupy-cuda12x", "torch", "triton", "nvidia-cuda-nvrtc", "numba", "pytest"):
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed")
    if not arguments.dry_run:
        import cupy
        print(f"CUDA runtime {cupy.cuda.runtime.runtimeGetVersion()}, driver {cupy.cuda.runtime.driverGetVersion()}, "
              f"NVRTC {cupy.cuda.nvrtc.getVersion()}")
        for n, dtype in ((8192, "float32"), (4096, "float64")):
            a = cupy.ones((n, n), dtype=dtype)
            ms = statistics.median(times(lambda a=a: a @ a, 0.5))
            print(f"{dtype} product of {n}³: {2e-9 * n**3 / ms:.1f} · 10¹² operations per second")
        x = cupy.ones(1 << 28, dtype="float32")
        print(f"copy of 1 GB: {2e-6 * x.nbytes / statistics.median(times(x.copy, 0.5)):.0f} · 10⁹ bytes per second")
        small = cupy.ones(4, dtype="float32")
        kernel = gpu.Kernel("nothing", "out x", "x[t] = 1;")
        for name, call in (("a + a", lambda: small + small), ("a fused kernel", lambda: kernel(4, small))):
            print(f"launch of {name} on 4 numbers: {1e3 * statistics.median(times(call, 0.3)):.1f} µs")
    return True


# ---------------------------------------------------------------- time

class HostMark:
    """A point in time on the host, where there is no GPU."""

    def __init__(self):
        self.at = time.perf_counter()

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        """Nothing to wait for."""


def marks():
    """(a class of marks, the milliseconds between two): CUDA events where there is a GPU."""
    if not gpu_available():
        return HostMark, lambda a, b: 1e3 * (b.at - a.at)
    import cupy
    return cupy.cuda.Event, cupy.cuda.get_elapsed_time


def times(step, seconds):
    """Milliseconds of each step, one after the other for so many seconds, the first two left out."""
    Mark, elapsed = marks()
    found, stop = [], math.inf
    while len(found) < 6 or time.perf_counter() < stop:
        step()
        found.append(Mark())
        found[-1].record()
        if len(found) == 2:  # compilation and first memory are behind
            found[-1].synchronize()
            stop = time.perf_counter() + seconds
    found[-1].synchronize()
    return [elapsed(a, b) for a, b in pairwise(found[1:])]


# ---------------------------------------------------------------- steps beside PyTorch

@contextmanager
def kernels(on):
    """The fused kernels stand in for ops, or the ops' own lines run."""
    compiled.use_kernels(on)
    try:
        yield
    finally:
        compiled.use_kernels(False)


def steps(arguments):
    """Compare the first step of each workload, then time it: fused, in the ops' own lines, and with PyTorch."""
    import torch

    from benchmarks.steps import theirs

    to, device = (np.asarray, "cpu") if arguments.dry_run else (to_gpu, "cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    began, good, found = time.perf_counter(), True, {name: {} for name in arguments.only}

    def note(name, who, step):
        """Time one side, print its line, and keep what is known so far."""
        ms = times(step, arguments.seconds)
        found[name][who] = {"median": statistics.median(ms), "middle half": list(np.quantile(ms, [0.25, 0.75])),
                            "steps": len(ms)}
        print(f"{name} {NAMES[name]:18}{who:22}{found[name][who]['median']:9.3f} ms  "
              f"({' – '.join(f'{q:.3f}' for q in found[name][who]['middle half'])})", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")

    for name in arguments.only:
        try:
            good &= agree(name, theirs, to, device)
            for who, on in (("scratchnet, fused", True), ("scratchnet, own lines", False)):
                with kernels(on):
                    ours = Trainer(name, to=to)
                    note(name, who, ours.step)
            state = ours.state()
            for last in (False, True) if name in WITH_IMAGES else (False,):
                note(name, "PyTorch" + ", channels last" * last,
                     theirs.Trainer(name, state, channels_last=last, device=device).step)
        except Exception as error:
            good = failed(name, error)
    for name in arguments.only if arguments.compile else ():
        if time.perf_counter() > began + arguments.budget - 30:
            print(f"{name}: no time is left to compile it", flush=True)
            continue
        try:
            start, trainer = time.perf_counter(), theirs.Trainer(
                name, Trainer(name).state(), channels_last=name in WITH_IMAGES, device=device, compiled=True)
            trainer.step()
            print(f"{name} compiled in {time.perf_counter() - start:.0f} s", flush=True)
            note(name, "PyTorch, compiled", trainer.step)
        except Exception as error:  # some machines lack what it needs, which is no fault of ours
            failed(f"{name}, torch.compile", error)
    print_ratios(found)
    return good


def agree(name, theirs, to, device):
    """Print how far the first steps are apart: ours and PyTorch's in float64; fused and our own lines in float32."""
    wide = Trainer(name, dtype="float64", to=to)
    good, state, expected = True, wide.state(), wide.first()
    try:
        compare(name, "PyTorch", expected, theirs.Trainer(name, state, device=device).first())
        print(f"{name} first step like PyTorch's in float64")
    except AssertionError as error:
        good = failed(name, error)
    with kernels(False):
        own = Trainer(name, to=to).first()
    with kernels(True):
        fused = Trainer(name, to=to).first()
    loss = max(abs(a / b - 1) for (a, _), (b, _) in zip(fused, own, strict=True))
    lengths = [(np.linalg.norm(mine[key] - g), np.linalg.norm(g)) for (_, mine), (_, right) in zip(
        fused, own, strict=True) for key, g in right.items()]
    gradient = max(apart for apart, _ in lengths) / max(length for _, length in lengths)
    print(f"{name} first step in float32, fused and not: {loss:.1e} apart, gradients {gradient:.1e}", flush=True)
    if not (loss < 1e-5 and gradient < 1e-2):  # an activation near 0 may lie on the other side of its kink
        good = failed(name, "the fused step is another one")
    return good


def failed(name, error):
    print(f"{name} FAILED: {type(error).__name__}: {str(error)[:500]}" if isinstance(error, Exception) else
          f"{name} FAILED: {error}", flush=True)
    return False


def print_ratios(found):
    """A table: our time over the best of PyTorch's, and the geometric mean."""
    ratios = {}
    for name, sides in found.items():
        theirs = {who: side["median"] for who, side in sides.items() if who.startswith("PyTorch")}
        if theirs and "scratchnet, fused" in sides:
            best = min(theirs, key=theirs.get)
            ratios[name] = sides["scratchnet, fused"]["median"] / theirs[best]
            print(f"{name} {NAMES[name]:18} {ratios[name]:6.2f} of {best}")
    if ratios:
        print(f"geometric mean {math.exp(statistics.mean(map(math.log, ratios.values()))):12.2f}", flush=True)


# ---------------------------------------------------------------- where the time goes

WAITING = ("get", "item", "tolist", "__float__", "__int__", "__bool__", "__complex__")


@contextmanager
def counted_reads(kind):
    """A Counter of the calls of an array type that wait for the GPU. One that calls another counts once."""
    counts, inside, before = Counter(), [], {name: vars(kind).get(name) for name in WAITING}

    def counted(name, method):
        def call(self, *arguments, **options):
            if not inside:
                counts[name] += 1
            inside.append(name)
            try:
                return method(self, *arguments, **options)
            finally:
                inside.pop()
        return call
    for name in WAITING:
        setattr(kind, name, counted(name, getattr(kind, name)))
    try:
        yield counts
    finally:
        for name, method in before.items():
            delattr(kind, name) if method is None else setattr(kind, name, method)


def traced(path):
    """(number of launches, copies and fills among them, microseconds in each kernel) of a trace by PyTorch's profiler,
    which sees the kernels of all libraries in the process."""
    events = [e for e in json.loads(Path(path).read_text(encoding="utf-8"))["traceEvents"] if "dur" in e]
    moves = [e for e in events if e.get("cat") in ("gpu_memcpy", "gpu_memset")]
    spent = Counter()
    for e in events:
        if e.get("cat") == "kernel":
            spent[e["name"]] += e["dur"]
    return len(moves) + sum(e.get("cat") == "kernel" for e in events), len(moves), spent


def launches(step):
    """traced() of one step."""
    import torch
    from torch.profiler import ProfilerActivity

    with tempfile.TemporaryDirectory() as folder:
        with torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        profiler.export_chrome_trace(f"{folder}/trace.json")
        return traced(f"{folder}/trace.json")


def profile(arguments):
    """Count launches and host reads of a step of each workload, fused and in the ops' own lines; sum up kernels' times.
    """
    good, found = True, {}
    print(f"{'a step of':34}launches  host reads" + ("" if arguments.dry_run else "  in kernels     step    busy"))
    for name in arguments.only:
        for who, on in (("fused", True), ("own lines", False)):
            try:
                row = on_the_stand_in(name, on) if arguments.dry_run else on_the_gpu(name, on, arguments.seconds)
            except Exception as error:
                good = failed(f"{name}, {who}", error)
                continue
            found[f"{name}, {who}"], reads = row, sum(row["host reads"].values())
            good &= not reads
            print(f"{name} {NAMES[name]:20}{who:11}{row['launches']:8}{reads:12}" + (
                f"{row['in kernels']:9.3f} ms{row['step']:6.3f} ms{row['in kernels'] / row['step']:7.0%}"
                if "step" in row else ""), flush=True)
            for kernel, ms in list(row.get("kernels", {}).items())[:4] if on else ():
                print(f"      {ms:8.3f} ms  {kernel[:90]}", flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if not arguments.dry_run:
        open_questions()
    return good


def on_the_gpu(name, fused, seconds):
    """What a step does on the GPU, milliseconds in kernels among it."""
    with kernels(fused):
        trainer = Trainer(name, to=to_gpu)
        step = statistics.median(times(trainer.step, seconds))
        with counted_reads(gpu.GPU) as reads:
            trainer.step()
        count, moves, spent = launches(trainer.step)
    return {"launches": count, "copies and fills": moves, "host reads": dict(reads), "step": step,
            "in kernels": sum(spent.values()) / 1e3,
            "kernels": {kernel: us / 1e3 for kernel, us in spent.most_common(12)}}


def on_the_stand_in(name, fused):
    """Calls that would launch a kernel, and host reads, in one step on the stand-in for CuPy, where a fused kernel
    gives any numbers."""
    sys.path.insert(0, str(ROOT / "tests"))
    import strict

    launch, kind = gpu.Kernel.__call__, strict.StrictArray
    entries = [entry for entry in table.TABLE if entry.kind is gpu.GPU] if fused else []
    gpu.Kernel.__call__ = lambda kernel, *arguments: strict.launches.update([kernel.name])
    for entry in entries:
        entry.forms[kind] = entry.form
    clear_plans(entries)
    try:
        with np.errstate(all="ignore"):
            trainer = Trainer(name, to=strict.strict.asarray)
            trainer.step()
            strict.launches.clear()
            before = strict.reads.count
            trainer.step()
            return {"launches": strict.launches.total(), "host reads": {"of the stand-in": strict.reads.count - before}}
    finally:
        gpu.Kernel.__call__ = launch
        for entry in entries:
            del entry.forms[kind]
        clear_plans(entries)


def clear_plans(entries):
    for entry in entries:
        if entry.op is not None:
            entry.op.plans = {}


def open_questions():
    """Two choices that only a GPU can settle: sums over columns, and 3×3 convolutions with many channels."""
    import cupy
    for rows, columns in ((64, 256), (3136, 64), (12544, 32), (78400, 64)):
        x = cupy.ones((rows, columns), dtype="float32")
        one = cupy.ones(rows, dtype="float32")
        ways = {"1ᵀx, 1 made": lambda x=x: cupy.ones(len(x), dtype="float32") @ x, "1ᵀx": lambda x=x, one=one: one @ x,
                "x.sum(0)": lambda x=x: x.sum(axis=0)}
        print(f"column sums {rows} × {columns}, µs: " + ", ".join(
            f"{name} {1e3 * statistics.median(times(way, 0.1)):.1f}" for name, way in ways.items()), flush=True)
    rng = np.random.default_rng(0)
    for c, o in ((32, 64), (64, 64), (128, 128)):
        x, w = (to_gpu(rng.standard_normal(shape, dtype="float32")) for shape in ((64, 28, 28, c), (3, 3, c, o)))
        for who, on in (("unfolded", True), ("Winograd", False)):
            with kernels(on):
                ms = statistics.median(times(lambda x=x, w=w: ops.conv2d(x, w), 0.2))
                print(f"convolution {c} → {o} @28, batch 64, {who}: {ms:.3f} ms", flush=True)


# ---------------------------------------------------------------- demos on both devices

DEMOS = {"conv_vae": "switches.md", "gan_points": "points.md"}
CLOSE = 1e-4  # the first logged losses, relative: float32 sums in another order


def demos(arguments):
    """Run each demo on the CPU and on the GPU, side by side; compare their logs, and print their tables together."""
    good, second = True, "cpu" if arguments.dry_run else "gpu"
    with tempfile.TemporaryDirectory() as folder:
        runs = {(name, k): start(name, device, Path(folder, f"{name}-{k}"))
                for name in arguments.demos for k, device in enumerate(("cpu", second))}
        stop = time.perf_counter() + arguments.budget - 5
        for (name, k), process in runs.items():
            try:
                out, _ = process.communicate(timeout=min(max(stop - time.perf_counter(), 1), 1e6))
            except subprocess.TimeoutExpired:
                process.kill()
                out, _ = process.communicate()
            print(f"\n{name} on the {('cpu', second)[k]}, exit code {process.returncode}:\n" + "\n".join(
                out.splitlines()[-12:]), flush=True)
            good &= process.returncode == 0
        for name in arguments.demos:
            good &= same_start(*(Path(folder, f"{name}-{k}") for k in (0, 1)))
            for k, device in enumerate(("CPU", second.upper())):
                path = Path(folder, f"{name}-{k}", DEMOS[name])
                print(f"\n{name}, {device}:\n{path.read_text(encoding='utf-8') if path.exists() else 'no table'}",
                      flush=True)
    return good


def start(name, device, out):
    """A process that runs a demo; on the CPU in the ops' own lines."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"} | (
        {"SCRATCHNET_COMPILED": "0"} if device == "cpu" else {})
    return subprocess.Popen([sys.executable, str(ROOT / f"demos/{name}.py"), "--quick", "--device", device, "--out",
                             str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def same_start(cpu, other):
    """Compare the logs of two runs: the first losses must agree, later ones drift apart and are shown. The first log
    counts; the others begin with weights that were learned."""
    logs = sorted(cpu.glob("*log.csv"), key=lambda path: path.stat().st_mtime)
    if not logs:
        return failed(cpu.name, "there is no log")
    for n, log in enumerate(logs):
        if not (other / log.name).exists():
            return failed(other.name, f"there is no {log.name}")
        mine, theirs = (list(csv.DictReader(path.open(encoding="utf-8"))) for path in (log, other / log.name))
        steps = [k for k in (0, 1, 4, 9, 19, 49) if k < min(len(mine), len(theirs))] or [None]
        for k in steps:
            if k is None:
                return failed(log.name, "is empty")
            losses = {key: float(value) for key, value in mine[k].items() if key not in ("step", "epoch")}
            least = 1e-2 * max(map(abs, losses.values()))
            apart = {key: abs(float(theirs[k][key]) - a) / max(abs(a), least) for key, a in losses.items()}
            print(f"{cpu.name.rpartition('-')[0]}, {log.name}, step {k + 1}: " + ", ".join(
                f"{key} {losses[key]:.6g}, apart {share:.1e}" for key, share in apart.items()), flush=True)
            if n == k == 0 and not max(apart.values()) < CLOSE:
                return failed(log.name, "the first losses differ by more than rounding")
    return True


# ---------------------------------------------------------------- command line

def parsed(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("card", "demos", "steps", "profile"))
    parser.add_argument("--dry-run", action="store_true", help="without a GPU")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), help="workloads")
    parser.add_argument("--demos", nargs="+", choices=DEMOS, default=list(DEMOS))
    parser.add_argument("--seconds", type=float, default=0.5, help="for each measurement")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for it all: no demo runs longer, and "
                        "nothing is compiled that may take longer")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    if not (arguments.dry_run or gpu_available()):
        parser.exit(2, "no GPU is in reach: CuPy is not installed, or finds no CUDA device\n")
    return arguments


if __name__ == "__main__":
    chosen = parsed()
    try:
        sys.exit(0 if {"card": card, "demos": demos, "steps": steps, "profile": profile}[chosen.part](chosen) else 1)
    except KeyboardInterrupt:
        sys.exit("stopped before its end")
