"""Scenes of a generator whose input can be moved, and the metrics that need them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.scenes import iter_scenes
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.inference.generator import Generator


def generator_of(classes: int = 0) -> Generator:
    """Return a generator whose images show the first number of the latent, plus the label, plus the shift along x."""

    def latent(count, source, truncation):
        return torch.randn(count, 3, generator=source)

    def generate_transformed(networks, latents, condition, matrix):
        labels = 0 if condition is None else condition
        return (latents[:, 0] + labels + matrix[0, 2]).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    model = Model(
        name="movable",
        networks={},
        phases=(),
        knobs=AdversarialKnobs(),
        turnable=frozenset(),
        optimizer=lambda name, moment: None,
        latent=latent,
        generate=lambda networks, latents, condition, sampling: latents,
        logits=lambda networks, batch, moment: None,
        num_classes=classes,
        generate_transformed=generate_transformed,
    )
    return Generator(model, {}, DataSpec((1, 4, 4)), 0)


def test_scenes_are_those_of_the_seed_and_can_be_moved() -> None:
    generator = generator_of()
    batches = list(iter_scenes(generator, 40, 3, None))
    matrix = torch.eye(3)
    images = torch.cat([scenes(matrix) for scenes in batches])
    assert [len(scenes(matrix)) for scenes in batches] == [16, 16, 8]
    assert torch.equal(images[:, 0, 0, 0], generator.latents(40, seed=3)[:, 0])
    matrix[0, 2] = 0.5
    assert torch.equal(torch.cat([scenes(matrix) for scenes in batches]), images + 0.5)


def test_scenes_of_a_conditional_generator_keep_their_labels() -> None:
    generator = generator_of(classes=9)
    labels = torch.tensor([8, 8, 4])
    images = torch.cat([scenes(torch.eye(3)) for scenes in iter_scenes(generator, 40, 3, labels)])
    shift = images[:, 0, 0, 0] - generator.latents(40, seed=3)[:, 0]
    assert set(shift.round().tolist()) == {8.0, 4.0}


@pytest.fixture(scope="module")
def untrained_stylegan3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, whose learning rates are so small that the generator is as it was built."""
    from equipoise.cli import main as cli
    from equipoise.cli.arguments import parse
    from equipoise.cli.commands.train import experiment_of
    from equipoise.experiment import launch
    from equipoise.experiment.completion import complete

    words = (
        *("digits", "--model", "stylegan3", "--option", "width=8", "latent_dim=8", "--image-size", "16"),
        *("--steps", "1", "--batch-size", "4", "--set", "lr_g=1e-6", "lr_d=1e-6", "--metric", "none"),
        *("--precision", "fp32", "--threads", "1"),
    )
    folder = tmp_path_factory.mktemp("stylegan3") / "run"
    for _ in launch.start(complete(experiment_of(parse(cli.parser("train"), words))), folder):
        pass
    return folder


def test_equivariance_and_path_lengths_of_a_run(untrained_stylegan3: Path) -> None:
    """Equivariance is a property of the architecture."""
    names = ("eq_t", "eq_t_frac", "eq_r", "ppl:w_end")
    rows = {
        row.metric: row
        for row in evaluate(EvaluationRequest(samples=untrained_stylegan3, metrics=names, count=20)).rows
    }
    assert list(rows) == list(names)
    assert rows["eq_t"].value > 45
    assert rows["eq_t"].value > rows["eq_r"].value
    for name in names[:3]:
        row = rows[name]
        assert (row.better, row.samples, row.reals, row.floor, row.features) == ("higher", 20, 0, None, None)
        assert row.reason is None
        assert row.interval[0] <= row.value <= row.interval[1]
    assert rows["ppl:w_end"].value > 0


def test_equivariance_needs_a_generator_that_can_transform(trained: Path) -> None:
    with pytest.raises(SettingError, match="stylegan3; dcgan has no such input"):
        evaluate(EvaluationRequest(samples=trained, metrics=("eq_t",), count=8))


def test_samples_are_those_of_the_sampling(untrained_stylegan3: Path, call) -> None:
    """With psi = 0 every sample is that of the mean style; at its ends a path has no length."""
    words = ("evaluate", untrained_stylegan3, "--metrics", "ppl:w_end", "--count", 20, "--psi", 0)
    output = json.loads(call(*words, "--json")[1])
    assert output["metrics"][0]["value"] == 0
    assert output["protocol"]["samples"]["sampling"] == {"psi": 0.0}
    assert f"20 samples of {untrained_stylegan3}, step 1, psi 0.0, seed 0" in call(*words)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics", "eq_t", "--psi", 0.5], "eq_t is a property of the generator without --psi; omit this option"),
        (["--steps", 3], "steps has no effect in stylegan3; stylegan3 has: cutoff, psi"),
        (["--truncation", 1], "truncation has no effect in stylegan3; stylegan3 has: cutoff, psi"),
    ],
)
def test_sampling_without_effect_is_refused(untrained_stylegan3: Path, call, words: list[object], message: str) -> None:
    code, out, err = call("evaluate", untrained_stylegan3, "--count", 20, *words)
    assert (code, out) == (2, "")
    assert message in err


def test_samples_in_files_are_not_sampled(call, tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.zeros((20, 2), dtype=np.float32))
    code, _, err = call("evaluate", tmp_path / "points.npy", "--against", "ring", "--psi", 0.5)
    assert code == 2
    assert "points.npy is not a run, so it is not sampled; omit --psi" in err
