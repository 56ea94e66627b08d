"""Does a run on a folder of colour pictures learn faster from pre-trained weights?

    python benchmarks/starter.py pictures          fetch the pictures that the weights are trained on
    python benchmarks/starter.py train             train them: 20 CPU minutes of one thread
    python benchmarks/starter.py pack              write them to equipoise/experiment/starter_weights
    python benchmarks/photographs.py sets          fetch the pictures of the measurement
    python benchmarks/starter.py measure --workers 2
    python benchmarks/starter.py page              rewrite starter.md

The weights (`--from starter`) are those of `dcgan:cpu64`, the model that `equipoise train FOLDER` uses at 64 pixels on
a CPU. They are trained on pictures whose licences set no condition on what is learned from them: Noto Emoji
(Apache-2.0), Fluent Emoji (MIT), and patches of photographs that scikit-image distributes under CC0 or in the public
domain. Measured, as they are in the package, on sets that contain none of these, with and without the weights, after 2,
5 and 10 CPU minutes; methods and metrics are those of photographs.py. `starter_freeze`: the discriminator's first two
layers keep the weights of the starter (Mo, Cho and Shin 2020, "Freeze the Discriminator"); the model has no option for
it.
"""

import argparse
import dataclasses
import hashlib
import shutil
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _picture_arms import ARMS
from _picture_page import identifier
from _picture_sets import CACHE, SIDE, fetch, read, square
from _results import HERE, Item, Results, environment, table, write
from photographs import WINNER, work
from PIL import Image, ImageDraw

from equipoise.experiment.starter import FOLDER, STARTER

STEPS = 16_900
"""20 CPU minutes of one thread."""
SCRATCH, FREEZE = WINNER, "starter_freeze"
FROZEN_LAYERS = 2
UNSEEN = {"sprites": "500", "landscapes": "500", "portraits": "all"}
"""Sets that contain no picture of the starter, and their number of pictures."""
BUDGETS = (2.0, 5.0, 10.0)
DISTANCES = {"kd_mobilenet_v2": "MobileNetV2", "kd_random": "random", "kd_efficientnet_lite0": "EfficientNet-Lite0"}
EMOJI = ("npm:emoji-datasource-google@16.0.0", r"img/google/64/.*\.png$", r"1f3f[b-f]")
FLUENT = ("npm:@lobehub/fluent-emoji-3d@1.1.0", r"assets/.*\.webp$", r"1f3f[b-f]")
PHOTOGRAPHS = "scikit-image==0.26.0"
PUBLIC_DOMAIN = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket")
PATCHES = 200
"""Patches of each photograph, of random sizes and places."""


