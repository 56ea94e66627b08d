"""Report of a comparison: results.jsonl, results.md, and report.html, one file that can be opened from disk."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from equipoise.comparison import conclusions, cost_figures, figures, model_tables, plan_runs, results, tables
from equipoise.comparison.calibration import ROUNDS
from equipoise.comparison.caveats import find_budget_caveats, find_caveats, label_arms
from equipoise.comparison.claims import EvaluatedClaim, describe_decisions, evaluate_claims
from equipoise.comparison.execution import read_anchors
from equipoise.comparison.folder import PLAN_TOML, ComparisonFolder, PlanRecord, open_comparison, read_tuned_arms
from equipoise.comparison.job_calls import last_line
from equipoise.comparison.machines import describe_machines, read_machines
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import TaskSetting
from equipoise.comparison.population_tables import population_tables
from equipoise.comparison.results import RunResult
from equipoise.comparison.sample_figures import render_sample_grids
from equipoise.comparison.scores import Anchors
from equipoise.comparison.summary import Block, ComparisonSummary, complete_blocks, failed_runs, summarise
from equipoise.comparison.tables import ReportTable
from equipoise.errors import RunError, unwritable
from equipoise.report import html
from equipoise.report.formatting import format_duration
from equipoise.runs.artifacts import write_text

PAGE, TABLE, LINES = "report.html", "results.md", "results.jsonl"
TEMPLATE = "comparison/templates/comparison.html"
NO_BLOCKS = "No seed has been run by all arms yet, so nothing can be compared."
CONTROL = """\
With the same seed, all arms start from the same weights and get the same order of reals and number of steps. Latents
are equal until the arms draw different numbers of random values, for instance for noise or augmentation. All samples
come from the same running average of the weights."""
MODELS = """\
With the same seed, arms with the same model start from the same weights, and arms with the same batch size get the same
order of reals. Each model has its own running average of the weights, from which samples come. Settings are those of
the plan: no arm was tuned here, and published settings differ in how well they were tuned. {budget} An arm that starts
from another run has the same length again for its own training; both times are shown. Samples are timed 16 at once, on
one thread. An arm that samples from the run of another is evaluated once, at its end. A claim holds for a pair of arms
in a setting if the 95 % interval of the mean difference between them, seed by seed, is on the claimed side of zero."""
BUDGET = """\
Tasks with a budget have as many steps as fit into the same CPU seconds of training for each arm, by a calibration
before the first run, in which the arms were measured in turn, {rounds} times; the median counted."""
POPULATION = """\
The arm population shows the best member of population-based training, charged with the time of all {members} members;
best_constant the best of as many runs with constant knobs, at the same cost. Both are chosen by the live metric."""
METHOD = """\
{pairs} Samples are evaluated with the reported metric on held-out data, never
through the network of the live metric; two metrics without a network both compare the samples themselves and differ
only in the statistic. Where a data set has a fixed number of held-out reals, the reported metric, the live metric and
the probes use the same ones. A run that diverged or crashed scores 0 and counts as failed; so does a run whose score is
below {failure:.0%} of the score of the baseline's median run in the task, in regime well_set. Score of a run:
{snapshot}. CPU time is measured for the process of the run: training, probes, live metrics, checkpoints, rollbacks and
the controller, without the reported metric. Intervals: bootstrap within each setting, 10,000 resamples, widened for
small numbers of runs. P-values are two-sided and Holm-corrected for the number of arms. They count runs, not tasks, so
they generalise to other seeds; the column "better in" shows how far tasks and regimes agree. The drop from best to last
score and the standard deviation exist only for runs that ended."""
SNAPSHOTS = {
    "last": "its last samples",
    "best": "the samples with the best live metric, the same rule for every arm",
    "last_fifth": "the mean over its last fifth",
}


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure as PNG for a desktop and for a phone, with its caption and its text alternative."""

    wide: bytes
    narrow: bytes
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class ClaimSection:
    """A tested claim as the page shows it."""

    text: str
    verdict: str
    table: ReportTable

    def markdown(self) -> str:
        """Return the section as Markdown."""
        title, _, table = self.table.markdown().partition("\n\n")
        return f"{title}\n\n{self.text} **{self.verdict}**\n\n{table}"


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """Content of results.md, and of the page without its figures. `tables`: all tables except `runs`.

    `overview`, `claims`: of the claims of the plan, if it has any.
    """

    name: str
    scope: str
    answers: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    tables: tuple[ReportTable, ...]
    runs: ReportTable
    overview: ReportTable | None = None
    claims: tuple[ClaimSection, ...] = ()

    def markdown(self) -> str:
        """Return the report as Markdown."""
        paragraphs = [(f"**{title}.** {text}") for title, text in self.answers]
        paragraphs += [f"**Caveat.** {text}" for text in self.warnings]
        parts = (self.overview, *self.claims, *self.tables, self.runs)
        tables = [part.markdown() for part in parts if part is not None]
        return "\n\n".join((f"# {self.name}", self.scope, *paragraphs, *tables)) + "\n"


