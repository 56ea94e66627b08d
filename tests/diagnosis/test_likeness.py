"""Fakes against reals: known geometry in, known numbers out."""

import pytest
import torch

from equipoise.diagnosis.likeness import COMPARED, FEWEST, compare, copying, coverage, diversity, small

SOURCE = torch.Generator().manual_seed(0)


def points(count: int, dim: int = 8, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, dim, generator=SOURCE)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_diversity_is_the_ratio_of_mean_distances(scale: float) -> None:
    real = points(40)
    assert diversity(real, scale * real + 5).item() == pytest.approx(scale, rel=1e-5), "wherever they lie"
    by_hand = sum((real[i] - real[j]).norm().item() for i in range(40) for j in range(i)) / (40 * 39 / 2)
    fake = points(30)
    other = sum((fake[i] - fake[j]).norm().item() for i in range(30) for j in range(i)) / (30 * 29 / 2)
    assert diversity(real, fake).item() == pytest.approx(other / by_hand, rel=1e-5)


def test_coverage_counts_reals_with_a_fake_in_their_ball() -> None:
    real = torch.arange(12.0)[:, None]
    radii = [sorted(abs(i - j) for j in range(12) if j != i)[4] for i in range(12)]
    for fake in (torch.tensor([[0.2]]), torch.tensor([[0.2], [9.0]]), torch.tensor([[40.0]])):
        expected = sum(any(abs(i - f.item()) < radii[i] for f in fake) for i in range(12)) / 12
        assert coverage(real, fake).item() == pytest.approx(expected)


def test_coverage_of_as_good_as_real_is_what_chance_gives() -> None:
    """1 - (1/2)^5 or so: the chance that a fake is among the nearest five of ten (Naeem 2020, section 4.1)."""
    result = [coverage(points(COMPARED), points(COMPARED)).item() for _ in range(20)]
    assert sum(result) / 20 == pytest.approx(1 - 0.5**5, abs=0.02)


def test_copies_stand_out_and_blurs_do_not() -> None:
    train, held_out = points(200), points(100)
    copies = train[:60] + 0.01 * points(60)
    blurs = train.mean(dim=0) + 0.05 * points(60)
    assert copying(train, held_out, copies).item() > 0.98
    assert copying(train, held_out, blurs).item() < 0.5
    nearest = [torch.cdist(each, train).amin(dim=1) for each in (held_out, blurs)]
    assert (nearest[0][:, None] > nearest[1][None, :]).float().mean().item() > 0.9, "by distance alone they would"
    assert abs(copying(train, held_out, points(200)).item()) < 0.15, "as good as held-out"


def test_images_are_averaged_down() -> None:
    image = torch.arange(2 * 3 * 32 * 16.0).reshape(2, 3, 32, 16)
    assert small(image).shape == (2, 3 * 8 * 8)
    assert small(image).mean().item() == pytest.approx(image.mean().item())
    assert small(torch.zeros(2, 1, 4, 4)).shape == (2, 16), "never up"
    assert small(torch.zeros(5, 2)).shape == (5, 2)


def test_nothing_is_said_of_what_cannot_be_compared() -> None:
    real = points(64)
    assert set(compare(real, points(64), points(64))) == {"diversity", "coverage", "copying"}
    assert set(compare(real, points(64), None)) == {"diversity", "coverage"}
    assert compare(real, points(64, dim=5), None) == {}
    assert compare(real, points(FEWEST - 1), None) == {}
    assert compare(real[:1].repeat(64, 1), points(64), None) == {}, "sixty-four times the same real"
    assert compare(real, points(64) * float("nan"), None) == {}
    assert compare(real, points(64), points(64)[: FEWEST - 1]) == {}


def test_tokens_are_compared_by_places_alone() -> None:
    """Mean number of places that differ, over that of reals; numbers of words mean nothing, nor do neighbours."""
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randint(9, (40, 6), generator=source), torch.randint(3, (40, 6), generator=source)
    pairs = [(a, b) for a in range(40) for b in range(a)]
    apart = [sum((rows[a] != rows[b]).sum().item() for a, b in pairs) for rows in (fake, real)]
    result = compare(torch.zeros_like(real), fake.float(), real)
    assert result == {"diversity": pytest.approx(apart[0] / apart[1])}
    order = torch.randperm(9, generator=source)
    assert compare(order[real], order[fake].float(), None)["diversity"] == pytest.approx(result["diversity"])


def test_one_sentence_over_and_over_is_told() -> None:
    real = torch.randint(9, (40, 6), generator=torch.Generator().manual_seed(0))
    assert compare(real, real[:1].expand(40, 6).float(), real) == {"diversity": 0.0}
