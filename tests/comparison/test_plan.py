"""Plans: reading, and one line of error for everything that can be wrong."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.comparison import plan as plans
from equipoise.comparison import plan_runs, run_checks
from equipoise.comparison.plan import (
    ComparisonPlan,
    SearchRange,
)
from equipoise.comparison.plan_files import load_plan, plan_from_values, reduce_plan
from equipoise.comparison.plan_runs import TaskSetting
from equipoise.errors import EquipoiseError, SettingError

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
        run_checks.check_plan(parse(text))
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
    assert len({run.name for run in (*trials, *plan_runs.compared_runs(plan))}) == len(trials) + 4
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
