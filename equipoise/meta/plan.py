"""How a policy is to be made: one frozen value, from a TOML file. See experiments/policies/ for examples."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from equipoise.core import catalog
from equipoise.errors import EquipoiseError, SettingError, UnknownNameError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, complete, require
from equipoise.meta.episodes import check_distance
from equipoise.meta.paused import decisions
from equipoise.meta.stacked import check_alike
from equipoise.meta.tasks import Tasks, check_apart
from equipoise.policy.blank import KINDS

Table = Mapping[str, Any]
Lists = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """Evolution strategies: `generations` of `population` policies, each judged on `tasks` fresh tasks.

    `sigma`: standard deviation of the first generation's weights. `noise`: of the distance; see episodes. `check`:
    tasks on which the result is compared with its base at the end.
    """

    generations: int = 20
    population: int = 12
    tasks: int = 4
    sigma: float = 0.2
    noise: float = 0.002
    check: int = 32

    def __post_init__(self) -> None:
        _check_positive("evolution", self)
        if self.population < 4:
            raise SettingError(f"population = {self.population}: it must be at least 4")


@dataclass(frozen=True, kw_only=True)
class Reinforcement:
    """Proximal policy optimisation: `rollouts` of `environments` × `decisions` decisions, then one update each.

    Each rollout begins with fresh runs, so that `decisions` are at least as many as a run has. Undiscounted, for only
    what a run ends with counts; the other constants are those of Stable-Baselines3 but for `rate`, the learning rate,
    and `epochs` over each rollout. `check`: as for evolution, by the reward.
    """

    rollouts: int = 10
    environments: int = 4
    decisions: int = 12
    epochs: int = 10
    rate: float = 1e-3
    check: int = 8

    def __post_init__(self) -> None:
        _check_positive("reinforcement", self)
        if self.environments * self.decisions < 2:
            raise SettingError("[reinforcement] learns nothing from a single decision; raise environments or decisions")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`kind`: what the policy sees and turns. `task`, `vary`: what it is trained on; see tasks.

    `check`: what `vary` is replaced by where the result is judged, so that it is judged on data that it has not seen.
    """

    kind: Literal["residual", "time_only", "brief", "ppo"]
    task: Table
    vary: Lists = field(default_factory=dict)
    check: Lists = field(default_factory=dict)
    seed: int = 0
    evolution: Evolution | None = None
    reinforcement: Reinforcement | None = None

    def __post_init__(self) -> None:
        if (self.evolution is None) == (self.reinforcement is None):
            raise SettingError("a plan has either [evolution] or [reinforcement], for how the policy is trained")
        if self.reinforcement is not None and self.kind != "ppo":
            raise SettingError(f"[reinforcement] trains policies of the kind ppo, not {self.kind}; say [evolution]")
        for name, choices in (*self.vary.items(), *self.check.items()):
            if isinstance(choices, str):
                raise SettingError(f"'{name}' is to be drawn from a list; write ['{choices}']")
            if not choices:
                raise SettingError(f"'{name}' is to be drawn from nothing; give at least one value")
        if any(name.partition(".")[0] == "controller" for name in (*self.task, *self.vary, *self.check)):
            raise SettingError("a task has no controller but the policy that is trained on it; leave 'controller' out")
        if self.seed < 0:
            raise SettingError(f"seed = {self.seed}: it must be at least 0")
        check_apart([self.tasks, self.checks])

    @property
    def tasks(self) -> Tasks:
        """What to train on."""
        return Tasks(self.task, self.vary)

    @property
    def checks(self) -> Tasks:
        """What to judge the result on."""
        return Tasks(self.task, {**self.vary, **self.check})

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {name: value for name, value in result.items() if value is not None}

    @property
    def modules(self) -> tuple[str, ...]:
        """What has to be installed for it."""
        return ("cma",) if self.reinforcement is None else ("gymnasium", "stable_baselines3")


def read_plan(path: Path) -> Plan:
    """A plan from a TOML file, every choice of whose lists can be trained.

    Raises SettingError if it cannot be read or not be trained, UnknownNameError for a wrong key.
    """
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read as TOML: {error}") from error
    for name in ("kind", "task"):
        if name not in values:
            raise SettingError(f"{path} does not say '{name}'; see experiments/policies for examples")
    if not isinstance(values["kind"], str) or values["kind"] not in KINDS:
        raise UnknownNameError("kind of policy", str(values["kind"]), KINDS)
    for name, cls in (("evolution", Evolution), ("reinforcement", Reinforcement)):
        if name in values:
            values[name] = catalog.checked(cls, values[name], f"[{name}] of {path}")
    plan: Plan = catalog.checked(Plan, values, str(path))
    for name, tasks in (("[vary]", plan.tasks), ("[check]", plan.checks)):
        completed: list[Experiment] = []
        for what, task in tasks.every():
            try:
                completed.append(complete(task))
                _check_trainable(plan, completed)
            except EquipoiseError as error:
                raise SettingError(f"{path}, {name}, {what}: {error}") from error
    return plan


def _check_trainable(plan: Plan, completed: Sequence[Experiment]) -> None:
    """Raise EquipoiseError if the last of these tasks cannot be trained by this plan, or not beside the first."""
    pair = completed[0], completed[-1]
    training = launch.assemble(pair[1], None)
    check_distance(training)
    if plan.evolution is not None and any(require(one.model, "model").name.partition(":")[0] == "mlp" for one in pair):
        check_alike(pair)
    if plan.reinforcement is not None:
        _check_decisions(plan.reinforcement, decisions(KINDS[plan.kind].every, training.plan.steps))


def _check_decisions(settings: Reinforcement, count: int) -> None:
    """Raise SettingError if runs of so many decisions have none, or if a rollout ends before they do."""
    if not count:
        raise SettingError("the run ends before there is anything to decide; give it more steps")
    if settings.decisions < count:
        raise SettingError(
            f"a run has {count} decisions, and [reinforcement] decisions = {settings.decisions} would never see the "
            f"last of them; say decisions = {count}"
        )


def _check_positive(owner: str, settings: Evolution | Reinforcement) -> None:
    for one in dataclasses.fields(settings):
        value = getattr(settings, one.name)
        if not value > 0:
            raise SettingError(f"[{owner}] {one.name} = {value:g}: it must be above 0")
    if settings.check < 2:
        raise SettingError(f"[{owner}] check = {settings.check}: a doubt takes at least 2")
