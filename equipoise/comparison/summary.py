"""Statistics of each arm of a comparison: quality, efficiency, stability, and the comparison with the baseline.

Only complete blocks count (a seed of a setting that every arm has run), so that unfinished comparisons are fair, too.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median_low

import numpy as np

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import IntervalEstimate, ScoresBySetting
from equipoise.comparison.plan import WELL_SET, ComparisonPlan
from equipoise.comparison.population import member_count
from equipoise.comparison.results import RunResult

SIGNIFICANCE_LEVEL = 0.05

Block = Mapping[str, RunResult]
"""Arm -> its run, for one setting and seed."""


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """Comparison of an arm with the baseline.

    `p` (Wilcoxon), `failure_p` (McNemar): p-values, Holm-corrected for the number of arms. `difference`: of the
    interquartile means. `improvement`: probability of improvement. `pairs`: pairs of runs with different scores, the
    sample size of p. `direction`: of the signed-rank test, 1 for better, -1 for worse. `settings_better`: settings in
    which the mean score is higher than the baseline's.
    """

    difference: IntervalEstimate
    improvement: IntervalEstimate
    p: float
    failure_p: float
    pairs: int
    direction: int
    settings_better: int

    @property
    def significance(self) -> int:
        """1 for significantly better, -1 for worse, 0 if not significant or if the interquartile means disagree."""
        agrees = self.direction * self.difference.value > 0
        return self.direction if self.p < SIGNIFICANCE_LEVEL and agrees else 0


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """Statistics of an arm. Scores are from 0 to 1; a statistic without runs is None.

    `quality`: interquartile mean of the scores. `settings`: setting -> mean score.
    `cpu_seconds`: mean CPU time of a run. `cpu_ratio`: CPU time relative to the baseline's, geometric mean of pairs.
    `reached`: runs that reach the final score of the baseline's median run; `steps_to_baseline`, `cpu_to_baseline`:
    median share of the steps, and of the baseline's CPU time, until then; infinite if fewer than half reach it.
    `failure_rate`: share of failed runs, of which `diverged` diverged and `crashed` could not be run. `ended`: the
    others; of these, `score_drop` is the mean difference of the best and the last score, and `spread` the mean
    standard deviation over the last fifth. `collapse`: mean share of readings with lost variety.
    """

    name: str
    runs: int
    quality: IntervalEstimate
    settings: Mapping[str, IntervalEstimate]
    cpu_seconds: float | None
    cpu_ratio: IntervalEstimate | None
    reached: int
    steps_to_baseline: IntervalEstimate
    cpu_to_baseline: IntervalEstimate
    failures: int
    failure_rate: IntervalEstimate
    diverged: int
    crashed: int
    ended: int
    score_drop: IntervalEstimate | None
    spread: IntervalEstimate | None
    collapse: IntervalEstimate | None
    rollbacks: int
    lost_steps: int
    versus_baseline: BaselineComparison | None


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """Statistics of all arms, best quality first. `runs`: number of runs that count, of `total_runs` in the plan.

    `thresholds`: setting -> the final score of the baseline's median run.
    """

    arms: tuple[ArmSummary, ...]
    baseline: str
    runs: int
    total_runs: int
    thresholds: Mapping[str, float]

    def arm(self, name: str) -> ArmSummary:
        """Return the statistics of one arm."""
        return next(arm for arm in self.arms if arm.name == name)


def summarise(plan: ComparisonPlan, runs: Sequence[RunResult]) -> ComparisonSummary | None:
    """Summarise the runs of a plan, without tuning trials; None while there is no complete block."""
    tests = [run for run in runs if run.trial is None]
    blocks = complete_blocks(plan, tests)
    if not blocks:
        return None
    failure_scores = _failure_scores(plan, blocks)
    baseline = {name: [block[plan.baseline] for block in group] for name, group in blocks_by_setting(blocks).items()}
    thresholds = {
        name: max(failure_scores[runs[0].task], median_low(run.known_score for run in runs))
        for name, runs in baseline.items()
    }
    versus_baseline = _compare_with_baseline(plan, blocks, failure_scores)
    arms = [
        _summarise_arm(plan, blocks, arm, thresholds, failure_scores, versus_baseline.get(arm)) for arm in plan.arms
    ]
    ranked = sorted(arms, key=lambda arm: -arm.quality.value)
    return ComparisonSummary(tuple(ranked), plan.baseline, len(blocks) * len(plan.arms), len(tests), thresholds)


def complete_blocks(plan: ComparisonPlan, runs: Sequence[RunResult]) -> list[Block]:
    """Return the seeds of a setting that every arm has run, in the order of the plan."""
    result: dict[tuple[str, int], dict[str, RunResult]] = {}
    for run in runs:
        if run.counts:
            result.setdefault((run.setting, run.seed), {})[run.arm] = run
    return [block for block in result.values() if len(block) == len(plan.arms)]


def _compare_with_baseline(
    plan: ComparisonPlan, blocks: Sequence[Block], failure_scores: Mapping[str, float]
) -> dict[str, BaselineComparison]:
    """Compare each arm with the baseline: arm -> effect sizes and corrected p-values."""
    compared = [arm for arm in plan.arms if arm != plan.baseline]
    scores = {arm: _scores(blocks, arm) for arm in plan.arms}
    base = scores[plan.baseline]
    differences = {arm: _differences(scores[arm], base) for arm in compared}
    failed = {arm: [_has_failed(block[arm], failure_scores) for block in blocks] for arm in plan.arms}
    p = aggregate.holm_correction({arm: aggregate.wilcoxon_signed_rank(differences[arm]) for arm in compared})
    failure_p = aggregate.holm_correction(
        {arm: aggregate.mcnemar_exact(failed[arm], failed[plan.baseline]) for arm in compared}
    )
    return {
        arm: BaselineComparison(
            difference=aggregate.estimate_interquartile_mean_difference(scores[arm], base),
            improvement=aggregate.estimate_probability_of_improvement(scores[arm], base),
            p=p[arm],
            failure_p=failure_p[arm],
            pairs=int(np.count_nonzero(differences[arm])),
            direction=aggregate.signed_rank_direction(differences[arm]),
            settings_better=sum(float(group.mean()) > float(base[name].mean()) for name, group in scores[arm].items()),
        )
        for arm in compared
    }


def _summarise_arm(
    plan: ComparisonPlan,
    blocks: Sequence[Block],
    arm: str,
    thresholds: Mapping[str, float],
    failure_scores: Mapping[str, float],
    versus_baseline: BaselineComparison | None,
) -> ArmSummary:
    runs = [block[arm] for block in blocks]
    scores, baseline_cpu = _scores(blocks, arm), _baseline_cpu(blocks, plan.baseline)
    until = {run.name: _time_to_threshold(run, thresholds[run.setting]) for run in runs}
    trained = member_count(plan) if plan.arms[arm].population in ("winner", "constants") else 1
    failed = group_by_setting(runs, lambda run: float(_has_failed(run, failure_scores)))
    return ArmSummary(
        name=arm,
        runs=len(runs),
        quality=aggregate.estimate_interquartile_mean(scores, aggregate.UNIT),
        settings={name: aggregate.estimate_mean({name: group}, aggregate.UNIT) for name, group in scores.items()},
        cpu_seconds=_mean(run.cpu for run in runs),
        cpu_ratio=_estimate(aggregate.estimate_geometric_mean, _cpu_ratios(blocks, arm, plan.baseline)),
        reached=sum(math.isfinite(share) for share, _ in until.values()),
        steps_to_baseline=aggregate.estimate_median(group_by_setting(runs, lambda run: trained * until[run.name][0])),
        cpu_to_baseline=aggregate.estimate_median(
            group_by_setting(runs, lambda run: _share(until[run.name][1], baseline_cpu.get(run.setting)))
        ),
        failures=int(sum(group.sum() for group in failed.values())),
        failure_rate=aggregate.estimate_mean(failed, aggregate.UNIT),
        diverged=sum(run.state == "diverged" for run in runs),
        crashed=sum(run.state == "failed" for run in runs),
        ended=sum(run.state == "ended" for run in runs),
        score_drop=_estimate(aggregate.estimate_mean, group_by_setting(runs, lambda run: run.score_drop)),
        spread=_estimate(aggregate.estimate_mean, group_by_setting(runs, lambda run: run.spread)),
        collapse=_estimate(aggregate.estimate_mean, group_by_setting(runs, lambda run: run.collapse)),
        rollbacks=sum(run.rollbacks for run in runs),
        lost_steps=sum(run.lost for run in runs),
        versus_baseline=versus_baseline,
    )


def _failure_scores(plan: ComparisonPlan, blocks: Sequence[Block]) -> dict[str, float]:
    """Return task -> the score below which a run has failed: a share of the baseline's median in `well_set`."""
    base: dict[str, list[RunResult]] = {}
    for block in blocks:
        base.setdefault(block[plan.baseline].task, []).append(block[plan.baseline])
    return {
        task: plan.failure * median_low(run.known_score for run in runs if run.regime == WELL_SET)
        if any(run.regime == WELL_SET for run in runs)
        else 0.0
        for task, runs in base.items()
    }


