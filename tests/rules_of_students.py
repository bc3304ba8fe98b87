"""Gradient rules as students of a course write them: wrong ones, each with the names that truly describe its mistake,
and right ones in unusual forms. `python tests/rules_of_students.py` prints the checker's verdict on each.

A rule replaces that of an op of scratchnet, or belongs to an op that a student wrote (the functions with
@differentiable below have no rule of their own).
"""

import numpy as np
from examination import Entry, examine_all

from scratchnet import Tensor, check, differentiable, enable_grad, grad, layers, losses, ops
from scratchnet.autograd import data_of
from scratchnet.module import Parameter

ENTRIES = []


def wrong(id, names, why, op, rule, *inputs, f=None, **options):
    """names: the names that are true of the mistake, joined by " | "; "" if no known name is"""
    _add(id, set(names.split(" | ")) if names else set(), why, op, rule, inputs, f or op, options)


def right(id, why, op, rule, *inputs, f=None, **options):
    _add(id, None, why, op, rule, inputs, f or op, options)


def _add(id, names, why, op, rule, inputs, f, options):
    def call():
        with op.using(rule):
            return check.gradients(f, *inputs, **options)
    ENTRIES.append(Entry(id, call, names, why))


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def positive(seed, *shape):
    return 0.3 + 2 * np.random.default_rng(seed).random(shape)


def away(seed, *shape):
    """Numbers of both signs, none near 0."""
    x = normal(seed, *shape)
    return x + np.sign(x) * 0.2


def labels(seed, n, classes):
    return np.random.default_rng(seed).integers(0, classes, n)


def np_softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def np_sigmoid(x):
    return 1 / (1 + np.exp(-x))


# ================================================================ elementwise

wrong("exp_power_rule", "", "d eˣ/dx = x eˣ⁻¹, as for a power",
      ops.exp, lambda gy, x: gy * x * np.exp(x - 1), normal(1, 3, 5))
wrong("exp_of_output", "evaluated at the output", "exp applied to y",
      ops.exp, lambda gy, y: gy * np.exp(y), 0.5 * normal(2, 4, 3))
wrong("exp_left_out", "derivative left out", "eˣ is its own derivative, so nothing to do",
      ops.exp, lambda gy: gy, normal(3, 7))
wrong("log_forward", "", "the forward formula as the derivative",
      ops.log, lambda gy, x: gy * np.log(x), positive(4, 4, 5))
wrong("log_at_output", "evaluated at the output", "1/y for 1/x",
      ops.log, lambda gy, y: gy / y, 1.5 + positive(5, 3, 2))
wrong("log_squared", "", "the derivative of 1/x",
      ops.log, lambda gy, x: -gy / x**2, positive(6, 6))
wrong("sqrt_without_half", "factor 2 | constant factor", "1/√x, the ½ forgotten",
      ops.sqrt, lambda gy, y: gy / y, positive(7, 2, 2))
wrong("sqrt_at_input", "evaluated at the input", "1/2x for 1/2y",
      ops.sqrt, lambda gy, x: gy / (2 * x), positive(8, 5, 4))
wrong("sqrt_times_half_y", "", "½ y for ½ / y, a slip of the fraction bar",
      ops.sqrt, lambda gy, y: gy * 0.5 * y, positive(9, 5, 3))
wrong("sin_sign", "wrong sign", "−cos, mixed up with the rule of cos",
      ops.sin, lambda gy, x: -gy * np.cos(x), normal(10, 3, 4))
wrong("cos_sign", "wrong sign", "the minus forgotten",
      ops.cos, lambda gy, x: gy * np.sin(x), normal(11, 1))
wrong("sin_of_output", "", "cos y for cos x and a sign slip besides",
      ops.sin, lambda gy, y: -gy * np.cos(y), normal(12, 8))
wrong("cos_forward", "", "the forward formula",
      ops.cos, lambda gy, y: gy * y, normal(13, 3, 3))
wrong("abs_as_relu", "", "copied from relu: 0 where x < 0",
      ops.abs, lambda gy, x: gy * (x > 0), away(14, 4, 6))
wrong("abs_left_out", "derivative left out", "passes gy on",
      ops.abs, lambda gy: gy, away(15, 4, 6))
wrong("abs_by_x", "other argument as a factor", "x where sign x belongs",
      ops.abs, lambda gy, x: gy * x, away(16, 3, 5))
wrong("tanh_at_input", "evaluated at the input", "1 − x² for 1 − y²",
      ops.tanh, lambda gy, x: gy * (1 - x * x), normal(17, 5, 3))
wrong("tanh_square_lost", "", "1 − y, the square lost",
      ops.tanh, lambda gy, y: gy * (1 - y), normal(18, 4, 5))
wrong("tanh_squared_bracket", "", "(1 − y)² for 1 − y²",
      ops.tanh, lambda gy, y: gy * (1 - y)**2, normal(19, 4, 2))
wrong("tanh_as_sigmoid", "", "copied from sigmoid: y (1 − y)",
      ops.tanh, lambda gy, y: gy * y * (1 - y), normal(20, 2, 3))
wrong("tanh_twice", "derivative applied twice", "multiplied by 1 − y² once by hand and once by a helper",
      ops.tanh, lambda gy, y: gy * (1 - y * y) * (1 - y * y), normal(21, 6, 3))
wrong("tanh_large_left_out", "derivative left out | activation's derivative left out", "gy, on a hundred thousand",
      ops.tanh, lambda gy: gy, normal(22, 100_000))
wrong("tanh_tanh_of_y", "evaluated at the output", "the helper d_tanh(x) is given y",
      ops.tanh, lambda gy, y: gy * (1 - np.tanh(y)**2), normal(23, 3, 4))
wrong("sigmoid_at_input", "evaluated at the input", "x (1 − x)",
      ops.sigmoid, lambda gy, x: gy * x * (1 - x), normal(24, 3, 7))
wrong("sigmoid_of_sigmoid", "evaluated at the output", "the helper sigmoid'(x) is given y",
      ops.sigmoid, lambda gy, y: gy * np_sigmoid(y) * (1 - np_sigmoid(y)), normal(25, 4, 3))
wrong("sigmoid_sign", "wrong sign", "y (y − 1)",
      ops.sigmoid, lambda gy, y: gy * y * (y - 1), normal(26, 3, 3))
wrong("sigmoid_plus", "", "y (1 + y)",
      ops.sigmoid, lambda gy, y: gy * y * (1 + y), normal(27, 2, 7))
wrong("sigmoid_without_gy", "upstream gradient ignored", "y (1 − y), the chain rule forgotten",
      ops.sigmoid, lambda gy, y: y * (1 - y), normal(28, 3, 5))
wrong("sigmoid_naive_overflow", "not finite", "e⁻ˣ / (1 + e⁻ˣ)² overflows far left",
      ops.sigmoid, lambda gy, x: gy * np.exp(-x) / (1 + np.exp(-x))**2, np.array([-800.0, -1.0, 0.3, 2.0]))
wrong("relu_on_gy", "not linear in the upstream gradient", "the mask is made of gy, not of x",
      ops.relu, lambda gy: gy * (gy > 0), away(29, 4, 5))
wrong("relu_mask_alone", "upstream gradient ignored | not an array", "returns the mask x > 0 itself",
      ops.relu, lambda gy, x: x > 0, away(30, 3, 4))
wrong("relu_y_at_least_0", "derivative left out | activation's derivative left out | ties or zeros",
      "y ≥ 0 is always true", ops.relu, lambda gy, y: gy * (y >= 0), away(31, 5, 4))
wrong("relu_by_value", "other argument as a factor | value taken for index", "max(x, 0) as the mask",
      ops.relu, lambda gy, y: gy * y, away(32, 5, 3))
wrong("relu_other_side", "evaluated at minus the input", "x < 0 for x > 0",
      ops.relu, lambda gy, x: gy * (x < 0), away(33, 6, 2))
wrong("leaky_sides", "evaluated at minus the input", "slope on the positive side",
      ops.leaky_relu, lambda gy, x: gy * np.where(x > 0, 0.2, 1.0), away(34, 3, 5), f=lambda x: ops.leaky_relu(x, 0.2))
wrong("leaky_as_relu", "", "slope forgotten in the gradient",
      ops.leaky_relu, lambda gy, x: gy * (x > 0), away(35, 3, 5), f=lambda x: ops.leaky_relu(x, 0.3))
wrong("leaky_slope_times_x", "", "returns slope · x where x < 0, the forward formula",
      ops.leaky_relu, lambda gy, x: gy * np.where(x > 0, 1.0, 0.3 * x), away(36, 4, 3),
      f=lambda x: ops.leaky_relu(x, 0.3))
wrong("elu_alpha_lost", "constant term", "y for y + α",
      ops.elu, lambda gy, x, y: gy * np.where(x > 0, 1.0, y), away(37, 4, 5))
wrong("elu_other_alpha", "", "eˣ for α eˣ on the left",
      ops.elu, lambda gy, x: gy * np.where(x > 0, 1.0, np.exp(x)), away(38, 4, 4), f=lambda x: ops.elu(x, 0.4))
wrong("silu_gate_constant", "stop-gradient", "σ(x) in x σ(x) taken for a constant",
      ops.silu, lambda gy, x: gy * np_sigmoid(x), normal(39, 3, 4))
wrong("silu_x_lost", "", "σ + σ (1 − σ), the x of the product rule lost",
      ops.silu, lambda gy, x: gy * (np_sigmoid(x) + np_sigmoid(x) * (1 - np_sigmoid(x))), normal(40, 3, 4))


def gelu_inner_slip(gy, x):
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    t = np.tanh(u)
    return gy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 0.044715 * x**2))


wrong("gelu_inner_slip", "", "the 3 of d x³ forgotten inside", ops.gelu, gelu_inner_slip, normal(41, 4, 4))
wrong("softplus_minus", "evaluated at minus the input", "σ(−x) for σ(x)",
      ops.softplus, lambda gy, x: gy * np_sigmoid(-x), normal(42, 3, 5))
wrong("softplus_denominator", "", "1/(1 + eˣ) · eˣ with the bracket lost: 1/1 + eˣ · eˣ",
      ops.softplus, lambda gy, x: gy * (1 / 1 + np.exp(x) * np.exp(x)), normal(43, 3, 5))
wrong("clip_clips_gy", "not linear in the upstream gradient", "clips the gradient, not by where x lies",
      ops.clip, lambda gy, low, high: np.clip(gy, low, high), away(44, 4, 6), f=lambda x: ops.clip(x, -0.5, 0.5))
wrong("clip_left_out", "derivative left out", "gy everywhere",
      ops.clip, lambda gy: gy, away(45, 4, 6), f=lambda x: ops.clip(x, -0.7, 0.7))
wrong("clip_inverted", "", "the mask is 1 outside",
      ops.clip, lambda gy, x, low, high: gy * ((x < low) | (x > high)), away(46, 4, 6),
      f=lambda x: ops.clip(x, -0.7, 0.7))
wrong("maximum_both", "derivative left out", "both inputs get all of gy",
      ops.maximum, lambda gy: (gy, gy), normal(47, 4, 5), normal(48, 4, 5))
wrong("maximum_swapped", "inputs swapped", "to the smaller of the two",
      ops.maximum, lambda gy, a, b: (gy * (a < b), gy * (a >= b)), normal(49, 4, 5), normal(50, 4, 5))
wrong("minimum_half", "ties or zeros", "half to each, as if all were ties",
      ops.minimum, lambda gy: (gy / 2, gy / 2), normal(51, 3, 5), normal(52, 3, 5))
wrong("where_swapped", "inputs swapped", "a and b exchanged",
      ops.where, lambda gy, condition: (None, np.where(condition, 0, gy), np.where(condition, gy, 0)),
      normal(53, 4, 3), normal(54, 4, 3), f=lambda a, b: ops.where(normal(55, 4, 3) > 0, a, b))
wrong("square_without_gy", "upstream gradient ignored", "2 x alone",
      ops.square, lambda gy, x: 2 * x, normal(56, 4, 3))
wrong("square_of_two", "factor 1/2 | constant factor", "x, with an axis of length 2",
      ops.square, lambda gy, x: gy * x, normal(57, 2, 2))
