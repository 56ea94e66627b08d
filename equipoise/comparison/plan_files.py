"""Reading plans from TOML or JSON. Unknown keys are errors."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from equipoise.comparison.plan import (
    Arm,
    ArmInTask,
    Claim,
    ComparisonPlan,
    PopulationPlan,
    Regime,
    SearchRange,
    Task,
    Tuning,
)
from equipoise.comparison.plan_checks import check_plan_values
from equipoise.comparison.population import with_population_arms
from equipoise.core import catalog
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError, UnknownNameError

RENAMED_KEYS = {"looks": "evaluations"}
"""Old key of a plan -> present key."""
RENAMED_TABLE_KEYS: Mapping[type[object], Mapping[str, str]] = {Task: {"gan": "model"}, Arm: {"from": "start_from"}}
"""Old or short key of a table -> present key."""
DATA_KEYS = ("data", "image_size")
"""Keys that an arm cannot have, because all arms of a task are compared on its data."""


def load_plan(path: Path) -> ComparisonPlan:
    """Load a plan from a TOML file. Raises SettingError or UnknownNameError with a message of one line."""
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}; see experiments/compare for examples") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or error
        raise SettingError(f"{path} cannot be read as TOML: {problem}") from error
    return plan_from_values(values, str(path))


def plan_from_values(values: Mapping[str, object], source: str) -> ComparisonPlan:
    """Build a plan from TOML or JSON values. Raises SettingError or UnknownNameError, naming `source` and the key."""
    parsed = _rename_keys(values, RENAMED_KEYS)
    for name in ("arms", "tasks"):
        if not _table(parsed.get(name), f"[{name}] in {source}"):
            raise SettingError(f"{source} has no [{name}.…]; add at least one")
    parsed["arms"] = _parse_tables(Arm, parsed.get("arms"), "arm", f"[arms] in {source}")
    parsed["tasks"] = _parse_tables(Task, parsed.get("tasks"), "task", f"[tasks] in {source}")
    parsed["regimes"] = _parse_tables(Regime, parsed.get("regimes"), "regime", f"[regimes] in {source}")
    if parsed.get("tuning") is not None:
        tuning = dict(_table(parsed["tuning"], f"[tuning] in {source}"))
        tuning["tasks"] = _parse_tables(Task, tuning.get("tasks"), "tuning task", f"[tuning.tasks] in {source}")
        parsed["tuning"] = _parse(Tuning, tuning, "[tuning]")
    if not isinstance(claims := parsed.get("claims", []), list):
        raise SettingError(f"claims in {source} must be a list of tables, [[claims]], not {claims!r}")
    parsed["claims"] = [_parse(Claim, claim, f"claim {number}") for number, claim in enumerate(claims, 1)]
    if parsed.get("population") is not None:
        parsed["population"] = _parse_population(parsed["population"], source)
    plan = with_population_arms(_parse(ComparisonPlan, parsed, source))
    check_plan_values(plan, source)
    return plan


def _parse_population(values: object, source: str) -> PopulationPlan:
    table = dict(_table(values, f"[population] in {source}"))
    search = _table(table.get("search"), "the search of [population]")
    table["search"] = {knob: _parse(SearchRange, range, f"{knob} in [population]") for knob, range in search.items()}
    return _parse(PopulationPlan, table, "[population]")


def reduce_plan(
    plan: ComparisonPlan, steps: int | None, seeds: int | None, cpu_seconds: float | None = None
) -> ComparisonPlan:
    """Return the plan with `steps` steps in every task, tuning tasks included, and only its first `seeds` seeds.

    `cpu_seconds`: training time of every run of a plan with such a budget. Raises SettingError for other plans.
    """
    if steps is not None and steps < 1:
        raise SettingError(f"steps = {steps}: it must be at least 1")
    if seeds is not None and not 1 <= seeds <= len(plan.seeds):
        raise SettingError(f"seeds = {seeds}: it must be from 1 to {len(plan.seeds)}, the number of seeds of the plan")
    if cpu_seconds is not None:
        _check_new_budget(plan, steps, cpu_seconds)

    def with_steps(tasks: Mapping[str, Task]) -> dict[str, Task]:
        return {name: _with_length(task, steps, cpu_seconds) for name, task in tasks.items()}

    tuning = plan.tuning and dataclasses.replace(plan.tuning, tasks=with_steps(plan.tuning.tasks))
    arms = plan.arms if steps is None else {name: _without_steps(arm) for name, arm in plan.arms.items()}
    return dataclasses.replace(plan, arms=arms, tasks=with_steps(plan.tasks), tuning=tuning, seeds=plan.seeds[:seeds])


def _check_new_budget(plan: ComparisonPlan, steps: int | None, cpu_seconds: float) -> None:
    if steps is not None:
        raise SettingError("steps and cpu_seconds are both given; use one of --steps and --cpu-seconds")
    if not 0 < cpu_seconds < math.inf:
        raise SettingError(f"cpu_seconds = {cpu_seconds:g}: it must be above 0 and finite")
    if task := next((name for name, task in plan.tasks.items() if task.cpu_seconds is None), None):
        raise SettingError(f"task '{task}' has no cpu_seconds, but a number of steps; use --steps instead")


def _with_length(task: Task, steps: int | None, cpu_seconds: float | None) -> Task:
    """Return the task with another number of steps, or another budget, if one is given."""
    if steps is not None:
        return dataclasses.replace(task, steps=steps, cpu_seconds=None)
    return dataclasses.replace(task, cpu_seconds=cpu_seconds or task.cpu_seconds)


def _without_steps(arm: Arm) -> Arm:
    """Return the arm with the number of steps of its tasks."""
    tasks = {name: dataclasses.replace(settings, steps=None) for name, settings in arm.tasks.items()}
    return dataclasses.replace(arm, steps=None, tasks=tasks)


T = TypeVar("T")


def _parse_tables(cls: type[T], values: object, kind: str, place: str) -> dict[str, T]:
    """Parse each table of a table of tables."""
    return {name: _parse(cls, value, f"{kind} '{name}'") for name, value in _table(values, place).items()}


def _parse(cls: type[T], values: object, owner: str) -> T:
    """Build one of the dataclasses above from a table."""
    table = dict(_table(values, owner))
    table = _rename_keys(table, RENAMED_TABLE_KEYS.get(cls, {}))
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cast(Any, cls))
    names = {option.name for option in fields}
    for name in table:
        if cls is Arm and name in DATA_KEYS:
            raise SettingError(f"{owner} sets '{name}', but all arms of a task have its data; add a task instead")
        if name not in names:
            raise UnknownNameError("setting", name, names, f"of {owner}")
    if cls is Arm:
        table["search"] = _parse_search(table.get("search"), owner)
        table["sampling"] = _parse(Sampling, table.get("sampling"), f"the sampling of {owner}")
        table["tasks"] = _parse_tables(ArmInTask, table.get("tasks"), f"{owner} in task", f"the tasks of {owner}")
    missing = [
        option.name
        for option in fields
        if option.name not in table and option.default is option.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingError(f"{owner} has no '{missing[0]}', which is required; add it")
    result: T = catalog.construct(cls, table, owner, source=owner)
    return result


def _parse_search(values: object, owner: str) -> dict[str, object]:
    """Parse the search of an arm: each entry is a table with a range, or a list of values."""
    return {
        key: _parse(SearchRange, space, f"{key} in the search of {owner}") if isinstance(space, Mapping) else space
        for key, space in _table(values, f"the search of {owner}").items()
    }


def _table(values: object, name: str) -> Mapping[str, object]:
    if not isinstance(values, Mapping | None):
        raise SettingError(f"{name} must be a table, not {values!r}")
    return values or {}


def _rename_keys(values: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    return {names.get(key, key): value for key, value in values.items()}
