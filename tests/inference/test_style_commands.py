"""The commands `mix`, `project` and `explore`, and options of sampling in the other ones."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from equipoise.core.sampling import Sampling
from equipoise.inference.export import TOLERANCE, export
from equipoise.inference.generator import load
from equipoise.inference.style_space import map_to_styles

LAYERS = 6


def array(path: str) -> np.ndarray:
    return np.load(path, allow_pickle=False)


@pytest.fixture
def image(working_directory: Path, call, styled_run: Path) -> str:
    """A sample of the run as an image of one's own."""
    assert call("sample", styled_run, "--count", 1, "--out", "image.png")[0] == 0
    return "image.png"


# Options of sampling.


def test_sample_with_options(call, styled_run: Path) -> None:
    assert call("sample", styled_run, "--count", 9, "--psi", 0.5, "--cutoff", 2, "--out", "a.npy")[0] == 0
    expected = load(styled_run).sample(9, sampling=Sampling(psi=0.5, cutoff=2))
    np.testing.assert_array_equal(array("a.npy"), expected)
    for name, words in (("fixed", ("--noise", "fixed")), ("free", ()), ("none", ("--noise", "none"))):
        assert call("sample", styled_run, "--count", 2, *words, "--out", f"{name}.npy")[0] == 0
    np.testing.assert_array_equal(array("fixed.npy"), array("free.npy"))


@pytest.mark.parametrize("command", ["interpolate", "arithmetic --plus 1,2 --minus 3"])
def test_space_of_latents(call, styled_run: Path, command: str) -> None:
    results = {}
    for name, words in (("default", ()), ("w", ("--space", "w")), ("z", ("--space", "z"))):
        first, *rest = command.split()
        code, out, _ = call(first, styled_run, *rest, *words, "--label", 2, "--out", f"{name}.npy", "--json")
        assert code == 0
        results[name] = json.loads(out)
    assert [results[name]["space"] for name in ("default", "w", "z")] == ["w", "w", "z"]
    np.testing.assert_array_equal(array("default.npy"), array("w.npy"))
    assert not np.array_equal(array("w.npy"), array("z.npy"))
    if command == "interpolate":
        assert [results[name]["kind"] for name in ("w", "z")] == ["linear", "spherical"]
        np.testing.assert_array_equal(array("w.npy")[:, [0, -1]], array("z.npy")[:, [0, -1]])


def test_psi_acts_on_latent_tools(call, styled_run: Path) -> None:
    for psi in (0, 1):
        assert call("interpolate", styled_run, "--psi", psi, "--rows", 2, "--steps", 3, "--out", f"{psi}.npy")[0] == 0
    still, moving = array("0.npy"), array("1.npy")
    assert np.abs(still - still[:1, :1]).max() == 0
    assert len({image.tobytes() for image in moving.reshape(6, -1)}) == 6


def test_picture_of_arithmetic_in_w(call, styled_run: Path) -> None:
    words = ("--show", "sheet.png", "--plus", "1,2", "--minus", "3", "--plus", "4", "--psi", 0.7, "--out", "sum.png")
    code, out, err = call("arithmetic", styled_run, *words)
    assert (code, err) == (0, "")
    assert "A − B + C: sum.png; distance from the mean style " in out


# mix.


def test_mix_writes_a_grid(call, styled_run: Path) -> None:
    assert call("mix", styled_run, "--out", "deep/grid.png") == (
        0,
        "4 x 6 samples, layers 0-2 of 0-5 from the rows: deep/grid.png\n",
        "",
    )
    with Image.open("deep/grid.png") as grid:
        assert grid.width > grid.height > 400


