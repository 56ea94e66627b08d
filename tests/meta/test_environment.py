"""The Gymnasium environment: both checkers, episodes, and equality of its actions with decisions of a controller."""

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
from equipoise.core.controller import AnyController
from equipoise.core.events import Evaluated, Sensed
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.files import parse_experiment
from equipoise.meta.environment import BOUND, NOISE, GanTraining
from equipoise.meta.stacked import pilot_with_controller
from equipoise.meta.stepwise_run import count_decisions, decision_interval
from equipoise.policy.kinds import KINDS, untrained_policy
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


def tiny_environment(**options: Any) -> GanTraining:
    environment = gymnasium.make("equipoise/GanTraining-v0", instance_set=[TASK], every=5, **options)
    assert isinstance(environment.unwrapped, GanTraining)
    return environment.unwrapped


def test_environment_passes_the_checkers_of_gymnasium_and_stable_baselines3() -> None:
    from stable_baselines3.common.env_checker import check_env as check

    assert equipoise.meta.__doc__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(tiny_environment(cutoff=2), skip_render_check=True)
        check(tiny_environment(cutoff=2))


@pytest.mark.parametrize("kind", KINDS)
def test_spaces_match_features_and_heads(kind: str) -> None:
    environment, policy = tiny_environment(kind=kind), untrained_policy(kind)
    assert environment.observation_space.shape == (len(policy.feature_names),)
    assert environment.action_space.shape == (len(policy.heads),)


def test_episode_is_one_run() -> None:
    environment = tiny_environment()
    observation, info = environment.reset(seed=1)
    steps, ends = [info["step"]], []
    while not any(ends):
        observation, _, *ends, info = environment.step(np.zeros(2, np.float32))
        steps.append(info["step"])
        assert environment.observation_space.contains(observation)
    assert steps == [5, 10, 15, 20]
    assert ends == [True, False]
    with pytest.raises(SettingError, match=r"call reset\(\) first"):
        environment.step(np.zeros(2, np.float32))


def test_episode_is_truncated_after_cutoff_decisions() -> None:
    environment = tiny_environment(cutoff=2)
    environment.reset(seed=1)
    assert environment.step(np.zeros(2, np.float32))[2:4] == (False, False)
    assert environment.step(np.zeros(2, np.float32))[2:4] == (False, True)


def test_actions_change_knobs_within_the_bounds_of_the_heads() -> None:
    environment = tiny_environment()
    environment.reset(seed=1)
    for action, rate in ((1.0, 3e-4), (-1.0, 1e-4), (0.0, 2e-4)):
        knobs = environment.step(np.array([action, 0.0], np.float32))[-1]["knobs"]
        assert (knobs["lr_g"], knobs["lr_d"]) == (pytest.approx(rate), pytest.approx(rate))


def test_actions_equal_decisions_of_the_same_policy_in_a_run() -> None:
    """The final weights are equal up to the 32-bit precision of actions."""
    policy = dataclasses.replace(untrained_policy("residual"), every=0.25)
    row = np.random.default_rng(2).standard_normal(policy.actor.flat().size)
    policy = dataclasses.replace(policy, actor=policy.actor.with_flat(row))
    environment = tiny_environment(kind="residual")
    environment.policy = policy
    environment._controller = catalog.load("controllers", "learnable").from_policy(policy)
    observation, info = environment.reset(seed=3)
    run, over = environment._run, False
    assert run is not None
    while not over:
        action = policy.actor(observation.astype(np.float64)).astype(np.float32)
        observation, _, over, _, _ = environment.step(action)
    experiment = parse_experiment({**TASK, "repair": False, "threads": 1}, "a test")

    def final_weights(controller: AnyController) -> torch.Tensor:
        lone = assemble(complete(dataclasses.replace(experiment, seed=info["seed"])), None)
        lone.pilot = pilot_with_controller(lone, controller)
        lone.pilot.sense_every, lone.pilot.dense_steps = 5, 0
        for _ in train(lone):
            pass
        return torch.nn.utils.parameters_to_vector(lone.state.model.networks["generator"].parameters())

    weights = torch.nn.utils.parameters_to_vector(run.training.state.model.networks["generator"].parameters())
    assert torch.allclose(
        weights, final_weights(catalog.load("controllers", "learnable").from_policy(policy)), atol=1e-6
    )
    assert not torch.allclose(weights, final_weights(catalog.build("controllers", "rank")), atol=1e-4)


def test_brief_reward_equals_that_of_the_controller() -> None:
    environment = tiny_environment()
    environment.reset(seed=1)
    environment.step(np.zeros(2, np.float32))
    before = environment._last_distance
    _, actual, *_ = environment.step(np.zeros(2, np.float32))
    run = environment._run
    assert run is not None
    assert before is not None
    assert actual == reward(before, run.signals, run.progress)


def test_distance_rewards_sum_to_the_total_decrease() -> None:
    environment = tiny_environment(reward="distance")
    _, info = environment.reset(seed=1)
    start, total, over = info.get("distance"), 0.0, False
    first = True
    while not over:
        _, actual, over, _, info = environment.step(np.array([1.0, 0.0], np.float32))
        start = info["distance"] if start is None and first else start
        total += actual
        first = False
    assert total == pytest.approx(np.log((max(start, 0) + NOISE) / (max(info["distance"], 0) + NOISE)))


