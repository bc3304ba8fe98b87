"""Autoencoders of dense layers: an encoder, a narrow code, a decoder.

    z = encode(x),   x̂ = σ(decode(z)),   L = −Σ_pixels [x ln x̂ + (1 − x) ln(1 − x̂)]        per image, in nats

Pixels x lie in [0, 1] and are read as probabilities, so the loss is a cross-entropy of logits; or it is the squared
error, where that is what counts. A net that is trained to give back its input can only do so by way of the code. What
the code is like depends on its width, and on what is added: noise on the input (data.corruption), or a penalty on the
code (penalties).
"""

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays
from scratchnet.layers import Dense
from scratchnet.losses import bce_with_logits, check_images, mse
from scratchnet.module import Module, Parameter
from scratchnet.settings import number


class TiedDense(Module):
    """y = x wᵀ + b with the w of another Dense layer, and a bias of its own        x (…, outputs) → y (…, inputs)"""

    def __init__(self, layer):
        self.w, self.b = layer.w, Parameter(initializers.zeros(None, layer.w.shape[:1]))

    def __call__(self, x):
        return ops.dense(x, ops.transpose(self.w), self.b)

    def describe(self):
        return f"{self.w.shape[1]} → {self.w.shape[0]}"


class Autoencoder(Module):
    """Dense layers of the given sizes, [784, 1000, 500, 250, 30], say, down to a code, and back.

    activation   of all layers but the code and the last one; Hinton & Salakhutdinov (2006) have sigmoids
    code         activation of the code; None for a linear one, as theirs is
    tied         the decoder's weights are the encoder's, transposed: one Parameter for both, half of the weights
    """

    def __init__(self, sizes, *, rng, activation=ops.sigmoid, code=None, tied=False, init=initializers.glorot_uniform):
        sizes = whole_sizes("Autoencoder", sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"Autoencoder: sizes are at least an input and a code, each ≥ 1; got {list(sizes)}")
        if not callable(activation) or not (code is None or callable(code)):
            raise TypeError(f"Autoencoder: activation and code are functions, code may be None; got {activation!r} and "
                            f"{code!r}")
        self.activation, self.code = activation, code
        self.down = [Dense(a, b, rng=rng, init=init) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.up = [TiedDense(layer) if tied else Dense(*layer.w.shape[::-1], rng=rng, init=init)
                   for layer in self.down[::-1]]

    @classmethod
    def of_layer(cls, layer, code):
        """The autoencoder with a given Dense layer as its encoder, and its transpose as its decoder."""
        model = cls.__new__(cls)
        model.activation, model.code, model.down, model.up = None, code, [layer], [TiedDense(layer)]
        return model

    def encode(self, x):
        """Images (N, …) → codes (N, sizes[-1])"""
        check_arrays("encode", images=x)
        z = through(self.down, ops.flatten(x), self.activation)
        return z if self.code is None else self.code(z)

    def decode(self, z):
        """Codes (N, sizes[-1]) → logits of the pixels (N, sizes[0])"""
        return through(self.up, z, self.activation)

    def restore(self, x):
        """Images (N, …) → what is decoded from their codes, in [0, 1], of the same shape"""
        check_arrays("restore", images=x)
        return ops.sigmoid(self.decode(self.encode(x))).reshape(x.shape)

    def loss(self, x, target=None):
        """Cross-entropy per image, in nats, between what is made of x and the target: x itself, if none is given."""
        return reconstruction_loss(self.decode(self.encode(x)), x if target is None else target)


def whole_sizes(who, sizes):
    """The sizes of layers as Python's whole numbers; TypeError or ValueError if they are something else."""
    if not hasattr(sizes, "__len__") or isinstance(sizes, str):
        raise TypeError(f"{who}: sizes are a list of whole numbers, got {sizes!r}")
    return [int(number(who, "each size", n, "a whole number", lambda n: n == int(n))) for n in sizes]


def through(layers, h, activation):
    """fₙ(a(… a(f₁(h))…)): the activation between the layers, none behind the last."""
    for layer in layers[:-1]:
        h = activation(layer(h))
    return layers[-1](h)


def reconstruction_loss(logits, x):
    """−Σ_pixels [x ln σ(a) + (1 − x) ln(1 − σ(a))] per image, in nats        logits a (N, D), images x (N, …)"""
    check_arrays("reconstruction_loss", images=x)
    return bce_with_logits(logits, ops.flatten(x), "sum") / len(x)


def squared_error(logits, x):
    """Σ_pixels (σ(a) − x)² per image        logits a (N, D), images x (N, …)"""
    check_images("squared_error", x)
    return mse(ops.sigmoid(logits), ops.flatten(x), "sum") / len(x)
