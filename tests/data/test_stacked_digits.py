"""Stacks of three digits."""

import pytest
import torch

from equipoise.core import catalog
from equipoise.data.digits import Digits
from equipoise.data.stacked_digits import StackedDigits
from equipoise.errors import SettingError

MANY = 5000


def digits(split):
    """Each digit's bytes -> its class."""
    batch = Digits(16).stream(split, Digits().count(split), 0).batch(0)
    return {image.numpy().tobytes(): int(label) for image, label in zip(batch.real, batch.condition, strict=True)}


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_channel_is_a_digit_of_the_split_and_the_label_reads_them(split):
    known = digits(split)
    batch = StackedDigits(16).stream(split, 64, 0).batch(0)
    for stack, label in zip(batch.real, batch.condition, strict=True):
        first, second, third = (known[channel.numpy().tobytes()] for channel in stack)
        assert label == int(f"{first}{second}{third}")


def test_all_thousand_modes_are_equally_likely_and_channels_independent():
    stream = StackedDigits(16).stream("train", MANY, 0)
    labels = torch.cat([stream.batch(index).condition for index in range(4)])
    counts = torch.bincount(labels, minlength=1000)
    assert len(counts) == 1000
    assert counts.min() > 0, "20 expected of each, by Poisson e^-20 for none"
    chi_squared = ((counts - 20.0) ** 2 / 20.0).sum().item()
    assert abs(chi_squared - 999) < 4.5 * (2 * 999) ** 0.5


def test_no_stack_comes_twice_nor_in_both_splits():
    seen = [
        stack.numpy().tobytes()
        for split in ("train", "held_out")
        for index in (0, 1)
        for stack in StackedDigits(16).stream(split, 100, 0).batch(index).real
    ]
    assert len(set(seen)) == 400


def test_what_cannot_be_is_refused_with_the_way_out():
    with pytest.raises(SettingError) as error:
        catalog.build("data", "stacked_digits", {"image_size": 28})
    assert str(error.value) == "image_size = 28 is not offered by 'stacked_digits'; use 16, 32, 64 or 128"
    with pytest.raises(SettingError, match="batch_size = 0 is too small"):
        StackedDigits().stream("train", 0, 0)
