"""Meaning of the columns of one log together: what a name means depends on the other names, and on the values.

Each rule is one function, with its reason. Those on outputs of the discriminator are in output_meanings.
"""

import re
from dataclasses import replace

from equipoise.diagnosis.columns.column_names import classify_name, normalise_name
from equipoise.diagnosis.columns.column_words import PARTS, Meaning
from equipoise.diagnosis.columns.output_meanings import (
    LOSSES_D,
    LOSSES_G,
    Meanings,
    Measure,
    find_signals,
    resolve_outputs,
    resolve_second_sides,
)

CYCLE_LETTERS = frozenset("abxy")
"""Letters of the two domains of a CycleGAN: D_A, D_B; disc_x, disc_y."""
RECONSTRUCTION = ("psnr", "ssim")
OWN_SIGNALS = frozenset({"rank_train_fake", "rank_train_held_out", "diversity", "copying"})


_SECOND = re.compile(r" [2-9]$")
_TWO_WORDS = re.compile(r"(?P<first>[^\W\d]\w*) ?/ ?(?P<second>[^\W\d]\w*)")
_RANKED = re.compile(r"@|top", re.IGNORECASE)
LIST_LENGTH = 5
"""Smallest number of losses in a list without names."""
HIGHEST_RATE = 0.01
"""Learning rates of vocoders are below 0.001; none of their losses is."""


def resolve_meanings(meanings: Meanings, measure: Measure) -> dict[str, Meaning]:
    """Return the final meanings of the columns of one run. `measure` returns the range of a column's values."""
    result = dict(meanings)
    for rule in (
        _resolve_second_numbers,
        _resolve_critics,
        _resolve_restoration,
        _resolve_letters,
        _resolve_optimizers,
        _resolve_second_generator,
    ):
        result |= rule(result)
    result |= resolve_second_sides(result)
    for measured_rule in (_resolve_lists, resolve_outputs):
        result |= measured_rule(result, measure)
    for rule in (_resolve_accuracy, _resolve_coverage, _resolve_lpips):
        result |= rule(result)
    return result


def _resolve_second_numbers(meanings: Meanings) -> Meanings:
    """Drop the second number after a name, "IS 2" of "IS: 5.5 ± 0.1": its deviation, or its mean so far.

    "Gen/Dis Loss: 1.2/0.6" has a number for each of the two words instead.
    """
    result: dict[str, Meaning] = {}
    for name, meaning in meanings.items():
        first = _SECOND.sub("", name)
        if meaning.kind not in ("signal", "metric") or "[" in name or first not in meanings.keys() - {name}:
            continue
        result[name] = Meaning("other", "a second number")
        if match := _TWO_WORDS.search(first):
            rest = f"{first[: match.start()]} {first[match.end() :]}"
            both = [classify_name(f"{match[word]} {rest}") for word in ("first", "second")]
            if {meaning.kind for meaning in both} == {"signal"} and both[0].name != both[1].name:
                result |= dict(zip((first, name), both, strict=True))
    return result


def _resolve_lists(meanings: Meanings, measure: Measure) -> Meanings:
    """Take the first two numbers of an unnamed list of losses as the losses of the discriminator and the generator.

    so-vits-svc prints "Losses: [disc, gen, fm, mel, kl]", and VITS "[disc, gen, fm, mel, dur, kl, step, lr]". The
    second is the adversarial term of the generator. A list of VITS is recognised by its length and the learning rate at
    its end.
    """
    named = [name for name in meanings if normalise_name(_SECOND.sub("", name)) == "losses"]
    unnamed = [name for name in meanings if re.fullmatch(r"#\d+", name)]
    if len(named) >= LIST_LENGTH:
        names = named
    elif len(unnamed) > LIST_LENGTH and not find_signals(meanings, *LOSSES_D, *LOSSES_G) and "#1" in unnamed:
        names = sorted(unnamed, key=lambda name: int(name[1:]))
        if not (measure(names[-1]).high <= HIGHEST_RATE and measure(names[0]).low >= 0):
            return {}
    else:
        return {}
    return {names[0]: Meaning("signal", "loss_d"), names[1]: Meaning("signal", "adversarial_g")}


