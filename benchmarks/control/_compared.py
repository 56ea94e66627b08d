"""Plans of experiments/compare carried out, and what came of them as Markdown beside the other tables."""

import shutil
from pathlib import Path

from _plane import HERE

from equipoise.comparison import page, planned
from equipoise.comparison.folder import Folder, begin, opened
from equipoise.comparison.jobs import carry_out
from equipoise.comparison.plan import read, smaller

PLANS = HERE.parents[1] / "experiments" / "compare"


def carried_out(name: str, folder: Folder, steps: int | None, seeds: int | None, processes: int) -> None:
    """All that is left of a plan."""
    path = PLANS / f"{name}.toml"
    plan = smaller(read(path), steps, seeds)
    planned.check(plan)
    plan = begin(folder, plan, path.read_text())
    for event in carry_out(plan, folder, processes):
        said = f": {event.failed}" if event.failed else ""
        print(f"{event.done} of {event.total} done: {event.job.name if event.job else 'begun'}{said}", flush=True)


def told(name: str, folder: Folder, out: Path) -> str:
    """The page of a comparison and its lines copied beside the table; how long it is, and its answers, as Markdown."""
    page.write(folder)
    plan = opened(folder)[0]
    steps = ", ".join(f"{task} {given.steps:,}" for task, given in plan.tasks.items())
    shutil.copyfile(folder.path / page.PAGE, out / f"{name}.html")
    (out / "results").mkdir(exist_ok=True)
    shutil.copyfile(folder.path / page.LINES, out / "results" / f"{name}.jsonl")
    heading, _, answers = (folder.path / page.TABLE).read_text().partition("## Every run")[0].strip().partition("\n")
    return f"{heading}\n\nSteps: {steps}; seeds {', '.join(map(str, plan.seeds))}.\n{answers}"
