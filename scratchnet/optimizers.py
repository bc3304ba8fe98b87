"""Optimizers: from a gradient to a step. The formulas stand in the `update` methods, one short one each.

All parameters of an optimizer lie in one flat vector p, of which each parameter's data is a view, and their gradients
in another, g. So an update is a few operations on long vectors. On the CPU they go through the vectors in chunks that
stay in the cache, and in threads; on a GPU a chunk is the whole vector.

Symbols: p parameters, g gradient, t the number of the step (from 1), lr the learning rate. Where a method has variants
(place of ε, weight decay, defaults), this is PyTorch's, so that the two agree step by step.
"""

import math
from collections.abc import Iterable
from numbers import Real

import numpy as np

from scratchnet.autograd import Tensor
from scratchnet.backend import array_module, is_array, is_whole, kind_of, to_cpu, to_device_of
from scratchnet.backend.threads import in_parts
from scratchnet.schedules import check_state
from scratchnet.settings import number, whole

SHARE = "a number in [0, 1)", lambda x: 0.0 <= x < 1.0
POSITIVE = "a number > 0", lambda x: x > 0.0  # as ε, which keeps 0/0 away where there is no gradient


class Optimizer:
    """What all optimizers share. A subclass names its state vectors in `slots` and writes `update`.

    parameters     leaf Tensors of one dtype on one device; one that is listed twice is taken once
    lr             learning rate: a number, or a schedule, which is a callable step → number (steps from 0)
    weight_decay   λ: adds λ p to the gradient (the gradient of ½ λ ‖p‖²)
    clip_norm      scale the gradient of all parameters together down to this Euclidean norm, if it is longer
    clip_value     or: clip each entry of the gradient to ± this
    Infinity as a limit, like None, clips nothing.

    eps, where a method has one, is at least the smallest normal number of the parameters' dtype (6e-5 in float16): a
    smaller one would round to 0 there, or be lost, and a gradient of zero would give 0/0.

    Clipping comes before weight decay, and neither changes what `p.grad` shows.
    A parameter without a gradient (`p.grad is None`) counts as one with gradient zero.
    NaN or infinity in the gradient is never clipped away: under clip_norm it makes all parameters NaN, to be seen at
    once.

    copy.deepcopy((model, optimizer)) and pickle give a pair as independent as the first; copied alone, an optimizer
    has parameters of its own.
    """

    slots = ()  # names of the state vectors, each as long as p, zero at the start
    squares = ()  # those among them that sum squares: never negative, and infinite after too large a gradient
    counters = ("step_count",)  # numbers that belong to the state: whole ones, or shares
    memory = ()  # settings without which the state cannot be read, such as the decay of a sum in it
    settings = ()  # what repr shows besides lr
    chunk = 65536  # entries: Adam then works on 1.3 MB (benchmarks/NOTES.md)

    def __init__(self, parameters, lr, weight_decay=0.0, clip_norm=None, clip_value=None):
        self.lr = lr if callable(lr) else self._number("lr", lr, "a number ≥ 0 or a schedule", lambda x: x >= 0.0)
        self.weight_decay = self._number("weight_decay", weight_decay, "a number ≥ 0", lambda x: x >= 0.0)
        self.clip_norm, self.clip_value = (
            None if limit is None or np.ndim(limit) == 0 and limit == math.inf else
            self._number(name, limit, "a number > 0 or None", lambda x: x > 0.0)
            for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)))
        self._require(self.clip_norm is None or self.clip_value is None, "clip by norm or by value, not both")
        self.parameters, self.step_count = leaves(type(self).__name__, parameters), 0
        self._lay_out()
        if hasattr(self, "eps"):
            self.eps = max(self.eps, float(np.finfo(self.flat.dtype).tiny))
        self.state = {name: self.xp.zeros_like(self.flat) for name in self.slots}
        self._cut()

    def _lay_out(self):
        """The parameters and their gradients become views of two vectors."""
        self.xp, self.flat, self.views = flatten(self.parameters)
        self.flat_grad = self.xp.zeros_like(self.flat)
        self.grad_views = _split(self.flat_grad, self.parameters)
        for p, view, grad_view in zip(self.parameters, self.views, self.grad_views, strict=True):
            p.data, p.grad_buffer = view, grad_view

    def _cut(self):
        """All vectors in chunks."""
        size = self.flat.size
        self.length = length = min(self.chunk, size) if self.xp is np else size
        vectors = [self.flat, self.flat_grad, *self.state.values()]
        self.chunks = [[v[i:i + length] for v in vectors] for i in range(0, size, length or 1)]

    def update(self, lr, a, b, p, g, *state):
        """Change one chunk of p, and of the state vectors, in place. g must stay as it is; a and b are scratch."""
        raise NotImplementedError

    @property
    def current_lr(self):
        """The learning rate of the next step."""
        try:
            lr = self.lr(self.step_count) if callable(self.lr) else self.lr
        except OverflowError:  # in a power
            lr = math.inf
        if not (type(lr) is float and 0.0 <= lr < math.inf):
            lr = self._number(f"what lr={self.lr} gives for step {self.step_count}", lr, "a number ≥ 0",
                              lambda x: x >= 0.0)
        return float(lr)

    def zero_grad(self):
        """Forget the gradients: the next backward starts from none."""
        for p in self.parameters:
            p.grad = None

    def step(self):
        """One update of all parameters from their gradients."""
        self._collect_gradients()
        lr, (divisor, factor) = self.current_lr, self._clip()
        self.step_count += 1
        flush = self.step_count % 100 == 0

        def work(chunks):
            scratch = [self.xp.empty_like(self.flat[:self.length]) for _ in range(3)]
            for p, g, *state in chunks:
                a, b, changed = (s[:len(p)] for s in scratch)
                if divisor is not None:
                    g = self.xp.divide(g, divisor, out=changed)
                if factor is not None:
                    g = self.xp.multiply(g, factor, out=changed)
                if self.clip_value is not None:
                    g = self.xp.clip(g, -self.clip_value, self.clip_value, out=changed)
                if self.weight_decay:
                    g = self.decay(lr, a, p, g, out=changed)
                self.update(lr, a, b, p, g, *state)
                for s in state if flush else ():
                    flush_denormals(s)
        in_parts(work, self.chunks)
        for p in self.parameters:
            p.version += 1

    def decay(self, lr, a, p, g, out):
        # g ← g + λ p
        return self.xp.add(g, self.xp.multiply(p, self.weight_decay, out=a), out=out)

    def _clip(self):
        """What to divide g by and what then to multiply it by, numbers on the device or None, so that ‖g‖ ≤ clip_norm.

        g · min(1, max_norm / (‖g‖ + 1e-6)), the 1e-6 as in PyTorch.        (Pascanu et al. 2013, algorithm 1)
        In float32 the square of 1e20 is infinite, in float16 that of 300. So float16 is summed in float32, and where
        that does not suffice, as on a GPU always, g is first divided by its largest entry s: ‖g‖ = s ‖g/s‖.
        """
        if self.clip_norm is None or not self.flat.size:
            return None, None
        xp, limit, wide = self.xp, self.clip_norm, np.promote_types(self.flat.dtype, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            if xp is np:
                g = self.flat_grad.astype(wide, copy=False)
                norm = np.sqrt(g @ g)
                if np.finfo(wide).tiny**0.4 < norm < np.inf:
                    return None, None if norm + 1e-6 <= limit else limit / (norm + 1e-6)
            s = xp.maximum(self.flat_grad.max(), -self.flat_grad.min()).astype(wide)
            s = xp.where(s > 0.0, s, xp.ones_like(s))
            parts = (xp.divide(g, s) for _, g, *_ in self.chunks)
            norm = xp.sqrt(sum(g @ g for g in parts))
            short = s * norm + 1e-6 <= limit
            return xp.where(short, xp.ones_like(s), s), xp.where(short, xp.ones_like(s), limit / (norm + 1e-6 / s))

    def _collect_gradients(self):
        """See that every parameter still is a part of `flat`, and that its gradient is in `flat_grad`."""
        who = type(self).__name__
        for i, (p, view, g) in enumerate(zip(self.parameters, self.views, self.grad_views, strict=True)):
            if p.data is not view:
                raise RuntimeError(f"{who}: parameter {i} of shape {view.shape} is no longer this optimizer's: another "
                                   f"one took it over, or its data was moved to another device or replaced. Make a "
                                   f"new optimizer; to set values, write p.data[...] = values")
            if p.grad is None:
                g[...] = 0.0
            elif p.grad is not g:
                g[...] = self._checked_gradient(i, p.grad, g)

    def _checked_gradient(self, i, grad, g):
        """The gradient of parameter i, which somebody has set, if g can hold it."""
        shape = getattr(grad, "shape", f"none ({type(grad).__name__})")
        self._require(shape == g.shape, f"parameter {i} has shape {g.shape}, but its grad has shape {shape}")
        kind = (kind_of(grad) if not is_array(grad) else "masked" if isinstance(grad, np.ma.MaskedArray) else
                f"an array of {array_module(grad).__name__}" if array_module(grad) is not self.xp else
                f"of {grad.dtype}" if grad.dtype.kind not in "biuf" else None)
        if kind is not None:
            raise TypeError(f"{type(self).__name__}: the grad of parameter {i} of shape {g.shape} is {kind}, expected "
                            f"a real array of {self.xp.__name__} without a mask")
        return grad

    def state_dict(self, names=None):
        """Counters, copies of the state vectors on the host, shapes of the parameters, the state of the schedule
        under `lr.`, if it has one, and whose state it is. The parameters are the model's to save, the settings are in
        the program.

        names    what the parameters are called, if anybody knows: then that is how a state finds them again
        """
        schedule = self.lr.state_dict() if hasattr(self.lr, "state_dict") else {}
        return ({name: getattr(self, name) for name in self.counters}
                | {name: to_cpu(vector).copy() for name, vector in self.state.items()}
                | {"parameters": described(type(self).__name__, self.parameters, names), "optimizer": self._kind()}
                | {f"lr.{name}": value for name, value in schedule.items()})

    def _kind(self):
        """What the state means depends on the class and on these settings."""
        return {"class": type(self).__name__} | {name: np.array(getattr(self, name)).tolist() for name in self.memory}

    def load_state_dict(self, state, names=None):
        """Take up what state_dict gave, with the same names, from an optimizer of the same class, whose sums decay
        alike. All of it is checked before anything is changed."""
        who = type(self).__name__
        mine = self.state_dict(names)
        check_state(who, mine, state)
        theirs = state["optimizer"]
        self._require(theirs == mine["optimizer"], f"this state is of {_in_words(theirs)}, and cannot go on in "
                                                   f"{_in_words(mine['optimizer'])}")
        vectors = arranged(who, self.state, mine["parameters"], state)
        for name, vector in vectors.items():
            if name in self.squares:
                self._require(not (vector < 0.0).any(), f"{name} sums squares, but holds negative numbers")
            else:
                self._require(np.isfinite(vector).all(), f"{name} holds infinite numbers")
        numbers = {name: whole(who, name, state[name], 0) if isinstance(mine[name], int) else
                   number(who, name, state[name], "a number in [0, 1]", lambda x: 0.0 <= x <= 1.0)
                   for name in self.counters}
        if hasattr(self.lr, "load_state_dict"):
            self.lr.load_state_dict({name[3:]: value for name, value in state.items() if name.startswith("lr.")})
        vars(self).update(numbers)
        for name, vector in self.state.items():
            vector[...] = to_device_of(vectors[name], vector)

    def __getstate__(self):
        """For copy and pickle: all but the views, which are made anew over the parameters that were copied along. A
        parameter that another optimizer has taken over stays that one's."""
        made = ("xp", "flat", "views", "flat_grad", "grad_views", "length", "chunks")
        kept = {name: value for name, value in vars(self).items() if name not in made}
        return kept | {"owned": [p.data is view for p, view in zip(self.parameters, self.views, strict=True)]}

    def __setstate__(self, state):
        vars(self).update({name: value for name, value in state.items() if name != "owned"})
        before = [(p.data, p.grad_buffer) for p in self.parameters]
        self._lay_out()
        for p, owned, (data, buffer), g in zip(self.parameters, state["owned"], before, self.grad_views, strict=True):
            if not owned:
                p.data, p.grad_buffer = data, buffer
            elif p.grad is not None and p.grad is buffer:
                g[...] = p.grad
                p.grad = g
        self._cut()

    def __copy__(self):
        raise TypeError(f"{type(self).__name__}: two optimizers cannot share parameters; "
                        f"copy.deepcopy((model, optimizer)) copies both")

    def __repr__(self):
        given = [name for name in ("weight_decay", "clip_norm", "clip_value") if getattr(self, name)]
        settings = "".join(f", {name}={getattr(self, name)}" for name in ("lr", *self.settings, *given))
        return (f"{type(self).__name__}({self.flat.size:,} parameters in {len(self.parameters)} arrays of "
                f"{self.flat.dtype}{settings}; {self.step_count:,} steps done)")

    def _number(self, name, value, expected, right):
        return number(type(self).__name__, name, value, expected, right)

    def _require(self, right, message):
        if not right:
            raise ValueError(f"{type(self).__name__}: {message}")


def flush_denormals(s):
    """Zero what is denormal, in place. Where the gradient stays zero, as for a dead unit, a running mean decays into
    denormal numbers and, rounded, stays there; with them Adam's step takes ten times as long. (Not in float16, where
    they are no slower, and needed.)"""
    if s.dtype.itemsize >= 4:
        s *= array_module(s).abs(s) >= np.finfo(s.dtype).tiny


class SGD(Optimizer):
    """Stochastic gradient descent; with momentum μ, along a velocity u in place of g.

    p ← p − lr g   or   u ← μ u + g,  p ← p − lr u   or, Nesterov's,   p ← p − lr (g + μ u)

    (Polyak 1964; Sutskever et al. 2013, section 2, but lr stands outside of u, as in PyTorch; in Keras inside)

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
    """Every entry has its own learning rate, which falls with the gradients that it has seen.

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


class Adam(Optimizer):
    """The mean of the recent gradients, divided by the root of the mean of their squares.

    m̂ = Σᵢ β₁ᵗ⁻ⁱ gᵢ / Σᵢ β₁ᵗ⁻ⁱ,  v̂ = Σᵢ β₂ᵗ⁻ⁱ gᵢ² / Σᵢ β₂ᵗ⁻ⁱ  (i = 1 … t),  p ← p − lr m̂ / (√v̂ + ε)

    (Kingma & Ba 2015, algorithm 1. As Σᵢ βᵗ⁻ⁱ = (1 − βᵗ)/(1 − β), these weighted means are the paper's moments with
    its bias correction. Kept are the sums m and v, not yet divided: 10 passes over memory instead of 12.
    Keras leaves ε outside of the correction of v: the paper's ε̂.)
    """

    slots, squares, settings, memory = ("m", "v"), ("v",), ("betas", "eps"), ("betas",)

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, **options):
        two = isinstance(betas, (tuple, list)) and len(betas) == 2 or getattr(betas, "shape", None) == (2,)
        self._require(two and all(isinstance(beta, Real) and 0.0 <= beta < 1.0 for beta in betas),
                      f"betas are two numbers in [0, 1), got {betas!r}")
        self.betas = tuple(float(beta) for beta in betas)
        self.eps = self._number("eps", eps, *POSITIVE)
        super().__init__(parameters, lr, **options)

    def add_moments(self, a, g, m, v):
        """m ← β₁ m + g,  v ← β₂ v + g²,  and s₁, s₂ with sₖ = Σᵢ βₖᵗ⁻ⁱ, so that m̂ = m/s₁ and v̂ = v/s₂."""
        (beta1, beta2), t = self.betas, self.step_count
        m *= beta1
        m += g
        v *= beta2
        v += self.xp.multiply(g, g, out=a)
        return (1.0 - beta1**t) / (1.0 - beta1), (1.0 - beta2**t) / (1.0 - beta2)

    def update(self, lr, a, b, p, g, m, v):
        s1, s2 = self.add_moments(a, g, m, v)
        # p ← p − lr m̂ / (√v̂ + ε)  =  p − (lr √s₂ / s₁) m / (√v + ε √s₂)
        _descend(p, lr * s2**0.5 / s1, m, v, self.eps * s2**0.5, a)


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights themselves, p ← p − lr λ p, and stays out of the gradient.

    (Loshchilov & Hutter 2019, algorithm 2; the decay is multiplied by lr, as in PyTorch)
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, **options):
        super().__init__(parameters, lr, betas, eps, weight_decay=weight_decay, **options)

    def decay(self, lr, a, p, g, out):
        # p ← p − lr λ p
        p *= 1.0 - lr * self.weight_decay
        return g


