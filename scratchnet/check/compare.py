"""The gradient of a Function against numbers: guards first, then every input, beside the point if it is a kink."""

import numpy as np

from scratchnet.autograd import GradientShapeError
from scratchnet.check.numeric import slopes
from scratchnet.check.report import Report, Row

ENTRIES, OUTPUTS = 10_000, 500  # of ∂y/∂x, and rows of it: up to so many, all are checked
COTANGENTS, SAMPLED, DENSE = 3, 24, 4  # random cotangents; entries and dense directions of an input that is too large
REDRAWS = 3


def compare(function, rng, entries):
    """The Report of one order: guards, then every input against numbers, at another point if this one is at a kink."""
    notes, before = [], [x.copy() for x in function.values]
    y = function.evaluate(function.values)
    if not np.array_equal(y, function.evaluate(function.values), equal_nan=True):
        return Report(faults=["f gives another result when it is called again with the same inputs: a draw of random "
                              "numbers must be repeated, with a generator seeded inside f"])
    cotangents = rng.standard_normal((COTANGENTS, y.size))
    try:
        faults = _guards(function, y, cotangents)
    except GradientShapeError as error:
        return Report(faults=[str(error)])
    faults += [f"f changed its input {name} in place" for name, x, old in
               zip(function.names, function.values, before, strict=True) if not np.array_equal(x, old)]
    for _ in range(1 + REDRAWS):
        rows, at_kinks = _rows(function, y, cotangents, rng, entries)
        lost = [row.left_out.size > 0 and row.left_out.mean() > 0.5 for row in rows]
        if not any(at_kinks) and not any(lost):
            break
        notes += [_kink_note(row, kinks) for row, kinks in zip(rows, at_kinks, strict=True) if len(kinks)]
        faults += [f"at the kink {row.name}{tuple(map(int, np.unravel_index(e, row.shape)))} the rule gives {a:.4g}, "
                   f"which is not between the slopes to the left, {lo:.4g}, and to the right, {hi:.4g}"
                   for row, kinks in zip(rows, at_kinks, strict=True) for e, a, lo, hi, between in kinks if not between]
        if faults or any(row.wrong for row in rows):
            break
        function = function.at([beside(x, rng) if kinks or gone else x
                                for x, kinks, gone in zip(function.values, at_kinks, lost, strict=True)])
        y = function.evaluate(function.values)
    faults += [f"f has no derivative at {int(row.left_out.any(axis=0).sum())} of {len(row.entries)} entries of "
               f"{row.name} (kinks, or results that are not finite): draw the inputs elsewhere"
               for row, gone in zip(rows, lost, strict=True) if gone]
    return Report(rows, faults, notes)


def _guards(function, y, cotangents):
    """Faults of the gradient that need no numbers to compare with."""
    v, faults = cotangents[0], []
    kept = v.copy()
    once = function.gradients([v])[0]
    again = function.gradients([v])[0]
    none, twice = function.gradients([0.0 * v, -2.0 * v])
    if not np.array_equal(v, kept):
        faults.append("the gradient changes the cotangent ∂L/∂y in place")
    for name, x, g, g_again, g0, g2 in zip(function.names, function.values, once, again, none, twice, strict=True):
        if g is None:
            continue
        if g.shape != x.shape or g.dtype != x.dtype:
            faults.append(f"the gradient of {name} is {g.dtype} {g.shape}, the input {x.dtype} {x.shape}")
            continue
        if np.shares_memory(g, x):
            faults.append(f"the gradient of {name} is the memory of an input: whoever adds to one changes the other")
        if not np.array_equal(g, g_again, equal_nan=True):
            faults.append(f"the gradient of {name} is another one when it is computed again")
        for factor, scaled in ((0, g0), (-2, g2)):
            if scaled is None or not np.allclose(scaled, factor * g, rtol=1e-9, equal_nan=True,
                                                 atol=1e-12 * max(1.0, float(np.abs(g).max(initial=0)))):
                faults.append(f"the gradient of {name} is not linear: {factor} times the cotangent ∂L/∂y does not give "
                              f"{factor} times the gradient")
    return faults


def _rows(function, y, random, rng, entries):
    """(rows, kinks): for every input the Row, and [(entry, by the rule, slope left, slope right, whether the rule lies
    between)] for the entries at a kink."""
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

        def G(z, i=i):
            return cotangents @ function.evaluate([*function.values[:i], z, *function.values[i + 1:]]).ravel()
        s = slopes(G, x, directions, rng)
        numeric, kink = s.value.T, s.kink.T
        with np.errstate(invalid="ignore"):
            scale = np.sqrt(np.mean(np.where(kink > 0, 0, a) ** 2, axis=1, keepdims=True)) if a.size else 0.0
            natural = np.abs(cotangents) @ np.abs(y).ravel() / (np.abs(x).max(initial=0) or 1.0)
            tolerance = np.maximum(1e-7, 300 * s.eps) * np.maximum(np.abs(numeric), 0.1 * scale) + 10 * s.error.T \
                + (1e4 * s.eps if s.eps < 1e-12 else s.eps) * np.nan_to_num(natural)[:, None]
        rows.append(Row(function.names[i], x.shape, y.shape, a, numeric, tolerance, which, names, kink > 0, s.method))
        all_kinks.append(_conventions(rows[-1], kink, s.left.T, s.right.T, full))
    return rows, all_kinks


def _along(g, directions):
    """⟨g, d⟩ for every direction."""
    flat = None if g is None else g.ravel()
    return [0.0 if g is None else flat[d] if np.ndim(d) == 0 else flat @ d for d in directions]


def _conventions(row, kink, left, right, full):
    """[(entry, by the rule, slope left, slope right, whether the rule lies between)] for entries of x at a kink. Of a
    random cotangent the slopes are sums, and no bounds."""
    found = []
    for d, entry in enumerate(row.entries):
        at = np.flatnonzero(kink[:, d] == 2)
        at = [k for k in at if row.cotangents[k] is not None] if full else at[:1]
        for k in at[:1] if entry is not None else []:
            a, lo, hi = row.analytic[k, d], *sorted((left[k, d], right[k, d]))
            margin = 1e-3 * max(abs(lo), abs(hi))
            between = not full or bool(lo - margin <= a <= hi + margin)
            found.append((entry, a, left[k, d] + 0.0, right[k, d] + 0.0, between))
    return found


def _kink_note(row, kinks):
    entry, a, left, right, _ = kinks[0]
    index = tuple(map(int, np.unravel_index(entry, row.shape)))
    more = f" and {len(kinks) - 1} more entries" if len(kinks) > 1 else ""
    return (f"{row.name}{index}{more} at a kink or tie, where the rule is a convention (slope to the left {left:.4g}, "
            f"to the right {right:.4g}, the rule gives {a:.4g}): the point was drawn again beside it")


def beside(x, rng):
    """A point near x."""
    return x + 0.05 * (np.sqrt(np.mean(x * x)) or 1.0) * rng.standard_normal(x.shape)


def recorded_differs(function, v):
    """Whether the gradient recorded with create_graph=True is another one than the plain gradient, in words."""
    plain = function.gradients([v])[0]
    for name, a, b in zip(function.names, plain, function.recorded_gradient(v), strict=True):
        scale = max(1.0, 0.0 if a is None else float(np.abs(a).max(initial=0)))
        if (a is None) != (b is None) or (a is not None and not np.allclose(a, b, rtol=1e-7, atol=1e-10 * scale)):
            return (f"the gradient of {name} is another one when it is recorded (create_graph=True) than when it is "
                    f"not: a rule must give the same on arrays and on Tensors")
    return None
