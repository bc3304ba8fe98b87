"""Layers that go along a sequence step by step."""

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays
from scratchnet.layers.arguments import sizes
from scratchnet.module import Module, Parameter


class LSTM(Module):
    """h, (h_T, c_T) = lstm(x)        x (N, T, inputs) → outputs h of all steps (N, T, size), and the last state

    Gates come in the order i, f, o, g (input, forget, output, candidate): columns 0 … H−1 of w, u and b are those of i,
    H … 2H−1 those of f, and so on; H = size.

    `state`, a pair (h, c) of (N, size), is what to start from: that of an earlier call, to go on; detach it to cut the
    gradient there. First weights as in Keras: w Glorot's, u orthogonal, and b = 1 in the forget gate, so that cells
    remember at first (Gers, Schmidhuber & Cummins 2000; Jozefowicz et al. 2015). See ops.lstm.
    """

    def __init__(self, inputs, size, *, rng):
        inputs, size = sizes(self, rng, inputs=inputs, size=size)
        self.w = Parameter(initializers.glorot_uniform(rng, (inputs, 4 * size)))
        self.u = Parameter(initializers.orthogonal(rng, (size, 4 * size)))
        self.b = Parameter(initializers.zeros(rng, (4 * size,)))
        self.b.data[size:2 * size] = 1.0

    def __call__(self, x, state=(None, None)):
        check_arrays("LSTM", x=x, **{name: a for name, a in zip("hc", state, strict=True) if a is not None})
        h, c = ops.lstm(x, self.w, self.u, self.b, *state)
        return h, (h[:, -1], c)

    def describe(self):
        return f"{self.w.shape[0]} → {self.u.shape[0]}"
