"""The games of a GAN: the losses of its two players, on logits a = D(x) and b = D(G(z)).

A discriminator D tells real samples from generated ones. A generator G learns to make samples that D takes for real
(Goodfellow et al. 2014). A game is a pair of losses, each a mean over the batch: D's of a and b, G's of b alone.

    game              loss of D                         loss of G       source
    minimax           −ln σ(a) − ln(1 − σ(b))           ln(1 − σ(b))    Goodfellow et al. 2014, eq. 1
    non-saturating    −ln σ(a) − ln(1 − σ(b))           −ln σ(b)        Goodfellow et al. 2014, end of section 3
    least squares     ½ (a − 1)² + ½ b²                 ½ (b − 1)²      Mao et al. 2017, eq. 9
    hinge             max(0, 1 − a) + max(0, 1 + b)     −b              Miyato et al. 2018, eq. 16 and 17
    wasserstein       b − a                             −b              Arjovsky et al. 2017, algorithm 1

The Wasserstein game needs a D of bounded slope. Clip its weights or add a gradient penalty (both in adversarial.py), or
divide its weights by their spectral norm (layers.SpectralDense, layers.SpectralConv2D).
models/gans/gan.py plays a game: it freezes D while G learns.

Below, a holds the logits of N real samples and b those of M generated ones, in any shape. Each loss is one number.
Integers raise a TypeError, an empty batch a ValueError.
"""

import math

from scratchnet import ops
from scratchnet.autograd import broadcast_to, check_arrays, differentiable
from scratchnet.backend import array_module
from scratchnet.losses import bce_with_logits
from scratchnet.settings import number


@differentiable
def minimax_discriminator(real, fake, smoothing=0.0):
    """−mean ln σ(a) − mean ln(1 − σ(b)): the cross-entropy of D's answers, in nats

    One-sided label smoothing s lowers the target of real samples to 1 − s. The first term becomes the mean of
    −(1 − s) ln σ(a) − s ln(1 − σ(a)).        (Goodfellow et al. 2014, eq. 1; Salimans et al. 2016, section 3.4)
    Without smoothing, D* = p/(p + q) reaches the minimum, 2 ln 2 − 2 JS(p ‖ q).
    ∂/∂a = (σ(a) − 1 + s)/N,  ∂/∂b = σ(b)/M
    """
    check_batches("minimax_discriminator", real=real, fake=fake)
    if not 0 <= number("minimax_discriminator", "smoothing", smoothing, "a share in [0, 1)") < 1:
        raise ValueError(f"minimax_discriminator: smoothing is a share in [0, 1), got {smoothing}")
    targets = array_module(real).full(real.shape, 1.0 - smoothing, dtype=real.dtype)
    return bce_with_logits(real, targets, "mean") + ops.softplus(fake).mean()  # −ln(1 − σ(b)) = softplus(b)


@minimax_discriminator.backward("real")
def _(gy, real, smoothing):
    return gy / real.size * (ops.sigmoid(real) - (1.0 - smoothing))


@minimax_discriminator.backward("fake")
def _(gy, fake):
    return gy / fake.size * ops.sigmoid(fake)


@differentiable
def saturating_generator(fake):
    """mean ln(1 − σ(b)) = −mean softplus(b)        ∂/∂b = −σ(b)/M, almost 0 where D is sure: G starves

    (Goodfellow et al. 2014, eq. 1)
    """
    check_batches("saturating_generator", fake=fake)
    return -ops.softplus(fake).mean()


@saturating_generator.backward
def _(gy, fake):
    return -gy / fake.size * ops.sigmoid(fake)


@differentiable
def non_saturating_generator(fake):
    """−mean ln σ(b) = mean softplus(−b)        ∂/∂b = −(1 − σ(b))/M, almost −1/M where D is sure

    (Goodfellow et al. 2014, end of section 3)
    """
    check_batches("non_saturating_generator", fake=fake)
    return ops.softplus(-fake).mean()


@non_saturating_generator.backward
def _(gy, fake):
    return -gy / fake.size * ops.sigmoid(-fake)


