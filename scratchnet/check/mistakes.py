"""The mistakes that have a name, and how one of them is found.

Each candidate explanation (in predictions.py, sums.py, recurrences.py and repairs.py) predicts the wrong gradient that
its mistake would give. The prediction is compared with the gradient found, entry for entry. If no candidate predicts
that gradient, the mistake is "unknown".
"""

import itertools
from dataclasses import dataclass

import numpy as np

from scratchnet.check import predictions, recurrences, repairs, sums
from scratchnet.check.numeric import slopes

CANDIDATES = [  # the most specific first
    predictions.no_gradient, predictions.not_linear, predictions.constant_factor, predictions.swapped_inputs,
    repairs.exchanged_operands, predictions.moved_axes, predictions.shifted, predictions.left_out, repairs.other_values,
    predictions.structure, sums.independent_steps, sums.normalization, sums.lost_readers,
    sums.stride_ignored, repairs.other_cotangents, recurrences.recurrent_weights, predictions.regularizer,
    sums.wrong_axis, sums.selection, predictions.epsilon_forgotten, recurrences.gates,
    recurrences.through_time]
WEAK = [predictions.other_factor, predictions.constant_term]  # these fit some mistakes that have a better name
VAGUE = ("where the derivative has", "` itself")  # details with these words may also fit a slip in a formula

MISTAKES = {  # name: a sentence that helps without giving the answer away
    "stop-gradient": "Follow the input to the result: can a gradient pass through every step on the way?",
    "stop-gradient in the second order": "Which values in the rule depend on the inputs, and does the tape know it?",
    "upstream gradient ignored": "By what does the chain rule multiply the derivative of this op?",
    "upstream gradient applied twice": "How often does ∂L/∂y appear in the chain rule?",
    "inputs swapped": "Write down the derivative for each input separately: which other values does it contain?",
    "wrong sign": "In which direction does the result move when this input grows a little?",
    "factor 2": "Derive a single entry by hand and count how often it occurs in the result.",
    "factor 1/2": "Derive a single entry by hand and count how often it occurs in the result.",
    "factor N": "Is it a sum or a mean, and over how many numbers?",
    "factor 1/N": "Is it a sum or a mean, and over how many numbers?",
    "factor 1/√N": "Where does the square root of a size come in, and is it taken exactly once?",
    "factor √N": "Where does the square root of a size come in, and is it taken exactly once?",
    "constant factor":
        "All entries are off by the same factor: which constant of the formula is missing, or appears too often?",
    "broadcast axis summed twice": "Along how many axes was this input repeated, and is each summed exactly once?",
    "broadcast axis averaged": "When one number is read many times, do its contributions add up?",
    "broadcast axis not summed": "When one number is read many times, how many of its readers affect its gradient?",
    "axes permuted": "Name the axes of the input and of its gradient: are they in the same order?",
    "axis reversed": "Write out the first and the last entry along each axis.",
    "shifted by one": "Where in the result does the very first entry of the input land, padding included?",
    "derivative left out": "How much does the result change when the input changes a little?",
    "evaluated at the output": "Does the formula of the derivative contain the value before the function, or after it?",
    "evaluated at the input": "Does the formula of the derivative contain the value before the function, or after it?",
    "evaluated at minus the input":
        "Try a large positive and a large negative number: which limits should the derivative have?",
    "derivative applied twice":
        "How many functions lie between the input and the result, and how many derivatives are in the rule?",
    "activation's derivative left out":
        "Which functions are applied on the way, and does each contribute a factor of its own?",
    "Jacobian not transposed": "In reverse mode, does a gradient travel from the input to the result, or back?",
    "treated as elementwise": "Does an entry of the result depend on one entry of the input, or on several?",
    "steps treated as independent": "Which later results does an entry influence, and by what path?",
    "mean path missing": "The statistics depend on the input as well: by how many paths does it reach the result?",
    "variance path missing": "The statistics depend on the input as well: by how many paths does it reach the result?",
    "mean and variance paths missing": "Do the statistics stay constant when the input changes?",
    "overwritten, not accumulated":
        "When an entry is read more than once, what happens to the gradients that its readers send back?",
    "overlapping windows ignored": "To how many windows does an entry in the middle belong?",
    "kernel not flipped":
        "Draw which output reads which input with which weight, then read the drawing from right to left.",
    "stride ignored": "How far apart are the windows in the input?",
    "off by one in time": "To which time step does each factor of the formula belong?",
    "regularizer missing": "Which terms of the loss contain this input?",
    "regularizer doubled": "Which terms of the loss contain this input, and is each differentiated exactly once?",
    "wrong axis": "Along which axis does each sum run, and which index is left?",
    "value taken for index": "How much does a maximum grow when the largest entry grows a little?",
    "spread over the window": "Move each entry of the window a little: which of them change the result?",
    "other argument as a factor":
        "Which arguments appear in the derivative of this formula, and which do not?",
    "constant term": "Differentiate the formula term by term: which terms are linear in this input?",
    "standard deviation for variance": "Does each place in the formula need σ, σ² or ln σ²?",
    "epsilon forgotten": "Which small number stands under the root in the forward pass?",
    "gates exchanged": "In which order are the gates stored in the weights?",
    "not linear in the upstream gradient":
        "Doubling ∂L/∂y should double the gradient: which part of the rule does not follow?",
    "changed in place": "Which array does the rule write into, and who else reads it?",
    "wrong dtype": "In which precision does the rule compute, and in which the op?",
    "not an array": "What does the rule return for each input? It should be an array of floats of the input's shape.",
    "error in the rule": "Read the error: which line of the rule caused it, and which shapes and types meet there?",
    "not finite": "Look at the worst entries: which division, logarithm or root cannot handle that value?",
    "ties or zeros":
        "Away from this point the rule is right. Which value between the two slopes is the convention here?",
}


