"""What a policy sees: an observation, and a little memory of earlier ones, as numbers in [-1, 1].

A signal that is not to be had counts as 0, the middle. Sets:

- `residual`: ranks, gradients against the run's own first twentieth, updates, likeness, findings, where the heads
  stand; levels and slopes. No raw losses and no counts of channels: those do not carry over to another GAN. Of the
  usual wish list the signals here do not give gradient cosines, Adam's signal-to-noise ratio, norms of input gradients,
  the Vendi score, the rank of held-out reals against fakes, and the number of reals; distances to held-out reals are
  left out on purpose, for what a policy steers by stops to be a measure (Goodhart's law).
- `brief`: both losses and gradient norms as scores of the run so far, and progress.
- `ppo`: progress, pixel FID against the first of the run, both losses as they are. Losses do not compare across GANs.
- `time_only`: progress alone, as five hats: a line with knots at 0, 25, 50, 75 and 100 % of the run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from equipoise.core.observations import Observation, Signals
from equipoise.errors import UnknownNameError

DECISION = 1 / 40
"""The share of a run between two decisions, in which half-lives are counted: 1 for levels, 4 for what they left."""
SLOW = 4
WARM_UP = 0.05
"""The share of a run that its gradients are compared with."""
FEWEST = 5
"""Readings before a score of them is given, however short the warm-up was."""
RANK_ERROR = 0.051
"""Standard error of a rank of 256 reals against 256 (sqrt((n + m + 1) / (3 n m)), Mann and Whitney 1947)."""
USUAL_UPDATE = 1e-3
"""|change| / |weights| of a network that learns well; a rule of thumb (Karpathy, CS231n notes, Neural Networks 3)."""
HATS = 5

Memory = Mapping[str, Any]
"""`at`: progress when last seen. `tracks`: quantity -> the numbers of its Track, as JSON has them."""


class Track(NamedTuple):
    """What is remembered of one quantity: running means, its first value, and the moments of what it is compared with.

    `squares`: the sum of squared deviations from `mean`.
    """

    level: float
    slow: float
    first: float
    readings: int
    mean: float
    squares: float


class Seen(NamedTuple):
    """`vector`: (n,) in [-1, 1]. `memory`: to be handed in with the next observation; goes into JSON as it is."""

    vector: tuple[float, ...]
    memory: Memory


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """`names` of the features, without those of the heads' positions, which follow if `positions`.

    `quantities`: what is tracked of an observation. `read`: features from the tracks and progress.
    `warm_up`: whether scores are of the first of the run alone.
    """

    names: tuple[str, ...]
    quantities: Callable[[Observation[Any]], Mapping[str, float | None]]
    read: Callable[["Tracks", float], Sequence[float]]
    positions: bool = False
    warm_up: bool = False

    def named(self, heads: Sequence[str]) -> tuple[str, ...]:
        """The names of all features, for heads of these names."""
        return (*self.names, *(f"position_{head}" for head in heads)) if self.positions else self.names

    def see(self, memory: Memory, observation: Observation[Any], positions: Sequence[float]) -> Seen:
        """Features of an observation. `positions`: (k,) in [-1, 1], where the heads stand."""
        tracks = _advanced(memory, observation, self.quantities(observation), self.warm_up)
        vector = [*self.read(Tracks(tracks), observation.progress), *(positions if self.positions else ())]
        kept = {"at": observation.progress, "tracks": {name: list(track) for name, track in tracks.items()}}
        return Seen(tuple(min(1.0, max(-1.0, float(number))) for number in vector), kept)


@dataclass(frozen=True, slots=True)
class Tracks:
    """What is remembered of all quantities, for reading; 0 of what was never seen."""

    kept: Mapping[str, Track]

    def level(self, name: str) -> float:
        """Its running mean."""
        return self.kept[name].level if name in self.kept else 0.0

    def slope(self, name: str) -> float:
        """How far that is above a slower one."""
        return self.kept[name].level - self.kept[name].slow if name in self.kept else 0.0

    def gain(self, name: str) -> float:
        """How far it is above the first of the run."""
        return self.kept[name].level - self.kept[name].first if name in self.kept else 0.0

    def score(self, name: str, floor: float) -> float:
        """Its level in standard deviations of what it is compared with, each taken for at least `floor`."""
        if name not in self.kept or self.kept[name].readings < FEWEST:
            return 0.0
        track = self.kept[name]
        return (track.level - track.mean) / max(math.sqrt(track.squares / track.readings), floor)


def feature_set(name: str) -> FeatureSet:
    """The set of this name. Raises UnknownNameError."""
    if name not in FEATURES:
        raise UnknownNameError("set of features", name, FEATURES)
    return FEATURES[name]


def unseen() -> Memory:
    """The memory before the first observation."""
    return {"at": 0.0, "tracks": {}}


def _advanced(
    memory: Memory, observation: Observation[Any], quantities: Mapping[str, float | None], warm_up: bool
) -> dict[str, Track]:
    """All tracks with one more observation in them. What is missing or not finite is passed over."""
    elapsed = max(0.0, observation.progress - memory["at"])
    tracks = {name: Track(*kept) for name, kept in memory["tracks"].items()}
    for name, value in quantities.items():
        if value is not None and math.isfinite(value):
            resolve = warm_up and observation.progress > WARM_UP
            tracks[name] = _followed(tracks.get(name), value, elapsed, resolve)
    return tracks


def _followed(track: Track | None, value: float, elapsed: float, resolve: bool) -> Track:
    """One more value of a quantity, so much of the run after the last; its moments stay where they are if `settled`."""
    if track is None:
        return Track(value, value, value, 1, value, 0.0)
    quick = 0.5 ** (elapsed / DECISION)
    level = track.level + (1 - quick) * (value - track.level)
    slow = track.slow + (1 - quick ** (1 / SLOW)) * (value - track.slow)
    if resolve and track.readings >= FEWEST:
        return track._replace(level=level, slow=slow)
    mean = track.mean + (value - track.mean) / (track.readings + 1)  # Welford 1962
    squares = track.squares + (value - track.mean) * (value - mean)
    return Track(level, slow, track.first, track.readings + 1, mean, squares)


def _log(value: float | None, base: float = 2) -> float | None:
    return math.log(value, base) if value is not None and 0 < value < math.inf else None


def _shrunk(rank: float | None) -> float | None:
    """rho |rho| / (|rho| + 2 SE): a rank that may be noise counts less."""
    return None if rank is None else rank * abs(rank) / (abs(rank) + 2 * RANK_ERROR)


def _residual_quantities(observation: Observation[Any]) -> dict[str, float | None]:
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
        "severity": max((finding.severity for finding in observation.health.findings), default=0.0),
    }


RESIDUAL = (
    *("progress", "rank_train_fake", "rank_train_fake_slope", "rank_train_held_out", "rank_train_held_out_slope"),
    *("gradient_ratio", "gradient_ratio_slope", "gradient_norm_g", "gradient_norm_d"),
    *("update_ratio_g", "update_ratio_g_slope", "update_ratio_d", "update_ratio_d_slope"),
    *("diversity", "diversity_slope", "coverage", "coverage_slope", "copying", "severity"),
)


def _residual(tracks: Tracks, progress: float) -> list[float]:
    level, slope, score, tanh = tracks.level, tracks.slope, tracks.score, math.tanh
    usual = math.log10(USUAL_UPDATE)
    updates = [
        number
        for name in ("update_ratio_g", "update_ratio_d")
        for number in (tanh(level(name) - usual) if name in tracks.kept else 0.0, tanh(4 * slope(name)))
    ]
    return [
        *(2 * progress - 1, level("rank_train_fake"), 4 * slope("rank_train_fake")),
        *(level("rank_train_held_out"), 4 * slope("rank_train_held_out")),
        *(tanh(score("gradient_ratio", 0.1) / 3), tanh(slope("gradient_ratio"))),
        *(tanh(score("gradient_norm_g", 0.1) / 3), tanh(score("gradient_norm_d", 0.1) / 3)),
        *updates,
        *(tanh(level("diversity")), tanh(4 * slope("diversity"))),
        *(2 * level("coverage") - 1 if "coverage" in tracks.kept else 0.0, 4 * slope("coverage")),
        *(level("copying"), level("severity")),
    ]


def _players(signals: Signals) -> dict[str, float | None]:
    return {
        "loss_g": signals.loss_g,
        "loss_d": signals.loss_d,
        "grad_norm_g": signals.gradient_norm_g,
        "grad_norm_d": signals.gradient_norm_d,
    }


def _brief(tracks: Tracks, progress: float) -> list[float]:
    scored = ("loss_g", "loss_d", "grad_norm_g", "grad_norm_d")
    return [*(math.tanh(tracks.score(name, 1e-3) / 3) for name in scored), 2 * progress - 1]


def _ppo_quantities(observation: Observation[Any]) -> dict[str, float | None]:
    return {**_players(observation.signals), "fid": _log(distance(observation.signals))}


def _ppo(tracks: Tracks, progress: float) -> list[float]:
    losses = [tracks.level(name) for name in ("loss_g", "loss_d")]
    return [2 * progress - 1, math.tanh(tracks.gain("fid") / 2), *(loss / (1 + abs(loss)) for loss in losses)]


def distance(signals: Signals) -> float | None:
    """The last value of the first metric of which less is better: the pixel FID of the brief, or what there is.

    None if there is no such metric, or if that value is not finite.
    """
    values = (reading.value for _, reading in sorted(signals.metrics.items()) if reading.better == "lower")
    value = next(values, None)
    return value if value is not None and math.isfinite(value) else None


def _hats(tracks: Tracks, progress: float) -> list[float]:
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
"""By name; a policy's file says which it needs."""
