"""Shuffled streams over arrays, the generators behind them, and resizing."""

import pytest
import torch

from equipoise.data._arrays import Shuffled, generator_for, permutation, resized
from equipoise.errors import DataError, SettingError


def numbered(count, batch_size, split="train"):
    """Images that can be told apart by their only pixel, labelled alike."""
    numbers = torch.arange(count)
    return Shuffled(numbers.byte().view(count, 1, 1, 1), numbers, batch_size, 0, split)


@pytest.mark.parametrize(("count", "batch_size"), [(10, 3), (10, 5), (10, 10), (7, 6), (1, 1)])
def test_every_image_once_an_epoch_and_none_dropped_at_its_border(count, batch_size):
    stream = numbered(count, batch_size)
    seen = torch.cat([stream.batch(index).condition for index in range(3 * count)])
    epochs = seen.view(-1, count)
    assert (epochs.sort(dim=1).values == torch.arange(count)).all()


def test_epochs_and_seeds_and_splits_have_orders_of_their_own():
    orders = {
        tuple(permutation(100, seed, split, epoch).tolist())
        for seed in (0, 1)
        for split in ("train", "held_out")
        for epoch in (0, 1, 2)
    }
    assert len(orders) == 12


def test_an_epoch_moves_every_image_anywhere():
    """The mean place of an image over many epochs is the middle: 49.5, with a standard error of 28.9 / √2000."""
    places = torch.stack([permutation(100, 0, "train", epoch).argsort() for epoch in range(2000)]).double()
    assert (places.mean(dim=0) - 49.5).abs().max() < 4.5 * 28.87 / 2000**0.5


def test_pixels_become_numbers_from_minus_one_to_one_exactly():
    images = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    batch = Shuffled(images, torch.arange(256), 256, 0, "train").batch(0)
    real, pixel = batch.real.flatten(), batch.condition
    assert real.dtype == torch.float32
    assert real[pixel == 0] == -1
    assert real[pixel == 255] == 1
    assert torch.equal(((real.double() + 1) * 127.5).round().long(), pixel)


def test_a_batch_is_the_readers_own():
    stream = numbered(10, 10)
    first = stream.batch(0)
    first.real.zero_()
    first.condition.zero_()
    assert stream.batch(0).condition.sum() == 45
    assert stream.images.sum() == 45


def test_without_labels_there_is_no_condition():
    assert Shuffled(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), None, 2, 0, "train").batch(0).condition is None


def test_any_batch_can_be_asked_for_at_once():
    far = numbered(10, 3).batch(10**9)
    assert torch.equal(far.condition, numbered(10, 3).batch(10**9).condition)


def test_too_large_a_batch_is_refused_with_the_way_out():
    with pytest.raises(DataError) as error:
        numbered(10, 20, split="held_out")
    assert str(error.value) == (
        "there are 10 images in 'held_out', fewer than a batch of 20; use --batch-size 10 or less"
    )


def test_empty_batches_and_splits_are_refused():
    with pytest.raises(SettingError, match="batch_size = 0 is too small; use 1 or more"):
        numbered(10, 0)
    with pytest.raises(DataError, match="there are no images in 'train'"):
        numbered(0, 1)


def test_no_two_draws_of_a_stream_share_a_generator():
    seeds = {generator_for(7, "train", number).initial_seed() for number in range(20_000)}
    assert len(seeds) == 20_000
    assert max(seeds) < 2**31, "torch would ignore what is above 32 bits"


def test_train_and_held_out_never_share_a_generator_whatever_their_seeds():
    train = {generator_for(seed, "train", number).initial_seed() for seed in range(20) for number in range(500)}
    held_out = {generator_for(seed, "held_out", number).initial_seed() for seed in range(20) for number in range(500)}
    assert not train & held_out


@pytest.mark.parametrize("seed", [-1, 0, 2**40, 2**70])
def test_any_whole_number_is_a_seed(seed):
    assert len(permutation(5, seed, "train", 0)) == 5


def test_resizing_keeps_what_is_already_right():
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    assert resized(images, 8) is images


def test_halving_weighs_pixels_by_a_triangle():
    """Four neighbours in each direction, weighed 1 3 3 1: the smoothing bilinear filter at half the size."""
    images = torch.randint(0, 256, (2, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    weights = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    inner = images[:, :, 1:-1, 1:-1].float()
    expected = torch.nn.functional.conv2d(inner, torch.outer(weights, weights)[None, None], stride=2)
    assert (resized(images, 8)[:, :, 1:-1, 1:-1] - expected).abs().max() < 0.5001


def test_many_images_are_resized_like_each_alone():
    images = torch.randint(0, 256, (1100, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    together = resized(images, 4)
    assert together.dtype == torch.uint8
    assert torch.equal(together[[0, 511, 512, 1099]], resized(images[[0, 511, 512, 1099]], 4))
