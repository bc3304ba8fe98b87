"""From a wrong gradient to the mistake: find the op on the tape whose rule is wrong, then the mistake that explains it.

Every op call that the function records is checked alone. The first one whose rule is wrong is examined closely: each
explanation in mistakes.py predicts a wrong gradient from the right one, to be compared with the gradient found. If all
rules are right, so is the gradient of everything on the tape; then something is missing from the tape.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from scratchnet.check.compare import compare, in_words, recorded_differs
from scratchnet.check.evidence import INPUTS, Call, Evidence
from scratchnet.check.mistakes import MISTAKES, explanations, of_a_sample, of_wrong_shape
from scratchnet.check.places import elsewhere, smaller

CALLS = 400  # op calls on the tape that are examined
CHECK_PARTS = "Check the parts of f one by one."
READS_MORE = "What does the rule read besides its arguments?"


@dataclass
class Diagnosis:
    """A mistake with a name.

    name        the name of the mistake, or "unknown" if none explains the gradient
    confidence  "high": the explanation predicts every wrong entry, and no other one does; "low": others do as well,
                or there are too few numbers to tell
    evidence    how well it fits, and on which entries
    hint        a sentence that helps without giving the answer away
    op, inputs  the op whose rule is wrong (None if it is no single one), and the inputs whose gradient is wrong
    others      names of further explanations that fit equally well
    """

    name: str
    confidence: str
    evidence: str
    hint: str
    op: str | None = None
    inputs: list = field(default_factory=list)
    others: list = field(default_factory=list)

    def __str__(self):
        of_rule = f" of the rule of `{self.op}`" if self.op else ""
        for_inputs = f" for {_listed(f'`{name}`' for name in self.inputs)}" if self.inputs else ""
        rivals = f". It could also be: {', '.join(self.others)}" if self.others else ""
        return (f"diagnosis{of_rule}{for_inputs}: {self.name} ({self.confidence} confidence)\n"
                f"  evidence: {self.evidence}{rivals}\n  hint: {self.hint}")


def _listed(names):
    """a, b and c"""
    *names, last = names
    return f"{', '.join(names)} and {last}" if names else last


def diagnose(function, report, rng):
    """The Diagnosis of a wrong Report of this Function: a fault of f or of a gradient, else a wrong rule, else a gap in
    the tape."""
    return _of_faults(function, report, rng) or _of_a_rule(function, report, rng) or _of_the_tape(function, report, rng)


def _of_faults(function, report, rng):
    """The Diagnosis if something is changed or read that should not be, or if nothing could be checked; else None."""
    def told(*words):
        return any(word in fault for fault in report.faults for word in words)
    if told("changes the cotangent", "changed its input", "computed again", "not linear") and (
            op := _writes(function, rng)):
        evidence = f"the rule of `{op.name}` writes into an array that it was given"
        return Diagnosis("changed in place", "high", evidence, MISTAKES["changed in place"], op.name)
    if told("another result", "computed again"):
        return Diagnosis("not a function", "high", report.faults[0],
                         "What does it read or change besides its arguments?")
    unchecked = [fault for fault in report.faults if "has no derivative at" in fault]
    if unchecked and unchecked == report.faults and not any(row.wrong for row in report.rows):
        return Diagnosis("not checked", "low", unchecked[0], "At which inputs is the function smooth?")
    return None


def _of_a_rule(function, report, rng):
    """The Diagnosis if an op call on the tape has a wrong rule; else None."""
    culprit, broken = _culprit(function, rng)
    if broken:
        return _explain_broken(*broken, rng)
    if not any(row.wrong for row in report.rows) and any("at the kink" in fault for fault in report.faults):
        return _named("ties or zeros", "high", report.faults[0], culprit)
    return None if culprit is None else _explain(culprit, rng)


def _of_the_tape(function, report, rng):
    """The Diagnosis if all rules are right alone: a path is missing from the tape, or a rule acts differently there."""
    calls, wrong = len(function.calls()), [row.name for row in report.rows if row.wrong]
    if calls > CALLS:
        return Diagnosis("unknown", "low", f"the first {CALLS} of {calls} op calls on the tape have right rules",
                         CHECK_PARTS)
    if not wrong or any("create_graph=True" in fault for fault in report.faults):
        return Diagnosis("unknown", "low", "; ".join(report.faults) or "no single op explains it", CHECK_PARTS)
    evidence = (f"all op calls on the tape ({calls}) have right rules, so some path from {_listed(wrong)} to the "
                f"result is missing from the tape")
    if function.of:
        return _named("stop-gradient in the second order", "high", evidence, _hides_a_path(function, rng), wrong)
    if (op := _with_a_memory(function, rng)):
        evidence = (f"the rule of `{op.name}` is right alone, but among other calls it gives another gradient "
                    f"for the same numbers")
        return Diagnosis("not a function", "high", evidence, READS_MORE, op.name)
    specific = _explain(function, rng, only="regularizer")
    if specific.name != "unknown":
        return specific
    if function.calls_inside():
        evidence += "; f takes a gradient itself, which can be differentiated again only with create_graph=True"
    confidence = "high" if any(row.gross for row in report.rows) else "low"
    return _named("stop-gradient", confidence, evidence, None, wrong)


def _writes(function, rng):
    """The first op whose rule changes ∂L/∂y, or an array that it kept, in place; None if there is none."""
    for call in _kinds(function.calls()[:CALLS]):
        y, leaves = call.record(call.values)
        gy = rng.standard_normal(y.shape)
        handed = [gy, *(a for a in y.node.kept if isinstance(a, np.ndarray))]
        before = [a.copy() for a in handed]
        try:
            for rule, where, _, _ in y.node.plan.rules:
                rule(gy, *[y.node.kept[k] for k in where])
        except Exception:  # another fault, which _culprit finds
            continue
        if not all(map(np.array_equal, handed, before)):
            return call.op
    return None


def relied_on(function, rng):
    """([names of the ops whose rules f relies on when it takes a gradient itself], the Diagnosis of the first wrong one
    or None). A wrong rule makes f itself wrong, and the gradient may match the wrong f."""
    names, culprit, broken = [], None, None
    for call in _kinds(function.calls_inside()):
        if call.op.name not in names:
            names.append(call.op.name)
        if not (culprit or broken):
            culprit, broken = _judged(call, False, rng)
    found = _explain_broken(*broken, rng) if broken else _explain(culprit, rng) if culprit else None
    return names, found


def _culprit(function, rng):
    """(the first op call with a wrong rule, or None; (call, error) if its rule gives no gradient at all, or None)."""
    try:
        calls = function.calls()
    except Exception:  # a second-order function whose first order has no gradient
        if not function.of:
            raise
        calls = function.of.calls()
    for call in _kinds(calls[:CALLS]):
        found = _judged(call, function.of, rng)
        if any(found):
            return found
    return None, None


def _kinds(calls):
    """The Calls in the order to examine them: repeats of an op with the same shapes come last."""
    kinds, repeated = {}, []
    for op, args, _ in calls:
        call = Call(op, args)
        key = (op.name, tuple(x.shape for x in call.values), repr([a for a in call.fixed if not hasattr(a, "dtype")]))
        if kinds.setdefault(key, call) is not call:
            repeated.append(call)
    return [*kinds.values(), *repeated]


def _judged(call, second_order, rng):
    """(call, None) if its rule is wrong, (None, (call, error)) if it gives no gradient, (None, None) if it is right."""
    report = compare(call, np.random.default_rng(0), 1_000)
    v = rng.standard_normal(call.evaluate(call.values).shape)
    if report.wrong:
        broken = any(map(_is_broken, report.faults))
        call.recorded = False
        return (None, (call, report.faults[0])) if broken else (call, None)
    if second_order:
        try:
            call.recorded = True
            second = call.derivative(v, [rng.standard_normal(x.shape) for x in call.values])
            second.evaluate(second.values)
            return (call, None) if recorded_differs(call, v) else (None, None)
        except Exception as error:
            return None, (call, in_words(error))
    return None, None


def _is_broken(fault):
    """Whether a fault says that there is no gradient to compare with."""
    return "its gradient rule gave" in fault or "the gradient cannot be computed" in fault


def _with_a_memory(function, rng):
    """The first op whose rule gives another gradient on this Function's tape than alone; None if there is none."""
    calls, walk = function.passed(rng.standard_normal(function.evaluate(function.values).size))
    made = {result.node: (op, args) for op, args, result in calls}
    for node, gy, inputs in walk:
        if node not in made:
            continue
        call = Call(*made[node])
        alone = call.gradients([np.asarray(gy)])[0]
        for parent in {parent for parent, _ in inputs}:
            slots = [k for k, p in enumerate(node.parents) if p is parent]
            there = sum(g for p, g in inputs if p is parent)
            here = sum(alone[k] for k in slots if alone[k] is not None)
            if not np.allclose(there, here, rtol=1e-6, atol=1e-9 * np.abs(there).max(initial=0.0), equal_nan=True):
                return call.op
    return None


