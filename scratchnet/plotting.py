"""Pictures of digits, loss curves, scatter plots, tables and GIFs: one look for every demo, readable in grey.

Digits are dark ink on white paper everywhere: a pixel of 0 is paper, a pixel of 1 is ink. Images with three channels
are colours and stay as they are. Pixels beyond [0, 1] are clipped. Nothing here touches pyplot or its backend.
Arrays may be on either device, or Tensors. Files are replaced as a whole; missing folders are made.
"""

import csv
import os
import textwrap
from contextlib import contextmanager, suppress
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image, ImageDraw, ImageFont

from scratchnet.backend import to_cpu
from scratchnet.tensor import data_of

GAP = 2  # pixels between the images of a sheet
# Told apart without their hue too: each has a lightness, a dash and a marker of its own (hues of Okabe & Ito 2008).
LINES = (matplotlib.cycler(color=["#000000", "#d55e00", "#0072b2", "#e69f00", "#009e73", "#cc79a7"])
         + matplotlib.cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))])
         + matplotlib.cycler(marker=["o", "s", "^", "D", "v", "x"]))
STYLE = {"font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left", "axes.titlepad": 8,
         "axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": LINES, "axes.grid": True,
         "axes.axisbelow": True, "grid.color": "0.9", "lines.linewidth": 1.5, "lines.markersize": 4.5,
         "legend.frameon": False, "legend.handlelength": 3.5, "savefig.dpi": 200, "savefig.bbox": "tight"}


def image_rows(rows, labels, title, path):
    """One labelled row of images for each entry of `rows`, each (N, H, W, 1) or (N, H, W, 3), all of one shape."""
    shapes = [np.shape(data_of(row)) for row in rows]
    if len(labels) != len(shapes) or len(set(shapes)) != 1:
        raise ValueError(f"image_rows: {len(labels)} labels for {len(shapes)} rows of shapes {shapes}, "
                         f"expected at least one row, one label a row, and one shape")
    images = np.concatenate([to_cpu(data_of(row)) for row in rows])
    _sheet("image_rows", images, shapes[0][0], title, path, yticks=labels)


def image_grid(images, columns, title, path, xlabel="", ylabel="", xticks=None, yticks=None):
    """Images (N, H, W, 1) or (N, H, W, 3) row by row, `columns` to a row.

    For a grid over latent codes, xticks and yticks are the coordinate of each column and of each row, top row first.
    """
    _sheet("image_grid", images, columns, title, path, xlabel, ylabel, xticks, yticks)


