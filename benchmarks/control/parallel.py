"""Do parallel runs keep the cores busy? A plan of 24 runs of about 50 seconds, two at a time, one thread each.

    python benchmarks/control/parallel.py                24 runs of 1,250 steps: about 12 minutes of 2 quiet cores
    python benchmarks/control/parallel.py --steps 3000   24 runs of two minutes: about 25 minutes
    python benchmarks/control/parallel.py --steps 100    to see it work: start-up then weighs too much to mean anything
    python benchmarks/control/parallel.py --table        rewrite parallel.md from results/parallel.jsonl

How. Digits of 16 x 16 pixels, four arms, six seeds, through `equipoise.comparison` as `equipoise compare` does it,
anchors and report included. CPU seconds are those of this process and of all that it started, as the system counts
them; the share is CPU / (processes × wall). Target: at least 0.9 for runs of two minutes. Shorter ones make it harder:
anchors, the last run to end and the report, which leave a core idle, weigh more. A busy machine lowers it, too. It is
one measurement, so one that was stopped begins anew.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from _plane import HERE
from _results import Item, Result, Results, parser, table, write

from equipoise.comparison import page, results
from equipoise.comparison.folder import ComparisonFolder, create_or_open
from equipoise.comparison.jobs import execute_jobs
from equipoise.comparison.plan import ComparisonPlan, plan_from_values

TARGET = 0.9
ARMS = ("fixed", "annealed", "rank", "random")
SEEDS = 6


def plan_of(steps: int) -> ComparisonPlan:
    """24 runs of so many steps."""
    task: dict[str, Any] = {
        "data": {"name": "digits", "image_size": 16},
        "gan": {"name": "dcgan", "width": 16},
        "steps": steps,
        "batch_size": 64,
        "metric": "fd_pixels",
        "reported": "kd_digits",
    }
    arms = {name: {"controller": name} for name in ARMS}
    return plan_from_values({"seeds": list(range(SEEDS)), "arms": arms, "tasks": {"digits": task}}, "parallel.py")


def measure(item: Item) -> Result:
    """The whole comparison once."""
    plan, before, begun = plan_of(item["steps"]), sum(os.times()[:4]), time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        folder = ComparisonFolder(Path(home) / "comparison")
        plan = create_or_open(folder, plan, "")
        failed = []
        for event in execute_jobs(plan, folder, item["processes"]):
            print(f"{event.done} of {event.total} done: {event.job.name if event.job else 'begun'}", flush=True)
            failed += [event.failed] if event.failed else []
        page.write_report(folder)
        rows = results.load_results(plan, folder)
    wall, cpu = time.monotonic() - begun, sum(os.times()[:4]) - before
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return {"runs": len(rows), "failed": failed, "cpu": cpu, "wall": wall, "median": statistics.median(seconds)}


def report(known: Results, items: list[Item], out: Path) -> None:
    rows = []
    for item in items:
        if result := known.result(item):
            share = result["cpu"] / (item["processes"] * result["wall"])
            median = f"{result['median']:.0f} s"
            failed = f", {len(result['failed'])} failed" if result["failed"] else ""
            counts = [f"{result['runs']}{failed}", item["steps"], median, item["processes"]]
            right = "yes" if share >= TARGET else "missed"
            rows.append([*counts, f"{result['cpu']:.0f} s", f"{result['wall']:.0f} s", f"**{share:.3f}**", right])
    write(
        out / "parallel.md",
        "# Do parallel runs keep the cores busy?",
        "`python benchmarks/control/parallel.py`; " + known.head(items),
        f"CPU seconds of all processes over processes × wall; target {TARGET} for runs of two minutes; shorter ones "
        "make it harder.",
        table(["runs", "steps", "a run, median", "at once", "CPU", "wall", "share", f"at least {TARGET}"], rows),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--steps", type=int, default=1250, metavar="N", help="length of a run")
    made.add_argument("--processes", type=int, default=2, metavar="N", help="runs at once")
    made.set_defaults(out=HERE)
    asked = made.parse_args()
    item = {"steps": asked.steps, "processes": asked.processes}
    known = Results(asked.out / "results" / "parallel.jsonl")
    if not asked.table:
        known.measure([item], measure)
    report(known, [line["item"] for line in known.lines()], asked.out)


if __name__ == "__main__":
    main()
