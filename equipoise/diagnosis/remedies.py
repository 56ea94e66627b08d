"""Remedies for findings: rollbacks, and the knobs that repair changes in an unhealthy run. Pure functions.

    context = RepairContext(steps=steps, published=model.knobs, turnable=model.turnable, base=knobs_of_the_user)
    remedy, state = prescribe(RepairSettings(), context, state, health, target_of_the_controller, step)
    knobs = apply_overrides(state, target_of_the_controller, step)

Rung 0 resets knobs that are far from their published values, the most frequent cause of unhealthy runs. Then the ladder
of the symptom (`Repair.ladder`) is climbed, one rung each time the symptom is detected again. Every override
expires; if the symptom returns after that, the same override lasts until the end of the run. After each remedy there is
a pause, and the number of remedies in a run is limited.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.core.knobs import KnobRange, Knobs
from equipoise.core.observations import SERIOUS, Finding, Health, Override, Remedy
from equipoise.diagnosis.adjustments import adjust_knobs
from equipoise.diagnosis.symptom import MILD, Repair
from equipoise.diagnosis.symptoms import repair_of

FAR = 3.0
"""A rate or weight is far from its published value if it differs by this factor."""
FAR_COMPLEMENT = 5.0
"""The same for 1 − beta2."""
FAR_LINEAR = 0.3
"""A knob with a linear scale is far from its published value if the difference is at least this share of its range."""
OPTIONAL_REGULARISATION: Mapping[str, float] = {
    "augment_p": 0.6,
    "instance_noise": 0.2,
    "r1_gamma": 10.0,
    "r2_gamma": 10.0,
    "gp_weight": 10.0,
    "lecam_weight": 1.0,
    "feature_matching_weight": 1.0,
}
"""Regularisation that is off in the published settings may have been turned on deliberately: up to these values it does
not count as far. The values of noise, augmentation and R1 are from (Sønderby 2017; Karras 2020: p below 0.8;
Mescheder 2018: gamma 10)."""
CONFIDENT = 0.5
"""Minimum confidence of a finding that repair acts on."""


@dataclass(frozen=True, slots=True)
class RepairSettings:
    """Limits of repair. Durations are shares of the planned steps of the run.

    - `max_remedies`: maximum number of remedies in a run.
    - `pause`: time without remedies after a remedy; `pause_after_restart`: after a rollback to the start, since a run
      needs time to begin.
    - `duration`: how long an override lasts at first; `divergence_duration`: the same after a divergence, which may not
      happen again. After a rollback to the start it lasts to the end, since the run was never healthy before.
    - `permanent_after`: an override that would expire after this point of the run lasts to the end.
    - `max_lost`: maximum of all steps lost by rollbacks; beyond it there are only overrides.
    - `max_rollback`: how far a rollback may reach (after a divergence: to the start). During this first part of the run
      a rollback goes to the start, because little is lost and weights that failed so early have little value.
    - `persistence`: how long a symptom that does not damage weights must have been detected.
    - `changes_knobs`: False for rollbacks without overrides, for comparison.
    """

    max_remedies: int = 6
    pause: float = 0.04
    pause_after_restart: float = 0.25
    duration: float = 0.3
    divergence_duration: float = 0.1
    permanent_after: float = 0.7
    max_lost: float = 0.7
    max_rollback: float = 0.25
    persistence: float = 0.05
    changes_knobs: bool = True


@dataclass(frozen=True, slots=True)
class RepairContext:
    """Information about a run that repair uses.

    `steps`: planned steps. `published`: published knobs of the model. `turnable`: names of the knobs that have an
    effect. `base`: the values that the user set.
    """

    steps: int
    published: Knobs
    turnable: frozenset[str]
    base: Knobs


@dataclass(frozen=True, slots=True)
class AppliedRemedy:
    """A past remedy: step, symptom, rung, the step until which it lasts, and whether the run was restarted."""

    step: int
    symptom: str
    rung: int
    until: int
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class RepairState:
    """State of the repair of a run: the current overrides, all remedies so far, and the steps lost by rollbacks.

    The training loop adds to `lost_steps`.
    """

    overrides: tuple[Override, ...] = ()
    applied: tuple[AppliedRemedy, ...] = ()
    lost_steps: int = 0

    def with_overrides(self, overrides: Sequence[Override]) -> "RepairState":
        """Return the state with these overrides applied; a knob has one override, the latest."""
        new = {override.knob for override in overrides}
        remaining = (override for override in self.overrides if override.knob not in new)
        return dataclasses.replace(self, overrides=(*remaining, *overrides))

    def to_dict(self) -> dict[str, object]:
        """Return the state as a dictionary that JSON can store."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RepairState":
        """Rebuild a state from the result of :meth:`to_dict`."""
        overrides = tuple(Override(**override) for override in values["overrides"])
        return cls(overrides, tuple(AppliedRemedy(**remedy) for remedy in values["applied"]), values["lost_steps"])


