"""The base of all optimizers: parameters and gradients as two flat vectors, clipping, a step in chunks, a state.

All parameters of an optimizer lie in one flat vector p, and their gradients in another, g. Each parameter's data is a
view of p. So an update is a few operations on long vectors. On the CPU, threads work through the vectors in chunks that
stay in the cache; on a GPU, a chunk is the whole vector.
"""

import math

import numpy as np

from scratchnet.backend import array_module, is_array, kind_of, to_cpu, to_device_of
from scratchnet.backend.threads import in_parts
from scratchnet.optimizers.state import checked, described
from scratchnet.optimizers.vector import leaves, one_vector, views_of
from scratchnet.settings import number


class Optimizer:
    """The base of all optimizers. A subclass names its state vectors in `slots` and writes `update`.

    parameters     leaf Tensors of one dtype on one device; one listed twice counts once
    lr             learning rate: a number, or a schedule, which is a callable step → number (steps from 0)
    weight_decay   λ: adds λ p to the gradient (the gradient of ½ λ ‖p‖²)
    clip_norm      scale the gradient of all parameters together down to this Euclidean norm if it is longer
    clip_value     clip each entry of the gradient to ± this; not together with clip_norm
    Infinity as a limit, like None, clips nothing.

    If a method has an eps, it is at least the smallest normal number of the parameters' dtype (6e-5 in float16). A
    smaller one could round to 0, and a gradient of zero would give 0/0.

    Clipping comes before weight decay, and neither changes `p.grad`.
    A parameter without a gradient (`p.grad is None`) counts as one with gradient zero.
    NaN and infinity in the gradient are never clipped away. Under clip_norm they make all parameters NaN, where they
    show at once.

    copy.deepcopy((model, optimizer)) and pickle make an independent pair. An optimizer copied alone has parameters of
    its own.

    ValueError for settings out of range, an empty list, or parameters of different dtypes or devices; TypeError for
    parameters that are not leaf Tensors.
    """

    slots = ()  # names of the state vectors, each as long as p, zero at the start
    squares = ()  # those among them that sum squares: never negative, and infinite after too large a gradient
    counters = ("step_count",)  # numbers in the state: whole numbers, or shares
    memory = ()  # settings that give the state its meaning, such as the decay of a sum in it
    settings = ()  # settings that repr shows besides lr
    one_pass = None  # the function behind `update`, if a form of it takes whole vectors in one pass over memory
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
        self.xp, self.flat, self.views = one_vector(self.parameters)
        self.flat_grad = self.xp.zeros_like(self.flat)
        self.grad_views = views_of(self.flat_grad, self.parameters)
        for p, view, grad_view in zip(self.parameters, self.views, self.grad_views, strict=True):
            p.data, p.grad_buffer = view, grad_view

    def _cut(self):
        """All vectors in chunks."""
        size = self.flat.size
        self.length = length = min(self.chunk, size) if self.xp is np else size
        vectors = [self.flat, self.flat_grad, *self.state.values()]
        self.chunks = [[v[i:i + length] for v in vectors] for i in range(0, size, length or 1)]

    def update(self, lr, a, b, p, g, *state):
        """Change one chunk of p and of the state vectors in place, but not of g; a and b are scratch."""
        raise NotImplementedError

    @property
    def current_lr(self):
        """The learning rate of the next step."""
        try:
            lr = self.lr(self.step_count) if callable(self.lr) else self.lr
        except OverflowError:  # in a power
            lr = math.inf
        if not (type(lr) is float and 0.0 <= lr < math.inf):
            lr = self._number(f"the rate of lr={self.lr} at step {self.step_count}", lr, "a number ≥ 0",
                              lambda x: x >= 0.0)
        return float(lr)

    def zero_grad(self):
        """Forget the gradients: the next backward starts from none."""
        for p in self.parameters:
            p.grad = None

    def gradient(self):
        """The gradient of all parameters as one vector, 0 where there was none. Each p.grad becomes a view of it, so
        `step` uses whatever is written into it."""
        self._collect_gradients()
        for p, g in zip(self.parameters, self.grad_views, strict=True):
            p.grad = g
        return self.flat_grad

    def step(self):
        """One update of all parameters from their gradients."""
        self._collect_gradients()
        lr, (divisor, factor) = self.current_lr, self._clip()
        self.step_count += 1
        flush = self.step_count % 100 == 0

        def work(chunks):
            longest = max((len(p) for p, *_ in chunks), default=0)
            scratch = [self.xp.empty_like(self.flat[:longest]) for _ in range(3)]
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
        if self.one_pass is not None and type(self.flat) in self.one_pass.forms:
            work([[self.flat, self.flat_grad, *self.state.values()]])
        else:
            in_parts(work, self.chunks)
        for p in self.parameters:
            p.version += 1

    def decay(self, lr, a, p, g, out):
        """The gradient with weight decay, in out. A subclass may change p instead; a is scratch."""
        # g ← g + λ p
        return self.xp.add(g, self.xp.multiply(p, self.weight_decay, out=a), out=out)

    def _clip(self):
        """The divisor and then the factor, numbers on the device or None, that bring ‖g‖ down to clip_norm.

        g · min(1, clip_norm / (‖g‖ + 1e-6)), with 1e-6 as in PyTorch.        (Pascanu et al. 2013, algorithm 1)
        The square of 1e20 is infinite in float32, that of 300 in float16. So float16 is summed in float32. If that does
        not suffice, and always on a GPU, g is first divided by its largest entry s: ‖g‖ = s ‖g/s‖.
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
        """Check that each parameter is still a view of `flat`, and bring its gradient into `flat_grad`."""
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
        """A gradient that someone has set for parameter i, after a check that g can hold it."""
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
        """Counters, copies of the state vectors on the host, shapes of the parameters, the class with the settings in
        `memory`, and the state of the schedule under `lr.`, if it has one. The model saves the parameters; the other
        settings are in the program.

        names    optional names of the parameters, in their order, by which load_state_dict finds them again
        """
        schedule = self.lr.state_dict() if hasattr(self.lr, "state_dict") else {}
        return ({name: getattr(self, name) for name in self.counters}
                | {name: to_cpu(vector).copy() for name, vector in self.state.items()}
                | {"parameters": described(type(self).__name__, self.parameters, names), "optimizer": self._kind()}
                | {f"lr.{name}": value for name, value in schedule.items()})

    def _kind(self):
        """The class and the settings on which the meaning of the state depends."""
        return {"class": type(self).__name__} | {name: np.array(getattr(self, name)).tolist() for name in self.memory}

    def load_state_dict(self, state, names=None):
        """Restore a state from state_dict, under the same names, of an optimizer of the same class and `memory`.

        ValueError or TypeError for any other state, which leaves everything as it was.
        """
        vectors, numbers = checked(self, self.state_dict(names), state)
        if hasattr(self.lr, "load_state_dict"):
            self.lr.load_state_dict({name[3:]: value for name, value in state.items() if name.startswith("lr.")})
        vars(self).update(numbers)
        for name, vector in self.state.items():
            vector[...] = to_device_of(vectors[name], vector)

    def __getstate__(self):
        """For copy and pickle: everything but the views, which are made anew over the parameters copied with it. A
        parameter that another optimizer has taken over stays with that one."""
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
    """Set denormal numbers to zero, in place. While a gradient stays zero, as for a dead unit, a running mean decays to
    a denormal number and, by rounding, stays there. Adam's step then takes ten times as long. (Not in float16, where
    such numbers are no slower, and needed.)"""
    if s.dtype.itemsize >= 4:
        s *= array_module(s).abs(s) >= np.finfo(s.dtype).tiny
