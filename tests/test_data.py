"""IDX files and their faults, downloads from servers that misbehave, the bundled sample, batches, toy points.

No test leaves this computer: the mirrors are folders of a server on 127.0.0.1.
"""

import gzip
import hashlib
import importlib.util
import os
import re
import struct
import subprocess
import sys
import threading
import time
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import Tensor, data
from scratchnet.data import corruption
from scratchnet.data.idx import read_labelled
from scratchnet.data.mnist import FASHION_MNIST, FILES, MNIST, SAMPLE, Source, find, load

ROOT = Path(__file__).resolve().parents[1]


# ---------------------------------------------------------------- IDX files

def idx(array, element_type=0x08):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, element_type, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 5), (0, 28, 28), (2, 1, 3, 1, 2)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_round_trip(tmp_path, shape, pack):
    array = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    read = data.read_idx(written(tmp_path / "x.gz", pack(idx(array))))  # the content decides, not the name
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


GOOD = idx(np.arange(2 * 3 * 5).reshape(2, 3, 5))
ZIPPED = gzip.compress(GOOD, mtime=0)
HUGE = struct.pack(">3I", *[2**32 - 1] * 3)
BAD_GZIP = "truncated or damaged, expected a whole gzip file"


@pytest.mark.parametrize(("content", "message"), [
    (b"", r"not an IDX file: it starts with the bytes \[\], expected \[00 00 08 n\]"),
    (b"\0\0\x08", "not an IDX file"),
    (b"PK\x03\x04" + GOOD, r"not an IDX file: it starts with the bytes \[50 4b 03 04\]"),
    (b"\0\1" + GOOD[2:], r"not an IDX file: .*\[00 01 08 03\]"),
    (b"\1\0" + GOOD[2:], "not an IDX file"),
    (b"\0\0\x0d" + GOOD[3:], r"elements of type 0x0d \(float32\), expected 0x08"),
    (b"\0\0\x07" + GOOD[3:], r"elements of type 0x07 \(unknown\), expected 0x08"),
    (b"\0\0\x08\0" + GOOD[4:], "0 dimensions, expected 1 to 64"),
    (b"\0\0\x08\x41" + struct.pack(">65I", *[1] * 65) + b"x", "65 dimensions, expected 1 to 64"),
    (GOOD[:15], "truncated: 15 bytes, expected a header of 16"),
    (GOOD[:-1], r"truncated, 1 bytes are missing: 45 bytes, expected 46 .* \(2, 3, 5\)"),
    (GOOD[:16], "truncated, 30 bytes are missing"),
    (GOOD + b"\0", r"1 trailing bytes: 47 bytes, expected 46"),
    (GOOD[:4] + HUGE + b"x", "truncated, 7922816.* bytes are missing"),
    (ZIPPED[:-1], BAD_GZIP),
    (ZIPPED[:20], BAD_GZIP),
    (ZIPPED[:5], BAD_GZIP),
    (ZIPPED + b"more", BAD_GZIP),
    (ZIPPED[:-8] + b"\0" * 8, f"{BAD_GZIP}: CRC"),
    (ZIPPED[:10] + b"\xff" * 30, BAD_GZIP),
], ids=lambda value: "" if isinstance(value, bytes) else None)
def test_idx_faults_are_named(tmp_path, content, message):
    path = written(tmp_path / "digits-idx3-ubyte", content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        data.read_idx(path)


@given(st.data())
def test_no_byte_of_an_idx_header_can_be_wrong_unnoticed(tmp_path_factory, draw):
    array = np.arange(30, dtype=np.uint8).reshape(2, 3, 5)
    content = bytearray(idx(array))
    position = draw.draw(st.integers(0, 15))
    content[position] = draw.draw(st.integers(0, 255).filter(lambda byte: byte != content[position]))
    path = written(tmp_path_factory.mktemp("idx") / "x", bytes(content))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        data.read_idx(path)


def test_images_and_labels_must_belong_together(tmp_path):
    def file(name, shape):
        return written(tmp_path / name, idx(np.ones(shape)))

    images, labels = file("images", (4, 2, 3)), file("labels", (4,))
    assert [array.shape for array in read_labelled(images, labels)] == [(4, 2, 3), (4,)]
    with pytest.raises(ValueError, match=r"images has 4 images but .*fewer has 3 labels, expected equal numbers"):
        read_labelled(images, file("fewer", (3,)))
    with pytest.raises(ValueError, match=r"labels: shape \(4,\), expected images \(N, H, W\)"):
        read_labelled(labels, labels)
    with pytest.raises(ValueError, match=r"images: shape \(4, 2, 3\), expected labels \(N,\)"):
        read_labelled(images, images)


# ---------------------------------------------------------------- where the full sets come from

def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(1)
    return [rng.integers(256, size=(70, 28, 28)), rng.integers(10, size=70),
            rng.integers(256, size=(40, 28, 28)), rng.integers(10, size=40)]


@pytest.fixture
def originals(arrays):
    """The four small files as mirrors have them: name → gzipped content."""
    return {f"{name}.gz": gzip.compress(idx(array)) for name, array in zip(FILES, arrays, strict=True)}


@pytest.fixture
def source(originals):
    """A set of images that no mirror has: everything must be on this computer."""
    return Source("small", (), tuple(sha256(gzip.decompress(gz)) for gz in originals.values()),
                  tuple(sha256(gz) for gz in originals.values()))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache; no SCRATCHNET_DATA; no proxy between us and 127.0.0.1."""
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.delenv("SCRATCHNET_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "scratchnet" / "small"


def check(dataset, arrays):
    for images, raw in ((dataset.train_images, arrays[0]), (dataset.test_images, arrays[2])):
        assert images.dtype == np.float32
        np.testing.assert_array_equal(images, (raw.astype(np.float32) / np.float32(255))[..., None])
    for labels, raw in ((dataset.train_labels, arrays[1]), (dataset.test_labels, arrays[3])):
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, raw)


def fill(folder, originals, pack):
    folder.mkdir(parents=True)
    for name, content in originals.items():
        if pack == "plain":
            written(folder / name.removesuffix(".gz"), gzip.decompress(content))
        else:  # another level of compression: the same content, but other bytes than on the mirrors
            written(folder / name, gzip.compress(gzip.decompress(content), compresslevel=1))


@pytest.mark.parametrize("pack", ["plain", "gzip"])
@pytest.mark.parametrize("place", ["given", "given/small", "package", "cache/scratchnet/small"])
def test_files_on_this_computer_are_found(tmp_path, monkeypatch, source, originals, arrays, place, pack):
    fill(tmp_path / place, originals, pack)
    if place.startswith("given"):
        monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path / "given"))
    check(load(source._replace(folders=(tmp_path / "package",))), arrays)


@pytest.mark.parametrize("pack", ["plain", "gzip"])
@pytest.mark.parametrize("place", ["MNIST/raw", "raw", "MNIST"])
def test_files_as_torchvision_lays_them_out(tmp_path, monkeypatch, source, originals, arrays, place, pack):
    fill(tmp_path / place, originals, pack)
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path))
    check(load(source), arrays)


@pytest.mark.parametrize("layout", ["{0}/{0}", "{1}"])
def test_files_as_kaggle_lays_them_out(tmp_path, monkeypatch, source, originals, arrays, layout):
    """Each file in a folder of its own name; or a dot instead of a dash."""
    for name, content in originals.items():
        name = name.removesuffix(".gz")
        path = tmp_path / layout.format(name, name.replace("-idx", ".idx"))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.decompress(content))
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path))
    check(load(source), arrays)


def test_both_sets_lie_where_torchvision_puts_them(tmp_path, monkeypatch, source, originals, arrays):
    fill(tmp_path / "FashionMNIST/raw", originals, "plain")
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path))
    check(load(source._replace(torchvision=FASHION_MNIST.torchvision)), arrays)
    with pytest.raises(OSError, match="could not be downloaded"):
        load(source)


def test_a_damaged_sample_is_named(tmp_path, monkeypatch):
    """Cut anywhere or with one bit changed, it has a wrong checksum or cannot be read."""
    np.savez_compressed(tmp_path / "good.npz", **dict(zip(data.Dataset._fields, [np.zeros((2, 3, 4), np.uint8)] * 4,
                                                          strict=True)))
    good, rng = (tmp_path / "good.npz").read_bytes(), np.random.default_rng(0)
    monkeypatch.setitem(find.__globals__, "SAMPLE", tmp_path / "sample.npz")
    for k in range(200):
        place = int(rng.integers(len(good)))
        bad = good[:place] if k % 2 else good[:place] + bytes([good[place] ^ 1 << k % 8]) + good[place + 1:]
        (tmp_path / "sample.npz").write_bytes(bad)
        try:
            data.mnist()
        except ValueError as error:
            assert str(error).startswith(f"{tmp_path / 'sample.npz'}: damaged, install scratchnet again: ")


def test_a_wrong_scratchnet_data_is_named(tmp_path, monkeypatch, source):
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path / "tpyo"))
    with pytest.raises(NotADirectoryError, match="SCRATCHNET_DATA is '.*tpyo', expected a folder with small"):
        load(source)


def test_a_damaged_file_is_named_and_left_alone(tmp_path, monkeypatch, source, originals):
    fill(tmp_path / "given", originals, "plain")
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path / "given"))
    damaged = tmp_path / "given" / FILES[2]
    content = bytearray(damaged.read_bytes())
    content[5000] ^= 1  # one bit of one pixel
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{damaged}: not the file of small: the SHA-256 of its "
                                                   f"content is {sha256(content)}, expected")):
        load(source)
    assert damaged.read_bytes() == content


def test_files_of_the_other_set_are_passed_over(tmp_path, monkeypatch, source, originals, arrays):
    """MNIST and Fashion-MNIST have the same file names; SCRATCHNET_DATA may hold the other one."""
    other = {name: gzip.compress(gzip.decompress(content)[:-1] + b"!") for name, content in originals.items()}
    fill(tmp_path / "given", other, "gzip")
    fill(tmp_path / "package", originals, "gzip")
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path / "given"))
    source = source._replace(folders=(tmp_path / "package",))
    with pytest.raises(ValueError, match="not the file of small"):
        load(source)
    known = MNIST._replace(idx_sha256=tuple(sha256(gzip.decompress(content)) for content in other.values()))
    monkeypatch.setitem(find.__globals__, "MNIST", known)
    check(load(source), arrays)


# ---------------------------------------------------------------- downloads

class Site(ThreadingHTTPServer):
    """Serves `files` (path → content). Requests for a path in `cut` lose the connection after that many bytes. `slow`
    makes it dribble; `ranges` says whether it knows the header Range."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.log, self.ranges, self.slow = {}, {}, [], True, False
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, folder):
        return f"http://127.0.0.1:{self.server_port}/{folder}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site, wanted = self.server, self.headers.get("Range")
        site.log.append((self.path, wanted))
        body = site.files.get(self.path)
        if body is None:
            return self.send_error(404)
        first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and site.ranges else 0
        if first and first >= len(body):
            return self.send_error(416)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        body = body[first:][:site.cut.get(self.path)]
        if not site.slow:
            return self.wfile.write(body)
        for start in range(0, len(body), 1000):
            self.wfile.write(body[start:start + 1000])
            time.sleep(0.02)

    def log_message(self, *_):
        pass


