"""Metrics of sentences: BLEU compared with nltk, enumeration with definitions, likelihood with counts."""

import itertools
import math
import random
from dataclasses import dataclass

import pytest
import torch
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LikelihoodMetric, ReferenceSet
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import DataError
from equipoise.metrics._ngrams import ReferenceNgrams
from equipoise.metrics._sentences import TokenFeatures

ENDLESS = Vocabulary(("x", "y", "z"))
ENDS = Vocabulary((ENDING, "x", "y"))
METHOD = SmoothingFunction().method1


def lines(count: int, seed: int, words: int = 6, longest: int = 9) -> list[list[int]]:
    source = random.Random(seed)
    return [[source.randrange(words) for _ in range(source.randint(1, longest))] for _ in range(count)]


def by_nltk(references: list[list[int]], sentence: list[int], order: int) -> float:
    return sentence_bleu(references, sentence, weights=[1 / order] * order, smoothing_function=METHOD)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_bleu_equals_nltk(order: int) -> None:
    """For short and long sentences, with repeated words, and without any word of the references."""
    references, samples = lines(30, 0), [*lines(40, 1, words=8), [99, 98], [0] * 12]
    ngrams = ReferenceNgrams.build(references, order)
    for sentence in samples:
        assert ngrams.bleu(sentence) == pytest.approx(by_nltk(references, sentence, order), abs=1e-12)


@pytest.mark.parametrize("order", [2, 4])
def test_self_bleu_excludes_only_the_sentence_itself(order: int) -> None:
    """Includes sentences that occur twice, and one whose length occurs once."""
    samples = [*lines(25, 2, words=3), *lines(5, 2, words=3), [1] * 20]
    ngrams = ReferenceNgrams.build(samples, order)
    for place, sentence in enumerate(samples):
        others = samples[:place] + samples[place + 1 :]
        assert ngrams.bleu(sentence, place) == pytest.approx(by_nltk(others, sentence, order), abs=1e-12)


def test_self_bleu_warns_of_empty_sentences() -> None:
    """nltk gives them 0, the best value; so does this implementation."""
    fake = torch.tensor([[1, 2, 0, 0], [2, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    reference = ReferenceSet(fake, spec=DataSpec((4,), vocabulary=ENDS))
    metric = catalog.build("metrics", "self_bleu")
    assert ReferenceNgrams.build([[1, 2], []], 4).bleu([], 1) == by_nltk([[1, 2]], [], 4) == 0
    (warning,) = metric.compute(reference, fake, Bootstrap()).warnings
    assert "50.0% of samples are empty" in warning
    assert metric.compute(reference, fake[:2], Bootstrap()).warnings == ()
    with pytest.raises(DataError, match=r"self_bleu .* 1 is too few"):
        metric.compute(reference, fake[:1], Bootstrap())


def test_bleu_averages_over_samples_up_to_their_end() -> None:
    real = torch.tensor([[1, 2, 1, 0], [2, 2, 0, 0], [1, 1, 1, 1]])
    fake = torch.tensor([[1, 2, 0, 0], [2, 1, 1, 0]])
    cut = [[1, 2, 1], [2, 2], [1, 1, 1, 1]]
    reference = ReferenceSet(real, spec=DataSpec((4,), vocabulary=ENDS))
    result = catalog.build("metrics", "bleu:2").compute(reference, fake, Bootstrap()).value
    assert result == pytest.approx((by_nltk(cut, [1, 2], 2) + by_nltk(cut, [2, 1, 1], 2)) / 2, abs=1e-6)
    result = catalog.build("metrics", "self_bleu:3").compute(reference, fake, Bootstrap()).value
    expected = (by_nltk([[2, 1, 1]], [1, 2], 3) + by_nltk([[1, 2]], [2, 1, 1], 3)) / 2
    assert result == pytest.approx(expected, abs=1e-6)


def test_copy_rate_and_novelty_count_sentences() -> None:
    train = torch.tensor([[0, 1], [1, 1]])
    fake = torch.tensor([[0, 1], [0, 1], [2, 2], [2, 2], [2, 0]])
    real = ReferenceSet(train, train=train, spec=DataSpec((2,), vocabulary=ENDLESS))
    values = {
        name: catalog.build("metrics", name).compute(real, fake, Bootstrap()).value for name in ("copy_rate", "novelty")
    }
    assert values == {"copy_rate": pytest.approx(2 / 5), "novelty": pytest.approx(2 / 5)}
    with pytest.raises(DataError, match="needs the training reals"):
        catalog.build("metrics", "copy_rate").compute(ReferenceSet(train), fake, Bootstrap())


@dataclass(frozen=True)
class Law:
    """x is followed by any word, y only by x: six of nine sentences of two words, with known probabilities."""

    def log_probability(self, tokens: Tensor) -> Tensor:
        shares = torch.tensor([[0.1, 0.2, 0.3], [0.25, 0, 0], [0, 0.05, 0.1]], dtype=torch.float64)
        is_valid = ((tokens >= 0) & (tokens < 3)).all(dim=1)
        rows = tokens.clamp(0, 2)
        return torch.where(is_valid, shares[rows[:, 0], rows[:, 1]].log(), -math.inf)

    def support(self) -> Tensor:
        return torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0], [2, 1], [2, 2]])


