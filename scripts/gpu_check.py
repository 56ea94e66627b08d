"""Check an accelerator: precision, speed, memory, compilation, exact resume, and a race of models.

    python scripts/gpu_check.py --out scripts/results/gpu.jsonl      all groups of arms: 30 to 40 minutes
    python scripts/gpu_check.py --groups precision,resume,race       some of them, in this order
    python scripts/gpu_check.py --device cpu --seconds 2 --models dcgan,projected --sizes 16     a rehearsal on one core

One process, no downloads; the data are the emoji of the package. Each arm has a time limit of its own and prints one
line of JSON as soon as it ends, so that nothing is lost if the machine is taken away. An arm never stops the others: a
model that does not exist is "missing", one that cannot make this size "refused", others are "out of memory", "timeout"
or "failed" with the reason. `--limit` starts no further arm after this time.

Groups, in the order in which they run:
  resume     two runs of 12 steps, one of them killed after step 6 and resumed from that of step 4: same bytes?
  precision  the same steps in fp32 and in bf16: mean losses of the second half, and whether all are finite
  speed      images per second, and peak memory, of every preset at each size, in the precision that `auto` selects
  compile    images per second with and without torch.compile, and seconds of the first step
  race       the time `--race-seconds` of training per model, then distances on held-out emoji; the runs, with their
             sheets of samples, are written next to the results
All but speed use images of the first size, by default 64 pixels.
"""

import argparse
import contextlib
import gc
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: deterministic matrix products

import torch

from equipoise.core import catalog
from equipoise.core.data import Stream
from equipoise.core.events import Stepped
from equipoise.core.model import StepRecord
from equipoise.errors import EquipoiseError, SettingError, UnknownNameError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.experiment import launch
from equipoise.experiment.assembly import assemble, select_device
from equipoise.experiment.completion import complete
from equipoise.experiment.estimates import peak_memory
from equipoise.experiment.memory_errors import memory_errors
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.training import checkpoint
from equipoise.training.compilation import compilation_errors, compile_generators
from equipoise.training.load_ahead import load_ahead
from equipoise.training.loop import Training
from equipoise.training.step import run_step

GROUPS = ("resume", "precision", "speed", "compile", "race")
RACERS = ("dcgan", "r3gan", "stylegan2", "fastgan", "projected")
PRECISION = (*RACERS, "sngan", "biggan", "stylegan3")
EMOJI = Path(__file__).with_name("_large_emoji.py")
BATCHES = {64: 32, 256: 16}
"""Batch size per image size; 8 for others."""
WARM_UP = 3
"""Steps that are not timed."""
PERIOD = 16
"""Steps between two looks at the clock; lazy penalties are due once in a period."""
COMPILING = 180.0
"""Seconds that compilation may take in addition."""
DISTANCES = ("kd_efficientnet_lite0", "kd_mobilenet_v2", "precision:mobilenet_v2", "recall:mobilenet_v2", "fd_pixels")
Values = Mapping[str, object]


class ArmTimeoutError(BaseException):
    """The time of an arm is over. No subclass of Exception, so that no arm takes it for an error of its own."""


@dataclass(frozen=True)
class Settings:
    """Settings of a check. `seconds`: per measured part. `limit`: seconds after which no further arm starts."""

    device: str
    seconds: float
    race_seconds: float
    sizes: tuple[int, ...]
    models: tuple[str, ...]
    groups: tuple[str, ...]
    limit: float
    folder: Path


@dataclass(frozen=True)
class Arm:
    """One measurement. `name`: group, model and size. `limit`: in seconds."""

    name: str
    limit: float
    measure: Callable[[], Values]


def emoji(size: int) -> PlugSpec:
    """Return the data: the emoji of the package, enlarged if they are to be larger than they are."""
    return PlugSpec("openmoji", {"image_size": size}) if size <= 64 else PlugSpec(str(EMOJI), {"image_size": size})


