"""Initialisation: variance of activations, and the random generator."""

import torch
from torch import Generator, nn

from equipoise.nn.image_translation import PatchDiscriminator
from equipoise.nn.initialize import he_normal_


def images(count: int, channels: int) -> torch.Tensor:
    return torch.randn(count, channels, 32, 32, generator=Generator().manual_seed(1))


def test_he_preserves_the_variance_without_normalisation() -> None:
    network = PatchDiscriminator(3, 64, 16, "none")
    he_normal_(network, Generator().manual_seed(0))
    activations = images(64, 3)
    sizes = []
    for layer in network.layers:
        activations = layer(activations)
        if isinstance(layer, nn.LeakyReLU):
            sizes.append(activations[:, :, 2:-2, 2:-2].square().mean().item())  # padding reduces the variance
    # Mean square m -> variance 2 m / (1 + a^2) -> mean square m after a rectifier of slope a: it remains 1.
    assert all(0.7 < size < 1.4 for size in sizes), sizes


def test_he_depends_on_its_generator_only() -> None:
    def initial_weights(seed: int) -> list[torch.Tensor]:
        network = PatchDiscriminator(3, 8, 34, "none")
        he_normal_(network, Generator().manual_seed(seed))
        return list(network.parameters())

    first, same, other = initial_weights(0), initial_weights(0), initial_weights(1)
    assert all(torch.equal(one, two) for one, two in zip(first, same, strict=True))
    assert not torch.equal(first[0], other[0])
    assert all(not weight.any() for weight in first if weight.ndim == 1)  # biases
