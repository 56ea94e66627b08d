"""What the rows of a comparison come to, arm by arm: quality, efficiency, stability, and each against the baseline.

Only whole blocks count, seeds of a setting in which every arm has run, so that an unfinished comparison is fair too.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median_low

import numpy as np

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import Estimate, Grouped
from equipoise.comparison.plan import WELL_SET, Plan
from equipoise.comparison.results import Row

SURE = 0.05
"""A corrected p-value below this is called sure."""

Block = Mapping[str, Row]
"""Arm -> its row, of one setting and seed."""


@dataclass(frozen=True, slots=True)
class Against:
    """An arm against the baseline. `p`, `failures_p`: corrected for as many arms as there are (Holm).

    `pairs`: of runs whose scores differ, which is what p counts. `lean`: which side its test leans to, 1 for better, -1
    for worse. `ahead`: settings in which the mean score is above the baseline's.
    """

    difference: Estimate
    improvement: Estimate
    p: float
    failures_p: float
    pairs: int
    lean: int
    ahead: int

    @property
    def surely(self) -> int:
        """1 for better, -1 for worse: where the test is sure, and the interquartile means are of one mind with it."""
        agreed = self.lean * self.difference.value > 0
        return self.lean if self.p < SURE and agreed else 0


@dataclass(frozen=True, slots=True)
class Summary:
    """An arm. Scores are from 0 to 1; what has no runs to be told from is None.

    `quality`: interquartile mean of the scores. `settings`: setting -> mean score and its interval.
    `seconds`: CPU time of a run, mean. `cpu`: times that of the baseline (geometric mean of pairs). `reached`: runs
    that became as good as the median run of the baseline ends; `steps`, `cost`: after what share of the steps, and of
    the baseline's CPU seconds, in the median; infinite if more than half did not.
    `failing`: share of runs that failed. `ended`: runs that neither diverged nor could not be run; of these alone are
    `fallen`, the mean score lost between the best look and the last, and `spread`, the mean standard deviation over the
    last fifth. `collapse`: mean share of readings with lost variety.
    """

    arm: str
    runs: int
    quality: Estimate
    settings: Mapping[str, Estimate]
    seconds: float | None
    cpu: Estimate | None
    reached: int
    steps: Estimate
    cost: Estimate
    failures: int
    failing: Estimate
    diverged: int
    crashed: int
    ended: int
    fallen: Estimate | None
    spread: Estimate | None
    collapse: Estimate | None
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
    ends = {name: [block[plan.baseline] for block in inside] for name, inside in by_setting(blocks).items()}
    thresholds = {
        name: max(failure[inside[0].task], median_low(row.scored for row in inside)) for name, inside in ends.items()
    }
    others = [arm for arm in plan.arms if arm != plan.baseline]
    scores = {arm: _grouped(blocks, arm) for arm in plan.arms}
    worse = aggregate.holm({arm: _wilcoxon(scores[arm], scores[plan.baseline]) for arm in others})
    failing = {arm: [_fails(block[arm], failure) for block in blocks] for arm in plan.arms}
    failed = aggregate.holm({arm: aggregate.mcnemar(failing[arm], failing[plan.baseline]) for arm in others})
    result = []
    for arm in plan.arms:
        against = None
        if arm in others:
            pair = scores[arm], scores[plan.baseline]
            against = Against(
                aggregate.interquartile_difference(*pair),
                aggregate.probability_of_improvement(*pair),
                worse[arm],
                failed[arm],
                int(np.count_nonzero(_differences(*pair))),
                aggregate.lean(_differences(*pair)),
                sum(float(group.mean()) > float(pair[1][name].mean()) for name, group in pair[0].items()),
            )
        result.append(_summary(plan, blocks, arm, thresholds, failure, against))
    best = sorted(result, key=lambda one: -one.quality.value)
    return Summaries(tuple(best), plan.baseline, len(blocks) * len(plan.arms), len(tests), thresholds)


def whole_blocks(plan: Plan, tests: Sequence[Row]) -> list[Block]:
    """Seeds of a setting in which every arm has run, in the order of the plan."""
    result: dict[tuple[str, int], dict[str, Row]] = {}
    for row in tests:
        if row.counts:
            result.setdefault((row.setting, row.seed), {})[row.arm] = row
    return [block for block in result.values() if len(block) == len(plan.arms)]


def _summary(
    plan: Plan,
    blocks: Sequence[Block],
    arm: str,
    thresholds: Mapping[str, float],
    failure: Mapping[str, float],
    against: Against | None,
) -> Summary:
    mine = [block[arm] for block in blocks]
    scores, whole = _grouped(blocks, arm), _whole(blocks, plan.baseline)
    until = {row.name: _until(row, thresholds[row.setting]) for row in mine}
    failing = known(mine, lambda row: float(_fails(row, failure)))
    return Summary(
        arm=arm,
        runs=len(mine),
        quality=aggregate.interquartile(scores, aggregate.UNIT),
        settings={name: aggregate.mean({name: group}, aggregate.UNIT) for name, group in scores.items()},
        seconds=_mean(row.cpu for row in mine),
        cpu=_estimate(aggregate.geometric_mean, _ratios(blocks, arm, plan.baseline)),
        reached=sum(math.isfinite(share) for share, _ in until.values()),
        steps=aggregate.median(known(mine, lambda row: until[row.name][0])),
        cost=aggregate.median(known(mine, lambda row: _share(until[row.name][1], whole.get(row.setting)))),
        failures=int(sum(group.sum() for group in failing.values())),
        failing=aggregate.mean(failing, aggregate.UNIT),
        diverged=sum(row.state == "diverged" for row in mine),
        crashed=sum(row.state == "failed" for row in mine),
        ended=sum(row.state == "ended" for row in mine),
        fallen=_estimate(aggregate.mean, known(mine, _fallen)),
        spread=_estimate(aggregate.mean, known(mine, lambda row: row.spread)),
        collapse=_estimate(aggregate.mean, known(mine, lambda row: row.collapse)),
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
        task: plan.failure * median_low(row.scored for row in rows if row.regime == WELL_SET)
        if any(row.regime == WELL_SET for row in rows)
        else 0.0
        for task, rows in base.items()
    }


def _fails(row: Row, failure: Mapping[str, float]) -> bool:
    """Whether a run has failed: it diverged, could not be run, or came to little."""
    return row.state != "ended" or row.scored < failure[row.task]


def by_setting(blocks: Sequence[Block]) -> dict[str, list[Block]]:
    """Setting -> its blocks."""
    result: dict[str, list[Block]] = {}
    for block in blocks:
        result.setdefault(next(iter(block.values())).setting, []).append(block)
    return result


def _grouped(blocks: Sequence[Block], arm: str) -> Grouped:
    return {name: np.array([block[arm].scored for block in inside]) for name, inside in by_setting(blocks).items()}


def known(rows: Iterable[Row], of: Callable[[Row], float | None]) -> Grouped:
    """Setting -> a number of each row, (N,); without those that have none or are not a number, and empty settings."""
    result: dict[str, list[float]] = {}
    for row in rows:
        if (value := of(row)) is not None and not math.isnan(value):
            result.setdefault(row.setting, []).append(value)
    return {name: np.array(values) for name, values in result.items()}


def _estimate(statistic: Callable[[Grouped], Estimate], groups: Grouped) -> Estimate | None:
    """None of nothing."""
    return statistic(groups) if groups else None


def _fallen(row: Row) -> float | None:
    """The score lost between the best look and the last."""
    return None if row.best is None or row.last is None else row.best - row.last


def _wilcoxon(ours: Grouped, theirs: Grouped) -> float:
    return aggregate.wilcoxon(_differences(ours, theirs))


def _differences(ours: Grouped, theirs: Grouped) -> aggregate.Numbers:
    """(N,), pair by pair, of all settings."""
    return np.concatenate([ours[name] - theirs[name] for name in ours])


def _until(row: Row, threshold: float) -> tuple[float, float]:
    """Share of the steps, and CPU seconds, until a look was as good as wanted; infinite if none was."""
    if row.state != "ended":
        return math.inf, math.inf
    reached = ((step / row.steps, cpu) for step, score, cpu in row.looks if score >= threshold)
    return next(reached, (math.inf, math.inf))


def _whole(blocks: Sequence[Block], baseline: str) -> dict[str, float]:
    """Setting -> the CPU seconds that the baseline takes for a whole run, mean; but where it never ended."""
    groups = known((block[baseline] for block in blocks), lambda row: row.cpu)
    return {name: float(group.mean()) for name, group in groups.items()}


def _share(cpu: float, whole: float | None) -> float:
    """CPU seconds as a share of a whole run of the baseline; infinite where that never ended."""
    return cpu / whole if whole else math.inf


def _ratios(blocks: Sequence[Block], arm: str, baseline: str) -> Grouped:
    """Setting -> CPU seconds of a run, times those of the baseline with its seed, where both are known."""
    theirs = {(block[baseline].setting, block[baseline].seed): block[baseline].cpu for block in blocks}

    def ratio(row: Row) -> float | None:
        other = theirs[row.setting, row.seed]
        return row.cpu / other if row.cpu and other else None

    return known((block[arm] for block in blocks), ratio)


def _mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
