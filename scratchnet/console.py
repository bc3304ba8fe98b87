"""Printing where the console cannot show every letter: formulas, models and reports are written in Unicode."""

import sys


def show_what_it_can():
    """Let print write \\u2207 where the console's encoding, such as Windows' cp1252, has no ∇, instead of failing: what
    Python does on stderr anyway. A console that can show everything, and one whose owner chose, stays as it is."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            try:
                "−∇σ⊙─ᵗ✓".encode(stream.encoding)
            except UnicodeEncodeError:
                stream.reconfigure(errors="backslashreplace")
