"""Sentences of the page of the suite, written from the computed numbers, whichever way they turn out."""

import math
from collections.abc import Iterable, Mapping

from _suite_study import SuitePage

from equipoise.comparison.aggregate import IntervalEstimate, holm_correction
from equipoise.comparison.suite.checks import ArmInfo, ArmKind
from equipoise.comparison.suite.verdict import ArmVerdict, VerdictWord, compare_arms, verdict_word

KINDS: dict[ArmKind, str] = {
    "constant": "constant",
    "schedule": "annealed schedule",
    "feedback": "feedback rule",
    "learned": "learned policy",
    "search": "search in the run",
    "repair": "repair",
}
QUESTION: tuple[ArmKind, ...] = ("schedule", "feedback", "learned")
"""Kinds of the brief's question: annealed against adaptive and learnable."""
VERBS: dict[VerdictWord, str] = {"wins": "beats", "loses": "loses to", "no difference": "does not differ from"}
AIM_RATIO, AIM_WORSE, AIM_HEADROOM, AIM_DAMAGE = 0.85, 0.1, 0.5, 0.9
"""Aims of the issue: ratio, share of worse tasks, share of the headroom, share of the damage undone."""


def main_arms(page: SuitePage) -> dict[ArmKind, str]:
    """Return the arm of each kind with the best score on the training tasks: no test task selects it."""
    compared = {verdict.name for verdict in page.verdicts["selected"]}
    chosen: dict[ArmKind, str] = {}
    for kind in KINDS:
        arms = {name: arm for name, arm in page.arms.items() if arm.kind == kind and name in compared}
        if arms:
            chosen[kind] = min(arms, key=lambda name: training_score(arms[name]))
    return chosen


def training_score(arm: ArmInfo) -> float:
    """Return the score of an arm; infinity for one that was not tuned."""
    return math.inf if arm.score is None else arm.score


def answer(page: SuitePage, untuned: str = "") -> str:
    """Return three sentences: annealed against adaptive and learned control in quality, efficiency and stability.

    `untuned`: the same without tuning, as the beginning of the first sentence.
    """
    verdicts = {verdict.name: verdict for verdict in page.verdicts["selected"]}
    mains = {kind: name for kind, name in main_arms(page).items() if kind in QUESTION}
    if not mains:
        return "No schedule, feedback rule or learned policy has been compared yet."
    quality = _quality(page, mains, verdicts, untuned)
    return " ".join((quality, _efficiency(page, mains, verdicts), _stability(page, mains)))


def _quality(page: SuitePage, mains: Mapping[ArmKind, str], verdicts: Mapping[str, ArmVerdict], untuned: str) -> str:
    parts = [
        f"{format_interval(verdicts[name].over_tasks)} for the {KINDS[kind]} `{name}` ({verdicts[name].word})"
        for kind, name in mains.items()
    ]
    start = f"{untuned}; " if untuned else ""
    return (
        f"**Quality**: {start}relative to one constant that was tuned on other data it is {join(parts)} "
        f"({len(page.tasks)} tasks whose data no tuning saw, {len(page.seeds)} seeds, 95 % intervals over tasks)."
    )


def against_schedule(page: SuitePage) -> str:
    """Compare the adaptive arms with the tuned schedule in a sentence, p-values corrected for their number."""
    mains = {kind: name for kind, name in main_arms(page).items() if kind in QUESTION}
    rivals = {kind: name for kind, name in mains.items() if kind != "schedule"}
    if "schedule" not in mains or not rivals:
        return ""
    schedule, study = mains["schedule"], page.studies["selected"]
    pairs = {name: compare_arms(study, "selected", name, schedule) for name in rivals.values()}
    corrected = holm_correction({name: p for name, (_, p) in pairs.items()})
    parts = []
    for kind, name in rivals.items():
        ratio, _ = pairs[name]
        verb = VERBS[verdict_word(ratio, corrected[name])]
        parts.append(
            f"the {KINDS[kind]} `{name}` {verb} the tuned schedule `{schedule}` ({format_interval(ratio)} times its "
            f"distance, p {equals_p(corrected[name])})"
        )
    text = join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _efficiency(page: SuitePage, mains: Mapping[ArmKind, str], verdicts: Mapping[str, ArmVerdict]) -> str:
    steps = [
        f"{page.stability[name].share_of_steps:.0%} of the steps with `{name}` "
        f"({page.stability[name].reached:.0%} of its runs get there)"
        for name in mains.values()
    ]
    cpu = [f"{verdicts[name].cpu_ratio:.2f}" for name in mains.values()]
    return (
        f"**Efficiency**: to reach the constant's final distance, the median run needs {join(steps)}, against "
        f"{page.stability[page.base].share_of_steps:.0%} with the constant itself; whole runs take {join(cpu)} times "
        "its processor time."
    )


