"""Layer by layer without labels, then all of it with few: greedy pre-training (Hinton et al. 2006; Bengio et al. 2007).

Three hidden layers learn as sparse autoencoders, one after another, from all images. Then they are fine-tuned on
100 … 10 000 labelled images, and compared with the same net trained from scratch on those. With --full also a stack of
denoising autoencoders, fine-tuned on all 60 000 labels (Vincent et al. 2008, 2010).
"""

import numpy as np

from scratchnet import metrics, penalties, plotting
from scratchnet.backend import to_device_of
from scratchnet.data import corruption
from scratchnet.demo import arguments, command, digits, expect, fit, mean_and_spread, mover
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import StackedClassifier, reconstruction_loss

SECONDS = {"quick": "25 seconds", "default": "3½ minutes", "full": "2½ hours"}
SIZES = {  # training images, test images, seeds, epochs for each layer, steps of fine-tuning, label counts; of the
    # denoising stack seeds, epochs for each layer, epochs of fine-tuning
    "quick": (2_000, 500, 2, 2, 60, (100, 600), None),
    "default": (10_000, 2_000, 2, 4, 200, (100, 600, 1_000, 10_000), None),
    "full": (60_000, 10_000, 5, 5, 1_000, (100, 600, 1_000, 10_000), (3, 15, 24))}
LAYERS = [784, 1000, 1000, 500]
SPARSE = 0.1  # weight of the L1 penalty
DENOISING = [784, 1000, 1000, 1000]
MASKING = (0.1, 0.2, 0.3)  # share of what each layer sees that is masked
TUNED = 0.25  # and of the pixels when all layers learn from labels
EXPECTED = {"quick": -20, "default": 3, "full": 3}  # percentage points less wrong with the fewest labels


def main():
    args = arguments("pretraining", "Greedy layer-wise pre-training against training from scratch.", SECONDS)
    n_train, n_test, seeds, epochs, steps, counts, stack_sizes = SIZES[args.scale]
    train, labels, test, test_labels = digits(args, n_train, n_test)

    errors = {"pre-trained": [], "from scratch": []}  # [seed][label count], percent
    for seed in range(args.seed, args.seed + seeds):
        rng = np.random.default_rng(seed)
        stack = StackedClassifier(LAYERS, rng=rng)
        scratch = stack.state_dict()
        pretrain(args, f"seed{seed}", stack, train, rng, epochs, sparse_loss, lr=5e-3)
        print(f"seed {seed}: mean activity of the last layer {in_batches(stack.features, test).mean():.3f}")
        for name, state in (("pre-trained", stack.state_dict()), ("from scratch", scratch)):
            errors[name].append([])
            for count in counts:
                stack.load_state_dict(state)
                rng = np.random.default_rng([seed, count])  # the same images, in the same order, for both
                fine_tune(args, f"seed{seed} {name} {count}", stack, train, labels,
                          balanced(labels, count, rng), rng, steps)
                errors[name][-1].append(error(stack, test, test_labels))
    gain = report(args.out, errors, counts)
    if stack_sizes:
        denoising_stack(args, train, labels, test, test_labels, *stack_sizes)
    expect(f"With {counts[0]} labels pre-training lowers the test error by", gain, low=EXPECTED[args.scale],
           unit=" percentage points")


def pretrain(args, name, stack, images, rng, epochs, loss_of, lr):
    """Each layer in turn as the encoder of an autoencoder; what it has to restore is what the layers below make of the
    images. loss_of(autoencoder, x, k, rng) is the loss of layer k."""
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


def fine_tune(args, name, stack, images, labels, some, rng, steps):
    """All layers and the logits on the labelled images `some`; few are seen the more often. (Few are listed again and
    again, for a checkpoint is written at the end of each epoch.)"""
    size = min(100, len(some))
    some = np.resize(some, max(len(some), min(steps, 200) * size))
    epochs, rest = divmod(steps * size, len(some))
    if epochs < 1 or rest:
        raise ValueError(f"fine_tune: {steps} steps of {size} images, expected a multiple of {len(some)} images")
    fit(args, name, stack, stack.loss, images[to_device_of(some, images)], mover(args.device)(labels[some]), rng=rng,
        epochs=epochs, size=size)


def balanced(labels, count, rng):
    """Indices of `count` images, as many of each digit; all images if that many are asked for."""
    order = rng.permutation(len(labels))
    if count == len(labels):
        return order
    rarest = np.bincount(labels, minlength=10).min()
    if count % 10 or count // 10 > rarest:
        raise ValueError(f"balanced: {count} labels, expected a multiple of 10, and at most {rarest} of each digit")
    return np.concatenate([order[labels[order] == digit][:count // 10] for digit in range(10)])


def error(stack, test, labels):
    """Share of test images that are told wrong, in percent."""
    return 100 * (1 - metrics.accuracy(in_batches(stack, test), labels))


def report(out, errors, counts):
    """The table and the picture; gives by how much pre-training lowers the error at the smallest count."""
    values = {name: np.array(e) for name, e in errors.items()}          # (seeds, counts)
    rows = [[str(count), *(f"{e[:, k].mean():.2f} ± {e[:, k].std(ddof=1):.2f}" for e in values.values())]
            for k, count in enumerate(counts)]
    print("\n" + plotting.table(rows, ["labels", *(f"{name}, % wrong" for name in values)], out / "errors.md"))
    plotting.curves({name: (counts, e.mean(axis=0), e.std(axis=0, ddof=1)) for name, e in values.items()},
                    "labelled images", "test error, %",
                    f"784-1000-1000-500-10, mean and spread of {len(errors['pre-trained'])} seeds", out / "errors.png",
                    xscale="log")
    print(f"Picture: {out}/errors.png; table: errors.md")
    return (values["from scratch"] - values["pre-trained"])[:, 0].mean()


def denoising_stack(args, train, labels, test, test_labels, seeds, layer_epochs, epochs):
    """All labels: the stack of denoising autoencoders, and the same net from scratch. Both are fine-tuned on masked
    images, too. Published: 1.3 % (Theano's deep learning tutorials), 1.28 % (Vincent et al. 2010)."""
    errors = {"pre-trained": [], "from scratch": []}  # [seed], percent
    for seed in range(args.seed, args.seed + seeds):
        rng = np.random.default_rng(seed)
        stack = StackedClassifier(DENOISING, rng=rng)
        scratch = stack.state_dict()
        pretrain(args, f"denoising seed{seed}", stack, train, rng, layer_epochs, denoising_loss, lr=1e-3)
        for name, state in (("pre-trained", stack.state_dict()), ("from scratch", scratch)):
            stack.load_state_dict(state)
            rng = np.random.default_rng(seed)  # the same order and the same masks for both
            fit(args, f"denoising seed{seed} {name}", stack,
                lambda x, y, rng=rng, stack=stack: stack.loss(corruption.masking(x, TUNED, rng), y),
                train, mover(args.device)(labels), rng=rng, epochs=epochs)
            errors[name].append(error(stack, test, test_labels))
            print(f"seed {seed}, all labels, {name}: {errors[name][-1]:.2f} % wrong", flush=True)
    rows = [[name, mean_and_spread(e, 2)] for name, e in errors.items()]
    print("\n" + plotting.table(rows, [f"all labels, {100 * TUNED:.0f} % of the pixels masked",
                                      f"% of test images wrong, {seeds} seeds"], args.out / "denoising.md"))
    expect("Test error of the stack of denoising autoencoders, mean of the seeds", np.mean(errors["pre-trained"]),
           high=1.4, unit=" %")


if __name__ == "__main__":
    command(main)
