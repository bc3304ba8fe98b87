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
    if not e.wrong.any():
        yield "stop-gradient", e.wrong, "the gradient is zero or None, the derivative is not"


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


def constant_factor(e):
    """The derivative times a number: a sign, a 2, a size."""
    c = float(np.vdot(e.right, e.wrong) / np.vdot(e.right, e.right))
    if c == 0.0:
        return
    name, detail = name_of_factor(c, e.i, e.names, e.values, e.y)
    yield name, c * e.right, f"it is {c:.6g} times the derivative" + detail


def name_of_factor(c, i, names, values, y):
    """(name, which size it is) of c times the derivative of y with respect to values[i]."""
    x = values[i]

    def close(value):
        return abs(c - value) <= 1e-6 * abs(value)
    for value, name in ((-1.0, "wrong sign"), (2.0, "factor 2"), (0.5, "factor 1/2")):
        if close(value):
            return name, ""
    repeated = y.size / x.size
    if x.shape != y.shape and repeated > 1 and y.ndim >= x.ndim and \
            all(a in (1, b) for a, b in zip(x.shape[::-1], y.shape[::-1], strict=False)):
        for value, name in ((repeated, "broadcast axis summed twice"), (1 / repeated, "broadcast axis averaged")):
            if close(value):
                return name, f", and each entry is repeated {repeated:.0f} times in y"
    arrays = [*zip(names, values, strict=True), ("y", y)]
    sizes = {f"the size of {name}": a.size for name, a in arrays}
    sizes |= {f"axis {k} of {name}": n for name, a in arrays for k, n in enumerate(a.shape)}
    sizes |= {f"the entries of {names[i]} for each of y": x.size / y.size}
    powers = {"factor N": 1.0, "factor 1/N": -1.0, "factor √N": 0.5, "factor 1/√N": -0.5}
    for what, n in sizes.items():
        for name, power in powers.items():
            if n > 1 and close(n ** power):
                return name, f", with N = {n:g}, {what}"
    return "constant factor", ""


def swapped_inputs(e):
    """The gradient of another input."""
    for j, x in enumerate(e.values):
        if j != e.i and x.shape == e.x.shape and (right := e.right_of(j)) is not None:
            yield "inputs swapped", right, f"it is the gradient of `{e.names[j]}`"


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
                kernel = ndim == 4 and axes == (0, 1) and e.names[e.i] == "w"
                yield ("kernel not flipped" if kernel else "axis reversed",
                       np.flip(right, [a + 1 for a in axes]).reshape(COTANGENTS, -1), f"reversed along {axes}")


def shifted(e):
    """The gradient one place further along an axis: wrapped around, filled with zeros, or right but at the border."""
    right = e.right.reshape(COTANGENTS, *e.x.shape)
    for axis in range(e.x.ndim):
        n = e.x.shape[axis]
        for step in (1, -1):
            if n < 2:
                continue
            moved = np.roll(right, step, axis + 1)
            index = [slice(None)] * (e.x.ndim + 1)
            detail = f"by {step:+d} along axis {axis}"
            yield "shifted by one", moved.reshape(COTANGENTS, -1), detail + ", wrapped around"
            index[axis + 1] = 0 if step == 1 else -1
            filled = moved.copy()
            filled[tuple(index)] = 0.0
            yield "shifted by one", filled.reshape(COTANGENTS, -1), detail
            if n > 3:
                inside = np.ones(e.x.shape, dtype=bool)
                inside[tuple(index[1:])] = False
                detail += ", apart from the border"
                yield "shifted by one", moved.reshape(COTANGENTS, -1), detail, inside.ravel()


def moved_by(a, axis, step):
    """a one step further along the axis, zeros where nothing came from."""
    moved = np.roll(a, step, axis)
    index = [slice(None)] * a.ndim
    index[axis] = 0 if step == 1 else -1
    moved[tuple(index)] = 0.0
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
    """y is standardised over some axes: the right gradient is orthogonal to 1 and to x̂ there. What is missing is along
    1 (the path through the mean) or along x̂ (through the variance)."""
    if e.x.shape != e.y.shape or e.x.ndim < 1:
        return
    for axes in {tuple(range(e.x.ndim - 1)), (e.x.ndim - 1,), tuple(range(1, e.x.ndim)), tuple(range(e.x.ndim))} - {()}:
        inside = tuple(a + 1 for a in axes)
        x = e.x - e.x.mean(axes, keepdims=True)
        x = x / np.sqrt((x * x).mean(axes, keepdims=True))
        wrong, right = (g.reshape(COTANGENTS, *e.x.shape) for g in (e.wrong, e.right))

        def along(g, u):
            return (g * u).mean(inside, keepdims=True) * u  # noqa: B023
        size = np.abs(right).max()
        if np.abs(along(right, np.ones_like(x))).max() > 1e-9 * size or np.abs(along(right, x)).max() > 1e-2 * size:
            continue
        E = wrong - right
        parts = {"mean path missing": along(E, np.ones_like(x)), "variance path missing": along(E, x)}
        for name, part in parts.items():
            yield name, (right + part).reshape(COTANGENTS, -1), f"the error is constant over axes {axes}" \
                if name.startswith("mean") else f"the error is proportional to the standardised input over axes {axes}"
        yield ("mean and variance paths missing", (right + sum(parts.values())).reshape(COTANGENTS, -1),
               f"the error is constant plus proportional to the standardised input over axes {axes}")


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
    for mask in _own_windows(e):
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
    if not hasattr(e.function, "argument") or e.x.ndim != 4 or e.y.ndim != 4 or "stride" not in e.function.op.params:
        return
    s = e.function.argument("stride") or e.function.argument("size")
    s = (s, s) if isinstance(s, int) else tuple(s)
    n, h, w = (np.arange(k) for k in e.x.shape[:3])
    for pad in range(3):
        rows = (h[:, None] + pad) // s[0] == np.arange(e.y.shape[1])
        columns = (w[:, None] + pad) // s[1] == np.arange(e.y.shape[2])
        mask = np.einsum("hp,wq->pqhw", rows, columns)[None, :, :, None, None, :, :, None]
        shape = (*e.y.shape, *e.x.shape)
        yield np.broadcast_to(mask, shape).reshape(e.y.size, e.x.size)


def stride_ignored(e):
    """The rule of stride 1, with ∂L/∂y in the corner of the larger result."""
    if not hasattr(e.function, "changed") or "stride" not in e.function.op.params:
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
            before = moved_by(e.y, axis, 1)
            two_before = moved_by(before, axis, 1)
            if np.allclose(paired(before), e.right, rtol=1e-6, atol=1e-8 * np.abs(e.right).max()):
                yield "off by one in time", paired(e.y), "y[t] is paired with the gradient of step t"
                yield "off by one in time", paired(two_before), "y[t−2] is paired with the gradient of step t"


def regularizer(e):
    """A loss whose gradient lacks, or has twice, a term that is proportional to the input, or to its sign."""
    if e.y.size != 1 or e.x.size < 3:
        return
    error = (e.wrong - e.right) / e.v
    for what, term in (("the input", e.x.ravel()), ("the sign of the input", np.sign(e.x).ravel())):
        c = float(error[0] @ term / (term @ term))
        if np.linalg.norm(term) > 0:
            yield (f"regularizer {'missing' if c < 0 else 'doubled'}", e.right + e.v * c * term,
                   f"the error is {c:.4g} times {what}")
