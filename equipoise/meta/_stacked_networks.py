"""Stacked perceptrons: R networks of one architecture are evaluated together, each row of a matrix holds one of them.

A linear layer of all networks is one batched product. Rows do not depend on each other, so a diverged network does not
affect the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

Layer = tuple[Tensor, Tensor]
"""Weight (R, out, in) and bias (R, out) of a linear layer."""


class Logits(NamedTuple):
    """Output of discriminators: `features` (R, B, width) of the last hidden layer, `logit` (R, B)."""

    features: Tensor
    logit: Tensor


@dataclass(frozen=True, slots=True)
class StackedPerceptrons:
    """Functions of R perceptrons of one architecture. `modules`: linear layers and activation functions, in order.

    Only the activation functions of `modules` are called; weights are passed as (R, P), where each row is in the order
    of `torch.nn.utils.parameters_to_vector`.
    """

    modules: tuple[nn.Module, ...]

    @classmethod
    def from_network(cls, network: nn.Module) -> "StackedPerceptrons":
        """Build from the architecture of a perceptron of the model `mlp`."""
        return cls(tuple(module for module in network.modules() if not list(module.children())))

    @property
    def in_features(self) -> int:
        """Size of an input."""
        return next(self._linear_layers()).in_features

    def forward(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """Compute outputs (R, B, out) from weights (R, P) and inputs (R, B, in)."""
        *hidden, (weight, bias) = self._layers(weights)
        return torch.baddbmm(bias[:, None], self._features(hidden, inputs), weight.mT)

    def logits(self, weights: Tensor, samples: Tensor) -> Logits:
        """Compute features and logits from weights (R, P) and samples (R, B, D).

        Reals and fakes are passed in separate calls, as in the model `mlp`: if the loss depends only on the difference
        of their logits, the gradients of the last bias then cancel exactly. In a joint pass, rounding would leave a
        residual that Adam scales to full steps.
        """
        *hidden, (weight, bias) = self._layers(weights)
        features = self._features(hidden, samples)
        return Logits(features, torch.baddbmm(bias[:, None], features, weight.mT).squeeze(2))

    def _features(self, layers: Sequence[Layer], values: Tensor) -> Tensor:
        remaining = iter(layers)
        for module in self.modules[:-1]:
            if isinstance(module, nn.Linear):
                weight, bias = next(remaining)
                values = torch.baddbmm(bias[:, None], values, weight.mT)
            else:
                values = module(values)
        return values

    def _layers(self, weights: Tensor) -> list[Layer]:
        shapes = [(layer.out_features, layer.in_features) for layer in self._linear_layers()]
        parts = torch.split(weights, [count for out, in_ in shapes for count in (out * in_, out)], dim=1)
        pairs = zip(shapes, parts[::2], parts[1::2], strict=True)
        return [(weight.view(len(weights), *shape), bias) for shape, weight, bias in pairs]

    def _linear_layers(self) -> Iterator[nn.Linear]:
        return (module for module in self.modules if isinstance(module, nn.Linear))
