"""Compare controllers or models: run every arm of a plan on every task with every seed, and write a report."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_output_flags, output_folder
from equipoise.cli.output import INTERRUPTED, UNHEALTHY, Verbosity, print_result, verbosity_of
from equipoise.cli.signals import interruptible
from equipoise.core.printing import printable
from equipoise.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from equipoise.comparison.folder import ComparisonFolder
    from equipoise.comparison.jobs import JobProgress
    from equipoise.comparison.plan import ComparisonPlan
    from equipoise.jobs.backend import Backend

ORDER = 110
EXAMPLES = (
    "equipoise compare experiments/compare/brief.toml --dry-run",
    "equipoise compare experiments/compare/brief.toml --processes 2",
    "equipoise compare experiments/compare/brief.toml --report-only",
    "equipoise compare experiments/compare/brief.toml --out /shared/brief --join",
)
JSON_KEYS: dict[str, str] = {
    "report": "path of the report",
    "done, total": "finished jobs, all jobs",
    "failed": "name of each failed job -> error",
    "cpu, seconds": "CPU seconds, elapsed seconds",
    "runs, processes": "with --dry-run, and `seconds` of all runs: number of runs, of parallel runs",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `compare`."""
    parser.add_argument(
        "plan", metavar="PLAN.toml", help="plan with arms, tasks and seeds; examples: experiments/compare"
    )
    parser.add_argument("--out", metavar="FOLDER", help="folder for runs and report; default: comparisons/PLAN")
    parser.add_argument(
        "--processes", type=int, metavar="N", help="parallel runs, one thread each; default: the number of cores"
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="share the runs with other processes that have the same --out and --join, on any number of machines",
    )
    parser.add_argument(
        "--on",
        metavar="BACKEND",
        help="where runs are executed: local (default), ray, or ray=ADDRESS for a running cluster",
    )
    parser.add_argument(
        "--gpus-per-run",
        type=float,
        metavar="G",
        help="share of a GPU, or number of GPUs, for each run on Ray; default: 0",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="number of steps of every run, to try a plan; default: the plan's"
    )
    parser.add_argument(
        "--cpu-seconds",
        type=float,
        metavar="S",
        help="CPU seconds of training of every run, to try a plan with such a budget; default: the plan's",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="use only the first N seeds of the plan; default: all")
    parser.add_argument("--report-only", action="store_true", help="only write the report of the existing runs")
    parser.add_argument("--dry-run", action="store_true", help="only print the number of runs and the estimated time")
    add_output_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Execute the plan, or continue it, and write the report."""
    from equipoise.comparison import page, run_checks
    from equipoise.comparison.folder import ComparisonFolder, create_or_open
    from equipoise.comparison.plan_files import load_plan, reduce_plan

    path = Path(args.plan)
    plan = reduce_plan(load_plan(path), args.steps, args.seeds, args.cpu_seconds)
    _check_flags(args)
    folder = ComparisonFolder(output_folder(args.out) or Path("comparisons") / path.stem)
    if args.report_only:
        report = page.write_report(folder)
        print_result(args.json, {"report": str(report)}, f"report: {report}")
        return 0
    run_checks.check_plan(plan)
    if args.dry_run:
        return _dry_run(plan, args.processes or os.cpu_count() or 1, args.json)
    plan = create_or_open(folder, plan, path.read_text())
    with _backend(args, folder) as backend:
        return _execute(plan, folder, backend, args)


def _check_flags(args: argparse.Namespace) -> None:
    """Raise SettingError for flags that are invalid or contradict each other."""
    backend, _, _ = (args.on or "local").partition("=")
    if args.processes is not None and args.processes < 1:
        raise SettingError(f"--processes {args.processes}: it must be at least 1")
    if backend not in ("local", "ray"):
        raise UnknownNameError("backend", backend, ("local", "ray"), "for --on")
    if backend == "ray" and args.join:
        raise SettingError("--on ray and --join both share the runs between machines; use one of them")
    if backend != "ray" and args.gpus_per_run is not None:
        raise SettingError("--gpus-per-run needs --on ray, which counts the shares of GPUs; omit it, or add --on ray")
    if args.join and args.out is None:
        raise SettingError("--join needs --out, the folder that all processes share")


@contextmanager
def _backend(args: argparse.Namespace, folder: "ComparisonFolder") -> "Iterator[Backend]":
    """Provide where the runs are executed, after checking the machines, and print notes about them."""
    from equipoise.comparison import machines, remote
    from equipoise.comparison.job_calls import PRELOADED_MODULES
    from equipoise.jobs.local import LocalBackend

    backend, _, address = (args.on or "local").partition("=")
    if backend == "local":
        _print_notes(machines.check_machine(folder, machines.this_machine()))
        yield LocalBackend(args.processes or os.cpu_count() or 1, PRELOADED_MODULES)
        return
    from equipoise.jobs.ray_backend import connect_ray

    cluster = connect_ray(address or None, args.processes, args.gpus_per_run or 0.0)
    try:
        _print_notes(remote.check_nodes(cluster, folder))
        yield cluster
    finally:
        cluster.close()


def _print_notes(notes: Sequence[str]) -> None:
    """Print notes, also with --quiet: tasks of a cluster are started with it, and runs may be wasted."""
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def _execute(plan: "ComparisonPlan", folder: "ComparisonFolder", backend: "Backend", args: argparse.Namespace) -> int:
    """Execute all jobs that are not done, write the report and print the result."""
    from equipoise.comparison import page
    from equipoise.comparison.jobs import JobProgress, execute_jobs, list_failures
    from equipoise.comparison.joined import join_jobs, write_once
    from equipoise.jobs.backend import AnnouncedBackend

    failed: dict[str, str] = {}
    last, start, execute = JobProgress(0, 0), time.monotonic(), join_jobs if args.join else execute_jobs
    with interruptible() as interrupted:
        interrupted.defer()
        is_quiet = verbosity_of(args) is Verbosity.QUIET
        backend = backend if is_quiet else AnnouncedBackend(backend, _print_begin)
        for last in _show_progress(execute(plan, folder, backend, interrupted), is_quiet):
            if last.job and last.error:
                failed[last.job.name] = last.error
        is_stopped = interrupted() and last.done < last.total
    if args.join:
        failed |= list_failures(plan, folder)
        write_once(folder, "report", lambda: page.write_report(folder), interrupted)
    else:
        page.write_report(folder)
    return _print_end(folder, last, failed, time.monotonic() - start, is_stopped, args)


def _print_end(
    folder: "ComparisonFolder",
    last: "JobProgress",
    failed: dict[str, str],
    seconds: float,
    is_stopped: bool,
    args: argparse.Namespace,
) -> int:
    """Print the result of a comparison that has ended or was stopped; return the exit code."""
    from equipoise.comparison.page import PAGE

    report = str(folder.path / PAGE)
    result = {
        "report": report,
        "done": last.done,
        "total": last.total,
        "failed": failed,
        "cpu": last.cpu,
        "seconds": seconds,
    }
    lines = [f"{name} failed: {error}" for name, error in failed.items()]
    if failed and args.join:
        lines.append(f"to try a failed run again, delete its file in {folder.path / 'failed'}, or run without --join")
    lines.append(f"{last.done} of {last.total} jobs done; report: {report}")
    if is_stopped:
        lines.append("stopped; everything is saved. To continue, run the same command again")
    print_result(args.json, result, "\n".join(lines))
    return INTERRUPTED if is_stopped else UNHEALTHY if failed or last.done < last.total else 0


def _print_begin(job: str | None) -> None:
    """Print which job begins; None: the remaining ones are being executed elsewhere."""
    line = "waiting for jobs of other processes" if job is None else f"started: {job}"
    print(printable(line), file=sys.stderr)


def _show_progress(events: "Iterator[JobProgress]", quiet: bool) -> "Iterator[JobProgress]":
    """Yield the same events while printing them, with a progress bar in a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from equipoise.cli.terminal import make_console

    console = make_console(quiet=quiet)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        bar = progress.add_task("comparing")
        for event in events:
            progress.update(bar, completed=event.done, total=event.total)
            line = f"{event.done} of {event.total} jobs done"
            if event.job:
                line += f"; {event.job.name} failed: {event.error}" if event.error else f": {event.job.name}"
            progress.console.print(printable(line), soft_wrap=True)
            yield event


def _dry_run(plan: "ComparisonPlan", processes: int, as_json: bool) -> int:
    """Print the number of runs and their time: the budget, or an estimate from a few steps in each setting."""
    from equipoise.comparison.durations import estimate_durations
    from equipoise.report.formatting import format_duration

    durations = estimate_durations(plan)
    groups = {
        f"{run.setting.name}, {run.arm}" if plan.compares_models else run.setting.name: seconds
        for run, seconds in durations.items()
    }
    lines = [
        f"{name:32} {format_duration(seconds)} per run" if seconds else f"{name:32} sampled from the run of another arm"
        for name, seconds in groups.items()
    ]
    total = sum(durations.values())
    lines.append(f"{len(durations)} runs, about {format_duration(total)} of training, plus evaluations")
    lines.append(f"with {processes} runs in parallel: {format_duration(total / processes)}; nothing was written")
    print_result(as_json, {"runs": len(durations), "seconds": total, "processes": processes}, "\n".join(lines))
    return 0
