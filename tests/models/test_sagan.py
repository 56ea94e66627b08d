"""SAGAN: sizes, numbers of parameters, conditioning, spectral norms."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError
from equipoise.models._resnet_architecture import resnet_architecture
from equipoise.models.sagan import sagan_networks
from equipoise.nn.attention import SelfAttention

CIFAR, IMAGENET = DataSpec((3, 32, 32), classes=10), DataSpec((3, 128, 128), classes=1000)


def build(spec, seed=0, **options):
    return catalog.build("models", "sagan", {"width": 4, "latent_dim": 6, **options}).build(
        spec, torch.Generator().manual_seed(seed)
    )


def parameters(name, spec, **options):
    with torch.device("meta"):
        networks = sagan_networks(catalog.build("models", name, options), spec)
    return [sum(weight.numel() for weight in networks[key].parameters()) for key in ("generator", "discriminator")]


@pytest.mark.parametrize(
    ("preset", "spec", "attention", "expected"),
    [
        ("cifar10", CIFAR, 16, [4_386_308, 1_075_586]),
        ("cifar10", CIFAR, 0, [4_304_387, 1_055_105]),
        ("imagenet128", IMAGENET, 64, [42_017_412, 39_448_258]),
        ("imagenet128", IMAGENET, 0, [41_996_931, 39_443_137]),
        ("imagenet128", IMAGENET, 32, [42_078_852, 39_463_618]),
    ],
)
def test_numbers_of_parameters(preset, spec, attention, expected):
    """Those of StudioGAN for SAGAN and, without attention, SNGAN; the last row is the paper's, by our own formula."""
    assert parameters(f"sagan:{preset}", spec, attention=attention) == expected


@pytest.mark.parametrize(("conditioning", "studio"), [("projection", 1_057_159), ("auxiliary", 1_057_169)])
def test_discriminators_with_labels_differ_from_studiogan_by_its_batch_normalisation(conditioning, studio):
    """Its PD-GAN and AC-GAN for CIFAR-10 normalise 3 channels once and 128 channels eight times; this network uses
    spectral normalisation instead, which has no weights. A classifier has a bias per class, a projection has none."""
    weights = parameters("sagan:cifar10", CIFAR, attention=0, conditioning=conditioning)[1]
    assert weights + 2 * (3 + 8 * 128) == studio


def test_number_of_parameters_of_the_default():
    assert parameters("sagan", CIFAR) == [610_500, 306_290]


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 16, 16), (2, 24, 40), (4, 48, 16), (3, 33, 19), (3, 64, 64)])
def test_samples_have_the_shape_of_the_data(shape, classes):
    model = build(DataSpec(shape, classes=classes), width=1)
    latent = model.latent(3, torch.Generator().manual_seed(0), None)
    labels = torch.arange(3) if classes else None
    samples = model.generate(model.networks, latent, labels, DEFAULT_SAMPLING)
    assert samples.shape == (3, *shape)
    assert -1 <= samples.min() < samples.max() <= 1
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(samples), labels).shape == (3,)


@pytest.mark.parametrize("side", range(16, 1025, 8))
@pytest.mark.parametrize("layout", ["pyramid", "constant"])
def test_every_multiple_of_eight_has_an_architecture(side, layout):
    recipe = catalog.build("models", "sagan", {"layout": layout})
    plan = resnet_architecture(recipe, DataSpec((3, side, side)))
    assert 4 <= min(plan.start) <= 8
    assert all(0 <= zeros < 2**plan.doublings for zeros in plan.padding)
    assert len(plan.discriminator_widths) > plan.halvings
    assert 0 < plan.attention < plan.doublings


