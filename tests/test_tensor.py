"""Unusual input to Tensors and ops: repeated indices, NumPy's numbers, NaN, and things that are not arrays."""

import numpy as np
import pytest

from scratchnet import Tensor, check, grad, ops
from scratchnet.autograd import data_of

ONES = np.ones((2, 3), "f")


def leaf(x):
    return Tensor(np.array(x, dtype=float), requires_grad=True)


# ---------------------------------------------------------------- indices

@pytest.mark.parametrize("index", [
    ((0, 0), (1, 1)), ([0, 0], [1, 1]), ((0, 0), 1), (np.array([0, 0]), np.uint8(1)), (range(0, 1), [1, 1]),
    [0, 0], (slice(None), (1, 1)), ([[0, 0], [0, 0]], 1), (Tensor(np.array([0, 0])), 1), [[0], [0]]])
def test_an_entry_that_is_read_twice_gets_the_sum(index):
    x = leaf(np.arange(6.0).reshape(2, 3))
    plain = tuple(map(data_of, index)) if isinstance(index, tuple) else index
    y = x[index]
    np.testing.assert_array_equal(y.data, x.data[plain])
    gy = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(gy)
    expected = np.zeros((2, 3))
    np.add.at(expected, plain, gy)
    np.testing.assert_allclose(x.grad, expected)


def test_masks_and_empty_indices():
    x = leaf(np.arange(6.0).reshape(2, 3))
    assert x[[]].shape == (0, 3) and x[[True, False]].shape == (1, 3) and x[()].shape == (2, 3)
    x[x.data > 1].sum().backward()
    np.testing.assert_array_equal(x.grad, x.data > 1)


# ---------------------------------------------------------------- NumPy's numbers as settings and sizes

@pytest.mark.parametrize("call", [
    lambda x, n: ops.leaky_relu(x, n(0.2)), lambda x, n: ops.leaky_relu(x, slope=n(0.2)),
    lambda x, n: ops.clip(x, n(0), n(1)), lambda x, n: ops.maximum(x, n(0)), lambda x, n: ops.minimum(n(0), x),
    lambda x, n: ops.elu(x, n(1)), lambda x, n: ops.where(data_of(x) > 0, x, n(0)),
    lambda x, n: ops.multiply(x, n(2)), lambda x, n: ops.add(n(2), x), lambda x, n: ops.power(x, n(2)),
    lambda x, n: ops.var(x, correction=n(1)),
    lambda x, n: ops.pad(x, ((1, 1), (0, 0)), n(1)), lambda x, n: ops.layer_norm(x, ONES[0], ONES[0], n(1e-5)),
    lambda x, n: ops.batch_norm(x, ONES[0], ONES[0], n(1e-5))[0],
    lambda x, n: ops.batch_norm_inference(x, ONES[0], ONES[0], ONES[0], ONES[0], n(1e-5)),
    lambda x, n: ops.dropout(x, n(0.5), np.random.default_rng(0))])
@pytest.mark.parametrize("number", [np.float64, np.float32])
def test_numpys_numbers_leave_float32_as_it_is(call, number):
    assert call(ONES, number).dtype == np.float32
    x = Tensor(ONES, requires_grad=True)
    y = call(x, number)
    assert y.dtype == np.float32
    assert grad(y.sum(), x).dtype == np.float32


def test_numpys_numbers_beside_operators_leave_float32_as_it_is():
    x, two = Tensor(ONES, requires_grad=True), np.float64(2)
    results = x * two, two * x, x + two, two - x, x / two, two / x, x ** two, two ** x
    assert all(y.dtype == np.float32 for y in results)


def test_numpys_whole_numbers_are_sizes():
    two, image, kernel = np.int64(2), np.ones((1, 4, 4, 1)), np.ones((2, 2, 1, 1))
    y, argmax = ops.max_pool_with_argmax(image, two, (two, np.uint8(2)))
    assert y.shape == ops.conv2d(image, kernel, None, two, np.int32(0)).shape == (1, 2, 2, 1)
    assert ops.unpool(y, argmax, two).shape == ops.upsample_nearest(y, two).shape == image.shape
    assert ops.conv2d_transpose(y, kernel, None, two, np.int64(0)).shape == image.shape
    assert (Tensor(ONES).reshape(np.int64(3), 2).shape, len(ops.split(ONES, np.int64(3), 1))) == ((3, 2), 3)
    assert ops.repeat(ONES, two, np.int64(1)).shape == ops.tile(ONES, (np.int64(1), two)).shape == (2, 6)
    assert ops.power(ONES, two).dtype == np.float32
    for wrong in (2.0, True, "2", 0, -1, (2,), (2, 2, 2), None):
        with pytest.raises((ValueError, TypeError), match="max_pool_with_argmax: size is a whole number"):
            ops.max_pool(image, wrong)