def test_cells_have_layers_of_the_row(call, styled_run: Path) -> None:
    words = ("--rows", "3,5/1", "--columns", "4,7,8", "--layers", "1-4", "--label", 2, "--out", "cells.npy", "--json")
    code, out, _ = call("mix", styled_run, *words)
    assert code == 0
    assert json.loads(out) == {
        "path": "cells.npy",
        "rows": ["0/3", "5/1"],
        "columns": ["0/4", "0/7", "0/8"],
        "layers": [1, 4],
        "layer_count": LAYERS,
    }
    generator = load(styled_run)
    styles = map_to_styles(generator, generator.latents(9), generator.labels(9, 2))
    mixed = styles[7].clone()
    mixed[1:5] = styles[3, 1:5]
    expected = generator.model.styles.synthesize(generator.networks, mixed[None].expand(16, -1, -1), Sampling())[0]
    cells = array("cells.npy")
    assert cells.shape == (2, 3, 1, 16, 16)
    np.testing.assert_array_equal(cells[0, 1], expected)


def test_all_layers_give_the_rows(call, styled_run: Path) -> None:
    for layers in ("0-5", "5"):
        assert call("mix", styled_run, "--layers", layers, "--out", f"{layers}.npy")[0] == 0
    call("sample", styled_run, "--count", 4, "--out", "rows.npy")
    np.testing.assert_array_equal(array("0-5.npy"), array("rows.npy")[:, None].repeat(6, axis=1))
    assert not np.array_equal(array("5.npy"), array("0-5.npy"))


# project.


def test_projection_is_written_and_can_be_used(call, styled_run: Path, image: str) -> None:
    words = ("--distance", "pixels", "--steps", 30, "--out", "result.png", "--json")
    code, out, _ = call("project", styled_run, image, *words)
    result = json.loads(out)
    assert code == 0
    assert (result["path"], result["styles"], result["layers"], result["steps"]) == ("result.png", "result.npz", 6, 30)
    assert result["distance_name"] == "pixels"
    assert result["distance"] < result["start_distance"]
    with Image.open("result.png") as picture:
        assert picture.width > 2 * 80
    assert call("interpolate", styled_run, "--from", "result.npz", "--to", 3, "--out", "strip.npy")[0] == 0
    call("sample", styled_run, "--count", 4, "--out", "samples.npy")
    strip = array("strip.npy")
    np.testing.assert_array_equal(strip[0, -1], array("samples.npy")[3])
    own = (np.asarray(Image.open(image).convert("L"))[:16, :16] / 127.5 - 1)[None]
    assert np.sqrt(np.square(strip[0, 0] - own).mean()) == pytest.approx(result["pixel_error"], abs=1e-4)
    assert call("mix", styled_run, "--rows", "result.npz,3", "--out", "mixed.png")[0] == 0
    assert call("explore", styled_run, "--from", "result.npz", "--components", 2, "--out", "around.png")[0] == 0
    assert call("arithmetic", styled_run, "--plus", "result.npz", "--minus", "3", "--out", "sum.png")[0] == 0


def test_projection_of_an_image_of_another_size(call, styled_run: Path, working_directory: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)).save("large.png")
    words = ("project", styled_run, "large.png", "--distance", "pixels", "--steps", 2)
    code, out, err = call(*words, "--out", "result.png")
    message = "the image has 40 x 30 pixels, but samples of this generator have 16 x 16; resize it, or use --fit crop"
    assert (code, out, err) == (2, "", f"equipoise: {message}\n")
    assert [path.name for path in working_directory.iterdir()] == ["large.png"]
    for fit in ("crop", "pad", "stretch"):
        out = f"{fit}.png"
        assert call(*words, "--fit", fit, "--styles", f"{fit}.safetensors", "--out", out)[0] == 0
        assert load_file(f"{fit}.safetensors")["styles"].shape == (1, LAYERS, 8)


# explore.


def test_explore_writes_strips_and_directions(call, styled_run: Path) -> None:
    words = ("--components", 3, "--steps", 5, "--layers", "0-2", "--directions", "w.csv", "--out", "w.png", "--json")
    code, out, err = call("explore", styled_run, *words)
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert (result["path"], result["directions"], result["components"], result["steps"]) == ("w.png", "w.csv", 3, 5)
    assert result["deviations"] == sorted(result["deviations"], reverse=True)
    assert 0 < sum(result["shares"]) <= 1
    assert len(Path("w.csv").read_text().splitlines()) == 4
    assert call("explore", styled_run, "--from", 3, "--psi", 0.5, "--components", 1, "--out", "b.png")[0] == 0
    assert array("b.npz")["directions"].shape == (1, 8)


