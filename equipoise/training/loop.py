"""The training loop: a generator of events. It does not depend on the model; its consumer prints, saves and stops."""

import math
import time
from collections.abc import Generator, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from equipoise.core.events import (
    Event,
    Finished,
    FinishReason,
    Remedied,
    Resumed,
    Saved,
    Sensed,
    Started,
    Stepped,
)
from equipoise.core.metric import Metric
from equipoise.core.model import StepRecord
from equipoise.core.observations import Remedy, Verdict
from equipoise.core.requests import RequestAction
from equipoise.diagnosis.remedies import is_restorable
from equipoise.pilot.pilot import Pilot
from equipoise.pilot.step import Decision
from equipoise.runs.annotations import step_to_keep
from equipoise.training import checkpoint, outputs, ranks
from equipoise.training.load_ahead import load_ahead
from equipoise.training.manual import apply_requests, record_requested_save, turned_events
from equipoise.training.plan import MetricEvaluation, Preview, Streams, TrainingPlan
from equipoise.training.rollback import RollbackPoints
from equipoise.training.sample_layout import SampleLayout
from equipoise.training.state import TrainingState
from equipoise.training.step import run_step


@dataclass(slots=True)
class BestValue:
    """The best value of the metric so far, and its step.

    `extra`: the same step if its checkpoint was saved only for this reason, between two regular ones.
    """

    value: float | None = None
    step: int | None = None
    extra: int | None = None

    def update(self, value: float, step: int, metric: Metric) -> None:
        """Update with the value at a step; non-finite values are ignored."""
        sign = 1 if metric.better == "lower" else -1
        if math.isfinite(value) and (self.value is None or sign * value < sign * self.value):
            self.value, self.step = value, step


@dataclass(slots=True)
class Training:
    """One run in memory: everything that the loop needs.

    `layout`: of the sample grid. `transferred`: share of each network's weights that come from another run, in [0, 1].
    `verdict`: verdict of the last reading, updated after a rollback. `restorable`: whether repair may restore the
    weights of this time later. `pending`: whether the evaluation that was due after the last step was aborted, so that
    it is the first thing to do when the run is resumed. `notes`: information for the user about the settings of this
    run. `requested_saves`: steps of the checkpoints that a person requested. `damaged`: paths of the files that are
    known to be damaged.
    """

    state: TrainingState
    pilot: Pilot
    streams: Streams
    plan: TrainingPlan
    preview: Preview
    evaluation: MetricEvaluation | None = None
    best: BestValue = field(default_factory=BestValue)
    transferred: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict = "unknown"
    restorable: bool = True
    rollback_points: RollbackPoints = field(default_factory=RollbackPoints)
    layout: SampleLayout = field(default_factory=SampleLayout)
    pending: bool = False
    notes: tuple[str, ...] = ()
    requested_saves: list[int] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)


def train(training: Training) -> Iterator[Event]:
    """Train until a stopping rule applies, yielding events. The iterator can be closed safely between two events."""
    state, pilot, plan = training.state, training.pilot, training.plan
    yield from _first_events(training)
    clock = time.monotonic() - state.seconds
    reason = _finish_reason(training)
    if training.pending:
        yield from _due_outputs(training, reason)
        reason = "interrupted" if training.pending else reason
    ranks.share_outcome(training, reason)
    share = partial(ranks.own_stream, world=state.world)
    with load_ahead(training.streams.train, state.device, plan.data_processes, share) as stream:
        while reason is None:
            due = pilot.is_due(state.step + 1)
            record = run_step(state, stream, pilot.knobs, state.step / plan.steps, measure=due)
            state.seconds = time.monotonic() - clock
            yield Stepped(state.step, state.images, state.seconds)
            if due and state.step % pilot.sense_every == 0:
                record = outputs.add_probe(training, record)
            reason = yield from _after_step(training, record)
    yield from outputs.report_damaged(training)
    yield Finished(state.step, state.images, reason, training.verdict, state.seconds)


