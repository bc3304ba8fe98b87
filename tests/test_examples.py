"""The >>> examples in docstrings are true."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import scratchnet

MODULES = [importlib.import_module(found.name) for found in pkgutil.walk_packages(scratchnet.__path__, "scratchnet.")]
CENTRAL = {"Tensor", "grad", "conv2d", "max_pool_with_argmax", "unpool", "softmax", "softmax_cross_entropy",
           "gaussian_kl", "gradients", "SGD", "batches"}


def examples():
    """(module, name, docstring) of everything with an example, where it is defined."""
    for module in MODULES:
        for name, thing in {"": module, **vars(module)}.items():
            doc = inspect.getdoc(thing) or ""
            if ">>> " in doc and (not name or getattr(thing, "__module__", None) == module.__name__):
                yield module, name, doc


EXAMPLES = list(examples())


@pytest.mark.parametrize("module, name, doc", EXAMPLES, ids=[f"{m.__name__}.{name}" for m, name, _ in EXAMPLES])
def test_example(module, name, doc):
    names = {"np": np} | vars(module)
    test = doctest.DocTestParser().get_doctest(doc, names, f"{module.__name__}.{name}", None, 0)
    said = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert test.examples and not said, "".join(said)


def test_the_central_functions_have_one():
    assert {name for _, name, _ in EXAMPLES} >= CENTRAL
