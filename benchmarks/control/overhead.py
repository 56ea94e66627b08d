"""What do monitoring and control cost? Steps per CPU second of `dcgan:lab32`, each controller against a bare step.

    python benchmarks/control/overhead.py             about 8 minutes of CPU of one core; a restart continues
    python benchmarks/control/overhead.py --table     rewrite overhead.md from results/overhead.jsonl

Method. Digits, `dcgan:lab32` at its width of 64, batch size 128 as in throughput.py, the precision that `auto` selects,
one thread, processor time; sampling, evaluation, checkpoints and repair are off. All runs are in one process and are
interleaved, block by block. A run is `equipoise.training.loop.train` on an assembled experiment, with the pilot, probes
of training and held-out reals, and its controller. Bare is `run_step` alone, on a second state, with the current knobs
of the run: what a knob makes the networks do, such as augmentation, is not the cost of the controller. A block starts
with a step that is not counted; then every ordinary step is followed by a bare one, and the last step has a reading and
probes. A reading follows each 50th step, so ordinary steps and those with a reading are weighted 49 : 1.

  ratio    steps per second of the run / of bare ones, a number per block. It is a quotient of two long times, so
           other processes on the machine change it by several per cent
  outside  the time of the loop outside of `run_step`, and in it for what is measured only for a reading, as a share
           of a bare step: the same cost with less variation, some tenths of a per cent, which is more than the
           differences between controllers

Runs are 2,000 steps long, so that learned policies, which decide forty times per run, decide at every reading. The
policies are the shipped ones. Expected: at most 3 %.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from _plane import HERE
from _results import Item, Result, Results, create_parser, format_range, table, write

from equipoise.core.events import Event, Sensed, Stepped
from equipoise.core.model import StepRecord
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.pilot import DENSE_STEPS, SENSE_EVERY
from equipoise.training import loop
from equipoise.training.loop import Training, train
from equipoise.training.step import run_step

ARMS = (
    *("fixed", "annealed", "ada", "rank", "gap_aware", "balance", "random", "chain"),
    *("constraint", "confident_ada", "epochs", "update_balance", "update_size", "plateau", "decline"),
    *("learnable", "learnable:suite", "time_only", "ppo", "ppo:suite"),
)
LENGTH, BATCH, ORDINARY, ROUNDS = 2_000, 128, 2, 5
TARGET = 0.03


def build_training(controller: str) -> Training:
    """Assemble a run."""
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
    disabled: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
    return assemble(dataclasses.replace(experiment, **disabled), None)


class TimedStep:
    """Replacement of `run_step` that sums its CPU seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, *args: Any, **options: Any) -> StepRecord:
        """Call `run_step`."""
        start_time = time.process_time()
        record = run_step(*args, **options)
        self.seconds += time.process_time() - start_time
        return record


class Monitored:
    """A run of the loop, and bare steps for comparison."""

    def __init__(self, controller: str, bare: Training, timed_step: TimedStep) -> None:
        self.training, self.bare, self.timed_step = build_training(controller), bare, timed_step
        self.events: Iterator[Any] = train(self.training)

    def until(self, kind: type[Event], step: int) -> tuple[float, float]:
        """Run the loop up to an event; return its CPU seconds, and those outside of `run_step`."""
        start_time, inside = time.process_time(), self.timed_step.seconds
        next(event for event in self.events if isinstance(event, kind) and event.step == step)
        duration = time.process_time() - start_time
        return duration, duration - (self.timed_step.seconds - inside)

    def bare_step(self) -> float:
        """Return the CPU seconds of a bare step with the knobs and the step number of the run's last one."""
        state, pilot = self.training.state, self.training.pilot
        self.bare.state.step = state.step - 1
        start_time = time.process_time()
        run_step(self.bare.state, self.bare.streams.train, pilot.knobs, (state.step - 1) / LENGTH)
        return time.process_time() - start_time

    def block(self) -> dict[str, float]:
        """Return seconds per step (ordinary and with a reading, 49 : 1), of a bare step, and the share outside."""
        state = self.training.state
        reading_step = (max(state.step, DENSE_STEPS) // SENSE_EVERY + 1) * SENSE_EVERY
        state.step = reading_step - ORDINARY - 2
        self.until(Stepped, reading_step - ORDINARY - 1)
        ours, outside, bare = [], [], []
        for step in range(reading_step - ORDINARY, reading_step):
            duration, outside_of_step = self.until(Stepped, step)
            ours.append(duration)
            outside.append(outside_of_step)
            bare.append(self.bare_step())
        last, outside_of_step = self.until(Sensed, reading_step)
        baseline = statistics.mean(bare)
        measuring = (
            last
            - outside_of_step
            - statistics.mean(duration - additional for duration, additional in zip(ours, outside, strict=True))
        )
        every = SENSE_EVERY - 1
        return {
            "ours": (every * statistics.mean(ours) + last) / SENSE_EVERY,
            "bare": baseline,
            "outside": (every * statistics.mean(outside) + outside_of_step + measuring) / SENSE_EVERY / baseline,
        }


def measure(item: Item) -> Result:
    """Measure all blocks of every arm."""
    torch.set_num_threads(1)
    timed_step, bare = TimedStep(), build_training("fixed")
    original: Callable[..., StepRecord] = loop.run_step
    loop.run_step = timed_step
    try:
        runs = {arm: Monitored(arm, bare, timed_step) for arm in item["arms"]}
        rounds = []
        for number in range(item["rounds"]):
            order = [*item["arms"]][number:] + [*item["arms"]][:number]
            rounds.append({arm: runs[arm].block() for arm in order})
            print(f"round {number + 1} of {item['rounds']} finished", flush=True)
    finally:
        loop.run_step = original
    return {"precision": bare.state.precision, "blocks": {arm: [one[arm] for one in rounds] for arm in runs}}


def write_table(results: Results, item: Item, out: Any) -> None:
    result = results.result(item)
    if result is None:
        return
    rows = []
    for arm, blocks in result["blocks"].items():
        rates = [format_range([1 / block[name] for block in blocks]) for name in ("ours", "bare")]
        ratios = [block["bare"] / block["ours"] for block in blocks]
        outside = [100 * block["outside"] for block in blocks]
        verdict = "yes" if statistics.median(outside) <= 100 * TARGET else "no"
        rows.append((arm, *rates, format_range(ratios, ".3f"), f"**{format_range(outside, '.2f')} %**", verdict))
    columns = ("controller", "steps per CPU second", "bare, same knobs", "ratio", "outside of the step", "at most 3 %")
    write(
        out / "overhead.md",
        "# Cost of monitoring and control",
        f"`python benchmarks/control/overhead.py`; {results.provenance([item])}",
        f"`dcgan:lab32` on digits, width 64, batch size {BATCH}, {result['precision']}, one thread, CPU seconds; a "
        f"reading every {SENSE_EVERY} steps. {item['rounds']} rounds of interleaved blocks in one process: median "
        "[minimum, maximum]. The ratio is of whole steps and varies with the load of the machine; the share outside of "
        "the step is the same cost measured directly, with a variation of some tenths of a per cent, which is more "
        "than the differences between controllers. Method: docstring of the script.",
        table(columns, rows),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="blocks of each controller")
    parser.set_defaults(out=HERE)
    args = parser.parse_args()
    item: Item = {"arms": list(ARMS), "rounds": args.rounds}
    results = Results(args.out / "results" / "overhead.jsonl")
    if not args.table:
        results.measure([item], measure)
    write_table(results, item, args.out)


if __name__ == "__main__":
    main()
