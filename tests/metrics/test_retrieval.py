"""Retrieval of captions: ranks, ties, and the two networks that the package ships."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from equipoise.core import catalog
from equipoise.core.captions import Captions
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.data.openmoji import OpenMoji
from equipoise.errors import DataError, UndefinedMetricError
from equipoise.metrics import _two_tower
from equipoise.metrics._retrieval import caption_ranks, retrieval_share

DATA = OpenMoji(32, captions=True)
ONE = catalog.build("metrics", "retrieval_r1")
TEN = catalog.build("metrics", "retrieval_r10")


@pytest.fixture(scope="module")
def reals() -> ReferenceSet:
    """All held-out pairs, with features of the pictures."""
    batch = DATA.stream("held_out", DATA.count("held_out"), 0).batch(0)
    return ReferenceSet(ONE.features(batch.real), batch.condition, spec=DATA.spec)


def test_rank_is_the_number_of_nearer_captions_and_ties_are_no_success() -> None:
    captions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.6, 0.8]])
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.6, 0.8]])
    assert caption_ranks(images, captions, torch.tensor([0, 0, 1, 2])).tolist() == [0, 3, 0, 1]


def test_share_counts_distinct_captions_and_uses_them_in_turn(reals: ReferenceSet) -> None:
    """Computed here from the distance of every caption; sample k belongs to the caption of real k modulo M."""
    twice = torch.cat([reals.real, reals.real])
    distinct = sorted({tuple(row) for row in reals.condition.tolist()})
    texts = _two_tower.load().encode_captions(torch.tensor(distinct), DATA.spec.captions.vocabulary)
    hits = [
        distinct[int((texts @ image).argmax())] == tuple(reals.condition[number % len(reals)].tolist())
        for number, image in enumerate(twice)
    ]
    assert retrieval_share(reals, twice, 1, Bootstrap()).value == pytest.approx(sum(hits) / len(hits))


def test_networks_are_better_than_chance_on_pairs_that_they_have_not_seen(reals: ReferenceSet) -> None:
    """Their quality is that of the metadata, which the script wrote."""
    with safe_open(_two_tower.FILE, "pt") as file:
        about = json.loads(file.metadata()["about"])
    held_out = about["held_out"]
    for metric, name, most in ((ONE, "R@1", 1), (TEN, "R@10", 10)):
        result = metric.compute(reals, reals.real, Bootstrap(20))
        assert result.value == pytest.approx(held_out[name], abs=0.02), "weights are stored in 16 bits"
        assert result.value > 2 * most / held_out["captions"]
        assert result.interval[0] < result.value < result.interval[1]
    shuffled = TEN.compute(reals, reals.real.roll(7, 0), Bootstrap()).value
    assert shuffled < TEN.compute(reals, reals.real, Bootstrap()).value / 1.5


def test_samples_of_the_captions_are_recognised(reals: ReferenceSet) -> None:
    """Training pictures of the same words are nearer to them than to others: the score is that of knowing the text."""
    texts = _two_tower.load().encode_captions(reals.condition, DATA.spec.captions.vocabulary)
    assert ONE.compute(reals, texts, Bootstrap()).value > 0.9


def test_data_without_these_captions_do_not_suit() -> None:
    other = Captions(Vocabulary((ENDING, "red", "apple")), 3, ("red apple",))
    assert ONE.suits(DATA.spec)
    assert not ONE.suits(OpenMoji(32).spec)
    assert not ONE.suits(DataSpec((3, 32, 32), captions=other))
    assert not ONE.suits(DataSpec((2,)))


def test_too_few_captions_are_undefined(reals: ReferenceSet) -> None:
    few = ReferenceSet(reals.real[:8], reals.condition[:8], spec=DATA.spec)
    with pytest.raises(UndefinedMetricError, match="captions are too few to look for one among the 10 nearest"):
        TEN.compute(few, reals.real[:8], Bootstrap())
    with pytest.raises(UndefinedMetricError, match="the reals have no captions; choose data with captions"):
        ONE.compute(ReferenceSet(reals.real, spec=OpenMoji(32).spec), reals.real, Bootstrap())


@pytest.mark.parametrize("shape", [(1, 16, 16), (4, 64, 64), (3, 32, 32)])
def test_images_of_any_size_and_kind_have_unit_features(shape: tuple[int, ...]) -> None:
    features = ONE.features(torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    assert features.shape == (3, _two_tower.FEATURES)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "two_tower.safetensors"
    file.write_bytes(_two_tower.FILE.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"two_tower\.safetensors is damaged: .*; reinstall equipoise"):
        _two_tower._read(file)
