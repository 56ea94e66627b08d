"""The digits that are included in the package."""

import shutil

import pytest
import torch
from torch.nn import functional as F

from equipoise.core import catalog
from equipoise.data import _digits
from equipoise.data.digits import Digits
from equipoise.errors import DataError, SettingError


def all_digits(split, image_size=32):
    count = Digits().count(split)
    return Digits(image_size).stream(split, count, 0).batch(0)


@pytest.mark.parametrize(("split", "each"), [("train", 400), ("held_out", 100)])
def test_classes_are_balanced(split, each):
    assert torch.bincount(all_digits(split).condition).tolist() == [each] * 10


def test_digits_are_distinct():
    digest = {image.numpy().tobytes() for split in ("train", "held_out") for image in all_digits(split).real}
    assert len(digest) == 5000


def test_32_pixels_are_the_original_with_a_black_border():
    real = all_digits("held_out").real
    inside = F.pad(real[:, :, 2:-2, 2:-2], (2, 2, 2, 2), value=-1.0)
    assert torch.equal(inside, real)
    assert real.min() == -1
    assert real.max() == 1


@pytest.mark.parametrize("size", [16, 64, 128])
def test_other_sizes_are_resampled(size):
    """Resized back to 32 pixels, images are close to the originals, in the same order and with the same labels."""
    original, other = all_digits("held_out"), all_digits("held_out", size)
    assert other.real.shape == (1000, 1, size, size)
    assert torch.equal(other.condition, original.condition)
    back = F.interpolate(other.real, size=(32, 32), mode="bilinear", antialias=True)
    own = (back - original.real).abs().mean()
    assert own < 0.15
    assert own < (back - original.real.roll(1, dims=0)).abs().mean() / 2, "closer than to another digit"
    assert -1 <= other.real.min() <= other.real.max() <= 1


@pytest.mark.parametrize("size", [-32, 0, 28, 33, 48, 256])
def test_unsupported_size_names_the_remedy(size):
    with pytest.raises(SettingError) as error:
        catalog.build("data", "digits", {"image_size": size})
    assert str(error.value) == f"image_size = {size} is not supported by 'digits'; use 16, 32, 64 or 128"


def test_too_large_batch_is_refused():
    with pytest.raises(
        DataError, match="the split 'held_out' contains 1000 images, fewer than a batch of 2000; use --batch"
    ):
        Digits().stream("held_out", 2000, 0)


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*digits\.npz: No such file or directory; reinstall equipoise"):
        _digits.read_digits(tmp_path / "digits.npz")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_damaged_file_is_refused(tmp_path, damage):
    file = tmp_path / "digits.npz"
    shutil.copy(_digits.FILE, file)
    if damage is None:
        content = bytearray(file.read_bytes())
        content[400_000] ^= 1
        damage = bytes(content)
    file.write_bytes(damage)
    with pytest.raises(DataError, match=r"digits\.npz is damaged"):
        _digits.read_digits(file)


def test_training_images_is_independent_of_seed_and_held_out():
    few = Digits(image_size=16, training_images=100)
    assert (few.count("train"), few.count("held_out")) == (100, 1000)

    def images(data, seed, split="train"):
        return {image.numpy().tobytes() for image in data.stream(split, data.count(split), seed).batch(0).real}

    assert len(images(few, 0)) == 100
    assert images(few, 0) == images(few, 1) < images(Digits(image_size=16, training_images=500), 2)
    assert images(few, 0, "held_out") == images(Digits(image_size=16), 0, "held_out")
    assert len(few.stream("train", 100, 0).batch(0).condition.unique()) == 10


@pytest.mark.parametrize("count", [0, -1, 4001])
def test_too_many_training_images_are_refused(count):
    with pytest.raises(SettingError, match=f"training_images = {count}: it must be from 1 to 4000"):
        Digits(training_images=count)
