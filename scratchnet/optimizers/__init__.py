"""Optimizers: from a gradient to a step. The formulas are in methods.py, the base class is in optimizer.py."""

from scratchnet.optimizers.methods import SGD, Adagrad, Adam, AdamW, Nadam, RMSprop
from scratchnet.optimizers.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop"]
