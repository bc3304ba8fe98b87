"""Explanations that predict the wrong gradient from the right one.

Each looks at the Evidence of one input and yields (name, prediction, detail). A prediction is (K, n), the gradient of n
entries for K cotangents; a fourth value may say which entries it is about.
"""

import itertools

import numpy as np

from scratchnet.check.evidence import COTANGENTS
from scratchnet.check.numeric import slopes


def no_gradient(e):
    """Nothing arrives."""
    if e.all_wrong[0][e.i] is None:
        yield "stop-gradient", e.wrong, "there is no gradient: the rule gives None (is a `return` missing?)"
    elif not e.wrong.any():
        yield "stop-gradient", e.wrong, "the gradient is zero, the derivative is not"


def not_linear(e):
    """Of a rule that is not linear in the cotangent v."""
    doubled = e.of(e.i, e.gradients(2.0 * e.v))
    if np.allclose(doubled, e.wrong, rtol=1e-9):
        if e.jacobian is not None:
            yield "upstream gradient ignored", np.broadcast_to(e.jacobian.sum(axis=0), e.wrong.shape), \
                "the gradient does not depend on ∂L/∂y, and is that of the sum of all results"
        elif e.wrong.any():
            yield "upstream gradient ignored", e.wrong, "twice the ∂L/∂y gives the same gradient"
    elif np.allclose(doubled, 4.0 * e.wrong, rtol=1e-9) and e.jacobian is not None:
        detail = "twice the ∂L/∂y gives four times the gradient"
        yield "upstream gradient applied twice", (e.v * e.v) @ e.jacobian, detail
        if e.x.shape == e.y.shape:
            yield "upstream gradient applied twice", e.v * e.right, detail
    elif not e.of(e.i, e.gradients(0.0 * e.v)).any():  # else a term was added that has nothing to do with ∂L/∂y
        for factor in (2.0, -2.0, 2.0**-10, 2.0**10):  # by more than the rounding of float16
            grown = e.of(e.i, e.gradients(factor * e.v)) / factor
            if not np.allclose(grown, e.wrong, rtol=1e-2, atol=1e-2 * np.abs(e.wrong).max(initial=0.0)):
                yield ("not linear in the upstream gradient", e.wrong,
                       f"{factor:g} times the ∂L/∂y does not give {factor:g} times the gradient")
                return


def constant_factor(e):
    """The derivative times a number: a sign, a 2, a size."""
    c = float(np.vdot(e.right, e.wrong) / np.vdot(e.right, e.right))
    if c == 0.0:
        return
    for name, detail in names_of_factor(c, e.i, e.names, e.values, e.y):
        yield name, c * e.right, f"it is {c:.6g} times the derivative" + detail


def names_of_factor(c, i, names, values, y):
    """(name, which size it is) for all that c may be, as a factor of the derivative of y with respect to values[i]."""
    x = values[i]

    def close(value):
        return abs(c - value) <= 1e-6 * abs(value)
    for value, name in ((-1.0, "wrong sign"), (2.0, "factor 2"), (0.5, "factor 1/2")):
        if close(value):
            yield name, ""
    repeated = y.size / x.size
    if x.shape != y.shape and repeated > 1 and y.ndim >= x.ndim and \
            all(a in (1, b) for a, b in zip(x.shape[::-1], y.shape[::-1], strict=False)):
        for value, name in ((repeated, "broadcast axis summed twice"), (1 / repeated, "broadcast axis averaged")):
            if close(value):
                yield name, f", and each entry is repeated {repeated:.0f} times in y"
    arrays = [*zip(names, values, strict=True), ("y", y)]
    sizes = {f"the size of {name}": a.size for name, a in arrays}
    sizes |= {f"axis {k} of {name}": n for name, a in arrays for k, n in enumerate(a.shape)}
    sizes |= {f"the entries of {names[i]} for each of y": x.size / y.size}
    powers = {"factor N": 1.0, "factor 1/N": -1.0, "factor √N": 0.5, "factor 1/√N": -0.5}
    for what, n in sizes.items():
        for name, power in powers.items():
            if n > 1 and close(n ** power):
                yield name, f", with N = {n:g}, {what}"
    yield "constant factor", ""


def swapped_inputs(e):
    """The gradient of another input, which has that of this one."""
    for j, x in enumerate(e.values):
        if j == e.i or x.shape != e.x.shape or (right := e.right_of(j)) is None:
            continue
        if np.allclose(e.of(j, e.all_wrong), e.right, rtol=1e-5, atol=1e-7 * np.abs(e.right).max(initial=0.0)):
            yield "inputs swapped", right, f"it is the gradient of `{e.names[j]}`, which has that of this one"


