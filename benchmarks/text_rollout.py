"""Monte-Carlo roll-outs of SeqGAN: all prefixes at once and a sampler on two levels, against the nested loop.

    python benchmarks/text_rollout.py             about 3 minutes of one core; a restart goes on
    python benchmarks/text_rollout.py --table     rewrite text_rollout.md from results/text_rollout.jsonl

How. 64 sentences of 20 tokens, an LSTM of 32, one continuation of every prefix (N = 1), at 5,000, 200 and 50 words, on
one thread, in seconds of the processor. Three ways to the same distribution, taking turns in one process, 3 rounds:

  nested      for each prefix: read it again, then draw token by token by `torch.multinomial` over the whole vocabulary
              (the loops of the public implementations, without what they compute and throw away)
  prefixes    all prefixes in one batch from the states of one pass, but `torch.multinomial`
  ours        equipoise.nn.recurrent.roll_out

Expected: ours at least 8 times as fast as the nested loop at 5,000 words. That both draw by the same distribution is
measured in the same process: a chi-square of 200,000 draws by each sampler of one softmax over the vocabulary, words
rarer than 5 expected draws taken together.
"""

import json
import math
import statistics
import time
from collections.abc import Callable

import torch
from _results import Item, Result, Results, in_child, parser, table, write
from torch import Tensor

from equipoise.nn.drawing import draw
from equipoise.nn.recurrent import Recurrent, State, roll_out

BATCH, LENGTH, SIZE, ROUNDS, DRAWS = 64, 20, 32, 3, 200_000
WORDS = (5000, 200, 50)
AIM = 8.0


@torch.no_grad()
def nested(network: Recurrent, tokens: Tensor, generator: torch.Generator) -> Tensor:
    """(T - 1, 1, B, T): a loop over prefixes, within it one over places."""
    made = []
    for known in range(1, LENGTH):
        state, written = network.start(BATCH), [tokens[:, place] for place in range(known)]
        for word in written:
            state = network.step(word, state)
        while len(written) < LENGTH:
            shares = network.exit(state.hidden).softmax(dim=1)
            written.append(torch.multinomial(shares, 1, generator=generator).squeeze(1))
            state = network.step(written[-1], state) if len(written) < LENGTH else state
        made.append(torch.stack(written, dim=1))
    return torch.stack(made)[:, None]


@torch.no_grad()
def prefixes(network: Recurrent, tokens: Tensor, generator: torch.Generator) -> Tensor:
    """The same with all prefixes in one batch."""
    made = tokens.repeat(LENGTH - 1, 1, 1)
    states = network.states(tokens)
    going = State(*(part.new_empty(LENGTH - 1, BATCH, SIZE) for part in states[0]))
    for place in range(1, LENGTH):
        for part, reached in zip(going, states[place], strict=True):
            part[place - 1] = reached
        active = State(*(part[:place].flatten(0, 1) for part in going))
        chosen = torch.multinomial(network.exit(active.hidden).softmax(dim=1), 1, generator=generator).squeeze(1)
        made[:place, :, place] = chosen.view(place, BATCH)
        for part, after in zip(going, network.step(chosen, active), strict=True):
            part[:place] = after.view(place, BATCH, SIZE)
    return made[:, None]


def seconds(work: Callable[[], Tensor]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def chi_square(first: Tensor, second: Tensor) -> tuple[float, int]:
    """Of two rows of counts of as many draws, rare words taken together; and its degrees of freedom."""
    both = (first + second).double()
    rare = both < 10
    rows = torch.stack([first, second]).double()
    cells = torch.cat([rows[:, ~rare], rows[:, rare].sum(dim=1, keepdim=True)], dim=1)
    cells = cells[:, cells.sum(dim=0) > 0]
    statistic = ((cells[0] - cells[1]).square() / cells.sum(dim=0)).sum().item()
    return statistic, cells.shape[1] - 1


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    words = item["words"]
    source = torch.Generator().manual_seed(0)
    network = Recurrent(words, SIZE, SIZE, ends=False)
    for weight in network.parameters():
        weight.detach().normal_(0, 0.5, generator=source)
    tokens = network.sentences(BATCH, LENGTH, source)
    ways: dict[str, Callable[[], Tensor]] = {
        "nested": lambda: nested(network, tokens, source),
        "prefixes": lambda: prefixes(network, tokens, source),
        "ours": lambda: roll_out(network, tokens, 1, source),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            taken = seconds(way)
            if turn:
                spent[name].append(taken)
    with torch.no_grad():
        logits = network.exit(network.start(1).hidden)
    drawn = torch.cat([draw(logits.repeat(1000, 1), torch.rand(1000, generator=source)) for _ in range(DRAWS // 1000)])
    other = torch.multinomial(logits.softmax(dim=1).squeeze(0), DRAWS, replacement=True, generator=source)
    statistic, freedom = chi_square(*(torch.bincount(each, minlength=words) for each in (drawn, other)))
    z = (statistic - freedom) / math.sqrt(2 * freedom)
    return {"seconds": spent, "chi_square": statistic, "freedom": freedom, "z": z}


def write_table(results: Results, items: list[Item]) -> None:
    rows = []
    for item in items:
        if (result := results.result(item)) is None:
            continue
        spent = {name: statistics.median(values) for name, values in result["seconds"].items()}
        ratios = [a / b for a, b in zip(result["seconds"]["nested"], result["seconds"]["ours"], strict=True)]
        rows.append(
            (
                f"{item['words']:,}",
                *(f"{spent[name]:.3f}" for name in ("nested", "prefixes", "ours")),
                f"{statistics.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]",
                f"{result['chi_square']:.0f} of {result['freedom']:,}",
                f"{result['z']:+.2f}",
            )
        )
    head = ("words", "nested, s", "prefixes, s", "ours, s", "nested / ours", "chi-square, freedom", "as z")
    write(
        results.path.parents[1] / "text_rollout.md",
        "# Roll-outs of SeqGAN",
        "Seconds of the processor for one continuation of every prefix of 64 sentences of 20 tokens, one thread; "
        f"medians of {ROUNDS} rounds in which the ways take turns, ratios [least, most]. How: see the script.",
        table(head, rows),
        "The chi-square compares 200,000 draws of ours with as many by `torch.multinomial`, of one softmax; as z it is "
        "the distance from its mean in standard deviations. The aim is a ratio of at least 8 at 5,000 words.",
        results.head(items),
    )


def main() -> None:
    asked = parser(__doc__).parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items: list[Item] = [{"words": words} for words in WORDS]
    results = Results(asked.out / "results" / "text_rollout.jsonl")
    if not asked.table:
        results.measure(items, lambda item: in_child(__file__, item, threads=1))
    write_table(results, items)


if __name__ == "__main__":
    main()
