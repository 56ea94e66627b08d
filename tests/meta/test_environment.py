"""The environment: both checkers, its episodes, and an action there as a controller's decision in a run."""

import dataclasses
import itertools
import math
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import equipoise.meta
from equipoise.core import catalog
from equipoise.core.events import Evaluated, Sensed
from equipoise.core.observations import Controller
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment import launch
from equipoise.experiment.settings import complete, from_values
from equipoise.meta.environment import BOUND, NOISE, GanTraining
from equipoise.meta.paused import decisions, interval
from equipoise.meta.stacked import piloted
from equipoise.policy.blank import KINDS, blank
from equipoise.policy.reward import reward
from equipoise.training.loop import train

TASK = {
    "data": {"name": "equipoise.meta.points", "reals": 64},
    "model": {"name": "mlp", "width": 4},
    "metric": "equipoise.meta.held_out",
    "steps": 20,
    "batch_size": 8,
    "evaluate_every": 5,
}


def tiny(**options: Any) -> GanTraining:
    made = gymnasium.make("equipoise/GanTraining-v0", instance_set=[TASK], every=5, **options)
    assert isinstance(made.unwrapped, GanTraining)
    return made.unwrapped


def test_it_passes_the_checkers_of_gymnasium_and_stable_baselines3() -> None:
    from stable_baselines3.common.env_checker import check_env as check

    assert equipoise.meta.__doc__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(tiny(cutoff=2), skip_render_check=True)
        check(tiny(cutoff=2))


@pytest.mark.parametrize("kind", KINDS)
def test_spaces_are_those_of_the_features_and_heads(kind: str) -> None:
    environment, policy = tiny(kind=kind), blank(kind)
    assert environment.observation_space.shape == (len(policy.names),)
    assert environment.action_space.shape == (len(policy.heads),)


def test_an_episode_is_a_run() -> None:
    environment = tiny()
    seen, info = environment.reset(seed=1)
    steps, ends = [info["step"]], []
    while not any(ends):
        seen, _, *ends, info = environment.step(np.zeros(2, np.float32))
        steps.append(info["step"])
        assert environment.observation_space.contains(seen)
    assert steps == [5, 10, 15, 20]
    assert ends == [True, False]
    with pytest.raises(SettingError, match=r"the episode has not begun or is over; call reset\(\) first"):
        environment.step(np.zeros(2, np.float32))


def test_an_episode_is_cut_off_after_so_many_decisions() -> None:
    environment = tiny(cutoff=2)
    environment.reset(seed=1)
    assert environment.step(np.zeros(2, np.float32))[2:4] == (False, False)
    assert environment.step(np.zeros(2, np.float32))[2:4] == (False, True)


def test_actions_turn_the_knobs_within_the_bounds_of_the_heads() -> None:
    environment = tiny()
    environment.reset(seed=1)
    for action, rate in ((1.0, 3e-4), (-1.0, 1e-4), (0.0, 2e-4)):
        knobs = environment.step(np.array([action, 0.0], np.float32))[-1]["knobs"]
        assert (knobs["lr_g"], knobs["lr_d"]) == (pytest.approx(rate), pytest.approx(rate))


