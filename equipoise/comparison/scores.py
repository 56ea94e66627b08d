"""Scores from 0 to 1 that are comparable across tasks, computed from metric values by two anchors of each task.

Score 0 is the worst of three kinds of worthless samples: from the untrained generator, noise with the mean and
standard deviation of the reals, and one real repeated. The untrained generator alone is not enough: its nearly uniform
images are closer to emoji on white than the first shapes of a training. Score 1 is the value of reals in place of
samples. Distances span orders of magnitude, so scores are linear in their logarithm, down to the largest distance of
reals to reals, below which differences are noise. For metrics where higher is better, scores are linear in the value.

    lower is better    score = log(worst / max(value, floor)) / log(worst / floor),  floor = max |real|
    higher is better   score = (value - worst) / (mean(real) - worst)

clipped to [0, 1]; values that are not finite score 0.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch

from equipoise.comparison.measurements import SEED, ReportedMetric, build_reported_metric
from equipoise.comparison.plan import ComparisonPlan, Task
from equipoise.comparison.plan_runs import TaskSetting, base_experiment
from equipoise.core.data import DataSet, without_balance
from equipoise.core.metric import ReferenceSet
from equipoise.errors import SettingError
from equipoise.experiment.settings import build_data, build_recipe
from equipoise.inference.generator import Generator

REAL_SETS = 3
"""Number of sets of reals that are measured in place of samples."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Metric values that define the scores of a task. `worthless`: kind of samples -> value; `real`: of sets of reals.

    `better`: "lower" or "higher". `features`: SHA-256 of the network of the metric. Raises SettingError if the metric
    does not distinguish reals from worthless samples.
    """

    metric: str
    better: str
    worthless: Mapping[str, float]
    real: tuple[float, ...]
    features: str | None = None

    def __post_init__(self) -> None:
        is_valid = self.worst > self.floor > 0 if self.better == "lower" else self.worst < fmean(self.real)
        if not is_valid:
            raise SettingError(
                f"{self.metric} does not distinguish reals from worthless samples; set 'reported' to another metric"
            )

    @property
    def worst(self) -> float:
        """The value that scores 0."""
        values = [value for value in self.worthless.values() if math.isfinite(value)]
        return max(values) if self.better == "lower" else min(values)

    @property
    def best_worthless(self) -> tuple[str, float]:
        """The kind of worthless samples with the highest score, and that score."""
        scores = {kind: self.score(value) for kind, value in self.worthless.items()}
        kind = max(scores, key=scores.__getitem__)
        return kind, scores[kind]

    @property
    def floor(self) -> float:
        """The largest distance of reals to reals."""
        return max(map(abs, self.real))

    def score(self, value: float) -> float:
        """Return the score of a metric value, from 0 (worthless) to 1 (as good as reals)."""
        if not math.isfinite(value):
            return 0.0
        if self.better == "lower":
            score = math.log(self.worst / max(value, self.floor)) / math.log(self.worst / self.floor)
        else:
            score = (value - self.worst) / (fmean(self.real) - self.worst)
        return min(max(score, 0.0), 1.0)


def measure_anchors(plan: ComparisonPlan, setting: TaskSetting, task: Task) -> Anchors:
    """Measure the anchors of a task. Raises SettingError if the metric does not distinguish reals from noise."""
    experiment = base_experiment(plan, task, setting, seed=SEED)
    metric, data = build_reported_metric(task, experiment, plan.samples), without_balance(build_data(experiment))
    model = build_recipe(experiment).build(data.spec, torch.Generator().manual_seed(SEED))
    untrained = Generator(model, {name: network.eval() for name, network in model.networks.items()}, data.spec, 0)
    reals, generator = metric.reals.real, torch.Generator().manual_seed(SEED)
    noise = reals.mean(dim=0) + reals.std(dim=0) * torch.randn(metric.count, *reals.shape[1:], generator=generator)
    return Anchors(
        metric=task.reported.name,
        better=metric.metric.better,
        worthless={
            "untrained": metric.of_generator(untrained).value,
            "noise": metric.of_samples(noise.clamp(-1, 1) if data.spec.is_image else noise),
            "one real": metric.of_samples(reals[:1].repeat(metric.count, *[1] * (reals.ndim - 1))),
        },
        real=tuple(_measure_reals(metric, data)),
        features=metric.metric.features_digest,
    )


def _measure_reals(metric: ReportedMetric, data: DataSet) -> Iterator[float]:
    """Measure sets of training reals; if there are too few, halves of the held-out reals against the other half."""
    available = data.count("train")
    if available is None or available >= metric.count:
        stream = data.stream("train", metric.count, SEED)
        yield from (metric.of_samples(stream.batch(index).real) for index in range(REAL_SETS))
        return
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(REAL_SETS):
        first, second = torch.randperm(len(metric.reals), generator=generator).chunk(2)
        labels = metric.reals.condition
        reference = ReferenceSet(metric.reals.real[first], None if labels is None else labels[first])
        statistics = metric.metric.statistics(reference)
        yield float(metric.metric.value(statistics, metric.reals.real[second]))
