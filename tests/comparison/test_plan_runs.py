"""Runs of a plan: trials, seeds, readings, regimes, tuned options, and policy files."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.comparison import plan as plans
from equipoise.comparison import plan_runs, run_checks
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.plan import (
    ComparisonPlan,
    PlugSpec,
    SearchRange,
)
from equipoise.comparison.plan_checks import data_key
from equipoise.comparison.plan_runs import RunSpec, TaskSetting
from equipoise.core.events import Started, Turned
from equipoise.errors import SettingError
from equipoise.experiment.assembly import assemble
from equipoise.policy.files import encode_policy, load_policy
from equipoise.policy.kinds import untrained_policy
from equipoise.training.loop import train


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PlugSpec("openmoji"), PlugSpec("equipoise.data.openmoji", {"paired": False})),
        (PlugSpec("ring"), PlugSpec("ring", {"training_points": 100})),
        (PlugSpec("oracle"), PlugSpec("oracle", {"train": 500})),
        (
            PlugSpec("image_folder", {"folder": "photos"}),
            PlugSpec("image_folder", {"folder": "./photos", "flips": True}),
        ),
        (PlugSpec("./photos"), PlugSpec("paired_folder", {"folder": "working_directory/../photos"})),
    ],
    ids=lambda one: one.name,
)
def test_equal_data_have_equal_keys(working_directory: Path, one: PlugSpec, other: PlugSpec) -> None:
    (working_directory / "photos").mkdir()
    (working_directory / "photos" / "a.png").touch()
    assert data_key(one) == data_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PlugSpec("ring"), PlugSpec("ring", {"std": 0.3})),
        (PlugSpec("oracle"), PlugSpec("oracle:small")),
        (PlugSpec("digits"), PlugSpec("openmoji")),
        (PlugSpec("image_folder", {"folder": "photos"}), PlugSpec("image_folder", {"folder": "drawings"})),
        (PlugSpec("equipoise.meta.points"), PlugSpec("equipoise.meta.points", {"shape": "cross"})),
    ],
    ids=lambda one: one.name,
)
def test_different_data_have_different_keys(one: PlugSpec, other: PlugSpec) -> None:
    assert data_key(one) != data_key(other)


def test_arms_with_equal_searches_get_equal_trials(small: ComparisonPlan) -> None:
    rates = {"factors.lr_d": SearchRange(low=0.25, high=4.0), "factors.lr_g": SearchRange(low=0.25, high=4.0)}
    spaces = {
        "fixed": {**rates, "knobs.beta1": (0.0, 0.3, 0.5)},
        "other": {"knobs.beta1": (0.0, 0.3, 0.5), **rates},
        "fewer": {"factors.lr_d": rates["factors.lr_d"]},
    }
    arms = {name: plans.Arm(search=space) for name, space in spaces.items()}
    plan = dataclasses.replace(small, arms=arms, tuning=plans.Tuning(tasks={}, trials=40, seeds=(0,)))
    options, other, fewer = ([plan_runs.trial_options(plan, arm, trial) for trial in range(40)] for arm in spaces)
    assert options == other, "neither the name of an arm nor the order of its keys matters"
    assert fewer == [{key: value for key, value in one.items() if key == "factors.lr_d"} for one in options]
    assert all(one["factors.lr_d"] != one["factors.lr_g"] for one in options[1:]), "keys are sampled independently"
    again = dataclasses.replace(plan, tuning=plans.Tuning(tasks={}, trials=40, seeds=(0,), seed=1))
    assert plan_runs.trial_options(again, "fixed", 1) != options[1]
    assert options[0] == {}, "the first trial is the arm as written"
    assert all(0.25 <= one["factors.lr_d"] <= 4 for one in options[1:])
    assert {one["knobs.beta1"] for one in options[1:]} == {0.0, 0.3, 0.5}
    assert 10 < sum(one["factors.lr_d"] < 1 for one in options[1:]) < 30, "uniform on a logarithmic scale"


def test_arms_of_a_seed_differ_only_in_their_control(small: ComparisonPlan) -> None:
    experiments = {run: plan_runs.build_experiment(small, run, {}) for run in plan_runs.compared_runs(small)}
    assert [run.seed for run in experiments] == [0, 0, 1, 1], "whole pairs first"
    for seed in (0, 1):
        first, second = (one for run, one in experiments.items() if run.seed == seed)
        assert first.seed == second.seed == seed
        assert first.controller != second.controller
        assert dataclasses.replace(first, controller=None) == dataclasses.replace(second, controller=None)
        assert first.threads == 1


@pytest.mark.parametrize(("steps", "apart"), [(12, 10), (400, 10), (1000, 25), (2000, 50), (20_000, 50)])
def test_interval_of_readings_depends_on_the_steps(small: ComparisonPlan, steps: int, apart: int) -> None:
    longer = {name: dataclasses.replace(task, steps=steps) for name, task in small.tasks.items()}
    plan = dataclasses.replace(small, tasks=longer)
    assert {plan_runs.build_experiment(plan, run, {}).sense_every for run in plan_runs.compared_runs(plan)} == {apart}


def test_no_arm_changes_the_averaging_of_samples(small: ComparisonPlan) -> None:
    arms = {"r3gan": plans.Arm(controller=plans.PlugSpec("annealed:r3gan"))}
    experiment = plan_runs.build_experiment(
        dataclasses.replace(small, arms=arms, baseline="r3gan"), RunSpec(TaskSetting("ring"), "r3gan", 0), {}
    )
    started, *events = train(assemble(experiment, None))
    assert isinstance(started, Started)
    assert "ema_half_life" in started.knobs
    assert "ema_half_life" not in started.turnable
    changed = {event.knob for event in events if isinstance(event, Turned)}
    assert {"lr_g", "beta2"} <= changed
    assert "ema_half_life" not in changed


def test_regime_multiplies_the_knobs_of_every_arm(small: ComparisonPlan) -> None:
    arms = {"plain": plans.Arm(), "own": plans.Arm(knobs={"lr_d": 1e-3}, factors={"lr_d": 0.75, "r1_gamma": 2.0})}
    regime = plans.Regime(factors={"lr_d": 4.0, "r1_gamma": 1 / 30}, data={"std": 0.05})
    plan = dataclasses.replace(small, arms=arms, regimes={"mis_set": regime})
    assert plan_runs.compared_settings(plan) == [TaskSetting("ring"), TaskSetting("ring", "mis_set")]
    plain, own = (plan_runs.build_experiment(plan, RunSpec(TaskSetting("ring", "mis_set"), arm, 0), {}) for arm in arms)
    assert plain.data is not None
    assert plain.data.options["std"] == 0.05
    assert plain.knobs == pytest.approx({"lr_d": 4 * 2e-3, "r1_gamma": 0.1 / 30})
    assert own.knobs == pytest.approx({"lr_d": 1e-3 * 0.75 * 4, "r1_gamma": 0.1 * 2 / 30})
    off = dataclasses.replace(regime, factors={"gp_weight": 4.0}, data={})
    unchanged = plan_runs.build_experiment(
        dataclasses.replace(plan, regimes={"mis_set": off}), RunSpec(TaskSetting("ring", "mis_set"), "plain", 0), {}
    )
    assert unchanged.knobs == {}, "0 remains 0"


def test_tuned_options_are_applied_by_their_keys(small: ComparisonPlan) -> None:
    options = {"controller.factors": {"lr_g": "cosine(1, 0.1)"}, "knobs.beta1": 0.25, "factors.lr_d": 2.0}
    experiment = plan_runs.build_experiment(small, RunSpec(TaskSetting("ring"), "annealed", 1), options)
    assert experiment.controller is not None
    assert experiment.controller.options["factors"] == {"lr_g": "cosine(1, 0.1)"}
    assert experiment.knobs == pytest.approx({"beta1": 0.25, "lr_d": 4e-3})


def test_random_controller_gets_the_seed_of_the_run(small: ComparisonPlan) -> None:
    plan = dataclasses.replace(small, arms={"placebo": plans.Arm(controller=plans.PlugSpec("random"))})
    seeds = [plan_runs.build_experiment(plan, run, {}).controller for run in plan_runs.compared_runs(plan)]
    assert [choice.options["seed"] for choice in seeds if choice] == [0, 1]


def test_controllers_in_a_chain_get_the_seed_of_the_run(small: ComparisonPlan) -> None:
    chain = plans.PlugSpec("chain", {"of": "annealed,random", "settings": {"annealed": {"factors": {"lr_g": 0.5}}}})
    specs = {
        "chain": chain,
        "own": plans.PlugSpec("chain", {"of": ("random",), "settings": {"random": {"seed": 7}}}),
        "bandit": plans.PlugSpec("learnable", {"adapt": True}),
    }
    plan = dataclasses.replace(small, arms={name: plans.Arm(controller=one) for name, one in specs.items()})
    options: dict[str, list[Any]] = {name: [] for name in specs}
    for run in plan_runs.compared_runs(plan):
        controller = plan_runs.build_experiment(plan, run, {}).controller
        assert controller is not None
        options[run.arm].append(controller.options)
    assert [one["settings"]["random"]["seed"] for one in options["chain"]] == [0, 1]
    assert options["chain"][0]["settings"]["annealed"] == {"factors": {"lr_g": 0.5}}
    assert [one["settings"]["random"]["seed"] for one in options["own"]] == [7, 7], "an explicit seed is kept"
    assert [one["seed"] for one in options["bandit"]] == [0, 1]


def _policy(path: Path, seed: int = 0, **task: Any) -> str:
    training = {"plan": {"task": {"data": {"name": "equipoise.meta.points"}, **task}}}
    policy = dataclasses.replace(untrained_policy("time_only"), training=training)
    row = np.random.default_rng(seed).standard_normal(policy.actor.flat().size)
    path.write_bytes(encode_policy(dataclasses.replace(policy, actor=policy.actor.with_flat(row))))
    return str(path)


def test_changed_policy_file_is_another_plan(small: ComparisonPlan, tmp_path: Path) -> None:
    path = _policy(tmp_path / "p.safetensors")
    specs = {
        "alone": plans.PlugSpec("time_only", {"policy": path}),
        "chained": plans.PlugSpec("chain", {"of": ("time_only",), "settings": {"time_only": {"policy": path}}}),
        "none": plans.PlugSpec("rank"),
    }
    plan = dataclasses.replace(
        small, arms={name: plans.Arm(controller=one) for name, one in specs.items()}, baseline="alone"
    )
    folder = ComparisonFolder(tmp_path / "out")
    pinned = create_or_open(folder, plan, "")
    digest = load_policy(path).digest
    assert pinned.arms["alone"].controller.options["digest"] == digest
    assert pinned.arms["chained"].controller.options["settings"]["time_only"]["digest"] == digest
    assert pinned.arms["none"] == plan.arms["none"]
    assert create_or_open(folder, plan, "the same files") == create_or_open(folder, pinned, "") == pinned
    _policy(tmp_path / "p.safetensors", seed=1)
    with pytest.raises(SettingError, match="restore the old file"):
        create_or_open(folder, plan, "")
    for run in plan_runs.compared_runs(open_comparison(folder).plan)[:2]:
        with pytest.raises(SettingError, match="restore the old file"):
            plan_runs.build_experiment(open_comparison(folder).plan, run, {})


def test_path_of_a_policy_file_is_resolved(
    small: ComparisonPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = _policy(tmp_path / "p.safetensors")
    monkeypatch.chdir(tmp_path)
    arm = plans.Arm(controller=plans.PlugSpec("time_only", {"policy": "p.safetensors"}))
    pinned = create_or_open(
        ComparisonFolder(tmp_path / "out"), dataclasses.replace(small, arms={"a": arm}, baseline="a"), ""
    )
    assert pinned.arms["a"].controller.options["policy"] == full


def test_training_data_of_a_policy_are_read_from_its_file(small: ComparisonPlan, tmp_path: Path) -> None:
    for number, task in enumerate(({"data": "ring"}, {"data": {"name": "equipoise.data.ring", "modes": 8}})):
        path = _policy(tmp_path / f"{number}.safetensors", **task)
        arm = plans.Arm(controller=plans.PlugSpec("time_only", {"policy": path}))
        with pytest.raises(
            SettingError, match=r"the policy of arm 'a' was trained on '.*ring', the data that task 'ring'"
        ):
            run_checks.check_plan(dataclasses.replace(small, arms={"a": arm}, baseline="a"))
    path = _policy(tmp_path / "other.safetensors", data={"name": "ring", "modes": 5})
    arm = plans.Arm(controller=plans.PlugSpec("time_only", {"policy": path}))
    run_checks.check_plan(dataclasses.replace(small, arms={"a": arm}, baseline="a"))
