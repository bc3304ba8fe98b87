"""tensor.pyi, which editors read, says what Tensor is at run time: the same names, arguments and defaults."""

import ast
import inspect
from pathlib import Path

import pytest

import scratchnet
from scratchnet import Tensor
from scratchnet.autograd import tensor

STUB = ast.parse((Path(scratchnet.__file__).parent / "autograd/tensor.pyi").read_text(encoding="utf-8"))
BODY = next(node for node in STUB.body if isinstance(node, ast.ClassDef)).body
METHODS = {node.name: node for node in BODY if isinstance(node, ast.FunctionDef)}
FIELDS = {node.target.id for node in BODY if isinstance(node, ast.AnnAssign)}
NOT_LISTED = {"__doc__", "__module__", "__slots__", "__weakref__", "__repr__", "__firstlineno__",
              "__static_attributes__"}


def test_names():
    assert set(METHODS) | FIELDS == set(vars(Tensor)) - NOT_LISTED
    assert {name for name in METHODS if isinstance(vars(Tensor)[name], property)} == {
        name for name, node in METHODS.items() if node.decorator_list}


def parameters_of(node):
    """[(name, kind, default)] of a function in the stub, without self."""
    source = "def f(" + ast.unparse(node.args) + "): ..."
    names = {}
    exec("from __future__ import annotations\n" + source, names)
    return list(inspect.signature(names["f"]).parameters.values())


@pytest.mark.parametrize("name", [name for name, node in METHODS.items()
                                  if not node.decorator_list and name != "__hash__"])
def test_arguments(name):
    stub = [(p.name, p.kind, p.default) for p in parameters_of(METHODS[name])[1:]]
    real = [(p.name, p.kind, p.default) for p in list(inspect.signature(getattr(Tensor, name)).parameters.values())[1:]]
    if name.startswith("__"):  # operators: how many arguments, and which may be left out
        stub, real = ([(kind, default) for _, kind, default in found if default is inspect.Parameter.empty or
                       default is None] for found in (stub, real))
    assert stub == real


def test_what_the_file_has_besides():
    functions = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
    real = {name: f for name, f in vars(tensor).items()
            if inspect.isfunction(f) and f.__module__ == tensor.__name__ and not name.startswith("_")}
    assert set(functions) == set(real)
    for name, f in real.items():
        assert [p.name for p in parameters_of(functions[name])] == list(inspect.signature(f).parameters)
    for name in ("LOSSY", "mode"):
        assert hasattr(tensor, name)


def test_the_package_says_that_it_is_typed():
    assert (Path(scratchnet.__file__).parent / "py.typed").exists()
