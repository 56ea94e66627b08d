"""From outline to colour on held-out emoji: pixels against distributions, with a game, without one, without pairs.

    python benchmarks/translation.py             about 80 minutes of CPU, two runs at once; a restart goes on
    python benchmarks/translation.py --table     rewrite translation.md and its pictures from results/translation.jsonl

How. 1,952 emoji to train on and 212 held out, 32 x 32 pixels, one thread a process, bf16, three seeds, learning rates
along a cosine to a fiftieth (`annealed`), with the package's loop, its watching and its repair. A run of pix2pix is
--steps of 16 pairs, one of CycleGAN --cycles of 16 inputs and 16 samples in orders of their own (`paired = false`):

  pix2pix    `pix2pix:cpu32` at three weights of L1
  l1         the same network by L1 alone: adversarial_weight 0
  anew       both again with a generator that makes images anew, as in the paper, and not a change: `change` false
  cyclegan   `cyclegan:cpu32`
  copy       the input itself
  shuffled   the truth of another input: what perfect samples get that belong to other inputs

and one run of each at 64 x 64 (`cpu64`), of --large steps, for the pictures: 24 held-out emoji, the first of their
order. Measured on all 212 held-out pairs, of the averaged generator: `paired_l1` on [-1, 1]; the perceptual distance to
the truth, `paired_efficientnet_lite0`; and `kd_efficientnet_lite0` between the outputs and the truths, which is below 0
for the truths themselves, for it is made for sets drawn apart. Seconds are those of the processor, training and
watching alone.

Expected: pix2pix below both of its baselines, copying and L1 alone, by kernel distance at one weight of L1 at least;
CycleGAN below copying by both L1 and kernel distance, and far below the shuffled truth by L1; no run above 10 minutes.
"""

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from _judging import in_memory
from _results import Item, Result, Results, in_child, parser, spread, table, write
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
from equipoise.training.sheet import side_by_side

WEIGHTS, PAPER = (10.0, 30.0, 100.0), 100.0
"""Of L1; and the paper's."""
METRICS = ("paired_l1", "kd_efficientnet_lite0", "paired_efficientnet_lite0")
SHOWN, SIDE = 24, 96
"""Emoji in a picture, and pixels of it that one comes to at most."""
TOLD = {
    "copy": "copy the input",
    "shuffled": "shuffled truth",
    "l1": "L1 alone",
    "pix2pix": "pix2pix, L1 weight {l1_weight:g}",
    "cyclegan": "CycleGAN, no pairs",
}
ANEW = ", images anew"


def measure(item: Item, out: Path) -> Result:
    """Train what is to be trained, and judge what it makes of all held-out inputs."""
    torch.set_num_threads(1)
    truth = held_out(item["size"])
    if item["arm"] == "copy":
        return judged(truth.source.expand_as(truth.real), truth.real)
    if item["arm"] == "shuffled":
        return judged(truth.real.roll(1, 0), truth.real)
    training = in_memory(experiment_of(item))
    told = followed(training)
    latents = training.state.model.latent(len(truth), torch.Generator(), None)
    made = probe.samples(training.state, latents, truth.source)
    if item["picture"]:
        sheet = side_by_side([truth.source[:SHOWN], made[:SHOWN], truth.real[:SHOWN]])
        larger = SIDE // item["size"]
        sheet = sheet.repeat_interleave(larger, 2).repeat_interleave(larger, 3)
        write_bytes(out / picture_of(item), encode_png(make_grid(sheet.numpy(), columns=9)))
    return {**judged(made, truth.real), **told}


