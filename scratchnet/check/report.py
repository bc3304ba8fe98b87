"""The result of a gradient check, for people: a table, both Jacobians of a small case, a picture, a named mistake."""

import base64
import html
import io

import numpy as np

HEADER = ["input", "gradient", "worst entry", "by the rule", "numeric", "relative error", "compared with"]
PRINTED = 60  # entries: a larger Jacobian is hard to read as text


class GradientMismatch(AssertionError):
    """Raised when a gradient is not the derivative. The message is the report, which is also in `.report`."""

    def __init__(self, report):
        super().__init__(str(report))
        self.report = report


class Row:
    """One input: its gradient by the rule beside its gradient in numbers.

    analytic, numeric, tolerance   (cotangents, directions): ⟨∂⟨v, y⟩/∂x, d⟩ for each cotangent v and direction d
    entries                        for each direction, the flat index of the entry of x it moves; None if it is dense
    cotangents                     for each cotangent, the flat index of the entry of y it selects; None if it is random
    left_out                       True where there is no derivative to compare with (a kink, or f is not finite)
    """

    def __init__(self, name, shape, y_shape, analytic, numeric, tolerance, entries, cotangents, left_out, method):
        self.name, self.shape, self.y_shape = name, shape, y_shape
        self.analytic, self.numeric, self.tolerance = analytic, numeric, tolerance
        self.entries, self.cotangents, self.left_out, self.method = entries, cotangents, left_out, method
        with np.errstate(invalid="ignore", over="ignore"):
            excess = np.abs(analytic - numeric) / np.maximum(tolerance, 1e-300)
        self.excess = np.where(left_out, -1.0, np.where(np.isfinite(excess), excess, np.inf))
        self.wrong = bool((self.excess > 1).any())

    def allow(self, more):
        """Judge again with a larger tolerance."""
        self.__init__(self.name, self.shape, self.y_shape, self.analytic, self.numeric, self.tolerance + more,
                      self.entries, self.cotangents, self.left_out, self.method)

    @property
    def gross(self):
        """Whether the gradient is wrong by more than a thousandth of the largest number."""
        off = np.where(self.left_out, 0.0, np.abs(self.analytic - self.numeric))
        return self.wrong and not off.max() <= 1e-3 * np.abs(self.numeric[~self.left_out]).max()

    def worst(self):
        """(cotangent, direction) of the worst mismatch, preferably of a random cotangent and an entry of x; None if
        nothing was compared."""
        if not self.excess.size or self.excess.max() < 0:
            return None
        excess = self.excess.copy()
        plain = np.ix_([c is None for c in self.cotangents], [e is not None for e in self.entries])
        if (excess[plain] > 1).any():
            keep = excess[plain]
            excess[:] = -1
            excess[plain] = keep
        return tuple(map(int, np.unravel_index(np.argmax(excess), excess.shape)))

    def jacobians(self):
        """(analytic, numeric) ∂y/∂x, one row for each entry of y; None if only a sample was checked."""
        rows = [k for k, c in enumerate(self.cotangents) if c is not None]
        if not rows or None in self.entries:
            return None
        return self.analytic[rows], self.numeric[rows]

    def cells(self):
        """The cells of this row in the printed table, in the order of HEADER."""
        kinks = int(self.left_out.any(axis=0).sum())
        method = self.method + (f", {kinks} left out (kinks, or not finite)" if kinks else "")
        label, at = f"{self.name} {self.shape}", self.worst()
        if at is None:
            return [label, "not checked" if self.left_out.size else "right", "–", "–", "–", "–", method]
        a, n, tolerance = self.analytic[at], self.numeric[at], self.tolerance[at]
        verdict = "WRONG" if self.wrong else "right"
        size = max(abs(a), abs(n), np.sqrt(np.mean(self.numeric[~self.left_out] ** 2)))
        if not self.wrong and tolerance > 1e-2 * size > 0:
            verdict = f"within the noise, ±{tolerance:.0e}"
        relative = abs(a - n) / max(abs(a), abs(n), 1e-300)
        return [label, verdict, self._where(*at), f"{a:.10g}", f"{n:.10g}", f"{relative:.1e}", method]

    def _where(self, cotangent, direction):
        entry, j = self.entries[direction], self.cotangents[cotangent]
        if entry is None:
            return "a random direction"
        index = str(_index(entry, self.shape))
        return index if j is None else f"∂y{_index(j, self.y_shape)}/∂{self.name}{index}"


