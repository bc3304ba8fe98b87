"""Reader of IDX files, the format in which MNIST is published.

An IDX file is a big-endian header followed by the elements in C order (source: the MNIST page of LeCun, Cortes
and Burges, "File formats for the MNIST database"):

    2 bytes       zero
    1 byte        type of the elements, 0x08 for unsigned bytes
    1 byte        number of dimensions
    4 bytes each  sizes of the dimensions
    the rest      the elements, and nothing after them
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

_OTHER_TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}


def read_idx(path):
    """The array of unsigned bytes in an IDX file, gzipped or not; uint8, read-only.

    ValueError names the file and the expectation if it is not an IDX file, holds elements of another type, is
    truncated, or goes on after its last element.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{path}: not an IDX file: it starts with the bytes [{content[:4].hex(' ')}], "
                         "expected [00 00 08 n], n the number of dimensions")
    element_type, ndim = content[2], content[3]
    if element_type != 0x08:
        found = _OTHER_TYPES.get(element_type, "unknown")
        raise ValueError(f"{path}: elements of type 0x{element_type:02x} ({found}), expected 0x08 (uint8)")
    if not 1 <= ndim <= 64:
        raise ValueError(f"{path}: {ndim} dimensions, expected 1 to 64")
    header_size = 4 + 4 * ndim
    if len(content) < header_size:
        raise ValueError(f"{path}: truncated: {len(content)} bytes, expected a header of {header_size}")
    shape = struct.unpack(f">{ndim}I", content[4:header_size])
    excess = len(content) - header_size - math.prod(shape)
    if excess:
        problem = f"{excess} trailing bytes" if excess > 0 else f"truncated, {-excess} bytes are missing"
        raise ValueError(f"{path}: {problem}: {len(content)} bytes, expected {len(content) - excess} for "
                         f"a header of {header_size} and the shape {shape}")
    return np.frombuffer(content, np.uint8)[header_size:].reshape(shape)


def read_labelled(images_path, labels_path):
    """The images (N, H, W) and labels (N,) of two IDX files, uint8; ValueError unless they belong together."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3:
        raise ValueError(f"{images_path}: shape {images.shape}, expected images (N, H, W)")
    if labels.ndim != 1:
        raise ValueError(f"{labels_path}: shape {labels.shape}, expected labels (N,)")
    if len(images) != len(labels):
        raise ValueError(f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} "
                         "labels, expected equal numbers")
    return images, labels


def read_bytes(path):
    """The content of a file, unzipped if it is gzipped. Its first bytes decide, not its name: some browsers unzip a
    download and keep the `.gz`."""
    content = Path(path).read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: truncated or damaged, expected a whole gzip file: {error}") from error