def experiment_of(item: Item) -> Experiment:
    """What an arm runs."""
    unpaired, anew = item["arm"] == "cyclegan", item.get("anew", False)
    weights = {"l1": {"adversarial_weight": 0.0}, "pix2pix": {"l1_weight": item.get("l1_weight")}, "cyclegan": {}}
    return Experiment(
        data=PlugSpec("openmoji", {"image_size": item["size"], "paired": not unpaired}),
        model=PlugSpec(f"{'cyclegan' if unpaired else 'pix2pix'}:cpu{item['size']}", {"change": False} if anew else {}),
        controller=PlugSpec("annealed"),
        knobs=weights[item["arm"]],
        steps=item["steps"],
        batch_size=16,
        seed=item["seed"],
        precision="bf16",
        device="cpu",
        threads=1,
    )


def followed(training: Training) -> dict[str, Any]:
    """Train to the end: seconds of CPU, steps, serious findings by name, remedies, the verdict."""
    begun, findings, remedies, verdict, step = time.process_time(), set(), 0, "", 0
    for event in train(training):
        if isinstance(event, Sensed):
            findings |= {one.symptom for one in event.health.findings if one.severity >= SERIOUS}
        remedies += isinstance(event, Remedied)
        if isinstance(event, Finished):
            verdict, step = event.verdict, event.step
    seconds = time.process_time() - begun
    return {"seconds": seconds, "step": step, "findings": sorted(findings), "remedies": remedies, "verdict": verdict}


def held_out(size: int) -> PairedBatch:
    """All held-out pairs, in an order of their own."""
    data = catalog.build("data", "openmoji", {"image_size": size})
    batch: PairedBatch = data.stream("held_out", data.count("held_out"), 0).batch(0)
    return batch


def judged(made: Tensor, truth: Tensor) -> dict[str, float]:
    """The three figures of samples beside their truths."""
    result = {}
    for name in METRICS:
        metric = catalog.build("metrics", name)
        result[name] = metric.value(metric.statistics(ReferenceSet(truth)), made.contiguous())
    return result


def picture_of(item: Item) -> str:
    """The file of an arm's samples."""
    return f"translation_{item['arm']}{item['size']}.png"


def items_of(asked: Any) -> list[Item]:
    """Everything to be measured, the baselines first."""
    items: list[Item] = [{"arm": arm, "size": 32} for arm in ("copy", "shuffled")]
    for seed in range(asked.seeds):
        shared = {"size": 32, "seed": seed, "picture": seed == 0}
        items.append({**shared, "arm": "cyclegan", "steps": asked.cycles})
        items.append({**shared, "arm": "l1", "steps": asked.steps})
        for weight in WEIGHTS:
            picture = seed == 0 and weight == PAPER
            items.append({**shared, "arm": "pix2pix", "steps": asked.steps, "l1_weight": weight, "picture": picture})
    large = {"size": 64, "seed": 0, "picture": True}
    items.append({**large, "arm": "pix2pix", "steps": asked.large, "l1_weight": PAPER})
    items.append({**large, "arm": "cyclegan", "steps": asked.large})
    for seed in range(asked.seeds):
        anew = {"size": 32, "seed": seed, "picture": False, "steps": asked.steps, "anew": True}
        items += [{**anew, "arm": "l1"}, {**anew, "arm": "pix2pix", "l1_weight": PAPER}]
    return items


def name_of(item: Item) -> str:
    """What an arm is called in the table."""
    return TOLD[item["arm"]].format(**item) + ANEW * item.get("anew", False)


def arms_of(results: Results, items: list[Item]) -> dict[str, list[Mapping[str, Any]]]:
    """Name of an arm -> its results over seeds, of those that are there."""
    matches: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        if result := results.result(item):
            matches.setdefault(name_of(item), []).append(result)
    return matches


def row(name: str, seeds: list[Mapping[str, Any]]) -> list[str]:
    """An arm, over its seeds."""

    def each(key: str, form: str) -> str:
        values = [one[key] for one in seeds if key in one]
        return "" if not values else spread(values, form) if len(values) > 1 else format(values[0], form)

    serious = sorted({symptom for one in seeds for symptom in one.get("findings", ())})
    mended = sum(one.get("remedies", 0) for one in seeds)
    health = (", ".join(serious) or "none" if "findings" in seeds[0] else "") + (f"; {mended} remedies" * (mended > 0))
    return [name, *(each(metric, ".3f") for metric in METRICS), each("seconds", ".0f"), health]