# ---------------------------------------------------------------- NaN, ties, range of the dtype

@pytest.mark.parametrize("n", [2, 4, 6, 7, 9])
def test_the_first_nan_is_the_largest(n):
    for op in (ops.max, ops.min):
        x = leaf(np.r_[1.0, np.nan, np.arange(n - 2), np.nan][:n + 1])
        y = op(x)
        y.backward()
        assert np.isnan(y.data) and np.flatnonzero(x.grad).tolist() == [1]


def test_the_first_nan_wins_its_window():
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    x[0, 0, 1, 0] = x[0, 1, 0, 0] = x[0, 3, 3, 0] = np.nan
    y, argmax = ops.max_pool_with_argmax(x)
    assert np.isnan(y[0, [0, 1], [0, 1], 0]).all() and argmax.ravel().tolist() == [1, 3, 3, 3]


@pytest.mark.parametrize("dtype, size", [("e", 300.0), ("f", 1e30), ("f", 1e-30), ("d", 1e200), ("d", 1e-200)])
def test_a_norm_stays_in_the_range_of_its_dtype(dtype, size):
    x = Tensor(np.full(4, size, dtype), requires_grad=True)
    y = ops.norm(x)
    y.backward()
    np.testing.assert_allclose([float(y) / size, *x.grad], [2.0, 0.5, 0.5, 0.5, 0.5], rtol=2e-3)
    assert y.dtype == x.grad.dtype == x.dtype


def test_norms_and_deviations_of_nothing_and_of_equal_numbers():
    assert ops.norm(np.zeros((0, 3)), axis=0).tolist() == [0, 0, 0]
    for op in (ops.norm, ops.std):
        x = leaf([0.0, 0.0])
        op(x).backward()
        assert x.grad.tolist() == [0, 0]
    check.gradients(lambda x: ops.std(x, [0], correction=1), np.random.default_rng(0).standard_normal((4, 3)), order=2)


def test_windows_of_padding_alone_are_refused():
    for op in (ops.max_pool, ops.avg_pool):
        with pytest.raises(ValueError, match="some windows hold nothing but padding"):
            op(np.ones((1, 4, 4, 1)), 2, padding=2)
        with pytest.raises(ValueError, match="nothing but padding"):
            op(np.ones((1, 3, 4, 1)), (2, 2), (3, 2), padding=((0, 4), (0, 0)))
    assert np.isfinite(ops.max_pool(np.ones((1, 4, 4, 1)), 3, 1, padding=2)).all()


def test_flat_switches_are_refused_by_name():
    y, argmax = ops.max_pool_with_argmax(np.random.default_rng(0).standard_normal((1, 4, 4, 1)))
    flat = ops.argmax_to_flat(argmax, (4, 4, 1))
    for call in (lambda: ops.unpool(y, flat), lambda: ops.pool_at(np.ones((1, 4, 4, 1)), flat),
                 lambda: ops.unpool(y, argmax.astype(int) - 4)):
        with pytest.raises(ValueError, match="the places of a window are 0 … 3; flat places .* by argmax_from_flat"):
            call()


# ---------------------------------------------------------------- neither arrays nor numbers

@pytest.mark.parametrize("op", [
    ops.tanh, ops.softmax, ops.sum, ops.max, ops.min, ops.norm, ops.flatten, ops.square, ops.squeeze, ops.max_pool,
    lambda x: ops.matmul(x, ONES), lambda x: ops.matmul(ONES, x), lambda x: ops.dense(x, ONES.T),
    lambda x: ops.expand_dims(x, 0), lambda x: ops.swapaxes(x, 0, 1), lambda x: ops.concat([ONES, x]),
    lambda x: ops.stack([x, x]), lambda x: ops.split(x, 1), lambda x: ops.getitem(x, 0),
    lambda x: ops.dropout(x, 0.5, np.random.default_rng(0)), lambda x: ops.embedding(x, ONES),
    lambda x: ops.embedding(np.array([0]), x), lambda x: ops.repeat(x, 2, 0), lambda x: ops.tile(x, (2,)),
    lambda x: ops.avg_pool(x), lambda x: ops.conv2d(x, np.ones((1, 1, 1, 1))), lambda x: ops.lstm(x, ONES, ONES, ONES)])
@pytest.mark.parametrize("x", [None, "text", object(), {}], ids=["None", "str", "object", "dict"])
def test_anything_but_an_array_is_one_clear_error(op, x):
    with pytest.raises(TypeError, match="array"):
        op(x)


def test_lists_are_not_added_end_to_end():
    with pytest.raises(TypeError, match=r"add: expected arrays or Tensors, got a list; pass np.array\(x\)"):
        ops.add([1.0], [2.0])
    np.testing.assert_array_equal(ops.add(ONES[0], [1.0, 2, 3]), ONES[0] + [1.0, 2, 3])


