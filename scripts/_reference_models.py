"""Generated parts of the pages of models: options, presets, and the knobs that have an effect."""

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

import torch
from _reference_tables import format_default, format_type, markdown_table

from equipoise.core import catalog
from equipoise.core.captions import Captions
from equipoise.core.data import DataSpec
from equipoise.core.model import Model
from equipoise.core.plug_options import option_texts
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.experiment.settings import setting_specs

PAIRS = DataSpec((3, 32, 32), source=(3, 32, 32), paired=("train", "held_out"))
TEXT = DataSpec((7,), vocabulary=Vocabulary((ENDING, "a", "b")))
IMAGES = DataSpec((1, 32, 32), classes=10)
CAPTIONS = Captions(Vocabulary((ENDING, "a", "b")), 2, ("a b",))
SPECS = {
    **{"mlp": DataSpec((2,)), "dirac": DataSpec((1,)), "pix2pix": PAIRS, "cyclegan": PAIRS},
    **{"seqgan": TEXT, "textgan": TEXT, "gigagan": DataSpec((3, 32, 32), captions=CAPTIONS)},
}
"""Data on which a model can be built; all others are built on `IMAGES`."""


def options(model: str) -> str:
    """Return the table of the options of a model."""
    cls = catalog.load("models", model)
    texts, hints = option_descriptions(cls), get_type_hints(cls)
    rows = [
        (f"`{field.name}`", format_default(field), format_type(hints[field.name]), texts[field.name])
        for field in dataclasses.fields(cls)
    ]
    return markdown_table(("option", "default", "values", "description"), rows)


def option_descriptions(cls: type[Any]) -> dict[str, str]:
    """Map each option of a plug to its description.

    For options of several kinds of plugs, it is the help of the setting.
    """
    specs = setting_specs()
    return {name: specs[name].help.partition(":")[0] for name in ("loss", "constraint")} | option_texts(cls)


def presets(model: str) -> str:
    """Return the table of the presets of a model with the options that each sets."""
    rows = [
        (f"`{model}:{name}`", ", ".join(f"`{option}` {_format_value(value)}" for option, value in values.items()))
        for name, values in catalog.presets("models", model).items()
    ]
    return markdown_table(("preset", "options"), rows) if rows else "No presets.\n"


def _format_value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number:g}" for name, number in value.items())
    return str(value).lower()


def acting(model: str) -> str:
    """Return which knobs have an effect in a model with default options, and their initial values."""
    built = build_model(model)
    values = built.knobs.values()
    nonzero = ", ".join(f"`{name}` {values[name]:g}" for name in values if name in built.turnable and values[name])
    zero = ", ".join(f"`{name}`" for name in values if name in built.turnable and not values[name])
    others = ", ".join(f"`{name}`" for name in values if name not in built.turnable)
    return (
        f"Turnable knobs and their initial values: {nonzero}; initially 0: {zero or 'none'}. "
        f"Knobs without effect: {others or 'none'}.\n"
    )


@cache
def build_model(model: str) -> Model[Any]:
    """Build a model with default options on data that suit it."""
    spec = SPECS.get(model, IMAGES)
    built: Model[Any] = catalog.build("models", model).build(spec, torch.Generator().manual_seed(0))
    return built
