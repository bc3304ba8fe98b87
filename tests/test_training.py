"""No fault loses anything: kill -9, Ctrl-C, NaN, damaged and foreign checkpoints. And the chores: log, resume, plan."""

import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from scratchnet import AnomalyError, Tensor, checkpoint, folder, losses, ops
from scratchnet.averaging import ExponentialMovingAverage
from scratchnet.folder import FolderInUse
from scratchnet.layers import Dense, Sequential
from scratchnet.module import Module
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
    """24 kills at random steps of one run, one after another, half of them while a checkpoint is being written."""
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
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_save_and_the_resumed_run_is_the_same(tmp_path, uninterrupted, number, code):
    process = start(tmp_path)
    while process.stdout.readline().strip() != "17":
        pass
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code and "--resume goes on from there" in errors and "Traceback" not in errors
    step = checkpoint.load(tmp_path / "checkpoint.safetensors")[1]["step"]
    assert step >= 18 and f"stopped after step {step}" in errors
    finish(tmp_path, "--resume")
    same_end(tmp_path, uninterrupted)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_second_signal_stops_at_once_and_ignored_ones_stay_so(tmp_path):
    model, optimizer, run = small(tmp_path, save_every=1000)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        for number, end in ((signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)):
            for k, _ in enumerate(run.batches(X, size=4, epochs=3)):
                signal.raise_signal(signal.SIGHUP)
                if k == 2:
                    signal.raise_signal(signal.SIGTERM)
                    with pytest.raises(end) as stopped:
                        signal.raise_signal(number)
                    assert end is KeyboardInterrupt or stopped.value.code == 128 + signal.SIGTERM
                    break
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_one_process_at_a_time_in_a_folder(tmp_path):
    process = start(tmp_path)
    process.stdout.readline()
    words = f"process {process.pid} on .* is at work in this folder"
    with pytest.raises(FolderInUse, match=words):
        small(tmp_path)
    with pytest.raises(FolderInUse, match=words):
        small(tmp_path, resume=True, name="other")
    process.kill()
    process.communicate(timeout=60)
    first, second = small(tmp_path, name="one"), small(tmp_path, name="two")  # a dead process leaves no lock behind
    refused = start(tmp_path)
    assert f"process {os.getpid()} on" in refused.communicate(timeout=60)[1] and refused.returncode == 1
    del first
    assert "FolderInUse" in start(tmp_path).communicate(timeout=60)[1]
    del second
    finish(tmp_path)


def test_other_conditions_are_told(tmp_path):
    finish(tmp_path, "--threads", "1")
    said = finish(tmp_path, "--resume", "--threads", "2")
    assert "threads 1 before, 2 now" in said and len(said.splitlines()) == 1
    path = tmp_path / "checkpoint.safetensors"
    arrays, meta = checkpoint.load(path)
    checkpoint.save(path, arrays, meta | {"versions": {"numpy": "1.0"}})
    assert f"NumPy 1.0 before, {np.__version__} now" in finish(tmp_path, "--resume", "--threads", "1")


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


def test_starting_anew_keeps_the_old_checkpoint_and_log(tmp_path):
    names, old = ("checkpoint.safetensors", "log.csv"), []
    for seed in range(4):
        train(*small(tmp_path, seed=seed))
        old.append([(tmp_path / name).read_bytes() for name in names])
    (tmp_path / "checkpoint.safetensors").unlink()
    small(tmp_path, resume=True)  # nothing to resume: the log also belongs to an earlier run
    for k, mark in enumerate((".previous", ".previous-2", ".previous-3", ".previous-4")):
        kept = [tmp_path / f"checkpoint{mark}.safetensors", tmp_path / f"log{mark}.csv"]
        assert [path.read_bytes() for path in kept[k == 3:]] == old[k][k == 3:]
    assert len(set(map(tuple, old))) == 4 and not (tmp_path / "log.csv").exists()


