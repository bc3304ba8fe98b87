"""Learning-rate schedules, plateau and early stopping: closed values, PyTorch's schedulers, NaN, resuming."""

import copy
import math
import pickle

import numpy as np
import pytest

from scratchnet.schedules import EarlyStopping, ReduceOnPlateau, cosine, exponential, step_decay, warmup


def test_step_decay_drops_exactly_at_every_third_step():
    schedule = step_decay(0.8, every=3, factor=0.5)
    assert [schedule(t) for t in range(8)] == [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]


def test_exponential_is_a_power():
    schedule = exponential(2.0, factor=0.9)
    assert schedule(0) == 2.0
    assert schedule(3) == pytest.approx(2.0 * 0.729)


def test_cosine_starts_at_lr_is_halfway_in_the_middle_and_stays_at_the_end():
    schedule = cosine(0.5, steps=8, lr_min=0.1)
    assert schedule(0) == pytest.approx(0.5)
    assert schedule(4) == pytest.approx(0.3)
    assert schedule(2) == pytest.approx(0.1 + 0.2 * (1 + math.sqrt(0.5)))
    assert [schedule(t) for t in (8, 9, 1000)] == pytest.approx([0.1] * 3)


def test_cosine_over_steps_that_are_not_whole():
    schedule = cosine(1.0, steps=7 / 2)
    assert [schedule(t) for t in range(5)] == pytest.approx([1.0, *((1 + math.cos(math.pi * t / 3.5)) / 2
                                                                     for t in (1, 2, 3)), 0.0])
    assert cosine(1e-3, 100 / 3)(34) == 0.0


def test_warmup_rises_evenly_from_above_zero_and_then_hands_over_from_the_start():
    schedule = warmup(step_decay(1.0, every=2, factor=0.5), steps=3)
    assert [schedule(t) for t in range(8)] == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.5, 0.25]


def test_warmup_of_a_constant_and_over_no_steps():
    assert [warmup(0.6, steps=1)(t) for t in range(3)] == pytest.approx([0.3, 0.6, 0.6])
    assert warmup(0.6, steps=0)(0) == 0.6


def test_schedules_remember_nothing():
    for schedule in (step_decay(1.0, 3), exponential(1.0, 0.9), cosine(1.0, 10), warmup(cosine(1.0, 10), 4)):
        forward = [schedule(t) for t in range(20)]
        assert [schedule(t) for t in reversed(range(20))] == forward[::-1]


def test_schedules_print_as_they_were_written():
    assert repr(warmup(cosine(0.001, steps=95), steps=5)) == "warmup(cosine(0.001, steps=95, lr_min=0.0), steps=5)"
    assert repr(step_decay(0.1, every=30)) == "step_decay(0.1, every=30, factor=0.1)"
    assert repr(exponential(0.1, 0.5)) == "exponential(0.1, factor=0.5)"


