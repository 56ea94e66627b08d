"""Rules for the likely cause of a finding by its evidence and its onset: one pure function for each symptom.

Each returns a sentence without a full stop. Where two causes look the same in a log, it says so.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from equipoise.diagnosis.criteria.metric_quality import SINCE_BEST

BEGINNING = 0.1
"""A symptom that began within this share of the run is caused by the settings, not by how training developed."""
UNKNOWN_QUALITY = "; the quality of the samples is unknown without a metric"


class Onset(NamedTuple):
    """When a finding began: `since` in `unit`s, and as a `share` of the run; `is_first`: at the first reading."""

    since: int
    share: float
    unit: str
    is_first: bool = False

    def __str__(self) -> str:
        """Return the time as a phrase: "from the start" or "from step 12,000 on"."""
        return "from the start" if self.since <= 0 else f"from {self.unit} {self.since:,} on"


Rule = Callable[[Mapping[str, float], Onset], str]
"""A pure function of the evidence and the onset of a finding."""


def _data_out_of_range(evidence: Mapping[str, float], onset: Onset) -> str:
    low, high = evidence.get("real_low", 0.0), evidence.get("real_high", 0.0)
    if "fake_low" in evidence and "fake_high" in evidence:
        fake = f"{evidence['fake_low']:.3g} to {evidence['fake_high']:.3g}"
        return f"the reals go from {low:.3g} to {high:.3g}, the samples only from {fake}"
    if max(abs(low), abs(high)) > 1.1:
        return f"the reals go from {low:.3g} to {high:.3g}, but the generator's last layer gives only -1 to 1"
    return (
        f"the values of the reals have a standard deviation of {evidence.get('real_deviation', 0.0):.2g}: the "
        "settings for black and white do not match the values in these files"
    )


def _divergence(evidence: Mapping[str, float], onset: Onset) -> str:
    if (loss := _loss_of(evidence, "")) and "usual" in evidence:
        return (
            f"{loss} grew from a usual size of {evidence['usual']:.3g} to {evidence[loss]:.3g}: too high a learning "
            "rate, or a loss or penalty without a bound; the log cannot tell which, but gradient norms would"
        )
    if onset.is_first:
        return (
            "not finite at the first reading, so the settings or the data are the cause: a NaN in the data, the "
            "logarithm of 0, a division by 0, or a much too high learning rate; the log cannot tell which"
        )
    return (
        f"finite before {onset.unit} {onset.since:,}: too high a learning rate, a penalty without a bound, or an "
        "overflow of float16; the log cannot tell which, but gradient norms would"
    )


def _overpowering(evidence: Mapping[str, float], onset: Onset) -> str:
    if (losses := _parting_losses(evidence)) and "probability_real" not in evidence:
        return f"{losses}: the discriminator has won{UNKNOWN_QUALITY}"
    numbers = _state_of_d(evidence)
    direct = {"probability_real", "probability_fake", "rank_train_fake", "accuracy_d", "logit_real", "sign_real"}
    unknown = "" if direct & set(evidence) else UNKNOWN_QUALITY
    if onset.share <= BEGINNING:
        return (
            f"{numbers}{onset}: the discriminator learned faster from the first epoch, because there is little data or "
            f"its learning rate is too high; the log cannot tell which{unknown}"
        )
    return (
        f"{numbers}{onset}: the discriminator overtook the generator late, by memorising little data (D(x) of held-out "
        "reals would be lower) or by a learning rate that is too high for this phase; the log cannot tell "
        f"which{unknown}"
    )


def _state_of_d(evidence: Mapping[str, float]) -> str:
    """Return how the discriminator tells reals from fakes, by its output or the losses, followed by a space."""
    if "probability_real" in evidence and "probability_fake" in evidence:
        return f"D(x) = {evidence['probability_real']:.2f} and D(G(z)) = {evidence['probability_fake']:.2f} "
    if "rank_train_fake" in evidence:
        return f"rank_train_fake = {evidence['rank_train_fake']:.2f} "
    losses = [f"{name} = {evidence[name]:.3g}" for name in ("loss_d", "loss_g") if name in evidence]
    return f"{' and '.join(losses)} " if losses else ""


def _parting_losses(evidence: Mapping[str, float]) -> str:
    """Return how far the losses have moved apart; "" if the evidence has no such numbers."""
    if not {"loss_d_at_most", "loss_d", "loss_g_at_least", "loss_g"} <= set(evidence):
        return ""
    return (
        f"loss_d fell from {evidence['loss_d_at_most']:.3g} to {evidence['loss_d']:.3g} while loss_g rose from "
        f"{evidence['loss_g_at_least']:.3g} to {evidence['loss_g']:.3g}"
    )


def _vanishing_gradient(evidence: Mapping[str, float], onset: Onset) -> str:
    return (
        f"{_state_of_d(evidence)}{onset}: a loss that saturates, such as log(1 - D(G(z))), or a discriminator "
        "that is far ahead; the log cannot tell which"
    )


def _collapse(evidence: Mapping[str, float], onset: Onset) -> str:
    if losses := _parting_losses(evidence):
        return f"{losses}: the discriminator has won, so that the generator gets no useful gradient"
    if "jump" in evidence:
        return (
            f"both losses jumped by {evidence['jump']:.2g} standard deviations: one step, batch or change of a setting "
            "moved the networks far"
        )
    return (
        "the losses do not show it: lost modes, or a discriminator that memorises; the log cannot tell which, but "
        "samples and D(x) of held-out reals would"
    )


def _plateau(evidence: Mapping[str, float], onset: Onset) -> str:
    share = evidence.get("share_of_run_since")
    if share is None:
        return f"the quality fell moderately {onset} and stayed: memorised data, or learning rates that are too high"
    return (
        f"no improvement for {share:.0%} of the run: the networks or the data allow no more, or the learning rates are "
        "too high to settle"
    )


def _mode_collapse(evidence: Mapping[str, float], onset: Onset) -> str:
    if onset.share <= BEGINNING:
        return "never diverse: the generator's learning rate is too high, or a layer ignores the latent"
    return (
        f"diverse before, no longer {onset}: the generator's steps are too large, or the discriminator, which sees "
        "single samples, cannot notice that they are all alike; the log cannot tell which"
    )


def _mode_dropping(evidence: Mapping[str, float], onset: Onset) -> str:
    if {"coverage_at_best", "coverage"} <= set(evidence):
        return (
            f"coverage fell from {evidence['coverage_at_best']:.2f} to {evidence['coverage']:.2f}: the discriminator "
            "forgets kinds of reals faster than the generator learns them"
        )
    return "the generator has not reached most kinds of reals: it is too early, or its learning rate is too high"


def _overfitting(evidence: Mapping[str, float], onset: Onset) -> str:
    if "sign_real" in evidence:
        share = f"{(1 + evidence['sign_real']) / 2:.0%} of the training reals have a positive output: "
        off = evidence.get("augment_p", 1.0) < 0.05
        return f"{share}little data for the discriminator's capacity{', and the augmentation is off' if off else ''}"
    if evidence.get("augment_p", 0.0) > 0.6:
        return "little data for the discriminator's capacity: the augmentation is at its limit and does not suffice"
    return f"little data for the discriminator's capacity, and too little augmentation; {_harm(evidence)}"


def _harm(evidence: Mapping[str, float]) -> str:
    """Return whether overfitting has harmed the quality of samples so far."""
    ratios = {name.removesuffix(SINCE_BEST): ratio for name, ratio in evidence.items() if name.endswith(SINCE_BEST)}
    if not ratios:
        return "whether it harms quality is unknown without a metric on held-out data"
    name = max(ratios, key=ratios.__getitem__)
    if ratios[name] == 1:
        return f"it has not harmed quality yet: {name} is not worse than its best"
    return f"it harms quality: {name} is {ratios[name]:.2f} times as bad as its best"


def _memorisation(evidence: Mapping[str, float], onset: Onset) -> str:
    return "little data for the generator's capacity, or too long a training"


def _forgetting(evidence: Mapping[str, float], onset: Onset) -> str:
    return (
        f"the ranks fell from {evidence.get('rank_before', 1.0):.2f} to {evidence.get('rank_train_fake', 0.0):.2f} "
        f"between two readings at {onset.unit} {onset.since:,}: weights or optimizer state that were replaced or "
        "destroyed in one step (resumption, loading, a change of the code); learning is not that sudden"
    )


def _oscillation(evidence: Mapping[str, float], onset: Onset) -> str:
    period = f" every {evidence['period']:,.0f} {onset.unit}s" if "period" in evidence else ""
    return f"each player reacts to the other's last step{period}: momentum or learning rates are too high, or both"


def _dead(evidence: Mapping[str, float], onset: Onset) -> str:
    if "loss_d" in evidence:
        return (
            "the critic's estimate of the distance has become 0: weights clipped too narrowly, or too few updates of it"
        )
    if "margin" in evidence:
        return "the discriminator is nearly constant: penalties, noise or augmentation are too strong for it"
    return "no gradient reaches its weights, or its learning rate is too low; the norms of its gradients would tell"


def _generator_overpowering(evidence: Mapping[str, float], onset: Onset) -> str:
    fake, real = evidence.get("probability_fake", 0.0), evidence.get("probability_real", 1.0)
    if fake > real or evidence.get("accuracy_d", 1.0) < 0.5:
        return (
            "a discriminator that learns is never worse than a guess: the labels of reals and fakes are swapped, or "
            "the generator's update moves the discriminator's weights, too"
        )
    loss = _loss_of(evidence, "_d")
    ratio = (
        f"{loss} is {evidence[loss] / evidence['at_chance']:.2g} times its value at chance: "
        if loss and "at_chance" in evidence
        else ""
    )
    return (
        f"{ratio}the generator's update moves the discriminator's weights, too, or the discriminator learns too "
        "slowly; the log cannot tell which, but the norms of its gradients would"
    )


def _saturated_loss(evidence: Mapping[str, float], onset: Onset) -> str:
    loss = _loss_of(evidence, "")
    if not loss:
        return ""
    probability = evidence.get("clipped_probability")
    if probability:
        clip = next((text for value, text in CLIP_SOURCES if 0.5 < probability / value < 2), "a clip of the logarithm")
        return f"{loss} = {evidence[loss]:.5g} is -log({probability:.1g}), {clip}, where the gradient is exactly 0"
    share = f" for {evidence['constant_for']:.0%} of the readings" if "constant_for" in evidence else ""
    return (
        f"{loss} = {evidence[loss]:.5g}{share}: an output that no longer depends on the weights (saturated units, "
        "weights at their clip), or an optimizer that changes nothing; the log cannot tell which"
    )


def _loss_of(evidence: Mapping[str, float], ending: str) -> str:
    """Return the name of a loss in the evidence, "" without one."""
    losses = (name for name in evidence if name.startswith(("loss_", "adversarial_")) and "_at_" not in name)
    return next((name for name in losses if name.endswith(ending)), "")


def _never_learned(evidence: Mapping[str, float], onset: Onset) -> str:
    if "at_chance" in evidence:
        return (
            "both losses have had their value at chance since the start: no update reaches the weights (a detached "
            "tensor, an optimizer of other parameters, no call of step), or the learning rates are much too low"
        )
    return (
        "the quality is that of the first samples: updates that do not reach the generator's weights, a much too low "
        "or too high learning rate, or a metric that gets other images than these samples; the log cannot tell which"
    )


def _adversarial_dominance(evidence: Mapping[str, float], onset: Onset) -> str:
    return (
        f"the adversarial term has too large a weight relative to the other terms, {onset}, or these are "
        "already small; the log cannot tell which"
    )


def _broken_metric(evidence: Mapping[str, float], onset: Onset) -> str:
    value = next(iter(evidence.values()), math.nan)
    if "readings_without_change" in evidence:
        return "the value never changes: it is computed once and repeated, or always of the same samples"
    if math.isnan(value):
        return (
            "not the training, but the computation: nan in the samples, or a matrix square root that failed, as with "
            "fewer images than features (2,048 for the FID); the log cannot tell which"
        )
    if value < evidence.get("possible_from", -math.inf):
        return (
            "not the training, but the computation: numerical error of the matrix square root, statistics of the wrong "
            "data, or samples that are the reals; the log cannot tell which"
        )
    return (
        "not the training, but the computation: images in a wrong range (0 to 1 in place of 0 to 255), or statistics "
        "of other features; the log cannot tell which"
    )


CLIP_SOURCES = (
    (1e-7, "the clip of Keras"),
    (3.8e-44, "the clip of torch.nn.BCELoss at 100"),
    (1e-12, "the clip of pix2pix-tensorflow"),
    (1e-8, "an epsilon of 1e-8 within the logarithm"),
    (6e-8, "the last bit of a float32 next to 1"),
)
"""Probabilities at which programs clip, and which ones do."""
CAUSE_RULES: Mapping[str, Rule] = {
    "data_out_of_range": _data_out_of_range,
    "divergence": _divergence,
    "discriminator_overpowering": _overpowering,
    "vanishing_generator_gradient": _vanishing_gradient,
    "collapse": _collapse,
    "plateau": _plateau,
    "mode_collapse": _mode_collapse,
    "mode_dropping": _mode_dropping,
    "discriminator_overfitting": _overfitting,
    "memorisation": _memorisation,
    "discriminator_forgetting": _forgetting,
    "oscillation": _oscillation,
    "generator_overpowering": _generator_overpowering,
    "saturated_loss": _saturated_loss,
    "never_learned": _never_learned,
    "adversarial_dominance": _adversarial_dominance,
    "broken_metric": _broken_metric,
    "dead_discriminator": _dead,
}
"""Symptom -> its rule."""
