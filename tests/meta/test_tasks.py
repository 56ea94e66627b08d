"""Training tasks of policies: their data, how they are sampled, and the data that are excluded."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.completion import complete
from equipoise.meta.held_out import COUNT, HeldOutDistance
from equipoise.meta.pictures import ShapeImages
from equipoise.meta.points import SHAPES, Points
from equipoise.meta.tasks import TaskDistribution, check_training_data

TASKS = TaskDistribution(
    {"data": {"name": "equipoise.meta.points"}, "model": "mlp", "metric": "equipoise.meta.held_out"},
    {"data.shape": ["moons", "cross"], "knobs.lr_d": [1e-3, 4e-3], "steps": [50, 60]},
)


@pytest.mark.parametrize(
    "data",
    [*(Points(shape=shape) for shape in SHAPES), *(ShapeImages(motif=motif) for motif in ("discs", "bars", "waves"))],
)
def test_data_are_reproducible_and_in_range(data: Points | ShapeImages) -> None:
    real = data.stream("held_out", 400, 3).batch(2).real
    assert tuple(real.shape[1:]) == data.spec.shape
    assert real.dtype == torch.float32
    assert torch.equal(real, data.stream("held_out", 400, 3).batch(2).real)
    for other in (data.stream("held_out", 400, 3).batch(1), data.stream("held_out", 400, 4).batch(2)):
        assert not torch.equal(real, other.real)
    bound = 1.0 if data.spec.is_image else 2.2
    assert real.abs().max() <= bound
    assert real.std() > 0.1


@pytest.mark.parametrize("data", [Points(reals=7), ShapeImages(reals=7)])
def test_training_reals_are_limited_and_held_out_reals_unlimited(data: Points | ShapeImages) -> None:
    train = data.stream("train", 64, 0)
    reals = torch.cat([train.batch(index).real for index in range(3)]).flatten(1)
    assert len(reals.unique(dim=0)) == 7 == data.count("train")
    fresh = torch.cat([data.stream("held_out", 64, 0).batch(index).real for index in range(3)]).flatten(1)
    assert len(fresh.unique(dim=0)) == 3 * 64
    assert data.count("held_out") is None


def test_clusters_depend_on_the_draw() -> None:
    first, again, other = (
        Points(shape="clusters", draw=draw).stream("held_out", 512, 0).batch(0) for draw in (1, 1, 2)
    )
    metric = HeldOutDistance()
    statistics = metric.statistics(first)
    assert metric.value(statistics, again.real) < 0.01 < metric.value(statistics, other.real)


@pytest.mark.parametrize("wrong", [lambda: Points(reals=1), lambda: ShapeImages(reals=1), lambda: ShapeImages(size=4)])
def test_invalid_data_options_are_an_error(wrong: Callable[[], object]) -> None:
    with pytest.raises(SettingError, match=r"(reals = 1|size = 4): it must be at least"):
        wrong()


def test_distance_equals_its_definition() -> None:
    """Compared with the formula, computed pair by pair and kernel by kernel."""
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(20, 2, generator=source), torch.randn(24, 2, generator=source) * 0.5 + 1
    metric = HeldOutDistance()
    statistics = metric.statistics(Points().stream("held_out", 8, 0).batch(0))
    from equipoise.core.data import Batch

    statistics = metric.statistics(Batch(real))
    median = np.median([np.linalg.norm(a - b) for i, a in enumerate(real.numpy()) for b in real.numpy()[:i]])
    scales = [2 * float(torch.pdist(real).median()) * 0.5**power for power in range(6)]
    assert scales[0] == pytest.approx(2 * median, rel=0.05)

    def mean(x: torch.Tensor, y: torch.Tensor, same: bool) -> float:
        pairs = [(a, b) for i, a in enumerate(x) for j, b in enumerate(y) if not (same and i == j)]
        return float(np.mean([[np.exp(-float((a - b).square().sum()) / (2 * s**2)) for s in scales] for a, b in pairs]))

    expected = mean(real, real, True) + mean(fake, fake, True) - 2 * mean(real, fake, False)
    assert metric.value(statistics, fake) == pytest.approx(expected, abs=1e-5)
    assert np.isnan(metric.value(statistics, fake / 0))


def test_perfect_samples_are_closer_than_copies_and_collapsed_ones() -> None:
    data, metric = Points(shape="pinwheel", reals=64), HeldOutDistance()
    statistics = metric.statistics(data.stream("held_out", COUNT, 0).batch(0))
    perfect = metric.value(statistics, data.stream("held_out", COUNT, 1).batch(0).real)
    copies = metric.value(statistics, data.stream("train", COUNT, 1).batch(0).real)
    collapsed = metric.value(statistics, data.stream("held_out", COUNT, 1).batch(0).real[:3].repeat(100, 1))
    assert abs(perfect) < 0.004 < copies < collapsed


def test_sampled_tasks_are_reproducible_and_cover_all_values() -> None:
    tasks = TASKS.sample_many(40, 1, 2)
    assert tasks == TASKS.sample_many(40, 1, 2)
    assert tasks != TASKS.sample_many(40, 1, 3)
    assert {one.data.options["shape"] for one in tasks if one.data} == {"moons", "cross"}
    assert {one.knobs["lr_d"] for one in tasks if one.knobs} == {1e-3, 4e-3}
    assert {one.steps for one in tasks} == {50, 60}
    assert len({one.seed for one in tasks}) == 40
    assert complete(tasks[0]).repair is False


@pytest.mark.parametrize(
    "tasks",
    [
        TaskDistribution({"data": "digits"}, {}),
        TaskDistribution({"data": {"name": "openmoji", "image_size": 16}}, {}),
        TaskDistribution(
            {"data": {"name": "equipoise.meta.pictures"}}, {"data.name": ["equipoise.meta.pictures", "digits"]}
        ),
    ],
)
def test_data_of_comparisons_are_refused(tasks: TaskDistribution) -> None:
    with pytest.raises(SettingError, match=r"'(digits|openmoji)' is reserved"):
        check_training_data([TASKS, tasks])


def test_invalid_tasks_are_an_error() -> None:
    with pytest.raises(SettingError, match=r"'data.shape' .* data = 'ring'"):
        TaskDistribution({"data": "ring"}, {"data.shape": ["moons"]}).sample_many(1, 0)
    with pytest.raises(UnknownNameError, match="there is no setting 'step' in the plan's task; did you mean 'steps'"):
        TaskDistribution({"step": 5}, {}).sample_many(1, 0)
