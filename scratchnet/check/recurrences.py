"""Explanations for recurrent networks: known mistakes in backpropagation through time, tried one by one.

A mistake in one step of an LSTM's rule spreads to all of its gradients, so it cannot be predicted from the right ones.
But if the values show that the function is a tanh RNN or an LSTM, its rule can be written down with a switch for each
mistake:

    tanh RNN    hₜ = tanh(xₜ w + hₜ₋₁ u + b)
    LSTM        as in ops/recurrent.py, with the gates in any order
"""

import itertools
from typing import NamedTuple

import numpy as np

from scratchnet.check.compare import COTANGENTS
from scratchnet.check.predictions import moved_by


class Sequence(NamedTuple):
    """The arguments with time first: x (T, N, I), w (I, k H), u (H, k H), b (k H,), initial states (N, H)."""

    x: np.ndarray
    w: np.ndarray
    u: np.ndarray
    b: np.ndarray
    h0: np.ndarray
    c0: np.ndarray


def through_time(e):
    """The gradient of a tanh RNN or an LSTM whose rule has one mistake."""
    for roles, time_axis in _readings(e):
        s = _as_sequence(e, roles, time_axis)
        h = np.swapaxes(e.y, 0, 1) if time_axis else e.y
        steps = len(s.x)
        if s.w.shape[1] == e.y.shape[-1] and np.allclose(_rnn(s), h.reshape(steps, -1, e.y.shape[-1])):
            yield from _wrong_ones(e, roles, time_axis, s, _rnn_back, RNN_MISTAKES)
            return
        for order in itertools.permutations(range(4)) if s.w.shape[1] == 4 * e.y.shape[-1] else ():
            states, *_ = _lstm(s, order)
            if np.allclose(states, h.reshape(-1, *states.shape[1:])[:steps]):
                back = _lstm_back(order)
                yield from _wrong_ones(e, roles, time_axis, s, back, LSTM_MISTAKES)
                return


RNN_MISTAKES = [
    ("activation's derivative left out", "1 − h² is left out", {"slope": lambda h, a: 1.0 + 0 * h}),
    ("evaluated at the input", "the slope is 1 − a² with the sum a, not 1 − h²", {"slope": lambda h, a: 1.0 - a * a}),
    ("steps treated as independent", "nothing is carried to the step before", {"carry": 0.0}),
    ("Jacobian not transposed", "u stands in place of uᵀ on the way back", {"transposed": False}),
    ("off by one in time", "hₜ stands in place of hₜ₋₁ in ∂L/∂u", {"lag": 1})]

LSTM_MISTAKES = [
    *[("gates exchanged", f"the gates come in the order {' '.join('ifog'[k] for k in order)} instead of i f o g",
       {"gates": order}) for order in itertools.permutations(range(4)) if order != (0, 1, 2, 3)],
    ("off by one in time", "cₜ stands in place of cₜ₋₁ in the forget gate", {"cell_lag": 1}),
    ("off by one in time", "hₜ stands in place of hₜ₋₁ in ∂L/∂u", {"lag": 1}),
    ("steps treated as independent", "∂L/∂c is not carried to the step before", {"cell_carry": 0.0}),
    ("steps treated as independent", "∂L/∂h is not carried to the step before", {"carry": 0.0}),
    *[("activation's derivative left out", f"the derivative of the {what} is left out", {"without": k})
      for k, what in enumerate(("input gate", "forget gate", "output gate", "candidate", "tanh of the cell"))]]


def _wrong_ones(e, roles, time_axis, s, back, mistakes):
    """The gradient of the input e.i under each mistake, provided that it is right with all switches off."""
    role = next((role for role, j in roles.items() if j == e.i), None)
    v = e.v.reshape(-1, *e.y.shape)
    v = np.swapaxes(v, 1, 2) if time_axis else v

    def gradients(**switches):
        found = [getattr(back(s, g.reshape(len(g), -1, g.shape[-1]), **switches), role) for g in v]
        found = [np.swapaxes(g, 0, 1) if role == "x" and time_axis else g for g in found]
        return np.array(found).reshape(len(found), -1)
    if role is None or not np.allclose(gradients(), e.right, rtol=1e-6, atol=1e-8 * np.abs(e.right).max()):
        return
    for name, detail, switches in mistakes:
        yield name, gradients(**switches), detail


