"""Conditional generative adversarial networks (Mirza & Osindero 2014): G draws the requested digit, D judges pairs.

    pair         image       label              D should say
    matched      real x      its own, y         real
    generated    G(z, y)     the requested y    generated
    mismatched   real x      another, ŷ ≠ y     generated      (Reed et al. 2016, section 4.2)

Without the third kind, D meets a good image with a wrong label only if G makes one. With it, D learns whether image and
label match, whatever G makes.
"""

from scratchnet import ops
from scratchnet.autograd import check_arrays, data_of, no_grad
from scratchnet.backend import standard_normal, to_device_of
from scratchnet.games import minimax_discriminator, non_saturating_generator
from scratchnet.initializers import he_normal
from scratchnet.layers import BatchNorm, Dense, Dropout, Reshape, Sequential, check_drawn, leaky
from scratchnet.losses import one_hot
from scratchnet.module import Module
from scratchnet.ops.linear import check_range
from scratchnet.settings import whole


class ConditionalGAN(Module):
    """generator: z (N, latent), labels y (N,) → images (N, …); discriminator: images (N, …), y (N,) → logits (N, 1)"""

    def __init__(self, generator, discriminator, latent):
        self.generator, self.discriminator = generator, discriminator
        self.latent = whole("ConditionalGAN", "latent", latent, 0)

    def noise(self, n, rng, like):
        """z ~ N(0, 1) (n, latent), with the dtype and on the device of the array `like`"""
        check_arrays("noise", like=like)
        return standard_normal(rng, (n, self.latent), like=like)

    def generate(self, z, y):
        """Noise z (N, latent), labels y (N,) → images (N, …), an array: nothing is recorded."""
        with no_grad():
            return self.generator(z, y).data

    def discriminator_loss(self, x, y, fake, other=None):
        """The loss of D, each ln averaged over the batch; fake = G(z, y), and `other` holds wrong labels ŷ for x:

        L = −ln D(x, y) − ½ [ln(1 − D(G(z, y), y)) + ln(1 − D(x, ŷ))]        (Reed et al. 2016, algorithm 1)

        It is least at D = p / (p + ½ q + ½ m), where p, q, m are the densities of matched, generated and mismatched
        pairs. If G is perfect and images determine their labels, D is ⅔ for the first two and 0 for mismatched pairs.
        Without `other`, L = −ln D(x, y) − ln(1 − D(G(z, y), y))             (Mirza & Osindero 2014, eq. 2)
        """
        check_drawn("discriminator_loss", x, self.generator)
        matched, generated = self.discriminator(x, y), self.discriminator(fake, y)
        if other is None:
            return minimax_discriminator(matched, generated)
        return 0.5 * (minimax_discriminator(matched, generated) +
                      minimax_discriminator(matched, self.discriminator(x, other)))

    def generator_loss(self, z, y):
        """The loss of G, −mean ln D(G(z, y), y). D is frozen: the gradient passes through it and leaves none in it."""
        with self.discriminator.frozen():
            return non_saturating_generator(self.discriminator(self.generator(z, y), y))


def wrong_labels(y, classes, rng):
    """ŷ = (y + r) mod classes,  r ~ U{1, …, classes − 1}: all other labels are equally likely.    y (N,) → ŷ (N,)"""
    check_arrays("wrong_labels", y=y)
    y = data_of(y)
    if classes < 2:
        raise ValueError(f"wrong_labels: {classes} classes, expected at least 2")
    if y.dtype.kind not in "iu":
        raise TypeError(f"wrong_labels: labels are {y.dtype}, expected integers")
    check_range("wrong_labels: labels", y, classes)
    return (y + to_device_of(rng.integers(1, classes, size=len(y)), y)) % classes


class WithLabel(Module):
    """net([x, e_y]): the entries of x (N, …) and the labels y (N,) as one-hot vectors e_y (N, classes), side by side"""

    def __init__(self, net, classes):
        self.net, self.classes = net, whole("WithLabel", "classes", classes, 1)

    def __call__(self, x, y):
        check_arrays("WithLabel", x=x, y=y)
        if len(x) != len(y):
            raise ValueError(f"WithLabel: {len(x)} samples and {len(y)} labels, expected equal numbers")
        return self.net(ops.concat([ops.flatten(x), one_hot(y, self.classes, x.dtype)], axis=1))


class WithoutLabel(Module):
    """net(x): the label y is ignored, for a D that judges images alone."""

    def __init__(self, net):
        self.net = net

    def __call__(self, x, y):
        check_arrays("WithoutLabel", x=x)
        return self.net(ops.flatten(x))


def digit_generator(inputs, *, rng):
    """inputs → 256 → 256 → 28×28×1, batch norm and ReLU after each hidden layer, pixels in (0, 1)"""
    return Sequential(Dense(inputs, 256, rng=rng, init=he_normal), BatchNorm(256), ops.relu,
                      Dense(256, 256, rng=rng, init=he_normal), BatchNorm(256), ops.relu,
                      Dense(256, 784, rng=rng), ops.sigmoid, Reshape(28, 28, 1))


def digit_discriminator(inputs, *, rng):
    """inputs → 256 → 128 → one logit, leaky ReLU and dropout of 30 % (drawn from rng) after each hidden layer"""
    steps = []
    for a, b in ((inputs, 256), (256, 128)):
        steps += [Dense(a, b, rng=rng, init=he_normal), leaky, Dropout(0.3, rng=rng)]
    return Sequential(*steps, Dense(128, 1, rng=rng))
