"""Every controller on images: digits at 100, 500 and 4,000, and mis-set; emoji at 32 x 32 pixels. Three seeds or more.

    python benchmarks/control/images.py                      228 runs: about 75 minutes of 2 quiet cores; goes on
    python benchmarks/control/images.py --only openmoji      one of the plans
    python benchmarks/control/images.py --steps 20 --seeds 1 --out /tmp/try      to see it work
    python benchmarks/control/images.py --table              rewrite images.md of what is there

How. experiments/compare/digits.toml and openmoji.toml, which say what arms, tasks and trials there are; the protocol is
that of `equipoise compare` (docs/compare.md). Runs lie in comparisons/NAME, which is not committed; what comes of them
is images.md, results/images_NAME.jsonl (a line a run) and NAME.html (the page). Expected (references: with tuning most
methods tie): small differences where the setting is right, large ones where it is not or where images are few.
"""

import shutil
from pathlib import Path

from _plane import HERE
from _results import ROOT, commit, machine, parser, today, write

from equipoise.comparison import page, planned
from equipoise.comparison.folder import Folder, begin
from equipoise.comparison.jobs import carry_out
from equipoise.comparison.plan import read, smaller

PLANS = ("digits", "openmoji")


def carried_out(path: Path, folder: Folder, steps: int | None, seeds: int | None, processes: int) -> None:
    """All that is left of a plan."""
    plan = smaller(read(path), steps, seeds)
    planned.check(plan)
    begin(folder, plan, path.read_text())
    for event in carry_out(plan, folder, processes):
        said = f": {event.failed}" if event.failed else ""
        print(f"{event.done} of {event.total} done: {event.job.name if event.job else 'begun'}{said}", flush=True)


def told(name: str, folder: Folder, out: Path) -> str:
    """The page of a comparison copied beside the table, and its answers and tables as Markdown, a level down."""
    page.write(folder)
    shutil.copyfile(folder.path / page.PAGE, out / f"images_{name}.html")
    (out / "results").mkdir(exist_ok=True)
    shutil.copyfile(folder.path / page.LINES, out / "results" / f"images_{name}.jsonl")
    text = (folder.path / page.TABLE).read_text()
    whole = text.partition("## Every run")[0].strip()
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in whole.splitlines())


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", default=PLANS, choices=PLANS, metavar="NAME", help="of these plans alone")
    made.add_argument("--steps", type=int, metavar="N", help="so many steps in every task")
    made.add_argument("--seeds", type=int, metavar="N", help="only the first N seeds")
    made.add_argument("--processes", type=int, default=2, metavar="N", help="runs at once")
    made.add_argument("--work", type=Path, metavar="FOLDER", help="where runs lie; left out: comparisons/, or in --out")
    made.set_defaults(out=HERE)
    asked = made.parse_args()
    work = asked.work or (ROOT / "comparisons" if asked.out == HERE else asked.out / "comparisons")
    folders = {name: Folder(work / name) for name in PLANS}
    if not asked.table:
        for name in asked.only:
            plan = ROOT / "experiments" / "compare" / f"{name}.toml"
            carried_out(plan, folders[name], asked.steps, asked.seeds, asked.processes)
    asked.out.mkdir(parents=True, exist_ok=True)
    parts = [told(name, folder, asked.out) for name, folder in folders.items() if (folder.path / "plan.json").exists()]
    write(
        asked.out / "images.md",
        "# Every controller on images",
        f"`python benchmarks/control/images.py`; machine: {machine()}; table written at commit {commit()}, {today()}. "
        "Every run, every look and every digest: results/images_*.jsonl; images_*.html, with "
        "pictures, is written beside and not committed.",
        *parts,
    )


if __name__ == "__main__":
    main()
