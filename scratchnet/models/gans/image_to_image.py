"""From image to image (Isola et al. 2017, "pix2pix"): G sees an image and draws the one that belongs to it.

G learns from pairs of question and answer. Its answer should be close to the true one pixel by pixel (L1), and convince
a D that also sees the question. L1 alone is least at the pixelwise median of all possible answers, which is none of
them; D asks for one of them. D judges patch by patch, so it takes care of detail, and L1 of the whole.

The paper's noise is dropout in G, also at test time, and its authors found that answers hardly vary with it. Here there
is none.
"""

from scratchnet import ops
from scratchnet.autograd import no_grad
from scratchnet.games import minimax_discriminator, non_saturating_generator
from scratchnet.initializers import he_normal
from scratchnet.layers import Conv2D, Conv2DTranspose, Dense, check_digits, check_drawn, leaky
from scratchnet.losses import l1
from scratchnet.module import Module
from scratchnet.settings import number


class ImageToImage(Module):
    """generator: questions x (N, H, W, C) → answers (N, H, W, 1); discriminator: x and answers → logits (N, h, w, 1)"""

    def __init__(self, generator, discriminator, weight):
        self.generator, self.discriminator = generator, discriminator
        self.weight = number("ImageToImage", "weight", weight, "a number ≥ 0", lambda x: x >= 0)

    def generate(self, x):
        """Questions x (N, H, W, C) → answers (N, H, W, 1), an array: nothing is recorded."""
        with no_grad():
            return self.generator(x).data

    def discriminator_loss(self, x, y, fake):
        """½ [−ln D(x, y) − ln(1 − D(x, G(x)))], averaged over patches and images; fake = G(x)

        The factor ½ slows D down.        (Isola et al. 2017, eq. 1 and section 3.3)
        """
        check_drawn("discriminator_loss", y, self.generator)
        return 0.5 * minimax_discriminator(self.discriminator(x, y), self.discriminator(x, fake))

    def generator_loss(self, x, y):
        """−ln D(x, G(x)) + λ |y − G(x)|, averaged over patches and over pixels; λ = weight. D is frozen.

        (Isola et al. 2017, eq. 4)
        """
        check_drawn("generator_loss", y, self.generator)
        answer = self.generator(x)
        with self.discriminator.frozen():
            return non_saturating_generator(self.discriminator(x, answer)) + self.weight * l1(answer, y, "mean")


class UNet(Module):
    """An encoder and a decoder; beside each map of the decoder stands the encoder's map of the same size:

    28×28×1 → 14×14×c → 7×7×2c → 128 → 7×7×2c | 7×7×2c → 14×14×c | 14×14×c → 28×28×1, pixels in (0, 1)

    The skip connections ("|") pass on where things are. Hidden parts have to come through the narrow middle, which sees
    the whole image.        (Ronneberger et al. 2015; Isola et al. 2017, section 3.2)
    """

    ends_in = staticmethod(ops.sigmoid)

    def __init__(self, channels, *, rng):
        c = channels
        self.down1 = Conv2D(1, c, 4, 2, rng=rng, init=he_normal)
        self.down2 = Conv2D(c, 2 * c, 4, 2, rng=rng, init=he_normal)
        self.middle = Dense(7 * 7 * 2 * c, 128, rng=rng, init=he_normal)
        self.up3 = Dense(128, 7 * 7 * 2 * c, rng=rng, init=he_normal)
        self.up2 = Conv2DTranspose(4 * c, c, 4, 2, rng=rng)
        self.up1 = Conv2DTranspose(2 * c, 1, 4, 2, rng=rng)

    def __call__(self, x):
        """Images x (N, 28, 28, 1) → images (N, 28, 28, 1)"""
        check_digits("UNet", x)
        a = leaky(self.down1(x))                                     # (N, 14, 14, c)
        b = leaky(self.down2(a))                                     # (N, 7, 7, 2c)
        h = leaky(self.middle(ops.flatten(b)))                       # (N, 128)
        h = ops.relu(self.up3(h)).reshape(b.shape)                   # (N, 7, 7, 2c)
        h = ops.relu(self.up2(ops.concat([h, b], axis=-1)))          # (N, 14, 14, c)
        return ops.sigmoid(self.up1(ops.concat([h, a], axis=-1)))    # (N, 28, 28, 1)


class PatchDiscriminator(Module):
    """A pair of images, 28×28×2 → 14×14×c → 7×7×2c → 7×7×1: each logit judges a patch of 18×18 pixels.

    (Isola et al. 2017, section 3.2.2)
    """

    def __init__(self, channels, *, rng):
        c = channels
        self.conv1 = Conv2D(2, c, 4, 2, rng=rng, init=he_normal)
        self.conv2 = Conv2D(c, 2 * c, 4, 2, rng=rng, init=he_normal)
        self.logits = Conv2D(2 * c, 1, rng=rng)

    def __call__(self, x, y):
        """Images x, y (N, 28, 28, 1) → logits (N, 7, 7, 1)"""
        h = leaky(self.conv1(ops.concat([x, y], axis=-1)))           # (N, 14, 14, c)
        return self.logits(leaky(self.conv2(h)))                     # (N, 7, 7, 1)
