"""Every controller on images: digits at 100, 500 and 4,000, and mis-set; emoji at 32 x 32 pixels. Three seeds or more.

    python benchmarks/control/images.py                      228 runs: about 75 minutes of 2 quiet cores; goes on
    python benchmarks/control/images.py --only openmoji      one of the plans
    python benchmarks/control/images.py --steps 20 --seeds 1 --out /tmp/try      to see it work
    python benchmarks/control/images.py --table              rewrite images.md of what is there

How. experiments/compare/digits.toml and openmoji.toml, which say what arms, tasks and trials there are; the protocol is
that of `equipoise compare` (docs/how-to/compare.md). Runs lie in comparisons/NAME, which is not committed; what comes of them
is images.md, results/images_NAME.jsonl (a line a run) and NAME.html (the page). Expected (references: with tuning most
methods tie): small differences where the setting is right, large ones where it is not or where images are few.
"""

from pathlib import Path

from _compared import asked_of, carried_out, told
from _results import commit, machine, today, write

PLANS = ("digits", "openmoji")


def lower(text: str) -> str:
    """Markdown with every heading a level down."""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines())


def kept(page: Path, name: str) -> str:
    """What the page says of a plan already: a plan whose runs do not lie here keeps its tables."""
    parts = page.read_text().split("\n## ")[1:] if page.exists() else []
    return next((f"## {part.strip()}" for part in parts if part.split(maxsplit=1)[0] == name), "")


def main() -> None:
    asked, folders = asked_of(__doc__, PLANS)
    if not asked.table:
        for name in asked.only:
            carried_out(name, folders[name], asked)
    parts = []
    for name, folder in folders.items():
        there = (folder.path / "plan.json").exists()
        parts.append(lower(told(f"images_{name}", folder, asked.out)) if there else kept(asked.out / "images.md", name))
    write(
        asked.out / "images.md",
        "# Every controller on images",
        f"`python benchmarks/control/images.py`; machine: {machine()}; table written at commit {commit()}, {today()}. "
        "Every run, every look and every digest: results/images_*.jsonl; images_*.html, with "
        "pictures, is written beside and not committed.",
        *filter(None, parts),
    )


if __name__ == "__main__":
    main()
