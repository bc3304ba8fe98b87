"""The three ops that the walk itself needs: sum_to and broadcast_to, each the adjoint of the other, and astype."""

from scratchnet.autograd.differentiable import differentiable
from scratchnet.backend import array_module
from scratchnet.backend.products import column_sum


@differentiable
def sum_to(x, shape):
    """y = x summed over the axes along which broadcasting `shape` to x.shape repeats entries; adjoint to broadcast_to.

    ∂L/∂x = broadcast_to(∂L/∂y, x.shape)

    >>> sum_to(np.ones((2, 3)), (3,))
    array([2., 2., 2.])
    """
    lead = x.ndim - len(shape)
    if x.shape[lead:] == tuple(shape) and lead:
        return column_sum(x, lead)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1)
    return x.sum(axis=axes, keepdims=True).reshape(shape)


@sum_to.backward
def _(gy, x_shape):
    return broadcast_to(gy, x_shape)


@differentiable
def broadcast_to(x, shape):
    """y = x repeated along new axes and axes of length 1, to get `shape` (a read-only view).

    ∂L/∂x = sum_to(∂L/∂y, x.shape)
    """
    return array_module(x).broadcast_to(x, shape)


@broadcast_to.backward
def _(gy, x_shape):
    return sum_to(gy, x_shape)


@differentiable
def astype(x, dtype):
    """y = x in another dtype        ∂L/∂x = ∂L/∂y in the dtype of x (the walk converts it)

    As integers or booleans, y is a constant.
    """
    return x.astype(dtype)


@astype.backward
def _(gy):
    return gy
