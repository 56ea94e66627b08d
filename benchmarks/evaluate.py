"""How long `equipoise evaluate` takes for 10,000 digits, and what its metrics say of digits that were spoilt.

    python benchmarks/evaluate.py             about 3 minutes; a restart goes on
    python benchmarks/evaluate.py --table     rewrite evaluate.md from results/evaluate.jsonl

How. Speed: a run of 300 steps of the default recipe, then `equipoise evaluate RUN --json` as a process of its own on
one thread, three times; sampling, features, intervals and floors included. Seconds by the clock and of the processor:
on a busy machine only the latter mean something; how many processes wait for a core is told. Sense: 1,000 training
digits, as they are and spoilt in known ways, beside the 1,000 held-out ones.

Expected: under 60 s; figures that get worse with each way of spoiling that they are made for.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from _results import Item, Result, Results, environment, in_child, parser, spread, table, write

METRICS = "fd_digits,kd_digits,fd_pixels,precision,recall,density,coverage,auth_pct,c_t"
LIMIT = 60.0
SPOILT = (
    "as they are",
    "noise of 0.1",
    "noise of 0.4",
    "blurred over 3 pixels",
    "no threes",
    "threes alone",
    "ten digits, 100 times each",
    "half of them what they are, half copies of the other half",
)


def speed(item: Item) -> Result:
    """Seconds of the command, by the clock and of the processor, and of each metric."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train = ["train", "digits", "--steps", str(item["steps"]), "--threads", "1", "--out", str(run)]
        called(train)
        seconds, processor, answer = [], [], {}
        for _ in range(item["repeats"]):
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            answer = json.loads(called(["evaluate", str(run), "--json"]))
            seconds.append(time.perf_counter() - begun)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    each = {row["metric"]: row["seconds"] for row in answer["metrics"]}
    count = answer["protocol"]["samples"]["count"]
    return {"seconds": seconds, "processor": processor, "each": each, "samples": count, "load": os.getloadavg()[0]}


def called(words: list[str]) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "equipoise", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment(1)).stdout


def sense(item: Item) -> Result:
    """Every metric of 1,000 spoilt digits."""
    import numpy as np

    from equipoise.evaluation.evaluate import evaluate
    from equipoise.evaluation.subject import Asked

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npy"
        np.save(path, _spoilt(item["spoilt"]).numpy())
        result = evaluate(Asked(samples=path, against="digits", metrics=tuple(METRICS.split(","))))
    return {row.metric: [row.value, *(row.interval or ())] for row in result.rows}


def _spoilt(how: str):  # type: ignore[no-untyped-def]
    """1,000 digits (N, 1, 32, 32) in [-1, 1]."""
    import torch
    from torch.nn import functional as F

    from equipoise.data.digits import Digits

    whole = Digits().stream("train", 4000, 0).batch(0)
    images, names = whole.real, whole.condition
    noise = torch.randn(1000, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    ways: Mapping[str, Callable[[], torch.Tensor]] = {
        "as they are": lambda: images[:1000],
        "noise of 0.1": lambda: (images[:1000] + 0.1 * noise).clamp(-1, 1),
        "noise of 0.4": lambda: (images[:1000] + 0.4 * noise).clamp(-1, 1),
        "blurred over 3 pixels": lambda: F.avg_pool2d(F.pad(images[:1000], (1, 1, 1, 1), value=-1.0), 3, 1),
        "no threes": lambda: images[names != 3][:1000],
        "threes alone": lambda: images[names == 3].repeat(3, 1, 1, 1)[:1000],
        "ten digits, 100 times each": lambda: images[:10].repeat(100, 1, 1, 1),
        "half of them what they are, half copies of the other half": lambda: images[:500].repeat(2, 1, 1, 1),
    }
    return ways[how]()


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeats", type=int, default=3, help="runs of the command")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(sense(asked.item)))
        return
    fast: Item = {"what": "speed", "steps": 300, "repeats": asked.repeats}
    slow: list[Item] = [{"what": "sense", "spoilt": how} for how in SPOILT]
    results = Results(asked.out / "results" / "evaluate.jsonl")
    if not asked.table:
        results.measure([fast], speed)
        results.measure(slow, lambda item: in_child(__file__, item, 1))
    paragraphs = ["# Judging samples: how long it takes, and what metrics say", results.head([fast, *slow])]
    if matches := results.result(fast):
        rows = [
            ["by the clock", spread(matches["seconds"]), f"{LIMIT:.0f}"],
            ["of the processor", spread(matches["processor"]), ""],
        ]
        paragraphs += [
            f"`equipoise evaluate RUN` with {matches['samples']:,} digits, one thread, while "
            f"{matches['load']:.0f} processes wanted a core. Median [minimum, maximum].",
            table(("seconds", "measured", "limit"), rows),
            "Of these, by metric (the first one has the network look at all samples and reals): "
            + ", ".join(f"`{name}` {seconds:.1f}" for name, seconds in matches["each"].items())
            + ".",
        ]
    names = METRICS.split(",")
    lines = [
        [item["spoilt"], *(f"{result[name][0]:.3g}" for name in names)]
        for item in slow
        if (result := results.result(item))
    ]
    paragraphs += ["1,000 training digits beside the 1,000 held-out ones.", table(("digits", *names), lines)]
    paragraphs += [
        "These digits were taken from the training data, so `auth_pct` and `c_t` call them copies; noise and blur hide "
        "that. A missing class shows in the distances, in recall and in coverage, and not in precision and density."
    ]
    write(asked.out / "evaluate.md", *paragraphs)


if __name__ == "__main__":
    main()
