"""One budget of steps for several copies of a training: what every copy costs is charged, also what is discarded."""

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

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
    EVALUATIONS,
    RECORDED,
    ArmSettings,
    DistanceToTestReals,
    EpisodeCurve,
    Evaluation,
    open_training,
    record_curve,
)
from equipoise.comparison.suite.paired_distance import difference_noise
from equipoise.comparison.suite.snapshots import TrainingSnapshot, load_snapshot, take_snapshot, train_until
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core import catalog
from equipoise.core.events import Event, Sensed
from equipoise.pilot.pilot import DENSE_STEPS
from equipoise.training import outputs, probe

History = Literal["all", "result"]
"""The evaluations among which the best weights are selected: of all copies, or of the result and what it continues."""


@dataclass(frozen=True)
class Branch:
    """A copy of the training. `live`: its last distance to the held-out samples, infinite if it diverged or is unknown.

    `evaluations`: its own and those of the copies that it continues. `rank`: the last rank_train_held_out. `diverged`:
    whether it or one that it continues diverged.
    """

    snapshot: TrainingSnapshot
    candidate: Candidate = UNCHANGED
    live: float = math.inf
    evaluations: tuple[Evaluation, ...] = ()
    rank: float | None = None
    diverged: bool = False


class SharedBudget:
    """A training whose copies are trained in turn, and the account of their steps and seconds. Mutable.

    `steps`: charged so far, over all copies. `cpu`: seconds of processor time, without the reported metric.
    """

    def __init__(self, task: SuiteTask, settings: ArmSettings, seed: int, length: int) -> None:
        """Open the training. `length`: steps of one copy from the start to its end, at which its progress is 1.

        Readings are as many as in a run of that length, evaluations as frequent as in a run of the whole budget. The
        first readings, which follow every step, are shortened in proportion.
        """
        self.training = with_candidates(open_training(dataclasses.replace(task, steps=length), settings, seed))
        evaluate_every = max(1, task.steps // EVALUATIONS)
        self.training.plan = dataclasses.replace(self.training.plan, evaluate_every=evaluate_every)
        self.training.pilot.dense_steps = round(DENSE_STEPS * length / task.steps)
        data: DataWithTestReals = catalog.build("data", task.data, task.data_options(draw=seed))
        self.test_distance = DistanceToTestReals.of(data, self.training.state.model)
        self.steps, self.remedies, self.cpu = 0, 0, 0.0
        self.evaluations: list[Evaluation] = []

    def start(self, candidate: Candidate = UNCHANGED) -> Branch:
        """Return a branch that has not trained; nothing may have been trained before."""
        return Branch(take_snapshot(self.training), candidate)

    def train_branch(self, branch: Branch, step: int, *, evaluate: bool = True) -> Branch:
        """Train a copy of a branch with its candidate until its step number `step`, and return its new state.

        `evaluate`: whether to evaluate it then, if the training does not do so itself at this step.
        """
        with self.charge():
            load_snapshot(self.training, branch.snapshot)
            if branch.candidate != present_candidate(self.training.pilot):
                set_candidate(self.training.pilot, branch.snapshot.step, branch.candidate)
        before, first = branch.snapshot.step, len(self.evaluations)
        ranks: list[float | None] = [branch.rank]
        events = with_ranks(train_until(self.training, step), ranks)
        curve = record_curve(self.training, events, self.test_distance)
        offset = self.steps - before
        self.evaluations += [dataclasses.replace(entry, step=entry.step + offset) for entry in curve.evaluations]
        self.steps += self.training.state.step - before
        self.remedies += curve.remedies
        self.cpu += curve.cpu
        usable = self.training.verdict != "diverged"
        is_measured = len(self.evaluations) > first and self.evaluations[-1].step == self.steps
        if evaluate and usable and not is_measured:
            self.evaluations.append(self.evaluate())
            is_measured = True
        live = self.evaluations[-1].live if usable and is_measured else math.inf
        with self.charge():
            snapshot = take_snapshot(self.training)
        return Branch(
            snapshot,
            branch.candidate,
            live if math.isfinite(live) else math.inf,
            (*branch.evaluations, *self.evaluations[first:]),
            ranks[-1],
            branch.diverged or curve.diverged,
        )

    def evaluate(self) -> Evaluation:
        """Evaluate the training as it is, without telling its controller."""
        training = self.training
        assert training.evaluation is not None
        with self.charge():
            measured = outputs.measure_metric(training, training.evaluation)
        assert measured is not None
        values = training.pilot.knobs.values()
        knobs = {name: values[name] for name in RECORDED if name in values}
        return Evaluation(self.steps, self.test_distance.measure(training), measured.value, knobs)

    def order(self, branches: Sequence[Branch], threshold: float) -> list[int]:
        """Return the positions of branches, best first by the live distance; those that diverged are last.

        To come before the unchanged setting, another one must be better by `threshold` standard deviations of the noise
        of their difference.
        """
        lives = {index: branch.live for index, branch in enumerate(branches)}
        usable = [index for index, live in lives.items() if math.isfinite(live)]
        base = next((index for index in usable if branches[index].candidate == UNCHANGED), None)
        if threshold > 0 and base is not None:
            with self.charge():
                reference = self.kernels(branches[base])
                for index in usable:
                    if index != base:
                        lives[index] += threshold * difference_noise(self.kernels(branches[index]), reference)
        return sorted(lives, key=lambda index: lives[index])

    def kernels(self, branch: Branch) -> FakeKernels:
        """Return the kernels of the samples that the live distance of a branch compares; not charged."""
        evaluation = self.training.evaluation
        assert evaluation is not None
        assert isinstance(evaluation.metric, RandomFeatureDistance)
        load_snapshot(self.training, branch.snapshot)
        fake = probe.generate_samples(self.training.state, evaluation.latents, evaluation.condition)
        return evaluation.metric.kernels(evaluation.statistics, fake)

    @contextmanager
    def charge(self) -> Iterator[None]:
        """Charge the processor time of the context."""
        start = time.process_time()
        yield
        self.cpu += time.process_time() - start

    def curve(self, result: Branch, history: History = "all") -> EpisodeCurve:
        """Return the curve of a result, with its own last evaluation at the end.

        `history`: see History.
        """
        evaluations = list(self.evaluations if history == "all" else result.evaluations)
        if result.evaluations and evaluations[-1] is not result.evaluations[-1]:
            evaluations.append(dataclasses.replace(result.evaluations[-1], step=self.steps))
        return EpisodeCurve(tuple(evaluations), result.diverged, self.cpu, self.remedies)


def with_ranks(events: Iterator[Event], ranks: list[float | None]) -> Iterator[Event]:
    """Yield the events, and append rank_train_held_out of each reading that has it to a list."""
    for event in events:
        if isinstance(event, Sensed) and event.signals.rank_train_held_out is not None:
            ranks.append(event.signals.rank_train_held_out)
        yield event
