"""The named optimizers, from SGD to Nadam. The `update` method of each is its formula.

Symbols: p parameters, g gradient, t the number of the step (from 1), lr the learning rate. Where a method has variants
(place of ε, weight decay, defaults), it follows PyTorch, so that the two agree step by step.
"""

from numbers import Real

from scratchnet.backend import array_module
from scratchnet.backend.forms import replaceable
from scratchnet.optimizers.optimizer import Optimizer

SHARE = "a number in [0, 1)", lambda x: 0.0 <= x < 1.0
POSITIVE = "a number > 0", lambda x: x > 0.0  # for ε, which prevents 0/0 where the gradient is zero


class SGD(Optimizer):
    """Stochastic gradient descent; with momentum μ, along a velocity u instead of g.

    p ← p − lr g,   or with momentum   u ← μ u + g,  p ← p − lr u,   or with nesterov   p ← p − lr (g + μ u)

    (Polyak 1964; Sutskever et al. 2013, section 2, but with lr outside of u, as in PyTorch; Keras has it inside)

    >>> from scratchnet import Tensor
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.data
    array([0.8, 1.6])
    """

    settings, memory = ("momentum", "nesterov"), ("momentum",)

    def __init__(self, parameters, lr, momentum=0.0, nesterov=False, **options):
        self.momentum, self.nesterov = self._number("momentum", momentum, *SHARE), nesterov
        self._require(momentum or not nesterov, "nesterov needs momentum > 0")
        self.slots = ("u",) if momentum else ()
        super().__init__(parameters, lr, **options)

    def update(self, lr, a, b, p, g, u=None):
        xp, mu, step = self.xp, self.momentum, g
        if mu:
            # u ← μ u + g
            u *= mu
            u += g
            step = u
        if self.nesterov:
            # g + μ u
            step = xp.add(g, xp.multiply(u, mu, out=a), out=a)
        # p ← p − lr step
        p -= xp.multiply(step, lr, out=a)


class Adagrad(Optimizer):
    """Each entry has a learning rate of its own, which falls with the squares of its gradients so far.

    v ← v + g²,  p ← p − lr g / (√v + ε)        (Duchi, Hazan & Singer 2011, figure 1, diagonal; Keras has √(v + ε))
    """

    slots, squares, settings = ("v",), ("v",), ("eps",)

    def __init__(self, parameters, lr=1e-2, eps=1e-10, **options):
        self.eps = self._number("eps", eps, *POSITIVE)
        super().__init__(parameters, lr, **options)

    def update(self, lr, a, b, p, g, v):
        # v ← v + g²
        v += self.xp.multiply(g, g, out=a)
        # p ← p − lr g / (√v + ε)
        _descend(p, lr, g, v, self.eps, a)


class RMSprop(Optimizer):
    """The gradient divided by the root of its running mean square.

    v ← α v + (1 − α) g²,  p ← p − lr g / (√v + ε)        (Hinton 2012, Coursera lecture 6e; Keras has √(v + ε))
    """

    slots, squares, settings, memory = ("v",), ("v",), ("alpha", "eps"), ("alpha",)

    def __init__(self, parameters, lr=1e-2, alpha=0.99, eps=1e-8, **options):
        self.alpha, self.eps = self._number("alpha", alpha, *SHARE), self._number("eps", eps, *POSITIVE)
        super().__init__(parameters, lr, **options)

    def update(self, lr, a, b, p, g, v):
        # v ← α v + (1 − α) g²
        v *= self.alpha
        a = self.xp.multiply(g, g, out=a)
        a *= 1.0 - self.alpha
        v += a
        # p ← p − lr g / (√v + ε)
        _descend(p, lr, g, v, self.eps, a)


def _add_moments(g, m, v, beta1, beta2, a):
    """m ← β₁ m + g,  v ← β₂ v + g², with a as scratch"""
    m *= beta1
    m += g
    v *= beta2
    v += array_module(g).multiply(g, g, out=a)


@replaceable
def adam_step(p, g, m, v, beta1, beta2, size, eps, a):
    """m ← β₁ m + g,  v ← β₂ v + g²,  p ← p − size · m / (√v + ε), with a as scratch"""
    _add_moments(g, m, v, beta1, beta2, a)
    _descend(p, size, m, v, eps, a)


