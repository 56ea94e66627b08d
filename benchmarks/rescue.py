"""Runs that are set up to fail: without intervention, restarted from healthy weights, or repaired.

    python benchmarks/rescue.py             about 100 minutes of 2 quiet cores; a restart continues
    python benchmarks/rescue.py --table     rewrite rescue.md from results/rescue.jsonl
    python benchmarks/rescue.py --runs FOLDER [--replay]  keep the readings of runs; diagnose them without training

Method. `rescue.toml` contains the settings, each a mis-set form of a healthy task, fixed before any remedy was tuned.
Arms:

  nothing   monitored only (`--no-repair`)
  restart   rolled back to the last healthy weights at the same findings, without changing knobs
  ours      what `equipoise train` does

Every arm has the same number of steps; steps lost by rollbacks are not given back. Remedies were tuned on seeds from
100 on; the table is of seeds 0 and 1 (healthy tasks: 0 to 4; for false alarms 0 to 5, "nothing" and "ours"). The other
arms matter for runs that failed without intervention; `--only` selects their settings.
Monitoring (thumbnails of samples) differs from what is reported: no metric is measured during training. The distance
is computed here, unknown to the run, after every fifth of it, on 1,000 samples of the averaged generator:

  digits, textbook, critic, distillation
                             kd_digits: features of the classifier in the package, against the 1,000 held-out digits
  bursts                     kernel distance on samples of 16 x 16 pixels to 218 bursts of another seed
  ring                       modes (of 8) and the share of samples within three standard deviations of one

Success: a distance of at most max(1.5 × median, median + 2 standard deviations) of the five healthy seeds; for `ring`
at least 0.9 of the healthy medians of both values. A run that diverged has failed. The denominator is the runs that
fail without intervention.
"""

import importlib.util
import json
import math
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _replay import Replay, print_replays, replay
from _rescue_teacher import trained_teacher
from _results import HERE, ROOT, Item, Result, Results, create_parser, run_in_subprocess
from torch import Tensor
from torch.nn import functional as F

from equipoise.core import catalog
from equipoise.core.events import Event, Finished, Remedied, Sensed, Stepped
from equipoise.core.metric import ReferenceSet
from equipoise.core.observations import SERIOUS
from equipoise.diagnosis.remedies import RepairSettings
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.launch import load_initial_weights
from equipoise.experiment.settings import Experiment, build_data
from equipoise.losses.adversarial import LOSSES
from equipoise.metrics._digits_classifier import digit_features
from equipoise.metrics._kernel import kernel_distance
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.run import Run
from equipoise.training import probe
from equipoise.training.loop import Training, train

PLAN = tomllib.loads((HERE / "rescue.toml").read_text())
TASKS: Mapping[str, dict[str, Any]] = PLAN["tasks"]
SETTINGS: Mapping[str, dict[str, Any]] = PLAN["settings"]
DESCRIPTIONS = ("origin", "healthy", "plant", "repairable")
ARMS = ("nothing", "restart", "ours")
SEEDS, HEALTHY_SEEDS, MONITORED_SEEDS = (0, 1), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5)
EVALUATIONS = 5
SAMPLES = 1000
UNSEEN = 1
"""Seed of the bursts that samples are compared with."""


