"""A discriminator that wins in the first epochs on 218 windows: the textbook's game before and after the known fixes.

    python benchmarks/first_epoch_collapse.py             about 20 minutes of one core; a restart goes on
    python benchmarks/first_epoch_collapse.py --table     rewrite the table and the picture from what is there

How. `experiments/first_epoch_collapse.toml` on the SYNTHETIC bursts of `scripts/make_bursts.py` (seed 0), in bf16:

  before    without its knobs: lr 2e-4 for both players, labels 1 and 0, no noise
  after     as it stands: lr_d = lr / 4, labels of reals 0.8 to 1 and of fakes 0 to 0.2, instance noise 0.05
  stronger  what is advised where that is not enough: lr_d = lr / 10, two generator updates a discriminator update,
            a gradient penalty of weight 10, and all types of bursts, 258 windows instead of 218
  default   for comparison `dcgan` of no preset on the 218 windows: R1, no normalisation in D, `annealed`

all without repairs; for two epochs at 128 x 128 pixels and the textbook's width of 64, as the collapse was reported
(`before` and `after`), and for 25 epochs at 64 x 64 and width 32, which cost a fourteenth each. Three seeds of each.
Then `before` and `after` once more for 100 epochs, one seed.

Numbers are means over the steps of an epoch, from the run's own log: every step is logged up to step 100, later a mean
of 50 steps, about four epochs. D(x) and D(G(z)) are those of the discriminator's update, in training mode.

`distance`: unbiased kernel distance with a cubic kernel (metrics/_kernel.py), times 1,000, between 218 samples of the
averaged generator and 218 bursts of another seed that no run has seen (258 of all types for `stronger`), on thumbnails
of 16 x 16 in [-1, 1]: it sees where brightness lies, not detail. `diversity`: mean distance of two samples over that of
two of those bursts, on the same thumbnails. `found`: what the watching called serious (severity 0.5 or more), and from
which step. Run folders stay in --runs; `equipoise report RUN` makes the film of one.
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
from _log_numbers import HEALTHY, means, result, share_within
from _results import ROOT, Item, Result, Results, in_child, parser, spread, table, write
from PIL import Image
from torch import Tensor

import equipoise
from equipoise.data._windows import resampled, scaled
from equipoise.experiment.settings import Experiment, PlugSpec, read_toml
from equipoise.inference.sample_files import in_unit
from equipoise.metrics._kernel import kernel_distance
from equipoise.runs import run_folder as runs

NAME = "first_epoch_collapse"
BEFORE = {"lr_d": 2e-4, "real_label_low": 1.0, "fake_label_high": 0.0, "instance_noise": 0.0}
STRONGER = {"lr_d": 2e-5, "generator_steps": 2.0}
ARMS = ("before", "after", "stronger", "default")
COUNTS = {"type_2": 36, "type_3": 218, "type_5": 4}
TRAINED = {"stronger": 232}
"""Windows that are trained on where that is not 196: nine tenths of all."""
EPOCHS = {64: (1, 2, 5, 20, 25), 128: (1, 2)}
LONG = (50, 100)
"""Of the longer runs: of one seed, and of two arms."""
BATCH = 16
THUMBNAIL, UNSEEN = 16, 1
"""Pixels a side, and the seed of the bursts that are compared with."""
TOLD = {"loss_d": "Loss_D", "loss_g": "Loss_G", "real": "D(x)", "fake": "D(G(z))"}
UNIT = (-5.0, 45.0)
"""Decibels that -1 and 1 stand for where samples of all arms are compared; every burst lies within."""
SAID = """**What is seen.** *Before*: the discriminator wins as it was reported (D(x) 1.00, D(G(z)) 0.00, Loss_D
0.00 and Loss_G 46 after one epoch): at 128 pixels D(x) is 0.98 and Loss_G 16 in the second epoch, at half the size
and width it takes five. After 50 epochs D(x) is 1.000, after 100 the samples are still noise. *After*: the losses
take the course that was promised, about 1.5, 1.2 and 1.0, and from the second epoch Loss_D stays within 0.5–2.0.
That alone does not mean health: with labels of 0.9 and 0.1 in the mean, a discriminator that wins outright says 0.9
and 0.1 at a Loss_D of 0.65, the entropy of the labels, and 0.88, 0.14 and 0.68 in epoch 25 are close to that; the
samples are noise then, too, nearly the same for every latent. But the generator finds its way out: with 100 epochs
D(x) is 0.71 and D(G(z)) 0.28, both in their ranges, and it draws bursts, blurred ones of little diversity.
*Stronger* goes too far: the discriminator cannot follow, D(G(z)) is 0.996, and the generator learns nothing from it
in 25 epochs. *Default* draws bursts in those 25, as far from unseen ones as those are from each other. It differs
in several things at once (R1, no normalisation in the discriminator, other initial weights and upsampling, a
tenfold learning rate that is annealed), so this does not say which of them counts."""
ROWS, COLUMNS, GAP = 4, 2, 8
"""Of each panel of the picture, and the pixels between two panels."""


@cache
def script() -> ModuleType:
    """The maker of bursts."""
    spec = importlib.util.spec_from_file_location("make_bursts", ROOT / "scripts" / "make_bursts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bursts(home: Path) -> Path:
    """The folder of bursts, made if it is not there."""
    folder = home / "bursts"
    if not folder.exists():
        partial = home / ".bursts.partial"
        shutil.rmtree(partial, ignore_errors=True)
        script().write(partial)
        partial.replace(folder)
    return folder


def experiment_of(item: Item, home: Path) -> Experiment:
    """What an arm runs."""
    file = read_toml(ROOT / "experiments" / f"{NAME}.toml")
    assert file.data is not None
    arm, large = item["arm"], item["size"] == 128
    options = {**file.data.options, "folder": str(bursts(home)), "cache": str(home / f"cache-{arm}")}
    options["image_size"] = None if large else item["size"]
    if arm == "stronger":
        options["types"] = None
    plain: dict[str, Any] = {"data": PlugSpec(file.data.name, options), "batch_size": BATCH, "steps": last_step(item)}
    plain |= {"seed": item["seed"], "threads": 1, "device": "cpu", "precision": "bf16", "sample_every": 18}
    if large:
        plain |= {"options": {"width": 64}, "sample_every": 1000}
    if arm == "default":
        return Experiment(**plain, repair=False)
    changes: dict[str, Any] = {"before": {"knobs": BEFORE}, "after": {}}.get(
        arm, {"knobs": STRONGER, "constraint": "gradient_penalty"}
    )
    return file.overlaid(Experiment(**plain, **changes))


def epochs_of(item: Item) -> tuple[int, ...]:
    """The epochs that are told; the last one is the end."""
    return LONG if item.get("long") else EPOCHS[item["size"]]


def last_step(item: Item, epoch: int | None = None) -> int:
    """The step that ends an epoch, by default the last."""
    return round((epoch or epochs_of(item)[-1]) * TRAINED.get(item["arm"], 196) / BATCH)


def measure(item: Item, home: Path) -> Result:
    """Train one arm with one seed, and look at its log and its samples."""
    folder = folder_of(item, home)
    shutil.rmtree(folder, ignore_errors=True)
    for _ in equipoise.start(experiment_of(item, home), folder):
        pass
    run = runs.Run(folder)
    sensed = run.named("sensed")
    answer = {
        "epochs": {str(epoch): means(sensed, *bounds(item, epoch)) for epoch in epochs_of(item)},
        "healthy": {name: share_within(sensed, name, last_step(item, 1)) for name in HEALTHY},
        "found": result(sensed),
        "seconds": run.named("finished")[-1]["seconds"],
    }
    return answer if item["size"] == 128 else answer | judged(item, folder)


def folder_of(item: Item, home: Path) -> Path:
    return home / f"{item['arm']}-{item['size']}-{item['seed']}{'-long' if item.get('long') else ''}"


def bounds(item: Item, epoch: int) -> tuple[int, int]:
    """After which step an epoch begins, and with which it ends."""
    return last_step(item, epoch - 1) if epoch > 1 else 0, last_step(item, epoch)


def judged(item: Item, folder: Path) -> dict[str, float]:
    """How far samples are from bursts that no run has seen."""
    generator = equipoise.load(folder)
    unit = generator.spec.unit
    assert unit is not None
    samples = scaled(torch.from_numpy(in_unit(generator.sample(218, seed=7).numpy(), unit)), UNIT)
    real, made = thumbnails(unseen(item["arm"] == "stronger")), thumbnails(samples)
    diversity = float(torch.pdist(made).mean() / torch.pdist(real).mean())
    return {"distance": 1000 * kernel_distance(real, made), "diversity": diversity}


def unseen(every: bool, seed: int = UNSEEN) -> Tensor:
    """Bursts of another seed, (N, 1, 64, 64) in [-1, 1]: of type III, or of all types."""
    counts = COUNTS if every else {"type_3": COUNTS["type_3"]}
    windows = [resampled(values.astype(np.float32), (64, 64)) for _, values in script().windows(counts, seed=seed)]
    return scaled(torch.from_numpy(np.stack(windows)).unsqueeze(1), UNIT)


def thumbnails(windows: Tensor) -> Tensor:
    """(N, 256) float32."""
    return torch.nn.functional.interpolate(
        windows, size=(THUMBNAIL, THUMBNAIL), mode="bilinear", antialias=True
    ).flatten(1)


def told(values: list[float], form: str) -> str:
    """Median [minimum, maximum], or the only value."""
    return spread(values, form) if len(values) > 1 else format(values[0], form)


def row(arm: str, epoch: int, answers: list[Result]) -> list[str]:
    """An epoch of an arm, over its seeds."""
    cells = [[answer["epochs"][str(epoch)][name] for answer in answers] for name in TOLD]
    return [arm, str(epoch), *(told(values, ".3f") for values in cells)]


def ends(arm: str, answers: list[Result]) -> list[str]:
    """The end of an arm, over its seeds."""
    shares = [told([100 * answer["healthy"][name] for answer in answers], ".0f") for name in TOLD]
    quality = [
        told([answer[name] for answer in answers], form) for name, form in (("distance", ".1f"), ("diversity", ".2f"))
    ]
    seen: dict[str, list[int]] = {}
    for answer in answers:
        for symptom, step in answer["found"].items():
            seen.setdefault(symptom.replace("_", " "), []).append(step)
    named = [f"{symptom} ({len(steps)} of {len(answers)}, from step {min(steps)})" for symptom, steps in seen.items()]
    return [arm, *shares, *quality, "; ".join(named) or "nothing"]


def floor() -> str:
    """The distance of two sets of bursts that are as far apart as chance has it."""
    distances = [
        1000 * kernel_distance(thumbnails(unseen(False)), thumbnails(unseen(False, seed))) for seed in (2, 3, 4)
    ]
    return spread(distances, ".1f")


def write_table(results: Results, items: list[Item], asked: Any) -> None:
    groups: dict[tuple[str, str], tuple[Item, list[Result]]] = {}
    for item in items:
        if result := results.result(item):
            part = "long" if item.get("long") else str(item["size"])
            groups.setdefault((part, item["arm"]), (item, []))[1].append(result)

    def epochs(part: str) -> str:
        matches = [groups[part, arm] for arm in ARMS if (part, arm) in groups]
        return table(
            ("arm", "epoch", *TOLD.values()),
            [row(item["arm"], epoch, answers) for item, answers in matches for epoch in epochs_of(item)],
        )

    def last(part: str) -> str:
        ranges = [f"{TOLD[name]} in {low:g}–{high:g}, %" for name, (low, high) in HEALTHY.items()]
        matches = [ends(arm, groups[part, arm][1]) for arm in ARMS if (part, arm) in groups]
        return table(("arm", *ranges, "distance", "diversity", "found"), matches)

    write(
        asked.out / f"{NAME}.md",
        "# A discriminator that wins in the first epochs, before and after the fixes",
        f"{results.head(items)} Median [minimum, maximum] of {asked.seeds} seeds. The bursts are SYNTHETIC. How, and "
        f"what the arms are: the head of `benchmarks/{NAME}.py`.",
        SAID,
        "## 128 × 128 pixels, width 64, as it was reported",
        epochs("128"),
        "## 64 × 64 pixels, width 32, 25 epochs",
        epochs("64"),
        last("64"),
        f"Shares are of all steps after the first epoch. Two sets of 218 unseen bursts are {floor()} apart.",
        "Unseen bursts; then the first samples of seed 0 of *before*, *after*, *stronger*, *default*, and of *after* "
        "with 100 epochs, none picked:",
        f"![samples]({NAME}.png)",
        "## The same, 100 epochs, one seed",
        epochs("long"),
        last("long"),
        f"The two films are not kept here: `equipoise report runs/{NAME}/before-64-0-long` and `equipoise report "
        f"runs/{NAME}/after-64-0-long` write them to `film/training_progress.mp4` of those run folders.",
    )


def picture(home: Path, path: Path) -> None:
    """Unseen bursts, and samples of each arm (seed 0), the first ones made, side by side."""
    panels = [unseen(False)]
    shown = [{"arm": arm, "size": 64, "seed": 0} for arm in ARMS]
    for item in (*shown, {**shown[1], "long": True}):
        folder = folder_of(item, home)
        if (folder / "generator.safetensors").exists():
            generator = equipoise.load(folder)
            assert generator.spec.unit is not None
            decibels = in_unit(generator.sample(ROWS * COLUMNS, seed=7).numpy(), generator.spec.unit)
            panels.append(scaled(torch.from_numpy(decibels), (UNIT[0], 35.0)))
    panels[0] = scaled(torch.from_numpy(in_unit(panels[0].numpy(), UNIT)), (UNIT[0], 35.0))
    sheets = [runs.grid(panel[: ROWS * COLUMNS].numpy(), columns=COLUMNS) for panel in panels]
    width, height = sheets[0].size
    sheet = Image.new("L", (len(sheets) * (width + GAP) - GAP, height), 255)
    for place, each in enumerate(sheets):
        sheet.paste(each, (place * (width + GAP), 0))
    levels = sheet.quantize(32)
    levels.save(path, optimize=True)


def items_of(asked: Any) -> list[Item]:
    """Everything to be measured; what the first table needs comes first."""
    first = [{"arm": arm, "size": 128, "seed": seed} for seed, arm in product(range(asked.seeds), ARMS[:2])]
    rest = [{"arm": arm, "size": 64, "seed": seed} for seed, arm in product(range(asked.seeds), ARMS)]
    return [*rest, *first, *({"arm": arm, "size": 64, "seed": 0, "long": True} for arm in ARMS[:2])]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=3, help="runs of each arm")
    made.add_argument("--runs", type=Path, default=Path("runs") / NAME, help="where data and run folders go")
    made.add_argument("--at-once", type=int, default=1, help="runs at the same time")
    asked = made.parse_args()
    home = asked.runs.resolve()
    if asked.item:
        print(json.dumps(measure(asked.item, home)))
        return
    items = items_of(asked)
    results = Results(asked.out / "results" / f"{NAME}.jsonl")
    if not asked.table:
        home.mkdir(parents=True, exist_ok=True)
        bursts(home)
        results.measure(items, lambda item: in_child(__file__, item, 1, "--runs", str(home)), asked.at_once)
    if (folder_of(items[0], home) / "generator.safetensors").exists():
        picture(home, asked.out / f"{NAME}.png")
    write_table(results, items, asked)


if __name__ == "__main__":
    main()
