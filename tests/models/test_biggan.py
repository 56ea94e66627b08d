"""BigGAN: numbers of parameters, chunks of the latent, truncation, orthogonal regularisation."""

import math

import pytest
import torch
from torch import nn

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.losses.orthogonality import filter_weights, orthogonality
from equipoise.models._biggan_routing import chunk_sizes
from equipoise.models.biggan import biggan_networks
from equipoise.nn import latents
from equipoise.nn.conditional_norm import ConditionalBatchNorm

CIFAR, DIGITS = DataSpec((3, 32, 32), classes=10), DataSpec((1, 16, 16), classes=3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def build(spec=DIGITS, seed=0, **options):
    small = {"width": 2, "latent_dim": 6, "embedding": 4}
    return catalog.build("models", "biggan", {**small, **options}).build(spec, seeded(seed))


def parameters(name, spec, **options):
    with torch.device("meta"):
        networks = biggan_networks(catalog.build("models", name, options), spec)
    return [sum(weight.numel() for weight in networks[key].parameters()) for key in ("generator", "discriminator")]


@pytest.mark.parametrize(
    ("name", "size", "classes", "options", "expected"),
    [
        ("biggan:imagenet128", 128, 1000, {}, [70_433_988, 87_982_370]),  # the authors' log
        ("biggan:cifar10", 32, 10, {}, [9_416_196, 2_415_170]),  # StudioGAN
        (
            "biggan:deep",
            32,
            10,
            {"layout": "constant", "width": 96, "latent_dim": 80, "attention": 16},
            [4_599_876, 415_010],  # StudioGAN
        ),
        ("biggan:deep", 128, 1000, {}, [50_244_484, 34_590_210]),
        ("biggan:deep", 256, 1000, {}, [55_736_708, 38_247_426]),
        ("biggan", 16, 10, {}, [158_980, 75_826]),
        ("biggan", 32, 10, {}, [550_724, 306_290]),
    ],
)
def test_numbers_of_parameters(name, size, classes, options, expected):
    assert parameters(name, DataSpec((3, size, size), classes=classes), **options) == expected


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 16, 64), (4, 32, 32)])
def test_samples_have_the_shape_of_the_data(shape, classes, deep):
    model = build(DataSpec(shape, classes=classes), deep=deep)
    labels = torch.arange(3) if classes else None
    samples = model.generate(model.networks, model.latent(3, seeded(), None), labels, DEFAULT_SAMPLING)
    assert samples.shape == (3, *shape)
    assert -1 <= samples.min() < samples.max() <= 1
    discriminator = model.networks["discriminator"]
    assert discriminator.logits(discriminator.features(samples), labels).shape == (3,)


@pytest.mark.parametrize("deep", [False, True])
def test_every_power_of_two_up_to_1024(deep):
    for size in (16, 64, 256, 1024):
        with torch.device("meta"):
            networks = biggan_networks(
                catalog.build("models", "biggan", {"width": 4, "deep": deep}), DataSpec((3, size, size), classes=2)
            )
            samples = networks["generator"](torch.randn(1, 60), torch.zeros(1, dtype=torch.int64))
            assert samples.shape == (1, 3, size, size)
            assert networks["discriminator"].features(samples).ndim == 2


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (DataSpec((1, 24, 32)), {}, "powers of two, not 32 x 24; use --image-size 32 or another power of two, or"),
        (DataSpec((1, 16, 16)), {"latent_dim": 2}, "latent_dim = 2: it must be at least 3"),
        (DataSpec((1, 16, 16)), {"embedding": 0}, "embedding = 0: it must be at least 1"),
    ],
)
def test_bad_input(spec, options, message):
    with pytest.raises(SettingError) as error:
        build(spec, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("latent_dim", "chunks", "expected"),
    [(120, 6, [20] * 6), (80, 4, [20] * 4), (5, 3, [2, 2, 1]), (60, 7, [9, 9, 9, 9, 8, 8, 8])],
)
def test_chunks_of_the_latent(latent_dim, chunks, expected):
    assert chunk_sizes(latent_dim, chunks) == expected


