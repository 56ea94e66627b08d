"""Advice with the numbers of the run: checkpoint, learning rates, clip of a logarithm, step of a NaN."""

import numpy as np
import pytest

from equipoise.core.observations import Finding
from equipoise.diagnosis.code_changes import KEEP_BEST, QUARTER_LR_OF_D
from equipoise.diagnosis.history import MetricPoint
from equipoise.diagnosis.logs.interpretation import interpret
from equipoise.diagnosis.logs.log_columns import Column, LogColumns
from equipoise.diagnosis.rendering.advice import RATE_CHANGES, LogFacts, recommend_changes


def finding(symptom: str, since: int = 100, **evidence: float) -> Finding:
    return Finding(symptom, 0.8, evidence, since, 0.9)


def actions(found: Finding, facts: LogFacts) -> str:
    return "\n".join(change.action for change in recommend_changes(found, facts))


def test_a_best_value_at_the_start_is_no_checkpoint_to_go_on_from() -> None:
    facts = LogFacts("epoch", {"fid": MetricPoint(1, 50.0)}, first=1)
    text = actions(finding("collapse"), facts)
    assert "Start again" in text
    assert "first measurement (50 at epoch 1)" in text


def test_without_numbers_the_advice_is_that_of_the_symptom() -> None:
    changes = recommend_changes(finding("collapse"), LogFacts())
    assert KEEP_BEST in changes
    assert QUARTER_LR_OF_D in changes


def test_the_best_checkpoint_is_named_by_the_metric_of_the_finding() -> None:
    facts = LogFacts("epoch", {"is": MetricPoint(3, 7.5), "fid": MetricPoint(40, 27.4)})
    text = actions(finding("collapse", fid=50.0), facts)
    assert "Use the checkpoint nearest to epoch 40, where fid was best (27.4)" in text
    assert "epoch 3, where is was best" in actions(finding("collapse"), facts)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"lr": 1e-4}, "(1e-4 -> 2.5e-5)"),
        ({"lr_d": 4e-4, "lr": 1e-4}, "(4e-4 -> 1e-4)"),
        ({"lr_g": 1e-4}, "(2e-4 -> 5e-5)"),
        ({}, "(2e-4 -> 5e-5)"),
    ],
)
def test_learning_rates_are_those_of_the_log(rates: dict[str, float], expected: str) -> None:
    text = actions(finding("discriminator_overpowering"), LogFacts(learning_rates=rates))
    assert f"Multiply the discriminator's learning rate by 0.25 {expected}" in text


def test_both_learning_rates() -> None:
    text = actions(finding("divergence"), LogFacts(learning_rates={"lr_d": 4e-4, "lr_g": 1e-4}))
    assert "Multiply both learning rates by 0.5 (4e-4 -> 2e-4, 1e-4 -> 5e-5)" in text


def test_factors_are_those_of_the_code() -> None:
    for change, (_, factor) in RATE_CHANGES.items():
        assert f"*= {factor}" in change.code
        assert change.action.endswith(")")


def test_step_of_a_nan_and_clip_of_a_logarithm() -> None:
    assert "not finite, and load the last checkpoint before it (step 1,200)" in actions(
        finding("divergence", 1200), LogFacts()
    )
    clipped = finding("saturated_loss", loss_g=16.118, clipped_probability=1e-7)
    assert "clipped at 1e-07 has no gradient" in actions(clipped, LogFacts())
    assert "Wasserstein" not in actions(clipped, LogFacts())
    constant = actions(finding("saturated_loss", loss_g=0.6), LogFacts())
    assert "Wasserstein" in constant
    assert "Sigmoid" not in constant


def test_learning_rates_of_a_log() -> None:
    def column(value: float) -> Column:
        return Column(np.arange(5), np.full(5, value))

    columns = {"step": Column(np.arange(5), np.arange(5.0)), "loss_d": column(0.5), "loss_g": column(0.9)}
    columns |= {"lr": column(1e-4), "train/lr_D": column(4e-4), "g_learning_rate": column(2e-4), "color": column(0.3)}
    (log,) = interpret(LogColumns("table", columns, 5))
    assert log.learning_rates == {"lr": 1e-4, "lr_d": 4e-4, "lr_g": 2e-4}
