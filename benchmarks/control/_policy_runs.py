"""Runs of the suite under policies in memory, in this process: one JSON line per run, never repeated."""

import dataclasses
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _suite_runs import FOLDER, RunStore, SuiteRun

from equipoise.comparison.suite.arms import play_arm
from equipoise.comparison.suite.tasks import Suite
from equipoise.policy.files import Policy, encode_policy
from equipoise.policy.kinds import KINDS, untrained_policy
from equipoise.policy.network import FloatArray

RESULTS_FILE = FOLDER / "results" / "suite_policies.jsonl"
KIND = "suite"
FLOOR = 0.004
"""Added to distances before the logarithm, as in _suite_tuning.py."""
SELECTED, LAST = 0.7, 0.3
"""Weights of the distance of the selected checkpoint and of the last one in the quality of a run."""


def policy_with(weights: Sequence[float] | FloatArray, kind: str = KIND) -> Policy:
    """Return a policy of a kind with these weights."""
    policy = untrained_policy(kind)
    return dataclasses.replace(policy, actor=policy.actor.with_flat(weights))


def policy_run(task: str, weights: FloatArray | None, seed: int, label: str, kind: str = KIND) -> SuiteRun:
    """Return the run of a policy, or of its base controller for None."""
    settings: dict[str, Any] = {"controller": KINDS[KIND].base}
    if weights is not None:
        settings = {"base": KINDS[kind].base, "weights": np.round(weights, 6).tolist()}
        settings |= {} if kind == KIND else {"kind": kind}
    return SuiteRun.of(task, label if weights is not None else "base", settings, seed)


def quality(result: Mapping[str, Any]) -> float | None:
    """Return the quality of a run, the negative logarithm of its distance to test reals; None if it diverged."""
    if result["diverged"] or result["selected"] is None or result["last"] is None:
        return None
    logs = [math.log(max(result[name], 0.0) + FLOOR) for name in ("selected", "last")]
    return -(SELECTED * logs[0] + LAST * logs[1])


def execute_here(store: RunStore, suite: Suite, runs: Sequence[SuiteRun], label: str) -> list[dict[str, Any]]:
    """Train the runs that have no result, one after another, and return the results of all, in order."""
    missing = store.missing(runs)
    for number, run in enumerate(missing):
        store.append(run, _play(suite, run))
        print(f"{label}: {len(runs) - len(missing) + number + 1} of {len(runs)} done", flush=True)
    return [store.results[run.key] for run in runs]


def cpu_minutes(store: RunStore) -> float:
    """Return the minutes of processor time of all runs so far."""
    return sum(line["cpu"] for line in store.results.values()) / 60


def _play(suite: Suite, run: SuiteRun) -> dict[str, Any]:
    settings, start = json.loads(run.settings), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        if "weights" in settings:
            path = Path(folder) / f"{run.key}.safetensors"
            kind = settings.get("kind", KIND)
            path.write_bytes(encode_policy(policy_with(settings["weights"], kind)))
            name = "learnable" if kind == KIND else "ppo"
            settings = {"controller": name, "options": {"policy": str(path), "features": "suite"}}
        curve = play_arm(suite.task(run.task), settings, run.seed)
    finite = {name: value if math.isfinite(value) else None for name, value in _ends(curve).items()}
    return {**finite, "diverged": curve.diverged, "cpu": round(time.process_time() - start, 2)}


def _ends(curve: Any) -> dict[str, float]:
    knobs = curve.evaluations[-1].knobs if curve.evaluations else {}
    values = {"selected": curve.selected, "last": curve.last}
    return {name: float(f"{value:.6g}") for name, value in {**values, **knobs}.items()}
