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
- `suite`: seven features, few enough to train on whole runs of images: progress, both ranks, the increase of the
  distance to held-out reals over its lowest value, the ratio of the gradients, the epochs of the run, and augment_p.
  The rank of held-out reals is reduced by its standard error, which is large where few are held out. The distance is
  one that the policy is not trained on: training measures other features of other reals.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from equipoise.core.observations import Observation, Signals
from equipoise.errors import UnknownNameError
from equipoise.policy.running_statistics import FeatureMemory, LevelRule, StatisticsTable, update_statistics

RANK_ERROR = 0.051
"""Standard error of a rank of 256 reals against 256 (sqrt((n + m + 1) / (3 n m)), Mann and Whitney 1947)."""
PROBES = 256
"""Largest number of reals that a rank compares."""
GUARD = math.log2(3)
"""Increase of the distance over its lowest value, in octaves, from which `suite` leaves control to the base."""
USUAL_UPDATE = 1e-3
"""Typical |change| / |weights| of a network that learns well (Karpathy, CS231n notes, Neural Networks 3)."""
NO_FACTS: Mapping[str, float] = {}
HATS = 5
TRAINED_SYMPTOMS = frozenset(
    (
        *("divergence", "discriminator_overpowering", "vanishing_generator_gradient", "collapse", "mode_collapse"),
        *("mode_dropping", "discriminator_overfitting", "memorisation", "discriminator_forgetting"),
        *("dead_discriminator", "oscillation", "plateau", "equilibrium"),
    )
)
"""The symptoms whose severity is a feature: those that the shipped policies were trained with."""


class FeatureVector(NamedTuple):
    """Features of an observation. `values`: (n,) in [-1, 1]. `memory`: input for the next observation."""

    values: tuple[float, ...]
    memory: FeatureMemory


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A function from observations to feature vectors.

    `names`: names of the features, without the positions of the heads, which are appended if `positions` is set.
    `quantities`: observation -> tracked quantities. `read`: statistics and progress -> features. `warm_up`: whether
    standard scores use the mean and deviation of the warm-up, instead of the run so far. `levels`: quantities whose
    level is the latest or the lowest value instead of a moving average. `guard`: statistics -> whether a policy may
    act; None for always.
    """

    names: tuple[str, ...]
    quantities: Callable[[Observation], Mapping[str, float | None]]
    read: Callable[[StatisticsTable, float], Sequence[float]]
    positions: bool = False
    warm_up: bool = False
    levels: Mapping[str, LevelRule] = field(default_factory=dict)
    guard: Callable[[StatisticsTable], bool] | None = None

    def all_names(self, heads: Sequence[str]) -> tuple[str, ...]:
        """Return the names of all features, for heads with these names."""
        return (*self.names, *(f"position_{head}" for head in heads)) if self.positions else self.names

    def allows_action(self, memory: FeatureMemory) -> bool:
        """Return whether a policy may act; False where its base controller must be left alone."""
        return self.guard is None or self.guard(StatisticsTable(memory.tracks))

    def compute(
        self,
        memory: FeatureMemory,
        observation: Observation,
        positions: Sequence[float],
        facts: Mapping[str, float] = NO_FACTS,
    ) -> FeatureVector:
        """Compute the features of an observation.

        `positions`: (k,) in [-1, 1], of the heads. `facts`: quantities that are known before the run, such as `epochs`.
        """
        quantities = {**self.quantities(observation), **facts}
        tracks = update_statistics(memory, observation.progress, quantities, self.warm_up, self.levels)
        features = [*self.read(StatisticsTable(tracks), observation.progress), *(positions if self.positions else ())]
        values = tuple(min(1.0, max(-1.0, float(number))) for number in features)
        return FeatureVector(values, FeatureMemory(observation.progress, tracks))


def feature_set(name: str) -> FeatureSet:
    """Return a feature set by name. Raises UnknownNameError."""
    if name not in FEATURES:
        raise UnknownNameError("set of features", name, FEATURES)
    return FEATURES[name]


def _log(value: float | None, base: float = 2) -> float | None:
    return math.log(value, base) if value is not None and 0 < value < math.inf else None


def _shrunk(rank: float, error: float = RANK_ERROR) -> float:
    """Return rho |rho| / (|rho| + 2 SE), which reduces a rank within its standard error."""
    return rank * abs(rank) / (abs(rank) + 2 * error)


def _residual_quantities(observation: Observation) -> dict[str, float | None]:
    signals, rank = observation.signals, observation.signals.rank_train_held_out
    return {
        "rank_train_fake": signals.rank_train_fake,
        "rank_train_held_out": None if rank is None else _shrunk(rank),
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


def _suite_quantities(observation: Observation) -> dict[str, float | None]:
    signals, metric = observation.signals, distance(observation.signals)
    return {
        "rank_train_fake": signals.rank_train_fake,
        "rank_train_held_out": signals.rank_train_held_out,
        "distance": metric,
        "lowest_distance": metric,
        "gradient_ratio": _log(signals.gradient_ratio),
        "augment_p": observation.knobs.values().get("augment_p") if observation.acts("augment_p") else None,
    }


def _suite(table: StatisticsTable, progress: float) -> list[float]:
    held_out = min(PROBES, table.level("held_out_samples") or PROBES)
    error = math.sqrt((held_out + PROBES + 1) / (3 * held_out * PROBES))
    epochs = table.level("epochs")
    return [
        *(2 * progress - 1, table.level("rank_train_fake"), _shrunk(table.level("rank_train_held_out"), error)),
        *(math.tanh(_distance_increase(table)), math.tanh(table.level("gradient_ratio") / 3)),
        *((math.log10(epochs) - 1.5) / 1.5 if epochs > 0 else 0.0, table.level("augment_p") / 0.8),
    ]


def _distance_increase(table: StatisticsTable) -> float:
    """Return the octaves of the distance above its lowest value; 0 if that is not above 0, as for perfect samples."""
    lowest = table.level("lowest_distance")
    return math.log2(max(1.0, table.level("distance") / lowest)) if lowest > 0 else 0.0


def _suite_guard(table: StatisticsTable) -> bool:
    return "rank_train_fake" in table.tracks and _distance_increase(table) < GUARD


FEATURES: Mapping[str, FeatureSet] = {
    "residual": FeatureSet(RESIDUAL, _residual_quantities, _residual, positions=True, warm_up=True),
    "brief": FeatureSet(
        ("loss_g", "loss_d", "grad_norm_g", "grad_norm_d", "epoch_progress"),
        lambda observation: _players(observation.signals),
        _brief,
    ),
    "ppo": FeatureSet(("epoch_progress", "fid", "loss_g", "loss_d"), _ppo_quantities, _ppo),
    "suite": FeatureSet(
        (
            *("progress", "rank_train_fake", "rank_train_held_out", "distance_increase"),
            *("gradient_ratio", "epochs", "augment_p"),
        ),
        _suite_quantities,
        _suite,
        levels={"distance": "latest", "lowest_distance": "lowest", "augment_p": "latest"},
        guard=_suite_guard,
    ),
    "time_only": FeatureSet(tuple(f"hat_{knot}" for knot in range(HATS)), lambda observation: {}, _hats),
}
"""Name -> feature set; the file of a policy contains the name of its set."""
