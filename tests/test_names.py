"""The checker's verdict on a wrong rule is true: no name fits by accident, and even odd rules get a verdict."""

import numpy as np
import pytest

from scratchnet import Tensor, check, differentiable, games, grad, losses, ops
from scratchnet.autograd import REGISTRY, data_of

RNG = np.random.default_rng(3)
X, IMAGE = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 3, 6, 5))


def last(report):
    return last(report.higher) if report.higher else report


def diagnosis(op, rule, f, *inputs, **options):
    """The Diagnosis while `rule` is the gradient of op."""
    with op.using(rule), np.errstate(all="ignore"), pytest.raises(check.GradientMismatch) as caught:
        check.gradients(f, *inputs, **options)
    return last(caught.value.report).diagnosis


# ---------------------------------------------------------------- a gradient has its input's shape

@pytest.mark.parametrize("f, rule, inputs", [
    (ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy), ((3, 4), (4, 5), (5,))),
    (ops.conv2d, lambda gy, x, w: (ops.conv2d_transpose(gy, w), ops.conv2d_weight(x, gy, (3, 3)), gy),
     ((2, 5, 6, 3), (3, 3, 3, 4), (4,))),
    (lambda x, b: ops.layer_norm(x, np.ones(4), b), lambda gy: (gy, gy, gy), ((5, 4), (4,)))],
    ids=["dense", "conv2d", "layer_norm"])
def test_a_missing_sum_over_the_batch_is_named(f, rule, inputs):
    op = f if hasattr(f, "using") else ops.layer_norm
    found = diagnosis(op, rule, f, *(RNG.standard_normal(shape) for shape in inputs))
    assert (found.name, found.confidence) == ("broadcast axis not summed", "high")
    assert "is missing" in found.evidence


def test_ops_that_broadcast_may_leave_the_sum_to_the_walk():
    for op in (ops.add, ops.multiply, ops.where, ops.maximum, ops.power):
        assert op.op.broadcasts
    check.gradients(ops.multiply, X, X[0])
    assert not any(REGISTRY[f"scratchnet.ops.{name}"].op.broadcasts for name in (
        "linear.dense", "convolution.conv2d", "normalization.batch_norm", "normalization.layer_norm"))


# ---------------------------------------------------------------- rules that give no gradient at all

@pytest.mark.parametrize("rule", [
    lambda gy: 3.0, lambda gy: [1.0, 2.0], lambda gy: gy > 0, lambda gy: gy.astype(int), lambda gy: "a",
    lambda gy: object(), lambda gy: np.ma.masked_less(gy, 0), lambda gy: gy.astype(object), lambda gy: gy + 0j],
    ids=["number", "list", "mask", "integers", "text", "object", "masked", "objects", "complex"])
def test_a_rule_that_returns_no_array_of_floats_gets_a_sentence(rule):
    found = diagnosis(ops.tanh, rule, ops.tanh, X)
    assert (found.name, found.confidence, found.op) == ("not an array", "high", "tanh")
    assert "tanh: its gradient rule gave" in found.evidence and "`x`" in found.evidence


def test_a_rule_without_a_return():
    found = diagnosis(ops.tanh, lambda gy: None, ops.tanh, X)
    assert found.name == "stop-gradient" and "is a `return` missing?" in found.evidence


def test_a_rule_that_raises_gets_a_sentence():
    found = diagnosis(ops.tanh, lambda gy, y: gy @ y, ops.tanh, X)
    assert found.name == "error in the rule" and "tanh: in its gradient rule: " in found.evidence
    found = diagnosis(ops.exp, lambda gy, x: gy * np.exp(x), ops.exp, X, order=2)
    assert found.name == "error in the rule" and "write it in scratchnet's ops" in found.evidence


# ---------------------------------------------------------------- faults that a comparison at one point misses

