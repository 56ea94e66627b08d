"""EDM: presets of the paper, distribution of noise levels, loss, labels and guidance, samplers, error messages."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import SettingError, UnknownNameError
from equipoise.models.edm import EDM, EDMKnobs, LogNormalNoise

CIFAR, FFHQ = DataSpec((3, 32, 32), classes=10, flips=True), DataSpec((3, 64, 64), flips=True)
LABELS = torch.tensor([0, 1, 2])


@pytest.fixture
def trainer(create_trainer):
    return create_trainer("edm", classes=3, width=8)


def fill_last_layer(trainer, std: float = 0.3) -> None:
    """Give the last layers weights, so that the network returns something."""
    source = torch.Generator().manual_seed(3)
    for weight in trainer.model.networks["generator"].parameters():
        if not weight.any():
            nn.init.normal_(weight, 0, std, generator=source)


def count_weights(name: str, spec: DataSpec, **options: object) -> int:
    with torch.device("meta"):
        model = catalog.build("models", name, options).build(spec, torch.Generator(device="cpu"))
    return sum(weight.numel() for weight in model.networks["generator"].parameters())


@pytest.mark.parametrize(
    ("name", "spec", "options", "weights"),
    [
        ("edm:cifar10", CIFAR, {}, 55_733_891),
        ("edm:cifar10", CIFAR, {"conditional": True}, 55_735_299),
        ("edm:cifar10", CIFAR, {"augment": False, "knobs": {}}, 55_732_739),
        ("edm:ffhq64", FFHQ, {}, 61_805_571),
        ("edm", DataSpec((1, 16, 16), classes=10), {}, 410_020),
        ("edm", CIFAR, {}, 715_356),
        ("edm", FFHQ, {}, 448_796),
    ],
)
def test_numbers_of_weights(monkeypatch, name: str, spec: DataSpec, options: dict[str, object], weights: int) -> None:
    """Those of the authors' logs, and of the defaults. On the meta device, where no weight is drawn."""
    monkeypatch.setattr("equipoise.models.edm.initialise_unet", lambda network, generator: None)
    assert count_weights(name, spec, **options) == weights


def test_there_is_one_player(trainer) -> None:
    model = trainer.model
    assert model.networks.keys() == {"generator"}
    assert model.logits is None
    assert not {"lr_d", "discriminator_steps"} & model.turnable
    assert {"lr_g", "beta1", "beta2", "ema_half_life", "augment_p", "noise_mean", "noise_std"} <= model.turnable


def test_noise_levels_of_training_are_log_normal() -> None:
    share = (torch.arange(100_000) + 0.5) / 100_000
    knobs = EDMKnobs().with_values({"noise_mean": -0.4, "noise_std": 0.8})
    logs = LogNormalNoise(EDM()).sample(share, knobs).double().log()
    assert logs.mean().item() == pytest.approx(-0.4, abs=1e-4)
    assert logs.std().item() == pytest.approx(0.8, abs=1e-3)
    within = ((logs + 0.4).abs() < 0.8).double().mean().item()
    assert within == pytest.approx(math.erf(1 / math.sqrt(2)), abs=1e-4)


def test_terms_are_means_over_quarters_of_the_noise_levels(trainer) -> None:
    loss = trainer.loss("generator")
    assert list(loss.terms) == ["lowest_noise", "low_noise", "high_noise", "highest_noise"]
    torch.testing.assert_close(torch.stack(list(loss.terms.values())).mean(), loss.total.detach())
    assert loss.logit_real is None
    assert loss.logit_fake is None


def test_low_noise_is_in_the_first_quarter(trainer) -> None:
    """F = 0: the loss at σ is (σ² ρ² / d² + d²) / (σ² + d²), 1 for little noise, and (ρ / d)² for much."""
    y = torch.full((400, 1, 8, 8), 0.9)
    terms = trainer.loss("generator", Batch(y, torch.zeros(400, dtype=torch.int64))).terms
    assert terms["lowest_noise"].item() == pytest.approx(1.0, abs=0.1)
    assert terms["highest_noise"].item() == pytest.approx((0.9 / 0.5) ** 2, rel=0.25)
    values = [term.item() for term in terms.values()]
    assert values == sorted(values)


