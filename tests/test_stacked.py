"""Frames with axes: all of one size, in our style, and with the drawing on them."""

import numpy as np

from scratchnet.plotting import save_gif, stacked_frame


def test_frames_are_of_one_size_and_show_what_was_drawn(tmp_path):
    seen = []

    def draw(top, bottom, height=1.0):
        seen.append((top, bottom))
        top.set_title("a title" if height == 1 else "a title\nof two lines")
        top.plot([0, 1], [0, height], color="#ff0000", marker="")
        bottom.set_ylabel("wide" * int(height))
    one, other = (stacked_frame(lambda *axes, h=h: draw(*axes, height=h), 2, 3.0, 2.5) for h in (1.0, 1e3))
    assert one.shape == other.shape == (250, 300, 3) and one.dtype == np.uint8
    assert (one[0] == 255).all() and (one == [255, 0, 0]).all(axis=-1).sum() > 100
    assert seen[0][0].get_position().y0 > seen[0][1].get_position().y1
    save_gif([one, other], tmp_path / "a.gif", captions=["first", "second"])
    assert (tmp_path / "a.gif").exists()
