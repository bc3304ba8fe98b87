"""The chores of a training loop: batches, progress bar, log, checkpoints, Ctrl-C, resuming. Never the math.

    run = Run(out, model=model, optimizer=optimizer, rng=rng)
    for x in run.batches(images, size=100, epochs=15):
        loss = model.loss(x, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)

The checkpoint holds everything that decides the next step: weights, the optimizer's state, the step, and the state of
rng now and at the start of the epoch (from which the order of the images is drawn again). So a run that was killed at
any instant and then resumed ends with bit for bit the weights, and the log, of an uninterrupted run.

run.py has the loop and its checkpoints, log.py the logged values, parts.py the models and optimizers, interrupts.py
Ctrl-C, world.py several processes that train one model.
"""

from scratchnet.training.interrupts import Stopped
from scratchnet.training.log import NonFiniteLoss
from scratchnet.training.run import Run, start_again
from scratchnet.training.world import World

__all__ = ["NonFiniteLoss", "Run", "Stopped", "World", "start_again"]
