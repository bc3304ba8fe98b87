"""Gradient checks: is the gradient that a rule gives the derivative of the function that it belongs to?

    check.gradients(ops.tanh, x)              passes, or raises GradientMismatch with a table of what differs where
    check.gradients(f, x, w, order=2)         the second derivatives too

The function is reduced to a number with a random cotangent v, L = ⟨v, f(x)⟩: never with ones, for which every softmax
would have gradient zero. Reverse mode gives ∂L/∂x in one pass. Numbers to hold it against come from a complex step,

    ∂L/∂xᵢ = Im L(x + i h eᵢ) / h,  h = 1e-20        (Squire & Trapp 1998), exact to rounding, where f is analytic,

else from central differences at steps h and h/2, combined to cancel the h² error (Richardson), and their disagreement
tells how far to trust them.
"""

import warnings

import numpy as np

from scratchnet.autograd import Tensor, grad
from scratchnet.tensor import data_of

STEP = 1e-4  # of central differences, relative to the size of the entry
ENTRIES = 2000  # inputs of up to so many entries are checked at all of them


class GradientMismatch(AssertionError):
    """A gradient that is not the derivative; the message is the report."""


def gradients(f, *inputs, order=1, seed=0, entries=ENTRIES):
    """Check ∂⟨v, f⟩/∂x for every floating-point input x of f, up to the given order. Returns the Report.

    f        any function of arrays and Tensors that gives one Tensor (or several, of which the first counts)
    inputs   arrays; floating-point ones are checked in float64 copies, others are passed on as they are
    order    2 checks the gradient of ⟨∂L/∂x, u⟩, u random, in the same way, and so on
    entries  of a larger input so many entries are drawn at random, and 8 dense random directions

    The inputs should lie away from kinks: where one-sided differences disagree, also at a step 100 times smaller, the
    entry is left out, and the report counts it.

    Raises GradientMismatch, also if f changes its inputs or gives another result when it is called again.
    """
    rng = np.random.default_rng(seed)
    inputs = [np.array(data_of(x), dtype=np.float64) if _is_float(x) else x for x in inputs]
    before = [x.copy() if _is_float(x) else x for x in inputs]
    wanted = [i for i, x in enumerate(inputs) if _is_float(x)]
    y = _first(f(*inputs))
    if not np.array_equal(y, _first(f(*inputs)), equal_nan=True):
        raise GradientMismatch("f gives another result when it is called again with the same inputs")
    v = rng.standard_normal(y.shape)

    analytic = _analytic(f, inputs, wanted, v)
    for scale in (0.0, 2.0):  # a gradient is linear in the cotangent
        for a, g in zip(analytic, _analytic(f, inputs, wanted, scale * v), strict=True):
            if not np.allclose(g, scale * a, rtol=1e-10, atol=1e-12):
                raise GradientMismatch(f"the gradient is not linear: {scale:.0f} times the cotangent does not give "
                                       f"{scale:.0f} times the gradient")
    report = Report()
    for i, a in zip(wanted, analytic, strict=True):
        report.add(i, a, *_numeric(lambda z, i=i: _scalar(f, inputs, i, z, v), inputs[i], a, rng, entries))
    for i, (x, old) in enumerate(zip(inputs, before, strict=True)):
        if _is_float(x) and not np.array_equal(x, old):
            raise GradientMismatch(f"f changed its input {i} in place")
    if report.wrong:
        raise GradientMismatch(str(report))
    if order > 1:
        directions = [rng.standard_normal(inputs[i].shape) for i in wanted]
        report.higher = gradients(_directional(f, wanted, v, directions), *inputs, order=order - 1, seed=seed + 1,
                                  entries=entries)
    return report


def _directional(f, wanted, v, directions):
    """x ↦ Σᵢ ⟨∂⟨v, f⟩/∂xᵢ, uᵢ⟩, a number that is differentiable again."""
    def value(*inputs):
        xs = [Tensor(x, requires_grad=True) if i in wanted and not isinstance(x, Tensor) else x
              for i, x in enumerate(inputs)]
        y = f(*xs)
        y = y[0] if isinstance(y, (tuple, list)) else y
        gs = grad(y, [xs[i] for i in wanted], v, create_graph=True)
        total = None
        for g, u in zip(gs, directions, strict=True):
            if g is not None:
                term = (g * u).sum()
                total = term if total is None else total + term
        return Tensor(np.zeros(())) if total is None else total
    return value


def numerical_gradient(f, x, seed=0):
    """∂f/∂x of a function of one array that gives a number, by central differences with Richardson's correction."""
    x = np.array(data_of(x), dtype=np.float64)
    numeric, _, _ = _differences(lambda z: float(_first(f(z))), x, _directions(x.size))
    return numeric.reshape(x.shape)


