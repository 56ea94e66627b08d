"""The formula of the Inception score on the digits network."""

import math

import pytest
import torch

from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.data.digits import Digits
from equipoise.metrics._digits_classifier import digit_logits
from equipoise.metrics.classifier_score_digits import ClassifierScoreDigits

METRIC = ClassifierScoreDigits()


def of(logits: torch.Tensor) -> float:
    return METRIC.compute(ReferenceSet(torch.empty(0)), logits, Bootstrap()).value


def test_sure_names_evenly_spread_score_ten_and_a_single_one_scores_one() -> None:
    sure = 100 * torch.eye(10)
    assert of(sure.repeat(7, 1)) == pytest.approx(10)
    assert of(sure[:4].repeat(5, 1)) == pytest.approx(4)
    assert of(sure[:1].repeat(9, 1)) == pytest.approx(1)
    assert of(torch.zeros(50, 10)) == pytest.approx(1), "nothing is named"


def test_it_is_the_exponential_of_the_mean_divergence() -> None:
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shares = logits.softmax(dim=1)
    mixed = shares.mean(dim=0)
    total = sum(float(p * math.log(p / q)) for row in shares for p, q in zip(row, mixed, strict=True))
    assert of(logits) == pytest.approx(math.exp(total / 64), rel=1e-9)


def test_real_digits_score_nearly_ten_and_noise_little() -> None:
    reals = Digits().stream("held_out", 300, 0).batch(0).real
    noise = torch.randn(300, 1, 32, 32, generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    assert METRIC.value(METRIC.statistics(ReferenceSet(reals)), reals) > 9.3
    assert METRIC.value(METRIC.statistics(ReferenceSet(reals)), noise) < 2
    assert METRIC.features(reals[:3]).equal(digit_logits(reals[:3]))


def test_an_interval_holds_the_value() -> None:
    logits = 3 * torch.randn(200, 10, generator=torch.Generator().manual_seed(3))
    low, high = METRIC.compute(ReferenceSet(torch.empty(0)), logits, Bootstrap(200)).interval or (0, 0)
    assert low < of(logits) < high
