"""Quality of short runs, advantages and merit of policies."""

import math

import numpy as np
import pytest

from equipoise.core import catalog
from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.meta.episodes import (
    BOUND,
    EpisodeResult,
    compute_advantages,
    compute_merit,
    mean_lower_bound,
    play_episodes,
)

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


def test_quality_is_at_most_0_and_depends_on_the_end_and_the_mean() -> None:
    assert EpisodeResult(((10, -0.5), (20, 0.0)), False).quality(NOISE) == 0, "nothing is gained below the noise"
    late = EpisodeResult(((10, 0.2), (20, 0.01)), False).quality(NOISE)
    phi = [-math.log((value + NOISE) / NOISE) for value in (0.2, 0.01)]
    assert late == pytest.approx(phi[1] + 0.3 * sum(phi) / 2)
    soon = EpisodeResult(((10, 0.05), (20, 0.01)), False).quality(NOISE)
    assert soon is not None
    assert late is not None
    assert soon > late


@pytest.mark.parametrize(
    "episode", [EpisodeResult(((10, 0.1),), True), EpisodeResult((), False), EpisodeResult(((10, math.nan),), False)]
)
def test_diverged_run_has_no_quality(episode: EpisodeResult) -> None:
    assert episode.quality(NOISE) is None


def test_advantages_are_bounded_and_divergence_has_the_lowest() -> None:
    good, bad, lost = EpisodeResult(((1, 0.0),), False), EpisodeResult(((1, 9.9),), False), EpisodeResult((), True)
    pairs = [(good, good), (good, bad), (bad, good), (lost, good), (good, lost), (lost, lost)]
    episodes, base = zip(*pairs, strict=True)
    assert compute_advantages(episodes, base, NOISE) == [0, BOUND, -BOUND, -BOUND, BOUND, 0]


def test_merit_weights_the_worst_quarter() -> None:
    assert compute_merit([1.0, 1.0, 1.0, 1.0]) == 1.5
    assert compute_merit([2.0, 2.0, 2.0, -2.0]) == pytest.approx(1.0 - 1.0)
    assert compute_merit([0.0] * 8) == 0


def test_perceptrons_are_stacked_and_other_models_played_alone() -> None:
    fixed = catalog.build("controllers", "fixed")
    stacked = play_episodes([TINY, TINY], [fixed, fixed])
    assert stacked[0] == stacked[1], "the same task, seed and controller"
    assert [step for step, _ in stacked[0].distances] == [10, 20]
    deep = Experiment(**{**vars(TINY), "data": PlugSpec("equipoise.meta.pictures", {"reals": 32, "size": 16})})
    deep = Experiment(
        **{**vars(deep), "model": PlugSpec("dcgan", {"width": 2}), "metric": PlugSpec("fd_pixels"), "steps": 2}
    )
    (episode,) = play_episodes([deep], [fixed])
    assert episode.distances[-1][0] == 2
    assert not episode.diverged


def test_divergence_is_reported() -> None:
    diverging = Experiment(
        **{**vars(TINY), "knobs": {"lr_g": 1e-2, "lr_d": 1e-2}, "data": PlugSpec("ring", {"radius": 1e38})}
    )
    (episode,) = play_episodes([diverging], [catalog.build("controllers", "fixed")])
    assert episode.diverged


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("none", "set one, such as equipoise.meta.held_out"),
        ("coverage:samples", "for 'coverage:samples' higher is better"),
    ],
)
@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_task_without_a_distance_metric_is_an_error(metric: str, message: str, model: str) -> None:
    data = "equipoise.meta.points" if model == "mlp" else "equipoise.meta.pictures"
    changed = {
        "data": PlugSpec(data, {"reals": 16}),
        "model": PlugSpec(model, {"width": 2}),
        "metric": PlugSpec(metric),
    }
    with pytest.raises(SettingError, match=message):
        play_episodes([Experiment(**{**vars(TINY), **changed})], [catalog.build("controllers", "fixed")])


def test_lower_bound_of_the_mean_covers_95_percent_for_few_values() -> None:
    samples = np.random.default_rng(0).standard_normal((4000, 3))
    assert np.mean([mean_lower_bound(row) <= 0 for row in samples.tolist()]) == pytest.approx(0.95, abs=0.01)
