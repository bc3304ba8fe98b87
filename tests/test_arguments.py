"""Arguments that become a Tensor, an index or a number, those that are refused, and Python's functions on Tensors."""

import array
import collections
import math
import types

import numpy as np
import pytest

from scratchnet import Tensor, backend, detect_anomaly, grad, ops
from scratchnet.autograd import anomaly, check_arrays

pandas = types.SimpleNamespace(Series=type("Series", (), {"__module__": "pandas", "dtype": np.dtype(float)}))


def leaf(values):
    return Tensor(np.array(values, dtype=float), requires_grad=True)


# ---------------------------------------------------------------- arguments of Tensor

@pytest.mark.parametrize(("data", "words"), [
    (None, "got None"), ("a", "got a str 'a'"), ({}, "got a dict"), (np.array(["a"]), "ndarray of <U1"),
    (np.array([None]), "ndarray of object"), (np.zeros(2, [("a", "f4")]), "expected numbers"),
    (np.array(["2020-01-01"], "M8[D]"), "expected numbers"), ((i for i in [1]), "got a generator"),
    (pandas.Series(), r"got a pandas Series; pass x.to_numpy\(\)"),
    (np.ma.masked_array([1.0, 2.0], [0, 1]), r"MaskedArray would lose .*\.filled\(value\)"),
    ([Tensor([1.0]), Tensor([2.0])], "list of Tensors would lose their gradients; join them with ops.stack")])
