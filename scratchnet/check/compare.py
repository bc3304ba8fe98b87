"""The gradient of a Function against numbers: guards first, then every input, at a nearby point if there is a kink."""

import numpy as np

from scratchnet.autograd import data_of
from scratchnet.autograd.notes import recorded_casts
from scratchnet.check.numeric import slopes
from scratchnet.check.report import Report, Row

ENTRIES, OUTPUTS = 10_000, 500  # of a ∂y/∂x with at most this many entries and rows, every entry is checked
COTANGENTS, SAMPLED, DENSE = 3, 24, 4  # random cotangents; entries and dense directions of an input larger than that
REDRAWS = 3
FACTORS = (0.0, -2.0, 2.0**-30, -2.0**40)  # a gradient must grow with its cotangent; powers of 2 do not round


def compare(function, rng, entries):
    """The Report of one order: guards, then every input against numbers, at a nearby point if this one is at a kink."""
    notes, given = [], dict(zip(function.names, function.values, strict=True)) | function.constants()
    before = {name: x.copy() for name, x in given.items()}
    try:
        y = function.evaluate(function.values)
    except Exception as error:
        if function.of:  # a derivative: the function itself was evaluated before, so it is a rule that fails
            return Report(faults=[in_words(error)])
        raise
    if not np.array_equal(y, function.evaluate(function.values), equal_nan=True):
        return Report(faults=["f gives another result when it is called again with the same inputs: if it draws random "
                              "numbers, seed the generator inside f"])
    cotangents = rng.standard_normal((COTANGENTS, y.size))
    on_tape = np.asarray(data_of(function.record(function.values)[0]))
    if on_tape.shape != y.shape or not np.allclose(on_tape, y, rtol=1e-9, atol=1e-12 * _largest(y), equal_nan=True):
        return Report(faults=["f gives another result for Tensors than for arrays, so that the gradient belongs to a "
                              "different function"])
    try:
        faults = _guards(function, cotangents)
    except Exception as error:  # a learner's rule may raise anything
        return Report(faults=[in_words(error)])
    faults += [f"f changed its input {name} in place" for name, x in given.items()
               if not np.array_equal(x, before[name], equal_nan=x.dtype.kind in "fc")]
    for redraw in range(1 + REDRAWS):
        rows, at_kinks = _rows(function, y, cotangents, rng, entries)
        lost = [row.left_out.size > 0 and row.left_out.mean() > 0.5 for row in rows]
        if not any(at_kinks) and not any(lost):
            break
        notes += [_kink_note(row, kinks) for row, kinks in zip(rows, at_kinks, strict=True) if len(kinks)]
        faults += [f"at the kink {row.name}{tuple(map(int, np.unravel_index(e, row.shape)))} the rule gives {a:.4g}, "
                   f"which is not between the slope to the left, {lo:.4g}, and the slope to the right, {hi:.4g}"
                   for row, kinks in zip(rows, at_kinks, strict=True) for e, a, lo, hi, between in kinks if not between]
        faults += [fault for i, row in enumerate(rows) if at_kinks[i] for fault in _ties(function, i, row, rng)]
        if faults or any(row.wrong for row in rows):
            break
        function = function.at([beside(x, rng, redraw) if kinks or gone else x
                                for x, kinks, gone in zip(function.values, at_kinks, lost, strict=True)])
        y = function.evaluate(function.values)
    faults += [f"f has no derivative at {int(row.left_out.any(axis=0).sum())} of {len(row.entries)} entries of "
               f"{row.name} (kinks, or results that are not finite): choose other inputs"
               for row, gone in zip(rows, lost, strict=True) if gone]
    return Report(rows, faults, notes)


def _guards(function, cotangents):
    """Faults that show in the gradient alone, without numbers to compare with."""
    v, faults = cotangents[0], []
    kept = v.copy()
    with recorded_casts() as casts:
        once, again = function.gradients([v, v])  # on one tape: a rule must not change the arrays that it kept
    faults += [f"{op}: its gradient rule computes in {got}, though its input is {wanted}" for op, got, wanted, result
               in casts if np.finfo(got).eps > max(np.finfo(wanted).eps, np.finfo(result).eps)]
    scaled = function.gradients([factor * v for factor in FACTORS])
    if not np.array_equal(v, kept):
        faults.append("the gradient changes the cotangent ∂L/∂y in place")
    faults += [f"the gradient changed its input {name} in place" for name in function.changed_by_gradient(v)]
    for name, g, g_again, *others in zip(function.names, once, again, *scaled, strict=True):
        if g is None:
            continue
        if not np.array_equal(g, g_again, equal_nan=True):
            faults.append(f"the gradient of {name} differs when it is computed again")
        factor = next((f for f, other in zip(FACTORS, others, strict=True) if not _is_multiple(other, f, g)), None)
        if factor is not None:
            faults.append(f"the gradient of {name} is not linear: {factor:g} times the cotangent ∂L/∂y does not give "
                          f"{factor:g} times the gradient")
    return faults


