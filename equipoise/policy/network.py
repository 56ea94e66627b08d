"""The network of a policy: a perceptron of a few hundred weights, in float64, by numpy alone."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Squash = Literal["tanh", "clip", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """y = squash(W_n tanh(… tanh(W_1 x + b_1) …) + b_n).

    `weights`: W, each (out, in); `biases`: b, each (out,). `squash`: tanh, a clip to [-1, 1], or nothing.
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    squash: Squash = "tanh"

    @classmethod
    def start(cls, sizes: Sequence[int], squash: Squash, generator: np.random.Generator) -> "Network":
        """Layers of these sizes, the last all zero, so that every answer is 0; others N(0, 1 / in), LeCun 1998."""
        pairs = [*itertools.pairwise(sizes)]
        weights = [generator.standard_normal((exit, entry)) / entry**0.5 for entry, exit in pairs[:-1]]
        last = np.zeros((pairs[-1][1], pairs[-1][0]))
        return cls((*weights, last), tuple(np.zeros(exit) for _, exit in pairs), squash)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers that go in, units of each hidden layer, numbers that come out."""
        return (self.weights[0].shape[1], *(len(bias) for bias in self.biases))

    def __call__(self, vector: Sequence[float] | Floats) -> Floats:
        """(..., in) -> (..., out)."""
        return self.squashed(self.layers(np.asarray(vector, np.float64))[-1])

    def layers(self, vector: Floats) -> list[Floats]:
        """What goes in, then what each layer gives: hidden ones after their tanh, the last before it is squashed."""
        result = [vector]
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            linear = result[-1] @ weight.T + bias
            result.append(linear if number == len(self.weights) - 1 else np.tanh(linear))
        return result

    def squashed(self, values: Floats) -> Floats:
        """The last layer's numbers as answers."""
        match self.squash:
            case "tanh":
                return np.tanh(values)
            case "clip":
                return np.clip(values, -1.0, 1.0)
            case "none":
                return values

    def flat(self) -> Floats:
        """All weights in a row, layer by layer, biases after weights."""
        layers = zip(self.weights, self.biases, strict=True)
        return np.concatenate([part.ravel() for layer in layers for part in layer])

    def with_flat(self, row: Sequence[float] | Floats) -> "Network":
        """The same network with other weights: the reverse of :meth:`flat`. Raises ValueError for too many or few."""
        numbers, start = np.asarray(row, np.float64), 0
        if numbers.size != (wanted := self.flat().size):
            raise ValueError(f"{numbers.size} numbers for {wanted} weights")
        parts: list[Floats] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            for part in (weight, bias):
                parts.append(numbers[start : start + part.size].reshape(part.shape).copy())
                start += part.size
        return Network(tuple(parts[::2]), tuple(parts[1::2]), self.squash)

    def gradient(self, layers: Sequence[Floats], above: Floats) -> Floats:
        """dL/dweights, in the order of :meth:`flat`, of a batch.

        `layers`: what :meth:`layers` gave of (B, in); `above`: dL/dy (B, out) at the last layer, before it is squashed.
        """
        result: list[Floats] = []
        for number in reversed(range(len(self.weights))):
            result = [(above.T @ layers[number]).ravel(), above.sum(axis=0), *result]
            if number:
                above = (above @ self.weights[number]) * (1 - layers[number] ** 2)
        return np.concatenate(result)