def _stability(page: SuitePage, mains: Mapping[ArmKind, str]) -> str:
    names = [*mains.values(), page.base]
    diverged = [f"{page.stability[name].diverged} of {page.stability[name].runs} (`{name}`)" for name in names]
    rises = [f"{page.stability[name].rise:.2f} (`{name}`)" for name in names]
    return (
        f"**Stability**: {join(diverged)} runs diverge, and without early stopping a run ends at {join(rises)} times "
        "its best distance."
    )


def ranking(page: SuitePage) -> str:
    """Return what wins overall, and which aims are reached by the best arm on the training tasks."""
    verdicts = page.verdicts["selected"]
    winners = [f"`{verdict.name}`" for verdict in verdicts if verdict.word == "wins"]
    losers = [f"`{verdict.name}`" for verdict in verdicts if verdict.word == "loses"]
    none = len(verdicts) - len(winners) - len(losers)
    return (
        f"Of {len(verdicts)} arms, {join(winners) or 'none'} win{'s' * (len(winners) <= 1)} against the constant, "
        f"{join(losers) or 'none'} lose{'s' * (len(losers) <= 1)}, and {none} show no difference (Holm-corrected "
        "p < 0.05 and an interval over tasks that excludes 1)."
    )


def check_aims(page: SuitePage, verdict: ArmVerdict) -> tuple[bool, bool, bool, bool]:
    """Return whether an arm reaches the aims of ratio, harm, headroom and damage undone."""
    return (
        verdict.ratio.value <= AIM_RATIO and verdict.ratio.high < 1,
        verdict.worse.value <= AIM_WORSE,
        verdict.headroom.value >= AIM_HEADROOM,
        page.damage_undone(verdict.name, "selected") >= AIM_DAMAGE,
    )


def format_interval(estimate: IntervalEstimate, form: str = ".2f") -> str:
    """Format a value with its interval; "–" if it is unknown."""
    if not math.isfinite(estimate.value):
        return "–"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def format_share(value: float) -> str:
    """Format a share in percent; "–" if it is unknown."""
    return f"{value:.0%}" if math.isfinite(value) else "–"


def format_ratio(value: float) -> str:
    """Format a ratio; "–" if it is unknown."""
    return f"{value:.2f}" if math.isfinite(value) else "–"


def format_p(p: float) -> str:
    """Format a p-value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_trials(trials: float) -> str:
    """Format a number of trials."""
    if not math.isfinite(trials):
        return "–" if math.isnan(trials) else "more than 24"
    return "less than 1" if trials == 0 else f"{trials:.1f}"


def join(parts: Iterable[str]) -> str:
    """Join parts of a sentence with commas and "and"."""
    *rest, last = list(parts) or [""]
    return f"{', '.join(rest)} and {last}" if rest else last


def describe_settings(settings: Mapping[str, object]) -> str:
    """Return settings in one line: controller, options, factors as "lr_g × 1.3", knobs as "augment_p = 0.2"."""
    parts = [] if settings.get("controller", "fixed") == "fixed" else [str(settings["controller"])]
    for name, value in settings.items():
        match name, value:
            case "controller", _:
                continue
            case "factors", dict():
                parts += [f"{knob} × {factor:g}" for knob, factor in value.items() if factor != 1]
            case (("knobs" | "options"), dict()):
                parts += [f"{knob} = {_short(number)}" for knob, number in value.items() if number not in (0, {})]
            case _ if value:
                parts.append(f"{name} = {_short(value)}")
    return ", ".join(parts) or "published settings"


def equals_p(p: float) -> str:
    """Format a p-value with its relation: "= 0.012" or "< 0.001"."""
    return format_p(p) if p < 0.001 else f"= {format_p(p)}"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("|", "/")
