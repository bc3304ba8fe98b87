"""README.md is true: its sessions print what it shows, its example trains, its files exist and are as long as it says.

The pages beside it (demos/README.md, demos/RESULTS.md, CONTRIBUTING.md, …) name files and headings that exist.
"""

import ast
import configparser
import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import scratchnet

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
PAGES = sorted(path for folder in (".", "demos", "docs", "benchmarks") for path in (ROOT / folder).glob("*.md"))
DEMOS = sorted((ROOT / "demos").glob("*.py"))


def test_sessions_print_what_is_written():
    """All blocks run as one session, since each continues the one before. Relative errors differ between machines."""
    session = "\n".join(block for block in BLOCKS if block.startswith(">>>"))
    session = re.sub(r"\d\.\de[-+]\d\d", "...", session)  # relative errors
    test = doctest.DocTestParser().get_doctest(session, {"np": np}, "README", "README.md", 0)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert test.examples and doctest.DocTestRunner(optionflags=flags).run(test).failed == 0


def test_the_example_trains():
    example = next(block for block in BLOCKS if "for epoch in range(3)" in block)
    names = {}
    exec(example, names)
    assert names["loss"].item() < 190 and np.isfinite(names["kl"].item())


def test_the_op_shown_is_the_op_in_the_source():
    shown = next(block for block in BLOCKS if block.startswith("@differentiable"))
    assert shown.strip() in (ROOT / "scratchnet/ops/elementwise.py").read_text(encoding="utf-8")


def test_files_named_exist():
    for name in re.findall(r"python ((?:demos|scripts|tests)/[\w./-]+)", "".join(map(text, PAGES))):
        assert (ROOT / name).exists(), name
    tree = re.search(r"```\nscratchnet/\n(.*?)```", README, re.S).group(1)
    for name in re.findall(r"\b(\w+\.py|\w+/)", tree):
        assert list((ROOT / "scratchnet").rglob(name)) or (ROOT / name).is_dir(), name


def test_it_is_read_in_an_hour():
    """The line counts are right to within 10 %, and the minutes add up to about an hour."""
    rows = re.findall(r"\| (?:`softplus`, above|\[.*?\]\((.*?)\)) \| (\d+) \| (\d+) \|", README)
    assert len(rows) == 8 and 55 <= sum(int(minutes) for _, _, minutes in rows) <= 65
    for file, lines, _ in rows:
        source = text(ROOT / file) if file else next(block for block in BLOCKS if block.startswith("@differentiable"))
        counted = source.count("\n")
        assert abs(counted - int(lines)) <= 0.1 * counted, f"{file or 'softplus'} has {counted} lines"


def test_pages_are_short():
    assert README.count("\n") <= 150 and text(ROOT / "CONTRIBUTING.md").count("\n") <= 60


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Each link leads to a file and, if it names one, to a heading there. Web addresses are not followed."""
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text(page)):
        file, _, heading = "".join(target).partition("#")
        if "://" not in file:
            there = page.parent / file if file else page
            assert there.exists(), f"{page.name} links to {file}"
            assert not heading or heading in headings(there), f"{page.name} links to {file}#{heading}"


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_each_demo_has_its_row(path):
    """The row has a thumbnail of at most 25 kB that can be made anew, and the times that the demo itself states."""
    rows = text(ROOT / "demos/README.md").split("\n")
    row = next((line for line in rows if f"`python demos/{path.name}`" in line), "")
    assert f'src="../docs/thumbnails/{path.stem}.png"' in row, f"demos/README.md: a row for {path.name}"
    assert (ROOT / f"docs/thumbnails/{path.stem}.png").stat().st_size <= 25_000
    assert f'"{path.stem}": ("' in text(ROOT / "scripts/make_thumbnails.py")
    seconds = next(ast.literal_eval(node.value) for node in ast.parse(text(path)).body
                   if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SECONDS")
    assert row.endswith(f"| {seconds['default']} | {seconds['full']} |")


def test_versions_agree():
    version = re.escape(scratchnet.__version__)
    assert re.search(rf"^version: {version}$", text(ROOT / "CITATION.cff"), re.M)
    assert re.search(rf"^## \[?{version}\]?", text(ROOT / "CHANGELOG.md"), re.M)


def test_versions_of_python_agree():
    """The oldest version in setup.cfg is in its classifiers, on the front page, and in the workflow."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    oldest = config["options"]["python_requires"].removeprefix(">=")
    assert oldest in config["metadata"]["classifiers"] and f"Python {oldest} or later" in README
    workflow = text(ROOT / ".github/workflows/ci.yml")
    assert f'"{oldest}"' in workflow and "bash .ci/run" in workflow


def text(path):
    return path.read_text(encoding="utf-8")


def headings(page):
    """The names that a code host gives to the headings of a page: lower case, no punctuation, - for a space."""
    prose = re.sub(r"```.*?```", "", text(page), flags=re.S)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", prose, re.M)}
