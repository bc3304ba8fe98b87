"""Faster forms: another way to compute what a function computes, for arrays of one kind.

The lines of an op, and of the few functions below ops where the time goes, are its definition. For one kind of array a
form can stand in for them: loops compiled for C-ordered float32 (scratchnet/compiled), or one fused kernel on a GPU.
A form gets the same arguments and gives the same result to rounding, or it declines, and the function's own lines run.

All forms hang on the functions themselves: `function.forms` is {type of array: Form}, and empty where nothing is
compiled. The type of the first argument decides.
"""

import functools
from collections import Counter


class Declined:
    """Given by a form that leaves a call to the function's own lines."""

    __slots__ = ("reason",)

    def __init__(self, reason):
        self.reason = reason


class Form:
    """One form, and how often it ran or declined, by reason. It is not asked if the first argument has fewer than
    `least` numbers."""

    def __init__(self, name, function, least):
        self.name, self.function, self.least = name, function, least
        self.ran, self.declined = 0, Counter()

    def __call__(self, *arguments):
        result = self.function(*arguments)
        if type(result) is Declined:
            self.declined[result.reason] += 1
        else:
            self.ran += 1
        return result


def replaceable(function, forms=None):
    """Let `function(array, …)`, called without keywords, ask its forms first."""
    forms = {} if forms is None else forms

    @functools.wraps(function)
    def call(*arguments):
        form = forms.get(type(arguments[0])) if forms else None
        if form is not None and arguments[0].size >= form.least:
            result = form(*arguments)
            if type(result) is not Declined:
                return result
        return function(*arguments)
    call.forms = forms
    return call