# export.


@pytest.mark.parametrize("format", ["torch", "safetensors"])
def test_weights_have_noise_and_mean_style(styled_run: Path, tmp_path: Path, format: str) -> None:
    result = export(styled_run, format, tmp_path)
    assert result.difference == 0
    path = result.files[0]
    tensors = torch.load(path, weights_only=True) if format == "torch" else load_file(path)
    expected = load(styled_run).networks["generator"].state_dict()
    assert {"mapping.w_avg", "synthesis.noise_0", "synthesis.noise_4"} <= tensors.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_graph_has_psi_built_in(call, styled_run: Path) -> None:
    code, out, _ = call("export", styled_run, "--format", "onnx", "--psi", 0.5, "--cutoff", 3, "--out", "o", "--json")
    assert code == 0
    assert json.loads(out)["difference"] <= TOLERANCE
    assert json.loads(Path("o/model.json").read_text())["sampling"] == {"psi": 0.5, "cutoff": 3}
    generator = load(styled_run)
    latent, label = generator.latents(3), generator.labels(3)
    session = onnxruntime.InferenceSession("o/generator.onnx", providers=["CPUExecutionProvider"])
    (samples,) = session.run(None, {"latent": latent.numpy(), "label": label.numpy()})
    moved, free = (generator.generate(latent, label, Sampling(psi=psi, cutoff=3)).numpy() for psi in (0.5, 1.0))
    np.testing.assert_allclose(samples, moved, atol=TOLERANCE, rtol=0)
    assert np.abs(samples - free).max() > 100 * TOLERANCE


# Errors: one line, exit code 2, no files.

INVALID = [
    ("sample --out s.png --psi -2", "psi = -2: it must be at least -1"),
    ("sample --out s.png --noise random", "noise = random: it must be fixed or none"),
    ("sample --out s.png --cutoff 2", "cutoff has no effect without psi"),
    ("sample --out s.png --psi 0.5 --cutoff 7", "cutoff = 7: stylegan2 has 6 layers with a style"),
    ("sample --out s.png --truncation 1", "truncation has no effect in stylegan2; stylegan2 has: cutoff, noise, psi"),
    ("interpolate --out s.png --space y", "space 'y' does not exist; use z or w"),
    ("interpolate --out s.png --from no.npz --to 3", "there is no file no.npz; equipoise project RUN IMAGE writes one"),
    ("interpolate --out s.png --space z --from no.npz --to 3", "no.npz holds styles, which have no latent z"),
    ("arithmetic --out s.png --plus 1 --truncation 1", "truncation has no effect in stylegan2"),
    ("mix --out s.png --layers 0-6", "layers 0-6: this generator has layers 0 to 5"),
    ("mix --out s.png --layers 3-2", "layers 3-2: the first is after the last"),
    ("mix --out s.png --layers coarse", "--layers takes a range of layers, such as 0-3, or one layer, not 'coarse'"),
    ("mix --out s.png --rows 3,x", "--rows takes sample numbers"),
    ("mix --out s.png --columns 100000", "sample number 100000 does not exist"),
    ("mix --out s.gif", "s.gif has no supported extension; use a file name ending in .png or .npy"),
    ("mix --out s.png --label 11", "label 11 does not exist"),
    ("explore --out s.npy", "use a file name ending in .png"),
    ("explore --out s.png --directions d.txt", "use a file name ending in .npz or .safetensors or .csv"),
    ("explore --out s.png --components 9", "components = 9: it must be from 1 to 8, the dimensions of w"),
    ("explore --out s.png --components 0", "components = 0"),
    ("explore --out s.png --steps 1", "steps = 1: it must be at least 2"),
    ("explore --out s.png --extent 0", "extent = 0: it must be above 0"),
    ("explore --out s.png --from 1,2", "--from takes one sample, not 2"),
    ("explore --out s.png --psi 0.5", "--psi has no effect on the mean sample; select another one with --from"),
    *(
        (f"{words} --psi 0.5", "--psi has no effect on files of styles; select a sample by its number, or omit --psi")
        for words in (
            "mix --out s.png --rows a.npz --columns b.npz,c.npz",
            "explore --out s.png --from a.npz",
            "interpolate --out s.png --from a.npz --to b.npz",
            "arithmetic --out s.png --plus a.npz --minus b.npz",
        )
    ),
    ("project no.png --out s.png", "no.png"),
    ("project no.png --out s.npy", "s.npy has no supported extension; use a file name ending in .png"),
    ("project no.png --out s.png --styles s.csv", "use a file name ending in .npz or .safetensors"),
    ("project no.png --out s.png --steps 0", "steps = 0"),
    ("project no.png --out s.png --space z", "space 'z' does not exist; use w+ or w"),
    ("project no.png --out s.png --distance lpips", "distance 'lpips' does not exist; use one of: efficientnet_lite0"),
    ("export --format torch --psi 0.5 --out o", "psi has no effect on weights; export a graph, --format onnx"),
]