def _hides_a_path(function, rng):
    """The op call of the first order whose own second order is wrong, or None."""
    for op, args, _ in function.of.calls()[:CALLS]:
        call = Call(op, args)
        v = rng.standard_normal(call.evaluate(call.values).shape)
        second = call.derivative(v, [rng.standard_normal(x.shape) for x in call.values])
        if compare(second, np.random.default_rng(0), 1_000).wrong:
            return call
    return None


def _explain(function, rng, only=None):
    """The Diagnosis of a Function whose own rule is wrong. For each wrong input it collects the explanations that hold
    here and at another place; the one that covers most inputs wins, then the most specific one. Large inputs are made
    smaller first. only: the beginning of the names that are allowed."""
    found, moved, report, op = {}, [], None, getattr(getattr(function, "op", None), "name", None)
    recorded = getattr(function, "recorded", False)
    if any(x.size > INPUTS for x in function.values) and (less := smaller(function, rng)) is not None:
        less.recorded = recorded
        if compare(less, np.random.default_rng(0), 1_000).wrong:
            function = less
    if (coarse := next((f for f in compare(function, np.random.default_rng(0), 0).faults if "computes in" in f), None)):
        return _named("wrong dtype", "high", coarse, function)
    other = elsewhere(function, rng)
    for i in range(len(function.values)):
        if function.values[i].size > INPUTS:
            report = report or compare(function, rng, 0)
            if report.rows and report.rows[i].wrong:
                found[function.names[i]] = list(of_a_sample(function, i, report.rows[i]))
            continue
        evidence = Evidence(function, i, rng, recorded)
        if evidence.moved:
            moved.append(function.names[i])
        if evidence.error <= 1e-6 * max(np.linalg.norm(evidence.right), 1e-9):
            continue
        found[function.names[i]] = _confirmed(function, list(explanations(evidence, only)), other, i, rng, recorded,
                                              only)
    if not found and moved:
        evidence = f"away from the kink or tie in {_listed(moved)} the rule is right"
        return _named("ties or zeros", "high", evidence, function, moved)
    if not found:
        return _explain_guard(function, op)
    fitting = {name: all_ for name, all_ in found.items() if all_}
    if not fitting:
        names = list(found)
        return Diagnosis("unknown", "low", f"none of the {len(MISTAKES)} known mistakes predicts the gradient of "
                         f"{_listed(names)}", "Write out the formula for one entry of y and one of "
                         f"{names[0]}, and compare it with the worst entry in the table.", op, names)
    explained = {}  # name of a mistake → [(input, explanation)]
    for name, all_ in fitting.items():
        for e in all_:
            explained.setdefault(e.name, []).append((name, e))
    best = min(explained.values(), key=lambda pairs: (-len(pairs), pairs[0][1].rank))
    inputs, best = [name for name, _ in best], best[0][1]
    others = sorted({e.name for name in inputs for e in fitting[name] if e.family != best.family and not e.weak})
    sure = best.sure and not others and len(inputs) == len(found)
    unexplained = [name for name in found if name not in inputs]
    evidence = best.evidence + (f"; does not explain the gradient of {_listed(unexplained)}" if unexplained else "")
    if recorded:
        evidence += "; only when the gradient is recorded for a second order"
    return Diagnosis(best.name, "high" if sure else "low", evidence, best.hint, op, inputs, others)