wrong("square_floor", "not linear in the upstream gradient", "// for /, a step function of gy",
      ops.square, lambda gy, x: gy * x // 1 * 2, normal(58, 3, 4))
wrong("power_exponent_kept", "other argument as a factor", "p xᵖ, the exponent not lowered",
      ops.power, lambda gy, x, p: gy * p * x**p, positive(59, 3, 4), f=lambda x: ops.power(x, 3))
wrong("power_p_lost", "constant factor", "xᵖ⁻¹ without p = 3, on three entries",
      ops.power, lambda gy, x, p: gy * x**(p - 1), positive(60, 3), f=lambda x: ops.power(x, 3))
wrong("power_lowered_twice", "", "p xᵖ⁻²",
      ops.power, lambda gy, x, p: gy * p * x**(p - 2), positive(61, 4, 3), f=lambda x: ops.power(x, 3))
wrong("sign_straight_through", "derivative left out", "passes gy through, though y is flat",
      ops.sign, lambda gy: gy, away(62, 4, 3))

# ================================================================ arithmetic, broadcasting

wrong("divide_sign", "wrong sign", "the minus of ∂/∂b forgotten",
      ops.divide, lambda gy, b, y: (gy / b, gy * y / b), normal(70, 3, 4), positive(71, 3, 4))
wrong("divide_b_once", "other argument as a factor", "−a/b for −a/b²",
      ops.divide, lambda gy, a, b: (gy / b, -gy * a / b), normal(72, 5, 3), positive(73, 5, 3))
wrong("divide_swapped", "inputs swapped", "the two gradients in the wrong order",
      ops.divide, lambda gy, b, y: (-gy * y / b, gy / b), normal(74, 5, 3), positive(75, 5, 3))
wrong("multiply_own_factor", "inputs swapped | other argument as a factor", "∂/∂a = a, ∂/∂b = b",
      ops.multiply, lambda gy, a, b: (gy * a, gy * b), normal(76, 4, 3), normal(77, 4, 3))
wrong("multiply_a_only", "other argument as a factor", "both gradients with b",
      ops.multiply, lambda gy, b: (gy * b, gy * b), normal(78, 4, 3), normal(79, 4, 3))
wrong("multiply_left_out", "derivative left out", "copied from add",
      ops.multiply, lambda gy: (gy, gy), normal(80, 2, 5), normal(81, 2, 5))
wrong("subtract_as_add", "wrong sign", "copied from add",
      ops.subtract, lambda gy: (gy, gy), normal(82, 4, 3), normal(83, 4, 3))
wrong("subtract_reversed", "wrong sign | inputs swapped", "b − a",
      ops.subtract, lambda gy: (-gy, gy), normal(84, 5, 2), normal(85, 5, 2))
wrong("negative_kept", "wrong sign", "gy", ops.negative, lambda gy: gy, normal(86, 3))
wrong("add_bias_twice", "broadcast axis summed twice | factor N | constant factor",
      "the sum over rows, spread over the rows again",
      ops.add, lambda gy: (gy, np.broadcast_to(gy.sum(axis=0), gy.shape)), normal(87, 6, 3), normal(88, 3))
wrong("add_bias_mean", "broadcast axis averaged | factor 1/N | constant factor", "mean over rows",
      ops.add, lambda gy: (gy, gy.mean(axis=0)), normal(89, 5, 3), normal(90, 3))
wrong("add_bias_wrong_axis", "wrong axis", "sum over columns of a square",
      ops.add, lambda gy: (gy, gy.sum(axis=1)), normal(91, 4, 4), normal(92, 4))
wrong("add_bias_first_row", "broadcast axis not summed | overwritten, not accumulated", "the first row of gy only",
      ops.add, lambda gy: (gy, gy[0]), normal(93, 4, 3), normal(94, 3))
wrong("scale_mean", "broadcast axis averaged | factor 1/N | constant factor", "mean for sum",
      ops.multiply, lambda gy, a, b: (gy * b, (gy * a).mean(axis=0)), normal(95, 7, 2), normal(96, 2))
wrong("scale_sum_first", "", "(Σ gy)(Σ a) for Σ gy a",
      ops.multiply, lambda gy, a, b: (gy * b, gy.sum(axis=0) * a.sum(axis=0)), normal(97, 4, 3), normal(98, 3))
wrong("scale_summed_to_number", "wrong shape | wrong axis", "np.sum over everything",
      ops.multiply, lambda gy, a, b: (gy * b, np.sum(gy * a)), normal(99, 4, 3), normal(100, 3))
wrong("column_bias_sum_over_rows", "wrong axis", "b (N, 1) gets the sum over the wrong axis, of a square",
      ops.add, lambda gy: (gy, gy.sum(axis=0)[:, None]), normal(101, 3, 3), normal(102, 3, 1))
wrong("scale_large_mean", "broadcast axis averaged | factor 1/N | constant factor", "mean for sum over many rows",
      ops.multiply, lambda gy, a, b: (gy * b, (gy * a).mean(axis=0)), normal(103, 20_000, 5), normal(104, 5))

# ================================================================ matrix products

wrong("matmul_no_transposes", "Jacobian not transposed", "gy b and a gy, square",
      ops.matmul, lambda gy, a, b: (gy @ b, a @ gy), normal(110, 4, 4), normal(111, 4, 4))
wrong("matmul_order", "", "bᵀ gy and gy aᵀ: the right factors in the wrong order",
      ops.matmul, lambda gy, a, b: (b.T @ gy, gy @ a.T), normal(112, 3, 3), normal(113, 3, 3))
wrong("matmul_result_transposed", "axes permuted", "gyᵀ a for aᵀ gy, square",
      ops.matmul, lambda gy, a, b: (gy @ b.T, gy.T @ a), normal(114, 4, 4), normal(115, 4, 4))
wrong("matmul_elementwise", "treated as elementwise", "* for @",
      ops.matmul, lambda gy, a, b: (gy * b, gy * a), normal(116, 3, 3), normal(117, 3, 3))
wrong("matmul_reshape", "Jacobian not transposed | axes permuted", "reshape for transpose, not square",
      ops.matmul, lambda gy, a, b: (gy @ b.reshape(b.shape[::-1]), a.T @ gy), normal(118, 5, 3), normal(119, 3, 4))
wrong("matmul_swapped_square", "inputs swapped", "the tuple in the wrong order, square",
      ops.matmul, lambda gy, a, b: (a.T @ gy, gy @ b.T), normal(120, 4, 4), normal(121, 4, 4))
wrong("matmul_shape", "wrong shape | axes permuted", "gyᵀ a, not square",
      ops.matmul, lambda gy, a, b: (gy @ b.T, gy.T @ a), normal(122, 5, 3), normal(123, 3, 4))
wrong("batched_last_only", "overwritten, not accumulated | broadcast axis not summed",
      "the loop over the batch overwrites gb",
      ops.matmul, lambda gy, a, b: (gy @ b.T, a[-1].T @ gy[-1]), normal(124, 3, 4, 2), normal(125, 2, 5))
wrong("batched_mean", "broadcast axis averaged | factor 1/N | constant factor", "mean over the batch",
      ops.matmul, lambda gy, a, b: (gy @ b.T, (a.swapaxes(1, 2) @ gy).mean(axis=0)), normal(126, 3, 4, 2),
      normal(127, 2, 5))
wrong("batched_T", "axes permuted", ".T reverses all three axes of a cube",
      ops.matmul, lambda gy, a, b: (gy @ b.T, a.swapaxes(1, 2) @ gy), normal(128, 3, 3, 3), normal(129, 3, 3, 3))
wrong("dense_w_averaged", "factor 1/N | constant factor", "xᵀ gy / N, though the loss has the mean",
      ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy / len(x), gy.sum(axis=0)),
      normal(130, 6, 3), normal(131, 3, 4), normal(132, 4))
wrong("dense_bias_mean", "broadcast axis averaged | factor 1/N | constant factor", "np.mean(gy, axis=0)",
      ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.mean(axis=0)),
      normal(133, 6, 3), normal(134, 3, 4), normal(135, 4))
wrong("dense_w_transposed_square", "axes permuted", "gyᵀ x, as for PyTorch's (O, I) weights, square",
      ops.dense, lambda gy, x, w: (gy @ w.T, gy.T @ x, gy.sum(axis=0)),
      normal(136, 5, 4), normal(137, 4, 4), normal(138, 4))
wrong("dense_x_by_w", "Jacobian not transposed", "gy w, square",
      ops.dense, lambda gy, x, w: (gy @ w, x.T @ gy, gy.sum(axis=0)),
      normal(139, 5, 3), normal(140, 3, 3), normal(141, 3))
wrong("dense_weight_decay", "", "λ w added, though the function has no such term",
      ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy + 0.1 * w, gy.sum(axis=0)),
      normal(142, 5, 3), normal(143, 3, 2), normal(144, 2))
wrong("dense_bias_per_row", "broadcast axis not summed | overwritten, not accumulated", "gy[0] for the sum",
      ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy[0]),
      normal(145, 5, 3), normal(146, 3, 2), normal(147, 2))
wrong("dense_x_gy_only", "Jacobian not transposed | derivative left out", "gy itself for gy wᵀ, square",
      ops.dense, lambda gy, x, w: (gy, x.T @ gy, gy.sum(axis=0)),
      normal(148, 5, 3), normal(149, 3, 3), normal(150, 3))


@differentiable
def mlp(x, w1, w2):
    """x (N, D), w1 (D, H), w2 (H, O)"""
    return np.maximum(x @ w1, 0) @ w2


def mlp_rule(mask=lambda a, gh: a > 0, left=lambda x, h: x):
    def rule(gy, x, w1, w2):
        a = x @ w1
        h = a * (a > 0)
        gh = gy @ w2.T
        gh = gh * mask(a, gh)
        return gh @ w1.T, left(x, h).T @ gh, h.T @ gy
    return rule


MLP = normal(151, 6, 4), normal(152, 4, 4), normal(153, 4, 2)
wrong("mlp_no_mask", "activation's derivative left out", "relu's mask forgotten", mlp, mlp_rule(lambda a, gh: 1), *MLP)
wrong("mlp_mask_of_gradient", "not linear in the upstream gradient", "dh[dh <= 0] = 0",
      mlp, mlp_rule(lambda a, gh: gh > 0), *MLP)
wrong("mlp_mask_inverted", "evaluated at minus the input", "dh[a > 0] = 0", mlp, mlp_rule(lambda a, gh: a < 0), *MLP)
wrong("mlp_wrong_cache", "", "∂/∂w1 with the hidden layer for x", mlp, mlp_rule(left=lambda x, h: h), *MLP)
right("mlp_right", "two layers by hand", mlp, mlp_rule(), *MLP)


@differentiable
def ridge(x, w, t, strength):
    """Σ (x w − t)² / N + λ Σ w²"""
    return ((x @ w - t)**2).sum() / len(x) + strength * (w * w).sum()


def ridge_rule(fit=1.0, decay=1.0):
    def rule(gy, x, w, t, strength):
        r = 2 * (x @ w - t) / len(x)
        return gy * fit * r @ w.T, gy * (fit * x.T @ r + decay * 2 * strength * w)
    return rule


def ridge_of(strength):
    return lambda x, w: ridge(x, w, normal(154, 7, 2), strength)


wrong("ridge_no_penalty", "regularizer missing", "2 λ w forgotten",
      ridge, ridge_rule(decay=0), normal(155, 7, 3), normal(156, 3, 2), f=ridge_of(0.3))
wrong("ridge_twice", "regularizer doubled", "4 λ w",
      ridge, ridge_rule(decay=2), normal(157, 7, 3), normal(158, 3, 2), f=ridge_of(0.3))
wrong("ridge_no_mean", "factor N | constant factor", "the division by N forgotten, λ = 0",
      ridge, ridge_rule(fit=7), normal(159, 7, 3), normal(160, 3, 2), f=ridge_of(0.0))
wrong("ridge_sign", "wrong sign", "the penalty subtracted",
      ridge, ridge_rule(decay=-1), normal(161, 7, 3), normal(162, 3, 2), f=ridge_of(0.5))
right("ridge_right", "least squares with weight decay", ridge, ridge_rule(), normal(163, 7, 3), normal(164, 3, 2),
      f=ridge_of(0.3))


def scattered(put):
    def rule(gy, index, x_shape):
        g = np.zeros(x_shape)
        put(g, index, gy)
        return g
    return rule


def put_plus(g, index, gy):
    g[index] += gy


