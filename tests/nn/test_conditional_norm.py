"""Conditional batch normalisation, and statistics estimated for given inputs."""

import copy
from functools import partial

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import batch_norm

from equipoise.nn.conditional_norm import ConditionalBatchNorm, standing_statistics


def maps(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scale_and_shift_follow_the_formula() -> None:
    layer = ConditionalBatchNorm(3, partial(nn.Linear, 2, bias=False))
    x, c = maps(0, 5, 3, 4, 4), maps(1, 5, 2)
    result = layer(x, c)
    normal = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    for sample in range(5):
        for channel in range(3):
            gain = (layer.gain.weight[channel] * c[sample]).sum()
            shift = (layer.bias.weight[channel] * c[sample]).sum()
            torch.testing.assert_close(result[sample, channel], (1 + gain) * normal[sample, channel] + shift)


def test_embeddings_of_zero_give_unconditional_normalisation_exactly() -> None:
    """The 1 of (1 + g): without it, all maps would be 0."""
    layer = ConditionalBatchNorm(3, partial(nn.Embedding, 10))
    for affine in (layer.gain, layer.bias):
        nn.init.zeros_(affine.weight)
    x = maps(0, 6, 3, 4, 4)
    result = layer(x, torch.arange(6))
    assert torch.equal(result, batch_norm(x, None, None, training=True))
    assert torch.equal(result, ConditionalBatchNorm(3, None)(x, None))


def test_samples_of_a_class_share_scale_and_shift() -> None:
    layer = ConditionalBatchNorm(2, partial(nn.Embedding, 2)).eval()
    x = maps(0, 1, 2, 3, 3).expand(4, -1, -1, -1)
    result = layer(x, torch.tensor([0, 1, 0, 1]))
    assert torch.equal(result[0], result[2])
    assert torch.equal(result[1], result[3])
    assert not torch.equal(result[0], result[1])


class Network(nn.Module):
    """Two normalisations after each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = ConditionalBatchNorm(2, None), ConditionalBatchNorm(2, None)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        result: torch.Tensor = self.second(self.first(x, None).relu(), None)
        return result


def test_statistics_are_means_over_the_batches() -> None:
    network = Network()
    batches = [3 * maps(seed, 8, 2, 3, 3) + seed for seed in range(4)]
    statistics = standing_statistics(network, [(batch, None) for batch in batches])
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variance = torch.stack([batch.transpose(0, 1).flatten(1).var(1) for batch in batches]).mean(0)
    torch.testing.assert_close(statistics["first.norm.running_mean"], mean)
    torch.testing.assert_close(statistics["first.norm.running_var"], variance)
    assert statistics.keys() == {
        f"{layer}.norm.running_{kind}" for layer in ("first", "second") for kind in ("mean", "var")
    }


def test_estimates_change_nothing_in_the_network() -> None:
    network = Network()
    before = copy.deepcopy(network.state_dict())
    standing_statistics(network, [(maps(0, 8, 2, 3, 3), None)])
    assert network.training
    assert all(module.momentum == 0.1 for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_outputs_are_normal_with_the_estimated_statistics() -> None:
    """For inputs with another scale than those of training."""
    network = Network().eval()
    inputs = 10 + 5 * maps(0, 64, 2, 4, 4)
    statistics = standing_statistics(network, [(inputs, None)])
    outputs = functional_call(network, statistics, (inputs, None))
    torch.testing.assert_close(outputs.mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-3)
    torch.testing.assert_close(outputs.var((0, 2, 3)), torch.ones(2), rtol=0, atol=5e-3)
    assert (network(inputs, None).mean((0, 2, 3)) > 5).all()
