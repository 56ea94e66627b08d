"""Population-based training at equal compute (Jaderberg et al. 2017, "Population Based Training of Neural Networks").

Members with different knobs share the budget of one run, so that each trains for a part of it. After each round the
worst members continue from copies of the best ones (exploit) with changed knobs (explore). The defaults of exploring
are those of Ray Tune: values times 0.8 or 1.25, or sampled again with probability 0.25.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from equipoise.comparison.suite.candidates import UNCHANGED, Candidate, CandidateSpace
from equipoise.comparison.suite.episode import ArmSettings, EpisodeCurve
from equipoise.comparison.suite.shared_budget import Branch, History, SharedBudget
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core import validation
from equipoise.errors import SettingError

SAMPLING_SEED = 8003
"""Part of the seed of the settings, which differ between seeds of a run."""


@dataclass(frozen=True)
class Population:
    """Population-based training. The result is the member with the best live metric at the end.

    `members`: number of settings; the first one is the unchanged setting of the arm. `rounds`: number of parts into
    which a member's training is divided. `quantile`: share of members that is replaced after a round, at most 0.5.
    `perturbation`: factor of a change. `resample`: probability that a value is sampled again instead. `space`: the
    distribution of the settings. `threshold`: by how many standard deviations of the noise a member must be better
    than one with the unchanged setting. `history`: evaluations among which the best weights are selected.
    """

    members: int = 4
    rounds: int = 4
    quantile: float = 0.25
    perturbation: float = 1.25
    resample: float = 0.25
    space: CandidateSpace = field(default_factory=CandidateSpace)
    threshold: float = 1.0
    history: History = "all"

    def __post_init__(self) -> None:
        validation.check_at_least(1, members=self.members, rounds=self.rounds, perturbation=self.perturbation)
        validation.check_at_least(0, threshold=self.threshold)
        validation.check_within(0, 0.5, quantile=self.quantile)
        validation.check_within(0, 1, resample=self.resample)

    def play(self, task: SuiteTask, settings: ArmSettings, seed: int) -> EpisodeCurve:
        """Train the population. Raises SettingError if the budget is less than one step of each member and round."""
        if task.steps < self.members * self.rounds:
            raise SettingError(
                f"task '{task.name}' has {task.steps} steps: too few for {self.members} members in {self.rounds} rounds"
            )
        generator = np.random.default_rng((SAMPLING_SEED, seed))
        length = math.ceil(task.steps / self.members)
        full = self.members - (length * self.members - task.steps)
        budget = SharedBudget(task, settings, seed, length)
        population, order = [budget.start(candidate) for candidate in self._settings(generator)], [0]
        for number in range(1, self.rounds + 1):
            until, is_last = round(length * number / self.rounds), number == self.rounds
            ends = [until - (is_last and index >= full) for index in range(self.members)]
            population = [
                budget.train_branch(member, end, evaluate=self.members > 1)
                for member, end in zip(population, ends, strict=True)
            ]
            order = budget.order(population, self.threshold)
            if not is_last:
                population = self.next_generation(population, order, generator)
        return budget.curve(population[order[0]], self.history)

    def _settings(self, generator: np.random.Generator) -> list[Candidate]:
        return [UNCHANGED, *(self.space.sample(generator) for _ in range(self.members - 1))]

    def next_generation(
        self, population: Sequence[Branch], order: Sequence[int], generator: np.random.Generator
    ) -> list[Branch]:
        """Replace the worst members, and all that diverged, by changed copies of the best ones.

        `order`: positions of the members, best first.
        """
        usable = sum(math.isfinite(member.live) for member in population)
        count = min(math.ceil(self.quantile * self.members), self.members // 2)
        if usable == 0:
            return list(population)
        replaced = order[max(1, min(usable, self.members - count)) :]
        result = list(population)
        for index in replaced:
            source = population[order[int(generator.integers(max(1, min(count, usable))))]]
            candidate = self.space.perturb(source.candidate, generator, self.perturbation, self.resample)
            result[index] = dataclasses.replace(source, candidate=candidate)
        return result
