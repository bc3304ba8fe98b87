"""The user's text files: UTF-8, or an error that says which encoding it may be."""

import codecs
from pathlib import Path

MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",  # before UTF-16, whose mark begins this one
         codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
OTHERS = ("GBK", "Shift_JIS", "Windows-1252")  # the usual encodings of text that is not UTF-8


def utf8(path, named):
    """The text of a UTF-8 file, without a byte order mark. For any other file, ValueError says what `named` may be."""
    content = Path(path).read_bytes()
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            raise ValueError(f"{named} is {encoding} text, expected UTF-8: save it again in UTF-8")
    if b"\0" in content:
        raise ValueError(f"{named} is not UTF-8 text: it has NUL bytes, like UTF-16 and files that are not text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{named} is not UTF-8 text: {error.reason} at byte {error.start}"
                         f"{_readings(content, error.start)}") from error


def _readings(content, start):
    """How the words around a byte read in other encodings, so that their author recognises the right one."""
    readings = []
    for encoding in OTHERS:
        try:
            head, tail = content[:start].decode(encoding), content[start:].decode(encoding)
        except UnicodeDecodeError:
            continue
        words = (head.split("\n")[-1][-8:] + tail.split("\n")[0][:12]).strip()
        if words.isprintable():  # hardly ever so in a picture
            readings.append(f"in {encoding} it reads {words!r}")
    return f" ({', '.join(readings)}): save it again in UTF-8" if readings else ""
