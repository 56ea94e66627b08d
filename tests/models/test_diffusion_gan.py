"""Diffusion-GAN: noise by statistics, the time as an input of the discriminator, no diffusion as the base model."""

import itertools

import pytest
import torch
from torch import Generator
from torch.nn.functional import softplus

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.models._diffusion import sample_times
from equipoise.models._noisy_samples import NoisySamples

PRIVATE = {"penalty_interval": 4, "fakes": "shared"}
KNOBS = {"r1_gamma": 0.5, "r2_gamma": 0.5, "lecam_weight": 0.1, "feature_matching_weight": 0.1, "instance_noise": 0.1}


def build(shape=(1, 16, 16), classes=0, **options):
    options = {"width": 4, "latent_dim": 6, **options}
    return catalog.build("models", "diffusion_gan", options).build(DataSpec(shape, classes), Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("base", "shape", "classes", "options"),
    [
        ("dcgan", (1, 16, 16), 3, {}),
        ("dcgan", (3, 9, 20), 0, {"fakes": "fresh", "penalty_interval": 1}),
        ("dcgan", (2, 32), 0, {}),
        ("mlp", (2,), 0, {"width": 16, "latent_dim": 2}),
    ],
)
def test_without_diffusion_it_is_the_base_model_to_the_bit(create_trainer, base, shape, classes, options) -> None:
    """Weights after five steps, with every penalty, noise and augmentation."""
    options = {**PRIVATE, "loss": "non_saturating", "width": 4, "latent_dim": 6, **options}
    knobs = {**KNOBS, **({} if base == "mlp" else {"augment_p": 0.3})}
    trainers = [create_trainer(model, shape, classes, **options) for model in (base, "diffusion_gan")]
    for _ in range(5):
        plain = trainers[0].step(**knobs)
        diffused = trainers[1].step(**knobs, diffusion_steps=0)
        assert torch.equal(plain.phases["discriminator"].total, diffused.phases["discriminator"].total)
    networks = [trainer.model.networks for trainer in trainers]
    assert all(map(torch.equal, networks[0]["generator"].parameters(), networks[1]["generator"].parameters()))
    wrapped = networks[1]["discriminator"].discriminator
    assert all(map(torch.equal, networks[0]["discriminator"].parameters(), wrapped.parameters()))


def test_half_of_the_samples_are_clean_and_later_times_have_priority() -> None:
    times = sample_times(100_000, 4, "priority", Generator().manual_seed(0))
    shares = times.bincount(minlength=5) / len(times)
    assert shares.tolist() == pytest.approx([0.5, 0.05, 0.1, 0.15, 0.2], abs=0.006)
    times = sample_times(100_000, 4, "uniform", Generator().manual_seed(0))
    assert (times.bincount(minlength=5) / len(times)).tolist() == pytest.approx([0.5, *[0.125] * 4], abs=0.006)


@pytest.mark.parametrize("steps", [1, 10, 999, 1000])
@pytest.mark.parametrize("times", ["priority", "uniform"])
def test_times_reach_from_zero_to_the_length(steps: int, times) -> None:
    drawn = sample_times(20_000, steps, times, Generator().manual_seed(1))
    assert (drawn.min(), drawn.max()) == (0, steps)
    nearly_all = drawn[drawn > 0].float().mean() / steps
    assert nearly_all == pytest.approx(
        (2 * steps + 1) / (3 * steps) if times == "priority" else (steps + 1) / (2 * steps), abs=0.02
    )


def test_inputs_of_the_discriminator_have_the_law_of_the_chain(create_trainer) -> None:
    """Constant images of 0.6 with time t have mean sqrt(a_t) 0.6 and deviation 0.05 sqrt(1 - a_t)."""
    trainer = create_trainer("diffusion_gan", (1, 16, 16), batch=400)
    inputs = trainer.record_inputs()
    batch = trainer.reals.batch(0)
    batch.real[:] = 0.6
    trainer.loss("discriminator", batch, diffusion_steps=300.4)
    assert len(inputs) == 2, "reals and fakes"
    noisy = NoisySamples.unpack(inputs[0])
    beta = torch.linspace(1e-4, 0.02, 300, dtype=torch.float64)
    shares = torch.cat([beta.new_ones(1), (1 - beta).cumprod(0)])[noisy.time]
    means, deviations = noisy.samples.mean((1, 2, 3)), noisy.samples.std((1, 2, 3))
    assert torch.allclose(means.double(), 0.6 * shares.sqrt(), atol=0.05 * 4.5 / 16)
    assert torch.allclose(deviations.double(), 0.05 * (1 - shares).sqrt(), atol=0.05 * 0.2)
    assert len(noisy.time.unique()) > 100, "a time per image"
    assert not torch.equal(noisy.time, NoisySamples.unpack(inputs[1]).time)


