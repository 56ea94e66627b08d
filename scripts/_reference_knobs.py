"""The generated parts of the page of knobs: the tables of all, and where one stands, acts and is turned."""

import math

from _reference_gans import built
from _reference_tables import table

from equipoise import catalog
from equipoise.diagnosis.ladders import LADDERS, Rung
from equipoise.knobs import AdversarialKnobs, Knobs, Range
from equipoise.zoo.dirac import DiracKnobs


def knobs(name: str) -> str:
    """Every knob of a class that its base does not have as it is: default, range, scale."""
    cls = {"Knobs": Knobs, "AdversarialKnobs": AdversarialKnobs, "DiracKnobs": DiracKnobs}[name]
    start, ranges = cls().values(), cls.ranges()
    inherited = (
        {} if cls is Knobs else {knob: (value, Knobs.ranges()[knob]) for knob, value in Knobs().values().items()}
    )
    rows = [
        (_linked(knob, cls), f"{value:g}", range, range.unit or "–", range.scale, _moved(range.help, range.move))
        for knob, value in start.items()
        if inherited.get(knob) != (value, range := ranges[knob])
    ]
    return table(("knob", "default", "range", "unit", "scale", "what it is"), rows)


def _linked(knob: str, cls: type[Knobs]) -> str:
    return f"`{knob}`" if cls is DiracKnobs else f"[`{knob}`](#{knob})"


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
    acting = {gan: made.knobs.values()[name] for gan in catalog.names("zoo") if name in (made := built(gan)).turnable}
    stands = ", ".join(f"[{gan}](gans/{gan}.md) {value:g}" for gan, value in acting.items())
    idle = ", ".join(gan for gan in catalog.names("zoo") if gan not in acting)
    idle = f" Does not act for {idle}." if idle else ""
    return [f"- Acts for, and starts at: {stands or 'no GAN with its default options'}.{idle}"]


def _turned_by(name: str) -> str:
    """Controllers that turn a knob."""
    unasked = [
        f"[{one}](controllers/{one}.md)"
        for one in catalog.names("controllers")
        if name in catalog.build("controllers", one).turns()
    ]
    if unasked:
        return f"{' and '.join(unasked)}, unasked"
    return "no controller unasked; by [annealed](controllers/annealed.md) with a schedule"


def _repairs(name: str) -> dict[str, str]:
    """What is done -> the findings and rungs on which it is."""
    found: dict[str, dict[str, list[str]]] = {}
    for symptom, ladder in LADDERS.items():
        for number, rung in enumerate(ladder, start=1):
            if text := _treatment(name, rung):
                found.setdefault(text, {}).setdefault(symptom, []).append(str(number))
    return {
        text: "; ".join(f"`{symptom}` {', '.join(numbers)}" for symptom, numbers in places.items())
        for text, places in found.items()
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