@pytest.fixture
def site(originals):
    site = Site()
    site.files = {f"/{mirror}/{name}": content for mirror in "ab" for name, content in originals.items()}
    yield site
    site.shutdown()
    site.server_close()


@pytest.fixture
def online(source, site):
    return source._replace(mirrors=(site.url("a"), site.url("b")))


IMAGES = f"{FILES[0]}.gz"


def ranges(site, name):
    """The Range header of each request for this file."""
    return [wanted for path, wanted in site.log if path.endswith(name)]


def test_download_once(online, site, cache, originals, arrays, capfd):
    check(load(online), arrays)
    assert [path for path, _ in site.log] == [f"/a/{name}" for name in originals]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == originals
    assert IMAGES in capfd.readouterr().err.replace("\r", "\n")  # the progress bar
    site.log.clear()
    check(load(online), arrays)
    assert not site.log


def test_a_dead_mirror_is_passed_over(online, site, arrays):
    for dead in ("http://127.0.0.1:9/", site.url("nowhere")):
        check(load(online._replace(mirrors=(dead, site.url("b")))), arrays)


def test_interrupted_downloads_resume_where_they_stopped(online, site, cache, originals, arrays):
    site.cut = {f"/{mirror}/{IMAGES}": 20_000 for mirror in "ab"}
    with pytest.raises(OSError, match=f"{IMAGES} could not be downloaded"):
        load(online)
    assert [path.name for path in cache.iterdir()] == [f"{IMAGES}.part"]
    part = (cache / f"{IMAGES}.part").read_bytes()  # the start from mirror a, the rest from mirror b
    assert part == originals[IMAGES][:len(part)]
    _, second = ranges(site, IMAGES)
    from_a = int(second.removeprefix("bytes=").removesuffix("-"))
    assert 10_000 < from_a <= 20_000 and 10_000 < len(part) - from_a <= 20_000
    site.cut = {}
    check(load(online), arrays)
    assert ranges(site, IMAGES) == [None, second, f"bytes={len(part)}-"]
    assert {path.name for path in cache.iterdir()} == set(originals)


