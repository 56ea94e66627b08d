"""Steps per second of pix2pix and CycleGAN: the loop of this package with all watching on, against a plain one.

    python benchmarks/translation_speed.py             about 25 minutes on a quiet core; a restart goes on
    python benchmarks/translation_speed.py --table     rewrite translation_speed.md from its results

How. Both loops train the same networks on the same batches of emoji, one thread a process: the presets `cpu32` and
`cpu64`, 16 at a time, and the papers' networks at 64 x 64 pixels, one at a time as in the papers; all without R1, which
the papers have not. The plain loop is what one writes first: fp32, `torch.optim.Adam`, backward through everything,
`.item()` of the losses of each step; CycleGAN's keeps its pool as a list and sees one image of it at a time. Ours is
`equipoise.training.loop.train` on what `launch.assemble` builds, past the first 100 steps, which are all sensed: a
block holds 49 ordinary steps and a sensed and probed one; no sampling, evaluation or checkpoint. Blocks take turns,
--rounds of each; seconds are those of the processor, and ratios are of the two blocks of a round.

Expected: at least 1.0 times the plain loop's steps per second in fp32, 1.4 in bf16 where there are matrix units.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import chain, product
from typing import Any

import torch
from _judging import in_memory
from _results import Item, Result, Results, in_child, parser, spread, table, write
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from equipoise.core.data import Stream
from equipoise.core.events import Event, Stepped
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.pilot import EAGER, SENSE_EVERY
from equipoise.training.loop import Training, train

GANS = ("pix2pix", "cyclegan")
SIZES = {"cpu32": (32, 16), "cpu64": (64, 16), "paper": (64, 1)}
"""Networks -> pixels a side and images at a time."""
POOL = 50
TARGETS = {"fp32": 1.0, "bf16": 1.4}


def built(item: Item) -> Training:
    """A run of a case, ready to train; the same for both loops."""
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
    """As a tutorial sets it."""
    return torch.optim.Adam(chain.from_iterable(n.parameters() for n in networks), lr=2e-4, betas=(0.5, 0.999))


def labelled(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, label: float) -> Tensor:
    """A loss of logits against one label."""
    return loss(logits, torch.full_like(logits, label))


def coloured(images: Tensor) -> Tensor:
    """Grey images (B, 1, H, W) -> (B, 3, H, W)."""
    return images.expand(-1, 3, -1, -1)


def plain_pix2pix(networks: Any, stream: Stream) -> Callable[[int], None]:
    """A step of the loop that one writes first."""
    generator, judge = networks["generator"], networks["discriminator"]
    optimizer_g, optimizer_d = adam(generator), adam(judge)
    cross_entropy = binary_cross_entropy_with_logits

    def step(index: int) -> None:
        batch = stream.batch(index)
        fake = generator(batch.source)
        optimizer_d.zero_grad()
        real = labelled(cross_entropy, judge(torch.cat([batch.source, batch.real], 1)), 1)
        false = labelled(cross_entropy, judge(torch.cat([batch.source, fake.detach()], 1)), 0)
        loss_d = (real + false) / 2
        loss_d.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        game = labelled(cross_entropy, judge(torch.cat([batch.source, fake], 1)), 1)
        loss_g = game + 100 * l1_loss(fake, batch.real)
        loss_g.backward()
        optimizer_g.step()
        loss_d.item(), loss_g.item()

    return step


def plain_cyclegan(networks: Any, stream: Stream) -> Callable[[int], None]:
    """The same with two pairs of networks and two pools."""
    there, back, judge, judge_back = (
        networks[name] for name in ("generator", "generator_back", "discriminator", "discriminator_back")
    )
    optimizer_g, optimizer_d = adam(there, back), adam(judge, judge_back)
    pools: tuple[list[Tensor], list[Tensor]] = ([], [])

    def shown(pool: list[Tensor], fakes: Tensor) -> Tensor:
        result = []
        for fake in fakes.detach():
            if len(pool) < POOL:
                pool.append(fake)
                result.append(fake)
            elif random.random() < 0.5:
                place = random.randrange(POOL)
                result.append(pool[place])
                pool[place] = fake
            else:
                result.append(fake)
        return torch.stack(result)

    def step(index: int) -> None:
        batch = stream.batch(index)
        x, y = batch.source, batch.real
        optimizer_g.zero_grad()
        fake_y, fake_x = there(coloured(x)), back(y)
        game = labelled(mse_loss, judge(fake_y), 1) + labelled(mse_loss, judge_back(fake_x), 1)
        cycle = l1_loss(back(fake_y), x) + l1_loss(there(coloured(fake_x)), y)
        identity = l1_loss(there(y), y) + l1_loss(back(coloured(x)), x)
        loss_g = game + 10 * cycle + 5 * identity
        loss_g.backward()
        optimizer_g.step()
        optimizer_d.zero_grad()
        loss_d = torch.zeros(())
        for network, real, pool, fake in ((judge, y, pools[0], fake_y), (judge_back, x, pools[1], fake_x)):
            false = labelled(mse_loss, network(shown(pool, fake)), 0)
            loss_d = loss_d + (labelled(mse_loss, network(real), 1) + false) / 2
        loss_d.backward()
        optimizer_d.step()
        loss_d.item(), loss_g.item()

    return step


PLAIN = {"pix2pix": plain_pix2pix, "cyclegan": plain_cyclegan}


def block_of_ours(training: Training, events: Iterator[Event]) -> float:
    """Seconds of the processor per step, over a span from one sensed step to the next, past the eager ones."""
    until(events, training.state.step // SENSE_EVERY * SENSE_EVERY + SENSE_EVERY)
    begun = time.process_time()
    until(events, training.state.step + SENSE_EVERY)
    return (time.process_time() - begun) / SENSE_EVERY


def until(events: Iterator[Event], step: int) -> None:
    """Let the loop run up to a step, and through what is told of it."""
    next(event for event in events if isinstance(event, Stepped) and event.step == step)


def measure(item: Item) -> Result:
    """Seconds per step of both loops, by rounds."""
    ours, other = built(item), built({**item, "precision": "fp32"})
    ours.state.step = EAGER  # what is sensed step by step is over
    events = train(ours)
    result: dict[str, list[float]] = {"ours": [], "plain": []}
    for network in other.state.model.networks.values():
        network.to(memory_format=torch.contiguous_format)
    step = PLAIN[item["gan"]](other.state.model.networks, other.streams.train)
    step(0)
    for _ in range(item["rounds"]):
        result["ours"].append(block_of_ours(ours, events))
        begun = time.process_time()
        for index in range(item["steps"]):
            step(index)
        result["plain"].append((time.process_time() - begun) / item["steps"])
    return result


def row(item: Item, result: Result) -> list[str]:
    """A case: milliseconds of both, and the ratio."""
    ratios = [plain / ours for plain, ours in zip(result["plain"], result["ours"], strict=True)]
    both = [spread([1000 * value for value in result[name]], ".0f") for name in ("plain", "ours")]
    return [item["gan"], item["networks"], item["precision"], *both, spread(ratios), f"{TARGETS[item['precision']]:g}"]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=3, help="of both loops")
    made.add_argument("--steps", type=int, default=25, help="of the plain loop in a round")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items: list[Item] = [
        {"gan": model, "networks": networks, "precision": precision, "rounds": asked.rounds, "steps": asked.steps}
        for networks, model, precision in product(SIZES, GANS, TARGETS)
    ]
    results = Results(asked.out / "results" / "translation_speed.jsonl")
    if not asked.table:
        results.measure(items, lambda item: in_child(__file__, item, 1))
    columns = ("GAN", "networks", "precision of ours", "plain, ms of CPU a step", "ours", "times as fast", "at least")
    write(
        asked.out / "translation_speed.md",
        "# Steps per second from image to image",
        f"{results.head(items)} Median [minimum, maximum] of {asked.rounds} rounds, one thread. How: the head of "
        "`benchmarks/translation_speed.py`.",
        table(columns, [row(item, result) for item in items if (result := results.result(item))]),
    )


if __name__ == "__main__":
    main()
