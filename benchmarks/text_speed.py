"""Sentences per second: SeqGAN in the loop of this package with all watching on, against the loop of a tutorial.

    python benchmarks/text_speed.py             about 2 minutes of one core; a restart goes on
    python benchmarks/text_speed.py --table     rewrite text_speed.md from results/text_speed.jsonl

How. The same networks (the defaults of `seqgan`) and sentences (`sentences`, batches of 64), fp32, one thread, in
seconds of the processor. A block is 20 steps of one part of a run; the loops take turns, 3 rounds after one that
does not count; ratios are of the two blocks of one round.

  plain   the networks' own forward passes, losses of torch.nn.functional, Adam as torch has it by default, clipping,
          `.item()` of the losses each step; sentences by `torch.multinomial` word by word, roll-outs by the nested loop
          over prefixes and continuations
  ours    `equipoise.training.loop.train` on what `launch.assemble` builds; the part is chosen by setting the step
          counter, past the first 100 steps, which are all sensed. A block times ordinary steps and one that is sensed
          and probed, and counts them 49 : 1, as they come

Expected: at least 1.0 over a whole run.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from _results import Item, Result, Results, in_child, parser, spread, table, write
from torch import Tensor
from torch.nn import functional as F

from equipoise.base import Gan
from equipoise.events import Sensed, Stepped
from equipoise.experiment import Choice, Experiment, complete
from equipoise.launch import assemble
from equipoise.nn.recurrent import Recurrent
from equipoise.pilot import SENSE_EVERY
from equipoise.training.loop import train
from equipoise.zoo._writing import Judge

PARTS = {"likelihood": 200, "discriminator": 1_201, "game": 1_300}
"""The step from which a block runs: 1,200 of likelihood and 100 of the discriminator come before the game."""
WHOLE = {"likelihood": 1200, "discriminator": 100, "game": 300}
"""Steps of each part in `equipoise train sentences`."""
STEPS, ROUNDS, BATCH, LENGTH, ROLLOUTS = 20, 3, 64, 7, 4


class Plain:
    """The loop of a tutorial on the networks of a built GAN."""

    def __init__(self, gan: Gan[Any], stream: Any) -> None:
        writer, judge = gan.networks["generator"], gan.networks["discriminator"]
        assert isinstance(writer, Recurrent)
        assert isinstance(judge, Judge)
        self.writer, self.judge, self.stream = writer, judge, stream
        self.optimizers = {net: torch.optim.Adam(net.parameters(), lr=1e-4) for net in (writer, judge)}
        self.source, self.index = torch.Generator().manual_seed(0), 0

    def written(self, words: list[Tensor], count: int) -> Tensor:
        """Sentences that begin with these words."""
        state, words = self.writer.start(count), list(words)
        for word in words:
            state = self.writer.step(word, state)
        while len(words) < LENGTH:
            shares = self.writer.exit(state.hidden).softmax(dim=1)
            word = torch.multinomial(shares, 1, generator=self.source).squeeze(1)
            words.append(torch.where(words[-1] == 0, 0, word) if words else word)
            state = self.writer.step(words[-1], state)
        return torch.stack(words, dim=1)

    def moved(self, network: Any, loss: Tensor) -> None:
        """One update."""
        self.optimizers[network].zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        self.optimizers[network].step()
        loss.item()

    def likelihood(self) -> None:
        """By likelihood."""
        real = self.stream.batch(self.index).real
        logits = self.writer(real, 0.2, self.source)
        self.moved(self.writer, F.cross_entropy(logits.flatten(0, 1), real.flatten()))

    def discriminator(self) -> None:
        """The discriminator's part."""
        real = self.stream.batch(self.index).real
        with torch.no_grad():
            fake = self.written([], BATCH)
        logits = self.judge(torch.cat([real, fake]), self.source)
        labels = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
        self.moved(self.judge, F.binary_cross_entropy_with_logits(logits, labels))

    def game(self) -> None:
        """One round."""
        self.discriminator()
        with torch.no_grad():
            tokens = self.written([], BATCH)
            value = torch.zeros(BATCH, LENGTH)
            for _ in range(ROLLOUTS):
                for known in range(1, LENGTH):
                    made = self.written(list(tokens[:, :known].unbind(dim=1)), BATCH)
                    value[:, known - 1] += self.judge(made).sigmoid() / ROLLOUTS
            value[:, -1] = self.judge(tokens).sigmoid()
        logits = self.writer(tokens)
        chosen = logits.log_softmax(dim=2).gather(2, tokens.unsqueeze(2)).squeeze(2)
        self.moved(self.writer, -((value - value.mean(dim=0)) * chosen).sum(dim=1).mean())

    def block(self, part: str) -> float:
        """Seconds of one block."""
        step: Callable[[], None] = getattr(self, part)
        begun = time.process_time()
        for _ in range(STEPS):
            step()
            self.index += 1
        return time.process_time() - begun


