"""The checker is checked: it notices when there is no gradient at all, flags no right rule, and reports its findings.

That it catches wrong rules is tested in test_mutants.py.
"""

import itertools

import numpy as np
import pytest
from cases import cases

from scratchnet import Tensor, check, differentiable, grad, layers, losses, ops
from scratchnet.autograd import astype, data_of
from scratchnet.models.vaes import ConvVAE

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 5))


def broken(op, rule, f, *inputs, **options):
    """The Report on f while `rule` is the gradient of op."""
    with op.using(rule), pytest.raises(check.GradientMismatch) as caught:
        check.gradients(f, *inputs, **options)
    return caught.value.report


@pytest.mark.parametrize("seed", range(100, 103))
def test_no_right_rule_is_flagged(seed):
    for f, *xs in cases(np.random.default_rng(seed)).values():
        check.gradients(f, *xs, seed=seed, entries=2_000)


def test_a_draw_of_random_numbers_is_no_function():
    state = np.random.default_rng(0)
    with pytest.raises(check.GradientMismatch, match="another result") as caught:
        check.gradients(lambda x: x * state.random(), X)
    assert caught.value.report.diagnosis.name == "not a function"


def test_guards():
    @differentiable
    def spoils(x):
        y = x * 1.0
        x *= 0.5
        return y

    spoils.backward(lambda gy: gy)
    with pytest.raises(check.GradientMismatch):
        check.gradients(spoils, X)

    def spoil_upstream(gy, y):
        gy *= 2.0
        return gy * (1 - y * y)
    assert "changes the cotangent" in str(broken(ops.tanh, spoil_upstream, ops.tanh, X))
    draws = np.random.default_rng(0)
    assert "computed again" in str(broken(ops.tanh, lambda gy, y: gy * (1 - y * y) * draws.random(), ops.tanh, X))
    assert "not linear" in str(broken(ops.tanh, lambda gy, y: abs(gy) * (1 - y * y), ops.tanh, X))
    assert "not linear" in str(broken(ops.tanh, lambda gy, y: 1e-3 + gy * (1 - y * y), ops.tanh, X))


def test_a_gradient_shares_no_memory():
    """Rules may share arrays as they like (add passes ∂L/∂y on twice), but a caller who asks for gradients gets copies.
    """
    for retain in (False, True):
        x, w = Tensor(X, requires_grad=True), Tensor(X + 1.0, requires_grad=True)
        gy = np.ones((3, 4))
        found = [g.data for g in grad(x + w, [x, w], gy, retain_graph=retain)]
        (x + w).backward(gy)
        everything = [x.data, w.data, gy, *found, x.grad, w.grad]
        assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(everything, 2))


def test_more_guards():
    assert "computes in float32" in str(broken(ops.tanh, lambda gy, y: (gy * (1 - y * y)).astype(np.float32), ops.tanh,
                                               X))
    with pytest.raises(check.GradientMismatch, match="another result for Tensors"):
        check.gradients(lambda x: ops.tanh(x) + (5.0 if isinstance(x, Tensor) else 0.0), X)

    def sorts(x, index):
        index.sort()
        return ops.getitem(x, index)
    with pytest.raises(check.GradientMismatch, match="f changed its input index in place"):
        check.gradients(sorts, X, np.array([2, 0, 1]))
    report = check.gradients(lambda x: ops.tanh(x), np.zeros((0, 3)))
    assert "right" in str(report)


@pytest.mark.parametrize("inputs, message", [
    ((0.3,), "got float 0.3"), (([0.3, 1.0],), "got list"), ((np.array([1, 2]),), "got int64 array"),
    ((X + 1j,), "got complex128 array"), ((), "got no inputs")])
def test_nothing_to_check_is_an_error(inputs, message):
    with pytest.raises(ValueError, match=f"nothing to check.*{message}"):
        check.gradients(lambda *xs: ops.tanh(X), *inputs)


def test_other_misuse_is_one_clear_error():
    with pytest.raises(ValueError, match="order is 1 for first derivatives.*got 0"):
        check.gradients(ops.tanh, X, order=0)
    with pytest.raises(TypeError, match="f must return a Tensor, an array or a number, got NoneType"):
        check.gradients(lambda x: None, X)
    for tool in (check.taylor, check.numerical_gradient):
        with pytest.raises(ValueError, match=r"f must return one number, got shape \(3, 4\)"):
            tool(ops.tanh, X)
    with pytest.raises(check.GradientMismatch, match=r"forward gives shape \(4, 3\), but y has \(3, 4\)"):
        check.adjoint(ops.transpose, ops.transpose, (3, 4), (3, 4))
    with pytest.raises(check.GradientMismatch, match="falls as h"):
        check.taylor(lambda x: np.sum(np.exp(data_of(x))), X)


