"""Train the policies of the suite on its training tasks, and measure what each part of them contributes.

cd benchmarks/control
PYTHONPATH=.. python suite_policies.py --train main        resumes; prints "n of N done"
PYTHONPATH=.. python suite_policies.py --write --ppo       checks both policies and writes their files
PYTHONPATH=.. python suite_policies.py --table             writes suite_policies.md
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from _policy_ppo import KIND as PPO_KIND
from _policy_ppo import train_ppo
from _policy_runs import KIND, RESULTS_FILE, cpu_minutes, execute_here, policy_run, policy_with, quality
from _policy_trainings import CHEAP, FIRST_SEED, PARTS, TASKS, TRAININGS, train
from _results import table, write
from _suite_runs import FOLDER, SUITE_FILE, RunStore, SuiteRun

from equipoise.comparison.suite.tasks import Suite, load_suite
from equipoise.core.student_t import student_t_quantile
from equipoise.meta.antithetic import bounded_difference
from equipoise.policy.files import SHIPPED, encode_policy, load_policy
from equipoise.policy.network import FloatArray

CHECK_SEEDS = (5001, 5002)
"""Seeds that no training and no choice has used. The second one is for the cheap tasks alone."""


def check_runs(tasks: Sequence[str], weights: FloatArray | None, kind: str = KIND) -> list[SuiteRun]:
    """Return the runs that compare a policy with its base controller; None for the base controller."""
    pairs = [(task, seed) for seed in CHECK_SEEDS for task in tasks if seed == CHECK_SEEDS[0] or task in CHEAP]
    return [policy_run(task, weights, seed, "check", kind) for task, seed in pairs]


def check(store: RunStore, suite: Suite, weights: FloatArray, tasks: Sequence[str], kind: str = KIND) -> list[float]:
    """Return the advantages of a policy over its base controller on training tasks, with new seeds."""
    rows = [
        [quality(result) for result in execute_here(store, suite, check_runs(tasks, one, kind), "check")]
        for one in (weights, None)
    ]
    return [bounded_difference(own, base) for own, base in zip(*rows, strict=True)]


def summarise(advantages: Sequence[float]) -> dict[str, float]:
    """Return the mean advantage, its two-sided 95 % interval, and the share of runs that are better."""
    count, mean = len(advantages), float(np.mean(advantages))
    error = student_t_quantile(0.975, count - 1) * float(np.std(advantages, ddof=1)) / math.sqrt(count)
    better = float(np.mean([advantage > 0 for advantage in advantages]))
    summary = {"runs": count, "mean": mean, "low": mean - error, "high": mean + error, "better": better}
    return {name: round(value, 4) for name, value in summary.items()}


def write_policy(store: RunStore, suite: Suite) -> None:
    """Write the file of `learnable:suite`, with its training tasks and its score."""
    training, weights = TRAININGS["main"], train(store, suite, "main")
    record = {
        "method": "antithetic evolution strategy",
        "plan": {"kind": KIND, "suite": SUITE_FILE.name, **dataclasses.asdict(training.settings)},
        "tasks": list(training.tasks),
        "sources": sorted({suite.task(task).source for task in training.tasks}),
        "seeds": [FIRST_SEED + number for number in range(training.generations)],
        "episodes": sum(line["arm"] == "main" for line in store.results.values()),
        "scale": training.scale,
        "check": {"seeds": list(CHECK_SEEDS), **summarise(check(store, suite, weights, training.tasks))},
    }
    policy = dataclasses.replace(policy_with(weights), training=record)
    (SHIPPED / f"{KIND}.safetensors").write_bytes(encode_policy(policy))
    print(record["check"], f"{cpu_minutes(store):.1f} minutes", flush=True)


def write_ppo() -> None:
    """Train and write the file of `ppo:suite`, with its training tasks and its score."""
    policy, advantages, record = train_ppo()
    record = {**record, "check": summarise(advantages)}
    (SHIPPED / f"{PPO_KIND}.safetensors").write_bytes(encode_policy(dataclasses.replace(policy, training=record)))
    print(record["check"], flush=True)


def weights_of(store: RunStore, suite: Suite, name: str) -> FloatArray:
    """Return the weights of a training, a part of the main one, or the shipped policy of PPO."""
    return load_policy(name).policy.actor.flat() if name == PPO_KIND else train(store, suite, name)


def is_trained(store: RunStore, name: str) -> bool:
    """Return whether a training has ended; a part needs the main one."""
    if name == PPO_KIND:
        return (SHIPPED / f"{PPO_KIND}.safetensors").exists()
    name = "main" if name in PARTS else name
    return sum(line["arm"] == name for line in store.results.values()) >= 2 * TRAININGS[name].pairs


def write_table(store: RunStore, suite: Suite) -> None:
    """Write the table of all policies that have been checked."""
    rows = []
    for name in (*TRAININGS, *PARTS, PPO_KIND):
        if not is_trained(store, name):
            continue
        weights, kind = weights_of(store, suite, name), PPO_KIND if name == PPO_KIND else KIND
        groups = (TASKS, CHEAP) if name == "main" else (CHEAP,)
        done = [tasks for tasks in groups if not store.missing(check_runs(tasks, weights, kind))]
        rows += [_row(store, suite, name, weights, tasks) for tasks in done]
    columns = ["policy", "weights", "runs of its training", "checked on", "distance / base", "95 %", "runs better"]
    write(FOLDER / "suite_policies.md", TITLE, TEXT.format(minutes=cpu_minutes(store)), table(columns, rows))


def _row(store: RunStore, suite: Suite, name: str, weights: FloatArray, tasks: Sequence[str]) -> list[str]:
    kind = PPO_KIND if name == PPO_KIND else KIND
    summary = summarise(check(store, suite, weights, tasks, kind))
    ratios = [math.exp(-summary[key]) for key in ("mean", "high", "low")]
    trained = sum(line["arm"] == name for line in store.results.values())
    return [
        name,
        f"{np.count_nonzero(weights)}",
        f"{trained}" if name in TRAININGS else "–",
        f"{summary['runs']:.0f} runs of {len(tasks)} tasks",
        f"{ratios[0]:.2f}",
        f"{ratios[1]:.2f} to {ratios[2]:.2f}",
        f"{summary['better']:.0%}",
    ]


TITLE = "# Learned policies on the training tasks of the suite"
TEXT = """Distance to test reals of the training tasks, as a ratio to the base controller `rank` on the same task, data
and weights: geometric mean (the selected checkpoint counts 0.7, the last one 0.3; a run at most a factor of e), with
the interval of Student's t over runs. Seeds are new, but the tasks are those of the
training, so that a ratio below 1 shows that training worked, not that the policy suits other data; the suite judges
that. `main` is `learnable:suite`. The trainings called `small` use the four cheapest tasks and six generations, and
are compared among themselves. Parts of `main` are evaluated without training: all other weights are 0. All runs took
{minutes:.0f} minutes of one core. Written by `suite_policies.py --table`."""


def main() -> None:
    """Run what the options request, in this order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="*", default=[], choices=TRAININGS, metavar="NAME", help="train policies")
    parser.add_argument("--write", action="store_true", help="check the main policy and write its file")
    parser.add_argument("--ppo", action="store_true", help="train the policy of ppo:suite and write its file")
    parser.add_argument("--check", nargs="*", default=[], metavar="NAME", help="check policies on the cheap tasks")
    parser.add_argument("--table", action="store_true", help="write the table of all results so far")
    args = parser.parse_args()
    torch.set_num_threads(1)
    suite, store = load_suite(SUITE_FILE), RunStore(RESULTS_FILE)
    for name in args.train:
        print(train(store, suite, name).tolist(), f"{cpu_minutes(store):.1f} minutes", flush=True)
    if args.write:
        write_policy(store, suite)
    if args.ppo:
        write_ppo()
    for name in args.check:
        kind = PPO_KIND if name == PPO_KIND else KIND
        print(name, summarise(check(store, suite, weights_of(store, suite, name), CHEAP, kind)), flush=True)
    if args.table:
        write_table(store, suite)


if __name__ == "__main__":
    main()
