"""How long do `equipoise --help`, `equipoise train --help` and `equipoise list` take?

    python benchmarks/startup.py             about 30 seconds; a restart continues
    python benchmarks/startup.py --table     rewrite startup.md from results/startup.jsonl

Method. Each command runs as a separate process, eight times in a row; the first run, which may load files from disk, is
listed separately, and the median is of the other seven.

Expected: `--help` within 0.5 s, `train --help` within 4 s.
"""

import subprocess
import sys
import time
from pathlib import Path

from _results import Item, Result, Results, create_parser, environment, format_range, table, write

COMMANDS = {"--help": 0.5, "train --help": 4.0, "list": None}
"""Arguments of the command, and its limit in seconds."""


def measure(item: Item) -> Result:
    """Measure the time of each run of a command."""
    program = Path(sys.executable).with_name("equipoise")
    command = [str(program)] if program.exists() else [sys.executable, "-m", "equipoise"]
    seconds = []
    for _ in range(item["repeats"] + 1):
        start_time = time.perf_counter()
        subprocess.run([*command, *item["command"].split()], check=True, capture_output=True, env=environment(1))
        seconds.append(time.perf_counter() - start_time)
    return {"first": seconds[0], "seconds": seconds[1:]}


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="runs of each command after the first one")
    args = parser.parse_args()
    items: list[Item] = [{"command": command, "repeats": args.repeats} for command in COMMANDS]
    results = Results(args.out / "results" / "startup.jsonl")
    if not args.table:
        results.measure(items, measure)
    rows = [
        [f"`equipoise {item['command']}`", format_range(result["seconds"]), f"{result['first']:.2f}", limit or "none"]
        for item, limit in zip(items, COMMANDS.values(), strict=True)
        if (result := results.result(item))
    ]
    write(
        args.out / "startup.md",
        "# Response time of the command line",
        f"{results.provenance(items)} Median [minimum, maximum] of {args.repeats} consecutive processes.",
        table(("command", "seconds", "first run, s", "limit, s"), rows),
    )


if __name__ == "__main__":
    main()
