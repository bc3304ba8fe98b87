"""The chores of a training loop: batches, progress bar, log, checkpoints, Ctrl-C, resuming. Never the math.

    run = Run(out, model=model, optimizer=optimizer, rng=rng)
    for x in run.batches(images, size=100, epochs=15):
        loss = model.loss(x, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)

Everything that decides the next step is in the checkpoint: weights, the optimizer's state, the state of rng now and at
the start of the epoch (from which the order of the images is drawn again), the step. So a run that was killed at any
instant and resumed ends with bit for bit the weights, and the log, of one that was not.
"""

import csv
import io
import json
import math
import platform
import signal
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from numbers import Real
from pathlib import Path

import numpy as np
from tqdm import tqdm

import scratchnet
from scratchnet import checkpoint, data
from scratchnet.autograd import data_of, detect_anomaly
from scratchnet.averaging import ExponentialMovingAverage
from scratchnet.backend import kind_of, threads, to_cpu
from scratchnet.folder import claim, replacing, set_aside
from scratchnet.optimizers import Optimizer
from scratchnet.settings import whole

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

PLAN = "examples", "batch size"  # what `batches` adds to the settings that a resumed run must share

CULPRIT = ("The last checkpoint is from before it. detect_anomaly() (in the demos --detect-anomaly) names the op that "
           "made it")


class NonFiniteLoss(FloatingPointError):
    """A logged value, or a weight, became NaN or infinite; the message names the step and the value."""


class Stopped(SystemExit):
    """The run was told to stop, by Ctrl-C or a signal, and has saved."""


