"""The comparison that precedes the benchmark of training steps accepts rounding, and nothing larger. And the figures
for a GPU are computed right without one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchnet import backend

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import gpu  # noqa: E402
from benchmarks.steps.__main__ import compare  # noqa: E402
from benchmarks.steps.ours import STEPS, Trainer  # noqa: E402
from benchmarks.steps.worker import Worker  # noqa: E402


def first_step():
    """[(loss, gradients)] of one phase: an ordinary gradient, a small one, and one that is zero up to rounding."""
    rng = np.random.default_rng(0)
    gradients = {"w": rng.standard_normal((4, 3)), "small": 1e-2 * rng.standard_normal(3), "zero": np.full(3, 1e-15)}
    return [(0.7, gradients)]


def altered(key, entry, by):
    (loss, gradients), = first_step()
    gradients[key][entry] += by
    return [(loss, gradients)]


@pytest.mark.parametrize("theirs", [
    altered("w", (2, 1), 1e-8), altered("small", 1, 1e-10), altered("zero", 0, 1e-11), altered("w", (0, 0), np.nan),
    [(0.7 + 1e-8, first_step()[0][1])], [(np.nan, first_step()[0][1])], [(0.7, {"w": first_step()[0][1]["w"]})]])
def test_a_first_step_that_differs_is_refused(theirs):
    for one, other in ((first_step(), theirs), (theirs, first_step())):
        with pytest.raises(AssertionError, match="W1, fused Adam: "):
            compare("W1", "fused Adam", one, other)


@pytest.mark.parametrize("theirs", [
    first_step(), altered("w", (2, 1), 1e-12), altered("small", 1, 1e-12), altered("zero", slice(None), -1e-14)])
def test_rounding_is_accepted(theirs):
    compare("W1", "fused Adam", first_step(), theirs)
    compare("W1", "fused Adam", theirs, first_step())


@pytest.mark.parametrize("name", STEPS)
def test_the_step_that_is_compared_is_float64(name):
    trainer = Trainer(name, dtype="float64")
    weights, data, noise = trainer.state()
    assert {a.dtype for a in (*weights.values(), *data, noise)} <= {np.dtype("float64"), np.dtype("int64")}
    assert {g.dtype for _, gradients in trainer.first() for g in gradients.values()} == {np.dtype("float64")}
    timed = Trainer(name).state()[0]
    assert all(np.array_equal(w, timed[key]) and timed[key].dtype == np.float32 for key, w in weights.items())


def test_workers_pass_on_the_choice_of_kernels(monkeypatch):
    monkeypatch.setattr("benchmarks.steps.worker.subprocess.Popen", lambda command, env, **pipes: env)
    chosen = {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Zen", "MALLOC_TRIM_THRESHOLD_": "1"}
    for key, value in chosen.items():
        monkeypatch.setenv(key, value)
    environment = Worker("ours", 2, {"OPENBLAS_CORETYPE": "Haswell"}).process
    assert environment["ATEN_CPU_CAPABILITY"] == "default" and environment["OPENBLAS_CORETYPE"] == "Haswell"
    assert Worker("ours", 2, {}).process["OPENBLAS_CORETYPE"] == "Zen"
    assert "MALLOC_TRIM_THRESHOLD_" not in environment and environment["OPENBLAS_NUM_THREADS"] == "2"


# ---------------------------------------------------------------- benchmarks.gpu, without a GPU

MOST = {"W1": 90, "W2": 65, "W3": 135, "W4": 80, "W5": 285, "W6": 82, "W7": 880}  # launches of a step with the kernels


@pytest.mark.parametrize("name", STEPS)
def test_kernels_save_launches_and_nothing_waits_for_the_gpu(name):
    fused, own = (gpu.on_the_stand_in(name, on) for on in (True, False))
    assert fused["launches"] <= MOST[name] < 0.75 * own["launches"]
    assert fused["host reads"] == own["host reads"] == {"of the stand-in": 0}


def test_a_read_that_calls_another_counts_once():
    class Base:
        def get(self):
            return 1.0

        def __float__(self):
            return self.get()

    class Array(Base):
        def item(self):
            return float(self)
    before = set(vars(Array))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "WAITING", ("get", "item", "__float__"))
        with gpu.counted_reads(Array) as counts:
            assert Array().item() == float(Array()) == Array().get() == 1.0
    assert counts == {"item": 1, "__float__": 1, "get": 1} and set(vars(Array)) == before


def test_launches_are_read_from_a_trace(tmp_path):
    events = [{"cat": "kernel", "name": "a", "dur": 2.0}, {"cat": "kernel", "name": "a", "dur": 3.0},
              {"cat": "kernel", "name": "b", "dur": 1.5}, {"cat": "gpu_memcpy", "name": "Memcpy HtoD", "dur": 1.0},
              {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "dur": 9.0}, {"cat": "kernel", "name": "no duration"}]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    assert gpu.traced(path) == (4, 1, {"a": 5.0, "b": 1.5})


def written(folder, *rows):
    folder.mkdir()
    (folder / "vae-log.csv").write_text("step,epoch,loss,kl\n" + "".join(f"{k},1,{a},{b}\n" for k, (a, b) in
                                                                         enumerate(rows, 1)))
    return folder


@pytest.mark.parametrize(("theirs", "good"), [
    ((500.001, 2.0), True), ((500.0, 2.0001), True), ((500.1, 2.0), False), ((500.0, 2.01), False),
    (("nan", 2.0), False)])
def test_the_first_losses_of_two_devices_must_agree(tmp_path, capsys, theirs, good):
    ours = written(tmp_path / "vae-0", (500.0, 2.0), (400.0, 3.0))
    assert gpu.same_start(ours, written(tmp_path / "vae-1", theirs, (300.0, 4.0))) == good
    assert ("FAILED" in capsys.readouterr().out) != good


def test_a_log_that_is_missing_or_empty_is_a_failure(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    full = written(tmp_path / "full", (1.0, 1.0))
    for pair in ((tmp_path / "none", full), (full, tmp_path / "none"), (written(tmp_path / "empty"), full)):
        assert not gpu.same_start(*pair)
    assert capsys.readouterr().out.count("FAILED") == 3


def test_steps_are_timed_beside_pytorch(tmp_path, capsys):
    pytest.importorskip("torch")
    path = tmp_path / "steps.json"
    assert gpu.steps(gpu.parsed(["steps", "--dry-run", "--only", "W1", "--seconds", "0.01", "--no-compile", "--json",
                                 str(path)]))
    assert set(json.loads(path.read_text())["W1"]) == {"scratchnet, fused", "scratchnet, own lines", "PyTorch"}
    assert "W1 first step like PyTorch's in float64" in capsys.readouterr().out


def test_a_side_that_fails_is_told_and_the_others_go_on(capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(gpu, "agree", lambda name, *_: 1 / 0 if name == "W1" else True)
    assert not gpu.steps(gpu.parsed(["steps", "--dry-run", "--only", "W1", "W2", "--seconds", "0.01", "--no-compile"]))
    out = capsys.readouterr().out
    assert "W1 FAILED: ZeroDivisionError" in out and "W2 dense VAE" in out


@pytest.mark.skipif(shutil.which("bash") is None or backend.gpu_available(), reason="no bash here, or a GPU")
def test_without_a_gpu_the_check_says_so_in_one_line(tmp_path):
    found = subprocess.run(["bash", ROOT / "scripts/gpu_check.sh", tmp_path / "out"], capture_output=True, text=True,
                           timeout=100, env=os.environ | {"PYTHON": sys.executable})
    assert found.returncode == 2 and found.stdout == "" and not (tmp_path / "out").exists()
    assert found.stderr.count("\n") == 1 and "no GPU is in reach" in found.stderr
