"""Optimizers: from a gradient to a step. methods.py has the formulas, optimizer.py what they share."""

from scratchnet.optimizers.methods import SGD, Adagrad, Adam, AdamW, Nadam, RMSprop
from scratchnet.optimizers.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop"]