SPEC = DataSpec((2,), vocabulary=ENDLESS, distribution=Law())


def model(tokens: Tensor) -> Tensor:
    """A generator of two independent words."""
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    return shares[tokens].sum(dim=1)


def test_enumerated_metrics_equal_the_definitions() -> None:
    rows = list(itertools.product(range(3), repeat=2))
    p = {row: math.exp(Law().log_probability(torch.tensor([row])).item()) for row in rows}
    g = {row: math.exp(model(torch.tensor([row])).item()) for row in rows}
    allowed = [row for row in rows if p[row]]
    mass = sum(g[row] for row in allowed)
    expected = {
        "sentence_mass": mass,
        "sentence_forward_kl": sum(p[row] * math.log(p[row] / g[row]) for row in allowed),
        "sentence_reverse_kl": sum(g[row] / mass * math.log(g[row] / mass / p[row]) for row in allowed),
        "sentence_entropy": -sum(g[row] / mass * math.log(g[row] / mass) for row in allowed),
    }
    real = ReferenceSet(torch.zeros(1, 2, dtype=torch.int64), spec=SPEC)
    for name, value in expected.items():
        metric = catalog.build("metrics", name)
        assert isinstance(metric, LikelihoodMetric)
        assert metric.suits(SPEC)
        assert not metric.suits(DataSpec((2,), vocabulary=ENDLESS))
        assert metric.compute_from_likelihood(model, real, Bootstrap(10)).value == pytest.approx(value), name


def test_enumerated_metrics_of_the_true_distribution_are_ideal() -> None:
    real = ReferenceSet(torch.zeros(1, 2, dtype=torch.int64), spec=SPEC)
    distribution = Law().log_probability
    values = {
        name: catalog.build("metrics", f"sentence_{name}")
        .compute_from_likelihood(distribution, real, Bootstrap())
        .value
        for name in ("mass", "forward_kl", "reverse_kl")
    }
    assert values == pytest.approx({"mass": 1, "forward_kl": 0, "reverse_kl": 0}, abs=1e-12)


def test_validity_counts_valid_sentences() -> None:
    fake = torch.tensor([[0, 0], [1, 0], [1, 1], [2, -1]])
    result = catalog.build("metrics", "validity").compute(ReferenceSet(fake, spec=SPEC), fake, Bootstrap(50))
    assert result.value == 0.5
    low, high = result.interval
    assert low < 0.5 < high


def test_nll_of_the_oracle_is_per_token_and_so_is_that_of_the_generator() -> None:
    fake = torch.tensor([[0, 0], [1, 0]])
    result = catalog.build("metrics", "nll_oracle").compute(ReferenceSet(fake, spec=SPEC), fake, Bootstrap()).value
    assert result == pytest.approx(-(math.log(0.1) + math.log(0.25)) / 4)
    held_out = ReferenceSet(torch.tensor([[0, 0], [1, 2]]), spec=DataSpec((2,), vocabulary=ENDLESS))
    result = catalog.build("metrics", "nll_gen").compute_from_likelihood(model, held_out, Bootstrap()).value
    assert result == pytest.approx(-(2 * math.log(0.5) + math.log(0.3) + math.log(0.2)) / 4)


def test_nll_of_sentences_that_end_counts_the_end_once() -> None:
    held_out = ReferenceSet(torch.tensor([[1, 0, 0], [1, 1, 2], [0, 0, 0]]), spec=DataSpec((3,), vocabulary=ENDS))
    result = catalog.build("metrics", "nll_gen").compute_from_likelihood(
        lambda rows: torch.full((3,), -6.0), held_out, Bootstrap(20)
    )
    assert result.value == pytest.approx(18 / (2 + 3 + 1))
    assert result.resampled.shape == (20,)


def test_invalid_tokens_are_marked() -> None:
    tokens = TokenFeatures()(torch.tensor([[0.0, 2.0], [math.nan, 1.0], [0.5, math.inf], [-3.0, 1.0]]))
    assert tokens.tolist() == [[0, 2], [-1, 1], [-1, -1], [-1, 1]]


def test_unknown_distribution_is_refused() -> None:
    fake = torch.zeros(2, 2, dtype=torch.int64)
    for name in ("validity", "nll_oracle"):
        with pytest.raises(DataError, match=f"{name} needs data with a known distribution"):
            catalog.build("metrics", name).compute(
                ReferenceSet(fake, spec=DataSpec((2,), vocabulary=ENDLESS)), fake, Bootstrap()
            )
