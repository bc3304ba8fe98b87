"""The VAEs: a training step equals PyTorch's, the objectives equal their formulas, the draws have the right spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchnet import Tensor, check, grad, losses, no_grad, ops
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.vaes import ConvVAE, DenseVAE, SwitchHead, corner_switches, evaluate, gaussian_of_codes
from scratchnet.models.vaes.vae import SIGMA
from scratchnet.optimizers import Adam

X = np.random.default_rng(5).random((6, 28, 28, 1), dtype=np.float32)


def torch_loss(model, p, x, noise, objective):
    """The same net and loss in PyTorch, images as (N, C, H, W), weights in our layout."""
    import torch
    import torch.nn.functional as F

    def dense(name, h):
        return h @ p[name + ".w"] + p[name + ".b"]

    if isinstance(model, ConvVAE):
        w1, w2 = (p[f"conv{k}.w"].permute(3, 2, 0, 1) for k in (1, 2))
        b1, b2 = (p[f"conv{k}.b"] for k in (1, 2))
        h, i1 = F.max_pool2d(F.relu(F.conv2d(x, w1, b1, padding=1)), 2, return_indices=True)
        h, i2 = F.max_pool2d(F.relu(F.conv2d(h, w2, b2, padding=1)), 2, return_indices=True)
        h = F.relu(dense("hidden", h.permute(0, 2, 3, 1).flatten(1)))
    else:
        h = F.relu(dense("encode_hidden", x.flatten(1)))
    mean, s = dense("mean", h), dense("s", h)
    z = mean + torch.exp(s if objective == "lecture" else 0.5 * s) * noise
    if isinstance(model, ConvVAE):
        h = F.relu(dense("expand", z)).reshape(-1, 7, 7, 10).permute(0, 3, 1, 2)
        h = F.conv_transpose2d(F.max_unpool2d(h, i2, 2) - b2[:, None, None], w2, padding=1)
        logits = F.conv_transpose2d(F.max_unpool2d(h, i1, 2) - b1[:, None, None], w1, padding=1)
    else:
        logits = dense("pixels", F.relu(dense("decode_hidden", z))).reshape(x.shape)
    if objective == "lecture":
        return ((torch.sigmoid(logits) - x) ** 2).mean() + (s.exp() - (1 + s) + mean ** 2).mean()
    nll = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    return (nll + 0.5 * (s.exp() + mean ** 2 - 1 - s).sum()) / len(x)


@pytest.mark.parametrize("make", [DenseVAE, ConvVAE])
@pytest.mark.parametrize("objective", ["elbo", "lecture"])
def test_a_training_step_agrees_with_pytorch(make, objective):
    """Loss, every gradient and the updated weights, in float64, where rounding takes no activation across a kink."""
    torch = pytest.importorskip("torch")
    model, x = make(rng=np.random.default_rng(0), objective=objective), X.astype(np.float64)
    model.move(lambda a: a.astype(np.float64))
    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}
    noise = np.random.default_rng(9).standard_normal((6, 128))
    optimizer, theirs = Adam(model.parameters(), lr=1e-3), torch.optim.Adam(p.values(), lr=1e-3)
    for _ in range(2):
        loss, _, _ = model.loss(x, np.random.default_rng(9))
        images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        expected = torch_loss(model, p, images, torch.from_numpy(noise), objective)
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-12)
        optimizer.zero_grad()
        loss.backward()
        theirs.zero_grad()
        expected.backward()
        for name, q in model.named_parameters().items():
            g = p[name].grad.numpy()
            np.testing.assert_allclose(q.grad, g, rtol=1e-9, atol=1e-12 * np.abs(g).max(), err_msg=name)
        optimizer.step()
        theirs.step()
        for name, q in model.named_parameters().items():
            # Adam's first steps are ±lr whatever the size of g: where g is only rounding, either sign may win
            sure = np.abs(p[name].grad.numpy()) > 1e-9 * np.abs(p[name].grad.numpy()).max()
            np.testing.assert_allclose(q.data[sure], p[name].detach().numpy()[sure], atol=1e-9, err_msg=name)
        with torch.no_grad():
            for name, q in model.named_parameters().items():
                p[name].copy_(torch.tensor(q.data))


def loss_of(name, rng):
    """(model, its loss as a function without arguments) at small sizes drawn from rng."""
    n, latent, seed = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(1 << 30))
    objective = ("elbo", "lecture")[rng.integers(2)]
    likelihood = ("bernoulli", "gaussian")[rng.integers(2)]
    images = rng.random((n, 28, 28, 1))
    if name == "DenseVAE":
        side = int(rng.integers(2, 5))
        model = DenseVAE(side * side, int(rng.integers(2, 6)), latent, rng=rng, objective=objective,
                         likelihood=likelihood)
        return model, lambda: model.loss(images[:, :side, :side], np.random.default_rng(seed))[0]
    if name == "ConvVAE":
        model = ConvVAE(latent=latent, rng=rng, objective=objective, likelihood=likelihood)
        return model, lambda: model.loss(images[:1], np.random.default_rng(seed))[0]
    if name == "SwitchHead":
        model, z = SwitchHead(latent, rng=rng), rng.normal(size=(1, latent))
        argmax1, argmax2 = (rng.integers(0, 4, (1, *shape)) for shape in ((14, 14, 64), (7, 7, 10)))
        return model, lambda: model.loss(z, argmax1, argmax2)
    model = DigitClassifier(rng=rng)
    labels = rng.integers(0, 10, n)
    return model, lambda: model.loss(images, labels)


@pytest.mark.parametrize("name", ["DenseVAE", "ConvVAE", "SwitchHead", "DigitClassifier"])
@settings(max_examples=max(1, settings.default.max_examples // 4))
@given(seed=st.integers(0, 2**32 - 1))
def test_gradient_of_the_whole_loss(name, seed):
    model, loss = loss_of(name, np.random.default_rng(seed))
    check.gradients(loss, parameters=model, entries=300, order=2 if name == "DenseVAE" else 1, seed=seed)


def test_the_objectives_are_their_formulas():
    model = DenseVAE(rng=np.random.default_rng(0))
    with no_grad():
        mean, s = (t.data for t in model.encode(X))
        noise = np.random.default_rng(1).standard_normal(mean.shape, dtype=np.float32)
        logits = model.decode(mean + np.exp(0.5 * s) * noise).data
        loss, reconstruction, kl = (t.item() for t in model.loss(X, np.random.default_rng(1)))
    np.testing.assert_allclose(kl, 0.5 * (np.exp(s) + mean ** 2 - 1 - s).sum(1).mean(), rtol=1e-5)
    q = 1 / (1 + np.exp(-logits.astype(float)))
    nll = -(X * np.log(q) + (1 - X) * np.log(1 - q)).sum((1, 2, 3)).mean()
    np.testing.assert_allclose([reconstruction, loss], [nll, nll + kl], rtol=1e-5)
    model.likelihood = "gaussian"
    with no_grad():
        value = model.nll(logits, X).item()
    density = np.exp(-0.5 * ((X - q) / SIGMA) ** 2) / (SIGMA * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(value, -np.log(density).sum(), rtol=1e-4)
    with pytest.raises(ValueError, match="'elbow'"):
        DenseVAE(rng=np.random.default_rng(0), objective="elbow")


@pytest.mark.parametrize("objective, deviation", [("elbo", lambda s: np.exp(s / 2)), ("lecture", np.exp)])
def test_sampled_codes_have_the_stated_spread(objective, deviation):
    """Mean μ, and standard deviation e^(s/2), or e^s for "lecture"."""
    model = DenseVAE(rng=np.random.default_rng(0), objective=objective)
    mean, s = np.array([0.5, -2.0]), np.array([-1.0, 0.6])
    n = 200_000
    z = model.sample_code(Tensor(np.tile(mean, (n, 1))), Tensor(np.tile(s, (n, 1))), np.random.default_rng(0)).data
    np.testing.assert_allclose(z.mean(0), mean, atol=5 * deviation(s).max() / np.sqrt(n))
    np.testing.assert_allclose(z.std(0), deviation(s), rtol=5 / np.sqrt(2 * n))


def test_the_decoder_uses_the_encoders_kernels_and_switches():
    model = ConvVAE(rng=np.random.default_rng(0))
    with no_grad():
        mean, _, argmax1, argmax2 = model.encode(X)
        h = ops.relu(model.expand(mean)).data.reshape(-1, 7, 7, 10)
        h = ops.unpool(h, argmax2) - model.conv2.b.data
        h = ops.unpool(ops.conv2d_transpose(h, model.conv2.w.data), argmax1) - model.conv1.b.data
        expected = ops.conv2d_transpose(h, model.conv1.w.data)
        np.testing.assert_allclose(model.decode(mean, argmax1, argmax2).data, expected, rtol=1e-5, atol=1e-6)
        other = model.decode(mean, *corner_switches(len(X), X)).data
        assert not np.allclose(other, expected)
        repeated = model.decode(mean, None, None)
    assert repeated.shape == X.shape
    assert len(model.parameters()) == 12  # six layers: the decoder adds only `expand`


def test_switch_head_learns_switches_that_depend_on_z():
    rng = np.random.default_rng(0)
    head = SwitchHead(latent=4, rng=rng)
    optimizer = Adam(head.parameters(), lr=2e-2)
    z = np.eye(4, dtype=np.float32)
    argmax1 = np.tile(np.arange(4, dtype=np.uint8)[:, None, None, None], (1, 14, 14, 64))
    argmax2 = np.tile(np.arange(4, dtype=np.uint8)[::-1, None, None, None], (1, 7, 7, 10))
    first = None
    for _ in range(30):
        loss = head.loss(z, argmax1, argmax2)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * first
    for predicted, wanted in zip(head.predict(z), (argmax1, argmax2), strict=True):
        assert (predicted == wanted).mean() > 0.98


def test_learning_lowers_the_loss_and_evaluation_learns_nothing():
    model = DenseVAE(hidden=30, latent=5, rng=np.random.default_rng(0))
    optimizer, rng = Adam(model.parameters(), lr=3e-3), np.random.default_rng(1)
    before = evaluate(model, X, np.random.default_rng(2))
    state = model.state_dict()
    assert evaluate(model, X, np.random.default_rng(2), size=6) == before
    assert all((model.state_dict()[k] == v).all() for k, v in state.items())
    for _ in range(40):
        loss, _, _ = model.loss(X, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert evaluate(model, X, np.random.default_rng(2))[0] < before[0] - 20


def test_gaussian_of_codes_has_their_mean_and_covariance():
    model = DenseVAE(latent=3, rng=np.random.default_rng(0))
    images = np.random.default_rng(1).random((500, 28, 28, 1), dtype=np.float32)
    m, L = gaussian_of_codes(model, images, np.random.default_rng(2), size=500)
    with no_grad():
        z = model.sample_code(*model.encode(images), np.random.default_rng(2)).data
    np.testing.assert_allclose(m, z.mean(0), atol=1e-5)
    np.testing.assert_allclose(L @ L.T, np.cov(z.T), atol=1e-5)


def test_a_second_derivative_of_the_loss_exists():
    """‖∂L/∂w‖² can be differentiated again: create_graph through conv, pool, unpool, and the loss."""
    model = ConvVAE(latent=4, rng=np.random.default_rng(0))
    w = model.conv2.w
    loss = model.loss(X[:2], np.random.default_rng(0))[0]
    g = grad(loss, w, create_graph=True)
    second = grad(ops.square(g).sum(), w)
    assert second.shape == w.shape and np.isfinite(second.data).all() and np.abs(second.data).max() > 0
    assert losses.mse(second, second.data, "sum").item() == 0


@pytest.mark.parametrize("objective", ["elbo", "lecture"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("spoil", [lambda x: 255 * x, lambda x: (255 * x).astype("uint8"), lambda x: 2 * x - 1])
def test_images_that_are_no_probabilities_are_refused(objective, likelihood, spoil):
    rng = np.random.default_rng(0)
    model = DenseVAE(pixels=16, hidden=4, latent=2, rng=rng, objective=objective, likelihood=likelihood)
    x = rng.random((3, 4, 4, 1), dtype=np.float32)
    model.loss(x, rng)
    with pytest.raises((ValueError, TypeError), match=r"\[0, 1\]|floating-point"):
        model.loss(spoil(x), rng)


def test_images_need_not_be_square():
    rng = np.random.default_rng(0)
    model, x = DenseVAE(pixels=(4, 6), hidden=5, latent=2, rng=rng), rng.random((3, 4, 6, 1), dtype=np.float32)
    assert np.isfinite(model.loss(x, rng)[0].item())
    assert model.decode(np.zeros((2, 2), np.float32)).shape == (2, 4, 6, 1)
    with pytest.raises(ValueError, match=r"^DenseVAE: pixels=24 is not a square number; give the sides, .*\(H, W\)"):
        DenseVAE(pixels=24, rng=rng)
    for pixels in (0, 2.5, "784", None):
        with pytest.raises(ValueError, match="^DenseVAE: pixels is a whole number ≥ 1"):
            DenseVAE(pixels=pixels, rng=rng)


@pytest.mark.parametrize("make, words", [
    (lambda rng, x: ConvVAE(rng=rng).loss(x, rng), "ConvVAE"),
    (lambda rng, x: DigitClassifier(rng=rng)(x), "DigitClassifier")])
def test_models_of_digits_say_so(make, words):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=rf"^{words}: images \(2, 32, 32, 1\), expected \(N, 28, 28, 1\)"):
        make(rng, np.zeros((2, 32, 32, 1), np.float32))
    with pytest.raises(TypeError, match="images must be an array or a Tensor, got None"):
        make(rng, None)
