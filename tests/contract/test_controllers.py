"""What every controller keeps to: a frozen value with two pure methods, whose state goes into JSON as it is."""

import copy
import dataclasses
import inspect
import json
import math

import pytest

from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.observations import Finding, Health, MetricReading, Observation, Signals

NAMES = catalog.names("controllers")
TYPED = [*NAMES, *(f"{name}:{preset}" for name in NAMES for preset in catalog.presets("controllers", name))]
BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "augment_p": 0.1, "r1_gamma": 1.0})
ONE_OF_THEM = {"learnable:brief": {"instance_noise"}}
"""Of knobs of which it turns those that act, one: with none it is refused."""

typed = pytest.mark.parametrize("name", TYPED)


def observations():
    """A run as it may look from the start to the end: nothing known, healthy, overpowered, diverged."""
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
    seen = [(0, Signals(), Health()), (1, rich, Health()), (50, strong, Health()), (70, lost, bad)]
    return [Observation(step, step / 100, signals, health, BASE) for step, signals, health in [*seen, (100, rich, bad)]]


def decided(controller, state, turnable=None):
    """All decisions of a run, each on the knobs that the one before it left. `turnable`: the knobs that act."""
    knobs, turns = BASE, []
    for seen in observations():
        turn = controller.update(state, dataclasses.replace(seen, knobs=knobs, turnable=turnable))
        knobs, state = BASE.clamped(turn.knobs), turn.state
        turns.append(turn)
    return turns


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_value_that_says_what_it_is(name: str) -> None:
    plug = catalog.load("controllers", name)
    assert dataclasses.is_dataclass(plug)
    assert plug.__dataclass_params__.frozen
    assert plug.__doc__
    assert len(catalog.summary("controllers", name)) <= 120
    assert set(inspect.signature(plug.update).parameters) == {"self", "state", "observation"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        plug().anything = 1


@typed
def test_what_it_remembers_goes_into_json_and_back(name: str) -> None:
    controller = catalog.build("controllers", name)
    states = [controller.initial(BASE), *(turn.state for turn in decided(controller, controller.initial(BASE)))]
    for state in states:
        assert json.loads(json.dumps(state, allow_nan=False)) == state


@typed
def test_it_goes_on_from_json_as_if_nothing_had_happened(name: str) -> None:
    controller = catalog.build("controllers", name)
    state = controller.initial(BASE)
    for seen in observations():
        revived = catalog.build("controllers", name)
        turn, again = controller.update(state, seen), revived.update(json.loads(json.dumps(state)), seen)
        assert turn == again
        state = turn.state


@typed
def test_the_same_inputs_give_the_same_decisions(name: str) -> None:
    controller = catalog.build("controllers", name)
    assert decided(controller, controller.initial(BASE)) == decided(controller, controller.initial(BASE))


@typed
def test_nothing_that_is_given_is_changed(name: str) -> None:
    controller = catalog.build("controllers", name)
    before = copy.deepcopy(controller)
    for seen in observations():
        state = controller.initial(BASE)
        kept = copy.deepcopy((state, seen))
        controller.update(state, seen)
        assert (state, seen) == kept
    assert controller == before


@typed
def test_it_turns_what_it_says_it_turns_and_says_why(name: str) -> None:
    controller = catalog.build("controllers", name)
    knobs = BASE
    assert controller.turns() <= AdversarialKnobs.ranges().keys()
    for turn in decided(controller, controller.initial(BASE)):
        assert all(turn.why.get(name) for name in knobs.differences(turn.knobs))
        knobs = BASE.clamped(turn.knobs)


@typed
def test_it_does_without_all_but_what_it_says_it_turns(name: str) -> None:
    controller = catalog.build("controllers", name)
    acting = controller.turns() | ONE_OF_THEM.get(name, set())
    for turn in decided(controller, controller.initial(BASE), acting):
        assert BASE.differences(turn.knobs).keys() <= acting


@typed
def test_a_loop_that_has_rates_and_betas_only_is_served(name: str) -> None:
    controller = catalog.build("controllers", name)
    base, knobs = Knobs(), Knobs()
    if not controller.turns() | ONE_OF_THEM.get(name, set()) <= Knobs.ranges().keys():
        return
    state = controller.initial(base)
    for seen in observations():
        turn = controller.update(state, dataclasses.replace(seen, knobs=knobs))
        knobs, state = knobs.clamped(turn.knobs), turn.state
    assert isinstance(knobs, Knobs)


@typed
def test_its_options_can_be_written_out_and_read_again(name: str) -> None:
    controller = catalog.build("controllers", name)
    options = json.loads(json.dumps(dataclasses.asdict(controller)))
    assert catalog.build("controllers", name.partition(":")[0], options) == controller


def swinging(number: int) -> Signals:
    """A game that goes back and forth, a reading each: what is turned for the one side is turned back for the other."""
    strong = number // 4 % 2 == 0
    return Signals(
        rank_train_fake=0.99 if strong else 0.01,
        rank_train_held_out=0.6 if strong else 0.0,
        sign_real=0.9 if strong else 0.1,
        loss_g=3.0 if strong else 0.5,
        loss_d=0.1 if strong else 2.0,
        adversarial_d=0.1 if strong else 2.0,
        ideal_d=1.386,
        metrics={"kd_digits": MetricReading(1 / (1 + number), 0)},
    )


@pytest.mark.parametrize("name", [name for name in TYPED if name != "fixed"])
def test_in_a_run_that_is_resumed_for_longer_it_goes_on_deciding(name: str) -> None:
    """A thousand steps to the end, then a thousand more of two: progress goes back to the half."""
    controller = catalog.build("controllers", name)
    state, knobs, path = controller.initial(BASE), BASE, []
    for number, step in enumerate(range(0, 2001, 50)):
        progress = step / (1000 if step <= 1000 else 2000)
        turn = controller.update(state, Observation(step, progress, swinging(number), Health(), knobs))
        state, knobs = turn.state, knobs.clamped(turn.knobs)
        path.append(knobs)
    at_length, resumed = ({repr(knobs) for knobs in part} for part in (path[1:21], path[21:]))
    assert len(resumed) >= len(at_length) / 3
    assert len({repr(knobs) for knobs in path[21:31]}) > 1, "not only at its end"
