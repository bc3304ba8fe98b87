"""The fused kernels give what the ops' own lines give, to float32 rounding. Without a GPU, a C++ compiler stands in for
CUDA's: the same sources run on NumPy's arrays, one entry after the other. NVRTC, where it is found, translates them.
"""

import ctypes
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from draws import f4, normal, normed, odd, recurrent, shape, shares

from scratchnet import Tensor, backend, compiled, grad, ops
from scratchnet.backend.forms import Declined
from scratchnet.compiled import gpu, gpu_windows, table
from scratchnet.ops.windows import geometry

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.steps.ours import STEPS, Trainer  # noqa: E402

FORMS = {entry.form.name.removesuffix(", GPU"): entry for entry in table.TABLE if entry.kind is gpu.GPU}
SOURCE = gpu.PREAMBLE + "".join(kernel.source for kernel in gpu.KERNELS)

# ---------------------------------------------------------------- two ways to run a kernel

HOST = """
#include <math.h>
#define __device__ static
#define __global__
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """All kernels as functions of C, in which a loop over t stands for the threads."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    folder = tmp_path_factory.mktemp("kernels")
    start = "int t = blockIdx.x * blockDim.x + threadIdx.x;\n    if (t < entries)"
    assert SOURCE.count(start) == len(gpu.KERNELS)
    (folder / "kernels.cpp").write_text(HOST + SOURCE.replace(start, "for (int t = 0; t < entries; t++)"))
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", folder / "kernels.so", folder / "kernels.cpp"],
                   check=True, timeout=100)
    return ctypes.CDLL(str(folder / "kernels.so"))


@pytest.fixture(params=["C++", pytest.param("gpu", marks=pytest.mark.gpu)])
def asarray(request, monkeypatch):
    """np.asarray, with the kernels running on NumPy's arrays, or the way to the GPU."""
    if request.param == "gpu":
        if not backend.gpu_available():
            pytest.skip("no GPU here")
        compiled.use_kernels(False)  # which SCRATCHNET_COMPILED may have put in use
        return backend.to_gpu
    functions = request.getfixturevalue("library")

    def run(kernel, entries, *arguments):
        assert all(a is not None and type(a) in (np.ndarray, int, float) for a in arguments)
        getattr(functions, kernel.name)(*(
            ctypes.c_void_p(a.ctypes.data) if type(a) is np.ndarray else ctypes.c_int(a) if type(a) is int else
            ctypes.c_float(a) for a in (*arguments, entries)))
    monkeypatch.setattr(gpu.Kernel, "__call__", run)
    return np.asarray


@contextmanager
def in_use(kind):
    """The kernels stand in for ops on arrays of this kind."""
    before = [entry.forms.get(kind) for entry in FORMS.values()]
    try:
        _install(kind, [entry.form for entry in FORMS.values()])
        yield
    finally:
        _install(kind, before)


def _install(kind, forms):
    for entry, form in zip(FORMS.values(), forms, strict=True):
        entry.forms.pop(kind, None)
        if form is not None:
            entry.forms[kind] = form
        if entry.op is not None:
            entry.op.plans = {}


# ---------------------------------------------------------------- arguments of each form

def pair(rng, first=odd, second=odd):
    """Two arrays of one shape; the first is at times one number, repeated."""
    size = shape(rng)
    return np.broadcast_to(f4(0.3), size) if rng.random() < 0.3 else first(rng, *size), second(rng, *size)


def normed_back(rng):
    x, gamma, _ = normed(rng)
    rows = x.reshape(-1, x.shape[-1])
    return normal(rng, *x.shape), x, gamma, rows.mean(axis=0), rows.var(axis=0), 1e-3


def recurrent_back(rng):
    inputs = recurrent(rng)
    y, gates, cells = FORMS["lstm"].own(*inputs)
    return normal(rng, *y.shape), *inputs, y, np.ascontiguousarray(gates.swapaxes(1, 2)).swapaxes(1, 2), cells


def windows(rng, draw=normal, channels=(1, 6)):
    """(x, kernel, stride, pads, places) of windows that fit."""
    x = draw(rng, *(int(k) for k in rng.integers(1, 8, 3)), int(rng.integers(*channels)))
    kernel = tuple(int(rng.integers(1, min(4, n) + 1)) for n in x.shape[1:3])
    padding = ["same", "valid", tuple(tuple(int(p) for p in rng.integers(0, 3, 2)) for _ in range(2))]
    return x, kernel, *geometry("test", x.shape[1:3], kernel, tuple(int(s) for s in rng.integers(1, 4, 2)),
                                padding[rng.integers(3)])


def unfolded(rng):
    x, kernel, stride, pads, places = windows(rng)
    w = normal(rng, *kernel, x.shape[3], int(rng.integers(1, 7)))
    columns = np.empty((len(x), *places, kernel[0], kernel[1] * x.shape[3]), f4) if rng.random() < 0.5 else None
    return x, w, bias(rng, w.shape[3]), stride, pads, places, columns


