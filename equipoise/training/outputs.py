"""Outputs of a training besides its weights: samples, evaluations of the metric, and probes at readings."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from equipoise.core.data import DecodingStream, Stream
from equipoise.core.events import Evaluated, Sampled, Skipped
from equipoise.core.model import StepRecord
from equipoise.core.sampling_cost import SamplingCost
from equipoise.core.timed_sampling import time_sampling
from equipoise.core.tokens import decode_samples
from equipoise.diagnosis.sample_statistics import MAX_SAMPLES
from equipoise.diagnosis.symptoms.data import describe_range
from equipoise.training import probe
from equipoise.training.plan import MetricEvaluation, abortable

if TYPE_CHECKING:
    from equipoise.training.loop import Training


@dataclass(frozen=True, slots=True)
class MeasuredMetric:
    """A value of the metric, the seconds that it took, and the part of them that its samples took."""

    value: float
    seconds: float
    sampling: SamplingCost


def unusual_range(stream: Stream) -> dict[str, float]:
    """Return low, high, mean and deviation of the first batch of reals if their range is unusual; otherwise nothing."""
    real = probe.real_samples([stream.batch(0)])
    return {} if real is None else describe_range(real)


def report_damaged(training: "Training") -> Iterator[Skipped]:
    """Report files that were found to be damaged since the last time."""
    stream = training.streams.train
    if isinstance(stream, DecodingStream):
        new = {path: reason for path, reason in stream.damaged().items() if path not in training.damaged}
        training.damaged.update(new)
        if new:
            yield Skipped(training.state.step, training.state.images, new)


def sample_grid(training: "Training") -> Sampled:
    """Generate the samples of the grid, from the same latents or inputs each time."""
    state, layout = training.state, training.layout
    samples = probe.generate_samples(state, *training.preview.first(layout.count))
    texts = decode_samples(state.model.vocabulary, samples)
    grid = probe.to_array(layout.arrange(samples))
    return Sampled(state.step, state.images, grid, layout.columns, layout.image_roles, texts)


def measure_metric(training: "Training", evaluation: MetricEvaluation) -> MeasuredMetric | None:
    """Compute the metric without changing the training; None if a stop was requested meanwhile."""
    start = time.monotonic()
    try:
        with abortable(training.plan.interrupted):
            samples, sampling = time_sampling(
                lambda: probe.generate_samples(training.state, evaluation.latents, evaluation.condition),
                min(len(evaluation.latents), probe.GENERATION_BATCH),
                training.state.device,
            )
            value = evaluation.metric.value(evaluation.statistics, samples)
    except KeyboardInterrupt:
        if not training.plan.interrupted():
            raise
        return None
    return MeasuredMetric(value, time.monotonic() - start, sampling)


def record_metric(
    training: "Training", evaluation: MetricEvaluation, measured: MeasuredMetric, *, is_due: bool = True
) -> Evaluated:
    """Record a value of the metric in the pilot, if the evaluation was due by itself, and as the best one, if it is."""
    state, better = training.state, evaluation.metric.better
    if is_due:
        training.pilot.record_metric(evaluation.name, measured.value, state.images, better)
    training.best.update(measured.value, state.step, evaluation.metric)
    return Evaluated(
        step=state.step,
        images=state.images,
        metric=evaluation.name,
        value=measured.value,
        better=better,
        count=len(evaluation.latents),
        seconds=measured.seconds,
        sampling=measured.sampling,
    )


def add_probe(training: "Training", record: StepRecord) -> StepRecord:
    """Add samples, and the logits of training and held-out data, to the record of a step."""
    state, streams = training.state, training.streams
    size = training.plan.batch_size // state.world.size  # of the batches of the stream
    index, knobs = state.step // training.pilot.sense_every, training.pilot.knobs
    progress = state.step / training.plan.steps
    train = probe.draw_batches(streams.train, index, size)
    fake = probe.generate_samples(state, *training.preview.first(MAX_SAMPLES))
    record = replace(record, real=probe.real_samples(train), fake=fake)
    if streams.held_out is not None:
        held_out = probe.draw_batches(streams.held_out, index, size)
        record = replace(record, held_out=probe.real_samples(held_out))
    elif (small := streams.small_held_out) is not None:  # too few for sample statistics
        train = probe.draw_batches(small.train, index, small.size)
        held_out = probe.draw_batches(small.held_out, index, small.size)
    else:
        return record
    return replace(
        record,
        probe_train=probe.probe_logits(state, train, index, knobs, progress),
        probe_held_out=probe.probe_logits(state, held_out, index, knobs, progress),
    )
