"""Parameters as one flat vector."""

from collections.abc import Iterable

from scratchnet.autograd import Tensor
from scratchnet.backend import array_module, kind_of


def leaves(who, parameters):
    """The parameters as a list, each once, after a check that they can lie in one vector."""
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


def one_vector(parameters):
    """The array module of the parameters, a vector with a copy of all their values, and its views in their shapes."""
    xp = array_module(parameters[0].data)
    flat = xp.concatenate([p.data.reshape(-1) for p in parameters])
    return xp, flat, views_of(flat, parameters)


def views_of(flat, parameters):
    """Views of the flat vector, one for each parameter and in its shape."""
    views, start = [], 0
    for p in parameters:
        views.append(flat[start:start + p.size].reshape(p.shape))
        start += p.size
    return views