def test_starting_again_over_an_unfinished_run_says_so(tmp_path, capsys):
    model, optimizer, run = small(tmp_path)
    for x in run.batches(X, size=4, epochs=3):
        run.log(loss=losses.mse(model(x), x, "mean"))
        if run.step == 6:
            break
    run.save()
    del run
    capsys.readouterr()
    train(*small(tmp_path))
    assert re.search(r"unfinished run, at step 7 of 15, is kept in .*checkpoint\.previous\.safetensors",
                     capsys.readouterr().out)
    train(*small(tmp_path))  # the last one was finished
    assert "unfinished" not in capsys.readouterr().out
    (tmp_path / "checkpoint.safetensors").write_bytes(b"damaged")
    train(*small(tmp_path))
    assert "unfinished" not in capsys.readouterr().out


def test_metadata_alone(tmp_path):
    path = tmp_path / "a.safetensors"
    assert checkpoint.metadata_of(path) == {}
    checkpoint.save(path, {"a": X}, {"step": 3})
    assert checkpoint.metadata_of(path) == {"step": 3}
    path.write_bytes(path.read_bytes()[:20])
    assert checkpoint.metadata_of(path) == {}


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


# ---------------------------------------------------------------- damaged and foreign files

def test_every_flipped_bit_and_every_truncation_is_found(tmp_path):
    path = tmp_path / "c"
    arrays = {"a.w": np.arange(3, dtype=np.float32), "b": np.zeros((0, 2)), "c": np.array(2.0), "d": np.array([True])}
    checkpoint.save(path, arrays, {"step": 1, "rng": [1.5, None, "é"]})
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(checkpoint.CheckpointError, match="^" + str(path)):
            checkpoint.load(path)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(checkpoint.CheckpointError, match="^" + str(path)):
            checkpoint.load(path)


def header(content):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(("content", "words"), [
    (header(b"[" * 100_000), "safetensors"), (header(b'{"a":' * 100_000), "damaged"),
    (header({"__metadata__": {"scratchnet": "[" * 100_000}}), "metadata cannot be read"),
    (header({"__metadata__": {"scratchnet": "[]"}}), "metadata cannot be read"),
    (header({"__metadata__": {"scratchnet": "{"}}), "metadata cannot be read"),
    (header({"__metadata__": {"scratchnet": '{"format": 1, "metadata": {}}'}}), "of format 1, but .* reads format 2"),
    (header({"__metadata__": {"scratchnet": '{"format": 2, "metadata": {}}'}}), "checksum"),
    (header({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}) + b"ab", "not a checkpoint of scratchnet"),
    (header({"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]},
             "__metadata__": {"scratchnet": "{}"}}) + b"ab", "damaged"), (b"\xff" * 50, "not a safetensors file")])
def test_foreign_files(tmp_path, content, words):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match=f"checkpoint.safetensors: .*{words}"):
        small(tmp_path, resume=True)


def test_what_is_no_checkpoint_of_a_run_changes_nothing(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, {"model.w": np.ones(3)}, {"epoch": 3})
    with pytest.raises(checkpoint.CheckpointError, match="is a checkpoint, but not of a run"):
        small(tmp_path, resume=True)
    train(*small(tmp_path))
    arrays, meta = checkpoint.load(path)
    checkpoint.save(path, arrays, meta | {"rng": {"bit_generator": "PCG64", "state": 3}})
    model, rng = Sequential(Dense(5, 4, rng=np.random.default_rng(5)), Dense(4, 5, rng=np.random.default_rng(5))), 0
    before, rng = model.state_dict(), np.random.default_rng(5)
    model = Sequential(model.steps[0], ops.tanh, model.steps[1])
    before = model.state_dict()
    with pytest.raises(checkpoint.CheckpointError, match="does not fit this run"):
        Run(tmp_path, model=model, optimizer=SGD(model.parameters(), lr=0.1), rng=rng, resume=True)
    assert all(np.array_equal(before[name], a) for name, a in model.state_dict().items())
    assert rng.bit_generator.state == np.random.default_rng(5).bit_generator.state


@pytest.mark.parametrize("text", [b"\xff\xfe1,2", b"step,epoch\nx,1\n", b"a,b\n1,2\n", b"step,epoch\n1\n",
                                  b"step,epoch\n1,2,3\n", b"step,epoch\n1,\"2\n", b"step\n" + b"1" * 200_000])
