"""Variational autoencoders (Kingma & Welling 2014): DenseVAE and ConvVAE.

A code z is drawn from N(0, 1), an image x from p(x|z), a network with one output per pixel. Learning needs the
unknown p(z|x); a second network, the encoder, gives q(z|x) = N(μ(x), σ(x)²) in its place. Then for any q

    ln p(x)  ≥  E_q[ ln p(x|z) ] − KL( q(z|x) ‖ N(0, 1) )        the evidence lower bound, ELBO (eq. 3 of the paper)

and z = μ + σ ε with ε ~ N(0, 1) lets the gradient pass through the draw (section 2.4).

Two objectives, chosen by name:

"elbo"     −ELBO in nats per image: −ln p(x|z) summed over pixels plus KL summed over dimensions. The encoder's second
           output is s = ln σ². It is a bound, so different models can be compared by it.
"lecture"  as many lecture notes write it: mean squared error over all pixels + mean over dimensions of
           e^s − (1 + s) + m², with z = m + e^s ε. It differs twice. The second term is twice the KL of a Gaussian with
           variance e^s, yet the noise has standard deviation e^s. And means stand where sums belong: times latent/2,
           784 pixels and 128 dimensions, it is the −ELBO for Gaussian pixels of variance 784/128 = 6.1, though pixels
           lie in [0, 1]. So the KL weighs far more than the data ask for, and codes say little. It is no bound of
           ln p(x) but a regularised reconstruction error, and its value says nothing about likelihood.
"""

import math

import numpy as np

from scratchnet import ops
from scratchnet.autograd import check_arrays, data_of, no_grad
from scratchnet.backend import standard_normal, to_cpu
from scratchnet.data import batches
from scratchnet.layers import Conv2D, Dense, check_digits
from scratchnet.losses import bce_with_logits, check_images, gaussian_kl, mse
from scratchnet.module import Module
from scratchnet.settings import whole

SIGMA = 0.1  # standard deviation of a pixel under the Gaussian likelihood


class VAE(Module):
    """What both share: the two objectives. A subclass has

    encode(x)        x (N, H, W, 1) → mean, s (N, latent), and whatever else decode wants
    decode(z, …)     → logits (N, H, W, 1) of the pixels
    """

    def __init__(self, objective="elbo", likelihood="bernoulli"):
        if objective not in ("elbo", "lecture") or likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f'objective is "elbo" or "lecture", likelihood is "bernoulli" or "gaussian"; '
                             f'got {objective!r}, {likelihood!r}')
        self.objective, self.likelihood = objective, likelihood

    def sample_code(self, mean, s, rng):
        """z = μ + σ ε,  ε ~ N(0, 1)        σ = e^(s/2); in the lecture's objective e^s"""
        epsilon = standard_normal(rng, mean.shape, like=data_of(mean))
        return mean + ops.exp(s if self.objective == "lecture" else 0.5 * s) * epsilon

    def loss(self, x, rng):
        """(loss, reconstruction part, KL part) for images x (N, H, W, 1), each the mean over the batch."""
        check_images("VAE", x)
        mean, s, *aids = self.encode(x)
        logits = self.decode(self.sample_code(mean, s, rng), *aids)

        if self.objective == "lecture":
            reconstruction = mse(ops.sigmoid(logits), x, "mean")
            kl = (ops.exp(s) - (1.0 + s) + mean * mean).mean()
        else:
            reconstruction = self.nll(logits, x) / len(x)
            kl = gaussian_kl(mean, s, "sum") / len(x)
        return reconstruction + kl, reconstruction, kl

    def nll(self, logits, x):
        """−ln p(x|z) summed over pixels and images, in nats."""
        if self.likelihood == "bernoulli":
            return bce_with_logits(logits, x, "sum")
        return mse(ops.sigmoid(logits), x, "sum") / (2 * SIGMA ** 2) + x.size * math.log(SIGMA * math.sqrt(2 * math.pi))


def evaluate(model, images, rng, size=250):
    """(loss, reconstruction, KL): model.loss averaged over all images, nothing learned."""
    with no_grad():
        parts = [[len(x) * term.item() for term in model.loss(x, rng)] for x in batches(images, size=size)]
    return [sum(column) / len(images) for column in zip(*parts, strict=True)]


