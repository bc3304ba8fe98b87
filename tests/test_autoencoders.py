"""Autoencoders, penalties, PCA: their losses by hand, gradients to second order, and limits."""

import numpy as np
import pytest

from scratchnet import Tensor, check, data, grad, initializers, losses, metrics, no_grad, ops, penalties
from scratchnet.autograd import data_of
from scratchnet.data import corruption
from scratchnet.layers import Dense, Sequential
from scratchnet.models.autoencoders import (
    LSA,
    PCA,
    Autoencoder,
    ConvAutoencoder,
    LogisticPCA,
    StackedClassifier,
    reconstruction_loss,
    squared_error,
)
from scratchnet.optimizers import Adam


def rng(seed=0):
    return np.random.default_rng(seed)


X = rng(5).random((7, 4, 3, 1))


def small(**options):
    return Autoencoder([12, 8, 5], rng=rng(), **options)


def gradients_of(model, loss):
    return {name: grad(loss, p, retain_graph=True).data for name, p in model.named_parameters().items()}


# ---------------------------------------------------------------- the dense autoencoder

def test_the_formula_by_hand():
    model = Autoencoder([12, 8, 5], rng=rng(), activation=ops.tanh, code=ops.sigmoid)
    p = {name: value.astype(float) for name, value in model.state_dict().items()}
    x = X.reshape(7, 12)
    z = 1 / (1 + np.exp(-(np.tanh(x @ p["down.0.w"] + p["down.0.b"]) @ p["down.1.w"] + p["down.1.b"])))
    logits = np.tanh(z @ p["up.0.w"] + p["up.0.b"]) @ p["up.1.w"] + p["up.1.b"]
    q = 1 / (1 + np.exp(-logits))
    with no_grad():
        np.testing.assert_allclose(model.encode(X).data, z, rtol=1e-6)
        np.testing.assert_allclose(model.restore(X).data, q.reshape(X.shape), rtol=1e-6)
        nats = -(x * np.log(q) + (1 - x) * np.log(1 - q)).sum() / 7
        np.testing.assert_allclose(model.loss(X).item(), nats, rtol=1e-6)
        target = 1 - x
        nats = -(target * np.log(q) + (1 - target) * np.log(1 - q)).sum() / 7
        np.testing.assert_allclose(model.loss(X, 1 - X).item(), nats, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"tied": True}, {"activation": ops.tanh, "code": ops.sigmoid, "tied": True}])
def test_gradient_of_the_whole_loss(options):
    model = small(**options)
    check.gradients(lambda: model.loss(X, X[::-1].copy()), parameters=model, order=2)
    check.gradients(model.loss, X)


def test_a_linear_code_has_no_activation_and_hidden_layers_have_theirs():
    model = small(activation=lambda h: h * 0.0)
    for layer in model.down + model.up:
        layer.b.data[:] = 1.0
    with no_grad():
        np.testing.assert_array_equal(model.encode(X).data, np.ones((7, 5)))
        np.testing.assert_array_equal(model.decode(np.ones((7, 5))).data, np.ones((7, 12)))


def test_activations_refused():
    for options in ({"activation": None}, {"code": "relu"}):
        with pytest.raises(TypeError, match="^Autoencoder: activation must be a function, and code a function or None"):
            small(**options)


def test_tied_weights_are_counted_once():
    lines = str(small(tied=True)).splitlines()
    total, *rows = (int(line.split()[-1 if k else -2].replace(",", "")) for k, line in enumerate(lines))
    assert total == sum(rows) == 12 * 8 + 8 + 8 * 5 + 5 + 8 + 12


