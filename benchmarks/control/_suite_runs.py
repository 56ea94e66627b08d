"""Runs of the suite in two processes: one JSON line per run, appended as it ends; no run is repeated."""

import hashlib
import json
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _results import HERE, commit, today

from equipoise.comparison.suite.tasks import load_suite
from equipoise.errors import SettingError

FOLDER = HERE / "control"
SUITE_FILE = FOLDER / "suite.toml"
RESULTS_FILE = FOLDER / "results" / "suite.jsonl"
PROCESSES = 2
EMPTY_CURVE: dict[str, Any] = {"remedies": 0, "steps": [], "distances": [], "live": [], "knobs": {}}
"""Of a run whose settings a task refuses."""


@dataclass(frozen=True)
class SuiteRun:
    """One run. `arm`: name of the arm. `settings`: JSON values of how it is controlled. `seed`: of data and weights."""

    task: str
    arm: str
    settings: str
    seed: int

    @classmethod
    def of(cls, task: str, arm: str, settings: dict[str, Any], seed: int) -> "SuiteRun":
        """Build a run; settings of equal content have equal text."""
        return cls(task, arm, json.dumps(settings, sort_keys=True), seed)

    @property
    def key(self) -> str:
        """Identity of the run: task, arm, seed and a digest of its settings."""
        digest = hashlib.blake2b(self.settings.encode(), digest_size=6).hexdigest()
        return f"{self.task}.{self.arm}.{digest}.{self.seed}"


class RunStore:
    """The results of all runs, in a file of JSON lines."""

    def __init__(self, path: Path = RESULTS_FILE) -> None:
        self.path = path
        self.results: dict[str, dict[str, Any]] = {}
        texts = path.read_text().splitlines(keepends=True) if path.exists() else []
        for text in texts:
            if text.endswith("}\n"):  # a line that was cut off by a kill is measured again
                line = json.loads(text)
                self.results[line["key"]] = line

    def append(self, run: SuiteRun, result: dict[str, Any]) -> None:
        """Append a result, on a new line if the last one was cut off."""
        line = {"key": run.key, "task": run.task, "arm": run.arm, "seed": run.seed}
        line |= {"settings": json.loads(run.settings), **result, "commit": commit(), "date": today()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_cut_off = self.path.exists() and self.path.read_bytes()[-1:] not in (b"\n", b"")
        with self.path.open("a") as file:
            file.write("\n" * is_cut_off + json.dumps(line) + "\n")
        self.results[run.key] = line

    def missing(self, runs: Iterable[SuiteRun]) -> list[SuiteRun]:
        """Return the runs without a result, each once."""
        return [run for run in dict.fromkeys(runs) if run.key not in self.results]


def run_one(suite_file: str, run: SuiteRun) -> dict[str, Any]:
    """Train one run in this process; called by the workers."""
    import torch

    from equipoise.comparison.suite.arms import play_arm

    torch.set_num_threads(1)
    task = load_suite(Path(suite_file)).task(run.task)
    try:
        curve = play_arm(task, json.loads(run.settings), run.seed)
    except SettingError as error:  # such as too few steps for several members: this setting does not suit every task
        return {"last": None, "selected": None, "diverged": True, "error": str(error), "cpu": 0.0, **EMPTY_CURVE}
    return {
        "last": _finite(curve.last),
        "selected": _finite(curve.selected),
        "diverged": curve.diverged,
        "cpu": round(curve.cpu, 2),
        "remedies": curve.remedies,
        "steps": [evaluation.step for evaluation in curve.evaluations],
        "distances": [_finite(round(evaluation.distance, 5)) for evaluation in curve.evaluations],
        "live": [_finite(round(evaluation.live, 5)) for evaluation in curve.evaluations],
        "knobs": {
            name: [float(f"{evaluation.knobs[name]:.4g}") for evaluation in curve.evaluations]
            for name in (curve.evaluations[0].knobs if curve.evaluations else ())
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is killed; otherwise it would train all runs that are queued."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def execute(store: RunStore, runs: Sequence[SuiteRun], suite_file: Path = SUITE_FILE, label: str = "") -> None:
    """Train all runs that have no result, two at a time. Interrupting loses at most the two that are running."""
    missing = store.missing(runs)
    done, total = len(runs) - len(missing), len(runs)
    print(f"{label}: {done} of {total} done", flush=True)
    if not missing:
        return
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context, _end_with_parent, (os.getpid(),)) as pool:
        futures: dict[Future[dict[str, Any]], SuiteRun] = {
            pool.submit(run_one, str(suite_file), run): run for run in missing
        }
        try:
            for future in _completed(futures):
                run = futures[future]
                result = future.result()
                store.append(run, result)
                done += 1
                print(f"{label}: {done} of {total} done: {run.key} {result['selected']} {result['cpu']} s", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _completed(futures: dict[Future[dict[str, Any]], SuiteRun]) -> Iterator[Future[dict[str, Any]]]:
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from finished