def moved_axes(e):
    """The gradient with its axes in another order, or reversed."""
    shape, ndim = e.x.shape, e.x.ndim
    right = e.right.reshape(COTANGENTS, *shape)
    if 2 <= ndim <= 4:
        for axes in itertools.permutations(range(ndim)):
            if axes != tuple(range(ndim)):
                moved = right.transpose(0, *(a + 1 for a in axes))
                yield "axes permuted", moved.reshape(COTANGENTS, -1), f"axes in the order {axes}"
                if moved.shape != right.shape:  # laid out again in the shape of x
                    back = right.reshape(COTANGENTS, *(shape[a] for a in axes)).transpose(0, *(np.argsort(axes) + 1))
                    yield "axes permuted", back.reshape(COTANGENTS, -1), f"axes read in the order {axes}"
    for count in range(1, min(ndim, 3) + 1):
        for axes in itertools.combinations(range(ndim), count):
            if all(shape[a] > 1 for a in axes):
                yield ("kernel not flipped" if is_kernel(e.names[e.i], e.x, axes) else "axis reversed",
                       np.flip(right, [a + 1 for a in axes]).reshape(COTANGENTS, -1), f"reversed along {axes}")


def is_kernel(name, a, axes):
    """Whether it is the kernel of a convolution by its name and shape, and these axes are those of its windows, which
    come first (kh, kw, C, O) or last (O, C, kh, kw)."""
    windows = {3: [(0,), (2,)], 4: [(0, 1), (2, 3)]}.get(a.ndim, [(0,)] if a.ndim == 1 else [])
    return axes in windows and name.lower() in ("w", "k", "kernel", "weight", "weights", "filter", "filters")


def shifted(e):
    """The gradient one place further along an axis, or along two: wrapped around, filled with zeros, or right but at
    the border."""
    right, long = e.right.reshape(COTANGENTS, *e.x.shape), [a for a in range(e.x.ndim) if e.x.shape[a] > 1]
    for axes in [(a,) for a in long] + list(itertools.combinations(long, 2)):
        for steps in itertools.product((1, -1), repeat=len(axes)):
            inner = [a + 1 for a in axes]
            rolled = np.roll(right, steps, inner)
            filled, inside = rolled.copy(), np.ones(e.x.shape, dtype=bool)
            for axis, step in zip(axes, steps, strict=True):
                edge = (slice(None),) * axis + (0 if step == 1 else -1,)
                filled[(slice(None), *edge)] = 0.0
                inside[edge] = False
            detail = "by " + " and ".join(f"{step:+d} along axis {a}" for a, step in zip(axes, steps, strict=True))
            yield "shifted by one", rolled.reshape(COTANGENTS, -1), detail + ", wrapped around"
            yield "shifted by one", filled.reshape(COTANGENTS, -1), detail
            if all(e.x.shape[a] > 3 for a in axes):
                yield ("shifted by one", rolled.reshape(COTANGENTS, -1), detail + ", apart from the border",
                       inside.ravel())


def moved_by(a, axis, step, first=None):
    """a one step further along the axis; where nothing came from, zeros or `first`."""
    moved = np.roll(a, step, axis)
    index = [slice(None)] * a.ndim
    index[axis] = 0 if step == 1 else -1
    moved[tuple(index)] = 0.0 if first is None else first
    return moved


def left_out(e):
    """The cotangent passed on as it is."""
    lead = e.y.ndim - e.x.ndim
    if lead >= 0 and all(a in (1, b) for a, b in zip(e.x.shape, e.y.shape[lead:], strict=True)):
        axes = tuple(range(1, lead + 1)) + tuple(lead + 1 + k for k, n in enumerate(e.x.shape) if n == 1)
        passed = e.v.reshape(COTANGENTS, *e.y.shape).sum(axis=axes)
        yield "derivative left out", passed.reshape(COTANGENTS, -1), "∂L/∂y arrives unchanged"


