"""Train a policy for a learned controller in many short runs."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_output_flags, output_folder
from equipoise.cli.output import INTERRUPTED, Verbosity, print_error, print_result, verbosity_of
from equipoise.errors import SettingError

ORDER = 120
EXAMPLES = ("equipoise train-policy experiments/policies/residual.toml",)
JSON_KEYS: dict[str, str] = {
    "policy": "path of the policy",
    "digest": "its digest",
    "check": "result of the check on held-out tasks",
    "cpu_seconds": "CPU time of its training",
}
CONTROLLERS = {"residual": "learnable", "brief": "learnable:brief"}
"""Kind of policy -> its controller, where the names differ."""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `train-policy`."""
    parser.add_argument(
        "plan",
        metavar="PLAN.toml",
        help="plan with the kind of policy, the training method and the tasks; examples: experiments/policies",
    )
    parser.add_argument("--out", metavar="FILE", help="policy file; default: policies/PLAN.safetensors")
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="parallel runs on images and tables, one thread each; MLPs are batched into one model instead; default: 1",
    )
    add_output_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Train the policy, or continue its training, and write its file."""
    from equipoise.cli.terminal import show_preparation
    from equipoise.core.data import Preparation
    from equipoise.jobs.local import LocalBackend
    from equipoise.meta.parallel_episodes import PRELOADED_MODULES
    from equipoise.meta.plan import load_policy_plan
    from equipoise.meta.training import cpu_seconds, train_policy
    from equipoise.policy.files import load_policy

    if args.processes < 1:
        raise SettingError(f"--processes {args.processes}: it must be at least 1")
    path = Path(args.plan)
    plan = load_policy_plan(path)
    out = output_folder(args.out) or Path("policies") / f"{path.stem}.safetensors"
    progress = train_policy(plan, out, LocalBackend(args.processes, PRELOADED_MODULES))
    parts = (Preparation(f"training {plan.kind}", part.done, part.total, part.message) for part in progress)
    try:
        show_preparation(parts, quiet=verbosity_of(args) is Verbosity.QUIET)
    except KeyboardInterrupt:
        message = "stopped; completed parts are saved. To continue, run the same command again"
        return print_error(message, INTERRUPTED, as_json=args.json)
    loaded = load_policy(str(out))
    seconds = cpu_seconds(plan, out)
    result = {
        "policy": str(out),
        "digest": loaded.digest,
        "check": loaded.policy.training["check"],
        "cpu_seconds": seconds,
    }
    controller = CONTROLLERS.get(plan.kind, plan.kind)
    usage = f"equipoise train DATA --controller {controller} --policy {out}"
    print_result(args.json, result, f"{out}: {seconds:.0f} s of CPU time. Use it with: {usage}")
    return 0
