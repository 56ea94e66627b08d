"""Features of a policy: numbers in [-1, 1] from an observation and running statistics of earlier ones.

A signal that is not available counts as 0, the middle of the range. Feature sets:

- `residual`: ranks, gradients compared with the first twentieth of the run, update ratios, sample statistics, findings,
  positions of the heads; levels and slopes. Raw losses and numbers of channels are not included, because they do not
  transfer to other models. Gradient cosines, Adam's signal-to-noise ratio, norms of input gradients, the Vendi score,
  the rank of held-out reals against fakes, and the number of reals are not available as signals. Distances to held-out
  reals are excluded on purpose: a measure that a policy optimises ceases to be a good measure (Goodhart's law).
- `brief`: both losses and gradient norms as standard scores over the run so far, and progress.
- `ppo`: progress, pixel FID relative to the first of the run, and both raw losses, which do not transfer between GANs.
- `time_only`: progress alone, as five hat functions: linear interpolation between knots at 0, 25, 50, 75 and 100 %.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from equipoise.core.controller import renamed
from equipoise.core.observations import Observation, Signals
from equipoise.errors import UnknownNameError

DECISION = 1 / 40
"""Share of a run between two decisions, the unit of half-lives: 1 for levels, SLOW for the averages of slopes."""
SLOW = 4
WARM_UP = 0.05
"""Share of a run, from its start, that gradient norms are compared with."""
FEWEST = 5
"""Minimum number of readings for a standard score, regardless of the length of the warm-up."""
RANK_ERROR = 0.051
"""Standard error of a rank of 256 reals against 256 (sqrt((n + m + 1) / (3 n m)), Mann and Whitney 1947)."""
USUAL_UPDATE = 1e-3
"""Typical |change| / |weights| of a network that learns well (Karpathy, CS231n notes, Neural Networks 3)."""
HATS = 5
TRAINED_SYMPTOMS = frozenset(
    (
        *("divergence", "discriminator_overpowering", "vanishing_generator_gradient", "collapse", "mode_collapse"),
        *("mode_dropping", "discriminator_overfitting", "memorisation", "discriminator_forgetting"),
        *("dead_discriminator", "oscillation", "plateau", "equilibrium"),
    )
)
"""The symptoms whose severity is a feature: those that the shipped policies were trained with."""


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


class FeatureVector(NamedTuple):
    """Features of an observation. `values`: (n,) in [-1, 1]. `memory`: input for the next observation."""

    values: tuple[float, ...]
    memory: FeatureMemory


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
        if name not in self.tracks or self.tracks[name].readings < FEWEST:
            return 0.0
        track = self.tracks[name]
        return (track.level - track.mean) / max(math.sqrt(track.squares / track.readings), floor)


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A function from observations to feature vectors.

    `names`: names of the features, without the positions of the heads, which are appended if `positions` is set.
    `quantities`: observation -> tracked quantities. `read`: statistics and progress -> features. `warm_up`: whether
    standard scores use the mean and deviation of the warm-up, instead of the run so far.
    """

    names: tuple[str, ...]
    quantities: Callable[[Observation], Mapping[str, float | None]]
    read: Callable[[StatisticsTable, float], Sequence[float]]
    positions: bool = False
    warm_up: bool = False

    def all_names(self, heads: Sequence[str]) -> tuple[str, ...]:
        """Return the names of all features, for heads with these names."""
        return (*self.names, *(f"position_{head}" for head in heads)) if self.positions else self.names

    def compute(self, memory: FeatureMemory, observation: Observation, positions: Sequence[float]) -> FeatureVector:
        """Compute the features of an observation. `positions`: (k,) in [-1, 1], of the heads."""
        tracks = _updated_tracks(memory, observation, self.quantities(observation), self.warm_up)
        features = [*self.read(StatisticsTable(tracks), observation.progress), *(positions if self.positions else ())]
        values = tuple(min(1.0, max(-1.0, float(number))) for number in features)
        return FeatureVector(values, FeatureMemory(observation.progress, tracks))


def feature_set(name: str) -> FeatureSet:
    """Return a feature set by name. Raises UnknownNameError."""
    if name not in FEATURES:
        raise UnknownNameError("set of features", name, FEATURES)
    return FEATURES[name]


def _updated_tracks(
    memory: FeatureMemory, observation: Observation, quantities: Mapping[str, float | None], warm_up: bool
) -> dict[str, RunningStatistics]:
    """Return all statistics after one more observation. Missing and non-finite values are skipped."""
    elapsed = max(0.0, observation.progress - memory.progress)
    tracks = dict(memory.tracks)
    for name, value in quantities.items():
        if value is not None and math.isfinite(value):
            is_fixed = warm_up and observation.progress > WARM_UP
            tracks[name] = _updated(tracks.get(name), value, elapsed, is_fixed)
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
    if is_fixed and track.readings >= FEWEST:
        return track._replace(level=level, slow=slow)
    mean = track.mean + (value - track.mean) / (track.readings + 1)  # Welford 1962
    squares = track.squares + (value - track.mean) * (value - mean)
    return RunningStatistics(level, slow, track.first, track.readings + 1, mean, squares)


