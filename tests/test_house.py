"""The rules of the house, checked in its sources: imports point downward only, every xp.name exists in NumPy and CuPy.
"""

import ast
import configparser
import re
import sys
from pathlib import Path

import numpy as np
import pytest

HOUSE = Path(__file__).parent.parent / "scratchnet"
FLOORS = [  # from the ground up; a name stands for a file or for a whole folder
    ["backend.arrays", "backend.memory", "console", "settings"],
    ["backend.forms", "backend.random", "backend.threads"], ["backend.products"], ["backend"],
    ["autograd.anomaly", "autograd.tensor"], ["autograd.errors", "autograd.notes"], ["autograd.differentiable"],
    ["autograd.accumulate", "autograd.broadcasting"], ["autograd.fit"], ["autograd.backward"], ["autograd"], ["host"],
    ["ops"],
    ["losses", "penalties", "divergences", "check"], ["games"], ["adversarial"],
    ["initializers", "module", "schedules"], ["layers", "optimizers"], ["averaging"],
    ["compiled"],
    ["training", "checkpoint", "folder", "metrics", "sample_metrics", "plotting", "demo"],
    ["models"]]
FLOOR = {name: i for i, floor in enumerate(FLOORS) for name in floor} | {"data": 3.5}
FILES = sorted(HOUSE.rglob("*.py"))
OTHERS = sorted(path for folder in ("demos", "benchmarks", "tests", "scripts") for path in
                (HOUSE.parent / folder).rglob("*.py"))


def module_of(path):
    """ops/shape.py → "ops.shape", ops/__init__.py → "ops" """
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def floor_of(module):
    """The floor of the file, or of the folder that it is in."""
    while module and module not in FLOOR:
        module = module.rpartition(".")[0]
    return FLOOR.get(module)


def imports(path):
    """(module, name or None) for every import of scratchnet in a file, modules without the leading "scratchnet."."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "scratchnet":
            module = node.module.removeprefix("scratchnet").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                yield (inner, None) if inner in MODULES else (module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("scratchnet."):
                    yield alias.name.removeprefix("scratchnet."), None


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_downward(path):
    here = module_of(path)
    if here == "__init__":
        return
    assert floor_of(here) is not None, f"{here} has no floor"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                 [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        found = {name.partition(".")[0] for name in names}
        assert "cupy" not in found or here == "backend.arrays", "only backend/arrays.py imports cupy"
    for module, _ in imports(path):
        if module:
            assert floor_of(module) <= floor_of(here), f"{here} reaches up to {module}"
        if here.startswith("data") and not module.startswith("data"):
            assert module.split(".")[0] in ("backend", "settings")
        if here.startswith("models."):
            assert not module.startswith("models") or module.split(".")[1] == here.split(".")[1], \
                "models of one family do not import those of another"


def defined_in(path):
    """The names that a file defines itself, at its top."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            found |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return found


def exported(path):
    """The names that a folder's door lists in __all__."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize("path", [*FILES, *OTHERS], ids=lambda p: str(p.relative_to(HOUSE.parent)))
def test_each_name_has_one_door(path):
    """A name is imported from the file that defines it, or, from outside the folder, through the folder if that lists
    the name. The library itself imports nothing from the top, which is for users."""
    inside = HOUSE in path.parents
    here = module_of(path) if inside else ""
    for module, name in imports(path):
        if name is None or here == "__init__":
            continue
        assert module or not inside, f"{name} comes from the top"
        if not module:
            continue
        folder = module.split(".")[0]
        if MODULES[module].name == "__init__.py":
            assert here.split(".")[0] != module or here == module, f"{name}: a file of {module} uses its door"
            assert name in exported(MODULES[module]) | defined_in(MODULES[module]), f"{module} does not list {name}"
        else:
            assert name in defined_in(MODULES[module]), f"{module} does not define {name}"
            if here.split(".")[0] != folder:
                door = module.rpartition(".")[0]
                assert not door or name not in exported(MODULES[door]), f"{name} has a door: {door}"


def xp_names(source):
    """The dotted names looked up in an array module: xp.name, array_module(x).name, self.xp.name."""
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
    imported -= {*sys.stdlib_module_names, "scratchnet", "", "cupy", "sklearn", "numba", "mpi4py",
                 "llvmlite"}  # the last five are optional
    assert {{"PIL": "pillow"}.get(name, name) for name in imported} <= declared


@pytest.mark.parametrize("path", [*FILES, *sorted((HOUSE.parent / "demos").glob("*.py"))], ids=lambda p: p.name)
def test_text_is_read_and_written_in_an_encoding_that_is_named(path):
    """Otherwise it is the encoding of the locale, which is often cp1252 on Windows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and re.search(r"\b(open|read_text|write_text)$", ast.unparse(node.func)):
            call = ast.unparse(node)
            assert re.search(r"encoding=|'\wb'|^(Image|os|gzip)\.open", call), f"line {node.lineno}: {call}"
