"""What is known about a run at one moment, as numbers without tensors: all that a controller may see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from equipoise.core.knobs import Knobs

Verdict = Literal["healthy", "unhealthy", "diverged"]

SERIOUS = 0.5
"""The severity from which a finding calls for something to be done; below it is something to know."""


@dataclass(frozen=True, slots=True)
class ScalarStats:
    """One number over the steps since the last reading."""

    mean: float
    min: float
    max: float
    last: float


@dataclass(frozen=True, slots=True)
class MetricReading:
    """The last value of a metric, how old it is in images, and which way is up."""

    value: float
    age: int
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True, slots=True)
class Signals:
    """Numbers with fixed meanings, over the steps since the last reading. None: not to be had for this GAN or yet.

    Ranks lie in [-1, 1] and mean the same for every loss: 0 is "cannot tell apart", 1 "always ranks higher".
    """

    rank_train_fake: float | None = None
    """2 AUC(D(train), D(fake)) - 1: how surely the discriminator tells what it trains on from fakes."""
    rank_train_held_out: float | None = None
    """2 AUC(D(train), D(held out)) - 1: how surely it tells what it has seen from what it has not (overfitting)."""
    sign_real: float | None = None
    """E[sign D(train)], r_t of Karras 2020 (ADA), equation 1."""
    probability_real: float | None = None
    """E[D(x)] as a probability, where the loss makes it one."""
    probability_fake: float | None = None
    """E[D(G(z))] as a probability, where the loss makes it one; in the discriminator's phase."""
    loss_g: float | None = None
    """What the generator minimised, penalties and weights included. Does not compare across losses."""
    loss_d: float | None = None
    """What the discriminator minimised, penalties and weights included. Does not compare across losses."""
    adversarial_d: float | None = None
    """What the discriminator minimised without penalties: the term "adversarial" of its phase, else the total."""
    ideal_d: float | None = None
    """What adversarial_d would come to if fakes were as reals are, at the labels of the moment (V* of Hazimeh 2023)."""
    gradient_norm_g: float | None = None
    """Euclidean norm of the generator's gradient."""
    gradient_norm_d: float | None = None
    """Euclidean norm of the discriminator's gradient, of its adversarial phase."""
    gradient_ratio: float | None = None
    """gradient_norm_d / gradient_norm_g."""
    update_ratio_g: float | None = None
    """|change of the weights| / |weights| of the last step read."""
    update_ratio_d: float | None = None
    """The same of the discriminator."""
    diversity: float | None = None
    """Mean distance between two fakes / mean distance between two reals, on small pictures of both."""
    coverage: float | None = None
    """Share of reals that have a fake nearer than their fifth nearest real, on small pictures (Naeem 2020)."""
    copying: float | None = None
    """2 AUC - 1 that a fake is nearer to a single training real, by d1 / d2, than a held-out real is."""
    non_finite: int = 0
    """Steps since the last reading with a loss or gradient that is not finite (one's own loop: loss or logit)."""
    metrics: Mapping[str, MetricReading] = field(default_factory=dict)
    """The last value of each metric, and how many images ago it was measured."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A symptom that was seen: how severe (0 to 1), by what evidence, since which step, how sure (0 to 1)."""

    symptom: str
    severity: float
    evidence: Mapping[str, float]
    since: int
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """All findings at one moment and what they come to."""

    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """diverged when that is one of the findings, ailing when one is serious, else healthy."""
        if any(finding.symptom == "divergence" for finding in self.findings):
            return "diverged"
        return "unhealthy" if any(finding.severity >= SERIOUS for finding in self.findings) else "healthy"


@dataclass(frozen=True, slots=True)
class Override:
    """A knob held elsewhere than its controller wants it, up to step `until`: `value` where that was `base`."""

    knob: str
    value: float
    base: float
    until: int


@dataclass(frozen=True, slots=True)
class Remedy:
    """What is done about a finding: roll back to sound weights or not, and knobs held elsewhere up to step `until`.

    `rung`: how far up the ladder of the symptom; 0 is pulling knobs back to their published values. `oldest` and
    `newest`: the steps between which lie the weights that are worth going back to.
    """

    finding: Finding
    restore: bool
    oldest: int
    newest: int
    overrides: tuple[Override, ...]
    rung: int
    until: int


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a controller may know. `progress` runs from 0 to 1 over the planned run.

    `turnable`: the names of the knobs that act here, None for all that `knobs` has.
    """

    step: int
    progress: float
    signals: Signals
    health: Health
    knobs: Knobs
    turnable: frozenset[str] | None = None

    def acts(self, knob: str) -> bool:
        """Whether a knob is there and acts."""
        return knob in self.knobs.ranges() and (self.turnable is None or knob in self.turnable)
