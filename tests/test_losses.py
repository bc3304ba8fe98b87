"""Losses at the ends of their range, their errors, and their public handles."""

import math

import numpy as np
import pytest

from scratchnet import Tensor, check, games, grad, losses, ops

INF, NAN = np.inf, np.nan
GAMES = [games.minimax_discriminator, games.least_squares_discriminator, games.hinge_discriminator,
         games.wasserstein_discriminator, games.saturating_generator, games.non_saturating_generator,
         games.least_squares_generator, games.wasserstein_generator]
LOSSES = [losses.bce_with_logits, losses.softmax_cross_entropy, losses.mse, losses.l1, losses.huber, losses.hinge,
          losses.gaussian_kl, losses.gaussian_nll]


def gradients(loss, *inputs):
    leaves = [Tensor(x, requires_grad=True) for x in inputs]
    value = loss(*leaves)
    return value.item(), [g.data for g in grad(value, leaves)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("t", [np.array([0, 1]), np.eye(3)[[0, 1]]])
def test_a_masked_class_has_no_part_in_the_cross_entropy(dtype, t):
    x = np.array([[1.0, 2.0, -INF], [0.5, 0.25, -INF]], dtype)
    t = t if t.dtype.kind == "i" else t.astype(dtype)
    value, (g,) = gradients(lambda x: losses.softmax_cross_entropy(x, t, "sum"), x)
    kept, (expected,) = gradients(lambda x: losses.softmax_cross_entropy(x, np.array([0, 1]), "sum"), x[:, :2])
    assert value == pytest.approx(kept, rel=1e-6) and value > 1.3132
    np.testing.assert_allclose(g, np.pad(expected, ((0, 0), (0, 1))), rtol=1e-6)

    x = Tensor(x, requires_grad=True)
    first = grad(losses.softmax_cross_entropy(x, t, "sum"), x, create_graph=True)
    second = grad(ops.square(first).sum(), x).data
    assert np.isfinite(second).all() and (second[:, 2] == 0).all() and second[:, :2].any()
    assert losses.softmax_cross_entropy(x.data, np.array([2, 2]), "mean") == INF


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_integers", [True, False])
def test_a_certain_class_costs_nothing_and_the_others_infinity(dtype, as_integers):
    x = np.array([[INF, 0.0, -INF], [INF, 0.0, 1.0], [1.0, 2.0, 0.5]], dtype)
    t = np.array([0, 1, 2])
    t = t if as_integers else np.eye(3, dtype=dtype)[t]
    values = losses.softmax_cross_entropy(x, t, "none")
    np.testing.assert_allclose(values, [0, INF, 1.5 + math.log(math.exp(-1) + 1 + math.exp(-1.5))], 1e-6)
    leaf = Tensor(x, requires_grad=True)
    g = grad(losses.softmax_cross_entropy(leaf, t, "none")[::2].sum(), leaf, create_graph=True)
    assert g.dtype == dtype and (g.data[:2] == 0).all() and g.data[2].all()
    second = grad(ops.square(g).sum(), leaf).data
    assert (second[:2] == 0).all() and second[2].all()
    _, (g,) = gradients(lambda x: losses.softmax_cross_entropy(x, t, "sum"), x)
    np.testing.assert_array_equal(g[:2], [[0, 0, 0], [1, -1, 0]])


@pytest.mark.parametrize("row", [[INF, INF, 0.0], [INF, NAN, 0.0], [-INF, -INF, -INF]])
def test_a_row_without_a_limit_is_nan_and_spoils_no_other(row):
    with np.errstate(invalid="ignore"):
        values = losses.softmax_cross_entropy(np.array([row, [INF, 1.0, 2.0]]), np.array([0, 0]), "none")
    assert np.isnan(values[0]) and values[1] == 0


def test_targets_with_a_sum_below_1_weight_their_row():
    rng = np.random.default_rng(0)
    x, t, weight = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), 3), np.array([0.0, 0.25, 1.0])
    value, (g,) = gradients(lambda x: losses.softmax_cross_entropy(x, t * weight[:, None], "sum"), x)
    plain = losses.softmax_cross_entropy(x, t, "none")
    assert value == pytest.approx((weight * plain).sum())
    _, (expected,) = gradients(lambda x: losses.softmax_cross_entropy(x, t, "sum"), x)
    np.testing.assert_allclose(g, weight[:, None] * expected, atol=1e-12)
    check.gradients(lambda x: losses.softmax_cross_entropy(x, t * weight[:, None], "mean"), x, order=2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", [None, "average", ["mean"], np.array(["mean", "sum"]), 1])
def test_an_unknown_reduction_names_the_loss(loss, reduction):
    x = np.ones((2, 1))
    with pytest.raises(ValueError, match=f"^{loss.__name__}: reduction must be"):
        loss(*[x] * (3 if loss is losses.gaussian_nll else 2), reduction)


@pytest.mark.parametrize("x, t, value", [(INF, 1, 0), (-INF, 0, 0), (INF, 0, INF), (-INF, 1, INF), (INF, 0.5, INF),
                                         (-INF, 0.5, INF)])
def test_cross_entropy_of_infinite_logits(x, t, value):
    x, t = np.array([x, 0.3], np.float32), np.array([t, 0.0], np.float32)
    (l, _), x = losses.bce_with_logits(x, t, "none"), Tensor(x, requires_grad=True)
    assert l == value
    g = grad(losses.bce_with_logits(x, t, "sum"), x, create_graph=True)
    np.testing.assert_allclose(g.data, 1 / (1 + np.exp(-x.data)) - t, rtol=1e-6)
    assert grad(g.sum(), x).data[0] == 0


def test_gaussians_of_infinite_log_variance():
    m, s = np.array([0.5, 0.5, 0.0]), np.array([-INF, INF, -INF])
    assert (losses.gaussian_kl(m, s, "none") == INF).all()
    assert losses.gaussian_kl(m, s, "sum") == INF
    _, (gm, gs) = gradients(lambda m, s: losses.gaussian_kl(m, s, "sum"), m, s)
    np.testing.assert_array_equal(gm, m)
    np.testing.assert_array_equal(gs, [-0.5, INF, -0.5])

    x = np.array([1.0, 1.0, 1.0, 1.0])
    m, s = np.array([1.0, 0.0, 1.0, 0.0]), np.array([-INF, -INF, INF, INF])
    np.testing.assert_array_equal(losses.gaussian_nll(x, m, s, "none"), [-INF, INF, INF, INF])
    _, (gx, gm, gs) = gradients(lambda x, m, s: losses.gaussian_nll(x, m, s, "none")[1:].sum(), x, m, s)
    np.testing.assert_array_equal(gx, [0, INF, 0, 0])
    np.testing.assert_array_equal(gm, -gx)
    np.testing.assert_array_equal(gs, [0, -INF, 0.5, 0.5])


def test_gaussian_nll_where_the_precision_overflows():
    s = np.full(1, -100, np.float32)  # e¹⁰⁰ exceeds float32
    x = np.ones(1, np.float32)
    assert losses.gaussian_nll(x, x, s, "sum") == pytest.approx(-50 + 0.5 * math.log(2 * math.pi))
    _, g = gradients(lambda *a: losses.gaussian_nll(*a, "sum"), x, x, s)
    np.testing.assert_array_equal(np.concatenate(g), [0, 0, 0.5])


def test_the_curvature_of_the_nll_where_x_is_the_mean():
    x = np.array([0.5, -1.0])
    check.gradients(lambda x, m, s: losses.gaussian_nll(x, m, s, "sum"), x, x.copy(), np.array([0.3, -0.7]), order=2)


X = np.zeros((2, 3), np.float32)
ROW = np.full((2, 3), 1 / 3, np.float32)


@pytest.mark.parametrize("make, words", [
    (lambda: losses.bce_with_logits(X, np.full((2, 3), 255.0), "sum"), r"targets must lie in \[0, 1\], got .*255"),
    (lambda: losses.bce_with_logits(X, ROW - 0.5, "sum"), r"targets must lie in \[0, 1\]"),
    (lambda: losses.bce_with_logits(X, Tensor(ROW + 1), "sum"), r"targets must lie in \[0, 1\]"),
    (lambda: losses.hinge(X, X, "sum"), "hinge: targets must be −1 or \\+1, got 0.0 … 0.0; .* 2 t − 1"),
    (lambda: losses.hinge(X, X > 1, "sum"), "hinge: targets must be −1 or"),
    (lambda: losses.softmax_cross_entropy(X, ROW * 2, "sum"), "must add up to 1 .*sums of 2"),
    (lambda: losses.bce_with_logits(X, ROW * NAN, "sum"), r"targets must lie in \[0, 1\], got nan"),
    (lambda: losses.hinge(X, np.array([[1, -1, NAN]] * 2), "sum"), "hinge: targets must be −1 or \\+1, got nan"),
    (lambda: losses.softmax_cross_entropy(X, np.array([[1, 0, NAN]] * 2), "sum"), r"must lie in \[0, 1\], got nan"),
    (lambda: losses.one_hot(np.array([1]), None), "one_hot: classes is a whole number ≥ 1, got None"),
    (lambda: losses.one_hot(np.array([1]), 1.5), "one_hot: classes is a whole number ≥ 1, got 1.5"),
    (lambda: losses.one_hot(np.array([1]), [3]), r"one_hot: classes is a whole number ≥ 1, got \[3\]"),
    (lambda: losses.one_hot(np.array([1]), 3, "float33"), "one_hot: dtype must be numeric, .* got 'float33'"),
    (lambda: losses.one_hot(np.array([1]), 3, None), "one_hot: dtype must be numeric, .* got None"),
    (lambda: losses.one_hot(np.array([1]), 3, "U3"), "one_hot: dtype must be numeric, .* got 'U3'"),
    (lambda: losses.softmax_cross_entropy(X, np.array([[1.5, -0.5, 0.0]] * 2), "sum"), r"must lie in \[0, 1\]"),
    (lambda: losses.softmax_cross_entropy(X, np.array([[0], [1]]), "sum"), r"integer targets of shape \(2,\), got"),
    (lambda: losses.softmax_cross_entropy(X, np.array([0.0, 1.0]), "sum"), "targets are integers of shape .* float64"),
    (lambda: losses.softmax_cross_entropy(X, np.array([True, False]), "sum"), "targets are integers .* bool"),
    (lambda: losses.softmax_cross_entropy(X, [0, 1], "sum"), "softmax_cross_entropy: t must be an array .* a list"),
    (lambda: losses.one_hot([0, 1], 3), "one_hot: labels must be an array"),
    (lambda: losses.one_hot(np.array([True]), 3), "one_hot: labels are bool, expected integers"),
    (lambda: losses.huber(X, X, "sum", "1"), "huber: delta is a number > 0, got '1'"),
    (lambda: losses.huber(X, X, "sum", np.nan), "huber: delta is a number > 0, got nan"),
])
def test_targets_of_a_wrong_kind_are_refused(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("odd", [[[0.0, 1.0]], None, "x", 1.0])
def test_an_argument_that_is_not_an_array_is_named(loss, odd):
    arguments = [np.full((1, 2), 0.5)] * (3 if loss is losses.gaussian_nll else 2)
    for place in range(len(arguments)):
        with pytest.raises(TypeError, match=f"{loss.__name__}: (x|t|mean|logvar) must be an array or a Tensor, got"):
            loss(*arguments[:place], odd, *arguments[place + 1:], "mean")


def test_labels_may_be_a_tensor():
    labels = np.array([2, 0])
    np.testing.assert_array_equal(losses.softmax_cross_entropy(X, Tensor(labels), "none"),
                                  losses.softmax_cross_entropy(X, labels, "none"))
    np.testing.assert_array_equal(losses.one_hot(Tensor(labels), 3), np.eye(3)[labels])


@pytest.mark.parametrize("loss", LOSSES + GAMES)
def test_losses_have_public_handles(loss):
    assert "y" in loss.names and "After gy" in loss.__doc__
    t = np.full((2, 3), 1 / 3)
    arguments = [Tensor(t, requires_grad=True)]
    arguments += [t if loss is not losses.hinge else np.ones_like(t)] * (len(loss.op.params) - 1 - (loss in (
        losses.huber, games.minimax_discriminator)))
    reduction = ["sum"] if loss in LOSSES else []
    with loss.using(lambda gy: (np.full((2, 3), 7.0) + gy.max(),)):
        loss(*arguments, *reduction).backward()
    assert (arguments[0].grad == 8).all()


@pytest.mark.parametrize("game", GAMES)
def test_gradients_of_the_games(game):
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(4, 1)), rng.normal(size=(3, 1))][:len(game.op.params)]
    check.gradients(game, *inputs, order=2)
    with pytest.raises(ValueError, match=f"{game.__name__}: an empty batch of logits"):
        game(*[x[:0] for x in inputs])
    with pytest.raises(TypeError, match=f"{game.__name__}: (real|fake) must be an array or a Tensor, got a list"):
        game(*[[1.0]] * len(inputs))
    single = [x.astype(np.float32) for x in inputs]
    assert game(*single).dtype == np.float32
    assert all(g.dtype == np.float32 for g in gradients(game, *single)[1])


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_keep_float32(loss):
    x = np.full((2, 2), 0.5, np.float32)
    t = np.ones_like(x) if loss is losses.hinge else x
    more = {"delta": np.float64(0.3)} if loss is losses.huber else {}
    y = loss(*[Tensor(x, requires_grad=True), t, t][:3 if loss is losses.gaussian_nll else 2], "mean", **more)
    assert y.dtype == np.float32


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_both_ways_to_the_cross_entropy_agree(t):
    x = np.linspace(-20, 20, 41)
    plain = losses.bce_with_logits(x, np.full_like(x, t), "none")
    careful = losses.bce_with_logits(np.append(x, INF), np.full(42, t), "none")
    np.testing.assert_allclose(careful[:-1], plain, rtol=1e-12, atol=1e-15)
