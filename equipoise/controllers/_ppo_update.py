"""Proximal policy optimisation (PPO) within a run, in numpy, from a few dozen decisions.

    L = -E min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) + c E (V - R)²        (Schulman 2017, equations 7 and 9, no entropy bonus)
    A_t = Σ_l λ^l δ_{t+l},  δ_t = r_t + V_{t+1} - V_t              (Schulman 2016, equation 16, undiscounted)

ρ: the ratio of the new probability of an action to the old. Constants are those of Stable-Baselines3 2.7, except for
the discount: only the end of a run counts. An update stops before the Kullback-Leibler divergence of
the policy from the one in its file would exceed `leash`. The state is plain numbers, so that a log reproduces the
learned policy.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from equipoise.core.controller import renamed
from equipoise.policy.files import Policy
from equipoise.policy.network import FloatArray, PolicyNetwork

LAMBDA, CLIP, EPOCHS, LEARNING_RATE, VALUE_WEIGHT, MAX_GRADIENT_NORM = 0.95, 0.2, 10, 3e-4, 0.5, 0.5
BETAS, EPS = (0.9, 0.999), 1e-5
"""Adam's constants, as Stable-Baselines3 sets them."""


@dataclass(frozen=True)
class LearningStep:
    """One decision: `features` (n,), `action` (k,) before clipping, and its reward, None until the next decision."""

    features: Annotated[tuple[float, ...], renamed("features", "seen")]
    action: tuple[float, ...]
    log_probability: Annotated[float, renamed("log_probability", "log")]
    reward: float | None = None


@dataclass(frozen=True)
class LearningState:
    """State of learning. `weights`, `mean`, `square`: (w,) weights of the learner and Adam's moments.

    `updates`: number of Adam steps so far. `decisions`: number of decisions so far. `steps`: those since the last
    update of the policy.
    """

    weights: tuple[float, ...]
    mean: tuple[float, ...]
    square: tuple[float, ...]
    updates: int = 0
    decisions: int = 0
    steps: tuple[LearningStep, ...] = ()


class Learner(NamedTuple):
    """Weights that are trained: `actor` (with a linear last layer), `critic`, and `log_std` (k,)."""

    actor: PolicyNetwork
    critic: PolicyNetwork
    log_std: FloatArray

    def flat(self) -> FloatArray:
        """Return all weights as one vector (w,)."""
        return np.concatenate([self.actor.flat(), self.critic.flat(), self.log_std])

    def with_flat(self, vector: Sequence[float] | FloatArray) -> "Learner":
        """Return a learner with other weights; the inverse of :meth:`flat`."""
        weights = np.asarray(vector, np.float64)
        ends = np.cumsum([self.actor.flat().size, self.critic.flat().size])
        actor, critic, log_std = np.split(weights, ends)
        return Learner(self.actor.with_flat(actor), self.critic.with_flat(critic), log_std)


class Rollout(NamedTuple):
    """T decisions: `features` (T, n), `actions` (T, k) before clipping, and their log-probabilities (T,).

    `advantages` and `returns`: (T,).
    """

    features: FloatArray
    actions: FloatArray
    log_probabilities: FloatArray
    advantages: FloatArray
    returns: FloatArray


def learner_of(policy: Policy) -> Learner:
    """Return the learner that starts at a policy; a policy without a critic gets one with output 0."""
    sizes = policy.actor.sizes
    critic = policy.critic or PolicyNetwork.start((sizes[0], 16, 1), "none", np.random.default_rng(0))
    log_std = np.full(sizes[-1], -1.0) if policy.log_std is None else policy.log_std
    return Learner(policy.actor, critic, log_std)


def initial_state(policy: Policy) -> LearningState:
    """Return the state before the first decision."""
    weights = learner_of(policy).flat()
    zeros = (0.0,) * weights.size
    return LearningState(tuple(weights.tolist()), zeros, zeros)


def sample_action(learner: Learner, features: Sequence[float], seed: Sequence[int]) -> tuple[FloatArray, float]:
    """Sample an action (k,) and return it with its log-probability density; `seed` is the only source of randomness."""
    mean = learner.actor.layers(np.asarray(features, np.float64))[-1]
    action = mean + np.exp(learner.log_std) * np.random.default_rng(seed).standard_normal(mean.size)
    return action, float(_log_density(mean, learner.log_std, action))


