"""A row for every op, loss and composite function: a call with inputs of unequal sizes, away from kinks.

cases(rng) gives name → (function, inputs). Shapes, strides and paddings are drawn from rng. The tests of gradients, of
laws, of the stand-in for CuPy and of a GPU all run over this table.
"""

import gc
import weakref

import numpy as np

from scratchnet import games, layers, losses, ops
from scratchnet.autograd import astype, broadcast_to, data_of, sum_to
from scratchnet.backend import to_device_of


def apart(rng, *shape):
    """Distinct values, none near 0: no ties for max, no kinks for relu and abs."""
    size = int(np.prod(shape))
    values = (rng.permutation(size) + 1.0 + 0.3 * rng.random(size)) / (size + 1) * 2.0
    return (values * rng.choice([-1, 1], size)).reshape(shape)


def positive(rng, *shape):
    return 0.5 + rng.random(shape)


def images(rng, channels=3):
    return apart(rng, 2, rng.integers(5, 8), rng.integers(4, 7), channels)


def stride_and_padding(rng):
    stride = [1, 1, 2, (1, 2), (3, 2)][rng.integers(5)]
    padding = ["same", "valid", 1, ((0, 1), (2, 0))][rng.integers(4)]
    return stride, padding


def convolution(rng):
    x, (stride, padding) = images(rng), stride_and_padding(rng)
    kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
    channels = int(rng.choice([1, 2, 3, 5, 40]))
    w, b = rng.normal(size=(*kernel, 3, channels)), rng.normal(size=channels)
    return x, w, b, stride, padding, ops.conv2d(x, w, b, stride, padding)


def pooling(rng):
    x, (stride, padding) = images(rng), stride_and_padding(rng)
    size = (int(rng.integers(2, 4)), int(rng.integers(1, 4)))
    padding = padding if isinstance(padding, str) else "valid"
    y, argmax = ops.max_pool_with_argmax(x, size, stride, padding)
    return x, y, argmax, (size, stride, padding), x.shape[1:3]


def broadcasting(rng):
    """Two arrays that broadcast against each other in a random pattern: missing axes, axes of length 1, one number."""
    shape = [int(n) for n in rng.permutation([2, 3, 4])[:rng.integers(0, 4)]]
    a = [1 if rng.random() < 0.2 else n for n in shape]
    b = [1 if rng.random() < 0.2 else n for n in shape][rng.integers(0, len(shape) + 1):]
    a, b = (a, b) if rng.random() < 0.5 else (b, a)
    return apart(rng, *a), apart(rng, *b) * 1.1


