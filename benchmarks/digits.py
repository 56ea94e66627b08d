"""Quality of digits against seconds of training: the textbook's game, ours without labels, and the default recipe.

    python benchmarks/digits.py             about 13 minutes on 2 quiet cores; a restart goes on
    python benchmarks/digits.py --table     rewrite digits.md and digits.png from results/digits.jsonl

How. Three arms at width 32, batch 64, bf16, on 4,000 real digits, one thread a process, two processes at a time, two
seeds each, all with the package's loop and its watching:

  textbook   `dcgan:lab32` with width 32: batch normalisation in both networks, N(0, 0.02), Adam 2e-4 with beta1 0.5
  r1         the default networks and game (R1, no normalisation in D) without labels, constant learning rates
  ours       the default recipe: the same with labels by projection, and `annealed` learning rates

The first two are measured as they go, after so many seconds; ours anneals to the end of its run, so each point of its
curve is the end of a run of its own. Seconds are those of the processor (all threads of the process) spent in
training, watching included, measuring not; seconds by the clock stand beside them. Measured on 1,000 samples of the
averaged generator (which flatters the textbook, whose own loop has no average), computed in fp32, with the classifier
that the package ships: the head of `_judging.py` defines the columns. The picture digits_samples.png shows samples of
the longest run of ours, none picked.

Expected: ours, within 180 s: sure and agreeing on at least 93 %, spread at least 0.85 of the real digits'.
"""

import json
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from _digits_plot import draw
from _judging import generator_of, in_memory, judged, reals
from _results import Item, Result, Results, in_child, parser, spread, table, write

from equipoise.core.events import Event, Finished, Stepped
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes
from equipoise.training.loop import Training, train

ARMS: dict[str, dict[str, Any]] = {
    "textbook": {"gan": PlugSpec("dcgan:lab32", {"width": 32}), "controller": PlugSpec("fixed"), "steps": 1_000_000},
    "r1": {"gan": PlugSpec("dcgan", {"conditional": False}), "controller": PlugSpec("fixed"), "steps": 1_000_000},
    "ours": {},
}
TOLD = {"textbook": "textbook", "r1": "R1, without labels", "ours": "ours (default recipe)", "real": "real, held out"}
SECONDS = (20, 40, 80, 120, 200)
STEPS = (400, 800, 1200, 2000)
SHOWN = 8
"""Samples of each class in the picture."""
SCALE = """For scale, from the issue (2 quiet cores, another classifier of its own, so only roughly comparable):

| loop | sure, by seconds |
| --- | --- |
| the textbook loop | 46 % at 41 s, 54 % at 81 s, 71 % at 201 s |
| no normalisation in D, R1 gamma 1 every 8 steps, Adam 1e-3 with beta1 0 | 58, 77, 83 % |
| the same with a projection discriminator on labels | 80, 95, 97.5 % |
| real digits | 96 % |"""


def measure(item: Item, out: Path) -> Result:
    """The points of one run's curve."""
    if item["arm"] == "real":
        real = reals("held_out", 1000)
        return {"points": [{"seconds": 0.0, "clock": 0.0, "step": 0, **judged(real.real, real.condition)}]}
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
        shown = generator_of(training).sample(10 * SHOWN, seed=1)
        write_bytes(out / "digits_samples.png", encode_png(make_grid(shown.numpy(), columns=10)))
    return {"points": points}


def curve(training: Training, marks: list[float], samples: int) -> Iterable[dict[str, Any]]:
    """Train, and measure after so many seconds of the processor, or, without `marks`, at the end of the run."""
    events = train(training)
    seconds = clock = 0.0
    stops = marks or [float("inf")]
    while stops:
        cpu, begun = time.process_time(), time.monotonic()
        event: Event = next(events)
        seconds, clock = seconds + time.process_time() - cpu, clock + time.monotonic() - begun
        if isinstance(event, Finished) or (isinstance(event, Stepped) and seconds >= stops[0]):
            yield {"seconds": seconds, "clock": clock, "step": event.step, **quality(training, samples)}
            stops = [] if isinstance(event, Finished) else [mark for mark in stops if mark > seconds]