def make_rollout(learner: Learner, steps: Sequence[LearningStep], last: Sequence[float]) -> Rollout:
    """Compute advantages and returns of decisions with rewards; `last`: (n,) features after the last of them."""
    features = np.array([*(step.features for step in steps), last], np.float64)
    values = learner.critic(features)[:, 0]
    deltas = np.array([step.reward for step in steps], np.float64) + values[1:] - values[:-1]
    advantages = deltas.copy()
    for index in reversed(range(len(deltas) - 1)):
        advantages[index] += LAMBDA * advantages[index + 1]
    actions = np.array([step.action for step in steps], np.float64)
    log_probabilities = np.array([step.log_probability for step in steps], np.float64)
    return Rollout(features[:-1], actions, log_probabilities, advantages, advantages + values[:-1])


def loss_gradient(learner: Learner, batch: Rollout) -> FloatArray:
    """Return dL/dweights in the order of :meth:`Learner.flat`. Advantages are not normalised."""
    count, layers = len(batch.features), learner.actor.layers(batch.features)
    error, precision = batch.actions - layers[-1], np.exp(-2 * learner.log_std)
    ratio = np.exp(_log_density(layers[-1], learner.log_std, batch.actions) - batch.log_probabilities)
    clipped = np.clip(ratio, 1 - CLIP, 1 + CLIP)
    log_gradient = np.where(
        ratio * batch.advantages <= clipped * batch.advantages, -ratio * batch.advantages / count, 0.0
    )
    actor = learner.actor.gradient(layers, log_gradient[:, None] * error * precision)
    log_std = (log_gradient[:, None] * (error**2 * precision - 1)).sum(axis=0)
    critic_layers = learner.critic.layers(batch.features)
    value_error = critic_layers[-1][:, 0] - batch.returns
    critic = learner.critic.gradient(critic_layers, (VALUE_WEIGHT * 2 * value_error / count)[:, None])
    return np.concatenate([actor, critic, log_std])


def learn(state: LearningState, policy: Policy, last: Sequence[float], leash: float) -> LearningState:
    """Return the state after an update on all decisions in it; `last`: (n,) features after them.

    Decisions whose reward is not finite are ignored: weights cannot recover from a NaN.
    """
    start = learner_of(policy)
    steps = [step for step in state.steps if step.reward is not None and math.isfinite(step.reward)]
    if not steps:
        return dataclasses.replace(state, steps=())
    batch = make_rollout(start.with_flat(state.weights), steps, last)
    scale = batch.advantages.std() + 1e-8
    batch = batch._replace(advantages=(batch.advantages - batch.advantages.mean()) / scale)
    weights, mean, square = (np.asarray(part, np.float64) for part in (state.weights, state.mean, state.square))
    updates = state.updates
    for _ in range(EPOCHS):
        gradient = loss_gradient(start.with_flat(weights), batch)
        gradient *= min(1.0, MAX_GRADIENT_NORM / (float(np.linalg.norm(gradient)) + 1e-6))
        first = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        second = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        count = updates + 1
        step = first / (1 - BETAS[0] ** count) / (np.sqrt(second / (1 - BETAS[1] ** count)) + EPS)
        if divergence(start.with_flat(weights - LEARNING_RATE * step), start, batch.features) > leash:
            break
        weights, mean, square, updates = weights - LEARNING_RATE * step, first, second, count
    return LearningState(
        weights=tuple(weights.tolist()),
        mean=tuple(mean.tolist()),
        square=tuple(square.tolist()),
        updates=updates,
        decisions=state.decisions,
    )


def divergence(learner: Learner, reference: Learner, features: FloatArray) -> float:
    """Return the mean Kullback-Leibler divergence of a learner's actions from a reference's, over features (T, n)."""
    mean, reference_mean = learner.actor.layers(features)[-1], reference.actor.layers(features)[-1]
    log_ratio = learner.log_std - reference.log_std
    variance_ratio = np.exp(2 * log_ratio)
    distance = (mean - reference_mean) ** 2 * np.exp(-2 * reference.log_std)
    return float((0.5 * (variance_ratio + distance - 1) - log_ratio).sum(axis=-1).mean())


def _log_density(mean: FloatArray, log_std: FloatArray, action: FloatArray) -> FloatArray:
    """Compute log N(action; mean, std²), summed over the last axis."""
    scaled = (action - mean) * np.exp(-log_std)
    constant = 0.5 * mean.shape[-1] * math.log(2 * math.pi)
    result: FloatArray = -0.5 * (scaled**2).sum(axis=-1) - log_std.sum() - constant
    return result
