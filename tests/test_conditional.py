"""Conditional GAN and image to image: the losses by hand, whom each of them trains, and what each player sees."""

import numpy as np
import pytest

from scratchnet import Tensor, check, grad, ops
from scratchnet.layers import Dense, Dropout, Reshape, Sequential
from scratchnet.models.gans import (
    ConditionalGAN,
    ImageToImage,
    PatchDiscriminator,
    UNet,
    WithLabel,
    WithoutLabel,
    wrong_labels,
)
from scratchnet.models.gans.conditional_gan import digit_discriminator, digit_generator
from scratchnet.optimizers import SGD


def rng(seed=0):
    return np.random.default_rng(seed)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def doubled(module):
    return module.move(lambda a: a.astype(np.float64))


X, FAKE, Z = rng(1).random((6, 2, 3, 1)), rng(2).random((6, 2, 3, 1)), rng(3).normal(size=(6, 2))
Y, OTHER = np.array([0, 1, 2, 3, 3, 0]), np.array([1, 3, 0, 2, 1, 3])
KINDS = {"mismatched": OTHER, "not mismatched": None}


def small(sees_label=True):
    generator = Sequential(Dense(2 + 4, 3, rng=rng()), ops.tanh, Dense(3, 6, rng=rng(1)), Reshape(2, 3, 1))
    net = Sequential(Dense(6 + 4 * sees_label, 3, rng=rng(2)), ops.tanh, Dense(3, 1, rng=rng(3)))
    return doubled(ConditionalGAN(WithLabel(generator, 4), WithLabel(net, 4) if sees_label else WithoutLabel(net), 2))


# ---------------------------------------------------------------- pairs of image and label

def test_the_label_stands_beside_the_image():
    np.testing.assert_array_equal(
        WithLabel(lambda h: h, 4)(X, Y), np.concatenate([X.reshape(6, 6), np.eye(4)[Y]], axis=1))
    np.testing.assert_array_equal(WithoutLabel(lambda h: h)(X, Y), X.reshape(6, 6))
    assert WithLabel(lambda h: h, 4)(X.astype(np.float32), Y.astype(np.uint8)).dtype == np.float32
    with pytest.raises(ValueError, match="^WithLabel: 6 samples and 5 labels, expected equal numbers"):
        WithLabel(lambda h: h, 4)(X, Y[:5])