def test_a_damaged_log_is_refused_and_left_alone(tmp_path, text):
    train(*small(tmp_path))
    (tmp_path / "log.csv").write_bytes(text)
    with pytest.raises(checkpoint.CheckpointError, match="log.csv: is not the log of a run"):
        small(tmp_path, resume=True)
    assert (tmp_path / "log.csv").read_bytes() == text


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "disk").mkdir()
    for name in ("checkpoint.safetensors", "log.csv"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "disk" / name)
    checkpoint.save(tmp_path / "out" / "checkpoint.safetensors", {"a": np.ones(1)}, {"step": 3})
    assert (tmp_path / "out" / "checkpoint.safetensors").is_symlink()
    assert checkpoint.load(tmp_path / "disk" / "checkpoint.safetensors")[1] == {"step": 3}
    with pytest.raises(IsADirectoryError, match=f"Is a directory: '{tmp_path}/disk'"):
        checkpoint.save(tmp_path / "disk", {"a": np.ones(1)}, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "out"]


def test_an_error_without_a_number_still_says_what_it_is(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError("the disk is gone")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=f"the disk is gone: '{tmp_path}/c'") as caught:
        checkpoint.save(tmp_path / "c", {"a": np.ones(1)}, {})
    assert "None" not in str(caught.value)


@pytest.mark.parametrize(("a", "words"), [([1.0], "must be an array, got a list"), (None, "must be an array, got None"),
                                          (np.ma.array([1.0, 2.0], mask=[0, 1]), "masked array")])
def test_what_would_be_lost_is_not_saved(tmp_path, a, words):
    with pytest.raises(TypeError, match=f"save: 'x' .*{words}"):
        checkpoint.save(tmp_path / "c", {"x": a}, {})


# ---------------------------------------------------------------- states and their parameters

class Two(Module):
    """Two layers of one shape, assigned in one order or the other."""

    def __init__(self, order):
        for seed, name in enumerate(order):
            setattr(self, name, Dense(3, 3, rng=np.random.default_rng(seed)))

    def loss(self, x):
        return ops.square(self.b(ops.relu(self.a(x))) - x).mean()


def two(out, order, sizes=None, **options):
    model = Two(order)
    optimizer = Adam(model.parameters())
    average = ExponentialMovingAverage(model.parameters(), 0.9)
    return model, optimizer, average, Run(out, model={"net": model, "average": average}, optimizer=optimizer,
                                          rng=np.random.default_rng(2), **options)


def fit_two(model, optimizer, average, run, epochs):
    x = np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32)
    for batch in run.batches(x, size=10, epochs=epochs):
        loss = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update()
    return {name: p.data.copy() for name, p in model.named_parameters().items()} | {
        f"average {name}": a for name, a in zip(model.named_parameters(), average.views, strict=True)}


def test_moments_and_averages_find_their_parameters_by_name(tmp_path):
    whole = fit_two(*two(tmp_path / "whole", "ab"), epochs=4)
    fit_two(*two(tmp_path, "ab"), epochs=2)
    resumed = fit_two(*two(tmp_path, "ba", resume=True), epochs=4)
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(whole[name], a) for name, a in resumed.items())


def test_weights_that_no_checkpoint_would_hold_are_refused(tmp_path):
    model = Two("ab")
    for optimizer in (Adam(model.parameters()), Adam([*model.a.parameters(), Tensor(np.ones(2, "f"), True)])):
        with pytest.raises(ValueError, match="Run: parameter 2 of optimizer, .* belongs to none of the models"):
            Run(tmp_path, model=model.a, optimizer=optimizer, rng=np.random.default_rng(0))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- settings of a run

class Odd(dict):
    """A dict that holds itself."""

    def __init__(self):
        self["me"] = self


@pytest.mark.parametrize("value", [(0.5, 0.9), np.float32(1e-3), np.arange(3), {1: "a", 2: (3,)}, Path("a/b"),
                                   np.bool_(True), float("nan"), float("inf"), None, [np.int64(3)], "é",
                                   np.longdouble(1)])
def test_settings_come_back(tmp_path, value):
    train(*small(tmp_path, settings={"it": value, 3: 1}), epochs=1)
    model, optimizer, run = small(tmp_path, settings={"it": value, 3: 1}, resume=True)
    train(model, optimizer, run, epochs=2)
    assert run.step == 10
    with pytest.raises(checkpoint.CheckpointError, match=r"safetensors: it: the checkpoint has .*, this run other"):
        small(tmp_path, settings={"it": "other", 3: 1}, resume=True)
    with pytest.raises(checkpoint.CheckpointError, match="safetensors: 3: the checkpoint has 1, this run none"):
        small(tmp_path, settings={"it": value}, resume=True)


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, b"x", np.array([1j]), np.array([None]), [{"a": {3: len}}],
                                   Odd(), pytest.param(10**5000, id="long"), np.datetime64("2020")])
