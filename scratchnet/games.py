"""The games of a GAN: the losses of its two players, on logits a = D(x) and b = D(G(z)).

A discriminator D tells real samples from generated ones; a generator G learns to have its samples taken for real
(Goodfellow et al. 2014). A game is a pair of functions, each a mean over the batch: D's loss of a and b, and G's loss
of b alone.

    game              D minimises                               G minimises
    minimax           −ln σ(a) − ln(1 − σ(b))                   ln(1 − σ(b))     (Goodfellow et al. 2014, eq. 1)
    non-saturating    the same                                  −ln σ(b)         (the same, end of section 3)
    least squares     ½ (a − 1)² + ½ b²                         ½ (b − 1)²       (Mao et al. 2017, eq. 9)
    hinge             max(0, 1 − a) + max(0, 1 + b)             −b               (Miyato et al. 2018, eq. 16, 17)
    wasserstein       b − a                                     −b               (Arjovsky et al. 2017, algorithm 1)

Wasserstein's game needs a D of bounded slope: clip its weights, or add a gradient penalty (both in adversarial.py), or
normalise its weights by their spectral norm (layers.SpectralDense, layers.SpectralConv2D).
"""

import math

from scratchnet import ops
from scratchnet.autograd import broadcast_to, check_arrays, differentiable
from scratchnet.backend import array_module
from scratchnet.losses import bce_with_logits
from scratchnet.settings import number


@differentiable
def minimax_discriminator(real, fake, smoothing=0.0):
    """−mean ln D(x) − mean ln(1 − D(G(z))),  D = σ(logit): the cross-entropy of D's two answers

    With one-sided label smoothing s the answer asked for real data is 1 − s:
    −(1 − s) ln σ(a) − s ln(1 − σ(a)) in the first term (Salimans et al. 2016, section 3.4).
    Without it the least value, for D* = p/(p + q), is 2 ln 2 − 2 JS(p ‖ q).
    ∂/∂a = (σ(a) − 1 + s)/N,  ∂/∂b = σ(b)/M        logits a of N, b of M samples
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
    """mean ln(1 − D(G(z))) = −mean softplus(b)        ∂/∂b = −σ(b)/N, next to nothing where D is sure: G starves"""
    check_batches("saturating_generator", fake=fake)
    return -ops.softplus(fake).mean()


@saturating_generator.backward
def _(gy, fake):
    return -gy / fake.size * ops.sigmoid(fake)


@differentiable
def non_saturating_generator(fake):
    """−mean ln D(G(z)) = mean softplus(−b)        ∂/∂b = −(1 − σ(b))/N, next to −1/N where D is sure"""
    check_batches("non_saturating_generator", fake=fake)
    return ops.softplus(-fake).mean()


@non_saturating_generator.backward
def _(gy, fake):
    return -gy / fake.size * ops.sigmoid(-fake)


@differentiable
def least_squares_discriminator(real, fake):
    """½ mean (a − 1)² + ½ mean b²        ∂/∂a = (a − 1)/N,  ∂/∂b = b/M"""
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
    """½ mean (b − 1)²        ∂/∂b = (b − 1)/N"""
    check_batches("least_squares_generator", fake=fake)
    return 0.5 * ops.square(fake - 1.0).mean()


@least_squares_generator.backward
def _(gy, fake):
    return gy / fake.size * (fake - 1.0)


@differentiable
def hinge_discriminator(real, fake):
    """mean max(0, 1 − a) + mean max(0, 1 + b)        ∂/∂a = −1/N where a < 1,  ∂/∂b = 1/M where b > −1, else 0"""
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
    """mean b − mean a: at its least, over all D of slope ≤ 1, minus the Wasserstein-1 distance

    ∂/∂a = −1/N,  ∂/∂b = 1/M
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
    """−mean b        ∂/∂b = −1/N"""
    check_batches("wasserstein_generator", fake=fake)
    return -fake.mean()


@wasserstein_generator.backward
def _(gy, fake_shape):
    return broadcast_to(-gy / math.prod(fake_shape), fake_shape)


def check_batches(name, what="logits", **arrays):
    """Arrays of floating-point numbers, and at least one: nothing has no mean."""
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
    """(D's loss of logits a and b, G's loss of b) for a name among GAMES, or for a pair of functions itself."""
    if isinstance(game, (tuple, list)) and len(game) == 2 and all(map(callable, game)):
        return tuple(game)
    if not isinstance(game, str) or game not in GAMES:
        raise ValueError(f"there is no game {game!r}, expected one of {', '.join(GAMES)}, or a pair of losses: "
                         f"D's of logits (real, generated), G's of logits (generated)")
    return GAMES[game]
