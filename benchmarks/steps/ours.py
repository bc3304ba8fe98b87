"""The seven training steps of the benchmark with scratchnet, written as a user would write them.

Each has `phases`, [(loss, module that learns from it)]: two for a GAN, one for the others. In each phase, a training
step computes the loss and its gradient and takes a step of Adam.
"""

import numpy as np

from scratchnet import losses, no_grad, ops
from scratchnet.backend import to_cpu
from scratchnet.layers import (
    LSTM,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    Reshape,
    Sequential,
    TimeEmbedding,
)
from scratchnet.models.vaes import VAE, ConvVAE
from scratchnet.module import Module
from scratchnet.optimizers import Adam


def draw(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def dense_net(sizes, rng):
    parts = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (Dense(a, b, rng=rng), ops.relu)]
    return Sequential(*parts[:-1])


class GAN(Module):
    """A step of D on real and generated data, then one of G, whose samples D should take for real."""

    def __init__(self, generator, discriminator):
        self.generator, self.discriminator = generator, discriminator

    @property
    def phases(self):
        return [(self.loss_of_discriminator, self.discriminator), (self.loss_of_generator, self.generator)]

    def loss_of_discriminator(self):
        real, z = self.data
        with no_grad():
            fake = self.generator(z)
        # −ln D(real) − ln(1 − D(fake)),  D = σ(logits)
        return ops.softplus(-self.discriminator(real)).mean() + ops.softplus(self.discriminator(fake)).mean()

    def loss_of_generator(self):
        # −ln D(G(z))
        with self.discriminator.frozen():
            return ops.softplus(-self.discriminator(self.generator(self.data[1]))).mean()


class W1(GAN):
    """GAN of points in the plane: G 100-256-2, D 2-256-1, batch 64"""

    def __init__(self, rng):
        super().__init__(dense_net([100, 256, 2], rng), dense_net([2, 256, 1], rng))
        self.data = draw(rng, 64, 2), draw(rng, 64, 100)


class OfImages(Module):
    """A VAE that learns from one batch of images."""

    def __init__(self, model, images):
        self.model, self.data, self.rng = model, (images,), np.random.default_rng(1)

    @property
    def phases(self):
        return [(lambda: self.model.loss(self.data[0], self.rng)[0], self.model)]


class DenseVAE(VAE):
    """784-100-(128, 128)-784: a smaller sister of models.vaes.DenseVAE"""

    def __init__(self, rng):
        super().__init__()
        self.hidden = Dense(784, 100, rng=rng)
        self.mean, self.s = Dense(100, 128, rng=rng), Dense(100, 128, rng=rng)
        self.pixels = Dense(128, 784, rng=rng)

    def encode(self, x):
        h = ops.relu(self.hidden(ops.flatten(x)))
        return self.mean(h), self.s(h)

    def decode(self, z):
        return self.pixels(z).reshape(-1, 28, 28, 1)


class W2(OfImages):
    """dense VAE 784-100-(128, 128)-784, batch 100"""

    def __init__(self, rng):
        super().__init__(DenseVAE(rng), rng.random((100, 28, 28, 1), dtype=np.float32))


class W3(OfImages):
    """convolutional VAE of models/vaes, batch 100"""

    def __init__(self, rng):
        super().__init__(ConvVAE(rng=rng), rng.random((100, 28, 28, 1), dtype=np.float32))


class W4(Module):
    """deep autoencoder 784-1000-500-250-30-250-500-1000-784, batch 128"""

    def __init__(self, rng):
        self.net = dense_net([784, 1000, 500, 250, 30, 250, 500, 1000, 784], rng)
        self.data = (rng.random((128, 784), dtype=np.float32),)

    @property
    def phases(self):
        return [(self.loss, self.net)]

    def loss(self):
        return losses.bce_with_logits(self.net(self.data[0]), self.data[0], "mean")


