"""Make the sample of MNIST that comes with scratchnet: the first 10 000 training and 2 000 test images.

    python scripts/make_mnist_sample.py FOLDER [OUTPUT]

FOLDER holds the four original IDX files, gzipped or not; their SHA-256 is checked. The result is always the same: to
the last byte with the same zlib, and once unpacked with any.
"""

import argparse
from pathlib import Path

import numpy as np

from scratchnet.data.idx import read_labelled
from scratchnet.data.mnist import FILES, MNIST, SAMPLE, find

TRAIN, TEST = 10_000, 2_000


def make_sample(folder, output):
    paths = [find(folder, MNIST, name) for name in FILES]
    for name, path in zip(FILES, paths, strict=True):
        if path is None:
            raise FileNotFoundError(f"{folder} has no {name}, gzipped or not")
    train_images, train_labels = read_labelled(*paths[:2])
    test_images, test_labels = read_labelled(*paths[2:])
    # savez dates every member 1980-01-01, so the file does not depend on the time
    np.savez_compressed(output, train_images=train_images[:TRAIN], train_labels=train_labels[:TRAIN],
                        test_images=test_images[:TEST], test_labels=test_labels[:TEST])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds the four original IDX files, gzipped or not")
    parser.add_argument("output", type=Path, nargs="?", default=SAMPLE)
    arguments = parser.parse_args()
    make_sample(arguments.folder, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")
