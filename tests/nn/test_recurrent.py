"""Sampling of tokens and sentences, and roll-outs of every prefix."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from equipoise.nn.recurrent import Recurrent, roll_out
from equipoise.nn.token_sampling import sample_tokens, sample_tokens_likeliest_first

DRAWS = 40_000


def network(words: int = 5, ends: bool = False, seed: int = 0, spread: float = 0.8) -> Recurrent:
    source = torch.Generator().manual_seed(seed)
    model = Recurrent(words, 4, 6, ends=ends)
    for weight in model.parameters():
        weight.detach().normal_(0, spread, generator=source)
    return model


def fits(tokens: Tensor, shares: Tensor) -> bool:
    """Pearson's chi-square within 4.5 standard deviations of its mean; rare words are combined."""
    counts, expected = torch.bincount(tokens, minlength=len(shares)).double(), shares.double() * len(tokens)
    rare = expected < 5
    pairs = [torch.cat([each[~rare], each[rare].sum()[None]]) for each in (counts, expected)]
    statistic = ((pairs[0] - pairs[1]).square() / pairs[1].clamp_min(1e-9)).sum().item()
    freedom = int((~rare).sum())
    return abs(statistic - freedom) < 4.5 * math.sqrt(2 * max(1, freedom))


@pytest.mark.parametrize("words", [1, 2, 3, 17, 200, 997])
@pytest.mark.parametrize("sampler", [sample_tokens, sample_tokens_likeliest_first])
def test_tokens_are_sampled_by_their_probabilities(words: int, sampler) -> None:
    """Vocabulary sizes with a divisor near their root, and primes, whose last block is padded."""
    source = torch.Generator().manual_seed(words)
    logits = torch.randn(words, generator=source) * 2
    draws = min(DRAWS, 4_000_000 // words)
    tokens = sampler(logits.repeat(draws, 1), torch.rand(draws, generator=source))
    assert tokens.shape == (draws,)
    assert 0 <= tokens.min() <= tokens.max() < words
    assert fits(tokens, logits.softmax(dim=0))


def test_goodness_of_fit_detects_a_different_distribution() -> None:
    logits = torch.tensor([1.0, 0.9, -1.0])
    tokens = sample_tokens(logits.repeat(DRAWS, 1), torch.rand(DRAWS, generator=torch.Generator().manual_seed(0)))
    assert not fits(tokens, torch.tensor([0.9, 1.0, -1.0]).softmax(dim=0))


def test_tokens_of_probability_0_are_never_sampled() -> None:
    logits = torch.full((2, 10), -torch.inf)
    logits[:, 4] = 0
    for sampler in (sample_tokens, sample_tokens_likeliest_first):
        assert sampler(logits.clone(), torch.tensor([0.0, 1.0])).tolist() == [4, 4]


def test_small_numbers_select_the_most_likely_tokens() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().repeat(4, 1)
    assert sample_tokens_likeliest_first(logits, torch.tensor([0.49, 0.74, 0.89, 0.95])).tolist() == [1, 3, 2, 0]


def test_likelihood_equals_that_of_an_lstm_and_sums_to_1() -> None:
    model = network(3)
    sentences = torch.tensor(list(itertools.product(range(3), repeat=4)))
    likelihood = model.log_likelihood(sentences)
    assert likelihood.exp().sum().item() == pytest.approx(1, abs=1e-5)
    tokens, total = sentences[50], 0.0
    hidden = cell = torch.zeros(1, 6)
    for before, token in zip([3, *tokens[:-1].tolist()], tokens.tolist(), strict=True):
        gates = model.embedding.weight[before] @ model.lstm.weight_ih_l0.T + model.lstm.bias_ih_l0
        gates = gates + hidden @ model.lstm.weight_hh_l0.T + model.lstm.bias_hh_l0
        i, f, g, o = gates.chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        total += model.exit(hidden).log_softmax(dim=1)[0, token].item()
    assert likelihood[50].item() == pytest.approx(total, abs=1e-5)


def test_only_ends_follow_an_end() -> None:
    model = network(3, ends=True)
    every = {
        row if 0 not in row else (*row[: row.index(0)], *[0] * (4 - row.index(0)))
        for row in itertools.product(range(3), repeat=4)
    }
    assert model.log_likelihood(torch.tensor(sorted(every))).exp().sum().item() == pytest.approx(1, abs=1e-5)
    sentences = model.sentences(200, 4, torch.Generator().manual_seed(0))
    assert set(map(tuple, sentences.tolist())) <= every
    assert any(0 in row[:-1] for row in sentences.tolist()), "some end before the last place"


def test_sentences_are_sampled_by_their_likelihood() -> None:
    """With both methods of sampling."""
    model = network(3, ends=True)
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    places = torch.tensor([9, 3, 1])
    counted = (every[:, 0] != 0) | (every[:, 1:] == 0).all(dim=1)
    counted &= (every[:, 1] != 0) | (every[:, 2] == 0)
    shares = torch.zeros(27).double().index_put_(((every * places).sum(1),), model.log_likelihood(every).exp())
    shares = shares * counted
    for sentences in (
        model.sentences(DRAWS, 3, torch.Generator().manual_seed(1)),
        model.from_latent(torch.rand(DRAWS, 3, generator=torch.Generator().manual_seed(1))),
    ):
        assert fits((sentences * places).sum(dim=1), shares)


def test_negative_log_likelihood_is_the_mean_up_to_the_ends() -> None:
    model, tokens = network(4, ends=True), torch.tensor([[1, 0, 0], [2, 3, 1], [0, 0, 0]])
    expected = -model.log_likelihood(tokens).sum() / (2 + 3 + 1)
    torch.testing.assert_close(model.negative_log_likelihood(tokens).double(), expected, atol=1e-5, rtol=0)


def test_temperature_divides_logits() -> None:
    model, tokens = network(), torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(model.at_temperature(0.5)(tokens), model(tokens) * 2)


def test_roll_outs_preserve_prefixes() -> None:
    """The token after each prefix is sampled from the softmax of that prefix."""
    model, source = network(4), torch.Generator().manual_seed(0)
    tokens = model.sentences(3, 4, source)
    result = roll_out(model, tokens, 4000, source)
    assert result.shape == (3, 4000, 3, 4)
    for length, sentence in itertools.product(range(1, 4), range(3)):
        rows = result[length - 1, :, sentence]
        assert (rows[:, :length] == tokens[sentence, :length]).all()
        shares = model(tokens[sentence : sentence + 1])[0, length].softmax(dim=0)
        assert fits(rows[:, length], shares)


def test_roll_outs_are_sampled_from_the_model() -> None:
    """Complete continuations of one token, compared with their exact probabilities."""
    model, source = network(3), torch.Generator().manual_seed(0)
    tokens = torch.tensor([[2, 0, 1]])
    result = roll_out(model, tokens, DRAWS, source)[0, :, 0]
    every = torch.tensor([[2, a, b] for a, b in itertools.product(range(3), repeat=2)])
    likelihood = model.log_likelihood(every).exp()
    assert fits(result[:, 1] * 3 + result[:, 2], likelihood / likelihood.sum())


def test_roll_outs_of_an_ended_sentence_equal_the_sentence() -> None:
    model, source = network(4, ends=True), torch.Generator().manual_seed(0)
    tokens = torch.tensor([[2, 0, 0, 0], [1, 2, 3, 1]])
    result = roll_out(model, tokens, 50, source)
    assert (result[1:, :, 0] == tokens[0]).all()
    assert not (result[0, :, 0] == tokens[0]).all()
    for row in result.flatten(0, 2).tolist():
        assert 0 not in row or not any(row[row.index(0) :]), "nothing follows an end"


def test_dropout_uses_the_generator() -> None:
    model, tokens = network(), torch.tensor([[1, 2, 3]])
    one, same, other = (model(tokens, 0.5, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(model(tokens, 0.5), model(tokens))
