"""Checkpoints: named arrays and a few plain values in one file, which is replaced as a whole or not at all.

The file is a safetensors file (https://github.com/huggingface/safetensors): a JSON header, then the arrays' bytes, so
reading one runs no code, and any safetensors reader can open it. Whatever JSON can hold goes with it, as one string in
the header's `__metadata__`.
"""

import json
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from scratchnet.backend import to_cpu

FORMAT = 1  # to be raised when a file written from then on would mislead the `load` of today
DTYPES = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float16", "float32", "float64", "complex64"}


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, of another origin, or of another model; the message names the file."""


def save(path, arrays, metadata):
    """Write arrays (name → array, from either device) and metadata (anything that JSON can hold) to `path`.

    At every instant `path` is either the file that was there or the whole new one: the bytes go to `path`.tmp, onto
    the disk, and only then is that file renamed. If saving fails, `path` is as it was and nothing is left behind;
    what a killed process leaves behind is written over by the next save. Two processes must not save to one path.
    TypeError for what cannot be stored exactly, OSError naming `path` when writing fails.
    """
    path = Path(path)
    text = json.dumps({"format": FORMAT, "metadata": metadata})
    content = to_bytes({name: _plain(name, a) for name, a in arrays.items()}, {"scratchnet": text})
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise
    _sync_folder(path.parent)


def load(path):
    """What `save` wrote: (arrays, metadata), the arrays on the host. CheckpointError says what is wrong with a file.

    As in all of JSON, tuples in the metadata have become lists, and keys of dicts strings.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            text = (file.metadata() or {}).get("scratchnet")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        # eight bytes of length, then the JSON header
        what = "truncated or damaged" if start[8:] in (b"", b"{") else "not a safetensors file"
        raise CheckpointError(f"{path}: {what} ({error})") from error
    if text is None:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of scratchnet: it lacks the metadata")
    try:
        stored = json.loads(text)
        version, metadata = stored["format"], stored["metadata"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged: its metadata cannot be read ({error!r})") from error
    if version != FORMAT:
        raise CheckpointError(f"{path}: is of format {version}, but this scratchnet reads format {FORMAT}; "
                              f"read it with the version that wrote it, or a later one")
    return arrays, metadata


def _plain(name, a):
    """A C-contiguous little-endian copy on the host: safetensors writes the bytes of an array as they lie in memory,
    whatever its strides are."""
    if not isinstance(name, str) or name == "__metadata__":
        raise TypeError(f"save: {name!r} cannot name an array, expected a string other than '__metadata__'")
    if not hasattr(a, "dtype") or a.dtype.name not in DTYPES:
        kind = a.dtype.name if hasattr(a, "dtype") else type(a).__name__
        raise TypeError(f"save: {name!r} is of {kind}, expected an array of {', '.join(sorted(DTYPES))}")
    a = to_cpu(a)
    return np.array(a, dtype=a.dtype.newbyteorder("<"), order="C")


def _sync_folder(folder):
    """Put the rename itself onto the disk; Windows has no such call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