def test_tied_weights_are_one_parameter():
    model, free = small(tied=True), small()
    assert set(model.named_parameters()) == {"down.0.w", "down.0.b", "down.1.w", "down.1.b", "up.0.b", "up.1.b"}
    assert sum(p.size for p in model.parameters()) == 12 * 8 + 8 + 8 * 5 + 5 + 8 + 12
    state = model.state_dict()
    free.load_state_dict(state | {"up.0.w": state["down.1.w"].T, "up.1.w": state["down.0.w"].T})
    ours, theirs = gradients_of(model, model.loss(X)), gradients_of(free, free.loss(X))
    np.testing.assert_allclose(ours["down.0.w"], theirs["down.0.w"] + theirs["up.1.w"].T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours["down.1.w"], theirs["down.1.w"] + theirs["up.0.w"].T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours["up.1.b"], theirs["up.1.b"], rtol=1e-5, atol=1e-6)

    optimizer = Adam(model.parameters(), lr=0.1)
    model.loss(X).backward()
    optimizer.step()
    assert model.up[1].w is model.down[0].w  # still one after a step


@pytest.mark.parametrize("sizes", [[], [784], [784, 0], [-1, 3]])
def test_sizes_refused(sizes):
    with pytest.raises(ValueError, match="^Autoencoder: sizes need at least an input and a code"):
        Autoencoder(sizes, rng=rng())
    with pytest.raises(ValueError, match="^StackedClassifier: sizes need at least an input and a layer"):
        StackedClassifier(sizes, rng=rng())


@pytest.mark.parametrize("shape", [(7, 11), (14, 6), (1, 12)])
def test_reconstruction_loss_refuses_other_images(shape):
    with pytest.raises(ValueError, match="bce_with_logits: both arguments need the same shape"):
        reconstruction_loss(np.zeros(shape), X)


def test_squared_error_is_what_is_measured():
    model = small(activation=ops.silu)

    def loss():
        return squared_error(model.decode(model.encode(X)), X)

    np.testing.assert_allclose(loss().item(), metrics.squared_error_per_image(X, model.restore(X).data), rtol=1e-5)
    check.gradients(loss, parameters=model, order=2)
    with pytest.raises(ValueError, match="mse: both arguments need the same shape"):
        squared_error(np.zeros((7, 11)), X)


# ---------------------------------------------------------------- penalties

def test_penalties_by_hand():
    h = np.array([[0.2, 0.9], [0.4, 0.1], [0.6, 0.5]])
    np.testing.assert_allclose(penalties.l1_activity(-h), 2.7 / 3)
    mean, rho = np.array([0.4, 0.5]), 0.3
    expected = (rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))).sum()
    np.testing.assert_allclose(penalties.sparsity_kl(h, rho), expected, rtol=1e-5)
    np.testing.assert_allclose(penalties.sparsity_kl(np.full((4, 3), 0.3), 0.3), 0, atol=1e-6)
    w = rng().standard_normal((5, 2))
    by_hand = np.mean([sum((h[n, j] * (1 - h[n, j]) * w[i, j])**2 for i in range(5) for j in range(2))
                       for n in range(3)])
    np.testing.assert_allclose(penalties.contraction_of_sigmoid(h, w), by_hand)


def test_gradients_of_penalties():
    h, w = rng().uniform(0.1, 0.9, (6, 4)), rng(1).standard_normal((9, 4))
    check.gradients(lambda h: penalties.l1_activity(h), h - 0.5, order=2)
    check.gradients(lambda h: penalties.sparsity_kl(h, 0.05), h, order=2)
    check.gradients(penalties.contraction_of_sigmoid, h, w, order=2)


@pytest.mark.parametrize("target", [0, 1, -0.1, float("nan")])
def test_sparsity_target_refused(target):
    with pytest.raises(ValueError, match=r"^sparsity_kl: the target is a share in \(0, 1\)"):
        penalties.sparsity_kl(np.full((2, 2), 0.5), target)


