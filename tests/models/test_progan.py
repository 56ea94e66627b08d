"""ProGAN: parameter counts, growth that is exact at both ends of a fade, conditions, and settings that are refused."""

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError
from equipoise.models._growing import channel_widths
from equipoise.models._growing_discriminator import GrowingDiscriminator
from equipoise.models.progan import ProGAN, ProGANGenerator
from equipoise.nn.equalised import EqualConv2d, EqualLinear, initialise_equalised
from equipoise.nn.growing import DOUBLING, Fade, enlarge, fade_details, halve
from equipoise.training import checkpoint
from equipoise.training.step import run_step

IMAGES = DataSpec((3, 16, 16))
WIDTHS = (6, 5, 4)  # 4, 8 and 16 pixels
GROWING = {"levels": (4,), "fades": (0.2, 0.4, 0.6, 0.8), "width": 4, "latent_dim": 6, "max_width": 8}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=seeded(seed))


def build(spec=IMAGES, **options):
    return ProGAN(**{"width": 4, "latent_dim": 6, **options}).build(spec, seeded())


def create_generator(widths=WIDTHS, classes=0):
    generator = ProGANGenerator(7, 3, widths, classes)
    initialise_equalised(generator, seeded())
    return generator


def create_discriminator(widths=WIDTHS, classes=0, blurs=False):
    discriminator = GrowingDiscriminator(3, widths, group=4, classes=classes, blurs=blurs)
    initialise_equalised(discriminator, seeded())
    return discriminator


def logits(discriminator, images, labels=None):
    return discriminator.logits(discriminator.features(images), labels)


def copy_matching(small, large):
    """Load the weights that a network of fewer levels has in common with a larger one."""
    small.load_state_dict({name: large.state_dict()[name] for name in small.state_dict()})
    small.level.write(small.highest * DOUBLING)
    return small


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("side", "generator", "discriminator"),
    [(1024, 23_079_115, 23_087_249), (256, 23_044_309, 23_052_353), (32, 20_719_628, 20_726_785)],
)
def test_preset_has_the_networks_of_the_paper(side, generator, discriminator):
    """Karras 2018, table 2, at 1,024 pixels: 23.1 million parameters each."""
    options, spec = catalog.build("models", "progan:paper"), DataSpec((3, side, side))
    widths = channel_widths(options, spec)
    with torch.device("meta"):
        assert parameters(ProGANGenerator(options.latent_dim, 3, widths, 0)) == generator
        assert parameters(GrowingDiscriminator(3, widths, group=4, classes=0)) == discriminator


def test_preset_has_the_loss_of_the_paper():
    model = catalog.build("models", "progan:paper", {"width": 4, "latent_dim": 6, "max_width": 4}).build(
        DataSpec((3, 16, 16)), seeded()
    )
    assert (model.knobs.gp_weight, model.knobs.drift_weight, model.knobs.beta1) == (10, 1e-3, 0)
    assert model.networks["discriminator"].features(torch.zeros(4, 3, 16, 16)).shape == (4, 4)


def test_default_networks_are_small():
    model = ProGAN().build(DataSpec((3, 32, 32)), seeded())
    assert {name: parameters(network) for name, network in model.networks.items()} == {
        "generator": 424_892,
        "discriminator": 557_585,
    }


def test_only_the_direction_of_a_latent_has_an_effect():
    model = build()
    latent = model.latent(3, seeded(), None)
    samples = [model.generate(model.networks, scale * latent, None, DEFAULT_SAMPLING) for scale in (1.0, 7.0)]
    torch.testing.assert_close(*samples, atol=1e-5, rtol=0)
    assert model.samplings == frozenset()


def test_start_of_a_fade_equals_the_smaller_generator_to_the_bit():
    """Karras 2018, figure 2: at share 0 the image is the enlarged image of the level below."""
    grown, latent = create_generator(), normal(4, 7)
    small = copy_matching(create_generator(WIDTHS[:2]), grown)
    expected = enlarge(small(latent, None))
    grown.level.write(DOUBLING)
    assert torch.equal(grown(latent, None), expected)
    grown.level.fade = lambda: Fade(2, 0.0)
    assert torch.equal(grown(latent, None), expected)


def test_end_of_a_fade_has_no_trace_of_the_level_below():
    generator, latent = create_generator(), normal(4, 7)
    complete = generator(latent, None)
    generator.level.write(2 * DOUBLING - 1)
    torch.testing.assert_close(generator(latent, None), complete, atol=1e-5, rtol=0)
    assert not torch.equal(generator(latent, None), complete)
    generator.level.write(2 * DOUBLING)
    with torch.no_grad():
        generator.to_image[1].weight.fill_(torch.nan)
    assert torch.equal(generator(latent, None), complete)


