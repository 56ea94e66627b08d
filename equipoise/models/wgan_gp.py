"""WGAN-GP: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", algorithm 1, on the networks of DCGAN.

The critic has no batch normalisation, for the penalty is on the gradient at each sample by itself (section 4).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import Constraint
from equipoise.models._convolutional import Convolutional, Norm

__all__ = ["WGANGP"]


@dataclass(frozen=True, kw_only=True)
class WGANGP(Convolutional):
    """Options of WGAN-GP; the defaults are the paper's: lambda 10, 5 critic updates, Adam 1e-4 with betas 0 and 0.9."""

    loss: AdversarialLossName = "wasserstein"
    constraint: Constraint = "gradient_penalty"
    discriminator_norm: Norm = "none"
    bias: bool = True
    conditional: bool | None = False
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 1e-4, "lr_d": 1e-4, "beta1": 0.0, "beta2": 0.9, "discriminator_steps": 5}
    )

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """The GAN for images like `spec`; raises SettingError for other data."""
        return self.convolutional("wgan_gp", spec, generator)
