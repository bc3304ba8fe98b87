"""Tables of numbers: written as Markdown, read from the log of a run."""

import csv
from contextlib import suppress

import numpy as np

from scratchnet.backend import kind_of
from scratchnet.plotting.figure import new_file


def table(rows, header, path=None):
    """An aligned Markdown table of rows of strings and numbers. It is returned, and written to `path` if one is given.

    Floats get four significant digits; give a string for any other format. Columns with numbers are aligned right.
    """
    _check_cells("rows", rows)
    for row in rows:
        _check_cells("each row", row)
    _check_cells("header", header)
    lengths = {len(row) for row in rows}
    if len(header) == 0 or lengths != {len(header)}:
        raise ValueError(f"table: {len(rows)} rows of {sorted(lengths)} cells under {len(header)} names, "
                         f"expected at least one row, and one cell for each name in every row")
    columns = []
    for name, *cells in zip(header, *rows, strict=True):
        right = not all(isinstance(cell, str) for cell in cells)
        texts = [_cell(c) for c in (name, *cells)]
        width = max(3, *map(len, texts))
        texts.insert(1, "-" * (width - 1) + (":" if right else "-"))
        columns.append([text.rjust(width) if right else text.ljust(width) for text in texts])
    text = "".join(f"| {' | '.join(line)} |\n" for line in zip(*columns, strict=True))
    if path is not None:
        with new_file(path) as file:
            file.write(text.encode())
    return text


def _check_cells(name, x):
    if isinstance(x, (str, bytes, dict)) or not hasattr(x, "__len__"):
        raise TypeError(f"table: {name} must be a list, got {kind_of(x)}")


def _cell(x):
    if isinstance(x, (float, np.floating)):
        return f"{x:.0f}" if abs(x) >= 999.95 else f"{x:#.4g}"
    return str(x).replace("|", r"\|").replace("\n", " ")


def read_log(path):
    """The columns of a CSV file: name → float64 array (empty cells are NaN), or list of str if a cell is not a number.
    ValueError says what is wrong with any other file."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file, strict=True)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"read_log: {path}: is not a CSV file in UTF-8: {error}") from error
    if not header or len(set(header)) < len(header):
        raise ValueError(f"read_log: {path}: the first line is {header}, expected the names of the columns, all "
                         f"different")
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise ValueError(f"read_log: {path}: line {number} has {len(line)} cells, expected {len(header)}")
    columns = {name: [line[k] for line in lines] for k, name in enumerate(header)}
    for name, cells in columns.items():
        with suppress(ValueError):
            columns[name] = np.array([_number(cell) for cell in cells])
    return columns


def _number(cell):
    if "_" in cell:  # only Python reads 1_000 as a number
        raise ValueError(cell)
    return float(cell or "nan")