class Run:
    """One training run in the folder `out`, which gets log.csv and checkpoint.safetensors.

    model, optimizer   one each, or dicts name → model and name → optimizer (a GAN has two of both)
    rng                the generator that shuffles and that the loop draws its noise from
    name               prefix of the two files, for several runs in one folder
    resume             continue from the checkpoint in `out` if there is one; else start, and keep an old checkpoint
                       and its log as *.previous.*, *.previous-2.* and so on
    save_every         steps between checkpoints; one more is written at the end of each epoch
    log_every          steps between reads of the logged values: each read waits for a GPU
    anomaly            run every step under detect_anomaly()
    settings           what else a resumed run must share, {"seed": 0, "epochs": 15}, say

    As long as a Run lives, no other process can have one in the same folder. On resuming, an optimizer's state is
    given to the parameters by their names in the model.
    """

    def __init__(self, out, *, model, optimizer, rng, name="", resume=False, save_every=200, log_every=20,
                 anomaly=False, settings=None):
        if not isinstance(name, str) or set(name) & set("/\\") or not name.isprintable():
            raise ValueError(f"Run: name is the beginning of a file's name, without folders, got {name!r}")
        if len(name.encode()) > 200:  # file systems take 255 bytes, and -checkpoint.previous-2.safetensors comes on top
            raise ValueError(f"Run: name is too long for a file's: {len(name.encode())} bytes, expected at most 200")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"Run: rng must be a np.random.Generator, got {kind_of(rng)}")
        self.save_every = whole("Run", "save_every", save_every, 1)
        self.log_every = whole("Run", "log_every", log_every, 1)
        self.settings, self.plan = _settings(settings), None  # what a resumed run must share
        self.parts = _named("model", model) | _named("optimizer", optimizer)
        self.names = _names_of_parameters(self.parts)
        self.weights = [f"{part}.{name}" for part, thing in self.parts.items() if hasattr(thing, "named_parameters")
                        for name in thing.named_parameters()]
        self.rng, self.anomaly = rng, anomaly
        self.step = self.epoch = self.batch = 0  # steps done in all, epochs done, batches done in this epoch
        self.last_step = None  # of all epochs that `batches` was asked for
        self.epoch_rng = None  # the state of rng before this epoch's order was drawn
        self.asked = False  # whether `batches` has been called
        self.updates = None  # within a step: how many steps the optimizers had done before it
        self.pending, self.rows, self.shown = [], [], {}

        self.out, self.name, self.claim = Path(out), name, claim(out)
        self.checkpoint_path = self.out / f"{name}{'-' * bool(name)}checkpoint.safetensors"
        self.log_path = self.out / f"{name}{'-' * bool(name)}log.csv"
        if resume and self.checkpoint_path.exists():
            self._restore()
        else:
            start_again(self.checkpoint_path, self.log_path)

    def batches(self, *arrays, size, epochs):
        """The batches of all epochs, shuffled by rng, without a last smaller one; from where the run stands.

        epochs counts from the start of the run. So write one loop over all of them; in a loop of one's own over epochs
        it is epochs=epoch + 1.

        After a `break`, `save()` keeps what was done: the step that was left counts if something was logged or an
        optimizer has stepped in it; else its batch comes again.
        """
        size, epochs = whole("batches", "size", size, 1), whole("batches", "epochs", epochs, 1)
        data.batches(*arrays, size=size, drop_last=True)  # has its say about arrays and size
        plan = self.settings | dict(zip(PLAN, (len(arrays[0]), size), strict=True))
        if self.plan is not None:
            self._compare(self.plan, plan)
        if self.asked and self.epoch >= epochs:
            raise ValueError(f"batches: epochs={epochs} is reached: it counts from the start of the run. Ask for all "
                             f"epochs at once; or, in a loop over them, for epochs=epoch + 1")
        self.asked, self.plan = True, plan
        return self._batches(arrays, size, epochs)

    def _batches(self, arrays, size, epochs):
        self.per_epoch = per_epoch = len(arrays[0]) // size
        self.last_step = epochs * per_epoch
        with self._interruptible() as signals, tqdm(
                desc=self.name or None, total=self.last_step, initial=self.step, unit=" examples", unit_scale=size,
                disable=None, dynamic_ncols=True) as bar:
            while self.epoch < epochs:
                if self.batch == 0:
                    self.epoch_rng = self.rng.bit_generator.state
                here = self.rng.bit_generator.state
                self.rng.bit_generator.state = self.epoch_rng
                order = data.batches(*arrays, size=size, rng=self.rng, drop_last=True, start=self.batch)
                started, first = time.perf_counter(), self.batch
                for k, batch in enumerate(order):
                    if k == 0 and self.batch:
                        self.rng.bit_generator.state = here  # in mid-epoch: back to where the noise was
                    self.updates = self._updates()
                    try:
                        with detect_anomaly() if self.anomaly else nullcontext():
                            yield batch
                    except GeneratorExit:  # the loop was left
                        self._leave()
                        raise
                    self.step, self.epoch, self.batch = self._after()
                    self.updates = None
                    if self.step % self.log_every == 0 or self.batch == 0:
                        self._flush()
                        bar.set_postfix(self.shown, refresh=False)
                    if self.step % self.save_every == 0 or self.batch == 0 or signals:
                        self.save()
                    bar.update()
                    if signals:
                        self._stop(signals[0])
                if bar.disable:
                    rate = (per_epoch - first) * size / (time.perf_counter() - started)
                    print(f"{self.name}{': ' * bool(self.name)}epoch {self.epoch}/{epochs}  step {self.step}  "
                          + "  ".join(f"{k} {v}" for k, v in self.shown.items())
                          + f"  {rate:,.0f} examples/s", flush=True)
        self.save()

    def _updates(self):
        return sum(part.step_count for part in self.parts.values() if isinstance(part, Optimizer))

    def _counts(self):
        """Whether the step in hand counts already: something was logged, or an optimizer has stepped."""
        last = self.pending[-1][0] if self.pending else int(self.rows[-1]["step"]) if self.rows else 0
        return self.updates is not None and (last > self.step or self._updates() > self.updates)

    def _after(self):
        """Step, epoch and batch when the step in hand is done."""
        last = self.batch + 1 == self.per_epoch
        return self.step + 1, self.epoch + last, 0 if last else self.batch + 1

    def _position(self):
        """Step, epoch, batch, and the state of rng with which to go on from there."""
        if self._counts():
            return *self._after(), self.rng.bit_generator.state
        again = self.updates is not None and self.batch == 0  # then the order of the epoch will be drawn again
        return self.step, self.epoch, self.batch, self.epoch_rng if again else self.rng.bit_generator.state

    def _leave(self):
        """The loop ends within a step."""
        self.step, self.epoch, self.batch, self.rng.bit_generator.state = self._position()
        self.updates = None

    def log(self, **values):
        """Note scalars (Tensors, arrays on either device, numbers) for this step. They are read later, many at once.
        What is logged in several calls of one step is one row."""
        values = {name: _scalar(name, value) for name, value in values.items()}
        if not self.pending or self.pending[-1][0] != self.step + 1:
            self.pending.append((self.step + 1, self.epoch + 1, {}))
        self.pending[-1][2].update(values)

    def every(self, n):
        """True in the first step, each n-th one and the last: when to draw a picture."""
        n = whole("every", "n", n, 1)
        return self.step == 0 or (self.step + 1) % n == 0 or self.step + 1 == self.last_step

    def save(self):
        """Write log and checkpoint. A loss or a weight that is not finite raises first, so the last good checkpoint
        stays. Within a step, call it at the end: the step counts as done if anything was done in it (`batches`)."""
        self._flush()
        step, epoch, batch, rng = self._position()
        arrays, plain = {}, {}
        for part in self.parts:
            for key, value in self._state(part).items():
                (arrays if hasattr(value, "shape") else plain)[f"{part}.{key}"] = value
        for name in self.weights:
            if name in arrays and not np.isfinite(arrays[name]).all():
                raise NonFiniteLoss(f"step {step}: {name} is not finite after it. {CULPRIT}")
        self._write_log()
        checkpoint.save(self.checkpoint_path, arrays, {
            "step": step, "epoch": epoch, "batch": batch, "last_step": self.last_step, "plan": self.plan,
            "values": plain, "rng": rng, "epoch_rng": self.epoch_rng, "threads": threads.count(),
            "versions": {"scratchnet": scratchnet.__version__, "numpy": np.__version__,
                         "python": platform.python_version()}})

    def _state(self, part):
        thing = self.parts[part]
        return thing.state_dict(self.names[part]) if part in self.names else thing.state_dict()

    def _load(self, part, state):
        thing = self.parts[part]
        return thing.load_state_dict(state, self.names[part]) if part in self.names else thing.load_state_dict(state)

    def _restore(self):
        """Take up everything from the checkpoint; the log is cut back to its step. All or nothing."""
        arrays, meta = checkpoint.load(self.checkpoint_path)
        if not (isinstance(meta, dict) and {"step", "plan", "values", "rng", "threads"} <= meta.keys()):
            raise checkpoint.CheckpointError(f"{self.checkpoint_path}: is a checkpoint, but not of a run")
        before = {}
        try:
            plan = meta["plan"]
            if plan is not None:
                self._compare({k: v for k, v in plan.items() if k not in PLAN}, self.settings)
            rows = self._read_log(meta["step"])
            state = arrays | meta["values"]
            for part in self.parts:
                prefix, before[part] = part + ".", self._state(part)
                self._load(part, {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)})
            here = {"threads": threads.count(), "NumPy": np.__version__}
            there = {"threads": meta["threads"], "NumPy": meta["versions"]["numpy"]}
            self.rng.bit_generator.state = meta["rng"]
            self.step, self.epoch, self.batch = meta["step"], meta["epoch"], meta["batch"]
            self.plan, self.epoch_rng, self.rows = plan, meta["epoch_rng"], rows
        except BaseException as error:
            for part, state in before.items():
                self._load(part, state)
            if isinstance(error, (KeyError, ValueError, TypeError, AttributeError, OverflowError)) and not isinstance(
                    error, checkpoint.CheckpointError):
                raise checkpoint.CheckpointError(f"{self.checkpoint_path}: does not fit this run: {error}") from error
            raise
        changes = ", ".join(f"{name} {there[name]} before, {here[name]} now" for name in here
                            if there[name] != here[name])
        if changes:
            print(f"Resumed under other conditions, so the last digits may come out otherwise: {changes}", flush=True)

    def _compare(self, theirs, mine):
        """CheckpointError that names every difference between the settings of the checkpoint and those of this run."""
        same = {name for name in theirs.keys() & mine.keys() if json.dumps(theirs[name]) == json.dumps(mine[name])
                or theirs[name] == mine[name]}
        differences = [f"{name}: the checkpoint has {theirs.get(name, 'none')}, this run {mine.get(name, 'none')}"
                       for name in theirs | mine if name not in same]
        if differences:
            raise checkpoint.CheckpointError(f"{self.checkpoint_path}: {'; '.join(differences)}; start anew without "
                                             f"resume, or in another folder")

    def _read_log(self, step):
        """The rows of log.csv up to this step."""
        if not self.log_path.exists():
            return []
        try:
            with open(self.log_path, newline="", encoding="utf-8-sig") as file:
                rows = [(int(row["step"]), row) for row in csv.DictReader(file, strict=True)]
            if any(None in row or None in row.values() for _, row in rows):
                raise ValueError("not as many cells in each line")
        except (csv.Error, KeyError, ValueError, TypeError) as error:
            raise checkpoint.CheckpointError(f"{self.log_path}: is no log of a run ({error!r}); without this file "
                                             f"resume goes on with a new log") from error
        return [row for number, row in rows if number <= step]

    def _flush(self):
        """Read the pending values from the device, and stop at the first that is not finite."""
        for step, epoch, values in self.pending:
            numbers = {k: float(to_cpu(v).item()) if hasattr(v, "dtype") else float(v) for k, v in values.items()}
            for name, number in numbers.items():
                if not math.isfinite(number):
                    self.pending = []
                    raise NonFiniteLoss(f"step {step}: {name} is {number}. {CULPRIT}")
            if not self.rows or self.rows[-1]["step"] != step:  # it is there if this step was saved before its end
                self.rows.append({"step": step, "epoch": epoch})
            self.rows[-1].update({k: f"{v:.9g}" for k, v in numbers.items()})
            self.shown = {k: f"{v:.4g}" for k, v in numbers.items()}
        self.pending = []

    def _write_log(self):
        """The whole log anew, replaced at once like a checkpoint."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(self.rows)
        with replacing(self.log_path) as file:
            file.write(text.getvalue().encode())

    @contextmanager
    def _interruptible(self):
        """Ctrl-C, SIGTERM and SIGHUP are noted in a list, which is read between two steps, where the run saves and
        ends with one line in place of a traceback; a second one stops at once."""
        signals = []
        if threading.current_thread() is not threading.main_thread():
            yield signals
            return

        def note(number, _):
            if signals and number == signal.SIGINT:
                raise KeyboardInterrupt("stopped at once; the last checkpoint stands")
            if signals:
                raise Stopped(128 + number)
            signals.append(number)

        before = {number: signal.getsignal(number) for number in SIGNALS}
        heeded = [number for number in SIGNALS if number == signal.SIGINT or before[number] != signal.SIG_IGN]  # nohup
        try:
            for number in heeded:
                signal.signal(number, note)
            yield signals
        finally:
            for number in heeded:
                signal.signal(number, before[number] or signal.SIG_DFL)

    def _stop(self, number):
        """End with one line: after Ctrl-C with exit code 1, after a signal with 128 + its number, as shells do."""
        line = f"stopped after step {self.step}; everything is in {self.checkpoint_path}, --resume goes on from there"
        if number == signal.SIGINT:
            raise Stopped(line)
        with suppress(OSError):  # the terminal may be gone
            print(line, file=sys.stderr, flush=True)
        raise Stopped(128 + number)


def start_again(checkpoint_path, log_path):
    """Keep the files of an earlier run under other names, and say so if that run was not finished."""
    earlier = checkpoint.metadata_of(checkpoint_path)
    kept = set_aside(checkpoint_path, log_path)
    step, last = (earlier.get(name) for name in ("step", "last_step"))
    if kept and isinstance(step, int) and isinstance(last, int) and step < last:
        print(f"Starting again. An unfinished run, at step {step:,} of {last:,}, is kept in {kept[0]}; resuming would "
              f"have continued it.", flush=True)


def _named(kind, parts):
    """kind.name → part for a dict of parts, kind → part for one."""
    if isinstance(parts, dict):
        for name in parts:
            if not isinstance(name, str) or "." in name or not name:
                raise ValueError(f"Run: {name!r} cannot name a {kind}, expected a string without dots")
        named = {f"{kind}.{name}": part for name, part in parts.items()}
    else:
        named = {kind: parts}
    for name, part in named.items():
        if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
            raise TypeError(f"Run: {name} must have state_dict and load_state_dict, got {kind_of(part)}")
    return named


def _names_of_parameters(parts):
    """Optimizer or average → the names that its parameters have in the models."""
    names = {}
    for part, thing in parts.items():
        for name, p in thing.named_parameters().items() if hasattr(thing, "named_parameters") else ():
            names.setdefault(id(p), f"{part}.{name}")
    found = {}
    for part, thing in parts.items():
        if isinstance(thing, (Optimizer, ExponentialMovingAverage)):
            for i, p in enumerate(thing.parameters):
                if id(p) not in names:
                    raise ValueError(f"Run: parameter {i} of {part}, of shape {p.shape}, belongs to none of the "
                                     f"models, so no checkpoint would hold it; give its model to the run, too")
            found[part] = [names[id(p)] for p in thing.parameters]
    return found


def _settings(settings):
    """The settings as they come back from a checkpoint, so that a resumed run can compare them."""
    if not isinstance(settings, (dict, type(None))):
        raise TypeError(f"Run: settings must be a dict, got {kind_of(settings)}")
    found = checkpoint.storable("Run: settings", settings or {})
    for name in PLAN:
        if name in found:
            raise ValueError(f"Run: settings: {name!r} is what the run itself notes, choose another name")
    return found


def _scalar(name, value):
    """What is logged, unread: on a GPU it need not be there yet."""
    value = data_of(value)
    if isinstance(value, Real) and not hasattr(value, "dtype"):
        value = _float(value)
    if name in ("step", "epoch"):
        raise ValueError(f"log: {name} is a column of the log already, choose another name")
    if not (isinstance(value, Real) or hasattr(value, "dtype") and value.size == 1 and value.dtype.kind in "biuf"):
        raise TypeError(f"log: {name} must be a single number, got "
                        + (f"shape {value.shape}" if hasattr(value, "shape") else kind_of(value)))
    return value


def _float(number):
    """A number of Python as a float; infinite where it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
