"""README.md is true: its sessions print what it says, its example trains, its picture and files exist."""

import doctest
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_sessions_print_what_is_written():
    """In one go, since each block goes on from the one before. The last digits of errors may differ by machine."""
    session = "\n".join(block for block in BLOCKS if block.startswith(">>>"))
    session = re.sub(r"\d\.\de[-+]\d\d", "...", session)  # relative errors
    test = doctest.DocTestParser().get_doctest(session, {}, "README", "README.md", 0)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert test.examples and doctest.DocTestRunner(optionflags=flags).run(test).failed == 0


def test_the_example_trains():
    example = next(block for block in BLOCKS if "for epoch in range(3)" in block)
    names = {}
    exec(example, names)
    assert names["loss"].item() < 190 and np.isfinite(names["kl"].item())


def test_the_op_shown_is_the_op_in_the_source():
    shown = next(block for block in BLOCKS if block.startswith("@differentiable"))
    assert shown.strip() in (ROOT / "scratchnet/ops/elementwise.py").read_text()


def test_files_named_exist():
    for name in re.findall(r"(?:python |\()((?:demos|docs|scratchnet)/[\w./-]+)", README):
        assert (ROOT / name).exists(), name
    tree = re.search(r"```\nscratchnet/\n(.*?)```", README, re.S).group(1)
    for name in re.findall(r"\b(\w+\.py)\b", tree):
        assert list((ROOT / "scratchnet").rglob(name)), name
