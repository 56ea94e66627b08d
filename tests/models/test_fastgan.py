"""FastGAN: skip-layer excitation, reconstruction of reals by the discriminator, sizes."""

import itertools

import pytest
import torch
from torch import Generator, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.utils import parametrize

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError
from equipoise.models._fastgan import LayerWidths, SelfSupervisedDiscriminator, SkipLayerGenerator, quarter
from equipoise.models._image_pyramid import image_pyramid


def build(shape=(1, 16, 16), classes=0, **options):
    options = {"width": 2, "latent_dim": 6, **options}
    return catalog.build("models", "fastgan", options).build(DataSpec(shape, classes), Generator().manual_seed(0))


def networks_on_meta(side: int, width: int = 64, excitation: int = 4) -> tuple[nn.Module, nn.Module]:
    pyramid = image_pyramid("fastgan", DataSpec((3, side, side)))
    with torch.device("meta"):
        widths = LayerWidths(width, 1024)
        generator = SkipLayerGenerator(pyramid, widths, 256, 3, 0, excitation)
        return generator, SelfSupervisedDiscriminator(pyramid, widths, 3, 0)


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_parameters_of_the_generator_by_hand() -> None:
    """Every block: 3 x 3 to twice the channels, scale and shift of its normalisation; gates of the pairs."""
    channels = [64 * 16, 64 * 8, 64 * 4, 64 * 2, 64 * 2, 64, 32]  # 4 to 256 pixels
    first = 256 * 2 * channels[0] * 16 + 4 * channels[0]
    blocks = sum(18 * before * after + 4 * after for before, after in itertools.pairwise(channels))
    gates = sum(16 * channels[low] * channels[low + 4] + channels[low + 4] ** 2 for low in range(3))
    generator, _ = networks_on_meta(256)
    assert count(generator) == first + blocks + gates + 9 * 32 * 3
    assert len(generator.excitations) == 3


def test_parameters_of_the_discriminator_by_hand() -> None:
    _, discriminator = networks_on_meta(64, width=8)
    counts = [128, 128, 64, 32, 16]  # 4 to 64 pixels

    def halving(before: int, after: int) -> int:
        return 16 * before * after + 9 * after**2 + before * after + 6 * after

    def decoder(before: int, counts: list[int]) -> int:
        counts = [before, *counts]
        blocks = sum(18 * one * other + 4 * other for one, other in itertools.pairwise(counts))
        return blocks + 27 * counts[-1]

    stem = 16 * 3 * counts[3]
    halvings = halving(counts[3], counts[2]) + halving(counts[2], counts[1])
    patches = counts[1] ** 2 + 2 * counts[1] + 16 * counts[1]
    decoders = decoder(counts[1], [16, 8, 8]) + decoder(counts[2], [16, 8])
    assert count(discriminator) == stem + halvings + patches + decoders


@pytest.mark.parametrize(("excitation", "pairs"), [(0, 0), (3, 2), (4, 1), (5, 0)])
def test_pairs_of_maps(excitation: int, pairs: int) -> None:
    assert len(build((1, 64, 64), excitation=excitation).networks["generator"].excitations) == pairs


