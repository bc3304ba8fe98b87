"""Single ops against PyTorch's, and against the limits of the machine.

    python -m benchmarks.kernels [--threads 2] [--rounds 9] [--json PATH] [--only conv …]

First the limits are measured: operations per second (GEMM of 1024³, float32) and bytes per second (adding two arrays
of 64 MB). Then each op takes turns with PyTorch's (channels last, the same sizes), both in this one process and with
the same number of threads; benchmarks.steps separates them. "share" is the least possible time over the time taken.
The least possible time follows from the limits, for the op's arithmetic or for reading its inputs and writing its
results once, whichever is more. So 1 is the limit of the direct way; Winograd can exceed it.

Last come the three ways of convolving (`way` in ops/convolution.py), for many sizes.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name begins with one of these")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def median_ms(calls, rounds):
    """The median time of each call in ms; the calls take turns, and the first round warms up."""
    found = [[] for _ in calls]
    for r in range(1 + rounds):
        for times, call in zip(found, calls, strict=True):
            start = time.perf_counter()
            call()
            if r:
                times.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(times) for times in found]


def limits():
    """(floating-point operations per second, bytes per second) of this machine with the threads in use, best of 8."""
    from scratchnet.backend.products import matrix_product
    from scratchnet.backend.threads import in_parts

    a = np.ones((1024, 1024), np.float32)
    x = np.ones(16 << 20, np.float32)
    y, out = x.copy(), np.empty_like(x)
    halves = [slice(len(x) // 2), slice(len(x) // 2, None)]
    gemm = sum_ = math.inf
    for _ in range(8):
        start = time.perf_counter()
        matrix_product(a, a)
        middle = time.perf_counter()
        in_parts(lambda parts: [np.add(x[part], y[part], out=out[part]) for part in parts], halves)
        gemm, sum_ = min(gemm, middle - start), min(sum_, time.perf_counter() - middle)
    return 2 * 1024 ** 3 / gemm, 3 * x.nbytes / sum_


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


CONVOLUTIONS = [  # C, O, side, kernel, stride, batch
    (1, 32, 28, 3, 1, 64), (1, 64, 28, 3, 1, 100), (3, 64, 32, 3, 1, 64), (64, 10, 14, 3, 1, 100),
    (10, 64, 14, 3, 1, 100), (64, 1, 28, 3, 1, 100), (32, 64, 28, 3, 1, 64), (64, 32, 28, 3, 1, 64),
    (64, 64, 28, 3, 1, 64), (128, 128, 14, 3, 1, 64), (64, 64, 14, 1, 1, 64), (16, 16, 28, 5, 1, 64),
    (1, 32, 28, 4, 2, 64), (32, 64, 14, 4, 2, 64), (64, 128, 16, 4, 2, 64)]


def convolutions():
    """(name, ours, theirs, floating-point operations, bytes) for the three maps of every convolution."""
    import torch
    import torch.nn.functional as F

    from scratchnet import ops

    for c, o, side, k, stride, n in CONVOLUTIONS:
        x, w = draw(n, side, side, c), draw(k, k, c, o)
        y = ops.conv2d(x, w, None, stride)
        gy = draw(*y.shape)
        tx, tg = (torch.from_numpy(a.transpose(0, 3, 1, 2)) for a in (x, gy))  # already channels last
        tw = torch.from_numpy(w.transpose(3, 2, 0, 1)).contiguous(memory_format=torch.channels_last)
        pad = (k - 1) // 2 if stride == 1 else (k - stride) // 2
        backward = torch.ops.aten.convolution_backward

        def theirs(mask, tg=tg, tx=tx, tw=tw, stride=stride, pad=pad, backward=backward):
            return backward(tg, tx, tw, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, mask)
        flops = 2 * y.size * k * k * c
        bytes_ = 4 * (x.size + w.size + y.size)
        label = f"{c}→{o} @{side} {k}×{k}/{stride}, batch {n}"
        yield (f"conv {label}", lambda x=x, w=w, s=stride: ops.conv2d(x, w, None, s),
               lambda tx=tx, tw=tw, s=stride, p=pad: F.conv2d(tx, tw, None, s, p), flops, bytes_)
        yield (f"conv, input gradient {label}", lambda gy=gy, w=w, s=stride, side=side: ops.conv2d_transpose(
            gy, w, None, s, "same", (side, side)), lambda f=theirs: f([True, False, False]), flops, bytes_)
        yield (f"conv, weight gradient {label}", lambda x=x, gy=gy, s=stride, k=k: ops.conv2d_weight(x, gy, (k, k), s),
               lambda f=theirs: f([False, True, False]), flops, bytes_)


WAYS = [(c, o, side) for side in (7, 14, 28) for c, o in (
    (1, 16), (16, 1), (4, 64), (10, 64), (64, 10), (64, 5), (16, 32), (32, 16), (32, 32), (32, 64), (64, 64),
    (128, 128))]


def ways(rounds):
    """Print the numbers behind the rule in ops/convolution.py: ms of each way for 3×3 kernels, and the way it takes."""
    from scratchnet.ops import convolution

    print(f"\n{'convolution 3×3, 64 images, ms':40}{'unfold':>9}{'fold':>9}{'winograd':>9}   taken, over the fastest")
    stride, pads, rows = (1, 1), ((1, 1), (1, 1)), []
    for c, o, side in WAYS:
        x, w = draw(64, side, side, c), draw(3, 3, c, o)
        times = dict(zip(("unfold", "fold", "winograd"), median_ms([
            lambda by=by, x=x, w=w, size=(side, side): convolution.correlate(x, w, None, stride, pads, size, by)
            for by in ("unfold", "fold", "winograd")], rounds), strict=True))
        taken = convolution.way(w.shape, stride, pads)
        print(f"{f'{c}→{o} @{side}':40}" + "".join(f"{t:9.2f}" for t in times.values())
              + f"   {taken}, {times[taken] / min(times.values()):.2f}", flush=True)
        rows.append({"name": f"{c}→{o} @{side}", "taken": taken, **times})
    return rows


def others():
    """(name, ours, theirs, floating-point operations, bytes) for pooling, element-wise ops, the LSTM and Adam."""
    import torch
    import torch.nn.functional as F

    from scratchnet import Tensor, ops
    from scratchnet.optimizers import Adam

    x = draw(100, 28, 28, 64)
    tx = torch.from_numpy(x.transpose(0, 3, 1, 2))
    y, argmax = ops.max_pool_with_argmax(x)
    ty, tswitches = F.max_pool2d(tx, 2, return_indices=True)
    yield ("max pool 2×2 with argmax, 100×28×28×64", lambda: ops.max_pool_with_argmax(x),
           lambda: F.max_pool2d(tx, 2, return_indices=True), 0, x.nbytes + y.nbytes + argmax.nbytes)
    yield ("unpool 2×2 to 100×28×28×64", lambda: ops.unpool(y, argmax), lambda: F.max_unpool2d(ty, tswitches, 2), 0,
           x.nbytes + y.nbytes + argmax.nbytes)
    yield "relu of 20 MB", lambda: ops.relu(x), lambda: F.relu(tx), 0, 2 * x.nbytes
    yield ("batch norm of 20 MB", lambda: ops.batch_norm(x, np.ones(64, np.float32), np.zeros(64, np.float32)),
           lambda: F.batch_norm(tx, None, None, torch.ones(64), torch.zeros(64), True), 0, 2 * x.nbytes)

    z, w, u, b = draw(64, 196, 16), draw(16, 512) / 4, draw(128, 512) / 12, draw(512)
    lstm = torch.nn.LSTM(16, 128, batch_first=True)
    tensors, gh, tz = [Tensor(a, requires_grad=True) for a in (w, u, b)], draw(64, 196, 128), torch.from_numpy(z)
    tgh = torch.from_numpy(gh)

    def forward_and_back():
        h, _ = ops.lstm(Tensor(z), *tensors)
        h.backward(gh)

    def forward_and_back_theirs():
        lstm(tz)[0].backward(tgh)
    flops = 2 * 64 * 196 * (128 + 16) * 512
    yield "lstm 128, 196 steps, batch 64", lambda: ops.lstm(z, w, u, b), lambda: lstm(tz), flops, 0
    yield "lstm, forward and backward", forward_and_back, forward_and_back_theirs, 3 * flops, 0

    for size in (26_000, 2_800_000):
        p = Tensor(draw(size), requires_grad=True)
        ours = Adam([p])
        p.grad = ours.grad_views[0]
        p.grad[...] = draw(size)
        tp = torch.nn.Parameter(torch.from_numpy(draw(size)))
        tp.grad = torch.from_numpy(draw(size))
        yield (f"Adam, {size:,} parameters", ours.step, torch.optim.Adam([tp], fused=True).step, 0, 7 * 4 * size)


def main():
    arguments = parse()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if os.environ.get(name) != str(arguments.threads):  # libraries read it as they are loaded
            os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
                                            str(arguments.threads)))
            os.execv(sys.executable, [sys.executable, "-m", "benchmarks.kernels", *sys.argv[1:]])
    flops_a_second, bytes_a_second = limits()
    print(f"GEMM {flops_a_second / 1e9:.0f} · 10⁹ operations per second, memory {bytes_a_second / 1e9:.1f} · 10⁹ bytes "
          f"per second, {arguments.threads} threads\n{'':52}{'ours, ms':>9} {'PyTorch':>9} {'ratio':>6} {'share':>6}")
    rows = []
    for part in (convolutions, others):
        for name, ours, theirs, flops, bytes_ in part():
            if not name.startswith(tuple(arguments.only)):
                continue
            a, b = median_ms([ours, theirs], arguments.rounds)
            share = 1e3 * max(flops / flops_a_second, bytes_ / bytes_a_second) / a
            print(f"{name:52}{a:9.2f} {b:9.2f} {a / b:6.2f} {share:6.2f}", flush=True)
            rows.append({"name": name, "ours": a, "theirs": b, "share": share})
    ratios = [row["ours"] / row["theirs"] for row in rows]
    if ratios:
        print(f"{'geometric mean of the ratios':70} {math.exp(statistics.mean(map(math.log, ratios))):6.2f}")
    if "ways".startswith(tuple(arguments.only)):
        rows += ways(arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
