"""The machines that the runs of a comparison were made on, and what differs between them.

FOLDER/machines/NAME.json       processor and package versions of a machine
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from equipoise.comparison.folder import ComparisonFolder, open_comparison, read_json, write_json
from equipoise.errors import RunError, unwritable
from equipoise.experiment.settings import installed_versions

LOCAL_DRIVES = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "ramfs"})
"""File systems of a single machine; btrfs and others may be exported, so their names alone prove nothing."""
SEVERAL_TASKS = ("SLURM_ARRAY_TASK_COUNT", "SLURM_JOB_NUM_NODES")
"""Variables of SLURM: how many tasks of an array, or nodes of a job, there are."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What determines the bytes of a run besides its experiment. `versions`: package -> version."""

    host: str
    processor: str
    versions: Mapping[str, str]

    @property
    def kind(self) -> str:
        """Processor and versions in words."""
        return f"{self.processor}, " + ", ".join(f"{name} {version}" for name, version in self.versions.items())


def this_machine() -> MachineFacts:
    """Return the facts of this machine."""
    return MachineFacts(platform.node(), _processor(), installed_versions())


def record_machine(folder: ComparisonFolder, machine: MachineFacts) -> None:
    """Write the facts of a machine to the folder, once. Raises RunError if it cannot be written."""
    digest = hashlib.sha256(json.dumps(asdict(machine), sort_keys=True).encode()).hexdigest()
    path = folder.machines / f"{digest[:12]}.json"
    try:
        if not path.exists():
            write_json(path, asdict(machine))
    except OSError as error:
        raise RunError(unwritable(folder.path, error, has_out=True)) from error


def read_machines(folder: ComparisonFolder) -> list[MachineFacts]:
    """Read the facts of all machines of a comparison; none if it was made on one machine."""
    values = (read_json(path) for path in sorted(folder.machines.glob("*.json")))
    return [MachineFacts(one["host"], one["processor"], one["versions"]) for one in values]


def check_machine(folder: ComparisonFolder, machine: MachineFacts) -> list[str]:
    """Return notes about a machine that joins a comparison: what differs from where it was started.

    Raises RunError if it has another version of this package, whose runs would differ by more than rounding.
    """
    started = open_comparison(folder).versions
    if (theirs := started.get("equipoise")) != (ours := machine.versions["equipoise"]):
        raise RunError(
            f"{folder.path} was started with equipoise {theirs}, but {machine.host} has {ours}; install that version"
        )
    different = [
        f"{name} {version} instead of {started[name]}"
        for name, version in machine.versions.items()
        if started.get(name, version) != version
    ]
    notes = []
    if different:
        notes.append(
            f"{machine.host} has {', '.join(different)}, with which the comparison was started: its runs differ in "
            "rounding; install the same versions for equal bytes"
        )
    processors = {one.processor for one in read_machines(folder)} - {machine.processor}
    if processors and not different:
        notes.append(
            f"{machine.host} has the processor {machine.processor}, other machines {', '.join(sorted(processors))}: "
            "runs differ in rounding between them"
        )
    return [*notes, *_check_drive(folder.path)]


def _check_drive(path: Path) -> list[str]:
    """Return a note if several tasks of a cluster join a folder that is probably on a drive of this machine."""
    count = max((int(value) for name in SEVERAL_TASKS if (value := os.environ.get(name, "")).isdecimal()), default=1)
    drive = _file_system(path)
    if count < 2 or drive not in LOCAL_DRIVES:
        return []
    return [
        f"{path} is on a drive of {platform.node()} itself ({drive}), which tasks on other nodes do not see: they "
        "would repeat all jobs; give --out a folder on a network drive, unless all tasks run on this node"
    ]


def describe_machines(machines: Sequence[MachineFacts]) -> list[str]:
    """Describe in one sentence that runs were made on machines of several kinds; nothing for one kind."""
    kinds = {machine.kind for machine in machines}
    if len(kinds) < 2:
        return []
    return [
        f"Runs were made on machines of {len(kinds)} kinds ({'; '.join(sorted(kinds))}), between which results differ "
        "in rounding, and CPU seconds in speed; compare costs within one kind."
    ]


def _file_system(path: Path) -> str:
    """Return the type of the file system of a path, "" if it is unknown."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    result, longest = "", -1
    for line in lines:
        mount = line.split()[4].replace("\\040", " ")
        if path.resolve().is_relative_to(mount) and len(mount) >= longest:
            result, longest = line.partition(" - ")[2].split()[0], len(mount)
    return result


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
