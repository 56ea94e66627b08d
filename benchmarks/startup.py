"""How soon the command line answers: `equipoise --help`, `equipoise train --help`, `equipoise list`.

    python benchmarks/startup.py             about 30 seconds; a restart goes on
    python benchmarks/startup.py --table     rewrite startup.md from results/startup.jsonl

How. Each command runs as a process of its own, eight times in a row; the first run, which may have to fetch files from
the disk, is told apart, and the median is of the other seven.

Expected: `--help` within 0.5 s, `train --help` within 4 s.
"""

import subprocess
import sys
import time
from pathlib import Path

from _results import Item, Result, Results, environment, parser, spread, table, write

COMMANDS = {"--help": 0.5, "train --help": 4.0, "list": None}
"""Words of the command, and the seconds that it may take."""


def measure(item: Item) -> Result:
    """Seconds of each run of a command."""
    program = Path(sys.executable).with_name("equipoise")
    command = [str(program)] if program.exists() else [sys.executable, "-m", "equipoise"]
    seconds = []
    for _ in range(item["repeats"] + 1):
        begun = time.perf_counter()
        subprocess.run([*command, *item["command"].split()], check=True, capture_output=True, env=environment(1))
        seconds.append(time.perf_counter() - begun)
    return {"first": seconds[0], "seconds": seconds[1:]}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=7, help="runs of each command, after the first")
    asked = made.parse_args()
    items: list[Item] = [{"command": command, "repeats": asked.repeats} for command in COMMANDS]
    results = Results(asked.out / "results" / "startup.jsonl")
    if not asked.table:
        results.measure(items, measure)
    rows = [
        [f"`equipoise {item['command']}`", spread(result["seconds"]), f"{result['first']:.2f}", limit or "none"]
        for item, limit in zip(items, COMMANDS.values(), strict=True)
        if (result := results.result(item))
    ]
    write(
        asked.out / "startup.md",
        "# Seconds until the command line has answered",
        f"{results.head(items)} Median [minimum, maximum] of {asked.repeats} processes in a row.",
        table(("command", "seconds", "the first one", "limit"), rows),
    )


if __name__ == "__main__":
    main()