def test_acting_here_is_what_deciding_in_a_run_is() -> None:
    """The same policy by either way: the same weights, but for actions having 32 bits here."""
    policy = dataclasses.replace(blank("residual"), every=0.25)
    row = np.random.default_rng(2).standard_normal(policy.actor.flat().size)
    policy = dataclasses.replace(policy, actor=policy.actor.with_flat(row))
    environment = tiny(kind="residual")
    environment.policy = policy
    environment._steering = catalog.load("controllers", "learnable").steered(policy)
    seen, told = environment.reset(seed=3)
    run, over = environment._run, False
    assert run is not None
    while not over:
        action = policy.actor(seen.astype(np.float64)).astype(np.float32)
        seen, _, over, _, _ = environment.step(action)
    experiment = from_values({**TASK, "repair": False, "threads": 1}, "a test")

    def ended(controller: Controller) -> torch.Tensor:
        lone = launch.assemble(complete(dataclasses.replace(experiment, seed=told["seed"])), None)
        lone.pilot = piloted(lone, controller)
        lone.pilot.sense_every, lone.pilot.eager = 5, 0
        for _ in train(lone):
            pass
        return torch.nn.utils.parameters_to_vector(lone.state.model.networks["generator"].parameters())

    mine = torch.nn.utils.parameters_to_vector(run.training.state.model.networks["generator"].parameters())
    assert torch.allclose(mine, ended(catalog.load("controllers", "learnable").steered(policy)), atol=1e-6)
    assert not torch.allclose(mine, ended(catalog.build("controllers", "rank")), atol=1e-4)


def test_the_reward_of_the_brief_is_what_the_controller_is_paid() -> None:
    environment = tiny()
    environment.reset(seed=1)
    environment.step(np.zeros(2, np.float32))
    before = environment._before
    _, earned, *_ = environment.step(np.zeros(2, np.float32))
    run = environment._run
    assert run is not None
    assert before is not None
    assert earned == reward(before, run.signals, run.progress)


def test_the_fall_of_the_distance_adds_up_to_what_the_run_came_to() -> None:
    environment = tiny(reward="distance")
    _, info = environment.reset(seed=1)
    start, total, over = info.get("distance"), 0.0, False
    first = True
    while not over:
        _, earned, over, _, info = environment.step(np.array([1.0, 0.0], np.float32))
        start = info["distance"] if start is None and first else start
        total += earned
        first = False
    assert total == pytest.approx(np.log((max(start, 0) + NOISE) / (max(info["distance"], 0) + NOISE)))


@pytest.mark.parametrize(("decided", "measured"), [(5, 5), (6, 4), (6, 9)])
def test_an_action_earns_the_fall_across_its_own_interval(decided: int, measured: int) -> None:
    """From what was measured up to its own step to what was measured up to the next decision, that step included."""
    environment = GanTraining([{**TASK, "evaluate_every": measured}], every=decided, reward="distance")
    _, told = environment.reset(seed=1)
    twin = launch.assemble(complete(dataclasses.replace(environment.instance_set[0], seed=told["seed"])), None)
    twin.pilot = piloted(twin, catalog.load("controllers", "learnable").steered(blank("ppo")))
    values = {event.step: event.value for event in train(twin) if isinstance(event, Evaluated)}
    step, over = told["step"], False
    assert step == decided
    while not over:
        _, earned, over, _, told = environment.step(np.zeros(2, np.float32))
        before, now = ([value for at, value in values.items() if at <= end] for end in (step, told["step"]))
        expected = np.log((max(before[-1], 0) + NOISE) / (max(now[-1], 0) + NOISE)) if before else 0
        assert earned == pytest.approx(expected)
        step = told["step"]
    assert step == 20


def test_what_is_measured_at_the_step_of_a_decision_is_seen_at_the_next_one() -> None:
    """As by a controller in a run, which decides before the measurement: the second one is the first to be compared."""
    environment = tiny(reward="distance")
    names = environment.policy.names
    seen = [environment.reset(seed=1)[0]]
    seen += [environment.step(np.zeros(2, np.float32))[0] for _ in range(3)]
    assert [bool(one[names.index("fid")]) for one in seen] == [False, False, True, True]


def test_decisions_come_as_soon_as_the_policy_may_as_in_a_run_that_is_read_at_each_step() -> None:
    """A fortieth of 100 steps are two and a half."""
    environment = GanTraining([{**TASK, "steps": 100, "evaluate_every": 100}], kind="residual")
    _, told = environment.reset(seed=1)
    steps = [told["step"], *(environment.step(np.zeros(4, np.float32))[-1]["step"] for _ in range(3))]
    twin = launch.assemble(complete(dataclasses.replace(environment.instance_set[0], seed=told["seed"])), None)
    twin.pilot = piloted(twin, catalog.load("controllers", "learnable").steered(blank("residual")))
    decided = [
        event.step
        for event in itertools.takewhile(lambda event: event.step <= 12, train(twin))
        if isinstance(event, Sensed) and twin.pilot.state()[1]["controller"]["decided"] == event.progress
    ]
    assert steps == decided == [3, 6, 9, 12]


