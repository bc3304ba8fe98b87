"""scratchnet: generative models from scratch in NumPy, and in CuPy on a GPU."""

from scratchnet import check, compiled, console, ops
from scratchnet.autograd import AnomalyError, Tensor, detect_anomaly, differentiable, enable_grad, grad, no_grad
from scratchnet.backend import memory

__version__ = "0.1.0"
memory.keep_freed_blocks()
console.show_what_it_can()
compiled.use_if_installed()

__all__ = ["AnomalyError", "Tensor", "check", "detect_anomaly", "differentiable", "enable_grad", "grad", "no_grad",
           "ops"]
