"""The data of the suite: splits are disjoint, the draw chooses training samples and never test reals."""

import pytest
import torch
from torch import Tensor

from equipoise.comparison.suite.data import SOURCES, SampleSource, SuiteData, held_out_count
from equipoise.errors import SettingError

SHAPES = {
    **dict.fromkeys(("digits", "outlines", "glyphs", "bursts"), (1, 16, 16)),
    **dict.fromkeys(("emoji", "icons"), (3, 16, 16)),
    **{"tables": (3, 32), "mixtures": (2,), "spirals": (2,)},
}


def identities(samples: Tensor) -> set[bytes]:
    """Return the bytes of each sample."""
    return {sample.numpy().tobytes() for sample in samples}


@pytest.mark.parametrize("source", ["glyphs", "icons", "bursts", "tables", "mixtures", "spirals", "digits"])
def test_no_sample_is_in_two_splits(source: SampleSource) -> None:
    data = SuiteData(source, training_images=64, draw=1)
    train, held_out, test = (
        identities(part) for part in (data.rows("train"), data.rows("held_out"), data.test_reals())
    )
    assert len(train) == 64
    assert len(held_out) == 16
    assert not train & held_out
    assert not (train | held_out) & test


@pytest.mark.parametrize("source", SOURCES)
def test_samples_have_their_shape_and_range(source: SampleSource) -> None:
    data = SuiteData(source)
    rows = data.rows("train")
    assert rows.dtype == torch.float32
    assert tuple(rows.shape[1:]) == tuple(data.spec.shape) == SHAPES[source]
    assert rows.isfinite().all()
    if len(SHAPES[source]) > 1:
        assert rows.min() >= -1
        assert rows.max() <= 1
    assert len(identities(data.test_reals())) > 0.9 * len(data.test_reals()), "hardly any test real is there twice"


def test_all_samples_are_used_without_a_number() -> None:
    data = SuiteData("bursts")
    parts = [data.rows("train"), data.rows("held_out"), data.test_reals()]
    assert [len(part) for part in parts] == [1400, 200, 800]
    assert data.count("train") == 1400


def test_the_draw_chooses_training_samples_but_not_the_test_reals() -> None:
    first, again, other = (SuiteData("bursts", training_images=64, draw=draw) for draw in (3, 3, 4))
    assert torch.equal(first.rows("train"), again.rows("train"))
    assert torch.equal(first.rows("held_out"), again.rows("held_out"))
    assert torch.equal(first.test_reals(), other.test_reals())
    assert identities(first.rows("train")) != identities(other.rows("train"))


@pytest.mark.parametrize(("train", "held_out"), [(2, 16), (64, 16), (100, 20), (400, 80), (3000, 200)])
def test_a_fifth_is_held_out(train: int, held_out: int) -> None:
    assert held_out_count(train) == held_out


def test_batches_are_whole_epochs_in_new_orders() -> None:
    stream = SuiteData("bursts", training_images=10).stream("train", 4, seed=0)
    rows = torch.cat([stream.batch(index).real for index in range(5)])
    assert len(identities(rows[:10])) == len(identities(rows[10:])) == 10
    assert not torch.equal(rows[:10], rows[10:])
    assert torch.equal(stream.batch(3).real, rows[12:16]), "a batch depends on its number alone"


def test_other_seeds_have_other_orders() -> None:
    data = SuiteData("bursts", training_images=64)
    assert not torch.equal(data.stream("train", 8, 0).batch(0).real, data.stream("train", 8, 1).batch(0).real)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "cats"}, "there is no source 'cats'; choose one of digits, emoji"),
        ({"source": "icons", "image_size": 64}, "image_size = 64: it must be 16 or 32"),
        ({"source": "icons", "training_images": 5000}, "training_images = 5000: 'icons' has 1400"),
        ({"source": "icons", "training_images": 1}, "training_images = 1: 'icons' has 1400"),
    ],
)
def test_one_clear_line_for_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        SuiteData(**options)
