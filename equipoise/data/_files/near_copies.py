"""Near-identical images: the same picture saved again, at another size, or slightly changed.

Candidates have similar difference hashes (dHash): the signs of the differences between neighbours among 9 x 9 means,
across and down. A candidate counts if colours and details agree too, so that different images of one scene, or with
the same background, do not. In large sets, hashes sorted in several orders bring similar ones next to each other, so
the time is nearly linear in the number of images.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.data._splits import ConnectedGroups

SIDE = 8
MAX_BITS = 18
"""Largest number of different bits, of 128. Copies saved as JPEG of quality 75 differ in 9 to 18 in most sets."""
MAX_COLOUR = 0.03
"""Largest root mean square difference of the 9 x 9 means, as a share of the range from black to white."""
MIN_DETAIL = 0.5
"""Smallest correlation of the differences between neighbouring pixels; 0.5 to 1 in copies of small JPEG files."""
MAX_EXHAUSTIVE = 4096
"""Number of images up to which all pairs are compared."""
ORDERS, WINDOW = 16, 8
"""In larger sets: number of sorted orders, and number of following neighbours that an image is compared with."""
MAX_PER_IMAGE = 64
"""Largest number of candidates of an image in smaller sets; bounds the time for sets of nearly empty images."""
CHUNK = 256

Hashes = npt.NDArray[np.uint64]
"""Hashes of 128 bits: (N, 2)."""


def near_copies(images: Tensor, names: Sequence[str]) -> list[str]:
    """Return a group name for each of `images` (N, C, H, W): near-identical ones have the lowest of their `names`."""
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    rows = torch.tensor(sorted(first.values()), dtype=torch.int64)
    bits, means = _describe(images, rows)
    groups = ConnectedGroups(names)
    for row, name in enumerate(names):
        groups.join(row, first[name])
    numbers, candidates = rows.tolist(), iter(_candidates(bits))
    while chunk := list(islice((pair for pair in candidates if not _are_joined(groups, numbers, pair)), CHUNK)):
        pairs = torch.tensor(chunk, dtype=torch.int64)
        for one, two in rows[pairs][_agree(images[rows[pairs]], means[pairs])].tolist():
            groups.join(one, two)
    return groups.names()


def _are_joined(groups: ConnectedGroups, rows: Sequence[int], pair: tuple[int, int]) -> bool:
    return groups.find(rows[pair[0]]) == groups.find(rows[pair[1]])


def _scaled(images: Tensor) -> Tensor:
    """Return images in [0, 1]: (N, C, H, W) float32."""
    return images.float() / 255 if images.dtype == torch.uint8 else (images + 1) / 2


def _describe(images: Tensor, rows: Tensor) -> tuple[npt.NDArray[np.uint8], Tensor]:
    """Return the hashes (M, 128), 0 or 1, and the colours of 9 x 9 means (M, C, 9, 9) of these rows."""
    bits, means = [], []
    for chunk in torch.split(rows, CHUNK):
        mean = F.adaptive_avg_pool2d(_scaled(images[chunk]), (SIDE + 1, SIDE + 1))
        grey = mean.mean(1)
        across = grey[:, :SIDE, 1:] > grey[:, :SIDE, :-1]
        down = grey[:, 1:, :SIDE] > grey[:, :-1, :SIDE]
        bits.append(torch.cat([across.flatten(1), down.flatten(1)], 1).byte())
        means.append(mean)
    return torch.cat(bits).numpy(), torch.cat(means)


def _pack(bits: npt.NDArray[np.uint8]) -> Hashes:
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8").astype(np.uint64)


def _candidates(bits: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Return pairs of rows whose hashes differ in few bits, in ascending order."""
    hashes, count = _pack(bits), len(bits)
    pairs: set[tuple[int, int]] = set()
    if count <= MAX_EXHAUSTIVE:
        for row in range(count - 1):
            near = np.bitwise_count(hashes[row + 1 :] ^ hashes[row]).sum(1, dtype=np.int64) <= MAX_BITS
            pairs.update((row, row + 1 + int(other)) for other in np.flatnonzero(near)[:MAX_PER_IMAGE])
        return sorted(pairs)
    for first, second in _neighbours(bits):
        near = np.bitwise_count(hashes[first] ^ hashes[second]).sum(1, dtype=np.int64) <= MAX_BITS
        lower, upper = np.minimum(first, second)[near], np.maximum(first, second)[near]
        pairs.update(zip(lower.tolist(), upper.tolist(), strict=True))
    return sorted(pairs)


def _neighbours(bits: npt.NDArray[np.uint8]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield rows and their neighbours among hashes that are sorted in several orders of their bits."""
    generator = np.random.default_rng(0)
    for _ in range(ORDERS):
        hashes = _pack(bits[:, generator.permutation(bits.shape[1])])
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        for distance in range(1, WINDOW + 1):
            yield order[:-distance], order[distance:]


def _agree(images: Tensor, means: Tensor) -> Tensor:
    """Return (P,) whether colours and details of pairs agree, of images (P, 2, C, H, W) and means (P, 2, C, 9, 9)."""
    colour = (means[:, 0] - means[:, 1]).square().mean((1, 2, 3)).sqrt()
    first, second = (_details(_scaled(images[:, side])) for side in (0, 1))
    detail = (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1)).clamp_min(1e-9)
    result: Tensor = (colour <= MAX_COLOUR) & (detail >= MIN_DETAIL)
    return result


def _details(images: Tensor) -> Tensor:
    """Return the differences between neighbouring pixels of the mean of the channels: (N, M)."""
    grey = images.mean(1)
    return torch.cat([(grey[:, :, 1:] - grey[:, :, :-1]).flatten(1), (grey[:, 1:] - grey[:, :-1]).flatten(1)], 1)
