"""What a closed loop pulls at, the same for a law that sees and for its placebo: pure functions of a position.

The positions are bounded, so that whatever moves them can do no more than a user who sets knobs with care.
"""

from collections.abc import Mapping
from typing import Any

from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation

OCTAVES = 2.0
"""How far the ratio of the learning rates may go to either side of the user's: fourfold, as small-data recipes do."""
GAMMA_OCTAVES = 3.0
"""How far a penalty may rise above the user's: eightfold."""
MOST_AUGMENT = 0.8
"""Above this augmentations show in the samples (Karras 2020, ADA, section 2.2 and figure 3)."""

Base = Mapping[str, Any]
"""Knob -> where the user set it."""


def base_of(knobs: Knobs) -> dict[str, float]:
    """Where the user set what can be pulled at."""
    pulled = ("lr_g", "lr_d", "augment_p", "r1_gamma")
    return {name: value for name, value in knobs.values().items() if name in pulled}


def rates(base: Base, octaves: float) -> dict[str, float]:
    """Learning rates with lr_d / lr_g lowered by so many octaves; their geometric mean stays that of the base."""
    half = 2.0 ** (octaves / 2)
    return {"lr_g": base["lr_g"] * half, "lr_d": base["lr_d"] / half}


def regularized(base: Base, seen: Observation[Any], strength: float) -> dict[str, float]:
    """The discriminator's regularization at a strength from 0, the base, to 1: one knob, or none if none acts.

    Augmentation where it acts, else R1 if the user has it on (Karras 2020, section 3: augmentation first). Not both:
    two knobs driven by one signal would do its work twice.
    """
    if seen.acts("augment_p"):
        start: float = base["augment_p"]
        return {"augment_p": start + strength * max(0.0, MOST_AUGMENT - start)}
    if seen.acts("r1_gamma") and base["r1_gamma"] > 0:
        return {"r1_gamma": base["r1_gamma"] * 2.0 ** (GAMMA_OCTAVES * strength)}
    return {}