def test_a_server_without_ranges_starts_over(online, site, cache, arrays):
    site.ranges = False
    cache.mkdir(parents=True)
    written(cache / f"{IMAGES}.part", site.files[f"/a/{IMAGES}"][:500])
    check(load(online._replace(mirrors=online.mirrors[:1])), arrays)
    assert ranges(site, IMAGES) == ["bytes=500-"]


def test_an_error_page_does_not_harm_the_part(online, site, cache, originals):
    site.files = {}
    cache.mkdir(parents=True)
    part = written(cache / f"{IMAGES}.part", originals[IMAGES][:500])
    with pytest.raises(OSError, match="(?s)/a/: 404 .*/b/: 404 "):
        load(online)
    assert part.read_bytes() == originals[IMAGES][:500]


def test_an_early_end_is_noticed_where_the_http_library_does_not(tmp_path):
    """urllib3 1.x returns a short body without an error; the part must then stay for the next attempt."""
    from scratchnet.data.download import _append

    class Response:
        headers = {"Content-Length": "10"}

        @staticmethod
        def iter_content(size):
            return iter([b"6 byte"])

    part = written(tmp_path / "x.part", b"abcd")
    with pytest.raises(ConnectionError, match="the connection was lost after 10 of 14 bytes"):
        _append(Response, part, 4)
    assert part.read_bytes() == b"abcd6 byte"


