"""Axes one above the other as pixels: frames of a GIF, all of one size whatever they show."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scratchnet.plotting.figure import styled


def stacked_frame(draw, rows, width=6.0, height=6.0):
    """Call draw(axes_1, …, axes_rows) and return its picture as pixels, uint8 (100 height, 100 width, 3), a frame for
    `save_gif`. Let draw fix the limits of the axes, so that only the drawing moves from frame to frame.

    Each colour is rounded to 16 levels: few enough for a GIF to keep them all, in half the bytes.
    """
    with styled() as figure:
        figure.set(size_inches=(width, height), dpi=100, layout_engine="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(*figure.subplots(rows, squeeze=False)[:, 0])
        canvas.draw()
    return 17 * np.rint(np.array(canvas.buffer_rgba())[:, :, :3] / 17).astype(np.uint8)