def prescribe(
    settings: RepairSettings, context: RepairContext, state: RepairState, health: Health, target: Knobs, step: int
) -> tuple[Remedy | None, RepairState]:
    """Return the remedy for the most severe finding, or None, and the new state.

    `target`: the knobs that the controller requests, without overrides. The overrides of the remedy must be applied
    with :meth:`RepairState.with_overrides`.
    """
    state = _without_expired(state, step)
    is_early = step <= settings.max_rollback * context.steps
    least = MILD if is_early and _unrepaired_far_knobs(context, state) else SERIOUS
    finding = _finding_to_repair(health, step - round(settings.persistence * context.steps), least)
    if finding is None or step >= context.steps or not _may_act(settings, context, state, finding, step):
        return None, state
    repair = repair_of(finding.symptom)
    assert repair is not None
    reach = step - round(settings.max_rollback * context.steps)
    oldest = 0 if finding.symptom == "divergence" else max(0, reach)
    newest = finding.since if repair.is_sudden or reach > 0 else 0
    restore = repair.rolls_back and state.lost_steps < settings.max_lost * context.steps and newest >= oldest
    if not settings.changes_knobs:
        if newest < oldest:
            return None, state
        remedy = Remedy(finding, True, oldest, newest, overrides=(), rung=0, until=step)
        return remedy, _record(state, remedy, step)
    rung, changes = _next_rung(context, state, finding.symptom, repair, target, step)
    if not changes and not restore:
        return None, state
    is_restart = restore and newest == 0
    until = context.steps if is_restart else _until(settings, context, state, finding.symptom, rung, step)
    overrides = tuple(Override(knob, value, base, until) for knob, (base, value) in changes.items())
    remedy = Remedy(finding, restore, oldest, newest, overrides, rung, until)
    return remedy, _record(state, remedy, step)


def is_restorable(health: Health) -> bool:
    """Return whether the weights of a reading may be restored later: it has no serious finding that repair acts on.

    What repair does not act on, such as data out of range, is true of every checkpoint of the run.
    """
    return not any(
        finding.severity >= SERIOUS and repair_of(finding.symptom) is not None for finding in health.findings
    )


def apply_overrides(state: RepairState, target: Knobs, step: int) -> Knobs:
    """Return the effective knobs at `step`: the controller's target with all unexpired overrides applied.

    On a logarithmic scale an override keeps its ratio to the target, so that a schedule continues under it.
    """
    ranges = target.ranges()
    values = {}
    for override in state.overrides:
        if step < override.until:
            knob_range = ranges[override.knob]
            values[override.knob] = knob_range.clamp(_effective_value(override, target, knob_range))
    return target.with_values(values)


def knobs_far_from_published(context: RepairContext) -> dict[str, float]:
    """Return knob -> published value of the turnable knobs whose base value is far from it."""
    ranges, published = context.base.ranges(), context.published.values()
    return {
        name: published[name]
        for name, value in context.base.values().items()
        if name in context.turnable and _is_far(name, ranges[name], value, published[name])
    }


def _is_far(name: str, knob_range: KnobRange, value: float, published: float) -> bool:
    if published == 0 and value <= OPTIONAL_REGULARISATION.get(name, 0.0):
        return False
    if value == 0 and knob_range.can_be_off and name not in OPTIONAL_REGULARISATION:
        return False  # a term of the loss was switched off, which is a choice
    if knob_range.scale == "log":
        if value == 0 or published == 0:
            return value != published
        return abs(math.log(value / published)) >= math.log(FAR) - 1e-9
    if knob_range.scale == "log_complement":
        return abs(math.log((1 - value) / (1 - published))) >= math.log(FAR_COMPLEMENT) - 1e-9
    if knob_range.scale == "integer":
        return abs(value - published) >= FAR
    return abs(value - published) >= FAR_LINEAR * (knob_range.high - knob_range.low)


