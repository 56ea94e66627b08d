"""Policies by evolution strategies: weights are drawn, judged by what short runs come to, and drawn nearer to the best.

Separable CMA-ES (Ros and Hansen 2008), by the package `cma`: a variance for each weight, no covariances, so that a
hundred weights can be had from a few hundred episodes. All policies of a generation play the same fresh tasks, from the
same weights, data and draws, and are judged against their base on each (see episodes). What counts is what a whole run
came to: truncated runs favour small steps (Wu 2018, short-horizon bias).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from equipoise.core import catalog
from equipoise.core.observations import Controller
from equipoise.experiment.settings import Experiment
from equipoise.meta.episodes import advantages, least, merit, play
from equipoise.meta.journal import Journal
from equipoise.meta.plan import Evolution, Plan
from equipoise.policy.blank import blank
from equipoise.policy.files import Policy


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` pieces; `told`: what the last of them came to."""

    done: int
    total: int
    told: str


def evolve(plan: Plan, settings: Evolution, journal: Journal) -> Iterator[Progress]:
    """Train, a generation at a time, each kept in the journal; what is there already is not played again."""
    strategy, start = _strategy(plan, settings), blank(plan.kind)
    done = journal.of("generation")
    for number in range(settings.generations):
        asked: Sequence[Any] = strategy.ask()
        if number == len(done):
            tasks = plan.tasks.drawn(settings.tasks, plan.seed, 1, number)
            gains = judged([_with(start, row) for row in asked], start, tasks, settings.noise)
            journal.add({"generation": number, "merits": [merit(one) for one in gains]})
            done = journal.of("generation")
        merits = done[number]["merits"]
        strategy.tell(asked, [-value for value in merits])
        told = f"generation {number + 1}: best {max(merits):+.3f}, middle {np.median(merits):+.3f} over {start.base}"
        yield Progress(number + 1, settings.generations + 1, told)
    trained = _with(start, strategy.mean)
    if not journal.of("check"):
        tasks = plan.checks.drawn(settings.check, plan.seed, 2)
        journal.add({"check": judged([trained], start, tasks, settings.noise)[0]})
    yield Progress(settings.generations + 1, settings.generations + 1, f"check: {sentence(checked(journal))}")


def result(plan: Plan, settings: Evolution, journal: Journal) -> Policy:
    """The policy that a whole journal comes to: the mean of the last generation."""
    strategy, start = _strategy(plan, settings), blank(plan.kind)
    for line in journal.of("generation"):
        strategy.tell(strategy.ask(), [-value for value in line["merits"]])
    episodes = settings.generations * (settings.population + 1) * settings.tasks
    training = {"method": "evolution", "plan": plan.values(), "episodes": episodes, "check": checked(journal)}
    return replace(_with(start, strategy.mean), training=training)


def judged(policies: Sequence[Policy], base: Policy, tasks: Sequence[Experiment], noise: float) -> list[list[float]]:
    """The advantages of each policy over `base`, one for each task."""
    players = [base, *policies]
    episodes = play(list(tasks) * len(players), [_controller(policy) for policy in players for _ in tasks])
    rows = [episodes[start : start + len(tasks)] for start in range(0, len(episodes), len(tasks))]
    return [advantages(row, rows[0], noise) for row in rows[1:]]


def checked(journal: Journal) -> dict[str, float]:
    """What the check came to: mean advantage, its lower bound at 95 %, merit, share of tasks that were better."""
    gains = journal.of("check")[-1]["check"]
    result = {"tasks": len(gains), "mean": float(np.mean(gains)), "low": least(gains), "merit": merit(gains)}
    result["better"] = float(np.mean([gain > 0 for gain in gains]))
    return {name: round(value, 6) for name, value in result.items()}


def sentence(result: dict[str, float]) -> str:
    """What a check came to, in words."""
    doubt = "" if result["low"] > 0 else "; no better than its base, as far as can be told"
    return (
        f"advantage {result['mean']:+.3f}, at least {result['low']:+.3f} (95 %), "
        f"better on {result['better']:.0%} of {result['tasks']:.0f} tasks{doubt}"
    )


def _strategy(plan: Plan, settings: Evolution) -> Any:
    """The strategy before its first generation: all randomness is its own, by the plan's seed."""
    import cma

    source = np.random.default_rng([plan.seed, 0])
    options: dict[str, Any] = {"CMA_diagonal": True, "popsize": settings.population, "verbose": -9, "seed": math.nan}
    options["randn"] = lambda rows, columns: source.standard_normal((rows, columns))
    return cma.CMAEvolutionStrategy(blank(plan.kind).actor.flat(), settings.sigma, options)


def _with(policy: Policy, row: Any) -> Policy:
    return replace(policy, actor=policy.actor.with_flat(row))


def _controller(policy: Policy) -> Controller:
    made: Controller = catalog.load("controllers", "learnable").steered(policy)
    return made
