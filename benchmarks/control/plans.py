"""Two questions put by `equipoise compare`: the brief's own, and whether what `train` does unasked is worth it.

    python benchmarks/control/plans.py                      brief: 36 runs, about 20 minutes of CPU; goes on
                                                            defaults: 12 runs, about 10
    python benchmarks/control/plans.py --only defaults      one of them
    python benchmarks/control/plans.py --steps 20 --seeds 1 --out /tmp/try      to see it work
    python benchmarks/control/plans.py --table              rewrite the tables of what is there

How. experiments/compare/brief.toml and defaults.toml, which say what arms and tasks there are; the protocol is that of
`equipoise compare` (docs/compare.md). Runs lie in comparisons/NAME, which is not committed; what comes of them is
NAME.md, results/NAME.jsonl (a line a run) and NAME.html (the page). Expected (control.md, section 5): noise of variance
1 costs samples of few steps dear however it is annealed; a cosine on the rates helps little when they are right.
"""

from pathlib import Path

from _compared import carried_out, told
from _plane import HERE
from _results import ROOT, commit, machine, parser, today, write

from equipoise.comparison.folder import Folder

TITLES = {
    "brief": "Noise, augmentation and regularisation: annealed or learned?",
    "defaults": "Is the suggested controller better than none?",
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", default=TITLES, choices=TITLES, metavar="NAME", help="of these plans alone")
    made.add_argument("--steps", type=int, metavar="N", help="so many steps in every task")
    made.add_argument("--seeds", type=int, metavar="N", help="only the first N seeds")
    made.add_argument("--processes", type=int, default=2, metavar="N", help="runs at once")
    made.add_argument("--work", type=Path, metavar="FOLDER", help="where runs lie; left out: comparisons/, or in --out")
    made.set_defaults(out=HERE)
    asked = made.parse_args()
    work = asked.work or (ROOT / "comparisons" if asked.out == HERE else asked.out / "comparisons")
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.only:
        folder = Folder(work / name)
        if not asked.table:
            carried_out(name, folder, asked.steps, asked.seeds, asked.processes)
        if not (folder.path / "plan.json").exists():
            continue
        write(
            asked.out / f"{name}.md",
            f"# {TITLES[name]}",
            f"`python benchmarks/control/plans.py --only {name}`; machine: {machine()}; table written at commit "
            f"{commit()}, {today()}. Every run, every look and every digest: results/{name}.jsonl; {name}.html, with "
            "pictures, is written beside and not committed.",
            told(name, folder, asked.out).partition("\n")[2].strip(),
        )


if __name__ == "__main__":
    main()