@pytest.mark.parametrize("data, message", [
    (None, "got None"), ("a", "got a str 'a'"), ([[1], [1, 2]], "inhomogeneous"), (object(), "got an object"),
    (np.ma.masked_less(np.ones(3), 2), "filled"), (np.matrix([[1.0]]), "np.asarray")])
def test_a_tensor_is_made_of_numbers(data, message):
    with pytest.raises((TypeError, ValueError), match=f"Tensor: .*{message}"):
        Tensor(data)


def test_gradients_are_of_real_numbers():
    with pytest.raises(TypeError, match="gradients are of real numbers"):
        Tensor(1j, requires_grad=True)
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match="gave numbers of complex128 for `a`, expected float64"):
        ops.abs(x * np.array(1j)).sum().backward()
    assert Tensor(1j).item() == 1j


def test_results_without_fractions_are_constants():
    x = leaf([1.5, 2.5])
    assert not x.astype(int).requires_grad and not x.astype(bool).requires_grad
    assert (x // 2).tolist() == [0, 1] and (5 // x).tolist() == [3, 2]


# ---------------------------------------------------------------- numbers

def test_a_single_number_is_a_number():
    t = Tensor(2.75, requires_grad=True)
    assert (f"{t:.1f}", int(t), round(t), round(t, 1), [10, 20, 30][Tensor(2)]) == ("2.8", 2, 3, 2.8, 30)
    assert f"{t}" == str(t)
    with pytest.raises(TypeError, match=r"shape \(3,\) has no format '.2f'"):
        f"{Tensor(np.ones(3)):.2f}"


def test_the_gradient_of_a_number_stays_an_array():
    x = Tensor(2.0, requires_grad=True)
    for k in (1, 2, 3):
        (x * 3).backward()
        assert type(x.grad) is np.ndarray and x.grad.shape == () and x.grad == 3 * k
    x.grad[...] = 0.0


# ---------------------------------------------------------------- bounds, axes, parts

def test_one_bound_is_enough_for_clip():
    x = leaf([-1.0, 2.0])
    (ops.clip(x, 0.0, None) + ops.clip(x, None, 1.0)).sum().backward()
    assert x.grad.tolist() == [1, 1]
    for low, high in ((1.0, 0.0), (None, None), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="clip: low is at most high"):
            ops.clip(x, low, high)


def test_axes_may_be_a_list():
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    for op in (ops.sum, ops.mean, ops.var, ops.std, ops.max, ops.norm, ops.logsumexp):
        np.testing.assert_allclose(op(x, [0, -1]), op(x, (0, 2)))
        check.gradients(lambda x, op=op: op(x, [0, 2]), x)


@pytest.mark.parametrize("call, message", [
    (lambda x: ops.var(x, 0, correction=2), "var: correction is a number ≥ 0 and below 2"),
    (lambda x: ops.max(x, [0, 0]), "names an axis of shape .* twice"), (lambda x: ops.expand_dims(x, 7), "expand_dims"),
    (lambda x: ops.swapaxes(x, 0, 5), "swapaxes: axis is a whole number from -2 to 1 here, got 5"),
    (lambda x: ops.split(x, [-1, 4], 1), "split: sizes are whole numbers ≥ 0"), (lambda x: ops.split(x, 1, 2), "split"),
    (lambda x: ops.squeeze(x, 0), "squeeze: axis 0 of shape .* is longer than 1"),
    (lambda x: ops.repeat(x, -1, 0), "repeat: repeats"), (lambda x: ops.tile(x, (1, -2)), "tile"),
    (lambda x: ops.pad(x, 1), "pad: widths must be 2 pairs"), (lambda x: x + np.ones(4), "add: .*broadcast.*shapes: a"),
    (lambda x: x[5], "getitem: index 5"), (lambda x: x["a"], "getitem"), (lambda x: x[1.5], "getitem: only integers"),
    (lambda x: ops.reshape(x, (5, 5)), "reshape: cannot reshape"),
    (lambda x: ops.concat([]), "concat: expected a list"),
    (lambda x: ops.stack([x, x[0]]), "stack: all shapes must be equal"), (lambda x: ops.sum(x, axis=9), "sum: axis 9"),
    (lambda x: ops.matmul(x, np.ones(4)), r"as long as the axis of b \(4,\)")])
def test_errors_name_the_op(call, message):
    for x in (ONES, Tensor(ONES, requires_grad=True)):
        with pytest.raises((ValueError, TypeError, IndexError), match=message):
            if isinstance(x, Tensor):
                call(x)
            else:
                call(Tensor(x))


def test_integers_go_in_where_fractions_come_out():
    x = np.array([1, 2, 3])
    for op in (ops.softmax, ops.log_softmax, ops.logsumexp, ops.mean, ops.norm, ops.sigmoid, ops.tanh, ops.var):
        np.testing.assert_allclose(op(x), op(x.astype(float)))
