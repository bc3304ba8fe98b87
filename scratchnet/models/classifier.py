"""A small classifier of digits. Its last hidden layer is the feature space in which generated digits are judged."""

from scratchnet import ops
from scratchnet.layers import Conv2D, Dense, check_digits
from scratchnet.losses import softmax_cross_entropy
from scratchnet.module import Module


class DigitClassifier(Module):
    """28×28×1 → conv 3×3, 16 → pool → conv 3×3, 32 → pool → 128 features → 10 logits, ReLU between.

    `demo.fit` with lr=3e-3, batches of 100 and 4 epochs of all 60 000 images, or 5 of the sample of 10 000, makes
    99 and 97 to 98 % of the test digits right.
    """

    def __init__(self, *, rng):
        self.conv1 = Conv2D(1, 16, rng=rng)
        self.conv2 = Conv2D(16, 32, rng=rng)
        self.hidden = Dense(7 * 7 * 32, 128, rng=rng)
        self.logits = Dense(128, 10, rng=rng)

    def features(self, x):
        """x (N, 28, 28, 1) → (N, 128)"""
        check_digits("DigitClassifier", x)
        h = ops.max_pool(ops.relu(self.conv1(x)))              # (N, 14, 14, 16)
        h = ops.max_pool(ops.relu(self.conv2(h)))              # (N, 7, 7, 32)
        return ops.relu(self.hidden(ops.flatten(h)))

    def __call__(self, x):
        return self.logits(self.features(x))

    def loss(self, x, labels):
        """Mean cross-entropy in nats."""
        return softmax_cross_entropy(self(x), labels, "mean")
