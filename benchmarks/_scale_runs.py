"""Section of scale.md on many runs: starting them, sharing them with kills, and what to expect of many processes."""

import itertools
import json
import os
import random
import runpy
import signal
import statistics
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from _results import Item, Result, Results, run_in_subprocess, table
from _scale_simulation import Failures, simulate

from equipoise.jobs.claimed_queue import RESCAN_SECONDS

if TYPE_CHECKING:
    from equipoise.jobs.backend import Backend, Call

TITLE = "## Many runs"
METHODS = ("spawn", "forkserver")
STEPS, LENGTHS, CALLS = 50, (1, 10, 30, 60), 50
JOBS, KILLS, SHARERS = 500, 16, 8
PROCESSES = (1, 8, 64, 256, 1000)
MANY, SELDOM = 256, 300.0
"""Above so many simulated processes, those without a run look only so often, in seconds; others as in the package."""
LOOKERS, LOOKS = (100,), (30.0, 300.0)
"""Processes, each with ten runs on average, and seconds between two looks, to see what seldom looks change."""
MINUTES, OVERHEAD = 10, 2.0
"""Mean length of a simulated run, and the seconds to start it."""


def items() -> list[Item]:
    """List what is measured."""
    starts = [{"section": "starts", "method": method, "steps": STEPS} for method in METHODS]
    expected = [
        {"section": "expected", "processes": count, "failures": fails}
        for count, fails in itertools.product(PROCESSES, (False, True))
    ]
    looks = [
        {"section": "looks", "processes": count, "idle": idle} for count, idle in itertools.product(LOOKERS, LOOKS)
    ]
    shared = {"section": "shared", "jobs": JOBS, "processes": SHARERS, "kills": KILLS}
    return [*starts, {"section": "ray", "calls": CALLS}, shared, *expected, *looks]


def measure(item: Item) -> Result:
    """Measure one item in a new process."""
    return run_in_subprocess(__file__, item, 1)


def run(item: Item) -> Result:
    """Measure one item in this process."""
    if item["section"] == "starts":
        return measure_starts(item["method"], item["steps"])
    if item["section"] == "ray":
        return measure_ray(item["calls"])
    if item["section"] == "shared":
        return share_jobs(item["jobs"], item["processes"], item["kills"])
    failures, count = Failures(mean=86400.0), item["processes"]
    if item["section"] == "looks":
        outcome = simulate(10 * count, count, 60.0 * MINUTES, failures, OVERHEAD, idle=item["idle"])
    else:
        idle = SELDOM if count > MANY else RESCAN_SECONDS
        outcome = simulate(10_000, count, 60.0 * MINUTES, failures if item["failures"] else None, OVERHEAD, idle=idle)
    return {
        **{"hours": outcome.makespan / 3600, "bound": outcome.bound / 3600, "vanished": outcome.failures},
        **{"lost_hours": outcome.lost / 3600, "done_once": set(outcome.times_done.values()) == {1}},
    }


def measure_starts(method: str, steps: int) -> Result:
    """Execute equal runs one after another; return the median CPU seconds of their processes, and of their training."""
    from equipoise.comparison import execution, plan_runs
    from equipoise.comparison.folder import ComparisonFolder, create_or_open
    from equipoise.comparison.job_calls import PRELOADED_MODULES, call_job
    from equipoise.comparison.plan import Arm, ComparisonPlan, PlugSpec, Task
    from equipoise.jobs.local import LocalBackend

    task = Task(
        data=PlugSpec("ring"),
        model=PlugSpec("mlp", {"width": 32}),
        steps=steps,
        batch_size=64,
        reported=PlugSpec("mixture_modes"),
    )
    plan = ComparisonPlan(arms={"fixed": Arm()}, tasks={"ring": task}, seeds=(0, 1, 2), evaluations=2, samples=100)
    total, trained = [], []
    with tempfile.TemporaryDirectory() as path:
        folder = ComparisonFolder(Path(path) / "out")
        create_or_open(folder, plan, "")
        execution.execute_anchors(folder, plan_runs.compared_settings(plan)[0])
        backend = LocalBackend(1, PRELOADED_MODULES, method)
        for spec in plan_runs.compared_runs(plan):
            total.append(_seconds(backend, call_job(folder, execution.RunJob(spec)))[1])
            trained.append(json.loads(folder.measurements(spec).read_text().splitlines()[-1])["cpu"])
    return {"cpu": statistics.median(total), "training": statistics.median(trained)}


