"""For formats whose graphs take fixed numbers of tokens: which ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from sharcs_edge.bundle import Bundle
from sharcs_edge.errors import BundleError

BUCKETS = 4  # by the data; each is another set of graphs to convert, and to lay out in memory on the device
_STEP = 8  # kernels compute several tokens at a time


def bundle_lengths(bundle: Bundle, max_length: int) -> list[int]:
    """Tokens of each of the bundle's examples, special ones included, at most ``max_length``.

    Raises:
        BundleError: the tokenizer cannot be read.
    """
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(bundle.tokenizer_file))
    except Exception as error:  # the library raises plain Exception
        raise BundleError(f"cannot read {bundle.tokenizer_file}: {error}; train again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = [tokenizer.encode(example.text, example.text_pair) for example in bundle.examples]
    return [min(len(encoding.ids), max_length) for encoding in encoded]


def choose_buckets(lengths: Sequence[int], max_length: int, count: int = BUCKETS) -> tuple[int, ...]:
    """Numbers of tokens, ascending, the last one ``max_length``: those that inputs are padded to.

    At most ``count`` of them are the ones that pad inputs of ``lengths`` least. Others halve what is above the smallest
    one, so that no longer input is padded to twice its tokens, however rare it was. Without lengths they are
    ``max_length``, half of it, half of that, ...
    """
    if not lengths:
        halves = {max(max_length >> halvings, 1) for halvings in range(count)}
        return tuple(sorted({min(-(-half // _STEP) * _STEP, max_length) for half in halves}))
    chosen = _least_padding(lengths, max_length, count)
    sizes = [max_length]
    for size in reversed(chosen[:-1]):
        while sizes[-1] > 2 * size:
            sizes.append(-(-sizes[-1] // (2 * _STEP)) * _STEP)
        sizes.append(size)
    return tuple(reversed(sizes))


def _least_padding(lengths: Sequence[int], max_length: int, count: int) -> tuple[int, ...]:
    sizes = [*range(_STEP, max_length, _STEP), max_length]
    counts = [0] * len(sizes)
    for length in lengths:
        counts[min(-(-length // _STEP), len(sizes)) - 1] += 1
    below = [0, *accumulate(counts)]  # how many inputs are no longer than the size before
    # The least number of tokens with padding, and how it is reached, for the sizes up to each one, which is a bucket.
    best = [(below[end + 1] * size, (size,)) for end, size in enumerate(sizes)]
    for _ in range(count - 1):
        best = [
            min(
                [
                    best[end],
                    *(
                        (tokens + (below[end + 1] - below[start + 1]) * size, (*chosen, size))
                        for start, (tokens, chosen) in enumerate(best[:end])
                    ),
                ],
                key=lambda way: (way[0], len(way[1])),
            )
            for end, size in enumerate(sizes)
        ]
    return best[-1][1]
