"""A training run: its loop over batches, and checkpoints from which it can resume."""

import copy
import json
import platform
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

import scratchnet
from scratchnet import checkpoint, compiled, data
from scratchnet.autograd import detect_anomaly
from scratchnet.backend import kind_of, threads
from scratchnet.folder import claim, set_aside
from scratchnet.optimizers import Optimizer
from scratchnet.settings import whole
from scratchnet.training.interrupts import noted_signals, stop
from scratchnet.training.log import CULPRIT, Log, NonFiniteLoss
from scratchnet.training.parts import average_buffers, named_parts, of_each_process, parameter_names, weights_of
from scratchnet.training.world import World

PLAN = "examples", "batch size"  # `batches` adds them to the settings that a resumed run must share


class Run:
    """One training run in the folder `out`, which gets log.csv and checkpoint.safetensors.

    model, optimizer   one each, or dicts name → model and name → optimizer (a GAN has two of both)
    rng                the generator that shuffles, and from which the loop draws its noise
    name               prefix of the two files, for several runs in one folder
    resume             continue from the checkpoint in `out` if there is one; else start, and keep an old checkpoint
                       and its log as *.previous.*, *.previous-2.* and so on
    save_every         steps between checkpoints; each epoch ends with one more
    log_every          steps between reads of the logged values, as each read waits for a GPU
    anomaly            run every step under detect_anomaly()
    world              the processes that train together (training/world.py), by default this one alone
    settings           further settings that a resumed run must share, such as {"seed": 0, "epochs": 15}

    As long as a Run lives, no other process can have one in the same folder. In a resumed run, an optimizer's state
    finds its parameters by their names in the model.
    """

    def __init__(self, out, *, model, optimizer, rng, name="", resume=False, save_every=200, log_every=20,
                 anomaly=False, world=None, settings=None):
        if not isinstance(name, str) or set(name) & set("/\\") or not name.isprintable():
            raise ValueError(f"Run: name must be the beginning of a file name, without folders, got {name!r}")
        if len(name.encode()) > 200:  # file systems take 255 bytes, and -checkpoint.previous-2.safetensors comes on top
            raise ValueError(f"Run: name is too long for a file: {len(name.encode())} bytes, expected at most 200")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"Run: rng must be a np.random.Generator, got {kind_of(rng)}")
        if not isinstance(world, (World, type(None))):
            raise TypeError(f"Run: world must be a World, got {kind_of(world)}")
        self.save_every = whole("Run", "save_every", save_every, 1)
        self.log_every = whole("Run", "log_every", log_every, 1)
        self.settings, self.plan = _storable_settings(settings), None  # the plan adds PLAN to the settings
        self.parts = named_parts("model", model) | named_parts("optimizer", optimizer)
        self.names, self.weights = parameter_names(self.parts), weights_of(self.parts)
        self.world, self.rng, self.anomaly = world or World.alone(), rng, anomaly
        self.order_rng = rng  # draws the order of the examples; of several processes each has an rng of its own
        self.own = None  # outside the loop: the state of that, once it has begun
        self.step = self.epoch = self.batch = 0  # steps done in all, epochs done, batches done in this epoch
        self.last_step = None  # of all epochs that `batches` was asked for
        self.epoch_rng = None  # the state of rng before this epoch's order was drawn
        self.asked = False  # whether `batches` has been called
        self.updates = None  # within a step: the number of steps that the optimizers had done before it

        self.out, self.name = Path(out), name
        self.checkpoint_path = self.out / (f"{name}-checkpoint.safetensors" if name else "checkpoint.safetensors")
        self.log_path = self.out / (f"{name}-log.csv" if name else "log.csv")
        self.logged = Log(self.log_path, self.world)
        if self.world.first(lambda: self._claim() or resume and self.checkpoint_path.exists()):
            self._restore()
        else:
            self.world.first(lambda: start_again(self.checkpoint_path, self.log_path))
            for part, state in self.world.first(self._all_states).items() if self.world.size > 1 else ():
                self._load(part, state)

    # ---------------------------------------------------------------- for the loop

    def batches(self, *arrays, size, epochs):
        """The batches of all epochs, shuffled by rng, from where the run stands; a smaller last batch is left out. Of
        several processes, each gets an equal part of every batch, so their number must divide `size`.

        epochs counts from the start of the run. So write one loop over all of them. If you loop over epochs yourself,
        ask for epochs=epoch + 1.

        After a `break`, `save()` keeps the work so far. The step that was left counts if something was logged or an
        optimizer has stepped in it; otherwise its batch comes again.
        """
        size, epochs = whole("batches", "size", size, 1), whole("batches", "epochs", epochs, 1)
        data.batches(*arrays, size=size, drop_last=True, part=(self.world.rank, self.world.size))  # checks them
        plan = self.settings | dict(zip(PLAN, (len(arrays[0]), size), strict=True))
        if self.plan is not None:
            self._compare(self.plan, plan)
        for name, values in self.world.differing(plan | {"epochs": epochs}).items():
            raise ValueError(f"batches: the processes differ in {name}: {', '.join(map(repr, values))}")
        if self.asked and self.epoch >= epochs:
            raise ValueError(f"batches: epochs={epochs} is reached, and epochs count from the start of the run. Ask "
                             f"for all of them at once; or, in a loop over epochs, for epochs=epoch + 1")
        self.asked, self.plan = True, plan
        return self._batches(arrays, size, epochs)

    def log(self, **values):
        """Note scalars (Tensors, arrays on either device, numbers) for this step. They are read later, many at once.
        Several calls in one step make one row. Of several processes, it gets the mean."""
        self.logged.note(self.step + 1, self.epoch + 1, values)

    def every(self, n):
        """True in the first step, in every n-th and in the last: the moments to draw a picture."""
        n = whole("every", "n", n, 1)
        return self.step == 0 or (self.step + 1) % n == 0 or self.step + 1 == self.last_step

    def save(self):
        """Write log and checkpoint. If a loss or a weight is not finite, this raises first, so the last good checkpoint
        stays. Within a step, call it at the end: the step counts as done if anything was done in it (`batches`).
        Several processes call it together."""
        self.logged.read_values()
        step, epoch, batch, rng = self._position()
        state = {f"{part}.{key}": value for part, its in self._all_states().items() for key, value in its.items()}
        for name in self.weights:
            if name in state and not np.isfinite(state[name]).all():
                raise NonFiniteLoss(f"step {step}: {name} is no longer finite. {CULPRIT}")
        state |= of_each_process(self.world, state, self.weights, step)
        streams = self.world.each(self.own if self.order_rng is self.rng else self.rng.bit_generator.state)

        def write():
            self.logged.write()
            checkpoint.save(self.checkpoint_path, {k: v for k, v in state.items() if hasattr(v, "shape")}, {
                "step": step, "epoch": epoch, "batch": batch, "last_step": self.last_step, "plan": self.plan,
                "values": {k: v for k, v in state.items() if not hasattr(v, "shape")},
                "rng": rng, "epoch_rng": self.epoch_rng, "streams": streams, "threads": threads.count(),
                "loops": compiled.loops_in_use(),
                "versions": {"scratchnet": scratchnet.__version__, "numpy": np.__version__,
                             "python": platform.python_version()}})
        self.world.first(write)

    # ---------------------------------------------------------------- the loop

    def _batches(self, arrays, size, epochs):
        self.per_epoch = len(arrays[0]) // size
        self.last_step = epochs * self.per_epoch
        with self._streams(), noted_signals(self.world) as signals, tqdm(
                desc=self.name or None, total=self.last_step, initial=self.step, unit=" examples", unit_scale=size,
                disable=self.world.rank > 0 or None, dynamic_ncols=True) as bar:
            while self.epoch < epochs:
                started, first = time.perf_counter(), self.batch
                for batch in self._rest_of_epoch(arrays, size):
                    self.updates = self._updates()
                    try:
                        with detect_anomaly() if self.anomaly else nullcontext():
                            yield batch
                    except GeneratorExit:  # the loop was left
                        self._leave()
                        raise
                    self.step, self.epoch, self.batch = self._after()
                    self.updates, told = None, self.world.largest(signals[0] if signals else 0)
                    if self.batch == 0:
                        average_buffers(self.world, self.parts)
                    if self.step % self.log_every == 0 or self.batch == 0:
                        self.logged.read_values()
                        bar.set_postfix(self.logged.latest, refresh=False)
                    if self.step % self.save_every == 0 or self.batch == 0 or told:
                        self.save()
                    bar.update()
                    if told:
                        stop(told, f"stopped after step {self.step}; everything is in {self.checkpoint_path}, and "
                                   f"--resume goes on from there", quiet=self.world.rank > 0)
                if bar.disable and self.world.rank == 0:
                    self._print_epoch(epochs, (self.per_epoch - first) * size / (time.perf_counter() - started))
        self.save()

    def _rest_of_epoch(self, arrays, size):
        """The batches of this epoch that are not done yet. Their order is drawn with the rng as it was at the start of
        the epoch; in mid-epoch, the rng is then put back to where it stood."""
        rng, part = self.order_rng, (self.world.rank, self.world.size)
        if self.batch == 0:
            self.epoch_rng = self.world.first(lambda: rng.bit_generator.state)
        here, first = rng.bit_generator.state, self.batch
        rng.bit_generator.state = self.epoch_rng
        for k, batch in enumerate(data.batches(*arrays, size=size, rng=rng, drop_last=True, start=first, part=part)):
            if k == 0 and first:
                rng.bit_generator.state = here
            yield batch

    @contextmanager
    def _streams(self):
        """Of several processes, each has an rng of its own inside, and `order_rng` is that of all. Afterwards, rng is
        that of all again."""
        if self.world.size == 1:
            yield
            return
        self.rng.bit_generator.state = self.world.first(lambda: self.rng.bit_generator.state)
        self.order_rng = copy.deepcopy(self.rng)
        self.rng.bit_generator.state = self.own or self.world.own_stream(self.rng).bit_generator.state
        try:
            yield
        finally:
            self.own, self.rng.bit_generator.state = self.rng.bit_generator.state, self.order_rng.bit_generator.state
            self.order_rng = self.rng

    def _print_epoch(self, epochs, rate):
        """One line at the end of an epoch, where no progress bar is shown."""
        print((f"{self.name}: " if self.name else "") + f"epoch {self.epoch}/{epochs}  step {self.step}  "
              + "  ".join(f"{k} {v}" for k, v in self.logged.latest.items())
              + f"  {rate:,.0f} examples/s", flush=True)

    def _updates(self):
        return sum(part.step_count for part in self.parts.values() if isinstance(part, Optimizer))

    def _counts(self):
        """Whether the current step counts already: something was logged, or an optimizer has stepped."""
        return self.updates is not None and (self.logged.last_step() > self.step or self._updates() > self.updates)

    def _after(self):
        """Step, epoch and batch after the current step."""
        last = self.batch + 1 == self.per_epoch
        return self.step + 1, self.epoch + last, 0 if last else self.batch + 1

    def _position(self):
        """Step, epoch and batch from which to go on, and the state of rng there."""
        if self._counts():
            return *self._after(), self.order_rng.bit_generator.state
        again = self.updates is not None and self.batch == 0  # then the order of the epoch will be drawn again
        return self.step, self.epoch, self.batch, self.epoch_rng if again else self.order_rng.bit_generator.state

    def _leave(self):
        """The loop ends within a step."""
        self.step, self.epoch, self.batch, self.order_rng.bit_generator.state = self._position()
        self.updates = None

    # ---------------------------------------------------------------- resuming

    def _claim(self):
        self.claim = claim(self.out)

    def _all_states(self):
        return {part: self._state(part) for part in self.parts}

    def _state(self, part):
        thing = self.parts[part]
        return thing.state_dict(self.names[part]) if part in self.names else thing.state_dict()

    def _load(self, part, state):
        thing = self.parts[part]
        return thing.load_state_dict(state, self.names[part]) if part in self.names else thing.load_state_dict(state)

    def _restore(self):
        """Take everything from the checkpoint, and the log up to its step. All or nothing."""
        arrays, meta = self.world.first(lambda: checkpoint.load(self.checkpoint_path))
        if not (isinstance(meta, dict) and {"step", "plan", "values", "rng", "threads"} <= meta.keys()):
            raise checkpoint.CheckpointError(f"{self.checkpoint_path}: is a checkpoint, but not of a run")
        before = {}
        try:
            plan = meta["plan"]
            if plan is not None:
                self._compare({k: v for k, v in plan.items() if k not in PLAN}, self.settings)
            rows = self.world.first(lambda: self.logged.rows_in_file(meta["step"]))
            state, streams, n = arrays | meta["values"], meta.get("streams", [None]), self.world.size
            if len(streams) == n:
                own = f"process{self.world.rank}."
                state |= {name[len(own):]: value for name, value in state.items() if name.startswith(own)}
            for part in self.parts:
                prefix, before[part] = part + ".", self._state(part)
                self._load(part, {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)})
            here = {"threads": threads.count(), "NumPy": np.__version__, "loops": compiled.loops_in_use()}
            there = {"threads": meta["threads"], "NumPy": meta["versions"]["numpy"],
                     "loops": meta.get("loops", "NumPy's")}
            self.rng.bit_generator.state = meta["rng"]
            self.own = streams[self.world.rank] if len(streams) == n else None
            self.step, self.epoch, self.batch = meta["step"], meta["epoch"], meta["batch"]
            self.plan, self.epoch_rng, self.logged.rows = plan, meta["epoch_rng"], rows
        except BaseException as error:
            for part, state in before.items():
                self._load(part, state)
            if isinstance(error, (KeyError, ValueError, TypeError, AttributeError, OverflowError)) and not isinstance(
                    error, checkpoint.CheckpointError):
                raise checkpoint.CheckpointError(f"{self.checkpoint_path}: does not fit this run: {error}") from error
            raise
        if self.world.rank:
            return
        if len(streams) != n:
            print(f"Resumed by {n} {'process' if n == 1 else 'processes'} instead of {len(streams)}: the order of the "
                  f"examples stays; noise is drawn anew, batch norm sees other parts of a batch, sums are rounded "
                  f"differently.", flush=True)
        changes = ", ".join(f"{name} {there[name]} before, {here[name]} now" for name in here
                            if there[name] != here[name])
        if changes:
            print(f"Resumed under other conditions, so the last digits may differ: {changes}", flush=True)

    def _compare(self, theirs, mine):
        """CheckpointError that names every difference between the settings of the checkpoint and those of this run."""
        same = {name for name in theirs.keys() & mine.keys() if json.dumps(theirs[name]) == json.dumps(mine[name])
                or theirs[name] == mine[name]}
        differences = [f"{name}: the checkpoint has {theirs.get(name, 'none')}, this run {mine.get(name, 'none')}"
                       for name in theirs | mine if name not in same]
        if differences:
            raise checkpoint.CheckpointError(f"{self.checkpoint_path}: {'; '.join(differences)}; start anew without "
                                             f"resume, or in another folder")


def start_again(checkpoint_path, log_path):
    """Keep the files of an earlier run under other names, and say so if that run was not finished."""
    earlier = checkpoint.metadata_of(checkpoint_path)
    kept = set_aside(checkpoint_path, log_path)
    step, last = (earlier.get(name) for name in ("step", "last_step"))
    if kept and isinstance(step, int) and isinstance(last, int) and step < last:
        print(f"Starting again. An unfinished run, at step {step:,} of {last:,}, is kept in {kept[0]}; resuming would "
              f"have continued it.", flush=True)


def _storable_settings(settings):
    """The settings as they come back from a checkpoint, so that a resumed run can compare them."""
    if not isinstance(settings, (dict, type(None))):
        raise TypeError(f"Run: settings must be a dict, got {kind_of(settings)}")
    found = checkpoint.storable("Run: settings", settings or {})
    for name in PLAN:
        if name in found:
            raise ValueError(f"Run: settings: {name!r} is a name that the run itself uses, choose another")
    return found