ROUGH = {  # right, but almost everything cancels in some entries
    "log softmax": lambda x: ops.log_softmax(50 * x, 1), "log of softmax": lambda x: ops.log(ops.softmax(20 * x)),
    "log of sigmoid": lambda x: ops.log(ops.sigmoid(30 * x)), "sum of softmax": lambda x: ops.softmax(x).sum(),
    "root of a difference": lambda x: ops.sqrt(1.0 - ops.square(ops.tanh(3 * x))),
    "far from zero": lambda x: 1e8 + ops.sin(x), "tanh": lambda x: ops.tanh(30 * x)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ROUGH)
def test_rounding_is_not_called_wrong(name, seed):
    check.gradients(ROUGH[name], np.random.default_rng(seed).standard_normal((3, 4)), seed=seed)


def test_wrong_rules_are_not_called_rounding():
    broken(ops.exp, lambda gy, y: -gy * y, ops.exp, 1e-13 * X)
    broken(ops.tanh, lambda gy: gy, lambda x: 1e8 + 1e-4 * ops.tanh(x), X)
    broken(ops.add, lambda gy: (0.0 * gy, 0.0 * gy), lambda x: 1e9 + 1e-3 * x, X)
    for x in (X, X[0, 0]):  # 0-d as well
        broken(ops.tanh, lambda gy, y: gy * (1 - y * y) * (1 + 1e-6), lambda x: ops.tanh(5 * x), np.array(x))
        broken(ops.relu, lambda gy, y: gy * (y > 0) * (1 + 1e-6), ops.relu, np.abs(np.array(x)))


SINGLE = {"relu": ops.relu, "tanh": ops.tanh, "max": lambda x: ops.max(x, 1), "abs": ops.abs,
          "sum of squares": lambda x: ops.square(x).sum() + 1e4, "softmax": ops.softmax}


@pytest.mark.parametrize("shape", [(4, 5), (10, 10), (30, 40)])
@pytest.mark.parametrize("name", SINGLE)
def test_functions_in_float32_are_not_called_wrong(name, shape):
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(shape)
        for back in (lambda y: y, lambda y: astype(y, np.float64)):
            check.gradients(lambda x, back=back: back(SINGLE[name](astype(Tensor(data_of(x)) if not isinstance(
                x, Tensor) else x, np.float32))), x, seed=seed)


def test_a_wrong_rule_among_many_calls_of_the_same_op_is_found():
    def overwrites(gy, index, x_shape):
        g = np.zeros(x_shape)
        g[index] = gy
        return g
    diagnosis = broken(ops.getitem, overwrites, lambda w: ops.tanh(ops.embedding(np.array([0, 1, 2]), w)) + ops.tanh(
        ops.embedding(np.array([2, 2, 3]), w)), W).diagnosis
    assert (diagnosis.op, diagnosis.name) == ("getitem", "overwritten, not accumulated")
    diagnosis = broken(ops.tanh, lambda gy, y: gy * (1 - y * y) * np.where(abs(y) > 0.9, 2, 1),
                       lambda x: ops.tanh(0.1 * x) + ops.tanh(3 * x), X).diagnosis
    assert diagnosis.op == "tanh" and diagnosis.name == "unknown"
    many = broken(ops.tanh, lambda gy, y: gy, lambda x: sum(ops.sin(x) for _ in range(400)) + ops.tanh(x), X)
    assert many.diagnosis.name == "unknown" and "the first 400 of " in str(many)


@pytest.mark.parametrize("x", [np.ones((3, 4)), np.full((5, 2), 0.3), np.zeros((2, 3))])
@pytest.mark.parametrize("op, rule", [
    (ops.tanh, lambda gy, y: gy * (1 - y)), (ops.sin, lambda gy, x: gy * np.exp(x)),
    (ops.softmax, lambda gy, y: y * (gy - (gy * y).mean(-1, keepdims=True)))], ids=["tanh", "sin", "softmax"])
def test_equal_numbers_give_no_wrong_name(op, rule, x):
    with op.using(rule):
        try:
            check.gradients(op, x)
        except check.GradientMismatch as mismatch:
            assert mismatch.report.diagnosis.name in ("unknown", "ties or zeros")
        else:
            assert not x.any()  # at zero some of them are right


