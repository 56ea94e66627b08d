"""Values that a custom loop may pass for a step, and messages about wrong ones."""

import numpy as np
import pytest
import torch

from equipoise.core.knobs import Knobs
from equipoise.diagnosis.signals import SignalWindow, accumulate
from equipoise.errors import SettingError
from equipoise.pilot.inputs import step_record
from equipoise.pilot.pilot import ModelInfo, Pilot


def pilot() -> Pilot:
    return Pilot("fixed", steps=10, knobs=Knobs(), model_info=ModelInfo(probability=torch.sigmoid))


def test_a_loss_may_be_a_number_or_a_tensor_with_one_element() -> None:
    for loss in (0.7, np.float32(0.7), torch.tensor(0.7), torch.tensor([[0.7]]), torch.tensor(0.7, requires_grad=True)):
        decision = pilot().observe(loss_d=loss, logit_real=torch.ones(4), logit_fake=torch.zeros(4))
        assert decision is not None
        assert decision.observation.signals.loss_d == pytest.approx(0.7)
        assert decision.observation.signals.adversarial_d == pytest.approx(0.7), "the total, since there are no terms"


def test_logits_may_have_any_shape() -> None:
    patches = torch.linspace(-1, 1, 2 * 9).reshape(2, 1, 3, 3)
    decision = pilot().observe(logit_real=patches, logit_fake=patches - 5)
    single = pilot().observe(logit_real=torch.tensor(1.0), logit_fake=torch.tensor(0.0))
    assert decision is not None
    assert single is not None
    assert decision.observation.signals.rank_train_fake == single.observation.signals.rank_train_fake == 1


def test_held_out_logits_make_a_rank() -> None:
    train, held_out = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 1.5, 2.5])
    decision = pilot().observe(logit_real=train, logit_held_out=held_out)
    without_held_out = pilot().observe(logit_real=train)
    assert decision is not None
    assert without_held_out is not None
    pairs = [(a > b) - (a < b) for a in train.tolist() for b in held_out.tolist()]
    assert decision.observation.signals.rank_train_held_out == pytest.approx(sum(pairs) / 9)
    assert without_held_out.observation.signals.rank_train_held_out is None


def test_the_ideal_loss_is_computed_from_the_knobs() -> None:
    pilot = Pilot("fixed", steps=10, knobs=Knobs(), model_info=ModelInfo(ideal=lambda knobs: 1000 * knobs.lr_g))
    decision = pilot.observe(loss_d=1.0)
    assert decision is not None
    assert decision.observation.signals.ideal_d == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss_g": torch.ones(16)}, r"loss_g must be one number, not a tensor of shape \(16,\); take the mean"),
        ({"loss_d": "0.7"}, "loss_d must be one number, not str"),
        ({"adversarial_share": torch.ones(2)}, r"adversarial_share must be one number, not a tensor of shape \(2,\)"),
        ({"logit_real": 0.7}, "logit_real must be a tensor of logits, one or more per sample, not float"),
        ({"logit_fake": torch.ones(0)}, "logit_fake is an empty tensor; omit it"),
        ({"real": np.ones((8, 2))}, r"real must be a tensor of samples \(N, ...\), not ndarray"),
        ({"fake": torch.tensor(1.0)}, r"fake must be a tensor of samples \(N, ...\), not a tensor of shape \(\)"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(values, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        pilot().observe(**values)


def test_samples_may_be_single_numbers() -> None:
    samples = torch.randn(32, generator=torch.Generator().manual_seed(0))
    decision = pilot().observe(real=samples, fake=samples / 2)
    assert decision is not None
    assert decision.observation.signals.diversity == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["logit_real", "logit_fake", "logit_held_out"])
def test_logits_that_are_not_finite_are_detected(name: str) -> None:
    logits = {"logit_real": torch.ones(4), "logit_fake": torch.zeros(4), name: torch.tensor([0.0, torch.nan])}
    decision = pilot().observe(**logits)
    assert decision is not None
    assert decision.observation.signals.non_finite == 1
    assert decision.observation.health.verdict == "diverged"


def test_statistics_are_on_the_device_of_the_gradients() -> None:
    """Losses are floats, or on the CPU; the networks are on another device."""
    gradients = {player: {player: torch.zeros((), device="meta")} for player in ("generator", "discriminator")}
    for loss in (0.5, torch.tensor(0.5)):
        values = {"loss_g": loss, "loss_d": loss, "logit_real": torch.ones(4), "logit_fake": torch.zeros(4)}
        window = accumulate(SignalWindow(), step_record(1, 0, values, gradients))
        assert {stats.total.device.type for stats in window.phases.values()} == {"meta"}


def test_range_of_the_reals_is_part_of_the_verdict_and_survives_rollbacks() -> None:
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = Pilot("fixed", steps=4, knobs=Knobs(), sense_every=1)
    for _ in range(2):
        decision = whole.observe(real=images * 255, fake=images * 2 - 1)
    assert decision is not None
    (out_of_range,) = [
        finding for finding in decision.observation.health.findings if finding.symptom == "data_out_of_range"
    ]
    assert (out_of_range.severity, decision.observation.health.verdict) == (1.0, "unhealthy")
    whole.record_rollback(1)
    assert whole.observe(loss_g=1.0).observation.health.verdict == "unhealthy"
    fits = Pilot("fixed", steps=4, knobs=Knobs(), sense_every=1)
    assert fits.observe(real=images * 2 - 1, fake=images * 2 - 1).observation.health.findings == ()
    known = Pilot("fixed", steps=4, knobs=Knobs(), sense_every=1)
    known.record_range({})
    assert known.observe(real=images * 255, fake=images).observation.health.findings == (), "of a model of this package"
