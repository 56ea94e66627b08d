"""Image-to-image networks and patch discriminators: published sizes, receptive fields, dropout."""

import pytest
import torch
from torch import nn
from torch.nn.functional import instance_norm

from equipoise.nn.image_translation import HALVINGS, PatchDiscriminator, UNet, minimum_side, patch_side
from equipoise.nn.layers import InstanceNorm, dropout, frozen_running_statistics
from equipoise.nn.residual import ResidualGenerator


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sizes_equal_those_of_the_authors_program() -> None:
    """junyanz/pytorch-CycleGAN-and-pix2pix: grey images and 256 or 64 pixels in issue 1152, nine blocks in issue 45.

    Their U-Net has no bias in its first and its innermost convolution; their nine blocks had weights in the norms then.
    """
    unbiased = 64 + 512
    assert round((count(UNet((1, 1), 256, 64, "batch", 0.5)) - unbiased) / 1e6, 3) == 54.408
    assert round((count(UNet((1, 1), 64, 64, "batch", 0.5)) - unbiased) / 1e6, 3) == 29.238
    assert round(count(PatchDiscriminator(2, 64, 70, "batch")) / 1e6, 3) == 2.765
    assert round(count(PatchDiscriminator(2, 64, 34, "batch")) / 1e6, 3) == 0.662
    weights_of_norms = 2 * (64 + 128 + 256 + 2 * 9 * 256 + 128 + 64)
    assert count(ResidualGenerator((3, 3), 64, 9, "instance")) + weights_of_norms == 11_388_675


@pytest.mark.parametrize("size", [4, 16, 32, 128])
def test_unet_preserves_size_and_range(size: int) -> None:
    network = UNet((1, 3), size, 4, "batch", 0.5)
    result = network(torch.randn(2, 1, size, size) * 5)
    assert result.shape == (2, 3, size, size)
    assert result.abs().max() <= 1


def test_unet_has_a_skip_connection_at_every_level() -> None:
    """With all other decoder levels zeroed, the output depends on the input through the outermost skip connection."""
    network = UNet((1, 1), 16, 4, "instance", 0.0).eval()
    inner: list[torch.Size] = []
    network.down[-1].register_forward_hook(lambda module, inputs, output: inner.append(output.shape))
    one, other = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    other[0, 0, 3, 4] = 1
    assert not torch.equal(network(one), network(other))
    assert inner[0] == (1, 32, 1, 1)
    for layer in network.up:
        nn.init.zeros_(layer[0].weight)
    assert not torch.equal(network(one), network(other))
    with torch.no_grad():
        network.last.weight[4:] = 0  # the output of the outermost skip connection
    assert torch.equal(network(one), network(other))


def test_dropout_uses_only_the_given_generator() -> None:
    network, images = UNet((1, 1), 32, 4, "instance", 0.5), torch.randn(2, 1, 32, 32)
    before = torch.get_rng_state()
    assert torch.equal(network(images, seeded(1)), network(images, seeded(1)))
    assert not torch.equal(network(images, seeded(1)), network(images, seeded(2)))
    assert torch.equal(network(images), network(images)), "no dropout without a generator"
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_scales_the_remaining_values() -> None:
    result = dropout(torch.ones(400, 250), 0.2, seeded())
    assert set(result.unique().tolist()) == {0.0, 1.25}
    assert result.mean().item() == pytest.approx(1, abs=0.01)


def test_instance_norm_equals_torch() -> None:
    maps = torch.randn(3, 5, 7, 4, generator=seeded()) * 3 + 2
    for laid_out in (maps, maps.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(InstanceNorm(5)(laid_out), instance_norm(maps), atol=1e-5, rtol=1e-5)


def test_residual_blocks_preserve_the_size_and_start_near_identity() -> None:
    network = ResidualGenerator((3, 1), 4, 2, "instance")
    assert network(torch.randn(2, 3, 20, 20)).shape == (2, 1, 20, 20)
    block = next(layer for layer in network.layers if type(layer).__name__ == "ResidualBlock")
    for convolution in (layer for layer in block.layers if isinstance(layer, nn.Conv2d)):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    maps = torch.randn(2, 16, 5, 5)
    assert torch.equal(block(maps), maps)


@pytest.mark.parametrize("patch", HALVINGS)
def test_receptive_field_of_a_logit(patch: int) -> None:
    """Pixels with a gradient are counted, in the centre of a large image, without normalisation across pixels."""
    network = PatchDiscriminator(1, 2, patch, "batch").eval()
    images = torch.randn(1, 1, 3 * patch, 3 * patch, requires_grad=True)
    logits = network(images)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], images)
    rows, columns = (gradient[0, 0].abs().sum(dim=1 - axis).nonzero().flatten() for axis in (0, 1))
    assert [int(positions.max() - positions.min()) + 1 for positions in (rows, columns)] == [patch, patch]
    assert patch_side(HALVINGS[patch]) == patch


@pytest.mark.parametrize("patch", HALVINGS)
def test_images_below_the_minimum_side_raise(patch: int) -> None:
    network = PatchDiscriminator(1, 2, patch, "batch").eval()
    side = minimum_side(patch)
    assert network(torch.zeros(1, 1, side, side)).numel() == 1
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, side - 1, side - 1))


@pytest.mark.parametrize("channels", [(3, 3), (1, 3), (3, 1)])
@pytest.mark.parametrize("body", ["unet", "residual"])
def test_residual_generator_with_zero_output_copies_its_input(body: str, channels: tuple[int, int]) -> None:
    """Grey images become colour images of equal channels; colour images become the mean of their channels."""
    network: UNet | ResidualGenerator
    if body == "unet":
        network = UNet(channels, 16, 4, "batch", 0.0, change=True)
        layer: nn.Module = network.last
    else:
        network = ResidualGenerator(channels, 4, 1, "batch", change=True)
        layer = network.layers[-1]
    source = torch.rand(2, channels[0], 16, 16, generator=seeded()) * 2 - 1
    assert not torch.allclose(network(source), _as_channels(source, channels[1]))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    assert torch.equal(network(source), _as_channels(source, channels[1]))
    nn.init.constant_(layer.bias, 0.5)
    assert torch.equal(network(source), (_as_channels(source, channels[1]) + 0.5).clamp(max=1))


def _as_channels(images: torch.Tensor, channels: int) -> torch.Tensor:
    return images.mean(1, keepdim=True) if channels == 1 else images.expand(-1, channels, -1, -1)


def test_frozen_running_statistics() -> None:
    network, images = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3)), torch.randn(8, 3, 4, 4, generator=seeded()) + 5
    expected = network(images)
    before = [buffer.clone() for buffer in network.buffers() if buffer.is_floating_point()]
    with frozen_running_statistics(network):
        assert torch.equal(network(images), expected)
    assert all(torch.equal(*pair) for pair in zip(before, network[0].buffers(), strict=False))
    assert network[0].momentum == 0.3
