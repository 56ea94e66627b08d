"""DCGAN: convolutions throughout (Radford, Metz and Chintala 2016), with what has been learnt of training it since.

The networks are Radford's, figure 1, but for the upsampling. The default game is the one that drew the best digits here
(see benchmarks/digits.md): no normalisation in the discriminator but R1 (Mescheder 2018), labels by projection (Miyato
and Koyama 2018), Adam without momentum at ten times the paper's rate. The paper's own networks and game are presets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.models._convolutional import Convolutional, Init, Norm, Upsampling

__all__ = ["DCGAN"]

TEXTBOOK: Mapping[str, object] = {
    "width": 64,
    "latent_dim": 100,
    "discriminator_norm": "batch",
    "upsampling": "transposed",
    "bias": False,
    "initial": "normal",
    "conditional": False,
    "fakes": "shared",
    "penalty_interval": 1,
    "knobs": {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999},
}
"""Radford 2016, section 4: N(0, 0.02), Adam 2e-4 with beta1 0.5. Fakes are shared, as in every tutorial's loop."""


@dataclass(frozen=True, kw_only=True)
class DCGAN(Convolutional):
    """Options of DCGAN."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "lab32": TEXTBOOK,  # the digits lab's networks, at 32 x 32
        "celeba64": TEXTBOOK,  # one stage more, at 64 x 64
    }

    width: int = 32
    latent_dim: int = 64
    discriminator_norm: Norm = "none"
    upsampling: Upsampling = "nearest"
    bias: bool = True
    initial: Init = "fan_in"
    fakes: Literal["fresh", "shared"] = "shared"
    penalty_interval: int = 8
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2e-3, "lr_d": 2e-3, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 1.0}
    )

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """The GAN for images like `spec`; raises SettingError for other data."""
        return self.convolutional("dcgan", spec, generator)
