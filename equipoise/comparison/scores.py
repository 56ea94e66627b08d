"""From the values of a metric to scores from 0 to 1 that compare across tasks, by two anchors of each task.

0 is the worst of three kinds of samples that are worth nothing: of the untrained generator, noise with the mean and the
deviation of the reals, one real again and again. An untrained generator alone will not do: what it makes is nearly
blank, and nearer to emoji on white than the first shapes are. 1 is what reals get in the place of samples. Distances
fall over orders of magnitude, so they are compared by their logarithms; below the largest distance that reals get, by
chance, nothing is told apart. Metrics of which more is better, such as shares of modes, are compared as they are.

    lower is better    score = log(worst / max(value, floor)) / log(worst / floor),  floor = max |real|
    higher is better   score = (value - worst) / (mean(real) - worst)

clipped to [0, 1]; what is not finite gets 0.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch

from equipoise.comparison.looks import SEED, Judge, judge_of
from equipoise.comparison.plan import Plan, Task
from equipoise.comparison.planned import Setting, bare
from equipoise.core.data import DataSet
from equipoise.core.metric import ReferenceSet
from equipoise.errors import SettingError
from equipoise.experiment.settings import data_of, recipe_of
from equipoise.inference.generator import Generator

DRAWS = 3
"""Sets of reals that are put in the place of samples."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Of one task. `worthless`: what samples that are worth nothing get, by their kind; `real`: what sets of reals get.

    `better`: which way is up. `features`: SHA-256 of the network that is looked through. Raises SettingError if reals
    are not told from what is worthless.
    """

    metric: str
    better: str
    worthless: Mapping[str, float]
    real: tuple[float, ...]
    features: str | None = None

    def __post_init__(self) -> None:
        told = self.worst > self.floor > 0 if self.better == "lower" else self.worst < fmean(self.real)
        if not told:
            raise SettingError(f"{self.metric} does not tell reals from samples that are worth nothing; take another")

    @property
    def worst(self) -> float:
        """What gets a score of 0."""
        values = [value for value in self.worthless.values() if math.isfinite(value)]
        return max(values) if self.better == "lower" else min(values)

    @property
    def passable(self) -> tuple[str, float]:
        """The kind of worthless samples that gets the highest score, and that score."""
        known = {kind: self.score(value) for kind, value in self.worthless.items()}
        kind = max(known, key=known.__getitem__)
        return kind, known[kind]

    @property
    def floor(self) -> float:
        """The largest distance that reals get."""
        return max(map(abs, self.real))

    def score(self, value: float) -> float:
        """From 0, as bad as what is worthless, to 1, as good as reals."""
        if not math.isfinite(value):
            return 0.0
        if self.better == "lower":
            share = math.log(self.worst / max(value, self.floor)) / math.log(self.worst / self.floor)
        else:
            share = (value - self.worst) / (fmean(self.real) - self.worst)
        return min(max(share, 0.0), 1.0)


def anchors(plan: Plan, setting: Setting, task: Task) -> Anchors:
    """Measure the anchors of a task. Raises SettingError if the metric cannot tell reals from what is worthless."""
    experiment = bare(plan, task, setting, seed=SEED)
    judge, data = judge_of(task, experiment, plan.samples), data_of(experiment)
    model = recipe_of(experiment).build(data.spec, torch.Generator().manual_seed(SEED))
    untrained = Generator(model, {name: network.eval() for name, network in model.networks.items()}, data.spec, 0)
    reals, chance = judge.reals.real, torch.Generator().manual_seed(SEED)
    noise = reals.mean(dim=0) + reals.std(dim=0) * torch.randn(judge.count, *reals.shape[1:], generator=chance)
    return Anchors(
        metric=task.reported.name,
        better=judge.metric.better,
        worthless={
            "untrained": judge.of_generator(untrained),
            "noise": judge.of_samples(noise.clamp(-1, 1) if data.spec.is_image else noise),
            "one real": judge.of_samples(reals[:1].repeat(judge.count, *[1] * (reals.ndim - 1))),
        },
        real=tuple(_of_reals(judge, data)),
        features=judge.metric.features_digest,
    )


def _of_reals(judge: Judge, data: DataSet) -> Iterator[float]:
    """What sets of training reals get; where those are too few, halves of the held-out ones beside the other half."""
    available = data.count("train")
    if available is None or available >= judge.count:
        stream = data.stream("train", judge.count, SEED)
        yield from (judge.of_samples(stream.batch(index).real) for index in range(DRAWS))
        return
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(DRAWS):
        first, second = torch.randperm(len(judge.reals), generator=generator).chunk(2)
        labels = judge.reals.condition
        known = judge.metric.statistics(
            ReferenceSet(judge.reals.real[first], None if labels is None else labels[first])
        )
        yield float(judge.metric.value(known, judge.reals.real[second]))
