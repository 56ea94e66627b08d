"""Findings in, remedies out: what to change when a run ails, for how long, and whether to roll back first. Pure.

    case = Case(steps=steps, published=model.knobs, turnable=gan.turnable, base=knobs_of_the_user)
    remedy, chart = prescribe(Care(), case, chart, health, wish_of_the_controller, step)
    knobs = treated(chart, wish_of_the_controller, step)

Rung 0 pulls knobs that stand far from their published values back to them: most sick runs were set sick. Then the
ladder of the symptom is climbed, a rung each time that it is found again. Its order is that of the evidence: first
augmentation and gradient penalties (Karras 2020, ADA; Zhao 2020; Mescheder 2018), then the ratio of the learning rates,
then label and instance noise, then steps per player. Every override expires; a symptom that returns after that gets the
same override until the end of the run. There is a pause after each remedy, and a budget for the whole run.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.core.knobs import Knobs, Range
from equipoise.core.observations import SERIOUS, Finding, Health, Override, Remedy
from equipoise.diagnosis.ladders import BESIDE_RUNG_0, LADDERS, ROLLED_BACK, moved

FAR = 3.0
"""A rate or weight so many times above or below its published value stands far from it."""
FAR_COMPLEMENT = 5.0
"""The same for 1 - beta2."""
FAR_LINEAR = 0.3
"""A linear knob stands far if the difference is this share of its range."""
AT_WILL: Mapping[str, float] = {
    "augment_p": 0.6,
    "instance_noise": 0.2,
    "r1_gamma": 10.0,
    "r2_gamma": 10.0,
    "gp_weight": 10.0,
    "lecam_weight": 1.0,
    "feature_matching_weight": 1.0,
}
"""Regularization that the paper does without may have been turned on by somebody who knows why; up to here it is left.
Noise, augmentation and R1 as their sources have them (Sønderby 2017; Karras 2020: p below 0.8; Mescheder 2018: 10)."""
HINT = 0.2
"""The severity from which rung 0 is taken while there is little to lose: that knobs were set far from what is published
speaks for itself."""
HINTS = frozenset({"discriminator_overpowering", "mode_collapse", "mode_dropping", "dead_discriminator"})
"""Symptoms of which a hint is one: those seen in samples and logits as they are. What is measured by a run's own first
steps, such as a gradient that has shrunk, says little so early (a healthy WGAN-GP of benchmarks/rescue.py was treated
for it)."""
SUDDEN = frozenset({"divergence", "discriminator_forgetting"})
"""What befalls sound weights from one step to the next: those from before it hold all that was learnt."""
SURE = 0.5
"""The confidence from which a finding is acted on."""


@dataclass(frozen=True, slots=True)
class Care:
    """How much may be done. Shares are of the run's planned steps.

    `budget`: remedies in a run. `pause`: after a remedy nothing is done for so long; `anew`: if it went back to the
    start, for a run needs its time to begin. `lasting`: how long an override acts at first, `brief` where a number that
    was none may never come again; to the end if the run begins anew, for it never was well before. `late`: what would
    expire after this point acts to the end, too. `lost`: steps that rollbacks may cost, one beyond which only overrides
    are left. `reach`: how far a rollback may go; where weights are not numbers, to the start. Within the first so much
    of the run it goes to the start: there is little to lose, and weights that went wrong that early hold little.
    `stay`: what spoils no weights must have been found for so long. `change`: False restores and changes nothing, for
    comparison.
    """

    budget: int = 6
    pause: float = 0.04
    anew: float = 0.25
    lasting: float = 0.3
    brief: float = 0.1
    late: float = 0.7
    lost: float = 0.7
    reach: float = 0.25
    stay: float = 0.05
    change: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """What is being treated: a run of `steps`, a GAN's `published` knobs, those that act, where the user set them."""

    steps: int
    published: Knobs
    turnable: frozenset[str]
    base: Knobs


