"""A discriminator that wins in the first epochs on 218 windows: the textbook settings before and after known fixes.

    python benchmarks/first_epoch_collapse.py             about 20 minutes of one core; a restart continues
    python benchmarks/first_epoch_collapse.py --table     rewrite table and picture from the available results

Method. `experiments/first_epoch_collapse.toml` on the SYNTHETIC bursts of `scripts/make_bursts.py` (seed 0), in bf16:

  before    without its knobs: lr 2e-4 for both networks, labels 1 and 0, no noise
  after     unchanged: lr_d = lr / 4, labels of reals 0.8 to 1 and of fakes 0 to 0.2, instance noise 0.05
  stronger  what is recommended if that is not enough: lr_d = lr / 10, two generator updates per discriminator update,
            a gradient penalty of weight 10, and all types of bursts, 258 windows instead of 218
  default   for comparison `dcgan` without a preset on the 218 windows: R1, no normalisation in D, `annealed`

all without repair; for two epochs at 128 x 128 pixels and the textbook width of 64, as the collapse was reported
(`before` and `after`), and for 25 epochs at 64 x 64 and width 32, which cost a fourteenth each. Three seeds of each.
Then `before` and `after` for 100 epochs, one seed.

Values are means over the steps of an epoch, from the log of the run: every step is logged up to step 100, later a mean
of 50 steps, about four epochs. D(x) and D(G(z)) are those of the discriminator's update, in training mode.

`distance`: unbiased kernel distance with a cubic kernel (metrics/_kernel.py), times 1,000, between 218 samples of the
averaged generator and 218 bursts of another seed that are not training data (258 of all types for `stronger`), on
thumbnails of 16 x 16 in [-1, 1]: it measures the distribution of brightness, not detail. `diversity`: mean distance
between two samples over that between two of those bursts, on the same thumbnails. `symptoms`: those with severity 0.5
or more, with their first step. Run folders are kept in --runs; `equipoise report RUN` makes the film of one.
"""

import importlib.util
import json
import shutil
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from _log_numbers import HEALTHY, means, serious_symptoms, share_within
from _results import ROOT, Item, Result, Results, create_parser, format_range, run_in_subprocess, table, write
from PIL import Image
from torch import Tensor

import equipoise
from equipoise.core.data import DataSpec
from equipoise.data._windows.decoder import resample
from equipoise.data._windows.streams import scale_to_range
from equipoise.experiment.files import load_experiment
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.inference.sample_files import to_data_unit
from equipoise.metrics._kernel import kernel_distance
from equipoise.runs.artifacts import make_grid
from equipoise.runs.run import Run

NAME = "first_epoch_collapse"
BEFORE = {"lr_d": 2e-4, "real_label_low": 1.0, "fake_label_high": 0.0, "instance_noise": 0.0}
STRONGER = {"lr_d": 2e-5, "generator_steps": 2.0}
ARMS = ("before", "after", "stronger", "default")
COUNTS = {"type_2": 36, "type_3": 218, "type_5": 4}
TRAINED = {"stronger": 232}
"""Number of training windows where it is not 196: nine tenths of all."""
EPOCHS = {64: (1, 2, 5, 20, 25), 128: (1, 2)}
LONG = (50, 100)
"""Epochs of the longer runs: of one seed and two arms."""
BATCH = 16
THUMBNAIL, UNSEEN = 16, 1
"""Pixels per side, and the seed of the bursts that samples are compared with."""
LABELS = {"loss_d": "Loss_D", "loss_g": "Loss_G", "real": "D(x)", "fake": "D(G(z))"}
UNIT = (-5.0, 45.0)
"""Decibels that -1 and 1 represent where samples of all arms are compared; all bursts are within."""
SUMMARY = """**Results.** *Before*: the discriminator wins as reported (D(x) 1.00, D(G(z)) 0.00, Loss_D 0.00 and
Loss_G 46 after one epoch): at 128 pixels D(x) is 0.98 and Loss_G 16 in the second epoch; at half the size and width
it takes five epochs. After 50 epochs D(x) is 1.000; after 100 the samples are still noise. *After*: the losses are as
described in the source, about 1.5, 1.2 and 1.0, and from the second epoch Loss_D stays within 0.5–2.0. That alone is no
evidence of health: with mean labels of 0.9 and 0.1, a discriminator that wins completely outputs 0.9 and 0.1 at a
Loss_D of 0.65, the entropy of the labels, and the 0.88, 0.14 and 0.68 of epoch 25 are close to that; the samples are
noise then, too, almost the same for every latent. But the generator recovers: after 100 epochs D(x) is 0.71 and
D(G(z)) 0.28, both in their ranges, and it generates bursts, blurred and with little diversity. *Stronger* is too
strong: the discriminator cannot follow, D(G(z)) is 0.996, and the generator learns nothing from it in 25 epochs.
*Default* generates bursts within 25 epochs, with the same distance to unseen bursts as these have to each other. It
differs in several ways (R1, no normalisation in the discriminator, other initial weights and upsampling, a tenfold
learning rate that is annealed), so this does not show which of them matters."""
ROWS, COLUMNS, GAP = 4, 2, 8
"""Of each panel of the picture, and the pixels between two panels."""


