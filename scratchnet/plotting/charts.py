"""Lines, points, heat maps and matrices."""

import matplotlib.scale
import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import Affine2D

from scratchnet.backend import kind_of
from scratchnet.host import on_host
from scratchnet.plotting.figure import LINES, check_panels, check_several, check_text, checked_extent, figure, legend


def curves(lines, xlabel, ylabel, title, path, xscale="linear", yscale="linear"):
    """Lines name → (steps, values) or (steps, values, spread), with a legend; values ± spread are shaded.

    Points without a finite value (empty cells of a log) are skipped. Scales are "linear" or "log".
    """
    check_panels("curves", lines)
    check_text("curves", "title", title)
    for name, scale in (("xscale", xscale), ("yscale", yscale)):
        if not isinstance(scale, str) or scale not in matplotlib.scale.get_scale_names():
            raise ValueError(f'curves: {name} is "linear" or "log", got {scale!r}')
    if not 1 <= len(lines) <= len(LINES):
        raise ValueError(f"curves: {len(lines)} lines, expected 1 to {len(LINES)}, as many as can be told apart")
    with figure(path, 5.5, 3.2, title) as (axes,):
        for name, line in lines.items():
            if not isinstance(line, (tuple, list)) or len(line) not in (2, 3):
                raise TypeError(f"curves: {name!r} is {kind_of(line).partition(';')[0]}, expected (steps, values) or "
                                f"(steps, values, spread)")
            x, y, *spread = (on_host("curves", repr(name), a).astype(float) for a in line)
            if x.ndim != 1 or any(x.shape != a.shape for a in (y, *spread)):
                raise ValueError(f"curves: {name!r} has steps {x.shape} and values {y.shape}"
                                 + "".join(f" and spread {a.shape}" for a in spread) + ", expected (N,) each")
            kept = np.isfinite(x) & np.isfinite(y)
            if not kept.any():
                raise ValueError(f"curves: {name!r} has no finite point")
            drawn, = axes.plot(x[kept], y[kept], markevery=max(1, kept.sum() // 12))
            for s in spread:
                axes.fill_between(x[kept], (y - s)[kept], (y + s)[kept], color=drawn.get_color(), alpha=0.2, lw=0)
        axes.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
        for axis, scale in ((axes.xaxis, xscale), (axes.yaxis, yscale)):
            if scale == "log":  # plain numbers: matplotlib writes powers as math
                axis.set_major_formatter(LogFormatter())
                axis.set_minor_formatter(LogFormatter())
        legend(axes, list(lines), list(axes.lines), loc="upper left", bbox_to_anchor=(1.0, 1.0))  # hides no line there


def scatter(panels, labels, title, path, xlabel="z₁", ylabel="z₂", names=None):
    """Panels name → points (N, 2), side by side. Each point is drawn as its integer label (N,), the same in all panels,
    and the label stands large at the median of its points; with names, points are dots, and names[label] stands there.
    """
    check_panels("scatter", panels)
    check_text("scatter", "title", title)
    labels = on_host("scatter", "labels", labels)
    panels = {name: on_host("scatter", "points", points) for name, points in panels.items()}
    for points in panels.values():
        if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or labels.size == 0:
            raise ValueError(f"scatter: points {points.shape} and labels {labels.shape}, expected (N, 2) and (N,), "
                             f"N ≥ 1")
        if labels.dtype.kind not in "iu" or not np.isfinite(points).all():
            raise ValueError(f"scatter: labels are {labels.dtype}, expected integers, and points must be finite")
    if names is not None:
        check_several("scatter", "names", names)
    if names is not None and not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError(f"scatter: labels from {labels.min()} to {labels.max()} for {len(names)} names")
    with figure(path, 5.5, 5.5, title, list(panels)) as row:
        for axes, points in zip(row, panels.values(), strict=True):
            for k, label in enumerate(np.unique(labels)):
                cluster, colour = points[labels == label], matplotlib.colormaps["tab10"](k % 10)
                marker = {"marker": _letters(str(label)), "s": 22} if names is None else {"marker": ".", "s": 40}
                axes.scatter(*cluster.T, **marker, linewidths=0, color=colour, alpha=0.7)
                axes.annotate(str(label if names is None else names[label]), np.median(cluster, axis=0), ha="center",
                              va="center", fontsize=16 if names is None else 12, weight="bold", color=colour,
                              path_effects=[withStroke(linewidth=4, foreground="white")])
            axes.set(xlabel=xlabel, ylabel=ylabel)
            axes.set_aspect("equal", adjustable="datalim")  # a distance is as long in one direction as in the other


def _letters(text):
    """A text as a marker, its middle on the point."""
    path = TextPath((0, 0), text)
    box = path.get_extents()
    return path.transformed(Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2))


def heat_map(panels, extent, title, path, colour_label="", points=None, arrows=None, xlabel="z₁", ylabel="z₂"):
    """Panels name → values (H, W) over a rectangle of the plane, side by side, in one scale of colours: dark is much.

    extent   (left, right, bottom, top); row 0 is at the bottom, as y grows upwards
    points   (N, 2), small dots over every panel
    arrows   name of a panel → (feet (A, 2), vectors (A, 2)), drawn as long as they are
    """
    check_panels("heat_map", panels)
    check_text("heat_map", "title", title)
    extent = checked_extent("heat_map", extent)
    points = None if points is None else _plane("points", points)
    arrows = _checked_arrows(arrows)
    panels = {name: on_host("heat_map", "values", values) for name, values in panels.items()}
    for values in panels.values():
        if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
            raise ValueError(f"heat_map: values {values.shape}, expected (H, W), all of them finite")
    low, high = min(v.min() for v in panels.values()), max(v.max() for v in panels.values())
    with figure(path, 4.5, 4.5, title, list(panels)) as row:
        for axes, (name, values) in zip(row, panels.items(), strict=True):
            image = axes.imshow(values, extent=extent, origin="lower", cmap="Greys", vmin=low, vmax=high,
                                aspect="equal")
            if points is not None:
                axes.plot(*points.T, ".", color="#0072b2", markersize=2, alpha=0.4)
            if name in arrows:
                feet, vectors = arrows[name]
                axes.quiver(*feet.T, *vectors.T, color="#d55e00", angles="xy", scale_units="xy", scale=1, width=0.004)
            axes.set(xlabel=xlabel, ylabel=ylabel, xlim=extent[:2], ylim=extent[2:])
            axes.grid(False)
        row[-1].figure.colorbar(image, ax=row, label=colour_label, shrink=0.9, pad=0.02)


def _checked_arrows(arrows):
    """name → (feet, vectors), both (A, 2)"""
    if arrows is not None and not isinstance(arrows, dict):
        raise TypeError(f"heat_map: arrows must be a dict, name of a panel → (feet, vectors), got {kind_of(arrows)}")
    checked = {}
    for name, pair in (arrows or {}).items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"heat_map: the arrows of {name!r} are (feet, vectors), got {kind_of(pair)}")
        feet, vectors = checked[name] = [_plane("arrows", a) for a in pair]
        if feet.shape != vectors.shape:
            raise ValueError(f"heat_map: {len(feet)} feet and {len(vectors)} vectors of the arrows of {name!r}")
    return checked


def _plane(name, x):
    x = on_host("heat_map", name, x)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"heat_map: {name} has shape {x.shape}, expected (N, 2)")
    return x


def matrices(panels, title, path):
    """Panels name → matrix (H, W), side by side: entries as colours, white is 0, red positive, blue negative."""
    check_panels("matrices", panels)
    check_text("matrices", "title", title)
    panels = {name: on_host("matrices", "a matrix", matrix) for name, matrix in panels.items()}
    for matrix in panels.values():
        if matrix.ndim != 2 or 0 in matrix.shape or not np.isfinite(matrix).all():
            raise ValueError(f"matrices: a matrix {matrix.shape}, expected (H, W), all of it finite")
    largest = max(np.abs(matrix).max() for matrix in panels.values())
    with figure(path, 4.5, 4.5, title, [f"{name}, {matrix.shape[0]} × {matrix.shape[1]}"
                                        for name, matrix in panels.items()]) as row:
        for axes, matrix in zip(row, panels.values(), strict=True):
            axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
            axes.locator_params(integer=True)
            axes.grid(False)
