"""Files of samples: formats, and numbers that are read back."""

import json
import shutil
import wave

import numpy as np
import pytest
import torch
from PIL import Image

import equipoise
from equipoise.cli import main as cli
from equipoise.core.data import DataSpec, SoundFormat, TableLayout
from equipoise.data._windows.streams import scale_to_range
from equipoise.errors import DataError, SettingError
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.inference.sample_files import to_data_unit, write_samples

IMAGES, COLOUR, POINTS = DataSpec((1, 4, 6), unit=(-20.0, 55.5)), DataSpec((3, 4, 4)), DataSpec((2,))


def samples(spec, count=3):
    uniform = torch.rand(count, *spec.shape, generator=torch.Generator().manual_seed(0))
    return uniform * 2 - 1


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_csv_is_in_the_data_unit_top_row_first(tmp_path):
    values = samples(IMAGES)
    assert write_samples(values, tmp_path / "out", IMAGES, "csv") == tmp_path / "out"
    assert names(tmp_path / "out") == ["000000.csv", "000001.csv", "000002.csv"]
    for number, image in enumerate(values):
        table = np.loadtxt(tmp_path / "out" / f"{number:06d}.csv", delimiter=",")
        assert table.shape == (4, 6)
        expected = -20 + 75.5 * (image[0].double().numpy() + 1) / 2
        assert np.abs(table - expected).max() <= 75.5 * 2**-24


def test_limits_of_the_unit_are_exact(tmp_path):
    ends = torch.tensor([-1.0, 1.0, 0.0, -1.0]).view(1, 1, 2, 2)
    write_samples(ends, tmp_path / "out", DataSpec((1, 2, 2), unit=(-4.25, 40.5)), "csv")
    assert (tmp_path / "out" / "000000.csv").read_text() == "-4.25,40.5\n18.125,-4.25\n"


def test_unit_conversion_is_reversible():
    """Within float32 rounding: half a unit in the last place of 1, and the rounding of the inverse."""
    numbers = torch.from_numpy(np.random.default_rng(0).uniform(-4.54, 40.42, 10_000)).float()
    unit = (-4.54, 40.42)
    spec = DataSpec((1, 100, 100), unit=unit)
    scaled = scale_to_range(numbers, spec)
    assert scaled.dtype == torch.float32
    assert np.abs(to_data_unit(scaled.numpy(), spec) - numbers.numpy()).max() <= (unit[1] - unit[0]) * 2**-24


def test_csv_without_unit_is_in_the_training_range(tmp_path):
    spec = DataSpec((1, 4, 4))
    values = samples(spec)
    write_samples(values, tmp_path / "out", spec, "csv")
    assert np.array_equal(np.loadtxt(tmp_path / "out" / "000001.csv", delimiter=",").astype(np.float32), values[1, 0])


@pytest.mark.parametrize("format", [None, "png"])
def test_images(tmp_path, format):
    values = samples(COLOUR)
    write_samples(values, tmp_path / "deep" / "grid.png", COLOUR, format)
    with Image.open(tmp_path / "deep" / "grid.png") as grid:
        assert grid.size == (10, 10)
    write_samples(values, tmp_path / "each", COLOUR, format)
    assert names(tmp_path / "each") == ["000000.png", "000001.png", "000002.png"]


@pytest.mark.parametrize("spec", [IMAGES, COLOUR, POINTS])
def test_npy_is_unchanged(tmp_path, spec):
    values = samples(spec)
    write_samples(values, tmp_path / "x.npy", spec)
    write_samples(values, tmp_path / "out", spec, "npy")
    for path in (tmp_path / "x.npy", tmp_path / "out" / "samples.npy"):
        assert np.array_equal(np.load(path, allow_pickle=False), values.numpy())


@pytest.mark.parametrize("format", [None, "csv"])
def test_points_are_csv_rows(tmp_path, format):
    values = samples(POINTS)
    write_samples(values, tmp_path / "x.csv", POINTS, format)
    write_samples(values, tmp_path / "out", POINTS, format)
    assert np.allclose(np.loadtxt(tmp_path / "x.csv", delimiter=","), values.numpy(), rtol=1e-6)
    assert (tmp_path / "out" / "points.csv").read_text() == (tmp_path / "x.csv").read_text()


