"""What the two players of a GAN minimise, on logits a = D(x) and b = D(G(z)), and what keeps their game in balance.

D tells real from generated, G learns to be taken for real (Goodfellow et al. 2014). A game is a pair of functions, each
a mean over the batch: what D minimises, of a and b, and what G minimises, of b alone:

    game              D minimises                               G minimises
    minimax           −ln σ(a) − ln(1 − σ(b))                   ln(1 − σ(b))     (Goodfellow et al. 2014, eq. 1)
    non-saturating    the same                                  −ln σ(b)         (the same, end of section 3)
    least squares     ½ (a − 1)² + ½ b²                         ½ (b − 1)²       (Mao et al. 2017, eq. 9)
    hinge             max(0, 1 − a) + max(0, 1 + b)             −b               (Miyato et al. 2018, eq. 16, 17)
    wasserstein       b − a                                     −b               (Arjovsky et al. 2017, algorithm 1)

The last needs a D of bounded slope: by clipping its weights, by a gradient penalty, or by spectral normalisation
(layers.SpectralDense, layers.SpectralConv2D).
"""

import math
from contextlib import contextmanager

from scratchnet import ops
from scratchnet.autograd import Tensor, broadcast_to, check_arrays, data_of, differentiable, enable_grad, grad
from scratchnet.backend import array_module, kind_of, to_cpu, to_device_of, uniform
from scratchnet.losses import bce_with_logits
from scratchnet.settings import number, whole


def leaky(x):
    """max(x, 0.2 x): what discriminators of images have between their layers        (Radford et al. 2016, section 4)"""
    return ops.leaky_relu(x, 0.2)


@differentiable
def tell_apart(real, fake, smoothing=0.0):
    """−mean ln D(x) − mean ln(1 − D(G(z))),  D = σ(logit): the cross-entropy of D's two answers

    With one-sided label smoothing s the answer asked for real data is 1 − s:
    −(1 − s) ln σ(a) − s ln(1 − σ(a)) in the first term (Salimans et al. 2016, section 3.4).
    Without it the least value, for D* = p/(p + q), is 2 ln 2 − 2 JS(p ‖ q).
    ∂/∂a = (σ(a) − 1 + s)/N,  ∂/∂b = σ(b)/M        logits a of N, b of M samples
    """
    _check("tell_apart", real=real, fake=fake)
    if not 0 <= number("tell_apart", "smoothing", smoothing, "a share in [0, 1)") < 1:
        raise ValueError(f"tell_apart: smoothing is a share in [0, 1), got {smoothing}")
    targets = array_module(real).full(real.shape, 1.0 - smoothing, dtype=real.dtype)
    return bce_with_logits(real, targets, "mean") + ops.softplus(fake).mean()  # −ln(1 − σ(b)) = softplus(b)


@tell_apart.backward("real")
def _(gy, real, smoothing):
    return gy / real.size * (ops.sigmoid(real) - (1.0 - smoothing))


@tell_apart.backward("fake")
def _(gy, fake):
    return gy / fake.size * ops.sigmoid(fake)


@differentiable
def saturating(fake):
    """mean ln(1 − D(G(z))) = −mean softplus(b)        ∂/∂b = −σ(b)/N, next to nothing where D is sure: G starves"""
    _check("saturating", fake=fake)
    return -ops.softplus(fake).mean()


@saturating.backward
def _(gy, fake):
    return -gy / fake.size * ops.sigmoid(fake)


@differentiable
def non_saturating(fake):
    """−mean ln D(G(z)) = mean softplus(−b)        ∂/∂b = −(1 − σ(b))/N, next to −1/N where D is sure"""
    _check("non_saturating", fake=fake)
    return ops.softplus(-fake).mean()


@non_saturating.backward
def _(gy, fake):
    return -gy / fake.size * ops.sigmoid(-fake)


@differentiable
def squares_apart(real, fake):
    """½ mean (a − 1)² + ½ mean b²        ∂/∂a = (a − 1)/N,  ∂/∂b = b/M"""
    _check("squares_apart", real=real, fake=fake)
    return 0.5 * ops.square(real - 1.0).mean() + 0.5 * ops.square(fake).mean()


@squares_apart.backward("real")
def _(gy, real):
    return gy / real.size * (real - 1.0)


@squares_apart.backward("fake")
def _(gy, fake):
    return gy / fake.size * fake


@differentiable
def squares(fake):
    """½ mean (b − 1)²        ∂/∂b = (b − 1)/N"""
    _check("squares", fake=fake)
    return 0.5 * ops.square(fake - 1.0).mean()