def _is_multiple(scaled, factor, g):
    """Whether `scaled` is factor times g, up to rounding."""
    atol = 1e-12 * max(1.0, float(np.abs(g).max(initial=0))) * (abs(factor) or 1.0)
    return scaled is not None and np.allclose(scaled, factor * g, rtol=1e-9, atol=atol, equal_nan=True)


def in_words(error):
    """An error from a gradient rule as a sentence of the report."""
    own = isinstance(error, ValueError) and ": its gradient rule gave " in str(error)
    return str(error) if own else f"the gradient cannot be computed. {type(error).__name__}: {error}"


def _rows(function, y, random, rng, entries):
    """(rows, kinks): for every input the Row, and for its entries at a kink [(entry, gradient by the rule, slope to the
    left, slope to the right, whether the rule lies between)]. Differentiates along every entry, or along a sample."""
    full = y.size <= OUTPUTS and y.size * sum(x.size for x in function.values) <= entries
    cotangents = np.concatenate([random, np.eye(y.size)]) if full else random
    names = [None] * len(random) + (list(range(y.size)) if full else [])
    analytic = function.gradients(list(cotangents))
    rows, all_kinks = [], []
    for i, x in enumerate(function.values):
        if full:
            which, directions = list(range(x.size)), list(range(x.size))
        else:
            sample = rng.choice(x.size, min(SAMPLED, x.size), replace=False)
            which = [*map(int, sample), *[None] * DENSE]
            directions = [*map(int, sample), *rng.standard_normal((DENSE, x.size))]
        a = np.array([_along(g[i], directions) for g in analytic]).reshape(len(cotangents), len(directions))

        def whole(z, i=i):
            return function.evaluate([*function.values[:i], z, *function.values[i + 1:]]).ravel()

        def numbers(z, whole=whole, directions=directions):
            return slopes(lambda z: cotangents @ whole(z), z, directions, rng, whole, function.cancelled)
        s = numbers(x)
        numeric, kink = s.value.T, s.kink.T.copy()
        if full:  # a kink of one entry of y is a kink of the random sums as well, but may go unnoticed there
            kink[:len(random)] = np.maximum(kink[:len(random)], kink.max(axis=0, initial=0))
        natural = np.nan_to_num(np.abs(cotangents) @ (np.abs(y).ravel() + function.cancelled))[:, None] \
            / np.abs(x).max(initial=1.0)  # how large the terms may have been that cancelled in each number
        row = Row(function.names[i], x.shape, y.shape, a, numeric, _tolerance(a, s, natural), which, names, kink > 0,
                  s.method)
        little = np.maximum(1e-2 * _largest(numeric), 1e-10 * natural)
        if row.wrong and (np.abs(a - numeric) <= little)[kink == 0].all():
            row.allow(_roughness(function, i, a, s, cotangents, directions, numbers, rng))
        rows.append(row)
        all_kinks.append(_conventions(row, kink, s.left.T, s.right.T, full))
    return rows, all_kinks


def _tolerance(a, s, natural):
    """How far the gradient by the rule (a) may lie from the numbers (s): 1e-7 of each number, its error bound, and the
    rounding of the terms that may have cancelled in it. These may have been as large as other entries of ∂L/∂x, or as
    is natural for the sizes of x and y."""
    numeric, kink = s.value.T, s.kink.T
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.sqrt(np.mean(np.where(kink > 0, 0, a) ** 2, axis=1, keepdims=True)) if a.size else 0.0
        return np.maximum(1e-7, 300 * s.eps) * np.maximum(np.abs(numeric), 0.1 * scale) + 10 * s.error.T \
            + 300 * s.eps * (_largest(numeric[kink == 0]) + natural)


