"""Wrong gradient rules as learners write them, and right ones in unusual forms: does the checker name them truly?

    python tests/rules_of_learners.py        prints a line for each entry, then the count of each verdict
"""

import numpy as np
from examination import Entry, examine_all

from scratchnet import check, ops
from scratchnet.autograd import Tensor, data_of, differentiable, enable_grad, grad
from scratchnet.layers import Dense
from scratchnet.losses import _bce, _cross_entropy, _gaussian_kl, _squared_error

ENTRIES = []


def wrong(id, call, why, *names):
    ENTRIES.append(Entry(id, call, set(names), why))


def right(id, call, why):
    ENTRIES.append(Entry(id, call, None, why))


def swap(op, rule, *inputs, f=None, order=1):
    """A check of f, or of the op itself, with the rule in place of the op's own."""
    def call():
        with op.using(rule):
            check.gradients(f or op, *inputs, order=order)
    return call


def own(forward, rule, *inputs, f=None, order=1):
    """A check of a learner's op with its rule, alone or inside a function f, which takes the op first."""
    op = differentiable(forward)
    op.backward(rule)

    def call():
        check.gradients((lambda *xs: f(op, *xs)) if f else op, *inputs, order=order)
    return call


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def positive(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2.0, size=shape)


def sigma(x):
    return 1.0 / (1.0 + np.exp(-x))


def soft(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


X = draw(3, 4)
ODD = draw(5, 3, seed=1)
POSITIVE = positive(3, 5, seed=2)


# ---------------------------------------------------------------- functions of one number

wrong("tanh_at_input", swap(ops.tanh, lambda gy, x: gy * (1 - x * x), X),
      "1 − x² for 1 − y²", "evaluated at the input")
wrong("tanh_at_input_one_entry", swap(ops.tanh, lambda gy, x: gy * (1 - x * x), np.array([0.7])),
      "1 − x² for 1 − y², on one number only", "evaluated at the input")
wrong("tanh_no_square", swap(ops.tanh, lambda gy, y: gy * (1 - y), ODD), "1 − y for 1 − y²")
wrong("tanh_sigmoid_slope", swap(ops.tanh, lambda gy, y: gy * y * (1 - y), ODD), "the slope of a sigmoid")
wrong("sigmoid_at_input", swap(ops.sigmoid, lambda gy, x: gy * x * (1 - x), ODD),
      "x (1 − x) for y (1 − y)", "evaluated at the input")
wrong("sigmoid_of_output", swap(ops.sigmoid, lambda gy, y: gy * ops.sigmoid(y) * (1 - ops.sigmoid(y)), X),
      "a second sigmoid over y", "evaluated at the output")
wrong("sigmoid_slope_twice", swap(ops.sigmoid, lambda gy, y: gy * (y * (1 - y)) * (y * (1 - y)), X),
      "y (1 − y) twice", "derivative applied twice")
wrong("sigmoid_no_gy", swap(ops.sigmoid, lambda gy, y: y * (1 - y), X),
      "gy forgotten", "upstream gradient ignored")
wrong("sigmoid_gy_twice", swap(ops.sigmoid, lambda gy, y: gy * gy * y * (1 - y), X),
      "gy²", "upstream gradient applied twice")
wrong("sigmoid_sign_of_gy", swap(ops.sigmoid, lambda gy, y: np.sign(gy) * y * (1 - y), X),
      "the sign of gy for gy: not linear in it", "not linear in the upstream gradient")
wrong("exp_times_input", swap(ops.exp, lambda gy, x: gy * x, X),
      "x for y", "evaluated at the input", "other argument as a factor")
wrong("exp_power_rule", swap(ops.exp, lambda gy, x, y: gy * x * y, ODD),
      "x e^x, by the power rule", "other argument as a factor")
wrong("log_times_input", swap(ops.log, lambda gy, x: gy * x, POSITIVE),
      "x for 1/x", "other argument as a factor")
wrong("log_over_output", swap(ops.log, lambda gy, y: gy / y, positive(3, 5, seed=3) + 1),
      "1/y for 1/x", "evaluated at the output")
wrong("sqrt_at_input", swap(ops.sqrt, lambda gy, x: gy / (2 * x), POSITIVE),
      "1/2x for 1/2y", "evaluated at the input")
wrong("sqrt_no_half", swap(ops.sqrt, lambda gy, y: gy / y, positive(2, 3)),
      "½ left out, where an axis has length 2", "factor 2", "constant factor")
wrong("square_no_two", swap(ops.square, lambda gy, x: gy * x, draw(2, 5)),
      "2 left out, where an axis has length 2", "factor 1/2", "constant factor")
wrong("square_no_two_one_entry", swap(ops.square, lambda gy, x: gy * x, np.array([1.7])),
      "2 left out, on one number only", "factor 1/2", "constant factor")
wrong("square_absolute", swap(ops.square, lambda gy, x: 2 * gy * ops.abs(x), ODD), "2 |x| for 2 x")
wrong("sin_minus_cos", swap(ops.sin, lambda gy, x: -gy * ops.cos(x), X), "−cos for cos", "wrong sign")
wrong("cos_plus_sin", swap(ops.cos, lambda gy, x: gy * ops.sin(x), X),
      "sin for −sin", "wrong sign", "evaluated at minus the input")
wrong("sin_left_out", swap(ops.sin, lambda gy: gy, X), "gy alone", "derivative left out")
wrong("sin_cos_of_output", swap(ops.sin, lambda gy, y: gy * ops.cos(y), X), "cos y", "evaluated at the output")
wrong("sin_degrees", swap(ops.sin, lambda gy, x: gy * ops.cos(x) * (np.pi / 180), X),
      "cos as if of degrees", "constant factor")
wrong("softplus_of_minus", swap(ops.softplus, lambda gy, x: gy * ops.sigmoid(-x), X),
      "σ(−x)", "evaluated at minus the input")
wrong("softplus_of_output", swap(ops.softplus, lambda gy, y: gy * ops.sigmoid(y), X),
      "σ(y)", "evaluated at the output")
wrong("softplus_tanh", swap(ops.softplus, lambda gy, x: gy * ops.tanh(x), X), "tanh for σ")
wrong("relu_left_out", swap(ops.relu, lambda gy: gy, draw(4, 5)),
      "no mask", "derivative left out", "activation's derivative left out")
wrong("relu_inverted", swap(ops.relu, lambda gy, x: gy * (x < 0), draw(4, 5)),
      "the mask the wrong way round", "evaluated at minus the input")
wrong("relu_times_output", swap(ops.relu, lambda gy, y: gy * y, draw(4, 5)),
      "y for its mask", "other argument as a factor", "value taken for index")
wrong("relu_guided", swap(ops.relu, lambda gy, x: gy * (gy > 0) * (x > 0), draw(4, 5)),
      "guided backpropagation: only positive gradients pass", "not linear in the upstream gradient")
wrong("relu_deconvnet", swap(ops.relu, lambda gy: gy * (gy > 0), draw(4, 5)),
      "the deconvnet's rule: relu of gy", "not linear in the upstream gradient")
wrong("relu_leaks", swap(ops.relu, lambda gy, x: gy * np.where(x > 0, 1, 0.01), draw(4, 5)), "leaky_relu's slope")
wrong("leaky_sides_exchanged", swap(ops.leaky_relu, lambda gy, x: gy * np.where(x > 0, 0.01, 1), draw(4, 5)),
      "the slope on the wrong side", "evaluated at minus the input")
wrong("leaky_no_leak", swap(ops.leaky_relu, lambda gy, x: gy * (x > 0), draw(4, 5)), "relu's slope")
wrong("elu_no_alpha", swap(ops.elu, lambda gy, x, y: gy * np.where(x > 0, 1, y), draw(4, 5)),
      "y for y + α", "constant term")
wrong("elu_alpha_left_out", swap(ops.elu, lambda gy, x: gy * np.where(x > 0, 1, np.exp(x)), draw(4, 5),
                                 f=lambda x: ops.elu(x, 0.6)), "e^x for α e^x")
wrong("silu_half_of_product_rule", swap(ops.silu, lambda gy, x: gy * ops.sigmoid(x), X),
      "only the first term of the product rule: σ as a constant", "stop-gradient")
wrong("gelu_inner_derivative", swap(ops.gelu, lambda gy, x: gy * (
    0.5 * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))
    + 0.5 * x * (1 - np.tanh(0.7978845608 * (x + 0.044715 * x**3))**2)), X), "u′ left out in the second term")
wrong("gelu_by_sigmoid", swap(ops.gelu, lambda gy, x: gy * (
    sigma(1.702 * x) * (1 + 1.702 * x * (1 - sigma(1.702 * x)))), X), "the rule of the approximation x σ(1.702 x)")
wrong("clip_left_out", swap(ops.clip, lambda gy: gy, draw(4, 6), f=lambda x: ops.clip(x, -0.5, 0.5)),
      "no mask", "derivative left out")
wrong("clip_one_side", swap(ops.clip, lambda gy, x, high: gy * (x <= high), draw(4, 6),
                            f=lambda x: ops.clip(x, -0.5, 0.5)), "the lower bound forgotten")
wrong("abs_left_out", swap(ops.abs, lambda gy: gy, draw(4, 6)), "gy alone", "derivative left out")
wrong("abs_times_input", swap(ops.abs, lambda gy, x: gy * x, draw(4, 6)),
      "x for its sign", "other argument as a factor", "evaluated at the input")
wrong("sign_of_positive_inputs", own(lambda x: x**1.5, lambda gy, x: gy * (1.5 * x**0.5 + np.sign(x)), POSITIVE),
      "sign x added, where all x are positive")
wrong("fourth_power_no_four", own(lambda x: x**4, lambda gy, x: gy * x**3, X),
      "4 left out, where an axis has length 4", "constant factor")
wrong("third_power_no_three", own(lambda x: x * x * x, lambda gy, x: gy * x * x, X),
      "3 left out, where an axis has length 3", "constant factor")
wrong("power_not_lowered", swap(ops.power, lambda gy, x, p: gy * p * x**p, POSITIVE, f=lambda x: ops.power(x, 2.5)),
      "p xᵖ for p xᵖ⁻¹", "other argument as a factor")
wrong("power_no_p", swap(ops.power, lambda gy, x, p: gy * x**(p - 1), POSITIVE, f=lambda x: ops.power(x, 2.5)),
      "xᵖ⁻¹ for p xᵖ⁻¹", "constant factor")
wrong("power_log_of_output", swap(ops.power, lambda gy, x, p, y: (gy * p * x**(p - 1), gy * y * ops.log(y)),
                                  positive(3, 5, seed=4), positive(3, 5, seed=5)),
      "y ln y for y ln x", "evaluated at the output", "other argument as a factor")
wrong("reciprocal_not_squared", own(lambda x: 1 / x, lambda gy, x: -gy / x, POSITIVE),
      "−1/x for −1/x²", "other argument as a factor")
wrong("arctan_no_one", own(lambda x: np.arctan(x), lambda gy, x: gy / (x * x), positive(3, 2)),
      "1/x² for 1/(1 + x²)", "constant term")
wrong("tiny_gradient_wrong_sign", own(lambda x: 1e-30 * np.sin(x), lambda gy, x: -1e-30 * gy * np.cos(x), X),
      "gradients of 1e-30, with the wrong sign", "wrong sign")
wrong("huge_gradient_factor", own(lambda x: 1e20 * x * x, lambda gy, x: 1e20 * gy * x, ODD),
      "gradients of 1e20, without the 2", "factor 1/2", "constant factor")


# ---------------------------------------------------------------- gy clipped, constant, of another dtype, changed

def clipped_at(bound):
    return lambda gy, x: np.clip(gy * np.cos(x), -bound, bound)


for bound in (0.1, 1.0, 10.0, 1e3):
    wrong(f"clip_result_{bound:g}", swap(ops.sin, clipped_at(bound), X),
          f"the gradient clipped at ±{bound:g}", "not linear in the upstream gradient")
wrong("clip_gy_by_ops", swap(ops.tanh, lambda gy, y: ops.clip(gy, -1.0, 1.0) * (1 - y * y), X),
      "gy clipped at ±1 with ops.clip", "not linear in the upstream gradient")
wrong("clip_gy_at_100", swap(ops.square, lambda gy, x: ops.clip(gy, -100.0, 100.0) * 2.0 * x, X),
      "gy clipped at ±100 with ops.clip", "not linear in the upstream gradient")
wrong("clip_norm", swap(ops.exp, lambda gy, y: gy * y / max(1.0, float(np.linalg.norm(gy)) / 5), X),
      "the norm of gy clipped at 5", "not linear in the upstream gradient")
wrong("gy_normalised", swap(ops.exp, lambda gy, y: gy * y / (np.linalg.norm(gy) + 1e-12), X),
      "gy divided by its norm", "not linear in the upstream gradient")
wrong("gy_rounded", swap(ops.exp, lambda gy, y: np.round(gy, 2) * y, X),
      "gy rounded to two places", "not linear in the upstream gradient")
wrong("gy_nan_to_num", swap(ops.sin, lambda gy, x: np.where(np.abs(gy) > 1e-3, gy, 0) * np.cos(x), X),
      "small gy set to zero", "not linear in the upstream gradient")

SECOND = "stop-gradient", "stop-gradient in the second order"
wrong("gy_constant_sin", swap(ops.sin, lambda gy, x: data_of(gy) * ops.cos(x), X, order=2),
      "gy a constant at second order", *SECOND)
wrong("gy_constant_linear", swap(ops.negative, lambda gy: -data_of(gy), X, order=2),
      "gy a constant at second order, of a linear op", *SECOND)
