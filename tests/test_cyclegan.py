"""CycleGAN: its losses by hand, whom each of them trains, what cycles leave open, and the nets for images."""

import numpy as np
import pytest

from scratchnet import Tensor, check, games, grad, ops
from scratchnet.layers import Dense, Sequential
from scratchnet.models.gans import CycleGAN
from scratchnet.models.gans.cyclegan import Residual, image_discriminator, image_generator, instance_norm

A = np.random.default_rng(1).normal(size=(5, 2))
B = np.random.default_rng(2).normal(size=(7, 2)) + 1


def rng(seed=0):
    return np.random.default_rng(seed)


def tiny(seed, outputs=2):
    """A smooth net in float64."""
    net = Sequential(Dense(2, 4, rng=rng(seed)), ops.tanh, Dense(4, outputs, rng=rng(seed + 10)))
    return net.move(lambda a: a.astype(np.float64))


def small(**options):
    return CycleGAN(tiny(1), tiny(2), tiny(3, 1), tiny(4, 1), **options)


def scale(w):
    """x → x w as a net, w (inputs, outputs)"""
    layer = Dense(*np.shape(w), bias=False, rng=rng()).move(lambda a: a.astype(np.float64))
    layer.w.data[...] = w
    return layer


# ---------------------------------------------------------------- the loss

def test_the_losses_by_hand():
    """G doubles, F halves and flips the sign; D_A(x) = x₁, D_B(x) = 3 x₂"""
    gan = CycleGAN(scale(2 * np.eye(2)), scale(-0.5 * np.eye(2)), scale([[1.0], [0]]), scale([[0.0], [3]]), cycle=5.0,
                   identity=0.7)
    fake_b, fake_a = gan.translate(A, B)
    np.testing.assert_allclose(fake_b, 2 * A)
    np.testing.assert_allclose(fake_a, -0.5 * B)
    assert gan.discriminator_loss(A, B, fake_a, fake_b).item() == pytest.approx(
        0.5 * np.mean((A[:, 0] - 1)**2) + 0.5 * np.mean(fake_a[:, 0]**2)
        + 0.5 * np.mean((3 * B[:, 1] - 1)**2) + 0.5 * np.mean((3 * fake_b[:, 1])**2))
    fooled = 0.5 * np.mean((6 * A[:, 1] - 1)**2) + 0.5 * np.mean((-0.5 * B[:, 0] - 1)**2)
    cycles = np.abs(-A - A).mean() + np.abs(-B - B).mean()
    identity = np.abs(2 * B - B).mean() + np.abs(-0.5 * A - A).mean()
    assert gan.generator_loss(A, B).item() == pytest.approx(fooled + 5 * cycles + 0.7 * identity)
    gan.identity = 0.0
    assert gan.generator_loss(A, B).item() == pytest.approx(fooled + 5 * cycles)
    gan.cycle = 0.0
    assert gan.generator_loss(A, B).item() == pytest.approx(fooled)


def test_domains_of_unlike_sizes():
    """Samples of A have 2 numbers, those of B have 3, and G and F map between them."""
    gan = CycleGAN(scale(rng(1).normal(size=(2, 3))), scale(rng(2).normal(size=(3, 2))), tiny(3, 1),
                   scale(np.ones((3, 1))))
    b = rng(3).normal(size=(4, 3))
    fake_b, fake_a = gan.translate(A, b)
    assert fake_b.shape == (5, 3) and fake_a.shape == (4, 2)
    assert np.isfinite(gan.generator_loss(A, b).item() + gan.discriminator_loss(A, b, fake_a, fake_b).item())


@pytest.mark.parametrize("name", games.GAMES)
def test_gradients_in_every_game(name):
    gan = small(game=name, cycle=1.5, identity=0.3)
    fake_b, fake_a = gan.translate(A, B)
    check.gradients(lambda: gan.generator_loss(A, B), parameters=gan.G)
    check.gradients(lambda: gan.generator_loss(A, B), parameters=gan.F)
    for D in (gan.D_A, gan.D_B):
        check.gradients(lambda: gan.discriminator_loss(A, B, fake_a, fake_b), parameters=D)


@pytest.mark.parametrize(("cycle", "identity"), [(10.0, 0.0), (0.0, 0.0), (0.0, 5.0)])
def test_each_player_trains_itself_alone(cycle, identity):
    gan = small(cycle=cycle, identity=identity)
    fake_b, fake_a = gan.translate(A, B)
    assert type(fake_b) is type(fake_a) is np.ndarray
    gan.discriminator_loss(A, B, fake_a, fake_b).backward()
    generators, discriminators = (x.parameters() + y.parameters() for x, y in ((gan.G, gan.F), (gan.D_A, gan.D_B)))
    assert all(p.grad is None for p in generators) and all(p.grad is not None for p in discriminators)
    for p in gan.parameters():
        p.grad = None
    gan.generator_loss(A, B).backward()
    assert all(p.grad is not None for p in generators) and all(p.grad is None for p in discriminators)
    assert all(p.requires_grad for p in gan.parameters())


