"""Normalisation over the batch or over each row, and dropout."""

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays
from scratchnet.backend import check_rng
from scratchnet.module import Module, Parameter
from scratchnet.settings import number, whole


class BatchNorm(Module):
    """y = γ (x − μ)/√(σ² + ε) + β for each channel        x (…, channels) → y (…, channels); see ops.batch_norm

    In training, μ and σ² are those of the batch, and running averages follow them:
    running ← momentum · running + (1 − momentum) · batch, with the unbiased variance, in the dtype of the averages.
    In evaluation, μ and σ² are the running averages.        (Ioffe & Szegedy 2015)
    """

    def __init__(self, channels, momentum=0.9, eps=1e-5):
        channels = whole("BatchNorm", "channels", channels, 1)
        self.momentum, self.eps = _share(self, "momentum", momentum), _eps(self, eps)
        self.gamma = Parameter(initializers.constant(None, (channels,), value=1.0))
        self.beta = Parameter(initializers.zeros(None, (channels,)))
        self.mean = initializers.zeros(None, (channels,))
        self.var = initializers.constant(None, (channels,), value=1.0)

    def __call__(self, x):
        if not self.training:
            check_arrays("BatchNorm", x=x)
            if x.shape[-1:] != self.gamma.shape:  # one channel would broadcast to all
                raise ValueError(f"BatchNorm: x (…, C)={x.shape}, expected C={self.gamma.size} channels")
            return ops.batch_norm_inference(x, self.gamma, self.beta, self.mean, self.var, self.eps)
        y, mean, var = ops.batch_norm(x, self.gamma, self.beta, self.eps)
        n, m = x.size // x.shape[-1], self.momentum
        self.mean = (m * self.mean + (1.0 - m) * mean).astype(self.mean.dtype, copy=False)
        self.var = (m * self.var + (1.0 - m) * n / max(n - 1, 1) * var).astype(self.var.dtype, copy=False)
        return y

    def describe(self):
        return f"{self.gamma.size} channels, momentum {self.momentum}"


class LayerNorm(Module):
    """y = γ (x − μ)/√(σ² + ε) + β, μ and σ² over the last axis        x (…, channels) → y (…, channels)

    See ops.layer_norm.        (Ba, Kiros & Hinton 2016)
    """

    def __init__(self, channels, eps=1e-5):
        channels, self.eps = whole("LayerNorm", "channels", channels, 1), _eps(self, eps)
        self.gamma = Parameter(initializers.constant(None, (channels,), value=1.0))
        self.beta = Parameter(initializers.zeros(None, (channels,)))

    def __call__(self, x):
        return ops.layer_norm(x, self.gamma, self.beta, self.eps)

    def describe(self):
        return f"{self.gamma.size} channels"


class Dropout(Module):
    """In training, zero entries with probability `rate` and scale the rest by 1/(1 − rate); in evaluation, y = x.

    x → y of any shape; see ops.dropout.        (Srivastava et al. 2014)
    """

    def __init__(self, rate, *, rng):
        check_rng("Dropout", rng)
        self.rate, self.rng = number("Dropout", "rate", rate, "a share in [0, 1)", lambda x: 0 <= x < 1), rng

    def __call__(self, x):
        check_arrays("Dropout", x=x)
        return ops.dropout(x, self.rate, self.rng) if self.training else x

    def describe(self):
        return f"{self.rate}"


def _share(layer, name, value):
    return number(type(layer).__name__, name, value, "a number in [0, 1]", lambda x: 0 <= x <= 1)


def _eps(layer, value):
    return number(type(layer).__name__, "eps", value, "a number ≥ 0", lambda x: x >= 0)
