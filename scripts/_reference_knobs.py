"""The generated parts of the page of knobs: the tables of all, and where one stands, acts and is turned."""

import math
from collections.abc import Mapping
from functools import cache

from _reference_models import built
from _reference_tables import table

from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs, Knobs, Range
from equipoise.core.observations import Controller, Health, Observation, Signals
from equipoise.diagnosis.ladders import LADDERS, Rung
from equipoise.models.cyclegan import CycleGANKnobs
from equipoise.models.dirac import DiracKnobs
from equipoise.models.pix2pix import Pix2PixKnobs
from equipoise.models.seqgan import SeqGANKnobs
from equipoise.models.textgan import TextGANKnobs

CLASSES: Mapping[str, tuple[type[Knobs], type[Knobs] | None]] = {
    "Knobs": (Knobs, None),
    "AdversarialKnobs": (AdversarialKnobs, Knobs),
    "DiracKnobs": (DiracKnobs, Knobs),
    "Pix2PixKnobs": (Pix2PixKnobs, AdversarialKnobs),
    "CycleGANKnobs": (CycleGANKnobs, AdversarialKnobs),
    "SeqGANKnobs": (SeqGANKnobs, Knobs),
    "TextGANKnobs": (TextGANKnobs, Knobs),
}
"""Classes of knobs by name, and the one whose knobs are not told again."""


def knobs(name: str) -> str:
    """Every knob of a class that its base does not have as it is: default, range, scale."""
    cls, base = CLASSES[name]
    start, ranges = cls().values(), cls.ranges()
    inherited = {} if base is None else {knob: (value, base.ranges()[knob]) for knob, value in base().values().items()}
    rows = [
        (_linked(knob, cls), f"{value:g}", range, range.unit or "–", range.scale, _moved(range.help, range.move))
        for knob, value in start.items()
        if inherited.get(knob) != (value, range := ranges[knob])
    ]
    return table(("knob", "default", "range", "unit", "scale", "what it is"), rows)


def _linked(knob: str, cls: type[Knobs]) -> str:
    return f"[`{knob}`](#{knob})" if cls in (Knobs, AdversarialKnobs) else f"`{knob}`"


def _moved(text: str, move: float | None) -> str:
    return text if move is None else f"{text}; moves by at most {move:g} a decision"


def knob(name: str) -> str:
    """Of one knob: range and scale, where it stands in every GAN, which controllers turn it, what repair does."""
    range = AdversarialKnobs.ranges()[name]
    unit = f" {range.unit}" if range.unit else ""
    about = f"{range.help[0].upper()}{range.help[1:]}. Range {range}{unit}; {_scaled(range)}."
    repairs = _repairs(name)
    lines = (f"- {about}", *_places(name), f"- Turned by {_turned_by(name)}.{'' if repairs else ' Repair leaves it.'}")
    treatment = table(("what repair does", "for which finding, on which rung"), repairs.items()) if repairs else ""
    return "\n".join((*lines, "", treatment)).rstrip() + "\n"


def _scaled(range: Range) -> str:
    """The scale, and how far a controller may turn it at once."""
    scale = {"log_complement": "even steps of log(1 − value)", "integer": "whole numbers"}.get(
        range.scale, f"{range.scale} scale"
    )
    return scale if range.move is None else f"{scale}; a controller moves it by at most {range.move:g} a decision"


def _places(name: str) -> list[str]:
    """Where it stands in the GANs for which it acts, and for which it does not act."""
    acting = {
        model: made.knobs.values()[name] for model in catalog.names("models") if name in (made := built(model)).turnable
    }
    stands = ", ".join(f"[{model}](models/{model}.md) {value:g}" for model, value in acting.items())
    idle = ", ".join(model for model in catalog.names("models") if model not in acting)
    idle = f" Does not act for {idle}." if idle else ""
    return [f"- Acts for, and starts at: {stands or 'no GAN with its default options'}.{idle}"]


def _turned_by(name: str) -> str:
    """Controllers that turn a knob, with their default options."""
    unasked = [f"[{one}](controllers/{one}.md)" for one in catalog.names("controllers") if name in _turned(one)]
    if unasked:
        return f"{', '.join(unasked[:-1])}{' and ' if unasked[1:] else ''}{unasked[-1]}, unasked"
    return "no controller unasked; by [annealed](controllers/annealed.md) with a schedule"


@cache
def _turned(name: str) -> frozenset[str]:
    """What a controller turns when everything acts, or all but augmentation, and the discriminator is too strong."""
    controller: Controller = catalog.build("controllers", name)
    knobs = AdversarialKnobs(r1_gamma=1.0)
    strong = Signals(rank_train_fake=0.99, rank_train_held_out=0.9, sign_real=0.9, adversarial_d=0.1, ideal_d=1.4)
    result = set(controller.turns())
    for acting in (None, frozenset(knobs.ranges()) - {"augment_p"}):
        state = controller.initial(knobs)
        for step in range(1, 40):
            turn = controller.update(state, Observation(step, step / 40, strong, Health(), knobs, acting))
            state, result = turn.state, result | knobs.differences(turn.knobs).keys()
    return frozenset(result)


def _repairs(name: str) -> dict[str, str]:
    """What is done -> the findings and rungs on which it is."""
    result: dict[str, dict[str, list[str]]] = {}
    for symptom, ladder in LADDERS.items():
        for number, rung in enumerate(ladder, start=1):
            if text := _treatment(name, rung):
                result.setdefault(text, {}).setdefault(symptom, []).append(str(number))
    return {
        text: "; ".join(f"`{symptom}` {', '.join(numbers)}" for symptom, numbers in places.items())
        for text, places in result.items()
    }


def _treatment(name: str, rung: Rung) -> str:
    """What a rung does to a knob, in a few characters; nothing for a knob that it leaves."""
    moves = [move for move in rung if move.knob == name]
    if not moves:
        return ""
    first = moves[0]
    match first.kind:
        case "times":
            amount = math.prod(move.amount for move in moves)
            return f"× {amount:g}" + (f", or from 0 to {first.start:g}" if first.start else "")
        case "lift":
            return f"+ {first.amount:g}, up to {first.most:g}"
        case "at_least" | "at_most":
            return f"{first.kind.replace('_', ' ')} {first.amount:g}"
