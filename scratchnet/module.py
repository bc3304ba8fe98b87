"""Module: a function with weights. It finds its parameters by looking at its own attributes.

    a Parameter                    is trained
    an array                       is a buffer: saved and moved, but not trained (running averages)
    a Module                       is a part, with parameters of its own
    a sequence or a mapping        holds any of these, at any depth: `ws.0.1`, `parts.encoder`

Other objects give their contents no names. If a Parameter or a Module is found only in such an object, in a partial or
in the class, `parameters` raises a TypeError. It does not look into functions and methods.
"""

import dataclasses
import functools
import types
from collections.abc import Mapping, MappingView, Sequence, Set
from contextlib import contextmanager

import numpy as np

from scratchnet.autograd import Tensor
from scratchnet.backend import array_module, kind_of, to_cpu, to_gpu


class Parameter(Tensor):
    """A leaf Tensor that a Module owns and an optimizer changes."""

    __slots__ = ()

    def __init__(self, data):
        super().__init__(data, requires_grad=True)


class Module:
    """The base of layers and models. It finds parameters and buffers, saves, loads and moves them, and prints itself.
    """

    training = True

    def _held(self):
        """(path, value) for every Parameter, array and Module in the attributes and their containers.

        A path is an attribute with the indices and keys that follow it. Joined by dots, it is the name.
        """
        for name, value in vars(self).items():
            if type(value) not in _SETTINGS:
                yield from _leaves(value, (name,), type(self).__name__)

    def children(self):
        """The parts, name → Module, in the order of their assignment."""
        return {_name(path): value for path, value in self._held() if isinstance(value, Module)}

    def _modules(self):
        """(prefix of its names, Module, its _held()) for this Module and all parts, each once, so that a part may refer
        to the whole."""
        waiting, seen = [("", self)], set()
        while waiting:
            prefix, module = waiting.pop()
            if id(module) not in seen:
                seen.add(id(module))
                held = list(module._held())
                yield prefix, module, held
                waiting += [(f"{prefix}{_name(path)}.", part) for path, part in held[::-1] if isinstance(part, Module)]

    def _named(self, wanted):
        """(name, owner, path, value) for every value with wanted(value), here and in all parts."""
        names = {}
        for prefix, module, held in self._modules():
            for path, value in held:
                name = prefix + _name(path)
                if names.setdefault(name, value) is not value:
                    raise ValueError(f"{type(self).__name__}: two of its parts have the name {name!r}; rename "
                                     f"the attribute with a dot in its name")
                if wanted(value):
                    yield name, module, path, value

    def named_parameters(self):
        """Name → Parameter, in a stable order; a shared one appears under its first name only.

        TypeError for a Parameter or a Module without a name, ValueError for two with the same name.
        """
        found, seen = {}, {id(self): self}
        for name, _, _, value in self._named(_is_named):
            if id(value) not in seen:
                seen[id(value)] = value
                if _is_parameter(value):
                    found[name] = value
        _refuse_lost(seen)
        return found

    def named_buffers(self):
        """Name → array, in a stable order; those of a shared part appear under its first name only."""
        return {name: b for name, _, _, b in self._named(_is_array)}

    def parameters(self):
        """All Parameters, each once."""
        return list(self.named_parameters().values())

    def zero_grad(self):
        """Forget the gradients of all parameters: the next backward starts from none."""
        for p in self.parameters():
            p.grad = None

    def state_dict(self):
        """Name → NumPy copy of every parameter and buffer."""
        arrays = {name: p.data for name, p in self.named_parameters().items()} | self.named_buffers()
        return {name: to_cpu(a).copy() for name, a in arrays.items()}

    def load_state_dict(self, state):
        """Copy the arrays of a state_dict into place.

        Names, shapes, kinds and values of all are checked before any is changed. ValueError if they differ, if a weight
        is not finite, or if an entry is NaN or too large for its new dtype.
        """
        if not isinstance(state, dict):
            raise TypeError(f"load_state_dict: expected a dict, name → array, got {kind_of(state)}")
        parameters = {name: p.data for name, p in self.named_parameters().items()}
        mine = parameters | self.named_buffers()
        faults = [f"missing: {name} {a.shape}" for name, a in mine.items() if name not in state]
        faults += [f"unexpected: {name} {getattr(a, 'shape', '')}".rstrip() for name, a in state.items()
                   if name not in mine]
        faults += [f"{name}: {fault}" for name, a in mine.items() if name in state
                   and (fault := _misfit(state[name], a, name in parameters))]
        if faults:
            raise ValueError(f"this state does not belong to this {type(self).__name__}: " + "; ".join(faults))
        for name, a in mine.items():
            a[...] = array_module(a).asarray(state[name], dtype=a.dtype)
        for p in self.parameters():
            p.version += 1

    @contextmanager
    def preserved(self):
        """Afterwards, undo all changes to buffers and to the data of parameters."""
        parameters = [(p, p.data, p.data.copy(), p.version) for p in self.parameters()]
        buffers = [(owner, path, getattr(owner, path[0]), b, b.copy()) for _, owner, path, b in self._named(_is_array)]
        try:
            yield
        finally:
            for p, data, values, version in parameters:
                data[...] = values
                p.data = data
                p.version += p.version != version  # changed inside, so tapes recorded there are stale
            for owner, (attribute, *rest), held, b, values in buffers:
                if not _is_read_only(b):
                    b[...] = values
                setattr(owner, attribute, _with(held, rest, b))

    @contextmanager
    def substituted(self, tensors):
        """Inside, these Tensors replace parameters(), one each; afterwards the parameters are back.

        The context yields a function that exchanges them for others. So a loss can be a function of computed weights.
        """
        parameters, places = self.parameters(), {}
        for _, owner, path, p in self._named(_is_parameter):
            places.setdefault(id(p), []).append((owner, path))

        def substitute(tensors):
            for p, tensor in zip(parameters, tensors, strict=True):
                for owner, path in places[id(p)]:
                    _put(owner, path, tensor)

        try:
            substitute(tensors)
            yield substitute
        finally:
            substitute(parameters)

    @contextmanager
    def frozen(self):
        """Inside, no parameter requires a gradient. Gradients still pass through to the inputs, as from a GAN's
        discriminator to its generator. Buffers, like the running averages of a batch norm, do change."""
        found = {id(p): p for _, _, held in self._modules() for _, p in held if _is_parameter(p)}
        before = [(p, p.requires_grad) for p in found.values()]
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
        for _, module, _ in list(self._modules()):
            module.training = training
        return self

    def move(self, convert):
        """Replace every parameter's data and every buffer a by convert(a). Make optimizers after moving."""
        for p in self.parameters():
            p.data, p.grad, p.grad_buffer = convert(p.data), None, None
        for _, owner, path, buffer in list(self._named(_is_array)):
            _put(owner, path, convert(buffer))
        return self

    def to_gpu(self):
        """Move parameters and buffers to the GPU. Make optimizers after moving."""
        return self.move(to_gpu)

    def to_cpu(self):
        """Move parameters and buffers to the host. Make optimizers after moving."""
        return self.move(to_cpu)

    def describe(self):
        """The words after the class name in this layer's line of repr."""
        return ""

    def __repr__(self):
        rows = list(_flat(self._rows("", "", set(), set())))
        widths = [max(len(row[i]) for row in rows) for i in (0, 1, 2)]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
        return "\n".join(lines)

    def _rows(self, indent, name, counted, shown):
        """Rows (name, what, number of weights), and for each part the generator of its rows. A Parameter counted in an
        earlier row does not count again, and a Module shown before has no rows again."""
        what = f"{type(self).__name__} {self.describe()}".rstrip()
        if id(self) in shown:
            yield f"{indent}{name}", f"{what} (above)", ""
            return
        above = set(shown)
        shown.add(id(self))
        mine = [p for _, owner, held in self._modules() if id(owner) not in above for _, p in held if _is_parameter(p)]
        count = sum(p.size for p in {id(p): p for p in mine}.values() if id(p) not in counted)
        yield f"{indent}{name}", what, f"{count:,} parameters" if not indent else f"{count:,}" if count else ""
        children = self.children()
        for path, value in self._held():
            if _is_parameter(value) and children:
                count = 0 if id(value) in counted else value.size
                yield f"{indent}  {_name(path)}", f"Parameter {value.shape}", f"{count:,}"
                counted.add(id(value))
        for name, child in children.items():
            yield child._rows(indent + "  ", name, counted, shown)
        counted.update(map(id, mine))


