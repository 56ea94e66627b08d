"""Combinations of losses and constraints, the effect of each option, and networks of published models."""

import itertools
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils import parametrize

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES
from equipoise.metrics.mixture_modes import MixtureModes
from equipoise.training.state import initial_state
from equipoise.training.step import run_step

CONSTRAINTS = ("none", "weight_clipping", "gradient_penalty", "spectral_norm")
# Every pair of values of two of: loss, constraint, fakes, number of classes.
COMBINATIONS = [
    (loss, constraint, ("fresh", "shared")[(a + b) % 2], (0, 10)[(a + b // 2) % 2])
    for (a, loss), (b, constraint) in itertools.product(enumerate(LOSSES), enumerate(CONSTRAINTS))
]
SIZES = (16, 32, 64, 128)
LAYERS = nn.Linear | nn.Conv2d


def build(name: str, shape: tuple[int, ...] = (1, 32, 32), classes: int = 0, **options: object):
    return catalog.build("models", name, options).build(DataSpec(shape, classes), torch.Generator().manual_seed(0))


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def finite(tensors: dict[str, Tensor]) -> bool:
    return all(value.isfinite().all() for value in tensors.values() if value.is_floating_point())


@pytest.mark.parametrize(("loss", "constraint", "fakes", "classes"), COMBINATIONS)
def test_every_combination_trains_two_steps(
    create_trainer, loss: str, constraint: str, fakes: str, classes: int
) -> None:
    trainer = create_trainer(loss=loss, constraint=constraint, fakes=fakes, classes=classes, penalty_interval=2)
    before = {name: trainer.weights(name) for name in trainer.model.networks}
    records = [trainer.step() for _ in range(2)]
    assert not any(record.non_finite for record in records)
    assert finite(trainer.state.tensors())
    assert trainer.model.num_classes == classes
    for name, weights in before.items():
        assert any(not torch.equal(a, b) for a, b in zip(weights, trainer.weights(name), strict=True)), name


def test_weight_clipping_bounds_every_weight(create_trainer) -> None:
    trainer = create_trainer(constraint="weight_clipping", clip=0.02, knobs={"lr_d": 1e-2})
    for _ in range(3):
        trainer.step()
        weights = trainer.weights("discriminator")
        assert max(weight.abs().max().item() for weight in weights) == pytest.approx(0.02)
    assert max(weight.abs().max().item() for weight in trainer.weights("generator")) > 0.02


@pytest.mark.parametrize(("name", "classes"), [("dcgan", 0), ("dcgan", 10), ("sngan", 0)])
def test_spectral_norm_gives_layers_of_norm_one(create_trainer, name: str, classes: int) -> None:
    """The largest singular value of each layer is about 1, at the start and after some steps."""
    trainer = create_trainer(name, constraint="spectral_norm", classes=classes, penalty_interval=1)
    discriminator = trainer.model.networks["discriminator"]
    layers = [module for module in discriminator.modules() if isinstance(module, LAYERS)]
    assert len(layers) >= 3
    for _ in range(3):
        with torch.no_grad():
            norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item() for layer in layers]
        assert norms == pytest.approx([1.0] * len(layers), abs=0.05)
        trainer.step()
    assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)


def test_layers_are_unconstrained_without_the_option(create_trainer) -> None:
    modules = create_trainer(constraint="none").model.networks["discriminator"].modules()
    assert not any(parametrize.is_parametrized(module) for module in modules)


def count_generator_passes(trainer, **knobs: float) -> int:
    passes: list[int] = []
    hook = trainer.model.networks["generator"].register_forward_hook(lambda *_: passes.append(1))
    trainer.step(**knobs)
    hook.remove()
    return len(passes)


def test_shared_fakes_save_a_generator_pass(create_trainer) -> None:
    fresh, shared = (create_trainer(fakes=fakes, knobs={}) for fakes in ("fresh", "shared"))
    assert count_generator_passes(fresh) == 2
    assert count_generator_passes(shared) == 1
    assert count_generator_passes(fresh, discriminator_steps=3, generator_steps=2) == 5
    assert count_generator_passes(shared, discriminator_steps=3, generator_steps=2) == 4


def test_shared_fakes_give_the_gradient_of_the_generator_loss(create_trainer) -> None:
    """The generator's update is that of its loss on the fakes of the discriminator's phase."""
    trainer = create_trainer(fakes="shared", optimizer="sgd", knobs={"beta1": 0})
    before = trainer.weights("generator")
    source = trainer.random_numbers()
    trainer.step(lr_d=1e-6, lr_g=1e-2)
    reference = create_trainer(fakes="shared", optimizer="sgd", knobs={"beta1": 0})
    discriminator, generator = (reference.model.networks[name] for name in ("discriminator", "generator"))
    latent = torch.randn(8, 6, generator=source)
    loss = softplus(-discriminator.logits(discriminator.features(generator(latent, None)), None)).mean()
    expected = torch.autograd.grad(loss, list(generator.parameters()))
    for old, new, gradient in zip(before, trainer.weights("generator"), expected, strict=True):
        torch.testing.assert_close(old - new, 1e-2 * gradient, rtol=2e-2, atol=1e-6)


def test_shared_fakes_keep_their_labels(create_trainer) -> None:
    """With two discriminator updates, fakes have the labels of the second batch, and reals are of the first."""
    trainer = create_trainer(fakes="shared", classes=10, knobs={})
    conditions: list[Tensor] = []
    logits = trainer.model.networks["discriminator"].logits

    def spy(features: Tensor, condition: Tensor) -> Tensor:
        conditions.append(condition)
        return logits(features, condition)

    trainer.model.networks["discriminator"].logits = spy
    trainer.step(discriminator_steps=2)
    first, second = (trainer.reals.batch(index).condition for index in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(conditions[-1], second)


@pytest.mark.parametrize("loss", LOSSES)
def test_only_the_relativistic_generator_loss_depends_on_reals(create_trainer, loss: str) -> None:
    trainer = create_trainer(loss=loss, knobs={})
    one, other = trainer.reals.batch(0), Batch(-trainer.reals.batch(1).real.abs())
    first_loss, second_loss = trainer.loss("generator", one), trainer.loss("generator", other)
    assert (first_loss.total.item() != second_loss.total.item()) == (loss == "relativistic")


def test_relativistic_generator_loss_compares_fakes_with_reals(create_trainer) -> None:
    trainer = create_trainer(loss="relativistic", knobs={})
    batch, discriminator = trainer.reals.batch(0), trainer.model.networks["discriminator"]
    result = trainer.loss("generator", batch)
    real_logit = discriminator.logits(discriminator.features(batch.real), None)
    torch.testing.assert_close(result.total, softplus(-(result.logit_fake - real_logit)).mean())


def shapes_of(network: nn.Module) -> list[tuple[int, ...]]:
    return [
        tuple(module.weight.shape)
        for module in network.modules()
        if hasattr(module, "weight") and module.weight.dim() > 1
    ]


def test_lab32_has_the_networks_of_the_digits_lab() -> None:
    """100 -> 256 x 4 x 4 -> 128 x 8 x 8 -> 64 x 16 x 16 -> 1 x 32 x 32, and the reverse, without biases."""
    model = build("dcgan:lab32", (1, 32, 32), classes=10)
    generator, discriminator = model.networks["generator"], model.networks["discriminator"]
    assert shapes_of(generator) == [(256 * 16, 100), (256, 128, 4, 4), (128, 64, 4, 4), (64, 1, 4, 4)]
    assert shapes_of(discriminator) == [(64, 1, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (1, 256, 4, 4)]
    generator_count = 100 * 256 * 16 + 2 * 256 + 256 * 128 * 16 + 2 * 128 + 128 * 64 * 16 + 2 * 64 + 64 * 16
    discriminator_count = 64 * 16 + 64 * 128 * 16 + 2 * 128 + 128 * 256 * 16 + 2 * 256 + 256 * 16
    assert (generator_count, discriminator_count) == (1_066_880, 661_248)
    assert count(generator) == generator_count
    assert count(discriminator) == discriminator_count
    assert model.num_classes == 0


def test_celeba64_equals_the_dcgan_of_the_pytorch_tutorial() -> None:
    """The networks of the PyTorch tutorial have 3,576,704 and 2,765,568 weights."""
    model = build("dcgan:celeba64", (3, 64, 64))
    generator, discriminator = model.networks["generator"], model.networks["discriminator"]
    assert shapes_of(generator)[0] == (512 * 16, 100)
    assert shapes_of(generator)[1:] == [(512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert shapes_of(discriminator)[:-1] == [(64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4)]
    assert count(generator) == 3_576_704
    assert count(discriminator) == 2_765_568


@pytest.mark.parametrize("preset", ["lab32", "celeba64"])
def test_presets_follow_radford(preset: str) -> None:
    """Batch normalisation except in G's last and D's first layer, ReLU and tanh, leaky ReLU of slope 0.2."""
    model = build(f"dcgan:{preset}", (3, 64, 64))
    generator, discriminator = (
        [type(m).__name__ for m in model.networks[n].modules()] for n in sorted(model.networks)[::-1]
    )
    assert generator.count("WholeBatchNorm2d") == generator.count("ReLU") == 4
    assert generator[-2:] == ["ConvTranspose2d", "Tanh"]
    assert discriminator.count("WholeBatchNorm2d") == 3
    slopes = [m.negative_slope for m in model.networks["discriminator"].modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.2] * 4
    knobs = model.knobs
    assert (knobs.lr_g, knobs.lr_d, knobs.beta1, knobs.beta2) == (2e-4, 2e-4, 0.5, 0.999)
    assert not any((knobs.r1_gamma, knobs.r2_gamma, knobs.gp_weight, knobs.lecam_weight))


def test_initial_weights_follow_radford() -> None:
    model = build("dcgan:lab32")
    for network in model.networks.values():
        for module in network.modules():
            if isinstance(module, LAYERS | nn.ConvTranspose2d) and module.weight.numel() > 10_000:
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
            if isinstance(module, nn.BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_every_size_and_number_of_channels(name: str, size: int, channels: int) -> None:
    model = build(name, (channels, size, size), width=4)
    latent = model.latent(2, torch.Generator().manual_seed(0), None)
    samples = model.generate(model.networks, latent, None, DEFAULT_SAMPLING)
    assert samples.shape == (2, channels, size, size)
    assert -1 <= samples.min() <= samples.max() <= 1
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(samples), None).shape == (2,)


@pytest.mark.parametrize("shape", [(1, 24, 3), (1, 1032, 32), (5, 32, 32), (1, 3), (513, 64), (2,)])
def test_unsupported_shapes_raise(shape: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match="use --"):
        build("dcgan", shape)


def test_samples_and_logits_depend_on_the_label(create_trainer) -> None:
    model = create_trainer(classes=3).model
    latent = model.latent(2, torch.Generator().manual_seed(0), None)
    labels = [torch.tensor([0, 1]), torch.tensor([0, 2])]
    one, other = (
        model.generate({n: m.eval() for n, m in model.networks.items()}, latent, each, DEFAULT_SAMPLING)
        for each in labels
    )
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    discriminator = model.networks["discriminator"]
    first_logit, second_logit = (discriminator.logits(discriminator.features(one), each) for each in labels)
    assert first_logit[0] == second_logit[0]
    assert first_logit[1] != second_logit[1]


def test_conditional_needs_labels() -> None:
    with pytest.raises(SettingError, match="the data has no labels"):
        build("dcgan", conditional=True)
    assert build("dcgan", classes=10, conditional=False, width=4).num_classes == 0


def discriminator_settings(trainer, **knobs: float):
    moment = trainer.state.moment(trainer.model.knobs.with_values(knobs), 0.0)
    return trainer.model.optimizer("discriminator", moment)


def test_wgan_has_the_published_settings(create_trainer) -> None:
    """Arjovsky 2017, algorithm 1: RMSProp 5e-5, clip 0.01, five critic updates."""
    trainer = create_trainer("wgan", classes=10)
    settings, knobs = discriminator_settings(trainer), trainer.model.knobs
    assert (settings.kind, settings.lr, settings.weight_limit) == ("rmsprop", 5e-5, 0.01)
    assert (knobs.lr_g, knobs.discriminator_steps, knobs.generator_steps) == (5e-5, 5, 1)
    result = trainer.loss("discriminator")
    torch.testing.assert_close(result.total.detach(), result.logit_fake.mean() - result.logit_real.mean())
    result_g = trainer.loss("generator")
    torch.testing.assert_close(result_g.total, -result_g.logit_fake.mean())
    assert trainer.model.num_classes == 0


def test_wgan_gp_has_the_published_settings(create_trainer) -> None:
    """Gulrajani 2017, algorithm 1: lambda 10, five critic updates, Adam 1e-4 with betas 0 and 0.9; section 4."""
    trainer = create_trainer("wgan_gp")
    settings, knobs = discriminator_settings(trainer), trainer.model.knobs
    assert (settings.kind, settings.lr, settings.beta1, settings.beta2) == ("adam", 1e-4, 0.0, 0.9)
    assert (knobs.lr_g, knobs.gp_weight, knobs.discriminator_steps, settings.weight_limit) == (1e-4, 10, 5, None)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in trainer.model.networks["discriminator"].modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in trainer.model.networks["generator"].modules())
    terms = trainer.loss("discriminator").terms
    assert set(terms) == {"adversarial", "gradient_penalty"}


def test_sngan_has_the_published_settings(create_trainer) -> None:
    """Miyato 2018: hinge, spectral norm in every layer, Adam 2e-4 with betas 0.5 and 0.999, one critic update."""
    trainer = create_trainer("sngan")
    settings, knobs = discriminator_settings(trainer), trainer.model.knobs
    assert (settings.kind, settings.lr, settings.beta1, settings.beta2) == ("adam", 2e-4, 0.5, 0.999)
    assert (knobs.lr_g, knobs.discriminator_steps) == (2e-4, 1)
    layers = [module for module in trainer.model.networks["discriminator"].modules() if isinstance(module, LAYERS)]
    assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)
    result = trainer.loss("discriminator")
    expected = (1 - result.logit_real).relu().mean() + (1 + result.logit_fake).relu().mean()
    torch.testing.assert_close(result.total.detach(), expected)


def test_sngan_discriminator_equals_table_3() -> None:
    """64 3x3, 64 4x4/2, 128 3x3, 128 4x4/2, 256 3x3, 256 4x4/2, 512 3x3 for 32 x 32 images, and a dense layer."""
    model = build("sngan", (3, 32, 32), width=64)
    layers = [m for m in model.networks["discriminator"].modules() if isinstance(m, nn.Conv2d)]
    result = [(layer.out_channels, layer.kernel_size[0], layer.stride[0]) for layer in layers]
    assert result[:6] == [(64, 3, 1), (64, 4, 2), (128, 3, 1), (128, 4, 2), (256, 3, 1), (256, 4, 2)]
    assert result[6][1:] == (3, 1)
    assert result[7] == (1, 4, 1)


def after_three_steps(create_trainer, seed: int) -> dict[str, bytes]:
    trainer = create_trainer(classes=10, seed=seed, constraint="gradient_penalty")
    for _ in range(3):
        trainer.step(augment_p=0.3, instance_noise=0.1)
    return {name: value.numpy().tobytes() for name, value in trainer.state.tensors().items() if "/" in name}


def test_same_seed_gives_the_same_bytes(create_trainer) -> None:
    one, same, other = (after_three_steps(create_trainer, seed) for seed in (1, 1, 2))
    weights = [name for name in one if name.startswith("network/") and re.search(r"weight", name)]
    assert all(one[name] == same[name] for name in one if not name.startswith(("random/torch", "random/numpy")))
    assert all(one[name] != other[name] for name in weights)


def test_mlp_learns_the_ring() -> None:
    """In 300 steps, from no high-quality sample to all modes and at least a third of the samples."""
    data = catalog.build("data", "ring", {"std": 0.05})
    recipe = catalog.build("models", "mlp", {"width": 128, "latent_dim": 2})
    model = recipe.build(data.spec, torch.Generator().manual_seed(0))
    state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))
    statistics = MixtureModes().statistics(data.stream("held_out", 1000, 0).batch(0))
    latent, stream = model.latent(1000, torch.Generator().manual_seed(1), None), data.stream("train", 128, 0)
    knobs = model.knobs.with_values({"r1_gamma": 0.05, "r2_gamma": 0, "ema_half_life": 2000})

    def counts():
        with torch.no_grad():
            return MixtureModes().counts(
                statistics, model.generate(state.sampling_networks, latent, None, DEFAULT_SAMPLING)
            )

    start = counts()
    for _ in range(300):
        run_step(state, stream, knobs, 0.0)
    end = counts()
    assert start.high_quality < 0.05
    assert end.high_quality > 0.33
    assert end.modes == 8
