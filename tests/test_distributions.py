"""Laws of the distributions: gradient checks do not see a wrong formula that is differentiated correctly."""

import numpy as np
import pytest

from scratchnet import Tensor, initializers, layers, losses, ops
from scratchnet.autograd import no_grad
from scratchnet.backend import standard_normal, uniform
from scratchnet.models.vaes import DenseVAE
from scratchnet.models.vaes.vae import SIGMA

GRID = np.linspace(-12, 12, 4801)
STEP = GRID[1] - GRID[0]


def normal(z, mean=0.0, logvar=0.0):
    return np.exp(-0.5 * (z - mean) ** 2 / np.exp(logvar)) / np.sqrt(2 * np.pi * np.exp(logvar))


@pytest.mark.parametrize("mean, logvar", [(0.0, 0.0), (1.3, -1.0), (-2.0, 1.2)])
def test_gaussian_nll_is_a_density_of_that_mean_and_variance(mean, logvar):
    p = np.exp(-losses.gaussian_nll(GRID, np.full_like(GRID, mean), np.full_like(GRID, logvar), "none"))
    moments = [(p * GRID ** k).sum() * STEP for k in range(3)]
    np.testing.assert_allclose(moments, [1, mean, mean ** 2 + np.exp(logvar)], rtol=1e-6, atol=1e-9)


def test_cross_entropies_are_probabilities():
    x = np.random.default_rng(0).normal(size=(5, 4)) * 3
    both = sum(np.exp(-losses.bce_with_logits(x, np.full_like(x, t), "none")) for t in (0.0, 1.0))
    np.testing.assert_allclose(both, 1)
    every = sum(np.exp(-losses.softmax_cross_entropy(x, np.full(5, c), "none")) for c in range(4))
    np.testing.assert_allclose(every, 1)


@pytest.mark.parametrize("mean, logvar", [(0.0, 0.0), (0.7, -1.5), (-1.5, 0.9)])
def test_gaussian_kl_is_the_integral(mean, logvar):
    q = normal(GRID, mean, logvar)
    integral = (q * (np.log(q) - np.log(normal(GRID)))).sum() * STEP
    kl = losses.gaussian_kl(np.array([mean]), np.array([logvar]), "sum")
    np.testing.assert_allclose(kl, integral, atol=1e-9)
    assert kl >= 0


def tiny_vae(likelihood):
    model = DenseVAE(4, 3, 1, rng=np.random.default_rng(5), likelihood=likelihood)
    for p in model.parameters():
        p.data = p.data.astype(np.float64) * 2
    return model, np.random.default_rng(1).integers(0, 2, (1, 2, 2, 1)).astype(float)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_elbo_is_below_the_evidence_by_the_divergence_from_the_posterior(likelihood):
    """ln p(x) − ELBO = KL(q(z|x) ‖ p(z|x)) (eq. 1 of Kingma & Welling 2014), by quadrature over one latent number."""
    model, x = tiny_vae(likelihood)
    with no_grad():
        mean, s = (t.item() for t in model.encode(x))
        logits = model.decode(GRID[:, None]).data
        log_likelihood = np.array([-model.nll(one[None], x).item() for one in logits])
        joint = np.exp(log_likelihood) * normal(GRID)
        evidence = joint.sum() * STEP
        q = normal(GRID, mean, s)
        gap = (q * (np.log(q) - np.log(joint / evidence))).sum() * STEP
        rng = np.random.default_rng(0)
        draws = np.array([model.loss(np.repeat(x, 500, 0), rng)[0].item() for _ in range(60)])
    error = draws.std() / np.sqrt(len(draws))
    assert abs(-draws.mean() - (np.log(evidence) - gap)) < 5 * error + 1e-6
    assert gap > 0


def test_the_likelihoods_of_the_vae_are_probabilities_of_images():
    """Bernoulli likelihoods of all 16 images of 2 × 2 pixels sum to one; the Gaussian one of a pixel integrates to one.
    """
    logits = np.random.default_rng(0).normal(size=(1, 2, 2, 1))
    model, _ = tiny_vae("bernoulli")
    images = np.array(np.meshgrid(*[[0.0, 1.0]] * 4)).reshape(4, -1).T.reshape(-1, 1, 2, 2, 1)
    with no_grad():
        assert abs(sum(np.exp(-model.nll(logits, x).item()) for x in images) - 1) < 1e-12
        model, _ = tiny_vae("gaussian")
        pixel = np.linspace(-2, 3, 5001)
        density = [np.exp(-model.nll(logits[:, :1, :1], np.full((1, 1, 1, 1), value)).item()) for value in pixel]
    assert abs(np.sum(density) * (pixel[1] - pixel[0]) - 1) < 1e-6
    spread = np.sqrt(np.sum(density * (pixel - ops.sigmoid(logits[0, 0, 0, 0])) ** 2) * (pixel[1] - pixel[0]))
    assert abs(spread - SIGMA) < 1e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_have_their_moments(dtype):
    like, n = np.zeros(1, dtype), 400_000
    e = standard_normal(np.random.default_rng(0), (n,), like)
    u = uniform(np.random.default_rng(0), (n,), like)
    assert e.dtype == u.dtype == dtype and u.min() >= 0 and u.max() < 1
    np.testing.assert_allclose([e.mean(), e.var(), (e ** 3).mean(), (e ** 4).mean()], [0, 1, 0, 3], atol=0.05)
    np.testing.assert_allclose([u.mean(), u.var()], [0.5, 1 / 12], atol=2e-3)


def test_dropout_keeps_the_expected_result_of_a_linear_layer():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, 50)), rng.normal(size=50)
    y = ops.dropout(np.repeat(x, 40_000, 0), 0.3, rng) @ w
    assert abs(y.mean() - (x @ w).item()) < 5 * y.std() / 200
    np.testing.assert_allclose(y.var(), (0.3 / 0.7) * ((x[0] * w) ** 2).sum(), rtol=0.05)


def test_signals_and_gradients_keep_their_size_through_deep_networks():
    """He's initialization keeps E[y²] through ReLU layers on the way forward, and its transpose on the way back."""
    rng, width, depth = np.random.default_rng(0), 300, 20
    net = layers.Sequential(*[f for _ in range(depth) for f in (
        layers.Dense(width, width, rng=rng, init=initializers.he_normal), ops.relu)])
    x = Tensor(rng.normal(size=(50, width)).astype(np.float32), requires_grad=True)
    y = net(x)
    y.backward(rng.normal(size=y.shape).astype(np.float32))
    assert 0.3 < (y.data ** 2).mean() < 3 and 0.2 < (x.grad ** 2).mean() < 3


def test_running_statistics_of_batch_norm_become_those_of_the_population():
    rng, layer = np.random.default_rng(0), layers.BatchNorm(2, momentum=0.95)
    for _ in range(400):
        layer(rng.normal([1.0, -2.0], [0.5, 3.0], (64, 2)).astype(np.float32))
    np.testing.assert_allclose(layer.mean, [1, -2], atol=0.15)
    np.testing.assert_allclose(layer.var, [0.25, 9], rtol=0.15)
