"""Computation of signals from step records. Pure: a window of steps is accumulated on the device, then read once.

Accumulating only enqueues work on the device; reading waits for it, once for all numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import add

import torch
from torch import Tensor

from equipoise.core.model import PhaseRecord, StepRecord
from equipoise.core.observations import MetricReading, ScalarStats, Signals
from equipoise.diagnosis.sample_statistics import compute_sample_statistics

Probability = Callable[[Tensor], Tensor]
"""Maps logits to D(x) in [0, 1], of the same shape."""
StepCounts = Sequence[int] | int
"""Number of steps of each scalar. Checkpoints of older versions have one number for all scalars of a phase."""

MAX_LOGITS = 1024
"""Largest number of logits per side in a rank: 1,024 × 1,024 comparisons take about a millisecond."""
VECTORS = ("total", "low", "high", "last")
"""The vectors of RunningStats, in the order of its fields."""
LAST_TENSORS = ("probe_train", "probe_held_out", "non_finite", "real", "fake", "held_out")
"""The optional single tensors of a window."""
UPDATE_RATIO = "update ratio"
"""Prefix of update ratios among a window's tensors. No phase name contains a space."""


def rank(first: Tensor, second: Tensor) -> Tensor:
    """Compute 2 AUC(first, second) − 1 = E sign(a − b), a scalar in [−1, 1], of two tensors of logits of any shape.

    The Mann-Whitney statistic: invariant under every increasing map of the logits, so it compares across losses. With
    more than MAX_LOGITS per side, such as patches, evenly spaced ones from all samples are used. NaN if a logit is NaN.
    """
    first, second = _subsample(first.flatten().float()), _subsample(second.flatten().float())
    return _mean_sign(first[:, None] - second[None, :], torch.cat([first, second]))


def _mean_sign(values: Tensor, logits: Tensor) -> Tensor:
    """Compute E sign(values), a scalar; NaN if one of `logits` is NaN, whose sign torch defines as 0."""
    return torch.where(logits.isnan().any(), torch.nan, values.sign().mean())


def _subsample(values: Tensor) -> Tensor:
    """Return at most MAX_LOGITS of the values (N,), evenly spaced from the first to the last."""
    if len(values) <= MAX_LOGITS:
        return values
    return values[torch.linspace(0, len(values) - 1, MAX_LOGITS, device=values.device).long()]


@dataclass(frozen=True, slots=True)
class RunningStats:
    """Running sum, minimum, maximum and last value of named scalars: vectors (len(names),) on the device.

    `counts`: number of steps that had each scalar. Steps need not all have the same scalars.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    total: Tensor
    low: Tensor
    high: Tensor
    last: Tensor

    @classmethod
    def from_step(cls, names: Sequence[str], values: Tensor) -> "RunningStats":
        """Return the statistics of a single step."""
        return cls(tuple(names), (1,) * len(names), values, values, values, values)

    def merge(self, later: "RunningStats") -> "RunningStats":
        """Return the statistics of these steps and later ones together."""
        if later.names != self.names:
            return self._merge_by_name(later)
        return RunningStats(
            self.names,
            tuple(map(add, self.counts, later.counts)),
            self.total + later.total,
            torch.minimum(self.low, later.low),
            torch.maximum(self.high, later.high),
            later.last,
        )

    def _merge_by_name(self, later: "RunningStats") -> "RunningStats":
        """Merge statistics of which some scalars are in only one of the two."""
        first, second = self._split(), later._split()
        both = {name: first[name].merge(second[name]) for name in first if name in second}
        parts = (first | second | both).values()
        names, counts = (
            tuple(chain.from_iterable(getattr(part, attribute) for part in parts)) for attribute in ("names", "counts")
        )
        vectors = (torch.cat([getattr(part, vector) for part in parts], dim=-1) for vector in VECTORS)
        return RunningStats(names, counts, *vectors)

    def _split(self) -> dict[str, "RunningStats"]:
        """Return the statistics of each scalar separately, by name."""
        columns = zip(*(getattr(self, vector).split(1, dim=-1) for vector in VECTORS), strict=True)
        scalars = zip(self.names, self.counts, columns, strict=True)
        return {name: RunningStats((name,), (count,), *column) for name, count, column in scalars}


@dataclass(frozen=True, slots=True)
class SignalWindow:
    """Everything accumulated since the last reading.

    `phases`: running statistics of each phase's scalars. `updates`: last update-to-weight ratio of each network,
    a scalar, measured occasionally. `probe_*`: logits of the current discriminator for training and held-out reals.
    `real`, `fake`, `held_out`: the latest samples for comparison.
    """

    phases: Mapping[str, RunningStats] = field(default_factory=dict)
    updates: Mapping[str, Tensor] = field(default_factory=dict)
    probe_train: Tensor | None = None
    probe_held_out: Tensor | None = None
    non_finite: Tensor | None = None
    real: Tensor | None = None
    fake: Tensor | None = None
    held_out: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name; :meth:`from_tensors` rebuilds the window from them and the phases' names."""
        result = {
            f"{name}/{vector}": getattr(stats, vector) for name, stats in self.phases.items() for vector in VECTORS
        }
        result |= {f"{UPDATE_RATIO}/{network}": ratio for network, ratio in self.updates.items()}
        return result | {name: value for name in LAST_TENSORS if (value := getattr(self, name)) is not None}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], phases: Mapping[str, tuple[Sequence[str], StepCounts]]
    ) -> "SignalWindow":
        """Rebuild a window from :meth:`tensors`; `phases`: the names and step counts of each phase's scalars."""
        stats = {
            phase: RunningStats(
                tuple(names), _to_counts(counts, len(names)), *(tensors[f"{phase}/{vector}"] for vector in VECTORS)
            )
            for phase, (names, counts) in phases.items()
        }
        prefix = f"{UPDATE_RATIO}/"
        updates = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        return cls(stats, updates, **{name: tensors[name] for name in LAST_TENSORS if name in tensors})