def experiment_of(settings: Settings, model: str, size: int, **options: object) -> Experiment:
    """Return a completed experiment on emoji of this size, without anything that is not measured."""
    data = emoji(size)
    values = {"steps": 10_000, "batch_size": BATCHES.get(size, 8), "metric": "none"} | options
    return complete(
        Experiment(data=data, model=PlugSpec(model), controller=PlugSpec("fixed"), device=settings.device, **values)  # type: ignore[arg-type]
    )


def check_resume(settings: Settings, model: str) -> Values:
    """Return whether a killed and resumed run has the bytes of an uninterrupted one, and the largest difference."""
    experiment = experiment_of(
        settings, model, settings.sizes[0], steps=12, save_every=4, sample_every=100, evaluate_every=100, seed=1
    )
    with tempfile.TemporaryDirectory() as name, deterministic():
        whole, killed = Path(name) / "whole", Path(name) / "killed"
        for _ in launch.start_settled(experiment, whole):
            pass
        events = launch.start_settled(experiment, killed)
        next(event for event in events if isinstance(event, Stepped) and event.step == 6)
        events.close()  # type: ignore[attr-defined]
        for _ in launch.resume(killed):
            pass
        first, second = (checkpoint.read(checkpoint.find(run / "checkpoints")[-1]).tensors for run in (whole, killed))
    different = [key for key in first if not torch.equal(first[key], second[key])]
    largest = max((float((first[key].double() - second[key].double()).abs().max()) for key in different), default=0.0)
    return {"equal": not different, "different_tensors": len(different), "largest_difference": largest}


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Use deterministic kernels in the context; those that have none are used with a warning."""
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = benchmark


def compare_precision(settings: Settings, model: str) -> Values:
    """Return the mean loss of each phase in fp32 and bf16, of the second half of the same steps from one seed."""
    means: dict[str, dict[str, float]] = {}
    steps, finite = 0, True
    for precision in ("fp32", "bf16"):
        training = assemble(experiment_of(settings, model, settings.sizes[0], precision=precision), None)
        totals: dict[str, list[torch.Tensor]] = {}
        begin, count = time.monotonic(), 0
        while (count < steps) if steps else (time.monotonic() - begin < settings.seconds and count < 100) or count < 2:
            for name, record in take_step(training).phases.items():
                totals.setdefault(name, []).append(record.total if record.total is not None else torch.zeros(()))
            count += 1
        steps = count
        halves = {name: torch.stack(values[len(values) // 2 :]).float() for name, values in totals.items()}
        finite = finite and all(bool(values.isfinite().all()) for values in halves.values())
        means[precision] = {name: round(float(values.mean()), 5) for name, values in halves.items()}
    return {"steps": steps, "finite": finite, **means}


def take_step(training: Training, stream: Stream | None = None) -> StepRecord:
    """Take one step as the loop does at the end of a run, when networks that grow have their full size.

    `stream`: of batches; None for the training data.
    """
    source = training.streams.train if stream is None else stream
    return run_step(training.state, source, training.pilot.knobs, 1.0)


def measure_speed(settings: Settings, model: str, size: int, *, compiles: bool = False) -> Values:
    """Return images per second, and the peak memory in GiB."""
    experiment = experiment_of(settings, model, size)
    with memory_errors(experiment), compilation_errors(is_compiled=compiles):
        training = assemble(experiment, None)
        if compiles:
            compile_generators(training.state)
        with load_ahead(training.streams.train, training.state.device) as stream:
            begin = time.monotonic()
            take_step(training, stream)
            wait(training)
            first = time.monotonic() - begin
            is_slow = first > settings.seconds  # such as a large preset on a CPU
            for _ in range(0 if is_slow else WARM_UP):
                take_step(training, stream)
            wait(training)
            begin, count = time.monotonic(), 0
            while count == 0 or time.monotonic() - begin < settings.seconds:
                for _ in islice(range(PERIOD), 1 if is_slow else PERIOD):
                    take_step(training, stream)
                    count += 1
                wait(training)
            elapsed = time.monotonic() - begin
    parameters = {name: sum(w.numel() for w in net.parameters()) for name, net in training.state.model.networks.items()}
    return {
        "images_per_second": round(count * training.plan.step_images / elapsed, 1),
        "batch_size": training.plan.step_images,
        "steps": count,
        "first_step_seconds": round(first, 2),
        "precision": training.state.precision,
        "peak_gib": round(used_memory(training.state.device) / 2**30, 2),
        "parameters": parameters,
    }


def wait(training: Training) -> None:
    """Wait for the kernels of the device."""
    if training.state.device.type == "cuda":
        torch.cuda.synchronize(training.state.device)


def used_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of the arm on CUDA, of the process so far on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()


def compare_compilation(settings: Settings, model: str, size: int) -> Values:
    """Return the speed with and without compilation."""
    plain, compiled = (measure_speed(settings, model, size, compiles=compiles) for compiles in (False, True))
    return {
        "images_per_second": plain["images_per_second"],
        "compiled": compiled["images_per_second"],
        "first_step_seconds": plain["first_step_seconds"],
        "compiled_first_step_seconds": compiled["first_step_seconds"],
    }


def run_race(settings: Settings, model: str) -> Values:
    """Train a model for its time, and return distances of its samples; writes a sheet of samples."""
    run = settings.folder / f"race-{model.replace(':', '-')}-{os.getpid()}"
    experiment = Experiment(
        data=emoji(settings.sizes[0]),
        model=PlugSpec(model),
        device=settings.device,
        seconds=settings.race_seconds,
        metric="none",  # type: ignore[arg-type]
    )
    *_, finished = launch.start(experiment, run)
    count = 1000 if settings.race_seconds >= 30 else 64
    values = measure_distances(run, count)
    return {
        "steps": finished.step,
        "images": finished.images,
        "seconds": round(getattr(finished, "seconds", 0.0), 1),
        "verdict": getattr(finished, "verdict", None),
        **values,
        "samples": max((str(path) for path in (run / "samples").glob("*.png")), default=None),
    }


def measure_distances(run: Path, count: int) -> dict[str, float | None]:
    """Return all distances that this run may be judged by: not those on features that it was trained with."""
    names = tuple(name for name in DISTANCES if is_available(name))
    while names:
        try:
            rows = evaluate(EvaluationRequest(samples=run, metrics=names, count=count)).rows
        except SettingError as error:
            refused = next((name for name in names if str(error).startswith(f"{name} cannot be reported")), None)
            if refused is None:
                raise
            names = tuple(name for name in names if name != refused)
            continue
        return {row.metric: None if row.value is None else round(row.value, 4) for row in rows}
    return {}


def is_available(metric: str) -> bool:
    """Return whether the packages of a metric are installed."""
    try:
        catalog.build("metrics", metric)
    except EquipoiseError:
        return False
    return True


def image_models(settings: Settings) -> list[str]:
    """Return all models with their presets, or the requested ones."""
    if settings.models:
        return list(settings.models)
    names = catalog.names("models")
    return [
        word for name in names for word in (name, *(f"{name}:{preset}" for preset in catalog.presets("models", name)))
    ]


def arms_of(settings: Settings) -> Iterator[Arm]:
    """Yield the arms of all groups that were chosen."""
    short, slack = settings.seconds, 60.0 if settings.device != "cpu" else 30.0
    chosen = settings.models

    def among(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name in chosen) if chosen else names

    def arms(group: str) -> Iterator[Arm]:
        match group:
            case "resume":
                for model in among(("dcgan", "stylegan2")):
                    yield Arm(f"resume/{model}", slack * 3, lambda model=model: check_resume(settings, model))  # type: ignore[misc]
            case "precision":
                for model in among(PRECISION):
                    limit = 2 * short + slack
                    yield Arm(f"precision/{model}", limit, lambda model=model: compare_precision(settings, model))  # type: ignore[misc]
            case "speed":
                for size in settings.sizes:
                    for model in image_models(settings):
                        yield Arm(
                            f"speed/{model}/{size}",
                            3 * short + slack,
                            lambda model=model, size=size: measure_speed(settings, model, size),  # type: ignore[misc]
                        )
            case "compile":
                for model in among(("dcgan", "fastgan", "biggan")):
                    yield Arm(
                        f"compile/{model}/{settings.sizes[0]}",
                        6 * short + slack + COMPILING,
                        lambda model=model: compare_compilation(settings, model, settings.sizes[0]),  # type: ignore[misc]
                    )
            case "race":
                for model in among(RACERS):
                    limit = 2 * settings.race_seconds + 2 * slack
                    yield Arm(f"race/{model}", limit, lambda model=model: run_race(settings, model))  # type: ignore[misc]

    for group in settings.groups:
        yield from arms(group)


def run_arm(arm: Arm, device: torch.device) -> dict[str, object]:
    """Run an arm within its time limit, and return its result: status, values or reason, and seconds."""
    begin = time.monotonic()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    # On a CPU that others use too, the time of this process counts.
    timer = signal.ITIMER_PROF if device.type == "cpu" else signal.ITIMER_REAL
    signal.setitimer(timer, arm.limit)
    try:
        values, status = dict(arm.measure()), "ok"
    except ArmTimeoutError:
        values, status = {"reason": f"{arm.limit:g} s are over"}, "timeout"
    except UnknownNameError as error:
        values, status = {"reason": str(error)}, "missing"
    except SettingError as error:
        status = "out of memory" if "does not fit into the memory" in str(error) else "refused"
        values = {"reason": str(error)}
    except Exception as error:
        values, status = {"reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}, "failed"
    finally:
        signal.setitimer(timer, 0)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {"arm": arm.name, "status": status, **values, "took": round(time.monotonic() - begin, 1)}


def describe_machine(settings: Settings) -> dict[str, object]:
    """Return what the results depend on."""
    device = select_device(settings.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    values: dict[str, object] = {"arm": "machine", "device": str(device), "name": name, "torch": torch.__version__}
    if device.type == "cuda":
        values |= {"gib": round(torch.cuda.mem_get_info(device)[1] / 2**30, 1), "cuda": torch.version.cuda}
        values["bf16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    return {**values, "threads": torch.get_num_threads(), "seconds": settings.seconds, "groups": settings.groups}


def parse_arguments(words: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="auto", help="default: the GPU if there is one")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measured part; 2 for a rehearsal")
    parser.add_argument(
        "--race-seconds", type=float, help="of training in the race; default: 120, or --seconds if below 5"
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[64, 256],
        help="pixels a side of the group speed; the first one of the other groups",
    )
    parser.add_argument("--models", help="only these, separated by commas; default: all")
    parser.add_argument("--groups", default=",".join(GROUPS), help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no further arm starts")
    parser.add_argument("--out", type=Path, help="file that the lines are appended to, next to which runs are written")
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    """Run all arms."""
    args = parse_arguments(words)
    groups = tuple(group for group in args.groups.split(",") if group)
    if unknown := set(groups) - set(GROUPS):
        raise SystemExit(f"there is no group {', '.join(sorted(unknown))}; choose some of {', '.join(GROUPS)}")
    with contextlib.ExitStack() as stack:
        folder = args.out.parent if args.out else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        race = args.race_seconds or (args.seconds if args.seconds < 5 else 120.0)
        models = tuple((args.models or "").split(",")) if args.models else ()
        settings = Settings(args.device, args.seconds, race, tuple(args.sizes), models, groups, args.limit, folder)
        begin = time.monotonic()
        device = select_device(args.device)
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, end_arm)
        report(describe_machine(settings), args.out)
        for arm in arms_of(settings):
            is_late = time.monotonic() - begin > settings.limit
            report({"arm": arm.name, "status": "not started"} if is_late else run_arm(arm, device), args.out)


def end_arm(number: int, frame: FrameType | None) -> None:
    """End the arm that runs; called by the timer."""
    raise ArmTimeoutError


def report(line: Mapping[str, object], out: Path | None) -> None:
    """Print a line of JSON, and append it to the file."""
    text = json.dumps(line)
    print(text, flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