def test_a_whole_part_needs_no_more_bytes(online, site, cache, originals, arrays):
    cache.mkdir(parents=True)
    written(cache / f"{IMAGES}.part", originals[IMAGES])
    check(load(online), arrays)
    assert {path.name for path in cache.iterdir()} == set(originals)


@pytest.mark.parametrize("wrong", [b"not what you think", b"x" * 10**6], ids=["short", "long"])
def test_a_wrong_part_is_thrown_away(online, site, cache, originals, arrays, wrong):
    cache.mkdir(parents=True)
    written(cache / f"{IMAGES}.part", wrong)
    check(load(online), arrays)  # mirror a continues the wrong part, mirror b starts over
    assert ranges(site, IMAGES) == [f"bytes={len(wrong)}-", None]
    assert {path.name for path in cache.iterdir()} == set(originals)


@pytest.mark.parametrize("fault", ["corrupted", "truncated", "a page", "empty"])
def test_a_bad_file_never_enters_the_cache(online, site, cache, originals, arrays, fault):
    good = originals[IMAGES]
    bad = {"corrupted": good[:3000] + bytes([good[3000] ^ 1]) + good[3001:], "truncated": good[:-1],
           "a page": b"<html>Welcome to the wireless network of this hotel</html>", "empty": b""}[fault]
    site.files[f"/a/{IMAGES}"] = bad
    check(load(online), arrays)  # mirror b is good
    assert (cache / IMAGES).read_bytes() == good

    (cache / IMAGES).unlink()
    site.files[f"/b/{IMAGES}"] = bad
    with pytest.raises(OSError, match=r"(?s)/a/: SHA256 .* does not match .*/b/: SHA256 .* does not match"):
        load(online)
    assert {path.name for path in cache.iterdir()} == set(originals) - {IMAGES}


def test_everything_dead_says_what_to_do(source, cache):
    dead = ("http://127.0.0.1:9/one/", "http://127.0.0.1:9/two/")
    with pytest.raises(OSError) as error:
        load(source._replace(mirrors=dead))
    message = str(error.value)
    assert type(error.value).__name__ == "DownloadError"
    assert message.startswith(f"{IMAGES} could not be downloaded.")
    for part in (*dead, str(cache), "SCRATCHNET_DATA"):
        assert part in message
    assert not any(cache.iterdir())


@pytest.mark.parametrize(("error", "words"), [(OSError(), "OSError"), (ConnectionError(None), "ConnectionError"),
                                              (OSError(None, None), "OSError"), (OSError("no route"), "no route")])
def test_mirrors_without_a_reason_are_not_answered_none(monkeypatch, source, cache, error, words):
    def fail(*_, **__):
        raise error
    monkeypatch.setattr("pooch.retrieve", fail)
    with pytest.raises(OSError, match=f"  http://a/: {words}\n"):
        load(source._replace(mirrors=("http://a/",)))


@pytest.mark.parametrize("missing", ["pooch", "requests"])
def test_without_the_network_libraries_all_but_downloads_works(missing, originals, source, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    program = (f"import sys; sys.modules[{missing!r}] = None\n"
               "from scratchnet import data; from scratchnet.data.mnist import Source, load\n"
               "print(len(data.mnist().train_images), end=' ')\n"
               f"source = Source('small', (), {source.idx_sha256}, {source.gz_sha256})\n"
               "try: load(source)\n"
               "except OSError as error: print(type(error).__name__, error, end=' ')\n"
               "import os; os.environ['SCRATCHNET_DATA'] = sys.argv[1]; print(len(load(source).train_images))")
    for name, content in originals.items():
        written(folder / name, content)
    found = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=100,
                           env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert found.returncode == 0, found.stderr
    assert re.fullmatch(f"10000 DownloadError a download, .* need the package {missing}: pip install {missing}, or set "
                        "SCRATCHNET_DATA .* [0-9]+\n", found.stdout), found.stdout


def test_a_killed_download_leaves_only_its_part(online, site, cache, originals, arrays):
    site.slow = True
    program = ("import sys; from pathlib import Path; from scratchnet.data.download import download\n"
               "download(sys.argv[1], [sys.argv[2]], sys.argv[3], Path(sys.argv[4]))")
    arguments = [IMAGES, online.mirrors[0], online.gz_sha256[0], str(cache)]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.DEVNULL,
                               env=os.environ | {"PYTHONPATH": str(ROOT)})
    part = cache / f"{IMAGES}.part"
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None, "the download ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.wait()
    size = part.stat().st_size
    assert [path.name for path in cache.iterdir()] == [part.name]
    assert 0 < size < len(originals[IMAGES])

    site.slow = False
    site.log.clear()
    check(load(online), arrays)
    assert site.log[0] == (f"/a/{IMAGES}", f"bytes={size}-")


