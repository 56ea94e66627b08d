"""Names of columns in the logs of other programs -> what they contain, by the table in `column_words`.

A name is split into words at punctuation, at digits and where the case changes: "Loss/D_real" is loss, d, real. The
words together give the meaning, so names that no table lists are recognised too. What depends on the other columns or
on the values, such as "D_real", is decided in `column_meanings`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import NamedTuple

from equipoise.core.observations import Better, Signals
from equipoise.diagnosis.columns.column_words import (
    ALSO_TERMS,
    FEATURES,
    HELD_OUT_ERRORS,
    METRICS,
    NUMBER_WORDS,
    PARTS,
    PHRASES,
    PLAYER_COUNTERS,
    ROLES,
    STEP_COLUMNS,
    TERMS,
    TRANSLATIONS,
    Meaning,
    StepUnit,
)

UNKNOWN = Meaning("unknown", "")


class _NameParts(NamedTuple):
    """`player`: "d", "g" or ""; `side`: "real", "fake" or ""; `roles` of all words; `label`: words without a role."""

    player: str
    side: str
    roles: frozenset[str]
    label: str
    hints: frozenset[str]

    def has(self, role: str) -> bool:
        """Return whether a word of the name has this role."""
        return role in self.roles


_OWN = {
    field.name.replace("_", ""): field.name for field in fields(Signals) if field.name not in ("non_finite", "metrics")
}
_TOKEN = re.compile(r"[lLrRfF][0-2](?![0-9A-Za-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PLAIN_TOKEN = re.compile(r"[lrf][0-2](?![0-9a-z])|[a-z]+|\d+")
_UNSEPARATED = re.compile(
    r"(?P<player>d|g|disc|dis|gen|critic|discriminator|generator)(?P<loss>loss|err|cost|acc)(?P<rest>real|fake)?"
    r"|(?P<loss_first>loss|err)(?P<player_last>d|g|disc|gen)(?P<rest_last>real|fake)?"
)
"""Names in lower case without a separator: dloss, lossg, errd, dlossreal."""
_FOREIGN = re.compile(
    "|".join(rf"(?<![^\W_]){word}(?![^\W_])" if word < "\u2e80" else word for word in TRANSLATIONS), re.IGNORECASE
)
_RUN = re.compile(r"(?P<run>.+?) - (?P<base>[^-]+)")
_LIST = re.compile(r"\[(\d(?:, *\d)+)\](?: (\d))?$")
"""List at the end of a name that gives one number for each entry: "BLEU-[2, 3, 4] 2" is BLEU-3."""
_OUTPUT = re.compile(r"(D|d|disc|Disc)\((?P<sample>(?![aAbB]\)).+)\)")
"""An output of the discriminator: D(x), D(y), D(HR), D(G(z)), D(fake)."""
_MIN_MAX = re.compile(r"__(MIN|MAX)$")


def normalise_name(name: str) -> str:
    """Return a column name in lower case without anything but letters and digits: "Loss/D " becomes "lossd"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _translate(name: str) -> str:
    """Return a name with the words of other languages in English: D-Verlust, perte_d."""
    return _FOREIGN.sub(lambda match: f" {TRANSLATIONS[match[0].lower()]} ", name).strip()


def classify_name(name: str) -> Meaning:
    """Return what a column contains, by its name alone; kind "unknown" if no word of it is known."""
    name = _translate(name)
    if _MIN_MAX.search(name):
        return Meaning("other", "extreme of several runs (W&B)")
    name = _LIST.sub(_name_list_item, name)
    if (match := _RUN.fullmatch(name.strip())) and (meaning := _classify(match["base"])).kind in ("signal", "metric"):
        return replace(meaning, run=match["run"].strip())
    return _classify(name)


def _classify(name: str) -> Meaning:
    """Return the meaning of a name without a run: split where the case changes, or else at punctuation alone."""
    if match := _OUTPUT.fullmatch(name.strip()):
        is_fake = any(word in ("g", "z", "sr") or "fake" in ROLES.get(word, ()) for word in _split(match["sample"]))
        return Meaning("signal", "output_fake" if is_fake else "output_real", rank=0)
    for words in dict.fromkeys((tuple(_split(name)), tuple(_split(name.lower())))):
        if (meaning := _classify_words(words, name)).kind != "unknown":
            return meaning
    return UNKNOWN


def _name_list_item(match: re.Match[str]) -> str:
    """Return the entry of a list that a number belongs to."""
    entries = match[1].replace(" ", "").split(",")
    return entries[min(int(match[2] or 1), len(entries)) - 1]


def match_signal(name: str) -> str | None:
    """Return the signal that a column contains, by its name; None if it is not a signal."""
    meaning = classify_name(name)
    if meaning.kind != "signal" or meaning.label:
        return None
    return meaning.name.replace("output", "probability")


