"""Several processes train like one: the same weights to rounding, one log, one checkpoint; none is left behind."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import strict

from scratchnet import checkpoint, data, folder, ops
from scratchnet.backend import to_cpu
from scratchnet.layers import Dense
from scratchnet.optimizers import SGD
from scratchnet.training import Run, World
from scratchnet.training.world import _communicators

ROOT = Path(__file__).parent.parent
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
several = pytest.mark.skipif(not (MPIEXEC and find_spec("mpi4py")), reason="needs mpi4py and mpiexec")


def start(out, *options, processes=2, script="tests/world_script.py"):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "SCRATCHNET_COMPILED": "0"}
    command = [sys.executable, str(ROOT / script), *map(str, [out, *options])]
    return subprocess.Popen(([MPIEXEC, "-n", str(processes)] if processes > 1 else []) + command, env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(out, *options, **more):
    process = start(out, *options, **more)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return printed


def fail(out, *options, **more):
    process = start(out, *options, **more)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    return errors


def same_end(out, expected):
    (arrays, meta), (theirs, their_meta) = (checkpoint.load(f / "checkpoint.safetensors") for f in (out, expected))
    assert meta == their_meta and arrays.keys() == theirs.keys()
    assert all(a.tobytes() == theirs[name].tobytes() for name, a in arrays.items())
    assert (out / "log.csv").read_bytes() == (expected / "log.csv").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Two processes, with noise and batch norm."""
    out = tmp_path_factory.mktemp("uninterrupted")
    printed = finish(out)
    steps, lines = [line for line in printed.split("\n") if line.isdecimal()], printed.count("epoch ")
    assert len(steps) == 140 and lines == 20  # process 0 alone speaks
    assert sorted(path.name for path in out.iterdir()) == [".scratchnet.lock", "checkpoint.safetensors", "log.csv"]
    return out


@several
def test_two_processes_compute_what_one_computes(tmp_path):
    logs, weights = [], []
    for processes in (1, 2):
        finish(tmp_path / str(processes), "--plain", processes=processes)
        weights.append(checkpoint.load(tmp_path / str(processes) / "checkpoint.safetensors")[0])
        with open(tmp_path / str(processes) / "log.csv", newline="", encoding="utf-8") as file:
            logs.append(list(csv.DictReader(file)))
    assert weights[0].keys() == weights[1].keys()
    for name, a in weights[0].items():
        np.testing.assert_allclose(weights[1][name], a, rtol=0, atol=1e-10, err_msg=name)
    for one, two in zip(*logs, strict=True):
        assert one["step"] == two["step"] and abs(float(one["loss"]) - float(two["loss"])) < 1e-8
    assert {row["rank"] for row in logs[1]} == {"0.5"}  # a logged value is the mean over the processes


@several
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_mpiexec_saves_and_the_resumed_run_is_the_same(tmp_path, uninterrupted, number):
    process = start(tmp_path)
    while process.stdout.readline().strip() != "16":
        pass
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode not in (0, -number) and "Traceback" not in errors
    step = checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["step"]
    assert step > 16 and errors.count(f"stopped after step {step}; everything is in") == 1
    finish(tmp_path, "--resume")
    same_end(tmp_path, uninterrupted)


@several
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_process_that_dies_takes_the_other_down_and_nothing_saved_is_lost(tmp_path, uninterrupted):
    """First it is killed in mid-epoch, then it raises."""
    assert "KILLED BY SIGNAL: 9" in fail(tmp_path, "--at", 17, "kill") or MPIEXEC
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["step"] == 15
    errors = fail(tmp_path, "--resume", "--at", 46, "raise")
    assert "ValueError: a mistake in process 1 alone\nThe process of rank 1 ends, and all 2 with it." in errors
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["step"] == 45
    finish(tmp_path, "--resume")
    same_end(tmp_path, uninterrupted)


@several
def test_an_error_in_all_processes_is_told_once(tmp_path):
    errors = fail(tmp_path, "--at", 9, "nan")
    assert errors.count("NonFiniteLoss: step 10: loss is nan") == errors.count("Traceback") == 1
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["step"] == 9
    errors = fail(tmp_path, "--size", 7)
    assert errors.count("Indivisible: batches: size=7 cannot be shared by 2 processes, expected a multiple of 2") == 1
    errors = fail(tmp_path, "--forget")
    assert re.search(r"RuntimeError: step 3: model.\S+ is no longer the same in all processes. Average the gr", errors)


@several
def test_another_number_of_processes_is_told(tmp_path, uninterrupted):
    shutil.copytree(uninterrupted, tmp_path / "out")
    fail(tmp_path / "out", "--at", 31, "kill")
    arrays, meta = checkpoint.load(tmp_path / "out/checkpoint.safetensors")
    means = [arrays[f"{where}model.steps.1.mean"] for where in ("", "process0.", "process1.")]
    assert len(meta["streams"]) == 2 and meta["step"] == 30 and not np.array_equal(means[1], means[2])
    np.testing.assert_allclose(means[0], (means[1] + means[2]) / 2, rtol=1e-6)
    said = finish(tmp_path / "out", "--resume", processes=1)
    assert "Resumed by 1 process instead of 2: the order of the examples stays; noise is drawn anew" in said
    assert "Resumed by 2 processes instead of 1" in finish(tmp_path / "out", "--resume")


