"""Does monitoring raise false alarms on default runs with a metric, and does repair treat them?

    python benchmarks/false_alarms.py             about 25 minutes of one idle core; a restart continues
    python benchmarks/false_alarms.py --replay    diagnose the recorded runs with the present code, without training
    python benchmarks/false_alarms.py --table     rewrite false_alarms.md from results/false_alarms.jsonl

Method. A default run of every data set that needs no download, with seeds 0, 1 and 2: the suggested model, controller
and metric, and repair as shipped, as `equipoise train DATA` does. The metric is measured ten times in every run, for
folders `fd_pixels`. Runs are shorter than suggested (`SHARES`), with their schedules; of two data sets, beginnings of
runs of the suggested length are recorded (`BEGINNINGS`). `origin` is left out: no metric suits its single point.
Default runs are expected to be healthy, so every remedy and every serious finding is a false alarm, unless the metric
says otherwise. Expected: at most 2 % treated, of these runs and the healthy ones of benchmarks/rescue.py together.

Replay. Until its first remedy, a run does not depend on its diagnosis. So the signals that were recorded up to it tell
what another version of the diagnosis detects, and where it would act first. A run that was treated, but would no longer
be treated up to that step, is open: it must be trained again.
"""

import collections
import contextlib
import json
import math
import re
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _replay import Replay, print_replays, replay
from _results import HERE, ROOT, Item, Result, Results, create_parser, run_in_subprocess, table, write
from PIL import Image

from equipoise.core import catalog
from equipoise.core.events import Sensed
from equipoise.core.observations import SERIOUS
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.files import load_run_experiment, parse_experiment
from equipoise.experiment.launch import start
from equipoise.experiment.settings import Experiment, require
from equipoise.runs.run import Run

NOTES = HERE / "false_alarms_notes.md"
RUNS = ROOT / "runs" / "false_alarms"
SEEDS = (0, 1, 2)
EVALUATIONS = 10
PIXELS = {"name": "fd_pixels", "side": 4}
TASKS: Mapping[str, Mapping[str, Any]] = {
    "digits": {"data": "digits"},
    "openmoji": {"data": "openmoji"},
    "stacked_digits": {"data": "stacked_digits"},
    "ring": {"data": "ring"},
    "grid": {"data": "grid"},
    "sentences": {"data": "sentences"},
    "oracle": {"data": "oracle:small"},
    "image_folder": {"data": "images", "metric": PIXELS},
    "csv_windows": {"data": "windows", "metric": PIXELS},
    "pairs": {"data": "openmoji", "model": "pix2pix:cpu32"},
}
SHARES: Mapping[str, float] = {
    **{"digits": 0.3, "openmoji": 0.12, "ring": 0.2, "grid": 0.2, "oracle": 0.25},
    **{"image_folder": 0.08, "csv_windows": 0.2, "pairs": 0.1},
}
"""Share of the suggested steps that a run has, so that each takes about a minute of an idle core."""
BEGINNINGS: Mapping[str, int] = {"stacked_digits": 600, "csv_windows": 400}
"""Runs of the suggested length, without repair, that are stopped after this step: an eighth of them, or a third."""
FOLDER_IMAGES = 500
"""Number of emoji in the folder of images, in colour, 32 pixels a side, without labels."""


def measure(item: Item, runs: Path) -> Result:
    """Train one run in a folder of its own, and return what was detected and done."""
    folder, until = runs / name_of(item), item.get("until", math.inf)
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.closing(start(experiment_of(item, runs), folder)) as events:
        for event in events:
            if isinstance(event, Sensed) and event.step >= until:
                break
    return complete_result(item, runs)


def complete_result(item: Item, runs: Path) -> Result:
    """Return the result of a recorded run; of a beginning, what the replay detects and where it would act."""
    result = result_of(Run(runs / name_of(item)))
    replayed = replay_item(item, runs) if "until" in item else None
    if replayed is None:
        return result
    remedied = [] if replayed.remedy is None else [replayed.remedy]
    return {**result, "serious": replayed.serious, "remedied": remedied}


def result_of(run: Run) -> Result:
    """Return what was detected and done in a recorded run."""
    serious: dict[str, int] = {}
    for line in run.lines("sensed"):
        for finding in line["health"]["findings"]:
            if finding["severity"] >= SERIOUS:
                serious.setdefault(finding["symptom"], line["step"])
    last = run.lines("sensed")[-1]
    evaluated = run.lines("evaluated")
    finished = next(iter(run.lines("finished")), {})
    return {
        "planned": run.lines("started")[0]["steps"],
        "steps": run.lines()[-1]["step"],
        "metric": evaluated[0]["metric"] if evaluated else None,
        "values": [(line["step"], line["value"]) for line in evaluated],
        "verdict": finished.get("verdict"),
        "seconds": last["seconds"],
        "serious": serious,
        "remedied": [
            {"step": line["step"], "symptom": line["finding"]["symptom"], "restored": line.get("restored")}
            for line in run.lines("remedied")
        ],
    }


def name_of(item: Item) -> str:
    beginning = "-beginning" if "until" in item else ""
    return f"{item['what']}-{item['seed']}{beginning}"


