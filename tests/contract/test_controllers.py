"""The contract of every controller: a frozen dataclass with two pure methods, and a typed state that JSON can store."""

import copy
import dataclasses
import inspect
import json
import math

import pytest

from equipoise.core import catalog
from equipoise.core.controller import RunFacts, resolve_controller, state_from_json, state_to_json
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Finding, Health, MetricReading, Observation, Signals
from equipoise.models._diffusion import DiffusionKnobs

NAMES = catalog.names("controllers")
CONTROLLERS = [*NAMES, *(f"{name}:{preset}" for name in NAMES for preset in catalog.presets("controllers", name))]
BASE = DiffusionKnobs().with_values({"lr_g": 1e-3, "augment_p": 0.1, "r1_gamma": 1.0})
NEEDS_ONE_OF = {"learnable:brief": {"instance_noise"}}
"""Controllers that are refused unless one of these knobs acts."""

SLOW = {
    "plateau": {"factor": 0.8},
    "decline": {"most": 20, "factor": 0.9},
    "update_size": {"octaves": 6.0, "span": 1.0},
}
"""Options with which a controller that only moves in one direction has not reached its bound in half of a run."""

every_controller = pytest.mark.parametrize("name", CONTROLLERS)


def observations():
    """A possible run: no signals, healthy, overpowered, diverged."""
    bad = Health((Finding("divergence", 1.0, {"non_finite": 3}, since=70),))
    strong = Signals(
        rank_train_fake=0.99,
        rank_train_held_out=0.4,
        sign_real=0.9,
        loss_g=7.0,
        loss_d=0.01,
        adversarial_d=0.01,
        ideal_d=1.386,
        update_ratio_g=1e-4,
        update_ratio_d=0.2,
    )
    rich = Signals(
        rank_train_fake=0.1,
        probability_real=0.55,
        probability_fake=0.45,
        gradient_norm_g=1.0,
        gradient_norm_d=2.0,
        gradient_ratio=2.0,
        metrics={"kd_digits": MetricReading(0.5, 640)},
    )
    lost = Signals(non_finite=3, rank_train_fake=math.nan, loss_d=math.nan, adversarial_d=math.nan, ideal_d=1.386)
    readings = [(0, Signals(), Health()), (1, rich, Health()), (50, strong, Health()), (70, lost, bad)]
    return [
        Observation(step, step / 100, signals, health, BASE) for step, signals, health in [*readings, (100, rich, bad)]
    ]


def decisions(controller, state, turnable=None):
    """Return all decisions of a run, each on the knobs of the previous one. `turnable`: turnable knobs."""
    knobs, turns = BASE, []
    for observation in observations():
        turn = controller.update(state, dataclasses.replace(observation, knobs=knobs, turnable=turnable))
        knobs, state = BASE.step_towards(turn.knobs), turn.state
        turns.append(turn)
    return turns