@pytest.mark.parametrize(("make", "word"), [
    (lambda: step_decay(0.1, every=0), "every"),
    (lambda: step_decay(0.1, every=3, factor=0.0), "factor"),
    (lambda: exponential(0.1, factor=-1.0), "factor"),
    (lambda: cosine(0.1, steps=0), "steps"),
    (lambda: warmup(0.1, steps=-1), "steps"),
    (lambda: EarlyStopping(patience=-1), "patience"),
    (lambda: EarlyStopping(min_delta=-0.1), "min_delta"),
    (lambda: EarlyStopping(min_delta=math.nan), "min_delta"),
    (lambda: EarlyStopping(mode="smallest"), "mode.*smallest"),
    (lambda: ReduceOnPlateau(0.1, factor=1.0), "ReduceOnPlateau: factor"),
    (lambda: step_decay(math.nan, every=3), "step_decay: lr is a number ≥ 0, got nan"),
    (lambda: step_decay(0.1, every=2.5), "every is a whole number ≥ 1, got 2.5"),
    (lambda: step_decay(0.1, every=3, factor=math.nan), "factor"),
    (lambda: step_decay(0.1, every="3"), "every"),
    (lambda: exponential(-0.1, 0.5), "exponential: lr"),
    (lambda: exponential(0.1, math.inf), "factor"),
    (lambda: exponential("0.1", 0.5), "exponential: lr is .*, got '0.1'"),
    (lambda: cosine(math.inf, steps=3), "cosine: lr"),
    (lambda: cosine(None, steps=3), "cosine: lr is .*, got None"),
    (lambda: cosine(0.1, steps=math.nan), "steps"),
    (lambda: cosine(0.1, steps=math.inf), "steps"),
    (lambda: cosine(0.1, steps=0.5), "cosine: steps is a number ≥ 1, got 0.5"),
    (lambda: cosine(0.1, steps=3, lr_min=-1), "lr_min"),
    (lambda: warmup(-0.1, steps=3), "warmup: schedule"),
    (lambda: warmup(None, steps=3), "warmup: schedule"),
    (lambda: warmup(0.1, steps=1.5), "steps"),
    (lambda: EarlyStopping(patience=1.5), "patience"),
    (lambda: EarlyStopping(patience=None), "patience"),
    (lambda: EarlyStopping(mode=["min"]), "mode"),
    (lambda: ReduceOnPlateau(math.nan), "ReduceOnPlateau: lr is"),
    (lambda: ReduceOnPlateau(True), "ReduceOnPlateau: lr is"),
    (lambda: ReduceOnPlateau(0.1, lr_min=math.nan), "lr_min"),
    (lambda: ReduceOnPlateau(0.1, lr_min=0.2), "lr_min is a number from 0 to lr, got 0.2"),
])
def test_wrong_settings_are_named(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_settings_may_be_numpy_numbers_and_print_as_pythons():
    schedule = warmup(cosine(np.float32(0.5), steps=np.int64(95)), steps=np.uint8(5))
    assert repr(schedule) == "warmup(cosine(0.5, steps=95, lr_min=0.0), steps=5)"
    assert type(schedule(3)) is float and type(schedule(50)) is float
    assert step_decay(1.0, every=1e3)(999) == 1.0 and step_decay(1.0, every=1e3)(1000) == 0.1


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles(copied):
    for schedule in (step_decay(1.0, 3), exponential(1.0, 0.9), cosine(1.0, 10, 0.1), warmup(cosine(1.0, 10), 4),
                     warmup(0.3, 4)):
        again = copied(schedule)
        assert [again(t) for t in range(20)] == [schedule(t) for t in range(20)] and repr(again) == repr(schedule)
    for rule in (EarlyStopping(patience=2), ReduceOnPlateau(1.0, patience=0)):
        rule.update(3.0)
        again = copied(rule)
        again.update(4.0)
        assert rule.waited == 0 and repr(again) != repr(rule)


# ---------------------------------------------------------------- rules that watch a metric

def test_early_stopping_waits_exactly_its_patience():
    stop = EarlyStopping(patience=2)
    assert [stop.update(x) for x in (5.0, 4.0, 4.0, 4.5, 4.1)] == [False, False, False, False, True]
    assert (stop.best, stop.waited) == (4.0, 3)


def test_an_improvement_starts_the_wait_anew():
    stop = EarlyStopping(patience=1)
    assert [stop.update(x) for x in (5.0, 6.0, 4.0, 6.0, 3.0, 3.0, 3.0)] == [False] * 6 + [True]


def test_min_delta_is_measured_from_the_best_so_far():
    stop = EarlyStopping(patience=0, min_delta=0.5)
    assert [stop.update(x) for x in (3.0, 2.4, 1.9)] == [False, False, True]  # 1.9 is 0.5 below, not more
    assert stop.best == 2.4


def test_mode_max():
    stop = EarlyStopping(patience=0, mode="max")
    assert [stop.update(x) for x in (0.1, 0.2, 0.15)] == [False, False, True]
    assert stop.best == 0.2


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nan_is_never_the_best_and_counts_as_waiting(mode):
    stop = EarlyStopping(patience=2, mode=mode)
    assert [stop.update(math.nan) for _ in range(3)] == [False, False, True]
    assert stop.best is None
    assert not stop.update(1.0)
    assert (stop.best, stop.waited) == (1.0, 0)
    assert not stop.update(math.nan)
    assert stop.best == 1.0


def test_infinite_metrics():
    stop = EarlyStopping(patience=0)
    assert not stop.update(math.inf)
    assert not stop.update(1.0)
    assert stop.best == 1.0
    assert stop.update(math.inf)


def test_a_metric_may_be_an_array_of_one_number():
    stop = EarlyStopping()
    stop.update(np.float32(0.5))
    assert type(stop.best) is float


def test_plateau_reduces_after_its_patience_and_waits_anew():
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=1, lr_min=0.2)
    reduced = [plateau.update(x) for x in (3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0)]
    assert reduced == [False, False, True, False, True, False, True]
    assert plateau(0) == plateau(12345) == 0.2  # 1 → 0.5 → 0.25 → not below 0.2


