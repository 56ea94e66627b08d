"""SeqGAN: rewards reach the token they are for, gradients are those of the expected reward, phases come in order."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.core import catalog
from equipoise.core.data import DataSpec, TokenBatch
from equipoise.core.model import Model
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import SettingError
from equipoise.models.seqgan import SeqGAN, _Game
from equipoise.nn.recurrent import Recurrent
from equipoise.training.state import TrainingState, begin
from equipoise.training.step import run_step

BATCH = 4
ENDS = Vocabulary((ENDING, "a", "b", "c"))
ENDLESS = Vocabulary(("x", "y", "z"))
SMALL: dict[str, Any] = {
    **{"embedding": 4, "hidden": 6, "judge_embedding": 4, "widths": (1, 2), "maps": (3, 3)},
    **{"initial": 0.7, "dropout": 0.0, "judge_dropout": 0.0},
}


def built(length: int = 3, words: Vocabulary = ENDLESS, **options: Any) -> Model[Any]:
    recipe = SeqGAN(**{**SMALL, **options})
    return recipe.build(DataSpec((length,), vocabulary=words), torch.Generator().manual_seed(0))


def state_of(model: Model[Any]) -> TrainingState:
    return begin(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Random sentences; the number of the batch decides and nothing else."""

    words: int = 3
    length: int = 3

    def batch(self, index: int) -> TokenBatch:
        tokens = torch.randint(self.words, (BATCH, self.length), generator=torch.Generator().manual_seed(index))
        return TokenBatch(tokens, lengths=torch.full((BATCH,), self.length))


class Fixed(nn.Module):
    """A judge whose probability is a known function of the sentence."""

    def __init__(self, worth: Tensor) -> None:
        super().__init__()
        self.worth = worth

    def probability(self, sentences: Tensor) -> Tensor:
        places = 3 ** torch.arange(sentences.shape[1])
        return self.worth[(sentences * places).sum(dim=1)]


def every(length: int = 3) -> Tensor:
    return torch.tensor(list(itertools.product(range(3), repeat=length)))


def expected(writer: Recurrent, judge: Fixed) -> Tensor:
    """E[reward], exactly, with its gradient."""
    rows = every()
    return (writer.log_probabilities(rows).sum(dim=1).exp() * judge.probability(rows)).sum()


@pytest.fixture
def judge() -> Fixed:
    return Fixed(torch.rand(27, generator=torch.Generator().manual_seed(3)))


def test_the_value_of_a_prefix_is_the_mean_reward_of_its_own_continuations(judge: Fixed) -> None:
    """Every sentence and prefix has its own exact value: a reward that came to the wrong one would show."""
    model = built(rollouts=1500)
    writer = model.networks["generator"]
    game = _Game(SeqGAN(**SMALL, rollouts=1500), 3)
    tokens = torch.tensor([[0, 1, 2], [2, 2, 0], [1, 0, 0], [0, 2, 1]])
    result = game.values({"generator": writer, "discriminator": judge}, tokens, torch.Generator().manual_seed(0))
    rows = every()
    given, worth = writer.log_likelihood(rows).exp(), judge.probability(rows).double()
    for sentence, known in itertools.product(range(4), (1, 2)):
        alike = (rows[:, :known] == tokens[sentence, :known]).all(dim=1)
        exact = (given * worth)[alike].sum() / given[alike].sum()
        assert result[sentence, known - 1].item() == pytest.approx(exact.item(), abs=4.5 * 0.3 / math.sqrt(1500))
    torch.testing.assert_close(result[:, 2], judge.probability(tokens))


def test_a_sentence_that_has_ended_is_worth_its_own_reward_from_there_on() -> None:
    model = built(4, ENDS, rollouts=5)
    game = _Game(SeqGAN(**SMALL, rollouts=5), 4)
    tokens = torch.tensor([[1, 0, 0, 0], [2, 3, 1, 0]])
    value = game.values(model.networks, tokens, torch.Generator().manual_seed(0))
    own = model.networks["discriminator"].probability(tokens)
    torch.testing.assert_close(value[0, 1:], own[0].expand(3))
    torch.testing.assert_close(value[1, 3], own[1])
    assert value[1, 0] != own[1]


