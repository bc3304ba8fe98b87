"""Games of two players: the losses by hand, their gradients, and the remedies that keep the game in balance."""

import numpy as np
import pytest

from scratchnet import Tensor, adversarial, check, games, grad, layers, no_grad, ops
from scratchnet.layers import BatchNorm, Dense, Sequential
from scratchnet.models.gans import GAN
from scratchnet.models.gans.point_nets import dense_net, pacgan_discriminator, pacgan_generator
from scratchnet.optimizers import SGD

A = np.random.default_rng(1).normal(size=(5, 1)) * 3   # logits of real samples
B = np.random.default_rng(2).normal(size=(7, 1)) * 3   # of generated ones


def rng(seed=0):
    return np.random.default_rng(seed)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def tiny(rng, outputs=1, inputs=2):
    """A smooth net in float64."""
    net = Sequential(Dense(inputs, 6, rng=rng), ops.tanh, Dense(6, outputs, rng=rng))
    return net.move(lambda a: a.astype(np.float64))


# ---------------------------------------------------------------- the games

BY_HAND = {
    "minimax": (lambda a, b: -np.log(sigmoid(a)).mean() - np.log(1 - sigmoid(b)).mean(),
                lambda b: np.log(1 - sigmoid(b)).mean()),
    "non-saturating": (lambda a, b: -np.log(sigmoid(a)).mean() - np.log(1 - sigmoid(b)).mean(),
                       lambda b: -np.log(sigmoid(b)).mean()),
    "least squares": (lambda a, b: ((a - 1)**2).mean() / 2 + (b**2).mean() / 2, lambda b: ((b - 1)**2).mean() / 2),
    "hinge": (lambda a, b: np.maximum(0, 1 - a).mean() + np.maximum(0, 1 + b).mean(), lambda b: -b.mean()),
    "wasserstein": (lambda a, b: b.mean() - a.mean(), lambda b: -b.mean())}


@pytest.mark.parametrize("name", games.GAMES)
def test_the_losses_by_hand_and_their_gradients(name):
    of_discriminator, of_generator = games.losses_of(name)
    by_hand = BY_HAND[name]
    assert of_discriminator(A, B) == pytest.approx(by_hand[0](A, B))
    assert of_generator(B) == pytest.approx(by_hand[1](B))
    smooth = name not in ("hinge", "wasserstein")  # those have constant slopes and no second derivative
    check.gradients(of_discriminator, A, B, order=1 + smooth)
    check.gradients(of_generator, B, order=1 + smooth)


def test_generator_and_discriminator_pull_in_opposite_directions():
    """In each game, G's step raises the logits of generated samples, and D's step lowers them."""
    for name, (of_discriminator, of_generator) in games.GAMES.items():
        b = Tensor(np.full((3, 1), 0.3), requires_grad=True)
        assert (grad(of_generator(b), b).data < 0).all(), name
        assert (grad(of_discriminator(A, b), b).data > 0).all(), name


def test_who_starves_and_who_does_not():
    for confidence in (1e-2, 1e-4, 1e-8):
        b = Tensor(np.array([np.log(confidence / (1 - confidence))]), requires_grad=True)
        assert grad(games.saturating_generator(b), b).data == pytest.approx(-confidence)
        assert grad(games.non_saturating_generator(b), b).data == pytest.approx(-(1 - confidence))


def test_extreme_logits_stay_finite():
    for _name, (of_discriminator, of_generator) in games.GAMES.items():
        for x in (1e4, -1e4):
            a = np.full((2, 1), x, np.float32)
            assert np.isfinite(of_discriminator(a, a)) and np.isfinite(of_generator(a))


def test_label_smoothing():
    expected = -(0.8 * np.log(sigmoid(A)) + 0.2 * np.log(1 - sigmoid(A))).mean() - np.log(1 - sigmoid(B)).mean()
    assert games.minimax_discriminator(A, B, 0.2) == pytest.approx(expected)
    check.gradients(lambda a, b: games.minimax_discriminator(a, b, 0.2), A, B, order=2)
    a = np.array([[np.log(0.8 / 0.2)]])
    assert grad(games.minimax_discriminator(x := Tensor(a, requires_grad=True), B, 0.2), x).data == pytest.approx(0)
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"^minimax_discriminator: smoothing is a share in \[0, 1\), got"):
            games.minimax_discriminator(A, B, wrong)


