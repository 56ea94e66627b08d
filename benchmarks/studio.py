"""What does the studio cost: to open a long run, to follow one, in memory, in disk space, and for the run it watches?

    python benchmarks/studio.py             about 10 minutes; a restart continues
    python benchmarks/studio.py --table     rewrite studio.md from results/studio.jsonl

Method. The studio is a process of its own, and a client sends it the requests of the page. Opening: a log of 100,000
readings, 33,333 changes of a knob and 100 evaluations is written to a temporary folder; the time is from the first
request to the last answer of a page that has just been opened (table of runs, details, timeline, the nine curves that
are on the screen first). Following: from the moment when a line is in the log to the message on the stream, 60 lines at
random times. Memory: the largest resident set after that log and 300 finished runs. Size: the installed files of the
packages that the extra adds. Exploring: 100 places of the plane of latents, each requested when the picture of the last
one has come, as the page does while it is dragged: the time from request to PNG, of dcgan at 32 pixels with its default
width. Speed: a small network is trained on one thread, in pairs, once while a studio shows it,
with an open page (which asks for everything at each news, as the page does), and once alone, in turn; the seconds are
those of the log.

Aims: opened within 1 s, followed within 0.5 s, 150 MB, 10 MB, 10 pictures a second, 3 % of the speed.
"""

import contextlib
import http.client
import importlib.metadata
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from _results import ROOT, Item, Result, Results, create_parser, environment, table, write
from _studio_process import StudioProcess, studio_of

FIXTURE = ROOT / "tests" / "fixtures" / "format_1_ring"
READINGS, SMALL_RUNS, LINES = 100_000, 300, 60
PLACES, WARM_UP = 100, 10
"""Places of the plane that are drawn, one after the other, and those that are not counted."""
TRAINING = (
    *(
        "digits",
        "--model",
        "dcgan",
        "--option",
        "width=16",
        "--image-size",
        "32",
        "--batch-size",
        "32",
        "--threads",
        "1",
    ),
    *("--controller", "annealed", "--sense-every", "50", "--sample-every", "200", "--evaluate-every", "100000"),
)
NOTE = (
    "Where seconds exceed CPU seconds, the computer did other work, too: then pairs of runs differ by more than the "
    "studio costs, and its CPU time says more. Since 4285b42 many lines of a log are parsed at once: reading and "
    "drawing the same log takes 0.83 s of CPU instead of 1.20 s, 0.69 of it (medians of three processes each, in turn; "
    "each the shortest of five); in the studio itself, at a load of ten, 0.98 s (1.04 and 0.91 s)."
)
PACKAGES = ("starlette", "uvicorn", "anyio", "h11", "click", "idna")


def write_long_run(folder: Path) -> None:
    """Write a run of 100,000 readings with the lines of a real one and other numbers."""
    folder.mkdir(parents=True)
    shutil.copy(FIXTURE / "experiment.json", folder)
    lines = (FIXTURE / "events.jsonl").read_text().splitlines()
    sensed = json.loads(next(line for line in lines if '"sensed"' in line))
    numbers, signals = random.Random(0), sensed["signals"]
    names = [name for name, value in signals.items() if isinstance(value, float)]
    marked = {**signals, **{name: f"<{name}>" for name in names}}
    text = json.dumps({**sensed, "step": "<step>", "images": "<images>", "seconds": "<seconds>", "signals": marked})
    parts = re.split(r'"<(\w+)>"', text)
    with (folder / "events.jsonl").open("w") as file:
        file.write(lines[0] + "\n")
        for index in range(1, READINGS + 1):
            line = {"step": 50 * index, "images": 1600 * index}
            values = {
                **{name: signals[name] * (1 + numbers.random()) for name in names},
                **line,
                "seconds": 0.7 * index,
            }
            file.write("".join(str(values[part]) if odd % 2 else part for odd, part in enumerate(parts)) + "\n")
            if index % 3 == 0:
                turned = {"event": "turned", **line, "knob": "lr_d", "by": "rank", "why": "rank_train_fake 0.9"}
                file.write(json.dumps({**turned, "from": numbers.random() / 100, "to": 0.005}) + "\n")
            if index % 1000 == 0:
                evaluated = {"event": "evaluated", **line, "metric": "fd_digits", "value": numbers.random()}
                file.write(json.dumps({**evaluated, "better": "lower", "count": 1000, "seconds": 1.0}) + "\n")


