"""Convolutions of images, and their adjoints."""

from scratchnet import initializers, ops
from scratchnet.layers.arguments import kernel_of, one_or_two, padding_of, sizes
from scratchnet.module import Module, Parameter


class Conv2D(Module):
    """y = conv2d(x, w) + b        x (N, H, W, channels_in) → y (N, Ho, Wo, channels_out); see ops.conv2d"""

    def __init__(self, channels_in, channels_out, kernel=3, stride=1, padding="same", *, rng, bias=True,
                 init=initializers.glorot_uniform):
        channels_in, channels_out = sizes(self, rng, channels_in=channels_in, channels_out=channels_out)
        kernel, self.stride = kernel_of(self, kernel), one_or_two(self, "stride", stride)
        self.padding = padding_of(padding)
        self.w = Parameter(init(rng, (*kernel, channels_in, channels_out)))
        self.b = Parameter(initializers.zeros(rng, (channels_out,))) if bias else None

    def __call__(self, x):
        return ops.conv2d(x, self.w, self.b, self.stride, self.padding)

    def describe(self):
        kh, kw, c, o = self.w.shape
        return f"{c} → {o}, {kh}×{kw}, stride {self.stride}, {self.padding}"


class Conv2DTranspose(Module):
    """x = conv2d_transpose(y, w) + b        y (N, Ho, Wo, channels_in) → x (N, H, W, channels_out)

    w (kh, kw, channels_out, channels_in) is the kernel of the convolution whose adjoint this is; see
    ops.conv2d_transpose.
    """

    def __init__(self, channels_in, channels_out, kernel=3, stride=1, padding="same", output_size=None, *, rng,
                 bias=True, init=initializers.glorot_uniform):
        channels_in, channels_out = sizes(self, rng, channels_in=channels_in, channels_out=channels_out)
        kernel, self.stride = kernel_of(self, kernel), one_or_two(self, "stride", stride)
        self.padding = padding_of(padding)
        self.output_size = output_size if output_size is None else one_or_two(self, "output_size", output_size)
        self.w = Parameter(init(rng, (*kernel, channels_out, channels_in)))
        self.b = Parameter(initializers.zeros(rng, (channels_out,))) if bias else None

    def __call__(self, y):
        return ops.conv2d_transpose(y, self.w, self.b, self.stride, self.padding, self.output_size)

    def describe(self):
        kh, kw, c, o = self.w.shape
        return f"{o} → {c}, {kh}×{kw}, stride {self.stride}, {self.padding}"
