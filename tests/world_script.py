"""A small training run of several processes for test_world.py: mpiexec -n 2 python world_script.py OUT [OPTION …]

--plain       float64, no noise, no batch norm: the same as by one process, to rounding
--resume      go on from the checkpoint
--size N      the batch size (8)
--at S HOW    in step S process 1 alone dies ("kill"), raises ("raise"), or all get a NaN ("nan")
--forget      do not average the gradients
"""

import os
import signal
import sys

import numpy as np

from scratchnet import losses, ops
from scratchnet.layers import BatchNorm, Dense, Sequential
from scratchnet.optimizers import Adam
from scratchnet.training import Run, World


def option(name, default):
    return sys.argv[sys.argv.index(name) + 1:] if name in sys.argv else [default, None]


def main():
    world, plain = World(), "--plain" in sys.argv
    rng = np.random.default_rng(7 + world.rank)  # process 0 decides where all start
    images = np.random.default_rng(1).random((57, 20), dtype=np.float64 if plain else np.float32)
    norm = (lambda h: h) if plain else BatchNorm(30)
    model = Sequential(Dense(20, 30, rng=rng), norm, ops.tanh, Dense(30, 20, rng=rng))
    model.move(lambda a: a.astype(images.dtype))
    optimizer = Adam(model.parameters(), lr=1e-2)
    run = Run(sys.argv[1], model=model, optimizer=optimizer, rng=rng, resume="--resume" in sys.argv, save_every=3,
              log_every=2, world=world)
    size, (fatal, how, *_) = int(option("--size", 8)[0]), option("--at", -1)
    for x in run.batches(images, size=size, epochs=20):
        noisy = x if plain else x + 0.1 * rng.standard_normal(x.shape, dtype=np.float32)
        loss = losses.bce_with_logits(model(noisy), x, "mean")
        if run.step == int(fatal):
            if how == "nan":
                loss = loss * np.nan
            elif world.rank == 1 and how == "raise":
                raise ValueError("a mistake in process 1 alone")
            elif world.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        optimizer.zero_grad()
        loss.backward()
        if "--forget" not in sys.argv:
            world.average(optimizer)
        optimizer.step()
        run.log(loss=loss, rank=world.rank)
        if world.rank == 0:
            print(run.step, flush=True)
    common = np.array(world.each(rng.random()))
    assert (common == common[0]).all()  # after the loop, rng is the same in all processes again


if __name__ == "__main__":
    main()