def match_counter(name: str) -> StepUnit | None:
    """Return what a column counts, by its name; None if it is no counter. "Iter(train)" counts as "Iter" does.

    D_step and gen_iterations are counters of one player; g_epoch is more likely a loss by epoch (Lightning).
    """
    name = _translate(name)
    words = [word for word in _split(name) if "train" not in ROLES.get(word, ()) and word not in NUMBER_WORDS]
    if len(words) == 2 and {"d", "g"} & set(ROLES.get(words[0], ())) and words[1] in PLAYER_COUNTERS:
        return "step"
    return STEP_COLUMNS.get(normalise_name(name)) or STEP_COLUMNS.get("".join(words))


def match_metric(name: str) -> tuple[str, Better] | None:
    """Return the name of the metric in a column and which direction is better; None if it is not a metric."""
    meaning = classify_name(name)
    return (meaning.name, meaning.better) if meaning.kind == "metric" else None


def _split(name: str) -> Iterator[str]:
    """Yield the words of a name in lower case; names without separators are split: "errD_real" -> err, d, real."""
    for word in (_TOKEN if name != name.lower() else _PLAIN_TOKEN).findall(name):
        match = None if word.lower() in ROLES else _UNSEPARATED.fullmatch(word.lower())
        yield from (part for part in match.groups() if part) if match else (word.lower(),)


def _classify_words(words: Sequence[str], name: str) -> Meaning:
    """Return the meaning of a name that was split into words."""
    normalised = normalise_name(name)
    if unit := match_counter(name):
        return Meaning("counter", unit)
    if normalised in _OWN and normalised != "coverage":
        return Meaning("signal", _OWN[normalised])
    statistic, split, core = _strip(words)
    if not core:
        return Meaning("other", "a statistic") if words else UNKNOWN
    if any("spread" in ROLES.get(word, ()) for word in core):
        return Meaning("other", "a spread, an extreme or a best value")
    phrase = PHRASES.get(" ".join(words)) or PHRASES.get(" ".join(core))
    meaning = phrase or _classify_metric(core, name, split) or _classify_signal(core)
    if meaning.kind not in ("signal", "metric"):
        return meaning
    return replace(meaning, statistic=meaning.statistic or statistic, split=split)


