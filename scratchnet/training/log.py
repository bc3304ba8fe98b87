"""The log of a run, log.csv: a row of numbers for each step."""

import csv
import io
import math
from numbers import Real

from scratchnet.autograd import data_of
from scratchnet.backend import kind_of, to_cpu
from scratchnet.checkpoint import CheckpointError
from scratchnet.folder import replacing

CULPRIT = ("The last checkpoint is from before that. "
           "detect_anomaly() (in the demos --detect-anomaly) names the op behind it")


class NonFiniteLoss(FloatingPointError):
    """A logged value, or a weight, became NaN or infinite; the message names the step and the value."""


class Log:
    """The rows of log.csv. Values are noted unread, and read many at once, since each read waits for a GPU.

    unread   (step, epoch, name → scalar) of steps whose values have not been read yet
    rows     dicts step, epoch, name → text of all earlier steps
    world    the processes over which values are averaged
    latest   name → text of the last row, in few digits, for the progress bar
    """

    def __init__(self, path, world):
        self.path, self.world = path, world
        self.unread, self.rows, self.latest = [], [], {}

    def note(self, step, epoch, values):
        """Note name → scalar, unread. Several calls in one step make one row."""
        values = {name: _scalar(name, value) for name, value in values.items()}
        if not self.unread or self.unread[-1][0] != step:
            self.unread.append((step, epoch, {}))
        self.unread[-1][2].update(values)

    def last_step(self):
        """The last step for which something was noted, 0 if there is none."""
        return self.unread[-1][0] if self.unread else int(self.rows[-1]["step"]) if self.rows else 0

    def read_values(self):
        """Read the noted values from the device, and take the means over the processes. NonFiniteLoss at the first that
        is not finite."""
        mine, self.unread = [(step, epoch, {k: _number(v) for k, v in values.items()})
                             for step, epoch, values in self.unread], []
        for step, epoch, numbers in _averaged(self.world.each(mine)):
            for name, number in numbers.items():
                if not math.isfinite(number):
                    raise NonFiniteLoss(f"step {step}: {name} is {number}. {CULPRIT}")
            if not self.rows or self.rows[-1]["step"] != step:  # a step that was saved before its end has a row already
                self.rows.append({"step": step, "epoch": epoch})
            self.rows[-1].update({k: f"{v:.9g}" for k, v in numbers.items()})
            self.latest = {k: f"{v:.4g}" for k, v in numbers.items()}

    def write(self):
        """Write the whole file anew; it replaces the old one atomically, like a checkpoint."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(self.rows)
        with replacing(self.path) as file:
            file.write(text.getvalue().encode())

    def rows_in_file(self, step):
        """The rows of the file up to this step."""
        if not self.path.exists():
            return []
        try:
            with open(self.path, newline="", encoding="utf-8-sig") as file:
                rows = [(int(row["step"]), row) for row in csv.DictReader(file, strict=True)]
            if any(None in row or None in row.values() for _, row in rows):
                raise ValueError("lines of different lengths")
        except (csv.Error, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"{self.path}: is not the log of a run ({error!r}); without this file, resume starts "
                                  f"a new log") from error
        return [row for number, row in rows if number <= step]


def _scalar(name, value):
    """The value to be logged, unread: a GPU may still be computing it."""
    value = data_of(value)
    if isinstance(value, Real) and not hasattr(value, "dtype"):
        value = _float(value)
    if name in ("step", "epoch"):
        raise ValueError(f"log: {name} is a column of the log already, choose another name")
    if not (isinstance(value, Real) or hasattr(value, "dtype") and value.size == 1 and value.dtype.kind in "biuf"):
        raise TypeError(f"log: {name} must be a single number, got "
                        + (f"shape {value.shape}" if hasattr(value, "shape") else kind_of(value)))
    return value


def _number(value):
    """A noted value as a float."""
    return float(to_cpu(value).item()) if hasattr(value, "dtype") else float(value)


def _averaged(processes):
    """The rows (step, epoch, name → number) of several processes as one list of rows with the means."""
    if len(processes) == 1:
        return processes[0]
    found = {}
    for rows in processes:
        for step, epoch, numbers in rows:
            for name, number in numbers.items():
                found.setdefault((step, epoch), {}).setdefault(name, []).append(number)
    return [(*where, {name: sum(each) / len(each) for name, each in found[where].items()}) for where in sorted(found)]


def _float(number):
    """A Python number as a float; infinite if it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
