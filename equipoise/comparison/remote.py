"""Comparisons on a Ray cluster: what must hold on every node before the first job."""

import dataclasses
import uuid
from pathlib import Path

from equipoise.comparison.folder import ComparisonFolder
from equipoise.comparison.machines import MachineFacts, check_machine, record_machine, this_machine
from equipoise.errors import RunError
from equipoise.jobs.ray_backend import RayBackend


@dataclasses.dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node sees: the content of the file of the check, None if it is missing, and the facts of the machine."""

    content: str | None
    machine: MachineFacts


def check_nodes(backend: RayBackend, folder: ComparisonFolder) -> list[str]:
    """Check that every node sees the folder and has this version; record the machines; return notes.

    A new random text is written to the folder, which each node has to read. Raises RunError, naming the node.
    """
    text, path = uuid.uuid4().hex, folder.path.resolve() / "locks" / "shared"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    notes = []
    try:
        for host, report in backend.call_on_nodes(report_node, path).items():
            if report.content != text:
                raise RunError(
                    f"the node {host} does not see {folder.path.resolve()}; give --out a folder on a drive that all "
                    "nodes of the Ray cluster share, under the same path"
                )
            notes += check_machine(folder, report.machine)
            record_machine(folder, report.machine)
    finally:
        path.unlink(missing_ok=True)
    return notes


def report_node(path: Path) -> NodeReport:
    """Return what this node sees."""
    try:
        content = path.read_text()
    except OSError:
        content = None
    return NodeReport(content, this_machine())
