"""How good is each model of the family on one CPU core, in the same CPU seconds?

    python benchmarks/family.py                      the whole queue: about 4 hours of one core; a restart continues
    python benchmarks/family.py --rows emoji digits  some rows
    python benchmarks/family.py --until 16:25        start no run after this time
    python benchmarks/family.py --table              rewrite family.md from results/family.jsonl

Method. Data that the package contains: emoji (1,952 for training, 212 held out), digits (4,000 and 1,000), points in
the plane. Every arm trains for the same CPU seconds as the others of its row, on one thread, in fp32, with batches of
16 images (64 of digits, 256 points), labels where the model takes them, the default settings of the model but for those
in its name, learning rates that fall along a cosine (`annealed`), and no repair. CPU seconds become steps by a table of
CPU seconds per step: a process visits arms in turn, always with dcgan among them, and the table is scaled to its cost,
so that other programs on the machine slow all arms alike. The number of steps is fixed before a run, so schedules end
when it does. Monitoring is not in the table, but in the CPU seconds on the page. One process at a time, first seed 0 of
all arms, then the others.

Quality is measured on 1,000 samples of the averaged generator with the labels of the held-out images: kernel distance,
precision and recall on features of EfficientNet-Lite0, or MobileNetV2 where an arm was trained with the former.

Expected, from one seed of each in 145 s: a distance of 1.5 for dcgan; StyleGAN at most that in 300 s.
"""

import os
import time
from pathlib import Path

from _family_arms import Arm, all_arms, queue
from _family_measures import measure_all
from _family_page import write_page
from _family_runs import on_one_scale, reference_arm, set_threads, step_costs, train_arm
from _results import Item, Result, Results, create_parser

from equipoise.runs.artifacts import encode_png, make_grid, write_bytes

PICTURE_SAMPLES, PICTURE_COLUMNS = 24, 12
NICE = 5


def item_of(arm: Arm, seed: int) -> Item:
    """Return what identifies a run."""
    return {"row": arm.row, "arm": arm.name, "seed": seed}


def measure(arm: Arm, seed: int, steps: int, out: Path) -> Result:
    """Train an arm and measure its samples; writes a picture of those of the first seed."""
    trained, costs = train_arm(arm, seed, steps)
    if seed == 0 and trained.data.spec.is_image:
        images = trained.generator.sample(PICTURE_SAMPLES, seed=0)
        (out / "family").mkdir(exist_ok=True)
        grid = make_grid(images.numpy(), columns=PICTURE_COLUMNS)
        write_bytes(out / "family" / arm.picture, encode_png(grid))
    return {**costs, **measure_all(trained, arm.measures)}


def step_cost(results: Results, arm: Arm) -> float:
    """Return CPU seconds per step of an arm; they are measured first if they are not in a table."""
    tables = [line["result"]["cost"] for line in results.lines() if "cost" in line["item"]]
    reference = reference_arm()
    costs = on_one_scale(tables, reference.cost_key)
    if arm.cost_key not in costs:
        arms = [reference, arm]
        results.append({"cost": list(dict.fromkeys(each.cost_key for each in arms))}, {"cost": step_costs(arms)})
        return step_cost(results, arm)
    return costs[arm.cost_key]


def is_over(until: str | None) -> bool:
    """Return whether it is later than `until`, HH:MM in UTC."""
    return until is not None and time.strftime("%H:%M", time.gmtime()) >= until


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--seeds", type=int, default=5, help="at most this many seeds of an arm")
    parser.add_argument("--until", help="start no run after this time, HH:MM in UTC")
    args = parser.parse_args()
    results = Results(args.out / "results" / "family.jsonl")
    arms = [arm for arm in all_arms() if args.rows is None or arm.row in args.rows]
    if not args.table:
        os.nice(NICE)
        set_threads()
        runs = queue(arms, args.seeds)
        done = sum(results.result(item_of(arm, seed)) is not None for arm, seed in runs)
        print(f"{done} of {len(runs)} done", flush=True)
        for arm, seed in runs:
            if results.result(item_of(arm, seed)) is not None or is_over(args.until):
                continue
            steps = max(1, round(arm.seconds / step_cost(results, arm)))
            results.append(item_of(arm, seed), measure(arm, seed, steps, args.out))
            done += 1
            print(f"{done} of {len(runs)} done: {arm.key}, seed {seed}", flush=True)
    write_page(results, args.out)


if __name__ == "__main__":
    main()