def _readings(e):
    """The roles that the inputs may have by their shapes: ({role: index among the values}, axis of time in x and y)."""
    if not e.is_call or e.y.ndim not in (2, 3):
        return
    arguments = [np.asarray(a) for a in e.function.whole_arguments()]
    size = e.y.shape[-1]
    for time_axis in range(e.y.ndim - 1):
        for x, w, u in itertools.permutations([k for k, a in enumerate(arguments) if a.ndim > 1], 3):
            X, W, U = (arguments[k] for k in (x, w, u))
            same_batch = X.ndim == e.y.ndim and (X.ndim == 2 or X.shape[1 - time_axis] == e.y.shape[1 - time_axis])
            if same_batch and W.ndim == U.ndim == 2 and W.shape == (X.shape[-1], U.shape[1]) and len(U) == size:
                rest = [k for k in range(len(arguments)) if k not in (x, w, u)]
                b = [k for k in rest if arguments[k].shape == W.shape[1:]][:1]
                first = [k for k in rest if arguments[k].size == e.y.size // e.y.shape[time_axis] and k not in b]
                yield dict(zip(("x", "w", "u"), (x, w, u), strict=True)) | dict(zip(("b",), b, strict=False)) \
                    | dict(zip(("h0", "c0"), first, strict=False)), time_axis


def _as_sequence(e, roles, time_axis):
    """The Sequence of the arguments in these roles, with zeros for those that the function does not have."""
    arguments = e.function.whole_arguments()
    x = np.swapaxes(arguments[roles["x"]], 0, 1) if time_axis else arguments[roles["x"]]
    x = x.reshape(len(x), -1, x.shape[-1])
    size, w = e.y.shape[-1], arguments[roles["w"]]
    zeros = {"b": np.zeros(w.shape[1]), "h0": np.zeros((x.shape[1], size)), "c0": np.zeros((x.shape[1], size))}
    more = {role: np.reshape(arguments[roles[role]], a.shape) if role in roles else a for role, a in zeros.items()}
    return Sequence(x, w, arguments[roles["u"]], **more)


def _rnn(s):
    h, states = s.h0, []
    for x in s.x:
        h = np.tanh(x @ s.w + h @ s.u + s.b)
        states.append(h)
    return np.array(states)


def _rnn_back(s, gy, slope=lambda h, a: 1.0 - h * h, carry=1.0, transposed=True, lag=0):
    h = _rnn(s)
    before = np.concatenate([s.h0[None], h])
    gh, deltas = np.zeros_like(s.h0), np.zeros_like(h)
    for t in reversed(range(len(h))):
        a = s.x[t] @ s.w + before[t] @ s.u + s.b
        deltas[t] = (gy[t] + gh) * slope(h[t], a)
        gh = carry * deltas[t] @ (s.u.T if transposed else s.u)
    return _collected(s, deltas, before[lag:len(h) + lag], gh, np.zeros_like(gh))


def _lstm(s, order):
    """(h of all steps, gates i f o g of all steps, c of all steps with the initial one in front)"""
    h, cells, states, gates = s.h0, [s.c0], [], []
    for x in s.x:
        a = _parts(x @ s.w + h @ s.u + s.b, order)
        i, f, o = 1.0 / (1.0 + np.exp(-a[:3]))
        gates.append([i, f, o, np.tanh(a[3])])
        cells.append(f * cells[-1] + i * gates[-1][3])
        h = o * np.tanh(cells[-1])
        states.append(h)
    return np.array(states), np.array(gates), np.array(cells)


def _parts(a, order):
    """(N, 4H) → (4, N, H): the gates i, f, o, g, of which gate k lies at place order[k]."""
    return np.array(np.split(a, 4, axis=1))[list(order)]


def _lstm_back(order):
    def back(s, gy, gates=(0, 1, 2, 3), lag=0, cell_lag=0, carry=1.0, cell_carry=1.0, without=None):
        h, activities, c = _lstm(s, order)
        before, steps = np.concatenate([s.h0[None], h]), len(h)
        gh = np.zeros_like(s.h0)
        gc = gy[steps].copy() if len(gy) > steps else np.zeros_like(s.c0)  # ops.lstm returns the last cell after h
        deltas = np.zeros((steps, len(s.h0), 4 * s.h0.shape[1]))
        for t in reversed(range(steps)):
            i, f, o, g = activities[t]
            slopes = [i * (1 - i), f * (1 - f), o * (1 - o), 1 - g * g, 1 - np.tanh(c[t + 1]) ** 2]
            slopes = [np.ones_like(a) if k == without else a for k, a in enumerate(slopes)]
            gh = gh + gy[t]
            gc = gc + gh * o * slopes[4]
            parts = np.array([gc * g, gc * c[t + cell_lag], gh * np.tanh(c[t + 1]), gc * i]) * slopes[:4]
            parts = parts[list(gates)]
            deltas[t] = np.concatenate([parts[order.index(k)] for k in range(4)], axis=1)
            gh, gc = carry * deltas[t] @ s.u.T, cell_carry * gc * f
        return _collected(s, deltas, before[lag:steps + lag], gh, gc)
    return back


def _collected(s, deltas, before, gh, gc):
    """The gradients of all arguments from ∂L/∂(xₜ w + hₜ₋₁ u + b) of all steps."""
    return Sequence(deltas @ s.w.T, np.einsum("tni,tno->io", s.x, deltas), np.einsum("tnh,tno->ho", before, deltas),
                    deltas.sum((0, 1)), gh, gc)


# ---------------------------------------------------------------- from the gradients alone

def gates(e):
    """The gates of a recurrent cell in another order: three or four parts along one axis, each as long as y."""
    if e.y.ndim < 2 or e.x.ndim < 1:
        return
    for axis in {0, e.x.ndim - 1}:
        count, rest = divmod(e.x.shape[axis], e.y.shape[-1])
        if rest or count not in (3, 4):
            continue
        parts = np.split(e.right.reshape(COTANGENTS, *e.x.shape), count, axis + 1)
        for order in itertools.permutations(range(count)):
            if list(order) != sorted(order):
                yield ("gates exchanged", np.concatenate([parts[k] for k in order], axis + 1).reshape(COTANGENTS, -1),
                       f"its {count} parts along axis {axis} come in the order {order}")


def recurrent_weights(e):
    """For y[t] = f(y[t−1] U + x[t] W): ∂L/∂U = Σ y[t−1]ᵀ δ[t], with δ from ∂L/∂x = δ Wᵀ. A wrong one pairs other steps.
    """
    if e.x.ndim != 2 or e.x.shape[0] != e.x.shape[1] or e.y.ndim < 2 or e.y.shape[-1] != e.x.shape[1]:
        return
    for (j, x), (k, w) in itertools.permutations(enumerate(e.values), 2):
        if e.i in (j, k) or w.ndim != 2 or w.shape[1] != e.x.shape[1] or x.ndim != e.y.ndim or \
                x.shape != (*e.y.shape[:-1], w.shape[0]) or w.shape[0] < w.shape[1]:
            continue
        dx = e.right_of(j).reshape(COTANGENTS, *x.shape)
        delta = dx @ np.linalg.pinv(w.T)
        for axis in range(e.y.ndim - 1):
            def paired(y):
                return np.einsum("ai,kao->kio", y.reshape(-1, y.shape[-1]),
                                 delta.reshape(COTANGENTS, -1, delta.shape[-1])).reshape(COTANGENTS, -1)  # noqa: B023
            for first in _first_states(e, axis):
                before = moved_by(e.y, axis, 1, first)
                if np.allclose(paired(before), e.right, rtol=1e-6, atol=1e-8 * np.abs(e.right).max()):
                    yield "off by one in time", paired(e.y), "y[t] is paired with the gradient of step t"
                    for two in (moved_by(before, axis, 1), moved_by(before, axis, 1, first)):
                        yield "off by one in time", paired(two), "y[t−2] is paired with the gradient of step t"
                    if first is not None:
                        yield ("off by one in time", paired(moved_by(e.y, axis, 1)),
                               "the state before the first step is left out")


def _first_states(e, axis):
    """The possible states before the first step along the axis: none, or an argument of that shape."""
    shape = e.y.shape[:axis] + e.y.shape[axis + 1:]
    return [None, *(a for a in e.arguments().values() if a.shape == shape)]
