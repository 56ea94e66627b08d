"""DCGAN: Radford, Metz and Chintala 2016, "Unsupervised Representation Learning with Deep Convolutional GANs"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator

from equipoise.base import DataSpec, Gan
from equipoise.knobs import AdversarialKnobs
from equipoise.zoo._convolutional import Convolutional

__all__ = ["DCGAN"]

TEXTBOOK = {"discriminator_norm": "batch", "conditional": False, "fakes": "shared"}


@dataclass(frozen=True, kw_only=True)
class DCGAN(Convolutional):
    """Options of DCGAN."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "lab32": TEXTBOOK | {"width": 64},
        "celeba64": TEXTBOOK | {"width": 64},
    }

    def build(self, spec: DataSpec, generator: Generator) -> Gan[AdversarialKnobs]:
        """The GAN for images like `spec`; raises SettingError for other data."""
        return self.convolutional("dcgan", spec, generator)