def measure_ray(calls: int) -> Result:
    """Return the median seconds of calls through Ray that do nothing, after the first one."""
    from equipoise.jobs.backend import Call
    from equipoise.jobs.ray_backend import connect_ray

    backend = connect_ray(None, 1)
    try:
        with tempfile.TemporaryDirectory() as path:
            seconds = [
                _seconds(backend, Call(str(number), _nothing, (), Path(path) / f"{number}.log"))[0]
                for number in range(calls + 1)
            ]
    finally:
        backend.close()
    return {"seconds": statistics.median(seconds[1:])}


def _nothing(interrupted) -> bool:
    return True


def _seconds(backend: "Backend", call: "Call") -> tuple[float, float]:
    """Execute a call; return its seconds and CPU seconds."""
    start, running = time.monotonic(), backend.start(call)
    while running.exit_code is None:
        backend.wait([running])
    return time.monotonic() - start, running.join()


SHARER = """
import os, pathlib, time
from equipoise.jobs.claim_files import DriveFiles
from equipoise.jobs.claimed_queue import ClaimedQueue
from equipoise.jobs.claims import ClaimFolder
from equipoise.jobs.identity import this_process

folder = pathlib.Path(FOLDER)
results = folder / "results"
claims = ClaimFolder(DriveFiles(folder / "claims"), this_process())
queue = ClaimedQueue([f"job{n}" for n in range(JOBS)], claims, lambda job: (results / job).exists())
while not queue.is_empty:
    claim = queue.take()
    if claim is None:
        queue._next_look.clear()
        time.sleep(0.02)
        continue
    time.sleep(0.01)
    own = folder / f"{claim.job}-{os.getpid()}"
    own.touch()
    try:
        os.link(own, results / claim.job)
    except FileExistsError:
        (folder / "twice" / claim.job).touch()
    own.unlink()
    claim.end("done")
    queue.mark_ended(claim.job)
"""


def share_jobs(jobs: int, processes: int, kills: int) -> Result:
    """Let processes share tiny jobs, kill some of them at random times, and start others in their place."""
    generator, context, killed = random.Random(0), get_context("forkserver"), 0
    context.set_forkserver_preload(["equipoise.jobs.claimed_queue", "equipoise.jobs.claim_files"])
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        for name in ("claims", "results", "twice"):
            (folder / name).mkdir()
        (folder / "sharer.py").write_text(SHARER)

        def start():
            values = {"FOLDER": path, "JOBS": jobs}
            process = context.Process(target=runpy.run_path, args=(str(folder / "sharer.py"), values))
            process.start()
            return process

        begin, running = time.monotonic(), [start() for _ in range(processes)]
        while any(process.is_alive() for process in running):
            time.sleep(0.05)
            victim = generator.randrange(processes)
            if killed < kills and running[victim].is_alive():
                os.kill(running[victim].pid, signal.SIGKILL)
                running[victim].join()
                running[victim], killed = start(), killed + 1
        done, twice = (len(list((folder / name).iterdir())) for name in ("results", "twice"))
    return {"done": done, "twice": twice, "killed": killed, "seconds": time.monotonic() - begin}


def section(results: Results) -> str:
    """Return the section as Markdown."""
    parts = [TITLE, results.provenance(items()), _starts(results), _shared(results), _expected(results)]
    return "\n\n".join(part for part in parts if part)