@pytest.mark.parametrize(("every", "evaluate_every"), [(5, 5), (6, 4), (6, 9)])
def test_distance_reward_covers_the_interval_of_its_action(every: int, evaluate_every: int) -> None:
    """From the last evaluation up to its own step to the last one up to the next decision, inclusive."""
    environment = GanTraining([{**TASK, "evaluate_every": evaluate_every}], every=every, reward="distance")
    _, info = environment.reset(seed=1)
    twin = assemble(complete(dataclasses.replace(environment.instance_set[0], seed=info["seed"])), None)
    twin.pilot = pilot_with_controller(
        twin, catalog.load("controllers", "learnable").from_policy(untrained_policy("ppo"))
    )
    values = {event.step: event.value for event in train(twin) if isinstance(event, Evaluated)}
    step, over = info["step"], False
    assert step == every
    while not over:
        _, actual, over, _, info = environment.step(np.zeros(2, np.float32))
        before, now = ([value for at, value in values.items() if at <= end] for end in (step, info["step"]))
        expected = np.log((max(before[-1], 0) + NOISE) / (max(now[-1], 0) + NOISE)) if before else 0
        assert actual == pytest.approx(expected)
        step = info["step"]
    assert step == 20


def test_evaluation_at_the_step_of_a_decision_is_observed_at_the_next_one() -> None:
    """As for a controller in a run, which decides before the evaluation: the second value is the first to compare."""
    environment = tiny_environment(reward="distance")
    names = environment.policy.feature_names
    observations = [environment.reset(seed=1)[0]]
    observations += [environment.step(np.zeros(2, np.float32))[0] for _ in range(3)]
    assert [bool(one[names.index("fid")]) for one in observations] == [False, False, True, True]


def test_decisions_are_at_the_same_steps_as_in_a_run_that_is_read_at_each_step() -> None:
    """A fortieth of 100 steps is 2.5 steps."""
    environment = GanTraining([{**TASK, "steps": 100, "evaluate_every": 100}], kind="residual")
    _, info = environment.reset(seed=1)
    steps = [info["step"], *(environment.step(np.zeros(4, np.float32))[-1]["step"] for _ in range(3))]
    twin = assemble(complete(dataclasses.replace(environment.instance_set[0], seed=info["seed"])), None)
    twin.pilot = pilot_with_controller(
        twin, catalog.load("controllers", "learnable").from_policy(untrained_policy("residual"))
    )
    decisions = [
        event.step
        for event in itertools.takewhile(lambda event: event.step <= 12, train(twin))
        if isinstance(event, Sensed) and twin.pilot.state()[1]["controller"]["last_decision"] == event.progress
    ]
    assert steps == decisions == [3, 6, 9, 12]


@pytest.mark.parametrize(
    ("every", "steps", "apart", "count"),
    [(50.0, 400, 50, 7), (50.0, 401, 50, 8), (50.0, 50, 50, 0), (0.025, 300, 8, 37), (0.025, 1000, 25, 39)],
)
def test_interval_and_count_of_decisions(every: float, steps: int, apart: int, count: int) -> None:
    assert decision_interval(every, steps) == apart
    assert count_decisions(every, steps) == count


DIVERGING = {**TASK, "data": {"name": "ring", "radius": 1e38}, "steps": 40}


def test_divergence_penalises_the_last_action_and_terminates() -> None:
    environment = tiny_environment()
    environment.reset(seed=1)
    environment.step(np.zeros(2, np.float32))
    run = environment._run
    assert run is not None
    with torch.no_grad():
        for weight in run.training.state.model.networks["generator"].parameters():
            weight.fill_(math.nan)
    _, actual, terminated, truncated, info = environment.step(np.zeros(2, np.float32))
    assert (actual, terminated, truncated) == (-BOUND, True, False)
    assert info["step"] == 15


def test_run_that_diverges_before_its_first_decision_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = GanTraining([DIVERGING, TASK], every=10)
    assert {environment.reset(seed=seed)[1]["instance"] for seed in range(3)} == {1}
    monkeypatch.setattr("equipoise.meta.environment.MAX_RESTARTS", 2)
    with pytest.raises(SettingError, match=r"2 runs diverged before their first decision.* instance 0"):
        environment.reset(options={"instance": 0})
    with pytest.raises(SettingError, match=r"call reset\(\) first"):
        environment.step(np.zeros(2, np.float32))


def test_run_without_a_decision_is_an_error() -> None:
    with pytest.raises(SettingError, match="instance 0 ends at step 20, before its first decision"):
        GanTraining([TASK], every=20).reset(seed=0)


@pytest.mark.parametrize("number", [-1, 1, 9, 0.5, "first"])
def test_unknown_instance_is_an_error(number: Any) -> None:
    with pytest.raises(SettingError, match=rf"instance = {number!r}: it must be from 0 to 0"):
        tiny_environment().reset(options={"instance": number})


@pytest.mark.parametrize("action", [[math.nan, 0.0], [0.0, math.inf], [0.0], [0.0] * 3, 0.0])
def test_invalid_action_is_an_error(action: Any) -> None:
    environment = tiny_environment()
    environment.reset(seed=1)
    with pytest.raises(SettingError, match=r"action = .*: it must be 2 numbers from -1 to 1"):
        environment.step(np.asarray(action, np.float32))


def test_invalid_arguments_are_an_error() -> None:
    with pytest.raises(SettingError, match="the instance set is empty; add at least one experiment"):
        GanTraining([])
    with pytest.raises(SettingError, match="cutoff = 0: it must be at least 1"):
        GanTraining(cutoff=0)
    with pytest.raises(SettingError, match="reward = 'fame': it must be brief or distance"):
        GanTraining(**{"reward": "fame"})
    for every in (0, -5, math.nan, math.inf):
        with pytest.raises(SettingError, match=f"every = {every}: it must be above 0"):
            GanTraining(every=every)
    with pytest.raises(UnknownNameError, match="there is no kind of policy 'pppo'; did you mean 'ppo'"):
        GanTraining(kind="pppo")
    with pytest.raises(SettingError, match=r"call reset\(\) first"):
        GanTraining([TASK]).step(np.zeros(2, np.float32))
