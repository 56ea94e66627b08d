"""The folder of a comparison. Only this module reads and writes its format.

FOLDER/plan.json        the plan, its digest and the package versions at the start
       plan.toml        the plan as written by the user
       anchors/         per task, and per setting with other data: metrics of worthless samples and of reals
       calibration/     per task with a budget: the steps of each arm, and the CPU seconds that they follow from
       tuned.json       the selected settings of each arm
       runs/            one run folder per run
       samples/         per run: uncurated samples, where arms have models or sampling of their own
       measurements/    per run: quality after each measured step, and the cost up to it; "looks" in older folders
       failed/          per failed run: its output
       population/      per run of a population: a run folder for each round of each member, what was recorded of it,
                        and schedule.json, the schedule of the best member
       machines/        the processor and the versions of each machine
       locks/           per job: who works on it; empty files of locks; the output of running jobs
       results.jsonl  results.md  report.html
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.comparison.arms import pin_policies
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_files import plan_from_values
from equipoise.comparison.plan_runs import MemberRound, RunSpec, TaskSetting
from equipoise.errors import RunError, unwritable
from equipoise.experiment.settings import installed_versions
from equipoise.jobs.claim_files import DriveFiles
from equipoise.runs.artifacts import write_text
from equipoise.runs.folders import require_free

PLAN_FILE, PLAN_TOML = "plan.json", "plan.toml"
JsonContent = dict[str, Any]
"""A JSON object, as returned by the json module."""


@dataclass(frozen=True, slots=True)
class ComparisonFolder:
    """Paths in the folder of a comparison."""

    path: Path

    def run(self, run: RunSpec) -> Path:
        """Return the run folder of a run."""
        return self.path / "runs" / run.name

    def measurements(self, run: RunSpec) -> Path:
        """Return the file with the measurements of a run."""
        older = self.path / "looks"
        return (older if older.exists() else self.path / "measurements") / f"{run.name}.jsonl"

    def failed(self, job: str) -> Path:
        """Return the file with the output of a failed job."""
        return self.path / "failed" / f"{job}.txt"

    def lock(self, name: str) -> Path:
        """Return the path that a process locks while it works on a run, or on the whole comparison."""
        return self.path / "locks" / name

    def output(self, job: str) -> Path:
        """Return the file that a running job writes its output to."""
        return self.path / "locks" / f"{job}.log"

    def population(self, run: RunSpec) -> Path:
        """Return the folder with the members of a run that shows the best of them."""
        return self.path / "population" / run.name

    def member(self, spec: MemberRound) -> Path:
        """Return the run folder of a member in one round; its record and its measurements are next to it."""
        return self.population(spec.run) / f"round-{spec.number}" / f"member-{spec.member}"

    @property
    def machines(self) -> Path:
        """The folder with the facts of each machine, where several may have worked."""
        return self.path / "machines"

    @property
    def processes(self) -> Path:
        """The folder with a file for each process that works on the comparison."""
        return self.path / "locks" / "processes"

    def anchors(self, setting: TaskSetting) -> Path:
        """Return the file with the anchors of a setting that plan_runs.anchor_setting returns."""
        return self.path / "anchors" / f"{'tuning.' * setting.tuning}{setting.name}.json"

    def calibration(self, task: str) -> Path:
        """Return the file with the calibrated steps of each arm in a task."""
        return self.path / "calibration" / f"{task}.json"

    def samples(self, run: RunSpec, suffix: str) -> Path:
        """Return the file with uncurated samples of a run."""
        return self.path / "samples" / f"{run.name}{suffix}"

    @property
    def tuned(self) -> Path:
        """The file with the selected settings of each arm."""
        return self.path / "tuned.json"


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """Content of plan.json. `digest`: SHA-256 of the plan; `versions`: package -> version at the start."""

    plan: ComparisonPlan
    values: Mapping[str, object]
    digest: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TunedArm:
    """Result of tuning an arm: the selected trial, its options, and the mean score of each trial."""

    trial: int
    options: Mapping[str, object]
    scores: tuple[float, ...]


def create_or_open(folder: ComparisonFolder, plan: ComparisonPlan, text: str) -> ComparisonPlan:
    """Create the folder, or check that it contains the same plan; return the plan with its policies pinned.

    `text`: the plan as written by the user. Raises RunError if the folder contains anything else or cannot be written,
    SettingError if the file of a policy has changed since the comparison was started.
    """
    plan = pin_policies(plan)
    path, toml, values = folder.path / PLAN_FILE, folder.path / PLAN_TOML, plan.to_json()
    if path.exists():
        _check_same_plan(folder, values)
    else:
        _require_free(folder)
    try:
        content = {"plan": values, "digest": json_digest(values), "versions": installed_versions()}
        if not path.exists() and not _create_json(path, content):
            _check_same_plan(folder, values)  # another process has created it in the meantime
        if not toml.exists():  # written last: the process may have been killed between the two
            write_text(toml, text)
    except OSError as error:
        raise RunError(unwritable(folder.path, error, has_out=True)) from error
    return plan


def _check_same_plan(folder: ComparisonFolder, values: Mapping[str, object]) -> None:
    """Raise RunError if the folder contains a comparison of another plan."""
    existing = pin_policies(_read_record(folder.path / PLAN_FILE).plan)  # older files name policies without digests
    if json.dumps(existing.to_json(), sort_keys=True) != json.dumps(values, sort_keys=True):
        raise RunError(f"{folder.path} contains a comparison of another plan; choose another folder with --out")


def _require_free(folder: ComparisonFolder) -> None:
    """Raise RunError if the folder is not empty, unless another process creates the comparison at this moment."""
    try:
        require_free(folder.path)
    except RunError:
        if not (folder.path / PLAN_FILE).exists():
            raise


def open_comparison(folder: ComparisonFolder) -> PlanRecord:
    """Read plan.json of a comparison. Raises RunError if the folder is not a comparison."""
    path = folder.path / PLAN_FILE
    if not path.exists():
        raise RunError(f"{folder.path} is not a comparison: it has no {PLAN_FILE}; check the path")
    return _read_record(path)


def read_tuned_arms(folder: ComparisonFolder) -> dict[str, TunedArm]:
    """Read tuned.json: arm -> its selected settings. Return {} before the end of tuning, and without tuning."""
    return {
        arm: TunedArm(
            entry["trial"], entry["options"] if "options" in entry else entry["tried"], tuple(entry["scores"])
        )
        for arm, entry in read_json(folder.tuned).items()
    }


def json_digest(values: Mapping[str, object]) -> str:
    """Return the SHA-256 of values as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, values: object) -> None:
    """Write values as JSON to a file, atomically; create its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _encode_json(values))


def _encode_json(values: object) -> str:
    return json.dumps(values, indent=2) + "\n"


def _create_json(path: Path, values: object) -> bool:
    """Write values as JSON to a file that does not exist; return False if another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return DriveFiles(path.parent).create(path.name, _encode_json(values).encode())


def read_json(path: Path) -> JsonContent:
    """Read a JSON object; return {} if the file does not exist. Raises RunError if it cannot be read."""
    return _read(path) if path.exists() else {}


def _read_record(path: Path) -> PlanRecord:
    values = _read(path)
    plan = plan_from_values(values["plan"], str(path))
    return PlanRecord(plan, values["plan"], values["digest"], values["versions"])


def _read(path: Path) -> JsonContent:
    try:
        values: JsonContent = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}; restore it, or use another folder") from error
    return values
