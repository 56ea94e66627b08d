"""Training of policies by reinforcement learning: proximal policy optimisation (Schulman 2017) on short runs.

The algorithm is the implementation of Stable-Baselines3. A rollout is a number of decisions in several environments,
followed by one update. Each rollout builds a new model from the weights and Adam moments of the previous one, with its
own seed, so that an interrupted training resumes exactly from a file of tensors.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment
from equipoise.meta.episodes import mean_lower_bound
from equipoise.meta.evolution import PolicyProgress
from equipoise.meta.journal import Journal
from equipoise.meta.plan import PolicyPlan, ReinforcementSettings
from equipoise.policy.files import Policy
from equipoise.policy.kinds import KINDS, untrained_policy
from equipoise.policy.network import FloatArray, PolicyNetwork, Squash
from equipoise.runs.artifacts import write_bytes

if TYPE_CHECKING:
    from stable_baselines3 import PPO

    from equipoise.meta.environment import RecordRewards

GAE_LAMBDA, CLIP_RANGE, INITIAL_LOG_STD = 0.95, 0.2, -1.0
SUFFIX = ".weights"


def run_reinforcement(plan: PolicyPlan, settings: ReinforcementSettings, journal: Journal) -> Iterator[PolicyProgress]:
    """Train one rollout at a time; record it in the journal, and its weights in a file next to the journal."""
    total = settings.rollouts + 1
    for number in range(len(journal.lines_with("rollout")), settings.rollouts):
        model = _build_model(plan, settings, number, _load_checkpoint(journal))
        model.learn(settings.environments * settings.decisions)
        environments = model.get_env()
        assert environments is not None
        rewards = [reward for values in environments.get_attr("rewards") for reward in values]
        environments.close()
        write_bytes(_checkpoint_path(journal, number), _encode_checkpoint(model))
        journal.append({"rollout": number, "reward": float(np.mean(rewards)), "decisions": len(rewards)})
        _checkpoint_path(journal, number - 1).unlink(missing_ok=True)
        yield PolicyProgress(
            number + 1, total, f"rollout {number + 1}: mean reward {np.mean(rewards):+.4f} per decision"
        )
    if not journal.lines_with("check"):
        policy, untrained = _load_policy(plan, journal), untrained_policy("ppo")
        gains = [_return(plan, policy, seed) - _return(plan, untrained, seed) for seed in range(settings.check)]
        journal.append({"check": gains})
    yield PolicyProgress(total, total, f"check: {format_check(journal)}")


def build_policy(plan: PolicyPlan, journal: Journal) -> Policy:
    """Build the policy from a complete journal."""
    rewards = [round(line["reward"], 6) for line in journal.lines_with("rollout")]
    decisions = sum(line["decisions"] for line in journal.lines_with("rollout"))
    gains = journal.lines_with("check")[-1]["check"]
    check = {"runs": len(gains), "mean": round(float(np.mean(gains)), 6), "low": round(mean_lower_bound(gains), 6)}
    training = {"method": "reinforcement", "plan": plan.to_json(), "decisions": decisions}
    return dataclasses.replace(_load_policy(plan, journal), training={**training, "rewards": rewards, "check": check})


def format_check(journal: Journal) -> str:
    """Format the result of the final evaluation."""
    gains = journal.lines_with("check")[-1]["check"]
    low = mean_lower_bound(gains)
    note = "" if low > 0 else "; not significantly better than an untrained policy"
    return f"return {np.mean(gains):+.3f} above an untrained policy's, 95 % lower bound {low:+.3f}{note}"


def export_networks(state: Mapping[str, Tensor]) -> tuple[PolicyNetwork, PolicyNetwork, FloatArray]:
    """Return actor, critic and log_std from the weights of Stable-Baselines3's MlpPolicy."""

    def network(hidden: str, last: str, squash: Squash) -> PolicyNetwork:
        names = sorted({key.rpartition(".")[0] for key in state if key.startswith(f"mlp_extractor.{hidden}.")})
        layers = [*names, last]
        weights, biases = (
            tuple(state[f"{layer}.{part}"].detach().double().numpy().copy() for layer in layers)
            for part in ("weight", "bias")
        )
        return PolicyNetwork(weights, biases, squash)

    log_std = state["log_std"].detach().double().numpy().copy()
    return network("policy_net", "action_net", "clip"), network("value_net", "value_net", "none"), log_std


