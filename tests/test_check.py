"""The checker is checked: it must catch wrong rules, flag no right one, and see what is not a gradient at all."""

import numpy as np
import pytest
from cases import cases

from scratchnet import Tensor, check, differentiable, ops

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 5)), RNG.normal(size=5)
IMAGE, KERNEL = RNG.normal(size=(2, 6, 5, 3)), RNG.normal(size=(3, 3, 3, 2))


def overwritten_windows(gy, size, stride, padding, x_shape):
    """`=` for `+=` where windows overlap."""
    kernel, stride, pads, out = ops.pooling._window_geometry("", x_shape[1:3], size, stride, padding)
    x = np.zeros(x_shape)
    for _, _, window in ops.convolution.windows(x, kernel, stride, out):
        window[...] = gy
    return x


MUTANTS = {  # what is wrong: (op, rule, function, inputs)
    "zero gradient of softmax": (ops.softmax, lambda gy, y: gy * 0.0, ops.softmax, [X]),
    "softmax as if elementwise": (ops.softmax, lambda gy, y: gy * y * (1 - y), ops.softmax, [X]),
    "wrong sign": (ops.sin, lambda gy, x: -gy * ops.cos(x), ops.sin, [X]),
    "factor 2": (ops.square, lambda gy, x: gy * x, ops.square, [X]),
    "derivative at the output": (ops.exp, lambda gy, y: gy * np.exp(y), ops.exp, [X]),
    "activation's derivative left out": (ops.tanh, lambda gy: gy, ops.tanh, [X]),
    "cotangent ignored": (ops.tanh, lambda gy, y: 1 - y * y, ops.tanh, [X]),
    "cotangent squared": (ops.tanh, lambda gy, y: gy * gy * (1 - y * y), ops.tanh, [X]),
    "not divided by n": (ops.mean, lambda gy, x_shape: np.broadcast_to(gy, x_shape), ops.mean, [X]),
    "inputs swapped": (ops.multiply, lambda gy, a, b: (gy * a, gy * b), ops.multiply, [X, X[::-1] * 1.0]),
    "second input forgotten": (ops.multiply, lambda gy, b: (gy * b, None), ops.multiply, [X, X[::-1] * 1.0]),
    "bias not summed but averaged": (ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.mean(0)), ops.dense,
                                     [X, W, B]),
    "w wrong by a transpose": (ops.dense, lambda gy, x, w: (gy @ w.T, (x.T @ gy).T.reshape(4, 5), gy), ops.dense,
                               [X, W, B]),
    "kernel not flipped": (ops.conv2d, lambda gy, x, w: (
        ops.conv2d(gy, w.swapaxes(2, 3)), ops.conv2d_weight(x, gy, (3, 3))), ops.conv2d, [IMAGE, KERNEL]),
    "shifted by one": (ops.conv2d, lambda gy, x, w: (
        np.roll(ops.conv2d_transpose(gy, w), 1, 1), ops.conv2d_weight(x, gy, (3, 3))), ops.conv2d, [IMAGE, KERNEL]),
    "windows overwritten": (ops.window_sum, overwritten_windows, lambda x: ops.window_sum(x, 3, 2), [IMAGE]),
    "mean path of batch norm missing": (ops.batch_norm, lambda gy, x, gamma, var: (
        gy * gamma / np.sqrt(var + 1e-5), None, None), lambda x: ops.batch_norm(x, B[:4], B[:4])[0], [X]),
    "stop-gradient": (ops.relu, lambda gy: None, ops.relu, [X]),
    "reversed in time": (ops.cumsum, lambda gy: np.cumsum(gy, 0), lambda x: ops.cumsum(x, 0), [X]),
    "all of max instead of the winner": (ops.norm, lambda gy, x: gy * np.sign(x), lambda x: ops.norm(x), [X]),
}


@pytest.mark.parametrize("what", MUTANTS)
def test_wrong_rules_are_caught(what):
    op, rule, f, inputs = MUTANTS[what]
    check.gradients(f, *inputs)  # the right rule passes
    with op.using(rule), pytest.raises(check.GradientMismatch):
        check.gradients(f, *inputs)


def test_a_dropped_second_order_term_is_caught():
    @differentiable
    def cube(x):
        return x ** 3

    @cube.backward
    def _(gy, x):
        return gy * (3.0 * ops.square(Tensor(getattr(x, "data", x)))).data  # x² as a constant

    check.gradients(cube, X)
    with pytest.raises(check.GradientMismatch):
        check.gradients(cube, X, order=2)


@pytest.mark.parametrize("seed", range(100, 106))
def test_no_right_rule_is_flagged(seed):
    for f, *xs in cases(np.random.default_rng(seed)).values():
        check.gradients(f, *xs, seed=seed, entries=60)


def test_what_is_no_function_is_seen():
    state = np.random.default_rng(0)
    with pytest.raises(check.GradientMismatch, match="another result"):
        check.gradients(lambda x: x * state.random(), X)

    @differentiable
    def spoils(x):
        y = x * 1.0
        x *= 0.5
        return y

    spoils.backward(lambda gy: gy)
    with pytest.raises(check.GradientMismatch):
        check.gradients(spoils, X)


def test_report_names_the_worst_entry_and_kinks_are_counted():
    wrong = np.ones((3, 4))
    wrong[1, 2] = 1.5
    with ops.sin.using(lambda gy, x: gy * np.cos(x) * wrong), pytest.raises(check.GradientMismatch) as caught:
        check.gradients(ops.sin, X)
    assert "0 (3, 4)  WRONG     (1, 2)" in str(caught.value)
    x = np.array([0.5, 1e-12, -0.7])
    report = check.gradients(lambda x: ops.abs(x) + ops.maximum(x, 0.0), x)
    assert "1 at kinks left out" in str(report)


def test_large_inputs_are_sampled():
    x = np.random.default_rng(0).normal(size=5000)
    report = check.gradients(lambda x: ops.tanh(x).sum(), x, entries=50)
    assert not report.wrong
    with ops.tanh.using(lambda gy, y: gy * (1 - y * y) * np.where(np.arange(5000) == 4321, 1.5, 1.0)), \
            pytest.raises(check.GradientMismatch):  # one entry of 5000: seen in the dense directions
        check.gradients(lambda x: ops.tanh(x).sum(), x, entries=50)


def test_the_other_tools():
    np.testing.assert_allclose(check.numerical_gradient(lambda x: (np.asarray(x) ** 3).sum(), X), 3 * X ** 2, rtol=1e-8)
    np.testing.assert_allclose(check.jacobian(lambda x: ops.matmul(x, W), X), np.kron(np.eye(3), W.T), atol=1e-12)
    assert abs(check.taylor(lambda x: (ops.exp(x)).sum(), X) - 2) < 0.1
    with ops.exp.using(lambda gy, y: gy * y * 1.01):
        assert abs(check.taylor(lambda x: (ops.exp(x)).sum(), X) - 2) > 0.5
    check.adjoint(lambda x: ops.flip(x, 0), lambda y: ops.flip(y, 0), (3, 2), (3, 2))
    with pytest.raises(check.GradientMismatch, match="not each other's adjoint"):
        check.adjoint(lambda x: np.cumsum(x), lambda y: np.cumsum(y), (4,), (4,))