def test_a_wrong_shape_is_one_clear_report():
    report = broken(ops.dense, lambda gy, x, w: (gy @ w.T, np.ones((7, 2))), lambda x, w: ops.dense(x, w), X, W)
    assert "dense: its gradient rule gave shape (7, 2) for an input of shape (4, 5)" in str(report)
    assert report.diagnosis.name == "wrong shape" and report.diagnosis.op == "dense"


def test_the_report_names_the_worst_entry_and_shows_both_jacobians():
    wrong = np.ones((3, 4))
    wrong[1, 2] = 1.5
    report = broken(ops.sin, lambda gy, x: gy * np.cos(x) * wrong, ops.sin, X)
    assert "x (3, 4)  WRONG     (1, 2)" in str(report)
    report = broken(ops.sin, lambda gy, x: gy * np.sin(x), ops.sin, X[0])
    assert "∂y/∂x by the rule" in str(report) and "∂y/∂x numeric" in str(report)
    analytic, numeric = report.rows[0].jacobians()
    np.testing.assert_allclose(analytic, np.diag(np.sin(X[0])))
    np.testing.assert_allclose(numeric, np.diag(np.cos(X[0])), rtol=1e-12)


def test_the_diagnosis_names_the_op_within_a_model():
    def loss(x, w):
        h = ops.tanh(ops.dense(x, w))
        return losses.mse(ops.sigmoid(ops.dense(h, np.ones((5, 2)) / 3)), np.ones((3, 2)), "mean")
    check.gradients(loss, X, W)
    diagnosis = broken(ops.sigmoid, lambda gy, y: gy * y, loss, X, W).diagnosis
    assert diagnosis.op == "sigmoid" and diagnosis.name == "unknown"
    diagnosis = broken(ops.tanh, lambda gy: gy, loss, X, W).diagnosis
    assert (diagnosis.op, diagnosis.name, diagnosis.inputs) == ("tanh", "derivative left out", ["x"])


def test_unknown_mistakes_stay_unknown():
    diagnosis = broken(ops.tanh, lambda gy, y: gy * np.cos(3 * y), ops.tanh, X).diagnosis
    assert diagnosis.name == "unknown" and diagnosis.confidence == "low"
    diagnosis = broken(ops.dense, lambda gy, x, w: (gy @ w.T, np.cbrt(x.T) @ gy), ops.dense, X, W).diagnosis
    assert (diagnosis.name, diagnosis.inputs) == ("unknown", ["w"])
    one_number = broken(ops.square, lambda gy, x: gy * 3.0, ops.square, np.array(0.7)).diagnosis
    assert one_number.confidence == "low"  # any factor explains a single number


def test_at_a_kink_the_convention_is_reported_and_the_point_drawn_again():
    x = np.array([0.5, 0.0, -0.7])
    report = check.gradients(ops.relu, x)
    assert "kink or tie at x(1,)" in str(report) and "left 0, to the right 1, the rule gives 0" in str(report)
    with ops.relu.using(lambda gy, x: gy * (x >= 0)):  # the other convention: no error either
        assert "the rule gives 1" in str(check.gradients(ops.relu, x))
    assert not check.gradients(lambda a, b: ops.maximum(a, b), X, X.copy()).wrong  # ties everywhere
    assert "drawn again" in str(check.gradients(ops.relu, np.array(0.0)))
    broken(ops.relu, lambda gy, x: gy * (x >= 0) * 1.001, ops.relu, np.array(0.0))
    near = check.gradients(lambda x: ops.abs(x).sum(), np.array([0.5, 1e-8, -0.7]), entries=0)
    assert not near.wrong  # a kink within the step, not at the point
    with pytest.raises(check.GradientMismatch, match="choose other inputs"), np.errstate(invalid="ignore"):
        check.gradients(lambda x: ops.sqrt(x), -np.ones(3))


def test_large_inputs_are_sampled():
    x = np.random.default_rng(0).normal(size=20_000)
    report = check.gradients(lambda x: ops.tanh(x).sum(), x)
    assert len(report.rows[0].entries) < 50
    broken(ops.tanh, lambda gy, y: gy * (1 - y * y) * np.where(np.arange(20_000) == 4321, 1.5, 1.0),
           lambda x: ops.tanh(x).sum(), x)  # one entry of 20 000: seen in the dense directions
    diagnosis = broken(ops.tanh, lambda gy, y: -gy * (1 - y * y), lambda x: ops.tanh(x).sum(), x).diagnosis
    assert (diagnosis.name, diagnosis.op) == ("wrong sign", "tanh")


