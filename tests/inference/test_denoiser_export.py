"""An exported denoiser and its script: the same samples as the run, without this package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from equipoise.core.sampling import Sampling
from equipoise.errors import SettingError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.inference.export import export
from equipoise.inference.generator import load
from equipoise.inference.onnx_sampling import SAMPLER_FUNCTIONS
from equipoise.nn.diffusion_samplers import SAMPLERS, karras_levels
from equipoise.runs.folders import create_run
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.training import checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `edm` with one checkpoint, whose last layers are not 0."""
    folder = tmp_path_factory.mktemp("diffusion") / "run"
    model = PlugSpec("edm", {"width": 4, "multipliers": [1], "sampling_steps": 3})
    experiment = complete(Experiment(data=PlugSpec("digits", {"image_size": 16}), model=model))
    state = assemble(experiment, None).state
    tensors = state.tensors()
    source = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if name.startswith("averaged/") and not tensor.any():
            tensor.normal_(0, 0.1, generator=source)
    create_run(folder, experiment.to_json())
    checkpoint.write(folder / CHECKPOINTS_FOLDER, checkpoint.Checkpoint(0, tensors, state.values()))
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    result = export(run, "onnx", folder)
    assert [path.name for path in result.files] == ["denoiser.onnx", "sample.py", "model.json"]
    assert result.difference < 1e-4
    return folder


def test_the_graph_denoises(run: Path, exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "denoiser.onnx", providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["noisy", "sigma", "label"]
    noisy, sigma = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(1)), torch.linspace(0.1, 5, 5)
    labels = torch.tensor([0, 9, -1, 3, -1])
    (estimates,) = session.run(None, {"noisy": noisy.numpy(), "sigma": sigma.numpy(), "label": labels.numpy()})
    generator = load(run)
    with torch.no_grad():
        expected = generator.model.denoising.denoise(generator.networks, noisy, sigma, labels)
    np.testing.assert_allclose(estimates, expected.numpy(), atol=1e-4)


def test_the_script_runs_alone(exported: Path, tmp_path: Path) -> None:
    """With an import path that hides this package."""
    script, out = exported / "sample.py", tmp_path / "samples.npy"
    command = [sys.executable, "-I", str(script), "--count", "3", "--label", "4", "--out", str(out)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, timeout=120)
    samples = np.load(out)
    assert samples.shape == (3, 1, 16, 16)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 1
    assert "equipoise" not in "".join(line for line in script.read_text().splitlines() if "import" in line)


def test_settings_of_sampling_are_written_beside_the_graph(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tracing the graph again, which is slow."""

    def encode_nothing(module, inputs, output, metadata):
        return b"", lambda values: module(*values.values())

    monkeypatch.setattr("equipoise.inference.denoiser_export.encode_graph", encode_nothing)
    export(run, "onnx", tmp_path, sampling=Sampling(steps=5, sampler="heun", guidance=1.5))
    about = json.loads((tmp_path / "model.json").read_text())["denoising"]
    assert (about["sampler"], about["guidance"], about["classes"]) == ("heun", 1.5, 10)
    assert about["levels"] == pytest.approx(karras_levels(3, sigma_max=20.0))
    assert about["inputs"] == ["noisy", "sigma", "label"]


def test_options_without_effect_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="psi has no effect in edm"):
        export(run, "onnx", tmp_path, sampling=Sampling(psi=0.7))
    with pytest.raises(SettingError, match="steps has no effect on weights; export a graph"):
        export(run, "safetensors", tmp_path, sampling=Sampling(steps=3))


def test_weights_are_those_of_the_only_network(run: Path, tmp_path: Path) -> None:
    result = export(run, "safetensors", tmp_path)
    assert [path.name for path in result.files] == ["generator.safetensors", "model.json"]
    assert result.difference == 0


@pytest.mark.parametrize("name", ["heun", "dpm_2m", "ddim"])
def test_samplers_of_the_script_equal_those_of_the_package(name: str) -> None:
    levels = karras_levels(6)
    noisy = levels[0] * np.random.default_rng(0).standard_normal((2, 1, 4, 4))
    ours = SAMPLERS[name](
        lambda x, sigma: torch.tanh(x) / (1 + sigma.double().view(-1, 1, 1, 1)), torch.from_numpy(noisy), levels
    )
    theirs = SAMPLER_FUNCTIONS[name](lambda x, level: np.tanh(x) / (1 + level), noisy, levels, np.random.default_rng(0))
    np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-6, atol=1e-7)


def test_the_ancestral_sampler_of_the_script_has_the_right_variance() -> None:
    """On data from N(0, 0.25)."""
    levels = karras_levels(100)
    noisy = levels[0] * np.random.default_rng(0).standard_normal((200, 1, 8, 8))
    samples = SAMPLER_FUNCTIONS["ancestral"](
        lambda x, level: 0.25 / (0.25 + level**2) * x, noisy, levels, np.random.default_rng(1)
    )
    assert samples.std() == pytest.approx(0.5, rel=0.06)
