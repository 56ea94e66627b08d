"""Proximal policy optimisation with one categorical choice per head, from whole runs of stacked perceptrons.

    L = -E min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) - c H        (Schulman 2017, equation 7, and an entropy bonus)
    A = (φ_T - φ_t) - (φ_T - φ_t of the base run) - V     without discount; φ = -log(distance + noise)

Unlike meta/reinforcement.py, it avoids what makes PPO fail at dynamic configuration (arXiv 2512.03805, 2205.13881):
actions are discrete and factored, as many choices as knobs; nothing is discounted; and the reward is relative to the
base controller on the same task, with the same weights, data and random numbers, so that hard tasks do not dominate.
V is a linear function of the features, fitted to each batch.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.controller import AnyController, Turn
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Observation
from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment
from equipoise.meta.episodes import BOUND, set_short_run_readings
from equipoise.meta.stacked import StackedTraining
from equipoise.policy.files import Policy
from equipoise.policy.network import CHOICES, FloatArray, PolicyNetwork, choice_logits
from equipoise.training.loop import Training

CLIP_RANGE, EPOCHS, ENTROPY, LARGEST_DIVERGENCE, RIDGE = 0.2, 10, 0.003, 0.02, 1.0


QualityCurve = Sequence[tuple[float, float]]
"""(progress, φ) of each evaluation."""


class Transition(NamedTuple):
    """One decision: `features` (n,), the index of the `choices` (k,) in CHOICES, and the progress of the run."""

    features: tuple[float, ...]
    choices: tuple[int, ...]
    progress: float


@dataclass(frozen=True)
class ExplorationState:
    """State of the policy's controller, and the decisions so far."""

    inner: object
    transitions: tuple[Transition, ...] = ()


class ExploredInputs(Protocol):
    """Interface of the inputs of a policy: see controllers/_learned_controller.py."""

    @property
    def features(self) -> tuple[float, ...]:
        """Features (n,) in [-1, 1]."""

    @property
    def is_due(self) -> bool:
        """Whether a decision of the policy is due."""


class ExploredController(Protocol):
    """Interface of the controller of a policy: see controllers/_learned_controller.py."""

    @property
    def policy(self) -> Policy:
        """The policy."""

    def required_knobs(self) -> frozenset[str]:
        """See Controller."""

    def initial(self, knobs: Knobs) -> object:
        """See Controller."""

    def observe(self, state: object, observation: Observation) -> ExploredInputs:
        """Advance the state by one observation, before a decision."""

    def decide(self, inputs: ExploredInputs, action: Sequence[float] | None) -> Turn[object]:
        """Return the turn that applies an action."""

    def update(self, state: object, observation: Observation) -> Turn[object]:
        """Return the turn of the policy without exploration."""


@dataclass(frozen=True, eq=False)
class Exploration:
    """Controller that samples the choices of a policy, and records them in its state. `seed`: of the samples."""

    controller: ExploredController
    seed: int

    def required_knobs(self) -> frozenset[str]:
        """Return those of the policy."""
        return self.controller.required_knobs()

    def initial(self, knobs: Knobs) -> ExplorationState:
        """Return the state before the first decision."""
        return ExplorationState(self.controller.initial(knobs))

    def update(self, state: ExplorationState, observation: Observation) -> Turn[ExplorationState]:
        """Apply sampled choices where a decision is due."""
        inputs, transitions, action = self.controller.observe(state.inner, observation), state.transitions, None
        if inputs.is_due:
            choices = self._sample(inputs.features, len(transitions))
            transitions = (*transitions, Transition(inputs.features, choices, observation.progress))
            action = [CHOICES[choice] for choice in choices]
        turn = self.controller.decide(inputs, action)
        return Turn(turn.knobs, ExplorationState(turn.state, transitions), turn.reasons)

    def _sample(self, features: Sequence[float], number: int) -> tuple[int, ...]:
        actor = self.controller.policy.actor
        logits = choice_logits(actor.layers(np.asarray(features, np.float64))[-1])
        noise = np.random.default_rng([self.seed, number]).gumbel(size=logits.shape)  # Gumbel 1954
        return tuple(int(choice) for choice in (logits + noise).argmax(-1))


class DecisionBatch(NamedTuple):
    """Decisions of many runs: `features` (N, n), `choices` (N, k), `returns` (N,) relative to the base runs."""

    features: FloatArray
    choices: FloatArray
    returns: FloatArray


def collect_batch(policy: Policy, tasks: Sequence[Experiment], copies: int, noise: float, seed: int) -> DecisionBatch:
    """Train each task under the base controller and under `copies` explorations, all in one stack.

    `noise`: of the distance; see episodes. Raises SettingError for tasks without an endless source of held-out data.
    """
    experiments = [task for task in tasks for _ in range(copies + 1)]
    controllers = [
        Exploration(build_controller(policy, task), seed * 1000 + number * copies + copy) if copy else _base(policy)
        for number, task in enumerate(tasks)
        for copy in range(copies + 1)
    ]
    trainings, curves = _train_stack(experiments, controllers, noise)
    rows: list[tuple[Transition, float]] = []
    for number, training in enumerate(trainings):
        state, base = training.pilot.controller_state, curves[number - number % (copies + 1)]
        if isinstance(state, ExplorationState) and base is not None:
            rows += [(step, relative_return(curves[number], base, step.progress)) for step in state.transitions]
    return DecisionBatch(
        np.array([step.features for step, _ in rows]),
        np.array([step.choices for step, _ in rows], np.float64),
        np.array([value for _, value in rows]),
    )


