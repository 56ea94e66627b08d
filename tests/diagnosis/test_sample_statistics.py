"""Sample statistics: known geometry gives known values."""

import pytest
import torch

from equipoise.diagnosis.sample_statistics import (
    MAX_SAMPLES,
    MIN_SAMPLES,
    compute_sample_statistics,
    copying,
    coverage,
    diversity,
    downsample,
)

SOURCE = torch.Generator().manual_seed(0)


def points(count: int, dim: int = 8, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, dim, generator=SOURCE)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_diversity_is_the_ratio_of_mean_distances(scale: float) -> None:
    real = points(40)
    assert diversity(real, scale * real + 5).item() == pytest.approx(scale, rel=1e-5), "independent of position"
    expected_real = sum((real[i] - real[j]).norm().item() for i in range(40) for j in range(i)) / (40 * 39 / 2)
    fake = points(30)
    expected_fake = sum((fake[i] - fake[j]).norm().item() for i in range(30) for j in range(i)) / (30 * 29 / 2)
    assert diversity(real, fake).item() == pytest.approx(expected_fake / expected_real, rel=1e-5)


def test_coverage_counts_reals_with_a_fake_in_their_ball() -> None:
    real = torch.arange(12.0)[:, None]
    radii = [sorted(abs(i - j) for j in range(12) if j != i)[4] for i in range(12)]
    for fake in (torch.tensor([[0.2]]), torch.tensor([[0.2], [9.0]]), torch.tensor([[40.0]])):
        expected = sum(any(abs(i - f.item()) < radii[i] for f in fake) for i in range(12)) / 12
        assert coverage(real, fake).item() == pytest.approx(expected)


def test_coverage_of_fakes_distributed_as_reals() -> None:
    """About 1 − (1/2)^5: the probability that a fake is among the nearest five of ten (Naeem 2020, section 4.1)."""
    result = [coverage(points(MAX_SAMPLES), points(MAX_SAMPLES)).item() for _ in range(20)]
    assert sum(result) / 20 == pytest.approx(1 - 0.5**5, abs=0.02)


def test_copying_detects_copies_and_not_blurred_means() -> None:
    train, held_out = points(200), points(100)
    copies = train[:60] + 0.01 * points(60)
    blurs = train.mean(dim=0) + 0.05 * points(60)
    assert copying(train, held_out, copies).item() > 0.98
    assert copying(train, held_out, blurs).item() < 0.5
    nearest = [torch.cdist(each, train).amin(dim=1) for each in (held_out, blurs)]
    assert (nearest[0][:, None] > nearest[1][None, :]).float().mean().item() > 0.9, "nearest distances alone would"
    assert abs(copying(train, held_out, points(200)).item()) < 0.15, "distributed as held-out reals"


def test_images_are_downsampled_by_averaging() -> None:
    image = torch.arange(2 * 3 * 32 * 16.0).reshape(2, 3, 32, 16)
    assert downsample(image).shape == (2, 3 * 8 * 8)
    assert downsample(image).mean().item() == pytest.approx(image.mean().item())
    assert downsample(torch.zeros(2, 1, 4, 4)).shape == (2, 16), "smaller images stay as they are"
    assert downsample(torch.zeros(5, 2)).shape == (5, 2)


def test_samples_that_cannot_be_compared_have_no_statistics() -> None:
    real = points(64)
    assert set(compute_sample_statistics(real, points(64), points(64))) == {"diversity", "coverage", "copying"}
    assert set(compute_sample_statistics(real, points(64), None)) == {"diversity", "coverage"}
    assert compute_sample_statistics(real, points(64, dim=5), None) == {}
    assert compute_sample_statistics(real, points(MIN_SAMPLES - 1), None) == {}
    assert compute_sample_statistics(real[:1].repeat(64, 1), points(64), None) == {}, "64 copies of one real"
    assert compute_sample_statistics(real, points(64) * float("nan"), None) == {}
    assert compute_sample_statistics(real, points(64), points(64)[: MIN_SAMPLES - 1]) == {}


def test_tokens_are_compared_by_positions() -> None:
    """Mean number of positions that differ, relative to reals; it does not depend on the numbering of words."""
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randint(9, (40, 6), generator=source), torch.randint(3, (40, 6), generator=source)
    pairs = [(a, b) for a in range(40) for b in range(a)]
    distances = [sum((rows[a] != rows[b]).sum().item() for a, b in pairs) for rows in (fake, real)]
    result = compute_sample_statistics(torch.zeros_like(real), fake.float(), real)
    assert result == {"diversity": pytest.approx(distances[0] / distances[1])}
    order = torch.randperm(9, generator=source)
    permuted = compute_sample_statistics(order[real], order[fake].float(), None)
    assert permuted["diversity"] == pytest.approx(result["diversity"])


def test_identical_sentences_have_diversity_0() -> None:
    real = torch.randint(9, (40, 6), generator=torch.Generator().manual_seed(0))
    assert compute_sample_statistics(real, real[:1].expand(40, 6).float(), real) == {"diversity": 0.0}
