"""The parts of a run whose state a checkpoint holds: models, optimizers, averages of weights."""

from scratchnet.averaging import ExponentialMovingAverage
from scratchnet.backend import kind_of, to_device_of
from scratchnet.optimizers import Optimizer
from scratchnet.training.world import mean_of


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


def average_buffers(world, parts):
    """Let the buffers on which the processes do not agree, like the running averages of batch norms, become their
    means."""
    for part in parts.values() if world.size > 1 else ():
        buffers = part.named_buffers() if hasattr(part, "named_buffers") else {}
        for name, values in world.differing(buffers).items():
            buffers[name][...] = to_device_of(mean_of(values), buffers[name])


def of_each_process(world, state, weights, step):
    """The entries of a state on which the processes do not agree: the mean under their name, and the value of each
    process k under process<k>.name. RuntimeError if weights, or entries of an optimizer, are among them."""
    found, differing = {}, world.differing(state)
    for name, values in differing.items():
        if name in weights or name.startswith("optimizer"):
            raise RuntimeError(f"step {step}: {name} is no longer the same in all processes. Average the gradients, "
                               f"world.average(optimizer), between backward and step. What changes a learning rate "
                               f"must be equal in all, like world.mean(loss)")
        found |= {name: mean_of(values)} | {f"process{k}.{name}": value for k, value in enumerate(values)}
    return found