def test_settings_that_cannot_be_stored_are_named_before_anything_is_done(tmp_path, value):
    with pytest.raises((TypeError, ValueError), match="Run: settings: it cannot be kept in a checkpoint: "):
        small(tmp_path / "out", settings={"it": value})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("options", "words"), [
    ({"name": "../x"}, "Run: name must .*, got '../x'"), ({"name": "a/b"}, "name must"),
    ({"name": "/tmp/x"}, "name must"), ({"name": None}, "name must"), ({"name": "a\\b"}, "name must"),
    ({"name": "a\0b"}, "name must"),
    ({"save_every": 0}, "Run: save_every is a whole number ≥ 1, got 0"),
    ({"log_every": -1}, "log_every is"), ({"log_every": 2.5}, "log_every is"), ({"save_every": "2"}, "save_every is"),
    ({"save_every": None}, "save_every is"), ({"settings": [1]}, "settings must be a dict, got a list")])
def test_wrong_options_are_named(tmp_path, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        small(tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("parts", "words"), [
    ({"model": None}, "Run: model must have state_dict and load_state_dict, got None"),
    ({"optimizer": [1]}, "Run: optimizer must have"), ({"rng": 3}, "rng must be a np.random.Generator, got an int 3"),
    ({"model": {"a.b": Two("ab")}}, "'a.b' cannot name a model"), ({"model": {1: Two("ab")}}, "1 cannot name a model")])
def test_wrong_parts_are_named(tmp_path, parts, words):
    usual = {"model": Two("ab"), "optimizer": {}, "rng": np.random.default_rng(0)}
    with pytest.raises((ValueError, TypeError), match=words):
        Run(tmp_path, **usual | parts)


@pytest.mark.parametrize(("options", "words"), [
    ({"epochs": 1.5}, "batches: epochs is a whole number ≥ 1, got 1.5"), ({"epochs": -1}, "epochs is"),
    ({"epochs": 0}, "epochs is"), ({"epochs": "3"}, "epochs is"), ({"epochs": None}, "epochs is"),
    ({"size": 0}, "size is"), ({"size": -4}, "size is"), ({"size": 2.5}, "size is"), ({"size": True}, "size is"),
    ({"size": 24}, "no batch")])
def test_wrong_batches_are_named_when_they_are_asked_for(tmp_path, options, words):
    run = small(tmp_path)[2]
    with pytest.raises(ValueError, match=words):
        run.batches(X, **{"size": 4, "epochs": 3} | options)
    with pytest.raises(ValueError, match="every: n is"):
        run.every(0)


def test_numpy_integers_are_welcome(tmp_path):
    model, optimizer, run = small(tmp_path, save_every=np.int64(2), log_every=np.int32(3))
    train(model, optimizer, run, epochs=np.int64(2), size=np.uint8(4))
    assert run.step == 10 and type(checkpoint.load(run.checkpoint_path)[1]["plan"]["batch size"]) is int


def test_a_loop_over_epochs_of_ones_own(tmp_path):
    model, optimizer, run = small(tmp_path)
    for epoch in range(3):
        train(model, optimizer, run, epochs=epoch + 1)
    whole = small(tmp_path / "whole")
    train(*whole)
    assert run.step == 15 and np.array_equal(optimizer.flat, whole[1].flat)
    with pytest.raises(ValueError, match="batches: epochs=3 is reached, and .* from the start.*epochs=epoch . 1"):
        train(model, optimizer, run)
    run = small(tmp_path, resume=True)[2]
    assert list(run.batches(X, size=4, epochs=3)) == []  # a finished run that is resumed has nothing left to do
    with pytest.raises(ValueError, match="epochs=1 is reached"):
        run.batches(X, size=4, epochs=1)


def test_what_cannot_be_logged_is_named_at_once(tmp_path):
    run = small(tmp_path)[2]
    run.log(a=np.float32(1), b=Tensor(np.array([2.0])), c=3, d=True, größe=4.0)
    for values, words in (({"x": None}, "x must be a single number, got None"),
                          ({"x": np.ones(2)}, r"x must .* shape \(2,\)"), ({"x": "a"}, "x must"),
                          ({"x": 1j}, "x must"), ({"step": 3}, "step is a column")):
        with pytest.raises((TypeError, ValueError), match=f"log: {words}"):
            run.log(**values)
    run.save()
    assert run.log_path.read_bytes().decode("utf-8").splitlines() == ["step,epoch,a,b,c,d,größe", "1,1,1,2,3,1,4"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model, optimizer, run = small(tmp_path, save_every=1)
    with pytest.raises(NonFiniteLoss, match="step 3: model.steps.0.w is no longer finite"):
        for x in run.batches(X, size=4, epochs=3):
            loss = losses.mse(model(x), x, "mean")
            optimizer.zero_grad()
            loss.backward()
            if run.step == 2:
                model.parameters()[0].grad[0, 0] = np.inf
            optimizer.step()
            run.log(loss=loss)  # is finite
    arrays, meta = checkpoint.load(run.checkpoint_path)
    assert meta["step"] == 2 and all(np.isfinite(a).all() for a in arrays.values())
    assert len(run.log_path.read_text().splitlines()) == 1 + 2


# ---------------------------------------------------------------- leaving a loop

def leave(out, step, when, epochs=3):
    """Train, leave the loop in this step, save, and go on in a resumed run."""
    model, optimizer, run = small(out, optimizer=Adam, log_every=50)
    for x in run.batches(X, size=4, epochs=epochs):
        here = run.step == step
        if here and when == "before":
            break
        loss = losses.mse(model(x), x, "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if here and when == "stepped":
            break
        run.log(loss=loss)
        if here and when == "saved":
            run.save()
            run.log(more=1)
        if here and when in ("logged", "saved"):
            break
    run.save()
    saved = checkpoint.load(run.checkpoint_path)[1]
    assert saved["step"] == run.step == optimizer.step_count == step + (when != "before")
    assert saved["epoch"] * 5 + saved["batch"] == run.step
    model, optimizer, run = small(out, seed=7, optimizer=Adam, resume=True)
    train(model, optimizer, run, epochs=epochs)
    return optimizer, run


@pytest.mark.parametrize("when", ["before", "stepped", "logged", "saved"])
@pytest.mark.parametrize("step", [0, 2, 4, 5, 14])
def test_a_loop_that_is_left_resumes_bit_for_bit(tmp_path, step, when):
    whole = small(tmp_path / "whole", optimizer=Adam)
    train(*whole)
    optimizer, run = leave(tmp_path / "left", step, when)
    assert np.array_equal(optimizer.flat, whole[1].flat) and run.step == optimizer.step_count == 15
    steps = [int(line.split(",")[0]) for line in run.log_path.read_text().splitlines()[1:]]
    assert steps == [k for k in range(1, 16) if k != step + 1 or when != "stepped"]


def test_a_save_within_a_step_counts_it_once_something_was_done(tmp_path):
    model, optimizer, run = small(tmp_path)
    found = []
    for _ in run.batches(X, size=4, epochs=1):
        run.save()
        found.append(checkpoint.load(run.checkpoint_path)[1]["step"])
        run.log(x=1)
        run.save()
        found.append(checkpoint.load(run.checkpoint_path)[1]["step"])
        run.log(y=2)
    assert found == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert run.log_path.read_text().split() == ["step,epoch,x,y", *(f"{k},1,1,2" for k in range(1, 6))]


# ---------------------------------------------------------------- names and numbers of a run

@pytest.mark.parametrize(("settings", "words"), [
    ({"examples": 3}, "'examples' is a name that the run itself uses"), ({"batch size": 4}, "'batch size' is a name"),
    ({1: 2, "1": 3}, "two keys are the same as strings: 1, '1'"), ({"a": {1: 2, "1": 3}}, "a cannot .* two keys"),
    ({"a": np.ma.array([1, 2], mask=[0, 1])}, "a cannot .* masked")])
def test_settings_that_would_be_lost_are_refused_at_the_start(tmp_path, settings, words):
    with pytest.raises((TypeError, ValueError), match=f"Run: settings.*{words}"):
        small(tmp_path / "out", settings=settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["x" * 300, "é" * 101])
def test_a_name_too_long_for_a_file_is_refused_at_the_start(tmp_path, name):
    with pytest.raises(ValueError, match="Run: name is too long for a file: .* bytes, expected at most 200"):
        small(tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()
    for _ in range(2):
        small(tmp_path, name="é" * 100)[2].save()
    assert len(list(tmp_path.glob("é*"))) == 4


@pytest.mark.parametrize(("value", "word"), [(10**400, "inf"), (-10**400, "-inf"), (Fraction(10**400), "inf")])
def test_a_number_too_large_for_a_float_is_not_finite(tmp_path, value, word):
    run = small(tmp_path)[2]
    run.log(loss=value)
    with pytest.raises(NonFiniteLoss, match=f"step 1: loss is {word}"):
        run.save()


# ---------------------------------------------------------------- the file itself

def test_a_users_files_beside_a_checkpoint_stay(tmp_path):
    mine = [tmp_path / name for name in ("c.tmp", ".c.tmp", ".scratchnet-notes-1.tmp")]
    for path in mine:
        path.write_text("mine")
    checkpoint.save(tmp_path / "c", {"a": np.ones(1)}, {})
    with pytest.raises(IsADirectoryError):
        (tmp_path / "d").mkdir()
        checkpoint.save(tmp_path / "d", {"a": np.ones(1)}, {})
    assert all(path.read_text() == "mine" for path in mine)
    assert sorted(tmp_path.iterdir()) == sorted([*mine, tmp_path / "c", tmp_path / "d"])


@pytest.mark.skipif(os.name == "nt", reason="POSIX processes")
def test_what_dead_processes_left_behind_is_deleted(tmp_path):
    path, dead = tmp_path / "c", subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [folder._temporary(path, process) for process in (dead.pid, os.getpid(), 10**30)]
    kept = [folder._temporary(path, os.getppid()), folder._temporary(tmp_path / "other", dead.pid)]
    for file in left + kept:
        file.write_bytes(b"half")
    checkpoint.save(path, {"a": np.ones(1)}, {})
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_kept_and_names_may_be_long(tmp_path):
    path = tmp_path / ("c" * 255)
    checkpoint.save(path, {"a": np.ones(1)}, {})
    usual = path.stat().st_mode & 0o777
    (tmp_path / "plain").write_text("")
    assert usual == (tmp_path / "plain").stat().st_mode & 0o777
    for mode in (0o600, 0o640, 0o444):
        path.chmod(mode)
        checkpoint.save(path, {"a": np.full(1, mode)}, {})
        assert path.stat().st_mode & 0o777 == mode and checkpoint.load(path)[0]["a"] == mode


def test_a_loop_of_symbolic_links_is_told(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match=f"symbolic links: '{tmp_path}/a'"):
        checkpoint.save(tmp_path / "a", {"x": np.ones(1)}, {})
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_symlink()) == ["a", "b"]


def test_metadata_is_stored_as_settings_are(tmp_path):
    checkpoint.save(tmp_path / "c", {}, {"lr": np.float32(0.5), "n": np.arange(3), "out": Path("a/b"), 3: (1, 2)})
    assert checkpoint.load(tmp_path / "c")[1] == {"lr": 0.5, "n": [0, 1, 2], "out": str(Path("a/b")), "3": [1, 2]}
    checkpoint.save(tmp_path / "c", {}, [np.int64(1)])
    assert checkpoint.load(tmp_path / "c")[1] == [1]
    for metadata, words in (({"a": 1, "bad": {1, 2}}, "metadata: bad cannot be kept .* a set, expected values of JSON"),
                            (object(), "metadata cannot"), ({"x": {1: 1, "1": 2}}, "metadata: x cannot .* two keys")):
        with pytest.raises(TypeError, match=f"save: {words}"):
            checkpoint.save(tmp_path / "c", {}, metadata)


@pytest.mark.parametrize("arrays", [None, [np.ones(2)], np.ones(2), "a", 3])
def test_arrays_without_names_are_refused(tmp_path, arrays):
    with pytest.raises(TypeError, match="save: arrays must be a dict name → array, got "):
        checkpoint.save(tmp_path / "c", arrays, {})
    assert not list(tmp_path.iterdir())
