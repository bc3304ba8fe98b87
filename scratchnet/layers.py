"""Layers: functions with weights. A Module finds its parameters by looking at its own attributes.

    a Parameter             is trained
    an array                is a buffer: saved and moved, but not trained (running averages)
    a Module, or a list     is a part, with parameters of its own

A layer is called like a function. Everything without weights needs no layer: `Sequential(Dense(…), ops.relu, …)`.
Layers that draw their first weights take `rng`.
"""

from contextlib import contextmanager

import numpy as np

from scratchnet import initializers, ops
from scratchnet.backend import array_module, to_cpu, to_gpu
from scratchnet.tensor import Tensor


class Parameter(Tensor):
    """A leaf Tensor that a Module owns and an optimizer changes."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


class Module:
    """Base of layers and models: finds parameters and buffers, saves, loads and moves them, and prints itself."""

    training = True

    def children(self):
        """The parts, name → Module, in the order in which they were assigned."""
        found = {}
        for name, value in vars(self).items():
            if isinstance(value, Module):
                found[name] = value
            elif isinstance(value, (list, tuple)):
                found.update({f"{name}.{i}": part for i, part in enumerate(value) if isinstance(part, Module)})
        return found

    def _named(self, wanted, prefix=""):
        """(name, owner, attribute, value) for every attribute that is wanted, here and in all parts."""
        for name, value in vars(self).items():
            if wanted(value):
                yield prefix + name, self, name, value
        for name, child in self.children().items():
            yield from child._named(wanted, f"{prefix}{name}.")

    def named_parameters(self):
        """Name → Parameter, in a stable order; one that is shared stands under its first name only."""
        found, seen = {}, set()
        for name, _, _, p in self._named(lambda v: isinstance(v, Parameter)):
            if id(p) not in seen:
                seen.add(id(p))
                found[name] = p
        return found

    def named_buffers(self):
        """Name → array, in a stable order."""
        return {name: b for name, _, _, b in self._named(_is_array)}

    def parameters(self):
        """All Parameters, each once."""
        return list(self.named_parameters().values())

    def state_dict(self):
        """Name → NumPy copy of every parameter and buffer."""
        arrays = {name: p.data for name, p in self.named_parameters().items()} | self.named_buffers()
        return {name: to_cpu(a).copy() for name, a in arrays.items()}

    def load_state_dict(self, state):
        """Copy what state_dict gave into place. All names and shapes are checked before anything is changed."""
        mine = {name: p.data for name, p in self.named_parameters().items()} | self.named_buffers()
        faults = [f"missing: {name} {a.shape}" for name, a in mine.items() if name not in state]
        faults += [f"unexpected: {name} {a.shape}" for name, a in state.items() if name not in mine]
        faults += [f"{name}: shape {state[name].shape} instead of {a.shape}" for name, a in mine.items()
                   if name in state and state[name].shape != a.shape]
        if faults:
            raise ValueError(f"this state does not belong to this {type(self).__name__}: " + "; ".join(faults))
        for name, a in mine.items():
            a[...] = array_module(a).asarray(state[name], dtype=a.dtype)
        for p in self.parameters():
            p.version += 1

    @contextmanager
    def preserved(self):
        """Inside, whatever is done to the data of parameters and to buffers is undone at the end."""
        parameters = [(p, p.data, p.data.copy()) for p in self.parameters()]
        buffers = [(owner, attribute, b, b.copy()) for _, owner, attribute, b in self._named(_is_array)]
        try:
            yield
        finally:
            for p, data, values in parameters:
                data[...] = values
                p.data = data
            for owner, attribute, b, values in buffers:
                b[...] = values
                setattr(owner, attribute, b)

    def train(self):
        """Training mode: batch statistics, dropout."""
        return self._set_training(True)

    def eval(self):
        """Evaluation mode: running averages, no dropout."""
        return self._set_training(False)

    def _set_training(self, training):
        self.training = training
        for child in self.children().values():
            child._set_training(training)
        return self

    def move(self, convert):
        """Replace every parameter's data and every buffer a by convert(a). Make optimizers after moving."""
        for p in self.parameters():
            p.data, p.grad, p.grad_buffer = convert(p.data), None, None
        for _, owner, attribute, buffer in list(self._named(_is_array)):
            setattr(owner, attribute, convert(buffer))
        return self

    def to_gpu(self):
        return self.move(to_gpu)

    def to_cpu(self):
        return self.move(to_cpu)

    def describe(self):
        """What a line of repr says of this layer behind its class name."""
        return ""

    def __repr__(self):
        rows = list(self._rows("", ""))
        widths = [max(len(row[i]) for row in rows) for i in (0, 1, 2)]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
        return "\n".join(lines)

    def _rows(self, indent, name):
        count = sum(p.size for p in self.parameters())
        what = f"{type(self).__name__} {self.describe()}".rstrip()
        yield f"{indent}{name}", what, f"{count:,} parameters" if not indent else f"{count:,}" if count else ""
        for name, value in vars(self).items():
            if isinstance(value, Parameter) and self.children():
                yield f"{indent}  {name}", f"Parameter {value.shape}", f"{value.size:,}"
        for name, child in self.children().items():
            yield from child._rows(indent + "  ", name)


