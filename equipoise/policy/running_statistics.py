"""Running statistics of the quantities that features are computed from: levels, slopes and standard scores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from equipoise.core.controller import renamed

DECISION = 1 / 40
"""Share of a run between two decisions, the unit of half-lives: 1 for levels, SLOW for the averages of slopes."""
SLOW = 4
WARM_UP = 0.05
"""Share of a run, from its start, that gradient norms are compared with."""
MIN_READINGS = 5
"""Minimum number of readings for a standard score, regardless of the length of the warm-up."""

LevelRule = Literal["latest", "lowest"]
"""How the level of a quantity is computed where it is not a moving average."""


class RunningStatistics(NamedTuple):
    """Running statistics of one quantity.

    `level`, `slow`: moving averages with half-lives of 1 and SLOW decisions. `first`: the first value. `readings`: how
    many values `mean` and `squares` (the sum of squared deviations from the mean) include.
    """

    level: float
    slow: float
    first: float
    readings: int
    mean: float
    squares: float


@dataclass(frozen=True, slots=True)
class FeatureMemory:
    """Memory between two observations. `progress`: of the last observation. `tracks`: quantity -> its statistics."""

    progress: Annotated[float, renamed("progress", "at")] = 0.0
    tracks: Mapping[str, RunningStatistics] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatisticsTable:
    """Statistics of all quantities by name, from which features are computed; 0 for a quantity without values."""

    tracks: Mapping[str, RunningStatistics]

    def level(self, name: str) -> float:
        """Return the moving average."""
        return self.tracks[name].level if name in self.tracks else 0.0

    def slope(self, name: str) -> float:
        """Return the moving average minus the slower one."""
        return self.tracks[name].level - self.tracks[name].slow if name in self.tracks else 0.0

    def gain(self, name: str) -> float:
        """Return the moving average minus the first value of the run."""
        return self.tracks[name].level - self.tracks[name].first if name in self.tracks else 0.0

    def score(self, name: str, floor: float) -> float:
        """Return the standard score of the moving average, with a standard deviation of at least `floor`."""
        if name not in self.tracks or self.tracks[name].readings < MIN_READINGS:
            return 0.0
        track = self.tracks[name]
        return (track.level - track.mean) / max(math.sqrt(track.squares / track.readings), floor)


def update_statistics(
    memory: FeatureMemory,
    progress: float,
    quantities: Mapping[str, float | None],
    warm_up: bool,
    levels: Mapping[str, LevelRule],
) -> dict[str, RunningStatistics]:
    """Return all statistics after one more observation. Missing and non-finite values are skipped.

    `warm_up`: mean and deviation do not change after the warm-up. `levels`: quantities whose level is not an average.
    """
    elapsed = max(0.0, progress - memory.progress)
    tracks = dict(memory.tracks)
    for name, value in quantities.items():
        if value is not None and math.isfinite(value):
            is_fixed = warm_up and progress > WARM_UP
            tracks[name] = _updated(tracks.get(name), value, elapsed, is_fixed)
            if name in levels:
                keeps = levels[name] == "lowest" and name in memory.tracks
                level = min(memory.tracks[name].level, value) if keeps else value
                tracks[name] = tracks[name]._replace(level=level)
    return tracks


def _updated(track: RunningStatistics | None, value: float, elapsed: float, is_fixed: bool) -> RunningStatistics:
    """Return the statistics after one more value.

    `elapsed`: share of the run since the last value. `is_fixed`: mean and deviation do not change.
    """
    if track is None:
        return RunningStatistics(value, value, value, 1, value, 0.0)
    quick = 0.5 ** (elapsed / DECISION)
    level = track.level + (1 - quick) * (value - track.level)
    slow = track.slow + (1 - quick ** (1 / SLOW)) * (value - track.slow)
    if is_fixed and track.readings >= MIN_READINGS:
        return track._replace(level=level, slow=slow)
    mean = track.mean + (value - track.mean) / (track.readings + 1)  # Welford 1962
    squares = track.squares + (value - track.mean) * (value - mean)
    return RunningStatistics(level, slow, track.first, track.readings + 1, mean, squares)