def test_map_is_halved_exactly_without_weights_of_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the generator: the map of 32 pixels before and after its gate."""
    generator = build((1, 32, 32)).networks["generator"].eval()
    (gate,) = generator.excitations
    gate.weights[3].weight.data.zero_()
    maps = []
    monkeypatch.setattr(generator.last, "forward", lambda result: maps.append(result) or result)
    latent = torch.randn(2, 6, generator=Generator().manual_seed(0))
    generator(latent, None)
    generator.excitation = 0
    generator(latent, None)
    assert torch.equal(maps[0], maps[1] / 2)


def test_preset_normalises_every_convolution_of_both_networks() -> None:
    model = catalog.build("models", "fastgan:paper", {"width": 2, "latent_dim": 8}).build(
        DataSpec((3, 64, 64)), Generator().manual_seed(0)
    )
    for network in model.networks.values():
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        assert len(layers) > 5
        assert all(parametrize.is_parametrized(layer) for layer in layers)
    first = model.networks["generator"].first[0]
    matrix = first.weight.detach().transpose(0, 1).flatten(1)
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.02)
    assert not any(map(parametrize.is_parametrized, build((3, 64, 64)).networks["generator"].modules()))


def test_no_map_has_more_channels_than_the_widest() -> None:
    assert LayerWidths(16, 128).counts((16, 8, 4, 0.5, 0.01), 5) == [128, 128, 64, 8, 1]
    assert LayerWidths(16, 128).counts((16, 8, 4), 2) == [128, 128]


def test_only_the_direction_of_a_latent_has_an_effect() -> None:
    model = build()
    latent = model.latent(3, Generator().manual_seed(0), None)
    samples = [model.generate(model.networks, scale * latent, None, DEFAULT_SAMPLING) for scale in (1.0, 7.0)]
    assert torch.allclose(*samples, atol=1e-5)
    assert model.samplings == frozenset()


@pytest.mark.parametrize(
    "shape", [(1, 16, 16), (3, 32, 32), (4, 64, 64), (2, 32, 48), (3, 28, 28), (1, 16, 112), (3, 256, 256)]
)
def test_sizes(shape: tuple[int, ...]) -> None:
    model = build(shape)
    images = model.generate(model.networks, model.latent(2, Generator().manual_seed(0), None), None, DEFAULT_SAMPLING)
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    discriminator = model.networks["discriminator"]
    features = discriminator.features(images)
    large, small = discriminator.maps(features)
    height, width = large.shape[2:]
    assert min(height, width) >= 16
    assert small.shape[2:] == (height // 2, width // 2)
    assert discriminator.logits(features, None).shape == (2, (height // 2 - 3) * (width // 2 - 3))
    assert discriminator.reconstruction_loss(images, features, torch.tensor([0, 1])).isfinite()


@pytest.mark.parametrize("side", [512, 1024])
def test_large_images_on_meta(side: int) -> None:
    generator, discriminator = networks_on_meta(side)
    with torch.device("meta"):
        images = generator(torch.empty(2, 256), None)
        assert images.shape == (2, 3, side, side)
        large, small = discriminator.maps(discriminator.features(images))
        assert (large.shape[2:], small.shape[2:]) == ((16, 16), (8, 8))
        assert discriminator.whole_decoder(small).shape == (2, 3, 128, 128)
        assert discriminator.part_decoder(large[:, :, :8, :8]).shape == (2, 3, 128, 128)


@pytest.mark.parametrize(
    ("shape", "remedy"), [((3, 8, 8), "--image-size 16"), ((3, 60, 60), "--image-size 64"), ((2,), "--model mlp")]
)
def test_other_data_are_refused_with_the_way_out(shape: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(SettingError, match=remedy):
        build(shape)


def test_quarters() -> None:
    maps = torch.arange(32.0).view(1, 1, 4, 8)
    assert torch.equal(quarter(maps, torch.tensor([0, 0])), maps[:, :, :2, :4])
    assert torch.equal(quarter(maps, torch.tensor([1, 0])), maps[:, :, 2:, :4])
    assert torch.equal(quarter(maps, torch.tensor([0, 1])), maps[:, :, :2, 4:])


def test_reconstruction_loss_is_the_formula() -> None:
    discriminator = build((3, 32, 32)).networks["discriminator"].eval()
    images = torch.rand(2, 3, 32, 32, generator=Generator().manual_seed(0)) * 2 - 1
    features = discriminator.features(images)
    large, small = discriminator.maps(features)
    assert torch.equal(small, discriminator.halving(large))
    whole, part = discriminator.whole_decoder(small), discriminator.part_decoder(large[:, :, 8:, :8])
    assert whole.shape == images.shape
    assert part.shape == (2, 3, 16, 16)
    expected = (whole - images).square().mean() + (part - images[:, :, 16:, :16]).square().mean()
    assert torch.allclose(discriminator.reconstruction_loss(images, features, torch.tensor([1, 0])), expected)


def test_large_images_are_averaged_down_for_the_decoder() -> None:
    discriminator = build((1, 256, 256)).networks["discriminator"].eval()
    images = torch.rand(1, 1, 256, 256, generator=Generator().manual_seed(0)) * 2 - 1
    features = discriminator.features(images)
    large, small = discriminator.maps(features)
    whole = discriminator.whole_decoder(small) - adaptive_avg_pool2d(images, (128, 128))
    part = discriminator.part_decoder(large[:, :, :8, :8]) - images[:, :, :128, :128]
    expected = whole.square().mean() + part.square().mean()
    assert torch.allclose(discriminator.reconstruction_loss(images, features, torch.tensor([0, 0])), expected)


def test_discriminator_minimises_the_weighted_reconstruction_of_reals(create_trainer) -> None:
    trainer = create_trainer("fastgan", width=2, knobs={"reconstruction_weight": 0.0})
    plain = trainer.loss("discriminator")
    assert "reconstruction" not in plain.terms
    loss = trainer.loss("discriminator", reconstruction_weight=0.5)
    adversarial = loss.terms["adversarial"]
    assert loss.total.item() == pytest.approx((adversarial + loss.terms["reconstruction"] / 2).item(), rel=1e-5)
    loss.total.backward()
    decoders = ("whole_decoder", "part_decoder")
    parameters = dict(trainer.model.networks["discriminator"].named_parameters())
    assert all(value.grad is not None for name, value in parameters.items() if name.startswith(decoders))


def test_loss_of_the_generator_does_not_see_the_decoder(create_trainer) -> None:
    trainer = create_trainer("fastgan", width=2, fakes="fresh")
    loss = trainer.copy().loss("generator")
    loss.total.backward()
    assert loss.terms.keys() == {"adversarial"}
    other = trainer.copy()
    discriminator = other.model.networks["discriminator"]
    for decoder in (discriminator.whole_decoder, discriminator.part_decoder):
        for weight in decoder.parameters():
            weight.data.normal_(generator=Generator().manual_seed(1))
    assert torch.equal(other.loss("generator").total, loss.total)


def test_decoders_learn_to_reconstruct(create_trainer) -> None:
    """Of smooth images: the loss falls below a fifth of its first value within 40 steps."""
    trainer = create_trainer("fastgan", width=2)
    ramp = torch.linspace(-0.5, 0.5, 16)
    images = torch.stack([sign * ramp.expand(1, 16, 16) + shift for sign in (-1, 1) for shift in (-0.4, 0.0, 0.2, 0.4)])
    discriminator = trainer.model.networks["discriminator"]
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    losses = []
    for step in range(40):
        corner = torch.tensor([step % 2, step // 2 % 2])
        loss = discriminator.reconstruction_loss(images, discriminator.features(images), corner)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5


def test_labels_are_a_projection_added_to_every_patch() -> None:
    discriminator = build((1, 16, 16), classes=3).networks["discriminator"].eval()
    features = discriminator.features(torch.randn(2, 1, 16, 16, generator=Generator().manual_seed(0)))
    one, other = (discriminator.logits(features, torch.full((2,), label)) for label in (0, 2))
    maps = discriminator.patches(discriminator.maps(features)[1]).mean((2, 3))
    weight = discriminator.projection.weight
    difference = (maps @ (weight[2] - weight[0]))[:, None].expand_as(one)
    assert torch.allclose(other - one, difference, atol=1e-5)


def test_knob_is_turnable() -> None:
    model = build()
    assert "reconstruction_weight" in model.turnable
    assert model.knobs.reconstruction_weight == 1
