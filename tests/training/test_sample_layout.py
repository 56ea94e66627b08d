"""Arrangement of samples: alone, or with input and target."""

import pytest
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.experiment.preview import DISPLAYED_INPUTS, TRANSLATION_INPUTS, make_preview, make_sample_layout
from equipoise.training.sample_layout import SampleLayout, columns_for_groups, interleave_images


def built(model: str, data: str, **options: object):
    plug = catalog.build("data", data, {"image_size": 16, **options})
    recipe = catalog.build("models", model, {"width": 2} | ({"patch": 16} if model in ("pix2pix", "cyclegan") else {}))
    return recipe.build(plug.spec, torch.Generator().manual_seed(0)), plug


def levels(count: int, channels: int, level: float) -> Tensor:
    return torch.full((count, channels, 2, 2), level)


def test_parts_are_interleaved_and_grey_images_expanded() -> None:
    images = SampleLayout(2, 6, levels(2, 1, 0.1), levels(2, 3, 0.3)).arrange(levels(2, 3, 0.2))
    assert images.shape == (6, 3, 2, 2)
    assert [round(float(image.mean()), 1) for image in images] == [0.1, 0.2, 0.3, 0.1, 0.2, 0.3]
    assert SampleLayout(2, 6, levels(2, 1, 0), levels(2, 3, 0)).image_roles == ("input", "output", "truth")
    assert SampleLayout(2, 6, levels(2, 1, 0)).image_roles == ("input", "output")


def test_samples_alone_are_unchanged() -> None:
    samples = torch.randn(5, 2)
    assert SampleLayout().arrange(samples) is samples
    assert SampleLayout().image_roles == ()
    assert interleave_images([samples]) is samples


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_no_row_splits_a_group(parts: int) -> None:
    assert columns_for_groups(parts) % parts == 0


def test_held_out_inputs_are_arranged_with_their_targets() -> None:
    model, data = built("pix2pix", "openmoji")
    layout, (latents, inputs) = make_sample_layout(model, data, 3), make_preview(model, data, 3)
    assert len(latents) == len(inputs) == TRANSLATION_INPUTS
    assert torch.equal(layout.source, inputs[:DISPLAYED_INPUTS])
    batch = data.stream("held_out", data.count("held_out"), 0).batch(0)
    for source, target in zip(layout.source[:4], layout.target[:4], strict=True):
        place = (batch.source == source).flatten(1).all(1).nonzero()[0]
        assert torch.equal(batch.real[place[0]], target)
    again = make_preview(model, data, 3)[1]
    assert torch.equal(again, inputs)
    assert not torch.equal(make_preview(model, data, 4)[1], inputs)


def test_layout_without_inputs_has_one_column_per_class() -> None:
    model, data = built("dcgan", "openmoji")
    layout = make_sample_layout(model, data, 0)
    assert (layout.count, layout.columns, layout.source, layout.target) == (None, 11, None, None)
    latents, labels = make_preview(model, data, 0)
    assert len(latents) == 88
    assert labels.tolist()[:12] == [*range(11), 0]