def _roughness(function, i, a, s, cotangents, directions, numbers, rng):
    """Ten times the effect of rounding on both sides: |D(x + δ) + D(x − δ) − 2 D(x)|, which is only δ² D″ for a smooth
    D. The smallest steps δ may all round to the same number in the rule, so the largest of several results counts."""
    x, rough = function.values[i], np.zeros_like(a)
    for width in (1e-6, 3e-6, 1e-5):
        step = max(width, 100 * s.eps) * (np.abs(x).max(initial=0.0) or 1.0) * rng.standard_normal(x.shape)
        by_rule, by_numbers = -2.0 * a, -2.0 * s.value.T
        for z in (x + step, x - step):
            gradients = function.at([*function.values[:i], z, *function.values[i + 1:]]).gradients(list(cotangents))
            by_rule = by_rule + np.array([_along(g[i], directions) for g in gradients]).reshape(a.shape)
            by_numbers = by_numbers + numbers(z).value.T
        rough = np.maximum(rough, np.nan_to_num(np.abs(by_rule) + np.abs(by_numbers)))
    return 10 * rough


def _largest(values):
    """The largest absolute value among the finite ones."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _along(g, directions):
    """⟨g, d⟩ for every direction."""
    flat = None if g is None else g.ravel()
    return [0.0 if g is None else flat[d] if np.ndim(d) == 0 else flat @ d for d in directions]


def _conventions(row, kink, left, right, full):
    """[(entry, gradient by the rule, slope to the left, slope to the right, whether the rule lies between)] for entries
    of x at a kink. For a random cotangent the slopes are sums, which bound nothing."""
    found = []
    for d, entry in enumerate(row.entries):
        at = np.flatnonzero(kink[:, d] == 2)
        at = [k for k in at if row.cotangents[k] is not None] if full else at[:1]
        for k in at[:1] if entry is not None else []:
            a, lo, hi = row.analytic[k, d], *sorted((left[k, d], right[k, d]))
            margin = 1e-4 * max(abs(lo), abs(hi))
            between = not full or bool(lo - margin <= a <= hi + margin)
            found.append((entry, a, left[k, d] + 0.0, right[k, d] + 0.0, between))
    return found


def _ties(function, i, row, rng):
    """Faults of the convention at a tie. Where several entries of x are at a kink of one result, the sum of their
    gradients must lie between the slopes along all of them. (Where the two largest tie, they share 1, not 2.)"""
    x = function.values[i]

    def result(z, k):
        return function.evaluate([*function.values[:i], z, *function.values[i + 1:]]).ravel()[k:k + 1]
    for c, k in enumerate(row.cotangents):
        tied = np.flatnonzero(row.left_out[c]) if k is not None else []
        if len(tied) < 2:
            continue
        along = np.isin(np.arange(x.size), [row.entries[d] for d in tied]).astype(float)
        s = slopes(lambda z, k=k: result(z, k), x, [along], rng)
        low, high, given = *sorted((float(s.left[0, 0]), float(s.right[0, 0]))), float(row.analytic[c, tied].sum())
        margin = 1e-4 * max(abs(low), abs(high))
        if not low - margin <= given <= high + margin:
            where = " and ".join(str(tuple(map(int, np.unravel_index(row.entries[d], row.shape)))) for d in tied[:3])
            yield (f"at the kink where {row.name}{where} tie, the rule gives {given:.4g} in all, which is not between "
                   f"the slopes along them, {low:.4g} and {high:.4g}")


def _kink_note(row, kinks):
    """The note on the entries of an input that are at a kink, with the slopes and the convention at the first one."""
    entry, a, left, right, _ = kinks[0]
    index = tuple(map(int, np.unravel_index(entry, row.shape)))
    more = f" and {len(kinks) - 1} more" if len(kinks) > 1 else ""
    return (f"kink or tie at {row.name}{index}{more}: the rule is a convention there (slope to the left {left:.4g}, to "
            f"the right {right:.4g}, the rule gives {a:.4g}), and the point was drawn again nearby")


def beside(x, rng, redraw=0):
    """A point near x, relative to the size of x; from the third draw on, of at least 1, since x itself may be tiny."""
    size = np.sqrt(np.mean(x * x)) or 1.0
    return x + 0.05 * (size if redraw < 2 else max(1.0, size)) * rng.standard_normal(x.shape)


def recorded_differs(function, v):
    """The fault of a gradient that differs from the plain one when create_graph=True records it; None if none does."""
    plain = function.gradients([v])[0]
    for name, a, b in zip(function.names, plain, function.recorded_gradient(v), strict=True):
        scale = max(1.0, 0.0 if a is None else float(np.abs(a).max(initial=0)))
        if (a is None) != (b is None) or (a is not None and not np.allclose(a, b, rtol=1e-7, atol=1e-10 * scale)):
            return (f"the gradient of {name} differs when it is recorded (create_graph=True): a rule must give the "
                    f"same on arrays and on Tensors")
    return None
