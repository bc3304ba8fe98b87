"""Schedules: the learning rate as a function of the step, and rules that watch a metric.

A schedule is a callable step → learning rate, with steps counted from 0. It remembers nothing, so a resumed run needs
only its step: `Adam(parameters, lr=warmup(cosine(1e-3, steps=9_500), steps=500))`. A constant rate is just a number.
ReduceOnPlateau and EarlyStopping do remember, and have a state_dict.
"""

import math

import numpy as np


class Schedule:
    """A formula step → learning rate that prints as it was written."""

    def __init__(self, text, formula):
        self.text, self.formula = text, formula

    def __call__(self, step):
        return self.formula(step)

    def __repr__(self):
        return self.text


def step_decay(lr, every, factor=0.1):
    """lr · factorᵏ after every k-th of `every` steps: k = ⌊step / every⌋"""
    _require("step_decay", every >= 1, f"every is a number of steps ≥ 1, got {every}")
    _require("step_decay", factor > 0.0, f"factor is a number > 0, got {factor}")
    return Schedule(f"step_decay({lr}, every={every}, factor={factor})", lambda step: lr * factor**(step // every))


def exponential(lr, factor):
    """lr · factorˢᵗᵉᵖ"""
    _require("exponential", factor > 0.0, f"factor is a number > 0, got {factor}")
    return Schedule(f"exponential({lr}, factor={factor})", lambda step: lr * factor**step)


def cosine(lr, steps, lr_min=0.0):
    """lr_min + ½ (lr − lr_min) (1 + cos(π step / steps)), and lr_min after that

    (Loshchilov & Hutter 2017, eq. 5, without restarts)
    """
    _require("cosine", steps >= 1, f"steps is a number ≥ 1, got {steps}")
    return Schedule(f"cosine({lr}, steps={steps}, lr_min={lr_min})", lambda step:
                    lr_min + 0.5 * (lr - lr_min) * (1.0 + math.cos(math.pi * min(step / steps, 1.0))))


def warmup(schedule, steps):
    """A straight rise to the first rate of `schedule` (or to a constant) over `steps` steps, then the schedule itself.

    schedule(0) · (step + 1) / (steps + 1)  while step < steps,  then  schedule(step − steps)

    The first step already has a rate above 0.        (Goyal et al. 2017, section 2.2)
    """
    _require("warmup", steps >= 0, f"steps is a number ≥ 0, got {steps}")
    after = schedule if callable(schedule) else lambda step: schedule
    return Schedule(f"warmup({schedule}, steps={steps})", lambda step:
                    after(0) * (step + 1) / (steps + 1) if step < steps else after(step - steps))


class EarlyStopping:
    """Says when a metric has stopped getting better.

    patience    so many updates in a row may pass without improvement; the next one stops
    min_delta   an improvement is a change by more than this, measured from the best so far
    mode        "min" if smaller is better, "max" if larger is

    `best` is the best value so far (None before the first), `waited` the number of updates since then.
    NaN never counts as an improvement, so a run that only gives NaN stops too.
    """

    def __init__(self, patience=10, min_delta=0.0, mode="min"):
        who = type(self).__name__
        _require(who, patience >= 0, f"patience is a number of updates ≥ 0, got {patience}")
        _require(who, min_delta >= 0.0, f"min_delta is a number ≥ 0, got {min_delta}")
        _require(who, mode in ("min", "max"), f'mode is "min" or "max", got {mode!r}')
        self.patience, self.min_delta, self.mode = patience, min_delta, mode
        self.best, self.waited = None, 0

    def update(self, metric):
        """Take in one value of the metric. True when it is time to stop."""
        metric = float(metric)
        sign = 1.0 if self.mode == "max" else -1.0
        gain = -math.inf if math.isnan(metric) else math.inf if self.best is None else sign * (metric - self.best)
        if gain > self.min_delta:
            self.best, self.waited = metric, 0
        else:
            self.waited += 1
        return self.waited > self.patience

    def state_dict(self):
        """What has been seen so far; the settings are in the program."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        """Take up what state_dict gave; ValueError if it came from something else."""
        check_state(type(self).__name__, self.state_dict(), state)
        for name, value in state.items():
            setattr(self, name, value)

    def __repr__(self):
        return (f"{type(self).__name__}(patience={self.patience}, min_delta={self.min_delta}, mode={self.mode!r}; "
                f"best {self.best}, {self.waited} updates ago)")


class ReduceOnPlateau(EarlyStopping):
    """A learning rate that is multiplied by `factor` whenever a metric has stopped getting better.

    It stands where a schedule stands, `lr=plateau`, but depends on `plateau.update(metric)`, not on the step.
    patience, min_delta, mode, `best`, `waited`, and NaN are as in EarlyStopping; a reduction starts the wait anew.
    """

    def __init__(self, lr, factor=0.1, patience=10, min_delta=0.0, mode="min", lr_min=0.0):
        super().__init__(patience, min_delta, mode)
        _require("ReduceOnPlateau", 0.0 < factor < 1.0, f"factor is a number between 0 and 1, got {factor}")
        self.lr, self.factor, self.lr_min = lr, factor, lr_min

    def update(self, metric):
        """Take in one value of the metric. True when the learning rate was reduced."""
        reduce = super().update(metric)
        if reduce:
            self.lr, self.waited = max(self.lr * self.factor, self.lr_min), 0
        return reduce

    def __call__(self, step):
        return self.lr

    def state_dict(self):
        return super().state_dict() | {"lr": self.lr}

    def __repr__(self):
        return super().__repr__().replace("(", f"({self.lr}, factor={self.factor}, lr_min={self.lr_min}, ", 1)


def check_state(who, mine, state):
    """Raise a ValueError that lists every difference in names and shapes between two state dicts."""
    faults = [f"missing: {name}" for name in mine if name not in state]
    faults += [f"unexpected: {name}" for name in state if name not in mine]
    faults += [f"{name}: shape {np.shape(state[name])} instead of {np.shape(value)}" for name, value in mine.items()
               if name in state and np.shape(state[name]) != np.shape(value)]
    if faults:
        raise ValueError(f"this state does not belong to this {who}: " + "; ".join(faults))


def _require(who, right, message):
    if not right:
        raise ValueError(f"{who}: {message}")