@pytest.mark.parametrize("limit", [0.1, 1.0, 10.0, 1e3, 1e6, 1e9])
def test_a_rule_that_clips_is_not_linear(limit):
    found = diagnosis(ops.tanh, lambda gy, y: np.clip(gy, -limit, limit) * (1 - y * y), ops.tanh, X)
    assert (found.name, found.confidence) == ("not linear in the upstream gradient", "high")


def test_a_rule_that_drops_small_cotangents_is_not_linear():
    found = diagnosis(ops.tanh, lambda gy, y: np.where(abs(gy) < 1e-7, 0, gy) * (1 - y * y), ops.tanh, X)
    assert found.name == "not linear in the upstream gradient"


def test_the_upstream_gradient_is_no_constant_for_a_second_derivative():
    found = diagnosis(ops.sin, lambda gy, x: data_of(gy) * ops.cos(x), ops.sin, X, order=2)
    assert found.name == "stop-gradient in the second order"
    check.gradients(ops.sin, X, order=2)


def test_the_rules_that_f_contains_are_checked():
    def penalty(x):
        return ops.square(grad(ops.tanh(x).sum(), x, create_graph=True)).sum()
    report = check.gradients(penalty, X)  # without enable_grad
    assert any("by the rules of" in note and "tanh" in note for note in report.notes)
    found = diagnosis(ops.tanh, lambda gy, y: -gy * (1 - y * y), penalty, X)
    assert (found.name, found.op) == ("wrong sign", "tanh")
    with pytest.raises(check.GradientMismatch) as caught:
        check.gradients(lambda x: ops.square(grad(ops.tanh(x).sum(), x)).sum(), X)
    assert caught.value.report.diagnosis.name == "stop-gradient"
    assert "create_graph=True" in caught.value.report.diagnosis.evidence


def test_an_op_that_reads_what_another_call_left_behind():
    seen = {}

    @differentiable
    def cube(x):
        seen["x"] = x
        return x ** 3

    cube.backward(lambda gy: gy * 3 * seen["x"] ** 2)
    with pytest.raises(check.GradientMismatch) as caught:
        check.gradients(lambda x: cube(x) + cube(2 * x), X)
    found = caught.value.report.diagnosis
    assert (found.name, found.op) == ("not a function", "cube")


def test_a_rule_that_writes_into_its_arguments():
    def moves_x(gy, x, y):
        x += 1e-3
        return gy * (1 - y * y)
    for rule in (lambda gy, y: gy.__imul__(1 - y * y), lambda gy, y: np.multiply(y, gy, out=y), moves_x):
        assert diagnosis(ops.tanh, rule, ops.tanh, X.copy()).name == "changed in place"


def test_a_wrong_shape_is_blamed_on_its_input_alone():
    found = diagnosis(ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.sum(0, keepdims=True)), ops.dense, X,
                      X.T @ X, X[0])
    assert (found.name, found.inputs) == ("wrong shape", ["b"]) and "missing" not in found.evidence
    report = check.gradients(ops.dense, X[:1], X.T @ X, X[0])
    assert any("x has an axis of length 1, along which a missing sum cannot be seen" in note for note in report.notes)


def test_where_nothing_can_be_checked_no_op_is_accused():
    with pytest.raises(check.GradientMismatch) as caught:
        check.gradients(ops.tanh, np.array([np.nan, 1.0]))
    assert caught.value.report.diagnosis.name == "not checked" and caught.value.report.diagnosis.op is None
    with pytest.raises(TypeError, match="f must be a function, got an int 3"):
        check.gradients(3, X)
    with pytest.raises(TypeError, match=r"use data_of\(x\) instead of x.data"):
        check.gradients(lambda x: x.data, X)
    with pytest.raises(TypeError, match="a masked array would lose its mask"):
        check.gradients(ops.tanh, np.ma.masked_less(X, 0))
    with pytest.raises(check.GradientMismatch):
        check.gradients(lambda x: float(data_of(x).sum().real), X)


# ---------------------------------------------------------------- right rules are not accused

