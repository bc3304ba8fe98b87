"""The same rules through every gradient checker at hand: which wrong ones does it see, which right ones does it accuse?

    python -m benchmarks.gradient_checkers [--every 1] [--seeds 3] [--json PATH]

The rows are the wrong rules of tests/mutants.py, rules off by a small factor, and right rules, among them cases where
checks are known to fail: kinks and ties, large or small numbers, functions that saturate so that their results cancel,
and functions computed in float32. Each function and its rule become a custom function of the other framework, so that
all check the same arithmetic. A second-order mistake reaches the others in the form that gradgradcheck would build:
the gradient as a function of (∂L/∂y, x).

Checkers run as their documentation shows, in reverse mode and double precision. MyGrad ships none; "mygrad" is the
check in its own tests (tests/wrappers/uber.py): complex step in every entry, one random cotangent, tolerance 1e-8.
"""

import argparse
import contextlib
import io
import json
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cases import cases  # noqa: E402
from mutants import ORDINARY, ROW, bent, by_hand, systematic  # noqa: E402

from scratchnet import Tensor, check, grad, losses, ops  # noqa: E402
from scratchnet.autograd import astype, data_of  # noqa: E402


def first(y):
    """The first result of an op, the one that is differentiated."""
    return y[0] if isinstance(y, tuple) else y


def value(f, xs):
    return np.array(data_of(first(f(*xs))))


def pullback(f, xs, gy):
    """∂⟨gy, f⟩/∂x for every x by scratchnet's rules, right or wrong."""
    tensors = [Tensor(x, requires_grad=True) for x in xs]
    return [np.zeros_like(x) if g is None else g.data for g, x in
            zip(grad(first(f(*tensors)), tensors, gy), xs, strict=True)]


def gradient_function(f):
    """(gy, x, …) → all ∂⟨gy, f⟩/∂x in one vector, itself differentiable."""
    def g(gy, *xs):
        tensors = [x if isinstance(x, Tensor) else Tensor(x, requires_grad=True) for x in xs]
        found = grad(first(f(*tensors)), tensors, gy, create_graph=True)
        return ops.concat([ops.reshape(0.0 * x if d is None else d, -1) for d, x in zip(found, tensors, strict=True)])
    return g


def scratchnet_gradients(f, xs, order):
    check.gradients(f, *xs, order=order)


def to_first_order(checker):
    """The first-order checker, made to check order 2 as well by the function that gradgradcheck would build."""
    def of_order(f, xs, order):
        if order == 2:
            xs, f = [np.random.default_rng(0).standard_normal(value(f, xs).shape), *xs], gradient_function(f)
        checker(f, xs)
    return of_order


def torch_gradcheck(f, xs, fast=False):
    import torch

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *xs):
            ctx.save_for_backward(*xs)
            return torch.from_numpy(value(f, [x.detach().numpy() for x in xs]))

        @staticmethod
        def backward(ctx, gy):
            return tuple(map(torch.from_numpy, pullback(f, [x.detach().numpy() for x in ctx.saved_tensors],
                                                        gy.contiguous().numpy())))
    torch.manual_seed(0)
    torch.autograd.gradcheck(Wrapped.apply, [torch.tensor(x, requires_grad=True) for x in xs], fast_mode=fast)


def autograd_check_grads(f, xs):
    from autograd.extend import defvjp_argnums, primitive
    from autograd.test_util import check_grads

    @primitive
    def wrapped(*xs):
        return value(f, xs)
    defvjp_argnums(wrapped, lambda argnums, y, xs, options: lambda gy: [pullback(f, xs, gy)[i] for i in argnums])
    np.random.seed(0)  # its draws come from NumPy's global generator
    check_grads(wrapped, tuple(range(len(xs))), modes=["rev"], order=1)(*xs)


def jax_check_grads(f, xs):
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)

    def host(work, *shapes_like):
        return partial(jax.pure_callback, work, [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in shapes_like])

    def forward(*xs):
        return host(lambda *xs: [value(f, [np.array(x) for x in xs])], y)(*xs)[0]
    y, wrapped = value(f, xs), jax.custom_vjp(forward)
    wrapped.defvjp(lambda *xs: (forward(*xs), xs),
                   lambda xs, gy: tuple(host(lambda gy, *xs: pullback(f, [np.array(x) for x in xs], np.array(gy)), *xs)(
                       gy, *xs)))
    check_grads(wrapped, xs, order=1, modes=["rev"])


