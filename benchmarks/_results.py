"""What the benchmark scripts share: results that survive a kill, the machine they stem from, and Markdown tables.

A benchmark is a list of items (mappings of what is asked) and a function that measures one. Each answer is appended
to results/NAME.jsonl as soon as it is there; a restart measures only what is missing. The table is made from that file.
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
"""What is asked: values that JSON gives back as they were."""
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """The answers of one benchmark, one JSON line each: item, result, machine, commit, date."""

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines; one that a kill cut short is left out."""
        texts = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        return [json.loads(text) for text in texts if text.endswith("}\n")]

    def line(self, item: Item) -> dict[str, Any] | None:
        """The newest line that answers `item`."""
        return next((line for line in reversed(self.lines()) if line["item"] == item), None)

    def result(self, item: Item) -> dict[str, Any] | None:
        """The newest answer to `item`, None if there is none yet."""
        line = self.line(item)
        return line["result"] if line else None

    def append(self, item: Item, result: Result) -> None:
        """Keep an answer, behind a line break if a kill cut the line before it short."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = {"item": item, "result": result, "machine": machine(), "commit": commit(), "date": today()}
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write("\n" * torn + json.dumps(line) + "\n")

    def measure(self, items: Sequence[Item], work: Callable[[Item], Result], at_once: int = 1) -> None:
        """Answer every item that has no answer yet, `at_once` of them at a time."""
        missing = [item for item in items if self.result(item) is None]
        done = len(items) - len(missing)
        print(f"{done} of {len(items)} done", flush=True)
        with ThreadPoolExecutor(at_once) as pool:
            asked = {pool.submit(work, item): item for item in missing}
            try:
                for future in as_completed(asked):
                    self.append(asked[future], future.result())
                    done += 1
                    print(f"{done} of {len(items)} done: {json.dumps(asked[future])}", flush=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def head(self, items: Iterable[Item]) -> str:
        """Where the answers to these items come from, as a line of Markdown."""
        items = list(items)
        lines = [line for item in items if (line := self.line(item))]
        facts = [unique(line[key] for line in lines) for key in ("machine", "commit", "date")]
        part = "" if len(lines) == len(items) else f" **{len(lines)} of {len(items)} measured.**"
        return "Machine: {}; commit {}; {}.".format(*facts) + part


def unique(words: Iterable[str]) -> str:
    """The different ones, in order of appearance."""
    return " and ".join(dict.fromkeys(words)) or "nothing measured yet"


def machine() -> str:
    """Processor, its matrix units, cores, and the versions that decide speed."""
    import torch

    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    units = "with AMX" if torch.cpu._is_amx_tile_supported() else "without AMX"
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor} {units}, {os.cpu_count()} cores, torch {version('torch')}, Python {platform.python_version()}"


def commit() -> str:
    """The short hash of the commit that was measured; "+" if files of the package differ from it."""
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "equipoise"], cwd=ROOT, capture_output=True)
    return (answer.stdout.strip() or "unknown") + "+" * (changed.returncode == 1)


def today() -> str:
    """The date in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def environment(threads: int) -> dict[str, str]:
    """The environment of a process that may use so many threads, and that finds this package."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**os.environ, **limits, "PYTHONPATH": str(ROOT)}


def in_child(script: str, item: Item, threads: int, *words: str) -> Result:
    """The answer of a fresh process to one item: the last line that `script --item JSON WORDS` prints, as JSON."""
    command = [sys.executable, script, "--item", json.dumps(item), *words]
    done = subprocess.run(command, env=environment(threads), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-3000:]}")
    answer: Result = json.loads(done.stdout.splitlines()[-1])
    return answer


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """The arguments that every benchmark has."""
    made = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--table", action="store_true", help="measure nothing, write the table from what is there")
    made.add_argument("--out", type=Path, default=HERE, help="where the table and results/ go")
    made.add_argument("--item", type=json.loads, help=argparse.SUPPRESS)
    return made


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median [minimum, maximum]."""
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
