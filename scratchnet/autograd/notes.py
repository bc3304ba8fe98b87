"""What the checker asks the engine to note while it runs: op calls, the walk, and changes of dtype."""

from contextlib import contextmanager

from scratchnet.autograd.tensor import mode


@contextmanager
def _noted(what):
    """Inside, a new list takes what is noted under this name in `mode`."""
    before, notes = getattr(mode, what), []
    setattr(mode, what, notes)
    try:
        yield notes
    finally:
        setattr(mode, what, before)


def recorded_calls():
    """Inside, every op call that goes on the tape is noted in the list that is given: (op, arguments, result)."""
    return _noted("calls")


def recorded_walk():
    """Inside, every Node that a walk passes is noted in the list that is given: (node, gy, [(parent, gradient)])."""
    return _noted("passed")


def recorded_casts():
    """Inside, every gradient that has another dtype than its input is noted in the list that is given: (op name, dtype
    of the gradient, of the input, of the op's result)."""
    return _noted("casts")