def structure(e):
    """Only the diagonal of ∂y/∂x, the transpose of it, or its square."""
    J, (m, n) = e.jacobian, (e.y.size, e.x.size)
    if J is None:
        return
    if m == n and e.x.shape == e.y.shape:
        diagonal = np.diag(J)
        if is_diagonal(J):
            yield "derivative applied twice", e.v * diagonal * diagonal, "it is ∂L/∂y · (dy/dx)²"
        else:
            yield "treated as elementwise", e.v * diagonal, "only ∂yᵢ/∂xᵢ is there, ∂yᵢ/∂xⱼ is not"
            yield "Jacobian not transposed", e.v @ J.T, "it is the derivative carried forward, J v instead of Jᵀ v"
            yield "derivative applied twice", (e.v @ J) @ J, "it is the gradient passed back twice"


def is_diagonal(jacobian):
    """Whether each result depends on its own entry alone."""
    return jacobian.shape[0] == jacobian.shape[1] and not (jacobian - np.diag(np.diag(jacobian))).any()


def independent_steps(e):
    """y at step t has a gradient only for x at step t."""
    if e.jacobian is None or e.x.shape == e.y.shape and is_diagonal(e.jacobian):
        return
    J = e.jacobian.reshape(*e.y.shape, *e.x.shape)
    for axis in range(min(e.x.ndim, e.y.ndim)):
        n = e.x.shape[axis]
        if n == e.y.shape[axis] > 1:
            shape = [1] * J.ndim
            shape[axis] = shape[e.y.ndim + axis] = n
            same = (J * np.eye(n).reshape(shape)).reshape(e.jacobian.shape)
            yield "steps treated as independent", e.v @ same, f"along axis {axis}, only ∂y[t]/∂x[t] is there"


def normalization(e):
    """y is standardised over some axes. Without one of the paths through the statistics, ∂y/∂x lacks just that part."""
    if e.jacobian is None or e.x.shape != e.y.shape:
        return
    for axes in subsets(e.x.ndim):
        if (paths := _paths_of_statistics(e, axes)) is None:
            continue
        (mean, variance), where = paths, f"over axes {axes}"
        yield "mean path missing", e.v @ (e.jacobian - mean), f"without ∂y/∂μ ∂μ/∂x {where}"
        if variance.any():
            yield "variance path missing", e.v @ (e.jacobian - variance), f"without ∂y/∂σ² ∂σ²/∂x {where}"
            yield ("mean and variance paths missing", e.v @ (e.jacobian - mean - variance),
                   f"the statistics {where} are taken for constants")


def subsets(ndim):
    """All choices of one axis or more."""
    return [axes for count in range(1, ndim + 1) for axes in itertools.combinations(range(ndim), count)]


def _paths_of_statistics(e, axes):
    """(∂y/∂μ ∂μ/∂x, ∂y/∂σ² ∂σ²/∂x) where y = k x̂ + … is standardised over these axes, else None. There

        ∂yᵢ/∂xⱼ = kᵢ (δᵢⱼ − 1/n − s x̂ᵢ x̂ⱼ / n)        within a group of n, 0 between groups; kᵢ = γᵢ/σ, s = σ²/(σ² + ε)

    so that beside the diagonal each row is a straight line over x̂, whose intercept and slope are the two paths."""
    n = int(np.prod([e.x.shape[a] for a in axes]))
    if n < 4:
        return None
    rest = [a for a in range(e.x.ndim) if a not in axes]
    order = np.arange(e.x.size).reshape(e.x.shape).transpose(rest + list(axes)).reshape(-1, n)
    mean, variance, left = np.zeros_like(e.jacobian), np.zeros_like(e.jacobian), e.jacobian.copy()
    size = np.abs(e.jacobian).max(initial=0.0)
    for group in order:
        block, x = e.jacobian[np.ix_(group, group)], e.x.ravel()[group]
        x = (x - x.mean()) / max(x.std(), 1e-300)
        left[np.ix_(group, group)] = 0.0
        for i, row in enumerate(block):
            others = np.arange(n) != i
            line = np.stack([np.ones(n), x], axis=1)
            (a, b), *_ = np.linalg.lstsq(line[others], row[others], rcond=None)
            k = row[i] - a - b * x[i]
            if np.abs(line[others] @ [a, b] - row[others]).max() > 1e-6 * size or abs(k + n * a) > 1e-5 * size:
                return None
            if not -1e-5 * size <= -n * b * x[i] * np.sign(k) <= abs(k) * x[i] ** 2 * (1 + 1e-5) + 1e-5 * size:
                return None
            mean[group[i], group], variance[group[i], group] = a, b * x
    variance[np.abs(variance) < 1e-9 * size] = 0.0
    return None if np.abs(left).max(initial=0.0) > 1e-6 * size else (mean, variance)


