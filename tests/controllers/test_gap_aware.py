"""The gap-aware rate: the function of Hazimeh 2023, and V* of every loss by exhaustive search."""

import math

import pytest
import torch

from equipoise.controllers.gap_aware import GapAware
from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import PhaseRecord, StepRecord
from equipoise.core.observations import Health, Observation, Signals
from equipoise.diagnosis.signals import SignalWindow, accumulate, compute_signals
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES

BASE = AdversarialKnobs().with_values({"lr_d": 1e-3})
LABELS = [((1, 1), (0, 0)), ((0.9, 0.9), (0, 0)), ((0.8, 1.0), (0.0, 0.2)), ((0.7, 1.2), (0.1, 0.3))]


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize(("real", "fake"), LABELS)
def test_the_ideal_is_the_minimal_loss_for_perfect_fakes(name: str, real, fake) -> None:
    """Where p_g = p_data the logit cannot depend on the side: the minimum over one logit for all, by search."""
    uniform = torch.linspace(0, 1, 501, dtype=torch.float64)
    losses = []
    for logit in torch.linspace(-3, 3, 601, dtype=torch.float64):
        same = logit.expand(uniform.shape)
        real_label, fake_label = (low + (high - low) * uniform for low, high in (real, fake))
        losses.append(LOSSES[name].discriminator(same, same, real_label, fake_label).item())
    has_labels = LOSSES[name].has_labels
    ideal = LOSSES[name].ideal(real, fake) if has_labels else LOSSES[name].ideal((1, 1), (0, 0))
    assert min(losses) == pytest.approx(ideal, abs=1e-4)


def test_the_published_ideals() -> None:
    one, zero = (1.0, 1.0), (0.0, 0.0)
    result = {name: LOSSES[name].ideal(one, zero) for name in LOSSES}
    assert result["non_saturating"] == result["minimax"] == pytest.approx(math.log(4))
    assert (result["hinge"], result["wasserstein"], result["least_squares"]) == (2, 0, 0.25)
    assert result["relativistic"] == pytest.approx(math.log(2))
    assert LOSSES["minimax"].ideal((0.9, 0.9), zero) == pytest.approx(1.3763, abs=5e-5)
    assert LOSSES["minimax"].ideal((0.9, 0.9), (0.1, 0.1)) == pytest.approx(math.log(4)), "symmetric smoothing"
    assert LOSSES["minimax"].ideal(zero, zero) == 0


def test_the_ideal_of_a_model_depends_on_its_labels() -> None:
    for model, data, ideal in (("dcgan", (1, 16, 16), math.log(4)), ("mlp", (2,), math.log(2))):
        model_object = catalog.build("models", model, {"width": 4}).build(DataSpec(data), torch.Generator())
        assert model_object.ideal(model_object.knobs) == pytest.approx(ideal)
        smoothed = model_object.knobs.with_values({"real_label_low": 0.9, "real_label_high": 0.9})
        assert model_object.ideal(smoothed) == pytest.approx(1.376278 if model == "dcgan" else ideal), (
            "relativistic has no labels"
        )


def test_penalties_do_not_count() -> None:
    phase = PhaseRecord(total=torch.tensor(9.0), terms={"adversarial": torch.tensor(1.5), "r1": torch.tensor(7.5)})
    window = accumulate(SignalWindow(), StepRecord(1, 8, {"discriminator": phase}))
    signals = compute_signals(window, {}, ideal=1.4).signals
    assert (signals.loss_d, signals.adversarial_d, signals.ideal_d) == (9.0, 1.5, 1.4)
    assert compute_signals(window, {}).signals.ideal_d is None


def rates(controller, losses, ideal, steps=1):
    """lr_d after each loss, `steps` apart."""
    state, result = controller.initial(BASE), []
    for number, loss in enumerate(losses, start=1):
        signals = Signals(adversarial_d=loss, ideal_d=ideal)
        turn = controller.update(state, Observation(number * steps, 0.5, signals, Health(), BASE))
        state = turn.state
        result.append(turn.knobs.lr_d)
    return result


@pytest.mark.parametrize(
    ("loss", "factor"),
    [(2.0, 1), (2.1, 2**0.5), (2.2, 2), (9, 2), (1.9, 0.1**0.5), (1.8, 0.1), (0.0, 0.1), (1.99, 0.1**0.05)],
)
def test_the_rate_is_that_of_the_paper(loss: float, factor: float) -> None:
    """Two-sided, by the hinge's V* = 2 and so X = 0.2; the first loss is not smoothed."""
    assert rates(GapAware(), [loss], 2.0) == [pytest.approx(1e-3 * factor)]


def test_it_multiplies_the_base_and_does_not_accumulate() -> None:
    assert rates(GapAware(), [1.0] * 30, 2.0) == pytest.approx([1e-4] * 30)


def test_the_loss_is_smoothed_by_the_step() -> None:
    """Fifty steps of one loss, read each or once, come to the same."""
    one = rates(GapAware(), [2.0, *[1.9] * 50], 2.0)
    state = (
        GapAware()
        .update(GapAware().initial(BASE), Observation(1, 0, Signals(adversarial_d=2.0, ideal_d=2.0), Health(), BASE))
        .state
    )
    late = Observation(51, 0.5, Signals(adversarial_d=1.9, ideal_d=2.0), Health(), BASE)
    assert GapAware().update(state, late).knobs.lr_d == pytest.approx(one[-1])
    level = 1.9 + 0.1 * 0.95**50
    assert one[-1] == pytest.approx(1e-3 * 0.1 ** ((2 - level) / 0.2))


def test_a_loss_with_ideal_0_has_an_absolute_scale() -> None:
    assert rates(GapAware(absolute=4.0), [-2.0], 0.0) == [pytest.approx(1e-3 * 0.1**0.5)]
    assert rates(GapAware(absolute=4.0), [-20.0], 0.0) == [pytest.approx(1e-4)]
    assert rates(GapAware(absolute=4.0), [2.0], 0.0) == [pytest.approx(1e-3 * 2**0.5)]


@pytest.mark.parametrize(("loss", "ideal"), [(None, 2.0), (math.nan, 2.0), (1.0, None)])
def test_a_missing_signal_changes_nothing(loss: float | None, ideal: float | None) -> None:
    assert rates(GapAware(), [loss], ideal) == [1e-3]


def test_invalid_options_are_refused() -> None:
    for wrong in ({"decay": 1.0}, {"slowest": 2.0}, {"band": 0.0}):
        with pytest.raises(SettingError, match=f"{next(iter(wrong))} = "):
            GapAware(**wrong)
