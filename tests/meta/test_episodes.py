"""What short runs come to, and what policies are judged by."""

import math

import numpy as np
import pytest

from equipoise.core import catalog
from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.meta.episodes import BOUND, Episode, advantages, least, merit, play

NOISE = 0.002
TINY = Experiment(
    data=PlugSpec("equipoise.meta.points", {"reals": 64}),
    model=PlugSpec("mlp", {"width": 4}),
    metric=PlugSpec("equipoise.meta.held_out"),
    steps=20,
    batch_size=8,
    evaluate_every=10,
    repair=False,
    threads=1,
)


def test_quality_is_0_at_best_and_counts_the_end_and_the_way() -> None:
    assert Episode(((10, -0.5), (20, 0.0)), False).quality(NOISE) == 0, "below the noise nothing is earned"
    late = Episode(((10, 0.2), (20, 0.01)), False).quality(NOISE)
    phi = [-math.log((value + NOISE) / NOISE) for value in (0.2, 0.01)]
    assert late == pytest.approx(phi[1] + 0.3 * sum(phi) / 2)
    soon = Episode(((10, 0.05), (20, 0.01)), False).quality(NOISE)
    assert soon is not None
    assert late is not None
    assert soon > late


@pytest.mark.parametrize(
    "episode", [Episode(((10, 0.1),), True), Episode((), False), Episode(((10, math.nan),), False)]
)
def test_what_diverged_has_no_quality(episode: Episode) -> None:
    assert episode.quality(NOISE) is None


def test_advantages_are_bounded_and_a_crash_costs_all() -> None:
    good, bad, lost = Episode(((1, 0.0),), False), Episode(((1, 9.9),), False), Episode((), True)
    pairs = [(good, good), (good, bad), (bad, good), (lost, good), (good, lost), (lost, lost)]
    mine, base = zip(*pairs, strict=True)
    assert advantages(mine, base, NOISE) == [0, BOUND, -BOUND, -BOUND, BOUND, 0]


def test_harm_done_to_a_few_counts_twice() -> None:
    assert merit([1.0, 1.0, 1.0, 1.0]) == 1.5
    assert merit([2.0, 2.0, 2.0, -2.0]) == pytest.approx(1.0 - 1.0)
    assert merit([0.0] * 8) == 0


def test_runs_are_played_together_or_one_by_one_as_their_gan_allows() -> None:
    fixed = catalog.build("controllers", "fixed")
    stacked = play([TINY, TINY], [fixed, fixed])
    assert stacked[0] == stacked[1], "the same task, seed and controller"
    assert [step for step, _ in stacked[0].measured] == [10, 20]
    deep = Experiment(**{**vars(TINY), "data": PlugSpec("equipoise.meta.pictures", {"reals": 32, "size": 16})})
    deep = Experiment(
        **{**vars(deep), "model": PlugSpec("dcgan", {"width": 2}), "metric": PlugSpec("fd_pixels"), "steps": 2}
    )
    (alone,) = play([deep], [fixed])
    assert alone.measured[-1][0] == 2
    assert not alone.diverged


def test_a_run_that_diverges_is_told_apart() -> None:
    sick = Experiment(
        **{**vars(TINY), "knobs": {"lr_g": 1e-2, "lr_d": 1e-2}, "data": PlugSpec("ring", {"radius": 1e38})}
    )
    (episode,) = play([sick], [catalog.build("controllers", "fixed")])
    assert episode.diverged


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("none", "policies are trained by a distance: say a metric, such as equipoise.meta.held_out"),
        ("coverage:samples", "of 'coverage:samples' more is better, and policies are trained by a distance: say"),
    ],
)
@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_a_task_without_a_metric_of_which_less_is_better_is_told(metric: str, told: str, model: str) -> None:
    data = "equipoise.meta.points" if model == "mlp" else "equipoise.meta.pictures"
    changed = {
        "data": PlugSpec(data, {"reals": 16}),
        "model": PlugSpec(model, {"width": 2}),
        "metric": PlugSpec(metric),
    }
    with pytest.raises(SettingError, match=told):
        play([Experiment(**{**vars(TINY), **changed})], [catalog.build("controllers", "fixed")])


def test_what_a_mean_is_at_least_is_so_in_95_of_100_even_of_few() -> None:
    drawn = np.random.default_rng(0).standard_normal((4000, 3))
    assert np.mean([least(row) <= 0 for row in drawn.tolist()]) == pytest.approx(0.95, abs=0.01)