def quality(training: Training, samples: int) -> dict[str, Any]:
    """How good the averaged generator is now."""
    conditions = training.state.model.num_classes
    made = generator_of(training).sample(samples, seed=7)
    return judged(made, torch.arange(samples) % conditions if conditions else None)


def points_of(results: Results, items: list[Item]) -> dict[str, list[list[dict[str, Any]]]]:
    """Arm -> its moments -> that moment's point of every seed."""
    matches: dict[str, dict[Any, list[dict[str, Any]]]] = {}
    for item in items:
        if result := results.result(item):
            for number, point in enumerate(result["points"]):
                matches.setdefault(item["arm"], {}).setdefault(item.get("steps", number), []).append(point)
    return {arm: [moments[key] for key in sorted(moments)] for arm, moments in matches.items()}


def row(arm: str, points: list[dict[str, Any]]) -> list[str]:
    """A moment of an arm, over its seeds."""

    def each(name: str, form: str, factor: float = 1) -> str:
        values = [factor * point[name] for point in points if point[name] is not None]
        if not values:
            return "no labels"
        return spread(values, form) if len(values) > 1 else format(values[0], form)

    times = ["", "", ""] if arm == "real" else [each("seconds", ".0f"), each("clock", ".0f"), each("step", ".0f")]
    quality = [each("sure", ".1f", 100), each("agrees", ".1f", 100), each("spread", ".2f"), each("distance", ".3f")]
    return [TOLD[arm], *times, *quality]


def write_table(results: Results, items: list[Item], asked: Any) -> None:
    points = points_of(results, items)
    columns = (
        "arm",
        "seconds of CPU",
        "seconds by the clock",
        "steps",
        "sure, %",
        "agrees, %",
        "spread / real",
        "kernel distance",
    )
    rows = [row(arm, moment) for arm, moments in points.items() for moment in moments]
    draw(points, TOLD, asked.out / "digits.png")
    write(
        asked.out / "digits.md",
        "# Quality of digits against seconds of training",
        f"{results.head(items)} Median [minimum, maximum] of {asked.seeds} seeds, {asked.samples:,} samples each, one "
        "thread. Each row of ours is a run of that length. How: the head of `benchmarks/digits.py`. The classifier "
        "knows digits only and is sure of blobs, too: `sure` means something where the kernel distance is small. "
        "Spread is against training digits, to which the features were fitted: held-out ones come out above 1.",
        table(columns, rows),
        SCALE,
        "![curves of quality](digits.png)",
        "Samples of the longest run of ours, a class a column, none picked:",
        "![samples](digits_samples.png)",
    )


def items_of(asked: Any) -> list[Item]:
    """Everything to be measured, the long ones first."""
    rest = {"samples": asked.samples}
    items: list[Item] = []
    for arm, seed in product(("textbook", "r1"), range(asked.seeds)):
        items.append({"arm": arm, "seed": seed, "seconds": asked.seconds, **rest})
    for steps, seed in product(sorted(asked.steps, reverse=True), range(asked.seeds)):
        picture = seed == 0 and steps == max(asked.steps)
        items.append({"arm": "ours", "seed": seed, "steps": steps, "picture": picture, **rest})
    return [*items, {"arm": "real"}]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=2, help="runs of each arm")
    made.add_argument("--seconds", type=float, nargs="+", default=list(SECONDS), help="moments of the first two arms")
    made.add_argument("--steps", type=int, nargs="+", default=list(STEPS), help="lengths of runs of ours")
    made.add_argument("--samples", type=int, default=1000, help="samples that are judged")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item, asked.out)))
        return
    items = items_of(asked)
    results = Results(asked.out / "results" / "digits.jsonl")
    if not asked.table:
        results.measure(items, lambda item: in_child(__file__, item, 1, "--out", str(asked.out)), at_once=2)
    write_table(results, items, asked)


if __name__ == "__main__":
    main()
