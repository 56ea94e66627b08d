"""R3GAN: parameters of the paper's networks, the initial networks, the game, and the sizes of images."""

import math

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError
from equipoise.models._image_pyramid import image_pyramid
from equipoise.models._r3gan import ResidualImageDiscriminator, ResidualImageGenerator


def build(shape=(1, 16, 16), classes=0, **options):
    options = {"width": 8, "latent_dim": 6, **options}
    return catalog.build("models", "r3gan", options).build(DataSpec(shape, classes), Generator().manual_seed(0))


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("preset", "side", "classes", "expected"),
    [
        ("cifar10", 32, 0, (20_732_160, 20_683_776)),
        ("cifar10", 32, 10, (20_781_952, 21_280_512)),
        ("ffhq64", 64, 0, (22_429_824, 22_381_440)),
        ("ffhq256", 256, 0, (23_057_952, 23_009_568)),
        ("imagenet32", 32, 1000, (82_914_304, 86_548_992)),
        ("imagenet64", 64, 1000, (103_570_432, 107_205_120)),
    ],
)
def test_parameters_of_the_presets(preset: str, side: int, classes: int, expected: tuple[int, int]) -> None:
    """As published: Huang 2024, table 2 for FFHQ-256."""
    recipe = catalog.build("models", f"r3gan:{preset}")
    layout = recipe.layout(image_pyramid("r3gan", DataSpec((3, side, side))), 3)
    with torch.device("meta"):
        generator = ResidualImageGenerator(layout, recipe.latent_dim, classes)
        discriminator = ResidualImageDiscriminator(layout, classes)
        labels = torch.zeros(2, dtype=torch.int64) if classes else None
        images = generator(torch.empty(2, recipe.latent_dim), labels)
        assert discriminator.logits(discriminator.features(images), labels).shape == (2,)
    assert images.shape == (2, 3, side, side)
    assert (count(generator), count(discriminator)) == expected


def test_parameters_of_the_default_networks() -> None:
    """Dense blocks of 11 C² + 2 C up to 16 pixels, one 3 x 3 convolution to C / 2 channels at 32."""
    networks = build((3, 32, 32), width=48, latent_dim=64).networks
    blocks = 6 * (11 * 48**2 + 2 * 48)
    assert count(networks["generator"]) == blocks + (16 + 64) * 48 + (9 * 48 * 24 + 24) + 24 * 3
    assert count(networks["discriminator"]) == blocks + (16 + 1) * 48 + (9 * 3 * 24 + 24) + 24 * 48


def test_generator_is_a_bilinear_pyramid_of_its_basis_at_first() -> None:
    """Blocks are the identity, so that a 4 x 4 map is interpolated twice."""
    generator = build().networks["generator"]
    latent = torch.randn(3, 6, generator=Generator().manual_seed(1))
    maps = generator.basis * generator.linear(latent)[:, :, None, None]
    for _ in range(2):
        for axis in (2, 3):
            before = torch.cat([maps.narrow(axis, 0, 1), maps.narrow(axis, 0, maps.shape[axis] - 1)], axis)
            maps = torch.stack([(maps + before) / 2, maps], axis + 1).flatten(axis, axis + 1)
    expected = torch.einsum("bchw,dc->bdhw", maps, generator.to_image.weight[:, :, 0, 0])
    assert torch.allclose(generator(latent, None), expected, atol=1e-5)


def constant_discriminator(trainer) -> None:
    """Make every logit 0."""
    trainer.model.networks["discriminator"].linear.weight.data.zero_()


def test_sum_of_the_game_is_2_ln_2_for_a_constant_discriminator(create_trainer) -> None:
    trainer = create_trainer("r3gan")
    constant_discriminator(trainer)
    losses = [trainer.loss(phase).total.item() for phase in ("discriminator", "generator")]
    assert sum(losses) == pytest.approx(2 * math.log(2), abs=1e-6)
    assert trainer.model.ideal(trainer.model.knobs) == pytest.approx(math.log(2))


def test_losses_compare_pairs(create_trainer) -> None:
    """L_D is the mean of softplus(D(G(z)) - D(x)); the pair of each real is the fake of the same index."""
    trainer = create_trainer("r3gan", knobs={})
    loss = trainer.loss("discriminator")
    expected = softplus(loss.logit_fake - loss.logit_real).mean()
    assert loss.total.item() == pytest.approx(expected.item(), abs=1e-6)
    assert not torch.equal(loss.logit_fake, loss.logit_fake.flip(0))


def test_swapped_pairs_change_nothing_at_equal_logits(create_trainer) -> None:
    trainer = create_trainer("r3gan", knobs={})
    constant_discriminator(trainer)
    batch = trainer.reals.batch(0)
    swapped = Batch(batch.real.flip(0))
    for phase in ("discriminator", "generator"):
        assert torch.equal(trainer.loss(phase, batch).total, trainer.loss(phase, swapped).total)


