"""Decisions of a pilot are reproduced from its observations, and from its saved state."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import StepLR

from equipoise.controllers.annealed import Annealed
from equipoise.core import catalog
from equipoise.core.controller import Turn, request, state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError
from equipoise.pilot.pilot import DENSE_STEPS, ModelInfo, Pilot
from equipoise.pilot.step import Decision


@dataclass(frozen=True)
class GreedyState:
    count: int


@dataclass(frozen=True)
class Greedy:
    """Decides by the rank and its state; requests more than its limits allow."""

    def initial(self, knobs: Knobs) -> GreedyState:
        return GreedyState(0)

    def update(self, state: GreedyState, observation: Observation) -> Turn[GreedyState]:
        rank = observation.signals.rank_train_fake or 0.0
        knobs = request(observation.knobs, {"lr_g": 2e-4 * (1 + rank + state.count / 7), "beta1": 0.95})
        return Turn(knobs, GreedyState(state.count + 1), {"lr_g": "rank", "beta1": "greed"})

    def required_knobs(self) -> frozenset[str]:
        return frozenset({"lr_g", "beta1"})


def replay_by_hand(controller: Any, base: Knobs, observations: list[Observation]) -> list[Mapping[str, float]]:
    """Compute the knobs after each decision from the observations alone."""
    state = initial = controller.initial(base)
    start = controller.update(state, Observation(0, 0.0, Signals(), Health(), base))
    knobs, state = (
        base.with_values({n: r.clamp(getattr(start.knobs, n)) for n, r in base.ranges().items()}),
        start.state,
    )
    result = []
    for observation in observations:
        assert observation.knobs == knobs, "the observation has the replayed knobs"
        state = state_from_json(initial, json.loads(json.dumps(state_to_json(state))))
        turn = controller.update(state, observation)
        knobs, state = knobs.step_towards(turn.knobs), turn.state
        result.append(knobs.values())
    return result


ACTIVE = {
    "confident_ada": {"target": -0.5, "few": 0.01, "many": 0.1, "confidence": 0.0},
    "constraint": {"target": -0.5, "confidence": 0.0},
}
"""Options with which a controller acts in a run as short as this one."""
REQUIRE_NOTHING = ("ConfidentADA", "RankConstraint")
"""Controllers that change a knob if it has an effect, and require none."""
WITHOUT_SIGNALS = ("Plateau", "Decline", "UpdateBalance", "UpdateSize")
"""Controllers that read a metric or update sizes, which this loop does not measure: they change nothing."""


def controllers() -> list[Any]:
    ready = [catalog.build("controllers", name, ACTIVE.get(name)) for name in catalog.names("controllers")]
    return [*ready, Annealed(schedules={"lr_g": "step(1e-3, 0.5, 0.1)", "augment_p": "linear(0, 0.8)"}), Greedy()]


@pytest.mark.parametrize("controller", controllers(), ids=lambda controller: type(controller).__name__)
def test_observations_alone_replay_every_knob(controller: Any, create_loop) -> None:
    loop, base = create_loop(), AdversarialKnobs()
    model_info = ModelInfo(turnable=frozenset(AdversarialKnobs.ranges()), ideal=lambda knobs: math.log(4))
    pilot = Pilot(controller, steps=160, knobs=base, optimizers=loop.optimizers, model_info=model_info, sense_every=10)
    decisions: list[Decision] = []
    values = []
    for _ in range(160):
        step_values = loop.step()
        if decision := pilot.observe(**step_values, logit_held_out=step_values["logit_real"] - 1):
            decisions.append(decision)
            values.append(pilot.knobs.values())
    assert len(decisions) == DENSE_STEPS + 6
    assert replay_by_hand(controller, base, [decision.observation for decision in decisions]) == values
    name, required = type(controller).__name__, controller.required_knobs()
    acts = name in REQUIRE_NOTHING or (bool(required) and name not in WITHOUT_SIGNALS)
    assert acts == (values[-1] != base.values())
    moved = {change.knob for decision in decisions for change in (*decision.changes, *pilot.initial_changes)}
    assert moved & required or not (required and acts)


def test_a_decision_is_clamped_and_limited() -> None:
    pilot = Pilot(Greedy(), steps=400, knobs=Knobs(), model_info=ModelInfo(turnable=frozenset({"lr_g", "beta1"})))
    assert pilot.knobs.beta1 == 0.95, "the first value is a setting, not a change"
    pilot.restore(0, 0, {}, {**pilot.state()[1], "knobs": Knobs().values(), "target": Knobs().values()})
    path = []
    for _ in range(6):
        pilot.observe(loss_g=torch.tensor(1.0))
        path.append(pilot.knobs.beta1)
    assert path == pytest.approx([0.6, 0.7, 0.8, 0.9, 0.95, 0.95])


@pytest.mark.parametrize("cut", [3, 18])
@pytest.mark.parametrize("sense_every", [1, 10])
def test_a_pilot_continues_from_its_state(cut: int, sense_every: int, create_loop) -> None:
    """Also from the middle of a window, with values that are passed in a few steps only."""

    def run(pilot: Pilot, loop: Any, steps: range) -> list[Decision | None]:
        pilot.dense_steps = 0
        return [pilot.observe(**values_of(loop, step)) for step in steps]

    def values_of(loop: Any, step: int) -> dict[str, Tensor]:
        values = loop.step()
        if step in (2, 17):
            values |= {"logit_held_out": values["logit_real"].detach() - 0.5, "real": loop.real, "fake": loop.fake}
        return values

    loop, other = create_loop(), create_loop()
    uninterrupted = Pilot(Greedy(), steps=20, optimizers=loop.optimizers, sense_every=sense_every)
    expected = run(uninterrupted, loop, range(20))
    first = Pilot(Greedy(), steps=20, optimizers=other.optimizers, sense_every=sense_every)
    run(first, other, range(cut))
    tensors, values = first.state()
    fresh = {
        "generator": Adam(other.generator.parameters(), lr=1e-6),
        "discriminator": Adam(other.discriminator.parameters(), lr=1e-6),
    }
    for name, optimizer in fresh.items():
        optimizer.load_state_dict(other.optimizers[name].state_dict())
    other.optimizers = fresh
    second = Pilot(Greedy(), steps=20, optimizers=fresh, knobs=first.base, sense_every=sense_every)
    second.restore(cut, 16 * cut, tensors, json.loads(json.dumps(values)))
    assert run(second, other, range(cut, 20)) == expected[cut:]
    assert second.state()[1] == uninterrupted.state()[1]
    last = expected[-1]
    assert last is not None
    assert (last.observation.signals.rank_train_held_out is None) == (sense_every == 1)
    assert (last.observation.signals.diversity is None) == (sense_every == 1)


@pytest.mark.parametrize("loaded", ["before the pilot", "after it"])
def test_restoring_keeps_the_rates_of_a_scheduler_and_of_a_second_group(loaded: str, create_loop) -> None:
    """Learning rates in every step of a whole run, and of one that was stopped after step 7."""

    def start() -> tuple[Any, StepLR]:
        loop = create_loop()
        opt_g = Adam([loop.generator.weight], lr=1e-3)
        opt_g.add_param_group({"params": [loop.generator.bias], "lr": 5e-3})
        loop.optimizers["generator"] = opt_g
        return loop, StepLR(opt_g, step_size=5, gamma=0.1)

    def run(pilot: Pilot, loop: Any, scheduler: StepLR, count: int) -> list[list[float]]:
        rates = []
        for _ in range(count):
            rates.append([group["lr"] for one in loop.optimizers.values() for group in one.param_groups])
            pilot.observe(**loop.step())
            scheduler.step()
        return rates

    controller = Annealed(factors={"lr_g": "linear(1, 0.5)", "lr_d": "linear(1, 0.5)"})
    loop, scheduler = start()
    expected = run(Pilot(controller, steps=20, optimizers=loop.optimizers), loop, scheduler, 20)
    assert expected[0] == [1e-3, 5e-3, 4e-3]
    assert expected[7] == pytest.approx([0.825e-4, 4.125e-4, 3.3e-3])

    stopped, scheduler = start()
    first = Pilot(controller, steps=20, optimizers=stopped.optimizers)
    run(first, stopped, scheduler, 7)
    (tensors, values), states = first.state(), {name: one.state_dict() for name, one in stopped.optimizers.items()}
    again, second_scheduler = start()
    again.generator.load_state_dict(stopped.generator.state_dict())
    again.discriminator.load_state_dict(stopped.discriminator.state_dict())
    again.noise = stopped.noise

    def load() -> None:
        for name, one in again.optimizers.items():
            one.load_state_dict(states[name])
        second_scheduler.load_state_dict(scheduler.state_dict())

    if loaded == "before the pilot":
        load()
    second = Pilot(controller, steps=20, optimizers=again.optimizers, knobs=first.base)
    if loaded == "after it":
        load()
    second.restore(7, 112, tensors, json.loads(json.dumps(values)))
    assert run(second, again, second_scheduler, 13) == expected[7:]
    fewer = Pilot(controller, steps=20, optimizers=create_loop().optimizers)
    with pytest.raises(SettingError, match="the optimizer of the generator has 1 parameter groups, the saved state 2"):
        fewer.restore(7, 112, tensors, values)