wrong("x_constant_sin", swap(ops.sin, lambda gy, x: gy * np.cos(data_of(x)), X, order=2),
      "cos x a constant at second order", *SECOND)
wrong("y_constant_tanh", swap(ops.tanh, lambda gy, y: gy * (1 - data_of(y)**2), ODD, order=2),
      "y a constant at second order", *SECOND)
wrong("both_constant_exp", swap(ops.exp, lambda gy, y: data_of(gy) * data_of(y), ODD, order=2),
      "gy and y constants at second order", *SECOND)
wrong("one_y_constant_tanh", swap(ops.tanh, lambda gy, y: gy * (1 - y * data_of(y)), ODD, order=2),
      "one of two y a constant at second order", *SECOND, "factor 1/2", "constant factor")
wrong("gy_constant_dense", swap(ops.dense, lambda gy, x, w: (
    data_of(gy) @ ops.transpose(w), ops.transpose(x) @ data_of(gy), gy.sum(axis=0)),
    draw(3, 4), draw(4, 2, seed=1), draw(2, seed=2), order=2), "gy a constant in two gradients of three", *SECOND)
wrong("mask_constant_softplus", swap(ops.softplus, lambda gy, x: gy * sigma(data_of(x)), X, order=2),
      "NumPy's σ at second order", *SECOND)
wrong("numpy_on_tensor_tanh", swap(ops.tanh, lambda gy, x: gy * (1 - np.tanh(x)**2), X, order=2),
      "np.tanh of a Tensor at second order", *SECOND, "error in the rule")
wrong("numpy_on_gy", swap(ops.relu, lambda gy, x: np.where(data_of(x) > 0, gy, 0), draw(4, 5), order=2),
      "np.where of a Tensor at second order", *SECOND, "error in the rule")
wrong("wrong_only_at_second_order",
      swap(ops.square, lambda gy, x: gy * x + gy * data_of(x), ODD, order=2),
      "half of 2x a constant at second order", *SECOND, "factor 1/2", "constant factor")

wrong("gy_in_place", swap(ops.tanh, lambda gy, y: np.multiply(gy, 1 - y * y, out=gy), X),
      "gy changed in place", "changed in place", "not a function")
wrong("y_in_place", swap(ops.sigmoid, lambda gy, y: np.multiply(y, (1 - y) * gy, out=y), X),
      "y changed in place", "changed in place", "not a function")
wrong("float32_result", swap(ops.tanh, lambda gy, y: (gy * (1 - y * y)).astype("float32"), X),
      "a float32 gradient", "wrong dtype")
wrong("float32_inside", swap(ops.sin, lambda gy, x: gy * np.cos(x.astype("float32")).astype("float64"), X),
      "float32 on the way", "wrong dtype")
wrong("float16_inside", swap(ops.exp, lambda gy, y: (gy.astype("float16") * y).astype("float64"), X),
      "float16 on the way", "wrong dtype")

CALLS = []
wrong("depends_on_calls", swap(ops.sin, lambda gy, x: (CALLS.append(1), gy * np.cos(x) * (1 + len(CALLS) % 2))[1], X),
      "twice as much at every second call", "not a function")
NOISE = np.random.default_rng(9)
wrong("noise_in_rule", swap(ops.sin, lambda gy, x: gy * np.cos(x) + NOISE.normal(0, 0.1, x.shape), X),
      "noise added", "not a function")
wrong("dropout_new_mask", own(lambda x, m: x * m / 0.5, lambda gy: gy * (NOISE.random(gy.shape) < 0.5) / 0.5,
                              X, np.array(draw(3, 4, seed=8) > 0)), "a new mask in the rule", "not a function")

LAST = {}


def _remember(x):
    LAST["x"] = x
    return np.exp(np.sin(x))


wrong("input_in_a_global", own(_remember, lambda gy, y: gy * y * np.cos(LAST["x"]), X, draw(3, 4, seed=1),
                               f=lambda op, a, b: op(a) + op(b)), "the input of the last call, not of this one",
      "not a function")


# ---------------------------------------------------------------- no array, or one of the wrong shape

def tanh_gradient(gy, y):
    return gy * (1 - y * y)


for kind, rule, names in (
        ("none", lambda gy: None, ("stop-gradient",)),
        ("number", lambda gy: 1.0, ("wrong shape",)),
        ("integer", lambda gy: 2, ("wrong shape", "wrong dtype")),
        ("nan_number", lambda gy: float("nan"), ("not finite", "wrong shape")),
        ("string", lambda gy: "gradient", ()),
        ("list", lambda gy, y: [tanh_gradient(gy, y).tolist()], ("wrong shape",)),
        ("list_of_rows", lambda gy, y: tanh_gradient(gy, y).tolist(), ("wrong shape",)),
        ("dict", lambda gy, y: {"x": tanh_gradient(gy, y)}, ()),
        ("generator", lambda gy, y: (row for row in tanh_gradient(gy, y)), ()),
        ("function", lambda gy: np.tanh, ()),
        ("bool_mask", lambda gy, y: y > 0, ("wrong dtype", "upstream gradient ignored")),
        ("integer_array", lambda gy, y: np.ones(y.shape, dtype=int), ("wrong dtype", "upstream gradient ignored")),
        ("object_array", lambda gy, y: tanh_gradient(gy, y).astype(object), ("wrong dtype",)),
        ("complex_array", lambda gy, y: tanh_gradient(gy, y) + 0j, ("wrong dtype",)),
        ("masked_array", lambda gy, y: np.ma.masked_array(tanh_gradient(gy, y), mask=y > 0.5), ())):
    wrong(f"returns_{kind}", swap(ops.tanh, rule, X), "not a plain array of floats", "not an array", *names)
wrong("too_few_gradients", swap(ops.multiply, lambda gy, b: gy * b, X, draw(3, 4, seed=1)),
      "one gradient for two inputs", "not an array", "wrong shape", "stop-gradient")
wrong("too_few_in_a_tuple", swap(ops.multiply, lambda gy, b: (gy * b,), X, draw(3, 4, seed=1)),
      "one gradient for two inputs, in a tuple", "not an array", "wrong shape", "stop-gradient")
wrong("sum_not_spread", swap(ops.sum, lambda gy: gy, ODD, f=lambda x: ops.sum(x, axis=0)),
      "gy (3,) for x (5, 3)", "wrong shape", "derivative left out")
wrong("sum_of_all_not_spread", swap(ops.sum, lambda gy: gy, ODD), "gy () for x (5, 3)", "wrong shape",
      "derivative left out")
wrong("transposed_shape", own(lambda a, b: a @ b, lambda gy, a, b: (gy @ b.T, gy.T @ a), X, draw(4, 2, seed=1)),
      "∂L/∂bᵀ for ∂L/∂b", "wrong shape", "axes permuted")
wrong("none_for_second", own(lambda a, b: a * b, lambda gy, b: (gy * b, None), X, draw(3, 4, seed=1)),
      "None for the second", "stop-gradient", "not an array")
wrong("zeros_for_second", own(lambda a, b: a * b, lambda gy, b: (gy * b, 0 * b), X, draw(3, 4, seed=1)),
      "zeros for the second", "stop-gradient")
wrong("detached_input", lambda: check.gradients(lambda x: x * Tensor(data_of(x)), X),
      "x detached in one of two factors", "stop-gradient", "factor 1/2", "constant factor")


# ---------------------------------------------------------------- arithmetic, broadcasting

A, B = draw(3, 4, seed=10), draw(3, 4, seed=11)
ROW = draw(4, seed=12)
wrong("multiply_exchanged", swap(ops.multiply, lambda gy, a, b: (gy * a, gy * b), A, B),
      "each with its own factor", "inputs swapped", "other argument as a factor")
wrong("multiply_by_both", swap(ops.multiply, lambda gy, b, y: (gy * b, gy * y), A, B),
      "y for a: one b too many", "other argument as a factor", "evaluated at the output")
wrong("divide_no_minus", swap(ops.divide, lambda gy, b, y: (gy / b, gy * y / b), A, B + 4), "no minus", "wrong sign")
wrong("divide_not_squared", swap(ops.divide, lambda gy, a, b: (gy / b, -gy * a / b), A, B + 4),
      "−a/b for −a/b²", "other argument as a factor")
wrong("divide_exchanged", swap(ops.divide, lambda gy, a, b: (-gy * a / b**2, gy / b), A, B + 4),
      "the two gradients exchanged", "inputs swapped")
wrong("subtract_two_plus", swap(ops.subtract, lambda gy: (gy, gy), A, B), "gy for −gy", "wrong sign")
wrong("bias_summed_twice", swap(ops.add, lambda gy: (gy, np.broadcast_to(gy.sum(axis=0), gy.shape)), A, ROW),
      "the sum spread over the rows and summed again", "broadcast axis summed twice", "factor N", "constant factor")
wrong("bias_averaged", swap(ops.add, lambda gy: (gy, gy.mean(axis=0)), A, ROW),
      "mean for sum", "broadcast axis averaged", "factor 1/N", "constant factor")
wrong("scale_other_axis", swap(ops.multiply, lambda gy, a, b: (gy * b, (gy * a).sum(axis=1)),
                               draw(4, 4), ROW), "the sum over the other axis of a square", "wrong axis")
wrong("column_averaged", swap(ops.multiply, lambda gy, a, b: (gy * b, (gy * a).mean(axis=1, keepdims=True)),
                              draw(5, 3), draw(5, 1, seed=1)), "mean for sum", "broadcast axis averaged",
      "factor 1/N", "constant factor")
wrong("scalar_averaged", swap(ops.multiply, lambda gy, a, b: (gy * b, np.asarray((gy * a).mean())),
                              draw(5, 3), np.array(1.3)), "mean for sum", "broadcast axis averaged",
      "factor 1/N", "constant factor")
wrong("maximum_to_both", swap(ops.maximum, lambda gy: (gy, gy), A, B),
      "gy to both", "derivative left out", "activation's derivative left out")
wrong("maximum_exchanged", swap(ops.maximum, lambda gy, a, b: (gy * (a < b), gy * (b <= a)), A, B),
      "to the smaller", "inputs swapped")
wrong("where_exchanged", swap(ops.where, lambda gy, condition: (None, gy * ~condition, gy * condition), A > 0, A, B),
      "the branches exchanged", "inputs swapped")


# ---------------------------------------------------------------- reductions

def reduce_all(op, **options):
    return lambda x: op(x, **options)


def spread(gy, x, axis):
    return np.broadcast_to(np.expand_dims(gy, axis), x.shape)


wrong("mean_no_n", swap(ops.mean, lambda gy, x, axis: spread(gy, x, axis) * 1.0, draw(5, 3),
                        f=reduce_all(ops.mean, axis=0)), "1/n left out", "factor N", "constant factor")
wrong("mean_n_twice", swap(ops.mean, lambda gy, x, axis: spread(gy, x, axis) / 25, draw(5, 3),
                           f=reduce_all(ops.mean, axis=0)), "1/n²", "factor 1/N", "constant factor",
      "derivative applied twice")
wrong("mean_other_n", swap(ops.mean, lambda gy, x, axis: spread(gy, x, axis) / x.shape[1], draw(5, 3),
                           f=reduce_all(ops.mean, axis=0)), "the length of the other axis", "constant factor",
      "wrong axis")
wrong("mean_of_all_by_rows", swap(ops.mean, lambda gy, x: gy / len(x) * np.ones(x.shape), draw(5, 3)),
      "1/rows for 1/entries", "constant factor", "factor N")
wrong("var_no_two", swap(ops.var, lambda gy, x, axis: spread(gy, x, axis) * (x - x.mean(axis, keepdims=True)) / 5,
                         draw(5, 3), f=reduce_all(ops.var, axis=0)), "2 left out", "factor 1/2", "constant factor")
wrong("var_not_centred", swap(ops.var, lambda gy, x, axis: spread(gy, x, axis) * x * 2 / 5,
                              draw(5, 3) + 1, f=reduce_all(ops.var, axis=0)), "x for x − x̄")
wrong("var_of_a_sample", swap(ops.var, lambda gy, x, axis: spread(gy, x, axis) * (x - x.mean(axis, keepdims=True)) / 2,
                              draw(5, 3), f=reduce_all(ops.var, axis=0)), "n − 1 for n", "constant factor")
wrong("var_mean_of_other_axis", swap(ops.var, lambda gy, x, axis: spread(gy, x, axis) * 2 / 4 * (
    x - x.mean(1 - axis, keepdims=True)), draw(4, 6), f=reduce_all(ops.var, axis=0)),
      "centred along the other axis", "wrong axis")
wrong("logsumexp_other_axis", swap(ops.logsumexp, lambda gy, x, axis: spread(gy, x, axis) * soft(x, 1 - axis),
                                   draw(5, 3), f=reduce_all(ops.logsumexp, axis=1)),
      "softmax over the other axis", "wrong axis")
wrong("logsumexp_not_normalised", swap(ops.logsumexp, lambda gy, x, axis: spread(gy, x, axis) * np.exp(x),
                                       draw(5, 3), f=reduce_all(ops.logsumexp, axis=1)), "e^x, not normalised")
wrong("logsumexp_shared", swap(ops.logsumexp, lambda gy, x, axis: spread(gy, x, axis) / 3,
                               draw(5, 3), f=reduce_all(ops.logsumexp, axis=1)),
      "the same to all, as of a mean", "spread over the window")
