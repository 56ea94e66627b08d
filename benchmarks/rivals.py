"""GANs, diffusion models and distilled diffusion models in the same CPU seconds of training: which is best at what?

    python benchmarks/rivals.py run                 every missing seed of experiments/compare/rivals.toml; resumes
    python benchmarks/rivals.py run --seeds 2 --tasks digits [--again]
    python benchmarks/rivals.py collect FOLDER      add the finished seeds of a comparison that was run in another way
    python benchmarks/rivals.py page                rewrite rivals.md and its figures
    python benchmarks/rivals.py run --plan distillation     the same for the terms of distillation: distillation.md

Method. The arms, the claims and the budget are those of the plan; the protocol is that of `equipoise compare`
(docs/how-to/compare.md). A seed counts in a task when all arms have run it. Each of them is a comparison of its own, in
comparisons/PLAN_TASK_seedN, so that they can be run on different days: the steps that fit into the budget are measured
for the first seed of a task, and the others have the same ones, however fast the computer is on their day. Results,
digests included, are in results/PLAN.jsonl, a line per run.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from _results import HERE, ROOT, commit, machine, today, write

from equipoise.comparison import cost_figures, model_tables, page, results, run_checks, tables
from equipoise.comparison.claims import EvaluatedClaim, describe_decisions, evaluate_claims
from equipoise.comparison.conclusions import describe_scope
from equipoise.comparison.folder import ComparisonFolder, create_or_open, open_comparison
from equipoise.comparison.job_calls import PRELOADED_MODULES
from equipoise.comparison.jobs import execute_jobs
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_files import load_plan
from equipoise.comparison.results import RunResult
from equipoise.comparison.sample_figures import render_sample_grids
from equipoise.comparison.summary import Block, complete_blocks, failed_runs, summarise
from equipoise.jobs.local import LocalBackend

TITLES = {
    "rivals": "GANs, diffusion, and diffusion distilled into one step",
    "distillation": "Distillation into one step: what each term brings",
}
"""Name of a plan in experiments/compare -> title of its page."""


class Study:
    """The plan of a comparison of models, the files of its results, and its page."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = ROOT / "experiments" / "compare" / f"{name}.toml"
        self.plan = load_plan(self.file)
        self.results = HERE / "results" / f"{name}.jsonl"
        self.machines = HERE / "results" / f"{name}_machines.json"
        self.notes = HERE / f"{name}_notes.md"
        self.cost_figure = HERE / f"{name}_cost.png"

    def stored(self) -> list[RunResult]:
        """Return the results of all runs so far."""
        return results.read_results(self.results) if self.results.exists() else []

    def stored_blocks(self) -> list[Block]:
        """Return the seeds of each task that every arm has run."""
        return complete_blocks(self.plan, self.stored())

    def task_blocks(self, task: str) -> list[Block]:
        """Return those of one task."""
        return [block for block in self.stored_blocks() if block[self.plan.baseline].task == task]

    def samples(self, task: str) -> Path:
        """Return the path of the picture of the samples of every arm."""
        return HERE / f"{self.name}_{task}.png"


def run(study: Study, tasks: Sequence[str], seeds: Sequence[int], processes: int, *, again: bool) -> None:
    """Run the plan for each task and seed without results, or `again` with results, and collect them."""
    for task, seed in itertools.product(tasks, seeds):
        done = {block[study.plan.baseline].seed: block for block in study.task_blocks(task)}
        if seed in done and not again:
            continue
        part = part_of(study.plan, task, seed)
        if first := next((done[other] for other in sorted(done) if other != seed), None):
            part = with_steps_of(part, task, first)
        run_checks.check_plan(part)
        folder = ComparisonFolder(ROOT / "comparisons" / f"{study.name}_{task}_seed{seed}")
        part = create_or_open(folder, part, study.file.read_text())
        for event in execute_jobs(part, folder, LocalBackend(processes, PRELOADED_MODULES)):
            failure = f": {event.error}" if event.error else ""
            print(f"{task}, seed {seed}: {event.done} of {event.total} finished{failure}", flush=True)
        collect(study, folder)


def part_of(plan: ComparisonPlan, task: str, seed: int) -> ComparisonPlan:
    """Return the plan of one task and seed, with the claims on that task."""
    claims = [
        dataclasses.replace(claim, tasks=claim.tasks and (task,))
        for claim in plan.claims
        if not claim.tasks or task in claim.tasks
    ]
    arms = {
        name: dataclasses.replace(arm, tasks={task: arm.tasks[task]} if task in arm.tasks else {})
        for name, arm in plan.arms.items()
    }
    return dataclasses.replace(plan, arms=arms, tasks={task: plan.tasks[task]}, seeds=(seed,), claims=tuple(claims))


