"""Images per second: the loop of this package with all watching on, against the loop that every tutorial has.

    python benchmarks/throughput.py             about 12 minutes on 2 quiet cores; a restart goes on
    python benchmarks/throughput.py --table     rewrite throughput.md from results/throughput.jsonl

How. Both loops train the same networks on the same batches: the digits lab's (`dcgan:lab32`, digits, batch 128) and
CelebA's (`dcgan:celeba64`, random 64 x 64 colour images, batch 32). A case is networks x precision x threads, in a
fresh process. The arms take turns block by block, in an order that rotates, seven rounds or more:

  textbook   fp32; the loss of each player by BCEWithLogits; fakes shared by both; backward through everything, so that
             the generator's backward pass also fills the gradients of the discriminator's weights; Adam; `.item()` of
             both losses each step. It is always fp32: that is what the tutorials run.
  ours       `equipoise.training.loop.train` itself on what `launch.assemble` builds, with the pilot, the controller
             `annealed`, and probes of training and held-out reals; no sampling, evaluation or checkpoint.
  eager      the same in its first 100 steps, see below

The first 100 steps of a run are sensed one by one, later ones every 50 steps. Steady state is measured past the first
100: a block of ours times ordinary steps and then one that is sensed and probed, and counts them 49 : 1; between
blocks the step counter is set forward to just before the next sensing. A step before each block is not timed. Ratios
are of the two blocks of one round.

What watching costs is told from steps, not from blocks, because a shared machine changes its speed within seconds: in
the block of ours, each step is followed by one of a second run that is trained by `run_step` alone. The cost of a
round is the median ratio of such pairs, and a fiftieth of what the sensed step takes more. The eager first 100 steps
are told apart, as the seconds that they add to a run, once.

Expected: bf16 at least 1.5 times the textbook's images per second on one thread and 1.3 on two (aim 2.0), fp32 at
least 1.0; watching at most 5 %.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, cast

import torch
from _results import Item, Result, Results, in_child, parser, spread, table, write
from torch import Tensor, nn

from equipoise.core.data import Stream
from equipoise.core.events import Event, Sensed, Stepped
from equipoise.experiment.launch import assemble
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.models._adversarial import Discriminator
from equipoise.pilot.pilot import EAGER, SENSE_EVERY
from equipoise.training.loop import Training, train
from equipoise.training.step import run_step

NETWORKS: dict[str, dict[str, Any]] = {
    "lab32": {"data": "digits", "batch_size": 128},
    "celeba64": {"data": "benchmarks._random_images", "batch_size": 32},
}
LATENT = 100
TARGETS = {("bf16", 1): 1.5, ("bf16", 2): 1.3, ("fp32", 1): 1.0, ("fp32", 2): 1.0}


def built(item: Item) -> Training:
    """One run of a case, ready to train; the same for every arm."""
    about = NETWORKS[item["networks"]]
    experiment = complete(
        Experiment(
            data=PlugSpec(about["data"]),
            model=PlugSpec(f"dcgan:{item['networks']}"),
            controller=PlugSpec("annealed"),
            batch_size=about["batch_size"],
            precision=item["precision"],
            threads=item["threads"],
            device="cpu",
            steps=100_000,
        )
    )
    nothing: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
    return assemble(dataclasses.replace(experiment, **nothing), None)


class Watched:
    """The package's loop. A block's seconds per step are those of ordinary and sensed steps, 49 : 1."""

    def __init__(self, training: Training) -> None:
        self.state = training.state
        self.events: Iterator[Any] = train(training)

    def until(self, kind: type[Event], step: int) -> float:
        """Let the loop run to an event; the time of it."""
        next(event for event in self.events if isinstance(event, kind) and event.step == step)
        return time.perf_counter()

    def steady(self, steps: int, other: Callable[[], None]) -> tuple[float, float, float]:
        """Past the eager steps, over `steps` ordinary ones and a sensed one, `other` run after each but the last.

        Seconds per step, what watching costs as a share of `other`, and seconds of `other`.
        """
        steps = min(steps, SENSE_EVERY - 2)
        sensed = (max(self.state.step, EAGER) // SENSE_EVERY + 1) * SENSE_EVERY
        if sensed - steps - 2 < self.state.step:
            sensed += SENSE_EVERY
        self.state.step = sensed - steps - 2
        self.until(Stepped, sensed - steps - 1)
        other()
        ours, others = [], []
        for step in range(sensed - steps, sensed):
            begun = time.perf_counter()
            ended = self.until(Stepped, step)
            other()
            ours.append(ended - begun)
            others.append(time.perf_counter() - ended)
        begun = time.perf_counter()
        last = self.until(Sensed, sensed) - begun
        plain = statistics.median(others)
        pairs = statistics.median(mine / theirs for mine, theirs in zip(ours, others, strict=True))
        more = (last - statistics.median(ours)) / SENSE_EVERY / plain
        return ((SENSE_EVERY - 1) * statistics.mean(ours) + last) / SENSE_EVERY, pairs - 1 + more, plain

    def eager(self, steps: int) -> float:
        """Seconds per step of the first ones, each of which is sensed (but not probed)."""
        self.state.step = 0
        steps = min(steps, SENSE_EVERY - 2)
        return (-self.until(Stepped, 1) + self.until(Stepped, 1 + steps)) / steps


def timed(step: Callable[[], None]) -> Callable[[int], float]:
    """Blocks of a plain step: seconds per step, the first step left out."""

    def block(steps: int) -> float:
        step()
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - begun) / steps

    return block


def unwatched(training: Training) -> Callable[[], None]:
    """A step of the package's training, without the pilot."""
    knobs = training.pilot.knobs

    def step() -> None:
        run_step(training.state, training.streams.train, knobs, 0.0)

    return step


