"""Runs of a model that learns from a trained one: what they record, resume, and refuse."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from equipoise.errors import RunError, SettingError
from equipoise.experiment import launch
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.inference.generator import load
from equipoise.runs.run import Run
from equipoise.training import checkpoint
from equipoise.training.inheritance import averaged_weights, digest_of

TEACHER = Experiment(
    data=PlugSpec("digits", {"image_size": 16}),
    model=PlugSpec("edm", {"width": 8, "multipliers": (1,), "attention": 0, "sampling_steps": 2, "preview_steps": 2}),
    controller=PlugSpec("fixed"),
    metric=PlugSpec("none"),
    steps=2,
    batch_size=4,
    repair=False,
    precision="fp32",
    device="cpu",
)

ErrorLine = Callable[..., str]

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a diffusion model. Read only."""
    return run(TEACHER, tmp_path_factory.mktemp("teacher") / "edm")


def run(experiment: Experiment, folder: Path) -> Path:
    list(launch.start(experiment, folder))
    return folder


def student_of(teacher: Path, **settings: object) -> Experiment:
    values = {"model": PlugSpec("distill"), "start_from": str(teacher), **settings}
    return dataclasses.replace(TEACHER, **values)  # type: ignore[arg-type]


def test_student_records_its_teacher(teacher: Path) -> None:
    """Options and digest, so that nothing about the teacher has to be given again."""
    experiment = complete(student_of(teacher))
    last = checkpoint.latest(teacher)
    assert last is not None
    assert experiment.start_from == str(last)
    assert experiment.model is not None
    recorded = experiment.model.options["teacher"]
    assert recorded["model"] == "edm"
    assert recorded["options"]["width"] == 8
    assert recorded["digest"] == digest_of(averaged_weights(checkpoint.read(last), "generator"))
    assert complete(experiment) == experiment


def test_student_starts_as_its_teacher_to_the_bit(teacher: Path) -> None:
    experiment = complete(student_of(teacher))
    training = assemble(experiment, None)
    launch.load_initial_weights(training, experiment)
    assert training.transferred == {"generator": 1.0, "teacher": 1.0, "discriminator": pytest.approx(1, abs=0.2)}
    model, latent = training.state.model, torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    labels, sigma = torch.arange(3), torch.full((3,), 2.5)
    averaged = load(teacher).networks["generator"].state_dict()
    assert all(torch.equal(value, averaged[name]) for name, value in model.networks["teacher"].state_dict().items())
    with torch.no_grad():
        expected = model.networks["teacher"](2.5 * latent, sigma, labels).clamp(-1, 1)
        for networks in (model.networks, training.state.sampling_networks):
            assert torch.equal(model.generate(networks, latent, labels, model.preview_sampling), expected)


def test_checkpoints_contain_no_teacher_and_samples_need_none(teacher: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(teacher, tmp_path / "edm"))
    folder = run(student_of(source), tmp_path / "student")
    names = checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors
    assert not any("teacher" in name for name in names)
    assert not list(folder.glob("teacher*"))
    shutil.rmtree(source)
    assert load(folder).sample(2).shape == (2, 1, 16, 16)


def test_resumed_student_equals_an_uninterrupted_one(teacher: Path, tmp_path: Path) -> None:
    whole = run(student_of(teacher, steps=4), tmp_path / "whole")
    parts = run(student_of(teacher, steps=2), tmp_path / "parts")
    list(launch.resume(parts, steps=4))
    first, second = (checkpoint.read(path / "checkpoints" / "step-00000004").tensors for path in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items() if "random/" not in name)


@pytest.mark.parametrize("change", ["deleted", "altered"])
def test_resume_needs_the_same_teacher(teacher: Path, tmp_path: Path, change: str) -> None:
    source = Path(shutil.copytree(teacher, tmp_path / "edm"))
    folder = run(student_of(source), tmp_path / "student")
    last = checkpoint.latest(source)
    assert last is not None
    if change == "deleted":
        shutil.rmtree(source)
        message = "cannot be resumed without its teacher: .*does not exist"
    else:
        saved = checkpoint.read(last)
        tensors = {name: value + 1 if name.startswith("averaged/") else value for name, value in saved.tensors.items()}
        values = {name: value for name, value in saved.values.items() if name not in ("format", "sha256")}
        checkpoint.write(last.parent, checkpoint.Checkpoint(saved.step, tensors, values))
        message = "has other weights than those that this run learns from: .*restore that checkpoint"
    with pytest.raises(RunError, match=message) as error:
        list(launch.resume(folder, steps=4))
    assert "\n" not in str(error.value)


def test_student_is_not_trained_by_an_untrained_teacher(teacher: Path) -> None:
    """The name of the run was removed from a completed experiment."""
    experiment = dataclasses.replace(complete(student_of(teacher)), start_from=None)
    with pytest.raises(SettingError, match="the experiment lacks 'start_from'; add it again"):
        launch.load_initial_weights(assemble(experiment, None), experiment)


def test_student_without_a_teacher(error_line: ErrorLine) -> None:
    line = error_line("train", "digits", "--model", "distill")
    assert "distill learns from a trained diffusion model; add --from RUN" in line
    assert "--model edm" in line


def test_student_of_a_gan(error_line: ErrorLine, trained: Path) -> None:
    line = error_line("train", "digits", "--model", "distill", "--image-size", 16, "--steps", 2, "--from", trained)
    assert "dcgan is none; use --from with a run of edm or ddpm" in line


def test_student_has_the_image_size_of_its_teacher(teacher: Path) -> None:
    """Unless it names one, which is then refused."""
    experiment = complete(student_of(teacher, data=PlugSpec("digits")))
    assert experiment.data is not None
    assert experiment.data.options["image_size"] == 16


def test_student_of_another_shape(error_line: ErrorLine, teacher: Path) -> None:
    line = error_line("train", "digits", "--model", "distill", "--from", teacher, "--image-size", "32")
    assert "1 x 16 x 16" in line
    assert "these data are 1 x 32 x 32" in line
    assert "--image-size 16x16" in line
    line = error_line("train", "openmoji", "--model", "distill", "--from", teacher, "--image-size", "16")
    assert "these data are 3 x 16 x 16; use the same data, or a teacher of these data" in line


def test_student_of_another_number_of_classes(teacher: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(teacher, tmp_path / "edm"))
    values = json.loads((source / "data.json").read_text())
    (source / "data.json").write_text(json.dumps({**values, "classes": 3}))
    with pytest.raises(SettingError, match=r"has the labels of its teacher, 3 .*these data have 10; use the data of"):
        complete(student_of(source))


def test_missing_teacher(error_line: ErrorLine) -> None:
    line = error_line("train", "digits", "--model", "distill", "--from", "nowhere")
    assert "--from" in line
    assert "nowhere does not exist" in line


def test_rank_of_the_head_and_share_are_signals_of_the_run(teacher: Path, tmp_path: Path) -> None:
    folder = run(student_of(teacher), tmp_path / "student")
    signals = [line["signals"] for line in Run(folder).lines("sensed")]
    assert signals
    assert -1 <= signals[0]["rank_train_fake"] <= 1
    assert 0 <= signals[0]["probability_real"] <= 1
    assert 0 <= signals[0]["adversarial_share"] <= 1
    assert json.loads((folder / "experiment.json").read_text())["model"]["name"] == "distill"
