"""Fakes against reals, seen small: whether they are as various as reals, near to all of them, or copies.

Each is a number of a few dozen samples a side, for watching, not for judging quality: metrics/ does that.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

SIDE = 8
"""Images are looked at with so many pixels a side: what a picture shows stays, noise averages out."""
COMPARED = 128
"""At most so many samples of a side are compared."""
NEIGHBOURS = 5
"""k of coverage, as Naeem 2020 chooses it (section 4.1)."""
FEWEST = 16
"""With fewer samples of a side nothing is said."""


def small(samples: Tensor) -> Tensor:
    """(N, features) float32 of (N, ...): images (N, C, H, W) averaged down to SIDE × SIDE pixels, all else as it is."""
    samples = samples.detach().float()
    if samples.ndim == 4:
        height, width = samples.shape[2:]
        samples = adaptive_avg_pool2d(samples, (min(SIDE, height), min(SIDE, width)))
    return samples.reshape(len(samples), -1)


def diversity(real: Tensor, fake: Tensor, p: float = 2.0) -> Tensor:
    """Mean distance between two fakes over that between two reals; scalar, 1 for fakes as various as reals.

    `real`: (N, F), `fake`: (M, F). Near 0 all fakes are alike. Noise is various, too: above 1 says nothing good.
    `p`: of the norm; 0 counts the places that differ (Hamming 1950), for tokens, whose numbers mean nothing.
    """
    return _spread(fake, p) / _spread(real, p).clamp_min(1e-12)


def _spread(points: Tensor, p: float) -> Tensor:
    return torch.pdist(points, p).mean()


def coverage(real: Tensor, fake: Tensor) -> Tensor:
    """Share of reals within whose ball to their k-th nearest real lies a fake: Naeem 2020, equation 7. Scalar.

    `real`: (N, F), `fake`: (M, F). For fakes that are as good as reals, N = M = 128, it is 0.97.
    """
    apart = torch.cdist(real, real)
    radius = apart.kthvalue(NEIGHBOURS + 1, dim=1).values  # the nearest of all is the real itself
    return (torch.cdist(real, fake).amin(dim=1) < radius).float().mean()


def copying(train: Tensor, held_out: Tensor, fake: Tensor) -> Tensor:
    """2 AUC - 1 that the nearest training real stands out more for a fake than for a held-out real. Scalar in [-1, 1].

    What stands out is d1 / d2, the distances to the nearest and the second nearest of `train` (N, F): near 0 for a
    copy, near 1 for a blurred mean, which lies near to many (the trap of nearest distances alone: Stein 2023, section
    5). `held_out`: (M, F), `fake`: (K, F). Copies of a real that is not among `train` go unseen.
    """
    first, second = _standing_out(held_out, train), _standing_out(fake, train)
    return (first[:, None] - second[None, :]).sign().mean()


def _standing_out(points: Tensor, train: Tensor) -> Tensor:
    nearest = torch.cdist(points, train).topk(2, dim=1, largest=False).values
    return nearest[:, 0] / nearest[:, 1].clamp_min(1e-12)


def compare(train: Tensor, fake: Tensor, held_out: Tensor | None) -> dict[str, float]:
    """What can be said of `fake` (N, ...) by reals of the same shape; names are those of Signals. Reads the device.

    Diversity and coverage are by `held_out`, or by `train` without it; copying needs both. Nothing is said with fewer
    than FEWEST different reals or fakes, with samples of other shapes, or with fakes that are not finite. Of tokens,
    which reals of whole numbers are, there is diversity alone: distances by places are too coarse for neighbours. Fakes
    that are all alike are not few there, but the finding itself.
    """
    if not train.is_floating_point():
        return _of_tokens(train if held_out is None else held_out, fake)
    sides = [torch.unique(small(side), dim=0) for side in (train, held_out) if side is not None]
    real, fakes = sides[-1], small(fake[:COMPARED])
    if fakes.shape[1:] != real.shape[1:] or min(len(fakes), *map(len, sides)) < FEWEST or not fakes.isfinite().all():
        return {}
    chosen = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0)).to(real.device)][:COMPARED]
    result = {"diversity": diversity(chosen, fakes), "coverage": coverage(chosen, fakes)}
    if held_out is not None:
        result["copying"] = copying(sides[0], chosen, fakes)
    return dict(zip(result, torch.stack(list(result.values())).tolist(), strict=True))


def _of_tokens(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Diversity of sentences (N, T) and (M, T)."""
    reals, fakes = real[:COMPARED].float(), fake[:COMPARED].float()
    if fakes.shape[1:] != reals.shape[1:] or min(len(reals), len(fakes)) < FEWEST or not fakes.isfinite().all():
        return {}
    return {"diversity": diversity(reals, fakes, p=0).item()}
