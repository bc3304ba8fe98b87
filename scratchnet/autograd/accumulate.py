"""Where backward leaves a gradient: in `leaf.grad`, which for an optimizer's parameter is a part of one long vector.

An optimizer keeps all its parameters in one vector and their gradients in another, and lends each leaf its part of the
latter, `leaf.grad_buffer`. Every gradient ends up there. The largest ones, the products xᵀ ∂L/∂y of dense layers, are
computed right in their place, which saves a copy: while a rule runs that serves one such leaf, `mode.destination` is
that place, and `product_into_destination` writes to it.
"""

from scratchnet.autograd.tensor import Tensor, data_of, mode
from scratchnet.backend import array_module
from scratchnet.backend.products import matrix_product


def accumulate(leaf, g):
    """leaf.grad ← leaf.grad + g"""
    g, buffer = data_of(g), leaf.grad_buffer
    if leaf.grad is None and buffer is not None:
        if g is not buffer:
            buffer[...] = g
        leaf.grad = buffer
    elif leaf.grad is None:
        leaf.grad = array_module(g).array(g)  # a copy, since the walk shares arrays freely
    elif leaf.grad is buffer:
        buffer += g
    else:
        leaf.grad = array_module(g).asarray(leaf.grad + g)  # a sum of arrays without axes is a number


def apply_in_place(rule, gy, arguments, outputs, parents):
    """rule(gy, *arguments), which may write its result into the buffer of the one leaf that it serves.

    outputs  pairs (which of the rule's gradients, for which of the parents)
    parents  the inputs of the op that need a gradient; a leaf that is there twice would lose its other gradient
    """
    leaf = parents[outputs[0][1]]
    if (len(outputs) > 1 or not isinstance(leaf, Tensor) or leaf.grad_buffer is None or leaf.grad is not None
            or sum(p is leaf for p in parents) > 1):
        return rule(gy, *arguments)
    mode.destination = leaf.grad_buffer
    try:
        return rule(gy, *arguments)
    finally:
        mode.destination = None


def product_into_destination(a, b):
    """a b, a gradient, written where the optimizer reads it if this is the gradient of one of its parameters."""
    out = mode.destination
    if out is not None and out.shape == (*a.shape[:-1], b.shape[-1]) and out.dtype == a.dtype == b.dtype:
        return matrix_product(a, b, out)
    return a @ b
