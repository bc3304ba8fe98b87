"""Pictures are read back pixel by pixel; figures are caught as they are saved, and their lines and texts read."""

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from PIL import Image

from scratchnet import Tensor, plotting
from scratchnet.plotting import (
    curves,
    figure,
    frame,
    heat_map,
    image_grid,
    image_rows,
    matrices,
    read_log,
    save_gif,
    scatter,
    table,
)
from scratchnet.plotting.images import GAP


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@pytest.fixture
def drawn(monkeypatch):
    """The list of axes drawn in this test, as they were when saved."""
    axes = []

    class Caught(figure.Figure):
        def savefig(self, *args, **kwargs):
            axes.extend(self.axes)
            super().savefig(*args, **kwargs)

    monkeypatch.setattr(figure, "Figure", Caught)
    return axes


def texts(labels):
    return [label.get_text() for label in labels]


# ---------------------------------------------------------------- frames

def test_frame_by_hand():
    zero, one, half = (np.full((1, 2, 3, 1), value) for value in (0.0, 1.0, 0.5))
    sheet = frame(np.concatenate([zero, one, half]), columns=2, scale=1)
    expected = np.full((2 * (2 + GAP) + GAP, 2 * (3 + GAP) + GAP), 255)  # white paper, also where there is no image
    expected[GAP:GAP + 2, 2 * GAP + 3:2 * GAP + 6] = 0                   # ink
    expected[2 * GAP + 2:2 * GAP + 4, GAP:GAP + 3] = 255 - 128           # half of it, and 127.5 rounds to 128
    assert sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet, expected)


def test_frame_is_enlarged_without_blur():
    x = noise(5, 4, 3, 1)
    np.testing.assert_array_equal(frame(x, 2, scale=3), np.kron(frame(x, 2, scale=1), np.ones((3, 3), int)))
    np.testing.assert_array_equal(frame(x, 2), frame(x, 2, scale=3))


def test_colours_stay_as_they_are():
    x = noise(3, 4, 5, 3)
    sheet = frame(x, 2, scale=1)
    assert sheet.shape == (2 * (4 + GAP) + GAP, 2 * (5 + GAP) + GAP, 3)
    np.testing.assert_array_equal(sheet[GAP:GAP + 4, 2 * GAP + 5:2 * GAP + 10], np.rint(255 * x[1]))


def test_no_more_columns_than_images_and_no_wrapping_round():
    x = np.array([-3.0, 0.0, 1.0, 1.7]).reshape(4, 1, 1, 1)
    sheet = frame(x, columns=10, scale=1)
    assert sheet.shape == (1 + 2 * GAP, 4 * (1 + GAP) + GAP)
    np.testing.assert_array_equal(sheet[GAP, GAP::1 + GAP], [255, 255, 0, 0])  # clipped


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bool"])
def test_frame_takes_tensors_and_every_kind_of_float(dtype):
    x = (noise(3, 4, 5, 1) > 0.5).astype(dtype)
    before = x.copy()
    expected = frame(x.astype("float32"), 2)
    np.testing.assert_array_equal(frame(x, 2), expected)
    np.testing.assert_array_equal(frame(Tensor(x, requires_grad=dtype != "bool"), 2), expected)
    np.testing.assert_array_equal(x, before)


BAD_IMAGES = [
    (noise(28, 28, 1), ValueError, r"images \(28, 28, 1\), expected \(N, H, W, 1\) or \(N, H, W, 3\)"),
    (noise(4, 28, 28), ValueError, r"images \(4, 28, 28\)"),
    (noise(4, 28, 28, 2), ValueError, r"images \(4, 28, 28, 2\)"),
    (noise(4, 3, 28, 28), ValueError, r"images \(4, 3, 28, 28\)"),
    (noise(0, 28, 28, 1), ValueError, r"images \(0, 28, 28, 1\)"),
    (noise(4, 0, 28, 1), ValueError, r"images \(4, 0, 28, 1\)"),
    ([], ValueError, r"images \(0,\)"),
    (np.array([0, np.nan, np.inf, 1]).reshape(1, 2, 2, 1), ValueError, "2 pixels are NaN or infinite"),
    (np.full((4, 28, 28, 1), 200, np.uint8), TypeError, "images of uint8, expected floats in"),
]


@pytest.mark.parametrize(("images", "error", "message"), BAD_IMAGES)
def test_bad_images(tmp_path, images, error, message):
    with pytest.raises(error, match=f"^frame: .*{message}"):
        frame(images, 2)
    with pytest.raises(error, match=f"^image_grid: .*{message}"):
        image_grid(images, 2, "title", tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("columns", "scale"), [(0, 1), (-1, 1), (2, 0), (2, -1)])
def test_frame_refuses_sizes(columns, scale):
    with pytest.raises(ValueError, match=f"^frame: columns is {columns}, expected .* scale, which is {scale}$"):
        frame(noise(4, 2, 2, 1), columns, scale)


def test_labels_stand_beside_the_rows_of_a_frame():
    x = noise(5, 20, 21, 1)
    sheet = frame(x, 3)
    labelled = frame(x, 3, labels=["first row", "second\nrow"])
    margin = labelled.shape[1] - sheet.shape[1]
    np.testing.assert_array_equal(labelled[:, margin:], sheet)
    first, second = labelled[:3 * (20 + GAP), :margin], labelled[3 * (20 + GAP):, :margin]
    assert margin > 50 and first.min() < 64 and second.min() < 64
    rows = [np.flatnonzero((part < 128).any(axis=1)) for part in (first, second)]
    assert all(abs(row.mean() - 33) < 5 for row in rows) and np.ptp(rows[1]) > np.ptp(rows[0])  # in their middles
    assert frame(noise(2, 20, 21, 3), 1, labels=["a", "b"]).shape[2] == 3
    with pytest.raises(ValueError, match="^frame: 3 labels for 2 rows"):
        frame(x, 3, labels=["a", "b", "c"])
    with pytest.raises(TypeError, match="^frame: labels must be a list, got an int 5"):
        frame(x, 3, labels=5)


