"""Training of a run of a comparison, whose cost and quality are measured at its checkpoints."""

from collections.abc import Callable
from pathlib import Path

from equipoise.comparison import measurements, plan_runs
from equipoise.comparison.measurements import CostClock, Measurement, append_measurement
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec
from equipoise.core.events import Finished, FinishReason, Resumed, Saved, Stepped
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, require


def train_and_measure(
    plan: ComparisonPlan,
    run: RunSpec,
    experiment: Experiment,
    path: Path,
    measured: Path,
    interrupted: Callable[[], bool],
    until: int | None = None,
) -> FinishReason:
    """Start or resume a run in a folder, measure each checkpoint that is due, and return the reason for the end.

    `measured`: file of the measurements. `until`: step after which training pauses with a checkpoint, so that a
    later call can continue.
    """
    clock, sampling, is_reached = CostClock(), plan.arms[run.arm].sampling, False
    every, steps = require(experiment.save_every, "save_every"), require(experiment.steps, "steps")

    def is_stopping() -> bool:
        return is_reached or interrupted()

    with clock.paused():
        metric = measurements.build_reported_metric(plan_runs.get_task(plan, run.setting), experiment, plan.samples)
        last = measurements.restore_last_measured(path, measured)
    if last and until is not None and until <= last.step < steps:
        return "interrupted"
    events = launch.resume(path, interrupted=is_stopping) if last else launch.start(experiment, path, is_stopping)
    for event in events:
        match event:
            case Resumed() if last:
                clock.set(last.cpu, last.seconds)
            case Stepped() if until is not None and event.step >= until:
                is_reached = True
            case Saved():
                is_due = event.step % every == 0 or event.step == steps
                with clock.paused() as reading:
                    value, cost, weights = metric.of_run(path, sampling) if is_due else (None, None, None)
                    line = Measurement(event.step, value, *reading, sampling=cost, weights=weights)
                    interrupted()  # raises an error if another process has taken over the run
                    append_measurement(measured, line)
            case Finished():
                if event.reason == "diverged":  # without a checkpoint, but its time counts
                    append_measurement(measured, Measurement(event.step, None, *clock.read()))
                return event.reason
    raise AssertionError("a run ends with Finished")
