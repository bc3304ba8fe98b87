"""The engine: what it records, keeps, frees and refuses, and how gradients add up, to any order."""

import gc
import threading
import weakref
from textwrap import dedent

import numpy as np
import pytest

from scratchnet import AnomalyError, Tensor, detect_anomaly, differentiable, enable_grad, grad, no_grad, ops
from scratchnet.autograd import backward
from scratchnet.optimizers import SGD


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def test_a_leaf_read_many_times_gets_the_sum():
    x = leaf(3)
    (x * x + x * 3.0 + x).sum().backward()
    np.testing.assert_allclose(x.grad, 2 * x.data + 4)
    (x * 1.0).sum().backward()  # a second backward adds
    np.testing.assert_allclose(x.grad, 2 * x.data + 5)


def test_the_six_lines_that_explain_the_walk_are_a_walk():
    text = backward.__doc__
    lines = dedent(text[text.index("    due = {"):text.index("`_walk` is")])
    x, w, found = leaf(3, 4), leaf(4, 2, seed=1), {}
    y = (ops.tanh(x @ w) * ops.exp(x.sum())).sum()

    def rules(node, gy):
        if isinstance(node, Tensor):
            found[node] = gy
            return []
        return backward._gradients(node, gy, None, backward._apply, False)
    exec(lines, {"y": y.node, "gy": np.ones(()), "rules": rules,
                 "newest": lambda due: max(due, key=lambda node: getattr(node, "order", 0))})
    for p, g in zip((x, w), grad(y, [x, w]), strict=True):
        np.testing.assert_allclose(found[p], g.data)


def test_diamonds_accumulate_before_they_pass_on():
    x = leaf(4)
    a = ops.tanh(x)
    b, c, d = a * 2.0, a * a, ops.exp(a)
    (b * c + d + a).sum().backward()
    t = np.tanh(x.data)
    np.testing.assert_allclose(x.grad, (6 * t * t + np.exp(t) + 1) * (1 - t * t))


def test_gradients_that_share_an_array_are_not_added_in_place():
    a, b = leaf(3), leaf(3, seed=1)
    s = a + b               # both get the same gradient array
    t = s * 1.0
    (t + t + t + s).sum().backward()
    np.testing.assert_array_equal(a.grad, [4, 4, 4])
    a.grad *= 0
    np.testing.assert_array_equal(b.grad, [4, 4, 4])


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (1, 4), (2, 1, 4), (1, 1, 1, 4), (0, 3, 4)])
def test_broadcasting_is_undone_in_both_operands(shape):
    a, b = leaf(3, 4), leaf(*shape, seed=1)
    y = a * b + b / 2.0
    gy = np.random.default_rng(2).normal(size=y.shape)
    y.backward(gy)
    full = np.broadcast_to(a.data, y.shape) * gy + gy / 2
    lead = tuple(range(y.ndim - len(shape)))
    full = full.sum(axis=lead)
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    np.testing.assert_allclose(b.grad, full.sum(axis=axes, keepdims=True), atol=1e-12)


def test_a_long_chain_needs_no_recursion():
    x, y = leaf(1), None
    y = x
    for _ in range(100_000):
        y = y + 0.0
    y.sum().backward()
    assert x.grad[0] == 1
    y = x
    for _ in range(100_000):
        y = y + 0.0
    del y  # and dies without recursion


def test_backward_twice_says_what_to_do():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad, 4 * x.data)
    with pytest.raises(RuntimeError, match="`sum` was freed.*retain_graph=True"):
        y.backward()


def test_impossible_gradients_say_so():
    x = leaf(3)
    with pytest.raises(ValueError, match="only a single number can go without gy"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"gy has shape \(2,\), but y has shape \(3,\)"):
        (x * 2.0).backward(np.ones(2))
    with pytest.raises(TypeError, match="only floating-point data can require a gradient, got int64"):
        Tensor([1, 2], requires_grad=True)
    with pytest.raises(ValueError, match="depends on nothing that requires a gradient"):
        Tensor(1.0).backward()
    with pytest.raises(ValueError, match=r"xs\[1\] must be a Tensor with requires_grad"):
        grad(x.sum(), [x, Tensor(1.0)])
    with pytest.raises(TypeError, match="clip: there is no gradient rule for its argument `low`"):
        ops.clip(x, Tensor(0.0, requires_grad=True), 1.0)
    with pytest.raises(TypeError, match="t.detach"):
        np.asarray(x)


def test_a_loss_that_takes_a_gradient_can_be_evaluated_where_nothing_is_recorded():
    w = Tensor(np.array([2.0, -3.0]), requires_grad=True)

    def penalty(x):
        x = Tensor(x, requires_grad=True)
        with enable_grad():
            return ops.square(grad((w * x * x).sum(), x, create_graph=True)).sum()  # Σ (2 w x)²
    with no_grad():
        inside = penalty(np.array([1.0, 0.5]))
        assert (w * w).node is None  # recording is off again
    assert inside.item() == penalty(np.array([1.0, 0.5])).item() == 25.0
    np.testing.assert_allclose(grad(penalty(np.array([1.0, 0.5])), w).data, [16.0, -6.0])


