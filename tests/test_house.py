"""Read from the source: imports point downward only, and every xp.name exists in CuPy as in NumPy."""

import ast
import configparser
import re
import sys
from pathlib import Path

import numpy as np
import pytest

HOUSE = Path(__file__).parent.parent / "scratchnet"
FLOORS = [["backend", "console", "settings"], ["anomaly"], ["tensor", "host"], ["differentiable"],
          ["autograd"], ["ops"], ["losses", "penalties", "adversarial", "divergences", "check"],
          ["initializers", "module", "layers", "optimizers", "averaging", "schedules"],
          ["training", "checkpoint", "folder", "metrics", "sample_metrics", "plotting", "demo"], ["models"]]
FLOOR = {name: i for i, floor in enumerate(FLOORS) for name in floor} | {"data": 0.5}
FILES = sorted(HOUSE.rglob("*.py"))


def imports(path):
    """(room, imported room) for every import of scratchnet in a file; room = first part of the path."""
    room = path.relative_to(HOUSE).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "scratchnet" else [node.module]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        for name in names:
            yield room, name.split(".")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_imports_point_downward(path):
    for room, name in imports(path):
        assert name[0] != "cupy" or path.name == "arrays.py", "only backend/arrays.py imports cupy"
        if room != "__init__" and name[0] == "scratchnet" and len(name) > 1 and name[1] in FLOOR:
            assert FLOOR[name[1]] <= FLOOR[room], f"{path.name} reaches up to {name[1]}"
            if room == "data" and name[1] != "data":
                assert name[1] in ("backend", "settings")
            if room == "models":
                assert name[1] != "models", "models do not import each other"


def xp_names(source):
    """Dotted names that are asked of an array module: xp.name, array_module(x).name, self.xp.name."""
    found, inner = set(), set()
    for node in ast.walk(ast.parse(source)):
        parts = []
        while isinstance(node, ast.Attribute) and id(node) not in inner:
            inner.add(id(node))
            parts.insert(0, node.attr)
            base = node.value
            is_xp = isinstance(base, ast.Name) and base.id == "xp"
            is_xp |= isinstance(base, ast.Attribute) and base.attr == "xp"
            is_xp |= isinstance(base, ast.Call) and getattr(base.func, "id", "") == "array_module"
            if is_xp:
                found.add(".".join(parts))
            node = base
    return found - {"__name__"}


def missing_from(module, names):
    def has(name):
        owner = module
        for part in name.split("."):
            if not hasattr(owner, part):
                return False
            owner = getattr(owner, part)
        return True
    return {name for name in names if not has(name)}


def test_every_name_asked_of_an_array_module_exists_in_cupy_and_numpy():
    names = set().union(*(xp_names(path.read_text()) for path in FILES))
    assert {"exp", "add.at", "zeros"} <= names
    assert not missing_from(np, names)
    cupy = pytest.importorskip("cupy")
    assert not missing_from(cupy, names)


def test_names_that_cupy_lacks_would_be_seen():
    source = "def f(x):\n    xp = array_module(x)\n    return xp.vecdot(x, x) + array_module(x).linalg.vector_norm(x)\n"
    assert xp_names(source) == {"vecdot", "linalg.vector_norm"}
    cupy = pytest.importorskip("cupy")
    assert missing_from(cupy, xp_names(source)) == {"vecdot", "linalg.vector_norm"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_public_functions_say_what_they_do(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a file says what it is for"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_what_is_imported_is_declared():
    config = configparser.ConfigParser()
    config.read(HOUSE.parent / "setup.cfg", encoding="utf-8")
    declared = {re.split(r"\W", line)[0] for line in config["options"]["install_requires"].split("\n") if line}
    imported = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = ([a.name for a in node.names] if isinstance(node, ast.Import)
                     else [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            imported |= {name.partition(".")[0] for name in names}
    imported -= {*sys.stdlib_module_names, "scratchnet", "", "cupy", "sklearn"}  # the last two are optional
    assert {{"PIL": "pillow"}.get(name, name) for name in imported} <= declared


@pytest.mark.parametrize("path", [*FILES, *sorted((HOUSE.parent / "demos").glob("*.py"))], ids=lambda p: p.name)
def test_text_is_read_and_written_in_an_encoding_that_is_named(path):
    """Or it would be the locale's, cp1252 on many a Windows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and re.search(r"\b(open|read_text|write_text)$", ast.unparse(node.func)):
            call = ast.unparse(node)
            assert re.search(r"encoding=|'\wb'|^(Image|os|gzip)\.open", call), f"line {node.lineno}: {call}"
