"""The page of the suite: write_page(store, arms) writes suite.md and its pictures from the results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from _results import ROOT, join_unique, machine, write
from _suite_defaults import default_sections, untuned_quality
from _suite_figures import plot_curves, plot_ratios
from _suite_runs import FOLDER, RunStore
from _suite_study import NOISE_FILE, SEEDS, SuitePage, open_page
from _suite_tables import (
    aims_table,
    equivalent_trials_tables,
    gate_table,
    harm_table,
    last_table,
    power_table,
    regime_table,
    stability_table,
    subgroup_table,
    task_table,
    tuning_table,
    verdict_table,
)
from _suite_text import against_schedule, answer, format_interval, main_arms, ranking

from equipoise.comparison.suite.checks import ArmInfo

RATIOS, CURVES = "suite_ratios.png", "suite_curves.png"
MAX_CURVES = 6
EXPLANATION = ROOT / "docs" / "explanation" / "control.md"
"""The page that answers the brief's question; its answer is between these markers."""
ANSWER_BEGIN, ANSWER_END = "<!-- answer -->", "<!-- end of the answer -->"

METHOD = """Distances are unbiased kernel distances to up to 1,000 test reals that no run contains, on random features \
that no controller observes; samples are 512. The endpoint is the generator that a run keeps, the evaluation with the \
best distance to the few held-out reals (early stopping, given to every arm); "last" is the end of the run. A ratio \
is the geometric mean over tasks of (d + eps) / (d0 + eps) with the same task and seed, d0 of the constant that is \
best on the training tasks; negative distances count as 0; eps is twice the standard deviation of the distance of 512 \
reals, per task; a run that diverged counts as twice the worst distance of its task. [seeds]: 95 % bootstrap interval \
that resamples seeds within tasks, which answers for these tasks; [tasks]: tasks as well, which answers for tasks like \
these and decides. Tests are two-sided over the means of tasks, exact, and corrected for the number of arms (Holm)."""

LIMITS = """- Pictures of 16 and 32 pixels, narrow networks, at most 2,400 steps: whether the order is the same at \
larger sizes is not measured here.
- Tasks of one source share their test reals and are not independent, so intervals over tasks are somewhat too narrow.
- Two-level resampling counts the noise of seeds twice, which makes intervals over tasks somewhat too wide.
- The oracle is the best of 24 random constants; a better constant may exist, so headroom is a lower bound.
- Arms observe the same held-out reals that select their generator."""


def write_page(
    store: RunStore,
    arms: Mapping[str, ArmInfo],
    *,
    seeds: Sequence[int] = SEEDS,
    folder: Path = FOLDER,
    noise_file: Path = NOISE_FILE,
) -> Path:
    """Write suite.md and its pictures; return the path of the page.

    Parameters
    ----------
    store
        all results: the gate with seed 0, tuning on training tasks, the verdict on test tasks with `seeds`. Runs are
        found by task, settings and seed, under whichever name of an arm they ran. Missing runs are named on the page.
        For the gate, the oracles (:func:`oracle_settings`) need runs with `seeds` as well; for the regimes, the
        published setting (`constants()[0]`).
    arms
        name -> its settings (JSON values as in the store), kind, number of trials and score on the training tasks;
        one is called "constant", to which all others are compared.

    Raises SettingError for arms that cannot be compared fairly.
    """
    page = open_page(store, arms, seeds=seeds, noise_file=noise_file)
    mains = list(dict.fromkeys([page.base, *main_arms(page).values()]))
    (folder / RATIOS).write_bytes(plot_ratios(page))
    (folder / CURVES).write_bytes(plot_curves(page, mains[:MAX_CURVES]))
    path = folder / "suite.md"
    sentences = answer(page, untuned_quality(store, noise_file))
    if folder == FOLDER:
        write_answer(sentences, EXPLANATION)
    opening = [*_head(store, page, sentences), *default_sections(store, noise_file)]
    write(path, *opening, *_verdict(page), *_details(page, mains), f"## Limits\n\n{LIMITS}")
    return path


def write_answer(sentences: str, path: Path) -> None:
    """Write the three sentences between the markers of another page."""
    before, _, rest = path.read_text().partition(ANSWER_BEGIN)
    _, end, after = rest.partition(ANSWER_END)
    if not end:
        raise SystemExit(f"{path} has no lines {ANSWER_BEGIN} and {ANSWER_END}; add them")
    path.write_text(f"{before}{ANSWER_BEGIN}\n{sentences}\n{end}{after}")


def gate_report(store: RunStore, arms: Mapping[str, ArmInfo], noise_file: Path = NOISE_FILE) -> str:
    """Return the gate as Markdown; of the arms it needs the constant only."""
    return "\n\n".join(_gate(open_page(store, arms, noise_file=noise_file)))


