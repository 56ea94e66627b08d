"""Tables of a comparison of models: what each arm is, how long it trains and samples, and which claims hold."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median, stdev

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import IntervalEstimate, ScoresBySetting
from equipoise.comparison.claims import EvaluatedClaim, PairOutcome
from equipoise.comparison.conclusions import format_estimate
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import Block, blocks_by_setting, group_by_setting
from equipoise.comparison.tables import NONE, ReportTable
from equipoise.report.formatting import format_count, format_duration, format_number

OUTCOMES = {
    "holds": "holds",
    "opposite": "the opposite",
    "equal": "no difference",
    "at the limit": "both at the limit of the score",
    "undecided": "undecided",
    "not measured": "not measured",
}
"""Outcome of a claim for a pair of arms -> words."""


def models_table(plan: ComparisonPlan, blocks: Sequence[Block]) -> ReportTable:
    """Tabulate what each arm is in each setting: model, sampling, weights, steps."""
    rows = []
    for setting, group in blocks_by_setting(blocks).items():
        for name, runs in _runs_by_arm(plan, group):
            arm = plan.arms[name]
            sampling = ", ".join(f"{key} = {value}" for key, value in arm.sampling.settings().items())
            start = f"the run of {arm.start_from}" if arm.start_from else NONE
            rows.append(
                (
                    setting,
                    name,
                    _one(run.model for run in runs),
                    sampling or "as trained",
                    f"sampled from {arm.run}" if arm.run else start,
                    _count(run.weights_count for run in runs),
                    _count(run.trained_weights for run in runs),
                    NONE if arm.run else _count(run.steps for run in runs),
                )
            )
    headings = (
        *("setting", "arm", "model", "sampling", "starts from"),
        *("parameters for sampling", "trained parameters", "steps"),
    )
    return ReportTable("Arms", headings, tuple(rows))


def cost_table(plan: ComparisonPlan, blocks: Sequence[Block], failed: frozenset[str]) -> ReportTable:
    """Tabulate the cost of training and of samples, failures, and how much the score varies between seeds."""
    rows = []
    for setting, group in blocks_by_setting(blocks).items():
        for name, runs in _runs_by_arm(plan, group):
            scores = [run.known_score for run in runs]
            rows.append(
                (
                    setting,
                    name,
                    _mean_duration([run.cpu for run in runs]),
                    _mean_duration([None if run.cpu is None else run.cpu + run.start_cpu for run in runs]),
                    _estimate(aggregate.estimate_geometric_mean, runs, _sampling_cpu, format_number),
                    *(_time_to(plan, name, runs, target) for target in plan.targets),
                    _estimate(_mean_score, runs, lambda run: run.known_score, "{:.3f}".format),
                    f"{stdev(scores):.3f}" if len(scores) > 1 else NONE,
                    f"{sum(run.name in failed for run in runs)} of {len(runs)}",
                )
            )
    headings = (
        *("setting", "arm", "CPU time of training", "with the run that it starts from", "CPU s per 1,000 samples"),
        *(f"CPU time until score {target:g}" for target in plan.targets),
        *("score, mean with 95 % interval", "standard deviation between seeds", "failed"),
    )
    return ReportTable("Cost, quality and stability of each arm", headings, tuple(rows))


def claims_table(claims: Sequence[EvaluatedClaim]) -> ReportTable:
    """Tabulate all claims with their verdicts."""
    rows = tuple((evaluated.claim.aspect, evaluated.claim.text, evaluated.verdict) for evaluated in claims)
    return ReportTable("Claims", ("aspect", "claim", "on these runs"), rows)


def claim_table(evaluated: EvaluatedClaim) -> ReportTable:
    """Tabulate the outcome of one claim, pair by pair."""
    rows = tuple(_claim_row(evaluated, pair) for pair in evaluated.pairs)
    headings = (
        *("setting", "arm", evaluated.measure.label, "compared with", "value of that"),
        *("ratio" if evaluated.measure.is_ratio else "difference", "seeds", "the claim"),
    )
    return ReportTable(evaluated.claim.aspect, headings, rows)


def _claim_row(evaluated: EvaluatedClaim, pair: PairOutcome) -> tuple[str, ...]:
    return (
        pair.setting,
        pair.better,
        _interval(pair.left),
        pair.worse,
        _interval(pair.right),
        _interval(pair.difference),
        str(pair.seeds) if pair.measured == pair.seeds else f"{pair.measured} of {pair.seeds}",
        OUTCOMES[pair.outcome],
    )


def _runs_by_arm(plan: ComparisonPlan, group: Sequence[Block]) -> list[tuple[str, list[RunResult]]]:
    return [(name, [block[name] for block in group]) for name in plan.arms]


def time_to_score(run: RunResult, target: float) -> float:
    """Return the CPU seconds of training until a score reaches a target, by its measurements; infinite if none does, or
    if the run did not end."""
    if run.state != "ended":
        return math.inf
    return next((cpu for _, score, cpu in run.curve if score >= target), math.inf)


def _time_to(plan: ComparisonPlan, arm: str, runs: Sequence[RunResult], target: float) -> str:
    """Format the median time until a score, with the run that the arm starts from in brackets."""
    if plan.arms[arm].run is not None:
        return "evaluated at the end only"
    own = median(time_to_score(run, target) for run in runs)
    if not math.isfinite(own):
        return f"in {sum(math.isfinite(time_to_score(run, target)) for run in runs)} of {len(runs)} runs"
    if not any(run.start_cpu for run in runs):
        return format_duration(own)
    return f"{format_duration(own)} ({format_duration(own + fmean(run.start_cpu for run in runs))} with its start)"


def _sampling_cpu(run: RunResult) -> float | None:
    return None if run.sampling is None else run.sampling.cpu_seconds_per_1000


def _estimate(
    statistic: Callable[[ScoresBySetting], IntervalEstimate],
    runs: Sequence[RunResult],
    value: Callable[[RunResult], float | None],
    number: Callable[[float], str],
) -> str:
    groups = group_by_setting(runs, value)
    return format_estimate(statistic(groups), number) if groups else NONE


def _mean_score(groups: ScoresBySetting) -> IntervalEstimate:
    return aggregate.estimate_mean(groups, aggregate.UNIT)


def _mean_duration(values: Sequence[float | None]) -> str:
    present = [value for value in values if value is not None]
    return format_duration(fmean(present)) if present else NONE


def _interval(estimate: IntervalEstimate | None) -> str:
    return NONE if estimate is None else format_estimate(estimate, format_number)


def _count(values: Iterable[int | None]) -> str:
    """Format a number that the runs of an arm share; the range if they differ."""
    present = [value for value in values if value]
    if not present:
        return NONE
    low, high = format_count(min(present)), format_count(max(present))
    return low if low == high else f"{low} to {high}"


def _one(values: Iterable[str | None]) -> str:
    return next((value for value in values if value), NONE)
