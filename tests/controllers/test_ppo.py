"""PPO within a run: the update against torch's gradients, and the rewards. Its replay: test_replayed.py."""

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

from equipoise.controllers import _learning as learning
from equipoise.controllers._learning import CLIP, VALUE, Learner, Rollout
from equipoise.controllers.ppo import PPO
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError
from equipoise.policy.blank import blank
from equipoise.policy.files import Policy, encoded
from equipoise.policy.network import Network
from equipoise.policy.reward import reward

BASE = AdversarialKnobs()


def policy(seed: int = 0) -> Policy:
    source = np.random.default_rng(seed)

    def filled(sizes: tuple[int, ...], squash: Any) -> Network:
        start = Network.start(sizes, squash, source)
        return start.with_flat(0.5 * source.standard_normal(start.flat().size))

    actor, critic = filled((4, 6, 5, 2), "clip"), filled((4, 7, 1), "none")
    return dataclasses.replace(blank("ppo"), actor=actor, critic=critic, log_std=np.array([-0.7, -1.2]))


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "p.safetensors").write_bytes(encoded(policy()))
    return str(tmp_path / "p.safetensors")


def batch(count: int = 12) -> Rollout:
    source = np.random.default_rng(7)
    here = learning.learner(policy())
    seen = source.uniform(-1, 1, (count, 4))
    actions = here.actor.layers(seen)[-1] + 0.4 * source.standard_normal((count, 2))
    means = here.actor.layers(seen)[-1]
    logs = Normal(torch.tensor(means), torch.tensor(here.log_std).exp()).log_prob(torch.tensor(actions)).sum(1).numpy()
    return Rollout(seen, actions, logs + 0.3 * source.standard_normal(count), *source.standard_normal((2, count)))


def theirs(row: Tensor, here: Learner, rollout: Rollout) -> Tensor:
    """The loss as the papers have it, in torch, of all weights in a row."""

    def through(network: Network, weights: Tensor, x: Tensor) -> Tensor:
        start = 0
        for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            w = weights[start : start + weight.size].view(*weight.shape)
            b = weights[start + weight.size : start + weight.size + bias.size]
            start += weight.size + bias.size
            x = x @ w.T + b
            x = x if number == len(network.weights) - 1 else x.tanh()
        return x

    sizes = [here.actor.flat().size, here.critic.flat().size, here.log_std.size]
    actor, critic, log_std = row.split(sizes)
    seen, actions, logs, advantages, returns = map(torch.tensor, rollout)
    ratio = (Normal(through(here.actor, actor, seen), log_std.exp()).log_prob(actions).sum(1) - logs).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages).mean()
    return -surrogate + VALUE * (through(here.critic, critic, seen)[:, 0] - returns).square().mean()


def test_the_gradient_of_the_loss_is_that_of_torch() -> None:
    here, rollout = learning.learner(policy()), batch()
    row = torch.tensor(here.flat(), requires_grad=True)
    theirs(row, here, rollout).backward()
    assert row.grad is not None
    assert np.allclose(learning.loss_gradient(here, rollout), row.grad.numpy(), atol=1e-12)
    assert np.abs(row.grad.numpy()).max() > 0.01


def test_advantages_are_those_of_the_definition() -> None:
    here, source = learning.learner(policy()), np.random.default_rng(1)
    steps = [
        {"seen": source.uniform(-1, 1, 4).tolist(), "action": [0.0, 0.0], "log": 0.0, "reward": reward}
        for reward in (1.0, -2.0, 0.5)
    ]
    after = source.uniform(-1, 1, 4).tolist()
    made = learning.rollout(here, steps, after)
    values = here.critic(np.array([*(step["seen"] for step in steps), after]))[:, 0]
    deltas = [step["reward"] + values[t + 1] - values[t] for t, step in enumerate(steps)]
    expected = [sum(0.95**k * deltas[t + k] for k in range(3 - t)) for t in range(3)]
    assert made.advantages == pytest.approx(expected)
    assert made.returns == pytest.approx(np.array(expected) + values[:3])


def test_the_divergence_is_that_of_torch() -> None:
    one, other, seen = learning.learner(policy(0)), learning.learner(policy(3)), batch().seen
    pair = [Normal(*map(torch.tensor, (a.actor.layers(seen)[-1], np.exp(a.log_std)))) for a in (one, other)]
    assert learning.divergence(one, other, seen) == pytest.approx(kl_divergence(*pair).sum(1).mean().item())
    assert learning.divergence(one, one, seen) == 0


def decided(controller: PPO, wanted: int, state: Any = None) -> list[Any]:
    """Turns of a run whose distance falls the faster, the higher its learning rate; a decision every 50 steps."""
    state, knobs, distance, turns = state or controller.initial(BASE), BASE, 100.0, []
    for number in range(wanted + 1):
        signals = Signals(loss_g=1.0, loss_d=1.2, diversity=0.8, metrics={"fd_pixels": MetricReading(distance, 0)})
        turn = controller.update(
            json.loads(json.dumps(state)),
            Observation(50 * number, number / wanted, signals, Health(), knobs),
        )
        knobs, state = knobs.clamped(turn.knobs), turn.state
        distance *= 1 - 600 * knobs.lr_g
        turns.append(turn)
    return turns


