"""A classifier whose hidden layers can be trained without labels first, as autoencoders, one after another."""

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.layers import Dense
from scratchnet.losses import softmax_cross_entropy
from scratchnet.models.autoencoders.autoencoder import Autoencoder, whole_sizes
from scratchnet.module import Module


class StackedClassifier(Module):
    """Dense layers of the given sizes with sigmoids, [784, 1000, 1000, 500], say, and `classes` logits on top.

    Its hidden layers can be autoencoders first, trained one after another: layer k learns to restore what the layers
    below make of the images, for which no label is needed. Then the decoders go, and all of it is trained on labelled
    images.        (Bengio et al. 2007; with corrupted inputs Vincent et al. 2008)
    """

    def __init__(self, sizes, classes=10, *, rng):
        sizes = whole_sizes("StackedClassifier", sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"StackedClassifier: sizes are at least an input and a layer, each ≥ 1; got {list(sizes)}")
        self.layers = [Dense(a, b, rng=rng) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.logits = Dense(sizes[-1], classes, rng=rng)

    def features(self, x, depth=None):
        """Images (N, …) → activities of layer `depth`, the last if None; of layer 0: the pixels        (N, size)"""
        if depth is not None and not 0 <= depth <= len(self.layers):
            raise ValueError(f"StackedClassifier: features of layer {depth}, expected 0 to {len(self.layers)}")
        check_arrays("features", images=x)
        h = ops.flatten(x)
        for layer in self.layers[:depth]:
            h = ops.sigmoid(layer(h))
        return h

    def __call__(self, x):
        return self.logits(self.features(x))

    def loss(self, x, labels):
        """Mean cross-entropy in nats."""
        return softmax_cross_entropy(self(x), labels, "mean")

    def autoencoder(self, k):
        """Layer k as the encoder of an autoencoder with tied weights: training that trains the layer."""
        return Autoencoder.of_layer(self.layers[k], code=ops.sigmoid)
