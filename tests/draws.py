"""Arguments drawn for the forms of ops, for the loops of test_compiled.py and the kernels of test_gpu_kernels.py."""

import numpy as np

f4 = np.float32
SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-40, 3e38, 1.0, 1.0], f4)


def normal(rng, *size):
    return rng.standard_normal(size, dtype=f4)


def odd(rng, *size):
    """Numbers among which are ties, NaN, ±∞, −0, denormals and large ones."""
    x = np.round(2 * normal(rng, *size)) / 2
    places = rng.random(size) < 0.3
    x[places] = rng.choice(SPECIAL, int(places.sum()))
    return x


def shape(rng, axes=4):
    return tuple(int(n) for n in rng.integers(1, 7, int(rng.integers(1, axes + 1))))


def shares(rng, *size):
    return rng.random(size, dtype=f4)


def normed(rng):
    """x, γ and β of batch norm."""
    x = normal(rng, *shape(rng), int(rng.integers(1, 5)))
    return x, 1 + normal(rng, x.shape[-1]), normal(rng, x.shape[-1])


def recurrent(rng):
    """x, w, u, b, h₀ and c₀ of an LSTM."""
    n, steps, inputs, size = (int(k) for k in rng.integers(1, 6, 4))
    return (normal(rng, n, steps, inputs), normal(rng, inputs, 4 * size), normal(rng, size, 4 * size),
            normal(rng, 4 * size), normal(rng, n, size), normal(rng, n, size))
