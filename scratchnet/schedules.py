"""Schedules: the learning rate as a function of the step, and rules that watch a metric.

A schedule is a callable step → learning rate, with steps counted from 0. It remembers nothing, so a resumed run needs
only its step: `Adam(parameters, lr=warmup(cosine(1e-3, steps=9_500), steps=500))`. A constant rate is just a number.
ReduceOnPlateau and EarlyStopping do remember, and have a state_dict. Settings out of range raise a ValueError.
"""

import math

import numpy as np

from scratchnet.backend import kind_of
from scratchnet.settings import number, whole


class Schedule:
    """A formula (*settings, step) → learning rate, and its settings. It prints as the call that made it.

    The formula is a function defined in a module, so that schedules can be copied and pickled.
    """

    def __init__(self, text, formula, *settings):
        self.text, self.formula, self.settings = text, formula, settings

    def __call__(self, step):
        return self.formula(*self.settings, step)

    def __repr__(self):
        return self.text


def step_decay(lr, every, factor=0.1):
    """lr · factorᵏ,  k = ⌊step / every⌋"""
    lr, factor = _rate("step_decay", lr), _factor("step_decay", factor)
    every = whole("step_decay", "every", every, 1)
    return Schedule(f"step_decay({lr}, every={every}, factor={factor})", _step_decay, lr, every, factor)