def test_the_best_discriminator_reaches_the_jensen_shannon_divergence():
    """On a finite set, −loss has its maximum 2 JS − 2 ln 2 at D* = p/(p + q)."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    m = (p + q) / 2
    js = (p * np.log(p / m)).sum() / 2 + (q * np.log(q / m)).sum() / 2
    real, fake = np.repeat(range(3), (5, 3, 2)), np.repeat(range(3), (1, 3, 6))
    best = np.log(p / q)
    assert -games.minimax_discriminator(best[real], best[fake]) == pytest.approx(2 * js - 2 * np.log(2))
    for other in rng().normal(size=(20, 3)):
        assert -games.minimax_discriminator((best + other)[real], (best + other)[fake]) < 2 * js - 2 * np.log(2)


def test_unknown_games_are_refused():
    with pytest.raises(ValueError, match=r"^there is no game 'wassertein', expected one of minimax, non-saturating,"):
        games.losses_of("wassertein")
    for wrong in (("hinge", "hinge"), (games.wasserstein_discriminator,), None, 3):
        with pytest.raises(ValueError, match="or a pair of losses"):
            games.losses_of(wrong)


def test_a_pair_of_losses_is_a_game():
    ours = small(game=(games.wasserstein_discriminator, lambda fake: -fake.sum()))
    theirs = small(game="wasserstein")
    real, z = rng(5).normal(size=(6, 2)).astype(np.float32), ours.noise(6, rng(6), np.zeros(1, np.float32))
    fake = ours.generate(z)
    assert ours.discriminator_loss(real, fake).item() == theirs.discriminator_loss(real, fake).item()
    assert ours.generator_loss(z).item() == pytest.approx(6 * theirs.generator_loss(z).item())


# ---------------------------------------------------------------- the gradient penalty

def test_penalty_of_a_linear_critic():
    w, real, fake = np.array([[3.0], [4.0]]), rng(3).normal(size=(6, 2)), rng(4).normal(size=(6, 2))
    assert adversarial.gradient_penalty(lambda x: ops.matmul(x, w), real, fake, rng()).item() == pytest.approx(16)
    assert adversarial.gradient_penalty(lambda x: ops.matmul(x, 0.2 * w), real, fake, rng()).item() == (
        pytest.approx(0, abs=1e-12))
    images = rng(3).normal(size=(4, 3, 5, 2))
    assert adversarial.gradient_penalty(lambda x: 2.0 * x.sum(axis=(1, 2, 3)), images, images + 1.0, rng()).item() == (
        pytest.approx((2 * np.sqrt(30) - 1)**2))


def test_penalty_is_taken_between_each_pair():
    """D(x) = ½ ‖x‖² has the gradient x̂ = u x + (1 − u) y, so its length shows where it was taken."""
    real, fake = np.full((400, 1, 2), [[3.0, 0.0]]), np.full((400, 1, 2), [[5.0, 0.0]])
    seen = []

    def discriminator(x):
        seen.append(x.data)
        return 0.5 * ops.square(x).sum(axis=(1, 2))
    penalty = adversarial.gradient_penalty(discriminator, real, fake, rng()).item()
    x = seen[0][:, 0, 0]
    assert 3 <= x.min() < 3.05 and 4.95 < x.max() < 5 and (seen[0][:, 0, 1] == 0).all()
    assert abs(x.mean() - 4) < 0.1 and penalty == pytest.approx(((x - 1)**2).mean())


def test_gradient_of_the_penalty_and_its_own():
    net, real, fake = tiny(rng()), rng(3).normal(size=(5, 2)), rng(4).normal(size=(5, 2))
    check.gradients(lambda: adversarial.gradient_penalty(net, real, fake, rng(7)), parameters=net, order=2)
    images = rng(3).normal(size=(3, 6, 5, 2))
    net = Sequential(layers.Conv2D(2, 3, 3, 2, rng=rng()), ops.tanh, layers.Flatten(), Dense(27, 1, rng=rng()))
    net.move(lambda a: a.astype(np.float64))
    check.gradients(lambda: adversarial.gradient_penalty(net, images, images[::-1].copy(), rng(7)), parameters=net)


def test_penalty_where_the_slope_is_zero_and_under_no_grad():
    net = tiny(rng())
    for p in net.parameters():
        p.data[...] = 0.0
    penalty = adversarial.gradient_penalty(net, A[:, [0, 0]], A[:, [0, 0]], rng())
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    penalty.backward()
    assert all(np.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    with no_grad():
        assert adversarial.gradient_penalty(net, A[:, [0, 0]], A[:, [0, 0]], rng()).item() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=r"^gradient_penalty: \(5, 1\) real and \(7, 1\) generated samples, expected"):
        adversarial.gradient_penalty(net, A, B, rng())


def test_clipping():
    net = tiny(rng())
    before = net.state_dict()
    adversarial.clip_weights(net.parameters(), 0.2)
    for name, w in net.state_dict().items():
        np.testing.assert_array_equal(w, np.clip(before[name], -0.2, 0.2))
    loss = ops.square(net(A[:, [0, 0]])).sum()
    adversarial.clip_weights(net.parameters(), 0.1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    for limit in (-0.1, 0.0, float("nan")):
        with pytest.raises(ValueError, match=f"^clip_weights: limit is above 0, got {limit}"):
            adversarial.clip_weights(net.parameters(), limit)


# ---------------------------------------------------------------- packs, replay

def test_packs():
    x = np.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(adversarial.pack(x, 3), x.reshape(2, 6))
    assert adversarial.pack(x, 1) is x
    images = rng().normal(size=(6, 4, 5, 3))
    packed = adversarial.pack(images, 2)
    assert packed.shape == (3, 4, 5, 6)
    np.testing.assert_array_equal(packed[1], np.concatenate([images[2], images[3]], axis=-1))
    check.gradients(lambda x: adversarial.pack(x, 2), images)
    for samples, m in ((x, 0), (x, 4), (x[:, 0], 2)):
        message = rf"^pack: samples \(6,.*\) in packs of {m}, expected \(N, …, C\), N a multiple"
        with pytest.raises(ValueError, match=message):
            adversarial.pack(samples, m)


def test_replay_returns_samples_it_has_seen():
    replay, n = adversarial.Replay(10, rng()), 0
    for step in range(50):
        fake = np.arange(n, n + 5.0)[:, None]
        mixed, n = replay.mix(fake), n + 5
        assert mixed.shape == fake.shape
        np.testing.assert_array_equal(mixed[2:] if step else mixed, fake[2:] if step else fake)
        assert step == 0 or (mixed[:2] < n - 5).all()
    assert replay.kept.shape == (10, 1) and len(np.unique(replay.kept)) == 10
    assert replay.kept.mean() > n / 2                                         # old samples have left
    assert not np.shares_memory(replay.kept, fake)


def test_replay_can_be_resumed():
    first, second = adversarial.Replay(7, rng()), adversarial.Replay(7, rng())
    batches = rng(1).normal(size=(6, 4, 2)).astype(np.float32)
    second.load_state_dict(first.state_dict())
    for fake in batches[:3]:
        first.mix(fake), second.mix(fake)
    other = adversarial.Replay(7, second.rng)
    other.load_state_dict(second.state_dict())
    for fake in batches[3:]:
        np.testing.assert_array_equal(first.mix(fake), other.mix(fake))
    state = other.state_dict()
    third, kept = adversarial.Replay(7, rng()), state["kept"].copy()
    third.load_state_dict(state)
    third.mix(batches[0])
    np.testing.assert_array_equal(state["kept"], kept)                            # a copy
    assert third.mix(batches[0][:0]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"^Replay: samples \(3,\), but \(2,\) are remembered"):
        third.mix(np.ones((4, 3)))
    with pytest.raises(ValueError, match="^Replay: 7 samples for a memory of 3"):
        adversarial.Replay(3, rng()).load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="^Replay: size is at least 1, got 0"):
        adversarial.Replay(0, rng())


# ---------------------------------------------------------------- unrolling

def test_unrolled_discriminator_is_the_one_after_the_steps():
    D, real, fake = tiny(rng()), rng(3).normal(size=(5, 2)), rng(4).normal(size=(5, 2))

    def loss():
        return games.minimax_discriminator(D(real), D(fake))
    before = D.state_dict()
    with adversarial.unrolled(D, loss, 3, 0.7):
        ahead = D(real).data
    for name, w in D.state_dict().items():
        np.testing.assert_array_equal(w, before[name])
    assert all(p.grad is None for p in D.parameters())
    optimizer = SGD(D.parameters(), lr=0.7)
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    with no_grad():
        np.testing.assert_allclose(D(real).data, ahead, rtol=1e-10)


def test_the_generator_foresees_the_answer_of_the_discriminator():
    """The gradient in the generated samples, through D's steps as well, against differences."""
    D, real = tiny(rng()), rng(3).normal(size=(5, 2))

    def loss(fake):
        with adversarial.unrolled(D, lambda: games.minimax_discriminator(D(real), D(fake)), 2, 0.5):
            return games.non_saturating_generator(D(fake))
    fake = rng(4).normal(size=(4, 2))
    check.gradients(loss, fake)
    x = Tensor(fake, requires_grad=True)
    blind = grad(games.non_saturating_generator(D(x)), x).data
    assert np.abs(grad(loss(x), x).data - blind).max() > 1e-2
    with adversarial.unrolled(D, lambda: games.minimax_discriminator(D(real), D(x)), 0, 0.5):
        np.testing.assert_array_equal(grad(games.non_saturating_generator(D(x)), x).data, blind)


