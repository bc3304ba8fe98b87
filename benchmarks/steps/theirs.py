"""The same seven training steps with PyTorch, as a good user writes them: modules, eager mode, one layout throughout.

A workload is built from the weights and data of ours.py. `pairs` lists (our name, the parameter, a function that brings
its gradient into our layout), so that the first step can be compared.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

IMAGE_AXES, KERNEL_AXES = (0, 3, 1, 2), (3, 2, 0, 1)  # (N, H, W, C) → (N, C, H, W); (kh, kw, C, O) → (O, C, kh, kw)


class Workload:
    """Layers with our weights. channels_last: whether images and kernels have that memory format."""

    def __init__(self, state, data, noise, channels_last, device):
        self.state, self.noise, self.pairs, self.device = state, torch.from_numpy(noise).to(device), [], device
        torch.set_default_dtype(self.noise.dtype)  # of tensors that are not from us: running averages, frequencies
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.data = [self.tensor(a) for a in data]
        self.build()

    def tensor(self, a):
        """One of our arrays as a tensor, images with channels second."""
        if a.ndim == 4:
            return torch.from_numpy(a.transpose(IMAGE_AXES)).to(self.device).contiguous(memory_format=self.format)
        return torch.from_numpy(np.array(a)).to(self.device)

    def parameter(self, name, to_theirs, to_ours):
        """A new parameter with our values."""
        values = torch.from_numpy(np.ascontiguousarray(to_theirs(self.state[name]))).to(self.device)
        p = nn.Parameter(values.contiguous(memory_format=self.format) if values.ndim == 4 else values)
        self.pairs.append((name, p, to_ours))
        return p

    def dense(self, name, images_out=None, images_in=None):
        """nn.Linear. images_out, images_in (H, W, C): the shape of its outputs or inputs if they are images."""
        def to_theirs(w):
            if images_in:
                w = w.reshape(*images_in, -1).transpose(2, 0, 1, 3).reshape(w.shape)
            if images_out:
                w = w.reshape(len(w), *images_out).transpose(0, 3, 1, 2).reshape(w.shape)
            return w.T

        def to_ours(g):
            g = g.T
            if images_in:
                h, w, c = images_in
                g = g.reshape(c, h, w, -1).transpose(1, 2, 0, 3).reshape(g.shape)
            if images_out:
                h, w, c = images_out
                g = g.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(g.shape)
            return g
        inputs, outputs = self.state[f"{name}.w"].shape
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
        layer.weight = self.parameter(f"{name}.w", to_theirs, to_ours)
        layer.bias = self.parameter(f"{name}.b", lambda b: to_theirs(b[None])[:, 0] if images_out else b,
                                    lambda g: to_ours(g[:, None])[0] if images_out else g)
        return layer

    def conv(self, name, stride=1, padding=1):
        kh, kw, c, o = self.state[f"{name}.w"].shape
        return self._conv(nn.utils.skip_init(nn.Conv2d, c, o, (kh, kw), stride, padding), name)

    def conv_transpose(self, name, stride, padding):
        kh, kw, c, o = self.state[f"{name}.w"].shape
        return self._conv(nn.utils.skip_init(nn.ConvTranspose2d, o, c, (kh, kw), stride, padding), name)

    def _conv(self, layer, name):
        layer.weight = self.parameter(f"{name}.w", lambda w: w.transpose(KERNEL_AXES),
                                      lambda g: g.transpose(2, 3, 1, 0))
        layer.bias = self.parameter(f"{name}.b", lambda b: b, lambda g: g)
        return layer

    def batch_norm(self, name, dimensions=2):
        layer = nn.BatchNorm2d(len(self.state[f"{name}.gamma"]), device=self.device)
        layer.weight = self.parameter(f"{name}.gamma", lambda a: a, lambda g: g)
        layer.bias = self.parameter(f"{name}.beta", lambda a: a, lambda g: g)
        return layer

    def dense_net(self, name, layers):
        parts = [part for k in range(layers) for part in (self.dense(f"{name}.steps.{2 * k}"), nn.ReLU())]
        return nn.Sequential(*parts[:-1])


class GAN(Workload):
    def phases(self):
        return [(self.loss_of_discriminator, self.discriminator), (self.loss_of_generator, self.generator)]

    def loss_of_discriminator(self):
        real, z = self.data
        with torch.no_grad():
            fake = self.generator(z)
        of_real, of_fake = self.discriminator(real), self.discriminator(fake)
        return (F.binary_cross_entropy_with_logits(of_real, torch.ones_like(of_real))
                + F.binary_cross_entropy_with_logits(of_fake, torch.zeros_like(of_fake)))

    def loss_of_generator(self):
        self.discriminator.requires_grad_(False)
        logits = self.discriminator(self.generator(self.data[1]))
        self.discriminator.requires_grad_(True)
        return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


class W1(GAN):
    def build(self):
        self.generator, self.discriminator = self.dense_net("generator", 2), self.dense_net("discriminator", 2)


class VAE(Workload):
    def phases(self):
        return [(self.loss, self.net)]

    def loss(self):
        x, = self.data
        mean, s, *switches = self.encode(x)
        noise, self.noise = (torch.randn_like(mean), None) if self.noise is None else (self.noise, None)
        logits = self.decode(mean + torch.exp(0.5 * s) * noise, *switches)
        nll = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (nll + 0.5 * (s.exp() + mean * mean - 1.0 - s).sum()) / len(x)


class W2(VAE):
    def build(self):
        self.hidden, self.mean, self.s, self.pixels = (
            self.dense(f"model.{name}") for name in ("hidden", "mean", "s", "pixels"))
        self.net = nn.ModuleList([self.hidden, self.mean, self.s, self.pixels])

    def encode(self, x):
        h = F.relu(self.hidden(x.flatten(1)))
        return self.mean(h), self.s(h)

    def decode(self, z):
        return self.pixels(z).view(-1, 1, 28, 28)


class W3(VAE):
    def build(self):
        self.conv1, self.conv2 = self.conv("model.conv1"), self.conv("model.conv2")
        self.hidden = self.dense("model.hidden", images_in=(7, 7, 10))
        self.mean, self.s = self.dense("model.mean"), self.dense("model.s")
        self.expand = self.dense("model.expand", images_out=(7, 7, 10))
        self.net = nn.ModuleList([self.conv1, self.conv2, self.hidden, self.mean, self.s, self.expand])

    def encode(self, x):
        h, switches1 = F.max_pool2d(F.relu(self.conv1(x)), 2, return_indices=True)
        h, switches2 = F.max_pool2d(F.relu(self.conv2(h)), 2, return_indices=True)
        h = F.relu(self.hidden(h.flatten(1)))
        return self.mean(h), self.s(h), switches1, switches2

    def decode(self, z, switches1, switches2):
        h = F.relu(self.expand(z)).view(-1, 10, 7, 7).contiguous(memory_format=self.format)
        for switches, conv in ((switches2, self.conv2), (switches1, self.conv1)):
            h = F.max_unpool2d(h, switches, 2) - conv.bias[:, None, None]
            h = F.conv_transpose2d(h, conv.weight, padding=1)
        return h


class W4(Workload):
    def build(self):
        self.net = self.dense_net("net", 8)

    def phases(self):
        return [(lambda: F.binary_cross_entropy_with_logits(self.net(self.data[0]), self.data[0]), self.net)]


class W5(GAN):
    def build(self):
        g, d = "generator.steps", "discriminator.steps"
        self.generator = nn.Sequential(
            self.dense(f"{g}.0", images_out=(7, 7, 64)), nn.Unflatten(1, (64, 7, 7)), ToFormat(self.format),
            self.batch_norm(f"{g}.2"), nn.ReLU(), self.conv_transpose(f"{g}.4", 2, 1),
            self.batch_norm(f"{g}.5"), nn.ReLU(), self.conv_transpose(f"{g}.7", 2, 1), nn.Tanh())
        self.discriminator = nn.Sequential(
            self.conv(f"{d}.0", 2), nn.LeakyReLU(0.01), self.conv(f"{d}.2", 2), self.batch_norm(f"{d}.3"),
            nn.LeakyReLU(0.01), nn.Flatten(), self.dense(f"{d}.6", images_in=(7, 7, 64)))


class ToFormat(nn.Module):
    def __init__(self, memory_format):
        super().__init__()
        self.memory_format = memory_format

    def forward(self, x):
        return x.contiguous(memory_format=self.memory_format)


class W6(Workload):
    def build(self):
        self.embed = self.dense("embed.steps.1")
        self.conv1, self.conv2, self.conv3, self.conv4 = (self.conv(f"conv{k}") for k in (1, 2, 3, 4))
        self.net = nn.ModuleList([self.embed, self.conv1, self.conv2, self.conv3, self.conv4])
        self.omega = 10000.0 ** (-torch.arange(32, device=self.device) / 32)

    def phases(self):
        return [(self.loss, self.net)]

    def loss(self):
        noisy, noise, t = self.data
        angle = t[:, None] * self.omega
        time = self.embed(torch.cat([angle.sin(), angle.cos()], 1))
        h = F.relu(self.conv1(noisy) + time[:, :, None, None])
        return F.mse_loss(self.conv4(F.relu(self.conv3(F.relu(self.conv2(h))))), noise)


class W7(Workload):
    def build(self):
        size = len(self.state["lstm.u"])

        def gates(a):  # i f o g → i f g o, and back
            return np.concatenate([a[..., :2 * size], a[..., 3 * size:], a[..., 2 * size:3 * size]], -1)
        self.lstm, self.head = nn.LSTM(16, size, batch_first=True), self.dense("head")
        self.lstm.weight_ih_l0 = self.parameter("lstm.w", lambda w: gates(w).T, lambda g: gates(g.T))
        self.lstm.weight_hh_l0 = self.parameter("lstm.u", lambda w: gates(w).T, lambda g: gates(g.T))
        self.lstm.bias_ih_l0 = self.parameter("lstm.b", gates, gates)
        self.lstm.bias_hh_l0 = nn.Parameter(torch.zeros(4 * size, device=self.device))
        self.lstm.flatten_parameters()  # for cuDNN; on a CPU it does nothing
        self.net = nn.ModuleList([self.lstm, self.head])

    def phases(self):
        return [(self.loss, self.net)]

    def loss(self):
        x, classes = self.data
        return F.cross_entropy(self.head(self.lstm(x)[0]).view(-1, 16), classes.view(-1))


STEPS = {cls.__name__: cls for cls in (W1, W2, W3, W4, W5, W6, W7)}


class Trainer:
    """A workload and its optimizers. compiled: whether torch.compile translates the losses, with their gradients."""

    def __init__(self, name, state, channels_last=False, fused=True, device="cpu", compiled=False):
        self.workload = STEPS[name](*state, channels_last, device)
        self.phases = self.workload.phases()
        if compiled:
            self.phases = [(torch.compile(loss), module) for loss, module in self.phases]
        self.optimizers = [torch.optim.Adam(module.parameters(), lr=1e-3, fused=fused) for _, module in self.phases]

    def first(self):
        """[(loss, {our name: gradient in our layout})] of each phase, without learning."""
        found = []
        for loss, _ in self.phases:
            value = loss()
            value.backward()
            found.append((value.item(), {name: to_ours(p.grad.cpu().numpy()).copy() for name, p, to_ours in
                                         self.workload.pairs if p.grad is not None}))
            for o in self.optimizers:
                o.zero_grad()
        return found

    def step(self):
        for (loss, _), optimizer in zip(self.phases, self.optimizers, strict=True):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
