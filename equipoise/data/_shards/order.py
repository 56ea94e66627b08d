"""The order in which images are drawn, computed for any position without a table of all images.

A permutation of n numbers is a Feistel network over the smallest 2^(2k) >= n numbers, applied again while its result is
n or more (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", cycle walking: at most four rounds of it on
average). Its round function is the finaliser of SplitMix64 (Steele, Lea and Flood 2014). Image i of an epoch is thus a
pure function of the seed and i: a position is all that a checkpoint needs, and processes take disjoint positions.

Imports neither torch nor anything that does: processes that read batches start at once.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

ROUNDS = 6
SPLIT_KEY = 0x5EED
"""Key of the permutation of a block that decides which of its images are held out: the same in all runs."""
GOLDEN, FIRST, SECOND = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""Constants of SplitMix64."""


def permute(values: Integers, counts: Integers, keys: Words) -> Integers:
    """Return the place of each of `values` in a permutation of `counts` numbers, which `keys` selects.

    All arrays have shape (N,); values[i] is in [0, counts[i]), and so is the result.
    """
    bits = np.maximum(1, np.ceil(np.log2(np.maximum(counts, 2)) / 2)).astype(np.uint64)
    bits += (np.int64(1) << (2 * bits.astype(np.int64))) < counts  # where log2 was rounded down
    result = values.astype(np.uint64)
    pending = np.arange(len(values))
    limits = counts.astype(np.uint64)
    while len(pending):
        result[pending] = _feistel(result[pending], bits[pending], keys[pending])
        pending = pending[result[pending] >= limits[pending]]
    return result.astype(np.int64)


def make_key(*parts: object) -> np.uint64:
    """Return a key that depends on all parts."""
    return np.uint64(int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()))


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * FIRST
    words = (words ^ (words >> np.uint64(27))) * SECOND
    return words ^ (words >> np.uint64(31))


def _feistel(values: Words, bits: Words, keys: Words) -> Words:
    mask = (np.uint64(1) << bits) - np.uint64(1)
    left, right = values >> bits, values & mask
    for _ in range(ROUNDS):
        keys = keys + GOLDEN
        left, right = right, left ^ (_mix(_mix(right + keys)) & mask)
    return (left << bits) | right


class Blocks(NamedTuple):
    """Parts of the index, in its order: shards, row groups, or runs of files. All arrays have shape (B,) int64.

    `starts`: first row. `sizes`: number of rows. `held_out`: how many of them are held out.
    """

    starts: Integers
    sizes: Integers
    held_out: Integers


@dataclass(frozen=True, eq=False)
class ShardOrder:
    """Endless epochs over the images of a split, each in a new order.

    In an epoch the blocks are shuffled, and each `window` of successive blocks is mixed: with as many as there are, the
    order is a permutation of all images. `is_held_out`: whether the split is the held-out one.
    """

    blocks: Blocks
    seed: int
    is_held_out: bool
    window: int
    _orders: dict[np.uint64, tuple[Integers, Integers]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self._counts.sum())

    def rows(self, positions: Integers, attempt: int = 0) -> Integers:
        """Return the rows of the index at these positions of the stream, (N,) int64.

        `attempt`: 0, or the number of the row that replaces one that cannot be used: the next ones in the same window.
        """
        result = np.empty(len(positions), np.int64)
        epochs, places = np.divmod(positions.astype(np.int64), len(self))
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            result[chosen] = self._rows_of_epoch(int(epoch), places[chosen], attempt)
        return result

    @cached_property
    def _counts(self) -> Integers:
        return self.blocks.held_out if self.is_held_out else self.blocks.sizes - self.blocks.held_out

    def _block_order(self, key: np.uint64) -> tuple[Integers, Integers]:
        """Return the order of the blocks in an epoch, and the place after the last image of each; of the last epoch."""
        cached = self._orders.get(key)
        if cached is None:
            count = len(self._counts)
            order = permute(np.arange(count), np.full(count, count), np.full(count, key))
            cached = order, np.cumsum(self._counts[order])
            self._orders.clear()
            self._orders[key] = cached
        return cached

    def _rows_of_epoch(self, epoch: int, places: Integers, attempt: int) -> Integers:
        key, count = make_key(self.seed, self.is_held_out, epoch), len(self._counts)
        order, ends = self._block_order(key)
        last = np.minimum(np.arange(self.window, count + self.window, self.window), count) - 1
        window_ends = ends[last]
        window = np.searchsorted(window_ends, places, side="right")
        start = np.concatenate([[0], window_ends])[window]
        size = window_ends[window] - start
        mixed = permute((places - start + attempt) % size, size, key + _mix(window.astype(np.uint64) + GOLDEN))
        place = np.searchsorted(ends, start + mixed, side="right")
        block = order[place]
        number = start + mixed - (ends[place] - self._counts[block])
        number += 0 if self.is_held_out else self.blocks.held_out[block]
        split_keys = _mix(block.astype(np.uint64) + np.uint64(SPLIT_KEY))
        return self.blocks.starts[block] + permute(number, self.blocks.sizes[block], split_keys)


def held_out_counts(sizes: Integers, share: float, most: int) -> Integers:
    """Return how many images of each block are held out: about `share` of all, at most `most`, spread evenly.

    At least one of all if there are two and `share` is above 0, and never all of them. (B,) int64.
    """
    total = int(sizes.sum())
    wanted = min(round(share * total), most, total - 1)
    wanted = max(wanted, 1) if share > 0 and total > 1 else 0
    ends = np.cumsum(sizes)
    result: Integers = wanted * ends // total - wanted * (ends - sizes) // total
    return result
