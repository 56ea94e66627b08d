"""The folder of a comparison: the only reader and writer of its format.

FOLDER/plan.json        the plan, its digest and the versions that it was begun with
       plan.toml        the plan as it was given
       anchors/         by task, and setting with other data: what reals and an untrained generator get
       tuned.json       what each arm was tuned to
       runs/            a run folder each
       looks/           by run: how good its samples were after which step, at what cost
       failed/          by run: the last words of one that could not be run
       results.jsonl  results.md  report.html
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.comparison import plan as plans
from equipoise.comparison.arms import pinned
from equipoise.comparison.plan import Plan
from equipoise.comparison.planned import Planned, Setting
from equipoise.errors import RunError, unwritable
from equipoise.experiment.settings import versions
from equipoise.runs import run_folder as runs


@dataclass(frozen=True, slots=True)
class Folder:
    """Where things lie in the folder of a comparison."""

    path: Path

    def run(self, run: Planned) -> Path:
        """The run folder of a run."""
        return self.path / "runs" / run.name

    def looks(self, run: Planned) -> Path:
        """The looks at a run."""
        return self.path / "looks" / f"{run.name}.jsonl"

    def failed(self, name: str) -> Path:
        """The last words of a job."""
        return self.path / "failed" / f"{name}.txt"

    def anchors(self, setting: Setting) -> Path:
        """What reals and an untrained generator get, in a setting that planned.anchored gives."""
        return self.path / "anchors" / f"{'tuning.' * setting.tuning}{setting.name}.json"

    @property
    def tuned(self) -> Path:
        """What each arm was tuned to."""
        return self.path / "tuned.json"


def begin(folder: Folder, plan: Plan, text: str) -> Plan:
    """Make the folder, or see that it holds this very plan; the plan to go on with, its policies pinned.

    `text`: the plan as it was given.

    Raises RunError if it holds anything else, or cannot be written, SettingError if a policy is not the file any more
    that the comparison was begun with.
    """
    plan = pinned(plan)
    path, given, told = folder.path / "plan.json", folder.path / "plan.toml", plan.to_json()
    if path.exists():
        kept = pinned(plans.from_values(_read(path)["plan"], str(path)))  # older ones name policies without digests
        if json.dumps(kept.to_json(), sort_keys=True) != json.dumps(told, sort_keys=True):
            raise RunError(f"{folder.path} holds a comparison by another plan; choose another folder with --out")
    else:
        runs.refuse_occupied(folder.path)
    try:
        if not path.exists():
            write_json(path, {"plan": told, "digest": digest(told), "versions": versions()})
        if not given.exists():  # the last file to be written: a kill may have come before it
            runs.write_text(given, text)
    except OSError as error:
        raise RunError(unwritable(folder.path, error)) from error
    return plan


def opened(folder: Folder) -> tuple[Plan, Mapping[str, Any]]:
    """The plan of a folder, and what was kept with it: `digest` and `versions`. Raises RunError if it is none."""
    path = folder.path / "plan.json"
    if not path.exists():
        raise RunError(f"{folder.path} is not a comparison: it has no plan.json")
    values = _read(path)
    return plans.from_values(values["plan"], str(path)), values


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of values as JSON has them, keys sorted."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, values: Any) -> None:
    """Write a file whole or not at all, and the folder around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    runs.write_text(path, json.dumps(values, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """What was written; None if there is no such file. Raises RunError if it was altered."""
    return _read(path) if path.exists() else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}; put it back as it was, or begin in another folder") from error