class Adam(Optimizer):
    """The mean of the recent gradients, divided by the root of the mean of their squares.

    m̂ = Σᵢ β₁ᵗ⁻ⁱ gᵢ / Σᵢ β₁ᵗ⁻ⁱ,  v̂ = Σᵢ β₂ᵗ⁻ⁱ gᵢ² / Σᵢ β₂ᵗ⁻ⁱ  (i = 1 … t),  p ← p − lr m̂ / (√v̂ + ε)

    (Kingma & Ba 2015, algorithm 1. As Σᵢ βᵗ⁻ⁱ = (1 − βᵗ)/(1 − β), these weighted means are the paper's moments with
    its bias correction. The state holds the sums m and v before the division, which saves 2 of 12 passes over memory.
    Keras adds ε to the uncorrected √v: the paper's ε̂.)
    """

    slots, squares, settings, memory = ("m", "v"), ("v",), ("betas", "eps"), ("betas",)
    one_pass = staticmethod(adam_step)

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, **options):
        two = isinstance(betas, (tuple, list)) and len(betas) == 2 or getattr(betas, "shape", None) == (2,)
        self._require(two and all(isinstance(beta, Real) and 0.0 <= beta < 1.0 for beta in betas),
                      f"betas are two numbers in [0, 1), got {betas!r}")
        self.betas = tuple(float(beta) for beta in betas)
        self.eps = self._number("eps", eps, *POSITIVE)
        super().__init__(parameters, lr, **options)

    def sums(self):
        """s₁, s₂ with sₖ = Σᵢ βₖᵗ⁻ⁱ, so that m̂ = m/s₁ and v̂ = v/s₂."""
        return [(1.0 - beta**self.step_count) / (1.0 - beta) for beta in self.betas]

    def update(self, lr, a, b, p, g, m, v):
        s1, s2 = self.sums()
        # p ← p − lr m̂ / (√v̂ + ε)  =  p − (lr √s₂ / s₁) m / (√v + ε √s₂)
        adam_step(p, g, m, v, *self.betas, lr * s2**0.5 / s1, self.eps * s2**0.5, a)


class AdamW(Adam):
    """Adam with a weight decay that shrinks the weights themselves, p ← p − lr λ p, and stays out of the gradient.

    (Loshchilov & Hutter 2019, algorithm 2, but with the decay multiplied by lr, as in PyTorch)
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, **options):
        super().__init__(parameters, lr, betas, eps, weight_decay=weight_decay, **options)

    def decay(self, lr, a, p, g, out):
        # p ← p − lr λ p
        p *= 1.0 - lr * self.weight_decay
        return g


class Nadam(Adam):
    """Adam with Nesterov's look ahead: the step uses the momentum of the next step.

    μₜ = β₁ (1 − ½ · 0.96^(t ψ)),  Πₜ = μ₁ μ₂ … μₜ,  m ← β₁ m + (1 − β₁) g
    p ← p − lr [ (1 − μₜ) / (1 − Πₜ) · g + μₜ₊₁ / (1 − Πₜ₊₁) · m ] / (√v̂ + ε)

    (Dozat 2016, "Incorporating Nesterov Momentum into Adam"; ψ is momentum_decay. The code keeps Adam's sum m instead.)
    """

    one_pass = None
    counters, settings = ("step_count", "product"), ("betas", "eps", "momentum_decay")
    memory = "betas", "momentum_decay"

    def __init__(self, parameters, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, momentum_decay=4e-3, **options):
        self.momentum_decay = self._number("momentum_decay", momentum_decay, "a number ≥ 0", lambda x: x >= 0.0)
        self.product = 1.0  # Π of the steps done
        super().__init__(parameters, lr, betas, eps, **options)

    def mu(self, t):
        return self.betas[0] * (1.0 - 0.5 * 0.96**(t * self.momentum_decay))

    def step(self):
        super().step()
        self.product *= self.mu(self.step_count)

    def update(self, lr, a, b, p, g, m, v):
        s2 = self.sums()[1]
        _add_moments(g, m, v, *self.betas, a)
        mu, mu_next = self.mu(self.step_count), self.mu(self.step_count + 1)
        product = self.product * mu
        # b = (1 − μₜ) / (1 − Πₜ) · g  +  μₜ₊₁ / (1 − Πₜ₊₁) · (1 − β₁) m
        b = self.xp.multiply(g, (1.0 - mu) / (1.0 - product), out=b)
        b += self.xp.multiply(m, mu_next / (1.0 - product * mu_next) * (1.0 - self.betas[0]), out=a)
        # p ← p − lr b / (√v̂ + ε)
        _descend(p, lr * s2**0.5, b, v, self.eps * s2**0.5, a)


def _descend(p, size, direction, v, eps, a):
    """p ← p − size · direction / (√v + ε); a is scratch"""
    xp = array_module(p)
    xp.sqrt(v, out=a)
    a += eps
    xp.divide(direction, a, out=a)
    a *= size
    p -= a
