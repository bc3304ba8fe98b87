"""Explanations that predict the wrong gradient from the right one: a factor, another order, another function.

Each examines the Evidence on one input and yields (name, prediction, detail). A prediction is (K, n), the gradient of n
entries for K cotangents; a fourth value may restrict it to some entries. Explanations about sums are in sums.py, those
about recurrent networks in recurrences.py.
"""

import itertools

import numpy as np

from scratchnet.check.compare import COTANGENTS
from scratchnet.check.numeric import slopes


def no_gradient(e):
    """No gradient arrives, or only zeros."""
    if e.all_wrong[0][e.i] is None:
        yield "stop-gradient", e.wrong, "there is no gradient: the rule returns None (is a `return` missing?)"
    elif not e.wrong.any():
        yield "stop-gradient", e.wrong, "the gradient is zero, but the derivative is not"


def not_linear(e):
    """The rule is not linear in the cotangent v."""
    doubled = e.of(e.i, e.gradients(2.0 * e.v))
    if np.allclose(doubled, e.wrong, rtol=1e-9):
        if e.jacobian is not None:
            yield "upstream gradient ignored", np.broadcast_to(e.jacobian.sum(axis=0), e.wrong.shape), \
                "the gradient does not depend on ∂L/∂y: it is that of the sum of all results"
        elif e.wrong.any():
            yield "upstream gradient ignored", e.wrong, "doubling ∂L/∂y does not change the gradient"
    elif np.allclose(doubled, 4.0 * e.wrong, rtol=1e-9) and e.jacobian is not None:
        detail = "doubling ∂L/∂y multiplies the gradient by four"
        yield "upstream gradient applied twice", (e.v * e.v) @ e.jacobian, detail
        if e.x.shape == e.y.shape:
            yield "upstream gradient applied twice", e.v * e.right, detail
    elif not e.of(e.i, e.gradients(0.0 * e.v)).any():  # otherwise a term was added that does not depend on ∂L/∂y
        for factor in (2.0, -2.0, 2.0**-10, 2.0**10):  # tolerances are above the rounding of float16
            grown = e.of(e.i, e.gradients(factor * e.v)) / factor
            if not np.allclose(grown, e.wrong, rtol=1e-2, atol=1e-2 * np.abs(e.wrong).max(initial=0.0)):
                yield ("not linear in the upstream gradient", e.wrong,
                       f"{factor:g} times ∂L/∂y does not give {factor:g} times the gradient")
                return


def constant_factor(e):
    """The derivative times a number: a sign, a 2, a size."""
    c = float(np.vdot(e.right, e.wrong) / np.vdot(e.right, e.right))
    if c == 0.0:
        return
    for name, detail in names_of_factor(c, e.i, e.names, e.values, e.y):
        yield name, c * e.right, f"the gradient is {c:.6g} times the derivative" + detail


def names_of_factor(c, i, names, values, y):
    """(name, detail) for every meaning that c may have as a factor of ∂y/∂values[i]: a sign, a 2, a size and which."""
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
    sizes |= {f"the entries of {names[i]} per entry of y": x.size / y.size}
    powers = {"factor N": 1.0, "factor 1/N": -1.0, "factor √N": 0.5, "factor 1/√N": -0.5}
    for what, n in sizes.items():
        for name, power in powers.items():
            if n > 1 and close(n ** power):
                yield name, f", with N = {n:g}, {what}"
    yield "constant factor", ""


def swapped_inputs(e):
    """The gradient of another input, which has the gradient of this one."""
    for j, x in enumerate(e.values):
        if j == e.i or x.shape != e.x.shape or (right := e.right_of(j)) is None:
            continue
        if np.allclose(e.of(j, e.all_wrong), e.right, rtol=1e-5, atol=1e-7 * np.abs(e.right).max(initial=0.0)):
            yield ("inputs swapped", right,
                   f"`{e.names[e.i]}` has the gradient of `{e.names[j]}`, and `{e.names[j]}` that of `{e.names[e.i]}`")


def moved_axes(e):
    """The gradient with its axes in another order, or reversed."""
    shape, ndim = e.x.shape, e.x.ndim
    right = e.right.reshape(COTANGENTS, *shape)
    if 2 <= ndim <= 4:
        for axes in itertools.permutations(range(ndim)):
            if axes != tuple(range(ndim)):
                moved = right.transpose(0, *(a + 1 for a in axes))
                yield "axes permuted", moved.reshape(COTANGENTS, -1), f"the axes come in the order {axes}"
                if moved.shape != right.shape:  # laid out anew in the shape of x
                    back = right.reshape(COTANGENTS, *(shape[a] for a in axes)).transpose(0, *(np.argsort(axes) + 1))
                    yield "axes permuted", back.reshape(COTANGENTS, -1), f"the axes were read in the order {axes}"
    for count in range(1, min(ndim, 3) + 1):
        for axes in itertools.combinations(range(ndim), count):
            if all(shape[a] > 1 for a in axes):
                yield ("kernel not flipped" if is_kernel(e.names[e.i], e.x, axes) else "axis reversed",
                       np.flip(right, [a + 1 for a in axes]).reshape(COTANGENTS, -1),
                       f"the gradient is reversed along {axes_in_words(axes)}")


def axes_in_words(axes):
    """(2,) → "axis 2", (0, 1) → "axes 0, 1"."""
    return f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"


