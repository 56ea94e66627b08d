"""The pure step of a pilot: statistics of a training run in; signals, health, changes of knobs and a remedy out.

    statistics ─▶ signals ─▶ health ─▶ controller ─▶ remedies ─▶ manual ─▶ knobs

All functions are pure and independent of optimizers: they take a :class:`PilotState` and return a new one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from equipoise.core.controller import AnyController
from equipoise.core.events import MANUAL, REPAIR
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.observations import Health, MetricReading, Observation, Override, Remedy, ScalarStats, Signals
from equipoise.diagnosis.diagnose import diagnose
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.remedies import RepairContext, RepairSettings, apply_overrides, prescribe
from equipoise.diagnosis.signals import SignalWindow, compute_signals
from equipoise.diagnosis.symptoms.data import follow_range
from equipoise.errors import SettingError
from equipoise.pilot.state import PilotState, controller_name

IdealLoss = Callable[[Any], float]
"""Maps the knobs of a model to the discriminator's adversarial loss for perfect fakes."""


@dataclass(frozen=True, slots=True)
class PilotSettings:
    """Settings that do not change during a run.

    `steps`: planned length. `base`: the user's knobs. `turnable`: names of the knobs that have an effect. `published`:
    the knobs of the model's paper, which repair restores. `repair`: None for no repair. `ideal`: None if unknown.
    """

    controller: AnyController
    steps: int
    base: Knobs
    turnable: frozenset[str]
    published: Knobs
    repair: RepairSettings | None = None
    ideal: IdealLoss | None = None

    def progress(self, step: int) -> float:
        """Return the progress of the run after a step, from 0 to 1."""
        return min(1.0, step / self.steps)


@dataclass(frozen=True, slots=True)
class PilotInput:
    """Statistics of the steps since the last reading, up to step number `step` with `images` reals seen."""

    step: int
    images: int
    window: SignalWindow


@dataclass(frozen=True, slots=True)
class KnobChange:
    """A change of one knob. `source`: the controller, "repair", "manual", or "knobs" for values of the user."""

    knob: str
    before: float
    after: float
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Result of one reading. `loss`: statistics of each "phase.term". `remedy`: its overrides are in `changes` already.

    `restored`: the step whose weights a custom loop was rolled back to; None without a rollback. `reward`: see Turn.
    `held`: of the knobs that a person holds, the values that the controller would give them.
    """

    loss: Mapping[str, ScalarStats]
    observation: Observation
    changes: tuple[KnobChange, ...]
    remedy: Remedy | None = None
    restored: int | None = None
    reward: float | None = None
    held: Mapping[str, float] = field(default_factory=dict)


def initial_state(settings: PilotSettings, knobs: Knobs) -> tuple[PilotState, tuple[KnobChange, ...]]:
    """Return the state before the first step, and the changes that lead to it.

    `knobs`: the current values, which differ from the base if the user passed other values than the optimizers have.
    The first decision of the controller is not limited by the maximum change of a knob.
    """
    controller, base = settings.controller, settings.base
    observation = Observation(0, settings.progress(0), Signals(), Health(), base, settings.turnable)
    turn = controller.update(controller.initial(base), observation)
    in_range = {name: range.clamp(getattr(turn.knobs, name)) for name, range in turn.knobs.ranges().items()}
    target = base.with_values(in_range)
    state = PilotState(knobs=knobs, target=target, controller=turn.state)
    state, by_user = _set_knobs(state, base, {}, "knobs", "set by knobs=")
    state, by_controller = _set_knobs(state, target, turn.reasons, controller_name(controller))
    return state, by_user + by_controller


def pilot_step(settings: PilotSettings, state: PilotState, inputs: PilotInput) -> tuple[PilotState, Decision]:
    """Compute the signals of a window, diagnose them, and decide about the knobs and the repair of the run.

    Waits for the device once, to read the window.
    """
    step, progress = inputs.step, settings.progress(inputs.step)
    ideal = settings.ideal(state.knobs) if settings.ideal else None
    statistics = compute_signals(inputs.window, _metric_readings(state, inputs.images), ideal)
    reals = follow_range(state.history.reals, inputs.window.real, inputs.window.fake)
    health, history = diagnose(replace(state.history, reals=reals), step, progress, statistics.signals)
    observation = Observation(step, progress, statistics.signals, health, state.target, settings.turnable)
    state, changes, reward = decide(settings, replace(state, history=history), observation)
    remedy = None
    if settings.repair is not None:
        free = settings.turnable - state.manual.keys()
        context = RepairContext(settings.steps, settings.published, free, settings.base)
        remedy, repair = prescribe(settings.repair, context, state.repair, health, state.target, step)
        state = replace(state, repair=repair)
    if remedy is not None:
        reason = f"{remedy.finding.symptom}, remedy number {remedy.rung} for this symptom"
        if remedy.rung == 0:
            reason = f"{remedy.finding.symptom}, reset of knobs far from their published values"
        state, overridden = add_overrides(state, remedy.overrides, step, reason)
        changes += overridden
    held = {name: getattr(state.target, name) for name in sorted(state.manual)}
    return state, Decision(statistics.loss, observation, changes, remedy, reward=reward, held=held)


def decide(
    settings: PilotSettings, state: PilotState, observation: Observation
) -> tuple[PilotState, tuple[KnobChange, ...], float | None]:
    """Let the controller decide; return the new state, the changes of the knobs, and the reward.

    effective knobs = clamp(manual(overrides(target))), target = clamp(controller(observation)).
    """
    turn, step = settings.controller.update(state.controller, observation), observation.step
    state = replace(state, controller=turn.state)
    state, expired = _set_knobs(state, effective_knobs(state, step), {}, REPAIR, "an override has expired")
    state = replace(state, target=state.target.step_towards(turn.knobs))
    state, changes = _set_knobs(state, effective_knobs(state, step), turn.reasons, controller_name(settings.controller))
    return state, expired + changes, turn.reward


def add_overrides(
    state: PilotState, overrides: Sequence[Override], step: int, reason: str
) -> tuple[PilotState, tuple[KnobChange, ...]]:
    """Hold knobs at other values than the controller requests, each until its override expires."""
    state = replace(state, repair=state.repair.with_overrides(overrides))
    return _set_knobs(state, effective_knobs(state, step), {}, REPAIR, reason)


def effective_knobs(state: PilotState, step: int) -> Knobs:
    """Return the controller's target, overridden by repair, and both overridden by the values that a person holds."""
    return apply_overrides(state.repair, state.target, step).with_values(state.manual)