def _leaves(value, path, who, above=()):
    """(path, value) for every Parameter, array and Module in a value: the value itself, or the contents of containers.
    """
    if _is_named(value) or _is_array(value):
        if isinstance(value, np.ndarray) and value.dtype.kind == "O" and any(map(_is_named, value.flat)):
            raise TypeError(f"{who}: {_name(path)} is an array of objects; put Parameters and parts into a list")
        yield path, value
    elif isinstance(value, (set, frozenset)):
        if any(map(_is_named, value)):
            raise TypeError(f"{who}: {_name(path)} is a set, where Parameters and parts have no order and no name; "
                            f"put them into a list or a dict")
    elif _is_container(value) and id(value) not in above:
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            if type(part) in _SETTINGS:
                continue
            for found in _leaves(part, (*path, key), who, (*above, id(value))):
                if isinstance(value, Mapping) and not (isinstance(key, str) and key and "." not in key):
                    raise TypeError(f"{who}: the dict {_name(path)} has the key {key!r}; where Parameters, arrays and "
                                    f"parts stand, keys are strings without a dot, for they become names")
                yield found


# Types that can hold no Parameter. Most settings are of these types, and are skipped at once.
_SETTINGS = {bool, int, float, complex, str, bytes, bytearray, range, memoryview, type(None), types.FunctionType,
             types.BuiltinFunctionType, np.dtype, np.random.Generator}


