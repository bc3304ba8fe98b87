"""Data to learn from: handwritten digits (a sample comes with the package), fashion pictures, toy points in
the plane, and a cutter of arrays into batches. All of it is plain NumPy arrays.
"""

from scratchnet.data import toy2d
from scratchnet.data.batches import batches
from scratchnet.data.idx import read_idx
from scratchnet.data.mnist import Dataset, binarize, fashion_mnist, mnist

__all__ = ["Dataset", "batches", "binarize", "fashion_mnist", "mnist", "read_idx", "toy2d"]
