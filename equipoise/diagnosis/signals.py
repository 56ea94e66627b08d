"""From records on the device to numbers that mean something. Pure: a window of steps is gathered, then read once.

Gathering only enqueues work on the device; reading waits for it, once for all numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import add

import torch
from torch import Tensor

from equipoise.core.observations import MetricReading, ScalarStats, Signals
from equipoise.core.records import PhaseRecord, StepRecord
from equipoise.diagnosis import likeness

Probability = Callable[[Tensor], Tensor]
Counts = Sequence[int] | int
"""Of each number; older states have one count for all numbers of a phase."""

LOGITS = 1024
"""At most so many logits a side go into a rank: 1,024 x 1,024 comparisons cost about a millisecond."""


def rank(first: Tensor, second: Tensor) -> Tensor:
    """2 AUC(first, second) - 1 = E sign(a - b), scalar in [-1, 1], of two tensors of logits of any shape.

    The Mann-Whitney statistic: unchanged by any rising map of the logits, so it compares across losses. Of more than
    LOGITS a side, such as patches, as many are compared, from all samples. NaN where a logit is no number.
    """
    first, second = _spaced(first.flatten().float()), _spaced(second.flatten().float())
    return _mean_sign(first[:, None] - second[None, :], torch.cat([first, second]))


def _mean_sign(values: Tensor, logits: Tensor) -> Tensor:
    """E sign of values made of `logits`, scalar; NaN where one of these is NaN, the sign of which torch says is 0."""
    return torch.where(logits.isnan().any(), torch.nan, values.sign().mean())


def _spaced(values: Tensor) -> Tensor:
    """(N,) -> at most LOGITS of them, evenly spaced from the first to the last."""
    if len(values) <= LOGITS:
        return values
    return values[torch.linspace(0, len(values) - 1, LOGITS, device=values.device).long()]


@dataclass(frozen=True, slots=True)
class Tally:
    """Running sum, minimum, maximum and last value of some named numbers: vectors (len(names),) on the device.

    `counts`: in how many steps each was there. A loop need not tell the same in every step.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    total: Tensor
    low: Tensor
    high: Tensor
    last: Tensor

    @classmethod
    def of(cls, names: Sequence[str], values: Tensor) -> "Tally":
        """One step."""
        return cls(tuple(names), (1,) * len(names), values, values, values, values)

    def followed_by(self, later: "Tally") -> "Tally":
        """Both, number by number."""
        if later.names != self.names:
            return self._merged(later)
        return Tally(
            self.names,
            tuple(map(add, self.counts, later.counts)),
            self.total + later.total,
            torch.minimum(self.low, later.low),
            torch.maximum(self.high, later.high),
            later.last,
        )

    def _merged(self, later: "Tally") -> "Tally":
        """Both, where some numbers are in one of them alone."""
        mine, theirs = self._parts(), later._parts()
        both = {name: mine[name].followed_by(theirs[name]) for name in mine if name in theirs}
        parts = (mine | theirs | both).values()
        names, counts = (
            tuple(chain.from_iterable(getattr(one, field) for one in parts)) for field in ("names", "counts")
        )
        return Tally(names, counts, *(torch.cat([getattr(one, part) for one in parts], dim=-1) for part in PARTS))

    def _parts(self) -> dict[str, "Tally"]:
        """Each number by itself."""
        columns = zip(*(getattr(self, part).split(1, dim=-1) for part in PARTS), strict=True)
        alone = zip(self.names, self.counts, columns, strict=True)
        return {name: Tally((name,), (count,), *column) for name, count, column in alone}