def _after_step(training: Training, record: StepRecord) -> Generator[Event, None, FinishReason | None]:
    """Decide, repair, take requests, and write what is due after a step; return why the run ends, or None."""
    state = training.state
    if decision := training.pilot.observe(record):
        training.verdict = decision.observation.health.verdict
        training.restorable = is_restorable(decision.observation.health)
        yield _sensed_event(state, decision)
        yield from turned_events(training, decision.changes)
        if decision.remedy:
            remedied = _apply_remedy(training, decision.remedy)
            training.verdict = _verdict_after(remedied, training.verdict)
            yield remedied
        yield from outputs.report_damaged(training)
    requested = yield from apply_requests(training, is_reading=decision is not None)
    stops = "stop" in requested or state.stop.is_set()
    reason = _finish_reason(training) or ("interrupted" if stops else None)
    if not ranks.is_sync_point(training):  # the other processes do not expect the end yet
        state.stop.is_requested |= reason is not None
        return None
    yield from _due_outputs(training, reason, requested)
    reason = "interrupted" if training.pending else reason
    ranks.share_outcome(training, reason)
    return reason


def _finish_reason(training: Training) -> FinishReason | None:
    state, plan = training.state, training.plan
    rules: dict[FinishReason, bool] = {
        "diverged": training.verdict == "diverged",
        "steps": state.step >= plan.steps,
        "images": plan.images is not None and state.images >= plan.images,
        "seconds": plan.seconds is not None and state.seconds >= plan.seconds,
        "equilibrium": plan.stop_at_equilibrium and training.pilot.at_equilibrium,
        "interrupted": plan.interrupted(),
    }
    return next((reason for reason, applies in rules.items() if applies), None)


def _first_events(training: Training) -> Iterator[Event]:
    state, pilot, plan = training.state, training.pilot, training.plan
    if state.step:
        yield Resumed(state.step, state.images)
        return
    reals = outputs.unusual_range(training.streams.train)
    pilot.record_range(reals)
    yield Started(
        0,
        0,
        steps=plan.steps,
        batch_size=plan.step_images,
        precision=state.precision,
        parameters={
            name: sum(weight.numel() for weight in network.parameters())
            for name, network in state.trained_networks.items()
        },
        knobs=pilot.base.values(),
        transferred=training.transferred,
        turnable=tuple(sorted(pilot.turnable)),
        adversarial_start=state.model.adversarial_start,
        notes=training.notes,
        reals=reals,
    )
    yield from turned_events(training, pilot.initial_changes)
    if plan.sample_every:
        yield outputs.sample_grid(training)


def _due_outputs(
    training: Training, reason: FinishReason | None, requested: Set[RequestAction] = frozenset()
) -> Iterator[Event]:
    """Yield the samples, the evaluation and the checkpoint that are due after this step, the checkpoint last.

    All three are due after the last step of a run. After an interruption there is only a checkpoint, so that the
    resumed run equals an uninterrupted one. After a divergence none of them is due. An evaluation that is the best so
    far is saved between two checkpoints, too, if the run keeps its best weights. If a stop is requested during the
    evaluation, it is aborted, and repeated when the run is resumed. What a person requested is added; an evaluation
    that is not due by itself is unknown to the pilot, so that it changes no knob.
    """
    step, plan, evaluation = training.state.step, training.plan, training.evaluation
    if reason == "diverged":
        return
    is_last = reason not in (None, "interrupted")
    samples, evaluates, saves = (
        bool(every and (is_last or step % every == 0))
        for every in (plan.sample_every, plan.evaluate_every, plan.save_every)
    )
    if (samples and not training.pending) or "sample" in requested:
        yield outputs.sample_grid(training)
    if evaluation and (evaluates or "evaluate" in requested):
        measured = outputs.measure_metric(training, evaluation)
        training.pending = evaluates and measured is None
        if measured:
            yield outputs.record_metric(training, evaluation, measured, is_due=evaluates)
    record_requested_save(training, requested)
    is_regular = saves or reason is not None or training.pending or "save" in requested
    is_saving = plan.save_every or "save" in requested
    if plan.checkpoints and is_saving and (is_regular or (plan.keep_best and training.best.step == step)):
        if training.restorable and saves and not training.pending:
            training.rollback_points.steps.append(step)
        yield save(training, plan.checkpoints, extra=not is_regular)