def _resolve_critics(meanings: Meanings) -> Meanings:
    """Take C as the critic of a Wasserstein GAN if nothing else is the discriminator; no critic next to an actor.

    Elsewhere C is a classifier; actor and critic are those of reinforcement learning.
    """
    words = {normalise_name(name) for name in meanings}
    if any("actor" in word for word in words):
        return {name: Meaning("unknown", "") for name in meanings if "critic" in name.lower()}
    if find_signals(meanings, *LOSSES_D) or not find_signals(meanings, *LOSSES_G):
        return {}
    signals = {"c1": "loss_d_real", "c2": "loss_d_fake", **dict.fromkeys(("c", "closs", "lossc", "errc"), "loss_d")}
    return {
        name: Meaning("signal", signals[normalise_name(name)], rank=2, hints=frozenset({"wasserstein"}))
        for name in meanings
        if normalise_name(name) in signals
    }


def _resolve_restoration(meanings: Meanings) -> Meanings:
    """Take D_loss of KAIR (SwinIR, BSRGAN) as the adversarial loss of its generator, next to G_loss and F_loss.

    These are its losses on pixels and features. Those of the discriminator are l_d_real and l_d_fake.
    """
    names = {normalise_name(name): name for name in meanings}
    if not {"gloss", "floss", "dloss", "ldreal", "ldfake"} <= names.keys():
        return {}
    return {
        **{names[key]: Meaning("other", "a term of a loss") for key in ("gloss", "floss")},
        names["dloss"]: Meaning("signal", "adversarial_g"),
    }


def _resolve_letters(meanings: Meanings) -> Meanings:
    """Take D and G alone as losses only if both players have one; take d1 and d2 as the losses on reals and fakes.

    Keras tutorials print "d1=0.69, d2=0.71 g=0.72"; a single "d" may be anything.
    """
    result: dict[str, Meaning] = {}
    for own, other in ((LOSSES_D, LOSSES_G), (LOSSES_G, LOSSES_D)):
        if not find_signals(meanings, *other):
            letters = [name for name in find_signals(meanings, *own) if len(normalise_name(name)) == 1]
            result |= {name: Meaning("unknown", "") for name in letters}
    if find_signals(meanings, *LOSSES_D) and not find_signals(meanings, *LOSSES_G):
        # Chollet's book: a_loss of the adversarial model.
        adversarial = [name for name in meanings if normalise_name(name) in ("aloss", "lossa")]
        result |= dict.fromkeys(adversarial, Meaning("signal", "adversarial_g"))
        # VQGAN: train/aeloss_step is the total of the autoencoder, which is the generator.
        totals = [name for name in meanings if re.fullmatch(r"(train)?aeloss(step|epoch)?", normalise_name(name))]
        result |= dict.fromkeys(totals, Meaning("signal", "loss_g", rank=0))
    letters = [name for name in find_signals(meanings, "loss_d") if re.fullmatch(r"d\d", normalise_name(name))]
    if [normalise_name(name) for name in letters] == ["d1", "d2"]:
        for name, side in zip(letters, ("real", "fake"), strict=True):
            result[name] = Meaning("signal", f"loss_d_{side}")
    return result


def _resolve_optimizers(meanings: Meanings) -> Meanings:
    """Take loss_0 and loss_1 of Coqui as the totals of its optimizers: 0 of the discriminator, 1 of the generator.

    loss_gen is then the adversarial term. Without loss_disc the numbers are those of another program.
    """
    numbered = {name: meaning.name for name, meaning in meanings.items() if "of optimizer" in meaning.name}
    if not numbered or not any("disc" in name for name in find_signals(meanings, "loss_d")):
        return {}
    result: dict[str, Meaning] = {}
    for name, content in numbered.items():
        player = "d" if content.endswith("0") else "g"
        signal = f"gradient_norm_{player}" if content.startswith("gradient") else f"loss_{player}"
        result[name] = replace(meanings[name], kind="signal", name=signal, rank=0)
    if "loss_g" in {meaning.name for meaning in result.values()}:
        result |= {name: replace(meanings[name], name="adversarial_g") for name in find_signals(meanings, "loss_g")}
    return result


