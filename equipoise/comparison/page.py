"""The report of a comparison: results.jsonl, results.md, and one page that opens from disk with everything in it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.comparison import pictures, planned, results, tables, verdicts
from equipoise.comparison.cautions import Caution, cautions, marks
from equipoise.comparison.folder import Folder, opened, read_json
from equipoise.comparison.follow import read_anchors
from equipoise.comparison.gallery import galleries
from equipoise.comparison.plan import Plan
from equipoise.comparison.results import Row
from equipoise.comparison.summary import Summaries, summarise, whole_blocks
from equipoise.comparison.tables import Table
from equipoise.errors import RunError, unwritable
from equipoise.report import markup
from equipoise.report.markup import Markup
from equipoise.report.stylesheet import STYLE
from equipoise.runs import run_folder as runs

PAGE, TABLE, LINES = "report.html", "results.md", "results.jsonl"
METHOD = """\
Pairs: with the same seed all arms have the same weights at the start, the same order of reals and number of steps;
latents are the same until the knobs of one draw more random numbers, or fewer, than those of another, as noise and
augmentation do. Samples come from the same running average. They are judged by the reported metric, on held-out data,
and never through a network that the live metric looks through; two metrics without a network look at the samples
themselves, and differ in what they measure of them alone. Where a data set holds out a fixed number of reals, judge,
live metric and probes look at the same ones. A run that diverged, or could not be run, counts 0; it has failed, as has
one whose score is below {failure:.0%} of what the median run of the baseline has in that task, well set. What counts of
a run: {snapshot}. CPU time is that of the run's process: training, probes, live metrics, checkpoints, rollbacks and the
controller; looks from outside are left out. Intervals: bootstrap within each setting, 10,000 draws, widened by as much
as few runs ask for. P-values are two-sided and corrected for the number of arms; they count runs, not tasks: they tell
what other seeds would come to, and "better in" beside them how far tasks and regimes are of one mind. Only runs that
ended have a loss after the best look, and scatter."""
SNAPSHOTS = {
    "last": "its last samples",
    "best": "the samples that its live metric took for the best, the same rule for every arm",
    "last_fifth": "the mean of its last fifth",
}


def write(folder: Folder) -> Path:
    """Write what a comparison has come to so far; returns the path of report.html.

    Raises RunError if the folder is no comparison, is damaged, or cannot be written.
    """
    plan, kept = opened(folder)
    rows = results.rows(plan, folder)
    result = summarise(plan, rows)
    cautious = cautions(plan, folder)
    warnings = [*_unlearnt(plan, folder, result), *(one.text for one in cautious)]
    told = _tables(plan, folder, rows, result, cautious)
    answers = (*_answers(result), *(f"**Caution.** {text}" for text in warnings))
    text = "\n\n".join((f"# {folder.path.resolve().name}", *answers, *(one.markdown() for one in told)))
    try:
        results.write(folder.path / LINES, rows)
        runs.write_text(folder.path / TABLE, text + "\n")
        runs.write_text(folder.path / PAGE, _document(plan, kept, folder, rows, result, warnings, told))
    except OSError as error:
        raise RunError(unwritable(folder.path, error)) from error
    return folder.path / PAGE


def _answers(result: Summaries | None) -> list[str]:
    """The three questions, a paragraph each."""
    if result is None:
        return ["There is no seed yet with which every arm has run, so that nothing can be compared."]
    return [
        verdicts.scope(result),
        f"**Quality.** {verdicts.quality(result)}",
        f"**Efficiency.** {verdicts.efficiency(result)}",
        f"**Stability.** {verdicts.stability(result)}",
    ]


def _unlearnt(plan: Plan, folder: Folder, result: Summaries | None) -> list[str]:
    """Warnings of settings in which nothing was learned."""
    known = {one.name: read_anchors(folder, one) for one in planned.settings(plan)}
    return verdicts.unlearnt(result, {name: one.passable for name, one in known.items() if one}) if result else []


def _tables(
    plan: Plan, folder: Folder, rows: Sequence[Row], result: Summaries | None, cautious: Sequence[Caution]
) -> list[Table]:
    made: list[Table] = []
    if result:
        blocks = whole_blocks(plan, [row for row in rows if row.trial is None])
        apart = [tables.settings(result)] if len(result.thresholds) > 1 else []  # one setting alone is the whole
        made += [tables.quality(result, marks(cautious)), *apart, tables.values(result, blocks)]
        made += [tables.efficiency(result), tables.stability(result)]
    if chosen := read_json(folder.tuned):
        made.append(tables.tuned(chosen))
    scales = [planned.anchored(plan, one) for one in planned.settings(plan)]
    known = {one.name: read_json(folder.anchors(one)) for one in scales}
    made.append(tables.anchors({name: values for name, values in known.items() if values}))
    return [*made, tables.every_run(rows)]


def _document(
    plan: Plan,
    kept: Mapping[str, Any],
    folder: Folder,
    rows: Sequence[Row],
    result: Summaries | None,
    warnings: Sequence[str],
    told: Sequence[Table],
) -> str:
    name = folder.path.resolve().name
    parts = [
        Markup(f"<header>\n<h1>{markup.text(name)}</h1>"),
        *_lead(result),
        *_warned(warnings),
        Markup("</header>\n<main>"),
    ]
    parts += _drawn(plan, folder, rows, result)
    parts += [
        markup.section(one.title, markup.rows(one.headings, one.rows)) if one.rows else Markup() for one in told[:-1]
    ]
    parts += [_failed(folder, rows), _method(plan)]
    whole = markup.rows(told[-1].headings, told[-1].rows)
    parts += [markup.section(told[-1].title, markup.folded(f"{len(rows)} runs", whole)), _origin(folder, kept, rows)]
    parts.append(Markup("</main>\n<footer>Written by Equipoise from the folder of the comparison alone.</footer>"))
    return markup.document(f"{name}: a comparison of ways of control", STYLE, markup.together(parts))


def _lead(result: Summaries | None) -> list[Markup]:
    if result is None:
        return [markup.paragraph(_answers(result)[0], "lead")]
    answers = (
        ("Quality", verdicts.quality(result)),
        ("Efficiency", verdicts.efficiency(result)),
        ("Stability", verdicts.stability(result)),
    )
    told = [Markup(f"<p><strong>{question}.</strong> {markup.text(answer)}</p>") for question, answer in answers]
    return [markup.paragraph(verdicts.scope(result), "lead"), *told]


def _warned(warnings: Sequence[str]) -> list[Markup]:
    return [Markup(f"<p><strong>Caution.</strong> {markup.text(text)}</p>") for text in warnings]


def _drawn(plan: Plan, folder: Folder, rows: Sequence[Row], result: Summaries | None) -> list[Markup]:
    if result is None:
        return []
    blocks = whole_blocks(plan, [row for row in rows if row.trial is None])
    several = len(result.thresholds) > 1
    drawn: list[tuple[Callable[..., bytes], str, str]] = [
        (pictures.quality, verdicts.quality(result), "All settings together. Grey: the baseline."),
        (pictures.settings, "Scores in each setting", "Stroke: the median run. Dotted: that of the baseline."),
        (pictures.curves, "Scores over steps", "Median of the runs and their middle half, at each look."),
        (pictures.stability, verdicts.stability(result), "Grey: the baseline."),
    ]
    inner = []
    for draw, alternative, caption in drawn:
        shown = (result,) if draw is pictures.stability else (result, blocks)
        if several or draw is not pictures.settings:
            wide, narrow = (draw(*shown, across=columns) for columns in (pictures.WIDE, pictures.NARROW))
            inner.append(markup.picture(wide, alternative, caption, "progress", narrow))
    samples = [
        markup.picture(wide, f"Samples of every arm in {name}", f"{name}, seed {seed}, last step.", "progress", narrow)
        for name, seed, wide, narrow in galleries(folder, result, blocks)
    ]
    return [markup.section("In pictures", *inner), markup.section("Samples, the best arm first", *samples)]


def _failed(folder: Folder, rows: Sequence[Row]) -> Markup:
    lines = []
    for row in rows:
        path = folder.failed(row.name)
        if row.state == "failed":
            lines.append(
                (row.name, [line for line in path.read_text(errors="replace").splitlines() if line.strip()][-1])
            )
    if not lines:
        return Markup()
    hint = markup.paragraph("They count 0; the same command tries them again. All they said lies in failed/.", "note")
    return markup.section("Runs that could not be run", hint, markup.rows(("run", "last words"), lines))


def _method(plan: Plan) -> Markup:
    text = METHOD.format(failure=plan.failure, snapshot=SNAPSHOTS[plan.snapshot]).replace("\n", " ")
    return markup.section("How it was compared", markup.paragraph(text))


def _origin(folder: Folder, kept: Mapping[str, Any], rows: Sequence[Row]) -> Markup:
    """The plan, its digest, and versions."""
    text = (folder.path / "plan.toml").read_text()
    lines = [("plan, SHA-256", kept["digest"]), *((name, value) for name, value in kept["versions"].items())]
    lines += [(f"features of {one}", value) for one, value in _features(folder).items()]
    return markup.section(
        "Plan, versions, digests",
        markup.rows(("what", "which"), lines),
        markup.folded("plan.toml", markup.code(text, "plan.toml")),
        markup.folded("plan.json", markup.code(json.dumps(kept["plan"], indent=2, ensure_ascii=False), "plan.json")),
    )


def _features(folder: Folder) -> dict[str, str]:
    """Metric -> SHA-256 of the network that it looks through."""
    known = [read_json(path) for path in sorted((folder.path / "anchors").glob("*.json"))]
    return {one["metric"]: one["features"] for one in known if one["features"]}
