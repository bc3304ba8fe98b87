"""The mistakes that have a name, and how one of them is found.

A candidate explanation (in predictions.py, sums.py, recurrences.py and repairs.py) says what the wrong gradient would
be if it were true. That is held against what was found, entry for entry. What no candidate predicts is unknown.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from scratchnet.check import predictions, recurrences, repairs, sums
from scratchnet.check.numeric import slopes

CANDIDATES = [  # the more specific first
    predictions.no_gradient, predictions.not_linear, predictions.constant_factor, predictions.swapped_inputs,
    repairs.exchanged_operands, predictions.moved_axes, predictions.shifted, predictions.left_out, repairs.other_values,
    predictions.structure, sums.independent_steps, sums.normalization, sums.lost_readers,
    sums.stride_ignored, repairs.other_cotangents, recurrences.recurrent_weights, predictions.regularizer,
    sums.wrong_axis, sums.selection, predictions.epsilon_forgotten, recurrences.gates,
    recurrences.through_time]
WEAK = [predictions.other_factor, predictions.constant_term]  # true of some mistakes that have a better name
VAGUE = ("where the derivative has", "` itself")  # in words of what may also be a slip in a formula

MISTAKES = {  # name: a sentence that helps without giving the answer away
    "stop-gradient": "Follow the input to the result: is each step on the way one that gradients can pass?",
    "stop-gradient in the second order": "Which values in the rule depend on the inputs, and does the tape know it?",
    "upstream gradient ignored": "What does the chain rule multiply the derivative of this op with?",
    "upstream gradient applied twice": "How often does the chain rule meet ∂L/∂y?",
    "inputs swapped": "Write down the derivative for each input alone: which other values does it contain?",
    "wrong sign": "In which direction does the result move when this input grows a little?",
    "factor 2": "Derive a single entry by hand and count how often it occurs in the result.",
    "factor 1/2": "Derive a single entry by hand and count how often it occurs in the result.",
    "factor N": "Is it a sum or a mean, and of how many?",
    "factor 1/N": "Is it a sum or a mean, and of how many?",
    "factor 1/√N": "Where does a square root of a size come in, and has it been taken once?",
    "factor √N": "Where does a square root of a size come in, and has it been taken once?",
    "constant factor": "The shape is right; which constant of the formula is missing, or there too often?",
    "broadcast axis summed twice": "Along how many axes was this input repeated, and is each summed over once?",
    "broadcast axis averaged": "When one number is read many times, do its contributions add up?",
    "broadcast axis not summed":
        "When one number is read many times, how many of its readers have a say in its gradient?",
    "axes permuted": "Name the axes of the input and of its gradient: do they come in the same order?",
    "axis reversed": "Write out the first and the last entry along each axis.",
    "shifted by one": "Where in the result does the very first entry of the input land, counted with the padding?",
    "derivative left out": "How much does the result change when the input changes by a little?",
    "evaluated at the output":
        "At which of its two values, before or after the function, is the derivative a formula of?",
    "evaluated at the input":
        "At which of its two values, before or after the function, is the derivative a formula of?",
    "evaluated at minus the input":
        "Put a large positive and a large negative number in: which limits should the derivative have?",
    "derivative applied twice":
        "How many functions lie between the input and the result, and how many derivatives in the rule?",
    "activation's derivative left out":
        "Which functions are applied on the way, and does each bring a factor of its own?",
    "Jacobian not transposed":
        "Reverse mode: who hands its gradient to whom, the input to the result or the other way?",
    "treated as elementwise": "Does an entry of the result depend on one entry of the input, or on more?",
    "steps treated as independent": "Which later results does an entry reach, and through what?",
    "mean path missing": "The statistics depend on the input as well: through how many ways does it reach the result?",
    "variance path missing":
        "The statistics depend on the input as well: through how many ways does it reach the result?",
    "mean and variance paths missing": "Are the statistics constants, when the input changes?",
    "overwritten, not accumulated":
        "When an entry is read more than once, what happens to the gradients of its readers?",
    "overlapping windows ignored": "To how many windows does an entry in the middle belong?",
    "kernel not flipped":
        "Draw which output reads which input with which weight; now read the drawing from right to left.",
    "stride ignored": "How far apart do the windows stand in the input?",
    "off by one in time": "Which step's value does each factor of the formula belong to?",
    "regularizer missing": "Which terms of the loss contain this input?",
    "regularizer doubled": "Which terms of the loss contain this input, and is each differentiated once?",
    "wrong axis": "Which axis does each sum run along, and which index is left?",
    "value taken for index": "By how much does a maximum grow when the entry that is the largest grows by a little?",
    "spread over the window": "Which entries of the window does the result depend on, when each moves by a little?",
    "other argument as a factor": "Which arguments does the derivative of this formula contain, and which not?",
    "constant term": "Differentiate the formula term by term: which terms are linear in this input?",
    "standard deviation for variance": "Is it σ or σ², or ln σ², that each place of the formula asks for?",
    "epsilon forgotten": "Which small number stands under the root of the forward pass?",
    "gates exchanged": "In which order do the gates lie in the weights?",
    "not linear in the upstream gradient": "Twice the ∂L/∂y gives twice the gradient: what in the rule does not?",
    "changed in place": "Which array does the rule write into, and who else reads it?",
    "wrong dtype": "In which precision does the rule compute, and in which the op?",
    "not an array": "What does the rule return for each input? It should be an array of floats in the input's shape.",
    "error in the rule": "Read the error: which line of the rule is it about, and which shapes and types meet there?",
    "not finite": "Look at the worst entries: which division, logarithm or root cannot take that value?",
    "ties or zeros":
        "Away from this point the rule is right; which value between the two slopes is the convention here?",
}


@dataclass
class Explanation:
    """A mistake that predicts the wrong gradient of one input. rank: the smaller, the more specific; explanations of
    one family are variants of each other. sure: enough numbers agree for it to be no accident."""

    name: str
    rank: int
    family: int
    evidence: str
    sure: bool
    hint: str

    @property
    def number(self):
        """The number that was fitted, in words, None if none was: it must be the same everywhere."""
        fitted = self.is_factor or self.name.startswith(("constant", "regularizer"))
        return self.evidence.partition(";")[0].partition(", with")[0] if fitted else None

    @property
    def weak(self):
        """Whether a more specific explanation beside it is the better one, and no rival."""
        return self.family >= len(CANDIDATES)

    @property
    def is_factor(self):
        """Whether it is a number times the derivative: which number it is, is best seen elsewhere."""
        return CANDIDATES[self.family:self.family + 1] == [predictions.constant_factor]


def explanations(e, only=None):
    """The Explanations of the Evidence e, the most specific first."""
    found = set()
    if not np.isfinite(e.wrong).all():
        bad = int((~np.isfinite(e.wrong)).any(axis=0).sum())
        yield Explanation("not finite", 0, 0, f"{bad} of {e.x.size} entries are NaN or infinite", True,
                          MISTAKES["not finite"])
        return
    with np.errstate(all="ignore"):
        for family, candidate in enumerate(CANDIDATES + WEAK):
            for rank, (name, predicted, detail, *entries) in enumerate(candidate(e)):
                entries = entries[0] if entries else None
                key = (name, detail) if candidate is predictions.constant_factor else name
                if key in found or (only and not name.startswith(only)) or not e.explains(predicted, entries):
                    continue
                found.add(key)
                share = "all" if entries is None else f"{entries.sum()} of {e.x.size}"
                rest = np.linalg.norm((e.wrong - predicted)[:, slice(None) if entries is None else entries]) / e.error
                evidence = f"predicts {share} entries of ∂L/∂{e.names[e.i]} to {max(rest, 1e-16):.0e} of the error"
                certain = (e.freedom >= 4 and entries is None and (e.is_call or not name.startswith("regularizer"))
                           and not any(words in detail for words in VAGUE))
                yield Explanation(name, 100 * family + rank, family, f"{detail}; {evidence}", certain, MISTAKES[name])


def of_a_sample(function, i, row):
    """The Explanations of an input that is too large for Evidence, from the Row of what was compared."""
    keep = ~row.left_out
    wrong, right, tolerance = row.analytic[keep], row.numeric[keep], row.tolerance[keep]
    if not wrong.any():
        yield Explanation("stop-gradient", 0, 0, "the gradient is zero or None", True, MISTAKES["stop-gradient"])
        return
    c = float(np.vdot(right, wrong) / np.vdot(right, right))
    if (np.abs(wrong - c * right) <= tolerance * max(1.0, abs(c))).all():
        y = function.evaluate(function.values)
        name, detail = next(predictions.names_of_factor(c, i, function.names, function.values, y))
        yield Explanation(name, 0, 0, f"in a sample it is {c:.6g} times the derivative{detail}", True, MISTAKES[name])


def of_wrong_shape(call, rng):
    """(name, evidence) of a rule whose gradient has a wrong shape: transposed, or not summed; (None, "") if neither."""
    v = rng.standard_normal((1, call.evaluate(call.values).size))
    for i, raw in enumerate(call.unfitted(v[0])):
        x, y = call.values[i], call.evaluate(call.values)
        if raw is None or raw.shape == x.shape:
            continue
        s = slopes(lambda z, i=i: v @ call.evaluate([*call.values[:i], z, *call.values[i + 1:]]).ravel(), x,
                   range(x.size), rng)
        right = s.value.reshape(x.shape)
        if raw.size == x.size:
            for axes in itertools.permutations(range(raw.ndim)):
                moved = raw.transpose(axes)
                if moved.shape == x.shape and np.allclose(moved, right, rtol=1e-5):
                    return "axes permuted", f"with its axes in the order {axes} it is right"
        for count in range(1, raw.ndim + 1):
            for axes in itertools.combinations([a for a in range(raw.ndim) if raw.shape[a] > 1], count):
                summed = raw.sum(axes)
                if summed.size == x.size and np.allclose(summed.reshape(x.shape), right, rtol=1e-5):
                    return "broadcast axis not summed", f"summed over axes {axes} it is right (y is {y.shape})"
    return None, ""
