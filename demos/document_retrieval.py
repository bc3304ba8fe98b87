"""Search by meaning: documents as counts of words, as tf-idf, and as codes of a few numbers (LSA, an autoencoder).

The documents are the docstrings of NumPy, SciPy, Matplotlib and the standard library. A search is good if it finds
documents of the query's module. --corpus DIR reads your own texts, one sub-folder for each label; --query TEXT searches
for TEXT. (Hinton & Salakhutdinov 2006, Fig. 4, use 2000-500-250-125-10 on news.)
"""

from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from scratchnet import metrics, ops, plotting
from scratchnet.data import corruption, documents
from scratchnet.demo import arguments, command, expect, fit, mover, reading, tsne
from scratchnet.losses import softmax_cross_entropy
from scratchnet.metrics import in_batches
from scratchnet.models.autoencoders import LSA, Autoencoder


class Scale(NamedTuple):
    packages: tuple  # besides the standard library
    most: int  # documents of each label
    words: int
    epochs: int


SECONDS = {"quick": "30 seconds", "default": "2 minutes", "full": "3 minutes"}
SCALES = {"quick": Scale(packages=("numpy",), most=150, words=1000, epochs=10),
          "default": Scale(packages=documents.PACKAGES, most=600, words=2000, epochs=30),
          "full": Scale(packages=documents.PACKAGES, most=3000, words=2000, epochs=30)}
# gain in precision at 10 over counts, percentage points, at least; seeds 0 to 4: quick 7 to 12
EXPECTED = {"quick": 3, "default": 5, "full": 5}
CODE = 32
GAIN = 5.0  # factor of rows of length 1, after which a hidden unit gets sums of about 1
QUERY = "discrete Fourier transform of a real signal"
MORE = {"--corpus": {"type": Path, "metavar": "DIR", "help": "texts of your own, a sub-folder for each label"},
        "--query": {"metavar": "TEXT", "default": QUERY, "help": f'the text to search for (default: "{QUERY}")'}}


