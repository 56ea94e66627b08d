"""Made-up results of the suite, in which the differences between arms are known."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from equipoise.comparison.suite.records import SuiteLine

STEPS = (25, 50, 75, 100, 125, 150, 175, 200)
LinesFactory = Callable[..., list[SuiteLine]]


def make_lines(
    tasks: Sequence[str],
    effects: Mapping[str, float],
    seeds: Sequence[int],
    *,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    noise: float = 0.1,
    diverged: Sequence[tuple[str, str, int]] = (),
) -> list[SuiteLine]:
    """Make lines of runs: task number t has the level 0.05 (t + 1), and an arm e has exp(e) times that distance.

    `noise`: standard deviation of the log distance over seeds; half of it is shared by all arms of a task and seed.
    `diverged`: (task, arm, seed) of runs without any finite distance. Settings are {"name": arm} unless given.
    """
    lines = []
    for place, task in enumerate(tasks):
        for seed in seeds:
            shared = np.random.default_rng([place, seed]).normal()
            for number, (arm, effect) in enumerate(effects.items()):
                own = np.random.default_rng([place, seed, number]).normal()
                log = np.log(0.05 * (place + 1)) + effect + noise * (shared + own) / np.sqrt(2)
                curve = np.exp(log + 2 * np.exp(-np.arange(len(STEPS)))) * np.linspace(1, 1.1, len(STEPS)) / 1.1
                failed = (task, arm, seed) in diverged
                values = [None if failed else float(value) for value in curve]
                lines.append(
                    SuiteLine(
                        task=task,
                        arm=arm,
                        seed=seed,
                        settings=(settings or {}).get(arm, {"name": arm}),
                        selected=values[-2],
                        last=values[-1],
                        diverged=failed,
                        cpu=8.0 + number,
                        steps=STEPS,
                        distances=values,
                    )
                )
    return lines


@pytest.fixture(scope="session")
def made_up_lines() -> LinesFactory:
    """The function that makes lines."""
    return make_lines
