"""From records on the device to numbers that mean something. Pure: a window of steps is gathered, then read once.

Gathering only enqueues work on the device; reading waits for it, once for all numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from equipoise.base import PhaseRecord, StepRecord
from equipoise.diagnosis import likeness
from equipoise.observations import MetricReading, Reading, Signals

Probability = Callable[[Tensor], Tensor]

LOGITS = 1024
"""At most so many logits a side go into a rank: 1,024 x 1,024 comparisons cost about a millisecond."""


def rank(first: Tensor, second: Tensor) -> Tensor:
    """2 AUC(first, second) - 1 = E sign(a - b), scalar in [-1, 1], of two tensors of logits of any shape.

    The Mann-Whitney statistic: unchanged by any rising map of the logits, so it compares across losses.
    """
    first, second = first.flatten()[:LOGITS].float(), second.flatten()[:LOGITS].float()
    return (first[:, None] - second[None, :]).sign().mean()


@dataclass(frozen=True, slots=True)
class Tally:
    """Running sum, minimum, maximum and last value of some named numbers: vectors (len(names),) on the device."""

    names: tuple[str, ...]
    count: int
    total: Tensor
    low: Tensor
    high: Tensor
    last: Tensor

    def add(self, values: Tensor) -> "Tally":
        """One more step."""
        return Tally(
            self.names,
            self.count + 1,
            self.total + values,
            torch.minimum(self.low, values),
            torch.maximum(self.high, values),
            values,
        )


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
        found = {f"{name}/{part}": getattr(one, part) for name, one in self.phases.items() for part in PARTS}
        found |= {f"{UPDATES}/{player}": ratio for player, ratio in self.updates.items()}
        return found | {name: value for name in LAST if (value := getattr(self, name)) is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], phases: Mapping[str, tuple[Sequence[str], int]]) -> "Window":
        """A window from what :meth:`tensors` gave; `phases`: name -> names of its numbers, and how many steps."""
        return cls(
            phases={
                name: Tally(tuple(names), count, *(tensors[f"{name}/{part}"] for part in PARTS))
                for name, (names, count) in phases.items()
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


def gather(window: Window, record: StepRecord, probability: Probability | None = None) -> Window:
    """The window with one more step in it. `probability` turns logits into D(x), None if the loss has none."""
    phases, updates = dict(window.phases), dict(window.updates)
    for name, phase in record.phases.items():
        updates |= {player: ratio for player, ratio in phase.update_ratios.items() if name == player}
        named = numbers(phase, probability)
        if not named:
            continue
        values = torch.stack([value.detach().float() for value in named.values()])
        tally = phases.get(name)
        if tally is None or tally.names != tuple(named):
            phases[name] = Tally(tuple(named), 1, values, values, values, values)
        else:
            phases[name] = tally.add(values)
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
        numbers["sign real"] = real.sign().float().mean()
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

    loss: Mapping[str, Reading]
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


def _readings(window: Window) -> dict[str, Reading]:
    tallies = window.phases.items()
    if not tallies:
        return {}
    columns = [
        torch.cat([values(tally) for _, tally in tallies])
        for values in (_mean_of, lambda t: t.low, lambda t: t.high, lambda t: t.last)
    ]
    rows = torch.stack(columns, dim=1).tolist()
    names = [f"{phase}.{name}" for phase, tally in tallies for name in tally.names]
    return {name: Reading(*row) for name, row in zip(names, rows, strict=True)}


def _mean_of(tally: Tally) -> Tensor:
    return tally.total / tally.count


def _mean(reading: Reading | None) -> float | None:
    return None if reading is None else reading.mean


def _first(readings: Mapping[str, Reading]) -> Callable[[str], float | None]:
    """Look a derived number up in the first phase that has it: the adversarial ones come before lazy penalties."""

    def find(name: str) -> float | None:
        return next((reading.mean for key, reading in readings.items() if key.endswith(f".{name}")), None)

    return find