@cache
def script() -> ModuleType:
    """Import the script that makes the bursts."""
    spec = importlib.util.spec_from_file_location("make_bursts", ROOT / "scripts" / "make_bursts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bursts(root: Path) -> Path:
    """Return the folder of bursts, after creating it if necessary."""
    folder = root / "bursts"
    if not folder.exists():
        partial = root / ".bursts.partial"
        shutil.rmtree(partial, ignore_errors=True)
        script().write(partial)
        partial.replace(folder)
    return folder


def experiment_of(item: Item, root: Path) -> Experiment:
    """Return the experiment of an arm."""
    file = load_experiment(ROOT / "experiments" / f"{NAME}.toml")
    assert file.data is not None
    arm, large = item["arm"], item["size"] == 128
    options = {**file.data.options, "folder": str(bursts(root)), "cache": str(root / f"cache-{arm}")}
    options["image_size"] = None if large else item["size"]
    if arm == "stronger":
        options["types"] = None
    shared: dict[str, Any] = {"data": PlugSpec(file.data.name, options), "batch_size": BATCH, "steps": last_step(item)}
    shared |= {"seed": item["seed"], "threads": 1, "device": "cpu", "precision": "bf16", "sample_every": 18}
    if large:
        shared |= {"options": {"width": 64}, "sample_every": 1000}
    if arm == "default":
        return Experiment(**shared, repair=False)
    changes: dict[str, Any] = {"before": {"knobs": BEFORE}, "after": {}}.get(
        arm, {"knobs": STRONGER, "constraint": "gradient_penalty"}
    )
    return file.merge(Experiment(**shared, **changes))


def epochs_of(item: Item) -> tuple[int, ...]:
    """Return the epochs in the table; the last one is the end of the run."""
    return LONG if item.get("long") else EPOCHS[item["size"]]


def last_step(item: Item, epoch: int | None = None) -> int:
    """Return the last step of an epoch, by default the last epoch."""
    return round((epoch or epochs_of(item)[-1]) * TRAINED.get(item["arm"], 196) / BATCH)


def measure(item: Item, root: Path) -> Result:
    """Train one arm with one seed, and evaluate its log and its samples."""
    folder = folder_of(item, root)
    shutil.rmtree(folder, ignore_errors=True)
    for _ in equipoise.start(experiment_of(item, root), folder):
        pass
    run = Run(folder)
    sensed = run.lines("sensed")
    output = {
        "epochs": {str(epoch): means(sensed, *bounds(item, epoch)) for epoch in epochs_of(item)},
        "healthy": {name: share_within(sensed, name, last_step(item, 1)) for name in HEALTHY},
        "found": serious_symptoms(sensed),
        "seconds": run.lines("finished")[-1]["seconds"],
    }
    return output if item["size"] == 128 else output | sample_statistics(item, folder)


def folder_of(item: Item, root: Path) -> Path:
    return root / f"{item['arm']}-{item['size']}-{item['seed']}{'-long' if item.get('long') else ''}"


def bounds(item: Item, epoch: int) -> tuple[int, int]:
    """Return the step before the first and the last step of an epoch."""
    return last_step(item, epoch - 1) if epoch > 1 else 0, last_step(item, epoch)


def with_unit(unit: tuple[float, float]) -> DataSpec:
    """Return the description of images whose values -1 and 1 represent these decibels."""
    return DataSpec((1, 64, 64), unit=unit)


def sample_statistics(item: Item, folder: Path) -> dict[str, float]:
    """Compare samples with bursts that are not training data."""
    generator = equipoise.load(folder)
    decibels = to_data_unit(generator.sample(218, seed=7).numpy(), generator.spec)
    samples = scale_to_range(torch.from_numpy(decibels), with_unit(UNIT))
    real, fake = thumbnails(unseen(item["arm"] == "stronger")), thumbnails(samples)
    diversity = float(torch.pdist(fake).mean() / torch.pdist(real).mean())
    return {"distance": 1000 * kernel_distance(real, fake), "diversity": diversity}


def unseen(all_types: bool, seed: int = UNSEEN) -> Tensor:
    """Return bursts of another seed, (N, 1, 64, 64) in [-1, 1]: of type III, or of all types."""
    counts = COUNTS if all_types else {"type_3": COUNTS["type_3"]}
    windows = [resample(values.astype(np.float32), (64, 64)) for _, values in script().windows(counts, seed=seed)]
    return scale_to_range(torch.from_numpy(np.stack(windows)).unsqueeze(1), with_unit(UNIT))


def thumbnails(windows: Tensor) -> Tensor:
    """Return thumbnails, (N, 256) float32."""
    return torch.nn.functional.interpolate(
        windows, size=(THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True
    ).flatten(1)


def format_values(values: list[float], form: str) -> str:
    """Format "median [minimum, maximum]", or the only value."""
    return format_range(values, form) if len(values) > 1 else format(values[0], form)


def row(arm: str, epoch: int, results_of_seeds: list[Result]) -> list[str]:
    """Return a table row: one epoch of an arm, over its seeds."""
    cells = [[output["epochs"][str(epoch)][name] for output in results_of_seeds] for name in LABELS]
    return [arm, str(epoch), *(format_values(values, ".3f") for values in cells)]


def ends(arm: str, results_of_seeds: list[Result]) -> list[str]:
    """Return a table row: the end of an arm, over its seeds."""
    shares = [format_values([100 * output["healthy"][name] for output in results_of_seeds], ".0f") for name in LABELS]
    quality = [
        format_values([output[name] for output in results_of_seeds], form)
        for name, form in (("distance", ".1f"), ("diversity", ".2f"))
    ]
    steps_by_symptom: dict[str, list[int]] = {}
    for output in results_of_seeds:
        for symptom, step in output["found"].items():
            steps_by_symptom.setdefault(symptom.replace("_", " "), []).append(step)
    symptoms = [
        f"{symptom} ({len(steps)} of {len(results_of_seeds)}, from step {min(steps)})"
        for symptom, steps in steps_by_symptom.items()
    ]
    return [arm, *shares, *quality, "; ".join(symptoms) or "none"]


def floor() -> str:
    """Return the distance between two sets of bursts of different seeds."""
    distances = [
        1000 * kernel_distance(thumbnails(unseen(False)), thumbnails(unseen(False, seed))) for seed in (2, 3, 4)
    ]
    return format_range(distances, ".1f")


def write_table(results: Results, items: list[Item], args: Any) -> None:
    groups: dict[tuple[str, str], tuple[Item, list[Result]]] = {}
    for item in items:
        if result := results.result(item):
            part = "long" if item.get("long") else str(item["size"])
            groups.setdefault((part, item["arm"]), (item, []))[1].append(result)

    def epochs(part: str) -> str:
        arms = [groups[part, arm] for arm in ARMS if (part, arm) in groups]
        return table(
            ("arm", "epoch", *LABELS.values()),
            [row(item["arm"], epoch, results_of_seeds) for item, results_of_seeds in arms for epoch in epochs_of(item)],
        )

    def last(part: str) -> str:
        ranges = [f"{LABELS[name]} in {low:g}–{high:g}, %" for name, (low, high) in HEALTHY.items()]
        arms = [ends(arm, groups[part, arm][1]) for arm in ARMS if (part, arm) in groups]
        return table(("arm", *ranges, "distance", "diversity", "symptoms"), arms)

    write(
        args.out / f"{NAME}.md",
        "# A discriminator that wins in the first epochs, before and after known fixes",
        f"{results.provenance(items)} Median [minimum, maximum] of {args.seeds} seeds. The bursts are SYNTHETIC. "
        f"Method and arms: docstring of `benchmarks/{NAME}.py`.",
        SUMMARY,
        "## 128 × 128 pixels, width 64, as reported",
        epochs("128"),
        "## 64 × 64 pixels, width 32, 25 epochs",
        epochs("64"),
        last("64"),
        "Shares are of all steps after the first epoch. The distance between two sets of 218 unseen bursts is "
        f"{floor()}.",
        "Unseen bursts; then uncurated samples of seed 0 of *before*, *after*, *stronger*, *default*, and of *after* "
        "with 100 epochs:",
        f"![samples]({NAME}.png)",
        "## The same, 100 epochs, one seed",
        epochs("long"),
        last("long"),
        f"The films are not committed; `equipoise report runs/{NAME}/before-64-0-long` and `equipoise report "
        f"runs/{NAME}/after-64-0-long` write them to `film/training_progress.mp4` in these run folders.",
    )


def picture(root: Path, path: Path) -> None:
    """Draw unseen bursts, and the first samples of each arm (seed 0), side by side."""
    panels = [unseen(False)]
    pictured = [{"arm": arm, "size": 64, "seed": 0} for arm in ARMS]
    for item in (*pictured, {**pictured[1], "long": True}):
        folder = folder_of(item, root)
        if (folder / "generator.safetensors").exists():
            generator = equipoise.load(folder)
            decibels = to_data_unit(generator.sample(ROWS * COLUMNS, seed=7).numpy(), generator.spec)
            panels.append(scale_to_range(torch.from_numpy(decibels), with_unit((UNIT[0], 35.0))))
    first = to_data_unit(panels[0].numpy(), with_unit(UNIT))
    panels[0] = scale_to_range(torch.from_numpy(first), with_unit((UNIT[0], 35.0)))
    sheets = [make_grid(panel[: ROWS * COLUMNS].numpy(), columns=COLUMNS) for panel in panels]
    width, height = sheets[0].size
    sheet = Image.new("L", (len(sheets) * (width + GAP) - GAP, height), 255)
    for place, each in enumerate(sheets):
        sheet.paste(each, (place * (width + GAP), 0))
    levels = sheet.quantize(32)
    levels.save(path, optimize=True)


def items_of(args: Any) -> list[Item]:
    """Return everything to measure; the runs of the first table come first."""
    first = [{"arm": arm, "size": 128, "seed": seed} for seed, arm in product(range(args.seeds), ARMS[:2])]
    rest = [{"arm": arm, "size": 64, "seed": seed} for seed, arm in product(range(args.seeds), ARMS)]
    return [*rest, *first, *({"arm": arm, "size": 64, "seed": 0, "long": True} for arm in ARMS[:2])]


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each arm")
    parser.add_argument("--runs", type=Path, default=Path("runs") / NAME, help="folder of data and run folders")
    parser.add_argument("--at-once", type=int, default=1, help="number of parallel runs")
    args = parser.parse_args()
    root = args.runs.resolve()
    if args.item:
        print(json.dumps(measure(args.item, root)))
        return
    items = items_of(args)
    results = Results(args.out / "results" / f"{NAME}.jsonl")
    if not args.table:
        root.mkdir(parents=True, exist_ok=True)
        bursts(root)
        results.measure(items, lambda item: run_in_subprocess(__file__, item, 1, "--runs", str(root)), args.processes)
    if (folder_of(items[0], root) / "generator.safetensors").exists():
        picture(root, args.out / f"{NAME}.png")
    write_table(results, items, args)


if __name__ == "__main__":
    main()
