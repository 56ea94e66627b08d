"""Training of a policy from a plan: writes a journal during the training and a policy file at the end."""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from equipoise.errors import RunError, SettingError, unwritable
from equipoise.experiment.settings import installed_versions
from equipoise.jobs.backend import Backend
from equipoise.meta import evolution, reinforcement
from equipoise.meta.evolution import PolicyProgress
from equipoise.meta.journal import Journal, read_journal
from equipoise.meta.parallel_episodes import EpisodePlayer
from equipoise.meta.plan import PolicyPlan
from equipoise.policy.files import Policy, encode_policy
from equipoise.policy.kinds import untrained_policy
from equipoise.runs.artifacts import write_bytes
from equipoise.runs.folders import hold

JOURNAL = ".journal.jsonl"
FORMAT = 1
"""Format of journals; increase it whenever the tasks or the rewards of a plan change."""
PACKAGES = {"gymnasium": "gymnasium", "stable_baselines3": "stable-baselines3", "cma": "cma"}
"""Module of the extra `rl` -> package name."""


def train_policy(plan: PolicyPlan, out: Path, backend: Backend | None = None) -> Iterator[PolicyProgress]:
    """Train a policy and write it to the file `out`; yield progress. A journal next to it allows resuming.

    `backend`: where the runs of an evolution are trained that are not stacked; default: this process. The policy is the
    same for any backend.

    With a complete journal the same file is written without training. Raises SettingError if the journal belongs to
    another plan or other versions, or if a package is not installed; RunError if `out` is a folder, or a file without a
    journal of this plan, if another process trains it, or if it cannot be written.
    """
    path, digest = journal_path(out), plan_digest(plan)
    if out.is_dir():
        raise RunError(f"{out} is a folder; use a file in it, such as --out {out / 'policy.safetensors'}")
    if out.exists() and not read_journal(path, digest):
        raise RunError(f"{out} exists without a journal of this plan; move it, or choose another --out")
    with hold(path, "wait until it has finished, or choose another --out"):
        journal = Journal(path, digest)
        if plan.evolution is not None:
            yield from evolution.run_evolution(plan, plan.evolution, journal, EpisodePlayer(backend))
        if plan.reinforcement is not None:
            yield from reinforcement.run_reinforcement(plan, plan.reinforcement, journal)
        try:
            write_bytes(out, encode_policy(build_policy(plan, journal)))
        except OSError as error:
            raise RunError(unwritable(out.parent, error, has_out=True)) from error


def plan_digest(plan: PolicyPlan) -> str:
    """Return the SHA-256 of the plan, the untrained policy, the package versions and the format of journals.

    The numbers in a journal depend on nothing else. Raises SettingError if a required package is not installed.
    """
    for module in plan.modules:
        if find_spec(module) is None:
            raise SettingError(
                f"this training needs the package {PACKAGES[module]}; install it with: pip install 'equipoise[rl]'"
            )
    versions = installed_versions() | {module: version(PACKAGES[module]) for module in plan.modules}
    values = {"format": FORMAT, "plan": plan.to_json(), "versions": versions}
    untrained = encode_policy(untrained_policy(plan.kind))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode() + untrained).hexdigest()


def build_policy(plan: PolicyPlan, journal: Journal) -> Policy:
    """Build the policy from a complete journal."""
    if plan.evolution is not None:
        return evolution.build_policy(plan, plan.evolution, journal)
    assert plan.reinforcement is not None
    return reinforcement.build_policy(plan, journal)


def cpu_seconds(plan: PolicyPlan, out: Path) -> float:
    """Return the CPU seconds of a training so far, over all processes that have worked on it."""
    return round(sum(float(line.get("cpu", 0)) for line in read_journal(journal_path(out), plan_digest(plan))), 1)


def journal_path(out: Path) -> Path:
    """Return the path of the journal of a policy file."""
    return out.with_name(out.name.removesuffix(".safetensors") + JOURNAL)
