"""Hostile settings, and what becomes of them: nothing done, started again from sound weights, or repaired.

    python benchmarks/rescue.py             about 75 minutes of 2 quiet cores; a restart goes on
    python benchmarks/rescue.py --table     rewrite rescue.md from results/rescue.jsonl

How. `rescue.toml` holds the settings, each a spoilt form of one healthy task, frozen before any remedy was tuned. Arms:

  nothing   watched only (`--no-repair`)
  restart   rolled back to the last sound weights at the same findings, and nothing changed
  ours      what `equipoise train` does

Every arm has the same number of steps; steps lost by rolling back are not given back. Remedies were tuned on seeds from
100 on; the table is of seeds 0 and 1 (healthy tasks: 0 to 4; 0 to 5, "nothing" and "ours", for false alarms). The
other arms are of use for runs that failed with nothing done; `--only` picks their settings.
What the watching sees (thumbnails of samples) is not what is reported: no metric is measured while training, and the
distance is computed here, unseen by the run, after every fifth of it, on 1,000 samples of the averaged generator:

  digits, textbook, critic   kd_digits: features of the shipped classifier, against the 1,000 held-out digits
  bursts                     kernel distance on samples of 16 x 16 pixels to 218 bursts of another seed
  ring                       modes (of 8) and the share of samples within three deviations of one

Success: a distance of at most max(1.5 × median, median + 2 standard deviations) of the five healthy seeds; for `ring`
at least 0.9 of the healthy medians of both numbers. A run that diverged has failed. The denominator is the runs that
fail with nothing done.
"""

import importlib.util
import json
import math
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _results import HERE, ROOT, Item, Result, Results, in_child, parser
from torch import Tensor
from torch.nn import functional as F

from equipoise.core import catalog
from equipoise.core.events import Finished, Remedied, Sensed, Stepped
from equipoise.core.metric import ReferenceSet
from equipoise.core.observations import SERIOUS
from equipoise.diagnosis.remedies import Care
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, complete, data_of, from_values
from equipoise.losses.adversarial import LOSSES
from equipoise.metrics._digits_classifier import digit_features
from equipoise.metrics._kernel import kernel_distance
from equipoise.training import probe
from equipoise.training.loop import Training, train

PLAN = tomllib.loads((HERE / "rescue.toml").read_text())
TASKS: Mapping[str, dict[str, Any]] = PLAN["tasks"]
SETTINGS: Mapping[str, dict[str, Any]] = PLAN["settings"]
ABOUT = ("origin", "healthy", "plant", "mendable")
ARMS = ("nothing", "restart", "ours")
SEEDS, HEALTHY_SEEDS, WATCHED_SEEDS = (0, 1), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5)
LOOKS = 5
SAMPLES = 1000
UNSEEN = 1
"""The seed of the bursts that samples are compared with."""


def measure(item: Item) -> Result:
    """One run, and what became of it."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        return followed(item, Path(home))


def followed(item: Item, home: Path) -> Result:
    experiment = experiment_of(item, home)
    training = launch.assemble(experiment, home / "checkpoints")
    launch.set_out(training, experiment)
    if item["arm"] == "restart":
        training.pilot.care = Care(change=False)
    if item["what"] in SETTINGS:
        plant(training, SETTINGS[item["what"]].get("plant"))
    judge = judge_of(task_of(item), experiment)
    steps = training.plan.steps
    looks, remedied, serious, finished = [], [], {}, None
    for event in train(training):
        match event:
            case Stepped() if event.step % max(1, steps // LOOKS) == 0:
                looks.append(judge(samples_of(training)))
            case Remedied():
                remedied.append(told(event))
            case Sensed():
                for finding in event.health.findings:
                    if finding.severity >= SERIOUS:
                        serious.setdefault(finding.symptom, event.step)
            case Finished():
                finished = event
    assert finished is not None
    return {
        "looks": looks,
        "last": judge(samples_of(training)),
        "reason": finished.reason,
        "verdict": finished.verdict,
        "seconds": finished.seconds,
        "steps": steps,
        "serious": serious,
        "remedied": remedied,
    }


def told(event: Remedied) -> dict[str, Any]:
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


def experiment_of(item: Item, home: Path) -> Experiment:
    """The task, overlaid by what spoils it."""
    spoilt = {key: value for key, value in SETTINGS.get(item["what"], {}).items() if key not in ABOUT}
    values = {**TASKS[task_of(item)], **spoilt}
    if values["data"] == "bursts":
        bursts().write(home / "bursts", {"type_3": 218})
        values["data"] = {"name": "csv_windows", "folder": str(home / "bursts"), "cache": str(home / "cache")}
    values |= {"metric": "none", "threads": 1, "seed": item["seed"], "repair": item["arm"] != "nothing"}
    values["save_every"] = max(1, values["steps"] // 20)
    return replace(complete(from_values(values, "rescue.toml")), sample_every=None)


@cache
def bursts() -> Any:
    """The script that draws the synthetic bursts."""
    spec = importlib.util.spec_from_file_location("make_bursts", ROOT / "scripts" / "make_bursts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plant(training: Training, what: str | None) -> None:
    """Spoil a run from within: once at 40 % (nan) or half-way (reset), or all the time (flip)."""
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


def once(at: int, spoil: Callable[[Any], Any], before: Callable[[], Any]) -> Callable[[Any], Any]:
    """A loss that is spoilt in one step of the run, and never again, not even if the run is rolled back."""
    done = []

    def hook(loss: Any) -> Any:
        def spoilt(networks: Any, batch: Any, moment: Any) -> Any:
            if moment.step < at or done:
                return loss(networks, batch, moment)
            done.append(moment.step)
            before()
            return spoil(loss(networks, batch, moment))

        return spoilt

    return hook


def flip(training: Training) -> None:
    """Every fifth real is called fake and every fifth fake real: the loss of the game's own process is changed."""
    name = "non_saturating"
    right = LOSSES[name].discriminator

    def wrong(real: Tensor, fake: Tensor, real_label: Tensor, fake_label: Tensor) -> Tensor:
        flipped = torch.arange(len(real), device=real.device) % 5 == 0
        return right(torch.where(flipped, fake, real), torch.where(flipped, real, fake), real_label, fake_label)

    method: Any = training.state.model.phases[0].loss
    game = method.__self__
    object.__setattr__(game, "loss", replace(LOSSES[name], discriminator=wrong))


