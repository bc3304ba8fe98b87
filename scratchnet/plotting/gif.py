"""GIFs that show how a model learns."""

import io
from collections.abc import Iterable
from numbers import Real
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from scratchnet.backend import kind_of
from scratchnet.host import on_host
from scratchnet.plotting.figure import check_several, check_text, new_file, small_font


def save_gif(frames, path, per_second=5.0, captions=None):
    """A looping GIF of frames (uint8 arrays from `frame`, or paths of PNG files), each under a strip with its caption.

    The last frame stays for two seconds. GIFs count time in 1/100 s, so 1/per_second is rounded to that.
    """
    if isinstance(frames, (str, Path)) or not isinstance(frames, Iterable):
        raise TypeError(f"save_gif: frames must be a list of arrays or paths, got {kind_of(frames)}")
    frames = list(frames)
    if captions is not None:
        check_several("save_gif", "captions", captions)
        for caption in captions:
            check_text("save_gif", "each caption", caption)
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"save_gif: {len(captions)} captions for {len(frames)} frames")
    if not isinstance(per_second, Real) or not 0 < per_second <= 50:
        raise ValueError(f"save_gif: {per_second} frames per second, expected 0 < per_second ≤ 50, a viewer's limit")
    frames = [_read_png(f) if isinstance(f, (str, Path)) else on_host("save_gif", "a frame", f) for f in frames]
    if not frames or any(f.dtype != np.uint8 or f.shape != frames[0].shape or 0 in f.shape for f in frames):
        raise ValueError(f"save_gif: needs at least one frame, all uint8 and of one shape, got "
                         f"{[(str(f.dtype), f.shape) for f in frames[:4]]}")
    pictures = [Image.fromarray(f) for f in frames]
    if captions is not None:
        pictures = _captioned(pictures, captions)
    pause = [10 * round(100 / per_second)] * (len(frames) - 1) + [2000]
    with new_file(path) as file:
        pictures[0].save(file, format="GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0)


def _read_png(path):
    content = Path(path).read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"save_gif: {path}: is not a picture, or is damaged") from error


def _captioned(pictures, captions, height=22):
    """Each picture under a white strip with its caption, all of them as wide as the longest caption needs."""
    font = small_font()
    width = max(pictures[0].width, *(8 + int(font.getlength(text)) for text in captions))
    sheets = []
    for picture, text in zip(pictures, captions, strict=True):
        sheets.append(Image.new(picture.mode, (width, picture.height + height), "white"))
        sheets[-1].paste(picture, (0, height))
        ImageDraw.Draw(sheets[-1]).text((4, 3), text, fill="black", font=font)
    return sheets