def _unrepaired_far_knobs(context: RepairContext, state: RepairState) -> dict[str, float]:
    """Return knob -> published value of the knobs whose base value is far from it and that have no override."""
    overridden = {override.knob for override in state.overrides}
    return {name: value for name, value in knobs_far_from_published(context).items() if name not in overridden}


def _finding_to_repair(health: Health, latest_since: int, least_hint: float) -> Finding | None:
    """Return the most severe finding that repair acts on; None if there is none.

    Its confidence must be at least CONFIDENT. It must be serious, or have at least severity `least_hint` if its symptom
    `acts_on_hints`. A symptom that does not damage weights must have been detected since step `latest_since` or before.
    """
    candidates = [
        finding
        for finding in health.findings
        if (repair := repair_of(finding.symptom)) is not None
        if finding.severity >= (least_hint if repair.acts_on_hints else SERIOUS)
        if finding.confidence >= CONFIDENT
        if repair.rolls_back or finding.since <= latest_since
    ]
    return max(candidates, key=lambda finding: (finding.severity, finding.confidence), default=None)


def _may_act(settings: RepairSettings, context: RepairContext, state: RepairState, finding: Finding, step: int) -> bool:
    """Return whether there are remedies left and the pause is over; a divergence does not wait for the pause."""
    if len(state.applied) >= settings.max_remedies:
        return False
    if finding.symptom == "divergence" or not state.applied:
        return True
    last = state.applied[-1]
    pause = settings.pause_after_restart if last.restarted else settings.pause
    return step - last.step >= pause * context.steps


def _next_rung(
    context: RepairContext, state: RepairState, symptom: str, repair: Repair, target: Knobs, step: int
) -> tuple[int, dict[str, tuple[float, float]]]:
    """Return the lowest untried rung that changes something: its number, and (target, new value) of each knob."""
    if repair.ladder and (far := _unrepaired_far_knobs(context, state)):
        changes = {name: (getattr(context.base, name), value) for name, value in far.items()}
        if repair.combines_first_rung:
            reset = apply_overrides(state, target, step).with_values(far)
            first_rung = adjust_knobs(repair.ladder[0], reset, context.turnable)
            changes |= {name: (getattr(target, name), value) for name, value in first_rung.items()}
        return 0, changes
    knobs = apply_overrides(state, target, step)
    tried = [remedy.rung for remedy in state.applied if remedy.symptom == symptom and remedy.until > step]
    for number in range(max(tried, default=0) + 1, len(repair.ladder) + 1):
        if values := adjust_knobs(repair.ladder[number - 1], knobs, context.turnable):
            return number, {name: (getattr(target, name), value) for name, value in values.items()}
    return len(repair.ladder), {}


def _until(
    settings: RepairSettings, context: RepairContext, state: RepairState, symptom: str, rung: int, step: int
) -> int:
    """Return the step at which an override expires: the end of the run if it is a repetition or the end is near."""
    share = settings.divergence_duration if symptom == "divergence" else settings.duration
    until = step + round(share * context.steps)
    is_repeated = any(remedy.symptom == symptom and remedy.rung == rung for remedy in state.applied)
    return context.steps if is_repeated or until >= settings.permanent_after * context.steps else until


def _effective_value(override: Override, target: Knobs, knob_range: KnobRange) -> float:
    value: float = getattr(target, override.knob)
    if knob_range.scale == "log" and value > 0 and override.base > 0 and override.value > 0:
        return value * override.value / override.base
    return override.value


def _without_expired(state: RepairState, step: int) -> RepairState:
    return dataclasses.replace(
        state, overrides=tuple(override for override in state.overrides if step < override.until)
    )


def _record(state: RepairState, remedy: Remedy, step: int) -> RepairState:
    """Return the state with one more remedy applied; its overrides are added by the pilot."""
    is_restart = remedy.restore and remedy.newest == 0
    applied = AppliedRemedy(step, remedy.finding.symptom, remedy.rung, remedy.until, is_restart)
    return dataclasses.replace(state, applied=(*state.applied, applied))