def samples_of(training: Training) -> Tensor:
    """Samples of the averaged generator as it is now, the same latents each time."""
    model = training.state.model
    source = torch.Generator().manual_seed(7)
    labels = torch.arange(SAMPLES) % model.num_classes if model.num_classes else None
    return probe.samples(training.state, model.latent(SAMPLES, source, None), labels)


def judge_of(task: str, experiment: Experiment) -> Callable[[Tensor], dict[str, float]]:
    """What says how good samples are: numbers by name, `distance` (lower is better) or `modes` and `high_quality`."""
    data = data_of(experiment)
    if task == "ring":
        real = data.stream("held_out", SAMPLES, 0).batch(0)
        metrics = {name: catalog.build("metrics", name) for name in ("modes", "high_quality")}
        known = {name: metric.statistics(ReferenceSet(real.real, real.condition)) for name, metric in metrics.items()}
        return lambda made: {name: float(metric.value(known[name], made)) for name, metric in metrics.items()}
    if task == "bursts":
        seen = thumbnails(unseen(experiment))
        return lambda made: {"distance": finite_distance(seen, thumbnails, made)}
    held_out = digit_features(data.stream("held_out", 1000, 0).batch(0).real)
    return lambda made: {"distance": finite_distance(held_out, digit_features, made)}


def finite_distance(real: Tensor, features: Callable[[Tensor], Tensor], made: Tensor) -> float:
    return kernel_distance(real, features(made)) if made.isfinite().all() else math.inf


def thumbnails(windows: Tensor) -> Tensor:
    """(N, 256) float64: 16 x 16 pixels of samples in [-1, 1]."""
    return F.adaptive_avg_pool2d(windows, 16).flatten(1).double()


def unseen(experiment: Experiment) -> Tensor:
    """218 bursts of another seed, as the run sees its own: (218, 1, S, S)."""
    with tempfile.TemporaryDirectory() as home:
        bursts().write(Path(home), {"type_3": 218}, seed=UNSEEN)
        mine = data_of(experiment)
        other = replace(mine, folder=home, digest=None, held_out=0.0, cache=f"{home}/cache").resolve()
        return other.stream("train", 218, 0).batch(0).real


def items_of() -> list[Item]:
    """Healthy tasks first: they are what the others are measured by."""
    return [
        *healthy_items(),
        *({"what": name, "arm": arm, "seed": seed} for name in SETTINGS for seed in SEEDS for arm in ARMS),
    ]


def healthy_items() -> Iterator[Item]:
    for name in TASKS:
        for seed in WATCHED_SEEDS:
            for arm in ("nothing", "ours"):
                yield {"what": name, "arm": arm, "seed": seed}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", metavar="NAME", help="of these tasks and settings alone")
    made.add_argument("--arms", nargs="+", default=ARMS, metavar="ARM")
    made.add_argument("--tuning", action="store_true", help="seed 100, results in results/rescue_tuning.jsonl")
    asked = made.parse_args()
    if asked.item:
        print(json.dumps(measure(asked.item)))
        return
    items = items_of()
    if asked.tuning:
        items = [{**item, "seed": item["seed"] + 100} for item in items if item["seed"] == 0]
    wanted = [item for item in items if (not asked.only or item["what"] in asked.only) and item["arm"] in asked.arms]
    results = Results(asked.out / "results" / ("rescue_tuning.jsonl" if asked.tuning else "rescue.jsonl"))
    if not asked.table:
        results.measure(wanted, lambda item: in_child(__file__, item, threads=1), at_once=2)
    if not asked.tuning:
        from _rescue_table import write_table

        write_table(results, items, asked)


if __name__ == "__main__":
    main()
