"""Sentences per second: games of sentences in the loop of this package with all watching on, against plain loops.

    python benchmarks/text_speed.py             about 2 minutes of one core; a restart goes on
    python benchmarks/text_speed.py --table     rewrite text_speed.md from results/text_speed.jsonl

How. The same networks (the defaults of `seqgan` and `textgan`) and sentences (`sentences`, batches of 64), fp32, one
thread, in seconds of the processor. A block is 20 steps of one part of a run; the loops take turns, 3 rounds after one
that does not count; ratios are of the two blocks of one round.

  plain   `_plain_text.py`, the loops of a tutorial; that of textgan with its kernels of all differences, as the formula
          is written, and once more by `torch.cdist`
  ours    `equipoise.training.loop.train` on what `launch.assemble` builds; the part is chosen by setting the step
          counter, past the first 100 steps, which are all sensed. A block times ordinary steps and one that is sensed
          and probed, and counts them 49 : 1, as they come

Expected: at least 1.0 over a whole run of each. By likelihood alone ours is slower. Profiled on a step of 8 ms: the
reading every 50 steps costs 50 ms, of which 40 go to the discriminator's look at 512 sentences, so 1 ms a step; the
running average 0.26 ms, the tally 0.2 ms, ends that do not count 0.2 ms; the fused Adam saves 0.5 ms.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from _plain_text import PlainSeqGAN, PlainTextGAN, by_cdist, by_differences
from _results import Item, Result, Results, in_child, parser, spread, table, write
from torch import Tensor

from equipoise.core.data import Stream
from equipoise.core.events import Sensed, Stepped
from equipoise.experiment.launch import assemble
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.pilot.pilot import SENSE_EVERY
from equipoise.training.loop import train


class Part(NamedTuple):
    """A part of a run: a step from which a block of it runs, and its steps in `equipoise train sentences`."""

    start: int
    steps: int


GANS: Mapping[str, Mapping[str, Part]] = {
    "seqgan": {"likelihood": Part(200, 1200), "discriminator": Part(1220, 100), "game": Part(1300, 300)},
    "textgan": {"autoencoding": Part(200, 1000), "swapping": Part(1020, 200), "game": Part(1220, 400)},
}
SQUARED = {"differences": by_differences, "cdist": by_cdist}
STEPS, ROUNDS, BATCH = 20, 3, 64


def plain_block(step: Callable[[Tensor], None], stream: Stream) -> float:
    """Seconds of one block of a plain loop."""
    begun = time.process_time()
    for index in range(STEPS):
        step(stream.batch(index).real)
    return time.process_time() - begun


class Ours:
    """The package's loop."""

    def __init__(self, model: str) -> None:
        asked = Experiment(data=PlugSpec("sentences"), model=PlugSpec(model), threads=1, device="cpu", steps=100_000)
        nothing: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
        self.training = assemble(dataclasses.replace(complete(asked), **nothing), None)
        self.training.pilot.sense_every = STEPS
        self.events: Iterator[Any] = train(self.training)

    def block(self, start: int) -> tuple[float, float]:
        """Seconds of an ordinary step, and of one that is sensed."""
        self.training.state.step = start
        begun = time.process_time()
        next(event for event in self.events if isinstance(event, Stepped) and event.step == start + STEPS - 1)
        ordinary = (time.process_time() - begun) / (STEPS - 1)
        begun = time.process_time()
        next(event for event in self.events if isinstance(event, Sensed))
        return ordinary, time.process_time() - begun


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    ours = Ours(item["gan"])
    made = ours.training.state.model
    plain = PlainSeqGAN(made) if item["gan"] == "seqgan" else PlainTextGAN(made, SQUARED[item["kernel"]])
    spent: dict[str, dict[str, list[float]]] = {}
    for name, part in GANS[item["gan"]].items():
        stream, step = ours.training.streams.train, plain.parts[name]
        rounds = [(plain_block(step, stream) / STEPS, *ours.block(part.start)) for _ in range(ROUNDS + 1)][1:]
        spent[name] = dict(zip(("plain", "ordinary", "sensed"), map(list, zip(*rounds, strict=True)), strict=True))
    return {"seconds": spent}


def rows_of(item: Item, spent: Mapping[str, Mapping[str, Sequence[float]]]) -> list[tuple[str, ...]]:
    """Of each part, and of a whole run: rates, ratios, and the same of ordinary steps alone."""
    parts, model = GANS[item["gan"]], ", ".join(str(item[key]) for key in ("gan", "kernel") if key in item)
    each = {name: [_step(spent[name], turn) for turn in range(ROUNDS)] for name in parts}
    count = sum(part.steps for part in parts.values())
    each["a whole run"] = [
        (*(sum(part.steps * each[name][turn][kind] for name, part in parts.items()) / count for kind in range(3)),)
        for turn in range(ROUNDS)
    ]
    rows = []
    for name, rounds in each.items():
        rates = [f"{BATCH / statistics.median(one[kind] for one in rounds):,.0f}" for kind in (0, 1)]
        ratios = [spread([one[0] / one[kind] for one in rounds]) for kind in (1, 2)]
        rows.append((model, name, *rates, *ratios))
    return rows


def _step(spent: Mapping[str, Sequence[float]], turn: int) -> tuple[float, ...]:
    """Seconds of a step: plain, ours with its share of watching, ours between two readings."""
    ordinary = spent["ordinary"][turn]
    watched = ((SENSE_EVERY - 1) * ordinary + spent["sensed"][turn]) / SENSE_EVERY
    return spent["plain"][turn], watched, ordinary


def write_table(results: Results, items: Sequence[Item]) -> None:
    result = [(item, one) for item in items if (one := results.result(item))]
    rows = [row for item, one in result for row in rows_of(item, one["seconds"])]
    head = ("GAN", "part of a run", "plain", "ours", "ours / plain", "between two readings")
    write(
        results.path.parents[1] / "text_speed.md",
        "# Games of sentences: sentences per second",
        "Real sentences per second of the processor, one thread, fp32; ratios are of the blocks of one round: median "
        "[least, most], with all watching and between two readings. How: `benchmarks/text_speed.py`.",
        table(head, rows),
        results.head(items),
    )


def main() -> None:
    asked = parser(__doc__).parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items: list[Item] = [{"gan": "seqgan"}, *({"gan": "textgan", "kernel": kernel} for kernel in SQUARED)]
    results = Results(asked.out / "results" / "text_speed.jsonl")
    if not asked.table:
        results.measure(items, lambda one: in_child(__file__, one, threads=1))
    write_table(results, items)


if __name__ == "__main__":
    main()