@dataclass(frozen=True, slots=True)
class Given:
    """A remedy of the past: at which step, for what, on which rung, until when, and whether the run began anew."""

    step: int
    symptom: str
    rung: int
    until: int
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """All that is remembered of a run's treatment: what acts now, what was given, what rollbacks cost in steps."""

    overrides: tuple[Override, ...] = ()
    given: tuple[Given, ...] = ()
    lost: int = 0


def prescribe(
    care: Care, case: Case, chart: Chart, health: Health, wish: Knobs, step: int
) -> tuple[Remedy | None, Chart]:
    """What to do about the gravest finding, if anything, and the chart with it in.

    `wish`: where the controller wants the knobs, without overrides. The chart's `lost` is for the loop to add to.
    """
    chart = _without_expired(chart, step)
    is_early = step <= care.reach * case.steps
    least = HINT if is_early and _untouched(case, chart) else SERIOUS
    finding = _gravest(health, step - round(care.stay * case.steps), least)
    if finding is None or step >= case.steps or not _may_act(care, case, chart, finding, step):
        return None, chart
    reach = step - round(care.reach * case.steps)
    oldest = 0 if finding.symptom == "divergence" else max(0, reach)
    newest = finding.since if finding.symptom in SUDDEN or reach > 0 else 0
    restore = finding.symptom in ROLLED_BACK and chart.lost < care.lost * case.steps and newest >= oldest
    if not care.change:
        if newest < oldest:
            return None, chart
        remedy = Remedy(finding, True, oldest, newest, overrides=(), rung=0, until=step)
        return remedy, _with(chart, remedy, step)
    rung, turns = _next_rung(case, chart, finding, wish, step)
    if not turns and not restore:
        return None, chart
    until = case.steps if restore and newest == 0 else _until(care, case, chart, finding.symptom, rung, step)
    overrides = tuple(Override(knob, value, base_at, until) for knob, (base_at, value) in turns.items())
    remedy = Remedy(finding, restore, oldest, newest, overrides, rung, until)
    return remedy, _with(chart, remedy, step)


def treated(chart: Chart, wish: Knobs, step: int) -> Knobs:
    """The knobs as they act at `step`: the controller's wish, under the overrides that have not expired.

    A knob on a logarithmic scale keeps the ratio that it was given, so that a schedule below it goes on.
    """
    ranges = wish.ranges()
    values = {}
    for override in chart.overrides:
        if step < override.until:
            values[override.knob] = ranges[override.knob].clamp(_acting(override, wish, ranges[override.knob]))
    return wish.with_values(values)


def with_overrides(chart: Chart, overrides: Sequence[Override]) -> Chart:
    """The chart with these overrides acting; a knob has one, the latest."""
    new = {override.knob for override in overrides}
    kept = (override for override in chart.overrides if override.knob not in new)
    return dataclasses.replace(chart, overrides=(*kept, *overrides))


def to_plain(chart: Chart) -> dict[str, Any]:
    """A chart as JSON has it."""
    return dataclasses.asdict(chart)


def from_plain(values: Mapping[str, Any]) -> Chart:
    """What :func:`to_plain` gave."""
    overrides = tuple(Override(**one) for one in values["overrides"])
    return Chart(overrides, tuple(Given(**one) for one in values["given"]), values["lost"])


def far_from_published(case: Case) -> dict[str, float]:
    """Knob -> published value, of those that act and that the user set far from it."""
    ranges, published = case.base.ranges(), case.published.values()
    return {
        name: published[name]
        for name, value in case.base.values().items()
        if name in case.turnable and _is_far(name, ranges[name], value, published[name])
    }


