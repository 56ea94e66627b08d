"""`equipoise inspect`: what a data set holds, what is wrong with it, and what it suggests, before training."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter


def write_images(folder: Path, count: int, size: tuple[int, int] = (16, 16), seed: int = 0) -> list[Path]:
    """Write smooth random images as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(size=(count, size[1], size[0], 3))
    smooth = gaussian_filter(noise, (0, 2, 2, 0))
    values = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    paths = [folder / f"{number:03d}.png" for number in range(count)]
    for path, image in zip(paths, values, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture
def inspect(call, tmp_path, monkeypatch):
    """Return a function that inspects a path in the temporary folder, and returns the JSON result."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        code, out, err = call("inspect", *args, "--no-estimate", "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


def test_a_folder_of_images(inspect, call, tmp_path):
    paths = write_images(tmp_path / "in", 30)
    write_images(tmp_path / "in" / "wide", 4, (32, 16), seed=1)
    shutil.copy(paths[3], tmp_path / "in" / "copy.png")
    Image.open(paths[5]).resize((32, 32), Image.Resampling.BICUBIC).save(tmp_path / "in" / "large.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"")
    (tmp_path / "in" / "film.mp4").write_bytes(b"x")
    before = sorted(path.name for path in (tmp_path / "in").rglob("*"))
    result = inspect("in")
    assert (result["data"], result["images"], result["kinds"]) == ("image_folder", 36, {".png": 36})
    assert result["sizes"] == [[16, 16, 31], [32, 16, 4], [32, 32, 1]]
    assert result["aspects"] == [1, 1, 2]
    assert (result["cropped"], result["crop_loss"], result["largest_crop_loss"]) == (4, 0.5, 0.5)
    assert (result["shrunk"], result["enlarged"]) == (1, 0)
    assert result["copies"] == [["003.png", "copy.png"]]
    assert result["near_copies"] == [["005.png", "large.png"]]
    assert result["damaged"] == {"broken.png": "empty"}
    assert list(result["left_out"]) == ["film.mp4"]
    assert result["suggestion"]["command"] == "equipoise train in"
    assert sorted(path.name for path in (tmp_path / "in").rglob("*")) == before
    code, out, err = call("inspect", "in", "--no-estimate")
    assert (code, err) == (0, "")
    assert "4 are not square: the centre crop removes 50% of each on average" in out
    assert "1 surplus in 1 group of equal pixels: 003.png = copy.png" in out
    assert "1 damaged: broken.png (empty)" in out


def test_images_in_two_splits_are_leaks(inspect, call, tmp_path):
    paths = write_images(tmp_path / "in" / "train" / "a", 20)
    write_images(tmp_path / "in" / "train" / "b", 20, seed=1)
    write_images(tmp_path / "in" / "test" / "a", 9, seed=2)
    assert inspect("in")["leaks"] == []
    shutil.copy(paths[7], tmp_path / "in" / "test" / "a" / "again.png")
    result = inspect("in")
    assert result["splits"] == {"train": 40, "test": 10}
    assert result["classes"] == {"a": 30, "b": 20}
    assert result["leaks"] == [
        {"images": ["train/a/007.png", "test/a/again.png"], "splits": ["train", "test"], "exact": True}
    ]
    _, out, _ = call("inspect", "in", "--no-estimate")
    assert "leaks: 1 image is also in another split: test/a/again.png = train/a/007.png; remove them" in out


def test_unusual_images_are_listed(inspect, tmp_path):
    write_images(tmp_path / "in", 30)
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[::2] = 255
    Image.fromarray(stripes).save(tmp_path / "in" / "stripes.png")
    result = inspect("in")
    assert result["unusual"][0]["image"] == "stripes.png"
    assert result["unusual"][0]["ratio"] > 1.5


def test_depth_and_range_are_shown(inspect, tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (20, 16, 16)).astype(np.uint16)
    np.save(tmp_path / "scans.npy", values)
    result = inspect("scans.npy")
    assert (result["images"], result["deep"], result["kinds"]) == (20, 20, {"": 20})
    assert any("12 bits are used; 0 becomes black, 4,095 white" in note for note in result["notes"])


def test_a_set_that_training_refuses_is_inspected(inspect, call, tmp_path):
    write_images(tmp_path / "in", 10)
    for number in range(5):
        (tmp_path / "in" / f"broken{number}.png").write_bytes(b"no image")
    result = inspect("in")
    assert (result["images"], len(result["damaged"])) == (10, 5)
    assert "cannot be used, more than 5%" in result["suggestion"]["problem"]
    code, _, err = call("train", "in", "--dry-run")
    assert code == 2
    assert "cannot be used, more than 5%" in err, "the inspection does not make training accept them"


def test_a_set_without_any_image_is_refused(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(3):
        np.save(tmp_path / "in" / f"{number}.npy", np.zeros((16, 16, 5), np.uint8))
    code, out, err = call("inspect", "in", "--no-estimate")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "5 channels: 1 (grey), 3 (colour) or 4" in err
    assert "more than 5%" in err


def test_a_contact_sheet(inspect, call, tmp_path):
    write_images(tmp_path / "in" / "a", 10)
    write_images(tmp_path / "in" / "b", 10, seed=1)
    assert inspect("in", "--out", "sheet.png")["sheet"] == "sheet.png"
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 1000
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 1000, "images are drawn"
    code, _, err = call("inspect", "in", "--out", "sheet.png", "--no-estimate")
    assert (code, err.count("\n")) == (2, 1)
    assert "exists already" in err
    assert call("inspect", "in", "--out", "sheet.png", "--no-estimate", "--force")[0] == 0


def test_tables_and_text(inspect, call, tmp_path):
    (tmp_path / "tables").mkdir()
    for number in range(12):
        rows = "".join(f"{20 + (step + number) % 3},{50 + number}\n" for step in range(64))
        (tmp_path / "tables" / f"{number}.csv").write_text(f"temperature,humidity\n{rows}")
    result = inspect("tables")
    assert result["data"] == "csv_windows"
    values = {column["column"]: column for column in result["values"]}
    assert (values["temperature"]["low"], values["temperature"]["high"]) == pytest.approx((20, 22), abs=1e-3)
    assert values["humidity"]["high"] <= 61.001
    (tmp_path / "lines.txt").write_text("a cat sat\na dog ran\n" * 30)
    result = inspect("lines.txt")
    assert (result["data"], result["values"]) == ("text_lines", [])
    assert result["words"] >= 5
    code, _, err = call("inspect", "lines.txt", "--out", "sheet.png")
    assert code == 2
    assert err == "equipoise: --out draws images, and lines.txt holds none; omit it\n"


def test_time_is_estimated(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "in", 20)
    code, out, _ = call("inspect", "in", "--json")
    suggestion = json.loads(out)["suggestion"]
    assert code == 0
    assert suggestion["seconds"] > 0
    assert suggestion["batch_size"] <= suggestion["train"] <= 20


def test_wrong_arguments_are_one_line(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "in", 3)
    for args in (("nowhere/",), ("in", "--option", "model.width=3"), ("in", "--out", "sheet.txt")):
        code, out, err = call("inspect", *args)
        assert (code, out, err.count("\n")) == (2, "", 1)
