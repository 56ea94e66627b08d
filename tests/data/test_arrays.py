"""Shuffled streams over arrays, the generators behind them, and resizing."""

import pytest
import torch

from equipoise.data._arrays import ImageStream, generator_for, permutation, resize_images
from equipoise.errors import DataError, SettingError


def numbered(count, batch_size, split="train"):
    """Images that are distinguished by their only pixel, which equals their label."""
    numbers = torch.arange(count)
    return ImageStream(numbers.byte().view(count, 1, 1, 1), numbers, batch_size, 0, split)


@pytest.mark.parametrize(("count", "batch_size"), [(10, 3), (10, 5), (10, 10), (7, 6), (1, 1)])
def test_every_image_occurs_once_per_epoch(count, batch_size):
    stream = numbered(count, batch_size)
    labels = torch.cat([stream.batch(index).condition for index in range(3 * count)])
    epochs = labels.view(-1, count)
    assert (epochs.sort(dim=1).values == torch.arange(count)).all()


def test_order_depends_on_epoch_seed_and_split():
    orders = {
        tuple(permutation(100, seed, split, epoch).tolist())
        for seed in (0, 1)
        for split in ("train", "held_out")
        for epoch in (0, 1, 2)
    }
    assert len(orders) == 12


def test_permutation_is_uniform():
    """The mean position of an image over many epochs is 49.5, with a standard error of 28.9 / √2000."""
    places = torch.stack([permutation(100, 0, "train", epoch).argsort() for epoch in range(2000)]).double()
    assert (places.mean(dim=0) - 49.5).abs().max() < 4.5 * 28.87 / 2000**0.5


def test_pixels_are_scaled_exactly():
    images = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    batch = ImageStream(images, torch.arange(256), 256, 0, "train").batch(0)
    real, pixel = batch.real.flatten(), batch.condition
    assert real.dtype == torch.float32
    assert real[pixel == 0] == -1
    assert real[pixel == 255] == 1
    assert torch.equal(((real.double() + 1) * 127.5).round().long(), pixel)


def test_batches_do_not_share_memory():
    stream = numbered(10, 10)
    first = stream.batch(0)
    first.real.zero_()
    first.condition.zero_()
    assert stream.batch(0).condition.sum() == 45
    assert stream.images.sum() == 45


def test_without_labels_there_is_no_condition():
    assert ImageStream(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), None, 2, 0, "train").batch(0).condition is None


def test_batches_are_random_access():
    far = numbered(10, 3).batch(10**9)
    assert torch.equal(far.condition, numbered(10, 3).batch(10**9).condition)


def test_too_large_batch_names_the_remedy():
    with pytest.raises(DataError) as error:
        numbered(10, 20, split="held_out")
    assert str(error.value) == (
        "the split 'held_out' contains 10 images, fewer than a batch of 20; use --batch-size 10 or less"
    )


def test_empty_batches_and_splits_are_refused():
    with pytest.raises(SettingError, match="batch_size = 0: it must be at least 1"):
        numbered(10, 0)
    with pytest.raises(DataError, match="the split 'train' contains no images"):
        numbered(0, 1)


def test_draws_of_a_stream_have_different_generators():
    seeds = {generator_for(7, "train", number).initial_seed() for number in range(20_000)}
    assert len(seeds) == 20_000
    assert max(seeds) < 2**31, "torch would ignore what is above 32 bits"


def test_train_and_held_out_have_different_generators():
    train = {generator_for(seed, "train", number).initial_seed() for seed in range(20) for number in range(500)}
    held_out = {generator_for(seed, "held_out", number).initial_seed() for seed in range(20) for number in range(500)}
    assert not train & held_out


@pytest.mark.parametrize("seed", [-1, 0, 2**40, 2**70])
def test_any_integer_is_a_valid_seed(seed):
    assert len(permutation(5, seed, "train", 0)) == 5


def test_resizing_to_the_same_size_changes_nothing():
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    assert resize_images(images, 8) is images


def test_halving_uses_a_triangle_filter():
    """At half the size the antialiased bilinear filter weights four neighbours in each direction by 1 3 3 1."""
    images = torch.randint(0, 256, (2, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    weights = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    inner = images[:, :, 1:-1, 1:-1].float()
    expected = torch.nn.functional.conv2d(inner, torch.outer(weights, weights)[None, None], stride=2)
    assert (resize_images(images, 8)[:, :, 1:-1, 1:-1] - expected).abs().max() < 0.5001


def test_resizing_is_independent_of_batching():
    images = torch.randint(0, 256, (1100, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    together = resize_images(images, 4)
    assert together.dtype == torch.uint8
    assert torch.equal(together[[0, 511, 512, 1099]], resize_images(images[[0, 511, 512, 1099]], 4))
