"""From outline to colour on held-out emoji: pixels against distributions, with and without adversarial loss and pairs.

    python benchmarks/translation.py             about 80 minutes of CPU, two runs in parallel; a restart continues
    python benchmarks/translation.py --table     rewrite translation.md and its pictures from results/translation.jsonl

Method. 1,952 emoji for training and 212 held out, 32 x 32 pixels, one thread per process, bf16, three seeds, learning
rates annealed along a cosine to a fiftieth (`annealed`), with the loop, monitoring and repair of the package. A run of
pix2pix has --steps steps of 16 pairs, one of CycleGAN --cycles steps of 16 inputs and 16 samples in independent orders
(`paired = false`):

  pix2pix    `pix2pix:cpu32` with three weights of L1
  l1         the same network with L1 alone: adversarial_weight 0
  anew       both again with a generator that predicts the image, as in the paper, instead of a change: `change` false
  cyclegan   `cyclegan:cpu32`
  copy       the input itself
  shuffled   the target of another input: perfect samples that belong to other inputs

and one run of each at 64 x 64 (`cpu64`), of --large steps, for the pictures: the first 24 held-out emoji. Measured on
all 212 held-out pairs, of the averaged generator: `paired_l1` on [-1, 1]; the perceptual distance to the target,
`paired_efficientnet_lite0`; and `kd_efficientnet_lite0` between outputs and targets, which is below 0 for the targets
themselves, since it assumes independent sets. Processor time of training and monitoring alone.

Expected: pix2pix below both of its baselines, copying and L1 alone, by kernel distance for at least one weight of L1;
CycleGAN below copying by both L1 and kernel distance, and far below the shuffled targets by L1; no run above 10
minutes.
"""

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from _digit_samples import in_memory
from _results import Item, Result, Results, create_parser, format_range, run_in_subprocess, table, write
from _translation_plot import draw
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import PairedBatch
from equipoise.core.events import Finished, Remedied, Sensed
from equipoise.core.metric import ReferenceSet
from equipoise.core.observations import SERIOUS
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes
from equipoise.training import probe
from equipoise.training.loop import Training, train
from equipoise.training.sample_layout import interleave_images

WEIGHTS, PAPER = (10.0, 30.0, 100.0), 100.0
"""Weights of L1; and that of the paper."""
METRICS = ("paired_l1", "kd_efficientnet_lite0", "paired_efficientnet_lite0")
SHOWN, SIDE = 24, 96
"""Emoji in a picture, and the maximum pixels per side of each."""
LABELS = {
    "copy": "copy the input",
    "shuffled": "shuffled targets",
    "l1": "L1 only",
    "pix2pix": "pix2pix, L1 weight {l1_weight:g}",
    "cyclegan": "CycleGAN, no pairs",
}
PREDICTS_IMAGE = ", predicts the image"


def measure(item: Item, out: Path) -> Result:
    """Train, and evaluate the outputs for all held-out inputs."""
    torch.set_num_threads(1)
    target = held_out(item["size"])
    if item["arm"] == "copy":
        return distances(target.source.expand_as(target.real), target.real)
    if item["arm"] == "shuffled":
        return distances(target.real.roll(1, 0), target.real)
    training = in_memory(experiment_of(item))
    facts = train_to_end(training)
    latents = training.state.model.latent(len(target), torch.Generator(), None)
    fake = probe.generate_samples(training.state, latents, target.source)
    if item["picture"]:
        grid = interleave_images([target.source[:SHOWN], fake[:SHOWN], target.real[:SHOWN]])
        scale = SIDE // item["size"]
        grid = grid.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        write_bytes(out / picture_of(item), encode_png(make_grid(grid.numpy(), columns=9)))
    return {**distances(fake, target.real), **facts}


