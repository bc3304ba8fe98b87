"""A variational autoencoder of dense layers, for images of any size."""

import math

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.layers import Dense
from scratchnet.models.vaes.vae import VAE
from scratchnet.settings import whole


class DenseVAE(VAE):
    """784 → 100 → (μ 128, s 128), z 128 → 100 → 784, ReLU between.

    pixels   the number of pixels of a square image, 784 for 28 × 28, or the sides (H, W) of any image
    """

    def __init__(self, pixels=784, hidden=100, latent=128, *, rng, **objective):
        super().__init__(**objective)
        self.sides = image_sides(pixels)
        pixels = math.prod(self.sides)
        self.encode_hidden = Dense(pixels, hidden, rng=rng)
        self.mean = Dense(hidden, latent, rng=rng)
        self.s = Dense(hidden, latent, rng=rng)
        self.decode_hidden = Dense(latent, hidden, rng=rng)
        self.pixels = Dense(hidden, pixels, rng=rng)

    def encode(self, x):
        """Images x (N, H, W, 1) → mean, s (N, latent)"""
        check_arrays("DenseVAE", images=x)
        h = ops.relu(self.encode_hidden(ops.flatten(x)))       # (N, hidden)
        return self.mean(h), self.s(h)

    def decode(self, z):
        """Codes z (N, latent) → logits (N, H, W, 1)"""
        h = ops.relu(self.decode_hidden(z))                    # (N, hidden)
        return self.pixels(h).reshape(-1, *self.sides, 1)


def image_sides(pixels):
    """The sides (H, W) of an image, given as such or as the number of pixels of a square one."""
    if isinstance(pixels, (tuple, list)) and len(pixels) == 2:
        return tuple(whole("DenseVAE", "each side of pixels", n, 1) for n in pixels)
    pixels = whole("DenseVAE", "pixels", pixels, 1)
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"DenseVAE: pixels={pixels} is not a square number; give the sides, pixels=(H, W)")
    return side, side
