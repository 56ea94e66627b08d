"""Three comparisons: the two questions of the brief, and whether the default controller of `train` is worth it.

    python benchmarks/control/plans.py                      brief: 36 runs, about 20 minutes of CPU; resumes
                                                            defaults: 12 runs, about 30
                                                            ppo: 24 runs, about 38
    python benchmarks/control/plans.py --only defaults      one of them
    python benchmarks/control/plans.py --steps 20 --seeds 1 --out /tmp/try      a quick check
    python benchmarks/control/plans.py --table              rewrite the tables from the available results

Method. brief.toml, defaults.toml and ppo.toml in experiments/compare define arms and tasks; the protocol is that of
`equipoise compare` (docs/how-to/compare.md). Runs are in comparisons/NAME, which is not committed; the results are
NAME.md, results/NAME.jsonl (a line per run) and NAME.html (the page). Expected: noise of variance 1 costs much quality
in runs of few steps, with any annealing; a cosine on the learning rates helps little when they are right.
"""

from _compared import parse_args, run_plan, write_reports
from _results import commit, machine, today, write

TITLES = {
    "brief": "Noise, augmentation and regularisation: annealed or learned?",
    "defaults": "Is the suggested controller better than none?",
    "ppo": "Does the agent of the brief beat constants within its range?",
}


def main() -> None:
    args, folders = parse_args(__doc__, TITLES)
    for name in args.only:
        folder = folders[name]
        if not args.table:
            run_plan(name, folder, args)
        if not (folder.path / "plan.json").exists():
            continue
        write(
            args.out / f"{name}.md",
            f"# {TITLES[name]}",
            f"`python benchmarks/control/plans.py --only {name}`; machine: {machine()}; table written at commit "
            f"{commit()}, {today()}. Every run, evaluation and digest: results/{name}.jsonl. The page with pictures, "
            f"{name}.html, is not committed.",
            write_reports(name, folder, args.out).partition("\n")[2].strip(),
        )


if __name__ == "__main__":
    main()