@pytest.mark.parametrize("f, x", [
    (ops.sigmoid, [30.0, -30.0]), (ops.sigmoid, [30.0, -30.0, 0.3]), (ops.softplus, [40.0, -40.0, 1.0]),
    (lambda x: losses.bce_with_logits(x, np.array([1.0, 0, 1, 0]), "none"), [30.0, -30, -30, 30]),
    (lambda x: losses.bce_with_logits(x, np.array([1.0, 0]), "sum"), [30.0, -30]),
    (lambda x: 1.0 / x, [1e-5, -2e-5]), (lambda x: 1.0 / x, [1e-8]), (ops.log, [1e-12]), (ops.sqrt, [1e-10]),
    (lambda x: ops.sin(1e7 * x), [0.3, 1.1]), (lambda x: ops.abs(1.0 / x), [1e-5, -2e-5]),
    (lambda x: ops.sin(1e5 * x), [0.3, -1.1, 0.7]), (lambda x: ops.log(x), [1e-6, 1e-3, 1.0]),
    (lambda x: ops.tanh(20.0 * x), [1.0, -1.0, 0.01])], ids=[
        "sigmoid", "sigmoid beside others", "softplus", "cross-entropy", "its sum", "1/x",
        "1/x at 1e-8", "logarithm at 1e-12", "root at 1e-10", "sine of 1e7 x", "|1/x|", "sine", "logarithm", "tanh"])
def test_saturated_steep_and_fast_functions_are_right(f, x):
    check.gradients(f, np.array(x))


# ---------------------------------------------------------------- names that would fit by accident

@differentiable
def quartic(x):
    return x ** 4


@differentiable
def with_logarithm(x):
    return (x + np.log(x)).sum()


quartic.backward(lambda gy, x: gy * 4 * x ** 3)
with_logarithm.backward(lambda gy, x: gy * (1 + 1 / x))


@differentiable
def instance_norm(x, eps=1e-5):
    """Images (N, C, H, W); each channel of each image is standardised alone."""
    centred = x - x.mean((2, 3), keepdims=True)
    return centred / np.sqrt((centred * centred).mean((2, 3), keepdims=True) + eps)


def _instance_norm_back(gy, x, mean=1, variance=1, eps=1e-5):
    centred = x - x.mean((2, 3), keepdims=True)
    std = np.sqrt((centred ** 2).mean((2, 3), keepdims=True) + eps)
    y = centred / std
    return (gy - mean * gy.mean((2, 3), keepdims=True) - variance * y * (gy * y).mean((2, 3), keepdims=True)) / std


instance_norm.backward(lambda gy, x: _instance_norm_back(gy, x))


@pytest.mark.parametrize("op, rule, inputs, name", [
    (quartic, lambda gy, x: gy * x ** 3, [X], "constant factor"),  # 4 is no axis of length 4
    (with_logarithm, lambda gy, x: gy / x, [abs(X) + 0.1], "constant term"),  # 1 is not the sign of positive numbers
    (ops.divide, lambda gy, a, b: (gy / b, -gy / b), [X, abs(X) + 0.1], "other argument as a factor"),  # not an exp
    (ops.norm, lambda gy, x: gy * x, [X], "unknown")],  # ‖x‖ is no constant
    ids=["a factor like a length", "positive inputs", "y as a factor", "a factor of the data"])
def test_no_name_by_accident(op, rule, inputs, name):
    found = diagnosis(op, rule, op, *inputs)
    assert found.name == name, str(found)
    assert found.confidence == "high" or name in ("unknown", "other argument as a factor")


@pytest.mark.parametrize("mean, variance, name", [
    (0, 1, "mean path missing"), (1, 0, "variance path missing"), (0, 0, "mean and variance paths missing"),
    (-1, 1, "unknown"), (2, 1, "unknown"), (1, 0.5, "unknown"), (1, 2, "unknown")])
def test_a_path_that_is_missing_is_all_that_is_missing(mean, variance, name):
    found = diagnosis(instance_norm, lambda gy, x: _instance_norm_back(gy, x, mean, variance), instance_norm, IMAGE)
    assert found.name == name, str(found)


