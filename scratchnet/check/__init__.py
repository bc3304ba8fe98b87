"""Gradient checks: does a gradient rule give the derivative of its function?

    check.gradients(ops.tanh, x)              passes, or raises GradientMismatch with a table of the differences
    check.gradients(f, x, w, order=2)         also checks the second derivatives
    check.gradients(loss, x, parameters=net)  also checks the parameters that `loss` closes over

A random cotangent v turns a function y = f(x) of many results into one number, L = ⟨v, y⟩. (With a v of ones, every
softmax would have gradient zero.) Reverse mode gives ∂L/∂x in one pass; numeric.py computes the same numbers from
values of f alone. Where the two differ, diagnosis.py looks for the op on the tape whose rule is wrong, and for the
mistake that explains it.
"""

from contextlib import nullcontext
from pathlib import Path

import numpy as np

from scratchnet.autograd import data_of
from scratchnet.check.compare import ENTRIES, compare, recorded_differs
from scratchnet.check.diagnosis import Diagnosis, diagnose, relied_on
from scratchnet.check.function import Function
from scratchnet.check.numeric import slopes
from scratchnet.check.report import GradientMismatch, Report

__all__ = ["Diagnosis", "GradientMismatch", "Report", "adjoint", "gradients", "jacobian", "numerical_gradient",
           "taylor"]


def gradients(f, *inputs, parameters=None, order=1, seed=0, entries=ENTRIES, plot=False):
    """Check ∂⟨v, f⟩/∂x for every floating-point input x of f, up to the given order. Returns the Report.

    f           any function of arrays and Tensors that returns one Tensor (of several, the first is checked)
    inputs      arrays; floating-point ones are checked in float64 copies, all others are passed on unchanged
    parameters  a Module, or a dict of Parameters by name, that f closes over; checked like inputs. A Module is restored
                afterwards, running averages included
    order       2 also checks the gradient of Σ⟨∂⟨v, f⟩/∂x, u⟩ with respect to x and v, for random u; and so on
    entries     if all ∂y/∂x together have at most this many entries, each is checked; otherwise three random cotangents
                with 24 random entries and 4 dense random directions of every input
    plot        show analytic, numeric and difference side by side for the last order that was checked: in a window, or
                in the file gradient-check.png if matplotlib cannot open one

    f may take gradients itself, as a gradient penalty does: by `grad(…, create_graph=True)`, with respect to its
    arguments or to Tensors that it creates. The rules it relies on are then checked at the values they met in f. The
    comparison alone would miss them: a wrong rule inside f changes f itself.

    Where f has a kink at the point (relu at 0, a tie of max), it has no derivative. The report then states the
    convention of the rule, and the point is drawn again nearby. Entries with a kink within the step are left out and
    counted.

    Raises GradientMismatch if a gradient is wrong; also if f returns something else when called again or when given
    Tensors, if f or the gradient changes an input or the cotangent, or if a gradient is not linear in the cotangent,
    differs when computed again, or has fewer digits than its input.

    >>> from scratchnet import ops
    >>> gradients(ops.tanh, np.array([0.3, -1.2])).wrong
    False
    """
    rng = np.random.default_rng(seed)
    if order < 1:
        raise ValueError(f"check.gradients: order is 1 for first derivatives, 2 for second ones, …; got {order}")
    with getattr(parameters, "preserved", nullcontext)():
        function = Function(f, inputs, parameters and getattr(parameters, "named_parameters", lambda: parameters)())
        if not function.values:
            raise ValueError(f"check.gradients: nothing to check: no input is a real floating-point array, and there "
                             f"are no parameters; got {', '.join(map(_kind, inputs)) or 'no inputs'}")
        top = report = _compared(function, rng, entries)
        if not report.wrong:
            report.notes += [f"{name} has an axis of length 1, along which a missing sum cannot be seen"
                             for name, x in zip(function.names, function.values, strict=True)
                             if 1 in x.shape and x.size > 1]
            names, report.diagnosis = relied_on(function, rng)
            if names:
                verdict = "not all of them are right" if report.diagnosis else "these were checked as well"
                report.notes.append(f"f takes a gradient itself, by the rules of {', '.join(names)}: {verdict}")
            if report.diagnosis:
                report.faults.append(f"f itself uses the rule of `{report.diagnosis.op}`, which is wrong, so the "
                                     f"gradient compared here is that of a wrong function")
        for _ in range(1, order):
            if report.wrong:
                break
            v = rng.standard_normal(function.evaluate(function.values).shape)
            previous = function
            function = function.derivative(v, [rng.standard_normal(x.shape) for x in function.values])
            report.higher = _compared(function, rng, entries)
            if not report.higher.faults and (fault := recorded_differs(previous, v)):
                report.higher.faults.append(fault)
            report = report.higher
        if report.wrong and not report.diagnosis:
            report.diagnosis = diagnose(function, report, rng)
    if plot:
        _show(report)
    if report.wrong:
        raise GradientMismatch(top)
    return top


