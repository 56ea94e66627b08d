"""Run plans of experiments/compare, and write their results as Markdown."""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

from _plane import HERE
from _results import ROOT, create_parser

from equipoise.comparison import page, run_checks
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.job_calls import PRELOADED_MODULES
from equipoise.comparison.jobs import execute_jobs
from equipoise.comparison.plan_files import load_plan, reduce_plan
from equipoise.jobs.local import LocalBackend

PLANS = ROOT / "experiments" / "compare"


def parse_args(doc: str | None, names: Iterable[str]) -> tuple[argparse.Namespace, dict[str, ComparisonFolder]]:
    """Parse the arguments of a script on these plans; return them and the folder of the runs of each plan."""
    names = tuple(names)
    parser = create_parser(doc)
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME", help="only these plans")
    parser.add_argument("--steps", type=int, metavar="N", help="number of steps of every task")
    parser.add_argument("--seeds", type=int, metavar="N", help="only the first N seeds")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="number of parallel runs")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="folder of the runs; default: comparisons/, or in --out"
    )
    parser.set_defaults(out=HERE)
    args = parser.parse_args()
    work = args.work or (ROOT / "comparisons" if args.out == HERE else args.out / "comparisons")
    args.out.mkdir(parents=True, exist_ok=True)
    return args, {name: ComparisonFolder(work / name) for name in names}


def run_plan(name: str, folder: ComparisonFolder, args: argparse.Namespace) -> None:
    """Run everything that is missing of a plan."""
    path = PLANS / f"{name}.toml"
    plan = reduce_plan(load_plan(path), args.steps, args.seeds)
    run_checks.check_plan(plan)
    plan = create_or_open(folder, plan, path.read_text())
    for event in execute_jobs(plan, folder, LocalBackend(args.processes, PRELOADED_MODULES)):
        failure = f": {event.error}" if event.error else ""
        print(
            f"{event.done} of {event.total} finished: {event.job.name if event.job else 'started'}{failure}", flush=True
        )


def write_reports(name: str, folder: ComparisonFolder, out: Path) -> str:
    """Write the page and the results of a comparison; return the length of its runs and its tables as Markdown."""
    page.write_report(folder)
    plan = open_comparison(folder).plan
    steps = ", ".join(f"{task} {settings.steps:,}" for task, settings in plan.tasks.items())
    shutil.copyfile(folder.path / page.PAGE, out / f"{name}.html")
    (out / "results").mkdir(exist_ok=True)
    shutil.copyfile(folder.path / page.LINES, out / "results" / f"{name}.jsonl")
    heading, _, tables = (folder.path / page.TABLE).read_text().partition("## All runs")[0].strip().partition("\n")
    return f"{heading}\n\nSteps: {steps}; seeds {', '.join(map(str, plan.seeds))}.\n{tables}"
