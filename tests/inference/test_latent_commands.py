"""The commands `interpolate` and `arithmetic`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_interpolate_writes_rows(call, trained: Path) -> None:
    assert call("interpolate", trained, "--out", "deep/strip.png") == (
        0,
        "8 interpolations of 10 samples: deep/strip.png\n",
        "",
    )
    with Image.open("deep/strip.png") as strip:
        assert strip.size == (10 * 18 - 2, 8 * 18 - 2)


def test_rows_go_from_start_to_end(call, trained: Path) -> None:
    words = ("--from", "3,12", "--to", "1/23,4", "--steps", 5, "--kind", "linear", "--out", "numbers.npy", "--json")
    code, out, _ = call("interpolate", trained, *words)
    result = json.loads(out)
    assert code == 0
    assert result["ways"] == [["0/3", "1/23"], ["0/12", "0/4"]]
    assert (result["kind"], result["steps"], result["path"]) == ("linear", 5, "numbers.npy")
    samples = np.load("numbers.npy", allow_pickle=False)
    assert samples.shape == (2, 5, 1, 16, 16)
    for seed, number, row, step in ((0, 3, 0, 0), (0, 12, 1, 0), (1, 23, 0, 4)):
        call("sample", trained, "--count", 64, "--seed", seed, "--out", "all.npy", "--force")
        expected = np.load("all.npy", allow_pickle=False)[number]
        np.testing.assert_allclose(samples[row, step], expected, atol=1e-6)


def test_label_applies_to_all_rows(call, trained: Path) -> None:
    for label, name in ((None, "own"), (7, "sevens")):
        flags = () if label is None else ("--label", label)
        assert call("interpolate", trained, *flags, "--out", f"{name}.npy")[0] == 0
    own, sevens = (np.load(f"{name}.npy", allow_pickle=False) for name in ("own", "sevens"))
    assert [np.allclose(a, b, atol=1e-6) for a, b in zip(own, sevens, strict=True)] == [row == 7 for row in range(8)]


def test_film_is_a_loop(call, trained: Path) -> None:
    from imageio_ffmpeg import count_frames_and_secs

    words = ("--rows", 4, "--stops", 3, "--steps", 5, "--out", "film.mp4", "--json")
    code, out, err = call("interpolate", trained, *words)
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert (result["frames"], result["fps"], len(result["ways"]), result["ways"][1]) == (
        15,
        24,
        4,
        ["0/1", "0/5", "0/9"],
    )
    assert count_frames_and_secs("film.mp4")[0] == 15
    assert [path.name for path in Path().iterdir()] == ["film.mp4"]


def test_arithmetic_writes_sheet_and_result(call, trained: Path) -> None:
    code, out, err = call(
        *("arithmetic", trained, "--show", "sheet.png", "--out", "sum.png", "--label", 4),
        *("--plus", "3,17,22", "--minus", "5,9", "--plus", "1/2"),
    )
    assert (code, err) == (0, "")
    assert out.startswith("64 samples with their numbers: sheet.png\nA − B + C: sum.png; length of the latent ")
    for name in ("sheet.png", "sum.png"):
        with Image.open(name) as picture:
            assert picture.width > 300


def test_result_is_the_sum_of_the_latents(call, trained: Path) -> None:
    from equipoise.inference.generator import load

    words = ("--minus", "5", "--plus", "3,17", "--out", "sum.npy", "--json")
    code, out, _ = call("arithmetic", trained, *words)
    result = json.loads(out)
    model, latents = load(trained), load(trained).latents(64)
    latent = (latents[3] + latents[17]) / 2 - latents[5]
    assert code == 0
    assert (result["formula"], result["path"]) == ("− A + B", "sum.npy")
    assert result["length"] == pytest.approx(float(latent.norm()), rel=1e-6)
    result = np.load("sum.npy", allow_pickle=False)
    assert result.shape == (9, 1, 16, 16)
    expected = model.generate(latent[None], torch.tensor([5]))  # in the class of the first sample named, number 5
    np.testing.assert_allclose(result[4], expected[0].numpy(), atol=1e-6)
    assert len({image.tobytes() for image in result}) == 9


INVALID = [
    (
        "interpolate --out s.png --from 3,x --to 4,5",
        "--from takes sample numbers, such as 3,17, or 5/3 for sample 3 of seed",
    ),
    ("interpolate --out s.png --from 3 --to -4", "--to"),
    ("interpolate --out s.png --from 3", "--from has 1 samples and --to has 0"),
    ("interpolate --out s.png --from 3,4 --to 5", "--from has 2 samples and --to has 1"),
    ("interpolate --out s.png --from 3 --to 4 --rows 2", "remove --rows and --stops"),
    ("interpolate --out s.png --from 3 --to 100000", "sample number 100000 does not exist"),
    ("interpolate --out s.png --steps 1", "steps = 1: it must be at least 2"),
    ("interpolate --out s.png --rows 0", "rows = 0: it must be at least 1"),
    ("interpolate --out s.png --stops 3", ".mp4, or remove --stops"),
    ("interpolate --out s.mp4 --stops 1", "stops = 1: it must be at least 2"),
    ("interpolate --out s.mp4 --stops 0", "stops = 0: it must be at least 2"),
    ("interpolate --out s.gif", "s.gif has no supported extension; use a file name ending in .png or .mp4 or .npy"),
    ("interpolate --out s", "s has no supported extension; use a file name ending in .png or .mp4 or .npy"),
    ("interpolate --out deep/s.png --label 10", "label 10 does not exist"),
    ("interpolate --out s.png --truncation 0", "truncation = 0: it must be above 0"),
    ("interpolate --out s.png --kind cubic", "--kind"),
    ("arithmetic", "--show sheet.png"),
    ("arithmetic --plus 3", "--out result.png"),
    ("arithmetic --out s.png", "--plus 3,17,22"),
    ("arithmetic --plus 3, --out s.png", "--plus takes sample numbers"),
    ("arithmetic --plus 3 --minus 4.5 --out s.png", "--minus takes sample numbers"),
    ("arithmetic --plus 3 --out s.jpg", "s.jpg has no supported extension; use a file name ending in .png or .npy"),
    ("arithmetic --show s.npy", "s.npy has no supported extension; use a file name ending in .png"),
    ("arithmetic --plus 3 --out deep/s.png --label -1", "label -1 does not exist"),
]


@pytest.mark.parametrize(("words", "message"), INVALID, ids=[words for words, _ in INVALID])
def test_invalid_arguments(call, trained: Path, tmp_path: Path, words: str, message: str) -> None:
    command, *rest = words.split()
    code, out, err = call(command, trained, *rest)
    assert (code, out) == (2, "")
    assert err.startswith("equipoise: ")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("interpolate --out s.png --label 3", "omit the label (--label)"),
        ("interpolate --out s.mp4", "s.mp4 has no supported extension; use a file name ending in .png or .npy"),
        ("arithmetic --show s.png", "points cannot be drawn"),
        ("arithmetic --plus 1 --out s.png", "points cannot be drawn"),
    ],
)
def test_invalid_arguments_for_points(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, message: str, generator
) -> None:
    monkeypatch.setattr("equipoise.inference.generator.load", lambda folder, step: generator())
    command, *rest = words.split()
    code, out, err = call(command, "run", *rest)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_interpolation_of_points_is_plotted(call, monkeypatch: pytest.MonkeyPatch, generator) -> None:
    monkeypatch.setattr("equipoise.inference.generator.load", lambda folder, step: generator())
    assert call("interpolate", "run", "--out", "ways.png")[0] == 0
    with Image.open("ways.png") as picture:
        assert len(set(np.asarray(picture.convert("RGB")).reshape(-1, 3).sum(1).tolist())) > 8, (
            "one colour per interpolation"
        )
    assert call("arithmetic", "run", "--plus", "1,2,3", "--out", "sum.npy")[0] == 0
    assert np.load("sum.npy", allow_pickle=False).shape == (9, 2)


@pytest.mark.parametrize("command", ["interpolate --out s.png", "arithmetic --show s.png"])
def test_folder_that_is_not_a_run(call, tmp_path: Path, command: str) -> None:
    name, *rest = command.split()
    assert call(name, "nowhere", *rest) == (
        2,
        "",
        "equipoise: nowhere is not a run: there is no such folder; list the runs with: equipoise runs\n",
    )
    assert list(tmp_path.iterdir()) == []