def measure(item: Item, runs: Path | None = None) -> Result:
    """Train one run and return its results. `runs`: folder in which its events are kept."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        return train_and_evaluate(item, Path(root), runs)


def train_and_evaluate(item: Item, root: Path, runs: Path | None = None) -> Result:
    experiment = experiment_of(item, root)
    training = assemble(experiment, root / "checkpoints")
    load_initial_weights(training, experiment)
    if item["arm"] == "restart":
        pilot = training.pilot
        pilot.settings = replace(pilot.settings, repair=RepairSettings(changes_knobs=False))
    if item["what"] in SETTINGS:
        plant(training, SETTINGS[item["what"]].get("plant"))
    evaluate = evaluation_of(task_of(item), experiment)
    steps = training.plan.steps
    evaluations, remedied, serious, finished = [], [], {}, None
    folder = (runs or root) / "{what}-{arm}-{seed}".format(**item)
    shutil.rmtree(folder, ignore_errors=True)
    create_run(folder, experiment.to_json())
    for event in train(training):
        record(folder, event)
        match event:
            case Stepped() if event.step % max(1, steps // EVALUATIONS) == 0:
                evaluations.append(evaluate(samples_of(training)))
            case Remedied():
                remedied.append(remedy_record(event))
            case Sensed():
                for finding in event.health.findings:
                    if finding.severity >= SERIOUS:
                        serious.setdefault(finding.symptom, event.step)
            case Finished():
                finished = event
    assert finished is not None
    return {
        "looks": evaluations,
        "last": evaluate(samples_of(training)),
        "reason": finished.reason,
        "verdict": finished.verdict,
        "seconds": finished.seconds,
        "steps": steps,
        "serious": serious,
        "remedied": remedied,
    }


def record(folder: Path, event: Event) -> None:
    """Append an event to the log of a run."""
    if not isinstance(event, Stepped):
        with Log(folder) as log:
            log.record(event)


def remedy_record(event: Remedied) -> dict[str, Any]:
    overrides = {one.knob: one.value for one in event.overrides}
    return {
        "step": event.step,
        "symptom": event.finding.symptom,
        "severity": event.finding.severity,
        "rung": event.rung,
        "restored": event.restored,
        "lost": event.lost,
        "overrides": overrides,
    }


def task_of(item: Item) -> str:
    return item["what"] if item["what"] in TASKS else SETTINGS[item["what"]]["healthy"]


def experiment_of(item: Item, root: Path) -> Experiment:
    """Return the task with the changes of a setting."""
    changes = {key: value for key, value in SETTINGS.get(item["what"], {}).items() if key not in DESCRIPTIONS}
    values = {**TASKS[task_of(item)], **changes}
    if values["data"] == "bursts":
        bursts().write(root / "bursts", {"type_3": 218})
        values["data"] = {"name": "csv_windows", "folder": str(root / "bursts"), "cache": str(root / "cache")}
    if (teacher := values.pop("teacher", None)) is not None:
        values["start_from"] = str(trained_teacher(teacher))
    values |= {"metric": "none", "threads": 1, "seed": item["seed"], "repair": item["arm"] != "nothing"}
    values["save_every"] = max(1, values["steps"] // 20)
    return replace(complete(parse_experiment(values, "rescue.toml")), sample_every=None)


@cache
def bursts() -> Any:
    """Import the script that makes the synthetic bursts."""
    spec = importlib.util.spec_from_file_location("make_bursts", ROOT / "scripts" / "make_bursts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plant(training: Training, what: str | None) -> None:
    """Inject a fault: once at 40 % (nan) or at half of the run (reset), or in every step (flip)."""
    model, steps = training.state.model, training.plan.steps
    first, *others = model.phases
    if what == "nan":
        hook = once(round(0.4 * steps), lambda loss: replace(loss, total=loss.total * math.nan), lambda: None)
    elif what == "reset":
        start = {name: value.clone() for name, value in model.networks["discriminator"].state_dict().items()}
        hook = once(steps // 2, lambda loss: loss, lambda: model.networks["discriminator"].load_state_dict(start))
    elif what == "flip":
        flip(training)
        return
    else:
        return
    phases = (replace(first, loss=hook(first.loss)), *others)
    training.state.model = replace(model, phases=phases)


def once(at: int, fault: Callable[[Any], Any], before: Callable[[], Any]) -> Callable[[Any], Any]:
    """Wrap a loss so that the fault happens in one step of the run, and never again, not even after a rollback."""
    done = []

    def hook(loss: Any) -> Any:
        def changes(networks: Any, batch: Any, moment: Any) -> Any:
            if moment.step < at or done:
                return loss(networks, batch, moment)
            done.append(moment.step)
            before()
            return fault(loss(networks, batch, moment))

        return changes

    return hook


def flip(training: Training) -> None:
    """Swap every fifth real and fake in the discriminator loss of the model."""
    name = "non_saturating"
    original = LOSSES[name].discriminator

    def flipped_loss(real: Tensor, fake: Tensor, real_label: Tensor, fake_label: Tensor) -> Tensor:
        flipped = torch.arange(len(real), device=real.device) % 5 == 0
        return original(torch.where(flipped, fake, real), torch.where(flipped, real, fake), real_label, fake_label)

    method: Any = training.state.model.phases[0].loss
    game = method.__self__
    object.__setattr__(game, "loss", replace(LOSSES[name], discriminator=flipped_loss))


def samples_of(training: Training) -> Tensor:
    """Return samples of the averaged generator in its current state, always from the same latents."""
    model = training.state.model
    source = torch.Generator().manual_seed(7)
    labels = torch.arange(SAMPLES) % model.num_classes if model.num_classes else None
    return probe.generate_samples(training.state, model.latent(SAMPLES, source, None), labels)


def evaluation_of(task: str, experiment: Experiment) -> Callable[[Tensor], dict[str, float]]:
    """Return a function that measures samples: `distance` (lower is better), or `modes` and `high_quality`."""
    data = build_data(experiment)
    if task == "ring":
        real = data.stream("held_out", SAMPLES, 0).batch(0)
        metrics = {name: catalog.build("metrics", name) for name in ("modes", "high_quality")}
        references = {
            name: metric.statistics(ReferenceSet(real.real, real.condition)) for name, metric in metrics.items()
        }
        return lambda fake: {name: float(metric.value(references[name], fake)) for name, metric in metrics.items()}
    if task == "bursts":
        real = thumbnails(unseen(experiment))
        return lambda fake: {"distance": finite_distance(real, thumbnails, fake)}
    held_out = digit_features(data.stream("held_out", 1000, 0).batch(0).real)
    return lambda fake: {"distance": finite_distance(held_out, digit_features, fake)}


def finite_distance(real: Tensor, features: Callable[[Tensor], Tensor], fake: Tensor) -> float:
    return kernel_distance(real, features(fake)) if fake.isfinite().all() else math.inf


def thumbnails(windows: Tensor) -> Tensor:
    """Return 16 x 16 pixels of samples in [-1, 1], (N, 256) float64."""
    return F.adaptive_avg_pool2d(windows, 16).flatten(1).double()


def unseen(experiment: Experiment) -> Tensor:
    """Return 218 bursts of another seed, scaled like the data of the run: (218, 1, S, S)."""
    with tempfile.TemporaryDirectory() as root:
        bursts().write(Path(root), {"type_3": 218}, seed=UNSEEN)
        data = build_data(experiment)
        other = replace(data, folder=root, digest=None, held_out=0.0, cache=f"{root}/cache").resolve()
        return other.stream("train", 218, 0).batch(0).real


def replay_item(item: Item, runs: Path) -> Replay | None:
    """Diagnose a recorded run with the present code; None if it was not recorded."""
    run = Run(runs / "{what}-{arm}-{seed}".format(**item))
    if not run.folder.exists():
        return None
    with tempfile.TemporaryDirectory() as root:
        return replay(assemble(experiment_of(item, Path(root)), None).pilot.settings, run)


def items_of() -> list[Item]:
    """Return all items; healthy tasks come first, because the others are compared with them."""
    return [
        *healthy_items(),
        *({"what": name, "arm": arm, "seed": seed} for name in SETTINGS for seed in SEEDS for arm in ARMS),
    ]


def healthy_items() -> Iterator[Item]:
    for name in TASKS:
        for seed in MONITORED_SEEDS:
            for arm in ("nothing", "ours"):
                yield {"what": name, "arm": arm, "seed": seed}


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these tasks and settings")
    parser.add_argument("--arms", nargs="+", default=ARMS, metavar="ARM")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="number of runs at a time")
    parser.add_argument("--tuning", action="store_true", help="seed 100, results in results/rescue_tuning.jsonl")
    parser.add_argument("--runs", type=Path, help="keep the events of every run in this folder")
    parser.add_argument("--replay", action="store_true", help="diagnose the runs in --runs, without training")
    args = parser.parse_args()
    if args.item:
        print(json.dumps(measure(args.item, args.runs)))
        return
    items = items_of()
    if args.tuning:
        items = [{**item, "seed": item["seed"] + 100} for item in items if item["seed"] == 0]
    selected = [item for item in items if (not args.only or item["what"] in args.only) and item["arm"] in args.arms]
    selected = [item for item in selected if args.seeds is None or item["seed"] in args.seeds]
    results = Results(args.out / "results" / ("rescue_tuning.jsonl" if args.tuning else "rescue.jsonl"))
    if args.replay:
        return print_replays((item["what"], item["seed"], replay_item(item, args.runs)) for item in selected)
    if not args.table:
        options = () if args.runs is None else ("--runs", str(args.runs))
        results.measure(selected, lambda item: run_in_subprocess(__file__, item, 1, *options), args.processes)
    if not args.tuning:
        from _rescue_table import write_table

        write_table(results, items, args)


if __name__ == "__main__":
    main()