def experiment_of(item: Item) -> Experiment:
    """Return the experiment of an arm."""
    unpaired, predicts_image = item["arm"] == "cyclegan", item.get("anew", False)
    weights = {"l1": {"adversarial_weight": 0.0}, "pix2pix": {"l1_weight": item.get("l1_weight")}, "cyclegan": {}}
    return Experiment(
        data=PlugSpec("openmoji", {"image_size": item["size"], "paired": not unpaired}),
        model=PlugSpec(
            f"{'cyclegan' if unpaired else 'pix2pix'}:cpu{item['size']}", {"change": False} if predicts_image else {}
        ),
        controller=PlugSpec("annealed"),
        knobs=weights[item["arm"]],
        steps=item["steps"],
        batch_size=16,
        seed=item["seed"],
        precision="bf16",
        device="cpu",
        threads=1,
    )


def train_to_end(training: Training) -> dict[str, Any]:
    """Train; return processor time, steps, serious symptoms, remedies and the verdict."""
    start_time, findings, remedies, verdict, step = time.process_time(), set(), 0, "", 0
    for event in train(training):
        if isinstance(event, Sensed):
            findings |= {one.symptom for one in event.health.findings if one.severity >= SERIOUS}
        remedies += isinstance(event, Remedied)
        if isinstance(event, Finished):
            verdict, step = event.verdict, event.step
    seconds = time.process_time() - start_time
    return {"seconds": seconds, "step": step, "findings": sorted(findings), "remedies": remedies, "verdict": verdict}


def held_out(size: int) -> PairedBatch:
    """Return all held-out pairs."""
    data = catalog.build("data", "openmoji", {"image_size": size})
    batch: PairedBatch = data.stream("held_out", data.count("held_out"), 0).batch(0)
    return batch


def distances(fake: Tensor, target: Tensor) -> dict[str, float]:
    """Compute the three metrics of samples against their targets."""
    result = {}
    for name in METRICS:
        metric = catalog.build("metrics", name)
        result[name] = metric.value(metric.statistics(ReferenceSet(target)), fake.contiguous())
    return result


def picture_of(item: Item) -> str:
    """Return the name of the file with the samples of an arm."""
    return f"translation_{item['arm']}{item['size']}.png"


def items_of(args: Any) -> list[Item]:
    """Return everything to measure, baselines first."""
    items: list[Item] = [{"arm": arm, "size": 32} for arm in ("copy", "shuffled")]
    for seed in range(args.seeds):
        shared = {"size": 32, "seed": seed, "picture": seed == 0}
        items.append({**shared, "arm": "cyclegan", "steps": args.cycles})
        items.append({**shared, "arm": "l1", "steps": args.steps})
        for weight in WEIGHTS:
            picture = seed == 0 and weight == PAPER
            items.append({**shared, "arm": "pix2pix", "steps": args.steps, "l1_weight": weight, "picture": picture})
    large = {"size": 64, "seed": 0, "picture": True}
    items.append({**large, "arm": "pix2pix", "steps": args.large, "l1_weight": PAPER})
    items.append({**large, "arm": "cyclegan", "steps": args.large})
    for seed in range(args.seeds):
        shared = {"size": 32, "seed": seed, "picture": False, "steps": args.steps, "anew": True}
        items += [{**shared, "arm": "l1"}, {**shared, "arm": "pix2pix", "l1_weight": PAPER}]
    return items


def name_of(item: Item) -> str:
    """Return the name of an arm in the table."""
    return LABELS[item["arm"]].format(**item) + PREDICTS_IMAGE * item.get("anew", False)


def arms_of(results: Results, items: list[Item]) -> dict[str, list[Mapping[str, Any]]]:
    """Map the name of each arm to its available results over seeds."""
    results_by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        if result := results.result(item):
            results_by_arm.setdefault(name_of(item), []).append(result)
    return results_by_arm


def row(name: str, seeds: list[Mapping[str, Any]]) -> list[str]:
    """Return the table row of an arm, over its seeds."""

    def each(key: str, form: str) -> str:
        values = [one[key] for one in seeds if key in one]
        return "" if not values else format_range(values, form) if len(values) > 1 else format(values[0], form)

    serious = sorted({symptom for one in seeds for symptom in one.get("findings", ())})
    remedies = sum(one.get("remedies", 0) for one in seeds)
    health = (", ".join(serious) or "none" if "findings" in seeds[0] else "") + (
        f"; {remedies} remedies" * (remedies > 0)
    )
    return [name, *(each(metric, ".3f") for metric in METRICS), each("seconds", ".0f"), health]