class W5(GAN):
    """DCGAN: G 100-7×7×64, convᵀ 4×4/2 32, convᵀ 4×4/2 1; D conv 4×4/2 32, conv 4×4/2 64, dense 1; batch 64"""

    def __init__(self, rng):
        super().__init__(
            Sequential(Dense(100, 7 * 7 * 64, rng=rng), Reshape(7, 7, 64), BatchNorm(64), ops.relu,
                       Conv2DTranspose(64, 32, 4, 2, rng=rng), BatchNorm(32), ops.relu,
                       Conv2DTranspose(32, 1, 4, 2, rng=rng), ops.tanh),
            Sequential(Conv2D(1, 32, 4, 2, rng=rng), ops.leaky_relu,
                       Conv2D(32, 64, 4, 2, rng=rng), BatchNorm(64), ops.leaky_relu,
                       Flatten(), Dense(7 * 7 * 64, 1, rng=rng)))
        self.data = draw(rng, 64, 28, 28, 1), draw(rng, 64, 100)


class W6(Module):
    """denoiser: conv 3×3 1 → 32 → 64 → 32 → 1 on 28×28, the first with a time embedding, batch 64"""

    def __init__(self, rng):
        self.embed = Sequential(TimeEmbedding(64), Dense(64, 32, rng=rng))
        self.conv1, self.conv2 = Conv2D(1, 32, rng=rng), Conv2D(32, 64, rng=rng)
        self.conv3, self.conv4 = Conv2D(64, 32, rng=rng), Conv2D(32, 1, rng=rng)
        self.data = draw(rng, 64, 28, 28, 1), draw(rng, 64, 28, 28, 1), rng.integers(0, 1000, 64).astype(np.float32)

    @property
    def phases(self):
        return [(self.loss, self)]

    def __call__(self, x, t):
        h = ops.relu(self.conv1(x) + self.embed(t).reshape(-1, 1, 1, 32))
        return self.conv4(ops.relu(self.conv3(ops.relu(self.conv2(h)))))

    def loss(self):
        noisy, noise, t = self.data
        return losses.mse(self(noisy, t), noise, "mean")


class W7(Module):
    """LSTM 128 over 196 steps of 16 numbers, a softmax over 16 classes at each, batch 64"""

    def __init__(self, rng):
        self.lstm, self.head = LSTM(16, 128, rng=rng), Dense(128, 16, rng=rng)
        self.data = draw(rng, 64, 196, 16), rng.integers(0, 16, (64, 196))

    @property
    def phases(self):
        return [(self.loss, self)]

    def loss(self):
        x, classes = self.data
        h, _ = self.lstm(x)
        return losses.softmax_cross_entropy(self.head(h), classes, "mean")


STEPS = {cls.__name__: cls for cls in (W1, W2, W3, W4, W5, W6, W7)}


class Trainer:
    """A workload and its optimizers. All numbers are drawn in float32, so that they are the same in any dtype. `to`
    moves weights and data to their device."""

    def __init__(self, name, seed=0, dtype="float32", to=np.asarray):
        self.dtype, self.workload = dtype, STEPS[name](np.random.default_rng(seed))
        self.workload.move(lambda a: to(a.astype(dtype) if a.dtype.kind == "f" else a))
        self.optimizers = [Adam(module.parameters()) for _, module in self.workload.phases]

    def state(self):
        """(weights, data, noise of the first step), from which the other side starts."""
        noise = np.random.default_rng(1).standard_normal((100, 128), self.dtype)
        weights = {name: a for name, a in self.workload.state_dict().items() if not name.startswith("data.")}
        return weights, tuple(map(to_cpu, self.workload.data)), noise

    def first(self):
        """[(loss, {name: gradient})] of each phase, without learning."""
        found = []
        for (loss, _), optimizer in zip(self.workload.phases, self.optimizers, strict=True):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            found.append((value.item(), {name: to_cpu(p.grad).copy() for name, p in
                                         self.workload.named_parameters().items() if p.grad is not None}))
            for o in self.optimizers:
                o.zero_grad()
        return found

    def step(self):
        for (loss, _), optimizer in zip(self.workload.phases, self.optimizers, strict=True):
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
