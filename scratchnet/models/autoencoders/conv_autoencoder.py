"""A convolutional autoencoder with three ways back up from a small map: unpool, repeat, transposed convolution."""

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.layers import Conv2D, Conv2DTranspose
from scratchnet.losses import bce_with_logits
from scratchnet.module import Module


class ConvAutoencoder(Module):
    """28×28×1 → 14×14×16 → 7×7×4, a code of 196 numbers, and back up; every kernel is 3×3.

    up = "unpool"       down: max-pool; up: put each value where the maximum stood, then convolve. The decoder gets the
                        argmax ("switches") as well as the code                  (Zeiler et al. 2011, section 3)
    up = "repeat"       down: max-pool; up: repeat each value over its window, then convolve     (Odena et al. 2016)
    up = "transposed"   down: convolution with stride 2; up: transposed convolution with stride 2
                                                                      (Radford, Metz & Chintala 2016, section 3)
    All three have the same number of weights.
    """

    def __init__(self, up, channels=16, code=4, *, rng):
        if up not in ("unpool", "repeat", "transposed"):
            raise ValueError(f'ConvAutoencoder: up is "unpool", "repeat" or "transposed", got {up!r}')
        self.up, stride = up, 2 if up == "transposed" else 1
        back = Conv2DTranspose if up == "transposed" else Conv2D
        self.conv1 = Conv2D(1, channels, stride=stride, rng=rng)
        self.conv2 = Conv2D(channels, code, stride=stride, rng=rng)
        self.back2 = back(code, channels, stride=stride, rng=rng)
        self.back1 = back(channels, 1, stride=stride, rng=rng)

    def encode(self, x):
        """Images x (N, 28, 28, 1) → a tuple: code z (N, 7, 7, 4), and with up = "unpool" the argmax of both poolings,
        argmax1 (N, 14, 14, 16) and argmax2 (N, 7, 7, 4)"""
        check_arrays("ConvAutoencoder", images=x)
        if x.ndim != 4 or x.shape[1] % 4 or x.shape[2] % 4 or x.shape[3] != 1:
            raise ValueError(f"ConvAutoencoder: images {x.shape}, expected (N, 28, 28, 1), or sides that are other "
                             f"multiples of 4")
        if self.up == "transposed":
            return (ops.relu(self.conv2(ops.relu(self.conv1(x)))),)
        h, argmax1 = ops.max_pool_with_argmax(ops.relu(self.conv1(x)))
        z, argmax2 = ops.max_pool_with_argmax(ops.relu(self.conv2(h)))
        return (z, argmax1, argmax2) if self.up == "unpool" else (z,)

    def decode(self, z, argmax1=None, argmax2=None):
        """Code z (N, 7, 7, 4), and argmax1 and argmax2 if there are any → logits of the pixels (N, 28, 28, 1)"""
        h = ops.relu(self.back2(self.enlarge(z, argmax2)))
        return self.back1(self.enlarge(h, argmax1))

    def enlarge(self, h, argmax):
        """h (N, H, W, C) → (N, 2H, 2W, C); unchanged if a transposed convolution will enlarge it."""
        if self.up == "unpool":
            return ops.unpool(h, argmax)
        return ops.upsample_nearest(h) if self.up == "repeat" else h

    def restore(self, x):
        """Images x (N, 28, 28, 1) → their reconstructions, in [0, 1], of the same shape"""
        return ops.sigmoid(self.decode(*self.encode(x)))

    def loss(self, x):
        """Cross-entropy per image, in nats, of the reconstruction of x (N, 28, 28, 1) against x."""
        return bce_with_logits(self.decode(*self.encode(x)), x, "sum") / len(x)