# ---------------------------------------------------------------- MNIST itself

def test_the_sample():
    dataset = data.mnist()
    assert [array.shape for array in dataset] == [(10_000, 28, 28, 1), (10_000,), (2000, 28, 28, 1), (2000,)]
    assert [array.dtype for array in dataset] == [np.float32, np.int64, np.float32, np.int64]
    for images in (dataset.train_images, dataset.test_images):
        assert images.min() == 0 and images.max() == 1
        np.testing.assert_array_equal(images * np.float32(255), np.round(images * 255))
    assert dataset.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert set(dataset.test_labels) == set(range(10))
    assert "train_images: float32 (10000, 28, 28, 1)" in repr(dataset)
    one = dataset.train_images[3, :, :, 0]  # leans to the right: ink at the upper right and the lower left
    assert one[:14, 14:].sum() > one[:14, :14].sum() and one[14:, :14].sum() > one[14:, 14:].sum()


def test_the_sample_can_be_learned_from():
    """The nearest class mean finds most digits, so images and labels belong together in both parts."""
    x, y, test_x, test_y = data.mnist()
    means = np.stack([x[y == digit].mean(axis=0) for digit in range(10)]).reshape(10, -1)
    distance = ((test_x.reshape(-1, 1, 784) - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == test_y).mean() > 0.75


def test_licence_and_hashes_lie_beside_the_sample():
    text = SAMPLE.with_name("MNIST-LICENSE.md").read_text(encoding="utf-8")
    for part in (*MNIST.idx_sha256, *MNIST.gz_sha256, sha256(SAMPLE.read_bytes()), "CC BY-SA 3.0",
                 "Yann LeCun", "Corinna Cortes", "Christopher J. C. Burges"):
        assert part in text
    assert SAMPLE.stat().st_size < 2.1e6


GIVEN = os.environ.get("SCRATCHNET_DATA")  # read before a fixture hides it


@pytest.fixture(scope="module")
def mnist_folder():
    for folder in (*([Path(GIVEN) / "mnist", Path(GIVEN)] if GIVEN else []), ROOT / "../shared/data/mnist"):
        if folder.exists() and all(find(folder, MNIST, name) for name in FILES):
            return folder
    pytest.skip("the four IDX files of MNIST are not here")


def sample_maker():
    spec = importlib.util.spec_from_file_location("make_mnist_sample", ROOT / "scripts/make_mnist_sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sample_is_the_start_of_the_originals(monkeypatch, mnist_folder):
    monkeypatch.setenv("SCRATCHNET_DATA", str(mnist_folder))
    sample, full = data.mnist(), data.mnist(full=True)
    assert [len(array) for array in full] == [60_000, 60_000, 10_000, 10_000]
    for part, whole in zip(sample, full, strict=True):
        np.testing.assert_array_equal(part, whole[:len(part)])


def test_the_script_makes_the_bundled_sample_again(tmp_path, mnist_folder):
    """Bytes and dates are compared member by member, as another build of zlib may pack the same bytes differently."""
    sample_maker().make_sample(mnist_folder, tmp_path / "again.npz")
    with zipfile.ZipFile(tmp_path / "again.npz") as again, zipfile.ZipFile(SAMPLE) as bundled:
        assert again.namelist() == bundled.namelist()
        for name in bundled.namelist():
            assert again.read(name) == bundled.read(name)
            assert again.getinfo(name).date_time == bundled.getinfo(name).date_time == (1980, 1, 1, 0, 0, 0)


def test_the_script_refuses_other_files(tmp_path, originals):
    with pytest.raises(FileNotFoundError, match="has no train-images-idx3-ubyte, gzipped or not"):
        sample_maker().make_sample(tmp_path, tmp_path / "out.npz")
    fill(tmp_path / "other", originals, "gzip")
    with pytest.raises(ValueError, match="not the file of mnist"):
        sample_maker().make_sample(tmp_path / "other", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.skipif(not all((FASHION_MNIST.folders[0] / f"{name}.gz").exists() for name in FILES),
                    reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian():
    dataset = data.fashion_mnist()
    assert [len(array) for array in dataset] == [60_000, 60_000, 10_000, 10_000]
    assert np.bincount(dataset.train_labels).tolist() == [6000] * 10


def test_binarize():
    rng = np.random.default_rng(0)
    images = np.linspace(0, 1, 11, dtype=np.float32)[:, None] * np.ones((11, 20_000), np.float32)
    drawn = data.binarize(images, rng)
    assert drawn.dtype == np.float32 and set(np.unique(drawn)) == {0, 1}
    assert abs(drawn.mean(axis=1) - images[:, 0]).max() < 0.02
    assert drawn[0].max() == 0 and drawn[-1].min() == 1  # p = 0 and p = 1 leave nothing to chance
    assert (drawn != data.binarize(images, rng)).any()
    np.testing.assert_array_equal(drawn, data.binarize(images, np.random.default_rng(0)))
    np.testing.assert_array_equal(data.binarize(np.array([0, 0.5, 0.51, 1])), [0, 0, 1, 1])
    assert data.binarize(np.zeros((0, 28, 28, 1), np.float32), rng).shape == (0, 28, 28, 1)
    with pytest.raises(TypeError, match="binarize: images are uint8, expected floating point values"):
        data.binarize(np.zeros((2, 3), np.uint8))
    for wrong in (255 * images, -images, np.where(images > 0.5, np.nan, images)):
        with pytest.raises(ValueError, match=r"^binarize: images have values from .*, expected \[0, 1\]: divide by"):
            data.binarize(wrong, rng)
    for wrong in (None, [0.5], images.tolist()):
        with pytest.raises(TypeError, match="^binarize: images must be an array, got"):
            data.binarize(wrong)
    with pytest.raises(TypeError, match="^binarize: rng must be a generator .* got an int 0"):
        data.binarize(images, 0)
    with pytest.raises(TypeError, match="^binarize: images are float16, expected float32 or float64 to draw from"):
        data.binarize(images.astype(np.float16), rng)


def test_what_cannot_be_corrupted():
    rng, x = np.random.default_rng(0), np.full((2, 3), 0.5)
    for spoil in (corruption.masking, corruption.salt_and_pepper):
        for wrong in (255 * x, x - 1, x * np.nan):
            with pytest.raises(ValueError, match=rf"^{spoil.__name__}: images have values from .*, expected \[0, 1\]"):
                spoil(wrong, 0.3, rng)
    for spoil in (corruption.masking, corruption.salt_and_pepper, corruption.gaussian):
        with pytest.raises(TypeError, match=f"^{spoil.__name__}: images must be an array, got a list; pass np.array"):
            spoil([0.5, 0.5], 0.3, rng)
        with pytest.raises(TypeError, match=f"^{spoil.__name__}: rng must be a generator .* got an int 0"):
            spoil(x, 0.3, 0)
        with pytest.raises(ValueError, match=f"^{spoil.__name__}: (the rate|sigma) must .*, got 0.3"):
            spoil(x, "0.3", rng)
        assert spoil(x.astype(np.float32), np.float64(0.3), rng).dtype == np.float32
    assert corruption.gaussian(x - 5, 0.1, rng).max() < 0  # points of the plane lie anywhere


# ---------------------------------------------------------------- batches

CUTS = {"rows": st.integers(1, 40), "size": st.integers(1, 50), "seed": st.none() | st.integers(0, 99)}


def generator(seed):
    return None if seed is None else np.random.default_rng(seed)


@given(**CUTS)
def test_every_row_once_and_arrays_stay_together(rows, size, seed):
    x, y = np.arange(rows * 3).reshape(rows, 3), np.arange(rows) * 10
    cut = list(data.batches(x, y, size=size, rng=generator(seed)))
    assert [len(a) for a, _ in cut] == [size] * (rows // size) + [rows % size] * (rows % size > 0)
    for a, b in cut:
        np.testing.assert_array_equal(a[:, 0] * 10, b * 3)
    order = np.concatenate([b for _, b in cut]) // 10
    expected = np.arange(rows) if seed is None else generator(seed).permutation(rows)
    np.testing.assert_array_equal(order, expected)


@given(**CUTS, choice=st.data())
def test_start_continues_an_epoch(rows, size, seed, choice):
    x = np.arange(rows)
    whole = list(data.batches(x, size=size, rng=generator(seed)))
    start = choice.draw(st.integers(0, len(whole)))
    rng = generator(seed)
    rest = list(data.batches(x, size=size, rng=rng, start=start))
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[start:]]
    if rest and rng:  # rng is in the state that the whole epoch would leave
        assert rng.bit_generator.state != generator(seed).bit_generator.state or rows == 1
        expected = generator(seed)
        expected.permutation(rows)
        assert rng.random() == expected.random()


def test_skipped_batches_are_not_gathered():
    class Counted(np.ndarray):
        reads = 0

        def __getitem__(self, index):
            type(self).reads += 1
            return super().__getitem__(index)

    x = np.zeros((100, 2)).view(Counted)
    assert len(list(data.batches(x, size=10, rng=np.random.default_rng(0), start=7))) == 3
    assert Counted.reads == 3


def test_batches_in_order_are_views_and_shuffled_ones_are_copies():
    x, y = np.zeros((7, 2)), np.zeros(7)
    assert all(np.shares_memory(a, x) and np.shares_memory(b, y) for a, b in data.batches(x, y, size=3))
    for a in data.batches(x, size=3, rng=np.random.default_rng(0)):
        a += 1
    assert not x.any()


def test_drop_last():
    assert [len(a) for a in data.batches(np.zeros(10), size=4, drop_last=True)] == [4, 4]
    assert [len(a) for a in data.batches(np.zeros(8), size=4, drop_last=True)] == [4, 4]
    assert [len(a) for a in data.batches(np.zeros(10), size=4, drop_last=True, start=1)] == [4]


def test_the_order_is_drawn_with_the_first_batch():
    rng = np.random.default_rng(0)
    epoch = data.batches(np.arange(9), size=4, rng=rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    next(epoch)
    assert rng.bit_generator.state != np.random.default_rng(0).bit_generator.state


def test_the_index_moves_to_the_device_of_each_array():
    """An array of another library is indexed by arrays of that library."""
    class Index(np.ndarray):
        pass

    class Library:
        @staticmethod
        def asarray(array):
            return array.view(Index)

    class Elsewhere:
        dtype = np.dtype("float32")

        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __array_namespace__(self):
            return Library

        def __getitem__(self, index):
            assert isinstance(index, slice | Index)
            return Elsewhere(self.rows[index])

    x, y = np.arange(10), Elsewhere(np.arange(10))
    for a, b in data.batches(x, y, size=4, rng=np.random.default_rng(0)):
        assert type(a) is np.ndarray
        np.testing.assert_array_equal(a, b.rows)


@pytest.mark.parametrize(("lengths", "options", "message"), [
    ((5, 4), {"size": 2}, r"arrays of \[5, 4\] rows, expected equal numbers"),
    ((0,), {"size": 2}, "arrays of 0 rows, expected at least 1"),
    ((0, 0), {"size": 2}, "arrays of 0 rows, expected at least 1"),
    ((5,), {"size": 0}, "size=0, expected at least 1"),
    ((5,), {"size": -1}, "size=-1, expected at least 1"),
    ((5,), {"size": 6, "drop_last": True}, "drop_last leaves no batch of size=6 out of 5 rows"),
    ((5,), {"size": 2, "start": 4}, "start=4, expected 0 to 3"),
    ((5,), {"size": 2, "start": -1}, "start=-1, expected 0 to 3"),
])
def test_batches_refuses(lengths, options, message):
    with pytest.raises(ValueError, match=f"^batches: {message}"):  # at the call, before the first batch
        data.batches(*(np.zeros(n) for n in lengths), **options)


@pytest.mark.parametrize(("arrays", "options", "message"), [
    (((np.ones((6, 2)), np.ones(6)),), {}, r"got a tuple of arrays; write batches\(x, y, size=…\)"),
    (([np.ones((6, 2)), np.ones(6)],), {}, "got a list of arrays; write batches"),
    (([1, 2, 3],), {}, r"expected arrays \(N, …\), got a list; pass np.array\(x\)"),
    ((np.ones(6), None), {}, "expected arrays .*, got None"),
    (({"x": np.ones(6)},), {}, "expected arrays .*, got a dict"),
    (("abc",), {}, "expected arrays .*, got a str"), ((np.array(3.0),), {}, "got an array without axes"),
    ((np.float32(3),), {}, "got an array without axes"),
    ((np.ones(6),), {"size": 2.0}, "size=2.0, expected a whole number"),
    ((np.ones(6),), {"size": "2"}, "size='2', expected a whole"),
    ((np.ones(6),), {"size": None}, "size=None, expected a"),
    ((np.ones(6),), {"start": 1.5}, "start=1.5, expected a whole"),
    ((np.ones(6),), {"rng": 3}, "rng must be .*, got an int 3"),
])
def test_batches_of_what_is_no_array(arrays, options, message):
    with pytest.raises((TypeError, ValueError), match=f"^batches: {message}"):
        data.batches(*arrays, **({"size": 2} | options))


def test_batches_of_frames_and_of_pytorch():
    pandas = pytest.importorskip("pandas")
    for x in (pandas.DataFrame({"a": [1, 2]}), pandas.Series([1, 2])):
        with pytest.raises(TypeError, match=r"^batches: expected arrays .*, got a pandas .*; pass x.to_numpy\(\)"):
            data.batches(x, size=1)
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="^batches: expected arrays .*, got a PyTorch Tensor; pass x.detach"):
        data.batches(torch.zeros(3, 2), size=1)


def test_numpy_integers_are_sizes():
    assert [len(x) for x in data.batches(np.ones(7), size=np.int64(3), start=np.array(1), rng=generator(0))] == [3, 1]


def test_batches_of_tensors_are_tensors():
    x, y = np.arange(14.0).reshape(7, 2), np.arange(7)
    for seed in (None, 0):
        rng, same = (seed if seed is None else generator(seed) for _ in range(2))
        pairs = zip(data.batches(Tensor(x), y, size=3, rng=rng), data.batches(x, y, size=3, rng=same), strict=True)
        for (a, labels), (expected, same_labels) in pairs:
            assert isinstance(a, Tensor)
            np.testing.assert_array_equal(a.data, expected)
            np.testing.assert_array_equal(labels, same_labels)


def test_batches_of_nothing():
    with pytest.raises(TypeError, match="batches: no arrays given"):
        data.batches(size=3)


# ---------------------------------------------------------------- points in the plane

@pytest.mark.parametrize("draw", [data.toy2d.ring, data.toy2d.grid, data.toy2d.moons, data.toy2d.swiss_roll])
def test_toy_points(draw):
    points, labels = draw(500, np.random.default_rng(3))
    assert points.shape == (500, 2) and points.dtype == np.float32
    assert labels.shape == (500,)
    assert labels.dtype == (np.float32 if draw is data.toy2d.swiss_roll else np.int64)
    again, _ = draw(500, np.random.default_rng(3))
    np.testing.assert_array_equal(points, again)
    assert (points != draw(500, np.random.default_rng(4))[0]).any()
    assert draw(0, np.random.default_rng(3))[0].shape == (0, 2)


@pytest.mark.parametrize(("draw", "centers", "std"), [
    (data.toy2d.ring, data.toy2d.ring_centers(), 0.02),
    (data.toy2d.grid, data.toy2d.grid_centers(), 0.05),
    (partial(data.toy2d.ring, modes=5, radius=0.5, std=0.1), data.toy2d.ring_centers(5, 0.5), 0.1),
    (partial(data.toy2d.grid, side=2, spacing=3, std=0.1), data.toy2d.grid_centers(2, 3), 0.1),
])
def test_gaussians_have_their_centers_and_spread(draw, centers, std):
    points, mode = draw(40_000, np.random.default_rng(0))
    share = np.bincount(mode, minlength=len(centers)) / len(points)
    np.testing.assert_allclose(share, 1 / len(centers), rtol=0.15)
    np.testing.assert_allclose((points - centers[mode]).std(axis=0), std, rtol=0.03)
    for number, center in enumerate(centers):
        np.testing.assert_allclose(points[mode == number].mean(axis=0), center, atol=6 * std / 30)


def test_centers():
    cross = [[3, 0], [0, 3], [-3, 0], [0, -3]]
    np.testing.assert_allclose(data.toy2d.ring_centers(4, 3.0), cross, atol=1e-12)
    assert {tuple(center) for center in data.toy2d.grid_centers(3, 2.0)} == {
        (i, j) for i in (-2.0, 0.0, 2.0) for j in (-2.0, 0.0, 2.0)}


def test_moons_and_swiss_roll_lie_on_their_curves():
    points, label = data.toy2d.moons(2000, np.random.default_rng(0), noise=0)
    from_center = points - np.where(label[:, None] == 0, [0, 0], [1, 0.5])
    np.testing.assert_allclose(np.hypot(*from_center.T), 1, atol=1e-6)
    assert (from_center[label == 0, 1] >= -1e-6).all() and (from_center[label == 1, 1] <= 1e-6).all()
    assert 0.45 < label.mean() < 0.55

    points, t = data.toy2d.swiss_roll(2000, np.random.default_rng(0), noise=0)
    np.testing.assert_allclose(points, t[:, None] / 10 * np.stack([np.cos(t), np.sin(t)], axis=1), atol=1e-6)
    assert 1.5 * np.pi <= t.min() < 4.8 and 14.1 < t.max() <= 4.5 * np.pi + 1e-5

    for draw in (data.toy2d.moons, data.toy2d.swiss_roll):
        clean, noisy = (draw(20_000, np.random.default_rng(0), noise=noise)[0] for noise in (0, 0.2))
        np.testing.assert_allclose((noisy - clean).std(axis=0), 0.2, rtol=0.03)
