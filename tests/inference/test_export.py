"""Exported networks generate the same samples as the run's generator, read as other programs read them."""

import copy
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from equipoise.errors import CheckpointError, SettingError
from equipoise.experiment import launch
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.inference import generator
from equipoise.inference.export import CHECK_BATCH, TOLERANCE, ExportError, export
from equipoise.runs.folders import create_run
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.training import checkpoint


def untrained_run(folder: Path, experiment: Experiment, damage: Callable[[Tensor], None] = lambda tensor: None) -> Path:
    """Write a run with one checkpoint, without training; `damage` changes its tensors in place."""
    experiment = complete(experiment)
    state = assemble(experiment, None).state
    tensors = state.tensors()
    for name, tensor in tensors.items():
        if name.startswith("averaged/"):
            damage(tensor)
    create_run(folder, experiment.to_json())
    checkpoint.write(folder / CHECKPOINTS_FOLDER, checkpoint.Checkpoint(0, tensors, state.values()))
    return folder


def run_graph(folder: Path, latent: Tensor, label: Tensor | None) -> np.ndarray:
    """Samples of an exported graph, computed by ONNX Runtime."""
    session = onnxruntime.InferenceSession(folder / "generator.onnx", providers=["CPUExecutionProvider"])
    inputs = {name: it.numpy() for name, it in (("latent", latent), ("label", label)) if it is not None}
    (samples,) = session.run(["samples"], inputs)
    return samples


# state_dicts.


@pytest.mark.parametrize("format", ["torch", "safetensors"])
def test_tensors_equal_those_of_the_run(trained: Path, tmp_path: Path, format: str) -> None:
    result = export(trained, format, tmp_path / "out")
    ending = {"torch": "pth", "safetensors": "safetensors"}[format]
    assert [path.name for path in result.files] == [f"generator.{ending}", f"discriminator.{ending}", "model.json"]
    assert result.difference == 0
    last = checkpoint.read(checkpoint.find(trained / "checkpoints")[-1]).tensors
    for path, prefix in zip(result.files, ("averaged/generator/", "network/discriminator/"), strict=False):
        tensors = torch.load(path, weights_only=True) if format == "torch" else load_file(path)
        expected = {key.removeprefix(prefix): value for key, value in last.items() if key.startswith(prefix)}
        assert type(tensors) is dict
        assert tensors.keys() == expected.keys()
        for key, value in tensors.items():
            assert type(value) is torch.Tensor
            assert torch.equal(value, expected[key])
            assert value.is_contiguous()
            assert value.dtype == (torch.int64 if key.endswith("num_batches_tracked") else torch.float32)


def test_weights_load_into_another_module(trained: Path, tmp_path: Path) -> None:
    export(trained, "torch", tmp_path)
    loaded = generator.load(trained)
    expected = loaded.sample(5)
    for parameter in loaded.networks["generator"].parameters():
        parameter.fill_(float("nan"))
    loaded.networks["generator"].load_state_dict(torch.load(tmp_path / "generator.pth", weights_only=True))
    assert torch.equal(loaded.sample(5), expected)


def test_safetensors_have_metadata(trained: Path, tmp_path: Path) -> None:
    export(trained, "safetensors", tmp_path)
    with safe_open(tmp_path / "discriminator.safetensors", framework="pt") as file:
        result = file.metadata()
    facts = {"network": "discriminator", "model": "dcgan", "data": "digits", "step": "12"}
    assert result == {**facts, "latent": "6", "sample": "1x16x16"}


def test_export_uses_the_last_checkpoint_without_final_weights(cut_off: Path, tmp_path: Path) -> None:
    export(cut_off, "safetensors", tmp_path / "out")
    last = checkpoint.read(cut_off / "checkpoints" / "step-00000010").tensors
    for name, prefix in (("generator", "averaged"), ("discriminator", "network")):
        for key, value in load_file(tmp_path / "out" / f"{name}.safetensors").items():
            assert torch.equal(value, last[f"{prefix}/{name}/{key}"])
    assert json.loads((tmp_path / "out" / "model.json").read_text())["step"] == 10


