"""Sheets of images: digits as dark ink on white paper, every pixel as it is, the first image at the top left."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from scratchnet.backend import is_whole, kind_of
from scratchnet.host import on_host
from scratchnet.plotting.figure import STYLE, check_several, check_text, figure, new_file, small_font

GAP = 2  # pixels between the images of a sheet


def image_rows(rows, labels, title, path):
    """One labelled row of images for each entry of `rows`, each (N, H, W, 1) or (N, H, W, 3), all of one shape."""
    if not isinstance(rows, Iterable):
        raise TypeError(f"image_rows: rows must be a list of arrays, got {kind_of(rows)}")
    check_several("image_rows", "labels", labels)
    rows = [on_host("image_rows", "a row", row) for row in rows]
    shapes = [row.shape for row in rows]
    if len(labels) != len(shapes) or len(set(shapes)) != 1:
        raise ValueError(f"image_rows: {len(labels)} labels for {len(shapes)} rows of shapes {shapes}, "
                         f"expected at least one row, one label a row, and one shape")
    images = np.concatenate(rows)
    _sheet("image_rows", images, shapes[0][0], title, path, yticks=labels)


def image_grid(images, columns, title, path, xlabel="", ylabel="", xticks=None, yticks=None):
    """Images (N, H, W, 1) or (N, H, W, 3) row by row, `columns` to a row.

    xticks and yticks are a text or a coordinate for each column and for each row, top row first. Coordinates get one
    decimal.
    """
    _sheet("image_grid", images, columns, title, path, xlabel, ylabel, xticks, yticks)


def frame(images, columns, scale=3, labels=None):
    """A sheet of images (N, H, W, C) as uint8 pixels, (H′, W′) for C = 1 and (H′, W′, 3) for C = 3, enlarged `scale`
    times: a frame for `save_gif`. labels, if given, stand to the left of the rows.

    Matplotlib takes no part in it, so a frame is cheap enough for every step.
    """
    sheet = _tile("frame", _pixels("frame", images), columns, scale)
    return sheet if labels is None else _labelled(sheet, labels, scale * (images.shape[1] + GAP))


def _labelled(sheet, labels, step):
    """A sheet with texts to the left of its rows, which are `step` pixels high."""
    check_several("frame", "labels", labels)
    if len(labels) != len(sheet) // step:
        raise ValueError(f"frame: {len(labels)} labels for {len(sheet) // step} rows")
    font = small_font()
    width = 8 + max(int(font.getlength(line)) for label in labels for line in label.split("\n"))
    picture = Image.fromarray(np.pad(sheet, ((0, 0), (width, 0), (0, 0))[:sheet.ndim], constant_values=255))
    for k, label in enumerate(labels):
        ImageDraw.Draw(picture).text((width - 4, (k + 0.5) * step), label, fill="black", font=font, anchor="rm",
                                     align="right")
    return np.asarray(picture)


def save_frame(pixels, path):
    """One frame as a PNG file."""
    pixels = on_host("save_frame", "pixels", pixels)
    if pixels.dtype != np.uint8 or 0 in pixels.shape or not (pixels.ndim == 2 or pixels.shape[2:] == (3,)):
        raise ValueError(f"save_frame: pixels are {pixels.dtype} of shape {pixels.shape}, expected uint8, (H, W) or "
                         f"(H, W, 3)")
    with new_file(path) as file:
        Image.fromarray(pixels).save(file, format="PNG")


def _sheet(op, images, columns, title, path, xlabel="", ylabel="", xticks=None, yticks=None):
    """Images as one picture, each pixel enlarged a whole number of times; ticks are at the centres of columns, rows."""
    check_text(op, "title", title)
    pixels = _tile(op, _pixels(op, images), columns)
    height, width = pixels.shape[:2]
    zoom = min(max(1300 // width, 1), 4) / STYLE["savefig.dpi"]
    with figure(path, width * zoom, height * zoom, title) as (axes,):
        axes.imshow(Image.fromarray(pixels).convert("RGB"), interpolation="nearest")  # (a colour map may round)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.tick_params("x", labelsize=8)  # twenty columns of "-3.0" have to fit
        for axis, label, ticks, step, size in ((axes.xaxis, xlabel, xticks, images.shape[2] + GAP, width),
                                               (axes.yaxis, ylabel, yticks, images.shape[1] + GAP, height)):
            centres = np.arange(GAP, size, step) + (step - GAP - 1) / 2
            if ticks is not None:
                check_several(op, "ticks", ticks)
            if ticks is not None and len(ticks) != len(centres):
                raise ValueError(f"{op}: {len(ticks)} ticks for {len(centres)} columns or rows")
            axis.set_ticks(*([], []) if ticks is None else (centres, [_tick(t) for t in ticks]))
            axis.set_label_text(label)


def _tick(x):
    """A text as it is, a float with one decimal; never "−0.0"."""
    return f"{round(x, 1) + 0.0:.1f}".replace("-", "−") if isinstance(x, (float, np.floating)) else x


def _tile(op, ink, columns, scale=1):
    """uint8 images (N, H, W, C) side by side with GAP white pixels around: (H′, W′) for C = 1, else (H′, W′, C)."""
    if not (is_whole(columns) and is_whole(scale) and columns >= 1 and scale >= 1):
        raise ValueError(f"{op}: columns is {columns}, expected a whole number ≥ 1, as for scale, which is {scale}")
    N, H, W, C = ink.shape
    columns = min(columns, N)
    rows = -(-N // columns)
    sheet = np.full((rows * columns, H + GAP, W + GAP, C), 255, np.uint8)
    sheet[:N, GAP:, GAP:] = ink
    sheet = sheet.reshape(rows, columns, H + GAP, W + GAP, C).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (H + GAP), columns * (W + GAP), C)
    sheet = np.pad(sheet, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    return sheet[:, :, 0] if C == 1 else sheet


def _pixels(op, images):
    """Images (N, H, W, C) in [0, 1] as uint8, one channel turned to dark ink on white."""
    images = on_host(op, "images", images)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"{op}: images {images.shape}, expected (N, H, W, 1) or (N, H, W, 3), none of them 0")
    if images.dtype.kind not in "fb":
        raise TypeError(f"{op}: images of {images.dtype}, expected floats in [0, 1]: divide by 255 if that is white")
    if not np.isfinite(images).all():
        raise ValueError(f"{op}: {int((~np.isfinite(images)).sum())} pixels are NaN or infinite")
    pixels = np.rint(255 * np.clip(images.astype(np.float32), 0, 1)).astype(np.uint8)
    return 255 - pixels if images.shape[3] == 1 else pixels
