"""The diffusion model that the students of rescue.py learn from: trained once, before the first of them."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _results import ROOT
from filelock import FileLock

from equipoise.experiment import launch
from equipoise.experiment.completion import complete
from equipoise.experiment.files import parse_experiment

FOLDER = ROOT / "build" / "rescue_teachers"
"""Runs of teachers, by the digest of their settings; not part of the results."""


def trained_teacher(settings: Mapping[str, Any]) -> Path:
    """Return the run of a teacher with these settings, trained by the first process that asks for it."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = FOLDER / digest
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / f"{digest}.lock"):
        if not (folder / "generator.safetensors").exists():
            shutil.rmtree(folder, ignore_errors=True)
            values = {**settings, "metric": "none", "threads": 1, "seed": 0, "controller": "fixed", "repair": False}
            for _ in launch.start(complete(parse_experiment(values, "rescue.toml")), folder):
                pass
    return folder
