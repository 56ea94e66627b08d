"""Check GPUs shared by processes, and processes that train on several GPUs; and one GPU against the CPU.

    python scripts/gpu_scale_check.py --out scripts/results/gpu_scale.jsonl      all groups of arms: 40 to 60 minutes
    python scripts/gpu_scale_check.py --groups ranks,share                       some of them, in this order
    python scripts/gpu_scale_check.py --device cpu --seconds 2 --models dcgan --sizes 16     a rehearsal without a GPU

No downloads; the data are the emoji of the package. Each arm is a process of its own with a time limit; it prints one
line of JSON as soon as it ends, so that nothing is lost if the machine is taken away, and never stops the others. What
needs more GPUs than there are is "skipped", with the reason; other ends of an arm are those of gpu_check.py. On a CPU,
processes exchange with gloo, and memory is not limited.

Groups, in the order in which they run:
  nccl       one process that is a whole group: exchanges of each dtype, their results and seconds, and its end
  ranks      two GPUs: gradients of two processes with half a batch against those of one with the whole batch; images
             per second of one and two processes, the whole batch fixed and growing; a run of two, one of them killed,
             and resumed: seconds until the other has ended, its lines of error, and whether the bytes are those of a
             run that was not killed (with deterministic kernels)
  share      two processes on one GPU, each limited to half of its memory: images per second against one process alone,
             peak memory, and whether more is refused; `equipoise compare` with one process, two, and two through Ray
  precision  the first step and the mean losses of the second half of some, in fp32 and in bf16, from the same seed
  speed      images per second of every preset on the GPU and on the CPU of this machine, with all of its cores
"""

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from _gpu_ranks import compare_gradients, kill_and_resume, measure_ranks, try_exchanges
from _gpu_share import compare_processes, share_gpu
from gpu_check import (
    PRECISION,
    Arm,
    Settings,
    assemble,
    compare_precision,
    describe_machine,
    experiment_of,
    image_models,
    measure_speed,
    report,
    run_arm,
    select_device,
    take_step,
)

GROUPS = ("nccl", "ranks", "share", "precision", "speed")
RANKED = ("dcgan", "r3gan")
"""Models of the groups ranks and share: their losses draw nothing but latents, so that gradients can be compared."""
UNLIMITED = 1e6
Values = Mapping[str, object]
Measure = Callable[[Settings, str, int], Values]


@dataclass(frozen=True)
class Kind:
    """A kind of arm. `limit`: seconds, besides multiples of `--seconds`. `gpus`: how many it needs, if any."""

    measure: Measure
    limit: float
    parts: int
    gpus: int = 1


def compare_precisions(settings: Settings, model: str, size: int) -> Values:
    """Return relative differences between fp32 and bf16 in the first step, and the losses of more steps."""
    first: dict[str, dict[str, float]] = {}
    for precision in ("fp32", "bf16"):
        training = assemble(experiment_of(settings, model, size, precision=precision), None)
        for phase, record in take_step(training).phases.items():
            values = {"loss": record.total, **record.gradient_norms}
            first.setdefault(phase, {})
            for name, value in values.items():
                if value is None:
                    continue
                before = first[phase].get(name)
                first[phase][name] = float(value) if before is None else round(difference(before, float(value)), 5)
    return {"first_step_difference": first, **compare_precision(replace(settings, sizes=(size,)), model)}


def difference(expected: float, value: float) -> float:
    """Return |difference| / |expected|."""
    return abs(value - expected) / max(abs(expected), 1e-12) if math.isfinite(value) else math.inf


def compare_speeds(settings: Settings, model: str, size: int) -> Values:
    """Return the speed on the device, on the CPU of this machine, and their ratio."""
    result: dict[str, object] = {"here": dict(measure_speed(settings, model, size))}
    print(json.dumps(result), flush=True)  # should the CPU take too long
    if select_device(settings.device).type == "cpu":
        return result
    on_cpu = measure_speed(replace(settings, device="cpu"), model, size)
    ratio = float(str(result["here"]["images_per_second"])) / float(str(on_cpu["images_per_second"]))  # type: ignore[index]
    return {**result, "cpu": on_cpu, "ratio": round(ratio, 1)}


KINDS = {
    "nccl/exchanges": Kind(lambda settings, model, size: try_exchanges(settings), 60, 0),
    "ranks/gradients": Kind(compare_gradients, 240, 0, gpus=2),
    "ranks/speed": Kind(measure_ranks, 180, 6, gpus=2),
    "ranks/resume": Kind(kill_and_resume, 400, 0, gpus=2),
    "share/memory": Kind(share_gpu, 120, 4),
    "share/compare": Kind(lambda settings, model, size: compare_processes(settings, model, size, on=""), 400, 4),
    "share/ray": Kind(lambda settings, model, size: compare_processes(settings, model, size, on="ray"), 300, 2),
    "precision/bf16": Kind(compare_precisions, 90, 2),
    "speed/images": Kind(compare_speeds, 150, 4),
}


