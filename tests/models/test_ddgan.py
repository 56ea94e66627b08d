"""Denoising diffusion GAN: pairs of training, steps back, latents that name samples, networks."""

import itertools
import math

import pytest
import torch
from torch import Generator, nn
from torch.nn.functional import softplus

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import SettingError
from equipoise.models._ddgan import PairDiscriminator
from equipoise.models._ddgan_steps import DenoisingSteps
from equipoise.models._noisy_samples import NoisySamples
from equipoise.nn.noise_chain import continuous_chain

SHARES = continuous_chain(4, torch.device("cpu")).log_shares.exp()
SMALL = {"width": 8, "latent_dim": 6, "style_dim": 8, "discriminator_width": 8}


def build(shape=(1, 16, 16), classes=0, preset="ddgan", **options):
    options = {**SMALL, **options} if preset == "ddgan" else options
    return catalog.build("models", preset, options).build(DataSpec(shape, classes), Generator().manual_seed(0))


def latents(model, count=3, seed=0):
    return model.latent(count, Generator().manual_seed(seed), None)


def randomise(network: nn.Module) -> None:
    """Replace initial weights, many of which are 0, so that everything has an effect."""
    source = Generator().manual_seed(1)
    for weight in network.parameters():
        nn.init.normal_(weight, 0, 0.3, generator=source)


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


class Posterior(nn.Module):
    """A perfect generator for data N(0.3, 0.2²): draws x_0 from p(x_0 | x_t) with z as its random numbers."""

    def forward(self, noisy, time, latent, labels):
        share = SHARES[time][:, None, None, None]
        precision = 1 / 0.04 + share / (1 - share)
        mean = (0.3 / 0.04 + share.sqrt() / (1 - share) * noisy) / precision
        return mean + precision**-0.5 * latent.view_as(noisy)


@pytest.mark.parametrize("steps", [None, 1, 2, 3, 4])
def test_a_perfect_generator_gives_the_law_of_the_data_with_any_number_of_steps(steps) -> None:
    chain = DenoisingSteps(length=4, shape=(1, 8, 8), latent_dim=64, group=4)
    latent = torch.randn(600, chain.latent_size, generator=Generator().manual_seed(0))
    images = chain.generate({"generator": Posterior()}, latent, None, Sampling(steps=steps))
    assert images.mean().item() == pytest.approx(0.3, abs=0.005)
    assert images.std().item() == pytest.approx(0.2, rel=0.02)
    assert images.shape == (600, 1, 8, 8)


def test_times_of_the_steps() -> None:
    chain = DenoisingSteps(length=4, shape=(1, 8, 8), latent_dim=2, group=4)
    assert [chain.times(steps) for steps in (None, 4, 3, 2, 1)] == [
        (4, 3, 2, 1),
        (4, 3, 2, 1),
        (4, 3, 2),
        (4, 2),
        (4,),
    ]
    with pytest.raises(SettingError, match="steps = 5: this ddgan has 4 denoising steps; use a number from 1 to 4"):
        chain.times(5)


def test_a_latent_names_a_sample() -> None:
    """Without the global generator, whatever it is generated with; all of its numbers have an effect."""
    model = build()
    randomise(model.networks["generator"])
    latent = latents(model)
    assert latent.shape == (3, 4 * (256 + 6))
    images = model.generate(model.networks, latent, None, DEFAULT_SAMPLING)
    torch.manual_seed(7)
    assert torch.allclose(model.generate(model.networks, latent[1:2], None, DEFAULT_SAMPLING)[0], images[1], atol=1e-4)
    latent.requires_grad_()
    model.generate(model.networks, latent, None, DEFAULT_SAMPLING).square().sum().backward()
    assert (latent.grad != 0).float().mean() > 0.99


def test_fewer_steps_use_the_first_numbers_of_the_latent() -> None:
    model = build()
    nn.init.normal_(model.networks["generator"].network.exit.weight, generator=Generator().manual_seed(1))
    latent = latents(model)
    changed = latent.clone()
    changed[:, 256 + 6 + 256 + 6 :] = 0
    for steps, is_equal in ((1, True), (2, True), (3, False)):
        sampling = Sampling(steps=steps)
        images = [model.generate(model.networks, each, None, sampling) for each in (latent, changed)]
        assert torch.equal(*images) == is_equal, steps


