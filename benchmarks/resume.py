"""Exact resume: runs that are killed at 25 moments end with the same bytes as an uninterrupted run.

    python benchmarks/resume.py             27 runs, two in parallel, each killed one resumed; a restart continues
    python benchmarks/resume.py --table     rewrite resume.md from results/resume.jsonl

Method. `equipoise train digits --precision bf16 --controller annealed` (width 16, 120 steps, a checkpoint every 10)
runs twice without interruption. Then 20 runs of the same command get SIGKILL at times spread evenly between the
creation of the run folder and the last event, and 5 more get it while a checkpoint is written: as soon as the folder
checkpoints/step-….partial appears for the k-th time, or 3 to 12 ms later. Such a kill counts only if the partial folder
is still there; a kill that came too late (the run had finished, the checkpoint was complete) is repeated. Each run is
completed by `equipoise resume`. Two processes in parallel, one thread each.

Compared with the first uninterrupted run, by SHA-256: all weight files; the last
checkpoint (every tensor, random states included, and its JSON except seconds); the valid events (`Run.lines()`),
except the lines `resumed` and all keys `seconds`; all sample images.

Expected: everything equal, in all rows.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _results import Item, Result, Results, create_parser, environment, table, write
from torch import Tensor

from equipoise.runs.run import CHECKPOINTS_FOLDER, EVENTS_FILE, EXPERIMENT_FILE, SAMPLES_FOLDER, Run
from equipoise.training import checkpoint

POLL = 3e-4
TRIES = 8
MOMENTS = (1, 3, 5, 7, 9)
"""Numbers of the checkpoints whose writing is interrupted."""
DELAY = 3e-3
"""Seconds from the appearance of a partial folder to the kill: 0, 1, 2, 3 and 4 times this. Writing took about 15
ms."""
COMPARED = ("weights", "checkpoint", "events", "samples")


def train(folder: Path, steps: int) -> subprocess.Popen[bytes]:
    """Start the run."""
    arguments = f"train digits --model dcgan --option width=16 --precision bf16 --controller annealed --steps {steps}"
    checkpoint_arguments = f"--save-every {max(1, steps // 12)} --threads 1"
    return equipoise([*arguments.split(), *checkpoint_arguments.split(), "--out", str(folder)], folder)


def equipoise(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command; its output goes to a file next to the run folder."""
    command = [sys.executable, "-m", "equipoise", *arguments]
    with folder.with_suffix(".output").open("wb") as file:
        return subprocess.Popen(command, env=environment(1), stdout=file, stderr=file)