def names_of_arms(settings: Settings) -> Iterator[tuple[str, str, str, int]]:
    """Yield name, kind, model and size of all arms of the chosen groups."""
    for group in settings.groups:
        for kind in (name for name in KINDS if name.startswith(f"{group}/")):
            models: tuple[str, ...] | list[str] = {"precision": PRECISION}.get(group, RANKED)
            if settings.models or group == "speed":
                models = image_models(settings)
            if kind in ("nccl/exchanges", "share/compare", "share/ray", "ranks/resume"):
                models = models[:1]
            for size in settings.sizes if group == "speed" else settings.sizes[:1]:
                for model in models:
                    yield f"{kind}/{model}/{size}", kind, model, size


def reason_to_skip(kind: str, device: torch.device, gpus: int) -> str:
    """Return why an arm cannot be measured on this machine; "" if it can."""
    needed = KINDS[kind].gpus
    if device.type == "cuda" and gpus < needed:
        return f"{needed} GPUs are needed, and this machine has {gpus}"
    if kind == "share/ray" and find_spec("ray") is None:
        return "Ray is not installed: pip install 'equipoise[ray]'"
    return ""


def run_in_process(name: str, kind: str, words: list[str], seconds: float) -> dict[str, object]:
    """Run an arm in a process of its own, and end that and its children after the time limit; return its line."""
    limit = KINDS[kind].limit + KINDS[kind].parts * seconds
    command = [sys.executable, __file__, *words, "--arm", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    begin = time.monotonic()
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        took = round(time.monotonic() - begin, 1)
        return {"arm": name, "status": "timeout", "reason": f"{limit:g} s are over", **last_line(output), "took": took}
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what the arm has left
    result = last_line(output)
    return result or {"arm": name, "status": "failed", "reason": f"exit code {process.returncode}"}


def last_line(output: str) -> dict[str, object]:
    """Return the last JSON object of an output; {} if there is none."""
    for line in reversed(output.splitlines()):
        with contextlib.suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict):
                return values
    return {}


def parse_arguments(words: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="auto", help="default: the GPU if there is one")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measured part; 2 for a rehearsal")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[64], help="pixels a side of the group speed; the first of the others"
    )
    parser.add_argument("--models", help="only these, separated by commas; default: all")
    parser.add_argument("--groups", default=",".join(GROUPS), help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no further arm starts")
    parser.add_argument("--out", type=Path, help="file that the lines are appended to")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings; raises SystemExit for a group that does not exist."""
    groups = tuple(group for group in args.groups.split(",") if group)
    if unknown := set(groups) - set(GROUPS):
        raise SystemExit(f"there is no group {', '.join(sorted(unknown))}; choose some of {', '.join(GROUPS)}")
    models, folder = tuple(args.models.split(",")) if args.models else (), Path(tempfile.gettempdir())
    return Settings(args.device, args.seconds, 0.0, tuple(args.sizes), models, groups, args.limit, folder)


def main(words: list[str]) -> None:
    """Run all arms, or the one that is named."""
    args = parse_arguments(words)
    settings = settings_of(args)
    if args.arm:
        _, kind, model, size = next(arm for arm in names_of_arms(settings) if arm[0] == args.arm)
        device = select_device(settings.device)
        print(json.dumps(run_arm(Arm(args.arm, UNLIMITED, lambda: KINDS[kind].measure(settings, model, size)), device)))
        return
    begin, device, gpus = time.monotonic(), select_device(settings.device), torch.cuda.device_count()
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
    report({**describe_machine(settings), "gpus": gpus, "cores": os.cpu_count()}, args.out)
    passed = words if args.out is None else without(words, "--out")
    for name, kind, _, _ in names_of_arms(settings):
        if reason := reason_to_skip(kind, device, gpus):
            report({"arm": name, "status": "skipped", "reason": reason}, args.out)
        elif time.monotonic() - begin > settings.limit:
            report({"arm": name, "status": "not started"}, args.out)
        else:
            report(run_in_process(name, kind, passed, settings.seconds), args.out)


def without(words: list[str], flag: str) -> list[str]:
    """Return words without a flag and its value."""
    place = next(index for index, word in enumerate(words) if word.partition("=")[0] == flag)
    return words[:place] + words[place + (1 if "=" in words[place] else 2) :]


if __name__ == "__main__":
    main(sys.argv[1:])
