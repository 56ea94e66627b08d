"""The loop: a generator of events. It never asks which GAN it has, and whoever consumes it prints, saves, stops."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from equipoise.core.data import Stream
from equipoise.core.events import (
    Evaluated,
    Event,
    Finished,
    FinishReason,
    Remedied,
    Resumed,
    Sampled,
    Saved,
    Sensed,
    Started,
    Stepped,
    Turned,
)
from equipoise.core.metric import Metric
from equipoise.core.observations import Remedy, Verdict
from equipoise.core.records import StepRecord
from equipoise.core.tokens import readable
from equipoise.diagnosis.likeness import COMPARED
from equipoise.pilot.pilot import Decision, KnobChange, Pilot
from equipoise.training import checkpoint, probe
from equipoise.training.rollback import Sound
from equipoise.training.sheet import Sheet
from equipoise.training.state import TrainingState
from equipoise.training.step import run_step


def never() -> bool:
    """Nobody interrupts."""
    return False


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, and how often what. Counts are steps; None means never, or no limit.

    `seconds` are those of training, summed over resumes; progress runs by steps alone, so that the clock does not
    decide where a schedule stands.
    """

    steps: int
    batch_size: int
    images: int | None = None
    seconds: float | None = None
    stop_at_equilibrium: bool = False
    sample_every: int | None = None
    evaluate_every: int | None = None
    save_every: int | None = None
    checkpoints: Path | None = None
    interrupted: Callable[[], bool] = never


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A metric and what it is measured on: `latents` (N, ...) and labels or inputs (N, ...), the same every time."""

    name: str
    metric: Metric
    statistics: Any
    latents: Tensor
    condition: Tensor | None


@dataclass(frozen=True, slots=True)
class Streams:
    """Training reals, and held-out ones in batches as large, None where there are not enough for one: then `few`.

    Both are None if the data has too few to spare even for that.
    """

    train: Stream
    held_out: Stream | None = None
    few: probe.Few | None = None


@dataclass(slots=True)
class Best:
    """The best value of the metric so far, and after which step."""

    value: float | None = None
    step: int | None = None

    def update(self, value: float, step: int, metric: Metric) -> None:
        """Take note of a value."""
        sign = 1 if metric.better == "lower" else -1
        if math.isfinite(value) and (self.value is None or sign * value < sign * self.value):
            self.value, self.step = value, step


@dataclass(slots=True)
class Training:
    """One run in memory: everything that the loop needs.

    `preview`: latents and labels, or inputs, of samples to look at; `sheet`: how these are laid out.
    `taken_over`: the share of each network's weights that stem from another run. `sound`: weights to go back to.
    `verdict`: of the last reading, or of what became of it.
    """

    state: TrainingState
    pilot: Pilot
    streams: Streams
    plan: Plan
    preview: tuple[Tensor, Tensor | None]
    evaluation: Evaluation | None = None
    best: Best = field(default_factory=Best)
    transferred: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict = "healthy"
    sound: Sound = field(default_factory=Sound)
    sheet: Sheet = field(default_factory=Sheet)


def train(training: Training) -> Iterator[Event]:
    """Train until a stop rule holds, yielding what happens. Closing the iterator between two events is safe."""
    state, pilot, plan = training.state, training.pilot, training.plan
    yield from _opening(training)
    clock = time.monotonic() - state.seconds
    reason = _finished(training)
    while reason is None:
        due = pilot.is_due(state.step + 1)
        record = run_step(state, training.streams.train, pilot.knobs, state.step / plan.steps, measure=due)
        state.seconds = time.monotonic() - clock
        yield Stepped(state.step, state.images, state.seconds)
        if due and state.step % pilot.sense_every == 0:
            record = _probed(training, record)
        if decision := pilot.observe(record):
            training.verdict = decision.observation.health.verdict
            yield _sensed(state, decision)
            yield from _turned(training, decision.turned)
            if decision.remedy:
                remedied = _remedied(training, decision.remedy)
                training.verdict = _verdict_after(remedied, training.verdict)
                yield remedied
        reason = _finished(training)
        yield from _milestones(training, reason)
    yield Finished(state.step, state.images, reason, training.verdict, state.seconds)


def _finished(training: Training) -> FinishReason | None:
    state, plan = training.state, training.plan
    rules: dict[FinishReason, bool] = {
        "diverged": training.verdict == "diverged",
        "steps": state.step >= plan.steps,
        "images": plan.images is not None and state.images >= plan.images,
        "seconds": plan.seconds is not None and state.seconds >= plan.seconds,
        "equilibrium": plan.stop_at_equilibrium and training.pilot.at_equilibrium,
        "interrupted": plan.interrupted(),
    }
    return next((reason for reason, holds in rules.items() if holds), None)


def _opening(training: Training) -> Iterator[Event]:
    state, pilot, plan = training.state, training.pilot, training.plan
    if state.step:
        yield Resumed(state.step, state.images)
        return
    weights = {
        name: sum(weight.numel() for weight in network.parameters()) for name, network in state.model.networks.items()
    }
    acting = tuple(sorted(pilot.acting))
    told = (plan.steps, plan.batch_size, state.precision, weights, pilot.base.values(), training.transferred, acting)
    yield Started(0, 0, *told, state.model.adversarial_start)
    yield from _turned(training, pilot.started)
    if plan.sample_every:
        yield _sampled(training)


def _milestones(training: Training, reason: FinishReason | None) -> Iterator[Event]:
    """What is due after this step, in an order that a checkpoint closes: nothing of the step follows it.

    The last step of a run brings all of it; an interruption only saves, so that the run goes on as if it had not
    been; nothing is kept of a state that has diverged.
    """
    step, plan = training.state.step, training.plan
    if reason == "diverged":
        return
    last = reason not in (None, "interrupted")
    if plan.sample_every and (last or step % plan.sample_every == 0):
        yield _sampled(training)
    if training.evaluation and plan.evaluate_every and (last or step % plan.evaluate_every == 0):
        yield _evaluated(training, training.evaluation)
    is_due = plan.save_every and (last or step % plan.save_every == 0)
    if plan.checkpoints and plan.save_every and (is_due or reason is not None):
        if training.verdict == "healthy" and is_due:
            training.sound.steps.append(step)
        yield save(training, plan.checkpoints)


def _probed(training: Training, record: StepRecord) -> StepRecord:
    """Look at reals, seen in training and not, with the discriminator; and at a few samples beside them."""
    state, streams, size = training.state, training.streams, training.plan.batch_size
    turn, knobs = state.step // training.pilot.sense_every, training.pilot.knobs
    progress = state.step / training.plan.steps
    train = probe.batches(streams.train, turn, size)
    latents, condition = training.preview
    fake = probe.samples(state, latents[:COMPARED], None if condition is None else condition[:COMPARED])
    record = replace(record, real=probe.reals(train), fake=fake)
    if streams.held_out is not None:
        held_out = probe.batches(streams.held_out, turn, size)
        record = replace(record, held_out=probe.reals(held_out))
    elif (few := streams.few) is not None:  # too few for samples to be compared with
        train, held_out = (probe.batches(side, turn, few.size) for side in (few.train, few.held_out))
    else:
        return record
    return replace(
        record,
        probe_train=probe.logits(state, train, turn, knobs, progress),
        probe_held_out=probe.logits(state, held_out, turn, knobs, progress),
    )


def _sensed(state: TrainingState, decision: Decision) -> Sensed:
    seen, reward = decision.observation, decision.reward
    known = seen.progress, state.seconds, decision.loss, seen.signals, seen.health
    return Sensed(state.step, state.images, *known, reward)


def _turned(training: Training, turnings: tuple[KnobChange, ...]) -> Iterator[Turned]:
    state = training.state
    for one in turnings:
        yield Turned(state.step, state.images, one.knob, one.before, one.after, one.by, one.why)


def _remedied(training: Training, remedy: Remedy) -> Remedied:
    """Go back to sound weights if the remedy wants that and there are any; its knobs are turned already."""
    state, restored, lost = training.state, None, 0
    result = None
    if remedy.restore:
        result = training.sound.before(training.plan.checkpoints, remedy.newest, remedy.oldest)
    if result:
        restored, tensors = result
        state.go_back(tensors, f"step {restored}")
        lost = state.step - restored
        state.unlearnt += lost * training.plan.batch_size
        training.pilot.rolled_back(lost)
    return Remedied(
        state.step, state.images, remedy.finding, remedy.rung, restored, lost, remedy.overrides, remedy.until
    )


def _verdict_after(remedied: Remedied, verdict: Verdict) -> Verdict:
    """Weights that are not numbers stay so unless they were replaced."""
    return "unhealthy" if verdict == "diverged" and remedied.restored is not None else verdict


def _sampled(training: Training) -> Sampled:
    state, sheet, (latents, condition) = training.state, training.sheet, training.preview
    made = probe.samples(state, latents[: sheet.count], None if condition is None else condition[: sheet.count])
    texts = readable(state.model.vocabulary, made)
    return Sampled(state.step, state.images, probe.as_array(sheet.laid_out(made)), sheet.columns, sheet.shows, texts)


def _evaluated(training: Training, evaluation: Evaluation) -> Evaluated:
    state, begun = training.state, time.monotonic()
    made = probe.samples(state, evaluation.latents, evaluation.condition)
    value = evaluation.metric.value(evaluation.statistics, made)
    training.pilot.measured(evaluation.name, value, state.images, evaluation.metric.better)
    training.best.update(value, state.step, evaluation.metric)
    spent = time.monotonic() - begun
    return Evaluated(
        state.step, state.images, evaluation.name, value, evaluation.metric.better, len(evaluation.latents), spent
    )


def save(training: Training, folder: Path) -> Saved:
    """Write a checkpoint of everything, and drop those that are no longer wanted."""
    state, best = training.state, training.best
    tensors, values = training.pilot.state()
    whole = {**state.tensors(), **{f"pilot/{name}": value for name, value in tensors.items()}}
    known = {"best": [best.value, best.step], "sound": training.sound.steps, "verdict": training.verdict}
    rest = {**state.values(), "pilot": values, **known}
    path = checkpoint.write(folder, checkpoint.Checkpoint(state.step, whole, rest))
    checkpoint.prune(folder, {best.step, *training.sound.steps[-2:]})
    return Saved(state.step, state.images, path.name, best.step == state.step)


def restore(training: Training, path: Path) -> None:
    """Go on from a checkpoint. Raises CheckpointError if it is damaged, or of other networks."""
    loaded = checkpoint.read(path)
    training.state.restore(loaded.tensors, loaded.values, path.name)
    tensors = {
        name.removeprefix("pilot/"): value.to(training.state.device)
        for name, value in loaded.tensors.items()
        if name.startswith("pilot/")
    }
    training.pilot.restore(loaded.step, training.state.images, tensors, loaded.values["pilot"])
    training.best.value, training.best.step = loaded.values["best"]
    training.sound.steps = loaded.values["sound"]
    training.verdict = loaded.values.get("verdict", "healthy")
