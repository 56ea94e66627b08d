"""Training of the policy of `ppo:suite` on stacked perceptrons, resumable after each iteration."""

import dataclasses
import json
from hashlib import sha256

import numpy as np
from _policy_runs import RESULTS_FILE

from equipoise.meta.factored_ppo import collect_batch, improve_policy, measure_advantages
from equipoise.meta.journal import Journal
from equipoise.meta.tasks import TaskDistribution
from equipoise.policy.files import Policy
from equipoise.policy.kinds import untrained_policy

KIND = "ppo_suite"
FILE = RESULTS_FILE.with_name("suite_ppo.jsonl")
SHAPES, CHECKED = ("moons", "pinwheel", "clusters", "cross"), ("checkerboard",)
"""Spirals are a test task of the suite."""
ITERATIONS, TASKS, COPIES, RATE, NOISE, CHECKS = 15, 8, 7, 0.015, 0.002, 32
ACTIVE = (False, True, True)
"""Augmentation does not act on points, so its choices are not trained: the base controller keeps it."""
TASK = {
    "data": {"name": "equipoise.meta.points"},
    "model": {"name": "mlp", "width": 16},
    "metric": "equipoise.meta.held_out",
    "steps": 400,
    "batch_size": 32,
    "evaluate_every": 50,
}
"""Runs of a few seconds."""
VARIED = {
    "data.reals": [64, 256, 1024],
    "data.draw": list(range(8)),
    "knobs.lr_g": [5e-4, 2e-3, 8e-3],
    "knobs.lr_d": [1e-3, 2e-3, 8e-3],
    "knobs.r1_gamma": [0.003, 0.1, 0.1],
}
"""Rates that are too low and too high, so that neither always helps: with one lr_g, PPO only learned to raise both."""


def train_ppo() -> tuple[Policy, list[float], dict[str, object]]:
    """Train to the end, or return the finished policy; with its advantages over the base on other shapes, and a
    description of the training."""
    journal, policy = open_journal(), untrained_policy(KIND)
    tasks = TaskDistribution(TASK, {**VARIED, "data.shape": SHAPES})
    done = journal.lines_with("weights")
    if done:
        policy = _with_weights(policy, done[-1]["weights"])
    for number in range(len(done), ITERATIONS):
        batch = collect_batch(policy, tasks.sample_many(TASKS, 1, number), COPIES, NOISE, number)
        policy = improve_policy(policy, batch, RATE, ACTIVE)
        values = [float(f"{value:.8g}") for value in policy.actor.flat()]
        policy = _with_weights(policy, values)
        mean = float(np.mean(batch.returns))
        journal.append({"iteration": number, "return": mean, "decisions": len(batch.returns), "weights": values})
        print(f"ppo: {number + 1} of {ITERATIONS} done; mean return over the base {mean:+.3f}", flush=True)
    if not journal.lines_with("check"):
        checks = TaskDistribution(TASK, {**VARIED, "data.shape": CHECKED}).sample_many(CHECKS, 2)
        journal.append({"check": measure_advantages(policy, checks, NOISE)})
        print("ppo: checked", flush=True)
    record = {
        "method": "factored PPO",
        "plan": {"kind": KIND, "task": TASK, "vary": {**VARIED, "data.shape": list(SHAPES)}},
        "tasks": [f"points_{shape}" for shape in SHAPES],
        "sources": ["mixtures"],  # clusters
        "episodes": ITERATIONS * TASKS * COPIES,
        "decisions": sum(line["decisions"] for line in journal.lines_with("weights")),
        "returns": [round(line["return"], 4) for line in journal.lines_with("weights")],
    }
    return policy, journal.lines_with("check")[-1]["check"], record


def open_journal() -> Journal:
    """Open the journal of this training; other settings need another one."""
    settings = [TASK, VARIED, SHAPES, CHECKED, TASKS, COPIES, RATE, NOISE, CHECKS]
    return Journal(FILE, sha256(json.dumps(settings).encode()).hexdigest())


def _with_weights(policy: Policy, values: list[float]) -> Policy:
    return dataclasses.replace(policy, actor=policy.actor.with_flat(values))