wrong("cumsum_not_reversed", swap(ops.cumsum, lambda gy, axis: gy.cumsum(axis), draw(5, 3),
                                  f=reduce_all(ops.cumsum, axis=0)),
      "Σ from the front", "axis reversed", "Jacobian not transposed")
wrong("cumsum_alone", swap(ops.cumsum, lambda gy: gy, draw(5, 3), f=reduce_all(ops.cumsum, axis=0)), "gy alone",
      "treated as elementwise", "derivative left out", "steps treated as independent")
wrong("cumsum_exclusive", swap(ops.cumsum, lambda gy, axis: np.flip(np.flip(gy, axis).cumsum(axis), axis) - gy,
                               draw(5, 3), f=reduce_all(ops.cumsum, axis=0)), "the sum begins one later",
      "shifted by one", "off by one in time")
wrong("cumsum_other_axis", swap(ops.cumsum, lambda gy: np.flip(np.flip(gy, 1).cumsum(1), 1), draw(5, 3),
                                f=reduce_all(ops.cumsum, axis=0)), "summed along the other axis", "wrong axis")
wrong("norm_not_divided", swap(ops.norm, lambda gy, x, axis: spread(gy, x, axis) * x, draw(5, 3),
                               f=reduce_all(ops.norm, axis=1)), "x for x/‖x‖", "other argument as a factor")
wrong("norm_two", swap(ops.norm, lambda gy, x, y, axis: spread(gy / y, x, axis) * 2 * x, draw(5, 3),
                       f=reduce_all(ops.norm, axis=1)), "2x/‖x‖", "factor 2", "constant factor")
wrong("norm_other_axis", swap(ops.norm, lambda gy, x: gy[:, None] * x / np.sqrt((x * x).sum(0)), draw(5, 3),
                              f=reduce_all(ops.norm, axis=1)), "norms of the columns", "wrong axis")
wrong("norm_of_a_zero_row", swap(ops.norm, lambda gy, x, y, axis: spread(gy / y, x, axis) * x,
                                 np.array([[0.0, 0.0, 0.0], [1.0, 2.0, -1.0]]), f=reduce_all(ops.norm, axis=1)),
      "0/0 for a row of zeros", "not finite", "ties or zeros")


def row_max(x):
    return x[np.arange(len(x)), x.real.argmax(axis=1)]


wrong("max_shared", own(row_max, lambda gy, x: gy[:, None] * np.ones(x.shape) / 4, draw(5, 4)),
      "shared over the row", "spread over the window")
wrong("max_to_all", own(row_max, lambda gy, x: gy[:, None] * np.ones(x.shape), draw(5, 4)),
      "gy to the whole row", "spread over the window")
wrong("max_value_for_index", own(row_max, lambda gy, x, y: gy[:, None] * x * (x == y[:, None]), draw(5, 4)),
      "the value for 0/1", "value taken for index", "other argument as a factor")
wrong("max_at_the_least", own(row_max, lambda gy, x: gy[:, None] * (x == x.min(1, keepdims=True)), draw(5, 4)),
      "to the smallest", "evaluated at minus the input")
wrong("max_of_columns", own(row_max, lambda gy, x: gy[:, None] * (x == x.max(0)), draw(5, 4)),
      "the largest of each column", "wrong axis")
wrong("max_all_ties", own(row_max, lambda gy, x, y: gy[:, None] * (x == y[:, None]),
                          np.array([[1.0, 2.0, 2.0, 0.5], [3.0, -1.0, 0.0, 3.0]])),
      "both of a tie get all", "ties or zeros")
wrong("product_by_division", own(lambda x: x.prod(axis=1), lambda gy, x, y: (gy * y)[:, None] / x,
                                 np.array([[1.0, 0.0, 2.0], [2.0, 3.0, -1.0]])),
      "y/x where an x is zero", "not finite", "ties or zeros")
wrong("product_no_others", own(lambda x: x.prod(axis=1), lambda gy, y: np.repeat((gy * y)[:, None], 3, axis=1),
                               draw(5, 3)), "y for y/x", "other argument as a factor")
wrong("abs_by_division", own(lambda x: np.abs(x), lambda gy, x: gy * x / np.abs(x),
                             np.array([[1.0, 0.0], [-2.0, 0.5]])),
      "x/|x| at zero", "not finite", "ties or zeros")
wrong("sigmoid_overflow", own(lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,
                              lambda gy, x: gy * np.exp(-x) / (1 + np.exp(-x))**2, np.array([[-800.0, 1.0, 3.0]])),
      "∞/∞ at −800", "not finite")
wrong("softplus_overflow", swap(ops.softplus, lambda gy, x: gy * np.exp(x) / (1 + np.exp(x)),
                                np.array([[900.0, 1.0, -3.0]])), "∞/∞ at 900", "not finite")


# ---------------------------------------------------------------- softmax, losses

wrong("softmax_diagonal", swap(ops.softmax, lambda gy, y: gy * y * (1 - y), ODD),
      "only the diagonal", "treated as elementwise")
wrong("softmax_no_sum", swap(ops.softmax, lambda gy, y: gy * y, ODD),
      "the sum below the fraction as a constant", "stop-gradient")
wrong("softmax_sum_without_y", swap(ops.softmax, lambda gy, y: y * (gy - gy.sum(-1, keepdims=True)), ODD),
      "Σ gy for Σ gy y")
wrong("softmax_mean_for_sum", swap(ops.softmax, lambda gy, y: y * (gy - (gy * y).mean(-1, keepdims=True)), ODD),
      "mean for the sum in the second term")
wrong("softmax_plus", swap(ops.softmax, lambda gy, y: y * (gy + (gy * y).sum(-1, keepdims=True)), ODD), "+ for −")
wrong("softmax_other_axis", swap(ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(0, keepdims=True)), ODD),
      "the sum over the batch", "wrong axis")
wrong("softmax_all_axes", swap(ops.softmax, lambda gy, y: y * (gy - (gy * y).sum()), ODD),
      "the sum over everything", "wrong axis")
wrong("softmax_two_entries", swap(ops.softmax, lambda gy, y: gy * y * (1 - y), np.array([[0.3, -1.0]])),
      "only the diagonal, of two entries", "treated as elementwise")
wrong("softmax_equal_axes", swap(ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(0, keepdims=True)), draw(4, 4)),
      "the sum over the batch, on a square", "wrong axis")
wrong("log_softmax_diagonal", swap(ops.log_softmax, lambda gy, y: gy - np.exp(y) * gy, ODD),
      "gy for Σ gy", "treated as elementwise")
wrong("log_softmax_no_gy", swap(ops.log_softmax, lambda gy, y: gy - np.exp(y), ODD),
      "Σ gy taken for 1", "upstream gradient ignored")
wrong("log_softmax_other_axis", swap(ops.log_softmax, lambda gy, y: gy - np.exp(y) * gy.sum(0), ODD),
      "the sum over the batch", "wrong axis")
wrong("log_softmax_alone", swap(ops.log_softmax, lambda gy: gy, ODD),
      "the normaliser as a constant", "stop-gradient", "derivative left out", "treated as elementwise")

LABELS = np.array([2, 0, 1, 3, 3])
SCORES = draw(5, 4, seed=20)


def softmax_loss(x):
    """CS231n: the mean cross-entropy of scores (N, C) with LABELS."""
    s = x - x.real.max(axis=1, keepdims=True)
    return (np.log(np.exp(s).sum(axis=1)) - s[np.arange(5), LABELS]).mean()


def softmax_loss_rule(gy, x, labels=LABELS, n=5, minus=1.0):
    p = soft(x)
    p[np.arange(5), labels] -= minus
    return gy * p / n


wrong("softmax_loss_no_n", own(softmax_loss, lambda gy, x: softmax_loss_rule(gy, x, n=1), SCORES),
      "1/N left out", "factor N", "constant factor")
wrong("softmax_loss_by_classes", own(softmax_loss, lambda gy, x: softmax_loss_rule(gy, x, n=4), SCORES),
      "1/C for 1/N", "constant factor")
wrong("softmax_loss_no_gy", own(softmax_loss, lambda gy, x: softmax_loss_rule(1.0, x), SCORES),
      "gy forgotten, as in CS231n", "upstream gradient ignored")
wrong("softmax_loss_no_minus_one", own(softmax_loss, lambda gy, x: softmax_loss_rule(gy, x, minus=0.0), SCORES),
      "no −1 at the label", "constant term")
wrong("softmax_loss_plus_one", own(softmax_loss, lambda gy, x: softmax_loss_rule(gy, x, minus=-1.0), SCORES),
      "+1 for −1 at the label")
wrong("softmax_loss_next_label", own(softmax_loss, lambda gy, x: softmax_loss_rule(gy, x, (LABELS + 1) % 4), SCORES),
      "−1 at the next label", "shifted by one")
wrong("softmax_loss_sign", own(softmax_loss, lambda gy, x: -softmax_loss_rule(gy, x), SCORES), "t − p", "wrong sign")
wrong("softmax_loss_other_axis", own(softmax_loss, lambda gy, x: gy * (
    soft(x, 0) - (LABELS[:, None] == np.arange(4))) / 5, SCORES), "softmax over the batch", "wrong axis")


def svm_loss(x):
    """CS231n: the mean multiclass hinge loss."""
    margin = x - x[np.arange(5), LABELS][:, None] + 1.0
    margin[np.arange(5), LABELS] = 0.0
    return np.maximum(margin, 0).sum() / 5


def svm_rule(gy, x, correct=None, masked=True):
    margin = x - x[np.arange(5), LABELS][:, None] + 1.0
    margin[np.arange(5), LABELS] = 0.0
    g = (margin > 0) * 1.0 if masked else np.ones(x.shape)
    g[np.arange(5), LABELS] = 0.0
    g[np.arange(5), LABELS] = -g.sum(axis=1) if correct is None else correct
    return gy * g / 5


wrong("svm_correct_class_once", own(svm_loss, lambda gy, x: svm_rule(gy, x, -1.0), SCORES), "−1 for −count")
wrong("svm_correct_class_forgotten", own(svm_loss, lambda gy, x: svm_rule(gy, x, 0.0), SCORES),
      "the path through the right class's score missing", "stop-gradient")
wrong("svm_no_mask", own(svm_loss, lambda gy, x: svm_rule(gy, x, masked=False), SCORES),
      "margins below zero count", "activation's derivative left out", "derivative left out")

TARGETS = (draw(5, 4, seed=21) > 0) * 1.0
wrong("bce_sign", swap(_bce, lambda gy, x, t: gy * (t - sigma(x)), SCORES, f=lambda x: _bce(x, TARGETS)),
      "t − σ(x)", "wrong sign")
wrong("bce_no_sigmoid", swap(_bce, lambda gy, x, t: gy * (x - t), SCORES, f=lambda x: _bce(x, TARGETS)), "x − t")
wrong("bce_slope_again", swap(_bce, lambda gy, x, t: gy * (sigma(x) - t) * sigma(x) * (1 - sigma(x)), SCORES,
                              f=lambda x: _bce(x, TARGETS)), "times σ′ once more", "derivative applied twice")
wrong("bce_no_target", swap(_bce, lambda gy, x: gy * sigma(x), SCORES, f=lambda x: _bce(x, np.ones((5, 4)))),
      "σ(x) for σ(x) − 1", "constant term")

P = np.random.default_rng(22).uniform(0.05, 0.95, (5, 4))


def bce_of_p(p):
    return -(TARGETS * np.log(p + 0.1) + (1 - TARGETS) * np.log(1 - p + 0.1)).mean()


wrong("bce_epsilon_forgotten", own(bce_of_p, lambda gy, p: gy * (-TARGETS / p + (1 - TARGETS) / (1 - p)) / 20, P),
      "no ε below the fractions", "epsilon forgotten")
wrong("bce_one_half", own(bce_of_p, lambda gy, p: gy * -TARGETS / (p + 0.1) / 20, P), "only the term of t = 1")
wrong("bce_mean_over_batch", own(bce_of_p, lambda gy, p: gy / 5 * (
    -TARGETS / (p + 0.1) + (1 - TARGETS) / (1 - p + 0.1)), P), "1/N for 1/(N·D)", "constant factor", "factor N")
wrong("bce_second_sign", own(bce_of_p, lambda gy, p: gy * (
    -TARGETS / (p + 0.1) - (1 - TARGETS) / (1 - p + 0.1)) / 20, P), "the sign of d(1 − p) forgotten")

wrong("mse_no_two", swap(_squared_error, lambda gy, x, t: (gy * (x - t), gy * (t - x)), A, B), "2 left out",
      "factor 1/2", "constant factor")
wrong("mse_same_sign", swap(_squared_error, lambda gy, x, t: (2 * gy * (x - t), 2 * gy * (x - t)), A, B),
      "the same for both", "wrong sign")
wrong("mse_target_left_out", own(lambda x, t: ((x - t)**2).sum(), lambda gy, x, t: (2 * gy * x, 2 * gy * t), A, B),
      "2x for 2 (x − t)")
wrong("mse_no_n", own(lambda x: (x**2).mean(), lambda gy, x: 2 * gy * x, draw(3, 5)),
      "1/n left out", "constant factor", "factor N")
wrong("rmse_no_root", own(lambda x: np.sqrt((x**2).mean()), lambda gy, x: gy * x / x.size, draw(3, 5)),
      "no division by the root", "other argument as a factor")
wrong("huber_no_limit", own(lambda x: np.where(np.abs(x) <= 0.7, 0.5 * x * x, 0.7 * (np.abs(x) - 0.35)),
                            lambda gy, x: gy * x, draw(5, 4)), "x beyond δ, too")