def _is_array(value):
    """Whether an attribute is a buffer. A NumPy scalar, np.float64(0.1), is a setting: it cannot be written to."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, (Tensor, np.generic))


class Sequential(Module):
    """y = fₙ(… f₂(f₁(x))): layers and plain functions, one after another."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def describe(self):
        return " → ".join(type(s).__name__ if isinstance(s, Module) else getattr(s, "__name__", repr(s))
                          for s in self.steps)


class Dense(Module):
    """y = x w + b        x (…, inputs) → y (…, outputs)"""

    def __init__(self, inputs, outputs, *, rng, bias=True, init=initializers.glorot_uniform):
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
        kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        self.stride, self.padding = stride, padding
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
        kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        self.stride, self.padding, self.output_size = stride, padding, output_size
        self.w = Parameter(init(rng, (*kernel, channels_out, channels_in)))
        self.b = Parameter(initializers.zeros(rng, (channels_out,))) if bias else None

    def __call__(self, y):
        return ops.conv2d_transpose(y, self.w, self.b, self.stride, self.padding, self.output_size)

    def describe(self):
        kh, kw, c, o = self.w.shape
        return f"{o} → {c}, {kh}×{kw}, stride {self.stride}, {self.padding}"


class MaxPoolWithArgmax(Module):
    """x → (y, argmax): the largest of each window, and where it stood; see ops.max_pool_with_argmax"""

    def __init__(self, size=2, stride=None, padding="valid"):
        self.size, self.stride, self.padding = size, stride, padding

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
        self.factor = factor

    def __call__(self, x):
        return ops.upsample_nearest(x, self.factor)

    def describe(self):
        return f"×{self.factor}"


class Flatten(Module):
    """(N, …) → (N, product of the rest)"""

    def __call__(self, x):
        return ops.flatten(x)


class Reshape(Module):
    """(N, …) → (N, *shape)"""

    def __init__(self, *shape):
        self.shape = shape

    def __call__(self, x):
        return ops.reshape(x, (x.shape[0], *self.shape))

    def describe(self):
        return f"(N, {', '.join(map(str, self.shape))})"


class BatchNorm(Module):
    """y = γ (x − μ)/√(σ² + ε) + β per channel (the last axis); see ops.batch_norm

    In training μ and σ² are those of the batch, and the running averages follow them:
    running ← momentum · running + (1 − momentum) · batch, with the unbiased variance. In evaluation they take over.
    """

    def __init__(self, channels, momentum=0.9, eps=1e-5):
        self.momentum, self.eps = momentum, eps
        self.gamma = Parameter(initializers.constant(None, (channels,), value=1.0))
        self.beta = Parameter(initializers.zeros(None, (channels,)))
        self.mean = initializers.zeros(None, (channels,))
        self.var = initializers.constant(None, (channels,), value=1.0)

    def __call__(self, x):
        if not self.training:
            return ops.batch_norm_inference(x, self.gamma, self.beta, self.mean, self.var, self.eps)
        y, mean, var = ops.batch_norm(x, self.gamma, self.beta, self.eps)
        n, m = x.size // x.shape[-1], self.momentum
        self.mean = m * self.mean + (1.0 - m) * mean
        self.var = m * self.var + (1.0 - m) * n / max(n - 1, 1) * var
        return y

    def describe(self):
        return f"{self.gamma.size} channels, momentum {self.momentum}"


class LayerNorm(Module):
    """y = γ (x − μ)/√(σ² + ε) + β over the last axis of each row; see ops.layer_norm"""

    def __init__(self, channels, eps=1e-5):
        self.eps = eps
        self.gamma = Parameter(initializers.constant(None, (channels,), value=1.0))
        self.beta = Parameter(initializers.zeros(None, (channels,)))

    def __call__(self, x):
        return ops.layer_norm(x, self.gamma, self.beta, self.eps)

    def describe(self):
        return f"{self.gamma.size} channels"


class Dropout(Module):
    """In training: entries zeroed with probability `rate`, the rest scaled by 1/(1 − rate). In evaluation: nothing."""

    def __init__(self, rate, *, rng):
        self.rate, self.rng = rate, rng

    def __call__(self, x):
        return ops.dropout(x, self.rate, self.rng) if self.training else x

    def describe(self):
        return f"{self.rate}"


class Embedding(Module):
    """Integers (…,) in 0 … count−1 → their vectors (…, size)"""

    def __init__(self, count, size, *, rng, init=initializers.normal):
        self.w = Parameter(init(rng, (count, size)))

    def __call__(self, indices):
        return ops.embedding(indices, self.w)

    def describe(self):
        return f"{self.w.shape[0]} × {self.w.shape[1]}"
