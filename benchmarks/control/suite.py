"""Which way of control is best on data that nobody has tuned for?

python benchmarks/control/suite.py                        all phases, about 5 hours of CPU; a restart continues
python benchmarks/control/suite.py gate | tune | verdict  one of them
python benchmarks/control/suite.py tune --arms ada rank   some arms only
"""

import argparse
import json

from _suite_arms import ARMS, constants
from _suite_runs import FOLDER, SUITE_FILE, RunStore, SuiteRun, execute
from _suite_tuning import tune, write_tuned

from equipoise.comparison.suite.tasks import load_suite

TUNED_FILE = FOLDER / "results" / "suite_tuned.json"
PHASES = ("gate", "tune", "verdict")
SEEDS = (1, 2, 3, 4, 5)


def gate_runs() -> list[SuiteRun]:
    """Return 24 constants on every test task."""
    suite = load_suite(SUITE_FILE)
    return [SuiteRun.of(task.name, "constant", settings, 0) for settings in constants() for task in suite.half("test")]


def verdict_runs(arms: list[str]) -> list[SuiteRun]:
    """Return the tuned arms on every test task, seed by seed, so that an interrupted verdict is balanced."""
    suite, tuned = load_suite(SUITE_FILE), json.loads(TUNED_FILE.read_text())
    return [
        SuiteRun.of(task.name, arm, tuned[arm]["settings"], seed)
        for seed in SEEDS
        for arm in arms
        for task in suite.half("test")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phases", nargs="*", choices=PHASES, default=PHASES)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    args = parser.parse_args()
    store = RunStore()
    if "gate" in args.phases:
        execute(store, gate_runs(), label="gate")
    if "tune" in args.phases:
        base = tune(store, ["base"])
        arms = [arm for arm in args.arms if arm != "base"]
        write_tuned(TUNED_FILE, {**base, **tune(store, arms, base["base"].number)})
    if "verdict" in args.phases:
        execute(store, verdict_runs(args.arms), label="verdict")


if __name__ == "__main__":
    main()