def _is_container(value):
    return isinstance(value, (Mapping, Sequence)) and not isinstance(value, (str, bytes, bytearray, range, memoryview))


def _refuse_lost(found):
    """TypeError if a Module in found, id → value, has a Parameter or Module that is not there, having no name."""
    for module in found.values():
        if not isinstance(module, Module):
            continue
        who = type(module).__name__
        for name, value in vars(module).items():
            if type(value) not in _SETTINGS and any(id(part) not in found for part in _nameless(value)):
                raise TypeError(f"{who}: {name} is {kind_of(value).partition(';')[0]} and holds Parameters or Modules "
                                f"where they get no name, so nothing would train or save them; put them into "
                                f"attributes, lists or dicts, or make their holder a Module")
        for name, value in _class_attributes(type(module)):
            if name not in vars(module) and any(id(part) not in found for part in _nameless(value)):
                raise TypeError(f"{who}: {name} is an attribute of the class, which all instances would share; "
                                f"assign it in __init__, self.{name} = …")


def _nameless(value, objects=2):
    """Every Parameter and Module in a value, in containers and in objects, named or not. `objects` is the number of
    levels of objects in objects to search."""
    waiting, seen = [(value, objects)], set()
    while waiting:
        value, objects = waiting.pop()
        if _is_named(value):
            yield value
        elif type(value) not in _SETTINGS and not _is_array(value) and id(value) not in seen:
            seen.add(id(value))
            if _is_container(value) or isinstance(value, (Set, MappingView)):
                waiting += [(part, objects) for part in value]
                waiting += [(part, objects) for part in (value.values() if isinstance(value, Mapping) else ())]
            elif objects:
                waiting += [(part, objects - 1) for part in _attributes(value)]