def photographs(cache: Path) -> Iterator[Image.Image]:
    """Yield square patches of the photographs, of 64 pixels."""
    folder = cache / "packages"
    wheels = list(folder.glob("scikit_image*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder), PHOTOGRAPHS]
        subprocess.run(command, check=True)
        wheels = list(folder.glob("scikit_image*.whl"))
    random = np.random.default_rng(0)
    with zipfile.ZipFile(wheels[0]) as archive:
        names = [name for name in archive.namelist() if Path(name).stem in PUBLIC_DOMAIN and "/data/" in name]
        for name in sorted(names):
            with archive.open(name) as file:
                image = Image.open(file).convert("RGB")
            for _ in range(PATCHES):
                side = int(random.integers(SIDE, min(image.size) + 1))
                left, top = (int(random.integers(0, length - side + 1)) for length in image.size)
                patch = image.crop((left, top, left + side, top + side))
                yield patch.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def pictures(cache: Path) -> Path:
    """Return the folder of the pictures of the starter, which is written unless it exists."""
    folder = cache / "starter" / "pictures"
    if folder.is_dir():
        return folder
    partial = folder.with_name("pictures.partial")
    partial.mkdir(parents=True, exist_ok=True)
    drawings = (
        square(image, pad=True)
        for package, pattern, without in (EMOJI, FLUENT)
        for _, image in read(fetch(package, cache), pattern, without)
    )
    for image in (*drawings, *photographs(cache)):
        pixels = np.asarray(image)
        if pixels.std() > 4:
            image.save(partial / f"{hashlib.sha256((pixels >> 3).tobytes()).hexdigest()[:16]}.png")
    partial.rename(folder)
    return folder


def train(cache: Path) -> None:
    """Train the weights, or continue."""
    run = cache / "starter" / "run"
    settings = ["--image-size", str(SIDE), "--model", "dcgan:cpu64", "--batch-size", "16", "--controller", "annealed"]
    settings += ["--steps", str(STEPS), "--metric", "none", "--threads", "1", "--seed", "0", "--no-repair"]
    start = ["train", str(pictures(cache)), *settings, "--out", str(run)]
    command = ["resume", str(run)] if run.exists() else start
    subprocess.run([sys.executable, "-m", "equipoise", *command], env=environment(1), check=True)


def pack(cache: Path) -> None:
    """Write the weights, and no more of the run than is needed to start from it, to the package."""
    from equipoise.runs.artifacts import encode_json, write_text
    from equipoise.runs.run import CHECKPOINTS_FOLDER, EXPERIMENT_FILE, Run
    from equipoise.training import checkpoint

    run = Run(cache / "starter" / "run")
    path = checkpoint.latest(run.folder)
    if path is None:
        sys.exit(f"{run.folder} has no checkpoint; run: python benchmarks/starter.py train")
    saved, experiment = checkpoint.read(path), run.experiment()
    weights = {name: value for name, value in saved.tensors.items() if name.startswith("network/")}
    shutil.rmtree(FOLDER, ignore_errors=True)
    checkpoint.write(FOLDER / CHECKPOINTS_FOLDER, checkpoint.Checkpoint(saved.step, weights, {"step": saved.step}))
    kept = {name: experiment[name] for name in ("model", "batch_size", "steps", "seed", "format", "versions")}
    write_text(FOLDER / EXPERIMENT_FILE, encode_json(kept, EXPERIMENT_FILE))
    write_text(FOLDER / "LICENSES.txt", LICENSES)


LICENSES = f"""The weights in this folder were trained on these pictures, none of which is in the package:

Noto Emoji, npm {EMOJI[0].removeprefix("npm:")}: Apache License 2.0, Google Inc.
Fluent Emoji, npm {FLUENT[0].removeprefix("npm:")}: MIT, Microsoft Corporation.
Photographs in {PHOTOGRAPHS}, in the public domain or under CC0 1.0: {", ".join(PUBLIC_DOMAIN)}.
"""


def add_arms() -> None:
    """Add the arms that start from the weights in the package; their steps cost what those of the winner cost."""
    arm = dataclasses.replace(ARMS[WINNER], start=STARTER, cost=WINNER)
    ARMS[STARTER] = arm
    ARMS[FREEZE] = dataclasses.replace(arm, frozen=FROZEN_LAYERS)


def items() -> list[Item]:
    """Return all runs, short ones first; layers are frozen in those of 5 minutes."""
    return [
        {"set": name, "size": size, "minutes": minutes, "arm": arm, "seed": 0}
        for minutes in BUDGETS
        for name, size in UNSEEN.items()
        for arm in (SCRATCH, STARTER, *([FREEZE] if minutes == 5 else []))
    ]


def compare(results: Results) -> tuple[str, list[list[str]]]:
    """Return the answer in a sentence, and the rows of the table."""
    rows, ratios = [], {budget: [] for budget in BUDGETS}
    for item in items():
        result = results.result(item)
        base = results.result({**item, "arm": SCRATCH})
        if result is None:
            continue
        cells = [f"{result[name]:.3f}" for name in DISTANCES]
        if base is not None and item["arm"] == STARTER:
            ratios[item["minutes"]] += [result[name] / base[name] for name in DISTANCES]
        shown = "from scratch" if item["arm"] == SCRATCH else item["arm"]
        quality = [f"{result[name]:.2f}" for name in ("precision", "recall", "nearer_to_train")]
        rows.append([item["set"], f"{item['minutes']:g}", shown, str(result["steps"]), *cells, *quality])
    parts = [
        f"{statistics.geometric_mean(values):.2f} times after {budget:g} minutes (lower in "
        f"{sum(value < 1 for value in values)} of {len(values)})"
        for budget, values in ratios.items()
        if values
    ]
    return f"Distance with the starter, as a ratio to that without it: {', '.join(parts)}.", rows


def draw(cache: Path, results: Results, path: Path) -> None:
    """Write a picture: samples from scratch, left, and from the starter, right, of each set and budget."""
    width, height, label = 8 * SIDE, 2 * SIDE, 14
    shown = [item for item in items() if item["arm"] == STARTER and results.result(item) is not None]
    sheet = Image.new("RGB", (2 * width + 8, max(1, len(shown)) * (height + label)), "white")
    for row, item in enumerate(shown):
        for column, arm in enumerate((SCRATCH, STARTER)):
            x, y = column * (width + 8), row * (height + label)
            text = f"{item['set']}, {item['minutes']:g} CPU minutes: {'from scratch' if arm == SCRATCH else arm}"
            ImageDraw.Draw(sheet).text((x + 2, y + 1), text, fill="black")
            grid = cache / "samples" / f"{identifier({**item, 'arm': arm})}.png"
            if grid.exists():
                sheet.paste(Image.open(grid).crop((0, 0, width, height)), (x, y + label))
    sheet.quantize(256).save(path, optimize=True)


def write_page(results: Results, cache: Path, out: Path) -> None:
    """Write starter.md and its picture."""
    answer, rows = compare(results)
    columns = (
        "set",
        "CPU minutes",
        "weights",
        "steps",
        *DISTANCES.values(),
        "precision",
        "recall",
        "nearer to training",
    )
    draw(cache, results, out / "starter.png")
    write(
        out / "starter.md",
        "# Pre-trained weights for small folders of colour pictures",
        answer,
        results.provenance(items()),
        *([notes.read_text().strip()] if (notes := out / "starter_notes.md").exists() else []),
        "Kernel distances to held-out pictures, lower is better. Method: docstrings of `benchmarks/starter.py` and "
        "`benchmarks/photographs.py`.",
        table(columns, rows),
        "![samples](starter.png)",
    )


def measure(results: Results, args: argparse.Namespace) -> None:
    """Run every missing item, in several processes if required."""
    if args.workers == 1:
        work(items(), results, args.cache)
        return
    command = [sys.executable, __file__, "measure", "--cache", str(args.cache), "--out", str(args.out)]
    processes = [subprocess.Popen(command, env=environment(1), start_new_session=True) for _ in range(args.workers)]
    if any(process.wait() for process in processes):
        sys.exit("a process failed; run the command again to continue")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("pictures", "train", "pack", "measure", "page"))
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of pictures and samples")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the page and of results/")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    args = parser.parse_args()
    add_arms()
    results = Results(args.out / "results" / "starter.jsonl")
    if args.command == "pictures":
        folder = pictures(args.cache)
        print(f"{len(list(folder.iterdir()))} pictures in {folder}")
    elif args.command == "train":
        train(args.cache)
    elif args.command == "pack":
        pack(args.cache)
    elif args.command == "measure":
        measure(results, args)
    else:
        write_page(results, args.cache, args.out)


if __name__ == "__main__":
    main()
