"""The network of a policy: a multilayer perceptron of a few hundred weights, in float64 and numpy."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Squash = Literal["tanh", "clip", "none", "choice"]
CHOICES = (0.0, 1.0, -1.0)
"""Values of an output with the squash `choice`; without weights, the first."""


@dataclass(frozen=True, slots=True, eq=False)
class PolicyNetwork:
    """Multilayer perceptron: y = squash(W_n tanh(… tanh(W_1 x + b_1) …) + b_n).

    `weights`: W, each (out, in). `biases`: b, each (out,). `squash`: tanh, clip to [-1, 1], none, or choice:
    the value of CHOICES with the largest of three logits, so that `out` is three times the number of results.
    """

    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]
    squash: Squash = "tanh"

    @classmethod
    def start(cls, sizes: Sequence[int], squash: Squash, generator: np.random.Generator) -> "PolicyNetwork":
        """Initialise layers of these sizes: weights of N(0, 1 / in) (LeCun 1998), zeros in the last layer and
        biases."""
        pairs = [*itertools.pairwise(sizes)]
        weights = [generator.standard_normal((outputs, inputs)) / inputs**0.5 for inputs, outputs in pairs[:-1]]
        last = np.zeros((pairs[-1][1], pairs[-1][0]))
        return cls((*weights, last), tuple(np.zeros(outputs) for _, outputs in pairs), squash)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, units of each hidden layer, number of outputs."""
        return (self.weights[0].shape[1], *(len(bias) for bias in self.biases))

    def __call__(self, vector: Sequence[float] | FloatArray) -> FloatArray:
        """Compute the outputs (..., out) of inputs (..., in)."""
        return self.apply_squash(self.layers(np.asarray(vector, np.float64))[-1])

    def layers(self, vector: FloatArray) -> list[FloatArray]:
        """Return the input and the output of each layer: of hidden ones after tanh, of the last before the squash."""
        result = [vector]
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            linear = result[-1] @ weight.T + bias
            result.append(linear if number == len(self.weights) - 1 else np.tanh(linear))
        return result

    def apply_squash(self, values: FloatArray) -> FloatArray:
        """Apply `squash` to the output of the last layer."""
        match self.squash:
            case "tanh":
                return np.tanh(values)
            case "clip":
                return np.clip(values, -1.0, 1.0)
            case "none":
                return values
            case "choice":
                chosen: FloatArray = np.asarray(CHOICES)[choice_logits(values).argmax(-1)]
                return chosen

    def flat(self) -> FloatArray:
        """Return all weights as one vector, layer by layer, biases after weights."""
        layers = zip(self.weights, self.biases, strict=True)
        return np.concatenate([part.ravel() for layer in layers for part in layer])

    def with_flat(self, vector: Sequence[float] | FloatArray) -> "PolicyNetwork":
        """Return the network with weights from a vector, the inverse of :meth:`flat`. Raises ValueError for another
        length."""
        numbers, start = np.asarray(vector, np.float64), 0
        if numbers.size != (size := self.flat().size):
            raise ValueError(f"the network has {size} weights, but the vector has {numbers.size} numbers")
        parts: list[FloatArray] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            for part in (weight, bias):
                parts.append(numbers[start : start + part.size].reshape(part.shape).copy())
                start += part.size
        return PolicyNetwork(tuple(parts[::2]), tuple(parts[1::2]), self.squash)

    def gradient(self, layers: Sequence[FloatArray], output_gradient: FloatArray) -> FloatArray:
        """Return dL/dweights of a batch, in the order of :meth:`flat`.

        `layers`: result of :meth:`layers` for inputs (B, in). `output_gradient`: dL/dy (B, out) before the squash.
        """
        result: list[FloatArray] = []
        for number in reversed(range(len(self.weights))):
            result = [(output_gradient.T @ layers[number]).ravel(), output_gradient.sum(axis=0), *result]
            if number:
                output_gradient = (output_gradient @ self.weights[number]) * (1 - layers[number] ** 2)
        return np.concatenate(result)


def choice_logits(values: FloatArray) -> FloatArray:
    """Return outputs (..., 3 k) with the squash `choice` as logits (..., k, 3)."""
    return values.reshape(*values.shape[:-1], -1, len(CHOICES))


def count_outputs(heads: int, squash: Squash) -> int:
    """Return the number of outputs of the last layer for a number of heads."""
    return heads * len(CHOICES) if squash == "choice" else heads
