"""Statistics that compare small sets of fakes and reals: diversity, coverage, and copying.

Each is estimated from a few dozen samples per side, for monitoring; metrics/ measures quality.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

SIDE = 8
"""Images are compared at this number of pixels per side: the content remains, noise averages out."""
MAX_SAMPLES = 128
"""Largest number of samples compared per side."""
NEIGHBOURS = 5
"""k of coverage, as in Naeem 2020, section 4.1."""
MIN_SAMPLES = 16
"""With fewer samples per side there are no statistics."""


def downsample(samples: Tensor) -> Tensor:
    """Return samples (N, ...) as (N, features) float32; images (N, C, H, W) are averaged to SIDE × SIDE pixels."""
    samples = samples.detach().float()
    if samples.ndim == 4:
        height, width = samples.shape[2:]
        samples = adaptive_avg_pool2d(samples, (min(SIDE, height), min(SIDE, width)))
    return samples.reshape(len(samples), -1)


def diversity(real: Tensor, fake: Tensor, p: float = 2.0) -> Tensor:
    """Compute E‖fake − fake'‖ₚ / E‖real − real'‖ₚ over pairs: a scalar, 1 for fakes as diverse as the reals.

    `real`: (N, F), `fake`: (M, F). At 0 all fakes are identical. Noise is diverse, too: values above 1 are not
    better. p = 0 counts the positions that differ (Hamming 1950), for tokens, whose numbers have no order.
    """
    return _mean_distance(fake, p) / _mean_distance(real, p).clamp_min(1e-12)


def _mean_distance(points: Tensor, p: float) -> Tensor:
    return torch.pdist(points, p).mean()


def coverage(real: Tensor, fake: Tensor) -> Tensor:
    """Compute the share of reals with a fake nearer than their k-th nearest real: Naeem 2020, equation 7. A scalar.

    `real`: (N, F), `fake`: (M, F). For fakes distributed as the reals and N = M = 128 it is 0.97.
    """
    distance = torch.cdist(real, real)
    radius = distance.kthvalue(NEIGHBOURS + 1, dim=1).values  # the nearest of all is the real itself
    return (torch.cdist(real, fake).amin(dim=1) < radius).float().mean()


def copying(train: Tensor, held_out: Tensor, fake: Tensor) -> Tensor:
    """Compute 2 AUC(r(held_out), r(fake)) − 1, a scalar in [−1, 1], where r = d1 / d2.

    d1 and d2 are the distances to the nearest and second nearest of `train` (N, F). r is near 0 for a copy and near 1
    for a blurred mean, which is near many reals (the pitfall of nearest distances alone: Stein 2023, section 5).
    `held_out`: (M, F), `fake`: (K, F). Copies of a real that is not in `train` are not detected.
    """
    first, second = _distance_ratio(held_out, train), _distance_ratio(fake, train)
    return (first[:, None] - second[None, :]).sign().mean()


def _distance_ratio(points: Tensor, train: Tensor) -> Tensor:
    nearest = torch.cdist(points, train).topk(2, dim=1, largest=False).values
    return nearest[:, 0] / nearest[:, 1].clamp_min(1e-12)


def compute_sample_statistics(train: Tensor, fake: Tensor, held_out: Tensor | None) -> dict[str, float]:
    """Compare `fake` (N, ...) with reals of the same shape; keys are names of Signals. Waits for the device.

    Diversity and coverage compare with `held_out`, or with `train` without it; copying needs both. The result is empty
    with fewer than MIN_SAMPLES different reals or fakes, with fakes of another shape, or with non-finite fakes.

    Reals of an integer dtype are tokens: they have diversity only, since positions that differ are too coarse for
    neighbours. For tokens, identical fakes are not removed, because diversity must detect them.
    """
    if not train.is_floating_point():
        return _token_statistics(train if held_out is None else held_out, fake)
    sides = [torch.unique(downsample(side), dim=0) for side in (train, held_out) if side is not None]
    real, fakes = sides[-1], downsample(fake[:MAX_SAMPLES])
    if (
        fakes.shape[1:] != real.shape[1:]
        or min(len(fakes), *map(len, sides)) < MIN_SAMPLES
        or not fakes.isfinite().all()
    ):
        return {}
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0)).to(real.device)
    selected = real[order][:MAX_SAMPLES]
    result = {"diversity": diversity(selected, fakes), "coverage": coverage(selected, fakes)}
    if held_out is not None:
        result["copying"] = copying(sides[0], selected, fakes)
    return dict(zip(result, torch.stack(list(result.values())).tolist(), strict=True))


def _token_statistics(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Compute the diversity of sentences (N, T) and (M, T)."""
    reals, fakes = real[:MAX_SAMPLES].float(), fake[:MAX_SAMPLES].float()
    if fakes.shape[1:] != reals.shape[1:] or min(len(reals), len(fakes)) < MIN_SAMPLES or not fakes.isfinite().all():
        return {}
    return {"diversity": diversity(reals, fakes, p=0).item()}
