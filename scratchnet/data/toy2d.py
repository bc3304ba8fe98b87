"""Points in the plane from distributions of a known shape: one glance shows what a generative model has learned.

Every function draws n independent points, float32 (n, 2), and returns them with one label each, (n,).
"""

import csv
import io
import os
import re

import numpy as np

from scratchnet.backend import check_rng, kind_of
from scratchnet.data.text import utf8
from scratchnet.settings import number, whole


def ring_centers(modes=8, radius=2.0):
    """Centers (modes, 2), equally spaced on a circle."""
    modes, radius = whole("ring_centers", "modes", modes, 1), number("ring_centers", "radius", radius, "a number")
    angle = 2 * np.pi * np.arange(modes) / modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def grid_centers(side=5, spacing=2.0):
    """Centers (side², 2) of a square grid about the origin."""
    side, spacing = whole("grid_centers", "side", side, 1), number("grid_centers", "spacing", spacing, "a number")
    line = spacing * (np.arange(side) - (side - 1) / 2)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def ring(n, rng, modes=8, radius=2.0, std=0.02):
    """Gaussians on a circle, and the number of each point's mode, int64.

    The defaults are those of Metz et al. 2017, "Unrolled generative adversarial networks".
    """
    return _gaussians("ring", n, rng, ring_centers(modes, radius), std)


def grid(n, rng, side=5, spacing=2.0, std=0.05):
    """Gaussians on a square grid, and the number of each point's mode, int64.

    The defaults are those of Lin et al. 2018, "PacGAN".
    """
    return _gaussians("grid", n, rng, grid_centers(side, spacing), std)


def moons(n, rng, noise=0.05):
    """Two interlocking half circles, and the half circle of each point, 0 (upper) or 1 (lower), int64.

    upper = (cos t, sin t), lower = (1 − cos t, ½ − sin t), t ~ U[0, π); noise is a standard deviation.
    """
    n, noise = _checked("moons", n, rng, "noise", noise)
    label = rng.integers(2, size=n)
    t = np.pi * rng.random(n)
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    points = np.where(label[:, np.newaxis] == 0, upper, [1.0, 0.5] - upper)
    return _noisy(points, rng, noise), label


def swiss_roll(n, rng, noise=0.05):
    """A spiral of one and a half turns, and the angle t of each point on it, float32.

    point = t/10 · (cos t, sin t), t ~ U[3π/2, 9π/2); noise is a standard deviation.
    """
    n, noise = _checked("swiss_roll", n, rng, "noise", noise)
    t = np.pi * (1.5 + 3 * rng.random(n))
    points = t[:, np.newaxis] / 10 * np.stack([np.cos(t), np.sin(t)], axis=1)
    return _noisy(points, rng, noise), t.astype(np.float32)


def read_points(path):
    """The user's points, float32 (n, 2), from a CSV file with two columns of numbers; a first line of names is skipped.

    ValueError names the line that is not two finite numbers, or the column that float32 cannot hold.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"read_points: expected the path of a CSV file, got {kind_of(path)}")
    points = []
    for k, (line, row) in enumerate(_csv_rows(path)):
        numbers = [_number(cell) for cell in row]
        if len(row) == 2 and np.isfinite(numbers).all():
            points.append(numbers)
        elif k > 0 or len(row) != 2 or not all(_is_name(cell) for cell in row):
            raise ValueError(f"read_points: {path}, line {line}: {','.join(row)[:60]!r}, expected two finite numbers "
                             f"separated by a comma")
    if not points:
        raise ValueError(f"read_points: {path} holds no points, expected lines of two numbers")
    points = np.array(points)
    for column, x in enumerate(points.T, start=1):
        _check_float32(f"read_points: {path}, column {column}", x)
    return points.astype(np.float32)


def _csv_rows(path):
    """(line number, cells) of every line that is not empty."""
    reader, line = csv.reader(io.StringIO(utf8(path, f"read_points: {path}"), newline=""), strict=True), 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"read_points: {path}, line {line}: {error}: is a quote left open there?") from error


def _number(text):
    """The number in a cell, or NaN. Only Python takes 1_000 for a number."""
    try:
        return float(text) if "_" not in text else np.nan
    except ValueError:
        return np.nan


def _is_name(text):
    """Whether a cell can name a column: it has a letter, does not begin like a number, and is neither a truth value nor
    a missing value."""
    text = text.strip()
    return (re.match(r"[-+.]*\d", text) is None and any(letter.isalpha() for letter in text)
            and text.lstrip("-+#").lower() not in ("nan", "inf", "infinity", "na", "n/a", "null", "none", "missing",
                                                    "true", "false", "yes", "no"))


def _check_float32(where, x):
    """ValueError unless float32 can tell apart the values that float64 can: times in seconds since 1970 need an offset.
    Among many values from a continuum, a few merge whatever the offset; these pass."""
    with np.errstate(over="ignore"):
        rounded = x.astype(np.float32)
    lost = x[~np.isfinite(rounded) | ((rounded == 0) & (x != 0))]
    if lost.size:
        raise ValueError(f"{where} has {lost[0]:.6g}, but float32 holds 0 and 1e-45 to 3.4e38: scale the column")
    different = np.unique(x)
    merged = _share_merged(different)
    if merged > 0.01 and _share_merged((different - different[0]) / np.ptp(different)) < 0.1 * merged:
        raise ValueError(f"{where}: of {len(different)} different numbers near {different[0]:.10g}, {100 * merged:.0f} "
                         f"% are lost when rounded to float32: subtract an offset such as {different[0]:.10g} from the "
                         f"column, or scale it")


def _share_merged(different):
    """The share of these different numbers that rounding to float32 loses."""
    return 1 - len(np.unique(different.astype(np.float32))) / len(different)


def _checked(who, n, rng, name, spread):
    """n and the standard deviation `spread`, which the caller knows as `name`, both checked."""
    check_rng(who, rng)
    return whole(who, "n", n, 0), number(who, name, spread, "a number ≥ 0", lambda s: s >= 0)


def _gaussians(who, n, rng, centers, std):
    n, std = _checked(who, n, rng, "std", std)
    mode = rng.integers(len(centers), size=n)
    return _noisy(centers[mode], rng, std), mode


def _noisy(points, rng, std):
    return (points + std * rng.standard_normal(points.shape)).astype(np.float32)