class Nadam(Adam):
    """Adam with Nesterov's look ahead: the step uses the momentum as it will be one step later.

    μₜ = β₁ (1 − ½ · 0.96^(t ψ)),  Πₜ = μ₁ μ₂ … μₜ,  m ← β₁ m + (1 − β₁) g
    p ← p − lr [ (1 − μₜ) / (1 − Πₜ) · g + μₜ₊₁ / (1 − Πₜ₊₁) · m ] / (√v̂ + ε)

    (Dozat 2016, “Incorporating Nesterov Momentum into Adam”. ψ is momentum_decay. m is kept as in Adam, undivided.)
    """

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
        _, s2 = self.add_moments(a, g, m, v)
        mu, mu_next = self.mu(self.step_count), self.mu(self.step_count + 1)
        product = self.product * mu
        # b = (1 − μₜ) / (1 − Πₜ) · g  +  μₜ₊₁ / (1 − Πₜ₊₁) · (1 − β₁) m
        b = self.xp.multiply(g, (1.0 - mu) / (1.0 - product), out=b)
        b += self.xp.multiply(m, mu_next / (1.0 - product * mu_next) * (1.0 - self.betas[0]), out=a)
        # p ← p − lr b / (√v̂ + ε)
        _descend(p, lr * s2**0.5, b, v, self.eps * s2**0.5, a)


