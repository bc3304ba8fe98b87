"""Points in the plane: read from a file, measured, drawn."""

import numpy as np
import pytest

from scratchnet import metrics, plotting
from scratchnet.data import toy2d
from scratchnet.plotting.figure import figure


def rng(seed=0):
    return np.random.default_rng(seed)


# ---------------------------------------------------------------- points from the user's files

@pytest.mark.parametrize("text", ["1,2\n-3.5,4e1\n", "x,y\n1,2\n-3.5,40\n", "\ufeff1,2\r\n\r\n-3.5, 40",
                                  "a b,c\n1,2\n-3.5,40"])
def test_points_are_read(tmp_path, text):
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    points = toy2d.read_points(tmp_path / "points.csv")
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, [[1, 2], [-3.5, 40]])


@pytest.mark.parametrize(("text", "message"), [
    ("1,2\n3\n", "line 2: '3', expected two finite numbers"), ("1,2\nx,y\n", "line 2: 'x,y', expected two finite"),
    ("1,2,3\n", "line 1: '1,2,3', expected two"), ("a,b,c\n1,2\n", "line 1: 'a,b,c', expected two"),
    ("1,2\n\n3,nan\n", "line 3: '3,nan', expected two finite"), ("1;2\n", "line 1: '1;2', expected two"),
    ("1.0,2.0x\n3,4\n", "line 1: '1.0,2.0x', expected two"), ("nan,1\n3,4\n", "line 1: 'nan,1', expected two"),
    ("", "holds no points, expected lines"), ("x,y\n", "holds no points, expected lines"), ("1,2\n3,inf", "line 2")])
def test_files_without_points_are_refused(tmp_path, text, message):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        toy2d.read_points(path)
    assert str(caught.value).startswith(f"read_points: {path}")
    with pytest.raises(FileNotFoundError):
        toy2d.read_points(tmp_path / "nothing.csv")


@pytest.mark.parametrize(("text", "message"), [
    ("1,2\n1e39,2\n", r"column 1 has 1e\+39, but float32 holds"),
    ("1,-4e38", r"column 2 has -4e\+38, but float32 holds"),
    ("1,1e-50", "column 2 has 1e-50, but float32 holds"), ("1e400,1\n", "line 1: '1e400,1', expected two finite"),
    ("1_000,2\n", "line 1: '1_000,2', expected two"), ("1_000,2_000\n3,4\n", "line 1: '1_000,2_000', expected two"),
    ("nan,NaN\n1,2\n", "line 1: 'nan,NaN', expected two"), ("N/A,-inf\n1,2\n", "line 1: 'N/A,-inf', expected two"),
    (",\n1,2\n", "line 1: ',', expected two"),
    ("true,false\n1,2\n", "line 1: 'true,false', expected two"), ("x,No\n1,2\n", "line 1: 'x,No', expected two"),
    ("1,2\nTrue,3\n", "line 2: 'True,3', expected two"), ("1.0x,2.0x\n1,2\n", "line 1: '1.0x,2.0x', expected two"),
    ('"x,y\n1,2\n', "line 1: unexpected end of data: is a quote left open there"),
    ('"x,y\n' + "1.0,2.0\n" * 30_000, "line 1: field larger than field limit .*: is a quote left open there"),
    ('x,y\n1,2\n3,"4\n5,6\n', "line 3: unexpected end of data: is a quote left open there"),
    ('"two\nlines",y\n1,2\n3,x\n', "line 4: '3,x', expected two")])
def test_lines_without_a_point_are_named(tmp_path, text, message):
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^read_points: {path}, {message}"):
        toy2d.read_points(path)


@pytest.mark.parametrize(("content", "message"), [
    ("x,y\n1,2\n".encode("utf-16"), "UTF-16 text, expected UTF-8"), ("1,2".encode("utf-32"), "UTF-32 text"),
    ("x,y\n1,2\n".encode("utf-16-le"), "not UTF-8 text: it has NUL bytes, like UTF-16"),
    (b"1,2\n3\x00,4\n", "not UTF-8 text: it has NUL bytes"),
    ("长度,宽度\n1,2\n".encode("gbk"), "not UTF-8 text: .*in GBK it reads '长度,宽度'"),
    ("長さ,幅\n1,2\n".encode("shift_jis"), "not UTF-8 text: .*in Shift_JIS it reads '長さ,幅'"),
    ("größe,x\n1,2\n".encode("latin-1"), "not UTF-8 text: .*in Windows-1252 it reads 'größe,x'"),
    (b"\xff\xd8\xff\xe0\x01", "not UTF-8 text: invalid start byte at byte 0$")])
