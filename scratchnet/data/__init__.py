"""Data to learn from, as plain NumPy arrays: handwritten digits (a sample comes with the package), pictures of clothes,
and toy points in the plane. `batches` cuts arrays into batches.
"""

from scratchnet.data import toy2d
from scratchnet.data.batches import Indivisible, batches
from scratchnet.data.idx import read_idx
from scratchnet.data.mnist import Dataset, binarize, fashion_mnist, mnist

__all__ = ["Dataset", "Indivisible", "batches", "binarize", "fashion_mnist", "mnist", "read_idx", "toy2d"]