wrong("huber_no_delta", own(lambda x: np.where(np.abs(x) <= 0.7, 0.5 * x * x, 0.7 * (np.abs(x) - 0.35)),
                            lambda gy, x: gy * np.where(np.abs(x) <= 0.7, x, np.sign(x)), draw(5, 4)),
      "±1 for ±δ beyond δ")
wrong("hinge_no_mask", own(lambda x: np.maximum(0, 1 - (2 * TARGETS - 1) * x), lambda gy: -gy * (2 * TARGETS - 1),
                           SCORES), "no mask", "activation's derivative left out", "derivative left out")
wrong("hinge_no_target", own(lambda x: np.maximum(0, 1 - (2 * TARGETS - 1) * x),
                             lambda gy, x: -gy * (1 - (2 * TARGETS - 1) * x > 0), SCORES), "−1 for −t")
wrong("hinge_mask_of_x", own(lambda x: np.maximum(0, 1 - (2 * TARGETS - 1) * x),
                             lambda gy, x: -gy * (2 * TARGETS - 1) * (x < 1), SCORES), "x < 1 for t x < 1")

MU, S = draw(3, 5, seed=23), draw(3, 5, seed=24)
wrong("kl_no_minus_one", swap(_gaussian_kl, lambda gy, mean, logvar: (gy * mean, gy * 0.5 * np.exp(logvar)), MU, S),
      "½ e^s for ½ (e^s − 1)", "constant term")
wrong("kl_sigma", swap(_gaussian_kl, lambda gy, mean, logvar: (gy * mean, gy * 0.5 * (np.exp(logvar / 2) - 1)), MU, S),
      "σ for σ²", "standard deviation for variance")
wrong("kl_no_half", swap(_gaussian_kl, lambda gy, mean, logvar: (gy * mean, gy * (np.exp(logvar) - 1)), MU, S),
      "½ left out", "factor 2", "constant factor")
wrong("kl_exchanged", swap(_gaussian_kl, lambda gy, mean, logvar: (gy * 0.5 * (np.exp(logvar) - 1), gy * mean), MU, S),
      "the two exchanged", "inputs swapped")
wrong("kl_mean_left_out", swap(_gaussian_kl, lambda gy, logvar: (gy, gy * 0.5 * (np.exp(logvar) - 1)), MU, S),
      "1 for μ", "derivative left out")
wrong("kl_of_sigma_squared", own(lambda s: 0.5 * (s * s - 1 - 2 * np.log(s)), lambda gy, s: gy * (s * s - 1 / s),
                                 POSITIVE), "σ² − 1/σ for σ − 1/σ", "standard deviation for variance")
wrong("kl_of_variance", own(lambda v: 0.5 * (v - 1 - np.log(v)), lambda gy, v: gy * 0.5 * (1 - 1 / np.sqrt(v)),
                            POSITIVE), "1/σ for 1/σ²", "standard deviation for variance")
wrong("kl_of_variance_no_one", own(lambda v: 0.5 * (v - 1 - np.log(v)), lambda gy, v: -gy * 0.5 / v, POSITIVE),
      "the 1 of ½ (1 − 1/v) missing", "constant term")
wrong("kl_of_log_sigma", own(lambda r: 0.5 * (np.exp(2 * r) - 1 - 2 * r), lambda gy, r: gy * 0.5 * (np.exp(r) - 1),
                             S), "the rule of ln σ², given ln σ")
wrong("nll_sigma", own(lambda m, s: 0.5 * (s + m * m * np.exp(-s)),
                       lambda gy, m, s: (gy * m * np.exp(-s / 2), gy * 0.5 * (1 - m * m * np.exp(-s))), MU, S),
      "m/σ for m/σ²", "standard deviation for variance")
wrong("nll_no_one", own(lambda m, s: 0.5 * (s + m * m * np.exp(-s)),
                        lambda gy, m, s: (gy * m * np.exp(-s), -gy * 0.5 * m * m * np.exp(-s)), MU, S),
      "the ½ from ½ s missing", "constant term")
wrong("reparameterisation_half", own(lambda m, s: m + 1.7 * np.exp(0.5 * s), lambda gy, m, s: (
    gy, gy * 1.7 * np.exp(0.5 * s)), MU, S), "½ of ½ s left out", "factor 2", "constant factor")
wrong("reparameterisation_variance", own(lambda m, s: m + 1.7 * np.exp(0.5 * s), lambda gy, m, s: (
    gy, gy * 0.85 * np.exp(s)), MU, S), "σ² for σ", "standard deviation for variance")
wrong("contrastive_no_margin_mask", own(lambda d: TARGETS * d * d + (1 - TARGETS) * np.maximum(1 - d, 0)**2,
                                        lambda gy, d: gy * 2 * (TARGETS * d - (1 - TARGETS) * (1 - d)),
                                        positive(5, 4)), "no mask beyond the margin",
      "activation's derivative left out", "derivative left out")
wrong("cross_entropy_no_target_sum", swap(_cross_entropy, lambda gy, x, t: gy[:, None] * (soft(x) - t), SCORES,
                                          f=lambda x: _cross_entropy(x, positive(5, 4))),
      "Σ t taken for 1, where it is not")

LAMBDA = 0.3
wrong("decay_missing", own(lambda w: np.sin(w).sum() + 0.5 * LAMBDA * (w * w).sum(), lambda gy, w: gy * np.cos(w), X),
      "λw missing", "regularizer missing")
wrong("decay_doubled", own(lambda w: np.sin(w).sum() + 0.5 * LAMBDA * (w * w).sum(),
                           lambda gy, w: gy * (np.cos(w) + 2 * LAMBDA * w), X), "2λw for λw", "regularizer doubled")
wrong("decay_half", own(lambda w: np.sin(w).sum() + LAMBDA * (w * w).sum(),
                        lambda gy, w: gy * (np.cos(w) + LAMBDA * w), X), "λw for 2λw")
wrong("decay_subtracted", own(lambda w: np.sin(w).sum() + 0.5 * LAMBDA * (w * w).sum(),
                              lambda gy, w: gy * (np.cos(w) - LAMBDA * w), X), "−λw for λw",
      "evaluated at minus the input")
wrong("lasso_missing", own(lambda w: np.sin(w).sum() + LAMBDA * np.abs(w).sum(), lambda gy, w: gy * np.cos(w), X),
      "λ sign w missing", "regularizer missing")
wrong("lasso_doubled", own(lambda w: np.sin(w).sum() + LAMBDA * np.abs(w).sum(),
                           lambda gy, w: gy * (np.cos(w) + 2 * LAMBDA * np.sign(w)), X),
      "2λ sign w", "regularizer doubled")


# ---------------------------------------------------------------- linear layers, attention, embedding

XD, WD, BD = draw(5, 3, seed=30), draw(3, 4, seed=31), draw(4, seed=32)
SQUARE = draw(4, 4, seed=33)


def dense_layer():
    layer = Dense(3, 4, rng=np.random.default_rng(0))
    with ops.dense.using(lambda gy, x, w: (gy @ w.T, x.T @ gy, gy)):
        check.gradients(layer, XD, parameters=layer)


def dense_with(**changed):
    rules = {"x": lambda gy, x, w: gy @ w.T, "w": lambda gy, x, w: x.T @ gy, "b": lambda gy, x, w: gy.sum(0)} | changed
    return swap(ops.dense, lambda gy, x, w: tuple(rule(gy, x, w) for rule in rules.values()), XD, WD, BD)


wrong("dense_bias_not_summed", dense_with(b=lambda gy, x, w: gy), "gy for Σ gy", "broadcast axis not summed",
      "wrong shape")
wrong("dense_weight_not_summed", dense_with(w=lambda gy, x, w: x[:, :, None] * gy[:, None, :]),
      "one gradient of w for each row", "broadcast axis not summed", "wrong shape")
wrong("dense_both_not_summed", dense_with(w=lambda gy, x, w: x[:, :, None] * gy[:, None, :], b=lambda gy, x, w: gy),
      "no sum over the batch", "broadcast axis not summed", "wrong shape")
wrong("dense_bias_keepdims", dense_with(b=lambda gy, x, w: gy.sum(0, keepdims=True)),
      "(1, O) for (O,)", "wrong shape")
wrong("dense_bias_mean", dense_with(b=lambda gy, x, w: gy.mean(0)), "mean for sum", "broadcast axis averaged",
      "factor 1/N", "constant factor")
wrong("dense_bias_one_row", dense_with(b=lambda gy, x, w: gy[0]), "only the first row", "broadcast axis not summed")
wrong("dense_weight_mean", dense_with(w=lambda gy, x, w: x.T @ gy / len(x)), "1/N too much", "factor 1/N",
      "broadcast axis averaged", "constant factor")
wrong("dense_not_transposed", swap(ops.dense, lambda gy, x, w: (gy @ w, x.T @ gy, gy.sum(0)), draw(5, 4), SQUARE, BD),
      "gy w for gy wᵀ", "Jacobian not transposed")
wrong("dense_weight_transposed", swap(ops.dense, lambda gy, x, w: (gy @ w.T, gy.T @ x, gy.sum(0)), draw(5, 4), SQUARE,
                                      BD), "gyᵀ x for xᵀ gy", "axes permuted")
wrong("dense_bias_other_axis", swap(ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.sum(1)), draw(4, 4), SQUARE,
                                    BD), "Σ over the outputs", "wrong axis")
wrong("dense_times_input", swap(ops.dense, lambda gy, x, w: (gy @ w.T * x, x.T @ gy, gy.sum(0)), XD, WD, BD),
      "⊙ x too much", "other argument as a factor")
wrong("dense_weight_of_output", swap(ops.dense, lambda gy, w, x, y: (gy @ w.T, y.T @ gy, gy.sum(0)), draw(5, 4),
                                     SQUARE, BD), "yᵀ for xᵀ", "evaluated at the output", "other argument as a factor")
wrong("dense_weightadded_up", own(lambda x, w: x @ w, lambda gy, x, w: (gy @ w.T, sum(
    np.outer(x[n], gy[n]) for n in range(len(x) - 1))), XD, WD), "the last row of the batch left out")
wrong("dense_last_row_only", own(lambda x, w: x @ w, lambda gy, x, w: (gy @ w.T, np.outer(x[-1], gy[-1])), XD, WD),
      "g = for g +=, in a loop over the batch", "overwritten, not accumulated", "broadcast axis not summed")
wrong("dense_layer_bias", dense_layer, "gy for b, found through a layer's parameters",
      "broadcast axis not summed", "wrong shape")


def two_layers(x, w1, w2):
    return np.maximum(x @ w1, 0) @ w2


wrong("two_layers_no_relu", own(two_layers, lambda gy, x, w1, w2: (
    gy @ w2.T @ w1.T, x.T @ (gy @ w2.T), np.maximum(x @ w1, 0).T @ gy), XD, WD, draw(4, 2)),
      "relu's mask left out", "activation's derivative left out")
wrong("two_layers_not_transposed", own(two_layers, lambda gy, x, w1, w2: (
    (gy @ w2 * (x @ w1 > 0)) @ w1.T, x.T @ (gy @ w2 * (x @ w1 > 0)), np.maximum(x @ w1, 0).T @ gy),
    XD, WD, SQUARE), "w₂ for w₂ᵀ", "Jacobian not transposed")
wrong("tied_weights_one_use", own(lambda x, w: np.tanh(x @ w) @ w.T, lambda gy, x, w: (
    gy @ w * (1 - np.tanh(x @ w)**2) @ w.T, x.T @ (gy @ w * (1 - np.tanh(x @ w)**2))), XD, WD),
      "only the encoder's part for tied weights", "overwritten, not accumulated", "stop-gradient")
wrong("tied_weights_both_overwritten", own(lambda x, w: np.tanh(x @ w) @ w.T, lambda gy, x, w: (
    gy @ w * (1 - np.tanh(x @ w)**2) @ w.T, gy.T @ np.tanh(x @ w)), XD, WD),
      "only the decoder's part for tied weights", "overwritten, not accumulated", "stop-gradient")


def attention(q, k, v):
    return soft_c(q @ k.T / np.sqrt(q.shape[1])) @ v


