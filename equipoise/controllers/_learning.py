"""Proximal policy optimisation within a run, by hand: a few dozen decisions, and a policy that stays near its file.

    L = -E min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) + c E (V - R)²        (Schulman 2017, equations 7 and 9, no entropy bonus)
    A_t = Σ_l λ^l δ_{t+l},  δ_t = r_t + V_{t+1} - V_t              (Schulman 2016, equation 16, undiscounted)

ρ: the ratio of the new probability of an action to the old. Constants are those of Stable-Baselines3 2.7, but for the
discount: only what a run ends with counts. A rollout that would bring the policy further from its file than `leash`,
in Kullback-Leibler divergence, ends there. The state is plain numbers, so that a log replays what was learned.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from equipoise.policy.files import Policy
from equipoise.policy.network import Floats, Network

LAMBDA, CLIP, EPOCHS, RATE, VALUE, NORM = 0.95, 0.2, 10, 3e-4, 0.5, 0.5
BETAS, EPS = (0.9, 0.999), 1e-5
"""Adam's, as Stable-Baselines3 sets them."""


class Learner(NamedTuple):
    """What is learned: `actor` (linear at its end), `critic`, and `log_std` (k,)."""

    actor: Network
    critic: Network
    log_std: Floats

    def flat(self) -> Floats:
        """All numbers in a row."""
        return np.concatenate([self.actor.flat(), self.critic.flat(), self.log_std])

    def with_flat(self, row: Sequence[float] | Floats) -> "Learner":
        """The reverse of :meth:`flat`."""
        numbers = np.asarray(row, np.float64)
        ends = np.cumsum([self.actor.flat().size, self.critic.flat().size])
        actor, critic, log_std = np.split(numbers, ends)
        return Learner(self.actor.with_flat(actor), self.critic.with_flat(critic), log_std)


class Rollout(NamedTuple):
    """T decisions: `seen` (T, n), `actions` (T, k) before they were clipped, `logs` of their probabilities (T,).

    `advantages` and `returns`: (T,).
    """

    seen: Floats
    actions: Floats
    logs: Floats
    advantages: Floats
    returns: Floats


def learner(policy: Policy) -> Learner:
    """What a policy starts to learn from; one without a critic gets one that says 0."""
    sizes = policy.actor.sizes
    critic = policy.critic or Network.start((sizes[0], 16, 1), "none", np.random.default_rng(0))
    log_std = np.full(sizes[-1], -1.0) if policy.log_std is None else policy.log_std
    return Learner(policy.actor, critic, log_std)


def unlearned(policy: Policy) -> dict[str, Any]:
    """The state before the first decision: weights, Adam's moments, decisions so far, and those not learned from."""
    flat = learner(policy).flat()
    zeros = [0.0] * flat.size
    return {"weights": flat.tolist(), "mean": zeros, "square": zeros, "updates": 0, "decisions": 0, "steps": []}


def sampled(here: Learner, vector: Sequence[float], seed: Sequence[int]) -> tuple[Floats, float]:
    """An action (k,), and the logarithm of its probability density; random by `seed` alone."""
    mean = here.actor.layers(np.asarray(vector, np.float64))[-1]
    action = mean + np.exp(here.log_std) * np.random.default_rng(seed).standard_normal(mean.size)
    return action, float(_log_density(mean, here.log_std, action))


def rollout(here: Learner, steps: Sequence[Mapping[str, Any]], last: Sequence[float]) -> Rollout:
    """Decisions as they were kept: seen, action, log, reward; `last`: (n,) what was seen after the last of them."""
    seen = np.array([*(step["seen"] for step in steps), last], np.float64)
    values = here.critic(seen)[:, 0]
    deltas = np.array([step["reward"] for step in steps]) + values[1:] - values[:-1]
    advantages = deltas.copy()
    for place in reversed(range(len(deltas) - 1)):
        advantages[place] += LAMBDA * advantages[place + 1]
    actions = np.array([step["action"] for step in steps], np.float64)
    logs = np.array([step["log"] for step in steps], np.float64)
    return Rollout(seen[:-1], actions, logs, advantages, advantages + values[:-1])


def loss_gradient(here: Learner, batch: Rollout) -> Floats:
    """dL/dweights in the order of :meth:`Learner.flat`. Advantages are taken as they are."""
    count, inside = len(batch.seen), here.actor.layers(batch.seen)
    off, spread = batch.actions - inside[-1], np.exp(-2 * here.log_std)
    ratio = np.exp(_log_density(inside[-1], here.log_std, batch.actions) - batch.logs)
    clipped = np.clip(ratio, 1 - CLIP, 1 + CLIP)
    pulls = np.where(ratio * batch.advantages <= clipped * batch.advantages, -ratio * batch.advantages / count, 0.0)
    actor = here.actor.gradient(inside, pulls[:, None] * off * spread)
    log_std = (pulls[:, None] * (off**2 * spread - 1)).sum(axis=0)
    valued = here.critic.layers(batch.seen)
    apart = valued[-1][:, 0] - batch.returns
    critic = here.critic.gradient(valued, (VALUE * 2 * apart / count)[:, None])
    return np.concatenate([actor, critic, log_std])


def learned(state: Mapping[str, Any], policy: Policy, last: Sequence[float], leash: float) -> dict[str, Any]:
    """The state after learning from all decisions that it holds; `last`: (n,) what was seen after them.

    A decision that earned no finite number is left out, as if it had not been made: weights never come back from a NaN.
    """
    start = learner(policy)
    here = start.with_flat(state["weights"])
    steps = [step for step in state["steps"] if math.isfinite(step["reward"])]
    if not steps:
        return {**state, "steps": []}
    batch = rollout(here, steps, last)
    spread = batch.advantages.std()
    batch = batch._replace(advantages=(batch.advantages - batch.advantages.mean()) / (spread + 1e-8))
    row, mean, square = (np.asarray(state[name], np.float64) for name in ("weights", "mean", "square"))
    updates = state["updates"]
    for _ in range(EPOCHS):
        gradient = loss_gradient(start.with_flat(row), batch)
        gradient *= min(1.0, NORM / (float(np.linalg.norm(gradient)) + 1e-6))
        first = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        second = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        count = updates + 1
        step = first / (1 - BETAS[0] ** count) / (np.sqrt(second / (1 - BETAS[1] ** count)) + EPS)
        if divergence(start.with_flat(row - RATE * step), start, batch.seen) > leash:
            break
        row, mean, square, updates = row - RATE * step, first, second, count
    kept = {"weights": row.tolist(), "mean": mean.tolist(), "square": square.tolist()}
    return {**state, **kept, "updates": updates, "steps": []}


def divergence(here: Learner, there: Learner, seen: Floats) -> float:
    """Mean Kullback-Leibler divergence of the actions of the one from those of the other, over what was seen (T, n)."""
    mine, theirs = here.actor.layers(seen)[-1], there.actor.layers(seen)[-1]
    ratio = np.exp(2 * (here.log_std - there.log_std))
    apart = (mine - theirs) ** 2 * np.exp(-2 * there.log_std)
    return float((0.5 * (ratio + apart - 1) - (here.log_std - there.log_std)).sum(axis=-1).mean())


def _log_density(mean: Floats, log_std: Floats, action: Floats) -> Floats:
    """log N(action; mean, std²), summed over the last axis."""
    scaled = (action - mean) * np.exp(-log_std)
    result: Floats = -0.5 * (scaled**2).sum(axis=-1) - log_std.sum() - 0.5 * mean.shape[-1] * math.log(2 * math.pi)
    return result
