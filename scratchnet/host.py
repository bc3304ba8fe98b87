"""Real numbers on the host, to be measured or plotted, wherever they come from."""

import numpy as np

from scratchnet.autograd import check_arrays, data_of
from scratchnet.backend import kind_of, to_cpu


def on_host(op, name, x):
    """An array, a Tensor or a list as a NumPy array; TypeError unless it holds real numbers, with none masked."""
    if isinstance(x, (list, tuple)):
        try:
            x = np.asarray(x)
        except (TypeError, ValueError):  # rows of unequal lengths
            raise TypeError(f"{op}: {name} must be an array or a Tensor, got {kind_of(x)}") from None
    check_arrays(op, **{name: x})
    x = to_cpu(data_of(x))
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{op}: {name} is a masked array; pass x.compressed(), or x.filled(value)")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{op}: {name} holds {x.dtype}, expected real numbers")
    return np.asarray(x)
