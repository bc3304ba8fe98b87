"""LSTM: its definition step by step, its states, its dependence on the inputs, and its errors."""

import numpy as np
import pytest

from scratchnet import Tensor, grad, layers, ops
from scratchnet.ops.recurrent import lstm_steps

RNG = np.random.default_rng(0)
X, W, U, B, H0, C0 = map(RNG.standard_normal, [(3, 7, 2), (2, 20), (5, 20), 20, (3, 5), (3, 5)])


def test_one_node_is_the_same_as_its_steps_one_by_one():
    tensors = [Tensor(a, requires_grad=True) for a in (X, W, U, B, H0, C0)]
    whole, steps = ops.lstm(*tensors), lstm_steps(*tensors)
    np.testing.assert_allclose(whole[0].data, steps.data[:, :-1], rtol=1e-12)
    np.testing.assert_allclose(whole[1].data, steps.data[:, -1], rtol=1e-12)
    gh, gc = RNG.standard_normal(whole[0].shape), RNG.standard_normal(whole[1].shape)
    ours = grad((whole[0] * gh).sum() + (whole[1] * gc).sum(), tensors)
    theirs = grad((steps[:, :-1] * gh).sum() + (steps[:, -1] * gc).sum(), tensors)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)


def test_without_a_state_it_starts_from_zeros():
    for given, meant in (((None, None), (0 * H0, 0 * C0)), ((H0, None), (H0, 0 * C0)), ((None, C0), (0 * H0, C0))):
        for a, b in zip(ops.lstm(X, W, U, B, *given), ops.lstm(X, W, U, B, *meant), strict=True):
            np.testing.assert_array_equal(a, b)


def test_going_on_from_a_state_is_like_not_stopping():
    lstm = layers.LSTM(2, 5, rng=np.random.default_rng(1)).move(lambda a: a.astype(np.float64))
    whole, (h, c) = lstm(X)
    first, state = lstm(X[:, :3])
    rest, (h_again, c_again) = lstm(X[:, 3:], state)
    for a, b in ((whole[:, :3], first), (whole[:, 3:], rest), (h, h_again), (c, c_again)):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)


def test_an_output_depends_on_no_later_input():
    before = ops.lstm(X, W, U, B)[0]
    changed = X.copy()
    changed[:, 4] += 1.0
    after = ops.lstm(changed, W, U, B)[0]
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).all()


def test_gates():
    """An open forget gate and a closed input gate keep the cell; the output gate scales tanh c."""
    b = np.repeat([-50.0, 50.0, 0.0, 0.0], 5)  # i = 0, f = 1, o = ½
    h, c = ops.lstm(X, 0 * W, 0 * U, b, H0, C0)
    np.testing.assert_allclose(c, C0)
    np.testing.assert_allclose(h, np.broadcast_to(np.tanh(C0)[:, None] / 2, h.shape))


def test_a_long_sequence_and_an_empty_batch():
    lstm = layers.LSTM(1, 3, rng=np.random.default_rng(1))
    x = Tensor(np.ones((2, 3000, 1), np.float32), requires_grad=True)
    lstm(x)[0].sum().backward()
    assert np.isfinite(x.grad).all() and x.grad.dtype == np.float32
    h, (last, c) = lstm(np.zeros((0, 4, 1), np.float32))
    assert h.shape == (0, 4, 3) and last.shape == c.shape == (0, 3)


def test_large_numbers_do_not_overflow():
    h, c = ops.lstm(1e4 * X, W, U, B)
    assert np.isfinite(h).all() and np.isfinite(c).all()


@pytest.mark.parametrize("change, message", [
    ({"x": X[0]}, r"needs x \(N, T, I\).*\(7, 2\)"), ({"x": X[:, :0]}, "T ≥ 1"),
    ({"x": X[:, :, :1]}, r"w \(I, 4H\), got \(3, 7, 1\) and \(2, 20\)"), ({"w": W[:, :18]}, r"got .*\(2, 18\)"),
    ({"w": W[0]}, r"and \(20,\)"), ({"w": W[:, :0]}, r"and \(2, 0\)"),
    ({"u": U[:4]}, r"u must have shape \(5, 20\), got \(4, 20\)"), ({"b": B[:5]}, r"b must have shape \(20,\)"),
    ({"h0": H0[:1]}, r"h0 must have shape \(3, 5\), got \(1, 5\)"), ({"c0": C0.T}, r"c0 must have shape \(3, 5\)")])
def test_errors(change, message):
    with pytest.raises(ValueError, match=f"lstm: .*{message}"):
        ops.lstm(**({"x": X, "w": W, "u": U, "b": B} | change))


def test_initial_weights():
    lstm = layers.LSTM(2, 3, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(lstm.b.data, np.repeat([0, 1, 0, 0], 3))
    np.testing.assert_allclose(lstm.u.data @ lstm.u.data.T, np.eye(3), atol=1e-6)
    assert repr(lstm).strip() == "LSTM 2 → 3  72 parameters"


def test_an_empty_batch_goes_forward_and_back():
    x, w, u, b = (Tensor(np.ones(shape), requires_grad=True) for shape in ((0, 4, 2), (2, 12), (3, 12), (12,)))
    h, _ = ops.lstm(x, w, u, b)
    h.backward(np.zeros((0, 4, 3)))
    assert x.grad.shape == (0, 4, 2) and all((t.grad == 0).all() for t in (w, u, b))


@pytest.mark.parametrize("wide", range(6))
def test_one_float64_argument_makes_the_results_float64(wide):
    """One of x, w, u, b, h0, c0 in float64, the others in float32: the results are float64 (but the product of two
    float32 factors is taken in float32), and each gradient has its input's dtype."""
    rng = np.random.default_rng(0)
    shapes = [(2, 3, 4), (4, 20), (5, 20), (20,), (2, 5), (2, 5)]
    narrow = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    mixed = [Tensor(a.astype(np.float64) if k == wide else a, requires_grad=True) for k, a in enumerate(narrow)]
    exact = [Tensor(a.astype(np.float64), requires_grad=True) for a in narrow]
    results = []
    for inputs in (mixed, exact):
        h, c = ops.lstm(*inputs)
        (h.sum() + 2.0 * c.sum()).backward()
        results.append((h.data, c.data))
    for ours, expected in zip(*results, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    for ours, expected in zip(mixed, exact, strict=True):
        assert ours.grad.dtype == ours.dtype
        np.testing.assert_allclose(ours.grad, expected.grad, rtol=1e-5, atol=1e-5)