# ---------------------------------------------------------------- names for more mistakes, in more layouts

@differentiable
def conv(x, w):
    """As in CS231n: x (N, C, H, W), w (O, C, kh, kw)"""
    (kh, kw), (h, v) = w.shape[2:], x.shape[2:]
    return sum(np.einsum("nchw,oc->nohw", x[:, :, i:h - kh + 1 + i, j:v - kw + 1 + j], w[:, :, i, j])
               for i in range(kh) for j in range(kw))


def _conv_back(gy, x, w, flipped=False):
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for i, j in np.ndindex(w.shape[2:]):
        window = np.s_[:, :, i:i + gy.shape[2], j:j + gy.shape[3]]
        gx[window] += np.einsum("nohw,oc->nchw", gy, w[:, :, -1 - i, -1 - j] if flipped else w[:, :, i, j])
        gw[:, :, i, j] = np.einsum("nohw,nchw->oc", gy, x[window])
    return gx, gw


conv.backward(lambda gy, x, w: _conv_back(gy, x, w))


@differentiable
def rnn(x, w, u, h0):
    """x (N, T, I) → h (N, T, H), from an initial state (N, H)"""
    h, states = h0, []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ w + h @ u)
        states.append(h)
    return np.stack(states, axis=1)


def _rnn_back(gy, x, w, u, h0, y, before):
    gx, gw, gu, gh = np.zeros_like(x), 0, 0, 0
    for t in reversed(range(x.shape[1])):
        d = (gy[:, t] + gh) * (1 - y[:, t] ** 2)
        gx[:, t], gw, gu, gh = d @ w.T, gw + x[:, t].T @ d, gu + before(y, h0)[:, t].T @ d, d @ u.T
    return gx, gw, gu, gh


rnn.backward(lambda gy, x, w, u, h0, y: _rnn_back(gy, x, w, u, h0, y, _one_before))


def _one_before(y, h0):
    return np.concatenate([h0[:, None], y[:, :-1]], axis=1)


def _lstm_back(gy, x, w, u, b, h0, c0, y, gates, cells, order=(0, 1, 2, 3), late=0):
    """Backward, step by step. The order of the gates and the cell in the forget gate are the places for mistakes."""
    grads, gh, gc = [np.zeros(a.shape) for a in (x, w, u, b)], np.zeros(h0.shape), gy[:, -1]
    states = [h0, *y.swapaxes(0, 1)]
    for t in reversed(range(x.shape[1])):
        i, f, o, g = gates[t]
        c = np.tanh(cells[t + 1])
        gh = gh + gy[:, t]
        gc = gc + gh * o * (1 - c * c)
        parts = [gc * g * i * (1 - i), gc * cells[t + late] * f * (1 - f), gh * c * o * (1 - o), gc * i * (1 - g * g)]
        d = np.concatenate([parts[k] for k in order], axis=1)
        for whole, part in zip(grads[1:], (x[:, t].T @ d, states[t].T @ d, d.sum(axis=0)), strict=True):
            whole += part
        grads[0][:, t], gh, gc = d @ w.T, d @ u.T, gc * f
    return *grads, gh, gc


SEQUENCE = [RNG.standard_normal(shape) / 2 for shape in ((2, 4, 5), (5, 3), (3, 3), (2, 3))]
LSTM = [RNG.standard_normal(shape) / 2 for shape in ((2, 4, 3), (3, 8), (2, 8), (8,))]
BATCH = RNG.standard_normal((5, 3))
POOL = RNG.standard_normal((2, 4, 6, 3))


def _batch_norm_without_epsilon(gy, x):
    xhat = (x - x.mean(0)) / x.std(0)
    return (gy - gy.mean(0) - xhat * (gy * xhat).mean(0)) / x.std(0)