def last_output(folder: Path) -> str:
    """Return the end of the output of the last command."""
    return folder.with_suffix(".output").read_text()[-2000:]


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of everything that is compared. Exits if the run has not finished."""
    run = Run(folder)
    if not run.lines("finished"):
        raise SystemExit(f"the run did not finish; its output:\n{last_output(folder)}")
    last = checkpoint.read(checkpoint.find(run.checkpoints)[-1])
    values = {name: value for name, value in last.values.items() if name not in ("seconds", "sha256")}
    tensors = [part for name in sorted(last.tensors) for part in (name.encode(), _bytes(last.tensors[name]))]
    events = [_without_seconds(line) for line in run.lines() if line["event"] != "resumed"]
    pictures = [
        part for path in sorted((folder / SAMPLES_FOLDER).iterdir()) for part in (path.name.encode(), path.read_bytes())
    ]
    return {
        "weights": _digest(path.read_bytes() for path in sorted(folder.glob("*.safetensors"), reverse=True)),
        "checkpoint": _digest([*tensors, json.dumps(values, sort_keys=True).encode()]),
        "events": _digest(json.dumps(event, sort_keys=True).encode() for event in events),
        "samples": _digest(pictures),
    }


def _bytes(tensor: Tensor) -> bytes:
    content: bytes = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tensor.dtype} {list(tensor.shape)} ".encode() + content


def _without_seconds(line: Any) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "seconds"}


def _digest(parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def uninterrupted(item: Item, folder: Path) -> Result:
    """Run without interruption; measure the time from the creation of its folder to the last event."""
    process = train(folder, item["steps"])
    created = _wait(process, folder / EXPERIMENT_FILE, "")
    finished = _wait(process, folder / EVENTS_FILE, '"event": "finished"')
    process.wait()
    return {"seconds": finished - created, **digests(folder)}


def _wait(process: subprocess.Popen[bytes], path: Path, text: str) -> float:
    """Return the time at which a file exists and contains `text`."""
    while True:
        finished = process.poll() is not None
        if path.exists() and text in path.read_text():
            return time.monotonic()
        if finished:
            raise SystemExit(
                f"the run ended with {process.returncode} too early; its output:\n{last_output(path.parent)}"
            )
        time.sleep(0.02)


def killed(item: Item, folder: Path, seconds: float) -> Result:
    """Kill and resume a run. `seconds`: duration of the uninterrupted one."""
    for attempt in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        process = train(folder, item["steps"])
        if item["kill"] == "time":
            is_late, description = _kill_at(process, folder, item["share"] * seconds * 0.9**attempt)
        else:
            is_late, description = _kill_inside(process, folder, item["moment"], item["delay"] * 0.6**attempt)
        if not is_late:
            break
    else:
        raise SystemExit(f"{item}: the kill was too late {TRIES} times")
    step = max((line["step"] for line in Run(folder).lines()), default=0)
    checkpoints = [path.name for path in checkpoint.find(folder / CHECKPOINTS_FOLDER)]
    second = equipoise(["resume", str(folder)], folder)
    second.wait()
    resumed = [line["step"] for line in _all_lines(folder) if line["event"] == "resumed"]
    return {
        "told": description,
        "step": step,
        "resumed": resumed[0] if resumed else None,
        "found": checkpoints,
        **digests(folder),
    }


def _kill_at(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> tuple[bool, str]:
    """Kill at a time after the creation of the folder; return whether that was too late, and a description."""
    created = _wait(process, folder / EXPERIMENT_FILE, "")
    time.sleep(max(0.0, created + seconds - time.monotonic()))
    _kill(process)
    is_late = bool(Run(folder).lines("finished"))
    return is_late, f"{seconds:.2f} s"


def _kill_inside(process: subprocess.Popen[bytes], folder: Path, moment: int, delay: float) -> tuple[bool, str]:
    """Kill while checkpoint number `moment` is written, `delay` seconds after it appeared."""
    names: set[str] = set()
    for name in _partials(process, folder / CHECKPOINTS_FOLDER):
        names.add(name)
        if len(names) == moment:
            time.sleep(delay)
            break
    _kill(process)
    partial = [path for path in (folder / CHECKPOINTS_FOLDER).glob("*.partial") if path.name in names]
    sizes = {file.name: file.stat().st_size for path in partial for file in path.iterdir()}
    files = ", ".join(f"{name} {size:,} bytes" for name, size in sorted(sizes.items())) or "no files"
    return not partial, f"{partial[0].name if partial else 'no partial'} contained {files}"


def _partials(process: subprocess.Popen[bytes], folder: Path) -> Iterator[str]:
    """Yield the names of incomplete checkpoints as they appear."""
    while process.poll() is None:
        if folder.is_dir():
            yield from (name for name in os.listdir(folder) if name.endswith(".partial") and "replaced" not in name)
        time.sleep(POLL)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _all_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (folder / EVENTS_FILE).read_text().splitlines()]


def row(item: Item, result: Result, reference: Result) -> list[str]:
    """Return the table row of a killed run."""
    where = f"{item['share']:.1%} of the run" if item["kill"] == "time" else f"checkpoint number {item['moment']}"
    resumed = "the start" if result["resumed"] is None else result["resumed"]
    equal = ["yes" if result[part] == reference[part] else "**no**" for part in COMPARED]
    return [f"{where}: {result['told']}", result["step"], resumed, *equal]


def write_table(results: Results, uninterrupted_items: list[Item], items: list[Item], out: Path) -> None:
    reference, second = (results.result(item) for item in uninterrupted_items)
    rows, count, ran, steps = [], 0, 0, uninterrupted_items[0]["steps"]
    if reference and second:
        equality = ["yes" if second[part] == reference[part] else "**no**" for part in COMPARED]
        rows.append([f"never, {reference['seconds']:.1f} s; repeated", "", "", *equality])
        killed_runs = [(item, result) for item in items if (result := results.result(item))]
        rows += [row(item, result, reference) for item, result in killed_runs]
        ran = len(killed_runs)
        count = sum(all(result[part] == reference[part] for part in COMPARED) for _, result in killed_runs)
    columns = ("killed at", "last step in the log", "resumed from step", *(f"equal {part}" for part in COMPARED))
    write(
        out / "resume.md",
        "# Killed and resumed runs against an uninterrupted run",
        f"{results.provenance([*uninterrupted_items, *items])} **{count} of {ran} killed runs ended with "
        f"exactly the same bytes**; {len(items)} are intended. {steps} steps per run, bf16, `annealed`, one thread per "
        "process, two in parallel. Method: docstring of `benchmarks/resume.py`.",
        table(columns, rows),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--steps", type=int, default=120, help="length of the run; a checkpoint every twelfth of it")
    parser.add_argument("--times", type=int, default=20, help="kills spread over the run")
    parser.add_argument("--moments", type=int, default=len(MOMENTS), help="kills while a checkpoint is written")
    parser.add_argument(
        "--work", type=Path, help="folder of temporary runs; default: the temporary folder of the system"
    )
    args = parser.parse_args()
    uninterrupted_items: list[Item] = [{"kill": "never", "copy": copy, "steps": args.steps} for copy in (0, 1)]
    shares = [(number + 0.5) / args.times for number in range(args.times)]
    items: list[Item] = [{"kill": "time", "share": share, "steps": args.steps} for share in shares]
    for position, moment in enumerate(MOMENTS[: args.moments]):
        items.append({"kill": "writing", "moment": moment, "delay": position * DELAY, "steps": args.steps})
    results = Results(args.out / "results" / "resume.jsonl")

    def work(item: Item) -> Result:
        with tempfile.TemporaryDirectory(dir=args.work, prefix="equipoise-resume-") as folder:
            if item["kill"] == "never":
                return uninterrupted(item, Path(folder) / "run")
            seconds = min(result["seconds"] for each in uninterrupted_items if (result := results.result(each)))
            return killed(item, Path(folder) / "run", seconds)

    if not args.table:
        results.measure(uninterrupted_items, work, processes=2)
        results.measure(items, work, processes=2)
    write_table(results, uninterrupted_items, items, args.out)


if __name__ == "__main__":
    main()
