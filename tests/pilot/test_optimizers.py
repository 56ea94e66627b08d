"""What a pilot reads from and writes to optimizers: different players, rates out of range, schedulers."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    StepLR,
)

from equipoise.controllers.annealed import Annealed
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Override
from equipoise.errors import SettingError
from equipoise.pilot.pilot import ModelInfo, Pilot

SEPARABLE = {"logit_real": torch.ones(16), "logit_fake": -torch.ones(16)}


def optimizer(**options: Any) -> Optimizer:
    return Adam([nn.Parameter(torch.zeros(2))], **{"lr": 1e-3, "betas": (0.5, 0.9), **options})


def players(g: Optimizer | None = None, d: Optimizer | None = None) -> dict[str, Optimizer]:
    return {"generator": g or optimizer(), "discriminator": d or optimizer()}


def betas(pair: dict[str, Optimizer]) -> list[tuple[float, float]]:
    return [group["betas"] for one in pair.values() for group in one.param_groups]


def test_a_player_keeps_betas_that_differ_from_the_knob() -> None:
    """The knob is that of the discriminator: it moves to the value of the generator and returns without it."""
    pair = players(optimizer(betas=(0.3, 0.99)), optimizer(betas=(0.5, 0.99)))
    pilot = Pilot("fixed", steps=100, optimizers=pair)
    overrides = [Override("beta1", 0.3, 0.5, until=3), Override("beta2", 0.9, 0.99, until=3)]
    pilot.add_overrides(overrides, "test")
    assert betas(pair) == [(0.3, 0.9), (0.3, 0.9)], "both players share beta2"
    tensors, values = pilot.state()
    again = players(optimizer(betas=(0.3, 0.9)), optimizer(betas=(0.3, 0.9)))
    for observer, loop in ((pilot, pair), (Pilot("fixed", steps=100, optimizers=again, knobs=pilot.base), again)):
        observer.restore(0, 0, tensors, json.loads(json.dumps(values)))
        for _ in range(4):
            observer.observe(loss_g=1.0)
        assert betas(loop) == [(0.3, 0.99), (0.5, 0.99)]


def test_a_class_of_knobs_does_not_change_optimizers() -> None:
    pair = players()
    pilot = Pilot(
        "ada", steps=10, optimizers=pair, knobs=AdversarialKnobs, model_info=ModelInfo(frozenset({"augment_p"}))
    )
    assert pilot.initial_changes == ()
    assert (pilot.base.lr_g, pilot.base.beta2) == (1e-3, 0.9)
    assert isinstance(pilot.knobs, AdversarialKnobs)
    assert betas(pair) == [(0.5, 0.9)] * 2


def test_values_that_differ_from_the_optimizers_are_changes() -> None:
    pair = players()
    pilot = Pilot("fixed", steps=10, optimizers=pair, knobs=AdversarialKnobs(lr_g=1e-3, instance_noise=0.1))
    changes = {(change.knob, change.before, change.after, change.source) for change in pilot.initial_changes}
    assert pair["discriminator"].param_groups[0]["lr"] == 1e-3, "the constructor changes nothing"
    pilot.start()
    assert changes == {("lr_d", 1e-3, 2e-4, "knobs"), ("beta2", 0.9, 0.999, "knobs")}
    assert pair["discriminator"].param_groups[0]["lr"] == 2e-4


def test_a_learning_rate_out_of_range_is_not_changed() -> None:
    pair = players(SGD([nn.Parameter(torch.zeros(2))], lr=0.05))
    pilot = Pilot("fixed", steps=10, optimizers=pair)
    for _ in range(3):
        pilot.observe(loss_g=1.0)
    assert pair["generator"].param_groups[0]["lr"] == 0.05
    assert pilot.turnable == {"lr_d", "beta1", "beta2"}
    message = r"lr_g = 0\.05 is outside its range: 1e-06 to 0\.01"
    with pytest.raises(SettingError, match=message):
        Pilot("annealed", steps=10, optimizers=pair)
    with pytest.raises(SettingError, match=message):
        Pilot("fixed", steps=10, optimizers=pair, knobs=AdversarialKnobs())
    again = Pilot("fixed", steps=10, optimizers=pair, knobs=pilot.base)
    again.restore(3, 0, *pilot.state())
    assert pair["generator"].param_groups[0]["lr"] == 0.05


def test_the_base_is_the_initial_rate_of_a_scheduler() -> None:
    pair = players()
    schedulers = [LinearLR(one, start_factor=1e-6, total_iters=5) for one in pair.values()]
    pilot = Pilot(Annealed(factors={"lr_g": "constant(0.5)"}), steps=10, optimizers=pair)
    assert (pilot.base.lr_g, pilot.knobs.lr_g) == (1e-3, 5e-4)
    for _ in range(5):
        for one in pair.values():
            one.step()
        pilot.observe(loss_g=1.0)
        for scheduler in schedulers:
            scheduler.step()
    assert pair["generator"].param_groups[0]["lr"] == pytest.approx(5e-4)


def run(make: Callable[[Optimizer], LRScheduler], controller: str) -> list[str]:
    """Warnings of a pilot whose discriminator is always right, with a reading every fifth step."""
    pair = players()
    schedulers = [make(one) for one in pair.values()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pilot = Pilot(controller, steps=200, optimizers=pair, sense_every=5)
        pilot.dense_steps = 0
        for _ in range(60):
            for one in pair.values():
                one.step()
            pilot.observe(**SEPARABLE)
            for scheduler in schedulers:
                scheduler.step()
    return [str(one.message) for one in caught if "is reset" in str(one.message)]


OVERWRITING_SCHEDULERS = {
    "flat": lambda one: LambdaLR(one, lambda step: 1.0),
    "warm-up": lambda one: LambdaLR(one, lambda step: min(1.0, (step + 1) / 40)),
    "linear": lambda one: LambdaLR(one, lambda step: 1 - step / 2000),
    "one cycle": lambda one: OneCycleLR(one, 1e-3, total_steps=2000, cycle_momentum=False),
    "restarts": lambda one: CosineAnnealingWarmRestarts(one, 2000),
}
COMPATIBLE_SCHEDULERS = {
    "step": lambda one: StepLR(one, 10, gamma=0.5),
    "exponential": lambda one: ExponentialLR(one, 0.995),
    "cosine": lambda one: CosineAnnealingLR(one, 200),
    "warm-up": lambda one: LinearLR(one, 0.01, total_iters=50),
}


@pytest.mark.parametrize("name", OVERWRITING_SCHEDULERS)
@pytest.mark.parametrize("controller", ["rank", "annealed"])
def test_a_scheduler_that_overwrites_every_change_causes_one_warning(name: str, controller: str) -> None:
    (message,) = run(OVERWRITING_SCHEDULERS[name], controller)
    assert "the learning rate of the generator is reset" in message
    assert "LambdaLR" in message


@pytest.mark.parametrize("name", COMPATIBLE_SCHEDULERS)
@pytest.mark.parametrize("controller", ["rank", "annealed"])
def test_a_scheduler_that_continues_from_the_present_rate_causes_none(name: str, controller: str) -> None:
    assert run(COMPATIBLE_SCHEDULERS[name], controller) == []


def test_a_controller_that_changes_no_rate_causes_no_warning() -> None:
    assert run(OVERWRITING_SCHEDULERS["flat"], "fixed") == []


def test_missing_optimizers_are_named() -> None:
    with pytest.raises(SettingError, match="lr_d has no effect in this loop; name the optimizers"):
        Pilot("rank", steps=10)
