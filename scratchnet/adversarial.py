"""Keeping the game of a GAN in balance: a gradient penalty, clipped weights, packs, a memory of old samples, unrolling.

Each is a remedy for one of two ailments: a D too steep for G to learn from (gradient_penalty, clip_weights), or a G
that covers few modes of the data (pack, Replay, unrolled). The losses themselves are in games.py.
"""

from contextlib import contextmanager

from scratchnet import ops
from scratchnet.autograd import Tensor, check_arrays, data_of, enable_grad, grad
from scratchnet.backend import array_module, kind_of, to_cpu, to_device_of, uniform
from scratchnet.games import check_batches
from scratchnet.settings import number, whole


def gradient_penalty(discriminator, real, fake, rng):
    """mean (‖∂D/∂x̂‖₂ − 1)²,  x̂ = u x + (1 − u) G(z),  u ~ U[0, 1) for each pair        arrays (N, …) → a number

    On the lines between coupled samples, the best D of the Wasserstein game has a gradient of length 1 along the line.
    The gradient of the penalty is a gradient of a gradient.        (Gulrajani et al. 2017, eq. 3)
    D must treat samples one by one, without batch norm. ValueError unless real and fake have the same shape.
    """
    check_arrays("gradient_penalty", real=real, fake=fake)
    if real.shape != fake.shape:
        raise ValueError(f"gradient_penalty: {real.shape} real and {fake.shape} generated samples, expected pairs")
    check_batches("gradient_penalty", "samples", real=real, fake=fake)
    real, fake = data_of(real), data_of(fake)
    u = uniform(rng, (len(real), *[1] * (real.ndim - 1)), like=real)
    with enable_grad():
        x = Tensor(fake + u * (real - fake), requires_grad=True)
        g = ops.flatten(grad(discriminator(x).sum(), x, create_graph=True))  # row n: ∂D(x̂ₙ)/∂x̂ₙ
        length = ops.sqrt(ops.square(g).sum(axis=1) + 1e-12)                 # finite slope at 0
        return ops.square(length - 1.0).mean()


def clip_weights(parameters, limit):
    """Clip each weight to [−limit, limit] in place, after a step of D.        (Arjovsky et al. 2017, algorithm 1)

    ValueError unless limit > 0.
    """
    limit = number("clip_weights", "limit", limit, "above 0", lambda x: x > 0)
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"clip_weights: parameters must be Tensors, as from Module.parameters(), got {kind_of(p)}")
        array_module(p.data).clip(p.data, -limit, limit, out=p.data)
        p.version += 1


def pack(x, m):
    """(N, …, C) → (N/m, …, m C): m samples side by side in the last axis, for a D that judges m at once.

    If all generated samples are alike, so are the m of a pack, and D sees that they are not real. Missing modes are
    easier to see in packs.        (Lin et al. 2018, "PacGAN")
    ValueError unless m ≥ 1 divides N.
    """
    check_arrays("pack", x=x)
    m = int(number("pack", "m", m, "a whole number ≥ 1", lambda m: m == int(m)))
    if m < 1 or x.ndim < 2 or len(x) % m:
        raise ValueError(f"pack: samples {x.shape} in packs of {m}, expected (N, …, C), N a multiple of m")
    if m == 1:
        return x
    x = ops.reshape(x, (len(x) // m, m, *x.shape[1:]))
    axes = (0, *range(2, x.ndim - 1), 1, x.ndim - 1)                         # (N/m, …, m, C)
    x = ops.transpose(x, axes)
    return ops.reshape(x, (*x.shape[:-2], m * x.shape[-1]))


class Replay:
    """A memory of `size` generated samples; `mix(fake)` exchanges half of a batch for older ones.

    D keeps rejecting the samples that G has given up, so G cannot come round to them again and again.
    (Shrivastava et al. 2017, section 2.3)
    The memory stores all samples until it is full. From then on, the first half of each batch replaces random ones.
    The first batch comes back unchanged. So does a batch of one, which a full memory does not store.
    """

    def __init__(self, size, rng):
        size = int(number("Replay", "size", size, "at least 1", lambda n: n == int(n) and n >= 1))
        self.size, self.rng, self.kept = size, rng, None

    def mix(self, fake):
        """Generated samples (N, …), an array → (N, …), of which ⌊N/2⌋ are older. ValueError for another shape."""
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
        """The samples in memory, on the host."""
        return {} if self.kept is None else {"kept": to_cpu(self.kept).copy()}

    def load_state_dict(self, state):
        """Restore a state from state_dict. ValueError if it holds more than `size` samples."""
        kept = state.get("kept")
        if kept is not None and len(kept) > self.size:
            raise ValueError(f"Replay: {len(kept)} samples for a memory of {self.size}")
        self.kept = None if kept is None else kept.copy()


@contextmanager
def unrolled(discriminator, loss_of_discriminator, steps, lr):
    """Inside, D has the weights that `steps` steps of gradient descent on its loss L_D would give it:

        θ₀ = θ,  θₖ₊₁ = θₖ − lr ∂L_D(θₖ)/∂θₖ

    These weights are recorded as functions of the generated samples. So a loss of G taken inside has a gradient that
    foresees D's answer, and fleeing from mode to mode does not pay.        (Metz et al. 2017, eq. 7 to 10)
    The paper's loss of G is −L_D. Its gradient in θ is 0 at D's best answer, so G gains nothing there by misleading D's
    steps. Other losses of G, like the non-saturating one, have no such bound: keep the steps small.
    Afterwards D is as before, buffers included. The gradient of a loss taken inside does not reach D's parameters.
    """
    if not (steps >= 0 and 0 <= lr < float("inf")):
        raise ValueError(f"unrolled: {steps} steps of learning rate {lr}, expected both ≥ 0 and a finite rate")
    steps, lr = whole("unrolled", "steps", steps, 0), number("unrolled", "lr", lr, "a number ≥ 0")
    weights = [Tensor(p.data, requires_grad=True) for p in discriminator.parameters()]
    with discriminator.preserved(), discriminator.substituted(weights) as substitute:
        with enable_grad():
            for _ in range(steps):
                gradients = grad(loss_of_discriminator(), weights, create_graph=True)
                weights = [w if g is None else w - lr * g for w, g in zip(weights, gradients, strict=True)]
                substitute(weights)
        yield
