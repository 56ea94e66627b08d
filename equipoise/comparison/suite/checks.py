"""What makes a verdict of the suite unfair: one line for each, before any run.

`Suite` itself refuses tasks and sources of data in both halves.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from equipoise.comparison.suite.tasks import Suite, SuiteTask
from equipoise.core import catalog
from equipoise.core.data import DataSet
from equipoise.errors import SettingError

ArmKind = Literal["constant", "schedule", "feedback", "repair", "search", "learned"]


@dataclass(frozen=True)
class ArmInfo:
    """A tuned arm. `settings`: JSON values of its runs. `trials`: tuning runs; 0 for an arm that was not tuned.

    `score`: of the best setting on the training tasks, mean log distance, lower is better; None without tuning.
    `kind`: how it decides: before the run (constant, schedule), by rules in the run (feedback, repair), by running
    several settings (search), or by trained weights (learned). `trained_on`: tasks of the training of those weights.
    """

    settings: Mapping[str, object]
    kind: ArmKind
    trials: int = 0
    score: float | None = None
    trained_on: Sequence[str] = field(default=())


def check_suite(suite: Suite, arms: Mapping[str, ArmInfo]) -> None:
    """Raise SettingError, naming task or arm, for what makes a verdict unfair."""
    for task in suite.tasks:
        check_held_out(task)
    check_trials({name: arm.trials for name, arm in arms.items()})
    for name, arm in arms.items():
        check_training_tasks(suite, name, arm.trained_on)


def check_held_out(task: SuiteTask) -> None:
    """Raise SettingError for a task whose data have no held-out reals, on which all arms select their generator."""
    data: DataSet = catalog.build("data", task.data, dict(task.data_options(draw=0)))
    if data.count("held_out") == 0:
        raise SettingError(
            f"task '{task.name}' has no held-out reals, so no arm can select its best generator; use data with a "
            "held-out split"
        )


def check_trials(trials: Mapping[str, int]) -> None:
    """Raise SettingError for an arm that was tuned with more trials than the others; the usual number is the limit."""
    counts = Counter(number for number in trials.values() if number)
    if not counts:
        return
    usual = min(counts, key=lambda number: (-counts[number], number))
    for name, number in trials.items():
        if number > usual:
            raise SettingError(
                f"arm '{name}' was tuned with {number} trials, others with {usual}; tune all with the same number"
            )


def check_training_tasks(suite: Suite, arm: str, trained_on: Sequence[str]) -> None:
    """Raise SettingError for a policy that was trained on a test task, or on the data of one."""
    test = {task.name for task in suite.half("test")} | {task.source for task in suite.half("test")}
    if seen := next((name for name in trained_on if name in test), None):
        raise SettingError(
            f"the policy of arm '{arm}' was trained on '{seen}', which judges it; train it on tasks of [training] only"
        )
