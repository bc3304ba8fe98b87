"""Printing on consoles that cannot show every character. Formulas, models and reports are written in Unicode."""

import sys


def show_what_it_can():
    """Let print write \\u2207 instead of failing if the console's encoding, such as Windows' cp1252, has no ∇. Python
    does this anyway on stderr. A console that can show everything, or whose owner has chosen, stays as it is."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            try:
                "−∇σ⊙─ᵗ✓".encode(stream.encoding)
            except UnicodeEncodeError:
                stream.reconfigure(errors="backslashreplace")
