"""Windows of images pooled, and undone."""

from scratchnet import ops
from scratchnet.layers.arguments import padding_of, pair
from scratchnet.module import Module


class _Pooling(Module):
    """Holds the size, stride and padding of the windows; the stride is the size unless given."""

    def __init__(self, size=2, stride=None, padding="valid"):
        self.size, self.padding = pair(self, "size", size), padding_of(padding)
        self.stride = stride if stride is None else pair(self, "stride", stride)

    def describe(self):
        return f"{self.size}, stride {self.stride or self.size}, {self.padding}"


class MaxPoolWithArgmax(_Pooling):
    """x → (y, argmax): the largest of each window, and where it stood; see ops.max_pool_with_argmax"""

    def __call__(self, x):
        return ops.max_pool_with_argmax(x, self.size, self.stride, self.padding)


class Unpool(_Pooling):
    """(y, argmax) → x: each entry put back where argmax says, zeros elsewhere; see ops.unpool"""

    def __call__(self, y, argmax, output_size=None):
        return ops.unpool(y, argmax, self.size, self.stride, self.padding, output_size)


class AvgPool2D(_Pooling):
    """x → y: the mean of each window; see ops.avg_pool"""

    def __call__(self, x):
        return ops.avg_pool(x, self.size, self.stride, self.padding)


class MaxPool2D(_Pooling):
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