def _build_model(
    plan: PolicyPlan, settings: ReinforcementSettings, number: int, checkpoint: Mapping[str, Tensor]
) -> "PPO":
    """Build the model for one rollout from the checkpoint of the previous one; {} without one."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    tasks = [
        plan.tasks.sample_many(settings.decisions, plan.seed, 1, number, index)
        for index in range(settings.environments)
    ]
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([partial(_build_environment, group) for group in tasks]),
        learning_rate=settings.rate,
        n_steps=settings.decisions,
        batch_size=settings.environments * settings.decisions,
        n_epochs=settings.epochs,
        gamma=1.0,
        gae_lambda=GAE_LAMBDA,
        clip_range=CLIP_RANGE,
        seed=int(np.random.default_rng([plan.seed, number]).integers(2**31)),
        device="cpu",
        policy_kwargs={
            "net_arch": list(KINDS["ppo"].hidden),
            "activation_fn": nn.Tanh,
            "log_std_init": INITIAL_LOG_STD,
        },
    )
    if checkpoint:
        _restore(model, checkpoint)
    else:
        nn.init.zeros_(cast(Tensor, model.policy.action_net.weight))  # an untrained policy leaves the heads at 0
    return model


def _build_environment(tasks: Sequence[Experiment]) -> "RecordRewards":
    from equipoise.meta.environment import GanTraining, RecordRewards

    return RecordRewards(GanTraining(tasks))


def _encode_checkpoint(model: "PPO") -> bytes:
    """Return the weights and Adam moments as safetensors."""
    from safetensors.torch import save

    tensors = {f"weights/{name}": value.contiguous() for name, value in model.policy.state_dict().items()}
    for index, moments in model.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"adam/{index}/{name}": value.contiguous() for name, value in moments.items()}
    return save({name: value.clone() for name, value in tensors.items()})


def _restore(model: "PPO", checkpoint: Mapping[str, Tensor]) -> None:
    model.policy.load_state_dict(_with_prefix(checkpoint, "weights/"))
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _with_prefix(checkpoint, "adam/").items():
        index, _, name = key.partition("/")
        moments.setdefault(int(index), {})[name] = value
    optimizer = model.policy.optimizer
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, with the prefix removed."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_checkpoint(journal: Journal) -> dict[str, Tensor]:
    """Load the checkpoint of the last rollout of a journal; {} before the first. Raises SettingError if it is
    missing."""
    from safetensors.torch import load

    done = len(journal.lines_with("rollout"))
    if not done:
        return {}
    path = _checkpoint_path(journal, done - 1)
    try:
        return dict(load(path.read_bytes()))
    except OSError as error:
        raise SettingError(f"{path} is missing; delete {journal.path} to restart") from error


def _checkpoint_path(journal: Journal, number: int) -> Path:
    return journal.path.with_name(f"{journal.path.stem}-{number}{SUFFIX}")


def _load_policy(plan: PolicyPlan, journal: Journal) -> Policy:
    actor, critic, log_std = export_networks(_with_prefix(_load_checkpoint(journal), "weights/"))
    return dataclasses.replace(untrained_policy(plan.kind), actor=actor, critic=critic, log_std=log_std)


def _return(plan: PolicyPlan, policy: Policy, seed: int) -> float:
    """Return the sum of rewards of a policy in one run of the final evaluation."""
    from equipoise.meta.environment import GanTraining

    environment = GanTraining(plan.checks.sample_many(1, plan.seed, 2, seed))
    observation, _ = environment.reset(seed=seed)
    total, terminated = 0.0, False
    while not terminated:
        action = policy.actor(observation.astype(np.float64)).astype(np.float32)
        observation, reward, terminated, _, _ = environment.step(action)
        total += reward
    environment.close()
    return total
