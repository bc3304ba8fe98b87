"""scratchnet: generative models from scratch in NumPy, and in CuPy on a GPU."""

from scratchnet import memory, ops
from scratchnet.autograd import AnomalyError, Tensor, detect_anomaly, differentiable, enable_grad, grad, no_grad

__version__ = "0.1.0"
memory.keep_freed_blocks()

__all__ = ["AnomalyError", "Tensor", "detect_anomaly", "differentiable", "enable_grad", "grad", "no_grad", "ops"]