def measure_advantages(policy: Policy, tasks: Sequence[Experiment], noise: float) -> list[float]:
    """Return the gain of φ at the end of each task of a policy, without exploration, over its base controller."""
    controllers = [build_controller(policy, task) for task in tasks]
    _, curves = _train_stack([*tasks, *tasks], [*controllers, *(_base(policy) for _ in tasks)], noise)
    pairs = zip(curves[: len(tasks)], curves[len(tasks) :], strict=True)
    return [0.0 if base is None else relative_return(curve, base, 0.0) for curve, base in pairs]


def _train_stack(
    experiments: Sequence[Experiment], controllers: Sequence[AnyController], noise: float
) -> tuple[list[Training], list[QualityCurve | None]]:
    """Train runs in one stack; return them, and their curves, None for those that diverged."""
    stack = StackedTraining(experiments, controllers)
    for training in stack.trainings:
        set_short_run_readings(training)
    for _ in stack.readings():
        pass
    steps = require_steps(experiments[0])
    curves = [
        None if run.reason == "diverged" else quality_curve(run.metric_values, steps, noise) for run in stack.results()
    ]
    return stack.trainings, curves


def build_controller(policy: Policy, task: Experiment) -> ExploredController:
    """Return the controller of a policy with the facts of a task."""
    options = task.data.options if task.data is not None else {}
    reals, batch_size = options.get("reals"), task.batch_size
    if not isinstance(reals, int) or batch_size is None:
        raise SettingError("a task of this training needs data.reals and batch_size; add them")
    facts = {"epochs": require_steps(task) * batch_size / reals}
    controller: ExploredController = catalog.load("controllers", "learnable").from_policy(policy, facts)
    return controller


def require_steps(task: Experiment) -> int:
    """Return the steps of a task. Raises SettingError if it has none."""
    if task.steps is None:
        raise SettingError("a task of this training needs steps; add them")
    return task.steps


def quality_curve(values: Sequence[tuple[int, float]], steps: int, noise: float) -> QualityCurve:
    """Return (progress, φ) of each evaluation. `values`: (step, distance)."""
    return [(step / steps, -math.log(max(value, 0.0) + noise)) for step, value in values]


def relative_return(curve: QualityCurve | None, base: QualityCurve, progress: float) -> float:
    """Return the undiscounted gain of φ after a decision above that of the base run, in [-BOUND, BOUND]; -BOUND if the
    run diverged. Before the first evaluation both runs count as equal."""
    if curve is None:
        return -BOUND
    end = curve[-1][1] - base[-1][1]
    before = [own - other for (at, own), (_, other) in zip(curve, base, strict=False) if at <= progress]
    return min(BOUND, max(-BOUND, end - (before[-1] if before else 0.0)))


def improve_policy(policy: Policy, batch: DecisionBatch, rate: float, active: Sequence[bool]) -> Policy:
    """Return the policy after the epochs of one batch, with Adam at a learning rate.

    `active`: for each head, whether its knobs act in the tasks; others are not trained. Epochs stop before the mean
    Kullback-Leibler divergence from the old policy exceeds LARGEST_DIVERGENCE.
    """
    features, choices = torch.from_numpy(batch.features), torch.from_numpy(batch.choices).long()
    advantage = torch.from_numpy(_standardised(batch.returns - _linear_values(batch)))
    mask = torch.tensor([float(is_active) for is_active in active], dtype=torch.float64)
    weights = [torch.from_numpy(part.copy()).requires_grad_() for part in _parts(policy.actor)]
    old = _log_probabilities(weights, features).detach()
    optimizer = torch.optim.Adam(weights, lr=rate, eps=1e-5)
    best = [weight.detach().clone() for weight in weights]
    for _ in range(EPOCHS):
        new = _log_probabilities(weights, features)
        divergence = float(((old.exp() * (old - new)).sum(-1) @ mask).mean().detach())
        if divergence > LARGEST_DIVERGENCE:
            break
        best = [weight.detach().clone() for weight in weights]
        ratio = (((new - old).gather(-1, choices[..., None])[..., 0]) @ mask).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE) * advantage).mean()
        entropy = -((new.exp() * new).sum(-1) @ mask).mean()
        optimizer.zero_grad()
        (-gain - ENTROPY * entropy).backward()
        optimizer.step()
    numbers = [weight.numpy() for weight in best]
    actor = PolicyNetwork(tuple(numbers[::2]), tuple(numbers[1::2]), policy.actor.squash)
    return dataclasses.replace(policy, actor=actor)


def _parts(actor: PolicyNetwork) -> list[FloatArray]:
    return [part for layer in zip(actor.weights, actor.biases, strict=True) for part in layer]


def _log_probabilities(parts: Sequence[Tensor], features: Tensor) -> Tensor:
    """Return the log-probabilities (N, k, 3) of the choices of every head."""
    hidden = features
    for number in range(0, len(parts), 2):
        hidden = hidden @ parts[number].T + parts[number + 1]
        hidden = hidden if number == len(parts) - 2 else hidden.tanh()
    return hidden.reshape(len(features), -1, len(CHOICES)).log_softmax(-1)


def _linear_values(batch: DecisionBatch) -> FloatArray:
    """Return V (N,): the ridge regression of the returns on the features and a constant."""
    inputs = np.concatenate([batch.features, np.ones((len(batch.features), 1))], axis=1)
    matrix = inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1])
    values: FloatArray = inputs @ np.linalg.solve(matrix, inputs.T @ batch.returns)
    return values


def _standardised(values: FloatArray) -> FloatArray:
    result: FloatArray = (values - values.mean()) / max(float(values.std()), 1e-6)
    return result


def _base(policy: Policy) -> AnyController:
    controller: AnyController = catalog.build("controllers", policy.base)
    return controller
