"""The comparison that precedes the benchmark of training steps accepts rounding, and nothing larger."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
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