@dataclass
class Explanation:
    """A mistake that predicts the wrong gradient of one input. A smaller rank is more specific; explanations of one
    family are variants of each other. sure: enough numbers agree to rule out chance."""

    name: str
    rank: int
    family: int
    evidence: str
    sure: bool
    hint: str

    @property
    def number(self):
        """The fitted number, in words, which must be the same at every place; None if no number was fitted."""
        fitted = self.is_factor or self.name.startswith(("constant", "regularizer"))
        return self.evidence.partition(";")[0].partition(", with")[0] if fitted else None

    @property
    def weak(self):
        """Whether a more specific explanation that also fits is simply the better one, not a rival."""
        return self.family >= len(CANDIDATES)

    @property
    def is_factor(self):
        """Whether it is a number times the derivative. Another place shows best which number."""
        return CANDIDATES[self.family:self.family + 1] == [predictions.constant_factor]


def explanations(e, only=None):
    """The Explanations that fit the Evidence e, the most specific first. only: the beginning of the names allowed."""
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
                evidence = f"predicts {share} entries of ∂L/∂{e.names[e.i]} up to {max(rest, 1e-16):.0e} of the error"
                certain = (e.freedom >= 4 and entries is None and (e.is_call or not name.startswith("regularizer"))
                           and not any(words in detail for words in VAGUE))
                yield Explanation(name, 100 * family + rank, family, f"{detail}; {evidence}", certain, MISTAKES[name])


def of_a_sample(function, i, row):
    """The Explanations for an input too large for Evidence, from the Row of its comparison."""
    keep = ~row.left_out
    wrong, right, tolerance = row.analytic[keep], row.numeric[keep], row.tolerance[keep]
    if not wrong.any():
        yield Explanation("stop-gradient", 0, 0, "the gradient is zero or None", True, MISTAKES["stop-gradient"])
        return
    c = float(np.vdot(right, wrong) / np.vdot(right, right))
    if (np.abs(wrong - c * right) <= tolerance * max(1.0, abs(c))).all():
        y = function.evaluate(function.values)
        name, detail = next(predictions.names_of_factor(c, i, function.names, function.values, y))
        evidence = f"in a sample the gradient is {c:.6g} times the derivative{detail}"
        yield Explanation(name, 0, 0, evidence, True, MISTAKES[name])


def of_wrong_shape(call, rng):
    """(name, evidence) if a gradient of the wrong shape is right once transposed or summed; (None, "") if it is not."""
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
                    where = predictions.axes_in_words(axes)
                    return "broadcast axis not summed", f"summed over {where} it is right (y has shape {y.shape})"
    return None, ""
