"""LSTM, a recurrent network that carries a cell from step to step. A whole sequence is one node of the tape.

At each step, with the gates i (input), f (forget), o (output) and the candidate g:

    [i f o] = σ(xₜ w + hₜ₋₁ u + b),   g = tanh(xₜ w + hₜ₋₁ u + b)        each with its own H columns of w, u, b
    cₜ = f ⊙ cₜ₋₁ + i ⊙ g,            hₜ = o ⊙ tanh cₜ

(Hochreiter & Schmidhuber 1997; the forget gate: Gers, Schmidhuber & Cummins 2000). The columns are in the order
i, f, o, g, so that the three that pass through σ lie together. PyTorch has i, f, g, o.
"""

from scratchnet.autograd import Tensor, check_arrays, data_of, differentiable, grad, handle
from scratchnet.backend import array_module
from scratchnet.backend.products import matrix_product
from scratchnet.ops.elementwise import tanh
from scratchnet.ops.linear import dense
from scratchnet.ops.shape import split, stack


def lstm_steps(x, w, u, b, h, c):
    """The result of _lstm, from a few ops for each step: its definition, and the way to its higher derivatives."""
    states = []
    for t in range(x.shape[1]):
        i, f, o, g = split(dense(x[:, t], w, b) + dense(h, u), 4, axis=1)
        i, f, o = (0.5 * tanh(0.5 * a) + 0.5 for a in (i, f, o))  # σ
        c = f * c + i * tanh(g)
        h = o * tanh(c)
        states.append(h)
    return stack([*states, c], axis=1)


@differentiable(cache=("gates", "cells"))
def _lstm(x, w, u, b, h0, c0):
    """h₁ … h_T and then c_T, from cₜ = f ⊙ cₜ₋₁ + i ⊙ g, hₜ = o ⊙ tanh cₜ        → (N, T + 1, H)"""
    (n, steps, _), size, xp = x.shape, len(u), array_module(x)
    w, u, b = (_gates_apart(a) for a in (w, u, b[None]))                        # (4, I, H), (4, H, H), (4, 1, H)
    gates = xp.empty((steps, 4, n, size), dtype=xp.result_type(x, w, u, b, h0, c0))
    xp.matmul(x.swapaxes(0, 1)[:, None], w, out=gates)                          # (T, 1, N, I) (4, I, H)
    gates += b
    cells = xp.empty((steps + 1, n, size), dtype=gates.dtype)
    y = xp.empty((n, steps + 1, size), dtype=gates.dtype)
    h, from_h, i_times_g = h0.astype(gates.dtype), xp.empty_like(gates[0]), xp.empty_like(cells[0])
    cells[0] = c0
    for t in range(steps):
        xp.matmul(h, u, out=from_h)                                             # (N, H) (4, H, H) → (4, N, H)
        gates[t] += from_h
        i, f, o, g = _activate(gates[t], xp)
        c = xp.multiply(f, cells[t], out=cells[t + 1])
        c += xp.multiply(i, g, out=i_times_g)
        xp.tanh(c, out=h)
        h *= o
        y[:, t] = h
    y[:, steps] = cells[steps]
    return y, gates, cells


def _activate(a, xp):
    """(4, N, H) in place: σ for i, f, o, and tanh for g. σ(a) = ½ tanh(½ a) + ½, so that one tanh does all."""
    sigmoids = a[:3]
    sigmoids *= 0.5
    xp.tanh(a, out=a)
    sigmoids *= 0.5
    sigmoids += 0.5
    return a


@_lstm.backward("x", "w", "u", "b", "h0", "c0")
def _(gy, x, w, u, b, h0, c0, y, gates, cells):
    if gates is None:  # create_graph: the same function in small ops, whose gradient can be recorded
        inputs = [1.0 * a if isinstance(a, Tensor) else a for a in (x, w, u, b, h0, c0)]
        wanted = [a for a in inputs if isinstance(a, Tensor)]
        found = iter(grad(lstm_steps(*inputs), wanted, gy, create_graph=True))
        return tuple(next(found) if isinstance(a, Tensor) else None for a in inputs)
    (n, steps, _), size, xp = x.shape, len(u), array_module(x)
    delta, rows = xp.empty_like(gates[0]), xp.empty((steps, n, 4, size), dtype=gates.dtype)
    gh, gc = xp.zeros_like(cells[0]), gy[:, steps].copy()
    u_transposed = xp.ascontiguousarray(u.T)
    for t in reversed(range(steps)):
        gh += gy[:, t]
        gc = _one_step_back(gh, gc, gates[t], cells[t], cells[t + 1], delta, xp)
        rows[t] = delta.swapaxes(0, 1)
        gh = rows[t].reshape(n, 4 * size) @ u_transposed
    before = xp.empty((steps, n, size), dtype=y.dtype)                          # h₀ … h_{T−1}
    before[0], before[1:] = h0, y[:, :steps - 1].swapaxes(0, 1)
    rows = rows.reshape(steps * n, 4 * size)
    gw = matrix_product(x.swapaxes(0, 1).reshape(steps * n, x.shape[2]).T, rows)
    gu = matrix_product(before.reshape(steps * n, size).T, rows)
    gx = matrix_product(rows, w.T).reshape(steps, n, x.shape[2]).swapaxes(0, 1)
    return gx, gw, gu, xp.ones(len(rows), dtype=rows.dtype) @ rows, gh, gc