def main():
    args = arguments("document_retrieval", "Documents found by counts, tf-idf, LSA, autoencoder.", SECONDS, more=MORE)
    scale = SCALES[args.scale]
    rng = np.random.default_rng(args.seed)
    if args.corpus:
        with reading("--corpus", args.corpus):
            texts, labels = documents.folder(args.corpus)
    else:
        texts, labels = documents.docstrings(scale.packages, most=scale.most, rng=rng)
    if len(texts) < 20:
        raise SystemExit(f"{args.corpus or 'The docstrings found'}: holds {len(texts)} documents, expected at least 20")
    names, labels = np.unique(labels, return_inverse=True)
    common = max(0.5, np.bincount(labels).max() / len(labels))  # the words of a large label are not common words
    with reading("--corpus", args.corpus or "docstrings"):                                 # no word may be left
        bag = documents.BagOfWords(texts, scale.words, common, without=[name.lower() for name in names])
    counts = bag(texts)
    shared = (counts > 0).sum(axis=0) > 1                                 # words that occur in several texts
    kept = counts[:, shared].sum(axis=1) > 0
    if kept.sum() < 20:
        raise SystemExit(f"{args.corpus or 'The docstrings found'}: only {kept.sum()} of {len(texts)} texts share a "
                         f"word with another, expected at least 20: texts that share no word teach nothing")
    if len(np.unique(labels[kept])) < 2:
        raise SystemExit(f"{args.corpus}: all texts that share a word with another have one label, expected 2 labels")
    if not kept.all():
        print(f"{len(texts) - kept.sum()} texts share no word with another and are left out")
    texts, labels, counts = [t for t, k in zip(texts, kept, strict=True) if k], labels[kept], counts[kept]
    order = rng.permutation(len(texts))
    items, queries = order[len(order) // 5:], order[:len(order) // 5]     # search in four fifths for the other fifth
    code = min(CODE, *counts[items].shape)
    print(f"{len(texts)} documents of {len(names)} labels, {len(bag.words)} words")

    weight = np.log(len(items) / np.maximum((counts[items] > 0).sum(axis=0), 1)).astype(np.float32)

    def tf_idf(n):
        """ln(1 + n) · ln(documents / documents with the word), in rows of length 1  (a variant of Manning et al. 2008,
        section 6.4)"""
        return unit(np.log1p(n) * weight)

    device = mover(args.device)
    model = Autoencoder([len(bag.words), 500, code], rng=rng, activation=ops.tanh)
    fit(args, "documents", model, lambda x: loss(model, x, rng), device(tf_idf(counts[items])), rng=rng,
        epochs=scale.epochs, size=min(100, len(items)), texts=crc32("".join(texts).encode()))
    lsa = LSA(tf_idf(counts[items]), code)
    spaces = {  # name → a function from counts to vectors, which are compared by cosine
        "counts": lambda n: n, "tf-idf": tf_idf, f"LSA, {code} numbers": lambda n: lsa.encode(tf_idf(n)),
        f"autoencoder, {code} numbers": lambda n: in_batches(lambda x: encode(model, x), device(tf_idf(n)))}
    codes = {name: unit(f(counts)) for name, f in spaces.items()}
    precision = compare(args.out, codes, labels, items, queries)
    drawn = show_map(args.out, codes, labels, names, queries)
    search(args.query, spaces, codes, bag, texts, names[labels])
    print("\n" + (f"Picture: {args.out}/map.png; table" if drawn else "Table") + f": {args.out}/precision.md")
    by_counts, by_tf_idf, by_lsa, by_code = precision
    print(f"Precision at 10 of the autoencoder: {by_code - by_counts:+.1f} percentage points against counts, "
          f"{by_code - by_tf_idf:+.1f} against tf-idf, {by_code - by_lsa:+.1f} against LSA.")
    if args.corpus is None:
        expect("Gain over counts in precision at 10", by_code - by_counts, low=EXPECTED[args.scale],
               unit=" percentage points")


def loss(model, x, rng):
    """−Σ_w p_w ln q_w in nats; p are the shares of words in tf-idf x, q is the softmax of the decoder's output (Hinton
    & Salakhutdinov 2006). Half of the words are hidden from the encoder, or it would learn the documents by heart."""
    p = x / (x.sum(axis=1, keepdims=True) + 1e-12)                        # 0 for a text without known words
    return softmax_cross_entropy(model.decode(encode(model, corruption.masking(x, 0.5, rng))), p, "mean")


def encode(model, x):
    return model.encode(GAIN * x)


def unit(x):
    """Rows of length 1, so that nearest means largest cosine."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def compare(out, codes, labels, items, queries):
    """Write the table of precisions. Returns those at 10, or of few documents at the largest number possible."""
    counts = [k for k in (1, 10, 50) if k <= len(items)]
    rows = [[name, z.shape[1], *(100 * metrics.precision_at_k(z[items], labels[items], z[queries], labels[queries], k)
                                 for k in counts)] for name, z in codes.items()]
    header = ["documents as", "numbers", *(f"precision at {k}, %" for k in counts)]
    print("\n" + plotting.table(rows, header, out / "precision.md"))
    return [row[2 + len(counts) // 2] for row in rows]


def show_map(out, codes, labels, names, queries):
    """Lay out the held-out documents of the ten largest labels by their codes. Returns whether a picture was drawn."""
    largest = np.argsort(-np.bincount(labels[queries]), kind="stable")[:10]
    shown = queries[np.isin(labels[queries], largest)][:1500]
    panels = tsne({name: z[shown] for name, z in codes.items() if "numbers" in name})
    if panels:
        plotting.scatter(panels, labels[shown], "Documents by label, laid out by t-SNE of their codes",
                         out / "map.png", names=names, layouts=panels)
    return bool(panels)


def search(query, spaces, codes, bag, texts, labels, k=3):
    """Print the first lines of the k documents nearest to a query."""
    counts = bag([query])
    known = [word for word in documents.words(query) if word in bag.column]
    print(f'Query: "{query}"; known words: {", ".join(known) or "none"}')
    if not known:
        return
    for name, vector in spaces.items():
        print(f"  by {name}:")
        for i in metrics.nearest(codes[name], unit(vector(counts)), min(k, len(texts)))[0]:
            line = next(line for line in texts[i].splitlines() if documents.words(line))
            print(f"    {labels[i]}: {line.strip()[:90]}")


if __name__ == "__main__":
    command(main)
