"""Pooling over the windows of images, and the ways back."""

from scratchnet import ops
from scratchnet.layers.arguments import one_or_two, padding_of
from scratchnet.module import Module


class _Pooling(Module):
    """Holds the size, stride and padding of the windows. The default stride is the size."""

    def __init__(self, size=2, stride=None, padding="valid"):
        self.size, self.padding = one_or_two(self, "size", size), padding_of(padding)
        self.stride = stride if stride is None else one_or_two(self, "stride", stride)

    def describe(self):
        return f"{self.size}, stride {self.stride or self.size}, {self.padding}"


class MaxPoolWithArgmax(_Pooling):
    """y = the maximum of each window, argmax its place        x (N, H, W, C) → y, argmax (N, Ho, Wo, C)

    See ops.max_pool_with_argmax.
    """

    def __call__(self, x):
        return ops.max_pool_with_argmax(x, self.size, self.stride, self.padding)


class Unpool(_Pooling):
    """Put each y back to the place in its window that argmax names, zeros elsewhere; see ops.unpool

    y, argmax (N, Ho, Wo, C) → x (N, H, W, C)
    """

    def __call__(self, y, argmax, output_size=None):
        return ops.unpool(y, argmax, self.size, self.stride, self.padding, output_size)


class AvgPool2D(_Pooling):
    """y = the mean of each window        x (N, H, W, C) → y (N, Ho, Wo, C); see ops.avg_pool"""

    def __call__(self, x):
        return ops.avg_pool(x, self.size, self.stride, self.padding)


class MaxPool2D(_Pooling):
    """y = the maximum of each window        x (N, H, W, C) → y (N, Ho, Wo, C); see ops.max_pool"""

    def __call__(self, x):
        return ops.max_pool(x, self.size, self.stride, self.padding)


class UpSampling2D(Module):
    """Repeat each entry over an f × f window, f = factor        x (N, H, W, C) → y (N, f·H, f·W, C)"""

    def __init__(self, factor=2):
        self.factor = one_or_two(self, "factor", factor)

    def __call__(self, x):
        return ops.upsample_nearest(x, self.factor)

    def describe(self):
        return f"×{self.factor}"