def _strip(words: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    """Return the statistic ("step", "epoch", "mean" or ""), the split ("train", "val" or ""), and the other words."""
    statistic, split, core = "", "", list(words)
    if len(core) > 1 and core[-1] in ("step", "epoch"):
        statistic = core.pop()
    for word in words:
        roles = ROLES.get(word, ())
        if "statistic" in roles and "term" not in roles:
            statistic = statistic or "mean"
        elif "train" in roles or "val" in roles:
            split = "val" if "val" in roles else split or "train"
        elif not ("filler" in roles and len(core) > 1):
            continue
        if word in core:
            core.remove(word)
    return statistic, split, tuple(core)


def _classify_metric(words: Sequence[str], name: str, split: str) -> Meaning | None:
    """Return the metric in a name, with its variant in the id ("fid50k_full"); None if it is not a metric."""
    roles = {role for word in words for role in ROLES.get(word, ())}
    if roles & {"d", "g"} - ({"g"} if "nll" in words else set()):
        return None
    text = f" {' '.join(words)} "
    phrase = max((key for key in METRICS if f" {key} " in text), key=len, default="")
    is_english = phrase == "is" and not re.search(r"IS(?![a-zA-Z])|^is(?=$|[_\d])", name)
    is_term = "loss" in roles and phrase in ALSO_TERMS
    if not phrase or is_english or is_term or "other" in roles:
        is_error = split == "val" and set(words) & HELD_OUT_ERRORS and "other" not in roles
        return Meaning("metric", "_".join(words), "lower") if is_error else None
    metric, better = METRICS[phrase]
    before, _, after = text.partition(f" {phrase} ")
    variant = [word for word in after.split() if word != "score"]
    label = variant.pop() if variant and _is_game_or_part(variant[-1]) and variant[-1].isalpha() else ""
    prefix = [word for word in before.split() if word in FEATURES]
    return Meaning("metric", _join_id([*prefix, metric, *variant]), better, label)


def _join_id(words: Sequence[str]) -> str:
    """Return the id of a metric: fid, 50, k, full is fid50k_full, as StyleGAN names it."""
    text = "_".join(words)
    return re.sub(r"(?<=[a-z])_(?=\d)|(?<=\d)_(?=k(_|$))", "", text)


def _classify_signal(words: Sequence[str]) -> Meaning:
    """Return the signal in a name by the roles of its words: player, real or fake, and quantity."""
    parts = _parse_words(words)
    if parts.roles & {"gradient", "norm"} == {"gradient", "norm"} and parts.player and not parts.has("penalty"):
        return Meaning("signal", f"gradient_norm_{parts.player}", label=parts.label)
    if "gradnorm" in words and parts.player:
        return Meaning("signal", f"gradient_norm_{parts.player}", label=parts.label)
    for role, content in TERMS.items():
        if parts.has(role):
            return Meaning("other", content, hints=parts.hints)
    if not parts.player and not parts.side:
        return _classify_without_player(parts)
    return _classify_d(parts) if parts.player != "g" else _classify_g(parts)


def _parse_words(words: Sequence[str]) -> _NameParts:
    """Return player, side, roles and label from the words of a name.

    With two players, the first is the subject: disc_gen_loss is the discriminator's loss on generated samples,
    gen_disc_loss the generator's adversarial term. loss_disc_fake_g (MMagic) is the generator's as well.
    """
    players, label, roles, side = [], [], set(), ""
    is_p_letter = not {"real", "fake"} & {role for word in words for role in ROLES.get(word, ())}
    for word in words:
        own = set() if word == "p" and is_p_letter else set(ROLES.get(word, ()))
        player = next((role for role in ("d", "g") if role in own), "")
        if player and player in players:
            label.append(word)  # gen_g_loss of TensorFlow's CycleGAN
        elif player:
            players.append(player)
        elif not own:
            label.append(word)
        side = side or next((role for role in ("real", "fake") if role in own), "")
        roles |= own
    if {"real", "fake"} <= roles:  # D_real+fake of DeblurGAN
        side = ""
    subject = players[0] if players else ""
    if players == ["d", "g"]:
        subject, side = ("g", "fake") if side else ("d", "fake")
    elif players == ["g", "d"]:
        roles.add("adversarial")
    possible = {"d": {"wasserstein", "classifier", "contrastive"}, "": {"wasserstein", "classifier"}}
    hints = frozenset(roles & possible.get(subject, set()))
    hints |= {"wasserstein"} if {"critic", "wgan"} & set(words) else set()
    return _NameParts(subject, side, frozenset(roles), "".join(label), hints)


def _classify_d(parts: _NameParts) -> Meaning:
    """Return the meaning of a name that refers to the discriminator, or to reals or fakes."""
    side, label, hints = parts.side, parts.label, parts.hints
    if parts.has("accuracy"):
        return Meaning("signal", "accuracy_d", label=label, statistic=side, rank=2 if side else 1)
    for quantity in ("sign", "probability", "logit", "output"):
        if parts.has(quantity):
            return Meaning("signal", f"{quantity}_{side}", label=label) if side else Meaning("other", f"a {quantity}")
    if parts.has("loss") or parts.has("adversarial"):
        name = f"loss_d_{side}" if side else "adversarial_d" if parts.has("adversarial") else "loss_d"
        return Meaning("signal", name, label=label, hints=hints, rank=_rank(parts))
    if label and not _is_game_or_part(label) and not (side and label in PARTS):
        return UNKNOWN
    return Meaning("signal", f"bare_{side}" if side else "loss_d", label=label, hints=hints, rank=_rank(parts))


def _classify_g(parts: _NameParts) -> Meaning:
    """Return the meaning of a name that refers to the generator."""
    label, hints = parts.label, parts.hints
    if parts.roles & {"accuracy", "sign", "probability", "logit", "output"}:
        return Meaning("other", "an output for the generator")
    if parts.has("adversarial") or parts.side == "fake":
        return Meaning("signal", "adversarial_g", label=label, hints=hints, rank=_rank(parts))
    if parts.side:
        return Meaning("other", "a term of a loss", hints=hints)
    if label and not parts.has("loss") and not _is_game_or_part(label):
        return UNKNOWN
    return Meaning("signal", "loss_g", label=label, hints=hints, rank=_rank(parts))


def _rank(parts: _NameParts) -> int:
    """Return the preference of a column: a total, a loss, a player alone, a name with words of no known meaning."""
    if parts.label and not _is_game_or_part(parts.label) and parts.label not in PARTS:
        return 3
    if parts.has("total"):
        return 0
    return 1 if parts.has("loss") or parts.has("adversarial") else 2


def _classify_without_player(parts: _NameParts) -> Meaning:
    """Return the meaning of a name without a player: the adversarial term is the generator's (pix2pix: GAN, adv)."""
    if parts.has("adversarial") and not parts.label:
        return Meaning("signal", "adversarial_g", hints=parts.hints)
    for role, content in (("accuracy", "an accuracy"), ("loss", "a loss of no player"), ("output", "an output")):
        if parts.has(role):
            return Meaning("other", content, label=parts.label, hints=parts.hints)
    return UNKNOWN


def _is_game_or_part(label: str) -> bool:
    """Return whether a label is that of a game (D_A, G_AB, G_A2B) or the number of a part (d_0)."""
    return bool(re.fullmatch(r"[abxy]{1,2}|[abxy](2|to)[abxy]|\d+", label))
