"""LSTM: the gates of a step right after its product, for the part of the batch that a thread has."""

import numpy as np
from numba import prange

from scratchnet import ops
from scratchnet.backend import threads
from scratchnet.backend.products import column_sum, matrix_product
from scratchnet.compiled import series
from scratchnet.compiled.blas import multiply
from scratchnet.compiled.loops import f4, half, one, parallel, serial, zero
from scratchnet.compiled.table import OTHER, form_of, plain, rule_form_of


@serial
def gates_of(a, b, c_before, c, h):
    """[i f o] = σ(a + b), g = tanh(a + b);  c = f c_before + i g,  h = o tanh c        σ(a) = ½ tanh(½ a) + ½"""
    H = len(h)
    for k in range(H):
        i = half * series.tanh(half * (a[k] + b[k])) + half
        f = half * series.tanh(half * (a[H + k] + b[H + k])) + half
        o = half * series.tanh(half * (a[2 * H + k] + b[2 * H + k])) + half
        g = series.tanh(a[3 * H + k] + b[3 * H + k])
        a[k], a[H + k], a[2 * H + k], a[3 * H + k] = i, f, o, g
        c[k] = f * c_before[k] + i * g
        h[k] = o * series.tanh(c[k])


@parallel
def forward(u, b, h0, gates, cells, y, T):
    """y[n, t] = hₜ and y[n, steps] = c of the last step. gates (steps, N, 4H) hold xₜ w, and in the end i, f, o, g."""
    steps, N, H4 = gates.shape
    H = H4 // 4
    for t in prange(T):
        lo, hi = N * t // T, N * (t + 1) // T
        for s in range(steps if hi > lo else 0):
            h, apart = (h0[lo].ctypes.data, H) if s == 0 else (y[lo, s - 1].ctypes.data, (steps + 1) * H)
            multiply(False, False, hi - lo, H4, H, h, apart, u.ctypes.data, H4, one, gates[s, lo].ctypes.data, H4)
            for n in range(lo, hi):
                gates_of(gates[s, n], b, cells[s, n], cells[s + 1, n], y[n, s])
        for n in range(lo, hi):
            y[n, steps] = cells[steps, n]


@serial
def gates_back(a, c_before, c, gy, gh, gc, delta):
    """δ of one step, and ∂L/∂cₜ₋₁ in gc; gh and gc come in as ∂L/∂hₜ (but for gy) and ∂L/∂cₜ from the step after"""
    H = len(gh)
    for k in range(H):
        i, f, o, g, tanh_c = a[k], a[H + k], a[2 * H + k], a[3 * H + k], series.tanh(c[k])
        dh = gh[k] + gy[k]
        dc = gc[k] + dh * o * (one - tanh_c * tanh_c)
        delta[k] = dc * g * (i * (one - i))
        delta[H + k] = dc * c_before[k] * (f * (one - f))
        delta[2 * H + k] = dh * tanh_c * (o * (one - o))
        delta[3 * H + k] = dc * i * (one - g * g)
        gc[k] = dc * f


@parallel
def back(gy, u_transposed, gates, cells, delta, gh, gc, T):
    """delta[t, n] = ∂L/∂(xₜ w + hₜ₋₁ u + b);  in the end gh, gc are ∂L/∂h₀, ∂L/∂c₀"""
    steps, N, H4 = gates.shape
    H = H4 // 4
    for t in prange(T):
        lo, hi = N * t // T, N * (t + 1) // T
        for n in range(lo, hi):
            gh[n] = zero
            gc[n] = gy[n, steps]
        for s in range(steps - 1 if hi > lo else -1, -1, -1):
            for n in range(lo, hi):
                gates_back(gates[s, n], cells[s, n], cells[s + 1, n], gy[n, s], gh[n], gc[n], delta[s, n])
            multiply(False, False, hi - lo, H, H4, delta[s, lo].ctypes.data, H4, u_transposed.ctypes.data, H, zero,
                     gh[lo].ctypes.data, H)


# ---------------------------------------------------------------- where they stand in

@form_of(ops.lstm, least=0)
def _(x, w, u, b, h0, c0):
    if not plain(x, w, u, b, h0, c0):
        return OTHER
    (N, steps, inputs), H = x.shape, len(u)
    gates = matrix_product(np.ascontiguousarray(x.swapaxes(0, 1)).reshape(-1, inputs), w).reshape(steps, N, 4 * H)
    cells, y = np.empty((steps + 1, N, H), f4), np.empty((N, steps + 1, H), f4)
    cells[0] = c0
    forward(u, b, h0, gates, cells, y, threads.count())
    return y, gates.reshape(steps, N, 4, H).swapaxes(1, 2), cells  # (T, 4, N, H), as the op's own lines have them


@rule_form_of(ops.lstm, "x", "w", "u", "b", "h0", "c0", least=0)
def _(gy, x, w, u, b, h0, c0, y, gates, cells):
    gates = None if gates is None else gates.swapaxes(1, 2)
    if gates is None or not plain(x, w, u, gates, cells) or gy.dtype != f4:
        return OTHER
    (N, steps, inputs), H = x.shape, len(u)
    gates = gates.reshape(steps, N, 4 * H)
    delta, gh, gc = np.empty_like(gates), np.empty((N, H), f4), np.empty((N, H), f4)
    back(np.ascontiguousarray(gy), np.ascontiguousarray(u.T), gates, cells, delta, gh, gc, threads.count())
    before = np.empty((steps, N, H), f4)  # h₀ … of the step before each
    before[0], before[1:] = h0, y[:, :steps - 1].swapaxes(0, 1)
    delta = delta.reshape(steps * N, 4 * H)
    gw = matrix_product(np.ascontiguousarray(x.swapaxes(0, 1)).reshape(-1, inputs).T, delta)
    gu = matrix_product(before.reshape(-1, H).T, delta)
    gx = matrix_product(delta, w.T).reshape(steps, N, inputs).swapaxes(0, 1)
    return gx, gw, gu, column_sum(delta, 1), gh, gc
