"""Steps per second of pix2pix and CycleGAN: the training loop of this package with monitoring, against a plain one.

    python benchmarks/translation_speed.py             about 25 minutes on a quiet core; a restart continues
    python benchmarks/translation_speed.py --table     rewrite translation_speed.md from its results

Method. Both loops train the same networks on the same batches of emoji, one thread per process: the presets `cpu32` and
`cpu64`, batch size 16, and the networks of the papers at 64 x 64 pixels, batch size 1 as in the papers; all without R1,
which the papers do not use. The plain loop is the obvious one: fp32, `torch.optim.Adam`, backward through everything,
`.item()` of the losses of each step; that of CycleGAN keeps its pool as a list and processes one image at a time. Ours
is `equipoise.training.loop.train` on an assembled experiment, after the first 100 steps, each of which has a reading: a
block has 49 ordinary steps and one with a reading and probes; no sampling, evaluation or checkpoint. Blocks are
interleaved, --rounds of each; processor time, ratios of the two blocks of a round.

Expected: at least 1.0 times the plain loop's steps per second in fp32, 1.4 in bf16 on CPUs with matrix units.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import chain, product
from typing import Any

import torch
from _digit_samples import in_memory
from _results import Item, Result, Results, create_parser, format_range, run_in_subprocess, table, write
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from equipoise.core.data import Stream
from equipoise.core.events import Event, Stepped
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.pilot import DENSE_STEPS, SENSE_EVERY
from equipoise.training.loop import Training, train

GANS = ("pix2pix", "cyclegan")
SIZES = {"cpu32": (32, 16), "cpu64": (64, 16), "paper": (64, 1)}
"""Networks -> pixels per side and batch size."""
POOL = 50
TARGETS = {"fp32": 1.0, "bf16": 1.4}


def build_training(item: Item) -> Training:
    """Assemble a run of a case, the same for both loops."""
    torch.set_num_threads(1)
    model, (size, batch_size) = item["gan"], SIZES[item["networks"]]
    return in_memory(
        Experiment(
            data=PlugSpec("openmoji", {"image_size": size, "paired": model == "pix2pix"}),
            model=PlugSpec(model if item["networks"] == "paper" else f"{model}:{item['networks']}"),
            knobs={"r1_gamma": 0.0},
            controller=PlugSpec("annealed"),
            batch_size=batch_size,
            precision=item["precision"],
            steps=100_000,
            device="cpu",
            threads=1,
        )
    )


def adam(*networks: nn.Module) -> torch.optim.Adam:
    """Return the optimizer with the settings of a tutorial."""
    return torch.optim.Adam(chain.from_iterable(n.parameters() for n in networks), lr=2e-4, betas=(0.5, 0.999))


def labelled(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, label: float) -> Tensor:
    """Compute a loss of logits against one label."""
    return loss(logits, torch.full_like(logits, label))


def coloured(images: Tensor) -> Tensor:
    """Repeat grey images (B, 1, H, W) to (B, 3, H, W)."""
    return images.expand(-1, 3, -1, -1)


def plain_pix2pix(networks: Any, stream: Stream) -> Callable[[int], None]:
    """Return a step of the plain loop."""
    generator, discriminator = networks["generator"], networks["discriminator"]
    optimizer_g, optimizer_d = adam(generator), adam(discriminator)
    cross_entropy = binary_cross_entropy_with_logits

    def step(index: int) -> None:
        batch = stream.batch(index)
        fake = generator(batch.source)
        optimizer_d.zero_grad()
        real = labelled(cross_entropy, discriminator(torch.cat([batch.source, batch.real], 1)), 1)
        fake_loss = labelled(cross_entropy, discriminator(torch.cat([batch.source, fake.detach()], 1)), 0)
        loss_d = (real + fake_loss) / 2
        loss_d.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        adversarial = labelled(cross_entropy, discriminator(torch.cat([batch.source, fake], 1)), 1)
        loss_g = adversarial + 100 * l1_loss(fake, batch.real)
        loss_g.backward()
        optimizer_g.step()
        loss_d.item(), loss_g.item()

    return step


def plain_cyclegan(networks: Any, stream: Stream) -> Callable[[int], None]:
    """Return the same with two pairs of networks and two pools."""
    forward, backward_generator, discriminator, discriminator_back = (
        networks[name] for name in ("generator", "generator_back", "discriminator", "discriminator_back")
    )
    optimizer_g, optimizer_d = adam(forward, backward_generator), adam(discriminator, discriminator_back)
    pools: tuple[list[Tensor], list[Tensor]] = ([], [])

    def exchange(pool: list[Tensor], fakes: Tensor) -> Tensor:
        result = []
        for fake in fakes.detach():
            if len(pool) < POOL:
                pool.append(fake)
                result.append(fake)
            elif random.random() < 0.5:
                index_in_pool = random.randrange(POOL)
                result.append(pool[index_in_pool])
                pool[index_in_pool] = fake
            else:
                result.append(fake)
        return torch.stack(result)

    def step(index: int) -> None:
        batch = stream.batch(index)
        x, y = batch.source, batch.real
        optimizer_g.zero_grad()
        fake_y, fake_x = forward(coloured(x)), backward_generator(y)
        adversarial = labelled(mse_loss, discriminator(fake_y), 1) + labelled(mse_loss, discriminator_back(fake_x), 1)
        cycle = l1_loss(backward_generator(fake_y), x) + l1_loss(forward(coloured(fake_x)), y)
        identity = l1_loss(forward(y), y) + l1_loss(backward_generator(coloured(x)), x)
        loss_g = adversarial + 10 * cycle + 5 * identity
        loss_g.backward()
        optimizer_g.step()
        optimizer_d.zero_grad()
        loss_d = torch.zeros(())
        for network, real, pool, fake in (
            (discriminator, y, pools[0], fake_y),
            (discriminator_back, x, pools[1], fake_x),
        ):
            fake_loss = labelled(mse_loss, network(exchange(pool, fake)), 0)
            loss_d = loss_d + (labelled(mse_loss, network(real), 1) + fake_loss) / 2
        loss_d.backward()
        optimizer_d.step()
        loss_d.item(), loss_g.item()

    return step


PLAIN = {"pix2pix": plain_pix2pix, "cyclegan": plain_cyclegan}


def block_of_ours(training: Training, events: Iterator[Event]) -> float:
    """Return processor seconds per step, from one reading to the next, after the first 100 steps."""
    until(events, training.state.step // SENSE_EVERY * SENSE_EVERY + SENSE_EVERY)
    start_time = time.process_time()
    until(events, training.state.step + SENSE_EVERY)
    return (time.process_time() - start_time) / SENSE_EVERY


def until(events: Iterator[Event], step: int) -> None:
    """Run the loop up to a step, and the events of it."""
    next(event for event in events if isinstance(event, Stepped) and event.step == step)


def measure(item: Item) -> Result:
    """Measure seconds per step of both loops in each round."""
    ours, other = build_training(item), build_training({**item, "precision": "fp32"})
    ours.state.step = DENSE_STEPS  # after the steps with one reading each
    events = train(ours)
    result: dict[str, list[float]] = {"ours": [], "plain": []}
    for network in other.state.model.networks.values():
        network.to(memory_format=torch.contiguous_format)
    step = PLAIN[item["gan"]](other.state.model.networks, other.streams.train)
    step(0)
    for _ in range(item["rounds"]):
        result["ours"].append(block_of_ours(ours, events))
        start_time = time.process_time()
        for index in range(item["steps"]):
            step(index)
        result["plain"].append((time.process_time() - start_time) / item["steps"])
    return result


def row(item: Item, result: Result) -> list[str]:
    """Return the table row of a case: milliseconds of both, and the ratio."""
    ratios = [plain / ours for plain, ours in zip(result["plain"], result["ours"], strict=True)]
    both = [format_range([1000 * value for value in result[name]], ".0f") for name in ("plain", "ours")]
    return [
        item["gan"],
        item["networks"],
        item["precision"],
        *both,
        format_range(ratios),
        f"{TARGETS[item['precision']]:g}",
    ]


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both loops")
    parser.add_argument("--steps", type=int, default=25, help="steps of the plain loop in a round")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    items: list[Item] = [
        {"gan": model, "networks": networks, "precision": precision, "rounds": args.rounds, "steps": args.steps}
        for networks, model, precision in product(SIZES, GANS, TARGETS)
    ]
    results = Results(args.out / "results" / "translation_speed.jsonl")
    if not args.table:
        results.measure(items, lambda item: run_in_subprocess(__file__, item, 1))
    columns = ("model", "networks", "precision of ours", "plain, ms of CPU per step", "ours, ms", "speed-up", "target")
    write(
        args.out / "translation_speed.md",
        "# Steps per second of image-to-image models",
        f"{results.provenance(items)} Median [minimum, maximum] of {args.rounds} rounds, one thread. Method: docstring "
        "of `benchmarks/translation_speed.py`.",
        table(columns, [row(item, result) for item in items if (result := results.result(item))]),
    )


if __name__ == "__main__":
    main()
