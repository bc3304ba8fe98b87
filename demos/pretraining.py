"""Layer by layer without labels, then all with few: greedy pre-training (Hinton et al. 2006; Bengio et al. 2007).

Three hidden layers learn as sparse autoencoders, one after another, from all images. Then the net is fine-tuned on a
few labelled images and compared with the same net trained on them from scratch. With --full, a stack of denoising
autoencoders is also fine-tuned on all 60 000 labels (Vincent et al. 2008, 2010).
"""

from typing import NamedTuple

import numpy as np

from scratchnet import metrics, penalties, plotting
from scratchnet.backend import to_device_of
from scratchnet.data import corruption
from scratchnet.demo import arguments, command, digits, expect, fit, mean_and_spread, mover, of_seeds, too_short
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import StackedClassifier, reconstruction_loss


class DenoisingStack(NamedTuple):
    seeds: int
    layer_epochs: int
    epochs: int  # of fine-tuning


class Scale(NamedTuple):
    train: int  # images
    test: int
    layers: list
    seeds: int
    layer_epochs: int
    steps: int  # of fine-tuning
    counts: tuple  # of labels, in increasing order
    denoising: DenoisingStack | None = None


SECONDS = {"quick": "25 seconds", "default": "3½ minutes", "full": "2½ hours"}
SCALES = {
    "quick": Scale(train=2_000, test=500, layers=[784, 200, 200, 100], seeds=1, layer_epochs=15, steps=100,
                   counts=(100, 600)),
    "default": Scale(train=10_000, test=2_000, layers=[784, 1000, 1000, 500], seeds=2, layer_epochs=4, steps=200,
                     counts=(100, 600, 1_000, 10_000)),
    "full": Scale(train=60_000, test=10_000, layers=[784, 1000, 1000, 500], seeds=5, layer_epochs=5, steps=1_000,
                  counts=(100, 600, 1_000, 10_000), denoising=DenoisingStack(seeds=3, layer_epochs=15, epochs=24))}
SPARSE = 0.1  # weight of the L1 penalty
DENOISING = [784, 1000, 1000, 1000]
MASKING = (0.1, 0.2, 0.3)  # the masked share of each layer's inputs
TUNED = 0.25  # and of the pixels in fine-tuning
EXPECTED = {"default": 3, "full": 3}  # gain by pre-training with the fewest labels, percentage points, at least


def main():
    args = arguments("pretraining", "Greedy layer-wise pre-training against training from scratch.", SECONDS)
    scale = SCALES[args.scale]
    train, labels, test, test_labels = digits(args, scale.train, scale.test)

    errors = {"pre-trained": [], "from scratch": []}  # [seed][label count], percent
    seeds = range(args.seed, args.seed + scale.seeds)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        stack = StackedClassifier(scale.layers, rng=rng)
        scratch = stack.state_dict()
        pretrain(args, f"seed{seed}", stack, sparse_loss, train, rng=rng, epochs=scale.layer_epochs, lr=5e-3)
        print(f"seed {seed}: mean activity of the last layer {in_batches(stack.features, test).mean():.3f}")
        for name, state in (("pre-trained", stack.state_dict()), ("from scratch", scratch)):
            errors[name].append([])
            for count in scale.counts:
                stack.load_state_dict(state)
                rng = np.random.default_rng([seed, count])  # the same images, in the same order, for both
                fine_tune(args, f"seed{seed} {name} {count}", stack, train, labels, balanced(labels, count, rng),
                          rng=rng, steps=scale.steps)
                errors[name][-1].append(error(stack, test, test_labels))
    gain = report(args.out, errors, scale, seeds)
    if scale.denoising:
        denoising_stack(args, scale.denoising, train, labels, test, test_labels)
    if args.scale == "quick":
        too_short(f"pre-training lowers the test error with {scale.counts[0]} labels")
    else:
        expect(f"Reduction of the test error by pre-training, with {scale.counts[0]} labels", gain,
               low=EXPECTED[args.scale], unit=" percentage points")


def pretrain(args, name, stack, loss_of, images, *, rng, epochs, lr):
    """Train each layer in turn as the encoder of an autoencoder, whose inputs are the activities of the layer below.
    loss_of(autoencoder, x, k, rng) is the loss of layer k."""
    for k in range(len(stack.layers)):
        layer = stack.autoencoder(k)
        inputs = mover(args.device)(in_batches(lambda x, k=k: stack.features(x, k), images))
        fit(args, f"{name} layer{k + 1}", layer, lambda x, k=k, layer=layer: loss_of(layer, x, k, rng), inputs, rng=rng,
            epochs=epochs, lr=lr)


