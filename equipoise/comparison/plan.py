"""The plan of a comparison: one frozen value, read from TOML. Unknown keys are errors.

An arm is a way of control, a task something to train, a regime a deliberately mis-set start. Every arm runs in every
setting (a task in a regime) with every seed; the runs of two arms differ in their controllers and knobs only.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import TypeAdapter

from equipoise.core import catalog
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.data_source import parse_data_source
from equipoise.experiment.settings import NO_METRIC, Plug, PlugSpec

WELL_SET = "well_set"
"""The regime without changes; it exists without being declared."""
PATH_OPTIONS = ("folder", "file")
"""Options of data sets that hold a path."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Valid names of arms, tasks and regimes, which are parts of folder names, separated by dots."""
RENAMED_KEYS = {"looks": "evaluations"}
"""Old key of a plan -> present key."""
RENAMED_TASK_KEYS = {"gan": "model"}
"""Old key of a task -> present key."""


@dataclass(frozen=True, kw_only=True)
class SearchRange:
    """Range from which tuning samples a number, uniformly on a linear or a logarithmic scale."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "log"

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise SettingError(
                f"the range from {self.low:g} to {self.high:g} is invalid; low must be less than high, and positive "
                "on a log scale"
            )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way of control. `knobs` and `factors` set the initial knobs, in addition to those of the task.

    `search`: settings to tune: `knobs.NAME`, `factors.NAME` or `controller.OPTION` -> candidate values or a range.
    `tuned_on`: data that its settings were selected on beforehand, such as the training data of a policy.
    """

    controller: Plug = field(default_factory=lambda: PlugSpec("fixed"))
    knobs: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    repair: bool | None = None
    search: Mapping[str, SearchRange | tuple[object, ...]] = field(default_factory=dict)
    tuned_on: tuple[Plug, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to train. `metric`: the live metric, visible to controllers; `reported`: the metric of the comparison.

    `also`: additional metrics of the last samples. Defaults: no live metric; the other fields as suggested by the data.
    """

    data: Plug
    reported: Plug
    metric: Plug = field(default_factory=lambda: PlugSpec("none"))
    also: tuple[str, ...] = ()
    model: Plug | None = None
    steps: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    knobs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Regime:
    """Mis-set start of a task. `factors`: multiply the knobs, after the factors of the arm. `data`: options of the
    data."""

    factors: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None
    """tasks to which the regime applies; None for all"""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Tuning before the comparison: `trials` settings of each arm are tried, the first of which is the arm as
    written."""

    tasks: Mapping[str, Task]
    trials: int
    seeds: tuple[int, ...]
    seed: int = 0
    """seed of the sampled settings"""


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """Settings of a comparison. `baseline`: the arm that the others are compared with; default: the first.

    `snapshot`: which samples of a run count: the last ones, those with the best live metric, or the mean of the last
    fifth. `evaluations`: how often a run is evaluated. `samples`: size of the evaluated sample. `failure`: a run counts
    as failed if its score is below this share of the baseline's median score in the task, in regime `well_set`.
    """

    arms: Mapping[str, Arm]
    tasks: Mapping[str, Task]
    seeds: tuple[int, ...]
    regimes: Mapping[str, Regime] = field(default_factory=dict)
    tuning: Tuning | None = None
    baseline: str = ""
    snapshot: Literal["last", "best", "last_fifth"] = "last"
    evaluations: int = 10
    samples: int = 1000
    failure: float = 0.5
    repair: bool = True

    def __post_init__(self) -> None:
        if not self.baseline:
            object.__setattr__(self, "baseline", next(iter(self.arms), ""))

    def to_json(self) -> dict[str, object]:
        """Return the plan as JSON values; :func:`plan_from_values` reads them back."""
        values: dict[str, object] = TypeAdapter(ComparisonPlan).dump_python(self, mode="json")
        return {name: value for name, value in values.items() if value is not None}


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
    plan = _parse(ComparisonPlan, parsed, source)
    _check(plan, source)
    return plan


def reduce_plan(plan: ComparisonPlan, steps: int | None, seeds: int | None) -> ComparisonPlan:
    """Return the plan with `steps` steps in every task, tuning tasks included, and only its first `seeds` seeds."""
    if steps is not None and steps < 1:
        raise SettingError(f"steps = {steps}: it must be at least 1")
    if seeds is not None and not 1 <= seeds <= len(plan.seeds):
        raise SettingError(f"seeds = {seeds}: it must be from 1 to {len(plan.seeds)}, the number of seeds of the plan")

    def with_steps(tasks: Mapping[str, Task]) -> dict[str, Task]:
        return {name: dataclasses.replace(task, steps=steps or task.steps) for name, task in tasks.items()}

    tuning = plan.tuning and dataclasses.replace(plan.tuning, tasks=with_steps(plan.tuning.tasks))
    return dataclasses.replace(plan, tasks=with_steps(plan.tasks), tuning=tuning, seeds=plan.seeds[:seeds])


T = TypeVar("T")


def _parse_tables(cls: type[T], values: object, kind: str, place: str) -> dict[str, T]:
    """Parse each table of a table of tables."""
    return {name: _parse(cls, value, f"{kind} '{name}'") for name, value in _table(values, place).items()}


def _parse(cls: type[T], values: object, owner: str) -> T:
    """Build one of the dataclasses above from a table."""
    table = dict(_table(values, owner))
    if cls is Task:
        table = _rename_keys(table, RENAMED_TASK_KEYS)
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cast(Any, cls))
    names = {option.name for option in fields}
    for name in table:
        if name not in names:
            raise UnknownNameError("setting", name, names, f"of {owner}")
    if cls is Arm:
        table["search"] = _parse_search(table.get("search"), owner)
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


def _check(plan: ComparisonPlan, source: str) -> None:
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
