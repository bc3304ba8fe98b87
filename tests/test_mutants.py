"""Every wrong rule of mutants.py is caught and named."""

import numpy as np
import pytest
from mutants import by_hand, examine, systematic

MUTANTS = {m.label: m for m in [*systematic(np.random.default_rng(0)), *by_hand()]}


@pytest.mark.parametrize("label", MUTANTS)
def test_wrong_rules_are_caught_and_named(label):
    mutant = MUTANTS[label]
    caught, diagnosis = examine(mutant)
    assert caught
    assert diagnosis.name == mutant.name or (mutant.name is None and diagnosis.confidence == "low"), str(diagnosis)


def test_there_are_enough_of_them():
    labels = [m.label.split(":") for m in MUTANTS.values()]
    assert len(MUTANTS) >= 600 and len({first for first, *_ in labels}) >= 62
    assert len({m.name for m in MUTANTS.values()}) >= 39
    assert sum(m.order == 2 for m in MUTANTS.values()) >= 17
