"""A log replays every decision of every controller, bit by bit, across a repair that went back to older weights."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from equipoise.core import catalog
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.pilot.replay import observations, overrides, replay
from equipoise.policy.files import encoded, read
from equipoise.runs import run_folder as runs
from equipoise.training.loop import Training, train

LIKE_OTHERS = ("annealed:linear", "annealed:exponential", "annealed:cosine", "annealed:cyclegan", "learnable:residual")
"""Presets that are another by other numbers, or the default by its name."""
TYPED = [
    *(PlugSpec(name) for name in catalog.names("controllers")),
    *(
        PlugSpec(f"{name}:{preset}")
        for name in catalog.names("controllers")
        for preset in catalog.presets("controllers", name)
        if f"{name}:{preset}" not in LIKE_OTHERS
    ),
    PlugSpec("ppo", {"learn": True, "rollout": 2}),
    PlugSpec("learnable", {"adapt": True, "seed": 3}),
    PlugSpec("chain", {"of": ("annealed", "learnable"), "settings": {"learnable": {"adapt": True}}}),
]
STEPS = 40


def often(choice: PlugSpec, folder: Path) -> PlugSpec:
    """The same controller; a policy that decides every 50 steps does so every 5, or it would never decide."""
    if choice.name.partition(":")[0] != "ppo":
        return choice
    folder.mkdir()
    (folder / "p.safetensors").write_bytes(encoded(dataclasses.replace(read("ppo").policy, every=5.0)))
    return choice.with_options(policy=str(folder / "p.safetensors"))


def started(choice: PlugSpec, folder: Path) -> tuple[Training, runs.Run]:
    """A run whose weights are spoilt in step 25, five steps after a checkpoint; it is read every 10 steps in full."""
    model = PlugSpec("dcgan", {"width": 4, "latent_dim": 6, "loss": "non_saturating"})
    experiment = complete(
        Experiment(
            data=PlugSpec("digits"),
            model=model,
            image_size=16,
            metric=PlugSpec("fd_pixels"),
            evaluate_every=5,
            controller=choice,
            steps=STEPS,
            batch_size=16,
            save_every=10,
            threads=1,
            precision="fp32",
            knobs={"lr_d": 1e-2},
        )
    )
    runs.create(folder, experiment.to_json())
    training = launch.assemble(dataclasses.replace(experiment, sample_every=None), folder / runs.CHECKPOINTS)
    launch.set_out(training, experiment)
    training.pilot.sense_every = 10
    return training, runs.Run(folder)


def spoil(training: Training) -> None:
    first, *others = training.state.model.phases

    def loss(networks, batch, moment):
        if moment.step == 24:
            with torch.no_grad():
                next(networks["generator"].parameters()).fill_(math.nan)
        return first.loss(networks, batch, moment)

    phases = (dataclasses.replace(first, loss=loss), *others)
    training.state.model = dataclasses.replace(training.state.model, phases=phases)


@pytest.mark.parametrize("typed", TYPED, ids=lambda one: "-".join((one.name, *map(str, one.options))))
def test_a_log_replays_every_knob_across_a_repair(typed: PlugSpec, tmp_path: Path) -> None:
    training, run = started(often(typed, tmp_path / "policy"), tmp_path / "run")
    spoil(training)
    with runs.Log(run.folder) as log:
        for event in train(training):
            log.record(event)
    (remedied,) = run.named("remedied")
    assert (remedied["restored"], remedied["finding"]["symptom"]) == (20, "divergence")
    seen = list(observations(run, training.pilot.base))
    assert seen[0].turnable == training.state.model.turnable
    assert any(observation.signals.rank_train_held_out is not None for observation in seen)
    assert seen[0].signals.ideal_d == pytest.approx(math.log(4))
    chosen = run.experiment()["controller"]
    controller = catalog.build("controllers", chosen["name"], chosen["options"])
    again = replay(controller, seen, training.pilot.base, overrides(run))
    assert again[:-1] == [observation.knobs for observation in seen[1:]]
    assert again[-1] == training.pilot.knobs
    healed = {observation.knobs.lr_d for observation in seen if 25 <= observation.step < 35}
    assert healed != {training.pilot.base.lr_d}, "the override of the repair is in it"
