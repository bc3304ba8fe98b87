"""A classifier whose hidden layers can first be trained without labels, one after another, as autoencoders."""

from scratchnet import ops
from scratchnet.autograd import check_arrays
from scratchnet.layers import Dense
from scratchnet.losses import softmax_cross_entropy
from scratchnet.models.autoencoders.autoencoder import Autoencoder, layer_sizes
from scratchnet.module import Module


class StackedClassifier(Module):
    """Dense sigmoid layers of the given sizes, such as [784, 1000, 1000, 500], and `classes` logits on top.

    First, its hidden layers can be trained as autoencoders, one after another: layer k learns to reconstruct the
    activities of the layers below, which needs no labels. Then the decoders are dropped, and the whole net is trained
    on labelled images.        (Bengio et al. 2007; with corrupted inputs Vincent et al. 2008)
    """

    def __init__(self, sizes, classes=10, *, rng):
        sizes = layer_sizes("StackedClassifier", sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"StackedClassifier: sizes need at least an input and a layer, each ≥ 1; got "
                             f"{list(sizes)}")
        self.layers = [Dense(a, b, rng=rng) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.logits = Dense(sizes[-1], classes, rng=rng)

    def features(self, x, depth=None):
        """Images x (N, …) → activities (N, size) of layer `depth`, by default the last; layer 0 is the pixels"""
        if depth is not None and not 0 <= depth <= len(self.layers):
            raise ValueError(f"StackedClassifier: features of layer {depth}, expected 0 to {len(self.layers)}")
        check_arrays("features", images=x)
        h = ops.flatten(x)
        for layer in self.layers[:depth]:
            h = ops.sigmoid(layer(h))
        return h

    def __call__(self, x):
        """Images x (N, …) → logits (N, classes)"""
        return self.logits(self.features(x))

    def loss(self, x, labels):
        """Mean cross-entropy, in nats, of images x (N, …) and labels (N,)."""
        return softmax_cross_entropy(self(x), labels, "mean")

    def autoencoder(self, k):
        """The autoencoder with tied weights whose encoder is layer k itself: training it trains the layer."""
        return Autoencoder.of_layer(self.layers[k], code=ops.sigmoid)
