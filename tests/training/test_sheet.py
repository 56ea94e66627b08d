"""How samples are laid out: alone, or between input and truth."""

import pytest
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.experiment.preview import INPUTS, SHOWN, preview, sheet
from equipoise.training.sheet import Sheet, columns_of, side_by_side


def built(model: str, data: str, **options: object):
    plug = catalog.build("data", data, {"image_size": 16, **options})
    recipe = catalog.build("models", model, {"width": 2} | ({"patch": 16} if model in ("pix2pix", "cyclegan") else {}))
    return recipe.build(plug.spec, torch.Generator().manual_seed(0)), plug


def levels(count: int, channels: int, level: float) -> Tensor:
    return torch.full((count, channels, 2, 2), level)


def test_parts_take_turns_and_grey_ones_become_colour() -> None:
    laid_out = Sheet(2, 6, levels(2, 1, 0.1), levels(2, 3, 0.3)).laid_out(levels(2, 3, 0.2))
    assert laid_out.shape == (6, 3, 2, 2)
    assert [round(float(image.mean()), 1) for image in laid_out] == [0.1, 0.2, 0.3, 0.1, 0.2, 0.3]
    assert Sheet(2, 6, levels(2, 1, 0), levels(2, 3, 0)).shows == ("input", "output", "truth")
    assert Sheet(2, 6, levels(2, 1, 0)).shows == ("input", "output")


def test_samples_alone_are_left_as_they_are() -> None:
    made = torch.randn(5, 2)
    assert Sheet().laid_out(made) is made
    assert Sheet().shows == ()
    assert side_by_side([made]) is made


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_no_row_breaks_a_group(parts: int) -> None:
    assert columns_of(parts) % parts == 0


def test_held_out_pairs_are_shown_with_their_truths() -> None:
    model, data = built("pix2pix", "openmoji")
    laid, (latents, inputs) = sheet(model, data, 3), preview(model, data, 3)
    assert len(latents) == len(inputs) == INPUTS
    assert torch.equal(laid.source, inputs[:SHOWN])
    whole = data.stream("held_out", data.count("held_out"), 0).batch(0)
    for source, truth in zip(laid.source[:4], laid.truth[:4], strict=True):
        place = (whole.source == source).flatten(1).all(1).nonzero()[0]
        assert torch.equal(whole.real[place[0]], truth)
    again = preview(model, data, 3)[1]
    assert torch.equal(again, inputs)
    assert not torch.equal(preview(model, data, 4)[1], inputs)


def test_other_gans_are_laid_out_as_before() -> None:
    model, data = built("dcgan", "openmoji")
    laid = sheet(model, data, 0)
    assert (laid.count, laid.columns, laid.source, laid.truth) == (None, 11, None, None)
    latents, labels = preview(model, data, 0)
    assert len(latents) == 88
    assert labels.tolist()[:12] == [*range(11), 0]