def with_steps_of(part: ComparisonPlan, task: str, first: Block) -> ComparisonPlan:
    """Return a part whose arms have the steps of another seed of the task, instead of a budget."""

    def steps(name: str) -> int:
        return max(1, first[name].steps // part.evaluations) * part.evaluations

    arms = {name: arm if arm.run else dataclasses.replace(arm, steps=steps(name)) for name, arm in part.arms.items()}
    own = dataclasses.replace(part.tasks[task], cpu_seconds=None, steps=steps(part.baseline))
    return dataclasses.replace(part, arms=arms, tasks={task: own})


def collect(study: Study, folder: ComparisonFolder) -> None:
    """Add the complete seeds of a comparison to the stored results; draw its samples if there are none yet."""
    page.write_report(folder)
    plan = open_comparison(folder).plan
    runs = results.load_results(plan, folder)
    blocks = complete_blocks(plan, runs)
    summary = summarise(plan, runs)
    new = [result for block in blocks for result in block.values()]
    names = {result.name for result in new}
    results.write_results(study.results, [*(old for old in study.stored() if old.name not in names), *new])
    machines = json.loads(study.machines.read_text()) if study.machines.exists() else []
    line = f"{machine()}; commit {commit()}; {today()}"
    study.machines.write_text(json.dumps(list(dict.fromkeys([*machines, line])), indent=1) + "\n")
    for grid in render_sample_grids(folder, summary, blocks) if summary else []:
        if not (path := study.samples(grid.setting)).exists():
            path.write_bytes(grid.wide)
    print(f"{len(new)} results from {folder.path}")


def write_page(study: Study) -> None:
    """Write the page of a plan, and its figure of quality against the cost of a sample."""
    plan, runs = study.plan, study.stored()
    summary = summarise(plan, runs)
    if summary is None:
        raise SystemExit(f"no seed has been run by all arms; run: python benchmarks/rivals.py run --plan {study.name}")
    blocks = study.stored_blocks()
    study.cost_figure.write_bytes(cost_figures.plot_sampling_cost(plan, blocks))
    claims = evaluate_claims(plan, blocks)
    count = {task: sum(block[plan.baseline].task == task for block in blocks) for task in plan.tasks}
    seeds = ", ".join(f"{task} {number} of {len(plan.seeds)}" for task, number in count.items())
    budget = "tasks and seeds, and the CPU seconds of training that the plan says"
    machines = " | ".join(json.loads(study.machines.read_text()))
    write(
        HERE / f"{study.name}.md",
        f"# {TITLES[study.name]}",
        f"`python benchmarks/rivals.py page --plan {study.name}`; seeds: {seeds}. Machines: {machines}. "
        f"Method: docstring of the script; the plan is experiments/compare/{study.name}.toml.",
        *([study.notes.read_text().strip()] if study.notes.exists() else []),
        f"## The claims\n\n{describe_scope(summary, budget)} {describe_decisions(claims)}",
        model_tables.claims_table(claims).markdown().partition("\n\n")[2],
        "## Quality against the cost of a sample",
        f"![Score over CPU seconds per 1,000 samples]({study.cost_figure.name})",
        "Each point is an arm; lines connect arms that sample from the same runs.",
        *samples(study),
        *measured_tables(plan, runs, blocks),
        *(section(claim) for claim in claims),
    )


def samples(study: Study) -> list[str]:
    """Return the pictures of the samples of every arm, a task each."""
    pictures = [
        f"![Samples of every arm, {task}]({path.name})\n\n{task}: not selected, the best arm first."
        for task in study.plan.tasks
        if (path := study.samples(task)).exists()
    ]
    return ["## Samples", *pictures] if pictures else []


def measured_tables(plan: ComparisonPlan, runs: Sequence[RunResult], blocks: Sequence[Block]) -> list[str]:
    """Return the tables of quality, cost and all metrics as Markdown."""
    summary = summarise(plan, runs)
    assert summary is not None
    parts = [
        tables.quality_table(summary),
        tables.settings_table(summary),
        model_tables.cost_table(plan, blocks, failed_runs(plan, blocks)),
        tables.metrics_table(summary, blocks),
        model_tables.models_table(plan, blocks),
    ]
    return [part.markdown() for part in parts]


def section(evaluated: EvaluatedClaim) -> str:
    """Return a claim, its verdict and the table of its pairs as Markdown."""
    heading, _, table = model_tables.claim_table(evaluated).markdown().partition("\n\n")
    return f"{heading}\n\n{evaluated.claim.text} **{evaluated.verdict}**\n\n{table}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "collect", "page"))
    parser.add_argument("folders", nargs="*", type=Path, help="of `collect`: folders of comparisons")
    parser.add_argument("--plan", choices=tuple(TITLES), default="rivals")
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="default: all tasks of the plan")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="default: all seeds of the plan")
    parser.add_argument("--again", action="store_true", help="run seeds that have results, too, and replace these")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="number of runs at once")
    args = parser.parse_args()
    study = Study(args.plan)
    if args.command == "run":
        tasks, seeds = args.tasks or list(study.plan.tasks), args.seeds or study.plan.seeds
        run(study, tasks, seeds, args.processes, again=args.again)
    for folder in args.folders:
        collect(study, ComparisonFolder(folder))
    write_page(study)


if __name__ == "__main__":
    main()
