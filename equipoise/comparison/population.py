"""Population-based training as a plan: its members, what happens between two rounds, and the schedules that result.

After each round the members are ranked by the live metric. The worst continue from copies of the best (exploit), with
knobs multiplied by a random factor (explore): truncation selection of Jaderberg et al. (2017), "Population Based
Training of Neural Networks", section 4.1.1, where the factors are 0.8 and 1.2; 1.25 is the inverse of 0.8. Whatever is
random follows from the seed of the plan, so that the result does not depend on who executes which member.

All members have the seed of the run, and a copy keeps the random states of its source: members of one round differ in
their knobs alone, and training with the schedule of the best member alone reproduces its weights bit for bit.
"""

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.comparison.plan import Arm, ComparisonPlan, PopulationPart, PopulationPlan
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.settings import NO_METRIC, PlugSpec

ARM_NAMES: Mapping[PopulationPart, str] = {
    "winner": "population",
    "constants": "best_constant",
    "schedule": "population_schedule",
}
"""Part -> name of its arm."""
KnobSchedule = Mapping[str, Sequence[tuple[int, float]]]
"""Knob -> (step, value): the value holds after this step, until the step of the next entry."""


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member after a round. `live`: the live metric, None after a divergence. `source`: of the weights, itself or the
    member that was copied; None in the first round. `cpu`, `seconds`: of this round."""

    member: int
    step: int
    live: float | None
    schedule: KnobSchedule
    source: int | None
    cpu: float
    seconds: float


def with_population_arms(plan: ComparisonPlan) -> ComparisonPlan:
    """Return the plan with the three arms of its population; any other plan is returned as it is.

    Raises SettingError or UnknownNameError.
    """
    population = plan.population
    own = {name: arm for name, arm in plan.arms.items() if arm.population is not None}
    if population is None or own:
        return plan
    base = population.arm or plan.baseline
    if base not in plan.arms:
        raise UnknownNameError("arm", base, plan.arms, "in [population]")
    if taken := next((name for name in ARM_NAMES.values() if name in plan.arms), None):
        raise SettingError(f"[population] adds an arm '{taken}', but the plan has one of this name; rename that one")
    added = {name: dataclasses.replace(plan.arms[base], population=part) for part, name in ARM_NAMES.items()}
    return dataclasses.replace(plan, arms={**plan.arms, **added}, population=dataclasses.replace(population, arm=base))


def check_population(plan: ComparisonPlan, source: str) -> None:
    """Raise SettingError for a population that cannot be trained, or compared fairly."""
    population, place = plan.population, f"[population] in {source}"
    if population is None:
        if name := next((name for name, arm in plan.arms.items() if arm.population), None):
            raise SettingError(f"arm '{name}' in {source} has 'population', which [population] adds; remove it")
        return
    arm = plan.arms[population.arm]
    if arm.controller != PlugSpec("fixed") or arm.run or arm.start_from or arm.search:
        raise SettingError(
            f"{place}: the members have the settings of arm '{population.arm}', which must have the controller 'fixed' "
            "and neither run, from nor search; name another arm"
        )
    if plan.tuning is not None or any(task.cpu_seconds is not None for task in plan.tasks.values()):
        raise SettingError(f"{place} needs tasks with steps, and no [tuning]: it tunes during the runs; remove one")
    for name, task in plan.tasks.items():
        if task.metric.name == NO_METRIC:
            raise SettingError(f"{place} ranks members by the live metric, and task '{name}' has none; set its metric")
    if not population.search:
        raise SettingError(f"{place} has no search; add knobs, such as search.lr_g = {{ low = 1e-4, high = 1e-3 }}")
    for option, value, low, high in (
        ("members", population.members, 2, math.inf),
        ("rounds", population.rounds, 2, plan.evaluations),
        ("seed", population.seed, 0, math.inf),
    ):
        if not low <= value <= high:
            limit = f"{high:g}, the evaluations" if math.isfinite(high) else "any number"
            raise SettingError(f"{option} = {value} of {place}: it must be from {low} to {limit}")
    if not 0 < population.share <= 0.5:
        raise SettingError(f"share = {population.share:g} of {place}: it must be above 0 and at most 0.5")
    if not all(factor > 0 for factor in population.factors):
        raise SettingError(f"factors of {place} must be positive")


def member_count(plan: ComparisonPlan) -> int:
    """Return the number of members; 1 for a plan without a population."""
    return plan.population.members if plan.population else 1


def round_count(plan: ComparisonPlan, part: PopulationPart | None) -> int:
    """Return the number of rounds of the members of an arm; those with constant knobs have one."""
    return plan.population.rounds if plan.population and part == "winner" else 1


def round_end(plan: ComparisonPlan, part: PopulationPart | None, number: int, steps: int) -> int:
    """Return the step after which a round ends: an evaluation, or the end of the run."""
    rounds, every = round_count(plan, part), max(1, steps // plan.evaluations)
    if number + 1 == rounds:
        return steps
    return every * round(plan.evaluations * (number + 1) / rounds)


def first_values(
    population: PopulationPlan, base: Mapping[str, float], member: int, seed: int, setting: str
) -> dict[str, float]:
    """Return the first values of the searched knobs of a member. `base`: those of the arm, which the first one has."""
    if member == 0:
        return {knob: base[knob] for knob in population.search}
    return {
        knob: range.sample(_generator(population, seed, setting, zlib.crc32(knob.encode()), member))
        for knob, range in population.search.items()
    }


def next_round(
    population: PopulationPlan, records: Sequence[MemberRecord], better: str, seed: int, setting: str, number: int
) -> list[tuple[int, KnobSchedule]]:
    """Return for each member the one whose state it continues from after round `number`, and its new schedule.

    `records`: of all members after that round. `better`: "lower" or "higher" live metric.
    """
    order = rank_members(records, better)
    usable = [member for member in order if records[member].live is not None]
    count = min(math.ceil(population.share * population.members), population.members // 2)
    replaced = set(order[-count:]) | {record.member for record in records if record.live is None}
    best = usable[:count]
    result: list[tuple[int, KnobSchedule]] = []
    for record in records:
        if record.member not in replaced or not best or record.member in best:
            result.append((record.member, record.schedule))
            continue
        generator = _generator(population, seed, setting, number + 1, record.member, 1)
        source = records[best[int(generator.integers(len(best)))]]
        result.append((source.member, _perturb(population, source, generator)))
    return result


def _perturb(population: PopulationPlan, source: MemberRecord, generator: np.random.Generator) -> KnobSchedule:
    """Return the schedule of a member with a new entry: each last value times one of the factors, within its range."""
    schedule = {}
    for knob, range in population.search.items():
        factor = population.factors[int(generator.integers(2))]
        value = min(max(source.schedule[knob][-1][1] * factor, range.low), range.high)
        schedule[knob] = [*source.schedule[knob], (source.step, value)]
    return schedule


def rank_members(records: Sequence[MemberRecord], better: str) -> list[int]:
    """Return the members, best first; those that diverged are the last."""
    sign = 1 if better == "lower" else -1

    def key(record: MemberRecord) -> tuple[float, int]:
        return (math.inf if record.live is None else sign * record.live), record.member

    return [record.member for record in sorted(records, key=key)]


def schedule_controller(schedule: KnobSchedule, steps: int) -> PlugSpec:
    """Return the controller of a schedule: it changes a knob at the first reading after each of its steps."""
    texts = {}
    for knob, entries in schedule.items():
        text = f"constant({entries[0][1]!r})"
        for step, value in entries[1:]:
            text += f", {(step + 0.5) / steps!r}, constant({value!r})"
        texts[knob] = f"join({text})" if len(entries) > 1 else text
    return PlugSpec("annealed", {"schedules": texts})


def with_schedule(plan: ComparisonPlan, arm: str, schedule: KnobSchedule, steps: int) -> ComparisonPlan:
    """Return the plan in which the controller of an arm is a schedule."""
    changed: Arm = dataclasses.replace(plan.arms[arm], controller=schedule_controller(schedule, steps))
    return dataclasses.replace(plan, arms={**plan.arms, arm: changed})


def _generator(population: PopulationPlan, seed: int, setting: str, *parts: int) -> np.random.Generator:
    return np.random.default_rng([population.seed, seed, zlib.crc32(setting.encode()), *parts])
