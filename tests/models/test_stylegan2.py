"""StyleGAN 2: parameter counts of the papers, training of fakes and styles, path length, sampling, sizes."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.models.stylegan2 import StyleGAN2

COUNTS = {
    # Karras 2020, table 1, F and E; Karras 2020 (limited data); Huang 2024, table 2; StudioGAN's log for CIFAR-10.
    ("stylegan2:ffhq1024", 1024, 0): (30_370_060, 29_012_513),
    ("stylegan2:ffhq1024_e", 1024, 0): (24_900_764, 24_038_161),
    ("stylegan2:paper256", 256, 0): (24_767_458, 24_001_089),
    ("stylegan2:cifar", 32, 0): (19_947_539, 20_720_641),
    ("stylegan2:cifar", 32, 10): (20_215_315, 23_089_664),
    ("stylegan2", 32, 0): (659_187, 871_585),
    ("stylegan2", 64, 0): (659_187 + 11_157, 871_585 + 7_408),  # 6,705 + 3,361 + 1,091; 7,472 - 64
}


def count(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def build(spec: DataSpec, **options: object):
    recipe = catalog.build("models", "stylegan2", {"width": 4, "latent_dim": 6, **options})
    return recipe.build(spec, torch.Generator().manual_seed(0))


def samples(model, count: int = 3, sampling: Sampling = DEFAULT_SAMPLING, labels: Tensor | None = None) -> Tensor:
    latent = model.latent(count, torch.Generator().manual_seed(1), None)
    with torch.no_grad():
        return model.generate(model.networks, latent, labels, sampling)


def randomise(model, mean: float = 0.5) -> None:
    """Give biases, strengths of noise and the mean style values that matter."""
    source = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.networks["generator"].parameters():
            if weight.dim() < 2:
                weight.add_(torch.randn(weight.shape, generator=source) * 0.3)
        model.networks["generator"].mapping.w_avg.fill_(mean)


@pytest.mark.parametrize(("name", "size", "classes"), COUNTS)
def test_parameter_counts(name: str, size: int, classes: int):
    with torch.device("meta"):
        networks = catalog.build("models", name).networks(DataSpec((3, size, size), classes), classes)
    counts = tuple(count(networks[key]) for key in ("generator", "discriminator"))
    assert counts == COUNTS[name, size, classes]


def test_mapping_network_of_the_paper_has_the_published_count():
    with torch.device("meta"):
        networks = catalog.build("models", "stylegan2:ffhq1024").networks(DataSpec((3, 64, 64)), 0)
    assert count(networks["generator"].mapping) == 2_101_248
    assert networks["generator"].synthesis.styles == 10  # 2 log2(64) - 2


@pytest.mark.parametrize("side", [32, 256, 1024])
def test_path_length_weight_of_2_is_the_weight_of_the_paper(side: int):
    """Karras 2020, appendix B: ln 2 / (r^2 (ln r - ln 2)), for y ~ N(0, 1) per pixel and squares summed over layers;
    lengths here divide the squares by the numbers of pixels and of layers."""
    with torch.device("meta"):
        networks = catalog.build("models", "stylegan2", {"width": 1}).networks(DataSpec((3, side, side)), 0)
    paper = math.log(2) / (side**2 * (math.log(side) - math.log(2)))
    assert 2 / (side**2 * networks["generator"].synthesis.styles) == pytest.approx(paper, rel=1e-12)
    assert catalog.build("models", "stylegan2:ffhq1024").knobs["path_length_weight"] == 2


@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_images_and_logits_have_about_unit_deviation_at_first(architecture: str):
    spec = DataSpec((3, 32, 32))
    model = catalog.build("models", "stylegan2", {"architecture": architecture}).build(
        spec, torch.Generator().manual_seed(0)
    )
    latent = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        images = model.networks["generator"](latent, None)
        features = model.networks["discriminator"].features(images)
    assert 0.4 < images.std() < 2.5
    assert 0.3 < features.square().mean().sqrt() < 3


def test_one_step_of_training_with_everything_on(create_trainer):
    trainer = create_trainer(
        "stylegan2", classes=3, label_layers=1, knobs={"path_length_weight": 2, "r1_gamma": 1, "augment_p": 0.2}
    )
    record = trainer.step()
    assert set(record.phases) == {"discriminator", "penalties", "generator", "path_length"}
    assert not record.non_finite
    assert record.phases["path_length"].terms["path_length"] > 0
    assert trainer.state.memory["path_length_mean"] > 0


def test_path_length_runs_every_k_steps_and_only_if_it_is_on(create_trainer):
    trainer = create_trainer("stylegan2", path_length_interval=3, knobs={})
    due = ["path_length" in trainer.step(path_length_weight=2).phases for _ in range(5)]
    assert due == [True, False, False, True, False]
    trainer = create_trainer("stylegan2", knobs={})
    assert "path_length" not in trainer.step().phases
    assert trainer.state.memory["path_length_mean"] == 0


def test_path_length_loss_is_weighted_by_its_knob_and_interval(create_trainer):
    totals = {
        (interval, weight): create_trainer("stylegan2", path_length_interval=interval, knobs={}).loss(
            "path_length", path_length_weight=weight
        )
        for interval, weight in itertools.product((1, 4), (0.5, 2))
    }
    penalty = totals[1, 0.5].terms["path_length"]
    assert all(
        loss.total.item() == pytest.approx(interval * weight * penalty.item(), rel=1e-5)
        for (interval, weight), loss in totals.items()
    )


def test_path_length_reaches_the_mapping_network_but_not_the_discriminator(create_trainer):
    trainer = create_trainer("stylegan2", knobs={})
    loss = trainer.loss("path_length", path_length_weight=2)
    mapping = trainer.model.networks["generator"].mapping
    gradients = torch.autograd.grad(loss.total, list(mapping.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("interval", [4, 8])
def test_lazy_phases_correct_the_settings_of_their_network(create_trainer, interval: int):
    trainer = create_trainer(
        "stylegan2", path_length_interval=interval, penalty_interval=16, knobs={"beta1": 0.5, "beta2": 0.99}
    )
    moment = trainer.state.moment(trainer.model.knobs, 0.0)
    plain = trainer.model.optimizer("generator", moment)
    assert (plain.lr, plain.beta1, plain.beta2) == (2e-4, 0.5, 0.99)
    knobs = trainer.model.knobs.with_values({"path_length_weight": 2, "r1_gamma": 1})
    moment = dataclasses.replace(moment, knobs=knobs)
    for network, c in (("generator", interval / (interval + 1)), ("discriminator", 16 / 17)):
        settings = trainer.model.optimizer(network, moment)
        assert (settings.lr, settings.beta1, settings.beta2) == pytest.approx((2e-4 * c, 0.5**c, 0.99**c))


def test_mean_style_moves_in_updates_of_the_generator_only(create_trainer):
    trainer = create_trainer("stylegan2", fakes="fresh", mixing=0.9, knobs={})
    mapping = trainer.model.networks["generator"].mapping
    trainer.loss("discriminator")
    assert not mapping.w_avg.any()
    latent = torch.randn(8, 6, generator=trainer.random_numbers())
    trainer.loss("generator")
    torch.testing.assert_close(mapping.w_avg, 0.005 * mapping(latent).mean(0))


def test_fakes_of_training_have_fresh_noise_and_mixed_styles(create_trainer):
    trainer = create_trainer("stylegan2", mixing=1.0, knobs={})
    generator = trainer.model.networks["generator"]
    calls: list[tuple[Tensor, list[Tensor]]] = []
    hook = generator.synthesis.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    trainer.step()
    trainer.step()
    hook.remove()
    (styles, noise), (_, later) = calls
    changes = (styles[:, 1:] != styles[:, :-1]).any(dim=2).sum(dim=1)
    assert changes.tolist() == [1] * 8, "with probability 1, every sample has two styles"
    assert [tuple(each.shape) for each in noise] == [(8, 1, side, side) for side in (4, 8, 8, 16, 16)]
    assert not torch.equal(noise[0], later[0])
    assert not torch.equal(noise[0][0], noise[0][1])
    assert torch.cat([each.flatten() for each in noise]).std().item() == pytest.approx(1, abs=0.05)


def test_mixing_has_its_probability_and_any_layer(create_trainer):
    trainer = create_trainer("stylegan2", mixing=0.5, knobs={}, batch=800)
    calls: list[Tensor] = []
    synthesis = trainer.model.networks["generator"].synthesis
    hook = synthesis.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0]))
    trainer.loss("generator")
    hook.remove()
    changes = (calls[0][:, 1:] != calls[0][:, :-1]).any(dim=2)
    assert changes.any(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert (changes.float().mean(dim=0) - 0.5 / 5).abs().max() < 0.04


def test_noise_and_mixing_can_be_off(create_trainer):
    trainer = create_trainer("stylegan2", mixing=0.0, noise=False, knobs={})
    calls: list[tuple[Tensor, None]] = []
    hook = trainer.model.networks["generator"].synthesis.register_forward_pre_hook(
        lambda _, inputs: calls.append(inputs)
    )
    trainer.step()
    hook.remove()
    ((styles, noise),) = calls
    assert noise is None
    assert torch.equal(styles, styles[:, :1].expand_as(styles))
    assert trainer.model.samplings == {"psi", "cutoff"}


def test_psi_moves_styles_to_their_mean():
    model = build(DataSpec((3, 16, 16)))
    randomise(model)
    full = samples(model)
    assert torch.equal(samples(model, sampling=Sampling(psi=1)), full)
    mean = samples(model, sampling=Sampling(psi=0))
    torch.testing.assert_close(mean, mean[:1].expand_as(mean))
    torch.testing.assert_close(samples(model, sampling=Sampling(psi=0, cutoff=0)), full)
    coarse = samples(model, sampling=Sampling(psi=0, cutoff=2))
    assert not torch.equal(coarse, full)
    assert not torch.equal(coarse[0], coarse[1])
    assert model.samplings == {"psi", "cutoff", "noise"}


def test_noise_of_samples_is_fixed_or_off():
    model = build(DataSpec((1, 16, 16)))
    assert torch.equal(samples(model), samples(model, sampling=Sampling(noise="none"))), "strengths are 0 at first"
    randomise(model)
    assert torch.equal(samples(model), samples(model, sampling=Sampling(noise="fixed")))
    assert not torch.equal(samples(model), samples(model, sampling=Sampling(noise="none")))


def test_space_of_styles_generates_the_same_samples():
    model = build(DataSpec((2, 16, 16), classes=3))
    randomise(model)
    labels, latent = torch.tensor([0, 1, 2]), model.latent(3, torch.Generator().manual_seed(1), None)
    sampling = Sampling(psi=0.7)
    styles = model.styles.map(model.networks, latent, labels, sampling)
    assert styles.shape == (3, 6, 6)
    images = model.styles.synthesize(model.networks, styles, sampling).clamp(-1, 1)
    assert torch.equal(images, model.generate(model.networks, latent, labels, sampling))
    assert model.styles.mean(model.networks).shape == (6,)


def test_pixels_are_clamped_in_samples_only():
    model = build(DataSpec((1, 16, 16)))
    with torch.no_grad():
        for output in model.networks["generator"].synthesis.outputs:
            output.bias.fill_(5)
    assert (samples(model) == 1).all()
    with torch.no_grad():
        assert model.networks["generator"](torch.zeros(1, 6), None).max() > 5


def test_labels_change_samples_and_logits():
    model = build(DataSpec((1, 16, 16), classes=3), label_layers=2)
    images = samples(model, labels=torch.tensor([0, 0, 0]))
    assert not torch.equal(images, samples(model, labels=torch.tensor([1, 1, 1])))
    discriminator = model.networks["discriminator"]
    features = discriminator.features(images)
    one, other = (discriminator.logits(features, torch.full((3,), label)) for label in (0, 1))
    assert one.shape == (3,)
    assert not torch.equal(one, other)
    squares = discriminator.label(torch.arange(3)).square().mean(dim=1)
    assert squares.max() < 10


def test_features_of_the_label_have_unit_mean_square_without_layers():
    model = build(DataSpec((1, 16, 16), classes=3))
    vectors = model.networks["discriminator"].label(torch.arange(3))
    torch.testing.assert_close(vectors.square().mean(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("shape", "start"),
    [
        *(((channels, 16, 16), (4, 4)) for channels in (1, 2, 3, 4)),
        *[((1, 64, 96), (4, 6)), ((1, 96, 64), (6, 4)), ((1, 16, 64), (4, 16)), ((3, 48, 48), (6, 6))],
    ],
)
@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_images_of_all_channels_and_ratios(shape: tuple[int, ...], start: tuple[int, int], architecture: str):
    model = build(DataSpec(shape), architecture=architecture, channel_base=64)
    images = samples(model, 2)
    assert images.shape == (2, *shape)
    assert model.networks["generator"].synthesis.constant.shape[2:] == start
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(images), None).shape == (2,)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 8), "--image-size 16"),
        ((3, 2048, 1024), "--image-size 1024"),
        ((3, 100, 100), "--image-size 96"),
        ((3, 60, 64), "--image-size 64"),
        ((3, 64, 90), "--image-size 88x64|--image-size 96x64"),
        ((7, 32, 32), "channels"),
        ((2,), "--model mlp"),
        ((1, 64), "--model dcgan"),
    ],
)
def test_other_data_raises_with_a_remedy(shape: tuple[int, ...], message: str):
    with pytest.raises(SettingError, match=message):
        build(DataSpec(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": 1.5}, "mixing = 1.5"),
        ({"mapping_lr": 0.0}, "mapping_lr = 0"),
        ({"mapping_layers": 0}, "mapping_layers = 0"),
        ({"label_layers": -1}, "label_layers = -1"),
        ({"path_length_interval": 0}, "path_length_interval = 0"),
        ({"channel_base": 0}, "channel_base = 0"),
        ({"conditional": True}, "the data has no labels"),
        ({"knobs": {"gp_weight": 1.0}}, "gp_weight has no effect"),
    ],
)
def test_bad_options_raise(options: dict[str, object], message: str):
    with pytest.raises(SettingError, match=message):
        build(DataSpec((1, 16, 16)), **options)


def test_batch_that_groups_do_not_divide_raises(create_trainer):
    trainer = create_trainer("stylegan2", batch=6)
    with pytest.raises(SettingError, match="--batch-size 4 or 8"):
        trainer.step()


def test_generator_alone_draws_no_random_numbers():
    model = build(DataSpec((1, 16, 16)))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    samples(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_unconditional_training_ignores_labels_of_the_data(create_trainer):
    trainer = create_trainer("stylegan2", classes=3, conditional=False, knobs={"path_length_weight": 1})
    one = trainer.loss("path_length")
    other = trainer.loss("path_length", Batch(trainer.reals.batch(0).real, torch.zeros(8, dtype=torch.int64)))
    assert torch.equal(one.total, other.total)
    assert StyleGAN2(conditional=False).build(DataSpec((1, 16, 16), 3), torch.Generator()).num_classes == 0
