"""The engine: Tensors, differentiable ops, and the walk from a result back to the gradients of its inputs."""

from scratchnet.autograd.anomaly import AnomalyError, detect_anomaly
from scratchnet.autograd.backward import grad
from scratchnet.autograd.broadcasting import astype, broadcast_to, sum_to
from scratchnet.autograd.differentiable import REGISTRY, differentiable, handle
from scratchnet.autograd.fit import GradientError, GradientShapeError
from scratchnet.autograd.tensor import Tensor, check_arrays, data_of, enable_grad, no_grad

__all__ = ["REGISTRY", "AnomalyError", "GradientError", "GradientShapeError", "Tensor", "astype", "broadcast_to",
           "check_arrays", "data_of", "detect_anomaly", "differentiable", "enable_grad", "grad", "handle", "no_grad",
           "sum_to"]
