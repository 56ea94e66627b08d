"""Augmentation: probability, range of the changes, and unchanged inputs."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from equipoise.errors import SettingError, UnknownNameError
from equipoise.nn.augment import Augmentation, augment, instance_noise

KINDS: tuple[Augmentation, ...] = ("colour", "translation", "cutout", "flip")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, channels: int = 3, side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, side, side, generator=seeded(seed)) * 1.8 - 0.9


def changed(before: Tensor, after: Tensor) -> Tensor:
    return (before != after).flatten(1).any(1)


def test_zero_strength_returns_the_input_and_draws_nothing() -> None:
    generator, x = seeded(), images(2)
    before = generator.get_state()
    assert augment(x, 0.0, generator, KINDS) is x
    assert augment(x, 0.5, generator, ()) is x
    assert instance_noise(x, 0.0, generator) is x
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_fraction_of_changed_samples(kind: Augmentation, p: float) -> None:
    x = images(2000, side=16)
    after = augment(x, p, seeded(1), (kind,))
    # One of the 25 shifts of up to 2 pixels in each direction leaves the image unchanged.
    visible = 24 / 25 if kind == "translation" else 1.0
    assert float(changed(x, after).float().mean()) == pytest.approx(p * visible, abs=0.04)


def test_kinds_are_applied_independently() -> None:
    """A flip and a cutout are distinguished by their effect on an image of ones with a marker."""
    x = torch.ones(4000, 1, 8, 8)
    x[:, :, :, 0] = 2
    after = augment(x, 0.5, seeded(2), ("flip", "cutout"))
    flipped = (after[:, 0, :, 7] == 2).any(1)
    cut = (after == 0).flatten(1).any(1)
    assert float((flipped & cut).float().mean()) == pytest.approx(0.25, abs=0.06)


def test_all_kinds_are_applied_at_probability_1() -> None:
    x = images(200)
    assert bool(changed(x, augment(x, 1.0, seeded(), ("flip",))).all())
    assert torch.equal(augment(x, 1.0, seeded(), ("flip",)), torch.flip(x, [3]))


def test_translation_is_at_most_an_eighth() -> None:
    """The position of a bright pixel shows the translation."""
    x = torch.full((3000, 1, 32, 24), -1.0)
    x[:, :, 16, 12] = 1
    after = augment(x, 1.0, seeded(3), ("translation",))
    where = (after == 1).nonzero()
    assert len(where) == len(x)
    down, right = where[:, 2] - 16, where[:, 3] - 12
    assert sorted(down.unique().tolist()) == list(range(-4, 5))
    assert sorted(right.unique().tolist()) == list(range(-3, 4))
    assert abs(float(down.float().mean())) < 0.2
    correlation = torch.corrcoef(torch.stack([down, right]).float())[0, 1]
    assert abs(float(correlation)) < 0.08


@pytest.mark.parametrize("fill", [-1.0, 0.0])
def test_translation_uncovers_the_fill(fill: float) -> None:
    x = torch.full((500, 2, 16, 16), 0.5)
    after = augment(x, 1.0, seeded(4), ("translation",), fill=fill)
    assert set(after.unique().tolist()) == {fill, 0.5}
    uncovered = (after == fill).flatten(1).sum(1)
    # At most 2 rows and 2 columns of 16, over 2 channels.
    assert int(uncovered.max()) == 2 * (2 * 16 + 2 * 14)


def test_translation_preserves_the_content() -> None:
    x = images(50)
    after = augment(x, 1.0, seeded(5), ("translation",), fill=7.0)
    for before, moved in zip(x, after, strict=True):
        inside = moved[moved != 7.0]
        assert bool(torch.isin(inside, before).all())


def test_cutout_is_a_square_of_half_the_side() -> None:
    x = torch.ones(2000, 1, 16, 16)
    hole = augment(x, 1.0, seeded(6), ("cutout",))[:, 0] == 0
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), rows * columns)
    assert int(rows.max()) == int(columns.max()) == 8
    # A centre on the border leaves half of the square inside.
    assert int(rows.min()) == int(columns.min()) == 4
    assert bool(hole.any(0).all())


def test_only_brightness_changes_the_mean() -> None:
    x = images(4000, side=4)
    after = augment(x, 1.0, seeded(7), ("colour",))
    shift = after.mean((1, 2, 3)) - x.mean((1, 2, 3))
    assert float(shift.abs().max()) <= 0.5 + 1e-5
    assert abs(float(shift.mean())) < 0.02
    assert float(shift.std()) == pytest.approx(12**-0.5, abs=0.01)


def test_contrast_is_between_half_and_one_and_a_half() -> None:
    """Grey images have no saturation: only the deviation from the mean changes."""
    x = images(4000, channels=1, side=4)
    after = augment(x, 1.0, seeded(8), ("colour",))
    ratio = after.std((1, 2, 3)) / x.std((1, 2, 3))
    assert float(ratio.min()) >= 0.5 - 1e-4
    assert float(ratio.max()) <= 1.5 + 1e-4
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)


def test_saturation_is_between_0_and_2() -> None:
    """Differences between channels, relative to those between grey values, change by the saturation only."""
    x = images(4000, side=4)
    after = augment(x, 1.0, seeded(9), ("colour",))

    def colourfulness(x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)).std((1, 2, 3)) / x.mean(1).std((1, 2))

    ratio = colourfulness(after) / colourfulness(x)
    assert float(ratio.min()) < 0.05
    assert float(ratio.max()) == pytest.approx(2, abs=0.05)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)


def test_opacity_is_no_colour() -> None:
    """Opaque images change as without the fourth channel; opacity never changes, nor do transparent pixels."""
    x, opaque = images(64), torch.ones(64, 1, 16, 16)
    both = augment(torch.cat([x, opaque], dim=1), 1.0, seeded(9), ("colour",))
    torch.testing.assert_close(both[:, :3], augment(x, 1.0, seeded(9), ("colour",)), atol=1e-5, rtol=1e-4)
    assert torch.equal(both[:, 3:], opaque)
    half = (torch.rand(64, 1, 16, 16, generator=seeded(2)) > 0.5).float()
    clear = torch.cat([((x + 1) / 2 * half) * 2 - 1, half * 2 - 1], dim=1)
    after = augment(clear, 1.0, seeded(9), ("colour",))
    assert torch.equal(after[:, 3], clear[:, 3])
    hidden = (half == 0).expand(-1, 3, -1, -1)
    torch.testing.assert_close(after[:, :3][hidden], torch.full_like(after[:, :3][hidden], -1), atol=1e-5, rtol=0)
    assert (after[:, :3] - clear[:, :3])[~hidden].abs().mean() > 0.1
    empty = torch.full((2, 4, 4, 4), -1.0)
    torch.testing.assert_close(augment(empty, 1.0, seeded(), ("colour",)), empty)


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + [KINDS])
def test_augmentation_is_differentiable(kinds: Sequence[Augmentation]) -> None:
    x = images(3, side=6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, 0.7, seeded(10), kinds), (x,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_random_numbers_depend_on_the_seed_not_the_dtype(dtype: torch.dtype) -> None:
    x = images(64).to(dtype)
    global_state = torch.get_rng_state()
    once, again, other = (augment(x, 0.5, seeded(seed), KINDS) for seed in (11, 11, 12))
    assert torch.equal(global_state, torch.get_rng_state())
    assert once.dtype == dtype
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    torch.testing.assert_close(once.float(), augment(x.float(), 0.5, seeded(11), KINDS), atol=0.03, rtol=0.03)


def test_other_samples_and_the_input_are_unchanged() -> None:
    x = images(300)
    before = x.clone()
    after = augment(x, 0.3, seeded(13), ("colour",))
    assert torch.equal(x, before)
    assert 150 < int((~changed(x, after)).sum()) < 270


def test_odd_and_small_sides() -> None:
    for side in (1, 3, 7, 28):
        x = images(8, 1, side)
        assert augment(x, 1.0, seeded(), KINDS).shape == x.shape


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_invalid_probability_raises(p: float) -> None:
    with pytest.raises(SettingError, match="between 0 and 1"):
        augment(images(1), p, seeded(), KINDS)


def test_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'colour'"):
        augment(images(1), 0.5, seeded(), ["color"])  # type: ignore[list-item]


def test_noise_has_the_given_standard_deviation() -> None:
    x = images(400)
    noise = instance_noise(x, 0.3, seeded(14)) - x
    assert abs(float(noise.mean())) < 0.004
    assert float(noise.std()) == pytest.approx(0.3, abs=0.004)
    assert torch.equal(noise + x, instance_noise(x, 0.3, seeded(14)))
    assert not torch.equal(noise + x, instance_noise(x, 0.3, seeded(15)))


def test_noise_is_differentiable_and_preserves_the_dtype() -> None:
    x = torch.zeros(4, 2, dtype=torch.bfloat16, requires_grad=True)
    noisy = instance_noise(x, 0.5, seeded())
    noisy.sum().backward()
    assert noisy.dtype == torch.bfloat16
    assert x.grad is not None
    assert bool((x.grad == 1).all())


@pytest.mark.parametrize("kind", ["shift", "amplitude", "gap"])
def test_sequences_are_augmented_in_one_dimension(kind: Augmentation) -> None:
    x = torch.rand(500, 3, 40, generator=seeded()) * 2 - 1
    after = augment(x, 0.5, seeded(1), (kind,))
    assert after.shape == x.shape
    # A shift by 0 is one of the 11 shifts of up to 5 positions.
    visible = 10 / 11 if kind == "shift" else 1.0
    assert float(changed(x, after).float().mean()) == pytest.approx(0.5 * visible, abs=0.07)


def test_shift_moves_all_channels_alike_and_repeats_the_border() -> None:
    x = torch.arange(40.0).repeat(300, 2, 1)
    after = augment(x, 1.0, seeded(2), ("shift",))
    assert torch.equal(after[:, 0], after[:, 1])
    moved = (x - after)[:, 0, 20]
    assert sorted(moved.unique().tolist()) == list(range(-5, 6))
    assert (after >= 0).all()
    assert (after <= 39).all()


def test_gap_covers_at_most_half_of_all_channels() -> None:
    after = augment(torch.ones(300, 2, 40), 1.0, seeded(3), ("gap",))
    empty = (after == 0).sum(2)
    assert torch.equal(empty[:, 0], empty[:, 1])
    assert int(empty.max()) == 20
    assert int(empty.min()) >= 10