def test_each_size_reads_the_shared_embedding_and_its_own_chunk():
    routing = build().networks["generator"].routing
    latent, labels = torch.randn(3, 6), torch.tensor([0, 2, 1])
    inputs = routing(latent, labels)
    embedded = routing.embedding.weight[labels]
    assert torch.equal(inputs.first, latent[:, :2])
    assert torch.equal(inputs.conditions[0], torch.cat([embedded, latent[:, 2:4]], dim=1))
    assert torch.equal(inputs.conditions[1], torch.cat([embedded, latent[:, 4:]], dim=1))


def test_deep_networks_read_the_whole_latent_everywhere():
    routing = build(deep=True).networks["generator"].routing
    latent, labels = torch.randn(3, 6), torch.tensor([0, 2, 1])
    inputs = routing(latent, labels)
    expected = torch.cat([routing.embedding.weight[labels], latent], dim=1)
    assert all(torch.equal(part, expected) for part in (inputs.first, *inputs.conditions))


def test_deep_networks_need_no_number_per_size():
    model = build(deep=True, latent_dim=2)
    samples = model.generate(model.networks, model.latent(1, seeded(), None), torch.tensor([0]), DEFAULT_SAMPLING)
    assert samples.shape == (1, 1, 16, 16)


def test_conditions_of_zero_give_unconditional_normalisation():
    """An embedding and a chunk of 0 leave scale 1 and shift 0."""
    model = build()
    generator = model.networks["generator"]
    norms = [module for module in generator.modules() if isinstance(module, ConditionalBatchNorm) and module.gain]
    assert len(norms) == 4
    x = torch.randn(2, norms[0].norm.num_features, 3, 3)
    condition = torch.zeros(2, 6)
    assert torch.equal(norms[0](x, condition), norms[0].norm(x))


def test_embedding_is_not_normalised_spectrally():
    generator = build().networks["generator"]
    assert isinstance(generator.routing.embedding.weight, nn.Parameter)
    assert not any("routing" in name for name, _ in generator.named_parameters() if "parametrizations" in name)


@pytest.mark.parametrize(("truncation", "std"), [(2.0, 0.8796), (1.0, 0.5396), (0.5, 0.2839), (0.04, 0.0231)])
def test_moments_of_truncated_latents(truncation, std):
    """Var = 1 - 2 T phi(T) / (2 Phi(T) - 1) of a normal variable within [-T, T]."""
    inside = math.erf(truncation / math.sqrt(2))
    density = math.exp(-(truncation**2) / 2) / math.sqrt(2 * math.pi)
    exact = math.sqrt(1 - 2 * truncation * density / inside)
    assert exact == pytest.approx(std, abs=1e-4)
    drawn = latents.normal(4000, 60, seeded(), truncation)
    assert drawn.abs().max() <= truncation
    assert drawn.std().item() == pytest.approx(exact, rel=5e-3)
    assert drawn.mean().item() == pytest.approx(0, abs=5e-3)


def trained(create_trainer):
    trainer = create_trainer("biggan", shape=(1, 8, 8), classes=3, width=2, embedding=4)
    for _ in range(3):
        trainer.step(lr_g=1e-3)
    return trainer


def sample(trainer, truncation, networks=None):
    model = trainer.model
    latent, labels = model.latent(5, seeded(4), truncation), torch.arange(5) % 3
    networks = trainer.state.sampling_networks if networks is None else networks
    with torch.no_grad():
        return model.generate(networks, latent, labels, Sampling(truncation=truncation))


def test_truncated_samples_use_statistics_of_truncated_latents(create_trainer):
    """The maps before the last layer are normal for truncated latents, which they are not with running statistics."""
    trainer = trained(create_trainer)
    average = trainer.state.sampling_networks["generator"]
    outputs = []
    average.norm.norm.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    model = trainer.model
    latent, labels = model.latent(256, seeded(9), 0.1), torch.arange(256) % 3
    with torch.no_grad():
        model.generate(trainer.state.sampling_networks, latent, labels, Sampling(truncation=0.1))
        average(latent, labels)
    weight, shift = average.norm.norm.weight, average.norm.norm.bias
    errors = []
    for output in outputs[-2:]:
        normal = (output - shift[:, None, None]) / weight[:, None, None]
        errors.append((normal.var((0, 2, 3)).log().abs().max() + normal.mean((0, 2, 3)).abs().max()).item())
    assert errors[0] < 0.2
    assert errors[1] > 3 * errors[0]