def test_unrolling_leaves_no_trace_in_the_discriminator():
    D = Sequential(layers.SpectralDense(2, 5, rng=rng()), BatchNorm(5), ops.tanh, Dense(5, 1, rng=rng()))
    x, before = Tensor(rng(4).normal(size=(6, 2)).astype(np.float32), requires_grad=True), D.state_dict()
    with adversarial.unrolled(D, lambda: games.minimax_discriminator(D(x.data + 1.0), D(x)), 2, 0.3):
        loss = games.non_saturating_generator(D(x))
    loss.backward()
    assert np.abs(x.grad).max() > 0 and all(p.grad is None for p in D.parameters())
    for name, array in D.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize(("steps", "lr"), [(-2, 0.1), (2, -0.1), (2, float("nan")), (2, float("inf"))])
def test_unrolling_refuses_negative_steps(steps, lr):
    with pytest.raises(ValueError, match=f"^unrolled: {steps} steps of learning rate {lr}, expected both ≥ 0"), \
            adversarial.unrolled(tiny(rng()), None, steps, lr):
        pass


def test_unrolling_is_undone_after_an_error():
    D = tiny(rng())
    parameters = D.parameters()
    with pytest.raises(ZeroDivisionError), adversarial.unrolled(D, lambda: D(A[:, [0, 0]]).sum(), 1, 0.1):
        raise ZeroDivisionError
    assert all(p is q for p, q in zip(D.parameters(), parameters, strict=True))


