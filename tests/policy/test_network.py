"""The network of policies, against torch."""

import numpy as np
import pytest
import torch
from torch import nn

from equipoise.policy.network import PolicyNetwork, Squash


def random_network(sizes: tuple[int, ...], squash: Squash = "none", seed: int = 0) -> PolicyNetwork:
    source = np.random.default_rng(seed)
    start = PolicyNetwork.start(sizes, squash, source)
    return start.with_flat(source.standard_normal(start.flat().size))


def torch_network(network: PolicyNetwork) -> nn.Sequential:
    """The same network in torch."""
    layers: list[nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = nn.Linear(weight.shape[1], len(bias), dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("sizes", [(5, 3), (4, 8, 2), (3, 7, 6, 1)])
def test_forward_and_gradient_equal_torch(sizes: tuple[int, ...]) -> None:
    network = random_network(sizes)
    reference, points = torch_network(network), np.random.default_rng(1).standard_normal((9, sizes[0]))
    output_gradient = np.random.default_rng(2).standard_normal((9, sizes[-1]))
    outputs = reference(torch.from_numpy(points))
    outputs.backward(torch.from_numpy(output_gradient))
    assert np.allclose(network(points), outputs.detach().numpy(), atol=1e-12)
    expected = torch.cat([weight.grad.flatten() for weight in reference.parameters() if weight.grad is not None])
    assert np.allclose(network.gradient(network.layers(points), output_gradient), expected.numpy(), atol=1e-12)


def test_an_untrained_network_outputs_0() -> None:
    for sizes in ((5, 3), (4, 8, 2)):
        network = PolicyNetwork.start(sizes, "tanh", np.random.default_rng(0))
        assert network(np.ones(sizes[0])).tolist() == [0.0] * sizes[-1]
        assert network.sizes == sizes


def test_outputs_are_squashed() -> None:
    row = random_network((2, 2)).flat()
    large = np.array([50.0, -50.0])
    for squash, expected in (("tanh", np.tanh), ("clip", lambda x: np.clip(x, -1, 1)), ("none", lambda x: x)):
        network = PolicyNetwork.start((2, 2), squash, np.random.default_rng(0)).with_flat(row)  # type: ignore[arg-type]
        assert np.array_equal(network(large), expected(random_network((2, 2))(large)))


def test_weights_survive_flattening() -> None:
    network = random_network((3, 4, 2))
    again = network.with_flat(network.flat())
    assert all(np.array_equal(a, b) for a, b in zip(network.weights, again.weights, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(network.biases, again.biases, strict=True))
    with pytest.raises(ValueError, match="26 weights, but the vector has 25 numbers"):
        network.with_flat(network.flat()[1:])


def test_choices_are_the_largest_of_three_logits() -> None:
    network = PolicyNetwork((np.zeros((6, 2)),), (np.array([0.0, 1.0, 0.5, 0.0, 0.0, 2.0]),), "choice")
    assert network((0.1, 0.2)).tolist() == [1.0, -1.0]
    assert network.with_flat(np.zeros(18))((0.1, 0.2)).tolist() == [0.0, 0.0], "no weights: the base controller"