def test_sampling_is_deterministic_and_changes_no_network(create_trainer):
    trainer = trained(create_trainer)
    before = [tensor.clone() for tensor in trainer.state.tensors().values()]
    first = sample(trainer, 0.5)
    assert torch.equal(sample(trainer, 0.5), first)
    assert torch.equal(sample(trainer.copy(), 0.5), first)
    after = list(trainer.state.tensors().values())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_statistics_are_estimated_once_per_truncation_and_version(create_trainer, monkeypatch):
    trainer = trained(create_trainer)
    calls = []
    module = "equipoise.models._truncation.standing_statistics"
    from equipoise.nn.conditional_norm import standing_statistics

    monkeypatch.setattr(module, lambda *arguments: calls.append(1) or standing_statistics(*arguments))
    sample(trainer, None)
    assert not calls
    one, other = sample(trainer, 0.5), sample(trainer, 1.0)
    assert torch.equal(sample(trainer, 0.5), one)
    assert not torch.equal(one, other)
    assert len(calls) == 2
    trainer.step()
    sample(trainer, 0.5)
    assert len(calls) == 3


def test_without_truncation_the_running_statistics_are_used(create_trainer):
    trainer = trained(create_trainer)
    average = trainer.state.sampling_networks["generator"]
    expected = average(trainer.model.latent(5, seeded(4), None), torch.arange(5) % 3)
    assert torch.equal(sample(trainer, None), expected)


def test_orthogonal_penalty_is_a_term_of_the_generator(create_trainer):
    trainer = create_trainer("biggan", shape=(1, 8, 8), classes=3, width=2, embedding=4)
    for _ in range(2):
        trainer.step(lr_g=1e-2)
    generator = trainer.model.networks["generator"]
    off = trainer.copy().loss("generator", orthogonal_weight=0.0)
    on = trainer.copy().loss("generator", orthogonal_weight=0.5)
    penalty = orthogonality(filter_weights(generator))
    assert penalty > 1e-6
    assert "orthogonal" not in off.terms
    torch.testing.assert_close(on.terms["orthogonal"], penalty.detach())
    torch.testing.assert_close(on.total, off.total + 0.5 * penalty)
    assert "orthogonal" not in trainer.loss("discriminator", orthogonal_weight=0.5).terms


def test_orthogonal_penalty_adds_its_true_gradient(create_trainer):
    """beta 4 (W W^T * (1 - I)) W, for the weight before spectral normalisation."""
    trainer = create_trainer("biggan", classes=3, width=2, embedding=4)
    trainer.step(lr_g=1e-2)
    gradients = []
    for beta in (0.0, 0.25):
        copied = trainer.copy()
        weight = copied.model.networks["generator"].first.parametrizations.weight.original
        (gradient,) = torch.autograd.grad(copied.loss("generator", orthogonal_weight=beta).total, [weight])
        gradients.append(gradient)
    products = weight.detach() @ weight.detach().T
    products.fill_diagonal_(0)
    torch.testing.assert_close(gradients[1] - gradients[0], 0.25 * 4 * products @ weight.detach(), rtol=1e-3, atol=1e-5)


def test_orthogonal_regularisation_makes_filters_more_orthogonal(create_trainer):
    penalties = {}
    for beta in (0.0, 1.0):
        trainer = create_trainer("biggan", shape=(1, 8, 8), classes=3, width=2, embedding=4)
        for _ in range(8):
            trainer.step(lr_g=3e-3, orthogonal_weight=beta)
        penalties[beta] = orthogonality(filter_weights(trainer.model.networks["generator"])).item()
    assert penalties[1.0] < 0.75 * penalties[0.0]


def test_optimizer_has_the_epsilon_of_the_authors():
    model = build()
    from equipoise.core.model import Moment

    moment = Moment(0, 0, 0.0, model.knobs, seeded())
    assert [model.optimizer(network, moment).eps for network in ("generator", "discriminator")] == [1e-6, 1e-6]
    assert {"orthogonal_weight", "ema_half_life"} <= model.turnable
