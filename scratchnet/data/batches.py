"""Arrays cut into batches along their first axis."""

import operator

from scratchnet.backend import kind_of, to_device_of


class Indivisible(ValueError):
    """A batch that cannot be shared equally; the message names its size and the number of processes."""


def batches(*arrays, size, rng=None, drop_last=False, start=0, part=(0, 1)):
    """Iterate over arrays (N, …) in batches of `size` rows: tuples of arrays, or bare arrays if one is given.

    With rng, rows come in the order `rng.permutation(N)`, the same for all arrays, drawn with the first batch.
    Without rng, they come in their own order, and the batches are views.
    The last batch is smaller if `size` does not divide N; drop_last leaves it out.
    `start` skips that many batches but still draws the whole order, so a run can resume in mid-epoch.
    `part` (k, n) gives only the k-th of n equal parts of each batch, k from 0, for n processes that share the work.
    Tensors are cut into Tensors. Raises ValueError if the lengths are zero or unequal, or if there is no batch to give;
    TypeError for anything but arrays, such as lists, whose batches would be ambiguous.

    >>> import numpy as np
    >>> [x.tolist() for x in batches(np.arange(5), size=2)]
    [[0, 1], [2, 3], [4]]
    """
    if not arrays:
        raise TypeError("batches: no arrays given, expected at least one")
    lengths = [_length(array) for array in arrays]
    rows = lengths[0]
    if len(set(lengths)) > 1:
        raise ValueError(f"batches: arrays of {lengths} rows, expected equal numbers")
    if rows == 0:
        raise ValueError("batches: arrays of 0 rows, expected at least 1")
    size, start = _whole_number("size", size), _whole_number("start", start)
    if size < 1:
        raise ValueError(f"batches: size={size}, expected at least 1")
    count = rows // size if drop_last else -(-rows // size)
    if count == 0:
        raise ValueError(f"batches: drop_last leaves no batch of size={size} out of {rows} rows")
    if not 0 <= start <= count:
        raise ValueError(f"batches: start={start}, expected 0 to {count}, the number of batches")
    if size % part[1]:
        raise Indivisible(f"batches: size={size} cannot be shared by {part[1]} processes, expected a multiple of "
                          f"{part[1]}")
    if rng is not None and not hasattr(rng, "permutation"):
        raise TypeError(f"batches: rng must be None or a generator such as np.random.default_rng(0), got "
                        f"{kind_of(rng)}")
    return _generate(arrays, rows, size, rng, range(start, count), *part)


def _length(array):
    """The number of rows of an array, of NumPy or of a library whose arrays are cut in the same way."""
    if isinstance(array, (list, tuple)) and any(hasattr(part, "shape") for part in array):
        raise TypeError(f"batches: got a {type(array).__name__} of arrays; write batches(x, y, size=…)")
    if type(array).__module__.partition(".")[0] in ("torch", "pandas", "polars") or not hasattr(array, "dtype"):
        raise TypeError(f"batches: expected arrays (N, …), got {kind_of(array)}")
    if getattr(array, "ndim", 1) == 0:
        raise ValueError("batches: got an array without axes, expected (N, …)")
    return len(array)


def _whole_number(name, value):
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"batches: {name}={value!r}, expected a whole number") from None


def _generate(arrays, rows, size, rng, numbers, k, n):
    order = None if rng is None else rng.permutation(rows)
    homes = [array.data if hasattr(array, "requires_grad") else array for array in arrays]  # a Tensor's own array
    for number in numbers:
        part = slice(number * size + k * size // n, number * size + (k + 1) * size // n)
        if order is None:
            batch = tuple(array[part] for array in arrays)
        else:
            batch = tuple(array[to_device_of(order[part], home)] for array, home in zip(arrays, homes, strict=True))
        yield batch if len(arrays) > 1 else batch[0]