def test_weights_of_low_precision_runs_are_float32(tmp_path: Path) -> None:
    experiment = Experiment(
        data=PlugSpec("digits"),
        model=PlugSpec("dcgan", {"width": 4, "latent_dim": 6}),
        image_size=16,
        batch_size=8,
        steps=2,
        precision="bf16",
    )
    for _ in launch.start(experiment, tmp_path / "run"):
        pass
    export(tmp_path / "run", "torch", tmp_path / "out")
    for name in ("generator", "discriminator"):
        tensors = torch.load(tmp_path / "out" / f"{name}.pth", weights_only=True)
        assert {value.dtype for value in tensors.values()} <= {torch.float32, torch.int64}


# ONNX.


@pytest.fixture(scope="module")
def graph(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an exported graph: convolutions, nearest upsampling, batch norm, labels."""
    folder = tmp_path_factory.mktemp("graph")
    result = export(trained, "onnx", folder)
    assert [path.name for path in result.files] == ["generator.onnx", "model.json"]
    assert result.difference <= TOLERANCE
    return folder


@pytest.mark.parametrize("count", [1, 2, 37])
def test_graph_takes_any_batch_size(graph: Path, trained: Path, count: int) -> None:
    ours = generator.load(trained)
    latent, label = ours.latents(count, seed=3), ours.labels(count)
    expected = ours.generate(latent, label).numpy()
    samples = run_graph(graph, latent, label)
    assert samples.dtype == np.float32
    assert expected.std() > 0.05
    np.testing.assert_allclose(samples, expected, atol=TOLERANCE, rtol=0)


def test_graph_uses_labels(graph: Path, trained: Path) -> None:
    ours = generator.load(trained)
    latent = ours.latents(1).expand(10, -1)
    samples = run_graph(graph, latent, ours.labels(10))
    assert len({image.tobytes() for image in samples}) == 10


def test_graph_has_named_inputs_and_no_local_paths(graph: Path) -> None:
    content = (graph / "generator.onnx").read_bytes()
    model = onnx.load(io.BytesIO(content))
    onnx.checker.check_model(model, full_check=True)
    ends = {
        end.name: [dimension.dim_param or dimension.dim_value for dimension in end.type.tensor_type.shape.dim]
        for end in (*model.graph.input, *model.graph.output)
    }
    assert ends == {"latent": ["batch", 6], "label": ["batch"], "samples": ["batch", 1, 16, 16]}
    assert {prop.key: prop.value for prop in model.metadata_props}.items() >= {"step": "12", "model": "dcgan"}.items()
    for word in (str(Path(torch.__file__).parent), str(Path(generator.__file__).parent), ".py"):
        assert word.encode() not in content


def test_graph_of_a_single_weight(tmp_path: Path) -> None:
    """A generator that uses only the batch size of its latents."""
    run = untrained_run(tmp_path / "run", Experiment(data=PlugSpec("origin")), lambda tensor: tensor.fill_(0.625))
    assert export(run, "onnx", tmp_path).difference == 0
    assert run_graph(tmp_path, torch.zeros(3, 1), None).tolist() == [[0.625]] * 3
    assert "drawn_from" not in json.loads((tmp_path / "model.json").read_text())["inputs"]["latent"]


def test_differing_export_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that changes the weights slightly."""
    trace = torch.onnx.export

    def lossy(module: torch.nn.Module, *words: object, **flags: object) -> object:
        worse = copy.deepcopy(module)
        for parameter in worse.parameters():
            parameter.mul_(1.01)
        return trace(worse, *words, **flags)

    run = untrained_run(tmp_path / "run", Experiment(data=PlugSpec("origin")), lambda tensor: tensor.fill_(0.5))
    monkeypatch.setattr(torch.onnx, "export", lossy)
    with pytest.raises(ExportError, match=r"differ by 5\.0e-03.*nothing was written"):
        export(run, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_exporter_error_is_one_line(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **flags: object) -> object:
        raise torch.onnx.OnnxExporterError("long") from ValueError("no such operator\nand much more")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ExportError, match=r"^dcgan .*: no such operator; --format torch [^\n]*$"):
        export(trained, "onnx", tmp_path / "out")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_package_names_the_extra(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=r"pip install 'equipoise\[export\]'"):
        export(trained, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# model.json and existing files.


def test_model_json(graph: Path) -> None:
    about = json.loads((graph / "model.json").read_text())
    assert about["inputs"] == {
        "latent": {"shape": ["batch", 6], "dtype": "float32", "drawn_from": "standard normal"},
        "label": {"shape": ["batch"], "dtype": "int64", "lowest": 0, "highest": 9},
    }
    samples = about["outputs"]["samples"]
    assert (samples["shape"], samples["lowest"], samples["highest"]) == (["batch", 1, 16, 16], -1.0, 1.0)
    assert (about["model"], about["data"], about["step"]) == ("dcgan", "digits", 12)
    assert about["recipe"]["options"]["width"] == 4


def test_all_formats_in_one_folder_repeatedly(trained: Path, tmp_path: Path) -> None:
    for _ in range(2):
        for format in ("torch", "safetensors"):
            export(trained, format, tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    networks = {f"{name}.{ending}" for name in ("generator", "discriminator") for ending in ("pth", "safetensors")}
    assert files == {"model.json", *networks}


def test_existing_files_need_force(trained: Path, tmp_path: Path, snapshot) -> None:
    (tmp_path / "discriminator.pth").write_text("years of work")
    before = snapshot(tmp_path)
    with pytest.raises(ExportError, match=r"discriminator\.pth exists .* --force"):
        export(trained, "torch", tmp_path)
    assert snapshot(tmp_path) == before
    assert export(trained, "torch", tmp_path, force=True).difference == 0
    assert torch.load(tmp_path / "discriminator.pth", weights_only=True)


def test_export_does_not_change_the_run(run_folder: Path, tmp_path: Path, snapshot) -> None:
    before = snapshot(run_folder)
    export(run_folder, "torch", tmp_path / "out")
    assert snapshot(run_folder) == before


def test_unknown_format_and_missing_weights(trained: Path, cut_off: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'tflite'.*onnx, torch, safetensors"):
        export(trained, "tflite", tmp_path / "out")  # type: ignore[arg-type]
    shutil.rmtree(cut_off / "checkpoints")
    with pytest.raises(CheckpointError, match="has no weights yet"):
        export(cut_off, "torch", tmp_path / "out")


def test_missing_and_wrong_discriminator(run_folder: Path, tmp_path: Path) -> None:
    """A missing file is read from the checkpoint; one of another width raises."""
    (run_folder / "discriminator.safetensors").unlink()
    export(run_folder, "safetensors", tmp_path / "out")
    assert (tmp_path / "out" / "discriminator.safetensors").exists()
    shutil.copy(run_folder / "generator.safetensors", run_folder / "discriminator.safetensors")
    with pytest.raises(CheckpointError, match="discriminator"):
        export(run_folder, "safetensors", tmp_path / "out")


# The command.


def test_export_command(call, trained: Path) -> None:
    code, out, err = call("export", trained, "--format", "torch", "--out", "deep/out")
    assert (code, err) == (0, "")
    assert out == (
        "deep/out/generator.pth, deep/out/discriminator.pth, deep/out/model.json\n"
        "checked with 16 latents: deep/out/generator.pth generates bit-exact samples\n"
    )
    code, out, err = call("export", trained, "--format", "safetensors", "--out", "deep/out", "--json")
    assert (code, err) == (0, "")
    names = ("generator.safetensors", "discriminator.safetensors", "model.json")
    files = [f"deep/out/{name}" for name in names]
    assert json.loads(out) == {"files": files, "difference": 0.0, "latents": CHECK_BATCH}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--format tflite --out o", "'tflite'"),
        ("--out o", "--format"),
        ("--format torch", "--out"),
    ],
)
def test_invalid_arguments(call, trained: Path, tmp_path: Path, words: str, message: str) -> None:
    code, out, err = call("export", trained, *words.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_a_run(call) -> None:
    words = ("export", "nowhere", "--format", "torch", "--out", "o")
    assert call(*words) == (
        2,
        "",
        "equipoise: nowhere is not a run: there is no such folder; list the runs with: equipoise runs\n",
    )


def test_file_in_place_of_the_output_folder(call, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "o").write_text("a file")
    code, _, err = call("export", trained, "--format", "torch", "--out", "o")
    assert code == 2
    assert err.count("\n") == 1
    assert (tmp_path / "o").read_text() == "a file"
