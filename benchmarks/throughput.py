"""Images per second: the training loop of this package with monitoring, against the loop of a tutorial.

    python benchmarks/throughput.py             about 12 minutes on 2 quiet cores; a restart continues
    python benchmarks/throughput.py --table     rewrite throughput.md from results/throughput.jsonl

Method. Both loops train the same networks on the same batches: those of the digits lab (`dcgan:lab32`, digits, batch
size 128) and of CelebA (`dcgan:celeba64`, random 64 x 64 colour images, batch size 32). A case is networks x precision
x threads, in a new process. The arms are interleaved in blocks, in rotating order, seven rounds or more:

  textbook   fp32; the loss of each network by BCEWithLogits; fakes shared by both; backward through everything, so that
             the generator's backward pass also computes gradients of the discriminator's weights; Adam; `.item()` of
             both losses in each step. It is always fp32, as in the tutorials.
  ours       `equipoise.training.loop.train` on an assembled experiment, with the pilot, the controller `annealed`, and
             probes of training and held-out reals; no sampling, evaluation or checkpoint.
  eager      the same in its first 100 steps, see below

The first 100 steps of a run have a reading each, later ones every 50 steps. Steady state is measured after the first
100: a block of ours times ordinary steps and then one with a reading and probes, and weights them 49 : 1; between
blocks the step counter is advanced to just before the next reading. One step before each block is not timed. Ratios are
of the two blocks of one round.

The cost of monitoring is measured per step, because the speed of a shared machine changes within seconds: in the block
of ours, each step is followed by one of a second run that is trained by `run_step` alone. The cost of a round is the
median ratio of such pairs, plus a fiftieth of the additional time of the step with a reading. The first 100 steps are
reported separately, as the seconds that they add to a run, once.

Expected: bf16 at least 1.5 times the textbook's images per second on one thread and 1.3 on two (target 2.0), fp32 at
least 1.0; monitoring at most 5 %.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, cast

import torch
from _results import Item, Result, Results, create_parser, format_range, run_in_subprocess, table, write
from torch import Tensor, nn

from equipoise.core.data import Stream
from equipoise.core.events import Event, Sensed, Stepped
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.models._adversarial_extensions import Discriminator
from equipoise.pilot.pilot import DENSE_STEPS, SENSE_EVERY
from equipoise.training.loop import Training, train
from equipoise.training.step import run_step

NETWORKS: dict[str, dict[str, Any]] = {
    "lab32": {"data": "digits", "batch_size": 128},
    "celeba64": {"data": "benchmarks._random_images", "batch_size": 32},
}
LATENT = 100
TARGETS = {("bf16", 1): 1.5, ("bf16", 2): 1.3, ("fp32", 1): 1.0, ("fp32", 2): 1.0}


def build_training(item: Item) -> Training:
    """Assemble one run of a case, the same for every arm."""
    settings = NETWORKS[item["networks"]]
    experiment = complete(
        Experiment(
            data=PlugSpec(settings["data"]),
            model=PlugSpec(f"dcgan:{item['networks']}"),
            controller=PlugSpec("annealed"),
            batch_size=settings["batch_size"],
            precision=item["precision"],
            threads=item["threads"],
            device="cpu",
            steps=100_000,
        )
    )
    disabled: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
    return assemble(dataclasses.replace(experiment, **disabled), None)


class Monitored:
    """The loop of the package. The seconds per step of a block are those of ordinary steps and steps with a reading,
    49 : 1.
    """

    def __init__(self, training: Training) -> None:
        self.state = training.state
        self.events: Iterator[Any] = train(training)

    def until(self, kind: type[Event], step: int) -> float:
        """Run the loop up to an event, and return the time then."""
        next(event for event in self.events if isinstance(event, kind) and event.step == step)
        return time.perf_counter()

    def steady(self, steps: int, other: Callable[[], None]) -> tuple[float, float, float]:
        """Time `steps` ordinary steps and one with a reading in steady state, with `other` after each but the last.

        Returns seconds per step, the cost of monitoring as a share of `other`, and seconds of `other`.
        """
        steps = min(steps, SENSE_EVERY - 2)
        reading_step = (max(self.state.step, DENSE_STEPS) // SENSE_EVERY + 1) * SENSE_EVERY
        if reading_step - steps - 2 < self.state.step:
            reading_step += SENSE_EVERY
        self.state.step = reading_step - steps - 2
        self.until(Stepped, reading_step - steps - 1)
        other()
        ours, others = [], []
        for step in range(reading_step - steps, reading_step):
            start_time = time.perf_counter()
            end_time = self.until(Stepped, step)
            other()
            ours.append(end_time - start_time)
            others.append(time.perf_counter() - end_time)
        start_time = time.perf_counter()
        reading_time = self.until(Sensed, reading_step) - start_time
        baseline = statistics.median(others)
        pairs = statistics.median(own / reference for own, reference in zip(ours, others, strict=True))
        additional = (reading_time - statistics.median(ours)) / SENSE_EVERY / baseline
        return (
            ((SENSE_EVERY - 1) * statistics.mean(ours) + reading_time) / SENSE_EVERY,
            pairs - 1 + additional,
            baseline,
        )

    def eager(self, steps: int) -> float:
        """Return seconds per step of the first ones, each with a reading (but no probes)."""
        self.state.step = 0
        steps = min(steps, SENSE_EVERY - 2)
        return (-self.until(Stepped, 1) + self.until(Stepped, 1 + steps)) / steps


def timed(step: Callable[[], None]) -> Callable[[int], float]:
    """Wrap a plain step: time blocks of it, in seconds per step, without the first step."""

    def block(steps: int) -> float:
        step()
        start_time = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - start_time) / steps

    return block


def without_monitoring(training: Training) -> Callable[[], None]:
    """Return a training step of the package without the pilot."""
    knobs = training.pilot.knobs

    def step() -> None:
        run_step(training.state, training.streams.train, knobs, 0.0)

    return step


def textbook(generator: nn.Module, discriminator: Callable[[Tensor], Tensor], weights: Any, stream: Stream) -> Any:
    """Return a step of the tutorial loop. `weights`: those of the discriminator."""
    criterion = nn.BCEWithLogitsLoss()
    optimizer_d = torch.optim.Adam(weights, lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    index = 0

    def step() -> None:
        nonlocal index
        real = stream.batch(index).real
        index += 1
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))

        optimizer_d.zero_grad()
        loss_real = criterion(discriminator(real), ones)
        loss_real.backward()
        fake = generator(torch.randn(len(real), LATENT), None)
        loss_fake = criterion(discriminator(fake.detach()), zeros)
        loss_fake.backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        loss_g = criterion(discriminator(fake), ones)
        loss_g.backward()
        optimizer_g.step()

        (loss_real + loss_fake).item(), loss_g.item()

    return step


def tutorial_of(training: Training) -> Callable[[], None]:
    """Return the tutorial step on the networks and the stream of a run."""
    networks = training.state.model.networks
    generator, discriminator = networks["generator"], cast(Discriminator, networks["discriminator"])

    def logits(samples: Tensor) -> Tensor:
        return discriminator.logits(discriminator.features(samples), None)

    step: Callable[[], None] = textbook(generator, logits, discriminator.parameters(), training.streams.train)
    return step


def measure(item: Item) -> Result:
    """Measure all rounds of a case: seconds per step by arm, and the cost of monitoring."""
    monitored, other = Monitored(build_training(item)), without_monitoring(build_training(item))
    result: dict[str, list[float]] = {name: [] for name in ("ours", "watching", "unwatched", "textbook", "eager")}
    tutorial = timed(tutorial_of(build_training(item)))

    def ours(steps: int) -> float:
        times = monitored.steady(steps, other)
        for name, value in zip(("ours", "watching", "unwatched"), times, strict=True):
            result[name].append(value)
        return times[0]

    def reference(steps: int) -> float:
        result["textbook"].append(tutorial(steps))
        return result["textbook"][-1]

    def eager(steps: int) -> float:
        result["eager"].append(monitored.eager(steps))
        return result["eager"][-1]

    blocks = [ours, reference, eager]
    for block in blocks:
        block(1)  # The first steps are slow: memory is allocated, kernels are selected.
    steps = {block: max(2, round(item["block_seconds"] / block(1))) for block in blocks}
    for values in result.values():
        values.clear()
    for _ in range(item["rounds"]):
        for block in blocks:
            block(steps[block])
        blocks = [*blocks[1:], blocks[0]]
    return result


def row(item: Item, result: Result) -> list[str]:
    """Return the table row of a case."""
    batch = NETWORKS[item["networks"]]["batch_size"]
    ratios = [reference / ours for ours, reference in zip(result["ours"], result["textbook"], strict=True)]
    costs = [100 * cost for cost in result["watching"]]
    eager = [DENSE_STEPS * (on - off) for on, off in zip(result["eager"], result["unwatched"], strict=True)]
    rates = {name: format_range([batch / seconds for seconds in result[name]], ".0f") for name in ("ours", "textbook")}
    target = TARGETS[item["precision"], item["threads"]]
    verdict = "yes" if statistics.median(ratios) >= target else "no"
    return [
        f"{item['networks']}, batch {batch}",
        item["precision"],
        item["threads"],
        rates["ours"],
        rates["textbook"],
        f"**{statistics.median(ratios):.2f}** [{min(ratios):.2f}, {max(ratios):.2f}]",
        f"{target}: {verdict}",
        f"{format_range(costs, '+.1f')} %",
        f"{format_range(eager, '+.1f')} s",
    ]


def write_table(results: Results, items: list[Item], args: Any) -> None:
    rows = [row(item, result) for item in items if (result := results.result(item))]
    columns = (
        "networks",
        "ours in",
        "threads",
        "ours, images/s",
        "textbook (fp32), images/s",
        "ratio",
        "target",
        "cost of monitoring",
        "added by the first 100 steps",
    )
    write(
        args.out / "throughput.md",
        "# Images per second: the training loop with monitoring, against the textbook loop",
        f"{results.provenance(items)} Median [minimum, maximum] of {args.rounds} interleaved rounds of blocks of about "
        f"{args.block_seconds:g} s; steady state after the first 100 steps. Target of the cost of monitoring: at most "
        "5 %. Method: docstring of `benchmarks/throughput.py`.",
        table(columns, rows),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of interleaved blocks")
    parser.add_argument("--block-seconds", type=float, default=2.0, help="approximate duration of a block")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    cases = product(NETWORKS, ("bf16", "fp32"), (1, 2))
    rest = {"rounds": args.rounds, "block_seconds": args.block_seconds}
    items: list[Item] = [
        {"networks": networks, "precision": precision, "threads": threads, **rest}
        for networks, precision, threads in cases
    ]
    results = Results(args.out / "results" / "throughput.jsonl")
    if not args.table:
        results.measure(items, lambda item: run_in_subprocess(__file__, item, item["threads"]))
    write_table(results, items, args)


if __name__ == "__main__":
    main()
