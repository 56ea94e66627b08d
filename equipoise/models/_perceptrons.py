"""Multilayer perceptrons that generate and discriminate points in the plane."""

import itertools
from collections.abc import Mapping
from typing import Literal, Protocol

from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.models._adversarial_options import validate_counts
from equipoise.nn.initialize import orthogonal_

Activation = Literal["relu", "leaky_relu", "tanh"]
ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh}


class PerceptronOptions(Protocol):
    """Options of recipes that use :func:`perceptron_networks`.

    `latent_dim`: length of the latent vector. `width`: units of a hidden layer of each network. `depth`: hidden layers
    of each network. `activation`: activation function between the layers.
    """

    @property
    def latent_dim(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def activation(self) -> Activation: ...


def perceptron_networks(options: PerceptronOptions, spec: DataSpec, generator: Generator) -> dict[str, nn.Module]:
    """Build the generator and the discriminator of points (D,), with weights drawn from `generator`."""
    validate_counts(width=options.width, depth=options.depth)
    (size,) = spec.shape
    networks: dict[str, nn.Module] = {
        "generator": PointGenerator(_layers(options, options.latent_dim, size)),
        "discriminator": PointDiscriminator(_layers(options, size, 1)),
    }
    for network in networks.values():
        orthogonal_(network, generator)
    return networks


class PointGenerator(nn.Module):
    """Generator of points."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate points (B, D) from latents (B, L)."""
        points: Tensor = self.layers(latent)
        return points


class PointDiscriminator(nn.Module):
    """Discriminator of points."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.hidden = nn.Sequential(*layers[:-1])
        self.last = layers[-1]

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, width) of points (B, D)."""
        features: Tensor = self.hidden(samples)
        return features

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features (B, width)."""
        logits: Tensor = self.last(features)
        return logits.squeeze(1)


def _layers(options: PerceptronOptions, in_features: int, out_features: int) -> list[nn.Module]:
    widths = [in_features, *[options.width] * options.depth]
    hidden = [
        layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), ACTIVATIONS[options.activation]())
    ]
    return [*hidden, nn.Linear(widths[-1], out_features)]
