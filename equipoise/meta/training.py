"""Making a policy: a plan, a journal, and at the end a file."""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from equipoise.errors import RunError, unwritable
from equipoise.experiment.settings import versions
from equipoise.meta import evolution, reinforcement
from equipoise.meta.evolution import Progress
from equipoise.meta.extra import PACKAGES, need
from equipoise.meta.journal import Journal, lines_of
from equipoise.meta.plan import Plan
from equipoise.policy.blank import blank
from equipoise.policy.files import Policy, encoded
from equipoise.runs import run_folder as runs
from equipoise.runs.locks import held

JOURNAL = ".journal.jsonl"
FORMAT = 1
"""Of journals: to be raised whenever what is played, or what it earns, is no more what it was."""


def train_policy(plan: Plan, out: Path) -> Iterator[Progress]:
    """Train a policy into the file `out`, telling how far it is; a journal beside it lets it go on after a kill.

    Begun again with a whole journal, it writes the same file without playing. Raises SettingError if the journal is of
    another plan or other versions, or if what is needed is not installed; RunError if `out` is a folder, or a file that
    no journal of this plan stands beside, if another process is at it, or if the disk refuses.
    """
    path, signed = journal_of(out), signature(plan)
    if out.is_dir():
        raise RunError(f"{out} is a folder; give --out a file in it, such as {out / 'policy.safetensors'}")
    if out.exists() and not lines_of(path, signed):
        raise RunError(f"{out} is there already, without a journal of this plan; move it, or choose another --out")
    with held(path, "wait until it has ended, or choose another --out"):
        journal = Journal(path, signed)
        if plan.evolution is not None:
            yield from evolution.evolve(plan, plan.evolution, journal)
        if plan.reinforcement is not None:
            yield from reinforcement.reinforce(plan, plan.reinforcement, journal)
        try:
            runs.write_bytes(out, encoded(trained(plan, journal)))
        except OSError as error:
            raise RunError(unwritable(out.parent, error)) from error


def signature(plan: Plan) -> str:
    """SHA-256 of all that the numbers in a journal follow from: plan, policy before it was trained, versions, format.

    Raises SettingError if what the plan needs is not installed.
    """
    for module in plan.modules:
        need(module, "training such a policy")
    theirs = {module: version(PACKAGES[module]) for module in plan.modules}
    known = {"format": FORMAT, "plan": plan.values(), "versions": versions() | theirs}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode() + encoded(blank(plan.kind))).hexdigest()


def trained(plan: Plan, journal: Journal) -> Policy:
    """The policy that a whole journal of a plan comes to."""
    if plan.evolution is not None:
        return evolution.result(plan, plan.evolution, journal)
    assert plan.reinforcement is not None
    return reinforcement.result(plan, journal)


def seconds_of(plan: Plan, out: Path) -> float:
    """Seconds of CPU that a training has taken so far, over all its sittings."""
    return round(sum(float(line.get("cpu", 0)) for line in lines_of(journal_of(out), signature(plan))), 1)


def journal_of(out: Path) -> Path:
    """Where the journal of a policy's file lies."""
    return out.with_name(out.name.removesuffix(".safetensors") + JOURNAL)