# ---------------------------------------------------------------- the model

def small(**options):
    return GAN(dense_net([3, 8, 2], rng=rng()), dense_net([2 * options.get("packing", 1), 8, 1], rng=rng(1)), 3,
               **options)


@pytest.mark.parametrize("name", games.GAMES)
@pytest.mark.parametrize("packing", [1, 2])
def test_each_player_trains_itself_alone(name, packing):
    gan = small(game=name, packing=packing)
    real, z = rng(5).normal(size=(6, 2)).astype(np.float32), gan.noise(6, rng(6), np.zeros(1, np.float32))
    assert z.shape == (6, 3) and z.dtype == np.float32
    gan.discriminator_loss(real, gan.generate(z)).backward()
    assert all(p.grad is not None for p in gan.discriminator.parameters())
    assert all(p.grad is None for p in gan.generator.parameters())
    for p in gan.parameters():
        p.grad = None
    gan.generator_loss(z).backward()
    assert all(p.grad is None for p in gan.discriminator.parameters())
    assert all(p.grad is not None for p in gan.generator.parameters())
    assert all(p.requires_grad for p in gan.parameters())


def test_the_gradient_of_both_losses():
    gan = small(packing=2).move(lambda a: a.astype(np.float64))
    real, z = rng(5).normal(size=(6, 2)), rng(6).normal(size=(6, 3))
    fake = gan.generate(z)
    check.gradients(lambda: gan.discriminator_loss(real, fake), parameters=gan.discriminator)
    check.gradients(lambda: gan.generator_loss(z), parameters=gan.generator)