@squares.backward
def _(gy, fake):
    return gy / fake.size * (fake - 1.0)


@differentiable
def hinges_apart(real, fake):
    """mean max(0, 1 − a) + mean max(0, 1 + b)        ∂/∂a = −1/N where a < 1,  ∂/∂b = 1/M where b > −1, else 0"""
    _check("hinges_apart", real=real, fake=fake)
    return ops.relu(1.0 - real).mean() + ops.relu(1.0 + fake).mean()


@hinges_apart.backward("real")
def _(gy, real):
    return -gy / real.size * (real < 1.0)


@hinges_apart.backward("fake")
def _(gy, fake):
    return gy / fake.size * (fake > -1.0)


@differentiable
def means_apart(real, fake):
    """mean b − mean a: at its least, over all D of slope ≤ 1, minus the Wasserstein-1 distance

    ∂/∂a = −1/N,  ∂/∂b = 1/M
    """
    _check("means_apart", real=real, fake=fake)
    return fake.mean() - real.mean()


@means_apart.backward("real")
def _(gy, real_shape):
    return broadcast_to(-gy / math.prod(real_shape), real_shape)


@means_apart.backward("fake")
def _(gy, fake_shape):
    return broadcast_to(gy / math.prod(fake_shape), fake_shape)


@differentiable
def minus_mean(fake):
    """−mean b        ∂/∂b = −1/N"""
    _check("minus_mean", fake=fake)
    return -fake.mean()


@minus_mean.backward
def _(gy, fake_shape):
    return broadcast_to(-gy / math.prod(fake_shape), fake_shape)


def _check(name, what="logits", **arrays):
    """Arrays of floating-point numbers, and at least one: nothing has no mean."""
    check_arrays(name, **arrays)
    for player, a in arrays.items():
        if a.dtype.kind not in "fc":
            raise TypeError(f"{name}: the {what} `{player}` must be floating-point, got {a.dtype}")
        if 0 in a.shape:
            raise ValueError(f"{name}: an empty batch of {what} `{player}`, shape {a.shape}, has no mean")


GAMES = {"minimax": (tell_apart, saturating), "non-saturating": (tell_apart, non_saturating),
         "least squares": (squares_apart, squares), "hinge": (hinges_apart, minus_mean),
         "wasserstein": (means_apart, minus_mean)}


def game(name):
    """(what D minimises, what G minimises); ValueError for a name that is not among GAMES."""
    if name not in GAMES:
        raise ValueError(f"there is no game {name!r}, expected one of {', '.join(GAMES)}")
    return GAMES[name]


def gradient_penalty(discriminator, real, fake, rng):
    """mean (‖∂D/∂x̂‖₂ − 1)²,  x̂ = u x + (1 − u) G(z),  u ~ U[0, 1) for each pair        arrays (N, …) → a number

    The gradient of the best D of Wasserstein's game has length 1 there, and points along the way. That of the penalty
    is a gradient of a gradient.        (Gulrajani et al. 2017, eq. 3)
    D has to treat samples one by one: no batch norm in it.
    """
    check_arrays("gradient_penalty", real=real, fake=fake)
    if real.shape != fake.shape:
        raise ValueError(f"gradient_penalty: {real.shape} real and {fake.shape} generated samples, expected pairs")
    _check("gradient_penalty", "samples", real=real, fake=fake)
    real, fake = data_of(real), data_of(fake)
    u = uniform(rng, (len(real), *[1] * (real.ndim - 1)), like=real)
    with enable_grad():
        x = Tensor(fake + u * (real - fake), requires_grad=True)
        g = ops.flatten(grad(discriminator(x).sum(), x, create_graph=True))  # row n: ∂D(x̂ₙ)/∂x̂ₙ
        length = ops.sqrt(ops.square(g).sum(axis=1) + 1e-12)                 # has a gradient at 0, too
        return ops.square(length - 1.0).mean()


def clip_weights(parameters, limit):
    """Each weight back into [−limit, limit], after a step of D.        (Arjovsky et al. 2017, algorithm 1)"""
    limit = number("clip_weights", "limit", limit, "above 0", lambda x: x > 0)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"clip_weights: parameters are what Module.parameters() gives, got {kind_of(p)}")
        array_module(p.data).clip(p.data, -limit, limit, out=p.data)
        p.version += 1