@pytest.mark.parametrize("blurs", [False, True])
def test_discriminator_is_continuous_at_both_ends_of_a_fade(blurs):
    grown, images = create_discriminator(blurs=blurs), normal(4, 3, 16, 16)
    small = copy_matching(create_discriminator(WIDTHS[:2], blurs=blurs), grown)
    complete = logits(grown, images)
    grown.level.write(DOUBLING)
    assert torch.equal(logits(grown, images), logits(small, halve(images)))
    grown.level.fade = lambda: Fade(2, 0.0)
    assert torch.equal(logits(grown, images), logits(small, halve(images)))
    del grown.level.fade
    grown.level.write(2 * DOUBLING - 1)
    torch.testing.assert_close(logits(grown, images), complete, atol=1e-5, rtol=0)
    grown.level.write(2 * DOUBLING)
    with torch.no_grad():
        grown.from_image[1].weight.fill_(torch.nan)
    assert torch.equal(logits(grown, images), complete)


def test_details_have_no_effect_before_they_fade_in():
    discriminator, images = create_discriminator(), normal(4, 3, 16, 16)
    smooth = enlarge(halve(images))
    for position, is_equal in [(DOUBLING, True), (DOUBLING + DOUBLING // 2, False)]:
        discriminator.level.write(position)
        assert torch.equal(logits(discriminator, images), logits(discriminator, smooth)) == is_equal


def test_weights_above_the_level_get_no_gradient():
    generator, discriminator = create_generator(), create_discriminator()
    for network in (generator, discriminator):
        network.level.write(DOUBLING)
    logits(discriminator, generator(normal(4, 7), None)).sum().backward()
    for network in (generator, discriminator):
        assert all(weight.grad is None for weight in network.blocks[1].parameters())
        assert all(weight.grad is not None for weight in network.blocks[0].parameters())


@pytest.mark.parametrize("layer", [EqualLinear(400, 200), EqualConv2d(40, 200, 3, gain=1.0)])
def test_equalised_layers_preserve_the_deviation(layer):
    initialise_equalised(layer, seeded())
    shape = (400,) if isinstance(layer, EqualLinear) else (40, 8, 8)
    output = layer(normal(40, *shape))
    inner = output if output.ndim == 2 else output[:, :, 1:-1, 1:-1]
    assert inner.std().item() == pytest.approx(1, rel=0.05)


def test_features_of_the_generator_have_mean_square_one():
    generator, maps = create_generator((64, 64, 64)), []
    for block in generator.blocks:
        block.register_forward_hook(lambda module, inputs, output: maps.append(output))
    generator(normal(4, 7), None)
    for each in maps:
        torch.testing.assert_close(each.square().mean(1), torch.ones_like(each[:, 0]))


def test_projection_adds_the_inner_product_with_a_vector_per_class():
    discriminator, images = create_discriminator(classes=3), normal(4, 3, 16, 16)
    features, labels = discriminator.features(images), torch.tensor([0, 1, 2, 0])
    vectors = discriminator.projection.weight / 6**0.5
    expected = discriminator.logits(features, None) + (features * vectors[labels]).sum(1)
    torch.testing.assert_close(discriminator.logits(features, labels), expected)


def test_labels_change_images():
    model = build(DataSpec((3, 16, 16), classes=3))
    images = model.generate(model.networks, normal(1, 6).expand(3, -1), torch.arange(3), DEFAULT_SAMPLING)
    assert model.num_classes == 3
    assert (images[0] - images[1]).abs().max() > 1e-3
    assert build(DataSpec((3, 16, 16), classes=3), conditional=False).num_classes == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [16, 128])
def test_sizes_and_channels(side, channels):
    model = build(DataSpec((channels, side, side)), levels=(4,), width=2, max_width=4)
    for level in range(model.networks["generator"].highest + 1):
        for network in model.networks.values():
            network.level.write(level * DOUBLING)
        images = model.generate(model.networks, normal(2, 6), None, DEFAULT_SAMPLING)
        assert images.shape == (2, channels, side, side)
        assert images.abs().max() <= 1
        assert logits(model.networks["discriminator"], images).shape == (2,)


def test_largest_size():
    model = build(DataSpec((3, 1024, 1024)), levels=(1024,), width=32, max_width=2)
    images = model.generate(model.networks, normal(1, 6), None, DEFAULT_SAMPLING)
    assert logits(model.networks["discriminator"], images).isfinite().all()


def test_levels_follow_the_progress_and_never_go_back(create_trainer):
    trainer = create_trainer("progan", shape=(3, 16, 16), **GROWING)
    expected = {0.0: 0.0, 0.3: 0.5, 0.5: 1.0, 0.7: 1.5, 0.9: 2.0, 0.4: 2.0}
    for progress, level in expected.items():
        run_step(trainer.state, trainer.reals, trainer.model.knobs, progress)
        levels = {network.level.read() for network in trainer.model.networks.values()}
        levels.add(trainer.state.averages["generator"].level.read())
        assert [each / DOUBLING for each in levels] == pytest.approx([level], abs=1e-6)


def test_real_samples_lose_the_details_that_fade_in(create_trainer):
    trainer = create_trainer("progan", shape=(3, 16, 16), penalty_interval=1, knobs={}, **GROWING)
    inputs, batch = trainer.record_inputs(), trainer.reals.batch(0)
    run_step(trainer.state, trainer.reals, trainer.model.knobs, 0.7)
    torch.testing.assert_close(inputs[0], fade_details(batch.real, Fade(2, 0.5), 2), atol=1e-5, rtol=0)
    trainer.model.logits(trainer.model.networks, batch, trainer.state.moment(trainer.model.knobs, 0.7))
    assert torch.equal(inputs[-1], inputs[0])


@pytest.mark.parametrize("preset", ["progan", "progan:paper"])
def test_resume_within_a_fade_is_exact(create_trainer, tmp_path, preset):
    options = {**GROWING, "shape": (3, 16, 16), "batch": 4, "classes": 2}

    def train(trainer, steps):
        for step in steps:
            run_step(trainer.state, trainer.reals, trainer.model.knobs, step / 12)

    def tensors(trainer):
        found = trainer.state.tensors()
        return {name: value.numpy().tobytes() for name, value in found.items() if not name.startswith("random/")}

    uninterrupted = create_trainer(preset, **options)
    train(uninterrupted, range(9))
    state = uninterrupted.state
    assert state.averages["generator"].level.fade().share < 1
    path = checkpoint.write(tmp_path, checkpoint.Checkpoint(state.step, state.tensors(), state.values()))
    train(uninterrupted, range(9, 12))
    resumed, loaded = create_trainer(preset, seed=9, **options), checkpoint.read(path)
    resumed.state.restore(loaded.tensors, loaded.values, path.name)
    train(resumed, range(9, 12))
    assert tensors(resumed) == tensors(uninterrupted)


def test_drift_is_the_mean_square_of_real_logits(create_trainer):
    trainer = create_trainer("progan", shape=(3, 16, 16), penalty_interval=1, knobs={}, **GROWING)
    without, result = trainer.loss("discriminator"), trainer.loss("discriminator", drift_weight=0.5)
    assert "drift" not in without.terms
    torch.testing.assert_close(result.terms["drift"], result.logit_real.square().mean())
    torch.testing.assert_close(result.total, without.total + 0.5 * result.terms["drift"])


def test_batch_that_groups_do_not_divide_raises(create_trainer):
    trainer = create_trainer("progan", shape=(3, 16, 16), batch=6, **GROWING)
    with pytest.raises(SettingError, match="use --batch-size 4 or 8"):
        trainer.step()
    create_trainer("progan", shape=(3, 16, 16), batch=6, deviation_group=3, **GROWING).step()
    probe = trainer.model.logits(
        trainer.model.networks, Batch(normal(6, 3, 16, 16)), trainer.state.moment(trainer.model.knobs, 0.0)
    )
    assert probe.shape == (6,)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 48, 48), "not 48 x 48; use --image-size 64"),
        ((3, 40, 40), "not 40 x 40; use --image-size 32"),
        ((3, 8, 8), "use --image-size 16"),
        ((3, 2048, 2048), "use --image-size 1024"),
        ((3, 64, 96), "not 96 x 64; use --image-size 64"),
        ((5, 32, 32), "1 to 4 channels, not 5; use --option data.channels=3"),
        ((1, 64), "not sequences; use --model dcgan"),
        ((2,), "not points; use --model mlp"),
    ],
)
def test_other_data_raise_with_the_nearest_size(shape, message):
    with pytest.raises(SettingError, match=message):
        build(DataSpec(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ()}, "powers of two from 4 on"),
        ({"levels": (2, 4)}, "powers of two from 4 on"),
        ({"levels": (8, 12)}, "powers of two"),
        ({"levels": (4, 16)}, "twice the one before"),
        ({"levels": (16, 32)}, "the data has only 16 x 16 pixels; use levels=16"),
        ({"growth": 1.0}, "growth = 1: it is a share of training, from 0 to below 1"),
        ({"fades": (0.2, 0.4, 0.6, 1.0)}, "must increase, from 0 to below 1"),
        ({"fades": (0.5, 0.2)}, "must increase"),
        ({"levels": (4,), "fades": (0.1, 0.2)}, "2 doublings from 4 to 16 pixels need 4 numbers"),
        ({"deviation_group": 0}, "deviation_group = 0"),
        ({"conditional": True}, "the data has no labels"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(SettingError, match=message):
        build(**options)


def test_levels_of_the_data_mean_no_growth(create_trainer):
    trainer = create_trainer("progan", shape=(3, 16, 16), **{**GROWING, "levels": (4, 8, 16), "fades": (0, 0, 0, 0)})
    trainer.step()
    assert trainer.model.networks["generator"].level.fade() == Fade(2, 1.0)
    model = build(levels=(16,))
    model.phases[0].loss(
        model.networks, Batch(normal(4, 3, 16, 16)), trainer.state.moment(model.knobs, 0.0)
    ).total.backward()
    assert model.networks["discriminator"].level.fade() == Fade(2, 1.0)