def mygrad_tests(f, xs):
    import mygrad
    from mygrad.operation_base import Operation

    class Wrapped(Operation):
        def __call__(self, *variables):
            self.variables = variables
            return value(f, [v.data for v in variables])

        def backward_var(self, gy, index):
            return pullback(f, [v.data for v in self.variables], gy)[index]
    tensors = [mygrad.Tensor(x.copy()) for x in xs]
    y = mygrad.execute_op(Wrapped, *tensors)
    gy = np.random.default_rng(0).uniform(-10, 10, y.shape)
    kept = gy.copy()
    (y * gy).sum().backward() if y.shape != xs[0].shape else y.backward(gy)
    for i, (x, t) in enumerate(zip(xs, tensors, strict=True)):
        def at(z, i=i):
            return (value(f, [*xs[:i], z, *xs[i + 1:]]) * gy).sum()
        numeric, tolerance = _entry_by_entry(at, x)
        np.testing.assert_allclose(t.grad, numeric, rtol=tolerance, atol=tolerance)
        assert not np.shares_memory(t.grad, gy)
        np.testing.assert_array_equal(t.data, x)
    np.testing.assert_array_equal(gy, kept)


def _entry_by_entry(at, x):
    """(∂at/∂x, tolerance): by a complex step with tolerance 1e-8, or, where that fails, by differences with 1e-4."""
    units = np.eye(x.size).reshape(x.size, *x.shape)
    with np.errstate(all="ignore"):
        differences = np.array([(at(x + 1e-6 * u) - at(x - 1e-6 * u)) / 2e-6 for u in units]).reshape(x.shape)
        with contextlib.suppress(Exception):  # a function written for real numbers
            found = np.array([at(x + 1e-20j * u).imag / 1e-20 for u in units]).reshape(x.shape)
            if np.allclose(found, differences, rtol=1e-3, atol=1e-3 * np.abs(differences).max(initial=0)):
                return found, 1e-8
    return differences, 1e-4


CHECKERS = {"scratchnet": scratchnet_gradients, "torch gradcheck": to_first_order(torch_gradcheck),
            "torch, fast mode": to_first_order(partial(torch_gradcheck, fast=True)),
            "jax check_grads": to_first_order(jax_check_grads),
            "autograd check_grads": to_first_order(autograd_check_grads), "mygrad": to_first_order(mygrad_tests)}


def wrong_rules(every):
    """(group, name, context, f, inputs, order) of every mistake that runs without an error, so that it takes a checker
    to see it."""
    for m in [*systematic(np.random.default_rng(0)), *by_hand()][::every]:
        with m.context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pullback(m.f, m.inputs, np.ones_like(value(m.f, m.inputs)))
            except Exception:  # the engine itself refuses it
                continue
        yield "wrong rules", m.name or m.label, m.context, m.f, m.inputs, m.order


def slightly_wrong(rng):
    """The rule of every op in ORDINARY times 1 + δ."""
    rows = cases(rng)
    for name in ORDINARY:
        f, *xs = rows[name]
        for delta in (1e-3, 1e-5, 1e-6):
            yield (f"times 1 + {delta:.0e}", name, partial(bent, ROW[name], of_g=partial(np.multiply, 1 + delta)), f,
                   xs, 1)


