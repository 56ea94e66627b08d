"""Generated parts of the page of knobs: the overview tables, and where each knob is used and changed."""

import math
from collections.abc import Mapping
from functools import cache

from _reference_models import build_model
from _reference_tables import markdown_table

from equipoise.core import catalog
from equipoise.core.controller import AnyController
from equipoise.core.knobs import AdversarialKnobs, KnobRange, Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.diagnosis.adjustments import Rung
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.models._cyclegan_training import CycleGANKnobs
from equipoise.models._denoising_options import DenoisingKnobs
from equipoise.models._diffusion import DiffusionKnobs
from equipoise.models._distillation import DistillationKnobs
from equipoise.models._gigagan_training import GigaGANKnobs
from equipoise.models._labels import ClassKnobs
from equipoise.models._pix2pix_training import Pix2PixKnobs
from equipoise.models._seqgan_training import SeqGANKnobs
from equipoise.models._stylegan2_training import StyleGAN2Knobs
from equipoise.models._textgan_training import TextGANKnobs
from equipoise.models.biggan import BigGANKnobs
from equipoise.models.dirac import DiracKnobs
from equipoise.models.edm import EDMKnobs
from equipoise.models.fastgan import FastGANKnobs
from equipoise.models.progan import ProGANKnobs

CLASSES: Mapping[str, tuple[type[Knobs], type[Knobs] | None]] = {
    "Knobs": (Knobs, None),
    "AdversarialKnobs": (AdversarialKnobs, Knobs),
    "DiracKnobs": (DiracKnobs, Knobs),
    "ClassKnobs": (ClassKnobs, AdversarialKnobs),
    "BigGANKnobs": (BigGANKnobs, AdversarialKnobs),
    "ProGANKnobs": (ProGANKnobs, AdversarialKnobs),
    "StyleGAN2Knobs": (StyleGAN2Knobs, AdversarialKnobs),
    "FastGANKnobs": (FastGANKnobs, AdversarialKnobs),
    "DiffusionKnobs": (DiffusionKnobs, AdversarialKnobs),
    "DistillationKnobs": (DistillationKnobs, Knobs),
    "DenoisingKnobs": (DenoisingKnobs, Knobs),
    "EDMKnobs": (EDMKnobs, DenoisingKnobs),
    "GigaGANKnobs": (GigaGANKnobs, AdversarialKnobs),
    "Pix2PixKnobs": (Pix2PixKnobs, AdversarialKnobs),
    "CycleGANKnobs": (CycleGANKnobs, AdversarialKnobs),
    "SeqGANKnobs": (SeqGANKnobs, Knobs),
    "TextGANKnobs": (TextGANKnobs, Knobs),
}
"""Classes of knobs by name, each with the base class whose unchanged knobs its table omits."""
SCALES = {"log_complement": "log scale of 1 − value", "integer": "integer"}


def knobs(name: str) -> str:
    """Return the table of the knobs that a class adds to its base class or changes: default, range, scale."""
    cls, base = CLASSES[name]
    defaults, ranges = cls().values(), cls.ranges()
    inherited = {} if base is None else {knob: (value, base.ranges()[knob]) for knob, value in base().values().items()}
    rows = [
        (_linked(knob, cls), f"{value:g}", range, range.unit or "–", range.scale, _described(range))
        for knob, value in defaults.items()
        if inherited.get(knob) != (value, range := ranges[knob])
    ]
    return markdown_table(("knob", "default", "range", "unit", "scale", "description"), rows)


def _linked(knob: str, cls: type[Knobs]) -> str:
    return f"[`{knob}`](#{knob})" if cls in (Knobs, AdversarialKnobs) else f"`{knob}`"


def _described(range: KnobRange) -> str:
    change = "" if range.max_change is None else f"; changes by at most {range.max_change:g} per decision"
    return range.help + change