def test_loss_is_reproduced_by_its_generator_and_does_not_depend_on_the_average(trainer) -> None:
    assert torch.equal(trainer.loss("generator").total, trainer.loss("generator").total)


def test_labels_are_withheld_with_their_probability(create_trainer) -> None:
    trainer = create_trainer("edm", classes=3, width=8, label_dropout=0.25)
    seen: list[torch.Tensor] = []
    network = trainer.model.networks["generator"].network
    trainer.model.networks["generator"].network.embedding.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[1])
    )
    y = torch.zeros(2000, 1, 8, 8)
    assert network.layout.classes == 3
    trainer.loss("generator", Batch(y, torch.arange(2000) % 3))
    (labels,) = seen
    withheld = labels == -1
    assert withheld.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(labels[~withheld], (torch.arange(2000) % 3)[~withheld])


def test_the_latent_names_the_sample_for_every_sampler(trainer) -> None:
    fill_last_layer(trainer)
    model = trainer.model
    latent = model.latent(3, torch.Generator().manual_seed(0), None)
    assert latent.shape == (3, 1, 16, 16)
    for sampler in ("heun", "dpm_2m", "ddim", "ancestral"):
        sampling = Sampling(steps=5, sampler=sampler)
        with torch.no_grad():
            together = model.generate(model.networks, latent, LABELS, sampling)
            alone = model.generate(model.networks, latent[1:2], LABELS[1:2], sampling)
        torch.testing.assert_close(together[1:2], alone, rtol=1e-3, atol=1e-4)
        assert together.abs().max() <= 1
        assert together.std() > 0.05


def test_steps_are_evaluations(trainer) -> None:
    model, calls = trainer.model, []
    model.networks["generator"].register_forward_hook(lambda *_: calls.append(1))
    latent = model.latent(2, torch.Generator().manual_seed(0), None)
    for sampling, expected in (
        (Sampling(steps=1), 1),
        (Sampling(steps=4), 4),
        (Sampling(steps=7, sampler="heun"), 7),
        (Sampling(steps=3, guidance=2.0), 3),
        (DEFAULT_SAMPLING, EDM().sampling_steps),
        (model.preview_sampling, EDM().preview_steps),
    ):
        calls.clear()
        model.generate(model.networks, latent, LABELS[:2], sampling)
        assert len(calls) == expected, sampling


def test_guidance_extrapolates_from_the_unconditional_estimate(trainer) -> None:
    """One step from σ_max: D(x) + w (D(x, c) - D(x))."""
    fill_last_layer(trainer, 0.05)
    model = trainer.model
    latent = model.latent(3, torch.Generator().manual_seed(0), None)
    sigma = torch.full((3,), EDM().sigma_max)

    def once(labels: torch.Tensor | None, guidance: float | None) -> torch.Tensor:
        with torch.no_grad():
            return model.generate(model.networks, latent, labels, Sampling(steps=1, guidance=guidance))

    with torch.no_grad():
        conditional, plain = (
            model.denoising.denoise(model.networks, sigma[0] * latent, sigma, labels) for labels in (LABELS, None)
        )
    assert not torch.allclose(conditional, plain)
    for weight in (0.0, 0.5, 2.0):
        expected = (plain + weight * (conditional - plain)).clamp(-1, 1)
        torch.testing.assert_close(once(LABELS, weight), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(once(LABELS, 1.0), once(LABELS, None))


def test_learning_rate_rises_over_the_warm_up(create_trainer) -> None:
    trainer = create_trainer("edm", width=8, warmup=1000, knobs={"lr_g": 1e-3})
    rates = []
    for images in (0, 499, 999, 5000):
        moment = dataclasses.replace(trainer.state.moment(trainer.model.knobs, 0.0), images=images)
        rates.append(trainer.model.optimizer("generator", moment).lr)
    assert rates == pytest.approx([1e-6, 5e-4, 1e-3, 1e-3])


def test_augmentation_reaches_the_network_with_its_description(create_trainer) -> None:
    trainer = create_trainer("edm", width=8, augment=True)
    seen: list[torch.Tensor | None] = []
    trainer.model.networks["generator"].network.embedding.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[2])
    )
    trainer.loss("generator")
    trainer.loss("generator", augment_p=0.5)
    assert seen[0] is None
    assert seen[1] is not None
    assert seen[1].shape == (8, 9)


