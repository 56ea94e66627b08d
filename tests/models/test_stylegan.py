"""StyleGAN: parameter counts, styles, mixing, noise, truncation, growth, and settings that are refused."""

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.models._growing import channel_widths
from equipoise.models._style_generator import StyleGenerator
from equipoise.models.stylegan import StyleGAN1
from equipoise.nn import latents
from equipoise.nn.growing import DOUBLING, enlarge
from equipoise.nn.style_mapping import MappingNetwork
from equipoise.training import checkpoint
from equipoise.training.step import run_step

SMALL = {"width": 4, "max_width": 8, "latent_dim": 6, "style_dim": 5}
IMAGES = DataSpec((3, 16, 16))
WIDTHS = (6, 5, 4)  # 4, 8 and 16 pixels


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=seeded(seed))


def build(spec=IMAGES, **options):
    return StyleGAN1(**{**SMALL, **options}).build(spec, seeded())


def generate(model, latent, labels=None, **sampling):
    with torch.no_grad():
        return model.generate(model.networks, latent, labels, Sampling(**sampling))


def create_generator(widths=WIDTHS):
    generator = StyleGenerator(3, widths, MappingNetwork(6, 5), 5)
    generator.initialise(seeded())
    with torch.no_grad():
        for layer in generator.layers:
            layer.strength.fill_(0.1)
    return generator


@pytest.mark.parametrize(("side", "count"), [(1024, 26_219_627), (256, 26_086_229), (32, 22_841_356)])
def test_preset_has_the_networks_of_the_paper(side, count):
    """Karras 2019, section 2: 26.2 million parameters at 1,024 pixels, of which the mapping network has 2.1."""
    options, spec = catalog.build("models", "stylegan:paper"), DataSpec((3, side, side))
    with torch.device("meta"):
        mapping = MappingNetwork(options.latent_dim, options.style_dim, layers=options.mapping_layers)
        generator = StyleGenerator(3, channel_widths(options, spec), mapping, options.style_dim)
    assert sum(weight.numel() for weight in generator.parameters()) == count
    if side == 1024:
        noise = [buffer.numel() for name, buffer in generator.named_buffers() if name.endswith("noise")]
        assert (len(noise), sum(noise)) == (18, 2_796_192)


def test_preset_has_the_settings_of_the_paper():
    model = catalog.build("models", "stylegan:paper", {"width": 4, "max_width": 4}).build(
        DataSpec((3, 16, 16)), seeded()
    )
    assert (model.knobs.r1_gamma, model.knobs.lr_g, model.knobs.beta2) == (10, 1e-3, 0.99)
    assert [phase.name for phase in model.phases] == ["discriminator", "generator"]
    assert {layer.lr_multiplier for layer in model.networks["generator"].mapping.layers} == {0.01}


def test_psi_one_changes_nothing_and_psi_zero_gives_one_image():
    model, latent = build(), normal(4, 6)
    model.networks["generator"].mapping.w_avg.copy_(normal(5, seed=2))
    images = generate(model, latent)
    assert torch.equal(generate(model, latent, psi=1.0), images)
    same = generate(model, latent, psi=0.0)
    assert torch.equal(same, same[:1].expand_as(same))
    assert (images - same).abs().max() > 1e-3
    assert torch.equal(generate(model, latent, psi=0.0, cutoff=0), images)
    assert not torch.equal(generate(model, latent, psi=0.0, cutoff=1), same)


def test_styles_reproduce_generate():
    model, latent = build(DataSpec((3, 16, 16), classes=3)), normal(3, 6)
    labels, sampling = torch.arange(3), Sampling(psi=0.5, cutoff=2)
    styles = model.styles.map(model.networks, latent, labels, sampling)
    assert styles.shape == (3, 6, 5)
    assert not torch.equal(styles[:, 1], styles[:, 2])
    torch.testing.assert_close(styles[:, :2], styles[:, 3:5] / 2)  # the mean style is 0 before training
    images = model.styles.synthesize(model.networks, styles, sampling)
    assert images.abs().max() > 1  # not limited to their range
    assert torch.equal(images.clamp(-1, 1), model.generate(model.networks, latent, labels, sampling))
    assert torch.equal(model.styles.mean(model.networks), torch.zeros(5))
    assert model.samplings == {"psi", "cutoff", "noise"}


def test_fixed_noise_is_part_of_the_weights_and_can_be_turned_off():
    model, latent = build(), normal(2, 6)
    generator = model.networks["generator"]
    with torch.no_grad():
        for layer in generator.layers:
            layer.strength.fill_(0.5)
    images = generate(model, latent)
    assert torch.equal(generate(model, latent, noise="fixed"), images)
    assert not torch.equal(generate(model, latent, noise="none"), images)
    assert generator.state_dict()["layers.3.noise"].shape == (1, 1, 8, 8)
    assert all(layer.noise.std() > 0.5 for layer in generator.layers)


def test_styles_of_later_layers_do_not_change_earlier_maps():
    generator, maps = create_generator(), []
    for layer in generator.layers:
        layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    styles = normal(1, 6, 5)
    generator.synthesize(styles, generator.fixed_noise())
    changed = styles.clone()
    changed[:, 3] += 1
    generator.synthesize(changed, generator.fixed_noise())
    assert [torch.equal(before, after) for before, after in zip(maps[:6], maps[6:], strict=True)] == [True] * 3 + [
        False
    ] * 3


