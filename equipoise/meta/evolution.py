"""Training of policies by an evolution strategy: weights are sampled, evaluated on short runs, and selected.

Separable CMA-ES (Ros and Hansen 2008), from the package `cma`: a variance per weight and no covariances, so that a
hundred weights can be trained in a few hundred episodes. All policies of a generation are evaluated on the same new
tasks, with the same initial weights, data and random numbers, relative to their base policy (see episodes). Runs are
evaluated to their end, because truncated runs favour small steps (Wu 2018, short-horizon bias).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from equipoise.core import catalog
from equipoise.core.controller import AnyController
from equipoise.experiment.settings import Experiment
from equipoise.meta.episodes import compute_advantages, compute_merit, mean_lower_bound
from equipoise.meta.journal import Journal
from equipoise.meta.parallel_episodes import EpisodePlayer
from equipoise.meta.plan import EvolutionSettings, PolicyPlan
from equipoise.policy.files import Policy
from equipoise.policy.kinds import untrained_policy


class EvolutionStrategy(Protocol):
    """Interface of `cma.CMAEvolutionStrategy`, as far as it is used."""

    mean: npt.NDArray[np.float64]

    def ask(self) -> Sequence[npt.NDArray[np.float64]]:
        """Sample the weights of a generation."""

    def tell(self, solutions: Sequence[npt.NDArray[np.float64]], function_values: Sequence[float]) -> object:
        """Update the distribution with the costs of the samples."""


@dataclass(frozen=True, slots=True)
class PolicyProgress:
    """Progress of a policy training: `done` of `total` parts; `message`: the result of the last part."""

    done: int
    total: int
    message: str


def run_evolution(
    plan: PolicyPlan, settings: EvolutionSettings, journal: Journal, player: EpisodePlayer | None = None
) -> Iterator[PolicyProgress]:
    """Train one generation at a time and record it in the journal; recorded generations are not repeated.

    `player`: plays the episodes; default: this process.
    """
    player = player or EpisodePlayer()
    strategy, start = _create_strategy(plan, settings), untrained_policy(plan.kind)
    total = settings.generations + 1
    done = journal.lines_with("generation")
    for number in range(settings.generations):
        solutions = strategy.ask()
        if number == len(done):
            tasks = plan.tasks.sample_many(settings.tasks, plan.seed, 1, number)
            policies = [_with_weights(start, weights) for weights in solutions]
            advantages = measure_advantages(policies, start, tasks, settings.noise, player)
            merits = [compute_merit(values) for values in advantages]
            journal.append({"generation": number, "merits": merits}, player.take_cpu())
            done = journal.lines_with("generation")
        merits = done[number]["merits"]
        strategy.tell(solutions, [-value for value in merits])
        scores = f"best merit {max(merits):+.3f}, median {np.median(merits):+.3f} over {start.base}"
        yield PolicyProgress(number + 1, total, f"generation {number + 1}: {scores}")
    trained = _with_weights(start, strategy.mean)
    if not journal.lines_with("check"):
        tasks = plan.checks.sample_many(settings.check, plan.seed, 2)
        advantages = measure_advantages([trained], start, tasks, settings.noise, player)
        journal.append({"check": advantages[0]}, player.take_cpu())
    yield PolicyProgress(total, total, f"check: {format_check(summarise_check(journal))}")


def build_policy(plan: PolicyPlan, settings: EvolutionSettings, journal: Journal) -> Policy:
    """Build the policy from a complete journal: the mean of the distribution after the last generation."""
    strategy, start = _create_strategy(plan, settings), untrained_policy(plan.kind)
    for line in journal.lines_with("generation"):
        strategy.tell(strategy.ask(), [-value for value in line["merits"]])
    episodes = settings.generations * (settings.population + 1) * settings.tasks
    training = {
        "method": "evolution",
        "plan": plan.to_json(),
        "episodes": episodes,
        "check": summarise_check(journal),
    }
    return replace(_with_weights(start, strategy.mean), training=training)


def measure_advantages(
    policies: Sequence[Policy],
    base: Policy,
    tasks: Sequence[Experiment],
    noise: float,
    player: EpisodePlayer | None = None,
) -> list[list[float]]:
    """Train on tasks; return the advantages of each policy over `base`, one per task. `player`: as in run_evolution."""
    all_policies = [base, *policies]
    controllers = [_controller(policy) for policy in all_policies for _ in tasks]
    episodes = (player or EpisodePlayer()).play(list(tasks) * len(all_policies), controllers)
    rows = [episodes[start : start + len(tasks)] for start in range(0, len(episodes), len(tasks))]
    return [compute_advantages(row, rows[0], noise) for row in rows[1:]]


def summarise_check(journal: Journal) -> dict[str, float]:
    """Return the statistics of the final evaluation: mean advantage, its 95 % lower bound, merit, share of wins."""
    advantages = journal.lines_with("check")[-1]["check"]
    summary = {
        "tasks": len(advantages),
        "mean": float(np.mean(advantages)),
        "low": mean_lower_bound(advantages),
        "merit": compute_merit(advantages),
        "better": float(np.mean([advantage > 0 for advantage in advantages])),
    }
    return {name: round(value, 6) for name, value in summary.items()}


def format_check(summary: dict[str, float]) -> str:
    """Format the statistics of the final evaluation."""
    note = "" if summary["low"] > 0 else "; not significantly better than its base policy"
    return (
        f"mean advantage {summary['mean']:+.3f}, 95 % lower bound {summary['low']:+.3f}, "
        f"better on {summary['better']:.0%} of {summary['tasks']:.0f} tasks{note}"
    )


def _create_strategy(plan: PolicyPlan, settings: EvolutionSettings) -> EvolutionStrategy:
    """Create the strategy before its first generation. All its random numbers come from the seed of the plan."""
    import cma

    generator = np.random.default_rng([plan.seed, 0])
    options = {
        "CMA_diagonal": True,
        "popsize": settings.population,
        "verbose": -9,
        "seed": math.nan,
        "randn": lambda rows, columns: generator.standard_normal((rows, columns)),
    }
    weights = untrained_policy(plan.kind).actor.flat()
    strategy: EvolutionStrategy = cma.CMAEvolutionStrategy(weights, settings.sigma, options)
    return strategy


def _with_weights(policy: Policy, weights: npt.NDArray[np.float64]) -> Policy:
    return replace(policy, actor=policy.actor.with_flat(weights))


def _controller(policy: Policy) -> AnyController:
    controller: AnyController = catalog.load("controllers", "learnable").from_policy(policy)
    return controller
