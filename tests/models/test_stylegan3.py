"""StyleGAN 3: parameters of the presets, sampling with styles, running means of training, blur of early images."""

from types import SimpleNamespace

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.metrics import _equivariance as measures
from equipoise.models import _stylegan3
from equipoise.nn.alias_free import AliasFreeConvolution

TINY = {"width": 8, "latent_dim": 16, "layers": 4, "margin": 4}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def build(size=16, classes=0, preset="", **options):
    name = f"stylegan3:{preset}" if preset else "stylegan3"
    model = catalog.build("models", name, {**TINY, **options}).build(DataSpec((3, size, size), classes), seeded())
    for network in model.networks.values():
        network.requires_grad_(False)
    return model


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("preset", "size", "generator", "discriminator"),
    [
        ("t1024", 1024, 22_313_167, 29_012_513),
        ("t256", 256, 23_320_443, 24_001_089),
        ("r1024", 1024, 15_093_151, 29_012_513),
        ("r256", 256, 15_779_565, 24_001_089),
    ],
)
def test_parameters_of_the_paper(preset, size, generator, discriminator):
    """Karras 2021; the discriminators are those of StyleGAN 2, configuration F and its variant for 256 pixels."""
    recipe, spec = catalog.build("models", f"stylegan3:{preset}"), DataSpec((3, size, size))
    with torch.device("meta"):
        assert parameters(recipe.build_generator(spec, 0)) == generator
    assert parameters(recipe.build_discriminator(spec, 0)) == discriminator  # 116 MB that nothing touches


@pytest.mark.parametrize(
    ("options", "size", "generator", "discriminator"),
    [({}, 32, 203_859, 288_993), ({}, 64, 169_719, 296_401), ({"preset": "rotation"}, 32, 148_383, 288_993)],
)
def test_parameters_of_the_small_networks(options, size, generator, discriminator):
    preset = options.get("preset")
    recipe = catalog.build("models", f"stylegan3:{preset}" if preset else "stylegan3")
    assert parameters(recipe.build_generator(DataSpec((3, size, size)), 0)) == generator
    assert parameters(recipe.build_discriminator(DataSpec((3, size, size)), 0)) == discriminator


def test_rotation_has_pointwise_convolutions_of_twice_the_width_and_radial_filters():
    synthesis = build(preset="rotation", critical_layers=1).networks["generator"].synthesis
    convolutions = [layer.convolution for layer in synthesis.layers]
    assert {each.weight.shape[2:] for each in convolutions} == {(1, 1)}
    assert convolutions[0].weight.shape[0] == 16
    assert [layer.activation.down_filter.ndim for layer in synthesis.layers] == [2, 2, 2, 1]
    translation = build().networks["generator"].synthesis
    assert translation.layers[0].convolution.weight.shape == (8, 8, 3, 3)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("classes", [0, 3])
