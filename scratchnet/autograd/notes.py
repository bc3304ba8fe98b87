"""Lists in which the engine collects, for the checker, its op calls, the steps of a walk, and changes of dtype."""

from contextlib import contextmanager

from scratchnet.autograd.tensor import mode


@contextmanager
def _noted(what):
    """Inside, a new list collects the events of this kind."""
    before, notes = getattr(mode, what), []
    setattr(mode, what, notes)
    try:
        yield notes
    finally:
        setattr(mode, what, before)


def recorded_calls():
    """Inside, a list collects (op, arguments, result) for every op call that goes on the tape."""
    return _noted("calls")


def recorded_walk():
    """Inside, a list collects (node, gy, [(parent, gradient)]) for every Node that a walk passes."""
    return _noted("passed")


def recorded_casts():
    """Inside, a list collects (op name, dtype of the gradient, of the input, of the op's result) for every gradient
    whose dtype is not that of its input."""
    return _noted("casts")
