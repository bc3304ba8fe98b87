"""Several processes train one model together. Each takes its part of every batch, and their gradients are averaged.

    world = World()                                    # the processes that mpiexec has started, or this one alone
    run = Run(out, model=model, optimizer=optimizer, rng=rng, world=world)
    for x in run.batches(images, size=100, epochs=15): # this process's part of each batch
        loss = model.loss(x, rng)
        optimizer.zero_grad()
        loss.backward()
        world.average(optimizer)                       # ∂L/∂θ ← mean over the processes: one all-reduce
        optimizer.step()
        run.log(loss=loss)

    mpiexec -n 4 python script.py                      # needs the extra mpi: mpi4py and an MPI

L is a mean over examples. So the mean over n equal parts of the batch is L of the whole batch, and the same holds for
the gradient. All processes start from the same weights and take the same step, so they keep the same weights.

All processes    draw the examples in one order, log the means of their values, save together, stop together
Each process     draws its own noise: within the loop, rng is a stream of its own, after it again that of all
Process 0        alone claims the folder, and writes and prints for all

Batch norm, minibatch discrimination and all else that looks at a whole batch see the part of this process. Running
averages are averaged at the end of each epoch. Every process must reach `batches`, `log`, `save` and `average` equally
often. So a decision, such as when to stop, must rest on values equal in all, such as world.mean(loss). From a GPU, the
gradient goes through the host; CUDA_VISIBLE_DEVICES gives each process a GPU of its own.
"""

import copy
import functools
import os
import sys
import time
import traceback
from zlib import crc32

import numpy as np

from scratchnet.backend import threads, to_cpu, to_device_of

SIZES = "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"  # set by mpiexec of MPICH, Open MPI, MVAPICH
THREADS = "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"


class World:
    """The processes that train together: their number `size`, and the `rank` of this one, from 0.

    World() has as many as mpiexec has started, and one without mpiexec; World.alone() always has one. Processes on one
    machine share its cores, unless OPENBLAS_NUM_THREADS or a variable like it is set. If one process ends by an error,
    all end. ImportError if mpiexec has started several and mpi4py is missing.
    """

    def __init__(self):
        self._join(*_communicators())

    @classmethod
    def alone(cls):
        """This process alone."""
        world = cls.__new__(cls)
        world._join(None, None)
        return world

    def _join(self, comm, exits):
        self.comm, self.exits = comm, exits
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)

    def average(self, optimizer):
        """The gradient of an optimizer's parameters ← its mean over the processes, between backward and step."""
        if self.size > 1:
            self._average(optimizer.gradient())

    def _average(self, g):
        """g ← mean of g over the processes. MPI adds on the host, in float32 or wider, as a sum may not fit float16."""
        total = to_cpu(g).astype(np.promote_types(g.dtype, np.float32), copy=False)
        self.comm.Allreduce(_in_place(), total)
        total /= self.size
        if total is not g:
            g[...] = to_device_of(total, g)

    def mean(self, number):
        """The mean of a number over the processes."""
        return sum(self.each(float(number))) / self.size

    def each(self, value):
        """[the value that each process gave], the same list in all."""
        return [value] if self.size == 1 else self.comm.allgather(value)

    def largest(self, number):
        """The largest of the whole numbers that the processes gave. Takes 3 µs for two processes on one machine."""
        if self.size == 1:
            return number
        found = np.array(number)
        self.comm.Allreduce(_in_place(), found, _mpi().MAX)
        return int(found)

    def first(self, do):
        """Call do() in process 0 alone. Its result, or its error, is that of all processes."""
        if self.size == 1:
            return do()
        result = error = None
        if self.rank == 0:
            try:
                result = do()
            except Exception as caught:
                error = caught
        result, error = self.comm.bcast((result, error))
        if error is not None:
            raise error
        return result

    def differing(self, values):
        """name → [the value of each process], for the arrays and plain values on which the processes do not agree."""
        if self.size == 1:
            return {}
        marks = self.each({name: _mark(value) for name, value in values.items()})
        names = [name for name in dict.fromkeys(name for each in marks for name in each)
                 if any(each.get(name) != marks[0].get(name) for each in marks)]
        found = self.each({name: _on_host(values.get(name)) for name in names})
        return {name: [each[name] for each in found] for name in names}

    def own_stream(self, rng):
        """A generator for the noise of this process, of the same kind as rng. It follows from the state of rng, which
        is equal in all processes and stays as it is."""
        seeds = np.random.SeedSequence(copy.deepcopy(rng).integers(2**32, size=4).tolist()).spawn(self.size)
        return np.random.Generator(type(rng.bit_generator)(seeds[self.rank]))

    def end(self, words, code):
        """Exit with last words on stderr, in all processes. If all fail at once, process 0 speaks for those with the
        same last line. If the others go on, this process takes them down."""
        if self.size == 1:
            print(words, file=sys.stderr)
        elif self._all_are_here():
            said = {each.rstrip().rpartition("\n")[2]: each for each in reversed(self.exits.allgather(words))}
            if self.rank == 0:
                print(*said.values(), sep="\n", file=sys.stderr)
        else:
            sys.stdout.flush()
            print(f"{words.rstrip()}\nThe process of rank {self.rank} ends, and all {self.size} with it. The last "
                  f"checkpoint stands.", file=sys.stderr, flush=True)
            self.comm.Abort(code)
        raise SystemExit(code)

    def _all_are_here(self, seconds=2.0):
        """Whether all processes call this within two seconds."""
        waiting, limit = self.exits.Ibarrier(), time.monotonic() + seconds
        while not waiting.Test():
            if time.monotonic() > limit:
                return False
            time.sleep(0.01)
        return True


