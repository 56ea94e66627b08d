"""What a pilot finds in optimizers and does to them: players that differ, rates out of range, rates that others set."""

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

SURE = {"logit_real": torch.ones(16), "logit_fake": -torch.ones(16)}


def optimizer(**options: Any) -> Optimizer:
    return Adam([nn.Parameter(torch.zeros(2))], **{"lr": 1e-3, "betas": (0.5, 0.9), **options})


def players(g: Optimizer | None = None, d: Optimizer | None = None) -> dict[str, Optimizer]:
    return {"generator": g or optimizer(), "discriminator": d or optimizer()}


def betas(pair: dict[str, Optimizer]) -> list[tuple[float, float]]:
    return [group["betas"] for one in pair.values() for group in one.param_groups]


def test_each_player_keeps_the_betas_that_are_its_own() -> None:
    """The knob is the discriminator's: it goes to where the generator stands and comes back without it."""
    pair = players(optimizer(betas=(0.3, 0.99)), optimizer(betas=(0.5, 0.99)))
    pilot = Pilot("fixed", steps=100, optimizers=pair)
    held = [Override("beta1", 0.3, 0.5, until=3), Override("beta2", 0.9, 0.99, until=3)]
    pilot.hold(held, 0, "")
    assert betas(pair) == [(0.3, 0.9), (0.3, 0.9)], "beta2 they have in common"
    tensors, values = pilot.state()
    again = players(optimizer(betas=(0.3, 0.9)), optimizer(betas=(0.3, 0.9)))
    for watched, loop in ((pilot, pair), (Pilot("fixed", steps=100, optimizers=again, knobs=pilot.base), again)):
        watched.restore(0, 0, tensors, json.loads(json.dumps(values)))
        for _ in range(4):
            watched.observe(loss_g=1.0)
        assert betas(loop) == [(0.3, 0.99), (0.5, 0.99)]


def test_a_kind_of_knobs_leaves_optimizers_as_they_are() -> None:
    pair = players()
    pilot = Pilot("ada", steps=10, optimizers=pair, knobs=AdversarialKnobs, rules=ModelInfo(frozenset({"augment_p"})))
    assert pilot.started == ()
    assert (pilot.base.lr_g, pilot.base.beta2) == (1e-3, 0.9)
    assert isinstance(pilot.knobs, AdversarialKnobs)
    assert betas(pair) == [(0.5, 0.9)] * 2


def test_knobs_that_set_optimizers_are_told_as_turned() -> None:
    pair = players()
    pilot = Pilot("fixed", steps=10, optimizers=pair, knobs=AdversarialKnobs(lr_g=1e-3, instance_noise=0.1))
    told = {(one.knob, one.before, one.after, one.by) for one in pilot.started}
    assert told == {("lr_d", 1e-3, 2e-4, "knobs"), ("beta2", 0.9, 0.999, "knobs")}
    assert pair["discriminator"].param_groups[0]["lr"] == 2e-4


def test_a_rate_out_of_range_is_left_alone_and_not_turned() -> None:
    pair = players(SGD([nn.Parameter(torch.zeros(2))], lr=0.05))
    pilot = Pilot("fixed", steps=10, optimizers=pair)
    for _ in range(3):
        pilot.observe(loss_g=1.0)
    assert pair["generator"].param_groups[0]["lr"] == 0.05
    assert pilot.acting == {"lr_d", "beta1", "beta2"}
    said = (
        r"lr_g = 0\.05 is outside its range: 1e-06 to 0\.01; beside this optimizer it can be left alone, but not turned"
    )
    with pytest.raises(SettingError, match=said):
        Pilot("annealed", steps=10, optimizers=pair)
    with pytest.raises(SettingError, match=said):
        Pilot("fixed", steps=10, optimizers=pair, knobs=AdversarialKnobs())
    again = Pilot("fixed", steps=10, optimizers=pair, knobs=pilot.base)
    again.restore(3, 0, *pilot.state())
    assert pair["generator"].param_groups[0]["lr"] == 0.05


def test_a_warm_up_that_began_before_the_pilot_is_no_base() -> None:
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
    """What is warned of beside a pilot whose discriminator is always right, and who reads every fifth step."""
    pair = players()
    schedulers = [make(one) for one in pair.values()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pilot = Pilot(controller, steps=200, optimizers=pair, sense_every=5)
        pilot.eager = 0
        for _ in range(60):
            for one in pair.values():
                one.step()
            pilot.observe(**SURE)
            for scheduler in schedulers:
                scheduler.step()
    return [str(one.message) for one in caught if "put back" in str(one.message)]


UNDOING = {
    "flat": lambda one: LambdaLR(one, lambda step: 1.0),
    "warm-up": lambda one: LambdaLR(one, lambda step: min(1.0, (step + 1) / 40)),
    "linear": lambda one: LambdaLR(one, lambda step: 1 - step / 2000),
    "one cycle": lambda one: OneCycleLR(one, 1e-3, total_steps=2000, cycle_momentum=False),
    "restarts": lambda one: CosineAnnealingWarmRestarts(one, 2000),
}
LEAVING = {
    "step": lambda one: StepLR(one, 10, gamma=0.5),
    "exponential": lambda one: ExponentialLR(one, 0.995),
    "cosine": lambda one: CosineAnnealingLR(one, 200),
    "warm-up": lambda one: LinearLR(one, 0.01, total_iters=50),
}


@pytest.mark.parametrize("name", UNDOING)
@pytest.mark.parametrize("controller", ["rank", "annealed"])
def test_a_scheduler_that_undoes_every_turn_is_told_once(name: str, controller: str) -> None:
    (said,) = run(UNDOING[name], controller)
    assert (
        "the learning rate of the generator is put back each time that the pilot turns it: LambdaLR, CyclicLR" in said
    )


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.parametrize("controller", ["rank", "annealed"])
def test_a_scheduler_that_goes_on_from_what_it_finds_is_not(name: str, controller: str) -> None:
    assert run(LEAVING[name], controller) == []


def test_a_controller_that_turns_no_rate_is_not_undone() -> None:
    assert run(UNDOING["flat"], "fixed") == []


def test_without_optimizers_it_is_said_what_is_missing() -> None:
    with pytest.raises(SettingError, match="lr_d does not act for this loop; none does without optimizers or rules"):
        Pilot("rank", steps=10)