def gaussian_of_codes(model, images, rng, size=250):
    """Mean m (latent,) and Cholesky factor L (latent, latent) of the codes z that the images are encoded to.

    Drawing z = m + L ε in place of z = ε repairs what training left: the codes of all images together should be spread
    like N(0, 1), and after a short training they are not (Ghosh et al. 2020, section 4, "ex-post density estimation").
    """
    with no_grad():
        z = np.concatenate([to_cpu(data_of(model.sample_code(*model.encode(x)[:2], rng)))
                            for x in batches(images, size=size)]).astype(np.float64)
    return z.mean(0), np.linalg.cholesky(np.cov(z, rowvar=False))


class DenseVAE(VAE):
    """784 → 100 → (μ 128, s 128), z 128 → 100 → 784, ReLU between.

    pixels   how many of a square image, 784 for 28 × 28; or the sides (H, W) of any image
    """

    def __init__(self, pixels=784, hidden=100, latent=128, *, rng, **objective):
        super().__init__(**objective)
        self.sides = sides_of(pixels)
        pixels = math.prod(self.sides)
        self.encode_hidden = Dense(pixels, hidden, rng=rng)
        self.mean = Dense(hidden, latent, rng=rng)
        self.s = Dense(hidden, latent, rng=rng)
        self.decode_hidden = Dense(latent, hidden, rng=rng)
        self.pixels = Dense(hidden, pixels, rng=rng)

    def encode(self, x):
        check_arrays("DenseVAE", images=x)
        h = ops.relu(self.encode_hidden(ops.flatten(x)))       # (N, H, W, 1) → (N, hidden)
        return self.mean(h), self.s(h)                         # (N, latent) each

    def decode(self, z):
        h = ops.relu(self.decode_hidden(z))                    # (N, latent) → (N, hidden)
        return self.pixels(h).reshape(-1, *self.sides, 1)      # logits (N, H, W, 1)


def sides_of(pixels):
    """(H, W) of an image, given as such or, if it is square, by the number of its pixels."""
    if isinstance(pixels, (tuple, list)) and len(pixels) == 2:
        return tuple(whole("DenseVAE", "each side of pixels", n, 1) for n in pixels)
    pixels = whole("DenseVAE", "pixels", pixels, 1)
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"DenseVAE: pixels={pixels} is no square number; give the sides, pixels=(H, W)")
    return side, side


class ConvVAE(VAE):
    """An encoder that pools with argmax and a decoder that unpools with it, tied to the encoder's kernels.

    28×28×1 → conv 3×3 → 28×28×64 → pool → 14×14×64 → conv 3×3 → 14×14×10 → pool → 7×7×10 → 100 → (μ, s)
    and back:  z → 7×7×10 → unpool → −b₂, convᵀ with w₂ → unpool → −b₁, convᵀ with w₁ → logits

    The decoder reads the switches (argmax) of both poolings, which only an encoder that has seen the image knows. To
    draw new images they must come from elsewhere: see models/switches.py.
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
        check_digits("ConvVAE", x)
        h, argmax1 = ops.max_pool_with_argmax(ops.relu(self.conv1(x)))     # (N, 14, 14, 64)
        h, argmax2 = ops.max_pool_with_argmax(ops.relu(self.conv2(h)))     # (N, 7, 7, 10)
        h = ops.relu(self.hidden(ops.flatten(h)))                          # (N, 100)
        return self.mean(h), self.s(h), argmax1, argmax2

    def decode(self, z, argmax1, argmax2):
        """z (N, latent), argmax1 (N, 14, 14, 64), argmax2 (N, 7, 7, 10) → logits (N, 28, 28, 1)"""
        h = self.unpool(self.small_map(z), argmax2, self.conv2)            # (N, 14, 14, 64)
        return self.unpool(h, argmax1, self.conv1)

    def small_map(self, z):
        """z (N, latent) → (N, 7, 7, 10)"""
        return ops.relu(self.expand(z)).reshape(-1, 7, 7, 10)

    @staticmethod
    def unpool(h, argmax, conv):
        """One stage of the decoder: unpool, subtract the bias of `conv`, transpose its convolution.

        argmax=None repeats each value over its window, a quarter to each place, so that the sum is that of unpool.
        """
        h = ops.upsample_nearest(h) * 0.25 if argmax is None else ops.unpool(h, argmax)
        return ops.conv2d_transpose(h - conv.b, conv.w)
