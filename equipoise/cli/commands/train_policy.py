"""Train a policy for controllers that learn, over many short runs."""

import argparse
import sys
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer

INTERRUPTED = 130


def add_arguments(made: Parser) -> None:
    """The arguments of `train-policy`."""
    made.add_argument(
        "plan", metavar="PLAN.toml", help="what is trained, how, and on which tasks; experiments/policies"
    )
    made.add_argument("--out", metavar="FILE", help="the policy's file; left out: policies/PLAN.safetensors")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Train a policy, or go on with it."""
    from equipoise.cli.terminal import show_preparation
    from equipoise.core.data import Preparation
    from equipoise.meta.plan import read_plan
    from equipoise.meta.training import seconds_of, train_policy
    from equipoise.policy.files import read

    path = Path(args.plan)
    plan = read_plan(path)
    out = Path(args.out) if args.out else Path("policies") / f"{path.stem}.safetensors"
    pieces = train_policy(plan, out)
    told = (Preparation(f"training {plan.kind}", piece.done, piece.total, piece.told) for piece in pieces)
    try:
        show_preparation(told, quiet=args.json)
    except KeyboardInterrupt:
        print("stopped; what is done is kept: the same command goes on", file=sys.stderr)
        return INTERRUPTED
    made = read(str(out))
    seconds = seconds_of(plan, out)
    how = {"policy": str(out), "digest": made.digest, "check": made.policy.training["check"], "cpu_seconds": seconds}
    controller = {"residual": "learnable", "brief": "learnable:brief"}.get(plan.kind, plan.kind)
    last = f"{out} after {seconds:.0f} s of CPU; use it: equipoise train DATA --controller {controller} --policy {out}"
    answer(args.json, how, last)
    return 0
