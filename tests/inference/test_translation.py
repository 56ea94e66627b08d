"""Models that translate images: training, translation, evaluation and export from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import equipoise
from equipoise.cli import main as cli
from equipoise.cli.arguments import parse
from equipoise.cli.commands.train import experiment_of
from equipoise.errors import SettingError
from equipoise.experiment import launch
from equipoise.experiment.completion import complete
from equipoise.inference import native_size, translation
from equipoise.runs.run import Run

WORDS = (
    *("openmoji", "--image-size", "16", "--option", "width=2", "patch=16", "--steps", "6", "--batch-size", "4"),
    *("--sample-every", "3", "--evaluate-every", "6", "--save-every", "3", "--threads", "1", "--precision", "fp32"),
)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory):
    """Return a function from a model name to its finished run. Read only."""
    folders: dict[str, Path] = {}

    def of(model: str) -> Path:
        if model not in folders:
            folders[model] = tmp_path_factory.mktemp(model) / "run"
            blocks = ("--option", "blocks=1") if model == "cyclegan" else ()
            args = parse(cli.parser("train"), [*WORDS, "--model", model, *blocks])
            for _ in launch.start(complete(experiment_of(args)), folders[model]):
                pass
        return folders[model]

    return of


both = pytest.mark.parametrize("model", ["pix2pix", "cyclegan"])


def opened(path: str | Path) -> Image.Image:
    """Read an image."""
    with Image.open(path) as image:
        image.load()
        return image


def save(path: Path, level: int = 40, size: tuple[int, int] = (16, 16), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(level).integers(
        0, 256, (size[1], size[0], {"L": 1, "RGB": 3, "RGBA": 4}[mode]), np.uint8
    )
    Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels).save(path)


@both
def test_translate_writes_one_file_per_input(call, run_of, model: str) -> None:
    for name in ("one.png", "deep/two.png", "deep/three.bmp"):
        save(Path("in") / name, len(name))
    code, out, err = call("translate", run_of(model), "in", "--out", "out")
    assert (code, err) == (0, "")
    assert out == "3 images: out\nsheet: out.png\n"
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == [
        "out/deep/three.png",
        "out/deep/two.png",
        "out/one.png",
    ]
    generator = equipoise.load(run_of(model))
    pixels = np.asarray(opened("in/one.png"), np.float32) / 127.5 - 1
    expected = generator.translate(torch.from_numpy(pixels)[None, None])[0]
    result = np.asarray(opened("out/one.png"), np.float32) / 127.5 - 1
    assert np.abs(result.transpose(2, 0, 1) - expected.numpy()).max() <= 1 / 127
    assert opened("out.png").size[1] == 16


SIZES = {"wide.png": (40, 20), "tall.png": (9, 33), "small.png": (8, 8), "one.png": (1, 1), "square.png": (16, 16)}


@both
@pytest.mark.parametrize("fit", [None, "native", "resize"])
def test_outputs_have_the_size_of_their_inputs(call, run_of, model: str, fit: str | None) -> None:
    for name, size in SIZES.items():
        save(Path("in") / name, size=size)
    code, _, err = call("translate", run_of(model), "in", "--out", "out", *(("--fit", fit) if fit else ()))
    assert (code, err) == (0, "")
    assert {path.name: opened(path).size for path in Path("out").iterdir()} == SIZES
    cell = (40, 33)
    assert opened("out.png").size[1] % (cell[1] + 2) == cell[1]
    native = fit != "resize"
    generator = equipoise.load(run_of(model))
    pixels = torch.from_numpy(np.asarray(opened("in/wide.png"), np.float32) / 127.5 - 1)[None, None]
    result = np.asarray(opened("out/wide.png"), np.float32).transpose(2, 0, 1) / 127.5 - 1
    assert (np.abs(result - generator.translate(pixels)[0].numpy()).max() <= 1 / 127) == native


@pytest.mark.parametrize(("fit", "action"), [("crop", "centre-cropped"), ("pad", "padded"), ("stretch", "stretched")])
def test_fits_of_training_give_squares_with_notes(call, run_of, fit: str, action: str) -> None:
    for name, size in SIZES.items():
        save(Path("in") / name, size=size)
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "out", "--fit", fit)
    assert code == 0
    assert f"2 of 5 images are not square: {action}" in err
    assert {opened(path).size for path in Path("out").iterdir()} == {(16, 16)}
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "other", "--fit", "zoom")
    assert (code, err.count("\n")) == (2, 1)
    assert "use one of: native, resize, crop, pad, stretch" in err


def test_one_size_generators_resize_and_restore(call, run_of, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a model of one's own that takes the size of training only."""
    from equipoise.inference import generator as module

    build = module.build_generator

    def of_one_size(weights):
        built = build(weights)
        object.__setattr__(built.model, "multiple", None)
        return built

    monkeypatch.setattr(module, "build_generator", of_one_size)
    save(Path("in/wide.png"), size=(40, 20))
    assert call("translate", run_of("pix2pix"), "in", "--out", "out")[0] == 0
    assert opened("out/wide.png").size == (40, 20)
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "out", "--fit", "native")
    assert code == 2
    assert "takes images of one size only; use --fit resize" in err