def pack(x, m):
    """Samples (N, …, C) → (N/m, …, m C): m of them side by side, in the last axis, for a D that judges m at once.

    If all generated samples are alike, so are the m, and D sees at once that they are not real: modes that are missing
    are easier to see in packs.        (Lin et al. 2018, "PacGAN")
    """
    check_arrays("pack", x=x)
    m = int(number("pack", "m", m, "a whole number ≥ 1", lambda m: m == int(m)))
    if m < 1 or x.ndim < 2 or len(x) % m:
        raise ValueError(f"pack: samples {x.shape} in packs of {m}, expected (N, …, C), N a multiple")
    if m == 1:
        return x
    x = ops.reshape(x, (len(x) // m, m, *x.shape[1:]))
    axes = (0, *range(2, x.ndim - 1), 1, x.ndim - 1)                         # (N/m, …, m, C)
    x = ops.transpose(x, axes)
    return ops.reshape(x, (*x.shape[:-2], m * x.shape[-1]))


class Replay:
    """Remembers generated samples: `mix(fake)` gives the batch with half of it exchanged for older ones.

    So D goes on telling from real what G has given up, and G cannot come round to it again and again.
    (Shrivastava et al. 2017, section 2.3)        `size` samples are kept. Until there are as many, all that come are;
    then the first half of each batch take the places of random ones. The first batch comes back as it is, and of a
    batch of one none is exchanged, nor kept once the memory is full.
    """

    def __init__(self, size, rng):
        size = int(number("Replay", "size", size, "at least 1", lambda n: n == int(n) and n >= 1))
        self.size, self.rng, self.kept = size, rng, None

    def mix(self, fake):
        """Generated samples (N, …), an array → (N, …), of which ⌊N/2⌋ are older."""
        check_arrays("Replay", fake=fake)
        fake = data_of(fake)
        if not len(fake):
            return fake
        if self.kept is not None and self.kept.shape[1:] != fake.shape[1:]:
            raise ValueError(f"Replay: samples {fake.shape[1:]}, but {self.kept.shape[1:]} are remembered")
        if self.kept is None:
            self.kept = fake[:self.size].copy()
            return fake
        self.kept = to_device_of(self.kept, fake)
        xp, half, room = array_module(fake), len(fake) // 2, self.size - len(self.kept)
        old = self.kept[to_device_of(self.rng.integers(len(self.kept), size=half), fake)]
        if room:
            self.kept = xp.concatenate([self.kept, fake[:room]])
        else:
            places = to_device_of(self.rng.permutation(self.size)[:half], fake)
            self.kept[places] = fake[:len(places)]
        return xp.concatenate([old, fake[half:]])

    def state_dict(self):
        """What is remembered, on the host."""
        return {} if self.kept is None else {"kept": to_cpu(self.kept).copy()}

    def load_state_dict(self, state):
        """Take up what state_dict gave."""
        kept = state.get("kept")
        if kept is not None and len(kept) > self.size:
            raise ValueError(f"Replay: {len(kept)} samples for a memory of {self.size}")
        self.kept = None if kept is None else kept.copy()


@contextmanager
def unrolled(discriminator, loss_of_discriminator, steps, lr):
    """Inside, D has the weights that it would have after `steps` steps of gradient descent on its loss:

        θ₀ = θ,  θₖ₊₁ = θₖ − lr ∂L_D(θₖ)/∂θₖ

    They are functions of what G generated, and remember it. So G's loss, taken inside, has a gradient that knows how D
    will answer: it does not pay to flee to one mode after another.        (Metz et al. 2017, eq. 7 to 10)
    The paper's loss for it is −L_D, whose gradient in θ is 0 at D's best answer, and so is what G could gain there by
    misleading D's steps. A loss of G's own, like the non-saturating one, has no such bound: keep the steps small.
    Afterwards D is as before, its buffers too; nor does the gradient of a loss taken inside reach its parameters.
    """
    if not (steps >= 0 and 0 <= lr < float("inf")):
        raise ValueError(f"unrolled: {steps} steps of learning rate {lr}, expected neither below 0, and a finite rate")
    steps, lr = whole("unrolled", "steps", steps, 0), number("unrolled", "lr", lr, "a number ≥ 0")
    weights = [Tensor(p.data, requires_grad=True) for p in discriminator.parameters()]
    with discriminator.preserved(), discriminator.substituted(weights) as substitute:
        with enable_grad():
            for _ in range(steps):
                gradients = grad(loss_of_discriminator(), weights, create_graph=True)
                weights = [w if g is None else w - lr * g for w, g in zip(weights, gradients, strict=True)]
                substitute(weights)
        yield