@handle(_lstm)
def lstm(x, w, u, b, h0=None, c0=None):
    """h, c of an LSTM: the outputs of all steps (N, T, H), and the last cell (N, H). h[:, -1] is the last output.

    x (N, T, I), w (I, 4H), u (H, 4H), b (4H,), and the state before the first step h0, c0 (N, H), by default zeros.
    The four gates lie side by side in the order i, f, o, g: input, forget, output, candidate.

    Backpropagation through time (Werbos 1990) gives the gradients. With δₜ = ∂L/∂(xₜ w + hₜ₋₁ u + b),
    ∂L/∂w = Σₜ xₜᵀ δₜ,  ∂L/∂u = Σₜ hₜ₋₁ᵀ δₜ,  ∂L/∂b = Σₜ δₜ,  ∂L/∂xₜ = δₜ wᵀ,  and δₜ uᵀ is added to ∂L/∂hₜ₋₁.
    Higher derivatives go through `lstm_steps`, the same function in small ops.
    """
    check_arrays("lstm", x=x, w=w, u=u, b=b, **{n: a for n, a in (("h0", h0), ("c0", c0)) if a is not None})
    if x.ndim != 3 or w.ndim != 2 or w.shape[0] != x.shape[2] or not w.shape[1] or w.shape[1] % 4 or not x.shape[1]:
        raise ValueError(f"lstm: needs x (N, T, I) with T ≥ 1 and w (I, 4H), got {x.shape} and {w.shape}")
    if x.dtype.kind not in "fc":
        raise TypeError(f"lstm: x must be floating-point, got {x.dtype}")
    state = (len(x), w.shape[1] // 4)
    for name, a, shape in (("u", u, (state[1], w.shape[1])), ("b", b, w.shape[1:]), ("h0", h0, state),
                           ("c0", c0, state)):
        if a is not None and a.shape != shape:
            raise ValueError(f"lstm: with x (N,T,I)={x.shape} and w (I,4H)={w.shape}, {name} must have shape {shape}, "
                             f"got {a.shape}")
    zeros = None if h0 is not None and c0 is not None else array_module(data_of(x)).zeros(state, dtype=x.dtype)
    states = _lstm(x, w, u, b, zeros if h0 is None else h0, zeros if c0 is None else c0)
    return states[:, :-1], states[:, -1]


def _one_step_back(gh, gc, gates, c_before, c, delta, xp):
    """Write δ (4, N, H) of one step, return ∂L/∂cₜ₋₁. gh is ∂L/∂hₜ, gc the part of ∂L/∂cₜ from step t + 1."""
    i, f, o, g = gates
    di, df, do, dg = delta
    tanh_c = xp.tanh(c)
    gc = gc + gh * o * (1.0 - tanh_c * tanh_c)
    # ∂L/∂i = ∂L/∂c g,  ∂L/∂f = ∂L/∂c cₜ₋₁,  ∂L/∂o = ∂L/∂h tanh c,  ∂L/∂g = ∂L/∂c i
    xp.multiply(gc, g, out=di)
    xp.multiply(gc, c_before, out=df)
    xp.multiply(gh, tanh_c, out=do)
    xp.multiply(gc, i, out=dg)
    # σ′ = σ (1 − σ),  tanh′ = 1 − tanh²
    delta[:3] *= gates[:3] * (1.0 - gates[:3])
    dg *= 1.0 - g * g
    return gc * f


def _gates_apart(a):
    """(K, 4H) → (4, K, H)"""
    return array_module(a).ascontiguousarray(a.reshape(len(a), 4, -1).swapaxes(0, 1))