def _compared(function, rng, entries):
    """The Report of one order. A wrong rule is wrong along all random directions, so a difference must show along
    others as well. If it does not, the numerical derivatives were at fault."""
    report = compare(function, rng, entries)
    if report.wrong and not report.faults:
        again = compare(function, rng, entries)
        return report if again.wrong else again
    return report


def _kind(x):
    """An input in words, for an error message: "int64 array" or "float 0.3"."""
    return f"{data_of(x).dtype} array" if hasattr(data_of(x), "dtype") else f"{type(x).__name__} {x!r:.20}"


def _number(f, x):
    """(f as a Function of one array, its value), where that value is a single number."""
    function = Function(f, [np.array(data_of(x), dtype=np.float64)])
    y = function.evaluate(function.values)
    if y.size != 1:
        raise ValueError(f"f must return one number, got shape {y.shape}: add up its entries, or use check.jacobian")
    return function, y.item()


def _show(report):
    """Show the picture in a window, or save it to a file if matplotlib cannot open one."""
    import matplotlib
    import matplotlib.pyplot as plt

    figure = report.draw(plt.figure(layout="constrained"))
    if matplotlib.get_backend().lower() in matplotlib.backends.backend_registry.list_builtin(
            matplotlib.backends.BackendFilter.NON_INTERACTIVE):
        path = Path("gradient-check.png").absolute()
        figure.savefig(path, dpi=150)
        print(f"matplotlib cannot open a window here; the picture is in {path}")
    else:
        plt.show()
    plt.close(figure)


def numerical_gradient(f, x, seed=0):
    """∂f/∂x for an f that turns one array into a number, from values of f alone (see numeric.py)."""
    function, _ = _number(f, x)
    found = slopes(lambda z: function.evaluate([z]).reshape(1), function.values[0], range(function.values[0].size),
                   np.random.default_rng(seed))
    return found.value.reshape(function.values[0].shape)


def jacobian(f, x):
    """∂yⱼ/∂xᵢ by reverse mode, one row for each entry of y: (y.size, x.size)."""
    function = Function(f, [np.array(data_of(x), dtype=np.float64)])
    x = function.values[0]
    y = function.evaluate([x])
    rows = [g[0] for g in function.gradients(list(np.eye(y.size)))]
    return np.array([np.zeros(x.size) if g is None else g.ravel() for g in rows]).reshape(y.size, x.size)


def adjoint(forward, transpose, x_shape, y_shape, seed=0):
    """Check that `transpose` is the adjoint of the linear map `forward`: ⟨S x, y⟩ = ⟨x, Sᵀ y⟩ for random x and y."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    Sx, Sty = data_of(forward(x)), data_of(transpose(y))
    if Sx.shape != y.shape or Sty.shape != x.shape:
        raise GradientMismatch(Report(faults=[f"forward gives shape {Sx.shape}, but y has {y.shape}; transpose gives "
                                              f"{Sty.shape}, and x has {x.shape}"]))
    left, right = np.vdot(Sx, y), np.vdot(x, Sty)
    size = np.linalg.norm(Sx) * np.linalg.norm(y)
    if not abs(left - right) <= 1e-12 * size:
        raise GradientMismatch(Report(faults=[f"⟨S x, y⟩ = {left:.12g}, but ⟨x, Sᵀ y⟩ = {right:.12g}: "
                                              f"the maps are not adjoint to each other"]))


def taylor(f, x, seed=0):
    """The order p in |f(x + h u) − f(x) − h ⟨∂f/∂x, u⟩| ~ hᵖ for a number f and a random direction u.

    p is 2 if the gradient is right (Taylor's theorem), more where the second derivative vanishes, and infinity for a
    linear f, whose remainder is only rounding. Raises GradientMismatch if the remainder falls more slowly.
    """
    function, y = _number(f, x)
    x = function.values[0]
    u, gradient = np.random.default_rng(seed).standard_normal(x.shape), function.gradients([np.ones(1)])[0][0]
    slope = 0.0 if gradient is None else float(np.vdot(gradient, u))
    steps = np.array([1e-2, 5e-3, 2.5e-3]) / max(1.0, np.linalg.norm(u))
    rest = np.array([abs(function.evaluate([x + h * u]).item() - y - h * slope) for h in steps])
    if (rest <= 1e-14 * max(abs(y), abs(slope))).all():
        return float("inf")
    order = float(np.polyfit(np.log(steps), np.log(np.maximum(rest, 1e-300)), 1)[0])
    if not order > 1.8:
        table = ", ".join(f"{r:.2e} at h = {h:.1e}" for h, r in zip(steps, rest, strict=True))
        raise GradientMismatch(Report(faults=[f"the remainder falls as h^{order:.2f}, not as h²: {table}"]))
    return order
