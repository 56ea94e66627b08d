"""Shared by the benchmark scripts: resumable results, a description of the machine, and Markdown tables.

A benchmark is a list of items (mappings that say what to measure) and a function that measures one. Each result is
appended to results/NAME.jsonl as soon as it is available; a restart measures only the missing ones. The table is
written from that file.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

Item = Mapping[str, Any]
"""What to measure: values that JSON preserves."""
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """The results of one benchmark, one JSON line each: item, result, machine, commit, date."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        """Return all complete lines; a line that was cut off by a kill is skipped."""
        texts = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        return [json.loads(text) for text in texts if text.endswith("}\n")]

    def line(self, item: Item) -> dict[str, Any] | None:
        """Return the newest line with the result of `item`, None if there is none."""
        return next((line for line in reversed(self.lines()) if line["item"] == item), None)

    def result(self, item: Item) -> dict[str, Any] | None:
        """Return the newest result of `item`, None if there is none."""
        line = self.line(item)
        return line["result"] if line else None

    def append(self, item: Item, result: Result) -> None:
        """Append a result, after a line break if the previous line was cut off by a kill."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = {"item": item, "result": result, "machine": machine(), "commit": commit(), "date": today()}
        is_cut_off = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write("\n" * is_cut_off + json.dumps(line) + "\n")

    def measure(self, items: Sequence[Item], work: Callable[[Item], Result], processes: int = 1) -> None:
        """Measure every item without a result, `processes` of them in parallel."""
        missing = [item for item in items if self.result(item) is None]
        done = len(items) - len(missing)
        print(f"{done} of {len(items)} finished", flush=True)
        with ThreadPoolExecutor(processes) as pool:
            items_by_future = {pool.submit(work, item): item for item in missing}
            try:
                for future in as_completed(items_by_future):
                    self.append(items_by_future[future], future.result())
                    done += 1
                    print(f"{done} of {len(items)} finished: {json.dumps(items_by_future[future])}", flush=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def provenance(self, items: Iterable[Item]) -> str:
        """Return machine, commit and date of the results of these items as a line of Markdown."""
        items = list(items)
        lines = [line for item in items if (line := self.line(item))]
        facts = [join_unique(line[key] for line in lines) for key in ("machine", "commit", "date")]
        part = "" if len(lines) == len(items) else f" **{len(lines)} of {len(items)} measured.**"
        return "Machine: {}; commit {}; {}.".format(*facts) + part


def join_unique(values: Iterable[str]) -> str:
    """Join the distinct values in order of appearance; of more than three, the first and the last one."""
    distinct = list(dict.fromkeys(values))
    if len(distinct) > 3:
        return f"{distinct[0]} to {distinct[-1]} ({len(distinct)} in all)"
    return " and ".join(distinct) or "not measured yet"


def machine() -> str:
    """Return processor, its matrix units, cores, and the versions that determine speed."""
    import torch

    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    units = "with AMX" if torch.cpu._is_amx_tile_supported() else "without AMX"
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor} {units}, {os.cpu_count()} cores, torch {version('torch')}, Python {platform.python_version()}"


def commit() -> str:
    """Return the short hash of the current commit, with "+" if files of the package differ from it."""
    output = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "equipoise"], cwd=ROOT, capture_output=True)
    return (output.stdout.strip() or "unknown") + "+" * (changed.returncode == 1)


def today() -> str:
    """Return the date in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a process with this number of threads that can import the package."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**os.environ, **limits, "PYTHONPATH": str(ROOT)}


def run_in_subprocess(script: str, item: Item, threads: int, *options: str) -> Result:
    """Return the result of one item from a new process: the last line that it prints, as JSON."""
    command = [sys.executable, script, "--item", json.dumps(item), *options]
    process = subprocess.run(command, env=environment(threads), capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\nexit code {process.returncode}:\n{process.stderr[-3000:]}")
    output: Result = json.loads(process.stdout.splitlines()[-1])
    return output


def create_parser(docstring: str | None) -> argparse.ArgumentParser:
    """Create the argument parser that all benchmarks share."""
    parser = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--table", action="store_true", help="do not measure, write the table from the available results"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the table and of results/")
    parser.add_argument("--item", type=json.loads, help=argparse.SUPPRESS)
    return parser


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format rows as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def format_range(values: Sequence[float], form: str = ".2f") -> str:
    """Format values as "median [minimum, maximum]"."""
    low, middle, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} [{low}, {high}]"


def write(path: Path, *paragraphs: str) -> None:
    """Write a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(paragraphs) + "\n")
    print(f"table: {path}")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
