"""Policies by reinforcement: proximal policy optimisation (Schulman 2017) by Stable-Baselines3, on short runs.

A rollout is so many decisions in so many environments, then one update; a model is made for each from the weights and
Adam's moments that the last one left, with a seed of its own. So a training that was killed goes on, from a file of
numbers, as if it had not been.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment
from equipoise.meta.episodes import least
from equipoise.meta.evolution import Progress
from equipoise.meta.journal import Journal
from equipoise.meta.plan import Plan, Reinforcement
from equipoise.policy.blank import KINDS, blank
from equipoise.policy.files import Policy
from equipoise.policy.network import Network, Squash
from equipoise.runs import run_folder as runs

LAMBDA, CLIP, LOG_STD = 0.95, 0.2, -1.0
SUFFIX = ".weights"


def reinforce(plan: Plan, settings: Reinforcement, journal: Journal) -> Iterator[Progress]:
    """Train, a rollout at a time, each kept in the journal and its weights beside it."""
    total = settings.rollouts + 1
    for number in range(len(journal.of("rollout")), settings.rollouts):
        model = _model(plan, settings, number, _kept(journal))
        model.learn(settings.environments * settings.decisions)
        rewards = model.env.get_attr("earned")
        model.env.close()
        runs.write_bytes(_beside(journal, number), _saved(model))
        earned = [reward for one in rewards for reward in one]
        journal.add({"rollout": number, "reward": float(np.mean(earned)), "decisions": len(earned)})
        _beside(journal, number - 1).unlink(missing_ok=True)
        yield Progress(number + 1, total, f"rollout {number + 1}: reward {np.mean(earned):+.4f} a decision")
    if not journal.of("check"):
        policy = _policy(plan, journal)
        gains = [_returned(plan, policy, seed) - _returned(plan, blank("ppo"), seed) for seed in range(settings.check)]
        journal.add({"check": gains})
    yield Progress(total, total, f"check: {sentence(journal)}")


def result(plan: Plan, journal: Journal) -> Policy:
    """The policy that a whole journal comes to."""
    curve = [round(line["reward"], 6) for line in journal.of("rollout")]
    decisions = sum(line["decisions"] for line in journal.of("rollout"))
    gains = journal.of("check")[-1]["check"]
    check = {"runs": len(gains), "mean": round(float(np.mean(gains)), 6), "low": round(least(gains), 6)}
    training = {"method": "reinforcement", "plan": plan.values(), "decisions": decisions}
    return dataclasses.replace(_policy(plan, journal), training={**training, "rewards": curve, "check": check})


def sentence(journal: Journal) -> str:
    """What the check came to, in words."""
    gains = journal.of("check")[-1]["check"]
    doubt = "" if least(gains) > 0 else "; no better than an untrained one, as far as can be told"
    return f"return {np.mean(gains):+.3f} over an untrained policy's, at least {least(gains):+.3f} (95 %){doubt}"


def exported(state: Mapping[str, Tensor]) -> tuple[Network, Network, Any]:
    """Actor, critic and log_std of the weights of SB3's MlpPolicy."""

    def network(inner: str, last: str, squash: Squash) -> Network:
        names = sorted({key.rpartition(".")[0] for key in state if key.startswith(f"mlp_extractor.{inner}.")})
        layers = [*names, last]
        weights, biases = (
            tuple(state[f"{layer}.{part}"].detach().double().numpy().copy() for layer in layers)
            for part in ("weight", "bias")
        )
        return Network(weights, biases, squash)

    log_std = state["log_std"].detach().double().numpy().copy()
    return network("policy_net", "action_net", "clip"), network("value_net", "value_net", "none"), log_std


def _model(plan: Plan, settings: Reinforcement, number: int, kept: Mapping[str, Tensor]) -> Any:
    """SB3's model for one rollout, from the weights and moments of the last; its seed is of the plan and the number."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    tasks = [plan.tasks.drawn(settings.decisions, plan.seed, 1, number, one) for one in range(settings.environments)]
    environments = DummyVecEnv([partial(_environment, drawn) for drawn in tasks])
    seed = int(np.random.default_rng([plan.seed, number]).integers(2**31))
    hidden = list(KINDS["ppo"].hidden)
    model = PPO(
        "MlpPolicy",
        environments,
        learning_rate=settings.rate,
        n_steps=settings.decisions,
        batch_size=settings.environments * settings.decisions,
        n_epochs=settings.epochs,
        gamma=1.0,
        gae_lambda=LAMBDA,
        clip_range=CLIP,
        seed=seed,
        device="cpu",
        policy_kwargs={"net_arch": hidden, "activation_fn": nn.Tanh, "log_std_init": LOG_STD},
    )
    if kept:
        _restore(model, kept)
    else:
        nn.init.zeros_(cast(Tensor, model.policy.action_net.weight))  # an untrained policy leaves the heads at 0
    return model


def _environment(tasks: Sequence[Experiment]) -> Any:
    from equipoise.meta.environment import GanTraining
    from equipoise.meta.rewarded import Rewarded

    return Rewarded(GanTraining(tasks))


def _saved(model: Any) -> bytes:
    """Weights and Adam's moments, as safetensors."""
    from safetensors.torch import save

    tensors = {f"weights/{name}": value.contiguous() for name, value in model.policy.state_dict().items()}
    for index, moments in model.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"adam/{index}/{name}": value.contiguous() for name, value in moments.items()}
    return save({name: value.clone() for name, value in tensors.items()})


def _restore(model: Any, kept: Mapping[str, Tensor]) -> None:
    model.policy.load_state_dict(_under(kept, "weights/"))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(kept, "adam/").items():
        index, _, what = name.partition("/")
        moments.setdefault(int(index), {})[what] = value
    optimizer = model.policy.optimizer
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _under(kept: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}


def _kept(journal: Journal) -> dict[str, Tensor]:
    """What the last rollout of a journal left. Raises SettingError if it is gone."""
    from safetensors.torch import load

    done = len(journal.of("rollout"))
    if not done:
        return {}
    path = _beside(journal, done - 1)
    try:
        return dict(load(path.read_bytes()))
    except OSError as error:
        raise SettingError(f"{path} is gone; delete {journal.path} to begin anew") from error


def _beside(journal: Journal, number: int) -> Path:
    return journal.path.with_name(f"{journal.path.stem}-{number}{SUFFIX}")


def _policy(plan: Plan, journal: Journal) -> Policy:
    actor, critic, log_std = exported(_under(_kept(journal), "weights/"))
    return dataclasses.replace(blank(plan.kind), actor=actor, critic=critic, log_std=log_std)


def _returned(plan: Plan, policy: Policy, seed: int) -> float:
    """The sum of rewards of one run of the checks, each decision the policy's own."""
    from equipoise.meta.environment import GanTraining

    environment = GanTraining(plan.checks.drawn(1, plan.seed, 2, seed))
    seen, _ = environment.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        seen, earned, over, _, _ = environment.step(policy.actor(seen.astype(np.float64)).astype(np.float32))
        total += earned
    environment.close()
    return total
