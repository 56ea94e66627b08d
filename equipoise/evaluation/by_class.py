"""Values of a metric for each class of labelled reals."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, ClassMetric, MetricResult, ReferenceSet
from equipoise.errors import UndefinedMetricError


@dataclass(frozen=True, slots=True)
class ClassValue:
    """Value of a metric for the reals of one class.

    `value`: finite; None if there are too few samples or reals of the class, and `reason` says so. `interval`: of 95 %.
    `floor`: the value of training reals instead of samples, if known. `samples`: of this class, or all samples if they
    have no labels. `reals`: of this class.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    floor: float | None
    samples: int
    reals: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFeatures:
    """Features (N, D) of samples, or of reals in their place, with labels (N,) int64 or None, and their metric."""

    features: Tensor
    labels: Tensor | None
    result: MetricResult

    def of_class(self, number: int) -> Tensor:
        """Return the features of one class; all if there are no labels."""
        return self.features if self.labels is None else self.features[self.labels == number]


def values_by_class(
    metric: ClassMetric,
    real: ReferenceSet,
    samples: LabelledFeatures,
    others: LabelledFeatures | None,
    bootstrap: Bootstrap,
) -> tuple[ClassValue, ...]:
    """Compute a metric for each class of the reals, in the order of the labels.

    Samples with labels are compared with the reals of their class. Without labels, reals are still scored by class:
    which share of each class the samples reach. `real`: features of all reals. `others`: of training reals, for the
    floor; None for none. Empty if the reals have no labels or fewer than two classes, or if the
    metric scores samples and these have no labels.
    """
    if real.condition is None or real.spec is None or real.spec.classes < 2:
        return ()
    if samples.labels is None and metric.scored == "samples":
        return ()
    if samples.labels is None and others is not None:
        others = replace(others, labels=None)
    elif others is not None and others.labels is None:
        others = None
    return tuple(_class_values(metric, real, samples, others, bootstrap))


def _class_values(
    metric: ClassMetric,
    real: ReferenceSet,
    samples: LabelledFeatures,
    others: LabelledFeatures | None,
    bootstrap: Bootstrap,
) -> Iterator[ClassValue]:
    assert real.condition is not None
    assert real.spec is not None
    for number in range(real.spec.classes):
        name = real.spec.class_names[number] if real.spec.class_names else str(number)
        rows = (real.condition == number).nonzero().flatten()
        result, floor, reason = None, None, None
        try:
            result = _of_class(metric, real, rows, number, samples, bootstrap)
            floor = None if others is None else _of_class(metric, real, rows, number, others, Bootstrap()).value
        except UndefinedMetricError as error:
            reason = str(error) if result is None else None
        yield ClassValue(
            name=name,
            value=None if result is None else result.value,
            interval=None if result is None else result.interval,
            floor=floor,
            samples=len(samples.of_class(number)),
            reals=len(rows),
            reason=reason,
        )


def _of_class(
    metric: ClassMetric, real: ReferenceSet, rows: Tensor, number: int, fake: LabelledFeatures, bootstrap: Bootstrap
) -> MetricResult:
    """Compute a metric for the reals of one class, which are at `rows`."""
    if not len(rows):
        raise UndefinedMetricError("there are no reals of this class")
    if fake.labels is None:
        scores = fake.result.scores
        assert scores is not None, "the value of a ClassMetric is a mean"
        return MetricResult.from_mean(scores[rows], bootstrap, side=0)
    fake_of_class = fake.of_class(number)
    if not len(fake_of_class):
        raise UndefinedMetricError("there are no samples of this class; increase --count")
    labels = torch.full((len(rows),), number)
    of_class = replace(real, real=real.real[rows], condition=labels, held_out=None)
    return metric.compute(of_class, fake_of_class, bootstrap)
