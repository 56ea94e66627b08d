"""Do parallel runs keep the cores busy? A plan of 24 runs of about 50 seconds, two in parallel, one thread each.

    python benchmarks/control/parallel.py                24 runs of 1,250 steps: about 12 minutes of 2 quiet cores
    python benchmarks/control/parallel.py --steps 3000   24 runs of two minutes: about 25 minutes
    python benchmarks/control/parallel.py --steps 100    a quick check: start-up times dominate
    python benchmarks/control/parallel.py --table        rewrite parallel.md from results/parallel.jsonl

Method. Digits of 16 x 16 pixels, four arms, six seeds, through `equipoise.comparison` as `equipoise compare` does it,
anchors and report included. CPU seconds are those of this process and of all its child processes, as reported by the
system; the share is CPU / (processes × wall-clock time). Target: at least 0.9 for runs of two minutes. Shorter runs
make it harder: anchors, the end of the last run and the report, which leave a core idle, weigh more. A busy machine
lowers it, too. It is one measurement, so it restarts if it was interrupted.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from _plane import HERE
from _results import Item, Result, Results, create_parser, table, write

from equipoise.comparison import page, results
from equipoise.comparison.folder import ComparisonFolder, create_or_open
from equipoise.comparison.job_calls import PRELOADED_MODULES
from equipoise.comparison.jobs import execute_jobs
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_files import plan_from_values
from equipoise.jobs.local import LocalBackend

TARGET = 0.9
ARMS = ("fixed", "annealed", "rank", "random")
SEEDS = 6


def plan_of(steps: int) -> ComparisonPlan:
    """Return a plan of 24 runs with this number of steps."""
    task: dict[str, Any] = {
        "data": {"name": "digits", "image_size": 16},
        "model": {"name": "dcgan", "width": 16},
        "steps": steps,
        "batch_size": 64,
        "metric": "fd_pixels",
        "reported": "kd_digits",
    }
    arms = {name: {"controller": name} for name in ARMS}
    return plan_from_values({"seeds": list(range(SEEDS)), "arms": arms, "tasks": {"digits": task}}, "parallel.py")


def measure(item: Item) -> Result:
    """Run the whole comparison once."""
    plan, before, start_time = plan_of(item["steps"]), sum(os.times()[:2]), time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        folder = ComparisonFolder(Path(root) / "comparison")
        plan = create_or_open(folder, plan, "")
        failed = []
        for event in execute_jobs(plan, folder, LocalBackend(item["processes"], PRELOADED_MODULES)):
            print(f"{event.done} of {event.total} finished: {event.job.name if event.job else 'started'}", flush=True)
            failed += [event.error] if event.error else []
        cpu, reporting = event.cpu - before, sum(os.times()[:2])
        page.write_report(folder)
        rows = results.load_results(plan, folder)
    wall, cpu = time.monotonic() - start_time, cpu + sum(os.times()[:2]) - reporting
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return {"runs": len(rows), "failed": failed, "cpu": cpu, "wall": wall, "median": statistics.median(seconds)}


def report(available: Results, items: list[Item], out: Path) -> None:
    rows = []
    for item in items:
        if result := available.result(item):
            share = result["cpu"] / (item["processes"] * result["wall"])
            median = f"{result['median']:.0f} s"
            failed = f", {len(result['failed'])} failed" if result["failed"] else ""
            counts = [f"{result['runs']}{failed}", item["steps"], median, item["processes"]]
            verdict = "yes" if share >= TARGET else "missed"
            rows.append([*counts, f"{result['cpu']:.0f} s", f"{result['wall']:.0f} s", f"**{share:.3f}**", verdict])
    write(
        out / "parallel.md",
        "# Do parallel runs keep the cores busy?",
        "`python benchmarks/control/parallel.py`; " + available.provenance(items),
        f"CPU seconds of all processes over processes × wall-clock time; target {TARGET} for runs of two minutes; "
        "shorter runs make it harder.",
        table(
            ["runs", "steps", "median of a run", "parallel", "CPU", "wall-clock", "share", f"at least {TARGET}"], rows
        ),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--steps", type=int, default=1250, metavar="N", help="length of a run")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="number of parallel runs")
    parser.set_defaults(out=HERE)
    args = parser.parse_args()
    item = {"steps": args.steps, "processes": args.processes}
    available = Results(args.out / "results" / "parallel.jsonl")
    if not args.table:
        available.measure([item], measure)
    report(available, [line["item"] for line in available.lines()], args.out)


if __name__ == "__main__":
    main()