def _confirmed(function, here, other, i, rng, recorded, only):
    """The Explanations found here that hold at the other place as well, with the words that fit there. All of them if
    there is no other place; all, but none of them sure, if the rule is right there."""
    if other is None or not here or other.values[i].size > INPUTS:
        return here
    evidence = Evidence(other, i, rng, recorded)
    if evidence.error <= 1e-6 * max(np.linalg.norm(evidence.right), 1e-9):
        return [replace(e, sure=False) for e in here]
    there = list(explanations(evidence, only))
    factors = [h for h in here if h.is_factor]
    both = [t for t in there if t.is_factor and any(_is_one_factor(h, t) for h in factors)]
    if factors and not both and _is_constant(function, factors[0], i, rng, recorded):
        both = [h for h in factors if "N" not in h.name]
    return both[:1] + [t for t in there if not t.is_factor and any(
        h.family == t.family and h.name == t.name and h.number == t.number for h in here)]


def _is_one_factor(here, there):
    """Whether two factors have the same name and, if that is a size, mean the size of the same axis."""
    return here.name == there.name != "constant factor" and ("N" not in here.name or _size(here) == _size(there))


def _size(e):
    """The size that a factor means, in words: "axis 1 of x"."""
    return e.evidence.partition(";")[0].rpartition(", ")[2]