def folded(rng):
    x, kernel, stride, pads, places = windows(rng)
    w = normal(rng, *kernel, x.shape[3], int(rng.integers(1, 7)))
    return normal(rng, len(x), *places, w.shape[3]), w, bias(rng, x.shape[3]), stride, pads, x.shape[1:3]


def weights(rng):
    x, kernel, stride, pads, places = windows(rng)
    return x, normal(rng, len(x), *places, int(rng.integers(1, 7))), kernel, stride, pads


def bias(rng, n):
    return normal(rng, n) if rng.random() < 0.5 else None


def tiles(rng):
    x, pads = normal(rng, *(int(k) for k in rng.integers(3, 9, 4))), ((1, 1), (1, 0))
    return x, pads, tuple(n + sum(p) - 2 for n, p in zip(x.shape[1:3], pads, strict=True))


def winograd(rng):
    x, pads, size = tiles(rng)
    out = int(rng.integers(1, 5))
    return x, normal(rng, 3, 3, x.shape[3], out), bias(rng, out), pads, size


def winograd_weight(rng):
    x, pads, size = tiles(rng)
    return x, normal(rng, len(x), *size, int(rng.integers(1, 5))), pads


def argmax(rng, x, kernel, places):
    shape = len(x), *places, x.shape[3]
    return rng.integers(0, kernel[0] * kernel[1], shape).astype(np.uint8) if rng.random() < 0.7 else None


def from_windows(rng):
    x, kernel, stride, pads, places = windows(rng, odd)
    return x, kernel, stride, pads, places, argmax(rng, x, kernel, places)


def into_windows(rng):
    x, kernel, stride, pads, places = windows(rng)
    return (odd(rng, len(x), *places, x.shape[3]), kernel, stride, pads, x.shape[1:3],
            argmax(rng, x, kernel, places))


ROWS = {  # name of the form → arguments, drawn
    "relu": lambda rng: (odd(rng, *shape(rng)),), "relu, gradient": pair,
    "leaky_relu": lambda rng: (odd(rng, *shape(rng)), float(rng.choice([0.0, 0.01, 0.2]))),
    "leaky_relu, gradient": lambda rng: (*pair(rng), 0.2),
    "sigmoid": lambda rng: (odd(rng, *shape(rng)),), "sigmoid, gradient": lambda rng: pair(rng, odd, shares),
    "tanh, gradient": pair, "softplus": lambda rng: (odd(rng, *shape(rng)),), "softplus, gradient": pair,
    "bce_with_logits": lambda rng: (lambda n: (odd(rng, *n), shares(rng, *n)))(shape(rng)),
    "bce_with_logits, gradient": lambda rng: (lambda g, x: (g, x, shares(rng, *x.shape)))(*pair(rng)),
    "adam_step": lambda rng: (lambda n: (*(normal(rng, n) for _ in range(3)), shares(rng, n), 0.9, 0.999, 1e-3, 1e-8,
                                         np.empty(n, f4)))(int(rng.integers(1, 50))),
    "batch_norm": lambda rng: (*normed(rng), 1e-3), "batch_norm, gradient": normed_back,
    "lstm": recurrent, "lstm, gradient": recurrent_back,
    "unfold_product": unfolded, "fold_product": folded, "weight_product": weights,
    "winograd": winograd, "winograd_weight": winograd_weight,
    "winners": lambda rng: windows(rng, odd), "from_windows": from_windows, "into_windows": into_windows}
ROUNDING = {"winograd": 3e-5, "winograd_weight": 3e-5, "batch_norm, gradient": 1e-4}  # divided by small variances
IN_PLACE = {"adam_step": 4, "unfold_product": 7}  # name → among how many arguments are those that it changes


def test_every_form_has_a_row():
    assert set(FORMS) == set(ROWS)


def outcome(name, function, arguments):
    """[arrays on the host] that come out, those changed in place among them; or why it declined."""
    with np.errstate(all="ignore"):
        found = function(*arguments)
    if isinstance(found, Declined):
        return found
    found = found if isinstance(found, tuple) else (found,)
    return [backend.to_cpu(a) for a in (*found, *arguments[:IN_PLACE.get(name, 0)]) if hasattr(a, "dtype")]


def moved(asarray, arguments):
    """Copies of the arrays; one number that is repeated stays one."""
    return [a if not isinstance(a, np.ndarray) else backend.array_module(asarray(a)).broadcast_to(
        asarray(a.flat[0]), a.shape) if a.ndim and a.size and not any(a.strides) else
        asarray(np.copy(a, order="K")) for a in arguments]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ROWS)
