"""Quality of digits against training time: the textbook settings, ours without labels, and the default recipe.

    python benchmarks/digits.py             about 13 minutes on 2 quiet cores; a restart continues
    python benchmarks/digits.py --table     rewrite digits.md and digits.png from results/digits.jsonl

Method. Three arms at width 32, batch size 64, bf16, on 4,000 real digits, one thread per process, two processes in
parallel, two seeds each, all with the training loop and the monitoring of the package:

  textbook   `dcgan:lab32` with width 32: batch normalisation in both networks, N(0, 0.02), Adam 2e-4 with beta1 0.5
  r1         the default networks and losses (R1, no normalisation in D) without labels, constant learning rates
  ours       the default recipe: the same with labels by projection, and `annealed` learning rates

The first two are measured during one run at given times; ours anneals until the end of a run, so each point of its
curve is the end of a separate run. Seconds are processor time (all threads of the process) of training, with
monitoring and without measurements; wall-clock seconds are listed, too. Quality is measured on 1,000 samples of the
averaged generator (which flatters the textbook, whose own loop has no average), computed in fp32, with the classifier
in the package: `_digit_samples.py` defines the columns. digits_samples.png shows uncurated samples of the longest run
of ours.

Expected: ours, within 180 s: at least 93 % confident and agreeing, diversity at least 0.85 of real digits.
"""

import json
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from _digit_samples import generator_of, in_memory, measure_quality, reals
from _digits_plot import draw
from _results import Item, Result, Results, create_parser, format_range, run_in_subprocess, table, write

from equipoise.core.events import Event, Finished, Stepped
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes
from equipoise.training.loop import Training, train

ARMS: dict[str, dict[str, Any]] = {
    "textbook": {"model": PlugSpec("dcgan:lab32", {"width": 32}), "controller": PlugSpec("fixed"), "steps": 1_000_000},
    "r1": {"model": PlugSpec("dcgan", {"conditional": False}), "controller": PlugSpec("fixed"), "steps": 1_000_000},
    "ours": {},
}
LABELS = {"textbook": "textbook", "r1": "R1, without labels", "ours": "default recipe", "real": "real digits, held out"}
SECONDS = (20, 40, 80, 120, 200)
STEPS = (400, 800, 1200, 2000)
PICTURE_ROWS = 8
"""Samples of each class in the picture."""
SCALE = """For orientation, results of another implementation (2 quiet cores, another classifier: roughly comparable):

| training loop | confident, by time |
| --- | --- |
| the textbook loop | 46 % at 41 s, 54 % at 81 s, 71 % at 201 s |
| no normalisation in D, R1 gamma 1 every 8 steps, Adam 1e-3 with beta1 0 | 58, 77, 83 % |
| the same with a projection discriminator for labels | 80, 95, 97.5 % |
| real digits | 96 % |"""


def measure(item: Item, out: Path) -> Result:
    """Measure the points of the curve of one run."""
    if item["arm"] == "real":
        real = reals("held_out", 1000)
        return {"points": [{"seconds": 0.0, "clock": 0.0, "step": 0, **measure_quality(real.real, real.condition)}]}
    settings = ARMS[item["arm"]] or {"steps": item["steps"]}
    shared: dict[str, Any] = {
        "data": PlugSpec("digits"),
        "precision": "bf16",
        "batch_size": 64,
        "threads": 1,
        "device": "cpu",
    }
    training = in_memory(Experiment(**shared, **settings, seed=item["seed"]))
    points = list(curve(training, list(item.get("seconds", [])), item["samples"]))
    if item.get("picture"):
        pictured = generator_of(training).sample(10 * PICTURE_ROWS, seed=1)
        write_bytes(out / "digits_samples.png", encode_png(make_grid(pictured.numpy(), columns=10)))
    return {"points": points}


def curve(training: Training, marks: list[float], samples: int) -> Iterable[dict[str, Any]]:
    """Train, and measure at these processor times, or at the end of the run if `marks` is empty."""
    events = train(training)
    seconds = clock = 0.0
    stops = marks or [float("inf")]
    while stops:
        cpu, start_time = time.process_time(), time.monotonic()
        event: Event = next(events)
        seconds, clock = seconds + time.process_time() - cpu, clock + time.monotonic() - start_time
        if isinstance(event, Finished) or (isinstance(event, Stepped) and seconds >= stops[0]):
            yield {"seconds": seconds, "clock": clock, "step": event.step, **quality(training, samples)}
            stops = [] if isinstance(event, Finished) else [mark for mark in stops if mark > seconds]


