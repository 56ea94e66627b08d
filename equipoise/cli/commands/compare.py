"""Compare ways of control by a plan: every arm on every task with every seed, and a report."""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer
from equipoise.cli.commands._following import INTERRUPTED, UNHEALTHY, stoppable
from equipoise.errors import SettingError

if TYPE_CHECKING:
    from equipoise.comparison.folder import Folder
    from equipoise.comparison.jobs import Progress
    from equipoise.comparison.plan import Plan


def add_arguments(made: Parser) -> None:
    """The arguments of `compare`."""
    made.add_argument("plan", metavar="PLAN.toml", help="what to compare: arms, tasks, seeds; see experiments/compare")
    made.add_argument(
        "--out", metavar="FOLDER", help="where runs and report go; left out: comparisons/ and the plan's name"
    )
    made.add_argument(
        "--processes", type=int, metavar="N", help="runs at once, a thread each; left out: as many as cores"
    )
    made.add_argument("--steps", type=int, metavar="N", help="so many steps in every task, to try a plan out")
    made.add_argument("--seeds", type=int, metavar="N", help="only the first N seeds of the plan")
    made.add_argument("--report-only", action="store_true", help="run nothing, write the report of what is there")
    made.add_argument("--dry-run", action="store_true", help="say how many runs there are and how long they take")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Run a plan, or go on with it, and write the report."""
    from equipoise.comparison import page, planned
    from equipoise.comparison.folder import Folder, begin
    from equipoise.comparison.plan import read, smaller

    path = Path(args.plan)
    plan = smaller(read(path), args.steps, args.seeds)
    processes = os.cpu_count() or 1 if args.processes is None else args.processes
    if processes < 1:
        raise SettingError(f"--processes {processes}: it must be at least 1")
    folder = Folder(Path(args.out) if args.out else Path("comparisons") / path.stem)
    if args.report_only:
        report = page.write(folder)
        answer(args.json, {"report": str(report)}, f"report: {report}")
        return 0
    planned.check(plan)
    if args.dry_run:
        return _dry_run(plan, processes, args.json)
    plan = begin(folder, plan, path.read_text())
    return _carried_out(plan, folder, processes, args)


def _carried_out(plan: "Plan", folder: "Folder", processes: int, args: argparse.Namespace) -> int:
    """All jobs that are left, the report, and what is to be said of them."""
    from equipoise.comparison import page
    from equipoise.comparison.jobs import Progress, carry_out

    failed: dict[str, str] = {}
    last, begun = Progress(0, 0), time.monotonic()
    with stoppable() as interrupted:
        for last in _shown(carry_out(plan, folder, processes, interrupted), args.json):
            if last.job and last.failed:
                failed[last.job.name] = last.failed
        stopped = interrupted() and last.done < last.total
    told = {"report": str(page.write(folder)), "done": last.done, "total": last.total, "failed": failed}
    lines = [f"{name} could not be run: {words}" for name, words in failed.items()]
    lines.append(f"{last.done} of {last.total} done; report: {told['report']}")
    if stopped:
        lines.append("stopped, everything is saved; the same command goes on")
    answer(args.json, told | {"cpu": last.cpu, "seconds": time.monotonic() - begun}, "\n".join(lines))
    return INTERRUPTED if stopped else UNHEALTHY if failed else 0


def _shown(events: "Iterator[Progress]", quiet: bool) -> "Iterator[Progress]":
    """The same events, with a bar, or a line each where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        bar = progress.add_task("comparing")
        for event in events:
            progress.update(bar, completed=event.done, total=event.total)
            name = event.job.name if event.job else "begun"
            line = f"{event.done} of {event.total} done: {name}"
            if event.failed:
                line = f"{event.done} of {event.total} done; could not be run: {name}: {event.failed}"
            progress.console.print(line, highlight=False, soft_wrap=True, markup=False)
            yield event


def _dry_run(plan: "Plan", processes: int, as_json: bool) -> int:
    """How many runs there are, and a guess at their time from a few steps of the baseline in each setting."""
    import dataclasses

    from equipoise.cli.terminal import duration
    from equipoise.comparison import planned
    from equipoise.experiment.estimates import estimate

    runs = [*planned.trials(plan), *planned.tests(plan)]
    each = {}
    for setting in dict.fromkeys(run.setting for run in runs):
        first = planned.Planned(setting, plan.baseline, plan.seeds[0])
        experiment = planned.experiment(plan, first, {})
        each[setting] = estimate(dataclasses.replace(experiment, metric=None)).seconds
    seconds = sum(each[run.setting] for run in runs)
    lines = [f"{setting.name:32} {duration(one)} a run" for setting, one in each.items()]
    lines.append(f"{len(runs)} runs, about {duration(seconds)} of training and its looks on top of that;")
    lines.append(f"{processes} at once: {duration(seconds / processes)}; nothing was written")
    answer(as_json, {"runs": len(runs), "seconds": seconds, "processes": processes}, "\n".join(lines))
    return 0
