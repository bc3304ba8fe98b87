"""The parts of a run whose state a checkpoint holds: models, optimizers, averages of weights."""

from scratchnet.averaging import ExponentialMovingAverage
from scratchnet.backend import kind_of
from scratchnet.optimizers import Optimizer


def named_parts(kind, parts):
    """kind.name → part for a dict of parts, kind → part for a single one; each must have a state."""
    if isinstance(parts, dict):
        for name in parts:
            if not isinstance(name, str) or "." in name or not name:
                raise ValueError(f"Run: {name!r} cannot name a {kind}, expected a string without dots")
        named = {f"{kind}.{name}": part for name, part in parts.items()}
    else:
        named = {kind: parts}
    for name, part in named.items():
        if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
            raise TypeError(f"Run: {name} must have state_dict and load_state_dict, got {kind_of(part)}")
    return named


def weights_of(parts):
    """Names, such as "model.w", of all Parameters of the parts that are Modules."""
    return [f"{part}.{name}" for part, thing in parts.items() if hasattr(thing, "named_parameters")
            for name in thing.named_parameters()]


def parameter_names(parts):
    """Optimizer or average → the names of its parameters in the models. By these names its state is saved and loaded,
    so the order of the parameters may change."""
    names = {}
    for part, thing in parts.items():
        for name, p in thing.named_parameters().items() if hasattr(thing, "named_parameters") else ():
            names.setdefault(id(p), f"{part}.{name}")
    found = {}
    for part, thing in parts.items():
        if isinstance(thing, (Optimizer, ExponentialMovingAverage)):
            for i, p in enumerate(thing.parameters):
                if id(p) not in names:
                    raise ValueError(f"Run: parameter {i} of {part}, of shape {p.shape}, belongs to none of the "
                                     f"models, so no checkpoint would hold it; give the run its model as well")
            found[part] = [names[id(p)] for p in thing.parameters]
    return found