def failed_runs(plan: ComparisonPlan, blocks: Sequence[Block]) -> frozenset[str]:
    """Return the names of the runs that diverged, could not be run, or have too low a score."""
    scores = _failure_scores(plan, blocks)
    return frozenset(run.name for block in blocks for run in block.values() if _has_failed(run, scores))


def _has_failed(run: RunResult, failure_scores: Mapping[str, float]) -> bool:
    """Whether a run diverged, could not be run, or has too low a score."""
    return run.state != "ended" or run.known_score < failure_scores[run.task]


def blocks_by_setting(blocks: Sequence[Block]) -> dict[str, list[Block]]:
    """Group blocks by setting."""
    result: dict[str, list[Block]] = {}
    for block in blocks:
        result.setdefault(next(iter(block.values())).setting, []).append(block)
    return result


def group_by_setting(runs: Iterable[RunResult], value: Callable[[RunResult], float | None]) -> ScoresBySetting:
    """Group a number of each run by setting: name -> (N,). Omits None, NaN and settings without a number."""
    result: dict[str, list[float]] = {}
    for run in runs:
        if (number := value(run)) is not None and not math.isnan(number):
            result.setdefault(run.setting, []).append(number)
    return {name: np.array(values) for name, values in result.items()}


def _scores(blocks: Sequence[Block], arm: str) -> ScoresBySetting:
    return {
        name: np.array([block[arm].known_score for block in group]) for name, group in blocks_by_setting(blocks).items()
    }