def test_anything_but_an_array_of_numbers_is_refused(data, words):
    with pytest.raises(TypeError, match=f"^Tensor: .*{words}"):
        Tensor(data)


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="^Tensor: .*inhomogeneous"):
        Tensor([[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_all_real_floating_dtypes_have_gradients(dtype):
    x = Tensor(np.ones(3, dtype), requires_grad=True)
    (x * 2.0).sum().backward()
    assert x.grad.dtype == dtype == (x * 2.0).dtype


def test_numbers_lists_and_memory_maps_become_plain_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "numbers", dtype="float32", mode="w+", shape=(2,))
    for data in (2.0, [1.0, 2.0], (1, 2), range(3), np.float32(1), True, mapped, [Tensor(1.0), Tensor(2.0)]):
        assert type(Tensor(data).data) is np.ndarray


# ---------------------------------------------------------------- as a number

def test_a_single_number_goes_through_pythons_functions():
    for t in (leaf(2.567), leaf([2.567])):
        assert float(t) == t.item() == 2.567 and int(t) == 2 and round(t) == 3 and round(t, 1) == 2.6
        assert f"{t:.2f}" == "2.57" and f"{t:>8.1e}" == " 2.6e+00" and math.sqrt(t) == math.sqrt(2.567)
    assert f"{Tensor(3):03d}" == "003" and f"{leaf(2.0)}" == str(leaf(2.0))
    assert [7, 8, 9][Tensor(1)] == 8 and list(range(Tensor(2))) == [0, 1]


@pytest.mark.parametrize("f", [float, int, round, math.sqrt, lambda t: t.item(), lambda t: f"{t:.3f}"])
def test_several_numbers_are_not_a_single_one(f):
    with pytest.raises(TypeError, match=r"Tensor of shape \(2, 3\)"):
        f(leaf(np.ones((2, 3))))


def test_only_an_integer_is_an_index():
    for t in (Tensor(1.0), Tensor([1]), Tensor(True)):
        with pytest.raises(TypeError, match="only a single integer can be an index or a size"):
            [1, 2, 3][t]


def test_whole_quotients_are_constant_and_the_rest_follows():
    """⌊a/b⌋ is a step function: a plain array. a mod b = a − ⌊a/b⌋ b has gradients for a and b."""
    a, b = leaf([7.0, -7.0, 5.5]), leaf([2.0, 2.0, -2.5])
    for given in (b.data, b, 2):
        numpys = np.asarray(given.data if isinstance(given, Tensor) else given)
        np.testing.assert_array_equal(a // given, a.data // numpys)
        np.testing.assert_allclose((a % given).data, a.data % numpys)
        np.testing.assert_allclose(divmod(a, given)[1].data, divmod(a.data, numpys)[1])
    np.testing.assert_array_equal(7 // b, 7 // b.data)
    np.testing.assert_allclose((7 % b).data, 7 % b.data)
    np.testing.assert_allclose(divmod(7, b)[1].data, 7 % b.data)
    ga, gb = grad((a % b).sum(), [a, b])
    np.testing.assert_array_equal(ga.data, 1)
    np.testing.assert_array_equal(gb.data, -(a.data // b.data))


# ---------------------------------------------------------------- indices

X = np.arange(6.0).reshape(2, 3)
REPEATING = {
    "tuple of tuples": ((0, 0), (1, 1)), "list": [0, 0], "nested list": [[0, 0], [0, 1]], "tuple in a tuple": ([0, 0],),
    "range beside a list": (range(2), [1, 1]), "deque": collections.deque([1, 1]), "buffer": array.array("i", [0, 0]),
    "nested tuple": (((0, 0), (1, 1)),), "uint8": np.array([0, 0], "uint8"), "0-d beside": (np.array(0), [1, 1]),
    "mask beside a list": (np.array([True, False]), [1, 1]), "Tensor": Tensor(np.array([1, 1])),
    "Tensors": (Tensor(np.array([0, 0])), Tensor(np.array([2, 2]))), "list of Tensors": [Tensor(1), Tensor(1)]}


def plain(index):
    """The same index in NumPy's own types."""
    if isinstance(index, tuple):
        return tuple(map(plain, index))
    if isinstance(index, (list, collections.deque, array.array)):
        return np.array([plain(i) for i in index])
    return index.data if isinstance(index, Tensor) else index


@pytest.mark.parametrize("index", REPEATING.values(), ids=REPEATING)
def test_an_entry_that_is_read_twice_gets_the_sum(index):
    x = leaf(X)
    y = x[index]
    gy = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(gy)
    expected = np.zeros_like(X)
    np.add.at(expected, plain(index), gy)
    np.testing.assert_array_equal(y.data, X[plain(index)])
    np.testing.assert_array_equal(x.grad, expected)
    np.testing.assert_array_equal(ops.scatter(gy, index, X.shape), expected)


@pytest.mark.parametrize("index", [0, -1, np.int64(1), (1, np.int32(2)), slice(None, None, -1), ..., None, [],
                                   [True, False], (np.array([True, False]), 1), (slice(None), np.array(1))], ids=repr)
def test_an_entry_that_is_read_once_gets_its_gradient(index):
    x = leaf(X)
    x[index].sum().backward()
    expected = np.zeros_like(X)
    expected[np.zeros(0, int) if isinstance(index, list) and not index else index] = 1
    np.testing.assert_array_equal(x.grad, expected)


def test_a_list_may_be_changed_after_it_was_an_index():
    x, index = leaf(X), [0, 0]
    y = x[index]
    index[:] = [1, 1]
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [[2, 2, 2], [0, 0, 0]])


@pytest.mark.parametrize("index", [np.array([0, 0]), (np.array([0, 0]), np.array([1, 1]))])
def test_an_array_that_was_changed_after_it_was_an_index_is_an_anomaly(index):
    """Like all arrays that a gradient needs, it is kept, not copied."""
    with detect_anomaly():
        y = leaf(X)[index]
        (index[0] if isinstance(index, tuple) else index)[...] = 1
        with pytest.raises(anomaly.AnomalyError, match="^getitem: .*changed in place"):
            y.sum().backward()


@pytest.mark.parametrize("index", [1.5, [0.0, 1.0], "a", {}, {1}, [[0], [0, 1]], Tensor([1.0]), np.array([0.0]),
                                   (0, "a"), (0, 1.0)], ids=repr)
def test_anything_but_an_index_is_refused(index):
    with pytest.raises(TypeError, match="^getitem: "):
        leaf(X)[index]


def test_an_index_out_of_range_stays_an_index_error():
    with pytest.raises(IndexError, match="^getitem: index 5 is out of bounds"):
        leaf(X)[5]


@pytest.mark.parametrize(("y", "index", "shape"), [(np.ones(1), [0, 1], (3,)), (np.ones(()), slice(0, 2), (3,)),
                                                   (np.ones((1, 3)), slice(0, 2), (3, 3)),
                                                   (np.ones(2), (np.array([0, 1, 1]), 0), (3, 3))])
def test_scattered_entries_have_the_shape_of_their_place(y, index, shape):
    with pytest.raises(ValueError, match="^scatter: in zeros of shape"):
        ops.scatter(y, index, shape)


# ---------------------------------------------------------------- arrays of other libraries

def test_cupys_arrays_are_arrays_though_they_do_not_follow_the_standard(monkeypatch):
    """cupy.ndarray has no __array_namespace__."""
    cupy = types.ModuleType("cupy")
    cupy.ndarray = type("ndarray", (), {"dtype": np.dtype(float), "get": lambda self: np.ones(2)})
    monkeypatch.setitem(__import__("sys").modules, "cupy", cupy)
    x = cupy.ndarray()
    check_arrays("op", x=x)
    assert backend.array_module(x) is cupy and Tensor(x, requires_grad=True).data is x
    np.testing.assert_array_equal(backend.to_cpu(x), [1, 1])


@pytest.mark.parametrize("x", [None, {}, "a", [None]])
def test_only_numbers_are_brought_to_the_cpu(x):
    with pytest.raises(TypeError, match="^to_cpu: expected an array or numbers, got"):
        backend.to_cpu(x)
    np.testing.assert_array_equal(backend.to_cpu([1.0, 2.0]), [1, 2])


# ---------------------------------------------------------------- ranges, masks, text, half precision

def test_the_smallest_of_integers_and_booleans():
    for numbers, dtype in (([0, 1, 2], "u1"), ([-128, 5], "i1"), ([3, 2**63], "u8"), ([True, False], "?")):
        x = np.array(numbers, dtype)
        assert ops.min(x) == x.min() and ops.min(Tensor(x)).item() == x.min()


def test_statistics_that_leave_the_range_of_their_dtype_say_so():
    one, zero = np.ones(1, "f2"), np.zeros(1, "f2")
    with pytest.raises(FloatingPointError, match="batch_norm: the variance of x leaves the range of float16"), \
            np.errstate(over="ignore"):
        ops.batch_norm(np.array([[300.0], [-300.0]], "f2"), one, zero)
    with pytest.raises(FloatingPointError, match="layer_norm"), np.errstate(over="ignore"):
        ops.layer_norm(np.array([[1e25, -1e25]], "f"), np.ones(2, "f"), np.zeros(2, "f"))
    assert ops.std(np.array([300.0, -300.0], "f2")) == 300
    for eps in (-1.0, np.nan, np.inf, "1", None):
        for op in (ops.batch_norm, ops.layer_norm):
            with pytest.raises(ValueError, match="eps is a number ≥ 0"):
                op(np.ones((3, 2)), np.ones(2), np.zeros(2), eps)


def test_batch_norm_does_not_broadcast_in_evaluation():
    c = np.ones(4)
    with pytest.raises(ValueError, match=r"batch_norm_inference: x \(…, C\)=\(2, 1\) needs gamma"):
        ops.batch_norm_inference(np.ones((2, 1)), c, c, c, c)


def test_a_mask_is_not_lost():
    masked = np.ma.masked_less(np.ones(3), 2)
    for call in (lambda: ops.where(np.ones(3, bool), masked, 0.0), lambda: ops.elu(masked),
                 lambda: ops.tile(masked, (2,)), lambda: ops.multiply(Tensor(np.ones(3)), masked)):
        with pytest.raises(TypeError, match="a MaskedArray would lose .*filled"):
            call()
    y = Tensor(np.ones(3), requires_grad=True) * 2.0
    for gy, words in ((masked, "filled"), (np.ones(3) * 1j, "gy is complex"), ("a", "expected numbers")):
        with pytest.raises(TypeError, match=words):
            y.backward(gy)


def test_text_arrays_and_half_precision_draws():
    for op in (ops.sigmoid, ops.softmax, ops.sum, ops.elu, ops.square):
        with pytest.raises(TypeError, match=f"^{op.__name__}: "):
            op(np.array(["a", "b"]))
    assert ops.dropout(np.ones(8, "f2"), 0.5, np.random.default_rng(0)).dtype == np.float16
    x = Tensor(np.ones(2, "f"), requires_grad=True)
    assert (x % np.float64(0.3)).dtype == (x // np.float64(0.3)).dtype == np.float32
    assert ops.leaky_relu(np.array(1.0, "f"), np.float64(0.1)).dtype == np.float32
    np.testing.assert_array_equal(ops.transpose(np.ones((2, 3)), np.array([1, 0])), np.ones((3, 2)))
    with pytest.raises(TypeError, match="reshape: .*"):
        ops.reshape(np.ones(4), "ab")
    for wrong in ((np.ones(1), [x]), ("a", [x]), (x, None)):
        with pytest.raises(TypeError, match="grad: expected a Tensor y"):
            grad(*wrong)