def right_rules(seeds):
    """(group, name, context, f, inputs, order) of every right rule, for each of the seeds."""
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x, t = rng.standard_normal((4, 5)), np.round(rng.standard_normal((4, 5)))
        halves = np.round(2 * x) / 2  # zeros and ties
        smooth = [ops.tanh, ops.sigmoid, ops.softplus, ops.square, ops.gelu, ops.silu, ops.logsumexp, ops.norm,
                  lambda x: ops.softmax(x, 1), lambda x: ops.var(x, 0),
                  lambda x, t=t: ops.dense(x, astype(t.T, x.dtype)),
                  lambda x, t=t: losses.mse(x, astype(t, x.dtype), "sum")]
        bent_ones = [ops.relu, ops.abs, ops.leaky_relu, ops.selu, lambda x: ops.clip(x, -1.0, 0.5),
                     lambda x: ops.max(x, 1), lambda x: ops.min(x, 0), lambda x, t=t: ops.maximum(x, t),
                     lambda x, t=t: losses.l1(x, t, "sum"),
                     lambda x, t=t: losses.hinge(x, np.where(t > 0, 1.0, -1.0), "sum"),
                     lambda x, t=t: losses.huber(x, t, "sum"), lambda x: ops.max_pool(x[None, :, :, None], 2, 1)]
        rows = [("right rules", f, xs) for f, *xs in cases(rng).values()]
        rows += [("right, at kinks and ties", f, [halves]) for f in bent_ones]
        rows += [(f"right, numbers near {scale:.0e}", f, [scale * x]) for f in smooth for scale in (1e4, 1e-4)]
        rows += [("right, computed in float32", _in_float32(f), [x]) for f in smooth + bent_ones]
        rows += [("right, saturated", f, [x]) for f in (
            lambda x: ops.log_softmax(50 * x, 1), lambda x: ops.log(ops.softmax(20 * x)), lambda x: ops.tanh(30 * x),
            lambda x: ops.log(ops.sigmoid(30 * x)), lambda x: ops.sqrt(1.0 - ops.square(ops.tanh(3 * x))),
            lambda x: ops.softmax(x).sum())]
        for group, f, xs in rows:
            yield group, getattr(f, "__name__", ""), contextlib.nullcontext, f, xs, 1


def _in_float32(f):
    return lambda x: astype(f(astype(x, np.float32)), np.float64)


def installed():
    """The checkers whose framework is installed, warmed up so that imports and compilation are not timed."""
    found = {}
    for name, checker in CHECKERS.items():
        with contextlib.suppress(ImportError):
            checker(ops.square, [np.ones((2, 3))], 1)
            found[name] = checker
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take every n-th wrong rule")
    parser.add_argument("--seeds", type=int, default=3, help="draws of all right rules")
    parser.add_argument("--json", type=Path, help="where to write the counts")
    arguments = parser.parse_args()
    checkers, flagged, seconds, missed = installed(), Counter(), Counter(), {}
    rows = [*wrong_rules(arguments.every), *slightly_wrong(np.random.default_rng(1)), *right_rules(arguments.seeds)]
    for group, name, context, f, xs, order in tqdm(rows, unit="rule"):
        flagged[group, "rows"] += 1
        for checker, gradients in checkers.items():
            start, seen = time.perf_counter(), False
            with context(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                try:
                    gradients(f, [x.copy() for x in xs], order)
                except Exception:  # each checker raises its own errors
                    seen = True
            seconds[group, checker] += time.perf_counter() - start
            flagged[group, checker] += seen
            if group == "wrong rules" and not seen:
                missed.setdefault(checker, Counter())[name] += 1
    groups = list(dict.fromkeys(group for group, *_ in rows))
    table(groups, checkers, flagged, seconds)
    for checker, names in missed.items():
        print(f"not seen by {checker}: " + ", ".join(f"{name} ({n})" for name, n in names.most_common()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"flagged": {f"{g} | {c}": n for (g, c), n in flagged.items()},
                                              "seconds": {f"{g} | {c}": s for (g, c), s in seconds.items()}}))


def table(groups, checkers, flagged, seconds):
    """Print how many rows of each group each checker called wrong, and its mean time."""
    print(f"{'called wrong':32}" + "".join(f"{name:>22}" for name in checkers))
    for group in groups:
        label = f"{group} ({flagged[group, 'rows']})"
        print(f"{label:32}" + "".join(f"{flagged[group, name]:22}" for name in checkers))
    total = {name: sum(seconds[g, name] for g in groups) for name in checkers}
    rows = sum(flagged[g, "rows"] for g in groups)
    print(f"{'milliseconds a check, mean':32}" + "".join(f"{1e3 * total[name] / rows:22.1f}" for name in checkers))


if __name__ == "__main__":
    main()