def test_only_steps_act_in_sampling() -> None:
    assert build().samplings == {"steps"}


def test_pairs_of_training_have_the_law_of_the_chain(create_trainer) -> None:
    """For images of 0.6: x_{t-1} and x_t have means sqrt(a) 0.6, deviations sqrt(1 - a), and their covariance."""
    trainer = create_trainer("ddgan", (1, 8, 8), batch=200, **SMALL)
    inputs = trainer.record_inputs()
    batch = trainer.reals.batch(0)
    batch.real[:] = 0.6
    trainer.loss("discriminator", batch)
    real, fake = map(NoisySamples.unpack, inputs)
    assert torch.equal(real.time, fake.time)
    assert torch.equal(real.samples[:, 1:], fake.samples[:, 1:]), "the same x_t"
    assert not torch.equal(real.samples[:, :1], fake.samples[:, :1])
    assert set(real.time.tolist()) == {1, 2, 3, 4}
    for time in range(1, 5):
        before, after = real.samples[real.time == time].double().unbind(1)
        noise = 4 / math.sqrt(before.numel())
        for images, share in ((before, SHARES[time - 1].item()), (after, SHARES[time].item())):
            assert images.mean().item() == pytest.approx(0.6 * math.sqrt(share), abs=noise)
            assert images.std().item() == pytest.approx(math.sqrt(1 - share), rel=noise, abs=1e-3)
        covariance = ((before - before.mean()) * (after - after.mean())).mean().item()
        factor = math.sqrt(SHARES[time].item() / SHARES[time - 1].item())
        assert covariance == pytest.approx(factor * (1 - SHARES[time - 1].item()), abs=noise)


def test_fakes_are_steps_back_from_the_guess(create_trainer) -> None:
    """With t = 1, x'_0 itself; the generator is trained through the step back."""
    trainer = create_trainer("ddgan", (1, 8, 8), batch=40, fakes="fresh", **SMALL)
    randomise(trainer.model.networks["discriminator"])
    inputs = trainer.record_inputs()
    loss = trainer.loss("generator")
    (packed,) = inputs
    fake = NoisySamples.unpack(packed)
    assert torch.equal(fake.samples[fake.time == 1, 0], torch.zeros_like(fake.samples[fake.time == 1, 0])), "tanh 0"
    discriminator = trainer.model.networks["discriminator"]
    expected = softplus(-discriminator.logits(discriminator.features(packed), None)).mean()
    assert torch.allclose(loss.total, expected)
    loss.total.backward()
    assert trainer.model.networks["generator"].network.exit.weight.grad.abs().sum() > 0


def test_shared_fakes_keep_their_pairs_and_times(create_trainer) -> None:
    trainer = create_trainer("ddgan", classes=3, fakes="shared", loss="relativistic", knobs={}, **SMALL)
    inputs = trainer.record_inputs()
    trainer.step()
    real, fake, again, real_again = inputs
    assert torch.equal(fake, again)
    assert torch.equal(real, real_again)


def test_r1_is_the_slope_at_the_earlier_image_alone(create_trainer) -> None:
    trainer = create_trainer("ddgan", knobs={"r1_gamma": 1.0}, penalty_interval=1, **SMALL)
    randomise(trainer.model.networks["discriminator"])
    inputs = trainer.record_inputs()
    loss = trainer.loss("discriminator")
    noisy = NoisySamples.unpack(inputs[0])
    before, after = noisy.samples.detach().split(1, dim=1)
    before.requires_grad_()
    discriminator = trainer.model.networks["discriminator"]
    packed = NoisySamples(torch.cat([before, after], dim=1), noisy.time).pack()
    logits = discriminator.logits(discriminator.features(packed), None)
    (slope,) = torch.autograd.grad(logits.sum(), before)
    assert slope.abs().max() > 0
    assert torch.allclose(loss.terms["r1"], slope.square().sum((1, 2, 3)).mean() / 2, rtol=1e-5)


