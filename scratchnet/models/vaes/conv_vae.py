"""A convolutional variational autoencoder whose decoder unpools with the argmax of the encoder's pooling."""

from scratchnet import ops
from scratchnet.layers import Conv2D, Dense, check_digits
from scratchnet.models.vaes.vae import VAE


class ConvVAE(VAE):
    """The encoder max-pools; the decoder unpools with the encoder's argmax and transposes the encoder's convolutions.

    28×28×1 → conv 3×3 → 28×28×64 → pool → 14×14×64 → conv 3×3 → 14×14×10 → pool → 7×7×10 → 100 → (μ, s)
    and back:  z → 7×7×10 → unpool → −b₂, convᵀ with w₂ → unpool → −b₁, convᵀ with w₁ → logits

    The decoder needs the switches (argmax) of both poolings, which only an encoder that has seen the image knows. For
    new images they must come from elsewhere: see switches.py.
    """

    def __init__(self, latent=128, *, rng, **objective):
        super().__init__(**objective)
        self.conv1 = Conv2D(1, 64, rng=rng)
        self.conv2 = Conv2D(64, 10, rng=rng)
        self.hidden = Dense(490, 100, rng=rng)
        self.mean = Dense(100, latent, rng=rng)
        self.s = Dense(100, latent, rng=rng)
        self.expand = Dense(latent, 490, rng=rng)

    def encode(self, x):
        """Images x (N, 28, 28, 1) → mean, s (N, latent), argmax1 (N, 14, 14, 64), argmax2 (N, 7, 7, 10)"""
        check_digits("ConvVAE", x)
        h, argmax1 = ops.max_pool_with_argmax(ops.relu(self.conv1(x)))     # (N, 14, 14, 64)
        h, argmax2 = ops.max_pool_with_argmax(ops.relu(self.conv2(h)))     # (N, 7, 7, 10)
        h = ops.relu(self.hidden(ops.flatten(h)))                          # (N, 100)
        return self.mean(h), self.s(h), argmax1, argmax2

    def decode(self, z, argmax1, argmax2):
        """Codes z (N, latent), argmax1 (N, 14, 14, 64), argmax2 (N, 7, 7, 10) → logits (N, 28, 28, 1)"""
        h = self.unpool(self.small_map(z), argmax2, self.conv2)            # (N, 14, 14, 64)
        return self.unpool(h, argmax1, self.conv1)

    def small_map(self, z):
        """Codes z (N, latent) → the decoder's first map (N, 7, 7, 10)"""
        return ops.relu(self.expand(z)).reshape(-1, 7, 7, 10)

    @staticmethod
    def unpool(h, argmax, conv):
        """One stage of the decoder: unpool h (N, H, W, C), subtract the bias of `conv`, transpose its convolution.

        argmax=None spreads each value over its window, a quarter to each place, so the sum is that of unpool.
        """
        h = ops.upsample_nearest(h) * 0.25 if argmax is None else ops.unpool(h, argmax)
        return ops.conv2d_transpose(h - conv.b, conv.w)