def _estimate(
    statistic: Callable[[ScoresBySetting], IntervalEstimate], groups: ScoresBySetting
) -> IntervalEstimate | None:
    """Estimate a statistic; None without runs."""
    return statistic(groups) if groups else None


def _differences(first: ScoresBySetting, second: ScoresBySetting) -> aggregate.ScoreArray:
    """Return (N,) differences of pairs, of all settings."""
    return np.concatenate([first[name] - second[name] for name in first])


def _time_to_threshold(run: RunResult, threshold: float) -> tuple[float, float]:
    """Return the share of the steps and the CPU seconds until a score reaches a threshold; infinite if none does."""
    if run.state != "ended":
        return math.inf, math.inf
    reached = ((step / run.steps, cpu) for step, score, cpu in run.curve if score >= threshold)
    return next(reached, (math.inf, math.inf))


def _baseline_cpu(blocks: Sequence[Block], baseline: str) -> dict[str, float]:
    """Return setting -> mean CPU seconds of a run of the baseline; omits settings in which no run of it ended."""
    groups = group_by_setting((block[baseline] for block in blocks), lambda run: run.cpu)
    return {name: float(group.mean()) for name, group in groups.items()}


def _share(cpu: float, baseline_cpu: float | None) -> float:
    """Return CPU seconds as a share of a run of the baseline; infinite if no run of it ended."""
    return cpu / baseline_cpu if baseline_cpu else math.inf


def _cpu_ratios(blocks: Sequence[Block], arm: str, baseline: str) -> ScoresBySetting:
    """Return setting -> CPU seconds of each run relative to the baseline's with the same seed, where both ended."""
    baseline_cpu = {(block[baseline].setting, block[baseline].seed): block[baseline].cpu for block in blocks}

    def ratio(run: RunResult) -> float | None:
        base = baseline_cpu[run.setting, run.seed]
        return run.cpu / base if run.cpu and base else None

    return group_by_setting((block[arm] for block in blocks), ratio)


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None."""
    present = [value for value in values if value is not None]
    return fmean(present) if present else None