class Ours:
    """The package's loop."""

    def __init__(self) -> None:
        experiment = complete(Experiment(data=Choice("sentences"), threads=1, device="cpu", steps=100_000))
        nothing: dict[str, Any] = {"sample_every": None, "evaluate_every": None, "save_every": None, "metric": None}
        self.training = assemble(dataclasses.replace(experiment, **nothing), None)
        self.training.pilot.sense_every = STEPS
        self.events: Iterator[Any] = train(self.training)

    def block(self, part: str) -> float:
        """Seconds of one block."""
        start = -(-PARTS[part] // STEPS) * STEPS
        self.training.state.step = start
        begun = time.process_time()
        next(event for event in self.events if isinstance(event, Stepped) and event.step == start + STEPS - 1)
        ordinary = (time.process_time() - begun) / (STEPS - 1)
        begun = time.process_time()
        next(event for event in self.events if isinstance(event, Sensed))
        return STEPS * ((SENSE_EVERY - 1) * ordinary + time.process_time() - begun) / SENSE_EVERY


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    ours = Ours()
    plain = Plain(ours.training.state.gan, ours.training.streams.train)
    spent: dict[str, dict[str, list[float]]] = {}
    for part in PARTS:
        rounds = [(plain.block(part), ours.block(part)) for _ in range(ROUNDS + 1)][1:]
        spent[part] = {"plain": [one for one, _ in rounds], "ours": [other for _, other in rounds]}
    return {"seconds": spent}


def write_table(results: Results, item: Item) -> None:
    found = results.result(item)
    if found is None:
        return
    parts = dict(found["seconds"])
    parts["a whole run"] = {
        name: [sum(WHOLE[part] * parts[part][name][turn] for part in PARTS) / STEPS for turn in range(ROUNDS)]
        for name in ("plain", "ours")
    }
    rows = []
    for part, seconds in parts.items():
        sentences = BATCH * (sum(WHOLE.values()) if part not in PARTS else STEPS)
        rates = [f"{sentences / statistics.median(seconds[name]):,.0f}" for name in ("plain", "ours")]
        ratios = [plain / ours for plain, ours in zip(seconds["plain"], seconds["ours"], strict=True)]
        rows.append((part, *rates, spread(ratios)))
    write(
        results.path.parents[1] / "text_speed.md",
        "# SeqGAN: sentences per second",
        "Real sentences per second of the processor, one thread, fp32; the ratio is of the blocks of one round: median "
        "[least, most]. How: `benchmarks/text_speed.py`.",
        table(("part of a run", "plain", "ours", "ours / plain"), rows),
        results.head([item]),
    )


def main() -> None:
    asked = parser(__doc__).parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    item: Item = {"batch": BATCH}
    results = Results(asked.out / "results" / "text_speed.jsonl")
    if not asked.table:
        results.measure([item], lambda one: in_child(__file__, one, threads=1))
    write_table(results, item)


if __name__ == "__main__":
    main()
