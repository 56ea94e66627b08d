"""The plan of a comparison: one frozen value. See plan_files.py for TOML, plan_checks.py for its validation.

An arm is a set of settings, a task something to train, a regime a deliberately mis-set start. Every arm runs in every
setting (a task in a regime) with every seed; the runs of two arms differ in the settings of the arms only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import TypeAdapter

from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.experiment.settings import Options, Plug, PlugSpec

WELL_SET = "well_set"
"""The regime without changes; it exists without being declared."""
TARGETS = (0.5, 0.75, 0.9)
"""Scores whose time of training is reported, by default."""
PopulationPart = Literal["winner", "constants", "schedule"]
"""What an arm of a plan with a population shows: the best member at the end of population-based training; the best of
as many runs with constant knobs; the schedule of that best member, trained alone."""
ARM_KEYS = frozenset({"controller", "knobs", "factors", "repair", "search", "tuned_on"})
"""Keys of every arm in plan.json. Newer ones are written only if set, so that old plans keep their digests."""


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

    def sample(self, generator: np.random.Generator) -> float:
        """Draw a number from the range."""
        if self.scale == "linear":
            return float(generator.uniform(self.low, self.high))
        return float(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))


@dataclass(frozen=True, kw_only=True)
class ArmInTask:
    """Settings of an arm in one task, in addition to its other settings."""

    model: Plug | None = None
    options: Options = field(default_factory=dict)
    batch_size: int | None = None
    steps: int | None = None
    knobs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Settings that override those of every task. `knobs` and `factors` set the initial knobs, in addition.

    `search`: settings to tune: `knobs.NAME`, `factors.NAME` or `controller.OPTION` -> candidate values or a range.
    `tuned_on`: data that its settings were selected on beforehand, such as the training data of a policy.
    `model`, `options` (of the model), `batch_size`, `steps`, `precision`: None for those of the task. `sampling`: how
    its samples are generated. `run`: an arm whose runs it samples from, so that it trains nothing and may set
    `sampling` only. `start_from`: an arm whose run with the same seed its runs start from. `tasks`: task -> more
    settings there. `population`: its part in a plan with a population, which the program adds.
    """

    controller: Plug = field(default_factory=lambda: PlugSpec("fixed"))
    knobs: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    repair: bool | None = None
    search: Mapping[str, SearchRange | tuple[object, ...]] = field(default_factory=dict)
    tuned_on: tuple[Plug, ...] = ()
    model: Plug | None = None
    options: Options = field(default_factory=dict)
    batch_size: int | None = None
    steps: int | None = None
    precision: str | None = None
    sampling: Sampling = DEFAULT_SAMPLING
    run: str | None = None
    start_from: str | None = None
    tasks: Mapping[str, ArmInTask] = field(default_factory=dict)
    population: PopulationPart | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to train. `metric`: the live metric, visible to controllers; `reported`: the metric of the comparison.

    `also`: additional metrics of the last samples. `cpu_seconds`: training time of every run instead of `steps`, which
    are then calibrated for each arm. Defaults: no live metric; the other fields as suggested by the data.
    """

    data: Plug
    reported: Plug
    metric: Plug = field(default_factory=lambda: PlugSpec("none"))
    also: tuple[str, ...] = ()
    model: Plug | None = None
    steps: int | None = None
    cpu_seconds: float | None = None
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
class PopulationPlan:
    """Population-based training (Jaderberg et al. 2017), in each setting with each seed.

    `search`: knob -> range of its first values. `arm`: the other settings of the members; default: the baseline.
    `members`: number of members; the first one has the knobs of the arm. `rounds`: number of parts of a run; after each
    but the last, the worst `share` of the members continue from copies of the best ones, each searched knob multiplied
    by one of `factors`. `seed`: of the first values, the copies and the factors.
    """

    search: Mapping[str, SearchRange]
    arm: str = ""
    members: int = 10
    rounds: int = 5
    share: float = 0.2
    factors: tuple[float, float] = (0.8, 1.25)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim that is tested in every task: each arm of `better` is better in `measure` than each of `worse`.

    `aspect`: heading. `text`: the claim in words. `measure`: a metric of the tasks, or one of claims.MEASURES. `least`:
    the claim is that each arm of `better` is at least as good as this value, instead of being better than others.
    `tasks`: in which it is tested; None for all.
    """

    aspect: str
    text: str
    measure: str
    better: tuple[str, ...]
    worse: tuple[str, ...] = ()
    least: float | None = None
    tasks: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """Settings of a comparison. `baseline`: the arm that the others are compared with; default: the first.

    `snapshot`: which samples of a run count: the last ones, those with the best live metric, or the mean of the last
    fifth. `evaluations`: how often a run is evaluated. `samples`: size of the evaluated sample. `failure`: a run counts
    as failed if its score is below this share of the baseline's median score in the task, in regime `well_set`.
    `equal_parameters`: largest share by which the numbers of weights that generate samples may differ between arms;
    None: not checked. `targets`: scores whose time of training is reported where arms have models of their own.
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
    equal_parameters: float | None = None
    targets: tuple[float, ...] = TARGETS
    claims: tuple[Claim, ...] = ()
    population: PopulationPlan | None = None

    def __post_init__(self) -> None:
        if not self.baseline:
            object.__setattr__(self, "baseline", next(iter(self.arms), ""))

    @property
    def compares_models(self) -> bool:
        """Whether arms differ in more than their control: in models, sampling or the run that they start from."""
        return any(
            arm.model or arm.run or arm.start_from or arm.sampling.settings() or arm.tasks for arm in self.arms.values()
        )

    def to_json(self) -> dict[str, object]:
        """Return the plan as JSON values; :func:`~equipoise.comparison.plan_files.plan_from_values` reads them back."""
        values = TypeAdapter(ComparisonPlan).dump_python(self, mode="json")
        unset = TypeAdapter(Arm).dump_python(Arm(), mode="json")
        values["arms"] = {
            name: {key: value for key, value in arm.items() if key in ARM_KEYS or value != unset[key]}
            for name, arm in values["arms"].items()
        }
        for tasks in (values["tasks"], (values["tuning"] or {}).get("tasks", {})):
            for task in tasks.values():
                if task["cpu_seconds"] is None:
                    del task["cpu_seconds"]
        later = {"targets": list(TARGETS), "claims": []}
        return {name: value for name, value in values.items() if value is not None and value != later.get(name)}
