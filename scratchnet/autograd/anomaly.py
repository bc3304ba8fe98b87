"""detect_anomaly(): stop at the first op that makes a NaN or an infinity, and name the line that called it.

Inside it, every op checks its result, and the walk checks every gradient. Every array kept for backward is
fingerprinted, so that a change in place between forward and backward is an error instead of a wrong gradient.
All this takes time and, on a GPU, waits for the device at each op: use it to find a fault, not to train.
"""

import linecache
import sys
import threading
import zlib
from contextlib import contextmanager
from pathlib import Path

from scratchnet.backend import array_module, to_cpu

_HERE = str(Path(__file__).parent.parent)  # the library


class _State(threading.local):
    on = False


_state = _State()


class AnomalyError(FloatingPointError):
    """A NaN or an infinity. The message names the op that made it, the line that called the op, and the shapes."""


@contextmanager
def detect_anomaly():
    """Inside, the first NaN or infinity in a result or a gradient raises AnomalyError."""
    before, _state.on = _state.on, True
    try:
        yield
    finally:
        _state.on = before


def active():
    """Whether this thread is inside detect_anomaly()."""
    return _state.on


def trace(kept):
    """(source line, fingerprints): a Node keeps them for the error message and for check_unchanged."""
    return _caller(), [_fingerprint(a) for a in kept]


def check_forward(name, arrays, y):
    """Raise if y is not finite; the error says whether the inputs were."""
    bad = _count_bad(y)
    if bad:
        inputs = [a for a in arrays if hasattr(a, "dtype")]
        spoilt = [i for i, a in enumerate(inputs) if _count_bad(a)]
        origin = f"its array argument {spoilt[0]} already held some" if spoilt else "its inputs were finite"
        raise AnomalyError(f"{name}: {bad} of {y.size} results are NaN or infinite ({origin}); "
                           f"input shapes {[a.shape for a in inputs]}, called at {_caller()}")


def check_gradient(name, made_at, shape, g):
    """Raise if a gradient is not finite."""
    bad = _count_bad(g)
    if bad:
        raise AnomalyError(f"{name}: {bad} of {g.size} gradient entries for its input of shape {shape} are NaN or "
                           f"infinite; the op was called at {made_at}")


def check_unchanged(name, made_at, kept, fingerprints):
    """Raise if an array kept for backward has been changed in place since the forward pass."""
    for a, before in zip(kept, fingerprints, strict=True):
        if _fingerprint(a) != before:
            what = "an index" if isinstance(a, tuple) else f"an array of shape {a.shape}"
            raise AnomalyError(f"{name}: {what} that its gradient needs was changed in place after the forward pass; "
                               f"the op was called at {made_at}")


def _count_bad(x):
    if getattr(x, "dtype", None) is None or x.dtype.kind not in "fc":
        return 0
    return x.size - int(array_module(x).isfinite(x).sum())


def _fingerprint(a):
    if isinstance(a, tuple):  # an index with several parts
        return tuple(map(_fingerprint, a))
    return zlib.crc32(to_cpu(a).tobytes()) if getattr(a, "ndim", 0) else None


def _caller():
    """file:line and text of the nearest frame outside the library, or of the outermost frame if there is none."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{line}: {linecache.getline(file, line).strip()}"