def test_plateau_and_stopping_resume_where_they_were():
    metrics = [3.0, math.nan, 2.5, 2.6, 2.7, 2.4, 2.45, 2.5, 2.6, 2.4, 2.5]
    for make in (lambda: ReduceOnPlateau(1.0, patience=1), lambda: EarlyStopping(patience=1)):
        whole = make()
        expected = [whole.update(x) for x in metrics]
        for cut in range(len(metrics)):
            first, second = make(), make()
            got = [first.update(x) for x in metrics[:cut]]
            second.load_state_dict(first.state_dict())
            got += [second.update(x) for x in metrics[cut:]]
            assert got == expected
            assert second.state_dict() == whole.state_dict()


def test_a_foreign_state_is_refused_and_changes_nothing():
    plateau = ReduceOnPlateau(0.1)
    plateau.update(1.0)
    before = plateau.state_dict()
    with pytest.raises(ValueError, match="ReduceOnPlateau: missing: lr"):
        plateau.load_state_dict({"best": 7.0, "waited": 3})
    with pytest.raises(ValueError, match="unexpected: speed"):
        plateau.load_state_dict(before | {"speed": 3})
    for wrong in ({"lr": -1.0}, {"lr": math.nan}, {"waited": -1}, {"waited": 0.5}, {"best": "x"}, {"lr": None}):
        with pytest.raises((ValueError, TypeError), match=f"ReduceOnPlateau: .*{'metric' if 'best' in wrong else ''}"):
            plateau.load_state_dict(before | wrong)
    with pytest.raises(TypeError, match="ReduceOnPlateau: load_state_dict takes a dict from state_dict, got a list"):
        plateau.load_state_dict([1])
    assert plateau.state_dict() == before


@pytest.mark.parametrize("metric", [None, "a", np.ones(2), {}])
def test_a_wrong_metric_is_named(metric):
    with pytest.raises(TypeError, match="EarlyStopping: a metric is one number, got"):
        EarlyStopping().update(metric)


def test_reprs_show_the_progress():
    assert repr(EarlyStopping(3)) == "EarlyStopping(patience=3, min_delta=0.0, mode='min'; best None, 0 updates ago)"
    assert repr(ReduceOnPlateau(0.5)).startswith("ReduceOnPlateau(0.5, factor=0.1, lr_min=0.0, patience=10, ")


# ---------------------------------------------------------------- against PyTorch

def torch_rates(make, steps):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("schedule", "make"), [
    (step_decay(0.3, every=4, factor=0.2), lambda s, o: s.StepLR(o, 4, gamma=0.2)),
    (exponential(0.3, factor=0.8), lambda s, o: s.ExponentialLR(o, gamma=0.8)),
    (cosine(0.3, steps=12, lr_min=0.05), lambda s, o: s.CosineAnnealingLR(o, T_max=12, eta_min=0.05)),
    (warmup(exponential(0.3, factor=0.8), steps=4), lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, start_factor=0.2, total_iters=4), s.ExponentialLR(o, gamma=0.8)], milestones=[4])),
])
def test_schedules_agree_with_pytorch(schedule, make):
    assert [schedule(t) for t in range(12)] == pytest.approx(torch_rates(make, 12), rel=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_agrees_with_pytorch(mode):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, factor=0.7, patience=2, threshold=0.3,
                                                        threshold_mode="abs", min_lr=0.1, eps=0.0)
    ours = ReduceOnPlateau(1.0, factor=0.7, patience=2, min_delta=0.3, mode=mode, lr_min=0.1)
    for metric in np.random.default_rng(3).normal(size=60):
        theirs.step(metric)
        ours.update(metric)
        assert ours(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert ours(0) == 0.1
