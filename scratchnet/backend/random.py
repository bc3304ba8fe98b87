"""Random numbers, drawn on the host and moved to the device: one seed gives the same numbers everywhere."""

import numpy as np

from scratchnet.backend.arrays import kind_of, to_device_of


def check_rng(who, rng):
    """TypeError unless rng is a NumPy Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{who}: rng must be a generator such as np.random.default_rng(0), got {kind_of(rng)}")


def standard_normal(rng, shape, like):
    """ε ~ N(0, 1) of the given shape, in the floating dtype and on the device of `like`."""
    check_rng("standard_normal", rng)
    return _drawn(rng.standard_normal, shape, like)


def uniform(rng, shape, like):
    """u ~ U[0, 1) of the given shape, in the floating dtype and on the device of `like`."""
    check_rng("uniform", rng)
    return _drawn(rng.random, shape, like)


def _drawn(draw, shape, like):
    """NumPy draws float32 and float64; other dtypes are rounded from float32."""
    dtype = like.dtype if like.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    return to_device_of(draw(shape, dtype=dtype).astype(like.dtype, copy=False), like)
