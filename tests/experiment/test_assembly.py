"""Objects of a training: random generators, threads and schedules."""

import dataclasses
from pathlib import Path

import pytest
import torch

from equipoise.errors import SettingError
from equipoise.experiment import assembly, launch
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.run import Run

pytestmark = pytest.mark.usefixtures("working_directory")

RING = Experiment(
    data=PlugSpec("ring"),
    model=PlugSpec("mlp", {"width": 4}),
    metric=PlugSpec("none"),
    steps=2,
    batch_size=8,
    threads=1,
)
OWN_MODEL = '''
"""A model whose weights come from the global generators."""
import random
from dataclasses import dataclass
import numpy
import torch
from equipoise.models.mlp import MLP

__all__ = ["Own"]

@dataclass(frozen=True)
class Own:
    def build(self, spec, generator):
        model = MLP(width=4).build(spec, generator)
        with torch.no_grad():
            for weight in model.networks["generator"].parameters():
                weight.copy_(torch.randn_like(weight) + random.random() + numpy.random.rand())
        return model
'''


def weights(seed: int, global_seed: int) -> torch.Tensor:
    torch.manual_seed(global_seed)
    experiment = dataclasses.replace(RING, model=PlugSpec("./own.py"), seed=seed)
    state = torch.random.get_rng_state()
    training = assembly.assemble(complete(experiment), None)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is as before"
    return torch.cat([weight.detach().flatten() for weight in training.state.model.networks["generator"].parameters()])


def test_model_that_draws_from_global_generators_follows_the_seed() -> None:
    Path("own.py").write_text(OWN_MODEL)
    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))


def test_threads_are_limited_to_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "available_cores", lambda: 1)
    list(launch.start(dataclasses.replace(RING, threads=1000), "run"))
    assert torch.get_num_threads() == 1
    (started,) = Run(Path("run")).lines("started")
    assert started["notes"] == ["threads = 1000 is more than the cores of this machine; 1 used"]


@pytest.mark.parametrize(
    ("knob", "schedule", "words"),
    [
        ("lr_d", "linear(0.1, 0)", "lr_d = 'linear.*' reaches 0.1, which is outside its range: 1e-06 to 0.01"),
        ("lr_d", "linear(0.001, -1)", "reaches -1, which is outside"),
        ("beta1", "cosine(0, 1)", "reaches 1, which is outside its range: 0 to 0.95"),
        ("augment_p", "join(constant(0), 0.5, linear(0, 5))", "reaches 5, which is outside its range: 0 to 0.8"),
    ],
)
def test_schedule_out_of_range_is_refused(knob: str, schedule: str, words: str, working_directory: Path) -> None:
    experiment = dataclasses.replace(
        RING, data=PlugSpec("digits", {"image_size": 16}), model=PlugSpec("dcgan", {"width": 2})
    )
    experiment = dataclasses.replace(experiment, controller=PlugSpec("annealed"), knobs={knob: schedule})
    with pytest.raises(SettingError, match=words):
        list(launch.start(experiment, "run"))
    assert list(working_directory.iterdir()) == []


def test_rate_may_decay_to_zero() -> None:
    schedule = {"lr_g": "join(warm_up(0.001), 0.1, cosine(0.001, 0))"}
    list(launch.start(dataclasses.replace(RING, controller=PlugSpec("annealed"), knobs=schedule), "run"))


def test_a_suggested_controller_that_does_not_act_is_replaced_with_a_note() -> None:
    """openmoji suggests a learned policy, which changes the learning rate of a discriminator."""
    experiment = complete(Experiment(data=PlugSpec("openmoji"), model=PlugSpec("edm", {"width": 4}), steps=2))
    assert experiment.controller == PlugSpec("fixed", {})
    training = assembly.assemble(experiment, None)
    (note,) = training.notes
    assert note == "learnable:suite, the controller for these data, changes lr_d, which edm lacks; fixed used"


def test_a_suggested_controller_that_acts_in_part_is_kept() -> None:
    """digits suggests annealed, whose schedule of lr_d is ignored where there is none."""
    experiment = complete(Experiment(data=PlugSpec("digits"), model=PlugSpec("edm", {"width": 4}), steps=2))
    assert experiment.controller is not None
    assert experiment.controller.name == "annealed"
    assert assembly.assemble(experiment, None).notes == ()


def test_a_controller_that_does_not_act_is_refused_if_the_user_names_it() -> None:
    experiment = complete(
        Experiment(data=PlugSpec("digits"), model=PlugSpec("edm", {"width": 4}), controller=PlugSpec("rank"), steps=2)
    )
    with pytest.raises(SettingError, match="lr_d has no effect in edm; knobs that have an effect: augment_p, beta1"):
        assembly.assemble(experiment, None)
