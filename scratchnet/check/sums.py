"""Explanations about sums: over which axes, over which results, over which windows; and paths through statistics.

Each yields (name, prediction, detail) as in predictions.py.
"""

import itertools

import numpy as np

from scratchnet.check.compare import COTANGENTS
from scratchnet.check.numeric import slopes
from scratchnet.check.predictions import axes_in_words, gradient_of, is_diagonal
from scratchnet.ops.windows import as_pair


def independent_steps(e):
    """y[t] sends a gradient to x[t] only."""
    if e.jacobian is None or e.x.shape == e.y.shape and is_diagonal(e.jacobian):
        return
    J = e.jacobian.reshape(*e.y.shape, *e.x.shape)
    for axis in range(min(e.x.ndim, e.y.ndim)):
        n = e.x.shape[axis]
        if n == e.y.shape[axis] > 1:
            shape = [1] * J.ndim
            shape[axis] = shape[e.y.ndim + axis] = n
            same = (J * np.eye(n).reshape(shape)).reshape(e.jacobian.shape)
            yield ("steps treated as independent", e.v @ same,
                   f"the gradient contains only ∂y[t]/∂x[t] along axis {axis}")


def normalization(e):
    """y is standardised over some axes, and ∂y/∂x lacks one or both of the paths through the statistics."""
    if e.jacobian is None or e.x.shape != e.y.shape:
        return
    for axes in subsets(e.x.ndim):
        if (paths := _paths_of_statistics(e, axes)) is None:
            continue
        (mean, variance), where = paths, f"over {axes_in_words(axes)}"
        yield "mean path missing", e.v @ (e.jacobian - mean), f"∂y/∂μ ∂μ/∂x {where} is missing"
        if variance.any():
            yield "variance path missing", e.v @ (e.jacobian - variance), f"∂y/∂σ² ∂σ²/∂x {where} is missing"
            yield ("mean and variance paths missing", e.v @ (e.jacobian - mean - variance),
                   f"the statistics {where} are treated as constants")


def subsets(ndim):
    """All choices of one or more axes."""
    return [axes for count in range(1, ndim + 1) for axes in itertools.combinations(range(ndim), count)]


def _paths_of_statistics(e, axes):
    """(∂y/∂μ ∂μ/∂x, ∂y/∂σ² ∂σ²/∂x) if y = k x̂ + … is standardised over these axes, else None. In that case

        ∂yᵢ/∂xⱼ = kᵢ (δᵢⱼ − 1/n − s x̂ᵢ x̂ⱼ / n)        within a group of n, 0 between groups; kᵢ = γᵢ/σ, s = σ²/(σ² + ε)

    so that off the diagonal each row is a straight line over x̂, whose intercept and slope are the two paths."""
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
    """A sum over the wrong axis: of the results that read a broadcast input, or within a formula."""
    v, shape = e.v.reshape(COTANGENTS, *e.y.shape), e.x.shape
    if e.x.size < e.y.size and e.jacobian is not None and (np.count_nonzero(e.jacobian, axis=1) <= 1).all():
        each = v * e.jacobian.sum(axis=1).reshape(e.y.shape)  # the share of each result in the entry that it reads
        for axes in subsets(e.y.ndim):
            added = each.sum(axis=tuple(a + 1 for a in axes))
            if added.size == COTANGENTS * e.x.size:
                yield "wrong axis", added.reshape(COTANGENTS, -1), f"the sum runs over {axes_in_words(axes)} of y"
    if e.is_call and "axis" in e.function.op.params and e.x.ndim > 1:
        for axis in (None, *range(e.x.ndim)):
            yield from gradient_of(e, "wrong axis", axis=axis)
    if shape != e.y.shape or e.x.ndim < 2:
        return
    right = e.right.reshape(v.shape)
    for formula in (_softmax, _log_softmax, _unit_length, _centred):
        with np.errstate(all="ignore"):
            found = {axes: formula(v, e.x, e.y, tuple(a + 1 for a in axes)) for axes in subsets(e.x.ndim)}
        if any(np.allclose(g, right, rtol=1e-6, atol=1e-9 * np.abs(right).max()) for g in found.values()):
            for axes, g in found.items():
                yield "wrong axis", g.reshape(COTANGENTS, -1), f"the sum runs over {axes_in_words(axes)}"


def _softmax(v, x, y, axes):
    return y * (v - (v * y).sum(axes, keepdims=True))


def _log_softmax(v, x, y, axes):
    return v - np.exp(y) * v.sum(axes, keepdims=True)


def _unit_length(v, x, y, axes):
    return (v - y * (v * y).sum(axes, keepdims=True)) / np.sqrt((x * x)[None].sum(axes, keepdims=True))


def _centred(v, x, y, axes):
    return v - v.mean(axes, keepdims=True)


def _not_summed(e):
    """Only one of the places that read a broadcast input counts."""
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
    """Of the results that read an entry, only the last (or the first) leaves its gradient there."""
    yield from _not_summed(e)
    J = e.jacobian
    if J is None or e.y.size < 2:
        return
    read = np.abs(J) > 1e-12 * np.abs(J).max()
    overlap = read.sum(axis=0).max(initial=0) > 1
    for mask in _own_windows(e) if overlap else ():
        yield "overlapping windows ignored", e.v @ (J * mask), "each entry receives the gradient of one window only"
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
    """Masks of ∂y/∂x that assign each pixel to the window in whose stride it lies, as if windows did not overlap."""
    if not e.is_call or e.x.ndim != 4 or e.y.ndim != 4:
        return
    s = e.function.argument("stride") or e.function.argument("size")
    for axes in ((1, 2), (2, 3)):  # images (N, H, W, C) or (N, C, H, W)
        for stride in map(as_pair, [s] if s else (1, 2, 3)):
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
    yield "stride ignored", slopes(G, e.x, range(e.x.size), e.rng).value.T, "this would be right for stride 1"


def selection(e):
    """For a y that picks entries of x, as max does: the picked value in place of the 1, or the whole window in place of
    the picked entry."""
    J = e.jacobian
    if J is None or e.y.size >= e.x.size or not (np.isclose(J, 0) | np.isclose(J, 1)).all() or \
            not np.isclose(J.sum(axis=1), 1).all():
        return
    yield "value taken for index", (e.v * e.y.ravel()) @ J, "each entry is multiplied by the value that was picked"
    spread = _over_windows(e)
    if spread is not None:
        count = e.x.size / e.y.size
        for what, g in (("in full", spread), ("in equal parts", spread / count)):
            yield "spread over the window", g.reshape(COTANGENTS, -1), f"all entries of a window receive ∂L/∂y {what}"


def _over_windows(e):
    """Each entry of ∂L/∂y given to its whole window in x, if the windows do not overlap; else None."""
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
