"""Generative adversarial networks (Goodfellow et al. 2014): the two players and their losses.

A generator G turns noise z into samples; a discriminator D gives each sample a logit, high for real ones. In a step, D
learns to tell a batch of real samples from generated ones; then G learns to pass for real, while D is frozen.
The game chooses their losses, by name or as a pair of functions (games.py).
"""

from scratchnet.adversarial import pack
from scratchnet.autograd import check_arrays, no_grad
from scratchnet.backend import standard_normal
from scratchnet.games import losses_of
from scratchnet.layers import check_drawn
from scratchnet.module import Module
from scratchnet.settings import whole


class GAN(Module):
    """generator: z (N, latent) → samples (N, …); discriminator: packs of `packing` samples → logits (N/packing, 1)"""

    def __init__(self, generator, discriminator, latent, game="non-saturating", packing=1):
        self.generator, self.discriminator = generator, discriminator
        self.latent, self.packing = whole("GAN", "latent", latent, 1), whole("GAN", "packing", packing, 1)
        self.loss_of_discriminator, self.loss_of_generator = losses_of(game)

    def noise(self, n, rng, like):
        """z ~ N(0, 1) (n, latent), with the dtype and on the device of the array `like`"""
        check_arrays("noise", like=like)
        return standard_normal(rng, (n, self.latent), like=like)

    def generate(self, z):
        """Noise z (N, latent) → samples (N, …), an array: nothing is recorded, so no loss made from it can train G."""
        with no_grad():
            return self.generator(z).data

    def judge(self, x):
        """Samples x (N, …) → logits of D (N/packing, 1), one for each pack of samples"""
        return self.discriminator(pack(x, self.packing))

    def discriminator_loss(self, real, fake):
        """The loss of D on real samples and on generated ones, fake = generate(z)."""
        check_drawn("discriminator_loss", real, self.generator)
        return self.loss_of_discriminator(self.judge(real), self.judge(fake))

    def generator_loss(self, z):
        """The loss of G on noise z (N, latent). D is frozen: the gradient passes through it and leaves none in it."""
        with self.discriminator.frozen():
            return self.loss_of_generator(self.judge(self.generator(z)))