def summarise(arms: Mapping[str, list[Mapping[str, Any]]]) -> str:
    """Summarise the available results at 32 x 32 in one or two sentences."""
    l1, distance = METRICS[:2]
    sentences = []
    copy, cyclegan = arms.get(LABELS["copy"]), arms.get(LABELS["cyclegan"])
    if copy and cyclegan:
        lower = [sum(run[metric] < copy[0][metric] for run in cyclegan) for metric in (l1, distance)]
        sentences.append(
            f"CycleGAN is better than copying by L1 in {lower[0]} of {len(cyclegan)} runs, by kernel distance in "
            f"{lower[1]}."
        )
    adversarial = {
        name: median(runs, distance)
        for name, runs in arms.items()
        if name.startswith("pix2pix") and PREDICTS_IMAGE not in name
    }
    if adversarial and (l1_only := arms.get(LABELS["l1"])):
        best, base = min(adversarial, key=adversarial.__getitem__), median(l1_only, distance)
        beats = "beats" if adversarial[best] < base else "does not beat"
        sentences.append(
            f"Adversarial training {beats} L1 only by kernel distance: {adversarial[best]:.3f} for {best}, {base:.3f} "
            "without."
        )
    return " ".join(sentences)


def median(runs: list[Mapping[str, Any]], metric: str) -> float:
    """Return the median of a metric over runs."""
    return statistics.median(run[metric] for run in runs)


def write_table(results: Results, items: list[Item], args: Any) -> None:
    """Write the page from the available results."""
    columns = ("arm", "L1 ↓", "kernel distance ↓", "perceptual ↓", "processor time, s", "serious symptoms")
    tables, result = [], ""
    for size in (32, 64):
        arms = arms_of(results, [item for item in items if item["size"] == size])
        tables.append(table(columns, [row(name, seeds) for name, seeds in arms.items()]))
        if size == 32:
            plotted = {name: runs for name, runs in arms.items() if name != LABELS["shuffled"]}  # far from all others
            draw(plotted, args.out / "translation.png")
            result = summarise(arms)
    pictures = [picture_of(item) for item in items if item.get("picture") and results.result(item)]
    write(
        args.out / "translation.md",
        "# From outline to colour",
        f"{results.provenance(items)} Median [minimum, maximum] of {args.seeds} seeds on 212 held-out pairs. Method: "
        "docstring of `benchmarks/translation.py`. The targets themselves have an L1 of 0 and the kernel distance of "
        "the shuffled ones.",
        "## 32 x 32",
        result,
        tables[0],
        "![L1 against kernel distance](translation.png)",
        "## 64 x 64, one run of each",
        tables[1],
        "## Pictures",
        "Input, output, target; uncurated: the first 24 held-out emoji.",
        *(f"{name.removesuffix('.png').removeprefix('translation_')}:\n\n![samples]({name})" for name in pictures),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each arm")
    parser.add_argument("--steps", type=int, default=2000, help="steps of pix2pix and L1 only")
    parser.add_argument("--cycles", type=int, default=1500, help="steps of CycleGAN")
    parser.add_argument("--large", type=int, default=300, help="steps at 64 x 64")
    parser.add_argument("--only", nargs="+", default=LABELS, choices=LABELS, metavar="ARM", help="only these arms")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="number of parallel runs")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item, args.out)))
        return
    items = items_of(args)
    results = Results(args.out / "results" / "translation.jsonl")
    if not args.table:
        selected = [item for item in items if item["arm"] in args.only]
        results.measure(
            selected, lambda item: run_in_subprocess(__file__, item, 1, "--out", str(args.out)), args.processes
        )
    write_table(results, items, args)


if __name__ == "__main__":
    main()
