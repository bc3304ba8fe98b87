"""Fused kernels for CuPy's arrays: one launch where an op's own lines make many.

Each launch costs 5 to 15 µs of Python. Most kernels of a small model run for less, so its step takes as long as its
launches. A kernel here is the formula of entry t of its result, in CUDA C and float32. No two threads write to the same
number, so results are the same every time.
"""

from functools import partial

import numpy as np

from scratchnet import losses, ops
from scratchnet.backend import array_module
from scratchnet.backend.arrays import gpu_array, gpu_kernel
from scratchnet.backend.products import column_sum, matrix_product
from scratchnet.compiled import table
from scratchnet.compiled.table import OTHER, SHAPES
from scratchnet.optimizers.methods import adam_step

GPU = gpu_array()
form_of, rule_form_of = partial(table.form_of, kind=GPU), partial(table.rule_form_of, kind=GPU)
KERNELS, THREADS, LONG = [], 256, 1 << 30  # all kernels; threads in a block; too many entries

PREAMBLE = """
#define in const float* __restrict__
#define out float* __restrict__
#define bytes unsigned char* __restrict__
__device__ float sigmoid(float x) { float e = expf(-fabsf(x)); return (x < 0 ? e : 1) / (1 + e); }
"""
FRAME = """
extern "C" __global__ void %s(%s, int entries) {
    int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t < entries) { %s
    }
}
"""