def test_dead_units_are_pushed_up_and_saturated_ones_down():
    h = Tensor(np.array([[0.0, 1e-9, 1.0], [0.0, 1e-9, 1.0]], dtype=np.float32), requires_grad=True)
    loss = penalties.sparsity_kl(h, 0.1)
    g = grad(loss, h).data
    assert np.isfinite(loss.item()) and np.isfinite(g).all()
    assert (g[:, :2] < -1e3).all() and (g[:, 2] > 1e3).all()


def test_contraction_in_both_ways_is_one_number_with_one_gradient():
    model = Autoencoder([12, 5], rng=rng(), code=ops.sigmoid, tied=True)
    w, b = model.down[0].w, model.down[0].b
    closed = penalties.contraction_of_sigmoid(model.encode(X), w)
    twice = penalties.contraction(model.encode, X)
    np.testing.assert_allclose(closed.item(), twice.item(), rtol=1e-6)
    for p in (w, b):
        expected = grad(closed, p, retain_graph=True).data
        np.testing.assert_allclose(grad(twice, p, retain_graph=True).data, expected, rtol=1e-4,
                                   atol=1e-6 * np.abs(expected).max())


def test_contraction_of_a_deep_encoder():
    net = Sequential(Dense(12, 6, rng=rng()), ops.tanh, Dense(6, 3, rng=rng(1)), ops.sigmoid)
    x = X.reshape(7, 12)
    check.gradients(lambda: penalties.contraction(net, x), parameters=net)
    numeric = np.stack([(net(x + 1e-5 * e) - net(x - 1e-5 * e)).data / 2e-5 for e in np.eye(12)], axis=2)
    J = penalties.jacobian(net, x)
    assert J.shape == (7, 3, 12)
    np.testing.assert_allclose(J, numeric, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(penalties.contraction(net, x).item(), (J**2).sum() / 7, rtol=1e-6)
    with no_grad():
        np.testing.assert_array_equal(penalties.jacobian(net, x), J)


def test_jacobian_of_a_code_that_is_a_map():
    model, x = ConvAutoencoder("transposed", 3, 2, rng=rng()), rng(1).random((2, 28, 28, 1))
    J = penalties.jacobian(lambda x: model.encode(x)[0], x)
    assert J.shape == (2, 98, 784)
    direction = rng(2).standard_normal(x.shape)
    up, down = (model.encode(x + sign * 1e-5 * direction)[0].data.reshape(2, 98) for sign in (1, -1))
    np.testing.assert_allclose(np.einsum("nkd,nd->nk", J, direction.reshape(2, 784)), (up - down) / 2e-5, atol=1e-6)
    penalty = penalties.contraction(lambda x: model.encode(x)[0], x)
    np.testing.assert_allclose(penalty.item(), (J**2).sum() / 2, rtol=1e-5)


def test_jacobian_of_images():
    model = small()
    np.testing.assert_allclose(penalties.jacobian(model.encode, X), penalties.jacobian(model.encode, X.reshape(7, 12)))


H = np.full((3, 4), 0.5)


@pytest.mark.parametrize(("f", "arguments", "message"), [
    (penalties.l1_activity, (None,), "h must be an array"),
    (penalties.l1_activity, (np.array(1.0),), "there is no mean"),
    (penalties.l1_activity, (H[:0],), "there is no mean"), (penalties.sparsity_kl, (H[0], 0.1), "there is no mean"),
    (penalties.sparsity_kl, (H * np.nan, 0.1), "activities must lie in .* got nan"),
    (penalties.contraction_of_sigmoid, (H, H.T), r"h \(3, 4\) and w \(4, 3\), expected"),
    (penalties.contraction_of_sigmoid, (H[0], H), r"h \(4,\) and w \(3, 4\), expected .N, K. and .D, K."),
    (penalties.contraction, (None, H), "encode must be a function or a Module, got None"),
    (penalties.contraction, (lambda x: x.data, H), "encode gave an? ndarray, expected a Tensor"),
    (penalties.contraction, (lambda x: x.sum(), H), "encode gave a Tensor, expected a Tensor .N, …. made of x"),
    (penalties.contraction, (lambda x: Tensor(H), H), "encode gave a Tensor, expected a Tensor .N, …. made of x"),
    (penalties.jacobian, (lambda x: (x, x), H), "encode gave a tuple"),
    (penalties.jacobian, ("f", H), "encode must be"),
    (penalties.jacobian, (lambda x: x, [1.0]), "x must be an array"),
    (penalties.jacobian, (lambda x: x, np.ones((2, 3), int)), "x is int64 of shape"),
    (penalties.jacobian, (lambda x: x, H[:0]), r"x is float64 of shape \(0, 4\), expected")])
def test_penalties_refuse_what_they_cannot_judge(f, arguments, message):
    with pytest.raises((TypeError, ValueError), match=f"^{f.__name__}: {message}"):
        f(*arguments)


@pytest.mark.parametrize("penalty", [lambda model: penalties.l1_activity(model.encode(X)),
                                     lambda model: penalties.sparsity_kl(model.encode(X), 0.05),
                                     lambda m: penalties.contraction_of_sigmoid(m.encode(X), m.down[0].w),
                                     lambda model: penalties.contraction(model.encode, X)])
@pytest.mark.parametrize("bias", [0.0, -1e4, 1e4])  # units in between, all at 0, all at 1
def test_a_penalty_of_weight_zero_changes_nothing(penalty, bias):
    model = Autoencoder([12, 5], rng=rng(), code=ops.sigmoid)
    model.down[0].b.data[...] = bias
    plain, penalised = model.loss(X), model.loss(X) + 0.0 * penalty(model)
    assert penalised.item() == plain.item()
    expected, found = gradients_of(model, plain), gradients_of(model, penalised)
    for name, g in expected.items():
        np.testing.assert_array_equal(found[name], g)


# ---------------------------------------------------------------- corruption

KINDS = [corruption.masking, corruption.salt_and_pepper, corruption.gaussian]


@pytest.mark.parametrize("spoil", KINDS)
def test_corruption_zero_is_the_plain_autoencoder(spoil):
    x = X.astype(np.float32)
    np.testing.assert_array_equal(spoil(x, 0.0, rng()), x)
    model = small()
    assert model.loss(spoil(x, 0.0, rng()), x).item() == model.loss(x).item()


@pytest.mark.parametrize("spoil", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_corruption_leaves_the_images_and_their_dtype(spoil, dtype):
    x = X.astype(dtype)
    before = x.copy()
    y = spoil(x, 0.5, rng())
    assert y.dtype == dtype and y.shape == x.shape and not np.array_equal(y, x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(spoil(x, 0.5, rng()), y)  # one seed, one result
    assert spoil(x[:0], 0.5, rng()).shape == (0, 4, 3, 1)


def test_how_much_is_corrupted():
    x, n = np.full((400, 500), 0.25, dtype=np.float32), 200_000
    masked = corruption.masking(x, 0.3, rng())
    assert set(np.unique(masked)) == {0.0, 0.25} and abs((masked == 0).mean() - 0.3) < 5 * np.sqrt(0.21 / n)
    noisy = corruption.salt_and_pepper(x, 0.3, rng())
    for value, share in ((0.0, 0.15), (1.0, 0.15), (0.25, 0.7)):
        assert abs((noisy == value).mean() - share) < 5 * np.sqrt(0.25 / n)
    moved = corruption.gaussian(x, 0.3, rng()) - x
    assert abs(moved.mean()) < 5 * 0.3 / np.sqrt(n) and abs(moved.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * n)
    np.testing.assert_array_equal(corruption.masking(x, 1.0, rng()), np.zeros_like(x))
    assert set(np.unique(corruption.salt_and_pepper(x, 1.0, rng()))) == {0.0, 1.0}


@pytest.mark.parametrize("spoil", KINDS)
def test_pixels_as_bytes_refused(spoil):
    with pytest.raises(TypeError, match=f"^{spoil.__name__}: images are uint8, expected float32 or float64"):
        spoil(np.zeros((2, 3), dtype=np.uint8), 0.5, rng())


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_amounts_refused(amount):
    for spoil in KINDS[:2]:
        with pytest.raises(ValueError, match=f"^{spoil.__name__}: the rate must lie in"):
            spoil(X, amount, rng())
    if not amount > 0:
        with pytest.raises(ValueError, match="^gaussian: sigma must be ≥ 0"):
            corruption.gaussian(X, amount, rng())


# ---------------------------------------------------------------- linear codes

@pytest.mark.parametrize("n", [6, 40])  # fewer images than pixels, and more
def test_pca_is_the_best_linear_code(n):
    x = rng().random((n, 4, 3, 1))
    flat = x.reshape(n, 12)
    centred = flat - flat.mean(axis=0)
    U, S, V = np.linalg.svd(centred, full_matrices=False)
    for k in (1, 3, min(n, 12)):
        pca = PCA(x, k)
        np.testing.assert_allclose(pca.restore(x).reshape(n, 12), flat.mean(axis=0) + U[:, :k] * S[:k] @ V[:k],
                                   atol=1e-10)
        np.testing.assert_allclose(metrics.squared_error_per_image(x, pca.restore(x)), (S[k:]**2).sum() / n, atol=1e-10)
        np.testing.assert_allclose(pca.singular_values, S[:k], atol=1e-7)
        np.testing.assert_allclose(pca.V @ pca.V.T, np.eye(k), atol=1e-10)
    assert pca.encode(x[:2].astype(np.float32)).shape == (2, k)


@pytest.mark.parametrize("k", [0, 13, -1])
def test_pca_refuses(k):
    x = rng().random((40, 4, 3, 1))
    with pytest.raises(ValueError, match=r"^PCA: images \(N, D\)=\(40, 12\) allow codes of 1 to 12 numbers"):
        PCA(x, k)
    with pytest.raises(ValueError, match="^PCA: the images have NaN"):
        PCA(np.where(x > 0.9, np.nan, x), 2)
    with pytest.raises(ValueError, match="^PCA: rows of 9 numbers, expected 12"):
        PCA(x, 2).encode(x[:, :3])


def test_lsa_is_the_best_product_of_low_rank():
    for n in (6, 40):
        x = rng().random((n, 12))
        U, S, V = np.linalg.svd(x, full_matrices=False)
        lsa = LSA(x, 3)
        z = lsa.encode(x)
        np.testing.assert_allclose(z @ z.T, U[:, :3] * S[:3]**2 @ U[:, :3].T, atol=1e-10)  # whatever the signs of V
    with pytest.raises(ValueError, match=r"^LSA: documents \(N, D\)=\(40, 12\) allow codes of 1 to .* numbers, got 13"):
        LSA(x, 13)
    with pytest.raises(ValueError, match="^LSA: rows of 11 numbers, expected 12"):
        lsa.encode(x[:, 1:])


def test_codes_of_logistic_pca_are_the_best():
    model = LogisticPCA(12, 3, rng=rng(), ridge=0.05)
    x, V = X.reshape(7, 12), model.V.data.astype(float)
    z = model.encode(X)
    slope = (ops.sigmoid(z @ V + model.b.data) - x) @ V.T + 0.05 * z
    np.testing.assert_allclose(slope, 0, atol=1e-5)


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_newton_steps_that_are_too_long_are_shortened(seed):
    """If weights differ in size, full steps end far off; ours end where the slope is zero."""
    draw = rng(seed)
    model = LogisticPCA(12, 1, rng=draw, ridge=1e-3)
    V = model.V.data = draw.standard_normal((1, 12)) * np.exp(2 * draw.standard_normal((1, 12)))
    b = model.b.data = 3 * draw.standard_normal(12)
    x = (draw.random((7, 12)) > 0.5).astype(float)

    def slope(z):
        return (ops.sigmoid(z @ V + b) - x) @ V.T + 1e-3 * z
    z = np.zeros((7, 1))
    for _ in range(12):
        p = ops.sigmoid(z @ V + b)
        z = z - slope(z) / ((p * (1 - p)) @ (V * V).T + 1e-3)
    assert np.abs(slope(z)).max() > 1
    np.testing.assert_allclose(slope(model.encode(x)), 0, atol=1e-6)


def test_logistic_pca_refuses():
    for ridge in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="^LogisticPCA: ridge must be > 0"):
            LogisticPCA(12, 3, rng=rng(), ridge=ridge)
    for sizes in ((12, 0), (0, 3)):
        with pytest.raises(ValueError, match="^LogisticPCA: pixels and size are numbers ≥ 1"):
            LogisticPCA(*sizes, rng=rng())
    with pytest.raises(ValueError, match="^LogisticPCA: rows of 12 numbers, expected 10"):
        LogisticPCA(10, 3, rng=rng()).loss(X)


def test_gradient_of_logistic_pca_is_that_at_the_best_codes():
    """No gradient passes through encode, and none needs to: ∂L/∂z = 0 there."""
    model = LogisticPCA(12, 3, rng=rng(), ridge=0.05)
    check.gradients(lambda: model.loss(X), parameters=model)


def test_logistic_pca_learns():
    images = (rng(1).random((50, 1)) > 0.5) * (rng(2).random((1, 12)) > 0.5) * 0.9 + 0.05
    model = LogisticPCA(12, 1, rng=rng())
    optimizer = Adam(model.parameters(), lr=0.1)
    for _ in range(60):
        loss = model.loss(images.astype(np.float32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with no_grad():
        assert metrics.squared_error_per_image(images, model.restore(images.astype(np.float32))) < 0.01


# ---------------------------------------------------------------- convolutional

@pytest.mark.parametrize("up", ["unpool", "repeat", "transposed"])
def test_conv_autoencoder(up):
    model = ConvAutoencoder(up, 3, 2, rng=rng())
    x = rng(1).random((2, 28, 28, 1))
    z, *switches = model.encode(x)
    assert z.shape == (2, 7, 7, 2) and len(switches) == (2 if up == "unpool" else 0)
    with no_grad():
        assert model.restore(x).shape == x.shape
        q = model.restore(x).data
        nats = -(x * np.log(q) + (1 - x) * np.log(1 - q)).sum() / 2
        np.testing.assert_allclose(model.loss(x).item(), nats, rtol=1e-5)
    assert sum(p.size for p in model.parameters()) == 9 * (3 + 6 + 6 + 3) + 3 + 2 + 3 + 1  # the same in all three
    check.gradients(lambda: model.loss(x), parameters=model, entries=200)


def test_conv_autoencoder_refuses():
    with pytest.raises(ValueError, match="^ConvAutoencoder: up is .* got 'unpol'"):
        ConvAutoencoder("unpol", rng=rng())


# ---------------------------------------------------------------- layer by layer

def test_features_of_each_depth():
    stack = StackedClassifier([12, 8, 6], 4, rng=rng())
    p = {name: value.astype(float) for name, value in stack.state_dict().items()}
    h = [X.reshape(7, 12)]
    for k in range(2):
        h.append(1 / (1 + np.exp(-(h[k] @ p[f"layers.{k}.w"] + p[f"layers.{k}.b"]))))
    with no_grad():
        for depth in range(3):
            np.testing.assert_allclose(data_of(stack.features(X, depth)), h[depth], rtol=1e-6)
        np.testing.assert_allclose(stack(X).data, h[2] @ p["logits.w"] + p["logits.b"], rtol=1e-5, atol=1e-6)
    for depth in (-1, 3):
        with pytest.raises(ValueError, match=f"features of layer {depth}, expected 0 to 2"):
            stack.features(X, depth)
    labels = np.arange(7) % 4
    assert stack.loss(X, labels).item() == losses.softmax_cross_entropy(stack(X), labels, "mean").item()
    check.gradients(lambda: stack.loss(X, labels), parameters=stack)


def test_the_autoencoder_of_a_layer_trains_that_layer_and_no_other():
    stack = StackedClassifier([12, 8, 6], 4, rng=rng())
    before = stack.state_dict()
    model = stack.autoencoder(1)
    h = rng(2).random((5, 8), dtype=np.float32)
    optimizer = Adam(model.parameters(), lr=0.01)
    model.loss(h).backward()
    optimizer.step()
    changed = {name for name, value in stack.state_dict().items() if not np.array_equal(value, before[name])}
    assert changed == {"layers.1.w", "layers.1.b"}
    assert sum(p.size for p in model.parameters()) == 8 * 6 + 6 + 8  # tied
    np.testing.assert_array_equal(model.encode(h).data, ops.sigmoid(stack.layers[1](h)).data)


# ---------------------------------------------------------------- the formula behind a demo's score

def test_a_denoiser_of_one_gaussian_is_tweedies_formula():
    """For points N(0, s²) with noise σ, E[clean|x] = x + σ² ∇ ln p_σ(x) = x s²/(s² + σ²). A linear net must find it."""
    points = 0.5 * rng(3).standard_normal((20_000, 2), dtype=np.float32)
    net = Dense(2, 2, rng=rng())
    optimizer, noise = Adam(net.parameters(), lr=0.05), rng(4)
    for _ in range(150):
        loss = losses.mse(net(corruption.gaussian(points, 0.3, noise)), points, "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(net.w.data, np.eye(2) * 0.25 / 0.34, atol=0.02)


def test_learning_lowers_the_loss():
    images = data.mnist().train_images[:200]
    model = Autoencoder([784, 64, 16], rng=rng(), activation=ops.relu, init=initializers.he_normal)
    optimizer = Adam(model.parameters(), lr=1e-3)
    first = model.loss(images).item()
    for _ in range(30):
        loss = model.loss(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.8 * first


def test_tensors_as_images():
    model = small()
    assert model.loss(Tensor(X)).item() == model.loss(X).item()


@pytest.mark.parametrize("spoil", [lambda x: 255 * x, lambda x: (255 * x).astype("uint8"), lambda x: x - 0.5])
def test_images_that_are_no_probabilities_are_refused(spoil):
    rng = np.random.default_rng(0)
    x = rng.random((3, 8, 8, 1), dtype=np.float32)
    model, logits = Autoencoder([64, 5], rng=rng), np.zeros((3, 64), np.float32)
    for loss in (model.loss, lambda x: model.loss(rng.random((3, 64), dtype=np.float32), x),
                 lambda x: squared_error(logits, x), ConvAutoencoder("repeat", rng=rng).loss):
        loss(x)
        with pytest.raises((ValueError, TypeError), match=r"\[0, 1\]|floating-point"):
            loss(spoil(x))


def test_sizes_of_an_autoencoder():
    rng = np.random.default_rng(0)
    assert Autoencoder(np.array([6, 2]), rng=rng).decode(np.zeros((1, 2), np.float32)).shape == (1, 6)
    for sizes in ([6, 2.5], [6, True], [6, "2"], [6, None]):
        with pytest.raises(ValueError, match="^Autoencoder: each size is a whole number, got"):
            Autoencoder(sizes, rng=rng)
    with pytest.raises(TypeError, match="^Autoencoder: sizes must be a list of whole numbers, got 6"):
        Autoencoder(6, rng=rng)
    with pytest.raises(ValueError, match=r"^ConvAutoencoder: images \(2, 26, 28, 1\), expected"):
        ConvAutoencoder("unpool", rng=rng).loss(np.zeros((2, 26, 28, 1), np.float32))