def _starts(results: Results) -> str:
    """Return the table on starting runs: what a run takes besides its training, and runs per hour on one core."""
    rows = []
    found = [result for item in items() if item["section"] == "starts" and (result := results.result(item))]
    training = min((result["training"] for result in found), default=0.0)
    for item in items():
        if item["section"] == "starts" and (result := results.result(item)):
            extra = result["cpu"] - training
            hourly = [3600 / (seconds + extra) for seconds in LENGTHS]
            rows.append([item["method"], f"{extra:.1f}", *(f"{value:.0f}" for value in hourly)])
    columns = ("started by", "CPU seconds besides training", *(f"runs per hour of {one} s" for one in LENGTHS))
    note = (
        "CPU seconds of the process of a run, a perceptron on points in the plane with one thread, and runs per hour "
        "on one core that follow for other lengths of the training. `spawn` imports PyTorch for each run, as before "
        "the server of processes. *Besides training*: imports, data, model, the reported metric and its reals; the "
        "training is the shorter one of both, since it imports, too. The server itself takes 4 CPU seconds, once."
    )
    ray = next(item for item in items() if item["section"] == "ray")
    if measured := results.result(ray):
        note += (
            f" Ray takes {1000 * measured['seconds']:.0f} ms for a call that does nothing, "
            f"{measured['seconds'] / 60:.2%} of a run of 60 s (median of {ray['calls']} on a busy machine), and uses "
            "its processes again."
        )
    return f"### Starting runs\n\n{note}\n\n{table(columns, rows) if rows else 'Not measured yet.'}"


def _shared(results: Results) -> str:
    item = next(item for item in items() if item["section"] == "shared")
    result = results.result(item)
    if result is None:
        return ""
    return (
        f"### Claims under kills\n\n{item['processes']} processes shared {item['jobs']} jobs of 10 ms in one folder; "
        f"{result['killed']} were killed at random times, and others started. {result['done']} jobs were done, "
        f"{result['twice']} of them twice, in {result['seconds']:.0f} s."
    )


def _expected(results: Results) -> str:
    """Return the table of the simulation."""
    rows = []
    for item in items():
        if item["section"] == "expected" and (result := results.result(item)):
            rows.append(
                [
                    f"{item['processes']:,}",
                    "one a day" if item["failures"] else "none",
                    str(result["vanished"]),
                    f"{result['lost_hours']:.1f}",
                    f"{result['hours']:.2f}",
                    f"{result['bound']:.2f}",
                    f"{result['hours'] / result['bound']:.3f}",
                    "yes" if result["done_once"] else "no",
                ]
            )
    columns = (
        *("processes", "a process vanishes", "vanished", "hours repeated", "hours", "shortest possible", "ratio"),
        "each job done once",
    )
    note = (
        f"Simulated: 10,000 runs of {MINUTES} minutes on average (lognormal, standard deviation half of that), "
        f"{OVERHEAD:.0f} s to start each, checkpoints every minute, two minutes until a new process replaces one that "
        "has vanished, clocks up to an hour apart; the claims and the queue are those of the package. *Shortest "
        "possible*: all work, repeated work and absences divided by the processes, or the longest run. A process "
        f"without a run looks for one every {RESCAN_SECONDS:.0f} s, as in the package; above {MANY} processes only "
        f"every {SELDOM:.0f} s, because looks take long to simulate.{_describe_looks(results)}"
    )
    return f"### What to expect\n\n{note}\n\n{table(columns, rows) if rows else 'Not measured yet.'}"


def _describe_looks(results: Results) -> str:
    """Return what shorter times between two looks change, in a sentence; "" if it was not measured."""
    parts = []
    for count in LOOKERS:
        found = [results.result({"section": "looks", "processes": count, "idle": idle}) for idle in LOOKS]
        ratios = [f"{one['hours'] / one['bound']:.3f}" for one in found if one]
        if len(ratios) == len(LOOKS):
            parts.append(f"{' and '.join(ratios)} for {count} processes")
    if not parts:
        return ""
    looks = " and ".join(f"{idle:.0f} s" for idle in LOOKS)
    return (
        " That changes little: with ten runs per process, which 1,000 processes have, and one failure a day, looks "
        f"every {looks} give the ratios {'; '.join(parts)}. What so many processes lose is the time until the last "
        "runs end, which began when no others were left."
    )


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[sys.argv.index("--item") + 1]))))
