"""The formula of the Inception score on the digits network."""

import math

import pytest
import torch

from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.data.digits import Digits
from equipoise.metrics._digits_classifier import digit_logits
from equipoise.metrics.classifier_score_digits import ClassifierScoreDigits

METRIC = ClassifierScoreDigits()


def score(logits: torch.Tensor) -> float:
    return METRIC.compute(ReferenceSet(torch.empty(0)), logits, Bootstrap()).value


def test_score_is_10_for_evenly_distributed_classes_and_1_for_a_single_class() -> None:
    certain = 100 * torch.eye(10)
    assert score(certain.repeat(7, 1)) == pytest.approx(10)
    assert score(certain[:4].repeat(5, 1)) == pytest.approx(4)
    assert score(certain[:1].repeat(9, 1)) == pytest.approx(1)
    assert score(torch.zeros(50, 10)) == pytest.approx(1), "uniform predictions"


def test_score_is_the_exponential_of_the_mean_divergence() -> None:
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shares = logits.softmax(dim=1)
    mixed = shares.mean(dim=0)
    total = sum(float(p * math.log(p / q)) for row in shares for p, q in zip(row, mixed, strict=True))
    assert score(logits) == pytest.approx(math.exp(total / 64), rel=1e-9)


def test_real_digits_score_nearly_10_and_noise_less() -> None:
    reals = Digits().stream("held_out", 300, 0).batch(0).real
    noise = torch.randn(300, 1, 32, 32, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    assert METRIC.value(METRIC.statistics(ReferenceSet(reals)), reals) > 9.3
    assert METRIC.value(METRIC.statistics(ReferenceSet(reals)), noise) < 2
    assert METRIC.features(reals[:3]).equal(digit_logits(reals[:3]))


def test_interval_contains_the_value() -> None:
    logits = 3 * torch.randn(200, 10, generator=torch.Generator().manual_seed(3))
    low, high = METRIC.compute(ReferenceSet(torch.empty(0)), logits, Bootstrap(200)).interval or (0, 0)
    assert low < score(logits) < high