def measure_opening(item: Item) -> Result:
    with tempfile.TemporaryDirectory() as name:
        write_long_run(Path(name) / "long")
        megabytes = (Path(name) / "long" / "events.jsonl").stat().st_size / 10**6
        with studio_of(Path(name)) as studio:
            seconds, cpu = [], []
            for _ in range(2):
                begin, before = time.perf_counter(), studio.cpu_seconds()
                studio.get("/api/runs")
                studio.show("long")
                seconds.append(time.perf_counter() - begin)
                cpu.append(studio.cpu_seconds() - before)
            return {"startup": studio.startup, "seconds": seconds, "cpu": cpu, "megabytes": megabytes}


def measure_following(item: Item) -> Result:
    numbers = random.Random(item["seed"])
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(FIXTURE, Path(name) / "ring")
        with studio_of(Path(name)) as studio:
            stream = studio.open("/api/stream")
            delays = []
            for step in range(41, 41 + LINES):
                time.sleep(0.3 + numbers.random() / 2)
                with (Path(name) / "ring" / "events.jsonl").open("a") as file:
                    file.write(json.dumps({"event": "saved", "step": step, "images": 32 * step}) + "\n")
                begin = time.perf_counter()
                while b'"step": ' + str(step).encode() not in stream.readline():
                    pass
                delays.append(time.perf_counter() - begin)
    return {"delays": delays}


def measure_memory(item: Item) -> Result:
    with tempfile.TemporaryDirectory() as name:
        with studio_of(Path(name)) as empty:
            empty.get("/api/runs")
            idle = empty.peak_memory()
        for number in range(SMALL_RUNS):
            shutil.copytree(FIXTURE, Path(name) / f"run-{number}", ignore=shutil.ignore_patterns("*.safetensors"))
        write_long_run(Path(name) / "long")
        with studio_of(Path(name)) as studio:
            begin = time.perf_counter()
            studio.get("/api/runs")
            first = time.perf_counter() - begin
            studio.show("long")
            begin = time.perf_counter()
            studio.get("/api/runs")
            return {"idle": idle, "peak": studio.peak_memory(), "table": [first, time.perf_counter() - begin]}


def measure_size(item: Item) -> Result:
    sizes = {}
    for package in PACKAGES:
        files = importlib.metadata.files(package) or []
        paths = [Path(str(file.locate())) for file in files]
        sizes[package] = sum(path.stat().st_size for path in paths if path.exists())
    static = ROOT / "equipoise" / "studio" / "static"
    return {"sizes": sizes, "page": sum(path.stat().st_size for path in static.rglob("*") if path.is_file())}


def measure_exploring(item: Item) -> Result:
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "equipoise", "train", "digits", "--model", "dcgan", "--image-size", "32"]
        command += ["--steps", "4", "--metric", "none", "--out", f"{name}/run", "--quiet", "--no-film"]
        subprocess.run(command, check=True, env=environment(1), stdout=subprocess.DEVNULL)
        with studio_of(Path(name)) as studio:
            studio.get("/api/explore/run")
            seconds = []
            for place in range(WARM_UP + PLACES):
                body = {"run": "run", "kind": "plane", "client": "page", "x": place / 37, "y": place / 53}
                begin = time.perf_counter()
                studio.open("/api/explore", body).read()
                seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds[WARM_UP:]}


def measure_speed(item: Item) -> Result:
    with tempfile.TemporaryDirectory() as name:
        run, stopping = Path(name) / "run", threading.Event()
        with contextlib.ExitStack() as stack:
            if item["watched"]:
                studio = stack.enter_context(studio_of(Path(name)))
                page = threading.Thread(target=follow, args=(studio, stopping), daemon=True)
                page.start()
            command = [sys.executable, "-m", "equipoise", "train", *TRAINING, "--steps", str(item["steps"])]
            command += ["--seed", "0", "--out", str(run), "--quiet"]
            subprocess.run([*command], check=True, env=environment(1), stdout=subprocess.DEVNULL)
            stopping.set()
            cpu = studio.cpu_seconds() if item["watched"] else 0.0
        lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        return {"seconds": lines[-1]["seconds"], "studio_cpu": cpu}