@pytest.mark.parametrize("name", NAMES)
def test_a_controller_is_a_documented_frozen_dataclass(name: str) -> None:
    plug = catalog.load("controllers", name)
    assert dataclasses.is_dataclass(plug)
    assert plug.__dataclass_params__.frozen
    assert plug.__doc__
    assert len(catalog.summary("controllers", name)) <= 120
    assert set(inspect.signature(plug.update).parameters) == {"self", "state", "observation"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        plug().anything = 1


@every_controller
def test_the_state_is_a_frozen_dataclass_that_json_can_store(name: str) -> None:
    controller = catalog.build("controllers", name)
    initial = controller.initial(BASE)
    for state in [initial, *(turn.state for turn in decisions(controller, initial))]:
        assert dataclasses.is_dataclass(state)
        assert state.__dataclass_params__.frozen
        text = json.dumps(state_to_json(state), allow_nan=False)
        assert state_from_json(initial, json.loads(text)) == state


@every_controller
def test_it_continues_from_json_exactly(name: str) -> None:
    controller = catalog.build("controllers", name)
    state = initial = controller.initial(BASE)
    for observation in observations():
        restored = state_from_json(initial, json.loads(json.dumps(state_to_json(state))))
        turn = controller.update(state, observation)
        assert catalog.build("controllers", name).update(restored, observation) == turn
        state = turn.state


@every_controller
def test_the_same_inputs_give_the_same_decisions(name: str) -> None:
    controller = catalog.build("controllers", name)
    assert decisions(controller, controller.initial(BASE)) == decisions(controller, controller.initial(BASE))


@every_controller
def test_arguments_are_not_modified(name: str) -> None:
    controller = catalog.build("controllers", name)
    before = copy.deepcopy(controller)
    for observation in observations():
        state = controller.initial(BASE)
        copies = copy.deepcopy((state, observation))
        controller.update(state, observation)
        assert (state, observation) == copies
    assert controller == before


@every_controller
def test_every_change_has_a_reason(name: str) -> None:
    controller = catalog.build("controllers", name)
    knobs = BASE
    assert controller.required_knobs() <= DiffusionKnobs.ranges().keys()
    for turn in decisions(controller, controller.initial(BASE)):
        assert all(turn.reasons.get(name) for name in knobs.differences(turn.knobs))
        knobs = BASE.step_towards(turn.knobs)


@every_controller
def test_it_changes_only_knobs_with_an_effect(name: str) -> None:
    controller = catalog.build("controllers", name)
    acting = controller.required_knobs() | NEEDS_ONE_OF.get(name, set())
    for turn in decisions(controller, controller.initial(BASE), acting):
        assert BASE.differences(turn.knobs).keys() <= acting


@every_controller
def test_it_works_with_learning_rates_and_betas_alone(name: str) -> None:
    controller = catalog.build("controllers", name)
    base, knobs = Knobs(), Knobs()
    if not controller.required_knobs() | NEEDS_ONE_OF.get(name, set()) <= Knobs.ranges().keys():
        return
    state = controller.initial(base)
    for observation in observations():
        turn = controller.update(state, dataclasses.replace(observation, knobs=knobs))
        knobs, state = knobs.step_towards(turn.knobs), turn.state
    assert isinstance(knobs, Knobs)


@every_controller
def test_options_survive_json(name: str) -> None:
    controller = catalog.build("controllers", name)
    options = json.loads(json.dumps(dataclasses.asdict(controller)))
    assert catalog.build("controllers", name.partition(":")[0], options) == controller


def oscillating(number: int) -> Signals:
    """Signals that alternate between a strong and a weak discriminator, so that changes are undone."""
    strong = number // 4 % 2 == 0
    return Signals(
        rank_train_fake=0.99 if strong else 0.01,
        rank_train_held_out=0.6 if strong else 0.0,
        sign_real=0.9 if strong else 0.1,
        loss_g=3.0 if strong else 0.5,
        loss_d=0.1 if strong else 2.0,
        adversarial_d=0.1 if strong else 2.0,
        ideal_d=1.386,
        update_ratio_g=0.01 if strong else 0.04,
        update_ratio_d=0.04 if strong else 0.01,
        metrics={"kd_digits": MetricReading(1 / (1 + number % 8), 0)},
    )


@pytest.mark.parametrize("name", [name for name in CONTROLLERS if name != "fixed"])
def test_it_keeps_deciding_in_a_run_that_is_resumed_with_more_steps(name: str) -> None:
    """1,000 of 1,000 steps, then 1,000 more of 2,000: progress returns to one half."""
    facts = RunFacts(steps=4000, batch_size=32, training_samples=400, held_out_samples=80)
    controller = resolve_controller(catalog.build("controllers", name, SLOW.get(name)), facts)
    state, knobs, path = controller.initial(BASE), BASE, []
    for number, step in enumerate(range(0, 2001, 50)):
        progress = step / (1000 if step <= 1000 else 2000)
        turn = controller.update(state, Observation(step, progress, oscillating(number), Health(), knobs))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    first, resumed = ({repr(knobs) for knobs in part} for part in (path[1:21], path[21:]))
    assert len(resumed) >= len(first) / 3
    assert len({repr(knobs) for knobs in path[21:31]}) > 1, "not only at its end"