def _step_decay(lr, every, factor, step):
    return lr * factor**(step // every)


def exponential(lr, factor):
    """lr · factorˢᵗᵉᵖ"""
    lr, factor = _rate("exponential", lr), _factor("exponential", factor)
    return Schedule(f"exponential({lr}, factor={factor})", _exponential, lr, factor)


def _exponential(lr, factor, step):
    return lr * factor**step


def cosine(lr, steps, lr_min=0.0):
    """lr_min + ½ (lr − lr_min) (1 + cos(π step / steps)) while step < steps, then lr_min; steps need not be whole

    (Loshchilov & Hutter 2017, eq. 5, without restarts)
    """
    lr, lr_min = _rate("cosine", lr), _rate("cosine", lr_min, "lr_min")
    steps = number("cosine", "steps", steps, "a number ≥ 1", lambda x: x >= 1)
    return Schedule(f"cosine({lr}, steps={steps}, lr_min={lr_min})", _cosine, lr, steps, lr_min)


def _cosine(lr, steps, lr_min, step):
    return lr_min + 0.5 * (lr - lr_min) * (1.0 + math.cos(math.pi * min(step / steps, 1.0)))


def warmup(schedule, steps):
    """A linear rise over `steps` steps to the first rate of `schedule`, or to a constant, then the schedule itself.

    schedule(0) · (step + 1) / (steps + 1)  while step < steps,  then  schedule(step − steps)

    The first step already has a rate above 0.        (Goyal et al. 2017, section 2.2)
    """
    steps = whole("warmup", "steps", steps, 0)
    if not callable(schedule):
        schedule = _rate("warmup", schedule, "schedule")
    return Schedule(f"warmup({schedule}, steps={steps})", _warmup, schedule, steps)


def _warmup(schedule, steps, step):
    rate = schedule(max(step - steps, 0)) if callable(schedule) else schedule
    return rate * (step + 1) / (steps + 1) if step < steps else rate


class EarlyStopping:
    """Says when a metric has stopped improving.

    patience    the number of updates in a row that may pass without an improvement; the next one stops
    min_delta   an improvement changes the best value so far by more than this
    mode        "min" if smaller is better, "max" if larger is

    `best` is the best value so far (None before the first), `waited` the number of updates since then.
    NaN is never an improvement, so a run that yields only NaN stops as well.
    """

    def __init__(self, patience=10, min_delta=0.0, mode="min"):
        who = type(self).__name__
        self.patience = whole(who, "patience", patience, 0)
        self.min_delta = number(who, "min_delta", min_delta, "a number ≥ 0", lambda x: x >= 0.0)
        if not (isinstance(mode, str) and mode in ("min", "max")):
            raise ValueError(f'{who}: mode is "min" or "max", got {mode!r}')
        self.mode = mode
        self.best, self.waited = None, 0

    def update(self, metric):
        """Take in one value of the metric. True if it is time to stop. TypeError unless it is one number."""
        metric = _metric(type(self).__name__, metric)
        sign = 1.0 if self.mode == "max" else -1.0
        gain = -math.inf if math.isnan(metric) else math.inf if self.best is None else sign * (metric - self.best)
        if gain > self.min_delta:
            self.best, self.waited = metric, 0
        else:
            self.waited += 1
        return self.waited > self.patience

    def state_dict(self):
        """`best` and `waited`; the settings are in the program."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        """Restore a state from state_dict; ValueError for a state of something else."""
        who = type(self).__name__
        check_state(who, self.state_dict(), state)
        best = None if state["best"] is None else _metric(who, state["best"])
        waited = whole(who, "waited", state["waited"], 0)
        self.best, self.waited = best, waited

    def __repr__(self):
        return (f"{type(self).__name__}(patience={self.patience}, min_delta={self.min_delta}, mode={self.mode!r}; "
                f"best {self.best}, {self.waited} updates ago)")


class ReduceOnPlateau(EarlyStopping):
    """A learning rate that falls by `factor`, but not below `lr_min`, whenever a metric has stopped improving.

    Use it like a schedule, `lr=plateau`. It depends on `plateau.update(metric)`, not on the step. The rest is as in
    EarlyStopping. A reduction starts the wait anew.
    """

    def __init__(self, lr, factor=0.1, patience=10, min_delta=0.0, mode="min", lr_min=0.0):
        super().__init__(patience, min_delta, mode)
        who = "ReduceOnPlateau"
        self.lr = _rate(who, lr)
        self.lr_min = number(who, "lr_min", lr_min, "a number from 0 to lr", lambda x: 0.0 <= x <= self.lr)
        self.factor = number(who, "factor", factor, "a number between 0 and 1", lambda x: 0.0 < x < 1.0)

    def update(self, metric):
        """Take in one value of the metric. True if it reduced the learning rate."""
        reduce = super().update(metric)
        if reduce:
            self.lr, self.waited = max(self.lr * self.factor, self.lr_min), 0
        return reduce

    def __call__(self, step):
        return self.lr

    def state_dict(self):
        return super().state_dict() | {"lr": self.lr}

    def load_state_dict(self, state):
        check_state(type(self).__name__, self.state_dict(), state)
        lr = _rate(type(self).__name__, state["lr"])
        super().load_state_dict(state)
        self.lr = lr

    def __repr__(self):
        return super().__repr__().replace("(", f"({self.lr}, factor={self.factor}, lr_min={self.lr_min}, ", 1)


def check_state(who, mine, state):
    """Raise a ValueError that lists every difference in names and shapes between a state and `mine`."""
    if not isinstance(state, dict):
        raise TypeError(f"{who}: load_state_dict takes a dict from state_dict, got {kind_of(state)}")
    faults = [f"missing: {name}" for name in mine if name not in state]
    faults += [f"unexpected: {name}" for name in state if name not in mine]
    faults += [f"{name}: shape {np.shape(state[name])} instead of {np.shape(value)}" for name, value in mine.items()
               if name in state and np.shape(state[name]) != np.shape(value)]
    if faults:
        raise ValueError(f"this state does not belong to this {who}: " + "; ".join(faults))


def _metric(who, x):
    try:
        return float(x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{who}: a metric is one number, got {x!r:.80}") from error


def _rate(who, lr, name="lr"):
    return number(who, name, lr, "a number ≥ 0", lambda x: x >= 0.0)


def _factor(who, factor):
    return number(who, "factor", factor, "a number > 0", lambda x: x > 0.0)
