"""Players of a GAN for images of 28 × 28 pixels: dense nets (Géron 2019), and convolutions with batch norm (DCGAN).

Generators end in a sigmoid, so images lie in [0, 1], as everywhere in this library. The papers use tanh and images in
[−1, 1], which is the same up to scale: σ(2x) = (1 + tanh x)/2. Discriminators end in logits.
"""

from scratchnet import initializers, ops
from scratchnet.layers import BatchNorm, Conv2D, Conv2DTranspose, Dense, Flatten, Reshape, Sequential, leaky


def dense_generator(*, rng):
    """z (N, 30) → 100 → 150 → 784 → images (N, 28, 28, 1), SELU between        (Géron 2019, chapter 17)"""
    return Sequential(selu_dense(30, 100, rng), ops.selu, selu_dense(100, 150, rng), ops.selu,
                      selu_dense(150, 784, rng), ops.sigmoid, Reshape(28, 28, 1))


def dense_discriminator(*, rng):
    """Images (N, 28, 28, 1) → 784 → 150 → 100 → logits (N, 1), SELU between        (Géron 2019, chapter 17)"""
    return Sequential(Flatten(), selu_dense(784, 150, rng), ops.selu, selu_dense(150, 100, rng), ops.selu,
                      selu_dense(100, 1, rng))


def selu_dense(inputs, outputs, rng):
    """A layer whose initial weights, N(0, 1/inputs), keep mean 0 and variance 1 under SELU  (Klambauer et al. 2017)"""
    return Dense(inputs, outputs, rng=rng, init=initializers.lecun_normal)


def dcgan_generator(latent=100, channels=32, *, rng):
    """z (N, latent) → (N, 7, 7, 2 channels) → (N, 14, 14, channels) → images (N, 28, 28, 1)

    A dense layer, then transposed convolutions with stride 2, whose 4 × 4 windows cover each inner pixel equally often.
    Batch norm, which has its own bias, and ReLU follow every layer but the last. Initial weights N(0, 0.02²).
    (Radford, Metz & Chintala 2016, sections 3 and 4, with fewer layers, since their images are 64 × 64)
    """
    return Sequential(
        Dense(latent, 7 * 7 * 2 * channels, rng=rng, bias=False, init=initializers.normal), Reshape(7, 7, 2 * channels),
        BatchNorm(2 * channels), ops.relu,
        Conv2DTranspose(2 * channels, channels, 4, 2, rng=rng, bias=False, init=initializers.normal),
        BatchNorm(channels), ops.relu,
        Conv2DTranspose(channels, 1, 4, 2, rng=rng, init=initializers.normal), ops.sigmoid)


def dcgan_discriminator(channels=16, *, rng):
    """Images (N, 28, 28, 1) → (N, 14, 14, channels) → (N, 7, 7, 2 channels) → (N, 4, 4, 4 channels) → logits (N, 1)

    Convolutions with stride 2, leaky ReLU of slope 0.2, batch norm in all layers but the first and the last. It judges
    a batch as a whole, so give it real and generated images in separate batches. Initial weights N(0, 0.02²).
    (Radford, Metz & Chintala 2016, sections 3 and 4)
    """
    return Sequential(
        Conv2D(1, channels, 4, 2, rng=rng, init=initializers.normal), leaky,
        Conv2D(channels, 2 * channels, 4, 2, rng=rng, bias=False, init=initializers.normal),
        BatchNorm(2 * channels), leaky,
        Conv2D(2 * channels, 4 * channels, 4, 2, rng=rng, bias=False, init=initializers.normal),
        BatchNorm(4 * channels), leaky,
        Flatten(), Dense(4 * 4 * 4 * channels, 1, rng=rng, init=initializers.normal))