def test_points_in_another_encoding(tmp_path, content, message):
    (tmp_path / "points.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"^read_points: {tmp_path / 'points.csv'} is {message}"):
        toy2d.read_points(tmp_path / "points.csv")


def test_numbers_that_float32_merges_are_refused(tmp_path):
    path, other = tmp_path / "points.csv", rng().random(300)

    def read(x):
        np.savetxt(path, np.stack([np.resize(other, len(x)), x], axis=1), delimiter=",")
        return toy2d.read_points(path)
    for x in (1.6e9 + np.arange(300) / 10, 1.6e9 + 60.0 * np.arange(300), 2.0**24 + np.arange(50), 1e6 + 0.01 * other,
              -1e5 - other / 100):
        with pytest.raises(ValueError, match=r"column 2: of \d+ different numbers .* subtract an offset such as"):
            read(x)
        assert len(np.unique(read(x - x[0])[:, 1])) == len(x)
    for x in (rng().standard_normal(50_000), 1 + rng().random(50_000), np.full(10, 1e9), 1e6 * np.arange(300)):
        np.testing.assert_array_equal(read(x)[:, 1], x.astype(np.float32))  # two of them may coincide by chance


def test_missing_files_of_points(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.csv"):
        toy2d.read_points(tmp_path / "nothing.csv")
    with pytest.raises(IsADirectoryError):
        toy2d.read_points(tmp_path)
    for wrong in (None, 3, np.zeros((3, 2))):
        with pytest.raises(TypeError, match="^read_points: expected the path of a CSV file, got "):
            toy2d.read_points(wrong)


@pytest.mark.parametrize(("call", "message"), [
    (lambda r: toy2d.ring(2.5, r), "ring: n is a whole number ≥ 0, got 2.5"),
    (lambda r: toy2d.grid(-1, r), "grid: n is a whole number ≥ 0, got -1"),
    (lambda r: toy2d.moons("3", r), "moons: n is a whole number ≥ 0, got '3'"),
    (lambda r: toy2d.ring(3, r, std=-1.0), "ring: std is a number ≥ 0, got -1.0"),
    (lambda r: toy2d.swiss_roll(3, r, np.nan), "swiss_roll: noise is a number ≥ 0, got nan"),
    (lambda r: toy2d.ring(3, r, modes=0), "ring_centers: modes is a whole number ≥ 1, got 0"),
    (lambda r: toy2d.grid(3, r, side=1.5), "grid_centers: side is a whole number ≥ 1, got 1.5"),
    (lambda r: toy2d.ring(3, r, radius=np.inf), "ring_centers: radius is a number, got inf"),
    (lambda r: toy2d.ring(3, 0), r"ring: rng must be a generator such as np.random.default_rng\(0\), got an int 0"),
    (lambda r: toy2d.moons(3, None), "moons: rng must be a generator .*, got None")])
def test_points_that_cannot_be_drawn(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        call(rng())


def test_numpy_numbers_draw_the_same_points():
    points = toy2d.ring(np.int64(9), rng(), np.int32(5), np.float32(2), np.float64(0.1))[0]
    np.testing.assert_array_equal(points, toy2d.ring(9, rng(), 5, 2.0, 0.1)[0])


# ---------------------------------------------------------------- modes covered, energy distance

def test_modes_covered_by_hand():
    centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    samples = np.array([[0.0, 0.29], [10.0, 0.31], [9.9, 0.1], [0.2, -0.2], [0.25, 0.2]])
    assert metrics.modes_covered(samples, centers, 0.1) == (2, 3 / 5)
    assert metrics.modes_covered(samples + 100, centers, 0.1) == (0, 0.0)
    assert metrics.modes_covered(centers, centers, 0.1) == (3, 1.0)
    # (4, 0) is within 3 std of two centers, of one just so, and belongs to the nearer
    assert metrics.modes_covered(np.array([[4.0, 0.0]]), centers, 2.0) == (1, 1.0)


def test_modes_of_the_mixture_itself():
    """Three standard deviations in the plane hold 1 − e^(−9/2) of a Gaussian."""
    points, _ = toy2d.grid(200_000, rng())
    modes, quality = metrics.modes_covered(points, toy2d.grid_centers(), 0.05)
    assert modes == 25 and quality == pytest.approx(1 - np.exp(-4.5), abs=5e-4)


def test_energy_distance():
    x, y = rng(1).normal(size=(30, 3)), rng(2).normal(size=(20, 3)) + 0.5

    def naive(a, b):
        return sum(np.sqrt(((p - q)**2).sum()) for p in a for q in b) / (len(a) * len(b))
    expected = 2 * naive(x, y) - naive(x, x) - naive(y, y)
    assert metrics.energy_distance(x, y) == pytest.approx(expected) == metrics.energy_distance(y, x)
    assert metrics.energy_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert metrics.energy_distance(np.zeros((1, 1)), np.full((5, 1), 3.0)) == pytest.approx(6)
    scipy = pytest.importorskip("scipy.stats")
    a, b = rng(3).normal(size=50), rng(4).normal(size=70) * 2
    assert metrics.energy_distance(a[:, None], b[:, None]) == pytest.approx(scipy.energy_distance(a, b)**2)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: metrics.energy_distance(np.zeros((3, 2)), np.zeros((3, 1))), r"^energy_distance: samples \(3, 2\) and"),
    (lambda: metrics.energy_distance(np.zeros((0, 2)), np.zeros((3, 2))), "^energy_distance: x is empty"),
    (lambda: metrics.energy_distance(np.zeros((3, 2)), np.full((3, 2), np.nan)), "^energy_distance: y has NaN"),
    (lambda: metrics.modes_covered(np.zeros((3, 2)), np.zeros((3, 2)), 0.0), "^modes_covered: std must be > 0, got 0"),
    (lambda: metrics.modes_covered(np.full((3, 2), np.inf), np.zeros((3, 2)), 1.0), "^modes_covered: samples has NaN"),
    (lambda: metrics.modes_covered(np.zeros((3, 2)), np.zeros((0, 2)), 1.0), "^modes_covered: centers is empty")])
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- pictures

