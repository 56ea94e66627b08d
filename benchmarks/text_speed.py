"""Sentences per second of text models: the training loop of this package with monitoring, against plain loops.

    python benchmarks/text_speed.py             about 2 minutes of one core; a restart continues
    python benchmarks/text_speed.py --table     rewrite text_speed.md from results/text_speed.jsonl

Method. The same networks (the defaults of `seqgan` and `textgan`) and sentences (`sentences`, batch size 64), fp32, one
thread, in processor time. A block is 20 steps of one part of a run; the loops are interleaved, 3 rounds after a warm-up
round; ratios are of the two blocks of one round.

  plain   `_plain_text.py`, the loops of a tutorial; that of textgan with all differences in its kernels, as the formula
          is written, and also with `torch.cdist`
  ours    `equipoise.training.loop.train` on an assembled experiment; the part is selected by setting the step counter,
          after the first 100 steps, each of which has a reading. A block times ordinary steps and one with a reading
          and probes, and weights them 49 : 1, as in a run

Expected: at least 1.0 over a whole run of each. With likelihood alone ours is slower. Profile of a step of 8 ms: the
reading every 50 steps costs 50 ms, of which 40 are the discriminator on 512 sentences, so 1 ms per step; the running
average 0.26 ms, the statistics 0.2 ms, ignored end tokens 0.2 ms; the fused Adam saves 0.5 ms.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from _plain_text import PlainSeqGAN, PlainTextGAN, by_cdist, by_differences
from _results import Item, Result, Results, create_parser, format_range, run_in_subprocess, table, write
from torch import Tensor

from equipoise.core.data import Stream
from equipoise.core.events import Sensed, Stepped
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.pilot import SENSE_EVERY
from equipoise.training.loop import train


class Part(NamedTuple):
    """A part of a run: the step at which a block of it starts, and its steps in `equipoise train sentences`."""

    start: int
    steps: int


GANS: Mapping[str, Mapping[str, Part]] = {
    "seqgan": {"likelihood": Part(200, 1200), "discriminator": Part(1220, 100), "game": Part(1300, 300)},
    "textgan": {"autoencoding": Part(200, 1000), "swapping": Part(1020, 200), "game": Part(1220, 400)},
}
SQUARED = {"differences": by_differences, "cdist": by_cdist}
STEPS, ROUNDS, BATCH = 20, 3, 64


def plain_block(step: Callable[[Tensor], None], stream: Stream) -> float:
    """Return the time of one block of a plain loop."""
    start_time = time.process_time()
    for index in range(STEPS):
        step(stream.batch(index).real)
    return time.process_time() - start_time


class Ours:
    """The training loop of the package."""

    def __init__(self, model: str) -> None:
        experiment = Experiment(
            data=PlugSpec("sentences"), model=PlugSpec(model), threads=1, device="cpu", steps=100_000
        )
        disabled: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
        self.training = assemble(dataclasses.replace(complete(experiment), **disabled), None)
        self.training.pilot.sense_every = STEPS
        self.events: Iterator[Any] = train(self.training)

    def block(self, start: int) -> tuple[float, float]:
        """Return the time of an ordinary step, and of one with a reading."""
        self.training.state.step = start
        start_time = time.process_time()
        next(event for event in self.events if isinstance(event, Stepped) and event.step == start + STEPS - 1)
        ordinary = (time.process_time() - start_time) / (STEPS - 1)
        start_time = time.process_time()
        next(event for event in self.events if isinstance(event, Sensed))
        return ordinary, time.process_time() - start_time


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    ours = Ours(item["gan"])
    model = ours.training.state.model
    plain = PlainSeqGAN(model) if item["gan"] == "seqgan" else PlainTextGAN(model, SQUARED[item["kernel"]])
    seconds_of: dict[str, dict[str, list[float]]] = {}
    for name, part in GANS[item["gan"]].items():
        stream, step = ours.training.streams.train, plain.parts[name]
        rounds = [(plain_block(step, stream) / STEPS, *ours.block(part.start)) for _ in range(ROUNDS + 1)][1:]
        seconds_of[name] = dict(zip(("plain", "ordinary", "sensed"), map(list, zip(*rounds, strict=True)), strict=True))
    return {"seconds": seconds_of}


def rows_of(item: Item, seconds_of: Mapping[str, Mapping[str, Sequence[float]]]) -> list[tuple[str, ...]]:
    """Return rates and ratios of each part and of a whole run, with and without readings."""
    parts, model = GANS[item["gan"]], ", ".join(str(item[key]) for key in ("gan", "kernel") if key in item)
    parts_by_round = {name: [_step(seconds_of[name], round_number) for round_number in range(ROUNDS)] for name in parts}
    count = sum(part.steps for part in parts.values())
    parts_by_round["a whole run"] = [
        (
            *(
                sum(part.steps * parts_by_round[name][round_number][kind] for name, part in parts.items()) / count
                for kind in range(3)
            ),
        )
        for round_number in range(ROUNDS)
    ]
    rows = []
    for name, rounds in parts_by_round.items():
        rates = [f"{BATCH / statistics.median(one[kind] for one in rounds):,.0f}" for kind in (0, 1)]
        ratios = [format_range([one[0] / one[kind] for one in rounds]) for kind in (1, 2)]
        rows.append((model, name, *rates, *ratios))
    return rows


def _step(seconds_of: Mapping[str, Sequence[float]], round_number: int) -> tuple[float, ...]:
    """Return the time of a step: plain, ours with its share of readings, ours between two readings."""
    ordinary = seconds_of["ordinary"][round_number]
    with_readings = ((SENSE_EVERY - 1) * ordinary + seconds_of["sensed"][round_number]) / SENSE_EVERY
    return seconds_of["plain"][round_number], with_readings, ordinary


def write_table(results: Results, items: Sequence[Item]) -> None:
    result = [(item, one) for item in items if (one := results.result(item))]
    rows = [row for item, one in result for row in rows_of(item, one["seconds"])]
    head = ("model", "part of a run", "plain", "ours", "ours / plain", "between two readings")
    write(
        results.path.parents[1] / "text_speed.md",
        "# Text models: sentences per second",
        "Real sentences per second of processor time, one thread, fp32; ratios of the blocks of one round: median "
        "[minimum, maximum], with monitoring and between two readings. Method: docstring of "
        "`benchmarks/text_speed.py`.",
        table(head, rows),
        results.provenance(items),
    )


def main() -> None:
    args = create_parser(__doc__).parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    items: list[Item] = [{"gan": "seqgan"}, *({"gan": "textgan", "kernel": kernel} for kernel in SQUARED)]
    results = Results(args.out / "results" / "text_speed.jsonl")
    if not args.table:
        results.measure(items, lambda one: run_in_subprocess(__file__, one, threads=1))
    write_table(results, items)


if __name__ == "__main__":
    main()