def textbook(generator: nn.Module, discriminator: Callable[[Tensor], Tensor], weights: Any, stream: Stream) -> Any:
    """A step of the tutorials' loop. `weights`: those of the discriminator."""
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
    """The tutorials' step on the networks and the stream of a run."""
    networks = training.state.model.networks
    generator, discriminator = networks["generator"], cast(Discriminator, networks["discriminator"])

    def judge(samples: Tensor) -> Tensor:
        return discriminator.judge(discriminator.features(samples), None)

    step: Callable[[], None] = textbook(generator, judge, discriminator.parameters(), training.streams.train)
    return step


def measure(item: Item) -> Result:
    """All rounds of a case: seconds per step by arm, and what watching costs."""
    watched, other = Watched(built(item)), unwatched(built(item))
    result: dict[str, list[float]] = {name: [] for name in ("ours", "watching", "unwatched", "textbook", "eager")}
    tutorial = timed(tutorial_of(built(item)))

    def ours(steps: int) -> float:
        taken = watched.steady(steps, other)
        for name, value in zip(("ours", "watching", "unwatched"), taken, strict=True):
            result[name].append(value)
        return taken[0]

    def theirs(steps: int) -> float:
        result["textbook"].append(tutorial(steps))
        return result["textbook"][-1]

    def eager(steps: int) -> float:
        result["eager"].append(watched.eager(steps))
        return result["eager"][-1]

    blocks = [ours, theirs, eager]
    for block in blocks:
        block(1)  # The first steps are slow: memory is taken, kernels are chosen.
    steps = {block: max(2, round(item["block_seconds"] / block(1))) for block in blocks}
    for values in result.values():
        values.clear()
    for _ in range(item["rounds"]):
        for block in blocks:
            block(steps[block])
        blocks = [*blocks[1:], blocks[0]]
    return result


def row(item: Item, result: Result) -> list[str]:
    """A case in the table."""
    batch = NETWORKS[item["networks"]]["batch_size"]
    ratios = [theirs / ours for ours, theirs in zip(result["ours"], result["textbook"], strict=True)]
    costs = [100 * cost for cost in result["watching"]]
    eager = [EAGER * (on - off) for on, off in zip(result["eager"], result["unwatched"], strict=True)]
    rates = {name: spread([batch / each for each in result[name]], ".0f") for name in ("ours", "textbook")}
    target = TARGETS[item["precision"], item["threads"]]
    holds = "yes" if statistics.median(ratios) >= target else "no"
    return [
        f"{item['networks']}, batch {batch}",
        item["precision"],
        item["threads"],
        rates["ours"],
        rates["textbook"],
        f"**{statistics.median(ratios):.2f}** [{min(ratios):.2f}, {max(ratios):.2f}]",
        f"{target}: {holds}",
        f"{spread(costs, '+.1f')} %",
        f"{spread(eager, '+.1f')} s",
    ]


def write_table(results: Results, items: list[Item], asked: Any) -> None:
    rows = [row(item, result) for item in items if (result := results.result(item))]
    columns = (
        "networks",
        "ours in",
        "threads",
        "ours, images/s",
        "textbook (fp32), images/s",
        "ratio",
        "target",
        "watching costs",
        "the first 100 steps add",
    )
    write(
        asked.out / "throughput.md",
        "# Images per second: our loop with all watching on, against the textbook's",
        f"{results.head(items)} Median [minimum, maximum] of {asked.rounds} interleaved rounds of blocks of about "
        f"{asked.block_seconds:g} s; steady state past the first 100 steps. Watching is meant to cost at most 5 %. "
        "How: the head of `benchmarks/throughput.py`.",
        table(columns, rows),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=7, help="rounds of interleaved blocks")
    made.add_argument("--block-seconds", type=float, default=2.0, help="about how long a block is")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    cases = product(NETWORKS, ("bf16", "fp32"), (1, 2))
    rest = {"rounds": asked.rounds, "block_seconds": asked.block_seconds}
    items: list[Item] = [
        {"networks": networks, "precision": precision, "threads": threads, **rest}
        for networks, precision, threads in cases
    ]
    results = Results(asked.out / "results" / "throughput.jsonl")
    if not asked.table:
        results.measure(items, lambda item: in_child(__file__, item, item["threads"]))
    write_table(results, items, asked)


if __name__ == "__main__":
    main()
