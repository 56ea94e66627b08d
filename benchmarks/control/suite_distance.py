"""Does the distance of the suite, on random features, rank generators as a metric on trained features does?

    nice -n 10 python benchmarks/control/suite_distance.py       about 2 minutes of one core; a restart continues

Twelve constants of the gate train on 400 digits of 16 pixels, 300 steps each. At every evaluation the same 512 samples
are measured by the reported distance (random features, seed 1), by the distance that controllers observe (seed 0, 80
held-out reals), and by kd_digits (features of a classifier of digits), the first and the last against the test reals.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _plane import HERE
from _results import Item, Result, Results, create_parser, table, write
from _suite_arms import constants

SETTINGS = 12
STEPS, IMAGES, SEED = 300, 400, 0
LATE = 3
"""Evaluations at the end of a run that count as late."""
FLOOR = 0.006
"""Added to distances before logarithms: eps of digits."""


def measure(item: Item) -> Result:
    """Train one run and measure its samples at each evaluation."""
    import torch

    from equipoise.comparison.suite.agreement import measure_agreement
    from equipoise.comparison.suite.arms import parse_settings
    from equipoise.comparison.suite.data import SuiteData
    from equipoise.comparison.suite.episode import DistanceToTestReals, open_training
    from equipoise.comparison.suite.tasks import SuiteTask
    from equipoise.core.events import Evaluated
    from equipoise.training import probe
    from equipoise.training.loop import train

    torch.set_num_threads(1)
    task = SuiteTask("digits", "test", "digits", steps=STEPS, training_images=IMAGES, options={"width": 8})
    training = open_training(task, parse_settings(constants()[item["number"]]), SEED)
    data = SuiteData(**task.data_options(draw=SEED))
    latents = DistanceToTestReals.of(data, training.state.model).latents
    samples, live = [], []
    for event in train(training):
        if isinstance(event, Evaluated):
            samples.append(probe.generate_samples(training.state, latents, None).clone())
            live.append(event.value)
    agreement = measure_agreement(data.test_reals(), samples)
    return {"reported": agreement.reported, "trained": agreement.trained, "live": live}


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the rank correlation of the pairs of which both are finite."""
    from equipoise.comparison.suite.agreement import rank_correlation

    pairs = np.array([pair for pair in zip(first, second, strict=True) if all(map(math.isfinite, pair))])
    return rank_correlation(pairs[:, 0], pairs[:, 1])


def slope(reported: Sequence[float], trained: Sequence[float]) -> float:
    """Return the slope of the log of the trained distance in the log of the reported one, by the longer axis.

    Both are measured with errors, so the slope is the ratio of the standard deviations (reduced major axis).
    """
    logs = np.log(np.maximum(np.array([reported, trained]), 0) + FLOOR)
    return float(logs[1].std() / logs[0].std())


def main() -> None:
    parser = create_parser(__doc__)
    parser.set_defaults(out=HERE)
    args = parser.parse_args()
    results = Results(args.out / "results" / "suite_distance.jsonl")
    items = [{"number": number} for number in range(SETTINGS)]
    if not args.table:
        results.measure(items, measure)
    write_table(results, items, args.out / "suite_distance.md")


def write_table(results: Results, items: Sequence[Item], path: Path) -> None:
    """Write the page of the correlations."""
    runs = [result for item in items if (result := results.result(item))]
    parts = {
        "the end of each run": [(run, slice(-1, None)) for run in runs],
        f"the last {LATE} evaluations": [(run, slice(-LATE, None)) for run in runs],
        "all evaluations": [(run, slice(None)) for run in runs],
    }
    rows = []
    for label, slices in parts.items():
        columns = {
            name: [value for run, part in slices for value in run[name][part]]
            for name in ("reported", "trained", "live")
        }
        rows.append(
            (
                label,
                len(columns["reported"]),
                f"{correlation(columns['reported'], columns['trained']):.2f}",
                f"{correlation(columns['live'], columns['trained']):.2f}",
                f"{correlation(columns['live'], columns['reported']):.2f}",
                f"{0.85 ** slope(columns['reported'], columns['trained']):.2f}",
            )
        )
    within = [correlation(run["reported"], run["trained"]) for run in runs]
    write(
        path,
        "# Does the distance of the suite rank generators as trained features do?",
        f"`python benchmarks/control/suite_distance.py`; {results.provenance(items)}",
        f"{SETTINGS} constants, digits of 16 pixels, {IMAGES} for training, {STEPS} steps. Rank correlations "
        "(Spearman) of the reported distance with kd_digits, of the distance that controllers observe with kd_digits, "
        "and of the two with each other. Last column: the ratio of kd_digits that goes with a ratio of 0.85 of the "
        "reported distance.",
        table(
            (
                "samples of",
                "sets",
                "reported, kd_digits",
                "observed, kd_digits",
                "observed, reported",
                "0.85 in kd_digits",
            ),
            rows,
        ),
        f"Within a run, over its evaluations: median {np.median(within):.2f}, lowest {min(within):.2f}.",
    )


if __name__ == "__main__":
    main()
