"""The ops: one formula a function, its gradient right below. Here they become operators and methods of Tensor."""

from scratchnet.autograd import Tensor, astype, broadcast_to, sum_to
from scratchnet.backend import is_whole
from scratchnet.ops.arithmetic import add, divide, multiply, negative, power, square, subtract
from scratchnet.ops.convolution import conv2d, conv2d_transpose, conv2d_weight
from scratchnet.ops.elementwise import (
    abs,
    clip,
    cos,
    dropout,
    elu,
    exp,
    gelu,
    leaky_relu,
    log,
    maximum,
    minimum,
    relu,
    selu,
    sigmoid,
    sign,
    silu,
    sin,
    softplus,
    sqrt,
    tanh,
    where,
)
from scratchnet.ops.linear import dense, embedding, matmul
from scratchnet.ops.normalization import batch_norm, batch_norm_inference, layer_norm, log_softmax, softmax
from scratchnet.ops.pooling import (
    argmax_from_flat,
    argmax_to_flat,
    avg_pool,
    max_pool,
    max_pool_with_argmax,
    pool_at,
    unpool,
    upsample_nearest,
    window_spread,
    window_sum,
)
from scratchnet.ops.recurrent import lstm
from scratchnet.ops.reduction import cumsum, logsumexp, max, mean, min, norm, std, sum, var
from scratchnet.ops.shape import (
    concat,
    expand_dims,
    flatten,
    flip,
    getitem,
    pad,
    repeat,
    reshape,
    scatter,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
)

__all__ = ["abs", "add", "argmax_from_flat", "argmax_to_flat", "astype", "avg_pool", "batch_norm",
           "batch_norm_inference", "broadcast_to", "clip", "concat", "conv2d", "conv2d_transpose", "conv2d_weight",
           "cos", "cumsum", "dense", "divide", "dropout", "elu", "embedding", "exp", "expand_dims", "flatten", "flip",
           "gelu", "getitem", "layer_norm", "leaky_relu", "log", "log_softmax", "logsumexp", "lstm", "matmul", "max",
           "max_pool", "max_pool_with_argmax", "maximum", "mean", "min", "minimum", "multiply", "negative", "norm",
           "pad", "pool_at", "power", "relu", "repeat", "reshape", "scatter", "selu", "sigmoid", "sign", "silu", "sin",
           "softmax", "softplus", "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum", "sum_to",
           "swapaxes", "tanh", "tile", "transpose", "unpool", "upsample_nearest", "var", "where", "window_spread",
           "window_sum"]


def _shape_method(op):
    """A method that is called x.reshape(2, 3) or x.reshape((2, 3))."""
    def method(self, *numbers):
        return op(self, numbers[0] if len(numbers) == 1 and not is_whole(numbers[0]) else numbers)
    return method


_transposed = _shape_method(transpose)

for _symbol, _op in {"add": add, "sub": subtract, "mul": multiply, "truediv": divide, "pow": power,
                     "matmul": matmul}.items():
    setattr(Tensor, f"__{_symbol}__", lambda self, other, op=_op: op(self, other))
    setattr(Tensor, f"__r{_symbol}__", lambda self, other, op=_op: op(other, self))

Tensor.__neg__, Tensor.__abs__, Tensor.__getitem__ = negative, abs, getitem

for _op in (sum, mean, var, std, max, min, norm, cumsum, logsumexp, exp, log, sqrt, tanh, sigmoid, relu, clip, square,
            flatten, swapaxes, squeeze, expand_dims, astype):
    setattr(Tensor, _op.__name__, _op)

Tensor.reshape = _shape_method(reshape)
Tensor.transpose = lambda self, *axes: _transposed(self, *axes) if axes else transpose(self)
Tensor.T = property(transpose)
