"""The trained model that another model learns from. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

UNTRAINED = "untrained"
"""Digest of a teacher that was built without a run: its weights are random."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained model, as the run of its student records it.

    `model`: name of the model. `options`: all options of the model, so that its network can be built again. `digest`:
    SHA-256 of the averaged weights, see :func:`equipoise.training.inheritance.digest_of`.
    """

    model: str
    options: Mapping[str, object] = field(default_factory=dict)
    digest: str = UNTRAINED