def set_manual(
    settings: PilotSettings, state: PilotState, knob: str, value: float | None, step: int, reason: str
) -> tuple[PilotState, tuple[KnobChange, ...]]:
    """Hold a knob at a value until it is released; None: release it, to the value that controller and repair give it.

    Raises UnknownNameError if there is no such knob; SettingError if it has no effect, if the value is outside its
    range, and for the release of a knob that is not held.
    """
    if value is None and knob not in state.manual:
        held = ", ".join(sorted(state.manual)) or "none"
        raise SettingError(f"{knob} is not held, so it cannot be released; held knobs: {held}")
    others = {name: other for name, other in state.manual.items() if name != knob}
    if value is not None:
        state.knobs.with_values({knob: value})  # raises if it is no knob or out of range
        check_turnable([knob], settings.turnable, "this run")
        others[knob] = value
    state = replace(state, manual=others)
    return _set_knobs(state, effective_knobs(state, step), {}, MANUAL, reason)


def after_rollback(state: PilotState, lost_steps: int) -> PilotState:
    """Return the state after weights of `lost_steps` ago were loaded: later measurements no longer count.

    The state of the controller, the clock and the budget of remedies do not change.
    """
    repair = replace(state.repair, lost_steps=state.repair.lost_steps + lost_steps)
    return replace(state, repair=repair, history=SignalHistory(reals=state.history.reals), metrics={})


def _set_knobs(
    state: PilotState, knobs: Knobs, reasons: Mapping[str, str], source: str, default_reason: str = ""
) -> tuple[PilotState, tuple[KnobChange, ...]]:
    differences = state.knobs.differences(knobs).items()
    changes = tuple(
        KnobChange(name, before, after, reasons.get(name, default_reason), source)
        for name, (before, after) in differences
    )
    return replace(state, knobs=knobs), changes


def _metric_readings(state: PilotState, images: int) -> dict[str, MetricReading]:
    return {
        name: MetricReading(metric.value, images - metric.images, metric.better)
        for name, metric in state.metrics.items()
    }