def test_images_of_1024_pixels():
    model = build(DataSpec((1, 1024, 16), classes=2), width=1, latent_dim=1)
    assert model.networks["generator"](torch.randn(2, 1), torch.arange(2)).shape == (2, 1, 1024, 16)
    with torch.device("meta"):
        networks = sagan_networks(catalog.build("models", "sagan", {"width": 1}), DataSpec((3, 1024, 1024)))
        assert networks["generator"](torch.randn(1, 64), None).shape == (1, 3, 1024, 1024)
        assert networks["discriminator"].features(torch.randn(1, 3, 1024, 1024)).shape == (1, 16)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (DataSpec((1, 4, 4)), {}, "8 to 1,024 pixels a side with 1 to 4 channels, not 1 x 4 x 4; use --image-size 32"),
        (DataSpec((5, 16, 16)), {}, "not 5 x 16 x 16; use --option data.channels=3"),
        (DataSpec((3, 100)), {}, "use --model dcgan"),
        (DataSpec((2,)), {}, "use --model mlp"),
        (DataSpec((1, 16, 16)), {"conditional": True}, "omit this option"),
        (DataSpec((1, 16, 16)), {"attention": 12}, "attention = 12: it must be a power of two from 8, or 0"),
        (DataSpec((1, 16, 16)), {"width": 0}, "width = 0"),
        (DataSpec((1, 16, 16)), {"conditioning": "concat"}, "use --model cgan"),
    ],
)
def test_bad_input(spec, options, message):
    with pytest.raises(SettingError) as error:
        build(spec, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def record_side(sides, name, module, inputs):
    sides[name] = inputs[0].shape[-1]


@pytest.mark.parametrize(("size", "attention", "expected"), [(32, 16, 16), (64, 32, 32), (16, 16, 8), (16, 0, None)])
def test_attention_is_at_the_same_size_in_both_networks(size, attention, expected):
    model = build(DataSpec((1, size, size), classes=2), width=1, attention=attention)
    sides = {}
    for name, network in model.networks.items():
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.register_forward_pre_hook(partial(record_side, sides, name))
    samples = model.networks["generator"](torch.randn(2, 6), torch.arange(2))
    model.networks["discriminator"].features(samples)
    assert sides == ({} if expected is None else {"generator": expected, "discriminator": expected})


def test_new_attention_changes_no_image():
    """gamma is 0 at first: removing the layer gives the same bytes."""
    model = build(CIFAR)
    generator, latent, labels = model.networks["generator"].eval(), torch.randn(2, 6), torch.arange(2)
    before = generator(latent, labels)
    for level in generator.levels:
        level.attention = nn.Identity()
    assert torch.equal(generator(latent, labels), before)


def test_classes_are_equal_at_first_and_differ_after_training(create_trainer):
    trainer = create_trainer("sagan", classes=3)
    generator, latent = trainer.model.networks["generator"], torch.randn(1, 6).expand(3, -1)
    trainer.model.networks["generator"].eval()
    first = generator(latent, torch.arange(3))
    torch.testing.assert_close(first[0], first[1])
    for _ in range(3):
        trainer.step(lr_g=1e-2)
    generator.eval()
    later = generator(latent, torch.arange(3))
    assert (later[0] - later[1]).abs().max() > 1e-3


def test_spectral_norms_of_all_weights(create_trainer):
    """Within 1e-3 of 1 after ten power iterations; later within 2e-2 after 30, as singular values are close."""
    trainer = create_trainer("sagan", classes=3)

    def largest(network):
        layers = [layer for layer in network.modules() if parametrize.is_parametrized(layer)]
        return [torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item() for layer in layers]

    for iterations, tolerance in ((10, 1e-3), (30, 2e-2)):
        for network in trainer.model.networks.values():
            network.train()
            for _ in range(iterations):
                sigmas = largest(network)
            assert len(sigmas) > 10
            assert sigmas == pytest.approx([1] * len(sigmas), abs=tolerance)
        for _ in range(4):
            trainer.step()


def test_spectral_norms_of_the_average_are_estimated_anew(create_trainer):
    """The average of singular vectors is no singular vector of the average."""
    trainer = create_trainer("sagan", classes=3)
    for _ in range(4):
        trainer.step(lr_g=1e-2, ema_half_life=30.0)
    average = trainer.state.sampling_networks["generator"]
    layers = [layer for layer in average.modules() if parametrize.is_parametrized(layer)]
    assert all(layer.parametrizations.weight[0].evaluation_iterations == 5 for layer in layers)
    sigmas = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert sigmas == pytest.approx([1] * len(sigmas), abs=0.2)


@pytest.mark.parametrize(("name", "rates"), [("sagan:cifar10", (1e-4, 4e-4)), ("sagan", (1e-3, 1e-3))])
def test_presets_have_the_learning_rates_of_the_paper(name: str, rates: tuple[float, float]):
    """Two time scales: Zhang 2019, section 4. By default, higher rates, for short runs."""
    model = catalog.build("models", name).build(CIFAR, torch.Generator().manual_seed(0))
    knobs = model.knobs
    assert (knobs.lr_g, knobs.lr_d, knobs.beta1, knobs.beta2) == (*rates, 0, 0.9)
    assert knobs.discriminator_steps == knobs.generator_steps == 1


def test_auxiliary_classifier(create_trainer):
    trainer = create_trainer("sagan", classes=3, conditioning="auxiliary")
    assert "class_weight" in trainer.model.turnable
    terms = trainer.loss("discriminator").terms
    assert terms.keys() == {"adversarial", "class_real", "class_fake"}
    trainer.step()


def test_projection_is_normalised_and_of_the_pooled_features():
    """Miyato and Koyama 2018, equation 3."""
    discriminator = build(CIFAR).networks["discriminator"].eval()
    features = discriminator.features(torch.rand(2, 3, 32, 32) * 2 - 1)
    assert features.shape == (2, 32)
    v = discriminator.projection.weight
    torch.testing.assert_close(torch.linalg.matrix_norm(v, 2).item(), 1.0, rtol=0, atol=1e-3)
    difference = discriminator.logits(features, torch.tensor([1, 4])) - discriminator.logits(features, None)
    torch.testing.assert_close(difference, (features * v[[1, 4]]).sum(1))
