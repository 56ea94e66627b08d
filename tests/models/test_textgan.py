"""TextGAN: losses with the signs of the paper, soft words that sharpen to hard ones, swaps, phases."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from equipoise.core.data import DataSpec, TokenBatch
from equipoise.core.model import Model
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import SettingError
from equipoise.losses.discrepancy import mmd
from equipoise.models.textgan import TextGAN, _Game, swapped
from equipoise.training.state import TrainingState, begin
from equipoise.training.step import run_step

SMALL: dict[str, Any] = {
    **{"embedding": 4, "hidden": 6, "judge_embedding": 4, "widths": (1, 2), "maps": (3, 3), "head": 5},
    **{"autoencoding_steps": 0, "swapping_steps": 0, "initial": 0.5},
}
BATCH = 8


def built(**options: Any) -> tuple[Model[Any], TrainingState]:
    words = Vocabulary((ENDING, "a", "b", "c"))
    recipe = TextGAN(**{**SMALL, **options})
    model = recipe.build(DataSpec((4,), vocabulary=words), torch.Generator().manual_seed(0))
    return model, begin(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))


class Sentences:
    """Sentences of one to four words; the number of the batch decides and nothing else."""

    def batch(self, index: int) -> TokenBatch:
        source = torch.Generator().manual_seed(index)
        lengths = torch.randint(1, 5, (BATCH,), generator=source)
        tokens = torch.randint(1, 4, (BATCH, 4), generator=source)
        return TokenBatch(tokens * (torch.arange(4) < lengths[:, None]), lengths=lengths)


def parts(model: Model[Any], state: TrainingState, sharpness: float = 1.0) -> dict[str, Tensor]:
    """What the losses are made of, from the random numbers that the next phase will draw."""
    source = torch.Generator()
    source.set_state(state.generator.get_state())
    judge, writer = model.networks["discriminator"], model.networks["generator"]
    latent = 2 * torch.rand(BATCH, 6, generator=source) - 1
    real = judge.features(Sentences().batch(0).real)
    fake = judge.features(writer.soft(latent, 4, sharpness))
    return {
        "adversarial": softplus(-judge.judge(real)).mean() + softplus(judge.judge(fake)).mean(),
        "reconstruction": (judge.find(fake) - latent).square().sum(dim=1).mean(),
        "discrepancy": mmd(real, fake),
    }


def test_the_discriminator_spreads_what_the_generator_matches() -> None:
    """Signs: + reconstruction, - discrepancy for the one; the discrepancy alone for the other."""
    model, state = built()
    knobs = model.knobs.with_values({"discrepancy_weight": 0.7, "reconstruction_weight": 0.3})
    wanted = parts(model, state)
    discriminate, match = model.phases[-2], model.phases[-1]
    start = state.generator.get_state()
    loss = discriminate.loss(model.networks, Sentences().batch(0), state.moment(knobs, 0.0))
    total = wanted["adversarial"] + 0.3 * wanted["reconstruction"] - 0.7 * wanted["discrepancy"]
    torch.testing.assert_close(loss.total, total)
    for name, term in loss.terms.items():
        torch.testing.assert_close(term, wanted[name].detach())
    state.generator.set_state(start)
    torch.testing.assert_close(
        match.loss(model.networks, Sentences().batch(0), state.moment(knobs, 0.0)).total, wanted["discrepancy"]
    )


def test_words_sharpen_from_the_start_of_a_run_to_its_end() -> None:
    model, state = built()
    surest = []
    for progress in (0.0, 0.5, 1.0):
        start = state.generator.get_state()
        result = model.phases[-1].loss(model.networks, Sentences().batch(0), state.moment(model.knobs, progress))
        state.generator.set_state(start)
        surest.append(result.terms["likeliest_word"].item())
        torch.testing.assert_close(result.total, parts(model, state, 100**progress)["discrepancy"])
    assert surest[0] < surest[1] < surest[2]


def test_words_are_soft_when_the_game_begins_however_late() -> None:
    """Of a run of 1,000 steps of which 600 come before the game: L is 1 at step 600, 10 at 800, 100 at the end."""
    model, state = built(autoencoding_steps=500, swapping_steps=100)
    for step, sharpness in ((600, 1.0), (800, 10.0), (1000, 100.0)):
        state.step, start = step, state.generator.get_state()
        result = model.phases[-1].loss(model.networks, Sentences().batch(0), state.moment(model.knobs, step / 1000))
        state.generator.set_state(start)
        torch.testing.assert_close(result.total, parts(model, state, sharpness)["discrepancy"])


def test_the_sharpest_mixtures_are_the_words_that_are_written() -> None:
    model, _ = built()
    writer = model.networks["generator"]
    writer.ends = False
    latent = model.latent(20, torch.Generator().manual_seed(0), None)
    written = writer.written(latent, 4)
    torch.testing.assert_close(writer.soft(latent, 4, 1e7), one_hot(written, 4).float(), atol=1e-3, rtol=0)


def test_nothing_is_written_behind_an_end() -> None:
    model, _ = built()
    made = model.generate(model.networks, model.latent(200, torch.Generator().manual_seed(0), None), None)
    for row in made.long().tolist():
        assert 0 not in row or not any(row[row.index(0) :])
    assert model.log_likelihood is None, "there is none that could be computed"


def test_a_mixture_of_words_is_embedded_as_their_mean() -> None:
    model, _ = built()
    judge, tokens = model.networks["discriminator"], Sentences().batch(0).real
    torch.testing.assert_close(judge.features(one_hot(tokens, 4).float()), judge.features(tokens))


def test_the_gradient_reaches_the_generator_through_the_words() -> None:
    model, state = built()
    total = model.phases[-1].loss(model.networks, Sentences().batch(0), state.moment(model.knobs, 0.0)).total
    gradients = torch.autograd.grad(total, list(model.networks["generator"].parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_two_different_words_are_swapped_and_nothing_else() -> None:
    batch, seen = Sentences().batch(3), set()
    for seed in range(200):
        result = swapped(
            dataclasses.replace(batch, real=torch.arange(4).repeat(BATCH, 1)), torch.Generator().manual_seed(seed)
        )
        for row, length in zip(result.tolist(), batch.lengths.tolist(), strict=True):
            moved = [place for place in range(4) if row[place] != place]
            assert len(moved) == (2 if length > 1 else 0)
            assert all(place < length for place in moved)
            assert sorted(row) == [0, 1, 2, 3]
            seen.add((length, tuple(moved)))
    assert {moved for length, moved in seen if length == 4} == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_features_are_decoded_then_swaps_are_spotted_then_the_game_begins() -> None:
    model, state = built(autoencoding_steps=2, swapping_steps=1)
    result = [tuple(run_step(state, Sentences(), model.knobs, 0.0).phases) for _ in range(4)]
    assert result == [("autoencoding",), ("autoencoding",), ("swapping",), ("discriminator", "generator")]


def test_autoencoding_brings_sentences_back() -> None:
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
def test_what_cannot_be_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        built(**options)


def test_stages_follow_the_step() -> None:
    game = _Game(TextGAN(**{**SMALL, "autoencoding_steps": 3, "swapping_steps": 2}), 4, 6)
    model, state = built()
    moment = state.moment(model.knobs, 0.0)
    result = [game.stage(dataclasses.replace(moment, step=step)) for step in range(7)]
    assert result == [0, 0, 0, 1, 1, 2, 2]
