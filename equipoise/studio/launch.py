"""Starting and resuming runs from the studio, in processes of their own that outlive it."""

import asyncio
import errno
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from equipoise.core import catalog
from equipoise.errors import RunError, SettingError, unwritable
from equipoise.experiment.files import load_run_experiment
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.experiment.starter import start_path
from equipoise.runs.artifacts import write_text
from equipoise.runs.folders import is_held
from equipoise.runs.run import CHECKPOINTS_FOLDER, EVENTS_FILE, EXPERIMENT_FILE, OUTPUT_FILE, START_FILE
from equipoise.studio.run_files import FULL

TIMEOUT = 90.0
"""Seconds to wait until a process that was started has created, or taken over, the folder of its run."""
ENDING = 20.0
"""Seconds to wait until a process that has finished its run has ended, too, before the run is resumed."""
POLL = 0.1
FAILURES = (1, 2)
"""Exit codes of a process that ended with an error, see cli/output.py."""
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
TRUST = "if you trust it, start the studio with: equipoise studio --trust-code"


@dataclass(eq=False)
class Launcher:
    """Starts processes that train, and knows those that it started.

    `command`: the words that start `equipoise`. A process has its own session, so it does not end with the studio.
    """

    command: tuple[str, ...]
    _processes: "dict[Path, subprocess.Popen[bytes]]" = field(default_factory=dict)
    _output_begins: dict[Path, int] = field(default_factory=dict)

    def start(self, root: Path, experiment: Experiment, name: str = "") -> Path:
        """Start a run in a new folder in `root` and return the folder. `name`: of the folder; "": by data and model.

        Raises RunError if it cannot be written, and SettingError if the name cannot be used.
        """
        if name:
            check_name(root, name)
        try:
            folder = _new_folder(root, _stem(experiment)) if not name else _named_folder(root, name)
        except OSError as error:
            raise RunError(unwritable(root, error)) from error
        try:
            write_text(folder / START_FILE, json.dumps(experiment.to_json(), indent=2) + "\n")
        except OSError as error:
            _remove_unused(folder)
            raise RunError(unwritable(root, error)) from error
        self._launch(folder, ["train", "--experiment", str(folder / START_FILE), "--out", str(folder)])
        return folder

    async def resume(self, folder: Path, steps: int | None = None) -> None:
        """Resume a run. `steps`: new total number of steps. Raises RunError if a process trains it already.

        Waits for a process of the run that was started here and that ends.
        """
        end = time.monotonic() + ENDING
        while self.is_alive(folder) and not is_held(folder / EVENTS_FILE) and time.monotonic() < end:
            await asyncio.sleep(POLL)
        if is_held(folder / EVENTS_FILE) or self.is_alive(folder):
            raise RunError(f"{folder.name} is running already; stop it first")
        self._launch(folder, ["resume", str(folder), *(["--steps", str(steps)] if steps is not None else [])])

    def is_alive(self, folder: Path) -> bool:
        """Return whether a process that was started here still trains a run, or prepares to."""
        process = self._processes.get(folder.resolve())
        return process is not None and process.poll() is None

    def terminate(self, folder: Path) -> bool:
        """Send SIGTERM to the process of a run if it was started here and is alive, so that it saves and ends."""
        process = self._processes.get(folder.resolve())
        if process is None or process.poll() is not None:
            return False
        process.terminate()
        return True

    async def wait_until_running(self, folder: Path) -> None:
        """Wait until a process that was started trains its run. Raises RunError with its message if it has failed."""
        end = time.monotonic() + TIMEOUT
        process = self._processes[folder.resolve()]
        while time.monotonic() < end:
            has_failed = process.poll() in FAILURES
            exists = (folder / EXPERIMENT_FILE).exists()
            if exists and not has_failed and (is_held(folder / EVENTS_FILE) or process.returncode is not None):
                return
            if process.returncode is not None:
                message = _last_error(folder / OUTPUT_FILE, self._output_begins[folder.resolve()])
                if not exists:
                    _remove_unused(folder)
                raise RunError(message)
            await asyncio.sleep(POLL)

    def _launch(self, folder: Path, words: Sequence[str]) -> None:
        try:
            with (folder / OUTPUT_FILE).open("ab") as output:
                self._output_begins[folder.resolve()] = output.tell()
                self._processes[folder.resolve()] = subprocess.Popen(
                    [*self.command, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise RunError(unwritable(folder, error)) from error


def check_name(root: Path, name: str) -> None:
    """Raise SettingError if a new run in the folder `root` cannot have this name."""
    if not RUN_NAME.fullmatch(name):
        raise SettingError("name: use letters, digits, '.', '-' and '_', at most 100, and begin with a letter or digit")
    if (root / name).exists():
        raise SettingError(f"name: there is a run {name} already; choose another name")


def check_own_code(experiment: Experiment) -> None:
    """Raise SettingError if a run would import custom code: a module or file that its settings name."""
    for kind, plug in experiment.plugs().items():
        base = catalog.split_preset(plug.name)[0]
        is_path = kind == "data" and (Path(base).expanduser().exists() or not MODULE_NAME.fullmatch(base))
        if base not in catalog.names(kind) and (catalog.is_file(base) or ("." in base and not is_path)):
            raise SettingError(f"the {catalog.NOUNS[kind]} '{base}' is custom code, which is not run here; {TRUST}")
    if experiment.start_from is not None:
        start = start_path(experiment.start_from)
        run = start.parents[1] if start.parent.name == CHECKPOINTS_FOLDER else start
        if (run / EXPERIMENT_FILE).is_file():
            check_own_code(Experiment(model=load_run_experiment(run).model))


def _stem(experiment: Experiment) -> str:
    """Return the first part of the name of a run folder, by the plugs that are set: digits-dcgan."""
    plugs: list[PlugSpec] = [plug for plug in (experiment.data, experiment.model) if plug is not None]
    options = experiment.data.options if experiment.data else {}
    path = next((options[name] for name in ("folder", "file") if isinstance(options.get(name), str)), None)
    names = [Path(str(path) if path and plug is experiment.data else plug.name).name for plug in plugs]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(name.removesuffix(".py") for name in names)).strip(".-") or "run"


def _new_folder(root: Path, stem: str) -> Path:
    """Create and return the folder `root`/`stem`-N for the lowest free N from 1."""
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = root / f"{stem}-{number}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _named_folder(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    return root / name


def _last_error(path: Path, begin: int) -> str:
    """Return the message with which a process ended: the last line that it wrote, from byte `begin` of its output on.

    A process on a full disk cannot write one.
    """
    try:
        lines = path.read_bytes()[begin:][-4096:].decode("utf-8", "replace").splitlines()
        if not lines and shutil.disk_usage(path.parent).free < FULL:
            return unwritable(path.parent, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last.removeprefix("equipoise: ") or "the process ended before the run started, without a message"


def _remove_unused(folder: Path) -> None:
    """Remove the folder of a run that was not created, if it has only the files that are written before."""
    try:
        names = set(os.listdir(folder))
        if all(name in (START_FILE, OUTPUT_FILE) or name.startswith(".") for name in names):
            for name in names:
                (folder / name).unlink()
            folder.rmdir()
    except OSError:
        return
