"""Autoencoders of dense layers: an encoder, a narrow code, a decoder.

    z = encode(x),   x̂ = σ(decode(z)),   L = −Σ_pixels [x ln x̂ + (1 − x) ln(1 − x̂)]        per image, in nats

Pixels x lie in [0, 1] and are read as probabilities, so the loss is a cross-entropy of logits; `squared_error` is the
alternative. The net is trained to reproduce its input, and everything has to pass through the code. Its width shapes
the code, as do noise on the input (data.corruption) and penalties in the loss (penalties).
"""

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays
from scratchnet.layers import Dense
from scratchnet.losses import bce_with_logits, check_images, mse
from scratchnet.module import Module, Parameter
from scratchnet.settings import number


class TiedDense(Module):
    """y = x wᵀ + b with the w of another Dense layer and its own bias b        x (…, outputs) → y (…, inputs)"""

    def __init__(self, layer):
        self.w, self.b = layer.w, Parameter(initializers.zeros(None, layer.w.shape[:1]))

    def __call__(self, x):
        return ops.dense(x, ops.transpose(self.w), self.b)

    def describe(self):
        return f"{self.w.shape[1]} → {self.w.shape[0]}"


class Autoencoder(Module):
    """Dense layers of the given sizes, such as [784, 1000, 500, 250, 30], down to a code and back up.

    activation   of all layers but the code and the output; Hinton & Salakhutdinov (2006) use sigmoids
    code         activation of the code; None for a linear code, as in their paper
    tied         the decoder uses the encoder's weights, transposed: one Parameter for both, half the weights
    """

    def __init__(self, sizes, *, rng, activation=ops.sigmoid, code=None, tied=False, init=initializers.glorot_uniform):
        sizes = layer_sizes("Autoencoder", sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"Autoencoder: sizes need at least an input and a code, each ≥ 1; got {list(sizes)}")
        if not callable(activation) or not (code is None or callable(code)):
            raise TypeError(f"Autoencoder: activation must be a function, and code a function or None; got "
                            f"{activation!r} and {code!r}")
        self.activation, self.code = activation, code
        self.down = [Dense(a, b, rng=rng, init=init) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.up = [TiedDense(layer) if tied else Dense(*layer.w.shape[::-1], rng=rng, init=init)
                   for layer in self.down[::-1]]

    @classmethod
    def of_layer(cls, layer, code):
        """The autoencoder whose encoder is the given Dense layer and whose decoder is that layer's transpose."""
        model = cls.__new__(cls)
        model.activation, model.code, model.down, model.up = None, code, [layer], [TiedDense(layer)]
        return model

    def encode(self, x):
        """Images x (N, …) → codes z (N, sizes[-1])"""
        check_arrays("encode", images=x)
        z = feed_forward(self.down, ops.flatten(x), self.activation)
        return z if self.code is None else self.code(z)

    def decode(self, z):
        """Codes z (N, sizes[-1]) → logits of the pixels (N, sizes[0])"""
        return feed_forward(self.up, z, self.activation)

    def restore(self, x):
        """Images x (N, …) → their reconstructions x̂, in [0, 1], of the same shape"""
        check_arrays("restore", images=x)
        return ops.sigmoid(self.decode(self.encode(x))).reshape(x.shape)

    def loss(self, x, target=None):
        """Cross-entropy per image, in nats, of the reconstruction of x (N, …) against the target, by default x."""
        return reconstruction_loss(self.decode(self.encode(x)), x if target is None else target)


def layer_sizes(who, sizes):
    """The sizes of layers as Python ints; TypeError or ValueError unless they are a list of whole numbers."""
    if not hasattr(sizes, "__len__") or isinstance(sizes, str):
        raise TypeError(f"{who}: sizes must be a list of whole numbers, got {sizes!r}")
    return [int(number(who, "each size", n, "a whole number", lambda n: n == int(n))) for n in sizes]


def feed_forward(layers, h, activation):
    """fₙ(a(… a(f₁(h))…)), with the activation a between the layers f, but not after the last."""
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