def test_single_file_and_archive(call, run_of) -> None:
    for name in ("a/one.png", "two.png"):
        save(Path("in") / name, len(name), size=(24, 18))
    code, out, _ = call("translate", run_of("pix2pix"), "in/two.png", "--out", "two.png")
    assert (code, out) == (0, "1 image: two.png\n")
    assert call("translate", run_of("pix2pix"), "in/two.png", "--out", "single")[0] == 0
    shutil.make_archive("pictures", "zip", "in")
    code, out, _ = call("translate", run_of("pix2pix"), "pictures.zip", "--out", "out", "--json")
    result = json.loads(out)
    assert (code, result["count"], result["sheet"], result["skipped"]) == (0, 2, "out.png", {})
    assert result["files"] == ["out/a/one.png", "out/two.png"]
    contents = [Path(path).read_bytes() for path in ("two.png", "single/two.png", "out/two.png")]
    assert contents[0] == contents[1] == contents[2]
    assert opened("two.png").size == (24, 18)
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "one.png")
    assert code == 2
    assert "--out one.png is one file, but there are 2 images; use a folder" in err


def test_every_kind_of_image_is_translated(call, run_of) -> None:
    """EXIF, 16 bits, transparency, palettes and arrays are read as in training; damaged files are skipped."""
    level = np.random.default_rng(1).integers(0, 256, (20, 12)).astype(np.uint8)
    grey = Image.fromarray(level)
    Path("in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.save("in/plain.png")
    grey.transpose(Image.Transpose.ROTATE_90).save("in/turned.png", exif=exif)
    Image.fromarray(level.astype(np.uint16) * 257).save("in/deep.png")
    grey.convert("P").save("in/palette.gif")
    grey.convert("RGBA").save("in/clear.webp", lossless=True)
    (Path("in") / "damaged.png").write_bytes((Path("in") / "plain.png").read_bytes()[:60])
    (Path("in") / "film.mp4").write_bytes(b"0")
    code, out, err = call("translate", run_of("pix2pix"), "in", "--out", "out", "--json")
    result = json.loads(out)
    assert (code, result["count"], list(result["skipped"])) == (0, 5, ["damaged.png"])
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "again")
    assert "1 of 6 images was skipped: damaged.png (damaged or truncated)" in err
    assert "1 file was left out: 1 .mp4" in err
    expected = np.asarray(opened("out/plain.png"), int)
    for name in ("turned", "deep", "palette", "clear"):
        assert opened(f"out/{name}.png").size == (12, 20), name
        assert np.abs(np.asarray(opened(f"out/{name}.png"), int) - expected).max() <= 2, name


def test_only_damaged_images_are_an_error(call, run_of) -> None:
    Path("in").mkdir()
    (Path("in") / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "out")
    assert code == 2
    assert "none of the images in in can be translated: damaged.png (damaged or truncated)" in err
    assert not Path("out").exists()


