"""A fault loses nothing: kill -9, Ctrl-C, NaN, damaged and foreign checkpoints. And the chores: log, resume, plan."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scratchnet import AnomalyError, checkpoint, losses, ops
from scratchnet.layers import Dense, Sequential
from scratchnet.optimizers import SGD, Adam
from scratchnet.training import NonFiniteLoss, Run

SCRIPT = Path(__file__).parent / "training_script.py"
ROOT = Path(__file__).parent.parent
X = np.random.default_rng(0).random((23, 5), dtype=np.float32)


def start(out, *options):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(out), *options], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(out, *options):
    process = start(out, *options)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return printed


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    finish(out)
    return out


def same_end(out, uninterrupted):
    arrays, meta = checkpoint.load(out / "checkpoint.safetensors")
    expected, expected_meta = checkpoint.load(uninterrupted / "checkpoint.safetensors")
    assert arrays.keys() == expected.keys() and meta == expected_meta
    for name, a in arrays.items():
        assert a.tobytes() == expected[name].tobytes(), name
    assert (out / "log.csv").read_bytes() == (uninterrupted / "log.csv").read_bytes()


def test_kill_minus_nine_at_random_moments(tmp_path, uninterrupted):
    """24 kills at random steps of one run after the other, half of them while a checkpoint is being written."""
    draw, kills, finished = random.Random(3), 0, False
    while kills < 24:
        if kills % 2:
            process = start(tmp_path, "--resume", "--die-in-save", str(draw.randrange(1, 5)))
            process.communicate(timeout=60)
        else:
            process = start(tmp_path, "--resume")
            for _ in range(draw.randrange(1, 14)):
                process.stdout.readline()
            time.sleep(draw.random() * 0.003)
            process.kill()
            process.communicate(timeout=60)
        finished = process.returncode == 0
        assert finished or process.returncode == -signal.SIGKILL
        kills += not finished
        assert not finished, "the run is too short for so many kills"
    assert checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["step"] < 280
    finish(tmp_path, "--resume")
    same_end(tmp_path, uninterrupted)
    assert not list(tmp_path.glob("*.tmp"))
    assert finish(tmp_path, "--resume") == ""  # a finished run has nothing left to do


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_saves_and_the_resumed_run_is_the_same(tmp_path, uninterrupted):
    process = start(tmp_path)
    while process.stdout.readline().strip() != "17":
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "--resume goes on from there" in errors and "Traceback" not in errors
    step = checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["step"]
    assert step >= 18 and f"stopped after step {step}" in errors
    finish(tmp_path, "--resume")
    same_end(tmp_path, uninterrupted)


def small(out, seed=0, sizes=(5, 4), optimizer=SGD, **options):
    rng = np.random.default_rng(seed)
    model = Sequential(Dense(*sizes, rng=rng), ops.tanh, Dense(sizes[1], 5, rng=rng))
    optimizer = optimizer(model.parameters(), lr=0.1)
    return model, optimizer, Run(out, model=model, optimizer=optimizer, rng=rng, **options)


def train(model, optimizer, run, epochs=3, size=4, spoil=None):
    for x in run.batches(X, size=size, epochs=epochs):
        loss = losses.mse(model(x), x, "mean")
        if run.step == spoil:
            loss = ops.log(loss * 0.0 - 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_stops_with_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    model, optimizer, run = small(tmp_path, save_every=2, log_every=5)
    with pytest.raises(NonFiniteLoss, match="step 8: loss is nan.*detect_anomaly"):
        train(model, optimizer, run, spoil=7)
    arrays, meta = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert meta["step"] == 6 and all(np.isfinite(a).all() for a in arrays.values())
    model, optimizer, run = small(tmp_path / "anomaly", anomaly=True)
    with pytest.raises(AnomalyError, match="log: 1 of 1 results .*test_training.py"):
        train(model, optimizer, run, spoil=7)


def test_damaged_foreign_and_wrong_checkpoints_are_refused_and_left_alone(tmp_path):
    train(*small(tmp_path))
    path = tmp_path / "checkpoint.safetensors"
    good = path.read_bytes()

    def refused(content, match, **options):
        path.write_bytes(content)
        with pytest.raises(checkpoint.CheckpointError, match=match) as caught:
            train(*small(tmp_path, resume=True, **options))
        assert str(path) in str(caught.value) and path.read_bytes() == content

    for length in (0, 1, 7, 8, 9, 100, len(good) // 2, len(good) - 1):
        refused(good[:length], "truncated|not a safetensors|damaged")
    refused(b"\x89PNG\r\n\x1a\n" + b"x" * 500, "not a safetensors file")
    refused(good, r"does not belong to this Sequential.*shape \(5, 4\) instead of \(5, 6\)", sizes=(5, 6))
    refused(good, "does not fit this run: .*Adam", optimizer=Adam)
    path.write_bytes(good)
    model, optimizer, run = small(tmp_path, resume=True)
    with pytest.raises(checkpoint.CheckpointError, match="batch size: the checkpoint has 4, this run 6"):
        train(model, optimizer, run, size=6)


def test_starting_anew_keeps_the_old_checkpoint(tmp_path):
    train(*small(tmp_path, seed=1))
    old = (tmp_path / "checkpoint.safetensors").read_bytes()
    train(*small(tmp_path, seed=2))
    assert (tmp_path / "checkpoint.previous.safetensors").read_bytes() == old
    assert (tmp_path / "checkpoint.safetensors").read_bytes() != old


def test_log_and_pictures(tmp_path):
    model, optimizer, run = small(tmp_path)
    drawn = []
    for x in run.batches(X, size=4, epochs=3):
        if run.every(4):
            drawn.append(run.step)
        run.log(loss=losses.mse(model(x), x, "mean"), half=0.5)
        if run.every(4):
            run.log(picture=run.step + 0.25)                                  # a second call: the same row
    assert drawn == [0, 3, 7, 11, 14]
    lines = (tmp_path / "log.csv").read_text().split()
    assert lines[0] == "step,epoch,loss,half,picture" and len(lines) == 16 and lines[-1].startswith("15,3,")
    assert [line.rsplit(",", 2)[1:] for line in lines[1:6]] == [
        ["0.5", "0.25"], ["0.5", ""], ["0.5", ""], ["0.5", "3.25"], ["0.5", ""]]


def test_a_failing_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": np.arange(6.0).reshape(2, 3).T}, {"step": 1})
    old = path.read_bytes()
    with pytest.raises(TypeError, match="JSON"):
        checkpoint.save(path, {"a": np.ones(2)}, {"bad": object()})
    with pytest.raises(TypeError, match="'a' is of object"):
        checkpoint.save(path, {"a": np.array([None])}, {})

    def full(descriptor):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, {"a": np.ones(2)}, {})
    assert path.read_bytes() == old and not list(tmp_path.glob("*.tmp"))
    np.testing.assert_array_equal(checkpoint.load(path)[0]["a"], np.arange(6.0).reshape(2, 3).T)


@pytest.mark.parametrize("dtype", [bool, "int8", "uint8", "int64", "float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3, 4)])
def test_arrays_come_back_as_they_were(tmp_path, dtype, shape):
    a = (np.random.default_rng(0).normal(size=shape) * 9).astype(dtype)
    for stored in (a, a.copy(order="F"), a[..., ::-1] if a.ndim else a):
        checkpoint.save(tmp_path / "c", {"x": stored}, {"n": [1, None, "é"]})
        arrays, metadata = checkpoint.load(tmp_path / "c")
        assert arrays["x"].shape == shape and arrays["x"].dtype == np.dtype(dtype).newbyteorder("<")
        np.testing.assert_array_equal(arrays["x"], stored)
        assert metadata == {"n": [1, None, "é"]}