def _sensed_event(state: TrainingState, decision: Decision) -> Sensed:
    observation = decision.observation
    return Sensed(
        state.step,
        state.images,
        progress=observation.progress,
        seconds=state.seconds,
        loss=decision.loss,
        signals=observation.signals,
        health=observation.health,
        reward=decision.reward,
        held=decision.held,
    )


def _apply_remedy(training: Training, remedy: Remedy) -> Remedied:
    """Roll back if the remedy requires it and there are weights to load; the pilot has applied its overrides."""
    state, restored, lost = training.state, None, 0
    point = None
    if remedy.restore:
        point = training.rollback_points.take(training.plan.checkpoints, remedy.newest, remedy.oldest)
    if point:
        restored, tensors = point
        lost = state.step - restored
        state.rolled_back_images += lost * training.plan.step_images
        state.roll_back(ranks.share_rollback(state, tensors), f"step {restored}")
        training.pilot.record_rollback(lost)
    return Remedied(
        state.step, state.images, remedy.finding, remedy.rung, restored, lost, remedy.overrides, remedy.until
    )


def _verdict_after(remedied: Remedied, verdict: Verdict) -> Verdict:
    """Return the verdict after a remedy: weights that diverged are usable again only if they were replaced."""
    return "unhealthy" if verdict == "diverged" and remedied.restored is not None else verdict


def save(training: Training, folder: Path, *, extra: bool = False) -> Saved:
    """Write a checkpoint of the whole training, and delete those that are no longer needed.

    `extra`: whether it is saved only because its metric is the best so far. At most one of these exists.
    """
    state, best, steps = training.state, training.best, training.rollback_points.steps
    previous = best.extra
    if best.step == state.step:
        best.extra = state.step if extra else None
    pilot_tensors, pilot_values = training.pilot.state()
    others, values_of_others = ranks.gather_states(state)
    tensors = {**state.tensors(), **others, **{f"pilot/{name}": value for name, value in pilot_tensors.items()}}
    values = {
        **state.values(),
        "pilot": pilot_values,
        "best": [best.value, best.step],
        "extra_step": best.extra,
        "healthy_steps": steps,
        "verdict": training.verdict,
        "restorable": training.restorable,
        "pending": training.pending,
        **({"requested_saves": training.requested_saves} if training.requested_saves else {}),
        **values_of_others,
    }
    path = checkpoint.write(folder, checkpoint.Checkpoint(state.step, tensors, values))
    chosen = step_to_keep(folder.parent)
    if previous is not None and previous not in (best.extra, chosen):
        checkpoint.remove(folder, previous)
    required = {best.step, chosen, *steps[-2:], *training.requested_saves}
    checkpoint.prune(folder, required, uncounted={best.extra, *training.requested_saves})
    return Saved(state.step, state.images, path.name, best.step == state.step)


def restore(training: Training, path: Path, *, reseed: bool = False) -> None:
    """Restore a training from a checkpoint; `reseed`: without its random state.

    Raises CheckpointError if it is damaged, of other networks, or of another number of processes without `reseed`.
    """
    loaded = ranks.of_rank(checkpoint.read(path), training.state.world, reseed=reseed)
    training.state.restore(loaded.tensors, loaded.values, path.name, with_random=not reseed)
    pilot_tensors = {
        name.removeprefix("pilot/"): value.to(training.state.device)
        for name, value in loaded.tensors.items()
        if name.startswith("pilot/")
    }
    training.pilot.restore(loaded.step, training.state.images, pilot_tensors, loaded.values["pilot"])
    training.best.value, training.best.step = loaded.values["best"]
    training.best.extra = loaded.values.get("extra_step")
    training.rollback_points.steps = loaded.values["healthy_steps"]
    training.verdict = loaded.values.get("verdict", "healthy")
    training.restorable = loaded.values.get("restorable", training.verdict == "healthy")
    training.pending = loaded.values.get("pending", False)
    training.requested_saves = list(loaded.values.get("requested_saves", ()))
