"""Where do a ConvVAE's switches come from when there is no image to encode? Four answers.

    borrowed    from the encoding of some training image, as a stopgap
    corner      always the first place of the window
    repeat      nowhere: each value is repeated over its window
    predicted   from z, by a small net trained on the encoder's switches
"""

from scratchnet import ops
from scratchnet.backend import array_module
from scratchnet.layers import Conv2D, Dense
from scratchnet.losses import softmax_cross_entropy
from scratchnet.module import Module


class SwitchHead(Module):
    """p(argmax | z) for both layers of switches: one softmax over the 4 places of each window.

    z → 7×7×32 → 1×1 conv → 7×7×10×4            logits for the second pooling
        7×7×32 → repeat → 14×14×32 → conv 3×3 → 1×1 conv → 14×14×64×4     for the first
    """

    def __init__(self, latent=128, *, rng):
        self.expand = Dense(latent, 7 * 7 * 32, rng=rng)
        self.places2 = Conv2D(32, 10 * 4, kernel=1, rng=rng)
        self.mix = Conv2D(32, 32, rng=rng)
        self.places1 = Conv2D(32, 64 * 4, kernel=1, rng=rng)

    def __call__(self, z):
        """Codes z (N, latent) → logits (N, 14, 14, 64, 4), (N, 7, 7, 10, 4)"""
        h = ops.relu(self.expand(z)).reshape(-1, 7, 7, 32)
        logits2 = self.places2(h).reshape(-1, 7, 7, 10, 4)
        h = ops.relu(self.mix(ops.upsample_nearest(h)))
        return self.places1(h).reshape(-1, 14, 14, 64, 4), logits2

    def loss(self, z, argmax1, argmax2):
        """Cross-entropy against the encoder's switches, in nats per window, averaged over the two layers

        z (N, latent), argmax1 (N, 14, 14, 64), argmax2 (N, 7, 7, 10)
        """
        logits1, logits2 = self(z)
        return 0.5 * (softmax_cross_entropy(logits1, argmax1, "mean") + softmax_cross_entropy(logits2, argmax2, "mean"))

    def predict(self, z):
        """Codes z (N, latent) → the most probable switches (N, 14, 14, 64), (N, 7, 7, 10)"""
        return tuple(array_module(logits.data).argmax(logits.data, axis=-1).astype("uint8") for logits in self(z))


def corner_switches(n, like):
    """Switches at the first place of every window, (n, 14, 14, 64) and (n, 7, 7, 10), on the device of `like`"""
    xp = array_module(like)
    return xp.zeros((n, 14, 14, 64), dtype="uint8"), xp.zeros((n, 7, 7, 10), dtype="uint8")