@pytest.mark.parametrize("baseline", ["none", "batch", "prefix"])
def test_the_gradient_is_that_of_the_expected_reward(judge: Fixed, baseline: str) -> None:
    """The mean over many batches, with every baseline, against the exact gradient by enumeration."""
    model = built(baseline=baseline, rollouts=1)
    writer, weight = model.networks["generator"], model.networks["generator"].exit.weight
    (exact,) = torch.autograd.grad(expected(writer, judge), weight)
    game = _Game(SeqGAN(**SMALL, baseline=baseline, rollouts=1), 3)
    state, stream = state_of(model), Sentences()
    networks = {"generator": writer, "discriminator": judge}
    result = []
    for index in range(150):
        batch = TokenBatch(stream.batch(index).real.repeat(16, 1), lengths=torch.full((64,), 3))
        loss = game.learn_by_rewards(networks, batch, state.moment(model.knobs, 0.0))
        (gradient,) = torch.autograd.grad(-loss.total, weight)
        result.append(gradient)
    every_one = torch.stack(result)
    error = every_one.std(dim=0) / math.sqrt(len(result))
    assert ((every_one.mean(dim=0) - exact).abs() < 4.5 * error + 1e-6).all()
    assert exact.abs().max() > 5 * error.max(), "there is something to see"


def test_the_baseline_of_a_token_does_not_hang_on_its_own_reward() -> None:
    value = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    for name in ("batch", "prefix"):
        game = _Game(SeqGAN(**SMALL, baseline=name), 3)
        for row, place in itertools.product(range(4), range(3)):
            other = value.clone()
            other[row, place] += 1
            assert game.baselines(other)[row, place].item() == pytest.approx(game.baselines(value)[row, place].item())


def test_baselines_make_the_gradient_steadier(judge: Fixed) -> None:
    spread = {}
    for name in ("none", "prefix"):
        model = built(baseline=name)
        game = _Game(SeqGAN(**SMALL, baseline=name), 3)
        state, batch = state_of(model), Sentences().batch(0)
        networks = {"generator": model.networks["generator"], "discriminator": judge}
        rows = []
        for _ in range(60):
            loss = game.learn_by_rewards(networks, batch, state.moment(model.knobs, 0.0))
            rows.append(torch.autograd.grad(loss.total, model.networks["generator"].exit.weight)[0])
        spread[name] = torch.stack(rows).var(dim=0).sum().item()
    assert spread["prefix"] < 0.5 * spread["none"]


def test_a_constant_reward_says_nothing_once_there_is_a_baseline() -> None:
    for name in ("batch", "prefix"):
        game = _Game(SeqGAN(**SMALL, reward="constant", baseline=name), 3)
        value = game.values({}, torch.zeros(4, 3, dtype=torch.int64), torch.Generator())
        assert torch.equal(value - game.baselines(value), torch.zeros(4, 3))
    game = _Game(SeqGAN(**SMALL, reward="constant", baseline="none"), 3)
    assert torch.equal(game.baselines(torch.ones(4, 3)), torch.zeros(4, 3))


def test_shuffled_rewards_are_those_of_other_sentences() -> None:
    model = built(rollouts=2)
    tokens = model.networks["generator"].sentences(8, 3, torch.Generator().manual_seed(0))
    game, mixed = (_Game(SeqGAN(**SMALL, rollouts=2, reward=how), 3) for how in ("discriminator", "shuffled"))
    ours, theirs = (each.values(model.networks, tokens, torch.Generator().manual_seed(5)) for each in (game, mixed))
    assert not torch.equal(ours, theirs)
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def phases_of(steps: int, **options: Any) -> list[tuple[str, ...]]:
    model = built(**options)
    state, stream = state_of(model), Sentences()
    return [tuple(run_step(state, stream, model.knobs, 0.0).phases) for _ in range(steps)]


def test_likelihood_then_the_judge_then_the_game_in_rounds() -> None:
    result = phases_of(9, likelihood_steps=2, judging_steps=2, generator_every=3)
    alone, both = ("discriminator",), ("discriminator", "generator")
    assert result == [("likelihood",)] * 2 + [alone] * 2 + [both, alone, alone, both, alone]


