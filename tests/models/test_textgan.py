"""TextGAN: signs of the losses, sharpness of soft words, swapped words, and the order of phases."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from equipoise.core.data import DataSpec, TokenBatch
from equipoise.core.model import Model
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import SettingError
from equipoise.losses.discrepancy import mmd
from equipoise.models._textgan_training import swap_two_words
from equipoise.models.textgan import TextGAN
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

SMALL: dict[str, Any] = {
    **{"embedding": 4, "hidden": 6, "discriminator_embedding": 4, "widths": (1, 2), "maps": (3, 3), "head": 5},
    **{"autoencoding_steps": 0, "swapping_steps": 0, "initial": 0.5},
}
BATCH = 8


def built(**options: Any) -> tuple[Model[Any], TrainingState]:
    words = Vocabulary((ENDING, "a", "b", "c"))
    recipe = TextGAN(**{**SMALL, **options})
    model = recipe.build(DataSpec((4,), vocabulary=words), torch.Generator().manual_seed(0))
    return model, initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))


class Sentences:
    """Sentences of one to four words; determined by the index of the batch."""

    def batch(self, index: int) -> TokenBatch:
        source = torch.Generator().manual_seed(index)
        lengths = torch.randint(1, 5, (BATCH,), generator=source)
        tokens = torch.randint(1, 4, (BATCH, 4), generator=source)
        return TokenBatch(tokens * (torch.arange(4) < lengths[:, None]), lengths=lengths)


def expected_terms(model: Model[Any], state: TrainingState, sharpness: float = 1.0) -> dict[str, Tensor]:
    """Compute the terms of the losses with the random numbers that the next phase uses."""
    source = torch.Generator()
    source.set_state(state.generator.get_state())
    discriminator, generator = model.networks["discriminator"], model.networks["generator"]
    latent = 2 * torch.rand(BATCH, 6, generator=source) - 1
    real = discriminator.features(Sentences().batch(0).real)
    fake = discriminator.features(generator.soft(latent, 4, sharpness))
    return {
        "adversarial": softplus(-discriminator.logits(real)).mean() + softplus(discriminator.logits(fake)).mean(),
        "reconstruction": (discriminator.reconstruct(fake) - latent).square().sum(dim=1).mean(),
        "discrepancy": mmd(real, fake),
    }


def test_signs_of_the_terms() -> None:
    """L_D has + reconstruction and - discrepancy, L_G the discrepancy alone."""
    model, state = built()
    knobs = model.knobs.with_values({"discrepancy_weight": 0.7, "reconstruction_weight": 0.3})
    expected = expected_terms(model, state)
    discriminator_phase, generator_phase = model.phases[-2], model.phases[-1]
    start = state.generator.get_state()
    loss = discriminator_phase.loss(model.networks, Sentences().batch(0), state.moment(knobs, 0.0))
    total = expected["adversarial"] + 0.3 * expected["reconstruction"] - 0.7 * expected["discrepancy"]
    torch.testing.assert_close(loss.total, total)
    for name, term in loss.terms.items():
        torch.testing.assert_close(term, expected[name].detach())
    state.generator.set_state(start)
    torch.testing.assert_close(
        generator_phase.loss(model.networks, Sentences().batch(0), state.moment(knobs, 0.0)).total,
        expected["discrepancy"],
    )


def test_sharpness_increases_during_training() -> None:
    model, state = built()
    weights = []
    for progress in (0.0, 0.5, 1.0):
        start = state.generator.get_state()
        result = model.phases[-1].loss(model.networks, Sentences().batch(0), state.moment(model.knobs, progress))
        state.generator.set_state(start)
        weights.append(result.terms["likeliest_word"].item())
        torch.testing.assert_close(result.total, expected_terms(model, state, 100**progress)["discrepancy"])
    assert weights[0] < weights[1] < weights[2]


def test_sharpness_is_1_at_the_start_of_adversarial_training() -> None:
    """In a run of 1,000 steps with 600 steps of pretraining: L is 1 at step 600, 10 at 800, 100 at the end."""
    model, state = built(autoencoding_steps=500, swapping_steps=100)
    for step, sharpness in ((600, 1.0), (800, 10.0), (1000, 100.0)):
        state.step, start = step, state.generator.get_state()
        result = model.phases[-1].loss(model.networks, Sentences().batch(0), state.moment(model.knobs, step / 1000))
        state.generator.set_state(start)
        torch.testing.assert_close(result.total, expected_terms(model, state, sharpness)["discrepancy"])


def test_soft_sentences_converge_to_tokens() -> None:
    model, _ = built()
    generator = model.networks["generator"]
    generator.ends = False
    latent = model.latent(20, torch.Generator().manual_seed(0), None)
    tokens = generator.tokens(latent, 4)
    torch.testing.assert_close(generator.soft(latent, 4, 1e7), one_hot(tokens, 4).float(), atol=1e-3, rtol=0)


def test_all_tokens_after_an_end_are_ends() -> None:
    model, _ = built()
    samples = model.generate(
        model.networks, model.latent(200, torch.Generator().manual_seed(0), None), None, DEFAULT_SAMPLING
    )
    for row in samples.long().tolist():
        assert 0 not in row or not any(row[row.index(0) :])
    assert model.log_likelihood is None, "the likelihood cannot be computed"


def test_soft_words_are_embedded_as_their_mean() -> None:
    model, _ = built()
    discriminator, tokens = model.networks["discriminator"], Sentences().batch(0).real
    torch.testing.assert_close(discriminator.features(one_hot(tokens, 4).float()), discriminator.features(tokens))


def test_gradient_reaches_all_weights_of_the_generator() -> None:
    model, state = built()
    total = model.phases[-1].loss(model.networks, Sentences().batch(0), state.moment(model.knobs, 0.0)).total
    gradients = torch.autograd.grad(total, list(model.networks["generator"].parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_two_different_words_are_swapped() -> None:
    batch, swaps = Sentences().batch(3), set()
    for seed in range(200):
        result = swap_two_words(
            dataclasses.replace(batch, real=torch.arange(4).repeat(BATCH, 1)), torch.Generator().manual_seed(seed)
        )
        for row, length in zip(result.tolist(), batch.lengths.tolist(), strict=True):
            positions = [position for position in range(4) if row[position] != position]
            assert len(positions) == (2 if length > 1 else 0)
            assert all(position < length for position in positions)
            assert sorted(row) == [0, 1, 2, 3]
            swaps.add((length, tuple(positions)))
    assert {positions for length, positions in swaps if length == 4} == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_order_of_phases() -> None:
    model, state = built(autoencoding_steps=2, swapping_steps=1)
    result = [tuple(run_step(state, Sentences(), model.knobs, 0.0).phases) for _ in range(4)]
    assert result == [("autoencoding",), ("autoencoding",), ("swapping",), ("discriminator", "generator")]


def test_autoencoding_reduces_the_likelihood_loss() -> None:
    model, state = built(autoencoding_steps=200, hidden=16, maps=(8, 8))
    nll = [
        run_step(state, Sentences(), model.knobs.with_values({"lr_g": 1e-2, "lr_d": 1e-2}), 0.0).phases["autoencoding"]
        for _ in range(60)
    ]
    assert nll[-1].total < 0.5 * nll[0].total


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth = 0: it must be above 0"),
        ({"autoencoding_steps": -1}, "autoencoding_steps = -1: it must be at least 0"),
        ({"widths": (9,), "maps": (2,)}, "all convolutions of textgan are wider than sentences of 4"),
    ],
)
def test_invalid_options_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        built(**options)


def test_periods_follow_the_step() -> None:
    phases = TextGAN(**{**SMALL, "autoencoding_steps": 3, "swapping_steps": 2}).training(4, 6)
    model, state = built()
    moment = state.moment(model.knobs, 0.0)
    result = [phases.period(dataclasses.replace(moment, step=step)) for step in range(7)]
    assert result == [0, 0, 0, 1, 1, 2, 2]