def write_report(folder: ComparisonFolder) -> Path:
    """Write the report on all existing runs; return the path of report.html.

    Raises RunError if the folder is not a comparison, is damaged, or cannot be written.
    """
    record = open_comparison(folder)
    runs = results.load_results(record.plan, folder)
    summary = summarise(record.plan, runs)
    anchors = _read_anchors(record.plan, folder)
    report = _report(record.plan, folder, runs, summary, anchors)
    page = _render_page(folder, record, report, runs, summary, anchors)
    try:
        results.write_results(folder.path / LINES, runs)
        write_text(folder.path / TABLE, report.markdown())
        write_text(folder.path / PAGE, page)
    except OSError as error:
        raise RunError(unwritable(folder.path, error, has_out=True)) from error
    return folder.path / PAGE


def _report(
    plan: ComparisonPlan,
    folder: ComparisonFolder,
    runs: Sequence[RunResult],
    summary: ComparisonSummary | None,
    anchors: Mapping[TaskSetting, Anchors],
) -> ComparisonReport:
    caveats = [*find_caveats(plan, folder), *find_budget_caveats(plan, runs)]
    warnings = [*(caveat.text for caveat in caveats), *describe_machines(read_machines(folder))]
    answers, content, claims = [], [], list[EvaluatedClaim]()
    if summary:
        blocks = _blocks(plan, runs)
        claims = evaluate_claims(plan, blocks)
        answers = [
            ("Quality", conclusions.describe_quality(summary)),
            ("Efficiency", conclusions.describe_efficiency(summary)),
            ("Stability", conclusions.describe_stability(summary)),
        ]
        worthless = {
            one.name: anchors[one].best_worthless for one in plan_runs.compared_settings(plan) if one in anchors
        }
        warnings = [*conclusions.warn_unlearned_settings(summary, worthless), *warnings]
        content.append(tables.quality_table(summary, label_arms(caveats)))
        if len(summary.thresholds) > 1:  # a single setting would repeat the first table
            content.append(tables.settings_table(summary))
        if plan.compares_models:
            content.append(model_tables.models_table(plan, blocks))
            content.append(model_tables.cost_table(plan, blocks, failed_runs(plan, blocks)))
        content.append(tables.metrics_table(summary, blocks))
        content += [tables.efficiency_table(summary), tables.stability_table(summary)]
    tuned = read_tuned_arms(folder)
    content += [*population_tables(plan, folder, runs), *([tables.tuning_table(tuned)] if tuned else [])]
    content.append(
        tables.anchors_table({setting.name: values for setting, values in anchors.items() if not setting.tuning})
    )
    return ComparisonReport(
        name=folder.path.resolve().name,
        scope=_describe_scope(plan, summary, claims),
        answers=tuple(answers),
        warnings=tuple(warnings),
        tables=tuple(content),
        runs=tables.runs_table(runs),
        overview=model_tables.claims_table(claims) if claims else None,
        claims=tuple(ClaimSection(one.claim.text, one.verdict, model_tables.claim_table(one)) for one in claims),
    )


def _describe_scope(plan: ComparisonPlan, summary: ComparisonSummary | None, claims: Sequence[EvaluatedClaim]) -> str:
    """Describe what was compared, and how claims are decided, if there are any."""
    scope = conclusions.describe_scope(summary, _equal_parts(plan)) if summary else NO_BLOCKS
    return f"{scope} {describe_decisions(claims)}" if claims else scope


def _equal_parts(plan: ComparisonPlan) -> str:
    """Return what all arms have in common."""
    budgets = {task.cpu_seconds for task in plan.tasks.values()}
    if budgets == {None}:
        return "tasks, steps and seeds"
    times = " or ".join(format_duration(budget) for budget in sorted(budget for budget in budgets if budget))
    return f"tasks and seeds, and {times} of CPU time for training{' or the same steps' * (None in budgets)}"