@pytest.mark.parametrize(("words", "message"), INVALID, ids=[words for words, _ in INVALID])
def test_invalid_arguments(call, styled_run: Path, tmp_path: Path, words: str, message: str) -> None:
    command, *rest = words.split()
    code, out, err = call(command, styled_run, *rest)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


NO_STYLES = "dcgan has no styles, because it has no mapping network; use a run of a model that has one"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("mix --out s.png", NO_STYLES),
        ("explore --out s.png", NO_STYLES),
        ("project no.png --out s.png", NO_STYLES),
        ("interpolate --space w --out s.png", NO_STYLES),
        ("arithmetic --space w --plus 1 --out s.png", NO_STYLES),
        ("sample --psi 0.5 --out s.png", "psi has no effect in dcgan; dcgan has: truncation"),
        ("interpolate --psi 0.5 --out s.png", "psi has no effect in dcgan; dcgan has: truncation"),
        ("arithmetic --psi 0.5 --show s.png", "psi has no effect in dcgan; dcgan has: truncation"),
        ("export --format onnx --noise none --out o", "noise has no effect in dcgan; dcgan has: truncation"),
    ],
)
def test_model_without_styles(call, trained: Path, tmp_path: Path, words: str, message: str) -> None:
    command, *rest = words.split()
    code, out, err = call(command, trained, *rest)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_styles_of_another_model_are_not_mixed(call, styled_run: Path, image: str, monkeypatch) -> None:
    assert call("project", styled_run, image, "--distance", "pixels", "--steps", 1, "--out", "a.png")[0] == 0
    monkeypatch.setattr("equipoise.inference.style_files.generator_digest", lambda generator: "another")
    code, _, err = call("mix", styled_run, "--rows", "a.npz", "--out", "mixed.png")
    assert code == 2
    assert err.startswith("equipoise: a.npz holds styles of other weights of this model, which mean nothing to this")
    assert err.count("\n") == 1
    assert not Path("mixed.png").exists()


@pytest.mark.parametrize("content", [b"no image", b""])
def test_file_that_is_no_image(call, styled_run: Path, content: bytes) -> None:
    Path("a.png").write_bytes(content)
    code, out, err = call("project", styled_run, "a.png", "--out", "result.png")
    assert (code, out) == (2, "")
    assert "a.png" in err
    assert err.count("\n") == 1
    assert not Path("result.png").exists()


@pytest.mark.parametrize("command", ["mix", "explore", "project"])
def test_files_are_not_replaced(call, styled_run: Path, command: str) -> None:
    Path("s.png").write_text("years of work")
    words = ("a.png",) if command == "project" else ()
    code, _, err = call(command, styled_run, *words, "--out", "s.png")
    assert (code, err) == (2, "equipoise: s.png exists already; choose another --out, or replace with --force\n")
    assert Path("s.png").read_text() == "years of work"
