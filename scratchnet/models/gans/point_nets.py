"""Players of a GAN for points on a line or in the plane: dense nets, and those of PacGAN (Lin et al. 2018)."""

from scratchnet import ops
from scratchnet.initializers import he_normal
from scratchnet.layers import BatchNorm, Dense, Maxout, Sequential


def dense_net(sizes, activation=ops.relu, *, rng):
    """Dense layers of these sizes, with the activation between them."""
    steps = [step for a, b in zip(sizes, sizes[1:], strict=False) for step in (Dense(a, b, rng=rng, init=he_normal),
                                                                               activation)]
    return Sequential(*steps[:-1])


def pacgan_generator(*, rng):
    """2 → 400 → 400 → 400 → 400 → 2, batch norm and ReLU after each hidden layer.  (Lin et al. 2018, section 4.1)"""
    steps = []
    for inputs in (2, 400, 400, 400):
        steps += [Dense(inputs, 400, rng=rng), BatchNorm(400), ops.relu]
    return Sequential(*steps, Dense(400, 2, rng=rng))


def pacgan_discriminator(packing=1, *, rng):
    """2 · packing → 200 → 200 → 200 → 1, each hidden unit the maximum of 5 sums     (Lin et al. 2018, section 4.1)"""
    return Sequential(Maxout(2 * packing, 200, 5, rng=rng), Maxout(200, 200, 5, rng=rng), Maxout(200, 200, 5, rng=rng),
                      Dense(200, 1, rng=rng))