def test_discriminator_sees_both_images_and_the_time() -> None:
    discriminator = build().networks["discriminator"]
    randomise(discriminator)
    pairs = torch.randn(4, 2, 16, 16, generator=Generator().manual_seed(0))
    time = torch.full((4,), 2)
    plain = discriminator.features(NoisySamples(pairs, time).pack())
    for change in (pairs * torch.tensor([1.0, 2.0])[None, :, None, None], pairs.flip(1)):
        assert not torch.allclose(discriminator.features(NoisySamples(change, time).pack()), plain)
    assert not torch.allclose(discriminator.features(NoisySamples(pairs, time + 1).pack()), plain)


def test_labels_enter_both_networks() -> None:
    model = build(classes=3)
    assert model.num_classes == 3
    for network in model.networks.values():
        randomise(network)
    one, other = (
        model.generate(model.networks, latents(model), torch.full((3,), label), DEFAULT_SAMPLING) for label in (0, 2)
    )
    assert not torch.allclose(one, other)
    discriminator = model.networks["discriminator"]
    features = torch.randn(2, discriminator.last.in_features, generator=Generator().manual_seed(0))
    difference = discriminator.logits(features, torch.tensor([0, 2])) - discriminator.logits(features, None)
    rows = discriminator.projection.weight[[0, 2]]
    assert torch.allclose(difference, (rows * features).sum(1), atol=1e-5)


def test_parameters_of_the_discriminator_by_hand() -> None:
    """Of the preset: 128 channels at 32 and 16 pixels, 256 at 8, 512 at 4 (Xiao 2022's code for small images)."""
    with torch.device("meta"):
        discriminator = PairDiscriminator(3, (32, 32), 128, group=4, length=4)
    widths = [128, 128, 256, 512, 512]
    blocks = sum(
        9 * before * after + after + 9 * after**2 + after + 128 * after + after + before * after
        for before, after in itertools.pairwise(widths)
    )
    embedding = 2 * (128 * 128 + 128)
    assert count(discriminator) == 6 * 128 + 128 + embedding + blocks + 9 * 513 * 512 + 512 + 512 + 1


def test_preset_of_the_paper() -> None:
    model = build((3, 32, 32), preset="ddgan:cifar10")
    assert count(model.networks["discriminator"]) == 12_462_849
    assert count(model.networks["generator"]) == 39_646_339
    assert model.num_classes == 0
    decay = 0.5 ** (256 / model.knobs.ema_half_life)
    assert decay == pytest.approx(0.9999, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24), (4, 32, 32)])
def test_sizes(shape) -> None:
    model = build(shape)
    images = model.generate(model.networks, latents(model, 2), None, DEFAULT_SAMPLING)
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("option", ["width", "discriminator_width"])
def test_odd_widths(create_trainer, option: str) -> None:
    assert not create_trainer("ddgan", **{**SMALL, option: 9}).step().non_finite


def test_a_single_denoising_step_is_a_conditional_gan(create_trainer) -> None:
    trainer = create_trainer("ddgan", denoising_steps=1, **SMALL)
    assert not trainer.step().non_finite
    assert latents(trainer.model).shape == (3, 256 + 6)


def test_invalid_options_are_refused() -> None:
    for options, message in (
        ({"denoising_steps": 0}, "denoising_steps = 0: it must be at least 1"),
        ({"denoising_steps": 65}, "denoising_steps = 65: it must be at most 64; use edm"),
        ({"attention": -1}, "attention = -1"),
        ({"conditional": True}, "conditional = true, but the data has no labels"),
    ):
        with pytest.raises(SettingError, match=message):
            build(**options)
    with pytest.raises(SettingError, match="ddgan generates images, not points; use --model mlp"):
        build((2,))


def test_batches_that_groups_do_not_divide_are_refused(create_trainer) -> None:
    with pytest.raises(SettingError, match="use --batch-size 4 or 8"):
        create_trainer("ddgan", batch=6, **SMALL).loss("discriminator")
