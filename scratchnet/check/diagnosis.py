"""From a wrong gradient to the mistake: first which op on the tape has the wrong rule, then which mistake explains it.

Every op call that the function records is checked by itself. The first one whose rule is wrong is looked at closely:
each explanation in mistakes.py predicts a wrong gradient from the right one, and the prediction is held against what
was found. If all rules are right, the gradient of what is on the tape is right, and so something is not on the tape.
"""

from dataclasses import dataclass, field

import numpy as np

from scratchnet.autograd import GradientShapeError
from scratchnet.check.compare import compare, recorded_differs
from scratchnet.check.evidence import INPUTS, Call, Evidence
from scratchnet.check.mistakes import MISTAKES, explanations, of_a_sample, of_wrong_shape

CALLS = 400  # op calls that are looked at


@dataclass
class Diagnosis:
    """A mistake with a name.

    name        of the mistake, "unknown" if none explains the gradient
    confidence  "high": the explanation predicts every wrong entry, and no other one does; "low": others do as well,
                or there are too few numbers to tell
    evidence    how well it fits, and on which entries
    hint        one sentence that helps without giving the answer away
    op, inputs  the op whose rule is wrong (None: no single one), and its inputs that are
    others      names of further explanations that fit as well
    """

    name: str
    confidence: str
    evidence: str
    hint: str
    op: str | None = None
    inputs: list = field(default_factory=list)
    others: list = field(default_factory=list)

    def __str__(self):
        where = f" in the rule of `{self.op}`" if self.op else ""
        for_inputs = f", for {' and '.join(f'`{n}`' for n in self.inputs)}" if self.inputs else ""
        rivals = f". It could also be: {', '.join(self.others)}" if self.others else ""
        return (f"diagnosis{where}{for_inputs}: {self.name} ({self.confidence} confidence)\n"
                f"  evidence: {self.evidence}{rivals}\n  hint: {self.hint}")


def diagnose(function, report, rng):
    """The Diagnosis of a wrong Report of this Function."""
    if any("another result" in fault for fault in report.faults):
        return Diagnosis("not a function", "high", report.faults[0],
                         "What does f read or change besides its arguments?")
    culprit, misshapen = _culprit(function, rng)
    if misshapen:
        return _explain_shape(*misshapen, rng)
    if not any(row.wrong for row in report.rows) and any("at the kink" in fault for fault in report.faults):
        return _named("ties or zeros", "high", report.faults[0], culprit)
    if culprit is not None:
        return _explain(culprit, rng)
    recorded = any("create_graph=True" in fault for fault in report.faults)
    calls = len(function.calls())
    if calls > CALLS:
        return Diagnosis("unknown", "low", f"the first {CALLS} of {calls} op calls on the tape have the right rule",
                         "Check its parts alone.")
    if not recorded and any(row.wrong for row in report.rows):
        wrong = [row.name for row in report.rows if row.wrong]
        evidence = (f"each of the {calls} op calls on the tape has the right rule, so some path from "
                    f"{' and '.join(wrong)} to the result is not on the tape")
        if function.of:
            return _named("stop-gradient in the second order", "high", evidence, _hides_a_path(function, rng), wrong)
        specific = _explain(function, rng, only="regularizer")
        if specific.name != "unknown":
            return specific
        confidence = "high" if any(row.gross for row in report.rows) else "low"
        return _named("stop-gradient", confidence, evidence, None, wrong)
    return Diagnosis("unknown", "low", "; ".join(report.faults) or "no single op explains it", "Check its parts alone.")


def _culprit(function, rng):
    """(the first op call with a wrong rule, or None; (call, error) of one whose rule gives a wrong shape, or None).

    Of calls with the same op and shapes one is looked at, and the others only if no rule has been found wrong."""
    try:
        calls = function.calls()
    except GradientShapeError:  # a second-order function whose first order has the wrong shape
        calls = function.of.calls()
    kinds, repeated = {}, []
    for op, args, _ in calls[:CALLS]:
        call = Call(op, args)
        key = (op.name, tuple(x.shape for x in call.values), repr([a for a in call.fixed if not hasattr(a, "dtype")]))
        if kinds.setdefault(key, call) is not call:
            repeated.append(call)
    for call in [*kinds.values(), *repeated]:
        try:
            report = compare(call, np.random.default_rng(0), 1_000)
            v = rng.standard_normal(call.evaluate(call.values).shape)
            if report.wrong:
                if any("its gradient rule gave shape" in fault for fault in report.faults):
                    return None, (call, report.faults[0])
                call.recorded = False
                return call, None
            if function.of and recorded_differs(call, v):
                call.recorded = True
                return call, None
        except GradientShapeError as error:
            return None, (call, str(error))
    return None, None


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
    """The Diagnosis of a Function whose own rule is wrong: the explanation that fits the wrong inputs best."""
    found, moved, report, op = {}, [], None, getattr(getattr(function, "op", None), "name", None)
    recorded = getattr(function, "recorded", False)
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
        found[function.names[i]] = list(explanations(evidence, only))
    if not found and moved:
        evidence = f"beside the kink or tie in {' and '.join(moved)} the rule is right"
        return _named("ties or zeros", "high", evidence, function, moved)
    fitting = {name: all_ for name, all_ in found.items() if all_}
    if not fitting:
        names = list(found) or list(function.names)
        return Diagnosis("unknown", "low", f"none of {len(MISTAKES)} kinds of mistakes predicts the gradient of "
                         f"{' and '.join(names)}", "Write the formula out for one entry of y and one of "
                         f"{names[0]}, and compare it with the worst entry of the table.", op, names)
    explained = {}  # name of a mistake → [(input, explanation)]
    for name, all_ in fitting.items():
        for e in all_:
            explained.setdefault(e.name, []).append((name, e))
    best = min(explained.values(), key=lambda pairs: (-len(pairs), pairs[0][1].rank))
    inputs, best = [name for name, _ in best], best[0][1]
    others = sorted({e.name for name in inputs for e in fitting[name] if e.family != best.family})
    sure = best.sure and not others and len(inputs) == len(found)
    unexplained = [name for name in found if name not in inputs]
    evidence = best.evidence + (f"; {' and '.join(unexplained)}: something else" if unexplained else "")
    if recorded:
        evidence += "; only when the gradient is recorded for a second order"
    return Diagnosis(best.name, "high" if sure else "low", evidence, best.hint, op, inputs, others)


def _explain_shape(call, message, rng):
    """The Diagnosis of a rule that gives a gradient of the wrong shape."""
    name, evidence = of_wrong_shape(call, rng)
    if name is None:
        return Diagnosis("wrong shape", "high", message, "Which axes does the input have, and in which order?",
                         call.op.name, call.names)
    return _named(name, "high", f"{message}; {evidence}", call)


def _named(name, confidence, evidence, call, inputs=()):
    op = getattr(getattr(call, "op", None), "name", None)
    return Diagnosis(name, confidence, evidence, MISTAKES[name], op, list(inputs))