def power_report(store: RunStore, arms: Mapping[str, ArmInfo], noise_file: Path = NOISE_FILE) -> str:
    """Return the power of the verdict as Markdown, from runs of training tasks only: call it before the verdict."""
    return power_table(open_page(store, arms, noise_file=noise_file))


def oracle_settings(
    store: RunStore, arms: Mapping[str, ArmInfo], noise_file: Path = NOISE_FILE
) -> dict[str, list[str]]:
    """Return, per test task, the settings (JSON text) that need runs with fresh seeds before the page is complete.

    Those are the best constants at both endpoints, and the published setting.
    """
    page = open_page(store, arms, noise_file=noise_file)
    oracles = [study.oracle for study in page.studies.values()]
    return {
        task.name: list(
            dict.fromkeys([*(oracle[task.name] for oracle in oracles if task.name in oracle), page.constants[0]])
        )
        for task in page.tasks
    }


def _head(store: RunStore, page: SuitePage, sentences: str) -> list[str]:
    lines = list(store.results.values())
    hours = sum(line["cpu"] for line in lines) / 3600
    dates = join_unique(sorted({line["date"] for line in lines if "date" in line}))
    missing = [f"{name} lacks {count}" for name, count in page.studies["selected"].missing().items()]
    return [
        "# The suite: which way of control is best on data that nobody tuned for?",
        sentences,
        f"{ranking(page)} {against_schedule(page)}".strip(),
        f"![Ratio of every arm to the constant, with intervals]({RATIOS})",
        f"`python benchmarks/control/suite.py`; {len(lines)} runs, {hours:.1f} hours of processor time; {dates}. "
        f"Machine: {machine()}. Tasks: [suite.toml](suite.toml)."
        + (f" **Incomplete: {', '.join(missing)} runs.**" if missing else ""),
        METHOD,
    ]


def _gate(page: SuitePage) -> list[str]:
    gate = page.gates["selected"]
    word = "passed" if gate.is_passed else "not passed"
    return [
        "## Is there anything to win?",
        f"The best of {len(page.constants)} constants, chosen per task with seed 0, has {format_interval(gate.ratio)} "
        f"times the distance of the constant for all tasks with fresh seeds (over tasks as well: "
        f"{format_interval(gate.over_tasks)}); at the end of the run {format_interval(page.gates['last'].ratio)}. At "
        f"least 10 % is needed: **{word}**.",
        gate_table(page),
    ]


def _verdict(page: SuitePage) -> list[str]:
    tuned = {name: arm for name, arm in page.arms.items() if arm.score is not None}
    best = f"; the training tasks select `{min(tuned, key=lambda name: tuned[name].score)}`" if tuned else ""
    return [
        *_gate(page),
        "## The arms and their tuning",
        "Tuned on the training tasks alone. Training ratio: of the geometric mean distance to that of the constant.",
        tuning_table(page),
        "## Verdict",
        verdict_table(page),
        "At the end of the run, without early stopping:",
        last_table(page),
        f"Aims that were set before{best}:",
        aims_table(page),
    ]


def _details(page: SuitePage, mains: Sequence[str]) -> list[str]:
    main_names = [name for name in mains if name != page.base]
    return [
        "## Do no harm",
        "Share of tasks whose mean ratio is above 1.1, with Wilson's interval over tasks; \"by noise alone\": what "
        "the noise of seeds would show if no task differed. Failures: runs without a finite distance, kept and last.",
        harm_table(page),
        "## Mis-set knobs",
        "Damage: the published setting in the regime against the best of 24 constants on the task; undone: the share "
        f"that an arm wins back, over {len(page.mis_set())} tasks.",
        regime_table(page),
        "## Kinds of tasks",
        "The arm of each kind that was best on the training tasks; intervals over seeds.",
        subgroup_table(page, main_names),
        "## Every task",
        task_table(page, "selected"),
        "At the end of the run:",
        task_table(page, "last"),
        "## Stability and efficiency",
        f"![Median distance over the run, per task]({CURVES})",
        "Last / best: how far the distance ends above the best of the run. Fluctuation: standard deviation of the log "
        "distance in the last third. Steps: median share of a run until the constant's final distance is reached.",
        stability_table(page),
        "## How many trials is it worth?",
        "The best of k random constants that are tried on the task itself, one run each, has these ratios.",
        equivalent_trials_tables(page),
        "## Power",
        "From the variance of the training tasks, computed before the verdict: two-sided test at 5 %.",
        power_table(page),
    ]  # fmt: skip
