"""A start by successive halving (Jamieson and Talwalkar 2016): several settings begin, the best one gets the budget.

All settings start from the same initial weights. The better half goes on to twice the length, until one is left: it
has the rest of the steps, with its weights. With n settings of s steps at first, the start costs

    n s + (n / 2) s + (n / 4) 2 s + (n / 8) 4 s + …          steps
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from equipoise.comparison.suite.candidates import UNCHANGED, Candidate, CandidateSpace
from equipoise.comparison.suite.episode import ArmSettings, EpisodeCurve
from equipoise.comparison.suite.shared_budget import History, SharedBudget
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core import validation
from equipoise.errors import SettingError

SAMPLING_SEED = 8009
"""Part of the seed of the settings, which differ between seeds of a run."""


@dataclass(frozen=True)
class Halving:
    """A start by successive halving.

    `count`: number of settings; the first one is the unchanged setting of the arm. `start`: share of the budget for the
    choice. `candidates`: settings after the first one; default: sampled from `space`. `threshold`: by how many standard
    deviations of the noise a setting must be better than the unchanged one. `history`: evaluations among which the best
    weights are selected.
    """

    count: int = 4
    start: float = 0.15
    candidates: Sequence[Candidate] | None = None
    space: CandidateSpace = field(default_factory=CandidateSpace)
    threshold: float = 1.0
    history: History = "all"

    def __post_init__(self) -> None:
        validation.check_at_least(1, count=self.count)
        validation.check_at_least(0, threshold=self.threshold)
        if not 0 < self.start < 1:
            raise SettingError(f"start = {self.start:g}: it must be above 0 and below 1")
        if self.candidates is not None and len(self.candidates) != self.count - 1:
            raise SettingError(f"there are {len(self.candidates)} candidates for count = {self.count}: give one fewer")

    def play(self, task: SuiteTask, settings: ArmSettings, seed: int) -> EpisodeCurve:
        """Train all settings, the best one to the end. Raises SettingError if the start has too few steps."""
        first, rungs = self._first_length(task), rung_sizes(self.count)
        ends = [first * 2**number for number in range(len(rungs))]
        discarded = sum((size - 1) * (end - begin) for size, begin, end in zip(rungs, (0, *ends), ends, strict=False))
        budget = SharedBudget(task, settings, seed, task.steps - discarded)
        generator = np.random.default_rng((SAMPLING_SEED, seed))
        branches = [budget.start(candidate) for candidate in self._settings(generator)]
        for size, end in zip(rungs, ends, strict=True):
            branches = [budget.train_branch(branch, end) for branch in branches[:size]]
            branches = [branches[index] for index in budget.order(branches, self.threshold)]
        return budget.curve(budget.train_branch(branches[0], task.steps - discarded), self.history)

    def _settings(self, generator: np.random.Generator) -> list[Candidate]:
        if self.candidates is not None:
            return [UNCHANGED, *self.candidates]
        return [UNCHANGED, *(self.space.sample(generator) for _ in range(self.count - 1))]

    def _first_length(self, task: SuiteTask) -> int:
        rungs = rung_sizes(self.count)
        cost = sum(size * (1 if number == 0 else 2 ** (number - 1)) for number, size in enumerate(rungs))
        if rungs and (length := math.floor(self.start * task.steps / cost)) < 1:
            raise SettingError(
                f"task '{task.name}' has {task.steps} steps: too few for count = {self.count}, start = {self.start:g}"
            )
        return length if rungs else 0


def rung_sizes(count: int) -> list[int]:
    """Return the number of settings that train in each rung: half of those before, rounded up, while more than one."""
    sizes = []
    while count > 1:
        sizes.append(count)
        count = math.ceil(count / 2)
    return sizes