NAMED = [
    ("conv: kernel", conv, lambda gy, x, w: _conv_back(gy, x, w, flipped=True), conv, (IMAGE, IMAGE[:, :, :3, :2]),
     "kernel not flipped"),
    ("conv: weight", conv, lambda gy, x, w: (_conv_back(gy, x, w)[0], _conv_back(gy, x, w)[1][:, :, ::-1, ::-1]), conv,
     (IMAGE, IMAGE[:, :, :3, :2]), "kernel not flipped"),
    ("conv: both axes off by one", conv,
     lambda gy, x, w: (np.roll(_conv_back(gy, x, w)[0], (1, -1), (2, 3)), _conv_back(gy, x, w)[1]), conv,
     (IMAGE, IMAGE[:, :, :3, :2]), "shifted by one"),
    ("rnn: hₜ for hₜ₋₁", rnn, lambda gy, x, w, u, h0, y: _rnn_back(gy, x, w, u, h0, y, lambda y, h0: y), rnn, SEQUENCE,
     "off by one in time"),
    ("rnn: no first state", rnn, lambda gy, x, w, u, h0, y: _rnn_back(gy, x, w, u, h0, y, lambda y, h0: _one_before(
        y, 0 * h0)), rnn, SEQUENCE, "off by one in time"),
    ("lstm: gates", ops.lstm,
     lambda gy, x, w, u, b, h0, c0, y, gates, cells: _lstm_back(gy, x, w, u, b, h0, c0, y, gates, cells, (0, 1, 3, 2)),
     lambda *a: ops.lstm(*a)[0], LSTM, "gates exchanged"),
    ("lstm: cₜ for cₜ₋₁", ops.lstm,
     lambda gy, x, w, u, b, h0, c0, y, gates, cells: _lstm_back(gy, x, w, u, b, h0, c0, y, gates, cells, late=1),
     lambda *a: ops.lstm(*a)[0], LSTM, "off by one in time"),
    ("large tanh", ops.tanh, lambda gy, x: gy * (1 - x * x), ops.tanh, [RNG.standard_normal((600, 500))],
     "evaluated at the input"),
    ("large dense", ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.mean(0)), ops.dense,
     [RNG.standard_normal(shape) for shape in ((600, 50), (50, 90), (90,))], "broadcast axis averaged"),
    ("softmax: other axis", ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(0, keepdims=True)), ops.softmax, [X],
     "wrong axis"),
    ("cumsum: other axis", ops.cumsum, lambda gy: np.cumsum(gy[:, ::-1], 1)[:, ::-1], lambda x: ops.cumsum(x, 0), [X],
     "wrong axis"),
    ("pool: value", ops.max_pool_with_argmax, lambda gy, y, argmax: ops.unpool(gy * y, argmax), ops.max_pool, [POOL],
     "value taken for index"),
    ("pool: spread", ops.max_pool_with_argmax, lambda gy: gy.repeat(2, 1).repeat(2, 2) / 4, ops.max_pool, [POOL],
     "spread over the window"),
    ("another argument", ops.multiply, lambda gy, a, b: (gy * b * a, gy * a), ops.multiply, [X, X[::-1] + 3],
     "other argument as a factor"),
    ("KL: −1", losses.gaussian_kl, lambda gy, mean, logvar: (
        gy * mean, gy * 0.5 * np.exp(logvar)), lambda m, s: losses.gaussian_kl(m, s, "none"), [X, X[::-1] + 0.3],
     "constant term"),
    ("KL: σ for σ²", losses.gaussian_kl, lambda gy, mean, logvar: (
        gy * mean, gy * 0.5 * (np.exp(0.5 * logvar) - 1)), lambda m, s: losses.gaussian_kl(m, s, "none"),
     [X, X[::-1] + 0.3], "standard deviation for variance"),
    ("batch_norm: ε", ops.batch_norm, _batch_norm_without_epsilon,
     lambda x: ops.batch_norm(x, np.ones(3), np.zeros(3))[0], [BATCH], "epsilon forgotten"),
    ("float32", ops.tanh, lambda gy, y: (gy * (1 - y * y)).astype("f"), ops.tanh, [X], "wrong dtype")]


