"""What do watching and control cost? Steps a CPU second on `dcgan:lab32`, each controller against a bare step.

    python benchmarks/control/overhead.py             about 5 minutes of CPU of one core; a restart goes on
    python benchmarks/control/overhead.py --table     rewrite overhead.md from results/overhead.jsonl

How. Digits, `dcgan:lab32` at its width of 64, batches of 128 as in throughput.py, the precision that `auto` takes, one
thread, seconds of the processor; sampling, evaluation, checkpoints and repair are off. All runs live in one process
and take turns, block by block. A run is `equipoise.training.loop.train` on what `launch.assemble` builds, with the
pilot, probes of training and held-out reals, and its controller. Bare is `run_step` alone, on a second state, with the
very knobs that the run has just then: what a knob makes the networks do, such as augmenting, is not the controller's
cost. A block begins with a step that does not count; then every ordinary step is followed by a bare one, and last comes
a step that is sensed and probed. A reading follows each 50th step, so ordinary and sensed steps count 49 : 1.

  ratio    steps a second of the run / of bare ones, a number a block. It is a quotient of two long times, so other
           work on the machine scatters it by several per cent
  outside  what the loop spends outside of `run_step`, and within it on what is measured for a reading alone, as a
           share of a bare step: the same cost with less scatter, some tenths of a per cent. That is more than lies
           between controllers

Runs are 2,000 steps long, so that learned policies, which decide forty times a run, decide at every reading. The
policies are the shipped ones. Expected: at most 5 % (ratio at least 1 / 1.05).
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from _plane import HERE
from _results import Item, Result, Results, parser, spread, table, write

from equipoise.core.events import Event, Sensed, Stepped
from equipoise.core.records import StepRecord
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.pilot import EAGER, SENSE_EVERY
from equipoise.training import loop
from equipoise.training.loop import Training, train
from equipoise.training.step import run_step

ARMS = (
    *("fixed", "annealed", "ada", "rank", "gap_aware", "balance", "random", "chain"),
    *("learnable", "time_only", "ppo"),
)
LENGTH, BATCH, ORDINARY, ROUNDS = 2_000, 128, 2, 5
TARGET = 0.05


def built(controller: str) -> Training:
    """A run, ready to train."""
    experiment = complete(
        Experiment(
            data=PlugSpec("digits"),
            model=PlugSpec("dcgan:lab32"),
            controller=PlugSpec(controller),
            batch_size=BATCH,
            steps=LENGTH,
            repair=False,
            threads=1,
            device="cpu",
        )
    )
    nothing: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
    return assemble(dataclasses.replace(experiment, **nothing), None)


class Within:
    """CPU seconds that the loop has spent in `run_step`; stands in its place."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, *asked: Any, **options: Any) -> StepRecord:
        """As `run_step`."""
        begun = time.process_time()
        record = run_step(*asked, **options)
        self.seconds += time.process_time() - begun
        return record


class Watched:
    """A run of the loop, and a bare step beside it."""

    def __init__(self, controller: str, bare: Training, within: Within) -> None:
        self.training, self.bare, self.within = built(controller), bare, within
        self.events: Iterator[Any] = train(self.training)

    def until(self, kind: type[Event], step: int) -> tuple[float, float]:
        """Let the loop run to an event: its CPU seconds, and those outside of `run_step`."""
        begun, inside = time.process_time(), self.within.seconds
        next(event for event in self.events if isinstance(event, kind) and event.step == step)
        taken = time.process_time() - begun
        return taken, taken - (self.within.seconds - inside)

    def beside(self) -> float:
        """CPU seconds of a bare step with the knobs, and at the place, of the run's last one."""
        state, pilot = self.training.state, self.training.pilot
        self.bare.state.step = state.step - 1
        begun = time.process_time()
        run_step(self.bare.state, self.bare.streams.train, pilot.knobs, (state.step - 1) / LENGTH)
        return time.process_time() - begun

    def block(self) -> dict[str, float]:
        """Seconds of a step, ordinary and sensed ones 49 : 1, of a bare one, and of what lies outside of the step."""
        state = self.training.state
        sensed = (max(state.step, EAGER) // SENSE_EVERY + 1) * SENSE_EVERY
        state.step = sensed - ORDINARY - 2
        self.until(Stepped, sensed - ORDINARY - 1)
        ours, outside, bare = [], [], []
        for step in range(sensed - ORDINARY, sensed):
            taken, rest = self.until(Stepped, step)
            ours.append(taken)
            outside.append(rest)
            bare.append(self.beside())
        last, rest = self.until(Sensed, sensed)
        plain = statistics.mean(bare)
        measuring = last - rest - statistics.mean(taken - more for taken, more in zip(ours, outside, strict=True))
        every = SENSE_EVERY - 1
        return {
            "ours": (every * statistics.mean(ours) + last) / SENSE_EVERY,
            "bare": plain,
            "outside": (every * statistics.mean(outside) + rest + measuring) / SENSE_EVERY / plain,
        }


def measure(item: Item) -> Result:
    """All blocks of every arm."""
    torch.set_num_threads(1)
    within, bare = Within(), built("fixed")
    original: Callable[..., StepRecord] = loop.run_step
    loop.run_step = within
    try:
        runs = {arm: Watched(arm, bare, within) for arm in item["arms"]}
        rounds = []
        for number in range(item["rounds"]):
            turns = [*item["arms"]][number:] + [*item["arms"]][:number]
            rounds.append({arm: runs[arm].block() for arm in turns})
            print(f"round {number + 1} of {item['rounds']} done", flush=True)
    finally:
        loop.run_step = original
    return {"precision": bare.state.precision, "blocks": {arm: [one[arm] for one in rounds] for arm in runs}}


def write_table(results: Results, item: Item, out: Any) -> None:
    result = results.result(item)
    if result is None:
        return
    rows = []
    for arm, blocks in result["blocks"].items():
        rates = [spread([1 / block[name] for block in blocks]) for name in ("ours", "bare")]
        ratios = [block["bare"] / block["ours"] for block in blocks]
        outside = [100 * block["outside"] for block in blocks]
        holds = "yes" if statistics.median(outside) <= 100 * TARGET else "no"
        rows.append((arm, *rates, spread(ratios, ".3f"), f"**{spread(outside, '.2f')} %**", holds))
    columns = ("watching with", "steps a CPU second", "bare, same knobs", "ratio", "outside of the step", "at most 5 %")
    write(
        out / "overhead.md",
        "# What watching and control cost",
        f"`python benchmarks/control/overhead.py`; {results.head([item])}",
        f"`dcgan:lab32` on digits, width 64, batches of {BATCH}, {result['precision']}, one thread, CPU seconds; a "
        f"reading each {SENSE_EVERY} steps. {item['rounds']} rounds of blocks that take turns in one process: median "
        "[least, most]. The ratio is of whole steps and scatters with whatever else the machine does; what lies "
        "outside of the step is the same cost measured directly, with some tenths of a per cent of scatter, which is "
        "more than lies between controllers. How: the head of the script.",
        table(columns, rows),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="blocks of each controller")
    made.set_defaults(out=HERE)
    asked = made.parse_args()
    item: Item = {"arms": list(ARMS), "rounds": asked.rounds}
    results = Results(asked.out / "results" / "overhead.jsonl")
    if not asked.table:
        results.measure([item], measure)
    write_table(results, item, asked.out)


if __name__ == "__main__":
    main()