def knob(name: str) -> str:
    """Return range and scale of a knob, its initial value in each model, and what changes it."""
    range = AdversarialKnobs.ranges()[name]
    unit = f" {range.unit}" if range.unit else ""
    first = f"- {range.help[0].upper()}{range.help[1:]}. Range {range}{unit}; {_scale(range)}."
    repairs = _repairs(name)
    last = f"- {_controllers(name)}.{'' if repairs else ' Repair does not change it.'}"
    table = markdown_table(("change by repair", "symptom and rungs"), repairs.items()) if repairs else ""
    return "\n".join((first, _models(name), last, "", table)).rstrip() + "\n"


def _scale(range: KnobRange) -> str:
    scale = SCALES.get(range.scale, f"{range.scale} scale")
    change = (
        "" if range.max_change is None else f"; a controller changes it by at most {range.max_change:g} per decision"
    )
    return scale + change


def _models(name: str) -> str:
    """Return the models in which a knob has an effect, with its initial value there, and those in which it has none."""
    models = catalog.names("models")
    values = {model: built.knobs.values()[name] for model in models if name in (built := build_model(model)).turnable}
    initial = ", ".join(f"[{model}](models/{model}.md) {value:g}" for model, value in values.items())
    others = ", ".join(model for model in models if model not in values)
    others = f" It has no effect in {others}." if others else ""
    return f"- Initial value in each model: {initial or 'no effect in any model with default options'}.{others}"


def _controllers(name: str) -> str:
    """Return the controllers that change a knob with their default options."""
    links = [f"[{plug}](controllers/{plug}.md)" for plug in catalog.names("controllers") if name in _changed_by(plug)]
    if links:
        return f"Changed by {', '.join(links[:-1])}{' and ' if links[1:] else ''}{links[-1]}, by default"
    return "Changed by no controller by default; by [annealed](controllers/annealed.md) with a schedule"


@cache
def _changed_by(name: str) -> frozenset[str]:
    """Return the knobs that a controller changes while the discriminator is too strong.

    Once with every knob turnable, and once with all but augmentation.
    """
    controller: AnyController = catalog.build("controllers", name)
    knobs = AdversarialKnobs(r1_gamma=1.0)
    signals = Signals(rank_train_fake=0.99, rank_train_held_out=0.9, sign_real=0.9, adversarial_d=0.1, ideal_d=1.4)
    result = set(controller.required_knobs())
    for turnable in (None, frozenset(knobs.ranges()) - {"augment_p"}):
        state = controller.initial(knobs)
        for step in range(1, 40):
            turn = controller.update(state, Observation(step, step / 40, signals, Health(), knobs, turnable))
            state, result = turn.state, result | knobs.differences(turn.knobs).keys()
    return frozenset(result)


def _repairs(name: str) -> dict[str, str]:
    """Map each change of a knob by repair to the symptoms and rungs (counted from 1) that make it."""
    result: dict[str, dict[str, list[str]]] = {}
    for symptom, record in SYMPTOMS.items():
        for number, rung in enumerate(record.repair.ladder if record.repair else (), start=1):
            if change := format_change(name, rung):
                result.setdefault(change, {}).setdefault(symptom, []).append(str(number))
    return {
        change: "; ".join(f"`{symptom}` {', '.join(numbers)}" for symptom, numbers in rungs.items())
        for change, rungs in result.items()
    }


def format_change(name: str, rung: Rung) -> str:
    """Format what a rung does to a knob in a few characters; empty for a knob that it does not change."""
    adjustments = [adjustment for adjustment in rung if adjustment.knob == name]
    if not adjustments:
        return ""
    first = adjustments[0]
    match first.kind:
        case "multiply":
            amount = math.prod(adjustment.amount for adjustment in adjustments)
            start = f"{first.start:g} if it is off" if first.start else ""
            return start if amount == 1 else f"× {amount:g}" + (f" ({start})" if start else "")
        case "set":
            return f"set to {first.amount:g}"
        case "increase":
            return f"+ {first.amount:g}, up to {first.limit:g}"
        case "at_least" | "at_most":
            return f"{first.kind.replace('_', ' ')} {first.amount:g}"
