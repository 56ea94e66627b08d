"""SNGAN: Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", the standard CNN of table 3.

Every layer of the discriminator is divided by its largest singular value; hinge loss (equations 16 and 17).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import Constraint
from equipoise.models._convolutional import Convolutional, Norm

__all__ = ["SNGAN"]


@dataclass(frozen=True, kw_only=True)
class SNGAN(Convolutional):
    """Options of SNGAN; the defaults are setting C of the paper's table 1: Adam 2e-4, betas 0.5 and 0.999."""

    loss: AdversarialLossName = "hinge"
    constraint: Constraint = "spectral_norm"
    discriminator_norm: Norm = "none"
    bias: bool = True
    latent_dim: int = 128
    conditional: bool | None = False
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999}
    )

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """The GAN for images like `spec`; raises SettingError for other data."""
        return self.convolutional("sngan", spec, generator, body=_paired)


def _paired(channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """Pairs of a 3 x 3 convolution and a 4 x 4 one that halves; one 3 x 3 more that doubles the channels (table 3)."""
    layers: list[nn.Module] = []
    before = channels
    for width in widths:
        layers += [nn.Conv2d(before, width, 3, 1, 1), nn.LeakyReLU(0.1)]
        layers += [nn.Conv2d(width, width, 4, 2, 1), nn.LeakyReLU(0.1)]
        before = width
    return [*layers, nn.Conv2d(before, 2 * before, 3, 1, 1), nn.LeakyReLU(0.1)]