def test_detach_and_no_grad_cut_the_tape():
    x = leaf(3)
    assert not x.detach().requires_grad
    with no_grad():
        assert not (x * 2.0).requires_grad
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x * 2.0).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True] and (x * 2.0).requires_grad  # only this thread, only inside


def test_changing_an_array_that_backward_needs_is_an_error():
    x, w = leaf(2, 3), leaf(3, 4)
    y = ops.dense(x, w).sum()
    w.version += 1  # as an optimizer's step does
    with pytest.raises(RuntimeError, match="`dense` was changed in place"):
        y.backward()
    w2 = leaf(3, 4)
    y = (x.sum() + w2.sum()) * 1.0
    w2.version += 1  # a sum keeps nothing: no harm done
    y.backward()
    data = np.ones(3)
    with detect_anomaly():
        y = (Tensor(data) * leaf(3)).sum()
        data[0] = 5
        with pytest.raises(AnomalyError, match="multiply: an array of shape .* changed in place.*test_autograd.py"):
            y.backward()


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_anomaly_names_op_line_and_shapes():
    x = Tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly():
        with pytest.raises(AnomalyError, match=r"log: 1 of 2 .*inputs were finite.*\[\(2,\)\].*test_autograd.py"):
            ops.log(x)
        y = ops.sqrt(x).sum()  # finite, but its slope at 0 is not
        with pytest.raises(AnomalyError, match="sqrt: 1 of 2 gradient entries.*test_autograd.py.*ops.sqrt"):
            y.backward()
    assert np.isinf(ops.log(x).data[1])  # allowed outside


def test_using_swaps_a_rule_and_restores_it():
    x = leaf(3)
    with pytest.raises(ZeroDivisionError), ops.tanh.using(lambda gy, y: gy * 7.0):
        assert (grad(ops.tanh(x).sum(), x).data == 7).all()
        raise ZeroDivisionError
    np.testing.assert_allclose(grad(ops.tanh(x).sum(), x).data, 1 - np.tanh(x.data) ** 2)
    with ops.dense.using(lambda gy, x, w: gy @ w.T), pytest.raises(ValueError, match=r"1 gradients.*\['x', 'w'\]"):
        ops.dense(x.reshape(1, 3), leaf(3, 2)).sum().backward()
    with ops.tanh.using(lambda gy, y: np.ones(5)), pytest.raises(ValueError, match=r"gave shape \(5,\) for .*\(3,\)"):
        ops.tanh(x).sum().backward()
    with pytest.raises(TypeError, match="a gradient rule can name x, y .*not `z`"), ops.tanh.using(lambda gy, z: gy):
        pass
    with pytest.raises(TypeError, match=r"dense\(\) takes x, w, b; missing: w"):
        ops.dense(x)


def test_higher_orders():
    x = Tensor([0.3, -1.2], requires_grad=True)
    y = (x ** 5).sum()
    for factor, power in ((5, 4), (20, 3), (60, 2), (120, 1)):
        g = grad(y, x, create_graph=True)
        np.testing.assert_allclose(g.data, factor * x.data ** power)
        y = g.sum()


def test_grad_to_intermediates_prunes_and_leaves_grad_alone():
    calls = []

    @differentiable
    def spy(x):
        return x * 1.0

    @spy.backward
    def _(gy):
        calls.append(1)
        return gy

    x, w = leaf(3), leaf(3, seed=1)
    h = ops.tanh(x)
    y = (h * spy(w)).sum()
    g = grad(y, h)
    np.testing.assert_allclose(g.data, w.data)
    assert not calls and x.grad is None and w.grad is None
    z = leaf(2)
    y = (x * 2.0).sum()
    a, b = grad(y, [x, z])
    assert b is None and (a.data == 2).all()


def test_the_rule_signature_is_the_memory_contract():
    x = leaf(2, 6, 4, 3)
    assert (x + x).node.kept == ()
    y = ops.tanh(x)
    assert len(y.node.kept) == 1 and y.node.kept[0] is y.data
    y, argmax = ops.max_pool_with_argmax(x, 2)
    assert [k for k in y.node.kept if isinstance(k, np.ndarray)] == [argmax]
    h = x * 1.0
    array = weakref.ref(h.data)
    s = h + 1.0
    gc.disable()
    try:
        del h
        assert array() is None and s.requires_grad  # add keeps nothing, so its input is gone
    finally:
        gc.enable()
    frozen = ops.dense(x.data, leaf(3, 2))
    assert [k.shape for k in frozen.node.kept] == [x.shape]  # no gradient for x: w is not kept