def put_shifted(g, index, gy):
    np.add.at(g, (index + 1) % len(g), gy)


def put_averaged(g, index, gy):
    np.add.at(g, index, gy)
    g /= np.maximum(np.bincount(index, minlength=len(g)), 1)[:, None]


TOKENS = np.array([2, 0, 2, 4, 2, 1, 0])
wrong("embedding_plus_equals", "overwritten, not accumulated", "g[index] += gy keeps one of several",
      ops.getitem, scattered(put_plus), normal(165, 6, 3), f=lambda w: ops.embedding(TOKENS, w))
wrong("embedding_one_too_far", "shifted by one", "tokens counted from 1",
      ops.getitem, scattered(put_shifted), normal(166, 6, 3), f=lambda w: ops.embedding(TOKENS, w))
wrong("embedding_averaged", "", "divided by how often a token occurs",
      ops.getitem, scattered(put_averaged), normal(167, 6, 3), f=lambda w: ops.embedding(TOKENS, w))
wrong("slice_from_zero", "shifted by one | off by one in time", "x[:, 1:] put back at x[:, :-1]",
      ops.getitem, scattered(lambda g, index, gy: g[:, :-1].__iadd__(gy)), normal(168, 3, 6), f=lambda x: x[:, 1:])

# ================================================================ softmax and losses

wrong("softmax_elementwise", "treated as elementwise", "y (1 − y), copied from sigmoid",
      ops.softmax, lambda gy, y: gy * y * (1 - y), normal(170, 3, 5))
wrong("softmax_y_lost", "", "Σ gy for Σ gy y",
      ops.softmax, lambda gy, y: y * (gy - gy.sum(axis=-1, keepdims=True)), normal(171, 3, 5))
wrong("softmax_denominator_constant", "stop-gradient | treated as elementwise", "gy y: Σ taken for constant",
      ops.softmax, lambda gy, y: gy * y, normal(172, 4, 6))
wrong("softmax_over_batch", "wrong axis", "Σ over axis 0, square",
      ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(axis=0, keepdims=True)), normal(173, 4, 4))
wrong("softmax_no_keepdims", "wrong axis", "the row sums lie along the columns, square",
      ops.softmax, lambda gy, y: y * (gy - (gy * y).sum(axis=-1)), normal(174, 5, 5))
wrong("softmax_plus", "wrong sign", "y (gy + Σ gy y)",
      ops.softmax, lambda gy, y: y * (gy + (gy * y).sum(axis=-1, keepdims=True)), normal(175, 2, 3))
wrong("softmax_naive_overflow", "not finite", "the softmax recomputed without subtracting the largest",
      ops.softmax, lambda gy, x: (lambda p: p * (gy - (gy * p).sum(-1, keepdims=True)))(
          np.exp(x) / np.exp(x).sum(-1, keepdims=True)), np.array([[1000.0, 1001.0, 999.0], [0.0, 1.0, 2.0]]))
wrong("log_softmax_no_exp", "", "y for e^y",
      ops.log_softmax, lambda gy, y: gy - y * gy.sum(axis=-1, keepdims=True), normal(176, 3, 4))
wrong("log_softmax_elementwise", "treated as elementwise", "gy (1 − p)",
      ops.log_softmax, lambda gy, y: gy * (1 - np.exp(y)), normal(177, 3, 4))
wrong("log_softmax_exp_x", "evaluated at the input", "eˣ for e^y",
      ops.log_softmax, lambda gy, x: gy - np.exp(x) * gy.sum(axis=-1, keepdims=True), normal(178, 3, 4))
wrong("log_softmax_axis", "wrong axis", "Σ gy over the batch, square",
      ops.log_softmax, lambda gy, y: gy - np.exp(y) * gy.sum(axis=0, keepdims=True), normal(179, 3, 3))

ONE_HOT = np.eye(4)[labels(180, 6, 4)]


def entropy_of(reduction, t=ONE_HOT):
    return lambda x: losses.softmax_cross_entropy(x, t, reduction)


cross_entropy = losses.softmax_cross_entropy
wrong("ce_without_gy", "upstream gradient ignored", "p − t, as in the lecture",
      cross_entropy, lambda gy, x, t: np_softmax(x) - t, normal(181, 6, 4), f=entropy_of("none"))
wrong("ce_divided_again", "factor 1/N | constant factor", "/ N besides the mean of the reduction",
      cross_entropy, lambda gy, x, t: gy[:, None] * (np_softmax(x) - t) / len(x), normal(182, 6, 4),
      f=entropy_of("mean"))
wrong("ce_sign", "wrong sign", "t − p",
      cross_entropy, lambda gy, x, t: gy[:, None] * (t - np_softmax(x)), normal(183, 6, 4), f=entropy_of("sum"))
wrong("ce_softmax_over_batch", "wrong axis", "softmax over axis 0",
      cross_entropy, lambda gy, x, t: gy[:, None] * (np_softmax(x, 0) - t), normal(184, 6, 4), f=entropy_of("none"))
wrong("ce_logits_for_p", "evaluated at the input", "x − t",
      cross_entropy, lambda gy, x, t: gy[:, None] * (x - t), normal(185, 6, 4), f=entropy_of("none"))
wrong("ce_one_over_p", "activation's derivative left out", "−t / p, the softmax forgotten",
      cross_entropy, lambda gy, x, t: -gy[:, None] * t / np_softmax(x), normal(186, 6, 4), f=entropy_of("none"))


@differentiable
def nll(x, t):
    """Mean of −ln softmax(x)[t]        x (N, K), integers t (N,)"""
    return -np.log(np_softmax(x)[np.arange(len(x)), t]).mean()


def nll_rule(change):
    def rule(gy, x, t):
        p = np_softmax(x)
        change(p, t)
        return gy * p / len(x)
    return rule


def minus_one_at_label(p, t):
    p[np.arange(len(p)), t] -= 1


def minus_one_everywhere(p, t):
    p -= 1


def minus_one_in_all_rows(p, t):
    p[:, np.unique(t)] -= 1


def minus_one_at_next(p, t):
    p[np.arange(len(p)), (t + 1) % p.shape[1]] -= 1


wrong("nll_minus_one_everywhere", "", "p −= 1", nll, nll_rule(minus_one_everywhere), normal(187, 5, 3), labels(1, 5, 3))
wrong("nll_all_rows", "", "p[:, t] −= 1", nll, nll_rule(minus_one_in_all_rows), normal(188, 5, 6), labels(2, 5, 6))
wrong("nll_no_minus_one", "constant term", "p / N",
      nll, nll_rule(lambda p, t: None), normal(189, 5, 4), labels(3, 5, 4))
wrong("nll_labels_from_one", "shifted by one", "labels counted from 1",
      nll, nll_rule(minus_one_at_next), normal(190, 5, 4), labels(4, 5, 4))
right("nll_right", "integers beside floats", nll, nll_rule(minus_one_at_label), normal(191, 5, 4), labels(5, 5, 4))


@differentiable
def svm(s, t):
    """The multi-class hinge loss of CS231n        scores s (N, K), integers t (N,)"""
    rows = np.arange(len(s))
    margins = np.maximum(s - s[rows, t][:, None] + 1, 0)
    margins[rows, t] = 0
    return margins.sum() / len(s)


def svm_rule(at_label, scale=1.0):
    def rule(gy, s, t):
        rows = np.arange(len(s))
        active = (s - s[rows, t][:, None] + 1 > 0).astype(float)
        active[rows, t] = 0
        active[rows, t] = at_label(active)
        return gy * scale * active / len(s)
    return rule


wrong("svm_label_forgotten", "stop-gradient", "nothing at the right class",
      svm, svm_rule(lambda a: 0), normal(192, 5, 4), labels(6, 5, 4))
wrong("svm_label_minus_one", "", "−1 at the right class, not minus the count",
      svm, svm_rule(lambda a: -1), 0.3 * normal(193, 6, 5), labels(7, 6, 5))
wrong("svm_no_mean", "factor N | constant factor", "/ N forgotten",
      svm, svm_rule(lambda a: -a.sum(axis=1), 6), normal(194, 6, 5), labels(8, 6, 5))
right("svm_right", "hinge loss with counts", svm, svm_rule(lambda a: -a.sum(axis=1)), normal(195, 6, 5),
      labels(9, 6, 5))

TARGETS = np.random.default_rng(200).random((4, 5))


def bce_of(x):
    return losses.bce_with_logits(x, TARGETS, "none")


bce = losses.bce_with_logits
wrong("bce_no_sigmoid", "evaluated at the input", "x − t", bce, lambda gy, x, t: gy * (x - t), normal(201, 4, 5),
      f=bce_of)
wrong("bce_extra_slope", "derivative applied twice", "(p − t) p (1 − p)",
      bce, lambda gy, x, t: gy * (np_sigmoid(x) - t) * np_sigmoid(x) * (1 - np_sigmoid(x)), normal(202, 4, 5), f=bce_of)
wrong("bce_only_p", "constant term", "p, the target forgotten",
      bce, lambda gy, x: gy * np_sigmoid(x), normal(203, 4, 5), f=bce_of)
wrong("bce_averaged", "factor 1/N | constant factor", "/ N besides the mean",
      bce, lambda gy, x, t: gy * (np_sigmoid(x) - t) / len(x), normal(204, 4, 5),
      f=lambda x: losses.bce_with_logits(x, TARGETS, "mean"))


@differentiable
def bce_of_p(p, t):
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


PROBABILITIES = 0.1 + 0.8 * np.random.default_rng(205).random((4, 3))
BITS = (np.random.default_rng(206).random((4, 3)) > 0.5).astype(int)
wrong("bce_first_term", "", "−t/p alone", bce_of_p, lambda gy, p, t: -gy * t / p, PROBABILITIES, BITS)
wrong("bce_sign_in_second", "wrong sign", "−t/p − (1 − t)/(1 − p)",
      bce_of_p, lambda gy, p, t: -gy * (t / p + (1 - t) / (1 - p)), PROBABILITIES, BITS)
wrong("bce_logit_gradient", "", "p − t, the gradient by the logit",
      bce_of_p, lambda gy, p, t: gy * (p - t), PROBABILITIES, BITS)
right("bce_one_fraction", "(p − t) / (p (1 − p))",
      bce_of_p, lambda gy, p, t: gy * (p - t) / (p * (1 - p)), PROBABILITIES, BITS)

squared_error = losses.mse
wrong("mse_no_two", "factor 1/2 | constant factor", "x − t",
      squared_error, lambda gy, x, t: (gy * (x - t), gy * (t - x)), normal(207, 3, 5), normal(208, 3, 5),
      f=lambda x, t: losses.mse(x, t, "none"))
wrong("mse_same_sign", "wrong sign", "both 2 (x − t)",
      squared_error, lambda gy, x, t: (2 * gy * (x - t), 2 * gy * (x - t)), normal(209, 3, 5), normal(210, 3, 5),
      f=lambda x, t: losses.mse(x, t, "none"))
wrong("mse_target_minus", "wrong sign | inputs swapped", "2 (t − x) and 2 (x − t)",
      squared_error, lambda gy, x, t: (2 * gy * (t - x), 2 * gy * (x - t)), normal(211, 2, 6), normal(212, 2, 6),
      f=lambda x, t: losses.mse(x, t, "sum"))


@differentiable
def huber(d, delta):
    return np.where(np.abs(d) <= delta, 0.5 * d * d, delta * (np.abs(d) - 0.5 * delta))


def huber_of(d):
    return huber(d, 0.7)


wrong("huber_square_everywhere", "", "d, not cut off", huber, lambda gy, d: gy * d, normal(213, 4, 5), f=huber_of)
wrong("huber_no_delta", "", "sign d for δ sign d",
      huber, lambda gy, d, delta: gy * np.where(np.abs(d) <= delta, d, np.sign(d)), normal(214, 4, 5), f=huber_of)
wrong("huber_no_sign", "", "δ for δ sign d",
      huber, lambda gy, d, delta: gy * np.where(np.abs(d) <= delta, d, delta), normal(215, 4, 5), f=huber_of)
right("huber_clip", "the derivative as a clip of d",
      huber, lambda gy, d, delta: gy * np.clip(d, -delta, delta), normal(216, 4, 5), f=huber_of)

kl = losses.gaussian_kl


def kl_of(mean, logvar):
    return losses.gaussian_kl(mean, logvar, "none")


