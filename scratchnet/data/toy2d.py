"""Points in the plane, drawn from distributions whose shape a person knows: what a generative model learned
of them is seen at one glance.

Every function draws n independent points, float32 (n, 2), and returns them with one label each, (n,).
"""

import csv

import numpy as np


def ring_centers(modes=8, radius=2.0):
    """Centers (modes, 2), equally spaced on a circle."""
    angle = 2 * np.pi * np.arange(modes) / modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def grid_centers(side=5, spacing=2.0):
    """Centers (side², 2) of a square grid about the origin."""
    line = spacing * (np.arange(side) - (side - 1) / 2)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def ring(n, rng, modes=8, radius=2.0, std=0.02):
    """Gaussians on a circle, and the number of each point's mode, int64.

    The defaults are those of Metz et al. 2017, "Unrolled generative adversarial networks".
    """
    return _gaussians(n, rng, ring_centers(modes, radius), std)


def grid(n, rng, side=5, spacing=2.0, std=0.05):
    """Gaussians on a square grid, and the number of each point's mode, int64.

    The defaults are those of Lin et al. 2018, "PacGAN".
    """
    return _gaussians(n, rng, grid_centers(side, spacing), std)


def moons(n, rng, noise=0.05):
    """Two half circles that reach into each other, and which of them, 0 (upper) or 1 (lower), int64.

    upper = (cos t, sin t), lower = (1 − cos t, ½ − sin t), t ~ U[0, π); noise is a standard deviation.
    """
    label = rng.integers(2, size=n)
    t = np.pi * rng.random(n)
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    points = np.where(label[:, np.newaxis] == 0, upper, [1.0, 0.5] - upper)
    return _noisy(points, rng, noise), label


def swiss_roll(n, rng, noise=0.05):
    """A spiral of one and a half turns, and the angle t of each point on it, float32.

    point = t/10 · (cos t, sin t), t ~ U[3π/2, 9π/2); noise is a standard deviation.
    """
    t = np.pi * (1.5 + 3 * rng.random(n))
    points = t[:, np.newaxis] / 10 * np.stack([np.cos(t), np.sin(t)], axis=1)
    return _noisy(points, rng, noise), t.astype(np.float32)


def read_points(path):
    """Points of one's own, float32 (n, 2): a CSV file of two columns of numbers; a first line of names is passed over.

    ValueError names the line that is not two finite numbers.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    except UnicodeDecodeError as error:
        raise ValueError(f"read_points: {path} is no text, expected lines of two numbers") from error
    points = []
    for number, row in lines:
        numbers = [_number(cell) for cell in row]
        if len(row) == 2 and np.isfinite(numbers).all():
            points.append(numbers)
        elif (number, row) != lines[0] or len(row) != 2 or not np.isnan(numbers).all():
            raise ValueError(f"read_points: {path}, line {number}: {','.join(row)[:60]!r}, expected two finite numbers "
                             f"and a comma between them")
    if not points:
        raise ValueError(f"read_points: {path} holds no points, expected lines of two numbers")
    return np.array(points, dtype=np.float32)


def _number(text):
    try:
        return float(text)
    except ValueError:
        return np.nan


def _gaussians(n, rng, centers, std):
    mode = rng.integers(len(centers), size=n)
    return _noisy(centers[mode], rng, std), mode


def _noisy(points, rng, std):
    return (points + std * rng.standard_normal(points.shape)).astype(np.float32)
