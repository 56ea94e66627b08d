"""All controllers on images: digits with 100, 500 and 4,000 images, and mis-set; emoji at 32 x 32 pixels. Three seeds
or more.

    python benchmarks/control/images.py                      228 runs: about 75 minutes of 2 quiet cores; resumes
    python benchmarks/control/images.py --only openmoji      one of the plans
    python benchmarks/control/images.py --steps 20 --seeds 1 --out /tmp/try      a quick check
    python benchmarks/control/images.py --table              rewrite images.md from the available results

Method. experiments/compare/digits.toml and openmoji.toml define arms, tasks and trials; the protocol is that of
`equipoise compare` (docs/how-to/compare.md). Runs are in comparisons/NAME, which is not committed; the results are
images.md, results/images_NAME.jsonl (a line per run) and NAME.html (the page). Expected (from the literature: with
tuning most methods tie): small differences where settings are right, large ones where they are not or with few images.
"""

from pathlib import Path

from _compared import parse_args, run_plan, write_reports
from _results import commit, machine, today, write

PLANS = ("digits", "openmoji")


def lower(text: str) -> str:
    """Return Markdown with every heading one level lower."""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines())


def section_of(page: Path, name: str) -> str:
    """Return the existing section of a plan: without its runs, a plan keeps its tables."""
    parts = page.read_text().split("\n## ")[1:] if page.exists() else []
    return next((f"## {part.strip()}" for part in parts if part.split(maxsplit=1)[0] == name), "")


def main() -> None:
    args, folders = parse_args(__doc__, PLANS)
    if not args.table:
        for name in args.only:
            run_plan(name, folders[name], args)
    parts = []
    for name, folder in folders.items():
        is_available = (folder.path / "plan.json").exists()
        parts.append(
            lower(write_reports(f"images_{name}", folder, args.out))
            if is_available
            else section_of(args.out / "images.md", name)
        )
    write(
        args.out / "images.md",
        "# All controllers on images",
        f"`python benchmarks/control/images.py`; machine: {machine()}; table written at commit {commit()}, {today()}. "
        "Every run, evaluation and digest: results/images_*.jsonl. The pages with pictures, "
        "images_*.html, are not committed.",
        *filter(None, parts),
    )


if __name__ == "__main__":
    main()
