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
import math
import os
import platform
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

import scratchnet
from scratchnet import checkpoint, data
from scratchnet.anomaly import detect_anomaly
from scratchnet.backend import to_cpu
from scratchnet.tensor import data_of


class NonFiniteLoss(FloatingPointError):
    """A logged value became NaN or infinite; the message names the step and the value."""


class Run:
    """One training run in the folder `out`, which gets log.csv and checkpoint.safetensors.

    model, optimizer   one each, or dicts name → model and name → optimizer (a GAN has two of both)
    rng                the generator that shuffles and that the loop draws its noise from
    name               prefix of the two files, for several runs in one folder
    resume             continue from the checkpoint in `out` if there is one; else start, and keep an old checkpoint
                       as *.previous.safetensors
    save_every         steps between checkpoints; one more is written at the end of each epoch
    log_every          steps between reads of the logged values: each read waits for a GPU
    anomaly            run every step under detect_anomaly()
    settings           what else a resumed run must share, {"seed": 0, "epochs": 15}, say
    """

    def __init__(self, out, *, model, optimizer, rng, name="", resume=False, save_every=200, log_every=20,
                 anomaly=False, settings=None):
        self.out = Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint_path = self.out / f"{name}{'-' * bool(name)}checkpoint.safetensors"
        self.log_path = self.out / f"{name}{'-' * bool(name)}log.csv"
        self.parts = _named("model", model) | _named("optimizer", optimizer)
        self.rng, self.save_every, self.log_every, self.anomaly = rng, save_every, log_every, anomaly
        self.step = self.epoch = self.batch = 0  # steps done in all, epochs done, batches done in this epoch
        self.epoch_rng = None  # the state of rng before this epoch's order was drawn
        self.settings, self.plan = settings or {}, None  # what a resumed run must share
        self.pending, self.rows, self.shown = [], [], {}
        if resume and self.checkpoint_path.exists():
            self._restore()
        elif self.checkpoint_path.exists():
            os.replace(self.checkpoint_path, self.checkpoint_path.with_suffix(".previous.safetensors"))

    def batches(self, *arrays, size, epochs):
        """The batches of all epochs, shuffled by rng, without a last smaller one; from where the run stands."""
        per_epoch = len(arrays[0]) // size
        plan = {"examples": len(arrays[0]), "batch size": size} | self.settings
        if self.plan not in (None, plan):
            raise checkpoint.CheckpointError(f"{self.checkpoint_path}: was written by a run with {self.plan}, but this "
                                             f"run has {plan}; start anew without resume, or in another folder")
        self.plan, self.last_step = plan, epochs * per_epoch
        with self._interruptible() as interrupted, tqdm(
                total=self.last_step, initial=self.step, unit=" images", unit_scale=size, disable=None,
                dynamic_ncols=True) as bar:
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
                    with detect_anomaly() if self.anomaly else nullcontext():
                        yield batch
                    self.step, self.batch = self.step + 1, self.batch + 1
                    if self.batch == per_epoch:
                        self.epoch, self.batch = self.epoch + 1, 0
                    if self.step % self.log_every == 0 or self.batch == 0:
                        self._flush()
                        bar.set_postfix(self.shown, refresh=False)
                    if self.step % self.save_every == 0 or self.batch == 0 or interrupted.is_set():
                        self.save()
                    bar.update()
                    if interrupted.is_set():
                        raise SystemExit(f"stopped after step {self.step}; everything is in {self.checkpoint_path}, "
                                         f"--resume goes on from there")
                if bar.disable:
                    rate = (per_epoch - first) * size / (time.perf_counter() - started)
                    print(f"epoch {self.epoch}/{epochs}  step {self.step}  "
                          + "  ".join(f"{k} {v}" for k, v in self.shown.items())
                          + f"  {rate:,.0f} images/s", flush=True)
        self.save()

    def log(self, **values):
        """Note scalars (Tensors, arrays on either device, numbers) for this step. They are read later, many at once.
        What is logged in several calls of one step is one row."""
        if not self.pending or self.pending[-1][0] != self.step + 1:
            self.pending.append((self.step + 1, self.epoch + 1, {}))
        self.pending[-1][2].update({k: data_of(v) for k, v in values.items()})

    def every(self, n):
        """True in the first step, each n-th one and the last: when to draw a picture."""
        return self.step == 0 or (self.step + 1) % n == 0 or self.step + 1 == self.last_step

    def save(self):
        """Write log and checkpoint. A loss that is not finite raises first, so the last good checkpoint stays."""
        self._flush()
        self._write_log()
        arrays, plain = {}, {}
        for part, thing in self.parts.items():
            for key, value in thing.state_dict().items():
                (arrays if hasattr(value, "shape") else plain)[f"{part}.{key}"] = value
        checkpoint.save(self.checkpoint_path, arrays, {
            "step": self.step, "epoch": self.epoch, "batch": self.batch, "plan": self.plan, "values": plain,
            "rng": _jsonable(self.rng.bit_generator.state), "epoch_rng": _jsonable(self.epoch_rng),
            "versions": {"scratchnet": scratchnet.__version__, "numpy": np.__version__,
                         "python": platform.python_version()}})

    def _restore(self):
        """Take up everything from the checkpoint; the log is cut back to its step."""
        arrays, meta = checkpoint.load(self.checkpoint_path)
        try:
            state = arrays | meta["values"]
            for part, thing in self.parts.items():
                prefix = part + "."
                thing.load_state_dict({k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)})
            self.step, self.epoch, self.batch = meta["step"], meta["epoch"], meta["batch"]
            self.plan, self.epoch_rng = meta["plan"], meta["epoch_rng"]
            self.rng.bit_generator.state = meta["rng"]
        except (KeyError, ValueError, TypeError) as error:
            raise checkpoint.CheckpointError(f"{self.checkpoint_path}: does not fit this run: {error}") from error
        if self.log_path.exists():
            with open(self.log_path, newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= self.step]

    def _flush(self):
        """Read the pending values from the device, and stop at the first that is not finite."""
        for step, epoch, values in self.pending:
            numbers = {k: float(to_cpu(v)) if hasattr(v, "dtype") else float(v) for k, v in values.items()}
            for name, number in numbers.items():
                if not math.isfinite(number):
                    self.pending = []
                    raise NonFiniteLoss(f"step {step}: {name} is {number}. The last checkpoint is from before it. "
                                        f"detect_anomaly() (in the demos --detect-anomaly) names the op that made it")
            self.rows.append({"step": step, "epoch": epoch} | {k: f"{v:.9g}" for k, v in numbers.items()})
            self.shown = {k: f"{v:.4g}" for k, v in numbers.items()}
        self.pending = []

    def _write_log(self):
        """The whole log anew, replaced at once like a checkpoint."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        temporary = self.log_path.with_name(self.log_path.name + ".tmp")
        with open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, self.log_path)

    @contextmanager
    def _interruptible(self):
        """Ctrl-C sets a flag, which is read between two steps, where the run saves and ends with SystemExit and one
        line in place of a traceback; a second Ctrl-C stops at once."""
        interrupted = threading.Event()
        if threading.current_thread() is not threading.main_thread():
            yield interrupted
            return

        def on_interrupt(*_):
            if interrupted.is_set():
                raise KeyboardInterrupt("stopped at once; the last checkpoint stands")
            interrupted.set()

        before = signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield interrupted
        finally:
            signal.signal(signal.SIGINT, before)


def _named(kind, parts):
    return {f"{kind}.{k}": part for k, part in parts.items()} if isinstance(parts, dict) else {kind: parts}


def _jsonable(state):
    """The state of a bit generator with its arrays (MT19937, Philox) as lists."""
    if isinstance(state, dict):
        return {k: _jsonable(v) for k, v in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state