@pytest.mark.parametrize(
    ("every", "steps", "apart", "count"),
    [(50.0, 400, 50, 7), (50.0, 401, 50, 8), (50.0, 50, 50, 0), (0.025, 300, 8, 37), (0.025, 1000, 25, 39)],
)
def test_how_far_apart_decisions_are_and_how_many(every: float, steps: int, apart: int, count: int) -> None:
    assert interval(every, steps) == apart
    assert decisions(every, steps) == count


SICK = {**TASK, "data": {"name": "ring", "radius": 1e38}, "steps": 40}


def test_divergence_costs_the_action_before_it_and_ends_the_episode() -> None:
    environment = tiny()
    environment.reset(seed=1)
    environment.step(np.zeros(2, np.float32))
    run = environment._run
    assert run is not None
    with torch.no_grad():
        for weight in run.training.state.model.networks["generator"].parameters():
            weight.fill_(math.nan)
    _, earned, terminated, truncated, told = environment.step(np.zeros(2, np.float32))
    assert (earned, terminated, truncated) == (-BOUND, True, False)
    assert told["step"] == 15


def test_a_run_that_diverges_before_its_first_decision_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = GanTraining([SICK, TASK], every=10)
    assert {environment.reset(seed=seed)[1]["instance"] for seed in range(3)} == {1}
    monkeypatch.setattr("equipoise.meta.environment.DRAWS", 2)
    with pytest.raises(SettingError, match="2 runs diverged before their first decision, instance 0 the last of them"):
        environment.reset(options={"instance": 0})
    with pytest.raises(SettingError, match=r"the episode has not begun or is over; call reset\(\) first"):
        environment.step(np.zeros(2, np.float32))


def test_a_run_that_is_too_short_for_a_decision_is_told() -> None:
    with pytest.raises(SettingError, match="instance 0 ends at step 20, before its first decision"):
        GanTraining([TASK], every=20).reset(seed=0)


@pytest.mark.parametrize("number", [-1, 1, 9, 0.5, "first"])
def test_an_instance_that_there_is_not_is_told(number: Any) -> None:
    with pytest.raises(SettingError, match=rf"instance = {number!r}: it must be from 0 to 0"):
        tiny().reset(options={"instance": number})


@pytest.mark.parametrize("action", [[math.nan, 0.0], [0.0, math.inf], [0.0], [0.0] * 3, 0.0])
def test_an_action_that_cannot_be_is_told(action: Any) -> None:
    environment = tiny()
    environment.reset(seed=1)
    with pytest.raises(SettingError, match=r"action = .*: it must be 2 numbers from -1 to 1"):
        environment.step(np.asarray(action, np.float32))


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(SettingError, match="the instance set is empty; give at least one experiment"):
        GanTraining([])
    with pytest.raises(SettingError, match="cutoff = 0: it must be at least 1"):
        GanTraining(cutoff=0)
    with pytest.raises(SettingError, match="reward = 'fame': it is either brief or distance"):
        GanTraining(**{"reward": "fame"})
    for every in (0, -5, math.nan, math.inf):
        with pytest.raises(SettingError, match=f"every = {every}: it must be above 0"):
            GanTraining(every=every)
    with pytest.raises(UnknownNameError, match="there is no kind of policy 'pppo'; did you mean 'ppo'"):
        GanTraining(kind="pppo")
    with pytest.raises(SettingError, match=r"the episode has not begun or is over; call reset\(\) first"):
        GanTraining([TASK]).step(np.zeros(2, np.float32))