@dataclass(frozen=True, slots=True)
class Window:
    """What has been gathered since the last reading.

    `updates`: the last update-to-weight ratio of each player, scalars, measured now and then. `probe_*`: logits of the
    discriminator as it is now. `real`, `fake`, `held_out`: samples to be compared, the last ones seen.
    """

    phases: Mapping[str, Tally] = field(default_factory=dict)
    updates: Mapping[str, Tensor] = field(default_factory=dict)
    probe_train: Tensor | None = None
    probe_held_out: Tensor | None = None
    non_finite: Tensor | None = None
    real: Tensor | None = None
    fake: Tensor | None = None
    held_out: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All that is in it, by paths; :meth:`of` reads it back, with the names and counts of the tallies."""
        result = {f"{name}/{part}": getattr(one, part) for name, one in self.phases.items() for part in PARTS}
        result |= {f"{UPDATES}/{player}": ratio for player, ratio in self.updates.items()}
        return result | {name: value for name in LAST if (value := getattr(self, name)) is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], phases: Mapping[str, tuple[Sequence[str], Counts]]) -> "Window":
        """A window from what :meth:`tensors` gave; `phases`: name -> names of its numbers, and their counts."""
        return cls(
            phases={
                name: Tally(tuple(names), _each(counts, len(names)), *(tensors[f"{name}/{part}"] for part in PARTS))
                for name, (names, counts) in phases.items()
            },
            updates={
                name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(f"{UPDATES}/")
            },
            **{name: tensors[name] for name in LAST if name in tensors},
        )


PARTS = ("total", "low", "high", "last")
"""The vectors of a tally, in the order of its fields."""
LAST = ("probe_train", "probe_held_out", "non_finite", "real", "fake", "held_out")
"""The tensors of a window, of which it has one or none."""
UPDATES = "update ratio"
"""Where ratios lie among its tensors: no phase has a space in its name."""


def _each(counts: Counts, numbers: int) -> tuple[int, ...]:
    return (counts,) * numbers if isinstance(counts, int) else tuple(counts)


def gather(window: Window, record: StepRecord, probability: Probability | None = None) -> Window:
    """The window with one more step in it. `probability` turns logits into D(x), None if the loss has none."""
    phases, updates = dict(window.phases), dict(window.updates)
    for name, phase in record.phases.items():
        updates |= {player: ratio for player, ratio in phase.update_ratios.items() if name == player}
        named = numbers(phase, probability)
        if not named:
            continue
        step = Tally.of(tuple(named), torch.stack([value.detach().float() for value in named.values()]))
        phases[name] = phases[name].followed_by(step) if name in phases else step
    non_finite = window.non_finite
    if record.non_finite is not None:
        flag = record.non_finite.float()
        non_finite = flag if non_finite is None else non_finite + flag
    return replace(
        window,
        phases=phases,
        updates=updates,
        probe_train=_newer(record.probe_train, window.probe_train),
        probe_held_out=_newer(record.probe_held_out, window.probe_held_out),
        non_finite=non_finite,
        real=_newer(record.real, window.real),
        fake=_newer(record.fake, window.fake),
        held_out=_newer(record.held_out, window.held_out),
    )


def _newer(mine: Tensor | None, before: Tensor | None) -> Tensor | None:
    return before if mine is None else mine.detach()


def numbers(phase: PhaseRecord, probability: Probability | None) -> dict[str, Tensor]:
    """The scalars of one phase; terms first, then what is derived, by names that hold a space."""
    numbers = dict(phase.terms)
    if phase.total is not None:
        numbers["total"] = phase.total
    numbers |= {f"gradient {network}": norm for network, norm in phase.gradient_norms.items()}
    real, fake = phase.logit_real, phase.logit_fake
    if real is not None:
        numbers["sign real"] = _mean_sign(real.float(), real)
        if probability is not None:
            numbers["probability real"] = probability(real).mean()
    if fake is not None and probability is not None:
        numbers["probability fake"] = probability(fake).mean()
    if real is not None and fake is not None:
        numbers["rank train fake"] = rank(real, fake)
    return numbers


@dataclass(frozen=True, slots=True)
class Sense:
    """A window, read: a reading for each "phase.term", and the signals."""

    loss: Mapping[str, ScalarStats]
    signals: Signals


def sense(window: Window, metrics: Mapping[str, MetricReading], ideal: float | None = None) -> Sense:
    """Read the window from the device: the one place where the host waits for numbers.

    `ideal`: the discriminator's adversarial loss where fakes are as reals are, if it is known.
    """
    readings = _readings(window)
    first = _first(readings)
    gradient_g, gradient_d = first("gradient generator"), first("gradient discriminator")
    overfit = None
    if window.probe_train is not None and window.probe_held_out is not None:
        overfit = rank(window.probe_train, window.probe_held_out).item()
    alike: dict[str, float] = {}
    if window.real is not None and window.fake is not None:
        alike = likeness.compare(window.real, window.fake, window.held_out)
    updates = {player: ratio.item() for player, ratio in window.updates.items()}
    return Sense(
        loss={name: reading for name, reading in readings.items() if " " not in name},
        signals=Signals(
            rank_train_fake=first("rank train fake"),
            rank_train_held_out=overfit,
            sign_real=first("sign real"),
            probability_real=first("probability real"),
            probability_fake=first("probability fake"),
            loss_g=_mean(readings.get("generator.total")),
            loss_d=_mean(readings.get("discriminator.total")),
            adversarial_d=_mean(readings.get("discriminator.adversarial", readings.get("discriminator.total"))),
            ideal_d=ideal,
            gradient_norm_g=gradient_g,
            gradient_norm_d=gradient_d,
            gradient_ratio=gradient_d / gradient_g if gradient_g and gradient_d is not None else None,
            update_ratio_g=updates.get("generator"),
            update_ratio_d=updates.get("discriminator"),
            **alike,
            non_finite=0 if window.non_finite is None else int(window.non_finite.item()),
            metrics=metrics,
        ),
    )


def _readings(window: Window) -> dict[str, ScalarStats]:
    tallies = window.phases.items()
    if not tallies:
        return {}
    columns = [
        torch.cat([values(tally) for _, tally in tallies])
        for values in (_mean_of, lambda t: t.low, lambda t: t.high, lambda t: t.last)
    ]
    rows = torch.stack(columns, dim=1).tolist()
    names = [f"{phase}.{name}" for phase, tally in tallies for name in tally.names]
    return {name: ScalarStats(*row) for name, row in zip(names, rows, strict=True)}


def _mean_of(tally: Tally) -> Tensor:
    return tally.total / tally.total.new_tensor(tally.counts)


def _mean(reading: ScalarStats | None) -> float | None:
    return None if reading is None else reading.mean


def _first(readings: Mapping[str, ScalarStats]) -> Callable[[str], float | None]:
    """Look a derived number up in the first phase that has it: the adversarial ones come before lazy penalties."""

    def find(name: str) -> float | None:
        return next((reading.mean for key, reading in readings.items() if key.endswith(f".{name}")), None)

    return find
