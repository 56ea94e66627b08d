"""Multilayer perceptrons for points in the plane (the toys of Metz 2017, Lin 2018, Srivastava 2017).

Two hidden layers are enough for rings and grids of Gaussians, where modes can be counted. The default game is
relativistic pairing with R1 and R2 in every update (Huang 2024: lazily applied they fail on such toys). The latent has
two dimensions, as Lin 2018 (PacGAN) has it: with 64, after 3,000 steps, a third of the samples lay near a mode of the
ring, with 2 nine tenths.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.losses.adversarial import AdversarialLossName
from equipoise.models._adversarial import Adversarial, check_counts
from equipoise.nn.initialize import orthogonal_

__all__ = ["MLP"]

ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh}


@dataclass(frozen=True, kw_only=True)
class MLP(Adversarial):
    """Options of the perceptrons. `width` and `depth` count hidden units a layer, and hidden layers, of both."""

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

    loss: AdversarialLossName = "relativistic"
    width: int = 256
    depth: int = 2
    activation: Literal["relu", "leaky_relu", "tanh"] = "leaky_relu"
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

    def build(self, spec: DataSpec, generator: Generator) -> Model[AdversarialKnobs]:
        """The GAN for points (D,). Raises SettingError for images."""
        if not spec.is_points:
            kind, other = ("images", "dcgan") if spec.vocabulary is None else ("sentences", "seqgan")
            raise SettingError(f"mlp makes points, not {kind}; use --model {other} for this data")
        check_counts(width=self.width, depth=self.depth)
        (size,) = spec.shape
        networks = {
            "generator": _Generator(self._layers(self.latent_dim, size)),
            "discriminator": _Discriminator(self._layers(size, 1)),
        }
        for network in networks.values():
            orthogonal_(network, generator)
        return self.game("mlp", networks, generator, kinds=(), classes=0)

    def _layers(self, entry: int, exit: int) -> list[nn.Module]:
        widths = [entry, *[self.width] * self.depth]
        hidden = [
            layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), ACTIVATIONS[self.activation]())
        ]
        return [*hidden, nn.Linear(widths[-1], exit)]


class _Generator(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """latent (B, L) -> points (B, D)."""
        points: Tensor = self.layers(latent)
        return points


class _Discriminator(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.hidden = nn.Sequential(*layers[:-1])
        self.last = layers[-1]

    def features(self, samples: Tensor) -> Tensor:
        """points (B, D) -> (B, width)."""
        result: Tensor = self.hidden(samples)
        return result

    def judge(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """(B, width) -> logits (B,)."""
        logits: Tensor = self.last(features)
        return logits.squeeze(1)
