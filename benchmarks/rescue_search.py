"""Can any knobs save the settings of rescue.toml that repair does not save? A search, with other knobs from step 0 on.

    python benchmarks/rescue_search.py             about 25 minutes of one core; a restart continues
    python benchmarks/rescue_search.py --table     rewrite rescue_search.md from results/rescue_search.jsonl

Method. The settings that are not saved, with other values of the knobs that act in them, held from the first step on,
without repair: what a repair could reach that acts at once and loses no step. Only what can be changed in a run counts,
so networks, loss and optimizer stay. Distances as in benchmarks/rescue.py, after every fifth of the run, on seed 100,
which is not a seed of that table.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _rescue_table import bound_of
from _results import HERE, Item, Result, Results, create_parser, run_in_subprocess, table, write
from rescue import (
    EVALUATIONS,
    HEALTHY_SEEDS,
    SETTINGS,
    evaluation_of,
    experiment_of,
    plant,
    samples_of,
    task_of,
)

from equipoise.core.events import Stepped
from equipoise.experiment.assembly import assemble
from equipoise.experiment.launch import load_initial_weights
from equipoise.training.loop import train

SEED = 100
STABLE = {"lr_g": 2e-3, "lr_d": 2e-3, "discriminator_steps": 1, "r1_gamma": 1.0, "ema_half_life": 2000.0}
"""The first rung of repair for a discriminator that is too strong."""
FAST = {**STABLE, "lr_g": 5e-3, "lr_d": 5e-3}
MODERATE = {**STABLE, "lr_g": 3e-3, "lr_d": 3e-3}
PLAN: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "wgan_unconstrained": (
        STABLE,
        FAST,
        {**STABLE, "discriminator_steps": 3, "generator_steps": 3},
        {**STABLE, "feature_matching_weight": 1.0},
        {**STABLE, "lr_d": 5e-3},
        {**FAST, "r1_gamma": 0.1},
        {**FAST, "beta2": 0.999, "ema_half_life": 4000.0},
        {**MODERATE, "r2_gamma": 1.0},
        {**MODERATE, "lecam_weight": 0.1, "feature_matching_weight": 10.0},
        {**FAST, "r1_gamma": 0.1, "discriminator_steps": 3},
        {**STABLE, "discriminator_steps": 6, "generator_steps": 6},
    ),
    "no_norm_wide": (
        {"r1_gamma": 0.05},
        {"lr_g": 5e-4, "lr_d": 5e-4, "r1_gamma": 0.1},
        {"r1_gamma": 1.0, "discriminator_steps": 3, "generator_steps": 3},
    ),
}


def measure(item: Item) -> Result:
    """Train one run and return its distances."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        base = experiment_of({**item, "arm": "nothing"}, Path(root))
        experiment = replace(base, knobs={**(base.knobs or {}), **item["knobs"]})
        training = assemble(experiment, None)
        load_initial_weights(training, experiment)
        plant(training, SETTINGS[item["what"]].get("plant"))
        evaluate, steps = evaluation_of(task_of(item), experiment), training.plan.steps
        distances, seconds = [], 0.0
        for event in train(training):
            if isinstance(event, Stepped):
                seconds = event.seconds
                if event.step % max(1, steps // EVALUATIONS) == 0:
                    distances.append(evaluate(samples_of(training))["distance"])
    return {"distances": distances, "steps": steps, "seconds": seconds}


def write_table(results: Results, items: list[Item], args: Any) -> None:
    """Write rescue_search.md from the available results."""
    rescue = Results(HERE / "results" / "rescue.jsonl")
    rows = []
    for item in items:
        result = results.result(item)
        if result is None:
            continue
        task = SETTINGS[item["what"]]["healthy"]
        healthy = {(task, "nothing", seed): {"what": task, "arm": "nothing", "seed": seed} for seed in HEALTHY_SEEDS}
        runs = {key: run for key, one in healthy.items() if (run := rescue.result(one))}
        bound = (bound_of(runs, task) or {}).get("distance")
        knobs = ", ".join(f"{name} {value:g}" for name, value in item["knobs"].items()) or "as set"
        shown = [f"{value:.3g}" for value in result["distances"]]
        rows.append([item["what"], knobs, *shown, "–" if bound is None else f"{bound:.3g}"])
    write(
        args.out / "rescue_search.md",
        "# Which knobs could save the runs that repair does not save",
        f"{results.provenance(items)} One thread per process. Method: docstring of `benchmarks/rescue_search.py`.",
        table(("setting", "knobs", *(f"{share} %" for share in (20, 40, 60, 80, 100)), "bound"), rows),
    )


def main() -> None:
    parser = create_parser(__doc__)
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item)))
        return
    items: list[Item] = [{"what": what, "seed": SEED, "knobs": dict(knobs)} for what in PLAN for knobs in PLAN[what]]
    results = Results(args.out / "results" / "rescue_search.jsonl")
    if not args.table:
        results.measure(items, lambda item: run_in_subprocess(__file__, item, 1))
    write_table(results, items, args)


if __name__ == "__main__":
    main()