@pytest.mark.parametrize("what, op, rule, f, inputs, name", NAMED, ids=[row[0] for row in NAMED])
def test_more_mistakes_have_a_name(what, op, rule, f, inputs, name):
    found = diagnosis(op, rule, f, *inputs)
    assert found.name == name, str(found)


def test_the_right_rules_written_out_here_pass():
    check.gradients(conv, IMAGE, IMAGE[:, :, :3, :2])
    check.gradients(rnn, *SEQUENCE)
    check.gradients(instance_norm, IMAGE)
    with ops.lstm.using(_lstm_back_right):
        check.gradients(lambda *a: ops.lstm(*a)[0], *LSTM)


def _lstm_back_right(gy, x, w, u, b, h0, c0, y, gates, cells):
    return _lstm_back(gy, x, w, u, b, h0, c0, y, gates, cells)


# ---------------------------------------------------------------- a learner's tools

def test_an_op_goes_by_its_public_name():
    @differentiable
    def _cube(x):
        return x * x * x
    assert _cube.op.name == "cube" and REGISTRY[f"{__name__}.cube"] is _cube
    assert REGISTRY["scratchnet.losses.mse"] is losses.mse and losses.mse.op.name == "mse"
    assert all(key == f"{call.op.module}.{call.op.name}" for key, call in REGISTRY.items())
    assert not any(call.op.name.startswith("_") for call in REGISTRY.values())
    assert "from=getitem" in repr(Tensor(X, requires_grad=True)[0])


def test_names_of_a_rule_are_found_without_an_error():
    assert ops.tanh.names == ["x", "y", "x_shape", "y_shape"]
    assert "After gy, a gradient rule may name: x, y, x_shape, y_shape" in ops.tanh.__doc__
    with pytest.raises(TypeError, match="can name x, y or the shapes alone, x_shape, y_shape; not `z`"), \
            ops.tanh.using(lambda gy, z: gy):
        pass


@pytest.mark.parametrize("function", [
    ops.matmul, ops.concat, ops.getitem, ops.max, ops.max_pool, ops.lstm, losses.bce_with_logits, losses.mse,
    losses.softmax_cross_entropy, losses.l1, losses.huber, losses.hinge, losses.gaussian_kl, losses.gaussian_nll,
    *(f for game in games.GAMES.values() for f in game)], ids=lambda f: f.__name__)
def test_every_function_that_a_learner_reads_about_has_a_handle(function):
    with function.using(lambda gy: None):
        assert len(function.op.rules) == 1
    assert "y" in function.names and ", ".join(function.names) in function.__doc__


def test_a_rule_of_a_loss_is_swapped_by_its_own_name():
    found = diagnosis(losses.bce_with_logits, lambda gy, x, t: gy * (t - ops.sigmoid(x)),
                      lambda x: losses.bce_with_logits(x, np.full((3, 4), 0.3), "mean"), X)
    assert (found.name, found.op) == ("wrong sign", "bce_with_logits")
    found = diagnosis(games.non_saturating_generator, lambda gy, fake: -gy * ops.sigmoid(-fake),
                      games.non_saturating_generator, X)
    assert (found.name, found.op) == ("factor N", "non_saturating_generator")


def test_a_function_of_numpy_becomes_an_op():
    tanh = differentiable(np.tanh)
    tanh.backward(lambda gy, y: gy * (1 - y * y))
    check.gradients(tanh, X, order=2)
    x = Tensor(X, requires_grad=True)
    tanh(x).sum().backward()
    np.testing.assert_allclose(x.grad, 1 - np.tanh(X) ** 2)


def test_where_there_is_no_window_the_picture_is_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    check.gradients(ops.tanh, X, plot=True)
    assert (tmp_path / "gradient-check.png").stat().st_size > 10_000
    assert "gradient-check.png" in capsys.readouterr().out