def _describe_method(plan: ComparisonPlan) -> str:
    """Describe how the runs were made and evaluated."""
    has_budget = any(task.cpu_seconds is not None for task in plan.tasks.values())
    models = MODELS.format(budget=BUDGET.format(rounds=ROUNDS) if has_budget else "")
    pairs = models if plan.compares_models or has_budget else CONTROL
    if plan.population is not None:
        pairs += " " + POPULATION.format(members=plan.population.members)
    text = METHOD.format(pairs=pairs, failure=plan.failure, snapshot=SNAPSHOTS[plan.snapshot])
    return " ".join(text.split())


def _render_page(
    folder: ComparisonFolder,
    record: PlanRecord,
    report: ComparisonReport,
    runs: Sequence[RunResult],
    summary: ComparisonSummary | None,
    anchors: Mapping[TaskSetting, Anchors],
) -> str:
    plan = record.plan
    blocks = _blocks(plan, runs)
    features = {anchor.metric: anchor.features for anchor in anchors.values() if anchor.features}
    return html.render(
        TEMPLATE,
        title=f"{report.name}: comparison of {'models' if plan.compares_models else 'controllers'}",
        report=report,
        figures=_figures(plan, summary, blocks) if summary else [],
        samples=render_sample_grids(folder, summary, blocks) if summary else [],
        failed=[(run.name, last_line(folder, run.name)) for run in runs if run.state == "failed"],
        method=_describe_method(plan),
        origin=[
            ("plan, SHA-256", record.digest),
            *record.versions.items(),
            *((f"features of {metric}", digest) for metric, digest in features.items()),
        ],
        plan_toml=(folder.path / PLAN_TOML).read_text(),
        plan_json=json.dumps(record.values, indent=2, ensure_ascii=False),
    )


def _blocks(plan: ComparisonPlan, runs: Sequence[RunResult]) -> list[Block]:
    return complete_blocks(plan, [run for run in runs if run.trial is None])


def _read_anchors(plan: ComparisonPlan, folder: ComparisonFolder) -> dict[TaskSetting, Anchors]:
    """Read the existing anchors, by the setting in which they were measured, including tuning."""
    settings = [*plan_runs.compared_settings(plan), *(run.setting for run in plan_runs.tuning_runs(plan))]
    anchor_settings = dict.fromkeys(plan_runs.anchor_setting(plan, setting) for setting in settings)
    return {setting: anchors for setting in anchor_settings if (anchors := read_anchors(folder, setting)) is not None}


def _model_figures(plan: ComparisonPlan, blocks: Sequence[Block]) -> list[ReportFigure]:
    """Render the figures of a comparison of models: quality against the cost of samples and of training."""
    return [
        ReportFigure(
            cost_figures.plot_sampling_cost(plan, blocks),
            cost_figures.plot_sampling_cost(plan, blocks, figures.NARROW),
            "Quality against the cost of a sample",
            "Each point is an arm; lines connect arms that sample from the same runs.",
        ),
        ReportFigure(
            cost_figures.plot_training_cost(plan, blocks),
            cost_figures.plot_training_cost(plan, blocks, figures.NARROW),
            "Quality against the CPU time of training",
            "Medians. An arm that starts from another run begins where that one ends.",
        ),
    ]


def _figures(plan: ComparisonPlan, summary: ComparisonSummary, blocks: Sequence[Block]) -> list[ReportFigure]:
    def render(plot: Callable[[int], bytes], alt: str, caption: str) -> ReportFigure:
        return ReportFigure(plot(figures.WIDE), plot(figures.NARROW), alt, caption)

    content = _model_figures(plan, blocks) if plan.compares_models else []
    content.append(
        render(
            lambda columns: figures.plot_quality(summary, blocks, columns),
            conclusions.describe_quality(summary),
            "All settings. Grey: the baseline.",
        )
    )
    if len(summary.thresholds) > 1:
        content.append(
            render(
                lambda columns: figures.plot_settings(summary, blocks, columns),
                "Scores in each setting",
                "Line: the median run. Dotted line: the median run of the baseline.",
            )
        )
    if not plan.compares_models:  # steps of different models are no common scale
        content.append(
            render(
                lambda columns: figures.plot_curves(summary, blocks, columns),
                "Scores over steps",
                "Median and quartiles of the runs at each evaluation.",
            )
        )
    content.append(
        render(
            lambda columns: figures.plot_stability(summary, columns),
            conclusions.describe_stability(summary),
            "Grey: the baseline.",
        )
    )
    return content
