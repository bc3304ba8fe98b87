"""Axes one above the other, drawn as pixels: frames of a film, all of one size whatever is on them."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scratchnet.plotting.figure import styled


def stacked_frame(draw, rows, width=6.0, height=6.0):
    """Pixels, uint8 (100 height, 100 width, 3), of `rows` axes that draw(axes_1, …, axes_rows) has drawn on: a frame
    for `save_gif`. Limits of the axes are best fixed by draw, so that only what is drawn moves from frame to frame.

    Each colour is rounded to 16 levels: few enough for a GIF to keep them all, in half the bytes.
    """
    with styled() as figure:
        figure.set(size_inches=(width, height), dpi=100, layout_engine="constrained")
        canvas = FigureCanvasAgg(figure)
        draw(*figure.subplots(rows, squeeze=False)[:, 0])
        canvas.draw()
    return 17 * np.rint(np.array(canvas.buffer_rgba())[:, :, :3] / 17).astype(np.uint8)
