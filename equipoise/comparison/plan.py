"""What is compared with what: one frozen value, read from TOML. Unknown keys are errors.

An arm is a way of control, a task something to train, a regime a way to spoil the setting of a task. Every arm runs in
every setting (a task in a regime) with every seed; nothing about a run but its controller and its knobs is the arm's.
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
from equipoise.experiment.settings import NOTHING, Plug, PlugSpec, named_data

WELL_SET = "well_set"
"""The regime that spoils nothing; it is there without being declared."""
PATHS = ("folder", "file")
"""Options of data that say where they lie."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Names of arms, tasks and regimes: they become parts of the names of folders, between dots."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where a number is drawn from while tuning: evenly on a linear or a logarithmic scale."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "log"

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise SettingError(
                f"a span from {self.low:g} to {self.high:g}: low must be below high, and above 0 for log"
            )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way of control. `knobs` and `factors` say where the knobs stand at the start, beside what the task says.

    `search`: what may be tuned, `knobs.NAME`, `factors.NAME` or `controller.OPTION` -> values or a span.
    `tuned_on`: the data that its settings were chosen on before, such as those that a policy was trained on.
    """

    controller: Plug = field(default_factory=lambda: PlugSpec("fixed"))
    knobs: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    repair: bool | None = None
    search: Mapping[str, Span | tuple[Any, ...]] = field(default_factory=dict)
    tuned_on: tuple[Plug, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to train. `metric` is measured while training and may be steered by; `reported` is not.

    `also`: metrics of the last samples, beside the reported one. Left out: what suits the data; no metric at all.
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
    """How a task is mis-set: knobs times `factors`, after what the arm says of them; options of the `data`."""

    factors: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None
    """of which tasks; None for all"""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How arms are tuned before: each gets `trials` settings, the first of which is the arm as it is written."""

    tasks: Mapping[str, Task]
    trials: int
    seeds: tuple[int, ...]
    seed: int = 0
    """of what is drawn"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison. `baseline`: the arm that others are compared with; left out, the first.

    `snapshot`: what counts of a run: its last samples, those with the best live metric, or the mean of the last fifth.
    `looks`: how often samples are judged in a run. `samples`: how many are judged. `failure`: a run has failed if its
    score is below this share of what the median run of the baseline has in the task, well set.
    """

    arms: Mapping[str, Arm]
    tasks: Mapping[str, Task]
    seeds: tuple[int, ...]
    regimes: Mapping[str, Regime] = field(default_factory=dict)
    tuning: Tuning | None = None
    baseline: str = ""
    snapshot: Literal["last", "best", "last_fifth"] = "last"
    looks: int = 10
    samples: int = 1000
    failure: float = 0.5
    repair: bool = True

    def __post_init__(self) -> None:
        if not self.baseline:
            object.__setattr__(self, "baseline", next(iter(self.arms), ""))

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; :func:`from_values` reads it back."""
        values: dict[str, Any] = TypeAdapter(Plan).dump_python(self, mode="json")
        return {name: value for name, value in values.items() if value is not None}


def read(path: Path) -> Plan:
    """A plan from a TOML file. Raises SettingError or UnknownNameError in one line."""
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}; the plans that come along lie in experiments/compare") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read as TOML: {error}") from error
    return from_values(values, str(path))


def from_values(values: Mapping[str, Any], source: str) -> Plan:
    """A plan from TOML or JSON. Raises SettingError or UnknownNameError, naming `source` and the place in it."""
    told = dict(values)
    for name in ("arms", "tasks"):
        if not _table(told.get(name), f"[{name}] in {source}"):
            raise SettingError(f"{source} has no [{name}.…]; a plan needs one or more")
    for name, kind in (("arms", Arm), ("tasks", Task), ("regimes", Regime)):
        tables = _table(told.get(name), f"[{name}] in {source}")
        told[name] = {key: _read(kind, value, f"{name[:-1]} '{key}'") for key, value in tables.items()}
    if told.get("tuning") is not None:
        tuning = dict(_table(told["tuning"], f"[tuning] in {source}"))
        tasks = _table(tuning.get("tasks"), f"[tuning.tasks] in {source}")
        tuning["tasks"] = {key: _read(Task, value, f"tuning task '{key}'") for key, value in tasks.items()}
        told["tuning"] = _read(Tuning, tuning, "[tuning]")
    plan = _read(Plan, told, source)
    _check(plan, source)
    return plan


def smaller(plan: Plan, steps: int | None, seeds: int | None) -> Plan:
    """The same plan with so many steps in every task, tuning included, and its first so many seeds."""
    if steps is not None and steps < 1:
        raise SettingError(f"steps = {steps}: it must be at least 1")
    if seeds is not None and not 1 <= seeds <= len(plan.seeds):
        raise SettingError(f"seeds = {seeds}: the plan has {len(plan.seeds)}; take 1 or more of them")

    def short(tasks: Mapping[str, Task]) -> dict[str, Task]:
        return {name: dataclasses.replace(task, steps=steps or task.steps) for name, task in tasks.items()}

    tuning = plan.tuning and dataclasses.replace(plan.tuning, tasks=short(plan.tuning.tasks))
    return dataclasses.replace(plan, tasks=short(plan.tasks), tuning=tuning, seeds=plan.seeds[:seeds])


T = TypeVar("T")


def _read(kind: type[T], values: Any, what: str) -> T:
    """One of the dataclasses above, from a table."""
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cast(Any, kind))
    known = {one.name for one in fields}
    for name in _table(values, what):
        if name not in known:
            raise UnknownNameError(f"setting of {what}", name, known)
    if kind is Arm:
        values = {**values, "search": _spaces(values.get("search"), what)}
    missing = [
        one.name
        for one in fields
        if one.name not in values and one.default is one.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingError(f"{what} does not say '{missing[0]}'; every one of its kind needs it")
    made: T = catalog.checked(kind, values, what)
    return made


def _spaces(values: Any, what: str) -> dict[str, Any]:
    """What may be tuned: a table with a span, or a list."""
    return {
        key: _read(Span, space, f"{key} in the search of {what}") if isinstance(space, Mapping) else space
        for key, space in _table(values, f"the search of {what}").items()
    }


def _table(values: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping | None):
        raise SettingError(f"{what} must be a table, not {values!r}")
    return values or {}


def _check(plan: Plan, source: str) -> None:
    """What can be seen without building anything. Raises SettingError or UnknownNameError."""
    tuning_tasks = plan.tuning.tasks if plan.tuning else {}
    parts = (("arm", plan.arms), ("task", plan.tasks), ("regime", plan.regimes), ("tuning task", tuning_tasks))
    for what, names in parts:
        for name in names:
            if not NAME.fullmatch(name):
                raise SettingError(f"the {what} '{name}': a name is made of letters, digits, _ and -, 40 at the most")
    if WELL_SET in plan.regimes:
        raise SettingError(f"regime '{WELL_SET}' in {source} is the one that spoils nothing; give yours another name")
    if plan.baseline not in plan.arms:
        raise UnknownNameError(f"arm in {source} for its baseline", plan.baseline, plan.arms)
    for name, regime in plan.regimes.items():
        if regime.tasks is not None and not regime.tasks:
            raise SettingError(f"regime '{name}' in {source} is of no task; name some, or leave tasks out for all")
        for task in regime.tasks or ():
            if task not in plan.tasks:
                raise UnknownNameError(f"task in {source} for regime '{name}'", task, plan.tasks)
    _check_seeds(plan.seeds, f"seeds in {source}")
    for count, least in (("looks", 2), ("samples", 2)):
        if getattr(plan, count) < least:
            raise SettingError(f"{count} = {getattr(plan, count)} in {source}: it must be at least {least}")
    if not 0 <= plan.failure < 1:
        raise SettingError(f"failure = {plan.failure:g} in {source}: it is a share, from 0 to below 1")
    if plan.snapshot == "best":
        for name, said in plan.tasks.items():
            if said.metric.name == NOTHING:
                raise SettingError(
                    f"snapshot = 'best' goes by the live metric, and task '{name}' has none; give it one"
                )
    _check_tuning(plan, source)


def _check_tuning(plan: Plan, source: str) -> None:
    """Every arm is tuned as much as every other, and none on what it is tested on."""
    tuning = plan.tuning
    if tuning is not None:
        _check_seeds(tuning.seeds, f"seeds of [tuning] in {source}")
        if tuning.seed < 0:
            raise SettingError(f"seed = {tuning.seed} of [tuning] in {source}: it must be at least 0")
        if tuning.trials < 2 or not tuning.tasks:
            raise SettingError(f"[tuning] in {source} needs tasks, and two trials or more an arm")
        for name, task in tuning.tasks.items():
            check_apart(plan, f"arms are tuned on '{name}'", task.data)
    for name, arm in plan.arms.items():
        for data in arm.tuned_on:
            check_apart(plan, f"arm '{name}' was tuned on '{data.name}'", data)
        if tuning is not None and not arm.search:
            raise SettingError(f"arm '{name}' has nothing to tune, others get {tuning.trials} trials; give it a search")
        for key, space in arm.search.items():
            if not isinstance(space, Span) and not space:
                raise SettingError(f"{key} in the search of arm '{name}' is to be drawn from nothing; give it values")
            owner, dot, _ = key.partition(".")
            if not dot or owner not in ("knobs", "factors", "controller"):
                raise UnknownNameError(f"thing to tune of arm '{name}'", key, ("knobs.…", "factors.…", "controller.…"))


def check_apart(plan: Plan, what: str, data: PlugSpec) -> None:
    """Raise SettingError for data that a task tests on, however much of it is taken, and however it is shown."""
    for name, task in plan.tasks.items():
        if identity(task.data) == identity(data):
            raise SettingError(f"{what}, the data that task '{name}' tests on; tune on other data")


def identity(data: PlugSpec) -> tuple[str, str]:
    """What tells data apart: where they lie; else the name, and of computed ones what makes another distribution."""
    chosen = named_data(data.name).with_options(**data.options)
    built = catalog.build("data", chosen.name, chosen.options)
    for option in PATHS:
        if path := getattr(built, option, None):
            return str(Path(path).expanduser().resolve()), ""
    made = getattr(built, "of_distribution", ())
    return plain_name(chosen.name), repr([getattr(built, option) for option in made])


def plain_name(data: str) -> str:
    """The name of a data set without its preset; the whole name of a module of this package is the short one."""
    return data.partition(":")[0].removeprefix("equipoise.data.")


def _check_seeds(seeds: tuple[int, ...], what: str) -> None:
    if not seeds:
        raise SettingError(f"{what}: there is none; give at least one, such as [0, 1, 2]")
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise SettingError(f"{what}: each is a whole number from 0, and there once")