@pytest.mark.parametrize("kind", KINDS)
def test_loss_of_the_discriminator_by_hand(kind):
    gan, other = small(), KINDS[kind]
    p = gan.discriminator.state_dict()

    def D(x, y):
        h = np.concatenate([x.reshape(6, 6), np.eye(4)[y]], axis=1)
        return sigmoid(np.tanh(h @ p["net.steps.0.w"] + p["net.steps.0.b"]) @ p["net.steps.2.w"] + p["net.steps.2.b"])
    generated = np.log(1 - D(FAKE, Y)).mean()
    wrong = generated if other is None else (generated + np.log(1 - D(X, other)).mean()) / 2
    assert gan.discriminator_loss(X, Y, FAKE, other).item() == pytest.approx(-np.log(D(X, Y)).mean() - wrong)
    fake = gan.generate(Z, Y)
    assert gan.generator_loss(Z, Y).item() == pytest.approx(-np.log(D(fake, Y)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_both_losses(kind):
    gan = small()
    check.gradients(lambda x, fake: gan.discriminator_loss(x, Y, fake, KINDS[kind]), X, FAKE, order=2)
    check.gradients(lambda: gan.discriminator_loss(X, Y, FAKE, KINDS[kind]), parameters=gan.discriminator)
    check.gradients(lambda z: gan.generator_loss(z, Y), Z, order=2)
    check.gradients(lambda: gan.generator_loss(Z, Y), parameters=gan.generator)


def test_each_player_trains_itself_alone():
    gan = small()
    gan.discriminator_loss(X, Y, gan.generate(Z, Y), OTHER).backward()
    assert all(p.grad is not None for p in gan.discriminator.parameters())
    assert all(p.grad is None for p in gan.generator.parameters())
    for p in gan.parameters():
        p.grad = None
    gan.generator_loss(Z, Y).backward()
    assert all(p.grad is None for p in gan.discriminator.parameters())
    assert all(p.grad is not None and p.requires_grad for p in gan.generator.parameters())


def test_the_best_discriminator_of_pairs():
    """On a finite set of pairs, with a table of logits as D, the loss is least at D = p / (p + ½ q + ½ m)."""
    images, labels, fakes, others = (np.array(a) for a in (
        [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 1]))
    counts = np.zeros((3, 2, 2))
    for count, x, y in zip(counts, (images, fakes, images), (labels, labels, others), strict=True):
        np.add.at(count, (x, y), 1 / 6)
    p, q, m = counts
    best = np.log(p / (0.5 * q + 0.5 * m))
    logits = Tensor(best.copy(), requires_grad=True)
    gan = ConditionalGAN(None, lambda x, y: logits[x, y], 0)
    loss = gan.discriminator_loss(images, labels, fakes, others)
    np.testing.assert_allclose(sigmoid(best), p / (p + 0.5 * q + 0.5 * m))
    np.testing.assert_allclose(grad(loss, logits).data, 0, atol=1e-12)
    # if images determine their labels and G is perfect: ⅔ for matched pairs, 0 for mismatched ones
    p = q = np.eye(2) / 2
    np.testing.assert_allclose(p / (p + 0.5 * q + 0.5 * (1 - np.eye(2)) / 2), np.eye(2) * 2 / 3)


def test_only_mismatched_pairs_teach_the_match():
    """Without a useful G (its images are all zeros), D gives a real image the same score with any label, unless it sees
    wrong ones."""
    x, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 4
    gaps = {}
    for shown in (True, False):
        gan = doubled(ConditionalGAN(None, WithLabel(Sequential(Dense(8, 16, rng=rng()), ops.tanh,
                                                                Dense(16, 1, rng=rng(1))), 4), 0))
        optimizer, draws = SGD(gan.parameters(), lr=0.5), rng(2)
        for _ in range(200):
            other = wrong_labels(y, 4, draws)
            loss = gan.discriminator_loss(x, y, 0.0 * x, other if shown else None)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        gaps[shown] = sigmoid(gan.discriminator(x, y).data).mean() - sigmoid(gan.discriminator(x, other).data).mean()
    assert gaps[True] > 0.8 and abs(gaps[False]) < 0.05


def test_a_discriminator_that_ignores_the_label():
    gan = small(sees_label=False)
    np.testing.assert_array_equal(gan.discriminator(X, Y).data, gan.discriminator(X, OTHER).data)
    assert not np.allclose(small().discriminator(X, Y).data, small().discriminator(X, OTHER).data)


def test_wrong_labels():
    y = rng().integers(0, 5, 20_000).astype(np.uint8)
    other = wrong_labels(y, 5, rng(1))
    counts = np.zeros((5, 5))
    np.add.at(counts, (y, other), 1)
    assert (np.diag(counts) == 0).all() and counts.sum() == 20_000
    off = counts[~np.eye(5, dtype=bool)]
    assert abs(off / 1000 - 1).max() < 0.15                                   # 1000 ± 31 of each
    np.testing.assert_array_equal(wrong_labels(np.array([0, 1, 1]), 2, rng()), [1, 0, 0])
    np.testing.assert_array_equal(wrong_labels(y, 5, rng(1)), other)
    with pytest.raises(ValueError, match="^wrong_labels: 1 classes, expected at least 2"):
        wrong_labels(y, 1, rng())
    for wrong in (y + 5, y - 5):
        with pytest.raises(ValueError, match="^wrong_labels: labels must lie in 0 … 4, got "):
            wrong_labels(wrong, 5, rng())
    with pytest.raises(TypeError, match="^wrong_labels: labels are float32, expected integers"):
        wrong_labels(y.astype(np.float32), 5, rng())
    assert len(wrong_labels(y[:0], 5, rng())) == 0


def test_the_nets_for_digits():
    gan = ConditionalGAN(WithLabel(digit_generator(8 + 10, rng=rng()), 10),
                         WithLabel(digit_discriminator(794, rng=rng()), 10), 8)
    z = gan.noise(5, rng(4), np.zeros(1, np.float32))
    x = gan.generate(z, np.arange(5))
    assert z.shape == (5, 8) and x.shape == (5, 28, 28, 1) and x.dtype == np.float32 and 0 < x.min() < x.max() < 1
    assert gan.discriminator(x, np.arange(5)).shape == (5, 1)
    assert not np.array_equal(x, gan.generate(z, np.arange(1, 6)))
    assert sum(p.size for p in gan.discriminator.parameters()) == 795 * 256 + 257 * 128 + 129
    assert [type(step) for step in gan.discriminator.net.steps].count(Dropout) == 2


# ---------------------------------------------------------------- image to image

ASKED, TRUE = rng(5).random((3, 8, 5, 1)), rng(6).random((3, 8, 5, 1))


def pair():
    """G maps each pixel by a function of 2 parameters; D maps a pair smoothly to a logit for each patch of 2 × 1."""
    generator = Sequential(Dense(1, 1, rng=rng()), ops.tanh)
    net = Sequential(Dense(4, 3, rng=rng(1)), ops.tanh, Dense(3, 1, rng=rng(2)))

    class Pairs(Sequential):
        def __call__(self, x, y):
            h = ops.concat([x, y], axis=-1)
            return super().__call__(ops.concat([h[:, ::2], h[:, 1::2]], axis=-1))
    return doubled(ImageToImage(generator, Pairs(net), 7.0))


def test_losses_of_image_to_image_by_hand():
    model = pair()
    p = model.state_dict()
    answer = np.tanh(ASKED @ p["generator.steps.0.w"] + p["generator.steps.0.b"])
    np.testing.assert_allclose(model.generate(ASKED), answer)

    def D(x, y):
        return sigmoid(model.discriminator(x, y).data)
    assert D(ASKED, TRUE).shape == (3, 4, 5, 1)
    expected = -(np.log(D(ASKED, TRUE)).mean() + np.log(1 - D(ASKED, answer)).mean()) / 2
    assert model.discriminator_loss(ASKED, TRUE, answer).item() == pytest.approx(expected)
    expected = -np.log(D(ASKED, answer)).mean() + 7 * np.abs(answer - TRUE).mean()
    assert model.generator_loss(ASKED, TRUE).item() == pytest.approx(expected)


def test_gradients_of_image_to_image():
    model = pair()
    fake = model.generate(ASKED)
    check.gradients(lambda: model.discriminator_loss(ASKED, TRUE, fake), parameters=model.discriminator)
    check.gradients(lambda: model.generator_loss(ASKED, TRUE), parameters=model.generator)
    model.generator_loss(ASKED, TRUE).backward()
    assert all(p.grad is None for p in model.discriminator.parameters())
    assert all(p.grad is not None for p in model.generator.parameters())
    for p in model.parameters():
        p.grad = None
    model.discriminator_loss(ASKED, TRUE, model.generate(ASKED)).backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


def test_shapes_and_gradients_of_the_nets():
    G, D = doubled(UNet(1, rng=rng())), doubled(PatchDiscriminator(2, rng=rng(1)))
    x = rng(7).random((1, 28, 28, 1))
    y = G(x).data
    assert y.shape == x.shape and 0 < y.min() < y.max() < 1
    assert D(x, y).shape == (1, 7, 7, 1)
    assert UNet(2, rng=rng())(x.astype(np.float32)).dtype == np.float32
    check.gradients(lambda: ops.square(G(x) - 0.3).sum(), parameters=G)
    check.gradients(lambda: ops.square(D(x, y)).sum(), parameters=D)


def seen_by(f, x, row, column):
    """The rows and the columns of x (1, H, W, 1) on which the output f(x)[0, row, column] depends"""
    x = Tensor(x, requires_grad=True)
    g = grad(f(x)[0, row, column].sum(), x).data[0, :, :, 0]
    return np.flatnonzero(g.any(axis=1)), np.flatnonzero(g.any(axis=0))


def test_a_logit_sees_a_patch_of_both_images():
    D, x, y = doubled(PatchDiscriminator(8, rng=rng())), rng(7).random((1, 28, 28, 1)), rng(8).random((1, 28, 28, 1))
    for f, at in ((lambda x: D(x, y), x), (lambda y: D(x, y), y)):
        for indices in seen_by(f, at, 3, 3):
            np.testing.assert_array_equal(indices, np.arange(5, 23))          # 18 of 28, in the middle


def test_the_narrow_middle_sees_everything_and_the_skips_go_round_it():
    G, x = doubled(UNet(8, rng=rng())), rng(7).random((1, 28, 28, 1))
    for indices in seen_by(G, x, 14, 14):
        np.testing.assert_array_equal(indices, np.arange(28))
    for layer in (G.middle, G.up3):
        layer.w.data[...] = 0.0                                               # the middle says nothing
    for indices in seen_by(G, x, 14, 14):
        np.testing.assert_array_equal(indices, np.arange(5, 23))              # the skip from 7×7
    G.up2.w.data[...] = 0.0
    for indices in seen_by(G, x, 14, 14):
        np.testing.assert_array_equal(indices, np.arange(11, 17))             # the skip from 14×14


def test_weight_of_the_l1_loss_is_not_negative():
    with pytest.raises(ValueError, match="^ImageToImage: weight is a number ≥ 0, got -3"):
        ImageToImage(None, None, -3)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"^UNet: images \(2, 20, 28, 1\), expected \(N, 28, 28, 1\)"):
        UNet(2, rng=rng())(np.zeros((2, 20, 28, 1), np.float32))


def test_labels_are_arrays_or_tensors_of_integers():
    rng = np.random.default_rng(0)
    net = WithLabel(Sequential(Dense(5, 1, rng=rng)), 3)
    x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 2, 0])
    np.testing.assert_array_equal(net(x, Tensor(y)).data, net(x, y).data)
    np.testing.assert_array_equal(wrong_labels(Tensor(y), 3, np.random.default_rng(1)),
                                  wrong_labels(y, 3, np.random.default_rng(1)))
    for odd in ([0, 1, 2, 0], None, "0120"):
        with pytest.raises(TypeError, match="^WithLabel: y must be an array or a Tensor"):
            net(x, odd)
        with pytest.raises(TypeError, match="^wrong_labels: y must be an array or a Tensor"):
            wrong_labels(odd, 3, rng)
    for odd in (y.astype(np.float32), y > 0):
        with pytest.raises(TypeError, match="^one_hot: labels are"):
            net(x, odd)


def test_real_images_of_another_range_are_refused():
    rng = np.random.default_rng(0)
    gan = ConditionalGAN(
        WithLabel(digit_generator(12, rng=rng), 10),
        WithLabel(digit_discriminator(794, rng=rng), 10), 2)
    x, y = rng.random((4, 28, 28, 1), dtype=np.float32), np.arange(4)
    fake = gan.generate(gan.noise(4, rng, x), y)
    gan.discriminator_loss(x, y, fake)
    pix = ImageToImage(UNet(2, rng=rng), lambda x, y: y.mean(axis=(1, 2)), 1.0)
    for spoiled in (255 * x, (255 * x).astype("uint8")):
        with pytest.raises((ValueError, TypeError), match="^discriminator_loss: (generated samples lie|real samples)"):
            gan.discriminator_loss(spoiled, y, fake)
        with pytest.raises((ValueError, TypeError), match="^discriminator_loss: (generated samples lie|real samples)"):
            pix.discriminator_loss(x, spoiled, fake)
        with pytest.raises((ValueError, TypeError), match="^generator_loss: (generated samples lie|real samples)"):
            pix.generator_loss(x, spoiled)
