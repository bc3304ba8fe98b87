"""Text files of one's own: UTF-8, or an error that says which encoding it may be."""

import codecs
from pathlib import Path

MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",  # before UTF-16, whose mark begins like this one
         codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
OTHERS = ("GBK", "Shift_JIS", "Windows-1252")  # what texts that are not in UTF-8 are most often in


def utf8(path, named):
    """The text of a file in UTF-8, without a byte order mark. ValueError, about `named`, says what else it is."""
    content = Path(path).read_bytes()
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            raise ValueError(f"{named} is text in {encoding}, expected UTF-8: save it again in UTF-8")
    if b"\0" in content:
        raise ValueError(f"{named} is no text in UTF-8: it has NUL bytes, as UTF-16 has, and what is no text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{named} is no text in UTF-8: {error.reason} at byte {error.start}"
                         f"{_readings(content, error.start)}") from error


def _readings(content, start):
    """How the words around a byte read in other encodings: whoever wrote them will know which one it is."""
    readings = []
    for encoding in OTHERS:
        try:
            head, tail = content[:start].decode(encoding), content[start:].decode(encoding)
        except UnicodeDecodeError:
            continue
        words = (head.split("\n")[-1][-8:] + tail.split("\n")[0][:12]).strip()
        if words.isprintable():  # of a picture hardly any would be
            readings.append(f"in {encoding} it reads {words!r}")
    return f" ({', '.join(readings)}): save it again in UTF-8" if readings else ""
