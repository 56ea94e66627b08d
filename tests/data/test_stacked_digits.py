"""The data set of stacks of three digits."""

import pytest
import torch

from equipoise.core import catalog
from equipoise.data.digits import Digits
from equipoise.data.stacked_digits import StackedDigits
from equipoise.errors import SettingError

MANY = 5000


def digits(split):
    """Return a mapping from the bytes of each digit to its class."""
    batch = Digits(16).stream(split, Digits().count(split), 0).batch(0)
    return {image.numpy().tobytes(): int(label) for image, label in zip(batch.real, batch.condition, strict=True)}


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_channels_are_digits_and_labels_are_numbers(split):
    classes = digits(split)
    batch = StackedDigits(16).stream(split, 64, 0).batch(0)
    for stack, label in zip(batch.real, batch.condition, strict=True):
        first, second, third = (classes[channel.numpy().tobytes()] for channel in stack)
        assert label == int(f"{first}{second}{third}")


def test_modes_are_uniform():
    stream = StackedDigits(16).stream("train", MANY, 0)
    labels = torch.cat([stream.batch(index).condition for index in range(4)])
    counts = torch.bincount(labels, minlength=1000)
    assert len(counts) == 1000
    assert counts.min() > 0, "20 expected of each, by Poisson e^-20 for none"
    chi_squared = ((counts - 20.0) ** 2 / 20.0).sum().item()
    assert abs(chi_squared - 999) < 4.5 * (2 * 999) ** 0.5


def test_stacks_do_not_repeat_across_batches_or_splits():
    stacks = [
        stack.numpy().tobytes()
        for split in ("train", "held_out")
        for index in (0, 1)
        for stack in StackedDigits(16).stream(split, 100, 0).batch(index).real
    ]
    assert len(set(stacks)) == 400


def test_invalid_options_name_the_remedy():
    with pytest.raises(SettingError) as error:
        catalog.build("data", "stacked_digits", {"image_size": 28})
    assert str(error.value) == "image_size = 28 is not supported by 'stacked_digits'; use 16, 32, 64 or 128"
    with pytest.raises(SettingError, match="batch_size = 0: it must be at least 1"):
        StackedDigits().stream("train", 0, 0)