def test_training_reduces_the_loss(create_trainer) -> None:
    """On constant images: the network learns their value, first where the noise hides it."""
    trainer = create_trainer("edm", shape=(1, 8, 8), width=8, knobs={"lr_g": 3e-3})
    batch = Batch(torch.full((32, 1, 8, 8), -0.8))
    trainer.reals = SimpleNamespace(batch=lambda index: batch)
    before = trainer.loss("generator", batch).terms["highest_noise"].item()
    for _ in range(25):
        trainer.step()
    assert trainer.loss("generator", batch).terms["highest_noise"].item() < 0.5 * before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling_steps": 0}, "sampling_steps = 0: it must be at least 1"),
        ({"sampler": "heun", "sampling_steps": 8}, "heun takes an odd number of evaluations, 2 N - 1; use 7 or 9"),
        ({"label_dropout": 1.0}, "label_dropout = 1: it must be at least 0 and below 1"),
        ({"sigma_max": 0.001}, "sigma_max = 0.001"),
        ({"multipliers": (1, 0)}, "multipliers = 0: it must be at least 1"),
        ({"width": 0}, "width = 0: it must be at least 1"),
        ({"knobs": {"lr_d": 1e-3}}, "lr_d has no effect in edm"),
        ({"augment": False, "knobs": {"augment_p": 0.1}}, "augment_p has no effect in edm"),
        ({"conditional": True}, "conditional = true, but the data has no labels"),
    ],
)
def test_invalid_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        catalog.build("models", "edm", {"width": 8, **options}).build(
            DataSpec((1, 16, 16)), torch.Generator().manual_seed(0)
        )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec((1, 18, 20)), "multiples of 4, not 1 x 18 x 20; use --image-size 20x16"),
        (DataSpec((3, 4, 4)), "images of 8 to 1,024 pixels a side"),
        (DataSpec((2,)), "not points; use --model mlp"),
        (DataSpec((1, 64)), "not sequences; use --model dcgan"),
        (DataSpec((3,), vocabulary=Vocabulary((ENDING, "a"))), "not sentences; use --model seqgan"),
    ],
)
def test_other_data_are_refused_with_a_remedy(spec: DataSpec, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        catalog.build("models", "edm").build(spec, torch.Generator().manual_seed(0))


def test_the_size_in_the_message_can_be_generated() -> None:
    catalog.build("models", "edm", {"width": 4}).build(DataSpec((1, 16, 20)), torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "classes", "acts"), [({}, 3, True), ({"label_dropout": 0.0}, 3, False), ({}, 0, False)]
)
def test_guidance_needs_labels_some_of_them_withheld(create_trainer, options, classes: int, acts: bool) -> None:
    model = create_trainer("edm", classes=classes, width=8, **options).model
    assert ("guidance" in model.samplings) == acts
    if not acts:
        with pytest.raises(
            SettingError, match="guidance has no effect in edm; it needs a diffusion model that was trained"
        ):
            Sampling(guidance=2.0).check_acts(model.samplings, "edm")


def test_settings_of_sampling_are_checked() -> None:
    with pytest.raises(SettingError, match="steps = 0: it must be at least 1; use a value such as 5"):
        Sampling(steps=0)
    with pytest.raises(UnknownNameError, match=r"sampler 'heum'.*heun"):
        Sampling(sampler="heum")


def test_an_even_number_of_evaluations_is_refused_for_heun(trainer) -> None:
    latent = trainer.model.latent(1, torch.Generator().manual_seed(0), None)
    with pytest.raises(SettingError, match="steps = 4: heun takes an odd number"):
        trainer.model.generate(trainer.model.networks, latent, LABELS[:1], Sampling(steps=4, sampler="heun"))