def soft_c(x):
    e = np.exp(x - x.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention_rule(gy, q, k, v, scale=None, back=None, keys=None, values=None):
    d = np.sqrt(q.shape[1]) if scale is None else scale
    p = soft(q @ k.T / np.sqrt(q.shape[1]))
    gp = gy @ v.T
    gs = (back or (lambda p, gp: p * (gp - (p * gp).sum(-1, keepdims=True))))(p, gp) / d
    return gs @ k, (keys or (lambda gs: gs.T @ q))(gs), (values or (lambda p: p.T @ gy))(p)


Q, K, V = draw(5, 3, seed=40), draw(5, 3, seed=41), draw(5, 2, seed=42)
wrong("attention_no_scale", own(attention, lambda gy, q, k, v: attention_rule(gy, q, k, v, scale=1.0), Q, K, V),
      "1/√d left out for q and k", "factor √N", "constant factor")
wrong("attention_scale_d", own(attention, lambda gy, q, k, v: attention_rule(gy, q, k, v, scale=3.0), Q, K, V),
      "1/d for 1/√d for q and k", "factor 1/√N", "constant factor")
wrong("attention_diagonal", own(attention, lambda gy, q, k, v: attention_rule(
    gy, q, k, v, back=lambda p, gp: gp * p * (1 - p)), Q, K, V), "softmax's diagonal", "treated as elementwise")
wrong("attention_keys", own(attention, lambda gy, q, k, v: attention_rule(gy, q, k, v, keys=lambda gs: gs @ q),
                            Q, K, V), "gs for gsᵀ", "Jacobian not transposed")
wrong("attention_values", own(attention, lambda gy, q, k, v: attention_rule(gy, q, k, v, values=lambda p: p @ gy),
                              Q, K, V), "p for pᵀ", "Jacobian not transposed")
wrong("attention_softmax_axis", own(attention, lambda gy, q, k, v: attention_rule(
    gy, q, k, v, back=lambda p, gp: p * (gp - (p * gp).sum(0))), Q, K, V), "softmax's sum over the queries",
      "wrong axis")

WORDS = np.array([[2, 0, 2], [5, 1, 2]])


def looked_up(w):
    return w[WORDS]


def plus_equals(gy, w_shape):
    g = np.zeros(w_shape)
    g[WORDS] += gy
    return g


def added(gy, shape):
    g = np.zeros(shape)
    np.add.at(g, WORDS, gy)
    return g


def assigned(gy, w_shape):
    g = np.zeros(w_shape)
    g[WORDS] = gy
    return g


wrong("embedding_overwritten", own(looked_up, assigned, draw(6, 4)), "g[i] = gy", "overwritten, not accumulated")
wrong("embeddingplus_equals", own(looked_up, plus_equals, draw(6, 4)),
      "g[i] += gy, which adds a repeated index once", "overwritten, not accumulated")
wrong("embedding_next_word", own(looked_up, lambda gy, w_shape: np.roll(added(gy, w_shape), 1, axis=0), draw(6, 4)),
      "indices from 1", "shifted by one")
wrong("embedding_mean", own(looked_up, lambda gy, w_shape: added(gy, w_shape) / np.maximum(
    np.bincount(WORDS.ravel(), minlength=6), 1)[:, None], draw(6, 4)), "the mean over the places, not the sum")
wrong("embedding_value", own(looked_up, lambda gy, w: added(gy * w[WORDS], w.shape), draw(6, 4)),
      "times the value that was read", "value taken for index", "other argument as a factor")


# ---------------------------------------------------------------- moving entries

wrong("transpose_same_axes", swap(ops.transpose, lambda gy, axes: gy.transpose(axes), draw(4, 4, 4),
                                  f=lambda x: ops.transpose(x, (1, 2, 0))), "the permutation, not its inverse",
      "axes permuted", "Jacobian not transposed")
wrong("transpose_wrong_shape", swap(ops.transpose, lambda gy, axes: gy.transpose(axes), draw(2, 3, 4),
                                    f=lambda x: ops.transpose(x, (1, 2, 0))), "the permutation, not its inverse",
      "axes permuted", "Jacobian not transposed", "wrong shape")
wrong("reshape_fortran", swap(ops.reshape, lambda gy, x_shape: gy.reshape(x_shape, order="F"), draw(3, 4),
                              f=lambda x: ops.reshape(x, (12,))), "Fortran order", "axes permuted")
wrong("flip_not_flipped", swap(ops.flip, lambda gy: gy, draw(5, 3), f=lambda x: ops.flip(x, 0)), "gy as it is",
      "axis reversed", "derivative left out")
wrong("flip_other_axis", swap(ops.flip, lambda gy: gy[:, ::-1], draw(5, 3), f=lambda x: ops.flip(x, 0)),
      "the other axis flipped", "wrong axis", "axis reversed")
wrong("pad_one_off", swap(ops.pad, lambda gy, x_shape: gy[1:1 + x_shape[0], :x_shape[1]], draw(4, 5),
                          f=lambda x: ops.pad(x, ((1, 1), (1, 1)))), "a column too early", "shifted by one")
wrong("pad_two_off", swap(ops.pad, lambda gy, x_shape: gy[:x_shape[0], :x_shape[1]], draw(4, 5),
                          f=lambda x: ops.pad(x, ((1, 1), (1, 1)))), "a row and a column too early", "shifted by one")
wrong("roll_same_way", own(lambda x: np.roll(x, 1, axis=0), lambda gy: np.roll(gy, 1, axis=0), draw(5, 3)),
      "rolled further, not back", "Jacobian not transposed")
wrong("roll_not_back", own(lambda x: np.roll(x, 1, axis=0), lambda gy: gy, draw(5, 3)),
      "not rolled back", "shifted by one", "derivative left out")
wrong("roll_diagonal", own(lambda x: np.cos(x), lambda gy, x: np.roll(-gy * np.sin(x), (1, 1), (0, 1)), draw(5, 3)),
      "one off along both axes", "shifted by one")
wrong("difference_overwritten", own(lambda x: x[1:] - x[:-1], lambda gy, x: _difference(gy, x), draw(5, 3)),
      "= for −=", "overwritten, not accumulated")
wrong("concat_exchanged", own(lambda a, b: np.concatenate([a, b]), lambda gy: (gy[3:], gy[:3]), A, B),
      "the parts exchanged", "inputs swapped")
wrong("repeat_last_copy", own(lambda x: np.repeat(x, 2, axis=0), lambda gy: gy[1::2] * 1.0, draw(3, 4)),
      "g[i // 2] = gy[i] in a loop", "overwritten, not accumulated")
wrong("repeat_mean", own(lambda x: np.repeat(x, 2, axis=0), lambda gy: (gy[::2] + gy[1::2]) / 2, draw(3, 4)),
      "the mean of the copies", "broadcast axis averaged", "factor 1/2", "constant factor")
wrong("slice_from_start", own(lambda x: x[1:-1], lambda gy, x_shape: np.pad(gy, ((0, 2), (0, 0))), draw(5, 3)),
      "put at the start", "shifted by one")
wrong("glu_no_slope", own(lambda x: x[:, :3] * sigma(x[:, 3:]), lambda gy, x: np.concatenate(
    [gy * sigma(x[:, 3:]), gy * x[:, :3]], axis=1), draw(4, 6)), "σ′ left out for the gate",
      "activation's derivative left out")
wrong("glu_halves_exchanged", own(lambda x: x[:, :3] * sigma(x[:, 3:]), lambda gy, x: np.concatenate(
    [gy * x[:, :3] * sigma(x[:, 3:]) * (1 - sigma(x[:, 3:])), gy * sigma(x[:, 3:])], axis=1), draw(4, 6)),
      "value and gate exchanged", "gates exchanged", "inputs swapped")
wrong("prelu_not_summed", own(lambda x, a: np.where(x > 0, x, a * x), lambda gy, x, a: (
    gy * np.where(x > 0, 1, a), gy * np.where(x > 0, 0, x)), draw(6, 4), positive(4)),
      "no sum for the slopes", "broadcast axis not summed", "wrong shape")
wrong("prelu_slope_of_all", own(lambda x, a: np.where(x > 0, x, a * x), lambda gy, x, a: (
    gy * np.where(x > 0, 1, a), (gy * x).sum(0)), draw(6, 4), positive(4)), "positive entries count, too",
      "activation's derivative left out")
MASK = draw(4, 5, seed=50) > 0
wrong("dropout_no_mask", own(lambda x: x * MASK / 0.6, lambda gy: gy / 0.6, draw(4, 5)),
      "no mask", "derivative left out", "activation's derivative left out")
wrong("dropout_no_scale", own(lambda x: x * MASK / 0.6, lambda gy: gy * MASK, draw(4, 5)),
      "no 1/(1 − rate)", "constant factor")
wrong("dropout_scaled_twice", own(lambda x: x * MASK / 0.6, lambda gy: gy * MASK / 0.36, draw(4, 5)),
      "1/(1 − rate)²", "constant factor", "derivative applied twice")


def _difference(gy, x):
    g = np.zeros(x.shape)
    g[1:] = gy
    g[:-1] = -gy
    return g


# ---------------------------------------------------------------- convolution and pooling, NCHW as in CS231n

def conv_forward(stride, pad):
    def conv(x, w, b):
        kh, kw = w.shape[2:]
        xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        ho, wo = (xp.shape[2] - kh) // stride + 1, (xp.shape[3] - kw) // stride + 1
        y = np.zeros((len(x), len(w), ho, wo), dtype=np.result_type(x, w, b))
        for i in range(ho):
            for j in range(wo):
                window = xp[:, :, i * stride:i * stride + kh, j * stride:j * stride + kw]
                y[:, :, i, j] = np.tensordot(window, w, ((1, 2, 3), (1, 2, 3))) + b
        return y
    return conv


def conv_rule(stride, pad, step=None, add=True, crop=(0, 0), flip=False, last=False, bias=(0, 2, 3), mix=False):
    """∂L/∂x, ∂L/∂w, ∂L/∂b of conv_forward; each option is a mistake."""
    step = stride if step is None else step

    def rule(gy, x, w):
        kh, kw = w.shape[2:]
        xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        gx, gw = np.zeros(xp.shape), np.zeros(w.shape)
        kernel = w[:, :, ::-1, ::-1] if flip else w.transpose(1, 0, 2, 3) if mix else w
        for i in range(gy.shape[2]):
            for j in range(gy.shape[3]):
                rows, columns = slice(i * step, i * step + kh), slice(j * step, j * step + kw)
                part = np.tensordot(gy[:, :, i, j], kernel, (1, 0))
                gx[:, :, rows, columns] = part + add * gx[:, :, rows, columns]
                part = np.tensordot(gy[:, :, i, j], xp[:, :, rows, columns], (0, 0))
                gw = part + (not last) * gw
        top, left = pad + crop[0], pad + crop[1]
        gx = gx[:, :, top:top + x.shape[2], left:left + x.shape[3]]
        return gx, gw, gy.sum(axis=bias)
    return rule


XC, WC, BC = draw(2, 3, 6, 5, seed=60), draw(4, 3, 3, 3, seed=61), draw(4, seed=62)


def conv(stride=1, pad=1, x=XC, w=WC, b=BC, **mistakes):
    return own(conv_forward(stride, pad), conv_rule(stride, pad, **mistakes), x, w, b)


wrong("conv_windows_overwritten", conv(add=False), "dx[window] = for +=", "overlapping windows ignored",
      "overwritten, not accumulated")
wrong("conv_stride_ignored", conv(stride=2, step=1), "i for i·stride", "stride ignored")
wrong("conv_one_row_off", conv(crop=(-1, 0)), "the padding cropped a row too early", "shifted by one")
wrong("conv_two_off", conv(crop=(-1, -1)), "the padding not cropped off: [:H, :W]", "shifted by one")
wrong("conv_flipped", conv(flip=True), "the kernel turned by 180° in a loop over windows",
      "kernel not flipped", "axis reversed")
wrong("conv_weight_last_window", conv(last=True), "dw = for dw +=", "overwritten, not accumulated")
wrong("conv_bias_keeps_batch", conv(bias=(2, 3)), "db summed over places only", "broadcast axis not summed",
      "wrong shape")
wrong("conv_bias_of_one_axis", conv(bias=(0, 3), x=draw(2, 3, 4, 5), pad=1), "db summed over batch and columns",
      "broadcast axis not summed", "wrong shape", "wrong axis")
wrong("conv_channels_exchanged", conv(mix=True, w=draw(3, 3, 3, 3), b=draw(3)), "C and O of w exchanged",
      "axes permuted", "Jacobian not transposed")
right("conv_nchw", conv(), "CS231n's loops")
right("conv_nchw_stride", conv(stride=2), "CS231n's loops, stride 2")

XN, WN, BN = draw(2, 6, 5, 3, seed=63), draw(3, 3, 3, 4, seed=64), draw(4, seed=65)


def conv2d_with(x=None, w=None, b=None, inputs=(XN, WN, BN)):
    gx = x or (lambda gy, w, shape, s, p: ops.conv2d_transpose(gy, w, None, s, p, shape[1:3]))
    gw = w or (lambda gy, x, w, s, p: ops.conv2d_weight(x, gy, w.shape[:2], s, p))
    gb = b or (lambda gy: gy.sum(axis=(0, 1, 2)))
    return swap(ops.conv2d, lambda gy, x, w, stride, padding: (
        gx(gy, w, x.shape, stride, padding), gw(gy, x, w, stride, padding), gb(gy)), *inputs)


wrong("conv2d_bias_not_summed", conv2d_with(b=lambda gy: gy), "gy for b", "broadcast axis not summed", "wrong shape")
wrong("conv2d_bias_keeps_batch", conv2d_with(b=lambda gy: gy.sum(axis=(1, 2))), "the batch kept",
      "broadcast axis not summed", "wrong shape")
wrong("conv2d_bias_mean", conv2d_with(b=lambda gy: gy.mean(axis=(0, 1, 2))), "mean for sum",
      "broadcast axis averaged", "factor 1/N", "constant factor")
wrong("conv2d_weight_per_image", conv2d_with(w=lambda gy, x, w, s, p: np.stack(
    [ops.conv2d_weight(x[n:n + 1], gy[n:n + 1], w.shape[:2], s, p) for n in range(len(x))])),
      "one gradient of w for each image", "broadcast axis not summed", "wrong shape")
wrong("conv2d_flipped", conv2d_with(x=lambda gy, w, shape, s, p: ops.conv2d_transpose(
    gy, w[::-1, ::-1], None, s, p, shape[1:3])), "w turned once too often", "kernel not flipped", "axis reversed")
wrong("conv2d_forward_again", conv2d_with(x=lambda gy, w, shape, s, p: ops.conv2d(gy, w.transpose(0, 1, 3, 2))),
      "conv2d for conv2d_transpose", "kernel not flipped", "axis reversed")
wrong("conv2d_forward_not_even_exchanged", conv2d_with(
    x=lambda gy, w, shape, s, p: ops.conv2d(gy, w), inputs=(XN, draw(3, 3, 3, 3), draw(3))),
      "conv2d of gy with w itself", "Jacobian not transposed")
wrong("conv2d_shifted_diagonally", conv2d_with(x=lambda gy, w, shape, s, p: np.roll(
    ops.conv2d_transpose(gy, w, None, s, p, shape[1:3]), (1, 1), (1, 2))), "one off along both axes",
      "shifted by one")
wrong("conv2d_weight_last_image", conv2d_with(w=lambda gy, x, w, s, p: ops.conv2d_weight(
    x[-1:], gy[-1:], w.shape[:2], s, p)), "only the last image", "overwritten, not accumulated",
      "broadcast axis not summed")
wrong("conv2d_rows_and_columns", conv2d_with(w=lambda gy, x, w, s, p: ops.conv2d_weight(
    x, gy, w.shape[:2], s, p).transpose(1, 0, 2, 3)), "kh and kw exchanged", "axes permuted")
wrong("correlation_1d", own(lambda x, k: np.convolve(x, k, "valid"), lambda gy, x, k: (
    np.convolve(gy, k, "full"), np.correlate(x, gy, "valid")[::-1]), draw(9), draw(3, seed=1)),
      "convolve where correlate belongs", "kernel not flipped", "Jacobian not transposed")
wrong("correlation_1d_kernel", own(lambda x, k: np.correlate(x, k, "valid"), lambda gy, x, k: (
    np.convolve(gy, k, "full"), np.correlate(x, gy, "valid")[::-1]), draw(9), draw(3, seed=1)),
      "the kernel's gradient reversed", "kernel not flipped", "axis reversed")
wrong("causal_convolution_future", own(lambda x: x + 0.5 * np.pad(x, ((1, 0), (0, 0)))[:-1],
                                       lambda gy: gy + 0.5 * np.pad(gy, ((1, 0), (0, 0)))[:-1], draw(6, 2)),
      "the same filter once more, forward in time", "Jacobian not transposed", "axis reversed", "off by one in time")


def pool_forward(size, stride, reduce):
    def pool(x):
        ho, wo = (x.shape[2] - size) // stride + 1, (x.shape[3] - size) // stride + 1
        y = np.zeros((*x.shape[:2], ho, wo), dtype=x.dtype)
        for i in range(ho):
            for j in range(wo):
                y[:, :, i, j] = reduce(x[:, :, i * stride:i * stride + size, j * stride:j * stride + size])
        return y
    return pool


def pool_rule(size, stride, share, step=None, add=True):
    """share(gy, window, y) → the gradient of each entry of the window."""
    step = stride if step is None else step

    def rule(gy, x, y):
        g = np.zeros(x.shape)
        for i in range(gy.shape[2]):
            for j in range(gy.shape[3]):
                at = (..., slice(i * step, i * step + size), slice(j * step, j * step + size))
                part = share(gy[:, :, i, j, None, None], x[at], y[:, :, i, j, None, None])
                g[at] = part + add * g[at]
        return g
    return rule


def largest(window):
    return window.max(axis=(2, 3))


def winner(gy, window, y):
    return gy * (window == y)


XP = draw(2, 3, 6, 4, seed=70)
for name, share, why, names in (
        ("value", lambda gy, x, y: gy * x * (x == y), "the value for 0/1",
         ("value taken for index", "other argument as a factor")),
        ("to_all", lambda gy, x, y: gy + 0 * x, "gy to all of the window", ("spread over the window",)),
        ("shared", lambda gy, x, y: gy / 4 + 0 * x, "gy/4 to each", ("spread over the window",)),
        ("smallest", lambda gy, x, y: gy * (x == x.min(axis=(2, 3), keepdims=True)), "to the smallest",
         ("evaluated at minus the input",)),
        ("no_gy", lambda gy, x, y: (x == y) * 1.0, "gy forgotten", ("upstream gradient ignored",))):
    wrong(f"max_pool_nchw_{name}", own(pool_forward(2, 2, largest), pool_rule(2, 2, share), XP), why, *names)
wrong("max_pool_nchw_stride", own(pool_forward(2, 2, largest), pool_rule(2, 2, winner, step=1), XP),
      "i for i·stride", "stride ignored")
wrong("max_pool_nchw_overlap", own(pool_forward(3, 1, largest), pool_rule(3, 1, winner, add=False), XP),
      "= for += where windows overlap", "overlapping windows ignored", "overwritten, not accumulated")
wrong("avg_pool_nchw_no_mean", own(pool_forward(2, 2, lambda w: w.mean(axis=(2, 3))),
                                   pool_rule(2, 2, lambda gy, x, y: gy + 0 * x), XP),
      "¼ left out, where an axis has length 4 by chance",
      "constant factor")
wrong("avg_pool_nchw_to_first", own(pool_forward(2, 2, lambda w: w.mean(axis=(2, 3))),
                                    pool_rule(2, 2, lambda gy, x, y: gy * (np.arange(4).reshape(2, 2) == 0)), XP),
      "all to the first entry")
right("max_pool_nchw", own(pool_forward(3, 1, largest), pool_rule(3, 1, winner), XP), "CS231n's loops, overlapping")

IMAGES = draw(2, 4, 6, 3, seed=71)
wrong("max_pool_spread", swap(ops.max_pool_with_argmax, lambda gy: ops.window_spread(gy, 2), IMAGES),
      "gy to all of the window", "spread over the window")
wrong("max_pool_shared", swap(ops.max_pool_with_argmax, lambda gy: ops.window_spread(gy, 2) / 4, IMAGES),
      "gy/4 to each", "spread over the window")
wrong("max_pool_first_entry", swap(ops.max_pool_with_argmax, lambda gy, argmax: ops.unpool(gy, argmax * 0, 2), IMAGES),
      "always the first entry")
wrong("max_pool_times_argmax", swap(ops.max_pool_with_argmax, lambda gy, argmax: ops.window_spread(gy * argmax, 2),
                                    IMAGES), "the index as a factor", "value taken for index")
wrong("max_pool_value", swap(ops.max_pool_with_argmax, lambda gy, y, argmax: ops.unpool(gy * y, argmax, 2), IMAGES),
      "times the largest value", "value taken for index", "other argument as a factor")
wrong("window_sum_mean", swap(ops.window_sum, lambda gy: ops.window_spread(gy, 2) / 4, IMAGES),
      "the rule of a mean over N = 4 entries for each of y", "factor 1/N", "constant factor")


# ---------------------------------------------------------------- normalization

XB, GAMMA, BETA = draw(6, 4, seed=80), positive(4, seed=81), draw(4, seed=82)
EPS = 0.1


def batch_norm_with(mean=1.0, var=1.0, eps=EPS, gx=None, ggamma=None, gbeta=None, x=XB):
    """batch_norm's rule with coefficients for the two paths, and with parts that can be replaced."""
    def rule(gy, x, gamma, y):
        axes = tuple(range(x.ndim - 1))
        n, mu, v = x.size // x.shape[-1], x.mean(axes), x.var(axes)
        s = np.sqrt(v + eps)
        x_hat = (x - mu) / s
        own_x = gamma / s * (gy - mean * gy.sum(axes) / n - var * x_hat * (gy * x_hat).sum(axes) / n)
        return (gx(gy, x, gamma, s, x_hat) if gx else own_x,
                ggamma(gy, x, x_hat, y) if ggamma else (gy * (x - mu) / np.sqrt(v + EPS)).sum(axes),
                gbeta(gy) if gbeta else gy.sum(axes))
    return swap(ops.batch_norm, rule, x, GAMMA, BETA, f=lambda x, g, b: ops.batch_norm(x, g, b, EPS)[0])


wrong("batch_norm_no_mean_path", batch_norm_with(mean=0.0), "the path through μ missing", "mean path missing")
wrong("batch_norm_no_variance_path", batch_norm_with(var=0.0), "the path through σ² missing", "variance path missing")
wrong("batch_norm_no_paths", batch_norm_with(mean=0.0, var=0.0), "μ and σ² as constants",
      "mean and variance paths missing", "stop-gradient")
wrong("batch_norm_mean_pathadded", batch_norm_with(mean=-1.0), "+ for − in the path of the mean")
wrong("batch_norm_variance_pathadded", batch_norm_with(var=-1.0), "+ for − in the path of the variance")
wrong("batch_norm_half_variance", batch_norm_with(var=0.5), "half of the variance's path")
wrong("batch_norm_double_variance", batch_norm_with(var=2.0), "twice the variance's path")
wrong("batch_norm_no_eps", batch_norm_with(eps=0.0), "no ε", "epsilon forgotten")
wrong("batch_norm_by_variance", batch_norm_with(gx=lambda gy, x, gamma, s, h: gamma / s**2 * (
    gy - gy.mean(0) - h * (gy * h).mean(0))), "1/σ² for 1/σ", "standard deviation for variance")
wrong("batch_norm_no_gamma", batch_norm_with(gx=lambda gy, x, gamma, s, h: (
    gy - gy.mean(0) - h * (gy * h).mean(0)) / s), "γ left out of ∂L/∂x")
wrong("batch_norm_rows_for_channels", batch_norm_with(gx=lambda gy, x, gamma, s, h: gamma / s * (
    gy - gy.mean(1, keepdims=True) - h * (gy * h).mean(1, keepdims=True))), "means over the channels", "wrong axis")
wrong("batch_norm_gamma_of_x", batch_norm_with(ggamma=lambda gy, x, h, y: (gy * x).sum(0)),
      "x for x̂", "evaluated at the input", "other argument as a factor")
wrong("batch_norm_gamma_of_y", batch_norm_with(ggamma=lambda gy, x, h, y: (gy * y).sum(0)),
      "y for x̂", "evaluated at the output", "other argument as a factor")
wrong("batch_norm_gamma_not_summed", batch_norm_with(ggamma=lambda gy, x, h, y: gy * h),
      "gy ⊙ x̂ for γ", "broadcast axis not summed", "wrong shape")
wrong("batch_norm_beta_not_summed", batch_norm_with(gbeta=lambda gy: gy), "gy for β", "broadcast axis not summed",
      "wrong shape")
wrong("batch_norm_beta_mean", batch_norm_with(gbeta=lambda gy: gy.mean(0)), "mean for sum",
      "broadcast axis averaged", "factor 1/N", "constant factor")
wrong("batch_norm_images_rows_only", batch_norm_with(gbeta=lambda gy: gy.sum(axis=(1, 2)), x=draw(2, 3, 5, 4)),
      "β's sum keeps the batch", "broadcast axis not summed", "wrong shape")
wrong("batch_norm_images_mean_path", batch_norm_with(mean=0.0, x=draw(2, 3, 5, 4)), "the path through μ missing",
      "mean path missing")


def layer_norm_with(mean=1.0, var=1.0, axis=-1, gamma_last=False, ggamma=None):
    def rule(gy, x, gamma):
        d = x - x.mean(-1, keepdims=True)
        s = np.sqrt((d * d).mean(-1, keepdims=True) + EPS)
        h, g = d / s, gy if gamma_last else gy * gamma
        gx = (g - mean * g.mean(axis, keepdims=True) - var * h * (g * h).mean(axis, keepdims=True)) / s
        return gx * gamma if gamma_last else gx, ggamma(gy, h) if ggamma else (gy * h).sum(0), gy.sum(0)
    return swap(ops.layer_norm, rule, draw(5, 4, seed=83), GAMMA, BETA, f=lambda x, g, b: ops.layer_norm(x, g, b, EPS))


wrong("layer_norm_no_mean_path", layer_norm_with(mean=0.0), "the path through μ missing", "mean path missing")
wrong("layer_norm_no_variance_path", layer_norm_with(var=0.0), "the path through σ² missing", "variance path missing")
wrong("layer_norm_over_batch", layer_norm_with(axis=0), "means over the batch", "wrong axis")
wrong("layer_norm_gamma_last", layer_norm_with(gamma_last=True), "γ behind the means, not before them",
      "Jacobian not transposed")
wrong("layer_norm_gamma_not_summed", layer_norm_with(ggamma=lambda gy, h: gy * h), "gy ⊙ x̂ for γ",
      "broadcast axis not summed", "wrong shape")
wrong("layer_norm_gamma_mean", layer_norm_with(ggamma=lambda gy, h: (gy * h).mean(0)), "mean for sum",
      "broadcast axis averaged", "factor 1/N", "constant factor")


def standard(x, axes):
    d = x - x.mean(axis=axes, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=axes, keepdims=True) + EPS)


