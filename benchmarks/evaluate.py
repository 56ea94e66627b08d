"""Duration of `equipoise evaluate` for 10,000 digits, and the values of its metrics for degraded digits.

    python benchmarks/evaluate.py             about 3 minutes; a restart continues
    python benchmarks/evaluate.py --table     rewrite evaluate.md from results/evaluate.jsonl

Method. Speed: a run of 300 steps of the default recipe, then `equipoise evaluate RUN --json` in a separate process with
one thread, three times; sampling, features, intervals and real-vs-real references are included. Wall-clock and
processor time: on a busy machine only the latter is meaningful; the load is reported. Sensitivity: 1,000 training
digits, unchanged and degraded in known ways, against the 1,000 held-out ones.

Expected: under 60 s; values that get worse with each degradation that a metric is made for.
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

from _results import Item, Result, Results, create_parser, environment, format_range, run_in_subprocess, table, write

METRICS = "fd_digits,kd_digits,fd_pixels,precision,recall,density,coverage,auth_pct,c_t"
LIMIT = 60.0
DISPLAYED = {
    "as they are": "unchanged",
    "noise of 0.1": "noise, deviation 0.1",
    "noise of 0.4": "noise, deviation 0.4",
    "blurred over 3 pixels": "blurred, 3 × 3 pixels",
    "threes alone": "only threes",
    "ten digits, 100 times each": "ten digits, 100 copies each",
    "half of them what they are, half copies of the other half": "500 digits, two copies each",
}
"""Item -> its name in the table, where the name in the results file is longer."""
DEGRADATIONS = (
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
    """Measure wall-clock and processor time of the command, and the time of each metric."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train = ["train", "digits", "--steps", str(item["steps"]), "--threads", "1", "--out", str(run)]
        run_command(train)
        seconds, processor, output = [], [], {}
        for _ in range(item["repeats"]):
            before, start_time = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            output = json.loads(run_command(["evaluate", str(run), "--json"]))
            seconds.append(time.perf_counter() - start_time)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    by_metric = {row["metric"]: row["seconds"] for row in output["metrics"]}
    count = output["protocol"]["samples"]["count"]
    return {"seconds": seconds, "processor": processor, "each": by_metric, "samples": count, "load": os.getloadavg()[0]}


def run_command(arguments: list[str]) -> str:
    """Return what a command prints."""
    command = [sys.executable, "-m", "equipoise", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment(1)).stdout


def sense(item: Item) -> Result:
    """Compute every metric on 1,000 degraded digits."""
    import numpy as np

    from equipoise.evaluation.evaluate import evaluate
    from equipoise.evaluation.subject import EvaluationRequest

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npy"
        np.save(path, _degraded(item["spoilt"]).numpy())
        result = evaluate(EvaluationRequest(samples=path, against="digits", metrics=tuple(METRICS.split(","))))
    return {row.metric: [row.value, *(row.interval or ())] for row in result.rows}


def _degraded(degradation: str):  # type: ignore[no-untyped-def]
    """Return 1,000 digits (N, 1, 32, 32) in [-1, 1]."""
    import torch
    from torch.nn import functional as F

    from equipoise.data.digits import Digits

    whole = Digits().stream("train", 4000, 0).batch(0)
    images, names = whole.real, whole.condition
    noise = torch.randn(1000, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    degradations: Mapping[str, Callable[[], torch.Tensor]] = {
        "as they are": lambda: images[:1000],
        "noise of 0.1": lambda: (images[:1000] + 0.1 * noise).clamp(-1, 1),
        "noise of 0.4": lambda: (images[:1000] + 0.4 * noise).clamp(-1, 1),
        "blurred over 3 pixels": lambda: F.avg_pool2d(F.pad(images[:1000], (1, 1, 1, 1), value=-1.0), 3, 1),
        "no threes": lambda: images[names != 3][:1000],
        "threes alone": lambda: images[names == 3].repeat(3, 1, 1, 1)[:1000],
        "ten digits, 100 times each": lambda: images[:10].repeat(100, 1, 1, 1),
        "half of them what they are, half copies of the other half": lambda: images[:500].repeat(2, 1, 1, 1),
    }
    return degradations[degradation]()


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of the command")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(sense(args.item)))
        return
    speed_item: Item = {"what": "speed", "steps": 300, "repeats": args.repeats}
    sense_items: list[Item] = [{"what": "sense", "spoilt": degradation} for degradation in DEGRADATIONS]
    results = Results(args.out / "results" / "evaluate.jsonl")
    if not args.table:
        results.measure([speed_item], speed)
        results.measure(sense_items, lambda item: run_in_subprocess(__file__, item, 1))
    paragraphs = [
        "# Evaluation: duration, and sensitivity of the metrics",
        results.provenance([speed_item, *sense_items]),
    ]
    if speed_result := results.result(speed_item):
        rows = [
            ["wall-clock", format_range(speed_result["seconds"]), f"{LIMIT:.0f}"],
            ["processor", format_range(speed_result["processor"]), ""],
        ]
        paragraphs += [
            f"`equipoise evaluate RUN` with {speed_result['samples']:,} digits, one thread, at a load of "
            f"{speed_result['load']:.0f}. Median [minimum, maximum].",
            table(("time", "seconds", "limit"), rows),
            "By metric, in seconds (the first one computes the features of all samples and reals): "
            + ", ".join(f"`{name}` {seconds:.1f}" for name, seconds in speed_result["each"].items())
            + ".",
        ]
    names = METRICS.split(",")
    rows_of_metrics = [
        [DISPLAYED.get(item["spoilt"], item["spoilt"]), *(f"{result[name][0]:.3g}" for name in names)]
        for item in sense_items
        if (result := results.result(item))
    ]
    paragraphs += ["1,000 training digits against the 1,000 held-out ones.", table(("digits", *names), rows_of_metrics)]
    paragraphs += [
        "These digits are training data, so `auth_pct` and `c_t` detect copies; noise and blur hide this. A missing "
        "class affects the distances, recall and coverage, but not precision and density."
    ]
    write(args.out / "evaluate.md", *paragraphs)


if __name__ == "__main__":
    main()