def answers(arms: Mapping[str, list[Mapping[str, Any]]]) -> str:
    """What the 32 x 32 arms that are there come to, in a sentence or two; as far as they are there."""
    l1, distance = METRICS[:2]
    said = []
    copied, cycled = arms.get(TOLD["copy"]), arms.get(TOLD["cyclegan"])
    if copied and cycled:
        below = [sum(run[metric] < copied[0][metric] for run in cycled) for metric in (l1, distance)]
        said.append(
            f"CycleGAN is below copying by L1 in {below[0]} of {len(cycled)} runs, by kernel distance in {below[1]}."
        )
    games = {
        name: median(runs, distance) for name, runs in arms.items() if name.startswith("pix2pix") and ANEW not in name
    }
    if games and (alone := arms.get(TOLD["l1"])):
        best, base = min(games, key=games.__getitem__), median(alone, distance)
        beats = "beats" if games[best] < base else "does not beat"
        said.append(
            f"The game {beats} L1 alone by kernel distance: {games[best]:.3f} for {best}, {base:.3f} without it."
        )
    return " ".join(said)


def median(runs: list[Mapping[str, Any]], metric: str) -> float:
    """Of runs, by a metric."""
    return statistics.median(run[metric] for run in runs)


def write_table(results: Results, items: list[Item], asked: Any) -> None:
    """The page, from what is there."""
    columns = ("arm", "L1 ↓", "kernel distance ↓", "perceptual ↓", "seconds of CPU", "serious findings")
    pages, result = [], ""
    for size in (32, 64):
        arms = arms_of(results, [item for item in items if item["size"] == size])
        pages.append(table(columns, [row(name, seeds) for name, seeds in arms.items()]))
        if size == 32:
            drawn = {name: runs for name, runs in arms.items() if name != TOLD["shuffled"]}  # far from all others
            draw(drawn, asked.out / "translation.png")
            result = answers(arms)
    pictures = [picture_of(item) for item in items if item.get("picture") and results.result(item)]
    write(
        asked.out / "translation.md",
        "# From outline to colour",
        f"{results.head(items)} Median [minimum, maximum] of {asked.seeds} seeds on 212 held-out pairs. How: the head "
        "of `benchmarks/translation.py`. The truths themselves get an L1 of 0 and the shuffled ones' kernel distance.",
        "## 32 x 32",
        result,
        pages[0],
        "![L1 against kernel distance](translation.png)",
        "## 64 x 64, one run of each",
        pages[1],
        "## Pictures",
        "Input, output, truth; the first 24 held-out emoji, none picked.",
        *(f"{name.removesuffix('.png').removeprefix('translation_')}:\n\n![samples]({name})" for name in pictures),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=3, help="runs of each arm")
    made.add_argument("--steps", type=int, default=2000, help="of pix2pix and L1 alone")
    made.add_argument("--cycles", type=int, default=1500, help="steps of CycleGAN")
    made.add_argument("--large", type=int, default=300, help="steps at 64 x 64, of either")
    made.add_argument("--only", nargs="+", default=TOLD, choices=TOLD, metavar="ARM", help="of these arms alone")
    made.add_argument("--processes", type=int, default=2, metavar="N", help="runs at once")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item, asked.out)))
        return
    items = items_of(asked)
    results = Results(asked.out / "results" / "translation.jsonl")
    if not asked.table:
        wanted = [item for item in items if item["arm"] in asked.only]
        results.measure(wanted, lambda item: in_child(__file__, item, 1, "--out", str(asked.out)), asked.processes)
    write_table(results, items, asked)


if __name__ == "__main__":
    main()