def test_save_frame(tmp_path):
    for channels in (1, 3):
        plotting.save_frame(frame(noise(5, 4, 3, channels), 2), tmp_path / "new" / "folder" / "frame.png")
        with Image.open(tmp_path / "new" / "folder" / "frame.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), frame(noise(5, 4, 3, channels), 2))


# ---------------------------------------------------------------- sheets of images

def find(picture, part):
    """(row, column) at which `part` lies in `picture`, both (H, W); None if it does not."""
    h, w = part.shape
    windows = np.lib.stride_tricks.sliding_window_view(picture, w, axis=1)
    for i, j in np.argwhere((windows == part[0]).all(axis=2)):
        if np.array_equal(picture[i:i + h, j:j + w], part):
            return i, j
    return None


def grey(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


@pytest.mark.parametrize(("N", "columns", "zoom"), [(7, 3, 4), (24, 12, 3), (40, 20, 2), (99, 99, 1)])
def test_grid_shows_every_pixel_upright_as_dark_ink(tmp_path, N, columns, zoom):
    x = noise(N, 28, 28, 1)
    image_grid(x, columns, "A title", tmp_path / "grid.png", "$z_1$", "$z_2$")
    sheet = frame(x, columns, scale=zoom)
    where = find(grey(tmp_path / "grid.png"), sheet[GAP * zoom:-GAP * zoom, GAP * zoom:-GAP * zoom])
    assert where is not None
    np.testing.assert_array_equal(where > np.array([20, 20]), [True, True])  # room for the title and the label


def test_grid_in_colour(tmp_path):
    x = noise(4, 8, 8, 3)
    image_grid(x, 4, "Colours", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        red = np.asarray(picture.convert("RGB"))[..., 0]
    assert find(red, frame(x, 4, scale=4)[..., 0][8:-8, 8:-8]) is not None


def test_rows_of_images(tmp_path, drawn):
    a, b = noise(5, 6, 7, 1), noise(5, 6, 7, 1, seed=1)
    image_rows([a, Tensor(b, requires_grad=True)], ["input", "reconstruction"], "Two rows", tmp_path / "rows.png")
    assert find(grey(tmp_path / "rows.png"), frame(np.concatenate([a, b]), 5, scale=4)[8:-8, 8:-8]) is not None
    axes, = drawn
    assert axes.get_title("left") == "Two rows"
    assert texts(axes.get_yticklabels()) == ["input", "reconstruction"]
    np.testing.assert_allclose(axes.get_yticks(), [GAP + 2.5, 2 * GAP + 8.5])  # the middles of rows of six pixels
    assert texts(axes.get_xticklabels()) == []


def test_ticks_of_a_grid_of_codes(tmp_path, drawn):
    image_grid(noise(6, 4, 8, 1), 3, "Codes", tmp_path / "map.png", "$z_1$", "$z_2$", ["-1", "0", "1"], ["1", "-1"])
    axes, = drawn
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")
    assert texts(axes.get_xticklabels()) == ["-1", "0", "1"]
    assert texts(axes.get_yticklabels()) == ["1", "-1"]
    np.testing.assert_allclose(axes.get_xticks(), [GAP + 3.5, 2 * GAP + 11.5, 3 * GAP + 19.5])
    np.testing.assert_allclose(axes.get_yticks(), [GAP + 1.5, 2 * GAP + 5.5])
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top


def test_coordinates_of_a_grid_have_one_decimal_and_a_minus(tmp_path, drawn):
    image_grid(noise(6, 4, 4, 1), 3, "Codes", tmp_path / "map.png", xticks=np.array([-1.26, -0.04, 3]), yticks=[2, "b"])
    assert texts(drawn[0].get_xticklabels()) == ["−1.3", "0.0", "3.0"]
    assert texts(drawn[0].get_yticklabels()) == ["2", "b"]


def test_a_long_title_is_wrapped_and_not_cut(tmp_path, drawn):
    title = "A title that is much too long for so small a picture and so goes on in a second line"
    image_grid(noise(1, 28, 28, 1), 1, title, tmp_path / "grid.png")
    shown = drawn[0].get_title("left")
    assert "\n" in shown and shown.replace("\n", " ") == title
    picture = grey(tmp_path / "grid.png")
    assert (picture[:3] == 255).all() and (picture[:, -3:] == 255).all()  # the margin is clean, so nothing was cut


@pytest.mark.parametrize(("rows", "labels", "message"), [
    ([], [], r"0 labels for 0 rows of shapes \[\]"),
    ([noise(2, 4, 4, 1)], ["a", "b"], "2 labels for 1 rows"),
    ([noise(2, 4, 4, 1), noise(3, 4, 4, 1)], ["a", "b"], r"\(2, 4, 4, 1\), \(3, 4, 4, 1\)"),
    ([noise(2, 4, 4, 1), noise(2, 4, 4, 3)], ["a", "b"], r"\(2, 4, 4, 3\)"),
    ([noise(2, 4, 4)], ["a"], r"\(2, 4, 4\)"),
    ([noise(0, 4, 4, 1)], ["a"], r"images \(0, 4, 4, 1\)"),
    ([np.full((1, 4, 4, 1), np.nan)], ["a"], "16 pixels are NaN"),
])
def test_rows_refused(tmp_path, rows, labels, message):
    with pytest.raises(ValueError, match=f"^image_rows: .*{message}"):
        image_rows(rows, labels, "title", tmp_path / "rows.png")


def test_grid_refused(tmp_path):
    with pytest.raises(ValueError, match="^image_grid: columns is 0"):
        image_grid(noise(4, 2, 2, 1), 0, "title", tmp_path / "grid.png")
    with pytest.raises(ValueError, match="^image_grid: 3 ticks for 2 columns"):
        image_grid(noise(4, 2, 2, 1), 2, "title", tmp_path / "grid.png", xticks=[1, 2, 3])


# ---------------------------------------------------------------- curves and points

def test_curves(tmp_path, drawn):
    steps = np.arange(100)
    holes = np.where(steps % 10 == 0, steps**2.0, np.nan)
    lines = {"loss": (steps, np.sqrt(steps)), "validation": (steps, holes), "short": ([1, 2], Tensor([3.0, 4.0]))}
    curves(lines, "step", "nats per image", "Loss", tmp_path / "loss.png")
    axes, = drawn
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")) == ("step", "nats per image", "Loss")
    assert texts(axes.get_legend().get_texts()) == ["loss", "validation", "short"]
    loss, validation, short = axes.lines
    np.testing.assert_array_equal(loss.get_xydata(), np.stack([steps, np.sqrt(steps)], axis=1))
    np.testing.assert_array_equal(validation.get_xydata(), [(k, k**2) for k in range(0, 100, 10)])
    np.testing.assert_array_equal(short.get_xydata(), [(1, 3), (2, 4)])


def test_names_are_drawn_as_they_stand(tmp_path, drawn):
    """Dollars are no math, and an underscore hides no line; powers on a logarithmic axis are plain numbers."""
    names = ["_a", "a^$b^$", "__", r"\\frac$1$"]
    curves({name: ([1, 10_000], [1e-3, 1]) for name in names}, "$x^$", "y_$^$", "a^$b^$.csv", tmp_path / "a.png",
           "log", "log")
    assert texts(drawn[0].get_legend().get_texts()) == names and len(drawn[0].lines) == 4
    assert not any("$" in text for text in texts(drawn[0].get_xticklabels() + drawn[0].get_yticklabels()))
    scatter({"$^$": noise(4, 2)}, np.array([0, 1, 1, 0]), "$^$", tmp_path / "b.png", names=["$_^$", "_b"])
    image_rows([noise(2, 4, 4, 1)], ["$^$"], "$^$", tmp_path / "c.png")
    assert all((tmp_path / name).exists() for name in ("a.png", "b.png", "c.png"))


def test_lines_can_be_told_apart_in_grey(tmp_path, drawn):
    curves({f"line {k}": ([0, 1], [k, k]) for k in range(6)}, "x", "y", "Six", tmp_path / "six.png")
    lines = drawn[0].lines
    assert len({line.get_marker() for line in lines}) == 6
    assert len({str(line._dash_pattern) for line in lines}) == 6
    legend = drawn[0].get_legend().get_window_extent()
    assert legend.x0 >= drawn[0].get_window_extent().x1  # beside the lines, not over them


@pytest.mark.parametrize(("lines", "message"), [
    ({}, "0 lines, expected 1 to 6"),
    ({k: ([0], [0]) for k in range(7)}, "7 lines"),
    ({"loss": ([0, 1], [0])}, r"'loss' has steps \(2,\) and values \(1,\)"),
    ({"loss": ([[0]], [[0]])}, r"'loss' has steps \(1, 1\)"),
    ({"loss": ([], [])}, "'loss' has no finite point"),
    ({"loss": ([0, 1], [np.nan, np.inf])}, "'loss' has no finite point"),
])
def test_curves_refuse(tmp_path, lines, message):
    with pytest.raises(ValueError, match=f"^curves: {message}"):
        curves(lines, "x", "y", "title", tmp_path / "loss.png")
    assert not list(tmp_path.iterdir())


def test_lines_that_share_a_colour(tmp_path, drawn):
    names = ["masking: denoiser", "masking: plain", "noise: denoiser", "noise: plain"]
    curves({name: ([1, 2], [k, k]) for k, name in enumerate(names)}, "x", "y", "", tmp_path / "a.png", per_colour=2)
    a, b, c, d = drawn[0].lines
    assert a.get_color() == b.get_color() != c.get_color() == d.get_color()
    assert a.get_linestyle() == c.get_linestyle() != b.get_linestyle() == d.get_linestyle()
    assert a.get_marker() == b.get_marker() != c.get_marker()


def test_limits_and_ticks(tmp_path, drawn):
    lines = {"a": ([100, 10_000], [500.0, 3.0])}
    curves(lines, "x", "y", "", tmp_path / "a.png", "log", ylim=(None, 200), xticks=(100, 10_000))
    curves(lines, "x", "y", "", tmp_path / "b.png", yscale="log", ylim=(1, None))
    first, second = drawn
    assert first.get_ylim()[1] == 200 and first.get_ylim()[0] < 3
    assert texts(first.get_xticklabels()) == ["100", "10,000"]
    assert second.get_ylim()[0] == 1
    shown = [label.get_text() for label, place in zip(second.get_yticklabels(), second.get_yticks(), strict=True)
             if 1 <= place <= second.get_ylim()[1]]
    assert shown == ["1", "2", "5", "10", "20", "50", "100", "200", "500"]


def test_training_curves(tmp_path, drawn):
    for name, n in (("long", 600), ("short", 300)):
        steps = np.arange(1, n + 1)
        rows = "\n".join(f"{step},{10 * step},{-step}" for step in steps)
        (tmp_path / f"{name}.csv").write_text(f"step,loss,kl\n{rows}\n")
    plotting.training_curves({"a": (tmp_path / "long.csv", "loss"), "b": (tmp_path / "short.csv", "kl")}, "nats", "",
                             tmp_path / "a.png")
    assert drawn[0].get_xlabel() == "training step, means of 4 steps"
    a, b = (line.get_xydata() for line in drawn[0].lines)
    np.testing.assert_allclose(a, [(s, 10 * s) for s in np.arange(2.5, 600, 4)])
    np.testing.assert_allclose(b, [(s, -s) for s in np.arange(2.5, 300, 4)])
    (tmp_path / "short.csv").write_text("step,loss,kl\n1,2,3\n2,4,5\n")
    plotting.training_curves({"a": (tmp_path / "short.csv", "loss")}, "nats", "", tmp_path / "a.png")
    assert drawn[1].get_xlabel() == "training step"
    np.testing.assert_array_equal(drawn[1].lines[0].get_xydata(), [(1, 2), (2, 4)])


def test_scatter(tmp_path, drawn):
    points, labels = noise(30, 2), np.repeat([7, 3, 5], [12, 10, 8])
    points[labels == 3] += 2
    panels = {"first": Tensor(points, requires_grad=True), "second": 2 * points}
    scatter(panels, labels, "Codes", tmp_path / "codes.png", "u", "v")
    axes, second = drawn
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")) == ("u", "v", "first")
    assert [(text.get_text(), text.get_weight()) for text in axes.figure.texts] == [("Codes", "bold")]
    assert second.get_title("left") == "second" and second.get_window_extent().x0 > axes.get_window_extent().x1
    np.testing.assert_array_equal(second.collections[0].get_offsets(), 2 * points[labels == 3])
    glyphs = set()
    for label, collection, name in zip([3, 5, 7], axes.collections, axes.texts, strict=True):
        np.testing.assert_array_equal(collection.get_offsets(), points[labels == label])
        assert name.get_text() == str(label)
        np.testing.assert_allclose(name.xy, np.median(points[labels == label], axis=0))
        glyphs.add(collection.get_paths()[0].vertices.tobytes())
        assert len(collection.get_paths()[0].vertices) == len(TextPath((0, 0), str(label)).vertices)  # the digit alone
    assert len(glyphs) == 3  # each class has a marker of its own
    assert axes.get_aspect() == 1.0


def test_names_of_clusters_hide_neither_each_other_nor_points(tmp_path, drawn):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    points = rng.standard_normal((200, 2)) + np.array([[3.0, 0.0]]) * (labels == 9)[:, None]   # nine lie on one another
    scatter({"": points}, labels, "", tmp_path / "digits.png")
    scatter({"": np.concatenate([points, [[20, 20]]])}, np.append(labels, 9), "", tmp_path / "names.png",
            names=[f"module{k}" for k in range(10)])
    for axes, size in zip(drawn, (16, 12), strict=True):
        assert [text.get_fontsize() for text in axes.texts] == [size] * 10
        boxes = [Text.get_window_extent(text).expanded(0.95, 0.6) for text in axes.texts]  # without room for g and Å
        assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
        assert all(text.arrow_patch is not None or text.xyann == (0, 0) for text in axes.texts)
    named = drawn[1]
    dots = named.transData.transform(np.concatenate([c.get_offsets() for c in named.collections]))
    covered = sum(box.contains(*dot) for box in boxes for dot in dots)
    assert covered < len(dots) / 4


def test_panels_share_their_part_of_the_plane(tmp_path, drawn):
    wide, narrow, labels = 10 * noise(30, 2), noise(30, 2), np.arange(30) % 3
    scatter({"wide": wide, "narrow": narrow, "enlarged": narrow, "t-SNE": wide}, labels, "", tmp_path / "a.png",
            shared=["wide", "narrow"], layouts=["t-SNE"])
    a, b, c, d = drawn
    assert a.get_xlim() == b.get_xlim() and a.get_ylim() == b.get_ylim() and a.get_xlim()[1] > 8
    assert c.get_xlim()[1] < 2 and c.get_xlabel() == "z₁"
    assert not len(d.get_xticks()) and not len(d.get_yticks()) and d.get_xlabel() == d.get_ylabel() == ""


@pytest.mark.parametrize(("points", "labels", "message"), [
    (noise(4, 3), np.zeros(4, int), r"points \(4, 3\)"),
    (noise(4), np.zeros(4, int), r"points \(4,\)"),
    (noise(4, 2), np.zeros(3, int), r"labels \(3,\)"),
    (noise(0, 2), np.zeros(0, int), r"points \(0, 2\)"),
    (noise(4, 2), np.zeros(4), "labels are float64, expected integers"),
    (np.full((4, 2), np.nan), np.zeros(4, int), "points must be finite"),
])
def test_scatter_refuses(tmp_path, points, labels, message):
    with pytest.raises(ValueError, match=f"^scatter: .*{message}"):
        scatter({"": points}, labels, "title", tmp_path / "codes.png")


def test_scatter_of_named_labels(tmp_path, drawn):
    scatter({"": noise(4, 2)}, np.array([0, 2, 2, 0]), "Texts", tmp_path / "map.png", names=["ast", "re", "json"])
    assert texts(drawn[0].texts) == ["ast", "json"] and drawn[0].get_title("left") == "Texts"
    with pytest.raises(ValueError, match="^scatter: labels from 0 to 2 for 2 names"):
        scatter({"": noise(4, 2)}, np.array([0, 2, 2, 0]), "Texts", tmp_path / "map.png", names=["ast", "re"])


def test_spread_is_shaded_and_scales_may_be_logarithmic(tmp_path, drawn):
    x, y, s = np.array([1.0, 10.0, 100.0]), np.array([4.0, 2.0, np.nan]), np.array([1.0, 0.5, 9.0])
    curves({"a": (x, y, s)}, "x", "y", "title", tmp_path / "a.png", "log", "log")
    axes, = drawn
    write = axes.yaxis.get_major_formatter()
    assert [write(value) for value in (2e-5, 1e-4, 0.5, 1000, 1e6)] == ["2 · 10⁻⁵", "0.0001", "0.5", "1000", "10⁶"]
    shade, = axes.collections
    vertices = {tuple(v) for v in shade.get_paths()[0].vertices}
    assert vertices == {(1, 3), (1, 5), (10, 1.5), (10, 2.5)}
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    with pytest.raises(ValueError, match=r"'a' has steps \(3,\) and values \(3,\) and spread \(2,\)"):
        curves({"a": (x, y, s[:2])}, "x", "y", "title", tmp_path / "a.png")


def test_heat_map(tmp_path, drawn):
    values, points = noise(4, 5), noise(7, 2)
    feet, vectors = noise(3, 2), noise(3, 2, seed=1)
    heat_map({"a": values, "b": values + 1}, (-1, 1, 0, 2), "Heat", tmp_path / "heat.png", "much", points,
             {"a": (feet, vectors), "b": (feet, vectors)}, "u", "v")
    (a, b), (bar,) = drawn, drawn[-1].child_axes
    assert a.get_title("left") == "a" and b.get_title("left") == "b" and bar.get_ylabel() == "much"
    assert texts(a.figure.texts) == ["Heat"]
    np.testing.assert_allclose((bar.get_window_extent().y0, bar.get_window_extent().y1),
                               (b.get_window_extent().y0, b.get_window_extent().y1))  # as tall as the panel beside it
    for axes, shown in ((a, values), (b, values + 1)):
        image, = axes.images
        np.testing.assert_array_equal(image.get_array(), shown)
        assert image.origin == "lower" and image.get_clim() == (values.min(), values.max() + 1)
        assert (axes.get_xlim(), axes.get_ylim()) == ((-1, 1), (0, 2))
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), points)
        arrows, = axes.collections
        np.testing.assert_array_equal(arrows.get_offsets(), feet)
        np.testing.assert_array_equal(np.stack([arrows.U, arrows.V], axis=1), vectors)


def test_heat_maps_of_several_rectangles(tmp_path, drawn):
    values, points = noise(4, 5), {"a": noise(7, 2), "b": noise(3, 2)}
    heat_map({"a": values, "b": 2 * values}, {"a": (-1, 1, 0, 2), "b": (0, 9, 0, 9)}, "", tmp_path / "heat.png", "",
             points, limits=(0, 0.5))
    (a, b), (bar,) = drawn, drawn[-1].child_axes
    assert (a.get_xlim(), b.get_xlim()) == ((-1, 1), (0, 9))
    for axes, name in ((a, "a"), (b, "b")):
        assert axes.images[0].get_clim() == (0, 0.5)
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), points[name])
    np.testing.assert_allclose(bar.get_ylim(), (0, 0.5))
    with pytest.raises(ValueError, match="^heat_map: extent is .* got None"):
        heat_map({"a": values, "b": values}, {"a": (-1, 1, 0, 2)}, "", tmp_path / "heat.png")


