"""Checkpoints: named arrays and a few plain values in one file, which is replaced atomically.

The file is a safetensors file (https://github.com/huggingface/safetensors): a JSON header, then the arrays' bytes. So
reading one runs no code, and any safetensors reader can open it. The header's `__metadata__` also holds the plain
values, as one string of JSON, and a checksum of everything, which finds a single flipped bit.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from scratchnet.autograd import Tensor
from scratchnet.backend import is_array, kind_of, to_cpu
from scratchnet.folder import replacing

FORMAT = 2  # raise it when new files would mislead today's `load`
DTYPES = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float16", "float32", "float64", "complex64"}


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, foreign, or of another model; the message names the file."""


def save(path, arrays, metadata):
    """Write arrays (name → array, on either device) and metadata (all that `storable` takes) to `path`.

    At every instant `path` is either the old file or the whole new one (see `replacing` in folder.py). Two processes
    must not save to one path. TypeError for anything that cannot be stored, OSError naming `path` if writing fails.
    """
    if not isinstance(arrays, Mapping):
        raise TypeError(f"save: arrays must be a dict name → array, got {kind_of(arrays)}")
    text = json.dumps({"format": FORMAT, "metadata": storable("save: metadata", metadata)})
    arrays = {name: _host_copy(name, a) for name, a in arrays.items()}
    content = to_bytes(arrays, {"scratchnet": text, "checksum": _checksum(text, arrays)})
    with replacing(path) as file:
        file.write(content)


def storable(who, values):
    """The values as they come back from JSON: tuples and arrays as lists, paths and the keys of dicts as strings.
    TypeError names the key of a value that JSON cannot hold."""
    if not isinstance(values, dict):
        return _from_json(who, values)
    _from_json(who, dict.fromkeys(values))  # checks the keys
    return {str(name): _from_json(f"{who}: {name}", value) for name, value in values.items()}


def _from_json(who, value):
    try:
        return json.loads(json.dumps(_json_value(value)))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{who} cannot be kept in a checkpoint: {error}") from error


def _json_value(value):
    """The value in types that JSON can hold."""
    if isinstance(value, dict):
        found = {str(key): _json_value(item) for key, item in value.items()}
        if len(found) < len(value):
            raise TypeError(f"two keys are the same as strings: {', '.join(map(repr, value))}")
        return found
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("a masked array, whose mask would be lost; pass its .filled(value)")
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        return value.astype(float).tolist() if value.dtype.itemsize > 8 else value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{kind_of(value)}, expected values of JSON: numbers, strings, None, or lists and dicts of them")


def load(path):
    """(arrays, metadata) as `save` wrote them, the arrays on the host. CheckpointError says what is wrong with a file.

    JSON has turned tuples in the metadata into lists, and the keys of dicts into strings.
    """
    arrays, start = {}, b""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        with safe_open(path, framework="np") as file:
            stored = file.metadata() or {}
            if "scratchnet" in stored:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:  # dtypes that NumPy lacks
        # eight bytes of length, then the JSON header
        fault = "truncated or damaged" if start[8:] in (b"", b"{") else "not a safetensors file"
        raise CheckpointError(f"{path}: {fault} ({error})") from error
    if "scratchnet" not in stored:
        raise CheckpointError(f"{path}: a safetensors file, but not a checkpoint of scratchnet: it lacks the metadata")
    text = stored["scratchnet"]
    try:
        whole = json.loads(text)
        version, metadata = whole["format"], whole["metadata"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: its metadata cannot be read ({error!r})") from error
    if version != FORMAT:
        raise CheckpointError(f"{path}: is of format {version!r:.20}, but this scratchnet reads format {FORMAT}; "
                              f"read it with the version that wrote it")
    if stored.get("checksum") != _checksum(text, arrays):
        raise CheckpointError(f"{path}: damaged: its content does not match its checksum")
    return arrays, metadata


def metadata_of(path):
    """The metadata alone, without reading the arrays; {} for a damaged or foreign file."""
    try:
        with safe_open(path, framework="np") as file:
            return dict(json.loads(file.metadata()["scratchnet"])["metadata"])
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _checksum(text, arrays):
    """A hash of the metadata and of the names, dtypes, shapes and bytes of the arrays."""
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for name, a in sorted(arrays.items()):
        found.update(json.dumps([name, a.dtype.name, a.shape]).encode())
        found.update(a.reshape(-1).view(np.uint8))
    return found.hexdigest()


def _host_copy(name, a):
    """A C-contiguous little-endian copy on the host: safetensors writes the bytes of an array as they lie in memory and
    ignores its strides."""
    if not isinstance(name, str) or name == "__metadata__":
        raise TypeError(f"save: {name!r} cannot name an array, expected a string other than '__metadata__'")
    if not (isinstance(a, Tensor) or is_array(a)):
        raise TypeError(f"save: {name!r} must be an array, got {kind_of(a)}")
    if a.dtype.name not in DTYPES:
        raise TypeError(f"save: {name!r} is of {a.dtype.name}, expected an array of {', '.join(sorted(DTYPES))}")
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"save: {name!r} is a masked array, whose mask would be lost; pass its .filled(value)")
    a = to_cpu(a)
    return np.array(a, dtype=a.dtype.newbyteorder("<"), order="C")
