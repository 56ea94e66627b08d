"""The tables of a comparison: headings and rows of cells, for the page and for Markdown alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from equipoise.comparison.results import Row
from equipoise.comparison.summary import Block, Summaries, by_setting
from equipoise.comparison.verdicts import interval
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


def quality(found: Summaries) -> Table:
    """Interquartile means, and each arm against the baseline."""
    rows = []
    for one in found.arms:
        cells = [one.arm, interval(one.quality)]
        if one.against is None:
            cells += ["baseline", NONE, NONE]
        else:
            cells += [interval(one.against.difference), interval(one.against.improvement), f"{one.against.p:.3g}"]
        rows.append((*cells, str(one.runs)))
    headings = ("arm", "score", "less the baseline's", "chance to beat it", "p, Wilcoxon and Holm", "runs")
    return Table("Quality: scores, interquartile mean and 95 % interval", headings, tuple(rows))


def settings(found: Summaries) -> Table:
    """Mean scores, setting by setting."""
    names = list(found.arms[0].settings)
    rows = tuple((one.arm, *(interval(one.settings[name]) for name in names)) for one in found.arms)
    return Table("Quality: mean score and 95 % interval in each setting", ("arm", *names), rows)


def values(found: Summaries, blocks: Sequence[Block]) -> Table:
    """The reported metric itself, and further ones: the median over runs that have one."""
    rows, inside = [], by_setting(blocks)
    for name, group in inside.items():
        first = next(iter(group[0].values()))
        known = [row for block in group for row in block.values() if row.value is not None]
        others = list(dict.fromkeys(metric for row in known for metric in row.also))
        for one in found.arms:
            mine = [block[one.arm] for block in group]
            reported = _middle([row.value for row in mine], spread=True)
            further = [f"{metric} {_middle([row.also.get(metric) for row in mine])}" for metric in others]
            rows.append((name, one.arm, f"{first.metric} {reported}", ", ".join(further) or NONE))
    headings = ("setting", "arm", "reported: median [least, most]", "also, of the last samples: medians")
    return Table("Quality: what was measured", headings, tuple(rows))


def efficiency(found: Summaries) -> Table:
    """What runs cost, and how soon they are good."""
    rows = tuple(
        (
            one.arm,
            duration(one.seconds) if one.seconds is not None else NONE,
            f"{one.cpu:.2f}" if one.cpu is not None else NONE,
            f"{one.reached} of {one.runs}",
            _share(one.steps),
            _share(one.cost),
        )
        for one in found.arms
    )
    headings = (
        *("arm", "CPU time of a run, mean", "times the baseline's", "became as good as the baseline ends"),
        *("after so many of the steps", "after so much of the baseline's CPU time"),
    )
    return Table("Efficiency", headings, rows)


def stability(found: Summaries) -> Table:
    """What went wrong, and how much was lost."""
    rows = tuple(
        (
            one.arm,
            f"{one.failures} of {one.runs}",
            str(one.diverged),
            str(one.crashed),
            f"{one.against.failures_p:.3g}" if one.against else "baseline",
            _number(one.fallen),
            _number(one.spread),
            "none seen" if one.collapse == 0 else NONE if one.collapse is None else f"{one.collapse:.1%}",
            f"{one.rollbacks} ({one.lost:,} steps)",
        )
        for one in found.arms
    )
    headings = (
        *("arm", "failed", "of these diverged", "could not be run", "p, McNemar and Holm", "lost after the best look"),
        *("spread of the last fifth", "readings with lost variety", "rolled back"),
    )
    return Table("Stability", headings, rows)


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
    """By task, what scores stand between."""
    rows = tuple(
        (
            task,
            f"{one['metric']}, {one['better']} is better",
            ", ".join(f"{kind} {short(value)}" for kind, value in one["worthless"].items()),
            ", ".join(short(value) for value in one["real"]),
            (one["features"] or "the samples themselves")[:22],
        )
        for task, one in known.items()
    )
    headings = ("task", "reported metric", "score 0: the worst of", "score 1: reals get", "features, SHA-256")
    return Table("What scores stand between", headings, rows)


def _middle(known: Sequence[float | None], spread: bool = False) -> str:
    """Median of those that are there and finite, [least, most] with it, and how many have none."""
    there = sorted(value for value in known if value is not None and math.isfinite(value))
    if not there:
        return "none"
    lost = f", {len(known) - len(there)} without" if len(there) < len(known) else ""
    return short(median(there)) + (f" [{short(there[0])}, {short(there[-1])}]{lost}" if spread else "")


def _share(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else "not in half of the runs"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
