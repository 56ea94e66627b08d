"""Tables of the page of the suite as Markdown."""

import json
import math
from collections.abc import Sequence

import numpy as np
from _results import table
from _suite_study import SuitePage
from _suite_text import (
    check_aims,
    describe_settings,
    format_interval,
    format_p,
    format_ratio,
    format_share,
    format_trials,
    training_score,
)

from equipoise.comparison.suite import equivalent_trials, power, statistics
from equipoise.comparison.suite.records import Endpoint
from equipoise.comparison.suite.verdict import ORACLE, ArmVerdict

REPORTED_EFFECTS = (0.95, 0.9, 0.8)
"""Ratios whose detection is simulated."""


def gate_table(page: SuitePage) -> str:
    """Return the best constant of each test task, and its ratio to the constant for all tasks."""
    gate = page.gates["selected"]
    last = {row.task: row for row in page.gates["last"].rows}
    rows = [
        (
            row.task,
            f"{row.number}: {describe_settings(json.loads(page.constants[row.number]))}",
            format_ratio(row.chosen),
            f"**{format_ratio(row.fresh)}**",
            format_ratio(last[row.task].fresh) if row.task in last else "–",
            format_ratio(row.default),
        )
        for row in gate.rows
    ]
    columns = ("task", "best constant", "ratio, seed of the choice", "ratio, fresh seeds", "last", "published setting")
    return table(columns, rows)


def tuning_table(page: SuitePage) -> str:
    """Return the best setting of each arm, and its score on the training tasks relative to the constant's."""
    base = page.arms[page.base].score
    rows = []
    for name, arm in sorted(page.arms.items(), key=lambda item: training_score(item[1])):
        known = arm.score is not None and base is not None
        score = format_ratio(math.exp(arm.score - base)) if known else "–"
        rows.append(
            (name, arm.kind, arm.trials or "–", arm.training_runs or "–", score, describe_settings(arm.settings))
        )
    return table(("arm", "kind", "trials", "runs that trained weights", "training ratio", "setting"), rows)


def verdict_table(page: SuitePage) -> str:
    """Return all arms by their ratio, with early stopping."""
    rows = [
        (
            verdict.name,
            page.arms[verdict.name].kind,
            format_interval(verdict.ratio),
            format_interval(verdict.over_tasks),
            format_p(verdict.p_signed_rank),
            format_p(verdict.p_sign_flip),
            format_p(verdict.p),
            verdict.word,
            format_interval(verdict.regret),
            _headroom(verdict),
            f"{verdict.cpu_ratio:.2f}",
            f"{verdict.cpu_seconds:+.1f}",
        )
        for verdict in page.verdicts["selected"]
    ]
    columns = (
        *("arm", "kind", "ratio [seeds]", "ratio [tasks]", "p, signed rank", "p, sign flips", "p, Holm", "verdict"),
        *("ratio to the oracle", "headroom won", "CPU ratio", "CPU s more"),
    )
    return table(columns, rows)


def last_table(page: SuitePage) -> str:
    """Return all arms by their ratio at the end of the run."""
    rows = [
        (
            verdict.name,
            format_interval(verdict.ratio),
            format_interval(verdict.over_tasks),
            format_p(verdict.p),
            verdict.word,
            _headroom(verdict),
        )
        for verdict in page.verdicts["last"]
    ]
    return table(("arm", "ratio [seeds]", "ratio [tasks]", "p, Holm", "verdict", "headroom won"), rows)


def _headroom(verdict: ArmVerdict) -> str:
    share = verdict.headroom
    if not math.isfinite(share.value):
        return "–"
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"


def aims_table(page: SuitePage) -> str:
    """Return which aims of the issue each arm reaches."""
    rows = []
    for verdict in page.verdicts["selected"]:
        answers = ["yes" if is_reached else "no" for is_reached in check_aims(page, verdict)]
        rows.append((verdict.name, *answers))
    columns = (
        *("arm", "ratio ≤ 0.85, interval below 1", "worse by 10 % on ≤ 10 % of tasks", "half of the headroom"),
        "90 % of the damage of mis-set knobs undone",
    )
    return table(columns, rows)


def harm_table(page: SuitePage) -> str:
    """Return tasks that are worse by more than 10 %, and failures."""
    names = np.array([task.name for task in page.tasks])
    rows = []
    for verdict in page.verdicts["selected"]:
        means = statistics.task_means(page.ratios["selected"][verdict.name])
        worst = int(np.nanargmax(means))
        last = next((other for other in page.verdicts["last"] if other.name == verdict.name), verdict)
        rows.append(
            (
                verdict.name,
                f"{round(verdict.worse.value * len(names))} of {len(names)}",
                f"{verdict.worse.value:.0%} [{verdict.worse.low:.0%}, {verdict.worse.high:.0%}]",
                f"{verdict.worse_by_noise:.0%}",
                f"{last.worse.value:.0%}",
                f"{names[worst]} {math.exp(means[worst]):.2f}",
                f"{verdict.failures} and {last.failures} of {verdict.runs}",
            )
        )
    columns = ("arm", "tasks worse by 10 %", "share", "by noise alone", "share, last", "worst task", "failures")
    return table(columns, rows)


