"""Exact resume: runs killed at 25 moments end with the bytes of the run that nobody killed.

    python benchmarks/resume.py             27 runs, two at a time, each killed one resumed; a restart goes on
    python benchmarks/resume.py --table     rewrite resume.md from results/resume.jsonl

How. `equipoise train digits --precision bf16 --controller annealed` (width 16, 120 steps, a checkpoint every 10) runs
two times undisturbed. Then 20 runs of the same command get SIGKILL at moments spread evenly over the time from the
birth of the run folder to the last event, and 5 more get it inside the writing of a checkpoint: as soon as the folder
checkpoints/step-….partial is seen for the k-th time, or 3 to 12 ms later. Such a kill counts only if the partial
folder is there afterwards; a kill that came too late (the run had finished, the checkpoint was whole) is done again.
Each run is taken to its end by `equipoise resume`. Two processes at a time, one thread each.

Compared with the first undisturbed run, by SHA-256: generator.safetensors and discriminator.safetensors; the last
checkpoint (every tensor, random states included, and its JSON but for seconds); the events that count (`Run.lines()`),
but for the lines `resumed` and every key `seconds`; all sample pictures.

Expected: all equal, in all rows.
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
from _results import Item, Result, Results, environment, parser, table, write
from torch import Tensor

from equipoise.runs.run import CHECKPOINTS_FOLDER, EVENTS_FILE, EXPERIMENT_FILE, SAMPLES_FOLDER, Run
from equipoise.training import checkpoint

POLL = 3e-4
TRIES = 8
MOMENTS = (1, 3, 5, 7, 9)
"""Which of the checkpoints are torn."""
DELAY = 3e-3
"""Seconds from seeing a partial folder to the kill: 0, 1, 2, 3 and 4 times so many. Writing took about 15 ms here."""
COMPARED = ("weights", "checkpoint", "events", "samples")


def train(folder: Path, steps: int) -> subprocess.Popen[bytes]:
    """Start the run."""
    words = f"train digits --model dcgan --option width=16 --precision bf16 --controller annealed --steps {steps}"
    saving = f"--save-every {max(1, steps // 12)} --threads 1"
    return equipoise([*words.split(), *saving.split(), "--out", str(folder)], folder)


def equipoise(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command; what it says goes to a file beside the run folder."""
    command = [sys.executable, "-m", "equipoise", *words]
    with folder.with_suffix(".said").open("wb") as file:
        return subprocess.Popen(command, env=environment(1), stdout=file, stderr=file)


def said(folder: Path) -> str:
    """The end of what the last command said."""
    return folder.with_suffix(".said").read_text()[-2000:]


