"""The machine below: arrays of NumPy or CuPy, threads, memory, large products, random numbers."""

from scratchnet.backend.arrays import (
    array_module,
    gpu_available,
    is_array,
    is_whole,
    kind_of,
    to_cpu,
    to_device_of,
    to_gpu,
)
from scratchnet.backend.random import check_rng, standard_normal, uniform

__all__ = ["array_module", "check_rng", "gpu_available", "is_array", "is_whole", "kind_of", "standard_normal", "to_cpu",
           "to_device_of", "to_gpu", "uniform"]
