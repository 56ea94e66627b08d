"""Plans: reading, and one line of error for everything that can be wrong."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.comparison import plan as plans
from equipoise.comparison import plan_runs
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.plan import (
    ComparisonPlan,
    PlugSpec,
    SearchRange,
    data_key,
    load_plan,
    plan_from_values,
    reduce_plan,
)
from equipoise.comparison.plan_runs import RunSpec, TaskSetting
from equipoise.core.events import Started, Turned
from equipoise.errors import EquipoiseError, SettingError
from equipoise.experiment.assembly import assemble
from equipoise.policy.files import encode_policy, load_policy
from equipoise.policy.kinds import untrained_policy
from equipoise.training.loop import train

HEAD = "seeds = [0, 1]\nsamples = 50\nevaluations = 3\n"
ARMS = '[arms.fixed]\n[arms.annealed]\ncontroller = "annealed"\n'
TASK = (
    '[tasks.ring]\ndata = "ring"\nmodel = { name = "mlp", width = 8 }\nsteps = 12\nbatch_size = 16\n'
    'reported = "mixture_modes"\n'
)
TUNING = (
    '[tuning]\ntrials = 3\nseeds = [9]\n[tuning.tasks.other]\ndata = {data}\nreported = "mixture_modes"\nsteps = 5\n'
)
TUNING_GRID = TUNING.replace("{data}", '"grid"')
MANY = TUNING_GRID.replace("trials = 3", "trials = 9")


@pytest.fixture
def parse(tmp_path: Path) -> Callable[[str], ComparisonPlan]:
    """Parse a plan from its text."""

    def plan(text: str) -> ComparisonPlan:
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return load_plan(path)

    return plan


@pytest.fixture
def small(parse: Callable[[str], ComparisonPlan]) -> ComparisonPlan:
    return parse(HEAD + ARMS + TASK)


def test_plan_is_read_and_written_back(parse: Callable[[str], ComparisonPlan]) -> None:
    search = '[arms.fixed.search]\n"factors.lr_d" = { low = 0.25, high = 4.0 }\n"knobs.beta1" = [0.0, 0.5]\n'
    other = '[arms.annealed.search]\n"controller.factors" = [{ lr_g = "cosine(1, 0.1)" }]\n'
    regime = "[regimes.mis_set]\nfactors = { lr_d = 4.0 }\n"
    tuning = (
        '[tuning]\ntrials = 2\nseeds = [9]\n[tuning.tasks.grid]\ndata = "grid"\nreported = "mixture_modes"\nsteps = 5\n'
    )
    plan = parse(HEAD + ARMS + TASK + search + other + regime + tuning)
    assert plan.baseline == "fixed", "the first by default"
    assert plan.arms["fixed"].search == {"factors.lr_d": SearchRange(low=0.25, high=4.0), "knobs.beta1": (0.0, 0.5)}
    assert plan.tasks["ring"].model is not None
    assert plan.tasks["ring"].model.options == {"width": 8}
    assert plan_from_values(json.loads(json.dumps(plan.to_json())), "plan.json") == plan


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            HEAD + '[arms.a]\ncontroller = "fixd"\n' + TASK,
            "arm 'a' on 'ring': there is no controller 'fixd'; did you mean 'fixed'?",
        ),
        (
            'baseline = "fixd"\n' + HEAD + ARMS + TASK,
            "there is no arm 'fixd' in {plan}, named as baseline; did you mean 'fixed'?",
        ),
        ("seeds = []\n" + ARMS + TASK, "seeds in {plan}: the list is empty; add at least one seed, such as [0, 1, 2]"),
        ("seeds = 3\n" + ARMS + TASK, "{plan}: seeds = 3: it must be a list"),
        (
            HEAD + '[arms.a]\ncontroller = ["rank"]\n' + TASK,
            "arm 'a': controller = ['rank']: it must be a name, or a table of a name and options",
        ),
        (
            HEAD + '[arms.a]\ncontroller = { name = "annealed", schedulez = {} }\n' + TASK,
            "arm 'a' on 'ring': there is no option 'schedulez' of controller 'annealed'; did you mean 'schedules'?",
        ),
        (
            HEAD + '[arms.a]\ncontroller = "fixed"\nsearch = { "controller.gain" = [1] }\n' + TASK + TUNING_GRID,
            "arm 'a' on 'ring', trial 1 (controller.gain = 1): there is no option 'gain' of controller 'fixed'; none",
        ),
        (
            HEAD + '[arms.a]\ncontroller = { name = "ppo", policy = "residual" }\n' + TASK,
            "arm 'a' on 'ring': the policy 'residual' uses the features 'residual', but this controller needs 'ppo'",
        ),
        (
            HEAD + ARMS + TASK + TUNING_GRID.replace("seeds = [9]", "seeds = []"),
            "seeds of [tuning] in {plan}: the list is empty; add at least one seed, such as [0, 1, 2]",
        ),
        (
            HEAD + ARMS + TASK + TUNING_GRID.replace("trials", "trails"),
            "there is no setting 'trails' of [tuning]; did you mean 'trials'?",
        ),
        ("seeds = [1, 1]\n" + ARMS + TASK, "seeds in {plan}: seeds must be different integers"),
        (
            HEAD + '[arms.a]\ntuned_on = ["ring"]\n' + TASK,
            "arm 'a' was tuned on 'ring', the data that task 'ring' tests on; tune on other data",
        ),
        (
            HEAD + "evaluation = 4\n" + ARMS + TASK,
            "there is no setting 'evaluation' of {plan}; did you mean 'evaluations'?",
        ),
        (
            HEAD + '[arms.a]\ncontroler = "fixed"\n' + TASK,
            "there is no setting 'controler' of arm 'a'; did you mean 'controller'?",
        ),
        (HEAD + ARMS + TASK + "step = 4\n", "there is no setting 'step' of task 'ring'; did you mean 'steps'?"),
        (HEAD + ARMS, "{plan} has no [tasks.…]; add at least one"),
        (HEAD + TASK, "{plan} has no [arms.…]; add at least one"),
        (ARMS + TASK, "{plan} has no 'seeds'"),
        (
            HEAD + ARMS + '[tasks.ring]\ndata = "ring"\n',
            "task 'ring' has no 'reported'",
        ),
        (HEAD + "[arms.'a b']\n" + TASK, "the arm 'a b' has an invalid name"),
        (
            HEAD + ARMS + TASK + 'metric = "mixture_modes"\n',
            "mixture_modes cannot be reported: the run was controlled by mixture_modes, which uses the same features",
        ),
        (
            HEAD + ARMS + TASK.replace("mixture_modes", "kd_digits"),
            "the metric 'kd_digits' does not suit the data of task 'ring'; set 'reported' to another",
        ),
        (HEAD + ARMS + TASK + 'also = ["modez"]\n', "there is no metric 'modez'; did you mean 'modes'?"),
        (
            'snapshot = "best"\n' + HEAD + ARMS + TASK,
            "snapshot = 'best' needs a live metric, and task 'ring' has none",
        ),
        (
            HEAD + ARMS + TASK + "[regimes.well_set]\nfactors = { lr_d = 4 }\n",
            "regime 'well_set' in {plan} is reserved",
        ),
        (
            HEAD + ARMS + TASK + '[regimes.a]\ntasks = ["rung"]\n',
            "there is no task 'rung' in {plan} for regime 'a'; did you mean 'ring'?",
        ),
        (
            HEAD + ARMS + TASK + "[regimes.a]\nfactors = { lrd = 4 }\n",
            "arm 'fixed' on 'ring.a': there is no knob 'lrd'; did you mean 'lr_d'?",
        ),
        (
            HEAD + ARMS + TASK + "[regimes.a]\nfactors = { lr_d = 400 }\n",
            "arm 'fixed' on 'ring.a': lr_d = 0.8 is outside its range: 1e-06 to 0.01",
        ),
        (
            HEAD + "[arms.a]\nknobs = { ema_half_life = 5 }\n" + TASK,
            "arm 'a' on 'ring': ema_half_life must be the same for every arm; set it in the task",
        ),
        (
            HEAD
            + '[arms.a]\ncontroller = { name = "annealed", factors = { ema_half_life = "cosine(0, 1)" } }\n'
            + TASK,
            "arm 'a' on 'ring': ema_half_life must be the same for every arm; set it in the task",
        ),
        (
            HEAD
            + '[arms.a]\ncontroller = "annealed"\nsearch = { "controller.schedules" = [{ ema_half_life = 9 }] }\n'
            + TASK
            + MANY,
            "arm 'a' on 'ring', trial 1 (controller.schedules = {{'ema_half_life': 9}}): ema_half_life must be the",
        ),
        (
            HEAD + '[arms.a.search]\n"factors.lr_d" = { low = 4, high = 1 }\n' + TASK,
            "the range from 4 to 1 is invalid",
        ),
        (
            HEAD + '[arms.a.search]\n"factors.lr_d" = { low = 1, hihg = 4 }\n' + TASK,
            "there is no setting 'hihg' of factors.lr_d in the search of arm 'a'; did you mean 'high'?",
        ),
        (
            HEAD + "[arms.a.search]\nlr_d = [1]\n" + TASK,
            "there is no search key 'lr_d' for arm 'a'",
        ),
        (
            HEAD + '[arms.a]\ncontroller = "rank"\nsearch = { "controller.reach" = [0.2, -1.0, 0.3] }\n' + TASK + MANY,
            "arm 'a' on 'ring', trial 1 (controller.reach = -1.0): reach = -1: it must be above 0",
        ),
        (
            HEAD
            + '[arms.a]\ncontroller = "random"\nsearch = { "controller.seed" = { low = 1, high = 9 } }\n'
            + TASK
            + MANY,
            "arm 'a' on 'ring', trial 1 (controller.seed = ",
        ),
        (
            HEAD
            + '[arms.a]\nsearch = { "knobs.r1_gamma" = { low = 1e-3, high = 2e-3 } }\n'
            + TASK
            + "[regimes.mis_set]\nfactors = { r1_gamma = 0.0333 }\n"
            + MANY,
            "arm 'a' on 'ring.mis_set', trial 1 ",
        ),
        (
            HEAD + '[arms.a]\nsearch = { "factors.lr_d" = [] }\n' + TASK + TUNING_GRID,
            "factors.lr_d in the search of arm 'a' has no candidate values",
        ),
        (
            HEAD + ARMS + TASK + TUNING_GRID.replace("trials", "seed = -1\ntrials"),
            "seed = -1 of [tuning] in {plan}: it must be at least 0",
        ),
        (
            HEAD + ARMS + TASK + "[regimes.a]\ntasks = []\n",
            "regime 'a' in {plan} has no tasks",
        ),
        ("evaluations = 1\nseeds = [0]\n" + ARMS + TASK, "evaluations = 1 in {plan}: it must be at least 2"),
        ("failure = 1.0\n" + HEAD + ARMS + TASK, "failure = 1 in {plan}: it must be at least 0 and less than 1"),
        ("arms = 3\n" + HEAD + TASK, "[arms] in {plan} must be a table, not 3"),
        (
            HEAD + ARMS + TASK + TUNING_GRID.replace("tasks.other", 'tasks."small/grid"'),
            "the tuning task 'small/grid' has an invalid name",
        ),
        ("seeds = [0\n" + ARMS, "{plan} cannot be read as TOML: "),
    ],
)
def test_invalid_plan_is_an_error_of_one_line(
    parse: Callable[[str], ComparisonPlan], tmp_path: Path, text: str, line: str
) -> None:
    with pytest.raises(EquipoiseError) as error:
        plan_runs.check_plan(parse(text))
    assert str(error.value).startswith(line.format(plan=tmp_path / "plan.toml"))
    assert "\n" not in str(error.value).partition(" cannot be read as TOML")[0]


def test_missing_file_is_an_error() -> None:
    with pytest.raises(SettingError, match=r"there is no file nowhere\.toml; .* experiments/compare"):
        load_plan(Path("nowhere.toml"))


def test_tuning_is_equal_for_all_arms_and_on_other_data(parse: Callable[[str], ComparisonPlan]) -> None:
    searches = "".join(f'[arms.{arm}.search]\n"factors.lr_d" = [0.5, 2.0]\n' for arm in ("fixed", "annealed"))
    plan = parse(HEAD + ARMS + TASK + searches + TUNING.replace("{data}", '{ name = "ring", modes = 5 }'))
    trials = plan_runs.tuning_runs(plan)
    assert len(trials) == 2 * 3
    assert {run.setting for run in trials} == {TaskSetting("other", tuning=True)}
    assert len({run.name for run in (*trials, *plan_runs.test_runs(plan))}) == len(trials) + 4
    with pytest.raises(SettingError, match="arms are tuned on 'other', the data that task 'ring' tests on"):
        parse(HEAD + ARMS + TASK + searches + TUNING.replace("{data}", '"ring"'))
    with pytest.raises(SettingError, match="arm 'annealed' has no search"):
        parse(HEAD + ARMS + TASK + searches.partition("[arms.annealed")[0] + TUNING.replace("{data}", '"grid"'))
    with pytest.raises(SettingError, match="needs tasks, and at least two trials"):
        parse(HEAD + ARMS + TASK + searches + TUNING.replace("{data}", '"grid"').replace("trials = 3", "trials = 1"))


def test_part_of_a_data_set_has_the_same_key(parse: Callable[[str], ComparisonPlan]) -> None:
    task = TASK.replace('"ring"', '{ name = "digits", training_images = 100 }').replace("mixture_modes", "kd_digits")
    with pytest.raises(SettingError, match="tuned on 'digits', the data that task 'ring' tests on"):
        parse(HEAD + '[arms.a]\ntuned_on = [{ name = "digits", image_size = 16 }]\n' + task)
    assert parse(HEAD + '[arms.a]\ntuned_on = [{ name = "ring", modes = 5 }]\n' + TASK), (
        "a ring with other modes is other data"
    )


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
    experiments = {run: plan_runs.build_experiment(small, run, {}) for run in plan_runs.test_runs(small)}
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
    assert {plan_runs.build_experiment(plan, run, {}).sense_every for run in plan_runs.test_runs(plan)} == {apart}


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
    assert plan_runs.test_settings(plan) == [TaskSetting("ring"), TaskSetting("ring", "mis_set")]
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
    seeds = [plan_runs.build_experiment(plan, run, {}).controller for run in plan_runs.test_runs(plan)]
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
    for run in plan_runs.test_runs(plan):
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
    for run in plan_runs.test_runs(open_comparison(folder).plan)[:2]:
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
            plan_runs.check_plan(dataclasses.replace(small, arms={"a": arm}, baseline="a"))
    path = _policy(tmp_path / "other.safetensors", data={"name": "ring", "modes": 5})
    arm = plans.Arm(controller=plans.PlugSpec("time_only", {"policy": path}))
    plan_runs.check_plan(dataclasses.replace(small, arms={"a": arm}, baseline="a"))


def test_reduce_plan(small: ComparisonPlan) -> None:
    reduced = reduce_plan(small, steps=4, seeds=1)
    assert (reduced.tasks["ring"].steps, reduced.seeds) == (4, (0,))
    assert reduce_plan(small, None, None) == small
    with pytest.raises(SettingError, match="seeds = 3: it must be from 1 to 2"):
        reduce_plan(small, None, 3)
    with pytest.raises(SettingError, match="steps = 0"):
        reduce_plan(small, 0, None)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "experiments" / "compare").glob("*.toml")), ids=lambda path: path.stem
)
def test_example_plans_can_be_read(path: Path) -> None:
    plan = load_plan(path)
    assert len(plan.arms) >= 2
    assert plan.baseline in plan.arms


def test_old_keys_of_a_plan_are_accepted(parse: Callable[[str], ComparisonPlan]) -> None:
    old = (HEAD + ARMS + TASK).replace("evaluations", "looks").replace("model =", "gan =")
    assert parse(old) == parse(HEAD + ARMS + TASK)


@pytest.mark.parametrize("kind", [ComparisonPlan, plans.Arm, plans.Task, plans.Regime, plans.Tuning, SearchRange])
def test_every_key_of_a_plan_is_documented(kind: type[Any]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "compare.md").read_text().partition("## The plan")[2]
    names = [field.name for field in dataclasses.fields(kind)]
    assert [name for name in names if f"`{name}`" not in text and f" {name}" not in text] == []