def test_gradients_do_not_alias_the_cotangent():
    x, gy = leaf(3), np.ones(3)
    (x + 0.0).backward(gy)
    x.grad += 5
    assert (gy == 1).all()
    g = grad(x + 0.0, x, gy)
    g.data += 5
    assert (gy == 1).all()


def test_operators_on_both_sides_and_dtypes():
    x = Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    a = np.array([3.0, 4.0], np.float32)
    for y, expected in ((a + x, [4, 6]), (a - x, [2, 2]), (x - a, [-2, -2]), (a * x, [3, 8]), (a / x, [3, 2]),
                        (2 / x, [2, 1]), (2 ** x, [2, 4]), (x ** 2, [1, 4]), (-x, [-1, -2]), (abs(-x), [1, 2]),
                        (a @ x, 11), (x @ a, 11), (np.float64(2) * x, [2, 4]), (x + np.float64(1), [2, 3])):
        assert isinstance(y, Tensor) and y.dtype == np.float32
        np.testing.assert_allclose(y.data, expected)
    for comparison in (x > 1, x >= a, x == x, x != a, x < 2, x <= 1):
        assert isinstance(comparison, np.ndarray) and comparison.dtype == bool
    y = (x * np.ones(2)).sum()  # a float64 array on the way
    y.backward()
    assert x.grad.dtype == np.float32


def test_methods_of_a_tensor_are_those_of_its_array():
    a = np.random.default_rng(0).normal(size=(2, 3, 4))
    t = Tensor(a, requires_grad=True)
    for name, arguments in [("reshape", (4, -1)), ("reshape", ((4, 6),)), ("reshape", (24,)), ("transpose", ()),
                            ("transpose", (1, 2, 0)), ("transpose", ((1, 2, 0),)), ("sum", (1,)), ("mean", ((0, 2),)),
                            ("max", (2,)), ("swapaxes", (0, 1)), ("flatten", (0,)), ("__neg__", ()),
                            ("__abs__", ()), ("__getitem__", (1,))]:
        expected = a.reshape(24) if name == "flatten" else getattr(a, name)(*arguments)
        result = getattr(t, name)(*arguments)
        assert isinstance(result, Tensor) and result.requires_grad
        np.testing.assert_allclose(result.data, expected, err_msg=name)
    np.testing.assert_array_equal(t.T.data, a.T)


def test_ops_are_imported_with_a_star_and_nothing_else():
    assert {"conv2d", "sum", "reshape", "embedding"} <= set(ops.__all__)
    assert not {"np", "Tensor", "_number"} & set(ops.__all__)


def test_indexing_reads_and_writes_back():
    x = leaf(4, 3)
    for index in (1, slice(1, 3), (slice(None), 0), np.array([2, 2, 0]), x.data > 0,
                  (np.array([0, 3]), np.array([1, 1])), Tensor(np.array([1, 1])), None, ..., (..., np.newaxis, 2)):
        plain = index.data if isinstance(index, Tensor) else index
        y = x[index]
        np.testing.assert_array_equal(y.data, x.data[plain])
        gy = np.random.default_rng(1).normal(size=y.shape)
        expected = np.zeros((4, 3))
        np.add.at(expected, plain, gy)
        np.testing.assert_allclose(grad(y, x, gy).data, expected)


@pytest.mark.parametrize("a, b", [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((4, 2, 3), (3,)), ((3,), (4, 3, 2)),
                                  ((4, 2, 3), (3, 5)), ((2, 3), (4, 3, 5)), ((4, 1, 2, 3), (5, 3, 2))])
def test_matmul_of_all_ranks(a, b):
    a, b = leaf(*a), leaf(*b, seed=1)
    y = a @ b
    np.testing.assert_allclose(y.data, a.data @ b.data)
    gy = np.random.default_rng(2).normal(size=y.shape)
    h, d = 1e-6, np.random.default_rng(3).normal(size=b.shape)
    slope = (gy * (a.data @ (b.data + h * d) - a.data @ (b.data - h * d))).sum() / (2 * h)
    np.testing.assert_allclose((grad(y, b, gy).data * d).sum(), slope, rtol=1e-6)


def test_repr_is_for_people():
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    assert repr(x) == "Tensor([[1., 2.]], shape=(1, 2), float64, requires_grad=True)"
    assert "from=multiply" in repr(x * 2.0)


def test_a_leaf_that_an_op_reads_twice_gets_both_gradients_in_the_flat_vector():
    rng = np.random.default_rng(0)
    p, gy = Tensor(rng.standard_normal((4, 4)), requires_grad=True), rng.standard_normal((4, 4))
    expected = grad(ops.dense(p, p), p, gy).data
    SGD([p], 0.1)
    ops.dense(p, p).backward(gy)
    np.testing.assert_allclose(p.grad, expected)