def is_kernel(name, a, axes):
    """Whether the name and shape are those of a convolution's kernel, and the axes those of its windows, which come
    first (kh, kw, C, O) or last (O, C, kh, kw)."""
    windows = {3: [(0,), (2,)], 4: [(0, 1), (2, 3)]}.get(a.ndim, [(0,)] if a.ndim == 1 else [])
    return axes in windows and name.lower() in ("w", "k", "kernel", "weight", "weights", "filter", "filters")


def shifted(e):
    """The gradient shifted by one along an axis, or along two: wrapped around, filled with zeros, or with anything at
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
            moves = [f"{step:+d} along axis {a}" for a, step in zip(axes, steps, strict=True)]
            detail = f"the gradient is shifted by {' and '.join(moves)}"
            yield "shifted by one", rolled.reshape(COTANGENTS, -1), detail + ", wrapped around"
            yield "shifted by one", filled.reshape(COTANGENTS, -1), detail
            if all(e.x.shape[a] > 3 for a in axes):
                yield ("shifted by one", rolled.reshape(COTANGENTS, -1), detail + ", except at the border",
                       inside.ravel())


def moved_by(a, axis, step, first=None):
    """`a` moved by one step along the axis, with zeros or `first` in the place that is left empty."""
    moved = np.roll(a, step, axis)
    index = [slice(None)] * a.ndim
    index[axis] = 0 if step == 1 else -1
    moved[tuple(index)] = 0.0 if first is None else first
    return moved


def left_out(e):
    """The cotangent, passed on unchanged."""
    lead = e.y.ndim - e.x.ndim
    if lead >= 0 and all(a in (1, b) for a, b in zip(e.x.shape, e.y.shape[lead:], strict=True)):
        axes = tuple(range(1, lead + 1)) + tuple(lead + 1 + k for k, n in enumerate(e.x.shape) if n == 1)
        passed = e.v.reshape(COTANGENTS, *e.y.shape).sum(axis=axes)
        yield "derivative left out", passed.reshape(COTANGENTS, -1), "∂L/∂y arrives unchanged"


def structure(e):
    """Only the diagonal of ∂y/∂x, or its transpose, or its square."""
    J, (m, n) = e.jacobian, (e.y.size, e.x.size)
    if J is None:
        return
    if m == n and e.x.shape == e.y.shape:
        diagonal = np.diag(J)
        if is_diagonal(J):
            yield "derivative applied twice", e.v * diagonal * diagonal, "the gradient is ∂L/∂y · (dy/dx)²"
        else:
            yield "treated as elementwise", e.v * diagonal, "the gradient contains ∂yᵢ/∂xᵢ, but not ∂yᵢ/∂xⱼ"
            yield "Jacobian not transposed", e.v @ J.T, "it is J v, the derivative carried forward, not Jᵀ v"
            yield "derivative applied twice", (e.v @ J) @ J, "the gradient was passed back twice"


def is_diagonal(jacobian):
    """Whether each result depends on its own entry alone."""
    return jacobian.shape[0] == jacobian.shape[1] and not (jacobian - np.diag(np.diag(jacobian))).any()


def other_factor(e):
    """The derivative times an argument that does not belong there, or with one argument in place of another."""
    fitting = {name: a for name, a in e.arguments().items() if _broadcasts(a.shape, e.x.shape)}
    right = e.right.reshape(COTANGENTS, *e.x.shape)
    for name, a in fitting.items():
        own = " itself" if name == e.names[e.i] else ""
        yield ("other argument as a factor", (right * a).reshape(COTANGENTS, -1),
               f"the gradient is the derivative times `{name}`{own}")
        for other, b in fitting.items():
            if other != name:
                yield ("other argument as a factor", (right * a / b).reshape(COTANGENTS, -1),
                       f"the gradient has `{name}` where the derivative has `{other}`")


def _broadcasts(shape, to):
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(shape[::-1], to[::-1], strict=False))


def constant_term(e):
    """The derivative of an elementwise function, or of a single number, off by the same number everywhere."""
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
            yield from gradient_of(e, "epsilon forgotten", **{name: 0.0})


def gradient_of(e, mistake, **changed):
    """The right gradient of the same call with another axis or another number, if its result has the same shape."""
    other = e.function.changed(**changed)

    def G(z):
        return e.v @ other.evaluate([*e.values[:e.i], z, *e.values[e.i + 1:]]).ravel()
    try:
        if other.evaluate(e.values).shape == e.y.shape:
            found = slopes(G, e.x, range(e.x.size), e.rng).value.T
            yield mistake, found, f"this would be right for {', '.join(f'{k} = {v}' for k, v in changed.items())}"
    except Exception:  # the function need not be defined there
        return


def regularizer(e):
    """A loss whose gradient lacks, or contains twice, a term proportional to the input or to its sign. For an op call
    the factor must be λ or 2 λ, with λ among the arguments."""
    if e.y.size != 1 or e.x.size < 3:
        return
    error = (e.wrong - e.right) / e.v
    signs = np.sign(e.x).ravel()
    terms = {"the input": e.x.ravel()} | ({"the sign of the input": signs} if len(set(signs)) > 1 else {})
    for what, term in terms.items():
        c = float(error[0] @ term / (term @ term))
        penalties = [k * number for number in e.numbers() for k in (1, 2)]
        if not e.is_call or any(np.isclose(abs(c), penalty) for penalty in penalties):
            yield (f"regularizer {'missing' if c < 0 else 'doubled'}", e.right + e.v * c * term,
                   f"the error is {c:.4g} times {what}")
