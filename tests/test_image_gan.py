"""The nets of the image GANs: their results by hand, gradients, initial weights and batch statistics."""

import numpy as np
import pytest
import strict as stand_in

from scratchnet import check, no_grad, ops
from scratchnet.layers import BatchNorm, Dense, Sequential
from scratchnet.models.gans import GAN
from scratchnet.models.gans.digit_nets import dcgan_discriminator, dcgan_generator, dense_discriminator, dense_generator
from scratchnet.optimizers import Adam

X = np.random.default_rng(5).random((6, 28, 28, 1))


def rng(seed=0):
    return np.random.default_rng(seed)


def dense_gan():
    return GAN(dense_generator(rng=rng()), dense_discriminator(rng=rng(1)), 30)


def dcgan(latent=5, channels=2):
    return GAN(dcgan_generator(latent, channels, rng=rng()), dcgan_discriminator(channels, rng=rng(1)), latent)


def count(net):
    return sum(p.size for p in net.parameters())


# ---------------------------------------------------------------- by hand

def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def normed(x, gamma, beta):
    axes = tuple(range(x.ndim - 1))
    return gamma * (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) + beta


def convolved(x, w):
    """Stride 2, 4 × 4, with one pixel of padding: y[p, q] = Σ_ij x[2p + i − 1, 2q + j − 1] w[i, j]"""
    n, height, width, _ = x.shape
    y = np.zeros((n, -(-height // 2), -(-width // 2), w.shape[3]))                # (7 × 7 → 4 × 4: two at the end)
    for p in range(y.shape[1]):
        for q in range(y.shape[2]):
            for i in range(4):
                for j in range(4):
                    if 0 <= 2 * p + i - 1 < height and 0 <= 2 * q + j - 1 < width:
                        y[:, p, q] += x[:, 2 * p + i - 1, 2 * q + j - 1] @ w[i, j]
    return y


def spread_out(y, w):
    """Its adjoint: x[2p + i − 1, 2q + j − 1] gets y[p, q] w[i, j]ᵀ"""
    n, height, width, _ = y.shape
    x = np.zeros((n, 2 * height, 2 * width, w.shape[2]))
    for p in range(height):
        for q in range(width):
            for i in range(4):
                for j in range(4):
                    if 0 <= 2 * p + i - 1 < 2 * height and 0 <= 2 * q + j - 1 < 2 * width:
                        x[:, 2 * p + i - 1, 2 * q + j - 1] += y[:, p, q] @ w[i, j].T
    return x


def shaken(gan):
    """The GAN in float64, with all weights and biases away from their initial values."""
    gan.move(lambda a: a.astype(np.float64))
    noise = rng(7)
    for p in gan.parameters():
        p.data[...] += 0.1 * noise.standard_normal(p.shape)
    return gan


def test_dense_nets_by_hand():
    gan, z = shaken(dense_gan()), rng(2).standard_normal((6, 30))
    w1, b1, w2, b2, w3, b3 = (p.data for p in gan.generator.parameters())
    assert [w.shape for w in (w1, w2, w3)] == [(30, 100), (100, 150), (150, 784)]
    expected = sigmoid(selu(selu(z @ w1 + b1) @ w2 + b2) @ w3 + b3).reshape(6, 28, 28, 1)
    np.testing.assert_allclose(gan.generate(z), expected, rtol=1e-10)

    w1, b1, w2, b2, w3, b3 = (p.data for p in gan.discriminator.parameters())
    assert [w.shape for w in (w1, w2, w3)] == [(784, 150), (150, 100), (100, 1)]
    expected = selu(selu(X.reshape(6, 784) @ w1 + b1) @ w2 + b2) @ w3 + b3
    np.testing.assert_allclose(gan.judge(X).data, expected, rtol=1e-10)


def test_dcgan_by_hand():
    gan, z = shaken(dcgan()), rng(2).standard_normal((6, 5))
    w, gamma, beta, w1, gamma1, beta1, w2, b2 = (p.data for p in gan.generator.parameters())
    h = np.maximum(normed((z @ w).reshape(6, 7, 7, 4), gamma, beta), 0)
    h = np.maximum(normed(spread_out(h, w1), gamma1, beta1), 0)
    assert h.shape == (6, 14, 14, 2)
    np.testing.assert_allclose(gan.generate(z), sigmoid(spread_out(h, w2) + b2), rtol=1e-9)

    w1, b1, w2, gamma, beta, w3, gamma1, beta1, w4, b4 = (p.data for p in gan.discriminator.parameters())
    h = leaky(convolved(X, w1) + b1)
    h = leaky(normed(convolved(h, w2), gamma, beta))
    assert h.shape == (6, 7, 7, 4)
    h = leaky(normed(convolved(h, w3), gamma1, beta1))
    assert h.shape == (6, 4, 4, 8)
    np.testing.assert_allclose(gan.judge(X).data, h.reshape(6, -1) @ w4 + b4, rtol=1e-9)


# ---------------------------------------------------------------- sizes and initial weights

@pytest.mark.parametrize(("latent", "channels"), [(100, 32), (3, 1), (17, 5)])
def test_sizes_of_a_dcgan(latent, channels):
    gan, c = dcgan(latent, channels), channels
    assert count(gan.generator) == latent * 49 * 2 * c + 4 * c + 16 * 2 * c * c + 2 * c + 16 * c + 1
    assert count(gan.discriminator) == 16 * c + c + 16 * c * 2 * c + 4 * c + 16 * 2 * c * 4 * c + 8 * c + 64 * c + 1
    images = gan.generate(gan.noise(3, rng(), like=X.astype(np.float32)))
    assert images.shape == (3, 28, 28, 1) and images.dtype == np.float32 and 0 < images.min() < images.max() < 1
    assert gan.judge(images).shape == (3, 1) and gan.judge(images).dtype == np.float32


def test_sizes_of_the_dense_nets():
    gan = dense_gan()
    assert (count(gan.generator), count(gan.discriminator)) == (31 * 100 + 101 * 150 + 151 * 784,
                                                                785 * 150 + 151 * 100 + 101)
    images = gan.generate(gan.noise(1, rng(), like=X.astype(np.float32)))
    assert images.shape == (1, 28, 28, 1) and images.dtype == np.float32 and 0 < images.min() < images.max() < 1
    assert gan.judge(images).shape == (1, 1) and gan.judge(images).dtype == np.float32


def test_initial_weights():
    gan = GAN(dcgan_generator(rng=rng()), dcgan_discriminator(rng=rng(1)), 100)
    for name, p in gan.named_parameters().items():
        if p.data.ndim == 1:
            assert (p.data == ("gamma" in name)).all(), name
        else:
            assert p.data.mean() == pytest.approx(0, abs=0.1 * 0.02), name
            assert p.data.std() == pytest.approx(0.02, rel=0.1), name
    for name, p in dense_gan().named_parameters().items():
        expected = len(p.data)**-0.5 if p.data.ndim == 2 else 0.0
        assert p.data.std() == pytest.approx(expected, rel=0.15), name


def test_selu_keeps_the_signal():
    h = rng(2).standard_normal((2_000, 30))
    steps = dense_generator(rng=rng()).steps
    with no_grad():
        for step in steps[:4]:
            h = step(h)
    assert h.data.mean() == pytest.approx(0, abs=0.05) and h.data.var() == pytest.approx(1, rel=0.15)


def test_same_seed_same_nets_and_other_seed_others():
    for make in (dense_generator, dense_discriminator, dcgan_generator, dcgan_discriminator):
        a, b, c = (np.concatenate([p.data.ravel() for p in make(rng=rng(seed)).parameters()]) for seed in (3, 3, 4))
        assert (a == b).all() and (a != c).any()


# ---------------------------------------------------------------- gradients and batch statistics

@pytest.mark.parametrize("make", [lambda: dcgan(3, 1), dense_gan])
def test_gradients_of_both_losses(make):
    """In the first layer of each net, which a gradient reaches through all the others."""
    gan = shaken(make())
    z = rng(6).standard_normal((3, gan.latent))
    fake = gan.generate(z)
    check.gradients(lambda: gan.discriminator_loss(X[:3], fake), entries=0,
                    parameters={"w": gan.discriminator.parameters()[0]})
    check.gradients(lambda: gan.generator_loss(z), entries=0, parameters={"w": gan.generator.parameters()[0]})


def test_batch_statistics_in_training_running_ones_in_evaluation():
    gan = shaken(dcgan(channels=1))
    z = rng(2).standard_normal((8, 5))
    for run in (gan.generate, lambda z: gan.judge(gan.generate(z)).data):
        gan.train()
        assert np.abs(run(z)[:4] - run(z[:4])).max() > 1e-3                      # each image depends on the others
        gan.eval()
        np.testing.assert_allclose(run(z)[:4], run(z[:4]), rtol=1e-9)
    gan.train()
    for _ in range(150):
        gan.generate(z)
    expected = gan.generate(z)
    gan.eval()
    norms = [step for step in gan.generator.steps if isinstance(step, BatchNorm)]
    for norm, n in zip(norms, (8 * 49, 8 * 196), strict=True):
        norm.var = norm.var * (n - 1) / n                                         # unbiased there, biased in training
    np.testing.assert_allclose(gan.generate(z), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [dcgan, dense_gan])
def test_each_player_learns_and_leaves_the_other_alone(make):
    gan, x = make(), X.astype(np.float32)
    z = gan.noise(6, rng(3), like=x)
    players = {"discriminator": lambda: gan.discriminator_loss(x, gan.generate(z)),
               "generator": lambda: gan.generator_loss(z)}
    for name, loss in players.items():
        player = getattr(gan, name)
        other = gan.generator if name == "discriminator" else gan.discriminator
        optimizer = Adam(player.parameters(), lr=1e-3, betas=(0.5, 0.999))
        before, first = [p.data.copy() for p in other.parameters()], loss().item()
        for _ in range(5):
            optimizer.zero_grad()
            loss().backward()
            assert all(p.grad is not None and np.abs(p.grad).max() > 0 for p in player.parameters())
            optimizer.step()
        assert loss().item() < first
        for p, b in zip(other.parameters(), before, strict=True):
            np.testing.assert_array_equal(p.data, b)


@pytest.mark.parametrize("make", [dcgan, dense_gan])
def test_a_step_on_other_arrays_is_the_same_and_reads_nothing(make):
    """In float64, since in float32 rounding may put an activation on the other side of its kink."""
    here, there = (make().move(lambda a: a.astype(np.float64)) for _ in range(2))
    there.move(stand_in.strict.asarray)
    x, z = X, here.noise(6, rng(3), like=X)
    for gan, to in ((here, lambda a: a), (there, stand_in.strict.asarray)):
        with stand_in.no_host_reads():
            gan.discriminator_loss(to(x), gan.generate(to(z))).backward()
            gan.generator_loss(to(z)).backward()
    for name, p in here.named_parameters().items():
        q = there.named_parameters()[name].grad.get()
        np.testing.assert_allclose(q, p.grad, rtol=1e-9, atol=1e-10 * np.abs(p.grad).max() + 1e-13, err_msg=name)


@pytest.mark.parametrize("make", [dense_generator, dcgan_generator])
@pytest.mark.parametrize("spoil, words", [
    (lambda x: (255 * x).astype("uint8"), "real samples are uint8"), (lambda x: 255 * x, r"must lie in \[0, 1\]"),
    (lambda x: 2 * x - 1, r"generated samples lie in \[0, 1\], so real samples must lie in")])
def test_real_images_are_of_the_range_that_is_drawn(make, spoil, words):
    rng = np.random.default_rng(0)
    gan = GAN(make(rng=rng), dense_discriminator(rng=rng), 30 if make is dense_generator else 100)
    x = rng.random((4, 28, 28, 1), dtype=np.float32)
    fake = gan.generate(gan.noise(4, rng, x))
    gan.discriminator_loss(x, fake)
    with pytest.raises((ValueError, TypeError), match=words):
        gan.discriminator_loss(spoil(x), fake)


def test_samples_of_any_range_go_with_a_linear_generator():
    rng = np.random.default_rng(0)
    gan = GAN(Sequential(Dense(3, 2, rng=rng)), Sequential(Dense(2, 1, rng=rng)), np.int64(3))
    x = 100 * rng.standard_normal((4, 2), dtype=np.float32)
    gan.discriminator_loss(x, gan.generate(gan.noise(4, rng, x)))
    tanh = GAN(Sequential(Dense(3, 2, rng=rng), ops.tanh), Sequential(Dense(2, 1, rng=rng)), 3)
    tanh.discriminator_loss(-abs(x) / 1000, x)
    with pytest.raises(ValueError, match=r"samples lie in \[-1, 1\]"):
        tanh.discriminator_loss(x, x)
    for latent in (0, 2.5, "3"):
        with pytest.raises(ValueError, match="^GAN: latent is a whole number ≥ 1"):
            GAN(gan.generator, gan.discriminator, latent)