wrong("kl_constant", "constant term", "½ eˢ for ½ (eˢ − 1)",
      kl, lambda gy, mean, logvar: (gy * mean, gy * 0.5 * np.exp(logvar)), normal(217, 4, 3), normal(218, 4, 3),
      f=kl_of)
wrong("kl_two_mean", "factor 2 | constant factor", "2 μ",
      kl, lambda gy, mean, logvar: (gy * 2 * mean, gy * 0.5 * (np.exp(logvar) - 1)), normal(219, 4, 3),
      normal(220, 4, 3), f=kl_of)
wrong("kl_half_std", "standard deviation for variance", "e^{s/2} for eˢ",
      kl, lambda gy, mean, logvar: (gy * mean, gy * 0.5 * (np.exp(logvar / 2) - 1)), normal(221, 4, 3),
      normal(222, 4, 3), f=kl_of)
wrong("kl_negative", "wrong sign", "the gradient of −KL, as in the paper's ELBO",
      kl, lambda gy, mean, logvar: (-gy * mean, gy * 0.5 * (1 - np.exp(logvar))), normal(223, 4, 3),
      normal(224, 4, 3), f=kl_of)
wrong("kl_arguments", "inputs swapped", "mean and logvar exchanged",
      kl, lambda gy, mean, logvar: (gy * 0.5 * (np.exp(logvar) - 1), gy * mean), normal(225, 2, 3),
      normal(226, 2, 3), f=kl_of)


@differentiable
def kl_sigma(mean, sigma):
    """Σ over the last axis of ½ (σ² + μ² − 1) − ln σ"""
    return (0.5 * (sigma**2 + mean**2 - 1) - np.log(sigma)).sum(axis=-1)


wrong("kl_sigma_squared", "standard deviation for variance", "σ − 1/σ²",
      kl_sigma, lambda gy, mean, sigma: (gy[:, None] * mean, gy[:, None] * (sigma - 1 / sigma**2)), normal(227, 4, 3),
      positive(228, 4, 3))
wrong("kl_sigma_no_log", "", "σ, the gradient of the logarithm forgotten",
      kl_sigma, lambda gy, mean, sigma: (gy[:, None] * mean, gy[:, None] * sigma), normal(229, 4, 3),
      positive(230, 4, 3))
wrong("kl_sigma_broadcast", "wrong axis | axes permuted", "gy along the wrong axis of a square",
      kl_sigma, lambda gy, mean, sigma: (gy * mean, gy * (sigma - 1 / sigma)), normal(231, 3, 3), positive(232, 3, 3))


@differentiable
def normal_nll(x, mean, logvar):
    return 0.5 * (logvar + (x - mean)**2 * np.exp(-logvar))


def normal_nll_rule(precision=lambda s: np.exp(-s), sign=1, constant=1.0):
    def rule(gy, x, mean, logvar):
        d = (x - mean) * precision(logvar)
        return gy * d, -sign * gy * d, gy * 0.5 * (constant - (x - mean)**2 * np.exp(-logvar))
    return rule


NLL = normal(233, 3, 4), normal(234, 3, 4), normal(235, 3, 4)
wrong("normal_nll_std", "standard deviation for variance", "divided by σ, not σ²",
      normal_nll, normal_nll_rule(lambda s: np.exp(-s / 2)), *NLL)
wrong("normal_nll_sign", "wrong sign", "∂/∂μ as ∂/∂x", normal_nll, normal_nll_rule(sign=-1), *NLL)
wrong("normal_nll_constant", "constant term", "½ of ½ s forgotten",
      normal_nll, normal_nll_rule(constant=0), *NLL)
wrong("normal_nll_exponent", "evaluated at minus the input", "e^{+s}", normal_nll, normal_nll_rule(np.exp), *NLL)
right("normal_nll_right", "all three inputs", normal_nll, normal_nll_rule(), *NLL)


@differentiable
def reparameterize(mean, logvar, eps):
    return mean + np.exp(0.5 * logvar) * eps


NOISE = normal(236, 5, 3)


def sampled(mean, logvar):
    return reparameterize(mean, logvar, NOISE)


def sampling_rule(slope):
    return lambda gy, logvar, eps: (gy, gy * slope(logvar, eps))


for id, names, why, slope in (
        ("no_half", "factor 2 | constant factor", "the ½ of s/2 forgotten", lambda s, e: np.exp(0.5 * s) * e),
        ("no_noise", "", "ε forgotten", lambda s, e: 0.5 * np.exp(0.5 * s)),
        ("variance", "standard deviation for variance", "σ² ε / 2", lambda s, e: 0.5 * np.exp(s) * e),
        ("not_through", "stop-gradient", "nothing flows to the variance", lambda s, e: 0 * s)):
    wrong(f"reparameterize_{id}", names, why, reparameterize, sampling_rule(slope),
          normal(237, 5, 3), normal(238, 5, 3), f=sampled)
right("reparameterize_from_y", "½ (z − μ)", reparameterize,
      lambda gy, mean, y: (gy, 0.5 * gy * (y - mean)), normal(239, 5, 3), normal(240, 5, 3), f=sampled)


@differentiable
def generator_loss(logits):
    """−mean ln σ(D)"""
    return np.log1p(np.exp(-logits)).mean()


@differentiable
def discriminator_loss(real, fake):
    return np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()


@differentiable
def critic_loss(real, fake):
    return fake.mean() - real.mean()


wrong("generator_minus", "evaluated at minus the input", "−σ(D)/N for −σ(−D)/N",
      generator_loss, lambda gy, logits: -gy * np_sigmoid(logits) / logits.size, normal(241, 7, 1))
wrong("generator_saturating", "wrong sign", "copied with the sign of the generator that climbs",
      generator_loss, lambda gy, logits: gy * np_sigmoid(-logits) / logits.size, normal(242, 7, 1))
wrong("generator_no_mean", "factor N | constant factor", "/ N forgotten",
      generator_loss, lambda gy, logits: -gy * np_sigmoid(-logits), normal(243, 7, 1))
wrong("discriminator_exchanged", "inputs swapped", "real and fake exchanged",
      discriminator_loss, lambda gy, real, fake: (gy * np_sigmoid(fake) / 6, -gy * np_sigmoid(-real) / 6),
      normal(244, 6, 1), normal(245, 6, 1))
wrong("discriminator_no_fake", "stop-gradient", "fake taken for detached",
      discriminator_loss, lambda gy, real, fake: (-gy * np_sigmoid(-real) / 6, np.zeros_like(fake)),
      normal(246, 6, 1), normal(247, 6, 1))
wrong("critic_sign", "wrong sign | inputs swapped", "real − fake",
      critic_loss, lambda gy, real, fake: (gy * np.ones(real.shape) / 5, -gy * np.ones(fake.shape) / 5),
      normal(248, 5, 1), normal(249, 5, 1))
wrong("critic_no_mean", "factor N | constant factor", "±1",
      critic_loss, lambda gy, real, fake: (-gy * np.ones(real.shape), gy * np.ones(fake.shape)),
      normal(250, 5, 1), normal(251, 5, 1))

# ================================================================ reductions

wrong("sum_averaged", "factor 1/N | constant factor", "divides by n, copied from mean",
      ops.sum, lambda gy, x_shape: np.full(x_shape, gy / np.prod(x_shape)), normal(260, 3, 5))
wrong("sum_of_ones", "upstream gradient ignored", "ones",
      ops.sum, lambda gy, x_shape: np.ones(x_shape), normal(261, 4, 2))
wrong("sum_along_rows", "wrong axis | axes permuted", "gy spread over the wrong axis of a square",
      ops.sum, lambda gy, x_shape: np.tile(gy, (4, 1)), normal(262, 4, 4), f=lambda x: ops.sum(x, axis=1))
wrong("mean_no_division", "factor N | constant factor", "1/n forgotten, two entries",
      ops.mean, lambda gy, x_shape: np.broadcast_to(gy, x_shape), normal(263, 2))
wrong("mean_large", "factor N | constant factor", "1/n forgotten, a hundred thousand entries",
      ops.mean, lambda gy, x_shape: np.broadcast_to(gy, x_shape), normal(264, 100, 1000))
wrong("mean_of_size", "factor 1/N | constant factor", "divides by all entries, not by those of the axis",
      ops.mean, lambda gy, x_shape: np.broadcast_to(gy[:, None] / np.prod(x_shape), x_shape), normal(265, 3, 4),
      f=lambda x: ops.mean(x, axis=1))
wrong("mean_root", "factor √N | constant factor", "divides by √n",
      ops.mean, lambda gy, x_shape: np.broadcast_to(gy / np.sqrt(np.prod(x_shape)), x_shape), normal(266, 3, 5))
