"""Figures are written whole, the right way up, dark on white; bad input is one clear error."""

import numpy as np
import pytest
from PIL import Image

from scratchnet import plotting

DIGITS = np.zeros((5, 8, 6, 1), np.float32)
DIGITS[:, 0, :, 0] = 1.0  # ink along the top


def pixels(path):
    return np.asarray(Image.open(path).convert("L")).astype(float)


def test_frame_is_dark_ink_on_white_and_upright():
    sheet = plotting.frame(DIGITS, columns=3, scale=2)
    gap = plotting.GAP
    assert sheet.dtype == np.uint8 and sheet.shape == (2 * (2 * (8 + gap) + gap), 2 * (3 * (6 + gap) + gap))
    first = sheet[2 * gap:2 * (gap + 8), 2 * gap:2 * (gap + 6)]
    assert (first[:2] == 0).all() and (first[2:] == 255).all()
    assert (sheet[2 * (8 + 2 * gap):, -2 * (6 + gap):] == 255).all()  # the sixth place is empty
    colour = plotting.frame(np.full((1, 2, 2, 3), 0.25), columns=1, scale=1)
    assert colour.shape[2] == 3 and colour[gap, gap, 0] == 64


def test_all_figures_are_written(tmp_path):
    plotting.image_rows([DIGITS, DIGITS], ["one", "two"], "Rows", tmp_path / "a" / "rows.png")
    plotting.image_grid(DIGITS, 3, "Grid", tmp_path / "grid.png", "$z_1$", "$z_2$", ["a", "b", "c"], ["d", "e"])
    plotting.curves({"loss": ([1, 2, 3], [3.0, np.nan, 1.0])}, "step", "nats", "Loss", tmp_path / "curves.png")
    plotting.scatter(np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 10, "Codes", tmp_path / "codes.png")
    for name in ("a/rows.png", "grid.png", "curves.png", "codes.png"):
        picture = pixels(tmp_path / name)
        assert min(picture.shape) > 150 and picture.min() < 60 and np.median(picture) == 255
    assert not list(tmp_path.rglob("*.tmp"))


def test_gif_has_all_frames_in_order(tmp_path):
    frames = [np.full((20, 30), 50 * k, np.uint8) for k in range(4)]
    plotting.save_frame(frames[0], tmp_path / "0.png")
    plotting.save_gif([tmp_path / "0.png", *frames[1:]], tmp_path / "x.gif", captions=["a", "b", "c", "d"])
    gif = Image.open(tmp_path / "x.gif")
    assert gif.n_frames == 4 and gif.size == (30, 42)
    for k in range(4):
        gif.seek(k)
        assert abs(int(gif.convert("L").getpixel((15, 35))) - 50 * k) <= 2


def test_table_and_log(tmp_path):
    text = plotting.table([["a|b", 1.23456, 7], ["c", 100.0, 12]], ["name", "value", "n"], tmp_path / "t.md")
    assert text.split("\n")[2] == r"| a\|b | 1.235 |   7 |" and (tmp_path / "t.md").read_text() == text
    (tmp_path / "log.csv").write_text("step,loss,word\n1,0.5,x\n2,,y\n")
    log = plotting.read_log(tmp_path / "log.csv")
    np.testing.assert_array_equal(log["loss"], [0.5, np.nan])
    assert log["word"] == ["x", "y"]


@pytest.mark.parametrize("call, message", [
    (lambda p: plotting.frame(np.ones((2, 8, 6)), 2), r"frame: images \(2, 8, 6\), expected \(N, H, W, 1\)"),
    (lambda p: plotting.frame(DIGITS * np.nan, 2), "240 pixels are NaN"),
    (lambda p: plotting.frame(DIGITS, 0), "columns is 0, expected a whole number"),
    (lambda p: plotting.image_rows([DIGITS], ["a", "b"], "", p), "2 labels for 1 rows"),
    (lambda p: plotting.image_rows([DIGITS, DIGITS[:2]], ["a", "b"], "", p), "one shape"),
    (lambda p: plotting.curves({}, "", "", "", p), "0 lines, expected 1 to"),
    (lambda p: plotting.curves({"a": ([1], [np.nan])}, "", "", "", p), "'a' has no finite point"),
    (lambda p: plotting.scatter(np.ones((3, 3)), np.arange(3), "", p), r"expected \(N, 2\) and \(N,\)"),
    (lambda p: plotting.save_gif([], p), "at least one frame"),
    (lambda p: plotting.table([[1]], ["a", "b"]), "as many cells in each row"),
])
def test_errors(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
