"""What every data set keeps to: its fields, its streams, its suggestion."""

import dataclasses
import inspect

import pytest
import torch

from equipoise import catalog
from equipoise.errors import DataError

NAMES = catalog.names("data")
SPLITS = ("train", "held_out")


def needs_nothing(name):
    """Whether it can be had without a folder or another argument."""
    parameters = inspect.signature(catalog.load("data", name)).parameters.values()
    return all(parameter.default is not parameter.empty for parameter in parameters)


READY = [name for name in NAMES if needs_nothing(name)]
both_splits = pytest.mark.parametrize("split", SPLITS)
each = pytest.mark.parametrize("name", READY)


def same(first, second):
    if (first.condition is None) != (second.condition is None):
        return False
    labels = first.condition is None or torch.equal(first.condition, second.condition)
    return labels and torch.equal(first.real, second.real)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_value_that_says_what_it_is(name):
    plug = catalog.load("data", name)
    assert dataclasses.is_dataclass(plug)
    assert plug.__dataclass_params__.frozen
    assert plug.__doc__
    assert catalog.summary("data", name).endswith(".")
    assert len(catalog.summary("data", name)) <= 120


@each
@both_splits
def test_batches_are_what_the_spec_says(name, split):
    data = catalog.build("data", name)
    batch = data.stream(split, 8, 0).batch(3)
    assert batch.real.shape == (8, *data.spec.shape)
    assert batch.real.dtype == torch.float32
    assert batch.real.isfinite().all()
    if data.spec.is_image:
        assert -1 <= batch.real.min() < batch.real.max() <= 1
    if data.spec.classes == 0:
        assert batch.condition is None
    else:
        assert batch.condition.shape == (8,)
        assert batch.condition.dtype == torch.int64
        assert 0 <= batch.condition.min() <= batch.condition.max() < data.spec.classes


@each
@both_splits
def test_streams_are_pure(name, split):
    stream = catalog.build("data", name).stream(split, 8, 5)
    in_order = [stream.batch(index) for index in range(4)]
    before = torch.get_rng_state()
    assert all(same(stream.batch(index), in_order[index]) for index in (3, 0, 2, 1))
    fresh = catalog.build("data", name).stream(split, 8, 5)
    assert same(fresh.batch(2), in_order[2])
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not touched"


@each
def test_finite_splits_are_disjoint_and_whole(name):
    data = catalog.build("data", name)
    if data.count("train") is None:
        assert data.count("held_out") is None
        return
    seen = []
    for split in SPLITS:
        count = data.count(split)
        stream = data.stream(split, 1, 0)
        samples = [stream.batch(index).real.numpy().tobytes() for index in range(count)]
        again = [stream.batch(index).real.numpy().tobytes() for index in range(count, 2 * count)]
        assert sorted(samples) == sorted(again)
        assert samples != again
        seen.append(set(samples))
    assert not seen[0] & seen[1]


@each
@both_splits
def test_too_large_a_batch_is_refused(name, split):
    data = catalog.build("data", name)
    count = data.count(split)
    if count is None:
        return
    assert len(data.stream(split, count, 0).batch(0)) == count
    with pytest.raises(DataError, match=f"{count} .*{split}.* {count + 1}.*{count} or less"):
        data.stream(split, count + 1, 0)


@each
def test_its_suggestion_can_be_followed(name):
    data = catalog.build("data", name)
    suggestion = data.suggestion
    assert suggestion.steps >= 1
    assert len(data.stream("train", suggestion.batch_size, 0).batch(0)) == suggestion.batch_size
    if suggestion.metric is not None:
        assert suggestion.metric in catalog.names("metrics")
        assert catalog.build("metrics", suggestion.metric).suits(data.spec)
