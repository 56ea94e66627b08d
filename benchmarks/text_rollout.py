"""Monte-Carlo roll-outs of SeqGAN: all prefixes in one batch and a two-level sampler, against the nested loop.

    python benchmarks/text_rollout.py             about 3 minutes of one core; a restart continues
    python benchmarks/text_rollout.py --table     rewrite text_rollout.md from results/text_rollout.jsonl

Method. 64 sentences of 20 tokens, an LSTM of 32, one continuation of every prefix (N = 1), with 5,000, 200 and 50
words, on one thread, in processor time. Three implementations of the same distribution, interleaved in one process, 3
rounds:

  nested      for each prefix: read it again, then sample token by token with `torch.multinomial` over the vocabulary
              (the loops of the public implementations, without what they compute and discard)
  prefixes    all prefixes in one batch from the states of one pass, but with `torch.multinomial`
  ours        equipoise.nn.recurrent.roll_out

Expected: ours at least 8 times as fast as the nested loop with 5,000 words. That both samplers have the same
distribution is tested in the same process: a chi-square test of 200,000 samples by each of one softmax over the
vocabulary, where words with fewer than 5 expected samples are merged.
"""

import json
import math
import statistics
import time
from collections.abc import Callable

import torch
from _results import Item, Result, Results, create_parser, run_in_subprocess, table, write
from torch import Tensor

from equipoise.nn.recurrent import LSTMState, Recurrent, roll_out
from equipoise.nn.token_sampling import sample_tokens

BATCH, LENGTH, SIZE, ROUNDS, SAMPLES = 64, 20, 32, 3, 200_000
WORDS = (5000, 200, 50)
TARGET = 8.0


@torch.no_grad()
def nested(network: Recurrent, tokens: Tensor, generator: torch.Generator) -> Tensor:
    """Return (T - 1, 1, B, T): a loop over prefixes, and in it one over positions."""
    continuations = []
    for length in range(1, LENGTH):
        state, sentence = network.start(BATCH), [tokens[:, position] for position in range(length)]
        for word in sentence:
            state = network.step(word, state)
        while len(sentence) < LENGTH:
            probabilities = network.exit(state.hidden).softmax(dim=1)
            sentence.append(torch.multinomial(probabilities, 1, generator=generator).squeeze(1))
            state = network.step(sentence[-1], state) if len(sentence) < LENGTH else state
        continuations.append(torch.stack(sentence, dim=1))
    return torch.stack(continuations)[:, None]


@torch.no_grad()
def prefixes(network: Recurrent, tokens: Tensor, generator: torch.Generator) -> Tensor:
    """Return the same with all prefixes in one batch."""
    continuations = tokens.repeat(LENGTH - 1, 1, 1)
    states = network.states(tokens)
    current = LSTMState(*(part.new_empty(LENGTH - 1, BATCH, SIZE) for part in states[0]))
    for position in range(1, LENGTH):
        for part, state in zip(current, states[position], strict=True):
            part[position - 1] = state
        active = LSTMState(*(part[:position].flatten(0, 1) for part in current))
        words_sampled = torch.multinomial(network.exit(active.hidden).softmax(dim=1), 1, generator=generator).squeeze(1)
        continuations[:position, :, position] = words_sampled.view(position, BATCH)
        for part, after in zip(current, network.step(words_sampled, active), strict=True):
            part[:position] = after.view(position, BATCH, SIZE)
    return continuations[:, None]


def seconds(work: Callable[[], Tensor]) -> float:
    start_time = time.process_time()
    work()
    return time.process_time() - start_time


def chi_square(first: Tensor, second: Tensor) -> tuple[float, int]:
    """Compute the statistic of two rows of counts with the same total, with rare words merged, and its degrees of
    freedom.
    """
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
    implementations: dict[str, Callable[[], Tensor]] = {
        "nested": lambda: nested(network, tokens, source),
        "prefixes": lambda: prefixes(network, tokens, source),
        "ours": lambda: roll_out(network, tokens, 1, source),
    }
    seconds_of: dict[str, list[float]] = {name: [] for name in implementations}
    for turn in range(ROUNDS + 1):
        for name, implementation in implementations.items():
            duration = seconds(implementation)
            if turn:
                seconds_of[name].append(duration)
    with torch.no_grad():
        logits = network.exit(network.start(1).hidden)
    ours = torch.cat(
        [sample_tokens(logits.repeat(1000, 1), torch.rand(1000, generator=source)) for _ in range(SAMPLES // 1000)]
    )
    other = torch.multinomial(logits.softmax(dim=1).squeeze(0), SAMPLES, replacement=True, generator=source)
    statistic, freedom = chi_square(*(torch.bincount(samples, minlength=words) for samples in (ours, other)))
    z = (statistic - freedom) / math.sqrt(2 * freedom)
    return {"seconds": seconds_of, "chi_square": statistic, "freedom": freedom, "z": z}


def write_table(results: Results, items: list[Item]) -> None:
    rows = []
    for item in items:
        if (result := results.result(item)) is None:
            continue
        seconds_of = {name: statistics.median(values) for name, values in result["seconds"].items()}
        ratios = [a / b for a, b in zip(result["seconds"]["nested"], result["seconds"]["ours"], strict=True)]
        rows.append(
            (
                f"{item['words']:,}",
                *(f"{seconds_of[name]:.3f}" for name in ("nested", "prefixes", "ours")),
                f"{statistics.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]",
                f"{result['chi_square']:.0f} of {result['freedom']:,}",
                f"{result['z']:+.2f}",
            )
        )
    head = ("words", "nested, s", "prefixes, s", "ours, s", "nested / ours", "chi-square of degrees of freedom", "z")
    write(
        results.path.parents[1] / "text_rollout.md",
        "# Roll-outs of SeqGAN",
        "Processor time for one continuation of every prefix of 64 sentences of 20 tokens, one thread; medians of "
        f"{ROUNDS} interleaved rounds, ratios [minimum, maximum]. Method: docstring of the script.",
        table(head, rows),
        "Chi-square compares 200,000 samples of ours with as many of `torch.multinomial`, from one softmax; z is its "
        "distance from the mean in standard deviations. The target is a ratio of at least 8 with 5,000 words.",
        results.provenance(items),
    )


def main() -> None:
    args = create_parser(__doc__).parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    items: list[Item] = [{"words": words} for words in WORDS]
    results = Results(args.out / "results" / "text_rollout.jsonl")
    if not args.table:
        results.measure(items, lambda item: run_in_subprocess(__file__, item, threads=1))
    write_table(results, items)


if __name__ == "__main__":
    main()
