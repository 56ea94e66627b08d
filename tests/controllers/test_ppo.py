"""PPO within a run: its update compared with torch, and the rewards. Its replay: test_replay.py."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from equipoise.controllers import _ppo_update
from equipoise.controllers._ppo_update import CLIP, VALUE_WEIGHT, Learner, LearningStep, Rollout
from equipoise.controllers.ppo import PPO
from equipoise.core import catalog
from equipoise.core.controller import state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError
from equipoise.policy.files import Policy, encode_policy
from equipoise.policy.kinds import untrained_policy
from equipoise.policy.network import PolicyNetwork
from equipoise.policy.reward import reward

BASE = AdversarialKnobs()


def policy(seed: int = 0) -> Policy:
    source = np.random.default_rng(seed)

    def random_network(sizes: tuple[int, ...], squash: Any) -> PolicyNetwork:
        start = PolicyNetwork.start(sizes, squash, source)
        return start.with_flat(0.5 * source.standard_normal(start.flat().size))

    actor, critic = random_network((4, 6, 5, 2), "clip"), random_network((4, 7, 1), "none")
    return dataclasses.replace(untrained_policy("ppo"), actor=actor, critic=critic, log_std=np.array([-0.7, -1.2]))


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "p.safetensors").write_bytes(encode_policy(policy()))
    return str(tmp_path / "p.safetensors")


def batch(count: int = 12) -> Rollout:
    source = np.random.default_rng(7)
    learner = _ppo_update.learner_of(policy())
    features = source.uniform(-1, 1, (count, 4))
    actions = learner.actor.layers(features)[-1] + 0.4 * source.standard_normal((count, 2))
    means = learner.actor.layers(features)[-1]
    logs = (
        Normal(torch.tensor(means), torch.tensor(learner.log_std).exp()).log_prob(torch.tensor(actions)).sum(1).numpy()
    )
    return Rollout(features, actions, logs + 0.3 * source.standard_normal(count), *source.standard_normal((2, count)))


def torch_loss(row: Tensor, learner: Learner, rollout: Rollout) -> Tensor:
    """The loss of the papers in torch, as a function of all weights in one vector."""

    def forward(network: PolicyNetwork, weights: Tensor, x: Tensor) -> Tensor:
        start = 0
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            w = weights[start : start + weight.size].view(*weight.shape)
            b = weights[start + weight.size : start + weight.size + bias.size]
            start += weight.size + bias.size
            x = x @ w.T + b
            x = x if number == len(network.weights) - 1 else x.tanh()
        return x

    sizes = [learner.actor.flat().size, learner.critic.flat().size, learner.log_std.size]
    actor, critic, log_std = row.split(sizes)
    features, actions, logs, advantages, returns = map(torch.tensor, rollout)
    ratio = (Normal(forward(learner.actor, actor, features), log_std.exp()).log_prob(actions).sum(1) - logs).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages).mean()
    return -surrogate + VALUE_WEIGHT * (forward(learner.critic, critic, features)[:, 0] - returns).square().mean()


def test_the_gradient_of_the_loss_equals_torch() -> None:
    learner, rollout = _ppo_update.learner_of(policy()), batch()
    row = torch.tensor(learner.flat(), requires_grad=True)
    torch_loss(row, learner, rollout).backward()
    assert row.grad is not None
    assert np.allclose(_ppo_update.loss_gradient(learner, rollout), row.grad.numpy(), atol=1e-12)
    assert np.abs(row.grad.numpy()).max() > 0.01


def test_advantages_follow_the_definition() -> None:
    learner, source = _ppo_update.learner_of(policy()), np.random.default_rng(1)
    steps = [
        LearningStep(tuple(source.uniform(-1, 1, 4).tolist()), (0.0, 0.0), 0.0, reward) for reward in (1.0, -2.0, 0.5)
    ]
    after = source.uniform(-1, 1, 4).tolist()
    rollout = _ppo_update.make_rollout(learner, steps, after)
    values = learner.critic(np.array([*(step.features for step in steps), after]))[:, 0]
    deltas = [step.reward + values[t + 1] - values[t] for t, step in enumerate(steps)]
    expected = [sum(0.95**k * deltas[t + k] for k in range(3 - t)) for t in range(3)]
    assert rollout.advantages == pytest.approx(expected)
    assert rollout.returns == pytest.approx(np.array(expected) + values[:3])


def test_the_divergence_equals_torch() -> None:
    one, other, features = _ppo_update.learner_of(policy(0)), _ppo_update.learner_of(policy(3)), batch().features
    pair = [Normal(*map(torch.tensor, (a.actor.layers(features)[-1], np.exp(a.log_std)))) for a in (one, other)]
    assert _ppo_update.divergence(one, other, features) == pytest.approx(kl_divergence(*pair).sum(1).mean().item())
    assert _ppo_update.divergence(one, one, features) == 0


def decisions(controller: PPO, count: int) -> list[Any]:
    """Turns of a run whose distance falls faster with a higher learning rate; one decision every 50 steps."""
    state = initial = controller.initial(BASE)
    knobs, distance, turns = BASE, 100.0, []
    for number in range(count + 1):
        signals = Signals(loss_g=1.0, loss_d=1.2, diversity=0.8, metrics={"fd_pixels": MetricReading(distance, 0)})
        turn = controller.update(
            state_from_json(initial, json.loads(json.dumps(state_to_json(state)))),
            Observation(50 * number, number / count, signals, Health(), knobs),
        )
        knobs, state = knobs.step_towards(turn.knobs), turn.state
        distance *= 1 - 600 * knobs.lr_g
        turns.append(turn)
    return turns


def test_every_decision_has_a_reward(file: str) -> None:
    first, second, third = decisions(PPO(policy=file), 2)
    assert (first.reward, first.knobs.lr_g) == (None, 2e-4), "the start is not a decision"
    signals = Signals(loss_g=1.0, loss_d=1.2, diversity=0.8)
    assert second.reward == pytest.approx(reward(None, signals, 0.5))
    assert third.reward > second.reward


def test_without_learning_it_follows_the_policy(file: str) -> None:
    turns = decisions(PPO(policy=file), 6)
    assert all(1e-4 <= turn.knobs.lr_g <= 3e-4 and turn.knobs.lr_g == turn.knobs.lr_d for turn in turns)
    assert all(0.3 <= turn.knobs.beta1 <= 0.7 for turn in turns)
    assert turns[-1].state.learning is None
    assert [turn.knobs for turn in turns] == [turn.knobs for turn in decisions(PPO(policy=file), 6)]


def test_it_learns_within_a_run(file: str) -> None:
    controller = PPO(policy=file, learn=True, rollout=4)
    turns = decisions(controller, 20)
    start = _ppo_update.initial_state(policy()).weights
    assert turns[3].state.learning.weights == start
    last = turns[-1].state.learning
    assert last.weights != start
    assert last.decisions == 20
    assert len(last.steps) <= 4
    assert last.updates > 0
    assert len({turn.knobs.lr_g for turn in turns}) > 15, "it explores"
    assert decisions(controller, 20) == turns
    other = decisions(dataclasses.replace(controller, seed=1), 20)
    assert [turn.knobs for turn in other] != [turn.knobs for turn in turns]


def test_learning_continues_after_a_loss_that_is_not_finite(file: str) -> None:
    controller = PPO(policy=file, learn=True, rollout=4)
    state, before = controller.initial(BASE), None
    for number in range(21):
        odd = math.nan if number == 6 else 1.0
        signals = Signals(loss_g=odd, loss_d=1.2, diversity=0.8, metrics={"fd_pixels": MetricReading(50.0 - number, 0)})
        turn = controller.update(state, Observation(50 * number, number / 20, signals, Health(), BASE))
        state, before = turn.state, state
    assert before is not None
    assert np.isfinite(state.learning.weights).all()
    assert state.learning.updates > 2 * _ppo_update.EPOCHS, "it has learned after that as well"
    start = _ppo_update.initial_state(policy())
    step = LearningStep((0.0,) * 4, (0.0, 0.0), 0.0, math.nan)
    assert _ppo_update.learn(dataclasses.replace(start, steps=(step,)), policy(), [0.0] * 4, 1.0) == start


def test_learning_raises_the_reward() -> None:
    """The reward is the first number of the action; after many rollouts the policy raises it."""
    start, features = policy(), [0.1, 0.2, 0.3, 0.4]
    state, source = _ppo_update.initial_state(start), np.random.default_rng(0)
    before = start.actor.layers(np.array(features))[-1][0]
    for number in range(40):
        learner = _ppo_update.learner_of(start).with_flat(state.weights)
        steps = []
        for decision in range(16):
            vector = source.uniform(-1, 1, 4).tolist()
            action, log = _ppo_update.sample_action(learner, vector, (number, decision))
            steps.append(LearningStep(tuple(vector), tuple(action.tolist()), log, float(action[0])))
        state = _ppo_update.learn(dataclasses.replace(state, steps=tuple(steps)), start, features, leash=1e9)
    after = _ppo_update.learner_of(start).with_flat(state.weights).actor.layers(np.array(features))[-1][0]
    assert after > before + 0.1


def test_the_policy_stays_near_its_file() -> None:
    start, leash = policy(), 1e-3
    state, features = _ppo_update.initial_state(start), batch().features
    for number in range(20):
        learner = _ppo_update.learner_of(start).with_flat(state.weights)
        steps = []
        for decision, vector in enumerate(features.tolist()):
            action, log = _ppo_update.sample_action(learner, vector, (number, decision))
            steps.append(LearningStep(tuple(vector), tuple(action.tolist()), log, float(action[0])))
        state = _ppo_update.learn(dataclasses.replace(state, steps=tuple(steps)), start, features[0].tolist(), leash)
        learner = _ppo_update.learner_of(start).with_flat(state.weights)
        assert _ppo_update.divergence(learner, _ppo_update.learner_of(start), features) <= leash
    assert state.updates < 20 * _ppo_update.EPOCHS


@pytest.mark.parametrize(("option", "value"), [("rollout", 0), ("leash", 0.0)])
def test_invalid_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{option} = 0: it must be a"):
        catalog.build("controllers", "ppo", {option: value})
