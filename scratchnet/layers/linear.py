"""Dense layers: one linear map, or the largest of several."""

from scratchnet import initializers, ops
from scratchnet.layers.arguments import sizes
from scratchnet.module import Module, Parameter


class Dense(Module):
    """y = x w + b        x (…, inputs) → y (…, outputs)"""

    def __init__(self, inputs, outputs, *, rng, bias=True, init=initializers.glorot_uniform):
        inputs, outputs = sizes(self, rng, inputs=inputs, outputs=outputs)
        self.w = Parameter(init(rng, (inputs, outputs)))
        self.b = Parameter(initializers.zeros(rng, (outputs,))) if bias else None

    def __call__(self, x):
        return ops.dense(x, self.w, self.b)

    def describe(self):
        return f"{self.w.shape[0]} → {self.w.shape[1]}"


class Maxout(Module):
    """y = maxₖ (x wₖ + bₖ), entry by entry, k = 1 … pieces        x (…, inputs) → y (…, outputs)

    (Goodfellow et al. 2013)
    """

    def __init__(self, inputs, outputs, pieces, *, rng, init=initializers.glorot_uniform):
        inputs, outputs, pieces = sizes(self, rng, inputs=inputs, outputs=outputs, pieces=pieces)
        self.outputs, self.pieces = outputs, pieces
        self.w = Parameter(init(rng, (inputs, outputs * pieces)))
        self.b = Parameter(initializers.zeros(rng, (outputs * pieces,)))

    def __call__(self, x):
        h = ops.dense(x, self.w, self.b)
        return ops.max(ops.reshape(h, (*h.shape[:-1], self.outputs, self.pieces)), axis=-1)

    def describe(self):
        return f"{self.w.shape[0]} → {self.outputs}, the largest of {self.pieces}"
