"""Integers and times become vectors."""

import math

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays, data_of
from scratchnet.backend import array_module
from scratchnet.layers.arguments import sizes
from scratchnet.module import Module, Parameter
from scratchnet.settings import number


class Embedding(Module):
    """y = the rows of w that the indices name        integers (…,) in 0 … count−1 → y (…, size)"""

    def __init__(self, count, size, *, rng, init=initializers.normal):
        count, size = sizes(self, rng, count=count, size=size)
        self.w = Parameter(init(rng, (count, size)))

    def __call__(self, indices):
        check_arrays("Embedding", indices=indices)
        return ops.embedding(indices, self.w)

    def describe(self):
        return f"{self.w.shape[0]} × {self.w.shape[1]}"


class TimeEmbedding(Module):
    """y = [sin ω₁t … sin ω_k t, cos ω₁t … cos ω_k t],  ωⱼ = 10000^(−(j−1)/k),  k = size/2

    Times t (N,), integers or not → y (N, size). High frequencies tell near times apart, low ones far times. No weights.
    (Vaswani et al. 2017, section 3.5; for the steps of a diffusion Ho et al. 2020, appendix B)
    """

    def __init__(self, size):
        self.size = int(number("TimeEmbedding", "size", size, "an even number ≥ 2", lambda n: n >= 2 and n % 2 == 0))

    def __call__(self, t):
        check_arrays("TimeEmbedding", t=t)
        xp, k = array_module(data_of(t)), self.size // 2
        if t.dtype.kind in "iu":
            t = t.astype("float32")
        omega = xp.exp(xp.arange(k, dtype=xp.result_type(t.dtype, "float32")) * (-math.log(10000.0) / k))
        angle = ops.expand_dims(t, -1) * omega
        return ops.concat([ops.sin(angle), ops.cos(angle)], axis=-1)

    def describe(self):
        return f"{self.size}"
