"""Samples and reals are read alike: pictures of every kind, in both orders, in folders, arrays and archives."""

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.errors import DataError, SettingError, UnknownNameError
from equipoise.evaluation.description import format_notes
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.sources import MAX_SIZE
from equipoise.evaluation.subject import EvaluationData, EvaluationRequest, gather_data, open_request

pytestmark = pytest.mark.usefixtures("working_directory")

SIDE = 16
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Save = Callable[[Pixels, Path], None]


def pictures(seed: int, count: int = 12) -> Pixels:
    """Return smooth random colour pictures (N, SIDE, SIDE, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)


def plain(pixels: Pixels, path: Path) -> None:
    Image.fromarray(pixels).save(path.with_suffix(".png"))


def on_white(pixels: Pixels, path: Path) -> None:
    covered = pixels.copy()
    covered[: SIDE // 2] = 255
    plain(covered, path)


def transparent(pixels: Pixels, path: Path) -> None:
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[: SIDE // 2] = 0
    plain(np.concatenate([pixels, alpha], axis=2), path)


def grey(pixels: Pixels, path: Path) -> None:
    plain(pixels[..., 0], path)


def sixteen_bits(pixels: Pixels, path: Path) -> None:
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(path.with_suffix(".png"))


def turned(pixels: Pixels, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    Image.fromarray(np.rot90(pixels)).save(path.with_suffix(".png"), exif=exif)


def write(name: str, images: Pixels, save: Save) -> Path:
    folder = Path(name)
    folder.mkdir()
    for number, pixels in enumerate(images):
        save(pixels, folder / f"{number:03d}")
    return folder


def values(samples: Path, against: Path, **options: str) -> dict[str, float | None]:
    """Return the pixel distance of samples to reals."""
    request = EvaluationRequest(
        samples=samples,
        against=str(against),
        metrics=("fd_pixels",),
        options={"fd_pixels": {"side": "8"}, **({"data": options} if options else {})},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {row.metric: row.value for row in evaluate(request).rows}


@pytest.mark.parametrize(("save", "same"), [(transparent, on_white), (sixteen_bits, grey), (turned, plain)])
def test_pictures_of_every_kind_are_compared_as_the_plain_ones(save: Save, same: Save) -> None:
    special, usual = write("special", pictures(1), save), write("usual", pictures(1), same)
    other = write("other", pictures(2, 9), same)
    expected = values(usual, other)["fd_pixels"]
    assert expected > 1
    assert values(special, other)["fd_pixels"] == pytest.approx(expected, rel=1e-6)
    assert values(other, special)["fd_pixels"] == pytest.approx(expected, rel=1e-6)
    assert values(special, usual)["fd_pixels"] == pytest.approx(0, abs=1e-5)


def as_bytes(images: Pixels, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), images)
    return path.with_suffix(".npy")


def as_fractions(images: Pixels, path: Path) -> Path:
    np.save(path.with_suffix(".npy"), images.astype(np.float32) / 127.5 - 1)
    return path.with_suffix(".npy")


def as_channels_first(images: Pixels, path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), images=images.transpose(0, 3, 1, 2))
    return path.with_suffix(".npz")


def as_zip(images: Pixels, path: Path) -> Path:
    folder = write("to_zip", images, plain)
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return path.with_suffix(".zip")


@pytest.mark.parametrize("pack", [as_bytes, as_fractions, as_channels_first, as_zip])
def test_arrays_and_archives_are_compared_as_the_folder(pack: Callable[[Pixels, Path], Path]) -> None:
    folder, other = write("folder", pictures(1), plain), write("other", pictures(2, 9), plain)
    packed = pack(pictures(1), Path("packed"))
    expected = values(folder, other)["fd_pixels"]
    assert values(packed, other)["fd_pixels"] == pytest.approx(expected, rel=1e-5)
    assert values(other, packed)["fd_pixels"] == pytest.approx(expected, rel=1e-5)


def gather(samples: Path | str, against: Path | str, **options: str) -> EvaluationData:
    request = EvaluationRequest(samples=Path(samples), against=str(against), options={"data": options})
    return gather_data(open_request(request))


def write_sizes(name: str, sizes: list[tuple[int, int]]) -> Path:
    folder = Path(name)
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (number, 40, 90)).save(folder / f"{number}.png")
    return folder


def test_size_is_the_smaller_of_both_own_sizes() -> None:
    squares, smaller = write_sizes("squares", [(40, 40)] * 3), write_sizes("smaller", [(24, 24)] * 3)
    mixed, large = write_sizes("mixed", [(70, 90), (80, 66)]), write_sizes("large", [(300, 300)] * 2)
    for first, second, side in (
        (squares, squares, 40),
        (squares, smaller, 24),
        (squares, mixed, 40),
        (large, mixed, 64),
        (large, large, MAX_SIZE),
    ):
        for samples, reals in ((first, second), (second, first)):
            data = gather(samples, reals)
            assert data.sample_set.samples.shape[1:] == data.reals.real.shape[1:] == (3, side, side)
    data = gather(squares, mixed, image_size="20", fit="pad", background="black")
    assert data.sample_set.samples.shape[2:] == data.reals.real.shape[2:] == (20, 20)
    assert (data.reals.real == -1).any()
    assert "compared as colour images of 20 x 20 pixels (fit = pad, background = black)" in format_notes(data)


def test_colour_is_dropped_only_if_both_sides_are_grey() -> None:
    colour, dull = write("colour", pictures(1), plain), write("dull", pictures(2), grey)
    assert gather(dull, dull).reals.real.shape[1] == 1
    for samples, reals in ((colour, dull), (dull, colour)):
        data = gather(samples, reals)
        assert data.sample_set.samples.shape[1] == data.reals.real.shape[1] == 3


def test_every_picture_of_a_folder_is_used_and_a_damaged_one_is_named(call) -> None:
    reals, samples = write("reals", pictures(1, 60), plain), write("samples", pictures(2, 40), plain)
    (samples / "broken.png").write_bytes((samples / "001.png").read_bytes()[:60])
    for first, second, counts in ((samples, reals, (40, 60)), (reals, samples, (60, 40))):
        code, out, _ = call("evaluate", first, "--against", second, "--metrics", "auth_pct,fd_pixels", "--json")
        assert code == 0
        output = json.loads(out)
        assert (output["protocol"]["samples"]["count"], output["protocol"]["reals"]["count"]) == counts
        assert output["protocol"]["reals"]["split"] == "all"
        assert any("1 of 41 files was skipped: broken.png" in note for note in output["protocol"]["notes"])
    out = call("evaluate", samples, "--against", reals, "--metrics", "fd_pixels")[1]
    assert "40 samples of samples, seed 0, against all 60 reals of reals" in out


def train_on(call, folder: Path) -> Path:
    """Train for two steps on a folder of pictures."""
    words = ("train", folder, "--model", "dcgan", "--option", "width=4", "latent_dim=4", "--image-size", 16)
    code, _, err = call(*words, "--steps", 2, "--batch-size", 8, "--metric", "none", "--threads", 1, "--out", "run")
    assert code in (0, 3), err
    return Path("run")


@pytest.mark.usefixtures("no_film")
def test_samples_of_a_run_in_files_have_the_values_of_the_run(call) -> None:
    reals = write("own", pictures(1, 60), plain)
    run = train_on(call, reals)
    call("sample", run, "--count", 40, "--out", "folder")
    call("sample", run, "--count", 40, "--out", "array.npy")
    options = ("--metrics", "fd_pixels,fd_digits", "--option", "fd_pixels.side=8", "--count", 40, "--json")
    result = {
        name: [row["value"] for row in json.loads(call("evaluate", name, "--against", reals, *options)[1])["metrics"]]
        for name in (run, "folder", "array.npy")
    }
    assert result["array.npy"] == pytest.approx(result[run], rel=1e-5)
    assert result["folder"] == pytest.approx(result[run], rel=0.01), "eight bits"


@pytest.mark.usefixtures("no_film")
def test_run_against_folders_uses_all_of_them_and_knows_its_training_pictures(call) -> None:
    own = write("own", pictures(1, 60), plain)
    run = train_on(call, own)
    other = write_sizes("other", [(30, 20)] * 9)

    def notes_of(against: Path | None) -> tuple[int, str, str]:
        request = EvaluationRequest(samples=run, against=None if against is None else str(against), count=60)
        data = gather_data(open_request(request))
        assert data.reals.real.shape[1:] == data.sample_set.samples.shape[1:] == (3, 16, 16)
        return len(data.reals), data.split, "\n".join(format_notes(data))

    assert notes_of(other)[:2] == (9, "all")
    assert "copies are searched for in the data that the run was trained on" in notes_of(other)[2]
    count, split, text = notes_of(own)
    assert (count, split) == (60, "all")
    assert "54 of 60 reals are training data of the run, so memorised samples score well" in text
    assert notes_of(None)[1] == "train"


def test_texts_share_the_words_of_both() -> None:
    Path("a.txt").write_text("one two\ntwo three\n" * 3)
    Path("b.txt").write_text("one four five\none two\n" * 3)
    for samples, reals in (("a.txt", "b.txt"), ("b.txt", "a.txt")):
        data = gather(samples, reals)
        assert data.sample_set.samples.shape == data.reals.real.shape == (6, 4)
    Path("c.txt").write_text("one two\n" * 4)
    assert len(gather("c.txt", "a.txt").sample_set.samples) == 4


def test_options_of_the_data_that_do_not_exist_are_refused() -> None:
    folder = write("folder", pictures(1), plain)
    with pytest.raises(SettingError, match=r"data\.colour does not exist for 'image_folder'"):
        gather(folder, folder, colour="red")


def test_points_and_pictures_are_not_compared() -> None:
    folder = write("folder", pictures(1), plain)
    with pytest.raises(DataError, match="the reals are points with 2 coordinates"):
        gather(folder, "ring")
    np.save("points.npy", torch.randn(40, 2).numpy())
    with pytest.raises(DataError, match="have 2 values each, but the reals are colour images of 16 x 16 pixels"):
        gather("points.npy", folder)


def test_split_of_a_folder_is_used_if_it_is_named() -> None:
    Path("data").mkdir()
    for name, count in (("train", 9), ("valid", 4), ("test", 5)):
        write(f"data/{name}", pictures(count, count), plain)
    samples = write("samples", pictures(1), plain)

    def count(split: str) -> int:
        request = EvaluationRequest(samples=samples, against="data", split=split)
        return len(gather_data(open_request(request)).reals)

    assert [count(split) for split in ("held_out", "train", "valid", "test")] == [18, 9, 4, 5]
    with pytest.raises(UnknownNameError, match="there is no split 'test' of 'digits'"):
        gather_data(open_request(EvaluationRequest(samples=samples, against="digits", split="test")))