class Kernel:
    """The lines `body`, done for all t < entries. Arguments are arrays, Python's ints and floats."""

    def __init__(self, name, parameters, body):
        self.name, self.source, self.compiled = name, FRAME % (name, parameters, body), None
        KERNELS.append(self)

    def __call__(self, entries, *arguments):
        if self.compiled is None:
            self.compiled = gpu_kernel(PREAMBLE + self.source, self.name)
        if entries:
            numbers = [np.int32(a) if type(a) is int else np.float32(a) if type(a) is float else a for a in arguments]
            self.compiled((-(-entries // THREADS),), (THREADS,), (*numbers, np.int32(entries)))


def fits(*arrays):
    """Whether these are C-ordered float32 arrays of one kind, short enough for 32-bit indices; None counts as such."""
    return all(a is None or type(a) is type(arrays[0]) and a.dtype == np.float32 and a.flags.c_contiguous
               and a.size < LONG for a in arrays)


# ---------------------------------------------------------------- entry by entry

def entry_by_entry(where, name, arrays, formula, number=None):
    """A form whose entry t is a formula of entry t of some arrays of one shape, and of a number in [0, 1).

    If the first array is gy, the formula has it as g. It may be one number, repeated: the gradient of a sum or mean.
    """
    is_rule = arrays[0] == "gy"
    parameters = [f"in {a}" for a in arrays] + ["out result"] + ([f"float {number}"] if number else [])
    kernel = Kernel(name, ", ".join(parameters + ["int step"] * is_rule),
                    ("float g = gy[t * step]; " if is_rule else "") + f"result[t] = {formula};")

    @where
    def _(*arguments):
        xs, numbers = arguments[:len(arrays)], [float(a) for a in arguments[len(arrays):]]
        same = is_rule and xs[0].dtype == np.float32 and not any(xs[0].strides)
        if not fits(*xs[same:]):
            return OTHER
        if len({x.shape for x in xs}) > 1 or not all(0 <= a < 1 for a in numbers):
            return SHAPES
        result = array_module(xs[-1]).empty_like(xs[-1])
        kernel(result.size, *xs, result, *numbers, *[0 if same else 1] * is_rule)
        return result


entry_by_entry(form_of(ops.relu), "relu", ["x"], "x[t] <= 0 ? 0 : x[t]")
entry_by_entry(rule_form_of(ops.relu), "relu_back", ["gy", "y"], "g * (y[t] > 0)")
entry_by_entry(form_of(ops.leaky_relu), "leaky_relu", ["x"], "x[t] > slope * x[t] ? x[t] : slope * x[t]", "slope")
entry_by_entry(rule_form_of(ops.leaky_relu, "x"), "leaky_relu_back", ["gy", "x"], "g * (x[t] > 0 ? 1 : slope)", "slope")
entry_by_entry(form_of(ops.sigmoid), "sigmoids", ["x"], "sigmoid(x[t])")
entry_by_entry(rule_form_of(ops.sigmoid), "sigmoid_back", ["gy", "y"], "g * (y[t] * (1 - y[t]))")
entry_by_entry(rule_form_of(ops.tanh), "tanh_back", ["gy", "y"], "g * (1 - y[t] * y[t])")
entry_by_entry(form_of(ops.softplus), "softplus", ["x"], "(x[t] < 0 ? 0 : x[t]) + log1pf(expf(-fabsf(x[t])))")
entry_by_entry(rule_form_of(ops.softplus), "softplus_back", ["gy", "x"], "g * sigmoid(x[t])")
# |x| (1 − t where x > 0, else t) + ln(1 + e^−|x|), in which 0 · ∞ counts as 0
entry_by_entry(form_of(losses.bce_with_logits), "bce", ["x", "p"],
               "((x[t] > 0 ? 1 - p[t] : p[t]) != 0 ? fabsf(x[t]) * (x[t] > 0 ? 1 - p[t] : p[t]) : 0)"
               " + log1pf(expf(-fabsf(x[t])))")
entry_by_entry(rule_form_of(losses.bce_with_logits, "x"), "bce_back", ["gy", "x", "p"], "g * (sigmoid(x[t]) - p[t])")

adam = Kernel("adam", "out p, in g, out m, out v, float beta1, float beta2, float size, float eps", """
    m[t] = beta1 * m[t] + g[t];
    v[t] = beta2 * v[t] + g[t] * g[t];
    p[t] -= size * m[t] / (sqrtf(v[t]) + eps);""")


@form_of(adam_step)
def _(p, g, m, v, beta1, beta2, size, eps, a):
    return adam(p.size, p, g, m, v, beta1, beta2, size, eps) if fits(p, g, m, v) else OTHER


# ---------------------------------------------------------------- batch norm

squares = Kernel("squares", "in x, in mean, out y, int C", """
    float d = x[t] - mean[t % C];
    y[t] = d * d;""")
scale_and_shift = Kernel("scale_and_shift", "in x, in mean, in var, in gamma, in beta, out y, float eps, int C", """
    int c = t % C;
    y[t] = (x[t] - mean[c]) * (gamma[c] / sqrtf(var[c] + eps)) + beta[c];""")
parts_of_gradients = Kernel("parts_of_gradients", "in gy, in x, in mean, in var, out parts, float eps, int C", """
    int c = t % C, row = t / C;
    parts[(2 * row) * C + c] = gy[t];  // Σ over rows: ∂L/∂β
    parts[(2 * row + 1) * C + c] = gy[t] * (x[t] - mean[c]) / sqrtf(var[c] + eps);  // and ∂L/∂γ""")
norm_back = Kernel("norm_back", "in gy, in x, in mean, in var, in gamma, in sums, out gx, float eps, int C, int n", """
    int c = t % C;
    float inv_std = 1 / sqrtf(var[c] + eps), x_hat = (x[t] - mean[c]) * inv_std;
    gx[t] = gamma[c] * inv_std * (gy[t] - sums[c] / n - x_hat * (sums[C + c] / n));""")


@form_of(ops.batch_norm)
def _(x, gamma, beta, eps):
    if not fits(x, gamma, beta):
        return OTHER
    if x.ndim < 2 or not x.size or not gamma.shape == beta.shape == x.shape[-1:] or not 0 <= eps < np.inf:
        return SHAPES
    y, C, lead = array_module(x).empty_like(x), x.shape[-1], x.ndim - 1
    n = x.size // C
    mean = column_sum(x, lead) / n
    squares(x.size, x, mean, y, C)
    var = column_sum(y, lead) / n
    scale_and_shift(x.size, x, mean, var, gamma, beta, y, float(eps), C)
    return y, mean, var


@rule_form_of(ops.batch_norm, "x", "gamma", "beta")
def _(gy, x, gamma, mean, var, eps):
    if mean is None or not fits(gy, x, gamma, mean, var):
        return OTHER
    xp, C, n = array_module(x), x.shape[-1], x.size // x.shape[-1]
    gx, parts = xp.empty_like(x), xp.empty((n, 2, C), dtype=x.dtype)
    parts_of_gradients(x.size, gy, x, mean, var, parts, float(eps), C)
    sums = column_sum(parts, 1)
    norm_back(x.size, gy, x, mean, var, gamma, sums, gx, float(eps), C, n)
    return gx, sums[1], sums[0]


# ---------------------------------------------------------------- LSTM: a product and a kernel for each step

STEP = "int s, int steps, int N, int H"
gates_of = Kernel("gates_of", f"out gates, in from_h, in b, out cells, out h, out y, {STEP}", """
    int k = t % H, i = t / H;
    float *a = gates + (s * N + i) * 4 * H + k;
    const float *r = from_h + i * 4 * H + k;
    a[0] = sigmoid(a[0] + r[0] + b[k]);  // i, f, o, g
    a[H] = sigmoid(a[H] + r[H] + b[H + k]);
    a[2 * H] = sigmoid(a[2 * H] + r[2 * H] + b[2 * H + k]);
    a[3 * H] = tanhf(a[3 * H] + r[3 * H] + b[3 * H + k]);
    float c = a[H] * cells[s * N * H + t] + a[0] * a[3 * H];
    cells[(s + 1) * N * H + t] = c;
    h[t] = a[2 * H] * tanhf(c);
    y[(i * (steps + 1) + s) * H + k] = h[t];
    if (s == steps - 1) y[(i * (steps + 1) + steps) * H + k] = c;""")
gates_back = Kernel("gates_back", f"in gy, in gates, in cells, out gh, out gc, out delta, {STEP}", """
    int k = t % H, i = t / H, at = (s * N + i) * 4 * H + k;
    const float *a = gates + at;
    float I = a[0], F = a[H], O = a[2 * H], G = a[3 * H], tanh_c = tanhf(cells[(s + 1) * N * H + t]);
    float dh = gh[t] + gy[(i * (steps + 1) + s) * H + k], dc = gc[t] + dh * O * (1 - tanh_c * tanh_c);
    delta[at] = dc * G * (I * (1 - I));
    delta[at + H] = dc * cells[s * N * H + t] * (F * (1 - F));
    delta[at + 2 * H] = dh * tanh_c * (O * (1 - O));
    delta[at + 3 * H] = dc * I * (1 - G * G);
    gc[t] = dc * F;""")


@form_of(ops.lstm)
def _(x, w, u, b, h0, c0):
    if not fits(x, w, u, b, h0, c0):
        return OTHER
    xp, (N, steps, inputs), H = array_module(x), x.shape, len(u)
    gates = matrix_product(xp.ascontiguousarray(x.swapaxes(0, 1)).reshape(-1, inputs), w).reshape(steps, N, 4 * H)
    cells, y, h = xp.empty((steps + 1, N, H), dtype=x.dtype), xp.empty((N, steps + 1, H), dtype=x.dtype), h0.copy()
    cells[0] = c0
    if not fits(gates):
        return SHAPES
    for s in range(steps):
        gates_of(N * H, gates, h @ u, b, cells, h, y, s, steps, N, H)
    return y, gates.reshape(steps, N, 4, H).swapaxes(1, 2), cells  # (T, 4, N, H), as the op's own lines have them


@rule_form_of(ops.lstm, "x", "w", "u", "b", "h0", "c0")
def _(gy, x, w, u, b, h0, c0, y, gates, cells):
    gates = None if gates is None else gates.swapaxes(1, 2)
    if gates is None or not fits(x, w, u, h0, y, gates, cells) or gy.dtype != x.dtype:
        return OTHER
    xp, (N, steps, inputs), H = array_module(x), x.shape, len(u)
    gy, delta, gh = xp.ascontiguousarray(gy), xp.empty((steps, N, 4 * H), dtype=x.dtype), xp.zeros_like(h0)
    gc = gy[:, steps].copy()
    for s in reversed(range(steps)):
        gates_back(N * H, gy, gates, cells, gh, gc, delta, s, steps, N, H)
        gh = delta[s] @ u.T
    before = xp.empty((steps, N, H), dtype=x.dtype)  # h₀ … of the step before each
    before[0], before[1:] = h0, y[:, :steps - 1].swapaxes(0, 1)
    delta = delta.reshape(steps * N, 4 * H)
    gw = matrix_product(xp.ascontiguousarray(x.swapaxes(0, 1)).reshape(-1, inputs).T, delta)
    gu = matrix_product(before.reshape(-1, H).T, delta)
    gx = matrix_product(delta, w.T).reshape(steps, N, inputs).swapaxes(0, 1)
    return gx, gw, gu, column_sum(delta, 1), gh, gc
