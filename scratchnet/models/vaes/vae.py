"""Variational autoencoders (Kingma & Welling 2014): the two objectives that all of them share.

A code z is drawn from N(0, 1), then an image x from p(x|z), a net with one output per pixel. Learning needs the
unknown p(z|x); a second net, the encoder, approximates it by q(z|x) = N(μ(x), σ(x)²). For any q,

    ln p(x)  ≥  E_q[ ln p(x|z) ] − KL( q(z|x) ‖ N(0, 1) )        the evidence lower bound, ELBO (eq. 3 of the paper)

and z = μ + σ ε with ε ~ N(0, 1) lets the gradient pass through the draw (section 2.4).

Two objectives, chosen by name:

"elbo"     −ELBO in nats per image: −ln p(x|z) summed over pixels plus KL summed over dimensions. The encoder's second
           output is s = ln σ². It bounds −ln p(x) from above, so it can compare different models.
"lecture"  the form found in many lecture notes: mean squared error over all pixels + mean over dimensions of
           e^s − (1 + s) + m², with z = m + e^s ε. It differs from −ELBO in two ways. First, the second term is twice
           the KL of a Gaussian with variance e^s, but the noise has standard deviation e^s. Second, means stand where
           sums belong: multiplied by latent/2, for 784 pixels and 128 dimensions, it is the −ELBO for Gaussian pixels
           of variance 784/128 = 6.1, though pixels lie in [0, 1]. So the KL weighs far more than the data warrant, and
           codes say little. It is not a bound but a regularised reconstruction error, which does not measure
           likelihood.
"""

import math

import numpy as np

from scratchnet import ops
from scratchnet.autograd import data_of, no_grad
from scratchnet.backend import standard_normal, to_cpu
from scratchnet.data import batches
from scratchnet.losses import bce_with_logits, check_images, gaussian_kl, mse
from scratchnet.module import Module

SIGMA = 0.1  # standard deviation of a pixel under the Gaussian likelihood


class VAE(Module):
    """The objectives, for a subclass that defines

    encode(x)        images x (N, H, W, 1) → mean, s (N, latent), and whatever else decode needs
    decode(z, …)     codes z (N, latent) → logits of the pixels (N, H, W, 1)
    """

    def __init__(self, objective="elbo", likelihood="bernoulli"):
        if objective not in ("elbo", "lecture") or likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f'objective is "elbo" or "lecture", likelihood is "bernoulli" or "gaussian"; '
                             f'got {objective!r}, {likelihood!r}')
        self.objective, self.likelihood = objective, likelihood

    def sample_code(self, mean, s, rng):
        """z = μ + σ ε,  ε ~ N(0, 1),  σ = e^(s/2), or e^s for "lecture"        mean, s (N, latent) → z (N, latent)"""
        epsilon = standard_normal(rng, mean.shape, like=data_of(mean))
        return mean + ops.exp(s if self.objective == "lecture" else 0.5 * s) * epsilon

    def loss(self, x, rng):
        """(loss, reconstruction part, KL part) of images x (N, H, W, 1), each averaged over the batch."""
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
        """−ln p(x|z), in nats, summed over pixels and images        logits, x (N, H, W, 1)"""
        if self.likelihood == "bernoulli":
            return bce_with_logits(logits, x, "sum")
        return mse(ops.sigmoid(logits), x, "sum") / (2 * SIGMA ** 2) + x.size * math.log(SIGMA * math.sqrt(2 * math.pi))


def evaluate(model, images, rng, size=250):
    """[loss, reconstruction part, KL part] of images (N, H, W, 1): model.loss averaged over them, unrecorded."""
    with no_grad():
        parts = [[len(x) * term.item() for term in model.loss(x, rng)] for x in batches(images, size=size)]
    return [sum(column) / len(images) for column in zip(*parts, strict=True)]


def gaussian_of_codes(model, images, rng, size=250):
    """Mean m (latent,) of the images' codes z, and Cholesky factor L (latent, latent) of their covariance.

    The codes of all images together should be distributed like N(0, 1), but after a short training they are not.
    Drawing z = m + L ε instead of z = ε makes up for it (Ghosh et al. 2020, section 4, "ex-post density estimation").
    """
    with no_grad():
        z = np.concatenate([to_cpu(data_of(model.sample_code(*model.encode(x)[:2], rng)))
                            for x in batches(images, size=size)]).astype(np.float64)
    return z.mean(0), np.linalg.cholesky(np.cov(z, rowvar=False))