@several
def test_a_demo(tmp_path):
    """Process 0 writes and prints all; a finished run is resumed; a folder in use is refused in one line."""
    printed = finish("--quick", "--out", tmp_path, script="demos/dense_vae.py")
    assert "2 processes on cpu" in printed and "at most 200, reached" in printed
    assert printed.count("latent2: epoch ") == 10 and printed.count("Pictures: ") == 1
    written = {path: checkpoint.load(path)[1] for path in tmp_path.glob("*.safetensors")}
    assert len(written) == 2 and len(list(tmp_path.glob("*.png"))) == 6 and (tmp_path / "samples.gif").exists()
    lock = folder.claim(tmp_path)
    errors = fail("--quick", "--out", tmp_path, script="demos/dense_vae.py")
    assert len(re.findall("dense_vae: error: --out .* at work in this folder", errors)) == 1
    del lock
    assert "epoch" not in finish("--quick", "--resume", "--out", tmp_path, script="demos/dense_vae.py")
    assert all(checkpoint.load(path)[1] == meta for path, meta in written.items())


# ---------------------------------------------------------------- in this process

class Pair:
    """Stands for the communicator of two processes that always agree."""

    rank, size = 0, 2

    def Allreduce(self, where, a, op=None):
        a *= 1 if op else 2


@pytest.fixture
def pair(monkeypatch):
    monkeypatch.setattr("scratchnet.training.world._in_place", lambda: None)
    world = World.alone()
    world._join(Pair(), None)
    return world


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("device", ["NumPy", "stand-in for CuPy"])
def test_the_mean_of_equal_gradients_is_each_of_them(pair, dtype, device):
    layer = Dense(3, 2, rng=np.random.default_rng(0))
    layer.move(lambda a: (strict.StrictArray if device != "NumPy" else np.asarray)(a.astype(dtype)))
    optimizer = SGD(layer.parameters(), lr=1.0)
    before = to_cpu(optimizer.flat).copy()
    layer.w.grad = layer.w.data * 0 + dtype(60000)  # the sum of two would be infinite in float16
    pair.average(optimizer)
    assert layer.w.grad is optimizer.grad_views[0] and not layer.b.grad.any()
    optimizer.step()
    np.testing.assert_array_equal(to_cpu(optimizer.flat), before - np.repeat([60000, 0], [6, 2]).astype(dtype))


def test_one_process_is_as_without_a_world(tmp_path):
    world = World()
    assert (world.rank, world.size) == (World.alone().rank, World.alone().size) == (0, 1)
    layer = Dense(3, 2, rng=np.random.default_rng(0))
    optimizer = SGD(layer.parameters(), lr=1.0)
    ops.square(layer(np.ones((1, 3), np.float32))).sum().backward()
    before = layer.w.grad.copy()
    world.average(optimizer)
    assert np.array_equal(layer.w.grad, before)
    assert world.mean(3) == 3 and world.largest(2) == 2 and world.each("a") == ["a"] and world.first(lambda: 5) == 5
    assert world.differing({"a": 1}) == {}
    with pytest.raises(TypeError, match="Run: world must be a World, got an int 2"):
        Run(tmp_path, model=layer, optimizer=optimizer, rng=np.random.default_rng(0), world=2)


def test_parts_of_batches_make_up_the_batches():
    def cut(**part):
        return list(data.batches(np.arange(20), size=6, rng=np.random.default_rng(0), drop_last=True, **part))
    for whole, *parts in zip(cut(), *(cut(part=(k, 3)) for k in range(3)), strict=True):
        assert [len(part) for part in parts] == [2, 2, 2] and np.array_equal(np.concatenate(parts), whole)
    with pytest.raises(data.Indivisible, match="size=6 cannot be shared by 4 processes, expected a multiple of 4"):
        cut(part=(0, 4))


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_streams_differ_and_follow_from_the_state_of_rng(pair, kind):
    rng = np.random.Generator(kind(3))
    drawn = []
    for pair.rank in (0, 1, 0):
        drawn.append(pair.own_stream(rng).random(5).tolist())
    assert drawn[0] == drawn[2] != drawn[1] and rng.random() == np.random.Generator(kind(3)).random()
    assert pair.own_stream(rng).random(5).tolist() != drawn[0]


def test_mpiexec_without_mpi4py_is_told(monkeypatch):
    monkeypatch.setattr("scratchnet.training.world._communicators", _communicators.__wrapped__)  # without its cache
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"mpiexec has started several .* pip install 'scratchnet\[mpi\]'"):
        World()
    monkeypatch.setenv("PMI_SIZE", "1")
    assert World().size == 1