def test_the_nets_of_pacgan():
    G, D = pacgan_generator(rng=rng()), pacgan_discriminator(2, rng=rng())
    count = sum(p.size for p in G.parameters())
    assert count == 3 * 400 + 3 * 401 * 400 + 4 * 800 + 401 * 2
    assert sum(p.size for p in D.parameters()) == 5 * 1000 + 2 * 201 * 1000 + 201
    assert sum(isinstance(s, BatchNorm) for s in G.steps) == 4
    gan = GAN(G, D, 2, packing=2)
    assert gan.judge(gan.generate(gan.noise(6, rng(), np.zeros(1, np.float32)))).shape == (3, 1)


# ---------------------------------------------------------------- layers for discriminators

def test_spectral_layers_stretch_nothing():
    for layer, matrix in ((layers.SpectralDense(5, 3, rng=rng()), (5, 3)),
                          (layers.SpectralConv2D(2, 4, (3, 2), 2, rng=rng()), (12, 4))):
        for _ in range(100):
            layer.normalized()
        w = layer.normalized().data.reshape(matrix)
        assert np.linalg.norm(w, 2) == pytest.approx(1, rel=1e-4)
        true = np.linalg.norm(layer.w.data.reshape(matrix), 2)
        np.testing.assert_allclose(w, layer.w.data.reshape(matrix) / true, rtol=1e-3)
        layer.eval()
        u = layer.u
        layer.normalized()
        assert layer.u is u                                                   # nothing moves in evaluation
    x = rng(1).normal(size=(4, 5))
    layer = layers.SpectralDense(5, 3, rng=rng()).move(lambda a: a.astype(np.float64)).eval()
    np.testing.assert_allclose(layer(x).data, x @ layer.normalized().data + layer.b.data)
    assert set(layer.state_dict()) == {"w", "b", "u", "v"}


def test_gradient_of_spectral_normalisation():
    """The rule treats u and v as constants. With both held still, it is right for W/(uᵀ W v)."""
    for layer, x in ((layers.SpectralDense(5, 3, rng=rng()), rng(1).normal(size=(4, 5))),
                     (layers.SpectralConv2D(2, 3, rng=rng()), rng(1).normal(size=(2, 5, 4, 2)))):
        layer.move(lambda a: a.astype(np.float64)).eval()
        check.gradients(lambda layer=layer, x=x: ops.square(layer(x)).sum(), parameters=layer, order=2)
    for _ in range(200):
        layer.train().normalized()
    # at the singular vectors, treating u and v as constants is exact: ∂σ/∂W = u vᵀ
    w, step = layer.w.data.reshape(-1, 3), 1e-6 * rng(2).normal(size=(18, 3))
    change = (np.linalg.norm(w + step, 2) - np.linalg.norm(w - step, 2)) / 2
    assert change == pytest.approx((np.outer(layer.u, layer.v) * step).sum(), rel=1e-5)


def test_maxout():
    layer, x = layers.Maxout(4, 3, 5, rng=rng()), rng(1).normal(size=(6, 4))
    assert layer(x.astype(np.float32)).dtype == np.float32
    layer.move(lambda a: a.astype(np.float64))
    layer.b.data[...] = rng(2).normal(size=15)
    sums = (x @ layer.w.data + layer.b.data).reshape(6, 3, 5)
    np.testing.assert_allclose(layer(x).data, sums.max(axis=2))
    check.gradients(layer, x)
    check.gradients(lambda: ops.square(layer(x)).sum(), parameters=layer, order=2)