def digests(folder: Path) -> dict[str, str]:
    """What is compared, each as one SHA-256. Raises if the run has not come to its end."""
    run = Run(folder)
    if not run.lines("finished"):
        raise SystemExit(f"the run did not come to its end; it said:\n{said(folder)}")
    last = checkpoint.read(checkpoint.find(run.checkpoints)[-1])
    values = {name: value for name, value in last.values.items() if name not in ("seconds", "sha256")}
    tensors = [part for name in sorted(last.tensors) for part in (name.encode(), _bytes(last.tensors[name]))]
    events = [_without_seconds(line) for line in run.lines() if line["event"] != "resumed"]
    pictures = [
        part for path in sorted((folder / SAMPLES_FOLDER).iterdir()) for part in (path.name.encode(), path.read_bytes())
    ]
    return {
        "weights": _digest((folder / f"{name}.safetensors").read_bytes() for name in ("generator", "discriminator")),
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
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def undisturbed(item: Item, folder: Path) -> Result:
    """A run that nobody kills, and its seconds from the birth of its folder to the last event."""
    process = train(folder, item["steps"])
    born = _wait(process, folder / EXPERIMENT_FILE, "")
    ended = _wait(process, folder / EVENTS_FILE, '"event": "finished"')
    process.wait()
    return {"seconds": ended - born, **digests(folder)}


def _wait(process: subprocess.Popen[bytes], path: Path, text: str) -> float:
    """The time at which a file is there and holds `text`."""
    while True:
        ended = process.poll() is not None
        if path.exists() and text in path.read_text():
            return time.monotonic()
        if ended:
            raise SystemExit(f"the run ended with {process.returncode} before its time; it said:\n{said(path.parent)}")
        time.sleep(0.02)


def killed(item: Item, folder: Path, seconds: float) -> Result:
    """A run that is killed and resumed. `seconds`: how long the undisturbed one took."""
    for attempt in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        process = train(folder, item["steps"])
        if item["kill"] == "time":
            late, told = _kill_at(process, folder, item["share"] * seconds * 0.9**attempt)
        else:
            late, told = _kill_inside(process, folder, item["moment"], item["delay"] * 0.6**attempt)
        if not late:
            break
    else:
        raise SystemExit(f"{item} came too late {TRIES} times")
    step = max((line["step"] for line in Run(folder).lines()), default=0)
    result = [path.name for path in checkpoint.find(folder / CHECKPOINTS_FOLDER)]
    again = equipoise(["resume", str(folder)], folder)
    again.wait()
    resumed = [line["step"] for line in _all_lines(folder) if line["event"] == "resumed"]
    return {"told": told, "step": step, "resumed": resumed[0] if resumed else None, "found": result, **digests(folder)}


def _kill_at(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> tuple[bool, str]:
    """Kill so long after the folder was born; whether that was too late, and what happened in words."""
    born = _wait(process, folder / EXPERIMENT_FILE, "")
    time.sleep(max(0.0, born + seconds - time.monotonic()))
    _kill(process)
    late = bool(Run(folder).lines("finished"))
    return late, f"{seconds:.2f} s"


def _kill_inside(process: subprocess.Popen[bytes], folder: Path, moment: int, delay: float) -> tuple[bool, str]:
    """Kill inside the writing of checkpoint number `moment`, `delay` seconds after it was seen."""
    seen: set[str] = set()
    for name in _partials(process, folder / CHECKPOINTS_FOLDER):
        seen.add(name)
        if len(seen) == moment:
            time.sleep(delay)
            break
    _kill(process)
    left = [path for path in (folder / CHECKPOINTS_FOLDER).glob("*.partial") if path.name in seen]
    held = {file.name: file.stat().st_size for path in left for file in path.iterdir()}
    files = ", ".join(f"{name} {size:,} bytes" for name, size in sorted(held.items())) or "nothing yet"
    return not left, f"{left[0].name if left else 'no partial'} held {files}"


def _partials(process: subprocess.Popen[bytes], folder: Path) -> Iterator[str]:
    """Names of half-written checkpoints, as they are seen."""
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
    """A killed run in the table."""
    where = f"{item['share']:.1%} of the run" if item["kill"] == "time" else f"checkpoint number {item['moment']}"
    resumed = "the start" if result["resumed"] is None else result["resumed"]
    equal = ["yes" if result[part] == reference[part] else "**no**" for part in COMPARED]
    return [f"{where}: {result['told']}", result["step"], resumed, *equal]


def write_table(results: Results, undisturbed_items: list[Item], items: list[Item], out: Path) -> None:
    reference, again = (results.result(item) for item in undisturbed_items)
    rows, count, ran, steps = [], 0, 0, undisturbed_items[0]["steps"]
    if reference and again:
        same = ["yes" if again[part] == reference[part] else "**no**" for part in COMPARED]
        rows.append([f"never, in {reference['seconds']:.1f} s; and once more", "", "", *same])
        matches = [(item, result) for item in items if (result := results.result(item))]
        rows += [row(item, result, reference) for item, result in matches]
        ran = len(matches)
        count = sum(all(result[part] == reference[part] for part in COMPARED) for _, result in matches)
    columns = ("killed at", "last step in the log", "resumed from step", *(f"equal {part}" for part in COMPARED))
    write(
        out / "resume.md",
        "# Killed runs, resumed, against the run that nobody killed",
        f"{results.head([*undisturbed_items, *items])} **{count} of {ran} runs that were killed ended with all the "
        f"same bytes**; {len(items)} are planned. {steps} steps a run, bf16, `annealed`, one thread a process, two at "
        "a time. How: the head of `benchmarks/resume.py`.",
        table(columns, rows),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--steps", type=int, default=120, help="length of the run; a checkpoint every twelfth of it")
    made.add_argument("--times", type=int, default=20, help="kills spread over the run")
    made.add_argument("--moments", type=int, default=len(MOMENTS), help="kills inside the writing of a checkpoint")
    made.add_argument("--work", type=Path, help="where runs lie while they are needed; left out: the temporary folder")
    asked = made.parse_args()
    whole: list[Item] = [{"kill": "never", "copy": copy, "steps": asked.steps} for copy in (0, 1)]
    shares = [(number + 0.5) / asked.times for number in range(asked.times)]
    items: list[Item] = [{"kill": "time", "share": share, "steps": asked.steps} for share in shares]
    for position, moment in enumerate(MOMENTS[: asked.moments]):
        items.append({"kill": "writing", "moment": moment, "delay": position * DELAY, "steps": asked.steps})
    results = Results(asked.out / "results" / "resume.jsonl")

    def work(item: Item) -> Result:
        with tempfile.TemporaryDirectory(dir=asked.work, prefix="equipoise-resume-") as folder:
            if item["kill"] == "never":
                return undisturbed(item, Path(folder) / "run")
            seconds = min(result["seconds"] for each in whole if (result := results.result(each)))
            return killed(item, Path(folder) / "run", seconds)

    if not asked.table:
        results.measure(whole, work, at_once=2)
        results.measure(items, work, at_once=2)
    write_table(results, whole, items, asked.out)


if __name__ == "__main__":
    main()