@differentiable
def least_squares_discriminator(real, fake):
    """½ mean (a − 1)² + ½ mean b²        ∂/∂a = (a − 1)/N,  ∂/∂b = b/M        (Mao et al. 2017, eq. 9)"""
    check_batches("least_squares_discriminator", real=real, fake=fake)
    return 0.5 * ops.square(real - 1.0).mean() + 0.5 * ops.square(fake).mean()


@least_squares_discriminator.backward("real")
def _(gy, real):
    return gy / real.size * (real - 1.0)


@least_squares_discriminator.backward("fake")
def _(gy, fake):
    return gy / fake.size * fake


@differentiable
def least_squares_generator(fake):
    """½ mean (b − 1)²        ∂/∂b = (b − 1)/M        (Mao et al. 2017, eq. 9)"""
    check_batches("least_squares_generator", fake=fake)
    return 0.5 * ops.square(fake - 1.0).mean()


@least_squares_generator.backward
def _(gy, fake):
    return gy / fake.size * (fake - 1.0)


@differentiable
def hinge_discriminator(real, fake):
    """mean max(0, 1 − a) + mean max(0, 1 + b)        (Miyato et al. 2018, eq. 16)

    ∂/∂a = −1/N where a < 1, else 0;  ∂/∂b = 1/M where b > −1, else 0
    """
    check_batches("hinge_discriminator", real=real, fake=fake)
    return ops.relu(1.0 - real).mean() + ops.relu(1.0 + fake).mean()


@hinge_discriminator.backward("real")
def _(gy, real):
    return -gy / real.size * (real < 1.0)


@hinge_discriminator.backward("fake")
def _(gy, fake):
    return gy / fake.size * (fake > -1.0)


@differentiable
def wasserstein_discriminator(real, fake):
    """mean b − mean a        ∂/∂a = −1/N,  ∂/∂b = 1/M        (Arjovsky et al. 2017, algorithm 1)

    Its minimum over all D of slope ≤ 1 is minus the Wasserstein-1 distance.
    """
    check_batches("wasserstein_discriminator", real=real, fake=fake)
    return fake.mean() - real.mean()


@wasserstein_discriminator.backward("real")
def _(gy, real_shape):
    return broadcast_to(-gy / math.prod(real_shape), real_shape)


@wasserstein_discriminator.backward("fake")
def _(gy, fake_shape):
    return broadcast_to(gy / math.prod(fake_shape), fake_shape)


@differentiable
def wasserstein_generator(fake):
    """−mean b        ∂/∂b = −1/M        (Arjovsky et al. 2017, algorithm 1; also G's loss in the hinge game)"""
    check_batches("wasserstein_generator", fake=fake)
    return -fake.mean()


@wasserstein_generator.backward
def _(gy, fake_shape):
    return broadcast_to(-gy / math.prod(fake_shape), fake_shape)


def check_batches(name, what="logits", **arrays):
    """TypeError unless all arrays hold floating-point numbers; ValueError if one is empty, as it has no mean."""
    check_arrays(name, **arrays)
    for player, a in arrays.items():
        if a.dtype.kind not in "fc":
            raise TypeError(f"{name}: the {what} `{player}` must be floating-point, got {a.dtype}")
        if 0 in a.shape:
            raise ValueError(f"{name}: an empty batch of {what} `{player}`, shape {a.shape}, has no mean")


GAMES = {"minimax": (minimax_discriminator, saturating_generator),
         "non-saturating": (minimax_discriminator, non_saturating_generator),
         "least squares": (least_squares_discriminator, least_squares_generator),
         "hinge": (hinge_discriminator, wasserstein_generator),
         "wasserstein": (wasserstein_discriminator, wasserstein_generator)}


def losses_of(game):
    """(D's loss of a and b, G's loss of b) of a game: a name in GAMES, or already such a pair of functions.

    ValueError for anything else.
    """
    if isinstance(game, (tuple, list)) and len(game) == 2 and all(map(callable, game)):
        return tuple(game)
    if not isinstance(game, str) or game not in GAMES:
        raise ValueError(f"there is no game {game!r}, expected one of {', '.join(GAMES)}, or a pair of losses: "
                         f"D's of logits (real, generated), G's of logits (generated)")
    return GAMES[game]
