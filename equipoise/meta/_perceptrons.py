"""Perceptrons of one shape, many at once: the weights of R of them are the rows of one matrix.

A layer of all of them is one batched product. What is seen of one row never depends on another, so a run whose weights
are no numbers any more leaves its neighbours as they are.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

Layer = tuple[Tensor, Tensor]
"""Weight (R, out, in) and bias (R, out) of a linear layer."""


class Activation(NamedTuple):
    """A nonlinearity, and its slope by what comes out of it; both elementwise."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


ACTIVATIONS: Mapping[type[nn.Module], Activation] = {
    nn.ReLU: Activation(relu, lambda out: out.detach().sign().clamp_(min=0)),
    nn.LeakyReLU: Activation(leaky_relu, lambda out: out.detach().sign().clamp_(min=0.01)),
    nn.Tanh: Activation(torch.tanh, lambda out: 1 - out.square()),
}
"""Those of the zoo's perceptrons, with the settings that torch gives them: the leak is 0.01."""


class Seen(NamedTuple):
    """What discriminators make of points: `hidden` (R, B, width) after each hidden layer, `logit` (R, B)."""

    hidden: Sequence[Tensor]
    logit: Tensor


@dataclass(frozen=True, slots=True)
class Perceptrons:
    """The shape of the networks: `sizes` from the entry to the exit, and what stands between the layers."""

    sizes: tuple[int, ...]
    activation: Activation

    @classmethod
    def like(cls, network: nn.Module) -> "Perceptrons":
        """The shape of a perceptron of the zoo."""
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        between = next(module for module in network.modules() if type(module) in ACTIVATIONS)
        sizes = (linear[0].in_features, *(layer.out_features for layer in linear))
        return cls(sizes, ACTIVATIONS[type(between)])

    def layers(self, weights: Tensor) -> list[Layer]:
        """The layers in weights (R, P), each row as torch.nn.utils.parameters_to_vector lays a network out."""
        shapes = list(itertools.pairwise(self.sizes))
        parts = torch.split(weights, [count for a, b in shapes for count in (a * b, b)], dim=1)
        return [
            (weight.view(len(weights), b, a), bias)
            for (a, b), weight, bias in zip(shapes, parts[::2], parts[1::2], strict=True)
        ]

    def hidden(self, layers: Sequence[Layer], points: Tensor) -> list[Tensor]:
        """(R, B, entry) -> (R, B, width) after each hidden layer."""
        result = [points]
        for weight, bias in layers[:-1]:
            result.append(self.activation.value(torch.baddbmm(bias[:, None], result[-1], weight.mT)))
        return result[1:]

    def make(self, layers: Sequence[Layer], latents: Tensor) -> Tensor:
        """What generators make: (R, B, entry) -> (R, B, exit)."""
        weight, bias = layers[-1]
        return torch.baddbmm(bias[:, None], self.hidden(layers, latents)[-1], weight.mT)

    def judge(self, layers: Sequence[Layer], points: Tensor) -> Seen:
        """What discriminators say of points (R, B, entry).

        Reals and fakes are judged in turn, as by one network: where only their difference counts, the gradients of the
        biases cancel exactly then, while Adam would make whole steps of what rounding leaves of a common sum.
        """
        hidden = self.hidden(layers, points)
        weight, bias = layers[-1]
        return Seen(hidden, torch.baddbmm(bias[:, None], hidden[-1], weight.mT).squeeze(2))

    def input_gradient(self, layers: Sequence[Layer], seen: Seen) -> Tensor:
        """dD(x)/dx at each point that was seen: (R, B, entry), by the chain rule and with its graph."""
        first, *others = [weight for weight, _ in layers[:-1]]
        gradient = layers[-1][0] * self.activation.slope(seen.hidden[-1])
        for weight, hidden in zip(reversed(others), reversed(seen.hidden[:-1]), strict=True):
            gradient = torch.bmm(gradient, weight) * self.activation.slope(hidden)
        return torch.bmm(gradient, first)