def test_samples_of_each_size_are_clamped_images(size, classes):
    model = build(size, classes)
    labels = torch.tensor([0, 2]) if classes else None
    latent = model.latent(2, seeded(), None)
    samples = model.generate(model.networks, latent, labels, DEFAULT_SAMPLING)
    assert samples.shape == (2, 3, size, size)
    assert samples.abs().max() <= 1
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(samples), labels).shape == (2,)
    if classes:
        swapped = model.generate(model.networks, latent, torch.tensor([1, 0]), DEFAULT_SAMPLING)
        assert (swapped - samples).abs().amax(dim=(1, 2, 3)).min() > 1e-4


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 48, 48), "not 48 x 48; use --image-size 64"),
        ((3, 40, 40), "not 40 x 40; use --image-size 32"),
        ((3, 8, 8), "not 8 x 8; use --image-size 16"),
        ((3, 2048, 2048), "not 2048 x 2048; use --image-size 1024"),
        ((3, 64, 32), "not 32 x 64; use --image-size (32|64)"),
        ((5, 32, 32), "1 to 4 channels, not 5"),
        ((2,), "generates images, not points; use --model mlp"),
        ((1, 128), "generates images, not sequences; use --model dcgan"),
    ],
)
def test_other_data_is_refused_with_the_nearest_size(shape, message):
    with pytest.raises(SettingError, match=message):
        catalog.build("models", "stylegan3").build(DataSpec(shape), seeded())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 2}, "layers = 2: it must be above critical_layers"),
        ({"margin": -1}, "margin = -1"),
        ({"blur": -1.0}, "blur = -1"),
        ({"mapping_layers": 0}, "mapping_layers = 0"),
        ({"label_layers": -1}, "label_layers = -1"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(SettingError, match=message):
        catalog.build("models", "stylegan3", options)


def test_labels_that_do_not_exist_are_refused():
    with pytest.raises(SettingError, match="the data has no labels"):
        build(conditional=True)


def test_psi_moves_styles_to_their_mean_up_to_the_cutoff():
    model = build()
    mapping = model.networks["generator"].mapping
    mapping.w_avg.copy_(torch.randn(16, generator=seeded(1)))
    latent = model.latent(3, seeded(2), None)

    def styles(**sampling):
        return model.styles.map(model.networks, latent, None, Sampling(**sampling))

    w = styles()
    assert w.shape == (3, 6, 16)
    assert torch.equal(w[:, 0], mapping(latent))
    assert torch.equal(styles(psi=1.0), w)
    assert torch.equal(styles(psi=0.0), mapping.w_avg.expand(3, 6, -1))
    assert torch.allclose(styles(psi=0.5), (w + mapping.w_avg) / 2, atol=1e-6)
    assert torch.equal(styles(psi=0.5, cutoff=2)[:, 2:], w[:, 2:])
    assert torch.equal(styles(psi=0.5, cutoff=2)[:, :2], styles(psi=0.5)[:, :2])
    assert torch.equal(model.styles.mean(model.networks), mapping.w_avg)
    assert model.samplings == {"psi", "cutoff"}
    images = model.generate(model.networks, latent, None, Sampling(psi=0.0))
    assert torch.equal(images[0], images[1])
    synthesised = model.styles.synthesize(model.networks, styles(psi=0.5), DEFAULT_SAMPLING)
    assert torch.equal(synthesised, model.generate(model.networks, latent, None, Sampling(psi=0.5)))


def magnitudes(network):
    return [each.magnitude.clone() for each in network.modules() if isinstance(each, AliasFreeConvolution)]


def test_running_means_move_with_the_fakes_that_train_the_generator(create_trainer):
    trainer = create_trainer("stylegan3", shape=(3, 16, 16), layers=4, margin=4, fakes="fresh", magnitude_half_life=8)
    generator = trainer.model.networks["generator"]
    assert [each.item() for each in magnitudes(generator)] == [1.0] * 5
    trainer.loss("discriminator")
    assert [each.item() for each in magnitudes(generator)] == [1.0] * 5
    assert not generator.mapping.w_avg.any()
    trainer.loss("generator")
    assert all(each.item() != 1 for each in magnitudes(generator))
    waves = generator.synthesis.input(torch.zeros(8, 6)).square().mean().item()
    assert magnitudes(generator)[0].item() == pytest.approx(0.5 + 0.5 * waves)  # 8 images, a half-life
    assert generator.mapping.w_avg.any()


def test_sampling_changes_no_running_mean():
    model = build()
    before = {name: value.clone() for name, value in model.networks["generator"].state_dict().items()}
    model.generate(model.networks, model.latent(2, seeded(), None), None, DEFAULT_SAMPLING)
    after = model.networks["generator"].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_running_means_are_averaged_and_saved():
    """Float buffers of the state: the running average of the generator and checkpoints contain them."""
    state = build().networks["generator"].state_dict()
    names = {name.rpartition(".")[2] for name in state} - {"weight", "bias"}
    assert names == {"magnitude", "frequencies", "phases", "w_avg"}
    assert all(value.is_floating_point() for value in state.values())


def test_blur_fades_with_the_reals_that_were_seen():
    recipe = catalog.build("models", "stylegan3:rotation", {**TINY, "blur": 2.0, "blur_images": 100})
    model = recipe.build(DataSpec((1, 16, 16)), seeded())
    discriminator, phase = model.networks["discriminator"], model.phases[0].loss.__self__
    sharp = torch.rand(4, 1, 16, 16, generator=seeded()) * 2 - 1
    features = {}
    for images in (0, 50, 100, 1000):
        phase.extensions.prepare(model.networks, SimpleNamespace(images=images))
        features[images] = discriminator.features(sharp)
        assert discriminator.sigma == pytest.approx(2 * max(0, 1 - images / 100))
    assert torch.equal(features[100], discriminator.discriminator.features(sharp))
    assert torch.equal(features[100], features[1000])
    distances = [(features[images] - features[100]).norm().item() for images in (0, 50)]
    assert distances[0] > distances[1] > 0


def test_batches_that_the_group_does_not_divide_are_refused(create_trainer):
    trainer = create_trainer("stylegan3", shape=(3, 16, 16), layers=4, margin=4, batch=6)
    with pytest.raises(SettingError, match="--batch-size 4 or 8"):
        trainer.step()


def equivariance(model, compare):
    """Return the PSNR in dB of one batch of transformed scenes."""
    latent = model.latent(2, seeded(), None)

    def scenes(matrix):
        return _stylegan3.generate_transformed(model.networks, latent, None, matrix)

    with torch.no_grad():
        return measures.equivariance([scenes], compare, Bootstrap(seed=1)).value


def test_rotation_equivariance_of_untrained_networks():
    """Measured: 25 dB with 3 x 3 kernels, 75 dB with radial filters and 1 x 1 kernels."""
    options = {"size": 32, "layers": 6, "margin": 6, "width": 16}
    assert equivariance(build(**options), measures.rotation_errors) < 35
    assert equivariance(build(preset="rotation", **options), measures.rotation_errors) > 60


@pytest.mark.parametrize("compare", [measures.translation_errors, measures.fractional_translation_errors])
def test_translation_equivariance_of_untrained_networks(compare):
    assert equivariance(build(size=32, layers=6, margin=10, width=16), compare) > 60


@pytest.mark.parametrize("preset", ["", ":rotation"])
def test_training_keeps_the_generator_equivariant(create_trainer, preset):
    """Equivariance is a property of the architecture: two steps with a high learning rate do not change it."""
    options = {"layers": 6, "margin": 10, "width": 16, "knobs": {"lr_g": 1e-2, "lr_d": 1e-2, "beta1": 0.0}}
    trainer = create_trainer(f"stylegan3{preset}", shape=(3, 32, 32), batch=4, **options)
    for _ in range(2):
        trainer.step()
    assert equivariance(trainer.model, measures.translation_errors) > 60
