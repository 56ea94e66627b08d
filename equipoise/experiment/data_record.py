"""What a run was trained on, for its report: RUN/data.json, and RUN/skipped.txt if files were left out."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from equipoise.core.data import DataSet
from equipoise.core.printing import printable
from equipoise.runs.artifacts import write_text
from equipoise.runs.run import DATA_FILE, SKIPPED_FILE


def record_data(folder: Path, data: DataSet) -> None:
    """Write what was read and how: counts, shape, classes, unit and notes; and each file that was left out, and why.

    `data`: resolved, so that its files are read already. Raises OSError if the folder cannot be written.
    """
    spec, skipped = data.spec, skipped_files(data)
    notes = [printable(step.note) for step in data.prepare() if step.note]
    values: dict[str, object] = {
        "train": data.count("train"),
        "held_out": data.count("held_out"),
        "shape": list(spec.shape),
        "classes": spec.classes,
        "class_names": [printable(name) for name in spec.class_names],
        "unit": spec.unit,
        "skipped": len(skipped),
        "notes": list(dict.fromkeys(notes)),
    }
    write_text(folder / DATA_FILE, json.dumps(values, indent=2) + "\n")
    if skipped:
        lines = (f"{printable(path)}\t{printable(reason)}\n" for path, reason in sorted(skipped.items()))
        write_text(folder / SKIPPED_FILE, "".join(lines))


def record_skipped(folder: Path, files: Mapping[str, str]) -> None:
    """Add files that were found to be damaged during a run to RUN/skipped.txt, unless they are listed there.

    `files`: path -> reason. Raises OSError if the folder cannot be written.
    """
    path = folder / SKIPPED_FILE
    known = path.read_text().splitlines() if path.exists() else []
    lines = [f"{printable(file)}\t{printable(reason)}" for file, reason in files.items()]
    if new := [line for line in lines if line not in known]:
        write_text(path, "".join(f"{line}\n" for line in (*known, *new)))


def skipped_files(data: DataSet) -> Mapping[str, str]:
    """Return path -> reason of each file that a data set does not use; empty for data sets without files."""
    skipped: Callable[[], Mapping[str, str]] | None = getattr(data, "skipped", None)
    return skipped() if skipped else {}