def experiment_of(item: Item, runs: Path) -> Experiment:
    """Return the default experiment of a task."""
    values = {**TASKS[item["what"]], "seed": item["seed"], "threads": 1}
    if values["data"] in INPUTS:
        folder = runs / "inputs" / values["data"]
        if not folder.exists():
            INPUTS[values["data"]](folder)
        name = "csv_windows" if values["data"] == "windows" else "image_folder"
        values["data"] = {"name": name, "folder": str(folder)}
        if name == "csv_windows":
            values["data"]["cache"] = str(runs / "cache")
    steps = require(complete(parse_experiment(values, "defaults")).steps, "steps")
    steps = steps if "until" in item else round(steps * SHARES.get(item["what"], 1.0))
    values |= {"repair": "until" not in item, "steps": steps, "evaluate_every": max(1, steps // EVALUATIONS)}
    return parse_experiment(values, "defaults")


def write_images(folder: Path) -> None:
    """Write emoji as PNG files."""
    folder.mkdir(parents=True)
    batch = catalog.build("data", "openmoji").stream("train", FOLDER_IMAGES, 0).batch(0)
    pixels = ((batch.real.numpy().transpose(0, 2, 3, 1) + 1) * 127.5).round().astype(np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:03d}.png")


def write_windows(folder: Path) -> None:
    """Write the windows of docs/tutorials/your-table-of-numbers.md."""
    random = np.random.default_rng(0)
    for kind in ("rising", "falling"):
        (folder / kind).mkdir(parents=True)
        for number in range(30):
            slope = np.linspace(0, 30, 16) * (1 if kind == "rising" else -1)
            values = slope + random.normal(0, 5, (16, 16))
            np.savetxt(folder / kind / f"{number}.csv", values, fmt="%.3f", delimiter=",")


INPUTS: Mapping[str, Callable[[Path], None]] = {"images": write_images, "windows": write_windows}


def replay_item(item: Item, runs: Path) -> Replay | None:
    """Diagnose a recorded run with the present code; None if it was not recorded."""
    run = Run(runs / name_of(item))
    if not run.folder.exists() or not run.lines("sensed"):
        return None
    experiment = load_run_experiment(run.folder)
    return replay(assemble(experiment, None).pilot.settings, run)


def write_table(results: Results, items: Sequence[Item], args: Any) -> None:
    """Write false_alarms.md from the available results."""
    runs = {name_of(item): result for item in items if (result := results.result(item))}
    groups = dict.fromkeys(name_of(item).replace(f"-{item['seed']}", "") for item in items)
    rows = [
        row
        for group in groups
        if (row := task_row(group, [run for name, run in runs.items() if re.sub(r"-\d", "", name) == group]))
    ]
    treated = sum(bool(run["remedied"]) for run in runs.values())
    serious = sum(bool(run["serious"]) for run in runs.values())
    write(
        args.out / "false_alarms.md",
        "# False alarms in default runs with a metric",
        f"{results.provenance(items)} One thread per process. Method: docstring of `benchmarks/false_alarms.py`.",
        f"**{treated} of {len(runs)} runs treated, {serious} with a serious finding at any reading.**",
        "`metric`: its first and last value, median of the seeds. `serious`: symptoms with a serious finding, with the "
        "step of the first one; `final verdict`: number of seeds. A beginning is a run of the suggested length without "
        "repair that was stopped; it counts as treated if repair would act on its signals.",
        table(("data", "steps", "runs", "metric", "first", "last", "treated", "serious", "final verdict"), rows),
        *([NOTES.read_text().strip()] if NOTES.exists() else []),
    )


def task_row(name: str, runs: Sequence[Result]) -> list[object] | None:
    if not runs:
        return None
    measured = [run for run in runs if run["values"]]
    first, last = (
        f"{statistics.median(run['values'][place][1] for run in measured):.3g}" if measured else "–"
        for place in (0, -1)
    )
    serious = collections.defaultdict(list)
    for run in runs:
        for symptom, step in run["serious"].items():
            serious[symptom].append(step)
    verdicts = collections.Counter(run["verdict"] or "stopped" for run in runs)
    return [
        name,
        ", ".join(dict.fromkeys(f"{run['steps']:,} of {run['planned']:,}" for run in runs)),
        len(runs),
        measured[0]["metric"] if measured else "–",
        first,
        last,
        sum(bool(run["remedied"]) for run in runs),
        "; ".join(f"{symptom} {', '.join(map(str, steps))}" for symptom, steps in serious.items()) or "–",
        ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()),
    ]


def items_of() -> list[Item]:
    complete_runs = [{"what": name, "seed": seed} for seed in SEEDS for name in TASKS if name != "stacked_digits"]
    beginnings = [{"what": name, "seed": seed, "until": step} for seed in SEEDS for name, step in BEGINNINGS.items()]
    return [*complete_runs, *beginnings]


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these tasks")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="SEED")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the run folders, which are kept")
    parser.add_argument("--replay", action="store_true", help="diagnose the recorded runs, without training")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item, args.runs)))
        return
    items = [item for item in items_of() if not args.only or item["what"] in args.only]
    selected = [item for item in items if item["seed"] in args.seeds]
    results = Results(args.out / "results" / "false_alarms.jsonl")
    if args.replay:
        print_replays((name_of(item), item["seed"], replay_item(item, args.runs)) for item in selected)
        return
    if not args.table:
        results.measure(selected, lambda item: run_in_subprocess(__file__, item, 1, "--runs", str(args.runs)))
    write_table(results, items_of(), args)


if __name__ == "__main__":
    main()