def curves(lines, xlabel, ylabel, title, path):
    """Lines name → (steps, values), with a legend. Points without a finite value (empty cells of a log) are skipped."""
    if not 1 <= len(lines) <= len(LINES):
        raise ValueError(f"curves: {len(lines)} lines, expected 1 to {len(LINES)}, as many as can be told apart")
    with _figure(path, 5.5, 3.2, title) as axes:
        for name, (steps, values) in lines.items():
            x, y = (np.asarray(to_cpu(data_of(a)), dtype=float) for a in (steps, values))
            if x.ndim != 1 or x.shape != y.shape:
                raise ValueError(f"curves: {name!r} has steps {x.shape} and values {y.shape}, expected twice (N,)")
            kept = np.isfinite(x) & np.isfinite(y)
            if not kept.any():
                raise ValueError(f"curves: {name!r} has no finite point")
            axes.plot(x[kept], y[kept], label=name, markevery=max(1, kept.sum() // 12))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))  # outside, where it hides no line


def scatter(points, labels, title, path, xlabel="$z_1$", ylabel="$z_2$"):
    """Points (N, 2), each drawn as its integer label (N,), which stands once more, large, at their median."""
    points, labels = to_cpu(data_of(points)), to_cpu(data_of(labels))
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or labels.size == 0:
        raise ValueError(f"scatter: points {points.shape} and labels {labels.shape}, expected (N, 2) and (N,), N ≥ 1")
    if labels.dtype.kind not in "iu" or not np.isfinite(points).all():
        raise ValueError(f"scatter: labels are {labels.dtype}, expected integers, and points must be finite")
    with _figure(path, 5.5, 5.5, title) as axes:
        for k, label in enumerate(np.unique(labels)):
            cluster, colour = points[labels == label], matplotlib.colormaps["tab10"](k % 10)
            axes.scatter(*cluster.T, marker=f"${label}$", s=22, linewidths=0, color=colour, alpha=0.7)
            axes.annotate(str(label), np.median(cluster, axis=0), ha="center", va="center", fontsize=16, weight="bold",
                          color=colour, path_effects=[withStroke(linewidth=4, foreground="white")])
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_aspect("equal", adjustable="datalim")  # a distance is as long in one direction as in the other


def table(rows, header, path=None):
    """Rows of strings and numbers as an aligned Markdown table: returned, and written to `path` if one is given.

    Floats get four significant digits; give a string for anything else. Columns with numbers are aligned to the right.
    """
    lengths = {len(row) for row in rows}
    if len(header) == 0 or lengths != {len(header)}:
        raise ValueError(f"table: {len(rows)} rows of {sorted(lengths)} cells under {len(header)} names, "
                         f"expected at least one row, and as many cells in each row as names")
    columns = []
    for name, *cells in zip(header, *rows, strict=True):
        right = not all(isinstance(cell, str) for cell in cells)
        texts = [_cell(c) for c in (name, *cells)]
        width = max(3, *map(len, texts))
        texts.insert(1, "-" * (width - 1) + (":" if right else "-"))
        columns.append([text.rjust(width) if right else text.ljust(width) for text in texts])
    text = "".join(f"| {' | '.join(line)} |\n" for line in zip(*columns, strict=True))
    if path is not None:
        with _replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def _cell(x):
    if isinstance(x, (float, np.floating)):
        return f"{x:.0f}" if abs(x) >= 999.95 else f"{x:#.4g}"
    return str(x).replace("|", r"\|").replace("\n", " ")


def read_log(path):
    """The columns of a CSV file: name → float64 array (empty cells are NaN), or list of str if a cell is no number."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    if not header or len(set(header)) < len(header):
        raise ValueError(f"read_log: {path}: the first line is {header}, expected the names of the columns, all unlike")
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise ValueError(f"read_log: {path}: line {number} has {len(line)} cells, expected {len(header)}")
    columns = {name: [line[k] for line in lines] for k, name in enumerate(header)}
    for name, cells in columns.items():
        with suppress(ValueError):
            columns[name] = np.array([float(cell or "nan") for cell in cells])
    return columns


def frame(images, columns, scale=3):
    """A sheet of images (N, H, W, C) as uint8 pixels, (H′, W′) for C = 1 and (H′, W′, 3) for C = 3, enlarged `scale`
    times: a frame for `save_gif`. Nothing is drawn, so it is cheap enough for every step."""
    return _tile("frame", _pixels("frame", images), columns, scale)


def save_frame(pixels, path):
    """One frame as a PNG file."""
    with _replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def save_gif(frames, path, per_second=5.0, captions=None):
    """An endless GIF of frames (uint8 arrays from `frame`, or paths of PNG files), a caption in a strip above each.

    The last frame stays for two seconds. GIFs count in 1/100 s, to which 1/per_second is rounded.
    """
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"save_gif: {len(captions)} captions for {len(frames)} frames")
    if not 0 < per_second <= 50:
        raise ValueError(f"save_gif: {per_second} frames per second, expected 0 < per_second ≤ 50, all a viewer shows")
    frames = [_read_png(f) if isinstance(f, (str, Path)) else f for f in frames]
    if not frames or any(f.dtype != np.uint8 or f.shape != frames[0].shape or 0 in f.shape for f in frames):
        raise ValueError(f"save_gif: needs at least one frame, all uint8 and of one shape, got "
                         f"{[(str(f.dtype), f.shape) for f in frames[:4]]}")
    pictures = [Image.fromarray(f) for f in frames]
    if captions is not None:
        pictures = _captioned(pictures, captions)
    pause = [10 * round(100 / per_second)] * (len(frames) - 1) + [2000]
    with _replacing(path) as temporary:
        pictures[0].save(temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0)


def _read_png(path):
    with Image.open(path) as picture:
        return np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))


def _captioned(pictures, captions, height=22):
    """Each picture under a white strip with its text; all as wide as the longest text needs."""
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 13)
    width = max(pictures[0].width, *(8 + int(font.getlength(text)) for text in captions))
    sheets = []
    for picture, text in zip(pictures, captions, strict=True):
        sheets.append(Image.new(picture.mode, (width, picture.height + height), "white"))
        sheets[-1].paste(picture, (0, height))
        ImageDraw.Draw(sheets[-1]).text((4, 3), text, fill="black", font=font)
    return sheets


def _sheet(op, images, columns, title, path, xlabel="", ylabel="", xticks=None, yticks=None):
    """Images as one picture, each pixel enlarged a whole number of times; ticks are at the centres of columns, rows."""
    pixels = _tile(op, _pixels(op, images), columns)
    height, width = pixels.shape[:2]
    zoom = min(max(1300 // width, 1), 4) / STYLE["savefig.dpi"]
    with _figure(path, width * zoom, height * zoom, title) as axes:
        axes.imshow(Image.fromarray(pixels).convert("RGB"), interpolation="nearest")  # (a colour map may round)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.tick_params("x", labelsize=8)  # twenty columns of "-3.0" have to fit
        for axis, label, ticks, step, size in ((axes.xaxis, xlabel, xticks, images.shape[2] + GAP, width),
                                               (axes.yaxis, ylabel, yticks, images.shape[1] + GAP, height)):
            centres = np.arange(GAP, size, step) + (step - GAP - 1) / 2
            if ticks is not None and len(ticks) != len(centres):
                raise ValueError(f"{op}: {len(ticks)} ticks for {len(centres)} columns or rows")
            axis.set_ticks(*([], []) if ticks is None else (centres, ticks))
            axis.set_label_text(label)


def _tile(op, ink, columns, scale=1):
    """uint8 images (N, H, W, C) side by side with GAP white pixels around: (H′, W′) for C = 1, else (H′, W′, C)."""
    if columns < 1 or scale < 1:
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
    images = to_cpu(data_of(images))
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"{op}: images {images.shape}, expected (N, H, W, 1) or (N, H, W, 3), none of them 0")
    if images.dtype.kind not in "fb":
        raise TypeError(f"{op}: images of {images.dtype}, expected floats in [0, 1]: divide by 255 if that is white")
    if not np.isfinite(images).all():
        raise ValueError(f"{op}: {int((~np.isfinite(images)).sum())} pixels are NaN or infinite")
    pixels = np.rint(255 * np.clip(images.astype(np.float32), 0, 1)).astype(np.uint8)
    return 255 - pixels if images.shape[3] == 1 else pixels


@contextmanager
def _figure(path, width, height, title):
    """Axes of width × height inches to draw on, in our style whatever the user's is; written to `path` at the end, with
    what stands around the axes. The ending of `path` tells the format (PNG, PDF, SVG)."""
    with matplotlib.style.context(["default", STYLE]):
        axes = Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
        yield axes
        axes.set_title(textwrap.fill(title, max(40, int(13 * width))))
        with _replacing(path) as temporary:
            axes.figure.savefig(temporary, format=Path(path).suffix[1:])


@contextmanager
def _replacing(path):
    """A temporary file beside `path` that takes its place when all went well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
