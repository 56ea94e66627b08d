"""One budget of steps for several copies of a training: what every copy costs is charged, also what is discarded."""

import dataclasses
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from equipoise.comparison.suite.candidates import (
    UNCHANGED,
    Candidate,
    present_candidate,
    set_candidate,
    with_candidates,
)
from equipoise.comparison.suite.data import DataWithTestReals
from equipoise.comparison.suite.distance import FakeKernels, RandomFeatureDistance
from equipoise.comparison.suite.episode import (
    RECORDED,
    ArmSettings,
    EpisodeCurve,
    Evaluation,
    Ruler,
    open_training,
    record_curve,
)
from equipoise.comparison.suite.snapshots import TrainingSnapshot, load_snapshot, take_snapshot, train_until
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core import catalog
from equipoise.training import outputs, probe


@dataclass(frozen=True)
class Branch:
    """A copy of the training. `live`: its last distance to the held-out samples, infinite if it diverged or is unknown.

    `evaluation`: the last one. `diverged`: whether it or a copy before it diverged.
    """

    snapshot: TrainingSnapshot
    candidate: Candidate = UNCHANGED
    live: float = math.inf
    evaluation: Evaluation | None = None
    diverged: bool = False


class SharedBudget:
    """A training whose copies are trained in turn, and the account of their steps and seconds. Mutable.

    `steps`: charged so far, over all copies. `cpu`: seconds of processor time, without the reported metric.
    """

    def __init__(self, task: SuiteTask, settings: ArmSettings, seed: int, length: int) -> None:
        """Open the training. `length`: steps of one copy from the start to its end, at which its progress is 1."""
        self.training = with_candidates(open_training(dataclasses.replace(task, steps=length), settings, seed))
        data: DataWithTestReals = catalog.build("data", task.data, task.data_options(draw=seed))
        self.ruler = Ruler.of(data, self.training.state.model)
        self.steps, self.remedies, self.cpu = 0, 0, 0.0
        self.evaluations: list[Evaluation] = []

    def start(self, candidate: Candidate = UNCHANGED) -> Branch:
        """Return a branch that has not trained; nothing may have been trained before."""
        return Branch(take_snapshot(self.training), candidate)

    def go_on(self, branch: Branch, step: int, *, evaluate: bool = True) -> Branch:
        """Train a copy of a branch with its candidate until its step number `step`, and return its new state.

        `evaluate`: whether to evaluate it then, if the training does not do so itself at this step.
        """
        with self.charge():
            load_snapshot(self.training, branch.snapshot)
            if branch.candidate != present_candidate(self.training.pilot):
                set_candidate(self.training.pilot, branch.snapshot.step, branch.candidate)
        before = branch.snapshot.step
        curve = record_curve(self.training, train_until(self.training, step), self.ruler)
        offset = self.steps - before
        evaluations = [dataclasses.replace(entry, step=entry.step + offset) for entry in curve.evaluations]
        self.evaluations += evaluations
        self.steps += self.training.state.step - before
        self.remedies += curve.remedies
        self.cpu += curve.cpu
        diverged = branch.diverged or curve.diverged
        last = evaluations[-1] if evaluations and evaluations[-1].step == self.steps else None
        if last is None and evaluate and self.training.verdict != "diverged":
            last = self.evaluate()
        usable = last is not None and self.training.verdict != "diverged" and math.isfinite(last.live)
        with self.charge():
            snapshot = take_snapshot(self.training)
        return Branch(snapshot, branch.candidate, last.live if last and usable else math.inf, last, diverged)

    def evaluate(self) -> Evaluation:
        """Evaluate the training as it is, without telling its controller, and add this to the curve."""
        training = self.training
        assert training.evaluation is not None
        with self.charge():
            measured = outputs.measure_metric(training, training.evaluation)
        assert measured is not None
        values = training.pilot.knobs.values()
        knobs = {name: values[name] for name in RECORDED if name in values}
        evaluation = Evaluation(self.steps, self.ruler.measure(training), measured.value, knobs)
        self.evaluations.append(evaluation)
        return evaluation

    def kernels(self, branch: Branch) -> FakeKernels:
        """Return the kernels of the samples of a branch that the live distance compares, to the held-out reals."""
        evaluation = self.training.evaluation
        assert evaluation is not None
        assert isinstance(evaluation.metric, RandomFeatureDistance)
        with self.charge():
            load_snapshot(self.training, branch.snapshot)
            fake = probe.generate_samples(self.training.state, evaluation.latents, evaluation.condition)
            return evaluation.metric.kernels(evaluation.statistics, fake)

    @contextmanager
    def charge(self) -> Iterator[None]:
        """Charge the processor time of the context."""
        start = time.process_time()
        yield
        self.cpu += time.process_time() - start

    def curve(self, result: Branch) -> EpisodeCurve:
        """Return the curve of all copies in the order of their training, with that of `result` at the end."""
        evaluations = list(self.evaluations)
        if result.evaluation is not None and evaluations[-1] is not result.evaluation:
            evaluations.append(dataclasses.replace(result.evaluation, step=self.steps))
        return EpisodeCurve(tuple(evaluations), result.diverged, self.cpu, self.remedies)
