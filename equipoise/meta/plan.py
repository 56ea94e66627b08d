"""The plan of a policy training: a frozen dataclass, read from TOML. Examples are in experiments/policies/."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from equipoise.core import catalog
from equipoise.errors import EquipoiseError, SettingError, UnknownNameError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, require
from equipoise.meta.episodes import check_distance_metric
from equipoise.meta.stacked import validate_stackable
from equipoise.meta.stepwise_run import count_decisions
from equipoise.meta.tasks import TaskDistribution, check_training_data
from equipoise.policy.kinds import KINDS

PlanKind = Literal["residual", "time_only", "brief", "ppo", "suite"]
"""Kinds that a plan can train; `ppo_suite` is trained by benchmarks/control/suite_policies.py."""
Choices = Mapping[str, Sequence[Any]]
"""Setting.option -> values. The type accepts a string as a sequence; the plan then raises a clear error."""


@dataclass(frozen=True, kw_only=True)
class EvolutionSettings:
    """Settings of an evolution strategy: `generations` of `population` policies, each evaluated on `tasks` new tasks.

    `sigma`: standard deviation of the weights of the first generation. `noise`: of the distance; see episodes.
    `check`: number of tasks on which the result is compared with its base policy at the end.
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
class ReinforcementSettings:
    """Settings of proximal policy optimisation: `rollouts` of `environments` × `decisions` decisions, one update each.

    Each rollout starts new runs, so `decisions` must be at least the number of decisions of a run. Rewards are not
    discounted, because only the result of a run counts. `rate`: learning rate; `epochs`: passes over each rollout; the
    other constants are the defaults of Stable-Baselines3. `check`: number of tasks on which the return is compared with
    an untrained policy's.
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
            raise SettingError("[reinforcement] needs more than a single decision; raise environments or decisions")


@dataclass(frozen=True, kw_only=True)
class PolicyPlan:
    """Plan of a policy training.

    `kind`: features and knobs of the policy. `task`, `vary`: distribution of the training tasks; see tasks.

    `check`: replacements of `vary` for the final evaluation, so that it uses data that the policy was not trained on.
    Exactly one of `evolution` and `reinforcement` is set. Raises SettingError for invalid settings.
    """

    kind: PlanKind
    task: Mapping[str, object]
    vary: Choices = field(default_factory=dict)
    check: Choices = field(default_factory=dict)
    seed: int = 0
    evolution: EvolutionSettings | None = None
    reinforcement: ReinforcementSettings | None = None

    def __post_init__(self) -> None:
        if (self.evolution is None) == (self.reinforcement is None):
            raise SettingError("a plan needs either [evolution] or [reinforcement], the method of training")
        if self.reinforcement is not None and self.kind != "ppo":
            raise SettingError(f"[reinforcement] trains policies of kind ppo, not {self.kind}; use [evolution]")
        for name, choices in (*self.vary.items(), *self.check.items()):
            if isinstance(choices, str):
                raise SettingError(f"'{name}' must be a list of values; write ['{choices}']")
            if not choices:
                raise SettingError(f"'{name}' has no values to sample from; add at least one")
        if any(name.partition(".")[0] == "controller" for name in (*self.task, *self.vary, *self.check)):
            raise SettingError("the controller of a task is the policy that is trained on it; omit 'controller'")
        if self.seed < 0:
            raise SettingError(f"seed = {self.seed}: it must be at least 0")
        check_training_data([self.tasks, self.checks])

    @property
    def tasks(self) -> TaskDistribution:
        """Distribution of the training tasks."""
        return TaskDistribution(self.task, self.vary)

    @property
    def checks(self) -> TaskDistribution:
        """Distribution of the tasks of the final evaluation."""
        return TaskDistribution(self.task, {**self.vary, **self.check})

    def to_json(self) -> dict[str, object]:
        """Return the plan as JSON values, without fields that are None."""
        values: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {name: value for name, value in values.items() if value is not None}

    @property
    def modules(self) -> tuple[str, ...]:
        """Optional packages that the training needs."""
        return ("cma",) if self.reinforcement is None else ("gymnasium", "stable_baselines3")


def load_policy_plan(path: Path) -> PolicyPlan:
    """Load a plan from a TOML file, and check that every value of its lists can be trained.

    Raises SettingError if it cannot be read or trained, UnknownNameError for an unknown key.
    """
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}; see experiments/policies for examples") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or error
        raise SettingError(f"{path} cannot be read as TOML: {problem}") from error
    for name in ("kind", "task"):
        if name not in values:
            raise SettingError(f"{path} has no '{name}'; see experiments/policies for examples")
    if values["kind"] not in get_args(PlanKind):
        raise UnknownNameError("kind of policy", str(values["kind"]), get_args(PlanKind))
    for name, cls in (("evolution", EvolutionSettings), ("reinforcement", ReinforcementSettings)):
        if name in values:
            values[name] = catalog.construct(cls, values[name], f"[{name}] of {path}")
    plan: PolicyPlan = catalog.construct(PolicyPlan, values, str(path))
    for name, distribution in (("[vary]", plan.tasks), ("[check]", plan.checks)):
        experiments: list[Experiment] = []
        for description, experiment in distribution.single_changes():
            try:
                experiments.append(complete(experiment))
                _check_trainable(plan, experiments[0], experiments[-1])
            except EquipoiseError as error:
                raise SettingError(f"{path}, {name}, {description}: {error}") from error
    return plan


def _check_trainable(plan: PolicyPlan, first: Experiment, experiment: Experiment) -> None:
    """Raise EquipoiseError if an experiment cannot be trained by this plan, or not in one stack with the first."""
    training = assemble(experiment, None)
    check_distance_metric(training)
    pair = (first, experiment)
    if plan.evolution is not None and any(
        require(item.model, "model").name.partition(":")[0] == "mlp" for item in pair
    ):
        validate_stackable(pair)
    if plan.reinforcement is not None:
        _check_decisions(plan.reinforcement, count_decisions(KINDS[plan.kind].every, training.plan.steps))


def _check_decisions(settings: ReinforcementSettings, count: int) -> None:
    """Raise SettingError if runs have no decisions, or if a rollout ends before them."""
    if not count:
        raise SettingError("the run ends before its first decision; increase steps")
    if settings.decisions < count:
        raise SettingError(
            f"a run has {count} decisions, but [reinforcement] decisions = {settings.decisions} would never reach the "
            f"last of them; set decisions = {count}"
        )


def _check_positive(table: str, settings: EvolutionSettings | ReinforcementSettings) -> None:
    for option in dataclasses.fields(settings):
        value = getattr(settings, option.name)
        if not value > 0:
            raise SettingError(f"[{table}] {option.name} = {value:g}: it must be above 0")
    if settings.check < 2:
        raise SettingError(f"[{table}] check = {settings.check}: a confidence bound needs at least 2")