def _resolve_second_generator(meanings: Meanings) -> Meanings:
    """Name the generators of a CycleGAN after the domain that they generate: G makes y (or B), F makes x (or A)."""
    labels = {meanings[name].label for name in find_signals(meanings, *LOSSES_D)}
    domains = next((pair for pair in (("x", "y"), ("a", "b")) if set(pair) <= labels), None)
    if domains is None:
        return {}
    first, second = domains
    generators = {"g": second, "f": first, "": second}
    result = {
        name: replace(meanings[name], label=generators[meanings[name].label])
        for name in find_signals(meanings, *LOSSES_G)
        if meanings[name].label in generators
    }
    generator_f = [name for name, meaning in meanings.items() if meaning.name == "loss of generator F"]
    result |= {name: Meaning("signal", "loss_g", label=first) for name in generator_f}
    return result if first in {meaning.label for meaning in result.values()} else {}


def _resolve_accuracy(meanings: Meanings) -> Meanings:
    """Take an accuracy without a player as the discriminator's, as in "[D loss: 0.69, acc.: 50%]" (Keras-GAN, TextGAN).

    Acc@1 and top-5 accuracies are those of a classifier.
    """
    unnamed = [name for name, meaning in meanings.items() if meaning.name == "an accuracy" and not _RANKED.search(name)]
    whole = [name for name in unnamed if not meanings[name].label]  # "acc 2" is the adversarial model's
    if not find_signals(meanings, *LOSSES_D) or find_signals(meanings, "accuracy_d") or len(whole) != 1:
        return {}
    return {whole[0]: Meaning("signal", "accuracy_d", rank=2)}


def _resolve_coverage(meanings: Meanings) -> Meanings:
    """Take coverage as the signal only in logs of this package: elsewhere it is a metric on other features."""
    if not find_signals(meanings, *OWN_SIGNALS):
        return {}
    return {name: Meaning("signal", "coverage") for name in meanings if normalise_name(name) == "coverage"}


def _resolve_lpips(meanings: Meanings) -> Meanings:
    """Take a lower LPIPS as better where PSNR or SSIM show that it measures a reconstruction, not diversity."""
    metrics = {name: meaning for name, meaning in meanings.items() if meaning.kind == "metric"}
    if not any(word in meaning.name for meaning in metrics.values() for word in RECONSTRUCTION):
        return {}
    return {name: replace(meaning, better="lower") for name, meaning in metrics.items() if "lpips" in meaning.name}


def assign_games(meanings: Meanings) -> dict[str, str]:
    """Return the game of each column that belongs to one, by the name of the column; empty for a single game.

    Games are the two domains of a CycleGAN, or at least two labels that both players have: monet_gen_loss,
    photo_gen_loss, monet_disc_loss, photo_disc_loss. D_A reads the samples of G_A, but D_B those of G_AB.
    """
    labels_d = {meanings[name].label for name in find_signals(meanings, *LOSSES_D, "output_real", "output_fake")} - {""}
    labels_g = {meanings[name].label for name in find_signals(meanings, *LOSSES_G)} - {""}
    games = {label for label in labels_d if label in CYCLE_LETTERS}
    if len(games) < 2:
        shared = labels_d & labels_g
        games = {label for label in shared if not label.isdigit() and label not in PARTS}
    if len(games) < 2:
        return {}
    result = {}
    for name, meaning in meanings.items():
        label = meaning.label if meaning.label in games else meaning.label[-1:]
        if meaning.label and label in games and meaning.kind in ("signal", "metric"):
            result[name] = label.upper() if len(label) == 1 else label
    return result