def _descend(p, size, direction, v, eps, a):
    """p ← p − size · direction / (√v + ε), with a as scratch"""
    xp = array_module(p)
    xp.sqrt(v, out=a)
    a += eps
    xp.divide(direction, a, out=a)
    a *= size
    p -= a


def _in_words(kind):
    """What `_kind` gives, as it would be written: Adam(betas=[0.9, 0.999])."""
    if not (isinstance(kind, dict) and "class" in kind):
        return f"no optimizer ({kind!r:.80})"
    return f"{kind['class']}({', '.join(f'{name}={value}' for name, value in kind.items() if name != 'class')})"


def leaves(who, parameters):
    """The parameters as a list, each once, after checking that they can lie in one vector."""
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError(f"{who}: parameters are a list of Tensors, such as model.parameters(), got "
                        f"{kind_of(parameters)}")
    found = list({id(p): p for p in parameters}.values())
    if not found:
        raise ValueError(f"{who}: the list of parameters is empty")
    for i, p in enumerate(found):
        if not (isinstance(p, Tensor) and p.requires_grad and p.node is None and p.dtype.kind == "f"):
            raise TypeError(f"{who}: parameter {i} must be a real Tensor that requires a gradient and was not computed "
                            f"from others (pass model.parameters()), got {p!r:.200}")
        kinds = [f"{q.dtype} in {array_module(q.data).__name__}" for q in (found[0], p)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"{who}: all parameters must have one dtype and be on one device, but parameter 0 is "
                             f"{kinds[0]} and parameter {i} of shape {p.shape} is {kinds[1]}")
    return found