def regime_table(page: SuitePage) -> str:
    """Return the share of the damage of mis-set knobs that each arm undoes."""
    names = [page.base, *(verdict.name for verdict in page.verdicts["selected"])]
    rows = [
        (name, *(format_share(page.damage_undone(name, endpoint)) for endpoint in ("selected", "last")))
        for name in names
    ]
    rows.sort(key=lambda row: -float(row[1].rstrip("%").replace("–", "-inf")))
    return table(("arm", "damage undone", "last"), rows)


def subgroup_table(page: SuitePage, names: Sequence[str]) -> str:
    """Return the ratio of arms in subgroups of tasks, with intervals over seeds."""
    rows = []
    for kind, labels in page.subgroups().items():
        for label, places in sorted(labels.items()):
            ratios = [page.ratios["selected"][name][places] for name in [*names, ORACLE]]
            cells = [
                format_interval(
                    statistics.as_ratio(statistics.estimate_over_seeds([values], statistics.mean_log_ratio))
                )
                for values in ratios
            ]
            rows.append((kind, label, len(places), *cells))
    return table(("subgroup", "", "tasks", *names, "oracle"), rows)


def task_table(page: SuitePage, endpoint: Endpoint) -> str:
    """Return the ratio of every arm on every task; names of tasks have spaces, so that they wrap."""
    names = [*(verdict.name for verdict in page.verdicts[endpoint]), ORACLE]
    rows = [
        (
            "oracle" if name == ORACLE else name,
            *map(format_ratio, np.exp(statistics.task_means(page.ratios[endpoint][name])).tolist()),
        )
        for name in names
    ]
    return table(("arm", *(task.name.replace("_", " ") for task in page.tasks)), rows)


def stability_table(page: SuitePage) -> str:
    """Return stability and efficiency of every arm."""
    rows = [
        (
            name,
            f"{part.rise:.2f}",
            f"{part.fluctuation:.3f}",
            f"{part.diverged} of {part.runs}",
            f"{part.share_of_steps:.0%}",
            f"{part.reached:.0%}",
        )
        for name, part in sorted(page.stability.items(), key=lambda item: item[1].rise)
    ]
    columns = ("arm", "last / best", "fluctuation", "diverged", "steps to the constant's end", "runs that reach it")
    return table(columns, rows)


def equivalent_trials_tables(page: SuitePage) -> str:
    """Return the expected ratio of the best of k constants, and the number of trials that each arm is worth."""
    gate = page.gates["selected"]
    curve = [
        (k, f"{math.exp(gate.curve[k]):.2f}", f"{gate.fresh_shares[k]:.0%}", f"{math.exp(gate.optimistic[k]):.2f}")
        for k in gate.curve
    ]
    worth = [(page.base, format_trials(equivalent_trials.trials_worth(0.0, gate.curve)), "")]
    for verdict in page.verdicts["selected"]:
        value, most, least = (
            format_trials(equivalent_trials.trials_worth(math.log(ratio), gate.curve))
            for ratio in (verdict.ratio.value, verdict.ratio.low, verdict.ratio.high)
        )
        worth.append((verdict.name, value, f"{least} to {most}"))
    first = table(("trials", "ratio of the best", "of which fresh seeds", "ratio as the choice sees it"), curve)
    return first + "\n\n" + table(("arm", "worth so many trials on the task itself", "95 % interval over seeds"), worth)


def power_table(page: SuitePage) -> str:
    """Return variances of the pilot, what the design detects, and the simulated power."""
    variance, arms = page.pilot()
    if not variance:
        return "No arm ran with several seeds on training tasks, so power is unknown."
    tasks, seeds = len(page.tasks), len(page.seeds)
    needed = power.required_seeds(variance, tasks)
    rows = [
        ("arms with several seeds on training tasks", str(arms)),
        ("standard deviation of log ratios between tasks", f"{math.sqrt(variance.between):.3f}"),
        ("… between seeds of a task", f"{math.sqrt(variance.within):.3f}"),
        (f"tasks needed for 10 % at 80 % power, {seeds} seeds", str(power.required_tasks(variance, seeds))),
        (f"seeds needed with {tasks} tasks", str(needed) if needed else "none suffices: tasks differ too much"),
        (
            f"largest ratio detected by {tasks} tasks × {seeds} seeds",
            f"{power.detectable_ratio(variance, tasks, seeds):.2f}",
        ),
    ]
    for ratio in REPORTED_EFFECTS:
        simulated = power.simulate_power(variance, tasks, seeds, effect=-math.log(ratio))
        rows.append((f"simulated power of the sign-flip test for a ratio of {ratio}", f"{simulated:.0%}"))
    return table(("", ""), rows)
