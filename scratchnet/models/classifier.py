"""A small classifier of digits. Its last hidden layer is the feature space that judges generated digits."""

from scratchnet import ops
from scratchnet.layers import Conv2D, Dense, check_digits
from scratchnet.losses import softmax_cross_entropy
from scratchnet.module import Module


class DigitClassifier(Module):
    """28×28×1 → conv 3×3, 16 → pool → conv 3×3, 32 → pool → 128 features → 10 logits, ReLU between.

    Trained by `demo.fit` with lr=3e-3 and batches of 100, it classifies 99 % of the test digits correctly after 4
    epochs of all 60 000 images, and 97 to 98 % after 5 epochs of the sample of 10 000.
    """

    def __init__(self, *, rng):
        self.conv1 = Conv2D(1, 16, rng=rng)
        self.conv2 = Conv2D(16, 32, rng=rng)
        self.hidden = Dense(7 * 7 * 32, 128, rng=rng)
        self.logits = Dense(128, 10, rng=rng)

    def features(self, x):
        """Images x (N, 28, 28, 1) → activities of the last hidden layer (N, 128)"""
        check_digits("DigitClassifier", x)
        h = ops.max_pool(ops.relu(self.conv1(x)))              # (N, 14, 14, 16)
        h = ops.max_pool(ops.relu(self.conv2(h)))              # (N, 7, 7, 32)
        return ops.relu(self.hidden(ops.flatten(h)))

    def __call__(self, x):
        """Images x (N, 28, 28, 1) → logits (N, 10)"""
        return self.logits(self.features(x))

    def loss(self, x, labels):
        """Mean cross-entropy, in nats, of images x (N, 28, 28, 1) and labels (N,)."""
        return softmax_cross_entropy(self(x), labels, "mean")
