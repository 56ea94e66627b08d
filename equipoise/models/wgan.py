"""WGAN: Arjovsky, Chintala and Bottou 2017, "Wasserstein GAN", algorithm 1, on the networks of DCGAN.

The critic is kept Lipschitz by clipping its weights; RMSProp, because the paper found momentum to hurt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import Constraint
from equipoise.models._convolutional import Convolutional

__all__ = ["WGAN"]


@dataclass(frozen=True, kw_only=True)
class WGAN(Convolutional):
    """Options of WGAN; the defaults are the paper's: 5e-5, clip 0.01, 5 critic updates. 0.99 is RMSProp's own decay."""

    loss: AdversarialLossName = "wasserstein"
    constraint: Constraint = "weight_clipping"
    optimizer: Literal["adam", "rmsprop", "sgd"] = "rmsprop"
    conditional: bool | None = False
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 5e-5, "lr_d": 5e-5, "beta2": 0.99, "discriminator_steps": 5}
    )

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """The GAN for images like `spec`; raises SettingError for other data."""
        return self.convolutional("wgan", spec, generator)
