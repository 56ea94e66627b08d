"""The order of images in shards: a permutation in each epoch, without a table, and the same at every position."""

import numpy as np
import pytest

from equipoise.data._shards.order import Blocks, ShardOrder, held_out_counts, make_key, permute

SIZES = np.array([5, 0, 100, 33, 7])
STARTS = np.array([0, 5, 5, 105, 138])


def make_order(split="train", *, seed=0, window=5, share=0.1):
    blocks = Blocks(STARTS, SIZES, held_out_counts(SIZES, share, 50_000))
    return ShardOrder(blocks, seed, split == "held_out", window)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 1000, 65_536, 65_537])
def test_every_number_has_one_place(count):
    values, key = np.arange(count), make_key(count)
    places = permute(values, np.full(count, count), np.full(count, key))
    assert np.array_equal(np.sort(places), values)


def test_places_look_random():
    """Differences of independent places are a third of the range on average; neighbours do not stay close."""
    count = 100_003
    places = permute(np.arange(count), np.full(count, count), np.full(count, make_key(3)))
    assert np.abs(np.diff(places)).mean() / count == pytest.approx(1 / 3, abs=0.005)
    assert abs(np.corrcoef(np.arange(count), places)[0, 1]) < 0.01
    tenths = np.histogram(places[: count // 10], bins=10, range=(0, count))[0]
    assert tenths == pytest.approx(1000, rel=0.12)


def test_places_of_a_huge_set_need_no_table():
    count = 10**12
    places = permute(np.array([0, 1, count - 1]), np.full(3, count), np.full(3, make_key(0)))
    assert len(set(places.tolist())) == 3
    assert ((places >= 0) & (places < count)).all()


@pytest.mark.parametrize("window", [1, 2, 5])
def test_an_epoch_holds_every_image_of_its_split_once(window):
    train, held_out = make_order(window=window), make_order("held_out", window=window)
    first, second = train.rows(np.arange(2 * len(train))).reshape(2, -1)
    reals = held_out.rows(np.arange(len(held_out)))
    assert sorted([*first, *reals]) == list(range(145))
    assert sorted(first) == sorted(second)
    assert first.tolist() != second.tolist()
    assert len(held_out) == 14


def test_any_position_gives_the_row_of_the_whole_order():
    order = make_order(window=2)
    every = order.rows(np.arange(300))
    assert order.rows(np.array([299, 3, 131, 130])).tolist() == every[[299, 3, 131, 130]].tolist()


def test_few_mixed_shards_are_read_at_a_time():
    order = make_order(window=1, share=0.0)
    shards = np.searchsorted(STARTS, order.rows(np.arange(145)), side="right")
    assert np.count_nonzero(np.diff(shards)) == 3, "four shards that are not empty, one after the other"
    mixed = np.searchsorted(STARTS, make_order(share=0.0).rows(np.arange(145)), side="right")
    assert np.count_nonzero(np.diff(mixed)) > 30


def test_seeds_and_splits_have_orders_of_their_own():
    rows = [make_order(seed=seed).rows(np.arange(131)).tolist() for seed in (0, 1, 0)]
    assert rows[0] == rows[2]
    assert rows[0] != rows[1]


def test_a_row_is_replaced_by_others_of_the_same_window():
    order = make_order(window=1, share=0.0)
    rows = [int(order.rows(np.array([60]), attempt)[0]) for attempt in range(3)]
    assert rows == order.rows(np.array([60, 61, 62])).tolist()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.1, 14), (0.5, 72), (0.001, 1)])
def test_held_out_images_are_spread_over_the_shards(share, expected):
    counts = held_out_counts(SIZES, share, 50_000)
    assert counts.sum() == expected
    assert (np.abs(counts - share * SIZES) <= 1).all()
    assert held_out_counts(SIZES, share, 5).sum() == min(5, expected)
    assert held_out_counts(np.array([1]), share, 5).sum() == 0
