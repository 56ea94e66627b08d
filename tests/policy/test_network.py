"""The network of policies, against torch."""

import numpy as np
import pytest
import torch
from torch import nn

from equipoise.policy.network import Network, Squash


def filled(sizes: tuple[int, ...], squash: Squash = "none", seed: int = 0) -> Network:
    source = np.random.default_rng(seed)
    start = Network.start(sizes, squash, source)
    return start.with_flat(source.standard_normal(start.flat().size))


def twin(network: Network) -> nn.Sequential:
    """The same in torch."""
    layers: list[nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = nn.Linear(weight.shape[1], len(bias), dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("sizes", [(5, 3), (4, 8, 2), (3, 7, 6, 1)])
def test_forward_and_gradient_are_those_of_torch(sizes: tuple[int, ...]) -> None:
    network = filled(sizes)
    theirs, points = twin(network), np.random.default_rng(1).standard_normal((9, sizes[0]))
    above = np.random.default_rng(2).standard_normal((9, sizes[-1]))
    said = theirs(torch.from_numpy(points))
    said.backward(torch.from_numpy(above))
    assert np.allclose(network(points), said.detach().numpy(), atol=1e-12)
    expected = torch.cat([weight.grad.flatten() for weight in theirs.parameters() if weight.grad is not None])
    assert np.allclose(network.gradient(network.layers(points), above), expected.numpy(), atol=1e-12)


def test_a_policy_that_was_not_trained_says_0() -> None:
    for sizes in ((5, 3), (4, 8, 2)):
        made = Network.start(sizes, "tanh", np.random.default_rng(0))
        assert made(np.ones(sizes[0])).tolist() == [0.0] * sizes[-1]
        assert made.sizes == sizes


def test_answers_are_squashed() -> None:
    row = filled((2, 2)).flat()
    large = np.array([50.0, -50.0])
    for squash, expected in (("tanh", np.tanh), ("clip", lambda x: np.clip(x, -1, 1)), ("none", lambda x: x)):
        made = Network.start((2, 2), squash, np.random.default_rng(0)).with_flat(row)  # type: ignore[arg-type]
        assert np.array_equal(made(large), expected(filled((2, 2))(large)))


def test_weights_go_into_a_row_and_back() -> None:
    network = filled((3, 4, 2))
    again = network.with_flat(network.flat())
    assert all(np.array_equal(a, b) for a, b in zip(network.weights, again.weights, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(network.biases, again.biases, strict=True))
    with pytest.raises(ValueError, match="25 numbers for 26 weights"):
        network.with_flat(network.flat()[1:])
