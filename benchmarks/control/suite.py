"""Which way of control is best on data that nobody has tuned for?

    python benchmarks/control/suite.py                            everything: about 8 hours of CPU; a restart continues
    python benchmarks/control/suite.py gate | tune | …           one of the phases
    python benchmarks/control/suite.py tune --arms ada rank       some arms only
    python benchmarks/control/suite.py page                       rewrite suite.md and its pictures from the results

Method. suite.toml has training and test tasks of different data; docs/decisions/0020-control-across-tasks.md says why
they are as they are. `gate` runs 24 constants on every test task. `tune` races settings of every arm on the training
tasks, 64 runs an arm. `pilot` repeats three tuned arms there with two more seeds, for the power of the verdict.
`verdict` runs the tuned arms on every test task with five fresh seeds, and the best constant of each test task and the
published setting, too. `defaults` runs shipped controllers on the published settings of the test tasks, `long` on the
tasks of suite_long.toml, three times as long. A run takes about eight seconds. Results: results/suite.jsonl, a line per
run; results/suite_tuned.json, the settings that tuning selected. Expected, from longer runs on digits with one seed: a
rule for augmentation wins where there are few pictures and loses nothing elsewhere.
"""

import argparse
import json
from collections.abc import Iterable

from _plane import HERE as HERE  # adds the folder of _results to the path
from _suite_arms import ARMS, UNTUNED, constants
from _suite_defaults import LONG_SEEDS, in_longer_runs, on_published_settings
from _suite_page import oracle_settings, power_report, write_page
from _suite_runs import FOLDER, SUITE_FILE, RunStore, SuiteRun, execute
from _suite_tuning import tune, write_tuned

from equipoise.comparison.suite.checks import ArmInfo
from equipoise.comparison.suite.tasks import load_suite

TUNED_FILE = FOLDER / "results" / "suite_tuned.json"
PHASES = ("gate", "tune", "pilot", "verdict", "defaults", "long", "page")
NAMES = [*ARMS, *UNTUNED]
SEEDS = (1, 2, 3, 4, 5)
PILOT_ARMS, PILOT_SEEDS = ("constant", "annealed", "ada"), (101, 102)


def gate_runs() -> list[SuiteRun]:
    """Return 24 constants on every test task."""
    suite = load_suite(SUITE_FILE)
    return [SuiteRun.of(task.name, "constant", settings, 0) for settings in constants() for task in suite.half("test")]


def arm_infos() -> dict[str, ArmInfo]:
    """Return all arms that are ready for the comparison: those that were tuned, and those that are not tuned."""
    tuned = json.loads(TUNED_FILE.read_text()) if TUNED_FILE.exists() else {}
    infos = {
        name: ArmInfo(tuned[name]["settings"], arm.kind, tuned[name]["trials"], tuned[name]["score"], arm.training_runs)
        for name, arm in ARMS.items()
        if name in tuned and name != "base"
    }
    infos |= {name: ArmInfo(arm.settings, arm.kind, training_runs=arm.training_runs) for name, arm in UNTUNED.items()}
    return infos


def pilot_runs() -> list[SuiteRun]:
    """Return three tuned arms on every training task with two more seeds."""
    tasks, infos = load_suite(SUITE_FILE).half("training"), arm_infos()
    return [
        SuiteRun.of(task.name, name, dict(infos[name].settings), seed)
        for seed in PILOT_SEEDS
        for name in PILOT_ARMS
        for task in tasks
    ]


def verdict_runs(store: RunStore, arms: Iterable[str]) -> list[SuiteRun]:
    """Return the runs on every test task, seed by seed, so that an interrupted verdict is balanced."""
    tasks, infos = load_suite(SUITE_FILE).half("test"), arm_infos()
    oracles = oracle_settings(store, infos)
    runs = []
    for seed in SEEDS:
        for task in tasks:
            runs += [SuiteRun.of(task.name, name, dict(infos[name].settings), seed) for name in arms if name in infos]
            runs += [SuiteRun(task.name, "gate", text, seed) for text in oracles[task.name]]
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phases", nargs="*", choices=PHASES, default=PHASES)
    parser.add_argument("--arms", nargs="+", choices=NAMES, default=NAMES)
    args = parser.parse_args()
    store = RunStore()
    if "gate" in args.phases:
        execute(store, gate_runs(), label="gate")
    if "tune" in args.phases:
        base = tune(store, ["base"])
        arms = [arm for arm in args.arms if arm in ARMS and arm != "base"]
        write_tuned(TUNED_FILE, {**base, **tune(store, arms, base["base"].number)})
    if "pilot" in args.phases:
        execute(store, pilot_runs(), label="pilot")
        print(power_report(store, arm_infos()))
    if "verdict" in args.phases:
        execute(store, verdict_runs(store, args.arms), label="verdict")
    if "defaults" in args.phases:
        execute(store, on_published_settings().missing(store), label="defaults")
    if "long" in args.phases:
        longer = in_longer_runs()
        execute(store, longer.missing(store, LONG_SEEDS), longer.file, label="long")
    if "page" in args.phases:
        write_page(store, arm_infos())


if __name__ == "__main__":
    main()