def _attributes(value):
    """The contents of an object: the arguments of a partial or an iterator, the variables of a generator, attributes.
    """
    if isinstance(value, functools.partial):
        return value.func, *value.args, *value.keywords.values()
    if isinstance(value, types.GeneratorType):
        return value.gi_frame.f_locals.values() if value.gi_frame else ()
    if hasattr(value, "__next__") and type(value).__module__ == "builtins":  # iter(…), map, zip: this takes nothing out
        return value.__reduce__()[1]
    if isinstance(value, (type, types.ModuleType)):
        return ()
    if dataclasses.is_dataclass(value):  # with slots it has no __dict__
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return getattr(value, "__dict__", {}).values()


def _class_attributes(cls):
    """(name, value) of the attributes of a class and its bases, up to Module, except functions and settings."""
    for base in cls.__mro__[:cls.__mro__.index(Module)]:
        for name, value in vars(base).items():
            if type(value) not in _SETTINGS and not name.startswith("__"):
                yield name, value


def _flat(rows):
    """The items of a generator, where each item that is itself a generator yields its items, at any depth."""
    open_ones = [rows]
    while open_ones:
        item = next(open_ones[-1], None)
        if item is None:
            open_ones.pop()
        elif isinstance(item, types.GeneratorType):
            open_ones.append(item)
        else:
            yield item


def _put(owner, path, value):
    """owner.attribute[i][key] … = value, for a path (attribute, i, key, …)"""
    attribute, *rest = path
    setattr(owner, attribute, _with(getattr(owner, attribute), rest, value))


def _with(container, path, value):
    """The container with a value at a path. Tuples and read-only mappings are made anew, others changed in place."""
    if not path:
        return value
    key, *rest = path
    part = _with(container[key], rest, value)
    if part is container[key]:
        return container
    if hasattr(container, "__setitem__"):
        container[key] = part
        return container
    if isinstance(container, types.MappingProxyType):
        return types.MappingProxyType({**container, key: part})
    if not isinstance(container, tuple):
        raise TypeError(f"a {type(container).__name__} cannot be changed, so no array in it can be moved or exchanged; "
                        f"use a list or a dict")
    parts = (*container[:key], part, *container[key + 1:])
    return container._make(parts) if hasattr(container, "_make") else parts


def _name(path):
    return ".".join(map(str, path))


def _is_parameter(value):
    return isinstance(value, Parameter)


def _is_named(value):
    return isinstance(value, (Module, Parameter))


def _is_array(value):
    """Whether a value is a buffer. A NumPy scalar like np.float64(0.1) is a setting, for it cannot be written to."""
    return isinstance(value, np.ndarray) or (hasattr(value, "__array_namespace__")
                                             and not isinstance(value, (np.generic, type)))


def _is_read_only(a):
    return isinstance(a, np.ndarray) and not a.flags.writeable


def _misfit(value, mine, finite):
    """The reason why a value of a state cannot be copied into an array of a Module, or None if it can."""
    if not _is_array(value) or isinstance(value, np.ma.MaskedArray):
        return f"expected an array, got {kind_of(value)}"
    if _is_read_only(mine):
        return "is read-only here, so nothing can be copied into it"
    if value.shape != mine.shape:
        return f"shape {value.shape} instead of {mine.shape}"
    if value.dtype.kind != mine.dtype.kind and {value.dtype.kind, mine.dtype.kind} != {"i", "u"}:
        return f"{value.dtype} instead of {mine.dtype}"
    given = to_cpu(value)
    with np.errstate(over="ignore"):
        kept = given.astype(mine.dtype)
    if mine.dtype.kind in "iu":
        return f"has numbers that {mine.dtype} cannot hold" if (kept != given).any() else None
    if mine.dtype.kind not in "fc":
        return None
    if np.isnan(kept).any() or (finite and not np.isfinite(given).all()):
        return "has NaN or infinite entries"
    return f"has entries too large for {mine.dtype}" if (np.isinf(kept) != np.isinf(given)).any() else None
