"""The plane: generated points over real ones, and a discriminator's verdict on every place."""

import numpy as np

from scratchnet.host import on_host
from scratchnet.plotting.figure import check_panels, check_text, checked_extent, figure
from scratchnet.plotting.stacked import stacked_frame

REAL, GENERATED, ARROW = "#0072b2", "#d55e00", "#000000"


def points(panels, real, title, path):
    """Panels name → generated points (N, 2), in rows of three, each drawn over the real points (M, 2)."""
    check_panels("points", panels)
    check_text("points", "title", title)
    real = _plane("points", "real", real)
    if not len(real):
        raise ValueError("points: real has no points, expected at least one")
    with figure(path, 3.2, 3.2, title, list(panels), columns=3) as all_axes:
        for axes, (name, generated) in zip(all_axes, panels.items(), strict=True):
            _dots(axes, real, _plane("points", str(name), generated))
            axes.set(xlabel="x₁", ylabel="x₂", **_limits(real))
            axes.set_aspect("equal")
        all_axes[:3][-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=3, handlelength=1)


def plane_frame(values, extent, real, generated, arrows, text):
    """One moment of a GAN as uint8 pixels (480, 480, 3), a frame for `save_gif`, with `text` as its title.

    values      (H, W), D in [0, 1] over the rectangle `extent` = (left, right, bottom, top), row 0 at the bottom: dark
                where D takes a point for real
    real        (M, 2)
    generated   (N, 2)
    arrows      (N, 2), the direction in which D pulls each generated point; the longest spans a tenth of the width
    """
    values, real = on_host("plane_frame", "values", values), _plane("plane_frame", "real", real)
    generated, arrows = _plane("plane_frame", "generated", generated), _plane("plane_frame", "arrows", arrows)
    if values.ndim != 2 or not np.isfinite(values).all() or arrows.shape != generated.shape:
        raise ValueError(f"plane_frame: values {values.shape}, generated {generated.shape}, arrows {arrows.shape}, "
                         f"expected (H, W), all finite, and twice the same (N, 2)")
    extent = checked_extent("plane_frame", extent)
    longest = max(np.linalg.norm(arrows, axis=1).max(initial=0.0), 1e-12)

    def draw(axes):
        axes.imshow(values, extent=extent, origin="lower", cmap="Greys", vmin=0, vmax=1.6, aspect="auto",
                    interpolation="bilinear")
        _dots(axes, real, generated)
        axes.quiver(*generated.T, *arrows.T, color=ARROW, angles="xy", scale_units="xy", width=0.003,
                    scale=10 * longest / (extent[1] - extent[0]))
        axes.set(xlim=extent[:2], ylim=extent[2:], xlabel="dark: D takes a point for real; arrows: where D pulls it")
        axes.set_title(text)
        axes.grid(False)
        axes.legend(loc="upper right", fontsize=8, markerscale=3, frameon=True, handlelength=1)

    return stacked_frame(draw, 1, 4.8, 4.8)


def _dots(axes, real, generated):
    axes.plot(*real.T, ".", color=REAL, markersize=2, alpha=0.5, label="real")
    axes.plot(*generated.T, ".", color=GENERATED, markersize=3, label="generated")


def _limits(real):
    """A square about the real points, a fifth wider than they need."""
    middle, half = (real.min(axis=0) + real.max(axis=0)) / 2, 0.6 * np.ptp(real, axis=0).max()
    return {"xlim": (middle[0] - half, middle[0] + half), "ylim": (middle[1] - half, middle[1] + half)}


def _plane(op, name, x):
    x = on_host(op, name, x)
    if x.ndim != 2 or x.shape[1] != 2 or not np.isfinite(x).all():
        raise ValueError(f"{op}: {name} has shape {x.shape}, expected (N, 2), all finite")
    return x
