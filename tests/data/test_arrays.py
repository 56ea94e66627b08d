"""Shuffled streams over arrays, the generators behind them, and resizing."""

from dataclasses import replace

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec, without_balance
from equipoise.data._arrays import (
    ImageStream,
    batch_indices,
    generator_for,
    group_by_class,
    permutation,
    resize_images,
    to_range,
)
from equipoise.data._pairs import ImageRows, PairedStream, UnpairedStream
from equipoise.data._windows.streams import WindowStream
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


class TestBalance:
    """Three classes of 2, 5 and 40 images, shuffled; labels are 0, 3 and 7: classes need not be consecutive."""

    LABELS = torch.tensor([0] * 2 + [3] * 5 + [7] * 40)[torch.randperm(47, generator=generator_for(1, "train", 0))]

    def rows(self, batches, size, split="train", seed=0):
        classes = group_by_class(self.LABELS, True)
        return torch.cat([batch_indices(47, size, seed, split, index, classes) for index in range(batches)])

    def test_every_round_holds_every_class_once(self):
        rounds = self.LABELS[self.rows(100, 9)].view(-1, 3)
        assert (rounds.sort(dim=1).values == torch.tensor([0, 3, 7])).all()

    def test_order_within_rounds_is_uniform(self):
        """Each of the 6 orders of 3 classes is expected in 500 of 3,000 rounds, with a standard deviation of 20.4."""
        rounds = self.LABELS[self.rows(1000, 9)].view(-1, 3)
        _, counts = rounds.unique(dim=0, return_counts=True)
        assert len(counts) == 6
        assert (counts - 500).abs().max() < 4 * 20.4

    @pytest.mark.parametrize(("label", "count"), [(0, 2), (3, 5), (7, 40)])
    def test_images_of_a_class_are_drawn_without_replacement(self, label, count):
        rows = self.rows(120, 5)
        epochs = rows[self.LABELS[rows] == label].view(-1, count)
        assert (epochs.sort(dim=1).values == torch.eq(self.LABELS, label).nonzero().flatten()).all()
        assert len({tuple(epoch.tolist()) for epoch in epochs}) > 1

    def test_order_is_the_same_for_every_batch_size(self):
        assert torch.equal(self.rows(60, 1), self.rows(15, 4))
        assert torch.equal(self.rows(60, 1), self.rows(2, 30))

    def test_order_depends_on_seed_and_split(self):
        orders = [self.rows(5, 9), self.rows(5, 9, seed=1), self.rows(5, 9, split="held_out")]
        assert len({tuple(order.tolist()) for order in orders}) == 3

    def test_batches_are_random_access(self):
        classes = group_by_class(self.LABELS, True)
        far, near = 10**7, batch_indices(47, 64, 0, "train", 10**7, classes)
        assert torch.equal(batch_indices(47, 32, 0, "train", 2 * far, classes), near[:32])

    def test_streams_of_images_pairs_and_windows_follow_it(self):
        classes, rows = group_by_class(self.LABELS, True), torch.arange(47)
        images = rows.byte().view(47, 1, 1, 1)
        order = batch_indices(47, 12, 0, "train", 3, classes)
        batch = ImageStream(images, self.LABELS, 12, 0, "train", classes=classes).batch(3)
        assert torch.equal(batch.condition, self.LABELS[order])
        assert torch.equal(batch.real.flatten(), to_range(images[order]).flatten())
        subset = ImageRows(images, rows)
        for stream in (PairedStream, UnpairedStream):
            pair = stream(subset, subset, self.LABELS, 12, 0, "train", classes).batch(3)
            assert torch.equal(pair.condition, batch.condition)
            assert torch.equal(pair.real, batch.real)
            assert torch.equal(pair.source, pair.real) == (stream is PairedStream)
        spec = DataSpec((1, 1, 1), unit=(0.0, 255.0))
        windows = WindowStream(rows.view(47, 1, 1).float(), rows, self.LABELS, spec, False, 12, 0, "train", classes)
        assert torch.equal(windows.batch(3).condition, batch.condition)

    def test_without_balance_nothing_changes(self):
        assert group_by_class(self.LABELS, False) is None
        assert torch.equal(
            batch_indices(47, 9, 0, "train", 3, None), torch.cat([permutation(47, 0, "train", 0)])[27:36]
        )

    def test_data_without_labels_is_refused(self):
        with pytest.raises(SettingError, match=r"data\.balance = true needs classes, and the data has none"):
            group_by_class(None, True)
        assert group_by_class(None, False) is None


@pytest.mark.parametrize("name", ["openmoji", "digits"])
def test_balanced_data_hold_all_classes_equally_often(name):
    """22 rounds of openmoji's 11 groups, and about 24 of the 10 digits; metrics still see every sample once."""
    data = catalog.build("data", name, {"image_size": 16, "balance": True, "training_images": 300})
    labels = torch.cat([data.stream("train", 121, 0).batch(index).condition for index in range(2)])
    counts = labels.bincount(minlength=data.spec.classes)
    assert counts.max() - counts.min() <= 1
    natural = without_balance(data).stream("train", 300, 0).batch(0)
    assert len(natural.real.flatten(1).unique(dim=0)) == 300
    assert natural.condition.bincount().max() > counts.max()
    assert without_balance(without_balance(data)) == replace(data, balance=False)
