"""GigaGAN: outputs of the pyramid, the matching-aware loss, and samples that follow their captions."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, softplus

from equipoise.core import catalog
from equipoise.core.captions import Captions
from equipoise.core.data import Batch, DataSpec
from equipoise.core.model import Model
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import SettingError
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

CAPTIONS = Captions(Vocabulary((ENDING, "bright", "dark", "left")), 3, ("bright", "dark", "bright left"))
SPEC = DataSpec((1, 16, 16), captions=CAPTIONS)
BATCH = 8


@dataclasses.dataclass(frozen=True)
class Reals:
    """Pictures that are bright or dark, as their captions say."""

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        is_bright = torch.rand(BATCH, generator=source) < 0.5
        level = torch.where(is_bright, 0.7, -0.7)[:, None, None, None]
        real = level + 0.1 * torch.randn(BATCH, 1, 16, 16, generator=source)
        return Batch(
            real.clamp(-1, 1), CAPTIONS.encode("bright" if bright else "dark" for bright in is_bright.tolist())
        )


def build(**options: Any) -> Model[Any]:
    recipe = catalog.build("models", "gigagan", {"width": 8, "latent_dim": 6, "text_width": 6, **options})
    return recipe.build(SPEC, torch.Generator().manual_seed(0))


def start(model: Model[Any]) -> TrainingState:
    return initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))


def discriminator_loss(state: TrainingState, batch: Batch, **knobs: float) -> Any:
    moment = state.moment(state.model.knobs.with_values(knobs), 0.0)
    return state.model.phases[0].loss(state.model.networks, batch, moment)


@pytest.mark.parametrize(("side", "scales", "outputs"), [(32, 3, 6), (64, 4, 10), (16, 3, 3), (32, 1, 3)])
def test_every_scale_has_an_output_at_every_smaller_map(side: int, scales: int, outputs: int) -> None:
    """V_MS = sum over i and j > i: at 32 pixels and three scales 3 + 2 + 1 terms; 16 pixels leave two scales."""
    spec = dataclasses.replace(SPEC, shape=(1, side, side))
    recipe = catalog.build("models", "gigagan", {"width": 4, "text_width": 4, "scales": scales})
    discriminator = recipe.build(spec, torch.Generator().manual_seed(0)).networks["discriminator"]
    pairs = [(output.scale, output.level) for output in discriminator.outputs]
    assert len(pairs) == len(set(pairs)) == outputs
    assert all(level > scale for scale, level in pairs)
    logits = discriminator.logits(discriminator.features(torch.zeros(2, 1, side, side)), CAPTIONS.in_turn(2))
    assert logits.shape == (2, outputs)


def test_outputs_of_a_scale_see_only_the_picture_of_that_size() -> None:
    """Changes that a mean over 2 x 2 pixels removes have no effect on the outputs of smaller scales."""
    discriminator = build().networks["discriminator"]
    picture = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    board = torch.ones(16, 16)
    board[::2, 1::2] = board[1::2, ::2] = -1
    assert torch.allclose(avg_pool2d(picture + board, 2), avg_pool2d(picture, 2), atol=1e-6)
    captions = CAPTIONS.in_turn(2)
    before, after = (discriminator.logits(discriminator.features(x), captions) for x in (picture, picture + board))
    is_small = torch.tensor([output.scale > 0 for output in discriminator.outputs])
    assert torch.allclose(before[:, is_small], after[:, is_small], atol=1e-5)
    assert (before[:, ~is_small] - after[:, ~is_small]).abs().min() > 1e-5


def test_matching_aware_loss_is_that_of_fakes_for_wrong_captions() -> None:
    """Kang 2023: reals and fakes with the captions of others; computed here without the phases.

    Another sample with the same caption does not count: its pair is a right one.
    """
    state, batch = start(build()), Reals().batch(0)
    discriminator = state.model.networks["discriminator"]
    random_state = state.generator.get_state()
    loss = discriminator_loss(state, batch, matching_weight=0.5)
    state.generator.set_state(random_state)
    without = discriminator_loss(state, batch, matching_weight=0)
    others = batch.condition.roll(1, 0)
    fake = loss.carry["fake"].detach()
    wrong = [row for row in range(BATCH) if not torch.equal(others[row], batch.condition[row])]
    assert 0 < len(wrong) < BATCH
    losses = [softplus(discriminator.logits(discriminator.features(x), others)) for x in (batch.real, fake)]
    terms = [loss[wrong].sum(0).mean() / BATCH for loss in losses]
    assert torch.allclose(loss.total, without.total + 0.5 * sum(terms), atol=1e-5)
    assert {"mismatch_real", "mismatch_fake"} == loss.terms.keys() - without.terms.keys()


def test_a_batch_without_another_caption_is_refused() -> None:
    state, batch = start(build()), Reals().batch(0)
    one = Batch(batch.real[:1], batch.condition[:1])
    with pytest.raises(
        SettingError, match="captions of two samples at least; use --batch-size 2, or --set matching_weight=0"
    ):
        discriminator_loss(state, one, matching_weight=0.5)
    assert discriminator_loss(state, one, matching_weight=0).total.isfinite()


def test_adversarial_loss_is_the_mean_over_all_outputs() -> None:
    state, batch = start(build()), Reals().batch(0)
    discriminator = state.model.networks["discriminator"]
    loss = discriminator_loss(state, batch, matching_weight=0)
    fake = loss.carry["fake"].detach()
    features = [discriminator.features(x) for x in (batch.real, fake)]
    real_logit, fake_logit = (discriminator.logits(part, batch.condition) for part in features)
    per_output = softplus(-real_logit).mean(0) + softplus(fake_logit).mean(0)
    assert torch.allclose(loss.total, per_output.mean(), atol=1e-5)


def test_samples_depend_on_the_caption_once_attention_and_style_see_it() -> None:
    model = build()
    latent = model.latent(1, torch.Generator().manual_seed(0), None).expand(3, -1)
    samples = model.generate(model.networks, latent, CAPTIONS.in_turn(3), DEFAULT_SAMPLING)
    assert (samples[0] - samples[1]).abs().mean() > 1e-3
    assert (samples[0] - samples[2]).abs().mean() > 1e-3


def test_psi_zero_gives_the_style_of_the_mean() -> None:
    """Words are still attended to: gamma is 0 at first, so that new networks give one picture."""
    model = build()
    latent = model.latent(3, torch.Generator().manual_seed(0), None)
    samples = model.generate(model.networks, latent, CAPTIONS.in_turn(3), Sampling(psi=0.0))
    assert torch.allclose(samples[0], samples[1], atol=1e-5)


def test_it_learns_what_the_captions_say() -> None:
    """After 20 steps pictures of "bright" are brighter than those of "dark", from the same latents."""
    model = build()
    state = start(model)
    for _ in range(20):
        run_step(state, Reals(), model.knobs, 0.0)
    latent = model.latent(16, torch.Generator().manual_seed(1), None)
    bright, dark = (
        model.generate(model.networks, latent, CAPTIONS.encode([text] * 16), DEFAULT_SAMPLING).mean()
        for text in ("bright", "dark")
    )
    assert bright > dark + 0.2
    batch, discriminator = Reals().batch(1000), model.networks["discriminator"]
    features = discriminator.features(batch.real)
    gap = discriminator.logits(features, batch.condition) - discriminator.logits(features, swapped(batch.condition))
    assert (gap.mean(1) > 0).float().mean() >= 0.75, "the right caption is preferred"


def swapped(captions: Tensor) -> Tensor:
    """Return "dark" for "bright", and "bright" for "dark"."""
    return torch.where(captions == 1, 2, torch.where(captions == 2, 1, captions))


def test_data_without_captions_names_the_way_out() -> None:
    with pytest.raises(SettingError) as error:
        catalog.build("models", "gigagan").build(DataSpec((3, 32, 32), classes=3), torch.Generator())
    assert str(error.value) == (
        "gigagan generates images from captions, and this data has none; use --data openmoji, or --model stylegan2 for "
        "images with labels or without"
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("kernels", 0, "kernels = 0: it must be at least 1"),
        ("attention_side", -1, "attention_side = -1: it must be at least 0, which is no attention"),
        ("scales", 0, "scales = 0: it must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: int, message: str) -> None:
    with pytest.raises(SettingError) as error:
        catalog.build("models", "gigagan", {option: value})
    assert str(error.value) == message