def mean_of(values):
    """The mean of the processes' arrays if they are of floating point and one shape, else the value of process 0."""
    if all(hasattr(v, "dtype") and v.dtype.kind == "f" and v.shape == values[0].shape for v in values):
        return (sum(v.astype(np.float64) for v in values) / len(values)).astype(values[0].dtype)
    return values[0]


def _mark(value):
    """A few bytes that tell values apart."""
    if not hasattr(value, "dtype"):
        return repr(value)
    value = np.ascontiguousarray(_on_host(value))
    return value.shape, value.dtype.str, crc32(value.reshape(-1).view(np.uint8))


def _on_host(value):
    return to_cpu(value) if hasattr(value, "dtype") else value


def _mpi():
    """The module mpi4py.MPI. Importing it starts MPI."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter where it finds no MPI
        raise ImportError(f"World: mpiexec has started several processes, but mpi4py cannot be used ({error}); install "
                          f"the extra: pip install 'scratchnet[mpi]'") from error
    return MPI


def _in_place():
    return _mpi().IN_PLACE


@functools.cache
def _communicators():
    """Two communicators of all processes, one for their work and one for their end; (None, None) for a single process.
    """
    started = max((int(os.environ[name]) for name in SIZES if os.environ.get(name, "").isdecimal()), default=1)
    if started == 1:
        return None, None
    comm = _mpi().COMM_WORLD
    if comm.size != started:
        raise RuntimeError(f"World: mpiexec has started {started} processes, but mpi4py sees {comm.size}. They use two "
                           f"different MPIs; start the program with the mpiexec of mpi4py's own")
    neighbours = comm.Split_type(_mpi().COMM_TYPE_SHARED).size
    if not any(name in os.environ for name in THREADS):
        threads.use(max(1, threads.OF_BLAS // neighbours))
    sys.excepthook = _take_all_down
    return comm, comm.Dup()


def _take_all_down(kind, error, trace):
    """End all processes by an error that nobody has caught."""
    World().end("".join(traceback.format_exception(kind, error, trace)), 1)
