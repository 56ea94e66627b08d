"""Windows of numbers from folders of CSV files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from equipoise.core import catalog
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.data._files import cache as cache_module
from equipoise.data.csv_windows import CsvWindows
from equipoise.errors import DataError, SettingError, UnknownNameError

COUNTS = {"type_2": 5, "type_3": 30, "type_5": 2}


@pytest.fixture(scope="module")
def bursts(load_script: Callable[[str], ModuleType]) -> ModuleType:
    """The script that writes synthetic bursts, as a module."""
    return load_script("make_bursts")


@pytest.fixture(scope="module")
def windows(bursts, tmp_path_factory) -> Path:
    """A few small bursts of every type. Read only."""
    folder = tmp_path_factory.mktemp("bursts")
    bursts.write(folder, COUNTS, size=16)
    return folder


@pytest.fixture
def data(tmp_path):
    """Create the data set of a folder, with a separate cache."""

    def create(folder, **options):
        return CsvWindows(str(folder), cache=str(tmp_path / "cache"), **options)

    return create


@pytest.fixture
def folder(tmp_path):
    """A folder of ten random windows of 16 × 16, which a test can change."""
    place = tmp_path / "Spektren von früher" / "тип 3"
    place.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(10):
        np.savetxt(place / f"Fenster {number} ☀.csv", random.normal(0, 5, (16, 16)), fmt="%.4f", delimiter=",")
    return place.parent


def notes(data):
    return [step.note for step in data.prepare() if step.note]


def error_of(data):
    with pytest.raises((DataError, SettingError, UnknownNameError)) as error:
        data.resolve()
    assert "\n" not in str(error.value)
    return str(error.value)


def all_windows(data, split="train"):
    data = data.resolve()
    return data.stream(split, data.count(split), 0).batch(0)


def to_unit(real, data):
    """Convert from [-1, 1] to the unit of the data."""
    low, high = data.resolve().spec.unit
    return low + (real.double() + 1) / 2 * (high - low)


def test_unit_is_restored(data, windows):
    """Every window of both splits equals a file, up to the precision of float32 in this range."""
    files = {path: np.loadtxt(path, delimiter=",") for path in windows.rglob("*.csv")}
    result = torch.cat(
        [to_unit(all_windows(data(windows), split).real, data(windows)) for split in ("train", "held_out")]
    )
    assert result.shape == (37, 1, 16, 16)
    low, high = data(windows).resolve().spec.unit
    remaining = dict(files)
    for window in result.squeeze(1).numpy():
        distances = {path: np.abs(values.clip(low, high) - window).max() for path, values in remaining.items()}
        nearest = min(distances, key=distances.__getitem__)
        assert distances[nearest] <= (high - low) * 2**-23
        del remaining[nearest]
    assert not remaining


def test_range_is_that_of_the_training_windows(data, windows):
    result = data(windows).resolve()
    real = all_windows(data(windows)).real
    assert real.min() == -1
    assert real.max() == 1
    held_out = all_windows(data(windows), "held_out").real
    assert -1 <= held_out.min() < held_out.max() <= 1
    numbers = np.concatenate([np.loadtxt(path, delimiter=",").ravel() for path in windows.rglob("*.csv")])
    assert result.low in numbers.astype(np.float32)
    assert result.high in numbers.astype(np.float32)


def test_custom_range_clips_and_reports(data, windows):
    low, high = 0.005, 9.995  # between two numbers, which have two decimals
    tight, numbers = data(windows, low=low, high=high), to_unit(all_windows(data(windows)).real, data(windows))
    expected = (numbers.clamp(low, high) - low) / (high - low) * 2 - 1
    assert torch.allclose(all_windows(tight).real.double(), expected, atol=1e-5)
    share = float(((numbers < low) | (numbers > high)).double().mean())
    assert share > 0.01
    assert f"{share:.2%} of the numbers lie outside 0.005 to 9.995 and are clipped (low, high)" in notes(tight)
    assert not any("outside" in note for note in notes(data(windows)) + notes(data(windows).resolve()))


def test_range_outside_of_the_data_is_refused(data, windows):
    assert "outside of low = 500 to high" in error_of(data(windows, low=500.0))
    with pytest.raises(SettingError, match="low = 2 must be below high = 1"):
        data(windows, low=2.0, high=1.0)
    with pytest.raises(SettingError, match="high = inf: it must be a finite number"):
        data(windows, high=float("inf"))


def test_types_can_be_selected(data, windows):
    every = data(windows).resolve()
    assert every.types == ("type_2", "type_3", "type_5")
    assert every.spec.class_names == every.types
    assert every.spec.classes == 3
    assert every.count("train") + every.count("held_out") == 37
    assert torch.bincount(
        torch.cat([all_windows(every, split).condition for split in ("train", "held_out")])
    ).tolist() == [*(5, 30, 2)]
    assert "3 types: type_2 5, type_3 30, type_5 2" in notes(every)
    two = data(windows, types=("type_5", "type_3")).resolve()
    assert two.spec.class_names == ("type_5", "type_3")
    assert two.count("train") + two.count("held_out") == 32
    one = data(windows, types=("type_3",)).resolve()
    assert one.spec.classes == 0
    assert one.spec.class_names == ()
    assert all_windows(one).condition is None
    assert one.count("train") + one.count("held_out") == 30


def test_labels_are_subfolders(data, tmp_path):
    for number, kind in enumerate(("high", "low")):
        (tmp_path / "in" / kind / "deeper").mkdir(parents=True)
        for copy in range(5):
            values = np.full((16, 16), 10.0 * (1 - number)) + np.arange(256).reshape(16, 16) / 256 + copy / 100
            np.savetxt(tmp_path / "in" / kind / "deeper" / f"{copy}.csv", values, delimiter=",")
    batch = all_windows(data(tmp_path / "in"))
    assert torch.equal(batch.real.mean((1, 2, 3)) > 0, batch.condition == 0)


def test_types_are_comma_separated_on_the_command_line(windows, tmp_path):
    options = {"folder": str(windows), "types": "type_2, type_3", "cache": str(tmp_path)}
    assert catalog.build("data", "csv_windows", options).types == ("type_2", "type_3")


def test_unknown_type_is_refused(data, windows):
    assert error_of(data(windows, types=("type_33",))) == "there is no type 'type_33'; did you mean 'type_3'?"


def test_files_without_subfolders_have_no_types(data, folder):
    inner = data(folder / "тип 3").resolve()
    assert inner.types == ()
    assert inner.spec.classes == 0
    assert inner.count("train") == 9
    assert inner.count("held_out") == 1


def test_files_outside_of_types_are_skipped_and_reported(data, folder):
    (folder / "labels.csv").write_text("name,type\na,3\n")
    assert "1 file outside of the types was skipped: labels.csv" in notes(data(folder))
    assert data(folder).resolve().count("train") == 9


def test_resolved_data_set_needs_no_folder(data, folder):
    """Resolved options suffice for spec and batches in any working directory; the folder is not read."""
    result = data(folder).resolve()
    assert result.resolve() == result
    again = catalog.build("data", "csv_windows", dataclasses.asdict(result))
    assert again == result
    expected = result.stream("train", 4, 1).batch(2).real
    moved = folder.rename(folder.with_name("elsewhere"))
    assert again.spec == result.spec
    assert torch.equal(again.stream("train", 4, 1).batch(2).real, expected)
    assert error_of(again) == f"the folder {folder} does not exist"
    assert data(moved).resolve().digest == result.digest


@pytest.mark.parametrize("change", ["added", "removed", "modified"])
def test_changed_folder_is_refused_on_resume(data, folder, change):
    result = data(folder).resolve()
    path = folder / "тип 3" / "Fenster 3 ☀.csv"
    if change == "added":
        (folder / "тип 3" / "new.csv").write_text(path.read_text())
    elif change == "removed":
        path.unlink()
    else:
        path.write_text(path.read_text().replace(",", ",1", 1))
    line = error_of(result)
    assert line.startswith(f"{folder} changed since this run started: 1 file was {change} (тип 3/")
    assert line.endswith("; restore it, or start a new run with --from RUN")
    assert data(folder).resolve().digest != result.digest


def test_new_type_does_not_change_selected_types(data, folder):
    result = data(folder).resolve()
    (folder / "type 9").mkdir()
    (folder / "type 9" / "a.csv").write_text((folder / "тип 3" / "Fenster 3 ☀.csv").read_text())
    assert result.resolve() == result
    assert data(folder).resolve().types == ("type 9", "тип 3")


def test_headers_are_reported(data, folder):
    path = folder / "тип 3" / "Fenster 0 ☀.csv"
    path.write_text(",".join(f"f{i}" for i in range(16)) + "\n" + path.read_text())
    assert "1 file with a header, which was removed" in notes(data(folder))
    assert data(folder).resolve().spec.shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda lines: [*lines[:4], lines[4].replace(",", ",abc,", 1), *lines[5:]],
            "line 5: value 2 is 'abc', which is",
        ),
        (lambda lines: ["1,zwei" + lines[0][3:], *lines[1:]], "line 1: value 2 is 'zwei"),
        (
            lambda lines: [*lines[:2], "nan" + lines[2][lines[2].index(",") :], *lines[3:]],
            "line 3: value 1 is nan, which",
        ),
        (lambda lines: [*lines[:-1], lines[-1] + ",inf"], "line 16: value 17 is inf, which is not finite"),
        (lambda lines: [*lines[:6], "1e39" + lines[6][lines[6].index(",") :], *lines[7:]], "line 7: value 1 is 1e39"),
        (lambda lines: [*lines[:6], lines[6].replace(",", ",,", 1), *lines[7:]], "line 7: value 2 is missing"),
        (
            lambda lines: [*lines[:9], lines[9].rsplit(",", 1)[0], *lines[10:]],
            "line 10: 15 values instead of 16",
        ),
        (lambda lines: [*lines[:9], "", lines[9] + ",3", *lines[10:]], "line 11: 17 values instead of 16"),
        (lambda lines: lines[:-1], "line 15: the last of 15 rows, but тип 3/Fenster 0 ☀.csv has 16"),
        (lambda lines: [*lines, lines[0]], "line 17: row 17 of 17 rows, but тип 3/Fenster 0 ☀.csv has 16"),
        (
            lambda lines: [line.rsplit(",", 1)[0] for line in lines],
            "line 1: 15 values instead of 16 as in тип 3/Fenster 0 ☀.csv",
        ),
        (lambda lines: [line.replace(",", ",0x1f,", 1) for line in lines], "line 1: value 2 is '0x1f', which is no"),
        (
            lambda lines: [line.replace(",", ",1_0,", 1) for line in lines],
            "line 1: value 2 is '1_0', which is not a number",
        ),
    ],
)
def test_invalid_file_is_refused_with_its_line(data, folder, damage, message):
    path = folder / "тип 3" / "Fenster 4 ☀.csv"
    path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
    line = error_of(data(folder))
    assert line.startswith(f"{path}, {message}"), line
    assert line.endswith(("repair the file, or remove it", "all windows must have the same shape"))


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe1\x00,\x002", b"1,2\n3,\x81\n", b"\x00" * 40, b"# a\n"])
def test_files_that_are_not_tables_are_refused(data, folder, content):
    path = folder / "тип 3" / "Fenster 0 ☀.csv"
    path.write_bytes(content)
    line = error_of(data(folder))
    assert line.startswith(str(path))
    assert any(word in line for word in ("is empty", "not UTF-8 text", "contains no numbers"))


def test_folder_without_windows_is_refused(data, tmp_path):
    assert error_of(data(tmp_path / "nowhere")) == f"the folder {tmp_path / 'nowhere'} does not exist"
    assert error_of(data(tmp_path)) == f"{tmp_path} contains no files with the extension .csv, .tsv, .npy"


def test_constant_window_is_reported(data, folder):
    np.savetxt(folder / "тип 3" / "flat.csv", np.full((16, 16), 0.3), delimiter=",")
    assert "1 window constant (all numbers equal): тип 3/flat.csv" in notes(data(folder))
    assert "1 window constant (all numbers equal): тип 3/flat.csv" in notes(data(folder, image_size=12))
    result = data(folder).resolve()
    assert result.count("train") + result.count("held_out") == 11


def test_only_constant_windows_are_refused(data, folder):
    for number, path in enumerate(sorted(folder.rglob("*.csv"))):
        np.savetxt(path, np.full((16, 16), number), delimiter=",")
    assert error_of(data(folder)) == (
        f"every window in {folder} is constant: there is nothing to learn; use other files"
    )


def test_resampling_preserves_the_content(data, windows):
    """At half the size the antialiased bilinear filter weights four neighbours in each direction by 1 3 3 1."""
    small, large = data(windows, image_size=8, low=0.0, high=30.0), data(windows, low=0.0, high=30.0)
    assert small.resolve().spec.shape == (1, 8, 8)
    real = torch.from_numpy(np.loadtxt(windows / "type_2" / "000.csv", delimiter=",")).float()[None, None]
    weights = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    expected = F.conv2d(real[:, :, 1:-1, 1:-1], torch.outer(weights, weights)[None, None], stride=2)
    result = torch.cat([to_unit(all_windows(small, split).real, small) for split in ("train", "held_out")])[
        :, :, 1:-1, 1:-1
    ]
    assert (result - expected.clamp(0, 30)).abs().amax((1, 2, 3)).min() < 1e-4
    assert all_windows(large).real.shape[-1] == 16


def test_non_square_windows_are_kept_or_stretched(data, tmp_path):
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        np.savetxt(tmp_path / "in" / f"{number}.csv", random.normal(size=(16, 12)), delimiter=",")
    result = data(tmp_path / "in").resolve()
    assert result.spec.shape == (1, 16, 12)
    model = catalog.build("models", "dcgan").build(result.spec, torch.Generator())
    assert model.generate(model.networks, torch.zeros(2, 64), None, DEFAULT_SAMPLING).shape == (2, 1, 16, 12)
    stretched = data(tmp_path / "in", image_size=16)
    assert stretched.resolve().spec.shape == (1, 16, 16)
    assert "the windows are not square: stretched to 16 x 16 (image_size)" in notes(stretched)


def test_second_start_reads_nothing(data, folder, monkeypatch):
    first = all_windows(data(folder)).real
    monkeypatch.setattr("equipoise.data._windows.decoder.to_numbers", lambda *_: pytest.fail("read again"))
    assert torch.equal(all_windows(data(folder)).real, first)


def test_concurrent_reading_of_different_types(data, windows, monkeypatch):
    """The second process updates the index immediately after the first."""
    filled, second = cache_module.fill_cache, [data(windows, types=("type_5",))]

    def disturbed(*words, **settings):
        yield from filled(*words, **settings)
        if second:
            yield from second.pop().prepare()

    monkeypatch.setattr(cache_module, "fill_cache", disturbed)
    result = data(windows, types=("type_2",)).resolve()
    assert not second
    assert result.count("train") + result.count("held_out") == 5


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_held_out_share(data, windows, share):
    result = data(windows, held_out=share).resolve()
    assert result.count("held_out") == round(37 * share)
    sides = [
        {one.numpy().tobytes() for one in all_windows(result, split).real}
        for split in ("train", "held_out")[: 1 + (share > 0)]
    ]
    assert sum(map(len, sides)) == 37
    assert len(set.union(*sides)) == 37


def test_streams_are_pure(data, windows):
    result = data(windows).resolve()
    stream = result.stream("train", 8, 3)
    first = stream.batch(5)
    expected = first.real.clone()
    first.real.zero_()
    assert torch.equal(stream.batch(5).real, expected)
    assert torch.equal(result.stream("train", 8, 3).batch(5).real, expected)
    assert not torch.equal(result.stream("train", 8, 4).batch(5).real, expected)
    with pytest.raises(
        DataError, match=r"the split 'held_out' contains 4 windows, fewer than a batch of 5; use --batch-size 4"
    ):
        result.stream("held_out", 5, 0)


@pytest.mark.parametrize(("option", "value"), [("image_size", 0), ("held_out", 0.7), ("held_out", -0.1)])
def test_options_out_of_range(data, windows, option, value):
    with pytest.raises(SettingError, match=f"{option} = {value}: it must be"):
        data(windows, **{option: value})
