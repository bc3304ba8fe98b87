"""Pictures of digits, loss curves, scatter plots, tables and GIFs: one look for every demo, readable in grey.

Digits are dark ink on white paper everywhere: a pixel of 0 is paper, a pixel of 1 is ink. Images with three channels
are colours and stay as they are. Pixels beyond [0, 1] are clipped. Nothing here touches pyplot or its backend.
Arrays may be on either device. Files are replaced as a whole; missing folders are made.
"""

import csv
import os
import textwrap
from contextlib import contextmanager
from pathlib import Path

import matplotlib
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
    if not shapes or len(labels) != len(shapes) or len(set(shapes)) > 1:
        raise ValueError(f"image_rows: {len(labels)} labels for {len(shapes)} rows of shapes {shapes}, "
                         f"expected at least one row, one label a row, and one shape")
    _sheet(np.concatenate([_pixels("image_rows", row) for row in rows]), shapes[0][0], title, path, yticks=labels)


def image_grid(images, columns, title, path, xlabel="", ylabel="", xticks=None, yticks=None):
    """Images (N, H, W, 1) or (N, H, W, 3) row by row, `columns` to a row.

    For a grid over latent codes, xticks and yticks are the coordinate of each column and of each row, top row first.
    """
    _sheet(_pixels("image_grid", images), _whole("image_grid", "columns", columns), title, path,
           xlabel, ylabel, xticks, yticks)


