"""Choice of the columns of one game: which of several is a signal, what adds up to it, what tells its kind of loss."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from equipoise.core.printing import printable
from equipoise.diagnosis.columns.column_words import PARTS, Meaning
from equipoise.diagnosis.columns.output_meanings import Measure
from equipoise.diagnosis.logs.training_log import NO_LOSS, LossKind

SUMS = frozenset({"loss_d", "loss_g", "adversarial_d", "adversarial_g", "loss_d_real", "loss_d_fake"})
"""Signals that are the sum of their parts, such as the losses of several discriminators; of others the mean counts."""


VAGUE = 3
"""Rank from which a name has words of no known meaning: g_loss_cond may be a term."""


class ColumnChoice(NamedTuple):
    """The columns that a signal comes from: one, or the sum or mean of several, or the negative of one."""

    names: tuple[str, ...]
    form: Literal["column", "sum", "mean", "negative"] = "column"


Count = Callable[[str], int]


def choose_columns(meanings: Mapping[str, Meaning], count: Count) -> dict[str, ColumnChoice]:
    """Return the columns of each signal of a game. `count` returns the number of values of a column.

    Training is preferred to validation, a total to other forms, a whole to its parts, and what has most values. Without
    a loss of its own, a player has that of its adversarial term, then the sum of the parts on reals and fakes.
    """
    signals = dict.fromkeys(meaning.name for meaning in meanings.values() if meaning.kind == "signal")
    result: dict[str, ColumnChoice] = {}
    for signal in signals:
        candidates = {name: meaning for name, meaning in meanings.items() if meaning.name == signal}
        if choice := _choose(signal, candidates, count):
            result[signal] = choice
    for loss, term in (("loss_d", "adversarial_d"), ("loss_g", "adversarial_g")):
        is_vague = loss in result and meanings[result[loss].names[0]].rank >= VAGUE
        if term in result and (is_vague or loss not in result):
            result[loss] = result[term]
    if "loss_d" not in result and {"loss_d_real", "loss_d_fake"} <= result.keys():
        result["loss_d"] = ColumnChoice((*result["loss_d_real"].names, *result["loss_d_fake"].names), "sum")
    distance = [name for name, meaning in meanings.items() if meaning.name == "an estimate of the Wasserstein distance"]
    if "loss_d" not in result and distance:
        result["loss_d"] = ColumnChoice((distance[0],), "negative")
    return result


def _choose(signal: str, candidates: Mapping[str, Meaning], count: Count) -> ColumnChoice | None:
    """Return the preferred column of a signal, or the parts that make it up; None for a part that alone says nothing.

    The accuracy on reals is 1 for a discriminator that takes everything for real: it needs that on fakes.
    """

    def preference(name: str) -> tuple[bool, int, bool, int, bool]:
        meaning = candidates[name]
        return meaning.split == "val", meaning.rank, bool(meaning.label), -count(name), bool(meaning.statistic)

    best = min(candidates, key=preference)
    key = preference(best)[:3]
    if signal == "accuracy_d" and candidates[best].statistic in ("real", "fake"):
        sides = {meaning.statistic: name for name, meaning in candidates.items()}
        return ColumnChoice((sides["real"], sides["fake"]), "mean") if {"real", "fake"} <= sides.keys() else None
    if not is_part(candidates[best].label):
        return ColumnChoice((best,))
    parts = [
        name
        for name, meaning in candidates.items()
        if is_part(meaning.label) and preference(name)[:3] == key and meaning.statistic == candidates[best].statistic
    ]
    if len(parts) < 2:
        return ColumnChoice((best,))
    return ColumnChoice(tuple(parts), "sum" if signal in SUMS else "mean")


def is_part(label: str) -> bool:
    """Return whether a label is that of one of several discriminators against the same generator."""
    return label.isdigit() or label.rstrip("0123456789") in PARTS


def determine_loss_kind(
    choices: Mapping[str, ColumnChoice], meanings: Mapping[str, Meaning], measure: Measure
) -> LossKind:
    """Return whether the level of the discriminator's loss has a meaning, by its values and the names in the log."""
    choice = choices.get("loss_d")
    if choice is None:
        return NO_LOSS
    names = " and ".join(map(printable, choice.names))
    if wasserstein := _first_hint(choice.names, meanings, "wasserstein"):
        reason = f"the name {printable(wasserstein)} is that of a Wasserstein loss, whose level has no meaning"
        return LossKind("unbounded", reason)
    if autoencoder := _first_hint(meanings, meanings, "autoencoder"):
        reason = f"the name {printable(autoencoder)} is that of BEGAN, whose losses are errors of an autoencoder"
        return LossKind("unbounded", reason)
    low = min(measure(name).low for name in choice.names)
    if low < 0:
        return LossKind(
            "unbounded",
            f"the discriminator's loss is negative at times ({names}, down to {low:.4g}): its level has no "
            "meaning, as that of a Wasserstein loss",
        )
    for hint, content in (("classifier", "classification"), ("contrastive", "contrastive")):
        if (term := _first_hint(meanings, meanings, hint)) and choice.form == "column":
            return LossKind("composite", f"the loss {names} may include the {content} term {printable(term)}")
    if low != low:
        return LossKind("none", f"the discriminator's loss has no finite value ({names})")
    return LossKind("bounded", f"the discriminator's loss is never negative ({names}, at least {low:.4g})")


def _first_hint(names: Iterable[str], meanings: Mapping[str, Meaning], hint: str) -> str | None:
    return next((name for name in names if name in meanings and hint in meanings[name].hints), None)


def choose_learning_rates(names: Iterable[str], last: Callable[[str], float]) -> dict[str, float]:
    """Return the last learning rates of a log: `lr_d` and `lr_g` of the players, `lr` of both.

    `last` returns the last value of a column. Values out of (0, 1) are no learning rates.
    """
    result: dict[str, float] = {}
    for name in names:
        words = set(re.findall(r"[a-z]+", name.lower().replace("learningrate", "learning rate")))
        if "lr" in words or {"learning", "rate"} <= words or words & {"lrd", "lrg", "dlr", "glr"}:
            is_d = words & {"d", "dis", "disc", "discriminator", "critic", "lrd", "dlr"}
            is_g = words & {"g", "gen", "generator", "lrg", "glr"}
            if 0 < (value := last(name)) < 1:
                result.setdefault("lr_d" if is_d else "lr_g" if is_g else "lr", value)
    return result
