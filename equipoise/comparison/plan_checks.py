"""Validation of a plan, without building a model or reading data."""

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path

from equipoise.comparison.plan import WELL_SET, Arm, Claim, ComparisonPlan, SearchRange
from equipoise.comparison.population import check_population
from equipoise.core import catalog
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.data_source import parse_data_source
from equipoise.experiment.settings import NO_METRIC, PlugSpec

PATH_OPTIONS = ("folder", "file")
"""Options of data sets that hold a path."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Valid names of arms, tasks and regimes, which are parts of folder names, separated by dots."""


def check_plan_values(plan: ComparisonPlan, source: str) -> None:
    """Check a plan without building anything. Raises SettingError or UnknownNameError."""
    tuning_tasks = plan.tuning.tasks if plan.tuning else {}
    parts = (("arm", plan.arms), ("task", plan.tasks), ("regime", plan.regimes), ("tuning task", tuning_tasks))
    for kind, names in parts:
        for name in names:
            if not NAME.fullmatch(name):
                raise SettingError(f"the {kind} '{name}' has an invalid name; use 1 to 40 letters, digits, _ and -")
    if plan.baseline not in plan.arms:
        raise UnknownNameError("arm", plan.baseline, plan.arms, f"in {source}, named as baseline")
    _check_regimes(plan, source)
    _check_seeds(plan.seeds, f"seeds in {source}")
    for key, value in (("evaluations", plan.evaluations), ("samples", plan.samples)):
        if value < 2:
            raise SettingError(f"{key} = {value} in {source}: it must be at least 2")
    if not 0 <= plan.failure < 1:
        raise SettingError(f"failure = {plan.failure:g} in {source}: it must be at least 0 and less than 1")
    if plan.snapshot == "best":
        for name, task in plan.tasks.items():
            if task.metric.name == NO_METRIC:
                raise SettingError(f"snapshot = 'best' needs a live metric, and task '{name}' has none; set its metric")
    _check_tuning(plan, source)
    _check_lengths(plan, source)
    check_population(plan, source)
    for name, arm in plan.arms.items():
        _check_references(plan, source, name, arm)
    for number, claim in enumerate(plan.claims, 1):
        _check_claim(plan, f"claim {number} in {source}", claim)


def _check_lengths(plan: ComparisonPlan, source: str) -> None:
    """Check budgets, targets and the tolerance of parameters."""
    for name, task in plan.tasks.items():
        if task.cpu_seconds is not None and not 0 < task.cpu_seconds < math.inf:
            raise SettingError(f"cpu_seconds = {task.cpu_seconds:g} of task '{name}': it must be above 0 and finite")
        if task.cpu_seconds is not None and task.steps is not None:
            raise SettingError(f"task '{name}' has steps and cpu_seconds; the steps follow from the time, remove one")
        for arm_name, arm in plan.arms.items():
            if task.cpu_seconds is not None and (arm.steps or (name in arm.tasks and arm.tasks[name].steps)):
                raise SettingError(
                    f"arm '{arm_name}' has steps, but those of task '{name}' follow from its cpu_seconds; remove one"
                )
    for name, task in (plan.tuning.tasks if plan.tuning else {}).items():
        if task.cpu_seconds is not None:
            raise SettingError(f"tuning task '{name}' has cpu_seconds, which only [tasks] may have; set its steps")
    if plan.equal_parameters is not None and not 0 <= plan.equal_parameters < math.inf:
        raise SettingError(f"equal_parameters = {plan.equal_parameters:g} in {source}: it must be at least 0")
    for target in plan.targets:
        if not 0 < target <= 1:
            raise SettingError(f"targets in {source}: {target:g} is not a score above 0 and at most 1")


def _check_references(plan: ComparisonPlan, source: str, name: str, arm: Arm) -> None:
    """Check the arm whose run another samples from or starts from, and the tasks that an arm names."""
    for task in arm.tasks:
        if task not in plan.tasks:
            raise UnknownNameError("task", task, plan.tasks, f"in {source} for arm '{name}'")
    for key, other in (("run", arm.run), ("from", arm.start_from)):
        if other is not None and other not in plan.arms:
            raise UnknownNameError("arm", other, plan.arms, f"in {source}, named by '{key}' of arm '{name}'")
        if other is not None and plan.tuning is not None:
            raise SettingError(f"arm '{name}' has '{key}', which cannot be tuned; remove [tuning] from {source}")
    if arm.run is not None:
        settings = dataclasses.replace(arm, sampling=DEFAULT_SAMPLING, run=None)
        if changed := next((option for option, value in _set_options(settings)), None):
            raise SettingError(
                f"arm '{name}' samples from the run of '{arm.run}' and trains nothing, so its {changed} has no "
                "effect; remove it, or run"
            )
        if plan.arms[arm.run].run is not None:
            raise SettingError(
                f"arm '{name}' samples from the run of '{arm.run}', which has none of its own; "
                f'write run = "{plan.arms[arm.run].run}"'
            )
    seen, start = [name], arm.start_from
    while start is not None:
        if plan.arms[start].run is not None:
            raise SettingError(f"arm '{name}' starts from '{start}', which has no run of its own; name that arm")
        if start in seen:
            raise SettingError(f"arm '{name}' starts from itself ({' from '.join([*seen, start])}); remove a 'from'")
        seen.append(start)
        start = plan.arms[start].start_from


