"""The U-Net of diffusion models: weights of the published networks, labels, dropout, patches."""

import pytest
import torch
from torch import Tensor, nn

from equipoise.nn.unet import DenoisingUNet, UNetLayout, initialise_unet
from equipoise.nn.unet_blocks import GlobalAttention, group_normalisation, resample

EDM_CIFAR = {
    **{"image_channels": 3, "size": 32, "width": 128, "multipliers": (2, 2, 2), "blocks": 4},
    **{"attention": 16, "augmentations": 9},
}
SMALL = {"image_channels": 2, "size": 16, "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": 16}


def build(**changes: object) -> DenoisingUNet:
    """Build a small network whose last layers are not 0, so that its output depends on all weights."""
    network = DenoisingUNet(UNetLayout(**{**SMALL, **changes}))
    source = torch.Generator().manual_seed(0)
    initialise_unet(network, source)
    for weight in network.parameters():
        if not weight.any():
            nn.init.normal_(weight, 0, 0.1, generator=source)
    return network.eval()


def images(height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(3, 2, height, width, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        ({}, 55_733_891),
        ({"classes": 10}, 55_735_299),
        ({"augmentations": 0}, 55_732_739),
        ({"size": 64, "multipliers": (1, 2, 2, 2)}, 61_805_571),
        ({"multipliers": (1, 2, 2, 2), "blocks": 2, "augmentations": 0, "kind": "ddpm"}, 35_746_307),
    ],
)
def test_published_networks_have_their_number_of_weights(changes: dict[str, object], weights: int) -> None:
    """EDM's logs for CIFAR-10 and FFHQ-64; DDPM's 35.7 million (Ho 2020, appendix B)."""
    with torch.device("meta"):
        network = DenoisingUNet(UNetLayout(**{**EDM_CIFAR, **changes}))
    assert sum(weight.numel() for weight in network.parameters()) == weights


@pytest.mark.parametrize("kind", ["ddpm", "ddpm++"])
def test_a_new_network_returns_zero(kind: str) -> None:
    network = DenoisingUNet(UNetLayout(**SMALL, kind=kind))
    initialise_unet(network, torch.Generator().manual_seed(0))
    assert not network(images(), torch.zeros(3)).any()


@pytest.mark.parametrize("kind", ["ddpm", "ddpm++"])
@pytest.mark.parametrize("patch", [1, 2])
def test_output_has_the_shape_of_the_image(kind: str, patch: int) -> None:
    network = build(kind=kind, patch=patch)
    assert network.layout.multiple == 2 * patch
    assert network(images(8, 16), torch.zeros(3)).shape == (3, 2, 8, 16)
    features = network.features(images(8, 16), torch.zeros(3))
    assert features.shape == (3, 16, 4 // patch, 8 // patch)


def test_every_weight_has_a_gradient() -> None:
    network = build(classes=3, augmentations=9)
    network(images(), torch.zeros(3), torch.tensor([0, 1, 2]), torch.ones(3, 9)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())


def test_output_depends_on_the_noise_level_and_on_the_label() -> None:
    network = build(classes=3)
    x, noise = images()[:1].expand(3, -1, -1, -1), torch.full((3,), 0.3)
    by_label = network(x, noise, torch.tensor([0, 1, -1]))
    assert not torch.allclose(by_label[0], by_label[1])
    torch.testing.assert_close(by_label[2], network(x, noise)[2])
    by_noise = network(x, torch.tensor([0.3, 0.31, 0.3]))
    assert not torch.allclose(by_noise[0], by_noise[1])


def test_without_description_an_image_counts_as_unchanged() -> None:
    network = build(augmentations=9)
    torch.testing.assert_close(
        network(images(), torch.zeros(3)), network(images(), torch.zeros(3), None, torch.zeros(3, 9))
    )


def test_images_of_a_batch_do_not_affect_each_other() -> None:
    network = build()
    together, alone = network(images(), torch.zeros(3)), network(images()[1:2], torch.zeros(1))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_dropout_acts_only_with_a_generator_and_follows_it() -> None:
    network = build(p=0.5)
    plain = network(images(), torch.zeros(3))
    torch.testing.assert_close(plain, network(images(), torch.zeros(3)), rtol=0, atol=0)
    one, same, other = (
        network(images(), torch.zeros(3), generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert not torch.allclose(one, plain)


def test_attention_is_permutation_equivariant() -> None:
    layer = GlobalAttention(8)
    source = torch.Generator().manual_seed(0)
    nn.init.normal_(layer.output.weight, generator=source)
    maps = torch.randn(2, 8, 4, 5, generator=source)
    order = torch.randperm(20, generator=source)

    def permute(tensor: Tensor) -> Tensor:
        return tensor.flatten(2)[:, :, order].unflatten(2, (4, 5))

    torch.testing.assert_close(layer(permute(maps)), permute(layer(maps)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(8, 2), (36, 9), (128, 32), (132, 22), (3, 1)])
def test_groups_of_normalisation(channels: int, groups: int) -> None:
    assert group_normalisation(channels).num_groups == groups


def test_halving_undoes_doubling() -> None:
    maps = images()
    torch.testing.assert_close(resample(resample(maps, "up"), "down"), maps)