def test_the_generator_is_trained_through_the_diffusion(create_trainer) -> None:
    trainer = create_trainer("diffusion_gan", fakes="fresh", knobs={"diffusion_steps": 300.0})
    inputs = trainer.record_inputs()
    loss = trainer.loss("generator")
    (packed,) = inputs
    discriminator = trainer.model.networks["discriminator"]
    expected = softplus(-discriminator.logits(discriminator.features(packed), None)).mean()
    assert torch.allclose(loss.total, expected)
    loss.total.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in trainer.model.networks["generator"].parameters())


def test_r1_does_not_penalise_the_slope_in_time(create_trainer) -> None:
    trainer = create_trainer("diffusion_gan", knobs={"diffusion_steps": 300.0, "r1_gamma": 1.0}, penalty_interval=1)
    inputs = trainer.record_inputs()
    loss = trainer.loss("discriminator")
    noisy = NoisySamples.unpack(inputs[0])
    samples = noisy.samples.detach().requires_grad_()
    discriminator = trainer.model.networks["discriminator"]
    packed = NoisySamples(samples, noisy.time).pack()
    logits = discriminator.logits(discriminator.features(packed), None)
    (slope,) = torch.autograd.grad(logits.sum(), samples)
    assert torch.allclose(loss.terms["r1"], slope.square().sum((1, 2, 3)).mean() / 2, rtol=1e-5)


def test_the_time_has_an_effect_except_at_zero() -> None:
    discriminator = build().networks["discriminator"]
    samples = torch.randn(2, 1, 16, 16, generator=Generator().manual_seed(0))
    plain = discriminator.discriminator.features(samples)
    features = [
        discriminator.features(NoisySamples(samples, torch.full((2,), time)).pack()) for time in (0, 1, 500, 1000)
    ]
    assert torch.equal(features[0], plain)
    assert all((one - other).abs().max() > 1e-3 for one, other in itertools.pairwise(features))


@pytest.mark.parametrize("shape", [(2,), (3, 7), (2, 4, 5)])
def test_packing_keeps_samples_and_times(shape) -> None:
    samples = torch.randn(4, *shape, generator=Generator().manual_seed(0))
    time = torch.tensor([0, 1, 999, 1000])
    packed = NoisySamples(samples.bfloat16(), time).pack()
    assert packed.shape == (4, shape[0] + 1, *shape[1:])
    assert packed.dtype == torch.float32
    unpacked = NoisySamples.unpack(packed)
    assert torch.equal(unpacked.samples, samples.bfloat16().float())
    assert torch.equal(unpacked.time, time)


def test_spectral_norm_covers_the_time_layer(create_trainer) -> None:
    trainer = create_trainer("diffusion_gan", constraint="spectral_norm", knobs={"diffusion_steps": 300.0})
    trainer.step()
    assert torch.linalg.matrix_norm(trainer.model.networks["discriminator"].scale.weight, 2) < 1.5


def test_probe_of_reals_has_the_noise_of_training(create_trainer) -> None:
    """So that the signals, and a controller of T, see what the discriminator sees: r_d = E sign(D(x_t, t))."""
    trainer = create_trainer("diffusion_gan", knobs={"diffusion_steps": 500.0})
    inputs = trainer.record_inputs()
    trainer.model.logits(trainer.model.networks, trainer.reals.batch(0), trainer.state.moment(trainer.model.knobs, 0.0))
    assert NoisySamples.unpack(inputs[0]).time.max() > 0


def test_the_knob_is_turnable_and_bounded() -> None:
    model = build(knobs={"diffusion_steps": 10})
    assert "diffusion_steps" in model.turnable
    assert model.knobs.diffusion_steps == 10
    with pytest.raises(SettingError, match="diffusion_steps = 1001 is outside its range: 0 to 1000"):
        build(knobs={"diffusion_steps": 1001})


def test_invalid_options_are_refused() -> None:
    with pytest.raises(SettingError, match="noise = 0: it must be above 0"):
        build(noise=0)
    with pytest.raises(SettingError, match="conditional = true, but the data has no labels"):
        build(conditional=True)


def test_points_preset_is_built() -> None:
    model = catalog.build("models", "diffusion_gan:points").build(DataSpec((2,)), Generator().manual_seed(0))
    assert sum(weight.numel() for weight in model.networks["generator"].parameters()) == 67_074


@pytest.mark.parametrize("steps", [0, 400])
def test_stylegan2_with_diffusion(create_trainer, steps: int) -> None:
    """Without diffusion the discriminator's loss is that of stylegan2, to the bit, also after an update."""
    plain, diffused = (
        create_trainer("stylegan2", diffusion=diffusion, fakes="fresh", penalty_interval=2)
        for diffusion in (False, True)
    )
    inputs = diffused.record_inputs()
    totals = [
        [trainer.step(**knobs).phases["discriminator"].total for _ in range(2)]
        for trainer, knobs in ((plain, {}), (diffused, {"diffusion_steps": steps}))
    ]
    assert all(map(torch.equal, *totals)) == (steps == 0)
    assert all(packed.shape[1] == (2 if steps else 1) for packed in inputs)
    assert "diffusion_steps" in diffused.model.turnable
    assert "diffusion_steps" not in plain.model.knobs.values()
