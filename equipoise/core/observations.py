"""The state of a run at one reading, as plain numbers: the inputs of controllers and diagnosis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from equipoise.core.knobs import Knobs

Verdict = Literal["healthy", "unhealthy", "diverged", "unknown"]
"""`unknown`: no serious finding, but no evidence of health either."""
Better = Literal["lower", "higher"]
"""Which direction of a metric is better."""

SERIOUS = 0.5
"""Severity from which a finding is a problem that needs action; below it, a finding is a hint."""


@dataclass(frozen=True, slots=True)
class ScalarStats:
    """Statistics of one scalar over the steps since the last reading."""

    mean: float
    min: float
    max: float
    last: float


@dataclass(frozen=True, slots=True)
class MetricReading:
    """The last value of a metric, its age in images seen, and which direction is better."""

    value: float
    age: int
    better: Better = "lower"


@dataclass(frozen=True, slots=True)
class Signals:
    """Signals with the same meaning for every model, as means over the steps since the last reading.

    None: this model does not define the signal, or it has no value yet. Ranks are in [−1, 1] and compare across losses:
    0 means indistinguishable, 1 that every first logit is higher than every second. D(·) is a logit; AUC(a, b) is the
    probability that a value of a is higher than a value of b, with ties counted half.
    """

    rank_train_fake: float | None = None
    """2 AUC(D(train), D(fake)) − 1, in [−1, 1]: how well the discriminator separates training reals from fakes."""
    rank_train_held_out: float | None = None
    """2 AUC(D(train), D(held out)) − 1, in [−1, 1]: how well it separates training and held-out reals."""
    sign_real: float | None = None
    """E[sign D(train)], in [−1, 1]: r_t of Karras 2020 (ADA), equation 1."""
    probability_real: float | None = None
    """E[σ(D(x))], in [0, 1], for losses whose logits are log-odds."""
    probability_fake: float | None = None
    """E[σ(D(G(z)))], in [0, 1], for losses whose logits are log-odds; measured in the discriminator's phase."""
    loss_g: float | None = None
    """The generator's total, including weighted terms and penalties. Not comparable across losses."""
    loss_d: float | None = None
    """The discriminator's total, including weighted terms and penalties. Not comparable across losses."""
    adversarial_d: float | None = None
    """The discriminator's loss without penalties: the term "adversarial" of its phase, or the total without one."""
    ideal_d: float | None = None
    """Value of adversarial_d for fakes distributed as the reals, at the current labels (V* of Hazimeh 2023)."""
    adversarial_g: float | None = None
    """The generator's adversarial term, without reconstruction and other terms; only in logs of other programs."""
    loss_d_real: float | None = None
    """The part of the discriminator's loss on reals; only in logs of other programs."""
    loss_d_fake: float | None = None
    """The part of the discriminator's loss on fakes; only in logs of other programs."""
    logit_real: float | None = None
    """E[D(x)], the mean logit of reals; only in logs of other programs."""
    logit_fake: float | None = None
    """E[D(G(z))], the mean logit of fakes; only in logs of other programs."""
    sign_fake: float | None = None
    """E[sign D(G(z))], in [−1, 1]; only in logs of other programs."""
    accuracy_d: float | None = None
    """Share of reals and fakes that the discriminator classifies correctly, in [0, 1]; only in logs of other
    programs."""
    augment_p: float | None = None
    """Probability of augmentation that another program adapts, in [0, 1] (ADA); only in its logs."""
    gradient_norm_g: float | None = None
    """Euclidean norm of the generator's gradient, ≥ 0."""
    gradient_norm_d: float | None = None
    """Euclidean norm of the discriminator's gradient in its adversarial phase, ≥ 0."""
    gradient_ratio: float | None = None
    """gradient_norm_d / gradient_norm_g, ≥ 0; None if the denominator is 0."""
    adversarial_share: float | None = None
    """‖a‖ / (‖a‖ + ‖m‖), in [0, 1], of the weighted gradients at the generator's samples: a of the adversarial term, m
    of the other term, such as the distance to a teacher."""
    update_ratio_g: float | None = None
    """‖Δθ‖ / ‖θ‖ of the generator in the latest measured step, ≥ 0."""
    update_ratio_d: float | None = None
    """‖Δθ‖ / ‖θ‖ of the discriminator in the latest measured step, ≥ 0."""
    diversity: float | None = None
    """Mean distance between two fakes / mean distance between two reals, ≥ 0, on downsampled images; 1: as diverse."""
    coverage: float | None = None
    """Share of reals with a fake nearer than their fifth nearest real, in [0, 1]; downsampled images (Naeem 2020)."""
    copying: float | None = None
    """2 AUC(r(held out), r(fake)) − 1, in [−1, 1], r = d1 / d2 of the two nearest training reals; 1: copies."""
    non_finite: int = 0
    """Number of steps since the last reading with a non-finite loss or gradient (custom loop: loss or logit)."""
    metrics: Mapping[str, MetricReading] = field(default_factory=dict)
    """The last value of each metric by its id, and the number of images seen since it was measured."""


class SignalReading(NamedTuple):
    """The signals of one reading. `progress`: share of the planned run, in [0, 1]."""

    step: int
    progress: float
    signals: Signals


@dataclass(frozen=True, slots=True)
class Finding:
    """A detected symptom: severity and confidence in [0, 1], the numbers that show it, and the step of its start."""

    symptom: str
    severity: float
    evidence: Mapping[str, float]
    since: int
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """All findings of one reading, and the verdict that follows from them.

    `missing`: the evidence that is missing to call the run healthy, and what to log or wait for; "" if none is.
    """

    findings: tuple[Finding, ...] = ()
    missing: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict: `diverged` if a finding is a divergence, else `unhealthy` if one is serious, else `unknown` if
        evidence is missing, else `healthy`."""
        if any(finding.symptom == "divergence" for finding in self.findings):
            return "diverged"
        if any(finding.severity >= SERIOUS for finding in self.findings):
            return "unhealthy"
        return "unknown" if self.missing else "healthy"


@dataclass(frozen=True, slots=True)
class Override:
    """A change of one knob by repair, until step `until`.

    On a logarithmic scale the controller's value is multiplied by `value / base`, so that a schedule continues in
    proportion; on others the knob is set to `value`. `base`: the controller's value when the override was added, or the
    user's for a reset to the published value.
    """

    knob: str
    value: float
    base: float
    until: int


@dataclass(frozen=True, slots=True)
class Remedy:
    """Response of repair to a finding: whether to restore a checkpoint, and overrides of knobs until step `until`.

    `rung`: rung of the symptom's ladder; 0 resets knobs to their published values. `oldest`, `newest`: the range of
    steps whose checkpoints may be restored.
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
    """Everything that a controller may use. `progress`: share of the planned run, in [0, 1].

    `turnable`: names of the knobs that have an effect in this model, None for all knobs.
    """

    step: int
    progress: float
    signals: Signals
    health: Health
    knobs: Knobs
    turnable: frozenset[str] | None = None

    def acts(self, knob: str) -> bool:
        """Return whether a knob exists and has an effect in this model."""
        return knob in self.knobs.ranges() and (self.turnable is None or knob in self.turnable)
