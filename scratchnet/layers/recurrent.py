"""Layers that follow a sequence step by step."""

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays
from scratchnet.layers.arguments import sizes
from scratchnet.module import Module, Parameter


class LSTM(Module):
    """h, (h_T, c_T) = lstm(x)        x (N, T, inputs) → outputs h of all steps (N, T, size), and the last state

    The gates come in the order i, f, o, g (input, forget, output, candidate). Columns 0 … H−1 of w, u and b belong to
    i, H … 2H−1 to f, and so on; H = size. See ops.lstm for the formulas.

    `state` (h, c), a pair of (N, size), is the state before the first step, zeros by default. To continue a sequence,
    pass the state from the call before; detach it to cut the gradient there.
    The initial weights are those of Keras: Glorot's w, orthogonal u, and b = 1 in the forget gate, so that cells
    remember at first (Gers, Schmidhuber & Cummins 2000; Jozefowicz et al. 2015).
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
