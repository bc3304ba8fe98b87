"""Layers: Modules with one op each. A layer is called like a function.

Everything without weights needs no layer: `Sequential(Dense(…), ops.relu, …)`. Layers that draw their first weights
take `rng`.
"""

import math

import numpy as np

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays, data_of
from scratchnet.backend import array_module, check_rng, kind_of
from scratchnet.losses import check_interval
from scratchnet.module import Module, Parameter
from scratchnet.settings import number, whole


def sizes(layer, rng, **numbers):
    """The sizes of a layer as Python's whole numbers ≥ 1; ValueError or TypeError names the layer and the argument."""
    who = type(layer).__name__
    check_rng(who, rng)
    return [whole(who, name, value, 1) for name, value in numbers.items()]


def check_digits(who, x):
    """ValueError unless x are images of 28 × 28 pixels (N, 28, 28, 1)."""
    check_arrays(who, images=x)
    if x.shape[1:] != (28, 28, 1):
        raise ValueError(f"{who}: images {x.shape}, expected (N, 28, 28, 1): channels come last")


def pair(layer, name, value):
    """A window's size or stride: a whole number ≥ 1, or one for each axis."""
    who = type(layer).__name__
    if not hasattr(value, "__len__") or isinstance(value, str):
        return whole(who, name, value, 1)
    if len(value) != 2:
        raise ValueError(f"{who}: {name} is a whole number ≥ 1 or a pair of them, got {value!r}")
    return tuple(whole(who, name, n, 1) for n in value)


def _kernel(layer, value):
    value = pair(layer, "kernel", value)
    return value if isinstance(value, tuple) else (value, value)


def _padding(value):
    """A NumPy integer as Python's; ops.conv2d says what a padding may be."""
    return value.item() if isinstance(value, np.integer) else value


def _share(layer, name, value):
    return number(type(layer).__name__, name, value, "a number in [0, 1]", lambda x: 0 <= x <= 1)


def _eps(layer, value):
    return number(type(layer).__name__, "eps", value, "a number ≥ 0", lambda x: x >= 0)


def leaky(x):
    """max(x, 0.2 x): what discriminators of images have between their layers        (Radford et al. 2016, section 4)"""
    return ops.leaky_relu(x, 0.2)


class Sequential(Module):
    """y = fₙ(… f₂(f₁(x))): layers and plain functions, one after another."""

    def __init__(self, *steps):
        for step in steps:
            if not callable(step):
                raise TypeError(f"Sequential: each step is a layer or a function, got {kind_of(step)}")
        self.steps = list(steps)

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def describe(self):
        return " → ".join(type(s).__name__ if isinstance(s, Module) else getattr(s, "__name__", repr(s))
                          for s in self.steps)


def check_drawn(who, real, net):
    """Real samples are of the kind that the net draws: if its last step is a sigmoid, floating-point numbers in [0, 1],
    if it is a tanh, in [−1, 1]. Else a discriminator would tell them apart by their scale."""
    check_arrays(who, real=real)
    drawn = _DRAWN.get(_last_step(net))
    if drawn and real.dtype.kind not in "fc":
        raise TypeError(f"{who}: real samples are {real.dtype}, expected floating-point numbers; of pixels 0 … 255 "
                        f"make x / 255 in float32")
    if drawn:
        check_interval(f"{who}: what is generated lies in {list(drawn)}, so real samples", real, *drawn)


_DRAWN = {ops.sigmoid: (0, 1), ops.tanh: (-1, 1)}


def _last_step(net):
    """What makes the values of a net's result: the last step of a Sequential, say; a Module may name it as `ends_in`.
    """
    while isinstance(net, Module):
        steps = [step for step in getattr(net, "steps", ()) if not isinstance(step, (Flatten, Reshape))]
        net = steps[-1] if steps else getattr(net, "net", None) or getattr(net, "ends_in", None)
    return net


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


class Conv2D(Module):
    """y = conv2d(x, w) + b        x (N, H, W, channels_in) → y (N, Ho, Wo, channels_out); see ops.conv2d"""

    def __init__(self, channels_in, channels_out, kernel=3, stride=1, padding="same", *, rng, bias=True,
                 init=initializers.glorot_uniform):
        channels_in, channels_out = sizes(self, rng, channels_in=channels_in, channels_out=channels_out)
        kernel, self.stride, self.padding = _kernel(self, kernel), pair(self, "stride", stride), _padding(padding)
        self.w = Parameter(init(rng, (*kernel, channels_in, channels_out)))
        self.b = Parameter(initializers.zeros(rng, (channels_out,))) if bias else None

    def __call__(self, x):
        return ops.conv2d(x, self.w, self.b, self.stride, self.padding)

    def describe(self):
        kh, kw, c, o = self.w.shape
        return f"{c} → {o}, {kh}×{kw}, stride {self.stride}, {self.padding}"


