"""A process for one workload of one library: it builds the workload, then times steps on request.

    python -m benchmarks.steps.worker ours|theirs|others

Commands and answers are pickles over stdin and stdout. The process ends when its stdin closes.
"""

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path


def serve(side):
    """Answer commands until stdin closes: build, state, first, time, peak."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write to the pipe
    trainer = None
    imported = 0
    while True:
        try:
            command, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if command == "build":
            module = importlib.import_module(f"benchmarks.steps.{side}")
            imported = peak()
            name, options = arguments
            trainer, answer = module.Trainer(name, **options), None
        elif command == "first":
            answer = trainer.first()
        elif command == "state":
            answer = trainer.state()
        elif command == "time":
            answer = times(trainer.step, *arguments)
        elif command == "peak":
            answer = peak(), imported
        pickle.dump(answer, answers)
        answers.flush()


def peak():
    """The most memory that this process ever held, in bytes (Linux; getrusage would count the parent's as well)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def times(step, seconds):
    """The seconds of each step, for as many steps as fit into the given time but at least two."""
    found, stop = [], time.perf_counter() + seconds
    while len(found) < 2 or time.perf_counter() < stop:
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return found


class Worker:
    """The other end of the pipes: starts a worker process and asks it."""

    def __init__(self, side, threads, environment):
        counts = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.steps.worker", side], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**clean, **counts, **environment})

    def ask(self, *command):
        pickle.dump(command, self.process.stdin)
        self.process.stdin.flush()
        try:
            return pickle.load(self.process.stdout)
        except EOFError:
            raise RuntimeError(f"a worker ended while it was asked to {command[0]} {command[1:2]}") from None

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


if __name__ == "__main__":
    serve(sys.argv[1])
