"""Exact resume of every model that two processes train: each of them is killed in turn.

    python benchmarks/resume_ranks.py                  two forked and two new processes per model and kill
    python benchmarks/resume_ranks.py --models progan  some models
    python benchmarks/resume_ranks.py --table          rewrite resume_ranks.md from results/resume_ranks.jsonl

Method. The runs of `resume_models.py`, with `devices = 2`. Process 1 is killed by SIGKILL after step 9, which ends
process 0 with an error. The run is resumed from the checkpoint of step 8, and process 0 is killed after step 17, which
ends process 1. It is resumed again. Compared as there with a run that was not killed.
"""

import dataclasses
import multiprocessing
import os
import signal
from pathlib import Path

from _model_runs import measure_models
from _results import Item, Result, Results, table, write
from resume import COMPARED, digests
from resume_models import TEACHERS, experiment_of

from equipoise.core.events import Stepped
from equipoise.errors import RunError
from equipoise.experiment import launch
from equipoise.runs.run import Run

KILLS = {"kill 1": 9, "kill 0": 17}
"""Action -> the step after which a process is killed, the one whose number it names."""
LOST = 77
"""Exit code of process 0 when process 1 was killed, and the error said so."""


def run(folder: Path, model: str, action: str) -> None:
    """Train or resume until the end, or until a process is killed."""
    if (folder / "experiment.json").exists():
        events = launch.resume(folder)
    else:
        experiment = experiment_of(model, folder.parent)
        events = launch.start(dataclasses.replace(experiment, devices=2 if action != "teacher" else None), folder)
    try:
        for event in events:
            if isinstance(event, Stepped) and event.step == KILLS.get(action):
                os.kill(os.getpid() if action == "kill 0" else child(), signal.SIGKILL)
    except RunError as error:
        os._exit(LOST if "process 1 of 2 was killed by signal 9" in str(error) else 1)


def child() -> int:
    """Return the process id of process 1."""
    return int(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()[0])


def run_in_process(folder: Path, model: str, action: str, expected: int = 0) -> None:
    """Do the same in a forked process. Raises RuntimeError unless its exit code is the expected one."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(folder, model, action))
    process.start()
    process.join()
    if process.exitcode != expected:
        raise RuntimeError(f"{model}, {action}: exit code {process.exitcode}, not {expected}")


def measure(item: Item, parent: Path) -> Result:
    """Return digests of both runs, and from where the killed one was resumed."""
    model, whole, killed = item["model"], parent / "whole", parent / "killed"
    if model in TEACHERS:
        run_in_process(parent / "teacher", TEACHERS[model], "teacher")
    run_in_process(whole, model, "whole")
    run_in_process(killed, model, "kill 1", expected=LOST)
    run_in_process(killed, model, "kill 0", expected=-signal.SIGKILL)
    run_in_process(killed, model, "resume")
    resumed = [line["step"] for line in Run(killed).lines("resumed")]
    return {"resumed": resumed, "whole": digests(whole), "killed": digests(killed)}


def row(item: Item, result: Result) -> list[object]:
    """Return the table row of a model."""
    equal = ["yes" if result["whole"][part] == result["killed"][part] else "**no**" for part in COMPARED]
    return [item["model"], ", ".join(map(str, result["resumed"])), *equal]


def write_table(results: Results, items: list[Item], out: Path) -> None:
    measured = [(item, result) for item in items if (result := results.result(item))]
    count = sum(result["whole"] == result["killed"] for _, result in measured)
    write(
        out / "resume_ranks.md",
        "# Every model, trained by two processes, each of which is killed",
        f"{results.provenance(items)} **{count} of {len(measured)} models ended with exactly the same bytes** as "
        "without kills. Method: docstring of `benchmarks/resume_ranks.py`.",
        table(
            ("model", "resumed from steps", *(f"equal {part}" for part in COMPARED)),
            [row(item, result) for item, result in measured],
        ),
    )


if __name__ == "__main__":
    measure_models(__doc__, "resume_ranks", measure, write_table)