def test_a_wrong_pairing_is_as_consistent_as_the_right_one():
    """B is A turned by 90°, and A equals −A: G may turn left or right, and no loss can tell."""
    turn = np.array([[0.0, 1], [-1, 0]])
    a = np.concatenate([A, -A])
    b, D_A, D_B = a @ turn, tiny(3, 1), tiny(4, 1)
    losses = [CycleGAN(scale(s * turn), scale(s * turn.T), D_A, D_B).generator_loss(a, b).item() for s in (1.0, -1.0)]
    assert losses[0] == pytest.approx(losses[1])
    assert CycleGAN(scale(turn), scale(-turn.T), D_A, D_B).generator_loss(a, b).item() > losses[0] + 1


@pytest.mark.parametrize("weight", ["cycle", "identity"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_wrong_weights(weight, value):
    with pytest.raises(ValueError, match=f"^CycleGAN: {weight} is a weight ≥ 0, got {value}"):
        small(**{weight: value})


def test_errors():
    with pytest.raises(ValueError, match="^there is no game 'squares', expected one of minimax, "):
        small(game="squares")
    with pytest.raises(ValueError, match=r"both arguments need the same shape, got \(5, 3\) and \(5, 2\)"):
        CycleGAN(scale(np.ones((2, 2))), scale(np.ones((2, 3))), scale(np.ones((3, 1))),
                 tiny(4, 1)).generator_loss(A, B)


# ---------------------------------------------------------------- nets for images

def test_instance_norm():
    x = 3 * rng().normal(size=(3, 5, 4, 2)) + 7
    expected = np.empty_like(x)
    for n in range(3):
        for c in range(2):
            v = x[n, :, :, c]
            expected[n, :, :, c] = (v - v.mean()) / np.sqrt(v.var() + 1e-5)
    np.testing.assert_allclose(instance_norm(x), expected)
    np.testing.assert_allclose(instance_norm(x[1:2]), expected[1:2])          # each image on its own
    np.testing.assert_array_equal(instance_norm(np.full((1, 2, 3, 1), 4.0)), 0.0)
    check.gradients(instance_norm, x, order=2)


def test_a_residual_block_adds_to_its_input():
    block, x = Residual(3, rng=rng()), rng(1).normal(size=(2, 4, 5, 3)).astype(np.float32)
    y = block(x).data - x
    np.testing.assert_allclose(y.mean(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axis=(1, 2)), 1, atol=1e-2)
    block.conv2.w.data[...] = 0.0
    np.testing.assert_array_equal(block(x).data, x)


def test_the_nets_for_images():
    G, D = image_generator(4, rng=rng()), image_discriminator(3, rng=rng(1))
    x = rng(2).random((2, 28, 28, 1)).astype(np.float32)
    y = G(x)
    assert y.shape == x.shape and y.dtype == np.float32 and 0 < y.data.min() < y.data.max() < 1
    assert sum(p.size for p in G.parameters()) == 64 * 4 + 2 * 9 * 16 + 64 * 4 + 1
    logits = D(x)
    assert logits.shape == (2, 7, 7, 1)
    assert sum(p.size for p in D.parameters()) == 17 * 3 + 6 * (16 * 3 + 1) + 16 * 6 + 1
    seen = grad(D(t := Tensor(x, requires_grad=True))[0, 3, 3, 0], t).data[..., 0] != 0
    rows, columns = seen[0].any(axis=1).nonzero()[0], seen[0].any(axis=0).nonzero()[0]
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 22 and not seen[1].any()  # a patch of its own image


def test_a_step_lowers_each_loss():
    nets = [image_generator(4, rng=rng(k)) for k in (0, 1)] + [image_discriminator(2, rng=rng(k)) for k in (2, 3)]
    gan = CycleGAN(*nets).move(lambda x: x.astype(np.float64))
    a, b = rng(4).random((2, 3, 28, 28, 1))
    fake_b, fake_a = gan.translate(a, b)
    for players, loss in (((gan.G, gan.F), lambda: gan.generator_loss(a, b)),
                          ((gan.D_A, gan.D_B), lambda: gan.discriminator_loss(a, b, fake_a, fake_b))):
        before, parameters = loss(), [p for net in players for p in net.parameters()]
        slopes = grad(before, parameters)
        for p, g in zip(parameters, slopes, strict=True):
            p.data -= 1e-6 * g.data
        expected = -1e-6 * sum((g.data**2).sum() for g in slopes)
        assert expected < 0 and loss().item() - before.item() == pytest.approx(expected, rel=0.05)


def test_images_of_another_range_are_refused():
    rng = np.random.default_rng(0)
    model = CycleGAN(*[image_generator(2, rng=rng) for _ in "GF"],
                              *[image_discriminator(2, rng=rng) for _ in "AB"], cycle=np.float64(10))
    x = rng.random((2, 28, 28, 1), dtype=np.float32)
    assert model.generator_loss(x, x).dtype == np.float32
    for a, b in ((255 * x, x), (x, 255 * x), (x, (255 * x).astype("uint8"))):
        for loss in (lambda a, b: model.discriminator_loss(a, b, x, x), model.generator_loss):
            with pytest.raises((ValueError, TypeError), match="^CycleGAN: (generated samples lie|real samples)"):
                loss(a, b)
