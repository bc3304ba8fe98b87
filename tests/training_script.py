"""A small real training run for test_training.py: python training_script.py OUT [--resume] [--threads N]
[--die-in-save N].

A dense net, Adam, shuffled batches, noise from the run's rng. With --die-in-save N the process kills itself (SIGKILL)
in its N-th save: for odd N after half of the bytes of the temporary file, for even N just before the rename.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from scratchnet import checkpoint, folder, losses, ops
from scratchnet.backend import threads
from scratchnet.layers import BatchNorm, Dense, Sequential
from scratchnet.optimizers import Adam
from scratchnet.training import Run


def die_in_save(n):
    """Make this process end in the n-th save of a checkpoint: while writing its file, or just before the rename."""
    state = {"saves": 0}
    to_bytes, replace = checkpoint.to_bytes, os.replace

    def half_written(arrays, metadata):
        state["saves"] += 1
        content = to_bytes(arrays, metadata)
        if state["saves"] == n and n % 2:
            with open(folder._temporary(Path(sys.argv[1], "checkpoint.safetensors")), "wb") as file:
                file.write(content[:len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return content

    def not_renamed(source, target):
        if state["saves"] == n and str(target).endswith(".safetensors"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    checkpoint.to_bytes, os.replace = half_written, not_renamed


def main():
    out, resume = sys.argv[1], "--resume" in sys.argv
    if "--die-in-save" in sys.argv:
        die_in_save(int(sys.argv[-1]))
    if "--threads" in sys.argv:
        threads.use(int(sys.argv[-1]))
    rng = np.random.default_rng(7)
    images = np.random.default_rng(1).random((57, 20), dtype=np.float32)
    model = Sequential(Dense(20, 30, rng=rng), BatchNorm(30), ops.relu, Dense(30, 20, rng=rng))
    optimizer = Adam(model.parameters(), lr=1e-2)
    run = Run(out, model=model, optimizer=optimizer, rng=rng, resume=resume, save_every=3, log_every=2)
    for x in run.batches(images, size=8, epochs=40):
        noisy = x + 0.1 * rng.standard_normal(x.shape, dtype=np.float32)
        loss = losses.bce_with_logits(model(noisy), x, "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)
        print(run.step, flush=True)


if __name__ == "__main__":
    main()
