"""Module: a function with weights. It finds its parameters by looking at its own attributes.

    a Parameter             is trained
    an array                is a buffer: saved and moved, but not trained (running averages)
    a Module, or a list     is a part, with parameters of its own
"""

from contextlib import contextmanager

import numpy as np

from scratchnet.backend import array_module, to_cpu, to_gpu
from scratchnet.tensor import Tensor


class Parameter(Tensor):
    """A leaf Tensor that a Module owns and an optimizer changes."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


class Module:
    """Base of layers and models: finds parameters and buffers, saves, loads and moves them, and prints itself."""

    training = True

    def children(self):
        """The parts, name → Module, in the order in which they were assigned."""
        found = {}
        for name, value in vars(self).items():
            if isinstance(value, Module):
                found[name] = value
            elif isinstance(value, (list, tuple)):
                found.update({f"{name}.{i}": part for i, part in enumerate(value) if isinstance(part, Module)})
        return found

    def _named(self, wanted, prefix=""):
        """(name, owner, attribute, value) for every attribute that is wanted, here and in all parts."""
        for name, value in vars(self).items():
            if wanted(value):
                yield prefix + name, self, name, value
        for name, child in self.children().items():
            yield from child._named(wanted, f"{prefix}{name}.")

    def named_parameters(self):
        """Name → Parameter, in a stable order; one that is shared stands under its first name only."""
        found, seen = {}, set()
        for name, _, _, p in self._named(lambda v: isinstance(v, Parameter)):
            if id(p) not in seen:
                seen.add(id(p))
                found[name] = p
        return found

    def named_buffers(self):
        """Name → array, in a stable order."""
        return {name: b for name, _, _, b in self._named(_is_array)}

    def parameters(self):
        """All Parameters, each once."""
        return list(self.named_parameters().values())

    def state_dict(self):
        """Name → NumPy copy of every parameter and buffer."""
        arrays = {name: p.data for name, p in self.named_parameters().items()} | self.named_buffers()
        return {name: to_cpu(a).copy() for name, a in arrays.items()}

    def load_state_dict(self, state):
        """Copy what state_dict gave into place. All names and shapes are checked before anything is changed."""
        mine = {name: p.data for name, p in self.named_parameters().items()} | self.named_buffers()
        faults = [f"missing: {name} {a.shape}" for name, a in mine.items() if name not in state]
        faults += [f"unexpected: {name} {a.shape}" for name, a in state.items() if name not in mine]
        faults += [f"{name}: shape {state[name].shape} instead of {a.shape}" for name, a in mine.items()
                   if name in state and state[name].shape != a.shape]
        if faults:
            raise ValueError(f"this state does not belong to this {type(self).__name__}: " + "; ".join(faults))
        for name, a in mine.items():
            a[...] = array_module(a).asarray(state[name], dtype=a.dtype)
        for p in self.parameters():
            p.version += 1

    @contextmanager
    def preserved(self):
        """Inside, whatever is done to the data of parameters and to buffers is undone at the end."""
        parameters = [(p, p.data, p.data.copy(), p.version) for p in self.parameters()]
        buffers = [(owner, attribute, b, b.copy()) for _, owner, attribute, b in self._named(_is_array)]
        try:
            yield
        finally:
            for p, data, values, version in parameters:
                data[...] = values
                p.data = data
                p.version += p.version != version  # changed inside: what was recorded there is stale
            for owner, attribute, b, values in buffers:
                b[...] = values
                setattr(owner, attribute, b)

    @contextmanager
    def substituted(self, tensors):
        """Inside, these Tensors, one for each of parameters(), stand in their places; afterwards the parameters again.
        The context gives a function that exchanges them for others: so a loss can be a function of computed weights."""
        places = [[(owner, attribute) for _, owner, attribute, value in self._named(lambda v, p=p: v is p)]
                  for p in self.parameters()]
        parameters = self.parameters()

        def substitute(tensors):
            for where, tensor in zip(places, tensors, strict=True):
                for owner, attribute in where:
                    setattr(owner, attribute, tensor)

        try:
            substitute(tensors)
            yield substitute
        finally:
            substitute(parameters)

    @contextmanager
    def frozen(self):
        """Inside, no parameter requires a gradient: it passes through to the inputs, as in the generator's step of a
        GAN through its discriminator. Buffers, like the running averages of a batch norm, do move."""
        before = [(p, p.requires_grad) for p in self.parameters()]
        try:
            for p, _ in before:
                p.requires_grad = False
            yield
        finally:
            for p, required in before:
                p.requires_grad = required

    def train(self):
        """Training mode: batch statistics, dropout."""
        return self._set_training(True)

    def eval(self):
        """Evaluation mode: running averages, no dropout."""
        return self._set_training(False)

    def _set_training(self, training):
        self.training = training
        for child in self.children().values():
            child._set_training(training)
        return self

    def move(self, convert):
        """Replace every parameter's data and every buffer a by convert(a). Make optimizers after moving."""
        for p in self.parameters():
            p.data, p.grad, p.grad_buffer = convert(p.data), None, None
        for _, owner, attribute, buffer in list(self._named(_is_array)):
            setattr(owner, attribute, convert(buffer))
        return self

    def to_gpu(self):
        return self.move(to_gpu)

    def to_cpu(self):
        return self.move(to_cpu)

    def describe(self):
        """What a line of repr says of this layer behind its class name."""
        return ""

    def __repr__(self):
        rows = list(self._rows("", "", set()))
        widths = [max(len(row[i]) for row in rows) for i in (0, 1, 2)]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
        return "\n".join(lines)

    def _rows(self, indent, name, seen):
        """Rows (name, what, number of weights); a Parameter that stood in an earlier row does not count again."""
        count = sum(p.size for p in self.parameters() if id(p) not in seen)
        what = f"{type(self).__name__} {self.describe()}".rstrip()
        yield f"{indent}{name}", what, f"{count:,} parameters" if not indent else f"{count:,}" if count else ""
        for name, value in vars(self).items():
            if isinstance(value, Parameter) and self.children():
                count = 0 if id(value) in seen else value.size
                yield f"{indent}  {name}", f"Parameter {value.shape}", f"{count:,}"
                seen.add(id(value))
        for name, child in self.children().items():
            yield from child._rows(indent + "  ", name, seen)
        seen.update(id(p) for p in self.parameters())


def _is_array(value):
    """Whether an attribute is a buffer. A NumPy scalar, np.float64(0.1), is a setting: it cannot be written to."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, (Tensor, np.generic))
