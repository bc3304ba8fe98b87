"""Texts from docstrings and folders, and their counts of words, by hand."""

import numpy as np
import pytest

from scratchnet.data import documents
from scratchnet.data.documents import BagOfWords, words
from scratchnet.demo import tsne

LONG = " ".join(["fourier transform signal"] * 8)


def test_words():
    assert words("The FFT_of x: naïve, a1b 12 don't\n") == ["the", "fft", "of", "naïve", "don"]


def test_words_of_scripts_without_spaces():
    assert words("机器学习 is 深 Python编程") == ["机器", "器学", "学习", "is", "深", "python", "编程"]
    assert words("日本語の。ｶﾅ") == ["日本", "本語", "語の", "カナ"]
    assert words("ภาษา") == ["ภา", "าษ", "ษา"]
    assert words("हिन्दी भाषा 한국어 문서") == ["हिन्दी", "भाषा", "한국어", "문서"]
    assert words("cafe\u0301 na\u00efve") == ["café", "naïve"]  # one word, however its accent is written


def test_texts_in_other_encodings_and_beside_their_folders(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.txt").write_text("one", encoding="utf-8")
    (tmp_path / "a/2.txt").write_bytes("机器学习".encode("gbk"))
    with pytest.raises(ValueError, match="2.txt: is not UTF-8 text: .*in GBK it reads '机器学习'"):
        documents.folder(tmp_path)
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/1.txt").write_text("one", encoding="utf-8")
    with pytest.raises(ValueError, match="has files in 0 sub-folders.*1 files lie beside them: move each into"):
        documents.folder(tmp_path / "flat")
    with pytest.raises(NotADirectoryError, match="nosuch: expected a folder .*, but nothing has this name"):
        documents.folder(tmp_path / "nosuch")


@pytest.mark.parametrize("wrong", ["a text", None, b"ab", 3])
def test_what_is_no_list_of_texts(wrong):
    with pytest.raises(TypeError, match="^BagOfWords: texts must be a list of texts, got "):
        BagOfWords(wrong)


def test_bag_by_hand():
    texts = ["apple banana apple", "banana cherry", "cherry apple", "date"]
    bag = BagOfWords(texts, size=3, common=0.5)
    assert bag.words == ["apple", "banana", "cherry"]  # in most texts first, equals in alphabetical order
    counts = bag([*texts, "unknown", ""])
    assert counts.dtype == np.float32
    np.testing.assert_array_equal(counts, [[2, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert BagOfWords(texts, size=10, common=0.3).words == ["date"]
    assert BagOfWords(texts, size=10, common=1, without=["apple"]).words == ["banana", "cherry", "date"]
    with pytest.raises(ValueError, match="^BagOfWords: 4 texts have 4 words, but none is left"):
        BagOfWords(texts, common=0.0)


def test_folder(tmp_path):
    for name, text in (("a/1.txt", "one"), ("a/deep/2.md", "two"), ("b/3", "three"), ("loose.txt", "none")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert documents.folder(tmp_path) == (["one", "two", "three"], ["a", "a", "b"])
    (tmp_path / "b/4.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match="4.jpg: is not UTF-8 text"):
        documents.folder(tmp_path)


def test_folders_without_labels(tmp_path):
    with pytest.raises(NotADirectoryError, match="missing: expected a folder with a sub-folder of texts"):
        documents.folder(tmp_path / "missing")
    with pytest.raises(ValueError, match="has files in 0 sub-folders, expected at least 2, one for each label$"):
        documents.folder(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "a/1.txt").write_text("one")
    (tmp_path / ".git/config").write_text("hidden")
    with pytest.raises(ValueError, match="has files in 1 sub-folders"):
        documents.folder(tmp_path)


def test_docstrings_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / "toypackage"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text(f'"""{LONG} module"""\nraise SystemExit("is not imported")\n')
    (package / "code.py").write_text(
        f'def f():\n    """{LONG} function"""\n\nclass C:\n    """{LONG} class"""\n    def m(self):\n'
        f'        """{LONG} method"""\n    def short(self):\n        """Too short."""\n'
        f'async def g():\n    """{LONG} function"""\n'
        f'try:\n    pass\nexcept ImportError:\n    def h():\n        """{LONG} handler"""\n'
        f'if True:\n    pass\nelse:\n    def h():\n        """{LONG} otherwise"""\n'
        f'add_newdoc("toypackage", "c", """\n    {LONG} compiled\n""")\nprint("{LONG} no docstring")\n'
        f'core.add_newdoc("toypackage", "C", ("member", "{LONG} member"))\n')
    (package / "broken.py").write_text("def (:\n")
    (package / "tests" / "test_code.py").write_text(f'"""{LONG} test"""\n')
    monkeypatch.syspath_prepend(tmp_path)
    texts, labels = documents.docstrings(["toypackage", "no_such_package"], fewest=1)
    ours = {text.split()[-1] for text, label in zip(texts, labels, strict=True) if label == "toypackage"}
    assert ours == {"module", "function", "class", "method", "handler", "otherwise",
                    "compiled", "member"}
    assert labels.count("toypackage") == 8  # equal docstrings count once
    assert documents.docstrings(["toypackage"], fewest=1, most=2)[1].count("toypackage") == 2
    assert "toypackage" not in documents.docstrings(["toypackage"], fewest=9)[1]


def test_docstrings_of_this_machine():
    texts, labels = documents.docstrings(["numpy"], most=50, rng=np.random.default_rng(0))
    assert labels.count("numpy") == 50 and labels.count("asyncio") == 50 and "scipy" not in labels
    assert all(len(words(text)) >= documents.SHORTEST for text in texts)
    everything = documents.docstrings(["numpy"], most=10**6)[0]
    assert sum("Return evenly spaced values within a given interval." in text for text in everything) == 1  # np.arange


def test_codes_that_cannot_be_laid_out_are_left_out(capsys):
    """Codes that are NaN or all equal would crash inside scikit-learn."""
    pytest.importorskip("sklearn")
    good = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    panels = {"good": good, "line": good[:, :1], "alike": np.ones((8, 3)), "NaN": good * np.nan, "few": good[:3],
              "large": np.float32(1e30) * good}
    assert list(tsne(panels)) == ["good", "line"]
    assert capsys.readouterr().out.count(": it needs at least 4 codes, finite and not all equal.") == 4