def _set_options(arm: Arm) -> Iterator[tuple[str, object]]:
    """Yield the names and values of the settings of an arm that differ from their defaults."""
    default = Arm()
    for option in dataclasses.fields(arm):
        if (value := getattr(arm, option.name)) != getattr(default, option.name):
            yield option.name, value


def _check_claim(plan: ComparisonPlan, name: str, claim: Claim) -> None:
    for arm in (*claim.better, *claim.worse):
        if arm not in plan.arms:
            raise UnknownNameError("arm", arm, plan.arms, f"in {name}")
    for task in claim.tasks or ():
        if task not in plan.tasks:
            raise UnknownNameError("task", task, plan.tasks, f"in {name}")
    if not claim.better or bool(claim.worse) == (claim.least is not None):
        raise SettingError(f"{name} needs arms in 'better', and either arms in 'worse' or a value 'least'")


def _check_regimes(plan: ComparisonPlan, source: str) -> None:
    if WELL_SET in plan.regimes:
        raise SettingError(f"regime '{WELL_SET}' in {source} is reserved for the regime without changes; rename it")
    for name, regime in plan.regimes.items():
        if regime.tasks is not None and not regime.tasks:
            raise SettingError(f"regime '{name}' in {source} has no tasks; name some, or omit tasks to use all")
        for task in regime.tasks or ():
            if task not in plan.tasks:
                raise UnknownNameError("task", task, plan.tasks, f"in {source} for regime '{name}'")


def _check_tuning(plan: ComparisonPlan, source: str) -> None:
    """Check that all arms are tuned equally, and none on data that it is tested on."""
    tuning = plan.tuning
    if tuning is not None:
        _check_seeds(tuning.seeds, f"seeds of [tuning] in {source}")
        if tuning.seed < 0:
            raise SettingError(f"seed = {tuning.seed} of [tuning] in {source}: it must be at least 0")
        if tuning.trials < 2 or not tuning.tasks:
            raise SettingError(f"[tuning] in {source} needs tasks, and at least two trials per arm")
        for name, task in tuning.tasks.items():
            check_disjoint_data(plan, f"arms are tuned on '{name}'", task.data)
    for name, arm in plan.arms.items():
        for data in arm.tuned_on:
            check_disjoint_data(plan, f"arm '{name}' was tuned on '{data.name}'", data)
        if tuning is not None and not arm.search:
            raise SettingError(
                f"arm '{name}' has no search, but each arm has {tuning.trials} tuning trials; add a search"
            )
        for key, space in arm.search.items():
            if not isinstance(space, SearchRange) and not space:
                raise SettingError(f"{key} in the search of arm '{name}' has no candidate values; add some")
            owner, dot, _ = key.partition(".")
            if not dot or owner not in ("knobs", "factors", "controller"):
                raise UnknownNameError("search key", key, ("knobs.…", "factors.…", "controller.…"), f"for arm '{name}'")


def check_disjoint_data(plan: ComparisonPlan, reason: str, data: PlugSpec) -> None:
    """Raise SettingError for data that a task tests on, regardless of their amount and of the form of their path."""
    for name, task in plan.tasks.items():
        if data_key(task.data) == data_key(data):
            raise SettingError(f"{reason}, the data that task '{name}' tests on; tune on other data")


def data_key(data: PlugSpec) -> tuple[str, str]:
    """Return the identity of data: their path, or the name and the options that define the distribution."""
    spec = parse_data_source(data.name).with_options(**data.options)
    built = catalog.build("data", spec.name, spec.options)
    for option in PATH_OPTIONS:
        if path := getattr(built, option, None):
            return str(Path(path).expanduser().resolve()), ""
    options = getattr(built, "distribution_options", ())
    return base_name(spec.name), repr([getattr(built, option) for option in options])


def base_name(data: str) -> str:
    """Return the name of a data set without its preset and without the module path of this package."""
    return data.partition(":")[0].removeprefix("equipoise.data.")


def _check_seeds(seeds: tuple[int, ...], name: str) -> None:
    if not seeds:
        raise SettingError(f"{name}: the list is empty; add at least one seed, such as [0, 1, 2]")
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise SettingError(f"{name}: seeds must be different integers, at least 0")