def test_large_images_are_translated_in_tiles(call, run_of, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note tells that the images are larger than those of training."""
    monkeypatch.setattr(native_size, "MAX_AREA", 64 * 64)
    monkeypatch.setattr(native_size, "OVERLAP", 16)
    save(Path("in/large.png"), size=(150, 100))
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "out")
    assert code == 0
    assert "images of up to 100 pixels were translated at their own size by a generator that was trained at 16" in err
    assert opened("out/large.png").size == (150, 100)
    monkeypatch.setattr(translation, "MAX_PIXELS", 100)
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "other")
    assert code == 2
    assert "150 x 100 pixels, more than 100: reduce it" in err


def test_transparent_images_are_enlarged(call) -> None:
    """Colours of transparent pixels do not matter, and the opacity is enlarged, too."""
    for number in range(12):
        save(Path(f"set/{number}.png"), number, (16, 16), "RGBA")
    words = ("--data", "image_folder", "--image-size", "16", "--option", "data.alpha=keep", "model.width=4")
    code, _, err = call(
        "train", "set", *words, "--model", "upsampler", "--steps", "2", "--batch-size", "4", "--out", "run"
    )
    assert code == 0, err
    save(Path("in/x.png"), 1, (10, 6), "RGBA")
    code, _, err = call("translate", "run", "in", "--out", "out")
    assert code == 0, err
    assert (opened("out/x.png").mode, opened("out/x.png").size) == ("RGBA", (40, 24))
    with pytest.raises(SettingError, match="these images have 3 channels, but this generator takes 4; convert them"):
        equipoise.load("run").translate(torch.zeros(1, 3, 4, 4))


def test_files_are_not_replaced_without_force(call, run_of) -> None:
    save(Path("in/x.png"))
    Path("out").mkdir()
    (Path("out") / "mine.txt").write_text("mine")
    assert call("translate", run_of("pix2pix"), "in", "--out", "out")[0] == 0
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "out")
    assert code == 2
    assert "out/x.png and 1 more files of the output exist already" in err
    assert call("translate", run_of("pix2pix"), "in", "--out", "out", "--force")[0] == 0
    assert (Path("out") / "mine.txt").read_text() == "mine"


def test_colour_inputs_of_a_grey_generator_need_a_flag(call, run_of) -> None:
    save(Path("in/grey.png"))
    for number in range(5):
        save(Path(f"in/c{number}.png"), number, mode="RGB")
    code, out, err = call("translate", run_of("pix2pix"), "in", "--out", "out")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(word in err for word in ("5 of 6 images", "(c0.png, c1.png, c2.png and 2 more)", "--grey"))
    assert not Path("out").exists()
    assert call("translate", run_of("pix2pix"), "in", "--out", "out", "--grey")[0] == 0
    assert len(list(Path("out").iterdir())) == 6


def test_grey_conversion_is_that_of_training(call, run_of) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 1] = np.random.default_rng(0).integers(0, 256, (16, 16))
    Path("in").mkdir()
    Image.fromarray(pixels).save("in/x.png")
    assert call("translate", run_of("pix2pix"), "in", "--out", "out", "--grey")[0] == 0
    luma = torch.from_numpy(0.587 * pixels[..., 1] / 127.5 - 1).float()
    expected = equipoise.load(run_of("pix2pix")).translate(luma[None, None])[0]
    result = np.asarray(opened("out/x.png"), np.float32) / 127.5 - 1
    assert np.abs(result.transpose(2, 0, 1) - expected.numpy()).max() <= 1 / 127


def test_run_trained_on_converted_images_needs_no_flag(call) -> None:
    for number in range(12):
        save(Path(f"data/a/{number}.png"), number, mode="RGB")
        save(Path(f"data/b/{number}.png"), 100 + number, mode="RGB")
    options = ("--model", "pix2pix", "--option", "data.source_channels=1", *WORDS[4:6])
    args = parse(cli.parser("train"), ["data", "--data", "paired_folder", *options, *WORDS[6:]])
    for _ in launch.start(complete(experiment_of(args)), Path("run")):
        pass
    assert call("translate", "run", "data/a", "--out", "out")[0] == 0
    assert len(list(Path("out").iterdir())) == 12


def test_sheet_is_next_to_the_output_folder(call, run_of, monkeypatch: pytest.MonkeyPatch) -> None:
    save(Path("in/x.png"))
    Path("here").mkdir()
    monkeypatch.chdir("here")
    assert call("translate", run_of("pix2pix"), "../in", "--out", ".")[0] == 0
    assert Path("x.png").exists()
    assert Path("../here.png").exists()
    code, _, err = call("translate", run_of("pix2pix"), "../in", "--out", "/")
    assert (code, err.count("\n")) == (2, 1)
    assert "--out / has no name" in err


def test_grey_images_with_three_channels_are_grey(call, run_of) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (16, 16, 1), np.uint8)
    Path("in").mkdir()
    Image.fromarray(np.repeat(grey, 3, axis=2)).save("in/x.png")
    assert call("translate", run_of("pix2pix"), "in", "--out", "out")[0] == 0


def test_translate_back(call, run_of) -> None:
    save(Path("in/x.png"), mode="RGB")
    assert call("translate", run_of("cyclegan"), "in", "--out", "out", "--back")[0] == 0
    assert opened("out/x.png").mode == "L"
    code, _, err = call("translate", run_of("pix2pix"), "in", "--out", "other", "--back")
    assert code == 2
    assert "remove --back" in err


def test_inputs_are_not_replaced(call, run_of) -> None:
    save(Path("in/x.png"))
    before = Path("in/x.png").read_bytes()
    for out in ("in", "in/deeper"):
        code, _, err = call("translate", run_of("pix2pix"), "in", "--out", out)
        assert code == 2
        assert f"--out {out} is inside the input folder" in err
    assert [path.name for path in Path("in").iterdir()] == ["x.png"]
    assert Path("in/x.png").read_bytes() == before


@pytest.mark.parametrize("out", ["in/x.png", "in", "in/x", "link.png"])
def test_one_image_is_not_replaced_by_its_output(call, run_of, out) -> None:
    """Neither by the file, by one of the same name in a folder, by the sheet, nor through a link; --force or not."""
    save(Path("in/x.png"))
    Path("link.png").symlink_to(Path("in/x.png").resolve())
    before = Path("in/x.png").read_bytes()
    code, _, err = call("translate", run_of("pix2pix"), "in/x.png", "--out", out, "--force")
    assert code == 2
    assert "is an input, which is never replaced; use another --out" in err
    assert Path("in/x.png").read_bytes() == before


def test_inputs_with_the_same_stem(call, run_of) -> None:
    save(Path("in/x.png"), 1)
    save(Path("in/x.bmp"), 2)
    assert call("translate", run_of("pix2pix"), "in", "--out", "out")[0] == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["x.bmp.png", "x.png.png"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("RUN", "nowhere", "--out", "out"), "nowhere"),
        (("RUN", "empty", "--out", "out"), "empty contains no image"),
        (("DCGAN", "in", "--out", "out"), "use equipoise sample"),
        (("in", "in", "--out", "out"), "in is not a run"),
    ],
)
def test_invalid_arguments(call, run_of, trained: Path, words, line: str) -> None:
    save(Path("in/x.png"))
    Path("empty").mkdir()
    named = {"RUN": str(run_of("pix2pix")), "DCGAN": str(trained)}
    code, _, err = call("translate", *(named.get(word, word) for word in words))
    assert code == 2
    assert line in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["sample", "interpolate"])
def test_commands_for_latents_suggest_translate(call, run_of, command: str) -> None:
    code, _, err = call(command, run_of("pix2pix"), "--out", "x.png")
    assert code == 2
    assert "use: equipoise translate RUN FOLDER" in err


@both
def test_run_evaluates_held_out_pairs(run_of, model: str) -> None:
    run = Run(run_of(model))
    (evaluation,) = run.lines("evaluated")
    assert (evaluation["metric"], evaluation["count"]) == ("paired_l1", 212)
    assert 0.1 < evaluation["value"] < 2
    last = run.lines("sampled")[-1]
    assert last["shows"] == ["input", "output", "truth"]
    sheet = np.asarray(opened(run.folder / last["samples"]), np.int16)
    assert sheet.shape == (8 * 18 - 2, 9 * 18 - 2, 3)
    first = np.asarray(opened(run.folder / run.lines("sampled")[0]["samples"]), np.int16)
    changed = [(sheet[:, 18 * n : 18 * n + 16] != first[:, 18 * n : 18 * n + 16]).any() for n in range(9)]
    assert changed == [n % 3 == 1 for n in range(9)], "outputs change, inputs and truths do not"


def test_pairs_are_hidden_from_an_unpaired_model(run_of) -> None:
    data = {model: Run(run_of(model)).experiment()["data"]["options"] for model in ("pix2pix", "cyclegan")}
    assert (data["pix2pix"]["paired"], data["cyclegan"]["paired"]) == (True, False)


@both
def test_evaluate_compares_each_sample_with_its_truth(call, run_of, model: str) -> None:
    code, out, _ = call("evaluate", run_of(model), "--metrics", "paired_l1,fd_pixels", "--json")
    assert code == 0
    rows = {row["metric"]: row for row in json.loads(out)["metrics"]}
    (live,) = Run(run_of(model)).lines("evaluated")
    assert rows["paired_l1"]["value"] == pytest.approx(live["value"], rel=1e-5)
    assert rows["paired_l1"]["samples"] == rows["paired_l1"]["reals"] == 212
    assert 0.2 < rows["paired_l1"]["floor"]["value"] < 0.6, "of reals that belong to other inputs"


def test_paired_metric_needs_pairs(call, run_of, trained: Path) -> None:
    code, _, err = call("evaluate", run_of("cyclegan"), "--metrics", "paired_l1", "--split", "train")
    assert code == 2
    assert "paired_l1" in err
    code, _, err = call("evaluate", run_of("pix2pix"), "--against", "digits", "--metrics", "fd_pixels")
    assert code == 2
    words = ("openmoji", "--model", "dcgan", "--metric", "paired_l1", "--steps", "2", "--option", "width=2")
    code, _, err = call("train", *words, "--image-size", "16")
    assert code == 2
    assert "'paired_l1'" in err
    assert "dcgan" in err


def test_data_flag_names_the_reader(call) -> None:
    for number in range(20):
        save(Path(f"mine/a/{number}.png"), number)
        save(Path(f"mine/b/{number}.png"), number + 100, mode="RGB")
    words = ("--option", "width=2", "patch=16", "--steps", "2", "--batch-size", "4", "--threads", "1", "--json")
    code, _, _ = call("train", "mine", "--data", "paired_folder", "--model", "pix2pix", *words, "--out", "run")
    assert code in (0, 3)
    options = Run(Path("run")).experiment()["data"]
    assert (options["name"], options["options"]["source"]) == ("paired_folder", "a")
    code, _, err = call("train", "mine", "--data", "ring")
    assert code == 2
    assert "equipoise train ring" in err
    code, _, err = call("train", "--data", "paired_folder")
    assert code == 2
    assert "equipoise train FOLDER --data paired_folder" in err


def test_images_of_another_shape_raise(run_of) -> None:
    generator = equipoise.load(run_of("pix2pix"))
    with pytest.raises(
        equipoise.EquipoiseError, match="these images have 3 channels, but this generator takes 1; convert them"
    ):
        generator.translate(torch.zeros(2, 3, 16, 16))
    with pytest.raises(equipoise.EquipoiseError, match="not trained to translate images back"):
        generator.translate(torch.zeros(2, 3, 16, 16), back=True)


@both
@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_export_describes_the_source(call, run_of, model: str, form: str) -> None:
    code, _, err = call("export", run_of(model), "--format", form, "--out", "model")
    assert (code, err) == (0, "")
    about = json.loads(Path("model/model.json").read_text())
    assert about["inputs"]["source"]["shape"] == ["batch", 1, 16, 16]
    assert about["outputs"]["samples"]["shape"] == ["batch", 3, 16, 16]
