"""Tuning of arms on the training tasks by racing: 64 runs an arm, of which the best settings have more.

Round 1 runs 15 settings on 2 tasks, round 2 the best 6 of them on 3 more, round 3 the best 2 on the remaining 8.
Settings are ranked by the mean logarithm of the distance over all tasks that they have run on.
"""

import json
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from _suite_arms import Settings, candidate
from _suite_runs import RunStore, SuiteRun, execute

SEED = 100
FLOOR = 0.004
"""Added to distances before the logarithm: about twice the standard deviation of the distance of 512 reals."""
FAILURE = 2.0
"""A diverged run counts as this multiple of the worst distance of its task."""


class Round(NamedTuple):
    """A round of the race: `settings` of an arm run on `tasks`."""

    settings: int
    tasks: tuple[str, ...]


ROUNDS = (
    Round(15, ("emoji_64_long", "outlines_all_fast")),
    Round(6, ("outlines_400_long", "bursts_400_short", "outlines_64_weak")),
    Round(
        2,
        (
            *("emoji_64_short", "emoji_all_long", "emoji_400_fast", "outlines_400_32px", "bursts_64_half"),
            *("bursts_400_sngan", "bursts_64_wgan_gp", "mixtures_64_points"),
        ),
    ),
)
TRIALS = sum(part.settings * len(part.tasks) for part in ROUNDS)


class Tuned(NamedTuple):
    """The selected setting of an arm. `score`: mean log distance over all training tasks. `trials`: runs it took."""

    number: int
    settings: Settings
    score: float
    trials: int


def tune(store: RunStore, arms: Sequence[str]) -> dict[str, Tuned]:
    """Race the settings of all arms; rounds of all arms run together, so that both processes are busy."""
    remaining = {arm: list(range(ROUNDS[0].settings)) for arm in arms}
    tasks: list[str] = []
    for number, part in enumerate(ROUNDS):
        remaining = {arm: best(store, arm, numbers, tasks)[: part.settings] for arm, numbers in remaining.items()}
        runs = [run_of(arm, n, task) for arm in arms for n in remaining[arm] for task in part.tasks]
        execute(store, runs, label=f"tuning, round {number + 1}")
        tasks += part.tasks
    tuned = {}
    for arm, numbers in remaining.items():
        winner = best(store, arm, numbers, tasks)[0]
        tuned[arm] = Tuned(winner, candidate(arm, winner), score(store, arm, winner, tasks), TRIALS)
    return tuned


def run_of(arm: str, number: int, task: str) -> SuiteRun:
    """Return the tuning run of a setting on a task."""
    return SuiteRun.of(task, arm, candidate(arm, number), SEED)


def best(store: RunStore, arm: str, numbers: Sequence[int], tasks: Sequence[str]) -> list[int]:
    """Return settings in the order of their scores; unchanged before the first round."""
    return sorted(numbers, key=lambda number: score(store, arm, number, tasks)) if tasks else list(numbers)


def score(store: RunStore, arm: str, number: int, tasks: Sequence[str]) -> float:
    """Return the mean log distance of a setting over tasks."""
    return fmean(log_distance(store, store.results[run_of(arm, number, task).key]) for task in tasks)


def log_distance(store: RunStore, line: Mapping[str, Any]) -> float:
    """Return log(distance + floor) of a run; a diverged run has a multiple of the worst distance of its task."""
    value = line["selected"]
    if value is None:
        finite = [other["selected"] for other in store.results.values() if other["task"] == line["task"]]
        value = FAILURE * max(value for value in finite if value is not None)
    return math.log(max(value, 0.0) + FLOOR)


def write_tuned(path: Any, tuned: Mapping[str, Tuned]) -> None:
    """Merge tuned settings into a JSON file."""
    before = json.loads(path.read_text()) if path.exists() else {}
    values = {**before, **{arm: item._asdict() for arm, item in tuned.items()}}
    path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
