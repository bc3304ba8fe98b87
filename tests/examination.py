"""An examination of the gradient checker by rules that were written without a look at its sources.

    NAMED        a true name                             UNKNOWN      caught, without a name
    LOW          a wrong name, with low confidence       MISNAMED     a wrong name, with high confidence
    MISSED       a wrong rule passed                     CRASH        another error than GradientMismatch
    PASS         a right rule passed                     FALSE ALARM  a right rule was accused
"""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchnet import check


class Entry(NamedTuple):
    id: str
    call: Callable          # runs check.gradients under the rule
    names: set[str] | None  # every name that is true of its mistake; empty if only "unknown" is; None for a right rule
    why: str


def examine(entry):
    """(verdict, name and confidence that the checker gives) for one entry."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            entry.call()
    except check.GradientMismatch as error:
        diagnosis = _diagnosis_of(error.report)
    except Exception as error:  # the checker itself must raise nothing else
        return "CRASH", f"{type(error).__name__}: {error}"
    else:
        return "PASS" if entry.names is None else "MISSED", ""
    name, confidence = (diagnosis.name, diagnosis.confidence) if diagnosis else ("unknown", "low")
    verdict = "FALSE ALARM" if entry.names is None else "NAMED" if name in entry.names else \
        "UNKNOWN" if name == "unknown" else "LOW" if confidence == "low" else "MISNAMED"
    return verdict, f"{name} ({confidence})"


def _diagnosis_of(report):
    """The Diagnosis of the lowest order that has one, or None."""
    while report is not None:
        if report.diagnosis is not None:
            return report.diagnosis
        report = report.higher
    return None


def examine_all(entries):
    """Print a line for each entry, then the count of each verdict."""
    verdicts = Counter()
    for entry in entries:
        verdict, told = examine(entry)
        verdicts[verdict] += 1
        print(f"{verdict:12} {entry.id:36} {told[:100]:40} {entry.why}", flush=True)
    wrong = sum(entry.names is not None for entry in entries)
    print(f"{wrong} wrong rules, {len(entries) - wrong} right ones: "
          + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common()))