def jacobian(f, x):
    """∂yⱼ/∂xᵢ by reverse mode, one row an entry of y: (y.size, x.size)."""
    x = np.array(data_of(x), dtype=np.float64)
    y = _first(f(x))
    rows = [_analytic(f, [x], [0], np.eye(1, y.size, j).reshape(y.shape))[0].ravel() for j in range(y.size)]
    return np.array(rows).reshape(y.size, x.size)


def adjoint(forward, transpose, x_shape, y_shape, seed=0):
    """Check ⟨S x, y⟩ = ⟨x, Sᵀ y⟩ for random x and y: that `transpose` is the adjoint of the linear map `forward`."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    left, right = np.vdot(data_of(forward(x)), y), np.vdot(x, data_of(transpose(y)))
    if not abs(left - right) <= 1e-10 * max(1.0, abs(left), abs(right)):
        raise GradientMismatch(f"⟨S x, y⟩ = {left:.12g}, but ⟨x, Sᵀ y⟩ = {right:.12g}: not each other's adjoint")


def taylor(f, x, seed=0):
    """The order p in |f(x + h u) − f(x) − h ⟨∂f/∂x, u⟩| ~ hᵖ for a number f and a random direction u: 2 if right."""
    rng = np.random.default_rng(seed)
    x = np.array(data_of(x), dtype=np.float64)
    u, y = rng.standard_normal(x.shape), float(_first(f(x)))
    slope = float(np.vdot(_analytic(f, [x], [0], np.ones(()))[0], u))
    steps = np.array([1e-2, 5e-3, 2.5e-3])
    rest = [abs(float(_first(f(x + h * u))) - y - h * slope) for h in steps]
    return float(np.polyfit(np.log(steps), np.log(np.maximum(rest, 1e-300)), 1)[0])


class Report:
    """One row for each checked input; `str(report)` is the table."""

    def __init__(self):
        self.rows, self.wrong, self.higher = [], False, None

    def add(self, i, analytic, where, a, n, tolerance, method, kinks):
        """Input i: analytic values a and numeric values n at the entries (or directions) `where`."""
        error = np.abs(a - n)
        right = bool((error <= tolerance).all())  # False for NaN
        worst = int(np.argmax(np.where(np.isfinite(error), error / tolerance, np.inf))) if len(error) else None
        self.wrong |= not right
        row = [f"{i} {analytic.shape}", "right" if right else "WRONG"]
        if worst is not None:
            relative = error[worst] / max(abs(a[worst]), abs(n[worst]), 1e-300)
            entry = where[worst]
            index = "a random direction" if entry is None else str(
                tuple(map(int, np.unravel_index(entry, analytic.shape))))
            row += [index, f"{a[worst]:.10g}", f"{n[worst]:.10g}", f"{relative:.1e}"]
        else:
            row += ["–"] * 4
        self.rows.append([*row, method + (f", {kinks} at kinks left out" if kinks else "")])

    def __str__(self):
        header = ["input", "gradient", "worst entry", "by the rule", "numeric", "relative error", "compared with"]
        widths = [max(len(row[k]) for row in [header, *self.rows]) for k in range(len(header))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in [header, *self.rows]]
        return "\n".join(["gradient check", *lines, *(["next order: " + str(self.higher)] if self.higher else [])])

    __repr__ = __str__


def _is_float(x):
    return getattr(data_of(x), "dtype", np.dtype(int)).kind == "f"


def _first(y):
    return np.asarray(data_of(y[0] if isinstance(y, (tuple, list)) else y))


def _analytic(f, inputs, wanted, v):
    """∂⟨v, f⟩/∂x for the wanted inputs, by reverse mode; zeros where nothing flows."""
    xs = [Tensor(x, requires_grad=True) if i in wanted else x for i, x in enumerate(inputs)]
    y = f(*xs)
    y = y[0] if isinstance(y, (tuple, list)) else y
    if not (isinstance(y, Tensor) and y.requires_grad):
        return [np.zeros(inputs[i].shape) for i in wanted]
    gs = [g if g is None else g.data for g in grad(y, [xs[i] for i in wanted], v)]
    for i, g in zip(wanted, gs, strict=True):
        if g is not None and (g.shape != inputs[i].shape or g.dtype != inputs[i].dtype):
            raise GradientMismatch(f"the gradient of input {i} is {g.dtype} {g.shape}, the input {inputs[i].shape}")
    return [np.zeros(inputs[i].shape) if g is None else g for i, g in zip(wanted, gs, strict=True)]


def _scalar(f, inputs, i, z, v):
    """L = ⟨v, f(…, z, …)⟩ with input i replaced by z."""
    with np.errstate(all="ignore"):
        return (v * _first(f(*inputs[:i], z, *inputs[i + 1:]))).sum()


def _directions(size, rng=None, entries=None):
    """[(entry, direction)]: all entries, or a sample of them and 8 dense directions, whose entry is None."""
    if entries is None or size <= entries:
        return [(e, e) for e in range(size)]
    sample = rng.choice(size, entries, replace=False)
    return [*((e, e) for e in sample), *((None, rng.standard_normal(size)) for _ in range(8))]


def _step(x, direction, h):
    """h times the direction, in the shape of x; a direction is a vector or the number of an entry."""
    if np.ndim(direction):
        return (h * direction).reshape(x.shape)
    d = np.zeros(x.size)
    d[direction] = h
    return d.reshape(x.shape)


def _numeric(L, x, analytic, rng, entries):
    """(where, analytic, numeric, tolerance, method, kinks) for one input."""
    directions = _directions(x.size, rng, entries)
    flat = analytic.ravel()
    a = np.array([flat[d] if np.ndim(d) == 0 else flat @ d for _, d in directions])
    method = "complex step"
    n = _complex_step(L, x, directions, rng)
    kinks = np.zeros(len(directions), dtype=bool)
    if n is None:
        method = "differences"
        n, error, kinks = _differences(L, x, directions)
    else:
        error = 1e-12 * np.abs(n)
    keep = ~kinks
    if len(keep) and keep.mean() < 0.5:
        raise GradientMismatch(f"{kinks.sum()} of {len(kinks)} entries lie at a kink; draw the inputs elsewhere")
    scale = np.sqrt(np.mean(a[keep] ** 2)) if keep.any() else 0.0
    tolerance = 1e-7 * np.maximum(np.abs(n), 0.1 * scale) + 10 * error + 1e-12
    where = [entry for (entry, _), k in zip(directions, keep, strict=True) if k]
    return where, a[keep], n[keep], tolerance[keep], method, int(kinks.sum())


def _complex_step(L, x, directions, rng):
    """Im L(x + i h d) / h for all directions, or None where f is not analytic: it refuses complex numbers, drops the
    imaginary part, or does not agree with differences along a random direction."""
    probe = [(None, rng.standard_normal(x.size))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part was dropped
            at = [L(x + 1j * _step(x, d, 1e-20)) for _, d in [*probe, *directions]]
    except (TypeError, ValueError, AttributeError, RuntimeError, np.exceptions.ComplexWarning):
        return None
    if not all(np.iscomplexobj(value) for value in at):
        return None
    n = np.array([value.imag for value in at]) / 1e-20
    by_difference, error, kinks = _differences(L, x, probe)
    if kinks[0] or abs(n[0] - by_difference[0]) > 1e-4 * abs(by_difference[0]) + 100 * error[0]:
        return None
    return n[1:]


def _differences(L, x, directions):
    """(derivatives, error bounds, whether there is a kink) along each direction.

    D(h) = (L(x + h d) − L(x − h d)) / 2h = L′ + O(h²), so (4 D(h/2) − D(h)) / 3 = L′ + O(h⁴).
    The two one-sided slopes differ by h L″ + O(h³) where L is smooth, so by half as much at h/2; with a kink within
    the step they do not.
    """
    here, rows = L(x).real, []
    for _, d in directions:
        size = np.abs(x).max(initial=1.0) if np.ndim(d) else max(1.0, abs(x.flat[d]))
        h = STEP * size / (np.linalg.norm(d) if np.ndim(d) else 1.0)
        row = _difference(L, x, d, h, here)
        rows.append(_difference(L, x, d, h / 100, here) if row[2] else row)  # perhaps the kink is not so near
    return np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows], dtype=bool)


def _difference(L, x, d, h, here):
    """One row of _differences: (derivative, error bound, whether there is a kink) along d with step h."""
    up, down = L(x + _step(x, d, h)).real, L(x - _step(x, d, h)).real
    half_up, half_down = L(x + _step(x, d, h / 2)).real, L(x - _step(x, d, h / 2)).real
    coarse, fine = (up - down) / (2 * h), (half_up - half_down) / h
    value = (4 * fine - coarse) / 3
    noise = 4e-16 * max(abs(here), abs(up), abs(down)) * max(1.0, np.sqrt(x.size)) / h
    bend, half_bend = (up + down - 2 * here) / h, (half_up + half_down - 2 * here) / (h / 2)
    return value, abs(value - fine) + noise, abs(half_bend - bend / 2) > 1e-6 * abs(value) + 100 * noise
