"""Paired probes inside a run: two short branches from one state, one with a changed knob; the better one goes on.

Both branches have the same batches and random numbers, so that their difference is less noisy than each of them. A
change must be better by more than the noise of the live distance, else the run keeps its knobs. The steps of the other
branch are charged to the budget. Related: the forward and backward steps of population-based training (Jaderberg et al.
2017), and racing by paired tests (Maron and Moore 1994, "Hoeffding Races").
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.comparison.suite.candidates import Candidate, set_candidate
from equipoise.comparison.suite.episode import ArmSettings, EpisodeCurve
from equipoise.comparison.suite.paired_distance import difference_noise
from equipoise.comparison.suite.shared_budget import Branch, History, SharedBudget
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core import validation
from equipoise.errors import SettingError

CHANGES = (
    Candidate(offsets={"augment_p": 0.2}),
    Candidate(factors={"lr_g": 0.5, "lr_d": 0.5}),
    Candidate(factors={"r1_gamma": 4.0, "gp_weight": 4.0}),
    Candidate(factors={"augment_p": 0.0}),
)
"""More augmentation, both rates lower, a stronger penalty, no augmentation."""


@dataclass(frozen=True)
class Probes:
    """A run with paired probes.

    `times`: when they start, as shares of the budget. `branch`: length of each branch, as a share of the budget.
    `changes`: what is tried, in turn. `threshold`: standard deviations of the noise by which a change must be better.
    `rank_margin`: a change that is not worse by more than that is kept, too, if it lowers rank_train_held_out, the
    overfitting of the discriminator, by this margin; default: not used. `history`: evaluations among which the best
    weights are selected.
    """

    times: Sequence[float] = (0.15, 0.3, 0.45, 0.6)
    branch: float = 0.05
    changes: Sequence[Candidate] = CHANGES
    threshold: float = 1.0
    rank_margin: float | None = None
    history: History = "all"

    def __post_init__(self) -> None:
        validation.check_above(0, branch=self.branch)
        validation.check_at_least(0, threshold=self.threshold, rank_margin=self.rank_margin)
        if not self.changes:
            raise SettingError("changes is empty: give at least one change to try")
        ends = [0.0, *(time + 2 * self.branch for time in self.times)]
        for end, time in zip(ends, (*self.times, 1.0), strict=True):
            if time < end - 1e-9:
                raise SettingError(f"the probe before {time:g} ends at {end:g}: give later times or shorter branches")

    def play(self, task: SuiteTask, settings: ArmSettings, seed: int) -> EpisodeCurve:
        """Train one run. Raises SettingError if a branch has less than one step.

        Where no change has an effect there is no probe, and its steps are not spent.
        """
        length = round(self.branch * task.steps)
        if self.times and length < 1:
            raise SettingError(f"task '{task.name}' has {task.steps} steps: too few for branch = {self.branch:g}")
        starts = [math.floor(time * task.steps) - length * number for number, time in enumerate(self.times)]
        total = task.steps - length * len(starts)
        budget = SharedBudget(task, settings, seed, total)
        run, turn = budget.start(), 0
        for start in starts:
            run = budget.train_branch(run, start, evaluate=False)
            other, turn = self._change(run, turn)
            if other is not None:
                end = run.snapshot.step + length
                same, other = budget.train_branch(run, end), budget.train_branch(other, end)
                run = other if self._is_better(budget, other, same) else same
        return budget.curve(budget.train_branch(run, total), self.history)

    def _change(self, run: Branch, turn: int) -> tuple[Branch | None, int]:
        """Return the run with the next change that has an effect, None if none has, and whose turn is next."""
        for number in range(turn, turn + len(self.changes)):
            candidate = run.candidate.followed_by(self.changes[number % len(self.changes)])
            if set_candidate(copy.copy(run.snapshot.pilot), run.snapshot.step, candidate):
                return dataclasses.replace(run, candidate=candidate), number + 1
        return None, turn

    def _is_better(self, budget: SharedBudget, other: Branch, same: Branch) -> bool:
        if not (math.isfinite(other.live) and math.isfinite(same.live)):
            return other.live < same.live
        with budget.charge():
            noise = self.threshold * difference_noise(budget.kernels(other), budget.kernels(same))
        if other.live < same.live - noise:
            return True
        if self.rank_margin is None or other.rank is None or same.rank is None:
            return False
        return other.rank <= same.rank - self.rank_margin and other.live <= same.live + noise
