"""The page of the benchmark of the model family."""

import statistics
from collections.abc import Iterable
from pathlib import Path

from _family_arms import Arm
from _family_checks import checks_table
from _family_tables import Measured, Runs, digits_table, modes_table, quality_table, sweep_table
from _results import Item, Results, write

MODELS = (
    *("dcgan", "cgan", "acgan", "sngan", "sagan", "biggan", "progan", "stylegan", "stylegan2", "stylegan3", "r3gan"),
    *("fastgan", "projected"),
)
"""Order of the sections, which the pages of the models link to."""
DISTANCES = {"digits": "distance"}
"""Name of the distance in results, if it is not "kd"."""
REFERENCES = {"digits": "projection"}
"""Arm of a row that is dcgan, if its name is another."""
ALIKE = 1.05
"""Ratio of distances up to which two models count as equally good."""


def write_page(results: Results, out: Path) -> None:
    """Write family.md."""
    measured = Measured(results)
    runs = [(arm, seed) for arm in measured.arms for seed in range(arm.seeds)]
    items: list[Item] = [{"row": arm.row, "arm": arm.name, "seed": seed} for arm, seed in runs]
    notes = out / "family_notes.md"
    write(
        out / "family.md",
        "# The model family on one CPU core",
        f"{results.provenance(items)} Values are those of one seed, with the 95 % interval over samples, or the median "
        "[lowest, highest] of several seeds. Method: docstring of `benchmarks/family.py`.",
        *([notes.read_text().strip()] if notes.exists() else []),
        "## Acceptance",
        "Limits were set for 300 CPU seconds on emoji and 200 on 100 emoji. Runs here are half as long, to fit the "
        "time there was: 150 and 100; 75 on digits, 30 and 15 on points.",
        checks_table(measured),
        *tables_of_rows(measured),
        "## Model by model",
        "Compared with dcgan after the same CPU seconds. Samples are uncurated: the first 24, a class each in turn.",
        *(paragraph for model in MODELS for paragraph in section(measured, model, out)),
    )


def tables_of_rows(measured: Measured) -> Iterable[str]:
    """Yield the table of each row, with its heading."""
    yield from ("## Emoji, 32 pixels, 150 CPU seconds", quality_table(measured, "emoji"))
    yield "Truncation of styles and of latents, 300 samples each:"
    yield from (sweep_table(measured, "emoji", "psi"), sweep_table(measured, "emoji", "truncation"))
    yield from ("## 100 emoji, 32 pixels, 100 CPU seconds", quality_table(measured, "100 emoji"))
    yield from ("## Emoji, 64 pixels, 150 CPU seconds", quality_table(measured, "emoji 64"))
    yield "Features of MobileNetV2: projected was trained with those of EfficientNet-Lite0."
    yield from ("## Digits with labels, 75 CPU seconds", digits_table(measured))
    yield from ("## Modes that can be counted", modes_table(measured))


def section(measured: Measured, model: str, folder: Path) -> list[str]:
    """Return the section of a model: how it compares with dcgan in each row, and its samples."""
    arms = [arm for arm in measured.arms if arm.model == model and measured.has(arm) and arm.row != "modes"]
    lines = [comparison(measured, arm) for arm in arms]
    if not arms:
        lines = [f"No run of {model} so far."]
    samples = [
        f"{arm.row} · {arm.name}:\n\n![samples of {arm.name}](family/{arm.picture})"
        for arm in arms
        if (folder / "family" / arm.picture).exists()
    ]
    return [f"### {model}", *(["\n".join(f"- {line}" for line in lines)] if arms else lines), *samples]


def comparison(measured: Measured, arm: Arm) -> str:
    """Return a sentence on an arm against dcgan in the same row, with the reason if it is worse."""
    value, name = DISTANCES.get(arm.row, "kd"), REFERENCES.get(arm.row, "dcgan")
    runs, others = measured.of_arm(arm.row, arm.name), measured.of_arm(arm.row, name)
    ours = _median(runs, value)
    start = f"{arm.row} · {arm.name}: distance {ours:.2f}"
    if not others or arm.name == name:
        return f"{start}."
    other = _median(others, value)
    if ours < other / ALIKE:
        return f"{start} against {other:.2f} of dcgan: **better**."
    if ours <= other * ALIKE:
        return f"{start} against {other:.2f} of dcgan: alike."
    steps, theirs = _median(runs, "steps"), _median(others, "steps")
    cost = theirs / steps
    reason = f"{steps:,.0f} steps against {theirs:,.0f}, because a step costs {cost:.1f} times as much"
    return (
        f"{start} against {other:.2f} of dcgan: worse at this budget, with {reason if cost > 1.2 else 'as many steps'}."
    )


def _median(runs: Runs, value: str) -> float:
    return statistics.median(run[value] for run in runs)
