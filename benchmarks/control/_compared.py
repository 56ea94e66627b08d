"""Plans of experiments/compare carried out, and what came of them as Markdown beside the other tables."""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from _plane import HERE
from _results import ROOT, parser

from equipoise.comparison import page, plan_runs
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.jobs import execute_jobs
from equipoise.comparison.plan import load_plan, reduce_plan

PLANS = ROOT / "experiments" / "compare"


def asked_of(doc: str | None, names: Iterable[str]) -> tuple[argparse.Namespace, dict[str, ComparisonFolder]]:
    """What a script about these plans was asked, and where the runs of each lie."""
    names = tuple(names)
    made = parser(doc)
    made.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME", help="of these plans alone")
    made.add_argument("--steps", type=int, metavar="N", help="so many steps in every task")
    made.add_argument("--seeds", type=int, metavar="N", help="only the first N seeds")
    made.add_argument("--processes", type=int, default=2, metavar="N", help="runs at once")
    made.add_argument("--work", type=Path, metavar="FOLDER", help="where runs lie; left out: comparisons/, or in --out")
    made.set_defaults(out=HERE)
    asked = made.parse_args()
    work = asked.work or (ROOT / "comparisons" if asked.out == HERE else asked.out / "comparisons")
    asked.out.mkdir(parents=True, exist_ok=True)
    return asked, {name: ComparisonFolder(work / name) for name in names}


def carried_out(name: str, folder: ComparisonFolder, asked: argparse.Namespace) -> None:
    """All that is left of a plan."""
    path = PLANS / f"{name}.toml"
    plan = reduce_plan(load_plan(path), asked.steps, asked.seeds)
    plan_runs.check_plan(plan)
    plan = create_or_open(folder, plan, path.read_text())
    for event in execute_jobs(plan, folder, asked.processes):
        said = f": {event.failed}" if event.failed else ""
        print(f"{event.done} of {event.total} done: {event.job.name if event.job else 'begun'}{said}", flush=True)


def told(name: str, folder: ComparisonFolder, out: Path) -> str:
    """The page of a comparison and its lines copied beside the table; how long it is, and its answers, as Markdown."""
    page.write_report(folder)
    plan = open_comparison(folder)[0]
    steps = ", ".join(f"{task} {given.steps:,}" for task, given in plan.tasks.items())
    shutil.copyfile(folder.path / page.PAGE, out / f"{name}.html")
    (out / "results").mkdir(exist_ok=True)
    shutil.copyfile(folder.path / page.LINES, out / "results" / f"{name}.jsonl")
    heading, _, answers = (folder.path / page.TABLE).read_text().partition("## Every run")[0].strip().partition("\n")
    return f"{heading}\n\nSteps: {steps}; seeds {', '.join(map(str, plan.seeds))}.\n{answers}"
