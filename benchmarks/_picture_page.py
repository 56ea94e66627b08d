"""The page photographs.md: tables and samples of the results of photographs.py."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from _picture_arms import ARMS, Arm
from _picture_sets import SETS, folders, held_out_path
from _results import Item, Results, table, write

DISTANCES = {
    "kd_mobilenet_v2": "MobileNetV2",
    "kd_random": "random features",
    "kd_efficientnet_lite0": "EfficientNet-Lite0",
}
"""Kernel distances by which a pair is won or lost."""
TRAINED_WITH = {"kd_efficientnet_lite0": "projected"}
"""Distance -> start of the names of arms that see through its network: not counted for them."""
TILE, COLUMNS = 64, 8
FINAL_MINUTES, LONG_MINUTES = 2.5, 20.0
"""Budgets from which on the answer counts runs, and from which on pairs have a picture of their own."""

Line = Mapping[str, Any]
Key = tuple[str, str, float, int]
"""Set, number of pictures, CPU minutes, seed."""


def key(line: Line) -> Key:
    item = line["item"]
    return item["set"], item["size"], item["minutes"], item["seed"]


def newest(results: Results) -> dict[tuple[Key, str], dict[str, Any]]:
    """Return the newest result of every run by key and arm."""
    return {(key(line), line["item"]["arm"]): line["result"] for line in results.lines()}


def distances(arm: str) -> list[str]:
    """Return the distances that may be computed of an arm."""
    return [name for name in DISTANCES if not arm.startswith(TRAINED_WITH.get(name, "none of them"))]


def wins(runs: Mapping[tuple[Key, str], Line], arm: str, keys: Sequence[Key]) -> dict[str, int]:
    """Count the pairs with `default` that an arm wins: by each distance, by most of them, and by all of them."""
    won = {name: [runs[k, arm][name] < runs[k, "default"][name] for k in keys] for name in distances(arm)}
    shares = [sum(values) / len(values) for values in zip(*won.values(), strict=True)]
    counts = {name: sum(values) for name, values in won.items()}
    return {**counts, "most": sum(share > 0.5 for share in shares), "all": sum(share == 1 for share in shares)}


def pairs(runs: Mapping[tuple[Key, str], Line], arm: str, minutes: float | None = None) -> list[Key]:
    """Return the keys of the runs that both an arm and `default` have."""
    keys = {k for k, name in runs if name == arm and (k, "default") in runs}
    return sorted(k for k in keys if minutes is None or k[2] == minutes)


def pair_table(runs: Mapping[tuple[Key, str], Line]) -> str:
    rows = []
    for arm in ARMS:
        for minutes in sorted({k[2] for k, name in runs if name == arm}):
            if arm == "default" or not (keys := pairs(runs, arm, minutes)):
                continue
            count, of = wins(runs, arm, keys), len(keys)
            rows.append(
                [
                    *(f"`{arm}`", f"{minutes:g}", of, f"{count['most']} ({count['most'] / of:.0%})", count["all"]),
                    *(
                        f"{count[name]} × {_ratio(runs, arm, keys, name):.2f}" if name in count else "–"
                        for name in DISTANCES
                    ),
                ]
            )
    columns = ["arm", "CPU minutes", "pairs", "won by most distances", "won by all", *DISTANCES.values()]
    return table(columns, rows)


def _ratio(runs: Mapping[tuple[Key, str], Line], arm: str, keys: Sequence[Key], name: str) -> float:
    """Return the geometric mean of a distance over that of `default`."""
    return statistics.geometric_mean(max(runs[k, arm][name], 1e-3) / max(runs[k, "default"][name], 1e-3) for k in keys)


def run_table(runs: Mapping[tuple[Key, str], Line], minutes: float) -> str:
    """Return a row per run with this budget, by set and number of pictures, best MobileNetV2 distance first."""
    order = {name: number for number, name in enumerate(SETS)}
    chosen = [(k, arm) for k, arm in runs if k[2] == minutes]
    chosen.sort(key=lambda run: (order[run[0][0]], run[0][1], run[0][3], runs[run]["kd_mobilenet_v2"]))
    rows = [
        [
            *(k[0], k[1], f"`{arm}`", f"{runs[k, arm]['steps']:,}"),
            *(f"{runs[k, arm][name]:.3f}" if name in distances(arm) else "–" for name in DISTANCES),
            *(f"{runs[k, arm][name]:.2f}" for name in ("precision", "recall", "nearer_to_train")),
            f"{runs[k, arm]['cpu_seconds']:.0f}",
        ]
        for k, arm in chosen
    ]
    columns = ["set", "pictures", "arm", "steps", *DISTANCES.values(), "precision", "recall"]
    return table([*columns, "nearer to training", "CPU s"], rows)


def arm_table(costs: Mapping[str, float]) -> str:
    rows = []
    for name, arm in ARMS.items():
        changes = {**arm.options, **arm.knobs}
        text = ", ".join(f"{option}={value}" for option, value in changes.items()) or "as it is"
        cost = costs.get(name)
        steps = f"{300 / cost:,.0f}" if cost else "–"
        rows.append(
            [f"`{name}`", f"`{arm.model}`", arm.batch, f"`{arm.controller}`", text, cost or "not measured", steps]
        )
    return table(
        ["arm", "model", "batch", "controller", "options and knobs", "CPU s per step", "steps in 5 minutes"], rows
    )


def set_table(cache: Path) -> str:
    import numpy as np

    rows = []
    for name, pictures in SETS.items():
        if not held_out_path(name, cache).exists():
            rows.append([name, pictures.kind, "left out: not fetched", "–", "–"])
            continue
        counts = ", ".join(str(len(list(folder.glob("*.png")))) for folder in folders(name, cache).values())
        source = ", ".join(f"`{package}`" for package in pictures.packages) or "this package"
        held_out = len(np.load(held_out_path(name, cache), mmap_mode="r"))
        rows.append([name, pictures.kind, source, counts, held_out, pictures.licence])
    return table(["set", "kind", "packages", "training pictures", "held out", "licence"], rows)


def identifier(item: Item) -> str:
    """Return the name of a run, also of its file of samples."""
    return f"{item['arm']}-{item['set']}-{item['size']}-{item['minutes']:g}min-seed{item['seed']}"


def draw_samples(
    runs: Mapping[tuple[Key, str], Line], where: Key, arms: Sequence[str], cache: Path, path: Path
) -> None:
    """Write a picture: training pictures, then two rows of samples of each arm."""
    from PIL import Image, ImageDraw

    name, size, minutes, seed = where
    shown = [arm for arm in arms if (where, arm) in runs]
    label, height = 14, 2 * TILE
    columns = 2
    lines = -(-(len(shown) + 1) // columns)
    sheet = Image.new("RGB", (columns * (COLUMNS * TILE + 8), lines * (height + label)), "white")
    pictures = sorted(folders(name, cache)[size].glob("*.png"))[: 2 * COLUMNS]
    for number, arm in enumerate(("training pictures", *shown)):
        x, y = number % columns * (COLUMNS * TILE + 8), number // columns * (height + label)
        ImageDraw.Draw(sheet).text((x + 2, y + 1), arm, fill="black")
        if number == 0:
            for index, picture in enumerate(pictures):
                sheet.paste(Image.open(picture), (x + index % COLUMNS * TILE, y + label + index // COLUMNS * TILE))
            continue
        item = {"set": name, "size": size, "minutes": minutes, "arm": arm, "seed": seed}
        grid = Image.open(cache / "samples" / f"{identifier(item)}.png")
        sheet.paste(grid.crop((0, 0, COLUMNS * TILE, height)), (x, y + label))
    sheet.quantize(256).save(path, optimize=True)


def draw_pairs(keys: Sequence[Key], arm: str, cache: Path, path: Path) -> None:
    """Write a picture: per pair two rows of samples of `default`, left, and of an arm, right."""
    from PIL import Image, ImageDraw

    keys = sorted(keys, key=lambda k: list(SETS).index(k[0]))
    width, height, label = COLUMNS * TILE, 2 * TILE, 14
    sheet = Image.new("RGB", (2 * width + 8, max(1, len(keys)) * (height + label)), "white")
    for row, (name, size, minutes, seed) in enumerate(keys):
        for column, shown in enumerate(("default", arm)):
            x, y = column * (width + 8), row * (height + label)
            text = f"{name}, {size} pictures, {minutes:g} CPU minutes: {shown}"
            ImageDraw.Draw(sheet).text((x + 2, y + 1), text, fill="black")
            item = {"set": name, "size": size, "minutes": minutes, "arm": shown, "seed": seed}
            grid = Image.open(cache / "samples" / f"{identifier(item)}.png")
            sheet.paste(grid.crop((0, 0, width, height)), (x, y + label))
    sheet.quantize(256).save(path, optimize=True)


def load_costs(out: Path) -> dict[str, float]:
    path = out / "results" / "photographs_costs.json"
    return json.loads(path.read_text()) if path.exists() else {}


def answer(runs: Mapping[tuple[Key, str], Line], arm: str) -> str:
    """Return the first lines of the page: the winner, and how many pairs it wins."""
    keys = [k for k in pairs(runs, arm) if k[2] >= FINAL_MINUTES]
    if not keys:
        return "Not measured yet."
    count, of = wins(runs, arm, keys), len(keys)
    each = ", ".join(f"{count[name]} by {text}" for name, text in DISTANCES.items() if name in count)
    return (
        f"**{describe(ARMS[arm])}**: `{arm}` below, which is what `equipoise train FOLDER` uses on a CPU. In "
        f"{FINAL_MINUTES:g} to {max(k[2] for k in keys):g} CPU minutes it beats the former default "
        f"({describe(ARMS['default'])}) in {count['most']} of {of} pairs ({count['most'] / of:.0%}) by most of three "
        f"kernel distances; {each}; {count['all']} by all three."
    )


def describe(arm: Arm) -> str:
    changes = {**arm.options, **arm.knobs}
    text = "".join(f", {name} {value}" for name, value in changes.items())
    return f"{arm.model}, batch size {arm.batch}, controller {arm.controller}{text}"


METHOD = """Runs are those of `equipoise train FOLDER` on one thread, without a live metric; the last weights are used.
A run has as many steps as fit into its CPU minutes by the costs of the table of arms, so that schedules are complete.
Distances are to up to 1,000 held-out pictures: kernel distances on features of MobileNetV2 and of a convolutional
network with random weights, which no arm was trained with. EfficientNet-Lite0 was added when these two disagreed; it
is not computed for `projected`, whose discriminator sees through it. Differences of a few percent are within the error
of one seed. Precision and recall: features of MobileNetV2. Nearer to training: share of samples whose nearest picture,
by these features, is one of training and not one of as many held-out ones; about 0.5 without copies. The last column is
the CPU time that a run took: readings of signals are not part of the costs, and the machine was busy, so that runs
differ from their budget by up to a fifth, in both directions."""


def write_page(results: Results, cache: Path, out: Path, arm: str, notes: Sequence[str]) -> None:
    """Write photographs.md and its pictures. `arm`: the winner. `notes`: what the tables do not say."""
    runs, costs = newest(results), load_costs(out)
    items = [line["item"] for line in results.lines()]
    budgets = sorted({k[2] for k, _ in runs}, reverse=True)
    parts = []
    for minutes in budgets:
        parts += [f"## {minutes:g} CPU minutes", run_table(runs, minutes)]
    keys = [k for k in pairs(runs, arm) if k[2] >= FINAL_MINUTES]
    short, long = ([k for k in keys if (k[2] >= LONG_MINUTES) == is_long] for is_long in (False, True))
    if_complete(lambda: draw_pairs(short, arm, cache, out / "photographs_pairs.png"))
    if_complete(lambda: draw_pairs(long, arm, cache, out / "photographs_long.png"))
    pictures = ["Former default left, winner right:", "![samples of both](photographs_pairs.png)"]
    pictures += ["The same after 20 minutes:", "![samples of both after 20 minutes](photographs_long.png)"]
    for name in ("sprites", "landscapes"):
        where = max(
            (k for k, _ in runs if k[0] == name and k[1] == "500"), key=lambda k: count_arms(runs, k), default=None
        )
        if where:
            if_complete(partial(draw_samples, runs, where, list(ARMS), cache, out / f"photographs_{name}.png"))
            text = f"{name}, {where[1]} pictures, {where[2]:g} CPU minutes"
            pictures += [f"{text[0].upper()}{text[1:]}:", f"![samples of {text}](photographs_{name}.png)"]
    write(
        out / "photographs.md",
        "# Models for a folder of colour pictures",
        answer(runs, arm),
        *notes,
        results.provenance(items),
        METHOD,
        "## Pairs with the former default",
        "Pairs have the same set, number of pictures, budget and seed. Last columns: pairs that the arm wins × the "
        "geometric mean of its distance over that of `default`.",
        pair_table(runs),
        *parts,
        "## Samples",
        *pictures,
        "## Sets",
        set_table(cache),
        "## Arms",
        arm_table(costs),
    )


def if_complete(draw: Callable[[], None]) -> None:
    """Draw a picture; if samples of it are not in the cache, as on another computer, keep the one that exists."""
    try:
        draw()
    except FileNotFoundError as error:
        print(f"a picture is kept as it is: there is no {error.filename}")


def count_arms(runs: Mapping[tuple[Key, str], Line], where: Key) -> int:
    return sum(k == where for k, _ in runs)
