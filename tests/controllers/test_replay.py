"""The log of a run reproduces every decision of every controller, also across a rollback."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from equipoise.core import catalog
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.launch import load_initial_weights
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.replay import replay
from equipoise.policy.files import encode_policy, load_policy
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.observations import read_observations, read_overrides
from equipoise.runs.run import CHECKPOINTS_FOLDER, Run
from equipoise.training.loop import Training, train

DUPLICATES = (
    "annealed:linear",
    "annealed:exponential",
    "annealed:cosine",
    "annealed:cyclegan",
    "learnable:residual",
    "epochs:cosine",
)
"""Presets that differ from others in numbers alone, or equal the default."""
ACTIVE = {
    "constraint": {"target": -0.5, "confidence": 0.0},
    "confident_ada": {"target": -0.5, "few": 0.01, "many": 0.1},
    "epochs": {"first": 0.01, "last": 1.0, "final": 0.1},
    "update_size": {"target_g": 0.05},
    "plateau": {"patience": 0.1, "augment": 0.1, "overfit": -1.0},
    "decline": {"overfit": -1.0, "confidence": 0.0},
}
"""Options with which a controller acts in a run as short as this one."""
CONTROLLERS = [
    *(PlugSpec(name, ACTIVE.get(name, {})) for name in catalog.names("controllers")),
    *(
        PlugSpec(f"{name}:{preset}")
        for name in catalog.names("controllers")
        for preset in catalog.presets("controllers", name)
        if f"{name}:{preset}" not in DUPLICATES
    ),
    PlugSpec("ppo", {"learn": True, "rollout": 2}),
    PlugSpec("learnable", {"adapt": True, "seed": 3}),
    PlugSpec("chain", {"of": ("annealed", "learnable"), "settings": {"learnable": {"adapt": True}}}),
]
STEPS = 40


def with_frequent_decisions(choice: PlugSpec, folder: Path) -> PlugSpec:
    """The same controller; the policy of ppo decides every 5 steps, not 50, since the run is short."""
    if choice.name.partition(":")[0] != "ppo":
        return choice
    folder.mkdir()
    policy = "ppo_suite" if choice.name == "ppo:suite" else "ppo"
    (folder / "p.safetensors").write_bytes(encode_policy(dataclasses.replace(load_policy(policy).policy, every=5.0)))
    return choice.with_options(policy=str(folder / "p.safetensors"))


def prepare(choice: PlugSpec, folder: Path) -> tuple[Training, Run]:
    """Prepare a run with checkpoints every 10 steps and samples at every 10th reading."""
    name = "diffusion_gan" if choice.name == "ada:diffusion" else "dcgan"
    model = PlugSpec(name, {"width": 4, "latent_dim": 6, "loss": "non_saturating"})
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
    create_run(folder, experiment.to_json())
    training = assemble(dataclasses.replace(experiment, sample_every=None), folder / CHECKPOINTS_FOLDER)
    load_initial_weights(training, experiment)
    training.pilot.sense_every = 10
    return training, Run(folder)


def corrupt_step_25(training: Training) -> None:
    """Set weights of the generator to NaN in step 25, five steps after a checkpoint."""
    first, *rest = training.state.model.phases

    def loss(networks, batch, moment):
        if moment.step == 24:
            with torch.no_grad():
                next(networks["generator"].parameters()).fill_(math.nan)
        return first.loss(networks, batch, moment)

    phases = (dataclasses.replace(first, loss=loss), *rest)
    training.state.model = dataclasses.replace(training.state.model, phases=phases)


@pytest.mark.parametrize("spec", CONTROLLERS, ids=lambda spec: "-".join((spec.name, *map(str, spec.options))))
def test_a_log_reproduces_every_knob_across_a_rollback(spec: PlugSpec, tmp_path: Path) -> None:
    training, run = prepare(with_frequent_decisions(spec, tmp_path / "policy"), tmp_path / "run")
    corrupt_step_25(training)
    with Log(run.folder) as log:
        for event in train(training):
            log.record(event)
    (remedied,) = run.lines("remedied")
    assert (remedied["restored"], remedied["finding"]["symptom"]) == (20, "divergence")
    observations = list(read_observations(run, training.pilot.base))
    assert observations[0].turnable == training.state.model.turnable
    assert any(observation.signals.rank_train_held_out is not None for observation in observations)
    assert observations[0].signals.ideal_d == pytest.approx(math.log(4))
    plug = run.experiment()["controller"]
    controller = catalog.build("controllers", plug["name"], plug["options"])
    again = replay(controller, observations, training.pilot.base, read_overrides(run))
    assert again[:-1] == [observation.knobs for observation in observations[1:]]
    assert again[-1] == training.pilot.knobs
    rates = {observation.knobs.lr_d for observation in observations if 25 <= observation.step < 35}
    assert rates != {training.pilot.base.lr_d}, "with the override of the repair"