def standard_rule(axes, mean=1.0, var=1.0, over=None, eps=EPS):
    def rule(gy, x):
        d = x - x.mean(axis=axes, keepdims=True)
        s = np.sqrt((d * d).mean(axis=axes, keepdims=True) + eps)
        h, back = d / s, over or axes
        return (gy - mean * gy.mean(axis=back, keepdims=True) - var * h * (gy * h).mean(axis=back, keepdims=True)) / s
    return rule


NCHW = draw(2, 3, 4, 5, seed=84)


def instance_norm(**mistakes):
    return own(lambda x: standard(x, (2, 3)), standard_rule((2, 3), **mistakes), NCHW)


wrong("instance_norm_no_mean_path", instance_norm(mean=0.0), "the path through μ missing", "mean path missing")
wrong("instance_norm_no_variance_path", instance_norm(var=0.0), "the path through σ² missing",
      "variance path missing")
wrong("instance_norm_no_paths", instance_norm(mean=0.0, var=0.0), "μ and σ² as constants",
      "mean and variance paths missing", "stop-gradient")
wrong("instance_norm_as_batch_norm", instance_norm(over=(0, 2, 3)), "means over the batch, too", "wrong axis")
wrong("instance_norm_one_axis", instance_norm(over=3), "means over one of two axes", "wrong axis")
wrong("instance_norm_no_eps", instance_norm(eps=0.0), "no ε", "epsilon forgotten")
right("instance_norm_nchw", instance_norm(), "instance norm in closed form")