def test_it_says_what_each_decision_earned(file: str) -> None:
    first, second, third = decided(PPO(policy=file), 2)
    assert (first.reward, first.knobs.lr_g) == (None, 2e-4), "the start is not a decision"
    signals = Signals(loss_g=1.0, loss_d=1.2, diversity=0.8)
    assert second.reward == pytest.approx(reward(None, signals, 0.5))
    assert third.reward > second.reward


def test_without_learning_it_does_what_the_policy_says(file: str) -> None:
    turns = decided(PPO(policy=file), 6)
    assert all(1e-4 <= turn.knobs.lr_g <= 3e-4 and turn.knobs.lr_g == turn.knobs.lr_d for turn in turns)
    assert all(0.3 <= turn.knobs.beta1 <= 0.7 for turn in turns)
    assert "learning" not in turns[-1].state
    assert [turn.knobs for turn in turns] == [turn.knobs for turn in decided(PPO(policy=file), 6)]


def test_it_learns_on_within_a_run(file: str) -> None:
    controller = PPO(policy=file, learn=True, rollout=4)
    turns = decided(controller, 20)
    start = learning.unlearned(policy())["weights"]
    assert turns[3].state["learning"]["weights"] == start
    last = turns[-1].state["learning"]
    assert last["weights"] != start
    assert last["decisions"] == 20
    assert len(last["steps"]) <= 4
    assert last["updates"] > 0
    assert len({turn.knobs.lr_g for turn in turns}) > 15, "it explores"
    assert decided(controller, 20) == turns
    other = decided(dataclasses.replace(controller, seed=1), 20)
    assert [turn.knobs for turn in other] != [turn.knobs for turn in turns]


def test_one_loss_that_is_no_number_does_not_end_learning(file: str) -> None:
    controller = PPO(policy=file, learn=True, rollout=4)
    state, before = controller.initial(BASE), None
    for number in range(21):
        odd = math.nan if number == 6 else 1.0
        signals = Signals(loss_g=odd, loss_d=1.2, diversity=0.8, metrics={"fd_pixels": MetricReading(50.0 - number, 0)})
        turn = controller.update(state, Observation(50 * number, number / 20, signals, Health(), BASE))
        state, before = turn.state, state
    assert before is not None
    assert np.isfinite(state["learning"]["weights"]).all()
    assert state["learning"]["updates"] > 2 * learning.EPOCHS, "it has learned after that, too"
    spoilt = learning.unlearned(policy()) | {"steps": [{"seen": [0.0] * 4, "action": [0, 0], "log": 0, "reward": odd}]}
    spoilt["steps"][0]["reward"] = math.nan
    assert learning.learned(spoilt, policy(), [0.0] * 4, 1.0) == {**spoilt, "steps": []}


def test_learning_raises_what_is_paid() -> None:
    """Actions are paid for their first number; after many rollouts the policy wants it higher."""
    chosen, seen = policy(), [0.1, 0.2, 0.3, 0.4]
    state, source = learning.unlearned(chosen), np.random.default_rng(0)
    before = chosen.actor.layers(np.array(seen))[-1][0]
    for number in range(40):
        here = learning.learner(chosen).with_flat(state["weights"])
        steps = []
        for decision in range(16):
            vector = source.uniform(-1, 1, 4).tolist()
            action, log = learning.sampled(here, vector, (number, decision))
            steps.append({"seen": vector, "action": action.tolist(), "log": log, "reward": float(action[0])})
        state = learning.learned({**state, "steps": steps}, chosen, seen, leash=1e9)
    after = learning.learner(chosen).with_flat(state["weights"]).actor.layers(np.array(seen))[-1][0]
    assert after > before + 0.1


def test_it_stays_near_its_file() -> None:
    chosen, leash = policy(), 1e-3
    state, seen = learning.unlearned(chosen), batch().seen
    for number in range(20):
        here = learning.learner(chosen).with_flat(state["weights"])
        steps = []
        for decision, vector in enumerate(seen.tolist()):
            action, log = learning.sampled(here, vector, (number, decision))
            steps.append({"seen": vector, "action": action.tolist(), "log": log, "reward": float(action[0])})
        state = learning.learned({**state, "steps": steps}, chosen, seen[0].tolist(), leash)
        here = learning.learner(chosen).with_flat(state["weights"])
        assert learning.divergence(here, learning.learner(chosen), seen) <= leash
    assert state["updates"] < 20 * learning.EPOCHS


@pytest.mark.parametrize(("option", "value"), [("rollout", 0), ("leash", 0.0)])
def test_what_cannot_be_is_told(option: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{option} = 0: it must be a"):
        catalog.build("controllers", "ppo", {option: value})