def cases(rng):
    x, a, b = apart(rng, 3, 4), apart(rng, 2, 3, 4), apart(rng, 3, 1)
    p, q = broadcasting(rng)
    axis = [None, 0, 1, -1, (0, 2), (0, 1, 2)][rng.integers(6)]
    keepdims = bool(rng.integers(2))
    rows = {
        "add": (ops.add, p, q), "subtract": (ops.subtract, p, q), "multiply": (ops.multiply, p, q),
        "divide": (ops.divide, p, q + 3.0), "negative": (ops.negative, a), "square": (ops.square, a),
        "power": (ops.power, positive(rng, 3, 4), rng.normal(size=4)),
        "matmul": (ops.matmul, a, rng.normal(size=(4, 5))),
        "exp": (ops.exp, a), "log": (ops.log, positive(rng, 3, 4)), "sqrt": (ops.sqrt, positive(rng, 3, 4)),
        "sin": (ops.sin, a), "cos": (ops.cos, a), "abs": (ops.abs, a), "sign": (ops.sign, a),
        "clip": (lambda x: ops.clip(x, -0.77, 0.51), apart(rng, 5, 7)),
        "maximum": (ops.maximum, p, q), "minimum": (ops.minimum, p, q),
        "where": (lambda p, q: ops.where(_like(p, np.arange(4) % 2 == 0), p, q), x, b),
        **{f.__name__: (f, apart(rng, 3, 5) * 2) for f in (
            ops.tanh, ops.sigmoid, ops.softplus, ops.relu, ops.leaky_relu, ops.elu, ops.selu, ops.silu, ops.gelu)},
        "dropout": (lambda x: ops.dropout(x, 0.4, np.random.default_rng(5)), a),
        "sum": (lambda x: ops.sum(x, axis, keepdims), a), "mean": (lambda x: ops.mean(x, axis, keepdims), a),
        "var": (lambda x: ops.var(x, axis, keepdims, correction=1 if axis in (None, 0) else 0), a),
        "std": (lambda x: ops.std(x, axis, keepdims, correction=1 if axis in (None, 0) else 0), a),
        "squeeze": (lambda x: ops.squeeze(x), x[:, None]),
        "max": (lambda x: ops.max(x, axis, keepdims), a), "min": (lambda x: ops.min(x, axis, keepdims), a),
        "logsumexp": (lambda x: ops.logsumexp(x, axis, keepdims), a),
        "norm": (lambda x: ops.norm(x, axis, keepdims), a), "cumsum": (lambda x: ops.cumsum(x, 1), a),
        "sum_to": (lambda x: sum_to(x, (3, 1)), a), "broadcast_to": (lambda x: broadcast_to(x, (2, 3, 4)), b),
        "astype": (lambda x: astype(x, x.dtype), a),
        "reshape": (lambda x: ops.reshape(x, (4, -1)), a), "flatten": (ops.flatten, a),
        "expand_dims": (lambda x: ops.expand_dims(x, 1), a), "transpose": (lambda x: ops.transpose(x, (2, 0, 1)), a),
        "swapaxes": (lambda x: ops.swapaxes(x, 0, -1), a),
        "pad": (lambda x: ops.pad(x, ((1, 0), (0, 2)), 3.0), x),
        "concat": (lambda p, q: ops.concat([p, q], 1), x, apart(rng, 3, 2)),
        "stack": (lambda p, q: ops.stack([p, q], 1), x, apart(rng, 3, 4)),
        "split": (lambda x: ops.split(x, [1, 3], 1)[1], x),
        "getitem": (lambda x: ops.getitem(x, (slice(None, None, 2), _like(x, np.array([1, 1, 0, 3])))), x),
        "scatter": (lambda y: ops.scatter(y, _like(y, np.array([4, 1, 1])), (6, 4)), x),
        "flip": (lambda x: ops.flip(x, 1), a), "repeat": (lambda x: ops.repeat(x, 3, 1), a),
        "tile": (lambda x: ops.tile(x, (2, 1, 3)), a),
        "dense": (ops.dense, a, rng.normal(size=(4, 5)), rng.normal(size=5)),
        "embedding": (lambda w: ops.embedding(_like(w, np.array([[2, 0], [2, 1]])), w), x),
        "softmax": (lambda x: ops.softmax(x, 1), a), "log_softmax": (lambda x: ops.log_softmax(x, 0), a),
        "batch_norm": (ops.batch_norm, a, rng.normal(size=4), rng.normal(size=4)),
        "batch_norm_inference": (ops.batch_norm_inference, a, rng.normal(size=4), rng.normal(size=4),
                                 rng.normal(size=4), positive(rng, 4)),
        "layer_norm": (ops.layer_norm, a, rng.normal(size=4), rng.normal(size=4)),
        "lstm": (lambda *args: ops.concat([(y := ops.lstm(*args))[0], y[1][:, None]], 1),
                 *map(rng.standard_normal, [(3, rng.integers(1, 4), 1), (1, 8), (2, 8), 8, (3, 2), (3, 2)])),
    }
    return rows | image_cases(rng) | loss_cases(rng)


def image_cases(rng):
    x, w, b, stride, padding, y = convolution(rng)
    size, kernel = x.shape[1:3], w.shape[:2]
    image, pooled, argmax, pool, full = pooling(rng)
    return {
        "conv2d": (lambda x, w, b: ops.conv2d(x, w, b, stride, padding), x, w, b),
        "conv2d_transpose": (lambda y, w, b: ops.conv2d_transpose(y, w, b, stride, padding, size), y, w,
                             rng.normal(size=3)),
        "conv2d_weight": (lambda x, y: ops.conv2d_weight(x, y, kernel, stride, padding), x, y),
        "max_pool_with_argmax": (lambda x: ops.max_pool_with_argmax(x, *pool), image),
        "max_pool": (lambda x: ops.max_pool(x, *pool), image),
        "unpool": (lambda y: ops.unpool(y, _like(y, argmax), *pool, full), rng.normal(size=pooled.shape)),
        "pool_at": (lambda x: ops.pool_at(x, _like(x, argmax), *pool), image),
        "window_sum": (lambda x: ops.window_sum(x, *pool), image),
        "window_spread": (lambda y: ops.window_spread(y, *pool, full), rng.normal(size=pooled.shape)),
        "avg_pool": (lambda x: ops.avg_pool(x, *pool), image),
        "upsample_nearest": (lambda x: ops.upsample_nearest(x, (2, 3)), image),
    }