def wrong_axis(e):
    """A sum over another axis than the right one: of the results that read a broadcast input, or within a formula."""
    v, shape = e.v.reshape(COTANGENTS, *e.y.shape), e.x.shape
    if e.x.size < e.y.size and e.jacobian is not None and (np.count_nonzero(e.jacobian, axis=1) <= 1).all():
        each = v * e.jacobian.sum(axis=1).reshape(e.y.shape)  # what each result has to give to the entry that it reads
        for axes in subsets(e.y.ndim):
            added = each.sum(axis=tuple(a + 1 for a in axes))
            if added.size == COTANGENTS * e.x.size:
                yield "wrong axis", added.reshape(COTANGENTS, -1), f"the sum is over axes {axes} of y"
    if e.is_call and "axis" in e.function.op.params and e.x.ndim > 1:
        for axis in (None, *range(e.x.ndim)):
            yield from _gradient_of(e, "wrong axis", axis=axis)
    if shape != e.y.shape or e.x.ndim < 2:
        return
    right = e.right.reshape(v.shape)
    for formula in (_softmax, _log_softmax, _unit_length, _centred):
        with np.errstate(all="ignore"):
            found = {axes: formula(v, e.x, e.y, tuple(a + 1 for a in axes)) for axes in subsets(e.x.ndim)}
        if any(np.allclose(g, right, rtol=1e-6, atol=1e-9 * np.abs(right).max()) for g in found.values()):
            for axes, g in found.items():
                yield "wrong axis", g.reshape(COTANGENTS, -1), f"the sum is over axes {axes}"


def _softmax(v, x, y, axes):
    return y * (v - (v * y).sum(axes, keepdims=True))


def _log_softmax(v, x, y, axes):
    return v - np.exp(y) * v.sum(axes, keepdims=True)


def _unit_length(v, x, y, axes):
    return (v - y * (v * y).sum(axes, keepdims=True)) / np.sqrt((x * x)[None].sum(axes, keepdims=True))


def _centred(v, x, y, axes):
    return v - v.mean(axes, keepdims=True)


def selection(e):
    """Of a y that picks entries of x, like max: the value instead of the 1 at its place, or all of a window instead of
    the one that was picked."""
    J = e.jacobian
    if J is None or e.y.size >= e.x.size or not (np.isclose(J, 0) | np.isclose(J, 1)).all() or \
            not np.isclose(J.sum(axis=1), 1).all():
        return
    yield "value taken for index", (e.v * e.y.ravel()) @ J, "each is multiplied by the value that was picked"
    spread = _over_windows(e)
    if spread is not None:
        count = e.x.size / e.y.size
        for what, g in (("as it is", spread), ("in equal parts", spread / count)):
            yield "spread over the window", g.reshape(COTANGENTS, -1), f"all entries of a window get ∂L/∂y, {what}"


def _over_windows(e):
    """∂L/∂y given to all entries of x that the entry of y was picked from, where windows do not overlap; else None."""
    v, shape = e.v.reshape(COTANGENTS, *e.y.shape), e.x.shape
    if e.y.ndim < e.x.ndim:
        for axes in subsets(e.x.ndim):
            if tuple(n for a, n in enumerate(shape) if a not in axes) == e.y.shape:
                return np.broadcast_to(np.expand_dims(v, [a + 1 for a in axes]), (COTANGENTS, *shape))
    if e.y.ndim != e.x.ndim or any(n % m for n, m in zip(shape, e.y.shape, strict=True)):
        return None
    for axis, (n, m) in enumerate(zip(shape, e.y.shape, strict=True)):
        v = np.repeat(v, n // m, axis + 1)
    return v


def other_factor(e):
    """The derivative times an argument that is not in it, or with one in the place of another."""
    fitting = {name: a for name, a in e.arguments().items() if _broadcasts(a.shape, e.x.shape)}
    right = e.right.reshape(COTANGENTS, *e.x.shape)
    for name, a in fitting.items():
        own = " itself" * (name == e.names[e.i])
        yield ("other argument as a factor", (right * a).reshape(COTANGENTS, -1),
               f"it is the derivative times `{name}`{own}")
        for other, b in fitting.items():
            if other != name:
                yield ("other argument as a factor", (right * a / b).reshape(COTANGENTS, -1),
                       f"it has `{name}` where the derivative has `{other}`")


def _broadcasts(shape, to):
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(shape[::-1], to[::-1], strict=False))