wrong("mean_integer_division", "not linear in the upstream gradient", "gy // n, a step function of gy",
      ops.mean, lambda gy, x_shape: np.broadcast_to(gy // np.prod(x_shape), x_shape), normal(267, 3, 5))
wrong("var_no_two", "factor 1/2 | constant factor", "(x − x̄)/n, two columns",
      ops.var, lambda gy, x: gy * (x - x.mean()) / x.size, normal(268, 3, 2))
wrong("var_not_centred", "", "2 x / n", ops.var, lambda gy, x: gy * 2 * x / x.size, 1 + normal(269, 4, 3))
wrong("var_correction", "constant factor", "n for n − 1",
      ops.var, lambda gy, x: gy * 2 * (x - x.mean()) / x.size, normal(270, 3, 4), f=lambda x: ops.var(x, correction=1))
wrong("var_wrong_mean", "wrong axis", "the mean of all for that of each column",
      ops.var, lambda gy, x: gy * 2 * (x - x.mean()) / len(x), normal(271, 4, 3), f=lambda x: ops.var(x, axis=0))
wrong("norm_not_divided", "", "gy x", ops.norm, lambda gy, x: gy * x, normal(272, 3, 5))
wrong("norm_two", "factor 2 | constant factor", "2 x / y", ops.norm, lambda gy, x, y: gy * 2 * x / y, normal(273, 3, 4))
wrong("norm_squared", "", "x / y²", ops.norm, lambda gy, x, y: gy[:, None] * x / y[:, None]**2, normal(274, 3, 4),
      f=lambda x: ops.norm(x, axis=1))
wrong("norm_of_all", "wrong axis", "divided by the norm of all rows together",
      ops.norm, lambda gy, x: gy[:, None] * x / np.sqrt((x * x).sum()), normal(275, 4, 3),
      f=lambda x: ops.norm(x, axis=1))
wrong("max_everywhere", "spread over the window | derivative left out", "gy to all entries of the row",
      ops.max, lambda gy, x_shape: np.broadcast_to(gy[..., None], x_shape), normal(276, 4, 5),
      f=lambda x: ops.max(x, axis=1))
wrong("max_by_value", "value taken for index | other argument as a factor", "the largest value for the 1",
      ops.max, lambda gy, x, y: gy[..., None] * x * (x == y[..., None]), normal(277, 4, 7),
      f=lambda x: ops.max(x, axis=1))
wrong("max_first", "", "gy to the first entry of the row",
      ops.max, lambda gy, x: np.concatenate([gy[:, None], np.zeros_like(x[:, 1:])], axis=1), normal(278, 4, 5),
      f=lambda x: ops.max(x, axis=1))
wrong("max_of_all", "wrong axis", "only the largest of the whole array counts",
      ops.max, lambda gy, x: gy[:, None] * (x == x.max()), normal(279, 4, 5), f=lambda x: ops.max(x, axis=1))
wrong("logsumexp_unnormalized", "", "eˣ", ops.logsumexp, lambda gy, x: gy * np.exp(x), normal(280, 3, 4))
wrong("logsumexp_shifted_only", "", "e^(x − max)",
      ops.logsumexp, lambda gy, x: gy * np.exp(x - x.max()), normal(281, 3, 3))
wrong("logsumexp_axis", "wrong axis", "softmax over the batch, square",
      ops.logsumexp, lambda gy, x: gy[:, None] * np_softmax(x, 0), normal(282, 4, 4),
      f=lambda x: ops.logsumexp(x, axis=1))
wrong("cumsum_forward", "Jacobian not transposed", "cumsum of gy",
      ops.cumsum, lambda gy, axis: np.cumsum(gy, axis), normal(283, 3, 5), f=lambda x: ops.cumsum(x, 1))
wrong("cumsum_half_flipped", "axis reversed", "the second flip forgotten",
      ops.cumsum, lambda gy: np.cumsum(gy[:, ::-1], 1), normal(284, 3, 5), f=lambda x: ops.cumsum(x, 1))
wrong("cumsum_exclusive", "shifted by one | off by one in time", "gy of the step itself left out",
      ops.cumsum, lambda gy: np.cumsum(gy[::-1], 0)[::-1] - gy, normal(285, 6), f=lambda x: ops.cumsum(x, 0))
wrong("cumsum_left_out", "derivative left out | steps treated as independent | treated as elementwise", "gy",
      ops.cumsum, lambda gy: gy, normal(286, 2, 4), f=lambda x: ops.cumsum(x, 1))
wrong("cumsum_axis", "wrong axis", "over the other axis",
      ops.cumsum, lambda gy: np.cumsum(gy[::-1], 0)[::-1], normal(287, 3, 4), f=lambda x: ops.cumsum(x, 1))

# ================================================================ normalization


def bn_rule(mean_path=1, var_path=1, scale=lambda g, inv, var, eps: g * inv, hat=lambda x, x_hat: x_hat, eps_used=True,
            count=None, beta=lambda gy: gy.sum(axis=0)):
    def rule(gy, x, gamma, eps):
        rows, g = x.reshape(-1, x.shape[-1]), gy.reshape(-1, x.shape[-1])
        n = count(x) if count else len(rows)
        mu, var = rows.mean(axis=0), rows.var(axis=0)
        inv = 1 / np.sqrt(var + (eps if eps_used else 0))
        x_hat = (rows - mu) * inv
        gx = scale(gamma, inv, var, eps) * (g - mean_path * g.sum(axis=0) / n
                                            - var_path * x_hat * (g * x_hat).sum(axis=0) / n)
        return gx.reshape(x.shape), (g * hat(rows, x_hat)).sum(axis=0), beta(g)
    return rule


def bn(x, gamma, beta):
    return ops.batch_norm(x, gamma, beta)[0]


BN = 2 * normal(290, 6, 3) + 1, positive(291, 3), normal(292, 3)
BN_IMAGES = normal(293, 2, 3, 3, 2) - 1, positive(294, 2), normal(295, 2)
for id, names, why, rule, inputs in (
        ("no_paths", "mean and variance paths missing | stop-gradient | treated as elementwise",
         "μ and σ taken for constants", bn_rule(0, 0), BN),
        ("no_mean_path", "mean path missing | stop-gradient", "− Σ gy / n forgotten", bn_rule(0, 1), BN),
        ("no_var_path", "variance path missing | stop-gradient",
         "the path through σ² forgotten", bn_rule(1, 0), BN_IMAGES),
        ("no_gamma", "", "γ forgotten in ∂/∂x", bn_rule(scale=lambda g, inv, var, eps: inv), BN),
        ("variance", "standard deviation for variance", "1/(σ² + ε) for the root",
         bn_rule(scale=lambda g, inv, var, eps: g * inv * inv), BN),
        ("gamma_of_x", "other argument as a factor | evaluated at the input", "Σ gy x for Σ gy x̂",
         bn_rule(hat=lambda x, x_hat: x), BN),
        ("batch_size", "", "n = N, not N H W", bn_rule(count=len), BN_IMAGES),
        ("n_minus_one", "", "n − 1 in the gradient", bn_rule(count=lambda x: len(x) - 1), BN),
        ("beta_mean", "broadcast axis averaged | factor 1/N | constant factor", "mean of gy for β",
         bn_rule(beta=lambda g: g.mean(axis=0)), BN_IMAGES)):
    wrong(f"bn_{id}", names, why, ops.batch_norm, rule, *inputs, f=bn)
wrong("bn_epsilon", "epsilon forgotten", "1/σ, with ε = 0.3",
      ops.batch_norm, bn_rule(eps_used=False), *BN, f=lambda x, g, b: ops.batch_norm(x, g, b, 0.3)[0])
right("bn_right", "over rows of images", ops.batch_norm, bn_rule(), *BN_IMAGES, f=bn)


def ln_rule(axis=-1, var_path=1, gamma_first=True):
    def rule(gy, x, gamma, eps):
        inv = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
        x_hat = (x - x.mean(axis=-1, keepdims=True)) * inv
        g = gy * gamma if gamma_first else gy
        through_var = var_path * x_hat * (g * x_hat).mean(axis=axis, keepdims=True)
        gx = (g - g.mean(axis=axis, keepdims=True) - through_var) * inv
        return gx if gamma_first else gx * gamma, (gy * x_hat).sum(axis=0), gy.sum(axis=0)
    return rule


LN = normal(296, 5, 4), positive(297, 4), normal(298, 4)
wrong("ln_over_batch", "wrong axis", "means over axis 0, as in batch norm, square",
      ops.layer_norm, ln_rule(0), normal(299, 4, 4), positive(300, 4), normal(301, 4))
wrong("ln_no_var_path", "variance path missing | stop-gradient", "σ taken for constant",
      ops.layer_norm, ln_rule(var_path=0), *LN)
wrong("ln_gamma_last", "Jacobian not transposed", "γ multiplied after the means, copied from batch norm",
      ops.layer_norm, ln_rule(gamma_first=False), *LN)
right("ln_right", "layer norm by hand", ops.layer_norm, ln_rule(), *LN)


def standardized(x, axes, eps=1e-5):
    inv = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    return (x - x.mean(axis=axes, keepdims=True)) * inv, inv


def standardized_back(g, x_hat, inv, axes):
    return inv * (g - g.mean(axis=axes, keepdims=True) - x_hat * (g * x_hat).mean(axis=axes, keepdims=True))


@differentiable
def instance_norm(x):
    """(N, C, H, W), each channel of each image"""
    return standardized(x, (2, 3))[0]


@differentiable
def group_norm(x, groups=2):
    """(N, C, H, W), groups of neighbouring channels of each image"""
    n, c, h, w = x.shape
    return standardized(x.reshape(n, groups, c // groups, h, w), (2, 3, 4))[0].reshape(x.shape)


def group_rule(split=lambda a, groups: a.reshape(len(a), groups, -1, *a.shape[2:]), axes=(2, 3, 4)):
    def rule(gy, x, groups):
        x_hat, inv = standardized(split(x, groups), (2, 3, 4))
        return standardized_back(split(gy, groups), x_hat, inv, axes).reshape(x.shape)
    return rule


@differentiable
def rms_norm(x, eps=1e-6):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)


def rms_rule(path):
    def rule(gy, x, y, eps):
        inv = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        return inv * (gy - path * y * (gy * y).mean(axis=-1, keepdims=True))
    return rule


wrong("instance_over_batch", "wrong axis", "means over N, H, W in the gradient",
      instance_norm, lambda gy, x: standardized_back(gy, *standardized(x, (2, 3)), (0, 2, 3)), normal(302, 2, 3, 4, 3))
wrong("instance_constants", "mean and variance paths missing | stop-gradient | treated as elementwise", "gy / σ",
      instance_norm, lambda gy, x: gy * standardized(x, (2, 3))[1], normal(303, 2, 3, 3, 4))
wrong("group_per_pixel", "wrong axis", "means over the channels of a group only",
      group_norm, group_rule(axes=(2,)), normal(304, 2, 4, 3, 2))
wrong("rms_constant", "variance path missing | stop-gradient | treated as elementwise", "the root taken for constant",
      rms_norm, rms_rule(0), normal(305, 4, 5))
right("instance_right", "(N, C, H, W)", instance_norm,
      lambda gy, x: standardized_back(gy, *standardized(x, (2, 3)), (2, 3)), normal(306, 2, 3, 3, 2))
right("group_right", "(N, C, H, W)", group_norm, group_rule(), normal(307, 2, 4, 3, 2))
right("rms_right", "by the output", rms_norm, rms_rule(1), normal(308, 4, 5))

# ================================================================ convolution and pooling


def same_conv_rule(kernel=lambda w: w[::-1, ::-1].swapaxes(2, 3), weight=lambda g: g, bias=lambda g: g.sum((0, 1, 2))):
    """For conv2d with stride 1, padding "same", an odd kernel."""
    def rule(gy, x, w):
        gx = ops.conv2d(gy, np.ascontiguousarray(kernel(w)))
        return gx, weight(ops.conv2d_weight(x, gy, w.shape[:2])), bias(gy)
    return rule


CONV = normal(310, 2, 5, 4, 2), normal(311, 3, 3, 2, 2), normal(312, 2)
for id, names, why, rule in (
        ("kernel", "kernel not flipped", "the kernel not turned by 180°",
         same_conv_rule(lambda w: w.swapaxes(2, 3))),
        ("kernel_half", "", "flipped along one axis only", same_conv_rule(lambda w: w[::-1].swapaxes(2, 3))),
        ("channels", "axes permuted | Jacobian not transposed", "flipped, but C and O not exchanged",
         same_conv_rule(lambda w: w[::-1, ::-1])),
        ("weight_flipped", "axis reversed | kernel not flipped", "∂/∂w comes out turned by 180°",
         same_conv_rule(weight=lambda g: g[::-1, ::-1])),
        ("weight_channels", "axes permuted", "C and O of ∂/∂w exchanged",
         same_conv_rule(weight=lambda g: g.swapaxes(2, 3))),
        ("weight_rows_columns", "axes permuted", "kh and kw exchanged",
         same_conv_rule(weight=lambda g: g.swapaxes(0, 1))),
        ("bias_mean", "broadcast axis averaged | factor 1/N | constant factor", "mean over N, H, W",
         same_conv_rule(bias=lambda g: g.mean((0, 1, 2)))),
        ("bias_first_image", "overwritten, not accumulated | broadcast axis not summed", "the sum over one image only",
         same_conv_rule(bias=lambda g: g[0].sum((0, 1))))):
    wrong(f"conv_{id}", names, why, ops.conv2d, rule, *CONV)
right("conv_right", "a convolution with the turned kernel", ops.conv2d, same_conv_rule(), *CONV)
wrong("conv_bias_unsummed", "broadcast axis not summed", "the bias gradient in the broadcast shape", ops.conv2d,
      same_conv_rule(bias=lambda g: g), *CONV)
wrong("conv_transpose_again", "kernel not flipped | Jacobian not transposed", "conv2d_transpose for conv2d, C = O",
      ops.conv2d_transpose, lambda gx, y, w: (ops.conv2d_transpose(gx, w), ops.conv2d_weight(gx, y, w.shape[:2])),
      normal(313, 2, 4, 3, 2), normal(314, 3, 3, 2, 2))
wrong("conv_transpose_weight_order", "inputs swapped", "conv2d_weight(y, gx), C = O",
      ops.conv2d_transpose, lambda gx, y, w: (ops.conv2d(gx, w), ops.conv2d_weight(y, gx, w.shape[:2])),
      normal(315, 2, 4, 3, 2), normal(316, 3, 3, 2, 2))


@differentiable
def conv1d(x, w, stride=1):
    """x (N, T, C), w (K, C, O) → (N, T', O)"""
    steps = (x.shape[1] - len(w)) // stride + 1
    return np.stack([np.einsum("nkc,kco->no", x[:, t * stride:t * stride + len(w)], w) for t in range(steps)], axis=1)


def conv1d_rule(step=lambda stride: stride, accumulate=True, tap=lambda k, n: k, last=0):
    def rule(gy, x, w, stride):
        gx, gw, s = np.zeros(x.shape), np.zeros(w.shape), step(stride)
        for t in range(gy.shape[1] - last):
            for k in range(len(w)):
                here = gy[:, t] @ w[tap(k, len(w))].T
                gx[:, t * s + k] = here + accumulate * gx[:, t * s + k]
                gw[k] += x[:, t * s + k].T @ gy[:, t]
        return gx, gw
    return rule


CONV1D = normal(317, 2, 9, 3), normal(318, 3, 3, 2)
wrong("conv1d_assigned", "overwritten, not accumulated | overlapping windows ignored", "= for += in ∂/∂x",
      conv1d, conv1d_rule(accumulate=False), *CONV1D)
wrong("conv1d_taps", "kernel not flipped", "the taps of the kernel in the other order",
      conv1d, conv1d_rule(tap=lambda k, n: n - 1 - k), *CONV1D)
wrong("conv1d_stride", "stride ignored", "windows at t + k, not 2 t + k",
      conv1d, conv1d_rule(step=lambda s: 1), *CONV1D, f=lambda x, w: conv1d(x, w, 2))
wrong("conv1d_bounds", "off by one in time", "the last window left out", conv1d, conv1d_rule(last=1), *CONV1D)
right("conv1d_right", "loops over time and taps", conv1d, conv1d_rule(), *CONV1D, f=lambda x, w: conv1d(x, w, 2))

pool = ops.max_pool_with_argmax
IMAGES = normal(320, 2, 4, 6, 3)


def pool_loop(put):
    """Over all windows of 2 × 2 with stride 1, image by image."""
    def rule(gy, x):
        gx = np.zeros(x.shape)
        for n, p, q, c in np.ndindex(gy.shape):
            i, j = np.unravel_index(x[n, p:p + 2, q:q + 2, c].argmax(), (2, 2))
            gx[n, p + i, q + j, c] = put(gx[n, p + i, q + j, c], gy[n, p, q, c])
        return gx
    return rule


wrong("pool_overlap", "overlapping windows ignored | overwritten, not accumulated", "= for += with stride 1",
      pool, pool_loop(lambda old, g: g), normal(321, 1, 4, 5, 2), f=lambda x: ops.max_pool(x, 2, 1))
wrong("pool_spread", "spread over the window", "gy to the whole window",
      pool, lambda gy, size: ops.window_spread(gy, size), IMAGES, f=ops.max_pool)
wrong("pool_shared", "spread over the window", "a quarter to each, as in average pooling",
      pool, lambda gy, size: ops.window_spread(gy, size) / 4, IMAGES, f=ops.max_pool)
wrong("pool_value", "value taken for index | other argument as a factor", "the value for the switch",
      pool, lambda gy, y, argmax: ops.unpool(gy * y, argmax), IMAGES, f=ops.max_pool)
wrong("pool_corner", "", "always to the top left of the window",
      pool, lambda gy, argmax: ops.unpool(gy, 0 * argmax), IMAGES, f=ops.max_pool)
wrong("pool_next", "shifted by one", "the place counted from 1",
      pool, lambda gy, argmax: np.roll(ops.unpool(gy, argmax), 1, axis=2), IMAGES, f=ops.max_pool)
wrong("pool_divided", "factor 1/N | constant factor", "/ 4, left over from average pooling",
      pool, lambda gy, argmax: ops.unpool(gy, argmax) / 4, IMAGES, f=ops.max_pool)
right("pool_loop", "four loops", pool, pool_loop(lambda old, g: old + g), normal(322, 1, 4, 5, 2),
      f=lambda x: ops.max_pool(x, 2, 1))
wrong("avg_pool_divided_again", "factor 1/N | constant factor", "the sum over windows already divided",
      ops.window_sum, lambda gy, size: ops.window_spread(gy, size) / size**2, normal(323, 2, 4, 4, 2),
      f=lambda x: ops.avg_pool(x, 2))
wrong("avg_pool_at_corner", "", "gy to the top left only, stride 3",
      ops.window_sum, lambda gy: np.kron(gy, np.eye(9)[0].reshape(1, 3, 3, 1)), normal(324, 2, 6, 3, 2),
      f=lambda x: ops.avg_pool(x, 3))
wrong("unpool_window_sum", "spread over the window", "the whole window summed for the place of the switch",
      ops.unpool, lambda gx, size: ops.window_sum(gx, size), normal(325, 1, 2, 3, 2),
      f=lambda y: ops.unpool(y, np.random.default_rng(1).integers(0, 4, (1, 2, 3, 2))))
wrong("upsample_averaged", "broadcast axis averaged | factor 1/N | constant factor", "the mean of the window",
      ops.window_spread, lambda gx, size: ops.avg_pool(gx, size), normal(326, 2, 2, 3, 2), f=ops.upsample_nearest)


@differentiable
def upsample(x):
    """(N, C, H, W) → (N, C, 2 H, 2 W)"""
    return x.repeat(2, axis=2).repeat(2, axis=3)


wrong("upsample_strided", "broadcast axis not summed | overwritten, not accumulated", "gy[::2, ::2]",
      upsample, lambda gy: gy[:, :, ::2, ::2], normal(327, 2, 3, 2, 3))
wrong("upsample_halves", "axes permuted", "summed over the halves of the image, as for tile",
      upsample, lambda gy, x_shape: gy.reshape(*x_shape[:2], 2, x_shape[2], 2, x_shape[3]).sum(axis=(2, 4)),
      normal(328, 2, 3, 3, 2))
right("upsample_right", "two reshapes", upsample,
      lambda gy, x_shape: gy.reshape(*x_shape[:3], 2, x_shape[3], 2).sum(axis=(3, 5)), normal(329, 2, 3, 3, 2))

# ================================================================ moving entries

wrong("transpose_reshape", "axes permuted", "reshape for transpose",
      ops.transpose, lambda gy, x_shape: gy.reshape(x_shape), normal(330, 3, 4))
wrong("transpose_same_axes", "axes permuted | Jacobian not transposed", "the permutation for its inverse, a cube",
      ops.transpose, lambda gy, axes: gy.transpose(axes), normal(331, 3, 3, 3),
      f=lambda x: ops.transpose(x, (1, 2, 0)))
wrong("reshape_order", "axes permuted", "Fortran order",
      ops.reshape, lambda gy, x_shape: gy.reshape(x_shape, order="F"), normal(332, 3, 4),
      f=lambda x: ops.reshape(x, (2, 6)))
wrong("reshape_flat", "wrong shape", "ravel",
      ops.reshape, lambda gy: gy.ravel(), normal(333, 3, 4), f=lambda x: ops.reshape(x, (2, 6)))
wrong("flip_kept", "axis reversed | derivative left out", "gy",
      ops.flip, lambda gy: gy, normal(334, 3, 5), f=lambda x: ops.flip(x, 1))
wrong("concat_exchanged", "inputs swapped", "the halves exchanged",
      ops.concat, lambda gy: (gy[3:], gy[:3]), normal(335, 3, 4), normal(336, 3, 4), f=lambda a, b: ops.concat([a, b]))
wrong("concat_offset", "", "the offset never moves on: both get the first part",
      ops.concat, lambda gy: (gy[:3], gy[:3]), normal(337, 3, 2), normal(338, 3, 2), f=lambda a, b: ops.concat([a, b]))
wrong("pad_crop", "shifted by one", "cropped from 0, not from the border",
      ops.pad, lambda gy, x_shape: gy[:x_shape[0]], normal(339, 5, 3), f=lambda x: ops.pad(x, ((1, 1), (0, 0))))


@differentiable
def roll(x):
    return np.roll(x, 1, axis=-1)


@differentiable
def tiled(x):
    return np.tile(x, 3)


@differentiable
def steps_between(x):
    """x[t + 1] − x[t] along axis 0"""
    return x[1:] - x[:-1]


def difference_rule(accumulate):
    def rule(gy, x_shape):
        g = np.zeros(x_shape)
        g[1:] = gy
        g[:-1] = accumulate * g[:-1] - gy
        return g
    return rule


wrong("roll_on", "Jacobian not transposed", "rolled on, not back", roll, lambda gy: np.roll(gy, 1, axis=-1),
      normal(340, 2, 5))
wrong("roll_left_out", "shifted by one | derivative left out", "gy", roll, lambda gy: gy, normal(341, 7))
wrong("tile_as_repeat", "axes permuted | wrong axis", "summed as for repeat",
      tiled, lambda gy: gy.reshape(-1, 3).sum(axis=1), normal(342, 5))
wrong("tile_first_copy", "broadcast axis not summed | overwritten, not accumulated", "the first copy only",
      tiled, lambda gy, x_shape: gy[:x_shape[0]], normal(343, 5))
wrong("difference_assigned", "overwritten, not accumulated", "= for −=", steps_between, difference_rule(0),
      normal(344, 6, 2))
wrong("difference_one_term", "stop-gradient", "the −x[t] forgotten", steps_between,
      lambda gy: np.concatenate([0 * gy[:1], gy]), normal(345, 6, 2))
right("difference_right", "a banded Jacobian", steps_between, difference_rule(1), normal(346, 6, 2))

# ================================================================ sequences


def rnn_forward(x, wx, wh):
    h, states = np.zeros((len(x), wh.shape[0])), []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ wx + h @ wh)
        states.append(h)
    return np.stack(states, axis=1)


@differentiable
def rnn(x, wx, wh):
    """x (N, T, D) → hₜ = tanh(xₜ wx + hₜ₋₁ wh), (N, T, H)"""
    return rnn_forward(x, wx, wh)


def rnn_rule(carry=1, back=lambda w: w.T, slope=lambda h, a: 1 - h * h, shift=0, first=0, keep=1):
    def rule(gy, x, wx, wh, y):
        gx, gwx, gwh, gh = np.zeros(x.shape), np.zeros(wx.shape), np.zeros(wh.shape), np.zeros(y[:, 0].shape)
        before = np.concatenate([np.zeros_like(y[:, :1]), y], axis=1)
        for t in reversed(range(first, x.shape[1])):
            a = x[:, t] @ wx + before[:, t] @ wh
            d = (gy[:, t] + carry * gh) * slope(y[:, t], a)
            gx[:, t] = d @ wx.T
            gwx = keep * gwx + x[:, t].T @ d
            gwh = keep * gwh + before[:, t + shift].T @ d
            gh = d @ back(wh)
        return gx, gwx, gwh
    return rule


RNN = normal(350, 3, 5, 2), 0.7 * normal(351, 2, 4), 0.7 * normal(352, 4, 4)
for id, names, why, rule in (
        ("no_carry", "steps treated as independent | stop-gradient",
         "∂L/∂hₜ₋₁ from step t forgotten", rnn_rule(carry=0)),
        ("no_transpose", "Jacobian not transposed", "δ wh for δ whᵀ", rnn_rule(back=lambda w: w)),
        ("no_slope", "activation's derivative left out", "1 − h² forgotten", rnn_rule(slope=lambda h, a: 1)),
        ("slope_at_input", "evaluated at the input", "1 − a²", rnn_rule(slope=lambda h, a: 1 - a * a)),
        ("state_shifted", "off by one in time | shifted by one", "hₜ for hₜ₋₁ in ∂/∂wh", rnn_rule(shift=1)),
        ("first_left_out", "off by one in time", "range(T − 1, 0, −1)", rnn_rule(first=1)),
        ("last_write", "overwritten, not accumulated", "= for += in the weights", rnn_rule(keep=0))):
    wrong(f"rnn_{id}", names, why, rnn, rule, *RNN)
right("rnn_right", "through time by hand", rnn, rnn_rule(), *RNN)


@differentiable
def rnn_time_first(x, wx, wh):
    """The same in (T, N, D)"""
    return rnn_forward(x.swapaxes(0, 1), wx, wh).swapaxes(0, 1)


def time_first(rule):
    def turned(gy, x, wx, wh, y):
        gx, *rest = rule(*(a.swapaxes(0, 1) for a in (gy, x)), wx, wh, y.swapaxes(0, 1))
        return gx.swapaxes(0, 1), *rest
    return turned


SEQUENCE = normal(353, 4, 4, 3), 0.7 * normal(354, 3, 2), 0.7 * normal(355, 2, 2)
wrong("rnn_tnd_no_carry", "steps treated as independent | stop-gradient", "no carry, (T, N, D)",
      rnn_time_first, time_first(rnn_rule(carry=0)), *SEQUENCE)
wrong("rnn_tnd_batch_for_time", "wrong axis | axes permuted", "gone back along N, which is as long as T",
      rnn_time_first, rnn_rule(), *SEQUENCE)
right("rnn_tnd_right", "(T, N, D)", rnn_time_first, time_first(rnn_rule()), *SEQUENCE)


def lstm_rule(order=(0, 1, 2, 3), carry=1, shift=0, slope_of_tanh_c=lambda c: 1 - c * c, candidate=lambda g: 1 - g * g):
    def rule(gy, x, w, u, h0, c0, y, gates, cells):
        steps = x.shape[1]
        gx, gw, gu, gb = np.zeros(x.shape), np.zeros(w.shape), np.zeros(u.shape), np.zeros(w.shape[1])
        states, gh, gc = [h0, *y.swapaxes(0, 1)], np.zeros(h0.shape), gy[:, steps]
        for t in reversed(range(steps)):
            i, f, o, g = gates[t]
            gh, tanh_c = gh + gy[:, t], np.tanh(cells[t + 1])
            gc = gc + gh * o * slope_of_tanh_c(tanh_c)
            parts = [gc * g * i * (1 - i), gc * cells[t] * f * (1 - f), gh * tanh_c * o * (1 - o),
                     gc * i * candidate(g)]
            d = np.concatenate([parts[k] for k in order], axis=1)
            gx[:, t] = d @ w.T
            gw += x[:, t].T @ d
            gu += states[t + shift].T @ d
            gb += d.sum(axis=0)
            gh, gc = d @ u.T, carry * gc * f
        return gx, gw, gu, gb, gh, gc
    return rule


LSTM = normal(356, 2, 4, 3), normal(357, 3, 8), normal(358, 2, 8), normal(359, 8)
for id, names, why, rule in (
        ("pytorch_order", "gates exchanged", "o and g in PyTorch's order", lstm_rule((0, 1, 3, 2))),
        ("i_and_f", "gates exchanged", "i and f exchanged", lstm_rule((1, 0, 2, 3))),
        ("no_cell_carry", "steps treated as independent | stop-gradient",
         "∂L/∂c not carried to the step before", lstm_rule(carry=0)),
        ("state_shifted", "off by one in time | shifted by one", "hₜ for hₜ₋₁ in ∂/∂u", lstm_rule(shift=1)),
        ("no_tanh_of_cell", "activation's derivative left out", "1 − tanh² c forgotten",
         lstm_rule(slope_of_tanh_c=lambda c: 1)),
        ("candidate_as_gate", "", "g (1 − g) for 1 − g²", lstm_rule(candidate=lambda g: g * (1 - g)))):
    wrong(f"lstm_{id}", names, why, ops.lstm, rule, *LSTM, f=lambda *a: ops.lstm(*a)[0])
right("lstm_right", "step by step", ops.lstm, lstm_rule(), *LSTM, f=lambda *a: ops.lstm(*a)[0])


@differentiable
def attention(q, k, v):
    """softmax(q kᵀ / √d) v        q (T, d), k (S, d), v (S, E)"""
    return np_softmax(q @ k.T / np.sqrt(q.shape[1])) @ v


def attention_rule(scale=np.sqrt, softmax_back=lambda p, g: p * (g - (g * p).sum(axis=-1, keepdims=True))):
    def rule(gy, q, k, v):
        p = np_softmax(q @ k.T / np.sqrt(q.shape[1]))
        s = softmax_back(p, gy @ v.T) / scale(q.shape[1])
        return s @ k, s.T @ q, p.T @ gy
    return rule


QKV = normal(360, 5, 3), normal(361, 4, 3), normal(362, 4, 2)
wrong("attention_scale", "factor √N | constant factor", "1/√d forgotten", attention, attention_rule(lambda d: 1), *QKV)
wrong("attention_d", "factor 1/√N | constant factor", "1/d for 1/√d, values constant",
      attention, attention_rule(lambda d: d), *QKV[:2], f=lambda q, k: attention(q, k, QKV[2]))
wrong("attention_elementwise", "treated as elementwise", "p (1 − p) for the softmax",
      attention, attention_rule(softmax_back=lambda p, g: g * p * (1 - p)), *QKV)
wrong("attention_axis", "wrong axis", "the softmax's sum over the queries",
      attention, attention_rule(softmax_back=lambda p, g: p * (g - (g * p).sum(axis=0, keepdims=True))), *QKV)
wrong("attention_no_softmax", "activation's derivative left out | derivative left out", "the softmax passed by",
      attention, attention_rule(softmax_back=lambda p, g: g), *QKV)
right("attention_right", "three inputs", attention, attention_rule(), *QKV)


@differentiable
def gru_mix(z, h, n):
    return (1 - z) * h + z * n


wrong("gru_sign", "wrong sign", "h − n for n − h",
      gru_mix, lambda gy, z, h, n: (gy * (h - n), gy * (1 - z), gy * z), normal(363, 3, 4), normal(364, 3, 4),
      normal(365, 3, 4))
wrong("gru_exchanged", "inputs swapped | gates exchanged", "z to h, 1 − z to n",
      gru_mix, lambda gy, z, h, n: (gy * (n - h), gy * z, gy * (1 - z)), normal(366, 3, 4), normal(367, 3, 4),
      normal(368, 3, 4))

# ================================================================ odd results

X = normal(370, 3, 4)
for id, names, why, rule in (
        ("none", "not an array", "return forgotten", lambda gy, y: None),
        ("list", "not an array", "lists of numbers", lambda gy, y: (gy * (1 - y * y)).tolist()),
        ("number", "not an array | wrong shape", "one number", lambda gy, y: float((gy * (1 - y * y)).sum())),
        ("string", "not an array", "the formula in quotation marks", lambda gy, y: "gy * (1 - y * y)"),
        ("objects", "not an array | wrong dtype", "an array of objects",
         lambda gy, y: (gy * (1 - y * y)).astype(object)),
        ("dict", "not an array", "by name", lambda gy, y: {"x": gy * (1 - y * y)}),
        ("function", "not an array | not a function", "a function, not called", lambda gy, y: lambda: gy * (1 - y * y)),
        ("integers", "not an array | wrong dtype | not linear in the upstream gradient", "cast to int",
         lambda gy, y: (gy * (1 - y * y)).astype(int)),
        ("float32", "wrong dtype", "cast to float32", lambda gy, y: (gy * (1 - y * y)).astype(np.float32)),
        ("float16", "wrong dtype", "cast to float16", lambda gy, y: (gy * (1 - y * y)).astype(np.float16)),
        ("flat", "wrong shape", "flattened", lambda gy, y: (gy * (1 - y * y)).ravel()),
        ("column", "wrong shape | wrong axis", "summed over the last axis", lambda gy, y: (gy * (1 - y * y)).sum(-1)),
        ("transposed", "wrong shape | axes permuted", "transposed", lambda gy, y: (gy * (1 - y * y)).T),
        ("jacobian", "wrong shape | upstream gradient ignored", "the Jacobian, a diagonal matrix",
         lambda gy, y: np.diag((1 - y * y).ravel())),
        ("clipped", "not linear in the upstream gradient", "np.clip(gy, −0.5, 0.5)",
         lambda gy, y: np.clip(gy, -0.5, 0.5) * (1 - y * y)),
        ("norm_clipped", "not linear in the upstream gradient", "clipped to norm 1",
         lambda gy, y: gy / max(1, 10 * np.sqrt((gy * gy).sum())) * (1 - y * y)),
        ("signs", "not linear in the upstream gradient | upstream gradient ignored", "sign of gy",
         lambda gy, y: np.sign(gy) * (1 - y * y)),
        ("twice", "upstream gradient applied twice | not linear in the upstream gradient", "gy² (1 − y²)",
         lambda gy, y: gy * gy * (1 - y * y)),
        ("added", "upstream gradient applied twice | factor 2 | constant factor", "gy (1 − y²) + gy (1 − y²)",
         lambda gy, y: gy * (1 - y * y) + gy * (1 - y * y)),
        ("plus", "not linear in the upstream gradient", "gy + (1 − y²)", lambda gy, y: gy + (1 - y * y)),
        ("rounded", "not linear in the upstream gradient", "rounded to two digits",
         lambda gy, y: np.round(gy * (1 - y * y), 2)),
        ("zeros", "stop-gradient", "zeros_like", lambda gy, y: np.zeros_like(y))):
    wrong(f"odd_{id}", names, why, ops.tanh, rule, X)
wrong("odd_masked", "not an array", "a masked array, gy below the mask",
      ops.relu, lambda gy, x: np.ma.masked_where(x <= 0, gy), away(371, 3, 4))
wrong("odd_bool", "not an array | upstream gradient ignored", "a mask of where the gradient flows",
      ops.clip, lambda gy, x, low, high: (x > low) & (x < high), away(372, 3, 4), f=lambda x: ops.clip(x, -0.7, 0.7))


def changes_gy(gy, y):
    gy *= 1 - y * y
    return gy


def changes_x(gy, x):
    x[x < 0] = 0
    x[x > 0] = 1
    return gy * x


def changes_y(gy, y):
    y *= 1 - y
    return gy * y


def growing():
    total = []

    def rule(gy, y):
        total.append(gy * (1 - y * y))
        return sum(total)
    return rule


def cached_first():
    kept = []

    def rule(gy, y):
        kept.append(y.copy())
        return gy * (1 - kept[0]**2) * len(kept)**0.5
    return rule


RANDOM = np.random.default_rng(373)


@differentiable
def masked(x, mask, rate):
    return x * mask / (1 - rate)


MASK = (np.random.default_rng(374).random((5, 4)) > 0.25) * 1.0


def dropped(x):
    return masked(x, MASK, 0.25)


wrong("inplace_gy", "changed in place | not a function", "gy *= …", ops.tanh, changes_gy, normal(375, 3, 4))
wrong("inplace_x", "changed in place | not a function", "x becomes the mask", ops.relu, changes_x, away(376, 3, 4))
wrong("inplace_y", "changed in place | not a function", "y *= 1 − y", ops.sigmoid, changes_y, normal(377, 3, 4))
wrong("stateful_sum", "not a function", "a buffer that is never zeroed", ops.tanh, growing(), normal(378, 3, 4))
wrong("stateful_counter", "not a function", "scaled by how often it was called", ops.tanh, cached_first(),
      normal(379, 2, 3))
wrong("dropout_new_mask", "not a function", "a fresh mask in the gradient",
      masked, lambda gy, rate: gy * (RANDOM.random(gy.shape) > rate) / (1 - rate), normal(380, 5, 4), f=dropped)
wrong("dropout_no_mask", "derivative left out", "gy", masked, lambda gy: gy, normal(381, 5, 4), f=dropped)
wrong("dropout_no_scale", "constant factor", "1/(1 − rate) forgotten",
      masked, lambda gy, mask: gy * mask, normal(382, 5, 4), f=dropped)
wrong("dropout_inverse_scale", "constant factor", "multiplied by 1 − rate",
      masked, lambda gy, mask, rate: gy * mask * (1 - rate), normal(383, 5, 4), f=dropped)


@differentiable
def sinc(x):
    return np.where(x == 0, 1.0, np.sin(x) / np.where(x == 0, 1.0, x))


def sinc_slope(gy, x):
    with np.errstate(all="ignore"):
        return gy * (np.cos(x) / x - np.sin(x) / x**2)




@differentiable
def product(x):
    return np.prod(x, axis=-1)


def product_slope(gy, x, y):
    with np.errstate(all="ignore"):
        return (gy * y)[:, None] / x


def all_but_last(gy, y):
    """for i in range(len(y) - 1)"""
    g = np.zeros(y.shape)
    for i in range(len(y) - 1):
        g[i] = gy[i] * (1 - y[i]**2)
    return g


wrong("product_with_zero", "not finite | ties or zeros", "y / x where one x is 0",
      product, product_slope, np.array([[1.0, 0.0, 2.0], [3.0, -1.0, 0.5]]))
wrong("product_left_out", "", "y, not divided by x", product, lambda gy, y: np.repeat((gy * y)[:, None], 3, 1),
      positive(384, 4, 3))
right("product_right", "y / x away from 0", product, product_slope, positive(385, 4, 3))
wrong("loop_bounds", "", "the last row left out", ops.tanh, all_but_last, normal(386, 5, 3))
wrong("loop_bounds_large", "", "the last of a thousand rows left out", ops.tanh, all_but_last, normal(387, 1000, 100))
wrong("sinc_at_zero", "not finite", "0/0 at x = 0", sinc, sinc_slope, np.array([0.0, 1.0, -2.0]))

# ================================================================ second order

SECOND = "stop-gradient in the second order"


def squared_tanh(x):
    return ops.square(ops.tanh(x))


wrong("second_tanh", SECOND, "y as data", ops.tanh, lambda gy, y: gy * (1 - data_of(y)**2), normal(390, 3, 4), order=2)
wrong("second_square", SECOND, "x as data", ops.square, lambda gy, x: 2 * gy * data_of(x), normal(391, 4), order=2)
wrong("second_exp", SECOND, "np.exp of the data", ops.exp, lambda gy, x: gy * np.exp(data_of(x)), normal(392, 2, 3),
      order=2)
wrong("second_gy", SECOND, "gy as data", ops.tanh, lambda gy, y: data_of(gy) * (1 - y * y), normal(393, 3, 2), order=2,
      f=squared_tanh)
wrong("second_softmax", SECOND, "y as data",
      ops.softmax, lambda gy, y: data_of(y) * (gy - ops.sum(gy * data_of(y), -1, keepdims=True)), normal(394, 3, 4),
      order=2)
wrong("second_detached", SECOND, "a detached Tensor", ops.sigmoid,
      lambda gy, y: Tensor(data_of(gy) * data_of(y) * (1 - data_of(y))), normal(395, 4, 2), order=2)
wrong("second_matmul", SECOND, "b as data",
      ops.matmul, lambda gy, a, b: (gy @ data_of(b).T, ops.transpose(a) @ gy), normal(396, 3, 2), normal(397, 2, 4),
      order=2, f=lambda a, b: ops.tanh(ops.matmul(a, b)))
wrong("second_multiply_half", SECOND, "one factor as data",
      ops.multiply, lambda gy, a, b: (gy * b, gy * data_of(a)), normal(398, 3, 4), normal(399, 3, 4), order=2)
wrong("second_factor", "factor 2 | constant factor", "wrong already at first order",
      ops.square, lambda gy, x: 4.0 * gy * x, normal(400, 3, 4), order=2)


def leaf(x):
    """x, on the tape."""
    return x if isinstance(x, Tensor) and x.requires_grad else Tensor(data_of(x), requires_grad=True)


def penalty(x, w, create_graph=True):
    """A critic's mean and mean (‖∂D/∂x‖ − 1)²"""
    with enable_grad():
        x = leaf(x)
        score = ops.tanh(ops.matmul(x, w))
        slope = grad(score.sum(), x, create_graph=create_graph, retain_graph=True)
        return ops.square(ops.norm(slope, axis=1) - 1.0).mean() + score.mean()


GP = normal(401, 4, 3), normal(402, 3, 2)
wrong("penalty_tanh_constant", f"stop-gradient | {SECOND}", "the slope of tanh as data",
      ops.tanh, lambda gy, y: gy * (1 - data_of(y)**2), *GP, f=penalty)
wrong("penalty_not_recorded", f"stop-gradient | {SECOND}", "create_graph=True forgotten",
      ops.tanh, lambda gy, y: gy * (1 - y * y), *GP, f=lambda x, w: penalty(x, w, False))
wrong("penalty_norm_two", "factor 2 | constant factor", "2 x / y in the rule of norm, the penalty alone",
      ops.norm, lambda gy, x, y: 2.0 * ops.reshape(gy / y, (4, 1)) * x, *GP,
      f=lambda x, w: penalty(x, w) - ops.tanh(ops.matmul(leaf(x), w)).mean())
right("penalty_right", "a gradient inside of the function", ops.tanh, lambda gy, y: gy * (1 - y * y), *GP, f=penalty)

# ================================================================ right, in unusual forms


def tanh_loop(gy, x):
    g = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        g[place] = gy[place] / np.cosh(x[place])**2
    return g


def softmax_jacobian(gy, y):
    return np.stack([(np.diag(p) - np.outer(p, p)) @ g for p, g in zip(y, gy, strict=True)])


def matmul_loop(gy, a, b):
    ga, gb = np.zeros(a.shape), np.zeros(b.shape)
    for i, j, k in np.ndindex(a.shape[0], b.shape[1], a.shape[1]):
        ga[i, k] += gy[i, j] * b[k, j]
        gb[k, j] += a[i, k] * gy[i, j]
    return ga, gb


def read_only(gy, y):
    g = gy * (1 - y * y)
    g.flags.writeable = False
    return g


right("tanh_loop", "1 / cosh² entry by entry", ops.tanh, tanh_loop, normal(410, 3, 4))
right("sigmoid_product", "σ(x) σ(−x)", ops.sigmoid, lambda gy, x: gy * np_sigmoid(x) * np_sigmoid(-x),
      normal(411, 3, 4))
right("sigmoid_quarter", "¼ / cosh²(x/2)", ops.sigmoid, lambda gy, x: gy * 0.25 / np.cosh(x / 2)**2, normal(412, 6))
right("softplus_by_output", "1 − e^{−y}", ops.softplus, lambda gy, y: gy * -np.expm1(-y), normal(413, 4, 3))
right("softmax_jacobian", "the whole Jacobian, row by row", ops.softmax, softmax_jacobian, normal(414, 3, 5))
right("softmax_einsum", "einsum", ops.softmax,
      lambda gy, y: np.einsum("ni,nij->nj", gy, np.einsum("ni,ij->nij", y, np.eye(4)) - y[:, :, None] * y[:, None]),
      normal(415, 3, 4))
right("matmul_einsum", "einsum", ops.matmul,
      lambda gy, a, b: (np.einsum("ij,kj->ik", gy, b), np.einsum("ik,ij->kj", a, gy)),
      normal(416, 3, 4), normal(417, 4, 2))
right("matmul_loop", "three loops", ops.matmul, matmul_loop, normal(418, 3, 4), normal(419, 4, 2))
right("matmul_transposed_views", "(b gyᵀ)ᵀ, not contiguous", ops.matmul, lambda gy, a, b: ((b @ gy.T).T, (gy.T @ a).T),
      normal(420, 3, 4), normal(421, 4, 2))
right("dense_list", "a list of three", ops.dense, lambda gy, x, w: [gy @ w.T, x.T @ gy, np.ones(len(gy)) @ gy],
      normal(422, 5, 3), normal(423, 3, 2), normal(424, 2))
right("tanh_fortran", "Fortran order", ops.tanh, lambda gy, y: np.asfortranarray(gy * (1 - y * y)), normal(425, 3, 4))
right("tanh_read_only", "not to be written to", ops.tanh, read_only, normal(426, 3, 4))
right("tanh_factored", "(1 − y)(1 + y)", ops.tanh, lambda gy, y: (1 - y) * (1 + y) * gy, normal(427, 100_000))
right("tanh_saturated", "at ±50 and beside", ops.tanh, lambda gy, y: gy * (1 - y * y),
      np.array([-50.0, -20.0, 0.1, 19.0, 50.0]))
right("sum_view", "a broadcast view", ops.sum, lambda gy, x_shape: np.broadcast_to(gy, x_shape), normal(428, 3, 5))
right("sum_outer", "an outer product with ones", ops.sum, lambda gy, x_shape: np.outer(gy, np.ones(x_shape[1])),
      normal(429, 4, 4), f=lambda x: ops.sum(x, axis=1))
right("mean_many", "over 10⁵ entries", ops.mean, lambda gy, x_shape: np.full(x_shape, gy / 100_000),
      normal(430, 100, 1000))
right("cumsum_total", "the total minus what came before", ops.cumsum,
      lambda gy: gy.sum(axis=1, keepdims=True) - np.cumsum(gy, axis=1) + gy, normal(431, 3, 5),
      f=lambda x: ops.cumsum(x, 1))
right("cumsum_triangle", "a triangular matrix", ops.cumsum, lambda gy: gy @ np.tril(np.ones((5, 5))), normal(432, 3, 5),
      f=lambda x: ops.cumsum(x, 1))
right("var_two_terms", "2/n (x − x̄), the mean's own path computed too", ops.var,
      lambda gy, x: gy * 2 / x.size * ((x - x.mean()) - (x - x.mean()).mean()), normal(433, 2, 3))
right("add_unsummed", "gy for both, though b is a row", ops.add, lambda gy: (gy, gy), normal(434, 4, 4), normal(435, 4))
right("scale_einsum", "Σ by einsum", ops.multiply, lambda gy, a, b: (gy * b, np.einsum("nc,nc->c", gy, a)),
      normal(436, 4, 3), normal(437, 3))
right("square_tiny", "entries near 10⁻⁸", ops.square, lambda gy, x: gy * (x + x), 1e-8 * normal(438, 3, 4))
right("square_huge", "entries near 10⁸", ops.square, lambda gy, x: gy * (x + x), 1e8 * normal(439, 3, 4))
right("log_small", "at 10⁻⁶", ops.log, lambda gy, x: gy * x**-1.0, 1e-6 * positive(440, 5))
right("relu_at_zero", "1 at x = 0", ops.relu, lambda gy, x: gy * (x >= 0),
      np.array([[0.0, 1.5, -2.0], [0.7, 0.0, -0.4]]))
right("abs_at_zero", "+1 at x = 0", ops.abs, lambda gy, x: gy * np.where(x >= 0, 1, -1), np.array([0.0, 2.0, -1.0]))
right("maximum_ties_halved", "half to each on a tie", ops.maximum,
      lambda gy, a, b: (gy * ((a > b) + 0.5 * (a == b)), gy * ((b > a) + 0.5 * (a == b))),
      np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
right("second_tanh_of_x", "1 − tanh²x, recorded", ops.tanh, lambda gy, x: gy * (1 - ops.tanh(x)**2), normal(441, 3, 4),
      order=2)
right("second_exp_of_x", "eˣ again", ops.exp, lambda gy, x: gy * ops.exp(x), normal(442, 4), order=3)
right("second_softplus", "1 / (1 + e⁻ˣ) of small ops", ops.softplus, lambda gy, x: gy / (1 + ops.exp(-x)),
      normal(443, 2, 3), order=2)
right("second_log_softmax", "through the op softmax", ops.log_softmax,
      lambda gy, x: gy - ops.softmax(x) * ops.sum(gy, -1, keepdims=True), normal(444, 3, 4), order=2)
right("logsumexp_by_softmax", "through the op softmax", ops.logsumexp, lambda gy, x: gy[:, None] * ops.softmax(x),
      normal(445, 3, 4), f=lambda x: ops.logsumexp(x, axis=1))
right("bce_two_terms", "(1 − t) σ(x) − t σ(−x)", bce,
      lambda gy, x, t: gy * ((1 - t) * np_sigmoid(x) - t * np_sigmoid(-x)), normal(446, 4, 5), f=bce_of)
right("kl_expm1", "expm1", kl, lambda gy, mean, logvar: (gy * mean, gy * 0.5 * np.expm1(logvar)), normal(447, 4, 3),
      normal(448, 4, 3), f=kl_of)
right("embedding_one_hot", "a product with one-hot rows", ops.getitem, lambda gy, index: np.eye(6)[index].T @ gy,
      normal(449, 6, 3), f=lambda w: ops.embedding(TOKENS, w))
right("tanh_zero_d", "one number, no axis", ops.tanh, lambda gy, y: gy * (1 - y * y), np.array(0.7))
right("tanh_empty", "no entries", ops.tanh, lambda gy, y: gy * (1 - y * y), np.zeros((0, 3)))
right("sign_zeros", "zero everywhere", ops.sign, lambda gy, x: np.zeros(x.shape), away(450, 3, 4))
right("max_argmax", "put_along_axis", ops.max,
      lambda gy, x: (np.arange(x.shape[-1]) == x.argmax(-1)[..., None]) * gy[..., None], normal(451, 4, 7),
      f=lambda x: ops.max(x, axis=1))
right("roll_right", "a permutation matrix", roll, lambda gy: gy @ np.roll(np.eye(5), 1, axis=1).T, normal(452, 2, 5))
right("dropout_right", "a mask that stays", masked, lambda gy, mask, rate: gy * mask / (1 - rate), normal(453, 5, 4),
      f=dropped)
right("huge_factor", "a slope of 10¹⁰", ops.power, lambda gy, x, p: gy * p * x**(p - 1), 1e5 * positive(454, 4),
      f=lambda x: ops.power(x, 3))

WEIGHT = Parameter(normal(455, 4, 3))
LAYER = layers.Dense(4, 3, rng=np.random.default_rng(456))
right("closed_over_parameter", "a Parameter closed over", ops.tanh, lambda gy, y: gy * (1 - y * y), normal(457, 5, 4),
      f=lambda x: ops.tanh(ops.matmul(x, WEIGHT)), parameters={"w": WEIGHT})
right("closed_over_layer", "a Module closed over", ops.dense, lambda gy, x, w: (gy @ w.T, x.T @ gy, gy.sum(axis=0)),
      normal(458, 5, 4), f=lambda x: ops.tanh(LAYER(x)), parameters=LAYER)


if __name__ == "__main__":
    examine_all(ENTRIES)
