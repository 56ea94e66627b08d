"""Augmentation that is an input of the denoiser (Karras 2022, appendix F.2)."""

import math

import pytest
import torch
from torch import Tensor

from equipoise.nn.labelled_augment import DESCRIPTION, augment_labelled


def shapes(count: int = 400, side: int = 16) -> Tensor:
    """Return images of an asymmetric shape in the middle, bright on a dark background."""
    image = torch.full((1, 1, side, side), -1.0)
    image[:, :, 6:10, 5:9] = 1.0
    image[:, :, 6:8, 9:11] = 0.5
    return image.expand(count, -1, -1, -1)


def augment(p: float, *, flips: bool = True, count: int = 400) -> tuple[Tensor, Tensor]:
    images, description = augment_labelled(shapes(count), p, torch.Generator().manual_seed(0), flips=flips)
    assert description is not None
    return images, description


def test_probability_zero_uses_no_random_numbers() -> None:
    source = torch.Generator().manual_seed(0)
    before = source.get_state()
    images, description = augment_labelled(shapes(), 0.0, source)
    assert images.data_ptr() == shapes().data_ptr() or torch.equal(images, shapes())
    assert description is None
    assert torch.equal(source.get_state(), before)


def test_images_without_description_are_unchanged_to_the_bit() -> None:
    images, description = augment(0.1)
    unchanged = ~description.any(1)
    assert 0.2 < unchanged.float().mean() < 0.8
    assert torch.equal(images[unchanged], shapes()[unchanged])
    assert (images[~unchanged] != shapes()[~unchanged]).flatten(1).any(1).float().mean() > 0.95


def test_each_augmentation_has_its_probability() -> None:
    _, description = augment(0.3, count=4000)
    shares = (description != 0).float().mean(0)
    assert description.shape == (4000, DESCRIPTION)
    assert shares[:2].tolist() == pytest.approx([0.15, 0.15], abs=0.02), "a flip is a coin"
    assert shares[2:].tolist() == pytest.approx([0.3] * 7, abs=0.03)
    scale, shift = description[:, 2], description[:, 7]
    assert scale[scale != 0].std().item() == pytest.approx(0.2, abs=0.02)
    assert shift[shift != 0].std().item() == pytest.approx(0.125, abs=0.01)
    turned = description[:, 3:5]
    torch.testing.assert_close((turned[:, 0] + 1) ** 2 + turned[:, 1] ** 2, torch.ones(4000))


def test_without_flips_none_are_described() -> None:
    _, description = augment(0.5, flips=False)
    assert not description[:, :2].any()


def only(column: int) -> tuple[Tensor, Tensor]:
    """Return images that only one augmentation changed, and the numbers of its column."""
    images, description = augment(0.1, count=6000)
    others = torch.tensor([index for index in range(DESCRIPTION) if index != column])
    is_only = (description[:, column] != 0) & ~description[:, others].any(1)
    assert is_only.sum() > 20
    return images[is_only], description[is_only, column]


def test_flips_are_exact() -> None:
    for column, axis in ((0, 3), (1, 2)):
        images, _ = only(column)
        torch.testing.assert_close(images, shapes(len(images)).flip(axis))


def test_shifts_move_the_centre_by_their_description() -> None:
    places = torch.arange(16.0)
    for column, axis in ((7, 2), (8, 1)):
        images, shift = only(column)
        near = shift.abs() < 0.2
        mass = (images[near, 0] + 1) / 2
        reference = (shapes(1)[0, 0] + 1) / 2
        others = 1 if axis == 2 else 2

        def centre(values: Tensor, dim: int = others) -> Tensor:
            profile = values.sum(dim)
            return (profile * places).sum(1) / profile.sum(1)

        moved = centre(mass) - centre(reference[None])
        torch.testing.assert_close(moved, 16 * shift[near], rtol=0.02, atol=0.05)


def test_scales_change_the_area_by_their_description() -> None:
    images, scale = only(2)
    area = ((images + 1) / 2).sum((1, 2, 3)) / ((shapes(1) + 1) / 2).sum()
    torch.testing.assert_close(area.log2(), 2 * scale, rtol=0.1, atol=0.1)


def test_a_right_angle_turns_the_image() -> None:
    images, description = augment(0.1, count=6000)
    is_only = (description[:, 4] != 0) & ~description[:, [0, 1, 2, 5, 6, 7, 8]].any(1)
    angle = torch.atan2(description[:, 4], description[:, 3] + 1)
    near = is_only & ((angle.abs() - math.pi / 2).abs() < 0.05)
    assert near.sum() >= 3
    turned = {turns: (images[near] - shapes(1).rot90(turns, (2, 3))).abs().mean((1, 2, 3)) for turns in (1, 3)}
    assert (torch.where(angle[near] > 0, turned[1], turned[3]) < 0.02).all()
    assert (torch.where(angle[near] > 0, turned[3], turned[1]) > 0.06).all()


def test_mixed_precision_does_not_move_images() -> None:
    """In bfloat16, positions in an image of 64 pixels would be wrong by more than half a pixel."""
    images = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected, description = augment_labelled(images, 1.0, torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        changed, same = augment_labelled(images, 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(changed, expected)
    assert torch.equal(same, description)