class Report:
    """One Row for each checked input; `str(report)` is the table, `report.diagnosis` the mistake that explains it.

    rows        the comparisons
    faults      other things that are wrong with f or a gradient, in words
    notes       remarks for the reader: kinks, points drawn again, conventions
    higher      the Report of the next order, if one was asked for
    diagnosis   the Diagnosis of a wrong gradient, else None
    """

    def __init__(self, rows=(), faults=(), notes=()):
        self.rows, self.faults, self.notes = list(rows), list(faults), list(notes)
        self.higher = self.diagnosis = None

    @property
    def wrong(self):
        return bool(self.faults) or any(row.wrong for row in self.rows)

    def __str__(self):
        rows = [row.cells() for row in self.rows]
        widths = [max(len(row[k]) for row in [HEADER, *rows]) for k in range(len(HEADER))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in [HEADER, *rows]]
        lines = ["gradient check", *(lines if rows else []), *self.faults, *self.notes]
        for row in self.rows:
            pair = row.jacobians()
            if row.wrong and pair and 1 < pair[0].size <= PRINTED:
                lines += [f"∂y/∂{row.name} by the rule", _matrix(pair[0]), f"∂y/∂{row.name} numeric", _matrix(pair[1])]
        if self.diagnosis:
            lines.append(str(self.diagnosis))
        return "\n".join(lines + ([f"next order: {self.higher}"] if self.higher else []))

    __repr__ = __str__

    def draw(self, figure):
        """Draw analytic, numeric and difference side by side in a matplotlib Figure, a row of pictures for each input.
        A small case shows Jacobians, a large one the numbers compared (random cotangents down, directions across)."""
        figure.set_size_inches(10, 2.7 * max(1, len(self.rows)))
        axes = figure.subplots(max(1, len(self.rows)), 3, squeeze=False)
        for row, line in zip(self.rows, axes, strict=False):
            pair = row.jacobians()
            what = f"∂y/∂{row.name}" if pair else f"⟨v, ∂y/∂{row.name} d⟩"
            analytic, numeric = pair or (row.analytic, row.numeric)
            difference = analytic - numeric
            limits = [np.nanmax(np.abs(numeric), initial=1e-300)] * 2 + [np.nanmax(np.abs(difference), initial=1e-300)]
            titles = [f"{what} by the rule", f"{what} numeric", f"difference: {'wrong' if row.wrong else 'right'}"]
            for ax, values, title, limit in zip(line, (analytic, numeric, difference), titles, limits, strict=True):
                image = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto",
                                  interpolation="nearest")
                figure.colorbar(image, ax=ax, format="%.2g")
                ax.set_title(title, fontsize=10)
                ax.set_xlabel(f"entry of {row.name}" if pair else "direction d")
                ax.locator_params(integer=True)
            line[0].set_ylabel("entry of y" if pair else "cotangent v")
        return figure

    def _repr_html_(self):
        from matplotlib.figure import Figure

        picture = io.BytesIO()
        self.draw(Figure(layout="constrained")).savefig(picture, format="png", dpi=100)
        encoded = base64.b64encode(picture.getvalue()).decode()
        return f"<pre>{html.escape(str(self))}</pre><img src='data:image/png;base64,{encoded}'>"


def _index(flat, shape):
    return tuple(map(int, np.unravel_index(flat, shape)))


def _matrix(values):
    return np.array2string(values, precision=4, suppress_small=True, max_line_width=120)
