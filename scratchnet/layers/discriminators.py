"""Layers for the discriminators of GANs: a leaky ReLU, layers of bounded slope, comparison within a batch."""

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays
from scratchnet.backend import array_module
from scratchnet.layers.arguments import sizes
from scratchnet.layers.convolution import Conv2D
from scratchnet.layers.linear import Dense
from scratchnet.module import Module, Parameter


def leaky(x):
    """max(x, 0.2 x), used between the layers of discriminators of images        (Radford et al. 2016, section 4)"""
    return ops.leaky_relu(x, 0.2)


class _Spectral:
    """Divides the weight W by σ, the largest singular value of W as a matrix (all other axes, outputs).

    Once σ has been found, the map by W/σ stretches no vector.        (Miyato et al. 2018, section 2)
    σ = uᵀ W v. Each call in training takes one step of power iteration (algorithm 1): v ← Wᵀu/‖Wᵀu‖, u ← W v/‖W v‖.
    u and v count as constants: ∂σ/∂W = u vᵀ once they have converged.
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
    """y = x w/σ + b, σ the largest singular value of w        x (…, inputs) → y (…, outputs)

    A Dense that stretches no vector. Each call in training takes one step of power iteration towards σ; see _Spectral.
    """

    def __call__(self, x):
        return ops.dense(x, self.normalized(), self.b)


class SpectralConv2D(_Spectral, Conv2D):
    """y = conv2d(x, w/σ) + b        x (N, H, W, channels_in) → y (N, Ho, Wo, channels_out); see Conv2D

    σ is the largest singular value of w as a matrix (kh·kw·channels_in, channels_out), found as in SpectralDense.
    As windows overlap, the convolution itself may still stretch by up to √(kh·kw).
    """

    def __call__(self, x):
        return ops.conv2d(x, self.normalized(), self.b, self.stride, self.padding)


class MinibatchDiscrimination(Module):
    """x → [x, o], where o measures how close each sample is to the others of its batch.

    M_i = x_i w  (kernels, dimensions),  o_ib = 1/N Σ_{j≠i} exp(−‖M_ib − M_jb‖₁)  x (N, inputs) → (N, inputs + kernels)

    If all samples are alike, o is large, so a D with this layer sees a collapse.
    (Salimans et al. 2016, section 3.2. Their sum is a mean here. With entries up to N, the smallest step of Adam in the
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
        return ops.concat([x, (ops.exp(-apart).sum(axis=1) - 1.0) / max(x.shape[0], 1)], axis=-1)  # − e⁰, for j = i

    def describe(self):
        return f"{self.w.shape[0]} → + {self.kernels}, by {self.dimensions} numbers each"