def test_the_same_to_rounding(name, seed, asarray):
    arguments = ROWS[name](np.random.default_rng(seed))
    expected = outcome(name, FORMS[name].own, moved(asarray, arguments))
    found = outcome(name, FORMS[name].form.function, moved(asarray, arguments))
    assert not isinstance(found, Declined), found.reason
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        finite = b[np.isfinite(b)]
        scale = float(abs(finite).max()) if finite.size else 1.0
        close = ROUNDING.get(name, 3e-6)
        np.testing.assert_allclose(a, b, rtol=close, atol=close * (scale if scale < 1e30 else 1.0))


@pytest.mark.parametrize("name", ROWS)
def test_what_is_not_plain_is_declined(name, asarray):
    """float64, and numbers that do not lie next to each other."""
    for change in (lambda a: a.astype("float64"), lambda a: a[None].repeat(2, axis=-1)[0, ..., ::2]):
        others = [change(a) if hasattr(a, "dtype") and a.dtype == f4 else a
                  for a in moved(asarray, ROWS[name](np.random.default_rng(1)))]
        assert isinstance(FORMS[name].form.function(*others), Declined)


def test_long_arrays_are_left_to_the_ops_lines(asarray, monkeypatch):
    monkeypatch.setattr(gpu, "LONG", 10)
    x = asarray(np.ones((3, 4), f4))
    assert isinstance(FORMS["relu"].form.function(x), Declined) and gpu.fits(x[:2], None)
    monkeypatch.setattr(gpu, "LONG", gpu_windows.LONG)
    monkeypatch.setattr(gpu_windows, "LONG", 100)
    x, w = asarray(np.ones((1, 5, 5, 2), f4)), asarray(np.ones((3, 3, 2, 1), f4))
    pads, size = ((1, 1), (1, 1)), (5, 5)
    y = asarray(np.ones((1, 5, 5, 1), f4))
    for name, *arguments in (("unfold_product", x, w, None, (1, 1), pads, size),
                             ("weight_product", x, y, (3, 3), (1, 1), pads),
                             ("fold_product", y, w, None, (1, 1), pads, size)):
        assert isinstance(FORMS[name].form.function(*arguments), Declined)


# ---------------------------------------------------------------- in the engine

def first_step(name, asarray):
    """[(loss, {name: gradient on the host})] of each phase; of the LSTM's 196 steps only five."""
    trainer = Trainer(name, to=asarray)
    if name == "W7":
        x, classes = trainer.workload.data
        trainer.workload.data = x[:, :5].copy(), classes[:, :5].copy()
    return trainer.first()


@pytest.mark.parametrize("name", STEPS)
def test_the_first_step_is_that_of_the_ops_lines(name, asarray):
    expected, ran = first_step(name, asarray), sum(entry.form.ran for entry in FORMS.values())
    with in_use(type(asarray(np.ones(1)))):
        found = first_step(name, asarray)
    assert sum(entry.form.ran for entry in FORMS.values()) > ran
    for (loss, gradients), (own_loss, own_gradients) in zip(found, expected, strict=True):
        assert loss == pytest.approx(own_loss, rel=1e-5)
        largest = max(abs(g).max() for g in own_gradients.values())
        for key, g in own_gradients.items():
            np.testing.assert_allclose(gradients[key], g, rtol=2e-3, atol=2e-4 * largest, err_msg=key)


def test_second_derivatives_stay_recorded(asarray):
    x = np.linspace(-2, 2, 6, dtype=f4)
    with in_use(type(asarray(x))):
        t = Tensor(asarray(x), requires_grad=True)
        second = grad(grad(ops.softplus(t).sum(), t, create_graph=True).sum(), t)
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(backend.to_cpu(second.data), s * (1 - s), rtol=1e-4)


def test_they_stand_in_where_cupy_is_and_can_be_taken_away():
    if gpu.GPU is None:
        pytest.skip("no CuPy here")
    before = gpu.GPU in ops.relu.op.forms
    for on in (True, False, before):
        compiled.use_kernels(on)
        assert (ops.relu.op.forms.get(gpu.GPU) is FORMS["relu"].form) == on


# ---------------------------------------------------------------- CUDA's own compiler, which needs no GPU

def test_nvrtc_translates_every_kernel():
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"no NVRTC here: {error}")
    program = cupy.cuda.nvrtc.createProgram(SOURCE, "kernels.cu", (), ())
    try:
        cupy.cuda.nvrtc.compileProgram(program, ("--gpu-architecture=compute_80", "-Werror", "all-warnings"))
    except cupy.cuda.nvrtc.NVRTCError:
        pytest.fail(cupy.cuda.nvrtc.getProgramLog(program))
    ptx = cupy.cuda.nvrtc.getPTX(program)
    ptx = ptx.decode() if isinstance(ptx, bytes) else ptx
    assert {f".entry {kernel.name}(" in ptx for kernel in gpu.KERNELS} == {True}
