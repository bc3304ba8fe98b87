"""Texts to search: the docstrings of Python packages, or the user's own folder; and texts as bags of words."""

import ast
import os
import re
import sysconfig
import unicodedata
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path

import numpy as np

from scratchnet.backend import check_rng, kind_of
from scratchnet.data.text import utf8
from scratchnet.settings import number, whole

PACKAGES = ("numpy", "scipy", "matplotlib")
SHORTEST = 20  # words


def docstrings(packages=PACKAGES, fewest=100, most=1000, rng=None):
    """(texts, labels): docstrings of the standard library and of those packages that are installed; label = top module.

    Sources are parsed, and nothing is imported. So the docstrings of compiled functions are found only in calls of
    add_newdoc, as for np.array and scipy.special.gamma, but not for NumPy's ufuncs. Tests, private modules of the
    standard library and docstrings of fewer than 20 words are left out, then labels of fewer than `fewest` documents.
    Of a label with more than `most` documents, rng draws that many; without rng, the first ones are taken.
    """
    if isinstance(packages, str) or not all(isinstance(package, str) for package in packages):
        raise TypeError(f"docstrings: packages must be names of packages, got {packages!r}")
    fewest, most = whole("docstrings", "fewest", fewest, 0), whole("docstrings", "most", most, 1)
    if rng is not None:
        check_rng("docstrings", rng)
    found = {}
    for package in packages:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found[package] = list(_docstrings_below(Path(spec.submodule_search_locations[0])))
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.iterdir()):
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists()):
            found[path.stem] = list(_docstrings_below(path))
    texts, labels = [], []
    for label, group in found.items():
        group = list(dict.fromkeys(group))  # without repetitions
        if len(group) >= fewest:
            order = range(len(group)) if rng is None else rng.permutation(len(group))
            texts += [group[i] for i in order[:most]]
            labels += [label] * min(len(group), most)
    return texts, labels


def folder(path):
    """(texts, labels) of the files in the sub-folders of a folder; label = the sub-folder. Hidden files and folders are
    left out; a file that is not UTF-8 text raises ValueError."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"folder: expected the path of a folder, got {kind_of(path)}")
    path, texts, labels, loose = Path(path), [], [], 0
    if not path.is_dir():
        raise NotADirectoryError(f"{path}: expected a folder with a sub-folder of texts for each label, but "
                                 + ("this is a file" if path.exists() else "nothing has this name"))
    for file in sorted(path.glob("**/*")):
        parts = file.relative_to(path).parts
        if file.is_file() and not any(part.startswith(".") for part in parts):
            if len(parts) == 1:
                loose += 1
                continue
            texts.append(utf8(file, f"{file}:"))
            labels.append(os.fsencode(parts[0]).decode("utf-8", "replace"))  # so that it can be printed
    if len(set(labels)) < 2:
        hint = f" ({loose} files lie beside them: move each into the sub-folder of its label)" if loose else ""
        raise ValueError(f"{path}: has files in {len(set(labels))} sub-folders, expected at least 2, one for each label"
                         f"{hint}")
    return texts, labels


class BagOfWords:
    """Counts, in each text, of the `size` words that occur in the most texts.

    `words` defines a word. Words that occur in more than the share `common` of the texts distinguish none of them and
    are left out, as are those in `without`.
    """

    def __init__(self, texts, size=2000, common=0.5, without=()):
        _check_texts("texts", texts)
        _check_texts("without", without)
        size = whole("BagOfWords", "size", size, 1)
        common = number("BagOfWords", "common", common, "a number in [0, 1]", lambda c: 0 <= c <= 1)
        documents, without = Counter(word for text in texts for word in set(words(text))), set(without)
        kept = {word: n for word, n in documents.items() if n <= common * len(texts) and word not in without}
        self.words = sorted(kept, key=lambda word: (-kept[word], word))[:size]
        if not self.words:
            raise ValueError(f"BagOfWords: {len(texts)} texts have {len(documents)} words, but none is left")
        self.column = {word: k for k, word in enumerate(self.words)}

    def __call__(self, texts):
        """A list of N texts → counts (N, size), float32"""
        _check_texts("texts", texts)
        counts = np.zeros((len(texts), len(self.words)), dtype=np.float32)
        for row, text in zip(counts, texts, strict=True):
            for word, n in Counter(words(text)).items():
                if word in self.column:
                    row[self.column[word]] = n
        return counts


def words(text):
    """Runs of at least two letters, in lower case. In scripts without spaces between words (Chinese, Japanese, Thai,
    Lao, Burmese, Khmer, Tibetan), every pair of adjacent letters, or a letter that stands alone."""
    if not isinstance(text, str):
        raise TypeError(f"words: expected a text, got {kind_of(text)}")
    if text.isascii():
        return _WORD.findall(text.lower())
    found = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).lower()):  # é is one letter, however it is written
        for part in _PART.findall(run):
            if _UNSPACED.match(part):
                found += [part[k:k + 2] for k in range(max(1, len(part) - 1))]
            elif len(part) > 1:
                found.append(part)
    return found


_WORD = re.compile(r"[^\W\d_]{2,}")
_MARKS = "".join(c for c in map(chr, range(0x300, 0x1D00)) if unicodedata.category(c).startswith("M"))  # ों of हिन्दी
_RUN = re.compile(rf"[^\W\d_](?:[^\W\d_]|[{_MARKS}])*")
_SCRIPTS = ("\u0e00-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
            "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Chinese characters
            "\U00020000-\U0003ffff")
_UNSPACED, _PART = re.compile(f"[{_SCRIPTS}]"), re.compile(f"[{_SCRIPTS}]+|[^{_SCRIPTS}]+")


def _check_texts(name, texts):
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable) or not hasattr(texts, "__len__"):
        raise TypeError(f"BagOfWords: {name} must be a list of texts, got {kind_of(texts)}")


def _docstrings_below(path):
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    for file in files:
        if {"test", "tests", "idle_test"} & set(file.relative_to(path.parent).parts) or file.name.startswith("test_"):
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):  # broken on purpose, or written for another Python
            continue
        for text in _docstrings_in(tree):
            if len(words(text)) >= SHORTEST:
                yield text


def _docstrings_in(node):
    """The docstrings of a module, class or function and of everything in its body; expressions, most of a tree, are
    passed over."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node)
        if text:
            yield text
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value.func) == "add_newdoc":
        for part in ast.walk(node.value):  # (module, name, text), or (module, name, (member, text)), or a list of those
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield cleandoc(part.value)
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for part in getattr(node, field, ()):
            yield from _docstrings_in(part)


def _name(function):
    """The name of a function in a call: "f" for both f and module.f."""
    return getattr(function, "id", getattr(function, "attr", ""))
