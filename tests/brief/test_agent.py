"""The agent of the brief: its decisions, their bounds, rewards and learning."""

import json
import math

import pytest
import torch

from equipoise import PPOHyperparameterOptimizer
from equipoise.brief.agent import calculate_diversity_score, calculate_rewards
from equipoise.errors import SettingError


def train(agent, batches=1000, optimizers=(), fid=lambda batch: 100.0 / (1 + batch / 100)):
    """The decisions, by batch."""
    result = {}
    for batch in range(1, batches + 1):
        if decision := agent.update(
            loss_g=1.5, loss_d=torch.tensor(0.9), fid=fid(batch), diversity=0.8, optimizers=optimizers
        ):
            result[batch] = decision
    return result


def test_it_decides_every_fifty_batches_within_the_bounds_of_the_brief() -> None:
    agent = PPOHyperparameterOptimizer(1000)
    assert agent.hyperparameters == (2e-4, 0.5)
    result = train(agent)
    assert list(result) == list(range(50, 1001, 50))
    assert all(1e-4 - 1e-12 <= one.learning_rate <= 3e-4 + 1e-12 for one in result.values())
    assert all(0.3 - 1e-12 <= one.beta1 <= 0.7 + 1e-12 for one in result.values())
    assert len(set(result.values())) > 5


def test_it_writes_to_the_optimizers() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    adam, sgd = torch.optim.Adam([weight], lr=1.0, betas=(0.9, 0.99)), torch.optim.SGD([weight], lr=1.0)
    agent = PPOHyperparameterOptimizer(1000)
    decision = train(agent, 50, (adam, sgd))[50]
    assert adam.param_groups[0]["lr"] == sgd.param_groups[0]["lr"] == decision.learning_rate
    assert adam.param_groups[0]["betas"] == (decision.beta1, 0.99)


def test_rewards_follow_the_brief() -> None:
    agent = PPOHyperparameterOptimizer(1000, learn=False)
    train(agent)
    fids = [100.0 / (1 + batch / 100) for batch in range(50, 1001, 50)]
    pairs = zip([None, *fids], fids, range(50, 1001, 50), strict=False)
    expected = [calculate_rewards(before, now, 1.5, 0.9, 0.8, batch / 1000) for before, now, batch in pairs]
    assert agent.rewards == pytest.approx(expected, abs=1e-6)
    p, gap = 0.1, 0.6 / 1.6
    by_hand = (0.4 + 0.4 * p) * (1 - fids[1] / fids[0]) - (0.4 - 0.3 * p) * gap + (0.2 - 0.1 * p) * 0.8
    assert agent.rewards[1] == pytest.approx(by_hand)


def test_learning_is_optional() -> None:
    learning, resting = PPOHyperparameterOptimizer(2000, seed=1), PPOHyperparameterOptimizer(2000, learn=False)
    train(learning, 2000)
    train(resting, 2000)
    assert learning.state_dict()["state"]["learning"]["updates"] > 0
    assert resting.state_dict()["state"]["learning"] is None
    again = PPOHyperparameterOptimizer(2000, seed=1)
    assert train(again, 500) == train(PPOHyperparameterOptimizer(2000, seed=1), 500), "the seed determines it"


def test_it_continues_from_its_state() -> None:
    uninterrupted, first, second = (PPOHyperparameterOptimizer(1000) for _ in range(3))
    expected = train(uninterrupted, 600)
    train(first, 420)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    rest = {}
    for batch in range(421, 601):
        if decision := second.update(loss_g=1.5, loss_d=0.9, fid=100.0 / (1 + batch / 100), diversity=0.8):
            rest[batch] = decision
    assert rest.keys() == {450, 500, 550, 600}
    assert all(rest[batch] == pytest.approx(expected[batch]) for batch in rest)


@pytest.mark.parametrize("learn", [True, False])
def test_the_state_of_a_learning_agent_needs_a_learning_agent(learn) -> None:
    saved = PPOHyperparameterOptimizer(100, learn=learn).state_dict()
    with pytest.raises(SettingError, match=f"the state belongs to an agent with learn={learn}"):
        PPOHyperparameterOptimizer(100, learn=not learn).load_state_dict(saved)


def test_diversity_is_the_variance_relative_to_reals() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(500, 3, 4, 4, generator=generator)
    assert calculate_diversity_score(real, real) == 1
    assert calculate_diversity_score(real[:1].expand(500, -1, -1, -1), real) == pytest.approx(0, abs=1e-6)
    assert calculate_diversity_score(real / 2, real) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"loss_g": math.nan, "loss_d": 1.0}, "loss_g is nan in batch 1"),
        ({"loss_g": None, "loss_d": 1.0}, "loss_g is missing"),
        ({"loss_g": 1.0, "loss_d": torch.ones(3)}, "loss_d must be one number"),
    ],
)
def test_an_invalid_loss_is_refused(losses, message: str) -> None:
    agent = PPOHyperparameterOptimizer(1000)
    with pytest.raises(SettingError, match=message):
        agent.update(**losses)
    assert agent.state_dict()["batch"] == 0


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="total_batches = 0: it must be at least 1"):
        PPOHyperparameterOptimizer(0)
    with pytest.raises(SettingError, match="there is no policy 'nowhere'"):
        PPOHyperparameterOptimizer(100, policy="nowhere")
