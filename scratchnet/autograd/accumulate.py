"""Where backward leaves a gradient: in `leaf.grad`, which for an optimizer's parameter is a part of one long vector.

An optimizer keeps all its parameters in one vector and their gradients in another, and lends each leaf its part of the
second, `leaf.grad_buffer`. Every gradient ends up there. The largest ones, the products xᵀ ∂L/∂y of dense layers, are
computed in place, which saves a copy: while a rule for one such leaf runs, `mode.destination` is the leaf's buffer, and
`product_into_destination` writes to it.
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
        leaf.grad = array_module(g).array(g)  # a copy: the walk shares arrays freely
    elif leaf.grad is buffer:
        buffer += g
    else:
        leaf.grad = array_module(g).asarray(leaf.grad + g)  # the sum of two arrays without axes is a number


def apply_in_place(rule, gy, arguments, outputs, parents):
    """rule(gy, *arguments), which may write its result into the buffer of the only leaf that it serves.

    outputs  pairs (which of the rule's gradients, for which of the parents)
    parents  the inputs of the op that need a gradient. A leaf that occurs twice would lose one of its gradients, so its
             buffer is not lent
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
    """The gradient a b, written to where the optimizer reads it if it belongs to one of the optimizer's parameters."""
    out = mode.destination
    if out is not None and out.shape == (*a.shape[:-1], b.shape[-1]) and out.dtype == a.dtype == b.dtype:
        return matrix_product(a, b, out)
    return a @ b
