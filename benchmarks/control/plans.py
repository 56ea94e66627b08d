"""Three questions put by `equipoise compare`: the brief's own two, and whether what `train` does unasked is worth it.

    python benchmarks/control/plans.py                      brief: 36 runs, about 20 minutes of CPU; goes on
                                                            defaults: 12 runs, about 30
                                                            ppo: 24 runs, about 38
    python benchmarks/control/plans.py --only defaults      one of them
    python benchmarks/control/plans.py --steps 20 --seeds 1 --out /tmp/try      to see it work
    python benchmarks/control/plans.py --table              rewrite the tables of what is there

How. brief.toml, defaults.toml and ppo.toml in experiments/compare, which say what arms and tasks there are; the
protocol is that of `equipoise compare` (docs/how-to/compare.md). Runs lie in comparisons/NAME, which is not committed; what
comes of them is NAME.md, results/NAME.jsonl (a line a run) and NAME.html (the page). Expected (control.md, section 5):
noise of variance 1 costs samples of few steps dear however it is annealed; a cosine on the rates helps little when they
are right.
"""

from _compared import asked_of, carried_out, told
from _results import commit, machine, today, write

TITLES = {
    "brief": "Noise, augmentation and regularisation: annealed or learned?",
    "defaults": "Is the suggested controller better than none?",
    "ppo": "Does the agent of the brief beat constants within its span?",
}


def main() -> None:
    asked, folders = asked_of(__doc__, TITLES)
    for name in asked.only:
        folder = folders[name]
        if not asked.table:
            carried_out(name, folder, asked)
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
