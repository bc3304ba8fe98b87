"""The costs of a training step, counted, not timed: nodes on the tape, bytes, reads by the host, float64 arrays.

The steps are the seven of benchmarks/steps.
"""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import strict as stand_in

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.steps.ours import STEPS, Trainer  # noqa: E402
from scratchnet.autograd.notes import recorded_calls  # noqa: E402
from scratchnet.optimizers import Adam  # noqa: E402

NODES = {"W1": 21, "W2": 17, "W3": 31, "W4": 17, "W5": 39, "W6": 12, "W7": 7}
MEGABYTES = {"W1": 1, "W2": 3, "W3": 140, "W4": 20, "W5": 40, "W6": 90, "W7": 90}  # at once, without the weights


@pytest.mark.parametrize("name", STEPS)
def test_nodes_on_the_tape(name):
    trainer = Trainer(name)
    with recorded_calls() as calls:
        trainer.step()
    assert len(calls) == NODES[name], [op.name for op, _, _ in calls]


@pytest.mark.parametrize("name", STEPS)
def test_bytes_at_once(name):
    trainer = Trainer(name)
    trainer.step()
    tracemalloc.start()
    trainer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEGABYTES[name] * 1e6


@pytest.mark.parametrize("name", STEPS)
def test_nothing_waits_for_the_device_and_nothing_is_float64(name, monkeypatch):
    workload, kinds = STEPS[name](np.random.default_rng(0)), set()
    workload.move(stand_in.strict.asarray)
    workload.data = tuple(map(stand_in.strict.asarray, workload.data))
    optimizers = [Adam(module.parameters()) for _, module in workload.phases]
    make = stand_in.StrictArray.__init__

    def noted(self, values):
        kinds.add(str(values.dtype))
        make(self, values)
    monkeypatch.setattr(stand_in.StrictArray, "__init__", noted)
    with stand_in.no_host_reads():
        for (loss, _), optimizer in zip(workload.phases, optimizers, strict=True):
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    assert "float32" in kinds and not {"float64", "float16", "complex64", "complex128"} & kinds, kinds
