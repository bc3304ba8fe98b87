"""Does the dense VAE learn as well as the same net in PyTorch?

    SCRATCHNET_DATA=DIR python -m benchmarks.elbo [--seeds 3] [--epochs 20] [--images 60000]

Both train on binarised MNIST from the same initial weights, on the same batches, with the same noise. The table gives
the test −ELBO in nats for every seed. The recipe is that of demos/dense_vae.py --full. Needs PyTorch.
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F

from scratchnet import data
from scratchnet.models.vaes import DenseVAE, evaluate
from scratchnet.optimizers import Adam

LAYERS = ("encode_hidden", "mean", "s", "decode_hidden", "pixels")


def ours(model, train, test, seed, epochs):
    """Test −ELBO of the model after training with scratchnet."""
    rng, optimizer = np.random.default_rng(seed), Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for x in data.batches(train, size=100, rng=rng):
            loss, _, _ = model.loss(data.binarize(x, rng), rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return evaluate(model, test, np.random.default_rng(1))[0]


def theirs(weights, train, test, seed, epochs):
    """Test −ELBO of the same net, from these initial weights, after training with PyTorch."""
    torch.manual_seed(seed)
    p = {name: [torch.tensor(weights[f"{name}.{part}"]).requires_grad_() for part in "wb"] for name in LAYERS}
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam([t for pair in p.values() for t in pair], lr=1e-3, fused=True)

    def dense(name, x):
        return x @ p[name][0] + p[name][1]

    def loss(x, noise):
        h = F.relu(dense("encode_hidden", x.flatten(1)))
        mean, s = dense("mean", h), dense("s", h)
        z = mean + torch.exp(0.5 * s) * noise
        logits = dense("pixels", F.relu(dense("decode_hidden", z)))
        nll = F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="sum")
        return (nll + 0.5 * (s.exp() + mean * mean - 1 - s).sum()) / len(x)

    for _ in range(epochs):
        for x in data.batches(train, size=100, rng=rng):
            x = data.binarize(x, rng)
            noise = rng.standard_normal((len(x), 128), dtype=np.float32)
            value = loss(torch.from_numpy(x), torch.from_numpy(noise))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        values = [loss(torch.from_numpy(x), torch.from_numpy(rng.standard_normal((len(x), 128), dtype=np.float32)))
                  for x in data.batches(test, size=250)]
    return float(np.mean([v.item() for v in values]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=60_000)
    args = parser.parse_args()
    digits = data.mnist(full=args.images > 10_000)
    train = digits.train_images[:args.images]
    test = data.binarize(digits.test_images, np.random.default_rng(0))
    print(f"{len(train)} training and {len(test)} test images, {args.epochs} epochs, PyTorch {torch.__version__}, "
          f"NumPy {np.__version__}")
    print("seed  scratchnet  seconds  PyTorch  seconds")
    results = []
    for seed in range(args.seeds):
        model = DenseVAE(rng=np.random.default_rng(seed))
        weights = model.state_dict()
        row, start = [], time.perf_counter()
        for run in (lambda m=model, s=seed: ours(m, train, test, s, args.epochs),
                    lambda w=weights, s=seed: theirs(w, train, test, s, args.epochs)):
            row += [run(), time.perf_counter() - start]
            start = time.perf_counter()
        results.append(row)
        print(f"{seed:4d}  {row[0]:10.3f}  {row[1]:7.1f}  {row[2]:7.3f}  {row[3]:7.1f}", flush=True)
    a, b = np.array(results)[:, 0], np.array(results)[:, 2]
    print(f"mean  {a.mean():.3f} ± {a.std(ddof=1) if len(a) > 1 else 0:.3f}  {b.mean():.3f} ± "
          f"{b.std(ddof=1) if len(b) > 1 else 0:.3f}  difference {a.mean() - b.mean():+.3f} nats")


if __name__ == "__main__":
    main()
