"""Which way of control is best on data that nobody has tuned for?"""

import argparse

from _suite_arms import constants
from _suite_runs import SUITE_FILE, RunStore, SuiteRun, execute

from equipoise.comparison.suite.tasks import load_suite


def gate_runs() -> list[SuiteRun]:
    suite = load_suite(SUITE_FILE)
    return [SuiteRun.of(task.name, "constant", settings, 0) for settings in constants() for task in suite.half("test")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    store = RunStore()
    execute(store, gate_runs(), label="gate")


if __name__ == "__main__":
    main()
