"""The environment: both checkers, its episodes, and an action there as a controller's decision in a run."""

import dataclasses
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import equipoise.meta
from equipoise import catalog, launch
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment import complete, from_values
from equipoise.meta.environment import BOUND, NOISE, GanTraining
from equipoise.meta.stacked import piloted
from equipoise.observations import Controller
from equipoise.policy.blank import KINDS, blank
from equipoise.policy.reward import reward
from equipoise.training.loop import train

TASK = {
    "data": {"name": "equipoise.meta.points", "reals": 64},
    "gan": {"name": "mlp", "width": 4},
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
        return torch.nn.utils.parameters_to_vector(lone.state.gan.networks["generator"].parameters())

    mine = torch.nn.utils.parameters_to_vector(run.training.state.gan.networks["generator"].parameters())
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


def test_divergence_ends_an_episode_and_costs() -> None:
    sick = {**TASK, "data": {"name": "ring", "radius": 1e38}, "steps": 40}
    environment = GanTraining([sick], every=10)
    environment.reset(seed=0)
    run = environment._run
    assert run is not None
    if run.finished is None:
        _, earned, terminated, _, _ = environment.step(np.zeros(2, np.float32))
        assert terminated
        assert earned == -BOUND


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(SettingError, match="the instance set is empty; give at least one experiment"):
        GanTraining([])
    with pytest.raises(SettingError, match="cutoff = 0: it must be at least 1"):
        GanTraining(cutoff=0)
    with pytest.raises(SettingError, match="reward = 'fame': it is either brief or distance"):
        GanTraining(reward="fame")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="there is no kind of policy 'pppo'; did you mean 'ppo'"):
        GanTraining(kind="pppo")
    with pytest.raises(SettingError, match=r"the episode has not begun or is over; call reset\(\) first"):
        GanTraining([TASK]).step(np.zeros(2, np.float32))