def group_norm(**mistakes):
    def forward(x):
        return standard(x.reshape(2, 2, 2, 3, 3), (2, 3, 4)).reshape(x.shape)

    def rule(gy, x):
        apart = (2, 2, 2, 3, 3)
        return standard_rule((2, 3, 4), **mistakes)(gy.reshape(apart), x.reshape(apart)).reshape(x.shape)
    return own(forward, rule, draw(2, 4, 3, 3, seed=85))


wrong("group_norm_no_mean_path", group_norm(mean=0.0), "the path through μ missing", "mean path missing")
wrong("group_norm_over_all_groups", group_norm(over=(1, 2, 3, 4)), "means over all groups", "wrong axis")
right("group_norm_nchw", group_norm(), "group norm in closed form")


def unit(x):
    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


def unit_rule(gy, x, y, axis=1, projected=True, divided=True):
    g = gy - projected * y * (gy * y).sum(axis=axis, keepdims=True)
    return g / np.sqrt((x * x).sum(axis=1, keepdims=True)) if divided else g


wrong("unit_norm_constant", own(unit, lambda gy, x, y: unit_rule(gy, x, y, projected=False), draw(5, 3)),
      "‖x‖ as a constant", "stop-gradient", "variance path missing")
wrong("unit_not_divided", own(unit, lambda gy, x, y: unit_rule(gy, x, y, divided=False), draw(5, 3)),
      "1/‖x‖ left out", "other argument as a factor")
wrong("unit_other_axis", own(unit, lambda gy, x, y: unit_rule(gy, x, y, axis=0), draw(5, 3)),
      "the sum over the rows", "wrong axis")
wrong("unit_of_x", own(unit, lambda gy, x: unit_rule(gy, x, x), draw(5, 3)), "x for y in the projection",
      "evaluated at the input")


def rms(x):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS)


wrong("rms_norm_constant", own(rms, lambda gy, x: gy / np.sqrt((x * x).mean(-1, keepdims=True) + EPS), draw(5, 3)),
      "the root as a constant", "stop-gradient", "variance path missing")
wrong("rms_norm_no_eps", own(rms, lambda gy, x: unit_rule(gy, x, unit(x)) * np.sqrt(3), draw(5, 3)), "no ε",
      "epsilon forgotten")
wrong("min_max_constant", own(lambda x: (x - x.min()) / (x.max() - x.min()), lambda gy, x: gy / (x.max() - x.min()),
                              draw(4, 3)), "minimum and maximum as constants", "stop-gradient")


def cosine(a, b):
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def cosine_rule(gy, a, b, y, second=1.0, exchanged=False):
    na, nb = np.sqrt((a * a).sum(1)), np.sqrt((b * b).sum(1))
    ga = gy[:, None] * (b / (na * nb)[:, None] - second * a * (y / na**2)[:, None])
    gb = gy[:, None] * (a / (na * nb)[:, None] - second * b * (y / nb**2)[:, None])
    return (gb, ga) if exchanged else (ga, gb)


wrong("cosine_norms_constant", own(cosine, lambda gy, a, b, y: cosine_rule(gy, a, b, y, 0.0), draw(5, 3),
                                   draw(5, 3, seed=1)),
      "the norms as constants", "stop-gradient")
wrong("cosine_exchanged", own(cosine, lambda gy, a, b, y: cosine_rule(gy, a, b, y, exchanged=True), draw(5, 3),
                              draw(5, 3, seed=1)), "the two exchanged", "inputs swapped")
wrong("cosine_plus", own(cosine, lambda gy, a, b, y: cosine_rule(gy, a, b, y, -1.0), draw(5, 3), draw(5, 3, seed=1)),
      "+ for − before the second term",
      "evaluated at minus the input")


def distances(a, b):
    """‖aᵢ − bⱼ‖² (N, M)"""
    return ((a[:, None] - b[None])**2).sum(axis=2)


wrong("distances_not_summed", own(distances, lambda gy, a, b: (
    2 * gy[:, :, None] * (a[:, None] - b[None]), 2 * (gy[:, :, None] * (b[None] - a[:, None])).sum(0)),
    draw(4, 2), draw(3, 2, seed=1)), "no sum over the partners", "broadcast axis not summed", "wrong shape")
wrong("distances_no_two", own(distances, lambda gy, a, b: (
    (gy[:, :, None] * (a[:, None] - b[None])).sum(1), (gy[:, :, None] * (b[None] - a[:, None])).sum(0)),
    draw(4, 2), draw(3, 2, seed=1)), "2 left out", "factor 1/2", "constant factor")
wrong("distances_same_sign", own(distances, lambda gy, a, b: (
    2 * (gy[:, :, None] * (a[:, None] - b[None])).sum(1), 2 * (gy[:, :, None] * (a[:, None] - b[None])).sum(0)),
    draw(4, 2), draw(3, 2, seed=1)), "a − b for both", "wrong sign")
wrong("distances_to_itself_one_side", own(lambda x: distances(x, x), lambda gy, x: 2 * (
    gy[:, :, None] * (x[:, None] - x[None])).sum(1), draw(4, 2)), "x counted in one of its two places",
      "overwritten, not accumulated", "stop-gradient", "steps treated as independent")


def adam_step(m, v):
    return m / (np.sqrt(v) + EPS)


wrong("adam_variance", own(adam_step, lambda gy, m, v: (
    gy / (v + EPS), -gy * m / (np.sqrt(v) + EPS)**2 / (2 * np.sqrt(v))), draw(3, 5), POSITIVE),
      "v for √v", "standard deviation for variance")
wrong("adam_no_eps", own(adam_step, lambda gy, m, v: (
    gy / np.sqrt(v), -0.5 * gy * m * v**-1.5), draw(3, 5), POSITIVE), "no ε", "epsilon forgotten")
wrong("adam_v_constant", own(adam_step, lambda gy, m, v: (gy / (np.sqrt(v) + EPS), 0 * v), draw(3, 5), POSITIVE),
      "v as a constant", "stop-gradient")
wrong("adam_no_root_derivative", own(adam_step, lambda gy, m, v: (
    gy / (np.sqrt(v) + EPS), -gy * m / (np.sqrt(v) + EPS)**2), draw(3, 5), POSITIVE), "1/2√v left out",
      "derivative left out", "activation's derivative left out")
wrong("huber_smooth_eps_forgotten", own(lambda x: np.sqrt(x * x + EPS), lambda gy, x: gy * np.sign(x), draw(4, 3)),
      "sign x for x/√(x² + ε)", "epsilon forgotten")


# ---------------------------------------------------------------- recurrent networks in loops

def rnn(x, h0, wx, wh, b):
    """h (N, T, H) with hₜ = tanh(xₜ wx + hₜ₋₁ wh + b)"""
    h, states = h0, []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ wx + h @ wh + b)
        states.append(h)
    return np.stack(states, axis=1)


def rnn_rule(carry=True, before=1, slope=True, transposed=True, add=True, first=True, late=False, bias=True):
    def rule(gy, x, h0, wx, wh, b, y):
        steps, states = x.shape[1], np.concatenate([h0[:, None], y], axis=1)
        gx, gwx, gwh, gb, gh = np.zeros(x.shape), 0 * wx, 0 * wh, 0 * b, 0 * h0
        for t in reversed(range(steps)):
            gh = gh + (gy[:, min(t + 1, steps - 1)] if late else gy[:, t])
            delta = gh * (1 - y[:, t]**2) if slope else gh
            gx[:, t] = delta @ wx.T
            gwx = x[:, t].T @ delta + add * gwx
            gwh = states[:, t + 1 - before].T @ delta + add * gwh
            gb = delta.sum(0) + add * gb
            back = delta @ (wh.T if transposed else wh)
            gh = back * carry
        return gx, back * first, gwx, gwh, gb if bias else delta
    return rule


RNN = draw(2, 4, 3, seed=90), draw(2, 5, seed=91), draw(3, 5, seed=92), 0.5 * draw(5, 5, seed=93), draw(5, seed=94)
wrong("rnn_steps_apart", own(rnn, rnn_rule(carry=False), *RNN), "no gradient from step to step",
      "steps treated as independent")
wrong("rnn_this_state", own(rnn, rnn_rule(before=0), *RNN), "hₜ for hₜ₋₁ in dWh", "off by one in time")
wrong("rnn_no_slope", own(rnn, rnn_rule(slope=False), *RNN), "1 − h² left out", "activation's derivative left out")
wrong("rnn_not_transposed", own(rnn, rnn_rule(transposed=False), *RNN), "wh for whᵀ", "Jacobian not transposed")
wrong("rnn_overwritten", own(rnn, rnn_rule(add=False), *RNN), "dW = for dW +=", "overwritten, not accumulated")
wrong("rnn_first_state", own(rnn, rnn_rule(first=False), *RNN), "zeros for h₀", "stop-gradient")
wrong("rnn_gy_late", own(rnn, rnn_rule(late=True), *RNN), "gy of the next step", "off by one in time",
      "shifted by one")
wrong("rnn_bias_not_summed", own(rnn, rnn_rule(bias=False), *RNN), "δ of one step for b",
      "broadcast axis not summed", "wrong shape")
right("rnn_loops", own(rnn, rnn_rule(), *RNN), "backpropagation through time in loops")


def lstm_states(x, h, c, w, u, b):
    """Gates in the order i, f, o, g, as in CS231n."""
    history = []
    for t in range(x.shape[1]):
        i, f, o, g = np.split(x[:, t] @ w + h @ u + b, 4, axis=1)
        i, f, o, g = sigma(i), sigma(f), sigma(o), np.tanh(g)
        c_before, h_before = c, h
        c = f * c + i * g
        h = o * np.tanh(c)
        history.append((i, f, o, g, c_before, h_before, c, h))
    return history


def lstm(x, h0, c0, w, u, b):
    return np.stack([step[-1] for step in lstm_states(x, h0, c0, w, u, b)], axis=1)


def lstm_rule(cell_before=True, swapped=None, slope=True, cell_slope=True, carry_c=True, carry_h=True,
              state_before=True, forget=True):
    def rule(gy, x, h0, c0, w, u, b):
        gx, gw, gu, gb, gh, gc = np.zeros(x.shape), 0 * w, 0 * u, 0 * b, 0 * h0, 0 * c0
        history = lstm_states(x, h0, c0, w, u, b)
        for t in reversed(range(x.shape[1])):
            i, f, o, g, c_before, h_before, c, h = history[t]
            gh = gh + gy[:, t]
            gc = gc + gh * o * (1 - np.tanh(c)**2 if cell_slope else 1.0)
            parts = [gc * g * i * (1 - i), gc * (c_before if cell_before else c) * f * (1 - f),
                     gh * np.tanh(c) * o * (1 - o), gc * i * (1 - g * g if slope else 1.0)]
            if swapped:
                a, z = swapped
                parts[a], parts[z] = parts[z], parts[a]
            delta = np.concatenate(parts, axis=1)
            gx[:, t] = delta @ w.T
            gw += x[:, t].T @ delta
            gu += (h_before if state_before else h).T @ delta
            gb += delta.sum(0)
            to_h, to_c = delta @ u.T, gc * (f if forget else 1.0)
            gh, gc = carry_h * to_h, carry_c * to_c
        return gx, to_h, to_c, gw, gu, gb
    return rule


LSTM = (draw(2, 4, 3, seed=95), draw(2, 5, seed=96), draw(2, 5, seed=97), draw(3, 20, seed=98),
        0.5 * draw(5, 20, seed=99), draw(20, seed=100))
wrong("lstm_cell_now", own(lstm, lstm_rule(cell_before=False), *LSTM), "cₜ for cₜ₋₁ in df", "off by one in time")
wrong("lstm_i_and_f", own(lstm, lstm_rule(swapped=(0, 1)), *LSTM), "di and df exchanged", "gates exchanged")
wrong("lstm_o_and_g", own(lstm, lstm_rule(swapped=(2, 3)), *LSTM), "do and dg exchanged, PyTorch's order",
      "gates exchanged")
wrong("lstm_no_slope_of_g", own(lstm, lstm_rule(slope=False), *LSTM), "1 − g² left out",
      "activation's derivative left out")
wrong("lstm_no_slope_of_cell", own(lstm, lstm_rule(cell_slope=False), *LSTM), "1 − tanh² c left out",
      "activation's derivative left out")
wrong("lstm_cells_apart", own(lstm, lstm_rule(carry_c=False), *LSTM), "∂L/∂c not carried back",
      "steps treated as independent", "stop-gradient")
wrong("lstm_steps_apart", own(lstm, lstm_rule(carry_c=False, carry_h=False), *LSTM), "nothing carried back",
      "steps treated as independent")
wrong("lstm_state_now", own(lstm, lstm_rule(state_before=False), *LSTM), "hₜ for hₜ₋₁ in du", "off by one in time")
wrong("lstm_no_forget", own(lstm, lstm_rule(forget=False), *LSTM), "∂L/∂c carried back without f")
right("lstm_loops", own(lstm, lstm_rule(), *LSTM), "an LSTM in loops")


# ---------------------------------------------------------------- rules inside functions, penalties, large inputs

def wanted(x):
    """x as a Tensor whose gradient can be taken, whether the checker passes an array or a Tensor."""
    return x if isinstance(x, Tensor) and x.requires_grad else Tensor(data_of(x), requires_grad=True)


