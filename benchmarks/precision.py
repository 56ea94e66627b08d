"""Quality in bf16 against fp32: kernel distances to held-out digits at the end of the same runs.

    python benchmarks/precision.py             about 8 minutes on 2 quiet cores; a restart goes on
    python benchmarks/precision.py --table     rewrite precision.md from results/precision.jsonl

How. The default recipe (`equipoise train digits`) for 800 steps, five seeds in bf16 and the same five in fp32, one
thread a process, two processes at a time. At the end 4,000 samples of the averaged generator, 400 a class, computed in
fp32 as `equipoise sample` does, are compared with the 1,000 held-out digits: v = `kd_digits`, unbiased.

The floor f is the same distance of the 4,000 training digits to the 1,000 held-out ones: what a perfect generator of
the training digits would have. The question is about v - f, which may come near 0 or below it, where a ratio of two is
noise. What the distance cannot tell apart is therefore added to both: the ratio of a seed is

    (max(v_bf16 - f, 0) + s) / (max(v_fp32 - f, 0) + s)

where the resolution s is the standard deviation of the distance of reals to reals, over 20 random splits of all 5,000
digits into 400 and 100 of each class. Far above the floor this is the plain ratio; two runs that are both within the
resolution of the floor come out near 1, as they should, since no one could tell them from reals. A biased statistic,
which is positive by itself, would do the same with a constant (its diagonal) that says nothing about the measurement.
Raw distances are in the table, and the plain ratio of the mean distances above the floor is told beside it.

Expected: geometric mean of the five ratios at most 1.1.
"""

import json
import math
import statistics
from itertools import product
from typing import Any

import torch
from _judging import generator_of, in_memory, reals
from _results import Item, Result, Results, in_child, parser, table, write
from torch import Tensor

from equipoise.core.events import Finished
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.metrics._digits_classifier import digit_features
from equipoise.metrics._kernel import kernel_distance
from equipoise.training.loop import train

SPLITS = 20
HELD_OUT = 1000
TARGET = 1.1


def measure(item: Item) -> Result:
    """The distance at the end of a run, or what reals come to."""
    torch.set_num_threads(1)
    return floor(item["samples"]) if item["what"] == "reals" else trained(item)


def trained(item: Item) -> Result:
    """Train, and measure."""
    settings = {name: item[name] for name in ("precision", "seed", "steps")}
    training = in_memory(Experiment(data=PlugSpec("digits"), threads=1, device="cpu", **settings))
    *_, finished = train(training)
    assert isinstance(finished, Finished)
    made = generator_of(training).sample(item["samples"], seed=7)
    real = digit_features(reals("held_out", HELD_OUT).real)
    distance = kernel_distance(real, digit_features(made))
    return {"distance": distance, "verdict": finished.verdict, "seconds": finished.seconds}


def floor(count: int) -> Result:
    """Distances of reals to reals: training to held-out ones, and random splits of all of them."""
    train_set, held_out = reals("train", 4000), reals("held_out", HELD_OUT)
    seen, unseen = digit_features(train_set.real), digit_features(held_out.real)
    assert train_set.condition is not None
    assert held_out.condition is not None
    labels = torch.cat([train_set.condition, held_out.condition])
    features = torch.cat([seen, unseen])
    splits = [_split_distance(features, labels, count, seed) for seed in range(SPLITS)]
    return {"floor": kernel_distance(unseen, seen[_even(train_set.condition, count)]), "splits": splits}


def _split_distance(features: Tensor, labels: Tensor, count: int, seed: int) -> float:
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held_out = order[_even(labels[order], HELD_OUT)]
    rest = order[~torch.isin(order, held_out)]
    return kernel_distance(features[held_out], features[rest[_even(labels[rest], count)]])


def _even(labels: Tensor, count: int) -> Tensor:
    """The first `count` places at which each of the ten classes is met equally often."""
    return torch.cat([(labels == each).nonzero().flatten()[: count // 10] for each in range(10)])


def write_table(results: Results, items: list[Item], asked: Any) -> None:
    head = [
        "# Held-out kernel distance after training in bf16 and in fp32",
        f"{results.head(items)} The default digits recipe, {asked.steps} steps, {asked.samples:,} samples a run.",
    ]
    reals_line = results.result(items[0])
    pairs = _pairs(results, items)
    if reals_line is None or not pairs:
        write(asked.out / "precision.md", *head, "There is nothing to compare yet.")
        return
    base, resolution = reals_line["floor"], statistics.stdev(reals_line["splits"])
    above = {seed: [max(value - base, 0.0) for value in pair] for seed, pair in pairs.items()}
    ratios = {seed: (low + resolution) / (full + resolution) for seed, (low, full) in above.items()}
    logs = [math.log(ratio) for ratio in ratios.values()]
    mean = math.exp(statistics.mean(logs))
    error = math.exp(statistics.stdev(logs) / math.sqrt(len(logs))) if len(logs) > 1 else math.nan
    sums = [sum(column) for column in zip(*above.values(), strict=True)]
    plain = f"{sums[0] / sums[1]:.2f}" if sums[1] else "undefined"
    rows = [
        [seed, f"{low:.4f}", f"{full:.4f}", f"{low - base:.4f}", f"{full - base:.4f}", f"{ratios[seed]:.2f}"]
        for seed, (low, full) in pairs.items()
    ]
    write(
        asked.out / "precision.md",
        *head,
        f"**Geometric mean of the ratios: {mean:.2f}** (standard error: a factor of {error:.2f}); target at most "
        f"{TARGET}: {'yes' if mean <= TARGET else 'no'}. Ratio of the mean distances above the floor: {plain}.",
        f"Floor (training digits to held-out digits): {base:.4f}. Resolution (standard deviation over {SPLITS} splits "
        f"of reals): {resolution:.4f}, added to both sides of each ratio; why, says the head of "
        "`benchmarks/precision.py`.",
        table(("seed", "bf16", "fp32", "bf16 above the floor", "fp32 above the floor", "ratio"), rows),
    )


def _pairs(results: Results, items: list[Item]) -> dict[int, tuple[float, float]]:
    """Seed -> distances in bf16 and fp32, where both are measured."""
    matches: dict[int, dict[str, float]] = {}
    for item in items[1:]:
        if result := results.result(item):
            matches.setdefault(item["seed"], {})[item["precision"]] = result["distance"]
    return {seed: (pair["bf16"], pair["fp32"]) for seed, pair in matches.items() if len(pair) == 2}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--steps", type=int, default=800, help="length of a run")
    made.add_argument("--seeds", type=int, default=5, help="runs in each precision")
    made.add_argument("--samples", type=int, default=4000, help="samples of each run, a multiple of 10 up to 4,000")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items: list[Item] = [{"what": "reals", "samples": asked.samples}]
    for seed, precision in product(range(asked.seeds), ("fp32", "bf16")):
        rest = {"steps": asked.steps, "samples": asked.samples}
        items.append({"what": "run", "precision": precision, "seed": seed, **rest})
    results = Results(asked.out / "results" / "precision.jsonl")
    if not asked.table:
        results.measure(items, lambda item: in_child(__file__, item, threads=1), at_once=2)
    write_table(results, items, asked)


if __name__ == "__main__":
    main()
