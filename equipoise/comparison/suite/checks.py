"""Checks, before any run, that a verdict of the suite will be fair.

`Suite` itself refuses tasks and sources of data in both halves.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from equipoise.comparison.suite.arms import parse_settings
from equipoise.comparison.suite.tasks import Suite, SuiteTask
from equipoise.controllers.chain import Chain
from equipoise.core import catalog
from equipoise.core.controller import AnyController
from equipoise.core.data import DataSet
from equipoise.errors import SettingError
from equipoise.policy.files import check_policy_tasks, load_policy

ArmKind = Literal["constant", "schedule", "feedback", "repair", "search", "learned"]


@dataclass(frozen=True)
class ArmInfo:
    """A tuned arm. `settings`: JSON values of its runs. `trials`: tuning runs; 0 for an arm that was not tuned.

    `score`: of the best setting on the training tasks, mean log distance, lower is better; None without tuning.
    `kind`: how it decides: before the run (constant, schedule), by rules in the run (feedback, repair), by running
    several settings (search), or by trained weights (learned). `training_runs`: runs on training tasks that trained
    those weights, which are shown on their own: they are no tuning trials.
    """

    settings: Mapping[str, object]
    kind: ArmKind
    trials: int = 0
    score: float | None = None
    training_runs: int = 0


def check_suite(suite: Suite, arms: Mapping[str, ArmInfo]) -> None:
    """Raise SettingError, naming task or arm, for what makes a verdict unfair."""
    for task in suite.tasks:
        check_held_out(task)
    check_trials({name: arm.trials for name, arm in arms.items()})
    for name, arm in arms.items():
        for policy in policy_names(arm.settings):
            check_policy_tasks(load_policy(policy).policy, suite.half("test"), f"{policy}' of arm '{name}")


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


def policy_names(settings: Mapping[str, object]) -> Iterator[str]:
    """Yield the names or files of the policies that an arm follows, also in a chain of controllers."""
    spec = parse_settings(settings).controller
    controller: AnyController = catalog.build("controllers", spec.name, spec.options)
    members = controller.members if isinstance(controller, Chain) else (controller,)
    names = (getattr(member, "policy", None) for member in members)
    yield from (name for name in names if isinstance(name, str))