def test_points_are_drawn(tmp_path):
    real = rng().normal(size=(50, 2))
    plotting.points({"a": real[:10], "b": real[10:20]}, real, "Title", tmp_path / "points.png")
    assert (tmp_path / "points.png").stat().st_size > 5_000
    with pytest.raises(ValueError, match=r"^points: a has shape \(10,\), expected \(N, 2\), all finite"):
        plotting.points({"a": real[:10, 0]}, real, "", tmp_path / "other.png")
    with pytest.raises(ValueError, match="^points: real has shape"):
        plotting.points({"a": real}, real * np.nan, "", tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


def test_panels_stand_in_rows(tmp_path):
    with figure(tmp_path / "rows.png", 2.0, 1.0, "Title", "abcde", columns=3) as axes:
        places = [tuple(np.round(ax.get_position().bounds, 2)) for ax in axes]
    assert places == [(0, 0, 1, 1), (1.45, 0, 1, 1), (2.9, 0, 1, 1), (0, -1.9, 1, 1), (1.45, -1.9, 1, 1)]
    assert [ax.get_title(loc="left") for ax in axes] == ["a", "b", "c", "d", "e"]


def test_a_frame_of_the_plane_has_everything_in_its_place():
    real, fake = np.array([[0.5, 0.5]]), np.array([[-0.5, -0.5]])
    values = np.zeros((20, 20))
    values[:10, 10:] = 1.0                                                    # below, to the right
    pixels = plotting.plane_frame(values, (-1, 1, -1, 1), real, fake, np.array([[1.0, 0.0]]), "text")
    assert pixels.shape == (480, 480, 3) and pixels.dtype == np.uint8

    blank = plotting.plane_frame(np.ones((20, 20)), (-1, 1, -1, 1), real + 9, fake + 9, np.zeros((1, 2)), "text")
    grey = (blank == blank[240, 240]).all(axis=2)                             # where the axes lie
    rows, columns = np.nonzero(grey.sum(axis=1) > 200)[0], np.nonzero(grey.sum(axis=0) > 200)[0]
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()

    def at(x, y):
        row, column = bottom - (bottom - top) * (y + 1) / 2, left + (right - left) * (x + 1) / 2
        return pixels[round(row), round(column)].astype(int)
    assert at(-0.7, 0.7).min() > 240 and at(0.7, -0.7).max() < 150            # paper, and dark where D says real
    near = [at(0.5 + dx, 0.5 + dy) for dx in np.arange(-4, 5) / 200 for dy in np.arange(-4, 5) / 200]
    assert max(pixel[2] - pixel[0] for pixel in near) > 30                    # blue
    above_and_below = np.arange(-2, 3) / 200
    assert min(at(-0.4, -0.5 + d).max() for d in above_and_below) < 100       # the arrow points to the right
    assert min(at(-0.6, -0.5 + d).min() for d in above_and_below) > 240
    again = plotting.plane_frame(values, (-1, 1, -1, 1), real, fake, np.zeros((1, 2)), "another text")
    assert again.shape == pixels.shape                                        # no arrow, and no error
    with pytest.raises(ValueError, match=r"^plane_frame: values \(20,\), generated \(1, 2\), arrows \(1, 2\), exp"):
        plotting.plane_frame(values[0], (-1, 1, -1, 1), real, fake, np.zeros((1, 2)), "")
    with pytest.raises(ValueError, match=r"arrows \(2, 2\), expected"):
        plotting.plane_frame(values, (-1, 1, -1, 1), real, fake, np.zeros((2, 2)), "")