@pytest.mark.parametrize("values", [noise(4), noise(2, 2, 2), np.array([[0, np.nan]])])
def test_heat_map_refuses(tmp_path, values):
    with pytest.raises(ValueError, match="^matrices: a matrix .* expected .H, W., all of it finite"):
        matrices({"": values}, "title", tmp_path / "matrix.png")
    with pytest.raises(ValueError, match="^heat_map: values .* expected .H, W., all of them finite"):
        heat_map({"": values}, (0, 1, 0, 1), "title", tmp_path / "heat.png")


def test_matrices_share_a_scale_about_zero(tmp_path, drawn):
    a, b = noise(2, 3), -3 * noise(3, 2)
    matrices({"A": Tensor(a), "B": b}, "Two", tmp_path / "two.png")
    *panels, bar = drawn
    assert [axes.get_title("left") for axes in panels] == ["A, 2 × 3", "B, 3 × 2"] and bar.get_ylabel() == "entry"
    assert {(axes.get_xlabel(), axes.get_ylabel()) for axes in panels} == {("column", "row")}
    entries = [axes.get_position().size / axes.images[0].get_array().shape[::-1] for axes in panels]
    np.testing.assert_allclose(entries, entries[0][0])                             # all of one size, and square
    for axes, shown in zip(panels, (a, b), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), shown)
        np.testing.assert_allclose(axes.images[0].get_clim(), (b.min(), -b.min()))