def curves(lines, xlabel, ylabel, title, path):
    """Lines name → (steps, values), with a legend. Points without a finite value (empty cells of a log) are skipped."""
    if not 1 <= len(lines) <= len(LINES):
        raise ValueError(f"curves: {len(lines)} lines, expected 1 to {len(LINES)}, as many as can be told apart")
    with _figure(path, 6.0, 3.7) as axes:
        for name, (steps, values) in lines.items():
            x, y = (np.asarray(to_cpu(data_of(a)), dtype=float) for a in (steps, values))
            if x.ndim != 1 or x.shape != y.shape:
                raise ValueError(f"curves: {name!r} has steps {x.shape} and values {y.shape}, expected twice (N,)")
            kept = np.isfinite(x) & np.isfinite(y)
            if not kept.any():
                raise ValueError(f"curves: {name!r} has no finite point")
            axes.plot(x[kept], y[kept], label=name, markevery=max(1, kept.sum() // 12))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(textwrap.fill(title, 72))
        axes.legend()


def scatter(points, labels, title, path, xlabel="$z_1$", ylabel="$z_2$"):
    """Points (N, 2), each drawn as its integer label (N,), which stands once more, large, at their median."""
    points, labels = to_cpu(data_of(points)), to_cpu(data_of(labels))
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or labels.size == 0:
        raise ValueError(f"scatter: points {points.shape} and labels {labels.shape}, expected (N, 2) and (N,), N ≥ 1")
    if labels.dtype.kind not in "iu" or not np.isfinite(points).all():
        raise ValueError(f"scatter: labels are {labels.dtype}, expected integers, and points must be finite")
    with _figure(path, 6.0, 6.0) as axes:
        for k, label in enumerate(np.unique(labels)):
            cluster, colour = points[labels == label], matplotlib.colormaps["tab10"](k % 10)
            axes.scatter(*cluster.T, marker=f"${label}$", s=22, linewidths=0, color=colour, alpha=0.7)
            axes.annotate(str(label), np.median(cluster, axis=0), ha="center", va="center", fontsize=20, weight="bold",
                          color=colour, path_effects=[withStroke(linewidth=4, foreground="white")])
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(textwrap.fill(title, 72))


def table(rows, header, path=None):
    """Rows of strings and numbers as an aligned Markdown table: returned, and written to `path` if one is given.

    Floats get four significant digits; give a string for anything else. Columns of numbers are aligned to the right.
    """
    wrong = next((row for row in rows if len(row) != len(header)), None)
    if len(rows) == 0 or len(header) == 0 or wrong is not None:
        raise ValueError(f"table: {len(header)} columns, {len(rows)} rows, expected at least one of each"
                         + f" and as many cells in each row, got {wrong}" * (wrong is not None))
    columns = []
    for name, *cells in zip(header, *rows, strict=True):
        right = not any(isinstance(cell, str) for cell in cells)
        texts = [(f"{c:#.4g}" if isinstance(c, (float, np.floating)) else str(c)).replace("|", r"\|")
                 for c in (name, *cells)]
        width = max(3, *map(len, texts))
        texts.insert(1, "-" * (width - 1) + (":" if right else "-"))
        columns.append([text.rjust(width) if right else text.ljust(width) for text in texts])
    text = "".join(f"| {' | '.join(line)} |\n" for line in zip(*columns, strict=True))
    if path is not None:
        with _replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def read_log(path):
    """The columns of a CSV file with a header: name → float64 array (empty cells are NaN), or list of str if not all
    of its cells are numbers."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    if not header or len(set(header)) < len(header):
        raise ValueError(f"read_log: {path}: the first line is {header}, expected the names of the columns, all unlike")
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise ValueError(f"read_log: {path}: line {number} has {len(line)} cells, expected {len(header)}")
    columns = {}
    for k, name in enumerate(header):
        cells = [line[k] for line in lines]
        try:
            columns[name] = np.array([float(cell or "nan") for cell in cells])
        except ValueError:
            columns[name] = cells
    return columns


def frame(images, columns, scale=3):
    """A sheet of images (N, H, W, C) as uint8 pixels, (H′, W′) for C = 1 and (H′, W′, 3) for C = 3, enlarged `scale`
    times: a frame for `save_gif`. Nothing is drawn, so it is cheap enough for every step."""
    columns, scale = _whole("frame", "columns", columns), _whole("frame", "scale", scale)
    return _tile(_pixels("frame", images), min(columns, len(images))).repeat(scale, axis=0).repeat(scale, axis=1)


def save_gif(frames, path, per_second=5.0, captions=None):
    """An endless GIF of frames (uint8 arrays from `frame`, or paths of PNG files), a caption in a strip above each."""
    frames = [np.asarray(Image.open(f)) if isinstance(f, (str, Path)) else f for f in frames]
    if not frames or any(f.dtype != np.uint8 or f.shape != frames[0].shape for f in frames):
        raise ValueError(f"save_gif: needs at least one frame, all uint8 and of one shape, got "
                         f"{[(str(f.dtype), f.shape) for f in frames[:4]]}")
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"save_gif: {len(captions)} captions for {len(frames)} frames")
    pictures = [Image.fromarray(f) for f in frames]
    if captions is not None:
        pictures = [_captioned(picture, text) for picture, text in zip(pictures, captions, strict=True)]
    pause = [round(1000 / per_second)] * (len(frames) - 1) + [2000]  # the last frame stays for two seconds
    with _replacing(path) as temporary:
        pictures[0].save(temporary, format="GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0)


def save_frame(pixels, path):
    """One frame as a PNG file."""
    with _replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def _captioned(picture, text, height=22):
    """The picture under a white strip with the text."""
    sheet = Image.new("L" if picture.mode == "L" else "RGB", (picture.width, picture.height + height), "white")
    sheet.paste(picture, (0, height))
    ImageDraw.Draw(sheet).text((4, 4), text, fill="black", font=ImageFont.load_default(14))
    return sheet


def _sheet(images, columns, title, path, xlabel="", ylabel="", xticks=None, yticks=None):
    """Images drawn as one picture on axes whose ticks, if any, stand at the centre of each column and row."""
    columns = min(columns, len(images))
    pixels = _tile(images, columns)
    n_rows, (height, width) = -(-len(images) // columns), images.shape[1:3]
    inches = 9.0 * min(1.0, columns / 12 + 0.25)
    with _figure(path, inches, inches * pixels.shape[0] / pixels.shape[1] + 0.5) as axes:
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        centres = [GAP + k * (width + GAP) + width / 2 - 0.5 for k in range(columns)]
        axes.set_xticks(*((centres, xticks) if xticks is not None else ([],)))
        centres = [GAP + k * (height + GAP) + height / 2 - 0.5 for k in range(n_rows)]
        axes.set_yticks(*((centres, yticks) if yticks is not None else ([],)))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(textwrap.fill(title, max(30, int(inches * 11))))


def _tile(ink, columns):
    """uint8 images (N, H, W, C) side by side with GAP white pixels between: (H′, W′) for C = 1, else (H′, W′, C)."""
    N, H, W, C = ink.shape
    rows = -(-N // columns)
    sheet = np.full((rows * columns, H + GAP, W + GAP, C), 255, np.uint8)
    sheet[:N, GAP:, GAP:] = ink
    sheet = sheet.reshape(rows, columns, H + GAP, W + GAP, C).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (H + GAP), columns * (W + GAP), C)
    sheet = np.pad(sheet, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return sheet[:, :, 0] if C == 1 else sheet


def _pixels(name, images):
    """Images (N, H, W, C) in [0, 1] as uint8, one channel turned to dark ink on white."""
    images = to_cpu(data_of(images))
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"{name}: images {images.shape}, expected (N, H, W, 1) or (N, H, W, 3), none of them 0")
    if not np.isfinite(images).all():
        raise ValueError(f"{name}: {int((~np.isfinite(images)).sum())} pixels are NaN or infinite")
    pixels = np.rint(255 * np.clip(images.astype(np.float32), 0, 1)).astype(np.uint8)
    return 255 - pixels if images.shape[3] == 1 else pixels


def _whole(name, what, number):
    if not isinstance(number, (int, np.integer)) or number < 1:
        raise ValueError(f"{name}: {what} is {number!r}, expected a whole number ≥ 1")
    return int(number)


@contextmanager
def _figure(path, width, height):
    """Axes to draw on, in our style; written to `path` as PNG at the end."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        yield figure.add_subplot()
        with _replacing(path) as temporary:
            figure.savefig(temporary, format="png")


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