class Conv2DTranspose(Module):
    """x = conv2d_transpose(y, w) + b        y (N, Ho, Wo, channels_in) → x (N, H, W, channels_out)

    w is (kh, kw, channels_out, channels_in): the kernel of the convolution that goes the other way.
    """

    def __init__(self, channels_in, channels_out, kernel=3, stride=1, padding="same", output_size=None, *, rng,
                 bias=True, init=initializers.glorot_uniform):
        channels_in, channels_out = sizes(self, rng, channels_in=channels_in, channels_out=channels_out)
        kernel, self.stride, self.padding = _kernel(self, kernel), pair(self, "stride", stride), _padding(padding)
        self.output_size = output_size if output_size is None else pair(self, "output_size", output_size)
        self.w = Parameter(init(rng, (*kernel, channels_out, channels_in)))
        self.b = Parameter(initializers.zeros(rng, (channels_out,))) if bias else None

    def __call__(self, y):
        return ops.conv2d_transpose(y, self.w, self.b, self.stride, self.padding, self.output_size)

    def describe(self):
        kh, kw, c, o = self.w.shape
        return f"{o} → {c}, {kh}×{kw}, stride {self.stride}, {self.padding}"


class _Spectral:
    """W/σ(W) in place of the weight W, σ its largest singular value as a matrix (all but the last axis, outputs): so
    the layer stretches no vector, once σ has been found.        (Miyato et al. 2018, section 2)

    σ = uᵀ W v, with u and v found by one step of power iteration at each call in training (algorithm 1):
    v ← Wᵀu/‖Wᵀu‖, u ← W v/‖W v‖. They count as constants: ∂σ/∂W = u vᵀ where they have converged.
    """

    def __init__(self, *sizes, rng, **options):
        super().__init__(*sizes, rng=rng, **options)
        self.u = rng.standard_normal(self.w.size // self.w.shape[-1]).astype(self.w.dtype)
        self.v = rng.standard_normal(self.w.shape[-1]).astype(self.w.dtype)
        self._power_iteration()

    def _power_iteration(self):
        W, xp = self.w.data.reshape(self.u.size, self.v.size), array_module(self.w.data)
        v = self.u @ W
        self.v = (v / (xp.sqrt((v * v).sum()) + 1e-12)).astype(self.v.dtype, copy=False)
        u = W @ self.v
        self.u = (u / (xp.sqrt((u * u).sum()) + 1e-12)).astype(self.u.dtype, copy=False)

    def normalized(self):
        """W/σ"""
        if self.training:
            self._power_iteration()
        W = ops.reshape(self.w, (self.u.size, self.v.size))
        return self.w / ((self.u @ W) * self.v).sum()


class SpectralDense(_Spectral, Dense):
    """y = x w/σ(w) + b        x (…, inputs) → y (…, outputs); a Dense that stretches no vector, see _Spectral"""

    def __call__(self, x):
        return ops.dense(x, self.normalized(), self.b)


class SpectralConv2D(_Spectral, Conv2D):
    """y = conv2d(x, w/σ(w)) + b, w taken as a matrix (kh·kw·channels_in, channels_out); see _Spectral, and Conv2D

    (The convolution itself may still stretch by up to √(kh·kw): windows overlap.)
    """

    def __call__(self, x):
        return ops.conv2d(x, self.normalized(), self.b, self.stride, self.padding)


class Maxout(Module):
    """y_j = maxₖ (x wₖ + bₖ)_j,  k = 1 … pieces        x (N, inputs) → y (N, outputs)     (Goodfellow et al. 2013)"""

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


class MinibatchDiscrimination(Module):
    """[x, o]: beside its own entries each sample gets o, how close it is to the others of its batch.

    M_i = x_i T  (kernels, dimensions),  o_ib = 1/N Σ_{j≠i} exp(−‖M_ib − M_jb‖₁)  x (N, inputs) → (N, inputs + kernels)

    Samples that are all alike have a large o, so a D with this layer sees a collapse.
    (Salimans et al. 2016, section 3.2. The sum there is a mean here: of entries up to N the least step of Adam in the
    next layer's weights would throw D's answer to and fro.)
    """

    def __init__(self, inputs, kernels, dimensions, *, rng, init=initializers.glorot_uniform):
        inputs, kernels, dimensions = sizes(self, rng, inputs=inputs, kernels=kernels, dimensions=dimensions)
        self.kernels, self.dimensions = kernels, dimensions
        self.w = Parameter(init(rng, (inputs, kernels * dimensions)))

    def __call__(self, x):
        check_arrays("MinibatchDiscrimination", x=x)
        M = ops.reshape(ops.matmul(x, self.w), (x.shape[0], self.kernels, self.dimensions))
        apart = ops.abs(ops.expand_dims(M, 1) - ops.expand_dims(M, 0)).sum(axis=-1)            # (N, N, kernels)
        return ops.concat([x, (ops.exp(-apart).sum(axis=1) - 1.0) / max(x.shape[0], 1)], axis=-1)  # itself is e⁰

    def describe(self):
        return f"{self.w.shape[0]} → + {self.kernels}, by {self.dimensions} numbers each"


class MaxPoolWithArgmax(Module):
    """x → (y, argmax): the largest of each window, and where it stood; see ops.max_pool_with_argmax"""

    def __init__(self, size=2, stride=None, padding="valid"):
        self.size, self.padding = pair(self, "size", size), _padding(padding)
        self.stride = stride if stride is None else pair(self, "stride", stride)

    def __call__(self, x):
        return ops.max_pool_with_argmax(x, self.size, self.stride, self.padding)

    def describe(self):
        return f"{self.size}, stride {self.stride or self.size}, {self.padding}"


class Unpool(MaxPoolWithArgmax):
    """(y, argmax) → x: each entry put back where argmax says, zeros elsewhere; see ops.unpool"""

    def __call__(self, y, argmax, output_size=None):
        return ops.unpool(y, argmax, self.size, self.stride, self.padding, output_size)


class AvgPool2D(MaxPoolWithArgmax):
    """x → y: the mean of each window; see ops.avg_pool"""

    def __call__(self, x):
        return ops.avg_pool(x, self.size, self.stride, self.padding)


class MaxPool2D(MaxPoolWithArgmax):
    """x → y: the largest of each window, without the argmax"""

    def __call__(self, x):
        return ops.max_pool(x, self.size, self.stride, self.padding)


class UpSampling2D(Module):
    """(N, H, W, C) → (N, f·H, f·W, C): each entry repeated over an f × f window"""

    def __init__(self, factor=2):
        self.factor = pair(self, "factor", factor)

    def __call__(self, x):
        return ops.upsample_nearest(x, self.factor)

    def describe(self):
        return f"×{self.factor}"


class Flatten(Module):
    """(N, …) → (N, product of the rest)"""

    def __call__(self, x):
        check_arrays("Flatten", x=x)
        return ops.flatten(x)


class Reshape(Module):
    """(N, …) → (N, *shape); one length may be −1"""

    def __init__(self, *shape):
        self.shape = tuple(int(number("Reshape", "each length", n, "a whole number ≥ 1, or −1 for what is left",
                                      lambda n: n == int(n) and (n >= 1 or n == -1))) for n in shape)

    def __call__(self, x):
        check_arrays("Reshape", x=x)
        return ops.reshape(x, (x.shape[0], *self.shape))

    def describe(self):
        return f"(N, {', '.join(map(str, self.shape))})"


class BatchNorm(Module):
    """y = γ (x − μ)/√(σ² + ε) + β per channel (the last axis); see ops.batch_norm

    In training μ and σ² are those of the batch, and the running averages follow them:
    running ← momentum · running + (1 − momentum) · batch, with the unbiased variance, in the dtype that they have. In
    evaluation they take over.
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
    """y = γ (x − μ)/√(σ² + ε) + β over the last axis of each row; see ops.layer_norm"""

    def __init__(self, channels, eps=1e-5):
        channels, self.eps = whole("LayerNorm", "channels", channels, 1), _eps(self, eps)
        self.gamma = Parameter(initializers.constant(None, (channels,), value=1.0))
        self.beta = Parameter(initializers.zeros(None, (channels,)))

    def __call__(self, x):
        return ops.layer_norm(x, self.gamma, self.beta, self.eps)

    def describe(self):
        return f"{self.gamma.size} channels"


class Dropout(Module):
    """In training: entries zeroed with probability `rate`, the rest scaled by 1/(1 − rate). In evaluation: nothing."""

    def __init__(self, rate, *, rng):
        check_rng("Dropout", rng)
        self.rate, self.rng = number("Dropout", "rate", rate, "a share in [0, 1)", lambda x: 0 <= x < 1), rng

    def __call__(self, x):
        check_arrays("Dropout", x=x)
        return ops.dropout(x, self.rate, self.rng) if self.training else x

    def describe(self):
        return f"{self.rate}"


class Embedding(Module):
    """Integers (…,) in 0 … count−1 → their vectors (…, size)"""

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

    Times t (N,), integers or not → (N, size). High frequencies tell near times apart, low ones far times. No weights.
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
