"""Values by class: samples with labels against the reals of their class, samples without against all classes."""

import pytest
import torch

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, ClassMetric, ReferenceSet
from equipoise.evaluation.by_class import LabelledFeatures, values_by_class
from equipoise.metrics.coverage import Coverage
from equipoise.metrics.precision import Precision
from equipoise.metrics.recall import Recall

SPEC = DataSpec((2,), classes=3, class_names=("left", "middle", "right"))


def clouds(counts: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points around (-100, 0), (0, 0) and (100, 0), in mixed order, and their labels."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=source)]
    points = torch.randn(len(labels), 2, generator=source)
    points[:, 0] += 100.0 * (labels - 1)
    return points, labels


def reals() -> ReferenceSet:
    points, labels = clouds([40, 50, 60], 0)
    return ReferenceSet(points, labels, spec=SPEC)


def evaluate(metric, real, fake, labels, others=None):
    def labelled(features, numbers):
        return LabelledFeatures(features, numbers, metric.compute(real, features, Bootstrap()))

    return values_by_class(
        metric, real, labelled(fake, labels), None if others is None else labelled(*others), Bootstrap(50)
    )


@pytest.mark.parametrize("kind", [Precision, Recall])
def test_labelled_samples_are_compared_within_their_class(kind) -> None:
    real, metric = reals(), kind("samples")
    fake, labels = clouds([30, 30, 30], 1)
    result = evaluate(metric, real, fake, labels, clouds([35, 35, 35], 2))
    assert [value.name for value in result] == ["left", "middle", "right"]
    assert [(value.samples, value.reals) for value in result] == [(30, 40), (30, 50), (30, 60)]
    for number, value in enumerate(result):
        own = ReferenceSet(real.real[real.condition == number])
        assert value.value == metric.compute(own, fake[labels == number], Bootstrap()).value
        assert value.interval[0] <= value.value <= value.interval[1]
        assert value.floor > 0.8


def test_wrong_labels_are_noticed() -> None:
    """The samples are perfect and cover all reals; but those of two classes have the label of the other."""
    real = reals()
    fake, labels = clouds([50, 50, 50], 1)
    swapped = torch.tensor([1, 0, 2])[labels]
    for metric in (Precision("samples"), Recall("samples")):
        assert metric.compute(real, fake, Bootstrap()).value > 0.9
        assert [round(value.value) for value in evaluate(metric, real, fake, swapped)] == [0, 0, 1]


def test_samples_without_labels_reach_some_classes_only() -> None:
    real = reals()
    fake, _ = clouds([60, 60, 0], 1)
    result = evaluate(Recall("samples"), real, fake, None, clouds([35, 35, 35], 2))
    assert [value.value > 0.9 for value in result] == [True, True, False]
    assert [value.floor > 0.9 for value in result] == [True, True, True]
    assert [(value.samples, value.reals) for value in result] == [(120, 40), (120, 50), (120, 60)]
    total = Recall("samples").compute(real, fake, Bootstrap()).value
    assert sum(value.value * value.reals for value in result) / 150 == pytest.approx(total)
    assert evaluate(Precision("samples"), real, fake, None) == (), "a sample without label has no class"


def test_classes_with_too_few_samples_or_reals_have_no_value() -> None:
    points, labels = clouds([40, 3, 0], 0)
    real = ReferenceSet(points, labels, spec=SPEC)
    fake, fake_labels = clouds([3, 20, 20], 1)
    result = evaluate(Recall("samples"), real, fake, fake_labels)
    assert [value.value is None for value in result] == [True, False, True]
    assert "there are 3 samples, too few for 3 neighbours" in result[0].reason
    assert result[2].reason == "there are no reals of this class"
    assert evaluate(Recall("samples"), real, fake, None)[2].reason == "there are no reals of this class"


def test_a_class_without_samples_has_no_value() -> None:
    real, (points, labels) = reals(), clouds([30, 30, 30], 1)
    result = evaluate(Precision("samples"), real, points[labels != 1], labels[labels != 1])
    assert [value.value is None for value in result] == [False, True, False]
    assert result[1].reason == "there are no samples of this class; increase --count"


def test_data_without_labels_have_no_classes() -> None:
    points, labels = clouds([40, 50, 60], 0)
    fake, fake_labels = clouds([30, 30, 30], 1)
    for real in (ReferenceSet(points, None, spec=SPEC), ReferenceSet(points, labels, spec=DataSpec((2,), classes=1))):
        assert evaluate(Recall("samples"), real, fake, fake_labels) == ()


def test_classes_without_names_are_numbered() -> None:
    points, labels = clouds([40, 50, 60], 0)
    real = ReferenceSet(points, labels, spec=DataSpec((2,), classes=3))
    assert [value.name for value in evaluate(Recall("samples"), real, points, labels)] == ["0", "1", "2"]


def test_only_precision_and_recall_have_classes() -> None:
    assert isinstance(Recall(), ClassMetric)
    assert isinstance(Precision(), ClassMetric)
    assert not isinstance(Coverage(), ClassMetric)
