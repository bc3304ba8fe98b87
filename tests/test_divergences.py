"""f-divergences against their definition and closed forms; the bounds, which trained nets approach from below."""

import numpy as np
import pytest
from strict import no_host_reads, strict

from scratchnet import Tensor, check, divergences, games, no_grad, ops
from scratchnet.backend import to_cpu
from scratchnet.data import toy1d
from scratchnet.divergences import DIVERGENCES, best_output, bound, bound_from_samples, exact, push_forward
from scratchnet.models.gans.point_nets import dense_net
from scratchnet.optimizers import Adam
from scratchnet.schedules import cosine

NAMES = list(DIVERGENCES)
F = {  # f(u) and f′(u)
    "KL": (lambda u: u * np.log(u), lambda u: np.log(u) + 1), "reverse KL": (lambda u: -np.log(u), lambda u: -1 / u),
    "Pearson": (lambda u: (u - 1)**2, lambda u: 2 * (u - 1)),
    "Jensen-Shannon": (lambda u: (u * np.log(u) - (u + 1) * np.log((u + 1) / 2)) / 2,
                       lambda u: np.log(2 * u / (u + 1)) / 2)}


def rng(seed=0):
    return np.random.default_rng(seed)


def some(n=6, seed=0):
    """Probabilities p and q of n cells."""
    p, q = rng(seed).random((2, n)) + 0.05
    return p / p.sum(), q / q.sum()


def gaussian(mean, std, edges):
    """Probabilities of cells: the density in the middle of each, times its width."""
    x, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    return np.exp(-((x - mean) / std)**2 / 2) / (std * np.sqrt(2 * np.pi)) * width


EDGES = np.linspace(-12, 12, 2001)


# ---------------------------------------------------------------- the exact divergences

@pytest.mark.parametrize("name", NAMES)
def test_the_definition(name):
    p, q = some()
    assert exact(name, p, q) == pytest.approx((q * F[name][0](p / q)).sum())
    assert exact(name, p, p) == pytest.approx(0, abs=1e-15)
    assert exact(name, p.astype(np.float32), q.astype(np.float32)) == pytest.approx(exact(name, p, q), rel=1e-5)


def test_by_hand():
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    assert exact("KL", p, q) == pytest.approx(np.log(2) / 2 + np.log(2 / 3) / 2)
    assert exact("reverse KL", p, q) == pytest.approx(-np.log(2) / 4 + 3 * np.log(1.5) / 4)
    assert exact("Pearson", p, q) == pytest.approx(1 / 4 + 1 / 12)
    assert exact("Jensen-Shannon", p, q) == pytest.approx(
        np.log(4 / 3) / 4 + np.log(0.8) / 4 + np.log(2 / 3) / 8 + 3 * np.log(1.2) / 8)


@pytest.mark.parametrize(("mean", "std"), [(0.7, 1.0), (0.0, 0.8), (-0.5, 1.2)])
def test_gaussians_in_closed_form(mean, std):
    """KL(N(m, s²) ‖ N(0, 1)) = ½ (s² + m² − 1) − ln s;  1 + χ²(p ‖ q) = ∫ p²/q = e^(m²/(2 − s²)) / (s √(2 − s²))"""
    p, q = gaussian(mean, std, EDGES), gaussian(0, 1, EDGES)
    assert exact("KL", p, q) == pytest.approx((std**2 + mean**2 - 1) / 2 - np.log(std), abs=1e-8)
    assert exact("reverse KL", p, q) == pytest.approx(((1 + mean**2) / std**2 - 1) / 2 + np.log(std), abs=1e-8)
    assert exact("Pearson", p, q) == pytest.approx(
        np.exp(mean**2 / (2 - std**2)) / (std * np.sqrt(2 - std**2)) - 1, abs=1e-7)
    assert exact("Jensen-Shannon", p, q) == pytest.approx((exact("KL", p, (p + q) / 2) + exact("KL", q, (p + q) / 2))
                                                          / 2)


