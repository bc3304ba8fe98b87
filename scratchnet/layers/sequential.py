"""Layers in sequence, and checks of the images that such a net reads or draws."""

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.backend import kind_of
from scratchnet.layers.shape import Flatten, Reshape
from scratchnet.losses import check_interval
from scratchnet.module import Module


class Sequential(Module):
    """y = fₙ(… f₂(f₁(x))), where each f is a layer or a plain function. TypeError for a step that is neither."""

    def __init__(self, *steps):
        for step in steps:
            if not callable(step):
                raise TypeError(f"Sequential: each step is a layer or a function, got {kind_of(step)}")
        self.steps = list(steps)

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def describe(self):
        return " → ".join(type(s).__name__ if isinstance(s, Module) else getattr(s, "__name__", repr(s))
                          for s in self.steps)


def check_digits(who, x):
    """ValueError unless x holds images of 28 × 28 pixels (N, 28, 28, 1)."""
    check_arrays(who, images=x)
    if x.shape[1:] != (28, 28, 1):
        raise ValueError(f"{who}: images {x.shape}, expected (N, 28, 28, 1): channels come last")


def check_drawn(who, real, net):
    """Raise unless real samples have the range of the net's: [0, 1] if its last step is a sigmoid, [−1, 1] if a tanh.

    Otherwise a discriminator would tell the two apart by their scale. TypeError for integers, ValueError for the range.
    """
    check_arrays(who, real=real)
    drawn = _DRAWN.get(_last_step(net))
    if drawn and real.dtype.kind not in "fc":
        raise TypeError(f"{who}: real samples are {real.dtype}, expected floating-point numbers; for pixels 0 … 255 "
                        f"take x / 255 in float32")
    if drawn:
        check_interval(f"{who}: generated samples lie in {list(drawn)}, so real samples", real, *drawn)


_DRAWN = {ops.sigmoid: (0, 1), ops.tanh: (-1, 1)}


def _last_step(net):
    """The step that sets the values of a net's result: the last of a Sequential, or a Module's attribute `ends_in`."""
    while isinstance(net, Module):
        steps = [step for step in getattr(net, "steps", ()) if not isinstance(step, (Flatten, Reshape))]
        net = steps[-1] if steps else getattr(net, "net", None) or getattr(net, "ends_in", None)
    return net
