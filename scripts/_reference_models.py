"""The generated parts of the pages of GANs: options, presets, knobs that act."""

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

import torch
from _reference_tables import default, kind, table

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.model import Model
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.experiment.settings import Experiment

PAIRS = DataSpec((3, 32, 32), source=(3, 32, 32), paired=("train", "held_out"))
TEXT = DataSpec((7,), vocabulary=Vocabulary((ENDING, "a", "b")))
SUITING = {
    **{"mlp": DataSpec((2,)), "dirac": DataSpec((1,)), "pix2pix": PAIRS, "cyclegan": PAIRS},
    **{"seqgan": TEXT, "textgan": TEXT},
}
"""Data on which a GAN can be built; for all others images of digits."""
UNSAID = {
    "optimizer": "of both players; `beta1` is sgd's momentum, `beta2` rmsprop's decay",
    "latent_dim": "length of the latent vector, drawn from N(0, 1)",
    "width": "units of a hidden layer of each player",
    "depth": "hidden layers of each player",
    "activation": "between the layers",
}
"""Options whose docstrings leave to the name what they are."""


def options(model: str) -> str:
    """Every option of a GAN: default, what it may be, what it is."""
    cls = catalog.load("models", model)
    texts, hints = option_texts(cls), get_type_hints(cls)
    rows = [
        (f"`{field.name}`", default(field), kind(hints[field.name]), texts[field.name])
        for field in dataclasses.fields(cls)
    ]
    return table(("option", "default", "may be", "what it is"), rows)


def option_texts(cls: type[Any]) -> dict[str, str]:
    """Option -> text, from "`name`: text" in the docstrings of the class and its bases; the nearest wins."""
    helps = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(Experiment)}
    result = {name: helps[name].partition(":")[0] for name in ("loss", "constraint")} | UNSAID
    for base in reversed(cls.__mro__):
        text = " ".join((base.__dict__.get("__doc__") or "").split())
        pieces = re.split(r"((?:`\w+`, )*`\w+`): ", text)
        for names, words in zip(pieces[1::2], pieces[2::2], strict=True):
            result |= dict.fromkeys(re.findall(r"`(\w+)`", names), words.strip().rstrip("."))
    return result


def presets(model: str) -> str:
    """Every preset of a GAN and what it sets."""
    rows = [
        (f"`{model}:{name}`", ", ".join(f"`{option}` {_written(value)}" for option, value in chosen.items()))
        for name, chosen in catalog.presets("models", model).items()
    ]
    return table(("preset", "sets"), rows) if rows else "No presets.\n"


def _written(value: object) -> str:
    return ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, Mapping) else str(value).lower()


def acting(model: str) -> str:
    """Which knobs act for a GAN with its default options, and where they stand."""
    made = built(model)
    values = made.knobs.values()
    on = ", ".join(f"`{name}` {values[name]:g}" for name in values if name in made.turnable and values[name])
    off = ", ".join(f"`{name}`" for name in values if name in made.turnable and not values[name])
    idle = ", ".join(f"`{name}`" for name in values if name not in made.turnable)
    return f"Knobs that act: {on}; at 0: {off or 'none'}. Knobs that do not act: {idle or 'none'}.\n"


@cache
def built(model: str) -> Model[Any]:
    """A GAN with its default options, on data that suit it."""
    spec = SUITING.get(model, DataSpec((1, 32, 32), classes=10))
    made: Model[Any] = catalog.build("models", model).build(spec, torch.Generator().manual_seed(0))
    return made