def flatten(parameters):
    """Their array module, one vector with a copy of all their values, and its views in their shapes."""
    xp = array_module(parameters[0].data)
    flat = xp.concatenate([p.data.reshape(-1) for p in parameters])
    return xp, flat, _split(flat, parameters)


def _split(flat, parameters):
    """Views of the flat vector, one for each parameter, in its shape."""
    views, start = [], 0
    for p in parameters:
        views.append(flat[start:start + p.size].reshape(p.shape))
        start += p.size
    return views


def described(who, parameters, names):
    """Name → shape, in their order; without names they are counted."""
    if isinstance(names, (str, bytes, set, frozenset)) or not isinstance(names, (Iterable, type(None))):
        raise TypeError(f"{who}: names are a list, one for each parameter in their order, got {kind_of(names)}")
    names = [str(name) for name in (range(len(parameters)) if names is None else names)]
    if len(names) != len(parameters):
        raise ValueError(f"{who}: {len(names)} names for {len(parameters)} parameters")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{who}: names: two parameters are called {twice!r}")
    return {name: list(p.shape) for name, p in zip(names, parameters, strict=True)}


def arranged(who, vectors, mine, state):
    """What the state holds for these vectors, name → array in their dtype, its parts in the order of `mine`, which is
    `described`. ValueError for other parameters, and for what a vector cannot hold."""
    theirs = state["parameters"]
    if not isinstance(theirs, dict):
        raise TypeError(f"{who}: parameters: expected name → shape, got {kind_of(theirs)}")
    for name, shape in theirs.items():
        if not (isinstance(shape, (list, tuple)) and all(is_whole(n) and n >= 0 for n in shape)):
            raise TypeError(f"{who}: parameters: {name}: expected a shape, got {shape!r:.80}")
    faults = [f"missing: {name}" for name in mine if name not in theirs]
    faults += [f"unexpected: {name}" for name in theirs if name not in mine]
    faults += [f"{name}: shape {tuple(theirs[name])} instead of {tuple(shape)}" for name, shape in mine.items()
               if name in theirs and list(theirs[name]) != shape]
    if faults:
        raise ValueError(f"this state belongs to other parameters than this {who}: " + "; ".join(faults))
    sizes = [math.prod(shape) for shape in theirs.values()]
    found = {}
    for name, vector in vectors.items():
        if isinstance(state[name], np.ma.MaskedArray):
            raise TypeError(f"{who}: {name} is a masked array, expected one without a mask")
        stored = np.asarray(state[name])
        if stored.dtype.kind != "f":
            raise TypeError(f"{who}: {name} is of {stored.dtype}, expected {vector.dtype}")
        with np.errstate(over="ignore"):
            a = stored.astype(vector.dtype)
        if (np.isnan(a) | (np.isinf(a) & np.isfinite(stored))).any():
            raise ValueError(f"{who}: {name} holds NaN, or numbers too large for {vector.dtype}")
        parts = dict(zip(theirs, np.split(a, np.cumsum(sizes)[:-1]), strict=True))
        found[name] = np.concatenate([parts[key] for key in mine])
    return found