def sparse_loss(layer, x, k, rng):
    h = layer.encode(x)
    return reconstruction_loss(layer.decode(h), x) + SPARSE * penalties.l1_activity(h)


def denoising_loss(layer, x, k, rng):
    return layer.loss(corruption.masking(x, MASKING[k], rng), target=x)


def fine_tune(args, name, stack, images, labels, some, *, rng, steps):
    """Train all layers and the logits on the labelled images `some`. If these are few, they are repeated within an
    epoch, since every epoch ends with a checkpoint."""
    size = min(100, len(some))
    some = np.resize(some, max(len(some), min(steps, 200) * size))
    epochs, rest = divmod(steps * size, len(some))
    if epochs < 1 or rest:
        raise ValueError(f"fine_tune: {steps} steps of {size} images, expected a multiple of {len(some)} images")
    fit(args, name, stack, stack.loss, images[to_device_of(some, images)], mover(args.device)(labels[some]), rng=rng,
        epochs=epochs, size=size)


def balanced(labels, count, rng):
    """Indices of `count` images, an equal number of each digit; of all images if count is their number."""
    order = rng.permutation(len(labels))
    if count == len(labels):
        return order
    rarest = np.bincount(labels, minlength=10).min()
    if count % 10 or count // 10 > rarest:
        raise ValueError(f"balanced: {count} labels, expected a multiple of 10, and at most {rarest} of each digit")
    return np.concatenate([order[labels[order] == digit][:count // 10] for digit in range(10)])


def error(stack, test, labels):
    """The percentage of test images that are misclassified."""
    return 100 * (1 - metrics.accuracy(in_batches(stack, test), labels))


def report(out, errors, scale, seeds):
    """Write the table and the picture. Returns by how much pre-training lowers the error at the smallest count."""
    rows = [[str(count), *(mean_and_spread([of_seed[k] for of_seed in e], 2) for e in errors.values())]
            for k, count in enumerate(scale.counts)]
    print("\n" + plotting.table(rows, ["labels", *(f"{name}, test error, %" for name in errors)], out / "errors.md"))
    values = {name: np.array(e) for name, e in errors.items()}          # (seeds, counts)
    lines = {name: (scale.counts, e.mean(axis=0)) for name, e in values.items()}
    title = f"Nets {'-'.join(map(str, scale.layers))}-10, fine-tuned on labelled images, {of_seeds(seeds)}"
    if len(seeds) > 1:
        lines = {name: (*line, values[name].std(axis=0, ddof=1)) for name, line in lines.items()}
        title += ", ± standard deviation"
    plotting.curves(lines, "labelled images", "test error, %", title, out / "errors.png", xscale="log",
                    xticks=scale.counts)
    print(f"Picture: {out}/errors.png; table: errors.md")
    return (values["from scratch"] - values["pre-trained"])[:, 0].mean()


def denoising_stack(args, scale, train, labels, test, test_labels):
    """All labels: a stack of denoising autoencoders against the same net from scratch, both fine-tuned on masked
    images. Published: 1.3 % (Theano's deep learning tutorials), 1.28 % (Vincent et al. 2010)."""
    errors = {"pre-trained": [], "from scratch": []}  # [seed], percent
    for seed in range(args.seed, args.seed + scale.seeds):
        rng = np.random.default_rng(seed)
        stack = StackedClassifier(DENOISING, rng=rng)
        scratch = stack.state_dict()
        pretrain(args, f"denoising seed{seed}", stack, denoising_loss, train, rng=rng, epochs=scale.layer_epochs,
                 lr=1e-3)
        for name, state in (("pre-trained", stack.state_dict()), ("from scratch", scratch)):
            stack.load_state_dict(state)
            rng = np.random.default_rng(seed)  # the same order and the same masks for both
            fit(args, f"denoising seed{seed} {name}", stack,
                lambda x, y, rng=rng, stack=stack: stack.loss(corruption.masking(x, TUNED, rng), y),
                train, mover(args.device)(labels), rng=rng, epochs=scale.epochs)
            errors[name].append(error(stack, test, test_labels))
            print(f"seed {seed}, all labels, {name}: test error {errors[name][-1]:.2f} %", flush=True)
    rows = [[name, mean_and_spread(e, 2)] for name, e in errors.items()]
    print("\n" + plotting.table(rows, [f"all labels, {100 * TUNED:.0f} % of the pixels masked",
                                      f"test error, %, {scale.seeds} seeds"], args.out / "denoising.md"))
    expect("Test error of the stack of denoising autoencoders, mean of the seeds", np.mean(errors["pre-trained"]),
           high=1.4, unit=" %")


if __name__ == "__main__":
    command(main)
