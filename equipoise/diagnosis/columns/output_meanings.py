"""Meaning of the columns with outputs of the discriminator: losses, logits, probabilities or accuracies.

D_real is a loss in the logs of pix2pix and a mean logit in those of ESRGAN; D(x) is a probability or a logit. The other
names and the values decide.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from equipoise.diagnosis.columns.column_words import Meaning

SAME = 0.03
"""Relative difference below which a mean equals the sum of two others: logs round to two or three digits."""
SAFE = 0.9
"""Factor below 1 on a bound of means, because logs round, and print moving averages."""
LOSSES_D = frozenset({"loss_d", "adversarial_d", "loss_d_real", "loss_d_fake", "bare_real", "bare_fake"})
LOSSES_G = frozenset({"loss_g", "adversarial_g"})


class ColumnRange(NamedTuple):
    """Lowest, highest and mean finite value of a column; nan if it has none."""

    low: float
    high: float
    mean: float

    @property
    def is_share(self) -> bool:
        """Whether all values are in [0, 1]."""
        return self.low >= 0 and self.high <= 1


Measure = Callable[[str], ColumnRange]
Meanings = Mapping[str, Meaning]


def find_signals(meanings: Meanings, *signals: str) -> list[str]:
    """Return the names of the columns that contain one of these signals."""
    return [name for name, meaning in meanings.items() if meaning.kind == "signal" and meaning.name in signals]


def resolve_second_sides(meanings: Meanings) -> Meanings:
    """Take "fake" as an accuracy in "Accuracy real: 80%, fake: 90%", where its first word is not repeated."""
    result: dict[str, Meaning] = {}
    for own, other in (("fake", "real"), ("real", "fake")):
        bare = find_signals(meanings, f"bare_{own}")
        if len(bare) != 1 or find_signals(meanings, f"bare_{other}"):
            continue
        for form in ("accuracy_d", "loss_d", "logit", "probability", "output"):
            name = form if form == "accuracy_d" else f"{form}_{other}"
            first = [meanings[column] for column in find_signals(meanings, name)]
            if form == "accuracy_d":
                first = [meaning for meaning in first if meaning.statistic == other]
            twin = name.replace(other, own)
            if len(first) == 1 and (form == "accuracy_d" or not find_signals(meanings, twin)):
                result[bare[0]] = replace(first[0], name=twin, statistic=own if form == "accuracy_d" else "")
                break
    return result


def resolve_outputs(meanings: Meanings, measure: Measure) -> Meanings:
    """Decide what outputs of the discriminator are, for the two columns of reals and fakes together.

    D(x) and scores are probabilities if all values are in [0, 1], logits otherwise. D_real and D_fake may be losses.
    """
    result: dict[str, Meaning] = {}
    outputs = find_signals(meanings, "output_real", "output_fake", "bare_real", "bare_fake")
    for form, label in dict.fromkeys((meanings[name].name.partition("_")[0], meanings[name].label) for name in outputs):
        group = [name for name in outputs if meanings[name].name.startswith(form) and meanings[name].label == label]
        if form == "bare" and _are_losses(group, meanings, measure):
            scale = "loss_d"
        elif not all(measure(name).is_share for name in group):
            scale = "logit"
        else:
            scale = "accuracy" if _are_accuracies(group, meanings, measure) else "probability"
        for name in group:
            side = meanings[name].name.partition("_")[2]
            if scale == "accuracy":
                result[name] = replace(meanings[name], name="accuracy_d", statistic=side)
            else:
                result[name] = replace(meanings[name], name=f"{scale}_{side}")
    return result


def _are_accuracies(group: list[str], meanings: Meanings, measure: Measure) -> bool:
    """Return whether D_real and D_fake in [0, 1] are shares of correct answers: both high while the loss is low.

    A mean output f for fakes costs the discriminator at least f² / 2 (Jensen; half of the least-squares loss, which is
    below the cross-entropy), so a lower loss contradicts it.
    """
    fakes = [measure(name).mean for name in group if meanings[name].name.endswith("fake")]
    losses = [measure(name) for name in find_signals(meanings, "loss_d") if meanings[name].label == ""]
    return bool(fakes and losses and losses[0].low >= 0 and losses[0].mean < SAFE * fakes[0] ** 2 / 2)


def _are_losses(group: list[str], meanings: Meanings, measure: Measure) -> bool:
    """Return whether D_real and D_fake are losses (pix2pix) rather than outputs (ESRGAN).

    They are outputs next to columns with the losses of each side. They are losses if they add up to the loss of the
    discriminator, or to twice of it. Otherwise a column with that loss makes them outputs, if the values can be:
    in [0, 1] or negative. So does the word loss in the names of the generator's, which names of losses would share.
    Negative values are losses only if the real one is lower, because the outputs of reals are higher.
    """
    if find_signals(meanings, "loss_d_real", "loss_d_fake"):
        return False
    label = meanings[group[0]].label
    real, fake = (
        [measure(name).mean for name in group if meanings[name].name.endswith(side)] for side in ("real", "fake")
    )
    both = sum(real) + sum(fake)
    is_negative = any(measure(name).low < 0 for name in group)
    totals = [name for name in find_signals(meanings, "loss_d") if meanings[name].label in ("", label)]
    if totals:
        mean = measure(totals[0]).mean
        if any(abs(mean - share * both) <= SAME * abs(mean) for share in (1, 0.5)):
            return True
        return not is_negative and not all(measure(name).is_share for name in group)
    if is_negative:
        return bool(real and fake) and sum(real) < sum(fake)
    says_loss = any("loss" in name.lower() for name in find_signals(meanings, *LOSSES_G))
    return not (says_loss and all(measure(name).is_share for name in group))