def test_r1_and_r2_are_equal_if_fakes_are_the_reals(create_trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = create_trainer("r3gan", penalty_interval=1, knobs={"r1_gamma": 0.5, "r2_gamma": 0.5})
    batch = trainer.reals.batch(0)
    monkeypatch.setattr(trainer.model.networks["generator"], "forward", lambda latent, condition: batch.real)
    terms = trainer.loss("discriminator", batch).terms
    assert terms["r1"] == terms["r2"] > 0


def test_penalties_are_the_squared_gradients_by_hand(create_trainer) -> None:
    """γ/2 E |dD/dx|² in every step of the paper's settings, k γ/2 E |dD/dx|² in every k-th by default."""
    trainer = create_trainer("r3gan", penalty_interval=1, knobs={"r1_gamma": 3.0})
    batch = trainer.reals.batch(0)
    images = batch.real.clone().requires_grad_()
    discriminator = trainer.model.networks["discriminator"]
    discriminator.logits(discriminator.features(images), None).sum().backward()
    penalty = images.grad.square().sum((1, 2, 3)).mean() / 2
    loss = trainer.loss("discriminator", batch)
    assert loss.terms["r1"].item() == pytest.approx(penalty.item(), rel=1e-4)
    assert loss.total.item() == pytest.approx((loss.terms["adversarial"] + 3 * penalty).item(), rel=1e-5)


def test_logit_with_labels_is_an_inner_product_with_the_vector_of_the_class() -> None:
    discriminator = build((3, 16, 16), classes=4).networks["discriminator"]
    features = discriminator.features(torch.randn(4, 3, 16, 16, generator=Generator().manual_seed(0)))
    labels = torch.tensor([0, 3, 1, 1])
    vectors = discriminator.embedding.weight[labels]
    expected = (discriminator.linear(features) * vectors).sum(1)
    assert torch.equal(discriminator.logits(features, labels), expected)
    discriminator.embedding.weight.data.zero_()
    assert not discriminator.logits(features, labels).any(), "there is no term without the label"


def test_samples_are_clamped_but_not_those_of_training(create_trainer) -> None:
    trainer = create_trainer("r3gan")
    model = trainer.model
    model.networks["generator"].to_image.weight.data.mul_(100)
    latent = model.latent(4, Generator().manual_seed(0), None)
    samples = model.generate(model.networks, latent, None, DEFAULT_SAMPLING)
    assert samples.abs().max() == 1
    inputs = trainer.record_inputs()
    trainer.loss("discriminator")
    assert max(samples.abs().max() for samples in inputs) > 1


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 28, 28), (3, 48, 32), (4, 16, 24), (3, 64, 64)])
def test_sizes_that_doubling_reaches(shape: tuple[int, ...]) -> None:
    model = build(shape)
    samples = model.generate(model.networks, model.latent(2, Generator().manual_seed(0), None), None, DEFAULT_SAMPLING)
    assert samples.shape == (2, *shape)
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(samples), None).shape == (2,)


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((3, 50, 50), "use --image-size 48"),
        ((3, 33, 64), "use --image-size 64x32"),
        ((1, 2, 2), "use --image-size 4"),
        ((5, 32, 32), "use --option data.channels=3"),
        ((2,), "use --model mlp"),
        ((1, 100), "use --model dcgan"),
    ],
)
def test_other_data_are_refused_with_the_way_out(shape: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(SettingError, match=remedy):
        build(shape)


def test_suggested_size_is_possible() -> None:
    for side in range(1, 200, 7):
        try:
            image_pyramid("r3gan", DataSpec((3, side, 2 * side + 5)))
        except SettingError as error:
            width, _, height = str(error).rpartition("--image-size ")[2].partition("x")
            image_pyramid("r3gan", DataSpec((3, int(height or width), int(width))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_width": 6, "width": 8}, "does not divide the 8 inner channels"),
        ({"group_width": -1}, "must be at least 0"),
        ({"trunk_side": 2}, "trunk_side = 2: it must be at least 4"),
        ({"blocks": 0}, "blocks = 0"),
        ({"conditional": True}, "the data has no labels"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build(**options)


def test_initial_weights_have_the_scale_that_is_documented() -> None:
    """Gain 1 outside of blocks: outputs of the first layers have the mean square of their inputs."""
    networks = build((3, 32, 32), width=256, latent_dim=64, trunk_side=32).networks
    generator, discriminator = networks["generator"], networks["discriminator"]

    def deviation(weight: Tensor) -> float:
        return weight.detach().std().item()

    assert deviation(generator.basis) == pytest.approx(1, rel=0.05)
    assert deviation(generator.linear.weight) == pytest.approx(1 / 8, rel=0.05)
    assert deviation(discriminator.basis.weight) == pytest.approx(1 / 4, rel=0.05)
