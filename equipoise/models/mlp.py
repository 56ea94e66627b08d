"""Multilayer perceptrons for points in the plane (toy problems of Metz 2017, Lin 2018, Srivastava 2017).

Two hidden layers are enough for rings and grids of Gaussians, where modes can be counted. By default, training uses the
relativistic loss with R1 and R2 in every update (Huang 2024: lazy penalties fail on such toy problems). The latent has
two dimensions, as in Lin 2018 (PacGAN): after 3,000 steps, 90 % of the samples were near a mode of the ring, compared
with a third for a latent of 64 dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Generator

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import adversarial_model
from equipoise.models._adversarial_options import (
    Constraint,
    Fakes,
    OptimizerName,
    validate_adversarial_options,
)
from equipoise.models._perceptrons import Activation, perceptron_networks

__all__ = ["MLP"]


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Options of the perceptrons.

    `width`: units of a hidden layer of each network. `depth`: hidden layers of each network. `activation`: activation
    function between the layers.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # Metz 2017 (Unrolled GAN), section 3.1: z 256, 2 x 128 tanh, Adam 1e-3 and 1e-4, beta1 0.5.
        "unrolled": {
            "loss": "non_saturating",
            "latent_dim": 256,
            "width": 128,
            "activation": "tanh",
            "knobs": {"lr_g": 1e-3, "lr_d": 1e-4, "beta1": 0.5, "beta2": 0.999},
        },
    }

    # Adversarial training: AdversarialOptions in _adversarial_options.py
    loss: AdversarialLossName = "relativistic"
    constraint: Constraint = "none"
    fakes: Fakes = "fresh"
    penalty_interval: int = 1
    clip: float = 0.01
    optimizer: OptimizerName = "adam"
    latent_dim: int = 2
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {
            "lr_g": 2e-3,
            "lr_d": 2e-3,
            "beta1": 0.0,
            "beta2": 0.99,
            "r1_gamma": 0.1,
            "r2_gamma": 0.1,
        }
    )
    # Networks
    width: int = 256
    depth: int = 2
    activation: Activation = "leaky_relu"

    def __post_init__(self) -> None:
        validate_adversarial_options(self)

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """Build the model for points (D,), with weights drawn from `generator`. Raises SettingError for other data."""
        if not spec.is_points:
            kind, alternative = ("images", "dcgan") if spec.vocabulary is None else ("sentences", "seqgan")
            raise SettingError(f"mlp generates points, not {kind}; use --model {alternative} for this data")
        return adversarial_model("mlp", self, perceptron_networks(self, spec, generator), generator)