def _is_constant(function, here, i, rng, recorded):
    """Whether a factor is the same for other numbers of the same shapes. If not, it is no constant of the formula."""
    other = elsewhere(function, rng, same_shapes=True)
    return other is None or any(e.is_factor and e.number == here.number
                                for e in explanations(Evidence(other, i, rng, recorded)))


def _explain_guard(function, op):
    """The Diagnosis of a rule that gives the right numbers but breaks a law that every gradient obeys."""
    faults = compare(function, np.random.default_rng(0), 1_000).faults
    for words, name in (("is not linear", "not linear in the upstream gradient"), ("computes in", "wrong dtype"),
                        ("computed again", "not a function")):
        if any(words in fault for fault in faults):
            hint = MISTAKES.get(name, READS_MORE)
            return Diagnosis(name, "high", next(fault for fault in faults if words in fault), hint, op)
    return Diagnosis("unknown", "low", "; ".join(faults), CHECK_PARTS, op)


def _explain_broken(call, message, rng):
    """The Diagnosis of a rule that gives no gradient, or one of the wrong shape."""
    if "gave shape" not in message:
        return _named("not an array" if "its gradient rule gave" in message else "error in the rule", "high", message,
                      call)
    name, evidence = of_wrong_shape(call, rng)
    if name is None:
        return Diagnosis("wrong shape", "high", message, "Which axes does the input have, and in which order?",
                         call.op.name, _misshapen(call, rng))
    return _named(name, "high", f"{message}; {evidence}", call, _misshapen(call, rng))


def _misshapen(call, rng):
    """The names of the inputs whose gradient has a different shape."""
    raw = call.unfitted(rng.standard_normal(call.evaluate(call.values).size))
    return [name for name, x, g in zip(call.names, call.values, raw, strict=True)
            if g is not None and getattr(g, "shape", ()) != x.shape]


def _named(name, confidence, evidence, call, inputs=()):
    """The Diagnosis with the hint that belongs to its name, for the op of a Call."""
    op = getattr(getattr(call, "op", None), "name", None)
    return Diagnosis(name, confidence, evidence, MISTAKES[name], op, list(inputs))