def test_functions_in_float32_are_checked_within_their_noise():
    def f(x):
        return ops.tanh(ops.matmul(x, W.astype(np.float32)))

    def in_float32(x):
        x = Tensor(x) if not isinstance(x, Tensor) else x
        return f(astype(x, np.float32))

    def and_back(x):
        return astype(in_float32(x), np.float64)
    for g in (in_float32, and_back):
        check.gradients(g, X)
        for wrong in (lambda gy, y: gy * (1 - y * y) * np.float32(1.01), lambda gy, y: gy * (1 - y)):
            broken(ops.tanh, wrong, g, X)


def test_parameters_that_f_closes_over_are_checked_and_left_alone():
    net = layers.Sequential(layers.Dense(4, 6, rng=np.random.default_rng(0)), layers.BatchNorm(6), ops.tanh,
                            layers.Dense(6, 2, rng=np.random.default_rng(1)))
    before, buffer = net.state_dict(), net.steps[1].mean
    report = check.gradients(net, X, parameters=net, order=2)
    assert [row.name for row in report.rows] == ["x", *net.named_parameters()]
    assert net.steps[1].mean is buffer and all((net.state_dict()[k] == v).all() for k, v in before.items())
    assert {p.data.dtype for p in net.parameters()} == {np.dtype(np.float32)}
    with ops.dense.using(lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.mean(0))), \
            pytest.raises(check.GradientMismatch) as caught:
        check.gradients(net, X, parameters=net)
    diagnosis = caught.value.report.diagnosis
    assert (diagnosis.op, diagnosis.inputs, diagnosis.name) == ("dense", ["b"], "broadcast axis averaged")


def test_the_whole_loss_of_the_convolutional_vae():
    model, images = ConvVAE(rng=np.random.default_rng(0)), np.random.default_rng(1).random((2, 28, 28, 1))
    report = check.gradients(lambda: model.loss(images, np.random.default_rng(2))[0], parameters=model)
    assert [row.name for row in report.rows] == list(model.named_parameters())


def test_third_order():
    check.gradients(ops.tanh, X[0], order=3)
    second = check.gradients(ops.exp, X[0], order=2)
    assert second.higher and not second.higher.higher and "next order" in str(second)


def test_pictures():
    from matplotlib.figure import Figure
    report = broken(ops.softmax, lambda gy, y: gy * y, ops.softmax, X)
    figure = report.draw(Figure())
    assert len(figure.axes) == 6  # three pictures with a colour bar each
    assert "<img" in report._repr_html_() and "WRONG" in report._repr_html_()
    check.gradients(lambda x: ops.tanh(x).sum(), np.ones(20_000)).draw(Figure())


def test_the_other_tools():
    slope = check.numerical_gradient
    np.testing.assert_allclose(slope(lambda x: (np.asarray(x) ** 3).sum(), X), 3 * X ** 2, rtol=1e-8)
    np.testing.assert_allclose(slope(lambda x: np.abs(np.asarray(x)).sum(), X), np.sign(X), rtol=1e-8)
    np.testing.assert_allclose(check.jacobian(lambda x: ops.matmul(x, W), X), np.kron(np.eye(3), W.T), atol=1e-12)
    assert abs(check.taylor(lambda x: ops.exp(x).sum(), X) - 2) < 0.1
    assert check.taylor(lambda x: (3.0 * x).sum(), X) == np.inf
    with ops.exp.using(lambda gy, y: gy * y * 1.01), pytest.raises(check.GradientMismatch, match="falls as h"):
        check.taylor(lambda x: ops.exp(x).sum(), X)
    check.adjoint(lambda x: ops.flip(x, 0), lambda y: ops.flip(y, 0), (3, 2), (3, 2))
    with pytest.raises(check.GradientMismatch, match="the maps are not adjoint to each other"):
        check.adjoint(np.cumsum, np.cumsum, (4,), (4,))


@pytest.mark.parametrize("seed", range(12))
def test_a_bias_before_batch_norm_has_gradient_zero_and_rounding_to_any_order(seed):
    rng = np.random.default_rng(seed)
    x, w, one, zero = rng.standard_normal((3, 6)), rng.standard_normal((6, 2)), np.ones(6), np.zeros(6)
    for b in (0.1 * rng.standard_normal(6), zero):
        check.gradients(lambda b: ops.tanh(ops.batch_norm(x + b, one, zero)[0]) @ w, b, order=2, seed=seed)
        check.gradients(lambda b: ops.tanh(ops.batch_norm(ops.dense(x, np.eye(6), b), one, zero)[0]) @ w, b, order=2,
                        seed=seed)
