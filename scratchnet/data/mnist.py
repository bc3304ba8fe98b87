"""MNIST (LeCun, Cortes and Burges 1998) and Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747):
grey pictures of 28×28 pixels in ten classes, 60 000 to train and 10 000 to test.

A sample of MNIST comes with the package. The full sets are searched for on this computer, or else downloaded once.
The two sets use the same file names, so a file is identified by the SHA-256 of its unzipped content.
"""

import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchnet.backend import check_rng, uniform
from scratchnet.data.checks import check_array, check_pixels
from scratchnet.data.download import cache_folder, download
from scratchnet.data.idx import read_bytes, read_labelled

SAMPLE = Path(__file__).with_name("mnist-sample.npz")  # made by scripts/make_mnist_sample.py

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Dataset(NamedTuple):
    """Images float32 (N, 28, 28, 1) in [0, 1], labels int64 (N,) in 0…9."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def __repr__(self):
        return "Dataset(\n" + "".join(f"    {name}: {array.dtype} {array.shape}\n"
                                      for name, array in self._asdict().items()) + ")"


class Source(NamedTuple):
    """Where to find four IDX files, and how to identify them. Hashes are in the order of FILES."""

    name: str          # of the sub-folder in SCRATCHNET_DATA and in the cache
    mirrors: tuple     # base URLs of the gzipped files, tried in this order
    idx_sha256: tuple  # of the IDX files
    gz_sha256: tuple   # of the gzipped files on the mirrors
    folders: tuple = ()  # where an operating system's package puts the files
    torchvision: str = "MNIST"  # torchvision's name for the folder


MNIST = Source(
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
     "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
     "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
     "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
     "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
     "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
     "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)

FASHION_MNIST = Source(
    "fashion-mnist",
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
     "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"),
    ("c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
     "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
     "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
     "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
     "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
     "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
     "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    (Path("/usr/share/datasets/fashion-mnist"),),  # Debian and Ubuntu: apt install dataset-fashion-mnist
    "FashionMNIST",
)


def mnist(full=False):
    """Handwritten digits as a Dataset: the sample in the package, 10 000 to train and 2 000 to test.

    full=True gives all 60 000 and 10 000 from four IDX files, gzipped or not. They are searched for in the folder that
    the environment variable SCRATCHNET_DATA names, in its sub-folder `mnist`, in the layouts of torchvision (MNIST/raw)
    and Kaggle (train-images.idx3-ubyte, or each file in a folder of its own name), then in the user's cache, and
    otherwise downloaded into the cache (11 MB). Raises DownloadError if that fails, ValueError for a file that is
    damaged or not MNIST's.
    """
    if full:
        return load(MNIST)
    content = SAMPLE.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return _as_dataset(*(arrays[name] for name in Dataset._fields))
    except (ValueError, KeyError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{SAMPLE}: damaged, install scratchnet again: {error}") from error


def fashion_mnist():
    """Pictures of clothes as a Dataset, all 60 000 and 10 000.

    The files are searched for as in `mnist(full=True)`, with the sub-folders `fashion-mnist` and `FashionMNIST/raw`,
    and in the folder of Debian's package dataset-fashion-mnist; a download is 31 MB.

    Classes: 0 T-shirt or top, 1 trousers, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag,
    9 ankle boot.
    """
    return load(FASHION_MNIST)


def binarize(images, rng=None):
    """Black and white images of the same shape and dtype: every pixel 0 or 1.

    With rng, pixel ~ Bernoulli(p = its grey value). If images are drawn once and kept, as in the file of Larochelle &
    Murray (2011), this is static binarization; if they are drawn afresh for every batch, as in Burda et al. (2016),
    dynamic binarization. The likelihoods of the two are not comparable. Without rng, pixel = 1 where the grey value is
    > 1/2, a threshold that is neither.
    """
    check_array("binarize", "images", images)
    if not np.issubdtype(images.dtype, np.floating):
        raise TypeError(f"binarize: images are {images.dtype}, expected floating point values in [0, 1]")
    if rng is not None:
        check_rng("binarize", rng)
        if images.dtype not in ("float32", "float64"):
            raise TypeError(f"binarize: images are {images.dtype}, expected float32 or float64 to draw from")
    check_pixels("binarize", images)
    threshold = 0.5 if rng is None else uniform(rng, images.shape, images)
    return (images > threshold).astype(images.dtype)


def load(source):
    """The Dataset of a Source, from this computer or else downloaded."""
    paths = [_locate(source, name) for name in FILES]
    return _as_dataset(*read_labelled(*paths[:2]), *read_labelled(*paths[2:]))


def find(folder, source, name):
    """The path of the source's IDX file `name` in a folder, gzipped or not; None if there is none. Kaggle puts it into
    a folder of its own name, or calls it train-images.idx3-ubyte.

    ValueError if there is one that is not the original.
    """
    for path in (folder / f"{stem}{ending}" for stem in (name, f"{name}/{name}", name.replace("-idx", ".idx"))
                 for ending in ("", ".gz")):
        if not path.is_file():
            continue
        sha256, expected = hashlib.sha256(read_bytes(path)).hexdigest(), source.idx_sha256[FILES.index(name)]
        if sha256 == expected:
            return path
        if sha256 not in MNIST.idx_sha256 + FASHION_MNIST.idx_sha256:  # the other set has the same file names
            raise ValueError(f"{path}: not the file of {source.name}: the SHA-256 of its content is "
                             f"{sha256}, expected {expected}; replace it or remove it")
    return None


def _locate(source, name):
    for folder in (*_given_folders(source), *source.folders):
        if path := find(folder, source, name):
            return path
    cache = cache_folder(source.name)
    return find(cache, source, name) or download(f"{name}.gz", source.mirrors, source.gz_sha256[FILES.index(name)],
                                                 cache)


def _given_folders(source):
    given = os.environ.get("SCRATCHNET_DATA")
    if not given:
        return ()
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(f"SCRATCHNET_DATA is {given!r}, expected a folder with {source.name}")
    return tuple(folder / place for place in (source.name, ".", f"{source.torchvision}/raw", source.torchvision, "raw"))


def _as_dataset(train_images, train_labels, test_images, test_labels):
    return Dataset(_scaled(train_images), train_labels.astype(np.int64),
                   _scaled(test_images), test_labels.astype(np.int64))


def _scaled(images):
    """Grey values 0…255, uint8 (N, H, W) → [0, 1], float32 (N, H, W, 1)."""
    scaled = images[..., np.newaxis].astype(np.float32)
    scaled /= 255
    return scaled
