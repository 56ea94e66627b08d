"""SeqGAN: action values, the policy gradient, baselines, and the order of phases."""

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
from equipoise.models.seqgan import SeqGAN
from equipoise.nn.recurrent import Recurrent
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

BATCH = 4
ENDS = Vocabulary((ENDING, "a", "b", "c"))
ENDLESS = Vocabulary(("x", "y", "z"))
SMALL: dict[str, Any] = {
    **{"embedding": 4, "hidden": 6, "discriminator_embedding": 4, "widths": (1, 2), "maps": (3, 3)},
    **{"initial": 0.7, "dropout": 0.0, "discriminator_dropout": 0.0},
}


def built(length: int = 3, words: Vocabulary = ENDLESS, **options: Any) -> Model[Any]:
    recipe = SeqGAN(**{**SMALL, **options})
    return recipe.build(DataSpec((length,), vocabulary=words), torch.Generator().manual_seed(0))


def state_of(model: Model[Any]) -> TrainingState:
    return initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Random sentences, determined by the index of the batch."""

    words: int = 3
    length: int = 3

    def batch(self, index: int) -> TokenBatch:
        tokens = torch.randint(self.words, (BATCH, self.length), generator=torch.Generator().manual_seed(index))
        return TokenBatch(tokens, lengths=torch.full((BATCH,), self.length))


class FixedDiscriminator(nn.Module):
    """A discriminator with a given probability for each sentence."""

    def __init__(self, reward: Tensor) -> None:
        super().__init__()
        self.reward = reward

    def probability(self, sentences: Tensor) -> Tensor:
        powers = 3 ** torch.arange(sentences.shape[1])
        return self.reward[(sentences * powers).sum(dim=1)]


def all_sentences(length: int = 3) -> Tensor:
    return torch.tensor(list(itertools.product(range(3), repeat=length)))


def expected_reward(policy: Recurrent, discriminator: FixedDiscriminator) -> Tensor:
    """Compute E[reward] exactly, with its gradient."""
    rows = all_sentences()
    return (policy.log_probabilities(rows).sum(dim=1).exp() * discriminator.probability(rows)).sum()


@pytest.fixture
def discriminator() -> FixedDiscriminator:
    return FixedDiscriminator(torch.rand(27, generator=torch.Generator().manual_seed(3)))


def test_value_of_a_prefix_is_the_mean_reward_of_its_continuations(discriminator: FixedDiscriminator) -> None:
    """All sentences and prefixes have different exact values, so that misassigned rewards are detected."""
    model = built(rollouts=1500)
    policy = model.networks["generator"]
    phases = SeqGAN(**SMALL, rollouts=1500).training(3)
    tokens = torch.tensor([[0, 1, 2], [2, 2, 0], [1, 0, 0], [0, 2, 1]])
    result = phases.rewards.action_values(
        {"generator": policy, "discriminator": discriminator}, tokens, torch.Generator().manual_seed(0)
    )
    rows = all_sentences()
    probability, reward = policy.log_likelihood(rows).exp(), discriminator.probability(rows).double()
    for sentence, length in itertools.product(range(4), (1, 2)):
        has_prefix = (rows[:, :length] == tokens[sentence, :length]).all(dim=1)
        exact = (probability * reward)[has_prefix].sum() / probability[has_prefix].sum()
        assert result[sentence, length - 1].item() == pytest.approx(exact.item(), abs=4.5 * 0.3 / math.sqrt(1500))
    torch.testing.assert_close(result[:, 2], discriminator.probability(tokens))


def test_value_after_an_end_is_the_reward_of_the_sentence() -> None:
    model = built(4, ENDS, rollouts=5)
    phases = SeqGAN(**SMALL, rollouts=5).training(4)
    tokens = torch.tensor([[1, 0, 0, 0], [2, 3, 1, 0]])
    value = phases.rewards.action_values(model.networks, tokens, torch.Generator().manual_seed(0))
    rewards = model.networks["discriminator"].probability(tokens)
    torch.testing.assert_close(value[0, 1:], rewards[0].expand(3))
    torch.testing.assert_close(value[1, 3], rewards[1])
    assert value[1, 0] != rewards[1]


@pytest.mark.parametrize("baseline", ["none", "batch", "prefix"])
def test_gradient_is_that_of_the_expected_reward(discriminator: FixedDiscriminator, baseline: str) -> None:
    """Mean over many batches, with every baseline, compared with the exact gradient by enumeration."""
    model = built(baseline=baseline, rollouts=1)
    policy, weight = model.networks["generator"], model.networks["generator"].exit.weight
    (exact,) = torch.autograd.grad(expected_reward(policy, discriminator), weight)
    phases = SeqGAN(**SMALL, baseline=baseline, rollouts=1).training(3)
    state, stream = state_of(model), Sentences()
    networks = {"generator": policy, "discriminator": discriminator}
    result = []
    for index in range(150):
        batch = TokenBatch(stream.batch(index).real.repeat(16, 1), lengths=torch.full((64,), 3))
        loss = phases.generator_loss(networks, batch, state.moment(model.knobs, 0.0))
        (gradient,) = torch.autograd.grad(-loss.total, weight)
        result.append(gradient)
    gradients = torch.stack(result)
    error = gradients.std(dim=0) / math.sqrt(len(result))
    assert ((gradients.mean(dim=0) - exact).abs() < 4.5 * error + 1e-6).all()
    assert exact.abs().max() > 5 * error.max(), "the exact gradient is larger than the error"


def test_baseline_of_a_token_does_not_depend_on_its_reward() -> None:
    value = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    for name in ("batch", "prefix"):
        phases = SeqGAN(**SMALL, baseline=name).training(3)
        for row, position in itertools.product(range(4), range(3)):
            other = value.clone()
            other[row, position] += 1
            assert phases.rewards.baselines(other)[row, position].item() == pytest.approx(
                phases.rewards.baselines(value)[row, position].item()
            )


def test_prefix_baseline_reduces_the_variance(discriminator: FixedDiscriminator) -> None:
    variance = {}
    for name in ("none", "prefix"):
        model = built(baseline=name)
        phases = SeqGAN(**SMALL, baseline=name).training(3)
        state, batch = state_of(model), Sentences().batch(0)
        networks = {"generator": model.networks["generator"], "discriminator": discriminator}
        rows = []
        for _ in range(60):
            loss = phases.generator_loss(networks, batch, state.moment(model.knobs, 0.0))
            rows.append(torch.autograd.grad(loss.total, model.networks["generator"].exit.weight)[0])
        variance[name] = torch.stack(rows).var(dim=0).sum().item()
    assert variance["prefix"] < 0.5 * variance["none"]


def test_baselines_cancel_a_constant_reward() -> None:
    for name in ("batch", "prefix"):
        phases = SeqGAN(**SMALL, reward="constant", baseline=name).training(3)
        value = phases.rewards.action_values({}, torch.zeros(4, 3, dtype=torch.int64), torch.Generator())
        assert torch.equal(value - phases.rewards.baselines(value), torch.zeros(4, 3))
    phases = SeqGAN(**SMALL, reward="constant", baseline="none").training(3)
    assert torch.equal(phases.rewards.baselines(torch.ones(4, 3)), torch.zeros(4, 3))


def test_shuffled_rewards_are_those_of_other_sentences() -> None:
    model = built(rollouts=2)
    tokens = model.networks["generator"].sentences(8, 3, torch.Generator().manual_seed(0))
    values, shuffled_values = (
        SeqGAN(**SMALL, rollouts=2, reward=how)
        .training(3)
        .rewards.action_values(model.networks, tokens, torch.Generator().manual_seed(5))
        for how in ("discriminator", "shuffled")
    )
    assert not torch.equal(values, shuffled_values)
    assert sorted(map(tuple, values.tolist())) == sorted(map(tuple, shuffled_values.tolist()))


def phases_of(steps: int, **options: Any) -> list[tuple[str, ...]]:
    model = built(**options)
    state, stream = state_of(model), Sentences()
    return [tuple(run_step(state, stream, model.knobs, 0.0).phases) for _ in range(steps)]


def test_order_of_phases() -> None:
    result = phases_of(9, likelihood_steps=2, discriminator_pretraining_steps=2, generator_every=3)
    first, both = ("discriminator",), ("discriminator", "generator")
    assert result == [("likelihood",)] * 2 + [first] * 2 + [both, first, first, both, first]


def test_each_phase_updates_its_own_network() -> None:
    model = built(likelihood_steps=1, discriminator_pretraining_steps=1)
    state, stream = state_of(model), Sentences()
    for updated, other in (("generator", "discriminator"), ("discriminator", "generator")):
        before = {name: [w.clone() for w in model.networks[name].parameters()] for name in (updated, other)}
        run_step(state, stream, model.knobs, 0.0)
        after = {name: list(model.networks[name].parameters()) for name in (updated, other)}
        assert all(torch.equal(a, b) for a, b in zip(before[other], after[other], strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(before[updated], after[updated], strict=True))


def test_likelihood_learning_rate_decays_by_a_cosine() -> None:
    model = built(likelihood_steps=10)
    moment = state_of(model).moment(model.knobs, 0.0)
    rates = [model.optimizer("generator", dataclasses.replace(moment, step=step)).lr for step in (0, 5, 10)]
    assert rates == pytest.approx([1e-2, 5e-3, 3e-4])


def test_likelihood_weight_adds_the_likelihood_loss() -> None:
    model = built(likelihood_steps=0, discriminator_pretraining_steps=0, reward="constant", baseline="batch")
    state, batch = state_of(model), Sentences().batch(0)
    phase = model.phases[-1]
    knobs = model.knobs.with_values({"likelihood_weight": 2.0})
    without, with_likelihood = (
        phase.loss(model.networks, batch, state.moment(each, 0.0)).total for each in (model.knobs, knobs)
    )
    nll = -model.networks["generator"].log_likelihood(batch.real).mean() / 3
    assert without.item() == pytest.approx(0, abs=1e-6)
    assert with_likelihood.item() == pytest.approx(2 * nll.item(), rel=1e-5)


def test_rewards_are_computed_without_dropout() -> None:
    model = built(discriminator_dropout=0.9, rollouts=1)
    discriminator, tokens = model.networks["discriminator"].train(), torch.zeros(2, 3, dtype=torch.int64)
    assert torch.equal(discriminator.probability(tokens), discriminator.probability(tokens))
    dropped = discriminator(tokens, torch.Generator().manual_seed(0))
    assert not torch.equal(dropped.sigmoid(), discriminator.probability(tokens))


def test_paper_preset_has_the_published_sizes() -> None:
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
    assert model.optimizer("generator", state_of(model).moment(model.knobs, 0.0)).max_grad_norm == 5.0


def test_paper_preset_has_the_published_number_of_discriminator_updates() -> None:
    """Yu's code: 15 epochs of 9,984 real and generated sentences per round, 50 times 3 epochs in pretraining."""
    words = Vocabulary(tuple(map(str, range(50))))
    recipe = catalog.build("models", "seqgan:paper")
    model = recipe.build(DataSpec((20,), vocabulary=words), torch.Generator().manual_seed(0))
    updates, sentences = model.knobs.discriminator_steps, 64 + 64
    assert recipe.generator_every * updates * sentences == 15 * 2 * 9_984
    assert recipe.discriminator_pretraining_steps * updates * sentences == 50 * 3 * 2 * 9_984


def test_convolutions_wider_than_sentences_are_omitted() -> None:
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
def test_invalid_options_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        built(**options)


@pytest.mark.parametrize(("spec", "other"), [(DataSpec((2,)), "mlp"), (DataSpec((1, 32, 32)), "dcgan")])
def test_data_without_vocabulary_raise(spec: DataSpec, other: str) -> None:
    for model in ("seqgan", "textgan"):
        with pytest.raises(SettingError, match=f"{model} generates sentences.*--model {other}"):
            catalog.build("models", model).build(spec, torch.Generator())


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_other_models_reject_sentences(name: str) -> None:
    with pytest.raises(SettingError, match="not sentences; use --model seqgan"):
        catalog.build("models", name).build(DataSpec((3,), vocabulary=ENDS), torch.Generator())