def test_growth_is_exact_at_both_ends_of_a_fade():
    grown, latent = create_generator(), normal(3, 6)
    small = create_generator(WIDTHS[:2])
    small.load_state_dict({name: grown.state_dict()[name] for name in small.state_dict()})
    small.level.write(DOUBLING)
    complete = grown(latent, None)
    grown.level.write(DOUBLING)
    assert torch.equal(grown(latent, None), enlarge(small(latent, None)))
    assert grown.active_layers() == 4
    grown.level.write(2 * DOUBLING - 1)
    torch.testing.assert_close(grown(latent, None), complete, atol=1e-5, rtol=0)
    grown.level.write(2 * DOUBLING)
    with torch.no_grad():
        grown.to_image[1].weight.fill_(torch.nan)
    assert torch.equal(grown(latent, None), complete)


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_fakes_of_training_mix_styles_and_have_fresh_noise(create_trainer, mixing):
    """The fakes of the discriminator's phase are computed again from the same random numbers."""
    options = {"levels": (16,), "mixing": mixing, "penalty_interval": 1, "knobs": {}, "fakes": "fresh", **SMALL}
    trainer = create_trainer("stylegan", shape=(3, 16, 16), **options)
    generator, inputs, source = trainer.model.networks["generator"], trainer.record_inputs(), trainer.random_numbers()
    with torch.no_grad():
        for layer in generator.layers:
            layer.strength.fill_(0.3)
    trainer.loss("discriminator")
    with torch.no_grad():
        first = generator.map(latents.normal(8, 6, source), None).clone()
        torch.testing.assert_close(generator.mapping.w_avg, 0.005 * first[:, 0].mean(0))
        if mixing:
            second = generator.map(latents.normal(8, 6, source), None)
            crossover = torch.randint(1, 6, (8,), generator=source)
            torch.rand(8, generator=source)
            for row, layer in enumerate(crossover.tolist()):
                first[row, layer:] = second[row, layer:]
        noise = [torch.randn(8, 1, side, side, generator=source) for side in (4, 4, 8, 8, 16, 16)]
        expected = generator.synthesize(first, noise)
    torch.testing.assert_close(inputs[1], expected)


def test_mean_style_follows_training_and_is_averaged(create_trainer):
    trainer = create_trainer("stylegan", shape=(3, 16, 16), **SMALL)
    for _ in range(3):
        trainer.step()
    mean = trainer.model.networks["generator"].mapping.w_avg
    average = trainer.state.averages["generator"].mapping.w_avg
    assert 0 < average.abs().max() < mean.abs().max()
    fixed = [
        network.layers[2].noise
        for network in (trainer.model.networks["generator"], trainer.state.averages["generator"])
    ]
    assert torch.equal(*fixed)


def test_resume_within_a_fade_is_exact(create_trainer, tmp_path):
    options = {"shape": (3, 16, 16), "batch": 4, "classes": 2, "fades": (0.2, 0.8), **SMALL}

    def train(trainer, steps):
        for step in steps:
            run_step(trainer.state, trainer.reals, trainer.model.knobs, step / 8)

    def tensors(trainer):
        found = trainer.state.tensors()
        return {name: value.numpy().tobytes() for name, value in found.items() if not name.startswith("random/")}

    uninterrupted = create_trainer("stylegan", **options)
    train(uninterrupted, range(4))
    state = uninterrupted.state
    assert state.averages["generator"].level.fade().share < 1
    path = checkpoint.write(tmp_path, checkpoint.Checkpoint(state.step, state.tensors(), state.values()))
    train(uninterrupted, range(4, 8))
    resumed, loaded = create_trainer("stylegan", seed=9, **options), checkpoint.read(path)
    resumed.state.restore(loaded.tensors, loaded.values, path.name)
    train(resumed, range(4, 8))
    assert tensors(resumed) == tensors(uninterrupted)


def test_labels_change_styles():
    model = build(DataSpec((1, 16, 16), classes=4))
    styles = model.styles.map(model.networks, normal(1, 6).expand(4, -1), torch.arange(4), DEFAULT_SAMPLING)
    assert (styles[0] - styles[1]).abs().max() > 1e-3


@pytest.mark.parametrize("channels", [1, 4])
def test_sizes_and_channels(channels):
    model = build(DataSpec((channels, 64, 64)), levels=(64,))
    images = generate(model, normal(2, 6))
    assert images.shape == (2, channels, 64, 64)
    assert images.abs().max() <= 1
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(images), None).shape == (2,)


def test_batch_that_groups_do_not_divide_raises(create_trainer):
    trainer = create_trainer("stylegan", shape=(3, 16, 16), batch=6, **SMALL)
    with pytest.raises(SettingError, match="use --batch-size 4 or 8"):
        trainer.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": 1.5}, "mixing = 1.5: it is a probability"),
        ({"mapping_layers": 0}, "mapping_layers = 0"),
        ({"mapping_lr": 0.0}, "mapping_lr = 0: it must be above 0"),
        ({"style_dim": 0}, "style_dim = 0"),
        ({"levels": (4, 16)}, "twice the one before"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(SettingError, match=message):
        build(**options)


def test_other_sizes_raise_with_the_nearest_one():
    with pytest.raises(SettingError, match=r"stylegan generates square images .* not 48 x 48; use --image-size 64"):
        build(DataSpec((3, 48, 48)))
