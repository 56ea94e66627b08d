"""Tuning of arms on the training tasks by racing: 64 runs for the shared base, and 64 an arm.

Round 1 runs 15 settings on 2 tasks, round 2 the best 6 of them on 3 more, round 3 the best 2 on the remaining 8.
Settings are ranked by the mean logarithm of the distance over all tasks that they have run on.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from _suite_arms import Settings, candidate
from _suite_runs import RunStore, SuiteRun, execute

SEED = 100
FLOOR = 0.004
"""Added to distances before the logarithm, so that values at the noise of the distance do not decide."""
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


def tune(store: RunStore, arms: Sequence[str], centre: int = 0) -> dict[str, Tuned]:
    """Race the settings of all arms; rounds of all arms run together, so that both processes are busy."""
    race = Race(store, centre)
    remaining = {arm: list(range(ROUNDS[0].settings)) for arm in arms}
    tasks: list[str] = []
    for number, part in enumerate(ROUNDS):
        remaining = {arm: race.order(arm, numbers, tasks)[: part.settings] for arm, numbers in remaining.items()}
        runs = [race.run(arm, n, task) for arm in arms for n in remaining[arm] for task in part.tasks]
        execute(store, runs, label=f"tuning, round {number + 1}")
        tasks += part.tasks
    winners = {arm: race.order(arm, numbers, tasks)[0] for arm, numbers in remaining.items()}
    return {
        arm: Tuned(number, candidate(arm, number, centre), race.score(arm, number, tasks), TRIALS)
        for arm, number in winners.items()
    }


@dataclass(frozen=True)
class Race:
    """Settings of arms around one base setting, and their scores. `centre`: number of the base setting."""

    store: RunStore
    centre: int

    def run(self, arm: str, number: int, task: str) -> SuiteRun:
        """Return the run of a setting on a task."""
        return SuiteRun.of(task, arm, candidate(arm, number, self.centre), SEED)

    def order(self, arm: str, numbers: Sequence[int], tasks: Sequence[str]) -> list[int]:
        """Return settings in the order of their scores; unchanged before the first round."""
        return sorted(numbers, key=lambda number: self.score(arm, number, tasks)) if tasks else list(numbers)

    def score(self, arm: str, number: int, tasks: Sequence[str]) -> float:
        """Return the mean log distance of a setting over tasks."""
        return fmean(log_distance(self.store, self.store.results[self.run(arm, number, task).key]) for task in tasks)


def log_distance(store: RunStore, line: Mapping[str, Any]) -> float:
    """Return log(distance + floor) of a run; a diverged run has a multiple of the worst distance of its task."""
    value = line["selected"]
    if value is None:
        finite = [other["selected"] for other in store.results.values() if other["task"] == line["task"]]
        value = FAILURE * max(value for value in finite if value is not None)
    return math.log(max(value, 0.0) + FLOOR)


def write_tuned(path: Path, tuned: Mapping[str, Tuned]) -> None:
    """Merge tuned settings into a JSON file."""
    before = json.loads(path.read_text()) if path.exists() else {}
    values = {**before, **{arm: item._asdict() for arm, item in tuned.items()}}
    path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