def constant_term(e):
    """An elementwise derivative, or that of a number, that is off by the same number everywhere."""
    if e.y.size == 1:
        v = np.broadcast_to(e.v, e.wrong.shape)
    elif e.x.shape == e.y.shape and e.jacobian is not None and is_diagonal(e.jacobian):
        v = e.v
    else:
        return
    if e.x.size >= 3:
        c = float(np.vdot(v, e.wrong - e.right) / np.vdot(v, v))
        yield "constant term", e.right + c * v, f"the derivative of each entry is off by {c:.4g}"


def epsilon_forgotten(e):
    """The gradient of the function with ε = 0."""
    for name in ("eps", "epsilon", "ε"):
        if e.is_call and isinstance(e.function.argument(name), (int, float)):
            yield from _gradient_of(e, "epsilon forgotten", **{name: 0.0})


def _gradient_of(e, mistake, **changed):
    """The right gradient of the same call with another axis or another number, if that is a function of the same shape.
    """
    other = e.function.changed(**changed)

    def G(z):
        return e.v @ other.evaluate([*e.values[:e.i], z, *e.values[e.i + 1:]]).ravel()
    try:
        if other.evaluate(e.values).shape == e.y.shape:
            found = slopes(G, e.x, range(e.x.size), e.rng).value.T
            yield mistake, found, f"it is the gradient with {', '.join(f'{k} = {v}' for k, v in changed.items())}"
    except Exception:  # there the function need not be defined
        return


def gates(e):
    """The gates of a recurrent cell in another order: parts as long as y, three or four of them, along one axis."""
    if e.y.ndim < 2 or e.x.ndim < 1:
        return
    for axis in {0, e.x.ndim - 1}:
        count, rest = divmod(e.x.shape[axis], e.y.shape[-1])
        if rest or count not in (3, 4):
            continue
        parts = np.split(e.right.reshape(COTANGENTS, *e.x.shape), count, axis + 1)
        for order in itertools.permutations(range(count)):
            if list(order) != sorted(order):
                yield ("gates exchanged", np.concatenate([parts[k] for k in order], axis + 1).reshape(COTANGENTS, -1),
                       f"its {count} parts along axis {axis} come in the order {order}")


def _not_summed(e):
    """Of a broadcast input: only one of the places where it is read counts."""
    if e.jacobian is None or e.x.shape == e.y.shape:
        return
    v = e.v.reshape(COTANGENTS, *e.y.shape)
    for axis in range(e.y.ndim):
        for place in (0, -1):
            index = [slice(None)] * v.ndim
            index[axis + 1] = place
            only = np.zeros_like(v)
            only[tuple(index)] = v[tuple(index)]
            yield ("broadcast axis not summed", only.reshape(COTANGENTS, -1) @ e.jacobian,
                   f"only index {place} along axis {axis} of y counts")


def lost_readers(e):
    """Of the results that read an entry, only the last one (or the first) has left its gradient there."""
    yield from _not_summed(e)
    J = e.jacobian
    if J is None or e.y.size < 2:
        return
    read = np.abs(J) > 1e-12 * np.abs(J).max()
    overlap = read.sum(axis=0).max(initial=0) > 1
    for mask in _own_windows(e) if overlap else ():
        yield "overlapping windows ignored", e.v @ (J * mask), "each entry has the gradient of one window only"
    positions = np.arange(e.y.size)
    groups = {"result": positions}
    if e.y.ndim > 1:
        groups["position"] = positions // e.y.shape[-1]
        groups["row"] = positions // (e.y.size // e.y.shape[0])
    for what, group in groups.items():
        for end, pick in (("last", np.max), ("first", np.min)):
            sentinel = -1 if end == "last" else e.y.size
            chosen = pick(np.where(read, group[:, None], sentinel), axis=0)
            mask = group[:, None] == chosen
            if not (mask | ~read).all():
                yield ("overwritten, not accumulated", e.v @ (J * mask),
                       f"only the {end} {what} that reads an entry counts")