def test_where_one_of_them_is_zero():
    p, q, inf = np.array([0.0, 0.5, 0.5, 0.0]), np.array([0.0, 0.0, 0.5, 0.5]), np.inf
    assert [exact(name, p, q) for name in NAMES] == [inf, inf, inf, pytest.approx(np.log(2) / 2)]
    p = np.array([0.0, 0.0, 1.0, 0.0])                                        # zero wherever q is
    assert [exact(name, p, q) for name in NAMES] == [pytest.approx(np.log(2)), inf, pytest.approx(1),
                                                     pytest.approx(0.75 * np.log(4 / 3))]
    assert exact("reverse KL", q, p) == pytest.approx(np.log(2))
    assert exact("Jensen-Shannon", [1.0, 0.0], [0.0, 1.0]) == pytest.approx(np.log(2))
    tiny = np.array([5e-324, 1.0])                                            # p/q overflows, the divergence does not
    assert exact("KL", [0.5, 0.5], tiny) == pytest.approx(0.5 * np.log(0.5) - 0.5 * np.log(5e-324) + 0.5 * np.log(0.5))
    assert np.isfinite(exact("Jensen-Shannon", tiny, [0.5, 0.5]))


# ---------------------------------------------------------------- the bounds

@pytest.mark.parametrize("name", NAMES)
def test_the_conjugate_is_the_largest_of_ut_minus_f(name):
    line, u = DIVERGENCES[name], np.geomspace(1e-8, 1e4, 2_000_001)
    for v in (-1.5, 0.0, 0.3, 2.0):
        t = line.activation(v)
        at_zero = {"Pearson": -1.0}.get(name, -np.inf)                        # −f(0), where u = 0 is best
        assert line.conjugate(v) == pytest.approx(max((u * t - F[name][0](u)).max(), at_zero), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_output_makes_the_bound_exact_and_no_other_does(name):
    for seed in range(20):
        p, q = some(seed=seed)
        v = best_output(name, p, q)
        np.testing.assert_allclose(DIVERGENCES[name].activation(v), F[name][1](p / q))
        assert bound(name, v, p, q) == pytest.approx(exact(name, p, q))
        for size in (1e-3, 0.1, 3.0):
            assert bound(name, v + size * rng(seed).normal(size=6), p, q) < exact(name, p, q)


def test_outputs_where_both_are_zero():
    p, q = np.array([0.0, 0.5, 0.5, 0.0]), np.array([0.0, 0.0, 0.5, 0.5])
    np.testing.assert_array_equal(best_output("Jensen-Shannon", p, q), [np.nan, np.inf, 0, -np.inf])


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    p, q = some()
    check.gradients(lambda v: bound(name, v, p, q), rng(1).normal(size=6), order=2)
    check.gradients(lambda a, b: bound_from_samples(name, a, b), rng(1).normal(size=(5, 1)), rng(2).normal(size=(7, 1)),
                    order=2)
    v = Tensor(best_output(name, p, q), requires_grad=True)
    bound(name, v, p, q).backward()
    np.testing.assert_allclose(v.grad, 0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_samples_and_cells_agree(name):
    v, of_p, of_q = rng(1).normal(size=3), (5, 3, 2), (1, 3, 6)
    real, fake = np.repeat(v, of_p)[:, None], np.repeat(v, of_q)[:, None]
    expected = bound(name, v, np.array(of_p) / 10, np.array(of_q) / 10)
    assert bound_from_samples(name, real, fake) == pytest.approx(expected)
    assert bound_from_samples(name, real, np.concatenate([fake, fake])) == pytest.approx(expected)


def test_the_first_gan():
    a, b = rng(1).normal(size=(5, 1)), rng(2).normal(size=(7, 1))
    assert -games.minimax_discriminator(a, b) == pytest.approx(
        2 * bound_from_samples("Jensen-Shannon", a, b) - 2 * np.log(2))


@pytest.mark.parametrize("name", NAMES)
def test_float32_on_any_device_and_no_reads(name):
    p, q = (a.astype(np.float32) for a in some())
    v = rng(1).normal(size=6).astype(np.float32)
    here, there = Tensor(v, requires_grad=True), Tensor(strict.asarray(v), requires_grad=True)
    bound(name, here, p, q).backward()
    with no_host_reads():
        bound(name, there, strict.asarray(p), strict.asarray(q)).backward()
        sampled = bound_from_samples(name, there, there)
    assert here.grad.dtype == sampled.dtype == np.float32
    np.testing.assert_allclose(to_cpu(there.grad), here.grad, rtol=1e-6)


# ---------------------------------------------------------------- nets that measure a divergence

GRID = np.linspace(-7, 7, 401)
P = 0.6 * gaussian(-0.8, 0.8, GRID) + 0.4 * gaussian(1.2, 0.8, GRID)
Q = gaussian(0.8, 1, GRID)


def trained(name, steps=400):
    """Outputs on GRID, in float64, of a net that has climbed the bound, and the values of the bound on the way."""
    net = dense_net([1, 32, 32, 1], ops.tanh, rng=rng())
    optimizer, passed = Adam(net.parameters(), lr=cosine(1e-2, steps)), []
    x, p, q = (a.astype(np.float32) for a in ((GRID[1:, None] + GRID[:-1, None]) / 2, P, Q))
    for _ in range(steps):
        loss = -bound(name, net(x).reshape(-1), p, q)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        passed.append(-loss.item())
    with no_grad():
        return net(x).data[:, 0].astype(np.float64), passed


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_net_reaches_the_divergence_from_below(name):
    v, passed = trained(name)
    most = exact(name, P, Q)
    assert 0.98 * most < bound(name, v, P, Q) < most
    assert max(passed) < most + 1e-5 and passed[0] < 0.5 * most              # (1e-5: sums in float32)


def test_a_trained_discriminator_brings_the_value_of_the_game_to_its_optimum_from_below():
    """V(D, G) = E_p[ln D] + E_q[ln(1 − D)] is within 2 % of 2 JS − 2 ln 2; V + 2 ln 2, which is harder, of 2 JS."""
    v, _ = trained("Jensen-Shannon")
    D = 1 / (1 + np.exp(-v))
    value, js = (P * np.log(D) + Q * np.log(1 - D)).sum(), exact("Jensen-Shannon", P, Q)
    optimum = 2 * js - 2 * np.log(2)
    assert optimum - 0.02 * abs(optimum) < value < optimum
    assert value + 2 * np.log(2) > 0.98 * 2 * js
    assert ((P + Q) / 2 * np.abs(D - P / (P + Q))).sum() < 0.02


# ---------------------------------------------------------------- the density of generated samples

def test_push_forward_by_hand():
    z = np.linspace(0, 1, 101)
    np.testing.assert_allclose(push_forward(z, [0, 0.25, 0.5, 1]), [0.25, 0.25, 0.5], atol=1e-12)
    np.testing.assert_allclose(push_forward(1 - z, [0, 0.25, 0.5, 1]), [0.25, 0.25, 0.5], atol=1e-12)
    np.testing.assert_allclose(push_forward([0, 1, 0, 3], [0, 1, 2, 3]), [2 / 3 + 1 / 9, 1 / 9, 1 / 9])
    for flat in (2.5, 2.0):                                                   # all mass in one cell, then on its edge
        np.testing.assert_allclose(push_forward([flat] * 3, [0, 1, 2, 3]), [0, 0, 1])
    np.testing.assert_allclose(push_forward([-9, 1.5, 9.0], [1, 2, 3, 4]), [0.5 * (1 + 0.5 / 7.5), 1 / 15,
                                                                           0.5 * 6 / 7.5], rtol=1e-6)


def test_push_forward_of_known_distributions():
    """x = −ln(1 − z) is exponential. x = sin z folds twice; samples confirm the poles of its density."""
    z = np.linspace(0, 1 - 1e-9, 20_001)
    edges = np.linspace(0, 12, 61)
    expected = np.exp(-edges[:-1]) - np.exp(-edges[1:])
    expected[-1] += np.exp(-12)
    np.testing.assert_allclose(push_forward(-np.log1p(-z), edges), expected, atol=1e-4)
    edges = np.linspace(-1, 1, 21)
    masses = push_forward(np.sin(6 * np.linspace(-1, 1, 4001)), edges)
    samples = np.sin(6 * rng().uniform(-1, 1, 1_000_000))
    np.testing.assert_allclose(masses, np.histogram(samples, edges)[0] / 1e6, atol=2e-3)
    assert masses.sum() == pytest.approx(1)


@pytest.mark.parametrize("wrong", [
    ((0.5, 0.2), (0, 1), (1, 1)), ((1,), (0, 1), (1, 1)), ((2, -1), (0, 1), (1, 1)), ((0.5, 0.5), (0, 1), (1, 0)),
    ((np.nan, 0.5), (0, 1), (1, 1))])
def test_invalid_mixtures_are_refused(wrong):
    for use in (lambda m: m.draw(3, rng()), lambda m: m.cells(np.arange(4))):
        with pytest.raises(ValueError, match="^Mixture: .*, expected tuples of one length, weights of at least 0"):
            use(toy1d.Mixture(*wrong))


def test_cells_and_samples_of_a_mixture():
    mixture, edges = toy1d.Mixture((0.7, 0.3), (-1.0, 2.0), (0.5, 1.0)), np.linspace(-8, 8, 801)
    cells = mixture.cells(edges)
    np.testing.assert_allclose(cells, 0.7 * gaussian(-1, 0.5, edges) + 0.3 * gaussian(2, 1, edges), atol=1e-6)
    x, mean = (edges[1:] + edges[:-1]) / 2, 0.7 * -1 + 0.3 * 2
    assert cells.sum() == pytest.approx(1) and (cells * x).sum() == pytest.approx(mean, abs=1e-6)
    np.testing.assert_allclose(mixture.cells([0.0, 1.0, 2.0]), [0.7 * (1 - 3.167e-5) + 0.3 * 0.158655,
                                                                0.7 * 3.167e-5 + 0.3 * 0.841345], rtol=1e-5)
    samples = mixture.draw(400_000, rng())
    assert samples.shape == (400_000, 1) and samples.dtype == np.float32
    coarse = np.linspace(-3, 5, 17)
    np.testing.assert_allclose(np.histogram(samples, coarse)[0][1:-1] / 4e5, mixture.cells(coarse)[1:-1], atol=3e-3)


# ---------------------------------------------------------------- errors

def test_errors():
    p, q = some()
    for f in (divergences.divergence, lambda name: exact(name, p, q), lambda name: bound(name, p, p, q)):
        with pytest.raises(ValueError, match=r"^there is no divergence 'kl', expected one of KL, reverse KL, Pearson,"):
            f("kl")
    for f in (exact, best_output):
        op = f.__name__
        with pytest.raises(ValueError, match=rf"^{op}: p \(6,\) and q \(5,\), expected probabilities of the same"):
            f("KL", p, q[:5])
        with pytest.raises(ValueError, match=rf"^{op}: q sums to 2 and its minimum is .*multiply a density by"):
            f("KL", p, 2 * q)
        for wrong in ([1.5, -0.5], [np.nan, 1.0], []):
            with pytest.raises(ValueError, match=rf"^{op}: p sums to"):
                f("KL", wrong, wrong)
    with pytest.raises(ValueError, match=r"^bound: outputs \(6, 1\) for probabilities \(6,\) and \(6,\), exp"):
        bound("KL", p[:, None], p, q)
    for x, edges in (([1.0], [0, 1]), ([0.0, 1.0], [1.0]), ([0.0, 1.0], [0, 1, 1]), (np.zeros((2, 2)), [0, 1])):
        with pytest.raises(ValueError, match=r"^push_forward: x .* and edges .*, expected \(M \+ 1,\) and \(N \+ 1,\)"):
            push_forward(x, edges)
