"""Tables of a comparison: headings and rows of cells, for the page and for Markdown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.conclusions import format_estimate, format_interval, format_share
from equipoise.comparison.folder import TunedArm
from equipoise.comparison.results import RunResult
from equipoise.comparison.scores import Anchors
from equipoise.comparison.summary import (
    ArmSummary,
    BaselineComparison,
    Block,
    ComparisonSummary,
    blocks_by_setting,
    group_by_setting,
)
from equipoise.report.formatting import format_duration, format_number

NONE = "–"


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A title, headings, and rows of the same length."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [self.headings, tuple("---" for _ in self.headings), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"## {self.title}\n\n{body}"


def quality_table(summary: ComparisonSummary, labels: Mapping[str, str] | None = None) -> ReportTable:
    """Tabulate interquartile means, and each arm against the baseline. `labels`: arm -> its name with caveats."""
    rows = tuple(
        (
            (labels or {}).get(arm.name, arm.name),
            format_interval(arm.quality),
            *_versus_baseline(arm.versus_baseline, len(summary.thresholds)),
            str(arm.runs),
        )
        for arm in summary.arms
    )
    headings = (
        *("arm", "score", "difference from baseline", "probability of improvement"),
        *("p (Wilcoxon, Holm)", "better in", "runs"),
    )
    return ReportTable("Quality: interquartile mean score with 95 % interval", headings, rows)


def _versus_baseline(versus: BaselineComparison | None, settings: int) -> tuple[str, str, str, str]:
    if versus is None:
        return "baseline", NONE, NONE, NONE
    better = f"{versus.settings_better} of {settings} settings"
    return format_interval(versus.difference), format_interval(versus.improvement), f"{versus.p:.3g}", better


def settings_table(summary: ComparisonSummary) -> ReportTable:
    """Tabulate mean scores, setting by setting."""
    names = list(summary.arms[0].settings)
    rows = tuple((arm.name, *(format_interval(arm.settings[name]) for name in names)) for arm in summary.arms)
    return ReportTable("Quality: mean score with 95 % interval in each setting", ("arm", *names), rows)


def metrics_table(summary: ComparisonSummary, blocks: Sequence[Block]) -> ReportTable:
    """Tabulate the values of the reported metric, and of additional metrics of the last samples."""
    runs = [run for block in blocks for run in block.values()]
    reported = dict.fromkeys(run.metric for run in runs)
    also = dict.fromkeys(metric for run in runs for metric in run.also)
    columns = [*((name, True) for name in reported), *((name, False) for name in also)]
    rows = []
    for name, group in blocks_by_setting(blocks).items():
        for arm in summary.arms:
            runs_of_arm = [block[arm.name] for block in group]
            rows.append(
                (name, arm.name, *(_metric(runs_of_arm, metric, is_reported) for metric, is_reported in columns))
            )
    labels = (f"{metric}, reported" if is_reported else metric for metric, is_reported in columns)
    title = "Quality: metric values, interquartile mean with 95 % interval"
    return ReportTable(title, ("setting", "arm", *labels), tuple(rows))


def efficiency_table(summary: ComparisonSummary) -> ReportTable:
    """Tabulate the cost of runs, and the time until they are as good as the baseline."""
    rows = tuple(
        (
            arm.name,
            NONE if arm.cpu_seconds is None else _of_ended(arm, format_duration(arm.cpu_seconds)),
            "baseline" if arm.name == summary.baseline else _estimate(arm.cpu_ratio, ".2f"),
            f"{arm.reached} of {arm.runs}",
            _share_until(arm.steps_to_baseline),
            _share_until(arm.cpu_to_baseline),
        )
        for arm in summary.arms
    )
    headings = (
        *("arm", "CPU time of a run, mean", "relative to baseline, pairs that ended"),
        *("reached the baseline's final score", "after this share of the steps", "of the baseline's CPU time"),
    )
    return ReportTable("Efficiency: means and medians with 95 % intervals", headings, rows)


def stability_table(summary: ComparisonSummary) -> ReportTable:
    """Tabulate failures, drops and fluctuation of the score, lost variety and rollbacks."""
    rows = tuple(
        (
            arm.name,
            f"{arm.failures} of {arm.runs}",
            _estimate(arm.failure_rate, ".0%"),
            str(arm.diverged),
            str(arm.crashed),
            f"{arm.versus_baseline.failure_p:.3g}" if arm.versus_baseline else "baseline",
            _of_ended(arm, _estimate(arm.score_drop, ".3f")),
            _of_ended(arm, _estimate(arm.spread, ".3f")),
            "none" if arm.collapse and not arm.collapse.high else _estimate(arm.collapse, ".1%"),
            f"{arm.rollbacks} ({arm.lost_steps:,} steps)",
        )
        for arm in summary.arms
    )
    headings = (
        *("arm", "failed", "share", "of these diverged", "crashed", "p (McNemar, Holm)"),
        *("drop from best to last score", "std over the last fifth", "readings with lost variety", "rollbacks"),
    )
    return ReportTable("Stability: means with 95 % intervals", headings, rows)


def runs_table(runs: Sequence[RunResult]) -> ReportTable:
    """Tabulate all runs of the plan, also unfinished and failed ones."""
    rows = tuple(
        (
            run.name,
            run.state,
            _score(run.score) if run.counts else NONE,
            NONE if run.value is None else f"{run.metric} {format_number(run.value)}",
            _score(run.best),
            NONE if run.cpu is None else f"{run.cpu:.1f}",
            NONE if run.sampling is None else f"{run.sampling.cpu_seconds_per_1000:.3g}",
            run.verdict or NONE,
            (run.weights or NONE)[:12],
        )
        for run in runs
    )
    headings = (
        *("run", "state", "score", "reported", "best score", "CPU s", "CPU s per 1,000 samples"),
        *("verdict", "SHA-256 of the weights"),
    )
    return ReportTable("All runs", headings, rows)


def tuning_table(tuned: Mapping[str, TunedArm]) -> ReportTable:
    """Tabulate the selected settings of each arm, and the score of each trial."""
    rows = tuple(
        (
            arm,
            ", ".join(
                f"{key} = {format_number(value) if isinstance(value, float) else value}"
                for key, value in tuned_arm.options.items()
            )
            or "as written",
            ", ".join(f"{score:.3f}" for score in tuned_arm.scores),
        )
        for arm, tuned_arm in tuned.items()
    )
    return ReportTable("Tuning", ("arm", "selected", "mean score of each trial, the first as written"), rows)


def anchors_table(anchors: Mapping[str, Anchors]) -> ReportTable:
    """Tabulate the anchors of scores: by task, and by setting with other data."""
    rows = tuple(
        (
            name,
            f"{values.metric}, {values.better} is better",
            ", ".join(f"{kind} {format_number(value)}" for kind, value in values.worthless.items()),
            ", ".join(format_number(value) for value in values.real),
            (values.features or "")[:22] or "no network: the samples themselves",
        )
        for name, values in anchors.items()
    )
    headings = ("setting", "reported metric", "score 0: the worst of", "score 1: reals", "features, SHA-256")
    return ReportTable("Anchors of the scores", headings, rows)


def _metric(runs: Sequence[RunResult], metric: str, is_reported: bool) -> str:
    """Format a metric of the runs of an arm in one setting, with the number of runs that lack it."""
    groups = group_by_setting(runs, lambda run: _value(run, metric, is_reported))
    if not groups:
        return NONE
    missing = len(runs) - sum(map(len, groups.values()))
    suffix = f", missing in {missing}" if missing else ""
    return format_estimate(aggregate.estimate_interquartile_mean(groups), format_number) + suffix


def _value(run: RunResult, metric: str, is_reported: bool) -> float | None:
    """Return the value of a metric, if it is finite."""
    value = run.also.get(metric) if not is_reported else run.value if run.metric == metric else None
    return value if value is not None and math.isfinite(value) else None


def _estimate(estimate: IntervalEstimate | None, number_format: str) -> str:
    return NONE if estimate is None else format_estimate(estimate, lambda value: format(value, number_format))


def _of_ended(arm: ArmSummary, text: str) -> str:
    """Append the number of ended runs, to which the statistic refers, if not all runs have ended."""
    is_complete = arm.ended == arm.runs or text == NONE
    return text if is_complete else f"{text}, of {arm.ended} ended run{'s' * (arm.ended > 1)}"


def _share_until(estimate: IntervalEstimate) -> str:
    """Format a share of a run; an infinite one was not reached."""
    return format_estimate(estimate, format_share) if math.isfinite(estimate.value) else "not in half of the runs"


def _score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