def _to_counts(counts: StepCounts, length: int) -> tuple[int, ...]:
    return (counts,) * length if isinstance(counts, int) else tuple(counts)


def accumulate(window: SignalWindow, record: StepRecord, probability: Probability | None = None) -> SignalWindow:
    """Return the window extended by one step. `probability` is None for losses that do not define D(x)."""
    phases, updates = dict(window.phases), dict(window.updates)
    for name, phase in record.phases.items():
        updates |= {network: ratio for network, ratio in phase.update_ratios.items() if name == network}
        scalars = phase_scalars(phase, probability)
        if not scalars:
            continue
        values = torch.stack([value.detach().float() for value in scalars.values()])
        step = RunningStats.from_step(tuple(scalars), values)
        phases[name] = phases[name].merge(step) if name in phases else step
    non_finite = window.non_finite
    if record.non_finite is not None:
        flag = record.non_finite.float()
        non_finite = flag if non_finite is None else non_finite + flag
    return replace(
        window,
        phases=phases,
        updates=updates,
        probe_train=_latest(record.probe_train, window.probe_train),
        probe_held_out=_latest(record.probe_held_out, window.probe_held_out),
        non_finite=non_finite,
        real=_latest(record.real, window.real),
        fake=_latest(record.fake, window.fake),
        held_out=_latest(record.held_out, window.held_out),
    )


def _latest(new: Tensor | None, old: Tensor | None) -> Tensor | None:
    return old if new is None else new.detach()


def phase_scalars(phase: PhaseRecord, probability: Probability | None) -> dict[str, Tensor]:
    """Return the scalars of one phase: its terms, then derived ones, whose names contain a space."""
    scalars = dict(phase.terms)
    if phase.total is not None:
        scalars["total"] = phase.total
    scalars |= {f"gradient {network}": norm for network, norm in phase.gradient_norms.items()}
    real, fake = phase.logit_real, phase.logit_fake
    if real is not None:
        scalars["sign real"] = _mean_sign(real.float(), real)
        if probability is not None:
            scalars["probability real"] = probability(real).mean()
    if fake is not None and probability is not None:
        scalars["probability fake"] = probability(fake).mean()
    if real is not None and fake is not None:
        scalars["rank train fake"] = rank(real, fake)
    return scalars


@dataclass(frozen=True, slots=True)
class WindowStats:
    """A window after reading: the statistics of each "phase.term", and the signals."""

    loss: Mapping[str, ScalarStats]
    signals: Signals


def compute_signals(
    window: SignalWindow, metrics: Mapping[str, MetricReading], ideal: float | None = None
) -> WindowStats:
    """Read a window from the device: the only place where the host waits for numbers.

    `ideal`: the discriminator's adversarial loss for fakes with the distribution of the reals; None if unknown.
    """
    stats = _read_stats(window)
    first = _first_by_name(stats)
    gradient_g, gradient_d = first("gradient generator"), first("gradient discriminator")
    rank_held_out = None
    if window.probe_train is not None and window.probe_held_out is not None:
        rank_held_out = rank(window.probe_train, window.probe_held_out).item()
    sample_statistics: dict[str, float] = {}
    if window.real is not None and window.fake is not None:
        sample_statistics = compute_sample_statistics(window.real, window.fake, window.held_out)
    updates = {network: ratio.item() for network, ratio in window.updates.items()}
    return WindowStats(
        loss={name: value for name, value in stats.items() if " " not in name},
        signals=Signals(
            rank_train_fake=first("rank train fake"),
            rank_train_held_out=rank_held_out,
            sign_real=first("sign real"),
            probability_real=first("probability real"),
            probability_fake=first("probability fake"),
            loss_g=_mean(stats.get("generator.total")),
            loss_d=_mean(stats.get("discriminator.total")),
            adversarial_d=_mean(stats.get("discriminator.adversarial", stats.get("discriminator.total"))),
            ideal_d=ideal,
            gradient_norm_g=gradient_g,
            gradient_norm_d=gradient_d,
            gradient_ratio=gradient_d / gradient_g if gradient_g and gradient_d is not None else None,
            adversarial_share=first("adversarial_share"),
            update_ratio_g=updates.get("generator"),
            update_ratio_d=updates.get("discriminator"),
            **sample_statistics,
            non_finite=0 if window.non_finite is None else int(window.non_finite.item()),
            metrics=metrics,
        ),
    )


def _read_stats(window: SignalWindow) -> dict[str, ScalarStats]:
    """Transfer all running statistics in one go, by "phase.name"."""
    phases = window.phases.items()
    if not phases:
        return {}
    columns = [
        torch.cat([column(stats) for _, stats in phases])
        for column in (_means, lambda s: s.low, lambda s: s.high, lambda s: s.last)
    ]
    rows = torch.stack(columns, dim=1).tolist()
    names = [f"{phase}.{name}" for phase, stats in phases for name in stats.names]
    return {name: ScalarStats(*row) for name, row in zip(names, rows, strict=True)}


def _means(stats: RunningStats) -> Tensor:
    return stats.total / stats.total.new_tensor(stats.counts)


def _mean(stats: ScalarStats | None) -> float | None:
    return None if stats is None else stats.mean


def _first_by_name(stats: Mapping[str, ScalarStats]) -> Callable[[str], float | None]:
    """Return a lookup of a scalar in the first phase that has it: adversarial phases come before lazy penalties."""

    def find(name: str) -> float | None:
        return next((value.mean for key, value in stats.items() if key.endswith(f".{name}")), None)

    return find