def _own_windows(e):
    """Masks of ∂y/∂x that give each pixel to the one window in whose stride it lies, as if windows did not overlap."""
    if not e.is_call or e.x.ndim != 4 or e.y.ndim != 4:
        return
    s = e.function.argument("stride") or e.function.argument("size")
    for axes in ((1, 2), (2, 3)):  # images (N, H, W, C) or (N, C, H, W)
        for stride in [s] if s else (1, 2, 3):
            stride = tuple(stride) if isinstance(stride, (tuple, list)) else (stride, stride)
            for pad in range(3):
                mask = np.ones((*e.y.shape, *e.x.shape), dtype=bool)
                for axis, step in zip(axes, stride, strict=True):
                    own = (np.arange(e.x.shape[axis]) + pad) // step == np.arange(e.y.shape[axis])[:, None]
                    shape = [1] * 8
                    shape[axis], shape[4 + axis] = own.shape
                    mask &= own.reshape(shape)
                yield mask.reshape(e.y.size, e.x.size)


def stride_ignored(e):
    """The rule of stride 1, with ∂L/∂y in the corner of the larger result."""
    if not e.is_call or "stride" not in e.function.op.params:
        return
    try:
        dense = e.function.changed(stride=1)
        shape = dense.evaluate(e.values).shape
    except (ValueError, TypeError):
        return
    if len(shape) != e.y.ndim or shape == e.y.shape or any(a < b for a, b in zip(shape, e.y.shape, strict=True)):
        return
    v = np.zeros((COTANGENTS, *shape))
    v[(slice(None), *(slice(n) for n in e.y.shape))] = e.v.reshape(COTANGENTS, *e.y.shape)
    v = v.reshape(COTANGENTS, -1)

    def G(z):
        return v @ dense.evaluate([*e.values[:e.i], z, *e.values[e.i + 1:]]).ravel()
    yield "stride ignored", slopes(G, e.x, range(e.x.size), e.rng).value.T, "it is the gradient of stride 1"


def recurrent_weights(e):
    """Of y[t] = f(y[t−1] U + x[t] W): ∂L/∂U = Σ y[t−1]ᵀ δ[t], where x and W tell δ. The wrong one pairs other steps."""
    if e.x.ndim != 2 or e.x.shape[0] != e.x.shape[1] or e.y.ndim < 2 or e.y.shape[-1] != e.x.shape[1]:
        return
    for (j, x), (k, w) in itertools.permutations(enumerate(e.values), 2):
        if e.i in (j, k) or w.ndim != 2 or w.shape[1] != e.x.shape[1] or x.ndim != e.y.ndim or \
                x.shape != (*e.y.shape[:-1], w.shape[0]) or w.shape[0] < w.shape[1]:
            continue
        dx = e.right_of(j).reshape(COTANGENTS, *x.shape)
        delta = dx @ np.linalg.pinv(w.T)
        for axis in range(e.y.ndim - 1):
            def paired(y):
                return np.einsum("ai,kao->kio", y.reshape(-1, y.shape[-1]),
                                 delta.reshape(COTANGENTS, -1, delta.shape[-1])).reshape(COTANGENTS, -1)  # noqa: B023
            for first in _first_states(e, axis):
                before = moved_by(e.y, axis, 1, first)
                if np.allclose(paired(before), e.right, rtol=1e-6, atol=1e-8 * np.abs(e.right).max()):
                    yield "off by one in time", paired(e.y), "y[t] is paired with the gradient of step t"
                    for two in (moved_by(before, axis, 1), moved_by(before, axis, 1, first)):
                        yield "off by one in time", paired(two), "y[t−2] is paired with the gradient of step t"
                    if first is not None:
                        yield ("off by one in time", paired(moved_by(e.y, axis, 1)),
                               "the state before the first step is left out")


def _first_states(e, axis):
    """What y may have been before its first step along the axis: nothing, or an argument of that shape."""
    shape = e.y.shape[:axis] + e.y.shape[axis + 1:]
    return [None, *(a for a in e.arguments().values() if a.shape == shape)]


def regularizer(e):
    """A loss whose gradient lacks, or has twice, a term that is proportional to the input, or to its sign. The factor
    is that of the penalty: λ or 2 λ, if λ is among the arguments."""
    if e.y.size != 1 or e.x.size < 3:
        return
    error = (e.wrong - e.right) / e.v
    signs = np.sign(e.x).ravel()
    for what, term in (("the input", e.x.ravel()), *[("the sign of the input", signs)] * (len(set(signs)) > 1)):
        c = float(error[0] @ term / (term @ term))
        penalties = [k * number for number in e.numbers() for k in (1, 2)]
        if not e.is_call or any(np.isclose(abs(c), penalty) for penalty in penalties):
            yield (f"regularizer {'missing' if c < 0 else 'doubled'}", e.right + e.v * c * term,
                   f"the error is {c:.4g} times {what}")
