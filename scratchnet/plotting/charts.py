"""Lines, points, heat maps and matrices."""

import matplotlib.scale
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Affine2D

from scratchnet.backend import kind_of
from scratchnet.host import on_host
from scratchnet.plotting.figure import LINES, check_panels, check_several, check_text, checked_extent, figure, legend
from scratchnet.plotting.tables import read_log

SHADES = ListedColormap(matplotlib.colormaps["Greys"](np.linspace(0, 0.7, 256)))  # dots and arrows stand out from all


def curves(lines, xlabel, ylabel, title, path, xscale="linear", yscale="linear", *, ylim=(None, None), xticks=None,
           per_colour=1):
    """Lines name → (steps, values) or (steps, values, spread), with a legend; values ± spread are shaded.

    Points without a finite value (empty cells of a log) are skipped. Scales are "linear" or "log".

    ylim         (bottom, top); where it is None, the values decide
    xticks       the places of the ticks; by default the scale chooses them
    per_colour   the number of successive lines that share a colour and a marker, and differ by their dashes
    """
    check_panels("curves", lines)
    check_text("curves", "title", title)
    for name, scale in (("xscale", xscale), ("yscale", yscale)):
        if not isinstance(scale, str) or scale not in matplotlib.scale.get_scale_names():
            raise ValueError(f'curves: {name} is "linear" or "log", got {scale!r}')
    if not 1 <= len(lines) <= len(LINES):
        raise ValueError(f"curves: {len(lines)} lines, expected 1 to {len(LINES)}, which can be told apart")
    styles = LINES.by_key()
    with figure(path, 5.5, 3.2, title) as (axes,):
        for k, (name, line) in enumerate(lines.items()):
            x, y, *spread = _finite_points(name, line)
            group, dash = k // per_colour, k if per_colour == 1 else k % per_colour
            colour = styles["color"][group]
            axes.plot(x, y, color=colour, marker=styles["marker"][group], linestyle=styles["linestyle"][dash],
                      markevery=max(1, len(x) // 12))
            for s in spread:
                axes.fill_between(x, y - s, y + s, color=colour, alpha=0.2, lw=0)
        axes.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
        axes.set_ylim(*ylim)
        for axis, scale in ((axes.xaxis, xscale), (axes.yaxis, yscale)):
            if scale == "log":
                low, high = axis.get_view_interval()
                axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
                axis.set_major_formatter(lambda x, _: _short(x))
                axis.set_minor_formatter(NullFormatter())
        if xticks is not None:
            check_several("curves", "xticks", xticks)
            axes.set_xticks(xticks, [f"{x:,}" for x in xticks])
            axes.set_xticks([], minor=True)
        legend(axes, list(lines), list(axes.lines), loc="upper left", bbox_to_anchor=(1.0, 1.0))  # hides no line there


def _short(x):
    """0.001, 20 and 1000, but 10⁻⁵ and 2 · 10⁶"""
    factor, _, exponent = f"{x:g}".partition("e")
    if not exponent:
        return factor
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if factor == "1" else f"{factor} · {power}"


def _finite_points(name, line):
    """The points of a line (steps, values) or (steps, values, spread) that are finite."""
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
    return [a[kept] for a in (x, y, *spread)]


def training_curves(logs, ylabel, title, path, yscale="linear", ylim=(None, None)):
    """Values over the steps of trainings: name → (path of a log, one of its columns). Of long trainings, each point is
    the mean of many steps, since the noise of single batches would hide the lines."""
    columns = {}
    for name, (file, column) in logs.items():
        log = read_log(file)
        columns[name] = log["step"], log[column]
    n = max(1, min(len(steps) for steps, _ in columns.values()) // 75)
    lines = {name: [a[:len(a) // n * n].reshape(-1, n).mean(axis=1) for a in pair] for name, pair in columns.items()}
    of_many = f", means of {n} steps" if n > 1 else ""
    curves(lines, f"training step{of_many}", ylabel, title, path, yscale=yscale, ylim=ylim)


def scatter(panels, labels, title, path, xlabel="z₁", ylabel="z₂", names=None, *, shared=(), layouts=()):
    """Panels name → points (N, 2), side by side. Each point is drawn as its integer label (N,), the same in all panels,
    and the label stands large near the median of its points. With names, points are dots, and names[label] is the text.

    shared    names of panels that show the same part of the plane
    layouts   names of panels without ticks and names of axes, since their coordinates mean nothing (t-SNE)
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
    shown = panels | {name: np.concatenate([panels[other] for other in shared]) for name in shared}
    proportion = max(h / max(w, 1e-12) for w, h in (np.ptp(points, axis=0) for points in shown.values()))
    with figure(path, 5.5, 5.5 * np.clip(proportion, 0.6, 1), title, list(panels)) as row:
        for axes, (panel, points) in zip(row, panels.items(), strict=True):
            axes.update_datalim(shown[panel])
            axes.margins(0.03)
            if panel in layouts:
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            else:
                axes.set(xlabel=xlabel, ylabel=ylabel)
            axes.set_aspect("equal", adjustable="datalim")  # a distance is as long in one direction as in the other
            clusters = {label: points[labels == label] for label in np.unique(labels)}
            for k, (label, cluster) in enumerate(clusters.items()):
                marker = {"marker": _letters(str(label)), "s": 22} if names is None else {"marker": ".", "s": 40}
                axes.scatter(*cluster.T, **marker, linewidths=0, color=matplotlib.colormaps["tab10"](k % 10), alpha=0.7)
            _name_clusters(axes, clusters, names)


def _letters(text):
    """A text as a marker, its middle on the point."""
    path = TextPath((0, 0), text)
    box = path.get_extents()
    return path.transformed(Affine2D().translate(-(box.x0 + box.x1) / 2, -(box.y0 + box.y1) / 2))


def _name_clusters(axes, clusters, names):
    """Write the label of each cluster at the median of its points, or, if another label stands there, at the nearest
    free place, with a line to the median. Names also avoid points, each of which costs as much as a distance of 2 pt.
    """
    size = 16 if names is None else 12
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    shifts = np.concatenate([[(0, 0)], *(r * np.stack([np.cos(angles), np.sin(angles)], axis=1)
                                         for r in range(3, 120, 3))])                   # (S, 2), points of 1/72 inch
    axes.autoscale_view()
    axes.apply_aspect()
    to_points = axes.transData + Affine2D().scale(72 / axes.figure.dpi)
    dots = to_points.transform(np.concatenate(list(clusters.values())))                 # (N, 2)
    frame = to_points.transform(axes.viewLim.get_points())
    taken = np.zeros((0, 4))                                                            # x, y, half width and height
    for k, (label, cluster) in enumerate(clusters.items()):
        text, middle = str(label if names is None else names[label]), np.median(cluster, axis=0)
        box = TextPath((0, 0), text, size=size, prop={"weight": "bold"}).get_extents()
        half = np.array([box.width, box.height]) / 2 + 2
        places = to_points.transform(middle) + shifts
        cost = np.hypot(*shifts.T)
        cost += 1e6 * (np.abs(places[:, None] - taken[:, :2]) < half + taken[:, 2:]).all(axis=2).any(axis=1)
        cost += 1e3 * ((places - half < frame[0]) | (places + half > frame[1])).any(axis=1)
        if names is not None:
            cost += 2 * (np.abs(places[:, None] - dots) < half).all(axis=2).sum(axis=1)
        best = np.argmin(cost)
        taken = np.concatenate([taken, [[*places[best], *half]]])
        colour = matplotlib.colormaps["tab10"](k % 10)
        line = {"arrowstyle": "-", "color": colour, "shrinkB": 0} if best else None
        axes.annotate(text, middle, shifts[best], textcoords="offset points", ha="center", va="center", fontsize=size,
                      weight="bold", color=colour, arrowprops=line,
                      path_effects=[withStroke(linewidth=4, foreground="white")])


def heat_map(panels, extent, title, path, colour_label="", points=None, arrows=None, xlabel="z₁", ylabel="z₂", *,
             limits=None):
    """Panels name → values (H, W) over a rectangle of the plane, side by side, on one colour scale; darker is larger.

    extent   (left, right, bottom, top), or name of a panel → such a rectangle; row 0 is at the bottom, as y grows
             upwards
    points   (N, 2), small dots over every panel, or name of a panel → its points
    arrows   name of a panel → (feet (A, 2), vectors (A, 2)), drawn as long as they are
    limits   the values of the lightest and the darkest shade, by default the least and the largest; values beyond are
             drawn in these shades
    """
    check_panels("heat_map", panels)
    check_text("heat_map", "title", title)
    extents = extent if isinstance(extent, dict) else dict.fromkeys(panels, extent)
    extents = {name: checked_extent("heat_map", extents.get(name)) for name in panels}
    points = points if isinstance(points, dict) else {} if points is None else dict.fromkeys(panels, points)
    points = {name: _plane("points", x) for name, x in points.items()}
    arrows = _checked_arrows(arrows)
    panels = {name: on_host("heat_map", "values", values) for name, values in panels.items()}
    for values in panels.values():
        if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
            raise ValueError(f"heat_map: values {values.shape}, expected (H, W), all of them finite")
    largest = max(v.max() for v in panels.values())
    low, high = limits or (min(v.min() for v in panels.values()), largest)
    with figure(path, 4.5, 4.5, title, list(panels)) as row:
        for axes, (name, values) in zip(row, panels.items(), strict=True):
            left, right, bottom, top = extents[name]
            image = axes.imshow(values, extent=extents[name], origin="lower", cmap=SHADES, vmin=low, vmax=high,
                                aspect="equal")
            axes.set_anchor("NW")
            if name in points:
                axes.plot(*points[name].T, ".", color="#d55e00", markersize=2, alpha=0.6)  # seen on every shade
            if name in arrows:
                feet, vectors = arrows[name]
                axes.quiver(*feet.T, *vectors.T, color="#d55e00", angles="xy", scale_units="xy", scale=1, width=0.004)
            axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(left, right), ylim=(bottom, top))
            axes.grid(False)
        bar = row[-1].inset_axes((1.08, 0, 0.05, 1))
        row[-1].figure.colorbar(image, cax=bar, label=colour_label, extend="max" if largest > high else "neither")


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
    """Panels name → matrix (H, W), side by side, all entries of one size: white is 0, red positive, blue negative."""
    check_panels("matrices", panels)
    check_text("matrices", "title", title)
    panels = {name: on_host("matrices", "a matrix", matrix) for name, matrix in panels.items()}
    for matrix in panels.values():
        if matrix.ndim != 2 or 0 in matrix.shape or not np.isfinite(matrix).all():
            raise ValueError(f"matrices: a matrix {matrix.shape}, expected (H, W), all of it finite")
    largest = max(np.abs(matrix).max() for matrix in panels.values())
    side = min(0.22, 4.5 / max(max(matrix.shape) for matrix in panels.values()))  # of an entry, in inches
    x, tall = 0.0, side * max(len(matrix) for matrix in panels.values())
    names = [f"{name}, {matrix.shape[0]} × {matrix.shape[1]}" for name, matrix in panels.items()]
    with figure(path, 1, 1, title, names, letters=60) as row:
        for axes, name, matrix in zip(row, names, panels.values(), strict=True):
            height, width = matrix.shape
            axes.set_position((x, -side * height, side * width, side * height))
            image = axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
            axes.locator_params(integer=True)
            axes.set(xlabel="column", ylabel="row")
            axes.grid(False)
            x += max(side * width, 0.09 * len(name)) + 0.5                          # room for the name and for ticks
        bar = axes.figure.add_axes((x, -tall, 0.15, tall))
        axes.figure.colorbar(image, cax=bar, label="entry")