def test_each_phase_moves_its_own_player() -> None:
    model = built(likelihood_steps=1, judging_steps=1)
    state, stream = state_of(model), Sentences()
    for moved, kept in (("generator", "discriminator"), ("discriminator", "generator")):
        before = {name: [w.clone() for w in model.networks[name].parameters()] for name in (moved, kept)}
        run_step(state, stream, model.knobs, 0.0)
        after = {name: list(model.networks[name].parameters()) for name in (moved, kept)}
        assert all(torch.equal(a, b) for a, b in zip(before[kept], after[kept], strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(before[moved], after[moved], strict=True))


def test_the_rate_of_likelihood_falls_along_a_cosine_and_then_that_of_the_game_holds() -> None:
    model = built(likelihood_steps=10)
    moment = state_of(model).moment(model.knobs, 0.0)
    rates = [model.optimizer("generator", dataclasses.replace(moment, step=step)).lr for step in (0, 5, 10)]
    assert rates == pytest.approx([1e-2, 5e-3, 3e-4])


def test_likelihood_can_stand_beside_the_reward() -> None:
    model = built(likelihood_steps=0, judging_steps=0, reward="constant", baseline="batch")
    state, batch = state_of(model), Sentences().batch(0)
    phase = model.phases[-1]
    knobs = model.knobs.with_values({"likelihood_weight": 2.0})
    alone, beside = (phase.loss(model.networks, batch, state.moment(each, 0.0)).total for each in (model.knobs, knobs))
    nll = -model.networks["generator"].log_likelihood(batch.real).mean() / 3
    assert alone.item() == pytest.approx(0, abs=1e-6)
    assert beside.item() == pytest.approx(2 * nll.item(), rel=1e-5)


def test_the_reward_is_given_with_nothing_dropped() -> None:
    model = built(judge_dropout=0.9, rollouts=1)
    judge, tokens = model.networks["discriminator"].train(), torch.zeros(2, 3, dtype=torch.int64)
    assert torch.equal(judge.probability(tokens), judge.probability(tokens))
    dropped = judge(tokens, torch.Generator().manual_seed(0))
    assert not torch.equal(dropped.sigmoid(), judge.probability(tokens))


def test_the_published_sizes() -> None:
    """5,000 words: 7.05 million weights of the discriminator; the generator's 32 by 32."""
    words = Vocabulary(tuple(map(str, range(5000))))
    spec = DataSpec((20,), vocabulary=words)
    model = catalog.build("models", "seqgan:paper").build(spec, torch.Generator().manual_seed(0))
    counts = {name: sum(w.numel() for w in network.parameters()) for name, network in model.networks.items()}
    widths = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
    maps = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)
    convolutions = sum(64 * width * count + count for width, count in zip(widths, maps, strict=True))
    assert counts["discriminator"] == 5000 * 64 + convolutions + 2 * (1720 * 1720 + 1720) + 1721
    assert counts["generator"] == 5001 * 32 + 4 * 32 * (32 + 32 + 2) + 32 * 5000 + 5000
    assert model.optimizer("generator", state_of(model).moment(model.knobs, 0.0)).longest == 5.0


def test_the_published_schedule_shows_the_discriminator_as_many_sentences() -> None:
    """Yu's code: 15 epochs of 9,984 real and as many written sentences a round, 50 times 3 epochs before the game."""
    words = Vocabulary(tuple(map(str, range(50))))
    recipe = catalog.build("models", "seqgan:paper")
    model = recipe.build(DataSpec((20,), vocabulary=words), torch.Generator().manual_seed(0))
    updates, sentences = model.knobs.discriminator_steps, 64 + 64
    assert recipe.generator_every * updates * sentences == 15 * 2 * 9_984
    assert recipe.judging_steps * updates * sentences == 50 * 3 * 2 * 9_984


def test_wide_convolutions_are_left_out_of_short_sentences() -> None:
    model = built(2, widths=(1, 2, 3), maps=(2, 3, 4))
    assert model.networks["discriminator"].last.in_features == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (4,), "maps": (2,)}, "all convolutions of seqgan are wider than sentences of 3"),
        ({"widths": (1, 2), "maps": (2,)}, "widths has 2 numbers, maps 1"),
        ({"widths": (0,), "maps": (2,)}, "they must be at least 1"),
        ({"rollouts": 0}, "rollouts = 0: it must be at least 1"),
        ({"dropout": 1.0}, "dropout = 1: it must be from 0 to below 1"),
        ({"likelihood_steps": -1}, "likelihood_steps = -1: it must be at least 0"),
        ({"initial": 0.0}, "initial = 0: it must be above 0"),
    ],
)
def test_what_cannot_be_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        built(**options)


@pytest.mark.parametrize(("spec", "other"), [(DataSpec((2,)), "mlp"), (DataSpec((1, 32, 32)), "dcgan")])
def test_data_without_words_are_told(spec: DataSpec, other: str) -> None:
    for model in ("seqgan", "textgan"):
        with pytest.raises(SettingError, match=f"{model} writes sentences.*--model {other}"):
            catalog.build("models", model).build(spec, torch.Generator())


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_sentences_are_told_to_other_gans(name: str) -> None:
    with pytest.raises(SettingError, match="not sentences; use --model seqgan"):
        catalog.build("models", name).build(DataSpec((3,), vocabulary=ENDS), torch.Generator())
