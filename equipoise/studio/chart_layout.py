"""The charts of a run: which curves share one, under which title, and what it says in a line."""

import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

from equipoise.studio.curves import CurveInfo


@dataclass(frozen=True, slots=True)
class ChartFamily:
    """Curves that share a chart: those whose whole name matches. `range`: of the vertical axis. `note`: a line."""

    section: str
    title: str
    pattern: str
    range: tuple[float, float] | None = None
    note: str = ""


RANK = (
    "1: D can tell fakes (held-out reals) from reals, 0: it cannot, "
    "below 0: it takes fakes for reals, more often than chance would"
)
FAMILIES = (
    ChartFamily("Balance", "Loss", "loss_[gd]"),
    ChartFamily("Balance", "Rank", "rank_.*", (-1, 1), RANK),
    ChartFamily("Balance", "D(x)", "probability_.*|accuracy_d", (0, 1), "how likely D takes a picture for real"),
    ChartFamily("Balance", "Gradient norm", "gradient_norm_.*"),
    ChartFamily("Details", "Adversarial loss", "adversarial_[gd]|ideal_d"),
    ChartFamily("Details", "Loss of D on reals and fakes", "loss_d_.*"),
    ChartFamily("Details", "Sign of the logits", "sign_.*", (-1, 1)),
    ChartFamily("Details", "Logit", "logit_.*"),
    ChartFamily("Details", "Relative update", "update_ratio_.*"),
)
SECTIONS = {"metric": "Quality", "knob": "Knobs"}
PREFIX = re.compile("^(rank|probability|sign|logit|loss_d|loss|gradient_norm|update_ratio|adversarial)_")
"""Beginnings of names that the title of a chart says already."""


@dataclass(slots=True)
class _Layout:
    section: str
    title: str
    unit: str
    range: tuple[float, float] | None
    note: str
    help: str
    lines: list[dict[str, str]]


def lay_out_charts(curves: Iterable[CurveInfo], turned: Collection[str]) -> list[dict[str, object]]:
    """Return the charts of curves as JSON values. Knobs that never changed, which are not in `turned`, have none."""
    charts: dict[tuple[str, str], _Layout] = {}
    for curve in curves:
        if curve.group == "knob" and curve.name not in turned:
            continue
        family = _family_of(curve)
        chart = charts.setdefault(
            (family.section, family.title),
            _Layout(family.section, family.title, curve.unit, family.range, family.note, "", []),
        )
        chart.lines.append({"name": curve.name, "label": _label(curve.name)})
        chart.help += f"{curve.name}: {curve.help}\n"
    return [{**asdict(chart), "help": chart.help.strip()} for chart in charts.values()]


def _family_of(curve: CurveInfo) -> ChartFamily:
    """Return the chart of a curve; most have one of their own."""
    if curve.group in SECTIONS:
        return ChartFamily(SECTIONS[curve.group], curve.name, "", note=curve.help if curve.group == "metric" else "")
    for family in FAMILIES:
        if re.fullmatch(family.pattern, curve.name):
            return family
    phase, dot, _ = curve.name.partition(".")
    return ChartFamily("Terms of the losses", phase, "") if dot else ChartFamily("Details", curve.name, "")


def _label(name: str) -> str:
    short = PREFIX.sub("", name.rpartition(".")[2])
    return short.upper() if len(short) == 1 else short.replace("_", " ")