@pytest.mark.parametrize(
    ("spec", "name", "format", "words"),
    [
        (IMAGES, "x.csv", None, ("x.csv", ".png or .npy", "folder with --format csv")),
        (IMAGES, "x.jpg", None, ("x.jpg", ".png or .npy", "folder")),
        (POINTS, "x.png", None, ("x.png", ".csv or .npy", "folder")),
        (POINTS, "x", "png", ("points", "--format csv or npy")),
        (COLOUR, "x", "csv", ("3", "--format npy or png")),
        (IMAGES, "x.csv", "csv", ("folder", "x.csv")),
        (IMAGES, "x.npy", "png", ("--format png", "x.npy", ".png")),
        (POINTS, "x.csv", "npy", ("--format npy", "x.csv", ".npy")),
    ],
)
def test_unsupported_format(tmp_path, spec, name, format, words):
    with pytest.raises(SettingError) as error:
        write_samples(samples(spec), tmp_path / name, spec, format)
    assert all(word in str(error.value) for word in words)
    assert list(tmp_path.iterdir()) == []


def test_csv_windows_round_trip(tmp_path, monkeypatch, capsys):
    """Train on a folder of CSV files, sample tables of the same shape and unit, leave the files unchanged.

    A run cannot be resumed with other files.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "windows").mkdir()
    random = np.random.default_rng(0)
    for number in range(20):
        np.savetxt(f"windows/{number}.csv", random.uniform(100, 300, (16, 16)), fmt="%.3f", delimiter=",")
    before = {path.name: path.read_bytes() for path in (tmp_path / "windows").iterdir()}
    experiment = Experiment(
        data=PlugSpec("windows"),
        model=PlugSpec("dcgan", {"width": 4, "latent_dim": 6}),
        steps=2,
        batch_size=8,
        precision="fp32",
    )
    for _ in equipoise.start(experiment, tmp_path / "run"):
        pass
    assert cli.run(["sample", "run", "--count", "3", "--out", "made", "--format", "csv", "--json"]) == 0
    answered = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answered == {"count": 3, "path": "made"}
    tables = [np.loadtxt(path, delimiter=",") for path in sorted((tmp_path / "made").iterdir())]
    assert [table.shape for table in tables] == [(16, 16)] * 3
    assert all(99.9 < table.min() < table.max() < 300.1 for table in tables)
    assert {path.name: path.read_bytes() for path in (tmp_path / "windows").iterdir()} == before
    shutil.copy("windows/3.csv", "windows/new.csv")
    with pytest.raises(DataError, match=r"1 file was added.*new\.csv"):
        next(equipoise.resume(tmp_path / "run", steps=3))


def test_sequences_are_tables_of_rows_in_time(tmp_path):
    spec = DataSpec((2, 3), unit=((0.0, 100.0), (10.0, 300.0)), table=TableLayout(names=("a", "b, c")))
    values = torch.tensor([[[-1.0, 0.0, 1.0], [1.0, 0.0, -1.0]]])
    assert (
        write_samples(values, tmp_path / "one.csv", spec).read_text() == 'a,"b, c"\n0.0,300.0\n5.0,200.0\n10.0,100.0\n'
    )
    write_samples(values.repeat(2, 1, 1), tmp_path / "out", spec)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.csv", "000001.csv"]
    with pytest.raises(SettingError, match=r"each sample is written to its own table; use a folder, not two\.csv"):
        write_samples(values.repeat(2, 1, 1), tmp_path / "two.csv", spec)
    with pytest.raises(SettingError, match="these samples are sequences, not images; use --format csv or npy"):
        write_samples(values, tmp_path / "out", spec, "png")


def test_channels_and_series_are_rows(tmp_path):
    values = torch.tensor([[[-1.0, 1.0, 1.0], [0.0, 1.0, -1.0]]])
    channels = DataSpec((2, 3), unit=(0.0, 2.0), table=TableLayout("channels"))
    assert write_samples(values, tmp_path / "c.csv", channels).read_text() == "0.0,2.0,2.0\n1.0,2.0,0.0\n"
    series = DataSpec((1, 3), unit=(0.0, 2.0), table=TableLayout("samples"))
    written = write_samples(values.transpose(0, 1), tmp_path / "s.csv", series).read_text()
    assert written == "0.0,2.0,2.0\n1.0,2.0,0.0\n"


def test_sound_is_written_as_wav(tmp_path):
    spec = DataSpec((1, 8), unit=(-0.5, 0.5), sound=SoundFormat(8000, 8))
    values = torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0]]])
    with wave.open(str(write_samples(values, tmp_path / "x.wav", spec))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, 8000, 8)
        assert np.frombuffer(file.readframes(4), "<i2").tolist() == [-16384, 0, 8192, 16384]
    write_samples(values.repeat(2, 1, 1), tmp_path / "out", spec)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.wav", "000001.wav"]
    with pytest.raises(SettingError, match="each sample is written to its own sound file"):
        write_samples(values.repeat(2, 1, 1), tmp_path / "y.wav", spec)
    with pytest.raises(SettingError, match="these samples are images, not sound; use --format png or npy"):
        write_samples(torch.zeros(1, 1, 8, 8), tmp_path / "z", DataSpec((1, 8, 8)), "wav")
