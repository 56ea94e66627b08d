"""The tables of a comparison: headings and rows of cells, for the page and for Markdown alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import Estimate
from equipoise.comparison.results import Row
from equipoise.comparison.summary import Block, Summaries, Summary, by_setting, known
from equipoise.comparison.verdicts import interval, share, told
from equipoise.report.words import duration, short

NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A title, headings, and rows as long as those."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As Markdown has it."""
        lines = [self.headings, tuple("---" for _ in self.headings), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"## {self.title}\n\n{body}"


def quality(result: Summaries, marks: Mapping[str, str] | None = None) -> Table:
    """Interquartile means, and each arm against the baseline. `marks`: arm -> its name, with what to know of it."""
    rows = []
    for one in result.arms:
        cells = [(marks or {}).get(one.arm, one.arm), interval(one.quality)]
        if one.against is None:
            cells += ["baseline", NONE, NONE, NONE]
        else:
            cells += [interval(one.against.difference), interval(one.against.improvement), f"{one.against.p:.3g}"]
            cells += [f"{one.against.ahead} of {len(result.thresholds)} settings"]
        rows.append((*cells, str(one.runs)))
    headings = ("arm", "score", "less the baseline's", "chance to beat it", "p, Wilcoxon and Holm", "better in", "runs")
    return Table("Quality: scores, interquartile mean and 95 % interval", headings, tuple(rows))


def settings(result: Summaries) -> Table:
    """Mean scores, setting by setting."""
    names = list(result.arms[0].settings)
    rows = tuple((one.arm, *(interval(one.settings[name]) for name in names)) for one in result.arms)
    return Table("Quality: mean score and 95 % interval in each setting", ("arm", *names), rows)


def values(result: Summaries, blocks: Sequence[Block]) -> Table:
    """The reported metric itself, and further ones of the last samples, a column each."""
    every = [row for block in blocks for row in block.values()]
    reported = dict.fromkeys(row.metric for row in every)
    also = dict.fromkeys(metric for row in every for metric in row.also)
    columns = [*((name, True) for name in reported), *((name, False) for name in also)]
    rows = []
    for name, group in by_setting(blocks).items():
        for one in result.arms:
            mine = [block[one.arm] for block in group]
            rows.append((name, one.arm, *(_measured(mine, metric, counts) for metric, counts in columns)))
    headings = ("setting", "arm", *(f"{metric}, reported" if counts else metric for metric, counts in columns))
    return Table("Quality: what was measured, interquartile mean and 95 % interval", headings, tuple(rows))


def efficiency(result: Summaries) -> Table:
    """What runs cost, and how soon they are good."""
    rows = tuple(
        (
            one.arm,
            NONE if one.seconds is None else _of_ended(one, duration(one.seconds)),
            "baseline" if one.arm == result.baseline else _estimated(one.cpu, ".2f"),
            f"{one.reached} of {one.runs}",
            _late(one.steps),
            _late(one.cost),
        )
        for one in result.arms
    )
    headings = (
        *(
            "arm",
            "CPU time of a run, mean",
            "times the baseline's, where both ended",
            "became as good as the baseline ends",
        ),
        *("after so many of the steps", "after so much of the baseline's CPU time"),
    )
    return Table("Efficiency: means and medians, 95 % intervals", headings, rows)


def stability(result: Summaries) -> Table:
    """What went wrong, and how much was lost."""
    rows = tuple(
        (
            one.arm,
            f"{one.failures} of {one.runs}",
            _estimated(one.failing, ".0%"),
            str(one.diverged),
            str(one.crashed),
            f"{one.against.failures_p:.3g}" if one.against else "baseline",
            _of_ended(one, _estimated(one.fallen, ".3f")),
            _of_ended(one, _estimated(one.spread, ".3f")),
            "none seen" if one.collapse and not one.collapse.high else _estimated(one.collapse, ".1%"),
            f"{one.rollbacks} ({one.lost:,} steps)",
        )
        for one in result.arms
    )
    headings = (
        *("arm", "failed", "share", "of these diverged", "could not be run", "p, McNemar and Holm"),
        *("score lost after the best look", "spread of the last fifth", "readings with lost variety", "rolled back"),
    )
    return Table("Stability: means and 95 % intervals", headings, rows)


def every_run(rows: Sequence[Row]) -> Table:
    """Each run that was planned, whatever became of it."""
    lines = tuple(
        (
            row.name,
            row.state,
            _number(row.score) if row.counts else NONE,
            NONE if row.value is None else f"{row.metric} {short(row.value)}",
            _number(row.best),
            NONE if row.cpu is None else f"{row.cpu:.1f}",
            row.verdict or NONE,
            (row.weights or NONE)[:12],
        )
        for row in rows
    )
    headings = ("run", "state", "score", "reported", "best look", "CPU s", "verdict", "SHA-256 of the weights")
    return Table("Every run", headings, lines)


def tuned(chosen: Mapping[str, Any]) -> Table:
    """What each arm was tuned to, and the score of each trial."""
    rows = tuple(
        (
            arm,
            ", ".join(
                f"{key} = {short(value) if isinstance(value, float) else value}" for key, value in one["tried"].items()
            )
            or "as it is written",
            ", ".join(f"{score:.3f}" for score in one["scores"]),
        )
        for arm, one in chosen.items()
    )
    return Table("Tuning", ("arm", "taken", "mean score of each trial, the first as the arm is written"), rows)


def anchors(known: Mapping[str, Mapping[str, Any]]) -> Table:
    """By task, and setting with other data, what scores stand between."""
    rows = tuple(
        (
            name,
            f"{one['metric']}, {one['better']} is better",
            ", ".join(f"{kind} {short(value)}" for kind, value in one["worthless"].items()),
            ", ".join(short(value) for value in one["real"]),
            (one["features"] or "")[:22] or "no network: the samples themselves",
        )
        for name, one in known.items()
    )
    headings = ("of", "reported metric", "score 0: the worst of", "score 1: reals get", "features, SHA-256")
    return Table("What scores stand between", headings, rows)


def _measured(rows: Sequence[Row], metric: str, reported: bool) -> str:
    """A metric of the runs of an arm in one setting, and how many of them have none."""
    groups = known(rows, lambda row: _value(row, metric, reported))
    if not groups:
        return NONE
    lost = len(rows) - sum(map(len, groups.values()))
    return told(aggregate.interquartile(groups), short) + (f", {lost} without" if lost else "")


def _value(row: Row, metric: str, reported: bool) -> float | None:
    """What a run has of a metric, if that is a finite number."""
    value = row.also.get(metric) if not reported else row.value if row.metric == metric else None
    return value if value is not None and math.isfinite(value) else None


def _estimated(estimate: Estimate | None, form: str) -> str:
    """0.61 (0.55 to 0.66) in a form."""
    return NONE if estimate is None else told(estimate, lambda value: format(value, form))


def _of_ended(one: Summary, text: str) -> str:
    """A number that only runs have which ended, and how many these are, if not all."""
    is_whole = one.ended == one.runs or text == NONE
    return text if is_whole else f"{text}, of {one.ended} ended run{'s' * (one.ended > 1)}"


def _late(estimate: Estimate) -> str:
    """A share of a run, or that it was never reached."""
    if not math.isfinite(estimate.value):
        return "not in half of the runs"
    return told(estimate, share)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
