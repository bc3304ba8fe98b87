"""The paper that all figures are drawn on: one style, whatever the user has set; files are replaced as a whole."""

import textwrap
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from PIL import ImageFont

from scratchnet.backend import kind_of
from scratchnet.folder import replacing
from scratchnet.settings import number

# Told apart without their hue too: each has a lightness, a dash and a marker of its own (hues of Okabe & Ito 2008).
LINES = (matplotlib.cycler(color=["#000000", "#d55e00", "#0072b2", "#e69f00", "#009e73", "#cc79a7"])
         + matplotlib.cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))])
         + matplotlib.cycler(marker=["o", "s", "^", "D", "v", "x"]))
# Text is drawn as it stands, since users' file names may have dollars in them; symbols are written in Unicode, as z₁.
STYLE = {"font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left", "axes.titlepad": 8,
         "axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": LINES, "axes.grid": True,
         "axes.axisbelow": True, "grid.color": "0.9", "lines.linewidth": 1.5, "lines.markersize": 4.5,
         "text.parse_math": False, "legend.frameon": False, "legend.handlelength": 3.5, "savefig.dpi": 200,
         "savefig.bbox": "tight"}


def small_font():
    """The font of the texts in GIFs, which are drawn without Matplotlib."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 13)


def check_text(op, name, x):
    """TypeError unless x is a string, possibly empty."""
    if not isinstance(x, str):
        raise TypeError(f"{op}: {name} must be text, got {kind_of(x).partition(';')[0]}")


def check_several(op, name, x):
    """TypeError unless x has a length, as lists of names or ticks do."""
    if not hasattr(x, "__len__"):
        raise TypeError(f"{op}: {name} must be a list, got {kind_of(x)}")


def check_panels(op, panels):
    """A dict with something to draw under each name."""
    if not isinstance(panels, dict) or not all(isinstance(name, str | int) for name in panels):
        raise TypeError(f"{op}: expected a dict, name → what is drawn, got {kind_of(panels)}")
    if not panels and op != "curves":
        raise ValueError(f"{op}: nothing to draw, expected at least one name")


def checked_extent(op, extent):
    """(left, right, bottom, top) as numbers."""
    if not hasattr(extent, "__len__") or len(extent) != 4:
        raise ValueError(f"{op}: extent is (left, right, bottom, top), got {extent!r}")
    left, right, bottom, top = (number(op, "each number of extent", x, "finite") for x in extent)
    if left == right or bottom == top:
        raise ValueError(f"{op}: extent is (left, right, bottom, top), a rectangle with an area, got {extent!r}")
    return left, right, bottom, top


@contextmanager
def styled():
    """An empty figure in our style, whatever the user has set."""
    with matplotlib.style.context(["default", STYLE]):
        yield Figure()


@contextmanager
def figure(path, width, height, title, names=("",), columns=6, letters=None):
    """Axes to draw on, one for each name, width × height inches each, in rows of `columns`, in our style, whatever the
    user has set. The title is broken into lines of `letters`, by default as many as the axes have room for. Above names
    it is bold.

    The picture is written to `path` at the end, with everything around the axes. The suffix of the path gives the
    format (PNG, PDF, SVG).
    """
    with styled() as canvas:
        canvas.set_size_inches(width, height)
        axes = [canvas.add_axes((k % columns * (1 + 0.9 / width), -(k // columns) * (1 + 0.9 / height), 1, 1))
                for k in range(len(names))]
        yield axes
        per_inch = 12 if any(names) else 13
        title = textwrap.fill(title, letters or max(40, int(per_inch * width * min(len(names), columns))))
        if any(names):
            for ax, name in zip(axes, names, strict=True):
                ax.set_title(name)
            lift = ScaledTranslation(0, 0.34, canvas.dpi_scale_trans)  # inches, above a name of one line
            canvas.text(0, 1, title, transform=axes[0].transAxes + lift, weight="bold", size=11, va="bottom")
        else:
            axes[0].set_title(title)
        with new_file(path) as file:
            canvas.savefig(file, format=Path(path).suffix[1:])


def legend(axes, names, lines, **place):
    """A legend of these lines; names may begin with "_", which makes matplotlib leave out an artist's own label."""
    shown = axes.legend(lines, [str(k) for k in range(len(lines))], **place)
    for text, name in zip(shown.get_texts(), names, strict=True):
        text.set_text(name)


@contextmanager
def new_file(path):
    """A file to write into, which replaces `path` when all has gone well; missing folders are made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        yield file