# ---------------------------------------------------------------- the style is ours, and stays with us

def everything(folder):
    image_grid(noise(4, 5, 6, 1), 2, "grid", folder / "grid.png")
    image_rows([noise(4, 5, 6, 1)], ["row"], "rows", folder / "rows.png")
    curves({"a": ([0, 1], [0, 1]), "b": ([0, 1], [1, 0])}, "x", "y", "curves", folder / "curves.png")
    scatter({"": noise(9, 2)}, np.arange(9) % 3, "points", folder / "points.png")
    heat_map({"": noise(3, 3)}, (0, 1, 0, 1), "heat", folder / "heat.png")
    matrices({"A": noise(3, 3)}, "matrix", folder / "matrix.png")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_look_does_not_depend_on_the_users_settings(tmp_path):
    ours = everything(tmp_path / "a")
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "black", "axes.facecolor": "red",
                                "image.origin": "lower", "lines.linewidth": 9, "savefig.transparent": True}):
        before = dict(matplotlib.rcParams)
        assert everything(tmp_path / "b") == ours
        assert dict(matplotlib.rcParams) == before
    assert len(ours) == 6


def test_pyplot_and_its_backend_are_left_alone(tmp_path):
    code = ("import pathlib, sys, matplotlib; import test_plotting as t\n"
            "t.everything(pathlib.Path(sys.argv[1]))\n"
            "assert 'matplotlib.pyplot' not in sys.modules\n"
            "assert matplotlib.rcParams['backend'] == 'svg'")
    environment = {**os.environ, "MPLBACKEND": "svg", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, tmp_path], env=environment, cwd=os.path.dirname(__file__), check=True)


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_tells_the_format(tmp_path, suffix, start):
    curves({"a": ([0, 1], [0, 1])}, "x", "y", "title", tmp_path / f"loss.{suffix}")
    assert (tmp_path / f"loss.{suffix}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match="not supported"):
        curves({"a": ([0, 1], [0, 1])}, "x", "y", "title", tmp_path / "loss")


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"

    def fail(self, file, **kwargs):
        file.write(b"half a picture")
        raise OSError("No space left on device")

    curves({"a": ([0, 1], [0, 1])}, "x", "y", "title", path)
    old = path.read_bytes()
    monkeypatch.setattr(figure.Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        curves({"a": ([0, 1], [0, 1])}, "x", "y", "title", path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- tables and logs

def test_table_by_hand(tmp_path):
    rows = [["the encoder's own", 13.8662, "100 %", "–"], ["a|b\nc", 2.0, "–", np.float32(0.00125)],
            ["große", 12345.6, "7 %", 3]]
    text = table(rows, ["switches", "error", "agreement", "d"], tmp_path / "new" / "table.md")
    assert text == ("| switches          | error | agreement |        d |\n"
                    "| ----------------- | ----: | --------- | -------: |\n"
                    "| the encoder's own | 13.87 | 100 %     |        – |\n"
                    "| a\\|b c            | 2.000 | –         | 0.001250 |\n"
                    "| große             | 12346 | 7 %       |        3 |\n")
    assert (tmp_path / "new" / "table.md").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(("number", "text"), [
    (0.0, "0.000"), (-1.5, "-1.500"), (999.94, "999.9"), (999.96, "1000"), (-12345678.9, "-12345679"),
    (1e-7, "1.000e-07"), (float("nan"), "nan"), (float("-inf"), "-inf"), (12345678, "12345678"), (np.int64(5), "5")])
def test_numbers_in_tables(number, text):
    assert table([[number]], ["x"]).split("\n")[2].strip("| ") == text


@pytest.mark.parametrize(("rows", "header"), [([], ["a"]), ([[]], []), ([], []), ([["x", 1], ["y"]], ["a", "b"]),
                                              ([["x", 1, 2]], ["a", "b"])])
def test_tables_refused(rows, header):
    with pytest.raises(ValueError, match=f"^table: {len(rows)} rows of .* under {len(header)} names"):
        table(rows, header)


def test_read_log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text('step,loss,validation,phase\n0,543.25,,"warm, up"\n10,1e2,98.5,main\n20,nan,,\n')
    log = read_log(path)
    assert list(log) == ["step", "loss", "validation", "phase"]
    np.testing.assert_array_equal(log["step"], [0, 10, 20])
    np.testing.assert_array_equal(log["loss"], [543.25, 100, np.nan])
    np.testing.assert_array_equal(log["validation"], [np.nan, 98.5, np.nan])
    assert log["step"].dtype == np.float64
    assert log["phase"] == ["warm, up", "main", ""]


@pytest.mark.parametrize(("text", "message"), [
    ("", r"the first line is \[\]"),
    ("\n1,2\n", r"the first line is \[\]"),
    ("a,b,a\n1,2,3\n", "expected the names of the columns"),
    ("a,b\n1,2\n3\n", "line 3 has 1 cells, expected 2"),
    ("a,b\n1,2,3\n", "line 2 has 3 cells, expected 2"),
])
def test_logs_refused(tmp_path, text, message):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=f"^read_log: .*log.csv: .*{message}"):
        read_log(tmp_path / "log.csv")


@pytest.mark.parametrize("content", [b"\xff\xfea\x00,\x00", b"a,b\n1,\"2\n3,4\n", b"a\n" + b"1" * 200_000,
                                     "größe\n1\n".encode("cp1252"), b"a,b\n1,\"2\"3\n"])
def test_a_log_that_is_no_csv_file_in_utf8_is_named(tmp_path, content):
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(ValueError, match="^read_log: .*log.csv: is not a CSV file in UTF-8: "):
        read_log(tmp_path / "log.csv")


def test_a_log_that_a_spreadsheet_has_saved(tmp_path):
    (tmp_path / "log.csv").write_bytes("step,größe,name\r\n1,2.5,1_000\r\n".encode("utf-8-sig"))
    log = read_log(tmp_path / "log.csv")
    assert list(log) == ["step", "größe", "name"] and log["step"][0] == 1 and log["name"] == ["1_000"]


def test_a_log_of_a_header_only(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n")
    assert {name: len(column) for name, column in read_log(tmp_path / "log.csv").items()} == {"step": 0, "loss": 0}


# ---------------------------------------------------------------- GIFs

def pages(path):
    """The frames of a GIF as RGB arrays, and how long each stays, in ms."""
    with Image.open(path) as gif:
        assert gif.format == "GIF" and gif.info["loop"] == 0  # for ever
        found = []
        for k in range(gif.n_frames):
            gif.seek(k)
            found.append((np.asarray(gif.convert("RGB")), gif.info["duration"]))
    return zip(*found, strict=True)


@pytest.mark.parametrize(("per_second", "pause"), [(5, 200), (30, 30), (50, 20), (0.5, 2000), (15, 70)])
def test_gif_keeps_every_grey_pixel(tmp_path, per_second, pause):
    frames = [frame(noise(6, 5, 4, 1, seed=k), 3) for k in range(4)]
    save_gif(frames, tmp_path / "new" / "samples.gif", per_second)
    pictures, pauses = pages(tmp_path / "new" / "samples.gif")
    assert pauses == (pause, pause, pause, 2000)
    for picture, expected in zip(pictures, frames, strict=True):
        np.testing.assert_array_equal(picture, np.stack([expected] * 3, axis=2))


def test_gif_of_colours_and_files(tmp_path):
    array = frame(np.round(noise(4, 3, 3, 3)), 2)  # eight colours: no palette has to be guessed
    plotting.save_frame(255 - array, tmp_path / "1.png")
    save_gif([array, tmp_path / "1.png", str(tmp_path / "1.png")], tmp_path / "colours.gif")
    pictures, pauses = pages(tmp_path / "colours.gif")
    assert sum(pauses) == 200 + 200 + 2000
    np.testing.assert_array_equal(pictures[0], array)
    np.testing.assert_array_equal(pictures[1], 255 - array)


def test_a_damaged_frame_is_named(tmp_path):
    plotting.save_frame(frame(noise(6, 5, 4, 1), 3), tmp_path / "1.png")
    content = (tmp_path / "1.png").read_bytes()
    for bad in (content[:60], b"", b"no picture"):
        (tmp_path / "1.png").write_bytes(bad)
        with pytest.raises(ValueError, match=f"^save_gif: {tmp_path / '1.png'}: is not a picture, or is damaged"):
            save_gif([tmp_path / "1.png"], tmp_path / "samples.gif")
    for wrong in (np.zeros((4, 4)), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match="^save_frame: pixels are .* expected uint8"):
            plotting.save_frame(wrong, tmp_path / "2.png")


@pytest.mark.parametrize("wrong", [None, "abc", [[1], [2, 3]], np.ma.masked_less(noise(2, 2), 0), noise(2, 2) * 1j])
def test_what_cannot_be_drawn(tmp_path, wrong):
    path = tmp_path / "a.png"
    for draw in (lambda: frame(wrong, 2), lambda: image_grid(wrong, 2, "", path),
                 lambda: image_rows([wrong], ["a"], "", path),
                 lambda: curves({"a": (wrong, [1, 2])}, "", "", "", path), lambda: matrices({"a": wrong}, "", path),
                 lambda: scatter({"a": wrong}, np.array([0, 1]), "", path),
                 lambda: save_gif([wrong], tmp_path / "a.gif"),
                 lambda: heat_map({"a": wrong}, (0, 1, 0, 1), "", path), lambda: curves(wrong, "", "", "", path),
                 lambda: plotting.points({"a": wrong}, noise(3, 2), "", path)):
        with pytest.raises((TypeError, ValueError, FileNotFoundError)):
            draw()
    with pytest.raises(ValueError, match="^frame: columns is 2.5, expected a whole number"):
        frame(noise(4, 2, 2, 1), 2.5)
    assert not list(tmp_path.iterdir())


I, V = noise(4, 5, 5, 1), np.arange(12.0).reshape(3, 4)
AB, CORNERS = {"a": noise(3, 2)}, (0, 1, 0, 1)


@pytest.mark.parametrize("wrong", [None, 5, ["t"], b"t"])
def test_titles_and_captions_are_text(tmp_path, wrong):
    path = tmp_path / "a.png"
    for name, draw in {
            "curves": lambda: curves({"a": ([1, 2], [1, 2])}, "", "", wrong, path),
            "scatter": lambda: scatter(AB, np.arange(3), wrong, path),
            "matrices": lambda: matrices({"a": V}, wrong, path),
            "heat_map": lambda: heat_map({"a": V}, CORNERS, wrong, path),
            "image_rows": lambda: image_rows([I], ["a"], wrong, path),
            "image_grid": lambda: image_grid(I, 2, wrong, path),
            "points": lambda: plotting.points(AB, noise(3, 2), wrong, path),
            "save_gif": lambda: save_gif([frame(I, 2)], tmp_path / "a.gif", captions=[wrong])}.items():
        with pytest.raises(TypeError, match=f"^{name}: (title|each caption) must be text, got "):
            draw()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extent", [None, 5, "abcd", (0, 1), (0, 1, 0, np.nan), (0, 1, 0, "a"), (0, 0, 0, 1),
                                    [[0, 1]] * 2, (None,) * 4])
def test_an_extent_is_a_rectangle(tmp_path, extent):
    p = noise(3, 2)
    with pytest.raises(ValueError, match="^heat_map: .*extent is "):
        heat_map({"a": V}, extent, "", tmp_path / "a.png")
    with pytest.raises(ValueError, match="^plane_frame: .*extent is "):
        plotting.plane_frame(V / 12, extent, p, p, p, "")


@pytest.mark.parametrize(("draw", "message"), [
    (lambda path: image_grid(I, 2, "", path, xticks=5), "image_grid: ticks must be a list, got an int 5"),
    (lambda path: image_rows([I], None, "", path), "image_rows: labels must be a list, got None"),
    (lambda path: image_rows(5, ["a"], "", path), "image_rows: rows must be a list of arrays, got an int"),
    (lambda path: scatter(AB, np.arange(3), "", path, names=5), "scatter: names must be a list, got an int 5"),
    (lambda path: curves({"a": ([1, 2],)}, "", "", "", path), r"curves: 'a' is a tuple, expected \(steps, values\)"),
    (lambda path: curves({"a": 5}, "", "", "", path), "curves: 'a' is an int 5, expected"),
    (lambda path: curves({"a": (V[0], V[0])}, "", "", "", path, yscale="root"), 'curves: yscale is "linear" or "log"'),
    (lambda path: curves({"a": (V[0], V[0])}, "", "", "", path, xscale=["log"]), 'curves: xscale is "linear" or'),
    (lambda path: heat_map({"a": V}, CORNERS, "", path, points=V), "heat_map: points has shape .*, expected .N, 2."),
    (lambda path: heat_map({"a": V}, CORNERS, "", path, arrows="a"), "heat_map: arrows must be a dict, .* a str"),
    (lambda path: heat_map({"a": V}, CORNERS, "", path, arrows={"a": 1}), "heat_map: the arrows of 'a' are .feet"),
    (lambda path: heat_map({"a": V}, CORNERS, "", path, arrows={"a": (noise(3, 2), noise(2, 2))}), "heat_map: 3 feet"),
    (lambda path: plotting.points([1], noise(3, 2), "", path), "points: expected a dict"),
    (lambda path: plotting.points({}, noise(3, 2), "", path), "points: nothing to draw"),
    (lambda path: plotting.points(AB, np.ones((0, 2)), "", path), "points: real has no points"),
    (lambda path: save_gif(None, path), "save_gif: frames must be a list .* got None"),
    (lambda path: save_gif("a.png", path), "save_gif: frames must be a list .* got a str"),
    (lambda path: save_gif([frame(I, 2)], path, "5"), "save_gif: 5 frames per second"),
    (lambda path: save_gif([frame(I, 2)], path, captions=5), "save_gif: captions must be a list"),
    (lambda path: frame(I, True), "frame: columns is True, expected a whole"),
    (lambda path: table(None, ["a"]), "table: rows must be a list, got None"),
    (lambda path: table([[1], 5], ["a"]), "table: each row must be a list, got an int 5"),
    (lambda path: table(["ab"], ["a", "b"]), "table: each row must be a list, got a str"),
    (lambda path: table([[1]], None), "table: header must be a list"),
    (lambda path: table([[1]], "a"), "table: header must be a list, got a str")])
def test_arguments_of_another_kind_are_named(tmp_path, draw, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        draw(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_panels_may_have_numbers_for_names(tmp_path):
    heat_map({1: V}, CORNERS, "", tmp_path / "a.png", arrows={1: (noise(3, 2), noise(3, 2))})
    plotting.points({1: noise(3, 2)}, noise(3, 2), "", tmp_path / "b.png")
    assert len(list(tmp_path.iterdir())) == 2


def test_gif_of_grey_arrays_and_grey_files(tmp_path):
    frames = [frame(noise(6, 5, 4, 1, seed=k), 3) for k in range(2)]
    plotting.save_frame(frames[1], tmp_path / "1.png")
    save_gif([frames[0], tmp_path / "1.png"], tmp_path / "samples.gif")
    pictures, _ = pages(tmp_path / "samples.gif")
    for picture, expected in zip(pictures, frames, strict=True):
        np.testing.assert_array_equal(picture[..., 0], expected)


def test_gif_of_figures(tmp_path):
    for k in range(2):
        image_grid(noise(4, 5, 6, 1, seed=k), 2, "grid", tmp_path / f"{k}.png")  # has an alpha channel
    save_gif([tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "figures.gif")
    pictures, _ = pages(tmp_path / "figures.gif")
    for k in range(2):
        error = np.abs(pictures[k][..., 0].astype(int) - grey(tmp_path / f"{k}.png"))
        assert error.max() <= 8


def test_captions_stand_above_and_are_never_cut(tmp_path):
    frames = [frame(noise(1, 20, 20, 1, seed=k), 1) for k in range(3)]
    h, w = frames[0].shape
    captions = ["after 1 step", "after 2,000 steps, a caption that is wider than the picture", "ε → 0"]
    save_gif(frames, tmp_path / "samples.gif", captions=captions)
    pictures, _ = pages(tmp_path / "samples.gif")
    strips = [picture[:-h, :, 0] for picture in pictures]
    for picture, expected in zip(pictures, frames, strict=True):
        np.testing.assert_array_equal(picture[-h:, :w, 0], expected)
    for strip in strips:
        assert strip.min() < 64 and strip.shape[1] > w
        assert (strip[[0, -1]] == 255).all() and (strip[:, [0, -1]] == 255).all()
    ink = [(strip < 128).sum() for strip in strips]
    assert ink[1] > ink[0] > ink[2]

    save_gif(frames, tmp_path / "samples.gif", captions=["1", "2", "3"])
    pictures, _ = pages(tmp_path / "samples.gif")
    assert {picture.shape[1] for picture in pictures} == {w}  # no wider than it has to be


@pytest.mark.parametrize(("frames", "options", "message"), [
    ([], {}, "at least one frame"),
    ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], {}, r"\('uint8', \(4, 5\)\)"),
    ([np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)], {}, r"\('uint8', \(4, 4, 3\)\)"),
    ([np.zeros((4, 4), np.float32)], {}, "float32"),
    ([np.zeros((0, 4), np.uint8)], {}, r"\(0, 4\)"),
    ([np.zeros((4, 4), np.uint8)], {"captions": ["a", "b"]}, "2 captions for 1 frames"),
    ([np.zeros((4, 4), np.uint8)], {"per_second": 0}, "0 frames per second"),
    ([np.zeros((4, 4), np.uint8)], {"per_second": 60}, "60 frames per second"),
    ([np.zeros((4, 4), np.uint8)], {"per_second": float("nan")}, "nan frames per second"),
])
def test_gifs_refused(tmp_path, frames, options, message):
    with pytest.raises(ValueError, match=f"^save_gif: .*{message}"):
        save_gif(frames, tmp_path / "samples.gif", **options)
    assert not list(tmp_path.iterdir())
