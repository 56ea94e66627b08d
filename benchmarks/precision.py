"""Quality in bf16 against fp32: kernel distances to held-out digits at the end of the same runs.

    python benchmarks/precision.py             about 8 minutes on 2 quiet cores; a restart continues
    python benchmarks/precision.py --table     rewrite precision.md from results/precision.jsonl

Method. The default recipe (`equipoise train digits`) for 800 steps, five seeds in bf16 and the same five in fp32, one
thread per process, two processes in parallel. At the end 4,000 samples of the averaged generator, 400 per class,
computed in fp32 as `equipoise sample` does, are compared with the 1,000 held-out digits: v = `kd_digits`, unbiased.

The floor f is the distance between the 4,000 training digits and the 1,000 held-out ones: that of a perfect generator
of the training digits. The question is about v - f, which may be near 0 or below, where a ratio of two is noise.
Therefore the resolution of the distance is added to both. The ratio of a seed is

    (max(v_bf16 - f, 0) + s) / (max(v_fp32 - f, 0) + s)

where the resolution s is the standard deviation of the distance between reals, over 20 random splits of all 5,000
digits into 400 and 100 of each class. Far above the floor this is the plain ratio; for two runs that are both within
the resolution of the floor it is near 1, as it should be, since they cannot be distinguished from reals. A biased
statistic, which is always positive, would do the same with a constant (its diagonal) that is unrelated to the
measurement. The table contains raw distances; the plain ratio of the mean distances above the floor is given, too.

Expected: geometric mean of the five ratios at most 1.1.
"""

import json
import math
import statistics
from itertools import product
from typing import Any

import torch
from _digit_samples import generator_of, in_memory, reals
from _results import Item, Result, Results, create_parser, run_in_subprocess, table, write
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
    """Measure the distance at the end of a run, or that between reals."""
    torch.set_num_threads(1)
    return floor(item["samples"]) if item["what"] == "reals" else train_and_measure(item)


def train_and_measure(item: Item) -> Result:
    """Train, and measure."""
    settings = {name: item[name] for name in ("precision", "seed", "steps")}
    training = in_memory(Experiment(data=PlugSpec("digits"), threads=1, device="cpu", **settings))
    *_, finished = train(training)
    assert isinstance(finished, Finished)
    fake = generator_of(training).sample(item["samples"], seed=7)
    real = digit_features(reals("held_out", HELD_OUT).real)
    distance = kernel_distance(real, digit_features(fake))
    return {"distance": distance, "verdict": finished.verdict, "seconds": finished.seconds}


def floor(count: int) -> Result:
    """Compute distances between reals: training against held-out, and random splits of all of them."""
    train_set, held_out = reals("train", 4000), reals("held_out", HELD_OUT)
    training_features, held_out_features = digit_features(train_set.real), digit_features(held_out.real)
    assert train_set.condition is not None
    assert held_out.condition is not None
    labels = torch.cat([train_set.condition, held_out.condition])
    features = torch.cat([training_features, held_out_features])
    splits = [_split_distance(features, labels, count, seed) for seed in range(SPLITS)]
    return {
        "floor": kernel_distance(held_out_features, training_features[_even(train_set.condition, count)]),
        "splits": splits,
    }


def _split_distance(features: Tensor, labels: Tensor, count: int, seed: int) -> float:
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held_out = order[_even(labels[order], HELD_OUT)]
    rest = order[~torch.isin(order, held_out)]
    return kernel_distance(features[held_out], features[rest[_even(labels[rest], count)]])


def _even(labels: Tensor, count: int) -> Tensor:
    """Return the first `count` indices with equally many of each of the ten classes."""
    return torch.cat([(labels == each).nonzero().flatten()[: count // 10] for each in range(10)])


def write_table(results: Results, items: list[Item], args: Any) -> None:
    head = [
        "# Kernel distance to held-out digits after training in bf16 and in fp32",
        f"{results.provenance(items)} The default digits recipe, {args.steps} steps, {args.samples:,} samples per run.",
    ]
    reals_line = results.result(items[0])
    pairs = _pairs(results, items)
    if reals_line is None or not pairs:
        write(args.out / "precision.md", *head, "There are no results yet.")
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
        args.out / "precision.md",
        *head,
        f"**Geometric mean of the ratios: {mean:.2f}** (standard error: a factor of {error:.2f}); target at most "
        f"{TARGET}: {'yes' if mean <= TARGET else 'no'}. Ratio of the mean distances above the floor: {plain}.",
        f"Floor (training digits to held-out digits): {base:.4f}. Resolution (standard deviation over {SPLITS} splits "
        f"of reals): {resolution:.4f}, added to numerator and denominator of each ratio; reason: docstring of "
        "`benchmarks/precision.py`.",
        table(("seed", "bf16", "fp32", "bf16 above the floor", "fp32 above the floor", "ratio"), rows),
    )


def _pairs(results: Results, items: list[Item]) -> dict[int, tuple[float, float]]:
    """Map seeds to distances in bf16 and fp32, where both are available."""
    distances: dict[int, dict[str, float]] = {}
    for item in items[1:]:
        if result := results.result(item):
            distances.setdefault(item["seed"], {})[item["precision"]] = result["distance"]
    return {seed: (pair["bf16"], pair["fp32"]) for seed, pair in distances.items() if len(pair) == 2}


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--steps", type=int, default=800, help="length of a run")
    parser.add_argument("--seeds", type=int, default=5, help="runs in each precision")
    parser.add_argument("--samples", type=int, default=4000, help="samples per run, a multiple of 10 up to 4,000")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    items: list[Item] = [{"what": "reals", "samples": args.samples}]
    for seed, precision in product(range(args.seeds), ("fp32", "bf16")):
        rest = {"steps": args.steps, "samples": args.samples}
        items.append({"what": "run", "precision": precision, "seed": seed, **rest})
    results = Results(args.out / "results" / "precision.jsonl")
    if not args.table:
        results.measure(items, lambda item: run_in_subprocess(__file__, item, threads=1), processes=2)
    write_table(results, items, args)


if __name__ == "__main__":
    main()