def _log(value: float | None, base: float = 2) -> float | None:
    return math.log(value, base) if value is not None and 0 < value < math.inf else None


def _shrunk(rank: float | None) -> float | None:
    """Return rho |rho| / (|rho| + 2 SE), which reduces a rank within its standard error."""
    return None if rank is None else rank * abs(rank) / (abs(rank) + 2 * RANK_ERROR)


def _residual_quantities(observation: Observation) -> dict[str, float | None]:
    signals = observation.signals
    return {
        "rank_train_fake": signals.rank_train_fake,
        "rank_train_held_out": _shrunk(signals.rank_train_held_out),
        "gradient_ratio": _log(signals.gradient_ratio),
        "gradient_norm_g": _log(signals.gradient_norm_g),
        "gradient_norm_d": _log(signals.gradient_norm_d),
        "update_ratio_g": _log(signals.update_ratio_g, 10),
        "update_ratio_d": _log(signals.update_ratio_d, 10),
        "diversity": _log(signals.diversity),
        "coverage": signals.coverage,
        "copying": signals.copying,
        "severity": max(
            (finding.severity for finding in observation.health.findings if finding.symptom in TRAINED_SYMPTOMS),
            default=0.0,
        ),
    }


RESIDUAL = (
    *("progress", "rank_train_fake", "rank_train_fake_slope", "rank_train_held_out", "rank_train_held_out_slope"),
    *("gradient_ratio", "gradient_ratio_slope", "gradient_norm_g", "gradient_norm_d"),
    *("update_ratio_g", "update_ratio_g_slope", "update_ratio_d", "update_ratio_d_slope"),
    *("diversity", "diversity_slope", "coverage", "coverage_slope", "copying", "severity"),
)


def _residual(table: StatisticsTable, progress: float) -> list[float]:
    level, slope, score, tanh = table.level, table.slope, table.score, math.tanh
    usual = math.log10(USUAL_UPDATE)
    updates = [
        number
        for name in ("update_ratio_g", "update_ratio_d")
        for number in (tanh(level(name) - usual) if name in table.tracks else 0.0, tanh(4 * slope(name)))
    ]
    return [
        *(2 * progress - 1, level("rank_train_fake"), 4 * slope("rank_train_fake")),
        *(level("rank_train_held_out"), 4 * slope("rank_train_held_out")),
        *(tanh(score("gradient_ratio", 0.1) / 3), tanh(slope("gradient_ratio"))),
        *(tanh(score("gradient_norm_g", 0.1) / 3), tanh(score("gradient_norm_d", 0.1) / 3)),
        *updates,
        *(tanh(level("diversity")), tanh(4 * slope("diversity"))),
        *(2 * level("coverage") - 1 if "coverage" in table.tracks else 0.0, 4 * slope("coverage")),
        *(level("copying"), level("severity")),
    ]


def _players(signals: Signals) -> dict[str, float | None]:
    return {
        "loss_g": signals.loss_g,
        "loss_d": signals.loss_d,
        "grad_norm_g": signals.gradient_norm_g,
        "grad_norm_d": signals.gradient_norm_d,
    }


def _brief(table: StatisticsTable, progress: float) -> list[float]:
    names = ("loss_g", "loss_d", "grad_norm_g", "grad_norm_d")
    return [*(math.tanh(table.score(name, 1e-3) / 3) for name in names), 2 * progress - 1]


def _ppo_quantities(observation: Observation) -> dict[str, float | None]:
    return {**_players(observation.signals), "fid": _log(distance(observation.signals))}


def _ppo(table: StatisticsTable, progress: float) -> list[float]:
    losses = [table.level(name) for name in ("loss_g", "loss_d")]
    return [2 * progress - 1, math.tanh(table.gain("fid") / 2), *(loss / (1 + abs(loss)) for loss in losses)]


def distance(signals: Signals) -> float | None:
    """Return the last value of the first metric where lower is better, such as the pixel FID of the brief.

    None if there is no such metric, or if its value is not finite.
    """
    values = (reading.value for _, reading in sorted(signals.metrics.items()) if reading.better == "lower")
    value = next(values, None)
    return value if value is not None and math.isfinite(value) else None


def _hats(table: StatisticsTable, progress: float) -> list[float]:
    return [max(0.0, 1 - abs(progress * (HATS - 1) - knot)) for knot in range(HATS)]


FEATURES: Mapping[str, FeatureSet] = {
    "residual": FeatureSet(RESIDUAL, _residual_quantities, _residual, positions=True, warm_up=True),
    "brief": FeatureSet(
        ("loss_g", "loss_d", "grad_norm_g", "grad_norm_d", "epoch_progress"),
        lambda observation: _players(observation.signals),
        _brief,
    ),
    "ppo": FeatureSet(("epoch_progress", "fid", "loss_g", "loss_d"), _ppo_quantities, _ppo),
    "time_only": FeatureSet(tuple(f"hat_{knot}" for knot in range(HATS)), lambda observation: {}, _hats),
}
"""Name -> feature set; the file of a policy contains the name of its set."""
