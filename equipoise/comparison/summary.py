"""What the rows of a comparison come to, arm by arm: quality, efficiency, stability, and each against the baseline.

Only whole blocks count, seeds of a setting in which every arm has run, so that an unfinished comparison is fair too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median_low

import numpy as np

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import Estimate, Grouped
from equipoise.comparison.plan import WELL_SET, Plan
from equipoise.comparison.results import Row

Block = Mapping[str, Row]
"""Arm -> its row, of one setting and seed."""


@dataclass(frozen=True, slots=True)
class Against:
    """An arm against the baseline. `p`, `failures_p`: corrected for as many arms as there are (Holm)."""

    difference: Estimate
    improvement: Estimate
    p: float
    failures_p: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Summary:
    """An arm. Scores are from 0 to 1; what has no runs to be told from is None.

    `quality`: interquartile mean of the scores. `settings`: setting -> mean score and its interval.
    `cpu`: CPU seconds of a run, times those of the baseline (geometric mean of pairs). `reached`: runs that became as
    good as the median run of the baseline ends; `steps`, `cost`: after what share of the steps, and of the baseline's
    CPU seconds, in the median; infinite if more than half did not.
    `fallen`: mean score lost between the best look and the last. `spread`: mean standard deviation over the last fifth.
    `collapse`: mean share of readings with lost variety.
    """

    arm: str
    runs: int
    quality: Estimate
    settings: Mapping[str, Estimate]
    seconds: float | None
    cpu: float | None
    reached: int
    steps: float
    cost: float
    failures: int
    diverged: int
    crashed: int
    fallen: float | None
    spread: float | None
    collapse: float | None
    rollbacks: int
    lost: int
    against: Against | None


@dataclass(frozen=True, slots=True)
class Summaries:
    """All arms, best quality first. `runs`: how many count, of how many planned."""

    arms: tuple[Summary, ...]
    baseline: str
    runs: int
    planned: int
    thresholds: Mapping[str, float]
    """by setting: the score that the median run of the baseline ends with"""

    def of(self, arm: str) -> Summary:
        """One arm."""
        return next(one for one in self.arms if one.arm == arm)


def summarise(plan: Plan, rows: Sequence[Row]) -> Summaries | None:
    """What the tests come to; None while there is no seed of a setting in which every arm has run."""
    tests = [row for row in rows if row.trial is None]
    blocks = whole_blocks(plan, tests)
    if not blocks:
        return None
    failure = _failures(plan, blocks)
    thresholds = {
        setting: max(failure[inside[0][plan.baseline].task], median_low(block[plan.baseline].score for block in inside))
        for setting, inside in by_setting(blocks).items()
    }
    others = [arm for arm in plan.arms if arm != plan.baseline]
    scores = {arm: _grouped(blocks, arm) for arm in plan.arms}
    worse = aggregate.holm({arm: _wilcoxon(scores[arm], scores[plan.baseline]) for arm in others})
    failing = {arm: [_fails(block[arm], failure) for block in blocks] for arm in plan.arms}
    failed = aggregate.holm({arm: aggregate.mcnemar(failing[arm], failing[plan.baseline]) for arm in others})
    found = []
    for arm in plan.arms:
        against = None
        if arm in others:
            pair = scores[arm], scores[plan.baseline]
            against = Against(
                aggregate.interquartile_difference(*pair),
                aggregate.probability_of_improvement(*pair),
                worse[arm],
                failed[arm],
                len(blocks),
            )
        found.append(_summary(plan, blocks, arm, thresholds, sum(failing[arm]), against))
    best = sorted(found, key=lambda one: -one.quality.value)
    return Summaries(tuple(best), plan.baseline, len(blocks) * len(plan.arms), len(tests), thresholds)


def whole_blocks(plan: Plan, tests: Sequence[Row]) -> list[Block]:
    """Seeds of a setting in which every arm has run, in the order of the plan."""
    found: dict[tuple[str, int], dict[str, Row]] = {}
    for row in tests:
        if row.counts:
            found.setdefault((row.setting, row.seed), {})[row.arm] = row
    return [block for block in found.values() if len(block) == len(plan.arms)]


def _summary(
    plan: Plan,
    blocks: Sequence[Block],
    arm: str,
    thresholds: Mapping[str, float],
    failures: int,
    against: Against | None,
) -> Summary:
    mine = [block[arm] for block in blocks]
    scores = _grouped(blocks, arm)
    steps = [_until(row, thresholds[row.setting]) for row in mine]
    return Summary(
        arm=arm,
        runs=len(mine),
        quality=aggregate.interquartile(scores),
        settings={name: aggregate.mean({name: group}) for name, group in scores.items()},
        seconds=_mean(row.cpu for row in mine),
        cpu=_ratio([(block[arm].cpu, block[plan.baseline].cpu) for block in blocks]),
        reached=sum(math.isfinite(share) for share, _ in steps),
        steps=median_low(share for share, _ in steps),
        cost=_cost(blocks, plan.baseline, [(row, cpu) for row, (_, cpu) in zip(mine, steps, strict=True)]),
        failures=failures,
        diverged=sum(row.state == "diverged" for row in mine),
        crashed=sum(row.state == "failed" for row in mine),
        fallen=_mean(None if row.best is None or row.last is None else row.best - row.last for row in mine),
        spread=_mean(row.spread for row in mine),
        collapse=_mean(row.collapse for row in mine),
        rollbacks=sum(row.rollbacks for row in mine),
        lost=sum(row.lost for row in mine),
        against=against,
    )


def _failures(plan: Plan, blocks: Sequence[Block]) -> dict[str, float]:
    """Task -> the score below which a run has failed: a share of the median run of the baseline, well set."""
    base: dict[str, list[Row]] = {}
    for block in blocks:
        base.setdefault(block[plan.baseline].task, []).append(block[plan.baseline])
    return {
        task: plan.failure * median_low(row.score for row in rows if row.regime == WELL_SET)
        if any(row.regime == WELL_SET for row in rows)
        else 0.0
        for task, rows in base.items()
    }


def _fails(row: Row, failure: Mapping[str, float]) -> bool:
    """Whether a run has failed: it diverged, could not be run, or came to little."""
    return row.state != "ended" or row.score < failure[row.task]


def by_setting(blocks: Sequence[Block]) -> dict[str, list[Block]]:
    """Setting -> its blocks."""
    found: dict[str, list[Block]] = {}
    for block in blocks:
        found.setdefault(next(iter(block.values())).setting, []).append(block)
    return found


def _grouped(blocks: Sequence[Block], arm: str) -> Grouped:
    return {name: np.array([block[arm].score for block in inside]) for name, inside in by_setting(blocks).items()}


def _wilcoxon(ours: Grouped, theirs: Grouped) -> float:
    return aggregate.wilcoxon(np.concatenate([ours[name] - theirs[name] for name in ours]))


def _until(row: Row, threshold: float) -> tuple[float, float]:
    """Share of the steps, and CPU seconds, until a look was as good as wanted; infinite if none was."""
    if row.state != "ended":
        return math.inf, math.inf
    reached = ((step / row.steps, cpu) for step, score, cpu in row.looks if score >= threshold)
    return next(reached, (math.inf, math.inf))


def _cost(blocks: Sequence[Block], baseline: str, reached: Sequence[tuple[Row, float]]) -> float:
    """Median over runs of the CPU seconds until then, as a share of what the baseline takes for a whole run there."""
    whole = {
        name: _mean(block[baseline].cpu for block in inside) or math.nan for name, inside in by_setting(blocks).items()
    }
    return median_low(cpu / whole[row.setting] for row, cpu in reached)


def _ratio(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Geometric mean of ours / theirs, where both are known."""
    logarithms = [math.log(ours / theirs) for ours, theirs in pairs if ours and theirs]
    return math.exp(fmean(logarithms)) if logarithms else None


def _mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
