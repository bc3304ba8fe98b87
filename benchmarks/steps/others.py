"""The dense steps W2 and W4, and the convolutional W3, in other libraries: JAX (compiled), HIPS autograd, MyGrad.

The losses are written once, for any namespace that looks like NumPy. Weights, data and dtype are those of ours.py; JAX
computes in float64 only if JAX_ENABLE_X64 is set before it starts.
"""

import numpy as np

LAYERS = {"W2": ["model.hidden", "model.mean", "model.s", "model.pixels"],
          "W4": [f"net.steps.{k}" for k in range(0, 15, 2)]}


def dense(p, name, x):
    return x @ p[f"{name}.w"] + p[f"{name}.b"]


def bce(xp, x, t):
    return xp.maximum(x, 0.0) - x * t + xp.log(1.0 + xp.exp(-xp.abs(x)))


def vae(xp, encode, decode):
    def loss(p, x, noise):
        mean, s, *switches = encode(p, x)
        logits = decode(p, mean + xp.exp(0.5 * s) * noise, *switches)
        return (bce(xp, logits, x).sum() + 0.5 * (xp.exp(s) + mean * mean - 1.0 - s).sum()) / len(x)
    return loss


def loss_of(name, xp, pool_and_convolve=None):
    """loss(parameters, x, noise) of a workload."""
    def relu(x):
        return xp.maximum(x, 0.0)
    if name == "W4":
        def loss(p, x, noise):
            h = x
            for layer in LAYERS["W4"][:-1]:
                h = relu(dense(p, layer, h))
            return bce(xp, dense(p, LAYERS["W4"][-1], h), x).mean()
        return loss
    if name == "W2":
        def encode(p, x):
            h = relu(dense(p, "model.hidden", x))
            return dense(p, "model.mean", h), dense(p, "model.s", h)
        return vae(xp, encode, lambda p, z: dense(p, "model.pixels", z))
    conv, conv_transpose, pool, unpool = pool_and_convolve

    def encode(p, x):
        h, switches1 = pool(relu(conv(x, p["model.conv1.w"]) + p["model.conv1.b"]))
        h, switches2 = pool(relu(conv(h, p["model.conv2.w"]) + p["model.conv2.b"]))
        h = relu(dense(p, "model.hidden", h.reshape(len(x), -1)))
        return dense(p, "model.mean", h), dense(p, "model.s", h), switches1, switches2

    def decode(p, z, switches1, switches2):
        h = relu(dense(p, "model.expand", z)).reshape(-1, 7, 7, 10)
        h = conv_transpose(unpool(h, switches2) - p["model.conv2.b"], p["model.conv2.w"])
        return conv_transpose(unpool(h, switches1) - p["model.conv1.b"], p["model.conv1.w"])
    return vae(xp, encode, decode)


def images_in_jax():
    import jax.numpy as jnp
    from jax import lax, nn

    def conv(x, w):
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def pool(x):
        n, h, w, c = x.shape
        windows = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)
        switches = nn.one_hot(windows.argmax(-1), 4)
        return (windows * switches).sum(-1), switches

    def unpool(y, switches):
        n, h, w, c = y.shape
        windows = (y[..., None] * switches).reshape(n, h, w, c, 2, 2)
        return windows.transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * h, 2 * w, c)
    return conv, lambda y, w: conv(y, jnp.flip(w, (0, 1)).swapaxes(2, 3)), pool, unpool


class JAX:
    def __init__(self, name, weights, x, noise):
        import jax
        import jax.numpy as jnp

        loss = loss_of(name, jnp, images_in_jax())
        zeros = {key: jnp.zeros_like(w) for key, w in weights.items()}
        self.state = {key: jnp.asarray(w) for key, w in weights.items()}, zeros, dict(zeros), 0
        self.x, self.noise, self.block = jnp.asarray(x), jnp.asarray(noise), jax.block_until_ready
        self.value_and_grad = jax.value_and_grad(loss)

        @jax.jit
        def step(state, x, key):
            p, m, v, t = state
            key, fresh = jax.random.split(key)
            noise = jax.random.normal(fresh, self.noise.shape)
            _, g = jax.value_and_grad(loss)(p, x, noise)
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            p = jax.tree.map(lambda p, m, v: p - 1e-3 * (m / (1 - 0.9 ** t)) / (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8),
                             p, m, v)
            return (p, m, v, t), key
        self.compiled, self.key = step, jax.random.key(0)

    def first(self):
        value, g = self.value_and_grad(self.state[0], self.x, self.noise)
        return float(value), {key: np.asarray(a) for key, a in g.items()}

    def step(self):
        self.state, self.key = self.compiled(self.state, self.x, self.key)
        self.block(self.state[0])


class Autograd:
    def __init__(self, name, weights, x, noise):
        import autograd.numpy as anp
        from autograd import value_and_grad

        self.p, self.x, self.noise = weights, x, noise
        self.value_and_grad = value_and_grad(loss_of(name, anp))
        self.adam = Adam(weights)

    def first(self):
        return self.value_and_grad(self.p, self.x, self.noise)

    def step(self):
        noise = np.random.standard_normal(self.noise.shape).astype(np.float32)
        _, g = self.value_and_grad(self.p, self.x, noise)
        self.adam.update(self.p, g)


class MyGrad:
    def __init__(self, name, weights, x, noise):
        import mygrad

        self.p = {key: mygrad.tensor(w) for key, w in weights.items()}
        self.x, self.noise, self.loss = x, noise, loss_of(name, mygrad)
        self.adam = Adam(weights)

    def first(self):
        value = self.loss(self.p, self.x, self.noise)
        value.backward()
        g = {key: t.grad.copy() for key, t in self.p.items()}
        return value.item(), g

    def step(self):
        self.loss(self.p, self.x, np.random.standard_normal(self.noise.shape).astype(np.float32)).backward()
        self.adam.update({key: t.data for key, t in self.p.items()}, {key: t.grad for key, t in self.p.items()})


class Adam:
    """Adam (Kingma & Ba 2015) for libraries that have none: the formula, array by array."""

    def __init__(self, weights):
        self.m, self.v = ({key: np.zeros_like(w) for key, w in weights.items()} for _ in range(2))
        self.t = 0

    def update(self, p, g):
        self.t += 1
        for key, m in self.m.items():
            m += 0.1 * (g[key] - m)
            self.v[key] += 0.001 * (g[key] * g[key] - self.v[key])
            p[key] -= 1e-3 / (1 - 0.9 ** self.t) * m / (np.sqrt(self.v[key] / (1 - 0.999 ** self.t)) + 1e-8)


LIBRARIES = {"JAX, compiled": (JAX, ("W2", "W3", "W4")), "HIPS autograd": (Autograd, ("W2", "W4")),
             "MyGrad": (MyGrad, ("W2", "W4"))}


class Trainer:
    """One workload in one of LIBRARIES."""

    def __init__(self, name, library, state):
        weights, (x,), noise = state
        weights, x, noise = {key: w.copy() for key, w in weights.items()}, x.copy(), noise.copy()
        if name != "W3":
            x = x.reshape(len(x), -1)
        self.inside = LIBRARIES[library][0](name, weights, x, noise)

    def first(self):
        return [self.inside.first()]

    def step(self):
        self.inside.step()