def loss_cases(rng):
    x, t, logvar = apart(rng, 3, 4), rng.random((3, 4)), rng.normal(size=(3, 4))
    reduction = ["mean", "sum", "none"][rng.integers(3)]
    return {
        "bce_with_logits": (lambda x, t: losses.bce_with_logits(x, t, reduction), x, t),
        "softmax_cross_entropy": (lambda x, t: losses.softmax_cross_entropy(x, t, reduction), x, t / 4),
        "softmax_cross_entropy, integers": (lambda x: losses.softmax_cross_entropy(
            x, _like(x, np.array([3, 0, 1])), reduction), x),
        "mse": (lambda x, t: losses.mse(x, t, reduction), x, t),
        "l1": (lambda x, t: losses.l1(x, t, reduction), x + 3, t),
        "huber": (lambda x, t: losses.huber(x, t, reduction, 0.37), x * 3, np.zeros((3, 4))),
        "hinge": (lambda x: losses.hinge(x * 2.1, _like(x, np.sign(t - 0.5)), reduction), x),
        "gaussian_kl": (lambda m, s: losses.gaussian_kl(m, s, reduction), x, logvar),
        "gaussian_nll": (lambda x, m, s: losses.gaussian_nll(x, m, s, reduction), t, x, logvar),
        **{f.__name__: (f, x, 1.3 * t[:2] - 0.7) for f in (
            games.least_squares_discriminator, games.hinge_discriminator, games.wasserstein_discriminator)},
        "minimax_discriminator": (lambda a, b: games.minimax_discriminator(a, b, 0.1), x, t[:2]),
        **{f.__name__: (f, x) for f in (
            games.saturating_generator, games.non_saturating_generator, games.least_squares_generator,
            games.wasserstein_generator)},
    }


def layer_cases(rng):
    """name → (layer, input): every layer, with sizes, strides and paddings drawn from rng."""
    image, rows = images(rng, channels=4), apart(rng, 5, 4)
    kernel, stride = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    padding = ["same", "valid", 1][rng.integers(3)]
    pool = (int(rng.integers(2, 4)), int(rng.integers(1, 4)))
    pooled = image[:, :image.shape[1] // 2 * 2, :image.shape[2] // 2 * 2]

    def drawing(x):  # a function: the same draw at every call
        return layers.Dropout(0.5, rng=np.random.default_rng(3))(x)

    def pool_and_back(x):
        y, argmax = layers.MaxPoolWithArgmax(*pool)(x)
        return layers.Unpool(*pool)(y, argmax, x.shape[1:3])
    return {
        "Dense": (layers.Dense(4, int(rng.integers(1, 5)), rng=rng, bias=bool(rng.integers(2))), rows),
        "Conv2D": (layers.Conv2D(4, 3, kernel, stride, padding, rng=rng), image),
        "Conv2DTranspose": (layers.Conv2DTranspose(4, 3, kernel + 1, stride, rng=rng), image[:, :3, :2]),
        "MaxPoolWithArgmax": (lambda x: layers.MaxPoolWithArgmax(*pool)(x)[0], image), "Unpool": (pool_and_back, image),
        "Unpool, no overlap": (lambda x: layers.Unpool()(*layers.MaxPoolWithArgmax()(x)), pooled),
        "MaxPool2D": (layers.MaxPool2D(*pool), image), "AvgPool2D": (layers.AvgPool2D(*pool), image),
        "UpSampling2D": (layers.UpSampling2D(int(rng.integers(1, 4))), image), "Flatten": (layers.Flatten(), image),
        "Reshape": (layers.Reshape(4, 1), rows), "BatchNorm": (layers.BatchNorm(4), image),
        "BatchNorm, evaluation": (layers.BatchNorm(4).eval(), image), "LayerNorm": (layers.LayerNorm(4), image),
        "Dropout": (drawing, rows), "Embedding": (layers.Embedding(5, 3, rng=rng), np.array([[1, 4], [1, 0]])),
        "SpectralDense, evaluation": (layers.SpectralDense(4, 3, rng=rng).eval(), rows),  # training moves u and v
        "SpectralConv2D, evaluation": (layers.SpectralConv2D(4, 3, kernel, stride, padding, rng=rng).eval(), image),
        "Maxout": (layers.Maxout(4, 3, int(rng.integers(1, 9)), rng=rng), rows),
        "MinibatchDiscrimination": (layers.MinibatchDiscrimination(4, 3, 2, rng=rng), rows),
        "TimeEmbedding": (layers.TimeEmbedding(6), rows[:, 0]),
        "LSTM": (layers.Sequential(layers.LSTM(4, 3, rng=rng), lambda result: result[0]), image[0]),
        "Sequential": (layers.Sequential(layers.Dense(4, 6, rng=rng), layers.BatchNorm(6), ops.tanh,
                                         layers.Dense(6, 2, rng=rng)), rows),
    }


def _like(x, constant):
    """A constant array where x lives: NumPy, the stand-in, or CuPy."""
    constant = constant if constant.dtype.kind != "f" else constant.astype(data_of(x).dtype)
    return to_device_of(constant, data_of(x))


def tape_dies(make):
    """Whether the tape of make() is gone after its backward pass, without the cyclic collector."""
    gc.disable()
    try:
        y = make()
        node, last = weakref.ref(y), y.sum()
        del y
        last.backward()
        return node() is None
    finally:
        gc.enable()