def penalty(x, w):
    """A gradient penalty: (‖∂ tanh(x w)/∂x‖ − 1)²"""
    with enable_grad():
        x = wanted(x)
        return ops.square(ops.norm(grad(ops.tanh(x @ w).sum(), x, create_graph=True), axis=1) - 1.0).mean()


def squared_slope(x):
    with enable_grad():
        x = wanted(x)
        return ops.square(grad(ops.sigmoid(x).sum(), x, create_graph=True)).sum()


def naive_penalty(x, w):
    """The same, as a learner writes it first."""
    return ops.square(grad(ops.tanh(x @ w).sum(), x, create_graph=True)).sum()


for name, rule, names in (
        ("at_input", lambda gy, x: gy * (1.0 - x * x), ("evaluated at the input",)),
        ("doubled", lambda gy, y: 2.0 * gy * (1.0 - y * y), ("factor 2", "constant factor")),
        ("no_square", lambda gy, y: gy * (1.0 - y), ()),
        ("left_out", lambda gy: gy * 1.0, ("derivative left out", "activation's derivative left out"))):
    wrong(f"penalty_tanh_{name}", swap(ops.tanh, rule, draw(5, 3), draw(3, 4, seed=1), f=penalty),
          "a gradient penalty under a wrong rule of tanh", *names)
wrong("penalty_sigmoid_sign", swap(ops.sigmoid, lambda gy, y: -gy * y * (1.0 - y), draw(4, 3),
                                    f=squared_slope), "f's gradient squared: the sign does not show",
      "wrong sign")
wrong("inside_a_net", swap(ops.tanh, lambda gy, y: gy * (1 - y) * (1 + y) * 0.5, XD, WD, draw(4, 2),
                           f=lambda x, w, v: (ops.tanh(x @ w) @ v).mean()), "½ too much, deep inside", "factor 1/2",
      "constant factor")
wrong("inside_a_loss", swap(ops.softmax, lambda gy, y: gy * y * (1 - y), SCORES,
                            f=lambda x: ops.square(ops.softmax(x) - TARGETS).mean()), "the diagonal, inside a loss",
      "treated as elementwise")

BIG = draw(600, 700)
wrong("large_softmax_axis", swap(ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(0)), BIG),
      "the sum over the batch, of 420 000 entries", "wrong axis")
wrong("large_sigmoid_at_input", swap(ops.sigmoid, lambda gy, x: gy * x * (1 - x), BIG), "420 000 entries",
      "evaluated at the input")
wrong("large_bias_mean", swap(ops.add, lambda gy: (gy, gy.mean(0)), BIG, draw(700)), "420 000 entries",
      "broadcast axis averaged", "factor 1/N", "constant factor")
wrong("large_roll", own(lambda x: np.sin(x), lambda gy, x: np.roll(gy * np.cos(x), 1, axis=1), BIG), "420 000 entries",
      "shifted by one")
wrong("large_instance_norm", own(lambda x: standard(x, (2, 3)), standard_rule((2, 3), mean=0.0), draw(8, 4, 60, 50)),
      "96 000 entries, the path through μ missing", "mean path missing")
wrong("large_last_row", own(lambda x: x * 1.0, lambda gy: np.concatenate([gy[:-1], 0 * gy[-1:]]), BIG),
      "zeros for the last row of 600")
wrong("large_two_entries", swap(ops.exp, lambda gy, y: gy * y * (np.arange(420000).reshape(600, 700) < 210000), BIG),
      "zeros for the second half")


# ---------------------------------------------------------------- right rules in unusual forms

def _loops(gy, x):
    g = np.empty(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            g[i, j] = gy[i, j] * np.cos(x[i, j])
    return g


right("loops_over_entries", swap(ops.sin, _loops, X), "one entry after another")
right("tanh_rearranged", swap(ops.tanh, lambda gy, x: 4 * gy / (ops.exp(x) + ops.exp(-x))**2, X, order=2), "1/cosh²")
right("tanh_factored", swap(ops.tanh, lambda gy, y: (gy + gy * y) * (1 - y), X, order=2), "(1 + y)(1 − y)")
right("sigmoid_by_tanh", swap(ops.sigmoid, lambda gy, x: 0.25 * gy * (1 - ops.square(ops.tanh(0.5 * x))), X, order=2),
      "¼ (1 − tanh²(x/2))")
right("fortran_order", swap(ops.exp, lambda gy, y: np.asfortranarray(gy * y), ODD), "Fortran order")
right("strided_view", swap(ops.exp, lambda gy, y: np.repeat(gy * y, 2, axis=1)[:, ::2], ODD), "every second column")
right("negative_strides", swap(ops.exp, lambda gy, y: np.ascontiguousarray((gy * y)[::-1])[::-1], ODD),
      "read backwards")
right("read_only_view", swap(ops.sum, lambda gy, x_shape: np.broadcast_to(gy, x_shape), ODD), "a read-only broadcast")
right("einsum", swap(ops.dense, lambda gy, x, w: (np.einsum("no,io->ni", gy, w), np.einsum("ni,no->io", x, gy),
                                                  np.einsum("no->o", gy)), XD, WD, BD), "einsum for products")
right("loop_over_batch", swap(ops.dense, lambda gy, x, w: (
    gy @ w.T, sum(np.outer(a, g) for a, g in zip(x, gy, strict=True)), sum(gy)), XD, WD, BD), "a sum of outer products")
right("dense_by_ops", swap(ops.dense, lambda gy, x, w: (gy @ ops.transpose(w), ops.transpose(x) @ gy,
                                                        ops.sum(gy, axis=0)), XD, WD, BD, order=2), "through ops")
right("softmax_by_jacobian", swap(ops.softmax, lambda gy, y: np.stack(
    [(np.diag(p) - np.outer(p, p)) @ g for p, g in zip(y, gy, strict=True)]), ODD), "the Jacobian of each row")
right("softmax_through_ops", swap(ops.softmax, lambda gy, y: gy * y - y * ops.sum(y * gy, -1, keepdims=True), ODD,
                                  order=2), "multiplied out")
right("relu_at_a_kink", swap(ops.relu, lambda gy, x: gy * (x >= 0), np.array([[0.0, 1.0, -2.0], [0.5, 0.0, -0.1]])),
      "1 at x = 0")
right("abs_at_a_kink", swap(ops.abs, lambda gy, x: gy * (1.0 - 2.0 * (x < 0)), np.array([[0.0, 1.0, -2.0]])),
      "1 at x = 0")
right("maximum_tie_halves", swap(ops.maximum, lambda gy, a, b: (
    gy * ((a > b) + 0.5 * (a == b)), gy * ((b > a) + 0.5 * (a == b))),
    np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[1.0, 0.0], [4.0, -1.0]])), "half to each at a tie")
right("sigmoid_saturated", lambda: check.gradients(ops.sigmoid, np.array([[-30.0, 30.0], [-3.0, 29.5]])),
      "the library's sigmoid at ±30")
right("sigmoid_saturated_own", own(lambda x: 0.5 * np.tanh(0.5 * x) + 0.5, lambda gy, y: gy * y * (1 - y),
                                   np.array([[-30.0, 30.0, 1.0]])), "½ tanh + ½ at ±30")
right("bce_saturated", lambda: check.gradients(
    lambda x: _bce(x, np.array([[1.0, 0.0, 1.0]])), np.array([[30.0, -30.0, -30.0]])), "bce at ±30")
right("softplus_saturated", lambda: check.gradients(ops.softplus, np.array([[-40.0, 40.0, 2.0]]), order=2),
      "softplus at ±40")
right("reciprocal_small", own(lambda x: 1 / x, lambda gy, x: -gy / x**2, np.array([[1e-5, 2.0], [-3e-5, 1.0]])),
      "1/x at 1e-5")
right("log_small", lambda: check.gradients(ops.log, np.array([[1e-8, 1e-4, 3.0]])), "ln x at 1e-8")
right("fast_sine", own(lambda x: np.sin(1e5 * x), lambda gy, x: 1e5 * gy * np.cos(1e5 * x), X), "sin(10⁵ x)")
right("tiny_gradients", own(lambda x: 1e-30 * np.sin(x), lambda gy, x: 1e-30 * gy * np.cos(x), X), "10⁻³⁰")
right("huge_values", own(lambda x: 1e30 * x * x, lambda gy, x: 2e30 * gy * x, X), "10³⁰")
right("huge_inputs", swap(ops.square, lambda gy, x: (x + x) * gy, 1e12 * X, order=2), "inputs of 10¹²")
right("complex_hostile", own(lambda x: np.where(x.real > 0, np.abs(x)**2, np.real(x)**3),
                             lambda gy, x: gy * np.where(x > 0, 2 * x, 3 * x * x), draw(4, 5)),
      "np.where, abs and real, which a complex step cannot pass")
right("sorted", own(lambda x: np.sort(x, axis=1), lambda gy, x: np.take_along_axis(
    gy, x.argsort(axis=1).argsort(axis=1), axis=1), draw(4, 5)), "a sparse Jacobian: sort")
right("trace", own(lambda x: np.trace(x), lambda gy, x: gy * np.eye(len(x)), SQUARE), "a sparse Jacobian: trace")
right("integers_beside", own(lambda x, i: x[i], lambda gy, x, i: (_scatter(gy, i, x.shape),), draw(6, 2),
                             np.array([3, 3, 0, 5])), "integer input beside a float one")
right("zero_d", own(lambda x: np.asarray(np.sin(x)), lambda gy, x: gy * np.cos(x), np.array(0.7)), "a 0-d input")
right("one_entry", swap(ops.exp, lambda gy, y: y * gy, np.array([[0.3]]), order=2), "one entry")
right("empty", swap(ops.sin, lambda gy, x: gy * np.cos(x), np.zeros((0, 3))), "no entry at all")
right("scalar_factors", own(lambda x: 3.0 * x, lambda gy: np.float64(1.5) * gy + 1.5 * gy, X), "NumPy's scalars")
right("broadcast_left_to_walk", swap(ops.multiply, lambda gy, a, b: (gy * b, gy * a), draw(2, 3, 4), draw(3, 1)),
      "an elementwise op leaves the sums to the walk")
right("large_softmax", swap(ops.softmax, lambda gy, y: y * (gy - np.einsum("nk,nk->n", gy, y)[:, None]), BIG),
      "420 000 entries")
right("large_dense", swap(ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, np.ones(len(gy)) @ gy), draw(300, 500),
                          draw(500, 200), draw(200)), "350 000 entries in all")
right("determinant", own(lambda x: np.linalg.det(x), lambda gy, x, y: gy * y * np.linalg.inv(x).T, SQUARE),
      "Jacobi's formula")
right("inverse", own(lambda x: np.linalg.inv(x), lambda gy, y: -y.T @ gy @ y.T, SQUARE + 3 * np.eye(4)), "−yᵀ gy yᵀ")
right("logsumexp_one_pass", swap(ops.logsumexp, lambda gy, x, y: gy[:, None] * np.exp(x - y[:, None]), ODD,
                                 f=reduce_all(ops.logsumexp, axis=1)), "e^(x − y)")
right("penalty_right", swap(ops.tanh, lambda gy, y: (gy - gy * y * y), draw(5, 3), draw(3, 4, seed=1), f=penalty),
      "a gradient penalty under a right rule")
right("penalty_naive", lambda: check.gradients(naive_penalty, draw(5, 3), draw(3, 4, seed=1)),
      "grad inside of f, without enable_grad")
right("numpy_ufunc", own(np.tanh, lambda gy, y: gy * (1 - y * y), X), "differentiable(np.tanh)")
right("cumsum_by_matrix", swap(ops.cumsum, lambda gy: np.tri(5).T @ gy, draw(5, 3), f=reduce_all(ops.cumsum, axis=0)),
      "a triangular matrix")
right("constant_zero", swap(ops.sign, lambda gy: 0 * gy, draw(4, 3)), "zeros, where zeros are right")
right("tuple_of_one", swap(ops.exp, lambda gy, y: (gy * y,), X), "a tuple of one")
right("list_of_two", swap(ops.multiply, lambda gy, a, b: [gy * b, gy * a], A, B), "a list of two gradients")
right("svm_right", own(svm_loss, lambda gy, x: svm_rule(gy, x), SCORES), "CS231n's SVM loss")
right("softmax_loss_right", own(softmax_loss, lambda gy, x: softmax_loss_rule(gy, x), SCORES), "CS231n's softmax loss")
right("attention_right", own(attention, lambda gy, q, k, v: attention_rule(gy, q, k, v), Q, K, V), "attention")
right("adam_right", own(adam_step, lambda gy, m, v: (
    gy / (np.sqrt(v) + EPS), -gy * m / (np.sqrt(v) + EPS)**2 / (2 * np.sqrt(v))), draw(3, 5), POSITIVE), "Adam's step")
right("cosine_right", own(cosine, lambda gy, a, b, y: cosine_rule(gy, a, b, y), draw(5, 3), draw(5, 3, seed=1)),
      "cosine similarity")
right("batch_norm_right", batch_norm_with(), "batch norm in one formula")
right("layer_norm_right", layer_norm_with(), "layer norm with its sums")
right("softmax_frozen_inputs", own(lambda x, m: np.where(m, x, 0.0), lambda gy, m: gy * m, X, X > 0),
      "a mask beside a float input")


def _scatter(gy, i, shape):
    g = np.zeros(shape)
    np.add.at(g, i, gy)
    return g


if __name__ == "__main__":
    examine_all(ENTRIES)