def follow(studio: StudioProcess, stopping: threading.Event) -> None:
    """Do what a page does: at each news, at most four times a second, ask for what it shows."""
    stream = studio.open("/api/stream")
    with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException, ValueError):
        while not stopping.is_set():
            if stream.readline().startswith(b"data: "):
                studio.show("run")
                time.sleep(0.25)


WORK = {
    "opening": measure_opening,
    "following": measure_following,
    "memory": measure_memory,
    "size": measure_size,
    "exploring": measure_exploring,
    "speed": measure_speed,
}


def rows(results: Results, items: list[Item]) -> list[list[object]]:
    """Return question, measured value and aim of each question that was measured."""
    found = {
        kind: [result for item in items if item["kind"] == kind and (result := results.result(item))] for kind in WORK
    }
    table_rows: list[list[object]] = []
    if opening := found["opening"]:
        first, again = (statistics.median(result["seconds"][part] for result in opening) for part in (0, 1))
        cpu = statistics.median(result["cpu"][0] for result in opening)
        size, start = opening[0]["megabytes"], statistics.median(result["startup"] for result in opening)
        table_rows += [
            [f"open a run of 100,000 readings ({size:.0f} MB)", f"{first:.2f} s ({cpu:.2f} s CPU)", "1 s"],
            ["show it again", f"{again:.2f} s", ""],
            ["from the command to the address", f"{start:.1f} s", ""],
        ]
    if following := found["following"]:
        delays = sorted(delay for result in following for delay in result["delays"])
        late = delays[int(0.95 * len(delays))]
        text = f"median {statistics.median(delays):.2f} s, 95 % within {late:.2f} s, all within {delays[-1]:.2f} s"
        table_rows.append(["from a line in the log to the page", text, "0.5 s"])
    for result in found["memory"]:
        table_rows += [
            [
                f"memory with that run and {SMALL_RUNS} others",
                f"{result['peak']} MB (empty: {result['idle']} MB)",
                "150 MB",
            ],
            [f"table of {SMALL_RUNS} runs", f"{result['table'][0]:.2f} s, then {result['table'][1]:.2f} s", ""],
        ]
    for result in found["size"]:
        total, page = sum(result["sizes"].values()) / 10**6, result["page"] / 10**6
        table_rows.append(["packages of the extra, and the page", f"{total:.1f} MB + {page:.1f} MB", "10 MB"])
    for result in found["exploring"]:
        rate, slow = 1 / statistics.mean(result["seconds"]), sorted(result["seconds"])[int(0.95 * PLACES)]
        text = f"{rate:.0f} a second, 95 % within {1000 * slow:.0f} ms"
        table_rows.append(["pictures of the plane of latents, dcgan at 32 pixels", text, "10 a second"])
    pairs = [
        (results.result(item), results.result({**item, "watched": False}))
        for item in items
        if item["kind"] == "speed" and item["watched"]
    ]
    ratios = sorted(watched["seconds"] / alone["seconds"] for watched, alone in pairs if watched and alone)
    if ratios:
        median = statistics.median(ratios)
        text = f"{100 * (median - 1):+.1f} % (pairs: {', '.join(f'{100 * (ratio - 1):+.1f} %' for ratio in ratios)})"
        shares = [watched["studio_cpu"] / watched["seconds"] for watched, _ in pairs if watched]
        table_rows += [
            ["time of a run while the studio shows it", text, "+3 %"],
            ["CPU time of that studio, its start included", f"{100 * statistics.median(shares):.1f} % of a core", ""],
        ]
    return table_rows


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="runs with and without a studio")
    parser.add_argument("--steps", type=int, default=1500, help="steps of each run")
    args = parser.parse_args()
    items: list[Item] = [{"kind": kind, "seed": seed} for kind in ("opening", "following") for seed in range(2)]
    items += [{"kind": kind} for kind in ("memory", "size", "exploring")]
    items += [
        {"kind": "speed", "pair": pair, "steps": args.steps, "watched": watched}
        for pair in range(args.pairs)
        for watched in ((True, False) if pair % 2 else (False, True))
    ]
    results = Results(args.out / "results" / "studio.jsonl")
    if not args.table:
        results.measure(items, lambda item: WORK[item["kind"]](item))
    write(
        args.out / "studio.md",
        "# The studio",
        f"{results.provenance(items)} Medians. {NOTE}",
        table(("question", "measured", "aim"), rows(results, items)),
    )


if __name__ == "__main__":
    main()