def _is_far(name: str, range: Range, value: float, published: float) -> bool:
    if published == 0 and value <= AT_WILL.get(name, 0.0):
        return False
    if range.scale == "log":
        if value == 0 or published == 0:
            return value != published
        return abs(math.log(value / published)) >= math.log(FAR) - 1e-9
    if range.scale == "log_complement":
        return abs(math.log((1 - value) / (1 - published))) >= math.log(FAR_COMPLEMENT) - 1e-9
    if range.scale == "integer":
        return abs(value - published) >= FAR
    return abs(value - published) >= FAR_LINEAR * (range.high - range.low)


def _untouched(case: Case, chart: Chart) -> dict[str, float]:
    """Knob -> published value, of those that the user set far from it and no remedy has turned."""
    overridden = {override.knob for override in chart.overrides}
    return {name: value for name, value in far_from_published(case).items() if name not in overridden}


def _gravest(health: Health, resolve: int, least: float) -> Finding | None:
    """The finding to act on: serious, or a hint of severity `least`; sure, of a symptom that there is a ladder for.

    What spoils no weights is acted on only if it has been found since step `settled` or before.
    """
    acting = [
        finding
        for finding in health.findings
        if finding.severity >= (least if finding.symptom in HINTS else SERIOUS)
        if finding.confidence >= SURE and finding.symptom in LADDERS
        if finding.symptom in ROLLED_BACK or finding.since <= resolve
    ]
    return max(acting, key=lambda finding: (finding.severity, finding.confidence), default=None)


def _may_act(care: Care, case: Case, chart: Chart, finding: Finding, step: int) -> bool:
    """Whether the budget allows it, and the last remedy has had its time; weights that are not numbers cannot wait."""
    if len(chart.given) >= care.budget:
        return False
    if finding.symptom == "divergence" or not chart.given:
        return True
    pause = care.anew if chart.given[-1].anew else care.pause
    return step - chart.given[-1].step >= pause * case.steps


def _next_rung(
    case: Case, chart: Chart, finding: Finding, wish: Knobs, step: int
) -> tuple[int, dict[str, tuple[float, float]]]:
    """The lowest rung that has not been tried and changes something: its number, and knob -> (from, to)."""
    symptom, ladder = finding.symptom, LADDERS[finding.symptom]
    if ladder and (far := _untouched(case, chart)):
        turns = {name: (getattr(case.base, name), value) for name, value in far.items()}
        if symptom in BESIDE_RUNG_0:
            pulled = treated(chart, wish, step).with_values(far)
            on_top = moved(ladder[0], pulled, case.turnable)
            turns |= {name: (getattr(wish, name), value) for name, value in on_top.items()}
        return 0, turns
    now = treated(chart, wish, step)
    climbed = [given.rung for given in chart.given if given.symptom == symptom and given.until > step]
    for number in range(max(climbed, default=0) + 1, len(ladder) + 1):
        if values := moved(ladder[number - 1], now, case.turnable):
            return number, {name: (getattr(wish, name), value) for name, value in values.items()}
    return len(ladder), {}


def _until(care: Care, case: Case, chart: Chart, symptom: str, rung: int, step: int) -> int:
    """When an override expires: at the end of the run if it was given before, or if the end is near."""
    until = step + round((care.brief if symptom == "divergence" else care.lasting) * case.steps)
    again = any(given.symptom == symptom and given.rung == rung for given in chart.given)
    return case.steps if again or until >= care.late * case.steps else until


def _acting(override: Override, wish: Knobs, range: Range) -> float:
    here: float = getattr(wish, override.knob)
    if range.scale == "log" and here > 0 and override.base > 0 and override.value > 0:
        return here * override.value / override.base
    return override.value


def _without_expired(chart: Chart, step: int) -> Chart:
    return dataclasses.replace(chart, overrides=tuple(one for one in chart.overrides if step < one.until))


def _with(chart: Chart, remedy: Remedy, step: int) -> Chart:
    """The chart with one more remedy given; its overrides are for the pilot to hold."""
    given = Given(step, remedy.finding.symptom, remedy.rung, remedy.until, remedy.restore and remedy.newest == 0)
    return dataclasses.replace(chart, given=(*chart.given, given))
