"""DDPM: the published network, the chain of noise levels in training and sampling."""

import math

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.models._denoising_options import DenoisingKnobs
from equipoise.models.ddpm import ChainNoise
from equipoise.nn.denoiser import NoisePrediction


@pytest.fixture
def schedule() -> ChainNoise:
    return ChainNoise(NoisePrediction(), sigma_max=20.0)


def test_number_of_weights_of_the_paper(monkeypatch) -> None:
    """35.7 million (appendix B). On the meta device, where no weight is drawn."""
    monkeypatch.setattr("equipoise.models.ddpm.initialise_unet", lambda network, generator: None)
    with torch.device("meta"):
        model = catalog.build("models", "ddpm:cifar10").build(DataSpec((3, 32, 32)), torch.Generator(device="cpu"))
    assert sum(weight.numel() for weight in model.networks["generator"].parameters()) == 35_746_307


def test_every_level_of_the_chain_is_trained_equally_often(schedule: ChainNoise) -> None:
    share = (torch.arange(5000) + 0.5) / 5000
    sigma = schedule.sample(share, DenoisingKnobs())
    levels, counts = sigma.unique(return_counts=True)
    torch.testing.assert_close(levels, schedule.scale.sigmas)
    assert set(counts.tolist()) == {5}


def test_sampling_follows_the_chain(schedule: ChainNoise) -> None:
    sigmas = schedule.scale.sigmas.tolist()
    assert schedule.levels("ancestral", 1000) == (*reversed(sigmas), 0.0)
    assert schedule.levels("ddim", 4) == (sigmas[999], sigmas[666], sigmas[333], sigmas[0], 0.0)
    assert schedule.levels("ancestral", 1) == (sigmas[999], 0.0)


def test_solvers_have_levels_of_their_own(schedule: ChainNoise) -> None:
    levels = schedule.levels("dpm_2m", 5)
    assert levels[0] == pytest.approx(20.0)
    assert levels[4] == pytest.approx(schedule.scale.sigmas[0].item())
    beyond = ChainNoise(schedule.scale, sigma_max=1000.0)
    assert beyond.levels("heun", 5)[0] == pytest.approx(schedule.scale.sigmas[-1].item())


def test_more_evaluations_than_levels_are_refused(create_trainer, schedule: ChainNoise) -> None:
    with pytest.raises(SettingError, match="steps = 1001: the chain of ancestral has 1,000 levels"):
        schedule.levels("ancestral", 1001)
    with pytest.raises(SettingError, match="sampling_steps = 2000: it must be at most 1,000"):
        catalog.build("models", "ddpm", {"sampling_steps": 2000})
    schedule.levels("dpm_2m", 1001)


def test_a_new_network_predicts_no_noise(create_trainer) -> None:
    """ε = 0: the loss |ε̂ - ε|² is 1 at every level, up to chance."""
    trainer = create_trainer("ddpm", width=8, batch=64)
    loss = trainer.loss("generator")
    assert loss.total.item() == pytest.approx(1.0, abs=0.02)
    assert [term.item() for term in loss.terms.values()] == pytest.approx([1.0] * 4, abs=0.05)


def test_few_evaluations_are_spread_over_the_chain(create_trainer) -> None:
    """All samplers run, with a network that returns 0: D(x) = x, so that ddim keeps the noise."""
    model = create_trainer("ddpm", width=8).model
    latent = model.latent(2, torch.Generator().manual_seed(0), None)
    for sampler in ("heun", "dpm_2m", "ddim", "ancestral"):
        samples = model.generate(model.networks, latent, None, Sampling(steps=3, sampler=sampler))
        assert samples.isfinite().all()
    kept = model.generate(model.networks, latent / 200, None, Sampling(steps=3, sampler="ddim"))
    torch.testing.assert_close(kept, (latent / 200 * math.exp(5.0588)).clamp(-1, 1), rtol=1e-3, atol=1e-3)


def test_clipping_of_gradients_is_an_option(create_trainer) -> None:
    trainer = create_trainer("ddpm", width=8)
    moment = trainer.state.moment(trainer.model.knobs, 0.0)
    assert trainer.model.optimizer("generator", moment).max_grad_norm == 1.0
    with pytest.raises(SettingError, match="max_grad_norm = 0"):
        catalog.build("models", "ddpm", {"max_grad_norm": 0.0})