def quality(training: Training, samples: int) -> dict[str, Any]:
    """Measure the current quality of the averaged generator."""
    conditions = training.state.model.num_classes
    samples_of_generator = generator_of(training).sample(samples, seed=7)
    return measure_quality(samples_of_generator, torch.arange(samples) % conditions if conditions else None)


def points_of(results: Results, items: list[Item]) -> dict[str, list[list[dict[str, Any]]]]:
    """Map each arm to its points in time, and these to the result of every seed."""
    points: dict[str, dict[Any, list[dict[str, Any]]]] = {}
    for item in items:
        if result := results.result(item):
            for number, point in enumerate(result["points"]):
                points.setdefault(item["arm"], {}).setdefault(item.get("steps", number), []).append(point)
    return {arm: [moments[key] for key in sorted(moments)] for arm, moments in points.items()}


def row(arm: str, points: list[dict[str, Any]]) -> list[str]:
    """Return a table row: one point in time of an arm, over its seeds."""

    def each(name: str, form: str, factor: float = 1) -> str:
        values = [factor * point[name] for point in points if point[name] is not None]
        if not values:
            return "no labels"
        return format_range(values, form) if len(values) > 1 else format(values[0], form)

    times = ["", "", ""] if arm == "real" else [each("seconds", ".0f"), each("clock", ".0f"), each("step", ".0f")]
    quality = [each("sure", ".1f", 100), each("agrees", ".1f", 100), each("spread", ".2f"), each("distance", ".3f")]
    return [LABELS[arm], *times, *quality]


def write_table(results: Results, items: list[Item], args: Any) -> None:
    points = points_of(results, items)
    columns = (
        "arm",
        "processor time, s",
        "wall-clock time, s",
        "steps",
        "confident, %",
        "agrees, %",
        "diversity / real",
        "kernel distance",
    )
    rows = [row(arm, moment) for arm, moments in points.items() for moment in moments]
    draw(points, LABELS, args.out / "digits.png")
    write(
        args.out / "digits.md",
        "# Quality of digits against training time",
        f"{results.provenance(items)} Median [minimum, maximum] of {args.seeds} seeds, {args.samples:,} samples each, "
        "one thread. Each row of the default recipe is a run of that length. Method: docstring of "
        "`benchmarks/digits.py`. The classifier knows only digits and is confident about blobs, too: `confident` is "
        "meaningful where the kernel distance is small. Diversity is relative to training digits, to which the "
        "features were fitted: held-out digits are above 1.",
        table(columns, rows),
        SCALE,
        "![curves of quality](digits.png)",
        "Uncurated samples of the longest run of the default recipe, one class per column:",
        "![samples](digits_samples.png)",
    )


def items_of(args: Any) -> list[Item]:
    """Return everything to measure, long runs first."""
    rest = {"samples": args.samples}
    items: list[Item] = []
    for arm, seed in product(("textbook", "r1"), range(args.seeds)):
        items.append({"arm": arm, "seed": seed, "seconds": args.seconds, **rest})
    for steps, seed in product(sorted(args.steps, reverse=True), range(args.seeds)):
        picture = seed == 0 and steps == max(args.steps)
        items.append({"arm": "ours", "seed": seed, "steps": steps, "picture": picture, **rest})
    return [*items, {"arm": "real"}]


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each arm")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=list(SECONDS), help="times of measurement of the first two arms"
    )
    parser.add_argument(
        "--steps", type=int, nargs="+", default=list(STEPS), help="lengths of the runs of the default recipe"
    )
    parser.add_argument("--samples", type=int, default=1000, help="samples per measurement")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item, args.out)))
        return
    items = items_of(args)
    results = Results(args.out / "results" / "digits.jsonl")
    if not args.table:
        results.measure(items, lambda item: run_in_subprocess(__file__, item, 1, "--out", str(args.out)), processes=2)
    write_table(results, items, args)


if __name__ == "__main__":
    main()