def test_minibatch_discrimination():
    layer, x = layers.MinibatchDiscrimination(4, 3, 2, rng=rng()), rng(1).normal(size=(5, 4))
    layer.move(lambda a: a.astype(np.float64))
    M = (x @ layer.w.data).reshape(5, 3, 2)
    expected = [[sum(np.exp(-np.abs(M[i, b] - M[j, b]).sum()) for j in range(5) if j != i) / 5 for b in range(3)]
                for i in range(5)]
    np.testing.assert_allclose(layer(x).data, np.concatenate([x, expected], axis=1), rtol=1e-10)
    check.gradients(layer, x, order=2)
    check.gradients(lambda: ops.square(layer(x)).sum(), parameters=layer)
    np.testing.assert_allclose(layer(np.repeat(x[:1], 4, axis=0)).data[:, 4:], 0.75)  # all alike
    np.testing.assert_allclose(layer(x[:1]).data[:, 4:], 0.0, atol=1e-12)            # no other sample


def test_substituted_weights_are_used_and_given_back():
    net, x = tiny(rng()), A[:, [0, 0]]
    parameters = net.parameters()
    halves = [Tensor(0.5 * p.data) for p in parameters]
    with no_grad():
        ones = net(x).data
        with net.substituted(halves) as substitute:
            with_halves = net(x).data
            substitute([2.0 * h for h in halves])
            np.testing.assert_array_equal(net(x).data, ones)
    w1, b1, w2, b2 = (0.5 * p.data for p in parameters)
    np.testing.assert_allclose(with_halves, np.tanh(x @ w1 + b1) @ w2 + b2)
    assert all(p is q for p, q in zip(net.parameters(), parameters, strict=True))
    tied = Sequential(net.steps[0], net.steps[0])                             # a shared parameter, in both its places
    with tied.substituted([Tensor(p.data) for p in tied.parameters()]):
        assert tied.steps[0].w is tied.steps[1].w is not parameters[0]


@pytest.mark.parametrize("make, words", [
    (lambda r: adversarial.gradient_penalty(None, [[1.0]], A[:1], r), "^gradient_penalty: real must be an array"),
    (lambda r: adversarial.gradient_penalty(None, A[:0], A[:0], r), "^gradient_penalty: an empty batch of samples"),
    (lambda r: adversarial.gradient_penalty(None, A > 0, A > 0, r), "^gradient_penalty: the samples `real` must be"),
    (lambda r: adversarial.clip_weights([], np.nan), "^clip_weights: limit is above 0, got nan"),
    (lambda r: adversarial.clip_weights([], "1"), "^clip_weights: limit is above 0, got '1'"),
    (lambda r: adversarial.pack(A, 1.5), "^pack: m is a whole number ≥ 1, got 1.5"),
    (lambda r: adversarial.pack([[1.0]], 1), "^pack: x must be an array or a Tensor, got a list"),
    (lambda r: adversarial.Replay(2.5, r), "^Replay: size is at least 1, got 2.5"),
    (lambda r: adversarial.Replay(2, r).mix([1.0]), "^Replay: fake must be an array"),
    (lambda r: games.minimax_discriminator(A, A, "much"), "^minimax_discriminator: smoothing is a share"),
    (lambda r: games.minimax_discriminator(A, A, np.nan), "^minimax_discriminator: smoothing is a share"),
    (lambda r: games.least_squares_generator((10 * A).astype(int)),
     "^least_squares_generator: the logits `fake` must be floating-point")])
def test_wrong_arguments_of_a_game_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make(rng(0))


def test_numpy_numbers_as_settings_of_a_game():
    a = A.astype(np.float32)
    assert games.minimax_discriminator(a, a, np.float64(0.1)).dtype == np.float32
    assert adversarial.pack(a[:4], np.int64(2)).shape == (2, 2 * A.shape[1])
    assert adversarial.pack(a[:4], 2.0).shape == (2, 2 * A.shape[1])
